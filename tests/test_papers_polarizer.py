"""The grid, tables, figures and claims of the NPD paper on made-up results, and the tool behind its Figure 4."""

import base64
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from image_toy import images, model, same, scene, state
from torch import nn

from paperlib import models, papers
from paperlib.analysis import perturbations as tool
from paperlib.attacks import render
from paperlib.attacks.scene import Scene
from paperlib.defenses.npd import place, runner_up
from paperlib.errors import PaperlibError
from paperlib.experiments.scales import LAPTOP, PAPER, SCALES, SMOKE, Scale
from paperlib.experiments.specs import AnalysisSpec, DefendSpec, TrainSpec
from paperlib.lab.spec import Spec
from paperlib.metrics import der, der_of_averages, mean_of_ders
from paperlib.papers import Results, benchmark_runs, polarizer
from paperlib.papers import polarizer_runs as runs
from paperlib.papers.shared import PRINTED_DATASETS
from paperlib.report.claims import NotRun, evaluate
from paperlib.report.published import inventory, published


def believable(spec: Spec) -> dict[str, Any]:
    """A result of which every claim of the paper holds; numbers differ from spec to spec."""
    rng = np.random.default_rng(int(spec.key, 16))
    noise = float(rng.uniform(0, 0.5))
    if isinstance(spec, TrainSpec):
        return {"c_acc": 90 + noise, "asr": 97 + noise, "r_acc": 1.0, "seconds": 60.0}
    if isinstance(spec, DefendSpec):
        params = dict(spec.params)
        weak = (
            spec.defense != "npd" or params.get("perturbation") in ("up", "uu") or "structure" in params
            or params.get("layer") == "layer1.1.conv1"
        )  # fmt: skip
        asr = 80.0 if params.get("lambda_asr") == params.get("lambda_bce1") == 0 else 30.0 if weak else 1.0
        return {"c_acc": 89 + noise, "asr": asr + noise, "seconds": (9.0 if spec.defense == "npd" else 30.0) + noise}
    assert isinstance(spec, AnalysisSpec)
    n, image = len(spec.inputs), base64.b64encode(bytes(range(192))).decode()
    if spec.tool == "gradcam":
        maps = rng.uniform(size=(n, 2, 4, 4)).tolist()
        return {"shape": [3, 8, 8], "images": [image, image], "maps": maps, "predicted": [[4, 0], [4, 4]]}
    if spec.tool == "triggers":
        return {"test": {"l2": 500 + noise, "linf": 80 + noise, "psnr": 25.0, "ssim": 0.9}}
    if spec.tool == "reactivation":
        pair = [[5.0, 60.0 + noise]] * n
        return {"eps": 0.0314, "n": 9, "clean": pair, "triggered": pair}
    assert spec.tool == "perturbations"
    return {
        "n": 9, "kinds": list(tool.KINDS), "shape": [3, 8, 8], "images": [image] * 5, "residuals": [image] * 5,
        "amplification": [1.0, 2.0, 5.0, 5.0, 0.5], "maps": rng.uniform(size=(5, 2, 2)).tolist(),
        "distance": [50.0, 0.0, 30 + noise, 20.0, 60.0], "pixels": [0, 4, 3, 3, 3], "to_target": [0, 1, 0.5, 0.9, 0.2],
        "estimate": [0.2 + noise, 0.1],
    }  # fmt: skip


def everything(scale: Scale = SMOKE, without: tuple[str, ...] = ()) -> Results:
    found = {s.key: s for one in papers.specs("polarizer", scale) for s in one.ancestry() if s.kind != "prepare"}
    rows = {
        key: {"key": key, "result": believable(s), "provenance": {}} for key, s in found.items() if key not in without
    }
    return Results(scale, 0, rows)


# ------------------------------------------------------------------------------------------------------------ the grid


def test_every_item_is_there_or_has_a_reason() -> None:
    assert sorted(polarizer.ITEMS) == sorted(i.id for i in inventory("polarizer"))


def test_the_paper_scale_plans_all_printed_rows_and_columns() -> None:
    for id_, cells in {
        "table1": runs.table1_cells, "table3": runs.table3_cells, "table4": runs.table4_cells,
        "table6": runs.table6_cells, "table7": runs.table7_cells, "table8": runs.table8_cells, "table13": runs.table13_cells,
        "table15": runs.table15_cells, **{k: runs.elsewhere_cells(k) for k in runs.ELSEWHERE},
    }.items():  # fmt: skip
        printed = published("polarizer", id_).query("attack != 'average' and model not in ('average', 'inception_v3')")
        printed = printed[~printed.setting.str.contains("OSAD|OSDN")]
        name = PRINTED_DATASETS
        made = {
            (name.get(p.dataset, p.dataset), p.model, a, d, s) for a, d, s, _, p in cells(PAPER, 0)
        }  # fmt: skip
        wanted = set(printed[["dataset", "model", "attack", "defense", "setting"]].itertuples(index=False, name=None))
        assert wanted <= made, (id_, wanted - made)


@pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES)
def test_table_1_shares_the_models_of_the_benchmark(scale: Scale) -> None:
    for attack, defense, _, spec, parent in runs.table1_cells(scale, 0):
        assert parent.key == benchmark_runs.attacked(scale, attack).key
        if defense not in ("none", *runs.INFORMED):
            assert spec.key == benchmark_runs.defended(scale, parent, defense).key


def test_the_defaults_of_the_ablations_are_the_cell_of_table_1() -> None:
    parent = benchmark_runs.attacked(LAPTOP, "blended")
    npd = benchmark_runs.defended(LAPTOP, parent, "npd").key
    for cells in (runs.table3_cells, runs.table4_cells, runs.table13_cells):
        assert npd in {spec.key for _, _, _, spec, p in cells(LAPTOP, 0) if p == parent}
    shared = {spec.key for *_, spec, _ in runs.table1_cells(LAPTOP, 0)}
    full = [s for _, _, setting, s, _ in runs.table6_cells(LAPTOP, 0) if setting == "clean_samples=500"]
    assert full and all(s.key in shared for s in full)
    assert npd in {spec.key for _, where, spec in runs.place_specs(LAPTOP, 0) if where == runs.DEFAULT_PLACE}


def test_who_is_told_the_target() -> None:
    blended, a2a = (benchmark_runs.attacked(PAPER, name) for name in ("blended", "badnets_a2a"))
    assert dict(runs.purified(PAPER, blended, "npd_tu").params)["target"] == 0
    assert dict(runs.purified(PAPER, a2a, "npd_tp").params)["target"] == "next"
    assert "target" not in dict(runs.purified(PAPER, blended, "npd_up").params)


@pytest.mark.parametrize("name", runs.PLACES)
def test_the_places_of_table_15_are_convolutions(name: str) -> None:
    with torch.device("meta"):  # names and types only, no weights
        made = models.MODELS[name].load()((0.5,) * 3, (0.2,) * 3, 10, **dict(models.MODELS[name].defaults))
    for layer in runs.PLACES[name].values():
        assert isinstance(place(made, layer), nn.Conv2d)


# ------------------------------------------------------------------------------------------------------------- drawing


@pytest.mark.parametrize("scale", [SMOKE, PAPER], ids=["smoke", "paper"])
def test_every_item_is_drawn_and_counts_its_attacks(scale: Scale) -> None:
    results = everything(scale)
    for id_, item in papers.drawable("polarizer").items():
        if scale is PAPER and "table" not in id_:
            continue  # figures take longer, and have one branch
        results.forget()
        made = item.draw(results)
        assert made.id == id_ and len(made.frame)
        if item.specs(scale, 0):
            assert results.used and f"{scale.name} scale" in made.caption, id_


def test_without_results_nothing_is_drawn_except_diagrams_and_printed_halves() -> None:
    empty = Results(SMOKE, 0, {})
    for item in papers.drawable("polarizer").values():
        if item.specs(SMOKE, 0):
            with pytest.raises(NotRun):
                item.draw(empty)
        else:
            assert not item.draw(empty).results


def test_a_printed_half_says_why_and_holds_no_number_of_ours() -> None:
    made = polarizer.ITEMS["table11"].draw(everything())
    assert "Printed numbers only: GTSRB (`paperlib data fetch gtsrb`)" in made.caption
    assert made.frame.ours.isna().all() and made.frame.published.notna().all() and made.html and "93.56" in made.html
    nothing = polarizer.ITEMS["table12"].draw(everything())
    assert "could not be read" in nothing.caption and "VGG19-BN" in nothing.caption


def test_table_1_shows_results_and_averages_by_both_rules_over_learned_attacks() -> None:
    results = everything()
    unlearned = benchmark_runs.attacked(SMOKE, "badnets")
    made = polarizer.draw_table1(results)
    frame = made.frame.query("defense == 'npd' and attack == 'badnets'").set_index("metric")
    before, after = results.need(unlearned), results.need(runs.purified(SMOKE, unlearned, "npd"))
    assert frame.ours["ACC"] == after["c_acc"] and frame.published["ACC"] == 88.93
    assert frame.ours["DER"] == pytest.approx(
        der(before["c_acc"], before["asr"], after["c_acc"], after["asr"], unit="percent")
    )
    pairs = [
        (results.need(p), results.need(runs.purified(SMOKE, p, "npd")))
        for p in runs.parents(SMOKE, ("badnets", "blended"), 0)
    ]
    lists = [[pair[side][key] for pair in pairs] for side in (0, 1) for key in ("c_acc", "asr")]
    mean = polarizer.averages(results).set_index("defense")
    assert mean.der_of_mean["npd"] == pytest.approx(der_of_averages(*lists, unit="percent"))
    assert mean.der_mean["npd"] == pytest.approx(mean_of_ders(*lists, unit="percent"))
    assert mean.n["npd"] == 2 and mean.n["npd_tu"] == 1
    results.rows[unlearned.key]["result"]["asr"] = 12.0  # type: ignore[index]
    assert polarizer.averages(results).set_index("defense").n["npd"] == 1
    assert "BadNets (ASR 12.0)" in (polarizer.draw_table1(results).html or "")


def test_the_running_times_are_multiples_of_npds() -> None:
    results = everything()
    frame = polarizer.draw_table9(results).frame.set_index("Defense")
    assert frame["x NPD"]["NPD"] == 1 and frame.index[0] == "NPD"
    assert frame["x NPD"]["ANP"] == pytest.approx(frame.Seconds["ANP"] / frame.Seconds["NPD"])
    assert frame["CIFAR-10 printed"]["ANP"] == 58.75 and frame["x NPD, CIFAR-10"]["ANP"] == pytest.approx(58.75 / 55.16)


def test_table_7_has_models_of_its_own_with_the_ordinary_triggers() -> None:
    for name in runs.FOUR:
        ordinary = benchmark_runs.attacked(PAPER, name)
        hard = next(p for attack, _, _, _, p in runs.table7_cells(PAPER, 0) if attack == name)
        assert hard.key != ordinary.key and hard.prepared == ordinary.prepared and hard.adversarial == 8 / 255
    made = polarizer.draw_table7(everything())
    assert "1 of 4 attacks (Blended)" in made.caption and "2 steps of a quarter" in (made.html or "")
    printed = polarizer.draw_table7(everything(LAPTOP))
    assert "Printed numbers only" in printed.caption and printed.frame.ours.isna().all()


def test_the_wrong_ders_of_table_6_stand_beside_the_corrected_ones() -> None:
    html = polarizer.draw_table6(everything(LAPTOP)).html or ""
    assert "2 of 3 attacks (BadNets, LF)" in html
    assert (
        "0 of 3 attacks (none), and Blended, without a printed value here"
        in polarizer.draw_table6(everything()).caption
    )
    assert "92.78 → 94.75" in html and "interchanged" in html


# -------------------------------------------------------------------------------------------------------------- claims


def test_all_claims_can_hold_and_can_fail() -> None:
    assert {v.word for _, v in evaluate(polarizer.CLAIMS, everything())} == {"holds"}
    assert {v.word for _, v in evaluate(polarizer.CLAIMS, Results(SMOKE, 0, {}))} == {"not run"}
    worse = everything()
    informed = {s.key for _, d, _, s, _ in runs.table1_cells(SMOKE, 0) if d in runs.INFORMED}
    for row in worse.rows.values():
        result = row["result"]
        if result.get("asr", 100) < 5 and row["key"] not in informed:  # what is good, except of TU and TP
            result |= {"asr": 95.0, "seconds": 500.0}
        if "distance" in result:
            result["distance"][2] = 99.0
    words = {claim.id: v.word for claim, v in evaluate(polarizer.CLAIMS, worse)}
    assert words.pop("informed") == "holds" and set(words.values()) == {"does not hold"}
    worse = everything()
    for key in informed:
        worse.rows[key]["result"]["asr"] = 95.0  # type: ignore[index]
    assert {c.id for c, v in evaluate(polarizer.CLAIMS, worse) if v.word == "does not hold"} == {"informed"}


# ------------------------------------------------------------------------------------------------------ the tool


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("paperlib.analysis.perturbations", "paperlib.defenses.npd", "paperlib.training"):
        monkeypatch.setattr(f"{module}.autocast", lambda device: nullcontext())


@pytest.fixture
def around() -> Scene:
    return scene(images(40, size=16))


@pytest.fixture
def net(around: Scene) -> nn.Module:
    made = model(around.train).train()
    made(around.train.float())
    return made.eval()


def test_distances_and_estimate_are_those_of_the_definitions(exact: None, around: Scene, net: nn.Module) -> None:
    before = state(net)
    found = tool.perturbations([net, net], around, seed=0, n=20, true_class=1, index=0)
    assert same(before, state(net)) and not net.layer4._forward_hooks  # type: ignore[union-attr]
    chosen = (around.test.y != 0).nonzero().flatten()[:20]
    x, y = around.test.x[chosen], around.test.y[chosen]
    with torch.no_grad():
        wrong = net(x.float() / 255)
        guess = runner_up(wrong, y)
    assert found["estimate"] == pytest.approx([(guess == 0).double().mean().item()] * 2, abs=1e-4)
    triggered = render(around.attack, x)  # type: ignore[arg-type]
    features = [tool.look_at(net, "layer4", one.float() / 255) for one in (x, triggered)]
    clean = (features[0] - features[1]).flatten(1).norm(dim=1).mean().item()
    assert found["distance"][0] == pytest.approx(clean, rel=1e-3) and found["distance"][1] == 0
    length = ((triggered.float() - x.float()) / 255).flatten(1).norm(dim=1).mean().item()
    assert found["pixels"][:2] == pytest.approx([0, length], abs=1e-3) and max(found["pixels"][2:]) <= 3.001
    assert found["n"] == 20 and found["kinds"] == list(tool.KINDS) and np.array(found["maps"]).shape == (5, 2, 2)
    assert all(len(base64.b64decode(i)) == 3 * 16 * 16 for i in found["images"] + found["residuals"])


def test_bad_input_of_the_tool(around: Scene, net: nn.Module) -> None:
    with pytest.raises(PaperlibError, match="true_class=1: the test set has 10 such images"):
        tool.perturbations([net], around, seed=0, true_class=1, index=10)
    clean = Scene(around.train, around.test)
    with pytest.raises(PaperlibError, match="it has no trigger"):
        tool.perturbations([net], clean, seed=0)
