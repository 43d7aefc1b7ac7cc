"""Grid, drawings and claims of notebook 01, on made-up results whose every number can be traced."""

import base64
from collections.abc import Iterable
from typing import Any

import pandas as pd
import pytest

from paperlib.companion import recorded_file
from paperlib.errors import PaperlibError
from paperlib.experiments import plan
from paperlib.experiments.scales import LAPTOP, PAPER, SMOKE, Scale
from paperlib.experiments.specs import CleanseSpec, DetectSpec, TrainSpec
from paperlib.lab import ledger
from paperlib.lab.spec import Spec
from paperlib.papers import Results, described, drawable, ran, specs, vdc
from paperlib.papers.vdc import items, runs
from paperlib.report.claims import NotRun, evaluate

scales = pytest.mark.parametrize("scale", [SMOKE, LAPTOP, PAPER], ids=lambda scale: scale.name)
RUN = [id_ for id_, item in drawable("vdc").items() if item.specs(SMOKE, 0)]


def cleaned(spec: CleanseSpec) -> dict[str, Any]:
    if spec.engine == "truth":
        return {"engine": "truth", "n": 1_000, "n_dirty": 90, "n_flagged": 90, "n_missed": 0, "precision": 100.0}
    kept = spec.attack == "sig" and dict(spec.attack_params).get("labels") != "all_to_one"  # the label stays right
    tpr = 20.0 if kept else 90.0 + len(spec.attack)
    rules = [
        {"score": s, "alpha": 0.5, "tie": t, "tpr": 95.0, "fpr": 20.0, "auroc": 90.0 + (s == "logit_mean")}
        for s in ("vote", "mean_p", "logit_mean")
        for t in (("clean", "dirty", "paper-code") if s == "vote" else ("clean",))
    ]
    rules.append(
        {"score": "logit_mean", "alpha": 0.3, "tie": "clean", "target_fpr": 0.1, "tpr": tpr, "fpr": 9.0, "auroc": 91.0}
    )
    curve = {"tpr": [0.0, 90.0, 100.0], "fpr": [0.0, 9.0, 100.0]}
    picture = base64.b64encode(bytes(192)).decode()
    example = {
        "kind": "noisy", "label": "1", "true": "7", "suggested": "7", "score": 0.1, "why": "Is it a 1?", "shape": [3, 8,
        8],
        "picture": picture,
    }  # fmt: skip
    kinds = {"poisoned": spec.attack != "none", "noisy": bool(spec.noise)}
    return {
        "engine": spec.engine, "model": "Made up", "note": "", "score": "logit_mean", "threshold": 0.3,
        "target_fpr": spec.target_fpr,
        "tie": "clean", "bank": "digits", "general": 2, "specific": 4, "reference": spec.reference,
        "reference_percent": 5.0,
        "reference_source": "test images", "tpr": tpr, "fpr": 9.0, "f1": 80.0 - 10 * (spec.engine == "on_features"),
        "auroc": 91.0, "fnr_at_budget": 10.0, "precision": 70.0,
        "n": 1_000, "n_dirty": 90, "n_flagged": 120, "n_missed": 7, "class_accuracy": 80.0, "suggestions_right": 75.0,
        "kinds": {kind: {"n": 90, "flagged": 88.0} for kind, there in kinds.items() if there}, "rules": rules,
        "roc": dict.fromkeys(("vote", "mean_p", "logit_mean"), curve),
        "thresholds": {"alpha": [0.0, 0.5, 1.0], **{s: {"tpr": [0.0, 90.0, 100.0], "fpr": [0.0, 9.0, 90.0]}
        for s in ("vote", "mean_p", "logit_mean")}},
        "subsets": [
            {"general": g, "specific": s, "tpr": 90.0, "fpr": 10.0, "auroc": 85.0, "auroc_logit_mean": 80.0 + 3 * g + s}
            for g, s in ((1, 0), (2, 0), *((0, k) for k in range(1, 5)), *((2, k) for k in range(1, 5)))
        ],
        "per_question": [
            {"label": str(k), "kind": "specific", "question": f"Question {k}?", "clean": 90.0 + k,
            "dirty": 30.0 + 5 * k} for k in range(8)
        ] + [{"label": "0", "kind": "general", "question": "What is it?", "clean": 80.0, "dirty": None}],
        "examples": [{**example, "group": group} for group in ("caught", "missed", "false alarm")],
        "triggered": {"shape": [3, 8, 8], "before": [picture], "after": [picture], "true": ["3"]} if kinds["poisoned"]
        else None,
        "asked": 1_000, "from_cache": 0, "images_per_second": 50.0, "images_per_cpu_second": 60.0,
        "fitting_seconds": 1.0, "seconds": 20.0,
    }  # fmt: skip


def made_up(spec: Spec) -> dict[str, Any]:
    if isinstance(spec, CleanseSpec):
        return cleaned(spec)
    if isinstance(spec, DetectSpec):
        return {"tpr": 60.0, "fpr": 12.0, "f1": 50.0, "auroc": 70.0, "n_flagged": 100, "seconds": 4.0}
    if isinstance(spec, TrainSpec):
        by = spec.cleansed.engine if isinstance(spec.cleansed, CleanseSpec) else ""
        left = {"": 124, "truth": 0}.get(by, 7) if spec.attack != "none" else 0
        out = {"c_acc": 80.0 if by else 70.0, "n_train": 1_000, "n_poisoned": left}
        if spec.noise:
            out["n_noisy"] = 20 if by else 496
        return {**out, "asr": 99.0 if left > 50 else 5.0} if spec.attack != "none" else out
    return {}


def results_of(some: Iterable[Spec], scale: Scale = SMOKE, without: Iterable[str] = ()) -> Results:
    every = (one for spec in some for one in spec.ancestry() if one.key not in set(without))
    return Results(scale, 0, {spec.key: {"key": spec.key, "result": made_up(spec)} for spec in every})


def verdicts(results: Results) -> dict[str, Any]:
    return {claim.id: verdict for claim, verdict in evaluate(vdc.CLAIMS, results)}


# ---------------------------------------------------------------------------------------------------------- grid


@scales
def test_columns(scale: Scale) -> None:
    found = list(runs.columns(scale, 3))
    assert len({spec.key for *_, spec in found}) == len(found) and {spec.seed for *_, spec in found} == {3}
    for group, name, spec in found:
        if group in ("poisoned", "few"):
            assert (
                spec.ratio == (runs.ETA if group == "poisoned" else runs.LOW)
                and spec.selection == "balanced"
                and not spec.noise
            )
            # VDC's SIG changes the label, and its WaNet has no images in noise mode
            assert dict(spec.attack_params).get("labels", "all_to_one") == "all_to_one"
            assert name != "wanet" or dict(spec.attack_params)["cross_ratio"] == 0
        if group == "clean label":
            assert dict(spec.attack_params).get("labels", "clean") == "clean" and spec.selection == "random"
        if group == "hybrid":
            assert f"{spec.attack}+{spec.noise}" == name and spec.ratio == runs.ETA and spec.noise_ratio == runs.NOISE
        if group == "by people":
            assert spec.noise_ratio == 0  # it is what people made it
    assert (scale is PAPER) == (found[0][2].reference == 0)  # the paper's model needs no labelled picture


def test_a_reader_changes_engine_questions_and_false_alarms() -> None:
    item = vdc.OURS["every_column"]
    changed = item.changed(attacks=["badnets"], questions="template", target_fpr=0.02)
    (spec,) = changed.specs(LAPTOP, 0)
    assert (spec.attack, spec.questions, spec.target_fpr, spec.reference) == ("badnets", "template", 0.02, 2_000)
    (other,) = item.changed(noises=["symmetric"], engine="clip").specs(LAPTOP, 0)
    assert (other.engine, other.noise, other.reference, other.target_fpr) == ("clip", "symmetric", 0, None)
    assert {spec.questions for spec in item.specs(LAPTOP, 0)} == {""}
    for wrong, said in (({"questions": "digit"}, "did you mean 'digits'"), ({"engine": "clop"}, "did you mean 'clip'")):
        with pytest.raises(PaperlibError, match=said):
            item.changed(**wrong)


def test_the_baselines_use_the_benchmarks_models_below_paper_scale() -> None:

    for scale in (SMOKE, LAPTOP):
        assert runs.victim(scale, "badnets", seed=0) == plan.train(scale, "badnets")
        spec = runs.same_data(scale, "badnets", seed=0)
        assert (spec.ratio, spec.selection, spec.seed) == (0.1, "random", 0)
    assert runs.victim(PAPER, "sig", seed=0).ratio == runs.ETA
    assert dict(runs.victim(PAPER, "sig", seed=0).attack_params)["labels"] == "all_to_one"


@scales
def test_retraining_sees_what_was_cleaned(scale: Scale) -> None:
    found = runs.retrainings(scale, 0)
    for (dirt, name), spec in found.items():
        assert (spec.cleansed is None) == (name == "dirty") and bool(spec.noise) == (dirt == "symmetric")
        if isinstance(spec.cleansed, CleanseSpec):
            assert (spec.cleansed.engine == "truth") == (name == "truth")
    curve = runs.slipped(scale, 0)
    assert curve[0.0] == found["blended", "truth"] and all(
        spec.ratio == ratio for ratio, spec in curve.items() if ratio
    )


# ------------------------------------------------------------------------------------------------------- drawing


@pytest.mark.parametrize("id_", drawable("vdc"))
def test_draws(id_: str) -> None:
    item = drawable("vdc")[id_]
    made = item.draw(results_of(specs("vdc", SMOKE)))
    assert made.caption and len(made.frame) and (made.html or made.figure)
    if id_ in RUN and id_ != "fig3":
        assert "Made up" in made.caption or "Made up" in str(made.html), "every result says which engine made it"


@pytest.mark.parametrize("id_", RUN)
def test_without_results_nothing_is_drawn(id_: str) -> None:
    with pytest.raises(NotRun):
        drawable("vdc")[id_].draw(Results(SMOKE, 0, {}))


def test_table1_shows_every_printed_value_beside_ours() -> None:
    results = results_of(specs("vdc", SMOKE))
    frame = vdc.ITEMS["table1"].draw(results).frame
    assert frame.published.notna().sum() == 112
    cell = frame[(frame.defense == "vdc") & (frame.attack == "blended") & (frame.metric == "TPR")]
    assert (
        cell.ours.item() == 97.0 and cell.published.notna().item() and cell.verdict.item() == "not comparable (scale)"
    )
    assert frame[(frame.defense == "vdc") & (frame.attack == "average")].ours.isna().all(), (
        "four triggers are no average of six"
    )
    noisy = vdc.ITEMS["table_noisy_labels"].draw(results).frame
    assert noisy.published.notna().sum() == 48 and set(noisy[noisy.ours.notna()].dataset) == {"cifar10"}
    laptop = vdc.ITEMS["table1"].draw(results_of(specs("vdc", LAPTOP), LAPTOP)).frame
    average = laptop[(laptop.defense == "vdc") & (laptop.attack == "average") & (laptop.metric == "TPR")]
    assert average.ours.item() == pytest.approx(sum(90 + len(a) for a in runs.ATTACKS) / 6)


@pytest.mark.parametrize(
    ("id_", "imagenet", "cells"),
    [
        ("table2", "imagenet100", 112),
        ("table_imagenet_dog", "imagenet_dog", 14),
        ("table_noisy_labels", "imagenet100", 4),
    ],
)
def test_photographs_have_a_stand_in_that_is_named(id_: str, imagenet: str, cells: int) -> None:
    """Six triggers and their average for VDC, in Table 2 for its seven baselines too; nothing is called ImageNet."""
    item = vdc.ITEMS[id_]
    made = item.draw(results_of(item.specs(LAPTOP, 0), LAPTOP))
    beside = made.frame[(made.frame.dataset == imagenet) & made.frame.ours.notna() & made.frame.published.notna()]
    assert len(beside) == cells and set(beside.ours_dataset) == {"tiny_imagenet20_32"}
    assert set(beside.verdict) == {"not comparable (scale)"}
    assert "Tiny ImageNet" in made.fragment and "1,000 clean labelled reference images" in made.fragment
    shares = {spec.ratio for spec in item.specs(LAPTOP, 0) if isinstance(spec, CleanseSpec) and spec.attack != "none"}
    assert shares == {"table2": {0.099}, "table_imagenet_dog": {0.09}, "table_noisy_labels": set()}[id_]
    assert all("tiny" not in str(spec.to_dict()) for spec in item.specs(SMOKE, 0))


def test_what_is_missing_is_counted() -> None:
    gone = runs.cleaning(SMOKE, "blended", seed=0).key
    made = vdc.OURS["every_column"].draw(results_of(specs("vdc", SMOKE), without=[gone]))
    total = len(list(runs.columns(SMOKE, 0)))
    assert f"{total - 1} of {total} sets" in made.caption


def test_printed_halves_of_planned_tables() -> None:
    from paperlib.companion import printed_only

    for id_ in ("table2", "table_imagenet_dog"):
        made = printed_only("vdc", id_, SMOKE)
        assert made.frame.published.notna().sum() == 112 and "Printed numbers only" in made.caption


# -------------------------------------------------------------------------------------------------------- claims


def test_the_lowest_tpr_is_over_the_triggers_that_all_have() -> None:
    """VDC has six; a baseline that lacks some of them leaves the claim decided on the others."""
    lost = [
        spec.key for dirt, name, spec in runs.detections(LAPTOP, 0) if name == "ct" and dirt not in ("badnets", "sig")
    ]
    found = verdicts(results_of(specs("vdc", LAPTOP), LAPTOP, without=lost))["steadier"]
    assert found.holds is not None and "over 2 triggers; the best of 7" in found.reason
    lost = [spec.key for _, name, spec in runs.detections(LAPTOP, 0) if name != "bhn"]
    assert verdicts(results_of(specs("vdc", LAPTOP), LAPTOP, without=lost))["steadier"].word == "not run"


def test_claims_follow_from_the_numbers() -> None:
    found = verdicts(results_of(specs("vdc", LAPTOP), LAPTOP))
    assert {name for name, verdict in found.items() if verdict.holds is None} == set()
    for name in (
        "every_kind",
        "steadier",
        "both_noises",
        "noise_baselines",
        "asked_for",
        "retraining",
        "accuracy",
        "probability",
        "kinds",
    ):
        assert found[name].holds, name
    assert found["steadier"].numbers["VDC"] == 93.0  # SIG's, the lowest of six
    assert not found["hybrid"].holds and found["hybrid"].numbers["points lost"] == 9.0
    assert found["low_ratio"].holds
    assert all(verdict.holds is None for verdict in verdicts(Results(LAPTOP, 0, {})).values())


def test_a_claim_can_fail() -> None:
    results = results_of(specs("vdc", LAPTOP), LAPTOP)
    for row in results.rows.values():
        if "rules" in row["result"]:  # type: ignore[index]
            row["result"]["fpr"] = 13.0  # type: ignore[index]
            row["result"]["tpr"] = 50.0  # type: ignore[index]
    found = verdicts(results)
    assert not found["every_kind"].holds and not found["asked_for"].holds and not found["steadier"].holds
    assert not found["limit"].holds


def test_one_attack_within_reach_is_not_averaged_away() -> None:
    results = results_of(specs("vdc", LAPTOP), LAPTOP)
    assert verdicts(results)["limit"].numbers.keys() == {"SIG", "CTRL", "label changed"}
    assert not verdicts(results)["limit"].holds  # made up: CTRL is caught like a trigger that changes the label
    results.rows[runs.clean_label(LAPTOP, "ctrl", seed=0).key]["result"]["tpr"] = 7.0  # type: ignore[index]
    assert verdicts(results)["limit"].holds


def test_a_collapsed_run_counts_in_no_verdict() -> None:
    results = results_of(specs("vdc", LAPTOP), LAPTOP)
    for noise, ratio, method, spec in runs.fair(LAPTOP, 0):
        if (noise, ratio, method) == ("symmetric", runs.NOISE, "cores"):
            results.rows[spec.key]["result"] |= {"f1": 99.0, "collapsed": True}  # type: ignore[index]
    assert verdicts(results)["noise_baselines"].holds and "4 baselines" in verdicts(results)["noise_baselines"].reason


@pytest.mark.parametrize("id_", drawable("vdc"))
def test_every_item_is_read_by_its_numbers(id_: str) -> None:
    made = drawable("vdc")[id_].draw(results_of(specs("vdc", LAPTOP), LAPTOP))
    assert any(letter.isdigit() for letter in made.reading) and "nan" not in made.reading


def otherwise(value: Any, by: float) -> Any:
    """The same result with every rate moved by a part ``by`` of itself, another suggestion and no trigger."""
    if isinstance(value, dict):
        rules = ("alpha", "target_fpr", "threshold")
        return (
            {name: one if name in rules else otherwise(one, by) for name, one in value.items()}
            | ({"suggested": "another"} if "suggested" in value else {})
            | ({"after": value["before"]} if "after" in value else {})
        )
    if isinstance(value, list):
        return [otherwise(one, by) for one in value]
    return value * (1 - by) if isinstance(value, float) else value


@pytest.mark.parametrize("id_", drawable("vdc"))
def test_every_recorded_item_is_read_by_the_recorded_numbers(id_: str) -> None:
    recorded = ledger.load(recorded_file(LAPTOP))
    item = drawable("vdc")[id_]
    made = item.draw(Results(LAPTOP, 0, recorded))
    assert any(letter.isdigit() for letter in made.reading) and "nan" not in made.reading
    if wanted := item.specs(LAPTOP, 0):
        moved = {
            key: {**row, "result": otherwise(row["result"], 0.2)} if key in {one.key for one in wanted} else row
            for key, row in recorded.items()
        }
        assert item.draw(Results(LAPTOP, 0, moved)).reading != made.reading


def test_no_reading_says_what_its_numbers_do_not() -> None:
    half = pd.DataFrame({"TPR": ["90.0"], "FPR": ["9.0"], "Precision": ["60.0"]})
    assert "mostly clean" not in items.READINGS["table_low_ratios"](half)
    assert "mostly clean" in items.READINGS["table_low_ratios"](half.assign(Precision="9.0"))
    curve = pd.DataFrame({"poisoned": [0, 50, 500], "asr": [2.0, 20.0, 90.0]})
    assert "leaves no more" not in items.READINGS["slipped"](curve)
    assert "With 50 it is still below 10 %" in items.READINGS["slipped"](curve.assign(asr=[2.0, 5.0, 90.0]))


def test_table1_has_every_printed_value_beside_ours_when_all_is_run() -> None:
    frame = vdc.ITEMS["table1"].draw(results_of(specs("vdc", LAPTOP), LAPTOP)).frame
    assert frame[frame.published.notna()].ours.notna().all() and frame.published.notna().sum() == 112
    strip = frame[(frame.defense == "strip") & (frame.attack == "average") & (frame.metric == "TPR")]
    assert strip.ours.item() == 60.0


def test_the_baselines_see_every_trigger_of_the_paper_with_the_label_changed() -> None:
    found = list(runs.detections(LAPTOP, 0))
    assert {dirt for dirt, *_ in found} == {*runs.ATTACKS, *runs.NOISES}
    (sig,) = {spec.parent for dirt, _, spec in found if dirt == "sig"}
    assert dict(sig.attack_params)["labels"] == "all_to_one"
    assert dict(runs.same_data(LAPTOP, "sig", seed=0).attack_params)["labels"] == "all_to_one"
    assert {dirt for dirt, *_ in runs.detections(SMOKE, 0)} == {"badnets", "symmetric"}


def test_every_ratio_has_a_classifier_of_its_own_and_vdc_its_data() -> None:
    for ratio, method, spec in runs.by_ratio(LAPTOP, 0):
        trained = spec if method == "vdc" else spec.parent  # type: ignore[attr-defined]
        plain = plan.train(LAPTOP, runs.BY_RATIO, ratio, seed=0)
        assert trained.ratio == ratio and (method == "vdc" or trained.key == plain.key)
    assert len({spec.key for *_, spec in runs.by_ratio(LAPTOP, 0)}) == 3 * 8


def test_the_link_to_the_drawing_is_not_one_to_what_wraps_it() -> None:
    assert "vdc/figures.py" in ran.lines_of(vdc, "fig2", vdc.ITEMS["fig2"])
    assert "vdc/tables.py" in ran.lines_of(vdc, "ties", vdc.OURS["ties"])


def test_a_missing_run_on_wrong_labels_is_not_called_clean_alone() -> None:
    spec = runs.retrainings(LAPTOP, 0)["symmetric", "vdc"]
    assert described(spec) == "Clean on CIFAR-10 with symmetric wrong labels after cleaning, seed 0"
