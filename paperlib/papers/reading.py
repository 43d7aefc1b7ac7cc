"""Sentences under tables and figures: what their numbers say, made from them whenever they are drawn."""

import pandas as pd

from paperlib.papers.defense_table import LEARNED, names_of
from paperlib.report import compare, style

CASE = ["dataset", "model", "ratio", "attack"]
"""What a victim is told by."""


def listed(values: pd.Series, digits: int = 1) -> str:
    """Names and numbers: "ANP 1.3, ABL 11.4"."""
    return ", ".join(f"{name} {value:.{digits}f}" for name, value in values.items())


def span(values: pd.Series, joint: str = " ") -> str:
    """The smallest and the largest of ``values`` with their names: "1.5 (BadNets) to 96.1 (Blended)".

    Parameters
    ----------
    values
        Numbers by name, none missing.
    joint
        What stands between a number and its name instead of the brackets, where it is a word.
    """
    low, high = values.idxmin(), values.idxmax()
    texts = [
        f"{values[name]:.1f}{joint}{name}" if joint.strip() else f"{values[name]:.1f} ({name})" for name in (low, high)
    ]
    return " to ".join(texts)


def _cells(frame: pd.DataFrame) -> pd.DataFrame:
    """ACC and ASR of ours, and the undefended ASR and ACC, of every cell of a learned backdoor."""
    mine = frame[frame.ours.notna() & ~frame.attack.map(compare.is_average) & frame.metric.isin(("ACC", "ASR"))]
    wide = mine.pivot_table("ours", [*CASE, "defense", "setting"], "metric", sort=False).reset_index()
    if not {"ACC", "ASR"} <= set(wide):
        return wide.iloc[:0]
    before = wide[wide.defense == "none"].drop_duplicates(CASE)[[*CASE, "ACC", "ASR"]]
    after = wide[wide.defense != "none"].merge(before, on=CASE, suffixes=("", " before"))
    return after[after["ASR before"] >= LEARNED].dropna()


def _settings(found: pd.DataFrame, own: str) -> str:
    """One defense under several settings."""
    each = found.groupby("setting", sort=False)[["ACC", "ASR"]].mean()
    texts = [
        f"{str(name).replace('=', ' ').replace(';', ', ').replace('_', ' ')} {row.ACC:.1f} / {row.ASR:.1f}"
        for name, row in each.iterrows()
    ]
    return f"{style.title('defense', own)} (C-Acc / ASR): {'; '.join(texts)}."


def _defenses(found: pd.DataFrame, own: str) -> str:
    """The own defense among others, each over the same victims."""
    wanted = found[found.defense == own][CASE]
    whole = found.groupby("defense", sort=False).filter(lambda one: len(one.merge(wanted, on=CASE)) == len(wanted))
    whole = whole.merge(wanted, on=CASE)
    rates = whole.groupby("defense", sort=False).ASR.mean()
    title = {name: style.title("defense", str(name)) for name in rates.index}
    mine = found[found.defense == own][["ACC", "ASR", "ACC before", "ASR before"]].astype(float).mean()
    text = (
        f"{title[own]} leaves an ASR of {mine.ASR:.1f} (undefended {mine['ASR before']:.1f}) and costs"
        f" {mine['ACC before'] - mine.ACC:.1f} points of C-Acc."
    )
    others = rates.drop(own).sort_values()
    if others.empty:
        return text
    text += f" Of the others {', '.join(f'{title[name]} leaves {value:.1f}' for name, value in others.items())}."
    if len(wanted) == 1:
        return text
    least = whole.loc[whole.groupby(CASE, sort=False).ASR.idxmin()]
    return f"{text} In {(least.defense == own).sum()} of {len(wanted)} rows {title[own]} has the lowest ASR."


def reading(frame: pd.DataFrame, own: str) -> str:
    """What a table of attacks x defenses x settings says about its own defense, in two or three sentences.

    Parameters
    ----------
    frame
        As :func:`paperlib.report.compare.compare` returns it.
    own
        Name of the paper's defense; empty: the only one there is.
    """
    found = _cells(frame)
    names = list(dict.fromkeys(found.defense))
    own = own if own in names else names[0] if len(names) == 1 else ""
    if not own:
        return ""
    mine = found[found.defense == own]
    victims = mine.drop_duplicates(CASE)
    of = f"Means over {names_of(dict.fromkeys(victims.attack))}" if len(victims) > 1 else names_of(victims.attack)
    if mine.setting.nunique() > 1:
        usable = mine[mine.groupby("setting").setting.transform("size") == len(victims)]
        return f"{of}: {_settings(usable, own)}" if len(usable) else ""
    return f"{of}: {_defenses(found[found.setting == mine.setting.iloc[0]], own)}"
