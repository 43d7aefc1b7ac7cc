"""Sentences under tables and figures: what their numbers say, made from them whenever they are drawn."""

from typing import Any

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
    low: Any = values.idxmin()
    high: Any = values.idxmax()
    texts = [
        f"{values[name]:.1f}{joint}{name}" if joint.strip() else f"{values[name]:.1f} ({name})" for name in (low, high)
    ]
    return " to ".join(texts)


def _cost(points: float) -> str:
    """What a defense does to accuracy, from the points that it takes away."""
    return f"{'costs' if points >= 0 else 'gains'} {abs(points):.1f} points of C-Acc"


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
        f"{title[own]} leaves an ASR of {mine.ASR:.1f} (undefended {mine['ASR before']:.1f}) and"
        f" {_cost(mine['ACC before'] - mine.ACC)}."
    )
    others = rates.drop(own).sort_values()
    if others.empty:
        return text
    text += f" Of the others {', '.join(f'{title[name]} leaves {value:.1f}' for name, value in others.items())}."
    if len(wanted) == 1:
        return text
    least = whole.loc[whole.groupby(CASE, sort=False).ASR.idxmin()]
    return f"{text} In {(least.defense == own).sum()} of {len(wanted)} rows {title[own]} has the lowest ASR."


def _name(defense: object) -> str:
    return "undefended" if defense == "none" else style.title("defense", str(defense))


def beside_print(frame: pd.DataFrame, far: int = 5) -> str:
    """How many cells of learned attacks lie within ten points of the printed ASR, and which ``far`` are farthest.

    Parameters
    ----------
    frame
        As :func:`paperlib.report.compare.compare` returns it.
    far
        How many are named.
    """
    asr = frame[(frame.metric == "ASR") & frame.ours.notna() & ~frame.attack.map(compare.is_average)]
    before = asr[asr.defense == "none"].set_index("attack").ours
    learned = before[before >= LEARNED].index
    both = asr[asr.attack.isin(learned) & asr.published.notna()].assign(
        apart=lambda f: (f.ours - f.published).astype(float).abs()
    )
    if both.empty:
        return ""
    cells = [
        f"{_name(row.defense)} under {style.title('attack', str(row.attack))} {row.ours:.1f} ({row.published:.1f})"
        for row in both[both.apart > 10].nlargest(far, "apart").itertuples()
    ]
    text = f"Of {len(both)} cells with a printed ASR {(both.apart <= 10).sum()} are within ten points of it."
    return f"{text} Farthest from print, ours (printed): {'; '.join(cells)}." if cells else text


def _own_beside_print(frame: pd.DataFrame, own: str) -> str:
    """C-Acc and ASR of the undefended models and of the own defense, ours and as printed, attack by attack."""
    cells = frame[frame.defense.isin(("none", own)) & frame.ours.notna() & frame.published.notna()]
    cells = cells[cells.metric.isin(("ACC", "ASR")) & ~cells.attack.map(compare.is_average).astype(bool)].astype(
        {"ours": float, "published": float}
    )
    wide: Any = cells.pivot_table(["ours", "published"], ["attack", "defense"], "metric", sort=False)
    texts = [
        f"{style.title('attack', attack)} {_name(defense)} {row['ours', 'ACC']:.1f} / {row['ours', 'ASR']:.1f}"
        f" ({row['published', 'ACC']:.1f} / {row['published', 'ASR']:.1f})"
        for (attack, defense), row in wide.dropna().iterrows()
    ]
    return f"C-Acc / ASR, ours (printed): {'; '.join(texts)}." if texts else ""


def _printed(frame: pd.DataFrame, own: str) -> str:
    """What the printed averages say, where nothing of a table is ours."""
    mean = frame[frame.attack.map(compare.is_average) & frame.metric.isin(("ACC", "ASR"))].astype({"published": float})
    wide = mean.pivot_table("published", "defense", "metric", sort=False)
    if (
        not {"none", own} <= set(wide.index)
        or not {"ACC", "ASR"} <= set(wide)
        or wide.loc[["none", own]].isna().any(axis=None)
    ):
        return ""
    others = wide.ASR.drop(["none", own]).dropna().sort_values().rename(_name)
    return (
        f"In print {_name(own)} brings the average ASR from {wide.ASR['none']:.1f} to {wide.ASR[own]:.1f}"
        f"{f' ({listed(others)})' if len(others) else ''} and {_cost(wide.ACC['none'] - wide.ACC[own])}."
    )


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
    if not frame.empty and frame.ours.isna().all():
        return _printed(frame, own)
    own = own if own in names else names[0] if len(names) == 1 else ""
    if not own:
        return ""
    mine = found[found.defense == own]
    victims = mine.drop_duplicates(CASE)
    of = f"Means over {names_of(dict.fromkeys(victims.attack))}" if len(victims) > 1 else names_of(victims.attack)
    if mine.setting.nunique() > 1:
        usable = mine[mine.groupby("setting").setting.transform("size") == len(victims)]
        return f"{of}: {_settings(usable, own)}" if len(usable) else ""
    text = f"{of}: {_defenses(found[found.setting == mine.setting.iloc[0]], own)}"
    if set(frame.scale) == {"paper"}:  # where a difference from print counts
        text = " ".join(part for part in (text, _own_beside_print(frame, own), beside_print(frame)) if part)
    return text


def reactivation(frame: pd.DataFrame) -> str:
    """What an optimised perturbation reaches together with the trigger, beside a model that was never attacked.

    Parameters
    ----------
    frame
        As :func:`paperlib.report.reactivation.frame` returns it.
    """
    rates: Any = frame.pivot(index=["attack", "model"], columns="image", values="asr")
    texts = []
    for attack, part in rates.groupby(level="attack", sort=False):
        one = part.droplevel("attack")
        if one.loc["none", "trigger"] < LEARNED:
            texts.append(f"{style.title('attack', str(attack))} was not learned")
            continue
        both = one["trigger + perturbation"].drop(["none", "clean"]).rename(lambda name: f"after {_name(name)}")
        never = one.loc["clean", "perturbation"]
        texts.append(f"{style.title('attack', str(attack))}: {listed(both, 0)}, never attacked {never:.0f}")
    return (
        "ASR with trigger and perturbation; of the model that was never attacked with the perturbation alone."
        f" {'; '.join(texts)}."
    )
