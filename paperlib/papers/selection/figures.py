"""Figures of the LPS paper and ours beside them."""

from typing import Any

import numpy as np
import pandas as pd

from paperlib.experiments.scales import Scale
from paperlib.papers import Results
from paperlib.papers.figures import class_title
from paperlib.papers.selection import runs
from paperlib.papers.selection.runs import ATTACK, PAPER, SEARCHES, SLICES, STRATEGIES, Net, main_budget, ratio, sized
from paperlib.papers.selection.tables import at_main, coverage, drawn, where
from paperlib.report import analysis_figures as panels_of
from paperlib.report import style
from paperlib.report.artefact import Artefact
from paperlib.report.claims import NotRun


def _errorbars(axes: Any, x: Any, found: pd.DataFrame, name: str) -> None:
    """A line for the strategy ``name`` with the standard deviation over seeds; ``found`` has ``mean`` and ``std``."""
    axes.errorbar(x, found["mean"], yerr=found["std"].fillna(0), capsize=2, **style.look("selection", name).plot())


def asr(results: Results) -> Artefact:
    """ASR over the ratio, a panel for each attack, a line for each strategy, with the standard deviation over seeds."""
    frame = runs.asr_frame(results)
    part = SLICES[results.scale.plans]
    columns = min(3, len(part.attacks))
    lines = -(-len(part.attacks) // columns)
    ticks = [100 * ratio(sized(results.scale), k) for k in sorted(part.per_class)]
    size = (style.COLUMN * 1.3 if columns == 1 else style.PAGE, 2.6 * lines)
    with style.subplots(lines, columns, figsize=size, squeeze=False) as (figure, panels):
        said = []
        for axes, attack in zip(panels.flat, part.attacks, strict=False):
            for i, name in enumerate(STRATEGIES):
                mine = frame[(frame.attack == attack) & (frame.strategy == name)]
                found = mine.groupby("ratio").asr.agg(["mean", "std"]).reset_index()
                if found.empty:
                    continue
                x = 100 * found.ratio * (1 + 0.025 * (i - 1.5))  # side by side, so that the bars can be told apart
                _errorbars(axes, x, found, name)
                ends = " to ".join(f"{v:.0f}" for v in found["mean"].iloc[[0, -1][: len(found)]])
                said.append(f"{style.title('attack', attack)}, {style.title('selection', name)} {ends}")
            axes.axhspan(*runs.IN_RANGE, color="#f2f2f2", zorder=0)
            axes.set(xscale="log", xlabel="poisoning ratio, %", ylabel="ASR, %", ylim=(0, 100))
            axes.set_title(style.title("attack", attack))
            axes.set_xticks(ticks, [f"{tick:.2g}" for tick in ticks], minor=False)
            axes.minorticks_off()
        panels.flat[columns - 1].legend(fontsize=6.5, loc="center left", bbox_to_anchor=(1, 0.5))
    return drawn(
        results, "asr", "figure", figure=figure, frame=frame,
        caption="ASR over the poisoning ratio, mean and standard deviation over seeds "
        f"({coverage(results, len(frame))}). {where(results)}",
        alt=f"Mean ASR from the smallest to the largest ratio, in percent: {'; '.join(said)}. Grey: the range in which "
        "random selection leaves room in both directions.",
    )  # fmt: skip


def _net(net: Net, scale: Scale) -> str:
    """A model, with its width where the scale has several."""
    several = len({width for pair in SLICES[scale.plans].pairs for _, width in pair}) > 1
    return style.title("model", net[0]) + (f" ({net[1]})" if several else "")


def surrogate(results: Results) -> Artefact:
    """ASR of several victims on what LPS selected with several surrogates, beside random selection on the same
    victim."""
    scale, rows = results.scale, []
    for one, other, s, *specs in runs.pair_specs(scale, results.seed):
        for name, spec in zip(("lps", "random"), specs, strict=True):
            if (result := results.get(spec)) is not None:
                rows.append((f"{_net(one, scale)}\n→ {_net(other, scale)}", name, s, result["asr"]))
    frame = pd.DataFrame(rows, columns=["pair", "strategy", "seed", "asr"])
    frame = frame[frame.pair.isin(frame.pair[frame.strategy == "lps"])]
    if frame.pair.nunique() < 2:
        raise NotRun(f"LPS ran with {frame.pair.nunique()} pair of surrogate and victim at {scale.name} scale")
    names = list(dict.fromkeys(frame.pair))
    with style.subplots(figsize=(style.PAGE, 2.5)) as (figure, axes):
        said = []
        for i, name in enumerate(("random", "lps")):
            mine = frame[frame.strategy == name].groupby("pair").asr.agg(["mean", "std"]).reindex(names)
            place = np.arange(len(names)) + 0.36 * (i - 0.5)
            looks = {"yerr": mine["std"].fillna(0), "capsize": 2, **style.look("selection", name).bar()}
            axes.bar(place, mine["mean"], 0.34, **looks)
        for pair in names:
            means = frame[frame.pair == pair].groupby("strategy").asr.mean()
            values = " and ".join(f"{style.title('selection', n)} {v:.0f}" for n, v in means.items())
            said.append(f"{pair.replace(chr(10), ' ')}: {values}")
        axes.set(ylabel="ASR, %", ylim=(0, 100))
        axes.set_xticks(range(len(names)), names, fontsize=6.5)
        axes.legend(fontsize=6.5, ncols=2, loc="lower left", bbox_to_anchor=(0, 1))
    wanted = len({(one, other) for one, other, *_ in runs.pair_specs(scale, results.seed)})
    return drawn(
        results, "fig_surrogate", "figure", figure=figure, frame=frame.assign(pair=frame.pair.str.replace("\n", " ")),
        caption=f"Surrogate → victim{' (width)' if '(' in names[0] else ''}: ASR on what LPS selected, and on a random "
        f"draw with the same victim, mean and standard deviation over {frame.seed.nunique()} of "
        f"{SLICES[scale.plans].repeats} seeds; {len(names)} of {wanted} pairs. {at_main(results)}",
        alt=f"Mean ASR in percent. {'; '.join(said)}.",
    )  # fmt: skip


def rounds(results: Results) -> Artefact:
    """ASR over the number of rounds T and over the surrogate's epochs K between two masks."""
    planned = list(runs.round_specs(results.scale, results.seed))
    rows = [(*names, result["asr"]) for *names, result in runs.found(results, planned)]
    frame = pd.DataFrame(rows, columns=["swept", "T", "K", "seed", "asr"])
    said = []
    sweeps = [swept for swept in "TK" if frame[frame.swept == swept][swept].nunique() > 1]
    if not sweeps:
        raise NotRun(f"no sweep over T or K has two points at {results.scale.name} scale")
    frame = frame[frame.swept.isin(sweeps)]
    size = (style.COLUMN * len(sweeps), 2.3)
    with style.subplots(1, len(sweeps), figsize=size, sharey=True, squeeze=False) as (figure, panels):
        for axes, swept in zip(panels[0], sweeps, strict=True):
            mine, fixed = frame[frame.swept == swept], "TK".replace(swept, "")
            axes.set(xlabel={"T": "rounds T", "K": "epochs K of a round"}[swept], ylim=(0, 100))
            points = mine.groupby(swept).asr.agg(["mean", "std"])
            _errorbars(axes, points.index, points, "lps")
            axes.set_xticks(list(points.index))
            axes.set_title(f"{fixed} = {mine[fixed].iloc[0]}")
            said += [f"{swept} = {value}: {mean:.0f}" for value, mean in points["mean"].items()]
        panels[0, 0].set_ylabel("ASR, %")
    return drawn(
        results, "fig_rounds", "figure", figure=figure, frame=frame,
        caption=f"LPS with other numbers of rounds and epochs, mean and standard deviation over seeds ({len(frame)} of "
        f"{len(planned)} cells). {at_main(results)}",
        alt=f"Mean ASR in percent. {', '.join(said)}.",
    )  # fmt: skip


STEPS = (
    ("trigger", "the attacker chooses\na trigger"),
    ("select", "LPS chooses which\nimages carry it"),
    ("poison", "they get the trigger\nand the target label"),
    ("train", "the victim trains\non all images"),
    ("activate", "the trigger turns any\nimage into the target"),
)


def overview(results: Results) -> Artefact:
    """The five steps of an attack, a diagram of ours."""
    from matplotlib.patches import Rectangle

    mask = (0, 1, 0, 0, 1, 0, 1, 0)
    with style.subplots(figsize=(style.PAGE, 1.3)) as (figure, axes):
        axes.set(xlim=(0, 10), ylim=(0, 2))
        axes.axis("off")
        for k, (name, text) in enumerate(STEPS):
            colour = style.look("selection", "lps").colour if name == "select" else "#333333"
            axes.add_patch(Rectangle((2 * k + 0.05, 0.1), 1.65, 1.5, fill=False, edgecolor=colour, linewidth=1.2))
            axes.text(2 * k + 0.875, 1.75, f"{k + 1}  {name}", ha="center", color=colour)
            axes.text(2 * k + 0.875, 0.45, text, ha="center", va="center", fontsize=6)
            if k < len(STEPS) - 1:
                axes.annotate("", (2 * k + 2.05, 0.85), (2 * k + 1.7, 0.85), arrowprops={"arrowstyle": "->"})
            shown = {"trigger": (1,), "select": mask, "poison": mask, "train": mask, "activate": (1,)}[name]
            for i, marked in enumerate(shown):
                x, y = 2 * k + 0.3 + 0.3 * (i % 4), 1.25 - 0.3 * (i // 4)
                axes.add_patch(Rectangle((x, y), 0.22, 0.24, facecolor="#e4e4e4", edgecolor="#8a8a8a", linewidth=0.6))
                if marked:
                    axes.add_patch(Rectangle((x + 0.12, y), 0.1, 0.1, facecolor=colour))
    frame = pd.DataFrame(STEPS, columns=["step", "what"]).assign(what=lambda f: f.what.str.replace("\n", " "))
    return Artefact(
        paper=PAPER, id="fig_overview", kind="figure", scale="paper", figure=figure, frame=frame,
        caption="The five steps of a poisoning attack, redrawn: the selection is one of its own.",
        alt="Five boxes joined by arrows: " + "; ".join(f"{k}, {text}" for k, text in enumerate(frame.what, 1)) + ".",
    )  # fmt: skip


def _montages(results: Results) -> dict[str, dict[str, Any]]:
    """Strategy -> what the tool ``selected`` says about its images."""
    found = {name: results.get(runs.montage_spec(results.scale, name, results.seed)) for name in STRATEGIES}
    there = {name: result for name, result in found.items() if result is not None}
    if not there:
        raise NotRun(f"no selected images at {results.scale.name} scale")
    return there


def selected(results: Results) -> Artefact:
    """What each strategy selected, with the loss margins that the victim gives to clean and triggered pictures."""
    there = _montages(results)
    rows, said = [], []
    columns = min(9, runs.CLASSES[results.scale.dataset] - 1)
    with style.subplots(len(there), columns, figsize=(style.PAGE, 0.98 * len(there)), squeeze=False) as (figure, axes):
        for row, (name, result) in enumerate(there.items()):
            for k in range(columns):
                place = axes[row, k]
                panels_of.bare(place)
                if k < len(result["after"]):
                    place.imshow(panels_of.picture(result["after"][k], result["shape"]))
                    margins = result["clean_margin"][k], result["triggered_margin"][k]
                    place.set_xlabel(f"{margins[0]:.1f} | {margins[1]:.1f}", fontsize=6.5)
                    rows.append((name, k, result["y"][k], *margins))
            axes[row, 0].set_ylabel(style.title("selection", name).replace(" ", "\n"), fontsize=7)
            said.append(
                f"{style.title('selection', name)} {result['mean_clean']:.1f} and {result['mean_triggered']:.1f} "
                f"(random images {result['random_clean']:.1f} and {result['random_triggered']:.1f})"
            )
    frame = pd.DataFrame(rows, columns=["strategy", "position", "label", "clean_margin", "triggered_margin"])
    return drawn(
        results, "fig_selected", "figure", figure=figure, frame=frame,
        caption="Selected images with their trigger, one of each class first; below each the victim's margin for the "
        f"true class of the clean picture | for the target of the triggered one ({len(there)} of {len(STRATEGIES)} "
        f"strategies). {at_main(results)}",
        alt=f"Rows of pictures, one row for each strategy. Mean margins, clean and triggered: {'; '.join(said)}.",
    )  # fmt: skip


def place(results: Results) -> Artefact:
    """Where the selected images lie among others in the feature space of their victim."""
    there = _montages(results)
    parts = {"others": "other images", "clean": "selected", "triggered": "selected, with trigger"}
    rows, said = [], []
    with style.subplots(1, len(there), figsize=(style.PAGE, 2.1), squeeze=False) as (figure, axes):
        for place, (name, result) in zip(axes[0], there.items(), strict=True):
            found = result["place"]
            xy = np.array(found["others"])
            place.scatter(*xy.T, s=5, c=[style.CLASSES[y % 10] for y in found["others_y"]], label=parts["others"])
            for part, look in (
                ("clean", {"s": 16, "fc": "none", "ec": "#333333"}),
                ("triggered", {"marker": "x", "c": "#333333", "lw": 0.8, "s": 14}),
            ):
                place.scatter(*np.array(found[part]).T, label=parts[part], **look)
            place.set(title=style.title("selection", name), xticks=[], yticks=[])
            rows += [(name, part, x, y) for part in parts for x, y in found[part]]
            said.append(f"{style.title('selection', name)} {found['to_own']:.2f} and {found['to_target']:.2f}")
        figure.legend(*axes[0, 0].get_legend_handles_labels(), fontsize=6.5, ncols=3, loc="outside lower center")
    return drawn(
        results, "place", "figure", figure=figure, frame=pd.DataFrame(rows, columns=["strategy", "part", "x", "y"]),
        caption="Features of the victim in its own first two principal components; colour: true class; the selected "
        f"images ({len(there)} of {len(STRATEGIES)} strategies). {at_main(results)}",
        alt="Distance of the selected images, without trigger, to the centre of their own class and to that of the "
        f"target, as a multiple of what random images have: {'; '.join(said)}.",
    )  # fmt: skip


def loss(results: Results) -> Artefact:
    """Loss of clean and of poisoned training images while the victim trains, main budget, mean over seeds."""
    rows = [
        (cell.strategy, cell.seed, e["epoch"], e.get("loss_clean"), e.get("loss_poisoned"))
        for cell in runs.main_cells(results.scale, results.seed)
        if (result := results.get(cell.spec)) is not None
        for e in result["log"]
    ]
    if not rows:
        raise NotRun(f"no victim at the main budget of {results.scale.name} scale")
    frame = pd.DataFrame(rows, columns=["strategy", "seed", "epoch", "clean", "poisoned"])
    frame = frame.astype({"clean": float, "poisoned": float})
    with style.subplots(1, 2, figsize=(style.PAGE, 2.3)) as (figure, axes):
        said = []
        for name in STRATEGIES:
            mean = frame[frame.strategy == name].groupby("epoch")[["clean", "poisoned"]].mean()
            if mean.empty:
                continue
            for place, column in zip(axes, ("poisoned", "clean"), strict=True):
                place.plot(mean.index, mean[column], **style.look("selection", name).plot())
                place.set(xlabel="epoch", ylabel="mean training loss", title=f"{column} images", yscale="log")
            said.append(f"{style.title('selection', name)} {mean.poisoned.iloc[-1]:.2g}")
        axes[0].legend(fontsize=6.5)
    count = frame[["strategy", "seed"]].drop_duplicates().shape[0]
    return drawn(
        results, "fig_loss", "figure", figure=figure, frame=frame,
        caption=f"Training loss of the victim on poisoned and on clean images, mean over seeds ({count} of "
        f"{len(STRATEGIES) * SLICES[results.scale.plans].seeds} victims). {at_main(results)}",
        alt=f"Mean loss of the poisoned images after the last epoch: {', '.join(said)}. The clean images' curves lie "
        "together where the strategy does not matter for them.",
    )  # fmt: skip


def overlap(results: Results) -> Artefact:
    """How much of the mask stays from round to round, and how far it is from where it began."""
    rows = [
        (name, s, k, t + 1, now, first)
        for s, k, name, result in runs.searched(results)
        if name in SEARCHES
        for t, (now, first) in enumerate(zip(result["overlap"], result["overlap_first"], strict=True))
    ]
    if not rows:
        raise NotRun(f"no search at {results.scale.name} scale")
    frame = pd.DataFrame(rows, columns=["strategy", "seed", "per_class", "round", "with_previous", "with_first"])
    budgets = sorted(frame.per_class.unique())
    with style.subplots(1, 2, figsize=(style.PAGE, 2.3), sharey=True) as (figure, axes):
        said = []
        for i, name in enumerate(SEARCHES):
            for k in budgets:
                part = frame[(frame.strategy == name) & (frame.per_class == k)].groupby("round")
                mean = part[["with_previous", "with_first"]].mean() * 100
                if mean.empty:
                    continue
                label, nth = f"{style.title('selection', name)}, {k} per class", budgets.index(k)
                look = {**style.look("selection", name).plot(), "label": label, "markersize": 3 + 1.5 * nth + 0.5 * i}
                look["alpha"] = 0.4 + 0.6 * (nth + 1) / len(budgets)
                for place, column in zip(axes, ("with_previous", "with_first"), strict=True):
                    place.plot(mean.index, mean[column], **look)
                last = mean.iloc[-1]
                said.append(f"{label}: {last.with_previous:.0f} % and {last.with_first:.0f} %")
        for place, title in zip(axes, ("with the round before", "with the first, random draw"), strict=True):
            place.set(xlabel="round", ylim=(-3, 103), title=title)
            place.set_xticks(range(1, int(frame["round"].max()) + 1))
        axes[0].set_ylabel("images in common, %")
        axes[1].legend(fontsize=6.5)
    count = frame[["strategy", "seed", "per_class"]].drop_duplicates().shape[0]
    return drawn(
        results, "overlap", "figure", figure=figure, frame=frame,
        caption=f"Overlap of the selected sets between rounds, mean over seeds ({count} of "
        f"{len(runs.searches(results.scale, results.seed))} "
        f"searches). {style.title('attack', ATTACK)}. {where(results)}",
        alt=f"Images in common in the last round, with the round before and with the first draw: {'; '.join(said)}.",
    )  # fmt: skip


def per_class(results: Results) -> Artefact:
    """How many images of each class a strategy takes, main budget, mean over seeds."""
    budget = main_budget(results.scale)
    rows = [
        (name, s, label, count)
        for s, k, name, result in runs.searched(results)
        if k == budget
        for label, count in enumerate(result["per_class"])
    ]
    if not rows:
        raise NotRun(f"no search with {budget} images per class at {results.scale.name} scale")
    frame = pd.DataFrame(rows, columns=["strategy", "seed", "label", "count"])
    shown = [name for name in STRATEGIES if name in set(frame.strategy)]
    with style.subplots(figsize=(style.PAGE, 2.1)) as (figure, axes):
        for i, name in enumerate(shown):
            mean = frame[frame.strategy == name].groupby("label")["count"].mean()
            at = mean.index + 0.8 * (i + 0.5) / len(shown) - 0.4
            axes.bar(at, mean, 0.8 / len(shown), **style.look("selection", name).bar())
        axes.axhline(budget, color="#555555", linewidth=0.8, linestyle=":")
        axes.set(xlabel="true class of the selected images", ylabel="images, mean over seeds")
        labels = sorted(frame.label.unique())
        axes.set_xticks(labels, [class_title(sized(results.scale).dataset, k) for k in labels], fontsize=7)
        axes.legend(fontsize=6.5, ncols=len(shown), loc="lower left", bbox_to_anchor=(0, 1))
    spread = frame.groupby(["strategy", "seed"])["count"].agg(lambda c: c.iloc[1:].max() - c.iloc[1:].min())
    said = [f"{style.title('selection', n)} {spread[n].mean():.1f}" for n in shown]
    return drawn(
        results, "per_class", "figure", figure=figure, frame=frame,
        caption=f"Selected images of each class, {budget} per class on average (dotted); the first class is the "
        f"target. {at_main(results)}",
        alt="Difference between the most and the least selected class in one search, mean over seeds: "
        f"{', '.join(said)}. None of these strategies selects images of the target class.",
    )  # fmt: skip
