"""The SAU paper's grid, items and claims, on made-up results whose every number can be traced."""

import re
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from paperlib import papers
from paperlib.experiments.scales import LAPTOP, PAPER, SMOKE, Scale
from paperlib.experiments.specs import AnalysisSpec, DefendSpec, TrainSpec
from paperlib.lab.spec import Spec
from paperlib.metrics import der
from paperlib.papers import Results, sau, sau_grid, sau_tables
from paperlib.papers.benchmark import runs as benchmark_runs
from paperlib.papers.defense_table import defended, specs_of
from paperlib.report.artefact import Artefact
from paperlib.report.claims import NotRun, evaluate
from paperlib.report.compare import is_average
from paperlib.report.published import inventory, published

Change = Callable[[Spec, dict[str, Any]], dict[str, Any]]
EPOCHS = [0, 2, 4]


def origin(spec: Spec) -> TrainSpec:
    while not isinstance(spec, TrainSpec):
        spec = spec.parents()[0]
    return spec


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
    second = {"asr_2": 96 + small} if origin(spec).second else {}
    if isinstance(spec, TrainSpec):
        return {"c_acc": 90 + small, "asr": 97 + small, "r_acc": 2 + small, "seconds": 1 + small, **second}
    if isinstance(spec, DefendSpec):
        asr = 2.0 if spec.defense == "sau" else 40.0
        if dict(spec.params).get("norm") == "ensemble":
            asr = 1.0
        if spec.defense == "sau" and origin(spec).dataset == "tiny_imagenet" and origin(spec).attack == "wanet":
            asr = max(asr, 85.0) if "norm" not in dict(spec.params) else asr
        second = {"asr_2": asr} if second else {}
        return {
            "c_acc": 86 + small + spec.n_clean / 1000, "asr": asr + small, "r_acc": 95 - asr + small, "seconds": 3 + small, **second
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
    assert sorted(sau.ITEMS) == sorted(item.id for item in inventory("sau"))


def test_models_and_defenses_are_the_benchmarks() -> None:
    """Whatever another notebook runs too has the same key, so it is computed once."""
    for scale in (SMOKE, LAPTOP):
        cells = [*benchmark_runs.defense_cells(scale, 0), *benchmark_runs.ratio_cells(scale, 0)]
        shared = {s.key for s in (*benchmark_runs.attack_specs(scale, 0), *specs_of(cells))} | {
            s.key for s in papers.specs("ft_sam", scale)
        }
        mine = {spec.key: spec for leaf in papers.specs("sau", scale) for spec in leaf.ancestry()}
        own = [spec for key, spec in mine.items() if key not in shared and spec.kind in ("train", "defend")]
        trained = {(s.attack, s.epochs) for s in own if isinstance(s, TrainSpec)}
        assert trained == (set() if scale is SMOKE else {("badnets_a2a", sau_grid.LONG)})  # learned in no shorter time
        if scale is LAPTOP:
            runs = {(s.defense, origin(s).attack) for s in own if isinstance(s, DefendSpec)}
            assert runs == {
                ("sau", "badnets"), ("sau", "blended"), ("sau", "ssba"), ("sau", "sig"), ("rnp", "badnets"), ("rnp", "sig"),
                ("sau", "badnets_a2a"),
            }  # fmt: skip
            # three sizes of the clean subset on two attacks, two sets, SSBA; four configurations, 5 % poisoned, RNP there, all-to-all
            assert len(own) <= 9 + 4 + 3 + 2 + 2


def test_the_usual_number_of_clean_images_is_the_usual_run() -> None:
    for scale in (SMOKE, LAPTOP, PAPER):
        parent = benchmark_runs.attacked(scale, "badnets")
        usual = defended(scale, parent, "sau").key
        assert (
            sau_grid.sampled(scale, parent, "sau", scale.n_clean).key
            == usual
            == sau_grid.variant(scale, parent, "sau").key
        )
        assert scale.n_clean == sau_grid.SLICES[scale.name].samples[0]


def test_variants_differ_and_curves_are_of_the_objectives() -> None:
    parent = benchmark_runs.attacked(LAPTOP, "badnets")
    assert len({sau_grid.variant(LAPTOP, parent, name).key for name in sau_grid.NORMS}) == 3
    curves = {name: dict(sau_grid.curve_spec(LAPTOP, "blended", name, 0).params) for name in sau_grid.OBJECTIVES}
    assert [(p.get("inner"), p.get("outer")) for p in curves.values()] == [
        (None, None), (None, "vanilla"), ("vanilla", None), ("vanilla", "vanilla")
    ]  # fmt: skip
    assert all(p["epochs"] == LAPTOP.changes["sau"]["epochs"] for p in curves.values())


def test_the_whole_grid() -> None:
    specs = list(sau_grid.whole_grid(PAPER))
    assert len({s.key for s in specs}) == len(specs)
    # CIFAR-10: 7 attacks, elsewhere 6; VGG19 has no batch norm, so neither ANP nor EP
    assert len(specs) == (7 + 6 + 6 + 7 + 6) * 8 + (7 + 6 + 6) * 6
    assert {origin(s).dataset for s in specs if origin(s).attack == "sig"} == {"cifar10"}
    keys = {s.key for s in specs}
    assert {s.key for s in sau.ITEMS["table3"].specs(PAPER, 0)} <= keys


def test_ablation_is_of_tiny_imagenet_at_paper_scale_only() -> None:
    found = {scale.name: {origin(s).dataset for s in sau.ITEMS["fig3"].specs(scale, 0)} for scale in (LAPTOP, PAPER)}
    assert found == {"laptop": {"cifar10"}, "paper": {"tiny_imagenet"}}


# ---------------------------------------------------------------------------------------------------------- drawing


STATIC = ("table2", "table8")
"""Without any number."""


@pytest.mark.parametrize("scale", [SMOKE, LAPTOP, PAPER], ids=lambda scale: scale.name)
@pytest.mark.parametrize("id_", [*sau.ITEMS, *sau.OURS])
def test_an_item_is_drawn_from_its_own_experiments(id_: str, scale: Scale) -> None:
    specs = papers.drawable("sau")[id_].specs(scale, 0)
    results = results_of(specs, scale)
    if not specs and id_ not in STATIC and published("sau", id_).empty:
        assert scale is not PAPER
        with pytest.raises(NotRun, match=f"not run at {scale.name} scale, and the printed values could not be read"):
            drawn(id_, results)
        return
    made = drawn(id_, results)
    assert (made.paper, made.id) == ("sau", id_) and len(made.frame)
    assert {spec.key for spec in specs} <= set(made.results) <= set(results.rows)
    if id_ not in STATIC:
        assert made.scale == scale.name and f"{scale.name} scale" in made.caption
        assert ("Printed numbers only" in made.caption) == (not specs) and ":  is" not in made.caption
    if id_ in sau_tables.TABLES and specs:
        assert re.search(r"\d of \d+ attack", made.caption)
        assert made.frame.ours.notna().any()
    if id_ in ("table1", "table7", "fig3", "our_reactivation") and specs:
        assert re.search(r"\d of \d+ (printed )?(attack|defense)", made.caption)  # how much of what is printed
    if made.figure is not None and scale is SMOKE:
        made.figure.canvas.draw()


@pytest.mark.parametrize("id_", sau_tables.TABLES)
def test_at_paper_scale_every_printed_cell_of_what_is_built_is_run(id_: str) -> None:
    """Not built: CAT, CIFAR-5m, and the paper's unknown configurations."""
    frame = drawn(id_, results_of(sau.ITEMS[id_].specs(PAPER, 0), PAPER)).frame
    printed = frame[frame.published.notna() & ~frame.attack.map(is_average)]
    open_ = printed[printed.ours.isna()]
    if id_ == "table11":  # of Tiny ImageNet: printed beside, run in Table 4
        open_ = open_[open_.dataset != "tiny"]
    left = {"table9": {"cat"}, "table10": {"cat"}, "table14": {"anp", "nad", "sau"}, "table22": {"sau"}}.get(id_, set())
    assert set(open_.defense) == left
    if id_ == "table14":
        assert set(open_.setting) == {f"cifar5m_share={k / 5:.1f}" for k in range(1, 6)}
    if id_ == "table22":
        assert set(open_.setting) == {f"configuration={k}" for k in range(2, 6)}


@pytest.mark.parametrize("id_", [*sau.ITEMS, *sau.OURS])
def test_without_results_nothing_is_drawn(id_: str) -> None:
    if papers.drawable("sau")[id_].specs(LAPTOP, 0):
        with pytest.raises(NotRun, match="laptop scale"):
            drawn(id_, Results(LAPTOP, 0, {}))


def test_two_triggers_have_two_rates() -> None:
    results = results_of(sau.ITEMS["table24"].specs(PAPER, 0), PAPER)
    made = drawn("table24", results)
    (spec,) = [s for p, d, _, s in sau_grid.two_cells(PAPER, 0) if (p.attack, d) == ("lf", "sau")]
    row = made.frame[(made.frame.attack == "lf+badnets") & (made.frame.defense == "sau")].set_index("metric").ours
    assert row["ASR-1"] == results.need(spec)["asr"] and row["ASR-2"] == results.need(spec)["asr_2"]
    assert "LF + BadNets" in made.fragment


@pytest.mark.parametrize(("id_", "n", "place"), [("table18", 6, "GTSRB"), ("table25", 7, "CIFAR-10")])
def test_averages_of_tables_whose_print_was_lost(id_: str, n: int, place: str) -> None:
    made = drawn(id_, results_of(sau.ITEMS[id_].specs(PAPER, 0), PAPER))
    of_sau = made.frame[(made.frame.defense == "sau") & (made.frame.metric == "DER")]
    average = of_sau[of_sau.attack == f"average of {n}"].ours
    assert average.iloc[0] == pytest.approx(of_sau[of_sau.attack != f"average of {n}"].ours.mean())
    assert f"{n} of {n} attacks, 7 of 7 defenses run; the printed values could not be read. {place}" in made.caption


def test_table_3_holds_the_results_and_averages_the_ders() -> None:
    results = everything(LAPTOP)
    frame = drawn("table3", results).frame
    parents = [benchmark_runs.attacked(LAPTOP, name) for name in sau_grid.SLICES["laptop"].attacks]
    ders = {}
    for parent in parents:
        before, after = results.need(parent), results.need(defended(LAPTOP, parent, "sau"))
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
    assert "Printed numbers only: RNP is not run at smoke scale" in made.fragment


def test_table_7_keeps_the_two_kinds_of_seconds_apart() -> None:
    frame = drawn("table7", everything(LAPTOP)).frame.set_index("Defense")
    assert frame.loc["SAU", "Tiny ImageNet printed (s)"] == 262.6
    assert frame.loc["SAU", "CIFAR-10 printed (s)"] == 43.86 and 3 <= frame.loc["SAU", "Whole run (s)"] <= 3.5


@pytest.mark.parametrize("scale", [SMOKE, LAPTOP, PAPER], ids=lambda scale: scale.name)
def test_table_6_sets_tiny_imagenet_beside_what_stands_in_for_it(scale: Scale) -> None:
    frame = drawn("table6", everything(scale)).frame
    mine = frame[frame.ours.notna()]
    assert set(mine.setting) == {f"objectives={name}" for name in sau_grid.OBJECTIVES}
    assert mine.published.notna().all() and set(mine.dataset) == {"tiny"}


def test_figure_2_stacks_the_counts() -> None:
    frame = drawn("fig2", everything()).frame
    first = frame[(frame.inner == "shared") & (frame.kind == "type I")].set_index("epoch").share
    assert first.to_dict() == pytest.approx({0: 40 / 60, 2: 10 / 60, 4: 2 / 60})


# ----------------------------------------------------------------------------------------------------------- claims


LARGE = {"tiny", "pixel", "adaptive", "two"}
"""Claims on what only the paper scale runs."""


def verdicts(results: Results) -> dict[str, str]:
    return {claim.id: verdict.word for claim, verdict in evaluate(sau.CLAIMS, results)}


@pytest.mark.parametrize("scale", [SMOKE, LAPTOP, PAPER], ids=lambda scale: scale.name)
def test_every_claim_can_hold(scale: Scale) -> None:
    found = verdicts(everything(scale))
    open_ = {name for name, word in found.items() if word == "not run"}
    assert set(found.values()) <= {"holds", "not run"}
    assert open_ == {"smoke": {*LARGE, "rnp"}, "laptop": LARGE, "paper": set()}[scale.name]


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


def weighty(spec: Spec, result: dict[str, Any]) -> dict[str, Any]:
    return (
        {**result, "asr": 9.0} if isinstance(spec, DefendSpec) and dict(spec.params).get("lambda_4") == 0.1 else result
    )


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
    ("tiny", after_sau(asr=2.0)),  # WaNet falls too
    ("tiny", after_sau(asr=60.0)),
    ("pixel", after_sau(asr=12.0)),
    ("adaptive", after_sau(asr=12.0)),
    ("adaptive", after_sau(c_acc=86.0)),
    ("two", after_sau(asr_2=12.0)),
    ("configurations", weighty),
    ("rnp", after_sau(asr=60.0)),
]


@pytest.mark.parametrize(("claim", "change"), AGAINST)
def test_results_against_a_claim_refute_it(claim: str, change: Change) -> None:
    if claim == "ensemble":  # the ensemble alone is worse

        def change(s: Spec, r: dict[str, Any]) -> dict[str, Any]:
            worse = isinstance(s, DefendSpec) and dict(s.params).get("norm") == "ensemble"
            return {**r, "asr": 9.0} if worse else r

    scale = PAPER if claim in LARGE else LAPTOP if claim == "rnp" else SMOKE
    assert verdicts(everything(scale, change=change))[claim] == "does not hold"


def test_every_claim_is_refuted_here() -> None:
    assert {claim for claim, _ in AGAINST} == {claim.id for claim in sau.CLAIMS}


def test_missing_results_leave_claims_open() -> None:
    assert set(verdicts(Results(SMOKE, 0, {})).values()) == {"not run"}
    lost = defended(SMOKE, benchmark_runs.attacked(SMOKE, "badnets"), "sau")
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
