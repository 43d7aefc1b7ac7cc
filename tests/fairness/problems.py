"""Regressions whose target and inputs depend on the group, and mean parity by brute force."""

from functools import partial

import numpy as np

from paperlib.fairness import MeanParityRegressor

paper_fit = partial(MeanParityRegressor, fit_intercept=False)  # the paper centres y

RBF = {"kernel": "rbf", "gamma": 0.3}


def problem(seed=0, n=60, d=4, groups=3):
    """A regression whose target and inputs depend on the group."""
    rng = np.random.default_rng(seed)
    s = rng.integers(groups, size=n)
    X = rng.normal(size=(n, d))
    X[:, 0] += s
    y = np.sin(X[:, 0]) + 0.7 * s + 0.1 * rng.normal(size=n)
    return X, y - y.mean(), s


def group_moments(s, weight=None):
    """C of the paper, one column per group: 1_g / n_g - 1 / n."""
    weight = np.ones(len(s)) if weight is None else weight
    columns = [weight * (s == g) / weight[s == g].sum() for g in np.unique(s)]
    return np.column_stack(columns) - weight[:, None] / weight.sum()


def brute_force(K, y, C, alpha, target=None, weight=None):
    """Dual coefficients of min sum w r^2 + alpha a'Ka with C'Ka = target, by its optimality system."""
    weight = np.ones(len(y)) if weight is None else weight
    target = np.zeros(C.shape[1]) if target is None else target
    H = K @ np.diag(weight) @ K + alpha * K
    A = C.T @ K
    kkt = np.block([[H, A.T], [A, np.zeros((len(A), len(A)))]])
    return np.linalg.lstsq(kkt, np.concatenate([K @ (weight * y), target]), rcond=1e-13)[0][: len(y)]


def gaps_of(f, s):
    return np.array([f[s == g].mean() - f.mean() for g in np.unique(s)])
