r"""Bounded group loss: no group is predicted much worse than it must be.

Paper: Agarwal, Dudik and Wu, Fair Regression: Quantitative Definitions and Reduction-Based Algorithms, ICML 2019,
arXiv 1905.12843; Section 2 (bounded group loss) and Section 4 (reduction to weighted regression).  Introduced in
``notebooks/06_mp_fair_regression.ipynb``.

.. math::
    \min_f \mathbb E\,\ell(Y, f(X)) \quad\text{s.t.}\quad \mathbb E[\ell(Y, f(X)) \mid S = s] \le \zeta \;\forall s .

The Lagrangian is a weighted regression in which a person of group s weighs :math:`1 + \lambda_s / p_s`.  The
multipliers rise where the bound is violated, by exponentiated gradient; the answer is the average of the regressions on
the way.

Differences from the paper
--------------------------
1. The squared loss is convex, so the average *prediction* keeps every bound that the randomised predictor keeps:
   ``predict`` returns it, and nothing is random.
2. Without a bound (``bound=None``) the largest group loss is minimised instead.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from paperlib.fairness import checks
from paperlib.fairness.baselines.wrappers import FloatArray, Wrapper
from paperlib.fairness.moments import Sensitive, Weights


@dataclass(eq=False, repr=False)
class BoundedGroupLossRegressor(Wrapper):
    """Squared error of every group at most ``bound``, around any regressor that takes sample weights.

    Parameters
    ----------
    estimator : regressor, optional
        Default: ridge regression with an intercept.
    bound : float, optional
        Largest mean squared error of a group, in squared units of y.  None: as small as it can be.
    n_rounds : int, default 50
        Fits.
    radius : float, default 20
        Bound of the multipliers' sum.

    Attributes
    ----------
    groups_ : list
    group_loss_ : (k,)
        Mean squared error of each group on the training rows.
    estimators_ : list
    """

    estimator: BaseEstimator | None = None
    _: KW_ONLY
    bound: float | None = None
    n_rounds: int = 50
    radius: float = 20.0

    def fit(
        self, X: ArrayLike, y: ArrayLike, *, sensitive_features: Sensitive = None, sample_weight: Weights = None
    ) -> BoundedGroupLossRegressor:
        """Fit ``n_rounds`` regressions; arguments and errors as in ``MeanParityRegressor.fit``, for y (n,)."""
        bound = 0.0 if self.bound is None else checks.number("bound", self.bound)
        checks.whole("n_rounds", self.n_rounds)
        checks.number("radius", self.radius, above=True)
        features, target, weight = self._check(X, y, sample_weight)
        codes = self._learn_groups(sensitive_features, weight, X, y)
        codes = np.where(codes < 0, 0, codes)  # a row without weight has no loss, whatever its group
        size = np.bincount(codes, weight)
        share = size / weight.sum()
        log, self.estimators_, total = np.zeros(len(size)), [], np.zeros(len(target))
        for _ in range(self.n_rounds):
            raised = np.exp(log - max(log.max(), 0.0))
            multipliers = (
                self.radius * raised / (np.exp(-max(log.max(), 0.0)) * (self.bound is not None) + raised.sum())
            )
            base = 0.0 if self.bound is None else 1.0
            total += self._fit_base(features, target, weight * (base + (multipliers / share)[codes]))
            self.estimators_.append(self.estimator_)
            loss = np.bincount(codes, weight * (total / len(self.estimators_) - target) ** 2) / size
            log += 2.0 * (loss - bound) / max(loss.max(), np.finfo(float).tiny)
        self.group_loss_ = loss
        return self

    def predict(self, X: ArrayLike) -> FloatArray:
        """Predictions (m,), the average of the regressions."""
        check_is_fitted(self)
        features = checks.validated(self, X, dtype=np.float64, reset=False)
        return np.mean([model.predict(features) for model in self.estimators_], axis=0)
