"""What the methods around an ordinary regressor share: the regressor inside, its weights, and the groups."""

from __future__ import annotations

from types import ModuleType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.linear_model import Ridge
from sklearn.utils.validation import has_fit_parameter

from paperlib.errors import PaperlibError, choose
from paperlib.fairness import checks
from paperlib.fairness.moments import (
    FloatArray,
    Sensitive,
    Weights,
    aligned,
    group_codes,
    index_of,
    sensitive_frame,
    training_groups,
)


def optional(module: str, distribution: str) -> ModuleType:
    """A module of the extra ``fairness``, imported when a fit needs it; PaperlibError where it is not installed."""
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise PaperlibError(f"this method needs the package {distribution}: pip install paperlib[fairness].") from error


class Wrapper(RegressorMixin, BaseEstimator):
    """A regressor inside, and the groups that are known."""

    __metadata_request__fit: ClassVar = {"sensitive_features": True}
    estimator: BaseEstimator | None
    unseen: str = "error"

    def _fit_base(self, X: ArrayLike, y: FloatArray, weight: FloatArray | None) -> FloatArray:
        """Fit a copy of the regressor (by default ridge regression with an intercept); its training predictions."""
        used = Ridge() if self.estimator is None else self.estimator
        if not all(hasattr(used, name) for name in ("fit", "predict", "get_params")):
            raise PaperlibError(
                f"estimator={self.estimator!r} is no scikit-learn regressor; give one, not fitted, or None."
            )
        self.estimator_ = clone(used)
        self.estimator_.fit(X, y, **self._weights(weight))
        return np.asarray(self.estimator_.predict(X), dtype=float)

    def _weights(self, weight: FloatArray | None) -> dict[str, FloatArray]:
        if weight is None:
            return {}
        if not has_fit_parameter(self.estimator_, "sample_weight"):
            raise PaperlibError(f"sample_weight is given, but estimator={self.estimator!r} takes none; leave it out.")
        return {"sample_weight": weight}

    def _check(self, X: ArrayLike, y: ArrayLike, sample_weight: Weights) -> tuple[FloatArray, FloatArray, FloatArray]:
        features, target = checks.validated(self, X, aligned("y", y, X), dtype=np.float64, y_numeric=True)
        return features, target, checks.weights(sample_weight, len(target), index_of(X=X, y=y))

    def _learn_groups(self, sensitive_features: Sensitive, weight: FloatArray, X: Any, y: Any) -> NDArray[np.intp]:
        """Group of each row (n,); -1 in a group without weight, which counts as absent."""
        choose("unseen", self.unseen, ("error", "population"))
        codes, self.groups_ = training_groups(sensitive_features, weight, index_of(X=X, y=y))
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
