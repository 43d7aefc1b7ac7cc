"""Whatever is given to a command or as a parameter of a notebook: an exit code and one sentence, no traceback, and
before any work."""

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from paperlib import companion, papers, paths
from paperlib.cli.main import app
from paperlib.errors import PaperlibError

MANY = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
FEW = settings(MANY, max_examples=10)
WORDS = st.text(max_size=12) | st.sampled_from(
    ["ft_sam", "sau", "smoke", "-1", "", "..", "/", "ft_sam/fig1", "nan", "\0", "é" * 300]
)
COMMANDS = [
    ("list", "{}"),
    ("list", "{}", "--json"),
    ("figure", "{}x"),
    ("figure", "ft_sam/fig1", "--scale", "{}x"),
    ("figure", "ft_sam/fig1", "--seed", "{}", "--device", "quantum"),
    ("figure", "ft_sam/fig1", "--device", "{}x"),
    ("compare", "{}x"),
    ("claims", "{}", "--scale", "papper"),
    ("claims", "ft_sam", "--scale", "{}x"),
    ("reproduce", "{}x"),
    ("reproduce", "ft_sam", "--scale", "{}x"),
    ("reproduce", "ft_sam", "--execution-timeout", "{}", "--scale", "no"),
    ("data", "fetch", "{}x"),
    ("data", "status", "{}"),
    ("lab", "plan", "{}x"),
    ("lab", "plan", "ft_sam", "--seed", "{}", "--scale", "no"),
    ("lab", "run", "ft_sam", "--executor", "{}x"),
    ("lab", "run", "ft_sam", "--scale", "{}x"),
    ("lab", "gc", "--keep", "{}x", "--yes"),
    ("lab", "import", "{}x"),
    ("lab", "{}"),
    ("{}",),
    ("vdc", "clean", "{}x"),
]


def is_one_sentence(command: tuple[str, ...], word: str) -> None:
    done = CliRunner().invoke(app, [part.format(word) for part in command], prog_name="paperlib")
    assert done.exception is None or isinstance(done.exception, SystemExit), (word, done.exception)
    assert done.exit_code in (0, 1, 2) and "Traceback" not in done.output
    if done.exit_code == 1:
        assert done.stderr.startswith("paperlib") and done.stderr.strip(), (word, done.output)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@FEW
@given(word=WORDS)
def test_commands(command: tuple[str, ...], word: str) -> None:
    is_one_sentence(command, word)


@pytest.mark.long
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@MANY
@given(word=WORDS)
def test_commands_with_many_words(command: tuple[str, ...], word: str) -> None:
    is_one_sentence(command, word)


VALUES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.lists(st.text(max_size=3), max_size=2)
)
PAPERS = [paper for paper in papers.PAPERS if (paths.NOTEBOOKS / f"{papers.PAPERS[paper].notebook}.ipynb").is_file()]


@pytest.mark.parametrize("paper", PAPERS)
@settings(MANY, max_examples=30)
@given(data=st.data())
def test_parameters_of_the_notebooks(paper: str, data: Any) -> None:
    declared = companion.declared_parameters(paths.NOTEBOOKS / f"{papers.PAPERS[paper].notebook}.ipynb")
    name = data.draw(st.sampled_from(sorted(declared)))
    value = data.draw(VALUES)
    try:
        book = companion.start(paper, {**declared, "scale": "smoke", "device": "cpu", name: value})
        assert isinstance(book.seed, int) and book.seed >= 0
    except PaperlibError as error:
        assert str(error).strip() and "\n" not in str(error), error
    if isinstance(value, float) and not math.isfinite(value) and name == "seed":
        with pytest.raises(PaperlibError):
            companion.start(paper, {**declared, "device": "cpu", name: value})


def test_a_folder_given_as_a_notebook_is_named(tmp_path: Path) -> None:
    with pytest.raises(PaperlibError, match="cannot be read as a notebook"):
        companion.declared_parameters(tmp_path)
