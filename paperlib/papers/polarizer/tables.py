"""The tables of the NPD paper, ours beside the printed numbers, and the target estimate, which it does not have."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from paperlib.experiments import plan
from paperlib.papers import Results
from paperlib.papers.captions import devices, plain_table, where
from paperlib.papers.defense_table import LEARNED, averages, backdoored, defended, seconds
from paperlib.papers.figures import found
from paperlib.papers.paper_table import PaperTable
from paperlib.papers.polarizer import runs
from paperlib.papers.polarizer.runs import PAPER
from paperlib.report import style, tables
from paperlib.report.artefact import Artefact
from paperlib.report.claims import NotRun
from paperlib.report.published import published


def _own(results: Results, id_: str, caption: str, frame: pd.DataFrame, notes: list[str]) -> Artefact:
    more = {"n_clean": results.scale.n_clean, "npd": dict(results.scale.changes.get("npd", {}))}
    return plain_table(PAPER, results, id_, caption, frame, notes, more)


def averages_of_table1(results: Results) -> str:
    """Means over the learned attacks, DER by both rules, as a fragment of HTML. TU and TP are on fewer attacks at the
    small scales."""
    mean = averages(results, TABLES["table1"].cells(results.scale, results.seed))
    first = mean.defense.map({"none": 0, "npd": 1}).fillna(2)
    mean = mean.assign(first=first).sort_values("first", kind="stable").set_index("defense")
    printed = published(PAPER, "table1").query("attack == 'average'").set_index(["defense", "metric"]).value

    def theirs(metric: str) -> list[float]:
        return [printed.get((defense, metric), np.nan) for defense in mean.index]

    shown = pd.DataFrame(
        {
            "Defense": [style.title("defense", name) for name in mean.index],
            "C-Acc": mean.c_acc,
            "printed C-Acc": theirs("ACC"),
            "ASR": mean.asr,
            "printed ASR": theirs("ASR"),
            "DER of means": mean.get("der_of_mean", np.nan),
            "printed DER": theirs("DER"),
            "Mean DER": mean.get("der_mean", np.nan),
            "Attacks": mean.n,
        }
    )
    notes = [
        (
            f"Ours: over the attacks whose undefended ASR is at least {LEARNED:g}; printed: over eight attacks at full"
            " scale."
        ),
        "The paper's rule is the DER of the mean C-Acc and ASR; the mean of the attacks' DERs is SAU's rule.",
    ]
    return tables.to_html(shown, f"Averages of Table 1. {where(results)}", notes=notes)


def _adversarially(results: Results) -> list[str]:
    how = plan.adversarially(results.scale)
    return [
        f"Ours: PGD within {255 * how['adversarial']:g}/255, {how['adversarial_steps']} steps of a quarter of it from a"
        " random start, on every image of a batch after the trigger, with the label that it is trained with. The paper"
        " does not print how it trained; SAU's paper prints 10 steps within 8/255."
    ]


def _table(id_: str, title: str, *notes: str, **options: Any) -> PaperTable:
    return PaperTable(PAPER, id_, title, runs.TABLES[id_], **{"own": "npd", "notes": notes, **options})


TABLES: Mapping[str, PaperTable] = {
    table.id: table
    for table in (
        _table("table1", "NPD and other defenses on CIFAR-10", above=averages_of_table1),
        _table("table2", "NPD and other defenses on Tiny ImageNet"),
        _table(
            "table3", "NPD with some of its loss terms",
            "L_bn is always on. Which terms the printed rows have is our reading, except of the last one.",
            columns="attack",
        ),
        _table(
            "table4", "Untargeted universal (UU), untargeted (UP) and targeted perturbations",
            "Weights of UU and UP: as NPD; the paper prints none.",
        ),
        _table(
            "table5", "NPD at several poisoning ratios",
            "Ours only: the printed values, and which ratios they are for, could not be read.",
        ),
        _table(
            "table6", "Few clean images",
            "The DERs printed at 250 and 50 images took the ACC and ASR of the undefended model for each other; "
            "corrected after the arrow.",
        ),
        _table(
            "table7", "The attacker trains the backdoored model adversarially", notes=_adversarially,
            absent="an adversarial training, which takes about ten times as long as an ordinary one,",
        ),
        _table(
            "table8", "All-to-all labels",
            absent="an all-to-all backdoor, which is not learned in the epochs of the small scales,",
        ),
        _table("table11", "NPD and other defenses on GTSRB"),
        _table("table12", "NPD and other defenses with VGG19-BN"),
        _table(
            "table13", "Structure of the inserted layer",
            "The paper's layers OSAD and OSDN are not defined in it; they are not run.", columns="attack",
        ),
        _table("table14", "NPD and other defenses on CIFAR-100"),
        _table(
            "table15", "Place of the polarizer in other models",
            "The paper does not name the layers that it calls shallow, middle and so on. Inception-V3 is not among the "
            "models.",
            columns="model", absent="training of VGG19 and DenseNet-161", networks={"vgg19_bn": "vgg19"},
        ),
    )
}  # fmt: skip


def draw_table9(results: Results) -> Artefact:
    """Table 9: seconds of every defense, as measured when it was run, and as multiples of NPD's."""
    taken = seconds(results, runs.timed(results.scale, results.seed))
    if "npd" not in taken:
        raise NotRun(f"NPD has no result at {results.scale.name} scale")
    mean = {name: float(np.mean(values)) for name, values in taken.items()}
    printed = published(PAPER, "table9").set_index(["dataset", "defense"]).value
    rows = []
    for name in sorted(mean, key=lambda name: mean[name]):
        row: dict[str, Any] = {"Defense": style.title("defense", name), "Seconds": mean[name]}
        row |= {"x NPD": mean[name] / mean["npd"], "Runs": len(taken[name])}
        for dataset in ("cifar10", "tiny"):
            theirs = printed.get((dataset, name), np.nan)
            row[f"{style.title('dataset', dataset)} printed"] = theirs
            row[f"x NPD, {style.title('dataset', dataset)}"] = theirs / printed[dataset, "npd"]
        rows.append(row)
    notes = [
        (
            f"Ours: wall-clock seconds on {devices(results)}, whatever else the machine did; a defense that retrains"
            " includes that."
        ),
        (
            "Printed (read by OCR, unverified): 2,500 clean images, batch 256, RTX 3090Ti; the text says 56 s for NPD's"
            " 55.16."
        ),
        "Epochs and steps of this scale are in the parameters of the results: compare orders of magnitude, not ranks.",
    ]
    caption = f"Table 9. Running time of a defense, mean over attacks, fastest first. {where(results)}"
    return _own(results, "table9", caption, pd.DataFrame(rows), notes)


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
    for name, look in found(results, runs.pictures(results.scale, results.seed), "look at a trigger").items():
        words = dict(zip(("Enters", "Size", "Trigger", "Labels"), PROPERTIES[name], strict=True))
        sizes = {title: look["test"][key] for title, key in (("L2", "l2"), ("Linf", "linf"), ("PSNR", "psnr"))}
        rows.append({"Attack": style.title("attack", name), **words, **sizes})
    notes = [
        "First columns: our reading of the attacks' papers. Measured on test images: mean L2 and largest change (L∞) in"
        " grey levels of 0 to 255, peak signal-to-noise ratio in dB; the paper has words instead."
    ]
    count = f"{len(rows)} of {len(runs.PRINTED_ATTACKS)} attacks"
    return _own(
        results, "table10", f"Table 10. Properties of the attacks; {count}. {where(results)}", pd.DataFrame(rows), notes
    )


def draw_estimate(results: Results) -> Artefact:
    """How often the runner-up class is the attacker's target, beside what NPD leaves."""
    rows = []
    for name, spec in runs.estimates(results.scale, results.seed).items():
        parent = backdoored(results.scale, name, seed=results.seed)
        result, after = results.get(spec), results.get(defended(results.scale, parent, "npd"))
        if result is None or after is None:
            continue
        distance = dict(zip(result["kinds"], result["distance"], strict=True))
        reached = dict(zip(result["kinds"], result["to_target"], strict=True))
        rows.append(
            {
                "Attack": style.title("attack", name),
                "y' = T (%)": 100 * result["estimate"][0],
                "y' = T after NPD (%)": 100 * result["estimate"][1],
                "perturbed images at T (%)": 100 * reached["targeted"],
                "distance y'": distance["targeted"],
                "distance T": distance["known"],
                "distance away": distance["untargeted"],
                "ASR after NPD": after["asr"],
            }
        )
    if not rows:
        raise NotRun(f"no target estimate has a result at {results.scale.name} scale")
    notes = [
        (
            "Clean test images of other classes than T. With ten classes a guess among the nine wrong ones is right for"
            " 11 %."
        ),
        (
            "Distances: mean L2 of the features of perturbed images to those of the triggered image; towards y',"
            " towards T, away from y."
        ),
    ]
    text = "The target estimate of NPD: how often the runner-up class y' is the attacker's class T."
    return _own(results, "our_estimate", f"{text} {where(results)}", pd.DataFrame(rows), notes)
