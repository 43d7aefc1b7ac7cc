"""The grid, tables, figures and claims of the papers, on made-up results whose every number can be traced."""

import base64
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paperlib import papers
from paperlib.attacks import ATTACKS
from paperlib.errors import PaperlibError
from paperlib.experiments import scales
from paperlib.experiments.scales import LAPTOP, PAPER, SCALES, SMOKE, Scale
from paperlib.experiments.specs import AnalysisSpec, DefendSpec, PrepareSpec, TrainSpec
from paperlib.lab.spec import Spec
from paperlib.metrics import der
from paperlib.papers import PAPERS, Results, drawable, ft_sam
from paperlib.papers.shared import PRINTED_DATASETS
from paperlib.report import published as published_numbers
from paperlib.report.artefact import Artefact
from paperlib.report.claims import NotRun, evaluate
from paperlib.report.published import inventory, published

Change = Callable[[Spec, dict[str, Any]], dict[str, Any]]
NEURONS = 20


# ----------------------------------------------------------------------------------------------- made-up results


def numbers_of(spec: Spec) -> np.random.Generator:
    return np.random.default_rng(int(spec.key, 16))


def origin(spec: Spec) -> TrainSpec:
    return next(s for s in spec.ancestry() if isinstance(s, TrainSpec))


def rho(spec: DefendSpec) -> float:
    return dict(spec.params)["rho"]


def believable(spec: Spec) -> dict[str, Any]:
    """A result of which every claim of the paper holds; numbers differ from spec to spec."""
    if isinstance(spec, PrepareSpec):
        return {"seconds": 1.0}
    rng = numbers_of(spec)
    small = rng.uniform(0, 0.5)
    if isinstance(spec, TrainSpec):
        return {"c_acc": 90 + small, "asr": 97 + small, "r_acc": 1.0}
    if isinstance(spec, DefendSpec):
        asr = 20 - 2 * rho(spec) if spec.defense == "ft_sam" else 60.0
        return {"c_acc": 88 + small, "asr": max(0.0, asr) + small, "r_acc": 1.0}
    assert isinstance(spec, AnalysisSpec)
    n = len(spec.inputs)
    if spec.tool == "neurons":
        tac = np.sort(rng.uniform(1, 9, NEURONS))
        norm = 1 + 0.1 * tac + rng.uniform(0, 0.001, NEURONS)
        shrinkage = (1.0, 0.99, 0.7)
        return {"tac": [tac.tolist()] * n, "norm": [(norm * s).tolist() for s in shrinkage]}
    if spec.tool == "tsne":
        poisoned = [int(i < 4) for i in range(24)]
        y = [0 if p else i % 10 for i, p in enumerate(poisoned)]
        return {"xy": rng.normal(size=(n, 24, 2)).tolist(), "y": y, "poisoned": poisoned}
    if spec.tool == "sam_geometry":
        lists = ("gradient_ft", "gradient_ft_sam", "epsilon_sam", "epsilon_asam")
        found: dict[str, Any] = {name: rng.uniform(0.1, 1, NEURONS).tolist() for name in lists}
        return {**found, "mean_gradient": rng.uniform(size=len(ft_sam.RHOS)).tolist()}
    if spec.tool == "reactivation":
        pair = [[5.0, 60.0 + small]] * n
        return {"eps": 0.0314, "n": 9, "clean": pair, "triggered": pair}
    assert spec.tool == "gradcam"
    image = base64.b64encode(bytes(range(192))).decode()
    maps = rng.uniform(size=(n, 2, 4, 4)).tolist()
    return {"shape": [3, 8, 8], "images": [image, image], "maps": maps, "predicted": [[4, 0], [4, 4]]}


def results_of(
    specs: Iterable[Spec],
    scale: Scale = SMOKE,
    change: Change | None = None,
    without: Iterable[Spec] = (),
    seed: int = 0,
) -> Results:
    """Made-up results of ``specs`` and their ancestors, except of those in ``without``."""
    left_out, rows = {spec.key for spec in without}, {}
    for spec in (one for leaf in specs for one in leaf.ancestry()):
        if spec.key not in left_out:
            result = believable(spec)
            rows[spec.key] = {"key": spec.key, "result": change(spec, result) if change else result}
    return Results(scale, seed, rows)


def everything(**options: Any) -> Results:
    return results_of(papers.specs("ft_sam", options.get("scale", SMOKE)), **options)


def drawn(id_: str, results: Results) -> Artefact:
    results.forget()
    return drawable("ft_sam")[id_].draw(results)


# --------------------------------------------------------------------------------------------------- the inventory


@pytest.mark.parametrize("paper", PAPERS)
def test_every_item_of_the_inventory_is_there_or_says_why_not(paper: str) -> None:
    assert sorted(papers.items(paper)) == sorted(item.id for item in inventory(paper) if not item.planned)
    assert all(len(item.planned) > 20 for item in inventory(paper) if item.planned)


def test_listing_imports_neither_pandas_nor_scipy() -> None:
    code = "import sys; from paperlib.cli import app; app(['list'], standalone_mode=False); "
    code += "print([m for m in ('torch', 'pandas', 'scipy', 'matplotlib') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")


def test_items_by_name() -> None:
    paper, id_, item = papers.item("ft_sam/fig3")
    assert (paper, id_) == ("ft_sam", "fig3") and item is ft_sam.ITEMS["fig3"]
    for name, sentence in {
        "fig3": "not of the form PAPER/ITEM",
        "ft_sm/fig3": "did you mean 'ft_sam'",
        "ft_sam/figure3": "did you mean 'fig",
    }.items():
        with pytest.raises(PaperlibError, match=sentence):
            papers.item(name)


def test_a_planned_item_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(ft_sam.ITEMS, "table2")
    without = tuple(replace(item, planned="its data set is not here" * (item.id == "table2")) for item in inventory())
    monkeypatch.setattr(published_numbers, "_inventory", lambda: without)
    with pytest.raises(PaperlibError, match="'ft_sam/table2' is planned, not implemented: its data set is not here"):
        papers.item("ft_sam/table2")


def test_planning_imports_no_torch() -> None:
    code = (
        "import sys; from paperlib import papers; assert papers.specs('ft_sam', 'paper');"
        "print([m for m in ('torch', 'sklearn', 'matplotlib.pyplot') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --------------------------------------------------------------------------------------------------------- the grid


@pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES)
def test_tables_and_figures_share_their_models(scale: Scale) -> None:
    def keys(id_: str) -> set[str]:
        return {spec.key for spec in ft_sam.ITEMS[id_].specs(scale, 0)}

    for attack in ft_sam.run_attacks(SMOKE):
        parent = ft_sam.backdoored(scale, attack)
        for defense in ("ft", "ft_sam"):
            shared = ft_sam.defended(scale, parent, defense).key
            assert shared in keys("table1") and shared in keys("table3")  # 5 % clean images
            assert ft_sam.defended(scale, parent, defense, clean_ratio=0.05).key == shared
            assert ft_sam.defended(scale, parent, defense, clean_ratio=0.01).key not in keys("table1")
    for attack in ft_sam.swept(SMOKE):
        parent = ft_sam.backdoored(scale, attack)
        same_rho = ft_sam.defended(scale, parent, "ft_sam", rho=int(scale.rho)).key
        assert same_rho == ft_sam.defended(scale, parent, "ft_sam").key
        assert same_rho in keys("fig3") and same_rho in keys("table1")
    assert {s.key for s in ft_sam.tsne_spec(scale, 0).inputs} <= keys("table1")


@pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES)
def test_the_size_of_the_grid(scale: Scale) -> None:
    attacks, (wide, defenses) = ft_sam.run_attacks(scale), ft_sam.table1_methods(scale)
    a, s = len(attacks), len(ft_sam.swept(scale))
    first = [item for id_, item in ft_sam.ITEMS.items() if id_ not in {"table4", *ft_sam.FAMILIES}]
    specs = list({spec.key: spec for item in first for spec in item.specs(scale, 0)}.values())
    whole = {one.key: one for spec in specs for one in spec.ancestry()}.values()
    counts = {kind: sum(spec.kind == kind for spec in whole) for kind in ("train", "defend", "analysis")}
    clean = any(ATTACKS[name].prepare == "model" for name in wide)  # the clean model that LF and TrojanNN start from
    assert set(attacks) <= set(wide) and counts["train"] == len(wide) + a + clean  # at 10 % and at 5 %
    # Table 1, the rest of Table 3 and of rho, 5 % poisoning
    assert counts["defend"] == len(wide) * len(defenses) + a * 2 * 2 + s * 7 + a * 2
    assert counts["analysis"] == 2 + a + 1 + a + a
    specs = papers.specs("ft_sam", scale)
    assert len(specs) == len({spec.key for spec in specs})
    assert not {spec.key for spec in specs} & {spec.key for spec in papers.specs("ft_sam", scale, seed=1)}


def test_seed_and_scale_reach_every_ancestor() -> None:
    for spec in papers.specs("ft_sam", LAPTOP, seed=7):
        for one in spec.ancestry():
            assert one.seed == 7
            if isinstance(one, TrainSpec):
                assert (one.n_train, one.width, one.target) == (LAPTOP.n_train, LAPTOP.width, 0)
    assert papers.specs("ft_sam", "laptop", 7) == papers.specs("ft_sam", LAPTOP, 7)


def test_clean_images_of_table_3_at_paper_scale() -> None:
    parent = ft_sam.backdoored(PAPER, "blended")
    found = [ft_sam.defended(PAPER, parent, "ft", clean_ratio=r).n_clean for r in (0.10, 0.05, 0.01)]
    assert found == [5000, 2500, 500]


# ---------------------------------------------------------------------------------------------------------- drawing


RUN = [id_ for id_, item in drawable("ft_sam").items() if item.specs(SMOKE, 0)]


def test_the_paper_scale_plans_all_printed_rows_and_columns() -> None:
    for id_, planned in {
        "table1": ft_sam.table1_cells, "table2": ft_sam.family_cells("table2"), "table3": ft_sam.table3_cells,
        "table4": ft_sam.table4_cells,
    }.items():  # fmt: skip
        printed = published("ft_sam", id_).query("attack != 'average'")
        wanted = set(printed[["dataset", "model", "attack", "defense", "setting"]].itertuples(index=False, name=None))
        made = {(PRINTED_DATASETS.get(p.dataset, p.dataset), p.model, a, d, s) for a, d, s, _, p in planned(PAPER, 0)}
        assert wanted <= made, (id_, wanted - made)
    assert all(family.parts.get("paper") for family in ft_sam.FAMILIES.values())
    tiny = next(p for *_, p in ft_sam.family_cells("table2")(PAPER, 0))
    assert dict(ft_sam.defended(scales.on(PAPER, "tiny_imagenet"), tiny, "ft_sam").params)["rho"] == 8


@pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES)
def test_table_4_goes_on_from_pruned_models(scale: Scale) -> None:
    for attack, name, _, spec, parent in ft_sam.table4_cells(scale, 0):
        chain = [s.defense for s in spec.ancestry() if isinstance(s, DefendSpec)]
        assert chain == {"none": [], "pruning": ["fp"], "fp": ["fp"]}.get(
            name, name.replace("pruning", "fp").split("+")
        )
        assert parent == ft_sam.backdoored(scale, attack) and parent in list(spec.ancestry())
        if "+" in name:
            assert isinstance(spec, DefendSpec) and dict(spec.params)["keep_pruned"]
        if name in ("pruning", "pruning+ft_sam"):
            first = next(s for s in spec.ancestry() if isinstance(s, DefendSpec))
            assert dict(first.params)["epochs"] == 0
        elif name in ft_sam.table1_methods(scale)[1]:
            assert spec.key in {s.key for s in ft_sam.ITEMS["table1"].specs(scale, 0)}


def test_the_laptop_trains_no_model_for_table_4_and_the_supplement_alone() -> None:
    def trained(specs: Iterable[Spec]) -> set[str]:
        return {one.key for spec in specs for one in spec.ancestry() if isinstance(one, TrainSpec)}

    new = [spec for id_ in ("table4", *ft_sam.FAMILIES) for spec in ft_sam.ITEMS[id_].specs(LAPTOP, 0)]
    others = [spec for id_ in ("table1", "fig4") for spec in ft_sam.ITEMS[id_].specs(LAPTOP, 0)]
    assert trained(new) <= trained([*others, *papers.specs("benchmark", LAPTOP)])


@pytest.mark.parametrize("id_", [id_ for id_ in ft_sam.ITEMS if id_ not in RUN])
def test_what_a_small_scale_does_not_run_says_why(id_: str) -> None:
    made = drawn(id_, Results(LAPTOP, 0, {}))
    assert "at paper scale only" in made.caption and not made.results
    family = ft_sam.FAMILIES[id_]
    if family.dataset != "cifar10":
        assert f"`paperlib data fetch {family.dataset}`" in made.caption
    if id_ == "table2":
        assert made.frame.published.notna().all() and made.frame.ours.isna().all() and "92.16" in made.fragment
    else:
        assert "not published to us" in made.caption


@pytest.mark.parametrize("id_", ft_sam.FAMILIES)
def test_the_families_at_paper_scale_name_data_and_model(id_: str) -> None:
    specs = ft_sam.ITEMS[id_].specs(PAPER, 0)
    made = drawn(id_, results_of(specs, scale=PAPER))
    wanted = {
        "table2": "Tiny ImageNet, all",
        "supp_c3": "GTSRB, all",
        "supp_c4": "VGG19-BN of width",
        "supp_d1": "VGG19-BN, DenseNet-161",
    }
    assert wanted.get(id_, "") in made.caption and "paper scale, seed 0" in made.caption
    assert made.frame.ours.notna().sum() >= 2 * len({s.key for s in specs})


def test_table_4_holds_the_results_of_its_chains() -> None:
    results = everything()
    frame = drawn("table4", results).frame
    parent = ft_sam.backdoored(SMOKE, "blended")
    before = results.need(parent)
    for attack, name, _, spec, _ in ft_sam.table4_cells(SMOKE, 0):
        after = results.need(spec)
        part = frame[(frame.attack == attack) & (frame.defense == name)].set_index("metric").ours
        assert part["ACC"] == after["c_acc"] and part["ASR"] == after["asr"]
        if name != "none":
            assert part["DER"] == pytest.approx(
                der(before["c_acc"], before["asr"], after["c_acc"], after["asr"], unit="percent")
            )


@pytest.mark.parametrize("id_", RUN)
def test_an_item_is_drawn_from_its_own_experiments(id_: str) -> None:
    """What an item's specs (and their ancestors) give is all that it needs; it says which of them it used."""
    entry = next((item for item in inventory("ft_sam") if item.id == id_), None)  # none: of ours
    specs = drawable("ft_sam")[id_].specs(SMOKE, 0)
    results = results_of(specs)
    made = drawn(id_, results)
    assert (made.paper, made.id, made.kind, made.scale, made.seed) == (
        "ft_sam", id_, entry.kind if entry else "figure", "smoke", 0
    )  # fmt: skip
    assert {spec.key for spec in specs} <= set(made.results) <= set(results.rows)
    assert len(made.frame) and "smoke scale" in made.caption
    assert entry is None or entry.number in made.caption
    if made.figure is not None:
        made.figure.canvas.draw()


@pytest.mark.parametrize("id_", RUN)
def test_without_results_nothing_is_drawn(id_: str) -> None:
    with pytest.raises(NotRun, match="smoke scale"):
        drawn(id_, Results(SMOKE, 0, {}))


def cells(made: Artefact) -> dict[tuple[str, str, str, str], float]:
    """(attack, defense, setting, metric) -> ours, for the cells of a table that have a number of ours."""
    frame = made.frame[made.frame.ours.notna() & ~made.frame.attack.str.startswith("average")]
    return {(r.attack, r.defense, r.setting, r.metric): r.ours for r in frame.itertuples()}


def expected_cells(results: Results, tables_of: str) -> dict[tuple[str, str, str, str], float]:
    """The same from the made-up results, spec by spec."""
    out: dict[tuple[str, str, str, str], float] = {}
    for attack in ft_sam.run_attacks(SMOKE):
        parent = ft_sam.backdoored(SMOKE, attack)
        before = results.get(parent)
        if before is None:
            continue
        out |= {(attack, "none", "", m): before[n] for m, n in (("ACC", "c_acc"), ("ASR", "asr"))}
        ratios = {"": 0.05} if tables_of == "table1" else {f"clean_ratio={r:g}": r for r in (0.1, 0.05, 0.01)}
        for setting, ratio in ratios.items():
            for defense in ft_sam.table1_methods(SMOKE)[1] if tables_of == "table1" else ("ft", "ft_sam"):
                after = results.get(ft_sam.defended(SMOKE, parent, defense, clean_ratio=ratio))
                if after is not None:
                    where = (attack, defense, setting)
                    out[*where, "ACC"], out[*where, "ASR"] = after["c_acc"], after["asr"]
                    out[*where, "DER"] = der(
                        before["c_acc"], before["asr"], after["c_acc"], after["asr"], unit="percent"
                    )
    return out


@pytest.mark.parametrize("id_", ["table1", "table3"])
def test_tables_hold_the_results_and_nothing_else(id_: str) -> None:
    results = everything()
    made = drawn(id_, results)
    assert cells(made) == pytest.approx(expected_cells(results, id_))
    for attack in set(ft_sam.PRINTED_ATTACKS) - set(
        ft_sam.run_attacks(SMOKE)
    ):  # printed, not ours: empty, not invented
        part = made.frame[made.frame.attack == attack]
        assert len(part) and part.ours.isna().all() and (part.verdict == "not run").all()
    assert f"{len(ft_sam.run_attacks(SMOKE))} of 10 attacks" in made.fragment


def test_several_seeds_give_means_and_standard_deviations() -> None:
    def of(seed: int) -> list[Spec]:
        return ft_sam.ITEMS["table1"].specs(SMOKE, seed)

    results = results_of([spec for seed in range(3) for spec in of(seed)])
    made = drawn("table1", results)
    assert "seeds 0, 1, 2: mean ± standard deviation" in made.caption and " ± " in made.fragment
    assert {spec.key for seed in range(3) for spec in of(seed)} <= set(made.results)
    row = made.frame[(made.frame.attack == "blended") & (made.frame.defense == "ft_sam")].set_index("metric").loc["ASR"]
    parents = [ft_sam.backdoored(SMOKE, "blended", seed=seed) for seed in range(3)]
    rates = [results.need(ft_sam.defended(SMOKE, parent, "ft_sam"))["asr"] for parent in parents]
    assert row.ours == pytest.approx(np.mean(rates)) and row.sd == pytest.approx(np.std(rates, ddof=1))
    assert row.n_seeds == 3 and row.difference == pytest.approx(row.ours - row.published)
    singles = [drawn("table1", results_of(of(seed), seed=seed)).frame for seed in range(3)]
    average = [f[f.attack.str.startswith("average of") & (f.defense == "ft") & (f.metric == "DER")] for f in singles]
    mine = made.frame[made.frame.attack.str.startswith("average of")].query("defense == 'ft' and metric == 'DER'")
    assert mine.ours.item() == pytest.approx(np.mean([one.ours.item() for one in average]))
    gap = results_of([spec for seed in range(3) for spec in of(seed)], without=[parents[2]])
    assert "seeds 0, 1: mean" in drawn("table1", gap).caption  # a seed with a gap does not count


TABLE1 = list({spec.key: spec for spec in ft_sam.ITEMS["table1"].specs(SMOKE, 0)}.values())


@settings(deadline=None, max_examples=6)
@given(st.sets(st.sampled_from(range(len(TABLE1))), max_size=len(TABLE1) - 1))
def test_table_1_with_any_gaps(missing: set[int]) -> None:
    results = results_of(TABLE1, without=[TABLE1[i] for i in missing])
    expected = expected_cells(results, "table1")
    if not expected:  # no backdoored model at all: nothing to set a defense beside
        with pytest.raises(NotRun):
            drawn("table1", results)
        return
    assert cells(drawn("table1", results)) == pytest.approx(expected)


def test_averages_are_over_what_was_run() -> None:
    parents = [ft_sam.backdoored(SMOKE, name) for name in ft_sam.run_attacks(SMOKE)]
    lost = parents[0]
    results = everything(without=[ft_sam.defended(SMOKE, lost, "ft")])
    frame = drawn("table1", results).frame
    average = frame[(frame.attack.str.startswith("average of")) & (frame.defense == "ft_sam") & (frame.metric == "ASR")]
    (row,) = average.itertuples()
    assert row.attack == f"average of {len(parents) - 1}"
    kept = [results.need(ft_sam.defended(SMOKE, parent, "ft_sam"))["asr"] for parent in parents[1:]]
    assert row.ours == pytest.approx(np.mean(kept))


def test_figure_3_holds_the_sweep() -> None:
    attack = ft_sam.swept(SMOKE)[0]
    parent = ft_sam.backdoored(SMOKE, attack)
    lost = [ft_sam.defended(SMOKE, parent, "ft_sam", rho=r) for r in (3, 4)]
    results = everything(without=lost)
    frame = drawn("fig3", results).frame
    part = frame[(frame.attack == attack) & (frame.metric == "ASR")]
    assert part.rho.tolist() == [1, 2, 5, 6, 7, 8]  # a gap is a gap
    for row in part.itertuples():
        assert row.value == results.need(ft_sam.defended(SMOKE, parent, "ft_sam", rho=row.rho))["asr"]


@pytest.mark.parametrize("id_", ["fig4", "fig5", "fig6", "fig7"])
def test_figures_with_one_attack_missing_count_the_others(id_: str) -> None:
    name = ft_sam.run_attacks(SMOKE)[0]
    lost = [
        ft_sam.neuron_spec(SMOKE, name, 0.05, 0), ft_sam.geometry_spec(SMOKE, name, 0), ft_sam.gradcam_spec(SMOKE, name, 0)
    ]  # fmt: skip
    results = everything(without=lost)
    made = drawn(id_, results)
    assert f"{len(ft_sam.run_attacks(SMOKE)) - 1} of 10 attacks" in made.caption
    column = {"fig7": "image"}.get(id_, "attack")
    names = set(made.frame[column])
    assert name not in names and "BadNets" not in names
    assert not set(made.results) & {spec.key for spec in lost}


def test_figure_4_holds_every_neuron() -> None:
    results = everything()
    frame = drawn("fig4", results).frame
    for attack in ft_sam.run_attacks(SMOKE):
        found = results.need(ft_sam.neuron_spec(SMOKE, attack, 0.05, 0))
        for k, stage in enumerate(ft_sam.STAGES):
            part = frame[(frame.attack == attack) & (frame.model == stage)]
            assert part.tac.tolist() == found["tac"][k] and part.norm.tolist() == found["norm"][k]


@pytest.mark.parametrize("id_", ["fig1", "fig2"])
def test_a_figure_that_needs_every_result_says_which_is_missing(id_: str) -> None:
    lost = ft_sam.tsne_spec(SMOKE, 0)
    with pytest.raises(NotRun, match=f"{lost.label} has no result at smoke scale"):
        drawn(id_, everything(without=[lost]))


# ----------------------------------------------------------------------------------------------------------- claims


def verdicts(results: Results) -> dict[str, str]:
    return {claim.id: verdict.word for claim, verdict in evaluate(ft_sam.CLAIMS, results)}


def test_without_results_no_claim_is_decided() -> None:
    found = evaluate(ft_sam.CLAIMS, Results(SMOKE, 0, {}))
    assert found
    for _, verdict in found:
        assert verdict.holds is None and not verdict.numbers and verdict.reason.startswith("not run:")


@pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES)
def test_results_like_the_paper_s_make_every_claim_hold(scale: Scale) -> None:
    assert set(verdicts(everything(scale=scale)).values()) == {"holds"}


def of_defense(defense: str, attack: str = "", **where: Any) -> Callable[[Spec], bool]:
    def chosen(spec: Spec) -> bool:
        return (
            isinstance(spec, DefendSpec)
            and spec.defense == defense
            and origin(spec).ratio == 0.1
            and (not attack or origin(spec).attack == attack)
            and all(getattr(spec, name) == value for name, value in where.items())
        )

    return chosen


def setting(chosen: Callable[[Spec], bool], **values: Any) -> Change:
    return lambda spec, result: {**result, **values} if chosen(spec) else result


def after_pruning(spec: Spec) -> bool:
    return isinstance(spec, DefendSpec) and spec.defense == "ft_sam" and isinstance(spec.parent, DefendSpec)


def worse_with_rho(spec: Spec, result: dict[str, Any]) -> dict[str, Any]:
    return {**result, "asr": 2 * rho(spec)} if of_defense("ft_sam", ft_sam.swept(SMOKE)[0])(spec) else result


def of_neurons(attack: str, change: Callable[[dict[str, Any]], None]) -> Change:
    def changed(spec: Spec, result: dict[str, Any]) -> dict[str, Any]:
        if isinstance(spec, AnalysisSpec) and spec.tool == "neurons" and origin(spec).attack == attack:
            result = {name: [list(values) for values in lists] for name, lists in result.items()}
            change(result)
        return result

    return changed


def reversed_norms(found: dict[str, Any]) -> None:
    found["norm"] = [values[::-1] for values in found["norm"]]


def constant_norms(found: dict[str, Any]) -> None:
    found["norm"][0] = [1.0] * NEURONS


def ft_shrinks_too(spec: Spec, result: dict[str, Any]) -> dict[str, Any]:
    if not (isinstance(spec, AnalysisSpec) and spec.tool == "neurons"):
        return result
    return {**result, "norm": [result["norm"][0], result["norm"][2], result["norm"][2]]}


def sam_does_not_shrink(spec: Spec, result: dict[str, Any]) -> dict[str, Any]:
    if not (isinstance(spec, AnalysisSpec) and spec.tool == "neurons"):
        return result
    return {**result, "norm": [result["norm"][0], result["norm"][0], [1.1 * v for v in result["norm"][0]]]}


@pytest.mark.parametrize(
    ("claim", "change"),
    [
        ("alive", setting(of_defense("ft", "blended"), asr=10.0)),  # FT removes it too
        ("alive", setting(of_defense("ft_sam", "blended"), asr=59.0)),  # FT-SAM leaves it as well
        ("headline", setting(of_defense("ft_sam"), asr=40.0)),
        ("headline", setting(of_defense("ft_sam"), c_acc=80.0)),  # at a high price
        ("little_data", setting(of_defense("ft", n_clean=12), asr=1.0)),
        ("combined", setting(after_pruning, asr=61.0)),
        ("rho", worse_with_rho),
        ("norms", of_neurons("badnets", reversed_norms)),
        ("norms", of_neurons(ft_sam.run_attacks(SMOKE)[-1], constant_norms)),  # no correlation is defined
        ("shrinks", ft_shrinks_too),
        ("shrinks", sam_does_not_shrink),
    ],
)
@pytest.mark.filterwarnings("ignore:An input array is constant")
def test_results_against_a_claim_refute_it(claim: str, change: Change) -> None:
    results = everything(change=change)
    assert verdicts(results)[claim] == "does not hold"
    (verdict,) = (v for c, v in evaluate(ft_sam.CLAIMS, results) if c.id == claim)
    assert verdict.numbers


@pytest.mark.parametrize(
    ("claim", "lost"),
    [
        ("alive", lambda: ft_sam.defended(SMOKE, ft_sam.backdoored(SMOKE, "blended"), "ft")),
        ("headline", lambda: ft_sam.defended(SMOKE, ft_sam.backdoored(SMOKE, "badnets"), "ft_sam")),
        ("little_data", lambda: ft_sam.defended(SMOKE, ft_sam.backdoored(SMOKE, "badnets"), "ft", clean_ratio=0.01)),
        ("combined", lambda: next(s for _, name, _, s, _ in ft_sam.table4_cells(SMOKE, 0) if name == "anp+ft")),
        ("rho", lambda: ft_sam.defended(SMOKE, ft_sam.backdoored(SMOKE, "blended"), "ft_sam", rho=7)),
        ("norms", lambda: ft_sam.neuron_spec(SMOKE, "badnets", 0.05, 0)),
        ("shrinks", lambda: ft_sam.neuron_spec(SMOKE, "badnets", 0.05, 0)),
    ],
)
def test_one_missing_result_leaves_its_claim_open(claim: str, lost: Callable[[], Spec]) -> None:
    found = verdicts(everything(without=[lost()]))
    assert found[claim] == "not run" and "holds" in found.values()


def test_a_backdoor_that_was_not_learned_decides_nothing() -> None:
    def change(spec: Spec, result: dict[str, Any]) -> dict[str, Any]:
        if origin(spec).attack != "badnets" or isinstance(spec, AnalysisSpec):
            return result
        return {**result, "asr": 5.0 if isinstance(spec, TrainSpec) else 100.0}  # 100 would refute the claims

    results = everything(change=change)
    found = {claim.id: verdict for claim, verdict in evaluate(ft_sam.CLAIMS, results)}
    for claim in ("headline", "little_data"):
        assert found[claim].holds and "BadNets (" not in found[claim].reason
        assert "Blended" in found[claim].reason
    text = drawn("table1", results).fragment
    assert "Not learned at this scale" in text and "BadNets (ASR 5.0)" in text
    nobody = verdicts(everything(change=setting(lambda spec: isinstance(spec, TrainSpec), asr=5.0)))
    assert set(nobody.values()) == {"not run"}


@pytest.mark.parametrize("claim", ["alive", "rho"])
def test_claims_on_named_attacks_skip_those_that_were_not_learned(claim: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ft_sam, "FEW", ft_sam.BASIC)  # SIG beside Blended

    def refuted(spec: Spec, result: dict[str, Any]) -> dict[str, Any]:
        """Blended refutes the claim, and was never learned."""
        if origin(spec).attack != "blended" or isinstance(spec, AnalysisSpec):
            return result
        return {**result, "asr": 5.0}

    assert verdicts(everything(change=refuted))[claim] == {"alive": "not run", "rho": "holds"}[claim]


def test_every_claim_can_be_refuted_here() -> None:
    """A claim that is added needs a case above."""
    tested = {"alive", "headline", "little_data", "combined", "rho", "norms", "shrinks"}
    assert {claim.id for claim in ft_sam.CLAIMS} == tested
