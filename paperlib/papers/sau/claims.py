"""The claims of the SAU paper, checked on our results; a backdoor that was not learned decides nothing."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from paperlib.experiments.specs import TrainSpec
from paperlib.papers import Results
from paperlib.papers.defense_table import Victim, backdoored, defended, der_of, learned, over, paired, victims
from paperlib.papers.sau import runs
from paperlib.papers.sau.runs import PAPER, STAGES
from paperlib.papers.sau.tables import TABLES
from paperlib.report import style
from paperlib.report.claims import Cases, Claim, NotRun, Verdict, by_margins, in_all, margin

Pair = tuple[dict[str, Any], dict[str, Any]]
"""Results of the backdoored and of the purified model."""


def _learned(results: Results, attacks: Iterable[str]) -> list[TrainSpec]:
    return learned(results, [backdoored(results.scale, name, seed=results.seed) for name in attacks])


def _title(parent: TrainSpec) -> str:
    return style.title("attack", parent.attack)


def check_best(results: Results) -> Verdict:
    """SAU has a higher DER and R-Acc than each of the defenses that were run."""
    table = runs.MAIN[results.scale.plans]
    found = victims(results, lambda seed: table.cells(results.scale, seed))
    measures: dict[str, Callable[[Victim, str], float]] = {
        "DER": Victim.der,
        "R-Acc": lambda victim, defense: float(victim.after[defense, ""]["r_acc"]),
    }
    numbers, margins = {}, {}
    for defense in table.defenses:
        for metric, of in measures.items():
            name = f"{style.title('defense', defense)} {metric}"
            numbers[name] = float(np.mean([of(victim, defense) for victim in found]))
            if defense != "sau":
                margins[f"SAU less {name}"] = margin(of(victim, "sau") - of(victim, defense) for victim in found)
    return by_margins(margins, over([victim.parent for victim in found]), numbers)


@in_all("at most a tenth of the undefended ASR, for every learned attack")
def check_low(results: Results) -> Cases:
    """After SAU every attack's ASR is at most a tenth of the undefended one."""
    for parent in _learned(results, runs.MAIN[results.scale.plans].attacks):
        after = results.need(defended(results.scale, parent, "sau"))["asr"]
        yield after <= results.need(parent)["asr"] / 10, {f"{_title(parent)} ASR after SAU": after}


def check_bound(results: Results) -> Verdict:
    """R_bd <= R_sub <= R_adv at every epoch of SAU."""
    curve = results.need(runs.curve_spec(results.scale, "blended", "A+B", results.seed))
    chains = list(zip(curve["backdoor"], curve["sub"], curve["adversarial"], strict=True))
    holds = all(a <= b + 1e-9 and b <= c + 1e-9 for a, b, c in chains)
    numbers = {
        "largest R_bd - R_sub": max(a - b for a, b, _ in chains),
        "largest R_sub - R_adv": max(b - c for _, b, c in chains),
        "epochs": float(len(chains)),
    }
    return Verdict(holds, "Blended; the maxima over S are estimated from below, which can only hurt the claim", numbers)


@in_all("number of examples of type I that SAU's own search finds; at most half")
def check_shared(results: Results) -> Cases:
    """SAU removes shared adversarial examples: at least half of those that the backdoored model has."""
    specs = runs.risk_specs(results.scale, results.seed)
    for parent in _learned(results, runs.WATCHED):
        counts = results.need(specs[parent.attack])["types"]["shared"]
        before, after = counts[0][0], counts[STAGES.index("sau")][0]
        yield after <= before / 2, {f"{_title(parent)} before": before, f"{_title(parent)} after SAU": after}


@in_all("A+B against C+B in ASR, and against A+D in C-Acc, at the last epoch")
def check_ablation(results: Results) -> Cases:
    """The inner problem (A) lowers the ASR, the outer one (B) keeps the accuracy."""
    curves = {key: results.need(spec) for key, spec in runs.curves(results.scale, results.seed).items()}
    for attack in runs.ABLATED[results.scale.plans]:
        for measure, title, other in (("asr", "ASR", "C+B"), ("c_acc", "C-Acc", "A+D")):
            ours, theirs = (curves[attack, name][measure][-1] for name in ("A+B", other))
            name = style.title("attack", attack)
            better = ours < theirs if measure == "asr" else ours > theirs
            yield better, {f"{name} A+B {title}": ours, f"{name} {other} {title}": theirs}


@in_all("ASR at most a fifth of the undefended one with the most and the fewest images")
def check_few(results: Results) -> Cases:
    """With fewer clean images the accuracy falls, and the ASR stays low down to 50."""
    (table,) = TABLES["table23"].at(results.scale)
    kept = [n for n in table.clean(results.scale).values() if n >= 50 or results.scale.plans == "smoke"]
    for parent in _learned(results, table.attacks):
        title, before = _title(parent), results.need(parent)["asr"]
        found = {n: results.need(defended(results.scale, parent, "sau", n_clean=n)) for n in (kept[0], kept[-1])}
        for n, one in found.items():
            yield (
                one["asr"] <= before / 5,
                {f"{title} C-Acc with {n}": one["c_acc"], f"{title} ASR with {n}": one["asr"]},
            )
        yield found[kept[-1]]["c_acc"] < found[kept[0]]["c_acc"], {}


def check_near(results: Results) -> Verdict:
    """Shared adversarial examples lie nearer to the poisoned image than the others."""
    _learned(results, ("badnets",))
    found = results.need(runs.feature_spec(results.scale, results.seed))
    if not found["shared"] or not found["other"]:
        raise NotRun(f"at {results.scale.name} scale the search found no example of one of the two kinds")
    numbers = {f"mean distance, {kind}": float(np.mean(found[kind])) for kind in ("shared", "other", "clean")}
    holds = numbers["mean distance, shared"] < numbers["mean distance, other"]
    return Verdict(holds, "BadNets, in the features of the backdoored model", numbers)


@in_all("lowest ASR, and at most 3.5 points of C-Acc (the largest printed cost) below SAU")
def check_ensemble(results: Results) -> Cases:
    """Ensemble SAU has the lowest ASR of the three perturbation sets, at a small cost in accuracy."""
    for parent in _learned(results, TABLES["table13"].at(results.scale)[0].attacks):
        found = {name: results.need(defended(results.scale, parent, name)) for name in runs.NORMS}
        titles = {name: f"{_title(parent)} {style.title('defense', name)}" for name in found}
        sau, ensemble = found["sau"], found["sau_ensemble"]
        lowest = ensemble["asr"] <= min(one["asr"] for one in found.values())
        numbers = {f"{titles[name]} ASR": one["asr"] for name, one in found.items()}
        numbers |= {f"{titles[name]} C-Acc": one["c_acc"] for name, one in found.items()}
        yield lowest and ensemble["c_acc"] >= sau["c_acc"] - 3.5, numbers


def _after_sau(results: Results, id_: str) -> dict[tuple[str, str], Pair]:
    """(attack, setting) -> results before and after SAU, of the cells of table ``id_`` whose backdoor was learned.

    Raises
    ------
    NotRun
        Fewer than two cells are planned at this scale, a result is missing, or no backdoor was learned.
    """
    planned = [cell for cell in TABLES[id_].cells(results.scale, results.seed) if cell.defense == "sau"]
    if len(planned) < 2:
        raise NotRun(f"nothing to compare is run at {results.scale.name} scale")
    found = {
        (_title(cell.parent), style.title("setting", cell.setting)): (before, after)
        for cell, before, after in paired(results, planned)
    }
    if not found:
        raise NotRun(f"no backdoor was learned at {results.scale.name} scale")
    return found


def check_tiny(results: Results) -> Verdict:
    """Tiny ImageNet: WaNet stays above half of its ASR, the others fall to at most a tenth."""
    found = _after_sau(results, "table4")
    kept = {attack: after["asr"] / before["asr"] for (attack, _), (before, after) in found.items()}
    if "WaNet" not in kept:
        raise NotRun("WaNet was not learned")
    numbers = {f"{attack} ASR after SAU": after["asr"] for (attack, _), (_, after) in found.items()}
    holds = kept.pop("WaNet") > 0.5 and max(kept.values(), default=0.0) <= 0.1
    return Verdict(holds, "WaNet above half of its ASR, whose trigger leaves S; all others at most a tenth", numbers)


@in_all("at most a tenth of the undefended ASR, at every pixel value that was learned")
def check_pixel(results: Results) -> Cases:
    """BadNets falls to at most a tenth of its ASR at every pixel value."""
    for (_, setting), (before, after) in _after_sau(results, "table12").items():
        yield after["asr"] <= before["asr"] / 10, {f"{setting} ASR after SAU": after["asr"]}


@in_all("at most a tenth of the undefended ASR, at most two points of C-Acc below it")
def check_adaptive(results: Results) -> Cases:
    """The ASR of an attacker who trains adversarially falls to at most a tenth, C-Acc by at most two points."""
    for (attack, _), (before, after) in _after_sau(results, "table15").items():
        change = after["c_acc"] - before["c_acc"]
        holds = after["asr"] <= before["asr"] / 10 and change >= -2
        yield holds, {f"{attack} ASR after SAU": after["asr"], f"{attack} change of C-Acc": change}


@in_all("at most a tenth of the undefended ASR, for both triggers")
def check_two(results: Results) -> Cases:
    """Both triggers of one training set fall to at most a tenth of their ASR."""
    for (attack, _), (before, after) in _after_sau(results, "table24").items():
        for rate, title in (("asr", "ASR-1"), ("asr_2", "ASR-2")):
            yield after[rate] <= before[rate] / 10, {f"{attack} {title} after SAU": after[rate]}


def check_configurations(results: Results) -> Verdict:
    """The mean DERs of the default and of our other configurations lie within two points."""
    ders: dict[str, list[float]] = {}
    for (_, setting), pair in _after_sau(results, "table22").items():
        ders.setdefault(setting, []).append(der_of(*pair))
    numbers = {f"DER of {setting}": float(np.mean(values)) for setting, values in ders.items()}
    spread = max(numbers.values()) - min(numbers.values())
    return Verdict(spread <= 2, "mean DERs within 2 points (0.4 in print); all but the first are ours", numbers)


def check_rnp(results: Results) -> Verdict:
    """SAU has the higher DER."""
    if not TABLES["table27"].cells(results.scale, results.seed):
        raise NotRun(f"RNP is not run at {results.scale.name} scale")
    found = victims(results, lambda seed: TABLES["table27"].cells(results.scale, seed))
    ders = {
        name: [float(np.mean([v.der(*key) for key in v.after if key[0] == name])) for v in found]
        for name in ("rnp", "sau")
    }
    numbers = {f"mean DER of {style.title('defense', name)}": float(np.mean(values)) for name, values in ders.items()}
    margins = {"SAU less RNP": margin(sau - rnp for rnp, sau in zip(ders["rnp"], ders["sau"], strict=True))}
    return by_margins(margins, over([v.parent for v in found]), numbers)


CLAIMS: list[Claim] = [
    Claim(name, PAPER, text, where, check)
    for name, text, where, check in (
        ("best", "SAU has the best average DER and R-Acc.", "Table 3", check_best),
        ("low", "SAU lowers the ASR of every attack to a few percent.", "Table 3", check_low),
        ("bound", "Backdoor risk <= sub-adversarial risk <= adversarial risk.", "Proposition 3", check_bound),
        ("shared", "SAU unlearns shared adversarial examples.", "Table 1, Figure 2", check_shared),
        ("near", "Shared adversarial examples lie nearer to the poisoned image.", "Figure 4", check_near),
        ("ablation", "The inner problem lowers the ASR, the outer keeps the accuracy.", "Table 6", check_ablation),
        ("few", "The ASR stays low down to 50 clean images; the accuracy falls.", "Table 23", check_few),
        ("ensemble", "An ensemble of perturbation sets lowers the ASR further.", "Table 13", check_ensemble),
        ("tiny", "On Tiny ImageNet SAU fails on WaNet only, whose trigger leaves S.", "Table 4", check_tiny),
        ("pixel", "SAU removes BadNets whatever the pixel value of its square.", "Table 12", check_pixel),
        ("adaptive", "SAU works on models of an attacker who trained adversarially.", "Table 15", check_adaptive),
        ("configurations", "SAU depends little on its configuration.", "Table 22", check_configurations),
        ("two", "SAU removes both of two triggers with different targets.", "Table 24", check_two),
        ("rnp", "SAU beats RNP on average.", "Table 27", check_rnp),
    )
]
