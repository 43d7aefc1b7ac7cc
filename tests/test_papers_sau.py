"""The SAU paper's grid, items and claims, on made-up results whose every number can be traced."""

import re
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from paperlib import papers
from paperlib.lab.spec import AnalysisSpec, DefendSpec, Spec, TrainSpec
from paperlib.metrics import der
from paperlib.papers import Results, benchmark_runs, sau
from paperlib.report.artefact import Artefact
from paperlib.report.claims import NotRun, evaluate
from paperlib.report.published import inventory, published
from paperlib.scales import LAPTOP, PAPER, SMOKE, Scale

Change = Callable[[Spec, dict[str, Any]], dict[str, Any]]
EPOCHS = [0, 2, 4]


def origin(spec: Spec) -> TrainSpec:
    return next(s for s in spec.ancestry() if isinstance(s, TrainSpec))


def curve(spec: AnalysisSpec) -> dict[str, Any]:
    params = dict(spec.params)
    inner, outer = params.get("inner", "shared"), params.get("outer", "shared")
    asr, c_acc = (5.0 if inner == "shared" else 40.0), (88.0 if outer == "shared" else 70.0)
    types = [[40, 0, 0], [10, 5, 5], [2, 4, 6]]
    return {
        "n": 60, "epoch": EPOCHS, "c_acc": [90.0, 80.0, c_acc], "asr": [97.0, 30.0, asr], "clean": [0.1, 0.2, 0.12],
        "backdoor": [0.9, 0.3, 0.05], "sub": [0.92, 0.4, 0.2], "adversarial": [0.95, 0.8, 0.7], "shared": [0.9, 0.3, 0.1],
        "types": {"shared": types, "vanilla": types},
    }  # fmt: skip


def believable(spec: Spec) -> dict[str, Any]:
    """A result of which every claim of the paper holds; numbers differ from spec to spec."""
    small = float(np.random.default_rng(int(spec.key, 16)).uniform(0, 0.5))
    if isinstance(spec, TrainSpec):
        return {"c_acc": 90 + small, "asr": 97 + small, "r_acc": 2 + small, "seconds": 1 + small}
    if isinstance(spec, DefendSpec):
        asr = 2.0 if spec.defense == "sau" else 40.0
        if dict(spec.params).get("norm") == "ensemble":
            asr = 1.0
        return {
            "c_acc": 86 + small + spec.n_clean / 1000, "asr": asr + small, "r_acc": 95 - asr + small, "seconds": 3 + small
        }  # fmt: skip
    assert isinstance(spec, AnalysisSpec)
    n = len(spec.inputs)
    if spec.tool == "sau_curve":
        return curve(spec)
    if spec.tool == "adversarial_risk":
        types = [[50, 0, 0], [40, 5, 3], [4, 20, 10]]
        risks = {name: [0.9, 0.5, 0.1] for name in ("clean", "backdoor", "adversarial", "sub", "shared")}
        return {"n": 60, **risks, "types": {"shared": types, "vanilla": types}}
    if spec.tool == "shared_features":
        return {"clean": [5.0, 6.0], "shared": [1 + small, 2.0], "other": [4.0, 5.0]}
    assert spec.tool == "reactivation"
    pairs = [[1 + k + small, 20 + k + small] for k in range(n)]
    return {"eps": 0.031373, "n": 60, "clean": pairs, "triggered": [[b, b + 50] for _, b in pairs]}


def results_of(
    specs: Iterable[Spec], scale: Scale = SMOKE, change: Change | None = None, without: Iterable[Spec] = ()
) -> Results:
    left_out, rows = {spec.key for spec in without}, {}
    for spec in (one for leaf in specs for one in leaf.ancestry()):
        if spec.key not in left_out and spec.kind != "prepare":
            result = believable(spec)
            rows[spec.key] = {"key": spec.key, "result": change(spec, result) if change else result}
    return Results(scale, 0, rows)


def everything(scale: Scale = SMOKE, **options: Any) -> Results:
    return results_of(papers.specs("sau", scale), scale, **options)


def drawn(id_: str, results: Results) -> Artefact:
    results.forget()
    return papers.drawable("sau")[id_].draw(results)


# ------------------------------------------------------------------------------------------------------- the grid


def test_every_item_is_there_or_has_a_reason() -> None:
    assert sorted([*sau.ITEMS, *sau.PLANNED]) == sorted(item.id for item in inventory("sau"))
    assert all(len(reason) > 20 for reason in sau.PLANNED.values())


def test_models_and_defenses_are_the_benchmarks() -> None:
    """Whatever the benchmark runs too has the same key, so it is computed once."""
    for scale in (SMOKE, LAPTOP):
        shared = {s.key for s in (*benchmark_runs.attack_specs(scale, 0), *benchmark_runs.defense_specs(scale, 0))}
        mine = {spec.key: spec for leaf in papers.specs("sau", scale) for spec in leaf.ancestry()}
        own = [spec for key, spec in mine.items() if key not in shared and spec.kind in ("train", "defend")]
        assert not [
            spec.label for spec in own if isinstance(spec, TrainSpec)
        ]  # no model is trained for this paper alone
        if scale is LAPTOP:
            assert {(s.defense, origin(s).attack) for s in own if isinstance(s, DefendSpec)} <= {
                ("sau", "badnets"), ("sau", "blended"), ("sau", "ssba")
            }  # fmt: skip
            assert len(own) <= 9  # three sizes of the clean subset on two attacks, two sets, SSBA


def test_the_usual_number_of_clean_images_is_the_usual_run() -> None:
    for scale in (SMOKE, LAPTOP, PAPER):
        parent = benchmark_runs.attacked(scale, "badnets")
        usual = benchmark_runs.defended(scale, parent, "sau").key
        assert sau.sampled(scale, parent, "sau", scale.n_clean).key == usual == sau.variant(scale, parent, "sau").key
        assert scale.n_clean == sau.SLICES[scale.name].samples[0]


def test_variants_differ_and_curves_are_of_the_objectives() -> None:
    parent = benchmark_runs.attacked(LAPTOP, "badnets")
    assert len({sau.variant(LAPTOP, parent, name).key for name in sau.NORMS}) == 3
    curves = {name: dict(sau.curve_spec(LAPTOP, "blended", name, 0).params) for name in sau.OBJECTIVES}
    assert [(p.get("inner"), p.get("outer")) for p in curves.values()] == [
        (None, None), (None, "vanilla"), ("vanilla", None), ("vanilla", "vanilla")
    ]  # fmt: skip
    assert all(p["epochs"] == LAPTOP.changes["sau"]["epochs"] for p in curves.values())


def test_the_whole_grid() -> None:
    specs = list(sau.whole_grid(PAPER))
    assert len({s.key for s in specs}) == len(specs)
    # CIFAR-10: 7 attacks, elsewhere 6; VGG19 has no batch norm, so neither ANP nor EP
    assert len(specs) == (7 + 6 + 6 + 7 + 6) * 8 + (7 + 6 + 6) * 6
    keys = {s.key for s in specs}
    assert {s.key for s in sau.ITEMS["table3"].specs(PAPER, 0)} <= keys


def test_ablation_is_of_tiny_imagenet_at_paper_scale_only() -> None:
    found = {scale.name: {origin(s).dataset for s in sau.ITEMS["fig3"].specs(scale, 0)} for scale in (LAPTOP, PAPER)}
    assert found == {"laptop": {"cifar10"}, "paper": {"tiny_imagenet"}}


# ---------------------------------------------------------------------------------------------------------- drawing


@pytest.mark.parametrize("scale", [SMOKE, LAPTOP, PAPER], ids=lambda scale: scale.name)
@pytest.mark.parametrize("id_", [*sau.ITEMS, *sau.OURS])
def test_an_item_is_drawn_from_its_own_experiments(id_: str, scale: Scale) -> None:
    specs = papers.drawable("sau")[id_].specs(scale, 0)
    results = results_of(specs, scale)
    made = drawn(id_, results)
    assert (made.paper, made.id) == ("sau", id_) and len(made.frame)
    assert {spec.key for spec in specs} <= set(made.results) <= set(results.rows)
    if id_ != "table2":
        assert made.scale == scale.name and f"{scale.name} scale" in made.caption
    if id_ in ("table1", "table3", "table6", "table7", "table23", "fig3", "our_reactivation") and specs:
        assert re.search(r"\d of \d+ (printed )?(attack|defense)", made.caption)  # how much of what is printed
    if made.figure is not None and scale is SMOKE:
        made.figure.canvas.draw()


@pytest.mark.parametrize("id_", [*sau.ITEMS, *sau.OURS])
def test_without_results_nothing_is_drawn(id_: str) -> None:
    if papers.drawable("sau")[id_].specs(LAPTOP, 0):
        with pytest.raises(NotRun, match="laptop scale"):
            drawn(id_, Results(LAPTOP, 0, {}))


def test_table_3_holds_the_results_and_averages_the_ders() -> None:
    results = everything(LAPTOP)
    frame = drawn("table3", results).frame
    parents = [benchmark_runs.attacked(LAPTOP, name) for name in sau.SLICES["laptop"].attacks]
    ders = {}
    for parent in parents:
        before, after = results.need(parent), results.need(benchmark_runs.defended(LAPTOP, parent, "sau"))
        mine = frame[(frame.attack == parent.attack) & (frame.defense == "sau")].set_index("metric").ours
        ders[parent.attack] = der(before["c_acc"], before["asr"], after["c_acc"], after["asr"], unit="percent")
        assert mine.to_dict() == pytest.approx(
            {"ACC": after["c_acc"], "ASR": after["asr"], "R-ACC": after["r_acc"], "DER": ders[parent.attack]}
        )
    average = frame[frame.attack == "average of 6"].set_index(["defense", "metric"])
    assert average.loc[("sau", "DER"), "ours"] == pytest.approx(np.mean(list(ders.values())))
    table = published("sau", "table3")
    of_sau = table[(table.defense == "sau") & (table.metric == "DER") & table.attack.isin(list(ders))]
    assert average.loc[("sau", "DER"), "published"] == pytest.approx(of_sau.value.mean())
    asr = frame[(frame.defense == "nc") & (frame.metric == "ASR") & frame.attack.isin(list(ders))]
    assert average.loc[("nc", "ASR"), "ours"] == pytest.approx(asr.ours.mean()) and pd.isna(
        average.loc[("nc", "ASR"), "published"]
    )
    assert "7 of 7 attacks" in drawn("table3", results).caption  # SSBA: undefended and SAU
    assert frame[(frame.attack == "ssba") & (frame.defense == "anp")].ours.isna().all()


def test_what_the_scale_does_not_run_is_shown_as_printed() -> None:
    made = drawn("table27", everything(SMOKE))
    assert made.frame.ours.isna().all() and len(made.frame) == len(published("sau", "table27")) and not made.results
    assert "Printed numbers only" in made.fragment


def test_table_7_keeps_the_two_kinds_of_seconds_apart() -> None:
    frame = drawn("table7", everything(LAPTOP)).frame.set_index("Defense")
    assert frame.loc["SAU", "Tiny ImageNet printed (s)"] == 262.6
    assert frame.loc["SAU", "CIFAR-10 printed (s)"] == 43.86 and 3 <= frame.loc["SAU", "Whole run (s)"] <= 3.5


@pytest.mark.parametrize("scale", [SMOKE, LAPTOP, PAPER], ids=lambda scale: scale.name)
def test_table_6_sets_tiny_imagenet_beside_what_stands_in_for_it(scale: Scale) -> None:
    frame = drawn("table6", everything(scale)).frame
    mine = frame[frame.ours.notna()]
    assert set(mine.setting) == {f"objectives={name}" for name in sau.OBJECTIVES}
    assert mine.published.notna().all() and set(mine.dataset) == {"tiny"}


def test_figure_2_stacks_the_counts() -> None:
    frame = drawn("fig2", everything()).frame
    first = frame[(frame.inner == "shared") & (frame.kind == "type I")].set_index("epoch").share
    assert first.to_dict() == pytest.approx({0: 40 / 60, 2: 10 / 60, 4: 2 / 60})


# ----------------------------------------------------------------------------------------------------------- claims


def verdicts(results: Results) -> dict[str, str]:
    return {claim.id: verdict.word for claim, verdict in evaluate(sau.CLAIMS, results)}


@pytest.mark.parametrize("scale", [SMOKE, LAPTOP, PAPER], ids=lambda scale: scale.name)
def test_every_claim_can_hold(scale: Scale) -> None:
    assert set(verdicts(everything(scale)).values()) == {"holds"}


def after_sau(**values: Any) -> Change:
    return lambda s, r: {**r, **values} if isinstance(s, DefendSpec) and s.defense == "sau" else r


def in_curve(**values: Any) -> Change:
    return lambda s, r: {**r, **values} if isinstance(s, AnalysisSpec) and s.tool == "sau_curve" else r


def not_unlearned(spec: Spec, result: dict[str, Any]) -> dict[str, Any]:
    if isinstance(spec, AnalysisSpec) and spec.tool == "adversarial_risk":
        return {**result, "types": {"shared": [[50, 0, 0]] * 3, "vanilla": [[50, 0, 0]] * 3}}
    return result


def far(spec: Spec, result: dict[str, Any]) -> dict[str, Any]:
    return {**result, "shared": [9.0]} if isinstance(spec, AnalysisSpec) and spec.tool == "shared_features" else result


AGAINST: list[tuple[str, Change]] = [
    ("best", after_sau(asr=60.0)),
    ("best", after_sau(r_acc=10.0)),
    ("low", after_sau(asr=12.0)),
    ("bound", in_curve(backdoor=[0.9, 0.5, 0.05])),  # above the sub-adversarial risk in the middle
    ("bound", in_curve(adversarial=[0.95, 0.8, 0.1])),
    ("shared", not_unlearned),
    ("near", far),
    ("ablation", in_curve(asr=[97.0, 50.0, 20.0])),  # the same for all
    ("ablation", in_curve(c_acc=[90.0, 80.0, 75.0])),
    ("few", after_sau(asr=30.0)),
    ("few", after_sau(c_acc=86.0)),  # fewer images cost nothing
    ("ensemble", after_sau(asr=1.0, c_acc=86.0)),
]


@pytest.mark.parametrize(("claim", "change"), AGAINST)
def test_results_against_a_claim_refute_it(claim: str, change: Change) -> None:
    if claim == "ensemble":  # the ensemble alone is worse

        def change(s: Spec, r: dict[str, Any]) -> dict[str, Any]:
            worse = isinstance(s, DefendSpec) and dict(s.params).get("norm") == "ensemble"
            return {**r, "asr": 9.0} if worse else r

    assert verdicts(everything(change=change))[claim] == "does not hold"


def test_every_claim_is_refuted_here() -> None:
    assert {claim for claim, _ in AGAINST} == {claim.id for claim in sau.CLAIMS}


def test_missing_results_leave_claims_open() -> None:
    assert set(verdicts(Results(SMOKE, 0, {})).values()) == {"not run"}
    lost = benchmark_runs.defended(SMOKE, benchmark_runs.attacked(SMOKE, "badnets"), "sau")
    found = verdicts(everything(without=[lost]))
    assert found["low"] == "not run" and found["bound"] == "holds"


def test_a_backdoor_that_was_not_learned_decides_nothing() -> None:
    def change(spec: Spec, result: dict[str, Any]) -> dict[str, Any]:
        if origin(spec).attack != "badnets" or isinstance(spec, AnalysisSpec):
            return result
        return {**result, "asr": 5.0 if isinstance(spec, TrainSpec) else 90.0}  # 90 would refute the claim

    results = everything(change=change)
    found = verdicts(results)
    assert found["low"] == found["shared"] == "holds" and found["near"] == found["ensemble"] == "not run"
    assert "Not learned at this scale" in drawn("table3", results).fragment
