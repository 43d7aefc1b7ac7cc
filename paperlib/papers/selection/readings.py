"""Sentences below tables of the LPS paper, each made from the numbers that were drawn."""

from collections.abc import Callable

import pandas as pd

from paperlib.papers.defense_table import LEARNED
from paperlib.papers.reading import listed
from paperlib.papers.selection.digits import paired
from paperlib.report import style
from paperlib.report.claims import ERRORS, PAIRS, NotRun


def _title(name: object) -> str:
    return style.title("selection", str(name))


def digits(frame: pd.DataFrame) -> str:
    """Whether the last strategy is ahead of the others, in pairs."""
    best, texts = str(frame.strategy.iloc[-1]), []
    for name in dict.fromkeys(frame.strategy):
        try:
            found = paired(frame, best, str(name)) if name != best else None
        except NotRun:
            found = None
        if found and found.n > 1:
            word = "ahead of" if found.mean > 0 else "behind"
            decided = "" if found.decided else ", which decides nothing"
            texts.append(f"{abs(found.mean):.1f} ± {found.error:.1f} points {word} {_title(name)}{decided}")
    if not texts:
        return ""
    count = frame[frame.strategy == best].seed.nunique()
    return (
        f"Over {count} seeds {_title(best)} is {'; '.join(texts)} (mean ± standard error of the paired difference; at"
        f" least {PAIRS} pairs and more than {ERRORS:g} standard errors decide)."
    )


def _means(frame: pd.DataFrame) -> str:
    mean = frame.groupby("strategy", sort=False).asr.agg(["mean", "size"])
    return ", ".join(
        f"{_title(name)} {row['mean']:.1f} ({int(row['size'])} seed{'s' if row['size'] > 1 else ''})"
        for name, row in mean.iterrows()
    )


def budgets(frame: pd.DataFrame) -> str:
    """Mean ASR of each strategy at each budget."""
    texts = [
        f"{style.title('attack', str(attack))}, {count} images per class: {_means(part)}"
        for (attack, count), part in frame.groupby(["attack", "per_class"], sort=False)
    ]
    return f"Mean ASR. {'; '.join(texts)}."


def defenses(frame: pd.DataFrame) -> str:
    """What each defense leaves of each strategy's backdoor."""
    texts = []
    defended = frame[frame.seed.isin(frame.seed[frame.defense != "none"])]
    for name, part in defended.groupby("strategy", sort=False):
        mean = part.groupby("defense", sort=False).asr.mean()
        if "none" not in mean:
            continue
        if mean["none"] < LEARNED:
            texts.append(f"{_title(name)} was not learned (ASR {mean['none']:.1f})")
        else:
            after = mean.drop("none").rename(lambda one: style.title("defense", str(one)))
            texts.append(f"{_title(name)} begins at an ASR of {mean['none']:.1f}; after {listed(after)}")
    return f"{'. '.join(texts)}." if texts else ""


def passes(frame: pd.DataFrame) -> str:
    """ASR and the last loss of the poisoned images, by how the steps were spent."""
    texts = []
    for (images, epochs, count), part in frame.groupby(["n_train", "epochs", "per_class"], sort=False):
        mean = part.groupby("strategy", sort=False)[["asr", "learned"]].mean()
        said = ", ".join(f"{_title(name)} {row.asr:.1f} ({row.learned:.2f})" for name, row in mean.iterrows())
        texts.append(f"{images:,} images {epochs} times, {count} per class: {said}")
    return f"Mean ASR and, in brackets, the loss at which the victim leaves the poisoned images. {'; '.join(texts)}."


def analysis(frame: pd.DataFrame) -> str:
    """Whether what the victim fits decides the ASR."""
    from scipy.stats import spearmanr

    both = frame[["asr", "learned"]].dropna()
    if len(both) < 3:
        return ""
    rank = float(spearmanr(both.learned, both.asr).statistic)
    swing = frame.groupby(["per_class", "strategy"]).asr.std().max()
    of = "the ASR and the victim's last loss on the poisoned images"
    text = f"Rank correlation of {of}: {rank:.2f}, {len(both)} victims"
    spread = (
        "" if pd.isna(swing) else f"; from seed to seed the ASR moves by up to {swing:.0f} points (standard deviation)"
    )
    weights = [(c, a) for c, a in zip(frame.clean_chosen.dropna(), frame.clean_all.dropna(), strict=False)]
    surer = sum(chosen < every for chosen, every in weights)
    found = (
        f" Without the trigger the surrogate is surer of the images that LPS chose than of all in {surer} of"
        f" {len(weights)} searches."
        if weights
        else ""
    )
    return f"{text}{spread}.{found}"


READINGS: dict[str, Callable[[pd.DataFrame], str]] = {
    "digits": digits,
    **dict.fromkeys(("table_cifar10", "table_cifar100", "table_tiny"), budgets),
    "table_defenses": defenses,
    "passes": passes,
    "analysis": analysis,
}
"""Item -> from the frame that it was drawn from to what it says."""
