"""What counts as a collapsed run, and what does not: weak models, two classes, test sets whose classes differ in
size."""

import numpy as np
import pytest

from paperlib.experiments.collapse import reason


def balanced(classes: int, each: int) -> np.ndarray:
    return np.repeat(np.arange(classes), each)


def right(y: np.ndarray, share: float, seed: int = 0) -> np.ndarray:
    """Predictions that are right for ``share`` of the images, and otherwise any class."""
    rng = np.random.default_rng(seed)
    return np.where(rng.uniform(size=len(y)) < share, y, rng.integers(y.max() + 1, size=len(y)))


@pytest.mark.parametrize("share", [0.9, 0.97, 1.0])
def test_one_class_for_nearly_all(share: float) -> None:
    y = balanced(10, 100)
    pred = y.copy()
    pred[np.random.default_rng(0).permutation(1000)[: int(1000 * share)]] = 3
    assert reason(pred, y).startswith("class 3 is 9") or reason(pred, y).startswith("class 3 is 100")


@pytest.mark.parametrize("classes", [2, 10, 43])
def test_guessing_is_chance(classes: int) -> None:
    y = balanced(classes, 50)
    found = [reason(right(y, 0.0, seed), y) for seed in range(40)]
    assert sum(bool(text) for text in found) >= 35  # two standard errors
    assert all("is chance" in text for text in found if text)


@pytest.mark.parametrize(("classes", "each", "share"), [(2, 180, 0.5), (10, 36, 0.2), (10, 500, 0.05), (200, 50, 0.02)])
def test_a_weak_model_has_not_collapsed(classes: int, each: int, share: float) -> None:
    y = balanced(classes, each)
    assert not any(reason(right(y, share, seed), y) for seed in range(20))


def test_classes_that_differ_in_size() -> None:
    y = np.repeat([0, 1], [950, 50])
    good = y.copy()
    good[950:970] = 0  # two in five of the rare class are missed: 97 % of the predictions are class 0
    assert not reason(good, y)
    assert reason(np.zeros(1000, int), y) == "class 0 is 100 % of its predictions"
    always_most = right(np.repeat([0, 1, 2], [600, 200, 200]), 0.3)
    assert not reason(always_most, np.repeat([0, 1, 2], [600, 200, 200]))  # below 60 %, and yet no chance


def test_a_test_set_of_one_class_says_nothing() -> None:
    assert not reason(np.zeros(10, int), np.zeros(10, int))
