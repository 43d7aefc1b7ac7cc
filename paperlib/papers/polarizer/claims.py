"""The claims of the NPD paper, checked on our results."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from paperlib.experiments.specs import TrainSpec
from paperlib.metrics import der, der_of_averages
from paperlib.papers import Results
from paperlib.papers.defense_table import Cell, backdoored, defended, learned, names_of, over
from paperlib.papers.polarizer import runs
from paperlib.papers.polarizer.runs import PAPER
from paperlib.papers.polarizer.tables import TABLES
from paperlib.report import style
from paperlib.report.claims import Cases, Claim, NotRun, Verdict, in_all

Pair = tuple[dict[str, Any], dict[str, Any]]
"""Results of the backdoored and of the purified model."""


def _learned(results: Results) -> list[TrainSpec]:
    """The models of Table 1 that have learned their backdoor."""
    names = runs.MAIN[results.scale.name].attacks
    return learned(results, [backdoored(results.scale, name, seed=results.seed) for name in names])


def _after(results: Results, parents: Iterable[TrainSpec], defense: str = "npd") -> list[Pair]:
    return [(results.need(p), results.need(defended(results.scale, p, defense))) for p in parents]


def _by_attack(results: Results, cells: Iterable[Cell], names: Sequence[str]) -> dict[str, list[Pair]]:
    """Attack as printed -> results of its cells whose setting, or else defense, is one of ``names``, in their order."""
    out: dict[str, dict[str, Pair]] = {}
    for cell in cells:
        if (name := cell.setting or cell.defense) in names:
            pair = results.need(cell.parent), results.need(cell.spec)
            out.setdefault(style.title("attack", cell.attack), {})[name] = pair
    return {attack: [found[name] for name in names] for attack, found in out.items()}


def _mean_der(pairs: list[Pair]) -> float:
    lists = [[pair[side][key] for pair in pairs] for side in (0, 1) for key in ("c_acc", "asr")]
    return der_of_averages(*lists, unit="percent")


def check_best(results: Results) -> Verdict:
    """NPD has the highest average DER of the defenses that are not told the target."""
    parents = _learned(results)
    ders = {name: _mean_der(_after(results, parents, name)) for name in runs.MAIN[results.scale.name].defenses}
    numbers = {f"DER of means, {style.title('defense', name)}": value for name, value in ders.items()}
    return Verdict(max(ders.values()) == ders["npd"], f"{over(parents)}; the highest is NPD's", numbers)


def check_removes(results: Results) -> Verdict:
    """NPD brings the average ASR below a tenth of the undefended one, and costs at most 3 points of C-Acc."""
    parents = _learned(results)
    pairs = _after(results, parents)
    numbers = {
        f"mean {title} {when}": float(np.mean([pair[k][key] for pair in pairs]))
        for key, title in (("asr", "ASR"), ("c_acc", "C-Acc"))
        for k, when in enumerate(("undefended", "after NPD"))
    }
    asr_before, asr_after, acc_before, acc_after = numbers.values()
    holds = asr_after <= asr_before / 10 and acc_after >= acc_before - 3
    return Verdict(holds, f"{over(parents)}; at most a tenth of the ASR, at most 3 points of C-Acc", numbers)


def check_informed(results: Results) -> Verdict:
    """Knowing the target does not hurt: the average DER of TU and TP is at least NPD's less one point."""
    parents = [parent for parent in _learned(results) if parent.attack in runs.TOLD[results.scale.name]]
    if not parents:
        raise NotRun("TU and TP were run on no learned attack")
    ders = {name: _mean_der(_after(results, parents, name)) for name in (*runs.INFORMED, "npd")}
    numbers = {f"DER of means, {style.title('defense', name)}": value for name, value in ders.items()}
    holds = min(ders[name] for name in runs.INFORMED) >= ders["npd"] - 1
    return Verdict(holds, f"over {names_of(parents)}; both at least NPD's less 1 point", numbers)


@in_all("NPD's is the lowest of the three on every attack")
def check_targeted(results: Results) -> Cases:
    """Targeted perturbations leave a lower ASR than untargeted ones."""
    names = ("npd", "npd_up", "npd_uu")
    for attack, pairs in _by_attack(results, TABLES["table4"].cells(results.scale, results.seed), names).items():
        rates = [after["asr"] for _, after in pairs]
        numbers = {f"{attack} ASR, {style.title('defense', n)}": rate for n, rate in zip(names, rates, strict=True)}
        yield rates[0] < min(rates[1:]), numbers


def check_nearer(results: Results) -> Verdict:
    """A targeted perturbation lies nearer to the trigger, in feature space, than an untargeted one."""
    found = results.need(runs.perturbation_spec(results.scale, "blended", results.seed))
    distance = dict(zip(found["kinds"], found["distance"], strict=True))
    numbers = {f"Blended, distance {k}": distance[k] for k in ("targeted", "known", "untargeted")}
    holds = distance["targeted"] < distance["untargeted"]
    return Verdict(holds, f"mean L2 over {found['n']} images, towards y' and away from y", numbers)


@in_all("L_bn alone leaves half of the undefended ASR, all terms at most a tenth")
def check_losses(results: Results) -> Cases:
    """Without the losses on perturbed images the backdoor stays: L_bn alone leaves at least half of the ASR, all terms
    a tenth."""
    ends = ("losses=L_bn only", "losses=all")
    for attack, pairs in _by_attack(results, TABLES["table3"].cells(results.scale, results.seed), ends).items():
        (before, alone), (_, everything) = pairs
        holds = alone["asr"] >= before["asr"] / 2 and everything["asr"] <= before["asr"] / 10
        yield holds, {f"{attack} ASR, L_bn only": alone["asr"], f"{attack} ASR, all": everything["asr"]}


@in_all("the default place against the first one")
def check_deeper(results: Results) -> Cases:
    """The deepest place has a higher DER than the shallowest."""
    table = runs.FIGURE3[results.scale.name]
    ends = (table.settings[0].name, runs.DEFAULT_PLACE)
    for attack, pairs in _by_attack(results, table.cells(results.scale, results.seed), ends).items():
        first, last = (float(der(b["c_acc"], b["asr"], a["c_acc"], a["asr"], unit="percent")) for b, a in pairs)
        yield last > first, {f"{attack} DER at {ends[0]}": first, f"{attack} DER at {ends[1]}": last}


@in_all("ASR of Conv-BN below that of Linear on every attack")
def check_structure(results: Results) -> Cases:
    """Convolution and batch norm remove more than an elementwise layer."""
    ends = ("structure=NPD Conv-BN", "structure=Linear")
    for attack, pairs in _by_attack(results, TABLES["table13"].cells(results.scale, results.seed), ends).items():
        conv, linear = (after["asr"] for _, after in pairs)
        yield conv < linear, {f"{attack} ASR, Conv-BN": conv, f"{attack} ASR, Linear": linear}


@in_all("with the fewest clean images at most a fifth of the undefended ASR")
def check_few(results: Results) -> Cases:
    """NPD still works with the fewest clean images of Table 6."""
    cells = [cell for cell in TABLES["table6"].cells(results.scale, results.seed) if cell.defense == "npd"]
    fewest = cells[-1].setting
    n = fewest.removeprefix("clean_samples=")
    for attack, ((before, after),) in _by_attack(results, cells, (fewest,)).items():
        numbers = {f"{attack} ASR undefended": before["asr"], f"{attack} ASR with {n} images": after["asr"]}
        yield after["asr"] <= before["asr"] / 5, numbers


def check_fast(results: Results) -> Verdict:
    """NPD is the fastest of the defenses of Table 9."""
    taken: dict[str, list[float]] = {}
    for cell in runs.timed(results.scale, results.seed):
        if cell.defense in (*runs.BASELINES, "npd"):
            taken.setdefault(cell.defense, []).append(results.need(cell.spec)["seconds"])
    mean = {name: float(np.mean(values)) for name, values in taken.items()}
    numbers = {f"seconds, {style.title('defense', name)}": value for name, value in mean.items()}
    return Verdict(min(mean.values()) == mean["npd"], "mean over attacks of one run each", numbers)


CLAIMS: list[Claim] = [
    Claim(name, PAPER, text, where, check)
    for name, text, where, check in (
        ("removes", "One small layer removes the backdoor at little cost in accuracy.", "Table 1", check_removes),
        ("best", "NPD has the best average DER of the defenses that do not know the target.", "Table 1", check_best),
        ("informed", "Told the true target, TU and TP are at least as good.", "Table 1", check_informed),
        ("losses", "The losses on perturbed images are what removes the backdoor.", "Table 3", check_losses),
        ("targeted", "Targeted perturbations beat untargeted ones.", "Table 4", check_targeted),
        (
            "nearer",
            "A targeted perturbation resembles the trigger, an untargeted one does not.",
            "Figure 4",
            check_nearer,
        ),
        ("few", "NPD works with few clean images.", "Table 6", check_few),
        ("fast", "NPD is faster than the other defenses on CIFAR-10.", "Table 9", check_fast),
        (
            "structure",
            "A convolution with batch norm is better than an elementwise layer.",
            "Table 13",
            check_structure,
        ),
        ("deeper", "The polarizer works best deep in the network.", "Figure 3, Table 15", check_deeper),
    )
]
