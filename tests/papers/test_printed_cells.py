"""Which printed cells of other data sets and networks than CIFAR-10 and PreAct-ResNet18 the laptop plans, and how they
are named beside print."""

import re
from typing import Any

import pytest

from paperlib import papers
from paperlib.experiments.scales import LAPTOP, SMOKE
from paperlib.experiments.specs import TrainSpec
from paperlib.lab.spec import Spec
from paperlib.papers.captions import SIGNS, TINY, printed_name
from paperlib.papers.paper_table import PaperTable
from paperlib.report.compare import is_average

from .made_up import MadeUp, small

TINY_20 = "PreAct-ResNet18 of width 16 on Tiny ImageNet-20 at 32x32"
PLANNED = {
    # table -> printed numbers with a planned run (all but averages and Inception-V3), what it is run on
    ("ft_sam", "table2"): (232, TINY_20),
    ("sau", "table4"): (126, TINY_20),
    ("sau", "table11"): (6, ""),  # CIFAR-10, too
    ("sau", "table13"): (48, ""),
    ("sau", "table16"): (137, "VGG19-BN of width 16 on CIFAR-10"),
    ("sau", "table28"): (18, "ResNet-18 of width 16 on CIFAR-10"),
    ("polarizer", "table2"): (27, TINY_20),
    ("polarizer", "table11"): (148, "PreAct-ResNet18 of width 16 on GTSRB (every fourth image)"),
    ("polarizer", "table15"): (96, "VGG19-BN and DenseNet-161 of width 16 on CIFAR-10"),
}
OURS_ALONE = [
    *(("ft_sam", f"supp_{id_}") for id_ in ("c2", "c3", "c4", "d1")),
    *(("sau", f"table{k}") for k in (17, 18, 19, 21)),
    ("polarizer", "table12"),
]


def believable(spec: Spec) -> dict[str, Any]:
    noise = small(spec)
    return {"c_acc": 90 + noise, "asr": 70 + noise, "r_acc": 5 + noise, "seconds": 1.0}


def table_of(paper: str, id_: str) -> PaperTable:
    found = papers.drawable(paper)[id_].table
    assert isinstance(found, PaperTable)
    return found


@pytest.mark.parametrize(("paper", "id_"), PLANNED)
def test_printed_cells_have_a_planned_run_beside_them(paper: str, id_: str) -> None:
    table, (wanted, instead) = table_of(paper, id_), PLANNED[paper, id_]
    cells = table.cells(LAPTOP)
    places = {
        (printed_name(c.parent.dataset), table.networks.get(c.parent.model, c.parent.model), c.parent.ratio, *c[:3])
        for c in cells
    }
    printed = table.printed().fillna({"setting": ""})
    printed = printed[~printed.attack.map(is_average) & ~printed.model.isin(["average", "inception_v3"])]
    keys = list(printed[["dataset", "model", "ratio", "attack", "defense", "setting"]].itertuples(index=False))
    assert sum(tuple(key) in places for key in keys) == len(keys) == wanted
    assert table.instead(LAPTOP) == instead and not table.instead(SMOKE)

    made = MadeUp(paper, believable).check_item(id_, LAPTOP)
    assert made is not None
    beside = made.frame[made.frame.ours.notna() & made.frame.published.notna() & ~made.frame.attack.map(is_average)]
    assert len(beside) == wanted and (beside.verdict == "not comparable (scale)").all()
    if instead:  # the caption says what the numbers are of
        for name in re.split(" and | on ", instead.replace(" of width 16", "")):
            assert name in made.caption
        assert "of width 16, " in made.caption and " training images, " in made.caption


@pytest.mark.parametrize(("paper", "id_"), OURS_ALONE)
def test_tables_without_printed_numbers_have_a_small_plan(paper: str, id_: str) -> None:
    table = table_of(paper, id_)
    cells = table.cells(LAPTOP)
    assert {cell.attack for cell in cells} == {"badnets", "blended"} and len(cells) <= 24 and not table.at(SMOKE)
    made = MadeUp(paper, believable).check_item(id_, LAPTOP)
    assert made and table.instead(LAPTOP) and len(made.frame) and table.published().empty
    assert not re.search("[a-z0-9]_[a-z0-9]", made.caption), "a registered name instead of a title"


def test_how_the_victims_of_the_laptop_are_trained() -> None:
    found = {
        (spec.dataset, spec.model): (spec.width, spec.epochs, spec.batch_size, spec.lr)
        for paper, id_ in (*PLANNED, *OURS_ALONE)
        for spec in table_of(paper, id_).specs(LAPTOP, 0)
        if isinstance(spec, TrainSpec)
    }
    assert found[TINY, "preact_resnet18"] == (16, 12, 64, 0.1) and found[SIGNS, "preact_resnet18"] == (16, 8, 32, 0.1)
    assert found["cifar10", "preact_resnet18"] == (16, LAPTOP.epochs, 64, 0.1)
    for model, said in LAPTOP.networks.items():
        wanted = {"epochs": LAPTOP.epochs, "batch_size": 64, "lr": 0.1, **said}
        assert found["cifar10", model] == (16, *(wanted[name] for name in ("epochs", "batch_size", "lr")))


def test_a_stand_in_is_named_below_the_table() -> None:
    made = {id_: MadeUp("sau", believable).check_item(id_, LAPTOP) for id_ in ("table13", "table16")}
    assert "Where the table says Tiny ImageNet, ours is Tiny ImageNet-20 at 32x32." in made["table13"].fragment  # type: ignore[union-attr]
    assert "Where the table says VGG19, ours is VGG19-BN." in made["table16"].fragment  # type: ignore[union-attr]
    assert "Where the table says" not in MadeUp("sau", believable).drawn("table3").fragment
