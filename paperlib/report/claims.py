"""What the papers claim, as checks on our results.

A verdict is computed, never written down: a check receives the results of one scale and says whether the claim holds,
why, and by which numbers. Where results are missing it raises :class:`NotRun`, and the verdict is "not run".

Which of two methods is better is decided by one rule for all papers (:func:`by_margins`): runs are compared in pairs,
on the same model or with the same seed; the mean difference must lie further from 0 than :data:`ERRORS` of its
standard errors, over :data:`PAIRS` pairs at least. Otherwise the verdict is "undecided".
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

import numpy as np
import pandas as pd

from paperlib.errors import PaperlibError
from paperlib.report import style, tables

ERRORS = 2.0
"""Standard errors by which a mean difference must differ from 0 before it counts."""
PAIRS = 5
"""How many pairs of runs decide, at least."""


class NotRun(LookupError):
    """A result that a check needs does not exist (yet); the message says which."""


@dataclass(frozen=True)
class Verdict:
    """Whether a claim holds (None: not decided), why in a sentence, and the numbers that decided it.

    ``undecided`` tells results that are too few or too near to each other from results that do not exist.

    Raises
    ------
    PaperlibError
        The claim is decided, but no number is given that decided it.
    """

    holds: bool | None
    reason: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    undecided: bool = False

    def __post_init__(self) -> None:
        if self.holds is not None and not self.numbers:
            raise PaperlibError(f"holds={self.holds} without numbers; a verdict shows the numbers that decided it.")

    @property
    def word(self) -> str:
        """``"holds"``, ``"does not hold"``, ``"undecided"`` or ``"not run"``."""
        if self.holds is None:
            return "undecided" if self.undecided else "not run"
        return "holds" if self.holds else "does not hold"


@dataclass(frozen=True)
class Margin:
    """Differences of pairs of runs: mean, its standard error (NaN of one), how many lie above 0, and how many pairs."""

    mean: float
    error: float
    wins: int
    n: int

    @property
    def decided(self) -> bool:
        """Whether the pairs are enough, and their mean far enough from 0."""
        return self.n >= PAIRS and abs(self.mean) > ERRORS * self.error

    @property
    def needed(self) -> float:
        """How many pairs would decide, were mean and spread as they are; infinite for a mean of 0 or one pair."""
        if not self.mean or math.isnan(self.error):
            return math.inf
        return max(PAIRS, math.ceil(self.n * (ERRORS * self.error / self.mean) ** 2 + 1e-9))

    def __str__(self) -> str:
        if self.n == 1:
            return f"{self.mean:+.1f} (one pair of runs)"
        return f"{self.mean:+.1f} ± {self.error:.1f} (above 0 in {self.wins} of {self.n} pairs)"


def margin(differences: Iterable[float]) -> Margin:
    """Mean and standard error of ``differences``, one for each pair of runs.

    Raises
    ------
    NotRun
        There is none.
    """
    found = np.asarray(list(differences), float)
    if not len(found):
        raise NotRun("there is no pair of runs")
    error = float(np.std(found, ddof=1) / len(found) ** 0.5) if len(found) > 1 else math.nan
    return Margin(float(found.mean()), error, int((found > 0).sum()), len(found))


def by_margins(margins: Mapping[str, Margin], reason: str, numbers: Mapping[str, float]) -> Verdict:
    """Decide a claim that says that every one of ``margins`` is above 0.

    Parameters
    ----------
    margins
        What is compared -> margin.
    reason
        Over which runs.
    numbers
        What stands beside the margins.

    Returns
    -------
    Verdict
        It holds where all of them are above 0, decided; it does not where one is below 0, decided.
    """
    open_ = {name: one for name, one in margins.items() if not one.decided}
    below = {name: one for name, one in margins.items() if one.decided and one.mean < 0}
    shown = below or open_ or margins
    said = "; ".join(f"{name} {one}" for name, one in list(shown.items())[:3])
    more = f"; and {len(shown) - 3} more" if len(shown) > 3 else ""
    reason = f"{reason}; mean differences and their standard errors: {said}{more}"
    if open_ and not below:
        needed = max(one.needed for one in open_.values())
        reason += f". About {needed:,.0f} pairs would decide" if math.isfinite(needed) else f"; at least {PAIRS} decide"
        return Verdict(None, reason, numbers, undecided=True)
    return Verdict(not below, reason, numbers)


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
                f"{SIGNS[v.word]} {v.word}".replace(" ", "\N{NO-BREAK SPACE}"),
                numbers_text(v),
                v.reason,
            )
            for c, v in verdicts
        ],
        columns=["Claim", "Where", "Verdict", "Decided by", "Reason"],
    )
    paper = ", ".join(dict.fromkeys(style.title("paper", claim.paper) for claim, _ in verdicts))
    return tables.to_html(frame, f"Claims of {paper}, {checked or f'{scale} scale'}: {counted(v for _, v in verdicts)}")


def counted(verdicts: Iterable[Verdict]) -> str:
    """How many hold: ``"3 of the 4 that were decided hold; 2 undecided; 1 not run"``."""
    words = Counter(verdict.word for verdict in verdicts)
    text = f"{words['holds']} of the {words['holds'] + words['does not hold']} that were decided hold"
    return text + "".join(f"; {words[word]} {word}" for word in ("undecided", "not run") if words[word])


SIGNS = {"holds": "✓", "does not hold": "✗", "undecided": "?", "not run": "–"}


def numbers_text(verdict: Verdict) -> str:
    """The deciding numbers in a line: ``"ASR after FT 38.8, after FT-SAM 2.5"``."""
    return ", ".join(f"{name} {_short(float(value))}" for name, value in verdict.numbers.items())


def _short(value: float) -> str:
    """Four significant digits at most, no exponent for everyday sizes."""
    if not math.isfinite(value) or value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.4g}"
    return f"{value:.2e}"
