"""The scale for one GPU: near the papers' settings, planned whole, and its leases go on where the last one stopped."""

import importlib.util
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from paperlib import papers, paths
from paperlib.experiments import scales
from paperlib.experiments.scales import GPU, PAPER
from paperlib.lab.ledger import load
from paperlib.papers.defense_table import backdoored, defended
from paperlib.report import compare, tables


@pytest.fixture
def stage() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu_stage", paths.ROOT / "figures" / "gpu.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_only_the_training_of_a_victim_differs_from_the_paper() -> None:
    assert scales.scale("gpu") is GPU and GPU.plans == "paper" and PAPER.plans == "paper"
    assert replace(GPU, name="paper", of="", epochs=PAPER.epochs, lr=PAPER.lr, schedule=PAPER.schedule) == PAPER
    tiny, paper = scales.on(GPU, "tiny_imagenet"), scales.on(PAPER, "tiny_imagenet")
    assert (tiny.n_clean, tiny.rho, tiny.defense_epochs) == (paper.n_clean, paper.rho, paper.defense_epochs)
    assert (tiny.epochs, tiny.schedule) == (GPU.epochs, "one_cycle")
    ours, theirs = (defended(s, backdoored(s, "blended"), "ft_sam").to_dict() for s in (GPU, PAPER))
    assert ours["params"] == theirs["params"] and ours["parent"] != theirs["parent"]


@pytest.mark.parametrize("paper", papers.PAPERS)
def test_every_item_of_the_paper_scale_is_planned(paper: str) -> None:
    assert len(papers.specs(paper, GPU, 0)) == len(papers.specs(paper, PAPER, 0))


def test_numbers_have_the_printed_ones_for_a_target_and_say_that_they_are_near() -> None:
    cell = {"dataset": "cifar10", "model": "m", "ratio": 0.1, "attack": "badnets", "defense": "ft", "metric": "ACC"}
    printed = pd.DataFrame([{**cell, "setting": "", "value": 90.0}])
    ours = pd.DataFrame([{**cell, "value": 90.5}])
    frame = compare.compare(ours, printed, scale="gpu")
    assert frame.verdict.tolist() == [compare.MATCH]
    html = tables.paper_table(frame, "Table", rows=("attack",), columns="defense")
    assert "near the paper&#x27;s settings" in html or "near the paper's settings" in html


def test_the_stage_begins_with_what_is_wanted_most(stage: ModuleType) -> None:
    victims, first, rest = stage.gpu_part()
    assert len(victims) == 8 and len(first) == 32 and len(rest) > 100
    assert {spec.defense for spec in first} == {"ft", "ft_sam", "sau", "npd"}
    assert {spec.parents()[0].key for spec in rest} <= {spec.key for spec in victims}


@pytest.mark.long
def test_a_second_lease_runs_what_the_first_left(
    stage: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dry, at a cut size, on a machine without weights of the first lease."""
    cut = replace(GPU, dataset="digits", n_train=310, width=4, epochs=1, n_clean=31, defense_epochs=1, defense_batch=31)
    victims = [backdoored(cut, "badnets")]
    first = [defended(cut, victims[0], name) for name in ("ft", "ft_sam")]
    ledger = tmp_path / "results"
    for lease, wanted in (("one", [victims, first[:1]]), ("two", [victims, first[:2]])):
        monkeypatch.setenv("PAPERLIB_STORE", str(tmp_path / lease))
        monkeypatch.setitem(stage.PARTS, "gpu", lambda wanted=wanted: wanted)
        stage.main("gpu", 10, ledger, 1)
        rows = load(ledger)
        if lease == "one":
            before = {key: row["provenance"]["started"] for key, row in rows.items()}
            assert set(before) == {victims[0].key, first[0].key}
    assert set(rows) == {*before, first[1].key}
    assert not list((tmp_path / "two").rglob(f"*{first[0].key}*.safetensors")), "it was not run again"
