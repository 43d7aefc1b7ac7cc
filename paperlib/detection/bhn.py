r"""BHN: noisy labels by the Benjamini-Hochberg procedure.

Yu, Ma, Liu, "Delving into Noisy Label Detection with Clean Data", ICML 2023. One half of the clean subset trains a
network f, the other half calibrates it. With s = - cross-entropy of the given label, the p-value of a sample under the
hypothesis that its label is clean is

.. math:: p_i = \frac{1 + \#\{j \text{ calibrating}: s_j \le s_i\}}{n_{cal} + 1},

and the samples that the Benjamini-Hochberg procedure rejects at level alpha are noisy: those with
:math:`p_i \le p_{(k)}`, k the largest with :math:`p_{(k)} \le \alpha k / N`. Among the flagged samples the expected
share of clean ones is then at most alpha. The score is the cross-entropy, in nats.

Differences from the paper
1. Both halves are drawn class by class. The clean subset of VDC's comparison (arXiv 2309.16211) is 20 % of the data.
2. The cosine schedule of this project's protocol; the rest (200 epochs, SGD 0.1, batch 128) is the published code's.
3. Only the architecture of the model that is given counts: a fresh copy is trained.
4. A p-value cannot be below 1 / (n_cal + 1): with few clean images and little noise nothing can be rejected.
   ``smallest_p`` is in the notes.

Introduced in notebook 01.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paperlib.data.images import ImageData
from paperlib.detection import Detection
from paperlib.detection.cl import folds_of
from paperlib.detection.statistics import check_classes
from paperlib.errors import PaperlibError
from paperlib.models import fresh
from paperlib.training import Progress, Recipe, fit, logits


@dataclass(frozen=True)
class BHN:
    """Hyper-parameters; defaults: the paper's (schedule: this project's)."""

    alpha: float = 0.1
    """Expected share of clean samples among the flagged ones."""
    epochs: int = 200
    batch_size: int = 128
    lr: float = 0.1
    schedule: str = "cosine"


def p_values(losses: Tensor, calibration: Tensor) -> Tensor:
    """p-values (N,), float64, of samples with these losses against the losses (n_cal,) of clean samples."""
    ordered = calibration.sort().values
    at_least = len(ordered) - torch.searchsorted(ordered, losses.contiguous())  # calibration losses >= the sample's
    return (1 + at_least.double()) / (len(ordered) + 1)


def benjamini_hochberg(p: Tensor, alpha: float) -> Tensor:
    """(N,) bool: rejected at the false-discovery rate ``alpha``.

    Raises
    ------
    PaperlibError
        ``alpha`` outside (0, 1).
    """
    if not 0 < alpha < 1:
        raise PaperlibError(f"alpha={alpha!r} must lie strictly between 0 and 1 (a false-discovery rate).")
    ordered = p.double().sort().values
    below = ordered <= alpha * torch.arange(1, len(p) + 1, device=p.device, dtype=torch.float64) / len(p)
    if not below.any():
        return torch.zeros_like(below)
    return p.double() <= ordered[below.nonzero().max()]


def tested(losses: Tensor, calibration: Tensor, alpha: float) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Scores, flagged and notes from the losses (N,) of the samples and of the clean calibration samples."""
    p = p_values(losses, calibration)
    notes = {"n_calibration": len(calibration), "smallest_p": round(1 / (len(calibration) + 1), 6)}
    return losses.float(), benjamini_hochberg(p, alpha), notes


def bhn(
    data: ImageData, model: nn.Module, clean: ImageData, config: BHN, *, seed: int = 0, progress: Progress = None
) -> Detection:
    """BHN on the training set ``data``, with a fresh model like ``model`` that learns from half of the clean subset."""
    check_classes(clean, data.y, 2)
    half = folds_of(clean.y, 2, seed) == 0
    made = fresh(model, seed)
    recipe = Recipe(config.epochs, config.batch_size, config.lr, config.schedule)
    fit(made, clean.subset(half), recipe, seed=seed, progress=progress)
    held = clean.subset(~half)
    losses, calibration = (F.cross_entropy(logits(made, d.x), d.y, reduction="none") for d in (data, held))
    return Detection(*tested(losses, calibration, config.alpha))
