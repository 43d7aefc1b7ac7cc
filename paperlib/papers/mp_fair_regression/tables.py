"""Beside print: verdicts of boxes, curves and demos, and Tables 1 to 3."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from paperlib.papers import Results
from paperlib.papers.mp_fair_regression import printed, runs
from paperlib.report import compare, style, tables
from paperlib.report.artefact import Artefact
from paperlib.report.claims import NotRun
from paperlib.report.published import published

UNTIED = "not comparable"
"""Verdict where the stated settings do not determine a box."""
BOX_KEYS = ["dataset_or_k", "metric", "split", "method"]
FIVE = ["whisker_low", "q1", "median", "q3", "whisker_high"]
FETCH = 'python -c "from paperlib.fairness.data import load; [load(n, allow_stand_in=False) for n in {names}]"'
"""The command that fetches tables into the data folder."""
STAND_IN = "STAND-IN tables, not the authors'"


# ------------------------------------------------------------------------------------------------------------- captions


def label_title(label: str) -> str:
    """The title of a panel: the data set, and below it that its table is a stand-in."""
    name, _, stand_in = label.partition(" (")
    return style.title("dataset", name) + (f"\n({stand_in}" if stand_in else "")


def judged(results: Results) -> bool:
    """Whether results are of the paper's own size, and may be called a match or not."""
    return results.scale.plans != "smoke"


def where(results: Results, item: str, datasets: Sequence[str] = ()) -> str:
    """The end of every caption: which tables, how many trials, what is missing and how to get it, the scale."""
    found = runs.find(results, item, datasets)
    kinds: dict[str, list[str]] = {"exact tables": [], STAND_IN: [], "generated": []}
    for name, (label, _) in found.items():
        title = style.title("dataset", name)
        if label == "synthetic (stand-in)":
            kinds[STAND_IN].append(f"synthetic data in place of {title}")
        elif label.endswith(")"):
            kinds[STAND_IN].append(title)
        else:
            kinds["generated" if name == "synthetic" else "exact tables"].append(title)
    parts = [f"{kind}: {', '.join(names)}" for kind, names in kinds.items() if names]
    trials = runs.trials(results.scale, item)
    parts.append(f"{trials} split{'s' if trials > 1 else ''}")
    text = f"Data: {'; '.join(parts)}; {results.scale.name} scale."
    missing = [name for name in datasets or runs.USED_SETS.get(item, runs.SETS) if name not in found]
    if missing:
        titles = ", ".join(style.title("dataset", name) for name in missing)
        if judged(results):
            return f"{text} Not run, because not on this machine: {titles}. Get it: {FETCH.format(names=missing)}"
        text += f" Not run: {titles} (smoke scale takes generated data and the stand-ins of installed packages only)."
    return text


def artefact(results: Results, id_: str, kind: str, **content: Any) -> Artefact:
    """An item of this paper, with the results that it was drawn from."""
    return Artefact(
        paper=runs.PAPER, id=id_, kind=kind, scale=results.scale.name, seed=results.seed,
        parameters={"splits": "the paper's, as recovered in paperlib.papers.mp_fair_regression.protocols"},
        results=tuple(sorted(results.used)), **content,
    )  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------- boxes

COLLINEAR = "the one-hot inputs are collinear: the authors' least squares depends on the hash seed of Python"
UNDETERMINED: tuple[tuple[dict[str, str], str], ...] = (
    (
        {"figure": "Figure 5", "dataset_or_k": "synthetic"},
        "the generator of the sine data is not stated, and was not recovered",
    ),
    ({"figure": "Figure 5", "method": "NRFC"}, "the kernel form of NRFC is not stated"),
    ({"figure": "Figure 9", "method": "NRFC"}, "the kernel form of NRFC is not stated"),
    ({"figure": "Figure 10", "method": "RBA"}, "bound, grid, oracle and number of rounds of RBA are not stated"),
    ({"dataset_or_k": "adult", "method": "OLS", "split": "Test"}, COLLINEAR),
)
"""Boxes that the authors' stated settings do not determine, and why."""
RELABELLED = {"metric": "Norm of Cov", "split": "Test", "method": "OLS"}
"""Boxes of Figures 8 and 9 that show the response, not the predictions of OLS."""


def rows_where(table: pd.DataFrame, values: Mapping[str, str]) -> pd.Series:
    """Mask of the rows that hold all ``values``."""
    rows = pd.Series(True, index=table.index)
    for column, value in values.items():
        rows &= table[column].eq(value)
    return rows


def compare_boxes(ours: pd.DataFrame) -> pd.DataFrame:
    """Our medians beside the printed boxes of Figures 1, 3, 5, 6, 8, 9 and 10.

    Parameters
    ----------
    ours : DataFrame
        Rows of :func:`.runs.boxes` of one or more figures.

    Returns
    -------
    DataFrame
        One row per printed box of the figures in ``ours``: figure, dataset_or_k, metric, split, method; median, q1, q3
        (ours), published_median, published_q1, published_q3; exact (our quartiles equal the printed ones to the
        resolution of the measurement); verdict; reason.  The verdict is 'match' when our median lies between the
        printed quartiles (widened by the resolution), 'differs' when not, 'not comparable' when the settings are not
        known, and 'not run' when there is no result (a stand-in table is none).
    """
    keys = ["figure", *BOX_KEYS]
    groups = ours[~ours["dataset"].str.endswith("(stand-in)")].groupby(keys)["value"]
    mine = pd.DataFrame({name: groups.quantile(q) for name, q in (("q1", 0.25), ("median", 0.5), ("q3", 0.75))})
    joined = printed.wide("fig", keys)
    joined = joined[joined["figure"].isin(ours["figure"])].set_index(keys).add_prefix("published_").reset_index()
    shown = joined["figure"].isin(["Figure 8", "Figure 9"]) & rows_where(joined, RELABELLED)
    lookup = joined.assign(method=joined["method"].mask(shown, "Response"))[keys]
    joined = joined.join(lookup.merge(mine.reset_index(), on=keys, how="left")[["median", "q1", "q3"]])

    room = joined["published_resolution"]
    inside = (joined["median"] >= joined["published_q1"] - room) & (joined["median"] <= joined["published_q3"] + room)
    joined["exact"] = (joined["q1"] - joined["published_q1"]).abs().le(room)
    joined["exact"] &= (joined["q3"] - joined["published_q3"]).abs().le(room)
    joined["verdict"] = np.where(inside, compare.MATCH, compare.DIFFERS)
    joined["reason"] = ""
    for values, reason in UNDETERMINED:
        joined.loc[rows_where(joined, values), ["verdict", "reason"]] = [UNTIED, reason]
    joined.loc[joined["figure"].eq("Figure 9") & joined["reason"].eq(""), "reason"] = "other splits than the paper's"
    joined.loc[shown, "reason"] = "the printed box is that of the response"
    joined.loc[joined["median"].isna(), "verdict"] = compare.MISSING
    columns = ["median", "q1", "q3", "published_median", "published_q1", "published_q3", "exact", "verdict", "reason"]
    return joined[[*keys, *columns]]


def compared(results: Results, item: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Our rows, and one row per printed box of a figure: five numbers of both sides, verdict, reason."""
    figure = item.replace("fig", "Figure ")
    try:
        ours = runs.boxes(results, item)
    except NotRun:
        if not judged(results):
            raise
        columns = ["figure", "dataset", *BOX_KEYS, "trial", "value"]
        ours = pd.DataFrame([[figure, "none (stand-in)", *BOX_KEYS, 0, 0.0]], columns=columns)  # keeps the printed half
    verdicts = compare_boxes(ours).drop(columns=["figure", "exact"])
    if not judged(results):
        shown = verdicts["verdict"].isin([compare.MATCH, compare.DIFFERS])
        verdicts.loc[shown, ["verdict", "reason"]] = [compare.SCALED, f"{results.scale.name} scale"]
    theirs = printed.wide("fig", ["figure", *BOX_KEYS])
    theirs = theirs[theirs["figure"].eq(figure)].set_index(BOX_KEYS)[["whisker_low", "whisker_high"]]
    return ours[ours["dataset"] != "none (stand-in)"], verdicts.join(theirs.add_prefix("published_"), on=BOX_KEYS)


MEAN_SHIFT = "Mean shift (ours)"
"""The method that Figure 1 and Table 1 show beside the paper's, from the experiment 'mean_shift' on the same splits."""


def with_mean_shift(results: Results, ours: pd.DataFrame) -> pd.DataFrame:
    """Rows of Figure 1 and, as far as there are any, those of least squares less its group means."""
    try:
        shift = runs.boxes(results, "mean_shift")
    except NotRun:
        return ours
    shift = shift[shift["method"].eq(f"{SHIFTED[0]}: shift") & shift["metric"].isin(["MSE", "SMD"])]
    shift = shift[shift["dataset"].isin(ours["dataset"])]
    return pd.concat([ours, shift.assign(figure="Figure 1", method=MEAN_SHIFT)], ignore_index=True)


def counts(verdicts: pd.DataFrame) -> str:
    """How many printed boxes have which verdict, in words."""
    count = verdicts["verdict"].value_counts()
    known = int(count.get(compare.MATCH, 0) + count.get(compare.DIFFERS, 0))
    if known:
        text = f"Our median is inside the printed quartiles in {count.get(compare.MATCH, 0)} of {known} boxes"
    else:
        text = f"None of the {len(verdicts)} printed boxes is judged"
    for verdict, words in ((UNTIED, "not determined by the stated settings"), (compare.MISSING, "not run")):
        if count.get(verdict, 0):
            text += f"; {count[verdict]} {words}"
    return text + "."


def five(values: Iterable[float]) -> dict[str, float]:
    """Box and whiskers, the latter at most 1.5 interquartile ranges long, as in the paper's plots."""
    from matplotlib.cbook import boxplot_stats

    (stats,) = boxplot_stats(list(values))
    return dict(zip(FIVE, (stats["whislo"], stats["q1"], stats["med"], stats["q3"], stats["whishi"]), strict=True))


def fives(frame: pd.DataFrame, value: str = "value") -> pd.DataFrame:
    """Five numbers of every group of trials, indexed by BOX_KEYS."""
    groups = frame.groupby(BOX_KEYS, sort=False)[value]
    rows = [{**dict(zip(BOX_KEYS, key, strict=True)), **five(values)} for key, values in groups]
    return pd.DataFrame(rows, columns=[*BOX_KEYS, *FIVE]).set_index(BOX_KEYS)


# ------------------------------------------------------------------------------------------------- curves and the demos


def compare_curves(ours: pd.DataFrame, figure: str = "Figure 7") -> pd.DataFrame:
    """How far the printed curves of Figure 2 or 7 lie from ours.

    Parameters
    ----------
    ours : DataFrame
        Columns dataset, split, method, vertex, MSE, SMD.

    Returns
    -------
    DataFrame
        dataset, split, method, vertices (printed); median and largest distance of a printed vertex from our curve, both
        axes in units of the range of the printed curve.
    """
    rows = []
    for names, theirs in printed.curves(figure).groupby(["dataset", "split", "method"]):
        tags = dict(zip(("dataset", "split", "method"), map(str, names), strict=True))
        own = ours[rows_where(ours, tags)].sort_values("vertex")
        if own.empty:
            continue
        points = theirs[["MSE", "SMD"]].to_numpy(dtype=float)
        unit = np.ptp(points, axis=0)
        off = _distance_to_line(points / unit, own[["MSE", "SMD"]].to_numpy() / unit)
        rows.append({**tags, "vertices": len(theirs), "median_off": np.median(off), "largest_off": off.max()})
    return pd.DataFrame(rows)


def _distance_to_line(points: NDArray[np.float64], line: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance (m,) of points (m, 2) from the polyline with corners (L, 2)."""
    start, step = line[:-1], np.diff(line, axis=0)
    to_point = points[:, None] - start
    length = np.maximum((step**2).sum(axis=1), np.finfo(float).tiny)
    along = np.clip((to_point * step).sum(axis=2) / length, 0.0, 1.0)
    return np.linalg.norm(to_point - along[..., None] * step, axis=2).min(axis=1)


DEMO_ROOM = {"demo_kernel": {"MSE": 1e-9, "SMD": 1e-7}, "demo_linear": {"MSE": 2e-4, "SMD": 2e-3}}
"""Largest difference from the authors' code that is called a match: rounding, or the noise of their pseudo-inverse."""


def compare_demo(ours: pd.DataFrame, demo: str) -> pd.DataFrame:
    """Every trial of a demo beside the rerun of the authors' code: BOX_KEYS, trial, ours, authors, difference, tied.

    ``tied`` is False where the authors' number depends on Python's hash seed.
    """
    keys = ["dataset", *(["k"] if demo == "demo_kernel" else []), "trial", "split", "method", "metric"]
    theirs = printed.printed(demo).dropna(subset="trial").astype({"trial": int}).rename(columns={"value": "authors"})
    pairs = ours.merge(theirs[[*keys, "authors"]], on=keys, how="inner").rename(columns={"value": "ours"})
    loose = rows_where(pairs, {"dataset": "adult", "split": "Test", "method": "OLS"}) & (demo == "demo_linear")
    pairs = pairs.assign(difference=pairs["ours"] - pairs["authors"], tied=~loose)
    return pairs[[*BOX_KEYS, "trial", "ours", "authors", "difference", "tied"]]


def demo_verdicts(pairs: pd.DataFrame, demo: str) -> pd.DataFrame:
    """One row per box of a demo, in the columns of :func:`compare_boxes`: all trials within ``DEMO_ROOM`` match."""
    boxes = fives(pairs, "authors").add_prefix("published_")
    groups = pairs.groupby(BOX_KEYS, sort=False)
    room = boxes.index.get_level_values("metric").map(DEMO_ROOM[demo])
    near = groups["difference"].agg(lambda d: d.abs().max()).to_numpy() <= np.asarray(room, dtype=float)
    tied = groups["tied"].first().to_numpy()
    verdict = np.where(tied, np.where(near, compare.MATCH, compare.DIFFERS), UNTIED)
    return boxes.assign(median=0, q1=0, q3=0, verdict=verdict, reason=np.where(tied, "", COLLINEAR)).reset_index()


# --------------------------------------------------------------------------------------------------------------- tables

LAST_DIGITS = compare.Tolerance(
    3e-4,
    "the tables print four decimals, and the authors' pseudo-inverse of a matrix without full rank is noise of that "
    "size",
)
DRAWN_FROM = {"table1": "fig1", "table2": "fig5", "table3": "table3"}


def _table_rows(results: Results, id_: str) -> pd.DataFrame:
    """Mean and standard deviation over the trials, in the columns that :func:`.compare.compare` joins."""
    frame = runs.boxes(results, DRAWN_FROM[id_])
    if id_ == "table1":
        frame = with_mean_shift(results, frame)
    names = {"Constant": ("constant", ""), "Ours": ("mp_fair", ""), MEAN_SHIFT: ("mean_shift", "")}
    names |= {"Ours w/ S": ("mp_fair", ";inputs=with_s"), "Ours w/o S": ("mp_fair", ";inputs=without_s")}
    frame = frame[frame["method"].isin(names) & (frame["metric"].eq("MSE") | frame["split"].eq("Test"))]
    if id_ != "table3":
        frame = frame[frame["metric"].eq("MSE")]
    rows = []
    for (dataset, method, metric, split), group in frame.groupby(["dataset", "method", "metric", "split"], sort=False):
        defense, inputs = names[str(method)]
        tags = {"dataset": dataset, "model": "kernel" if id_ == "table2" else "linear", "ratio": None, "attack": ""}
        for stat, value in (("mean", group["value"].mean()), ("std", group["value"].std(ddof=0))):
            setting = f"split={str(split).lower()}{inputs};stat={stat}"
            rows.append({**tags, "defense": defense, "setting": setting, "metric": metric, "value": value})
    return pd.DataFrame(rows)


def _flat(frame: pd.DataFrame) -> pd.DataFrame:
    """The settings of a printed number as parts of its metric's name: 'MSE train', 'MSE train, std'."""
    parts = frame["setting"].str.extract(r"^split=(?P<split>\w+)(?:;inputs=(?P<inputs>\w+))?;stat=(?P<stat>\w+)$")
    metric = frame["metric"] + " " + parts["split"] + parts["stat"].map({"mean": "", "std": " ±"})
    return frame.assign(metric=metric, setting=("inputs " + parts["inputs"].str.replace("_", " ")).fillna(""))


def draw_table(id_: str, text: str) -> Callable[[Results], Artefact]:
    """The drawing function of Tables 1 to 3."""

    def draw(results: Results) -> Artefact:
        ours, theirs = _flat(_table_rows(results, id_)), _flat(published(runs.PAPER, id_))
        if id_ == "table2":
            unknown = theirs["dataset"].eq("synthetic")
            theirs.loc[unknown, "note"] = "the generator of the sine data is not stated and was not recovered"
        scale = "paper" if judged(results) else results.scale.name  # nothing is smaller than in the paper
        metrics = list(dict.fromkeys(theirs["metric"]))
        metrics = [m for name in ("MSE train", "MSE test", "SMD test") for m in (name, f"{name} ±") if m in metrics]
        known = dict.fromkeys([*metrics, *ours["metric"]], LAST_DIGITS)
        frame = compare.compare(ours, theirs, scale=scale, tolerances=known)
        if id_ == "table2":
            sine = frame["dataset"].eq("synthetic") & frame["verdict"].isin([compare.MATCH, compare.DIFFERS])
            frame.loc[sine, "verdict"] = UNTIED
        count = compare.summary(frame)
        known_cells, printed_ = count[compare.MATCH] + count[compare.DIFFERS], int(frame["published"].notna().sum())
        notes = [
            f"Every ± is a standard deviation over the splits. Tolerance {LAST_DIGITS.points:g}: {LAST_DIGITS.reason}."
        ]
        caption = f"{id_.replace('table', 'Table ')}. {text} "
        if known_cells:
            caption += f"{count[compare.MATCH]} of {known_cells} numbers match. "
        caption += where(results, DRAWN_FROM[id_])
        html = tables.paper_table(
            frame, caption, rows=("dataset",), columns="setting" if id_ == "table3" else "defense", metrics=metrics,
            everything=True, coverage=f"{printed_ - count[compare.MISSING]} of {printed_} numbers run", notes=notes,
        )  # fmt: skip
        html = (
            html.replace(">constant<", ">Constant<")
            .replace(">mp_fair<", ">MP<")
            .replace(">mean_shift<", f">{MEAN_SHIFT}<")
        )
        return artefact(results, id_, "table", caption=caption, frame=frame, html=html)

    return draw


# ----------------------------------------------------------------------------------------------- ours, not in the paper


def _own_table(results: Results, id_: str, frame: pd.DataFrame, caption: str, notes: Sequence[str] = ()) -> Artefact:
    return artefact(
        results, id_, "table", frame=frame, caption=caption, html=tables.to_html(frame, caption, notes=notes)
    )


def draw_setting(setting: runs.Setting) -> Callable[[Results], Artefact]:
    """Medians of a box-plot item in a reader's setting: one row per data set, kernel, groups and method."""

    def draw(results: Results) -> Artefact:
        rows = []
        for (name, kernel), spec in setting.specs(results.scale).items():
            for key, values in results.need(spec)["values"].items():
                *k, metric, split, method = key.split("|")
                tags = {"data": style.title("dataset", name), "kernel": kernel or "as printed", "groups": "".join(k)}
                rows.append(
                    {**tags, "method": method, "column": f"{metric} {split.lower()}", "value": np.median(values)}
                )
        if not rows:
            raise NotRun("none of the data sets is on this machine")
        wide = pd.DataFrame(rows).pivot_table(
            index=["data", "kernel", "groups", "method"], columns="column", values="value", sort=False
        )
        alpha = "the paper's" if setting.alpha is None else f"{setting.alpha:g}"
        caption = (
            f"{setting.title} Not the paper's setting: medians of our runs, alpha {alpha}. {results.scale.name} scale."
        )
        return _own_table(results, setting.id_, wide.reset_index().rename_axis(columns=None), caption)

    return draw


SHIFTED = ("linear, lambda 0", "s not among the inputs", "linear, lambda 100", "Gaussian kernel, lambda 1")
VALIDATED = (
    "Constant", "OLS", "MP", "MP, no intercept", "Mean shift", "Correlation remover (fairlearn)",
    "Wasserstein barycentre (equipy)",
)  # fmt: skip
"""In the order of the tables; stored results are sorted by name."""


def draw_mean_shift(results: Results) -> Artefact:
    """MP beside the mean shift on the splits of Figure 1: where they are the same, and where not."""
    frame = runs.boxes(results, "mean_shift")
    parts = frame["method"].str.rpartition(": ")
    frame = frame.assign(setting=parts[0], who=parts[2])
    columns = {
        "MSE test, MP": ("MSE", "Test", "MP"),
        "MSE test, mean shift": ("MSE", "Test", "shift"),
        "SMD train, MP": ("SMD", "Train", "MP"),
        "SMD train, mean shift": ("SMD", "Train", "shift"),
        "SMD test, MP": ("SMD", "Test", "MP"),
        "SMD test, mean shift": ("SMD", "Test", "shift"),
    }
    rows = []
    for label, setting in ((one, two) for one in dict.fromkeys(frame["dataset"]) for two in SHIFTED):
        part = frame[rows_where(frame, {"dataset": label, "setting": setting})]
        row: dict[str, Any] = {"data": label_title(str(label)).replace("\n", " "), "setting": setting}
        for name, (metric, split, who) in columns.items():
            row[name] = (
                part.loc[rows_where(part, {"metric": metric, "split": split, "who": who}), "value"].median().round(12)
            )
        apart = part.loc[rows_where(part, {"metric": "difference", "split": "Test"}), "value"]
        rows.append({**row, "largest difference, test": f"{apart.max():.1e}"})
    caption = (
        "Mean shift (ours, not in the paper) beside MP: ordinary regression less the group means of its training "
        "predictions. Medians over the splits of Figure 1; the last column is the largest difference of two "
        f"predictions. {where(results, 'mean_shift')}"
    )
    return _own_table(results, "our_mean_shift", pd.DataFrame(rows), caption)


def draw_cross_validated(results: Results) -> Artefact:
    """Five folds on five real data sets: R2 and SMD of one line of code each."""
    frame = runs.boxes(results, "cross_validated")
    means = frame.groupby(["method", "metric", "dataset"], sort=False)["value"].mean()
    labels = list(dict.fromkeys(frame["dataset"]))
    rows = [
        {"method": method}
        | {
            f"{word}, {label_title(label)}".replace("\n", " "): round(means[method, metric, label], 4)
            for metric, word in (("R2", "R²"), ("SMD", "SMD"))
            for label in labels
        }
        for method in VALIDATED
        if method in set(frame["method"])
    ]
    caption = (
        "Cross-validation on real data (ours, not in the paper): means over five folds of at most 5,000 rows, inputs "
        f"and response as they are; SMD in standard deviations of the response. {where(results, 'cross_validated')}"
    )
    return _own_table(results, "our_cross_validation", pd.DataFrame(rows), caption)
