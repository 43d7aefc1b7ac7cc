"""The metrics keep what their definitions promise, for every input; and reject what has no meaning."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from paperlib.errors import PaperlibError
from paperlib.metrics import (
    attack_success_rate,
    clean_accuracy,
    der,
    der_of_averages,
    detection_rates,
    mean_of_ders,
    robust_accuracy,
    target_labels,
)
from paperlib.report.published import published

settings.register_profile("no deadline", deadline=None)  # a busy machine is no failure
settings.load_profile("no deadline")

RATE = st.floats(0, 1)
C = 5


@st.composite
def predictions(draw):
    """(pred, y) of C classes, with at least one image outside class 0."""
    n = draw(st.integers(1, 40))
    y = draw(hnp.arrays(np.int64, n, elements=st.integers(0, C - 1)))
    y[draw(st.integers(0, n - 1))] = draw(st.integers(1, C - 1))
    return draw(hnp.arrays(np.int64, n, elements=st.integers(0, C - 1))), y


def rate_rows(rows=4):
    """Rates under 1 to 12 attacks, one row each for ACC and ASR before and after."""
    return st.integers(1, 12).flatmap(lambda n: hnp.arrays(np.float64, (rows, n), elements=RATE))


# ------------------------------------------------------------------ predictions


def test_by_hand():
    y = np.array([0, 0, 1, 2, 3, 1])
    pred = np.array([0, 1, 0, 0, 3, 2])
    assert clean_accuracy(pred, y) == 2 / 6
    assert attack_success_rate(pred, y, target=0) == 2 / 4  # the two images of class 0 do not count
    assert robust_accuracy(pred, y, target=0) == 1 / 4
    assert attack_success_rate(pred, y, target=None, n_classes=4) == 2 / 6  # 0->1 and 1->2
    assert robust_accuracy(pred, y, target=None, n_classes=4) == 2 / 6
    assert target_labels([0, 3], None, 4).tolist() == [1, 0]  # the last class wraps around


@given(predictions(), st.sampled_from([0, None]))
def test_success_and_robustness_exclude_each_other(case, target):
    pred, y = case
    asr = attack_success_rate(pred, y, target, C)
    robust = robust_accuracy(pred, y, target, C)
    assert min(asr, robust) >= 0 and asr + robust <= 1 + 1e-12


@given(predictions(), st.sampled_from([0, None]), st.randoms(use_true_random=False))
def test_the_order_of_the_images_does_not_matter(case, target, random):
    pred, y = case
    order = list(range(len(y)))
    random.shuffle(order)
    assert clean_accuracy(pred[order], y[order]) == clean_accuracy(pred, y)
    for metric in (attack_success_rate, robust_accuracy):
        assert metric(pred[order], y[order], target, C) == metric(pred, y, target, C)


@given(predictions(), hnp.arrays(np.int64, 7, elements=st.integers(0, C - 1)))
def test_images_of_the_target_class_do_not_matter(case, more):
    pred, y = case
    for metric in (attack_success_rate, robust_accuracy):
        longer = metric(np.concatenate([pred, more]), np.concatenate([y, np.zeros(7, dtype=int)]), 0)
        assert longer == metric(pred, y, 0)


@given(predictions())
def test_the_extremes(case):
    _, y = case
    assert clean_accuracy(y, y) == robust_accuracy(y, y, 0) == 1
    assert attack_success_rate(y, y, 0) == attack_success_rate(y, y, None, C) == 0
    for target in (0, None):
        reached = target_labels(y, target, C)
        assert attack_success_rate(reached, y, target, C) == 1
        assert robust_accuracy(reached, y, target, C) == 0


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_every_integer_type_will_do(dtype):
    y, pred = np.array([0, 255 % C, 3], dtype), np.array([0, 1, 3], dtype)
    assert clean_accuracy(pred, y) == pytest.approx(2 / 3)
    assert attack_success_rate(np.array([4, 0], dtype), np.array([3, 4], dtype), None, 5) == 1


# ----------------------------------------------------------------------- DER


@given(RATE, RATE)
def test_no_change_is_one_half(acc, other):
    assert der(acc, other, acc, other, unit="fraction") == 0.5


@given(st.floats(0, 0.999), st.floats(0, 1))
def test_removing_the_backdoor_at_no_cost_is_one(acc, gain):
    better = acc + (1 - acc) * gain  # a gain of accuracy does not count
    assert der(acc, 1, better, 0, unit="fraction") == 1


def test_the_worst_is_zero():
    assert der(1, 0, 0, 1, unit="fraction") == 0


@given(RATE, RATE, RATE, RATE)
def test_range_and_units(acc0, asr0, acc1, asr1):
    fraction = der(acc0, asr0, acc1, asr1, unit="fraction")
    percent = der(100 * acc0, 100 * asr0, 100 * acc1, 100 * asr1, unit="percent")
    assert 0 <= fraction <= 1
    assert percent == pytest.approx(100 * fraction)


@given(RATE, RATE, RATE, RATE, RATE)
def test_der_falls_with_lost_accuracy_and_with_remaining_success(acc0, asr0, acc1, asr1, less):
    whole = der(acc0, asr0, acc1, asr1, unit="fraction")
    assert der(acc0, asr0, acc1 * less, asr1, unit="fraction") <= whole  # fails with the wrong sign
    assert der(acc0, asr0, acc1, asr1 * less, unit="fraction") >= whole


def test_the_sign_of_the_accuracy_term():
    assert der(0.9, 1.0, 0.8, 0.0, unit="fraction") == pytest.approx(0.95)  # not 1.05
    assert isinstance(der(0.9, 1.0, 0.8, 0.0, unit="fraction"), float)


def test_arrays_broadcast():
    ders = der(90.0, [100.0, 50.0], 90.0, 0.0, unit="percent")
    assert ders.tolist() == [100.0, 75.0]


# ------------------------------------------------------------------ the two average rules


@given(rate_rows(), st.randoms(use_true_random=False))
def test_averages_do_not_depend_on_the_order_of_the_attacks(rates, random):
    order = list(range(rates.shape[1]))
    random.shuffle(order)
    for rule in (der_of_averages, mean_of_ders):
        value = rule(*rates, unit="fraction")
        assert 0 <= value <= 1
        assert rule(*rates[:, order], unit="fraction") == pytest.approx(value)
        assert rule(*(100 * rates), unit="percent") == pytest.approx(100 * value)


@given(st.tuples(RATE, RATE, RATE, RATE))
def test_the_rules_agree_for_one_attack(rates):
    one = der(*rates, unit="fraction")
    assert der_of_averages(*([r] for r in rates), unit="fraction") == pytest.approx(one)
    assert mean_of_ders(*rates, unit="fraction") == pytest.approx(one)


def test_the_rules_differ_once_a_gain_offsets_a_loss():
    rates = [90, 90], [100, 100], [80, 100], [0, 0]
    assert der_of_averages(*rates, unit="percent") == 100
    assert mean_of_ders(*rates, unit="percent") == 97.5


def test_absent_attacks_count_as_nothing_changed():
    assert mean_of_ders([90], [100], [90], [0], unit="percent", absent=1) == 75
    with pytest.raises(PaperlibError, match="absent=-1"):
        mean_of_ders([90], [100], [90], [0], unit="percent", absent=-1)


def test_the_printed_average_rule_reproduces_all_18_averages_of_ft_sam():
    """FT-SAM prints DER(mean ACC, mean ASR); the other rule fails for 12 of the 18 averages of Tables 1 and 2."""
    reproduced, other_rule_fails = 0, 0
    for item in ("table1", "table2"):
        values = published("ft_sam", item).set_index(["defense", "metric", "attack"])["value"].sort_index()
        attacks = [a for a in values["none", "ACC"].index if a != "average"]
        before = [values["none", m].loc[attacks].to_numpy() for m in ("ACC", "ASR")]
        for defense in set(values.index.get_level_values("defense")) - {"none"}:
            rates = [*before, *(values[defense, m].loc[attacks].to_numpy() for m in ("ACC", "ASR"))]
            printed = values[defense, "DER", "average"]
            reproduced += abs(der_of_averages(*rates, unit="percent") - printed) <= 0.011
            other_rule_fails += abs(mean_of_ders(*rates, unit="percent") - printed) > 0.011
    assert (reproduced, other_rule_fails) == (18, 12)


# ------------------------------------------------------------------ detection


def test_detection_by_hand():
    flagged = np.array([1, 1, 0, 1, 0, 0, 0], dtype=bool)
    dirty = np.array([1, 1, 1, 0, 0, 0, 0], dtype=bool)
    rates = detection_rates(flagged, dirty)
    assert rates == pytest.approx((2 / 3, 1 / 4, 2 / 3))
    assert (rates.tpr, rates.fpr, rates.f1) == tuple(rates)


@given(hnp.arrays(np.bool_, 20), hnp.arrays(np.bool_, 20), st.randoms(use_true_random=False))
def test_detection_rates(flagged, dirty, random):
    dirty[:2] = True, False  # both kinds are there
    rates = detection_rates(flagged, dirty)
    assert all(0 <= rate <= 1 for rate in rates)
    opposite = detection_rates(~flagged, dirty)
    assert opposite.tpr == pytest.approx(1 - rates.tpr) and opposite.fpr == pytest.approx(1 - rates.fpr)
    order = list(range(20))
    random.shuffle(order)
    assert detection_rates(flagged[order], dirty[order]) == rates
    assert detection_rates(dirty, dirty) == (1, 0, 1)
    assert detection_rates(np.zeros(20, bool), dirty) == (0, 0, 0)


# ------------------------------------------------------------------ mistakes


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: clean_accuracy([0, 1], [0]), "pred has 2 entries and y has 1"),
        (lambda: clean_accuracy([], []), "pred has shape"),
        (lambda: clean_accuracy([0.2, 0.8], [0, 1]), "float64"),
        (lambda: clean_accuracy(np.zeros((2, 3), int), [0, 1]), r"pred has shape \(2, 3\)"),
        (lambda: clean_accuracy([0, 1], [0, -1]), "y holds -1"),
        (lambda: attack_success_rate([0, 0], [0, 0], 0), "every image in y belongs to target=0"),
        (lambda: attack_success_rate([0, 1], [0, 1], None), "give n_classes"),
        (lambda: attack_success_rate([0, 1], [0, 7], None, 5), "y holds class 7 but n_classes=5"),
        (lambda: attack_success_rate([0, 1], [0, 1], -1), "target=-1"),
        (lambda: robust_accuracy([0, 1], [0, 1], 9, 5), "target=9"),
        (lambda: der(91.3, 95.0, 90.0, 1.0, unit="fraction"), "acc_before=91.3 must lie in"),
        (lambda: der(0.9, 0.9, 0.9, -0.1, unit="fraction"), "asr_after=-0.1"),
        (lambda: der(90, float("nan"), 90, 1, unit="percent"), "asr_before=nan"),
        (lambda: der(90, [], 90, 1, unit="percent"), "asr_before"),
        (lambda: der(0.9, 0.9, 0.9, 0.1, unit="percents"), "did you mean 'percent'"),
        (lambda: der([1, 2], [1, 2, 3], 1, 1, unit="percent"), "shapes that do not fit"),
        (lambda: detection_rates([1, 0], [True, False]), "flagged has shape"),
        (lambda: detection_rates([True], [True, False]), "flagged has 1 entries"),
        (lambda: detection_rates([True, False], [False, False]), "dirty marks 0 of 2"),
        (lambda: detection_rates([True, False], [True, True]), "dirty marks 2 of 2"),
    ],
)
def test_what_has_no_meaning_is_an_error(call, says):
    with pytest.raises(PaperlibError, match=says):
        call()


def test_the_unit_must_be_said():
    with pytest.raises(TypeError):
        der(0.9, 1.0, 0.8, 0.0)
