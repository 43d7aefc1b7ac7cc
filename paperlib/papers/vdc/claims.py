"""The VDC paper's claims, as functions from results to a verdict."""

import numpy as np

from paperlib.papers import Results
from paperlib.papers.vdc.runs import (
    ATTACKS,
    ETA,
    JUDGED,
    LOW,
    NOISE,
    NOISES,
    PAPER,
    RETRAINED,
    cleaning,
    detections,
    dirt_title,
    fair_frame,
    got,
    name_of,
    noisy,
    retrainings,
    rule,
    same_data,
)
from paperlib.report import style
from paperlib.report.claims import Claim, NotRun, Verdict


def _every_kind(results: Results) -> Verdict:
    found = got(results, "poisoned,noisy")
    rates = {f"TPR {name_of(name)}": float(result["tpr"]) for _, name, _, result in found}
    return Verdict(
        min(rates.values()) >= 86, f"lowest TPR of {len(found)} sets, poisoned and noisy, against 86 %",
        {"lowest TPR": min(rates.values()), "highest": max(rates.values())},
    )  # fmt: skip


def _asked_for(results: Results) -> Verdict:
    found = [result for *_, result in got(results, "poisoned,noisy") if result["target_fpr"]]
    if not found:
        raise NotRun("no threshold was set for a share of false alarms")
    off = [abs(float(result["fpr"]) - 100 * result["target_fpr"]) for result in found]
    return Verdict(
        max(off) <= 2, f"largest distance of FPR from what was asked, over {len(found)} sets, against 2 points",
        {"asked": 100 * found[0]["target_fpr"], "largest distance": max(off)},
    )  # fmt: skip


def _steadier(results: Results) -> Verdict:
    """Lowest TPR over the triggers on which VDC and every baseline were run."""
    scale, seed = results.scale, results.seed
    rates: dict[str, dict[str, float]] = {"vdc": {}}
    for attack in JUDGED[scale.plans]:
        if (result := results.get(same_data(scale, attack, seed=seed))) is not None:
            rates["vdc"][attack] = result["tpr"]
    for dirt, name, spec in detections(scale, seed):
        if dirt in ATTACKS and (result := results.get(spec)) is not None:
            rates.setdefault(name, {})[dirt] = result["tpr"]
    several = {name: found for name, found in rates.items() if len(found) > 1}
    shared = set.intersection(*map(set, several.values())) if "vdc" in several and len(several) > 1 else set()
    if len(shared) < 2:
        raise NotRun("VDC and its baselines on the same two triggers at least are needed")
    lowest = {name: min(found[attack] for attack in shared) for name, found in several.items()}
    low = lowest.pop("vdc")
    best = max(lowest, key=lambda name: lowest[name])
    return Verdict(
        low > lowest[best], f"lowest TPR over {len(shared)} triggers; the best of {len(lowest)} baselines is "
        f"{style.title('detector', best)}",
        {"VDC": low, style.title("detector", best): lowest[best]},
    )  # fmt: skip


def _both_noises(results: Results) -> Verdict:
    one, other = (float(results.need(noisy(results.scale, noise, seed=results.seed))["tpr"]) for noise in NOISES)
    return Verdict(
        abs(one - other) <= 5,
        "TPR on symmetric and on asymmetric noise, at most 5 points apart",
        {"symmetric": one, "asymmetric": other},
    )


def _noise_baselines(results: Results) -> Verdict:
    """On the same features; a rule that flags nothing or everything has failed, and this project's own default is no
    baseline of the paper's."""
    frame = fair_frame(results)
    frame = frame[(frame.noise == dirt_title(NOISES[0], NOISE)) & (frame.failed == "") & (frame.method != "given")]
    found = frame.set_index("method").f1
    others = found.drop("vdc", errors="ignore")
    if "vdc" not in found or others.empty:
        raise NotRun("VDC and a detector of wrong labels on the same features are needed")
    best = str(others.idxmax())
    return Verdict(
        bool(found["vdc"] > others[best]),
        f"F1 on symmetric noise, all on the same features; the best of {len(others)} baselines is"
        f" {style.title('detector', best)}",
        {"VDC": float(found["vdc"]), style.title("detector", best): float(others[best])},
    )


def _at_once(results: Results) -> Verdict:
    found = got(results, "hybrid")
    losses = []
    for _, name, _, result in found:
        attack, noise = name.split("+")
        alone = (
            results.need(cleaning(results.scale, attack, seed=results.seed)),
            results.need(noisy(results.scale, noise, seed=results.seed)),
        )
        losses += [
            alone[0]["tpr"] - result["kinds"]["poisoned"]["flagged"],
            alone[1]["tpr"] - result["kinds"]["noisy"]["flagged"],
        ]
    return Verdict(
        max(losses) <= 5,
        f"largest loss of TPR against each kind alone, {len(found)} hybrids",
        {"points lost": float(max(losses))},
    )


def _kinds(results: Results) -> Verdict:
    found = got(results, "poisoned,noisy")

    def mean(general: bool, specific: bool) -> float:
        values = []
        for *_, result in found:
            rows = [r for r in result["subsets"] if bool(r["general"]) == general and bool(r["specific"]) == specific]
            values.append(max(rows, key=lambda r: r["general"] + r["specific"])["auroc_logit_mean"])
        return float(np.mean(values))

    both, one, other = mean(True, True), mean(True, False), mean(False, True)
    return Verdict(
        both >= max(one, other), f"mean AUROC over {len(found)} sets",
        {"both": both, "general only": one, "specific only": other},
    )  # fmt: skip


def _low_ratio(results: Results) -> Verdict:
    found = got(results, "few")
    usual = [float(results.need(cleaning(results.scale, name, seed=results.seed))["tpr"]) for _, name, *_ in found]
    few = [float(result["tpr"]) for *_, result in found]
    return Verdict(
        bool(abs(np.mean(few) - np.mean(usual)) <= 5),
        f"mean TPR over {len(found)} triggers at two ratios, at most 5 points apart",
        {f"at {100 * LOW:g} %": float(np.mean(few)), f"at {100 * ETA:g} %": float(np.mean(usual))},
    )


def _retrained(results: Results) -> Verdict:
    specs = retrainings(results.scale, results.seed)
    dirty, vdc, truth = (results.need(specs[RETRAINED, name]) for name in ("dirty", "vdc", "truth"))
    return Verdict(
        vdc["asr"] < 10 + truth["asr"],
        f"ASR after training on what VDC left of {style.title('attack', RETRAINED)}, within 10 points of the truly "
        f"clean set's",
        {"uncleaned": dirty["asr"], "cleaned": vdc["asr"], "truly clean": truth["asr"],
        "poisoned images left": vdc["n_poisoned"]},
    )  # fmt: skip


def _accuracy(results: Results) -> Verdict:
    specs = retrainings(results.scale, results.seed)
    if (NOISES[0], "vdc") not in specs:
        raise NotRun(f"nothing is trained on cleaned labels at {results.scale.name} scale")
    dirty, vdc = (results.need(specs[NOISES[0], name]) for name in ("dirty", "vdc"))
    return Verdict(
        vdc["c_acc"] > dirty["c_acc"], "C-Acc after training with symmetric noise, without and with VDC",
        {"uncleaned": dirty["c_acc"], "cleaned": vdc["c_acc"]},
    )  # fmt: skip


def _probability(results: Results) -> Verdict:
    found = got(results, "poisoned,noisy")
    vote, logit = (
        float(np.mean([rule(r, score, 0.5)["auroc"] for *_, r in found])) for score in ("vote", "logit_mean")
    )
    return Verdict(logit > vote, f"mean AUROC over {len(found)} sets", {"mean logit": logit, "vote": vote})


def _limit(results: Results) -> Verdict:
    """Each attack for itself: what one trigger's damage shows says nothing about another."""
    changed = float(np.mean([result["tpr"] for *_, result in got(results, "poisoned")]))
    rates = {style.title("attack", name): float(r["tpr"]) for _, name, _, r in got(results, "clean label")}
    return Verdict(
        max(rates.values()) < changed / 2,
        f"TPR on each of {len(rates)} attacks that keep the label, less than half of the mean on triggers that"
        " change it",
        {**rates, "label changed": changed},
    )


CLAIMS = [
    Claim("every_kind", PAPER, "VDC finds poisoned and wrongly labelled images alike: TPR of at least 86 % on every "
    "set", "Tables 1 and 3; the number is ours", _every_kind),
    Claim("steadier", PAPER, "Over the triggers VDC's lowest TPR is above that of every baseline", "Table 1",
    _steadier),
    Claim("both_noises", PAPER, "Symmetric and asymmetric noise are equally easy for VDC", "Table 3", _both_noises),
    Claim("noise_baselines", PAPER, "VDC's F1 on wrong labels is above that of every baseline",
    "Table 3 (F1 and equal terms are ours)", _noise_baselines),
    Claim("hybrid", PAPER, "Both kinds of dirt at once are found as well as each alone", "abstract", _at_once),
    Claim("kinds", PAPER, "General and specific questions together are at least as good as each kind alone", "Figure 2",
    _kinds),
    Claim("low_ratio", PAPER, "VDC's TPR does not depend on the poisoning ratio", "Tables 13 and 14", _low_ratio),
    Claim("retraining", PAPER, "A classifier trained on the cleaned set has no working backdoor", "table of retraining",
    _retrained),
    Claim("accuracy", PAPER, "Removing what VDC flags makes a classifier trained with wrong labels better",
    "table of retraining", _accuracy),
    Claim("asked_for", PAPER, "FPR lies within 2 points of what was asked for", "ours", _asked_for),
    Claim("probability", PAPER, "The mean logit ranks dirty samples better than the vote", "ours", _probability),
    Claim("limit", PAPER, "Attacks that keep the label are largely out of reach", "ours", _limit),
]  # fmt: skip
