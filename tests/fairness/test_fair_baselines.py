"""Fair regressions that mean parity is compared with: each against its own objective, bound or definition."""

from functools import partial

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.metrics.pairwise import polynomial_kernel, rbf_kernel

from paperlib.errors import PaperlibError
from paperlib.fairness import MeanParityRegressor, ks_distance, smd
from paperlib.fairness.baselines import (
    BASELINES,
    BoundedShareRegressor,
    CorrelationRemoverRegressor,
    GroupMeanShift,
    PenalisedFairRidge,
    ReductionRegressor,
    WassersteinBarycentre,
    fit_predict,
)
from paperlib.fairness.data import synthetic

paper_fit = partial(MeanParityRegressor, fit_intercept=False)  # the paper centres y

RNG = np.random.RandomState(0)


@pytest.fixture(scope="module")
def problem():
    made = synthetic(260, size=0.5, random_state=3)
    X = np.column_stack([made.X.to_numpy(), np.ones(260)])
    s = (made.sensitive.to_numpy()[:, 0] > 0).astype(float)
    y = made.y + 2 * s
    return X[:200], y[:200], s[:200], X[200:], s[200:]


def gap(f, s):
    return abs(f[s == 1].mean() - f[s == 0].mean())


# --------------------------------------------------------------------------------------------- quadratic penalties


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_fkr_solves_its_own_system(problem, kernel):
    X, y, s, *_ = problem
    n, alpha, eta = len(y), 0.5, 1000.0
    K = X @ X.T if kernel == "linear" else rbf_kernel(X, gamma=0.1)
    H = np.eye(n) - 1 / n
    K_s = H @ polynomial_kernel(s[:, None]) @ H
    a = np.linalg.solve(K + alpha * np.eye(n) + eta / n**2 * K_s @ K, y - y.mean())
    model = PenalisedFairRidge(eta, alpha=alpha, kernel=kernel, gamma=0.1, kernel_s="polynomial")
    f = model.fit(X, y, sensitive_features=s).predict(X)
    np.testing.assert_allclose(f, K @ a + y.mean(), atol=1e-9)


@pytest.mark.parametrize("penalty", ["berk_group", "berk_individual"])
def test_berk_minimises_its_objective(problem, penalty):
    X, y, s, *_ = problem
    alpha, eta = 0.5, 30.0
    model = PenalisedFairRidge(eta, penalty=penalty, alpha=alpha).fit(X, y, sensitive_features=s)
    target, one = y - y.mean(), s == 1
    d = np.exp(-(np.subtract.outer(y[one], y[~one]) ** 2)) / (one.sum() * (~one).sum())

    def objective(w):
        f = X @ w
        differences = np.subtract.outer(f[one], f[~one])
        unfair = (d * differences).sum() ** 2 if penalty == "berk_group" else (d * differences**2).sum()
        return ((target - f) ** 2).sum() + alpha * w @ w + eta * unfair

    best = minimize(objective, model.coef_, method="BFGS", options={"gtol": 1e-9})
    assert objective(model.coef_) <= best.fun * (1 + 1e-9)
    assert objective(model.coef_ * 1.01) > objective(model.coef_)


def test_a_heavy_fkr_penalty_is_mean_parity_for_one_binary_attribute(problem):
    X, y, s, *_ = problem
    heavy = PenalisedFairRidge(1e14, alpha=1.0).fit(X, y, sensitive_features=s)
    fair = paper_fit(1.0).fit(X, y - y.mean(), sensitive_features=s)
    np.testing.assert_allclose(heavy.coef_, fair.coef_, atol=1e-6)


def test_penalties_name_bad_input(problem):
    X, y, s, *_ = problem
    with pytest.raises(PaperlibError, match="berk_group"):
        PenalisedFairRidge(penalty="berk").fit(X, y, sensitive_features=s)
    with pytest.raises(PaperlibError, match="two groups"):
        PenalisedFairRidge(penalty="berk_group").fit(X, y, sensitive_features=np.arange(len(y)) % 3)
    with pytest.raises(PaperlibError, match="eta=-1"):
        PenalisedFairRidge(-1.0).fit(X, y, sensitive_features=s)
    with pytest.raises(PaperlibError, match="sensitive_features=None"):
        PenalisedFairRidge().fit(X, y)


# -------------------------------------------------------------------------------------------------- NRFC and FRRM


@pytest.mark.parametrize("method", ["nrfc", "frrm"])
@pytest.mark.parametrize("bound", [0.0, 0.001, 0.01])
def test_share_of_the_attribute_meets_the_bound(problem, method, bound):
    X, y, s, *_ = problem
    free = BoundedShareRegressor(1.0, method=method).fit(X, y, sensitive_features=s)
    assert free.share_ > 0.01
    model = BoundedShareRegressor(bound, method=method).fit(X, y, sensitive_features=s)
    assert model.share_ == pytest.approx(bound, abs=1e-9)


def test_unbounded_nrfc_is_least_squares(problem):
    X, y, s, X_test, s_test = problem
    _, g = fit_predict(BoundedShareRegressor(1.0), X, y, s, X_test, s_test)
    np.testing.assert_allclose(g, LinearRegression().fit(X, y).predict(X_test), atol=1e-9)


def test_nrfc_at_zero_is_mean_parity_on_the_training_set(problem):
    X, y, s, *_ = problem
    f = BoundedShareRegressor().fit(X, y, sensitive_features=s).predict(X, sensitive_features=s)
    fair = paper_fit(0.0).fit(X, y - y.mean(), sensitive_features=s).predict(X) + y.mean()
    np.testing.assert_allclose(f, fair, atol=1e-9)


@pytest.mark.parametrize("method", ["nrfc", "frrm"])
def test_a_constant_attribute_is_no_attribute(method):
    rng = np.random.default_rng(0)
    X, s = rng.normal(size=(30, 4)) + 5.0, np.ones(30)
    y = X @ np.arange(1.0, 5.0) + rng.normal(size=30)
    for _ in range(10):  # with some weights the mean of the ones is 1 only up to rounding
        w = rng.uniform(0.1, 1.0, size=30)
        model = BoundedShareRegressor(method=method).fit(X, y, sensitive_features=s, sample_weight=w)
        plain = LinearRegression().fit(X, y, sample_weight=w)
        np.testing.assert_allclose(model.predict(X, sensitive_features=s), plain.predict(X), atol=1e-9)


def test_the_barycentre_of_one_group_is_its_own_predictions(problem):
    pytest.importorskip("equipy")
    X, y, *_ = problem
    s = np.ones(len(y))
    f = WassersteinBarycentre().fit(X, y, sensitive_features=s).predict(X, sensitive_features=s)
    np.testing.assert_allclose(f, Ridge().fit(X, y).predict(X))


def test_nrfc_is_the_constrained_optimum(problem):
    X, y, s, *_ = problem
    bound = 0.01
    model = BoundedShareRegressor(bound).fit(X, y, sensitive_features=s)
    f = model.predict(X, sensitive_features=s)
    centred, part = (
        s - s.mean(),
        X[:, :-2] - np.outer(s - s.mean(), (s - s.mean()) @ X[:, :-2] / ((s - s.mean()) ** 2).sum()),
    )
    part = part - part.mean(axis=0)

    def parts(c):
        return centred * c[0], part @ c[1:]

    def loss(c):
        a, b = parts(c)
        return ((y - y.mean() - a - b) ** 2).mean()

    def room(c):
        a, b = parts(c)
        return bound * (a.var() + b.var()) - a.var()

    best = min(
        (
            minimize(loss, start, constraints={"type": "ineq", "fun": room}, method="SLSQP", options={"ftol": 1e-14})
            for start in RNG.normal(size=(6, 1 + part.shape[1]))
        ),
        key=lambda result: result.fun,
    )
    assert ((y - f) ** 2).mean() == pytest.approx(best.fun, rel=1e-6)


# ------------------------------------------------------------------------------------------------------------ reduction


def test_reduction_keeps_its_bound_and_trades_error_for_parity(problem):
    X, y, s, *_ = problem
    s = np.where(RNG.uniform(size=len(y)) < 0.8, X[:, 0] > 0, s).astype(float)  # an attribute that matters
    loose = ReductionRegressor(1.0, n_rounds=40).fit(X, y, sensitive_features=s)
    tight = ReductionRegressor(0.15, n_rounds=150).fit(X, y, sensitive_features=s)
    assert tight.violation_ <= 0.15 + 1e-9 < loose.violation_

    def error(model):
        return ((model.predict_all(X) - y[:, None]) ** 2).mean(axis=0) @ model.weights_

    assert error(loose) < error(tight) < 2 * y.var()
    assert tight.weights_.sum() == pytest.approx(1.0)
    drawn = tight.predict(X)
    np.testing.assert_array_equal(drawn, tight.predict(X))
    assert (np.isclose(drawn[:, None], tight.predict_all(X)).any(axis=1)).all()


def test_reduction_names_bad_input(problem):
    X, y, s, *_ = problem
    with pytest.raises(PaperlibError, match="epsilon=0"):
        ReductionRegressor(0).fit(X, y, sensitive_features=s)


# ------------------------------------------------------------------------------------------------------------- wrappers


def test_mean_shift_equalises_train_means_of_every_group(problem):
    X, y, s, *_ = problem
    both = np.column_stack([s, X[:, 0] > 0])
    f = GroupMeanShift().fit(X, y, sensitive_features=both).predict(X, sensitive_features=both)
    assert smd(None, f, sensitive_features=both) < 1e-10


def test_unseen_group_and_missing_attribute_are_named(problem):
    X, y, s, X_test, _ = problem
    model = GroupMeanShift().fit(X, y, sensitive_features=s)
    with pytest.raises(PaperlibError, match=r"group 2\.0"):
        model.predict(X_test, sensitive_features=np.full(len(X_test), 2.0))
    with pytest.raises(PaperlibError, match="sensitive_features=None"):
        model.predict(X_test)


def test_wasserstein_equalises_distributions_and_repeats_itself(problem):
    pytest.importorskip("equipy")
    X, y, s, *_ = problem
    s = (X[:, 0] > 0).astype(float)
    plain = Ridge().fit(X, y).predict(X)
    model = WassersteinBarycentre().fit(X, y, sensitive_features=s)
    f = model.predict(X, sensitive_features=s)
    np.testing.assert_array_equal(f, model.predict(X, sensitive_features=s))
    assert ks_distance(None, plain, sensitive_features=s) > 0.5
    assert ks_distance(None, f, sensitive_features=s) < 0.03
    np.testing.assert_allclose(
        WassersteinBarycentre(unfairness=1.0).fit(X, y, sensitive_features=s).predict(X, sensitive_features=s), plain
    )


def test_correlation_remover_leaves_no_covariance(problem):
    pytest.importorskip("fairlearn")
    X, y, s, *_ = problem
    both = np.column_stack([s, (X[:, 0] > 0).astype(float)])
    model = CorrelationRemoverRegressor().fit(X, y, sensitive_features=both)
    f = model.predict(X, sensitive_features=both)
    assert np.abs((both - both.mean(axis=0)).T @ f).max() / len(y) < 1e-9


def test_adversary_narrows_the_gap():
    pytest.importorskip("fairlearn")
    rng = np.random.default_rng(0)
    s = rng.integers(0, 2, 400).astype(float)
    X = np.column_stack([rng.normal(size=400), s])
    y = X[:, 0] + s
    free, fair = (
        BASELINES["adversarial"](strength=a, epochs=60, batch_size=64).fit(X, y, sensitive_features=s)
        for a in (0.0, 5.0)
    )
    assert gap(free.predict(X), s) > 0.8
    assert gap(fair.predict(X), s) < 0.7 * gap(free.predict(X), s)


# ------------------------------------------------------------------------------------------------------------- registry


@pytest.mark.parametrize("name", [name for name in BASELINES if name != "adversarial"])
def test_every_baseline_fits_and_predicts_both_splits(problem, name):
    if name == "wasserstein":
        pytest.importorskip("equipy")
    if name == "correlation_remover":
        pytest.importorskip("fairlearn")
    X, y, s, X_test, s_test = problem
    f, g = fit_predict(BASELINES[name](), X, y, s, X_test, s_test)
    assert f.shape == (200,) and g.shape == (60,)
    assert np.isfinite(f).all() and np.isfinite(g).all()
    assert ((y - f) ** 2).mean() <= 1.05 * y.var()


def test_zafar_keeps_the_covariance_within_its_budget(problem):
    X, y, s, *_ = problem
    free = BASELINES["krr"](0.0).fit(X, y, sensitive_features=s).predict(X)
    budget = 0.5 * abs(np.cov(s, free, bias=True)[0, 1])
    f = BASELINES["zafar"](0.0, gap_budget=budget).fit(X, y, sensitive_features=s).predict(X)
    assert abs(np.cov(s, f, bias=True)[0, 1]) == pytest.approx(budget, rel=1e-6)
