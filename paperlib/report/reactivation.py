"""The re-activation caveat as one figure: drawn from results of the tool ``reactivation``.

Every notebook on a defense ends with it. The models of a result have names: ``none`` (the backdoored model), names of
defenses, and ``clean`` (a model trained without any attack).
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from paperlib.errors import PaperlibError
from paperlib.report import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Found = Mapping[str, Mapping[str, Any]]
"""Attack -> result of the tool."""

BARS = (
    ("clean", 0, "clean image"),
    ("triggered", 0, "trigger"),
    ("clean", 1, "perturbation"),
    ("triggered", 1, "trigger + perturbation"),
)
"""(base, without or with the perturbation, what the image carries), in the order of drawing."""
COLOURS = ("#8a8a8a", "#d55e00", "#3a97cf", "#0173b2")
HATCHES = ("", "//", "..", "xx")


def _title(model: str) -> str:
    return {"none": "backdoored", "clean": "never attacked"}.get(model) or style.title("defense", model)


def frame(found: Found, models: Sequence[str]) -> pd.DataFrame:
    """Tidy ASR in percent: attack, model, image, asr.

    Parameters
    ----------
    found
        Attack -> result.
    models
        Names of the models of every result, in its order.

    Raises
    ------
    PaperlibError
        No result, or another number of models than names.
    """
    if not found:
        raise PaperlibError("found is empty; give at least one result of the tool reactivation.")
    rows = []
    for attack, result in found.items():
        if len(result["clean"]) != len(models):
            raise PaperlibError(
                f"models names {len(models)} models, the result of {attack} has {len(result['clean'])}."
            )
        for k, model in enumerate(models):
            for base, after, image in BARS:
                rows.append({"attack": attack, "model": model, "image": image, "asr": result[base][k][after]})
    return pd.DataFrame(rows)


def draw(numbers: pd.DataFrame) -> "Figure":
    """Bars of the ASR, one panel per attack, one group per model; ``numbers`` from :func:`frame`."""
    attacks, models = list(dict.fromkeys(numbers.attack)), list(dict.fromkeys(numbers.model))
    with style.subplots(
        len(attacks), 1, figsize=(style.PAGE, 0.5 + 1.6 * len(attacks)), sharey=True, sharex=True, squeeze=False
    ) as (figure, panels):
        for axes, attack in zip(panels.flat, attacks, strict=True):
            for k, (_, _, image) in enumerate(BARS):
                part = numbers[(numbers.attack == attack) & (numbers.image == image)]
                at = [models.index(model) + 0.2 * (k - 1.5) for model in part.model]
                drawn = axes.bar(at, part.asr, 0.2, color=COLOURS[k], hatch=HATCHES[k], edgecolor="white", label=image)
                axes.bar_label(drawn, fmt="%.0f", fontsize=6, padding=1)
            axes.set(ylim=(0, 112), yticks=(0, 50, 100), ylabel="ASR (%)", title=style.title("attack", attack))
            axes.set_xticks(range(len(models)), [_title(model) for model in models])
            axes.grid(axis="x", visible=False)
        figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def describe(numbers: pd.DataFrame) -> str:
    """Alt text of :func:`draw`."""
    parts = []
    for attack, mine in numbers.groupby("attack", sort=False):
        table = mine.pivot(index="model", columns="image", values="asr").loc[list(dict.fromkeys(mine.model))]
        texts = [
            f"{_title(str(model))} {row['trigger']:.0f} with the trigger, {row['perturbation']:.0f} with the"
            f" perturbation, {row['trigger + perturbation']:.0f} with both"
            for model, row in table.iterrows()
        ]
        parts.append(f"{style.title('attack', attack)}: {'; '.join(texts)}")
    return f"Attack success rate in percent. {'. '.join(parts)}."
