r"""SPECTRE: spectral signatures after robust whitening.

Hayase, Kong, Somani, Oh, "SPECTRE: Defending Against Backdoor Attacks Using Robust Statistics", ICML 2021 (arXiv
2104.11315). Per label the centred features are projected on their top k principal directions, mean and covariance are
estimated robustly, and the data are whitened with them, so that only what the poisoned samples add stands out. The
quantum entropy score of a whitened sample h, with S the covariance of all whitened samples, is

.. math:: \tau_i = \frac{h_i^\top Q\, h_i}{\mathrm{tr}\, Q}, \qquad
   Q = \exp\Big( \frac{\alpha\, (S - I)}{\|S\|_2 - 1} \Big), \quad \alpha = 4,

and the samples with the largest scores are removed. k is the one, of 1, 4, 9, ..., 64, after whose removal the rest is
closest to clean: all samples, whitened in 64 directions by the mean and covariance of the rest, have the largest mean
score.

The robust estimate is the filter of Diakonikolas et al. ("Being Robust (in High Dimensions) Can Be Practical", ICML
2017, arXiv 1703.00893): whiten by the covariance of the samples kept; find the unit matrix U along which
:math:`\langle hh^\top - I, U \rangle` varies most (for a Gaussian its variance is 2); where it is larger, drop the
samples that lie farthest out; repeat.

Differences from the paper
1. In every round the filter drops a tenth of the assumed ``epsilon`` of the samples; Diakonikolas et al. find the
   number from a tail bound whose constants assume an exact Gaussian.
2. Nobody tells the number to remove: 15 % of every label, as in :mod:`paperlib.detection.ss`; ``ratio`` tells it. The
   authors filter the label with the largest score only (``classes="largest"``); the default examines all, as VDC's
   comparison does.
3. Pure torch; the authors' code is Julia.

Introduced in notebook 07.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from paperlib.data.images import ImageData
from paperlib.detection import Detection
from paperlib.detection.statistics import budget, principal_directions, top
from paperlib.errors import choose
from paperlib.models.features import features
from paperlib.training import Progress

POWER_STEPS = 20
RIDGE = 1e-6
"""Of the mean variance, added to covariances so that they can be inverted."""


@dataclass(frozen=True)
class SPECTRE:
    """Hyper-parameters; defaults: the paper's, without an oracle."""

    alpha: float = 4.0
    epsilon: float = 0.1
    """Share of outliers that the robust estimate assumes."""
    components: int = 64
    """Largest number of principal directions; its square root in steps of one gives the others."""
    share: float = 0.15
    """Share of each label that is removed."""
    ratio: float = 0.0
    """The poisoning ratio, when the detector is told (an oracle); 0: not told."""
    classes: str = "all"
    """``all``: every label is filtered; ``largest``: the one with the largest mean score."""
    layer: str = ""


def _whitening(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (k,) and inverse square root of the covariance (k, k) of x (n, k)."""
    cov = x.T.cov(correction=0).reshape(x.shape[1], x.shape[1])
    cov = cov + RIDGE * cov.diagonal().mean().clamp_min(1e-12) * torch.eye(len(cov), dtype=x.dtype, device=x.device)
    values, vectors = torch.linalg.eigh(cov)
    return x.mean(0), vectors * values.rsqrt() @ vectors.T


def robust_whitening(x: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """Mean and whitening matrix of x (n, k) float64 from the samples that the filter keeps, at least 1 - epsilon of
    them."""
    n, k = x.shape
    keep = torch.arange(n, device=x.device)
    per_round = max(1, round(0.1 * epsilon * n))
    while True:
        mean, whiten = _whitening(x[keep])
        if n - len(keep) + per_round > epsilon * n:
            return mean, whiten
        h = (x[keep] - mean) @ whiten
        u = torch.eye(k, dtype=x.dtype, device=x.device) / k**0.5
        for _ in range(POWER_STEPS):  # power iteration on the covariance of hh' - I
            along = (h @ u * h).sum(1) - u.trace()
            u = (h * along[:, None]).T @ h / len(h) - along.mean() * torch.eye(k, dtype=x.dtype, device=x.device)
            u = u / u.norm().clamp_min(1e-12)
        along = (h @ u * h).sum(1) - u.trace()
        # 2 is the variance of a Gaussian; the second term is what sampling adds in k(k + 1)/2 dimensions
        if along.var() <= 2 * (1 + (k * (k + 1) / 2 / len(h)) ** 0.5) ** 2:
            return mean, whiten
        far = (along - along.median()).abs()
        keep = keep[~top(far, per_round)]


def quantum_entropy(h: Tensor, alpha: float) -> Tensor:
    """Scores (n,) of whitened samples h (n, k)."""
    s = h.T.cov(correction=0).reshape(h.shape[1], h.shape[1])
    eye = torch.eye(len(s), dtype=h.dtype, device=h.device)
    excess = torch.linalg.matrix_norm(s, 2) - 1
    q = torch.linalg.matrix_exp(alpha * (s - eye) / excess) if excess > 1e-6 else eye
    return (h @ q * h).sum(1) / q.trace()


def label_scores(x: Tensor, config: SPECTRE, remove: int) -> tuple[Tensor, Tensor, float, int]:
    """Scores and removed of the features (n, d) of one label, the mean score by which k was chosen, and k."""
    centred = x.double() - x.double().mean(0)
    projected = centred @ principal_directions(centred, config.components).double()
    widest = projected.shape[1]
    sizes = sorted({min(r * r, widest) for r in range(1, int(config.components**0.5) + 1)})
    scores, value = {}, {}
    for k in sizes:
        mean, whiten = robust_whitening(projected[:, :k], config.epsilon)
        scores[k] = quantum_entropy((projected[:, :k] - mean) @ whiten, config.alpha)
        mean, whiten = _whitening(projected[~top(scores[k], remove)])
        value[k] = quantum_entropy((projected - mean) @ whiten, config.alpha).mean().item()
    best = max(sizes, key=lambda k: value[k])
    return scores[best], top(scores[best], remove), value[best], best


def robust_signatures(x: Tensor, y: Tensor, config: SPECTRE) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """SPECTRE on features (N, d) with labels (N,): scores, flagged, notes."""
    choose("classes", config.classes, ("all", "largest"))
    scores = torch.zeros(len(x), device=x.device)
    flagged = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    value, size = {}, {}
    for label in y.unique().tolist():
        index = (y == label).nonzero().flatten()
        remove = budget(len(index), len(x), config.share, config.ratio)
        own, removed, value[label], size[label] = label_scores(x[index], config, remove)
        scores[index], flagged[index] = own.float(), removed
    if config.classes == "largest":
        flagged &= y == max(value, key=lambda label: value[label])
    return scores, flagged, {"components": list(size.values()), "label_score": [round(v, 3) for v in value.values()]}


def spectre(
    data: ImageData,
    model: nn.Module,
    clean: ImageData | None,
    config: SPECTRE,
    *,
    seed: int = 0,
    progress: Progress = None,
) -> Detection:
    """SPECTRE on the training set ``data`` of ``model``."""
    return Detection(*robust_signatures(features(model, data, config.layer), data.y, config))
