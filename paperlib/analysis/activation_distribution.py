"""Of which classes are the images that activate a neuron most? Poisoned images are counted apart.

A neuron whose strongest images all carry the trigger, whatever they show, belongs to the backdoor. Classes are the
labels of training, so poisoned images count for the target class. Introduced in notebook 08.
"""

from typing import Any

import torch
from torch import Tensor

from paperlib.analysis.activated_images import by_difference, strongest
from paperlib.analysis.samples import Models, poisoned_sample
from paperlib.attacks.scene import Scene
from paperlib.models.default_layer import feature_layer
from paperlib.models.layers import layer_output


def histogram(best: Tensor, y: Tensor, mask: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Counts (neurons, classes) of the clean and of the poisoned images ``best`` (neurons, k)."""
    one_hot = torch.nn.functional.one_hot(y, classes)
    clean, poisoned = (one_hot * group[:, None] for group in (~mask, mask))
    return clean[best].sum(1), poisoned[best].sum(1)


def activation_distribution(
    models: Models, scene: Scene, *, seed: int, layer: str = "", n: int = 1000, k: int = 50, shown: int = 16
) -> dict[str, Any]:
    """Classes of the ``k`` images, of ``n``, that activate each neuron of the first of ``models`` most.

    Shown are the ``shown`` neurons whose mean activation differs most between poisoned and clean images.

    Returns
    -------
    dict
        neurons; classes: their names; clean, poisoned: per neuron the count per class; share: of all neurons, the share
        of poisoned images among their ``k`` strongest.

    Raises
    ------
    PaperlibError
        A model trained on clean data, or ``k`` larger than ``n``.
    """
    x, y, mask = poisoned_sample(scene, n, seed)
    activation = layer_output(models[0], feature_layer(models[0], layer, x), x, pooled=True)
    best = strongest(activation, k)
    chosen = by_difference(activation, mask)[:shown]
    clean, poisoned = histogram(best[chosen], y, mask, scene.train.n_classes)
    return {
        "neurons": chosen.tolist(),
        "classes": list(scene.train.class_names),
        "clean": clean.tolist(),
        "poisoned": poisoned.tolist(),
        "share": [round(v, 4) for v in mask[best].float().mean(1).tolist()],
    }
