"""The claims of the NPD paper, checked on our results."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from paperlib.papers import Results
from paperlib.papers.defense_table import Cell, Victim, der_of, over, victims
from paperlib.papers.polarizer import runs
from paperlib.papers.polarizer.runs import PAPER
from paperlib.papers.polarizer.tables import TABLES
from paperlib.report import style
from paperlib.report.claims import Cases, Claim, Verdict, by_margins, in_all, margin

Pair = tuple[dict[str, Any], dict[str, Any]]
"""Results of the backdoored and of the purified model."""


def _by_attack(results: Results, cells: Iterable[Cell], names: Sequence[str]) -> dict[str, list[Pair]]:
    """Attack as printed -> results of its cells whose setting, or else defense, is one of ``names``, in their order."""
    out: dict[str, dict[str, Pair]] = {}
    for cell in cells:
        if (name := cell.setting or cell.defense) in names:
            pair = results.need(cell.parent), results.need(cell.spec)
            out.setdefault(style.title("attack", cell.attack), {})[name] = pair
    return {attack: [found[name] for name in names] for attack, found in out.items()}


def _run(results: Results, defenses: Sequence[str], attacks: Sequence[str] = ()) -> list[Victim]:
    """The models of Table 1 (of ``attacks``) that have learned their backdoor, with what ``defenses`` make of them."""
    main = runs.MAIN[results.scale.plans]
    table = replace(main, attacks=tuple(attacks or main.attacks), defenses=tuple(defenses))
    return victims(results, lambda seed: table.cells(results.scale, seed))


def _over(found: list[Victim]) -> str:
    return over([victim.parent for victim in found])


def _ders(found: list[Victim], defenses: Iterable[str]) -> dict[str, float]:
    return {f"mean DER, {style.title('defense', d)}": float(np.mean([v.der(d) for v in found])) for d in defenses}


def check_best(results: Results) -> Verdict:
    """NPD has a higher DER than each of the defenses that are not told the target."""
    defenses = runs.MAIN[results.scale.plans].defenses
    found = _run(results, defenses)
    margins = {
        f"NPD less {style.title('defense', name)}": margin(v.der("npd") - v.der(name) for v in found)
        for name in defenses
        if name != "npd"
    }
    return by_margins(margins, f"DER {_over(found)}", _ders(found, defenses))


def check_removes(results: Results) -> Verdict:
    """NPD brings the ASR below a tenth of the undefended one, and costs at most 3 points of C-Acc."""
    found = _run(results, ["npd"])
    pairs = [(v.before, v.after["npd", ""]) for v in found]
    numbers = {
        f"mean {title} {when}": float(np.mean([pair[k][key] for pair in pairs]))
        for key, title in (("asr", "ASR"), ("c_acc", "C-Acc"))
        for k, when in enumerate(("undefended", "after NPD"))
    }
    margins = {
        "a tenth of the undefended ASR less NPD's": margin(b["asr"] / 10 - a["asr"] for b, a in pairs),
        "C-Acc after NPD less before, plus 3": margin(a["c_acc"] - b["c_acc"] + 3 for b, a in pairs),
    }
    return by_margins(margins, _over(found), numbers)


def check_informed(results: Results) -> Verdict:
    """Knowing the target does not hurt: the DER of TU and TP is at least NPD's less one point."""
    found = _run(results, (*runs.INFORMED, "npd"), runs.TOLD[results.scale.plans])
    margins = {
        f"{style.title('defense', name)} less NPD, plus 1": margin(v.der(name) - v.der("npd") + 1 for v in found)
        for name in runs.INFORMED
    }
    return by_margins(margins, f"DER {_over(found)}", _ders(found, (*runs.INFORMED, "npd")))


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
    table = runs.FIGURE3[results.scale.plans]
    ends = (table.settings[0].name, runs.DEFAULT_PLACE)
    for attack, pairs in _by_attack(results, table.cells(results.scale, results.seed), ends).items():
        first, last = (der_of(*pair) for pair in pairs)
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
