"""Kernels forked from one server: as an ordinary one, but its imports are there before its first cell."""

from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from paperlib.cli import warm_kernel
from paperlib.cli.execute import execute

LOOK = """
import os, sys
print("torch" in sys.modules, os.getcwd(), os.environ.get("PAPERLIB_STORE"))
import matplotlib
print(matplotlib.get_backend(), os.getpid(), os.getppid())
"""


@pytest.fixture
def notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JUPYTER_DEFAULT_PROVISIONER_NAME", warm_kernel.NAME)
    monkeypatch.setattr(warm_kernel, "IMPORTS", ["torch"])  # the server may run already; all of them take seconds
    path = tmp_path / "some.ipynb"
    kernel = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}}
    cells = [new_code_cell("", metadata={"tags": ["parameters"]}), new_code_cell(LOOK)]
    nbformat.write(new_notebook(cells=cells, metadata=kernel), path)
    return path


def printed(path: Path) -> list[str]:
    outputs = nbformat.read(path, as_version=4).cells[-1].outputs
    return "".join(output["text"] for output in outputs).split()


@pytest.mark.skipif(not warm_kernel.FORKS, reason="kernels start as usual here")
def test_two_kernels_of_one_server(notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAPERLIB_STORE", "one")
    assert execute(notebook, tmp_path / "a.ipynb", {}) == ""
    monkeypatch.setenv("PAPERLIB_STORE", "two")
    assert execute(notebook, tmp_path / "b.ipynb", {}) == ""
    first, second = printed(tmp_path / "a.ipynb"), printed(tmp_path / "b.ipynb")
    assert first[:3] == ["True", str(tmp_path), "one"] and second[:3] == ["True", str(tmp_path), "two"]
    assert "inline" in first[3] and first[4] != second[4] and first[5] == second[5]


@pytest.mark.skipif(not warm_kernel.FORKS, reason="kernels start as usual here")
def test_a_dead_kernel_is_noticed(notebook: Path, tmp_path: Path) -> None:
    dying = nbformat.read(notebook, as_version=4)
    dying.cells[-1].source = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"
    nbformat.write(dying, notebook)
    assert "its kernel died" in execute(notebook, tmp_path / "out.ipynb", {})
