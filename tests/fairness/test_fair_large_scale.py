"""The streamed estimator against the exact one."""

from functools import partial

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.kernel_approximation import Nystroem
from sklearn.utils.estimator_checks import parametrize_with_checks

from paperlib.errors import PaperlibError
from paperlib.fairness import MeanParityRegressor, StreamedMeanParityRegressor, smd

streamed_fit = partial(StreamedMeanParityRegressor, fit_intercept=False)  # the paper centres y

paper_fit = partial(MeanParityRegressor, fit_intercept=False)  # the paper centres y


def problem(n=400, seed=0):
    rng = np.random.default_rng(seed)
    s = rng.integers(3, size=n)
    X = rng.normal(size=(n, 3))
    X[:, 0] += s
    y = np.sin(X[:, 0]) + 0.7 * s + 0.1 * rng.normal(size=n)
    return X, y, s


@pytest.mark.parametrize("approximation", ["nystroem", "fourier"])
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_train_gap_is_zero_whatever_the_approximation(approximation, fit_intercept):
    X, y, s = problem()
    options = {"approximation": approximation, "fit_intercept": fit_intercept, "chunk_size": 64, "random_state": 0}
    for n_components in [5, 50]:
        model = streamed_fit(0.1, n_components=n_components, **options).fit(X, y, sensitive_features=s)
        assert smd(None, model.predict(X), sensitive_features=s) < 1e-10
        assert np.abs(model.gaps_).max() < 1e-12
        assert np.abs(model.unconstrained_gaps_).max() > 0.1


@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("knob", [{}, {"unfairness": 0.3}, {"penalty": 2.0}, {"gap_budget": 0.05}, {"smd_budget": 0.1}])
def test_linear_kernel_is_exact(fit_intercept, knob):
    X, y, s = problem()
    Y = np.column_stack([y, X[:, 1] + s])
    weight = np.random.default_rng(1).uniform(size=400)
    options = {"kernel": "linear", "fit_intercept": fit_intercept, **knob}
    exact = paper_fit(0.5, **options).fit(X, Y, sensitive_features=s, sample_weight=weight)
    model = streamed_fit(0.5, chunk_size=37, **options)
    model.fit(X, Y, sensitive_features=s, sample_weight=weight)
    assert_allclose(model.predict(X), exact.predict(X), atol=1e-9)
    assert_allclose(model.coef_, exact.coef_, atol=1e-9)
    assert_allclose(model.gaps_, exact.gaps_, atol=1e-10)
    assert_allclose(model.fairness_cost_, exact.fairness_cost_, rtol=1e-8)
    for levels in [{"unfairness": [0.0, 0.5, 1.0]}, {"penalty": [0.0, 3.0, 1e6]}]:
        ours, theirs = model.tradeoff(**levels), exact.tradeoff(**levels)
        assert_allclose(ours.train_mse, theirs.train_mse, rtol=1e-8)
        assert_allclose(ours.objective, theirs.objective, rtol=1e-8)
        assert_allclose(ours.train_smd, theirs.train_smd, atol=1e-9)
        assert_allclose(model.predict_path(X, ours), exact.predict_path(X, theirs), atol=1e-9)


def test_all_rows_as_landmarks_is_exact_and_chunks_do_not_matter():
    X, y, s = problem(n=150)
    exact = paper_fit(0.5, kernel="rbf", gamma=0.3).fit(X, y, sensitive_features=s)
    model = streamed_fit(0.5, gamma=0.3, n_components=150).fit(X, y, sensitive_features=s)
    assert_allclose(model.predict(X), exact.predict(X), atol=1e-6)
    base = streamed_fit(0.5, gamma=0.3, n_components=20, random_state=0)
    one = clone(base).fit(X, y, sensitive_features=s).predict(X)
    many = clone(base).set_params(chunk_size=7).fit(X, y, sensitive_features=s).predict(X)
    assert_allclose(many, one, atol=1e-9)


def test_features_approximate_the_kernel():
    X, y, s = problem(n=600)
    exact = paper_fit(1.0, kernel="rbf", gamma=0.1).fit(X, y, sensitive_features=s).predict(X)
    error = {}
    for approximation in ["nystroem", "fourier"]:
        model = streamed_fit(1.0, gamma=0.1, approximation=approximation, n_components=100, random_state=0).fit(
            X, y, sensitive_features=s
        )
        error[approximation] = np.sqrt(np.mean((model.predict(X) - exact) ** 2)) / np.std(exact)
    assert error["nystroem"] < 0.02
    assert error["fourier"] < 0.3
    assert error["nystroem"] < error["fourier"]
    # the same subspace as scikit-learn's Nystroem on the same landmarks
    model = streamed_fit(1.0, gamma=0.1, n_components=30, random_state=0).fit(X, y, sensitive_features=s)
    phi = Nystroem(gamma=0.1, n_components=30, random_state=0).fit(model.landmarks_).transform(X)
    linear = paper_fit(1.0).fit(phi, y, sensitive_features=s)
    assert_allclose(model.predict(X), linear.predict(phi), atol=1e-4)


def test_memory_map(tmp_path):
    X, y, s = problem()
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    base = streamed_fit(random_state=0, n_components=30)
    assert_allclose(
        clone(base).fit(mapped, y, sensitive_features=s).predict(mapped),
        clone(base).fit(X, y, sensitive_features=s).predict(X),
    )


@parametrize_with_checks([StreamedMeanParityRegressor(random_state=0, unfairness=1.0)])
def test_scikit_learn_contract(estimator, check):
    check(estimator)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"approximation": "nystrom"}, "did you mean 'nystroem'"),
        ({"approximation": "fourier", "kernel": "poly"}, "use approximation='nystroem'"),
        ({"kernel": "precomputed"}, "use MeanParityRegressor"),
        ({"n_components": 0}, "n_components=0 is not a whole number"),
        ({"chunk_size": 2.5}, "chunk_size=2.5"),
        ({"alpha": -1.0}, "alpha=-1.0"),
    ],
)
def test_bad_parameters(parameters, message):
    X, y, s = problem(n=30)
    with pytest.raises(PaperlibError, match=message):
        streamed_fit(**parameters).fit(X, y, sensitive_features=s)
