"""The notebooks: their skeleton, what is stored in them, parameters, and that nbval really compares.

That they run from the first to the last cell at smoke scale is tested by nbval (`make test`) and, with another seed, in
`test_notebook_seeds.py`.
"""

import json
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

from paperlib import companion, paths
from paperlib.cli.execute import execute
from paperlib.papers import PAPERS

NOTEBOOKS = sorted(paths.NOTEBOOKS.glob("*.ipynb"))
OF_PAPERS = [path for path in NOTEBOOKS if path.stem in {paper.notebook for paper in PAPERS.values()}]
MACHINE = re.compile(r"/(?:home|Users|root|work|tmp|private|var/folders)/\w|[A-Z]:\\\\?Users")
PARAMETERS = {"scale": "", "seed": 0, "device": "auto", "recorded": False}
CELLS = 40

every = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
of_papers = pytest.mark.parametrize("path", OF_PAPERS, ids=lambda path: path.stem)


def tags(cell: Any) -> list[str]:
    return cell.metadata.get("tags", [])


def code(path: Path) -> list[Any]:
    return [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]


def test_there_are_notebooks() -> None:
    assert OF_PAPERS
    names = {"00_start_here", *(name for paper in PAPERS.values() for name in (paper.notebook, *paper.more))}
    assert {path.stem for path in NOTEBOOKS} <= names


@every
def test_skeleton(path: Path) -> None:
    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    first = notebook.cells[0]
    assert first.cell_type == "markdown" and first.source.startswith("# ")
    (parameters,) = [cell for cell in notebook.cells if "parameters" in tags(cell)]
    declared = companion.declared_parameters(path)
    assert {name: declared[name] for name in PARAMETERS} == PARAMETERS
    assert not any(value for name, value in declared.items() if name not in PARAMETERS)  # empty: the paper's
    assert all("  # " in line for line in parameters.source.splitlines())  # papermill shows it as help
    assert len(notebook.cells) <= CELLS
    assert max(cell.source.count("\n") + 1 for cell in code(path)) <= 25  # what is longer belongs into the library
    assert "papermill" not in notebook.metadata and "widgets" not in notebook.metadata


@every
def test_stored_outputs(path: Path) -> None:
    assert path.stat().st_size < 2_000_000
    shown = [cell for cell in code(path) if {"figure", "table", "nbval-check-output"} & set(tags(cell))]
    assert [
        cell.source for cell in shown if not cell.outputs
    ] == []  # a reader on the web sees them, nbval compares them
    for cell in code(path):
        for output in cell.outputs:
            assert output.output_type != "error", cell.source
            assert output.get("name") != "stderr", cell.source
            data = output.get("data", {})
            if "image/png" in data:
                assert output.metadata["image/png"]["alt"].strip(), cell.source
            text = json.dumps([output.get("text", ""), *(v for k, v in data.items() if not k.startswith("image/"))])
            assert not MACHINE.search(text), MACHINE.search(text)
            assert platform.node() == "localhost" or platform.node() not in text


@of_papers
def test_skeleton_of_a_paper(path: Path) -> None:
    sources = [cell.source for cell in code(path)]
    (key,) = [paper.key for paper in PAPERS.values() if paper.notebook == path.stem]
    assert any(f'companion.start("{key}", globals())' in source for source in sources)
    assert "book.claims()" in sources and "book.footer()" in sources
    assert any("nbval-check-output" in tags(cell) for cell in code(path))
    text = "\n".join(cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "markdown")
    for heading in ("## Differences from the paper", "## Try it yourself"):
        assert heading in text


@of_papers
def test_unknown_parameter_stops_in_the_set_up_cell(path: Path, tmp_path: Path) -> None:
    problem = execute(path, tmp_path / path.name, {"sede": 3})
    assert "PaperlibError: parameter='sede' is unknown; did you mean 'seed'?" in problem
    assert problem.count("\n") <= 1  # no traceback
    ran = [cell.source for cell in code(tmp_path / path.name) if cell.execution_count]
    assert "companion.start(" in ran[-1]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("typo", "3"), "parameter='typo' is unknown"),
        (("seed", "soon"), "parameter seed='soon' is of type str; it must be of type int"),
        (("scale", "labtop"), "scale='labtop' is unknown; did you mean 'laptop'?"),
    ],
)
def test_papermill_itself_is_stopped_by_a_wrong_parameter(given: tuple[str, str], said: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "papermill", str(OF_PAPERS[0]), "out.ipynb", "-p", *given]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0 and f"PaperlibError: {said}" in done.stderr
    ran = [cell.source for cell in code(tmp_path / "out.ipynb") if cell.execution_count]
    assert "companion.start(" in ran[-1]


def nbval(path: Path) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--nbval-lax",
        "--nbval-current-env",
        "-p",
        "no:cacheprovider",
        path.name,
    ]
    return subprocess.run(command, cwd=path.parent, capture_output=True, text=True, check=False)


def test_nbval_really_compares(tmp_path: Path) -> None:
    """A copy with its cheap cells passes; with one tagged output changed it fails in that cell, and in no other."""
    notebook = nbformat.read(OF_PAPERS[0], 4)
    costly = {"figure", "table", "nbval-ignore-output"}
    notebook.cells = [cell for cell in notebook.cells if cell.cell_type == "code" and not costly & set(tags(cell))]
    nbformat.write(notebook, tmp_path / "copy.ipynb")
    same = nbval(tmp_path / "copy.ipynb")
    assert same.returncode == 0 and f"{len(notebook.cells)} passed" in same.stdout, same.stdout
    tagged = next(cell for cell in notebook.cells if "nbval-check-output" in tags(cell))
    assert "True" in tagged.outputs[0].text
    tagged.outputs[0].text = tagged.outputs[0].text.replace("True", "False", 1)
    nbformat.write(notebook, tmp_path / "copy.ipynb")
    changed = nbval(tmp_path / "copy.ipynb")
    assert changed.returncode == 1 and "1 failed" in changed.stdout, changed.stdout
    assert f"{len(notebook.cells) - 1} passed" in changed.stdout
