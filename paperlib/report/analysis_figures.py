"""Figures of the analysis tools: what a tool returned -> a matplotlib figure.

``DRAW`` maps the name of a tool to the function that draws its result. ``names`` are the titles of the models that the tool looked
at, in their order. The small functions that fill one axes (:func:`scatter`, :func:`overlay`, ...) are there for figures that put
several tools side by side.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from paperlib.report import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Result = Mapping[str, Any]
CLEAN, POISONED = style.COLOURS[2], style.COLOURS[4]
"""Colours of clean and of poisoned samples wherever the two groups are compared."""
PAIR = ("clean", "triggered")


# ------------------------------------------------------------------------------------------------------ one axes each


def picture(text: str, shape: Sequence[int]) -> np.ndarray:
    """A stored image as (H, W, 3) uint8."""
    channels, height, width = shape
    pixels = np.frombuffer(base64.b64decode(text), np.uint8).reshape(height, width, channels)
    return pixels if channels == 3 else np.repeat(pixels[..., :1], 3, axis=2)


def bare(axes: "Axes", title: str = "") -> None:
    """No ticks, no grid, no frame."""
    axes.set(xticks=[], yticks=[])
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
    axes.scatter(c, d, c="black", s=1.6 * size, marker="x", linewidths=0.5)
    bare(axes)


def overlay(axes: "Axes", image: np.ndarray, values: Any) -> None:
    """A map in [0, 1] over an image."""
    height, width = image.shape[:2]
    axes.imshow(image, extent=(0, width, height, 0))
    axes.imshow(
        values, cmap="inferno", alpha=0.55, vmin=0, vmax=1, extent=(0, width, height, 0), interpolation="bilinear"
    )
    bare(axes)


def signed(axes: "Axes", image: np.ndarray, values: Any, limit: float) -> None:
    """Signed values over a pale image: red raises the score, blue lowers it."""
    height, width = image.shape[:2]
    axes.imshow(image.mean(2), cmap="gray", vmin=-350, vmax=255, extent=(0, width, height, 0))
    axes.imshow(values, cmap="RdBu_r", alpha=0.75, vmin=-limit, vmax=limit, extent=(0, width, height, 0))
    bare(axes)


def activation_bars(axes: "Axes", clean: Any, poisoned: Any, order: Any) -> None:
    """Mean activation per neuron, clean and poisoned bars over each other, neurons in the ``order``."""
    at = np.arange(len(order))
    axes.bar(at, np.asarray(clean)[order], width=1.0, color=CLEAN, label="clean", linewidth=0)
    axes.bar(at, np.asarray(poisoned)[order], width=1.0, color=POISONED, alpha=0.6, label="poisoned", linewidth=0)
    axes.set_xlim(-0.5, len(order) - 0.5)


def _plots(rows: int, columns: int, width: float, height: float, **more: Any) -> tuple["Figure", np.ndarray]:
    import matplotlib.pyplot as plt

    return plt.subplots(rows, columns, figsize=(width, height), squeeze=False, **more)


def _names(names: Sequence[str], count: int) -> list[str]:
    return list(names) if names else [f"model {k + 1}" if count > 1 else "" for k in range(count)]


# ------------------------------------------------------------------------------------------------------------ the tools


def embedding(result: Result, names: Sequence[str] = ()) -> "Figure":
    """t-SNE or UMAP: one panel per model."""
    count = len(result["xy"])
    with style.context():
        figure, panels = _plots(1, count, min(style.PAGE, 2.2 * count), 2.3)
        for axes, xy, name in zip(panels.flat, result["xy"], _names(names, count), strict=True):
            scatter(axes, xy, result["y"], result["poisoned"])
            axes.set_title(name)
    return figure


def neurons(result: Result, names: Sequence[str] = ()) -> "Figure":
    """TAC of every neuron against the norm of its weights."""
    count = len(result["tac"])
    with style.context():
        figure, panels = _plots(1, count, min(style.PAGE, 2.4 * count), 2.2, sharey=True)
        for axes, norm, tac, name in zip(panels.flat, result["norm"], result["tac"], _names(names, count), strict=True):
            axes.scatter(norm, tac, s=6, color=style.COLOURS[0], linewidths=0)
            axes.set(xlabel="norm of the weights", title=name)
        panels[0, 0].set_ylabel("TAC")
    return figure


def _maps(result: Result, names: Sequence[str], show: Callable[["Axes", np.ndarray, Any], Any]) -> "Figure":
    """Images down, then a column per model."""
    count = len(result["maps"])
    images = [picture(text, result["shape"]) for text in result["images"]]
    with style.context():
        figure, panels = _plots(2, count + 1, min(style.PAGE, 1.3 * (count + 1)), 2.7)
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
    """Shapley values of the clean and the triggered image in the first model, a column per class."""
    images = [picture(text, result["shape"]) for text in result["images"]]
    values = np.asarray(result["values"][0])
    limit = float(np.abs(values).max()) or 1.0
    with style.context():
        figure, panels = _plots(2, values.shape[1] + 1, min(style.PAGE, 1.3 * (values.shape[1] + 1)), 2.7)
        for i, (row, image) in enumerate(zip(panels, images, strict=True)):
            row[0].imshow(image)
            bare(row[0], PAIR[i])
            for k, c in enumerate(result["classes"][0][i]):
                signed(row[k + 1], image, values[i, k], limit)
                row[k + 1].set_title(f"class {c}: {result['sum'][0][i][k]:+.2f}", fontsize=7, pad=2)
    return figure


def neuron_activation(result: Result, names: Sequence[str] = ()) -> "Figure":
    """Mean activation of every neuron, clean and poisoned; a panel per model, the same order of neurons in all."""
    count = len(result["clean"])
    with style.context():
        figure, panels = _plots(count, 1, style.COLUMN, 1.5 * count + 0.5, sharex=True)
        for k, (axes, name) in enumerate(zip(panels.flat, _names(names, count), strict=True)):
            activation_bars(axes, result["clean"][k], result["poisoned"][k], result["order"])
            axes.set(title=name, ylabel="mean activation")
        panels[-1, 0].set_xlabel("neurons, by falling clean activation")
        panels[0, 0].legend(fontsize=7)
    return figure


def activated_images(result: Result, names: Sequence[str] = ()) -> "Figure":
    """The strongest images of each neuron, strongest first; poisoned ones framed."""
    rows, columns = len(result["images"]), len(result["images"][0])
    with style.context():
        figure, panels = _plots(rows, columns, min(style.PAGE, 0.65 * columns + 0.5), 0.72 * rows + 0.2)
        for i, row in enumerate(panels):
            for j, axes in enumerate(row):
                axes.imshow(picture(result["images"][i][j], result["shape"]))
                bare(axes)
                if result["poisoned"][i][j]:
                    for spine in axes.spines.values():
                        spine.set(visible=True, color=POISONED, linewidth=1.6)
            row[0].set_ylabel(str(result["neurons"][i]), rotation=0, ha="right", va="center", fontsize=7)
    return figure


def activation_distribution(result: Result, names: Sequence[str] = ()) -> "Figure":
    """Classes of the strongest images of each neuron, stacked; poisoned ones black."""
    clean, poisoned = np.asarray(result["clean"]), np.asarray(result["poisoned"]).sum(1)
    at = np.arange(len(clean))
    with style.context():
        figure, panels = _plots(1, 1, style.COLUMN, 2.6)
        axes, below = panels[0, 0], np.zeros(len(clean))
        for c, name in enumerate(result["classes"]):
            if clean[:, c].any():
                colour = style.CLASSES[c % len(style.CLASSES)]
                axes.bar(at, clean[:, c], bottom=below, color=colour, label=name, linewidth=0)
                below = below + clean[:, c]
        axes.bar(at, poisoned, bottom=below, color="black", label="poisoned", linewidth=0)
        axes.set(xlabel="neuron", ylabel="images", xticks=at)
        axes.set_xticklabels([str(n) for n in result["neurons"]], fontsize=6, rotation=90)
        figure.legend(loc="outside right upper", fontsize=6)
    return figure


def feature_maps(result: Result, names: Sequence[str] = ()) -> "Figure":
    """The channels that change most, for the clean (top) and the triggered image."""
    maps = np.asarray(result["maps"])
    images = [picture(text, result["shape"]) for text in result["images"]]
    with style.context():
        figure, panels = _plots(2, maps.shape[1] + 1, min(style.PAGE, 0.8 * (maps.shape[1] + 1)), 1.9)
        for i, (row, image) in enumerate(zip(panels, images, strict=True)):
            row[0].imshow(image)
            bare(row[0], PAIR[i])
            for k, channel in enumerate(result["channels"]):
                low, high = maps[:, k].min(), maps[:, k].max()
                row[k + 1].imshow(maps[i, k], cmap="cividis", vmin=low, vmax=high)
                bare(row[k + 1], "" if i else str(channel))
    return figure


def feature_visualisation(result: Result, names: Sequence[str] = ()) -> "Figure":
    """One image per neuron, with its activation at the start and at the end."""
    count = len(result["images"])
    with style.context():
        figure, panels = _plots(1, count, min(style.PAGE, 1.15 * count), 1.5)
        for k, axes in enumerate(panels.flat):
            axes.imshow(picture(result["images"][k], result["shape"]))
            bare(axes, f"neuron {result['neurons'][k]}\n{result['start'][k]:.2f} to {result['final'][k]:.2f}")
    return figure


def lipschitz(result: Result, names: Sequence[str] = ()) -> "Figure":
    """The constant of every channel, layer by layer; a panel per model."""
    count = len(result["values"])
    with style.context():
        figure, panels = _plots(count, 1, style.PAGE, 1.7 * count + 0.9, sharex=True)
        for axes, values, name in zip(panels.flat, result["values"], _names(names, count), strict=True):
            for i, layer in enumerate(values):
                at = i + np.linspace(-0.3, 0.3, len(layer)) if len(layer) > 1 else np.array([float(i)])
                axes.scatter(at, layer, s=3, color=style.COLOURS[i % 8], linewidths=0)
            axes.set(title=name, ylabel="Lipschitz constant")
        axes.set_xticks(range(len(result["layers"])), result["layers"], rotation=90, fontsize=5.5)
    return figure


def loss_landscape(result: Result, names: Sequence[str] = ()) -> "Figure":
    """Contours of the loss: clean (top) and triggered images, a column per model."""
    count = len(result["clean"])
    with style.context():
        figure, panels = _plots(2, count, min(style.PAGE, 2.3 * count + 0.4), 4.2, sharex=True, sharey=True)
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
    rows = [layer for layer in result["layers"] if layer["parameters"]]
    with style.context():
        figure, panels = _plots(1, 1, style.PAGE, 0.13 * len(rows) + 0.7)
        axes, at = panels[0, 0], np.arange(len(rows))
        axes.barh(at, [row["parameters"] for row in rows], color=style.COLOURS[2], height=0.7)
        texts = [f"{r['name']}  {r['kind']}  {'x'.join(map(str, r['shape']))}" for r in rows]
        axes.set_yticks(at, texts, fontsize=5.5)
        axes.set(xscale="log", xlabel=f"weights (of {result['parameters']:,})", ylim=(len(rows) - 0.5, -0.5))
    return figure


def hessian(result: Result, names: Sequence[str] = ()) -> "Figure":
    """Spectral density of the clean and the triggered loss, a panel per model."""
    count = len(result["clean"])
    with style.context():
        figure, panels = _plots(1, count, min(style.PAGE, 2.6 * count), 2.2, sharey=True)
        for k, (axes, name) in enumerate(zip(panels.flat, _names(names, count), strict=True)):
            for key, colour, line in (("clean", CLEAN, "-"), ("triggered", POISONED, "--")):
                one = result[key][k]
                shown = np.clip(one["density"], 1e-8, None)
                label = f"{key}, largest {one['top'][0]:.3g}"
                axes.plot(one["at"], shown, color=colour, linestyle=line, linewidth=1, label=label)
            axes.set(yscale="log", ylim=(1e-6, None), xlabel="eigenvalue", title=name)
            axes.legend(fontsize=6)
        panels[0, 0].set_ylabel("density")
    return figure


def confusion(result: Result, names: Sequence[str] = ()) -> "Figure":
    """Confusion matrices in percent of the true class: clean (top) and triggered images, a column per model."""
    sets = [key for key in PAIR if result[key]]
    count = len(result["clean"])
    with style.context():
        figure, panels = _plots(len(sets), count, min(style.PAGE, 2.3 * count + 0.4), 2.3 * len(sets))
        for row, key in zip(panels, sets, strict=True):
            for axes, matrix, name in zip(row, result[key], _names(names, count), strict=True):
                table = np.asarray(matrix, float)
                axes.imshow(100 * table / np.maximum(table.sum(1, keepdims=True), 1), vmin=0, vmax=100, cmap="cividis")
                axes.grid(False)
                at = range(len(table)) if len(table) <= 20 else []
                axes.set_xticks(at, [result["classes"][i] for i in at], rotation=90, fontsize=5)
                axes.set_yticks(at, [result["classes"][i] for i in at], fontsize=5)
                axes.set_title(f"{name}, {key}" if name else key)
            row[0].set_ylabel("true class")
        for axes in panels[-1]:
            axes.set_xlabel("predicted class")
    return figure


MEASURES = {
    "loss": "loss", "acc": "accuracy (%)", "gradient": "norm of the gradient", "cosine": "cosine with whole gradient"
}  # fmt: skip


def quick_learning(results: Sequence[Result]) -> "Figure":
    """Loss, accuracy, gradient norm and gradient agreement over the epochs: a row per result of the tool ``dynamics``."""
    from matplotlib.ticker import LogLocator, NullFormatter

    with style.context():
        figure, panels = _plots(len(results), 4, style.PAGE, 1.6 * len(results) + 0.4, sharex=True)
        for row, result in zip(panels, results, strict=True):
            at = [entry["epoch"] for entry in result["epochs"]]
            for axes, (measure, label) in zip(row, MEASURES.items(), strict=True):
                for group, colour, line in (("clean", CLEAN, "-"), ("poisoned", POISONED, "--")):
                    values = [entry[f"{measure}_{group}"] for entry in result["epochs"]]
                    axes.plot(at, values, color=colour, linestyle=line, label=group)
                axes.set_title(label, fontsize=7)
                axes.tick_params(labelsize=6.5)
                if measure in ("loss", "gradient"):
                    axes.set_yscale("log")
                    axes.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
                    axes.yaxis.set_major_formatter("{x:g}")
                    axes.yaxis.set_minor_formatter(NullFormatter())
            row[0].set_ylabel(f"{style.title('attack', result['attack'])}, {100 * result['ratio']:g} %")
        for axes in panels[-1]:
            axes.set_xlabel("epoch")
        panels[0, 0].legend(fontsize=6.5)
    return figure


def forgetting(results: Sequence[Result]) -> "Figure":
    """How many samples were forgotten how often, in percent of each group: a panel per result of ``dynamics``."""
    with style.context():
        figure, panels = _plots(1, len(results), min(style.PAGE, 3.3 * len(results)), 2.3, sharey=True)
        for axes, result in zip(panels.flat, results, strict=True):
            most = max(len(result[group]["events"]) for group in ("clean", "poisoned"))
            for i, (group, colour) in enumerate((("clean", CLEAN), ("poisoned", POISONED))):
                one = result[group]
                counts = [*one["events"], *[0] * (most - len(one["events"])), one["never"]]
                at = np.arange(most + 1) + 0.4 * (i - 0.5)
                axes.bar(
                    at, [100 * c / one["n"] for c in counts], width=0.4, color=colour, hatch=("", "//")[i], label=group
                )
            axes.set_xticks(range(most + 1), [*map(str, range(most)), "never\nlearned"], fontsize=6.5)
            axes.set(title=style.title("attack", result["attack"]), xlabel="times forgotten")
        panels[0, 0].set_ylabel("samples of the group (%)")
        panels[0, 0].legend()
    return figure


def dynamics(result: Result, names: Sequence[str] = ()) -> "Figure":
    """Quick learning of one result."""
    return quick_learning([result])


def trigger_generalisation(result: Result, names: Sequence[str] = ()) -> "Figure":
    """ASR over the altered hyper-parameter of the trigger, and over its displacement."""
    count = len(result["asr"])
    with style.context():
        figure, panels = _plots(1, 2, style.PAGE, 2.2, sharey=True)
        for k, name in enumerate(_names(names, count)):
            look = {"color": style.COLOURS[k % 9], "marker": style.MARKERS[k % 13], "label": name}
            panels[0, 0].plot(result["values"], result["asr"][k], **look)
            panels[0, 1].plot(result["shifts"], result["asr_shifted"][k], **look)
        panels[0, 0].axvline(result["trained"], color="#777777", linestyle=":", linewidth=1)
        attack = style.title("attack", result["attack"])
        panels[0, 0].set(xlabel=f"{result['field']} of the trigger", ylabel="ASR (%)", ylim=(-4, 104), title=attack)
        panels[0, 1].set(xlabel="trigger moved by (pixels)", title=attack)
        if any(_names(names, count)):
            panels[0, 0].legend(fontsize=7)
    return figure


DRAW: dict[str, Callable[..., "Figure"]] = {
    "tsne": embedding,
    "umap": embedding,
    "neurons": neurons,
    "gradcam": gradcam,
    "shapley": shapley,
    "frequency_saliency": frequency_saliency,
    "neuron_activation": neuron_activation,
    "activated_images": activated_images,
    "activation_distribution": activation_distribution,
    "feature_maps": feature_maps,
    "feature_visualisation": feature_visualisation,
    "lipschitz": lipschitz,
    "loss_landscape": loss_landscape,
    "network_structure": network_structure,
    "hessian": hessian,
    "confusion": confusion,
    "dynamics": dynamics,
    "trigger_generalisation": trigger_generalisation,
}
"""Tool -> how its result is drawn: ``draw(result, names)``."""
