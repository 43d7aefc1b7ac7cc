"""Sentences below items of the SAU paper, each made from the numbers that were drawn."""

from collections.abc import Callable

import pandas as pd

from paperlib.papers.reading import listed
from paperlib.report import style

KINDS = {"clean": "clean image itself", "shared": "shared examples", "other": "other examples"}
MEASURES = {"backdoor": "R_bd", "sub": "R_sub", "adversarial": "R_adv", "shared": "R_share", "c_acc": "C-Acc"}


def table1(frame: pd.DataFrame) -> str:
    """How many shared examples SAU's own search finds in each model, and how many of any type."""
    own = frame[frame["Examples by"] == "SAU's inner problem"]
    texts = []
    for attack, part in own.groupby("Attack", sort=False):
        each = [
            f"{row.Model} {row['Type I']:.0f} of {row[['Type I', 'Type II', 'Type III']].sum():.0f}"
            for _, row in part.iterrows()
        ]
        texts.append(f"{attack}: {', '.join(each)}")
    return f"Shared examples (type I) among all that SAU's inner problem finds. {'; '.join(texts)}."


def fig4(frame: pd.DataFrame) -> str:
    """Whether shared examples lie nearer to the poisoned image than the others."""
    mean = frame.groupby("kind", sort=False).distance.mean().rename(KINDS)
    return f"Mean distance to the poisoned image: {listed(mean)}."


def curves(frame: pd.DataFrame) -> str:
    """Every risk at the first and at the last epoch."""
    texts = []
    for name, part in frame.groupby("measure", sort=False):
        values = part.sort_values("epoch").value
        digits = 0 if name == "c_acc" else 2  # percent, or a fraction
        ends = " to ".join(f"{values.iloc[k]:.{digits}f}" for k in (0, -1))
        texts.append(f"{MEASURES.get(str(name), str(name))} {ends}")
    return f"From the first epoch to the last: {', '.join(texts)}."


def fig2(frame: pd.DataFrame) -> str:
    """Shares of shared and of all examples, first and last."""
    own = frame[frame.inner == "shared"]
    wide = own[own.kind.str.startswith("type")].pivot_table("share", "epoch", "kind", sort=False)
    first, last = wide.iloc[0], wide.iloc[-1]
    return (
        f"From epoch {wide.index[0]} to {wide.index[-1]} the share of images with a shared example (type I) goes from"
        f" {100 * first['type I']:.0f} to {100 * last['type I']:.0f} %, that of images with any from"
        f" {100 * first.sum():.0f} to {100 * last.sum():.0f} %."
    )


def table7(frame: pd.DataFrame) -> str:
    """SAU's place among the defenses that were timed."""
    seconds = frame.set_index("Defense")["Whole run (s)"].dropna()
    name = style.title("defense", "sau")
    if name not in seconds or len(seconds) < 2:
        return ""
    faster = (seconds.drop(name) < seconds[name]).sum()
    return f"{name} takes {seconds[name]:.0f} s here; {faster} of {len(seconds) - 1} other defenses take less."


READINGS: dict[str, Callable[[pd.DataFrame], str]] = {
    "table1": table1,
    "fig1": curves,
    "fig2": fig2,
    "fig4": fig4,
    "fig5": curves,
    "table7": table7,
}
"""Item -> from the frame that it was drawn from to what it says."""
