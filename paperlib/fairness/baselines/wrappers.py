r"""Methods around an ordinary regressor: correlation remover, group-mean shift, Wasserstein barycentre, adversary.

* Correlation remover: fairlearn >= 0.15 (before 0.15 it subtracted one mean for all attributes).
* Mean shift: :math:`f(x) - \hat m_s + \hat m`, the group means of the training predictions taken out.
* Wasserstein barycentre: Chzhen et al., Fair Regression with Wasserstein Barycenters, NeurIPS 2020, arXiv 2006.07286;
  equipy's implementation, :math:`f^*(x, s) = \sum_{s'} p_{s'} Q_{s'}(F_s(f(x)))`.
* Adversary: Zhang, Lemoine and Mitchell, Mitigating Unwanted Biases with Adversarial Learning, AIES 2018,
  arXiv 1801.07593; fairlearn's implementation on torch.

Introduced in ``notebooks/06_mp_fair_regression.ipynb``.  fairlearn and equipy are imported when a fit needs them
(``pip install paperlib[fairness]``).

Differences from the papers
---------------------------
1. Several attributes are one intersectional attribute, but for the correlation remover: one group per combination.
2. The barycentre is estimated on the training predictions of the wrapped regressor, without a hold-out set; its jitter
   is drawn from the same seed at every call of ``predict``, which is therefore repeatable.
3. The adversary sees standardised inputs and a standardised response.
"""

from __future__ import annotations

import copy
from types import ModuleType

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted, validate_data

from paperlib.errors import PaperlibError
from paperlib.fairness.baselines.ridge_penalties import Sensitive, numeric_attributes
from paperlib.fairness.mean_parity import MeanParityRegressor
from paperlib.fairness.moments import group_codes, sensitive_frame

FloatArray = NDArray[np.float64]


def _optional(module: str, distribution: str) -> ModuleType:
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise PaperlibError(f"this method needs the package {distribution}: pip install paperlib[fairness].") from error


def _base(estimator: BaseEstimator | None) -> BaseEstimator:
    """The regressor to wrap: a fresh copy of the given one, else ridge regression with an intercept."""
    return MeanParityRegressor(fit_intercept=True) if estimator is None else clone(estimator)


class Groups:
    """Intersectional groups of a training set, and the same groups elsewhere."""

    def __init__(self, sensitive_features: Sensitive | None, n_samples: int) -> None:
        if sensitive_features is None:
            raise PaperlibError("sensitive_features=None; give one row per sample.")
        self.train_codes, self.labels, _ = group_codes(sensitive_frame(sensitive_features, n_samples))

    def codes(self, sensitive_features: Sensitive | None, n_samples: int) -> NDArray[np.intp]:
        """Group of each row (m,); a group that was not in the training set is an error."""
        if sensitive_features is None:
            raise PaperlibError("sensitive_features=None; this method needs them at predict time too.")
        codes, labels, _ = group_codes(sensitive_frame(sensitive_features, n_samples))
        unseen = [label for label in labels if label not in self.labels]
        if unseen:
            raise PaperlibError(
                f"sensitive_features has the group {unseen[0]!r}, which the training set has not; known: {self.labels}."
            )
        return np.array([self.labels.index(label) for label in labels])[codes]


class GroupMeanShift(RegressorMixin, BaseEstimator):
    """Subtract the group mean of the training predictions, add the overall mean.

    Parameters
    ----------
    estimator : regressor, optional
        Default: ridge regression with an intercept.
    """

    def __init__(self, estimator: BaseEstimator | None = None) -> None:
        self.estimator = estimator

    def fit(self, X: ArrayLike, y: ArrayLike, *, sensitive_features: Sensitive | None = None) -> GroupMeanShift:
        """Fit the regressor, then read its group means off."""
        features, target = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        self.groups_ = Groups(sensitive_features, len(target))
        self.estimator_ = _base(self.estimator).fit(features, target)
        f = self.estimator_.predict(features)
        codes = self.groups_.train_codes
        self.shift_ = f.mean() - np.bincount(codes, f) / np.bincount(codes)
        return self

    def predict(self, X: ArrayLike, *, sensitive_features: Sensitive | None = None) -> FloatArray:
        """Predictions (m,)."""
        check_is_fitted(self)
        features = validate_data(self, X, dtype=np.float64, reset=False)
        return self.estimator_.predict(features) + self.shift_[self.groups_.codes(sensitive_features, len(features))]


class WassersteinBarycentre(RegressorMixin, BaseEstimator):
    """Move the predictions of every group to the Wasserstein barycentre of the groups: statistical parity.

    Parameters
    ----------
    estimator : regressor, optional
        Default: ridge regression with an intercept.
    unfairness : float in [0, 1], default 0
        Share of the original prediction that stays.
    sigma : float, default 1e-4
        Half-width of the uniform jitter that breaks ties.
    random_state : int, default 0
    """

    def __init__(
        self,
        estimator: BaseEstimator | None = None,
        *,
        unfairness: float = 0.0,
        sigma: float = 1e-4,
        random_state: int = 0,
    ) -> None:
        self.estimator = estimator
        self.unfairness = unfairness
        self.sigma = sigma
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike, *, sensitive_features: Sensitive | None = None) -> WassersteinBarycentre:
        """Fit the regressor, then estimate the distribution of its predictions in every group."""
        fair = _optional("equipy.fairness", "equipy")
        features, target = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        self.groups_ = Groups(sensitive_features, len(target))
        self.estimator_ = _base(self.estimator).fit(features, target)
        self.transport_ = fair.FairWasserstein(sigma=self.sigma, seed=self.random_state)
        self.transport_.fit(self.estimator_.predict(features), pd.DataFrame({"group": self.groups_.train_codes}))
        return self

    def predict(self, X: ArrayLike, *, sensitive_features: Sensitive | None = None) -> FloatArray:
        """Predictions (m,)."""
        check_is_fitted(self)
        features = validate_data(self, X, dtype=np.float64, reset=False)
        codes = pd.DataFrame({"group": self.groups_.codes(sensitive_features, len(features))})
        transport = copy.deepcopy(self.transport_)  # its generator moves on with every call
        return transport.transform(self.estimator_.predict(features), codes, epsilon=self.unfairness)


class CorrelationRemoverRegressor(RegressorMixin, BaseEstimator):
    """Take the attributes out of the inputs linearly (fairlearn), then fit a regressor on what is left.

    Parameters
    ----------
    estimator : regressor, optional
        Default: ridge regression with an intercept.
    strength : float in [0, 1], default 1
        fairlearn's ``alpha``: 1 removes the correlation, 0 leaves the inputs as they are.
    """

    def __init__(self, estimator: BaseEstimator | None = None, *, strength: float = 1.0) -> None:
        self.estimator = estimator
        self.strength = strength

    def fit(
        self, X: ArrayLike, y: ArrayLike, *, sensitive_features: Sensitive | None = None
    ) -> CorrelationRemoverRegressor:
        """Fit the remover and the regressor; columns of X that equal an attribute become constant."""
        preprocessing = _optional("fairlearn.preprocessing", "fairlearn")
        features, target = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        S = numeric_attributes(sensitive_features, len(target))
        self.remover_ = preprocessing.CorrelationRemover(
            sensitive_feature_ids=list(range(S.shape[1])), alpha=self.strength
        )
        removed = self.remover_.fit_transform(np.hstack([S, features]))
        self.estimator_ = _base(self.estimator).fit(removed, target)
        return self

    def predict(self, X: ArrayLike, *, sensitive_features: Sensitive | None = None) -> FloatArray:
        """Predictions (m,)."""
        check_is_fitted(self)
        features = validate_data(self, X, dtype=np.float64, reset=False)
        S = numeric_attributes(sensitive_features, len(features))
        return self.estimator_.predict(self.remover_.transform(np.hstack([S, features])))


class AdversarialRegressor(RegressorMixin, BaseEstimator):
    """A network that predicts y while an adversary tries to read the attribute off its prediction (fairlearn, torch).

    Parameters
    ----------
    strength : float, default 1
        fairlearn's ``alpha``: weight of the adversary.
    hidden : int, default 16
        Width of the one hidden layer of the predictor; the adversary has half of it.
    epochs, batch_size : int
    learning_rate : float
    random_state : int
    """

    def __init__(
        self,
        *,
        strength: float = 1.0,
        hidden: int = 16,
        epochs: int = 20,
        batch_size: int = 128,
        learning_rate: float = 0.003,
        random_state: int = 0,
    ) -> None:
        self.strength = strength
        self.hidden = hidden
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike, *, sensitive_features: Sensitive | None = None) -> AdversarialRegressor:
        """Train both networks."""
        adversarial = _optional("fairlearn.adversarial", "fairlearn")
        features, target = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        groups = Groups(sensitive_features, len(target)).train_codes
        self.scale_X_ = StandardScaler().fit(features)
        self.scale_y_ = StandardScaler().fit(target[:, None])
        self.model_ = adversarial.AdversarialFairnessRegressor(
            backend="torch",
            predictor_model=[self.hidden, "relu"],
            adversary_model=[self.hidden // 2, "relu"],
            alpha=self.strength,
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            random_state=self.random_state,
        )
        scaled = self.scale_X_.transform(features)
        try:
            self.model_.fit(scaled, self.scale_y_.transform(target[:, None])[:, 0], sensitive_features=groups)
        except RuntimeError as error:  # torch's loss refuses the NaN of networks that ran away
            raise PaperlibError(
                f"strength={self.strength!r}, learning_rate={self.learning_rate!r}: training diverged ({error}); lower one."
            ) from error
        return self

    def predict(self, X: ArrayLike) -> FloatArray:
        """Predictions (m,)."""
        check_is_fitted(self)
        features = validate_data(self, X, dtype=np.float64, reset=False)
        scaled = np.asarray(self.model_.predict(self.scale_X_.transform(features)), dtype=float)
        return self.scale_y_.inverse_transform(scaled.reshape(-1, 1))[:, 0]
