"""The notebooks run from the first to the last cell: as recorded at laptop scale, and with other parameters.

At smoke scale with their own parameters they are run by nbval (``make test``).
"""

import json
from pathlib import Path
from typing import Any

import pytest
from test_notebooks import code, every, tags

from paperlib import paths
from paperlib.cli.execute import execute
from paperlib.companion import recorded_file
from paperlib.experiments.scales import PAPER
from paperlib.lab import ledger


def run(path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, **parameters: Any) -> list[dict[str, Any]]:
    """Execute a notebook into ``folder``; the records of what it drew there."""
    monkeypatch.setenv("PAPERLIB_FIGURES", str(folder / "figures"))
    assert execute(path, folder / path.name, {"device": "cpu", **parameters}, timeout=900) == ""
    assert all(output.output_type != "error" for cell in code(folder / path.name) for output in cell.outputs)
    return [json.loads(file.read_text()) for file in folder.glob("figures/*/*/*.json")]


def figures(records: list[dict[str, Any]]) -> int:
    return len([record for record in records if record["kind"] == "figure"])


def shown(path: Path) -> int:
    return len([cell for cell in code(path) if "figure" in tags(cell)])


@every
def test_runs_as_recorded(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = run(path, tmp_path, monkeypatch, scale="laptop", recorded=True)
    assert figures(made) >= shown(path)
    drawn = {(record["scale"], record["paper"], record["id"]) for record in made if record["scale"] != "smoke"}
    assert {record["scale"] for record in made} <= (
        {"laptop", "paper", "smoke"} if path.stem[:2] == "00" else {"laptop", "paper"}
    )
    assert all((paths.ROOT / "figures" / scale / paper / f"{id_}.json").exists() for scale, paper, id_ in drawn)


def other(path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, **parameters: Any) -> list[dict[str, Any]]:
    """Records of a run with seed 1."""
    made = run(path, folder, monkeypatch, scale="smoke", seed=1, **parameters)
    ours = [record for record in made if record["scale"] == "smoke"]
    assert ours and all(record["seed"] == 1 for record in ours)
    # The same at every scale and seed: what is drawn from printed numbers alone, and what git has recorded at paper
    # scale.
    recorded = set(ledger.load(recorded_file(PAPER)))
    assert all(
        record["scale"] == "paper" and recorded >= set(record["results"]) for record in made if record not in ours
    )
    return made


def test_runs_with_another_seed_and_attack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = paths.NOTEBOOKS / "05_ft_sam.ipynb"
    made = run(path, tmp_path, monkeypatch, scale="smoke", seed=1, attacks=["badnets"], defenses=["ft", "ft_sam"])
    assert all(record["scale"] == "paper" for record in made)  # what is not the paper's setting is shown, not saved
    text = (tmp_path / path.name).read_text(encoding="utf-8")
    assert "smoke scale, seed 1" in text and "Not the paper's setting: attacks" in text


@pytest.mark.long
@every
def test_runs_with_another_seed(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert figures(other(path, tmp_path, monkeypatch)) >= shown(path)
