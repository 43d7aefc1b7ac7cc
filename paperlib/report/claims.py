"""What the papers claim, as checks on our results.

A verdict is computed, never written down: a check receives the results of one scale and says whether the claim holds,
why, and by which numbers. Where results are missing it raises :class:`NotRun`, and the verdict is "not run".
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

import pandas as pd

from paperlib.errors import PaperlibError
from paperlib.report import style, tables


class NotRun(LookupError):
    """A result that a check needs does not exist (yet); the message says which."""


@dataclass(frozen=True)
class Verdict:
    """Whether a claim holds (None: not decided), why in a sentence, and the numbers that decided it.

    Raises
    ------
    PaperlibError
        The claim is decided, but no number is given that decided it.
    """

    holds: bool | None
    reason: str
    numbers: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.holds is not None and not self.numbers:
            raise PaperlibError(f"holds={self.holds} without numbers; a verdict shows the numbers that decided it.")

    @property
    def word(self) -> str:
        """``"holds"``, ``"does not hold"`` or ``"not run"``."""
        return "not run" if self.holds is None else "holds" if self.holds else "does not hold"


@dataclass(frozen=True)
class Claim:
    """One statement of a paper, in our words.

    Parameters
    ----------
    id, paper : str
    text : str
        The claim in a sentence.
    where : str
        Where the paper makes it, e.g. ``"Table 1"``.
    check : callable
        From the results of one scale to a :class:`Verdict`; raises :class:`NotRun` when one of them is missing.
    """

    id: str
    paper: str
    text: str
    where: str
    check: Callable[[Any], Verdict]

    def verdict(self, results: Any) -> Verdict:
        """Check the claim. Only :class:`NotRun` means not run; any other error is a bug and comes through."""
        try:
            return self.check(results)
        except NotRun as missing:
            return Verdict(None, f"not run: {missing}")


Cases = Iterator[tuple[bool, Mapping[str, float]]]
"""Whether each case of a claim holds, with its numbers."""


def in_all(reason: str) -> Callable[[Callable[[Any], Cases]], Callable[[Any], Verdict]]:
    """Make a check of a function that yields cases: the claim holds where it holds in all of them.

    Parameters
    ----------
    reason
        What holding means, for the verdict.
    """

    def check(cases: Callable[[Any], Cases]) -> Callable[[Any], Verdict]:
        @wraps(cases)
        def verdict(results: Any) -> Verdict:
            found = list(cases(results))
            numbers = {name: value for _, values in found for name, value in values.items()}
            return Verdict(all(holds for holds, _ in found), reason, numbers)

        return verdict

    return check


def evaluate(claims: Iterable[Claim], results: Any) -> list[tuple[Claim, Verdict]]:
    """Check claims on the results of one scale, in the given order."""
    return [(claim, claim.verdict(results)) for claim in claims]


def to_frame(verdicts: Iterable[tuple[Claim, Verdict]], scale: str) -> pd.DataFrame:
    """Tidy: one row per deciding number, or one row without a number for a claim that has none.

    Returns
    -------
    DataFrame
        Columns ``paper, claim, where, text, scale, verdict, reason, number, value``.
    """
    rows: list[dict[str, object]] = []
    for claim, verdict in verdicts:
        row: dict[str, object] = {
            "paper": claim.paper,
            "claim": claim.id,
            "where": claim.where,
            "text": claim.text,
            "scale": scale,
        }
        row |= {"verdict": verdict.word, "reason": verdict.reason}
        rows += [{**row, "number": name, "value": float(value)} for name, value in verdict.numbers.items()] or [row]
    columns = ["paper", "claim", "where", "text", "scale", "verdict", "reason", "number", "value"]
    return pd.DataFrame(rows, columns=columns)


def to_html(verdicts: Iterable[tuple[Claim, Verdict]], scale: str, *, checked: str = "") -> str:
    """A table of claims: what, where, the verdict as a word and a sign, the deciding numbers, the reason.

    ``checked`` says on what, where that is not our results of ``scale``.
    """
    verdicts = list(verdicts)
    frame = pd.DataFrame(
        [
            (
                c.text,
                c.where,
                f"{_SIGNS[v.holds]} {v.word}".replace(" ", "\N{NO-BREAK SPACE}"),
                numbers_text(v),
                v.reason,
            )
            for c, v in verdicts
        ],
        columns=["Claim", "Where", "Verdict", "Decided by", "Reason"],
    )
    paper = ", ".join(dict.fromkeys(style.title("paper", claim.paper) for claim, _ in verdicts))
    count = sum(v.holds is True for _, v in verdicts), sum(v.holds is not None for _, v in verdicts)
    caption = f"Claims of {paper}, {checked or f'{scale} scale'}: {count[0]} of the {count[1]} that were run hold"
    if len(verdicts) > count[1]:
        caption += f"; {len(verdicts) - count[1]} not run"
    return tables.to_html(frame, caption)


_SIGNS = {True: "✓", False: "✗", None: "–"}


def numbers_text(verdict: Verdict) -> str:
    """The deciding numbers in a line: ``"ASR after FT 38.8, after FT-SAM 2.5"``."""
    return ", ".join(f"{name} {_short(float(value))}" for name, value in verdict.numbers.items())


def _short(value: float) -> str:
    """Four significant digits at most, no exponent for everyday sizes."""
    if not math.isfinite(value) or value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.4g}"
    return f"{value:.2e}"
