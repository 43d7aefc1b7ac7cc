r"""Kernel ridge regression whose mean prediction is the same in every group.

Paper: Mean Parity Fair Regression in RKHS, AISTATS 2023 (PMLR 206:4602-4628), arXiv 2302.10409; Definition 1, eq. (11)
with Appendix B and C.3 (fair kernel ridge regression), eq. (4)-(6) with Proposition 4 (tradeoff), eq. (17)-(18)
(penalised, "FPR"), Remark 3.1 with Appendix C.1 (covariance-based fairness).  Introduced in
``notebooks/06_mp_fair_regression.ipynb``.

.. math::
    \min_{f \in \mathcal H} \sum_i w_i\,(y_i - f(x_i))^2 + \lambda \|f\|_{\mathcal H}^2
    \quad\text{s.t.}\quad \mathbb E[f(X) \mid S = s] = \mathbb E[f(X)] \text{ for every group } s .

The theorem (proved in :mod:`paperlib.fairness.group_shift`) in five lines, with C the moment matrix (n, q),
one column ``1_g / n_g - 1 / n`` per group but one::

    A = solve(K + alpha * eye(n), column_stack([y, C]))   # one factorisation
    gaps = C.T @ K @ A                                    # of the ordinary fit | of one unit of shift
    nu = solve(gaps[:, 1:], gaps[:, 0])                   # one constant per group
    dual_coef = A[:, 0] - A[:, 1:] @ nu                   # = ordinary regression on y - C nu
    assert allclose(C.T @ K @ dual_coef, 0)

Differences from the paper
--------------------------
1. No projection matrix, eigenfunctions or pseudo-inverse of n x n matrices: the lines above; the solutions agree.
2. Several attributes make one group per combination *that occurs*; the constraints are their linearly independent part.
3. An unpenalised constant is fitted; ``fit_intercept=False`` is the paper, which centres y by its training mean and
   appends a column of ones to X.
4. Additions: sample weights, several outputs, marginal and conditional constraints, powers and bins of a continuous
   attribute, gap budgets, all penalties from one eigendecomposition, closed-form leave-one-out.
5. Proposition 4 states that the mean squared error is quadratic along the tradeoff.  That is exact at alpha = 0; at
   alpha > 0 it is the penalised objective that is quadratic, and ``objective`` of the path reports it.

Mean parity equalises the group *means* only.  The distributions of the predictions may still differ: look at
:func:`paperlib.fairness.metrics.ks_distance`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin, clone
from sklearn.utils.validation import check_is_fitted

from paperlib.errors import PaperlibError
from paperlib.fairness import checks
from paperlib.fairness.group_shift import GapProblem, Spectrum, kernel_matrix, ridge_fits
from paperlib.fairness.moments import (
    FloatArray,
    MomentBasis,
    Moments,
    Sensitive,
    Weights,
    aligned,
    index_of,
    moment_basis,
)


@dataclass(frozen=True)
class TradeoffPath:
    """A whole fairness tradeoff, from one factorisation.  L levels, m gaps (see ``gap_labels_``), p outputs.

    Attributes
    ----------
    knob : str
        'unfairness' or 'penalty'.
    values : (L,)
        Levels of the knob.
    shift : (L, q, p)
        The shift nu at each level.
    train_gaps : (L, m, p)
        Train gap of each group (or moment).
    train_smd : (L,)
        Sum of the absolute train gaps, averaged over outputs.
    train_mse : (L,)
        Weighted train mean squared error, averaged over outputs.
    objective : (L,)
        sum of w r^2 + alpha |f|^2, summed over outputs.
    """

    knob: str
    values: FloatArray
    shift: FloatArray
    train_gaps: FloatArray
    train_smd: FloatArray
    train_mse: FloatArray
    objective: FloatArray


@dataclass(frozen=True)
class AlphaPath:
    """Every ridge penalty from one eigendecomposition.  L penalties, n samples, p outputs.

    Attributes
    ----------
    alphas : (L,)
    train_mse, loo_mse : (L,)
        Weighted mean squared error of the fit, and of leave-one-out with the constraint C held fixed.
    loo_predictions : (L, n, p)
        Prediction for each sample by the fit without it (NaN where its weight is 0).
    train_gaps : (L, m, p)
    dual_coef : (L, n, p)
    best_alpha : float
        The penalty with the smallest ``loo_mse``.
    """

    alphas: FloatArray
    train_mse: FloatArray
    loo_mse: FloatArray
    loo_predictions: FloatArray
    train_gaps: FloatArray
    dual_coef: FloatArray
    best_alpha: float


@dataclass(frozen=True)
class TrainFit:
    """Inner products of the train residual r0 of the ordinary fit with S C, which give the loss of every shift."""

    rr: FloatArray  # (p,)   |r0|^2
    rc: FloatArray  # (q, p) (SC)^T r0
    cc: FloatArray  # (q, q) (SC)^T SC
    objective: FloatArray  # (p,) of the ordinary fit
    total_weight: float

    def residual_squares(self, shift: FloatArray) -> FloatArray:
        """|r0 + SC nu|^2 for each shift (L, q, p); (L, p)."""
        cross = 2 * np.einsum("lqp,qp->lp", shift, self.rc)
        return self.rr + cross + np.einsum("lqp,qr,lrp->lp", shift, self.cc, shift)


@dataclass(eq=False, repr=False)
class FairnessKnobs(RegressorMixin, MultiOutputMixin, BaseEstimator):
    """What the exact and the streamed estimator share: the checks of their parameters, and the tradeoff path."""

    __metadata_request__fit: ClassVar = {"sensitive_features": True}

    alpha: float = 1
    _: KW_ONLY
    kernel: str | Callable = "linear"
    gamma: float | None = None
    degree: float = 3
    coef0: float = 1
    kernel_params: dict | None = None
    fit_intercept: bool = True
    unfairness: float = 0.0
    penalty: float | None = None
    gap_budget: float | ArrayLike | None = None
    smd_budget: float | None = None
    moments: Moments = "groups"
    n_moments: int = 3
    _problem: GapProblem = field(init=False)  # this and the rest are set by fit
    _train: TrainFit = field(init=False)
    _columns: FloatArray = field(init=False)
    _intercepts: FloatArray = field(init=False)
    _single: bool = field(init=False)

    def _check_parameters(self) -> None:
        if not np.isfinite(checks.number("alpha", self.alpha)):
            raise PaperlibError(f"alpha={self.alpha!r} is not a finite number of at least 0.")
        checks.kernel(self.kernel, self.gamma, self.degree, self.coef0, self.kernel_params)
        checks.number("unfairness", self.unfairness, 0.0, 1.0)
        used = {k: v for k, v in self._knobs().items() if v is not None and (k, v) != ("unfairness", 0)}
        for name, value in used.items():
            (checks.numbers if name == "gap_budget" else checks.number)(name, value)
        if len(used) > 1:
            raise PaperlibError(f"{' and '.join(used)} are set together; they are alternatives: set at most one.")

    def _check_data(
        self, X: ArrayLike, y: ArrayLike, sample_weight: Weights
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        y = aligned("y", y, X)
        inputs, targets = checks.validated(self, X, y, dtype=np.float64, multi_output=True, y_numeric=True)
        weight = checks.weights(sample_weight, len(inputs), index_of(X=X, y=y))
        targets = np.asarray(targets, dtype=np.float64)
        checks.intercept(self.fit_intercept, targets, weight)
        return np.asarray(inputs), targets, weight

    def _get_kernel(self, X: FloatArray, Y: FloatArray | None = None) -> FloatArray:
        """Kernel matrix; for the training data a fresh one, because the factorisation overwrites it."""
        if self.kernel == "precomputed":
            return np.array(X, order="C") if Y is None else X
        return np.ascontiguousarray(kernel_matrix(self, X, Y), dtype=np.float64)

    def _moments(self, X: Any, sensitive: Sensitive, control: Sensitive, n: int, weight: FloatArray) -> MomentBasis:
        if sensitive is None and self.unfairness == 1:  # ordinary regression was asked for
            nobody = np.zeros(n, dtype=np.intp)
            return MomentBasis(nobody, np.zeros((1, 0)), np.zeros((0, 0)), [], np.array([float(n)]))
        moments, most = self.moments, self.n_moments
        basis = moment_basis(
            sensitive, n_samples=n, moments=moments, n_moments=most, sample_weight=weight, control_features=control, X=X
        )
        if self.gap_budget is not None and np.size(self.gap_budget) not in (1, len(basis.labels)):
            raise PaperlibError(
                f"gap_budget has {np.size(self.gap_budget)} entries, but there are {len(basis.labels)} gaps: "
                f"{basis.labels}; give one number, or one per gap in this order."
            )
        return basis

    def _knobs(self) -> dict[str, Any]:
        names = ("unfairness", "penalty", "gap_budget", "smd_budget")
        return {name: getattr(self, name) for name in names}

    def _squeeze(self, values: FloatArray) -> FloatArray:
        """Drop the last axis (outputs) when y was 1-D."""
        return values[..., 0] if self._single else values

    def tradeoff(self, *, unfairness: ArrayLike | None = None, penalty: ArrayLike | None = None) -> TradeoffPath:
        """The whole tradeoff after one ``fit``: nothing is factorised again, a level costs O(q^2).

        Parameters
        ----------
        unfairness : (L,), optional
            Fractions in [0, 1] of the gaps of the ordinary fit that are kept (eq. 5; 0 is fair).
        penalty : (L,), optional
            Weights eta >= 0 of eq. (17) (0 is the ordinary fit, infinity is fair).  Give one of the two.

        Returns
        -------
        TradeoffPath
            Pass it to :meth:`predict_path` for predictions.

        Raises
        ------
        PaperlibError
            None or both of the two are given, or a value is out of range.
        """
        check_is_fitted(self)
        if (unfairness is None) == (penalty is None):
            raise PaperlibError("tradeoff() takes either unfairness or penalty; give exactly one of them.")
        if penalty is None:
            knob, values = "unfairness", checks.numbers("unfairness", unfairness, 0.0, 1.0)  # type: ignore[arg-type]
        else:
            knob, values = "penalty", checks.numbers("penalty", penalty)
        problem, train = self._problem, self._train
        shift = np.array([problem.shift(**{knob: value}) for value in values])
        gaps = np.array([problem.gaps(nu) for nu in shift])
        squares = train.residual_squares(shift)
        return TradeoffPath(
            knob=knob,
            values=values,
            shift=shift,
            train_gaps=gaps,
            train_smd=np.abs(gaps).sum(axis=1).mean(axis=1),
            train_mse=squares.mean(axis=1) / train.total_weight,
            objective=np.array([(train.objective + problem.cost(nu)).sum() for nu in shift]),
        )

    def predict_path(self, X: ArrayLike, path: TradeoffPath) -> FloatArray:
        """Predictions (L, m) or (L, m, p) at every level of a path of :meth:`tradeoff`, for one kernel evaluation."""
        check_is_fitted(self)
        columns = self._design(X) @ self._columns + self._intercepts
        p = path.shift.shape[2]
        return self._squeeze(columns[:, :p] - np.einsum("mq,lqp->lmp", columns[:, p:], path.shift))

    def plot_tradeoff(self, X: ArrayLike, y: ArrayLike, sensitive_features: Sensitive, **options: Any) -> Any:
        """Plot SMD against error at every level of unfairness, on any rows; see ``RegressionFairnessDisplay``."""
        from paperlib.fairness.display import RegressionFairnessDisplay

        return RegressionFairnessDisplay.from_estimator(self, X, y, sensitive_features, **options)

    def _design(self, X: ArrayLike) -> FloatArray:
        """What ``_columns`` multiplies: the features of X, or its kernel with the training rows."""
        raise NotImplementedError

    def _solve(
        self, problem: GapProblem, measure: Callable[[FloatArray], FloatArray], basis: MomentBasis
    ) -> FloatArray:
        """The shift nu (q, p), after one step of refinement; sets the attributes that report on the gaps.

        ``measure`` gives the moments (q, p) that the predictions after a shift have on the training rows.
        """
        shift = problem.shift(**self._knobs())
        shift = shift + problem.closing(measure(shift) - (problem.b - problem.T @ shift))
        gaps = problem.to_gap.T @ measure(shift)
        self.gap_labels_ = basis.labels
        self.gaps_ = self._squeeze(gaps)
        before = problem.gaps(np.zeros_like(shift))
        self.unconstrained_gaps_ = self._squeeze(before)
        self.fairness_cost_ = self._squeeze(problem.cost(shift))
        sizes, room = np.abs(gaps), 1e-9 * np.abs(before).sum(axis=0)
        for name, size in (("smd_budget", sizes.sum(axis=0, keepdims=True)), ("gap_budget", sizes)):
            budget = getattr(self, name)
            if budget is not None and (size > (1 + 1e-6) * np.reshape(np.asarray(budget, float), (-1, 1)) + room).any():
                warnings.warn(
                    f"{name}={budget!r} cannot be met: on the training rows it is {size.max():.3g}; the kernel cannot "
                    "represent the difference of some groups' means; use another kernel, or put the attribute among "
                    "the inputs.",
                    stacklevel=3,
                )
        return shift


@dataclass(frozen=True)
class _Scaled:
    """Training data, centred (with an intercept) and scaled by the root of the weights.

    What is left is ridge regression of y on ``matrix``, without weights or intercept.
    """

    primal: bool  # matrix is X (n, d), else K (n, n)
    matrix: FloatArray
    matrix_mean: FloatArray | float  # (d,) mean feature, or (n,) mean kernel row; 0 without intercept
    y: FloatArray  # (n, p)
    y_mean: FloatArray | float  # (p,)
    C: FloatArray  # (n, q) orthonormal
    root: FloatArray  # (n, 1) square root of the weights
    total_weight: float
    basis: MomentBasis
    trace: float  # of the kernel matrix before centring


class MeanParityRegressor(FairnessKnobs):
    r"""Kernel ridge regression under mean parity: exact, in closed form, at the cost of the ordinary fit.

    Parameters
    ----------
    alpha : float, default 1
        Ridge penalty :math:`\lambda \ge 0` (of the *sum* of squares, as in :class:`sklearn.kernel_ridge.KernelRidge`).
        0 is the minimum-norm least-squares fit.
    kernel : str or callable, default 'linear'
        As in ``KernelRidge``; 'precomputed' takes kernel matrices for X.
    gamma, degree, coef0, kernel_params
        As in ``KernelRidge``.
    fit_intercept : bool, default True
        Fit an unpenalised constant.  False, as in the paper, shrinks towards 0: centre y first.
    unfairness : float in [0, 1], default 0
        Fraction of every train gap of the ordinary fit that may stay (the paper's alpha in eq. (4)).  0 is fair, 1 is
        ordinary regression, and predictions are linear in between.
    penalty : float, optional
        Replace the constraint by the penalty :math:`\eta\|f - Pf\|^2` of eq. (17).
    gap_budget : float or (m,), optional
        Replace the constraint by :math:`|gap_g| \le \epsilon_g`, with one number or one per gap (``gap_labels_``).
    smd_budget : float, optional
        Replace the constraint by :math:`\sum_g |gap_g| \le \epsilon`.  At most one of the four may be set.
    moments : {'groups', 'marginal', 'linear', 'poly', 'bins', 'rbf'}, callable or dict, default 'groups'
        What must not depend on the attribute, see :func:`paperlib.fairness.moments.moment_basis`.
    n_moments : int, default 3
        Highest power for 'poly', number of bins for 'bins'.

    Attributes
    ----------
    dual_coef_ : (n,) or (n, p)
        Predictions are ``K(x, X_fit_) @ dual_coef_ + intercept_``.
    coef_ : (d,) or (d, p)
        With ``kernel='linear'`` only.
    intercept_ : float or (p,)
    X_fit_ : (n, d), or the kernel matrix (n, n)
    gap_labels_ : list of length m
        The groups (or moments) that the gaps belong to.
    gaps_, unconstrained_gaps_ : (m,) or (m, p)
        Train gaps, mean of the group minus mean of all (or covariances), of this fit, measured on its predictions, and
        of ordinary regression.
    fairness_cost_ : float or (p,)
        Rise of the train objective over ordinary regression.

    Notes
    -----
    ``sensitive_features`` are needed by ``fit`` only (and not with ``unfairness=1``, ordinary ridge regression).  They
    may also be columns of X: then predictions use them, as in the paper.  A group first met at predict time is
    predicted like any other input, without a guarantee.  A difference of group means that the kernel cannot represent
    (an eigenvalue of T at its rounding level) is left alone: ``gaps_`` shows it.

    Examples
    --------
    >>> import numpy as np
    >>> from paperlib.fairness import MeanParityRegressor
    >>> rng = np.random.default_rng(0)
    >>> s = rng.integers(2, size=200)
    >>> X = np.column_stack([rng.normal(size=200), s])
    >>> y = X[:, 0] + s
    >>> f = MeanParityRegressor(alpha=0.1).fit(X, y, sensitive_features=s).predict(X)
    >>> bool(abs(f[s == 1].mean() - f[s == 0].mean()) < 1e-12)
    True
    """

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = self.kernel == "precomputed"
        return tags

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        sensitive_features: Sensitive = None,
        control_features: Sensitive = None,
        sample_weight: Weights = None,
    ) -> MeanParityRegressor:
        """Fit in closed form.

        Parameters
        ----------
        X : (n, d), or (n, n) when ``kernel='precomputed'``
        y : (n,) or (n, p)
        sensitive_features : (n,) or (n, r)
            Array, list, Series, DataFrame or dict; text, numbers or both.  Several columns make one group per
            combination that occurs.  pandas objects are matched to X by their index.
        control_features : (n,) or (n, c), optional
            Equal means inside every combination of their values only.
        sample_weight : (n,), optional
            Non-negative; a weight of 2 is the same as the row twice, 0 the same as no row.

        Raises
        ------
        PaperlibError
            A parameter or the sensitive features are not usable; the message says what would be.

        Warns
        -----
        UserWarning
            A budget cannot be met, or the attribute is constant or looks continuous.
        """
        data, inputs, targets = self._prepare(X, y, sensitive_features, control_features, sample_weight)
        self._single = targets.ndim == 1
        p = data.y.shape[1]
        V = np.hstack([data.y, data.C])
        KV = None if data.primal else np.hstack([data.matrix @ data.y, _group_product(data)])
        fits = ridge_fits(data.matrix, V, self.alpha, primal=data.primal, KV=KV)
        if self.fit_intercept and not data.primal:
            # the coefficients sum to 0; rounding would be magnified by the uncentred kernel
            dual = fits.dual - data.root @ (data.root.T @ fits.dual) / data.total_weight
            fits = replace(fits, dual=dual, columns=dual)
        if not data.primal and self.alpha <= 1e-8 * data.trace:  # centring and weighting rounded what is measured here
            K = self._get_kernel(inputs)
            fits = replace(fits, moments=lambda a: V.T @ (data.root * (K @ (data.root * a))))

        # The theorem: fit = (ordinary fit of y) - (ordinary fit of C) nu.
        def combine(shift: FloatArray) -> FloatArray:
            return np.vstack([np.eye(p), -shift])

        problem = fits.problem(p, data.basis.to_gap)
        shift = self._solve(problem, lambda nu: fits.moments(fits.columns @ combine(nu))[p:], data.basis)
        residual = data.y - fits.fitted[:, :p]
        self._train = TrainFit(
            rr=(residual**2).sum(axis=0),
            rc=fits.fitted[:, p:].T @ residual,
            cc=fits.fitted[:, p:].T @ fits.fitted[:, p:],
            objective=(data.y * residual).sum(axis=0),
            total_weight=data.total_weight,
        )
        self._problem = problem
        self._primal = data.primal
        columns = fits.columns if data.primal else data.root * fits.columns
        self._columns = columns  # (d or n, p + q): coefficients of the fits of [y | C], which tradeoff() mixes
        self._intercepts = np.zeros(p + data.C.shape[1])
        if self.fit_intercept:
            self._intercepts[:p] = data.y_mean
            self._intercepts -= data.matrix_mean @ columns
        self.X_fit_ = inputs
        self.dual_coef_ = self._squeeze(data.root * (fits.dual @ combine(shift)))
        if self.kernel == "linear":
            self.coef_ = self._squeeze((columns if data.primal else inputs.T @ columns) @ combine(shift))
        self.intercept_ = self._squeeze(self._intercepts @ combine(shift))
        return self

    def _prepare(
        self, X: ArrayLike, y: ArrayLike, sensitive: Sensitive, control: Sensitive, sample_weight: Weights
    ) -> tuple[_Scaled, FloatArray, FloatArray]:
        """Check everything; returns the scaled problem, and X and y as arrays."""
        self._check_parameters()
        inputs, targets, weight = self._check_data(X, y, sample_weight)
        n, d = inputs.shape
        if self.kernel == "precomputed" and n != d:
            raise PaperlibError(f"X has shape {inputs.shape}; kernel='precomputed' needs the (n, n) kernel matrix.")
        basis = self._moments(index_of(X=X, y=y), sensitive, control, n, weight)
        total = float(weight.sum())
        root = np.sqrt(weight)[:, None]
        # With few features the d x d side is smaller; at alpha = 0 it is also the accurate one.
        primal = self.kernel == "linear" and (d < n or self.alpha == 0)
        matrix = inputs if primal else self._get_kernel(inputs)
        trace = 0.0 if primal else float(np.abs(matrix.diagonal()).sum())
        target = targets.reshape(n, -1)
        matrix_mean: FloatArray | float = 0.0
        y_mean: FloatArray | float = 0.0
        if self.fit_intercept:
            matrix_mean, y_mean = weight @ matrix / total, weight @ target / total
            target = target - y_mean
            if primal:
                matrix = matrix - matrix_mean
            else:
                matrix -= matrix_mean
                matrix -= (matrix_mean - weight @ matrix_mean / total)[:, None]
        if sample_weight is not None:
            target = root * target
            if primal:
                matrix = root * matrix
            else:
                matrix *= root
                matrix *= root.T
        data = _Scaled(primal, matrix, matrix_mean, target, y_mean, root * basis.rows(), root, total, basis, trace)
        return data, inputs, targets

    def predict(self, X: ArrayLike) -> FloatArray:
        """Predictions (m,) or (m, p) for X (m, d), or for the kernel matrix (m, n) when ``kernel='precomputed'``."""
        check_is_fitted(self)
        inputs: FloatArray = checks.validated(self, X, dtype=np.float64, reset=False)
        if self.kernel == "linear":
            return inputs @ self.coef_ + self.intercept_
        return self._get_kernel(inputs, self.X_fit_) @ self.dual_coef_ + self.intercept_

    def _design(self, X: ArrayLike) -> FloatArray:
        inputs: FloatArray = checks.validated(self, X, dtype=np.float64, reset=False)
        return inputs if self._primal else self._get_kernel(inputs, self.X_fit_)

    def alpha_path(
        self,
        X: ArrayLike,
        y: ArrayLike,
        alphas: ArrayLike,
        *,
        sensitive_features: Sensitive = None,
        control_features: Sensitive = None,
        sample_weight: Weights = None,
    ) -> AlphaPath:
        r"""Every ridge penalty from one eigendecomposition, with closed-form leave-one-out.

        The fit is a linear smoother of y, so leaving sample i out multiplies its residual by :math:`1/(1 - h_{ii})`, h
        being the diagonal of :math:`S - SC\,T^{-1}C^\top S`; when 0 < unfairness < 1, the fair and the ordinary fit are
        left out separately and mixed.  The constraint is that of all the data throughout.  The estimator itself does
        not change.

        Parameters
        ----------
        alphas : (L,)
            Positive penalties (0 is allowed where the fit does not interpolate).
        X, y, sensitive_features, control_features, sample_weight
            As in :meth:`fit`.

        Raises
        ------
        PaperlibError
            A budget is set, so that the fit is not linear in y, or what :meth:`fit` refuses.
        """
        if self.gap_budget is not None or self.smd_budget is not None:
            raise PaperlibError("alpha_path() needs a fit that is linear in y; unset gap_budget and smd_budget.")
        values = checks.numbers("alphas", alphas, 0.0, np.finfo(float).max)
        data, _, targets = clone(self)._prepare(X, y, sensitive_features, control_features, sample_weight)
        spectrum = Spectrum.of_features(data.matrix) if data.primal else Spectrum.of_kernel(data.matrix)
        G = spectrum.vectors.T @ data.C
        G = G.T @ (spectrum.values[:, None] * G)
        constant = data.root[:, 0] ** 2 / data.total_weight if self.fit_intercept else 0.0  # leverage of the intercept

        mse, loo_mse, loo, gaps, dual = [], [], [], [], []
        for alpha in values:
            SC, fit = spectrum.fitted(alpha, data.C), spectrum.fitted(alpha, data.y)
            problem = GapProblem(b=data.C.T @ fit, T=data.C.T @ SC, G=G, to_gap=data.basis.to_gap)
            shift = problem.shift(unfairness=self.unfairness, penalty=self.penalty)
            # nu is linear in b: with the identity in place of b, shift() gives the matrix N of nu = N b
            unit = GapProblem(b=np.eye(len(G)), T=problem.T, G=G, to_gap=problem.to_gap)
            N = unit.shift(penalty=self.penalty)
            h_ordinary = spectrum.leverage(alpha) + constant
            h_fair = h_ordinary - (SC @ N * SC).sum(axis=1)
            ordinary, residual = data.y - fit, data.y - fit + SC @ shift
            with np.errstate(divide="ignore", invalid="ignore"):
                left_out = (ordinary + SC @ (N @ problem.b)) / (1 - h_fair)[:, None]
                if self.unfairness:
                    left_out += self.unfairness * (ordinary / (1 - h_ordinary)[:, None] - left_out)
                loo.append(targets.reshape(len(targets), -1) - left_out / data.root)
            mse.append((residual**2).sum(axis=0).mean() / data.total_weight)
            loo_mse.append((left_out**2).sum(axis=0).mean() / data.total_weight)
            gaps.append(problem.gaps(shift))
            dual.append(data.root * spectrum.dual_coef(alpha, data.y - data.C @ shift))
        return AlphaPath(
            alphas=values,
            train_mse=np.array(mse),
            loo_mse=np.array(loo_mse),
            loo_predictions=np.array(loo),
            train_gaps=np.array(gaps),
            dual_coef=np.array(dual),
            best_alpha=float(values[np.nanargmin(loo_mse)]),
        )


def _group_product(data: _Scaled) -> FloatArray:
    """K C (n, q): the rows of K are summed by value of the attribute first, which is n^2 additions whatever q is."""
    n, q = data.C.shape
    if q < 8:
        return np.asarray(data.matrix @ data.C)
    table = data.basis.table
    member = sp.csr_array((data.root[:, 0], (data.basis.codes, np.arange(n))), shape=(len(table), n))
    return np.asarray((member @ data.matrix).T @ table)
