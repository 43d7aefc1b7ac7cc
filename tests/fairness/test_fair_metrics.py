"""Fairness metrics against hand-made values, scipy, and fairlearn."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.stats import ks_2samp

from paperlib.errors import PaperlibError
from paperlib.fairness import (
    METRICS,
    covariance_norm,
    demographic_parity_discrepancy,
    group_means,
    ks_distance,
    mean_parity_gap,
    mean_prediction,
    smd,
)

F = np.array([0.0, 2.0, 4.0, 4.0, 5.0, 9.0])
S = np.array(["a", "a", "a", "b", "b", "c"])  # means 2, 4.5, 9; all 4


def test_hand_made_values():
    means = group_means(None, F, sensitive_features=S)
    assert means.to_dict() == {"a": 2.0, "b": 4.5, "c": 9.0}
    assert smd(None, F, sensitive_features=S) == pytest.approx(2 + 0.5 + 5)
    assert mean_parity_gap(None, F, sensitive_features=S) == 7
    assert mean_parity_gap(None, F, sensitive_features=S, method="to_overall") == 5
    assert ks_distance(None, F, sensitive_features=S) == 1
    assert ks_distance(None, F, sensitive_features=S, method="to_overall") == pytest.approx(5 / 6)
    # moving a to all: |F_a - F| is 1/6 on [0,2), 1/3 on [2,4), then 1/3 on [4,5) and 1/6 on [5,9)
    pair = S != "c"
    assert demographic_parity_discrepancy(None, F[pair], sensitive_features=S[pair]) == pytest.approx(
        (2 * (1 / 3 - 1 / 5) + 2 * (2 / 3 - 2 / 5) + (1 - 4 / 5)) + (2 * 1 / 5 + 2 * 2 / 5 + (4 / 5 - 1 / 2))
    )


def test_two_groups_and_pairs():
    rng = np.random.default_rng(0)
    f, s = rng.normal(size=101), rng.integers(2, size=101)
    assert smd(None, f, sensitive_features=s) == pytest.approx(abs(f[s == 1].mean() - f[s == 0].mean()))
    assert ks_distance(None, f, sensitive_features=s) == pytest.approx(ks_2samp(f[s == 0], f[s == 1]).statistic)


def test_intersections_and_absent_groups():
    two = pd.DataFrame({"g": S, "h": [0, 1, 1, 1, 1, 1]})
    means = group_means(None, F, sensitive_features=two)
    assert means.to_dict() == {("a", 0): 0.0, ("a", 1): 3.0, ("b", 1): 4.5, ("c", 1): 9.0}
    categories = pd.Series(pd.Categorical(S, categories=["a", "b", "c", "d"]))
    assert list(group_means(None, F, sensitive_features=categories).index) == ["a", "b", "c"]
    weight = np.array([1, 1, 1, 1, 1, 0.0])
    assert list(group_means(None, F, sensitive_features=S, sample_weight=weight).index) == ["a", "b"]


@pytest.mark.parametrize("metric", METRICS.values(), ids=list(METRICS))
def test_weights_are_replication_and_parity_is_zero(metric):
    rng = np.random.default_rng(1)
    f, s, weight = rng.normal(size=40), rng.integers(3, size=40), rng.integers(0, 4, size=40)
    again = np.repeat(np.arange(40), weight)
    assert metric(None, f, sensitive_features=s, sample_weight=weight) == pytest.approx(
        metric(None, f[again], sensitive_features=s[again])
    )
    assert metric(None, f, sensitive_features=s) > 0
    assert metric(None, np.tile(f, 3), sensitive_features=np.repeat([0, 1, 2], 40)) == pytest.approx(0, abs=1e-12)


@given(st.integers(0, 2**32 - 1), st.integers(2, 60), st.integers(1, 5))
def test_proposition_1(seed, n, groups):
    rng = np.random.default_rng(seed)
    f, s = rng.standard_t(2, size=n), rng.integers(groups, size=n)
    bound = demographic_parity_discrepancy(None, f, sensitive_features=s)
    assert smd(None, f, sensitive_features=s) <= bound * (1 + 1e-9) + 1e-9


def test_covariance_norm():
    rng = np.random.default_rng(2)
    f, s = rng.normal(size=50), rng.normal(size=(50, 2))
    covariance = [np.cov(f, s[:, j], ddof=0)[0, 1] for j in range(2)]
    assert covariance_norm(None, f, sensitive_features=s) == pytest.approx(np.linalg.norm(covariance))
    assert covariance_norm(None, f, sensitive_features=s, total=True) == pytest.approx(50 * np.linalg.norm(covariance))
    with pytest.raises(PaperlibError, match="covariance_norm needs numbers"):
        covariance_norm(None, F, sensitive_features=S)


def test_agrees_with_metric_frame():
    fairlearn = pytest.importorskip("fairlearn.metrics", reason="needs the optional extra [fairness]")
    rng = np.random.default_rng(3)
    y, f, s = rng.normal(size=60), rng.normal(size=60), rng.integers(3, size=60)
    weight = rng.uniform(size=60)
    frame = fairlearn.MetricFrame(
        metrics=mean_prediction, y_true=y, y_pred=f, sensitive_features=s, sample_params={"sample_weight": weight}
    )
    options = {"sensitive_features": s, "sample_weight": weight}
    assert_allclose(frame.by_group.to_numpy(dtype=float), group_means(y, f, **options).to_numpy())
    assert_allclose(frame.difference(method="between_groups"), mean_parity_gap(y, f, **options))
    assert_allclose(frame.difference(method="to_overall"), mean_parity_gap(y, f, method="to_overall", **options))
    assert_allclose((frame.by_group.astype(float) - frame.overall).abs().sum(), smd(y, f, **options))


def test_bad_input():
    with pytest.raises(PaperlibError, match="one prediction per sample"):
        smd(None, np.zeros((6, 2)), sensitive_features=S)
    with pytest.raises(PaperlibError, match="5 rows, but X has 6"):
        smd(None, F, sensitive_features=S[:5])
    with pytest.raises(PaperlibError, match="did you mean 'to_overall'"):
        ks_distance(None, F, sensitive_features=S, method="overall")
