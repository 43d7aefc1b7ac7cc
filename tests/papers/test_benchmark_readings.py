"""The sentences under the benchmark's tables and figures follow the numbers that were drawn."""

import pandas as pd
import pytest

from paperlib.papers.benchmark.readings import READINGS


def test_a_board_s_mean_follows_its_cells_and_leaves_out_what_is_no_result() -> None:
    rows = [
        ("badnets", "none", 90.0, ""),
        ("badnets", "ft", 10.0, ""),
        ("lf", "none", 70.0, ""),
        ("lf", "ft", 50.0, ""),
    ]
    rows += [("sig", "ft", 1.0, "collapsed")]
    frame = pd.DataFrame(rows, columns=["attack", "defense", "ASR", "status"]).assign(ACC=90.0, **{"R-ACC": 0.0})
    found = READINGS["table_gtsrb"](frame)
    assert "over 2 attacks: undefended 80.0; FT 30.0." in found and "10.0 (BadNets) to 50.0 (LF)" in found


def test_an_attack_that_was_not_learned_is_named_as_such() -> None:
    frame = pd.DataFrame(
        {"Attack": ["BadNets", "SIG"], "ASR": [12.0, 91.0], "C-Acc": [80.0, 60.0], "Learned": ["no", "yes"]}
    )
    found = READINGS["our_attacks"](frame)
    assert "Learned, with their ASR: SIG 91.0." in found and "Not learned (an ASR below 50)" in found
    none = READINGS["our_attacks"](frame[:1])
    assert none.startswith("No attack was learned here.") and "80.0" in none


@pytest.mark.parametrize(("last", "word"), [(30.0, "it falls"), (70.0, "it does not fall")])
def test_the_curve_over_the_ratio(last: float, word: str) -> None:
    rows = [
        (r, d, v) for r, none, ft in ((0.05, 95.0, 60.0), (0.1, 99.0, last)) for d, v in (("none", none), ("ft", ft))
    ]
    frame = pd.DataFrame(rows, columns=["ratio", "defense", "ours"]).assign(attack="blended")
    assert word in READINGS["our_ratio"](frame)
    unlearned = READINGS["our_ratio"](frame.assign(ours=3.0))
    assert unlearned == "Blended is learned at none of the ratios that were run."


def test_without_a_learned_attack_nothing_is_said_of_defenses() -> None:
    frame = pd.DataFrame(
        {"attack": "badnets", "defense": ["none", "ft"], "metric": "ASR", "ours": [9.0, 1.0], "published": 95.0}
    )
    assert READINGS["our_defenses"](frame).startswith("No attack has an undefended ASR of 50 or more here")
    found = READINGS["our_defenses"](frame.assign(ours=[92.0, 1.0]))
    assert (
        found.startswith("Of 2 cells with a printed ASR 1 are within ten points")
        and "FT under BadNets 1.0 (95.0)" in found
    )
