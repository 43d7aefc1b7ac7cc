"""What a list of specs still needs: which runs, in which order, how long, and how much disk.

A plan reads the store and starts nothing. Its groups are the unit of work: all runs that descend from the same root
models, parents before children, so that whoever takes a group can keep its model loaded. Groups with one root do not
depend on each other; groups with several (an analysis that compares models) come after those of their roots.
"""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from paperlib.lab.spec import Spec
from paperlib.lab.store import Damaged, Record, Store

STATUSES = ("done", "to do", "failed", "blocked")


@dataclass(frozen=True)
class Cell:
    """One spec of a plan.

    ``status`` is ``done``, ``to do``, ``failed`` (a recorded failure, to be retried only on demand) or ``blocked`` (an
    ancestor failed). ``seconds`` and ``weights_bytes`` are the recorded ones where done, else estimates, None: unknown.
    """

    spec: Spec
    status: str
    seconds: float | None = None
    weights_bytes: int | None = None
    error: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of a spec: ``done``, ``failed``, ``blocked`` (a parent is missing), ``stored`` (by others)."""

    spec: Spec
    status: str
    seconds: float = 0.0
    error: str = ""


@dataclass(frozen=True)
class Plan:
    """The cells of a grid and of the ancestors it needs, parents first, and what had to be moved aside to make it."""

    cells: tuple[Cell, ...]
    moved_aside: tuple[Path, ...] = ()
    estimated_from: tuple[str, ...] = ()  # devices of the recorded runs that estimates come from
    roots: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)  # key -> keys of its root ancestors

    def of(self, status: str) -> list[Cell]:
        """Cells with this status."""
        return [cell for cell in self.cells if cell.status == status]

    @property
    def groups(self) -> list[list[Spec]]:
        """What is to do, grouped by root models, in an order that satisfies every dependency."""
        groups: dict[tuple[str, ...], list[Spec]] = defaultdict(list)
        for cell in self.of("to do"):
            groups[self.roots[cell.spec.key]].append(cell.spec)
        # A run depends only on runs whose roots are among its own, so fewer roots first is enough.
        return [groups[roots] for roots in sorted(groups, key=len)]

    @property
    def by_cost(self) -> list[tuple[list[Spec], float]]:
        """:attr:`groups` with the estimated seconds of each: those of one root by seconds per run, unknown ones last;
        then those of several roots."""
        known = {cell.spec.key: cell.seconds for cell in self.cells}
        priced = [(group, [known[spec.key] for spec in group]) for group in self.groups]
        priced.sort(key=lambda one: (len(self.roots[one[0][0].key]), None in one[1], _total(one[1]) / len(one[0])))
        return [(group, _total(seconds)) for group, seconds in priced]

    @property
    def seconds(self) -> float:
        """Estimated seconds of all that is to do and has an estimate."""
        return sum(cell.seconds or 0.0 for cell in self.of("to do"))

    @property
    def weights_bytes(self) -> int:
        """Estimated bytes of weights of all that is to do and has an estimate."""
        return sum(cell.weights_bytes or 0 for cell in self.of("to do"))

    @property
    def unknown(self) -> int:
        """How many runs to do have no estimate: nothing like them has been recorded."""
        return sum(cell.seconds is None for cell in self.of("to do"))

    def cost_table(self) -> str:
        """:attr:`by_cost` as text: a row per group, named by its root."""
        lines = [["first run", "", "runs", "est. time", "per run"]]
        for group, seconds in self.by_cost:
            per_run = duration(seconds / len(group))
            lines.append([group[0].label, "", str(len(group)), duration(seconds), per_run])
        total = len(self.of("to do"))
        lines.append(["total", "", str(total), duration(self.seconds), ""])
        notes = [f"Time unknown, and not counted, for {self.unknown} runs."] if self.unknown else []
        return "\n".join([align(lines), *notes])

    def table(self) -> str:
        """The plan as text: a row per kind and method, a total, and what the reader should know about it."""
        rows: dict[tuple[str, str], list[Cell]] = defaultdict(list)
        for cell in self.cells:
            rows[cell.spec.kind, method(cell.spec.to_dict())].append(cell)
        lines = [["kind", "method", *STATUSES, "est. time", "est. disk"]]
        lines += [[*name, *_columns(cells)] for name, cells in rows.items()]
        lines.append(["total", "", *_columns(self.cells)])
        notes = [f"{len(self.groups)} groups of runs that share their trained models."] if self.groups else []
        if self.estimated_from and self.unknown < len(self.of("to do")):
            notes.append(f"Estimates from recorded runs on: {', '.join(self.estimated_from)}.")
        if self.unknown:
            notes.append(f"Time unknown for {self.unknown} runs: no finished run of that method, model and data set.")
        notes += [f"failed: {cell.spec.label} ({cell.error})" for cell in self.of("failed")[:10]]
        if failed := len(self.of("failed")):
            notes.append(f"{failed} failed before and stay as they are unless retried (--retry-failed).")
        notes += [f"damaged result moved aside: {path.name}" for path in self.moved_aside]
        return "\n".join([align(lines), *notes])


def missing(specs: Iterable[Spec], rows: Mapping[str, Any]) -> list[Spec]:
    """Those of ``specs`` and their ancestors that the ledger ``rows`` (by key) does not have, parents first."""
    return list({one.key: one for spec in specs for one in spec.ancestry() if one.key not in rows}.values())


def _total(seconds: Iterable[float | None]) -> float:
    return sum(one or 0.0 for one in seconds)


def _columns(cells: Iterable[Cell]) -> list[str]:
    cells = list(cells)
    todo = [cell for cell in cells if cell.status == "to do"]
    counts = [str(sum(cell.status == status for cell in cells)) for status in STATUSES]
    if not todo:
        return [*counts, "", ""]
    known = [cell for cell in todo if cell.seconds is not None]
    if not known:
        return [*counts, "unknown", "unknown"]
    more = " + unknown" if len(known) < len(todo) else ""
    seconds, weights = sum(cell.seconds or 0 for cell in known), sum(cell.weights_bytes or 0 for cell in known)
    return [*counts, duration(seconds) + more, f"{weights / 1e6:.0f} MB{more}"]


def align(lines: list[list[str]]) -> str:
    """Rows of cells as text: the first two columns to the left, the others to the right."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            text.ljust(w) if i < 2 else text.rjust(w) for i, (text, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )


def duration(seconds: float) -> str:
    """``48 s``, ``12 min``, ``3.4 h``."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 99.5 * 60 else f"{seconds / 3600:.1f} h"


# Estimates ------------------------------------------------------------------------------------------------------------


def method(spec: Mapping[str, Any]) -> str:
    """The attack, defense, detector, tool or strategy that a spec (in its JSON form) is about."""
    for name in ("defense", "detector", "tool", "strategy", "engine", "attack"):
        if spec.get(name):
            return str(spec[name])
    return "none"


def _family(spec: Mapping[str, Any]) -> tuple[Any, ...]:
    """What two runs must share for the time of one to say something about the other: method, data set, model."""
    root: Mapping[str, Any] = spec
    while "parent" in root or root.get("inputs"):
        root = root.get("parent") or root["inputs"][0]
    arena = (root.get("dataset"), root.get("model"), root.get("width"))
    return (spec["kind"], method(spec), *arena, len(spec.get("inputs", ())))


def _work(spec: Mapping[str, Any]) -> float | None:
    """Images times epochs, which training time is proportional to; None where the spec does not say both."""
    images = spec.get("n_train") or spec.get("n_clean")
    epochs = spec.get("epochs") or spec.get("params", {}).get("epochs")
    return float(images * epochs) if images and isinstance(epochs, int | float) else None


class _History:
    """Recorded runs of a store, by family."""

    def __init__(self, store: Store, device: str | None, rows: Iterable[Mapping[str, Any]] = ()) -> None:
        self.runs: dict[tuple[Any, ...], list[tuple[float | None, float, int]]] = defaultdict(list)
        self.devices: set[str] = set()
        known = [(one.spec, one.provenance) for one in store.scan() if not isinstance(one, Damaged)]
        for spec, provenance in [*known, *((row["spec"], row["provenance"]) for row in rows)]:
            if provenance.get("seconds") is None or (device is not None and provenance.get("device") != device):
                continue
            run = (_work(spec), provenance["seconds"], provenance.get("weights_bytes") or 0)
            self.runs[_family(spec)].append(run)
            self.devices.add(str(provenance.get("device")))

    def estimate(self, spec: Mapping[str, Any]) -> tuple[float | None, int | None]:
        """Median seconds and bytes of the siblings: those of the same size, else all, scaled by images times epochs."""
        siblings, work = self.runs.get(_family(spec), []), _work(spec)
        same = [seconds for other, seconds, _ in siblings if other == work]
        scaled = [seconds * work / other for other, seconds, _ in siblings if work and other]
        if not (times := same or scaled):
            return None, None
        return statistics.median(times), int(statistics.median(weights for _, _, weights in siblings))


# The plan -------------------------------------------------------------------------------------------------------------


def plan(
    specs: Iterable[Spec],
    store: Store,
    *,
    retry_failed: bool = False,
    device: str | None = None,
    rows: Iterable[Mapping[str, Any]] = (),
) -> Plan:
    """Find out what ``specs`` still need.

    Ancestors that are stored, or that a missing run needs, are part of the plan; each spec is in it once. A stored
    parent whose weights are gone counts as to do when one of its children is. Damaged results are moved aside and count
    as absent.

    Parameters
    ----------
    retry_failed
        Count recorded failures as to do.
    device
        Estimate only from runs on this device (``"cpu"``, ``"cuda"``); None: from all recorded runs.
    rows
        Of ledgers, to estimate from too.
    """
    records: dict[str, Record | None] = {}
    failures: dict[str, dict[str, Any] | None] = {}  # of what is needed: to do, failed or blocked
    moved: list[Path] = []

    compared: set[str] = set()  # keys whose weights were compared with their checksum

    def stored(spec: Spec, weights: bool = False) -> Record | None:
        if spec.key not in records or (weights and records[spec.key] and spec.key not in compared):
            try:
                records[spec.key] = store.read(spec, weights)
            except Damaged:
                records[spec.key] = None
                if aside := store.move_aside(spec):
                    moved.append(aside)
            compared.update([spec.key] if weights else [])
        return records[spec.key]

    def need(spec: Spec, weights: bool) -> None:
        record = stored(spec, weights)
        if spec.key in failures or (record is not None and (record.complete or not weights)):
            return
        failures[spec.key] = None if retry_failed else store.failure(spec)
        if failures[spec.key] is None:
            for parent in spec.parents():
                need(parent, weights=True)

    order: dict[str, Spec] = {}
    roots: dict[str, tuple[str, ...]] = {}

    def visit(spec: Spec) -> None:
        if spec.key in order:
            return
        for parent in spec.parents():
            visit(parent)
        above = {key for parent in spec.parents() for key in roots[parent.key]}
        roots[spec.key] = tuple(sorted(above)) or (spec.key,)
        order[spec.key] = spec

    for spec in specs:
        need(spec, weights=False)
        visit(spec)

    history = _History(store, device, rows) if failures else None
    cells: list[Cell] = []
    unavailable: set[str] = set()
    for key, spec in order.items():
        if history is None or key not in failures:
            if record := stored(spec):
                provenance = record.provenance
                cells.append(Cell(spec, "done", provenance.get("seconds"), provenance.get("weights_bytes")))
            continue  # else an ancestor that is neither stored nor needed
        seconds, weights_bytes = history.estimate(spec.to_dict())
        status, error = "to do", ""
        if failure := failures[key]:
            status, error = "failed", failure["error"]
        elif any(parent.key in unavailable for parent in spec.parents()):
            status = "blocked"
        if status != "to do":
            unavailable.add(key)
        cells.append(Cell(spec, status, seconds, weights_bytes, error))
    sources = tuple(sorted(history.devices)) if history else ()
    return Plan(tuple(cells), tuple(moved), sources, roots)
