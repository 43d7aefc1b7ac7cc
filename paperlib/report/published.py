"""What the papers contain and what they printed: the inventory of tables and figures, and their numbers in one form.

``paperlib/published`` holds one tidy table per paper, all with the columns :data:`COLUMNS`; ``SOURCES.md`` beside them
says where each comes from and which errors it is known to hold. Attacks, defenses and models carry the names of our
registries, so that our results can be joined to them. Torch is never imported, pandas only to read numbers.

``reading`` has two values. ``printed`` is what the paper shows. Where that is known to be wrong (FT-SAM Tables 3 and 4,
NPD Table 6), a second row of the cell has ``corrected``, and both say why in ``note``.
"""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from paperlib.errors import choose

if TYPE_CHECKING:
    import pandas as pd

FOLDER = Path(__file__).resolve().parent.parent / "published"
"""The published numbers; they travel with the package."""

PAPERS = {
    "vdc": "01_vdc", "sau": "02_sau", "selection": "03_selection", "polarizer": "04_polarizer", "ft_sam": "05_ft_sam",
    "mp_fair_regression": "06_mp_fair_regression", "benchmark": "07_benchmark",
}  # fmt: skip
"""The seven papers and the notebook of each."""

COLUMNS = (
    "paper", "item", "dataset", "model", "ratio", "attack", "defense", "setting", "metric", "value", "unit", "reading",
    "grade",
    "note", "source",
)  # fmt: skip


@dataclass(frozen=True)
class Item:
    """One table or figure of a paper.

    Attributes
    ----------
    paper, id : str
        ``paper/id`` is the item's name everywhere. An id holds a number only where that number is known.
    kind : str
        ``table`` or ``figure``.
    number : str
        The number it has in the paper; empty if unknown.
    verified : bool
        True if existence and number (where one is given) were read; False if one of them is inferred.
    title, notebook, note : str
        What it shows, in our words; the notebook that regenerates it; what is unusual about it.
    planned : str
        Why it is not regenerated (yet); empty if it is.
    """

    paper: str
    id: str
    kind: str
    number: str
    verified: bool
    title: str
    notebook: str
    note: str
    planned: str = ""


@cache
def _inventory() -> tuple[Item, ...]:
    with (FOLDER / "inventory.csv").open(newline="", encoding="utf-8") as file:
        return tuple(Item(verified=row.pop("verified") == "true", **row) for row in csv.DictReader(file))


def inventory(paper: str | None = None) -> list[Item]:
    """Every table and figure of the seven papers (or of one), in the order of the notebooks.

    Raises
    ------
    PaperlibError
        ``paper`` is not one of :data:`PAPERS`.
    """
    if paper is not None:
        choose("paper", paper, PAPERS)
    return [item for item in _inventory() if paper in (None, item.paper)]


@cache
def _published(paper: str) -> "pd.DataFrame":
    import pandas as pd

    name = f"{paper}.csv.gz" if (FOLDER / f"{paper}.csv.gz").is_file() else f"{paper}.csv"
    types = {**dict.fromkeys(COLUMNS, str), "value": float, "ratio": float}
    return pd.read_csv(FOLDER / name, dtype=types, keep_default_na=False, na_values={"value": [""], "ratio": [""]})


def published(paper: str, item: str | None = None) -> "pd.DataFrame":
    """What a paper printed, one value a row, with the columns :data:`COLUMNS`.

    Parameters
    ----------
    paper : str
        One of :data:`PAPERS`, or ``agpd``, whose numbers serve as anchors for detectors.
    item : str, optional
        An id of :func:`inventory`, or one that only the numbers have: ``leaderboard_2022`` and ``leaderboard_2025`` of
        the benchmark, AGPD's tables. An item without published numbers gives an empty table.

    Returns
    -------
    pandas.DataFrame
        A fresh copy. ``dataset`` to ``metric`` together with ``reading`` name a value uniquely within its item; they
        are empty where they do not apply. ``ratio`` is the poisoning (or noise) ratio of the whole training set, a
        fraction or NaN. ``setting`` holds what else the cell depends on, as ``name=value`` joined by semicolons.
        ``value`` is a number, or NaN where the original prints none, in ``unit`` (``%``, ``s``, ``min``, or empty for
        plain numbers). ACC, ASR, R-ACC, DER, TPR, FPR and F1 are percentages. ``grade`` is A (confirmed) or B (one
        unconfirmed OCR reading), and empty for exact transcriptions.

    Raises
    ------
    PaperlibError
        ``paper`` or ``item`` is unknown.
    """
    frame = _published(choose("paper", paper, (*PAPERS, "agpd")))
    if item is None:
        return frame.copy()
    choose("item", item, {i.id for i in _inventory() if i.paper == paper} | set(frame["item"]))
    return frame[frame["item"] == item].reset_index(drop=True)


def published_hyperparameters(paper: str | None = None) -> "pd.DataFrame":
    """Settings that papers and official code give, with their status and source.

    Parameters
    ----------
    paper : str, optional
        One of :data:`PAPERS`; all of them by default.

    Returns
    -------
    pandas.DataFrame
        Columns ``paper, component, setting, scope, value, status, source``, all text: ``scope`` names the data sets
        that a value is for, ``status`` says whether it was read in the paper, in the code, or second-hand.

    Raises
    ------
    PaperlibError
        ``paper`` is unknown.
    """
    import pandas as pd

    found = pd.read_csv(FOLDER / "hyperparameters.csv", dtype=str, keep_default_na=False)
    return found if paper is None else found[found["paper"] == choose("paper", paper, PAPERS)].reset_index(drop=True)
