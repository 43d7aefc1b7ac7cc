"""Mean-parity fair regression as scikit-learn estimators (arXiv 2302.10409)."""

from paperlib.fairness.baselines.bounded_loss import BoundedGroupLossRegressor
from paperlib.fairness.baselines.mean_parity_wrapper import MeanParityWrapper
from paperlib.fairness.display import RegressionFairnessDisplay
from paperlib.fairness.fair_gd import FairGDRegressor, smooth_l1
from paperlib.fairness.large_scale import StreamedMeanParityRegressor
from paperlib.fairness.mean_parity import AlphaPath, MeanParityRegressor, TradeoffPath
from paperlib.fairness.metrics import (
    METRICS,
    covariance_norm,
    demographic_parity_discrepancy,
    group_means,
    interval,
    ks_distance,
    mean_parity_gap,
    mean_prediction,
    smd,
)

__all__ = [
    "METRICS", "AlphaPath", "BoundedGroupLossRegressor", "FairGDRegressor", "MeanParityRegressor", "MeanParityWrapper",
    "RegressionFairnessDisplay", "StreamedMeanParityRegressor", "TradeoffPath", "covariance_norm",
    "demographic_parity_discrepancy", "group_means", "interval", "ks_distance", "mean_parity_gap", "mean_prediction",
    "smd", "smooth_l1",
]  # fmt: skip
