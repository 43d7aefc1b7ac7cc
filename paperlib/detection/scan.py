r"""SCAn: statistical contamination analysis.

Tang et al., "Demon in the Variant: Statistical Analysis of DNNs for Robust Backdoor Contamination Detection", USENIX
Security 2021 (arXiv 1908.00686). On clean images a feature vector is the sum of an identity that belongs to the class
and a variation that is alike in all classes,

.. math:: f = \mu_t + \varepsilon, \qquad \mu_t \sim N(0, S_\mu), \quad \varepsilon \sim N(0, S_\varepsilon),

whose covariances an EM algorithm finds. In a contaminated class features are better explained by two identities than by
one. Per class, the features are split in two groups by a linear discriminant with :math:`S_\varepsilon^{-1}`, and the
likelihood ratio of the two hypotheses is

.. math::
   J_t = \frac1{n_t} \sum_{i} (f_i - \mu_t)^\top S_\varepsilon^{-1} (f_i - \mu_t)
       - (f_i - \mu_{g(i)})^\top S_\varepsilon^{-1} (f_i - \mu_{g(i)}).

A class is contaminated when J_t lies more than e² robust deviations above the median of all classes; in it, the group
that holds the smaller share of the clean images is removed.

The score of a sample is its class's anomaly index times a number in [0, 1] that grows with the log-odds of the two
groups.

Differences from the paper
1. Only classes *above* the median are contaminated (the published code takes the absolute deviation).
2. Groups start from the sign of the first principal direction of the whitened features, not from random ones: no seed.
3. The threshold is the paper's e²; BackdoorBench and VDC's comparison use e (``threshold``).
4. J_t is not divided by its maximum, and the paper's normalisation of it is left out: the anomaly index is the same.
5. All public code that we know (nine copies, among them BackdoorBench's and backdoor-toolbox's) has another centre of
   the one-identity hypothesis: :math:`S_\varepsilon (n S_\mu + S_\varepsilon)^{-1} \sum_i f_i`, which is close to the
   mean of *all* classes, instead of the class mean. J_t then grows with the distance of a class from that mean. Of
   eight classes of ten vectors, one with four from another class in it, the contaminated one has index 0.35 with the
   code's centre and 149 with the class mean (a second set: 0.16 and 2,463), at a threshold of 7.4.
   ``formula="public_code"`` is theirs, with its random start (difference 2) and its absolute deviation (difference 1):
   printed columns of SCAn may come from it. Covariances, groups, J and indices agree with it to rounding.

Introduced in notebook 07.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from paperlib.data.images import ImageData
from paperlib.detection import Detection
from paperlib.detection.statistics import MAD_SCALE, anomaly_index, check_classes, principal_directions
from paperlib.errors import choose
from paperlib.models.features import features
from paperlib.training import Progress


@dataclass(frozen=True)
class SCAn:
    """Hyper-parameters; defaults: the paper's (iterations and tolerance: published code)."""

    threshold: float = math.e**2
    iterations: int = 100
    tolerance: float = 1e-5
    formula: str = "paper"
    """``paper`` or ``public_code``: the centre of the hypothesis of one identity, see difference 5."""
    layer: str = ""


def _inverse(s: Tensor) -> Tensor:
    return torch.linalg.pinv(s, hermitian=True, rtol=1e-6)


def decompose(x: Tensor, y: Tensor, iterations: int = 100, tolerance: float = 1e-5) -> tuple[Tensor, Tensor]:
    """Covariances of identity and variation (d, d), by EM, from clean features (n, d) float64 with labels (n,)."""
    x = x - x.mean(0)
    classes, member, count = y.unique(return_inverse=True, return_counts=True)
    sums = torch.zeros(len(classes), x.shape[1], dtype=x.dtype, device=x.device).index_add_(0, member, x)
    identity = sums / count[:, None]
    s_mu, s_eps = identity[member].T.cov(), (x - identity[member]).T.cov()
    for _ in range(iterations):
        before = s_mu, s_eps
        for m in count.unique().tolist():  # expectation of the identity of a class of m samples
            gain = s_mu @ _inverse(m * s_mu + s_eps)
            identity[count == m] = sums[count == m] @ gain.T
        s_mu, s_eps = identity[member].T.cov(), (x - identity[member]).T.cov()
        if (s_mu - before[0]).norm() + (s_eps - before[1]).norm() < tolerance:
            break
    return s_mu, s_eps


def split(x: Tensor, precision: Tensor, iterations: int = 100, start: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Split features (n, d) in two groups: group 1 (n,) bool, and the log-odds of group 1 (n,); ``start``: group 1 to
    begin with."""
    whiten = torch.linalg.eigh(precision)
    z = (x - x.mean(0)) @ (whiten.eigenvectors * whiten.eigenvalues.clamp_min(0).sqrt())
    group = (z @ principal_directions(z, 1).to(z.dtype)).flatten() > 0 if start is None else start.clone()
    odds = torch.where(group, 1.0, -1.0).to(x.dtype)
    for _ in range(iterations):
        if group.all() or not group.any():
            break
        one, two = z[group].mean(0), z[~group].mean(0)
        odds = z @ (one - two) - (one @ one - two @ two) / 2
        if torch.equal(odds > 0, group):
            break
        group = odds > 0
    return group, odds


def likelihood_ratio(x: Tensor, group: Tensor, precision: Tensor, centre: Tensor | None = None) -> float:
    """J_t of features (n, d) split in two groups; ``centre`` (d,) of the hypothesis of one identity: their mean."""
    if group.all() or not group.any():
        return 0.0
    centres = torch.where(group[:, None], x[group].mean(0), x[~group].mean(0))

    def energy(e: Tensor) -> Tensor:
        return (e @ precision * e).sum(1)

    return (energy(x - (x.mean(0) if centre is None else centre)) - energy(x - centres)).mean().item()


def public_index(ratios: Tensor) -> Tensor:
    """The anomaly index of the public code: classes below the median count, too."""
    away = (ratios / ratios.max() - (ratios / ratios.max()).quantile(0.5)).abs()
    return (away / (MAD_SCALE * away.quantile(0.5))).float()


def examine(
    x: Tensor, y: Tensor, clean_x: Tensor, clean_y: Tensor, config: SCAn, start: Sequence[Tensor] = ()
) -> dict[str, list[Any]]:
    """Of every class of y: J_t, the group (n,) of its inspected and then its clean vectors, and their log-odds (n,).

    ``start`` has the groups that the split begins with where the formula is the public code's. Features are float64.
    """
    s_mu, s_eps = decompose(clean_x, clean_y, config.iterations, config.tolerance)
    precision = _inverse(s_eps)
    out: dict[str, list[Any]] = {"ratio": [], "group": [], "odds": []}
    public = choose("formula", config.formula, ("paper", "public_code")) == "public_code"
    middle = torch.cat([x, clean_x]).mean(0)
    for position, label in enumerate(y.unique().tolist()):
        both = torch.cat([x[y == label], clean_x[clean_y == label]])
        centre, begin = None, None
        if public:
            both = both - middle
            centre = s_eps @ _inverse(len(both) * s_mu + s_eps) @ both.sum(0)
            begin = start[position]
        group, odds = split(both, precision, config.iterations, begin)
        out["ratio"].append(likelihood_ratio(both, group, precision, centre))
        out["group"].append(group)
        out["odds"].append(odds)
    return out


def contamination(
    x: Tensor, y: Tensor, clean_x: Tensor, clean_y: Tensor, config: SCAn, seed: int = 0
) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """SCAn on features (N, d) with labels (N,), and those of clean images: scores, flagged, notes."""
    x, clean_x = x.double(), clean_x.double()
    classes = y.unique().tolist()
    generator = torch.Generator().manual_seed(seed)
    sizes = [int((y == k).sum() + (clean_y == k).sum()) for k in classes]
    start = [(torch.rand(n, generator=generator) >= 0.5).to(x.device) for n in sizes]
    found = examine(x, y, clean_x, clean_y, config, start)
    odds = torch.zeros(len(x), dtype=x.dtype, device=x.device)
    for label, group, log_odds in zip(classes, found["group"], found["odds"], strict=True):
        mine = y == label
        inspected = int(mine.sum())
        # the clean images lie after the inspected ones; where most of them are is the clean group
        odds[mine] = -log_odds[:inspected] if group[inspected:].double().mean() > 0.5 else log_odds[:inspected]
    ratios = torch.tensor(found["ratio"], dtype=torch.float64)
    index = public_index(ratios) if config.formula == "public_code" else anomaly_index(ratios.float())
    per_sample = index.to(x.device)[torch.searchsorted(torch.tensor(classes, device=x.device), y)]
    # softsign instead of the logistic function: it does not saturate in float32
    membership = (1 + odds / (1 + odds.abs())) / 2
    flagged = (per_sample > config.threshold) & (odds > 0)
    scores = (per_sample.clamp(max=1e6) * membership).float()
    hit = [label for label, value in zip(classes, index.tolist(), strict=True) if value > config.threshold]
    return scores, flagged, {"anomaly_index": [round(min(v, 1e6), 3) for v in index.tolist()], "flagged_classes": hit}


def scan(
    data: ImageData, model: nn.Module, clean: ImageData, config: SCAn, *, seed: int = 0, progress: Progress = None
) -> Detection:
    """Statistical contamination analysis of the training set ``data`` of ``model``."""
    check_classes(clean, data.y)
    x, clean_x = features(model, data, config.layer), features(model, clean, config.layer)
    return Detection(*contamination(x, data.y, clean_x, clean.y, config, seed))
