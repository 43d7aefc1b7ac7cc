"""Figures of the benchmark that look inside our models, and the statistics of its rankings."""

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from image_toy import images, model, scene

from paperlib.analysis import TOOLS
from paperlib.errors import PaperlibError
from paperlib.experiments.scales import LAPTOP, PAPER, SMOKE
from paperlib.experiments.specs import AnalysisSpec, DefendSpec, TrainSpec
from paperlib.lab.spec import Spec
from paperlib.papers import Results, benchmark
from paperlib.papers import benchmark_runs as runs
from paperlib.papers import benchmark_views as views
from paperlib.report import ranks
from paperlib.report.claims import NotRun
from paperlib.report.compare import repetition_noise

SMALL: dict[str, dict[str, Any]] = {
    "tsne": {"n": 20},
    "neuron_activation": {"n": 20},
    "gradcam": {"true_class": 1},
    "shapley": {"true_class": 1, "backgrounds": 2, "steps": 2, "top": 1},
    "frequency_saliency": {"true_class": 1},
    "trigger_generalisation": {"shifts": (0, 1)},
    "dynamics": {"n": 8, "n_gradient": 4, "epochs": 2},
}


@cache
def looked(tool: str, count: int) -> dict[str, Any]:
    """What ``tool`` says of ``count`` toy models."""
    around = scene(images(40, size=16))
    net = model(around.train).eval()
    return dict(TOOLS[tool].load()([net] * count, around, seed=0, **SMALL[tool]))


def made_up(spec: Spec) -> dict[str, Any]:
    if isinstance(spec, AnalysisSpec):
        found = looked(spec.tool, len(spec.inputs))
        parent = spec.inputs[0]
        return {**found, "attack": parent.attack} if "attack" in found and isinstance(parent, TrainSpec) else found
    k = int(spec.key, 16) % 97 / 10
    return {"c_acc": 60 + k, "asr": (85 if isinstance(spec, TrainSpec) else 20) + k, "r_acc": 1.0, "seconds": 1.0}


def results_of(specs: list[Spec], scale: Any = SMOKE) -> Results:
    return Results(scale, 0, {s.key: {"key": s.key, "result": made_up(s)} for one in specs for s in one.ancestry()})


@pytest.mark.parametrize("id_", views.ITEMS)
def test_an_item_is_drawn_from_its_results_and_not_without_them(id_: str) -> None:
    item = views.ITEMS[id_]
    made = item.draw(results_of(item.specs(SMOKE, 0)))
    assert made.kind == "figure" and made.figure is not None and len(made.frame) and made.caption.startswith("Figure ")
    if id_ != "fig1":
        assert "smoke scale" in made.caption and made.results and made.scale == "smoke"
        with pytest.raises(NotRun):
            item.draw(Results(SMOKE, 0, {}))


def test_below_paper_scale_only_models_of_the_grid_are_looked_at() -> None:
    grid = {s.key for item in runs.ITEMS.values() for spec in item.specs(LAPTOP, 0) for s in spec.ancestry()}
    trained = {
        s.key: s.label
        for item in views.ITEMS.values()
        for spec in item.specs(LAPTOP, 0)
        for s in spec.ancestry()
        if isinstance(s, TrainSpec | DefendSpec)
    }
    assert trained and not {label for key, label in trained.items() if key not in grid}


def test_the_panels_are_the_papers_at_paper_scale() -> None:
    parents = views.visual_parents(PAPER, 0)
    assert [p.model for p in parents] == list(benchmark.MODELS)
    assert {(p.dataset, p.attack, p.ratio) for p in parents} == {("tiny_imagenet", "badnets", 0.05)}
    (group,) = views.visual_specs(LAPTOP, 0, "ac")
    assert [spec.tool for spec in group] == list(views.VIEWS)
    assert all(isinstance(s.inputs[0], DefendSpec) and s.inputs[0].defense == "ac" for s in group)


def test_structure_names_every_registered_method() -> None:
    frame = views.draw_structure().frame
    for part, (_, registry, _) in views.MODULES.items():
        assert list(frame[frame.part == part]["name"]) == list(registry)


# ------------------------------------------------------------------------------------------------------------- ranks


def test_critical_difference_of_the_textbook() -> None:
    """Demsar's example: four classifiers, fourteen data sets."""
    assert ranks.critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)


def test_ranks_that_no_draw_can_move_and_ranks_that_every_draw_moves() -> None:
    table = pd.DataFrame({"ft": [50.0, 60, 70], "anp": [1.0, 2, 3], "nc": [90.0, 95, 99]}, index=list("abc"))
    found = ranks.bootstrap(table, draws=200).set_index("defense")
    assert found["rank"].to_dict() == {"ft": 2, "anp": 1, "nc": 3} and found.loc["anp", "first"] == 1
    assert (found.low == found.high).all() and found.mean_rank.to_dict() == {"ft": 2, "anp": 1, "nc": 3}
    split = pd.DataFrame({"ft": [0.0, 100], "nc": [100.0, 0]})
    found = ranks.bootstrap(split, draws=400).set_index("defense")
    assert found.low.to_dict() == {"ft": 1, "nc": 1} and found.high.to_dict() == {"ft": 2, "nc": 2}
    assert found.loc["ft", "first"] == pytest.approx(0.75, abs=0.08)  # wins a quarter, shares a half
    with pytest.raises(PaperlibError, match="1 gaps"):
        ranks.bootstrap(pd.DataFrame({"ft": [1.0, np.nan], "nc": [2.0, 3.0]}))


def test_standard_deviation_from_the_difference_of_two_runs() -> None:
    a, b = np.random.default_rng(0).normal(0, 7, (2, 100_000))
    assert ranks.repetition_sd(float(np.abs(a - b).mean())) == pytest.approx(7, rel=0.02)


def test_survival_of_statements() -> None:
    cells = pd.DataFrame({"defense": ["ft", "nc"], "ASR": [40.0, 60.0]})
    below = {"ft lower": lambda c: c.ASR[0] < c.ASR[1]}
    assert ranks.survival(cells, {"ft": 0, "nc": 0}, below) == {"ft lower": 1}
    noisy = ranks.survival(cells, {"ft": 20, "nc": 20}, below, draws=4000)
    assert noisy["ft lower"] == pytest.approx(0.760, abs=0.03)  # P(N(20, 20 sqrt 2) > 0), hardly cut off
    with pytest.raises(PaperlibError, match="noise has no value for the defense 'nc'"):
        ranks.survival(cells, {"ft": 1}, below)


def test_noise_is_that_of_the_published_repetitions() -> None:
    sd = views.noise_sd(["none", "ft", "dbd"])
    measured = repetition_noise("ASR", "ft")
    assert (
        measured and sd["ft"] == pytest.approx(ranks.repetition_sd(measured)) and repetition_noise("ASR", "dbd") is None
    )
    assert sd["dbd"] == sd["ft"] and sd["none"] < sd["ft"]


def test_the_figure_of_ranks_has_our_runs_where_there_are_enough() -> None:
    made = views.draw_ranks(Results(SMOKE, 0, {}))
    assert set(made.frame.source) == {"printed"} and "too few to rank" in made.caption
    first = made.frame.sort_values("rank").iloc[0]
    assert first.defense == "anp" and first.asr == pytest.approx(1.3, abs=0.05)
    parents = [runs.attacked(LAPTOP, name) for name in ("badnets", "blended", "sig", "lf")]
    specs: list[Spec] = [runs.defended(LAPTOP, p, d) for p in parents for d in ("ft", "nad", "fp")]
    results = results_of(specs, LAPTOP)
    made = views.draw_ranks(results)
    ours = made.frame[made.frame.source == "ours"].set_index("defense")
    expected = np.mean([results.need(runs.defended(LAPTOP, p, "nad"))["asr"] for p in parents])
    assert set(ours.index) == {"ft", "nad", "fp"} and ours.loc["nad", "asr"] == pytest.approx(expected)


def test_conclusions_say_what_print_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "survival", lambda cells, noise, statements, **more: dict.fromkeys(statements, 0.5))
    frame = views.draw_conclusions(Results(SMOKE, 0, {})).frame.set_index("Statement")
    words = {claim.id: claim.verdict(Results(SMOKE, 0, {})).word for claim in benchmark.CLAIMS}
    assert words["anp_lowest"] == frame.loc["At 10 % ANP leaves the lowest mean ASR", "In print"] == "holds"
    assert words["filters_fail"] == frame.loc["At 10 % AC stays within 10 points of no defense", "In print"] == "holds"
    assert words["rises_then_falls"] == frame.loc["After FT the mean ASR at 10 % is below that at 5 %", "In print"]
    assert (frame["Survives (%)"] == 50).all()
