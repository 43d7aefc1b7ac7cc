"""The re-activation caveat: what the perturbation may be, what it reaches, and how it is drawn."""

from typing import Any

import pytest
import torch
from image_toy import images, model, same, scene, state
from torch import Tensor, nn

from paperlib.analysis.reactivation import reactivation, success, universal_perturbation
from paperlib.errors import PaperlibError
from paperlib.report import reactivation as drawing


class Brightness(nn.Module):
    """Class 0 where the image is brighter than ``limit`` on average, else class 1."""

    def __init__(self, limit: float):
        super().__init__()
        self.limit = nn.Parameter(torch.tensor(limit))

    def forward(self, x: Tensor) -> Tensor:
        above = 50 * (x.mean((1, 2, 3)) - self.limit)
        return torch.stack([above, -above], 1)


def grey(level: int, n: int = 12) -> Tensor:
    return torch.full((n, 3, 8, 8), level, dtype=torch.uint8)


def test_the_best_perturbation_is_found_and_no_longer_one() -> None:
    net, x = Brightness(0.5), grey(121)
    delta = universal_perturbation(net, x, 0, eps=8 / 255, steps=20)
    assert torch.allclose(delta, torch.full((3, 8, 8), 8 / 255))  # brighter everywhere, up to the radius
    assert success(net, x, torch.zeros_like(delta), 0) == 0 and success(net, x, delta, 0) == 100
    assert success(net, grey(118), delta, 0) == 0  # 126 is still below the middle
    assert torch.allclose(universal_perturbation(net, x, 1, eps=3 / 255, steps=20), torch.full((3, 8, 8), -3 / 255))


def test_it_consists_of_whole_grey_levels_within_the_radius() -> None:
    data = images()
    net = model(data).eval()
    before = state(net)
    delta = universal_perturbation(net, data.x[data.y != 0], 0, eps=5.5 / 255, steps=9, batch_size=8)
    levels = delta * 255
    assert torch.allclose(levels, levels.round(), atol=1e-4) and 0 < levels.abs().max() <= 5.0001
    assert same(before, state(net)) and not net.training and all(w.grad is None for w in net.parameters())


def test_images_are_clipped() -> None:
    seen: list[Tensor] = []

    class Watching(Brightness):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x.detach())
            return super().forward(x)

    universal_perturbation(Watching(2.0), grey(252), 0, eps=8 / 255, steps=12)
    success(Watching(2.0), grey(252), torch.full((3, 8, 8), 8 / 255), 0)
    assert all(x.min() >= 0 and x.max() <= 1 for x in seen)
    assert seen[-1].min() == 1  # 252 + 8 is white, not black


@pytest.mark.parametrize(
    ("x", "given", "said"),
    [
        (grey(9, 0), {}, "x holds no image"),
        (grey(9), {"steps": 0}, "steps=0"),
        (grey(9), {"eps": 0.001}, "one grey level"),
    ],
)
def test_what_cannot_be_optimised_is_said(x: Tensor, given: dict[str, Any], said: str) -> None:
    with pytest.raises(PaperlibError, match=said):
        universal_perturbation(Brightness(0.5), x, 0, **given)


def test_reactivation_judges_every_model_on_test_images_of_other_classes() -> None:
    around = scene(images(40, size=8))
    net, other = model(around.train).eval(), model(around.train, seed=1).eval()
    found = reactivation([net, other], around, seed=0, steps=3, batch_size=8)
    assert found["n"] == 30 and len(found["clean"]) == len(found["triggered"]) == 2
    triggered, _ = around.triggered
    kept = around.test.x[around.test.y != 0]
    nothing = torch.zeros(3, 8, 8)
    for k, made in enumerate((net, other)):
        assert found["triggered"][k][0] == success(made, triggered.x, nothing, 0)
        assert found["clean"][k][0] == success(made, kept, nothing, 0)
        delta = universal_perturbation(made, around.train.x[around.train.y != 0], 0, steps=3, batch_size=8)
        assert found["clean"][k][1] == success(made, kept, delta, 0)
    assert reactivation([net, other], around, seed=0, steps=3, batch_size=8) == found


def results() -> dict[str, dict[str, Any]]:
    return {
        "blended": {"clean": [[1.0, 60.0], [2.0, 30.0]], "triggered": [[99.0, 100.0], [3.0, 85.0]]},
        "badnets": {"clean": [[1.5, 50.0], [2.5, 20.0]], "triggered": [[95.0, 99.0], [1.0, 40.0]]},
    }


def test_every_number_is_drawn_and_told() -> None:
    numbers = drawing.frame(results(), ("none", "sau"))
    assert len(numbers) == 2 * 2 * 4
    cell = numbers[(numbers.attack == "blended") & (numbers.model == "sau")].set_index("image").asr
    assert cell.to_dict() == {"clean image": 2.0, "trigger": 3.0, "perturbation": 30.0, "trigger + perturbation": 85.0}
    figure = drawing.draw(numbers)
    heights = sorted(bar.get_height() for axes in figure.axes for bar in axes.patches)
    assert heights == sorted(numbers.asr)
    assert "SAU 3 with the trigger, 30 with the perturbation, 85 with both" in drawing.describe(numbers)


def test_names_must_fit_the_models() -> None:
    with pytest.raises(PaperlibError, match="names 3 models, the result of blended has 2"):
        drawing.frame(results(), ("none", "sau", "clean"))
    with pytest.raises(PaperlibError, match="found is empty"):
        drawing.frame({}, ("none",))
