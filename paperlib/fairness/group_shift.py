r"""The theorem: a mean-parity fair fit is the ordinary fit on a group-shifted target.

Paper: Mean Parity Fair Regression in RKHS, AISTATS 2023 (PMLR 206:4602-4628), arXiv 2302.10409; Section 3.1 with
Appendix C.3 (fair solution), Section 3.3 with Proposition 4 (tradeoff), eq. (17)-(18) (penalty).  Introduced in
``notebooks/06_mp_fair_regression.ipynb``.

Let S be the smoother of ridge regression (train fit = S y), C an orthonormal basis of the moment matrix
(:mod:`paperlib.fairness.moments`), :math:`b = C^\top S y` the gaps of the ordinary fit and
:math:`T = C^\top S C` what one unit of target shift does to them.  For any set of allowed gaps,

.. math::
    \min_f \sum_i (y_i - f(x_i))^2 + \lambda \|f\|^2 \;\text{ s.t. }\; C^\top f = t
    \qquad\Longrightarrow\qquad
    f = S\,(y - C\nu), \quad T\nu = b - t, \quad J - J_{\min} = \nu^\top T \nu .

:math:`C\nu` is one constant per group: subtract it from the target and run ordinary regression.  One factorisation with
the right-hand sides [y | C] therefore holds every notion of "less unfair" at once; what is left is q-dimensional:

* hard constraint                :math:`t = 0`
* fraction u of the gap is kept   :math:`t = u\,b`                 (Prop. 4: :math:`f = (1-u) f_{fair} + u f_{KRR}`)
* penalty :math:`\eta\|f - Pf\|^2`  :math:`(G/\eta + T)\,\nu = b`, with :math:`G = C^\top K C`   (eq. 17-18)
* budgets                        the t nearest to b in the metric :math:`T^{-1}` with :math:`|gap_g| \le \epsilon_g`, or
  :math:`\sum_g |gap_g| \le \epsilon`

Differences from the paper
--------------------------
1. The paper projects with the eigenvectors of an n x n product of covariance operators and pseudo-inverts; the fair
   space is the complement of span(C), so a factorisation of K + lambda I is enough.  The solutions are the same.
2. The budgets are not in the paper (its Section 3.3 names and rejects them as not saying anything per group, which the
   budget per group does).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve, eigh, svd
from scipy.linalg.blas import dsymm, dsyrk
from scipy.optimize import nnls
from sklearn.metrics.pairwise import pairwise_kernels

from paperlib.errors import PaperlibError
from paperlib.fairness.moments import FloatArray

_VISIBLE = 1e-13  # eigenvalue of T, relative to the largest that S allows, below which the kernel cannot see a gap


@dataclass(frozen=True)
class GapProblem:
    """What is left of fair regression after the factorisation: q moments, p outputs.

    Attributes
    ----------
    b : (q, p)
        Gaps of the unconstrained fit, ``C^T S y``.
    T : (q, q)
        ``C^T S C``: how the gaps answer to a shift of the target.
    G : (q, q)
        ``C^T K C``: Gram matrix of the moments in the RKHS.
    to_gap : (q, m)
        From the orthonormal basis to the reader's units (see :class:`paperlib.fairness.moments.MomentBasis`).
    scale : float
        An upper bound of the largest eigenvalue of S, to tell an eigenvalue of T from rounding.
    noise : float
        Rounding level of T: eigenvalues below it are rounding.
    """

    b: FloatArray
    T: FloatArray
    G: FloatArray
    to_gap: FloatArray
    scale: float = 1.0
    noise: float = 0.0

    @cached_property
    def _modes(self) -> tuple[FloatArray, FloatArray]:
        """F (q, r) and g (r,) with F^T T F = I and F^T G F = diag(g): one decomposition for every knob."""
        tau, vectors = np.linalg.eigh((self.T + self.T.T) / 2)
        visible = tau > max(_VISIBLE * self.scale, self.noise)
        whiten = vectors[:, visible] / np.sqrt(tau[visible])
        g, rotate = np.linalg.eigh(whiten.T @ (self.G + self.G.T) @ whiten / 2)
        return whiten @ rotate, np.maximum(g, 0.0)

    def shift(
        self,
        *,
        unfairness: float = 0.0,
        penalty: float | None = None,
        gap_budget: float | FloatArray | None = None,
        smd_budget: float | None = None,
    ) -> FloatArray:
        """The shift nu (q, p): subtract C nu from the target.  At most one knob may differ from its default."""
        F, g = self._modes
        if penalty is not None:
            keep = np.zeros_like(g) if penalty == 0 else 1.0 / (1.0 + g / penalty)
            return F @ (keep[:, None] * (F.T @ self.b))
        if gap_budget is not None or smd_budget is not None:
            columns = [self._nearest_allowed(column, gap_budget, smd_budget) for column in self.b.T]
            return np.column_stack(columns)
        return (1.0 - unfairness) * (F @ (F.T @ self.b))

    def gaps(self, shift: FloatArray) -> FloatArray:
        """Train gaps (m, p) in the reader's units after ``shift`` (q, p)."""
        return self.to_gap.T @ (self.b - self.T @ shift)

    def cost(self, shift: FloatArray) -> FloatArray:
        """Rise (p,) of the train objective over the unconstrained fit, nu^T T nu (Prop. 4, for any t)."""
        return np.einsum("qp,qr,rp->p", shift, self.T, shift)

    def closing(self, error: FloatArray) -> FloatArray:
        """The further shift (q, p) that takes the moments ``error`` (q, p) out of the fit: one step of refinement."""
        F, _ = self._modes
        return np.asarray(F @ (F.T @ error), dtype=float)

    def _nearest_allowed(
        self, b: FloatArray, gap_budget: float | FloatArray | None, smd_budget: float | None
    ) -> FloatArray:
        r"""nu (q,) of the t nearest to b within the budget.

        With nu = -F x the gaps are ``start + steer x`` and the cost is ``|x|^2``: a least-distance problem.  The box is
        2m half-spaces; the ball :math:`\sum|gap| \le \epsilon` is 2^m of them, of which those that hold the solution
        are found one after the other (the sign pattern of the current gaps is the one it violates most), and those that
        do not are forgotten.  What is left of a violation after 20 m rounds is taken out by a step towards the fair
        fit.
        """
        F, _ = self._modes
        start, steer = self.to_gap.T @ b, self.to_gap.T @ self.T @ F
        if smd_budget is None:
            bound = np.broadcast_to(np.asarray(gap_budget, dtype=float), start.shape)
            x, _ = _least_distance(np.vstack([-steer, steer]), np.concatenate([start - bound, -start - bound]))
            return -F @ x
        x, fair = np.zeros(F.shape[1]), -F.T @ b
        patterns = np.empty((0, len(start)))
        room = 1e-12 * np.abs(start).sum()
        for _ in range(20 * len(start)):
            gap = start + steer @ x
            if np.abs(gap).sum() <= smd_budget + room:
                break
            patterns = np.vstack([patterns, np.where(gap >= 0, 1.0, -1.0)])
            x, used = _least_distance(-patterns @ steer, patterns @ start - smd_budget)
            patterns = patterns[used]
        now, least = (np.abs(start + steer @ point).sum() for point in (x, fair))
        if now > smd_budget + room and now > least:
            x = x + min(1.0, (now - smd_budget) / (now - least)) * (fair - x)
        return -F @ x


def _least_distance(A: FloatArray, lower: FloatArray) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Smallest x with A x >= lower, by non-negative least squares (Lawson and Hanson 1974, Section 23.4).

    Returns
    -------
    x : (r,)
    used : (m,) bool
        Which rows hold it back.
    """
    if (lower <= 0).all():
        return np.zeros(A.shape[1]), np.zeros(len(lower), dtype=bool)
    size = max(float(lower.max()), np.finfo(float).tiny)  # x scales with the right-hand side; keeps nnls well scaled
    E = np.vstack([A.T, lower[None, :] / size])
    target = np.zeros(len(E))
    target[-1] = 1.0
    u, _ = nnls(E, target, maxiter=50 * E.shape[1])
    residual = E @ u - target
    return -size * residual[:-1] / residual[-1], u > 0


@dataclass(frozen=True)
class RidgeFits:
    """Ridge regressions of k targets V (n, k) on the same inputs, from one factorisation.

    Attributes
    ----------
    columns : (d, k), or (n, k)
        Coefficients of the features, or of the kernel functions of the training rows.
    dual : (n, k)
        Coefficients of the kernel functions.
    fitted : (n, k)
        S V.
    VSV, VKV : (k, k)
        ``V^T S V``, multiplied out with the coefficients that predict, and ``V^T K V``.
    sizes : (k,)
        Norms of V.
    moments : callable
        From coefficients like ``columns`` (., m) to V^T f (k, m) of what they predict on the training rows.
    scale : float
        An upper bound of the largest eigenvalue of S.
    """

    columns: FloatArray
    dual: FloatArray
    fitted: FloatArray
    VSV: FloatArray
    VKV: FloatArray
    sizes: FloatArray
    moments: Callable[[FloatArray], FloatArray]
    scale: float

    def problem(self, p: int, to_gap: FloatArray | None = None, G: FloatArray | None = None) -> GapProblem:
        """The small problem that is left when the first p targets are responses and the others moments.

        S is symmetric: what ``VSV`` lacks of that is the rounding level of its entries.
        """
        T = self.VSV[p:, p:]
        sizes = self.sizes.clip(min=np.finfo(float).tiny)
        skew = np.abs(self.VSV - self.VSV.T)[p:] / np.outer(sizes[p:], sizes)
        return GapProblem(
            b=self.VSV[p:, :p],
            T=T,
            G=self.VKV[p:, p:] if G is None else G,
            to_gap=np.eye(len(T)) if to_gap is None else to_gap,
            scale=self.scale,
            noise=4.0 * float(skew.max(initial=0.0)) * float(sizes[p:].max(initial=0.0)) ** 2,
        )


def kernel_matrix(estimator: Any, X: FloatArray, Y: FloatArray | None = None) -> FloatArray:
    """Kernel matrix (n, m) of X (n, d) and Y (m, d), with the kernel and the parameters of an estimator."""
    if callable(estimator.kernel):
        parameters = getattr(estimator, "kernel_params", None) or {}
    else:
        parameters = {name: getattr(estimator, name) for name in ("gamma", "degree", "coef0")}
    return pairwise_kernels(X, Y, metric=estimator.kernel, filter_params=True, **parameters)


def ridge_fits(
    matrix: FloatArray, V: FloatArray, alpha: float, *, primal: bool, KV: FloatArray | None = None
) -> RidgeFits:
    """Ridge regression of every column of V on features, or on a kernel.

    Parameters
    ----------
    matrix : (n, d), or (n, n)
        Features (``primal``), or a kernel matrix, C-contiguous, which is overwritten.
    V : (n, k)
    alpha : float
        Ridge penalty of the sum of squares.
    primal : bool
        Which of the two ``matrix`` is.
    KV : (n, k), optional
        ``matrix @ V`` of a kernel matrix, where the caller has a cheaper way to it.

    Raises
    ------
    PaperlibError
        The kernel matrix has a clearly negative eigenvalue.
    """
    sizes = np.linalg.norm(V, axis=0)
    if primal:
        return _feature_fits(matrix, V, alpha, sizes)
    trace = float(np.trace(matrix))
    KV = matrix @ V if KV is None else KV
    if alpha <= len(V) * np.finfo(float).eps * trace:
        K = matrix.copy()
        spectrum = Spectrum.of_kernel(matrix)
        dual = spectrum.dual_coef(alpha, V)
        fitted = spectrum.fitted(alpha, V)

        def predict(columns: FloatArray) -> FloatArray:
            return np.asarray(K @ columns)
    else:
        dual, predict = cholesky_smoother(matrix, V, alpha)  # type: ignore[assignment]
        fitted = V - alpha * dual
    scale = trace / (trace + alpha) if trace > 0 else 1.0
    return RidgeFits(dual, dual, fitted, KV.T @ dual, V.T @ KV, sizes, lambda a: V.T @ predict(a), scale)


def _feature_fits(X: FloatArray, V: FloatArray, alpha: float, sizes: FloatArray) -> RidgeFits:
    """From the normal equations with one step of refinement, or, where the penalty is too small for them, the SVD."""
    XV = X.T @ V
    A = dsyrk(1.0, np.asarray(X.T, order="F")) if alpha > 0 else np.zeros((1, 1))
    trace = float(A.trace())
    if alpha > 0 and alpha >= 1e-6 * trace / X.shape[1]:
        A.flat[:: len(A) + 1] += alpha
        factor = cho_factor(A, lower=False, overwrite_a=True, check_finite=False)
        columns = cho_solve(factor, XV, check_finite=False)
        fitted = X @ columns
        if alpha < 1e-7 * trace:
            columns += cho_solve(factor, XV - X.T @ fitted - alpha * columns, check_finite=False)
            fitted = X @ columns
        dual, scale = (V - fitted) / alpha, trace / (trace + alpha)
    else:
        spectrum = Spectrum.of_features(X)
        columns, dual = spectrum.primal_coef(alpha, V), spectrum.dual_coef(alpha, V)
        fitted = X @ columns
        largest = float(spectrum.values.max(initial=0.0))
        scale = largest / (largest + alpha) if largest > 0 else 1.0
    return RidgeFits(columns, dual, fitted, V.T @ fitted, XV.T @ XV, sizes, lambda w: XV.T @ w, scale)


def cholesky_smoother(
    K: FloatArray, V: FloatArray, alpha: float
) -> tuple[FloatArray, Callable[[FloatArray], FloatArray]]:
    """``(K + alpha I)^{-1} V``, and the product with K, from one Cholesky factorisation in the memory of K.

    K (n, n), symmetric and C-contiguous, is overwritten: its lower triangle (in Fortran order) becomes the factor, its
    upper triangle stays and serves for the product.  Falls back to the spectrum when K + alpha I is not numerically
    positive definite.

    Raises
    ------
    PaperlibError
        K has a clearly negative eigenvalue, so that it is not a kernel matrix.
    """
    diagonal = K.diagonal().copy()
    K.flat[:: len(K) + 1] += alpha
    try:
        factor, _ = cho_factor(K.T, lower=True, overwrite_a=True, check_finite=False)
    except LinAlgError:
        upper = np.triu(K.T, 1)
        whole = upper + upper.T + np.diag(diagonal)
        return Spectrum.of_kernel(whole.copy()).dual_coef(alpha, V), whole.__matmul__
    coef = cho_solve((factor, True), V, check_finite=False)
    np.fill_diagonal(factor, diagonal)  # the upper triangle is K again, and the factor is no longer needed
    return coef, lambda a: dsymm(1.0, factor, a, lower=0)


@dataclass(frozen=True)
class Spectrum:
    """Ridge regression for every penalty at once: K = U diag(values) U^T, or X = U diag(sqrt(values)) right.

    Directions that rounding cannot tell from zero are left out, so alpha = 0 is the minimum-norm least-squares fit.
    """

    vectors: FloatArray  # U, (n, r)
    values: FloatArray  # (r,)
    right: FloatArray | None = None  # (r, d)

    @classmethod
    def of_kernel(cls, K: FloatArray) -> Spectrum:
        """From a kernel matrix (n, n), which is overwritten.

        Raises
        ------
        PaperlibError
            A clearly negative eigenvalue: K is no kernel matrix.
        """
        values, vectors = eigh(K, overwrite_a=True, check_finite=False, driver="evd")
        if values[0] < -1e-8 * max(values[-1], np.finfo(float).tiny):
            raise PaperlibError(
                f"kernel matrix has the negative eigenvalue {values[0]:.3g} (largest {values[-1]:.3g}), so it is not "
                "positive semi-definite; choose another kernel or other kernel parameters."
            )
        keep = values > len(values) * np.finfo(float).eps * values[-1]
        return cls(vectors[:, keep], values[keep])

    @classmethod
    def of_features(cls, X: FloatArray) -> Spectrum:
        """From a feature matrix (n, d); singular values below 1e-10 of the largest count as zero."""
        left, singular, right = svd(X, full_matrices=False, check_finite=False)
        keep = singular > 1e-10 * singular.max(initial=0.0)
        return cls(left[:, keep], singular[keep] ** 2, right[keep])

    def fitted(self, alpha: float, V: FloatArray) -> FloatArray:
        """S V."""
        return self.vectors @ (self._shrink(alpha) * (self.vectors.T @ V))

    def dual_coef(self, alpha: float, V: FloatArray) -> FloatArray:
        """Coefficients a (n, .) with K a = S V, of smallest norm."""
        return self.vectors @ ((self.vectors.T @ V) / (self.values + alpha)[:, None])

    def primal_coef(self, alpha: float, V: FloatArray) -> FloatArray:
        """Coefficients w (d, .) with X w = S V."""
        assert self.right is not None
        weight = np.sqrt(self.values) / (self.values + alpha)
        return self.right.T @ (weight[:, None] * (self.vectors.T @ V))

    def leverage(self, alpha: float) -> FloatArray:
        """Diagonal of S, (n,)."""
        return (self.vectors**2) @ self._shrink(alpha)[:, 0]

    def _shrink(self, alpha: float) -> FloatArray:
        return (self.values / (self.values + alpha))[:, None]
