"""The tables of the FT-SAM paper, ours beside the printed numbers; DER is averaged as DER of the averages."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from paperlib.attacks import meant
from paperlib.defenses import DEFENSES
from paperlib.experiments import scales
from paperlib.papers import Results
from paperlib.papers.captions import plain_table, where
from paperlib.papers.defense_table import SEEDS
from paperlib.papers.ft_sam.runs import MENDED, PAPER, PICTURED, TABLES, VICTIMS, mended_cells, picture_table
from paperlib.papers.paper_table import PaperTable
from paperlib.report import style
from paperlib.report.artefact import Artefact
from paperlib.report.claims import NotRun

TITLES = {
    "table1": "FT-SAM against other defenses",
    "table2": "FT-SAM against other defenses on Tiny ImageNet",
    "table3": "FT and FT-SAM with 10, 5 and 1 % clean images",
    "table4": "Pruning (FP's and ANP's) alone, with FT and with FT-SAM",
    "supp_c1": "FT-SAM against other defenses on CIFAR-10 at 5 % poisoning",
    "supp_c2": "FT-SAM against other defenses on Tiny ImageNet at 5 % poisoning",
    "supp_c3": "FT-SAM against other defenses on GTSRB",
    "supp_c4": "FT-SAM against other defenses with VGG19-BN",
    "supp_d1": "FT and FT-SAM on further architectures",
    "supp_d2": "FT and FT-SAM at several poisoning ratios",
}
SHIFTED = (
    "In print the row of the undefended models is shifted by one attack from SIG on; the printed and, after the arrow,"
    " the corrected reading (from Table 1) are both shown."
)
CHAINED = (
    "FP is its pruning with FT. What was pruned stays pruned while the rest is tuned; the paper does not say so of its"
    " chains."
)
OWN = "Ours only: of the supplement no number is published to us, and its rows and columns are our choice."
NOTES = {"table3": (SHIFTED,), "table4": (CHAINED, SHIFTED), **{id_: (OWN,) for id_ in TITLES if id_[:4] == "supp"}}


def paper_table(id_: str) -> PaperTable:
    """The table ``id_``."""

    def notes(results: Results) -> list[str]:
        part = (TABLES[id_].get(results.scale.plans) or TABLES[id_]["paper"]).dataset
        scale = scales.on(results.scale, part)
        schedules = (
            f"{scale.defense_epochs} epochs of batch {scale.defense_batch}, lr 0.01; learning-rate schedules: FT cosine"
            f" per epoch, FT-SAM official_cyclic (cosine of period 200 iterations); FT-SAM with rho {scale.rho:g} (the"
            " paper: 2), label smoothing 0.1."
        )
        return [schedules, *NOTES.get(id_, ())] if results.scale.plans in TABLES[id_] else []

    return PaperTable(PAPER, id_, TITLES[id_], TABLES[id_], own="ft_sam", average="of averages", notes=notes)


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """Mean and its standard error; nan where there are too few values."""
    if not values:
        return np.nan, np.nan
    return float(np.mean(values)), float(np.std(values, ddof=1) / len(values) ** 0.5) if len(values) > 1 else np.nan


def draw_versions(results: Results) -> Artefact:
    """Defenses by their earlier and their current version: C-Acc and ASR, means and standard errors over seeds.

    Raises
    ------
    NotRun
        Nothing was run.
    """
    rows: list[dict[str, Any]] = []
    current = results.current()
    every = range(results.seed, results.seed + SEEDS)
    for title in VICTIMS[results.scale.plans]:
        seeds = [mended_cells(results.scale, seed)[title] for seed in every]
        for same in zip(*seeds, strict=True):
            specs = [cell.spec for cell in same]
            sides = {"now": [current.get(spec) for spec in specs]}
            if same[0].defense != "none":
                sides = {"before": [results.before(spec) for spec in specs], **sides}
            for version, found in sides.items():
                there = [result for result in found if result is not None]
                if there:
                    c_acc, asr = (mean_and_error([result[key] for result in there]) for key in ("c_acc", "asr"))
                    row: dict[str, Any] = {
                        "Attack": title,
                        "Defense": style.title("defense", same[0].defense),
                        "Version": version,
                    }
                    row |= {
                        "C-Acc": c_acc[0],
                        "C-Acc, SE": c_acc[1],
                        "ASR": asr[0],
                        "ASR, SE": asr[1],
                        "Seeds": len(there),
                    }
                    rows.append(row)
    if not rows:
        raise NotRun(f"no defense that was mended has a result at {results.scale.name} scale")
    results.earlier.clear()  # the table says itself which rows are of which version
    changed = "; ".join(f"{DEFENSES[d].title}: {DEFENSES[d].changed}" for d in MENDED[results.scale.plans])
    notes = [
        f"now: the current version; before: the one before it. What changed: {changed}.",
        (
            "Percent; SE: standard error over the seeds, each with a victim, clean subset and defense of its own; –:"
            " one seed."
        ),
    ]
    ending = where(results).replace(f"seed {every[0]}", f"seeds {every[0]} to {every[-1]} as far as they were run")
    caption = f"Defenses before and after they were brought to the public code's steps. {ending}"
    return plain_table(PAPER, results, "our_versions", caption, pd.DataFrame(rows), notes)


def draw_pictures(results: Results) -> Artefact:
    """Blended with each picture, undefended and after four defenses: C-Acc and ASR, means and standard errors over
    seeds.

    Raises
    ------
    NotRun
        Nothing was run.
    """
    scale, rows = results.scale, []
    cells = [picture_table(scale).cells(scale, seed) for seed in range(results.seed, results.seed + SEEDS)]
    for same in zip(*cells, strict=True):
        made = [result for cell in same if (result := results.get(cell.spec)) is not None]
        if made:
            picture = dict(meant("blended", same[0].parent.attack_params))["picture"]
            defense = style.title("defense", same[0].defense) + " ‡" * any(results.mark(cell.spec) for cell in same)
            row: dict[str, Any] = {"Picture": picture, "Defense": defense}
            for name, key in (("C-Acc", "c_acc"), ("ASR", "asr")):
                row |= dict(zip((name, f"{name}, SE"), mean_and_error([result[key] for result in made]), strict=True))
            rows.append({**row, "Seeds": len(made)})
    if not rows:
        raise NotRun(f"no picture of Blended has a result at {scale.name} scale")
    caption = (
        f"Blended with three pictures, undefended and after {len(PICTURED[scale.plans])} defenses. {where(results)}"
    )
    notes = [
        (
            "Percent; SE: standard error over the seeds, each with a victim, clean subset and defense of its own; –:"
            " one seed; ‡: by an earlier version."
        ),
        (
            "cartoon: drawn here, with the brightness, size of change and share of white of the benchmark's file; the"
            " tables here have it. random: that of notebook 03. benchmark: the file that `paperlib data fetch"
            " pictures` brings, as in print."
        ),
    ]
    return plain_table(PAPER, results, "our_pictures", caption, pd.DataFrame(rows), notes)
