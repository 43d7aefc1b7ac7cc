"""The sentences under the benchmark's tables and figures follow the numbers that were drawn."""

import pandas as pd
import pytest

from paperlib.experiments.scales import SMOKE
from paperlib.papers import Results, draw
from paperlib.papers.benchmark import runs
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


def test_the_printed_figures_are_read_by_the_right_numbers() -> None:
    """What the sentences below the figures say is computed here once more, cell by cell from the leaderboard."""

    def said(id_: str) -> str:
        return draw("benchmark", id_, Results(SMOKE, 0, {})).reading

    def curve(dataset: str, model: str, defense: str) -> list[str]:
        proper = runs.board(dataset=dataset, model=model, defense=defense).query("status == ''")
        whole = proper.groupby("attack").filter(lambda cells: len(cells) == 5)
        return [f"{v:.1f}" for v in whole.groupby("ratio").ASR.mean()]

    none, ft, dbd = (curve("cifar10", "preact_resnet18", d) for d in ("none", "ft", "dbd"))
    found = said("fig_ratio")
    assert f"undefended {none[0]} at 0.1 % and {none[4]} at 10 %" in found and f"FT {ft[3]} to {ft[4]}" in found
    assert float(dbd[4]) > float(dbd[3]) and "does not after AC, DBD, SS" in found
    vgg = curve("cifar10", "vgg19", "ft")
    assert f"VGG19: undefended {curve('cifar10', 'vgg19', 'none')[0]}" in said("fig9")
    assert f"FT {vgg[3]} to {vgg[4]}" in said("fig9")
    hundred = curve("cifar100", "preact_resnet18", "ft")
    assert f"FT {hundred[3]} to {hundred[4]}" in said("fig_ratio_cifar100")

    five = runs.board(model="preact_resnet18", ratio=0.05, defense=runs.DEFENSES[1:]).query("status == ''")
    signs = five[five.dataset == "gtsrb"]
    assert f"{(signs.ASR < 10).sum()} of {len(signs)} on GTSRB" in said("fig_overview")
    ten = runs.board(ratio=0.1, dataset="cifar10", defense="abl").query("status == ''")
    abl = ten.groupby("model").ASR.mean()
    assert f"ABL {abl.min():.1f} on PreAct-ResNet18 to {abl.max():.1f} on VGG19" in said("fig_architecture")
    tiny = runs.board(ratio=0.1, dataset="tiny", model="preact_resnet18", defense="nc").query("status == ''")
    assert f"NC {tiny.ASR.mean():.1f}" in said("table_tiny")
