r"""Shared adversarial examples lie near the poisoned image in feature space (SAU, arXiv 2307.10562, its Figure 4).

For a backdoored model b and a model theta that was purified from it, adversarial examples of theta are made in the two
ways of :mod:`paperlib.analysis.adversarial_risk`. With :math:`\phi` the pooled features of b, g(x) the triggered and
:math:`x_\varepsilon` the perturbed image, the distance

.. math:: \|\phi(x_\varepsilon) - \phi(g(x))\|_2

is taken apart by whether :math:`x_\varepsilon` is shared (theta and b are wrong in the same way) or not. Clean images
serve as a measure.

Differences from the paper
1. It shows one image of each kind and names neither the layer nor the two models; here the layer is the ``features`` of
   b, theta is every purified model that is given, and all images count that have an adversarial example.
2. Two types that are not shared (II and III) are one group, as in its figure.

Introduced in notebook 02.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from paperlib.analysis.adversarial_risk import Watched
from paperlib.analysis.samples import Models
from paperlib.attacks.scene import Scene
from paperlib.defenses.sau import SAU, example_types
from paperlib.models.default_layer import feature_layer
from paperlib.models.layers import watching
from paperlib.training import autocast, evaluating

KINDS = ("clean", "shared", "other")


def pooled_features(model: nn.Module, layer: str, x: Tensor) -> Tensor:
    """Spatial means (N, channels) of the output of ``layer`` for float images (N, C, H, W), float32."""
    with torch.no_grad(), autocast(x.device), evaluating(model), watching(model, layer) as seen:
        for part in x.split(250):
            model(part)
    return torch.cat([out.float().flatten(2).mean(2) for out in seen])


def shared_features(
    models: Models,
    scene: Scene,
    *,
    seed: int,
    n: int = 300,
    steps: int = 5,
    eps: float = 0.2,
    step: float = 0.2,
    layer: str = "",
) -> dict[str, Any]:
    """Distances to the poisoned image, of the first ``n`` test images that the attacker wants to be misread.

    The first of ``models`` is the backdoored one, the others are purified from it.

    Returns
    -------
    dict
        clean, shared, other: lists of distances; those of the adversarial examples are of all purified models together.
    """
    watched, config = Watched(scene, n), SAU(steps=steps, eps=eps, step=step)
    b, kept = models[0], watched.y != watched.wanted
    where = feature_layer(b, layer, scene.test.x)
    poisoned = pooled_features(b, where, watched.triggered.float() / 255)

    def distances(x: Tensor, chosen: Tensor) -> list[float]:
        found = (pooled_features(b, where, x) - poisoned).norm(dim=1)
        return [round(v, 4) for v in found[chosen & kept].tolist()]

    out: dict[str, Any] = {"clean": distances(watched.clean, torch.ones_like(kept)), "shared": [], "other": []}
    for model in models[1:]:
        for inner in ("shared", "vanilla"):
            x = watched.perturbed(model, b, replace(config, inner=inner))
            kinds = example_types(watched.predictions(model, [x])[1], watched.predictions(b, [x])[1], watched.y)
            out["shared"] += distances(x, kinds == 1)
            out["other"] += distances(x, kinds > 1)
    return out
