"""Adversarial debiasing: a network whose prediction must not tell an adversary the attribute.

Paper: Zhang, Lemoine and Mitchell, Mitigating Unwanted Biases with Adversarial Learning, AIES 2018, arXiv 1801.07593;
fairlearn's implementation on torch, both imported when a fit needs them (``pip install paperlib[fairness]``).
Introduced in ``notebooks/06_mp_fair_regression.ipynb``.

Differences from the paper
--------------------------
1. Several attributes are one intersectional attribute: one group per combination.
2. Both networks see standardised inputs and a standardised response.
3. Sample weights, which fairlearn has not: of the losses of both networks and of the standardisation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

from paperlib.errors import PaperlibError
from paperlib.fairness import checks
from paperlib.fairness.baselines.wrappers import optional
from paperlib.fairness.moments import FloatArray, Sensitive, Weights, aligned, index_of, training_groups


@dataclass(eq=False, repr=False, kw_only=True)
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

    __metadata_request__fit: ClassVar = {"sensitive_features": True}

    strength: float = 1.0
    hidden: int = 16
    epochs: int = 20
    batch_size: int = 128
    learning_rate: float = 0.003
    random_state: int = 0

    def fit(
        self, X: ArrayLike, y: ArrayLike, *, sensitive_features: Sensitive = None, sample_weight: Weights = None
    ) -> AdversarialRegressor:
        """Train both networks; arguments and errors as in ``MeanParityRegressor.fit``, for y (n,).

        In one batch a weight of 2 is the same as the row twice, up to single precision; in several, repeated rows fall
        into other batches. Training that diverges, and fairlearn not installed, are errors too.
        """
        checks.number("strength", self.strength, 0.0, np.finfo(float).max)
        checks.number("learning_rate", self.learning_rate, 0.0, np.finfo(float).max, above=True)
        checks.whole("hidden", self.hidden, 2)
        for name in ("epochs", "batch_size"):
            checks.whole(name, getattr(self, name))
        rows, y = index_of(X=X, y=y), aligned("y", y, X)
        features, target = checks.validated(self, X, y, dtype=np.float64, y_numeric=True, ensure_min_samples=2)
        weight = checks.weights(sample_weight, len(target), rows)
        groups = training_groups(sensitive_features, weight, rows)[0]
        used = weight > 0
        features, target, weight, groups = features[used], target[used], weight[used], groups[used]
        adversarial = optional("fairlearn.adversarial", "fairlearn")
        self.scale_X_ = StandardScaler().fit(features, sample_weight=weight)
        self.scale_y_ = StandardScaler().fit(target[:, None], sample_weight=weight)
        self.model_ = adversarial.AdversarialFairnessRegressor(
            backend="torch" if sample_weight is None else _weighted(weight / weight.mean()),
            predictor_model=[self.hidden, "relu"],
            adversary_model=[self.hidden // 2, "relu"],
            alpha=self.strength,
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            random_state=self.random_state,
        )
        scaled = self.scale_y_.transform(target[:, None])[:, 0]
        if (scaled == np.round(scaled)).all():  # fairlearn would take whole numbers for classes
            scaled = scaled + 1e-6
        try:
            self.model_.fit(self.scale_X_.transform(features), scaled, sensitive_features=groups)
        except RuntimeError as error:  # torch's loss refuses the NaN of networks that ran away
            raise PaperlibError(
                f"strength={self.strength!r}, learning_rate={self.learning_rate!r}: training diverged ({error}); lower "
                "one."
            ) from error
        return self

    def predict(self, X: ArrayLike) -> FloatArray:
        """Predictions (m,) for X (m, d)."""
        check_is_fitted(self)
        features = checks.validated(self, X, dtype=np.float64, reset=False)
        scaled = np.asarray(self.model_.predict(self.scale_X_.transform(features)), dtype=float)
        return self.scale_y_.inverse_transform(scaled.reshape(-1, 1))[:, 0]


def _weighted(weight: FloatArray) -> type:
    """fairlearn's torch engine with both losses weighted by ``weight`` (n,), of mean 1.

    The weights travel through fairlearn's batches as the last column of the attribute.
    """
    engine = optional("fairlearn.adversarial._pytorch_engine", "fairlearn").PytorchEngine

    class Weighted(engine):  # type: ignore[misc, valid-type]
        def validate_input(self, X, Y, A):
            return super().validate_input(X, Y, np.column_stack([A, weight]))

        def train_step(self, X, Y, A):
            self.batch_weight = A[:, -1]
            return super().train_step(X, Y, A[:, :-1])

        def get_loss(self, dist_type):
            loss = super().get_loss(dist_type)
            loss.reduction = "none"
            return lambda out, goal: (self.batch_weight * loss(out, goal).reshape(len(goal), -1).mean(dim=1)).mean()

    return Weighted
