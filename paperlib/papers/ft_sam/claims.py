"""The claims of the FT-SAM paper, checked on our results; a backdoor that was not learned decides nothing."""

from dataclasses import replace

import numpy as np

from paperlib.experiments.specs import TrainSpec
from paperlib.papers import Results
from paperlib.papers.defense_table import DefenseTable, backdoored, defended, learned, over, paired
from paperlib.papers.ft_sam import runs
from paperlib.papers.ft_sam.figures import correlation, sweep
from paperlib.papers.ft_sam.runs import PAPER, RHOS
from paperlib.report import style
from paperlib.report.claims import Cases, Claim, NotRun, Verdict, in_all


def _learned(results: Results, ratio: float = 0.1) -> list[TrainSpec]:
    """The models of the attacks that every item has which have learned their backdoor."""
    names = runs.ATTACKS[results.scale.name]
    return learned(results, [backdoored(results.scale, name, ratio, results.seed) for name in names])


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


def check_headline(results: Results) -> Verdict:
    """Over the learned attacks of Table 1: mean ASR after FT-SAM at most a third of that after FT, at no more than 3
    points less C-Acc."""
    table = replace(runs.TABLES["table1"][results.scale.name], defenses=runs.FT)
    asr, reason = _means(results, table)
    c_acc, _ = _means(results, table, "c_acc")
    numbers = {
        f"mean {name} after {style.title('defense', defense)}": means[defense, ""]
        for defense in ("ft", "ft_sam")
        for name, means in (("ASR", asr), ("C-Acc", c_acc))
    }
    before, c_before, after, c_after = numbers.values()
    holds = after <= before / 3 and c_after >= c_before - 3
    return Verdict(holds, f"{reason}; at most a third of the ASR, at most 3 points of C-Acc", numbers)


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


def _means(results: Results, table: DefenseTable, metric: str = "asr") -> tuple[dict[tuple[str, str], float], str]:
    """(defense, setting) -> mean of ``metric`` over the learned attacks of ``table``, and which these are."""
    rates: dict[tuple[str, str], list[float]] = {}
    parents: dict[str, TrainSpec] = {}
    for cell, _, after in paired(results, table.cells(results.scale, results.seed)):
        rates.setdefault((cell.defense, cell.setting), []).append(after[metric])
        parents[cell.attack] = cell.parent
    if not rates:
        raise NotRun(f"no attack is learned at {results.scale.name} scale")
    return {name: float(np.mean(values)) for name, values in rates.items()}, over(parents.values())


def check_little_data(results: Results) -> Verdict:
    """FT-SAM beats FT at every amount of clean data."""
    means, reason = _means(results, runs.TABLES["table3"][results.scale.name])
    numbers: dict[str, float] = {}
    holds = True
    for clean in runs.CLEAN_RATIOS:
        ft, sam = (means[defense, f"clean_ratio={clean:g}"] for defense in ("ft", "ft_sam"))
        numbers |= {f"{100 * clean:g} % FT": ft, f"{100 * clean:g} % FT-SAM": sam}
        holds = holds and sam < ft
    return Verdict(holds, f"mean ASR {reason}", numbers)


def check_combined(results: Results) -> Verdict:
    """After pruning, FT-SAM leaves a lower mean ASR than FT."""
    means, reason = _means(results, runs.TABLES["table4"][results.scale.name])
    names = ("fp", "pruning+ft_sam", "anp+ft", "anp+ft_sam")
    numbers = {f"mean ASR, {style.title('defense', name)}": means[name, ""] for name in names}
    fp, fp_sam, anp, anp_sam = numbers.values()
    return Verdict(fp_sam < fp and anp_sam < anp, f"{reason}; lower with both ways to prune", numbers)


CLAIMS: list[Claim] = [
    Claim("alive", PAPER, "FT leaves triggers like Blended and LF alive, FT-SAM does not.", "Table 1", check_alive),
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
