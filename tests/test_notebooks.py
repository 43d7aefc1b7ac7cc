"""The notebooks: their skeleton, what is stored in them, parameters, and that nbval really compares.

That they run from the first to the last cell at smoke scale is tested by nbval (`make test`) and, as recorded and with
another seed, in `test_notebook_runs.py`.
"""

import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from PIL import Image

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


OWN = """
import copy
from dataclasses import dataclass

import torch

from paperlib.attacks import ATTACKS
from paperlib.defenses import DEFENSES
from paperlib.registry import Method


@dataclass(frozen=True)
class Stripe:
    labels: str = "all_to_one"

    def __call__(self, x):
        return torch.cat([torch.ones_like(x[..., :4, :]), x[..., 4:, :]], dim=-2)

def shrink(model, data, config, *, seed, progress):
    return copy.deepcopy(model), {"noted": 1}

ATTACKS["stripe"] = Method.of(Stripe)
DEFENSES["shrink"] = Method.of(shrink, title="Shrink", access="nothing")
"""


def pictures(folder: Path, train: int = 40, test: int = 10) -> Path:
    """A reader's own images: three classes of coloured noise."""
    rng = np.random.default_rng(0)
    for part, count in (("train", train), ("test", test)):
        for k, name in enumerate(("red", "green", "blue")):
            (folder / part / name).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 120, (16, 16, 3), dtype=np.uint8)
                pixels[..., k] += 100
                Image.fromarray(pixels).save(folder / part / name / f"{i}.png")
    return folder


def test_a_reader_s_attack_defense_and_images_are_rows_of_table_1(tmp_path: Path) -> None:
    """Registered in the notebook, named on papermill's command line."""
    notebook = nbformat.read(paths.NOTEBOOKS / "05_ft_sam.ipynb", 4)
    wanted = ("companion.start(", "book.run()", 'book.table("table1")')
    kept = [cell for cell in notebook.cells if "parameters" in tags(cell) or any(one in cell.source for one in wanted)]
    kept = [cell for cell in kept if cell.cell_type == "code"]
    assert len(kept) == 4
    notebook.cells = [kept[0], nbformat.v4.new_code_cell(OWN), *kept[1:]]
    nbformat.write(notebook, tmp_path / "own.ipynb")
    images = pictures(tmp_path / "my_images")
    given = {
        "scale": "smoke", "device": "cpu", "attacks": '["stripe"]', "defenses": '["ft", "shrink"]', "ratio": "0.2",
        "dataset": "folder:my_images", "n_clean": "12",
    }  # fmt: skip
    command = [sys.executable, "-m", "papermill", "own.ipynb", "out.ipynb"]
    command += [word for name, value in given.items() for word in ("-p", name, value)]
    environment = {
        **os.environ,
        "PAPERLIB_FIGURES": str(tmp_path / "figures"),
        "PAPERLIB_STORE": str(tmp_path / "runs"),
    }
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    *_, setup, run, table = code(tmp_path / "out.ipynb")
    assert "Not the paper's setting: attacks stripe; defenses ft, shrink; ratio 0.2; " in setup.outputs[0].text
    assert "3 results: 0 from the store, 3 computed" in "".join(output.text for output in run.outputs)
    (shown,) = table.outputs
    text = re.sub(r"<[^>]+>", " ", shown.data["text/html"]).partition("Ran:")[0]
    assert re.search(r"Attack\s+No defense\s+FT\s+Shrink\s.*\bStripe\s", text, re.DOTALL), text
    below = shown.data["text/html"].rpartition("<p ")[2]
    assert "Ran: 3 runs at smoke scale" in below and "20 % poisoned" in below and "12 clean images" in below
    assert "Stripe" in below and '<a href="../paperlib/defenses/ft.py">FT</a>' in below
    assert images.exists() and not (tmp_path / "figures").exists()  # nothing recorded is touched, nothing saved


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
