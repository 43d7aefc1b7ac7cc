"""Correlation remover: what an attribute explains linearly is taken out of the inputs before the regression.

fairlearn's implementation, at least 0.15 (before, it subtracted one mean for all attributes); imported when a fit needs
it (``pip install paperlib[fairness]``).  Introduced in ``notebooks/06_mp_fair_regression.ipynb``.

Differences from fairlearn
--------------------------
1. Sample weights, which fairlearn's remover has not: means and least squares are weighted.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from paperlib.fairness import checks
from paperlib.fairness.baselines.ridge_penalties import numeric_attributes
from paperlib.fairness.baselines.wrappers import FloatArray, Wrapper, optional
from paperlib.fairness.moments import Sensitive, Weights, index_of


@dataclass(eq=False, repr=False)
class CorrelationRemoverRegressor(Wrapper):
    """Take the attributes out of the inputs linearly (fairlearn), then fit a regressor on what is left.

    Parameters
    ----------
    estimator : regressor, optional
        Default: ridge regression with an intercept.
    strength : float in [0, 1], default 1
        fairlearn's ``alpha``: 1 removes the correlation, 0 leaves the inputs as they are.
    """

    __metadata_request__predict: ClassVar = {"sensitive_features": True}

    estimator: BaseEstimator | None = None
    _: KW_ONLY
    strength: float = 1.0

    def fit(
        self, X: ArrayLike, y: ArrayLike, *, sensitive_features: Sensitive = None, sample_weight: Weights = None
    ) -> CorrelationRemoverRegressor:
        """Fit the remover and the regressor; columns of X that equal an attribute become constant.

        Arguments and errors as in ``MeanParityRegressor.fit``, for y (n,) and attributes that are numbers.
        fairlearn not installed is an error too.
        """
        checks.number("strength", self.strength, 0.0, 1.0)
        features, target, weight = self._check(X, y, sample_weight)
        S = numeric_attributes(sensitive_features, len(target), index_of(X=X, y=y))
        preprocessing = optional("fairlearn.preprocessing", "fairlearn")
        ids = list(range(S.shape[1]))
        self.remover_ = preprocessing.CorrelationRemover(sensitive_feature_ids=ids, alpha=self.strength)
        both = np.hstack([S, features])
        self.remover_.fit(both)
        if sample_weight is not None:
            root = np.sqrt(weight)[:, None]
            self.remover_.sensitive_mean_ = np.average(S, axis=0, weights=weight)
            centred = root * (S - self.remover_.sensitive_mean_)
            self.remover_.beta_ = np.linalg.lstsq(centred, root * features, rcond=None)[0]
        self._fit_base(self.remover_.transform(both), target, None if sample_weight is None else weight)
        return self

    def predict(self, X: ArrayLike, *, sensitive_features: Sensitive = None) -> FloatArray:
        """Predictions (m,)."""
        check_is_fitted(self)
        features = checks.validated(self, X, dtype=np.float64, reset=False)
        S = numeric_attributes(sensitive_features, len(features), X)
        return np.asarray(self.estimator_.predict(self.remover_.transform(np.hstack([S, features]))))
