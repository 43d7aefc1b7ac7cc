r"""Grad-CAM: where a class score comes from.

Selvaraju et al., ICCV 2017 (arXiv 1610.02391). For class c and activation maps :math:`A^k` of a layer

.. math:: L^c = \mathrm{ReLU}\Big(\sum_k \alpha_k A^k\Big), \qquad \alpha_k = \tfrac1Z \sum_{ij} \partial y^c / \partial
   A^k_{ij},

divided by its maximum. The class is the predicted one, the layer the last block.
"""

from typing import Any

from paperlib.analysis.samples import Models, image_pair, packed
from paperlib.attacks.scene import Scene
from paperlib.models.default_layer import feature_layer
from paperlib.models.layers import class_activation_map


def gradcam(
    models: Models, scene: Scene, *, seed: int, layer: str = "", true_class: int = 4, index: int = 0
) -> dict[str, Any]:
    """Maps of one test image of ``true_class``, without and with the trigger, in every model.

    The image is number ``index`` of its class in the test set, so that models of different attacks show the same one.

    Returns
    -------
    dict
        shape: [C, H, W]; images: base64 of the clean and the triggered uint8 image (H, W, C); maps: per model [clean,
        triggered], each h x w; predicted: per model [clean, triggered].

    Raises
    ------
    PaperlibError
        The first model was trained on clean data, or there is no such image.
    """
    pair = image_pair(scene, true_class, index, "gradcam")
    where = feature_layer(models[0], layer, pair)
    maps, predicted = [], []
    for model in models:
        m, p = class_activation_map(model, where, pair.float() / 255)
        maps.append([[[round(v, 3) for v in row] for row in one] for one in m.tolist()])
        predicted.append(p.tolist())
    return {"shape": list(pair.shape[1:]), "images": [packed(i) for i in pair], "maps": maps, "predicted": predicted}
