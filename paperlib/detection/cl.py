r"""CL: confident learning.

Northcutt, Jiang, Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 2021 (arXiv 1911.00068).
From probabilities p of models that did not see the sample (k folds), a sample with label i is counted for class j where

.. math::
   p_j(x) \ge t_j, \qquad t_j = \frac1{|X_j|} \sum_{x \in X_j} p_j(x),

for the most probable of such j. The counts C, calibrated so that row i sums to the number of labels i, estimate how
many samples of label i belong to class j. By the rule "prune by noise rate", of label i the :math:`C_{ij}` samples with
the largest margins :math:`p_j - p_i` are flagged, for every :math:`j \ne i`. The score is
:math:`\max_{j \ne y} p_j - p_y`, in [-1, 1].

Differences from the paper
1. Written from the paper; where the library cleanlab adds a guard, ours is the same: no sample whose label is its most
   probable class is flagged.
2. Five folds, and the training of this project's protocol; VDC's comparison (arXiv 2309.16211) does not state its own.
3. Only the architecture of the model that is given counts: a fresh copy is trained per fold.

Introduced in notebook 01.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paperlib.data.images import ImageData
from paperlib.detection import Detection
from paperlib.errors import PaperlibError
from paperlib.models import fresh
from paperlib.training import Progress, Recipe, fit, logits


@dataclass(frozen=True)
class CL:
    """Hyper-parameters; defaults: this project's training protocol."""

    folds: int = 5
    epochs: int = 100
    batch_size: int = 128
    lr: float = 0.01
    schedule: str = "cosine"


def folds_of(y: Tensor, folds: int, seed: int) -> Tensor:
    """Fold (N,) of every sample: each class is spread evenly, in random order.

    Raises
    ------
    PaperlibError
        Fewer than two folds, or more than samples.
    """
    if not 2 <= folds <= len(y):
        raise PaperlibError(f"folds={folds} must lie between 2 and the number of samples, {len(y)}.")
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed)).to(y.device)
    order = order[y[order].argsort(stable=True)]  # class by class
    out = torch.empty_like(y)
    out[order] = torch.arange(len(y), device=y.device) % folds
    return out


def out_of_sample(model: nn.Module, data: ImageData, config: CL, seed: int, progress: Progress = None) -> Tensor:
    """Probabilities (N, C) of every sample by a fresh model like ``model``, trained on the other folds."""
    recipe = Recipe(config.epochs, config.batch_size, config.lr, config.schedule)
    fold = folds_of(data.y, config.folds, seed)
    out = torch.empty(len(data), data.n_classes, device=data.x.device)
    for k in range(config.folds):
        made, held = fresh(model, seed + k), fold == k
        fit(made, data.subset(~held), recipe, seed=seed + k)
        out[held] = logits(made, data.x[held]).softmax(1)
        if progress:
            progress((k + 1) / config.folds, f"fold {k + 1}/{config.folds}")
    return out


def confident_joint(p: Tensor, y: Tensor) -> Tensor:
    """Estimated number of samples with label i (row) that belong to class j (column), (C, C); rows sum to the label
    counts."""
    classes = p.shape[1]
    given = F.one_hot(y, classes).to(p.dtype)
    sizes = given.sum(0)
    # a class without a sample has no threshold that could be reached
    thresholds = torch.where(sizes > 0, (given * p).sum(0) / sizes.clamp_min(1), torch.inf)
    above = torch.where(p >= thresholds - 1e-6, p, -1.0)
    sure = above.amax(1) >= 0
    cells = y[sure] * classes + above[sure].argmax(1)
    joint = cells.bincount(minlength=classes**2).view(classes, classes).to(p.dtype)
    joint = torch.where(joint.sum(1, keepdim=True) > 0, joint, torch.eye(classes, dtype=p.dtype, device=p.device))
    return joint / joint.sum(1, keepdim=True) * sizes[:, None]


def confident_learning(p: Tensor, y: Tensor) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Scores, flagged and notes from out-of-sample probabilities p (N, C) of samples with labels y (N,)."""
    joint = confident_joint(p, y)
    margin = p - p.gather(1, y[:, None])
    own = F.one_hot(y, p.shape[1]).bool()
    flagged = torch.zeros_like(y, dtype=torch.bool)
    for label in y.unique().tolist():
        mine = y == label
        count = joint[label].round().long().clamp_max(int(mine.sum()))
        count[label] = 0
        ordered = margin[mine].sort(0, descending=True).values
        cut = ordered.gather(0, (count - 1).clamp_min(0)[None])[0]
        flagged[mine] = ((margin[mine] >= cut) & (count > 0)).any(1)
    scores = margin.masked_fill(own, -torch.inf).amax(1)
    flagged &= scores > 0  # a label that is also the most probable class is left alone
    noise = 1 - joint.diagonal().sum() / len(y)
    return scores.float(), flagged, {"noise_rate": round(noise.item(), 4)}


def cl(
    data: ImageData, model: nn.Module, clean: ImageData | None, config: CL, *, seed: int = 0, progress: Progress = None
) -> Detection:
    """Confident learning on the training set ``data``, with fresh models like ``model``."""
    return Detection(*confident_learning(out_of_sample(model, data, config, seed, progress), data.y))
