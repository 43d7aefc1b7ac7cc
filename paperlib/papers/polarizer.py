"""The NPD paper (NeurIPS 2023, arXiv 2306.16697): grid, tables, figures and claims of notebook 04.

Attack setting: eight attacks, 10 % poisoning, target class 0, PreAct-ResNet18; the defender holds 5 % clean images. A scale
runs a slice of it (:mod:`paperlib.papers.polarizer_runs`), on the same models as the benchmark's grid
(:mod:`paperlib.papers.benchmark_runs`); the paper scale plans all of it. Tables on other data sets and models show their printed half where a scale does not run them.

The paper's average DER is the DER of the average ACC and ASR; the mean of the DERs, SAU's rule, stands beside it.

Differences from the paper
1. Single runs; the paper prints means of five.
2. The loss terms of Table 3's rows are our reading: only the last row's label is certain.
3. Table 5's ratios and Figure 3's attacks are not known; ours are stated. Figure 3 counts places before a convolution of the
   main branch; the shortcut of the block goes round the polarizer, as in the paper's default place.
4. Table 15's places are not named; ours are in :data:`~paperlib.papers.polarizer_runs.PLACES`. Inception-V3 is not among the
   models.
5. How the attackers of Table 7 train is not printed; ours do as those of SAU's paper (:func:`paperlib.experiments.plan.adversarially`).
6. Table 9 also times every other defense of the benchmark's grid, with seconds of this scale.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from paperlib.experiments import plan as ex
from paperlib.metrics import der, der_of_averages, mean_of_ders
from paperlib.papers import Item, Results
from paperlib.papers import polarizer_runs as runs
from paperlib.papers import polarizer_views as views
from paperlib.papers.benchmark_runs import LEARNED
from paperlib.papers.polarizer_views import drawn
from paperlib.papers.shared import PRINTED_DATASETS, stand_ins, where
from paperlib.report import compare, style, tables
from paperlib.report.artefact import Artefact
from paperlib.report.claims import Claim, NotRun, Verdict
from paperlib.report.published import published

PAPER = runs.PAPER


# ------------------------------------------------------------------------------------------------------- wording


def _names(attacks: Iterable[str]) -> str:
    return ", ".join(style.title("attack", name) for name in dict.fromkeys(attacks)) or "none"


def _count(ran: Iterable[str], printed: Sequence[str] = runs.PRINTED_ATTACKS) -> str:
    found = list(dict.fromkeys(ran))
    theirs, ours = [n for n in found if n in printed], [n for n in found if n not in printed]
    more = f", and {_names(ours)}, without a printed value here" if ours else ""
    return f"{len(theirs)} of {len(printed)} attacks ({_names(theirs)}){more}"


def _tidy(results: Results, cells: Iterable[runs.Cell], metrics: Sequence[str]) -> pd.DataFrame:
    """Tidy rows of the cells that have a result; DER against the backdoored model."""
    rows = []
    for attack, defense, setting, spec, parent in cells:
        result, before = results.get(spec), results.get(parent)
        if result is None or before is None:
            continue
        values = {"ACC": result["c_acc"], "ASR": result["asr"]}
        if defense != "none" and "DER" in metrics:
            values["DER"] = der(before["c_acc"], before["asr"], result["c_acc"], result["asr"], unit="percent")
        where = {"dataset": PRINTED_DATASETS.get(parent.dataset, parent.dataset), "model": parent.model}
        rows += [
            {**where, "ratio": parent.ratio, "attack": attack, "defense": defense, "setting": setting, "metric": metric,
             "value": value, "n_seeds": 1}
            for metric, value in values.items()
        ]  # fmt: skip
    return pd.DataFrame(rows, columns=[*compare.KEYS, "value", "n_seeds"])


def not_learned(results: Results, attacks: Iterable[str]) -> str:
    """A sentence that names the attacks that were run and not learned; empty if there are none."""
    missing = []
    for parent in runs.parents(results.scale, attacks, results.seed):
        found = results.get(parent)
        if found is not None and found["asr"] < LEARNED:
            missing.append(f"{style.title('attack', parent.attack)} (ASR {found['asr']:.1f})")
    return f"Not learned at this scale, so that a defense shows nothing: {', '.join(missing)}." if missing else ""


def _table(
    results: Results,
    id_: str,
    title: str,
    cells: list[runs.Cell],
    *,
    rows: Sequence[str] = ("attack",),
    columns: str = "defense",
    metrics: Sequence[str] = ("ACC", "ASR"),
    place: str = "",
    absent: str = "",
    notes: Iterable[str] = (),
    above: str = "",
) -> Artefact:
    """A printed table, ours beside it; its printed half where this scale runs nothing of it, for the reason ``absent``."""
    printed = published(PAPER, id_)
    number = id_.removeprefix("table")
    if not cells and printed.empty:
        state = f"{absent}; the printed values could not be read"
        return drawn(
            results, id_, "table", caption=f"Table {number}. {title}. Nothing to show: {state}.",
            frame=pd.DataFrame({"Table": [number], "State": [state]}),
        )  # fmt: skip
    ours = _tidy(results, cells, metrics)
    if cells and ours.empty:
        raise NotRun(f"no cell of Table {number} has a result at {results.scale.name} scale")
    frame = compare.compare(ours, printed, scale=results.scale.name, stand_ins=stand_ins(results.scale))
    if not cells:
        caption = f"Table {number}. {title}. Printed numbers only: {absent}."
    else:
        attacks = [a for a in printed.attack.unique() if not compare.is_average(a)] or list(runs.PRINTED_ATTACKS)
        run = frame[frame.ours.notna()].attack
        caption = f"Table {number}. {title}; {_count(run, attacks)}. {place or where(results)}"
    html = tables.paper_table(
        frame, caption, rows=rows, columns=columns, metrics=metrics, everything=not cells, notes=[n for n in notes if n]
    )
    return drawn(results, id_, "table", caption=caption, frame=frame, html=above + html)


# -------------------------------------------------------------------------------------------------------- tables


def averages(results: Results) -> pd.DataFrame:
    """Mean C-Acc, ASR and DER (by both rules) of every defense over the learned attacks of Table 1 on which it was run.

    Returns
    -------
    DataFrame
        One row per defense and ``none``: ``defense, c_acc, asr, der_of_mean, der_mean, n``. TU and TP are run on fewer
        attacks at the small scales, as ``n`` says.
    """
    scale, rows = results.scale, []
    cells = runs.table1_cells(scale, results.seed)
    for defense in ("none", *runs.BASELINES, *runs.INFORMED, "npd"):
        pairs = []
        for _, name, _, spec, parent in cells:
            before, after = results.get(parent), results.get(spec)
            if name == defense and before is not None and after is not None and before["asr"] >= LEARNED:
                pairs.append((before, after))
        if not pairs:
            continue
        lists = [[pair[side][name] for pair in pairs] for side in (0, 1) for name in ("c_acc", "asr")]
        row: dict[str, Any] = {"defense": defense, "c_acc": np.mean(lists[2]), "asr": np.mean(lists[3])}
        if defense != "none":
            row["der_of_mean"] = der_of_averages(*lists, unit="percent")
            row["der_mean"] = mean_of_ders(*lists, unit="percent")
        rows.append({**row, "n": len(pairs)})
    if not rows:
        raise NotRun(f"no learned attack has a result at {scale.name} scale")
    return pd.DataFrame(rows)


def draw_table1(results: Results) -> Artefact:
    """Table 1: every defense under every attack, and the averages over the learned attacks."""
    mean = averages(results)
    printed = published(PAPER, "table1").query("attack == 'average'").set_index(["defense", "metric"]).value
    shown = pd.DataFrame(
        {
            "Defense": [style.title("defense", name) for name in mean.defense],
            "C-Acc": mean.c_acc,
            "printed C-Acc": [printed.get((d, "ACC"), np.nan) for d in mean.defense],
            "ASR": mean.asr,
            "printed ASR": [printed.get((d, "ASR"), np.nan) for d in mean.defense],
            "DER of means": mean.get("der_of_mean", np.nan),
            "printed DER": [printed.get((d, "DER"), np.nan) for d in mean.defense],
            "Mean DER": mean.get("der_mean", np.nan),
            "Attacks": mean.n,
        }
    )
    notes = [
        f"Ours: over the attacks whose undefended ASR is at least {LEARNED:g}; printed: over eight attacks at full scale.",
        "The paper's rule is the DER of the mean C-Acc and ASR; the mean of the attacks' DERs is SAU's rule.",
        not_learned(results, runs.of(results.scale).attacks),
    ]
    above = tables.to_html(shown, f"Averages of Table 1. {where(results)}", notes=notes)
    return _table(
        results,
        "table1",
        "NPD and other defenses on CIFAR-10",
        runs.table1_cells(results.scale, results.seed),
        metrics=("ACC", "ASR", "DER"),
        above=above,
    )


def draw_elsewhere(id_: str, title: str, absent: str) -> Callable[[Results], Artefact]:
    """Tables 2, 11, 12 and 14."""

    def draw(results: Results) -> Artefact:
        dataset, model, *_ = runs.ELSEWHERE[id_]
        place = where(results, dataset="" if dataset == "cifar10" else dataset, model=model)
        cells = runs.elsewhere_cells(id_)(results.scale, results.seed)
        return _table(results, id_, title, cells, metrics=("ACC", "ASR", "DER"), place=place, absent=absent)

    return draw


def draw_table3(results: Results) -> Artefact:
    """Table 3: the loss terms."""
    return _table(
        results,
        "table3",
        "NPD with some of its loss terms",
        runs.table3_cells(results.scale, results.seed),
        rows=("setting",),
        columns="attack",
        notes=["L_bn is always on. Which terms the printed rows have is our reading, except of the last one."],
    )


def draw_table4(results: Results) -> Artefact:
    """Table 4: the kinds of perturbation."""
    return _table(
        results,
        "table4",
        "Untargeted universal (UU), untargeted (UP) and targeted perturbations",
        runs.table4_cells(results.scale, results.seed),
        notes=["Weights of UU and UP: as NPD; the paper prints none."],
    )


def draw_table5(results: Results) -> Artefact:
    """Table 5: NPD at several poisoning ratios; nothing printed can be read."""
    rows = []
    for parent, spec in runs.ratio_specs(results.scale, results.seed):
        before, after = results.get(parent), results.get(spec)
        if before is None or after is None:
            continue
        rows.append(
            {
                "Attack": style.title("attack", parent.attack), "Poisoned (%)": 100 * parent.ratio,
                "C-Acc before": before["c_acc"], "ASR before": before["asr"], "C-Acc": after["c_acc"], "ASR": after["asr"],
                "DER": der(before["c_acc"], before["asr"], after["c_acc"], after["asr"], unit="percent"),
                "Learned": "yes" if before["asr"] >= LEARNED else "no",
            }
        )  # fmt: skip
    if not rows:
        raise NotRun(f"no ratio of Table 5 has a result at {results.scale.name} scale")
    frame = pd.DataFrame(rows)
    caption = f"Table 5. NPD at several poisoning ratios. {where(results, None)}"
    notes = ["Ours only: the printed values, and which ratios they are for, could not be read."]
    html = tables.to_html(frame, caption, notes=notes)
    return drawn(results, "table5", "table", caption=caption, frame=frame, html=html)


def draw_table6(results: Results) -> Artefact:
    """Table 6: few clean images."""
    return _table(
        results,
        "table6",
        "Few clean images",
        runs.table6_cells(results.scale, results.seed),
        rows=("attack", "setting"),
        metrics=("ACC", "ASR", "DER"),
        notes=[
            "The DERs printed at 250 and 50 images took the ACC and ASR of the undefended model for each other; corrected after "
            "the arrow."
        ],
    )


def draw_table7(results: Results) -> Artefact:
    """Table 7: the attacker trains adversarially."""
    how = ex.adversarially(results.scale)
    return _table(
        results,
        "table7",
        "The attacker trains the backdoored model adversarially",
        runs.table7_cells(results.scale, results.seed),
        absent="an adversarial training takes about ten times as long as an ordinary one, so they run at paper scale only",
        notes=[
            f"Ours: PGD within {255 * how['adversarial']:g}/255, {how['adversarial_steps']} steps of a quarter of it from a "
            "random start, on every image of a batch after the trigger, with the label that it is trained with. The paper does not print "
            "how it trained; SAU's paper prints 10 steps within 8/255."
        ],
    )


def draw_table8(results: Results) -> Artefact:
    """Table 8: all-to-all labels."""
    return _table(
        results,
        "table8",
        "All-to-all labels",
        runs.table8_cells(results.scale, results.seed),
        absent="all-to-all backdoors are not learned in the epochs of the small scales, so they run at paper scale only",
    )


def draw_table9(results: Results) -> Artefact:
    """Table 9: seconds of every defense, as measured when it was run, and as multiples of NPD's."""
    taken: dict[str, list[float]] = {}
    for name, spec in runs.table9_specs(results.scale, results.seed):
        if (found := results.get(spec)) is not None:
            taken.setdefault(name, []).append(found["seconds"])
    if "npd" not in taken:
        raise NotRun(f"NPD has no result at {results.scale.name} scale")
    mean = {name: float(np.mean(values)) for name, values in taken.items()}
    printed = published(PAPER, "table9").set_index(["dataset", "defense"]).value
    rows = []
    for name in sorted(mean, key=lambda name: mean[name]):
        row: dict[str, Any] = {"Defense": style.title("defense", name), "Seconds": mean[name]}
        row |= {"x NPD": mean[name] / mean["npd"], "Runs": len(taken[name])}
        for dataset in ("cifar10", "tiny"):
            seconds = printed.get((dataset, name), np.nan)
            row[f"{style.title('dataset', dataset)} printed"] = seconds
            row[f"x NPD, {style.title('dataset', dataset)}"] = seconds / printed[dataset, "npd"]
        rows.append(row)
    frame = pd.DataFrame(rows)
    devices = sorted({str(results.rows[key].get("provenance", {}).get("device_name", "?")) for key in results.used})
    caption = f"Table 9. Running time of a defense, mean over attacks, fastest first. {where(results)}"
    notes = [
        f"Ours: wall-clock seconds on {', '.join(devices)}, whatever else the machine did; a defense that retrains includes that.",
        "Printed (read by OCR, unverified): 2,500 clean images, batch 256, RTX 3090Ti; the text says 56 s for NPD's 55.16.",
        "Epochs and steps of this scale are in the parameters of the results: compare orders of magnitude, not ranks.",
    ]
    html = tables.to_html(frame, caption, notes=notes)
    return drawn(results, "table9", "table", caption=caption, frame=frame, html=html)


PROPERTIES = {
    # how the trigger enters, how much of the image it takes, what it depends on, which labels it wants
    "badnets": ("replaces pixels", "patch", "same in every image", "one target"),
    "badnets_a2a": ("replaces pixels", "patch", "same in every image", "next class"),
    "blended": ("mixed in", "whole image", "same in every image", "one target"),
    "input_aware": ("mixed in by a mask", "sparse", "differs from image to image", "one target"),
    "lf": ("added", "whole image", "same in every image", "one target"),
    "ssba": ("encoder", "whole image", "differs from image to image", "one target"),
    "trojannn": ("replaces pixels", "patch", "same in every image", "one target"),
    "wanet": ("warps", "whole image", "differs from image to image", "one target"),
}
"""The columns of Table 10 in our own words, from the attacks' papers."""


def draw_table10(results: Results) -> Artefact:
    """Table 10: what kind of trigger each attack has, and how large it is in our images."""
    rows = []
    for name in runs.of(results.scale).pictured:
        found = results.get(runs.picture_spec(results.scale, name, results.seed))
        if found is None:
            continue
        fusion, size, varies, labels = PROPERTIES[name]
        row = {
            "Attack": style.title("attack", name),
            "Enters": fusion,
            "Size": size,
            "Trigger": varies,
            "Labels": labels,
        }
        rows.append({**row, **{k: found["test"][v] for k, v in {"L2": "l2", "Linf": "linf", "PSNR": "psnr"}.items()}})
    if not rows:
        raise NotRun(f"no trigger has been looked at at {results.scale.name} scale")
    frame = pd.DataFrame(rows)
    caption = (
        f"Table 10. Properties of the attacks; {len(rows)} of {len(runs.PRINTED_ATTACKS)} attacks. {where(results)}"
    )
    notes = [
        "First columns: our reading of the attacks' papers. Measured on test images: mean L2 and largest change (L∞) in grey "
        "levels of 0 to 255, peak signal-to-noise ratio in dB; the paper has words instead."
    ]
    html = tables.to_html(frame, caption, notes=notes)
    return drawn(results, "table10", "table", caption=caption, frame=frame, html=html)


def draw_table13(results: Results) -> Artefact:
    """Table 13: structures."""
    return _table(
        results,
        "table13",
        "Structure of the inserted layer",
        runs.table13_cells(results.scale, results.seed),
        rows=("setting",),
        columns="attack",
        notes=["The paper's layers OSAD and OSDN are not defined in it; they are not run."],
    )


def draw_table15(results: Results) -> Artefact:
    """Table 15: other places, other models."""
    return _table(
        results,
        "table15",
        "Place of the polarizer in other models",
        runs.table15_cells(results.scale, results.seed),
        rows=("attack", "defense", "setting"),
        columns="model",
        place=where(results, model=", ".join(style.title("model", name) for name in runs.PLACES)),
        absent="VGG19 and DenseNet-161 are trained at paper scale only, and Inception-V3 is not among the models",
        notes=["The paper does not name the layers that it calls shallow, middle and so on."],
    )


FETCH = {
    "tiny_imagenet": "Tiny ImageNet (`paperlib data fetch tiny_imagenet`) is run at paper scale only",
    "gtsrb": "GTSRB (`paperlib data fetch gtsrb`) is run at paper scale only",
    "cifar100": "CIFAR-100 (`paperlib data fetch cifar100`) is run at paper scale only",
}

ITEMS: dict[str, Item] = {
    "table1": Item(runs.specs_of(runs.table1_cells), draw_table1),
    "table2": Item(
        runs.specs_of(runs.elsewhere_cells("table2")), draw_elsewhere("table2", "Tiny ImageNet", FETCH["tiny_imagenet"])
    ),
    "table3": Item(runs.specs_of(runs.table3_cells), draw_table3),
    "table4": Item(runs.specs_of(runs.table4_cells), draw_table4),
    "table5": Item(lambda s, seed: [spec for pair in runs.ratio_specs(s, seed) for spec in pair], draw_table5),
    "table6": Item(runs.specs_of(runs.table6_cells), draw_table6),
    "table7": Item(runs.specs_of(runs.table7_cells), draw_table7),
    "table8": Item(runs.specs_of(runs.table8_cells), draw_table8),
    "table9": Item(lambda s, seed: [spec for _, spec in runs.table9_specs(s, seed)], draw_table9),
    "table10": Item(lambda s, seed: [runs.picture_spec(s, name, seed) for name in runs.of(s).pictured], draw_table10),
    "table11": Item(runs.specs_of(runs.elsewhere_cells("table11")), draw_elsewhere("table11", "GTSRB", FETCH["gtsrb"])),
    "table12": Item(
        runs.specs_of(runs.elsewhere_cells("table12")),
        draw_elsewhere("table12", "CIFAR-10 with VGG19-BN", "VGG19-BN is trained at paper scale only"),
    ),
    "table13": Item(runs.specs_of(runs.table13_cells), draw_table13),
    "table14": Item(
        runs.specs_of(runs.elsewhere_cells("table14")), draw_elsewhere("table14", "CIFAR-100", FETCH["cifar100"])
    ),
    "table15": Item(runs.specs_of(runs.table15_cells), draw_table15),
    "fig1": Item(lambda s, seed: [], views.draw_fig1),
    "fig2": Item(lambda s, seed: [], views.draw_fig2),
    "fig3": Item(
        lambda s, seed: [spec for parent, _, npd in runs.place_specs(s, seed) for spec in (parent, npd)],
        views.draw_fig3,
    ),
    "fig4": Item(lambda s, seed: [runs.perturbation_spec(s, "blended", seed)], views.draw_fig4),
    **{id_: Item(partial(runs.cam_specs, name), views.draw_cam(id_)) for id_, name in runs.CAMS.items()},
}

OURS: dict[str, Item] = {
    "our_estimate": Item(
        lambda s, seed: [runs.perturbation_spec(s, name, seed) for name in runs.of(s).attacks], views.draw_estimate
    ),
    "our_reactivation": Item(
        lambda s, seed: [runs.reactivation_spec(s, name, seed) for name in runs.of(s).reactivated],
        views.draw_reactivation,
    ),
}


# -------------------------------------------------------------------------------------------------------- claims


def _over(results: Results) -> str:
    return f"over {_names(learned(results))} (undefended ASR at least {LEARNED:g})"


def learned(results: Results) -> tuple[str, ...]:
    """The attacks of Table 1 whose backdoor the undefended model has learned at this scale.

    Raises
    ------
    NotRun
        One of them was not run, or none is learned.
    """
    found = [
        p.attack
        for p in runs.parents(results.scale, runs.of(results.scale).attacks, results.seed)
        if results.need(p)["asr"] >= LEARNED
    ]
    if not found:
        raise NotRun(f"no attack reaches an ASR of {LEARNED:g} at {results.scale.name} scale")
    return tuple(found)


def _pair(results: Results, attack: str, defense: str = "npd", **params: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    (parent,) = runs.parents(results.scale, (attack,), results.seed)
    return results.need(parent), results.need(runs.purified(results.scale, parent, defense, **params))


def _mean_der(results: Results, defense: str, attacks: Iterable[str]) -> float:
    pairs = [_pair(results, name, defense) for name in attacks]
    lists = [[pair[side][key] for pair in pairs] for side in (0, 1) for key in ("c_acc", "asr")]
    return der_of_averages(*lists, unit="percent")


def check_best(results: Results) -> Verdict:
    """NPD has the highest average DER of the defenses that are not told the target."""
    attacks = learned(results)
    numbers = {
        f"DER of means, {style.title('defense', name)}": _mean_der(results, name, attacks)
        for name in runs.of(results.scale).defenses
    }
    return Verdict(
        max(numbers, key=lambda k: numbers[k]).endswith(" NPD"), f"{_over(results)}; the highest is NPD's", numbers
    )


def check_removes(results: Results) -> Verdict:
    """NPD brings the average ASR below a tenth of the undefended one, and costs at most 3 points of C-Acc."""
    pairs = [_pair(results, name) for name in learned(results)]
    numbers = {
        f"mean {title} {when}": float(np.mean([pair[k][key] for pair in pairs]))
        for key, title in (("asr", "ASR"), ("c_acc", "C-Acc"))
        for k, when in enumerate(("undefended", "after NPD"))
    }
    asr_before, asr_after, acc_before, acc_after = numbers.values()
    holds = asr_after <= asr_before / 10 and acc_after >= acc_before - 3
    return Verdict(holds, f"{_over(results)}; at most a tenth of the ASR, at most 3 points of C-Acc", numbers)


def check_informed(results: Results) -> Verdict:
    """Knowing the target does not hurt: the average DER of TU and TP is at least NPD's less one point."""
    attacks = [name for name in learned(results) if name in runs.of(results.scale).informed]
    if not attacks:
        raise NotRun("TU and TP were run on no learned attack")
    numbers = {
        f"DER of means, {style.title('defense', n)}": _mean_der(results, n, attacks) for n in (*runs.INFORMED, "npd")
    }
    *told, npd = numbers.values()
    return Verdict(min(told) >= npd - 1, f"over {_names(attacks)}; both at least NPD's less 1 point", numbers)


def check_targeted(results: Results) -> Verdict:
    """Targeted perturbations leave a lower ASR than untargeted ones."""
    numbers = {}
    for name in runs.of(results.scale).perturbed:
        for defense in ("npd", "npd_up", "npd_uu"):
            key = f"{style.title('attack', name)} ASR, {style.title('defense', defense)}"
            numbers[key] = _pair(results, name, defense)[1]["asr"]
    values = list(numbers.values())
    holds = all(npd < min(up, uu) for npd, up, uu in zip(values[::3], values[1::3], values[2::3], strict=True))
    return Verdict(holds, "NPD's is the lowest of the three on every attack", numbers)


def check_nearer(results: Results) -> Verdict:
    """A targeted perturbation lies nearer to the trigger, in feature space, than an untargeted one."""
    found = results.need(runs.perturbation_spec(results.scale, "blended", results.seed))
    distance = dict(zip(found["kinds"], found["distance"], strict=True))
    numbers = {f"Blended, distance {k}": distance[k] for k in ("targeted", "known", "untargeted")}
    return Verdict(
        distance["targeted"] < distance["untargeted"],
        f"mean L2 over {found['n']} images, towards y' and away from y",
        numbers,
    )


def check_losses(results: Results) -> Verdict:
    """Without the losses on perturbed images the backdoor stays: L_bn alone leaves at least half of the ASR, all terms a tenth."""
    numbers: dict[str, float] = {}
    holds: list[bool] = []
    for name in runs.of(results.scale).ablated:
        before, bn = _pair(results, name, **runs.LOSSES["L_bn only"])
        _, everything = _pair(results, name)
        title = style.title("attack", name)
        numbers |= {f"{title} ASR, L_bn only": bn["asr"], f"{title} ASR, all": everything["asr"]}
        holds.append(bn["asr"] >= before["asr"] / 2 and everything["asr"] <= before["asr"] / 10)
    return Verdict(all(holds), "L_bn alone leaves half of the undefended ASR, all terms at most a tenth", numbers)


def check_deeper(results: Results) -> Verdict:
    """The deepest place has a higher DER than the shallowest."""
    places = runs.of(results.scale).places
    numbers: dict[str, float] = {}
    holds: list[bool] = []
    for parent in dict.fromkeys(p for p, *_ in runs.place_specs(results.scale, results.seed)):
        before = results.need(parent)
        scores = []
        for place in (places[0], runs.DEFAULT_PLACE):
            spec = next(
                s for p, where, s in runs.place_specs(results.scale, results.seed) if p == parent and where == place
            )
            after = results.need(spec)
            scores.append(float(der(before["c_acc"], before["asr"], after["c_acc"], after["asr"], unit="percent")))
            numbers[f"{style.title('attack', parent.attack)} DER at {place}"] = scores[-1]
        holds.append(scores[1] > scores[0])
    return Verdict(all(holds), "the default place against the first one", numbers)


def check_structure(results: Results) -> Verdict:
    """Convolution and batch norm remove more than an elementwise layer."""
    numbers: dict[str, float] = {}
    holds: list[bool] = []
    for name in runs.of(results.scale).ablated:
        rates = [_pair(results, name, **runs.unless_default("structure", value))[1]["asr"] for value in ("", "linear")]
        title = style.title("attack", name)
        numbers |= {f"{title} ASR, Conv-BN": rates[0], f"{title} ASR, Linear": rates[1]}
        holds.append(rates[0] < rates[1])
    return Verdict(all(holds), "ASR of Conv-BN below that of Linear on every attack", numbers)


def check_few(results: Results) -> Verdict:
    """NPD still works with the fewest clean images of Table 6."""
    n = min(runs.of(results.scale).samples)
    numbers: dict[str, float] = {}
    holds: list[bool] = []
    for name in runs.of(results.scale).few:
        before, after = _pair(results, name, n_clean=n)
        title = style.title("attack", name)
        numbers |= {f"{title} ASR undefended": before["asr"], f"{title} ASR with {n} images": after["asr"]}
        holds.append(after["asr"] <= before["asr"] / 5)
    return Verdict(all(holds), f"with {n} clean images at most a fifth of the undefended ASR", numbers)


def check_fast(results: Results) -> Verdict:
    """NPD is the fastest of the defenses of Table 9."""
    taken: dict[str, list[float]] = {}
    for name, spec in runs.table9_specs(results.scale, results.seed):
        if name in (*runs.BASELINES, "npd"):
            taken.setdefault(name, []).append(results.need(spec)["seconds"])
    numbers = {f"seconds, {style.title('defense', name)}": float(np.mean(v)) for name, v in taken.items()}
    return Verdict(
        min(numbers, key=lambda k: numbers[k]).endswith(" NPD"), "mean over attacks of one run each", numbers
    )


CLAIMS: list[Claim] = [
    Claim(
        "removes", PAPER, "One small layer removes the backdoor at little cost in accuracy.", "Table 1", check_removes
    ),
    Claim(
        "best",
        PAPER,
        "NPD has the best average DER of the defenses that do not know the target.",
        "Table 1",
        check_best,
    ),
    Claim("informed", PAPER, "Told the true target, TU and TP are at least as good.", "Table 1", check_informed),
    Claim("losses", PAPER, "The losses on perturbed images are what removes the backdoor.", "Table 3", check_losses),
    Claim("targeted", PAPER, "Targeted perturbations beat untargeted ones.", "Table 4", check_targeted),
    Claim(
        "nearer",
        PAPER,
        "A targeted perturbation resembles the trigger, an untargeted one does not.",
        "Figure 4",
        check_nearer,
    ),
    Claim("few", PAPER, "NPD works with few clean images.", "Table 6", check_few),
    Claim("fast", PAPER, "NPD is faster than the other defenses on CIFAR-10.", "Table 9", check_fast),
    Claim(
        "structure",
        PAPER,
        "A convolution with batch norm is better than an elementwise layer.",
        "Table 13",
        check_structure,
    ),
    Claim("deeper", PAPER, "The polarizer works best deep in the network.", "Figure 3, Table 15", check_deeper),
]
