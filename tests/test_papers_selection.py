"""Grid, drawings and claims of notebook 03, on made-up results whose every number can be traced."""

import base64
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from paperlib.lab.spec import AnalysisSpec, SelectSpec, Spec, TrainSpec
from paperlib.papers import Results, drawable, selection, specs
from paperlib.report.claims import NotRun, evaluate
from paperlib.report.published import inventory
from paperlib.scales import LAPTOP, PAPER, SMOKE, Scale

GAIN = {"random": 0.0, "balanced": 5.0, "fus": 7.0, "lps": 20.0}


def made_up(spec: Spec, gain: dict[str, float]) -> dict[str, Any]:
    if isinstance(spec, TrainSpec):
        budget = round(spec.ratio * 1240 / 9)
        log = [
            {"epoch": e, "lr": 0.1, "loss_clean": 1 / e, "loss_poisoned": None if e == 1 else 2 / e} for e in (1, 2, 3)
        ]
        return {"asr": 30.0 + spec.seed + gain[spec.selection] * budget, "c_acc": 90.0, "log": log}
    if isinstance(spec, SelectSpec):
        rounds = [0.5, 0.75] if spec.strategy in selection.SEARCHES else []
        counts = [0] + [2] * 9
        return {
            "per_class": counts, "overlap": rounds, "overlap_first": rounds, "seconds": 1.5,
            "epoch_equivalents": 6.5 if rounds else 0.0,
        }  # fmt: skip
    assert isinstance(spec, AnalysisSpec)
    picture = base64.b64encode(bytes(192)).decode()
    means = dict.fromkeys(("mean_clean", "mean_triggered", "random_clean", "random_triggered"), 1.0)
    return {
        "shape": [3, 8, 8], "before": [picture] * 9, "after": [picture] * 9, "y": list(range(1, 10)),
        "clean_margin": [1.0] * 9, "triggered_margin": [-1.0] * 9, **means,
    }  # fmt: skip


def results_of(some: Iterable[Spec], gain: dict[str, float] = GAIN, scale: Scale = SMOKE) -> Results:
    every = (one for spec in some for one in spec.ancestry())
    return Results(scale, 0, {spec.key: {"key": spec.key, "result": made_up(spec, gain)} for spec in every})


def verdicts(results: Results) -> dict[str, Any]:
    return {claim.id: verdict for claim, verdict in evaluate(selection.CLAIMS, results)}


def test_grid() -> None:
    assert len(specs("selection", SMOKE)) == 2 * 2 * 4 + 2 * 2 * 2 + 4  # victims, searches, montages
    for scale in (SMOKE, LAPTOP, PAPER):
        found = list(selection.cells(scale, 3))
        assert [s for s, *_ in found] == sorted(s for s, *_ in found) and found[0][0] == 3  # complete seeds first
        for _, k, strategy, spec in found:
            assert round(spec.ratio * selection.SIZES[scale.name]) == 9 * k
            assert (spec.selected is None) == (strategy == "random")
    assert scale.n_train in (0, selection.SIZES[scale.name])
    ids = {item.id for item in inventory("selection")}
    assert set(selection.ITEMS) | set(selection.PLANNED) == ids and not set(selection.ITEMS) & set(selection.PLANNED)


@pytest.mark.parametrize("id_", drawable("selection"))
def test_drawn_from_all_and_from_some_results(id_: str) -> None:
    item = drawable("selection")[id_]
    whole = results_of(specs("selection", SMOKE))
    made = item.draw(whole)
    assert len(made.frame) and made.results
    some = [spec for spec in specs("selection", SMOKE) if spec.seed == 0]
    part = item.draw(results_of(some))
    assert len(part.frame) <= len(made.frame)
    with pytest.raises(NotRun):
        item.draw(results_of([]))


def test_gaps_are_counted_and_the_table_shows_means() -> None:
    some = [spec for spec in specs("selection", SMOKE) if spec.seed == 0]
    made = selection.ITEMS["table_cifar10"].draw(results_of(some))
    assert "8 of 16 cells" in made.fragment and made.fragment.count("not published to us") == 2
    both = selection.ITEMS["table_cifar10"].draw(results_of(specs("selection", SMOKE)))
    assert "16 of 16 cells" in both.fragment and "30.5 ± 0.7 (2)" in both.fragment  # random at the smaller ratio
    assert "70.5 ± 0.7 (2)" in both.fragment  # LPS at the larger one


@pytest.mark.parametrize(
    ("gain", "false"),
    [
        (GAIN, set()),
        ({**GAIN, "lps": 0.2}, {"lps_random", "lps_fus", "lps_balanced"}),
        ({**GAIN, "balanced": 25.0}, {"lps_balanced"}),
        ({**GAIN, "lps": -5.0}, {"lps_random", "lps_fus", "lps_balanced", "lowest"}),
    ],
)  # fmt: skip
def test_claims(gain: dict[str, float], false: set[str]) -> None:
    found = verdicts(results_of(specs("selection", SMOKE), gain))
    assert {name for name, verdict in found.items() if verdict.holds is False} == false
    assert found["lps_random"].numbers["margin"] == pytest.approx(1.5 * gain["lps"])
    assert found["lps_random"].numbers["seed noise"] == pytest.approx(0.5**0.5)
    assert found["cheap"].numbers["trainings of the victim"] == pytest.approx(6.5 / 6)


@pytest.mark.parametrize(
    ("keep", "said"),
    [
        (lambda spec: spec.seed == 0, "one seed has no noise"),
        (lambda spec: getattr(spec, "selection", "") == "random", "LPS has no result"),
        (lambda spec: False, "no result at smoke scale"),
    ],
)
def test_claims_that_cannot_be_decided(keep: Callable[[Any], bool], said: str) -> None:
    found = verdicts(results_of(spec for spec in specs("selection", SMOKE) if keep(spec)))
    assert found["lps_random"].holds is None and said in found["lps_random"].reason


def test_no_verdict_where_random_leaves_no_room() -> None:
    full = results_of(specs("selection", SMOKE))
    for row in full.rows.values():
        row["result"]["asr"] = 95.0  # type: ignore[index]
    assert "no mean ASR between 20 and 90" in verdicts(full)["lps_random"].reason
