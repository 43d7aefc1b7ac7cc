"""BackdoorBench (NeurIPS 2022, arXiv 2206.12654): our own runs of the grid, beside the printed cells.

The grid is every attack, undefended and under every defense, at the ratio of the paper's main table. A scale runs a slice of
it (:data:`SLICES`); what was not run is counted in the captions and never filled in. The same functions plan the paper's
8,000 cells at paper scale.

Attacks whose undefended ASR stays below :data:`LEARNED` say nothing about a defense: they are shown and enter no average.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from paperlib import paths
from paperlib.attacks import ATTACKS
from paperlib.data import sources
from paperlib.defenses import CLEAN, DEFENSES, NOTHING, POISONED, applicable
from paperlib.detection import DETECTORS, NOISE
from paperlib.experiments import plan as ex
from paperlib.experiments import scales
from paperlib.experiments.scales import Scale
from paperlib.experiments.specs import DefendSpec, DetectSpec, TrainSpec
from paperlib.lab import ledger
from paperlib.lab.spec import Spec, from_dict, pairs
from paperlib.metrics import der, der_of_averages, mean_of_ders
from paperlib.papers import Item, Results
from paperlib.papers.shared import artefact, devices, images, stand_ins
from paperlib.report import attack_gallery, compare, style, tables
from paperlib.report.artefact import Artefact
from paperlib.report.claims import NotRun
from paperlib.report.published import published

PAPER = "benchmark"
RATIO = 0.1
CLEAN_LABEL_RATIO = 0.05
"""CTRL's own ratio; the other clean-label attacks run at :data:`RATIO`, as in the paper."""
RATIOS = (0.001, 0.005, 0.01, 0.05, 0.1)
LEARNED = 50.0
"""Undefended ASR in percent below which a model counts as not backdoored."""


@dataclass(frozen=True)
class Slice:
    """What one scale runs of the grid."""

    attacks: tuple[str, ...]
    """Attacks that are trained."""
    defended: tuple[str, ...]
    """Those of them on which the defenses run."""
    defenses: tuple[str, ...]
    detected: tuple[str, ...]
    """Attacks whose training sets the detectors examine."""
    detectors: tuple[str, ...]
    swept: tuple[str, ...]
    """Attacks of the sweep over the poisoning ratio."""
    ratios: tuple[float, ...]


MAIN = ("badnets", "blended", "sig", "lf", "input_aware", "wanet")
"""The attacks on which the defenses are compared at laptop scale."""

DETECTED = tuple(name for name in DETECTORS if name not in (*NOISE, "frequency"))
"""The detectors of poison that the tables of the benchmark and of AGPD hold; VDC's paper has the others."""

SLICES: dict[str, Slice] = {
    "smoke": Slice(
        attacks=("badnets", "blended", "sig", "lf", "wanet"),
        defended=("blended",),
        defenses=("ft", "clp", "anp", "ft_sam", "sau", "npd", "ss"),
        detected=("blended",),
        detectors=("ac", "ss", "scan"),
        swept=("blended",),
        ratios=(0.01, 0.1),
    ),
    "laptop": Slice(
        attacks=tuple(ATTACKS),
        defended=MAIN,
        defenses=tuple(DEFENSES),
        detected=("badnets", "blended"),
        detectors=DETECTED,
        swept=("blended", "badnets"),
        ratios=RATIOS,
    ),
    "paper": Slice(
        attacks=tuple(ATTACKS),
        defended=tuple(ATTACKS),
        defenses=tuple(DEFENSES),
        detected=tuple(ATTACKS),
        detectors=DETECTED,
        swept=tuple(ATTACKS),
        ratios=RATIOS,
    ),
}


# ------------------------------------------------------------------------------------------------------- the grid


def own_ratio(attack: str) -> float:
    """The ratio at which the table of attacks runs ``attack``."""
    return CLEAN_LABEL_RATIO if attack == "ctrl" else RATIO


def attacked(scale: Scale, attack: str, ratio: float | None = None, seed: int = 0, **changes: Any) -> TrainSpec:
    """The model of ``attack``; at its own ratio unless one is given."""
    return ex.train(scale, attack, own_ratio(attack) if ratio is None else ratio, seed=seed, **changes)


def defended(scale: Scale, parent: TrainSpec, defense: str) -> DefendSpec:
    """``defense`` on ``parent``; FT-SAM with the radius of the scale, as in notebook 05."""
    more: dict[str, Any] = {"rho": scale.rho} if defense == "ft_sam" else {}
    return ex.defend(scale, parent, defense, seed=parent.seed, **more)


def detected(scale: Scale, parent: TrainSpec, detector: str) -> DetectSpec:
    """``detector`` on the training set of ``parent``."""
    return ex.detect(scale, parent, detector, seed=parent.seed)


def attack_specs(scale: Scale, seed: int) -> list[Spec]:
    """The clean model and every attacked one."""
    return [ex.train(scale, seed=seed), *(attacked(scale, name, seed=seed) for name in SLICES[scale.name].attacks)]


def defense_specs(scale: Scale, seed: int) -> list[Spec]:
    """Every defense on the models of the attacks that it is compared on."""
    part = SLICES[scale.name]
    parents = [attacked(scale, name, seed=seed) for name in part.defended]
    return [s for p in parents for s in (p, *(defended(scale, p, n) for n in part.defenses if applicable(n, p.model)))]


def detector_specs(scale: Scale, seed: int) -> list[Spec]:
    """Every detector on the training sets that it is compared on."""
    part = SLICES[scale.name]
    return [
        detected(scale, attacked(scale, attack, seed=seed), name) for attack in part.detected for name in part.detectors
    ]


def ratio_specs(scale: Scale, seed: int) -> list[Spec]:
    """Undefended and after FT, at every ratio of the sweep."""
    part = SLICES[scale.name]
    parents = [attacked(scale, name, ratio, seed) for name in part.swept for ratio in part.ratios]
    return [spec for parent in parents for spec in (parent, defended(scale, parent, "ft"))]


DATASETS = {"smoke": ("digits",), "laptop": ("cifar10", "tiny_imagenet20"), "paper": ("cifar10", "tiny_imagenet20")}
"""Scale -> data sets of the table that compares them; the twenty classes of Tiny ImageNet are a choice of ours."""
DATASET_ATTACKS = ("badnets", "blended")
HEADLINE = ("ft", "ft_sam", "sau", "npd")
"""FT and the defenses of the three defense papers."""


def dataset_specs(scale: Scale, seed: int) -> list[Spec]:
    """The clean model and two attacks on every data set, undefended and after four defenses."""
    found: list[Spec] = []
    for dataset in DATASETS[scale.name]:
        there = scales.on(scale, dataset)
        found.append(ex.train(there, seed=seed))
        for attack in DATASET_ATTACKS:
            parent = attacked(there, attack, seed=seed)
            found += [parent, *(defended(there, parent, defense) for defense in HEADLINE)]
    return found


SEEDED = {"smoke": (), "laptop": ("blended", "badnets", "wanet"), "paper": MAIN}
"""Scale -> attacks whose victims and defenses are computed from further seeds."""
MORE_SEEDS = 2
"""Seeds beside the one of the notebook."""


def seed_specs(scale: Scale, seed: int) -> list[Spec]:
    """The headline defenses, each seed with a victim of its own."""
    found: list[Spec] = []
    for attack in SEEDED[scale.name]:
        for one in range(seed, seed + 1 + MORE_SEEDS):
            parent = attacked(scale, attack, seed=one)
            found += [parent, *(defended(scale, parent, defense) for defense in HEADLINE)]
    return found


STUDIES: tuple[tuple[str, dict[str, Any], dict[str, Any]], ...] = (
    # name, changes of the attack, changes of the training
    ("as in the table of attacks", {}, {}),
    ("generator as wide as the paper's", {"width": 32}, {}),
    ("mask trained for 10 epochs", {"mask_epochs": 10}, {}),
    ("twice the epochs", {}, {"epochs": 30}),
    ("four times the epochs", {}, {"epochs": 60}),
    ("all three, twice the epochs", {"width": 32, "mask_epochs": 10}, {"epochs": 30}),
)
"""What could hold Input-aware back at laptop scale, one thing at a time."""


def input_aware_specs(scale: Scale, seed: int) -> list[Spec]:
    """Input-aware with each change of :data:`STUDIES`; a question of the laptop scale alone."""
    if scale.name != "laptop":
        return []
    found: list[Spec] = []
    for _, params, changes in STUDIES:
        fields = {"attack_params": pairs(params), **changes} if params else changes
        found.append(attacked(scale, "input_aware", seed=seed, **fields))
    return found


CLEAN_LABEL_SHARE = {"cifar10": 0.1, "cifar100": 0.01, "gtsrb": 210 / 39_209, "tiny_imagenet": 0.005}
"""Largest poisoning ratio of a clean-label attack: the share of class 0 in the training set."""
PAPER_MODELS = ("preact_resnet18", "vgg19", "efficientnet_b3", "mobilenet_v3_large", "densenet161")
PAPER_ATTACKS = ("badnets", "blended", "lc", "sig", "lf", "ssba", "input_aware", "wanet")
PAPER_DEFENSES = ("ft", "fp", "nad", "nc", "anp", "ac", "ss", "abl", "dbd")


def whole_grid(scale: Scale, seed: int = 0) -> Iterator[Spec]:
    """The paper's grid: 8 attacks x (none + 9 defenses) x 5 ratios x 5 models x 4 data sets, as far as a cell can exist.

    Left out, NA in the original too: clean-label ratios above the share of the target class, and defenses that need batch
    norm on models without it.
    """
    for dataset, largest in CLEAN_LABEL_SHARE.items():
        there = scales.on(scale, dataset)
        for model in PAPER_MODELS:
            for attack in PAPER_ATTACKS:
                for ratio in RATIOS:
                    if attack in ("lc", "sig") and ratio > largest:
                        continue
                    parent = attacked(there, attack, ratio, seed, model=model)
                    yield parent
                    for defense in PAPER_DEFENSES:
                        if applicable(defense, model):
                            yield defended(there, parent, defense)


# ------------------------------------------------------------------------------------------------------- wording


def _where(results: Results) -> str:
    scale = results.scale
    return (
        f"{images(scale)}, PreAct-ResNet18 of width {scale.width}, {scale.epochs} epochs, "
        f"{scale.name} scale, seed {results.seed}"
    )


_artefact = partial(artefact, PAPER)


def printed_cells() -> pd.DataFrame:
    """Printed cells of CIFAR-10, PreAct-ResNet18, 10 %: the board of 2022 where it has the cell, else that of 2025, else the papers."""
    boards = [published(PAPER, name) for name in ("leaderboard_2022", "leaderboard_2025")]
    frame = pd.concat(
        [*boards, published("ft_sam", "table1"), published("sau", "table3"), published("polarizer", "table1")]
    )
    frame = frame[(frame.dataset == "cifar10") & (frame.model == "preact_resnet18")]
    frame = frame[(frame.ratio == RATIO) & frame.value.notna()]
    frame = frame[~frame.attack.map(compare.is_average)]
    return frame.drop_duplicates(["dataset", "attack", "defense", "setting", "metric"], keep="first")


def _values(result: Mapping[str, Any], before: Mapping[str, Any] | None = None) -> dict[str, float]:
    out = {name: result[name] for name in ("c_acc", "asr", "r_acc") if name in result}
    if before is not None:
        out["der"] = der(before["c_acc"], before["asr"], result["c_acc"], result["asr"], unit="percent")
    return out


def _tidy(rows: Iterable[tuple[TrainSpec, str, Mapping[str, float]]]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "dataset": parent.dataset, "model": parent.model, "ratio": RATIO, "attack": parent.attack,
                "defense": defense, "setting": "", "metric": metric, "value": value, "n_seeds": 1,
            }
            for parent, defense, values in rows
            for metric, value in values.items()
        ]
    )  # fmt: skip


# ---------------------------------------------------------------------------------------------------- the attacks


def draw_attacks(results: Results) -> Artefact:
    """Every attack at this scale beside its printed full-scale numbers, with its cost."""
    scale = results.scale
    clean = results.get(ex.train(scale, seed=results.seed))
    printed = printed_cells().query("defense == 'none'").set_index(["attack", "metric"]).value
    rows = []
    for name in SLICES[scale.name].attacks:
        spec = attacked(scale, name, seed=results.seed)
        result = results.get(spec)
        if result is None:
            continue
        prepared = None if spec.prepared is None else results.get(spec.prepared)
        seconds = result["seconds"] + (prepared["seconds"] if prepared else 0)
        row: dict[str, Any] = {"Attack": style.title("attack", name), "Ratio (%)": 100 * spec.ratio}
        for metric, key in (("ACC", "c_acc"), ("ASR", "asr"), ("R-ACC", "r_acc")):
            shown = {"ACC": "C-Acc", "R-ACC": "R-Acc"}.get(metric, metric)
            row[shown] = result[key]
            row[f"{shown} printed"] = printed.get((name, metric), np.nan)
        row["Images/s"] = round(result["n_train"] * spec.epochs / max(result["seconds"], 0.1))
        row["Minutes"] = round(seconds / 60, 1)
        row["Learned"] = "yes" if result["asr"] >= LEARNED else "no"
        rows.append(row)
    if not rows:
        raise NotRun(f"no attack has a result at {scale.name} scale")
    frame = pd.DataFrame(rows)
    absent = [style.title("attack", n) for n in ATTACKS if style.title("attack", n) not in set(frame.Attack)]
    caption = (
        f"Attacks, ours beside the printed full-scale numbers (CIFAR-10, PreAct-ResNet18, 10 %). {_where(results)}."
        + (f" Without attack the C-Acc is {clean['c_acc']:.1f}." if clean else "")
        + (f" Not run: {', '.join(absent)}." if absent else "")
    )
    notes = [
        f"Percent. Minutes, on {devices(results)}, include what an attack prepares (universal perturbation, encoder, adversarial images).",
        "Printed: BackdoorBench leaderboards of 2022 and 2025; nan: not printed. LC was printed without its corner trigger.",
        "LC and SIG poison every image of the target class at 10 %, so that class is hardly known without the trigger.",
    ]
    return _artefact(
        results, "our_attacks", "table", caption=caption, frame=frame, html=tables.to_html(frame, caption, notes=notes)
    )


def draw_datasets(results: Results) -> Artefact:
    """Two attacks on every data set, undefended and after four defenses."""
    rows = []
    for dataset in DATASETS[results.scale.name]:
        there = scales.on(results.scale, dataset)
        clean = results.get(ex.train(there, seed=results.seed))
        for attack in DATASET_ATTACKS:
            parent = attacked(there, attack, seed=results.seed)
            for defense in ("none", *HEADLINE):
                result = results.get(parent if defense == "none" else defended(there, parent, defense))
                if result is None:
                    continue
                rows.append(
                    {
                        "Data set": sources.DATASETS[dataset].title,
                        "Clean C-Acc": clean["c_acc"] if clean else np.nan,
                        "Attack": style.title("attack", attack),
                        "Defense": "none" if defense == "none" else style.title("defense", defense),
                        "C-Acc": result["c_acc"],
                        "ASR": result["asr"],
                        "R-Acc": result["r_acc"],
                    }
                )
    if not rows:
        raise NotRun(f"no data set has a result at {results.scale.name} scale")
    frame = pd.DataFrame(rows)
    whole = len(DATASETS[results.scale.name]) * len(DATASET_ATTACKS) * (1 + len(HEADLINE))
    sizes = "; ".join(images(scales.on(results.scale, dataset)) for dataset in DATASETS[results.scale.name])
    caption = (
        f"Two attacks at {100 * RATIO:g} % on every data set that is here, {len(frame)} of {whole} cells. {sizes}. PreAct-ResNet18 "
        f"of width {results.scale.width}, {results.scale.name} scale, seed {results.seed}."
    )
    notes = ["Percent. The twenty classes of Tiny ImageNet are a choice of ours; nothing is printed for them."]
    return _artefact(
        results, "our_datasets", "table", caption=caption, frame=frame, html=tables.to_html(frame, caption, notes=notes)
    )


def draw_seeds(results: Results) -> Artefact:
    """ASR and C-Acc of every seed: victim, clean subset and defense all drawn anew."""
    scale, rows = results.scale, []
    seeds = range(results.seed, results.seed + 1 + MORE_SEEDS)
    for attack in SEEDED[scale.name]:
        for defense in ("none", *HEADLINE):
            parents = [attacked(scale, attack, seed=seed) for seed in seeds]
            wanted = parents if defense == "none" else [defended(scale, parent, defense) for parent in parents]
            found = [results.get(spec) for spec in wanted]
            if not any(found[1:]):
                continue
            asr = [result["asr"] if result else np.nan for result in found]
            rows.append(
                {
                    "Attack": style.title("attack", attack),
                    "Defense": "none" if defense == "none" else style.title("defense", defense),
                    **{f"ASR, seed {seed}": value for seed, value in zip(seeds, asr, strict=True)},
                    "Mean ASR": np.nanmean(asr),
                    "SD": np.nanstd(asr, ddof=1),
                    "Mean C-Acc": float(np.mean([result["c_acc"] for result in found if result])),
                }
            )
    if not rows:
        raise NotRun(f"there is one seed at {scale.name} scale")
    frame = pd.DataFrame(rows)
    caption = (
        f"Three seeds: ASR after each defense, where attack, victim, clean subset and defense are all drawn anew. {images(scale)}, "
        f"PreAct-ResNet18 of width {scale.width}, {scale.epochs} epochs, {scale.name} scale."
    )
    notes = [f"Percent. Computed on {devices(results)}; nan: not run."]
    return _artefact(
        results, "our_seeds", "table", caption=caption, frame=frame, html=tables.to_html(frame, caption, notes=notes)
    )


def repeated(scale: Scale) -> dict[str, dict[str, Any]]:
    """The same specs, seed included, computed once more on another kind of device: rows of a second ledger in git, by key."""
    file = paths.recorded_dir() / scale.name / "repeated.jsonl"
    return ledger.load(file) if file.exists() else {}


def repetition_specs(scale: Scale, seed: int) -> list[Spec]:
    """What was computed twice."""
    found = (from_dict(row["spec"]) for row in repeated(scale).values())
    return [spec for spec in found if spec.seed == seed and isinstance(spec, TrainSpec | DefendSpec)]


def draw_repetition(results: Results) -> Artefact:
    """How far two computations of the same cells lie apart, by defense, beside what two papers' repetitions printed."""
    second = repeated(results.scale)
    rows = []
    for spec in repetition_specs(results.scale, results.seed):
        if result := results.get(spec):
            defense = spec.defense if isinstance(spec, DefendSpec) else "none"
            attack = (spec.parent if isinstance(spec, DefendSpec) else spec).attack  # type: ignore[attr-defined]
            before = second[spec.key]["result"]
            change = {name: abs(result[name] - before[name]) for name in ("c_acc", "asr")}
            rows.append({"defense": defense, "attack": attack, **change})
    if not rows:
        raise NotRun(f"nothing was computed twice at {results.scale.name} scale")
    cells = pd.DataFrame(rows)
    kinds = sorted({row["provenance"]["device"] for row in second.values()})
    shown = []
    for defense in ("none", *DEFENSES):
        mine = cells[cells.defense == defense]
        if len(mine):
            far = mine.sort_values("asr").iloc[-1]
            shown.append(
                {
                    "Defense": "none" if defense == "none" else style.title("defense", defense),
                    "Cells": len(mine),
                    "C-Acc, mean": mine.c_acc.mean(),
                    "ASR, median": mine.asr.median(),
                    "ASR, mean": mine.asr.mean(),
                    "ASR, largest": far.asr,
                    "under": style.title("attack", far.attack),
                    "ASR, mean between two papers": compare.repetition_noise("ASR", defense),
                }
            )
    frame = pd.DataFrame(shown)
    caption = (
        f"The same cells computed twice from the same seeds, on a GPU and on a {' and '.join(kinds).upper()}: absolute differences "
        f"in points, {len(cells)} cells. {_where(results)}."
    )
    notes = [
        "The same data, poisoned images, clean subset and initial weights; what differs is the order of the images and the crops, since a "
        "seed draws other numbers on another kind of device, and rounding. After a defense the parent differs too.",
        "Between two papers: the eight attacks that FT-SAM's Table 1 and the leaderboard of 2022 share, at full scale.",
    ]
    return _artefact(
        results,
        "our_repetition",
        "table",
        caption=caption,
        frame=frame,
        html=tables.to_html(frame, caption, notes=notes),
    )


def draw_input_aware(results: Results) -> Artefact:
    """What raises the ASR of Input-aware at laptop scale."""
    rows = []
    for (name, _, _), spec in zip(STUDIES, input_aware_specs(results.scale, results.seed), strict=False):
        if result := results.get(spec):
            last = [entry["asr"] for entry in result["log"][-5:]]
            rows.append(
                {
                    "Change": name,
                    "C-Acc": result["c_acc"],
                    "ASR": result["asr"],
                    "R-Acc": result["r_acc"],
                    "Lowest ASR of the last 5 epochs": min(last),
                    "Highest": max(last),
                }
            )
    if not rows:
        raise NotRun("it is a question of the laptop scale: which of its cuts weakens the attack")
    frame = pd.DataFrame(rows)
    caption = (
        f"Input-aware at {100 * RATIO:g} % with more of what the laptop scale cuts, {len(frame)} of {len(STUDIES)} trainings. "
        f"{_where(results)}, unless a row says otherwise."
    )
    notes = ["Percent. The last two columns: the first 500 test images, after each epoch."]
    return _artefact(
        results,
        "our_input_aware",
        "table",
        caption=caption,
        frame=frame,
        html=tables.to_html(frame, caption, notes=notes),
    )


# --------------------------------------------------------------------------------------------------- the defenses

ACCESS = {CLEAN: "Clean subset", POISONED: "Poisoned training set", NOTHING: "No data"}


def averages(results: Results) -> pd.DataFrame:
    """Mean C-Acc, ASR, R-Acc and DER (by both rules) of every defense over the learned attacks, and its median seconds.

    Returns
    -------
    DataFrame
        One row per defense and ``none``: ``defense, access, c_acc, asr, r_acc, der_mean, der_of_mean, seconds, n`` (number of
        attacks). A defense enters with the attacks on which it was run.
    """
    scale, rows = results.scale, []
    part = SLICES[scale.name]
    for defense in ("none", *part.defenses):
        before, after = [], []
        for name in part.defended:
            parent = attacked(scale, name, seed=results.seed)
            undefended = results.get(parent)
            result = undefended if defense == "none" else results.get(defended(scale, parent, defense))
            if undefended is not None and result is not None and undefended["asr"] >= LEARNED:
                before.append(undefended)
                after.append(result)
        if not after:
            continue
        lists = [[r[name] for r in side] for side in (before, after) for name in ("c_acc", "asr")]
        row: dict[str, Any] = {"defense": defense, "access": "" if defense == "none" else DEFENSES[defense].access}
        row |= {name: float(np.mean([r[name] for r in after])) for name in ("c_acc", "asr", "r_acc")}
        if defense != "none":
            row["der_mean"] = mean_of_ders(*lists, unit="percent")
            row["der_of_mean"] = der_of_averages(*lists, unit="percent")
            row["seconds"] = float(np.median([r["seconds"] for r in after]))
        rows.append({**row, "n": len(after)})
    if not rows:
        raise NotRun(f"no learned attack has a result at {scale.name} scale")
    return pd.DataFrame(rows)


def draw_defenses(results: Results) -> Artefact:
    """Every defense under every attack it was run on, grouped by what it may see, beside the printed cells."""
    scale = results.scale
    part = SLICES[scale.name]
    cells = []
    for name in part.defended:
        parent = attacked(scale, name, seed=results.seed)
        before = results.get(parent)
        if before is None:
            continue
        cells.append((parent, "none", _values(before)))
        for defense in part.defenses:
            if applicable(defense, parent.model) and (result := results.get(defended(scale, parent, defense))):
                cells.append((parent, defense, _values(result, before)))
    if not cells:
        raise NotRun(f"no defense has a result at {scale.name} scale")
    frame = compare.compare(_tidy(cells), printed_cells(), scale=scale.name, stand_ins=stand_ins(scale))
    frame = frame[frame.attack.isin(part.defended) & frame.defense.isin(("none", *DEFENSES))]
    mean = averages(results)
    shown = mean.assign(
        defense=[style.title("defense", name) for name in mean.defense],
        access=[ACCESS.get(name, "") for name in mean.access],
    ).rename(
        columns={
            "defense": "Defense", "access": "Sees", "c_acc": "C-Acc", "asr": "ASR", "r_acc": "R-Acc",
            "der_mean": "Mean DER", "der_of_mean": "DER of means", "seconds": "Seconds", "n": "Attacks",
        }
    )  # fmt: skip
    total = len(part.defended) * (1 + len(part.defenses))
    caption = (
        f"Defenses, ours beside the printed full-scale cells. {_where(results)}, {100 * RATIO:g} % poisoned, {scale.n_clean:,} "
        f"clean images for the defender; {len(cells)} of {total} cells run."
    )
    html = [tables.to_html(shown, f"Averages over the learned attacks. {caption}", notes=_average_notes(mean))]
    for access, text in ACCESS.items():
        names = [name for name in part.defenses if DEFENSES[name].access == access]
        mine = frame[frame.defense.isin(("none", *names))]
        if names and mine[mine.defense != "none"].ours.notna().any():
            html.append(
                tables.paper_table(mine, f"Defenses that see: {text.lower()}.", rows=("defense",), columns="attack")
            )
    return _artefact(results, "our_defenses", "table", caption=caption, frame=frame, html="\n".join(html))


def _average_notes(mean: pd.DataFrame) -> list[str]:
    noise = {name: compare.repetition_noise("ASR", name) for name in mean.defense}
    apart = ", ".join(f"{style.title('defense', name)} {v:.0f}" for name, v in noise.items() if v is not None)
    return [
        f"Only attacks whose undefended ASR is at least {LEARNED:g} enter. Seconds: median over the attacks.",
        "Mean DER: mean of the attacks' DERs (the rule of SAU); DER of means: from the mean C-Acc and ASR (FT-SAM, NPD).",
        f"Two papers that repeated the same cells differ in ASR by these points on average: {apart}.",
        "Every choice of a defense is made on held-out clean images; the printed ANP and FP chose by test data.",
    ]


# -------------------------------------------------------------------------------------------------- the detectors


def draw_detectors(results: Results) -> Artefact:
    """TPR, FPR, F1, AUROC and seconds of every detector, beside the printed TPR and FPR."""
    scale, rows = results.scale, []
    printed = published("agpd")
    printed = printed[(printed["item"] == "table1") & (printed.dataset == "cifar10")]
    lookup = printed.drop_duplicates(["attack", "defense", "metric"]).set_index(["attack", "defense", "metric"]).value
    part = SLICES[scale.name]
    for attack in part.detected:
        for name in part.detectors:
            result = results.get(detected(scale, attacked(scale, attack, seed=results.seed), name))
            if result is None:
                continue
            rows.append(
                {
                    "Attack": style.title("attack", attack),
                    "Detector": style.title("detector", name),
                    "Sees": DETECTORS[name].access,
                    "TPR": result["tpr"],
                    "TPR printed": lookup.get((attack, name, "TPR"), np.nan),
                    "FPR": result["fpr"],
                    "FPR printed": lookup.get((attack, name, "FPR"), np.nan),
                    "F1": result["f1"],
                    "AUROC": result["auroc"],
                    "Seconds": result["seconds"],
                }
            )
    if not rows:
        raise NotRun(f"no detector has a result at {scale.name} scale")
    frame = pd.DataFrame(rows)
    caption = (
        f"Detectors of poisoned training images, ours beside the AGPD paper's full-scale numbers (arXiv 2312.06230, Table 1). "
        f"{_where(results)}."
    )
    notes = ["Percent. No threshold uses the truth; AUROC judges the scores alone. nan: not printed."]
    return _artefact(
        results,
        "our_detectors",
        "table",
        caption=caption,
        frame=frame,
        html=tables.to_html(frame, caption, notes=notes),
    )


# ----------------------------------------------------------------------------------------------- the poisoning ratio


def draw_ratio(results: Results) -> Artefact:
    """ASR over the poisoning ratio, undefended and after FT: ours and the printed curves."""
    import matplotlib.pyplot as plt

    scale, rows = results.scale, []
    part = SLICES[scale.name]
    board = published(PAPER, "leaderboard_2022")
    board = board[(board.dataset == "cifar10") & (board.model == "preact_resnet18") & (board.metric == "ASR")]
    for attack in part.swept:
        for defense in ("none", "ft"):
            printed = board[(board.attack == attack) & (board.defense == defense)].set_index("ratio").value
            for ratio in part.ratios:
                parent = attacked(scale, attack, ratio, results.seed)
                result = results.get(parent if defense == "none" else defended(scale, parent, defense))
                ours = None if result is None else result["asr"]
                rows.append(
                    {"attack": attack, "defense": defense, "ratio": ratio, "ours": ours, "printed": printed.get(ratio)}
                )
    frame = pd.DataFrame(rows)
    frame[["ours", "printed"]] = frame[["ours", "printed"]].astype(float)
    if frame.ours.isna().all():
        raise NotRun(f"no model of the sweep over the ratio has a result at {scale.name} scale")
    with style.context():
        figure, panels = plt.subplots(
            1,
            len(part.swept),
            figsize=(style.PAGE if len(part.swept) > 1 else style.COLUMN, 2.5),
            sharey=True,
            squeeze=False,
        )
        for axes, attack in zip(panels.flat, part.swept, strict=True):
            for defense in ("none", "ft"):
                mine = frame[(frame.attack == attack) & (frame.defense == defense)]
                look = style.look("defense", defense)
                label = "undefended" if defense == "none" else f"after {look.title}"
                at = 100 * mine.ratio
                axes.plot(at, mine.ours, color=look.colour, marker=look.marker, linestyle="-", label=f"{label}, ours")
                axes.plot(
                    at, mine.printed, color=look.colour, marker=look.marker, markerfacecolor="none", linestyle=":",
                    label=f"{label}, printed",
                )  # fmt: skip
            axes.set(xscale="log", xlabel="poisoning ratio (%)", ylim=(-4, 104), title=style.title("attack", attack))
            axes.set_xticks([100 * r for r in part.ratios], [f"{100 * r:g}" for r in part.ratios])
            axes.minorticks_off()
        panels[0, 0].set_ylabel("ASR (%)")
        panels[0, 0].legend(fontsize=6.5)
    numbers = "; ".join(
        f"{style.title('attack', attack)} {'undefended' if defense == 'none' else 'after FT'} "
        + ", ".join("not run" if np.isnan(v) else f"{v:.0f}" for v in group.ours)
        for (attack, defense), group in frame.groupby(["attack", "defense"], sort=False)
    )
    run = int(frame.ours.notna().sum())
    return _artefact(
        results, "our_ratio", "figure", figure=figure, frame=frame,
        caption=f"ASR over the poisoning ratio, undefended and after FT; solid: ours ({run} of {len(frame)} cells run), dotted: "
        f"printed at full scale. {_where(results)}.",
        alt=f"ASR of our runs at {', '.join(f'{100 * r:g}' for r in part.ratios)} %: {numbers}.",
    )  # fmt: skip


# --------------------------------------------------------------------------------------------- looking at the attacks


def trigger_specs(scale: Scale, seed: int) -> list[Spec]:
    """What the trigger of every attack looks like."""
    return [ex.analyse("triggers", attacked(scale, name, seed=seed), seed=seed) for name in SLICES[scale.name].attacks]


def _looks(results: Results) -> list[dict[str, Any]]:
    found = [results.get(spec) for spec in trigger_specs(results.scale, results.seed)]
    if not (there := [result for result in found if result is not None]):
        raise NotRun(f"no attack was looked at at {results.scale.name} scale")
    return there


def _shown(results: Results, looks: list[dict[str, Any]]) -> str:
    return f"{len(looks)} of {len(SLICES[results.scale.name].attacks)} attacks"


def draw_triggers(results: Results) -> Artefact:
    """Clean image, poisoned image and residual of every attack, with PSNR, SSIM and L_inf."""
    looks = _looks(results)
    return _artefact(
        results, "our_triggers", "figure", figure=attack_gallery.gallery(looks), frame=attack_gallery.quality_frame(looks),
        caption=f"What an attack does to an image: clean, poisoned, and their difference, amplified; {_shown(results, looks)}. "
        f"{_where(results)}.",
        alt=attack_gallery.describe(looks),
    )  # fmt: skip


def draw_samples(results: Results) -> Artefact:
    """Samples of every poisoned training set with their true and given labels."""
    looks = _looks(results)
    return _artefact(
        results, "our_samples", "figure", figure=attack_gallery.montage(looks), frame=attack_gallery.quality_frame(looks),
        caption=f"What the attacker hands in: samples of the poisoned training sets, with their true and given labels; "
        f"{_shown(results, looks)}. {_where(results)}.",
        alt=attack_gallery.describe_samples(looks),
    )  # fmt: skip


ITEMS: dict[str, Item] = {
    "our_triggers": Item(trigger_specs, draw_triggers),
    "our_samples": Item(trigger_specs, draw_samples),
    "our_attacks": Item(attack_specs, draw_attacks),
    "our_defenses": Item(defense_specs, draw_defenses),
    "our_detectors": Item(detector_specs, draw_detectors),
    "our_ratio": Item(ratio_specs, draw_ratio),
    "our_datasets": Item(dataset_specs, draw_datasets),
    "our_input_aware": Item(input_aware_specs, draw_input_aware),
    "our_repetition": Item(repetition_specs, draw_repetition),
    "our_seeds": Item(seed_specs, draw_seeds),
}
"""Items that are not in the paper: our own runs."""
