"""The tool behind Figure 4 of the NPD paper: trigger and perturbations in pixels and features, and the target
estimate."""

import base64
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from image_toy import images, model, same, scene, state
from torch import nn

from paperlib.analysis import perturbations as tool
from paperlib.attacks import render
from paperlib.attacks.scene import Scene
from paperlib.defenses.npd import runner_up
from paperlib.errors import PaperlibError


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("paperlib.analysis.perturbations", "paperlib.defenses.npd", "paperlib.training"):
        monkeypatch.setattr(f"{module}.autocast", lambda device: nullcontext())


@pytest.fixture
def toy() -> Scene:
    return scene(images(40, size=16))


@pytest.fixture
def net(toy: Scene) -> nn.Module:
    made = model(toy.train).train()
    made(toy.train.float())
    return made.eval()


def test_distances_and_estimate_are_those_of_the_definitions(exact: None, toy: Scene, net: nn.Module) -> None:
    before = state(net)
    found = tool.perturbations([net, net], toy, seed=0, n=20, true_class=1, index=0)
    assert same(before, state(net)) and not net.layer4._forward_hooks  # type: ignore[union-attr]
    chosen = (toy.test.y != 0).nonzero().flatten()[:20]
    x, y = toy.test.x[chosen], toy.test.y[chosen]
    with torch.no_grad():
        wrong = net(x.float() / 255)
        guess = runner_up(wrong, y)
    assert found["estimate"] == pytest.approx([(guess == 0).double().mean().item()] * 2, abs=1e-4)
    triggered = render(toy.attack, x)  # type: ignore[arg-type]
    features = [tool.look_at(net, "layer4", one.float() / 255) for one in (x, triggered)]
    clean = (features[0] - features[1]).flatten(1).norm(dim=1).mean().item()
    assert found["distance"][0] == pytest.approx(clean, rel=1e-3) and found["distance"][1] == 0
    length = ((triggered.float() - x.float()) / 255).flatten(1).norm(dim=1).mean().item()
    assert found["pixels"][:2] == pytest.approx([0, length], abs=1e-3) and max(found["pixels"][2:]) <= 3.001
    assert found["n"] == 20 and found["kinds"] == list(tool.KINDS) and np.array(found["maps"]).shape == (5, 2, 2)
    assert all(len(base64.b64decode(i)) == 3 * 16 * 16 for i in found["images"] + found["residuals"])


def test_bad_input_of_the_tool(toy: Scene, net: nn.Module) -> None:
    with pytest.raises(PaperlibError, match="true_class=1: the test set has 10 such images"):
        tool.perturbations([net], toy, seed=0, true_class=1, index=10)
    clean = Scene(toy.train, toy.test)
    with pytest.raises(PaperlibError, match="it has no trigger"):
        tool.perturbations([net], clean, seed=0)
