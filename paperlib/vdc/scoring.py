r"""From answers to a decision: which samples are dirty.

Zhu et al., "VDC", ICLR 2024 (arXiv 2309.16211). With :math:`e_{ij} = 1` where the answer to question j about sample i
is right,

.. math:: s_i = \frac{1}{|J_i|} \sum_{j \in J_i} e_{ij}, \qquad \text{dirty} \iff s_i < \alpha = 0.5,

:math:`J_i` the questions that were answered, general and specific ones alike.

Differences from the paper
1. Besides the vote: the mean of the probabilities of a right answer (``mean_p``), and the mean of their logits
   (``logit_mean``), for engines that give probabilities. A verdict without one counts as 0 or 1.
2. Ties at :math:`s_i = \alpha`. The authors' code counts a tie in VDC's favour by looking at the ground truth: a truly
   dirty sample is caught, a truly clean one is spared. Nobody can do that with data of unknown quality. Here a tie is
   ``clean`` (the rule as printed), ``dirty``, or ``paper-code`` where the truth is given.
3. Abstention. An answer that is a refusal, empty or beyond the engine counts neither way; a sample with fewer than half
   of its questions answered is undecided and not flagged.
4. :math:`\alpha` can be chosen from clean reference samples so that a stated share of clean samples is flagged.

Introduced in notebook 01.
"""

from dataclasses import dataclass

import numpy as np

from paperlib.errors import PaperlibError, choose

SCORES = ("vote", "mean_p", "logit_mean")
TIES = ("clean", "dirty", "paper-code")
CLIP = 1e-3
"""Probabilities are kept this far from 0 and 1 before their logit is taken: no single answer decides alone."""


def score(right: np.ndarray, p: np.ndarray, how: str = "vote") -> np.ndarray:
    """Scores (N,) in [0, 1]; nan where no question was answered.

    Parameters
    ----------
    right : (N, Q)
        1: the answer is right, 0: wrong; nan: not asked, or abstained.
    p : (N, Q)
        Probability that the answer is right, nan in the same places; equal to ``right`` where an engine gives none.
    how
        ``vote``: share of right answers; ``mean_p``: mean probability; ``logit_mean``: mean of the logits, mapped back
        to [0, 1].
    """
    choose("score", how, SCORES)
    answered = np.isfinite(right)
    n = answered.sum(1)
    if how == "logit_mean":
        kept = np.clip(p, CLIP, 1 - CLIP)
        values = np.log(kept / (1 - kept))
    else:
        values = right if how == "vote" else p
    total = np.where(answered, values, 0.0).sum(1)
    mean = np.divide(total, n, out=np.full(len(right), np.nan), where=n > 0)
    return 1 / (1 + np.exp(-mean)) if how == "logit_mean" else mean


def decided(right: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Bool (N,): at least half of the questions asked (N,) were answered, and at least one."""
    n = np.isfinite(right).sum(1)
    return (n > 0) & (2 * n >= asked)


def flag(scores: np.ndarray, alpha: float, tie: str = "clean", truth: np.ndarray | None = None) -> np.ndarray:
    """Bool (N,): dirty. A score of nan is never flagged.

    Raises
    ------
    PaperlibError
        Unknown tie rule, or ``paper-code`` without ``truth`` (bool, True: dirty).
    """
    choose("tie", tie, TIES)
    # scores are means of few numbers: 2/4 and 3/6 must tie with 0.5 whatever the rounding
    tied = np.isclose(scores, alpha, rtol=0, atol=1e-12)
    below = (scores < alpha) & ~tied
    if tie == "clean":
        return below
    if tie == "dirty":
        return below | tied
    if truth is None:
        raise PaperlibError("tie='paper-code' looks at the ground truth; give truth, or use tie='clean' or 'dirty'.")
    return below | (tied & truth)


def calibrate(reference: np.ndarray, target_fpr: float) -> float:
    """The threshold below which at most the share ``target_fpr`` of clean samples is expected.

    The k-th smallest of the n reference scores, k = floor(target_fpr (n + 1)): a further clean sample of the same kind
    falls below it with probability at most k / (n + 1) (split conformal prediction).

    Raises
    ------
    PaperlibError
        The target is outside (0, 1), or so small that the reference samples cannot tell.
    """
    scores = np.sort(reference[np.isfinite(reference)])
    if not 0 < target_fpr < 1:
        raise PaperlibError(f"target_fpr={target_fpr!r} must lie strictly between 0 and 1.")
    k = int(target_fpr * (len(scores) + 1))
    if k < 1:
        raise PaperlibError(
            f"target_fpr={target_fpr!r} needs at least {int(np.ceil(1 / target_fpr)) - 1} scored clean reference"
            f" samples; there are {len(scores)}."
        )
    return float(scores[k - 1])


@dataclass(frozen=True)
class Rates:
    """How well dirty samples were found. Shares in percent; pooled over classes, as in the paper."""

    tpr: float
    """Of the dirty samples, flagged."""
    fpr: float
    """Of the clean samples, flagged."""
    f1: float
    auroc: float
    """Of the score, over all thresholds; nan where one kind is absent."""
    fnr_at_budget: float
    """Dirty samples missed when exactly as many are flagged as are dirty."""
    dirty: int
    clean: int


def rates(scores: np.ndarray, flagged: np.ndarray, truth: np.ndarray) -> Rates:
    """Compare flags and scores (low: dirty; nan counts as the cleanest) with the truth (bool, True: dirty)."""
    truth = np.asarray(truth, bool)
    dirty, clean = int(truth.sum()), int((~truth).sum())
    caught, false = int((flagged & truth).sum()), int((flagged & ~truth).sum())
    filled = np.where(np.isfinite(scores), scores, np.inf)
    missed = auroc = float("nan")
    if dirty and clean:
        _, inverse, counts = np.unique(filled, return_inverse=True, return_counts=True)
        rank = (np.cumsum(counts) - (counts - 1) / 2)[inverse]  # ties share their mean rank
        auroc = 100 * (rank[~truth].sum() - clean * (clean + 1) / 2) / (clean * dirty)
        # ties at the budget's edge count as drawn at random: the expected number is reported
        edge = np.sort(filled)[dirty - 1]
        sure, tied = filled < edge, filled == edge
        missed = 100 * (1 - ((sure & truth).sum() + (dirty - sure.sum()) * truth[tied].mean()) / dirty)
    share = lambda a, b: 100 * a / b if b else float("nan")  # noqa: E731
    return Rates(
        tpr=share(caught, dirty),
        fpr=share(false, clean),
        f1=share(2 * caught, 2 * caught + false + (dirty - caught)),
        auroc=float(auroc),
        fnr_at_budget=float(missed),
        dirty=dirty,
        clean=clean,
    )
