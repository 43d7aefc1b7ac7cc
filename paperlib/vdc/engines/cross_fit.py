r"""Class probabilities of every picture from heads that have not seen it, fitted on the labels as they are.

No clean picture is needed. The pictures are dealt into five folds; each is answered by a head that learned from the
other four. There, labels are corrected first: with heads on three of the four, wrong labels and all, the
probabilities :math:`p` of the fourth say how likely each label is to be wrong (:mod:`paperlib.vdc.noise`), and the
final head learns from

.. math:: t_{ik} \propto p_{ik} \begin{cases} 1 - \eta & k = y_i \\ \eta / (C - 1) & \text{otherwise} \end{cases}

instead of the labels. Pictures that are known to be labelled rightly keep their label. Where the classes have a place
among ImageNet's, the network's own classifier is a second opinion; its weight is the one under which the labels are
likeliest.

A head is linear discriminant analysis with a strongly shrunk covariance. With weights :math:`t_{ik}`, class sizes
:math:`n_k = \sum_i t_{ik}`, sums :math:`s_k = \sum_i t_{ik} x_i` and :math:`\bar S` the covariance within the classes,

.. math::
   \mu_k = \frac{s_k}{n_k + \kappa}, \quad
   S = (1 - \alpha) \bar S + \alpha \frac{\operatorname{tr} \bar S}{D} I, \quad
   \log p_k(x) = \tau \left(\mu_k^\top S^{-1} x - \tfrac12 \mu_k^\top S^{-1} \mu_k \right)
   + \tfrac12 \log n_k + \text{const}

and x the square roots of the features, scaled to unit length (Arandjelovic & Zisserman, CVPR 2012) and centred. The
square root of the class sizes stands between what the labels say and equal sizes: wrong labels make small classes look
larger. All settings were chosen on ten draws of 400 pictures of CIFAR-10, a tenth of the labels wrong, and none on
those of ``benchmarks/vdc.py``. On the ten the mean AUROC is .964 with softmax regression on standardised features, .969
with it on these, .973 with these heads; averaging over several deals, a second correction, ten folds or the mirrored
pictures (twice the time) change it by .002 at most.

Out-of-fold probabilities on the labels as they are, are what confident learning starts from (Northcutt et al., JAIR
2021, arXiv 1911.00068); the correction is one step of expectation-maximisation. The same picture twice is in one fold.
A picture that is the only one of its class cannot be judged.

Introduced in notebook 01.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from scipy.linalg import solve
from scipy.special import log_softmax

from paperlib.vdc import noise

FOLDS, CHUNK = 5, 1_024
"""Folds; rows that are in memory at a time."""
SHRINK, PULL, SHARP = 0.9, 4.0, 0.05
"""Of a head: alpha, kappa and tau. What tau should be, :mod:`paperlib.vdc.noise` finds; this one is near."""
Fitted = tuple[np.ndarray, np.ndarray]
"""Weight (D, C) and bias (C,)."""
FLOOR = 0.01
"""Added to the taxonomy's probabilities: one opinion alone never rules a class out."""


class Features:
    """Rows (M, D) in a temporary file, so that memory does not grow with their number."""

    def __init__(self) -> None:
        self._file, self._size, self._n = tempfile.TemporaryFile(), 0, 0  # noqa: SIM115  gone with this object

    def __len__(self) -> int:
        return self._n

    def append(self, rows: np.ndarray) -> None:
        """Add rows (B, D)."""
        self._size, self._n = rows.shape[1], self._n + len(rows)
        self._file.write(rows.astype(np.float16).tobytes())

    def chunks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """All rows as float32, a few thousand at a time, with their places."""
        for start in range(0, self._n, CHUNK):
            self._file.seek(2 * self._size * start)
            stop = min(start + CHUNK, self._n)
            raw = self._file.read(2 * self._size * (stop - start))
            yield slice(start, stop), np.frombuffer(raw, np.float16).reshape(-1, self._size).astype(np.float32)


def deal(target: np.ndarray, seed: int = 0) -> np.ndarray:
    """Fold (M,) of every picture: each class (the likeliest of ``target`` (M, C)) is spread evenly, in random order."""
    rng, label, fold = np.random.default_rng(seed), target.argmax(1), np.empty(len(target), int)
    for k in range(target.shape[1]):
        mine = rng.permutation(np.flatnonzero(label == k))
        fold[mine] = np.arange(len(mine)) % FOLDS
    return fold


@dataclass(frozen=True)
class CrossFit:
    """What :func:`cross_fit` found."""

    log_p: np.ndarray
    """(M, C) log-probabilities by heads, and by the second opinion, that have not seen the picture; nan: cannot be
    judged."""
    weights: tuple[float, ...]
    """Exponents of the heads and of the second opinion."""


def _head(size: np.ndarray, total: np.ndarray, scatter: np.ndarray) -> Fitted:
    """A head from class sizes (C,), sums (C, D) and the sum of squares (D, D)."""
    own = np.maximum(size, 1e-9)[:, None]
    within = (scatter - total.T @ (total / own)) / size.sum()
    d = len(within)
    within = (1 - SHRINK) * within + (SHRINK * np.trace(within) / d + 1e-12) * np.eye(d)
    mean = total / (size + PULL)[:, None]
    weight = solve(within, mean.T, assume_a="pos")
    return SHARP * weight, -SHARP / 2 * (mean.T * weight).sum(0) + np.log(size + 0.5) / 2


def cross_fit(features: Features, target: np.ndarray, known: np.ndarray, opinion: np.ndarray | None = None) -> CrossFit:
    """Log-probabilities of the classes by heads on the labels as they are.

    Parameters
    ----------
    features
        M rows.
    target : (M, C)
        Share of the labels that say class k; rows of zeros carry no label and are only answered for.
    known : (M,)
        Bool: the label is right.
    opinion : (M, C), optional
        Probabilities of another kind.
    """
    labelled, (m, classes) = target.sum(1) > 0, target.shape
    fold, y = deal(target), target.argmax(1)
    second = None if opinion is None else np.log((opinion + FLOOR) / (opinion + FLOOR).sum(1, keepdims=True))

    def roots() -> Iterator[tuple[slice, np.ndarray]]:
        for place, rows in features.chunks():
            x = np.sign(rows) * np.sqrt(np.abs(rows))
            x /= np.linalg.norm(x, axis=1, keepdims=True) + 1e-6
            yield place, x

    mean = (sum(x.sum(0, dtype=np.float64) for _, x in roots()) / m).astype(np.float32)

    def totals(wanted: np.ndarray, groups: list[np.ndarray]) -> list[np.ndarray]:
        """Sums (C, D) of the rows of each group (M,), weighted by ``wanted`` (M, C)."""
        out: list[Any] = [0.0] * len(groups)
        for place, x in roots():
            for i, group in enumerate(groups):
                mine = group[place]
                out[i] = out[i] + wanted[place][mine].T @ (x[mine] - mean)
        return out

    folds = [labelled & (fold == k) for k in range(FOLDS)]
    sizes, sums = [target[mine].sum(0) for mine in folds], totals(target, folds)
    squares: list[Any] = [0.0] * FOLDS
    for place, x in roots():
        for k, mine in enumerate(folds):
            part = x[mine[place]] - mean
            squares[k] = squares[k] + part.T @ part

    def answered(heads: dict[int, Fitted]) -> np.ndarray:
        """Log-probabilities (M, C): each fold by its own head; nan where there is none."""
        out = np.full((m, classes), np.nan)
        for place, x in roots():
            for k, (weight, bias) in heads.items():
                mine = fold[place] == k
                out[place][mine] = log_softmax((x[mine] - mean) @ weight + bias, axis=1)
        return out

    def together(log_p: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """Both opinions on the pictures ``at`` in one, their exponents, and the share of wrong labels."""
        experts = [log_p, *([] if second is None else [second])]
        exponents, eta = noise.weights([expert[at & labelled] for expert in experts], y[at & labelled])
        return log_softmax(sum(a * e for a, e in zip(exponents, experts, strict=True)), axis=1), exponents, eta

    def without(parts: list[Any], *left_out: int) -> Any:
        return sum(part for i, part in enumerate(parts) if i not in left_out)

    pairs = {
        pair: _head(without(sizes, *pair), without(sums, *pair), without(squares, *pair))
        for pair in combinations(range(FOLDS), 2)
    }
    final = {}
    for k in range(FOLDS):
        # what corrects the targets must not have seen this fold either
        log_p, _, eta = together(answered({j: pairs[min(j, k), max(j, k)] for j in range(FOLDS) if j != k}), fold != k)
        log_p += np.log((1 - eta) * target + eta * (1 - target) / (classes - 1))
        soft = np.where(known[:, None], target, np.exp(log_softmax(log_p, axis=1)))
        del log_p
        others = labelled & (fold != k)
        final[k] = _head(soft[others].sum(0), totals(soft, [others])[0], without(squares, k))
    log_p, exponents, _ = together(answered(final), np.ones(m, bool))
    alone = (target > 0)[:, (target > 0).sum(0) == 1].any(1)
    log_p[alone] = np.nan
    return CrossFit(log_p, tuple(map(float, exponents)))
