"""Mean-parity fair regression with scikit-learn's interface (arXiv 2302.10409); see :mod:`~paperlib.fairness.mean_parity`."""

from paperlib.fairness.mean_parity import AlphaPath, MeanParityRegressor, TradeoffPath

__all__ = ["AlphaPath", "MeanParityRegressor", "TradeoffPath"]
