"""BackdoorBench's files, made here as its documentation describes them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from paperlib import models
from paperlib.data.images import ImageData
from paperlib.data.protocols import PROTOCOLS
from paperlib.errors import PaperlibError
from paperlib.interop import backdoorbench
from paperlib.training import logits

HOW = PROTOCOLS["cifar10"]
X = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
DATA = ImageData(X, torch.arange(4), tuple("abcdefghij"), HOW.mean, HOW.std, True, 4, "cifar10")


def file(tmp_path: Path, weights: dict[str, Any], **more: Any) -> Path:
    path = tmp_path / "attack_result.pt"
    torch.save(
        {"model_name": "preactresnet18", "num_classes": 10, "model": weights, "clean_data": "cifar10", **more}, path
    )
    return path


def theirs(model: nn.Module, prefix: str = "") -> dict[str, torch.Tensor]:
    """Weights under the benchmark's names: the shortcut is a Sequential, normalisation lies outside."""
    named = {k: v for k, v in model.state_dict().items() if k not in ("mean", "std")}
    return {prefix + k.replace("shortcut.", "shortcut.0."): v for k, v in named.items()}


@pytest.mark.parametrize("prefix", ["", "module."])
def test_preact_resnet_computes_the_same(tmp_path: Path, prefix: str) -> None:
    model = models.build("preact_resnet18", DATA, width=8, seed=3)
    assert any("shortcut" in name for name in model.state_dict())
    found = backdoorbench.load(file(tmp_path, theirs(model, prefix)))
    assert torch.equal(logits(found.model, X), logits(model, X))
    assert (found.name, found.dataset, found.classes) == ("preactresnet18", "cifar10", 10) and found.poisoned is None


def test_other_architectures_are_torchvision_s_with_the_normalisation_inside(tmp_path: Path) -> None:
    inner = torchvision.models.mobilenet_v3_large(num_classes=10).eval()
    path = file(tmp_path, inner.state_dict(), model_name="mobilenet_v3_large")
    found = backdoorbench.load(path).model
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (DATA.mean, DATA.std))
    assert torch.allclose(found(DATA.float()), inner((DATA.float() - mean) / std), atol=1e-5)


def test_which_images_were_poisoned_second_version(tmp_path: Path) -> None:
    indicator = np.zeros(50)
    indicator[[3, 8]] = 1
    stored = {i: {"path": f"bd_train_dataset/1/{i}.png", "other_info": [7, 1]} for i in (3, 8)}
    train = {
        "bd_data_container": {"save_folder_path": "x", "data_dict": stored, "save_file_format": ".png"},
        "getitem_all": True, "getitem_all_switch": False, "original_index_array": np.arange(50),
        "poison_indicator": indicator,
        "save_folder_path": "x",
    }  # fmt: skip
    model = models.build("preact_resnet18", DATA, width=8)
    found = backdoorbench.load(file(tmp_path, theirs(model), bd_train=train, img_size=[32, 32, 3]))
    assert found.poisoned is not None and found.labels is not None
    assert found.poisoned.tolist() == [3, 8] and found.labels.tolist() == [7, 7] and found.images is None


def test_which_images_were_poisoned_first_version(tmp_path: Path) -> None:
    train = {"x": X[:2].float() / 255, "y": torch.tensor([7, 7]), "original_index": np.array([3, 8])}
    model = models.build("preact_resnet18", DATA, width=8)
    found = backdoorbench.load(file(tmp_path, theirs(model), bd_train=train))
    assert found.poisoned is not None and found.poisoned.tolist() == [3, 8]
    assert found.images is not None and torch.equal(found.images, X[:2])


def test_a_bare_checkpoint_needs_two_words(tmp_path: Path) -> None:
    model = models.build("preact_resnet18", DATA, width=8)
    path = tmp_path / "checkpoint.pt"
    torch.save(theirs(model), path)
    found = backdoorbench.load(path, dataset="cifar10", name="preactresnet18")
    assert torch.equal(logits(found.model, X), logits(model, X))
    with pytest.raises(PaperlibError, match="name='' is unknown; Known: convnext_tiny"):
        backdoorbench.load(path, dataset="cifar10")
    with pytest.raises(PaperlibError, match="dataset='' is unknown"):
        backdoorbench.load(path, name="preactresnet18")


class Evil:
    def __reduce__(self) -> Any:
        return (print, ("this must never be printed",))


def test_wrong_files_get_a_sentence_and_run_no_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = models.build("preact_resnet18", DATA, width=8)
    with pytest.raises(PaperlibError, match="is no file"):
        backdoorbench.load(tmp_path / "nothing.pt")
    with pytest.raises(PaperlibError, match="objects may run code and are refused"):
        backdoorbench.load(file(tmp_path, theirs(model), bd_test=Evil()))
    assert "never" not in capsys.readouterr().out
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(PaperlibError, match="is not weights and arrays alone"):
        backdoorbench.load(tmp_path / "text.pt")
    torch.save([1], tmp_path / "list.pt")
    with pytest.raises(PaperlibError, match="holds a list"):
        backdoorbench.load(tmp_path / "list.pt")
    with pytest.raises(PaperlibError, match="holds no weights under 'model'"):
        backdoorbench.load(file(tmp_path, {"a": 1}))
    with pytest.raises(PaperlibError, match="these are no weights of name='vgg19'"):
        backdoorbench.load(file(tmp_path, {"features.0.weight": torch.zeros(1)}, model_name="vgg19"))
    with pytest.raises(PaperlibError, match="did you mean 'vgg19'"):
        backdoorbench.load(file(tmp_path, theirs(model), model_name="vgg_19"))
