"""What the LPS paper says of its selections, and what we ask beside it, checked on our results."""

from collections.abc import Iterable

import pandas as pd

from paperlib.papers import Results
from paperlib.papers.selection.runs import (
    PAPER,
    SLICES,
    Budget,
    asr_frame,
    at_budgets,
    both_of,
    in_range,
    ratio,
    searched,
    sized,
)
from paperlib.report import style
from paperlib.report.claims import Claim, NotRun, Verdict


def _noise(frame: pd.DataFrame, budgets: Iterable[Budget]) -> float:
    """Standard deviation of random selection's ASR from seed to seed, mean over budgets."""
    found = at_budgets(frame[frame.strategy == "random"], budgets)
    spread = found.groupby(["attack", "per_class"]).asr.std().dropna()
    if spread.empty:
        raise NotRun("one seed has no noise; at least two are needed")
    return float(spread.mean())


def _beats(one: str, other: str, results: Results) -> Verdict:
    """Whether ``one`` exceeds ``other`` by more than the seed noise where random selection leaves room."""
    frame = asr_frame(results)
    budgets = in_range(frame)
    both, noise = both_of(frame, one, other, budgets), _noise(frame, budgets)
    gains = both[one] - both[other]
    if len(gains) < 2:
        raise NotRun("one pair of runs, which decides nothing beside the seed noise")
    margin = float(gains.mean())
    names = [style.title("selection", name) for name in (one, other)]
    numbers = {
        f"ASR with {names[0]}": float(both[one].mean()),
        f"with {names[1]}": float(both[other].mean()),
        "margin": margin,
        "seed noise": noise,
    }
    numbers["standard error of the margin"] = float(gains.std() / len(gains) ** 0.5)
    scale = sized(results.scale)
    where = ", ".join(f"{style.title('attack', attack)} {100 * ratio(scale, k):.2g} %" for attack, k in budgets)
    compared = f"{len(both)} pairs of runs with equal attack, seed and ratio ({where})"
    word = "more" if margin > noise else "not more"
    return Verdict(margin > noise, f"over {compared} the margin is {word} than random's standard deviation", numbers)


def _grows(results: Results) -> Verdict:
    frame = asr_frame(results)
    planned = SLICES[results.scale.name].per_class
    smallest, largest = min(planned), max(planned)
    if smallest == largest:
        raise NotRun(f"one ratio is run at {results.scale.name} scale")
    attacks = SLICES[results.scale.name].attacks
    gains = [
        float((both.lps - both.random).mean())
        for both in (both_of(frame, "lps", "random", [(name, k) for name in attacks]) for k in (smallest, largest))
    ]
    return Verdict(
        gains[0] < gains[1],
        f"gain of LPS over random at {smallest} and at {largest} images per class",
        {"gain at the smallest ratio": gains[0], "at the largest": gains[1]},
    )


def _cheap(results: Results) -> Verdict:
    found = [result["epoch_equivalents"] for _, _, name, result in searched(results) if name == "lps"]
    if not found:
        raise NotRun("no search by LPS")
    trainings = max(found) / sized(results.scale).epochs
    return Verdict(trainings <= 2, "the most expensive search of LPS", {"trainings of the victim": trainings})


CLAIMS = [
    Claim(
        "lps_random", PAPER, "At the same ratio LPS reaches a higher ASR than random selection", "abstract",
        lambda results: _beats("lps", "random", results),
    ),
    Claim(
        "lps_fus", PAPER, "At the same ratio LPS reaches a higher ASR than FUS", "abstract",
        lambda results: _beats("lps", "fus", results),
    ),
    Claim(
        "lps_balanced", PAPER, "The gain of LPS is more than class balance: it beats balanced random selection",
        "ours (the paper ablates the constraint)", lambda results: _beats("lps", "balanced", results),
    ),
    Claim("lowest", PAPER, "LPS gains least at the lowest ratio", "public reviews of the paper", _grows),
    Claim("cheap", PAPER, "LPS costs at most two trainings of the victim", "ours", _cheap),
]  # fmt: skip
