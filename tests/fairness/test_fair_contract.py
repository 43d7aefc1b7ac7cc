"""scikit-learn's contract for the estimators that need attributes: subclasses that read them off the first input.

The others run the same checks without attributes, in their own files (``unfairness=1``, ``constrained=False``).
"""

import inspect

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.utils.estimator_checks import parametrize_with_checks

from paperlib import fairness
from paperlib.fairness import FairGDRegressor, MeanParityRegressor, StreamedMeanParityRegressor, baselines
from paperlib.fairness.baselines import (
    AdversarialRegressor,
    BoundedGroupLossRegressor,
    BoundedShareRegressor,
    CorrelationRemoverRegressor,
    MeanParityWrapper,
    PenalisedFairRidge,
    ReductionRegressor,
    WassersteinBarycentre,
)


def attribute(X):
    """A group for every row, by itself, whatever a check hands in."""
    try:
        return (np.asarray(X, dtype=float)[:, 0] > 0.5).astype(int)
    except (TypeError, ValueError, IndexError):  # sparse, text, one-dimensional: the estimator is to refuse it
        return np.arange(X.shape[0] if hasattr(X, "shape") else len(X)) % 2


class Fit:
    def fit(self, X, y, sample_weight=None):
        return super().fit(X, y, sensitive_features=attribute(X), sample_weight=sample_weight)


class Both(Fit):
    def predict(self, X):
        return super().predict(X, sensitive_features=attribute(X))


class GroupLoss(Fit, BoundedGroupLossRegressor): ...


class Shift(Both, MeanParityWrapper): ...


class Penalised(Fit, PenalisedFairRidge): ...


class Share(Both, BoundedShareRegressor): ...


class Reduction(Fit, ReductionRegressor): ...


class Remover(Both, CorrelationRemoverRegressor): ...


class Barycentre(Both, WassersteinBarycentre): ...


class Adversary(Fit, AdversarialRegressor): ...


RANDOMISED = "predict draws one of the predictors for every row, in the order of the rows"
STEPS = "a distribution function has steps: the last bit of a prediction says on which side of a training one it is"
SINGLE = "torch's single precision is above the check's 1e-7"
EXPECTED = {
    Reduction: {"check_methods_sample_order_invariance": RANDOMISED, "check_methods_subset_invariance": RANDOMISED},
    Barycentre: {"check_methods_subset_invariance": STEPS, "check_sample_weight_equivalence_on_dense_data": STEPS},
    Adversary: {
        "check_estimators_pickle": "fairlearn's networks are classes made in a function, which pickle refuses",
        "check_methods_subset_invariance": SINGLE,
        "check_sample_weight_equivalence_on_dense_data": SINGLE,
    },
}
NEEDS = {Remover: "fairlearn", Barycentre: "equipy", Adversary: "fairlearn"}
CHECKED = [
    GroupLoss(n_rounds=3),
    Shift(unseen="population"),
    Shift(inside=True, n_rounds=5),
    Penalised(),
    Penalised(penalty="hsic", kernel="rbf"),
    Share(),
    Share(method="frrm"),
    Reduction(n_rounds=5),
    Remover(),
    Barycentre(unseen="population", sigma=0.0),  # its jitter is drawn in the order of the rows
    Adversary(strength=0.1, epochs=150, batch_size=1000, learning_rate=0.02),
]


@parametrize_with_checks(CHECKED, expected_failed_checks=lambda one: EXPECTED.get(type(one), {}))
def test_scikit_learn_contract(estimator, check):
    if type(estimator) in NEEDS:
        pytest.importorskip(NEEDS[type(estimator)])
    check(estimator)


def test_every_public_estimator_is_checked():
    alone = {MeanParityRegressor, StreamedMeanParityRegressor, FairGDRegressor}  # in the files named after them
    here = {base for one in CHECKED for base in type(one).__mro__}
    for room in (fairness, baselines):
        for name in room.__all__:
            found = getattr(room, name)
            if inspect.isclass(found) and issubclass(found, BaseEstimator):
                assert found in alone | here, name
