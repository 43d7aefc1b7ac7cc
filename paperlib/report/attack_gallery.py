"""Pictures of attacks, drawn from results of the tool ``triggers``: what a trigger does to an image, and what the
victim trains on.

A result is what :func:`paperlib.analysis.triggers.triggers` returns. The figures belong into an artefact: its frame is
:func:`quality_frame`, its alt text :func:`describe` or :func:`describe_samples`.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from paperlib.errors import PaperlibError
from paperlib.report import style
from paperlib.report.analysis_figures import picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Result = Mapping[str, Any]

MEASURES = ("psnr", "ssim", "l1", "l2", "linf")
PARTS = ("clean", "poisoned", "residual")
SHOWN = {1: 7, 2: 4}
"""Attacks side by side -> samples shown of each one's training set."""


def _title(result: Result) -> str:
    return style.title("attack", result["attack"])


def _needed(results: Sequence[Result]) -> None:
    if not results:
        raise PaperlibError("results is empty; give at least one result of the tool triggers.")


def _numbers(found: Mapping[str, Any]) -> str:
    psnr = "PSNR ∞" if found["psnr"] is None else f"PSNR {found['psnr']:.1f} dB"
    return f"{psnr}\nSSIM {found['ssim']:.3f}\n$L_\\infty$ {found['linf']:.0f}"


def _show(figure: "Figure", x: float, y: float, side: float, image: np.ndarray) -> Any:
    """An axes of ``side`` inches whose lower left corner lies at (x, y) inches, with an image in it."""
    width, height = figure.get_size_inches()
    axes = figure.add_axes((x / width, y / height, side / width, side / height))
    axes.imshow(image, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set(visible=True, linewidth=0.4, color="#999999")
    return axes


def gallery(results: Sequence[Result], *, columns: int | None = None) -> "Figure":
    """Clean image, poisoned image and amplified residual of every attack, with PSNR, SSIM and L_inf.

    Parameters
    ----------
    results
        One per attack, in the order of drawing.
    columns
        Attacks side by side: 1 for a figure as wide as one column of text, 2 for the page; default: 2 from seven
        attacks on.

    Raises
    ------
    PaperlibError
        No result.
    """
    import matplotlib.pyplot as plt

    _needed(results)
    columns = columns or (1 if len(results) < 7 else 2)
    rows = -(-len(results) // columns)
    block = (style.COLUMN if columns == 1 else style.PAGE / columns) - 0.05
    text, gap = 0.92, 0.06
    side = (block - text - 3 * gap) / 3
    step = side + 0.13
    with style.context():
        width, height = columns * (block + 0.05), rows * step + 0.12
        figure = plt.figure(figsize=(width, height))
        figure.set_layout_engine("none")  # leaves a mark; without one, saving would lay the figure out again
        for number, result in enumerate(results):
            column, row = divmod(number, rows)
            left, bottom = column * (block + 0.05), height - 0.12 - (row + 1) * step + 0.13
            for k, part in enumerate(PARTS):
                x = left + text + k * (side + gap)
                axes = _show(figure, x, bottom, side, picture(result[part], result["shape"]))
                if row == 0:
                    axes.set_title(part, fontsize=7, pad=2)
            factor = result["amplification"]
            shown = "½" if factor == 0.5 else f"{factor:g}"
            axes.set_xlabel(f"× {shown}", fontsize=6, labelpad=0.8)
            place: dict[str, Any] = {"ha": "left", "va": "top", "transform": figure.transFigure}
            figure.text(left / width, (bottom + side) / height, _title(result), fontsize=8, weight="bold", **place)
            figure.text(
                left / width, (bottom + side - 0.15) / height, _numbers(result["test"]), fontsize=6.5, linespacing=1.25,
                **place
            )  # fmt: skip
    return figure


def montage(results: Sequence[Result]) -> "Figure":
    """Samples of the poisoned training sets: two attacks in a row from seven on, below every image its true label and
    the one it was given.

    Raises
    ------
    PaperlibError
        No result.
    """
    import matplotlib.pyplot as plt

    _needed(results)
    columns = 1 if len(results) < 7 else 2
    across = min(SHOWN[columns], max(len(result["samples"]["images"]) for result in results))
    rows = -(-len(results) // columns)
    text, gap = 0.72, 0.06
    block = style.PAGE / columns
    side = (block - text) / across - gap
    step = side + 0.3
    with style.context():
        width, height = style.PAGE, rows * step
        figure = plt.figure(figsize=(width, height))
        figure.set_layout_engine("none")  # leaves a mark; without one, saving would lay the figure out again
        for number, result in enumerate(results):
            column, row = divmod(number, rows)
            left, bottom = column * block, height - row * step - side
            samples, names = result["samples"], result["classes"]
            figure.text(
                left / width, (bottom + side / 2) / height, _title(result).replace("-", "-\n"), fontsize=8,
                weight="bold", va="center",
            )  # fmt: skip
            for k, packed in enumerate(samples["images"][:across]):
                axes = _show(figure, left + text + k * (side + gap), bottom, side, picture(packed, result["shape"]))
                true, given = samples["true"][k], samples["given"][k]
                below = "label kept" if true == given else f"→ {names[given]}"
                axes.set_xlabel(f"{names[true]}\n{below}", fontsize=6, labelpad=1.5, linespacing=1.1)
    return figure


def quality_frame(results: Sequence[Result]) -> pd.DataFrame:
    """Tidy measures: attack, split (test or train), metric, value (mean), n; PSNR is missing where no image changed."""
    rows = [
        {"attack": result["attack"], "split": split, "metric": metric, "value": result[split][metric],
        "n": result[split]["n"]}
        for result in results
        for split in ("test", "train")
        for metric in MEASURES
    ]  # fmt: skip
    return pd.DataFrame(rows).astype({"value": float})


def describe(results: Sequence[Result]) -> str:
    """Alt text of :func:`gallery`."""
    parts = [f"{_title(r)}: {_numbers(r['test'])}".replace("\n", ", ").replace("$L_\\infty$", "L inf") for r in results]
    return (
        f"For each of {len(results)} attacks one test image, the same with the trigger, and their difference around"
        f" grey, amplified. {'; '.join(parts)}."
    )


def describe_samples(results: Sequence[Result]) -> str:
    """Alt text of :func:`montage`."""
    parts = []
    for result in results:
        samples = result["samples"]
        shown = list(zip(samples["true"], samples["given"], strict=True))[: SHOWN[1 if len(results) < 7 else 2]]
        parts.append(f"{_title(result)} {sum(a != b for a, b in shown)} of {len(shown)}")
    return f"Rows of poisoned training images, one row per attack. Labels that were changed: {'; '.join(parts)}."
