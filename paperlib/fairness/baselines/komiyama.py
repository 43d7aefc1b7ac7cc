r"""Linear regression with a bounded share of the attribute in the prediction: NRFC and FRRM.

* NRFC: Komiyama, Takeda, Honda and Shimao, Nonconvex Optimization for Regression with Fairness Constraints, ICML 2018.
  "NRFC" in the figures of Mean Parity Fair Regression in RKHS (AISTATS 2023, arXiv 2302.10409).
* FRRM: Scutari, Panero and Proissl, Achieving Fairness with a Simple Ridge Penalty, Statistics and Computing 2022,
  arXiv 2105.13817.

Introduced in ``notebooks/06_mp_fair_regression.ipynb``.

Both split the inputs into the attributes s and what s does not explain linearly, :math:`\hat u = x - \hat B^\top s`,
and predict :math:`\hat y = \alpha^\top s + \beta^\top \hat u` with

.. math::
    R^2_S = \frac{\operatorname{Var}(\alpha^\top s)}{\operatorname{Var}(\alpha^\top s + \beta^\top \hat u)} \le r .

Since s and :math:`\hat u` are uncorrelated in the training sample, either method is a one-dimensional search:

* NRFC minimises the squared error.  Its problem is not convex, but with multiplier :math:`m` on the bound,
  :math:`\alpha = \alpha_{OLS} / (1 + m(1 - r))`, :math:`\beta = \beta_{OLS} / (1 - m r)`, and the m in [0, 1/r) that
  makes the bound tight is found by root finding.  r = 0 is ordinary regression on :math:`\hat u`.
* FRRM keeps :math:`\beta` and shrinks :math:`\alpha` by a ridge penalty of its own until the bound holds.

Differences from the papers
---------------------------
1. Komiyama et al. call a commercial solver; the search above gives the same optimum for the unpenalised problem.  With
   ``alpha > 0`` both coefficient vectors are ridge estimates, shrunk and inflated in the same way.
2. FRRM's bound is met by root finding on the logarithm of the ridge penalty of the attributes.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from paperlib.errors import PaperlibError, choose
from paperlib.fairness import checks
from paperlib.fairness.baselines.ridge_penalties import numeric_attributes
from paperlib.fairness.group_shift import Spectrum
from paperlib.fairness.moments import FloatArray, Sensitive, Weights, aligned, index_of

METHODS = ("nrfc", "frrm")


@dataclass(eq=False, repr=False)
class BoundedShareRegressor(RegressorMixin, BaseEstimator):
    """Linear regression whose prediction is explained by the attribute to a share of at most ``unfairness``.

    Parameters
    ----------
    unfairness : float in [0, 1], default 0
        The bound r on the share of the attribute in the variance of the predictions.
    method : {'nrfc', 'frrm'}, default 'nrfc'
    alpha : float, default 0
        Ridge penalty of the sum of squares on the coefficients of the decorrelated inputs (and, for NRFC, of the
        attributes).
    fit_intercept : bool, default True
        Centre the inputs.  False, as in the protocols of the mean-parity paper, which append a column of ones to X.

    Attributes
    ----------
    coef_ : (d,)
        Of the decorrelated inputs.
    coef_s_ : (r,)
        Of the attributes.
    share_ : float
        The attribute's share on the training data.
    """

    __metadata_request__fit: ClassVar = {"sensitive_features": True}
    __metadata_request__predict: ClassVar = {"sensitive_features": True}

    unfairness: float = 0.0
    _: KW_ONLY
    method: str = "nrfc"
    alpha: float = 0.0
    fit_intercept: bool = True

    def fit(
        self, X: ArrayLike, y: ArrayLike, *, sensitive_features: Sensitive = None, sample_weight: Weights = None
    ) -> BoundedShareRegressor:
        """Fit; arguments and errors as in ``MeanParityRegressor.fit``, for y (n,) and attributes that are numbers.

        X may contain the attributes, whose columns then become zero.
        """
        choose("method", self.method, METHODS)
        checks.number("unfairness", self.unfairness, 0.0, 1.0)
        checks.number("alpha", self.alpha)
        features, target = checks.validated(self, X, aligned("y", y, X), dtype=np.float64, y_numeric=True)
        rows = index_of(X=X, y=y)
        S = numeric_attributes(sensitive_features, len(target), rows)
        weight = checks.weights(sample_weight, len(target), rows)
        share, root = weight / weight.sum(), np.sqrt(weight)[:, None]
        self.y_mean_, self.S_mean_ = float(share @ target), share @ S
        centred, s = root[:, 0] * (target - self.y_mean_), root * (S - self.S_mean_)
        s[:, np.abs(s).max(axis=0) <= 1e-10 * np.abs(root * S).max(axis=0)] = (
            0.0  # a constant attribute is no attribute
        )

        decorrelate = Spectrum.of_features(s)
        self.decorrelation_ = decorrelate.primal_coef(0.0, root * features)  # (r, d)
        self._X_mean = share @ features if self.fit_intercept else 0.0
        residual = root * (features - self._X_mean) - s @ self.decorrelation_
        # rounding leaves 1e-16 of a column that s explains entirely
        residual[:, np.abs(residual).max(axis=0) <= 1e-10 * np.abs(root * features).max(axis=0).clip(1e-300)] = 0.0
        self.coef_ = Spectrum.of_features(residual).primal_coef(self.alpha, centred[:, None])[:, 0]
        own = self.alpha if self.method == "nrfc" else 0.0
        self.coef_s_ = decorrelate.primal_coef(own, centred[:, None])[:, 0]
        of_u, of_s = (float(np.mean((Z @ a) ** 2)) for Z, a in ((residual, self.coef_), (s, self.coef_s_)))
        self._variances = of_u, of_s
        if self.method == "nrfc":
            inflate, shrink = nrfc_factors(of_u, of_s, self.unfairness)
            self.coef_, self.coef_s_ = inflate * self.coef_, shrink * self.coef_s_
        elif of_s > self.unfairness * (of_s + of_u):
            self.coef_s_ = self._shrunk(of_u, decorrelate, s, centred)
        of_s = np.mean((s @ self.coef_s_) ** 2)
        total = of_s + np.mean((residual @ self.coef_) ** 2)
        self.share_ = float(of_s / total) if total > 0 else 0.0
        return self

    def predict(self, X: ArrayLike, *, sensitive_features: Sensitive | None = None) -> FloatArray:
        """Predictions (m,); the attributes are needed to take their share out of the inputs."""
        check_is_fitted(self)
        features = checks.validated(self, X, dtype=np.float64, reset=False)
        s = numeric_attributes(sensitive_features, len(features), X) - self.S_mean_
        return (features - self._X_mean - s @ self.decorrelation_) @ self.coef_ + s @ self.coef_s_ + self.y_mean_

    def predict_path(
        self, X: ArrayLike, bounds: ArrayLike, *, sensitive_features: Sensitive | None = None
    ) -> FloatArray:
        """Predictions (L, m) of NRFC at every bound of ``bounds`` (L,), from one fit with ``unfairness=1``.

        Raises
        ------
        PaperlibError
            The fit is another than that of method='nrfc' with unfairness=1.
        """
        check_is_fitted(self)
        if self.method != "nrfc" or self.unfairness != 1:
            raise PaperlibError(
                f"method={self.method!r}, unfairness={self.unfairness!r}: predict_path needs a fit of method='nrfc' "
                "with unfairness=1."
            )
        features = checks.validated(self, X, dtype=np.float64, reset=False)
        s = numeric_attributes(sensitive_features, len(features), X) - self.S_mean_
        factors = [nrfc_factors(*self._variances, bound) for bound in checks.numbers("bounds", bounds, 0.0, 1.0)]
        inflate, shrink = np.array(factors).T
        parts = (features - self._X_mean - s @ self.decorrelation_) @ self.coef_, s @ self.coef_s_
        return np.outer(inflate, parts[0]) + np.outer(shrink, parts[1]) + self.y_mean_

    def _shrunk(self, of_u: float, decorrelate: Spectrum, s: FloatArray, y: FloatArray) -> FloatArray:
        """FRRM's coefficients of the attributes: the ridge estimate that meets the bound."""
        r = self.unfairness
        if r == 0:
            return np.zeros_like(self.coef_s_)

        def excess(log_penalty: float) -> float:
            share = np.mean((s @ decorrelate.primal_coef(np.exp(log_penalty), y[:, None])[:, 0]) ** 2)
            return float((1 - r) * share - r * of_u)

        scale = float(np.log(decorrelate.values.max()))
        penalty = np.exp(brentq(excess, scale - 40, scale + 80, xtol=1e-12))
        return decorrelate.primal_coef(penalty, y[:, None])[:, 0]


def nrfc_factors(of_u: float, of_s: float, unfairness: float) -> tuple[float, float]:
    """Factors of the least-squares coefficients of inputs and attributes that meet NRFC's bound.

    Parameters
    ----------
    of_u, of_s : float
        Variance that the decorrelated inputs, and the attributes, have in the least-squares prediction.
    unfairness : float
        The bound r.
    """
    r = unfairness
    if of_s <= r * (of_s + of_u):
        return 1.0, 1.0
    if r == 0:
        return 1.0, 0.0

    def excess(m: float) -> float:
        return (1 - r) * of_s / (1 + m * (1 - r)) ** 2 - r * of_u / (1 - m * r) ** 2

    m = brentq(excess, 0.0, (1 - 1e-12) / r, xtol=1e-15)
    return 1 / (1 - m * r), 1 / (1 + m * (1 - r))
