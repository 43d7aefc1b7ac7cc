"""Figures that several papers on defenses have: Grad-CAM, numbers over a setting, and what an optimised perturbation
reaches."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from paperlib.data import sources
from paperlib.experiments import plan
from paperlib.experiments.scales import Scale
from paperlib.lab.spec import Spec
from paperlib.papers import Item, Results, reading
from paperlib.papers.captions import REACTIVATION, artefact, where
from paperlib.papers.defense_table import backdoored, defended, names_of
from paperlib.report import reactivation as bars
from paperlib.report import style
from paperlib.report.analysis_figures import bare, picture
from paperlib.report.artefact import Artefact
from paperlib.report.claims import NotRun

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METRIC_LOOKS = {"C-Acc": ("#0173b2", "o", ""), "ASR": ("#d55e00", "s", (4, 2)), "DER": ("#029e73", "^", (1, 1))}
"""Colour, marker and dashes."""


def found(results: Results, specs: Mapping[Any, Spec], what: str) -> dict[Any, dict[str, Any]]:
    """Those of the results of ``specs`` that are there.

    Raises
    ------
    NotRun
        None of them; ``what`` names them.
    """
    there = {name: result for name, spec in specs.items() if (result := results.get(spec)) is not None}
    if not there:
        raise NotRun(f"no {what} has a result at {results.scale.name} scale")
    return there


def after(model: str) -> str:
    """A stage of purification as a title."""
    return "backdoored" if model == "none" else f"after {style.title('defense', model)}"


def class_title(dataset: str, k: int) -> str:
    """``"deer"``; ``"class 4"`` where the classes have no names but their numbers."""
    names = sources.DATASETS[dataset].classes
    return f"class {k}" if not names or names[k].isdigit() else names[k]


def grad_cam(
    found: Mapping[str, Mapping[str, Any]], models: Sequence[str], dataset: str
) -> "tuple[Figure, pd.DataFrame, str]":
    """Grad-CAM of one image of class 4, clean and with each trigger, in several models.

    Parameters
    ----------
    found
        Attack -> result of the tool ``gradcam``.
    models
        Names of its models, ``none`` for the backdoored one.
    dataset
        Whose classes they are.

    Returns
    -------
    figure, frame, text
        The frame has a row for each cell of a map; the text says which class is predicted.
    """
    first = next(iter(found.values()))
    columns = [("benign", first, 0), *((style.title("attack", name), result, 1) for name, result in found.items())]
    frames, texts = [], []
    size = (1.3 * len(columns), 1.4 * (1 + len(models)))
    with style.subplots(1 + len(models), len(columns), figsize=size, squeeze=False) as (figure, panels):
        for axes in panels.flat:
            bare(axes)
        for (title, result, which), (top, *below) in zip(columns, panels.T, strict=True):
            pixels = picture(result["images"][which], result["shape"])
            top.imshow(pixels, interpolation="nearest")
            top.set_title(title)
            extent = (-0.5, pixels.shape[1] - 0.5, pixels.shape[0] - 0.5, -0.5)
            for k, (model, axes) in enumerate(zip(map(after, models), below, strict=True)):
                cam, predicted = np.array(result["maps"][k][which]), result["predicted"][k][which]
                axes.imshow(pixels, interpolation="nearest")
                axes.imshow(cam, extent=extent, interpolation="bilinear", alpha=0.55, cmap="inferno", vmin=0, vmax=1)
                said = class_title(dataset, predicted)
                axes.set_xlabel(said, fontsize=7)
                texts.append(f"{title} {model}: {said}")
                place = dict(zip(("row", "column"), (v.ravel() for v in np.indices(cam.shape)), strict=True))
                frames.append(
                    pd.DataFrame({"image": title, "model": model, "predicted": predicted, **place, "cam": cam.ravel()})
                )
        for label, axes in zip(("image", *map(after, models)), panels[:, 0], strict=True):
            axes.set_ylabel(label)
    target, true = class_title(dataset, 0), class_title(dataset, 4)
    text = f"Answers ({target} is the attacker's target, {true} the true class): {'; '.join(texts)}."
    idle = [style.title("attack", name) for name, r in found.items() if len(set(r["predicted"][0])) == 1]
    if idle:
        text += f" On this image the trigger of {', '.join(idle)} changes no answer of the backdoored model."
    return figure, pd.concat(frames), text


def metric_lines(frame: pd.DataFrame, x: str, **axis: Any) -> "Figure":
    """C-Acc, ASR and DER over a setting, one panel for each attack.

    Parameters
    ----------
    frame
        Columns ``attack``, ``metric`` (of :data:`METRIC_LOOKS`), ``value`` in percent, the setting ``x``, and, if it is
        there, ``before``: the value of the undefended model, drawn dotted.
    x
        Name of the column that runs across.
    axis
        What else is set of every panel, e.g. ``xlabel``.
    """
    attacks = list(dict.fromkeys(frame.attack))
    shown = [metric for metric in METRIC_LOOKS if metric in set(frame.metric)]
    size = (style.COLUMN if len(attacks) == 1 else style.PAGE, 2.6)
    with style.subplots(1, len(attacks), figsize=size, sharey=True, squeeze=False) as (figure, panels):
        for axes, attack in zip(panels.flat, attacks, strict=True):
            mine = frame[frame.attack == attack]
            for metric in shown:
                colour, marker, dashes = METRIC_LOOKS[metric]
                line = mine[mine.metric == metric]
                looks: dict[str, Any] = {"color": colour, "marker": marker, "linestyle": (0, dashes) if dashes else "-"}
                axes.plot(line[x], line.value, **looks, markeredgewidth=0, label=metric)
            if "before" in mine:
                for metric, before in mine.groupby("metric").before.first().items():
                    axes.axhline(before, color=METRIC_LOOKS[metric][0], linewidth=0.8, linestyle=":")
            axes.set(ylim=(-4, 104), title=style.title("attack", attack), **axis)
        panels[0, 0].set_ylabel("percent")
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def reactivation(paper: str, stages: Sequence[str], attacks: Callable[[Scale], Sequence[str]]) -> Item:
    """The item on re-activation, with which every notebook on a defense ends.

    Parameters
    ----------
    paper
        Key of the paper.
    stages
        Its models of every attack: ``none`` and names of defenses; a model that was never attacked comes after them.
    attacks
        From a scale to the attacks.
    """

    def specs(scale: Scale, seed: int) -> dict[str, Spec]:
        out: dict[str, Spec] = {}
        for attack in attacks(scale):
            parent = backdoored(scale, attack, seed=seed)
            models = (*(defended(scale, parent, name) for name in stages), plan.train(scale, seed=seed))
            out[attack] = plan.analyse("reactivation", *models, seed=seed, **REACTIVATION[scale.plans])
        return out

    def draw(results: Results) -> Artefact:
        there = found(results, specs(results.scale, results.seed), "re-activation")
        numbers = bars.frame(there, (*stages, "clean"))
        radius = round(255 * next(iter(there.values()))["eps"])
        return artefact(
            paper, results, "our_reactivation", "figure", figure=bars.draw(numbers), frame=numbers,
            caption=f"Low ASR is not removal: ASR with the attacker's trigger ({names_of(there)}), with a universal "
            f"perturbation of at "
            f"most {radius} grey levels optimised against the model, and with both. {where(results)}",
            alt=bars.describe(numbers), reading=reading.reactivation(numbers),
        )  # fmt: skip

    return Item(lambda scale, seed: list(specs(scale, seed).values()), draw)
