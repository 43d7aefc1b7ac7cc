"""Statistics over the attacks of a benchmark: ranks, their intervals, and what survives a repetition."""

import numpy as np
import pandas as pd
import pytest

from paperlib.errors import PaperlibError
from paperlib.report import ranks


def test_critical_difference_of_the_textbook() -> None:
    """Demsar's example: four classifiers, fourteen data sets."""
    assert ranks.critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)


def test_ranks_that_no_draw_can_move_and_ranks_that_every_draw_moves() -> None:
    table = pd.DataFrame({"ft": [50.0, 60, 70], "anp": [1.0, 2, 3], "nc": [90.0, 95, 99]}, index=list("abc"))
    found = ranks.bootstrap(table, draws=200).set_index("defense")
    assert found["rank"].to_dict() == {"ft": 2, "anp": 1, "nc": 3} and found.loc["anp", "first"] == 1
    assert (found.low == found.high).all() and found.mean_rank.to_dict() == {"ft": 2, "anp": 1, "nc": 3}
    split = pd.DataFrame({"ft": [0.0, 100], "nc": [100.0, 0]})
    found = ranks.bootstrap(split, draws=400).set_index("defense")
    assert found.low.to_dict() == {"ft": 1, "nc": 1} and found.high.to_dict() == {"ft": 2, "nc": 2}
    assert found.loc["ft", "first"] == pytest.approx(0.75, abs=0.08)  # wins a quarter, shares a half
    with pytest.raises(PaperlibError, match="1 gaps"):
        ranks.bootstrap(pd.DataFrame({"ft": [1.0, np.nan], "nc": [2.0, 3.0]}))


def test_standard_deviation_from_the_difference_of_two_runs() -> None:
    a, b = np.random.default_rng(0).normal(0, 7, (2, 100_000))
    assert ranks.repetition_sd(float(np.abs(a - b).mean())) == pytest.approx(7, rel=0.02)


def test_survival_of_statements() -> None:
    cells = pd.DataFrame({"defense": ["ft", "nc"], "ASR": [40.0, 60.0]})
    below = {"ft lower": lambda c: c.ASR[0] < c.ASR[1]}
    assert ranks.survival(cells, {"ft": 0, "nc": 0}, below) == {"ft lower": 1}
    noisy = ranks.survival(cells, {"ft": 20, "nc": 20}, below, draws=4000)
    assert noisy["ft lower"] == pytest.approx(0.760, abs=0.03)  # P(N(20, 20 sqrt 2) > 0), hardly cut off
    with pytest.raises(PaperlibError, match="noise has no value for the defense 'nc'"):
        ranks.survival(cells, {"ft": 1}, below)
