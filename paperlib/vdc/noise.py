r"""How many labels are wrong, which ones, and where to cut: from class probabilities and the labels as they are.

No paper; the model is the simplest of label noise. With :math:`p_{ik}` the probability of class k for picture i,
sharpened by a temperature, and a share :math:`\eta` of labels that are drawn anew from the other classes,

.. math::
   P(y_i \mid x_i) = (1 - \eta)\, p_{i y_i} + \eta\, \frac{1 - p_{i y_i}}{C - 1}, \qquad
   w_i = \frac{\eta\, (1 - p_{i y_i}) / (C - 1)}{P(y_i \mid x_i)},

temperature and :math:`\eta` maximise the likelihood of the labels, and :math:`w_i` is the probability that label i is
wrong. The suggested cut flags the most suspicious samples until all but a share ``missed`` of the expected wrong labels
are flagged. The expected false positive rate is the share of the right labels, :math:`\sum_i (1 - w_i)`, that lies
above the cut; its interval, and that of :math:`\eta`, are percentiles over samples drawn with replacement.

What the interval does not contain: the model's own error. Heads that learn from labels of which one class is always
called another learn to expect that, and find less noise than there is; hard pictures look like noise.

Introduced in notebook 01.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import minimize

MISSED = 0.08
"""Expected share of the wrong labels that the suggested cut leaves."""
DRAWS, MOST = 50, 5_000
"""Draws of the bootstrap, and samples of each: more would not change what is printed."""
Draws = tuple[tuple[float, np.ndarray], ...]
PRIOR = (1.0, 9.0)
"""Beta prior of the share of wrong labels, as counts: with few samples it keeps the share away from 0 and 1."""


@dataclass(frozen=True)
class Noise:
    """What the labels of N samples are worth."""

    wrong: np.ndarray
    """(N,) probability that the label is wrong."""
    rate: float
    """Estimated share of wrong labels."""
    rate_interval: tuple[float, float]
    """90 % of the draws."""
    cut: float
    """Samples with a probability above this are flagged."""
    fpr: float
    """Expected share of the right labels that are flagged."""
    fpr_interval: tuple[float, float]
    sharpness: float
    """Exponent of the probabilities: 1 / temperature."""
    draws: Draws = ()
    """Of the bootstrap: share of wrong labels, and probabilities."""

    def of(self, log_p: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The probability that other labels y (n,) are wrong, with log-probabilities (n, C) of the classes."""
        return _wrong(log_p, y, self.sharpness, self.rate)

    def cut_for(self, fpr: float) -> float:
        """The cut above which the share ``fpr`` of the right labels is expected."""
        ordered = np.sort(self.wrong)[::-1]
        right = np.cumsum(1 - ordered) / max((1 - ordered).sum(), 1e-12)
        return float(ordered[min(int((right <= fpr).sum()), len(ordered) - 1)])

    def at(self, cut: float) -> "Noise":
        """The same with another cut."""
        return self if cut == self.cut else replace(self, cut=cut, **_costs(self.wrong, self.draws, lambda w: cut))

    def settings(self) -> dict[str, Any]:
        """For a report, in percent."""
        percent = lambda values: [round(100 * v, 1) for v in values]  # noqa: E731
        return {
            "wrong_labels_percent": round(100 * self.rate, 1),
            "wrong_labels_interval": percent(self.rate_interval),
            "expected_fpr_percent": round(100 * self.fpr, 1),
            "expected_fpr_interval": percent(self.fpr_interval),
        }


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    return logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)


def _likelihood(p: np.ndarray, eta: float, classes: int) -> np.ndarray:
    return (1 - eta) * p + eta * (1 - p) / (classes - 1)


def weights(experts: list[np.ndarray], y: np.ndarray) -> tuple[np.ndarray, float]:
    """Exponents of the experts' probabilities, and the share of wrong labels, under which the labels are likeliest.

    Parameters
    ----------
    experts : list of (N, C)
        Log-probabilities of the classes.
    y : (N,)
        The labels, positions among the C classes.
    """
    own, classes = np.arange(len(y)), experts[0].shape[1]

    def loss(parameters: np.ndarray) -> float:
        *a, odds = parameters
        if abs(odds) > 30:
            return float("inf")
        eta = 1 / (1 + np.exp(-odds))
        p = np.exp(_log_softmax(sum(np.exp(k) * e for k, e in zip(a, experts, strict=True)))[own, y])
        value = np.log(_likelihood(p, eta, classes) + 1e-12).sum() + PRIOR[0] * np.log(eta) + PRIOR[1] * np.log(1 - eta)
        return -value / len(y) + 0.02 / len(y) * np.square(a).sum()

    start = np.array([*(0.0 if k == 0 else -1.5 for k in range(len(experts))), -2.0])
    found = minimize(loss, start, method="Nelder-Mead", options={"xatol": 0.01, "fatol": 1e-6, "maxiter": 300}).x
    return np.exp(found[:-1]), float(1 / (1 + np.exp(-found[-1])))


def _wrong(log_p: np.ndarray, y: np.ndarray, sharpness: float, eta: float) -> np.ndarray:
    p = np.exp(_log_softmax(sharpness * log_p)[np.arange(len(y)), y])
    classes = log_p.shape[1]
    return eta * (1 - p) / (classes - 1) / (_likelihood(p, eta, classes) + 1e-12)


def suggested(wrong: np.ndarray, missed: float = MISSED) -> float:
    """The cut above which all but a share ``missed`` of the expected wrong labels lie."""
    ordered = np.sort(wrong)[::-1]
    last = int((np.cumsum(ordered) >= (1 - missed) * ordered.sum()).argmax())
    below = ordered[ordered < ordered[last]]
    return float((ordered[last] + below[0]) / 2) if len(below) else float(ordered[last])


def expected_fpr(wrong: np.ndarray, cut: float) -> float:
    """Share of the right labels above the cut, as far as the probabilities are right."""
    right = 1 - wrong
    return float(right[wrong > cut].sum() / max(right.sum(), 1e-12))


def _costs(wrong: np.ndarray, draws: Draws, cut: Callable[[np.ndarray], float]) -> dict[str, Any]:
    """Expected false positive rate and its interval; fewer samples in a draw than there are would say too wide an
    interval."""
    fpr = expected_fpr(wrong, cut(wrong))
    drawn = np.array([expected_fpr(w, cut(w)) for _, w in draws])
    return {"fpr": fpr, "fpr_interval": _interval(fpr, drawn, len(draws[0][1]) / len(wrong))}


def _interval(middle: float, drawn: np.ndarray, share: float) -> tuple[float, float]:
    low, high = np.quantile(np.clip(middle + (drawn - middle) * np.sqrt(share), 0, 1), [0.05, 0.95])
    return float(low), float(high)


def estimate(log_p: np.ndarray, y: np.ndarray, missed: float = MISSED, seed: int = 0) -> Noise:
    """Probability of a wrong label for every sample, the share of wrong labels, a cut, and what it costs.

    Parameters
    ----------
    log_p : (N, C)
        Log-probabilities of the classes, from something that has not seen the sample's own label.
    y : (N,)
        The labels, positions among the C classes.
    missed
        Share of the wrong labels that may stay below the cut, in (0, 1).
    """
    (sharpness,), rate = weights([log_p], y)
    wrong = _wrong(log_p, y, sharpness, rate)
    rng, n, draws = np.random.default_rng(seed), min(len(y), MOST), []
    for _ in range(DRAWS):
        again = rng.integers(len(y), size=n)
        (sharp,), eta = weights([log_p[again]], y[again])
        draws.append((eta, _wrong(log_p[again], y[again], sharp, eta)))
    costs = _costs(wrong, tuple(draws), lambda w: suggested(w, missed))
    interval = _interval(rate, np.array([eta for eta, _ in draws]), n / len(y))
    return Noise(wrong, rate, interval, suggested(wrong, missed), sharpness=sharpness, draws=tuple(draws), **costs)
