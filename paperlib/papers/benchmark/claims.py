"""What BackdoorBench says of its grid, checked on the printed numbers."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from paperlib.papers import PRINTED, Results
from paperlib.papers.benchmark.runs import DEFENSES, LARGEST_CLASS, MODELS, PAPER, RATIOS, board, curves, means
from paperlib.report import ranks, style
from paperlib.report.claims import Claim, Verdict
from paperlib.report.compare import repetition_noise

CLAIMS_ON = PRINTED


def _mean_curves(dataset: str, model: str) -> dict[str, list[float]]:
    """Defense -> mean ASR at each of :data:`RATIOS`, over the attacks that have a proper result at all of them."""
    mean = curves(board(dataset=dataset, model=model)).groupby(level="defense").mean()
    return {str(name): row.tolist() for name, row in zip(mean.index, mean.to_numpy(), strict=True)}


def check_rises_then_falls(_: Results) -> Verdict:
    """The mean ASR after FT, FP, NAD and NC rises up to 5 % and is lower at 10 %."""
    mean, holds = _mean_curves("cifar10", "preact_resnet18"), True
    numbers: dict[str, float] = {}
    for name in ("ft", "fp", "nad", "nc"):
        curve = mean[name]
        holds &= curve[:4] == sorted(curve[:4]) and curve[4] < curve[3]
        shown = {f"{100 * RATIOS[i]:g} %": curve[i] for i in (0, 3, 4)}
        numbers |= {f"{style.title('defense', name)} at {ratio}": value for ratio, value in shown.items()}
    after_ft = [_mean_curves(dataset, model)["ft"] for dataset in LARGEST_CLASS for model in MODELS]
    falls = sum(curve[4] < curve[3] for curve in after_ft)
    numbers["pairs of data set and model (of 20) where FT falls from 5 to 10 %"] = falls
    reason = (
        "mean ASR of eight attacks on CIFAR-10, PreAct-ResNet18; a single cell after FT, FP, NAD or NC differs by "
        f"{min(repetition_noise('ASR', d) or 0 for d in ('ft', 'fp', 'nad', 'nc')):.0f} to "
        f"{max(repetition_noise('ASR', d) or 0 for d in ('ft', 'fp', 'nad', 'nc')):.0f} points between two papers"
    )
    return Verdict(holds, reason, numbers)


def check_undefended_grows(_: Results) -> Verdict:
    """Without a defense the ASR of every attack grows with the ratio."""
    whole = curves(board(dataset="cifar10", model="preact_resnet18", defense="none"))
    growing = whole.apply(lambda curve: curve.is_monotonic_increasing, axis=1)
    numbers = {f"mean at {100 * r:g} %": v for r, v in zip(RATIOS, whole.mean().tolist(), strict=True)}
    numbers["attacks (of 8) whose ASR grows at every step"] = float(growing.to_numpy().sum())
    return Verdict(bool(growing.all()), "every attack on CIFAR-10, PreAct-ResNet18", numbers)


def check_some_grow_some_fall(_: Results) -> Verdict:
    """Under a defense some curves grow up to 10 %, others end at least 20 points below their peak."""
    whole = curves(board(dataset="cifar10", model=MODELS[1:], defense=DEFENSES[1:]))
    drop = whole.max(axis=1) - whole[0.1]
    numbers = {
        "curves": float(len(whole)),
        "with their peak at 10 %": float((drop == 0).sum()),
        "20 points below their peak at 10 %": float((drop >= 20).sum()),
    }
    holds = min(numbers["with their peak at 10 %"], numbers["20 points below their peak at 10 %"]) >= len(whole) / 10
    return Verdict(
        holds, "the other four models on CIFAR-10; each kind must be at least a tenth of the curves", numbers
    )


def check_filters_fail(_: Results) -> Verdict:
    """At 10 % AC and SS leave the mean ASR within 10 points of the undefended one."""
    mean = means(board(dataset="cifar10", model="preact_resnet18", ratio=0.1), ["defense"]).ASR
    numbers = {style.title("defense", name): float(mean[name]) for name in ("none", "ac", "ss")}
    holds = all(mean["none"] - mean[name] < 10 for name in ("ac", "ss"))
    return Verdict(
        holds, "mean ASR of eight attacks, CIFAR-10, PreAct-ResNet18, 10 %; AC dropped wrong images", numbers
    )


def check_anp_lowest(_: Results) -> Verdict:
    """At 10 % the mean ASR after ANP is the lowest of the nine defenses."""
    mean = means(board(dataset="cifar10", model="preact_resnet18", ratio=0.1), ["defense"]).ASR.drop("none")
    second = str(mean.drop("anp").idxmin())
    numbers = {"ANP": float(mean["anp"]), f"next, {style.title('defense', second)}": float(mean[second])}
    reason = (
        "mean ASR of eight attacks, CIFAR-10, PreAct-ResNet18, 10 %; ANP chose its threshold by this very ASR (oracle)"
    )
    return Verdict(bool(mean.idxmin() == "anp"), reason, numbers)


CLAIMS: list[Claim] = [
    Claim(
        "rises_then_falls", PAPER, "The ASR rises with the poisoning ratio, then falls, after FT, FP, NAD and NC.",
        "Figure 3 (number inferred)", check_rises_then_falls,
    ),
    Claim(
        "undefended_grows", PAPER, "Without a defense the ASR grows with the poisoning ratio.",
        "Figure 3 (number inferred)", check_undefended_grows,
    ),
    Claim(
        "some_grow_some_fall", PAPER, "Under a defense some curves grow with the ratio, others rise and then drop "
        "sharply.",
        "Figure 9", check_some_grow_some_fall,
    ),
    Claim(
        "filters_fail", PAPER, "AC and SS fail at 10 % poisoning.", "results on CIFAR-10", check_filters_fail,
    ),
    Claim("anp_lowest", PAPER, "Of the nine defenses ANP leaves the lowest ASR.", "results on CIFAR-10",
    check_anp_lowest),
]  # fmt: skip

# --------------------------------------------------------------------------------------------------- how sure is print?


Means = Mapping[tuple[str, float], float]
"""Defense and poisoning ratio -> mean ASR in percent over the attacks."""
Statement = Callable[[Means], bool]


def mean_asr(cells: pd.DataFrame) -> Means:
    """What the statements are about."""
    found: Any = cells.groupby(["defense", "ratio"]).ASR.mean().to_dict()
    return found


def _rank(asr: Means, defense: str) -> int:
    """Place of ``defense`` by mean ASR at 10 %, 1 for the lowest."""
    return 1 + sum(asr[other, 0.1] < asr[defense, 0.1] for other, ratio in asr if ratio == 0.1 and other != "none")


def _falls(defense: str) -> Statement:
    return lambda asr: asr[defense, 0.1] < asr[defense, 0.05]


def _fails(defense: str) -> Statement:
    return lambda asr: asr["none", 0.1] - asr[defense, 0.1] < 10


STATEMENTS: dict[str, Statement] = {
    "Undefended, the mean ASR grows with the ratio at every step": lambda asr: all(
        asr["none", a] < asr["none", b] for a, b in pairwise(RATIOS)
    ),
    **{f"After {style.title('defense', d)} the mean ASR at 10 % is below that at 5 %": _falls(d) for d in ("ft", "fp",
    "nad", "nc")},
    **{f"At 10 % {style.title('defense', d)} stays within 10 points of no defense": _fails(d) for d in ("ac", "ss")},
    "At 10 % ANP leaves the lowest mean ASR": lambda asr: _rank(asr, "anp") == 1,
    "At 10 % ABL is the second lowest": lambda asr: _rank(asr, "abl") == 2,
}  # fmt: skip
"""Statements about the printed means of CIFAR-10, PreAct-ResNet18; each takes :func:`mean_asr`."""


def noise_sd(defenses: Sequence[str]) -> dict[str, float]:
    """Standard deviation of a repeated cell's ASR; a defense that nobody repeated gets the mean of those that were."""
    measured = {name: repetition_noise("ASR", name) for name in defenses}
    known = {name: ranks.repetition_sd(d) for name, d in measured.items() if d is not None}
    usual = float(np.mean([v for name, v in known.items() if name != "none"]))
    return {name: known.get(name, usual) for name in defenses}
