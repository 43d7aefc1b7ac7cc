"""The SAU paper (NeurIPS 2023, arXiv 2307.10562): grid, tables, figures and claims of notebook 02.

Attack setting: 10 % poisoning, target class 0, PreAct-ResNet18; the defender holds 5 % clean images. Backdoored models and
defenses are those of the benchmark (:mod:`paperlib.papers.benchmark_runs`), so that both notebooks share their results. A
scale runs a slice (:data:`SLICES`); captions count it. :func:`whole_grid` plans the paper's main tables in full.

DER is averaged as this paper does: the mean of the attacks' DERs.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from paperlib import experiments as ex
from paperlib import scales
from paperlib.defenses import VARIANTS, applicable
from paperlib.lab.spec import AnalysisSpec, DefendSpec, Spec, TrainSpec
from paperlib.metrics import der
from paperlib.papers import Item, Results
from paperlib.papers.benchmark_runs import LEARNED, attacked, defended
from paperlib.papers.shared import artefact, stand_ins, where
from paperlib.report import compare, reactivation, style, tables
from paperlib.report.artefact import Artefact
from paperlib.report.claims import Claim, NotRun, Verdict
from paperlib.report.published import published
from paperlib.scales import Scale

PAPER = "sau"
ATTACKS = ("badnets", "blended", "input_aware", "lf", "sig", "ssba", "wanet")
DEFENSES = ("anp", "fp", "nc", "nad", "ep", "i_bau", "sau")
WATCHED = ("blended", "badnets")
"""Attacks of the counts of adversarial examples and of the re-activation."""
OBJECTIVES = {"A+B": "", "A+D": "sau_vanilla_outer", "C+B": "sau_vanilla_inner", "C+D": "vanilla_at"}
"""Ablation of the paper -> variant: A, C: inner problem of SAU, plain PGD; B, D: outer problem of SAU, adversarial training."""
NORMS = ("sau", "sau_spatial", "sau_ensemble")
STAGES = ("none", "ft", "sau")


@dataclass(frozen=True)
class Slice:
    """What one scale runs."""

    attacks: tuple[str, ...]
    """Attacks on which all of ``defenses`` run."""
    defenses: tuple[str, ...]
    only_sau: tuple[str, ...]
    """Attacks on which SAU alone runs."""
    ablated: tuple[str, ...]
    normed: tuple[str, ...]
    samples: tuple[int, ...]
    sampled: tuple[str, ...]
    against_rnp: tuple[tuple[str, float], ...]
    """Attack and clean ratio of the comparison with RNP."""
    n: int
    """Test images on which risks are estimated."""
    every: int
    """Epochs between two estimates."""


SLICES: dict[str, Slice] = {
    "smoke": Slice(
        ("blended", "badnets"), ("ft", "anp", "sau"), (), ("blended",), ("badnets",), (62, 30), ("blended",), (),
        n=60, every=2,
    ),
    "laptop": Slice(
        ("badnets", "blended", "sig", "lf", "input_aware", "wanet"), DEFENSES, ("ssba",), ("blended",), ("badnets",),
        (500, 250, 100, 50), ("badnets", "blended"), (("badnets", 0.05), ("input_aware", 0.05), ("sig", 0.05)),
        n=200, every=2,
    ),
    "paper": Slice(
        ATTACKS, DEFENSES, (), ("badnets", "blended", "lf"), ("badnets", "ssba", "wanet"), (2500, 1000, 500, 50, 10),
        ("badnets", "blended", "lf"), tuple((a, r) for a in ("badnets", "input_aware", "sig") for r in (0.01, 0.05)),
        n=2000, every=5,
    ),
}  # fmt: skip

_TINY = "Tiny ImageNet at full size is beyond the smaller scales; `paperlib data fetch tiny_imagenet` gets it"
_VGG = "VGG19 without batch norm is among the models, its runs are planned by whole_grid"
_LOST = "the printed values could not be read"

PLANNED = {
    "table4": f"{_TINY}; its runs are planned by whole_grid",
    "table5": f"{_LOST}, nor which ratios and attacks; nothing to set beside ours",
    "table8": "the printed yes/no entries are not among our published numbers",
    "table9": "composite adversarial training (CAT) is not built, and 1 % poisoning is not run here",
    "table12": "every pixel value needs a trigger and a backdoored model of its own; the trigger's value is no parameter yet",
    "table14": "CIFAR-5m, the generated images that are mixed in, is not among the data sets",
    "table15": "an attacker who trains adversarially is not among the ways of training",
    "table16": _VGG,
    "table17": f"{_LOST}; {_VGG}",
    "table18": f"{_LOST}; its runs on GTSRB are planned by whole_grid",
    "table19": f"{_LOST}; its runs on GTSRB are planned by whole_grid",
    "table20": f"{_LOST}; its runs are planned by whole_grid",
    "table21": f"{_LOST}; its runs on Tiny ImageNet are planned by whole_grid",
    "table22": "what the paper's configurations 2 to 5 change could not be read",
    "table24": "two triggers in one training set are not among the attacks",
    "table25": f"{_LOST}; of the seven all-to-all attacks only BadNets is built",
    "table26": f"{_LOST}, nor its setting",
    "table28": "ResNet-18 without pre-activation is not among the models",
}


# ------------------------------------------------------------------------------------------------------- the grid


def sampled(scale: Scale, parent: TrainSpec, defense: str, n: int) -> DefendSpec:
    """``defense`` with ``n`` clean images; with the usual number it is the benchmark's run."""
    return ex.defend(scale, parent, defense, n_clean=n, seed=parent.seed)


def variant(scale: Scale, parent: TrainSpec, name: str) -> DefendSpec:
    """SAU, or one of its variants of the registry."""
    defense, params = VARIANTS.get(name, ("sau", {}))
    return ex.defend(scale, parent, defense, seed=parent.seed, **params)


def curve_spec(scale: Scale, attack: str, objectives: str, seed: int) -> AnalysisSpec:
    """Risks over the epochs of SAU with the inner and outer ``objectives`` (``A+B``: SAU itself)."""
    part = SLICES[scale.name]
    params = {**scale.changes.get("sau", {}), **(VARIANTS[OBJECTIVES[objectives]][1] if OBJECTIVES[objectives] else {})}
    parent = attacked(scale, attack, seed=seed)
    return ex.analyse(
        "sau_curve", parent, seed=seed, n=part.n, every=part.every, n_clean=scale.n_clean, **params
    )  # fmt: skip


def risk_spec(scale: Scale, attack: str, seed: int) -> AnalysisSpec:
    """Risks and types of adversarial examples of the backdoored model, after FT, after SAU."""
    parent = attacked(scale, attack, seed=seed)
    models = (parent, *(defended(scale, parent, name) for name in STAGES[1:]))
    return ex.analyse("adversarial_risk", *models, seed=seed, n=SLICES[scale.name].n)


def feature_spec(scale: Scale, seed: int) -> AnalysisSpec:
    """Distances in the feature space of the BadNets model, of adversarial examples after FT and after SAU."""
    parent = attacked(scale, "badnets", seed=seed)
    models = (parent, *(defended(scale, parent, name) for name in STAGES[1:]))
    return ex.analyse("shared_features", *models, seed=seed, n=SLICES[scale.name].n)


def reactivation_spec(scale: Scale, attack: str, seed: int) -> AnalysisSpec:
    """An optimised perturbation against the backdoored model, after FT, after SAU, and against a model never attacked."""
    parent = attacked(scale, attack, seed=seed)
    models = (parent, *(defended(scale, parent, name) for name in STAGES[1:]), ex.train(scale, seed=seed))
    sizes = {"smoke": {"n": 200, "n_train": 200, "steps": 20}, "laptop": {"n": 1000, "n_train": 1000, "steps": 50}}
    return ex.analyse("reactivation", *models, seed=seed, **sizes.get(scale.name, {}))


def _ablation(scale: Scale) -> Scale:
    """Table 6 and Figures 1 and 3 are of Tiny ImageNet; below paper scale the usual data set stands in."""
    return scales.on(scale, "tiny_imagenet") if scale.name == "paper" else scale


Cell = tuple[TrainSpec, str, str, Spec]
"""Backdoored model, defense, setting, and the run that gives the numbers."""


def _main_cells(scale: Scale, seed: int) -> list[Cell]:
    part = SLICES[scale.name]
    cells: list[Cell] = []
    for attack in ATTACKS:
        defenses = part.defenses if attack in part.attacks else ("sau",) if attack in part.only_sau else None
        if defenses is None:
            continue
        parent = attacked(scale, attack, seed=seed)
        cells.append((parent, "none", "", parent))
        cells += [(parent, name, "", defended(scale, parent, name)) for name in defenses]
    return cells


def _of(*attacks: str) -> Callable[[Scale, int], list[Cell]]:
    """The cells of ``attacks``, undefended and after SAU."""
    return lambda scale, seed: [
        cell for cell in _main_cells(scale, seed) if cell[0].attack in attacks and cell[1] in ("none", "sau")
    ]


def _norm_cells(scale: Scale, seed: int) -> list[Cell]:
    cells: list[Cell] = []
    for there in (scale, scales.on(scale, "tiny_imagenet")) if scale.name == "paper" else (scale,):
        for attack in SLICES[scale.name].normed:
            parent = attacked(there, attack, seed=seed)
            cells.append((parent, "none", "", parent))
            cells += [(parent, name, "", variant(there, parent, name)) for name in NORMS]
    return cells


def _sample_cells(scale: Scale, seed: int) -> list[Cell]:
    part = SLICES[scale.name]
    cells: list[Cell] = []
    for attack in part.sampled:
        parent = attacked(scale, attack, seed=seed)
        cells.append((parent, "none", "", parent))
        cells += [(parent, "sau", f"clean_samples={n}", sampled(scale, parent, "sau", n)) for n in part.samples]
    return cells


def _rnp_cells(scale: Scale, seed: int) -> list[Cell]:
    cells: list[Cell] = []
    for attack, ratio in SLICES[scale.name].against_rnp:
        parent, setting = attacked(scale, attack, seed=seed), f"clean_ratio={ratio:g}"
        n = round(scale.n_clean * ratio / 0.05)
        cells.append((parent, "none", setting, parent))
        cells += [(parent, name, setting, sampled(scale, parent, name, n)) for name in ("rnp", "sau")]
    return cells


def _specs(cells: Callable[[Scale, int], list[Cell]]) -> Callable[[Scale, int], list[Spec]]:
    return lambda scale, seed: list(
        {s.key: s for parent, _, _, spec in cells(scale, seed) for s in (parent, spec)}.values()
    )


def _timed(scale: Scale, seed: int) -> list[Spec]:
    part = SLICES[scale.name]
    return [
        defended(scale, attacked(scale, attack, seed=seed), name) for attack in part.attacks for name in part.defenses
    ]


def _curves(*objectives: str) -> Callable[[Scale, int], list[Spec]]:
    return lambda scale, seed: [
        curve_spec(_ablation(scale), attack, name, seed)
        for attack in SLICES[scale.name].ablated
        for name in objectives or OBJECTIVES
    ]


def whole_grid(scale: Scale, seed: int = 0) -> Iterator[Spec]:
    """The main tables in full: 3, 4, and 16 to 21 (data sets, VGG19, 5 % poisoning); SIG on CIFAR-10 only.

    Below paper scale the data sets have the sizes of that scale.
    """
    for dataset, model, ratio in (
        ("cifar10", "preact_resnet18", 0.1), ("tiny_imagenet", "preact_resnet18", 0.1), ("cifar10", "vgg19", 0.1),
        ("tiny_imagenet", "vgg19", 0.1), ("gtsrb", "preact_resnet18", 0.1), ("gtsrb", "vgg19", 0.1),
        ("cifar10", "preact_resnet18", 0.05), ("tiny_imagenet", "preact_resnet18", 0.05),
    ):  # fmt: skip
        there = scales.on(scale, dataset)
        for attack in ATTACKS:
            if attack == "sig" and dataset != "cifar10":
                continue  # a clean-label attack cannot poison more than the target class holds
            parent = attacked(there, attack, ratio, seed, **({} if model == "preact_resnet18" else {"model": model}))
            yield parent
            yield from (defended(there, parent, name) for name in DEFENSES if applicable(name, model))


# ------------------------------------------------------------------------------------------------------- wording


_artefact = partial(artefact, PAPER)


def _static(id_: str, caption: str, frame: pd.DataFrame) -> Artefact:
    """A table without any number: it is the same at every scale."""
    return Artefact(
        paper=PAPER, id=id_, kind="table", scale="paper", caption=caption, frame=frame, html=tables.to_html(frame, caption)
    )  # fmt: skip


def _budget(scale: Scale) -> str:
    changed = dict(scale.changes.get("sau", {}))
    epochs, batch, lr = changed.get("epochs", 100), changed.get("batch_size", 256), changed.get("lr", 1e-4)
    return f"SAU: {epochs} epochs of batch {batch}, lr {lr:g} (the paper: 100 epochs of batch 256, lr 0.0001)."


# -------------------------------------------------------------------------------------------------------- tables


def _printed_name(dataset: str) -> str:
    """The name of a data set among the printed numbers."""
    return "tiny" if dataset == "tiny_imagenet" else dataset


def _tidy(results: Results, cells: Iterable[Cell]) -> pd.DataFrame:
    rows = []
    for parent, defense, setting, spec in cells:
        before, after = results.get(parent), results.get(spec)
        if before is None or after is None:
            continue
        values = {"ACC": after["c_acc"], "ASR": after["asr"], "R-ACC": after["r_acc"]}
        if defense != "none":
            values["DER"] = der(before["c_acc"], before["asr"], after["c_acc"], after["asr"], unit="percent")
        rows += [
            {
                "dataset": _printed_name(parent.dataset), "model": parent.model, "ratio": parent.ratio, "attack": parent.attack,
                "defense": defense, "setting": setting, "metric": metric, "value": value, "n_seeds": 1,
            }
            for metric, value in values.items()
        ]  # fmt: skip
    if not rows:
        raise NotRun(f"no result at {results.scale.name} scale")
    return pd.DataFrame(rows)


def _draw(
    id_: str,
    title: str,
    cells: Callable[[Scale, int], list[Cell]],
    *,
    rows: tuple[str, ...] = ("attack",),
    notes: tuple[str, ...] = (),
    average: bool = False,
    everything: bool = False,
) -> Callable[[Results], Artefact]:
    """A table of C-Acc, ASR, R-Acc and DER beside the printed one; only metrics that it prints, where it prints any."""

    def draw(results: Results) -> Artefact:
        scale = results.scale
        printed = published(PAPER, id_)
        planned = cells(scale, results.seed)
        ours = _tidy(results, planned) if planned else pd.DataFrame(columns=[*compare.KEYS, "value"])
        ours = ours[ours.metric.isin(set(printed.metric))]
        frame = compare.compare(ours, printed, scale=scale.name, stand_ins=stand_ins(scale))
        if average:
            frame = pd.concat([frame, _averages(frame, SLICES[scale.name].attacks)], ignore_index=True)
        caption = f"Table {id_[5:]}. {title}; {compare.coverage(frame)}. {where(results)}"
        notice = (
            [*notes, _budget(scale), *_not_learned(results, planned)] if planned else [*notes, "Printed numbers only."]
        )
        html = tables.paper_table(frame, caption, rows=rows, everything=everything or not planned, notes=notice)
        return _artefact(results, id_, "table", caption=caption, frame=frame, html=html)

    return draw


def _averages(frame: pd.DataFrame, attacks: Iterable[str]) -> pd.DataFrame:
    """Averages over the attacks on which all defenses run: ours beside the printed ones where all of them could be read.

    That is so for the undefended models and SAU; of the other defenses only ours are averaged, over the same attacks.
    """
    frame = frame[frame.attack.isin(list(attacks))]
    full = compare.averages(frame[frame.defense.isin(["none", "sau"])], "of cells")
    if not len(full):
        return full
    label, parts = full.attack.iloc[0], [full]
    over = set(frame[(frame.defense == "sau") & frame.ours.notna()].attack)
    nothing: dict[str, Any] = {
        "published": np.nan,
        "difference": np.nan,
        "verdict": compare.UNPUBLISHED,
        "reading": "",
        "grade": "",
        "note": "",
    }
    for _, cells in frame[~frame.defense.isin(["none", "sau"])].groupby(["defense", "metric"], sort=False):
        mine = cells[cells.ours.notna()]
        if label == f"average of {len(over)}" and set(mine.attack) == over:
            parts.append(mine.iloc[:1].assign(**nothing, attack=label, ours=mine.ours.astype(float).mean()))
    return pd.concat(parts, ignore_index=True)


def _not_learned(results: Results, cells: Iterable[Cell]) -> list[str]:
    missing = {}
    for parent, _, _, _ in cells:
        found = results.rows.get(parent.key)
        if found and found["result"]["asr"] < LEARNED:
            missing[parent.attack] = f"{style.title('attack', parent.attack)} (ASR {found['result']['asr']:.1f})"
    if not missing:
        return []
    return [f"Not learned at this scale, so that nothing can be said about a defense: {', '.join(missing.values())}."]


KINDS = ("type I", "type II", "type III")


def draw_table1(results: Results) -> Artefact:
    """Table 1: the types of adversarial examples, counted on real models, and the risks."""
    rows = []
    for attack in WATCHED:
        found = results.get(risk_spec(results.scale, attack, results.seed))
        if found is None:
            continue
        for k, stage in enumerate(STAGES):
            for inner, made in (("shared", "SAU's inner problem"), ("vanilla", "plain PGD")):
                counts = found["types"][inner][k]
                rows.append(
                    {
                        "Attack": style.title("attack", attack),
                        "Model": "backdoored" if stage == "none" else f"after {style.title('defense', stage)}",
                        "Examples by": made,
                        "Type I": counts[0],
                        "Type II": counts[1],
                        "Type III": counts[2],
                        "None": found["n"] - sum(counts),
                        "R_cl": found["clean"][k],
                        "R_bd": found["backdoor"][k],
                        "R_sub": found["sub"][k],
                        "R_adv": found["adversarial"][k],
                        "R_share": found["shared"][k],
                    }
                )
    if not rows:
        raise NotRun(f"no risks at {results.scale.name} scale")
    frame = pd.DataFrame(rows)
    caption = (
        f"Table 1. Types of adversarial examples, counted among {SLICES[results.scale.name].n:,} test images, and the risks "
        f"(fractions); {frame.Attack.nunique()} of 7 attacks. {where(results)}"
    )
    notes = [
        "Type I (shared): both models are wrong in the same way; II: the backdoored model is right; III: both are wrong, in "
        "different ways; none: the purified model is right. On the backdoored model itself every example is of type I.",
        "The maximum over the perturbation set is estimated from below, by the clean image and two PGD results for each image.",
    ]
    return _artefact(
        results, "table1", "table", caption=caption, frame=frame, html=tables.to_html(frame, caption, notes=notes)
    )


NOTATION = (
    ("θ, b = θ_bd", "model, reference", "purified model, frozen backdoored model"),
    ("h_θ(x), p_k(x; θ)", "logits.argmax(1), softmax", "predicted class, probability of class k"),
    ("g(x; Δ), ŷ", "render(attack, x), target", "triggered image, class that the attacker wants"),
    ("ε ∈ S, x_ε = x + ε", "eps, x_adv", "perturbation, perturbation set, perturbed image"),
    ("D, D⁻, D_s", "clean, y != target, works", "clean images; those of other classes; those whose trigger works on b"),
    ("R_cl, R_bd, R_adv", "clean, backdoor, adversarial", "clean, backdoor and adversarial risk"),
    ("R_sub, R_share", "sub, shared", "sub-adversarial risk, shared adversarial risk"),
    ("λ1 … λ4", "lambda_1 … lambda_4", "weights of the outer (1, 2) and inner problem (3, 4)"),
)


def draw_table2(results: Results) -> Artefact:
    """Table 2: notation, with the names in the code."""
    frame = pd.DataFrame(NOTATION, columns=["Paper", "Code", "Meaning"])
    return _static("table2", "Table 2. Notation of the paper and its names in the code.", frame)


def _curve(results: Results, attack: str, objectives: str, scale: Scale | None = None) -> dict[str, Any]:
    return results.need(curve_spec(scale or _ablation(results.scale), attack, objectives, results.seed))


def draw_table6(results: Results) -> Artefact:
    """Table 6: ablation of the inner and outer problem, from the last points of the curves of Figure 3."""
    scale, there, rows = results.scale, _ablation(results.scale), []
    for attack in SLICES[scale.name].ablated:
        for name in OBJECTIVES:
            found = results.get(curve_spec(there, attack, name, results.seed))
            if found is None:
                continue
            for metric, key in (("ACC", "c_acc"), ("ASR", "asr")):
                rows.append(
                    {
                        "dataset": _printed_name(there.dataset), "model": "preact_resnet18", "ratio": 0.1, "attack": attack, "defense": "sau",
                        "setting": f"objectives={name}", "metric": metric, "value": found[key][-1], "n_seeds": 1,
                    }
                )  # fmt: skip
    if not rows:
        raise NotRun(f"no ablation at {scale.name} scale")
    instead = None if scale.name == "paper" else {"dataset": {there.dataset: "tiny"}}
    frame = compare.compare(pd.DataFrame(rows), published(PAPER, "table6"), scale=scale.name, stand_ins=instead)
    caption = (
        f"Table 6. Ablation: inner problem of SAU (A) or plain PGD (C), outer problem of SAU (B) or adversarial training (D); "
        f"{compare.coverage(frame)}; printed: Tiny ImageNet. {where(results, dataset=there.dataset)}"
    )
    notes = [f"Ours are of {SLICES[scale.name].n} test images, one run; the paper's are means of five runs."]
    html = tables.paper_table(frame, caption, rows=("attack", "setting"), notes=[*notes, _budget(scale)])
    return _artefact(results, "table6", "table", caption=caption, frame=frame, html=html)


def draw_table7(results: Results) -> Artefact:
    """Table 7: seconds; ours of whole runs, the printed ones until a defense takes effect."""
    printed = published(PAPER, "table7").set_index(["dataset", "defense"]).value
    part, rows = SLICES[results.scale.name], []
    for defense in part.defenses:
        parents = [attacked(results.scale, name, seed=results.seed) for name in part.attacks]
        found = [results.get(defended(results.scale, parent, defense)) for parent in parents]
        seconds = [one["seconds"] for one in found if one is not None]
        if seconds:
            rows.append(
                {
                    "Defense": style.title("defense", defense),
                    "Whole run (s)": float(np.mean(seconds)),
                    "Attacks": len(seconds),
                    "CIFAR-10 printed (s)": printed.get(("cifar10", defense), np.nan),
                    "Tiny ImageNet printed (s)": printed.get(("tiny", defense), np.nan),
                }
            )
    if not rows:
        raise NotRun(f"no defense has a result at {results.scale.name} scale")
    frame = pd.DataFrame(rows)
    run = int(frame["CIFAR-10 printed (s)"].notna().sum())
    caption = f"Table 7. Seconds of the defenses, mean over attacks; {run} of 7 printed defenses run. {where(results)}"
    notes = [
        "Ours: the whole defense on this machine. Printed (read by OCR, unverified; RTX 4090): until ASR < 5 and C-Acc > 85 "
        "(Tiny ImageNet: > 45), else the whole run. That is a stop that only somebody with the trigger can make; the two are "
        "set beside each other for their order, no more.",
    ]
    return _artefact(
        results, "table7", "table", caption=caption, frame=frame, html=tables.to_html(frame, caption, notes=notes)
    )


# -------------------------------------------------------------------------------------------------------- figures

RISKS = {
    "backdoor": ("$R_{bd}$ (backdoor)", "#d55e00", "s", "-"),
    "sub": ("$R_{sub}$", "#029e73", "D", "--"),
    "adversarial": ("$R_{adv}$ (adversarial)", "#0173b2", "^", "-."),
    "shared": ("$R_{share}$", "#b65fa5", "v", ":"),
}


def _risk_curve(
    results: Results, id_: str, objectives: str, risks: tuple[str, ...], scale: Scale, text: str
) -> Artefact:
    """C-Acc and some risks over the epochs of one curve of Blended."""
    import matplotlib.pyplot as plt

    found = _curve(results, "blended", objectives, scale)
    epochs, rows = found["epoch"], []
    with style.context():
        figure, panels = plt.subplots(1, 2, figsize=(style.PAGE, 2.4))
        panels[0].plot(epochs, found["c_acc"], color="#333333", marker="o", label="C-Acc")
        panels[0].set(xlabel="epoch", ylabel="C-Acc (%)", ylim=(-4, 104), title="accuracy")
        for name in risks:
            label, colour, marker, line = RISKS[name]
            panels[1].plot(epochs, found[name], color=colour, marker=marker, linestyle=line, label=label)
            rows += [{"epoch": e, "measure": name, "value": v} for e, v in zip(epochs, found[name], strict=True)]
        rows += [{"epoch": e, "measure": "c_acc", "value": v} for e, v in zip(epochs, found["c_acc"], strict=True)]
        panels[1].set(xlabel="epoch", ylabel="fraction of images", ylim=(-0.04, 1.04), title="risks")
        panels[1].legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    told = "; ".join(f"{name} risk {found[name][0]:.2f} to {found[name][-1]:.2f}" for name in risks)
    return _artefact(
        results, id_, "figure", figure=figure, frame=pd.DataFrame(rows),
        caption=f"Figure {id_[3:]}. {text}, Blended, {found['n']:,} test images. {where(results, dataset=scale.dataset)}",
        alt=f"From epoch 0 to {epochs[-1]}: C-Acc {found['c_acc'][0]:.1f} to {found['c_acc'][-1]:.1f} percent; {told}.",
    )  # fmt: skip


def draw_fig1(results: Results) -> Artefact:
    """Figure 1: plain adversarial training; its backdoor risk need not follow its adversarial risk."""
    there = _ablation(results.scale)
    text = "Vanilla adversarial training: accuracy, backdoor risk and adversarial risk over epochs"
    return _risk_curve(results, "fig1", "C+D", ("backdoor", "adversarial"), there, text)


def draw_fig5(results: Results) -> Artefact:
    """Figure 5: the risks over the epochs of SAU."""
    return _risk_curve(results, "fig5", "A+B", tuple(RISKS), results.scale, "Accuracy and risks over the epochs of SAU")


KIND_LOOKS = {"type I": ("#d55e00", "//"), "type II": ("#0173b2", ""), "type III": ("#de8f05", "..")}


def draw_fig2(results: Results) -> Artefact:
    """Figure 2, measured: how many adversarial examples are of which type, before, during and after SAU."""
    import matplotlib.pyplot as plt

    found = _curve(results, "blended", "A+B", results.scale)
    at, rows, texts = range(len(found["epoch"])), [], []
    with style.context():
        figure, panels = plt.subplots(1, 2, figsize=(style.PAGE, 2.5), sharey=True)
        titles = {"shared": "sought as SAU does", "vanilla": "sought by plain PGD"}
        for axes, (inner, title) in zip(panels, titles.items(), strict=True):
            shares = np.array(found["types"][inner]) / found["n"]
            bottom = np.zeros(len(at))
            for kind, values in zip(KINDS, shares.T, strict=True):
                colour, hatch = KIND_LOOKS[kind]
                axes.bar(at, values, 0.8, bottom=bottom, color=colour, hatch=hatch, edgecolor="white", label=kind)
                bottom += values
                rows += [
                    {"epoch": e, "inner": inner, "kind": kind, "share": v}
                    for e, v in zip(found["epoch"], values, strict=True)
                ]
            axes.set_xticks(at, [str(epoch) for epoch in found["epoch"]])
            axes.set(xlabel="epoch of SAU", ylim=(0, 1.02), title=title)
            axes.grid(axis="x", visible=False)
            texts.append(f"{title}: type I {shares[0, 0]:.2f} before and {shares[-1, 0]:.2f} after SAU")
        panels[0].set_ylabel("share of test images")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return _artefact(
        results, "fig2", "figure", figure=figure, frame=pd.DataFrame(rows),
        caption="Figure 2, measured where the paper has a schematic. Adversarial examples by type over the epochs of SAU, Blended, "
        f"{found['n']:,} test images. {where(results)}",
        alt=f"Stacked bars of the share of images with an adversarial example. {'; '.join(texts)}.",
    )  # fmt: skip


def draw_fig3(results: Results) -> Artefact:
    """Figure 3: C-Acc and ASR over the epochs of the four ablations."""
    import matplotlib.pyplot as plt

    there, part = _ablation(results.scale), SLICES[results.scale.name]
    rows = []
    for attack in part.ablated:
        for name in OBJECTIVES:
            found = results.get(curve_spec(there, attack, name, results.seed))
            if found is None:
                continue
            for metric in ("c_acc", "asr"):
                rows += [
                    {"attack": attack, "objectives": name, "epoch": e, "metric": metric, "value": v}
                    for e, v in zip(found["epoch"], found[metric], strict=True)
                ]
    if not rows:
        raise NotRun(f"no learning curve at {results.scale.name} scale")
    frame = pd.DataFrame(rows)
    attacks, texts = list(dict.fromkeys(frame.attack)), []
    with style.context():
        size = (style.PAGE, 0.4 + 2.1 * len(attacks))
        figure, panels = plt.subplots(len(attacks), 2, figsize=size, squeeze=False, sharex=True)
        for line, attack in zip(panels, attacks, strict=True):
            for axes, metric in zip(line, ("c_acc", "asr"), strict=True):
                for k, name in enumerate(OBJECTIVES):
                    mine = frame[(frame.attack == attack) & (frame.objectives == name) & (frame.metric == metric)]
                    colour, marker = style.COLOURS[(3, 1, 2, 4)[k]], style.MARKERS[k]
                    axes.plot(mine.epoch, mine.value, color=colour, marker=marker, linestyle=style.LINES[k], label=name)
                    if len(mine):
                        texts.append(f"{attack} {name} {metric} {mine.value.iloc[-1]:.1f}")
                axes.set(
                    ylim=(-4, 104), ylabel=f"{style.title('metric', metric)} (%)", title=style.title("attack", attack)
                )
        for axes in panels[-1]:
            axes.set_xlabel("epoch")
        handles, labels = panels[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4)
    return _artefact(
        results, "fig3", "figure", figure=figure, frame=frame,
        caption=f"Figure 3. Learning curves of the ablation of Table 6, one run; {len(attacks)} of 3 attacks, {part.n} test images. "
        f"{where(results, dataset=there.dataset)}",
        alt=f"Last points of the curves, in percent: {'; '.join(texts)}.",
    )  # fmt: skip


def draw_fig4(results: Results) -> Artefact:
    """Figure 4: how far shared and other adversarial examples lie from the poisoned image, in the backdoored model."""
    import matplotlib.pyplot as plt

    found = results.need(feature_spec(results.scale, results.seed))
    groups = {
        "clean": ("clean image", "#8a8a8a", ""),
        "shared": ("shared (type I)", "#d55e00", "//"),
        "other": ("other (II, III)", "#0173b2", ""),
    }
    frame = pd.DataFrame([{"kind": kind, "distance": v} for kind in groups for v in found[kind]])
    with style.context():
        figure, axes = plt.subplots(figsize=(style.COLUMN, 2.4))
        for at, (kind, (_, colour, hatch)) in enumerate(groups.items()):
            if found[kind]:
                looks = {"facecolor": colour, "hatch": hatch, "alpha": 0.7, "edgecolor": "white"}
                axes.boxplot(
                    [found[kind]], positions=[at], widths=0.6, patch_artist=True, boxprops=looks, showfliers=False,
                    medianprops={"color": "black"},
                )  # fmt: skip
        labels = [f"{title}\nn = {len(found[kind])}" for kind, (title, _, _) in groups.items()]
        axes.set_xticks(range(3), labels, fontsize=7)
        axes.set(xlim=(-0.6, 2.6), ylabel="distance to the poisoned image")
        axes.set_ylim(bottom=0)
        axes.grid(axis="x", visible=False)
    means = [f"{title} {np.mean(found[kind]):.2f}" for kind, (title, _, _) in groups.items() if found[kind]]
    return _artefact(
        results, "fig4", "figure", figure=figure, frame=frame,
        caption="Figure 4. L2 distance between the features of adversarial examples and of the poisoned image, BadNets. "
        f"Printed, for one image: 38.75 (shared) and 80.55 (not shared). {where(results)}",
        alt=f"Box plots of distances in the feature space of the backdoored model. Means: {'; '.join(means)}.",
    )  # fmt: skip


def draw_reactivation(results: Results) -> Artefact:
    """ASR of an optimised perturbation on the backdoored, the purified and a never attacked model."""
    specs = {name: reactivation_spec(results.scale, name, results.seed) for name in WATCHED}
    found = {name: result for name, spec in specs.items() if (result := results.get(spec)) is not None}
    if not found:
        raise NotRun(f"no re-activation at {results.scale.name} scale")
    numbers = reactivation.frame(found, (*STAGES, "clean"))
    radius = round(255 * next(iter(found.values()))["eps"])
    return _artefact(
        results, "our_reactivation", "figure", figure=reactivation.draw(numbers), frame=numbers,
        caption=f"Low ASR is not removal: one perturbation of at most {radius} grey levels for all images, optimised against each "
        f"model, alone and on top of the trigger; {len(found)} of 7 attacks. {where(results)}",
        alt=reactivation.describe(numbers),
    )  # fmt: skip


TABLES: Mapping[str, tuple[Callable[[Scale, int], list[Cell]], Callable[[Results], Artefact]]] = {
    id_: (cells, _draw(id_, title, cells, **options))
    for id_, title, cells, options in (
        (
            "table3", "CIFAR-10 against the main defenses", _main_cells,
            {"average": True, "notes": ("Averages: DER is the mean of the attacks' DERs, the rule of this paper.",)},
        ),
        (
            "table10", "Composite adversarial training (CAT) against SAU", _of("badnets", "input_aware", "ssba", "wanet"),
            {
                "everything": True,
                "notes": (
                    "CAT: printed only, not built. The printed rows of SAU are not shown: its WaNet row repeats the average of "
                    "Table 3 (90.41, 2.51, 79.69); Table 3 has 91.26, 1.02, 90.28, which makes the average 90.75, 1.40, 88.37.",
                ),
            },
        ),
        (
            "table11", "SSBA, whose trigger leaves the perturbation set", _of("ssba"),
            {"rows": ("dataset", "attack"), "notes": ("Printed mean norms of the trigger (L1, L2, L inf): CIFAR-10 108.33, 3.29, 0.33; Tiny ImageNet 581.65, "
                       "8.26, 0.43; the radius is 0.2.",)},
        ),
        ("table13", "Perturbation sets: additive, spatial, ensemble", _norm_cells, {"rows": ("dataset", "attack")}),
        ("table23", "Number of clean images", _sample_cells, {"rows": ("attack", "setting")}),
        ("table27", "RNP against SAU", _rnp_cells, {"rows": ("attack", "setting")}),
    )
}  # fmt: skip

ITEMS: dict[str, Item] = {
    "table1": Item(lambda scale, seed: [risk_spec(scale, a, seed) for a in WATCHED], draw_table1),
    "table2": Item(lambda scale, seed: [], draw_table2),
    "table6": Item(_curves(), draw_table6),
    "table7": Item(_timed, draw_table7),
    "fig1": Item(lambda scale, seed: [curve_spec(_ablation(scale), "blended", "C+D", seed)], draw_fig1),
    "fig2": Item(lambda scale, seed: [curve_spec(scale, "blended", "A+B", seed)], draw_fig2),
    "fig3": Item(_curves(), draw_fig3),
    "fig4": Item(lambda scale, seed: [feature_spec(scale, seed)], draw_fig4),
    "fig5": Item(lambda scale, seed: [curve_spec(scale, "blended", "A+B", seed)], draw_fig5),
    **{id_: Item(_specs(cells), draw) for id_, (cells, draw) in TABLES.items()},
}

OURS: dict[str, Item] = {
    "our_reactivation": Item(
        lambda scale, seed: [reactivation_spec(scale, a, seed) for a in WATCHED], draw_reactivation
    )
}


# -------------------------------------------------------------------------------------------------------- claims


def _alive(results: Results, attacks: Iterable[str]) -> list[str]:
    """Those of ``attacks`` whose backdoor the undefended model has learned.

    Raises
    ------
    NotRun
        None of them, or a result is missing.
    """
    rates = {name: results.need(attacked(results.scale, name, seed=results.seed))["asr"] for name in attacks}
    found = [name for name, rate in rates.items() if rate >= LEARNED]
    if not found:
        raise NotRun(f"none of {', '.join(rates)} reaches an ASR of {LEARNED:g} at {results.scale.name} scale")
    return found


def _learned(results: Results) -> list[TrainSpec]:
    """Backdoored models of the main slice that have learned the backdoor."""
    names = _alive(results, SLICES[results.scale.name].attacks)
    return [attacked(results.scale, name, seed=results.seed) for name in names]


def _names(parents: Iterable[TrainSpec]) -> str:
    return ", ".join(style.title("attack", parent.attack) for parent in parents)


def check_best(results: Results) -> Verdict:
    """SAU has the highest mean DER and mean R-Acc of all defenses that were run."""
    parents = _learned(results)
    numbers: dict[str, float] = {}
    for defense in SLICES[results.scale.name].defenses:
        pairs = [(results.need(p), results.need(defended(results.scale, p, defense))) for p in parents]
        ders = [der(b["c_acc"], b["asr"], a["c_acc"], a["asr"], unit="percent") for b, a in pairs]
        numbers[f"{style.title('defense', defense)} DER"] = float(np.mean(np.array(ders)))
        numbers[f"{style.title('defense', defense)} R-Acc"] = float(np.mean([a["r_acc"] for _, a in pairs]))
    best = all(
        numbers[f"SAU {metric}"] >= max(v for name, v in numbers.items() if name.endswith(metric))
        for metric in ("DER", "R-Acc")
    )
    return Verdict(best, f"means over {_names(parents)} (undefended ASR at least {LEARNED:g})", numbers)


def check_low(results: Results) -> Verdict:
    """After SAU every attack's ASR is at most a tenth of the undefended one."""
    parents, low = _learned(results), True
    numbers: dict[str, float] = {}
    for parent in parents:
        before = results.need(parent)["asr"]
        after = results.need(defended(results.scale, parent, "sau"))["asr"]
        numbers[f"{style.title('attack', parent.attack)} ASR after SAU"] = after
        low = low and after <= before / 10
    return Verdict(low, "at most a tenth of the undefended ASR, for every learned attack", numbers)


def check_bound(results: Results) -> Verdict:
    """R_bd <= R_sub <= R_adv at every epoch of SAU."""
    found = _curve(results, "blended", "A+B", results.scale)
    chains = list(zip(found["backdoor"], found["sub"], found["adversarial"], strict=True))
    holds = all(a <= b + 1e-9 and b <= c + 1e-9 for a, b, c in chains)
    numbers = {
        "largest R_bd - R_sub": max(a - b for a, b, _ in chains),
        "largest R_sub - R_adv": max(b - c for _, b, c in chains),
        "epochs": float(len(chains)),
    }
    return Verdict(holds, "Blended; the maxima over S are estimated from below, which can only hurt the claim", numbers)


def check_shared(results: Results) -> Verdict:
    """SAU removes shared adversarial examples: at least half of those that the backdoored model has."""
    numbers: dict[str, float] = {}
    holds = True
    for attack in _alive(results, WATCHED):
        found = results.need(risk_spec(results.scale, attack, results.seed))
        before, after = found["types"]["shared"][0][0], found["types"]["shared"][STAGES.index("sau")][0]
        numbers |= {
            f"{style.title('attack', attack)} before": before,
            f"{style.title('attack', attack)} after SAU": after,
        }
        holds = holds and after <= before / 2
    return Verdict(holds, "number of examples of type I that SAU's own search finds; at most half", numbers)


def check_ablation(results: Results) -> Verdict:
    """The inner problem (A) lowers the ASR, the outer one (B) keeps the accuracy."""
    numbers: dict[str, float] = {}
    holds = True
    for attack in SLICES[results.scale.name].ablated:
        last = {name: _curve(results, attack, name) for name in OBJECTIVES}
        title = style.title("attack", attack)
        numbers |= {f"{title} {name} ASR": last[name]["asr"][-1] for name in ("A+B", "C+B")}
        numbers |= {f"{title} {name} C-Acc": last[name]["c_acc"][-1] for name in ("A+B", "A+D")}
        holds = holds and last["A+B"]["asr"][-1] < last["C+B"]["asr"][-1]
        holds = holds and last["A+B"]["c_acc"][-1] > last["A+D"]["c_acc"][-1]
    return Verdict(holds, "A+B against C+B in ASR, and against A+D in C-Acc, at the last epoch", numbers)


def check_few(results: Results) -> Verdict:
    """With fewer clean images the accuracy falls, and the ASR stays low down to 50."""
    numbers: dict[str, float] = {}
    holds = True
    part = SLICES[results.scale.name]
    kept = [n for n in part.samples if n >= 50] if results.scale.name != "smoke" else list(part.samples)
    for attack in _alive(results, part.sampled):
        parent = attacked(results.scale, attack, seed=results.seed)
        before = results.need(parent)["asr"]
        title = style.title("attack", attack)
        runs = {n: results.need(sampled(results.scale, parent, "sau", n)) for n in (kept[0], kept[-1])}
        for n, found in runs.items():
            numbers |= {f"{title} C-Acc with {n}": found["c_acc"], f"{title} ASR with {n}": found["asr"]}
            holds = holds and found["asr"] <= before / 5
        holds = holds and runs[kept[-1]]["c_acc"] < runs[kept[0]]["c_acc"]
    return Verdict(holds, "ASR at most a fifth of the undefended one with the most and the fewest images", numbers)


def check_near(results: Results) -> Verdict:
    """Shared adversarial examples lie nearer to the poisoned image than the others."""
    _alive(results, ("badnets",))
    found = results.need(feature_spec(results.scale, results.seed))
    if not found["shared"] or not found["other"]:
        raise NotRun(f"at {results.scale.name} scale the search found no example of one of the two kinds")
    numbers = {f"mean distance, {kind}": float(np.mean(found[kind])) for kind in ("shared", "other", "clean")}
    holds = numbers["mean distance, shared"] < numbers["mean distance, other"]
    return Verdict(holds, "BadNets, in the features of the backdoored model", numbers)


def check_ensemble(results: Results) -> Verdict:
    """Ensemble SAU has the lowest ASR of the three perturbation sets, at a small cost in accuracy."""
    numbers: dict[str, float] = {}
    holds = True
    for attack in _alive(results, SLICES[results.scale.name].normed):
        parent = attacked(results.scale, attack, seed=results.seed)
        found = {name: results.need(variant(results.scale, parent, name)) for name in NORMS}
        for name, one in found.items():
            title = f"{style.title('attack', attack)} {style.title('defense', name)}"
            numbers |= {f"{title} ASR": one["asr"], f"{title} C-Acc": one["c_acc"]}
        holds = holds and found["sau_ensemble"]["asr"] <= min(found["sau"]["asr"], found["sau_spatial"]["asr"])
        holds = holds and found["sau_ensemble"]["c_acc"] >= found["sau"]["c_acc"] - 3.5
    return Verdict(holds, "lowest ASR, and at most 3.5 points of C-Acc (the largest printed cost) below SAU", numbers)


CLAIMS: list[Claim] = [
    Claim("best", PAPER, "SAU has the best average DER and R-Acc.", "Table 3", check_best),
    Claim("low", PAPER, "SAU lowers the ASR of every attack to a few percent.", "Table 3", check_low),
    Claim("bound", PAPER, "Backdoor risk <= sub-adversarial risk <= adversarial risk.", "Proposition 3", check_bound),
    Claim("shared", PAPER, "SAU unlearns shared adversarial examples.", "Table 1, Figure 2", check_shared),
    Claim("near", PAPER, "Shared adversarial examples lie nearer to the poisoned image.", "Figure 4", check_near),
    Claim(
        "ablation", PAPER, "The inner problem lowers the ASR, the outer keeps the accuracy.", "Table 6", check_ablation
    ),
    Claim("few", PAPER, "The ASR stays low down to 50 clean images; the accuracy falls.", "Table 23", check_few),
    Claim("ensemble", PAPER, "An ensemble of perturbation sets lowers the ASR further.", "Table 13", check_ensemble),
]
