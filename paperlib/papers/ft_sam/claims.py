"""The claims of the FT-SAM paper, checked on our results; a backdoor that was not learned decides nothing."""

from dataclasses import replace
from typing import Any

import numpy as np

from paperlib.experiments.specs import TrainSpec
from paperlib.papers import Results
from paperlib.papers.defense_table import Victim, backdoored, defended, learned, over, victims
from paperlib.papers.ft_sam import runs
from paperlib.papers.ft_sam.figures import correlation, sweep
from paperlib.papers.ft_sam.runs import PAPER, RHOS
from paperlib.report import style
from paperlib.report.claims import Cases, Claim, Margin, NotRun, Verdict, by_margins, in_all, margin

METRICS = {"asr": "ASR", "c_acc": "C-Acc"}


def _learned(results: Results, ratio: float = 0.1) -> list[TrainSpec]:
    """The models of the attacks that every item has which have learned their backdoor."""
    names = runs.ATTACKS[results.scale.plans]
    return learned(results, [backdoored(results.scale, name, ratio, results.seed) for name in names])


def _over(found: list[Victim]) -> str:
    return over([victim.parent for victim in found])


def _title(parent: TrainSpec) -> str:
    return style.title("attack", parent.attack)


@in_all("alive: ASR of at least 20 after FT, and at most a third of that after FT-SAM")
def check_alive(results: Results) -> Cases:
    """FT leaves the hard triggers alive and FT-SAM does not."""
    hard = [parent for parent in _learned(results) if parent.attack in ("blended", "lf", "ssba")]
    if not hard:
        raise NotRun(f"no hard trigger is learned at {results.scale.name} scale")
    for parent in hard:
        ft, sam = (results.need(defended(results.scale, parent, name))["asr"] for name in ("ft", "ft_sam"))
        yield (
            ft >= 20 and sam <= ft / 3,
            {f"{_title(parent)} ASR after FT": ft, f"{_title(parent)} ASR after FT-SAM": sam},
        )


def _pairs(results: Results, item: str, **changes: Any) -> list[Victim]:
    """The models on which everything of a table, or of what is changed of it, was run."""
    table = replace(runs.TABLES[item][results.scale.plans], **changes)
    return victims(results, lambda seed: table.cells(results.scale, seed))


def _gain(found: list[Victim], one: str, other: str, setting: str = "") -> Margin:
    """By how much ``other`` leaves more ASR than ``one``."""
    return margin(v.after[other, setting]["asr"] - v.after[one, setting]["asr"] for v in found)


def _means(found: list[Victim], metric: str = "asr") -> dict[str, float]:
    """``"mean ASR after FT"`` -> mean over the models; with the setting, where there are several."""
    numbers = {}
    for defense, setting in found[0].after:
        name = " ".join(part for part in (style.title("defense", defense), style.title("setting", setting)) if part)
        values = [victim.after[defense, setting][metric] for victim in found]
        numbers[f"mean {METRICS[metric]} after {name}"] = float(np.mean(values))
    return numbers


def check_lower(results: Results) -> Verdict:
    """FT-SAM leaves a lower ASR than FT on the models of Table 1."""
    found = _pairs(results, "table1", defenses=runs.FT)
    return by_margins({"FT less FT-SAM": _gain(found, "ft_sam", "ft")}, _over(found), _means(found))


def check_headline(results: Results) -> Verdict:
    """On the models of Table 1: ASR after FT-SAM at most a third of that after FT, at no more than 3 points less
    C-Acc."""
    found = _pairs(results, "table1", defenses=runs.FT)
    both = [(v.after["ft", ""], v.after["ft_sam", ""]) for v in found]
    margins = {
        "a third of FT's ASR less FT-SAM's": margin(ft["asr"] / 3 - sam["asr"] for ft, sam in both),
        "FT-SAM's C-Acc less FT's, plus 3": margin(sam["c_acc"] - ft["c_acc"] + 3 for ft, sam in both),
    }
    return by_margins(margins, _over(found), _means(found) | _means(found, "c_acc"))


@in_all("rank correlation of TAC and norm, 5 % poisoning")
def check_norms(results: Results) -> Cases:
    """Backdoor-related neurons have larger norms: positive rank correlation of TAC and norm in every backdoored
    model."""
    for parent in _learned(results, 0.05):
        neurons = results.need(runs.neuron_spec(results.scale, parent.attack, 0.05, results.seed))
        rank = correlation(neurons["tac"][0], neurons["norm"][0])
        yield rank > 0, {f"{_title(parent)} rank correlation": rank}


def check_shrinks(results: Results) -> Verdict:
    """FT-SAM shrinks the norms of the neurons with the largest TAC, FT does not."""
    changes: list[list[float]] = []
    for parent in _learned(results, 0.05):
        neurons = results.need(runs.neuron_spec(results.scale, parent.attack, 0.05, results.seed))
        tac = np.array(neurons["tac"][0])
        before, *after = (np.array(n)[np.argsort(tac)[-max(1, len(tac) // 10) :]].mean() for n in neurons["norm"])
        changes.append([100 * float(one / before - 1) for one in after])
    ft, sam = np.mean(changes, axis=0)
    holds = bool(sam < 0 and abs(ft) < abs(sam) / 2)
    numbers = {"change after FT (%)": float(ft), "change after FT-SAM (%)": float(sam)}
    return Verdict(
        holds, "mean norm of the tenth of the neurons with the largest TAC; FT must move less than half as far", numbers
    )


@in_all("rank correlation of rho and ASR over rho = 1 to 8 is negative")
def check_rho(results: Results) -> Cases:
    """ASR falls with rho."""
    names = {parent.attack: _title(parent) for parent in _learned(results)}
    swept = {names[name]: points for name, points in sweep(results).items() if name in names}
    if not swept:
        raise NotRun(f"no attack of the rho sweep is learned at {results.scale.name} scale")
    for title, points in swept.items():
        if len(points) < len(RHOS):
            raise NotRun(f"the rho sweep of {title} is not complete at {results.scale.name} scale")
        rates = [point["asr"] for point in points.values()]
        rank = correlation(RHOS, rates)
        ends = {f"{title} ASR at rho {RHOS[k]}": rates[k] for k in (0, -1)}
        yield rank < 0 and rates[-1] < rates[0], {**ends, f"{title} rank correlation": rank}


def check_little_data(results: Results) -> Verdict:
    """FT-SAM beats FT at every amount of clean data."""
    found = _pairs(results, "table3")
    margins = {
        f"FT less FT-SAM at {100 * clean:g} %": _gain(found, "ft_sam", "ft", f"clean_ratio={clean:g}")
        for clean in runs.CLEAN_RATIOS
    }
    return by_margins(margins, _over(found), _means(found))


def check_combined(results: Results) -> Verdict:
    """After pruning, FT-SAM leaves a lower ASR than FT, with both ways to prune."""
    found = _pairs(results, "table4")
    margins = {
        f"{style.title('defense', ft)} less {style.title('defense', sam)}": _gain(found, sam, ft)
        for ft, sam in (("fp", "pruning+ft_sam"), ("anp+ft", "anp+ft_sam"))
    }
    return by_margins(margins, _over(found), _means(found))


CLAIMS: list[Claim] = [
    Claim("alive", PAPER, "FT leaves triggers like Blended and LF alive, FT-SAM does not.", "Table 1", check_alive),
    Claim("lower", PAPER, "FT-SAM leaves a lower ASR than FT.", "Table 1", check_lower),
    Claim(
        "headline", PAPER, "FT-SAM lowers the ASR far below FT's at little cost in accuracy.", "Table 1", check_headline
    ),
    Claim("little_data", PAPER, "FT-SAM is better than FT at 10, 5 and 1 % clean data.", "Table 3", check_little_data),
    Claim("combined", PAPER, "Pruning followed by FT-SAM is better than followed by FT.", "Table 4", check_combined),
    Claim("rho", PAPER, "The ASR falls as rho grows.", "Figure 3", check_rho),
    Claim("norms", PAPER, "Backdoor-related neurons have larger weight norms.", "Figures 2 and 4", check_norms),
    Claim(
        "shrinks", PAPER, "FT-SAM shrinks the norms of backdoor-related neurons, FT does not.", "Figures 2, 4, 5",
        check_shrinks
    ),
]  # fmt: skip
