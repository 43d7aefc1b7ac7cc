"""Grid, drawings and claims of notebook 03, on made-up results whose every number can be traced."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from paperlib.errors import PaperlibError
from paperlib.experiments import plan
from paperlib.experiments.scales import LAPTOP, PAPER, SMOKE, Scale
from paperlib.experiments.specs import AnalysisSpec, DefendSpec, SelectSpec, TrainSpec
from paperlib.lab.spec import Spec
from paperlib.papers import Results, drawable, selection, specs
from paperlib.papers.selection import digits, runs, tables
from paperlib.report.claims import NotRun
from paperlib.selection.lps import LPS

from .made_up import PICTURE, MadeUp

GAIN = {"random": 0.0, "balanced": 5.0, "fus": 7.0, "lps": 20.0}
scales = pytest.mark.parametrize("scale", [SMOKE, LAPTOP, PAPER], ids=lambda scale: scale.name)
DRAWN = [id_ for id_ in drawable("selection") if drawable("selection")[id_].specs(SMOKE, 0)]


def made_up(spec: Spec, gain: dict[str, float]) -> dict[str, Any]:
    if isinstance(spec, TrainSpec):
        budget = spec.ratio * 1240 / 9 / 2  # 1 at the budget of smoke
        log = [
            {"epoch": e, "lr": 0.1, "loss_clean": 1 / e, "loss_poisoned": None if e == 1 else 2 / e} for e in (1, 2, 3)
        ]
        return {"asr": 30.0 + spec.seed + gain[spec.selection] * budget, "c_acc": 90.0, "log": log}
    if isinstance(spec, DefendSpec):
        return {"asr": 10.0, "c_acc": 80.0}
    if isinstance(spec, SelectSpec):
        rounds = [0.5, 0.75] if spec.strategy in runs.SEARCHES else []
        losses = {name: [3.0, 2.0] for name in ("poisoned_chosen", "clean_chosen", "poisoned_all", "clean_all")}
        return {
            "per_class": [0] + [2] * 9, "overlap": rounds, "overlap_first": rounds, "seconds": 1.5,
            "epoch_equivalents": 6.5 if rounds else 0.0, **({"loss": losses} if spec.strategy == "lps" else {}),
        }  # fmt: skip
    assert isinstance(spec, AnalysisSpec)
    if spec.tool == "dynamics":
        return {"poisoned": {"n": 10, "events": [4, 2, 2], "never": 2}}
    means = dict.fromkeys(("mean_clean", "mean_triggered", "random_clean", "random_triggered"), 1.0)
    points = {"others": [[0.0, 1.0]] * 3, "others_y": [0, 1, 2], "clean": [[1.0, 1.0]], "triggered": [[2.0, 0.0]]}
    return {
        "shape": [3, 8, 8], "before": [PICTURE] * 9, "after": [PICTURE] * 9, "y": list(range(1, 10)),
        "clean_margin": [1.0] * 9, "triggered_margin": [-1.0] * 9, **means,
        "place": {**points, "to_own": 1.25, "to_target": 0.75},
    }  # fmt: skip


def results_of(some: Iterable[Spec], gain: dict[str, float] = GAIN, scale: Scale = SMOKE) -> Results:
    return MadeUp("selection", lambda spec: made_up(spec, gain)).results(some, scale)


def verdicts(results: Results) -> dict[str, Any]:
    return MadeUp("selection", lambda spec: {}).verdicts(results)


def trained(some: Iterable[Spec]) -> list[Spec]:
    return [spec for spec in some if isinstance(spec, TrainSpec)]


@scales
def test_grid(scale: Scale) -> None:
    part = runs.SLICES[scale.name]
    found = list(runs.cells(scale, 3))
    budgets = [cell.per_class for cell in found]
    assert list(dict.fromkeys(budgets)) == list(part.per_class)  # the main budget first
    assert budgets == [k for k in part.per_class for _ in range(len(found) // len(part.per_class))]
    first = found[: 4 * part.seeds]
    assert [cell.seed for cell in first] == sorted(cell.seed for cell in first) and found[0].seed == 3
    assert {cell.strategy for cell in first} == set(runs.STRATEGIES)
    for cell in found:
        n = cell.spec.n_train or 50_000
        assert round(cell.spec.ratio * n) == 9 * cell.per_class and cell.spec.width == part.width
        assert (cell.spec.selected is None) == (cell.strategy == "random")
        if isinstance(cell.spec.selected, SelectSpec):
            assert cell.spec.selected.prepared == cell.spec.prepared and cell.spec.selected.ratio == cell.spec.ratio


def test_sizes() -> None:
    """Smoke stays small; the paper's table of CIFAR-10 is planned in full."""
    assert len(trained(specs("selection", SMOKE))) == 4 + 1 + 2 + 1 + 8  # grid, constraint, another victim, T, digits
    assert len(list(runs.cells(PAPER, 0))) == 6 * 5 * 5 * 4
    assert {cell.attack for cell in runs.cells(PAPER, 0)} == {
        "badnets", "badnets_a2a", "blended", "sig", "ssba", "trojannn",
    }  # fmt: skip


@pytest.mark.parametrize(("dataset", "count"), [("cifar100", 6 * 5), ("tiny_imagenet", 6 * 5 - 3)])
def test_other_data_sets_at_paper_scale(dataset: str, count: int) -> None:
    found = list(runs.cells(PAPER, 0, dataset))
    assert len(found) == count * 5 * 4  # SIG cannot poison more than the target class holds
    assert {cell.spec.dataset for cell in found} == {dataset}
    assert min(cell.spec.ratio for cell in found) == pytest.approx(
        {"cifar100": 0.00198, "tiny_imagenet": 0.00199}[dataset]
    )
    for scale in (SMOKE, LAPTOP):
        assert not list(runs.cells(scale, 0, dataset))
    id_ = {"cifar100": "table_cifar100", "tiny_imagenet": "table_tiny"}[dataset]
    with pytest.raises(NotRun, match=f"is planned at paper scale; `paperlib data fetch {dataset}`"):
        selection.ITEMS[id_].draw(results_of(specs("selection", SMOKE)))
    some = [cell.spec for cell in found if cell.seed == 0][:5]
    made = selection.ITEMS[id_].draw(results_of(some, scale=PAPER))
    assert f"5 of {len(found)} cells" in made.fragment and made.fragment.count("not published to us") == 2


@scales
def test_the_search_of_lps_costs_at_most_two_trainings(scale: Scale) -> None:
    for spec in runs.searches(scale, 0):
        assert isinstance(spec, SelectSpec)
        if spec.strategy == "lps":
            made = LPS(**dict(spec.params))
            assert made.rounds * (made.epochs + 2 / 3) <= 2 * scale.epochs


@scales
def test_ablations_change_what_they_say(scale: Scale) -> None:
    usual = runs.victim(scale, "lps", runs.main_budget(scale), 0)
    first, *others = [specs_ for _, _, s, *specs_ in runs.pair_specs(scale, 0) if s == 0]
    assert first[0] == usual and len(others) >= (1 if scale is SMOKE else 2)
    surrogates = {(spec.selected.model, spec.selected.width) for spec, _ in (first, *others)}  # type: ignore[union-attr]
    victims = {(spec.model, spec.width) for spec, _ in (first, *others)}
    assert (len(surrogates) > 1 or scale is SMOKE) and len(victims) > 1
    for spec, baseline in (first, *others):
        assert (spec.model, spec.width) == (baseline.model, baseline.width) and baseline.selection == "random"
    params = {(swept, t, k): dict(spec.selected.params) for swept, t, k, _, spec in runs.round_specs(scale, 0)}  # type: ignore[union-attr]
    assert all((found["rounds"], found["epochs"]) == (t, k) for (_, t, k), found in params.items())
    for swept, fixed in (("T", 2), ("K", 1)):
        mine = [point for point in params if point[0] == swept]
        if scale is SMOKE and swept == "K":
            continue
        assert len(mine) > 1 and len({point[fixed] for point in mine}) == 1
    rows = {name: spec for name, s, spec in runs.constraint_specs(scale, 0) if s == 0}
    assert rows["lps"] == usual and dict(rows["without PC"].selected.params)["pc"] is False  # type: ignore[union-attr]


@pytest.mark.parametrize("id_", DRAWN)
def test_drawn_from_all_and_from_some_results(id_: str) -> None:
    item = drawable("selection")[id_]
    planned = specs("selection", LAPTOP)
    made = item.draw(results_of(planned, scale=LAPTOP))
    assert len(made.frame) and made.results
    part = item.draw(results_of([spec for spec in planned if spec.seed == 0], scale=LAPTOP))
    assert 0 < len(part.frame) <= len(made.frame)
    with pytest.raises(NotRun):
        item.draw(results_of([]))


@pytest.mark.parametrize("id_", DRAWN)
def test_drawn_at_the_other_scales(id_: str) -> None:
    item = drawable("selection")[id_]
    for scale in (SMOKE, PAPER):
        assert len(item.draw(results_of(item.specs(scale, 0), scale=scale)).frame)


def test_the_overview_needs_no_result() -> None:
    made = selection.ITEMS["fig_overview"].draw(results_of([]))
    assert made.scale == "paper" and not made.results and len(made.frame) == 5


def test_gaps_are_counted_and_the_table_shows_means() -> None:
    planned = specs("selection", LAPTOP)
    made = selection.ITEMS["table_cifar10"].draw(results_of([s for s in planned if s.seed == 0], scale=LAPTOP))
    assert "8 of 40 cells" in made.fragment and made.fragment.count("not published to us") == 2
    every = selection.ITEMS["table_cifar10"].draw(results_of(planned, scale=LAPTOP))
    assert "40 of 40 cells" in every.fragment and "32.0 ± 1.6 (5)" in every.fragment  # random: 30 to 34
    assert "63.0 ± 1.6 (5)" in every.fragment  # LPS: 20 more at the budget of smoke, which 10 images are 1.55 times


def test_tables_of_the_ablations() -> None:
    full = results_of(specs("selection", SMOKE))
    made = selection.ITEMS["table_defenses"].draw(full)
    assert "6 of 6 cells" in made.fragment and "10.0 (1)" in made.fragment and "FT: our choice" in made.fragment
    assert "FP, ABL, NAD, i-BAU are among them" in made.fragment
    made = selection.ITEMS["table_constraints"].draw(full)
    assert "4 of 4 cells" in made.fragment and "LPS without PC" in made.fragment
    assert list(made.frame.of_target.dropna().unique()) == [0]
    laptop = results_of(selection.OURS["analysis"].specs(LAPTOP, 0), scale=LAPTOP)
    made = selection.OURS["analysis"].draw(laptop)
    assert "40 of 40 victims" in made.fragment and "0.75" in made.fragment  # 6 events of 8 learned images
    assert made.frame[made.frame.strategy == "lps"].replaced.unique().tolist() == [25]


def test_the_fit_of_the_victim_and_its_asr() -> None:
    frame = pd.DataFrame({"asr": [10.0, 30.0, 20.0, 60.0, 90.0, 50.0], "learned": [3.0, 1.5, 2.0, 0.5, 0.1, np.nan]})
    assert tables._timing(frame).endswith("-1.00.")
    assert tables._timing(frame.head(4)) == "" == tables._timing(frame.assign(learned=1.0))


def test_two_settings_of_the_victim() -> None:
    """Both have their own images, epochs and budgets; the first is the grid's; a scale with one setting says so."""
    item = selection.OURS["passes"]
    planned = list(runs.setting_specs(LAPTOP, 0))
    assert {cell.spec.key for setting, cell in planned if setting == (4_000, 40)} < {
        cell.spec.key for cell in runs.cells(LAPTOP, 0)
    }
    for (n, epochs), cell in planned:
        assert (cell.spec.n_train, cell.spec.epochs) == (n, epochs) and round(cell.spec.ratio * n) == 9 * cell.per_class
        assert cell.spec.selected is None or cell.spec.selected.n_train == n
    made = item.draw(results_of(item.specs(LAPTOP, 0), scale=LAPTOP))
    assert "40 of 40 victims" in made.fragment and set(made.frame.per_class) == {10, 8, 20, 40}
    with pytest.raises(NotRun, match="laptop"):
        item.draw(results_of(item.specs(SMOKE, 0)))


@pytest.mark.parametrize(
    ("gain", "false"),
    [
        (GAIN, set()),
        ({**GAIN, "lps": 0.2}, {"lps_fus", "lps_balanced"}),
        ({**GAIN, "balanced": 25.0}, {"lps_balanced"}),
        ({**GAIN, "lps": -5.0}, {"lps_random", "lps_fus", "lps_balanced"}),
    ],
)  # fmt: skip
def test_claims(gain: dict[str, float], false: set[str]) -> None:
    found = verdicts(results_of(specs("selection", SMOKE), gain))
    assert {name for name, verdict in found.items() if verdict.holds is False} == false
    assert found["lps_random"].numbers["margin"] == pytest.approx(gain["lps"])
    assert found["lps_random"].numbers["standard error of the margin"] == pytest.approx(0)
    assert found["cheap"].numbers["trainings of the victim"] == pytest.approx(6.5 / 6)
    assert "one ratio" in found["lowest"].reason


@pytest.mark.parametrize(("gain", "holds"), [(2.0, True), (-2.0, False)])
def test_the_lowest_ratio(gain: float, holds: bool) -> None:
    grid = [cell.spec for cell in runs.cells(LAPTOP, 0)]
    assert verdicts(results_of(grid, {**GAIN, "lps": gain}, LAPTOP))["lowest"].holds is holds


@pytest.mark.parametrize(
    ("keep", "said"),
    [
        (lambda spec: spec.seed == 0, "one pair of runs"),
        (lambda spec: getattr(spec, "selection", "") == "random", "lps and random are not both run on digits"),
        (lambda spec: False, "no victim on digits has a result at smoke scale"),
    ],
)
def test_claims_that_cannot_be_decided(keep: Callable[[Any], bool], said: str) -> None:
    found = verdicts(results_of(spec for spec in specs("selection", SMOKE) if keep(spec)))
    assert found["lps_random"].holds is None and said in found["lps_random"].reason


def test_beside_the_verdict_stands_the_paper_s_setting_where_random_leaves_room() -> None:
    full = results_of(specs("selection", LAPTOP), scale=LAPTOP)
    assert len(verdicts(full)["lps_random"].numbers) == 6
    for row in full.rows.values():
        if row["spec"].get("model") != digits.MODEL:
            row["result"]["asr"] = 95.0  # type: ignore[index]
    assert len(verdicts(full)["lps_random"].numbers) == 4


# -------------------------------------------------------------------------------------------------------- on digits


def made(**asr: list[float]) -> pd.DataFrame:
    rows = [(seed, name, value, 99.0) for name, values in asr.items() for seed, value in enumerate(values)]
    return pd.DataFrame(rows, columns=["seed", "strategy", "asr", "c_acc"])


def test_paired_differences_by_hand() -> None:
    """Runs of a seed belong together: their differences decide, not the spread of the seeds."""
    found = digits.paired(made(random=[10, 50, 90], lps=[12, 53, 94]), "lps", "random")
    assert (found.mean, found.wins, found.n) == (3.0, 3, 3) and found.error == pytest.approx(3**-0.5) and found.decided
    far = digits.paired(made(random=[10, 50, 90], lps=[40, 40, 90]), "lps", "random")
    assert far.mean == pytest.approx(20 / 3) and not far.decided and far.wins == 1
    assert not digits.paired(made(random=[10, 50], lps=[20]), "lps", "random").decided
    with pytest.raises(NotRun, match="no pair of runs"):
        digits.paired(made(random=[10, 50], lps=[np.nan]), "lps", "random")


def test_the_table_on_digits() -> None:
    item = drawable("selection")["digits"]
    made = item.draw(results_of(item.specs(LAPTOP, 0), GAIN, LAPTOP))
    assert set(made.frame.strategy) == set(runs.STRATEGIES) and made.frame.seed.nunique() == 10
    assert "+15.0 ± 0.0" in made.html and "10 of 10" in made.html
    assert "+5.0 of the +20.0 points that LPS is ahead of random selection: 25 %" in made.html
    planned = {spec.key: spec for spec in item.specs(LAPTOP, 0)}
    assert all(dict(one.selected.params)["schedule"] == "linear" for one in planned.values() if one.selection == "lps")


def test_a_reader_s_strategies_and_budget() -> None:
    item = drawable("selection")["digits"]
    assert item.parameters == ("strategies", "per_class")
    other = item.changed(strategies=["random", "lps"], per_class=4)
    victims = other.specs(SMOKE, 0)
    assert {spec.selection for spec in victims} == {"random", "lps"}
    assert {round(spec.ratio * spec.n_train) for spec in victims} == {36}
    assert "4 images per class" in other.draw(results_of(victims)).caption
    for wrong, said in (
        ({"strategies": ["lps"]}, "at least two"),
        ({"strategies": ["lps", "lpz"]}, "did you mean 'lps'"),
        ({"per_class": 0}, "per_class=0 must be a whole number from 1 to 100"),
    ):
        with pytest.raises(PaperlibError, match=said):
            item.changed(**wrong)


def test_recorded_searches_keep_their_keys() -> None:
    """They name no schedule and mean a constant rate; what is planned without saying falls to 0 in each round."""
    for scale in (SMOKE, LAPTOP):
        found = [cell.spec.selected for cell in runs.cells(scale, 0) if cell.strategy == "lps"]
        assert found and all("schedule" not in dict(one.params) for one in found)
    assert (
        dict(plan.select(PAPER, "lps", "badnets", 0.01).params) == {"schedule": "linear"} and LPS().schedule == "linear"
    )
