"""The FT-SAM paper (ICCV 2023, arXiv 2304.11823): grid, tables, figures and claims of notebook 05.

Attack setting: ten attacks, 10 % poisoning (5 % in Figures 4, 5 and 7), target class 0, PreAct-ResNet18; the defender holds
5 % clean images. A small scale runs a slice of every table (:data:`WIDE`, :data:`TUNED`, :data:`FAMILIES`), the paper scale plans
all of it.
"""

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from paperlib.defenses import applicable
from paperlib.experiments import plan as ex
from paperlib.experiments import scales
from paperlib.experiments.scales import Scale
from paperlib.experiments.specs import AnalysisSpec, DefendSpec, TrainSpec
from paperlib.lab.spec import Spec
from paperlib.metrics import der
from paperlib.papers import Item, Results
from paperlib.papers.shared import PRINTED_DATASETS, REACTIVATION, artefact, stand_ins, where
from paperlib.report import compare, reactivation, style, tables
from paperlib.report.artefact import Artefact
from paperlib.report.claims import Claim, NotRun, Verdict
from paperlib.report.published import published

PAPER = "ft_sam"
PRINTED_ATTACKS = (
    "badnets", "badnets_a2a", "blended", "input_aware", "lc", "lf", "sig", "ssba", "trojannn", "wanet"
)  # fmt: skip
PRINTED_DEFENSES = ("ft", "fp", "nad", "ac", "nc", "anp", "abl", "i_bau", "ft_sam")
RHOS = (1, 2, 3, 4, 5, 6, 7, 8)
CLEAN_RATIOS = (0.10, 0.05, 0.01)
SWEPT = ("blended", "lf", "sig", "ssba")
"""Attacks of Figure 3: the paper names Blended and LF among its four; the other two are our choice."""

BASIC = ("badnets", "badnets_a2a", "blended", "sig")
"""The attacks of every item but Table 1 at laptop scale."""
FEW = ("badnets", "blended")
"""The attacks of smoke scale."""
WIDE = {
    "laptop": (
        ("badnets", "badnets_a2a", "blended", "lf", "sig", "wanet", "input_aware"),
        ("ft", "fp", "nad", "nc", "anp", "i_bau", "ft_sam"),
    )
}
"""Table 1 at a small scale, where it shares the models of the benchmark's grid: attacks, defenses."""


TUNED = {"smoke": ("blended",), "laptop": ("badnets", "blended", "lf", "sig")}
"""Attacks of Table 4 at the small scales, on the models of the benchmark's grid; at paper scale the printed ones."""
TABLE4_ATTACKS = tuple(name for name in PRINTED_ATTACKS if name not in ("badnets_a2a", "trojannn"))
DIRTY_LABEL = tuple(name for name in PRINTED_ATTACKS if name not in ("lc", "sig"))
"""The attacks where no class holds 5 or 10 % of the images: a clean-label attack needs that many of its target."""


@dataclass(frozen=True)
class Part:
    """The rows and columns that one scale runs of a table."""

    attacks: tuple[str, ...]
    defenses: tuple[str, ...] = PRINTED_DEFENSES
    ratios: tuple[float, ...] = (0.1,)
    models: tuple[str, ...] = ("preact_resnet18",)


@dataclass(frozen=True)
class Family:
    """Table 2 or a table of the supplement."""

    title: str
    parts: Mapping[str, Part]
    """Scale -> what it runs; a scale that is not here runs nothing and shows the printed half."""
    dataset: str = "cifar10"
    absent: str = ""
    """Why a small scale runs nothing."""
    rows: tuple[str, ...] = ("attack",)


def _fetch(dataset: str, title: str) -> str:
    return f"{title} (`paperlib data fetch {dataset}`) is run at paper scale only"


SUPPLEMENT = "Supplement (number unknown)"
FAMILIES = {
    "table2": Family(
        "Table 2. FT-SAM against other defenses on Tiny ImageNet",
        {"paper": Part(DIRTY_LABEL)},
        "tiny_imagenet",
        _fetch("tiny_imagenet", "Tiny ImageNet"),
    ),
    "supp_c1": Family(
        f"{SUPPLEMENT}. FT-SAM against other defenses on CIFAR-10 at 5 % poisoning",
        {
            "smoke": Part(FEW, ("ft", "ft_sam"), (0.05,)),
            "laptop": Part(BASIC, ("ft", "fp", "ft_sam"), (0.05,)),
            "paper": Part(PRINTED_ATTACKS, ratios=(0.05,)),
        },
    ),
    "supp_c2": Family(
        f"{SUPPLEMENT}. FT-SAM against other defenses on Tiny ImageNet at 5 % poisoning",
        {"paper": Part(DIRTY_LABEL, ratios=(0.05,))},
        "tiny_imagenet",
        _fetch("tiny_imagenet", "Tiny ImageNet"),
    ),
    "supp_c3": Family(
        f"{SUPPLEMENT}. FT-SAM against other defenses on GTSRB",
        {"paper": Part(DIRTY_LABEL)},
        "gtsrb",
        _fetch("gtsrb", "GTSRB"),
    ),
    "supp_c4": Family(
        f"{SUPPLEMENT}. FT-SAM against other defenses with VGG19-BN",
        {"paper": Part(PRINTED_ATTACKS, models=("vgg19_bn",))},
        absent="VGG19-BN is trained at paper scale only",
    ),
    "supp_d1": Family(
        f"{SUPPLEMENT}. FT and FT-SAM on further architectures",
        {
            "paper": Part(
                PRINTED_ATTACKS,
                ("ft", "ft_sam"),
                models=("vgg19_bn", "densenet161", "mobilenet_v3_large", "efficientnet_b3"),
            )
        },
        absent="further architectures are trained at paper scale only",
        rows=("model", "attack"),
    ),
    "supp_d2": Family(
        f"{SUPPLEMENT}. FT and FT-SAM at several poisoning ratios",
        {
            "smoke": Part(FEW, ("ft", "ft_sam"), (0.05, 0.1)),
            "laptop": Part(("badnets", "blended"), ("ft", "ft_sam"), (0.01, 0.05, 0.1)),
            "paper": Part(DIRTY_LABEL, ("ft", "ft_sam"), (0.01, 0.05, 0.1)),
        },
        rows=("attack", "ratio"),
    ),
}
"""Of the supplement only the families are known (main text): attacks, defenses, ratios and architectures are our reading."""


# ------------------------------------------------------------------------------------------------------- the grid


def run_attacks(scale: Scale) -> tuple[str, ...]:
    """The attacks of every item but Table 1: all printed ones at paper scale."""
    return {"smoke": FEW, "laptop": BASIC, "paper": PRINTED_ATTACKS}[scale.name]


def table1_methods(scale: Scale) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Attacks and defenses of Table 1."""
    if scale.name == "paper":
        return PRINTED_ATTACKS, PRINTED_DEFENSES
    return WIDE.get(scale.name, (run_attacks(scale), ("ft", "ft_sam")))


def swept(scale: Scale) -> tuple[str, ...]:
    """The attacks of Figure 3."""
    return tuple(name for name in SWEPT if name in run_attacks(scale))


def backdoored(scale: Scale, attack: str, ratio: float = 0.1, seed: int = 0) -> TrainSpec:
    """The backdoored model of ``attack``."""
    return ex.train(scale, attack, ratio, seed=seed)


def defended(
    scale: Scale, parent: TrainSpec | DefendSpec, defense: str, *, clean_ratio: float = 0.05, **params: Any
) -> DefendSpec:
    """``defense`` with ``clean_ratio`` of the training set (5 % unless the table varies it)."""
    n_clean = round(scale.n_clean * clean_ratio / 0.05)
    if defense == "ft_sam":
        params = {"rho": scale.rho, **params}  # always written down, so that the sweep over rho shares this result
    return ex.defend(scale, parent, defense, n_clean=n_clean, seed=parent.seed, **params)


Cell = tuple[str, str, str, Spec, TrainSpec]
"""(attack, defense, setting, spec, backdoored model)"""


def table1_cells(scale: Scale, seed: int) -> list[Cell]:
    """Every defense on every attack."""
    attacks, defenses = table1_methods(scale)
    return _columns(scale, [backdoored(scale, attack, 0.1, seed) for attack in attacks], defenses)


def _columns(scale: Scale, parents: Iterable[TrainSpec], defenses: Iterable[str]) -> list[Cell]:
    return [
        (p.attack, name, "", p if name == "none" else defended(scale, p, name), p)
        for p in parents
        for name in ("none", *defenses)
    ]


def family_cells(id_: str) -> Callable[[Scale, int], list[Cell]]:
    """Table 2 and the supplement, as far as a scale runs them; defenses that need batch norm only where there is one."""

    def cells(scale: Scale, seed: int) -> list[Cell]:
        family = FAMILIES[id_]
        part = family.parts.get(scale.name)
        if part is None:
            return []
        there = scales.on(scale, family.dataset)
        out: list[Cell] = []
        for model in part.models:
            parents = [ex.train(there, a, ratio, seed=seed, model=model) for a in part.attacks for ratio in part.ratios]
            out += _columns(there, parents, [name for name in part.defenses if applicable(name, model)])
        return out

    return cells


def table3_cells(scale: Scale, seed: int) -> list[Cell]:
    """FT and FT-SAM with 10, 5 and 1 % clean images."""
    out: list[Cell] = []
    for attack in run_attacks(scale):
        p = backdoored(scale, attack, 0.1, seed)
        out.append((attack, "none", "", p, p))
        out += [
            (attack, defense, f"clean_ratio={clean:g}", defended(scale, p, defense, clean_ratio=clean), p)
            for clean in CLEAN_RATIOS
            for defense in ("ft", "ft_sam")
        ]
    return out


def table4_cells(scale: Scale, seed: int) -> list[Cell]:
    """FP's pruning and ANP's, alone and followed by FT or FT-SAM; pruning and FT together are FP."""
    out: list[Cell] = []
    for attack in TUNED.get(scale.name, TABLE4_ATTACKS):
        p = backdoored(scale, attack, 0.1, seed)
        pruning, anp = defended(scale, p, "fp", epochs=0), defended(scale, p, "anp")
        chains: dict[str, Spec] = {
            "none": p,
            "pruning": pruning,
            "fp": defended(scale, p, "fp"),
            "pruning+ft_sam": defended(scale, pruning, "ft_sam", keep_pruned=True),
            "anp": anp,
            "anp+ft": defended(scale, anp, "ft", keep_pruned=True),
            "anp+ft_sam": defended(scale, anp, "ft_sam", keep_pruned=True),
        }
        out += [(attack, name, "", spec, p) for name, spec in chains.items()]
    return out


def _of_cells(cells: Callable[[Scale, int], list[Cell]]) -> Callable[[Scale, int], list[Spec]]:
    return lambda scale, seed: [spec for *_, one, parent in cells(scale, seed) for spec in (parent, one)]


def neuron_spec(scale: Scale, attack: str, ratio: float, seed: int) -> AnalysisSpec:
    """TAC and norms of the backdoored model, after FT, after FT-SAM, in this order."""
    parent = backdoored(scale, attack, ratio, seed)
    return ex.analyse("neurons", parent, *(defended(scale, parent, name) for name in ("ft", "ft_sam")), seed=seed)


def tsne_spec(scale: Scale, seed: int) -> AnalysisSpec:
    """Features of the Blended model, after FT, after FT-SAM."""
    parent = backdoored(scale, "blended", 0.1, seed)
    models = (parent, defended(scale, parent, "ft"), defended(scale, parent, "ft_sam"))
    return ex.analyse("tsne", *models, seed=seed, n=300 if scale.name == "smoke" else 1000)


def geometry_spec(scale: Scale, attack: str, seed: int) -> AnalysisSpec:
    """Gradients and perturbations of the first step on the backdoored model of ``attack``."""
    parent = backdoored(scale, attack, 0.1, seed)
    return ex.analyse("sam_geometry", parent, seed=seed, rho=scale.rho, rhos=RHOS, n_clean=scale.n_clean)


def gradcam_spec(scale: Scale, attack: str, seed: int) -> AnalysisSpec:
    """Grad-CAM of one image (class 4: deer) in the backdoored model of ``attack`` and after FT-SAM.

    Test image 1 of its class is the first that all our laptop models recognise without a trigger.
    """
    parent = backdoored(scale, attack, 0.05, seed)
    return ex.analyse("gradcam", parent, defended(scale, parent, "ft_sam"), seed=seed, index=1)


REACTIVATED = ("none", "ft", "ft_sam", "clean")
"""Order of the models of :func:`reactivation_spec`."""


def reactivation_spec(scale: Scale, seed: int) -> AnalysisSpec:
    """An optimised perturbation against the Blended model, after FT, after FT-SAM, and against a model never attacked."""
    parent = backdoored(scale, "blended", seed=seed)
    models = (parent, defended(scale, parent, "ft"), defended(scale, parent, "ft_sam"), ex.train(scale, seed=seed))
    return ex.analyse("reactivation", *models, seed=seed, **REACTIVATION[scale.name])


def _fig3(scale: Scale, seed: int) -> list[Spec]:
    parents = [backdoored(scale, attack, 0.1, seed) for attack in swept(scale)]
    return [defended(scale, parent, "ft_sam", rho=rho) for parent in parents for rho in RHOS]


def _neurons(*attacks: str, ratio: float) -> Callable[[Scale, int], list[Spec]]:
    return lambda scale, seed: [neuron_spec(scale, name, ratio, seed) for name in attacks or run_attacks(scale)]


LEARNED = 50.0
"""Undefended ASR in percent below which a model counts as not backdoored: its rows say nothing about a defense."""


def learned(results: Results, ratio: float = 0.1) -> tuple[str, ...]:
    """The attacks whose backdoor the undefended model has learned at this scale.

    Raises
    ------
    NotRun
        There is none.
    """
    rates = {
        name: results.need(backdoored(results.scale, name, ratio, results.seed))["asr"]
        for name in run_attacks(results.scale)
    }
    found = tuple(name for name, rate in rates.items() if rate >= LEARNED)
    if not found:
        raise NotRun(f"no attack reaches an ASR of {LEARNED:g} at {results.scale.name} scale")
    return found


def _not_learned(results: Results, ratio: float = 0.1) -> str:
    """A sentence that names the attacks that were run and not learned; empty if there are none."""
    missing = []
    for name in run_attacks(results.scale):
        result = results.get(backdoored(results.scale, name, ratio, results.seed))
        if result is not None and result["asr"] < LEARNED:
            missing.append(f"{style.look('attack', name).title} (ASR {result['asr']:.1f})")
    if not missing:
        return ""
    return f"Not learned at this scale, so that nothing can be said about a defense: {', '.join(missing)}."


# ------------------------------------------------------------------------------------------------------- drawing


def _rows(results: Results, cells: Iterable[Cell]) -> pd.DataFrame:
    """Tidy rows of the cells that have a result; DER against the backdoored model."""
    rows = []
    for attack, defense, setting, spec, parent in cells:
        result, before = results.get(spec), results.get(parent)
        if result is None or before is None:
            continue
        values = {"c_acc": result["c_acc"], "asr": result["asr"]}
        if defense != "none":
            values["der"] = der(before["c_acc"], before["asr"], result["c_acc"], result["asr"], unit="percent")
        dataset = PRINTED_DATASETS.get(parent.dataset, parent.dataset)
        where = {"dataset": dataset, "model": parent.model, "ratio": parent.ratio, "attack": attack}
        rows += [
            {**where, "defense": defense, "setting": setting, "metric": metric, "value": value, "n_seeds": 1}
            for metric, value in values.items()
        ]
    return pd.DataFrame(rows, columns=[*compare.KEYS, "value", "n_seeds"])


def _schedules(scale: Scale) -> str:
    return (
        f"{scale.defense_epochs} epochs of batch {scale.defense_batch}, lr 0.01; learning-rate schedules: FT cosine per epoch, "
        f"FT-SAM official_cyclic (cosine of period 200 iterations); FT-SAM with rho {scale.rho:g} (the paper: 2), label smoothing 0.1."
    )


def _artefact(results: Results, id_: str, kind: str, **content: Any) -> Artefact:
    more = {"n_clean": results.scale.n_clean, "defense_epochs": results.scale.defense_epochs}
    return artefact(PAPER, results, id_, kind, more, **content)


SEEDS = 3
"""How many seeds, from that of the notebook on, a table looks for."""


def _seeds(results: Results, of: Callable[[Scale, int], list[Cell]]) -> list[int]:
    """The seed of ``results``, and further ones for which everything that it has was computed, too."""

    def has(seed: int) -> list[bool]:
        return [one.key in results.rows for *_, spec, parent in of(results.scale, seed) for one in (parent, spec)]

    first = has(results.seed)
    others = range(results.seed + 1, results.seed + SEEDS) if any(first) else ()
    complete = [s for s in others if all(now or not before for now, before in zip(has(s), first, strict=True))]
    return [results.seed, *complete]


def _table(
    results: Results,
    id_: str,
    title: str,
    of: Callable[[Scale, int], list[Cell]],
    *,
    rows: Sequence[str] = ("attack",),
    place: str = "",
    absent: str = "",
    notes: Iterable[str] = (),
) -> Artefact:
    """A table, ours beside the printed numbers; the printed half where this scale runs nothing of it, because of ``absent``.

    ``place`` is the end of the caption: data set, model, ratio, scale and seed. Further seeds for which everything that the first
    one has was computed, too, make means and standard deviations.
    """
    printed, scale = published(PAPER, id_), results.scale
    cells = of(scale, results.seed)
    if not cells and printed.empty:
        state = f"{absent}; the printed values are not published to us"
        return _artefact(
            results, id_, "table", caption=f"{title}. Nothing to show: {state}.", frame=pd.DataFrame({"Table": [id_], "State": [state]})
        )  # fmt: skip
    seeds = _seeds(results, of)
    found = [_rows(results, of(scale, seed)) for seed in seeds]
    if cells and found[0].empty:
        raise NotRun(f"no cell of {id_} has a result at {scale.name} scale")
    frames = [compare.compare(ours, printed, scale=scale.name, stand_ins=stand_ins(scale)) for ours in found]
    frame = compare.over_seeds(
        [pd.concat([one, compare.averages(one, "of averages")], ignore_index=True) for one in frames]
    )
    caption = f"{title}. {place or where(results)}" if cells else f"{title}. Printed numbers only: {absent}."
    if len(seeds) > 1:
        caption = caption.replace(
            f"seed {results.seed}.", f"seeds {', '.join(map(str, seeds))}: mean ± standard deviation."
        )
    html = tables.paper_table(frame, caption, rows=rows, everything=not cells, notes=[note for note in notes if note])
    return _artefact(results, id_, "table", caption=caption, frame=frame, html=html)


def draw_table1(results: Results) -> Artefact:
    """Table 1: ACC, ASR, DER of every defense under every attack, ours beside the printed number."""
    notes = (_schedules(results.scale), _not_learned(results))
    return _table(results, "table1", "Table 1. FT-SAM against other defenses", table1_cells, notes=notes)


SHIFTED = (
    "In print the row of the undefended models is shifted by one attack from SIG on; the printed and, after the arrow, the "
    "corrected reading (from Table 1) are both shown."
)


def draw_table3(results: Results) -> Artefact:
    """Table 3: FT and FT-SAM with 10, 5 and 1 % clean images."""
    title = "Table 3. FT and FT-SAM with 10, 5 and 1 % clean images"
    notes = (_schedules(results.scale), SHIFTED)
    return _table(results, "table3", title, table3_cells, rows=("attack", "setting"), notes=notes)


def draw_table4(results: Results) -> Artefact:
    """Table 4: pruning alone, with FT and with FT-SAM."""
    title = "Table 4. Pruning (FP's and ANP's) alone, with FT and with FT-SAM"
    notes = (
        _schedules(results.scale),
        "FP is its pruning with FT. What was pruned stays pruned while the rest is tuned; the paper does not say so of its chains.",
        SHIFTED,
    )
    return _table(results, "table4", title, table4_cells, notes=notes)


def draw_family(id_: str) -> Callable[[Results], Artefact]:
    """Table 2 and the tables of the supplement."""

    def draw(results: Results) -> Artefact:
        family, scale = FAMILIES[id_], results.scale
        part = family.parts.get(scale.name)
        title, place = family.title, ""
        notes: list[str] = []
        if part is not None:
            dataset = "" if family.dataset == "cifar10" else family.dataset
            ratio = part.ratios[0] if len(part.ratios) == 1 else None
            if ratio is None:
                title += f" ({', '.join(f'{100 * one:g}' for one in part.ratios)} %)"
            models = ", ".join(style.title("model", name) for name in part.models)
            place = where(results, ratio, dataset, models)
            notes = [_schedules(scales.on(scale, family.dataset))]
            if id_ != "table2":
                notes.append(
                    "Ours only: of the supplement no number is published to us, and its rows and columns are our choice."
                )
        cells = family_cells(id_)
        return _table(results, id_, title, cells, rows=family.rows, place=place, absent=family.absent, notes=notes)

    return draw


STAGES = ("none", "ft", "ft_sam")
"""Order of the models in the results of :func:`neuron_spec` and :func:`tsne_spec`."""


def _stage(name: str) -> style.Look:
    return style.look("defense", name)


def _stage_title(name: str) -> str:
    return "backdoored" if name == "none" else f"after {_stage(name).title}"


def _embedding(axes: Any, result: dict[str, Any], k: int) -> None:
    xy, y = np.array(result["xy"][k]), np.array(result["y"])
    poisoned = np.array(result["poisoned"], dtype=bool)
    for label in np.unique(y):
        chosen = ~poisoned & (y == label)
        axes.scatter(*xy[chosen].T, s=3, color=style.CLASSES[label % 10], linewidths=0)
    axes.scatter(*xy[poisoned].T, s=9, color="black", marker="x", linewidths=0.7, label="poisoned")
    axes.set(xticks=[], yticks=[], title=f"t-SNE, {_stage_title(STAGES[k])}")
    axes.grid(False)


def _embedding_frame(result: dict[str, Any], stages: Iterable[int]) -> pd.DataFrame:
    return pd.concat(
        pd.DataFrame(
            {
                "panel": "t-SNE", "model": STAGES[k], "x": np.array(result["xy"][k])[:, 0],
                "y": np.array(result["xy"][k])[:, 1], "label": result["y"], "poisoned": result["poisoned"],
            }
        )
        for k in stages
    )  # fmt: skip


def _histogram(axes: Any, norms: dict[str, list[float]]) -> None:
    """Histograms and density curves of the neurons' norms of several models, on common bins."""
    from scipy.stats import gaussian_kde

    everything = np.concatenate([np.array(v) for v in norms.values()])
    bins = np.linspace(everything.min(), everything.max(), 25)
    grid = np.linspace(bins[0], bins[-1], 200)
    for name, values in norms.items():
        look = _stage(name)
        axes.hist(values, bins, density=True, color=look.colour, alpha=0.25)
        axes.plot(grid, gaussian_kde(values)(grid), color=look.colour, linestyle=look.line, label=_stage_title(name))
    axes.set(xlabel="weight norm of a neuron", ylabel="density")


def _norm_frame(panel: str, attack: str, norms: dict[str, list[float]]) -> pd.DataFrame:
    return pd.concat(
        pd.DataFrame({"panel": panel, "attack": attack, "model": name, "neuron": range(len(v)), "norm": v})
        for name, v in norms.items()
    )


def draw_fig1(results: Results) -> Artefact:
    """Figure 1: what FT leaves in place, in feature space and in the weights (Blended, 10 %)."""
    import matplotlib.pyplot as plt

    embedding = results.need(tsne_spec(results.scale, results.seed))
    found = results.need(neuron_spec(results.scale, "blended", 0.1, results.seed))
    norms = dict(zip(STAGES[:2], found["norm"], strict=False))
    with style.context():
        figure, axes = plt.subplots(1, 3, figsize=(style.PAGE, 2.2))
        _embedding(axes[0], embedding, 0)
        _embedding(axes[1], embedding, 1)
        axes[1].legend(loc="lower right", fontsize=6.5)
        _histogram(axes[2], norms)
        axes[2].set_title("weight norms of the last conv")
        axes[2].legend(fontsize=6.5)
    shift = np.mean(norms["ft"]) / np.mean(norms["none"]) - 1
    return _artefact(
        results, "fig1", "figure", figure=figure,
        frame=pd.concat([_embedding_frame(embedding, (0, 1)), _norm_frame("norms", "blended", norms)]),
        caption=f"Figure 1. A backdoored model before and after FT (Blended). {where(results)}",
        alt="Two t-SNE maps of image features, coloured by class with poisoned images as black crosses, before and after "
        f"fine-tuning, and the distribution of the neurons' weight norms of both models: FT changes the mean norm by {shift:+.1%}.",
    )  # fmt: skip


def draw_fig2(results: Results) -> Artefact:
    """Figure 2: FT against FT-SAM in feature space and in the norms; TAC against norm in two backdoored models."""
    import matplotlib.pyplot as plt

    embedding = results.need(tsne_spec(results.scale, results.seed))
    blended = results.need(neuron_spec(results.scale, "blended", 0.1, results.seed))
    badnets = results.need(neuron_spec(results.scale, "badnets", 0.1, results.seed))
    order = np.argsort(blended["norm"][0])[::-1]
    frames = [_embedding_frame(embedding, (1, 2))]
    with style.context():
        figure, axes = plt.subplots(2, 3, figsize=(style.PAGE, 4.2))
        for row, k in enumerate((1, 2)):
            _embedding(axes[row, 0], embedding, k)
            change = np.array(blended["norm"][k])[order] - np.array(blended["norm"][0])[order]
            look = _stage(STAGES[k])
            axes[row, 1].bar(range(len(order)), change, width=1.0, color=look.colour)
            axes[row, 1].set(
                xlabel="neurons, largest norm first",
                ylabel="change of norm",
                title=f"{_stage_title(STAGES[k])}, Blended",
            )
            frames.append(
                pd.DataFrame({"panel": "change of norm", "model": STAGES[k], "neuron": order, "change": change})
            )
        lowest = min(axes[0, 1].get_ylim()[0], axes[1, 1].get_ylim()[0])
        highest = max(axes[0, 1].get_ylim()[1], axes[1, 1].get_ylim()[1])
        for row, (name, found) in enumerate((("blended", blended), ("badnets", badnets))):
            axes[row, 1].set_ylim(lowest, highest)
            look = style.look("attack", name)
            axes[row, 2].scatter(
                found["tac"][0], found["norm"][0], s=8, color=look.colour, marker=look.marker, alpha=0.7
            )
            axes[row, 2].set(
                xlabel="TAC", ylabel="weight norm",
                title=f"{look.title}: rank corr. {_correlation(found['tac'][0], found['norm'][0]):.2f}",
            )  # fmt: skip
            frames.append(_scatter_frame(name, "none", found, 0))
    changes = [float(np.mean(blended["norm"][k]) / np.mean(blended["norm"][0]) - 1) for k in (1, 2)]
    return _artefact(
        results, "fig2", "figure", figure=figure, frame=pd.concat(frames),
        caption=f"Figure 2. FT (top) and FT-SAM (bottom) on the Blended model: features, change of the neurons' norms; and TAC "
        f"against norm in two backdoored models. {where(results)}",
        alt=f"FT changes the mean weight norm of the neurons by {changes[0]:+.1%}, FT-SAM by {changes[1]:+.1%}. In both backdoored "
        "models the scatter of trigger-activated change against norm is shown with its rank correlation.",
    )  # fmt: skip


def _scatter_frame(attack: str, model: str, found: dict[str, Any], k: int) -> pd.DataFrame:
    tac, norm = found["tac"][k], found["norm"][k]
    return pd.DataFrame(
        {
            "panel": "TAC against norm",
            "attack": attack,
            "model": model,
            "neuron": range(len(tac)),
            "tac": tac,
            "norm": norm,
        }
    )


def _correlation(a: Any, b: Any) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(a, b).statistic)


def _sweep(results: Results) -> dict[str, list[tuple[int, dict[str, Any]]]]:
    """Per attack of Figure 3 the (rho, result) that exist."""
    out: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for attack in swept(results.scale):
        parent = backdoored(results.scale, attack, 0.1, results.seed)
        for rho in RHOS:
            if (found := results.get(defended(results.scale, parent, "ft_sam", rho=rho))) is not None:
                out.setdefault(attack, []).append((rho, found))
    if not out:
        raise NotRun(f"no result of the rho sweep at {results.scale.name} scale")
    return out


def draw_fig3(results: Results) -> Artefact:
    """Figure 3: ACC, ASR and DER against rho."""
    import matplotlib.pyplot as plt

    sweep = _sweep(results)
    rows = []
    for attack, points in sweep.items():
        before = results.need(backdoored(results.scale, attack, 0.1, results.seed))
        for rho, found in points:
            score = der(before["c_acc"], before["asr"], found["c_acc"], found["asr"], unit="percent")
            for metric, value in (("ACC", found["c_acc"]), ("ASR", found["asr"]), ("DER", score)):
                rows.append({"attack": attack, "rho": rho, "metric": metric, "value": value})
    frame = pd.DataFrame(rows)
    with style.context():
        figure, panels = plt.subplots(
            1, len(sweep), figsize=(style.COLUMN * len(sweep), 2.4), sharey=True, squeeze=False
        )
        shape = {"ACC": ("#0173b2", "o", "-"), "ASR": ("#d55e00", "s", "--"), "DER": ("#029e73", "^", ":")}
        for axes, attack in zip(panels[0], sweep, strict=True):
            for metric, (colour, marker, line) in shape.items():
                part = frame[(frame.attack == attack) & (frame.metric == metric)]
                axes.plot(part.rho, part.value, color=colour, marker=marker, linestyle=line, label=metric)
            axes.set(xlabel="ρ", title=style.look("attack", attack).title, ylim=(-3, 103), xticks=RHOS)
        panels[0][0].set_ylabel("percent")
        handles, labels = panels[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
    text = "; ".join(
        f"{style.look('attack', a).title}: ASR {p[0][1]['asr']:.1f} at rho {p[0][0]}, {p[-1][1]['asr']:.1f} at rho {p[-1][0]}"
        for a, p in sweep.items()
    )
    return _artefact(
        results, "fig3", "figure", figure=figure, frame=frame,
        caption=f"Figure 3. FT-SAM against the perturbation budget ρ; {len(sweep)} of 4 attacks. {where(results)}",
        alt=f"One panel per attack with accuracy, attack success rate and DER over rho from 1 to 8. {text}.",
    )  # fmt: skip


def _found_neurons(results: Results) -> dict[str, dict[str, Any]]:
    specs = {name: neuron_spec(results.scale, name, 0.05, results.seed) for name in run_attacks(results.scale)}
    found = {name: result for name, spec in specs.items() if (result := results.get(spec)) is not None}
    if not found:
        raise NotRun(f"no neuron analysis at {results.scale.name} scale")
    return found


def _count(found: Any) -> str:
    return f"{len(found)} of {len(PRINTED_ATTACKS)} attacks"


def draw_fig4(results: Results) -> Artefact:
    """Figure 4: TAC against norm, backdoored, after FT and after FT-SAM, 5 % poisoning."""
    import matplotlib.pyplot as plt

    found = _found_neurons(results)
    frames, texts = [], []
    with style.context():
        size = (style.PAGE, 1.5 * len(found))
        figure, panels = plt.subplots(len(found), 3, figsize=size, sharex="row", sharey="row", squeeze=False)
        for row, (name, result) in zip(panels, found.items(), strict=True):
            for k, axes in enumerate(row):
                look = _stage(STAGES[k])
                axes.scatter(result["tac"][k], result["norm"][k], s=6, color=look.colour, marker=look.marker, alpha=0.6)
                correlation = _correlation(result["tac"][k], result["norm"][k])
                axes.text(
                    0.97, 0.05, f"rank corr. {correlation:.2f}", transform=axes.transAxes, ha="right", fontsize=6.5
                )
                frames.append(_scatter_frame(name, STAGES[k], result, k))
                if axes in panels[0]:
                    axes.set_title(_stage_title(STAGES[k]))
                if axes in panels[-1]:
                    axes.set_xlabel("TAC")
            row[0].set_ylabel(f"{style.look('attack', name).title}\nweight norm")
            largest = [max(result["norm"][k]) for k in range(3)]
            texts.append(f"{style.look('attack', name).title} {largest[0]:.2f}, {largest[1]:.2f}, {largest[2]:.2f}")
    return _artefact(
        results, "fig4", "figure", figure=figure, frame=pd.concat(frames),
        caption=f"Figure 4. TAC against weight norm of the neurons; {_count(found)}. {where(results, 0.05)}",
        alt="A grid of scatter plots, one row per attack and one column per model. Largest norm in the backdoored model, after FT "
        f"and after FT-SAM: {'; '.join(texts)}.",
    )  # fmt: skip


def draw_fig5(results: Results) -> Artefact:
    """Figure 5: distributions of the neurons' norms in the three models, 5 % poisoning."""
    import matplotlib.pyplot as plt

    found = _found_neurons(results)
    frames, texts = [], []
    with style.context():
        columns = min(len(found), 4)
        lines = -(-len(found) // columns)
        figure, panels = plt.subplots(lines, columns, figsize=(style.PAGE, 2.0 * lines), squeeze=False)
        for axes in panels.flat[len(found) :]:
            axes.set_visible(False)
        for axes, (name, result) in zip(panels.flat, found.items(), strict=False):
            norms = dict(zip(STAGES, result["norm"], strict=True))
            _histogram(axes, norms)
            axes.set_title(style.look("attack", name).title)
            axes.set_ylabel("density" if axes in panels[:, 0] else "")
            frames.append(_norm_frame("norms", name, norms))
            means = [float(np.mean(values)) for values in norms.values()]
            texts.append(f"{style.look('attack', name).title} {means[0]:.3f}, {means[1]:.3f}, {means[2]:.3f}")
        handles, labels = panels[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return _artefact(
        results, "fig5", "figure", figure=figure, frame=pd.concat(frames),
        caption=f"Figure 5. Weight norms of the neurons of the last convolution; {_count(found)}. {where(results, 0.05)}",
        alt="One panel per attack with the norm distributions of the backdoored model, after FT and after FT-SAM. Mean norms in "
        f"this order: {'; '.join(texts)}.",
    )  # fmt: skip


def _geometry(results: Results) -> dict[str, dict[str, Any]]:
    specs = {name: geometry_spec(results.scale, name, results.seed) for name in run_attacks(results.scale)}
    return {name: result for name, spec in specs.items() if (result := results.get(spec)) is not None}


def draw_fig6(results: Results) -> Artefact:
    """Figure 6: what one step of FT and of FT-SAM sees in each neuron."""
    import matplotlib.pyplot as plt

    blended = results.need(geometry_spec(results.scale, "blended", results.seed))
    found = results.need(neuron_spec(results.scale, "blended", 0.1, results.seed))
    everyone = _geometry(results)
    tac, norm = np.array(found["tac"][0]), np.array(found["norm"][0])
    order = np.argsort(tac)
    frames = []
    with style.context():
        figure, panels = plt.subplot_mosaic("aabbcc;dddeee", figsize=(style.PAGE, 4.2))
        for name, key, stage in (("a", "gradient_ft", "ft"), ("b", "gradient_ft_sam", "ft_sam")):
            values = np.array(blended[key])[order]
            panels[name].bar(range(len(order)), values, width=1.0, color=_stage(stage).colour)
            panels[name].set(xlabel="neurons, largest TAC last", title=f"({name}) {_stage(stage).title}")
            frames.append(pd.DataFrame({"panel": name, "attack": "blended", "x": range(len(order)), "y": values}))
        panels["a"].set_ylabel("gradient norm")
        for name, result in everyone.items():
            panels["c"].plot(RHOS, result["mean_gradient"], **style.look("attack", name).plot())
            frames.append(pd.DataFrame({"panel": "c", "attack": name, "x": RHOS, "y": result["mean_gradient"]}))
        panels["c"].set(xlabel="ρ", ylabel="mean gradient norm", title="(c) gradient norm over ρ", xticks=RHOS)
        panels["c"].legend(fontsize=6, loc="upper left", bbox_to_anchor=(1.0, 1.0), borderaxespad=0)
        for name, key, label in (("d", "epsilon_sam", "SAM"), ("e", "epsilon_asam", "adaptive SAM")):
            panels[name].scatter(norm, blended[key], s=6, color=_stage("ft_sam").colour, alpha=0.6)
            panels[name].set(xlabel="weight norm", ylabel="perturbation norm", title=f"({name}) {label}")
            frames.append(pd.DataFrame({"panel": name, "attack": "blended", "x": norm, "y": blended[key]}))
    correlations = [_correlation(norm, blended[key]) for key in ("epsilon_sam", "epsilon_asam")]
    means = [float(np.mean(blended[key])) for key in ("gradient_ft", "gradient_ft_sam")]
    return _artefact(
        results, "fig6", "figure", figure=figure, frame=pd.concat(frames),
        caption="Figure 6. First step on the first batch of the Blended model: gradient norms of the neurons under FT (a) and FT-SAM "
        f"(b), over ρ for {_count(everyone)} (c), and norms of the perturbation of SAM (d) and adaptive SAM (e). {where(results)}",
        alt=f"The mean gradient norm of a neuron is {means[0]:.2g} under FT and {means[1]:.2g} under FT-SAM. The rank correlation of "
        f"weight norm and perturbation norm is {correlations[0]:.2f} for SAM and {correlations[1]:.2f} for adaptive SAM.",
    )  # fmt: skip


def _image(text: str, shape: list[int]) -> np.ndarray:
    channels, height, width = shape
    return np.frombuffer(base64.b64decode(text), dtype=np.uint8).reshape(height, width, channels)


def draw_fig7(results: Results) -> Artefact:
    """Figure 7: Grad-CAM of one image, clean and triggered, before and after FT-SAM, 5 % poisoning."""
    import matplotlib.pyplot as plt

    specs = {name: gradcam_spec(results.scale, name, results.seed) for name in run_attacks(results.scale)}
    found = {name: result for name, spec in specs.items() if (result := results.get(spec)) is not None}
    if not found:
        raise NotRun(f"no Grad-CAM at {results.scale.name} scale")
    first = next(iter(found.values()))
    columns = [("benign", first, 0), *((style.look("attack", name).title, r, 1) for name, r in found.items())]
    frames, texts = [], []
    with style.context():
        figure, panels = plt.subplots(3, len(columns), figsize=(1.3 * len(columns), 4.2), squeeze=False)
        for column, (title, result, which) in enumerate(columns):
            image = _image(result["images"][which], result["shape"])
            panels[0, column].imshow(image, interpolation="nearest")
            panels[0, column].set_title(title)
            for row, model in enumerate(("backdoored", "after FT-SAM")):
                axes = panels[row + 1, column]
                cam = np.array(result["maps"][row][which])
                extent = (-0.5, image.shape[1] - 0.5, image.shape[0] - 0.5, -0.5)
                axes.imshow(image, interpolation="nearest")
                axes.imshow(cam, extent=extent, interpolation="bilinear", alpha=0.55, cmap="inferno", vmin=0, vmax=1)
                predicted = result["predicted"][row][which]
                axes.set_xlabel(f"class {predicted}", fontsize=7)
                texts.append(f"{title} {model}: class {predicted}")
                rows, cols = np.indices(cam.shape)
                frames.append(
                    pd.DataFrame(
                        {"image": title, "model": model, "predicted": predicted, "row": rows.ravel(), "column": cols.ravel(),
                         "cam": cam.ravel()}
                    )
                )  # fmt: skip
        for label, axes in zip(("image", "backdoored", "after FT-SAM"), panels[:, 0], strict=True):
            axes.set_ylabel(label)
        for axes in panels.flat:
            axes.set(xticks=[], yticks=[])
            axes.grid(False)
    return _artefact(
        results, "fig7", "figure", figure=figure, frame=pd.concat(frames),
        caption=f"Figure 7. Grad-CAM of one test image of class 4 for the predicted class; {_count(found)}. {where(results, 0.05)}",
        alt=f"Predicted classes (0 is the attacker's target, 4 the true class): {'; '.join(texts)}.",
    )  # fmt: skip


def draw_reactivation(results: Results) -> Artefact:
    """What an optimised perturbation reaches on the purified models."""
    found = results.need(reactivation_spec(results.scale, results.seed))
    numbers = reactivation.frame({"blended": found}, REACTIVATED)
    return _artefact(
        results, "our_reactivation", "figure", figure=reactivation.draw(numbers), frame=numbers,
        caption=f"Low ASR is not removal: ASR with Blended's trigger, with a universal perturbation of at most "
        f"{round(255 * found['eps'])} grey levels optimised against the model, and with both. {where(results)}",
        alt=reactivation.describe(numbers),
    )  # fmt: skip


ITEMS: dict[str, Item] = {
    "table1": Item(_of_cells(table1_cells), draw_table1),
    "table3": Item(_of_cells(table3_cells), draw_table3),
    "table4": Item(_of_cells(table4_cells), draw_table4),
    **{id_: Item(_of_cells(family_cells(id_)), draw_family(id_)) for id_ in FAMILIES},
    "fig1": Item(lambda s, seed: [tsne_spec(s, seed), neuron_spec(s, "blended", 0.1, seed)], draw_fig1),
    "fig2": Item(
        lambda s, seed: [tsne_spec(s, seed), *(neuron_spec(s, a, 0.1, seed) for a in ("blended", "badnets"))], draw_fig2
    ),
    "fig3": Item(_fig3, draw_fig3),
    "fig4": Item(_neurons(ratio=0.05), draw_fig4),
    "fig5": Item(_neurons(ratio=0.05), draw_fig5),
    "fig6": Item(
        lambda s, seed: [neuron_spec(s, "blended", 0.1, seed), *(geometry_spec(s, a, seed) for a in run_attacks(s))],
        draw_fig6,
    ),
    "fig7": Item(lambda s, seed: [gradcam_spec(s, a, seed) for a in run_attacks(s)], draw_fig7),
}

OURS: dict[str, Item] = {
    "our_reactivation": Item(lambda s, seed: [reactivation_spec(s, seed)], draw_reactivation),
}


# -------------------------------------------------------------------------------------------------------- claims


def _asr(results: Results, attack: str, defense: str) -> float:
    parent = backdoored(results.scale, attack, 0.1, results.seed)
    return results.need(defended(results.scale, parent, defense))["asr"]


def check_alive(results: Results) -> Verdict:
    """FT leaves the hard triggers alive and FT-SAM does not."""
    hard = [name for name in ("blended", "lf", "ssba") if name in learned(results)]
    if not hard:
        raise NotRun(f"no hard trigger is learned at {results.scale.name} scale")
    numbers = {}
    for name in hard:
        for defense in ("ft", "ft_sam"):
            numbers[f"{style.look('attack', name).title} ASR after {_stage(defense).title}"] = _asr(
                results, name, defense
            )
    after_ft, after_sam = (list(numbers.values())[k::2] for k in (0, 1))
    alive = all(f >= 20 and s <= f / 3 for f, s in zip(after_ft, after_sam, strict=True))
    return Verdict(alive, "alive: ASR of at least 20 after FT, and at most a third of that after FT-SAM", numbers)


def _over(attacks: tuple[str, ...]) -> str:
    """The attacks that a verdict is about: those that the undefended model has learned."""
    return f"{', '.join(style.look('attack', name).title for name in attacks)} (undefended ASR at least {LEARNED:g})"


def check_headline(results: Results) -> Verdict:
    """Mean ASR after FT-SAM at most a third of that after FT, at no more than 3 points less C-Acc."""
    means = {}
    for defense in ("ft", "ft_sam"):
        parents = [backdoored(results.scale, name, 0.1, results.seed) for name in learned(results)]
        found = [results.need(defended(results.scale, parent, defense)) for parent in parents]
        for metric in ("asr", "c_acc"):
            means[defense, metric] = float(np.mean([f[metric] for f in found]))
    holds = means["ft_sam", "asr"] <= means["ft", "asr"] / 3 and means["ft_sam", "c_acc"] >= means["ft", "c_acc"] - 3
    names = {"asr": "mean ASR", "c_acc": "mean C-Acc"}
    numbers = {f"{names[m]} after {_stage(d).title}": v for (d, m), v in means.items()}
    return Verdict(
        holds,
        f"over {_over(learned(results))}; at most a third of the ASR, at most 3 points of C-Acc",
        numbers,
    )


def check_norms(results: Results) -> Verdict:
    """Backdoor-related neurons have larger norms: positive rank correlation of TAC and norm in every backdoored model."""
    numbers = {}
    for name in learned(results, 0.05):
        found = results.need(neuron_spec(results.scale, name, 0.05, results.seed))
        numbers[f"{style.look('attack', name).title} rank correlation"] = _correlation(
            found["tac"][0], found["norm"][0]
        )
    return Verdict(all(v > 0 for v in numbers.values()), "rank correlation of TAC and norm, 5 % poisoning", numbers)


def check_shrinks(results: Results) -> Verdict:
    """FT-SAM shrinks the norms of the neurons with the largest TAC, FT does not."""
    changes: dict[str, list[float]] = {"ft": [], "ft_sam": []}
    for name in learned(results, 0.05):
        found = results.need(neuron_spec(results.scale, name, 0.05, results.seed))
        tac, before = np.array(found["tac"][0]), np.array(found["norm"][0])
        top = np.argsort(tac)[-max(1, len(tac) // 10) :]
        for k, defense in ((1, "ft"), (2, "ft_sam")):
            changes[defense].append(100 * float(np.array(found["norm"][k])[top].mean() / before[top].mean() - 1))
    numbers = {f"change after {_stage(d).title} (%)": float(np.mean(v)) for d, v in changes.items()}
    ft_change, sam_change = numbers.values()
    holds = sam_change < 0 and abs(ft_change) < abs(sam_change) / 2
    return Verdict(
        holds, "mean norm of the tenth of the neurons with the largest TAC; FT must move less than half as far", numbers
    )


def check_rho(results: Results) -> Verdict:
    """ASR falls with rho."""
    numbers, falls = {}, []
    sweep = {name: points for name, points in _sweep(results).items() if name in learned(results)}
    if not sweep:
        raise NotRun(f"no attack of the rho sweep is learned at {results.scale.name} scale")
    for name, points in sweep.items():
        rhos, rates = [p[0] for p in points], [p[1]["asr"] for p in points]
        if len(rates) < len(RHOS):
            raise NotRun(f"the rho sweep of {name} is not complete at {results.scale.name} scale")
        numbers[f"{style.look('attack', name).title} ASR at rho {rhos[0]}"] = rates[0]
        numbers[f"{style.look('attack', name).title} ASR at rho {rhos[-1]}"] = rates[-1]
        numbers[f"{style.look('attack', name).title} rank correlation"] = correlation = _correlation(rhos, rates)
        falls.append(correlation < 0 and rates[-1] < rates[0])
    return Verdict(all(falls), "rank correlation of rho and ASR over rho = 1 to 8 is negative", numbers)


def check_little_data(results: Results) -> Verdict:
    """FT-SAM beats FT at every amount of clean data."""
    numbers = {}
    for clean in CLEAN_RATIOS:
        for defense in ("ft", "ft_sam"):
            parents = [backdoored(results.scale, name, 0.1, results.seed) for name in learned(results)]
            rates = [results.need(defended(results.scale, p, defense, clean_ratio=clean))["asr"] for p in parents]
            numbers[f"{100 * clean:g} % {_stage(defense).title}"] = float(np.mean(rates))
    values = list(numbers.values())
    return Verdict(
        all(s < f for f, s in zip(values[::2], values[1::2], strict=True)),
        f"mean ASR over {_over(learned(results))}",
        numbers,
    )


def check_combined(results: Results) -> Verdict:
    """After pruning, FT-SAM leaves a lower mean ASR than FT."""
    rates: dict[str, list[float]] = {}
    attacks: dict[str, None] = {}
    for attack, name, _, spec, parent in table4_cells(results.scale, results.seed):
        if results.need(parent)["asr"] >= LEARNED and name in ("fp", "pruning+ft_sam", "anp+ft", "anp+ft_sam"):
            attacks[attack] = None
            rates.setdefault(name, []).append(results.need(spec)["asr"])
    if not rates:
        raise NotRun(f"no attack of Table 4 is learned at {results.scale.name} scale")
    numbers = {f"mean ASR, {_stage(name).title}": float(np.mean(values)) for name, values in rates.items()}
    fp, fp_sam, anp, anp_sam = numbers.values()
    return Verdict(
        fp_sam < fp and anp_sam < anp, f"over {_over(tuple(attacks))}; lower with both ways to prune", numbers
    )


CLAIMS: list[Claim] = [
    Claim("alive", PAPER, "FT leaves triggers like Blended and LF alive, FT-SAM does not.", "Table 1", check_alive),
    Claim(
        "headline", PAPER, "FT-SAM lowers the ASR far below FT's at little cost in accuracy.", "Table 1", check_headline
    ),
    Claim("little_data", PAPER, "FT-SAM is better than FT at 10, 5 and 1 % clean data.", "Table 3", check_little_data),
    Claim("combined", PAPER, "Pruning followed by FT-SAM is better than followed by FT.", "Table 4", check_combined),
    Claim("rho", PAPER, "The ASR falls as rho grows.", "Figure 3", check_rho),
    Claim("norms", PAPER, "Backdoor-related neurons have larger weight norms.", "Figures 2 and 4", check_norms),
    Claim(
        "shrinks",
        PAPER,
        "FT-SAM shrinks the norms of backdoor-related neurons, FT does not.",
        "Figures 2, 4, 5",
        check_shrinks,
    ),
]
