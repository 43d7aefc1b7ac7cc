"""The sentences under a table of defenses follow its numbers."""

import numpy as np
import pandas as pd
import pytest

from paperlib.papers.reading import reading

Row = tuple[str, str, str, float, float]
BOTH: list[Row] = [
    ("badnets", "none", "", 70.0, 90.0),
    ("badnets", "ft", "", 69.0, 40.0),
    ("badnets", "ft_sam", "", 68.0, 10.0),
    ("blended", "none", "", 72.0, 100.0),
    ("blended", "ft", "", 71.0, 20.0),
    ("blended", "ft_sam", "", 66.0, 30.0),
]


def frame(rows: list[Row]) -> pd.DataFrame:
    key = {"dataset": "cifar10", "model": "preact_resnet18", "ratio": 0.1}
    return pd.DataFrame(
        {**key, "attack": attack, "defense": defense, "setting": setting, "metric": metric, "ours": ours}
        for attack, defense, setting, *values in rows
        for metric, ours in zip(("ACC", "ASR"), values, strict=True)
    )


def test_the_own_defense_among_others() -> None:
    assert reading(frame(BOTH), "ft_sam") == (
        "Means over BadNets, Blended: FT-SAM leaves an ASR of 20.0 (undefended 95.0) and costs 4.0 points of C-Acc. Of"
        " the others FT leaves 30.0. In 1 of 2 rows FT-SAM has the lowest ASR."
    )


def test_another_number_another_sentence_and_who_lacks_a_row_has_no_mean() -> None:
    rows = [*BOTH[:5], ("blended", "ft_sam", "", 66.0, 10.0), ("badnets", "nad", "", 60.0, 1.0)]
    found = reading(frame(rows), "ft_sam")
    assert "an ASR of 10.0" in found and "In 2 of 2 rows" in found and "NAD" not in found


@pytest.mark.parametrize("rate", [20.0, np.nan])
def test_an_attack_that_was_not_learned_says_nothing(rate: float) -> None:
    assert reading(frame([("badnets", "none", "", 70.0, rate), *BOTH[1:3]]), "ft_sam") == ""
    assert reading(frame([("badnets", "none", "", 70.0, rate), *BOTH[1:]]), "ft_sam").startswith("Blended: FT-SAM")


def test_settings() -> None:
    rows = [BOTH[0], ("badnets", "sau", "beta=0.1", 69.0, 5.0), ("badnets", "sau", "beta=1", 60.0, 2.5)]
    assert reading(frame(rows), "sau") == "BadNets: SAU (C-Acc / ASR): beta 0.1 69.0 / 5.0; beta 1 60.0 / 2.5."


def test_without_a_result_no_sentence() -> None:
    assert reading(frame(BOTH[:1]), "ft_sam") == reading(frame([]).reindex(columns=frame(BOTH).columns), "") == ""
