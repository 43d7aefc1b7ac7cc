"""What git does not record yet, in the order of its cost."""

import re
from pathlib import Path

import pytest
from lab_toy import defend_spec, grid, train_spec

from paperlib.cli.lab import seconds_of
from paperlib.errors import PaperlibError
from paperlib.lab.plan import missing, plan
from paperlib.lab.spec import Spec
from paperlib.lab.store import Store


def row(spec: Spec, seconds: float) -> dict:
    return {"spec": spec.to_dict(), "provenance": {"seconds": seconds, "device": "cpu"}}


def test_only_what_no_row_has_and_parents_first() -> None:
    specs = grid(2)
    recorded = {specs[0].key: {}, specs[2].key: {}}
    assert missing([specs[3], specs[2], specs[3]], recorded) == [specs[1], specs[3]]


def test_cheap_runs_come_first_and_a_needed_model_counts(tmp_path: Path) -> None:
    """Of two models one has four runs to do: its training is shared, so that a run of it costs less."""
    one, other = train_spec(0), train_spec(1)
    few, many = [defend_spec(one)], [defend_spec(other, seed=seed) for seed in range(4)]
    store = Store(tmp_path)
    rows = [row(train_spec(9), 100.0), row(defend_spec(train_spec(9)), 10.0)]
    found = plan([*few, *many], store, device="cpu", rows=rows)
    assert [(len(group), seconds) for group, seconds in found.by_cost] == [(5, 140.0), (2, 110.0)]
    table = found.cost_table()
    assert table.index(other.label) < table.index(one.label) and re.search(r"total +7 +4 min", table)
    assert plan(few, store, device="cuda", rows=rows).unknown == 2, "seconds of another kind of device say nothing"


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("150m", 9000), ("2.5h", 9000)])
def test_a_budget(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["0m", "-5m", "10", "5x", "nan"])
def test_what_is_no_budget(text: str) -> None:
    with pytest.raises(PaperlibError, match=rf"budget='{text}' must be a time above 0"):
        seconds_of(text)
