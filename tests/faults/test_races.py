"""Several processes on one store and one ledger, with gc and export beside them; processes killed at random moments."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from lab_toy import RUNNERS, defend_spec, grid, train_spec

from paperlib.errors import PaperlibError
from paperlib.lab import ledger
from paperlib.lab.run import run
from paperlib.lab.store import Record, Store

TOY = Path(__file__).with_name("races_toy.py")


def start(role: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, str(TOY), role, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(processes: list[subprocess.Popen[str]]) -> None:
    for process in processes:
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said


def full(store: Store, n: int = 24) -> None:
    run(grid(n), store, device="cpu", progress=False, runners=RUNNERS)


@pytest.mark.parametrize("count", [2, pytest.param(8, marks=pytest.mark.long)])
def test_exports_into_one_ledger_lose_no_row(tmp_path: Path, count: int) -> None:
    store, file = Store(tmp_path / "runs"), tmp_path / "results.jsonl"
    full(store)
    ended([start("export", store.root, file, number) for number in range(count)])
    wanted = {spec.key for number in range(count) for spec in grid(24)[number::8]}
    assert set(ledger.load(file)) == wanted
    assert sorted(path.name for path in tmp_path.iterdir()) == ["computed.txt", "results.jsonl", "runs"]


@pytest.mark.parametrize("count", [2, pytest.param(8, marks=pytest.mark.long)])
def test_processes_on_one_store_with_gc_and_export_beside_them(tmp_path: Path, count: int) -> None:
    store, file = Store(tmp_path / "runs"), tmp_path / "results.jsonl"
    running = [start("run", store.root) for _ in range(count)]
    refused = 0
    while any(process.poll() is None for process in running):
        try:
            store.gc(random.choice(["results", "weights"]))
        except PaperlibError as error:
            assert "runs are using store" in str(error)
            refused += 1
        ledger.export(store, file)
        time.sleep(0.05)
    ended(running)
    assert refused and store.failures() == 0
    ledger.export(store, file)
    assert set(ledger.load(file)) >= {spec.key for spec in grid(24)}
    assert [record for record in store.scan() if not isinstance(record, Record)] == []


def test_gc_spares_live_runs_however_old_and_takes_dead_ones(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    full(store, 2)
    holder = start("hold", store.root)
    assert holder.stdout is not None and holder.stdout.readline() == "holding\n"
    (draft,) = store.root.glob("train/*.tmp")
    old = time.time() - 30 * 24 * 3600
    os.utime(draft, (old, old))
    with pytest.raises(PaperlibError, match="runs are using store"):
        store.gc()
    assert store.weights_path(train_spec()) and store.gc("weights") == 0 and draft.is_dir()
    holder.kill()
    holder.communicate()
    os.utime(draft, (old, old))
    store.gc("weights")
    assert not draft.exists() and store.gc() > 0


def test_dropped_weights_are_made_again(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    full(store, 1)
    store.gc()
    assert run([defend_spec(train_spec(), seed=5)], store, device="cpu", progress=False, runners=RUNNERS)


KILLS = [3, pytest.param(50, marks=pytest.mark.long)]


@pytest.mark.parametrize("kills", KILLS)
def test_killed_at_random_moments_nothing_is_lost(tmp_path: Path, kills: int) -> None:
    store, dice = Store(tmp_path / "runs"), random.Random(0)
    kept: set[str] = set()
    for _ in range(kills):
        process = start("run", store.root)
        time.sleep(dice.uniform(0.2, 1.5))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        there = set()
        for record in store.scan():
            assert isinstance(record, Record), record
            there.add(record.key)
        assert kept <= there
        kept = there
    ended([start("run", store.root)])
    assert {record.key for record in store.scan() if isinstance(record, Record)} == {spec.key for spec in grid(24)}
