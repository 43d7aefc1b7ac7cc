"""Text of the notebooks: a result that stands in a sentence was computed by a cell, never typed.

A typed number belongs to the scale at which somebody typed it. Markdown cells therefore hold no decimal, except in code
spans and formulas (settings, definitions), in links, and in the numbers of papers, sections and versions.
"""

import re
from pathlib import Path

import nbformat
import pytest

from paperlib import paths

NOTEBOOKS = sorted(paths.NOTEBOOKS.glob("*.ipynb"))

NO_RESULT = re.compile(
    r"""
    ```.*?``` | `[^`\n]*`                                            # code
    | \$\$.*?\$\$ | (?<!\\)\$[^$]*?(?<!\\)\$                         # formulas
    | (?<=\])\([^()\s]*\) | https?://\S+                             # targets of links
    | arXiv[ :]\d{4}\.\d{4,5}
    | \b(?:[Ss]ections?|[Ff]igures?|[Tt]ables?|[Rr]emark|[Ee]quations?|eq\.|version|Python)\ \d+(?:\.\d+)+
    """,
    re.VERBOSE | re.DOTALL,
)
DECIMAL = re.compile(r"(?<![\w.])-?\d*\.\d+")

ALLOWED = {("01_vdc", "0.5"): "a definition: the score between no and yes, which ties have"}
"""Notebook and number -> why it is no result."""


def decimals(text: str) -> list[str]:
    """The decimals of a Markdown text that could be results."""
    return DECIMAL.findall(NO_RESULT.sub(" ", text))


@pytest.mark.parametrize(
    "text",
    ["ASR 73.4, as printed", "it falls to .025", "a drop of -0.90.", "`alpha=0.1` gives 2.5", "$x$ is 1.5 and $y$"],
)
def test_a_typed_result_is_found(text: str) -> None:
    assert len(decimals(text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "[arXiv 2304.11823](https://arxiv.org/abs/2304.11823)", "Section 3.3 of the paper", "`lr=0.01`",
        r"$\beta = 0.1$",
        "$$x = 0.5$$", "```\nx = 0.5\n```", "200 images, 5 %. 3 of 4.", "Remark 3.1", "Python 3.11", "$10 and\n1 more.",
    ],
)  # fmt: skip
def test_settings_and_references_are_no_results(text: str) -> None:
    assert decimals(text) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_result_is_typed(path: Path) -> None:
    cells = enumerate(nbformat.read(path, 4).cells)
    typed = [(k, one) for k, cell in cells if cell.cell_type == "markdown" for one in decimals(cell.source)]
    assert [(k, one) for k, one in typed if (path.stem, one) not in ALLOWED] == []


def test_what_is_allowed_is_there() -> None:
    there = {
        (path.stem, one)
        for path in NOTEBOOKS
        for cell in nbformat.read(path, 4).cells
        if cell.cell_type == "markdown"
        for one in decimals(cell.source)
    }
    assert set(ALLOWED) <= there


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_that_is_named_is_linked(file: Path) -> None:
    text = "\n".join(cell.source for cell in nbformat.read(file, 4).cells if cell.cell_type == "markdown")
    linked = re.sub(r"\[(?:[Nn]otebook )?0\d\]\((0\d_\w+\.ipynb)\)", "", text)
    assert re.findall(r"[Nn]otebooks? 0\d", linked) == []
    assert all((paths.NOTEBOOKS / name).is_file() for name in re.findall(r"\]\((0\d_\w+\.ipynb)\)", text))
