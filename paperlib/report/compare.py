"""Ours beside what the paper printed: difference, verdict, and how far apart two honest repetitions lie.

Nothing is filled in: a number that we did not compute, or that is not published to us, stays empty and its verdict
says so.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import numpy as np
import pandas as pd

from paperlib import metrics as formulas
from paperlib.errors import PaperlibError, choose
from paperlib.report import style
from paperlib.report.published import published

KEYS = ("dataset", "model", "ratio", "attack", "defense", "setting", "metric")
"""What a printed number and ours must agree in to be set side by side."""

METRICS = {"c_acc": "ACC", "asr": "ASR", "r_acc": "R-ACC", "der": "DER", "tpr": "TPR", "fpr": "FPR", "f1": "F1"}
"""Names in results -> names in :mod:`paperlib.report.published`; all of these are percentages."""

MATCH, DIFFERS, SCALED, UNPUBLISHED, MISSING, EARLIER, FAILED = VERDICTS = (
    "match", "differs", "not comparable (scale)", "not published to us", "not run", "by an earlier version", "failed",
)  # fmt: skip
JUDGED = ("paper", "gpu")
"""The scales whose numbers have the printed ones for a target; ``gpu`` is near the paper's settings, and says so."""
AVERAGE = "average"
"""Prefix of the name of a printed or computed average row; such rows are no attacks and are not counted as such."""


@dataclass(frozen=True)
class Tolerance:
    """A paper-scale result matches when it lies within ``points`` of the printed one, and why so many."""

    points: float
    reason: str


TOLERANCES: dict[str, Tolerance] = {
    "ACC": Tolerance(
        1.0, "nine in ten of the undefended, FT and NAD cells that two papers repeated differ by at most this"
    ),
    "ASR": Tolerance(
        5.0,
        "all but one of the undefended ASRs that two papers repeated differ by less; after a defense they differ by "
        "13 to 50 points on average, so a single cell outside says little: read it beside the noise",
    ),
    "R-ACC": Tolerance(5.0, "as ASR, of which it is the counterpart on the same images"),
    "DER": Tolerance(3.0, "half of the tolerances of ASR and C-Acc together, as DER is half of their differences"),
}
"""In percentage points. Other metrics need a tolerance from whoever compares them: nothing supports a default."""


def compare(
    ours: pd.DataFrame,
    printed: pd.DataFrame,
    *,
    scale: str,
    stand_ins: Mapping[str, Mapping[Any, Any]] | None = None,
    tolerances: Mapping[str, Tolerance] | None = None,
) -> pd.DataFrame:
    """Join our numbers with the printed ones.

    Parameters
    ----------
    ours : DataFrame
        Columns :data:`KEYS` (``setting`` may be absent: empty) and ``value``, and if known ``n_seeds``, ``unit`` and
        ``mark``: what a reader must know of the number, which is then not judged; one without a value failed.
        One row per cell; metrics by either name of :data:`METRICS`.
    printed : DataFrame
        What :func:`paperlib.report.published.published` returns. A cell may have two rows: the printed reading and the
        corrected one. Both are compared.
    scale : str
        Scale of ``ours``. Unless it is one of :data:`JUDGED`, numbers are shown side by side but never judged.
    stand_ins : mapping of mappings, optional
        What stands for the paper's setting at a small scale, e.g. ``{"dataset": {"digits": "cifar10"}}``. The setting
        that was really used is kept in a column ``ours_dataset``.
    tolerances : mapping, optional
        For metrics without an entry in :data:`TOLERANCES`, or instead of one.

    Returns
    -------
    DataFrame
        One row per printed cell, in the paper's order, then ours that were not printed: the keys, ``ours``,
        ``published``, ``difference`` (ours - published), ``verdict`` (one of :data:`VERDICTS`), ``tolerance``,
        ``noise`` (see :func:`repetition_noise`), ``n_seeds``, ``scale``, and ``item`` to ``source`` of the printed
        number.

    Raises
    ------
    PaperlibError
        A column is missing, a cell of ours occurs twice, a stand-in is asked for at paper scale, or a metric has no
        tolerance.
    """
    if "setting" not in ours:
        ours = ours.assign(setting="")
    for argument, frame in (("ours", ours), ("printed", printed)):
        lacking = [name for name in (*KEYS, "value") if name not in frame.columns]
        if lacking and len(frame):
            raise PaperlibError(f"{argument} has no column {', '.join(lacking)}; it needs {', '.join(KEYS)} and value.")
    if stand_ins and scale in JUDGED:
        raise PaperlibError(
            f"stand_ins={dict(stand_ins)!r} at scale={scale!r}: the paper's own numbers need its own setting."
        )
    known = {**TOLERANCES, **(tolerances or {})}

    mine: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in _records(ours):
        used = {f"ours_{name}": row[name] for name in stand_ins or {}}
        row["metric"] = METRICS.get(row["metric"], row["metric"])
        row |= {name: names.get(row[name], row[name]) for name, names in (stand_ins or {}).items()}
        if (key := _key(row)) in mine:
            raise PaperlibError(
                f"ours has {dict(zip(KEYS, key, strict=True))} twice; give one row per cell (a mean over seeds)."
            )
        mine[key] = row | used

    rows: list[dict[str, Any]] = []
    seen: set[tuple[Any, ...]] = set()
    for row in _records(printed):
        key = _key(row)
        seen.add(key)
        rows.append(_cell(mine.get(key, {}), row, scale, known))
    rows += [_cell(row, {}, scale, known) for key, row in mine.items() if key not in seen]
    columns = [*KEYS, "ours", "published", "difference", "verdict", "tolerance", "noise", "n_seeds", "scale", "mark"]
    columns += [*_CARRIED, *(f"ours_{name}" for name in stand_ins or {})]
    return pd.DataFrame(rows, columns=columns)


_CARRIED = ("item", "unit", "reading", "grade", "note", "source")


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return cast("list[dict[str, Any]]", frame.to_dict("records"))


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Hashable and equal for 0.1 and 0.1000000001 (ratios that went through text), None and NaN."""

    def plain(value: Any) -> Any:
        if pd.isna(value):
            return None
        return value if isinstance(value, str) else round(float(value), 9)

    return tuple(plain(row[name]) for name in KEYS)


def _cell(
    mine: Mapping[str, Any], row: Mapping[str, Any], scale: str, tolerances: Mapping[str, Tolerance]
) -> dict[str, Any]:
    given = row or mine
    cell: dict[str, Any] = {name: given[name] for name in KEYS}
    cell |= {name: row.get(name, "") for name in _CARRIED}
    cell |= {name: value for name, value in mine.items() if name.startswith("ours_")}
    cell["unit"] = cell["unit"] or mine.get("unit") or ("%" if cell["metric"] in METRICS.values() else "")
    cell["scale"] = scale
    cell["n_seeds"] = mine.get("n_seeds")
    a, b = mine.get("value"), row.get("value")
    cell["ours"] = a = None if pd.isna(a) else a
    cell["published"] = b = None if pd.isna(b) else b
    cell["noise"] = repetition_noise(cell["metric"], cell["defense"])
    cell["mark"] = mine.get("mark") or ""
    if a is None:
        cell["verdict"] = FAILED if cell["mark"] else MISSING
    elif b is None:
        cell["verdict"] = UNPUBLISHED
    else:
        cell["difference"] = a - b
        cell["verdict"] = EARLIER if cell["mark"] else SCALED
        if scale in JUDGED and not cell["mark"]:
            metric = cell["metric"]
            if metric not in tolerances:
                raise PaperlibError(
                    f"metric={metric!r} has no tolerance; give tolerances={{{metric!r}: Tolerance(...)}}."
                )
            cell["tolerance"] = tolerances[metric].points
            cell["verdict"] = _judge(a - b, cell["tolerance"])
    return cell


@cache
def _repetitions() -> pd.DataFrame:
    """Cells that two papers printed for the same protocol: FT-SAM's Table 1 and BackdoorBench's board of 2022."""
    cell = ["dataset", "model", "ratio", "attack", "defense", "metric"]
    first, second = published("ft_sam", "table1"), published("benchmark", "leaderboard_2022")
    both = first.merge(second, on=cell, suffixes=("_first", "_second")).dropna(subset=["value_first", "value_second"])
    return both.assign(apart=(both.value_first - both.value_second).abs())[[*cell, "apart"]]


@cache
def repetition_noise(metric: str, defense: str) -> float | None:
    """How far apart two papers' repetitions of the same cells lie on average, in points; None where there are none.

    Mean absolute difference over the eight attacks that FT-SAM's Table 1 and BackdoorBench's leaderboard of 2022 share
    (CIFAR-10, PreAct-ResNet18, ratio 0.1). Training seeds and small changes of code are in it: FP and NC changed their
    method in between. Both are computed here from the published files.
    """
    cells = _repetitions()
    apart = cells.apart[(cells.metric == metric) & (cells.defense == defense)]
    return round(float(apart.mean()), 2) if len(apart) else None


def is_average(name: Any) -> bool:
    """Whether a row's name is that of an average rather than of an attack or a defense."""
    return str(name).startswith(AVERAGE)


def averages(comparison: pd.DataFrame, rule: str) -> pd.DataFrame:
    """Averages of ours and of the printed numbers over the same attacks, to set beside each other.

    The average that a paper prints is over all of its attacks; ours would be over those that we ran. Here both are
    over the attacks on which every defense that we ran was run; the printed one only where it is printed for all of
    them.

    Parameters
    ----------
    comparison : DataFrame
        From :func:`compare`.
    rule : {"of averages", "of cells"}
        How the paper averages DER: DER(mean ACC, mean ASR) as FT-SAM and NPD do, or the mean of the DERs as SAU does.

    Returns
    -------
    DataFrame
        Rows like those of ``comparison`` with attack ``"average of <n>"``; no rows when fewer than two attacks are
        common.

    Raises
    ------
    PaperlibError
        Unknown rule.
    """
    choose("rule", rule, ("of averages", "of cells"))
    rows: list[dict[str, Any]] = []
    ran = comparison[comparison.ours.notna() & ~comparison.attack.map(is_average)]
    for _, group in ran.groupby(["dataset", "model", "ratio"], sort=False, dropna=False):
        records = sorted(_records(group), key=lambda row: row["reading"] == "corrected")  # the later one counts
        cells = {(r["attack"], (r["defense"], r["setting"]), r["metric"]): r for r in records}
        methods = dict.fromkeys(method for _, method, _ in cells)
        base = [metric for metric in ("ACC", "ASR") if any(m == metric for *_, m in cells)]
        common = [
            attack
            for attack in dict.fromkeys(group.attack)
            if base and all((attack, method, metric) in cells for method in methods for metric in base)
        ]
        for method in methods if len(common) > 1 else ():
            for metric in dict.fromkeys(group.metric):
                parts = [cells[key] for attack in common if (key := (attack, method, metric)) in cells]
                if len(parts) == len(common):
                    rows.append(
                        _average_row(
                            parts,
                            ours=_average(cells, "ours", common, method, metric, rule),
                            published=_average(cells, "published", common, method, metric, rule),
                        )
                    )
    return pd.DataFrame(rows, columns=comparison.columns)


def over_seeds(comparisons: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Our numbers as means over seeds, with a column ``sd``: their sample standard deviation.

    Parameters
    ----------
    comparisons : sequence of DataFrame
        From :func:`compare`, with or without :func:`averages` appended, one for each seed. The rows are those of the
        first; averages are averaged too, so that their ``sd`` is that of the average and not of a cell.
    """
    if len(comparisons) == 1:
        return comparisons[0]
    values: dict[Any, list[float]] = {}
    for row in (row for one in comparisons for row in _records(one) if pd.notna(row["ours"])):
        values.setdefault((_key(row), row["reading"]), []).append(float(row["ours"]))
    rows = _records(comparisons[0])
    for row in rows:
        found = values.get((_key(row), row["reading"]), [])
        if pd.isna(row["ours"]):
            continue
        row |= {"ours": float(np.mean(found)), "n_seeds": len(found)}
        row["sd"] = float(np.std(found, ddof=1)) if len(found) > 1 else None
        if pd.notna(row["published"]):
            row["difference"] = row["ours"] - row["published"]
        if row["verdict"] in (MATCH, DIFFERS):
            row["verdict"] = _judge(row["difference"], row["tolerance"])
    return pd.DataFrame(rows, columns=[*comparisons[0].columns, "sd"])


def _average(
    cells: Mapping[Any, Mapping[str, Any]],
    side: str,
    attacks: Sequence[str],
    method: tuple[str, str],
    metric: str,
    rule: str,
) -> float | None:
    """The average of one side; None where one of its numbers is missing."""

    def values(m: tuple[str, str], name: str) -> list[Any]:
        return [cells.get((attack, m, name), {}).get(side) for attack in attacks]

    own = values(method, metric)
    undefended = next((m for _, m, _ in cells if m[0] == "none"), None)
    if metric != "DER" or rule != "of averages" or undefended is None or pd.isna(own).any():
        return None if pd.isna(own).any() else float(np.mean(own))
    rates = [values(m, name) for m in (undefended, method) for name in ("ACC", "ASR")]
    return None if pd.isna(rates).any() else formulas.der_of_averages(*rates, unit="percent")


def _average_row(parts: list[dict[str, Any]], ours: float | None, published: float | None) -> dict[str, Any]:
    row = parts[0] | {"attack": f"{AVERAGE} of {len(parts)}", "source": "computed from the cells above", "note": ""}
    row |= {"reading": "", "grade": _worst(part["grade"] for part in parts), "ours": ours, "published": published}
    row["mark"] = next((part["mark"] for part in parts if part["mark"]), "")
    if ours is None or published is None:
        return row | {"difference": None, "verdict": UNPUBLISHED, "grade": ""}
    row["difference"] = ours - published
    row["verdict"] = (
        EARLIER
        if row["mark"]
        else SCALED
        if row["scale"] not in JUDGED
        else _judge(row["difference"], row["tolerance"])
    )
    return row


def _judge(difference: float, tolerance: float) -> str:
    # The last digit of a binary difference must not decide: 92.1 - 91.1 is slightly more than 1.
    return MATCH if abs(difference) <= tolerance + 1e-9 else DIFFERS


def _worst(grades: Iterable[Any]) -> str:
    return max((grade for grade in grades if isinstance(grade, str)), default="")


def coverage(comparison: pd.DataFrame) -> str:
    """How much of the printed table was run, e.g. ``"3 of 10 attacks, 4 of 4 defenses and 3 not printed run"``.

    Parameters
    ----------
    comparison : DataFrame
        From :func:`compare`.
    """
    counts = []
    printed, ran = comparison[comparison.published.notna()], comparison[comparison.ours.notna()]
    for column in ("attack", "defense"):
        names, there = (
            {n for n in frame[column] if pd.notna(n) and n != "none" and not is_average(n)} for frame in (printed, ran)
        )
        if names:
            more = f" and {len(there - names)} not printed" if there - names else ""
            counts.append(f"{len(names & there)} of {len(names)} {column}{'s' if len(names) != 1 else ''}{more}")
    return f"{', '.join(counts)} run" if counts else "nothing printed is available"


def summary(comparison: pd.DataFrame) -> dict[str, int]:
    """How many cells have each verdict; all of :data:`VERDICTS`, in their order."""
    found = comparison.verdict.value_counts()
    return {verdict: int(found.get(verdict, 0)) for verdict in VERDICTS}


@dataclass(frozen=True)
class Cell:
    """One cell of a paper-shaped table; two published values where the print is wrong: as printed, corrected."""

    ours: float | None
    published: tuple[float, ...]
    verdict: str
    unit: str
    grade: str
    notes: tuple[str, ...]
    sd: float | None = None
    """Standard deviation of ours over seeds."""
    mark: str = ""
    """What a reader must know of ours."""


@dataclass(frozen=True)
class Grid:
    """A paper-shaped table. ``down`` are the row labels (one part for each of ``rows``), ``across`` (column, metric)
    pairs; a cell is None where neither number exists."""

    rows: tuple[str, ...]
    columns: str
    down: list[tuple[Any, ...]]
    across: list[tuple[str, str]]
    cells: list[list[Cell | None]]


def shaped(
    comparison: pd.DataFrame,
    *,
    rows: Sequence[str] = ("attack",),
    columns: str = "defense",
    metrics: Sequence[str] | None = None,
    everything: bool = False,
) -> Grid:
    """The comparison in the shape of the printed table.

    Parameters
    ----------
    comparison : DataFrame
        From :func:`compare`, with or without :func:`averages` appended.
    rows, columns : names of key columns
        What runs down and what runs across; in each column the metrics run across again.
    metrics : sequence of str, optional
        Which metrics, in this order; all without.
    everything : bool
        Keep rows and columns of which we ran nothing. They are left out otherwise, and :func:`coverage` counts them.

    Returns
    -------
    Grid

    Raises
    ------
    PaperlibError
        The comparison holds several values of a key that is neither in ``rows`` nor ``columns``, or a metric is
        unknown.
    """
    frame = comparison
    if metrics is not None:
        for metric in metrics:
            choose("metric", metric, set(frame.metric))
        frame = frame[frame.metric.isin(list(metrics))]
    order = list(metrics) if metrics is not None else list(dict.fromkeys(frame.metric))
    ran = frame if everything else frame[frame.ours.notna()]
    kept_rows = set(_labels(ran, rows))
    kept_columns = set(ran[columns])
    down = [label for label in dict.fromkeys(_labels(frame, rows)) if label in kept_rows]
    # Averages close the table, also when a row that the paper does not print was added after them.
    down.sort(key=lambda label: any(is_average(part) for part in label))
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for label, row in zip(_labels(frame, rows), _records(frame), strict=True):
        if label in kept_rows and row[columns] in kept_columns:
            groups.setdefault((label, row[columns], row["metric"]), []).append(row)
    for group in groups.values():
        group.sort(key=lambda row: row["reading"] == "corrected")
    for i, name in enumerate(KEYS):
        values = dict.fromkeys(_key(row)[i] for group in groups.values() for row in group)
        if name not in (*rows, columns, "metric") and len(values) > 1:
            found = ", ".join(repr(value) for value in values)
            raise PaperlibError(
                f"the comparison holds several values of {name} ({found}); select one or put it in rows."
            )
    across = [
        (name, metric)
        for name in dict.fromkeys(frame[columns])
        for metric in order
        if any((label, name, metric) in groups for label in down)
    ]
    cells = [[_merge(groups.get((label, *column))) for column in across] for label in down]
    return Grid(tuple(rows), columns, down, across, cells)


def _labels(frame: pd.DataFrame, rows: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    return zip(*(frame[name] for name in rows), strict=True)


def _merge(group: list[dict[str, Any]] | None) -> Cell | None:
    if not group:
        return None
    values = tuple(dict.fromkeys(float(row["published"]) for row in group if pd.notna(row["published"])))
    notes = tuple(dict.fromkeys(row["note"] for row in group if isinstance(row["note"], str) and row["note"]))
    last = group[-1]  # the corrected reading, if there is one
    return Cell(
        ours=None if pd.isna(last["ours"]) else float(last["ours"]),
        published=values,
        verdict=last["verdict"],
        unit=str(last["unit"] or ""),
        grade=_worst(row["grade"] for row in group),
        notes=notes,
        sd=None if pd.isna(last.get("sd")) else float(last["sd"]),
        mark=str(last.get("mark") or ""),
    )


def text_table(comparison: pd.DataFrame, **shape: Any) -> pd.DataFrame:
    """:func:`shaped` with names as printed and cells as text, ``"ours | paper"``; a missing number is ``"–"``."""
    grid = shaped(comparison, **shape)
    texts = [["" if cell is None else _plain(cell) for cell in row] for row in grid.cells]
    down = [[style.title(name, label[i]) for label in grid.down] for i, name in enumerate(grid.rows)]
    across = [
        [style.title(grid.columns, name) for name, _ in grid.across],
        [style.title("metric", metric) for _, metric in grid.across],
    ]
    return pd.DataFrame(
        texts,
        index=pd.MultiIndex.from_arrays(down, names=grid.rows),
        columns=pd.MultiIndex.from_arrays(across, names=(grid.columns, "metric")),
        dtype=object,
    )


def number(value: float | None, unit: str) -> str:
    """Percentages with two decimals, as the papers print them; anything else with four significant digits."""
    if value is None:
        return "–"
    return f"{value:.2f}" if unit == "%" else f"{value:.4g}"


def ours_text(cell: Cell) -> str:
    """Our value, with its standard deviation where there are several seeds; ``failed`` where the run failed."""
    if cell.verdict == FAILED:
        return "failed"
    return number(cell.ours, cell.unit) + ("" if cell.sd is None else f" ± {number(cell.sd, cell.unit)}")


def printed_text(cell: Cell) -> str:
    """The printed value, with an arrow to the corrected one where the print is known to be wrong."""
    return " → ".join(number(value, cell.unit) for value in cell.published) or "–"


def _plain(cell: Cell) -> str:
    return f"{ours_text(cell)} | {printed_text(cell)}"
