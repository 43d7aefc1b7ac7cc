"""The images that activate a neuron most, and which of them are poisoned.

A neuron is a channel of the pooled features. Shown are the neurons whose mean activation differs most between poisoned
and clean training images, unless ``neurons`` names others. Introduced in notebook 08.
"""

from typing import Any

import torch
from torch import Tensor

from paperlib.analysis.samples import Models, packed, poisoned_sample, rounded
from paperlib.attacks.scene import Scene
from paperlib.errors import PaperlibError
from paperlib.models.default_layer import feature_layer
from paperlib.models.layers import layer_output


def strongest(activation: Tensor, k: int) -> Tensor:
    """For every neuron the ``k`` images of highest activation, strongest first: (neurons, k) from (N, neurons).

    Raises
    ------
    PaperlibError
        ``k`` is not between 1 and N.
    """
    if not 1 <= k <= len(activation):
        raise PaperlibError(f"k={k!r} must lie between 1 and the {len(activation)} images that are looked at.")
    return activation.sort(dim=0, descending=True, stable=True).indices[:k].T


def by_difference(activation: Tensor, mask: Tensor) -> Tensor:
    """Neurons by falling difference of the mean activations, poisoned less clean; all by index where a group is
    empty."""
    if not mask.any() or mask.all():
        return torch.arange(activation.shape[1], device=activation.device)
    return (activation[mask].mean(0) - activation[~mask].mean(0)).argsort(descending=True, stable=True)


def activated_images(
    models: Models,
    scene: Scene,
    *,
    seed: int,
    layer: str = "",
    n: int = 1000,
    neurons: tuple[int, ...] = (),
    shown: int = 4,
    k: int = 10,
) -> dict[str, Any]:
    """The ``k`` training images, of ``n``, that activate chosen neurons of the first of ``models`` most.

    Returns
    -------
    dict
        shape: [C, H, W]; neurons; per neuron: images (base64), activation, labels (of training), poisoned (0 or 1).

    Raises
    ------
    PaperlibError
        A model trained on clean data, a neuron that the layer does not have, ``k`` larger than ``n``.
    """
    x, y, mask = poisoned_sample(scene, n, seed)
    activation = layer_output(models[0], feature_layer(models[0], layer, x), x, pooled=True)
    width = activation.shape[1]
    if bad := [i for i in neurons if not 0 <= i < width]:
        raise PaperlibError(f"neurons={tuple(neurons)!r}: {bad[0]} is none of the layer's {width} (0 to {width - 1}).")
    chosen = list(neurons) or by_difference(activation, mask)[:shown].tolist()
    best = strongest(activation, k)[chosen]
    return {
        "shape": list(x.shape[1:]),
        "neurons": chosen,
        "images": [[packed(x[i]) for i in row] for row in best],
        "activation": [rounded(activation[row, i]) for i, row in zip(chosen, best, strict=True)],
        "labels": y[best].tolist(),
        "poisoned": mask[best].int().tolist(),
    }
