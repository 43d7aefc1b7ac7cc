"""The command line: what it lists, how it says that something is wrong, and that reproduce goes on after a failure."""

import json
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from typer.testing import CliRunner

from paperlib import papers, paths
from paperlib.cli import app
from paperlib.report import coverage
from paperlib.report.published import inventory

PARAMETERS = 'scale = ""  # a\nseed = 0  # b\ndevice = "auto"  # c\nrecorded = False  # d'
MakeNotebook = Callable[..., Path]


def call(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments), prog_name="paperlib")


def refused(*arguments: str) -> str:
    """The one line with which a command refuses."""
    done = call(*arguments)
    assert done.exit_code == 1 and done.stdout == "", done.output
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("paperlib"), done.stderr
    return done.stderr


@pytest.fixture
def notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeNotebook:
    """Writes small notebooks where the command line looks for the real ones."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    monkeypatch.setattr(paths, "NOTEBOOKS", folder)
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setenv("PAPERLIB_FIGURES", str(tmp_path / "figures"))
    monkeypatch.setattr("paperlib.cli.main._compute", lambda *given: None)  # toys need nothing of the papers' grids

    def make(name: str, *cells: str, parameters: str = PARAMETERS) -> Path:
        made = nbformat.v4.new_notebook(
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        )
        made.cells = [nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})]
        made.cells += [nbformat.v4.new_code_cell(cell) for cell in cells]
        nbformat.write(made, folder / f"{name}.ipynb")
        return folder / f"{name}.ipynb"

    return make


def test_help_is_light_and_quick() -> None:
    heavy = "('torch', 'numpy', 'pandas', 'matplotlib', 'sklearn', 'papermill')"
    code = f"import sys, paperlib.cli; print(*(m for m in {heavy} if m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout == b"\n"
    spent = []
    for _ in range(3):  # processor time, which other work on the machine does not stretch
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, "-m", "paperlib", "--help"], capture_output=True, text=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(spent) < 0.5
    for command in ("list", "reproduce", "figure", "compare", "claims", "doctor", "gallery", "data", "lab"):
        assert re.search(rf"^  {command} ", done.stdout, re.M)


def test_a_recorded_figure_imports_only_what_it_draws_with(tmp_path: Path) -> None:
    code = (
        "import sys; from paperlib.cli import app\n"
        "app(f'figure ft_sam/fig3 --scale laptop --recorded --out {sys.argv[1]}'.split(), standalone_mode=False)\n"
        "print(*(m for m in ('torch', 'seaborn', 'scipy.stats', 'sklearn') if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == ""
    assert (tmp_path / "laptop" / "ft_sam" / "fig3.png").exists()


def test_list_counts_the_inventory() -> None:
    rows = json.loads(call("list", "--json").stdout)
    assert [(row["paper"], row["id"]) for row in rows] == [(item.paper, item.id) for item in inventory()]
    assert {"paper", "id", "kind", "number", "title", "notebook", "status", "ours", "printed", "reason"} <= set(rows[0])
    assert {row["status"] for row in rows} <= set(coverage.STATES)
    text = call("list").stdout
    for paper in papers.PAPERS:
        assert f"{coverage.count(paper)} ({paper}, " in text
    assert f"All: {coverage.count()}" in text and "implemented" not in text
    assert {row["paper"] for row in json.loads(call("list", "sau", "--json").stdout)} == {"sau"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("list", "ft_san"), "paper='ft_san' is unknown; did you mean 'ft_sam'?"),
        (("reproduce", "polariser"), "did you mean 'polarizer'?"),
        (("reproduce", "--scale", "labtop"), "scale='labtop' is unknown; did you mean 'laptop'?"),
        (("figure", "ft_sam/fig33"), "did you mean 'fig3'?"),
        (("figure", "ft_sam"), "not of the form PAPER/ITEM"),
        (("figure", "ft_sam/fig1", "--device", "cupu"), "device='cupu' is unknown; did you mean 'cpu'?"),
        (("figure", "ft_sam/fig1", "--recorded"), "nothing is recorded at scale='smoke'"),
        (("compare", "saw"), "did you mean 'sau'?"),
        (("claims", "ft_sam", "--scale", "papper"), "did you mean 'paper'?"),
        (("data", "fetch", "cifar11"), "did you mean 'cifar10'?"),
        (("lab", "plan", "ft-sam"), "did you mean 'ft_sam'?"),
    ],
)
def test_mistakes_are_one_sentence(arguments: tuple[str, ...], said: str) -> None:
    assert said in refused(*arguments)


def test_planned_items_say_why() -> None:
    planned = next(row for row in json.loads(call("list", "--json").stdout) if row["reason"])
    name = f"{planned['paper']}/{planned['id']}"
    assert f"item='{name}' is planned, not implemented: {planned['reason']}" in refused("figure", name)


def test_python_m_and_the_exit_code_of_the_process() -> None:
    done = subprocess.run([sys.executable, "-m", "paperlib", "list", "x"], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stdout == "" and done.stderr.startswith("paperlib: paper='x' is unknown;")


def test_reproduce_passes_parameters_and_goes_on_after_a_failure(notebook: MakeNotebook, tmp_path: Path) -> None:
    notebook("00_start_here", "raise ValueError('first line\\nsecond line')")
    notebook(
        "05_ft_sam",
        "import os, pathlib\nprint('seed is', seed, scale, device, recorded)",
        "pathlib.Path(os.environ['PAPERLIB_FIGURES']).mkdir(exist_ok=True); pathlib.Path('here').touch()",
    )
    out = tmp_path / "out"
    done = call("reproduce", "--seed", "3", "--device", "cpu", "--out", str(out))
    assert done.exit_code == 1
    assert "seed is 3 smoke cpu False" in done.stdout  # what a cell prints is shown
    assert re.search(r"05_ft_sam: done in \d", done.stdout) and (out / "index.html").is_file()
    assert (tmp_path / "notebooks" / "here").exists()  # cells run where the notebook lies, as in Jupyter
    assert "cell [3] failed" in done.stderr and "ValueError: first line\nsecond line" in done.stderr
    assert "1 of 2 notebooks failed (00_start_here); the others are complete." in done.stderr
    assert done.stderr.count("\n") < 12 and "\x1b" not in done.stderr and "site-packages" not in done.stderr
    executed = nbformat.read(out / "notebooks" / "smoke" / "05_ft_sam.ipynb", 4)
    assert "seed = 3" in executed.cells[1].source


def test_reproduce_computes_everything_first_and_executes_several_at_once(
    notebook: MakeNotebook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meet = (
        "import pathlib, time\npathlib.Path('{me}').touch()\nwhile not pathlib.Path('{other}').exists():"
        " time.sleep(0.1)"
    )
    notebook("00_start_here", "open('computed')", meet.format(me="a", other="b"))
    notebook("05_ft_sam", "open('computed')", meet.format(me="b", other="a"))
    asked = []
    monkeypatch.setattr(
        "paperlib.cli.main._compute", lambda *given: asked.append(given) or (tmp_path / "notebooks/computed").touch()
    )
    done = call("reproduce", "--device", "cpu", "--at-once", "2", "--execution-timeout", "60")
    assert asked and list(asked[0][0].values()) == ["", "ft_sam"] and asked[0][2:] == (0, "cpu", 2)
    assert "05_ft_sam: done" in done.stdout, done.output  # neither could have ended alone


def test_reproduce_refuses_before_anything_runs(notebook: MakeNotebook, tmp_path: Path) -> None:
    assert "holds no notebook" in refused("reproduce")
    notebook("05_ft_sam", "open('ran', 'w')", parameters='scale = ""\nseed = 0\ndevice = ""')
    assert "parameter='recorded' is unknown" in refused("reproduce")
    notebook("05_ft_sam", "open('ran', 'w')")
    assert "paper='sau' has no notebook yet; those with one: ft_sam." in refused("reproduce", "ft_sam", "sau")
    assert "nothing is recorded at scale='smoke'" in refused("reproduce", "--recorded")
    assert not list(tmp_path.rglob("ran"))


def test_slow_and_dying_cells_are_named(notebook: MakeNotebook) -> None:
    notebook("00_start_here", "import os; os._exit(1)")
    notebook("05_ft_sam", "import time; time.sleep(60)")
    done = call("reproduce", "--execution-timeout", "2")
    assert done.exit_code == 1 and done.stderr.count("\n") == 3, done.stderr
    assert "00_start_here: its kernel died" in done.stderr
    assert "05_ft_sam: a cell took longer than the 2 s of --execution-timeout" in done.stderr


def test_one_item_then_comparison_claims_and_gallery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAPERLIB_FIGURES", str(tmp_path))
    done = call("figure", "ft_sam/fig1", "--device", "cpu")
    assert done.exit_code == 0, done.output
    assert {path.name for path in (tmp_path / "smoke" / "ft_sam").iterdir()} == {f"fig1.{s}" for s in ("png", "svg",
    "csv", "json")}  # fmt: skip
    assert done.stdout.startswith("Figure 1.") and "fig1.svg" in done.stdout

    compared = call("compare", "ft_sam").stdout  # the model of Figure 1 is a row of Table 1 as well
    assert re.search(r"ft_sam/table1 .*\n.*No defense.*FT-SAM", compared) and "not comparable (scale)" in compared
    assert re.search(r"^Blended +\d+\.\d\d \| \d+\.\d\d", compared, re.M)
    for paper in papers.PAPERS:
        assert call("compare", paper).exit_code == call("claims", paper).exit_code == 0
        if not papers.items(paper):  # a paper without tables of ours says so
            assert "is implemented yet" in call("compare", paper).stdout

    empty = tmp_path / "empty"
    monkeypatch.setenv("PAPERLIB_STORE", str(empty))
    assert "ft_sam/table1: not run" in call("compare", "ft_sam").stdout
    claimed = call("claims", "ft_sam").stdout
    assert claimed.count("[not run]") == claimed.count("[") == len(papers.module("ft_sam").CLAIMS)  # type: ignore[union-attr]
    assert not empty.exists()  # asking computes nothing and leaves nothing behind

    assert call("gallery").exit_code == 0
    assert 'src="smoke/ft_sam/fig1.png"' in (tmp_path / "index.html").read_text()


def test_doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = call("doctor")
    assert done.exit_code == 0, done.output
    for part in ("torch 2", "threads", "GB free", "data set digits", "bfloat16", "device"):
        assert part in done.stdout
    (tmp_path / "file").touch()
    monkeypatch.setenv("PAPERLIB_STORE", str(tmp_path / "file" / "runs"))
    done = call("doctor")
    assert done.exit_code == 1 and "NOT writable" in done.stdout and done.stderr == "paperlib: not ready: store.\n"
