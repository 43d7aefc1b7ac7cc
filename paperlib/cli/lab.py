"""``paperlib lab``: look at the store, plan and run grids, move results between machines."""

import json
import math
import re
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Annotated, Any

import typer

from paperlib.devices import pick_device
from paperlib.errors import PaperlibError
from paperlib.lab.ledger import export, import_ledger, load
from paperlib.lab.plan import align, duration, method, plan
from paperlib.lab.plan import missing as unrecorded
from paperlib.lab.run import EXECUTORS, run
from paperlib.lab.spec import Spec
from paperlib.lab.store import Damaged, Store

app = typer.Typer(help="Runs and their results: plan, run, status, gc, export, import.", no_args_is_help=True)

Papers = Annotated[
    list[str] | None,
    typer.Argument(metavar="PAPER...", help="Papers, as `paperlib list` names them; none: all.", show_default=False),
]
Missing = Annotated[
    bool, typer.Option("--missing", help="Only what git does not record at this scale, cheapest per run first.")
]
Scale = Annotated[str, typer.Option(help="smoke, laptop, gpu or paper.", envvar="PAPERLIB_SCALE")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of every random draw.")]
StoreRoot = Annotated[
    Path | None, typer.Option("--store", help="Folder of finished runs.", envvar="PAPERLIB_STORE", show_default=False)
]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Run again what failed before.")]
Ledger = Annotated[
    Path,
    typer.Argument(
        help="Ledger: a file x.jsonl with one JSON result per line, or a folder of them.", show_default=False
    ),
]


Whole = Annotated[
    bool, typer.Option("--whole", help="The paper's whole grid, not only the slice that its items show at this scale.")
]


def _specs(papers: list[str] | None, scale: str, seed: int, whole: bool = False) -> list[Spec]:
    from paperlib.papers import PAPERS, grid, specs  # here, so that `status` and `gc` do not need the papers

    return [spec for paper in papers or PAPERS for spec in (grid if whole else specs)(paper, scale, seed)]


def _recorded(scale: str) -> dict[str, dict[str, Any]]:
    """The rows of the ledger in git, by key."""
    from paperlib.companion import recorded_file
    from paperlib.experiments.scales import scale as sizes

    file = recorded_file(sizes(scale))
    return load(file) if file.exists() else {}


def seconds_of(budget: str) -> float:
    """``90s``, ``150m`` or ``2.5h`` in seconds.

    Raises
    ------
    PaperlibError
        Anything else.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", budget)
    if not found or not float(found[1]):
        raise PaperlibError(f"budget={budget!r} must be a time above 0, for example 90s, 150m or 2h.")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]]


@app.command("plan")
def plan_command(
    papers: Papers = None,
    scale: Scale = "smoke",
    seed: Seed = 0,
    store: StoreRoot = None,
    retry_failed: RetryFailed = False,
    whole: Whole = False,
    missing: Missing = False,
) -> None:
    """What the papers still need: runs, estimated time and disk."""
    specs = _specs(papers, scale, seed, whole)
    if not missing:
        print(plan(specs, Store(store), retry_failed=retry_failed).table())
        return
    rows = _recorded(scale)
    here = pick_device("auto")
    found = plan(unrecorded(specs, rows), Store(store), retry_failed=retry_failed, device=here, rows=rows.values())
    print(found.cost_table())
    print(f"Estimated from recorded runs on {here}.")


@app.command("run")
def run_command(
    papers: Papers = None,
    scale: Scale = "smoke",
    seed: Seed = 0,
    store: StoreRoot = None,
    retry_failed: RetryFailed = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    executor: Annotated[str, typer.Option(help=f"Where to run: {', '.join(EXECUTORS)}.")] = "inline",
    address: Annotated[str, typer.Option(help="Ray: a running cluster, auto or HOST:PORT. Empty: this machine.")] = "",
    cpus: Annotated[float, typer.Option(help="Ray: CPUs of one task.")] = 1,
    gpus: Annotated[float, typer.Option(help="Ray: GPUs of one task; a fraction shares one.")] = 0,
    retries: Annotated[int, typer.Option(help="Ray: new starts of a task after its worker or node was lost.")] = 3,
    workers: Annotated[int, typer.Option(help="Processes: how many at a time, all on the same device.")] = 2,
    whole: Whole = False,
    missing: Missing = False,
    budget: Annotated[
        str, typer.Option(help="Start no group of runs after this time: 90s, 150m, 2h. Empty: until all is done.")
    ] = "",
) -> None:
    """Run what the papers still need. Ctrl-C is safe: the next call goes on."""
    limit = seconds_of(budget) if budget else math.inf
    specs = _specs(papers, scale, seed, whole)
    options: dict[str, dict[str, Any]] = {
        "ray": {"address": address, "cpus": cpus, "gpus": gpus, "retries": retries},
        "processes": {"workers": workers},
    }
    where, start, count = Store(store), time.monotonic(), 0
    rows = _recorded(scale) if missing else {}
    wanted = unrecorded(specs, rows) if missing else specs
    found = plan(wanted, where, retry_failed=retry_failed, rows=rows.values()) if missing or budget else None
    groups = [group for group, _ in found.by_cost] if found else [wanted]
    for i, group in enumerate(groups):
        if time.monotonic() - start > limit:
            print(f"The budget is spent; {len(groups) - i} of {len(groups)} groups of runs are left.")
            break
        how: dict[str, Any] = {"device": device, "executor": executor, "options": options.get(executor)}
        count += len(run(group, where, strict=not found, retry_failed=retry_failed, **how))
    print(f"{count} results are stored.")


@app.command()
def status(
    store: StoreRoot = None, as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False
) -> None:
    """What the store holds: results, time they took, disk space."""
    where = Store(store)
    rows: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0, 0.0, 0])
    damaged = []
    for record in where.scan():
        if isinstance(record, Damaged):
            damaged.append(str(record))
            continue
        row = rows[record.spec["kind"], method(record.spec)]
        row[0] += 1
        row[1] += record.provenance.get("seconds") or 0.0
        row[2] += record.weights_bytes
    failed = where.failures()
    if as_json:
        names = ("kind", "method", "results", "seconds", "weights_bytes")
        listed = [dict(zip(names, (*name, *rows[name]), strict=True)) for name in sorted(rows)]
        print(json.dumps({"results": listed, "failed": failed, "damaged": damaged}, indent=1))
        return
    lines = [["kind", "method", "results", "time", "weights"]]
    lines += [
        [*name, f"{rows[name][0]:.0f}", duration(rows[name][1]), _megabytes(rows[name][2])] for name in sorted(rows)
    ]
    total = [sum(row[i] for row in rows.values()) for i in range(3)]
    lines.append(["total", "", f"{total[0]:.0f}", duration(total[1]), _megabytes(total[2])])
    print(f"{where.root}\n{align(lines)}")
    if failed:
        print(f"{failed} runs failed; their tracebacks are in the *.failed.json files.")
    for message in damaged:
        print(message)


def _megabytes(size: float) -> str:
    return f"{size / 1e6:.1f} MB"


@app.command()
def gc(
    store: StoreRoot = None,
    keep: Annotated[
        str, typer.Option(help="results: drop all weights; weights: drop only damaged and stale files.")
    ] = "results",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Free disk space. Results are always kept; a model whose weights are needed later is trained again."""
    where = Store(store)
    sizes = where.sizes()
    doomed = sizes["leftovers"] + (sizes["weights"] if keep == "results" else 0)
    if doomed and not yes and sys.stdin is None:
        raise PaperlibError("stdin is closed, so that nobody can be asked; give --yes to delete without asking.")
    if doomed and not yes:
        typer.confirm(f"Delete {_megabytes(doomed)} from {where.root}?", abort=True)
    print(f"{_megabytes(where.gc(keep))} freed; {_megabytes(sizes['results'])} of results kept.")


@app.command("export")
def export_command(
    file: Ledger,
    papers: Annotated[list[str] | None, typer.Option("--paper", help="Only results of this paper; repeatable.")] = None,
    scale: Scale = "smoke",
    seed: Seed = 0,
    store: StoreRoot = None,
) -> None:
    """Write results, without weights, into a ledger; its other lines stay. Without --paper: the whole store."""
    keys = None if not papers else {above.key for spec in _specs(papers, scale, seed) for above in spec.ancestry()}
    print(f"{export(Store(store), file, keys)} results written to {file}.")


@app.command("import")
def import_command(file: Ledger, store: StoreRoot = None) -> None:
    """Store the results of a ledger that the store does not have."""
    print(f"{import_ledger(file, Store(store))} new results.")
