"""Tables of the benchmark: the printed ones, drawn from the leaderboard, and those of our own runs.

What is drawn from the leaderboard has no experiments and is the same at every scale.
"""

import ast
import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, fields
from html import escape
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from paperlib.attacks import ATTACKS as OUR_ATTACKS
from paperlib.data import sources
from paperlib.defenses import CLEAN, NOTHING, POISONED
from paperlib.defenses import DEFENSES as OUR_DEFENSES
from paperlib.detection import DETECTORS
from paperlib.experiments import plan, scales
from paperlib.experiments.specs import DefendSpec
from paperlib.papers import Results
from paperlib.papers.benchmark import claims, runs
from paperlib.papers.benchmark.runs import (
    ATTACKS,
    COPIES,
    DEFENSES,
    ERRORS,
    METRICS,
    MODELS,
    PAPER,
    RATIO,
    RATIOS,
    board,
)
from paperlib.papers.captions import artefact, devices, images, stand_ins
from paperlib.papers.defense_table import LEARNED, averages, tidy
from paperlib.report import compare, ranks, style, tables
from paperlib.report.artefact import Artefact
from paperlib.report.claims import NotRun
from paperlib.report.compare import repetition_noise
from paperlib.report.published import Item, inventory, published

NAMES = {"ACC": "C-Acc", "ASR": "ASR", "R-ACC": "R-Acc"}

# ------------------------------------------------------------------------------------------------------- wording


def entry(id_: str) -> Item:
    """The item ``id_`` of the paper's inventory."""
    return next(item for item in inventory(PAPER) if item.id == id_)


def numbered(id_: str, text: str) -> str:
    """A caption: the item's number in the paper, as far as that is known, and ``text``."""
    item = entry(id_)
    number = f"{item.kind.capitalize()} {item.number}" if item.number else f"{item.kind.capitalize()} (number unknown)"
    return f"{number}{'' if item.verified or not item.number else ' (number inferred)'}. {text}"


def printed(frame: pd.DataFrame) -> str:
    """For a caption: that the cells of ``frame`` are printed ones, and how many are no result."""
    na, collapsed = (int((frame.status == name).sum()) for name in ("NA", "collapsed"))
    copied = int(frame.status.isin(COPIES).sum())
    more = f", {copied} copied" if copied else ""
    return f"printed, not ours (leaderboard of June 2022; {len(frame):,} cells, {na} NA, {collapsed} collapsed{more})"


def as_printed(id_: str, caption: str, **content: Any) -> Artefact:
    """An item of printed numbers: the same at every scale and seed."""
    return Artefact(paper=PAPER, id=id_, kind=entry(id_).kind, scale="paper", caption=caption, **content)


def known_errors(frame: pd.DataFrame) -> list[str]:
    """Which of the known errors touch the cells of ``frame``, in the order of :data:`ERRORS`."""
    present = {*frame.attack, *frame.defense, *frame.status}
    return [name for name in ERRORS if name in present]


def ordered(frame: pd.DataFrame) -> pd.DataFrame:
    """Cells of the board in the order of the tables; small ratios first."""
    order = {name: i for i, name in enumerate((*runs.LARGEST_CLASS, *MODELS, *ATTACKS, *DEFENSES))}
    by = ["dataset", "model", "ratio", "attack", "defense"]
    return frame.sort_values(by, key=lambda column: column.map(lambda v: order.get(v, v))).reset_index(drop=True)


def where(results: Results) -> str:
    """The end of a caption: data, model, scale and seed of our runs."""
    scale = results.scale
    return (
        f"{images(scale)}, PreAct-ResNet18 of width {scale.width}, {scale.epochs} epochs, "
        f"{scale.name} scale, seed {results.seed}"
    )


def _own(results: Results, id_: str, rows: Any, caption: str, notes: Iterable[str], absent: str) -> Artefact:
    """A table of our runs; :class:`NotRun`, with the sentence ``absent``, where there is no row."""
    if not len(rows):
        raise NotRun(absent)
    frame = pd.DataFrame(rows)
    html = tables.to_html(frame, caption, notes=notes)
    return artefact(PAPER, results, id_, "table", caption=caption, frame=frame, html=html)


def _after(defense: str) -> str:
    return "none" if defense == "none" else style.title("defense", defense)


# ------------------------------------------------------------------------------------------------------- taxonomies

ATTACK_COLUMNS = ("Attack", "Attacker controls", "Trigger", "Where", "Same for all images", "Labels", "Needs first")
ATTACK_FACTS = {
    "badnets": ("training data", "visible patch", "one spot", "yes", "changed", "nothing"),
    "blended": ("training data", "a picture blended in faintly", "whole image", "yes", "changed", "one picture"),
    "lc": (
        "training data", "adversarial noise, patches in the corners", "whole image, corners", "patches only", "kept",
        "an adversarially trained model",
    ),
    "sig": ("training data", "sinusoidal stripes", "whole image", "yes", "kept", "nothing"),
    "lf": ("training data", "smooth perturbation", "whole image", "yes", "changed", "a clean model of the same kind"),
    "ssba": (
        "training data", "message hidden by a network", "whole image", "no", "changed",
        "encoder and decoder, trained on clean images",
    ),
    "input_aware": (
        "training", "pattern that a generator makes for each image", "within a generated mask", "no", "changed",
        "nothing: the generator is trained along",
    ),
    "wanet": ("training", "slight warp", "whole image", "yes (the warp)", "changed", "nothing"),
}  # fmt: skip
"""Facts about the eight attacks, in the order of :data:`ATTACK_COLUMNS`."""

DEFENSE_COLUMNS = ("Defense", "Gets", "Gives", "When", "Idea")
_MODEL = "backdoored model, 5 % clean images"
DEFENSE_FACTS = {
    "ft": (_MODEL, "model", "after training", "training on clean images alone makes the network forget"),
    "fp": (_MODEL, "model", "after training", "neurons that clean images leave silent are pruned, then fine-tuning"),
    "nad": (_MODEL, "model", "after training", "the fine-tuned model teaches its attention maps to the backdoored one"),
    "nc": (
        "backdoored model, clean images", "model, target class", "after training",
        "the smallest trigger towards each class is sought; an outlying one is unlearned",
    ),
    "anp": (_MODEL, "model", "after training", "neurons that react most to perturbed weights are pruned"),
    "ac": (
        "poisoned data", "filtered data, new model", "before and in training",
        "activations of a class form two clusters; the smaller one is dropped",
    ),
    "ss": (
        "poisoned data, target class", "filtered data, new model", "before and in training",
        "samples far along the first singular direction of the features are dropped",
    ),
    "abl": ("poisoned data", "model", "in training", "what is learned first is isolated, then unlearned"),
    "dbd": (
        "poisoned data", "model", "in training",
        "features are learned without labels; labels of samples with a large loss are ignored",
    ),
}  # fmt: skip
"""Facts about the nine defenses, in the order of :data:`DEFENSE_COLUMNS`."""


def _plain(id_: str, rows: Sequence[Sequence[str]], columns: Sequence[str], text: str) -> Artefact:
    frame, caption = pd.DataFrame(rows, columns=list(columns)), numbered(id_, text)
    return as_printed(id_, caption, frame=frame, html=tables.to_html(frame, caption))


def taxonomy(id_: str, family: str, columns: Sequence[str], facts: Mapping[str, Sequence[str]], text: str) -> Artefact:
    """Tables 1 and 2: the attacks, the defenses."""
    ours = {"attack": OUR_ATTACKS, "defense": OUR_DEFENSES}[family]
    rows = [(style.title(family, name), *row, "yes" if name in ours else "planned") for name, row in facts.items()]
    text = f"{text} Facts in our own words; the paper's columns are inferred."
    return _plain(id_, rows, [*columns, "In this repository"], text)


# -------------------------------------------------------------------------------------------------- hyper-parameters


def _sentences(cls: type) -> dict[str, str]:
    """The sentence that stands below each field of a dataclass in its file, without its markup."""
    (body,) = [node.body for node in ast.parse(inspect.getsource(cls)).body if isinstance(node, ast.ClassDef)]
    out = {}
    for field, below in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
            text = " ".join(str(ast.literal_eval(below.value)).split())
            out[field.target.id] = re.sub(r":\w+:(?=`)|`", "", text)
    return out


def settings(id_: str, family: str, classes: Mapping[str, Callable[[], type]], names: Iterable[str]) -> Artefact:
    """Every hyper-parameter of our dataclasses with its default; methods that are not built yet say so.

    Parameters
    ----------
    classes
        Name of a method -> what returns its dataclass. A field without a default is filled by preparation and is left
        out.
    """
    rows: list[Sequence[str]] = []
    for name in names:
        shown = style.title(family, name)
        if name not in classes:
            rows.append((shown, "–", "–", "not built yet"))
            continue
        cls = classes[name]()
        sentences = _sentences(cls)
        for field in fields(cls):
            if field.default is not MISSING:
                value = f"{field.default:.4g}" if isinstance(field.default, float) else str(field.default)
                rows.append((shown, field.name, value, sentences.get(field.name, "")))
    text = (
        f"Hyper-parameters of the {family}s: our defaults, read from the code. The printed table is not available"
        " to us."
    )
    return _plain(id_, rows, [family.capitalize(), "Hyper-parameter", "Our default", "Meaning"], text)


def attack_settings() -> Artefact:
    """Supplement, Table 1: hyper-parameters of the attacks."""
    return settings("supp_table1", "attack", {name: method.load for name, method in OUR_ATTACKS.items()}, ATTACKS)


def defense_settings() -> Artefact:
    """Supplement, Table 2: hyper-parameters of the defenses."""
    classes = {name: method.config_class for name, method in OUR_DEFENSES.items()}
    return settings("supp_table2", "defense", classes, DEFENSES[1:])


# ---------------------------------------------------------------------------------------------------- printed results


def _cell(row: Any, metric: str, marks: Mapping[str, str]) -> str:
    if row["status"] == "NA":
        return "NA"
    sign = "×" if row["status"] == "collapsed" else marks.get(row["status"], "")
    return f"{row[metric]:.2f}" + (f"<sup>{sign}</sup>" if sign else "")


def _row(header: str, name: str, texts: Iterable[str], bold: bool, opening: str = "<tr>") -> str:
    cells = "".join(f'<td class="n">{f"<b>{text}</b>" if bold else text}</td>' for text in texts)
    return f"{opening}{header}<th>{name}</th>{cells}</tr>"


def _results_html(frame: pd.DataFrame, caption: str, block: str = "") -> str:
    """Attacks (and metrics) down, defenses across; one block per value of the column ``block``, if one is named."""
    marks = {name: str(i) for i, name in enumerate(known_errors(frame), 1)}

    def marked(family: str, name: str) -> str:
        return escape(style.title(family, name)) + (f"<sup>{marks[name]}</sup>" if name in marks else "")

    head = "".join(f'<th scope="col">{marked("defense", name)}</th>' for name in DEFENSES)
    body = []
    parts: Iterable[tuple[Any, pd.DataFrame]] = frame.groupby(block, sort=False) if block else [(None, frame)]
    for value, part in parts:
        if value is not None:
            title = f"{100 * value:g} %" if block == "ratio" else style.title(block, value)
            body.append(f'<tr class="average"><th scope="rowgroup" colspan="12">{title}</th></tr>')
        rows = {(row["attack"], row["defense"]): row for row in part.to_dict("records")}
        for attack in ATTACKS:
            first = f'<th scope="rowgroup" rowspan="3">{marked("attack", attack)}</th>'
            for metric, name in NAMES.items():
                texts = [_cell(rows[attack, defense], metric, marks) for defense in DEFENSES]
                body.append(_row(first if metric == "ACC" else "", name, texts, metric == "ASR"))
        mean = runs.means(part, ["defense"]).reindex(DEFENSES)
        for i, metric in enumerate((*METRICS, "n")):
            form = "{:.0f}" if metric == "n" else "{:.2f}"
            texts = ["–" if pd.isna(v) else form.format(v) for v in mean[metric]]
            first = "" if i else '<th scope="rowgroup" rowspan="4">Mean</th>'
            opening = "<tr>" if i else '<tr class="average">'
            body.append(_row(first, NAMES.get(metric, "attacks"), texts, metric == "ASR", opening))
    notes = [
        "Percent. All numbers are printed ones: our own runs stand in tables of their own.",
        "NA: the original has no value." if (frame.status == "NA").any() else "",
        (
            "×: collapsed, C-Acc is at most the share of the largest class; not in the mean."
            if (frame.status == "collapsed").any()
            else ""
        ),
        "Mean: over the attacks that have a proper result; their number stands below it.",
        *(f"{number}: {ERRORS[name]}." for name, number in marks.items()),
        (
            "Two papers that repeated the same cells on CIFAR-10 differ in ASR by these points on average:"
            f" {apart(DEFENSES)}."
        ),
    ]
    return tables.fragment(caption, [f'<tr><th colspan="2"></th>{head}</tr>'], body, notes)


def apart(defenses: Iterable[str]) -> str:
    """How far two papers' repetitions of the same cells lie apart in ASR, in points, by defense."""
    noise = {name: repetition_noise("ASR", name) for name in defenses}
    return ", ".join(f"{style.title('defense', name)} {v:.0f}" for name, v in noise.items() if v is not None)


def _board_table(id_: str, what: str, block: str = "", **which: Any) -> Artefact:
    frame = ordered(board(**which))
    caption = numbered(id_, f"{what}: {printed(frame)}.")
    return as_printed(id_, caption, frame=frame, html=_results_html(frame, caption, block))


def result_table(dataset: str, model: str = "preact_resnet18", ratio: float = 0.1) -> Artefact:
    """C-Acc, ASR and R-Acc of every attack under every defense: any of the 100 tables of the leaderboard.

    Raises
    ------
    PaperlibError
        The leaderboard has no such data set, model or ratio.
    """
    what = f"{style.title('dataset', dataset)}, {style.title('model', model)}, {100 * ratio:g} % poisoned"
    return _board_table(f"table_{dataset}", what, dataset=dataset, model=model, ratio=ratio)


def other_models() -> Artefact:
    """The other four models, CIFAR-10, 10 %."""
    what = "The other four models, CIFAR-10, 10 % poisoned"
    return _board_table("table_models", what, "model", dataset="cifar10", model=MODELS[1:], ratio=0.1)


def other_ratios() -> Artefact:
    """The other four ratios, CIFAR-10, PreAct-ResNet18."""
    what = "The other four poisoning ratios, CIFAR-10, PreAct-ResNet18"
    return _board_table("table_ratios", what, "ratio", dataset="cifar10", model="preact_resnet18", ratio=RATIOS[:-1])


# ------------------------------------------------------------------------------------------------------- our runs


def our_attacks(results: Results) -> Artefact:
    """Every attack at this scale beside its printed full-scale numbers, with its cost."""
    scale = results.scale
    clean = results.get(plan.train(scale, seed=results.seed))
    theirs = runs.printed_cells().query("defense == 'none'").set_index(["attack", "metric"]).value
    rows = []
    for name in runs.SLICES[scale.plans].attacks:
        spec = runs.attacked(scale, name, seed=results.seed)
        if (result := results.get(spec)) is None:
            continue
        prepared = results.get(spec.prepared) if spec.prepared else None
        seconds = result["seconds"] + (prepared["seconds"] if prepared else 0)
        row: dict[str, Any] = {"Attack": style.title("attack", name), "Ratio (%)": 100 * spec.ratio}
        for metric, key in (("ACC", "c_acc"), ("ASR", "asr"), ("R-ACC", "r_acc")):
            row |= {NAMES[metric]: result[key], f"{NAMES[metric]} printed": theirs.get((name, metric), np.nan)}
        row["Images/s"] = round(result["n_train"] * spec.epochs / max(result["seconds"], 0.1))
        row["Minutes"] = round(seconds / 60, 1)
        row["Learned"] = "yes" if result["asr"] >= LEARNED else "no"
        rows.append(row)
    run = {row["Attack"] for row in rows}
    absent = [title for n in OUR_ATTACKS if (title := style.title("attack", n)) not in run]
    caption = (
        f"Attacks, ours beside the printed full-scale numbers (CIFAR-10, PreAct-ResNet18, 10 %). {where(results)}."
        + (f" Without attack the C-Acc is {clean['c_acc']:.1f}." if clean else "")
        + (f" Not run: {', '.join(absent)}." if absent else "")
    )
    notes = [
        (
            f"Percent. Minutes, on {devices(results)}, include what an attack prepares (universal perturbation,"
            " encoder, adversarial images)."
        ),
        (
            "Printed: BackdoorBench leaderboards of 2022 and 2025; –: not printed. LC was printed without its corner"
            " trigger."
        ),
        "LC and SIG poison every image of the target class at 10 %, so that class is hardly known without the trigger.",
    ]
    return _own(results, "our_attacks", rows, caption, notes, f"no attack has a result at {scale.name} scale")


def our_datasets(results: Results) -> Artefact:
    """Two attacks on every data set, undefended and after four defenses."""
    scale, rows, planned = results.scale, [], 0
    for dataset, cells in runs.dataset_cells(scale, results.seed).items():
        clean = results.get(plan.train(scales.on(scale, dataset), seed=results.seed))
        planned += len(cells)
        for cell in cells:
            if result := results.get(cell.spec):
                row = {"Data set": sources.DATASETS[dataset].title, "Clean C-Acc": clean["c_acc"] if clean else np.nan}
                row |= {"Attack": style.title("attack", cell.attack), "Defense": _after(cell.defense)}
                rows.append({**row, "C-Acc": result["c_acc"], "ASR": result["asr"], "R-Acc": result["r_acc"]})
    sizes = "; ".join(images(scales.on(scale, dataset)) for dataset in runs.DATASETS[scale.plans])
    caption = (
        f"Two attacks at {100 * RATIO:g} % on every data set that is here, {len(rows)} of {planned} cells. {sizes}."
        f" PreAct-ResNet18 of width {scale.width}, {scale.name} scale, seed {results.seed}."
    )
    notes = ["Percent. The twenty classes of Tiny ImageNet are a choice of ours; nothing is printed for them."]
    return _own(results, "our_datasets", rows, caption, notes, f"no data set has a result at {scale.name} scale")


def our_seeds(results: Results) -> Artefact:
    """ASR and C-Acc of every seed: victim, clean subset and defense all drawn anew."""
    scale, rows = results.scale, []
    planned = runs.seed_cells(scale, results.seed)
    for cells in zip(*planned.values(), strict=True):
        found = [results.get(cell.spec) for cell in cells]
        if any(found[1:]):
            asr = [result["asr"] if result else np.nan for result in found]
            rows.append(
                {
                    "Attack": style.title("attack", cells[0].attack),
                    "Defense": _after(cells[0].defense),
                    **{f"ASR, seed {seed}": value for seed, value in zip(planned, asr, strict=True)},
                    "Mean ASR": np.nanmean(asr),
                    "SD": np.nanstd(asr, ddof=1),
                    "Mean C-Acc": float(np.mean([result["c_acc"] for result in found if result])),
                }
            )
    caption = (
        "Three seeds: ASR after each defense, where attack, victim, clean subset and defense are all drawn anew."
        f" {images(scale)}, PreAct-ResNet18 of width {scale.width}, {scale.epochs} epochs, {scale.name} scale."
    )
    notes = [f"Percent. Computed on {devices(results)}; –: not run."]
    return _own(results, "our_seeds", rows, caption, notes, f"there is one seed at {scale.name} scale")


def our_repetition(results: Results) -> Artefact:
    """How far two computations of the same cells lie apart, by defense, beside what two papers' repetitions printed."""
    second, found = runs.repeated(results.scale), []
    for spec in runs.repetition_specs(results.scale, results.seed):
        if result := results.get(spec):
            defense, victim = (spec.defense, spec.parent) if isinstance(spec, DefendSpec) else ("none", spec)
            before = second[spec.key]["result"]
            change = {name: abs(result[name] - before[name]) for name in ("c_acc", "asr")}
            found.append({"defense": defense, "attack": victim.attack, **change})  # type: ignore[attr-defined]
    cells = pd.DataFrame(found, columns=["defense", "attack", "c_acc", "asr"])
    kinds = sorted({row["provenance"]["device"] for row in second.values()})
    rows = []
    for defense in ("none", *OUR_DEFENSES):
        mine = cells[cells.defense == defense]
        if len(mine):
            far = mine.sort_values("asr").iloc[-1]
            rows.append(
                {
                    "Defense": _after(defense),
                    "Cells": len(mine),
                    "C-Acc, mean": mine.c_acc.mean(),
                    "ASR, median": mine.asr.median(),
                    "ASR, mean": mine.asr.mean(),
                    "ASR, largest": far.asr,
                    "under": style.title("attack", far.attack),
                    "ASR, mean between two papers": repetition_noise("ASR", defense),
                }
            )
    caption = (
        f"The same cells computed twice from the same seeds, on a GPU and on a {' and '.join(kinds).upper()}: absolute"
        f" differences in points, {len(cells)} cells. {where(results)}."
    )
    notes = [
        (
            "The same data, poisoned images, clean subset and initial weights; what differs is the order of the images"
            " and the crops, since a seed draws other numbers on another kind of device, and rounding. After a defense"
            " the parent differs too."
        ),
        "Between two papers: the eight attacks that FT-SAM's Table 1 and the leaderboard of 2022 share, at full scale.",
    ]
    absent = f"nothing was computed twice at {results.scale.name} scale"
    return _own(results, "our_repetition", rows, caption, notes, absent)


def our_input_aware(results: Results) -> Artefact:
    """What raises the ASR of Input-aware at laptop scale."""
    rows = []
    for (name, _, _), spec in zip(runs.STUDIES, runs.input_aware_specs(results.scale, results.seed), strict=False):
        if result := results.get(spec):
            last = [entry["asr"] for entry in result["log"][-5:]]
            row = {"Change": name, "C-Acc": result["c_acc"], "ASR": result["asr"], "R-Acc": result["r_acc"]}
            rows.append({**row, "Lowest ASR of the last 5 epochs": min(last), "Highest": max(last)})
    caption = (
        f"Input-aware at {100 * RATIO:g} % with more of what the laptop scale cuts, {len(rows)} of {len(runs.STUDIES)}"
        f" trainings. {where(results)}, unless a row says otherwise."
    )
    notes = ["Percent. The last two columns: the first 500 test images, after each epoch."]
    absent = "it is a question of the laptop scale: which of its cuts weakens the attack"
    return _own(results, "our_input_aware", rows, caption, notes, absent)


ACCESS = {CLEAN: "Clean subset", POISONED: "Poisoned training set", NOTHING: "No data"}
AVERAGES = {
    "defense": "Defense", "access": "Sees", "c_acc": "C-Acc", "asr": "ASR", "r_acc": "R-Acc", "n": "Attacks",
    "der_mean": "Mean DER", "der_of_mean": "DER of means", "seconds": "Seconds",
}  # fmt: skip


def access(defense: str) -> str:
    """What a defense may see, as the tables say it; empty for ``none``."""
    return "" if defense == "none" else ACCESS[OUR_DEFENSES[defense].access]


def our_defenses(results: Results) -> Artefact:
    """Every defense under every attack it was run on, grouped by what it may see, beside the printed cells."""
    scale = results.scale
    part, cells = runs.SLICES[scale.plans], runs.defense_cells(results.scale, results.seed)
    ours = tidy(results, cells, ("ACC", "ASR", "R-ACC", "DER"))
    if ours.empty:
        raise NotRun(f"no defense has a result at {scale.name} scale")
    frame = compare.compare(
        ours.assign(ratio=RATIO), runs.printed_cells(), scale=scale.name, stand_ins=stand_ins(scale)
    )
    frame = frame[frame.attack.isin(part.defended) & frame.defense.isin(("none", *OUR_DEFENSES))]
    mean = averages(results, cells)
    shown = mean.assign(
        access=mean.defense.map(access), defense=[style.title("defense", name) for name in mean.defense]
    ).rename(columns=AVERAGES)[list(AVERAGES.values())]
    run = ours.drop_duplicates(["attack", "defense"])
    caption = (
        f"Defenses, ours beside the printed full-scale cells. {where(results)}, {100 * RATIO:g} % poisoned,"
        f" {scale.n_clean:,} clean images for the defender; {len(run)} of"
        f" {len(part.defended) * (1 + len(part.defenses))} cells run."
    )
    notes = [
        f"Only attacks whose undefended ASR is at least {LEARNED:g} enter. Seconds: median over the attacks.",
        (
            "Mean DER: mean of the attacks' DERs (the rule of SAU); DER of means: from the mean C-Acc and ASR (FT-SAM,"
            " NPD)."
        ),
        f"Two papers that repeated the same cells differ in ASR by these points on average: {apart(mean.defense)}.",
        "Every choice of a defense is made on held-out clean images; the printed ANP and FP chose by test data.",
    ]
    html = [tables.to_html(shown, f"Averages over the learned attacks. {caption}", notes=notes)]
    for text in ACCESS.values():
        mine = frame[frame.defense.isin(["none", *(name for name in part.defenses if access(name) == text)])]
        if mine[mine.defense != "none"].ours.notna().any():
            title = f"Defenses that see: {text.lower()}."
            html.append(tables.paper_table(mine, title, rows=("defense",), columns="attack"))
    return artefact(PAPER, results, "our_defenses", "table", caption=caption, frame=frame, html="\n".join(html))


def our_detectors(results: Results) -> Artefact:
    """TPR, FPR, F1, AUROC and seconds of every detector, beside the printed TPR and FPR."""
    theirs = published("agpd").query("item == 'table1' and dataset == 'cifar10'")
    lookup = theirs.drop_duplicates(["attack", "defense", "metric"]).set_index(["attack", "defense", "metric"]).value
    rows = []
    for (attack, ratio, name), spec in runs.detections(results.scale, results.seed).items():
        if result := results.get(spec):
            row = {"Attack": style.title("attack", attack), "Poisoned (%)": 100 * ratio}
            row |= {"Detector": style.title("detector", name), "Sees": DETECTORS[name].access}
            for metric in ("TPR", "FPR"):
                there = lookup.get((attack, name, metric), np.nan) if ratio == RATIO else np.nan
                row |= {metric: result[metric.lower()], f"{metric} printed": there}
            rows.append({**row, "F1": result["f1"], "AUROC": result["auroc"], "Seconds": result["seconds"]})
    caption = (
        "Detectors of poisoned training images, ours beside the AGPD paper's full-scale numbers (arXiv 2312.06230,"
        f" Table 1). {where(results)}."
    )
    notes = [
        "Percent. No threshold uses the truth; AUROC judges the scores alone. –: not printed.",
        (
            "At 10 % the target label holds more poisoned images (1,000 of 10,000) than clean ones (900); AC, SS and"
            " SPECTRE assume that poisoned images are few in their label. That is so at 1 and 5 %."
        ),
    ]
    absent = f"no detector has a result at {results.scale.name} scale"
    return _own(results, "our_detectors", rows, caption, notes, absent)


# ------------------------------------------------------------------------------------------- how sure is print?


def our_conclusions(results: Results) -> Artefact:
    """Which printed conclusions would survive a repetition of the experiments."""
    cells = runs.printed_asr()
    sd = claims.noise_sd(sorted(cells.defense.unique()))
    share = ranks.survival(cells, sd, claims.STATEMENTS, read=claims.mean_asr, draws=300, seed=results.seed)
    printed = claims.mean_asr(cells)
    rows = [
        (name, "holds" if statement(printed) else "does not hold", round(100 * share[name]))
        for name, statement in claims.STATEMENTS.items()
    ]
    frame = pd.DataFrame(rows, columns=["Statement", "In print", "Survives (%)"])
    text = (
        "Conclusions from the printed ASR (CIFAR-10, PreAct-ResNet18) under the noise of a repetition: 300 repetitions"
        " drawn."
    )
    listed = ", ".join(f"{style.title('defense', name)} {v:.0f}" for name, v in sd.items())
    notes = [
        (
            f"Standard deviation of a cell in points, from two papers' repetitions at 10 %: {listed}. It is used at"
            " every ratio."
        ),
        (
            "SS and DBD were not repeated and get the mean of the other defenses. NA cells are left out; noisy cells"
            " are cut off at 0 and 100."
        ),
        "The cut pulls means near 0 and 100 towards the middle: for AC, SS and ANP the share is a cautious one.",
    ]
    html = tables.to_html(frame, text, notes=notes)
    return Artefact(
        paper=PAPER, id="our_conclusions", kind="table", scale="paper", seed=results.seed, caption=text, frame=frame,
        html=html
    )  # fmt: skip
