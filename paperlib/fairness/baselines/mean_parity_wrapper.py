r"""Mean parity around any regressor: its group means taken out afterwards, or kept apart while it is fitted.

Paper: Mean Parity Fair Regression in RKHS, AISTATS 2023 (PMLR 206:4602-4628), arXiv 2302.10409; eq. (4) to (6) and
Proposition 4 are what ``inside=True`` carries over to other regressors.  Introduced in
``notebooks/06_mp_fair_regression.ipynb``.

* After the fit (the mean shift): :math:`f(x) - (1 - u)(\hat m_s - \hat m)`, for predictions whose attribute is known.
* Inside the fit: the fair regressor is an ordinary one of the response less one constant per group,
  :math:`y - \nu_s`, as in the theorem of :mod:`paperlib.fairness.mean_parity`; where the regressor is a linear smoother
  (least squares, ridge and kernel ridge regression) this is the best fit of equal group means.  The constants are the
  root of :math:`\operatorname{gap}(\nu) = 0`, which Broyden's method (1965) finds from one fit a round, after at most
  twice as many rounds as there are groups for a linear smoother.  The relaxed path of Proposition 4 is
  :math:`f_u = (1 - u) f_0 + u f_1` with the fair :math:`f_0` and the ordinary :math:`f_1`: its gaps are u times those
  of :math:`f_1` for any regressor, since a mean is linear.

The group means :math:`\hat m` are those of the training predictions or (``cv``) of predictions for rows that the
regressor has not seen.
"""

from __future__ import annotations

import warnings
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import check_cv, cross_val_predict
from sklearn.utils.validation import check_is_fitted

from paperlib.fairness import checks
from paperlib.fairness.baselines.wrappers import FloatArray, Wrapper
from paperlib.fairness.moments import Sensitive, Weights


@dataclass(eq=False, repr=False)
class MeanParityWrapper(Wrapper):
    """Mean parity around any regressor: take the group means of its predictions out, add the overall mean.

    With ordinary least squares on inputs that hold the attribute this *is* :class:`MeanParityRegressor` at alpha 0;
    with any other regressor it needs the attribute of the person it predicts for, or ``inside=True``.

    Parameters
    ----------
    estimator : regressor, optional
        Default: ridge regression with an intercept.
    cv : int or splitter, optional
        Estimate the group means on predictions for rows that a copy of the regressor has not seen (cross-fitting), for
        regressors that fit the training rows closely.  None: on the training predictions.
    unfairness : float in [0, 1], default 0
        Fraction of every group's gap that stays; :meth:`predict_path` gives every level without another fit.
    inside : bool, default False
        Fit the regressor to the response less one constant per group, so that its own squared loss is as small as equal
        group means allow, and no attribute is needed to predict.  Costs ``n_rounds`` fits at most.
    n_rounds : int, default 30
        With ``inside``: fits, the ordinary one not counted.  The one with the smallest gaps is kept.
    unseen : {'error', 'population'}, default 'error'
        What to do with a group at predict time that the training set has not.  'population' leaves its prediction as it
        is.

    Attributes
    ----------
    groups_ : list
    gaps_, unconstrained_gaps_ : (k,)
        Group mean less overall mean of this fit and of the ordinary one, on the predictions that ``cv`` names.
    shift_ : (k,)
        What is added to the predictions of each group, or, with ``inside``, to its responses at ``unfairness=0``.
    estimator_ : regressor
        The ordinary fit.
    fair_ : regressor
        With ``inside``: the fair fit.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.ensemble import HistGradientBoostingRegressor
    >>> from paperlib.fairness import MeanParityWrapper, smd
    >>> rng = np.random.default_rng(0)
    >>> s = rng.integers(2, size=300)
    >>> X = np.column_stack([rng.normal(size=300), s])
    >>> y = X[:, 0] ** 2 + s
    >>> model = MeanParityWrapper(HistGradientBoostingRegressor(random_state=0)).fit(X, y, sensitive_features=s)
    >>> smd(y, model.predict(X, sensitive_features=s), sensitive_features=s) < 1e-12
    True
    """

    __metadata_request__predict: ClassVar = {"sensitive_features": True}

    estimator: BaseEstimator | None = None
    _: KW_ONLY
    cv: Any = None
    unfairness: float = 0.0
    inside: bool = False
    n_rounds: int = 30
    unseen: str = "error"

    def fit(
        self, X: ArrayLike, y: ArrayLike, *, sensitive_features: Sensitive = None, sample_weight: Weights = None
    ) -> MeanParityWrapper:
        """Fit the regressor, then read its group means off.

        Arguments and errors as in ``MeanParityRegressor.fit``, for y (n,). The weights are those of the group means and
        of the regressor's loss, which must allow them. ``inside`` warns when the gaps could not be closed to 1e-3 of
        those of the ordinary fit.
        """
        checks.number("unfairness", self.unfairness, 0.0, 1.0)
        checks.whole("n_rounds", self.n_rounds)
        features, target, weight = self._check(X, y, sample_weight)
        codes = self._learn_groups(sensitive_features, weight, X, y)
        passed = None if sample_weight is None else weight
        f = self._fit_base(features, target, passed)
        splits = None if self.cv is None else list(check_cv(self.cv).split(features, target))
        known, total = codes >= 0, weight.sum()
        size = np.bincount(codes[known], weight[known])

        def gaps(response: FloatArray, model: BaseEstimator, f: FloatArray) -> FloatArray:
            """Group means less overall mean of a regressor's predictions f, or of its copies' for unseen rows."""
            if splits is not None:
                f = cross_val_predict(clone(model), features, response, cv=splits, params=self._weights(passed))
            means = np.bincount(codes[known], weight[known] * f[known]) / size
            return np.asarray(means - np.average(f, weights=weight))

        before = gaps(target, self.estimator_, f)
        self.unconstrained_gaps_, self.gaps_ = before, self.unfairness * before
        if not self.inside:
            self.shift_ = (1.0 - self.unfairness) * -before
            return self

        def attempt(nu: FloatArray) -> tuple[BaseEstimator, FloatArray]:
            response = target - np.append(nu, 0.0)[codes]
            model = clone(self.estimator_).fit(features, response, **self._weights(passed))
            return model, gaps(response, model, np.asarray(model.predict(features), dtype=float))

        self.fair_, left, nu = _closed(attempt, before, size / total, self.n_rounds)
        self.shift_ = -nu
        self.gaps_ = self.gaps_ + (1.0 - self.unfairness) * left
        if np.abs(left).sum() > 1e-3 * np.abs(before).sum() + 1e-9 * np.abs(target).max():
            warnings.warn(
                f"n_rounds={self.n_rounds!r} fits closed the gaps of this estimator to {np.abs(left).max():.3g} (from "
                f"{np.abs(before).max():.3g}); raise it, or use inside=False, which closes them all.",
                stacklevel=2,
            )
        return self

    def predict(self, X: ArrayLike, *, sensitive_features: Sensitive = None) -> FloatArray:
        """Predictions (m,) for X (m, d) and the attributes (m,) or (m, r) of these people (not with ``inside``)."""
        return self._path(X, np.array([self.unfairness]), sensitive_features)[0]

    def predict_path(self, X: ArrayLike, unfairness: ArrayLike, *, sensitive_features: Sensitive = None) -> FloatArray:
        """Predictions (L, m) at every level of ``unfairness`` (L,), from the fits that there are."""
        return self._path(X, checks.numbers("unfairness", unfairness, 0.0, 1.0), sensitive_features)

    def _path(self, X: ArrayLike, levels: FloatArray, sensitive_features: Sensitive) -> FloatArray:
        check_is_fitted(self)
        features = checks.validated(self, X, dtype=np.float64, reset=False)
        ordinary = np.asarray(self.estimator_.predict(features), dtype=float)
        if self.inside:
            move = np.asarray(self.fair_.predict(features), dtype=float) - ordinary
        else:
            codes = self._codes(sensitive_features, len(features), X)
            move = np.append(-self.unconstrained_gaps_, 0.0)[codes]
        return ordinary + (1.0 - levels)[:, None] * move


GroupMeanShift = MeanParityWrapper


def _closed(
    attempt: Any, before: FloatArray, share: FloatArray, n_rounds: int
) -> tuple[BaseEstimator, FloatArray, FloatArray]:
    """The regressor with the smallest gaps, its gaps (k,) and constants (k,), by Broyden's method from nu = gap(0).

    Parameters
    ----------
    attempt : callable
        From constants nu (k,) to the regressor of y - nu and its gaps (k,).
    before : (k,)
        The gaps at nu = 0.
    share : (k,)
        Of each group in the total weight.
    """
    inverse = np.eye(len(before))  # of minus the slope of the gaps: with one constant each, a group answers by itself
    nu, gap, step = np.zeros(len(before)), before, before
    best: tuple[float, Any, FloatArray, FloatArray] = (np.inf, None, before, nu)
    for _ in range(n_rounds):
        step = step - share @ step  # the overall mean stays
        nu = nu + step
        model, now = attempt(nu)
        size = float(np.abs(now).sum())
        if size < best[0]:
            best = size, model, now, nu
        if size <= 1e-10 * np.abs(before).sum():
            break
        moved = inverse @ (gap - now)
        if abs(along := float(step @ moved)) > 1e-12 * float(step @ step):
            inverse = inverse + np.outer(step - moved, step @ inverse) / along
        gap, step = now, inverse @ now
    return best[1], best[2], best[3]
