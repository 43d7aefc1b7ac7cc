r"""Frequency saliency: which frequencies of an image decide its class.

BackdoorBench's frequency saliency map: the gradient of the largest class score with respect to the pixels, its inverse
2-D Fourier transform with the zero frequency in the middle, and the logarithm of the modulus, per channel scaled to [0,
1], averaged over the channels:

.. math:: \mathrm{FSM} = \tfrac1C \sum_c \mathrm{minmax} \log \big| \mathrm{shift}\, \mathcal F^{-1} (\nabla_{x_c}
   \max_k f_k(x)) \big|.

Differences from the benchmark
1. A small number is added before the logarithm, so that a frequency without any gradient is 0 and not minus infinity.

Introduced in notebook 08.
"""

from typing import Any

import torch
from torch import Tensor, nn

from paperlib.analysis.samples import Models, image_pair, packed, rounded
from paperlib.attacks.scene import Scene
from paperlib.training import evaluating


def saliency(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Maps (N, H, W) in [0, 1] and predicted classes (N,) of images (N, C, H, W) in [0, 1]; zero frequency in the
    middle."""
    with torch.enable_grad(), evaluating(model):
        pixels = x.detach().clone().requires_grad_()
        best, predicted = model(pixels).max(1)
        gradient = torch.autograd.grad(best.sum(), pixels)[0].float()
    modulus = torch.fft.fftshift(torch.fft.ifft2(gradient), dim=(2, 3)).abs()
    floor = 1e-6 * modulus.amax((2, 3), keepdim=True).clamp_min(1e-30)
    log = (modulus + floor).log()
    low, high = log.amin((2, 3), keepdim=True), log.amax((2, 3), keepdim=True)
    return ((log - low) / (high - low).clamp_min(1e-12)).mean(1), predicted


def frequency_saliency(
    models: Models, scene: Scene, *, seed: int, true_class: int = 4, index: int = 0
) -> dict[str, Any]:
    """Frequency saliency of one test image, without and with the trigger, in every model.

    Returns
    -------
    dict
        shape: [C, H, W]; images: base64 of the two; maps: per model [clean, triggered], each H x W; predicted:
        likewise.

    Raises
    ------
    PaperlibError
        A model trained on clean data, or an image that the test set does not have.
    """
    pair = image_pair(scene, true_class, index, "frequency_saliency")
    found = [saliency(model, pair.float() / 255) for model in models]
    return {
        "shape": list(pair.shape[1:]),
        "images": [packed(i) for i in pair],
        "maps": [rounded(maps, 3) for maps, _ in found],
        "predicted": [predicted.tolist() for _, predicted in found],
    }
