"""Captions of figures: every mark is explained, and what is printed, what ran and how to draw it again is said."""

import re
from functools import cache
from typing import Any

import pytest

from paperlib import companion, papers
from paperlib.experiments.scales import LAPTOP
from paperlib.papers.marks import MARKS, completed
from paperlib.report.claims import NotRun
from paperlib.report.published import inventory

SIGNS = "=≠·×†‡*"
WORDS = {
    "dotted": "dotted", "dashed": "dashed", "cross": "cross", "hollow": "hollow", "error bar": "standard deviation",
    "band": "band", "number in brackets": "in brackets",
}  # fmt: skip
"""Mark -> the word that a caption explains it by."""
STEPS = {"fig_visual_attack", "fig_visual_defense", "our_tool_neuron_activation"}
"""Bars that are drawn as one filled area each."""


@cache
def recorded(paper: str) -> papers.Results:
    return companion.gather(paper, LAPTOP, recorded=True)


def marks(figure: Any, id_: str) -> set[str]:
    """Signs and looks in ``figure`` that no legend explains."""
    from matplotlib.collections import PolyCollection
    from matplotlib.container import ErrorbarContainer
    from matplotlib.text import Text

    found = set()
    for text in (each.get_text().strip() for each in figure.findobj(Text) if each.get_visible()):
        found |= {sign for sign in SIGNS if text == sign or (len(text) < 5 and text.startswith(f"{sign} "))}
        found |= {"*"} if len(text) > 1 and text.endswith("*") else set()
        found |= {"number in brackets"} if re.search(r"\(\d+\)$", text) else set()
    for axes in figure.axes:
        for line in axes.lines:
            if not len(line.get_xdata()) or not str(line.get_label()).startswith("_"):
                continue
            style, marker = line.get_linestyle(), line.get_marker()
            found |= {"dotted"} if style == ":" else {"dashed"} if line.is_dashed() else set()
            found |= {"cross"} if marker == "x" else set()
            found |= {"hollow"} if line.get_markerfacecolor() == "none" and marker not in ("None", "x") else set()
        found |= {"error bar" for each in axes.containers if isinstance(each, ErrorbarContainer)}
        found |= {"band" for each in axes.collections if isinstance(each, PolyCollection) and id_ not in STEPS}
    return found


def explained(mark: str, caption: str) -> bool:
    return WORDS[mark] in caption.lower() if mark in WORDS else bool(re.search(rf"{re.escape(mark)} ?:", caption))


def test_every_figure_of_the_inventory_has_its_marks() -> None:
    for paper in papers.PAPERS:
        drawn = papers.drawable(paper)
        figures = {entry.id for entry in inventory(paper) if entry.kind == "figure" and entry.id in drawn}
        assert figures <= set(MARKS[paper]) <= set(drawn)
        assert all(len(text) > 20 for text in MARKS[paper].values())


@pytest.mark.parametrize("paper", papers.PAPERS)
def test_a_caption_explains_what_is_on_the_face_of_its_figure(paper: str) -> None:
    from matplotlib.text import Text

    results, count = recorded(paper), 0
    for id_, item in papers.drawable(paper).items():
        try:
            made = papers.draw(paper, id_, results)
        except NotRun:
            continue
        if made.kind != "figure":
            assert id_ not in MARKS[paper]
            continue
        count += 1
        assert MARKS[paper][id_] in made.caption, id_
        assert [mark for mark in marks(made.figure, id_) if not explained(mark, made.caption)] == [], id_
        assert re.search(r"print|redrawn|draws its own|not in the paper|authors' code", made.caption.lower()), id_
        said = re.sub(r"<[^>]+>", "", companion.below(paper, id_, item, made, results, {}))
        assert f"Again: paperlib figure {paper}/{id_} --scale laptop." in said
        if made.results:
            assert re.search(r"Ran: \d+ runs? at laptop scale, seeds? \d.*", said), id_
        else:
            assert "Ran: nothing" in said and ("redrawn" in made.caption or made.scale == "paper"), id_
        if "leaderboard of June 2022" in made.caption:
            assert "printed, not ours" in made.caption and made.box and not made.results  # laid out and stamped
            assert [one for one in made.figure.findobj(Text) if "scale" in one.get_text()] == [], id_
    assert count


def test_a_mark_that_no_word_explains_is_found() -> None:
    from paperlib.report import style

    with style.subplots(figsize=(2, 2)) as (figure, axes):
        axes.plot([0, 1], [0, 1], linestyle=":")
        axes.text(0, 0, "≠")
    found = marks(figure, "some")
    assert found == {"dotted", "≠"}
    assert [mark for mark in sorted(found) if not explained(mark, "Dotted: printed.")] == ["≠"]


def test_the_last_sentence_says_where_print_is() -> None:
    assert completed("ft_sam", "fig1", "Some.").endswith("The printed figure is not available as numbers.")
    assert completed("ft_sam", "our_reactivation", "Some.").endswith("Ours: not in the paper.")
    assert "hatched boxes below: printed" in completed("mp_fair_regression", "fig1", "Some.")
    assert "not available" not in completed("ft_sam", "fig1", "As in print.")
    assert completed("polarizer", "fig4", "Some.").count("rinted") == 1  # its two printed distances are known
