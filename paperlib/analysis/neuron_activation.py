"""Mean activation of every neuron over clean and over poisoned training images (BackdoorBench's setting).

A neuron is a channel of the pooled features. Neurons are sorted by falling clean activation in the first model: a
poisoned bar that sticks out where the clean ones are low belongs to a neuron that the trigger has to itself. Introduced
in notebook 08.
"""

from typing import Any

from paperlib.analysis.samples import Models, poisoned_sample, rounded
from paperlib.attacks.scene import Scene
from paperlib.errors import PaperlibError
from paperlib.models.default_layer import feature_layer
from paperlib.models.layers import layer_output


def neuron_activation(models: Models, scene: Scene, *, seed: int, layer: str = "", n: int = 1000) -> dict[str, Any]:
    """Mean activation of every neuron in every model, over ``n`` images in the proportion of the training set.

    Returns
    -------
    dict
        order: neurons by falling clean activation in the first model; clean, poisoned: per model one number per neuron,
        in the order of the layer; n: [clean, poisoned] images.

    Raises
    ------
    PaperlibError
        A model trained on clean data, or so few images that one of the groups is empty.
    """
    x, _, mask = poisoned_sample(scene, n, seed)
    if not mask.any() or mask.all():
        raise PaperlibError(
            f"n={n!r} holds {int(mask.sum())} poisoned images of {len(x)}; both groups need one, take more."
        )
    clean, poisoned = [], []
    for model in models:
        activation = layer_output(model, feature_layer(model, layer, x), x, pooled=True)
        clean.append(activation[~mask].mean(0))
        poisoned.append(activation[mask].mean(0))
    return {
        "order": clean[0].argsort(descending=True, stable=True).tolist(),
        "clean": [rounded(v) for v in clean],
        "poisoned": [rounded(v) for v in poisoned],
        "n": [int((~mask).sum()), int(mask.sum())],
    }
