"""A reader's commands leave everything that git tracks as it is, and the tests pass after them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from paperlib.paths import ROOT

Run = Callable[..., str]


@pytest.fixture
def fresh(tmp_path: Path) -> Run:
    """Runs commands in a fresh clone of what git tracks here, changes included; returns what they print."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    clone = tmp_path / "clone"
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, clone / name)
    environment = {k: v for k, v in os.environ.items() if k not in ("PAPERLIB_FIGURES", "PAPERLIB_TEST_FOLDER")}
    environment |= {"PYTHONPATH": str(clone)}

    def run(*command: str, threads: int = 1) -> str:
        more = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        done = subprocess.run(command, cwd=clone, env=environment | more, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout

    run("git", "init", "-q")
    run("git", "add", "-A")
    run("git", "-c", "user.name=reader", "-c", "user.email=reader@localhost", "commit", "-qm", "all")
    return run


def test_drawing_leaves_the_checkout_as_it_is_and_its_tests_pass(fresh: Run) -> None:
    python = (sys.executable, "-m")
    fresh(*python, "paperlib", "figure", "ft_sam/fig1", "--scale", "smoke")
    fresh(*python, "paperlib", "figure", "mp_fair_regression/table1", "--scale", "laptop", "--recorded")
    fresh(*python, "paperlib", "gallery")
    fresh(*python, "papermill", "notebooks/00_start_here.ipynb", "out.ipynb")
    assert fresh("git", "status", "--porcelain") == ""
    fresh(*python, "pytest", "tests/test_front_door.py", "-k", "gallery or tracked or targets")


@pytest.mark.long
def test_reproduce_then_the_tests(fresh: Run) -> None:
    python = (sys.executable, "-m")
    fresh(*python, "paperlib", "reproduce", "mp_fair_regression", "--scale", "smoke")
    fresh(*python, "paperlib", "reproduce", "mp_fair_regression", "--scale", "laptop", "--recorded")
    assert fresh("git", "status", "--porcelain") == ""
    fresh(*python, "pytest", "tests/test_front_door.py", "tests/test_notebooks.py", "tests/test_companion.py")
    assert fresh("git", "status", "--porcelain") == ""


@pytest.mark.long
def test_the_readme_s_direct_commands_with_two_threads(fresh: Run) -> None:
    python = (sys.executable, "-m")
    said = fresh(*python, "paperlib", "figure", "ft_sam/table1", "--scale", "smoke", threads=2)
    assert "FT-SAM" in said
    fresh(*python, "papermill", "notebooks/05_ft_sam.ipynb", "out.ipynb", "-p", "seed", "1", threads=2)
    assert fresh("git", "status", "--porcelain") == ""
