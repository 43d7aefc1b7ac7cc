r"""The loss around a model, along two random directions.

Li et al., "Visualizing the Loss Landscape of Neural Nets", NeurIPS 2018 (arXiv 1712.09913): every filter of a random
direction d gets the norm of the model's filter,

.. math:: d_{ij} \leftarrow \frac{d_{ij}}{\|d_{ij}\|} \|w_{ij}\|, \qquad L(w + \alpha d_1 + \beta d_2),

and biases and batch norm stay as they are. Two losses are shown: of clean test images with their classes, and of the
same images with the trigger and the label that the attacker wants.

Differences from the benchmark
1. A grid of 11 x 11 points instead of 30 x 30, and at most 1,000 images; running statistics are not made anew at each
   point.

Introduced in notebook 08.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from paperlib.analysis.samples import Models, attacked_pairs, rounded
from paperlib.attacks import poisoned_labels
from paperlib.attacks.scene import Scene
from paperlib.errors import PaperlibError
from paperlib.training import autocast, evaluating


def direction(model: nn.Module, generator: torch.Generator) -> dict[str, Tensor]:
    """A random direction, filter by filter as long as the weights; 0 for biases and batch norm (one axis)."""
    out = {}
    for name, w in model.named_parameters():
        d = torch.randn(w.shape, generator=generator).to(w.device)
        if w.ndim < 2:
            out[name] = torch.zeros_like(w)
            continue
        lengths = w.detach().flatten(1).norm(dim=1), d.flatten(1).norm(dim=1).clamp_min(1e-12)
        out[name] = d * (lengths[0] / lengths[1]).view(-1, *(1,) * (w.ndim - 1))
    return out


@torch.no_grad()
def losses(model: nn.Module, weights: dict[str, Tensor], x: Tensor, y: Tensor, batch_size: int = 500) -> float:
    """Mean cross-entropy of ``model`` with other ``weights`` on uint8 images x (N, C, H, W)."""
    total = 0.0
    with evaluating(model), autocast(x.device):
        for part, labels in zip(x.split(batch_size), y.split(batch_size), strict=True):
            out = functional_call(model, weights, (part.float().div_(255),))
            total += F.cross_entropy(out.float(), labels, reduction="sum").item()
    return total / len(x)


def loss_landscape(
    models: Models, scene: Scene, *, seed: int, n: int = 1000, grid: int = 11, radius: float = 1.0
) -> dict[str, Any]:
    """Losses on a ``grid`` x ``grid`` of points within +- ``radius`` of every model; the directions are drawn alike for
    all.

    Returns
    -------
    dict
        at: the coordinates; clean, triggered: per model a grid x grid of losses, rows along the first direction.

    Raises
    ------
    PaperlibError
        A model trained on clean data, a grid of fewer than 3 points, an even one (it would miss the model itself), a
        radius that is not positive.
    """
    if grid < 3 or grid % 2 == 0:
        raise PaperlibError(f"grid={grid!r} must be odd and at least 3, so that its middle is the model.")
    if not radius > 0:
        raise PaperlibError(f"radius={radius!r} must be positive.")
    clean, triggered, y = attacked_pairs(scene, n, "loss_landscape")
    wanted = poisoned_labels(y, scene.trigger.labels, scene.target, scene.test.n_classes)
    at = torch.linspace(-radius, radius, grid).tolist()
    out: dict[str, Any] = {"at": [round(a, 4) for a in at], "clean": [], "triggered": []}
    for model in models:
        generator = torch.Generator().manual_seed(seed)
        first, second = direction(model, generator), direction(model, generator)
        centre = {name: w.detach() for name, w in model.named_parameters()}
        for name, x, labels in (("clean", clean, y), ("triggered", triggered, wanted)):
            surface = [
                [losses(model, {k: w + a * first[k] + b * second[k] for k, w in centre.items()}, x, labels) for b in at]
                for a in at
            ]
            out[name].append(rounded(torch.tensor(surface, dtype=torch.float64)))
    return out
