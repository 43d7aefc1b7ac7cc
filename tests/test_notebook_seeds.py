"""The notebooks run from the first to the last cell with another seed; `make test` takes them two at a time."""

import json
from pathlib import Path

import pytest
from test_notebooks import code, every, tags

from paperlib.cli.execute import execute
from paperlib.companion import recorded_file
from paperlib.experiments.scales import PAPER
from paperlib.lab import ledger


@every
def test_runs_with_another_seed(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAPERLIB_FIGURES", str(tmp_path / "figures"))
    assert execute(path, tmp_path / path.name, {"scale": "smoke", "seed": 1, "device": "cpu"}, timeout=900) == ""
    assert all(output.output_type != "error" for cell in code(tmp_path / path.name) for output in cell.outputs)
    made = [json.loads(file.read_text()) for file in tmp_path.glob("figures/*/*/*.json")]
    ours = [record for record in made if record["scale"] == "smoke"]
    assert all(record["seed"] == 1 for record in ours)
    # The same at every scale and seed: what is drawn from printed numbers alone, and what git has recorded at paper scale.
    recorded = set(ledger.load(recorded_file(PAPER)))
    assert all(
        record["scale"] == "paper" and recorded >= set(record["results"]) for record in made if record not in ours
    )
    shown = [cell for cell in code(path) if "figure" in tags(cell)]
    assert len([record for record in made if record["kind"] == "figure"]) >= len(shown)
