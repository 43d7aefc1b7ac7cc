r"""Methods around an ordinary regressor: correlation remover, group-mean shift, Wasserstein barycentre, adversary.

* Correlation remover: fairlearn >= 0.15 (before 0.15 it subtracted one mean for all attributes).
* Mean shift: :math:`f(x) - (1 - u)(\hat m_s - \hat m)`, the group means of the predictions taken out, those of the
  training rows or (``cv``) of rows that the regressor has not seen.
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
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import cross_val_predict
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted, has_fit_parameter, validate_data

from paperlib.errors import PaperlibError, choose
from paperlib.fairness import checks
from paperlib.fairness.baselines.ridge_penalties import numeric_attributes
from paperlib.fairness.moments import Sensitive, aligned, group_codes, sensitive_frame

FloatArray = NDArray[np.float64]


def _optional(module: str, distribution: str) -> ModuleType:
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise PaperlibError(f"this method needs the package {distribution}: pip install paperlib[fairness].") from error


class Wrapper(RegressorMixin, BaseEstimator):
    """A regressor inside, and the groups that are known."""

    estimator: BaseEstimator | None
    unseen: str = "error"

    def _fit_base(self, X: ArrayLike, y: FloatArray, weight: FloatArray | None) -> FloatArray:
        """Fit a copy of the regressor (by default ridge regression with an intercept); its training predictions."""
        self.estimator_ = Ridge() if self.estimator is None else clone(self.estimator)
        self.estimator_.fit(X, y, **self._weights(weight))
        return np.asarray(self.estimator_.predict(X), dtype=float)

    def _weights(self, weight: FloatArray | None) -> dict[str, FloatArray]:
        if weight is None:
            return {}
        if not has_fit_parameter(self.estimator_, "sample_weight"):
            raise PaperlibError(f"sample_weight is given, but estimator={self.estimator!r} takes none; leave it out.")
        return {"sample_weight": weight}

    def _check(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        features, target = validate_data(self, X, aligned("y", y, X), dtype=np.float64, y_numeric=True)
        return features, target, checks.weights(sample_weight, len(target), X)

    def _learn_groups(self, sensitive_features: Sensitive, n: int, X: Any) -> NDArray[np.intp]:
        choose("unseen", self.unseen, ("error", "population"))
        codes, self.groups_, _ = group_codes(sensitive_frame(sensitive_features, n, X))
        return codes

    def _codes(self, sensitive_features: Sensitive, n: int, X: Any) -> NDArray[np.intp]:
        """Group of each row (m,), -1 for one that was not in the training set, where ``unseen`` allows it."""
        codes, labels, _ = group_codes(sensitive_frame(sensitive_features, n, X))
        unseen = [label for label in labels if label not in self.groups_]
        if unseen and self.unseen == "error":
            raise PaperlibError(
                f"sensitive_features has the group {unseen[0]!r}, which the training set has not; known: "
                f"{self.groups_}. unseen='population' treats it like everybody."
            )
        return np.array([-1 if label in unseen else self.groups_.index(label) for label in labels])[codes]


class MeanParityWrapper(Wrapper):
    """Mean parity around any regressor: take the group means of its predictions out, add the overall mean.

    With ordinary least squares on inputs that hold the attribute this *is* :class:`MeanParityRegressor` at alpha 0;
    with any other regressor it needs the attribute of the person it predicts for.

    Parameters
    ----------
    estimator : regressor, optional
        Default: ridge regression with an intercept.
    cv : int or splitter, optional
        Estimate the group means on predictions for rows that a copy of the regressor has not seen (cross-fitting), for
        regressors that fit the training rows closely.  None: on the training predictions.
    unfairness : float in [0, 1], default 0
        Fraction of every group's gap that stays: the shift of each group is multiplied by ``1 - unfairness``.  Nothing
        is fitted anew, and no penalty enters the regressor's own loss, whether it takes sample weights or not.  The
        answer is the mixture of the regressor and its shifted self, as in Proposition 4; unlike there, it is the best
        fit with these gaps only for ordinary least squares on inputs that hold the attribute.
    unseen : {'error', 'population'}, default 'error'
        What to do with a group at predict time that the training set has not.  'population' leaves its prediction as it
        is.

    Attributes
    ----------
    groups_ : list
    shift_ : (k,)
        What is added to the predictions of each group.
    estimator_ : regressor
    """

    def __init__(
        self,
        estimator: BaseEstimator | None = None,
        *,
        cv: Any = None,
        unfairness: float = 0.0,
        unseen: str = "error",
    ) -> None:
        self.estimator = estimator
        self.cv = cv
        self.unfairness = unfairness
        self.unseen = unseen

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        sensitive_features: Sensitive = None,
        sample_weight: ArrayLike | None = None,
    ) -> MeanParityWrapper:
        """Fit the regressor, then read its group means off.

        Parameters
        ----------
        X : (n, d)
        y : (n,)
        sensitive_features : (n,) or (n, r)
        sample_weight : (n,), optional
            Handed on to the regressor.

        Raises
        ------
        PaperlibError
            A parameter or the sensitive features are not usable.
        """
        checks.number("unfairness", self.unfairness, 0.0, 1.0)
        features, target, weight = self._check(X, y, sample_weight)
        codes = self._learn_groups(sensitive_features, len(target), X)
        f = self._fit_base(features, target, None if sample_weight is None else weight)
        if self.cv is not None:
            params = {} if sample_weight is None else {"params": {"sample_weight": weight}}
            f = cross_val_predict(clone(self.estimator_), features, target, cv=self.cv, **params)
        size = np.bincount(codes, weight)
        means = np.divide(
            np.bincount(codes, weight * f), size, out=np.full(len(size), np.average(f, weights=weight)), where=size > 0
        )
        self.shift_ = (1.0 - self.unfairness) * (np.average(f, weights=weight) - means)
        return self

    def predict(self, X: ArrayLike, *, sensitive_features: Sensitive = None) -> FloatArray:
        """Predictions (m,) for X (m, d) and the attributes (m,) or (m, r) of these people."""
        check_is_fitted(self)
        features = validate_data(self, X, dtype=np.float64, reset=False)
        codes = self._codes(sensitive_features, len(features), X)
        return np.asarray(self.estimator_.predict(features) + np.append(self.shift_, 0.0)[codes])


GroupMeanShift = MeanParityWrapper


class WassersteinBarycentre(Wrapper):
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
    unseen : {'error', 'population'}, default 'error'
        As in :class:`MeanParityWrapper`.
    """

    def __init__(
        self,
        estimator: BaseEstimator | None = None,
        *,
        unfairness: float = 0.0,
        sigma: float = 1e-4,
        random_state: int = 0,
        unseen: str = "error",
    ) -> None:
        self.estimator = estimator
        self.unfairness = unfairness
        self.sigma = sigma
        self.random_state = random_state
        self.unseen = unseen

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        sensitive_features: Sensitive = None,
        sample_weight: ArrayLike | None = None,
    ) -> WassersteinBarycentre:
        """Fit the regressor, then learn the distribution of its predictions in every group (rows equally weighted)."""
        checks.number("unfairness", self.unfairness, 0.0, 1.0)
        features, target, weight = self._check(X, y, sample_weight)
        codes = self._learn_groups(sensitive_features, len(target), X)
        f = self._fit_base(features, target, None if sample_weight is None else weight)
        fair = _optional("equipy.fairness", "equipy")
        self.transport_ = None  # a single group is where it should be
        if len(self.groups_) > 1:
            self.transport_ = fair.FairWasserstein(sigma=self.sigma, seed=self.random_state)
            self.transport_.fit(f, pd.DataFrame({"group": codes}))
        return self

    def predict(self, X: ArrayLike, *, sensitive_features: Sensitive = None) -> FloatArray:
        """Predictions (m,)."""
        check_is_fitted(self)
        features = validate_data(self, X, dtype=np.float64, reset=False)
        codes = self._codes(sensitive_features, len(features), X)
        f = np.asarray(self.estimator_.predict(features), dtype=float)
        known = codes >= 0
        if self.transport_ is None or not known.any():
            return f
        transport = copy.deepcopy(self.transport_)  # its generator moves on with every call
        f[known] = transport.transform(f[known], pd.DataFrame({"group": codes[known]}), epsilon=self.unfairness)
        return f


class CorrelationRemoverRegressor(Wrapper):
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
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        sensitive_features: Sensitive = None,
        sample_weight: ArrayLike | None = None,
    ) -> CorrelationRemoverRegressor:
        """Fit the remover (unweighted) and the regressor; columns of X that equal an attribute become constant."""
        checks.number("strength", self.strength, 0.0, 1.0)
        features, target, weight = self._check(X, y, sample_weight)
        S = numeric_attributes(sensitive_features, len(target), X)
        preprocessing = _optional("fairlearn.preprocessing", "fairlearn")
        ids = list(range(S.shape[1]))
        self.remover_ = preprocessing.CorrelationRemover(sensitive_feature_ids=ids, alpha=self.strength)
        removed = self.remover_.fit_transform(np.hstack([S, features]))
        self._fit_base(removed, target, None if sample_weight is None else weight)
        return self

    def predict(self, X: ArrayLike, *, sensitive_features: Sensitive = None) -> FloatArray:
        """Predictions (m,)."""
        check_is_fitted(self)
        features = validate_data(self, X, dtype=np.float64, reset=False)
        S = numeric_attributes(sensitive_features, len(features), X)
        return np.asarray(self.estimator_.predict(self.remover_.transform(np.hstack([S, features]))))


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

    def fit(self, X: ArrayLike, y: ArrayLike, *, sensitive_features: Sensitive = None) -> AdversarialRegressor:
        """Train both networks; fairlearn takes no sample weights."""
        features, target = validate_data(self, X, aligned("y", y, X), dtype=np.float64, y_numeric=True)
        groups = group_codes(sensitive_frame(sensitive_features, len(target), X))[0]
        adversarial = _optional("fairlearn.adversarial", "fairlearn")
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
                f"strength={self.strength!r}, learning_rate={self.learning_rate!r}: training diverged ({error}); lower "
                "one."
            ) from error
        return self

    def predict(self, X: ArrayLike) -> FloatArray:
        """Predictions (m,)."""
        check_is_fitted(self)
        features = validate_data(self, X, dtype=np.float64, reset=False)
        scaled = np.asarray(self.model_.predict(self.scale_X_.transform(features)), dtype=float)
        return self.scale_y_.inverse_transform(scaled.reshape(-1, 1))[:, 0]
