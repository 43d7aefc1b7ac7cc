"""Fair regressions to compare with, as scikit-learn estimators; introduced in ``06_mp_fair_regression.ipynb``.

All take ``fit(X, y, *, sensitive_features=...)``, but for ``constant``; those that need the attribute of the person
they predict for take ``predict(X, *, sensitive_features=...)``.  :func:`fit_predict` calls either kind.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.dummy import DummyRegressor

from paperlib.fairness.baselines.adversarial import AdversarialRegressor
from paperlib.fairness.baselines.barycentre import WassersteinBarycentre
from paperlib.fairness.baselines.bounded_loss import BoundedGroupLossRegressor
from paperlib.fairness.baselines.correlation_remover import CorrelationRemoverRegressor
from paperlib.fairness.baselines.komiyama import BoundedShareRegressor
from paperlib.fairness.baselines.mean_parity_wrapper import GroupMeanShift, MeanParityWrapper
from paperlib.fairness.baselines.reduction import ReductionRegressor
from paperlib.fairness.baselines.ridge_penalties import PenalisedFairRidge
from paperlib.fairness.mean_parity import MeanParityRegressor
from paperlib.fairness.moments import Sensitive

__all__ = [
    "BASELINES", "AdversarialRegressor", "BoundedGroupLossRegressor", "BoundedShareRegressor",
    "CorrelationRemoverRegressor", "GroupMeanShift", "MeanParityWrapper", "PenalisedFairRidge", "ReductionRegressor",
    "WassersteinBarycentre", "fit_predict", "predictions",
]  # fmt: skip

BASELINES: dict[str, Callable[..., BaseEstimator]] = {
    "constant": DummyRegressor,
    "krr": partial(MeanParityRegressor, unfairness=1.0),
    "fpr": partial(MeanParityRegressor, penalty=1000.0),
    "zafar": partial(MeanParityRegressor, moments="linear", gap_budget=0.0),
    "fkr": partial(PenalisedFairRidge, 1000.0, penalty="hsic"),
    "berk_group": partial(PenalisedFairRidge, 1000.0, penalty="berk_group"),
    "berk_individual": partial(PenalisedFairRidge, 1000.0, penalty="berk_individual"),
    "nrfc": partial(BoundedShareRegressor, method="nrfc"),
    "frrm": partial(BoundedShareRegressor, method="frrm"),
    "rba": ReductionRegressor,
    "correlation_remover": CorrelationRemoverRegressor,
    "mean_shift": GroupMeanShift,
    "bounded_group_loss": BoundedGroupLossRegressor,
    "wasserstein": WassersteinBarycentre,
    "adversarial": AdversarialRegressor,
}
"""Name -> estimator; the arguments of the class may be given, as in ``BASELINES["fkr"](kernel="rbf", gamma=0.1)``.

``zafar`` is the covariance constraint of Zafar et al. (AISTATS 2017, arXiv 1507.05259) on a least-squares loss,
``|Cov(s, f)|`` <= ``gap_budget``.  ``fpr`` is the penalty of the mean-parity paper itself (eq. 17).
"""


def fit_predict(
    estimator: BaseEstimator,
    X: ArrayLike,
    y: ArrayLike,
    sensitive_features: Sensitive,
    X_test: ArrayLike,
    sensitive_test: Sensitive,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Train and test predictions of a fresh copy of any estimator of this package.

    Parameters
    ----------
    estimator : estimator
        Not fitted; one of :data:`BASELINES` or any scikit-learn regressor.
    X, y, sensitive_features : (n, d), (n,), (n,) or (n, r)
        Training rows.
    X_test, sensitive_test : (m, d), (m,) or (m, r)

    Returns
    -------
    train : (n,)
    test : (m,)
    """
    model = clone(estimator)
    model.fit(X, y, **({"sensitive_features": sensitive_features} if _takes_attributes(model.fit) else {}))
    return predictions(model, X, sensitive_features), predictions(model, X_test, sensitive_test)


def predictions(model: BaseEstimator, X: ArrayLike, sensitive_features: Sensitive) -> NDArray[np.float64]:
    """Predictions (m,) of a fitted estimator, which gets the attribute if it takes one; arguments as in its ``fit``."""
    return model.predict(X, **({"sensitive_features": sensitive_features} if _takes_attributes(model.predict) else {}))


def _takes_attributes(method: Callable) -> bool:
    return "sensitive_features" in inspect.signature(method).parameters
