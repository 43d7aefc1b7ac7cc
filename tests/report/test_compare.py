"""Ours beside the printed numbers: verdicts, averages, shape. All numbers called ours here are made up."""

import itertools

import pandas as pd
import pytest

from paperlib.errors import PaperlibError
from paperlib.report import compare
from paperlib.report.compare import DIFFERS, MATCH, MISSING, SCALED, UNPUBLISHED, Tolerance
from paperlib.report.published import published


def frame(*cells, **constants):
    """Cells (attack, defense, metric, value) as a tidy frame."""
    base = {"dataset": "cifar10", "model": "preact_resnet18", "ratio": 0.1, "setting": ""} | constants
    columns = ("attack", "defense", "metric", "value")
    rows = [base | dict(zip(columns, cell, strict=True)) for cell in cells]
    return pd.DataFrame(rows, columns=[*base, *columns])


def printed(*cells, **constants):
    extra = {"item": "table1", "unit": "%", "reading": "printed", "grade": "", "note": "", "source": "a paper"}
    return frame(*cells, **extra | constants)


PRINTED = printed(
    ("sig", "none", "ACC", 90.0),
    ("sig", "none", "ASR", 95.0),
    ("sig", "ft", "ACC", 89.0),
    ("sig", "ft", "ASR", 10.0),
    ("lf", "none", "ASR", 99.0),
    ("lf", "anp", "ASR", float("nan")),
)


def verdicts(comparison):
    return {(r.attack, r.defense, r.metric): r.verdict for r in comparison.itertuples()}


def test_every_verdict():
    ours = frame(
        ("sig", "none", "c_acc", 89.0),
        ("sig", "none", "asr", 89.9),
        ("lf", "anp", "asr", 5.0),
        ("wanet", "none", "asr", 98.0),
    )
    got = compare.compare(ours, PRINTED, scale="paper")
    assert verdicts(got) == {
        ("sig", "none", "ACC"): MATCH,  # 1 point is within 1 point, also in binary
        ("sig", "none", "ASR"): DIFFERS,
        ("sig", "ft", "ACC"): MISSING,
        ("sig", "ft", "ASR"): MISSING,
        ("lf", "none", "ASR"): MISSING,
        ("lf", "anp", "ASR"): UNPUBLISHED,
        ("wanet", "none", "ASR"): UNPUBLISHED,
    }
    none = {compare.EARLIER: 0, compare.FAILED: 0}
    assert compare.summary(got) == {MATCH: 1, DIFFERS: 1, SCALED: 0, UNPUBLISHED: 2, MISSING: 3, **none}
    assert got.difference.dropna().tolist() == pytest.approx([-1.0, -5.1])


def test_a_marked_number_is_shown_and_not_judged_and_one_without_value_failed():
    ours = frame(("sig", "none", "c_acc", 89.0), ("sig", "ft", "c_acc", float("nan"))).assign(mark="why")
    got = compare.compare(ours, PRINTED, scale="paper").set_index(["attack", "defense", "metric"])
    early, failed = got.loc[("sig", "none", "ACC")], got.loc[("sig", "ft", "ACC")]
    assert early.verdict == compare.EARLIER and early.ours == 89 and early.difference == pytest.approx(-1)
    assert failed.verdict == compare.FAILED and failed["mark"] == "why"
    grid = compare.shaped(compare.compare(ours, PRINTED, scale="paper"), everything=True)
    texts = {compare.ours_text(cell) for row in grid.cells for cell in row if cell and cell.mark}
    assert texts == {"89.00", "failed"}


def test_other_scales_are_shown_but_never_judged():
    got = compare.compare(frame(("sig", "none", "asr", 95.0)), PRINTED, scale="laptop")
    assert set(got.verdict) == {SCALED, MISSING}
    assert got.tolerance.isna().all() and got.difference.dropna().tolist() == [0.0]


def test_nothing_is_filled_in():
    got = compare.compare(frame(("sig", "none", "asr", 95.0)), PRINTED, scale="paper")
    assert got.ours.notna().sum() == 1 and got.published.notna().sum() == PRINTED.value.notna().sum()
    assert got[got.ours.isna() | got.published.isna()].difference.isna().all()
    empty = compare.compare(frame(), PRINTED, scale="paper")
    assert set(empty.verdict) == {MISSING}
    alone = compare.compare(frame(("sig", "none", "asr", 1.0)), printed(), scale="paper")
    assert alone.verdict.tolist() == [UNPUBLISHED]


def test_keys_must_agree():
    for name, value in {"dataset": "tiny", "model": "vgg19", "ratio": 0.05, "setting": "clean_ratio=0.1"}.items():
        got = compare.compare(frame(("sig", "none", "asr", 95.0), **{name: value}), PRINTED, scale="paper")
        assert MATCH not in set(got.verdict), name
    nearly = frame(("sig", "none", "asr", 95.0), ratio=0.1 + 1e-12).drop(columns="setting")
    assert MATCH in set(compare.compare(nearly, PRINTED, scale="paper").verdict)


def test_stand_ins():
    ours = frame(("sig", "none", "asr", 95.0), dataset="digits")
    got = compare.compare(ours, PRINTED, scale="smoke", stand_ins={"dataset": {"digits": "cifar10"}})
    assert verdicts(got)["sig", "none", "ASR"] == SCALED
    assert got.ours_dataset.dropna().tolist() == ["digits"]
    with pytest.raises(PaperlibError, match="stand_ins"):
        compare.compare(ours, PRINTED, scale="paper", stand_ins={"dataset": {"digits": "cifar10"}})


def test_mistakes_are_named():
    cell = ("sig", "none", "asr", 95.0)
    with pytest.raises(PaperlibError, match="twice"):
        compare.compare(frame(cell, cell), PRINTED, scale="paper")
    with pytest.raises(PaperlibError, match="ours has no column ratio"):
        compare.compare(frame(cell).drop(columns="ratio"), PRINTED, scale="paper")
    strange = printed(("sig", "none", "MSE", 0.1))
    with pytest.raises(PaperlibError, match="metric='MSE' has no tolerance"):
        compare.compare(frame(("sig", "none", "MSE", 0.1)), strange, scale="paper")
    got = compare.compare(
        frame(("sig", "none", "MSE", 0.1)), strange, scale="paper", tolerances={"MSE": Tolerance(0.01, "made up")}
    )
    assert got.verdict.tolist() == [MATCH]


def test_tolerances_rest_on_the_repetitions():
    """What TOLERANCES says about the cells that two papers repeated, computed from the published numbers."""
    cells = compare._repetitions()
    quiet = cells[cells.metric.eq("ACC") & cells.defense.isin(["none", "ft", "nad"])].apart
    assert (quiet <= compare.TOLERANCES["ACC"].points).mean() == pytest.approx(0.9, abs=0.03)
    undefended = cells[cells.metric.eq("ASR") & cells.defense.eq("none")].apart
    assert (undefended > compare.TOLERANCES["ASR"].points).sum() == 1 and len(undefended) == 8
    after = cells[cells.metric.eq("ASR") & cells.defense.ne("none")].groupby("defense").apart.mean()
    assert after.min() == pytest.approx(13, abs=0.5) and after.max() == pytest.approx(50, abs=0.5)
    assert compare.TOLERANCES["DER"].points == (compare.TOLERANCES["ACC"].points + compare.TOLERANCES["ASR"].points) / 2


def test_noise_is_stated_where_there_are_repetitions():
    assert compare.repetition_noise("ASR", "ft") == pytest.approx(16.1, abs=0.05)
    assert compare.repetition_noise("ACC", "none") == pytest.approx(0.7, abs=0.05)
    assert compare.repetition_noise("ASR", "ft_sam") is None and compare.repetition_noise("DER", "ft") is None


@pytest.mark.parametrize(
    ("paper", "item", "rule"), [("ft_sam", "table1", "of averages"), ("ft_sam", "table2", "of averages")]
)
def test_averages_over_all_attacks_are_those_in_print(paper, item, rule):
    """The paper's own numbers as ours: the average over all attacks must be the printed one, by the paper's rule."""
    numbers = published(paper, item)
    cells = numbers[numbers.attack != "average"]
    comparison = compare.compare(cells[[*compare.KEYS, "value"]], numbers, scale="paper")
    got = compare.averages(comparison, rule).set_index(["defense", "metric"])
    want = numbers[numbers.attack == "average"].set_index(["defense", "metric"]).value
    assert set(got.attack) == {f"average of {cells.attack.nunique()}"}
    assert (got.ours - want).abs().max() < 0.011 and len(got) == len(want)
    assert (got.ours == got.published).all() and set(got.verdict) == {MATCH}


def test_mean_of_cells_is_the_other_rule():
    numbers = published("ft_sam", "table1")
    ours = numbers[numbers.attack != "average"][[*compare.KEYS, "value"]]
    comparison = compare.compare(ours, numbers, scale="paper")
    der = compare.averages(comparison, "of cells").set_index(["defense", "metric"]).ours["ft_sam", "DER"]
    assert der == pytest.approx(96.39, abs=0.01)  # SOURCES.md: printed 96.62, mean of the cells 96.39


def test_averages_are_over_the_same_attacks_on_both_sides():
    numbers = published("ft_sam", "table1")
    names = ("badnets", "blended", "sig")
    ours = numbers[numbers.attack.isin(names) & numbers.defense.isin(["none", "ft"])][[*compare.KEYS, "value"]]
    comparison = compare.compare(ours.assign(value=ours.value + 1), numbers, scale="laptop")
    got = compare.averages(comparison, "of averages").set_index(["defense", "metric"])
    assert set(got.attack) == {"average of 3"} and set(got.verdict) == {SCALED}
    want = numbers[numbers.attack.isin(names)].groupby(["defense", "metric"]).value.mean()
    assert got.published["ft", "ASR"] == pytest.approx(want["ft", "ASR"])
    assert got.difference["ft", "ASR"] == pytest.approx(1)
    # An attack that one of the defenses lacks is in nobody's average.
    fewer = comparison.copy()
    fewer.loc[(fewer.attack == "sig") & (fewer.defense == "ft"), "ours"] = None
    assert set(compare.averages(fewer, "of averages").attack) == {"average of 2"}
    assert compare.averages(comparison.assign(ours=None), "of cells").empty
    with pytest.raises(PaperlibError, match="rule"):
        compare.averages(comparison, "of everything")


def test_coverage_counts():
    numbers = published("ft_sam", "table1")
    ours = numbers[numbers.attack.isin(["sig", "lf"]) & numbers.defense.isin(["none", "ft"])][[*compare.KEYS, "value"]]
    comparison = compare.compare(ours, numbers, scale="paper")
    assert compare.coverage(comparison) == "2 of 10 attacks, 1 of 9 defenses run"
    only_ft = numbers[numbers.defense.isin(["none", "ft"])]
    more = compare.compare(numbers[numbers.attack.eq("sig")][[*compare.KEYS, "value"]], only_ft, scale="paper")
    assert compare.coverage(more) == "1 of 10 attacks, 1 of 1 defense and 8 not printed run"


def test_shape_leaves_out_what_was_not_run():
    ours = frame(("lf", "none", "asr", 98.0), ("wanet", "none", "asr", 97.0))
    comparison = compare.compare(ours, PRINTED, scale="laptop")
    text = compare.text_table(comparison)
    assert text.to_dict("split")["data"] == [["98.00 | 99.00"], ["97.00 | –"]]
    assert text.index.get_level_values(0).tolist() == ["LF", "WaNet"]
    assert text.columns.tolist() == [("No defense", "ASR")]
    whole = compare.shaped(comparison, everything=True, metrics=("ASR", "ACC"))
    assert whole.across == [("none", "ASR"), ("none", "ACC"), ("ft", "ASR"), ("ft", "ACC"), ("anp", "ASR")]
    assert [label for (label,) in whole.down] == ["sig", "lf", "wanet"]
    assert compare.text_table(compare.compare(frame(), PRINTED, scale="laptop")).empty


def test_shape_needs_unique_cells():
    both = pd.concat([PRINTED, PRINTED.assign(dataset="tiny")])
    comparison = compare.compare(frame(("sig", "none", "asr", 95.0)), both, scale="paper")
    with pytest.raises(PaperlibError, match="several values of dataset"):
        compare.shaped(comparison)
    grid = compare.shaped(comparison, rows=("dataset", "attack"), everything=True)
    assert grid.down == list(itertools.product(("cifar10", "tiny"), ("sig", "lf")))
    with pytest.raises(PaperlibError, match="metric='DER'"):
        compare.shaped(comparison, metrics=("DER",))


def test_both_readings_of_a_wrong_print_are_shown():
    numbers = published("ft_sam", "table3")
    ours = numbers.query("attack == 'sig' and defense == 'none' and reading == 'corrected'")[[*compare.KEYS, "value"]]
    comparison = compare.compare(ours, numbers, scale="paper")
    seen = comparison[comparison.ours.notna() & comparison.metric.eq("ACC")]
    assert dict(zip(seen.reading, seen.verdict, strict=True)) == {"printed": DIFFERS, "corrected": MATCH}
    cell = compare.shaped(comparison, metrics=("ACC",)).cells[0][0]
    assert compare.printed_text(cell) == "92.65 → 84.49" and cell.verdict == MATCH and len(cell.notes) == 2
