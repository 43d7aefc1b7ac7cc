r"""TeCo: test-time corruption robustness consistency.

Liu et al., "Detecting Backdoors During the Inference Stage Based on Corruption Robustness Consistency", CVPR 2023
(arXiv 2303.18191). A clean image loses its prediction at similar severities of different corruptions; a triggered one
survives some corruptions and not others. With r_k(x) the first severity of corruption k at which the predicted label
changes (one more than the last severity if it never does),

.. math:: s(x) = \mathrm{std}_k \, r_k(x).

Differences from the paper
1. The paper reports ranking only. Here x is flagged above the 90 % quantile of the clean subset, as in STRIP.
2. Corruptions are our own (:mod:`paperlib.detection.corruptions`): 15 of the kinds, all but frost, for which saturation
   stands. ``kinds`` and ``severities`` may name fewer.

Introduced in notebook 07.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from paperlib.data.images import ImageData
from paperlib.detection import Detection
from paperlib.detection.corruptions import CORRUPTIONS, corrupt
from paperlib.errors import PaperlibError, choose
from paperlib.models.features import batch_logits
from paperlib.training import Progress

SEVERITIES = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class TeCo:
    """Hyper-parameters; defaults: the paper's."""

    kinds: tuple[str, ...] = (
        "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur",
        "snow",
        "saturate", "fog", "brightness", "contrast", "elastic", "pixelate", "jpeg",
    )  # fmt: skip
    severities: tuple[int, ...] = SEVERITIES
    fpr: float = 0.1
    """False-positive rate that the threshold has on the clean images."""
    batch_size: int = 1000


def first_change(changed: Tensor) -> Tensor:
    """Position (...) from 1 of the first True along the last axis of ``changed`` (..., severities); one past it if none
    is."""
    steps = changed.shape[-1]
    return torch.where(changed.any(-1), changed.to(torch.uint8).argmax(-1), steps) + 1


def inconsistency(model: nn.Module, data: ImageData, config: TeCo, seed: int, progress: Progress = None) -> Tensor:
    """Scores (N,) of the images of ``data``."""
    generator = torch.Generator(data.x.device).manual_seed(seed)
    scores = torch.empty(len(data), device=data.x.device)
    for start in range(0, len(data), config.batch_size):
        x = data.x[start : start + config.batch_size].float().div(255)
        before = batch_logits(model, x).argmax(1)
        first = []
        for kind in config.kinds:
            after = [batch_logits(model, corrupt(x, kind, s, generator)).argmax(1) for s in config.severities]
            first.append(first_change(torch.stack([a != before for a in after], 1)).float())
        scores[start : start + len(x)] = torch.stack(first).std(0, correction=0)
        if progress:
            progress(min(1.0, (start + len(x)) / len(data)), "corruptions")
    return scores


def teco(
    data: ImageData, model: nn.Module, clean: ImageData, config: TeCo, *, seed: int = 0, progress: Progress = None
) -> Detection:
    """TeCo on the training set ``data`` of ``model``.

    Raises
    ------
    PaperlibError
        Fewer than two kinds of corruption, no severity, or one that there is not.
    """
    for kind in config.kinds:
        choose("kinds", kind, CORRUPTIONS)
    if len(config.kinds) < 2 or not config.severities:
        raise PaperlibError(
            f"kinds has {len(config.kinds)} and severities {len(config.severities)} entries; at least 2 and 1 are"
            " needed."
        )
    if not set(config.severities) <= set(SEVERITIES):
        raise PaperlibError(f"severities={config.severities!r} must lie in {SEVERITIES[0]} to {SEVERITIES[-1]}.")
    threshold = inconsistency(model, clean, config, seed).quantile(1 - config.fpr).item()
    scores = inconsistency(model, data, config, seed + 1, progress)
    return Detection(scores, scores > threshold, {"threshold": round(threshold, 5)})
