"""Mean-parity fair regression as scikit-learn estimators (arXiv 2302.10409)."""

from paperlib.fairness.mean_parity import AlphaPath, MeanParityRegressor, TradeoffPath

__all__ = ["AlphaPath", "MeanParityRegressor", "TradeoffPath"]
