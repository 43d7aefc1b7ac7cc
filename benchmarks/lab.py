"""Bookkeeping of the lab at the size of the benchmark paper: 8,000 cells.

    python benchmarks/lab.py

800 trained models (8 attacks x 5 ratios x 5 models x 4 data sets) and 9 defenses on each. Nothing is trained: the
runners return made-up numbers at once, in a temporary store, so what is timed is keys, plan, store and ledger alone.
Writes ``benchmarks/results/lab.json``.
"""

import json
import tempfile
import time
from itertools import product
from pathlib import Path

from paperlib.experiments.specs import DefendSpec, TrainSpec
from paperlib.lab.ledger import export, import_ledger
from paperlib.lab.plan import plan
from paperlib.lab.provenance import device_name, environment
from paperlib.lab.run import run
from paperlib.lab.spec import Spec
from paperlib.lab.store import Record, Store


def cells() -> list[Spec]:
    """The 8,000 specs, built anew (keys are computed once per object)."""
    grid = product([f"attack{i}" for i in range(8)], (0.001, 0.005, 0.01, 0.05, 0.1), range(5), range(4))
    models = [
        TrainSpec(dataset=f"data{d}", n_train=0, model=f"model{m}", attack=attack, ratio=ratio, epochs=100)
        for attack, ratio, m, d in grid
    ]
    defended = [DefendSpec(parent=model, defense=f"defense{i}", n_clean=2500) for model in models for i in range(9)]
    return [*models, *defended]


def seconds(function, *arguments):
    """Wall time of one call, and what it returned."""
    start = time.perf_counter()
    value = function(*arguments)
    return round(time.perf_counter() - start, 2), value


def main() -> None:
    times: dict[str, float] = {}
    environment_now = environment()
    runner = {kind: lambda spec, context: {"c_acc": 90.0, "asr": 1.0, "r_acc": 89.0} for kind in ("train", "defend")}

    def fill(store: Store) -> None:
        for spec in cells():
            with store.writing(spec, durable=False) as draft:
                draft.result = runner[spec.kind](spec, None)
                draft.provenance = {"seconds": 1.0, "device": "cpu", **environment_now}

    with tempfile.TemporaryDirectory() as folder:
        store, ledger = Store(Path(folder) / "store"), Path(folder) / "results.jsonl"
        times["plan, empty store"], planned = seconds(lambda: plan(cells(), store))
        assert len(planned.of("to do")) == 8000
        times["write 8,000 results, not flushed"], _ = seconds(fill, store)
        times["plan, full store"], planned = seconds(lambda: plan(cells(), store))
        assert len(planned.of("done")) == 8000
        more = [DefendSpec(parent=model, defense="defense9") for model in cells()[:800]]
        times["plan, full store and 800 new cells"], planned = seconds(lambda: plan([*cells(), *more], store))
        assert len(planned.of("to do")) == 800
        times["status (scan of all results)"], records = seconds(lambda: list(store.scan()))
        assert sum(isinstance(record, Record) for record in records) == 8000
        times["run with nothing to do: read 8,000 results"], results = seconds(
            lambda: run(cells(), store, device="cpu", progress=False, runners=runner)
        )
        assert len(results) == 8000
        times["run 100 cells, flushed to disk"], results = seconds(
            lambda: run(more[:100], store, device="cpu", progress=False, runners=runner)
        )
        assert len(results) == 100
        times["export 8,100 results to a ledger"], count = seconds(export, store, ledger)
        size = ledger.stat().st_size
        times["import 8,100 results from a ledger"], count = seconds(
            import_ledger, ledger, Store(Path(folder) / "other")
        )
        assert count == 8100
    report = {
        "cells": 8000,
        "seconds": times,
        "ledger_megabytes": round(size / 1e6, 1),
        "processor": device_name("cpu"),
        **environment_now,
    }
    out = Path(__file__).parent / "results" / "lab.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    for name, value in times.items():
        print(f"{value:8.2f} s  {name}")
    print(f"{report['ledger_megabytes']:8.1f} MB ledger")


if __name__ == "__main__":
    main()
