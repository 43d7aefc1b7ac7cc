"""Our own runs of the benchmark: what is planned, and that tables hold what the results say and nothing else."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from image_toy import images, scene
from typer.testing import CliRunner

from paperlib import models
from paperlib.analysis.triggers import triggers
from paperlib.attacks import ATTACKS
from paperlib.cli.lab import app
from paperlib.defenses import BATCH_NORM, CLEAN, DEFENSES, NOTHING, POISONED, applicable
from paperlib.detection import DETECTORS
from paperlib.experiments.scales import LAPTOP, PAPER, SMOKE
from paperlib.experiments.specs import AnalysisSpec, DefendSpec, DetectSpec, TrainSpec
from paperlib.lab.spec import Spec
from paperlib.metrics import der
from paperlib.models import MODELS, WITHOUT_BATCH_NORM
from paperlib.papers import Results, benchmark, drawable
from paperlib.papers import benchmark_runs as runs
from paperlib.report.claims import NotRun


@cache
def look() -> dict[str, Any]:
    """What the tool ``triggers`` says of BadNets on toy images."""
    return triggers([], scene(images(40, size=16)), seed=0)


def made_up(spec: Spec) -> dict[str, Any] | None:
    """Numbers that differ from cell to cell."""
    if isinstance(spec, AnalysisSpec):
        (parent,) = spec.inputs
        assert isinstance(parent, TrainSpec)
        return {**look(), "attack": parent.attack}
    k = int(spec.key, 16) % 97 / 10
    if isinstance(spec, DetectSpec):
        return {"tpr": 80 + k, "fpr": k, "f1": 60 + k, "auroc": 90 + k, "n_flagged": 9, "seconds": k}
    asr = 85 + k if isinstance(spec, TrainSpec) else 20 + k
    out = {"c_acc": 60 + k, "asr": asr, "r_acc": 100 - asr, "seconds": 1 + k}
    return {**out, "n_train": 1000, "log": [{"epoch": 1, "asr": asr}]} if isinstance(spec, TrainSpec) else out


def results_of(specs: list[Spec], scale: Any = SMOKE) -> Results:
    rows = {s.key: {"key": s.key, "result": made_up(s)} for one in specs for s in one.ancestry() if s.kind != "prepare"}
    return Results(scale, 0, rows)


def test_the_paper_scale_plan_is_the_papers_grid_without_what_cannot_exist() -> None:
    keys, trained, defended = set(), 0, 0
    for spec in runs.whole_grid(PAPER):
        keys.add(spec.key)
        trained += isinstance(spec, TrainSpec)
        defended += isinstance(spec, DefendSpec)
    # LC and SIG exist up to the share of class 0: 5, 3, 2 and 2 of the five ratios
    feasible = 5 * sum(6 * 5 + 2 * n for n in (5, 3, 2, 2))
    assert trained == feasible and len(keys) == trained + defended
    assert defended == feasible // 5 * (4 * 9 + 8)  # VGG19 has no batch norm: no ANP
    assert {s.dataset for s in runs.whole_grid(PAPER) if isinstance(s, TrainSpec)} == set(runs.CLEAN_LABEL_SHARE)


def test_the_whole_grid_can_be_planned_from_the_command_line(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["plan", "benchmark", "--whole", "--scale", "paper", "--store", str(tmp_path)])
    assert done.exit_code == 0 and "7104" in done.stdout  # with the clean models and what attacks prepare
    refused = CliRunner().invoke(app, ["plan", "ft_sam", "--whole", "--store", str(tmp_path)])
    assert refused.exit_code != 0 and "has no grid beyond its items" in str(refused.exception)


@pytest.mark.parametrize("name", MODELS)
def test_models_without_batch_norm_are_named(name: str) -> None:
    model = models.build(name, images(8, size=32), width=8)
    found = any(isinstance(m, torch.nn.modules.batchnorm._BatchNorm) for m in model.modules())
    assert found == (name not in WITHOUT_BATCH_NORM)


def test_only_defenses_that_need_batch_norm_are_not_applicable_without_it() -> None:
    for name, method in DEFENSES.items():
        assert applicable(name, "preact_resnet18")
        assert applicable(name, "vgg19") == (method.needs != BATCH_NORM)
    assert not applicable("anp", "vgg19") and applicable("ft", "vgg19")


def test_every_defense_says_what_it_sees() -> None:
    assert {method.access for method in DEFENSES.values()} == {CLEAN, POISONED, NOTHING} == set(runs.ACCESS)


def test_slices_name_what_exists() -> None:
    for part in runs.SLICES.values():
        assert set(part.attacks) <= set(ATTACKS) and set(part.defended) <= set(part.attacks)
        assert set(part.detected) <= set(part.attacks)
        assert set(part.defenses) <= set(DEFENSES) and set(part.detectors) <= set(DETECTORS)


def test_our_items_are_drawable_and_no_items_of_the_paper() -> None:
    assert set(runs.ITEMS) <= set(drawable("benchmark")) and not set(runs.ITEMS) & set(benchmark.ITEMS)


@pytest.mark.parametrize("id_", runs.ITEMS)
def test_an_item_is_drawn_from_its_results_and_not_without_them(id_: str) -> None:
    item = runs.ITEMS[id_]
    scale = LAPTOP if id_ in ("our_input_aware", "our_repetition", "our_seeds") else SMOKE  # these are about one scale
    made = item.draw(results_of(item.specs(scale, 0), scale))
    assert len(made.frame) and f"{scale.name} scale" in made.caption
    with pytest.raises(NotRun):
        item.draw(Results(scale, 0, {}))


def test_input_aware_is_studied_one_cut_at_a_time() -> None:
    specs = runs.input_aware_specs(LAPTOP, 0)
    assert len({spec.key for spec in specs}) == len(runs.STUDIES)
    assert specs[0].key == runs.attacked(LAPTOP, "input_aware").key
    assert not runs.input_aware_specs(SMOKE, 0)


def test_every_seed_has_a_victim_of_its_own() -> None:
    specs = runs.seed_specs(LAPTOP, 0)
    victims = [spec for spec in specs if isinstance(spec, TrainSpec)]
    assert {spec.seed for spec in victims} == {0, 1, 2} and len({spec.key for spec in specs}) == len(specs)
    assert all(spec.seed == spec.parent.seed for spec in specs if isinstance(spec, DefendSpec))
    frame = runs.draw_seeds(results_of(specs, LAPTOP)).frame.set_index(["Attack", "Defense"])
    asr = [row["asr"] for spec in victims if spec.attack == "wanet" and (row := made_up(spec))]
    assert frame.loc[("WaNet", "none"), "Mean ASR"] == pytest.approx(sum(asr) / 3)


def test_repetition_is_the_distance_between_two_computations_of_the_same_cells() -> None:
    specs = runs.repetition_specs(LAPTOP, 0)
    results, second = results_of(specs, LAPTOP), runs.repeated(LAPTOP)
    frame = runs.draw_repetition(results).frame.set_index("Defense")
    undefended = [spec for spec in specs if isinstance(spec, TrainSpec)]
    apart = [abs(results.need(spec)["asr"] - second[spec.key]["result"]["asr"]) for spec in undefended]
    assert frame.loc["none", "Cells"] == len(undefended) > 10
    assert frame.loc["none", "ASR, mean"] == pytest.approx(sum(apart) / len(apart))
    assert frame["Cells"].sum() == len(specs)


def test_the_table_of_attacks_shows_results_and_printed_values() -> None:
    frame = runs.draw_attacks(results_of(runs.attack_specs(SMOKE, 0))).frame.set_index("Attack")
    result = made_up(runs.attacked(SMOKE, "badnets"))
    assert result and frame.loc["BadNets", "ASR"] == result["asr"]
    assert frame.loc["BadNets", "ASR printed"] == 95.03  # the leaderboard of 2022
    assert frame.loc["BadNets", "Minutes"] == round(result["seconds"] / 60, 1)


def test_averages_are_over_learned_attacks_only() -> None:
    scale = LAPTOP
    parents = [runs.attacked(scale, name) for name in ("badnets", "blended", "sig")]
    specs: list[Spec] = [s for p in parents for s in (p, runs.defended(scale, p, "ft"))]
    results = results_of(specs, scale)
    results.rows[parents[2].key]["result"]["asr"] = 10.0  # type: ignore[index]
    mean = runs.averages(results).set_index("defense")
    after = [results.need(runs.defended(scale, p, "ft")) for p in parents[:2]]
    before = [results.need(p) for p in parents[:2]]
    assert mean.loc["ft", "n"] == 2
    assert mean.loc["ft", "asr"] == pytest.approx(sum(r["asr"] for r in after) / 2)
    ders = [der(b["c_acc"], b["asr"], a["c_acc"], a["asr"], unit="percent") for b, a in zip(before, after, strict=True)]
    assert mean.loc["ft", "der_mean"] == pytest.approx(sum(ders) / 2)


def test_what_was_not_run_is_counted_and_not_filled_in() -> None:
    parent = runs.attacked(SMOKE, "blended")
    made = runs.draw_defenses(results_of([parent, runs.defended(SMOKE, parent, "ft")]))
    assert f"2 of {1 + len(runs.SLICES['smoke'].defenses)} cells run" in made.caption
    ran = made.frame[made.frame.ours.notna()]
    assert set(ran.defense) == {"none", "ft"} and set(ran.attack) == {"blended"}
