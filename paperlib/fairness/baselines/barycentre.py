r"""Wasserstein barycentre: the predictions of every group moved to one distribution, which is statistical parity.

Paper: Chzhen et al., Fair Regression with Wasserstein Barycenters, NeurIPS 2020, arXiv 2006.07286; equipy's
distributions, :math:`f^*(x, s) = \sum_{s'} p_{s'} Q_{s'}(F_s(f(x)))`.  Introduced in
``notebooks/06_mp_fair_regression.ipynb``.  equipy is imported when a fit needs it
(``pip install paperlib[fairness]``).

Differences from the paper
--------------------------
1. Several attributes are one intersectional attribute: one group per combination.
2. The barycentre is estimated on the training predictions of the wrapped regressor, without a hold-out set; its jitter
   is drawn from the same seed at every call of ``predict``, which is therefore repeatable.
3. Sample weights, which equipy has not: p, F and Q are those of the weighted predictions.
"""

from __future__ import annotations

import copy
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from paperlib.fairness import checks
from paperlib.fairness.baselines.wrappers import FloatArray, Wrapper, optional
from paperlib.fairness.moments import Sensitive, Weights


@dataclass(eq=False, repr=False)
class WassersteinBarycentre(Wrapper):
    """Move the predictions of every group to the Wasserstein barycentre of the groups: statistical parity.

    Parameters
    ----------
    estimator : regressor, optional
        Default: ridge regression with an intercept.
    unfairness : float in [0, 1], default 0
        Share of the original prediction that stays.
    sigma : float, default 1e-4
        Half-width of the uniform jitter that breaks ties, in units of y; 0 for none.
    random_state : int, default 0
    unseen : {'error', 'population'}, default 'error'
        As in :class:`MeanParityWrapper`.
    """

    __metadata_request__predict: ClassVar = {"sensitive_features": True}

    estimator: BaseEstimator | None = None
    _: KW_ONLY
    unfairness: float = 0.0
    sigma: float = 1e-4
    random_state: int = 0
    unseen: str = "error"

    def fit(
        self, X: ArrayLike, y: ArrayLike, *, sensitive_features: Sensitive = None, sample_weight: Weights = None
    ) -> WassersteinBarycentre:
        """Fit the regressor, then learn the distribution of its predictions in every group.

        Arguments and errors as in ``MeanParityRegressor.fit``, for y (n,). The weights are of the regressor's loss
        and of the distributions; the jitter of repeated rows differs, so a weight of 2 is the row twice with
        ``sigma=0`` only. equipy not installed is an error too.
        """
        checks.number("unfairness", self.unfairness, 0.0, 1.0)
        checks.whole("random_state", self.random_state, 0)
        checks.number("sigma", self.sigma, 0.0, np.finfo(float).max)
        features, target, weight = self._check(X, y, sample_weight)
        codes = self._learn_groups(sensitive_features, weight, X, y)
        f = self._fit_base(features, target, None if sample_weight is None else weight)
        known = codes >= 0
        f, codes, weight = f[known], codes[known], weight[known]
        fair = optional("equipy.fairness", "equipy")
        self.transport_ = None  # a single group is where it should be
        if len(self.groups_) > 1:
            self.transport_ = fair.FairWasserstein(sigma=self.sigma, seed=self.random_state)
            self.transport_.fit(f, pd.DataFrame({"group": codes}))
            if sample_weight is not None:
                self._weigh(f, codes, weight)
        return self

    def _weigh(self, f: FloatArray, codes: Any, weight: FloatArray) -> None:
        """Put weighted distributions in the place of equipy's."""
        transport = self.transport_
        assert transport is not None
        shaken = f + np.random.default_rng(self.random_state).uniform(-self.sigma, self.sigma, len(f))
        for group in range(len(self.groups_)):
            own = WeightedDistribution(shaken[codes == group], weight[codes == group])
            transport.weights[group] = own.total / weight.sum()
            transport.ecdf[group], transport.eqf[group] = own.below, own.quantile

    def predict(self, X: ArrayLike, *, sensitive_features: Sensitive = None) -> FloatArray:
        """Predictions (m,) for X (m, d) and the ``sensitive_features`` (m,) or (m, r) of these people."""
        check_is_fitted(self)
        features = checks.validated(self, X, dtype=np.float64, reset=False)
        codes = self._codes(sensitive_features, len(features), X)
        f = np.asarray(self.estimator_.predict(features), dtype=float)
        known = codes >= 0
        if self.transport_ is None or not known.any():
            return f
        # equipy's transform() leaves the groups out of the sum that are not among the rows it is given
        transport, jitter = self.transport_, copy.deepcopy(self.transport_.rng)  # the same at every call
        shaken = f[known] + np.array([jitter.uniform(-self.sigma, self.sigma) for _ in f[known]])
        moved = np.empty(len(shaken))
        for group in np.unique(codes[known]):
            own = codes[known] == group
            share = transport.ecdf[group](shaken[own])
            moved[own] = sum(p * transport.eqf[other](share) for other, p in transport.weights.items())
        f[known] = (1.0 - self.unfairness) * moved + self.unfairness * f[known]
        return f


class WeightedDistribution:
    """Distribution function and quantiles of weighted values (n,), as equipy has them of values repeated that often.

    equipy interpolates the order statistics linearly, which is the mean of the quantile function over a window as wide
    as one row.  The window here is a weight of 1, or the smallest weight where that is less.
    """

    def __init__(self, values: FloatArray, weight: FloatArray) -> None:
        order = np.argsort(values)
        self.values, weight = values[order], weight[order]
        self.mass = np.concatenate([[0.0], np.cumsum(weight)])
        self.total = float(self.mass[-1])
        self.window = min(1.0, float(weight.min()))
        self.integral = np.concatenate([[0.0], np.cumsum(weight * self.values)])

    def below(self, at: ArrayLike) -> FloatArray:
        """Share of the weight at values of at most ``at``."""
        return self.mass[np.searchsorted(self.values, at, side="right")] / self.total

    def quantile(self, share: ArrayLike) -> FloatArray:
        """Value below which ``share`` of the weight lies."""
        start = np.asarray(share) * (self.total - self.window)
        low, high = (np.interp(at, self.mass, self.integral) for at in (start, start + self.window))
        return np.asarray((high - low) / self.window)
