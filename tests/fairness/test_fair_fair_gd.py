"""Fair-GD: the fair space is never left, the losses and their slopes, convergence to the closed form."""

from functools import partial

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.utils.estimator_checks import parametrize_with_checks

from paperlib.errors import PaperlibError
from paperlib.fairness import FairGDRegressor, MeanParityRegressor, smd, smooth_l1
from paperlib.fairness.fair_gd import LOSSES

paper_gd = partial(FairGDRegressor, fit_intercept=False)  # the paper centres y

paper_fit = partial(MeanParityRegressor, fit_intercept=False)  # the paper centres y


def problem(n=80, seed=0):
    rng = np.random.default_rng(seed)
    s = rng.integers(2, size=n)
    X = np.column_stack([rng.normal(size=(n, 3)), s - s.mean()])
    X[:, 0] += s
    y = X @ np.array([1.0, -0.5, 0.3, 1.0]) + 0.1 * rng.normal(size=n)
    return X, y - y.mean(), s


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_every_iterate_is_fair(kernel, loss):
    X, y, s = problem()
    target = np.where(y > 0, 1.0, -1.0) if loss == "logistic" else y
    options = {"loss": loss, "kernel": kernel, "learning_rate": 1e-2, "max_iter": 100}
    fair = paper_gd(**options).fit(X, target, sensitive_features=s)
    free = paper_gd(**options, constrained=False).fit(X, target)
    steps = list(fair.staged_predict(X))
    assert len(steps) == len(fair.recorded_steps_) == 11
    for f in steps:
        assert smd(None, f, sensitive_features=s) < 1e-12
    assert_allclose(steps[-1], fair.predict(X), atol=1e-14)
    assert smd(None, free.predict(X), sensitive_features=s) > 0.1
    assert fair.loss_curve_[-1] < 0.9 * fair.loss_curve_[0]
    assert free.loss_curve_[-1] < fair.loss_curve_[-1]


def test_squared_loss_converges_to_the_closed_form():
    X, y, s = problem()
    for fair in (True, False):
        exact = paper_fit(alpha=0, unfairness=float(not fair)).fit(X, y, sensitive_features=s)
        model = paper_gd("squared", learning_rate=1e-3, max_iter=10_000, constrained=fair)
        model.fit(X, y, sensitive_features=s)
        best = np.argmin(model.loss_curve_[model.recorded_steps_])  # Adam at a fixed rate leaves the optimum again
        assert_allclose(list(model.staged_predict(X))[best], exact.predict(X), atol=1e-9)
        assert_allclose(X.T @ model.dual_coef_, model.coef_, atol=1e-10)


def test_linear_factor_and_kernel_matrix_take_the_same_steps():
    X, y, s = problem()
    options = {"learning_rate": 1e-3, "max_iter": 50, "record_every": 25}
    by_factor = paper_gd(**options).fit(X, y, sensitive_features=s)
    by_matrix = paper_gd(kernel=lambda a, b: a @ b, **options).fit(X, y, sensitive_features=s)
    assert_allclose(by_matrix.loss_curve_, by_factor.loss_curve_, rtol=1e-8)
    assert_allclose(by_matrix.predict(X[:5]), by_factor.predict(X[:5]), atol=1e-8)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_slopes(name):
    rng = np.random.default_rng(0)
    f, step = 2 * rng.normal(size=50), 1e-6
    y = np.where(rng.random(50) < 0.5, -1.0, 1.0)
    value, slope = LOSSES[name](y, f)
    numeric = (LOSSES[name](y, f + step)[0] - LOSSES[name](y, f - step)[0]) / (2 * step)
    assert (value >= 0).all()
    assert_allclose(slope, numeric, atol=1e-6)


def test_smooth_l1_is_the_loss_of_torch():
    torch = pytest.importorskip("torch", reason="needs torch to compare with")
    rng = np.random.default_rng(0)
    y, f = rng.normal(size=(2, 30))
    for beta in (0.1, 1.0):
        theirs = torch.nn.functional.smooth_l1_loss(torch.tensor(f), torch.tensor(y), beta=beta)
        assert_allclose(smooth_l1(beta)(y, f)[0].mean(), theirs.item(), rtol=1e-12)


@parametrize_with_checks([FairGDRegressor(max_iter=200, learning_rate=0.05, constrained=False)])
def test_scikit_learn_contract(estimator, check):
    check(estimator)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"loss": "smooth_l2"}, "did you mean 'smooth_l1'"),
        ({"kernel": "rfb"}, "did you mean 'rbf'"),
        ({"learning_rate": 0}, "learning_rate=0 is not a number above 0"),
        ({"max_iter": 0}, "max_iter=0"),
        ({"record_every": 1.5}, "record_every=1.5"),
    ],
)
def test_bad_parameters(parameters, message):
    X, y, s = problem()
    with pytest.raises(PaperlibError, match=message):
        paper_gd(**parameters).fit(X, y, sensitive_features=s)
    with pytest.raises(PaperlibError, match="beta=0 is not a number above 0"):
        smooth_l1(0)
