r"""Grad-CAM: where a class score comes from.

Selvaraju et al., ICCV 2017 (arXiv 1610.02391). For class c and activation maps :math:`A^k` of a layer

.. math:: L^c = \mathrm{ReLU}\Big(\sum_k \alpha_k A^k\Big), \qquad \alpha_k = \tfrac1Z \sum_{ij} \partial y^c / \partial A^k_{ij},

divided by its maximum. The class is the predicted one, the layer the last block.
"""

from typing import Any

import torch
from torch import Tensor, nn

from paperlib.analysis.samples import packed
from paperlib.attacks.scene import Scene
from paperlib.errors import PaperlibError
from paperlib.models.default_layer import feature_layer
from paperlib.models.layers import as_maps, watching
from paperlib.training import evaluating


def class_activation_map(model: nn.Module, layer: str, x: Tensor) -> tuple[Tensor, Tensor]:
    """Maps (N, h, w) in [0, 1] and predicted classes (N,) of images (N, C, H, W) in [0, 1].

    The tokens of a transformer are taken as the grid of their patches, without the class token.

    Raises
    ------
    PaperlibError
        The layer has no positions, or none of its positions reaches the class score.
    """
    with torch.enable_grad(), evaluating(model), watching(model, layer) as seen:
        scores = model(x)
        predicted = scores.argmax(1)
        gradient = torch.autograd.grad(scores.gather(1, predicted[:, None]).sum(), seen[0])[0]
    slopes = as_maps(gradient, layer)
    if gradient.ndim == 3 and not slopes.any():
        raise PaperlibError(
            f"layer={layer!r}: the class score reads its class token only, so no patch has a gradient; give an earlier layer, "
            "for example the first layer norm of the last block."
        )
    maps = (slopes.mean((2, 3), keepdim=True) * as_maps(seen[0].detach(), layer)).sum(1).relu()
    return maps / maps.amax((1, 2), keepdim=True).clamp_min(1e-12), predicted


def gradcam(
    models: list[nn.Module], scene: Scene, *, seed: int, layer: str = "", true_class: int = 4, index: int = 0
) -> dict[str, Any]:
    """Maps of one test image of ``true_class``, without and with the trigger, in every model.

    The image is number ``index`` of its class in the test set, so that models of different attacks show the same one.

    Returns
    -------
    dict
        shape: [C, H, W]; images: base64 of the clean and the triggered uint8 image (H, W, C); maps: per model [clean,
        triggered], each h x w; predicted: per model [clean, triggered].
    """
    from paperlib.attacks import render

    image = scene.test.subset(scene.test.y == true_class).x[index]
    pair = torch.stack([image, render(scene.attack, image[None])[0]])
    where = feature_layer(models[0], layer, pair)
    maps, predicted = [], []
    for model in models:
        m, p = class_activation_map(model, where, pair.float() / 255)
        maps.append([[[round(v, 3) for v in row] for row in one] for one in m.tolist()])
        predicted.append(p.tolist())
    return {"shape": list(image.shape), "images": [packed(i) for i in pair], "maps": maps, "predicted": predicted}
