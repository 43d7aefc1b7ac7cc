"""Where the time of the whole book goes: what a reader waits for, each beside a peer or a limit measured in the same
run.

    python benchmarks/book.py            (two quiet cores; about eight minutes)

The notebooks run at smoke scale from an empty store, from the full one, and at laptop scale from the results in git;
the command line is timed beside a bare interpreter. Every part is a process of its own in a temporary store and folder.
The limit of the first part is what its runs cost in processor time, spread over all cores. Writes
``benchmarks/results/book.json``.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from paperlib.lab.provenance import device_name, environment
from paperlib.lab.store import Record, Store

ROOT = Path(__file__).resolve().parent.parent
PAPERLIB = [sys.executable, "-m", "paperlib"]


def timed(command: list[str], **environment: str) -> float:
    """Seconds that a command takes with all its processes."""
    start = time.perf_counter()
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return round(time.perf_counter() - start, 2)


def repeated(command: list[str], times: int = 5) -> float:
    """The median of several turns, after one that warms the caches."""
    return median([timed(command) for _ in range(times + 1)][1:])


def main() -> None:
    about = {"processor": device_name("cpu"), "cores": len(os.sched_getaffinity(0)), "load_before": os.getloadavg()[0]}
    python = [sys.executable, "-c"]
    parts = {
        "python -c pass": repeated([*python, "pass"]),
        "import torch": repeated([*python, "import torch"]),
        "paperlib --help": repeated([*PAPERLIB, "--help"]),
        "paperlib list": repeated([*PAPERLIB, "list"]),
    }
    with tempfile.TemporaryDirectory() as folder:
        store = {"PAPERLIB_STORE": f"{folder}/runs"}
        parts["figure ft_sam/fig3, laptop, recorded"] = repeated(
            [*PAPERLIB, "figure", "ft_sam/fig3", "--scale", "laptop", "--recorded", "--out", f"{folder}/one"]
        )
        book = [*PAPERLIB, "reproduce", "--out", folder]
        parts["book, smoke, empty store"] = timed([*book, "--scale", "smoke"], **store)
        parts["book, smoke, full store"] = timed([*book, "--scale", "smoke"], **store)
        parts["book, laptop, recorded"] = timed([*book, "--scale", "laptop", "--recorded"], **store)
        runs = [one for one in Store(Path(folder) / "runs").scan() if isinstance(one, Record)]
    spent = sum(one.provenance["cpu_seconds"] for one in runs)
    report = {
        "seconds": parts,
        "runs": len(runs),
        "cpu_seconds_of_runs": round(spent, 1),
        "limit_of_an_empty_store": round(spent / about["cores"], 1),
        **about,
        **environment(),
    }
    out = Path(__file__).parent / "results" / "book.json"
    out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    for name, value in parts.items():
        print(f"{value:8.2f} s  {name}")
    print(
        f"{len(runs)} runs took {spent:.0f} CPU s: at least {report['limit_of_an_empty_store']:.0f} s on"
        f" {about['cores']} cores"
    )


if __name__ == "__main__":
    main()
