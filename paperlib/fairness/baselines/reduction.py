r"""Fair regression by reduction (RBA): statistical parity, with a randomised predictor.

Paper: Agarwal, Dudik and Wu, Fair Regression: Quantitative Definitions and Reduction-Based Algorithms, ICML 2019,
arXiv 1905.12843; statistical parity, square loss, least-squares oracle (Sections 3 and 4, Algorithm 1).  "RBA" in
Figure 10 of Mean Parity Fair Regression in RKHS (AISTATS 2023, arXiv 2302.10409).  Introduced in
``notebooks/06_mp_fair_regression.ipynb``.

.. math::
    \min_Q \mathbb E\,(Y - f(X))^2 \quad\text{s.t.}\quad
    \bigl|P[f(X) \ge \theta \mid S = s] - P[f(X) \ge \theta]\bigr| \le \epsilon \quad\forall s, \theta ,

over distributions Q of predictors f, with thresholds :math:`\theta` on a grid of N steps.  The Lagrangian is a sum over
rows of a cost per grid value; the oracle takes each row's cheapest grid value as its target and fits least squares to
it.  Multipliers move by exponentiated gradient within the ball of radius B; in the end a linear program picks the
mixture of the predictors met on the way.

Differences from the paper
--------------------------
1. fairlearn, which holds the authors' reductions, refuses statistical parity for a response that is not 0/1 (0.15), so
   this is an implementation of our own.  Costs of all rows and thresholds are one (n, N) array, and the least-squares
   oracle factorises X once.
2. A fixed number of rounds with a step size that is halved when the Lagrangian bound gets worse is replaced by a fixed
   number of rounds with constant step; the linear program at the end uses every predictor that was met.
3. Step, radius and number of rounds are this file's; the AISTATS paper does not state those it used.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linprog
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, check_random_state

from paperlib.fairness import checks
from paperlib.fairness.group_shift import Spectrum
from paperlib.fairness.moments import FloatArray, Sensitive, Weights, aligned, index_of, training_groups


@dataclass(eq=False, repr=False)
class ReductionRegressor(RegressorMixin, BaseEstimator):
    """Linear regression under statistical parity on a grid of thresholds.

    Parameters
    ----------
    epsilon : float, default 0.02
        Largest allowed difference of P[f >= theta] between a group and everybody.
    n_steps : int, default 40
        Steps of the grid between the smallest and the largest training response.
    n_rounds : int, default 100
        Calls of the oracle.
    radius : float, default 3
        Bound B of the multipliers' sum, in units of the training variance of y.
    step : float, default 3
        Step size of exponentiated gradient.
    alpha : float, default 0
        Ridge penalty of the oracle.
    random_state : int, default 0
        Of the draws of ``predict``.

    Attributes
    ----------
    weights_ : (T,)
        Probability of each predictor.
    coef_ : (d, T)
    violation_ : float
        Largest violation of the mixture on the training data, before the subtraction of epsilon.
    """

    __metadata_request__fit: ClassVar = {"sensitive_features": True}

    epsilon: float = 0.02
    _: KW_ONLY
    n_steps: int = 40
    n_rounds: int = 100
    radius: float = 3.0
    step: float = 3.0
    alpha: float = 0.0
    random_state: int = 0

    def fit(
        self, X: ArrayLike, y: ArrayLike, *, sensitive_features: Sensitive = None, sample_weight: Weights = None
    ) -> ReductionRegressor:
        """Fit; arguments and errors as in ``MeanParityRegressor.fit``, for y (n,). X gets a column of ones."""
        checks.number("epsilon", self.epsilon, 0.0, 1.0, above=True)
        checks.whole("n_steps", self.n_steps, 2)
        checks.whole("n_rounds", self.n_rounds)
        for name in ("radius", "step", "alpha"):
            checks.number(name, getattr(self, name))
        features, target = checks.validated(self, X, aligned("y", y, X), dtype=np.float64, y_numeric=True)
        rows = index_of(X=X, y=y)
        n = len(target)
        weight = checks.weights(sample_weight, n, rows)
        of_all = weight / weight.sum()
        codes = training_groups(sensitive_features, weight, rows)[0][weight > 0]
        features, target, weight, of_all = (part[weight > 0] for part in (features, target, weight, of_all))
        n, root = len(target), np.sqrt(weight)[:, None]
        share = of_all @ (groups := np.eye(codes.max() + 1)[codes])
        groups = of_all[:, None] * groups / share  # (n, groups): the mean of a group is groups.T @ values

        low, high = target.min(), target.max()
        width = (high - low) / self.n_steps or 1.0
        self.thresholds_ = low + width * np.arange(self.n_steps)
        values = self.thresholds_ + width / 2  # what a prediction between two thresholds counts as
        # cost of f >= theta_j over f < theta_j: its running sum over j is the loss at values[j] up to a constant
        steps = (values[None, :] - target[:, None]) ** 2
        steps[:, 1:] -= steps[:, :-1].copy()

        design = np.hstack([features, np.ones((n, 1))])
        spectrum = Spectrum.of_features(root * design)
        variance = float(of_all @ (target - of_all @ target) ** 2)
        multipliers = np.zeros((2, self.n_steps, groups.shape[1]))  # logarithms, one for each sign
        coefs, gaps, losses = [], [], []
        for _ in range(self.n_rounds):
            active = np.exp(multipliers)
            active *= self.radius * variance / (1 + active.sum())
            signed = active[0] - active[1]  # (N, groups)
            price = (signed / share - signed.sum(axis=1, keepdims=True))[:, codes].T  # (n, N), of f >= theta_j
            best = np.cumsum(steps + price, axis=1).argmin(axis=1)
            coef = spectrum.primal_coef(self.alpha, root * values[best][:, None])[:, 0]
            f = design @ coef
            above = f[:, None] >= self.thresholds_
            gap = (groups.T @ above - of_all @ above).T  # (N, groups)
            coefs.append(coef)
            gaps.append(gap.ravel())
            losses.append(of_all @ (f - target) ** 2)
            multipliers += self.step * np.stack([gap - self.epsilon, -gap - self.epsilon])
        self.weights_ = self._mixture(np.array(gaps), np.array(losses))
        used = self.weights_ > 1e-9
        self.weights_ = self.weights_[used] / self.weights_[used].sum()
        self.coef_ = np.array(coefs)[used].T
        self.violation_ = float(np.abs(np.array(gaps)[used].T @ self.weights_).max())
        return self

    def predict_all(self, X: ArrayLike) -> FloatArray:
        """Predictions of every predictor of the mixture (m, T); ``weights_`` are their probabilities."""
        check_is_fitted(self)
        features = checks.validated(self, X, dtype=np.float64, reset=False)
        return np.hstack([features, np.ones((len(features), 1))]) @ self.coef_

    def predict(self, X: ArrayLike) -> FloatArray:
        """Randomised predictions (m,): one predictor is drawn for each row."""
        f = self.predict_all(X)
        drawn = check_random_state(self.random_state).choice(len(self.weights_), size=len(f), p=self.weights_)
        return f[np.arange(len(f)), drawn]

    def _mixture(self, gaps: FloatArray, losses: FloatArray) -> FloatArray:
        """Probabilities (T,) of least loss within the bound, or of least violation if none is within."""
        T = len(losses)
        both = np.vstack([gaps.T, -gaps.T])
        slack = -np.ones((len(both), 1))
        # the slack over epsilon is priced far above any loss
        cost = np.append(losses, 1e3 * max(losses.max(), 1e-12))
        result = linprog(
            cost,
            A_ub=np.hstack([both, slack]),
            b_ub=np.full(len(both), self.epsilon),
            A_eq=np.append(np.ones(T), 0.0)[None, :],
            b_eq=[1.0],
            method="highs",
        )
        return np.asarray(result.x[:T], dtype=float)
