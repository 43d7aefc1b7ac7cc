r"""How unfair, and how accurate, predictions are.

Paper: Mean Parity Fair Regression in RKHS, AISTATS 2023 (PMLR 206:4602-4628), arXiv 2302.10409; Proposition 1 (mean
parity discrepancy, printed as SMD in its figures; demographic parity discrepancy, DPD), Figures 8 and 9 (norm of the
covariance).  Introduced in ``notebooks/06_mp_fair_regression.ipynb``.

.. math::
    \mathrm{SMD}(f) = \sum_g |\operatorname{mean}_g f - \operatorname{mean} f|, \qquad
    \mathrm{DPD}(f) = \sum_g W_1(\text{law of } f \text{ in } g, \text{law of } f) \ge \mathrm{SMD}(f) .

Every function takes ``(y_true, y_pred, *, sensitive_features, sample_weight=None)`` like the metrics of fairlearn, so
that it can be a scorer with metadata routing; a ``MetricFrame`` over ``mean_prediction``, ``mean_squared_error`` or
``r2_score`` gives the values by group.  Groups are the combinations of attribute values that occur in the data given:
a group that is absent from a split does not count, and the sums grow with the number of groups.

Differences from the paper
--------------------------
1. Figure 10 prints a DPD that is far above the sum of :math:`W_1` of Proposition 1 and close to
   :math:`\max_g\sup_t|F_g(t) - F(t)|`; that one is ``ks_distance(..., method="to_overall")``.  Both are here.
2. Figures 8 and 9 print n times the covariance; ``covariance_norm(..., total=True)`` does the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import wasserstein_distance
from sklearn.metrics import mean_squared_error, r2_score

from paperlib.errors import PaperlibError, choose
from paperlib.fairness import checks
from paperlib.fairness.moments import FloatArray, Sensitive, Weights, aligned, group_codes, index_of, sensitive_frame

__all__ = [
    "METRICS", "covariance_norm", "demographic_parity_discrepancy", "group_means", "interval", "ks_distance",
    "mean_parity_gap", "mean_prediction", "mean_squared_error", "r2_score", "smd",
]  # fmt: skip

_METHODS = ("between_groups", "to_overall")


def mean_prediction(y_true: ArrayLike | None, y_pred: ArrayLike, *, sample_weight: Weights = None) -> float:
    """Weighted mean of the predictions, arguments as in :func:`smd`; in a ``MetricFrame``, the group means."""
    f = _predictions(y_pred)
    return float(np.average(f, weights=checks.weights(sample_weight, len(f), _rows(y_true, y_pred))))


def group_means(
    y_true: ArrayLike | None, y_pred: ArrayLike, *, sensitive_features: Sensitive, sample_weight: Weights = None
) -> pd.Series:
    """Mean prediction of each group that occurs, indexed by the group (a tuple for several attributes).

    Arguments and errors as in :func:`smd`.
    """
    groups = list(_groups(y_true, y_pred, sensitive_features, sample_weight))
    labels = [label for label, _, _ in groups]
    index = pd.MultiIndex.from_tuples(labels) if labels and isinstance(labels[0], tuple) else pd.Index(labels)
    return pd.Series([np.average(f, weights=w) for _, f, w in groups], index=index, name="mean prediction")


def smd(
    y_true: ArrayLike | None, y_pred: ArrayLike, *, sensitive_features: Sensitive, sample_weight: Weights = None
) -> float:
    """Sum over groups of |group mean - overall mean| (MPD of Proposition 1); with two groups, |mean_1 - mean_0|.

    Parameters
    ----------
    y_true : (n,) or None
        Not used; where fairlearn and scikit-learn expect it.
    y_pred : (n,)
    sensitive_features : (n,) or (n, r)
        Array, list, Series, DataFrame or dict; several columns make one group per combination that occurs.
    sample_weight : (n,), optional
        Non-negative.

    Raises
    ------
    PaperlibError
        Predictions that are not n finite numbers, or attributes or weights that do not fit them.
    """
    means = group_means(y_true, y_pred, sensitive_features=sensitive_features, sample_weight=sample_weight)
    overall = mean_prediction(y_true, y_pred, sample_weight=sample_weight)
    return float(np.abs(means.to_numpy() - overall).sum())


def mean_parity_gap(
    y_true: ArrayLike | None,
    y_pred: ArrayLike,
    *,
    sensitive_features: Sensitive,
    sample_weight: Weights = None,
    method: str = "between_groups",
) -> float:
    """Largest difference of two group means, or of a group mean and the overall mean (``method="to_overall"``).

    The same numbers as ``MetricFrame.difference(method=...)`` of ``mean_prediction``. Others as in :func:`smd`.
    """
    choose("method", method, _METHODS)
    means = group_means(y_true, y_pred, sensitive_features=sensitive_features, sample_weight=sample_weight).to_numpy()
    if method == "between_groups":
        return float(means.max() - means.min())
    return float(np.abs(means - mean_prediction(y_true, y_pred, sample_weight=sample_weight)).max())


def ks_distance(
    y_true: ArrayLike | None,
    y_pred: ArrayLike,
    *,
    sensitive_features: Sensitive,
    sample_weight: Weights = None,
    method: str = "between_groups",
) -> float:
    r"""Kolmogorov distance: :math:`\max \sup_t |F_g(t) - F_h(t)|` over pairs of groups, or against all predictions.

    0 is statistical parity, 1 is complete separation.  ``method="to_overall"`` compares each group with the pooled
    distribution (the disparity of Agarwal et al. 2019, and what Figure 10 shows). Other arguments as in :func:`smd`.
    """
    choose("method", method, _METHODS)
    pooled = _predictions(y_pred)
    levels = np.unique(pooled)
    cdfs = np.array([_cdf(f, w, levels) for _, f, w in _groups(y_true, y_pred, sensitive_features, sample_weight)])
    if method == "to_overall":
        weight = checks.weights(sample_weight, len(pooled), _rows(y_true, y_pred))
        return float(np.abs(cdfs - _cdf(pooled, weight, levels)).max())
    return float((cdfs.max(axis=0) - cdfs.min(axis=0)).max())


def demographic_parity_discrepancy(
    y_true: ArrayLike | None, y_pred: ArrayLike, *, sensitive_features: Sensitive, sample_weight: Weights = None
) -> float:
    """DPD of Proposition 1: sum over groups of the Wasserstein-1 distance to all predictions; at least the SMD.

    Arguments and errors as in :func:`smd`.
    """
    pooled = _predictions(y_pred)
    weight = checks.weights(sample_weight, len(pooled), _rows(y_true, y_pred))
    groups = _groups(y_true, y_pred, sensitive_features, sample_weight)
    return float(sum(wasserstein_distance(f, pooled, w, weight) for _, f, w in groups))


def covariance_norm(
    y_true: ArrayLike | None,
    y_pred: ArrayLike,
    *,
    sensitive_features: ArrayLike,
    sample_weight: Weights = None,
    total: bool = False,
) -> float:
    """Euclidean norm of Cov(S, f), numeric attributes; times the total weight n when ``total`` (Figures 8 and 9).

    Other arguments and errors as in :func:`smd`.
    """
    pooled = _predictions(y_pred)
    rows = _rows(y_true, y_pred)
    weight = checks.weights(sample_weight, len(pooled), rows)
    frame = sensitive_frame(sensitive_features, len(pooled), rows)
    try:
        S = frame.to_numpy(dtype=float)
    except (TypeError, ValueError):
        raise PaperlibError(
            f"sensitive_features holds {frame.iloc[0].tolist()}; covariance_norm needs numbers, such as 0 and 1."
        ) from None
    covariance = weight @ ((S - np.average(S, axis=0, weights=weight)) * pooled[:, None])
    return float(np.linalg.norm(covariance) / (1.0 if total else weight.sum()))


def _rows(y_true: ArrayLike | None, y_pred: ArrayLike) -> pd.DataFrame | None:
    """Whose index the other arguments follow: the predictions', or, where they have none, the response's."""
    return index_of(y_pred=y_pred, y_true=y_true)


def _groups(
    y_true: ArrayLike | None, y_pred: ArrayLike, sensitive_features: Sensitive, sample_weight: Weights
) -> Iterator[tuple[Any, FloatArray, FloatArray]]:
    """(label, predictions, weights) of each group with positive weight."""
    f, X = _predictions(y_pred), _rows(y_true, y_pred)
    codes, labels, _ = group_codes(sensitive_frame(sensitive_features, len(f), X))
    weight = checks.weights(sample_weight, len(f), X)
    for code, label in enumerate(labels):
        members = (codes == code) & (weight > 0)
        if members.any():
            yield label, f[members], weight[members]


def _predictions(y_pred: ArrayLike) -> FloatArray:
    """One finite prediction per sample (n,)."""
    f = np.asarray(y_pred, dtype=float)
    if f.ndim != 1 or not len(f):
        raise PaperlibError(f"y_pred has shape {f.shape}; give one prediction per sample (n,), one output at a time.")
    if not np.isfinite(f).all():
        raise PaperlibError(f"y_pred holds {(~np.isfinite(f)).sum()} values that are NaN or infinite; drop those rows.")
    return f


def interval(
    metric: Callable[..., float],
    y_true: ArrayLike | None,
    y_pred: ArrayLike,
    *,
    sensitive_features: Sensitive,
    sample_weight: Weights = None,
    level: float = 0.95,
    n_resamples: int = 1000,
    random_state: int | None = 0,
    **options: Any,
) -> tuple[float, float]:
    """Bootstrap interval of a metric of this module: people are drawn again inside their groups.

    The measures of unfairness are sums or maxima of absolute values, which noise can only raise: the basic (reflected)
    interval of Davison and Hinkley (1997, Section 5.2), cut at 0, corrects for it.

    Parameters
    ----------
    metric : callable
        :func:`smd`, :func:`mean_parity_gap`, :func:`ks_distance`, ...
    y_true : (n,) or None
    y_pred : (n,)
    sensitive_features : (n,) or (n, r)
    sample_weight : (n,), optional
        Handed on to the metric, with the people it belongs to.
    level : float in (0, 1), default 0.95
    n_resamples : int, default 1000
    random_state : int, optional
    **options
        Of the metric.

    Returns
    -------
    low, high : float
    """
    checks.number("level", level, 0.0, 1.0, above=True)
    checks.whole("n_resamples", n_resamples)
    f, X = _predictions(y_pred), _rows(y_true, y_pred)
    y = None if y_true is None else np.asarray(aligned("y_true", y_true, X), dtype=float)
    weight = checks.weights(sample_weight, len(f), X)
    codes, labels, _ = group_codes(sensitive_frame(sensitive_features, len(f), X))
    members = [np.flatnonzero(codes == g) for g in range(len(labels))]
    rng = np.random.default_rng(random_state)
    values = []
    for _ in range(n_resamples):
        rows = np.concatenate([rng.choice(group, len(group)) for group in members])
        drawn = None if y is None else y[rows]
        values.append(metric(drawn, f[rows], sensitive_features=codes[rows], sample_weight=weight[rows], **options))
    here = metric(y, f, sensitive_features=codes, sample_weight=weight, **options)
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return max(0.0, float(2 * here - high)), max(0.0, float(2 * here - low))


def _cdf(values: FloatArray, weight: FloatArray, levels: FloatArray) -> FloatArray:
    order = np.argsort(values)
    cumulative = np.concatenate([[0.0], np.cumsum(weight[order])])
    return cumulative[np.searchsorted(values[order], levels, side="right")] / cumulative[-1]


#: Every measure of unfairness here, by the name that tables and figures print.
METRICS = {"SMD": smd, "gap": mean_parity_gap, "KS": ks_distance, "DPD": demographic_parity_discrepancy}
