"""Distances in feature space: image by image, and what counts as shared."""

from contextlib import nullcontext

import pytest
import torch
from image_toy import images, model, same, scene, state
from torch import Tensor, nn

from paperlib.analysis import shared_features as tool
from paperlib.analysis.adversarial_risk import Watched
from paperlib.defenses.sau import SAU


def test_distances_of_each_kind_image_by_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool, "autocast", lambda device: nullcontext())
    around = scene(images(40, size=8))
    b, theta = model(around.train).eval(), model(around.train, seed=1).eval()
    before = state(b)
    found = tool.shared_features([b, theta], around, seed=0, n=20, steps=2)
    assert same(before, state(b)) and not b.training

    watched = Watched(around, 20)
    kept = [i for i in range(20) if watched.y[i] != 0]

    def phi(x: Tensor) -> Tensor:
        seen: list[Tensor] = []
        handle = b.get_submodule(b.features).register_forward_hook(lambda m, i, out: seen.append(out))
        with torch.no_grad():
            b(x[None])
        handle.remove()
        return seen[0][0].mean((1, 2))

    poisoned = [phi(watched.triggered[i].float() / 255) for i in range(20)]
    expected = [(phi(watched.clean[i]) - poisoned[i]).norm().item() for i in kept]
    assert found["clean"] == pytest.approx(expected, rel=1e-3, abs=1e-3)

    shared, other = [], []
    for inner in ("shared", "vanilla"):
        x = watched.perturbed(theta, b, SAU(steps=2, inner=inner))
        of_theta, of_b = watched.predictions(theta, [x])[1], watched.predictions(b, [x])[1]
        for i in kept:
            if of_theta[i] != watched.y[i]:
                (shared if of_theta[i] == of_b[i] else other).append((phi(x[i]) - poisoned[i]).norm().item())
    assert found["shared"] == pytest.approx(shared, rel=1e-3, abs=1e-3)
    assert found["other"] == pytest.approx(other, rel=1e-3, abs=1e-3)
    assert shared or other


def test_against_itself_every_example_is_shared() -> None:
    around = scene(images(40, size=8))
    b: nn.Module = model(around.train).eval()
    found = tool.shared_features([b, b], around, seed=0, n=20, steps=2)
    assert found["shared"] and not found["other"]
