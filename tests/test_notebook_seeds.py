"""The notebooks run from the first to the last cell with another seed; `make test` takes them two at a time."""

import json
from pathlib import Path

import pytest
from test_notebooks import code, every, tags

from paperlib.cli import execute


@every
def test_runs_with_another_seed(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAPERLIB_FIGURES", str(tmp_path / "figures"))
    assert execute(path, tmp_path / path.name, {"scale": "smoke", "seed": 1, "device": "cpu"}, timeout=900) == ""
    assert all(output.output_type != "error" for cell in code(tmp_path / path.name) for output in cell.outputs)
    made = [json.loads(file.read_text()) for file in tmp_path.glob("figures/*/*/*.json")]
    ours = [record for record in made if record["scale"] == "smoke"]
    assert all(record["seed"] == 1 for record in ours)
    # What is drawn from printed numbers alone uses no result of ours and is the same at every scale and seed.
    assert all(not record["results"] and record["scale"] == "paper" for record in made if record not in ours)
    shown = [cell for cell in code(path) if "figure" in tags(cell)]
    assert len([record for record in made if record["kind"] == "figure"]) >= len(shown)
