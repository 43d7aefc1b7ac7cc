r"""Ridge regression with a quadratic unfairness penalty: fair kernel regression (FKR) and Berk's two penalties.

* FKR: Pérez-Suay et al., Fair Kernel Learning, ECML 2017 (the penalty is the HSIC of prediction and attribute); it is
  "FKR" in Figures 1 to 10 of Mean Parity Fair Regression in RKHS (AISTATS 2023, arXiv 2302.10409).
* Berk: Berk et al., A Convex Framework for Fair Regression, 2017, arXiv 1706.02409, group and individual penalty.

Introduced in ``notebooks/06_mp_fair_regression.ipynb``.

.. math::
    \min_f \sum_i (y_i - f(x_i))^2 + \lambda \|f\|^2 + \mu \,\|C^\top f\|^2
    \qquad\Longrightarrow\qquad
    f = S\,(y - C\nu),\quad (I/\mu + C^\top S C)\,\nu = C^\top S y ,

with S the smoother of ridge regression: the same one factorisation as mean parity
(:mod:`paperlib.fairness.group_shift`), with other columns C.

* FKR: C = the centred features of :math:`\kappa_S` at the attribute (one row per sample), :math:`\mu = \eta / n^2`.
* Berk, group: :math:`c = \frac{1}{n_1 n_0}\sum_{i\in 1, j\in 0} d(y_i, y_j)(e_i - e_j)`, :math:`\mu = \eta`,
  :math:`d = \exp(-(y_i - y_j)^2)`.
* Berk, individual: :math:`\frac{\eta}{n_1 n_0}\sum_{ij} d(y_i, y_j)(f_i - f_j)^2 = \eta f^\top L f` has full rank:
  :math:`(K + \lambda I + \eta L K)\,a = y` is solved as it stands.

Differences from the papers
---------------------------
1. The response is centred by its training mean, which is added to the predictions.
2. FKR solves an (n, n) system in the paper; here one of the rank of C, at most the number of distinct attribute values.
3. Berk's papers regularise linear models; the kernel form is the same formula with another smoother.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.metrics.pairwise import pairwise_kernels
from sklearn.utils.validation import check_is_fitted

from paperlib.errors import PaperlibError, choose
from paperlib.fairness import checks
from paperlib.fairness.group_shift import kernel_matrix, ridge_fits
from paperlib.fairness.moments import FloatArray, Sensitive, Weights, aligned, at_most, index_of, sensitive_frame


def numeric_attributes(sensitive_features: Sensitive, n_samples: int, X: Any = None) -> FloatArray:
    """Sensitive features as numbers (n, r).

    Raises
    ------
    PaperlibError
        They are missing, have the wrong length, or are text.
    """
    frame = sensitive_frame(sensitive_features, n_samples, X)
    try:
        return frame.to_numpy(dtype=float)
    except (TypeError, ValueError):
        raise PaperlibError("sensitive_features holds text; encode it as numbers for this method.") from None


def two_groups(sensitive_features: Sensitive, n_samples: int, X: Any = None) -> NDArray[np.bool_]:
    """Membership of the group with the larger attribute value (n,).

    Raises
    ------
    PaperlibError
        There is not exactly one attribute with two values.
    """
    frame = sensitive_frame(sensitive_features, n_samples, X)
    values = sorted(frame.iloc[:, 0].unique())
    if frame.shape[1] != 1 or len(values) != 2:
        raise PaperlibError(
            f"sensitive_features has {frame.shape[1]} columns and {len(values)} values; this method "
            "compares two groups."
        )
    return frame.iloc[:, 0].eq(values[1]).to_numpy()


def centred_features(
    S: FloatArray, kernel: str | Callable, weight: FloatArray, **parameters: float | None
) -> FloatArray:
    """Features (n, q) of a kernel on the attributes S (n, r) whose Gram matrix is the centred kernel matrix."""
    if kernel == "linear":
        return S - np.average(S, axis=0, weights=weight)
    distinct, code = np.unique(S, axis=0, return_inverse=True)
    at_most("sensitive_features", len(distinct), f"kernel_s={kernel!r}", "round a continuous attribute")
    counts = np.bincount(code.reshape(-1), weight)
    names = {name: value for name, value in parameters.items() if value is not None}
    kappa = pairwise_kernels(distinct, metric=kernel, filter_params=True, **names)
    mean = counts / counts.sum()
    centred = kappa - mean @ kappa
    centred -= (centred @ mean)[:, None]
    values, vectors = np.linalg.eigh((centred + centred.T) / 2)
    keep = values > 1e-12 * max(values[-1], np.finfo(float).tiny)
    return (vectors[:, keep] * np.sqrt(values[keep]))[code.reshape(-1)]


PENALTIES = ("hsic", "berk_group", "berk_individual")


@dataclass(eq=False, repr=False)
class PenalisedFairRidge(RegressorMixin, BaseEstimator):
    r"""Kernel ridge regression with a quadratic unfairness penalty.

    Parameters
    ----------
    eta : float, default 1000
        Weight of the penalty; 0 is ordinary ridge regression.
    penalty : {'hsic', 'berk_group', 'berk_individual'}, default 'hsic'
        'hsic' is FKR.  Berk's penalties need one attribute with two values.
    alpha : float, default 1
        Ridge penalty :math:`\lambda \ge 0`, of the sum of squares.
    kernel : str or callable, default 'linear'
    gamma, degree, coef0
        As in :class:`sklearn.kernel_ridge.KernelRidge`.
    kernel_s : str or callable, default 'linear'
        :math:`\kappa_S` of FKR, with scikit-learn's default parameters but for ``gamma_s``.
    gamma_s : float, optional

    Attributes
    ----------
    dual_coef_ : (n,)
    coef_ : (d,)
        With ``kernel='linear'`` only.
    y_mean_ : float
        Training mean, which is added to the predictions.
    """

    __metadata_request__fit: ClassVar = {"sensitive_features": True}

    eta: float = 1000.0
    _: KW_ONLY
    penalty: str = "hsic"
    alpha: float = 1.0
    kernel: str | Callable = "linear"
    gamma: float | None = None
    degree: float = 3
    coef0: float = 1
    kernel_s: str | Callable = "linear"
    gamma_s: float | None = None

    def fit(
        self, X: ArrayLike, y: ArrayLike, *, sensitive_features: Sensitive = None, sample_weight: Weights = None
    ) -> PenalisedFairRidge:
        """Fit in closed form; arguments and errors as in ``MeanParityRegressor.fit``, for y (n,)."""
        choose("penalty", self.penalty, PENALTIES)
        eta, alpha = checks.number("eta", self.eta), checks.number("alpha", self.alpha)
        checks.kernel(self.kernel, self.gamma, self.degree, self.coef0, precomputed=False)
        checks.kernel(self.kernel_s, self.gamma_s, 3, 1, precomputed=False, of="_s")
        features, target = checks.validated(self, X, aligned("y", y, X), dtype=np.float64, y_numeric=True)
        rows = index_of(X=X, y=y)
        n = len(target)
        weight = checks.weights(sample_weight, n, rows)
        root, total = np.sqrt(weight)[:, None], float(weight.sum())
        self.y_mean_ = float(weight @ target / total)
        self.X_fit_ = features
        if self.penalty == "berk_individual":
            self.dual_coef_ = self._individual(features, target, two_groups(sensitive_features, n, rows), weight)
        else:
            if self.penalty == "hsic":
                S = numeric_attributes(sensitive_features, n, rows)
                C = weight[:, None] * centred_features(S, self.kernel_s, weight, gamma=self.gamma_s)
                self._unit = 1.0 / total**2
            else:
                distance = cross_distance(target, one := two_groups(sensitive_features, n, rows), weight)
                C = np.empty((n, 1))
                C[one, 0], C[~one, 0] = distance.sum(axis=1), -distance.sum(axis=0)
                self._unit = 1.0
            primal = self.kernel == "linear"
            matrix = root * features if primal else root * np.ascontiguousarray(kernel_matrix(self, features)) * root.T
            C = np.divide(C, root, out=np.zeros_like(C), where=root > 0)
            fits = ridge_fits(matrix, np.column_stack([root[:, 0] * (target - self.y_mean_), C]), alpha, primal=primal)
            self._problem = fits.problem(1, G=np.eye(C.shape[1]))  # (I / mu + T) nu = b
            self._dual = root * fits.dual
            self.dual_coef_ = self._dual @ np.append(1.0, -self._problem.shift(penalty=eta * self._unit)[:, 0])
        if self.kernel == "linear":
            self.coef_ = features.T @ self.dual_coef_
        return self

    def predict(self, X: ArrayLike) -> FloatArray:
        """Predictions (m,) for X (m, d)."""
        check_is_fitted(self)
        features = checks.validated(self, X, dtype=np.float64, reset=False)
        if self.kernel == "linear":
            return features @ self.coef_ + self.y_mean_
        return kernel_matrix(self, features, self.X_fit_) @ self.dual_coef_ + self.y_mean_

    def predict_path(self, X: ArrayLike, etas: ArrayLike) -> FloatArray:
        """Predictions (L, m) at every weight of ``etas`` (L,), from the factorisation of :meth:`fit`; 'hsic' only.

        Raises
        ------
        PaperlibError
            Another penalty.
        """
        check_is_fitted(self)
        if self.penalty != "hsic":
            raise PaperlibError(f"penalty={self.penalty!r} has no path of weights; use penalty='hsic'.")
        features = checks.validated(self, X, dtype=np.float64, reset=False)
        K = features @ self.X_fit_.T if self.kernel == "linear" else kernel_matrix(self, features, self.X_fit_)
        f = K @ self._dual
        levels = checks.numbers("etas", etas)
        nu = np.array([self._problem.shift(penalty=eta * self._unit)[:, 0] for eta in levels])
        return f[:, 0] - nu @ f[:, 1:].T + self.y_mean_

    def _individual(self, X: FloatArray, y: FloatArray, one: NDArray[np.bool_], weight: FloatArray) -> FloatArray:
        n = len(y)
        distance = cross_distance(y, one, weight)
        L = np.zeros((n, n))
        L[np.ix_(one, ~one)] = -distance
        L += L.T
        L.flat[:: n + 1] = -L.sum(axis=1)
        K = kernel_matrix(self, X)
        system = weight[:, None] * K + self.eta * (L @ K)
        system.flat[:: n + 1] += self.alpha
        # at alpha = 0 the system may be singular, and the minimum-norm solution is meant
        solve = np.linalg.solve if self.alpha > 0 else lambda A, v: np.linalg.lstsq(A, v, rcond=None)[0]
        return np.asarray(solve(system, weight * (y - self.y_mean_)), dtype=float)


def cross_distance(y: FloatArray, one: NDArray[np.bool_], weight: FloatArray) -> FloatArray:
    """Berk's d(y_i, y_j) w_i w_j / (W_1 W_0) between the members of the two groups (n_1, n_0)."""
    pairs = np.outer(weight[one] / weight[one].sum(), weight[~one] / weight[~one].sum())
    return np.asarray(np.exp(-(np.subtract.outer(y[one], y[~one]) ** 2)) * pairs)
