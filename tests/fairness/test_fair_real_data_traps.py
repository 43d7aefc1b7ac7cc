"""Traps of real data: what must raise, what must warn, and what must hold whatever the numbers look like."""

import inspect
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import RandomForestRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.metrics.pairwise import pairwise_kernels
from sklearn.neighbors import KNeighborsRegressor
from sklearn.tree import DecisionTreeRegressor

from paperlib.errors import PaperlibError
from paperlib.fairness import (
    BoundedGroupLossRegressor,
    FairGDRegressor,
    MeanParityRegressor,
    MeanParityWrapper,
    RegressionFairnessDisplay,
    StreamedMeanParityRegressor,
    covariance_norm,
    demographic_parity_discrepancy,
    interval,
    ks_distance,
    mean_parity_gap,
    smd,
)
from paperlib.fairness.baselines import (
    BASELINES,
    AdversarialRegressor,
    BoundedShareRegressor,
    CorrelationRemoverRegressor,
    PenalisedFairRidge,
    ReductionRegressor,
    WassersteinBarycentre,
    predictions,
)


def problem(seed=0, n=200, groups=2):
    rng = np.random.default_rng(seed)
    s = rng.integers(groups, size=n)
    X = np.column_stack([rng.normal(size=(n, 3)), s])
    X[:, 0] += s
    return X, X[:, 0] + 0.7 * s + 0.3 * rng.normal(size=n), s


def gaps(f, s):
    return np.array([f[s == g].mean() - f.mean() for g in np.unique(s)])


# ------------------------------------------------------------------------------------------------ the gaps are measured


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    groups=st.integers(2, 12),
    kernel=st.sampled_from(["linear", "poly", "rbf"]),
    alpha=st.sampled_from([0.0, 1e-10, 1e-3, 1.0, 1e6]),
    size=st.sampled_from([1e-3, 1.0, 1e3]),
    intercept=st.booleans(),
)
def test_reported_gaps_are_those_of_the_predictions(seed, groups, kernel, alpha, size, intercept):
    X, y, s = problem(seed, n=60, groups=groups)
    model = MeanParityRegressor(alpha, kernel=kernel, fit_intercept=intercept)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        f = model.fit(size * X, y, sensitive_features=s).predict(size * X)
    K = pairwise_kernels(size * X, metric=kernel)
    rounding = np.finfo(float).eps * (np.abs(K) @ np.abs(model.dual_coef_)).max()  # of one prediction
    assert_allclose(gaps(f, s), model.gaps_, atol=1e-8 * np.abs(f).max() + 50 * rounding + 1e-20)


def test_unscaled_polynomial_kernel_closes_the_gaps_it_reports():
    rng = np.random.default_rng(0)
    s = rng.integers(12, size=300)
    X = rng.normal(size=(300, 4)) * 20 + s[:, None]
    y = X[:, 0] / 20 + s / 6 + 0.1 * rng.normal(size=300)
    model = MeanParityRegressor(1e-3, kernel="poly", degree=3).fit(X, y, sensitive_features=s)
    assert np.abs(gaps(model.predict(X), s)).max() < 1e-6
    assert_allclose(model.gaps_, gaps(model.predict(X), s), atol=1e-7)


@pytest.mark.parametrize("alpha", [1e10, 1e17, 1e24])
@pytest.mark.parametrize("intercept", [True, False])
def test_huge_penalty_keeps_the_constraint_of_a_linear_fit(alpha, intercept):
    X, y, s = problem()
    f = MeanParityRegressor(alpha, fit_intercept=intercept).fit(X, y, sensitive_features=s).predict(X)
    moving = f - f.mean() if intercept else f  # with an intercept the rest is of the size 1 / alpha
    assert np.abs(gaps(f, s)).max() < 1e-9 * np.abs(moving).max() + 1e-15 * np.abs(f).max()


def test_budget_of_140_groups_is_met():
    rng = np.random.default_rng(0)
    s = np.repeat(np.arange(140), 3)
    y = rng.normal(size=140)[s] + 0.1 * rng.normal(size=420)
    model = MeanParityRegressor(0.1, smd_budget=0.01).fit(np.eye(140)[s], y, sensitive_features=s)
    assert np.abs(gaps(model.predict(np.eye(140)[s]), s)).sum() <= 0.01 * (1 + 1e-6)


def test_budget_that_cannot_be_met_warns_with_the_value():
    rng = np.random.default_rng(0)
    s = np.repeat([0, 1], 20)
    g = rng.normal(size=40)
    g -= np.where(s == 1, g[s == 1].mean(), g[s == 0].mean()) - 1e-8 * s  # its group means differ by 1e-8
    with pytest.warns(UserWarning, match="smd_budget=1e-12 cannot be met: on the training rows it is"):
        MeanParityRegressor(1.0, kernel="precomputed", smd_budget=1e-12, fit_intercept=False).fit(
            np.outer(g, g), g + s, sensitive_features=s
        )


# --------------------------------------------------------------------------------------------- close values and weights


def test_rbf_moments_do_not_hang_on_the_last_bit():
    rng = np.random.default_rng(1)
    s = np.round(rng.normal(size=80), 1)
    X = np.column_stack([rng.normal(size=(80, 3)), s])
    y = X[:, 0] + s**2
    fit = MeanParityRegressor(0.1, kernel="rbf", moments="rbf")
    close = s.copy()
    close[::2] = np.nextafter(close[::2], np.inf)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        f = fit.fit(X, y, sensitive_features=s).predict(X)
        assert_allclose(fit.fit(X, y, sensitive_features=close).predict(X), f, atol=1e-6)


@pytest.mark.parametrize("moments", ["groups", "linear", "poly", "bins", "rbf"])
def test_integer_weights_are_repeated_rows(moments):
    rng = np.random.default_rng(2)
    s = rng.normal(size=50).round(1)
    X, w = np.column_stack([rng.normal(size=(50, 2)), s]), rng.integers(1, 4, size=50)
    y = X[:, 0] + s
    fit = MeanParityRegressor(0.5, kernel="rbf", moments=moments)
    again = np.repeat(np.arange(50), w)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        weighted = fit.fit(X, y, sensitive_features=s, sample_weight=w).predict(X)
        repeated = fit.fit(X[again], y[again], sensitive_features=s[again]).predict(X)
    assert_allclose(weighted, repeated, atol=1e-6)


WEIGHTED = {
    "constant": BASELINES["constant"](),
    "fkr": PenalisedFairRidge(50.0),
    "fkr, rbf": PenalisedFairRidge(50.0, kernel="rbf"),
    "berk, group": PenalisedFairRidge(5.0, penalty="berk_group"),
    "berk, individual": PenalisedFairRidge(5.0, penalty="berk_individual"),
    "nrfc": BoundedShareRegressor(0.01),
    "frrm": BoundedShareRegressor(0.01, method="frrm", alpha=0.1),
    "rba": ReductionRegressor(0.1, n_rounds=15, alpha=0.1),
    "wrapper": MeanParityWrapper(),
    "wrapper, inside": MeanParityWrapper(KernelRidge(kernel="rbf"), inside=True, unfairness=0.3),
    "bounded group loss": BoundedGroupLossRegressor(bound=0.3, n_rounds=10),
    "remover": CorrelationRemoverRegressor(),
    "barycentre": WassersteinBarycentre(sigma=0.0),
    "adversary": AdversarialRegressor(epochs=5, batch_size=1000),
}


@pytest.mark.parametrize("name", WEIGHTED)
@pytest.mark.parametrize("groups", [2, 3])
def test_weights_of_every_method_are_repeated_rows(name, groups):
    if name in ("remover", "barycentre", "adversary"):
        pytest.importorskip("equipy" if name == "barycentre" else "fairlearn", reason="the extra 'fairness'")
    if groups > 2 and name.startswith("berk"):
        pytest.skip("Berk's penalties compare two groups")
    X, y, s = problem(n=60, groups=groups)
    w = np.random.default_rng(0).integers(0, 4, size=60)
    again = np.repeat(np.arange(60), w)
    Xs, _, ss = problem(
        seed=1, n=60, groups=groups
    )  # other rows: a distribution function has steps at the training ones

    def predictions(X, y, s, **weights):
        model = clone(WEIGHTED[name])
        if name == "constant":
            return model.fit(X, y, **weights).predict(Xs)
        model.fit(X, y, sensitive_features=s, **weights)
        if name == "rba":
            return model.predict_all(Xs) @ model.weights_
        takes = "sensitive_features" in inspect.signature(model.predict).parameters
        return model.predict(Xs, **({"sensitive_features": ss} if takes else {}))

    room = 1e-4 if name == "adversary" else 1e-6  # torch's single precision
    assert_allclose(predictions(X, y, s, sample_weight=w), predictions(X[again], y[again], s[again]), atol=room)
    assert np.abs(predictions(X, y, s, sample_weight=w) - predictions(X, y, s)).max() > 10 * room


def test_weights_of_the_jittered_barycentre_are_repeated_rows_up_to_its_steps():
    pytest.importorskip("equipy", reason="the extra 'fairness'")
    X, y, s = problem(n=400)
    w = np.random.default_rng(0).integers(1, 4, size=400)
    again = np.repeat(np.arange(400), w)
    model = WassersteinBarycentre()
    f = model.fit(X, y, sensitive_features=s, sample_weight=w).predict(X, sensitive_features=s)
    g = model.fit(X[again], y[again], sensitive_features=s[again]).predict(X, sensitive_features=s)
    assert np.mean(np.abs(f - g)) < 0.02 * y.std()  # a copy's jitter moves it by up to w of the 400 steps
    model = WassersteinBarycentre(LinearRegression())  # whose fit does not hang on the unit of the weights
    none = model.fit(X, y, sensitive_features=s).predict(X, sensitive_features=s)
    ones = model.fit(X, y, sensitive_features=s, sample_weight=np.full(400, 1 / 400)).predict(X, sensitive_features=s)
    assert np.mean(np.abs(none - ones)) < 0.01 * y.std()


def test_the_barycentre_of_a_person_is_the_same_alone_and_among_others():
    pytest.importorskip("equipy", reason="the extra 'fairness'")
    X, y, s = problem()
    X_test, _, s_test = problem(seed=1, n=40)
    model = WassersteinBarycentre(sigma=0.0).fit(X, y, sensitive_features=s)
    everyone = model.predict(X_test, sensitive_features=s_test)
    for g in (0, 1):  # equipy by itself leaves a group out of the sum that is not among the rows
        own = s_test == g
        assert_allclose(model.predict(X_test[own], sensitive_features=s_test[own]), everyone[own])


def test_a_group_without_weight_counts_as_absent():
    X, y, s = problem(groups=3)
    w = (s < 2).astype(float)
    for model in (MeanParityWrapper(), WassersteinBarycentre()):
        if isinstance(model, WassersteinBarycentre):
            pytest.importorskip("equipy", reason="the extra 'fairness'")
        model.fit(X, y, sensitive_features=s, sample_weight=w)
        assert model.groups_ == [0, 1]
        with pytest.raises(PaperlibError, match="has the group 2, which the training set has not"):
            model.predict(X, sensitive_features=s)


def test_the_adversary_takes_whole_numbers_for_a_response_and_refuses_bad_settings():
    pytest.importorskip("fairlearn", reason="the extra 'fairness'")
    X, _, s = problem(n=100)
    y = np.repeat([0.0, 1.0], 50)  # standardised: -1 and 1, which fairlearn takes for two classes
    f = AdversarialRegressor(epochs=2).fit(X, y, sensitive_features=s).predict(X)
    assert len(np.unique(f)) > 50
    with pytest.raises(PaperlibError, match="batch_size=0 is not a whole number"):
        AdversarialRegressor(batch_size=0).fit(X, y, sensitive_features=s)


def test_weights_of_gradient_descent_end_at_the_weighted_fit():
    X, y, s = problem(n=60)
    X = X[:, :3]
    w = np.random.default_rng(0).integers(0, 4, size=60)
    model = FairGDRegressor("squared", learning_rate=1e-4, max_iter=20_000)  # a longer step swings
    f = model.fit(X, y, sensitive_features=s, sample_weight=w).predict(X)
    exact = MeanParityRegressor(0.0).fit(X, y, sensitive_features=s, sample_weight=w).predict(X)
    assert_allclose(f, exact, atol=1e-2)


# ------------------------------------------------------------------------------------------------------- silently wrong


def test_lists_keep_their_types():
    X, y, _ = problem(n=6)
    with pytest.raises(PaperlibError, match="contains NaN"):
        MeanParityRegressor().fit(X, y, sensitive_features=["a", "b", np.nan, "a", "b", "a"])
    mixed = [["a", 1.0], ["b", 2.0], ["a", 2.0], ["b", 1.0], ["a", 1.0], ["b", 2.0]]
    model = MeanParityRegressor(moments={0: "groups", 1: "linear"}).fit(X, y, sensitive_features=mixed)
    assert model.gap_labels_ == ["a", "b", 1]


@pytest.mark.parametrize(
    "model", [MeanParityRegressor(), StreamedMeanParityRegressor(n_components=20), FairGDRegressor(max_iter=5)]
)
def test_pandas_rows_are_matched_by_index(model):
    X, y, s = problem()
    order = np.random.default_rng(0).permutation(len(y))
    frame, series = pd.DataFrame(X), pd.Series(s)
    model = model.set_params(random_state=0) if "random_state" in model.get_params() else model
    expected = model.fit(X, y, sensitive_features=s).predict(X)
    moved = model.fit(frame, pd.Series(y).iloc[order], sensitive_features=series.iloc[order]).predict(frame)
    assert_allclose(moved, expected, atol=1e-9)
    with pytest.raises(PaperlibError, match="sensitive_features has another index than X"):
        model.fit(frame, y, sensitive_features=series.set_axis(range(1000, 1000 + len(s))))


EVERY = [
    name for name in BASELINES if name not in ("constant", "krr", "wasserstein", "correlation_remover", "adversarial")
]


@pytest.mark.parametrize("model", [*(BASELINES[name]() for name in EVERY), StreamedMeanParityRegressor(random_state=0)])
def test_without_a_frame_of_inputs_the_response_says_which_row_is_whose(model):
    X, y, s = problem(n=100)
    order = np.random.default_rng(0).permutation(len(y))
    w = np.arange(1.0, 101.0)
    expected = predictions(clone(model).fit(X, y, sensitive_features=s, sample_weight=w), X, s)
    moved = {"sensitive_features": pd.Series(s).iloc[order], "sample_weight": pd.Series(w).iloc[order]}
    assert_allclose(predictions(clone(model).fit(X, pd.Series(y), **moved), X, s), expected, atol=1e-9)
    with pytest.raises(PaperlibError, match="sensitive_features has another index than y"):
        model.fit(X, pd.Series(y), sensitive_features=pd.Series(s, index=range(1000, 1100)))


@pytest.mark.parametrize(
    "model",
    [
        MeanParityWrapper(),
        BoundedGroupLossRegressor(n_rounds=2),
        ReductionRegressor(n_rounds=2),
        FairGDRegressor(max_iter=2),
    ],
)
def test_continuous_attribute_warns_whatever_the_method(model):
    X, y, _ = problem()
    with pytest.warns(UserWarning, match="200 distinct values on 200 samples"):
        model.fit(X, y, sensitive_features=X[:, 0])


@pytest.mark.parametrize("metric", [smd, mean_parity_gap, ks_distance, demographic_parity_discrepancy, covariance_norm])
def test_metrics_refuse_nan_and_wrong_weights(metric):
    _, y, s = problem()
    with pytest.raises(PaperlibError, match="1 values that are NaN"):
        metric(None, np.where(np.arange(len(y)) == 3, np.nan, y), sensitive_features=s)
    with pytest.raises(PaperlibError, match="sample_weight has shape"):
        metric(None, y, sensitive_features=s, sample_weight=np.ones(3))


def test_logistic_loss_refuses_0_and_1():
    X, y, s = problem()
    with pytest.raises(PaperlibError, match=r"give 2 \* y - 1"):
        FairGDRegressor("logistic").fit(X, (y > 0).astype(float), sensitive_features=s)


@settings(max_examples=10, deadline=None)
@given(n=st.integers(100, 2000), decimals=st.integers(1, 6))
def test_continuous_attribute_never_goes_without_a_word(n, decimals):
    rng = np.random.default_rng(n)
    s = np.round(rng.normal(size=n), decimals)
    X = np.column_stack([rng.normal(size=n), s])
    with pytest.warns(UserWarning, match="continuous"):
        MeanParityRegressor(kernel="linear").fit(X, s, sensitive_features=s)


# --------------------------------------------------------------------------------------------------------- one sentence


def test_continuous_attribute_of_many_rows_is_refused_before_it_fills_the_memory():
    s = np.random.default_rng(0).normal(size=300_000)
    with pytest.warns(UserWarning), pytest.raises(PaperlibError, match="300000 distinct values"):
        StreamedMeanParityRegressor(kernel="linear").fit(s[:, None], s, sensitive_features=s)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, X, y, s: m.tradeoff(unfairness=[]), "unfairness=.* is not one or several numbers"),
        (lambda m, X, y, s: m.tradeoff(penalty="a"), "penalty='a' is not one or several numbers"),
        (
            lambda m, X, y, s: m.set_params(gamma="scale").fit(X, y, sensitive_features=s),
            "gamma='scale' is not a number",
        ),
        (lambda m, X, y, s: m.set_params(degree="3").fit(X, y, sensitive_features=s), "degree='3' is not a number"),
        (lambda m, X, y, s: m.set_params(gap_budget="a").fit(X, y, sensitive_features=s), "gap_budget='a' is not one"),
        (lambda m, X, y, s: m.set_params(smd_budget="a").fit(X, y, sensitive_features=s), "smd_budget='a' is not a"),
        (lambda m, X, y, s: m.fit(X, y, sensitive_features=s, sample_weight=2.0), "sample_weight has shape"),
        (lambda m, X, y, s: m.fit(X, y, sensitive_features=s, sample_weight="a"), "sample_weight='a' is not"),
        (
            lambda m, X, y, s: m.fit(X, y, sensitive_features=pd.DataFrame(np.c_[s, s], columns=["a", "a"])),
            "two columns named 'a'",
        ),
        (lambda m, X, y, s: PenalisedFairRidge("a").fit(X, y, sensitive_features=s), "eta='a' is not a number"),
        (lambda m, X, y, s: BoundedShareRegressor("a").fit(X, y, sensitive_features=s), "unfairness='a' is not"),
        (lambda m, X, y, s: ReductionRegressor("a").fit(X, y, sensitive_features=s), "epsilon='a' is not"),
        (
            lambda m, X, y, s: m.fit(X[:3], y[:3], sensitive_features=[[1], [1, 2], [3]]),
            r"sensitive_features has shape \(3,\) of lists; give one value per sample",
        ),
        (
            lambda m, X, y, s: m.fit(X, y, sensitive_features={"a": s, "b": s[:10]}),
            r"sensitive_features\['b'\] has shape \(10,\); give 200 values",
        ),
        (
            lambda m, X, y, s: m.fit(
                np.zeros((4000, 2)),
                np.zeros(4000),
                sensitive_features=np.arange(4000) % 2,
                control_features=np.arange(4000),
            ),
            "control_features has 4000 distinct values and the constraint takes each by itself, at most 3000",
        ),
        (
            lambda m, X, y, s: ReductionRegressor().fit(
                np.zeros((4000, 2)), np.arange(4000.0), sensitive_features=np.arange(4000.0)
            ),
            "sensitive_features has 4000 distinct values and this method takes each by itself",
        ),
        (
            lambda m, X, y, s: PenalisedFairRidge(kernel_s="x").fit(X, y, sensitive_features=s),
            "kernel_s='x' is unknown",
        ),
        (lambda m, X, y, s: MeanParityWrapper("a").fit(X, y, sensitive_features=s), "estimator='a' is no scikit-learn"),
        (lambda m, X, y, s: MeanParityWrapper(unseen="x").fit(X, y, sensitive_features=s), "unseen='x' is unknown"),
    ],
)
def test_bad_input_gets_one_sentence(call, message):
    X, y, s = problem()
    model = MeanParityRegressor().fit(X, y, sensitive_features=s)
    with pytest.raises(PaperlibError, match=message):
        call(model, X, y, s)


# ------------------------------------------------------------------------------------------------------------- features


def test_mean_parity_is_least_squares_less_its_group_mean():
    X, y, s = problem(groups=4)
    X = np.column_stack([X[:, :3], np.eye(4)[s]])
    X_test, _, s_test = problem(seed=1, groups=4)
    X_test = np.column_stack([X_test[:, :3], np.eye(4)[s_test]])
    ours = MeanParityRegressor(0.0).fit(X, y, sensitive_features=s)
    shifted = MeanParityWrapper(LinearRegression()).fit(X, y, sensitive_features=s)
    assert_allclose(ours.predict(X_test), shifted.predict(X_test, sensitive_features=s_test), atol=1e-10)
    half = MeanParityRegressor(0.0, unfairness=0.5).fit(X, y, sensitive_features=s)
    shifted = MeanParityWrapper(LinearRegression(), unfairness=0.5).fit(X, y, sensitive_features=s)
    assert_allclose(half.predict(X_test), shifted.predict(X_test, sensitive_features=s_test), atol=1e-10)
    ridge = MeanParityWrapper(Ridge(50.0)).fit(X, y, sensitive_features=s).predict(X_test, sensitive_features=s_test)
    assert np.abs(MeanParityRegressor(50.0).fit(X, y, sensitive_features=s).predict(X_test) - ridge).max() > 1e-2


def test_intercept_beats_the_mean_where_the_target_is_far_from_zero():
    X, y, s = problem()
    constant = DummyRegressor().fit(X, y + 50).score(X, y + 50)
    for model in (MeanParityRegressor(), FairGDRegressor("squared", learning_rate=0.05), BASELINES["nrfc"]()):
        keywords = {"sensitive_features": s} if isinstance(model, BoundedShareRegressor) else {}
        f = model.fit(X, y + 50, sensitive_features=s).predict(X, **keywords)
        assert 1 - np.mean((y + 50 - f) ** 2) / np.var(y) > constant


def test_control_features_close_the_gaps_inside_every_stratum_only():
    X, y, s = problem(n=400)
    c = np.random.default_rng(0).integers(3, size=400) + 0 * s
    c[s == 1] = np.maximum(c[s == 1], 1)  # the groups differ in c
    y = y + 2 * c
    model = MeanParityRegressor(0.1, kernel="rbf").fit(np.c_[X, c], y, sensitive_features=s, control_features=c)
    f = model.predict(np.c_[X, c])
    for value in (1, 2):
        assert np.abs(gaps(f[c == value], s[c == value])).max() < 1e-10
    assert np.abs(gaps(f, s)).max() > 0.1
    assert (1, 0) in model.gap_labels_ and (0, 1) not in model.gap_labels_


def test_mixed_attributes_each_have_their_own_moments():
    X, y, s = problem(n=300)
    age = np.random.default_rng(0).normal(size=300) + s
    frame = pd.DataFrame({"sex": np.where(s, "m", "f"), "age": age})
    model = MeanParityRegressor(0.1, kernel="rbf", moments={"sex": "groups", "age": "linear"})
    f = model.fit(np.c_[X, age], y + age, sensitive_features=frame).predict(np.c_[X, age])
    assert np.abs(gaps(f, s)).max() < 1e-10 and abs(np.cov(f, age)[0, 1]) < 1e-10
    with pytest.raises(PaperlibError, match=r"moments has the keys \['sex'\]"):
        MeanParityRegressor(moments={"sex": "groups"}).fit(X, y, sensitive_features=frame)


def test_bounded_group_loss_lowers_the_worst_group():
    rng = np.random.default_rng(0)
    s = (rng.random(400) < 0.1).astype(int)
    X = rng.normal(size=(400, 2))
    y = np.where(s == 1, -2 * X[:, 0], X[:, 0]) + 0.1 * rng.normal(size=400)

    def worst(f):
        return max(np.mean((y - f)[s == g] ** 2) for g in (0, 1))

    plain, least = worst(Ridge().fit(X, y).predict(X)), BoundedGroupLossRegressor(n_rounds=200)
    f = least.fit(X, y, sensitive_features=s).predict(X)
    assert worst(f) < 0.6 * plain
    assert_allclose(max(least.group_loss_), worst(f))
    best = min(np.max([np.mean((y - b * X[:, 0])[s == g] ** 2) for g in (0, 1)]) for b in np.linspace(-2, 1, 301))
    assert worst(f) < 1.1 * best
    bound = 0.5 * (plain + best)
    bounded = BoundedGroupLossRegressor(bound=bound, n_rounds=200).fit(X, y, sensitive_features=s)
    assert worst(bounded.predict(X)) < 1.1 * bound


@pytest.mark.parametrize("estimator", [Ridge(5.0), LinearRegression(), KernelRidge(alpha=0.5, kernel="rbf")])
def test_constraint_inside_a_linear_smoother_is_mean_parity(estimator):
    X, y, s = problem(groups=5)
    y = y - y.mean()
    w = np.random.default_rng(0).integers(1, 4, size=len(y))
    model = MeanParityWrapper(estimator, inside=True, unfairness=0.3).fit(X, y, sensitive_features=s, sample_weight=w)
    kernel = "rbf" if isinstance(estimator, KernelRidge) else "linear"
    ours = MeanParityRegressor(getattr(estimator, "alpha", 0.0), kernel=kernel, fit_intercept=kernel == "linear")
    ours.fit(X, y, sensitive_features=s, sample_weight=w)
    levels = [0.0, 0.3, 1.0]
    expected = ours.predict_path(X, ours.tradeoff(unfairness=levels))
    assert_allclose(model.predict_path(X, levels), expected, atol=1e-6)
    assert_allclose(model.predict(X), expected[1], atol=1e-6)


@pytest.mark.parametrize("cv", [None, 3])
def test_constraint_inside_a_forest_needs_no_attribute_to_predict(cv):
    X, y, s = problem(n=300)
    forest = RandomForestRegressor(20, random_state=0)
    model = MeanParityWrapper(forest, inside=True, cv=cv).fit(X, y, sensitive_features=s)
    assert np.abs(model.gaps_).max() < 1e-2 * np.abs(model.unconstrained_gaps_).max()
    if cv is None:
        assert_allclose(gaps(model.predict(X), s), model.gaps_, atol=1e-12)
        assert_allclose(gaps(model.predict_path(X, [0.5])[0], s), 0.5 * (model.gaps_ + model.unconstrained_gaps_))
    assert np.mean((y - model.predict(X)) ** 2) < np.var(y)


def test_constraint_inside_a_regressor_that_cannot_keep_it_warns():
    X, y, s = problem()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # no gap to close: two groups of the same people
        twice = np.tile(np.arange(2), (200, 1)).T.ravel()
        MeanParityWrapper(inside=True).fit(np.vstack([X, X]), np.tile(y, 2), sensitive_features=twice)
    with pytest.warns(UserWarning, match="n_rounds=30 fits closed the gaps of this estimator to"):
        MeanParityWrapper(DecisionTreeRegressor(max_depth=1), inside=True).fit(X, y, sensitive_features=s)
    with pytest.raises(PaperlibError, match=r"estimator=.* takes none"):
        model = MeanParityWrapper(KNeighborsRegressor(), inside=True)
        model.fit(X, y, sensitive_features=s, sample_weight=np.ones(len(y)))


def test_cross_fitting_estimates_the_means_of_rows_that_the_tree_has_not_seen():
    X, y, s = problem(n=300)
    X = X[:, 1:3]  # nothing tells the group
    y = y + 3 * (s == 1) * (np.random.default_rng(0).random(300) < 0.5)
    inside, outside = (
        MeanParityWrapper(DecisionTreeRegressor(random_state=0), cv=cv).fit(X, y, sensitive_features=s)
        for cv in (None, 5)
    )
    assert abs(np.diff(outside.shift_)[0]) < 0.3 * abs(np.diff(inside.shift_)[0])


@pytest.mark.parametrize("name", ["mean_shift", "wasserstein"])
def test_unseen_group_is_a_choice(name):
    if name == "wasserstein":
        pytest.importorskip("equipy", reason="the extra 'fairness'")
    X, y, s = problem()
    model = BASELINES[name](unseen="population").fit(X, y, sensitive_features=s)
    other = np.where(np.arange(len(s)) == 0, 7, s)
    f = model.predict(X, sensitive_features=other)
    assert_allclose(f[0], model.estimator_.predict(X)[0])
    with pytest.raises(PaperlibError, match="unseen='population'"):
        BASELINES[name]().fit(X, y, sensitive_features=s).predict(X, sensitive_features=other)


def test_bootstrap_interval_covers_the_gap_of_the_population():
    inside = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        s = rng.integers(2, size=300)
        low, high = interval(smd, None, rng.normal(size=300) + 0.5 * s, sensitive_features=s, n_resamples=200)
        inside += low <= 0.5 <= high
    assert inside >= 34  # 95 % of 40 is 38


def test_bootstrap_resamples_the_weights_with_their_people():
    rng = np.random.default_rng(0)
    s = np.repeat([0, 1], 100)
    w = np.where(np.arange(200) % 2, 0.0, 1.0)  # of every group half the people do not count
    f = s * np.where(w > 0, 1.0, 50.0) + 1e-3 * rng.normal(size=200)
    low, high = interval(smd, None, f, sensitive_features=s, sample_weight=w, n_resamples=100)
    assert 0.99 < low <= high < 1.01


@pytest.mark.parametrize("metric", [smd, mean_parity_gap, ks_distance, demographic_parity_discrepancy, covariance_norm])
def test_metrics_match_pandas_rows_by_index(metric):
    _, y, s = problem()
    w = np.random.default_rng(0).random(len(y))
    options = {"method": "to_overall"} if metric in (mean_parity_gap, ks_distance) else {}
    expected = metric(None, y, sensitive_features=s, sample_weight=w, **options)
    order = np.random.default_rng(1).permutation(len(y))
    moved = {"sensitive_features": pd.Series(s).iloc[order], "sample_weight": pd.Series(w).iloc[order]}
    assert_allclose(metric(None, pd.Series(y), **moved, **options), expected)
    assert_allclose(metric(pd.Series(y), y, **moved, **options), expected)  # predictions of an estimator: an array


def test_display_draws_the_path_of_the_estimator():
    pytest.importorskip("matplotlib").use("Agg")
    X, y, s = problem()
    model = MeanParityRegressor().fit(X, y, sensitive_features=s)
    shown = model.plot_tradeoff(X, y, s, levels=[0.0, 0.5, 1.0])
    assert shown.line_.get_xydata().shape == (3, 2)
    assert_allclose(shown.unfairness, [0.0, 0.5 * shown.unfairness[-1], shown.unfairness[-1]], atol=1e-12)
    wrapper = MeanParityWrapper(LinearRegression()).fit(X, y, sensitive_features=s)
    path = RegressionFairnessDisplay.from_estimator(wrapper, X, y, s, levels=[0.0, 1.0], sample_weight=np.ones(len(y)))
    assert_allclose(path.unfairness, [0.0, smd(y, wrapper.estimator_.predict(X), sensitive_features=s)], atol=1e-12)
    both = RegressionFairnessDisplay([0.1], [0.2]).plot(ax=shown.ax_, marker="o")
    assert both.ax_ is shown.ax_ and len(shown.ax_.lines) == 2


@pytest.mark.parametrize("estimator", [MeanParityRegressor(), StreamedMeanParityRegressor(), FairGDRegressor()])
def test_a_constant_that_is_left_out_is_said(estimator):
    X, s = np.random.default_rng(0).normal(size=(60, 3)), np.arange(60) % 2
    y = X[:, 0] - X[:, 0].mean()
    with pytest.warns(UserWarning, match=r"fit_intercept=False, but y has the mean 5; centre y"):
        clone(estimator).set_params(fit_intercept=False).fit(X, y + 5, sensitive_features=s)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clone(estimator).set_params(fit_intercept=False).fit(X, y, sensitive_features=s)
        clone(estimator).fit(X, y + 5, sensitive_features=s)
    with pytest.raises(PaperlibError, match="fit_intercept='no' must be True or False"):
        clone(estimator).set_params(fit_intercept="no").fit(X, y, sensitive_features=s)
