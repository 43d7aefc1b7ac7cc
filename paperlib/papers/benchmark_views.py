"""BackdoorBench (NeurIPS 2022, arXiv 2206.12654): its figures that look inside models, on our own; and how sure its rankings are.

The models are those of the grid (:mod:`paperlib.papers.benchmark_runs`), PreAct-ResNet18 at every scale but in the visual panels at
paper scale, which are the paper's: BadNets at 5 % on Tiny ImageNet, five networks, without and with AC. Below paper scale the
panels show one slice of that: one network, the data set of the scale, 10 % poisoned, which are models that the grid has anyway.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from paperlib.analysis import TOOLS
from paperlib.attacks import ATTACKS
from paperlib.defenses import DEFENSES
from paperlib.detection import DETECTORS
from paperlib.experiments import plan as ex
from paperlib.experiments import scales
from paperlib.experiments.scales import Scale
from paperlib.experiments.specs import AnalysisSpec, TrainSpec
from paperlib.lab.spec import Spec
from paperlib.models import MODELS
from paperlib.papers import Item, Results, analysis_tools
from paperlib.papers import benchmark_runs as runs
from paperlib.papers.shared import artefact, images
from paperlib.report import analysis_figures as figures
from paperlib.report import ranks, style, tables
from paperlib.report.artefact import Artefact
from paperlib.report.claims import NotRun
from paperlib.report.compare import repetition_noise
from paperlib.report.published import inventory, published

PAPER = runs.PAPER
SEEN = {"smoke": 100, "laptop": 1000, "paper": 5000}
"""Images, of the poisoned training set or of each group, that a tool looks at."""
LOOKED_AT = ("blended", "badnets")
ALTERED: dict[str, tuple[float, ...]] = {"blended": (0.05, 0.1, 0.15, 0.2, 0.3, 0.4), "badnets": (1, 2, 3, 4, 6, 8)}
"""Attack -> values of the trigger's strength at test time: Blended's alpha, the side of BadNets' patch."""
RATIOS = (0.05, 0.1)


def entry(id_: str) -> Any:
    """The item ``id_`` of the paper's inventory."""
    return next(item for item in inventory(PAPER) if item.id == id_)


def caption(id_: str, text: str) -> str:
    """Its number in the paper, as far as that is known, and what is shown."""
    item = entry(id_)
    number = f"{item.kind.capitalize()} {item.number}" if item.number else f"{item.kind.capitalize()} (number unknown)"
    return f"{number}{'' if item.verified or not item.number else ' (number inferred)'}. {text}"


def _where(scale: Scale, seed: int) -> str:
    return f"{images(scale)}, width {scale.width}, {scale.epochs} epochs, {scale.name} scale, seed {seed}"


def _figure(results: Results, id_: str, text: str, **content: Any) -> Artefact:
    """An item of the paper, from our own models."""
    return artefact(PAPER, results, id_, "figure", caption=caption(id_, text), **content)


def _found(results: Results, specs: Sequence[AnalysisSpec]) -> list[tuple[AnalysisSpec, dict[str, Any]]]:
    """The specs that have a result."""
    there = [(spec, result) for spec in specs if (result := results.get(spec)) is not None]
    if not there:
        raise NotRun(f"{specs[0].label} has no result at {results.scale.name} scale")
    return there


def _parent(spec: AnalysisSpec) -> TrainSpec:
    parent = spec.inputs[0]
    assert isinstance(parent, TrainSpec)
    return parent


# ------------------------------------------------------------------------------------------------------- structure

MODULES: dict[str, tuple[str, Mapping[str, Any], str]] = {
    "attack": ("paperlib.attacks", ATTACKS, "poison the data, or control the training"),
    "model": ("paperlib.models", MODELS, "trained on the poisoned data"),
    "defense": ("paperlib.defenses", DEFENSES, "before, in and after training"),
    "detector": ("paperlib.detection", DETECTORS, "flag poisoned samples"),
    "tool": ("paperlib.analysis", TOOLS, "look inside"),
}
"""Part of the code base -> package, registry, what it does: the boxes of Figure 1 are read from these registries."""
ARROWS = (("attack", "model"), ("model", "defense"), ("attack", "detector"), ("model", "tool"), ("defense", "tool"))
PLACES = {"attack": (0.0, 1), "model": (1.0, 1), "defense": (2.0, 1), "detector": (0.0, 0), "tool": (1.5, 0)}


def _titles(part: str) -> list[str]:
    found = MODULES[part][1].values()
    return [method.title for method in found]


def draw_structure() -> Artefact:
    """Figure 1: the modules of this code base and what is in them, read from the package itself."""
    import textwrap

    import matplotlib.pyplot as plt

    with style.context():
        figure, axes = plt.subplots(figsize=(style.PAGE, 3.4))
        figures.bare(axes)
        axes.set(xlim=(-0.5, 2.5), ylim=(-0.5, 1.5))
        boxes = {}
        for k, (part, (package, _, does)) in enumerate(MODULES.items()):
            names = textwrap.fill(", ".join(_titles(part)), 84 if part == "tool" else 36)
            text = f"{package}\n{does}\n\n{names}"
            x, y = PLACES[part]
            look = {
                "boxstyle": "round,pad=0.5",
                "facecolor": "white",
                "edgecolor": style.COLOURS[k + 1],
                "linewidth": 1.4,
            }
            boxes[part] = axes.text(x, y, text, ha="center", va="center", fontsize=5.8, bbox=look, zorder=3)
        figure.draw_without_rendering()  # the boxes get their sizes, at which the arrows end
        for start, end in ARROWS:
            ends = {"patchA": boxes[start].get_bbox_patch(), "patchB": boxes[end].get_bbox_patch()}
            arrow = {"arrowstyle": "-|>", "color": "#555555", "linewidth": 1, "shrinkA": 1, "shrinkB": 1, **ends}
            axes.annotate("", PLACES[end], PLACES[start], arrowprops=arrow, zorder=4)
        figure.set_layout_engine("none")
    rows = [
        (part, package, name, title)
        for part, (package, registry, _) in MODULES.items()
        for name, title in zip(registry, _titles(part), strict=True)
    ]
    frame = pd.DataFrame(rows, columns=["part", "package", "name", "title"])
    counts = ", ".join(f"{len(registry)} {part}s" for part, (_, registry, _) in MODULES.items())
    return Artefact(
        paper=PAPER, id="fig1", kind="figure", scale="paper", figure=figure, frame=frame,
        caption=caption("fig1", f"Structure of this code base, read from its registries: {counts}. The paper draws its own."),
        alt="Boxes for attacks, models, defenses, detectors and analysis tools with what each holds. Attacks lead to models and "
        "detectors, models to defenses and tools, defenses to tools.",
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------ t-SNE at two ratios


def tsne_specs(scale: Scale, seed: int) -> list[AnalysisSpec]:
    """Features of the Blended model and of the same after FT, at both ratios."""
    parents = [runs.attacked(scale, "blended", ratio, seed) for ratio in RATIOS]
    n = SEEN[scale.name] * (3 if scale.name == "smoke" else 1)
    return [ex.analyse("tsne", p, runs.defended(scale, p, "ft"), seed=seed, n=n) for p in parents]


def draw_tsne(results: Results) -> Artefact:
    """Figure 4: t-SNE of the features at 5 and 10 %, before and after FT."""
    import matplotlib.pyplot as plt

    found = _found(results, tsne_specs(results.scale, results.seed))
    rows, texts = [], []
    with style.context():
        figure, panels = plt.subplots(2, len(found), figsize=(2.4 * len(found), 4.8), squeeze=False)
        for column, (spec, result) in zip(panels.T, found, strict=True):
            ratio = f"{100 * _parent(spec).ratio:g} %"
            for axes, xy, name in zip(column, result["xy"], ("none", "ft"), strict=True):
                figures.scatter(axes, xy, result["y"], result["poisoned"])
                title = f"{style.title('defense', name)}, {ratio}"
                axes.set_title(title, fontsize=8)
                share = _own_neighbours(xy, result["poisoned"])
                texts.append(f"{title}: {100 * share:.0f} %")
                rows += [
                    {"ratio": ratio, "defense": name, "x": x, "y": y, "label": label, "poisoned": poisoned}
                    for (x, y), label, poisoned in zip(xy, result["y"], result["poisoned"], strict=True)
                ]
    text = (
        "t-SNE of the features of training images under Blended at two poisoning ratios, undefended and after FT; colour: label, "
        f"black crosses: poisoned. {_where(results.scale, results.seed)}."
    )
    alt = f"Share of the poisoned images whose nearest neighbour in the picture is poisoned too: {'; '.join(texts)}."
    return _figure(results, "fig_tsne_ratio", text, figure=figure, frame=pd.DataFrame(rows), alt=alt)


def _own_neighbours(xy: Any, poisoned: Any) -> float:
    """Share of the poisoned points whose nearest other point is poisoned."""
    points, mask = np.asarray(xy, float), np.asarray(poisoned, bool)
    distance = ((points[mask][:, None] - points[None]) ** 2).sum(2)
    distance[np.arange(mask.sum()), np.flatnonzero(mask)] = np.inf
    return float(mask[distance.argmin(1)].mean())


# ---------------------------------------------------------------------------------- quick learning and forgetting


def dynamics_specs(scale: Scale, seed: int) -> list[AnalysisSpec]:
    """One training each of Blended and BadNets, watched sample by sample."""
    parents = [runs.attacked(scale, name, seed=seed) for name in LOOKED_AT]
    return [ex.analyse("dynamics", parent, seed=seed, n=SEEN[scale.name]) for parent in parents]


def draw_quick_learning(results: Results) -> Artefact:
    """Figure 6: loss, accuracy, gradient norm and gradient agreement of clean and poisoned samples over the epochs."""
    found = [result for _, result in _found(results, dynamics_specs(results.scale, results.seed))]
    frame = pd.concat([pd.DataFrame(result["epochs"]).assign(attack=result["attack"]) for result in found])
    texts = []
    for result in found:
        first, last = result["epochs"][0], result["epochs"][-1]
        texts.append(
            f"{style.title('attack', result['attack'])}: accuracy of clean samples {first['acc_clean']:.0f} after the first and "
            f"{last['acc_clean']:.0f} after the last epoch, of poisoned ones {first['acc_poisoned']:.0f} and {last['acc_poisoned']:.0f}"
        )
    text = (
        "Quick learning: clean and poisoned training samples after every epoch; the cosine is that of the group's gradient with "
        f"the gradient of the whole training set. {_where(results.scale, results.seed)}."
    )
    figure = figures.quick_learning(found)
    return _figure(results, "fig_quick_learning", text, figure=figure, frame=frame, alt=f"{'; '.join(texts)}.")


def draw_forgetting(results: Results) -> Artefact:
    """Figure 8: how often clean and poisoned samples are forgotten."""
    found = [result for _, result in _found(results, dynamics_specs(results.scale, results.seed))]
    rows = [
        {"attack": result["attack"], "group": group, "times": times, "samples": count}
        for result in found
        for group in ("clean", "poisoned")
        for times, count in [*enumerate(result[group]["events"]), ("never learned", result[group]["never"])]
    ]
    texts = []
    for result in found:
        means = {}
        for group in ("clean", "poisoned"):
            events, learned = result[group]["events"], result[group]["n"] - result[group]["never"]
            means[group] = sum(k * count for k, count in enumerate(events)) / max(learned, 1)
        texts.append(
            f"{style.title('attack', result['attack'])}: a clean sample is forgotten {means['clean']:.2f} times on average, a "
            f"poisoned one {means['poisoned']:.2f} times"
        )
    text = (
        "Forgetting: how many training samples were correct after one epoch and wrong after the next, how often. "
        f"{_where(results.scale, results.seed)}."
    )
    figure = figures.forgetting(found)
    return _figure(results, "fig_forgetting", text, figure=figure, frame=pd.DataFrame(rows), alt=f"{'; '.join(texts)}.")


# --------------------------------------------------------------------------------------------- altered triggers


def generalisation_specs(scale: Scale, seed: int) -> list[AnalysisSpec]:
    """Blended and BadNets, each trained at both ratios, under altered triggers."""
    return [
        ex.analyse(
            "trigger_generalisation", *(runs.attacked(scale, name, ratio, seed) for ratio in RATIOS), seed=seed,
            values=ALTERED[name], n=SEEN[scale.name],
        )
        for name in LOOKED_AT
    ]  # fmt: skip


def draw_generalisation(results: Results) -> Artefact:
    """Figure 7: ASR when the trigger at test time is stronger, weaker, larger, smaller or elsewhere."""
    import matplotlib.pyplot as plt

    found = _found(results, generalisation_specs(results.scale, results.seed))
    rows, texts = [], []
    with style.context():
        figure, panels = plt.subplots(len(found), 2, figsize=(style.PAGE, 2.1 * len(found)), sharey=True, squeeze=False)
        for row, (spec, result) in zip(panels, found, strict=True):
            ratios = [parent.ratio for parent in spec.inputs if isinstance(parent, TrainSpec)]
            figures.altered(row, result, [f"trained at {100 * ratio:g} %" for ratio in ratios])
            for k, ratio in enumerate(ratios):
                for kind, at, asr in (
                    (result["field"], result["values"], result["asr"][k]), ("shift", result["shifts"], result["asr_shifted"][k]),
                ):  # fmt: skip
                    rows += [
                        {"attack": result["attack"], "ratio": ratio, "altered": kind, "value": v, "asr": a}
                        for v, a in zip(at, asr, strict=True)
                    ]
                    values, listed = ", ".join(f"{v:g}" for v in at), ", ".join(f"{a:.0f}" for a in asr)
                    texts.append(
                        f"{style.title('attack', result['attack'])} at {100 * ratio:g} %, {kind} {values}: {listed}"
                    )
        panels[0, 0].legend(title="", fontsize=7)
    text = (
        "ASR when the trigger at test time is not that of training: Blended's share alpha, the side of BadNets' patch (in pixels of "
        f"a 32x32 image), and the place of both; dotted: as trained. {_where(results.scale, results.seed)}."
    )
    return _figure(
        results,
        "fig_trigger_generalisation",
        text,
        figure=figure,
        frame=pd.DataFrame(rows),
        alt=f"ASR. {'; '.join(texts)}.",
    )


# ------------------------------------------------------------------------------------------------- visual panels

VIEWS = ("tsne", "neuron_activation", "gradcam", "shapley", "frequency_saliency")


def visual_parents(scale: Scale, seed: int) -> list[TrainSpec]:
    """The paper's five models of BadNets at paper scale; below it the grid's one."""
    if scale.name == "paper":
        there = scales.on(scale, "tiny_imagenet")
        return [runs.attacked(there, "badnets", 0.05, seed, model=model) for model in runs.PAPER_MODELS]
    return [runs.attacked(scale, "badnets", seed=seed)]


def visual_specs(scale: Scale, seed: int, defense: str) -> list[list[AnalysisSpec]]:
    """Per model the five views (:data:`VIEWS`), of the undefended model (``none``) or after ``defense``."""
    params: dict[str, dict[str, Any]] = {
        "tsne": {"n": SEEN[scale.name] * (3 if scale.name == "smoke" else 1)},
        "neuron_activation": {"n": SEEN[scale.name]},
        "gradcam": {"index": 1},  # the first deer that all our laptop models recognise, as in notebook 05
        "shapley": {"index": 1, "backgrounds": {"smoke": 10, "laptop": 50, "paper": 200}[scale.name], "top": 1},
        "frequency_saliency": {"index": 1},
    }
    out = []
    for parent in visual_parents(scale, seed):
        there = scales.on(scale, parent.dataset)
        looked: Spec = parent if defense == "none" else runs.defended(there, parent, defense)
        out.append([ex.analyse(view, looked, seed=seed, **params[view]) for view in VIEWS])
    return out


def draw_visual(results: Results, id_: str, defense: str) -> Artefact:
    """Figures 13 and 14: t-SNE, neuron activation, Grad-CAM, Shapley values and frequency saliency, a row per model."""
    import matplotlib.pyplot as plt

    groups = visual_specs(results.scale, results.seed, defense)
    parents = visual_parents(results.scale, results.seed)
    found = [(p, [results.get(spec) for spec in group]) for p, group in zip(parents, groups, strict=True)]
    there = [
        (parent, [v for v in views if v is not None]) for parent, views in found if all(v is not None for v in views)
    ]
    if not there:
        raise NotRun(f"{groups[0][0].label} has no result at {results.scale.name} scale")
    rows, texts = [], []
    with style.context():
        size = (style.PAGE, 1.9 * len(there) + 0.3)
        ratios = [1.4, 1.7, 1, 1, 1]
        figure, panels = plt.subplots(2 * len(there), 5, figsize=size, width_ratios=ratios, squeeze=False)
        for k, (parent, (embedded, neurons, cam, values, frequency)) in enumerate(there):
            upper, lower = panels[2 * k], panels[2 * k + 1]
            images = [figures.picture(text, cam["shape"]) for text in cam["images"]]
            for column in (0, 1):  # the two views of the training set take both rows
                spec = upper[column].get_subplotspec()
                upper[column].remove()
                lower[column].remove()
                axes = figure.add_subplot(spec.get_gridspec()[2 * k : 2 * k + 2, column])
                if column == 0:
                    figures.scatter(axes, embedded["xy"][0], embedded["y"], embedded["poisoned"], size=2)
                    axes.set_title(f"{style.title('model', parent.model)}\nt-SNE", fontsize=7)
                else:
                    figures.activation_bars(axes, neurons["clean"][0], neurons["poisoned"][0], neurons["order"])
                    axes.set_title("neuron activation", fontsize=7)
                    axes.tick_params(labelsize=6)
                    figures.legend(axes, ("clean", "poisoned"), fontsize=5.5)
            limit = float(np.abs(values["values"]).max()) or 1.0
            for i, row in enumerate((upper, lower)):
                kind = figures.PAIR[i]
                figures.overlay(row[2], images[i], cam["maps"][0][i])
                figures.signed(row[3], images[i], values["values"][0][i][0], limit)
                row[4].imshow(frequency["maps"][0][i], cmap="cividis", vmin=0, vmax=1)
                figures.bare(row[4])
                for axes, name in zip(row[2:], ("Grad-CAM", "Shapley", "frequency"), strict=True):
                    axes.set_title(f"{name}, {kind}", fontsize=6, pad=2)
            excess = np.array(neurons["poisoned"][0]) - np.array(neurons["clean"][0])
            rows += [
                {"model": parent.model, "neuron": i, "clean": c, "poisoned": p}
                for i, (c, p) in enumerate(zip(neurons["clean"][0], neurons["poisoned"][0], strict=True))
            ]
            texts.append(
                f"{style.title('model', parent.model)}: the image is taken for class {cam['predicted'][0][0]} without and for class "
                f"{cam['predicted'][0][1]} with the trigger; {100 * _own_neighbours(embedded['xy'][0], embedded['poisoned']):.0f} % of "
                f"the poisoned images have a poisoned neighbour in the t-SNE; neuron {int(excess.argmax())} gains most from the trigger"
            )
    first = parents[0]
    if results.scale.name == "paper":
        slice_ = f"{len(there)} of the paper's five networks"
    else:
        slice_ = "A slice of the paper's figure, which has five networks on Tiny ImageNet at 5 %: one network"
    after = "undefended" if defense == "none" else f"after {style.title('defense', defense)}"
    text = (
        f"What a network {after} sees: BadNets, {100 * first.ratio:g} % poisoned. {slice_}. Shapley values of the class with the "
        f"highest score (red raises it), frequency saliency with the zero frequency in the middle. {_where(scales.on(results.scale, first.dataset), results.seed)}."
    )
    return _figure(results, id_, text, figure=figure, frame=pd.DataFrame(rows), alt=f"{'. '.join(texts)}.")


# ------------------------------------------------------------------------------------------- how sure is a ranking?


def printed_asr(**where: Any) -> pd.DataFrame:
    """Printed ASR of CIFAR-10, PreAct-ResNet18: one row per cell with ``ratio, attack, defense, ASR``."""
    board = published(PAPER, "leaderboard_2022")
    board = board[(board.dataset == "cifar10") & (board.model == "preact_resnet18") & (board.metric == "ASR")]
    for name, value in where.items():
        board = board[board[name] == value]
    return board.rename(columns={"value": "ASR"})[["ratio", "attack", "defense", "ASR"]].reset_index(drop=True)


def own_asr(results: Results) -> pd.DataFrame:
    """ASR of our runs, attacks that were learned down and defenses across: the largest table without gaps that has all attacks."""
    part, rows = runs.SLICES[results.scale.name], {}
    for name in part.defended:
        parent = runs.attacked(results.scale, name, seed=results.seed)
        before = results.get(parent)
        if before is None or before["asr"] < runs.LEARNED:
            continue
        cells = {d: results.get(runs.defended(results.scale, parent, d)) for d in part.defenses}
        if any(cells.values()):
            rows[name] = {d: cell["asr"] for d, cell in cells.items() if cell is not None}
    return pd.DataFrame.from_dict(rows, orient="index").dropna(axis=1)


def draw_ranks(results: Results) -> Artefact:
    """How far the rank of every defense moves when the attacks are drawn anew: the printed board, and our runs."""
    import matplotlib.pyplot as plt

    board = printed_asr(ratio=runs.RATIO)
    printed = board[board.defense != "none"].pivot(index="attack", columns="defense", values="ASR")
    shown = [("printed", printed)]
    ours = own_asr(results)
    if min(ours.shape, default=0) >= 3:
        shown.append(("ours", ours))
    frames, texts = [], []
    with style.context():
        size = (style.PAGE, max(2.6, 0.2 * max(table.shape[1] for _, table in shown) + 1))
        figure, panels = plt.subplots(1, len(shown), figsize=size, squeeze=False)
        for axes, (name, table) in zip(panels.flat, shown, strict=True):
            found = ranks.bootstrap(table, seed=results.seed)
            ranks.draw(axes, found, len(table), f"{name}, {len(table)} attacks")
            frames.append(found.assign(source=name))
            texts.append(
                f"{name}: "
                + ", ".join(
                    f"{style.title('defense', row.defense)} {row.rank:g} ({row.low:g} to {row.high:g})"
                    for row in found.sort_values("rank").itertuples()
                )
            )
    missing = (
        ""
        if len(shown) > 1
        else " Our runs at this scale are too few to rank (three attacks and three defenses without gaps)."
    )
    return runs._artefact(
        results, "our_ranks", "figure", figure=figure, frame=pd.concat(frames),
        caption="Rank of the defenses by mean ASR (in brackets) at 10 %: CIFAR-10, PreAct-ResNet18 in print. Bars: the middle 95 % "
        "of 2,000 draws of the attacks with replacement; crosses: mean rank within attacks, which differ at the 5 % level "
        f"(Nemenyi) if they lie the critical difference apart. The printed ANP and FP chose by test data.{missing}",
        alt=f"Ranks by mean ASR and their intervals. {'; '.join(texts)}.",
    )  # fmt: skip


def _mean(cells: pd.DataFrame, defense: str, ratio: float) -> float:
    return float(cells[(cells.defense == defense) & (cells.ratio == ratio)].ASR.mean())


def _falls(defense: str) -> Any:
    return lambda cells: _mean(cells, defense, 0.1) < _mean(cells, defense, 0.05)


STATEMENTS: dict[str, Any] = {
    "Undefended, the mean ASR grows with the ratio at every step": lambda c: all(
        _mean(c, "none", a) < _mean(c, "none", b) for a, b in zip(runs.RATIOS, runs.RATIOS[1:], strict=False)
    ),
    **{f"After {style.DEFENSES[d]} the mean ASR at 10 % is below that at 5 %": _falls(d) for d in ("ft", "fp", "nad", "nc")},
    **{
        f"At 10 % {style.DEFENSES[d]} stays within 10 points of no defense": (
            lambda c, d=d: _mean(c, "none", 0.1) - _mean(c, d, 0.1) < 10
        )
        for d in ("ac", "ss")
    },
    "At 10 % ANP leaves the lowest mean ASR": lambda c: c[(c.ratio == 0.1) & (c.defense != "none")].groupby("defense").ASR.mean().idxmin()
    == "anp",
    "At 10 % ABL is the second lowest": lambda c: c[(c.ratio == 0.1) & (c.defense != "none")].groupby("defense").ASR.mean().rank()["abl"]
    == 2,
}  # fmt: skip
"""Statements about the printed means of CIFAR-10, PreAct-ResNet18; each takes cells and says whether it holds."""


def noise_sd(defenses: Sequence[str]) -> dict[str, float]:
    """Standard deviation of a repeated cell's ASR; a defense that nobody repeated gets the mean of those that were."""
    measured = {name: repetition_noise("ASR", name) for name in defenses}
    known = {name: ranks.repetition_sd(d) for name, d in measured.items() if d is not None}
    usual = float(np.mean([v for name, v in known.items() if name != "none"]))
    return {name: known.get(name, usual) for name in defenses}


def draw_conclusions(results: Results) -> Artefact:
    """Which printed conclusions would survive a repetition of the experiments."""
    cells = printed_asr()
    sd = noise_sd(sorted(cells.defense.unique()))
    share = ranks.survival(cells, sd, STATEMENTS, draws=300, seed=results.seed)
    frame = pd.DataFrame(
        [
            {
                "Statement": name,
                "In print": "holds" if statement(cells) else "does not hold",
                "Survives (%)": round(100 * share[name]),
            }
            for name, statement in STATEMENTS.items()
        ]
    )
    text = "Conclusions from the printed ASR (CIFAR-10, PreAct-ResNet18) under the noise of a repetition: 300 repetitions drawn."
    listed = ", ".join(f"{style.title('defense', name)} {v:.0f}" for name, v in sd.items())
    notes = [
        f"Standard deviation of a cell in points, from two papers' repetitions at 10 %: {listed}. It is used at every ratio.",
        "SS and DBD were not repeated and get the mean of the other defenses. NA cells are left out; noisy cells are cut off at 0 and 100.",
        "The cut pulls means near 0 and 100 towards the middle: for AC, SS and ANP the share is a cautious one.",
    ]
    return Artefact(
        paper=PAPER, id="our_conclusions", kind="table", scale="paper", seed=results.seed, caption=text, frame=frame,
        html=tables.to_html(frame, text, notes=notes),
    )  # fmt: skip


def _specs(function: Any, *arguments: Any) -> Any:
    def specs(scale: Scale, seed: int) -> list[Spec]:
        found = function(scale, seed, *arguments)
        return [spec for one in found for spec in (one if isinstance(one, list) else [one])]

    return specs


ITEMS: dict[str, Item] = {
    "fig1": Item(lambda scale, seed: [], lambda results: draw_structure()),
    "fig_tsne_ratio": Item(_specs(tsne_specs), draw_tsne),
    "fig_quick_learning": Item(_specs(dynamics_specs), draw_quick_learning),
    "fig_trigger_generalisation": Item(_specs(generalisation_specs), draw_generalisation),
    "fig_forgetting": Item(_specs(dynamics_specs), draw_forgetting),
    "fig_visual_attack": Item(
        _specs(visual_specs, "none"),
        lambda results: draw_visual(results, "fig_visual_attack", "none"),
    ),
    "fig_visual_defense": Item(
        _specs(visual_specs, "ac"),
        lambda results: draw_visual(results, "fig_visual_defense", "ac"),
    ),
}
"""Items of the paper that need models of ours."""

OURS: dict[str, Item] = {
    "our_ranks": Item(runs.defense_specs, draw_ranks),
    "our_conclusions": Item(lambda scale, seed: [], draw_conclusions),
    **analysis_tools.ITEMS,
}
"""Items that are not in the paper."""
