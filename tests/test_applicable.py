"""What ``applicable()`` says is what happens: a few small pairs here, the whole table of docs/applicable.md among the
long tests."""

import sys
from typing import Any

import pytest

from paperlib.paths import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
import applicable as table

SHORT = [
    ("defense ft", "28x28 grey"),
    ("defense anp", "CNN without batch norm"),
    ("defense clp", "3 classes"),
    ("detector ss", "3 classes"),
]


def check(row: str, column: str) -> None:
    runs, says = table.attempt(row, column)
    assert runs == table.claimed(row, column), (row, column, says)
    assert runs or says.endswith((".", ")"))


@pytest.mark.parametrize(("row", "column"), SHORT)
def test_some_pairs(row: str, column: str) -> None:
    check(row, column)


@pytest.mark.long
@pytest.mark.parametrize("column", list(table.MODELS))
@pytest.mark.parametrize("row", list(table.methods()))
def test_every_pair(row: str, column: Any) -> None:
    check(row, column)
