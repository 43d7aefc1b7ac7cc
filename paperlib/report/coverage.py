"""How much of what the papers print has a number of ours beside it: the one count of README, ``paperlib list`` and
notebook 00.

It is taken from what git records (``figures/<scale>/<paper>/<id>.csv`` and ``.json``), so that nothing counts that no
run produced.
"""

import csv
import json
from collections import Counter
from dataclasses import dataclass
from functools import cache

from paperlib import paths
from paperlib.report.published import inventory

STATES = ("ours", "in part", "printed only", "nothing")
"""Of an item: every printed cell has ours beside it (or it is a figure drawn from our runs); some have; none has; not
there."""


@dataclass(frozen=True)
class Coverage:
    """One table or figure: how many of its printed cells have a number of ours beside them."""

    state: str
    ours: int = 0
    printed: int = 0
    scale: str = ""
    """Where most of them were computed; empty where there is nothing."""
    earlier: int = 0
    """Of ``ours``, those that an earlier version of the method computed."""

    def __str__(self) -> str:
        text = f"{self.state}, {self.ours} of {self.printed} printed cells" if self.printed else self.state
        return f"{text}, of these {self.earlier} by an earlier version" if self.earlier else text


@cache
def recorded() -> dict[tuple[str, str], Coverage]:
    """(paper, id) -> what git records of every item of the inventory, at the scale where most of it is ours."""
    return {(item.paper, item.id): _best(item.paper, item.id) for item in inventory()}


def _best(paper: str, id_: str) -> Coverage:
    found = [_of(paper, id_, file.parent.parent.name) for file in paths.recorded_dir().glob(f"*/{paper}/{id_}.json")]
    return min(found, key=lambda one: (STATES.index(one.state), -one.ours), default=Coverage("nothing"))


def _of(paper: str, id_: str, scale: str) -> Coverage:
    file = paths.recorded_dir() / scale / paper / id_
    made = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))["results"]
    with open(file.with_suffix(".csv"), encoding="utf-8", newline="") as opened:
        rows = [row for row in csv.DictReader(opened) if row.get("published")]
    ours = sum(bool(row.get("ours")) for row in rows)
    if not rows:
        return Coverage("ours" if made else "printed only", scale=scale)
    state = "printed only" if not ours else "ours" if ours == len(rows) else "in part"
    earlier = sum(bool(row.get("ours") and row.get("mark")) for row in rows)
    return Coverage(state, ours, len(rows), scale, earlier)


def count(paper: str = "") -> str:
    """The count of one paper, or of all seven, in words."""
    states, ours, printed = _totals(paper)
    text = ", ".join(f"{states[state]} {state}" for state in STATES if states[state])
    if printed:
        text += f"; {ours:,} of {printed:,} printed cells have ours beside them"
    earlier = sum(one.earlier for (key, _), one in recorded().items() if paper in ("", key))
    return f"{text}, of these {earlier:,} by an earlier version of their method" if earlier else text


def _totals(paper: str) -> tuple[Counter[str], int, int]:
    items = [one for (key, _), one in recorded().items() if paper in ("", key)]
    return Counter(one.state for one in items), sum(one.ours for one in items), sum(one.printed for one in items)


def claims(paper: str = "") -> Counter[str]:
    """Verdict -> how many claims of a paper, or of all, have it in what git records."""
    found: dict[tuple[str, str], str] = {}
    for file in sorted(paths.recorded_dir().glob(f"*/{paper or '*'}/claims.csv")):
        with open(file, encoding="utf-8", newline="") as opened:
            found |= {(file.parent.name, row["claim"]): row["verdict"] for row in csv.DictReader(opened)}
    return Counter(found.values())


SCOREBOARD = ("ours / in part / printed only / nothing", "printed cells with ours", "claims: hold / do not / open")


def scoreboard(paper: str = "") -> tuple[str, str, str]:
    """The cells of one paper, or of all, under :data:`SCOREBOARD`."""
    (states, ours, printed), verdicts = _totals(paper), claims(paper)
    decided = verdicts["holds"], verdicts["does not hold"]
    return (
        " / ".join(str(states[state]) for state in STATES),
        f"{ours:,} of {printed:,}" if printed else "–",
        " / ".join(map(str, (*decided, verdicts.total() - sum(decided)))),
    )
