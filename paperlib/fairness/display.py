"""A fairness tradeoff as a plot, in scikit-learn's style."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import mean_squared_error

from paperlib.fairness import checks
from paperlib.fairness.metrics import smd
from paperlib.fairness.moments import Sensitive, Weights, aligned, sensitive_frame


class RegressionFairnessDisplay:
    """Error against unfairness along a path, or of one set of predictions.

    Parameters
    ----------
    error : (L,)
        Mean squared error at each level.
    unfairness : (L,)
        SMD at each level.
    name : str, optional
        For the legend.

    Attributes
    ----------
    ax_, figure_, line_
        Of the last :meth:`plot`.
    """

    def __init__(self, error: ArrayLike, unfairness: ArrayLike, *, name: str | None = None) -> None:
        self.error: NDArray[np.float64] = np.asarray(error, dtype=float)
        self.unfairness: NDArray[np.float64] = np.asarray(unfairness, dtype=float)
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        y: ArrayLike,
        sensitive_features: Sensitive,
        *,
        sample_weight: Weights = None,
        levels: ArrayLike | None = None,
        name: str | None = None,
        ax: Any = None,
        **line: Any,
    ) -> RegressionFairnessDisplay:
        """The tradeoff of a fitted mean-parity estimator on (m, d) inputs, at ``levels`` of unfairness (default 25).

        The estimator is a :class:`~paperlib.fairness.MeanParityRegressor`, its streamed form or a
        :class:`~paperlib.fairness.MeanParityWrapper`.

        Raises
        ------
        PaperlibError
            The levels or the sensitive features are not usable; the estimator is not fitted.
        """
        at = np.linspace(0, 1, 25) if levels is None else levels
        if hasattr(estimator, "tradeoff"):
            predictions = estimator.predict_path(X, estimator.tradeoff(unfairness=at))
        else:
            predictions = estimator.predict_path(X, at, sensitive_features=sensitive_features)
        truth = np.asarray(aligned("y", y, X), dtype=float)
        weight = checks.weights(sample_weight, len(truth), X)
        frame = sensitive_frame(sensitive_features, len(truth), X)
        error = [mean_squared_error(truth, f, sample_weight=weight) for f in predictions]
        gap = [smd(truth, f, sensitive_features=frame, sample_weight=weight) for f in predictions]
        return cls(error, gap, name=name or type(estimator).__name__).plot(ax=ax, **line)

    def plot(self, *, ax: Any = None, **line: Any) -> RegressionFairnessDisplay:
        """Draw on ``ax`` (a new figure by default); further keywords are those of ``Axes.plot``."""
        import matplotlib.pyplot as plt

        checks.numbers("error", self.error)
        self.ax_ = plt.subplots()[1] if ax is None else ax
        self.figure_ = self.ax_.figure
        self.line_ = self.ax_.plot(self.error, self.unfairness, **{"label": self.name} | line)[0]
        self.ax_.set(xlabel="MSE", ylabel="SMD")
        if self.name:
            self.ax_.legend()
        return self
