"""The grid, tables, figures and claims of the NPD paper, on made-up results whose every number can be traced."""

from typing import Any

import pytest
import torch
from torch import nn

from paperlib import models, papers
from paperlib.analysis.perturbations import KINDS
from paperlib.defenses.npd import place
from paperlib.experiments.scales import LAPTOP, PAPER, SCALES, SMOKE, Scale
from paperlib.experiments.specs import AnalysisSpec, DefendSpec, TrainSpec
from paperlib.lab.spec import Spec
from paperlib.metrics import der
from paperlib.papers import Results, polarizer
from paperlib.papers.captions import PRINTED_DATASETS
from paperlib.papers.defense_table import Cell, backdoored, defended
from paperlib.papers.polarizer import runs
from paperlib.papers.polarizer.tables import TABLES
from paperlib.report.published import published

from .made_up import PICTURE, Change, MadeUp, analysis, numbers_of, of_tool, setting, small, unlearned


def believable(spec: Spec) -> dict[str, Any]:
    """A result of which every claim of the paper holds."""
    noise = small(spec)
    if isinstance(spec, TrainSpec):
        return {"c_acc": 90 + noise, "asr": 97 + noise, "r_acc": 1.0, "seconds": 60.0}
    if isinstance(spec, DefendSpec):
        params = dict(spec.params)
        weak = (
            spec.defense != "npd" or params.get("perturbation") in ("up", "uu") or "structure" in params
            or params.get("layer") in ("layer1.1.conv1", "layer1.0.conv1")
        )  # fmt: skip
        asr = 80.0 if params.get("lambda_asr") == params.get("lambda_bce1") == 0 else 30.0 if weak else 1.0
        return {"c_acc": 89 + noise, "asr": asr + noise, "seconds": (9.0 if spec.defense == "npd" else 30.0) + noise}
    assert isinstance(spec, AnalysisSpec)
    if spec.tool != "perturbations":
        return analysis(spec)
    return {
        "n": 9, "kinds": list(KINDS), "shape": [3, 8, 8], "images": [PICTURE] * 5, "residuals": [PICTURE] * 5,
        "amplification": [1.0, 2.0, 5.0, 5.0, 0.5], "maps": numbers_of(spec).uniform(size=(5, 2, 2)).tolist(),
        "distance": [50.0, 0.0, 30 + noise, 20.0, 60.0], "pixels": [0, 4, 3, 3, 3], "to_target": [0, 1, 0.5, 0.9, 0.2],
        "estimate": [0.2 + noise, 0.1],
    }  # fmt: skip


paper = MadeUp("polarizer", believable)


def cells_of(id_: str, scale: Scale = SMOKE) -> list[Cell]:
    return TABLES[id_].cells(scale)


# ------------------------------------------------------------------------------------------------------------ the grid


@pytest.mark.parametrize("id_", TABLES)
def test_the_paper_scale_plans_all_printed_rows_and_columns(id_: str) -> None:
    printed = published("polarizer", id_)
    printed = printed[~printed.attack.str.startswith("average") & ~printed.model.isin(["average", "inception_v3"])]
    printed = printed[~printed.setting.str.contains("OSAD|OSDN")]
    name = PRINTED_DATASETS
    made = {(name.get(p.dataset, p.dataset), p.model, a, d, s) for a, d, s, _, p in cells_of(id_, PAPER)}
    wanted = set(printed[["dataset", "model", "attack", "defense", "setting"]].itertuples(index=False, name=None))
    assert made and wanted <= made, wanted - made


@pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES)
def test_table_1_shares_the_models_of_the_benchmark(scale: Scale) -> None:
    shared = {spec.key for spec in papers.specs("benchmark", scale)}
    for cell in cells_of("table1", scale):
        assert cell.parent.key in shared
        if cell.attack == "blended" and cell.defense not in runs.INFORMED:
            assert cell.spec.key in shared or (scale is SMOKE and cell.defense == "i_bau")


def test_the_defaults_of_the_ablations_are_the_cell_of_table_1() -> None:
    parent = backdoored(LAPTOP, "blended")
    npd = defended(LAPTOP, parent, "npd").key
    for id_ in ("table1", "table3", "table4", "table13"):
        assert npd in {cell.spec.key for cell in cells_of(id_, LAPTOP) if cell.parent == parent}
    shared = {cell.spec.key for cell in cells_of("table1", LAPTOP)}
    full = [cell for cell in cells_of("table6", LAPTOP) if cell.setting == "clean_samples=500"]
    assert full and all(cell.spec.key in shared for cell in full)
    assert npd in {c.spec.key for c in runs.FIGURE3["laptop"].cells(LAPTOP) if c.setting == runs.DEFAULT_PLACE}


@pytest.mark.parametrize("name", runs.PLACES)
def test_the_places_of_table_15_are_convolutions(name: str) -> None:
    with torch.device("meta"):  # names and types only, no weights
        made = models.MODELS[name].load()((0.5,) * 3, (0.2,) * 3, 10, **dict(models.MODELS[name].defaults))
    for layer in runs.PLACES[name].values():
        assert isinstance(place(made, layer), nn.Conv2d)


def test_npd_has_its_own_radius_on_tiny_imagenet() -> None:
    rhos = {dict(c.spec.params).get("rho") for c in cells_of("table2", PAPER) if c.defense[:3] == "npd"}  # type: ignore[attr-defined]
    assert rhos == {6.0}


# ------------------------------------------------------------------------------------------------------------- drawing


@pytest.mark.parametrize("id_", papers.drawable("polarizer"))
def test_an_item_is_drawn_from_its_own_experiments(id_: str) -> None:
    paper.check_item(id_)


@pytest.mark.parametrize("id_", [*TABLES, "table9", "table10"])
def test_the_tables_at_paper_scale(id_: str) -> None:
    assert paper.check_item(id_, PAPER)


def test_a_printed_half_says_why_and_holds_no_number_of_ours() -> None:
    made = paper.drawn("table11")
    assert "Printed numbers only: GTSRB (`paperlib data fetch gtsrb`) is not run at smoke scale" in made.caption
    assert made.frame.ours.isna().all() and made.frame.published.notna().all() and "93.56" in made.fragment


def test_table_1_shows_results_beside_print_and_averages_over_learned_attacks() -> None:
    results = paper.everything()
    parent = backdoored(SMOKE, "badnets")
    made = paper.drawn("table1", results)
    frame = made.frame.query("defense == 'npd' and attack == 'badnets'").set_index("metric")
    before, after = results.need(parent), results.need(defended(SMOKE, parent, "npd"))
    assert frame.ours["ACC"] == after["c_acc"] and frame.published["ACC"] == 88.93
    wanted = der(before["c_acc"], before["asr"], after["c_acc"], after["asr"], unit="percent")
    assert frame.ours["DER"] == pytest.approx(wanted)
    assert "Averages of Table 1" in made.fragment and made.fragment.index(">NPD<") < made.fragment.index(">ANP<")
    text = paper.drawn("table1", paper.everything(change=unlearned("badnets"))).fragment
    assert "BadNets (ASR 5.0)" in text


def test_the_running_times_are_multiples_of_npds() -> None:
    frame = paper.drawn("table9").frame.set_index("Defense")
    assert frame["x NPD"]["NPD"] == 1 and frame.index[0] == "NPD"
    assert frame["x NPD"]["ANP"] == pytest.approx(frame.Seconds["ANP"] / frame.Seconds["NPD"])
    assert frame["CIFAR-10 printed"]["ANP"] == 58.75 and frame["x NPD, CIFAR-10"]["ANP"] == pytest.approx(58.75 / 55.16)


def test_table_7_has_models_of_its_own_with_the_ordinary_triggers() -> None:
    for cell in cells_of("table7", PAPER):
        ordinary = backdoored(PAPER, cell.attack)
        assert cell.parent.key != ordinary.key and cell.parent.prepared == ordinary.prepared
        assert cell.parent.adversarial == 8 / 255
    made = paper.drawn("table7")
    assert "1 of 4 attacks" in made.caption and "2 steps of a quarter" in made.fragment


def test_table_8_attacks_with_all_to_all_labels() -> None:
    found = {cell.attack: cell.parent for cell in cells_of("table8", PAPER)}
    assert {parent.attack + "_a2a" for parent in found.values()} == set(found) and len(found) == 4
    assert {dict(parent.attack_params)["labels"] for parent in found.values()} == {"all_to_all"}


def test_table_6_corrects_the_printed_ders() -> None:
    text = paper.drawn("table6", paper.everything(LAPTOP)).fragment
    assert "92.78 → 94.75" in text and "interchanged" in text


# -------------------------------------------------------------------------------------------------------------- claims


@pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES)
def test_results_like_the_paper_s_make_every_claim_hold(scale: Scale) -> None:
    found = paper.words(paper.everything(scale))
    assert {claim for claim, word in found.items() if word != "holds"} == ({"informed"} if scale is SMOKE else set())
    assert found["informed"] == ("undecided" if scale is SMOKE else "holds")  # one model, and one pair decides nothing
    assert set(paper.words(Results(scale, 0, {})).values()) == {"not run"}


def informed(spec: Spec) -> bool:
    return isinstance(spec, DefendSpec) and dict(spec.params).get("perturbation") in ("tu", "tp")


def good(spec: Spec) -> bool:
    """What is good, except of TU and TP."""
    return isinstance(spec, DefendSpec) and believable(spec)["asr"] < 5 and not informed(spec)


AGAINST: dict[str, Change] = {
    "far": lambda s, r: {**r, "distance": [50.0, 0.0, 99.0, 20.0, 60.0]} if of_tool("perturbations")(s) else r,
    "bad": setting(good, asr=95.0, seconds=500.0),
    "told": setting(informed, asr=95.0),
}


def test_every_claim_can_be_refuted() -> None:
    refuted = {
        name: {
            claim
            for claim, word in paper.words(paper.everything(LAPTOP, change=change)).items()
            if word == "does not hold"
        }
        for name, change in AGAINST.items()
    }
    assert refuted["far"] == {"nearer"} and refuted["told"] == {"informed"}
    assert refuted["bad"] == {claim.id for claim in polarizer.CLAIMS} - {"nearer", "informed"}


def test_a_backdoor_that_was_not_learned_is_in_no_mean() -> None:
    found = paper.verdicts(paper.everything(LAPTOP, change=unlearned("badnets")))
    assert found["removes"].holds and found["best"].holds and "BadNets" not in found["best"].reason
