"""Tables as HTML fragments, with the printed value beside ours.

A fragment stands alone: no scripts, no random ids, nothing from the network. It reads without its style sheet too
(some viewers of notebooks drop it), so what matters is in the elements: the printed value is small, in parentheses
and italics; verdicts are signs, not colours. pandas' Styler is not used: its looks live in that sheet, one rule per
cell by an id, and it writes no notes.
"""

from collections.abc import Iterable, Sequence
from html import escape
from itertools import groupby
from typing import Any

import pandas as pd

from paperlib.report import compare, style

# The doubled class outweighs the rules that notebook viewers have for every table and list.
CSS = """
.paperlib.paperlib {margin: 0; font: 13px/1.35 system-ui, sans-serif; color: inherit}
.paperlib.paperlib .wide {overflow-x: auto}
.paperlib.paperlib table {border-collapse: collapse; font-variant-numeric: tabular-nums; color: inherit}
.paperlib.paperlib caption {caption-side: top; text-align: left; padding: 0 0 .5em; max-width: 60em; font-weight: 600}
.paperlib.paperlib th, .paperlib.paperlib td {padding: .2em .55em; border: 0; vertical-align: top; background: none}
.paperlib.paperlib thead th {text-align: center; vertical-align: bottom; white-space: nowrap}
.paperlib.paperlib thead tr:last-child th {border-bottom: 1px solid currentColor}
.paperlib.paperlib tbody th {text-align: left; font-weight: 500; white-space: nowrap}
.paperlib.paperlib td.n {text-align: right; white-space: nowrap}
.paperlib.paperlib td.t {text-align: left; min-width: 9em}
.paperlib.paperlib .first {border-left: 1px solid #8886}
.paperlib.paperlib small {font-size: 85%; opacity: .8}
.paperlib.paperlib .average > * {border-top: 1px solid currentColor}
.paperlib.paperlib ul.notes {list-style: none; margin: .6em 0 0; padding: 0; max-width: 70em;
  font-size: 12px; line-height: 1.45}
"""


def to_html(frame: pd.DataFrame, caption: str, *, notes: Iterable[str] = ()) -> str:
    """A plain table: numbers to the right, text to the left, the first column as row headers.

    Parameters
    ----------
    frame : DataFrame
        Shown without its index. Floats get the digits of :func:`format_column`; None and NaN are shown as a dash.
    caption : str
    notes : iterable of str
        Lines below the table.

    Returns
    -------
    str
        HTML, the same for the same input.
    """
    names = [str(name) for name in frame.columns]
    texts = {name: format_column(frame.iloc[:, i]) for i, name in enumerate(names)}
    numeric = {
        n: pd.api.types.is_numeric_dtype(frame.iloc[:, i]) and frame.iloc[:, i].dtype != bool
        for i, n in enumerate(names)
    }
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    body = []
    for i in range(len(frame)):
        cells = []
        for j, name in enumerate(names):
            text = escape(texts[name][i])
            if j == 0:
                cells.append(f'<th scope="row">{text}</th>')
            elif numeric[name]:
                cells.append(f'<td class="n" align="right">{text}</td>')
            else:
                cells.append(f'<td class="t">{text}</td>')
        body.append(f"<tr>{''.join(cells)}</tr>")
    return fragment(caption, [f"<tr>{head}</tr>"], body, notes)


def format_column(values: "pd.Series[Any]") -> list[str]:
    """Text of a column: two decimals where its numbers reach 1, else four significant digits; integers as they are."""
    known = values.dropna()
    floats = pd.api.types.is_float_dtype(values)
    if floats and len(known) and (known == known.round()).all():
        form = ".0f"
    else:
        form = ".2f" if floats and len(known) and known.abs().max() >= 1 else ".4g"
    return ["–" if _missing(v) else format(v, form) if floats else str(v) for v in values]


def paper_table(
    comparison: pd.DataFrame,
    caption: str,
    *,
    rows: Sequence[str] = ("attack",),
    columns: str = "defense",
    metrics: Sequence[str] | None = None,
    everything: bool = False,
    coverage: str = "",
    notes: Iterable[str] = (),
) -> str:
    """A comparison in the shape of the printed table: ours, and below it the printed value.

    Parameters
    ----------
    comparison : DataFrame
        From :func:`paperlib.report.compare.compare`.
    caption : str
    rows, columns, metrics, everything
        As :func:`paperlib.report.compare.shaped`.
    coverage : str
        How much of the printed table is there; what was run is counted by default.
    notes : iterable of str
        Further lines below the table.

    Returns
    -------
    str
        HTML, the same for the same input.
    """
    grid = compare.shaped(comparison, rows=rows, columns=columns, metrics=metrics, everything=everything)
    groups = [(name, [metric for _, metric in group]) for name, group in groupby(grid.across, key=lambda c: c[0])]
    corner = "".join(f'<th scope="col" rowspan="2">{escape(name.capitalize())}</th>' for name in rows)
    top = "".join(
        f'<th scope="colgroup" colspan="{len(names)}" class="first">{escape(style.title(columns, name))}</th>'
        for name, names in groups
    )
    below = "".join(
        f'<th scope="col"{_FIRST if i == 0 else ""}>{escape(style.title("metric", metric))}</th>'
        for _, names in groups
        for i, metric in enumerate(names)
    )
    starts = {i for i, (name, _) in enumerate(grid.across) if i == 0 or grid.across[i - 1][0] != name}
    footnotes = _footnotes(grid)
    body = []
    for label, cells in zip(grid.down, grid.cells, strict=True):
        parts = [
            f'<th scope="row">{escape(style.title(name, part))}</th>' for name, part in zip(rows, label, strict=True)
        ]
        for i, cell in enumerate(cells):
            text = "" if cell is None else _cell_html(cell, footnotes)
            parts.append(f'<td class="{"n first" if i in starts else "n"}" align="right">{text}</td>')
        opening = '<tr class="average">' if any(compare.is_average(part) for part in label) else "<tr>"
        body.append(f"{opening}{''.join(parts)}</tr>")
    head = [f"<tr>{corner}{top}</tr>", f"<tr>{below}</tr>"] if grid.across else []
    return fragment(
        caption,
        head,
        body,
        [f"{coverage or compare.coverage(comparison)}.", *_legend(comparison, grid, footnotes), *notes],
    )


def fragment(caption: str, head: list[str], body: list[str], notes: Iterable[str]) -> str:
    """Rows of HTML (``<tr>...</tr>``) as a standalone table with its style sheet; caption and notes are escaped
    here."""
    lines = ['<div class="paperlib">', f"<style>{CSS}</style>", '<div class="wide"><table>']
    lines += [
        f"<caption>{escape(caption)}</caption>",
        "<thead>",
        *head,
        "</thead>",
        "<tbody>",
        *body,
        "</tbody>",
        "</table></div>",
    ]
    items = [f"<li>{escape(note)}</li>" for note in notes if note]
    if items:
        lines += ['<ul class="notes">', *items, "</ul>"]
    return "\n".join([*lines, "</div>", ""])


def below(notes: Iterable[str]) -> str:
    """Lines of text as a fragment of their own, for below a table."""
    lines = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f'<div class="paperlib"><ul class="notes">{lines}</ul></div>\n'


def _missing(value: Any) -> bool:
    return value is None or (not isinstance(value, str) and bool(pd.isna(value)))


_FIRST = ' class="first"'
_SIGNS = {compare.MATCH: " =", compare.DIFFERS: " ≠"}


def _cell_html(cell: compare.Cell, footnotes: dict[str, int]) -> str:
    signs = [str(footnotes[note]) for note in cell.notes] + (["†"] if cell.grade == "B" else [])
    marks = f"<sup>{','.join(signs)}</sup>" if signs else ""
    ours = compare.ours_text(cell) + ("‡" if cell.mark and cell.ours is not None else _SIGNS.get(cell.verdict, ""))
    printed = f"<small><em>({compare.printed_text(cell)})</em>{marks}</small>" if cell.published else ""
    return f"{ours}<br>{printed}" if printed else ours


def _cells(grid: compare.Grid) -> list[compare.Cell]:
    return [cell for row in grid.cells for cell in row if cell is not None]


def _footnotes(grid: compare.Grid) -> dict[str, int]:
    notes = dict.fromkeys(note for cell in _cells(grid) for note in cell.notes)
    return {note: i for i, note in enumerate(notes, 1)}


def _legend(comparison: pd.DataFrame, grid: compare.Grid, footnotes: dict[str, int]) -> list[str]:
    """What the signs mean, as far as they occur, and what a reader must know to judge a difference."""
    cells = _cells(grid)
    verdicts = {cell.verdict for cell in cells}
    scale = comparison.scale.iloc[0] if len(comparison) else "paper"
    seeds = sorted({int(n) for n in comparison.n_seeds.dropna()})
    lines = []
    first = "First line: ours" + (
        f", mean ± standard deviation over {seeds[-1]} seeds" if seeds[-1:] > [1] else ", one seed" if seeds else ""
    )
    if any(cell.published for cell in cells):
        lines.append(f"{first}. In parentheses and italics: the value that the paper prints. –: no value.")
    if compare.SCALED in verdicts:
        used = sorted(
            {str(v) for v in comparison.get("ours_dataset", pd.Series(dtype=object)).dropna()} - set(comparison.dataset)
        )
        on = f" on {', '.join(style.title('dataset', name) for name in used)}" if used else ""
        lines.append(f"Ours are of {scale} scale{on}, so the printed values are no target for them: compare orderings.")
    if verdicts & {compare.MATCH, compare.DIFFERS}:
        shown = comparison[comparison.verdict.isin([compare.MATCH, compare.DIFFERS])]
        within = ", ".join(
            f"{style.title('metric', m)} {points:g}"
            for m, points in shown.drop_duplicates("metric")[["metric", "tolerance"]].to_numpy()
        )
        near = "" if scale == "paper" else " Ours are near the paper's settings: victims of fewer epochs, in one cycle."
        lines.append(f"=: within the tolerance ({within}); ≠: outside it.{near}")
        noisy = shown[shown.metric.eq("ASR") & shown.noise.notna()].drop_duplicates("defense")
        if len(noisy):
            apart = ", ".join(f"{style.title('defense', d)} {v:.0f}" for d, v in noisy[["defense", "noise"]].to_numpy())
            lines.append(f"Two papers that repeated the same cells differ in ASR by these points on average: {apart}.")
    lines += [f"‡: {mark}." for mark in dict.fromkeys(c.mark for c in cells if c.mark and c.ours is not None)]
    if any(cell.verdict == compare.FAILED for cell in cells):
        lines.append("failed: the run collapsed or diverged; it is in no average.")
    if any(cell.grade == "B" for cell in cells):
        lines.append("†: read by OCR, unverified.")
    if any(len(cell.published) > 1 for cell in cells):
        lines.append("→: the printed value is known to be wrong; the corrected one follows.")
    return [*lines, *(f"{i}: {note}." for note, i in footnotes.items())]
