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
5. An unpenalised constant, the same for every group, is descended too; ``fit_intercept=False`` is the paper, which
   appends a column of ones to X.  Sample weights are an addition.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from paperlib.errors import PaperlibError, choose
from paperlib.fairness import checks
from paperlib.fairness.group_shift import kernel_matrix
from paperlib.fairness.moments import FloatArray, Moments, Sensitive, Weights, aligned, index_of, moment_basis

Loss = Callable[[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]


def smooth_l1(beta: float = 1.0) -> Loss:
    """r^2 / (2 beta) for |r| < beta, |r| - beta / 2 beyond (Huber's loss over beta); returns (loss, d loss / d f).

    Raises
    ------
    PaperlibError
        ``beta`` is not above 0.
    """
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


@dataclass(eq=False, repr=False)
class FairGDRegressor(RegressorMixin, BaseEstimator):
    """Full-batch Adam on eq. (7).

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
    fit_intercept : bool, default True
        Descend a constant beside the function.  The response is centred first (not for 'logistic').
    constrained : bool, default True
        False is the paper's unconstrained "GD", which needs no ``sensitive_features``.
    moments, n_moments
        As in ``MeanParityRegressor``.

    Attributes
    ----------
    coef_ : (d,)
        With ``kernel='linear'``.
    intercept_ : float
    dual_coef_ : (n,)
        P w: predictions are ``K(x, X_fit_) @ dual_coef_ + intercept_``.
    loss_curve_ : (max_iter + 1,)
        Mean train loss before each step, and after the last.
    recorded_steps_ : (R,)
        Steps of :meth:`staged_predict`.
    """

    __metadata_request__fit: ClassVar = {"sensitive_features": True}

    loss: str | Loss = "smooth_l1"
    _: KW_ONLY
    kernel: str | Callable = "linear"
    gamma: float | None = None
    degree: float = 3
    coef0: float = 1
    kernel_params: dict | None = None
    learning_rate: float = 1e-4
    max_iter: int = 1000
    record_every: int = 10
    fit_intercept: bool = True
    constrained: bool = True
    moments: Moments = "groups"
    n_moments: int = 3

    def fit(
        self, X: ArrayLike, y: ArrayLike, *, sensitive_features: Sensitive = None, sample_weight: Weights = None
    ) -> FairGDRegressor:
        """Descend for ``max_iter`` steps; arguments and errors as in ``MeanParityRegressor.fit``, for y (n,).

        'logistic' takes y in {-1, 1}.
        """
        loss = self._check_parameters()
        source = index_of(X=X, y=y)
        X, y = checks.validated(self, X, aligned("y", y, X), dtype=np.float64, y_numeric=True)
        inputs, target = np.asarray(X), np.asarray(y, dtype=np.float64)
        n = len(inputs)
        weight = checks.weights(sample_weight, n, source)
        share = weight / weight.sum()
        checks.intercept(self.fit_intercept or self.loss == "logistic", target, weight)
        if self.loss == "logistic" and not np.isin(target, (-1.0, 1.0)).all():
            raise PaperlibError(
                f"loss='logistic' needs y in (-1, 1), but y holds {np.unique(target)[:3].tolist()}; give 2 * y - 1 for "
                "0/1."
            )
        centre = float(share @ target) if self.fit_intercept and self.loss != "logistic" else 0.0
        if self.loss != "logistic":
            target = target - centre
        self._linear = self.kernel == "linear"
        # K = factor @ factor.T; for other kernels the factor is K itself, used once
        factor = inputs if self._linear else kernel_matrix(self, inputs)
        C = np.zeros((n, 0))
        if self.constrained:
            moments, most = self.moments, self.n_moments
            basis = moment_basis(
                sensitive_features, n_samples=n, moments=moments, n_moments=most, sample_weight=weight, X=source
            )
            C = weight[:, None] * basis.rows()
        CK = C.T @ factor  # (q, d): C^T X, or (q, n): C^T K
        gram = CK @ CK.T if self._linear else CK @ C
        project = np.linalg.pinv(gram, hermitian=True)

        # A row of weight 2 counts as two rows with the same w, which Adam moves alike.
        w, m, v = (np.zeros(n + 1) for _ in range(3))  # the last entry is the constant
        curve, steps, recorded = np.empty(self.max_iter + 1), [], []
        for step in range(self.max_iter + 1):
            # The linear coefficient X^T P w = (I - B^T (B B^T)^+ B) X^T w with B = C^T X; else P w itself.
            if self._linear:
                coef = factor.T @ (weight * w[:-1])
                coef -= CK.T @ (project @ (CK @ coef))
            else:
                coef = weight * w[:-1] - C @ (project @ (CK @ (weight * w[:-1])))
            losses, slope = loss(target, factor @ coef + w[-1])
            curve[step] = share @ losses
            if step % self.record_every == 0 or step == self.max_iter:
                steps.append(step)
                recorded.append(np.append(coef, w[-1] + centre))
            if step == self.max_iter:
                break
            slope = share * slope
            back = factor.T @ slope  # d loss / d coef (K is symmetric)
            if self._linear:
                gradient = factor @ (back - CK.T @ (project @ (CK @ back)))
            else:
                gradient = back - CK.T @ (project @ (C.T @ back))
            gradient = np.append(gradient, slope.sum() if self.fit_intercept else 0.0)
            m = 0.9 * m + 0.1 * gradient
            v = 0.999 * v + 0.001 * gradient**2
            corrected = np.sqrt(v / (1 - 0.999 ** (step + 1))) + 1e-8
            w = w - self.learning_rate * (m / (1 - 0.9 ** (step + 1))) / corrected

        self.X_fit_ = inputs
        w = weight * w[:-1]
        self.dual_coef_ = w - C @ (project @ (CK @ (factor.T @ w if self._linear else w)))
        if self._linear:
            self.coef_ = recorded[-1][:-1]
        self.intercept_ = float(recorded[-1][-1])
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
        inputs: FloatArray = checks.validated(self, X, dtype=np.float64, reset=False)
        return np.column_stack(
            [inputs if self._linear else kernel_matrix(self, inputs, self.X_fit_), np.ones(len(inputs))]
        )

    def _check_parameters(self) -> Loss:
        checks.kernel(self.kernel, self.gamma, self.degree, self.coef0, self.kernel_params, precomputed=False)
        checks.number("learning_rate", self.learning_rate, above=True)
        for name in ("max_iter", "record_every"):
            checks.whole(name, getattr(self, name))
        if callable(self.loss):
            return self.loss
        return LOSSES[choose("loss", self.loss, LOSSES)]
