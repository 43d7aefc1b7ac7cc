"""What fairness is asked of: containers of the attribute, groups, covariances and other moments."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.kernel_ridge import KernelRidge

from paperlib.fairness import smd
from tests.fairness.problems import RBF, gaps_of, paper_fit, problem


def test_containers_of_the_attribute_are_equivalent():
    X, y, s = problem()
    text = np.array(["a", "b", "c"])[s]
    two = (X[:, 1] > 0).astype(int)
    one_column = [s, s.tolist(), s[:, None], pd.Series(s, index=range(100, 160)), pd.DataFrame({"g": text}), text]
    one_column += [pd.Series(text, dtype="category"), {"g": text}]
    fits = [paper_fit(**RBF).fit(X, y, sensitive_features=S).dual_coef_ for S in one_column]
    for other in fits[1:]:
        assert_allclose(other, fits[0], atol=1e-11)
    several = [np.column_stack([s, two]), pd.DataFrame({"g": text, "h": two}), {"g": text, "h": two}]
    fits = [paper_fit(**RBF).fit(X, y, sensitive_features=S) for S in several]
    for other in fits[1:]:
        assert_allclose(other.dual_coef_, fits[0].dual_coef_, atol=1e-11)
    assert fits[1].gap_labels_ == [(g, h) for g in "abc" for h in (0, 1)]
    assert len(fits[1].gaps_) == 6


def test_intersections_are_stronger_than_marginals_than_covariances():
    X, y, s = problem(groups=3)
    two = (X[:, 1] + 0.3 * s > 0).astype(int)
    S = np.column_stack([s, two])
    joint = s * 2 + two
    cost = {}
    for moments in ["groups", "marginal", "linear"]:
        model = paper_fit(0.3, moments=moments, **RBF).fit(X, y, sensitive_features=S)
        f = model.predict(X)
        cost[moments] = model.fairness_cost_
        assert_allclose(np.cov(f, s)[0, 1], 0, atol=1e-10)
        if moments != "linear":
            assert np.abs(gaps_of(f, s)).max() < 1e-10
            assert np.abs(gaps_of(f, two)).max() < 1e-10
        assert (np.abs(gaps_of(f, joint)).max() < 1e-10) == (moments == "groups")
    assert cost["groups"] > cost["marginal"] > cost["linear"]


def test_covariance_equals_mean_parity_for_one_binary_attribute_and_for_one_hot():
    X, y, s = problem(groups=2)
    fair = paper_fit(**RBF).fit(X, y, sensitive_features=s).predict(X)
    assert_allclose(paper_fit(moments="linear", **RBF).fit(X, y, sensitive_features=s).predict(X), fair)
    X, y, s = problem(groups=3)
    fair = paper_fit(**RBF).fit(X, y, sensitive_features=s).predict(X)
    onehot = paper_fit(moments="linear", **RBF).fit(X, y, sensitive_features=np.eye(3)[s]).predict(X)
    assert_allclose(onehot, fair, atol=1e-10)


def test_any_kernel_that_separates_the_values_gives_mean_parity():
    X, y, s = problem(groups=4)
    fair = paper_fit(**RBF).fit(X, y, sensitive_features=s).predict(X)
    for options in [{"moments": "rbf"}, {"moments": "poly", "n_moments": 3}, {"moments": "bins", "n_moments": 60}]:
        f = paper_fit(**options, **RBF).fit(X, y, sensitive_features=s).predict(X)
        assert_allclose(f, fair, atol=1e-9)
    too_few = paper_fit(moments="poly", n_moments=2, **RBF).fit(X, y, sensitive_features=s).predict(X)
    assert np.abs(too_few - fair).max() > 1e-3


def test_continuous_attribute_through_finite_moments():
    rng = np.random.default_rng(5)
    X = rng.normal(size=(120, 3))
    s = X[:, 0] + 0.3 * rng.normal(size=120)
    y = X[:, 0] + X[:, 1] + s**2
    y -= y.mean()
    fits = {}
    options = {"linear": {}, "poly": {"n_moments": 3}, "bins": {"n_moments": 4}}
    for moments, more in options.items():
        fits[moments] = paper_fit(0.3, moments=moments, **more, **RBF).fit(X, y, sensitive_features=s)
    f = fits["linear"].predict(X)
    assert abs(np.cov(f, s)[0, 1]) < 1e-12
    f = fits["poly"].predict(X)
    assert max(abs(np.cov(f, s**p)[0, 1]) for p in (1, 2, 3)) < 1e-11
    f = fits["bins"].predict(X)
    quarter = np.argsort(np.argsort(s)) // 30
    assert np.abs(gaps_of(f, quarter)).max() < 1e-10
    custom = paper_fit(0.3, moments=lambda S: np.hstack([S, S**2, S**3]), **RBF)
    assert_allclose(custom.fit(X, y, sensitive_features=s).predict(X), fits["poly"].predict(X), atol=1e-8)
    spread = {name: np.var(model.predict(X)) for name, model in fits.items()}

    for moments in ["groups", "rbf"]:
        universal = paper_fit(0.3, moments=moments, **RBF)
        with pytest.warns(UserWarning, match="universal kernel on a continuous attribute"):
            universal.fit(X, y, sensitive_features=s)
        assert np.var(universal.predict(X)) < 0.9 * min(spread.values())
    everyone = paper_fit(0.3, **RBF)
    with pytest.warns(UserWarning, match="use moments='linear'"):
        everyone.fit(X, y, sensitive_features=s)
    assert np.ptp(everyone.predict(X)) < 1e-9  # every person a group: only a constant is fair


def test_constant_attribute_warns_and_changes_nothing():
    X, y, _ = problem()
    model = paper_fit(**RBF)
    with pytest.warns(UserWarning, match="constant on the training data"):
        model.fit(X, y, sensitive_features=np.ones(60))
    assert_allclose(model.predict(X), KernelRidge(**RBF).fit(X, y).predict(X), atol=1e-10)
    assert_allclose(model.gaps_, [0.0])


def test_duplicate_attribute_and_a_group_without_weight():
    X, y, s = problem()
    fair = paper_fit(**RBF).fit(X, y, sensitive_features=s)
    doubled = paper_fit(moments="marginal", **RBF).fit(X, y, sensitive_features=np.column_stack([s, s]))
    assert_allclose(doubled.predict(X), fair.predict(X), atol=1e-10)
    kept = s != 2
    absent = paper_fit(**RBF).fit(X, y, sensitive_features=s, sample_weight=kept.astype(float))
    dropped = paper_fit(**RBF).fit(X[kept], y[kept], sensitive_features=s[kept])
    assert_allclose(absent.predict(X), dropped.predict(X), atol=1e-10)
    assert absent.gaps_[2] == 0


def test_group_seen_only_at_predict_time():
    X, y, s = problem()
    known = s < 2
    inputs = np.column_stack([X, s])
    f = paper_fit(**RBF).fit(inputs[known], y[known], sensitive_features=s[known]).predict(inputs)
    assert np.isfinite(f).all()
    assert np.abs(gaps_of(f[known], s[known])).max() < 1e-10
    assert smd(None, f, sensitive_features=s) > 0
