r"""STRIP: strong intentional perturbation.

Gao et al., "STRIP: A Defence Against Trojan Attacks on Deep Neural Networks", ACSAC 2019 (arXiv 1902.06531). A trigger
keeps its power when another picture is laid over the image, so the predictions of a poisoned image under many overlays
hardly differ. With N clean images z_j, in normalised pixel space,

.. math:: H(x) = \frac1N \sum_j \mathrm{entropy}\big( p(x + \alpha z_j) \big),

and x is flagged when H(x) is below the 10 % quantile of clean images. The score is -H(x), in nats.

Differences from the paper
1. alpha = 1, 100 overlays and a false-positive rate of 10 %: VDC's and AGPD's comparison (arXiv 2309.16211,
   2312.06230). BackdoorBench's class uses 0.5, 64 and 5 %.
2. Every image of a batch gets its own random overlays.

Introduced in notebook 07.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paperlib.data.images import ImageData
from paperlib.detection import Detection
from paperlib.models.features import batch_logits
from paperlib.training import Progress


@dataclass(frozen=True)
class STRIP:
    """Hyper-parameters; defaults: the comparison of VDC."""

    alpha: float = 1.0
    """Weight of the overlay, in normalised pixel space."""
    overlays: int = 100
    fpr: float = 0.1
    """False-positive rate that the threshold has on the clean images."""
    batch_size: int = 1000


def mean_entropy(
    model: nn.Module, data: ImageData, clean: ImageData, config: STRIP, seed: int, progress: Progress = None
) -> Tensor:
    """Mean entropy (N,) of the predictions of every image of ``data`` under overlays from ``clean``."""
    generator = torch.Generator(data.x.device).manual_seed(seed)
    # alpha x the normalised overlay; the models here normalise inside, so the standard deviation cancels
    centred = clean.float() - torch.tensor(data.mean, device=data.x.device).view(1, -1, 1, 1)
    total = torch.zeros(len(data), device=data.x.device)
    for start in range(0, len(data), config.batch_size):
        x = data.x[start : start + config.batch_size].float().div(255)
        for _ in range(config.overlays):
            drawn = torch.randint(len(clean), (len(x),), generator=generator, device=x.device)
            log_p = F.log_softmax(batch_logits(model, x + config.alpha * centred[drawn]), 1)
            total[start : start + len(x)] -= (log_p.exp() * log_p).sum(1)
        if progress:
            progress(min(1.0, (start + len(x)) / len(data)), "overlays")
    return total / config.overlays


def strip(
    data: ImageData, model: nn.Module, clean: ImageData, config: STRIP, *, seed: int = 0, progress: Progress = None
) -> Detection:
    """STRIP on the training set ``data`` of ``model``."""
    threshold = mean_entropy(model, clean, clean, config, seed).quantile(config.fpr).item()
    entropy = mean_entropy(model, data, clean, config, seed + 1, progress)
    return Detection(-entropy, entropy < threshold, {"threshold": round(-threshold, 5)})
