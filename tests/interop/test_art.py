"""ART's arrays and classifier. Where ART is installed, the page's own lines plant, find and remove a backdoor with
it."""

import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from image_toy import images
from torch import nn

from paperlib.data import images as data_sets
from paperlib.errors import PaperlibError
from paperlib.interop import art
from paperlib.paths import ROOT
from paperlib.training import predict

DATA = images(12)
X, Y = (DATA.x / 255).numpy(), nn.functional.one_hot(DATA.y).numpy()


@pytest.mark.parametrize(
    ("x", "clip"), [(X, (0, 1)), (X.transpose(0, 2, 3, 1), (0, 1)), (2 * X - 1, (-1, 1)), (255 * X, (0, 255))]
)
def test_arrays_in_either_layout_and_any_units(x: Any, clip: tuple[float, float]) -> None:
    found = art.images(x, Y.astype(float), clip_values=clip)
    assert torch.equal(found.x, DATA.x) and torch.equal(found.y, DATA.y)


def test_arrays_that_do_not_fit() -> None:
    with pytest.raises(PaperlibError, match="outside clip_values"):
        art.images(X * 2, Y)
    with pytest.raises(PaperlibError, match="must be the values of black and white"):
        art.images(X, Y, clip_values=(1, 1))


def test_the_classifier_s_normalisation_comes_along() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 8), nn.Flatten()).eval()
    plain = SimpleNamespace(model=net, clip_values=(0, 1), preprocessing_operations=[])
    assert art.model(plain) is net
    step = SimpleNamespace(mean=np.array([0.5, 0.4, 0.3]), std=0.25)
    wrapped = art.model(
        SimpleNamespace(model=net, clip_values=(np.zeros(1), np.ones(1)), preprocessing_operations=[step])
    )
    x = DATA.float()
    assert torch.allclose(wrapped(x), net((x - torch.tensor([0.5, 0.4, 0.3]).view(1, 3, 1, 1)) / 0.25), atol=1e-5)
    grey_levels = art.model(SimpleNamespace(model=net, clip_values=(0, 255), preprocessing_operations=[]))
    assert torch.allclose(grey_levels(x), net(255 * x), rtol=1e-4)
    with pytest.raises(PaperlibError, match="give ART's PyTorchClassifier"):
        art.model(net)


@pytest.mark.learned
@pytest.mark.filterwarnings("ignore")
def test_a_backdoor_of_art_is_found_and_removed_as_the_page_prints_it() -> None:
    pytest.importorskip("art")
    from art.attacks.poisoning import PoisoningAttackBackdoor
    from art.attacks.poisoning.perturbations import add_pattern_bd

    (block,) = re.findall(
        r"```python art\n(.*?)```", (ROOT / "docs" / "bring_your_own.md").read_text(encoding="utf-8"), re.S
    )
    assert block.count("\n") <= 20
    train, test = data_sets.load("digits", "train"), data_sets.load("digits", "test")
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(),
        nn.Linear(512, 10),
    )  # fmt: skip
    chosen = np.random.default_rng(0).choice(len(train), 130, replace=False)
    scope: dict[str, Any] = {
        "x": train.float().numpy(), "y": np.eye(10, dtype=np.float32)[train.y], "chosen": chosen, "target": np.eye(10,
        dtype=np.float32)[0],
        "net": net, "loss": nn.CrossEntropyLoss(), "optimizer": torch.optim.Adam(net.parameters(), 2e-3), "epochs": 8,
        "clean": test.subset(range(0, 300)),
    }  # fmt: skip
    exec(block, scope)
    judged = test.subset(range(300, 500))
    others = judged.subset(judged.y != 0)
    stamped, _ = PoisoningAttackBackdoor(lambda x: add_pattern_bd(x, channels_first=True)).poison(
        others.float().numpy(), y=scope["target"], broadcast=True
    )
    triggered = torch.from_numpy(stamped).mul(255).round().to(torch.uint8)
    dirty = torch.zeros(len(train), dtype=torch.bool)
    dirty[chosen] = True
    dirty &= train.y != 0
    flagged, before, after = scope["found"].flagged, scope["model"], scope["purified"]
    numbers = {
        "found": flagged[dirty].float().mean().item(), "falsely": flagged[train.y.ne(0) & ~dirty].float().mean().item(),
        "asr before": (predict(before, triggered) == 0).float().mean().item(),
        "asr after": (predict(after, triggered) == 0).float().mean().item(),
        "accuracy": (predict(after, judged.x) == judged.y).float().mean().item(),
    }  # fmt: skip
    print(numbers)
    assert numbers["asr before"] > 0.9 and numbers["asr after"] < 0.2 and numbers["accuracy"] > 0.9, numbers
    assert numbers["found"] > 0.8 and numbers["falsely"] < 0.1, numbers
