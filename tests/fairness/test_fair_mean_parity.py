"""MeanParityRegressor against brute force, its identities, scikit-learn's contract, and bad input."""

import itertools
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.linalg import null_space
from scipy.optimize import minimize
from sklearn.base import clone
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics import make_scorer
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from paperlib.errors import PaperlibError
from paperlib.fairness import FairGDRegressor, MeanParityRegressor, StreamedMeanParityRegressor, smd
from paperlib.fairness.group_shift import GapProblem, Spectrum, cholesky_smoother
from tests.fairness.problems import RBF, brute_force, gaps_of, group_moments, paper_fit, problem

# --- the constraint -----------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(4, 50),
    levels=st.lists(st.integers(2, 4), min_size=1, max_size=3),
    kernel=st.sampled_from(["linear", "rbf", "poly", "laplacian"]),
    alpha=st.sampled_from([1e-2, 0.1, 1.0, 100.0]),
    intercept=st.booleans(),
)
def test_train_gap_is_zero(seed, n, levels, kernel, alpha, intercept):
    rng = np.random.default_rng(seed)
    S = np.column_stack([rng.integers(k, size=n) for k in levels])
    S[0] = -1  # a group of one person
    X = np.column_stack([rng.normal(size=(n, 3)), S])
    y = rng.normal(size=n) + S[:, 0]
    model = paper_fit(alpha, kernel=kernel, degree=2, fit_intercept=intercept)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # with few samples nearly everybody is a group
        f = model.fit(X, y, sensitive_features=S).predict(X)
    _, codes = np.unique(S, axis=0, return_inverse=True)
    assert np.abs(gaps_of(f, codes.reshape(-1))).max() <= 1e-10


@pytest.mark.parametrize("alpha", [1.0, 0.01])
@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_equals_the_null_space_solution(kernel, alpha):
    X, y, s = problem()
    model = paper_fit(alpha, kernel=kernel, gamma=0.3).fit(X, y, sensitive_features=s)
    K = rbf_kernel(X, gamma=0.3) if kernel == "rbf" else X @ X.T
    N = null_space(group_moments(s).T @ K)
    inner = N.T @ (K @ K + alpha * K) @ N
    f = K @ N @ np.linalg.lstsq(inner, N.T @ K @ y, rcond=1e-12)[0]
    assert_allclose(model.predict(X), f, atol=1e-8)


def test_theorem_in_five_lines():
    X, y, s = problem()
    alpha, K, C = 0.5, rbf_kernel(X, gamma=0.3), group_moments(s)[:, :-1]
    A = np.linalg.solve(K + alpha * np.eye(len(y)), np.column_stack([y, C]))
    gaps = C.T @ K @ A
    nu = np.linalg.solve(gaps[:, 1:], gaps[:, 0])
    dual_coef = A[:, 0] - A[:, 1:] @ nu
    model = paper_fit(alpha, **RBF).fit(X, y, sensitive_features=s)
    assert_allclose(model.dual_coef_, dual_coef, atol=1e-10)
    shifted = KernelRidge(alpha=alpha, **RBF).fit(X, y - C @ nu)
    assert_allclose(model.predict(X), shifted.predict(X), atol=1e-10)
    assert np.unique((C @ nu).round(12)).size == 3  # one constant per group


def test_ordinary_regression_is_asked_for_and_forgotten_attributes_raise():
    X, y, _ = problem()
    ours, theirs = paper_fit(0.3, unfairness=1.0, **RBF).fit(X, y), KernelRidge(alpha=0.3, **RBF).fit(X, y)
    assert_allclose(ours.dual_coef_, theirs.dual_coef_, atol=1e-11)
    assert ours.gap_labels_ == []
    assert ours.fairness_cost_ == 0
    for model in (
        MeanParityRegressor(),
        StreamedMeanParityRegressor(),
        FairGDRegressor(),
        MeanParityRegressor(penalty=1.0),
    ):
        with pytest.raises(PaperlibError, match="sensitive_features=None; give one row per sample: fit"):
            model.fit(X, y)
    with pytest.raises(PaperlibError, match="enable_metadata_routing"):
        GridSearchCV(MeanParityRegressor(), {"alpha": [1.0]}, cv=2, error_score="raise").fit(X, y)


@pytest.mark.parametrize("alpha", [0.0, 1e-9])
def test_rank_deficient_inputs(alpha):
    X, y, s = problem(n=80)
    X = np.column_stack([X, X[:, 0] + X[:, 1], np.ones(80)])
    model = paper_fit(alpha).fit(X, y, sensitive_features=s)
    C = group_moments(s)
    basis = null_space(C.T @ X[:, [0, 1, 2, 3, 5]])  # least squares inside the fair subspace, without the copy
    inputs = X[:, [0, 1, 2, 3, 5]] @ basis
    assert_allclose(model.predict(X), inputs @ np.linalg.lstsq(inputs, y)[0], atol=1e-6 if alpha else 1e-10)


def test_huge_and_tiny_penalties_keep_the_gap_closed():
    X, y, s = problem()
    K = rbf_kernel(X, gamma=0.3)
    for alpha in [1e-14, 1e-8, 1e8, 1e14]:
        f = paper_fit(alpha, **RBF).fit(X, y, sensitive_features=s).predict(X)
        assert np.abs(gaps_of(f, s)).max() <= 1e-10 * max(np.abs(f).max(), 1e-300)
    first_order = paper_fit(1e14, **RBF).fit(X, y, sensitive_features=s).predict(X) * 1e14
    C = group_moments(s)[:, :2]
    expected = K @ (y - C @ np.linalg.solve(C.T @ K @ C, C.T @ K @ y))
    assert_allclose(first_order, expected, rtol=1e-6, atol=1e-8)


# --- tradeoff -----------------------------------------------------------------------------------------------------


def test_proposition_4_and_the_objective():
    X, y, s = problem()
    K, C, alpha = rbf_kernel(X, gamma=0.3), group_moments(s), 0.2
    model = paper_fit(alpha, **RBF).fit(X, y, sensitive_features=s)
    levels = np.linspace(0, 1, 11)
    path = model.tradeoff(unfairness=levels)
    fits = model.predict_path(X, path)
    ordinary = KernelRidge(alpha=alpha, **RBF).fit(X, y)
    for u, f, loss in zip(levels, fits, path.objective, strict=True):
        assert_allclose(f, (1 - u) * fits[0] + u * ordinary.predict(X), atol=1e-10)
        a = brute_force(K, y, C, alpha, target=u * (C.T @ ordinary.predict(X)))  # eq. (5), directly
        assert_allclose(f, K @ a, atol=1e-8)
        assert_allclose(loss, ((y - K @ a) ** 2).sum() + alpha * a @ K @ a, rtol=1e-9)
        assert_allclose(smd(None, f, sensitive_features=s), u * path.train_smd[-1], atol=1e-12)
    assert_allclose(path.train_mse, ((y - fits) ** 2).mean(axis=1), rtol=1e-10)
    rise = path.objective - path.objective[-1]
    assert_allclose(rise, (1 - levels) ** 2 * rise[0], rtol=1e-8, atol=1e-10)
    assert_allclose(model.fairness_cost_, rise[0], rtol=1e-9)


def test_mse_is_quadratic_along_the_path_only_without_ridge():
    X, y, s = problem()
    levels = np.linspace(0, 1, 5)
    for alpha, exact in [(0.0, True), (5.0, False)]:
        path = paper_fit(alpha).fit(X, y, sensitive_features=s).tradeoff(unfairness=levels)
        quadratic = path.train_mse[-1] + (1 - levels) ** 2 * (path.train_mse[0] - path.train_mse[-1])
        assert np.allclose(path.train_mse, quadratic, rtol=1e-10) == exact


def test_price_is_below_the_bound_of_proposition_5():
    X, y, s = problem()
    for alpha in [0.0, 0.5]:
        model = paper_fit(alpha).fit(X, y, sensitive_features=s)
        K, C = X @ X.T, group_moments(s)[:, :-1]
        G, b = C.T @ K @ C, C.T @ KernelRidge(alpha=max(alpha, 1e-10)).fit(X, y).predict(X)
        unfair_part = C @ np.linalg.solve(G, b)
        bound = ((K @ unfair_part) ** 2).sum() + alpha * b @ np.linalg.solve(G, b)
        assert 0 < model.fairness_cost_ <= bound * (1 + 1e-6)


def test_penalty_is_equation_18_and_ends_at_the_constraint():
    X, y, s = problem()
    K, C, alpha = rbf_kernel(X, gamma=0.3), group_moments(s)[:, :-1], 0.2
    AA = C @ np.linalg.solve(C.T @ K @ C, C.T)
    for eta in [0.1, 10.0, 1000.0]:
        a = np.linalg.lstsq(K @ K + alpha * K + eta * K @ AA @ K, K @ y)[0]
        model = paper_fit(alpha, penalty=eta, **RBF).fit(X, y, sensitive_features=s)
        assert_allclose(model.predict(X), K @ a, atol=1e-8)
    fair = paper_fit(alpha, **RBF).fit(X, y, sensitive_features=s)
    path = fair.tradeoff(penalty=[0, 1e14, np.inf])
    ends = fair.predict_path(X, path)
    assert_allclose(ends[0], KernelRidge(alpha=alpha, **RBF).fit(X, y).predict(X), atol=1e-10)
    assert_allclose(ends[1], fair.predict(X), atol=1e-9)
    assert_allclose(ends[2], fair.predict(X), atol=1e-12)


def test_fair_kernel_learning_ends_at_the_constraint():
    """The HSIC penalty is the same engine with other features of s and the identity for G."""
    X, y, s = problem()
    onehot = np.eye(3)[s] - np.eye(3)[s].mean(axis=0)
    K = rbf_kernel(X, gamma=0.3)
    coef, product = cholesky_smoother(K.copy(), np.column_stack([y, onehot]), 0.2)
    fitted = product(coef)
    hsic = GapProblem(b=onehot.T @ fitted[:, :1], T=onehot.T @ fitted[:, 1:], G=np.eye(3), to_gap=np.eye(3))
    fair = paper_fit(0.2, **RBF).fit(X, y, sensitive_features=s)
    eta = 40.0
    by_hand = np.linalg.solve(K + 0.2 * np.eye(60) + eta * onehot @ onehot.T @ K, y)
    a = coef[:, :1] - coef[:, 1:] @ hsic.shift(penalty=eta)
    assert_allclose(a[:, 0], by_hand, atol=1e-9)
    a = coef[:, :1] - coef[:, 1:] @ hsic.shift(penalty=1e15)
    assert_allclose(a[:, 0], fair.dual_coef_, atol=1e-8)


def test_path_levels_equal_separate_fits():
    X, y, s = problem()
    Y = np.column_stack([y, np.cos(X[:, 1]) + s])
    new = np.random.default_rng(1).normal(size=(7, 4))
    for fit_intercept, kernel in itertools.product([False, True], ["linear", "rbf"]):
        base = paper_fit(0.5, kernel=kernel, fit_intercept=fit_intercept)
        model = clone(base).fit(X, Y, sensitive_features=s)
        for knob, levels in {"unfairness": [0.0, 0.3, 1.0], "penalty": [0.0, 2.0, 50.0]}.items():
            path = model.tradeoff(**{knob: levels})
            for i, level in enumerate(levels):
                single = clone(base).set_params(**{knob: level}).fit(X, Y, sensitive_features=s)
                assert_allclose(model.predict_path(new, path)[i], single.predict(new), atol=1e-10)
                assert_allclose(path.train_gaps[i], single.gaps_, atol=1e-12)
                assert_allclose(path.train_mse[i], ((Y - single.predict(X)) ** 2).mean(), rtol=1e-9)


@pytest.mark.parametrize("budget", [{"gap_budget": 0.05}, {"gap_budget": [0.3, 0.01, 0.0]}, {"smd_budget": 0.2}])
def test_budgets_are_kept_and_nothing_better_exists(budget):
    X, y, s = problem(groups=3)
    model = paper_fit(0.3, **budget, **RBF).fit(X, y, sensitive_features=s)
    gaps = gaps_of(model.predict(X), s)
    assert_allclose(gaps, model.gaps_, atol=1e-12)
    limit = np.asarray(next(iter(budget.values())), dtype=float)
    if "gap_budget" in budget:
        assert (np.abs(gaps) <= limit + 1e-9).all()
    else:
        assert_allclose(np.abs(gaps).sum(), limit, atol=1e-9)

    ordinary = paper_fit(0.3, **RBF).fit(X, y, sensitive_features=s)
    b = ordinary.unconstrained_gaps_[:2]  # the third follows from the others
    counts = np.bincount(s)
    third = -counts[:2] / counts[2]
    K, C = rbf_kernel(X, gamma=0.3), group_moments(s)[:, :2]
    metric = np.linalg.inv(C.T @ K @ np.linalg.solve(K + 0.3 * np.eye(60), C))

    def cost(t):
        return (b - t) @ metric @ (b - t)

    if "gap_budget" in budget:
        box = np.broadcast_to(limit, 3)
        rules = [{"type": "ineq", "fun": lambda t: box - np.abs(np.append(t, third @ t))}]
    else:
        rules = [{"type": "ineq", "fun": lambda t: limit - np.abs(np.append(t, third @ t)).sum()}]
    starts = np.random.default_rng(0).normal(size=(15, 2)) * 0.05
    best = min(minimize(cost, start, constraints=rules, options={"ftol": 1e-14}).fun for start in starts)
    assert model.fairness_cost_ <= best * (1 + 1e-4) + 1e-9


def test_budget_of_two_groups_clips_and_a_wide_one_is_ordinary():
    X, y, s = problem(groups=2)
    ordinary = paper_fit(0.3, unfairness=1, **RBF).fit(X, y, sensitive_features=s)
    wide = paper_fit(0.3, gap_budget=10, **RBF).fit(X, y, sensitive_features=s)
    assert_allclose(wide.dual_coef_, ordinary.dual_coef_, atol=1e-12)
    tight = paper_fit(0.3, gap_budget=0.02, **RBF).fit(X, y, sensitive_features=s)
    assert_allclose(np.abs(tight.gaps_).max(), 0.02, atol=1e-10)
    closed = paper_fit(0.3, smd_budget=0.0, **RBF).fit(X, y, sensitive_features=s)
    assert_allclose(closed.predict(X), paper_fit(0.3, **RBF).fit(X, y, sensitive_features=s).predict(X))


# --- every penalty, leave-one-out ---------------------------------------------------------------------------------


@pytest.mark.parametrize("knob", [{}, {"unfairness": 0.4}, {"unfairness": 1.0}, {"penalty": 3.0}])
@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_alpha_path_and_leave_one_out(kernel, knob):
    X, y, s = problem(n=25)
    weight = np.random.default_rng(2).uniform(0.5, 2, size=25)
    C = group_moments(s, weight)
    K = rbf_kernel(X, gamma=0.3) if kernel == "rbf" else X @ X.T
    base = paper_fit(kernel=kernel, gamma=0.3, **knob)
    alphas = [0.1, 2.0]
    path = base.alpha_path(X, y, alphas, sensitive_features=s, sample_weight=weight)
    u = knob.get("unfairness", 0.0)
    for j, alpha in enumerate(alphas):
        single = clone(base).set_params(alpha=alpha).fit(X, y, sensitive_features=s, sample_weight=weight)
        assert_allclose(K @ path.dual_coef[j, :, 0], single.predict(X), atol=1e-9)
        assert_allclose(path.train_gaps[j, :, 0], single.gaps_, atol=1e-10)
        assert_allclose(path.train_mse[j], np.average((y - single.predict(X)) ** 2, weights=weight), rtol=1e-9)
        for i in range(25):
            without = np.where(np.arange(25) == i, 0.0, weight)
            ordinary = brute_force(K, y, C[:, :0], alpha, weight=without)
            if "penalty" in knob:
                P = C @ np.linalg.pinv(C.T @ K @ C) @ C.T
                H = K @ np.diag(without) @ K + alpha * K + knob["penalty"] * K @ P @ K
                a = np.linalg.lstsq(H, K @ (without * y), rcond=1e-13)[0]
            else:
                a = (1 - u) * brute_force(K, y, C, alpha, weight=without) + u * ordinary
            assert_allclose(path.loo_predictions[j, i, 0], K[i] @ a, atol=1e-6)
    expected = np.average((y - path.loo_predictions[:, :, 0]) ** 2, axis=1, weights=weight)
    assert_allclose(path.loo_mse, expected, rtol=1e-9)
    assert path.best_alpha == alphas[int(np.argmin(path.loo_mse))]


def test_leave_one_out_with_intercept():
    X, y, s = problem(n=20)
    model = paper_fit(fit_intercept=True, **RBF)
    path = model.alpha_path(X, y + 5, [0.5], sensitive_features=s)
    K, C = rbf_kernel(X, gamma=0.3), group_moments(s)
    for i in range(20):
        w = (np.arange(20) != i).astype(float)
        F = np.column_stack([K, np.ones(20)])  # coefficients and intercept
        H = F.T @ (w[:, None] * F) + 0.5 * np.pad(K, (0, 1))
        A = np.column_stack([C.T @ K, np.zeros(3)])
        kkt = np.block([[H, A.T], [A, np.zeros((3, 3))]])
        a = np.linalg.lstsq(kkt, np.concatenate([F.T @ (w * (y + 5)), np.zeros(3)]), rcond=1e-13)[0][:21]
        assert_allclose(path.loo_predictions[0, i, 0], F[i] @ a, atol=1e-6)


# --- weights, intercept, outputs ----------------------------------------------------------------------------------


@pytest.mark.parametrize("moments", ["groups", "linear", "bins"])
@pytest.mark.parametrize("kernel", ["linear", "rbf"])
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_weights_are_replication(kernel, fit_intercept, moments):
    X, y, s = problem(n=40)
    weight = np.random.default_rng(3).integers(0, 4, size=40)
    again = np.repeat(np.arange(40), weight)
    base = paper_fit(0.4, kernel=kernel, fit_intercept=fit_intercept, moments=moments)
    weighted = clone(base).fit(X, y, sensitive_features=s, sample_weight=weight)
    repeated = clone(base).fit(X[again], y[again], sensitive_features=s[again])
    assert_allclose(weighted.predict(X), repeated.predict(X), atol=1e-9)
    assert_allclose(weighted.fairness_cost_, repeated.fairness_cost_, rtol=1e-8)


def test_intercept_follows_the_target_and_no_intercept_shrinks():
    X, y, s = problem()
    for kernel in ["linear", "rbf"]:
        base = paper_fit(1.0, kernel=kernel, fit_intercept=True)
        at_0 = clone(base).fit(X, y, sensitive_features=s).predict(X)
        at_5 = clone(base).fit(X, y + 5, sensitive_features=s).predict(X)
        assert_allclose(at_5, at_0 + 5, atol=1e-10)
        through_origin = paper_fit(1.0, kernel=kernel).fit(X, y + 5, sensitive_features=s).predict(X)
        assert np.abs(gaps_of(through_origin, s)).max() < 1e-10  # still fair,
        assert np.mean((y + 5 - through_origin) ** 2) > np.mean((y + 5 - at_5) ** 2)  # but a target to centre first


def test_outputs_are_independent():
    X, y, s = problem()
    Y = np.column_stack([y, X[:, 1] ** 2 + s])
    for knob in [{}, {"unfairness": 0.5}, {"penalty": 5.0}, {"gap_budget": 0.1}, {"smd_budget": 0.1}]:
        both = paper_fit(0.3, **knob, **RBF).fit(X, Y, sensitive_features=s)
        for j in range(2):
            one = paper_fit(0.3, **knob, **RBF).fit(X, Y[:, j], sensitive_features=s)
            assert_allclose(both.predict(X)[:, j], one.predict(X), atol=1e-10)
            assert_allclose(both.gaps_[:, j], one.gaps_, atol=1e-12)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_two_samples(kernel):
    model = paper_fit(0.1, kernel=kernel).fit([[0.0], [1.0]], [0.0, 1.0], sensitive_features=["a", "b"])
    f = model.predict([[0.0], [1.0]])
    assert_allclose(f[0], f[1], atol=1e-12)


# --- kernels ------------------------------------------------------------------------------------------------------


def test_precomputed_and_callable_kernels():
    X, y, s = problem()
    expected = paper_fit(0.3, fit_intercept=True, **RBF).fit(X, y, sensitive_features=s).predict(X[:5])
    K = rbf_kernel(X, gamma=0.3)
    before = K.copy()
    model = paper_fit(0.3, kernel="precomputed", fit_intercept=True).fit(K, y, sensitive_features=s)
    assert_allclose(model.predict(K[:5]), expected, atol=1e-11)
    assert np.array_equal(before, K)

    def gaussian(a, b, width):
        return np.exp(-width * ((a - b) ** 2).sum())

    model = paper_fit(0.3, kernel=gaussian, kernel_params={"width": 0.3}, fit_intercept=True)
    assert_allclose(model.fit(X, y, sensitive_features=s).predict(X[:5]), expected, atol=1e-10)


def test_singular_kernel_is_the_minimum_norm_fit():
    X, y, s = problem(n=30)
    twice = np.vstack([X, X])
    target, group = np.concatenate([y, y + 0.2]), np.concatenate([s, s])
    model = paper_fit(0.0, **RBF).fit(twice, target, sensitive_features=group)
    f = model.predict(twice)
    assert np.isfinite(f).all()
    assert np.abs(gaps_of(f, group)).max() < 1e-10
    shift = [f[group == g][0] - (target[:30] + 0.1)[s == g][0] for g in range(3)]
    assert_allclose(f[:30] - (y + 0.1), np.array(shift)[s], atol=1e-6)  # the mean target, less one constant per group


def test_indefinite_kernel_is_refused():
    X, y, s = problem()
    K = rbf_kernel(X, gamma=0.3) - 2 * np.eye(60)
    with pytest.raises(PaperlibError, match="negative eigenvalue"):
        paper_fit(0.1, kernel="precomputed").fit(K, y, sensitive_features=s)


def test_smoother_restores_the_kernel_when_cholesky_fails():
    rng = np.random.default_rng(0)
    B = rng.normal(size=(20, 3))
    K = B @ B.T
    V = rng.normal(size=(20, 2))
    expected = Spectrum.of_kernel(K.copy()).fitted(1e-17, V)
    coef, product = cholesky_smoother(K.copy(), V, 1e-17)
    assert_allclose(product(coef), expected, atol=1e-6)


# --- scikit-learn -------------------------------------------------------------------------------------------------


@parametrize_with_checks(
    [  # unfairness=1 is the one setting that runs without attributes
        MeanParityRegressor(unfairness=1.0),
        MeanParityRegressor(kernel="rbf", unfairness=1.0),
        MeanParityRegressor(alpha=0, unfairness=1.0, fit_intercept=False),
        MeanParityRegressor(kernel="precomputed", unfairness=1.0),
    ],
    expected_failed_checks=lambda one: (
        {}
        if one.kernel != "precomputed"
        else {"check_estimators_dtypes": "its X is random numbers, which are no kernel matrix: refused as indefinite"}
    ),
)
def test_scikit_learn_contract(estimator, check):
    check(estimator)


def test_metadata_routing_through_pipeline_and_grid_search():
    X, y, s = problem(n=90)
    with sklearn.config_context(enable_metadata_routing=True):
        scorer = make_scorer(smd, greater_is_better=False).set_score_request(sensitive_features=True)
        model = paper_fit(kernel="rbf").set_fit_request(sensitive_features=True, sample_weight=True)
        search = GridSearchCV(
            make_pipeline(StandardScaler().set_fit_request(sample_weight=False), model),
            {"meanparityregressor__unfairness": [0.0, 1.0]},
            scoring=scorer,
            cv=3,
        )
        search.fit(X, y, sensitive_features=s, sample_weight=np.ones(90))
    assert search.best_params_ == {"meanparityregressor__unfairness": 0.0}
    assert np.abs(gaps_of(search.predict(X), s)).max() < 1e-10


def test_pickle_and_data_frame_names():
    X, y, s = problem()
    frame = pd.DataFrame(X, columns=list("abcd"))
    model = paper_fit(**RBF).fit(frame, y, sensitive_features=s)
    assert list(model.feature_names_in_) == list("abcd")
    assert_allclose(pickle.loads(pickle.dumps(model)).predict(frame), model.predict(frame))


# --- bad input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"alpha": -1}, "alpha=-1 is not a number of at least 0"),
        ({"alpha": "big"}, "alpha='big'"),
        ({"kernel": "rfb"}, "kernel='rfb' is unknown; did you mean 'rbf'"),
        ({"kernel": 3}, "kernel=3 is neither"),
        ({"unfairness": 1.5}, r"unfairness=1.5 is not a number in \[0, 1\]"),
        ({"unfairness": None}, "unfairness=None"),
        ({"penalty": -2}, "penalty=-2 is not a number of at least 0"),
        ({"penalty": 1.0, "unfairness": 0.5}, "unfairness and penalty are set together"),
        ({"gap_budget": -0.1}, "gap_budget=-0.1"),
        ({"gap_budget": [0.1, 0.1]}, r"gap_budget has 2 entries, but there are 3 gaps: \[0, 1, 2\]"),
        ({"smd_budget": -1}, "smd_budget=-1"),
        ({"moments": "group"}, "moments='group' is unknown; did you mean 'groups'"),
        ({"moments": "poly", "n_moments": 0}, "n_moments=0 is not a whole number of at least 1"),
        ({"moments": lambda S: S[:3]}, "moments returned an array of shape"),
    ],
)
def test_bad_parameters(parameters, message):
    X, y, s = problem()
    with pytest.raises(PaperlibError, match=message):
        paper_fit(**parameters).fit(X, y, sensitive_features=s)


@pytest.mark.parametrize(
    ("sensitive", "parameters", "message"),
    [
        (np.zeros(59), {}, "sensitive_features has 59 rows, but X has 60"),
        (np.zeros((60, 0)), {}, "has no column"),
        (np.zeros((60, 2, 2)), {}, "shape"),
        (np.where(np.arange(60) == 3, np.nan, 1.0), {}, "NaN or None in column 0"),
        (pd.DataFrame({"race": ["a", None] * 30}), {}, "NaN or None in column 'race'"),
        (pd.DataFrame({"race": ["White", "Black"] * 30}), {"moments": "linear"}, "column 'race' .* holds 'White'"),
        (np.where(np.arange(60) == 3, np.inf, 1.0), {"moments": "poly"}, "contains infinity"),
    ],
)
def test_bad_sensitive_features(sensitive, parameters, message):
    X, y, _ = problem()
    with pytest.raises(PaperlibError, match=message):
        paper_fit(**parameters).fit(X, y, sensitive_features=sensitive)


def test_bad_data():
    X, y, s = problem()
    with pytest.raises(ValueError, match="NaN"):
        paper_fit().fit(np.where(X > 2, np.nan, X), y, sensitive_features=s)
    with pytest.raises(ValueError, match="NaN"):
        paper_fit().fit(X, np.where(y > 1, np.nan, y), sensitive_features=s)
    with pytest.raises(PaperlibError, match=r"needs the \(n, n\) kernel matrix"):
        paper_fit(kernel="precomputed").fit(X, y, sensitive_features=s)
    with pytest.raises(PaperlibError, match="none negative"):
        paper_fit().fit(X, y, sensitive_features=s, sample_weight=-np.ones(60))
    with pytest.raises(PaperlibError, match="not all zero"):
        paper_fit().fit(X, y, sensitive_features=s, sample_weight=np.zeros(60))
    model = paper_fit().fit(X, y, sensitive_features=s)
    with pytest.raises(PaperlibError, match="exactly one"):
        model.tradeoff()
    with pytest.raises(PaperlibError, match="unfairness=2"):
        model.tradeoff(unfairness=[0, 2])
    with pytest.raises(PaperlibError, match="linear in y"):
        paper_fit(gap_budget=0.1).alpha_path(X, y, [1.0], sensitive_features=s)
    with pytest.raises(PaperlibError, match="alphas"):
        paper_fit().alpha_path(X, y, [-1.0], sensitive_features=s)
