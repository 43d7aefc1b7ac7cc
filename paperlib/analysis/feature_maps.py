"""The maps of a layer for one image, without and with the trigger.

Shown are the channels that change most between the two images; a transformer's tokens are shown as the grid of their
patches. Introduced in notebook 08.
"""

from typing import Any

from paperlib.analysis.samples import Models, image_pair, packed, rounded
from paperlib.attacks.scene import Scene
from paperlib.models.default_layer import feature_layer
from paperlib.models.layers import as_maps, layer_output


def feature_maps(
    models: Models, scene: Scene, *, seed: int, layer: str = "", true_class: int = 4, index: int = 0, shown: int = 8
) -> dict[str, Any]:
    """Output channels of ``layer`` (default: the features) of the first of ``models``.

    Returns
    -------
    dict
        shape: [C, H, W]; images: base64 of the clean and the triggered image; layer; channels; maps: [clean,
        triggered], each a list of h x w maps.

    Raises
    ------
    PaperlibError
        A model trained on clean data, an image that the test set does not have, a layer without positions.
    """
    pair = image_pair(scene, true_class, index, "feature_maps")
    where = feature_layer(models[0], layer, pair)
    maps = as_maps(layer_output(models[0], where, pair), where)
    change = (maps[1] - maps[0]).abs().sum((1, 2))
    chosen = change.argsort(descending=True, stable=True)[:shown]
    return {
        "shape": list(pair.shape[1:]),
        "images": [packed(i) for i in pair],
        "layer": where,
        "channels": chosen.tolist(),
        "maps": rounded(maps[:, chosen], 4),
    }
