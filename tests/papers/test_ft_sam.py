"""The grid, tables, figures and claims of the FT-SAM paper, on made-up results whose every number can be traced."""

import re
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paperlib import papers
from paperlib.attacks import ATTACKS
from paperlib.experiments import scales
from paperlib.experiments.scales import LAPTOP, PAPER, SCALES, SMOKE, Scale
from paperlib.experiments.specs import AnalysisSpec, DefendSpec, TrainSpec
from paperlib.lab.spec import Spec
from paperlib.metrics import der
from paperlib.papers import Results, drawable, ft_sam
from paperlib.papers.captions import PRINTED_DATASETS
from paperlib.papers.defense_table import DefenseTable, backdoored, defended
from paperlib.papers.ft_sam import runs
from paperlib.papers.ft_sam.tables import TITLES, paper_table
from paperlib.report.artefact import Artefact
from paperlib.report.claims import NotRun
from paperlib.report.published import published

from .made_up import Change, MadeUp, analysis, numbers_of, of_defense, of_tool, setting, small, unlearned

NEURONS = 20
FEW = runs.ATTACKS["smoke"]


def believable(spec: Spec) -> dict[str, Any]:
    """A result of which every claim of the paper holds."""
    if isinstance(spec, TrainSpec):
        return {"c_acc": 90 + small(spec), "asr": 97 + small(spec), "r_acc": 1.0}
    if isinstance(spec, DefendSpec):
        asr = max(0.0, 20 - 2 * dict(spec.params)["rho"]) if spec.defense == "ft_sam" else 60.0
        return {"c_acc": 88 + small(spec), "asr": asr + small(spec), "r_acc": 1.0}
    assert isinstance(spec, AnalysisSpec)
    n, rng = len(spec.inputs), numbers_of(spec)
    if spec.tool == "neurons":
        tac = np.sort(rng.uniform(1, 9, NEURONS))
        norm = 1 + 0.1 * tac + rng.uniform(0, 0.001, NEURONS)
        return {"tac": [tac.tolist()] * n, "norm": [(norm * s).tolist() for s in (1.0, 0.99, 0.7)]}
    if spec.tool == "tsne":
        poisoned = [int(i < 4) for i in range(24)]
        y = [0 if p else i % 10 for i, p in enumerate(poisoned)]
        return {"xy": rng.normal(size=(n, 24, 2)).tolist(), "y": y, "poisoned": poisoned}
    if spec.tool == "sam_geometry":
        lists = ("gradient_ft", "gradient_ft_sam", "epsilon_sam", "epsilon_asam")
        return {
            **{name: rng.uniform(0.1, 1, NEURONS).tolist() for name in lists},
            "mean_gradient": rng.uniform(size=len(runs.RHOS)).tolist(),
        }
    return analysis(spec)


paper = MadeUp("ft_sam", believable)


def cells_of(id_: str, scale: Scale = SMOKE, seed: int = 0) -> list[Any]:
    return paper_table(id_).cells(scale, seed)


def swept(attack: str, rho: int) -> Spec:
    return defended(SMOKE, backdoored(SMOKE, attack), "ft_sam", rho=rho)


# --------------------------------------------------------------------------------------------------------- the grid


@pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES)
def test_tables_and_figures_share_their_models(scale: Scale) -> None:
    def keys(id_: str) -> set[str]:
        return {spec.key for spec in ft_sam.ITEMS[id_].specs(scale, 0)}

    for attack in FEW:
        parent = backdoored(scale, attack)
        for defense in ("ft", "ft_sam"):
            shared = defended(scale, parent, defense).key
            assert shared in keys("table1") and shared in keys("table3")  # 5 % clean images
    assert runs.swept(SMOKE)
    for attack in runs.swept(SMOKE):
        parent = backdoored(scale, attack)
        same_rho = defended(scale, parent, "ft_sam", rho=int(scale.rho)).key
        assert same_rho == defended(scale, parent, "ft_sam").key
        assert same_rho in keys("fig3") and same_rho in keys("table1")
    assert {s.key for s in runs.tsne_spec(scale, 0).inputs} <= keys("table1")


@pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES)
def test_the_size_of_the_grid(scale: Scale) -> None:
    table = runs.TABLES["table1"][scale.name]
    attacks, wide, defenses = runs.ATTACKS[scale.name], table.attacks, table.defenses
    a, s = len(attacks), len(runs.swept(scale))
    first = [item for id_, item in ft_sam.ITEMS.items() if id_ in ("table1", "table3") or id_.startswith("fig")]
    whole = {one.key: one for item in first for spec in item.specs(scale, 0) for one in spec.ancestry()}.values()
    counts = {kind: sum(spec.kind == kind for spec in whole) for kind in ("train", "defend", "analysis")}
    clean = any(ATTACKS[name].prepare == "model" for name in wide)  # the clean model that LF and TrojanNN start from
    assert set(attacks) <= set(wide) and counts["train"] == len(wide) + a + clean  # at 10 % and at 5 %
    # Table 1, the rest of Table 3 and of rho, 5 % poisoning
    assert counts["defend"] == len(wide) * len(defenses) + a * 2 * 2 + s * 7 + a * 2
    assert counts["analysis"] == 2 + a + 1 + a + a


def test_the_paper_scale_plans_all_printed_rows_and_columns() -> None:
    for id_ in ("table1", "table2", "table3", "table4"):
        printed = published("ft_sam", id_).query("attack != 'average'")
        wanted = set(printed[["dataset", "model", "attack", "defense", "setting"]].itertuples(index=False, name=None))
        name = PRINTED_DATASETS
        made = {(name.get(p.dataset, p.dataset), p.model, a, d, s) for a, d, s, _, p in cells_of(id_, PAPER)}
        assert wanted <= made, (id_, wanted - made)
    assert all("paper" in parts for parts in runs.TABLES.values())
    tiny = next(cell.spec for cell in cells_of("table2", PAPER) if cell.defense == "ft_sam")
    assert dict(tiny.params)["rho"] == 8  # type: ignore[attr-defined]


@pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES)
def test_table_4_goes_on_from_pruned_models(scale: Scale) -> None:
    for attack, name, _, spec, parent in cells_of("table4", scale):
        chain = [s for s in spec.ancestry() if isinstance(s, DefendSpec)]
        names = [] if name == "none" else name.replace("pruning", "fp").split("+")
        assert [s.defense for s in chain] == names
        assert parent == backdoored(scale, attack) and parent in list(spec.ancestry())
        if "+" in name:
            assert dict(chain[-1].params)["keep_pruned"]
        if name in ("pruning", "pruning+ft_sam"):
            assert dict(chain[0].params)["epochs"] == 0
        elif name in runs.TABLES["table1"][scale.name].defenses:
            assert spec.key in {s.key for s in ft_sam.ITEMS["table1"].specs(scale, 0)}


def test_the_laptop_trains_no_model_for_table_4_and_the_supplement_alone() -> None:
    def trained(specs: Iterable[Spec]) -> set[str]:
        whole = (one for spec in specs for one in spec.ancestry() if isinstance(one, TrainSpec))
        return {one.key for one in whole if (one.dataset, one.model) == ("cifar10", "preact_resnet18")}

    own = ("table1", "table3")
    new = [spec for id_ in TITLES if id_ not in own for spec in ft_sam.ITEMS[id_].specs(LAPTOP, 0)]
    others = [spec for id_ in ("table1", "fig4") for spec in ft_sam.ITEMS[id_].specs(LAPTOP, 0)]
    assert trained(new) <= trained([*others, *papers.specs("benchmark", LAPTOP)])


# ---------------------------------------------------------------------------------------------------------- drawing


@pytest.mark.parametrize("id_", drawable("ft_sam"))
def test_an_item_is_drawn_from_its_own_experiments(id_: str) -> None:
    paper.check_item(id_)


@pytest.mark.parametrize("id_", TITLES)
def test_the_tables_at_paper_scale_name_data_and_model(id_: str) -> None:
    made = paper.check_item(id_, PAPER)
    wanted = {
        "table2": "Tiny ImageNet, all",
        "supp_c3": "GTSRB, all",
        "supp_c4": "VGG19-BN of width",
        "supp_d1": "VGG19-BN, DenseNet-161",
    }
    assert made and wanted.get(id_, "") in made.caption and "paper scale, seed 0" in made.caption
    assert made.frame.ours.notna().sum() >= 2 * len({s.key for s in ft_sam.ITEMS[id_].specs(PAPER, 0)})


def test_what_a_small_scale_does_not_run_says_why() -> None:
    made = paper.drawn("table2", Results(SMOKE, 0, {}))
    assert "Tiny ImageNet (`paperlib data fetch tiny_imagenet`) is not run at smoke scale" in made.caption
    assert made.frame.published.notna().all() and made.frame.ours.isna().all() and "92.16" in made.fragment
    with pytest.raises(NotRun, match=r"GTSRB \(`paperlib data fetch gtsrb`\) is not run at smoke scale"):
        paper.drawn("supp_c3", Results(SMOKE, 0, {}))


def ours(made: Artefact) -> dict[tuple[str, str, str, str], float]:
    """(attack, defense, setting, metric) -> ours, for the cells of a table that have a number of ours."""
    frame = made.frame[made.frame.ours.notna() & ~made.frame.attack.str.startswith("average")]
    return {(r.attack, r.defense, r.setting, r.metric): r.ours for r in frame.itertuples()}


def expected(results: Results, id_: str) -> dict[tuple[str, str, str, str], float]:
    """The same from the made-up results, spec by spec."""
    out: dict[tuple[str, str, str, str], float] = {}
    for attack, defense, name, spec, parent in cells_of(id_):
        before, after = results.get(parent), results.get(spec)
        if before is None or after is None:
            continue
        cell = (attack, defense, name)
        out[*cell, "ACC"], out[*cell, "ASR"] = after["c_acc"], after["asr"]
        if defense != "none":
            values = (before["c_acc"], before["asr"], after["c_acc"], after["asr"])
            out[*cell, "DER"] = float(der(*values, unit="percent"))
    return out


@pytest.mark.parametrize("id_", ["table1", "table3", "table4"])
def test_tables_hold_the_results_and_nothing_else(id_: str) -> None:
    results = paper.everything()
    made = paper.drawn(id_, results)
    found = expected(results, id_)
    assert ours(made) == pytest.approx(found) and len(found) >= 16
    run = {attack for attack, *_ in found}
    for attack in set(published("ft_sam", id_).attack) - {*run, "average"}:  # printed, not ours: empty, not invented
        part = made.frame[made.frame.attack == attack]
        assert len(part) and part.ours.isna().all() and (part.verdict == "not run").all()
    assert f"{len(run)} of {8 if id_ == 'table4' else 10} attacks" in made.fragment


def test_the_clean_images_of_table_3_are_shares_of_the_training_set() -> None:
    found = {c.setting: c.spec.n_clean for c in cells_of("table3", PAPER) if c.defense == "ft"}  # type: ignore[attr-defined]
    assert found == {"clean_ratio=0.1": 5000, "clean_ratio=0.05": 2500, "clean_ratio=0.01": 500}


TABLE1 = ft_sam.ITEMS["table1"].specs(SMOKE, 0)


@settings(deadline=None, max_examples=6)
@given(st.sets(st.sampled_from(range(len(TABLE1))), max_size=len(TABLE1) - 1))
def test_table_1_with_any_gaps(missing: set[int]) -> None:
    results = paper.results(TABLE1, without=[TABLE1[i] for i in missing])
    found = expected(results, "table1")
    if not found:  # no backdoored model at all: nothing to set a defense beside
        with pytest.raises(NotRun):
            paper.drawn("table1", results)
        return
    assert ours(paper.drawn("table1", results)) == pytest.approx(found)


def test_averages_are_over_what_was_run() -> None:
    table = runs.TABLES["table1"]["laptop"]
    parents = [backdoored(LAPTOP, name) for name in table.attacks]
    results = paper.everything(LAPTOP, without=[defended(LAPTOP, parents[0], "ft")])
    frame = paper.drawn("table1", results).frame
    (row,) = (
        frame[frame.attack.str.startswith("average of")].query("defense == 'ft_sam' & metric == 'ASR'").itertuples()
    )
    assert row.attack == f"average of {len(parents) - 1}"
    kept = [results.need(defended(LAPTOP, parent, "ft_sam"))["asr"] for parent in parents[1:]]
    assert row.ours == pytest.approx(np.mean(kept))


def test_ft_s_mean_asr_is_one_number_over_one_set_of_attacks() -> None:
    """In the row of averages, in the sentence below the table and in the claim; an attack not learned is in none."""
    results = paper.everything(LAPTOP, change=unlearned("badnets"))
    made = paper.drawn("table1", results)
    frame = made.frame[made.frame.attack.str.startswith("average of")].query("defense == 'ft' & metric == 'ASR'")
    kept = [name for name in runs.TABLES["table1"]["laptop"].attacks if name != "badnets"]
    value = np.mean([results.need(defended(LAPTOP, backdoored(LAPTOP, name), "ft"))["asr"] for name in kept])
    assert frame.attack.tolist() == [f"average of {len(kept)}"] and frame.ours.item() == pytest.approx(value)
    assert f"FT leaves {value:.1f}" in made.reading and "BadNets," not in made.reading
    headline = paper.verdicts(results)["headline"]
    assert headline.numbers["mean ASR after FT"] == pytest.approx(value)


def test_figure_3_holds_the_sweep() -> None:
    attack = runs.swept(SMOKE)[0]
    results = paper.everything(without=[swept(attack, 3), swept(attack, 4)])
    frame = paper.drawn("fig3", results).frame.query("attack == @attack and metric == 'ASR'")
    assert frame.rho.tolist() == [1, 2, 5, 6, 7, 8]  # a gap is a gap
    for row in frame.itertuples():
        assert row.value == results.need(swept(attack, row.rho))["asr"]


@pytest.mark.parametrize("id_", ["fig4", "fig5", "fig6", "fig7"])
def test_figures_with_one_attack_missing_count_the_others(id_: str) -> None:
    specs = {"fig6": runs.geometry_specs, "fig7": runs.gradcam_specs}.get(id_, runs.neuron_specs)
    lost = specs(SMOKE, 0)[FEW[0]]
    made = paper.drawn(id_, paper.everything(without=[lost]))
    assert f"{len(FEW) - 1} of 10 attacks" in made.caption
    names = set(made.frame[{"fig7": "image"}.get(id_, "attack")])
    assert FEW[0] not in names and "BadNets" not in names and lost.key not in made.results


def test_figure_4_holds_every_neuron() -> None:
    results = paper.everything()
    frame = paper.drawn("fig4", results).frame
    for attack, spec in runs.neuron_specs(SMOKE, 0).items():
        found = results.need(spec)
        for k, stage in enumerate(runs.STAGES):
            part = frame[(frame.attack == attack) & (frame.model == stage)]
            assert part.tac.tolist() == found["tac"][k] and part.norm.tolist() == found["norm"][k]


@pytest.mark.parametrize("id_", ["fig1", "fig2"])
def test_a_figure_that_needs_every_result_says_which_is_missing(id_: str) -> None:
    lost = runs.tsne_spec(SMOKE, 0)
    with pytest.raises(NotRun, match="tsne of Blended on digits, seed 0 has no result at smoke scale"):
        paper.drawn(id_, paper.everything(without=[lost]))


# ----------------------------------------------------------------------------------------------------------- claims


@pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES)
def test_results_like_the_paper_s_make_every_claim_hold(scale: Scale) -> None:
    found = paper.words(paper.everything(scale))
    assert {claim for claim, word in found.items() if word != "holds"} == ({"combined"} if scale is SMOKE else set())
    assert found["combined"] == ("undecided" if scale is SMOKE else "holds")  # one model, and one pair decides nothing
    for verdict in paper.verdicts(Results(scale, 0, {})).values():
        assert verdict.holds is None and not verdict.numbers and verdict.reason.startswith("not run:")


def after_pruning(spec: Spec) -> bool:
    return of_defense("ft_sam")(spec) and isinstance(spec.parents()[0], DefendSpec)


def worse_with_rho(spec: Spec, result: dict[str, Any]) -> dict[str, Any]:
    if not of_defense("ft_sam", runs.swept(SMOKE)[0])(spec):
        return result
    return {**result, "asr": 2 * dict(spec.params)["rho"]}  # type: ignore[attr-defined]


def of_neurons(change: Callable[[list[list[float]]], list[list[float]]], attack: str = "") -> Change:
    return lambda s, result: {**result, "norm": change(result["norm"])} if of_tool("neurons", attack)(s) else result


AGAINST: list[tuple[str, Change]] = [
    ("alive", setting(of_defense("ft", "blended"), asr=10.0)),  # FT removes it too
    ("alive", setting(of_defense("ft_sam", "blended"), asr=59.0)),  # FT-SAM leaves it as well
    ("lower", setting(of_defense("ft_sam"), asr=99.0)),
    ("headline", setting(of_defense("ft_sam"), asr=40.0)),
    ("headline", setting(of_defense("ft_sam"), c_acc=80.0)),  # at a high price
    ("little_data", setting(of_defense("ft", n_clean=12), asr=1.0)),
    ("combined", setting(after_pruning, asr=61.0)),
    ("rho", worse_with_rho),
    ("norms", of_neurons(lambda norm: [values[::-1] for values in norm], "badnets")),
    ("norms", of_neurons(lambda norm: [[1.0] * NEURONS, *norm[1:]], FEW[-1])),  # no correlation is defined
    ("shrinks", of_neurons(lambda norm: [norm[0], norm[2], norm[2]])),  # FT does, too
    ("shrinks", of_neurons(lambda norm: [norm[0], norm[0], [1.1 * v for v in norm[0]]])),  # FT-SAM does not
]


@pytest.mark.parametrize(("claim", "change"), AGAINST)
@pytest.mark.filterwarnings("ignore:An input array is constant")
def test_results_against_a_claim_refute_it(claim: str, change: Change) -> None:
    scale = LAPTOP if claim == "combined" else SMOKE
    verdict = paper.verdicts(paper.everything(scale, change=change))[claim]
    assert verdict.word == "does not hold" and verdict.numbers


def test_every_claim_is_refuted_here() -> None:
    assert {claim for claim, _ in AGAINST} == {claim.id for claim in ft_sam.CLAIMS}


@pytest.mark.parametrize(
    ("claim", "lost"),
    [
        ("alive", defended(SMOKE, backdoored(SMOKE, "blended"), "ft")),
        ("lower", defended(SMOKE, backdoored(SMOKE, "badnets"), "ft_sam")),
        ("headline", defended(SMOKE, backdoored(SMOKE, "badnets"), "ft_sam")),
        ("little_data", defended(SMOKE, backdoored(SMOKE, "badnets"), "ft", n_clean=12)),
        ("combined", defended(SMOKE, backdoored(SMOKE, "blended"), "anp+ft")),
        ("rho", swept("blended", 7)),
        ("norms", runs.neuron_spec(SMOKE, "badnets", 0.05, 0)),
        ("shrinks", runs.neuron_spec(SMOKE, "badnets", 0.05, 0)),
    ],
)
def test_one_missing_result_leaves_its_claim_open(claim: str, lost: Spec) -> None:
    found = paper.words(paper.everything(without=[lost]))
    assert found[claim] == "not run" and "holds" in found.values()


def test_a_backdoor_that_was_not_learned_decides_nothing() -> None:
    results = paper.everything(change=unlearned("badnets"))
    for claim in ("lower", "headline", "little_data"):
        verdict = paper.verdicts(results)[claim]
        assert verdict.word == "undecided" and "BadNets" not in verdict.reason and "Blended" in verdict.reason
    text = paper.drawn("table1", results).fragment
    assert "Not learned at this scale" in text and "BadNets (ASR 5.0)" in text
    nobody = paper.words(paper.everything(change=setting(lambda spec: isinstance(spec, TrainSpec), asr=5.0)))
    assert set(nobody.values()) == {"not run"}


@pytest.mark.parametrize("claim", ["alive", "rho"])
def test_claims_on_named_attacks_skip_those_that_were_not_learned(claim: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(runs.ATTACKS, "smoke", runs.ATTACKS["laptop"])  # SIG beside Blended
    found = paper.words(paper.everything(change=unlearned("blended", after=5.0)))
    assert found[claim] == {"alive": "not run", "rho": "holds"}[claim]


def test_the_scale_of_another_data_set_has_its_own_radius() -> None:
    there = scales.on(PAPER, "gtsrb")
    (cell,) = DefenseTable(("blended",), ("ft_sam",), dataset="gtsrb", undefended="never").cells(PAPER)
    assert dict(cell.spec.params)["rho"] == there.rho != PAPER.rho  # type: ignore[attr-defined]


def test_table_1_says_how_far_the_models_of_several_seeds_lie_apart() -> None:
    """Own method and FT first, then the lowest of the others; an attack with two models is not among them."""
    table, rates = runs.TABLES["table1"]["laptop"], {}
    cells = [(seed, cell) for seed in range(3) for cell in table.cells(LAPTOP, seed)]
    kept = [(s, cell) for s, cell in cells if s < 2 or cell.attack == "blended"]
    for seed, cell in kept:
        value = {"ft_sam": 10.0, "ft": 70.0, "anp": 1.0, "nad": 5.0}.get(cell.defense, 50.0) + seed
        rates[cell.spec.key] = 99.0 if cell.defense == "none" else value
    made = paper.results(
        [cell.spec for _, cell in kept], LAPTOP, change=lambda s, r: {**r, "asr": rates[s.key]} if s.key in rates else r
    )
    (said,) = re.findall(r"Mean ASR ± standard error[^<]*", paper.drawn("table1", made).fragment)
    assert "Blended (3 models): FT-SAM 11.0 ± 0.6, FT 71.0 ± 0.6, ANP 2.0 ± 0.6, NAD 6.0 ± 0.6." in said
    assert "BadNets" not in said
    assert "Mean ASR ±" not in paper.drawn("table1", paper.everything(LAPTOP)).fragment
