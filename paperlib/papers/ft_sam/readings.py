"""Sentences below figures of the FT-SAM paper, each made from the numbers that were drawn."""

from collections.abc import Callable

import pandas as pd

from paperlib.report import style


def _changes(norms: pd.DataFrame) -> list[str]:
    """By how much each later model's mean norm differs from that of the backdoored one."""
    mean = norms.groupby("model", sort=False).norm.mean()
    return [
        f"{style.title('defense', str(name))} {100 * (mean[name] / mean['none'] - 1):+.1f} %" for name in mean.index[1:]
    ]


def norms(frame: pd.DataFrame) -> str:
    """How the mean norm of the neurons changes under each attack."""
    found = frame[frame.panel == "norms"]
    texts = [
        f"{style.title('attack', str(name))}: {', '.join(_changes(part))}"
        for name, part in found.groupby("attack", sort=False)
    ]
    return f"Change of the mean norm of the neurons. {'; '.join(texts)}."


def fig2(frame: pd.DataFrame) -> str:
    """How many neurons shrink under each defense."""
    change = frame[frame.panel == "change of norm"].groupby("model", sort=False).change
    texts = [f"{style.title('defense', str(name))} {100 * (one < 0).mean():.0f} %" for name, one in change]
    return f"Share of the neurons whose norm shrinks. {', '.join(texts)}."


def fig3(frame: pd.DataFrame) -> str:
    """ASR and C-Acc at both ends of the sweep."""
    texts = []
    for name, part in frame.groupby("attack", sort=False):
        wide = part.pivot(index="rho", columns="metric", values="value")
        first, last = wide.iloc[0], wide.iloc[-1]
        texts.append(
            f"{style.title('attack', str(name))}: from ρ = {wide.index[0]:g} to {wide.index[-1]:g} the ASR goes from"
            f" {first.ASR:.1f} to {last.ASR:.1f}, the C-Acc from {first['C-Acc']:.1f} to {last['C-Acc']:.1f}"
        )
    return f"{'; '.join(texts)}."


READINGS: dict[str, Callable[[pd.DataFrame], str]] = {"fig1": norms, "fig2": fig2, "fig3": fig3, "fig5": norms}
"""Item -> from the frame that it was drawn from to what it says."""
