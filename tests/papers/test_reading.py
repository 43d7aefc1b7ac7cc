"""The sentences under a table of defenses follow its numbers."""

import numpy as np
import pandas as pd
import pytest

from paperlib.papers.reading import reactivation, reading

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
        {
            **key,
            "scale": "laptop",
            "published": np.nan,
            "attack": attack,
            "defense": defense,
            "setting": setting,
            "metric": metric,
            "ours": ours,
        }
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


def test_where_nothing_is_ours_the_printed_averages_are_read() -> None:
    printed = frame(
        [("average", "none", "", 93.0, 90.0), ("average", "ft", "", 92.0, 41.5), ("average", "ft_sam", "", 94.0, 1.0)]
    )
    printed = printed.assign(published=printed.ours, ours=np.nan)
    assert reading(printed, "ft_sam") == (
        "In print FT-SAM brings the average ASR from 90.0 to 1.0 (FT 41.5) and gains 1.0 points of C-Acc."
    )
    assert reading(printed[printed.defense != "none"], "ft_sam") == ""


def test_at_the_paper_s_own_settings_print_stands_beside_it() -> None:
    both = frame(BOTH).assign(scale="paper").assign(published=lambda f: f.ours)
    both.loc[(both.attack == "blended") & (both.defense == "ft_sam") & (both.metric == "ASR"), "published"] = 1.0
    found = reading(both, "ft_sam")
    assert "C-Acc / ASR, ours (printed): BadNets undefended 70.0 / 90.0 (70.0 / 90.0)" in found
    assert "Of 6 cells with a printed ASR 5 are within ten points of it." in found
    assert found.endswith("Farthest from print, ours (printed): FT-SAM under Blended 30.0 (1.0).")


def test_what_a_perturbation_reaches() -> None:
    rows = [
        ("blended", "none", 99.0, 50.0, 100.0),
        ("blended", "ft", 60.0, 30.0, 87.0),
        ("blended", "clean", 1.0, 23.0, 24.0),
    ]
    images = ("trigger", "perturbation", "trigger + perturbation")
    whole = pd.DataFrame(
        [
            {"attack": a, "model": m, "image": i, "asr": v}
            for a, m, *values in rows
            for i, v in zip(images, values, strict=True)
        ]
    )
    assert reactivation(whole).endswith("Blended: after FT 87, never attacked 23.")
    assert reactivation(whole.assign(asr=9.0)).endswith("Blended was not learned.")
