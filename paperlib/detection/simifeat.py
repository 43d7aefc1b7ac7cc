r"""SimiFeat: noisy labels by neighbours, by voting (V) and by ranking (R).

Zhu, Dong, Liu, "Detecting Corrupted Labels Without Training a Model to Predict", ICML 2022 (arXiv 2110.06283); the
transition matrix is found as in Zhu, Song, Liu, "Clusterability as an Alternative to Anchor Points When Learning with
Noisy Labels", ICML 2021 (arXiv 2102.05291). In good features near samples have the same true class. In each of 21
rounds the images are cropped and flipped at random, and the labels of a sample and of its k - 1 = 9 nearest neighbours
vote, each with its cosine; that of the sample itself is not 1 but what its two nearest neighbours lead to,
:math:`2 c_1 - c_2`. The votes v of the classes have Euclidean norm 1.

V: a sample is noisy in a round when its label has fewer votes than another class. R: of label i, the share
:math:`1 - P(Y = i \mid \tilde Y = i)` of the samples with the largest cross-entropy between label and votes is noisy.
With prior p and transition matrix T, which match the joint frequencies of the labels of a sample and its two nearest
neighbours,

.. math::
   P(\tilde Y_1 = i) = \sum_a p_a T_{ai}, \quad P(i, j) = \sum_a p_a T_{ai} T_{aj}, \quad
   P(i, j, k) = \sum_a p_a T_{ai} T_{aj} T_{ak}, \qquad P(Y = i \mid \tilde Y = i) = \frac{p_i T_{ii}}{P(\tilde Y_1 =
   i)}.

Both flag what is noisy in most rounds. The score is the mean over the rounds of the largest vote of another class less
that of the sample's label, in [-1, 1]; for R the cross-entropy :math:`-\log(v_{\tilde y} + 10^{-8})` of the mean
vote, in nats. Votes, scores and flags of one round agree with the authors' code to rounding
(github.com/UCSC-REAL/SimiFeat).

Differences from the paper
1. Written from the papers. Features are those of ``model``, which may be any network, such as the pre-trained ones of
   the paper; the classifier that learned the noisy labels is the weakest choice.
2. The paper's k nearest neighbours are others, each with one vote. The code's are followed: a sample counts among its
   own k, votes weigh their cosine (symmetric noise 0.4: TPR 88.5 and FPR 18.0 against 94.5 and 25.5 with ten others and
   equal votes). A tie between the own label and another is no vote against the label (V); ties of the ranking are
   broken at random (R).
3. T and p are found once, from the frequencies of all samples of all rounds (published code: anew in every round, from
   ten draws of 15,000 samples).
4. Without augmentation rounds do not differ and V takes one.

Introduced in notebook 01.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paperlib.data.images import ImageData
from paperlib.detection import Detection
from paperlib.detection.statistics import top
from paperlib.errors import PaperlibError
from paperlib.models.features import features
from paperlib.training import Progress, augment


@dataclass(frozen=True)
class SimiFeatV:
    """Hyper-parameters; defaults: the paper's."""

    k: int = 10
    """Labels that vote: the sample's own and those of the k - 1 nearest others."""
    rounds: int = 21
    """Random augmentations; the majority of the rounds decides."""
    layer: str = ""


@dataclass(frozen=True)
class SimiFeatR(SimiFeatV):
    """Hyper-parameters; defaults: the published code's."""

    steps: int = 400
    """Steps of Adam that fit the transition matrix."""
    offset: float = 1.0
    """Factor of P(true class = label) before it becomes the share that is kept."""
    jitter: float = 0.05
    """That probability is moved by a uniform draw from [-jitter, jitter] in every round, and cut to [0.05, 0.95]."""


def neighbours(x: Tensor, k: int, chunk: int = 1000) -> tuple[Tensor, Tensor]:
    """Indices and cosines (N, k) of the nearest other samples of features x (N, d), nearest first."""
    unit = F.normalize(x.float(), dim=1)
    indices, cosines = [], []
    for start in range(0, len(unit), chunk):
        near = unit[start : start + chunk] @ unit.T
        rows = torch.arange(len(near), device=x.device)
        near[rows, rows + start] = -torch.inf
        found = near.topk(k, dim=1)
        indices.append(found.indices)
        cosines.append(found.values)
    return torch.cat(indices), torch.cat(cosines)


def votes(x: Tensor, y: Tensor, classes: int, k: int) -> tuple[Tensor, Tensor]:
    """Votes (N, C), of Euclidean norm 1, of the labels of each sample and its k - 1 neighbours; labels (N, 2) of the
    nearest two."""
    index, cosine = neighbours(x, k - 1)
    own = 2 * cosine[:, 0] - cosine[:, 1]
    voters, weight = torch.cat([y[:, None], y[index]], 1), torch.cat([own[:, None], cosine], 1)
    counted = torch.zeros(len(y), classes, device=x.device).scatter_add_(1, voters, weight)
    return F.normalize(counted, dim=1), voters[:, 1:3]


def cross_entropy(own: Tensor) -> Tensor:
    """Score of SimiFeat-R, in nats, from the votes of the own label (N,)."""
    return -own.clamp_min(0).add(1e-8).log()


def consensus(y: Tensor, near: Tensor, classes: int) -> Tensor:
    """How often the labels (i, j, k) of a sample and of its two nearest neighbours occur together: (C, C, C), int64."""
    cells = (y * classes + near[:, 0]) * classes + near[:, 1]
    return cells.bincount(minlength=classes**3).view(classes, classes, classes)


def transition(counts: Tensor, steps: int = 400, lr: float = 0.1) -> tuple[Tensor, Tensor]:
    """Prior p (C,) and transition matrix T (C, C), row = true class, that explain :func:`consensus` counts.

    The sum of the Euclidean distances of the frequencies of first, second and third order is minimised, from a T that
    is mostly right.
    """
    classes = len(counts)
    third = counts.double() / counts.sum()
    observed = third.sum((1, 2)), third.sum(2), third
    # softmax of these: 0.5 and more on the diagonal
    t = (torch.eye(classes, dtype=torch.float64, device=counts.device) * (1 + torch.tensor(classes).log())).clone()
    p = torch.zeros(classes, dtype=torch.float64, device=counts.device)
    t.requires_grad_(), p.requires_grad_()
    optimizer = torch.optim.Adam([t, p], lr)
    for _ in range(steps):
        prior, matrix = p.softmax(0), t.softmax(1)
        one = prior @ matrix
        two = (matrix * prior[:, None]).T @ matrix
        three = torch.einsum("a,ai,aj,ak->ijk", prior, matrix, matrix, matrix)
        pairs = zip((one, two, three), observed, strict=True)
        loss = torch.stack([(found - seen).square().sum().add(1e-12).sqrt() for found, seen in pairs]).sum()
        t.grad, p.grad = torch.autograd.grad(loss, [t, p])
        optimizer.step()
    return p.detach().softmax(0), t.detach().softmax(1)


def rounds(
    data: ImageData, model: nn.Module, config: SimiFeatV, seed: int, progress: Progress = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Per round and sample the vote of the own label and the largest of another, (rounds, N); consensus counts.

    Raises
    ------
    PaperlibError
        ``k`` is not below the number of samples, or there is no round.
    """
    if not 3 <= config.k <= len(data):
        raise PaperlibError(f"k={config.k} must lie between 3 and the number of samples, {len(data)}.")
    if config.rounds < 1:
        raise PaperlibError(f"rounds={config.rounds} must be at least 1.")
    generator = torch.Generator(data.x.device).manual_seed(seed)
    n = config.rounds if data.pad or data.flip else 1
    own, other, counts = [], [], torch.zeros((), dtype=torch.int64, device=data.x.device)
    for i in range(n):
        moved = replace(data, x=augment(data.x, data.pad, data.flip, generator))
        share, near = votes(features(model, moved, config.layer), data.y, data.n_classes, config.k)
        own.append(share.gather(1, data.y[:, None])[:, 0])
        other.append(share.scatter(1, data.y[:, None], -1.0).amax(1))
        counts = counts + consensus(data.y, near, data.n_classes)
        if progress:
            progress((i + 1) / n, f"round {i + 1}/{n}")
    return torch.stack(own), torch.stack(other), counts


def majority(flags: Tensor) -> Tensor:
    """(N,) bool: true in more than half of the rounds (rounds, N)."""
    return 2 * flags.sum(0) > len(flags)


def voted(own: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """SimiFeat-V: scores and flagged from the votes (rounds, N)."""
    return (other - own).mean(0), majority(other > own)


def ranked(
    own: Tensor, y: Tensor, counts: Tensor, config: SimiFeatR, seed: int
) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """SimiFeat-R: scores, flagged and notes from the own label's votes (rounds, N), and consensus counts."""
    prior, matrix = transition(counts, config.steps)
    kept = (prior * matrix.diagonal() / (prior @ matrix)).float()
    generator = torch.Generator(own.device).manual_seed(seed)
    n = max(len(own), config.rounds)  # rounds differ by their jitter even where images are not augmented
    flags = torch.zeros(n, len(y), dtype=torch.bool, device=y.device)
    members = [(label, (y == label).nonzero().squeeze(1)) for label in y.unique().tolist()]
    for i in range(n):
        # ties alone are decided by this
        doubt = 1e-6 * torch.rand(len(y), generator=generator, device=y.device) - own[i % len(own)]
        moved = config.jitter * (2 * torch.rand(len(kept), generator=generator, device=y.device) - 1)
        keep = (kept * config.offset + moved).clamp(0.05, 0.95)
        for label, mine in members:
            flags[i, mine] = top(doubt[mine], round((1 - keep[label].item()) * len(mine)))
    return cross_entropy(own.mean(0)), majority(flags), {"kept": [round(v, 4) for v in kept.tolist()]}


def simifeat_v(
    data: ImageData,
    model: nn.Module,
    clean: ImageData | None,
    config: SimiFeatV,
    *,
    seed: int = 0,
    progress: Progress = None,
) -> Detection:
    """SimiFeat-V on the training set ``data`` in the features of ``model``."""
    own, other, _ = rounds(data, model, config, seed, progress)
    return Detection(*voted(own, other), {"rounds": len(own)})


def simifeat_r(
    data: ImageData,
    model: nn.Module,
    clean: ImageData | None,
    config: SimiFeatR,
    *,
    seed: int = 0,
    progress: Progress = None,
) -> Detection:
    """SimiFeat-R on the training set ``data`` in the features of ``model``."""
    own, _, counts = rounds(data, model, config, seed, progress)
    return Detection(*ranked(own, data.y, counts, config, seed))
