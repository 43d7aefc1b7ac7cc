"""Figures of the benchmark: of the printed leaderboard, of what is inside our models, and how sure its rankings are.

The models are those of the grid, PreAct-ResNet18 at every scale but in the visual panels at paper scale, which are the
paper's: BadNets at 5 % on Tiny ImageNet, five networks, without and with AC. Below paper scale the panels show one
slice of that: one network, the data set of the scale, 10 % poisoned, which are models that the grid has anyway.
"""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from paperlib.analysis import TOOLS
from paperlib.attacks import ATTACKS as OUR_ATTACKS
from paperlib.defenses import DEFENSES as OUR_DEFENSES
from paperlib.detection import DETECTORS
from paperlib.experiments import scales
from paperlib.experiments.scales import Scale
from paperlib.experiments.specs import AnalysisSpec, TrainSpec
from paperlib.models import MODELS as OUR_MODELS
from paperlib.papers import Results
from paperlib.papers.benchmark import runs
from paperlib.papers.benchmark.runs import (
    ATTACKS,
    COPIES,
    DEFENSES,
    ERRORS,
    MODELS,
    PAPER,
    RATIO,
    RATIOS,
    SLICES,
    board,
)
from paperlib.papers.benchmark.tables import as_printed, known_errors, numbered, ordered, printed, where
from paperlib.papers.captions import artefact, images
from paperlib.report import analysis_figures as panels_of
from paperlib.report import attack_gallery, ranks, style
from paperlib.report.artefact import Artefact
from paperlib.report.claims import NotRun

# ------------------------------------------------------------------------------------------------ the leaderboard


def _starred(family: str, name: str) -> str:
    return style.title(family, name) + ("*" if name in ERRORS else "")


def _errors(frame: pd.DataFrame) -> str:
    """The end of a caption: what the star stands for."""
    return f" *: {'; '.join(ERRORS[name] for name in known_errors(frame) if name not in COPIES)}."


def _handle(**looks: Any) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], linestyle=looks.pop("linestyle", ""), **looks)


def overview() -> Artefact:
    """C-Acc and R-Acc against ASR, 5 %, PreAct-ResNet18, one column per data set."""
    import seaborn as sns

    frame, texts = ordered(board(model="preact_resnet18", ratio=0.05)), []
    colours = {name: style.look("attack", name).colour for name in ATTACKS}
    markers = {name: style.look("defense", name).marker for name in DEFENSES}
    with style.subplots(2, 4, figsize=(style.PAGE, 4.6), sharex=True, sharey="row") as (figure, panels):
        for column, (dataset, part) in zip(panels.T, frame.groupby("dataset", sort=False), strict=True):
            for axes, metric in zip(column, ("ACC", "R-ACC"), strict=True):
                if metric == "R-ACC":
                    axes.plot([0, 100], [100, 0], color="#777777", linewidth=0.8, linestyle="--", zorder=1)
                for status in ("", "collapsed"):
                    looks = {
                        "hue": "attack",
                        "palette": colours,
                        "style": "defense",
                        "markers": markers,
                        "legend": False,
                    }
                    if (cells := part[part.status == status]).empty:
                        continue
                    sns.scatterplot(cells, x="ASR", y=metric, ax=axes, s=13, alpha=0.85, linewidth=0.4, **looks)
                    if status:  # hollow
                        dots = axes.collections[-1]
                        dots.set(edgecolors=dots.get_facecolors(), facecolors="none", linewidths=0.7)
                axes.set(xlim=(-4, 104), ylim=(-4, 104), xticks=[0, 50, 100], yticks=[0, 25, 50, 75, 100])
                axes.set(xlabel="ASR (%)", ylabel=f"{style.title('metric', metric)} (%)")
            count = {name: int(part.status.isin(names).sum()) for name, names in _STATUS.items()}
            more = "copied" if count["copied"] else "collapsed"
            title = style.title("dataset", dataset)
            column[0].set_title(f"{title}\n{count['NA']} NA, {count[more]} {more}", fontsize=8)
            proper = part[part.status.eq("") & part.defense.ne("none")]
            texts.append(f"{title} {int((proper.ASR < 10).sum())} of {len(proper)}")
        handles = [
            *(_handle(color=colours[name], marker="o", label=_starred("attack", name)) for name in ATTACKS),
            *(_handle(color="#555555", marker=markers[name], label=_starred("defense", name)) for name in DEFENSES),
            _handle(color="#555555", marker="o", markerfacecolor="none", label="collapsed"),
            _handle(color="#777777", linestyle="--", linewidth=0.8, label="ASR + R-Acc = 100"),
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=5, fontsize=7, columnspacing=1.2)
    caption = numbered(
        "fig_overview",
        "C-Acc (top) and R-Acc (bottom) against ASR; colour: attack, marker: defense; PreAct-ResNet18, 5 % poisoned,"
        f" four data sets; copied cells are left out; {printed(frame)}.{_errors(frame)}",
    )
    alt = (
        "Eight scatter plots. A good defense lies top left; no point lies above the line ASR + R-Acc = 100. Attacked"
        f" models that a defense brings below an ASR of 10: {', '.join(texts)}."
    )
    return as_printed("fig_overview", caption, alt=alt, figure=figure, frame=frame)


_STATUS = {"NA": ("NA",), "collapsed": ("collapsed",), "copied": COPIES}


def _curve_panel(axes: Any, cells: pd.DataFrame) -> None:
    """One panel: ASR over the ratio, a line per attack. Off the lines: collapsed cells as crosses, copied ones
    hollow."""
    for attack in ATTACKS:
        mine = cells[cells.attack == attack].set_index("ratio").reindex(RATIOS)
        look = style.look("attack", attack)
        axes.plot(
            mine.ASR.where(mine.status == "").to_numpy(),
            **{**look.plot(), "label": _starred('attack', attack)}, linewidth=1, markersize=2.6,
        )  # fmt: skip
        alone = {"color": look.colour, "linestyle": ""}
        for off, looks in (
            (mine.status == "collapsed", {"marker": "x", "markersize": 3.2}),
            (mine.status.isin(COPIES), {"marker": look.marker, "markerfacecolor": "none", "markersize": 4}),
        ):
            if off.any():
                axes.plot(mine.ASR.where(off).to_numpy(), **alone, **looks)
    if (cells.status == "NA").all():
        axes.text(2, 50, "NA", ha="center", va="center", fontsize=8)
    axes.tick_params(labelsize=6.5)


def ratio_figure(id_: str, dataset: str, models: Sequence[str]) -> Artefact:
    """ASR over the poisoning ratio: a block of ten small panels per model, one per defense, a line per attack."""
    frame = ordered(board(dataset=dataset, model=tuple(models)))
    lines = 2 * len(models)
    size = (style.PAGE, 3.4 if len(models) == 1 else 1.17 * lines + 0.5)
    with style.subplots(lines, 5, figsize=size, sharex=True, sharey=True) as (figure, panels):
        for k, model in enumerate(models):
            for axes, defense in zip(panels[2 * k : 2 * k + 2].flat, DEFENSES, strict=True):
                _curve_panel(axes, frame[(frame.model == model) & (frame.defense == defense)])
                axes.set_title(_starred("defense", defense), fontsize=7.5, pad=2)
            name = f"({'abcd'[k]}) {style.title('model', model)}\n" if len(models) > 1 else ""
            panels[2 * k, 0].set_ylabel(f"{name}ASR (%)", fontsize=7)
            panels[2 * k + 1, 0].set_ylabel("ASR (%)", fontsize=7)
        for axes in panels[-1]:
            axes.set_xlabel("poisoning ratio (%)", fontsize=7)
        panels[0, 0].set(  # all panels share them
            ylim=(-5, 105), yticks=[0, 50, 100], xlim=(-0.3, 4.3), xticks=range(5),
            xticklabels=[f"{100 * ratio:g}" for ratio in RATIOS],
        )  # fmt: skip
        handles = panels[0, 0].get_legend_handles_labels()[0]
        if (frame.status == "collapsed").any():
            handles.append(_handle(color="#555555", marker="x", label="collapsed"))
        if frame.status.isin(COPIES).any():
            handles.append(_handle(color="#555555", marker="o", markerfacecolor="none", label="copied"))
        figure.legend(handles=handles, loc="outside lower center", ncols=5, fontsize=7)
    shown = ", ".join(style.title("model", model) for model in models)
    caption = numbered(
        id_,
        "ASR over the poisoning ratio (ratios equally spaced) without and with nine defenses;"
        f" {style.title('dataset', dataset)}, {shown}; {printed(frame)}.{_errors(frame)}",
    )
    return as_printed(id_, caption, alt=_ratio_alt(frame, models), figure=figure, frame=frame)


def _ratio_alt(frame: pd.DataFrame, models: Sequence[str]) -> str:
    whole = runs.curves(frame)
    texts = []
    for model in models:
        mean = whole.xs(model, level="model").groupby(level="defense", sort=False).mean()
        there = {name: ", ".join(f"{v:.0f}" for v in mean.loc[name]) for name in DEFENSES if name in mean.index}
        parts = "; ".join(f"{style.title('defense', name)} {values}" for name, values in there.items())
        texts.append(f"{style.title('model', model)}: {parts}")
    return (
        "Small panels, one per defense, with a line per attack. Mean ASR at 0.1, 0.5, 1, 5 and 10 %, over the attacks"
        f" that have a proper result at all five ratios. {'. '.join(texts)}."
    )


def architecture() -> Artefact:
    """Heat-maps of the ASR on CIFAR-10 at 10 %: a panel per defense, attacks down, models across."""
    import matplotlib as mpl

    frame = ordered(board(dataset="cifar10", ratio=RATIO))
    colours = mpl.colormaps["cividis"].with_extremes(bad="#dddddd")
    with style.subplots(2, 5, figsize=(style.PAGE, 4.6), sharex=True, sharey=True) as (figure, panels):
        for axes, defense in zip(panels.flat, DEFENSES, strict=True):
            mine = frame[frame.defense == defense].set_index(["attack", "model"])
            proper = mine.ASR.where(mine.status == "").unstack().loc[list(ATTACKS), list(MODELS)]
            image = axes.imshow(proper, vmin=0, vmax=100, cmap=colours, aspect="auto")
            for i, attack in enumerate(ATTACKS):
                for j, model in enumerate(MODELS):
                    value, status = mine.ASR[attack, model], mine.status[attack, model]
                    text = {"": f"{value:.0f}", "NA": "NA", "collapsed": "×"}.get(status, "=")
                    colour = "black" if status or value > 50 else "white"
                    axes.text(j, i, text, ha="center", va="center", fontsize=5.5, color=colour)
            axes.set_title(_starred("defense", defense), fontsize=8, pad=2)
            axes.set_xticks(range(len(MODELS)), [style.title("model", m) for m in MODELS], rotation=90, fontsize=6.5)
            axes.set_yticks(range(len(ATTACKS)), [_starred("attack", name) for name in ATTACKS], fontsize=7)
            axes.grid(False)
            axes.tick_params(length=0)
        bar = figure.colorbar(image, ax=panels, shrink=0.6, pad=0.01)
        bar.set_label("ASR (%)")
        bar.outline.set_visible(False)
    mean = runs.means(frame, ["defense", "model"]).ASR.unstack().reindex(index=DEFENSES, columns=MODELS)
    parts = [
        f"{style.title('defense', name)} {', '.join('NA' if np.isnan(v) else f'{v:.0f}' for v in row)}"
        for name, row in zip(mean.index, mean.to_numpy(), strict=True)
    ]
    caption = numbered(
        "fig_architecture",
        "ASR of every attack under each defense for five models; CIFAR-10, 10 % poisoned; "
        f"×: collapsed, =: copied; {printed(frame)}.{_errors(frame)}",
    )
    alt = f"Ten heat-maps. Mean ASR for {', '.join(style.title('model', m) for m in MODELS)}: {'; '.join(parts)}."
    return as_printed("fig_architecture", caption, alt=alt, figure=figure, frame=frame)


# ------------------------------------------------------------------------------------------------------- structure

MODULES: dict[str, tuple[str, Mapping[str, Any], str]] = {
    "attack": ("paperlib.attacks", OUR_ATTACKS, "poison the data, or control the training"),
    "model": ("paperlib.models", OUR_MODELS, "trained on the poisoned data"),
    "defense": ("paperlib.defenses", OUR_DEFENSES, "before, in and after training"),
    "detector": ("paperlib.detection", DETECTORS, "flag poisoned samples"),
    "tool": ("paperlib.analysis", TOOLS, "look inside"),
}
"""Part of the code base -> package, registry, what it does: the boxes of Figure 1 are read from these registries."""
ARROWS = (("attack", "model"), ("model", "defense"), ("attack", "detector"), ("model", "tool"), ("defense", "tool"))
PLACES = {"attack": (0.0, 1), "model": (1.0, 1), "defense": (2.0, 1), "detector": (0.0, 0), "tool": (1.5, 0)}


def structure() -> Artefact:
    """Figure 1: the modules of this code base and what is in them, read from the package itself."""
    rows = []
    for part, (package, registry, _) in MODULES.items():
        for name, method in registry.items():
            rows.append((part, package, name, method.title))
    frame = pd.DataFrame(rows, columns=["part", "package", "name", "title"])
    with style.subplots(figsize=(style.PAGE, 3.4)) as (figure, axes):
        panels_of.bare(axes)
        axes.set(xlim=(-0.5, 2.5), ylim=(-0.5, 1.5))
        boxes = {}
        for k, (part, (package, _, does)) in enumerate(MODULES.items()):
            names = textwrap.fill(", ".join(frame.title[frame.part == part]), 84 if part == "tool" else 36)
            text = f"{package}\n{does}\n\n{names}"
            x, y = PLACES[part]
            look = {"boxstyle": "round,pad=0.5", "fc": "white", "ec": style.COLOURS[k + 1], "linewidth": 1.4}
            boxes[part] = axes.text(x, y, text, ha="center", va="center", fontsize=5.8, bbox=look, zorder=3)
        figure.draw_without_rendering()  # the boxes get their sizes, at which the arrows end
        for start, end in ARROWS:
            ends = {"patchA": boxes[start].get_bbox_patch(), "patchB": boxes[end].get_bbox_patch()}
            arrow = {"arrowstyle": "-|>", "color": "#555555", "linewidth": 1, "shrinkA": 1, "shrinkB": 1, **ends}
            axes.annotate("", PLACES[end], PLACES[start], arrowprops=arrow, zorder=4)
        figure.set_layout_engine("none")
    counts = ", ".join(f"{len(registry)} {part}s" for part, (_, registry, _) in MODULES.items())
    return Artefact(
        paper=PAPER, id="fig1", kind="figure", scale="paper", figure=figure, frame=frame,
        caption=numbered("fig1", f"Structure of this code base, read from its registries: {counts}. The paper draws "
        f"its own."),
        alt="Boxes for attacks, models, defenses, detectors and analysis tools with what each holds. Attacks lead to "
        "models and detectors, models to defenses and tools, defenses to tools.",
    )  # fmt: skip


# ---------------------------------------------------------------------------------------------- looking inside


def _where(scale: Scale, seed: int) -> str:
    return f"{images(scale)}, width {scale.width}, {scale.epochs} epochs, {scale.name} scale, seed {seed}"


def _inside(results: Results, id_: str, text: str, **content: Any) -> Artefact:
    """An item of the paper, from our own models."""
    return artefact(PAPER, results, id_, "figure", caption=numbered(id_, text), **content)


def _found(results: Results, specs: Sequence[AnalysisSpec]) -> list[tuple[AnalysisSpec, dict[str, Any]]]:
    """The specs that have a result."""
    there = [(spec, result) for spec in specs if (result := results.get(spec)) is not None]
    return there or [(specs[0], results.need(specs[0]))]


def _parent(spec: Any) -> TrainSpec:
    """The backdoored model that an analysis looks at first, maybe behind a defense."""
    while not isinstance(spec, TrainSpec):
        spec = spec.parents()[0]
    return spec


def tsne(results: Results) -> Artefact:
    """Figure 4: t-SNE of the features at 5 and 10 %, before and after FT."""
    found = _found(results, runs.tsne_specs(results.scale, results.seed))
    rows, texts = [], []
    with style.subplots(2, len(found), figsize=(2.4 * len(found), 4.8), squeeze=False) as (figure, panels):
        for column, (spec, result) in zip(panels.T, found, strict=True):
            ratio = f"{100 * _parent(spec).ratio:g} %"
            for axes, xy, name in zip(column, result["xy"], ("none", "ft"), strict=True):
                panels_of.scatter(axes, xy, result["y"], result["poisoned"])
                title = f"{style.title('defense', name)}, {ratio}"
                axes.set_title(title, fontsize=8)
                texts.append(f"{title}: {100 * _own_neighbours(xy, result['poisoned']):.0f} %")
                points = pd.DataFrame(xy, columns=["x", "y"]).assign(label=result["y"], poisoned=result["poisoned"])
                points.insert(0, "defense", name)
                points.insert(0, "ratio", ratio)
                rows.append(points)
    text = (
        "t-SNE of the features of training images under Blended at two poisoning ratios, undefended and after FT;"
        f" colour: label, black crosses: poisoned. {_where(results.scale, results.seed)}."
    )
    alt = f"Share of the poisoned images whose nearest neighbour in the picture is poisoned too: {'; '.join(texts)}."
    return _inside(results, "fig_tsne_ratio", text, figure=figure, frame=pd.concat(rows), alt=alt)


def _own_neighbours(xy: Any, poisoned: Any) -> float:
    """Share of the poisoned points whose nearest other point is poisoned."""
    points, mask = np.asarray(xy, float), np.asarray(poisoned, bool)
    distance = ((points[mask][:, None] - points[None]) ** 2).sum(2)
    distance[np.arange(mask.sum()), np.flatnonzero(mask)] = np.inf
    return float(mask[distance.argmin(1)].mean())


def quick_learning(results: Results) -> Artefact:
    """Figure 6: loss, accuracy, gradient norm and gradient agreement of clean and poisoned samples over the epochs."""
    found = [result for _, result in _found(results, runs.dynamics_specs(results.scale, results.seed))]
    frame = pd.concat([pd.DataFrame(result["epochs"]).assign(attack=result["attack"]) for result in found])
    texts = []
    for result in found:
        first, last = result["epochs"][0], result["epochs"][-1]
        texts.append(
            f"{style.title('attack', result['attack'])}: accuracy of clean samples {first['acc_clean']:.0f} after the"
            f" first and {last['acc_clean']:.0f} after the last epoch, of poisoned ones {first['acc_poisoned']:.0f} and"
            f" {last['acc_poisoned']:.0f}"
        )
    text = (
        "Quick learning: clean and poisoned training samples after every epoch; the cosine is that of the group's"
        f" gradient with the gradient of the whole training set. {_where(results.scale, results.seed)}."
    )
    figure = panels_of.quick_learning(found)
    return _inside(results, "fig_quick_learning", text, figure=figure, frame=frame, alt=f"{'; '.join(texts)}.")


def forgetting(results: Results) -> Artefact:
    """Figure 8: how often clean and poisoned samples are forgotten."""
    found = [result for _, result in _found(results, runs.dynamics_specs(results.scale, results.seed))]
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
            f"{style.title('attack', result['attack'])}: a clean sample is forgotten {means['clean']:.2f} times on"
            f" average, a poisoned one {means['poisoned']:.2f} times"
        )
    text = (
        "Forgetting: how many training samples were correct after one epoch and wrong after the next, how often. "
        f"{_where(results.scale, results.seed)}."
    )
    figure = panels_of.forgetting(found)
    return _inside(results, "fig_forgetting", text, figure=figure, frame=pd.DataFrame(rows), alt=f"{'; '.join(texts)}.")


def generalisation(results: Results) -> Artefact:
    """Figure 7: ASR when the trigger at test time is stronger, weaker, larger, smaller or elsewhere."""
    found = _found(results, runs.generalisation_specs(results.scale, results.seed))
    rows, texts = [], []
    size = (style.PAGE, 2.1 * len(found))
    with style.subplots(len(found), 2, figsize=size, sharey=True, squeeze=False) as (figure, panels):
        for row, (spec, result) in zip(panels, found, strict=True):
            ratios = [_parent(parent).ratio for parent in spec.inputs]
            panels_of.altered(row, result, [f"trained at {100 * ratio:g} %" for ratio in ratios])
            for k, ratio in enumerate(ratios):
                for kind, at, name in ((result["field"], "values", "asr"), ("shift", "shifts", "asr_shifted")):
                    mine = pd.DataFrame({"value": result[at], "asr": result[name][k]})
                    rows.append(mine.assign(attack=result["attack"], ratio=ratio, altered=kind))
                    values, listed = ", ".join(f"{v:g}" for v in mine.value), ", ".join(f"{a:.0f}" for a in mine.asr)
                    attack = style.title("attack", result["attack"])
                    texts.append(f"{attack} at {100 * ratio:g} %, {kind} {values}: {listed}")
        panels[0, 0].legend(title="", fontsize=7)
    text = (
        "ASR when the trigger at test time is not that of training: Blended's share alpha, the side of BadNets' patch"
        " (in pixels of a 32x32 image), and the place of both; dotted: as trained."
        f" {_where(results.scale, results.seed)}."
    )
    frame = pd.concat(rows)[["attack", "ratio", "altered", "value", "asr"]]
    return _inside(
        results, "fig_trigger_generalisation", text, figure=figure, frame=frame, alt=f"ASR. {'; '.join(texts)}."
    )


def visual(results: Results, id_: str, defense: str) -> Artefact:
    """Figures 13 and 14: t-SNE, neuron activation, Grad-CAM, Shapley values and frequency saliency, a row per model."""
    groups = runs.visual_specs(results.scale, results.seed, defense)
    found = [(_parent(group[0]), [results.get(spec) for spec in group]) for group in groups]
    there = [(parent, [v for v in views if v]) for parent, views in found if all(views)]
    if not there:
        raise NotRun(f"the panels have no result at {results.scale.name} scale")
    rows, texts = [], []
    how: dict = {"figsize": (style.PAGE, 1.9 * len(there) + 0.3), "width_ratios": [1.4, 1.7, 1, 1, 1], "squeeze": False}
    with style.subplots(2 * len(there), 5, **how) as (figure, panels):
        grid = panels[0, 0].get_subplotspec().get_gridspec()
        for axes in panels[:, :2].flat:  # the two views of the training set take both rows
            axes.remove()
        for k, (parent, (embedded, neurons, *pictures)) in enumerate(there):
            name, (clean, poisoned) = style.title("model", parent.model), (neurons["clean"][0], neurons["poisoned"][0])
            axes = figure.add_subplot(grid[2 * k : 2 * k + 2, 0])
            panels_of.scatter(axes, embedded["xy"][0], embedded["y"], embedded["poisoned"], size=2)
            axes.set_title(f"{name}\nt-SNE", fontsize=7)
            axes = figure.add_subplot(grid[2 * k : 2 * k + 2, 1])
            panels_of.activation_bars(axes, clean, poisoned, neurons["order"])
            axes.set_title("neuron activation", fontsize=7)
            axes.tick_params(labelsize=6)
            panels_of.legend(axes, ("clean", "poisoned"), fontsize=5.5)
            for i in (0, 1):
                _pictures(panels[2 * k + i, 2:], i, *pictures)
            rows.append(
                pd.DataFrame({"model": parent.model, "neuron": range(len(clean)), "clean": clean, "poisoned": poisoned})
            )
            without, triggered = pictures[0]["predicted"][0]
            neighbours = 100 * _own_neighbours(embedded["xy"][0], embedded["poisoned"])
            texts.append(
                f"{name}: the image is taken for class {without} without and for class {triggered} with the trigger; "
                f"{neighbours:.0f} % of the poisoned images have a poisoned neighbour in the t-SNE; neuron "
                f"{int(np.subtract(poisoned, clean).argmax())} gains most from the trigger"
            )
    first = _parent(groups[0][0])
    if results.scale.plans == "paper":
        slice_ = f"{len(there)} of the paper's five networks"
    else:
        slice_ = "A slice of the paper's figure, which has five networks on Tiny ImageNet at 5 %: one network"
    after = "undefended" if defense == "none" else f"after {style.title('defense', defense)}"
    text = (
        f"What a network {after} sees: BadNets, {100 * first.ratio:g} % poisoned. {slice_}. Shapley values of the class"
        " with the highest score (red raises it), frequency saliency with the zero frequency in the middle."
        f" {_where(scales.on(results.scale, first.dataset), results.seed)}."
    )
    return _inside(results, id_, text, figure=figure, frame=pd.concat(rows), alt=f"{'. '.join(texts)}.")


def _pictures(
    row: Any, i: int, cam: Mapping[str, Any], values: Mapping[str, Any], frequency: Mapping[str, Any]
) -> None:
    """Grad-CAM, Shapley values and frequency saliency of the clean (``i`` = 0) or the triggered image."""
    image = panels_of.picture(cam["images"][i], cam["shape"])
    panels_of.overlay(row[0], image, cam["maps"][0][i])
    panels_of.signed(row[1], image, values["values"][0][i][0], panels_of.strength(values["values"]))
    row[2].imshow(frequency["maps"][0][i], cmap="cividis", vmin=0, vmax=1)
    panels_of.bare(row[2])
    for axes, name in zip(row, ("Grad-CAM", "Shapley", "frequency"), strict=True):
        axes.set_title(f"{name}, {panels_of.PAIR[i]}", fontsize=6, pad=2)


# ------------------------------------------------------------------------------------------------------- our runs


def our_ratio(results: Results) -> Artefact:
    """ASR over the poisoning ratio, undefended and after FT: ours and the printed curves."""
    part = SLICES[results.scale.plans]
    theirs = runs.printed_asr().set_index(["attack", "defense", "ratio"]).ASR
    rows = []
    for cell in runs.ratio_cells(results.scale, results.seed):
        key, result = (cell.attack, cell.defense, cell.parent.ratio), results.get(cell.spec)
        rows.append((*key, result["asr"] if result else np.nan, theirs.get(key, np.nan)))
    frame = pd.DataFrame(rows, columns=["attack", "defense", "ratio", "ours", "printed"])
    order = {name: i for i, name in enumerate((*part.swept, "none", "ft"))}
    frame = frame.sort_values(
        ["attack", "defense", "ratio"], key=lambda c: c.map(lambda v: order.get(v, v)), ignore_index=True
    )
    if frame.ours.isna().all():
        raise NotRun(f"no model of the sweep over the ratio has a result at {results.scale.name} scale")
    size = (style.PAGE if len(part.swept) > 1 else style.COLUMN, 2.5)
    numbers = []
    with style.subplots(1, len(part.swept), figsize=size, sharey=True, squeeze=False) as (figure, panels):
        places = dict(zip(part.swept, panels.flat, strict=True))
        for names, mine in frame.groupby(["attack", "defense"], sort=False):
            attack, defense = map(str, names)
            look, axes = style.look("defense", defense), places[attack]
            label = "undefended" if defense == "none" else f"after {look.title}"
            same = {"color": look.colour, "marker": look.marker}
            axes.plot(100 * mine.ratio, mine.ours, **same, label=f"{label}, ours")
            axes.plot(
                100 * mine.ratio, mine.printed, **same, markerfacecolor="none", linestyle=":", label=f"{label}, printed"
            )
            axes.set(xscale="log", xlabel="poisoning ratio (%)", ylim=(-4, 104), title=style.title("attack", attack))
            axes.set_xticks([100 * r for r in part.ratios], [f"{100 * r:g}" for r in part.ratios])
            axes.minorticks_off()
            values = ", ".join("not run" if np.isnan(v) else f"{v:.0f}" for v in mine.ours)
            numbers.append(f"{style.title('attack', attack)} {label} {values}")
        panels[0, 0].set_ylabel("ASR (%)")
        panels[0, 0].legend(fontsize=6.5)
    return artefact(
        PAPER, results, "our_ratio", "figure", figure=figure, frame=frame,
        caption=f"ASR over the poisoning ratio, undefended and after FT; solid: ours ({frame.ours.notna().sum()} of "
        f"{len(frame)} cells run), dotted: printed at full scale. {where(results)}.",
        alt=f"ASR of our runs at {', '.join(f'{100 * r:g}' for r in part.ratios)} %: {'; '.join(numbers)}.",
    )  # fmt: skip


def _look(id_: str, text: str, draw: Callable[..., Any], describe: Callable[..., str]) -> Callable[[Results], Artefact]:
    """Draws what the attacks of the scale do to images."""

    def made(results: Results) -> Artefact:
        found = [results.get(spec) for spec in runs.trigger_specs(results.scale, results.seed)]
        if not (looks := [result for result in found if result is not None]):
            raise NotRun(f"no attack was looked at at {results.scale.name} scale")
        return artefact(
            PAPER, results, id_, "figure", figure=draw(looks), frame=attack_gallery.quality_frame(looks),
            caption=f"{text}; {len(looks)} of {len(SLICES[results.scale.plans].attacks)} attacks. {where(results)}.",
            alt=describe(looks),
        )  # fmt: skip

    return made


triggers = _look(
    "our_triggers",
    "What an attack does to an image: clean, poisoned, and their difference, amplified",
    attack_gallery.gallery,
    attack_gallery.describe,
)
"""Clean image, poisoned image and residual of every attack, with PSNR, SSIM and L_inf."""
samples = _look(
    "our_samples",
    "What the attacker hands in: samples of the poisoned training sets, with their true and given labels",
    attack_gallery.montage,
    attack_gallery.describe_samples,
)
"""Samples of every poisoned training set with their true and given labels."""


def our_ranks(results: Results) -> Artefact:
    """How far the rank of every defense moves when the attacks are drawn anew: the printed board, and our runs."""
    cells = runs.printed_asr(ratio=RATIO).query("defense != 'none'")
    shown = {"printed": cells.pivot(index="attack", columns="defense", values="ASR")}
    if min((ours := runs.own_asr(results)).shape, default=0) >= 3:
        shown["ours"] = ours
    frames, texts = [], []
    size = (style.PAGE, max(2.6, 0.2 * max(table.shape[1] for table in shown.values()) + 1))
    with style.subplots(1, len(shown), figsize=size, squeeze=False) as (figure, panels):
        for axes, (name, table) in zip(panels.flat, shown.items(), strict=True):
            found = ranks.bootstrap(table, seed=results.seed)
            ranks.draw(axes, found, len(table), f"{name}, {len(table)} attacks")
            frames.append(found.assign(source=name))
            listed = (
                f"{style.title('defense', row.defense)} {row.rank:g} ({row.low:g} to {row.high:g})"
                for row in found.sort_values("rank").itertuples()
            )
            texts.append(f"{name}: {', '.join(listed)}")
    few = " Our runs at this scale are too few to rank (three attacks and three defenses without gaps)."
    return artefact(
        PAPER, results, "our_ranks", "figure", figure=figure, frame=pd.concat(frames),
        caption="Rank of the defenses by mean ASR (in brackets) at 10 %: CIFAR-10, PreAct-ResNet18 in print. Bars: the "
        "middle 95 % of 2,000 draws of the attacks with replacement; crosses: mean rank within attacks, which differ "
        "at the 5 % level (Nemenyi) if they lie the critical difference apart. The printed ANP and FP chose by test "
        f"data.{few if len(shown) < 2 else ''}",
        alt=f"Ranks by mean ASR and their intervals. {'; '.join(texts)}.",
    )  # fmt: skip
