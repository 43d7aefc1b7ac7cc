"""The figures of the NPD paper; the first two are diagrams of ours."""

from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from paperlib.papers import Results
from paperlib.papers.captions import artefact, where
from paperlib.papers.figures import grad_cam, metric_lines
from paperlib.papers.polarizer import runs
from paperlib.report import style
from paperlib.report.analysis_figures import bare, picture
from paperlib.report.artefact import Artefact
from paperlib.report.claims import NotRun

drawn = partial(artefact, runs.PAPER)
INK, CLEAN, TRIGGER, FILTER = "#333333", "#0173b2", "#d55e00", "#029e73"


def _blank(axes: Any, width: float, height: float) -> None:
    bare(axes)
    axes.set(xlim=(0, width), ylim=(0, height))


def _box(axes: Any, x: float, y: float, width: float, height: float, text: str, colour: str, *, filled: bool) -> None:
    from matplotlib.patches import FancyBboxPatch

    face = colour if filled else "white"
    axes.add_patch(FancyBboxPatch((x, y), width, height, "round,pad=0.02", facecolor=face, edgecolor=colour))
    axes.text(
        x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=7, color="white" if filled else INK
    )


def _arrow(axes: Any, x: float, to: float, y: float, colour: str) -> None:
    axes.annotate("", (to, y), (x, y), arrowprops={"arrowstyle": "->", "color": colour, "linewidth": 1.4})


def draw_fig1(results: Results) -> Artefact:
    """Figure 1: an optical polarizer and its counterpart, a diagram of ours."""
    with style.subplots(2, 1, figsize=(style.PAGE, 2.6)) as (figure, (top, bottom)):
        rows = (
            (top, "optical polarizer", "light", "waves of one\ndirection", ("wanted waves", "unwanted waves"), "grid"),
            (bottom, "neural polarizer", "image with\ntrigger", "true class", ("features of the image",
            "features of the trigger"), "1x1 conv\n+ BN"),
        )  # fmt: skip
        for axes, title, source, sink, (kept, removed), name in rows:
            _blank(axes, 10, 2)
            axes.set_title(title, loc="left")
            _box(axes, 0.1, 0.55, 1.5, 0.9, source, INK, filled=False)
            _arrow(axes, 1.75, 5.0, 1.35, CLEAN)
            _arrow(axes, 1.75, 5.0, 0.65, TRIGGER)
            axes.text(3.3, 1.45, kept, color=CLEAN, ha="center", va="bottom", fontsize=7)
            axes.text(3.3, 0.55, removed, color=TRIGGER, ha="center", va="top", fontsize=7)
            _box(axes, 5.15, 0.3, 1.0, 1.4, name, FILTER, filled=True)
            _arrow(axes, 6.3, 8.1, 1.35, CLEAN)
            axes.plot([6.3, 6.9], [0.65, 0.65], color=TRIGGER, linestyle=":")
            axes.text(7.0, 0.65, "blocked", color=TRIGGER, va="center", fontsize=7)
            _box(axes, 8.25, 0.55, 1.6, 0.9, sink, INK, filled=False)
    frame = pd.DataFrame({"panel": [row[1] for row in rows], "filter": [row[5].replace("\n", " ") for row in rows]})
    return drawn(
        results, "fig1", "figure", figure=figure, frame=frame,
        caption="Figure 1. The idea, redrawn: a filter that lets one kind of wave pass, and a layer that does so with "
        "features.",
        alt="Two rows of boxes and arrows. Above: light meets a grid, wanted waves pass, the others are blocked. "
        "Below: the features of an image with a trigger meet a 1x1 convolution with batch norm; those of the image "
        "pass and the class is right.",
    )  # fmt: skip


def draw_fig2(results: Results) -> Artefact:
    """Figure 2: where the polarizer sits, a diagram of ours."""
    frozen = ("input", "conv1", "layer1", "layer2", "layer3", "layer4.0", "polarizer", "layer4.1", "linear")
    with style.subplots(figsize=(style.PAGE, 1.5)) as (figure, axes):
        _blank(axes, 10, 2)
        for k, name in enumerate(frozen):
            ours = name == "polarizer"
            x = 0.1 + 1.1 * k
            text = "polarizer\n1x1 conv\n+ BN" if ours else name.replace("input", "image")
            _box(axes, x, 0.75, 0.85, 0.9, text, FILTER if ours else INK, filled=ours)
            if k:
                _arrow(axes, x - 0.24, x - 0.01, 1.2, INK)
        middle = {"ha": "center", "va": "center", "fontsize": 7}
        axes.text(7.15, 0.42, "trained: $C^2 + 2C$ weights,\n263,168 at $C$ = 512", color=FILTER, **middle)
        axes.text(2.8, 0.42, "frozen: all weights and statistics of the backdoored model", **middle)
    frame = pd.DataFrame({"layer": frozen, "trained": [name == "polarizer" for name in frozen]})
    return drawn(
        results, "fig2", "figure", figure=figure, frame=frame,
        caption="Figure 2. The polarizer in a PreAct-ResNet18, redrawn: it filters the input of the last block's first "
        "convolution.",
        alt="A chain of boxes from the image to the linear layer. All are frozen but one, the polarizer before the "
        "last block, a 1x1 convolution and a batch norm that start as the identity.",
    )  # fmt: skip


def draw_fig3(results: Results) -> Artefact:
    """Figure 3: C-Acc and ASR over the place of the polarizer."""
    table, rows = runs.FIGURE3[results.scale.plans], []
    for attack, _, place, spec, parent in table.cells(results.scale, results.seed):
        if (result := results.get(spec)) is not None:
            before = results.need(parent)
            for metric, key in (("C-Acc", "c_acc"), ("ASR", "asr")):
                values = {"value": result[key], "before": before[key]}
                rows.append({"attack": attack, "place": place, "metric": metric, **values})
    if not rows:
        raise NotRun(f"no place of Figure 3 has a result at {results.scale.name} scale")
    frame = pd.DataFrame(rows)
    figure = metric_lines(frame, "place", xlabel="polarizer before")
    for axes in figure.axes:
        axes.tick_params(axis="x", rotation=30 if len(table.settings) < 6 else 90)
    texts = "; ".join(
        f"{style.title('attack', attack)}, {metric}: "
        + ", ".join(f"{v:.0f} at {p}" for p, v in zip(part.place, part.value, strict=True))
        for (attack, metric), part in frame.groupby(["attack", "metric"], sort=False)
    )
    return drawn(
        results, "fig3", "figure", figure=figure, frame=frame,
        caption=f"Figure 3. NPD with the polarizer in each stage; {frame.attack.nunique()} of 3 attacks; dotted: the "
        f"backdoored model. {where(results)}",
        alt=f"Lines of accuracy and attack success rate over four or more places in the network. {texts}.",
    )  # fmt: skip


KIND_TITLES = {
    "clean": "clean",
    "trigger": "trigger",
    "targeted": "towards $y'$",
    "known": "towards $T$",
    "untargeted": "away from $y$",
}


def draw_fig4(results: Results) -> Artefact:
    """Figure 4: trigger and perturbations in pixels and in a feature map, and their distances."""
    found = results.need(runs.perturbation_spec(results.scale, "blended", results.seed))
    kinds = found["kinds"]
    largest = max(np.max(one) for one in found["maps"])
    with style.subplots(3, len(kinds), figsize=(style.PAGE, 4.6), squeeze=False) as (figure, panels):
        for axes in panels.flat:
            bare(axes)
        for k, kind in enumerate(kinds):
            for row, part in enumerate(("images", "residuals")):
                panels[row, k].imshow(picture(found[part][k], found["shape"]), interpolation="nearest")
            panels[2, k].imshow(np.array(found["maps"][k]), vmin=0, vmax=largest, interpolation="nearest")
            panels[0, k].set_title(KIND_TITLES[kind], fontsize=8)
            panels[1, k].set_xlabel(f"× {found['amplification'][k]:g}" if k else "", fontsize=7)
            panels[2, k].set_xlabel(f"distance {found['distance'][k]:.3g}", fontsize=7)
        for axes, label in zip(panels[:, 0], ("image", "change", "feature map"), strict=True):
            axes.set_ylabel(label)
    names = ("kind", "distance", "pixels", "to_target")
    frame = pd.DataFrame(dict(zip(names, (kinds, found["distance"], found["pixels"], found["to_target"]), strict=True)))
    numbers = "; ".join(f"{kind} {d:.3g}" for kind, d in zip(kinds, found["distance"], strict=True))
    return drawn(
        results, "fig4", "figure", figure=figure, frame=frame,
        caption="Figure 4. Blended: the trigger and perturbations of L2 radius 3, their change of the image "
        "(amplified) and mean absolute output of layer4; below: mean L2 distance to the triggered image's features "
        f"over {found['n']} images. {where(results)}",
        alt="Five columns of image, change and feature map. Mean distance of the features to those of the triggered "
        f"image: {numbers}. The paper prints 36.4 for a targeted and 93.84 for an untargeted perturbation.",
    )  # fmt: skip


def draw_cam(id_: str, results: Results) -> Artefact:
    """Figures 5 to 7: Grad-CAM before and after NPD."""
    attack = runs.CAMS[id_]
    figure, frame, text = grad_cam(
        {attack: results.need(runs.gradcam_spec(results.scale, attack, results.seed))},
        ("none", "npd"),
        results.scale.dataset,
    )
    return drawn(
        results, id_, "figure", figure=figure, frame=frame, alt=text,
        caption=f"Figure {id_.removeprefix('fig')}. Grad-CAM of the predicted class for one test image, "
        f"{style.title('attack', attack)}. {text} {where(results)}",
    )  # fmt: skip
