r"""Mean-parity regression for a million rows: features in chunks, never an n x n matrix.

Paper: Mean Parity Fair Regression in RKHS, AISTATS 2023 (PMLR 206:4602-4628), arXiv 2302.10409, whose conclusion names
the cubic cost as a limitation and low-rank approximation or random features as the remedy.  Introduced in
``notebooks/06_mp_fair_regression.ipynb``.

With D features :math:`\phi(x)` and :math:`k(x, x') \approx \phi(x)^\top\phi(x')`, everything that the theorem of
:mod:`paperlib.fairness.group_shift` needs is a sum over rows, collected in one pass in O(n D^2) time and O(D^2) memory:

.. math::
    A = \sum_i w_i \phi_i\phi_i^\top,\quad c = \sum_i w_i\phi_i y_i,\quad B = \sum_i w_i C_i \phi_i^\top
    \qquad\Longrightarrow\qquad
    T = B (A + \lambda I)^{-1} B^\top,\quad b = B (A + \lambda I)^{-1} c .

The constraint is on the features' own group means, so the train gap is zero to rounding whatever the approximation
costs in accuracy.

* 'nystroem' (default): :math:`\phi(x) = K_{mm}^{-1/2} k_m(x)` with m training rows drawn as landmarks
  (Williams and Seeger 2001).  At equal D it is the more accurate of the two.
* 'fourier': :math:`\phi(x) = \sqrt{2/D}\cos(\omega^\top x + \beta)`, :math:`\omega \sim N(0, 2\gamma I)`, for the
  Gaussian kernel (Rahimi and Recht 2007).
* ``kernel='linear'``: :math:`\phi(x) = x`, no approximation.

Differences from the paper
--------------------------
1. The paper has no large-scale experiment; this file is the remedy it names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import eigh
from scipy.linalg.blas import dsyrk
from sklearn.utils import check_random_state, gen_batches
from sklearn.utils.validation import check_is_fitted

from paperlib.errors import PaperlibError, choose
from paperlib.fairness import checks
from paperlib.fairness.group_shift import GapProblem
from paperlib.fairness.mean_parity import FairnessKnobs, FloatArray, TrainFit
from paperlib.fairness.moments import Sensitive, Weights, index_of

APPROXIMATIONS = ("nystroem", "fourier")


@dataclass(eq=False, repr=False)
class StreamedMeanParityRegressor(FairnessKnobs):
    r"""``MeanParityRegressor`` with a finite feature map, fitted in one pass over chunks of rows.

    Parameters
    ----------
    alpha : float, default 1
        Ridge penalty :math:`\lambda \ge 0` of the sum of squares.
    kernel : str or callable, default 'rbf'
        As in ``KernelRidge``, without 'precomputed'.
    gamma, degree, coef0, kernel_params
        As in ``KernelRidge``.
    approximation : {'nystroem', 'fourier'}, default 'nystroem'
        'fourier' is for ``kernel='rbf'``.  Not used by ``kernel='linear'``, which is exact.
    n_components : int, default 500
        Number of features D (at most n landmarks).
    chunk_size : int, default 4096
        Rows whose features are in memory at a time.
    random_state : int, RandomState or None
        Draws the landmarks or frequencies.
    fit_intercept, unfairness, penalty, gap_budget, smd_budget, moments, n_moments
        As in ``MeanParityRegressor``.

    Attributes
    ----------
    coef_ : (D,) or (D, p)
        Coefficients of the features.
    intercept_ : float or (p,)
    landmarks_ : (m, d)
        With 'nystroem'.
    gap_labels_, gaps_, unconstrained_gaps_, fairness_cost_
        As in ``MeanParityRegressor``.

    Notes
    -----
    X may be a memory map of float64: it is read chunk by chunk.  :meth:`tradeoff` and :meth:`predict_path` work as in
    ``MeanParityRegressor``.
    """

    _: KW_ONLY
    kernel: str | Callable = "rbf"
    approximation: str = "nystroem"
    n_components: int = 500
    chunk_size: int = 4096
    random_state: int | np.random.RandomState | None = None

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        sensitive_features: Sensitive = None,
        control_features: Sensitive = None,
        sample_weight: Weights = None,
    ) -> StreamedMeanParityRegressor:
        """One pass over the rows; arguments and errors as in ``MeanParityRegressor.fit``."""
        self._check_parameters()
        self._check_streaming()
        inputs, targets, weight = self._check_data(X, y, sample_weight)
        basis = self._moments(index_of(X=X, y=y), sensitive_features, control_features, len(inputs), weight)
        self._single = targets.ndim == 1
        targets = targets.reshape(len(inputs), -1)
        self._draw_features(inputs)

        D = len(self._features(inputs[:1])[0])
        p, q = targets.shape[1], basis.table.shape[1]
        A = np.zeros((D, D), order="F")  # upper triangle of the features' second moments
        cross = np.zeros((D, p + q))  # [c | B^T]
        feature_sum = np.zeros(D)
        for rows in gen_batches(len(inputs), self.chunk_size):
            phi = self._features(inputs[rows])
            w = weight[rows, None]
            cross += phi.T @ (w * np.hstack([targets[rows], basis.rows(rows)]))
            feature_sum += w[:, 0] @ phi
            phi *= np.sqrt(w)
            A = dsyrk(1.0, phi.T, beta=1.0, c=A, overwrite_c=True)
        A = np.triu(A) + np.triu(A, 1).T

        total = float(weight.sum())
        y_mean, mean = np.zeros(p), np.zeros(D)
        if self.fit_intercept:
            y_mean, mean = weight @ targets / total, feature_sum / total
            A -= total * np.outer(mean, mean)
            cross[:, :p] -= total * np.outer(mean, y_mean)
        squares = np.einsum("n,np,np->p", weight, targets, targets) - total * y_mean**2

        values, vectors = eigh(A, check_finite=False)
        visible = values > D * np.finfo(float).eps * max(values[-1], 0.0)
        values, vectors = values[visible], vectors[:, visible]
        columns = vectors @ ((vectors.T @ cross) / (values + self.alpha)[:, None])
        B = cross[:, p:].T
        gaps = B @ columns
        scale = values[-1] / (values[-1] + self.alpha) if len(values) else 1.0
        T = gaps[:, p:]
        noise = 4.0 * float(np.abs(T - T.T).max(initial=0.0))
        problem = GapProblem(b=gaps[:, :p], T=T, G=B @ B.T, to_gap=basis.to_gap, scale=scale, noise=noise)
        shift = self._solve(problem, lambda nu: B @ (columns @ np.vstack([np.eye(p), -nu])), basis)
        combine = np.vstack([np.eye(p), -shift])

        fitted = A @ columns
        self._train = TrainFit(
            rr=squares - 2 * (columns[:, :p] * cross[:, :p]).sum(axis=0) + (columns[:, :p] * fitted[:, :p]).sum(axis=0),
            rc=columns[:, p:].T @ (cross[:, :p] - fitted[:, :p]),
            cc=columns[:, p:].T @ fitted[:, p:],
            objective=squares - (columns[:, :p] * cross[:, :p]).sum(axis=0),
            total_weight=total,
        )
        self._problem = problem
        self._columns = columns
        self._intercepts = np.concatenate([y_mean, np.zeros(q)]) - mean @ columns
        self.coef_ = self._squeeze(columns @ combine)
        self.intercept_ = self._squeeze(self._intercepts @ combine)
        return self

    def predict(self, X: ArrayLike) -> FloatArray:
        """Predictions (m,) or (m, p) for X (m, d)."""
        return np.concatenate([phi @ self.coef_ + self.intercept_ for phi in self._chunks(X)])

    def _design(self, X: ArrayLike) -> FloatArray:
        return np.vstack(list(self._chunks(X)))

    def _chunks(self, X: ArrayLike) -> Iterator[FloatArray]:
        check_is_fitted(self)
        inputs: FloatArray = checks.validated(self, X, dtype=np.float64, reset=False)
        return (self._features(inputs[rows]) for rows in gen_batches(len(inputs), self.chunk_size))

    def _check_streaming(self) -> None:
        choose("approximation", self.approximation, APPROXIMATIONS)
        if self.kernel == "precomputed":
            raise PaperlibError("kernel='precomputed' has no rows to stream; use MeanParityRegressor.")
        if self.approximation == "fourier" and self.kernel not in ("rbf", "linear"):
            raise PaperlibError(f"kernel={self.kernel!r} has no Fourier features here; use approximation='nystroem'.")
        for name in ("n_components", "chunk_size"):
            checks.whole(name, getattr(self, name))

    def _draw_features(self, X: FloatArray) -> None:
        """Fix the feature map: landmarks and their whitening, or frequencies."""
        n, d = X.shape
        if self.kernel == "linear":
            return
        random = check_random_state(self.random_state)
        if self.approximation == "fourier":
            gamma = 1.0 / d if self.gamma is None else self.gamma
            self._frequencies = np.sqrt(2 * gamma) * random.normal(size=(d, self.n_components))
            self._phases = random.uniform(0, 2 * np.pi, size=self.n_components)
            return
        chosen = np.sort(random.choice(n, size=min(self.n_components, n), replace=False))
        self.landmarks_ = X[chosen]
        values, vectors = eigh(self._get_kernel(self.landmarks_), check_finite=False)
        keep = values > 1e-10 * values[-1]  # below it, 1 / sqrt would magnify rounding
        self._whiten = vectors[:, keep] / np.sqrt(values[keep])

    def _features(self, X: FloatArray) -> FloatArray:
        """phi(X), a fresh array (len(X), D)."""
        if self.kernel == "linear":
            return np.array(X)
        if self.approximation == "fourier":
            phi = X @ self._frequencies
            phi += self._phases
            np.cos(phi, out=phi)
            phi *= np.sqrt(2.0 / self.n_components)
            return phi
        return self._get_kernel(X, self.landmarks_) @ self._whiten
