r"""Fair-GD: gradient descent inside the mean-parity fair space, for any differentiable loss.

Paper: Mean Parity Fair Regression in RKHS, AISTATS 2023 (PMLR 206:4602-4628), arXiv 2302.10409; eq. (7) and Figures 11
and 12 (smooth L1 loss with beta 0.1 and 1, Adam, learning rate 1e-4, linear kernel).  Introduced in
``notebooks/06_mp_fair_regression.ipynb``.

.. math::
    w_{\mathcal H} = \arg\min_w \frac1n \sum_i \ell\bigl(y_i, (K P w)_i\bigr), \qquad
    f(x) = k(x)^\top P\, w_{\mathcal H}, \qquad P = I - C\,(C^\top K C)^{+} C^\top K .

:math:`C^\top K P = 0`: whatever the descent does with w, every iterate has zero train gap.

Differences from the paper
--------------------------
1. P is formed from the moment matrix C and never as an n x n matrix; it is the same projection.
2. K is applied through its factor X when the kernel is linear (n d instead of n^2 per step).
3. Double precision, so that the train SMD stays near 1e-15 where the figures show 1e-7 to 1e-4.
4. The initialisation is not given in the paper; w starts at 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from numbers import Real

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.metrics.pairwise import kernel_metrics, pairwise_kernels
from sklearn.utils.validation import check_is_fitted, validate_data

from paperlib.errors import PaperlibError, choose
from paperlib.fairness.mean_parity import Sensitive
from paperlib.fairness.moments import Moments, moment_basis

FloatArray = NDArray[np.float64]
Loss = Callable[[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]


def smooth_l1(beta: float = 1.0) -> Loss:
    """r^2 / (2 beta) for |r| < beta, |r| - beta / 2 beyond (Huber's loss over beta); returns (loss, d loss / d f)."""
    if not beta > 0:
        raise PaperlibError(f"beta={beta!r} is not a number above 0.")

    def loss(y: FloatArray, f: FloatArray) -> tuple[FloatArray, FloatArray]:
        r = f - y
        inside = np.abs(r) < beta
        return np.where(inside, 0.5 * r**2 / beta, np.abs(r) - 0.5 * beta), np.where(inside, r / beta, np.sign(r))

    return loss


def squared(y: FloatArray, f: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(f - y)^2."""
    r = f - y
    return r**2, 2 * r


def logistic(y: FloatArray, f: FloatArray) -> tuple[FloatArray, FloatArray]:
    """log(1 + exp(-y f)) for y in {-1, 1}; f is the score, whose group means become equal (not the probabilities')."""
    return np.logaddexp(0.0, -y * f), -y * expit(-y * f)


#: What ``loss=`` accepts besides a callable ``(y, f) -> (loss, d loss / d f)``.
LOSSES: dict[str, Loss] = {
    "smooth_l1": smooth_l1(1.0),
    "smooth_l1_0.1": smooth_l1(0.1),
    "squared": squared,
    "logistic": logistic,
}


class FairGDRegressor(RegressorMixin, BaseEstimator):
    """Full-batch Adam on eq. (7); without ``sensitive_features`` it is the paper's unconstrained "GD".

    Parameters
    ----------
    loss : str or callable, default 'smooth_l1'
        A name in ``LOSSES``, or ``(y, f) -> (loss, d loss / d f)``, elementwise.
    kernel, gamma, degree, coef0, kernel_params
        As in ``KernelRidge``.
    learning_rate : float, default 1e-4
        Adam's step.  The paper's value suits inputs of order one: standardise X.
    max_iter : int, default 1000
        Steps.
    record_every : int, default 10
        Iterates are kept every so many steps, for :meth:`staged_predict`.
    moments, n_moments
        As in ``MeanParityRegressor``.

    Attributes
    ----------
    coef_ : (d,)
        With ``kernel='linear'``.
    dual_coef_ : (n,)
        P w: predictions are ``K(x, X_fit_) @ dual_coef_``.
    loss_curve_ : (max_iter + 1,)
        Mean train loss before each step, and after the last.
    recorded_steps_ : (R,)
        Steps of :meth:`staged_predict`.
    """

    def __init__(
        self,
        loss: str | Loss = "smooth_l1",
        *,
        kernel: str | Callable = "linear",
        gamma: float | None = None,
        degree: float = 3,
        coef0: float = 1,
        kernel_params: dict | None = None,
        learning_rate: float = 1e-4,
        max_iter: int = 1000,
        record_every: int = 10,
        moments: Moments = "groups",
        n_moments: int = 3,
    ) -> None:
        self.loss = loss
        self.kernel = kernel
        self.gamma = gamma
        self.degree = degree
        self.coef0 = coef0
        self.kernel_params = kernel_params
        self.learning_rate = learning_rate
        self.max_iter = max_iter
        self.record_every = record_every
        self.moments = moments
        self.n_moments = n_moments

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        sensitive_features: Sensitive = None,
    ) -> FairGDRegressor:
        """Descend for ``max_iter`` steps.  X (n, d), y (n,), sensitive_features (n,) or (n, r)."""
        loss = self._check_parameters()
        X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        inputs, target = np.asarray(X), np.asarray(y, dtype=np.float64)
        n = len(inputs)
        self._linear = self.kernel == "linear"
        # K = factor @ factor.T; for other kernels the factor is K itself, used once
        factor = inputs if self._linear else self._kernel(inputs, inputs)
        if sensitive_features is None:
            C = np.zeros((n, 0))
        else:
            C = moment_basis(sensitive_features, n_samples=n, moments=self.moments, n_moments=self.n_moments).rows()
        CK = C.T @ factor  # (q, d): C^T X, or (q, n): C^T K
        gram = CK @ CK.T if self._linear else CK @ C
        project = np.linalg.pinv(gram, hermitian=True)

        w, m, v = np.zeros(n), np.zeros(n), np.zeros(n)
        curve, steps, recorded = np.empty(self.max_iter + 1), [], []
        for step in range(self.max_iter + 1):
            # The linear coefficient X^T P w = (I - B^T (B B^T)^+ B) X^T w with B = C^T X; else P w itself.
            if self._linear:
                coef = factor.T @ w
                coef -= CK.T @ (project @ (CK @ coef))
            else:
                coef = w - C @ (project @ (CK @ w))
            losses, slope = loss(target, factor @ coef)
            curve[step] = losses.mean()
            if step % self.record_every == 0 or step == self.max_iter:
                steps.append(step)
                recorded.append(coef)
            if step == self.max_iter:
                break
            back = factor.T @ (slope / n)  # d loss / d coef (K is symmetric)
            if self._linear:
                gradient = factor @ (back - CK.T @ (project @ (CK @ back)))
            else:
                gradient = back - CK.T @ (project @ (C.T @ back))
            m = 0.9 * m + 0.1 * gradient
            v = 0.999 * v + 0.001 * gradient**2
            corrected = np.sqrt(v / (1 - 0.999 ** (step + 1))) + 1e-8
            w = w - self.learning_rate * (m / (1 - 0.9 ** (step + 1))) / corrected

        self.X_fit_ = inputs
        self.dual_coef_ = w - C @ (project @ (CK @ (factor.T @ w if self._linear else w)))
        if self._linear:
            self.coef_ = recorded[-1]
        self.loss_curve_ = curve
        self.recorded_steps_ = np.array(steps)
        self._recorded = np.array(recorded)
        self.n_iter_ = self.max_iter
        return self

    def predict(self, X: ArrayLike) -> FloatArray:
        """Predictions (m,) of the last iterate for X (m, d)."""
        return self._design(X) @ self._recorded[-1]

    def staged_predict(self, X: ArrayLike) -> Iterator[FloatArray]:
        """Predictions (m,) at each of ``recorded_steps_``."""
        yield from (self._design(X) @ self._recorded.T).T

    def _design(self, X: ArrayLike) -> FloatArray:
        check_is_fitted(self)
        inputs: FloatArray = validate_data(self, X, dtype=np.float64, reset=False)
        return inputs if self._linear else self._kernel(inputs, self.X_fit_)

    def _kernel(self, X: FloatArray, Y: FloatArray) -> FloatArray:
        if callable(self.kernel):
            parameters = self.kernel_params or {}
        else:
            parameters = {"gamma": self.gamma, "degree": self.degree, "coef0": self.coef0}
        return pairwise_kernels(X, Y, metric=self.kernel, filter_params=True, **parameters)

    def _check_parameters(self) -> Loss:
        if not callable(self.kernel):
            choose("kernel", self.kernel, kernel_metrics())
        if not isinstance(self.learning_rate, Real) or not float(self.learning_rate) > 0:
            raise PaperlibError(f"learning_rate={self.learning_rate!r} is not a number above 0.")
        for name in ("max_iter", "record_every"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
                raise PaperlibError(f"{name}={value!r} is not a whole number of at least 1.")
        if callable(self.loss):
            return self.loss
        return LOSSES[choose("loss", self.loss, LOSSES)]
