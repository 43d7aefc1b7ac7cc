"""What the VDC paper has: its tables and figures, ours beside them, what is not drawn and why, and the sentences under
each."""

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any

import pandas as pd

from paperlib.experiments.scales import Scale
from paperlib.lab.spec import Spec
from paperlib.papers import Item, Results
from paperlib.papers.vdc import figures, settings, tables
from paperlib.papers.vdc.runs import (
    ATTACKS,
    NOISES,
    RETRAINED,
    TITLES,
    Asked,
    by_ratio,
    compared,
    detections,
    engines,
    fair,
    of,
    of_photos,
    retrainings,
    slipped,
)
from paperlib.report import style
from paperlib.report.artefact import Artefact


def _groups(names: str, *baselines_on: str) -> Callable[[Scale, int], list[Spec]]:
    """The sets of these groups, and the baselines on these kinds of dirt with VDC on exactly their data."""

    def specs(scale: Scale, seed: int) -> list[Spec]:
        judged = [spec for dirt, _, spec in detections(scale, seed) if dirt in baselines_on]
        return [*of(names, scale, seed), *judged, *compared(scale, seed, baselines_on)]

    return specs


def _photos(id_: str) -> Callable[[Scale, int], list[Spec]]:
    """The runs of a table on photographs."""
    return lambda scale, seed: [spec for *_, spec in of_photos(scale, id_, seed)]


def _nothing(scale: Scale, seed: int) -> list[Spec]:
    return []


def _slipped_specs(scale: Scale, seed: int) -> list[Spec]:
    return [*slipped(scale, seed).values(), *_groups("none", RETRAINED)(scale, seed)]


ITEMS: dict[str, Item] = {
    "fig2": Item(_groups("poisoned,noisy"), figures.fig2),
    "fig3": Item(_groups("poisoned"), figures.fig3),
    "table1": Item(_groups("poisoned", *ATTACKS), tables.table1),
    "table2": Item(
        _photos("table2"),
        tables.photo_table("table2", "Table 2. Poisoned-sample detection on ImageNet-100, 9.9 % poisoned."),
    ),
    "table_imagenet_dog": Item(
        _photos("table_imagenet_dog"),
        tables.photo_table(
            "table_imagenet_dog", "Table 13 (number inferred). Poisoned-sample detection on ImageNet-Dog, 9 % poisoned."
        ),
    ),
    "table_noisy_labels": Item(
        lambda scale, seed: [*_groups("noisy", *NOISES)(scale, seed), *_photos("table_noisy_labels")(scale, seed)],
        tables.table_noisy_labels,
    ),
    "table_hybrid": Item(_groups("hybrid,poisoned,noisy"), tables.table_hybrid),
    "table_retraining": Item(lambda scale, seed: [*retrainings(scale, seed).values()], tables.table_retraining),
    "table_models": Item(lambda scale, seed: [spec for _, spec in engines(scale, seed)], tables.table_models),
    "table_time": Item(_groups("", *ATTACKS, *NOISES), tables.table_time),
    "table_attack_settings": Item(_nothing, settings.table_attack_settings),
    "table_training_settings": Item(_nothing, settings.table_training_settings),
    "table10": Item(_nothing, settings.table10),
    "table11": Item(_nothing, settings.table11),
    "table12": Item(_nothing, settings.table12),
    "table_low_ratios": Item(_groups("few,poisoned"), tables.table_low_ratios),
}
OURS: dict[str, Item] = {
    "every_column": Asked(tables.every_column).item(),
    "roc": Item(_groups("poisoned,noisy"), figures.roc),
    "threshold": Item(_groups("poisoned,noisy"), figures.threshold),
    "ties": Item(_groups("poisoned,noisy"), tables.ties),
    "questions": Item(_groups("noisy"), settings.questions),
    "gallery": Item(_groups("poisoned,noisy,by people"), figures.gallery),
    "slipped": Item(_slipped_specs, figures.slipped),
    "table_same_features": Item(
        lambda scale, seed: [spec for *_, spec in fair(scale, seed)], tables.table_same_features
    ),
    "table_own_terms": Item(_groups("noisy", *NOISES), tables.table_own_terms),
    "by_ratio": Item(lambda scale, seed: [spec for *_, spec in by_ratio(scale, seed)], tables.by_ratio),
    "clean_label": Item(_groups("clean label"), tables.clean_label),
}


# --------------------------------------------- one or two sentences under every item, with the numbers of its own frame

UNPUBLISHED = "What the paper prints here is not published to us."


def _numbers(column: pd.Series) -> pd.Series:
    return pd.to_numeric(column.replace("–", None), errors="coerce").dropna()


def _span(column: pd.Series, digits: int = 1) -> str:
    found = _numbers(column)
    low, high = f"{found.min():.{digits}f}", f"{found.max():.{digits}f}"
    return f"{low} %" if low == high else f"{low} to {high} %"


def _beside(frame: pd.DataFrame) -> str:
    """Printed cells, how many of them have ours, and the rates of VDC."""
    printed = frame[frame.published.notna()]
    ours = printed[printed.ours.notna()]
    said = f"Of {len(printed)} printed values {len(ours)} have ours beside them"
    mine = frame[(frame.defense == "vdc") & frame.ours.notna()]
    if mine.empty:
        best = printed[printed.defense == "vdc"]
        rates = ", ".join(f"{m} {_span(best[best.metric == m].published)}" for m in ("TPR", "FPR"))
        return f"{said}: the data set is not ours. In print VDC reaches {rates}."
    parts = []
    for metric in ("TPR", "FPR"):
        rows = mine[(mine.metric == metric) & (mine.attack != "average")]
        theirs = rows.published.dropna()
        parts.append(f"{metric} {_span(rows.ours)} ({_span(theirs)} in print)")
    text = f"{said}. VDC: {', '.join(parts)}, with another model than the paper's."
    others = frame[(~frame.defense.isin(["vdc", "vdc, same data"])) & (frame.metric == "FPR") & (frame.ours >= 80)]
    if len(others):
        names = ", ".join(sorted({style.title("detector", name) for name in others.defense}))
        text += (
            f" {names} collapsed: it flags at least {others.ours.min():.0f} % of the clean images, and counts in no"
            " verdict."
        )
    return text


def _same_features(f: pd.DataFrame) -> str:
    parts = []
    for noise, group in f[f.failed != "collapsed"].groupby("noise", sort=False):
        best = group.iloc[group.auroc.argmax()]
        auroc = dict(zip(group.method, group.auroc, strict=True))
        ours = [f"{said} {auroc[m]:.1f}" for m, said in (("vdc", "VDC"), ("given", "no reference")) if m in auroc]
        parts.append(f"{noise}: {TITLES[best.method].split(',')[0]} {best.auroc:.1f} ({', '.join(ours)})")
    gone = [
        f" {TITLES[str(m)].split(',')[0]} {why} at {', '.join(rows.noise)}."
        for (m, why), rows in f[f.failed != ""].groupby(["method", "failed"])
    ]
    return f"Best AUROC by noise: {'; '.join(parts)}.{''.join(gone)}"


def _hybrid(f: pd.DataFrame) -> str:
    lost = (_numbers(f["poisoned alone"]) - _numbers(f["TPR of the poisoned"])).max()
    also = (_numbers(f["wrongly labelled alone"]) - _numbers(f["TPR of the wrongly labelled"])).max()
    return (
        f"TPR {_span(f.TPR)} at FPR {_span(f.FPR)}; against each kind alone at most {max(lost, 0):.1f} points of TPR"
        f" are lost on poison and {max(also, 0):.1f} on wrong labels. {UNPUBLISHED}"
    )


def _retraining(f: pd.DataFrame) -> str:
    parts = []
    for dirt, group in f.groupby("Dirt", sort=False):
        rows = group.set_index("Trained on")
        text = ", ".join(
            f"{name}: C-Acc {row['C-Acc']:.1f}" + (f", ASR {row.ASR:.1f}" if pd.notna(row.ASR) else "")
            for name, row in rows.iterrows()
        )
        parts.append(f"{dirt} ({text})")
    return f"{'; '.join(parts)}. {UNPUBLISHED}"


def _models(f: pd.DataFrame) -> str:
    run = f[f.Dirt != "not run"]
    parts = [
        f"{str(row['Reference images']).replace('none', 'no')} references on {row.Dirt}: AUROC"
        f" {row['AUROC, mean logit']}, FPR {row['FPR at vote < 0.5']} at the vote"
        for _, row in run.iterrows()
    ]
    count = pd.to_numeric(run["Reference images"], errors="coerce")
    most, fewest = (run[count == c][["AUROC, mean logit", "FPR at vote < 0.5"]].apply(_numbers).mean()
    for c in (count.max(), count.min()))  # fmt: skip
    change = fewest - most
    text = f"{'; '.join(parts)}."
    if count.nunique() < 2:
        return text
    return (
        f"{text} From {count.max():.0f} to {count.min():.0f} references AUROC changes by {change.iloc[0]:+.1f} and FPR"
        f" by {change.iloc[1]:+.1f} points."
    )


def _time(f: pd.DataFrame) -> str:
    first, slow = f.iloc[0], f.iloc[1:].sort_values("Seconds")
    rest = (
        f"; of the {len(slow)} baselines {slow.iloc[-1].Method} takes longest, {slow.iloc[-1].Seconds} s"
        if len(slow)
        else ""
    )
    return (
        f"VDC takes {first.Seconds} s, {first['Images per CPU second']} images per CPU second, on {first.On}{rest}."
        f" {UNPUBLISHED}"
    )


def _few(f: pd.DataFrame) -> str:
    mostly = ": what is flagged is mostly clean where little is poisoned" if _numbers(f.Precision).max() < 50 else ""
    rates = f"TPR is {_span(f.TPR)} at FPR {_span(f.FPR)}, and precision {_span(f.Precision)}"
    return f"At a tenth of the poison {rates}{mostly}."


def _by_ratio(f: pd.DataFrame) -> str:
    parts = []
    for column in [name for name in f if str(name).startswith("AUROC") and len(_numbers(f[name]))]:
        ranked = _numbers(f[column]).sort_values()
        parts.append(f"{column}: {f.Method[ranked.index[-1]]} {ranked.iloc[-1]:.1f}, lowest {ranked.iloc[0]:.1f}")
    return f"{'; '.join(parts)} (of {len(f)} methods)."


def _every(f: pd.DataFrame) -> str:
    seen = f[~f.Kind.isin(["clean label", "few"])]
    return (
        f"Over {len(seen)} sets at ordinary ratios precision runs {_span(seen.Precision)}, at FPR {_span(seen.FPR)};"
        " the mean logit ranks better than the vote by"
        f" {(_numbers(seen['AUROC, mean logit']) - _numbers(seen['AUROC, vote'])).mean():.1f} points of AUROC on"
        " average."
    )


def _ties(f: pd.DataFrame) -> str:
    gain = (_numbers(f["TPR, a tie is dirty"]) - _numbers(f["TPR, a tie is clean"])).mean()
    cost = (_numbers(f["FPR, a tie is dirty"]) - _numbers(f["FPR, a tie is clean"])).mean()
    return (
        f"Calling ties dirty gains {gain:.1f} points of TPR and costs {cost:.1f} of FPR on average; the authors' rule"
        " has the gain without the cost."
    )


def _questions(f: pd.DataFrame) -> str:
    ranked = f.dropna(subset=["gap"]).sort_values("gap")
    best, worst = ranked.iloc[-1], ranked.iloc[0]
    return (
        f"Best: {best.question!r} ({best.label}), {best.gap:.1f} points between clean and dirty; worst:"
        f" {worst.question!r} ({worst.label}), {worst.gap:.1f} points."
    )


def _fig2(f: pd.DataFrame) -> str:
    mean = f.groupby(["general", "specific"])[["tpr", "fpr", "auroc_logit_mean"]].mean().to_dict("index")
    g, s = f.general.max(), f.specific.max()
    parts = [f"{what}: TPR {mean[k]['tpr']:.1f}, FPR {mean[k]['fpr']:.1f}, AUROC {mean[k]['auroc_logit_mean']:.1f}"
    for what, k in (("general only", (g, 0)), ("specific only", (0, s)), ("both", (g, s)))]  # fmt: skip
    return (
        f"{'; '.join(parts)} (percent, mean over the sets). The paper's own curves are not published to us as numbers."
    )


def _fig3(f: pd.DataFrame) -> str:
    low, high = f.iloc[f.mean_change.argmin()], f.iloc[f.mean_change.argmax()]
    title = lambda row: style.title("attack", row.attack)  # noqa: E731
    return (
        f"{title(low)} changes a pixel least on average ({low.mean_change:.1f} of 255), {title(high)} most"
        f" ({high.mean_change:.1f})."
    )


def _roc(f: pd.DataFrame) -> str:
    curve = f[f.score == "logit_mean"]
    at = {dirt: group[group.fpr <= 10].tpr.max() for dirt, group in curve.groupby("dirt", sort=False)}
    return (
        f"At 10 % FPR the mean logit catches {min(at.values()):.1f} to {max(at.values()):.1f} % of the dirty samples"
        f" over {len(at)} sets."
    )


def _threshold(f: pd.DataFrame) -> str:
    half = f[(f.threshold.round(3) == 0.5)]
    parts = []
    for score in ("vote", "logit_mean"):
        rows = half[half.score == score]
        tpr, fpr = (rows[rows.metric == m].value for m in ("tpr", "fpr"))
        parts.append(f"{score.replace('_', ' ')}: TPR {_span(tpr)}, FPR {_span(fpr)}")
    return f"At the paper's 0.5, {'; '.join(parts)}."


def _slipped(f: pd.DataFrame) -> str:
    few, many = f[f.asr < 10].poisoned, f[f.asr >= 50].poisoned
    text = f"ASR runs {_span(f.asr)} over {f.poisoned.min():.0f} to {f.poisoned.max():.0f} poisoned images."
    if few.max() > 0:
        text += f" With {few.max():.0f} it is still below 10 %: a detector that leaves no more is good enough here."
    return text + (f" From {many.min():.0f} on it is 50 % or more." if len(many) else "")


def _gallery(f: pd.DataFrame) -> str:
    caught = f[(f.group == "caught") & (f.suggested != "")]
    right = int((caught.suggested == caught.true).sum())
    return (
        f"Of {len(caught)} pictures caught with a suggestion, it is the true class for {right}; "
        f"{int((f.group == 'missed').sum())} missed and {int((f.group == 'false alarm').sum())} false alarms are shown."
    )


def _clean_label(f: pd.DataFrame) -> str:
    parts = [f"{row.Attack}: TPR {row.TPR}, AUROC {row.AUROC}" for _, row in f.iterrows()]
    return (
        f"{'; '.join(parts)} (percent). The attacks differ and are not averaged: a trigger that damages the picture is"
        " noticed though the label is right; one that does not is out of reach."
    )


def _settings(f: pd.DataFrame) -> str:
    known = f.status.str.contains("verified").sum() if "status" in f else 0
    return (
        f"{known} of these {len(f)} settings are verified in a primary source; the rest is second-hand or inferred, as"
        " marked."
    )


def _own_terms(f: pd.DataFrame) -> str:
    kept = f[f[""] == ""]
    best = kept.iloc[pd.to_numeric(kept.AUROC, errors="coerce").argmax()]
    gone = ", ".join(sorted({f"{row.Method} {row['']} at {row.Noise}" for _, row in f[f[""] != ""].iterrows()}))
    return f"Best AUROC here: {best.Method}, {best.AUROC} %, which sees {best.Sees}." + (f" {gone}." if gone else "")


READINGS: dict[str, Callable[[pd.DataFrame], str]] = {
    "table1": _beside,
    "table2": _beside,
    "table_imagenet_dog": _beside,
    "table_noisy_labels": _beside,
    "table_same_features": _same_features,
    "table_own_terms": _own_terms,
    "table_hybrid": _hybrid,
    "table_retraining": _retraining,
    "table_models": _models,
    "table_time": _time,
    "table_low_ratios": _few,
    "by_ratio": _by_ratio,
    "every_column": _every,
    "ties": _ties,
    "questions": _questions,
    "clean_label": _clean_label,
    "fig2": _fig2,
    "fig3": _fig3,
    "roc": _roc,
    "threshold": _threshold,
    "slipped": _slipped,
    "gallery": _gallery,
    "table_attack_settings": _settings,
    "table_training_settings": _settings,
    "table10": lambda f: f"{len(f)} questions of {f.Bank.nunique()} banks; the paper's run on CIFAR-10 uses two as "
    f"well.",
    "table11": lambda f: f"{len(f)} questions for {f.Label.nunique()} classes; "
    f"{(f['True of'].str.contains(',')).sum()} are true of more than one class.",
    "table12": lambda f: f"{len(f)} questions for {f.Label.nunique()} digits; {(f['True of'].str.contains(',')).sum()} "
    f"are true of more than one digit.",
}  # fmt: skip


def _read(id_: str, draw: Callable[[Results], Artefact]) -> Callable[[Results], Artefact]:
    """The drawing of item ``id_``, with its reading."""

    @wraps(draw)
    def with_reading(results: Results) -> Artefact:
        made = draw(results)
        frame: Any = made.frame
        return replace(made, reading=READINGS[id_](frame))

    with_reading.__name__ = getattr(draw, "__name__", id_)
    return with_reading


for _all in (ITEMS, OURS):
    for _id, _item in _all.items():
        _all[_id] = replace(_item, draw=_read(_id, _item.draw))
