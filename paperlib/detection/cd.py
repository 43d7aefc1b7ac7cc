r"""CD: cognitive distillation.

Huang, Ma, Erfani, Bailey, "Distilling Cognitive Backdoor Patterns within an Image", ICLR 2023 (arXiv 2301.10908). What
is the smallest part of an image that keeps its prediction? Per image a mask m in [0, 1] over the pixels minimises

.. math::
   \| f(x_{cp}) - f(x) \|_1 + \alpha \|m\|_1 + \beta\, TV(m), \qquad x_{cp} = x \odot m + (1 - m) \odot \delta,

with delta one random colour per image and step. For a triggered image the trigger is enough: its mask is small. x is
flagged when :math:`\|m\|_1` is below mean - std of clean images. The score is :math:`-\|m\|_1 / \text{pixels}`.

Differences from the paper
1. The threshold's mean and deviation come from the clean subset. BackdoorBench's file flags the large masks instead and
   takes mean and deviation over the truly clean training images, which nobody knows.

Introduced in notebook 07.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from paperlib.data.images import ImageData
from paperlib.detection import Detection
from paperlib.models.features import batch_logits
from paperlib.training import Progress, autocast, evaluating


@dataclass(frozen=True)
class CD:
    """Hyper-parameters; defaults: the paper's."""

    steps: int = 100
    lr: float = 0.1
    alpha: float = 0.01
    """Weight of the mask's L1 norm (a sum over pixels)."""
    beta: float = 10.0
    """Weight of the mask's total variation (squares, a mean over pixels)."""
    deviations: float = 1.0
    """Standard deviations below the clean mean at which a mask is small."""
    batch_size: int = 500


def total_variation(m: Tensor) -> Tensor:
    """Squared differences of neighbours of masks (B, 1, H, W), per pixel: (B,)."""
    down, right = m.diff(dim=2).square().sum((1, 2, 3)), m.diff(dim=3).square().sum((1, 2, 3))
    return (down + right) / m[0].numel()


def mask_norms(model: nn.Module, data: ImageData, config: CD, seed: int, progress: Progress = None) -> Tensor:
    r""":math:`\|m\|_1` (N,), as a share of the pixels, of the distilled mask of every image."""
    generator = torch.Generator(data.x.device).manual_seed(seed)
    out = torch.empty(len(data), device=data.x.device)
    for start in range(0, len(data), config.batch_size):
        x = data.x[start : start + config.batch_size].float().div(255)
        wanted = batch_logits(model, x)
        # m = (tanh w + 1) / 2; images are independent: Adam works entry by entry
        w = torch.ones((len(x), 1, *x.shape[2:]), device=x.device, requires_grad=True)
        optimizer = torch.optim.Adam([w], config.lr, betas=(0.1, 0.1))
        for _ in range(config.steps):
            m = (w.tanh() + 1) / 2
            colour = torch.rand((*x.shape[:2], 1, 1), generator=generator, device=x.device)
            with evaluating(model), autocast(x.device):
                found = model(x * m + (1 - m) * colour).float()
            loss = (found - wanted).abs().mean(1) + config.alpha * m.sum((1, 2, 3)) + config.beta * total_variation(m)
            (w.grad,) = torch.autograd.grad(loss.sum(), w)
            optimizer.step()
        out[start : start + len(x)] = ((w.detach().tanh() + 1) / 2).mean((1, 2, 3))
        if progress:
            progress(min(1.0, (start + len(x)) / len(data)), "masks distilled")
    return out


def cd(
    data: ImageData, model: nn.Module, clean: ImageData, config: CD, *, seed: int = 0, progress: Progress = None
) -> Detection:
    """Cognitive distillation of the training set ``data`` of ``model``."""
    reference = mask_norms(model, clean, config, seed)
    threshold = (reference.mean() - config.deviations * reference.std()).item()
    norms = mask_norms(model, data, config, seed + 1, progress)
    return Detection(-norms, norms < threshold, {"threshold": round(-threshold, 5)})
