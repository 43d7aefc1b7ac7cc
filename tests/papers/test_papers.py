"""What holds of every paper: its items are those of the inventory, and planning them is light."""

import subprocess
import sys
from dataclasses import replace

import pytest

from paperlib import papers
from paperlib.errors import PaperlibError
from paperlib.experiments.scales import LAPTOP, on
from paperlib.experiments.specs import TrainSpec
from paperlib.papers import PAPERS, ft_sam
from paperlib.report import published as published_numbers
from paperlib.report.published import inventory


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
        "import sys; from paperlib import papers;assert all(papers.specs(name, 'paper') for name in ('ft_sam', "
        "'polarizer', 'sau'));print([m for m in ('torch', 'sklearn', 'matplotlib.pyplot') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_seed_and_scale_reach_every_ancestor() -> None:
    for spec in papers.specs("ft_sam", LAPTOP, seed=7):
        for one in spec.ancestry():
            assert one.seed == 7
            if isinstance(one, TrainSpec):
                assert (one.n_train, one.width, one.target) == (on(LAPTOP, one.dataset).n_train, LAPTOP.width, 0)
    assert papers.specs("ft_sam", "laptop", 7) == papers.specs("ft_sam", LAPTOP, 7)


@pytest.mark.parametrize("paper", ["ft_sam", "polarizer", "sau"])
def test_the_experiments_of_another_seed_are_others(paper: str) -> None:
    specs = papers.specs(paper, LAPTOP)
    assert len(specs) == len({spec.key for spec in specs})
    assert not {spec.key for spec in specs} & {spec.key for spec in papers.specs(paper, LAPTOP, seed=1)}
