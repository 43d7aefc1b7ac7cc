"""Figures of the analysis tools: what a tool returned -> a matplotlib figure.

``DRAW`` maps the name of a tool to the function that draws its result. ``names`` are the titles of the models that the
tool looked at, in their order; a tool that looks at one model is drawn from one result per model. What is a tidy frame
is drawn by seaborn under the style of all figures. The small functions that fill one axes (:func:`scatter`,
:func:`overlay`, ...) are there for figures that put several tools side by side.
"""

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from paperlib.report import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Result = Mapping[str, Any]
CLEAN, POISONED = style.COLOURS[2], style.COLOURS[4]
"""Colours of clean and of poisoned samples wherever the two groups are compared."""
PAIR = ("clean", "triggered")
GROUPS = {"clean": CLEAN, "poisoned": POISONED, "triggered": POISONED}


# ------------------------------------------------------------------------------------------------------ one axes each


def picture(text: str, shape: Sequence[int]) -> np.ndarray:
    """A stored image as (H, W, 3) uint8."""
    channels, height, width = shape
    pixels = np.frombuffer(base64.b64decode(text), np.uint8).reshape(height, width, channels)
    return pixels if channels == 3 else np.repeat(pixels[..., :1], 3, axis=2)


def bare(axes: "Axes", title: str = "") -> None:
    """No ticks, no grid, no frame."""
    axes.set(xticks=[], yticks=[], xlabel="", ylabel="")
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if title:
        axes.set_title(title, fontsize=7, pad=2)


def scatter(axes: "Axes", xy: Any, y: Any, poisoned: Any, size: float = 4) -> None:
    """An embedding: a colour per class, poisoned images black crosses."""
    points, labels, mask = np.asarray(xy, float), np.asarray(y), np.asarray(poisoned, bool)
    colours = np.array(style.CLASSES)[labels % len(style.CLASSES)]
    (a, b), (c, d) = points[~mask].T, points[mask].T
    axes.scatter(a, b, c=colours[~mask], s=size, linewidths=0)
    axes.scatter(c, d, c="black", s=1.6 * size, marker="x", linewidths=0.5, label="poisoned")
    bare(axes)


def overlay(axes: "Axes", image: np.ndarray, values: Any) -> None:
    """A map in [0, 1] over an image."""
    height, width = image.shape[:2]
    axes.imshow(image, extent=(0, width, height, 0))
    axes.imshow(
        values, cmap="inferno", alpha=0.55, vmin=0, vmax=1, extent=(0, width, height, 0), interpolation="bilinear"
    )
    bare(axes)


def strength(values: Any) -> float:
    """Where the colours of signed values end: what a hundredth of the pixels exceeds, because a patch has nearly all of
    the sum; 1 where all are 0."""
    return float(np.quantile(np.abs(np.asarray(values)), 0.99)) or 1.0


def signed(axes: "Axes", image: np.ndarray, values: Any, limit: float) -> None:
    """Signed values over a pale image: red raises the score, blue lowers it."""
    height, width = image.shape[:2]
    axes.imshow(image.mean(2), cmap="gray", vmin=-350, vmax=255, extent=(0, width, height, 0))
    axes.imshow(values, cmap="RdBu_r", alpha=0.75, vmin=-limit, vmax=limit, extent=(0, width, height, 0))
    bare(axes)


def activation_bars(axes: "Axes", clean: Any, poisoned: Any, order: Any) -> None:
    """Mean activation per neuron, clean and poisoned bars over each other, neurons in the ``order``."""
    import seaborn as sns

    means = {"clean": np.asarray(clean)[order], "poisoned": np.asarray(poisoned)[order]}
    frame = pd.DataFrame(means).melt(var_name="group", value_name="activation", ignore_index=False).reset_index()
    sns.histplot(
        frame, x="index", weights="activation", hue="group", palette=GROUPS, discrete=True, element="step",
        linewidth=0, alpha=0.75, legend=False, ax=axes,
    )  # fmt: skip
    axes.set(xlim=(-0.5, len(order) - 0.5), xlabel="", ylabel="")


def legend(axes: "Axes", groups: Iterable[str], fontsize: float = 7, **where: Any) -> None:
    """What the colours of clean and poisoned bars mean."""
    from matplotlib.patches import Patch

    axes.legend(handles=[Patch(color=GROUPS[group], label=group) for group in groups], fontsize=fontsize, **where)


def _plots(rows: int, columns: int, width: float, height: float, **more: Any) -> AbstractContextManager:
    return style.subplots(rows, columns, figsize=(width, height), squeeze=False, **more)


def _names(names: Sequence[str], count: int) -> list[str]:
    return list(names) if names else [f"model {k + 1}" if count > 1 else "" for k in range(count)]


def _per_model(values: Sequence[Mapping[str, Any]], names: Sequence[str]) -> pd.DataFrame:
    """Columns of every model below each other, with the column ``model``."""
    return pd.concat(
        [pd.DataFrame(one).assign(model=name) for one, name in zip(values, _names(names, len(values)), strict=True)],
        ignore_index=True,
    )


# ------------------------------------------------------------------------------------------------------------ the tools


def embedding(result: Result, names: Sequence[str] = ()) -> "Figure":
    """t-SNE or UMAP: one panel per model."""
    count = len(result["xy"])
    with _plots(1, count, min(style.PAGE, 2.2 * count), 2.3) as (figure, panels):
        for axes, xy, name in zip(panels.flat, result["xy"], _names(names, count), strict=True):
            scatter(axes, xy, result["y"], result["poisoned"])
            axes.set_title(name)
    return figure


def neurons(result: Result, names: Sequence[str] = ()) -> "Figure":
    """TAC of every neuron against the norm of its weights, one panel, a colour and marker per model."""
    import seaborn as sns

    frame = _per_model([{"norm": n, "tac": t} for n, t in zip(result["norm"], result["tac"], strict=True)], names)
    with _plots(1, 1, style.COLUMN, 2.4) as (figure, ((axes,),)):
        sns.scatterplot(
            frame, x="norm", y="tac", hue="model", style="model",
            palette=list(style.COLOURS[1 : len(result["tac"]) + 1]),
            s=12, linewidth=0, legend=len(result["tac"]) > 1 and "auto", ax=axes,
        )  # fmt: skip
        axes.set(xlabel="norm of the weights", ylabel="TAC")
        if axes.get_legend():
            axes.legend(title="", fontsize=7)
    return figure


def _maps(result: Result, names: Sequence[str], show: Callable[["Axes", np.ndarray, Any], Any]) -> "Figure":
    """Images down, then a column per model."""
    count = len(result["maps"])
    images = [picture(text, result["shape"]) for text in result["images"]]
    with _plots(2, count + 1, min(style.PAGE, 1.3 * (count + 1)), 2.7) as (figure, panels):
        for i, (row, image) in enumerate(zip(panels, images, strict=True)):
            row[0].imshow(image)
            bare(row[0], PAIR[i])
            for k, name in enumerate(_names(names, count)):
                show(row[k + 1], image, result["maps"][k][i])
                said = f"class {result['predicted'][k][i]}"
                bare(row[k + 1], f"{name}: {said}" if name else said)
    return figure


def gradcam(result: Result, names: Sequence[str] = ()) -> "Figure":
    """Grad-CAM over the clean and the triggered image, a column per model."""
    return _maps(result, names, overlay)


def frequency_saliency(result: Result, names: Sequence[str] = ()) -> "Figure":
    """Frequency saliency of the clean and the triggered image, a column per model."""
    return _maps(result, names, lambda axes, image, values: axes.imshow(values, cmap="cividis", vmin=0, vmax=1))


def shapley(result: Result, names: Sequence[str] = ()) -> "Figure":
    """Shapley values of the clean and the triggered image: for every model a column per class."""
    images = [picture(text, result["shape"]) for text in result["images"]]
    limit = strength(result["values"])
    count, shown = len(result["values"]), len(result["classes"][0][0])
    columns = count * shown + 1
    with _plots(2, columns, min(style.PAGE, 1.3 * columns), 2.7) as (figure, panels):
        for i, (row, image) in enumerate(zip(panels, images, strict=True)):
            row[0].imshow(image)
            bare(row[0], PAIR[i])
            for m, name in enumerate(_names(names, count)):
                for k, c in enumerate(result["classes"][m][i]):
                    axes = row[1 + m * shown + k]
                    signed(axes, image, result["values"][m][i][k], limit)
                    title = f"class {c}: {result['sum'][m][i][k]:+.2f}"
                    axes.set_title(f"{name}\n{title}" if name and not i and not k else title, fontsize=7, pad=2)
    return figure


def neuron_activation(result: Result, names: Sequence[str] = ()) -> "Figure":
    """Mean activation of every neuron, clean and poisoned; a panel per model, the same order of neurons in all."""
    count = len(result["clean"])
    with _plots(count, 1, style.COLUMN, 1.5 * count + 0.5, sharex=True, sharey=True) as (figure, panels):
        for k, (axes, name) in enumerate(zip(panels.flat, _names(names, count), strict=True)):
            activation_bars(axes, result["clean"][k], result["poisoned"][k], result["order"])
            axes.set(title=name, ylabel="mean activation")
        panels[-1, 0].set_xlabel("neurons, by falling clean activation")
        legend(panels[0, 0], ("clean", "poisoned"))
    return figure


def activated_images(*results: Result, names: Sequence[str] = ()) -> "Figure":
    """The strongest images of each neuron, strongest first, a block of rows per model; poisoned ones framed."""
    rows = [(k, i) for k, result in enumerate(results) for i in range(len(result["images"]))]
    columns = len(results[0]["images"][0])
    titles = _names(names, len(results))
    with _plots(len(rows), columns, min(style.PAGE, 0.65 * columns + 0.5), 0.75 * len(rows) + 0.2) as (figure, panels):
        for row, (k, i) in zip(panels, rows, strict=True):
            result = results[k]
            for j, axes in enumerate(row):
                axes.imshow(picture(result["images"][i][j], result["shape"]))
                bare(axes)
                if result["poisoned"][i][j]:
                    for spine in axes.spines.values():
                        spine.set(visible=True, color=POISONED, linewidth=1.6)
            row[0].set_ylabel(f"{titles[k]}\n{result['neurons'][i]}", rotation=0, ha="right", va="center", fontsize=6)
    return figure


def activation_distribution(*results: Result, names: Sequence[str] = ()) -> "Figure":
    """Classes of the strongest images of each neuron, stacked, a panel per model; poisoned ones black."""
    import seaborn as sns
    from matplotlib.patches import Patch

    colours = {name: style.CLASSES[c % len(style.CLASSES)] for c, name in enumerate(results[0]["classes"])}
    colours["poisoned"] = "black"
    with _plots(1, len(results), min(style.PAGE, style.COLUMN * len(results)), 2.4, sharey=True) as (figure, panels):
        for axes, result, name in zip(panels.flat, results, _names(names, len(results)), strict=True):
            counts = pd.DataFrame(result["clean"], columns=result["classes"])
            counts["poisoned"] = np.asarray(result["poisoned"]).sum(1)
            frame = counts.melt(var_name="class", value_name="images", ignore_index=False).reset_index()
            sns.histplot(
                frame, x="index", weights="images", hue="class", hue_order=list(colours)[::-1], palette=colours,
                multiple="stack", discrete=True, shrink=0.85, linewidth=0, alpha=1, legend=False, ax=axes,
            )  # fmt: skip
            axes.set(xlabel="neuron", ylabel="images", title=name)
            axes.set_xticks(range(len(counts)), [str(n) for n in result["neurons"]], fontsize=6, rotation=90)
        there = np.sum([np.sum(result["clean"], axis=0) for result in results], axis=0)
        shown = [*(name for name, count in zip(results[0]["classes"], there, strict=True) if count), "poisoned"]
        handles = [Patch(color=colours[name], label=name) for name in shown]
        figure.legend(handles=handles, loc="outside right upper", fontsize=6)
    return figure


def feature_maps(*results: Result, names: Sequence[str] = ()) -> "Figure":
    """The channels that change most, for the clean and the triggered image: two rows per model."""
    count = len(results[0]["channels"])
    titles = _names(names, len(results))
    width, height = min(style.PAGE, 0.8 * (count + 1)), 1.9 * len(results)
    with _plots(2 * len(results), count + 1, width, height) as (figure, panels):
        for k, result in enumerate(results):
            maps = np.asarray(result["maps"])
            for i, row in enumerate(panels[2 * k : 2 * k + 2]):
                row[0].imshow(picture(result["images"][i], result["shape"]))
                bare(row[0], PAIR[i] if i or not titles[k] else f"{titles[k]}\n{PAIR[i]}")
                for axes, channel, j in zip(row[1:], result["channels"], range(count), strict=True):
                    axes.imshow(maps[i, j], cmap="cividis", vmin=maps[:, j].min(), vmax=maps[:, j].max())
                    bare(axes, "" if i else str(channel))
    return figure


def feature_visualisation(*results: Result, names: Sequence[str] = ()) -> "Figure":
    """One image per neuron, with its activation at the start and at the end; a row per model."""
    count = len(results[0]["images"])
    with _plots(len(results), count, min(style.PAGE, 1.15 * count), 1.5 * len(results)) as (figure, panels):
        for row, result, name in zip(panels, results, _names(names, len(results)), strict=True):
            for k, axes in enumerate(row):
                axes.imshow(picture(result["images"][k], result["shape"]))
                bare(axes, f"neuron {result['neurons'][k]}\n{result['start'][k]:.2f} to {result['final'][k]:.2f}")
            row[0].set_ylabel(name, fontsize=7)
    return figure


def lipschitz(result: Result, names: Sequence[str] = ()) -> "Figure":
    """The constants of every layer's channels as boxes, a colour per model; points lie beyond 1.5 times the box."""
    import seaborn as sns

    titles = _names(names, len(result["values"]))
    rows = [
        (layer, title, value)
        for title, layers in zip(titles, result["values"], strict=True)
        for layer, values in zip(result["layers"], layers, strict=True)
        for value in values
    ]
    frame = pd.DataFrame(rows, columns=["layer", "model", "constant"])
    with _plots(1, 1, style.PAGE, 2.8) as (figure, ((axes,),)):
        sns.boxplot(
            frame, x="layer", y="constant", hue="model", palette=list(style.COLOURS[1 : len(titles) + 1]),
            fliersize=1.5,
            linewidth=0.6, legend=len(titles) > 1 and "auto", ax=axes,
        )  # fmt: skip
        axes.set(ylabel="Lipschitz constant", xlabel="")
        axes.set_xticks(range(len(result["layers"])), result["layers"], rotation=90, fontsize=5.5)
        if axes.get_legend():
            axes.legend(title="", fontsize=7)
    return figure


def loss_landscape(result: Result, names: Sequence[str] = ()) -> "Figure":
    """Contours of the loss: clean (top) and triggered images, a column per model."""
    count = len(result["clean"])
    with _plots(2, count, min(style.PAGE, 2.3 * count + 0.4), 4.2, sharex=True, sharey=True) as (figure, panels):
        for row, key in zip(panels, PAIR, strict=True):
            for axes, surface, name in zip(row, result[key], _names(names, count), strict=True):
                drawn = axes.contour(
                    result["at"], result["at"], np.asarray(surface).T, 12, cmap="cividis", linewidths=0.8
                )
                axes.clabel(drawn, fontsize=5)
                axes.plot(0, 0, marker="+", color="black")
                axes.set_title(f"{name}, {key}" if name else key)
                axes.grid(False)
    return figure


def network_structure(result: Result, names: Sequence[str] = ()) -> "Figure":
    """A row per layer that has weights: name, kind, shape of the output, and a bar for the number of weights."""
    import seaborn as sns

    layers = [layer for layer in result["layers"] if layer["parameters"]]
    rows = pd.DataFrame(layers)
    rows["text"] = [f"{each['name']}  {each['kind']}  {'x'.join(map(str, each['shape']))}" for each in layers]
    with _plots(1, 1, style.PAGE, 0.13 * len(rows) + 0.7) as (figure, ((axes,),)):
        sns.barplot(rows, x="parameters", y="text", color=style.COLOURS[2], saturation=1, width=0.7, ax=axes)
        axes.tick_params(axis="y", labelsize=5.5)
        axes.set(xscale="log", xlabel=f"weights (of {result['parameters']:,})", ylabel="")
    return figure


def hessian(result: Result, names: Sequence[str] = ()) -> "Figure":
    """Spectral density of the clean and the triggered loss, a panel per model."""
    import seaborn as sns

    count = len(result["clean"])
    with _plots(1, count, min(style.PAGE, 2.6 * count), 2.2, sharey=True) as (figure, panels):
        for k, (axes, name) in enumerate(zip(panels.flat, _names(names, count), strict=True)):
            found = {f"{key}, largest {result[key][k]['top'][0]:.3g}": result[key][k] for key in PAIR}
            frame = pd.concat(
                [
                    pd.DataFrame({"at": one["at"], "density": np.clip(one["density"], 1e-8, None)}).assign(loss=label)
                    for label, one in found.items()
                ]
            )
            sns.lineplot(
                frame, x="at", y="density", hue="loss", style="loss", palette=[CLEAN, POISONED], estimator=None,
                errorbar=None, linewidth=1, ax=axes,
            )  # fmt: skip
            axes.set(yscale="log", ylim=(1e-6, None), xlabel="eigenvalue", ylabel="density", title=name)
            axes.legend(title="", fontsize=6)
    return figure


def confusion(result: Result, names: Sequence[str] = ()) -> "Figure":
    """Confusion matrices in percent of the true class: clean (top) and triggered images, a column per model."""
    import seaborn as sns

    sets = [key for key in PAIR if result[key]]
    count = len(result["clean"])
    labels = result["classes"] if len(result["classes"]) <= 20 else False
    with _plots(len(sets), count, min(style.PAGE, 2.3 * count + 0.4), 2.3 * len(sets)) as (figure, panels):
        for row, key in zip(panels, sets, strict=True):
            for axes, matrix, name in zip(row, result[key], _names(names, count), strict=True):
                table = np.asarray(matrix, float)
                sns.heatmap(
                    100 * table / np.maximum(table.sum(1, keepdims=True), 1), vmin=0, vmax=100, cmap="cividis",
                    square=True,
                    cbar=False, xticklabels=labels, yticklabels=labels, ax=axes,
                )  # fmt: skip
                axes.tick_params(labelsize=5, length=0)
                axes.set_title(f"{name}, {key}" if name else key)
            row[0].set_ylabel("true class")
        for axes in panels[-1]:
            axes.set_xlabel("predicted class")
    return figure


MEASURES = {
    "loss": "loss", "acc": "accuracy (%)", "gradient": "norm of the gradient", "cosine": "cosine with whole gradient"
}  # fmt: skip


def quick_learning(results: Sequence[Result]) -> "Figure":
    """Loss, accuracy, gradient norm and gradient agreement over the epochs: a row per result of the tool
    ``dynamics``."""
    import seaborn as sns
    from matplotlib.ticker import LogLocator, NullFormatter

    with _plots(len(results), 4, style.PAGE, 1.6 * len(results) + 0.4, sharex=True) as (figure, panels):
        for row, result in zip(panels, results, strict=True):
            epochs = pd.DataFrame(result["epochs"]).set_index("epoch")
            for axes, (measure, label) in zip(row, MEASURES.items(), strict=True):
                wide = epochs[[f"{measure}_clean", f"{measure}_poisoned"]].set_axis(["clean", "poisoned"], axis=1)
                sns.lineplot(wide, palette=GROUPS, errorbar=None, legend=axes is panels[0, 0] and "auto", ax=axes)
                axes.set_title(label, fontsize=7)
                axes.tick_params(labelsize=6.5)
                if measure in ("loss", "gradient"):
                    axes.set_yscale("log")
                    axes.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
                    axes.yaxis.set_major_formatter("{x:g}")
                    axes.yaxis.set_minor_formatter(NullFormatter())
            row[0].set_ylabel(f"{style.title('attack', result['attack'])}, {100 * result['ratio']:g} %")
        panels[0, 0].legend(fontsize=6.5)
    return figure


def forgetting(results: Sequence[Result]) -> "Figure":
    """How many samples were forgotten how often, in percent of each group: a panel per result of ``dynamics``."""
    import seaborn as sns

    with _plots(1, len(results), min(style.PAGE, 3.3 * len(results)), 2.3, sharey=True) as (figure, panels):
        groups = ("clean", "poisoned")
        for axes, result in zip(panels.flat, results, strict=True):
            counts = pd.DataFrame(
                {group: pd.Series([*result[group]["events"]], dtype=float) for group in groups}
            ).fillna(0)
            counts.index = counts.index.astype(str)
            counts.loc["never\nlearned"] = [result[group]["never"] for group in groups]
            shares = 100 * counts / [result[group]["n"] for group in groups]
            frame = shares.rename_axis("times").reset_index().melt("times", var_name="group", value_name="share")
            sns.barplot(
                frame, x="times", y="share", hue="group", palette=GROUPS, saturation=1, errorbar=None,
                legend=axes is panels[0, 0] and "auto", ax=axes,
            )  # fmt: skip
            for bar in axes.containers[1]:
                bar.set(hatch="//")
            axes.tick_params(axis="x", labelsize=6.5)
            axes.set(title=style.title("attack", result["attack"]), xlabel="times forgotten")
        panels[0, 0].set_ylabel("samples of the group (%)")
        panels[0, 0].legend(title="")
    return figure


def dynamics(result: Result, names: Sequence[str] = ()) -> "Figure":
    """Quick learning of one result."""
    return quick_learning([result])


def trigger_generalisation(result: Result, names: Sequence[str] = ()) -> "Figure":
    """ASR over the altered hyper-parameter of the trigger, and over its displacement."""
    with _plots(1, 2, style.PAGE, 2.2, sharey=True) as (figure, panels):
        altered(panels[0], result, names)
        if any(_names(names, len(result["asr"]))):
            panels[0, 0].legend(title="", fontsize=7)
    return figure


def altered(row: Sequence["Axes"], result: Result, names: Sequence[str] = ()) -> None:
    """One result of ``trigger_generalisation`` on two axes: the altered hyper-parameter, and the displacement."""
    import seaborn as sns

    titles = _names(names, len(result["asr"]))
    attack = style.title("attack", result["attack"])
    for axes, at, asr in zip(row, ("values", "shifts"), ("asr", "asr_shifted"), strict=True):
        frame = _per_model([{"at": result[at], "asr": one} for one in result[asr]], titles)
        sns.lineplot(
            frame, x="at", y="asr", hue="model", style="model", palette=list(style.COLOURS[1 : len(titles) + 1]),
            markers=list(style.MARKERS[: len(titles)]), markeredgewidth=0, dashes=False, estimator=None, errorbar=None,
            legend=axes is row[0] and "auto", ax=axes,
        )  # fmt: skip
        axes.set(ylabel="ASR (%)", ylim=(-4, 104), title=attack)
    row[0].axvline(result["trained"], color="#777777", linestyle=":", linewidth=1)
    row[0].set(xlabel=f"{result['field']} at test time")
    row[1].set(xlabel="trigger moved by (pixels)", ylabel="")
    if (own := row[0].get_legend()) is not None:
        own.remove()


DRAW: dict[str, Callable[..., "Figure"]] = {
    "tsne": embedding, "umap": embedding, "neurons": neurons, "gradcam": gradcam, "shapley": shapley,
    "frequency_saliency": frequency_saliency, "neuron_activation": neuron_activation,
    "activated_images": activated_images, "activation_distribution": activation_distribution,
    "feature_maps": feature_maps, "feature_visualisation": feature_visualisation, "lipschitz": lipschitz,
    "loss_landscape": loss_landscape, "network_structure": network_structure, "hessian": hessian,
    "confusion": confusion, "dynamics": dynamics, "trigger_generalisation": trigger_generalisation,
}  # fmt: skip
"""Tool -> how its result is drawn: ``draw(result, names=...)``; a tool that looks at one model takes a result per
model."""
