"""What the LPS paper says of its selections, and what we ask beside it, checked on our results."""

from contextlib import suppress

from paperlib.papers import Results
from paperlib.papers.selection.digits import DigitsTable, paired
from paperlib.papers.selection.runs import PAPER, SLICES, asr_frame, both_of, in_range, searched, sized
from paperlib.report import style
from paperlib.report.claims import Claim, NotRun, Verdict, by_margins, margin


def _beats(one: str, other: str, results: Results) -> Verdict:
    """Whether ``one`` exceeds ``other`` on digits, in pairs of equal seed."""
    frame = DigitsTable().frame(results)
    found = paired(frame, one, other)
    names = [style.title("selection", name) for name in (one, other)]
    means = frame.groupby("strategy").asr.mean()
    numbers = {
        f"ASR with {names[0]}": float(means[one]),
        f"with {names[1]}": float(means[other]),
        "margin": found.mean,
        "standard error of the margin": found.error,
    }
    with suppress(NotRun):  # beside it, where random selection leaves room there
        beside = both_of(cells := asr_frame(results), one, other, in_range(cells))
        gains = beside[one] - beside[other]
        numbers[f"margin on {style.title('dataset', sized(results.scale).dataset)}, the paper's setting"] = float(
            gains.mean()
        )
        if len(gains) > 1:
            numbers["its standard error"] = margin(gains).error
    return by_margins({f"{names[0]} less {names[1]}": found}, "on digits, pairs of equal seed", numbers)


def _grows(results: Results) -> Verdict:
    frame = asr_frame(results)
    planned = SLICES[results.scale.plans].per_class
    smallest, largest = min(planned), max(planned)
    if smallest == largest:
        raise NotRun(f"one ratio is run at {results.scale.name} scale")
    attacks = SLICES[results.scale.plans].attacks
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
