"""What surrounds a run fails: no descriptors, files that cannot be opened, missing data, a full or read-only disk, no
memory.

Nothing good is discarded, nothing of it is remembered as a failure of the run, and every message names the file.
"""

import errno
import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab_toy import RUNNERS, computed, grid, train, train_spec

from paperlib.errors import DataMissing, PaperlibError
from paperlib.lab import ledger
from paperlib.lab.plan import plan
from paperlib.lab.run import RunFailed, run
from paperlib.lab.spec import Spec
from paperlib.lab.store import NotStored, Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


def toy(specs: list[Spec], store: Store, runner: Any = train, **options: Any) -> Any:
    return run(specs, store, device="cpu", progress=False, runners={**RUNNERS, "train": runner}, **options)


def names(store: Store) -> list[str]:
    return sorted(path.name for path in store.root.glob("*/*"))


def test_without_descriptors_a_plan_discards_nothing(store: Store) -> None:
    toy(grid(3), store)
    before, limits = names(store), resource.getrlimit(resource.RLIMIT_NOFILE)
    kept: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(limits[0], 256), limits[1]))
    try:
        while True:
            try:
                kept.append(os.open(os.devnull, os.O_RDONLY))
            except OSError:
                break
        with pytest.raises(PaperlibError, match=r"\.json cannot be read \(Too many open files\); it stays as it is"):
            plan(grid(3), store)
    finally:
        for descriptor in kept:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert names(store) == before and not plan(grid(3), store).groups


@pytest.mark.parametrize("name", ["result.json", "provenance.json", "spec.json", "weights.safetensors"])
def test_what_cannot_be_opened_is_not_damaged(store: Store, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    toy(grid(1), store)
    before, real = names(store), open

    def refusing(file: Any, *arguments: Any, **more: Any) -> Any:
        if str(file).endswith(name):
            raise PermissionError(errno.EACCES, "Permission denied", str(file))
        return real(file, *arguments, **more)

    monkeypatch.setattr("builtins.open", refusing)
    with pytest.raises(PaperlibError, match=rf"{name} cannot be read \(Permission denied\)"):
        plan([grid(1)[-1], *grid(1)], store) if name != "weights.safetensors" else store.weights_path(train_spec())
    monkeypatch.undo()
    assert names(store) == before


def disk_full() -> OSError:
    return OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    "error",
    [
        DataMissing("CIFAR-10 is not here"),
        MemoryError("no memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 80000000000 bytes"),
        RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"),
        ModuleNotFoundError("No module named 'transformers'"),
        NotStored("its weights were dropped"),
        ConnectionError("refused"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_failures_of_the_surroundings_are_tried_again_by_themselves(store: Store, error: Exception) -> None:
    def failing(spec: Spec, context: Any) -> dict[str, Any]:
        raise error

    with pytest.raises(RunFailed, match=type(error).__name__):
        toy([train_spec()], store, failing)
    assert store.failures() == 0 and names(store) == []
    assert toy([train_spec()], store)


def test_the_hidden_cause_of_an_error_counts(store: Store) -> None:
    def failing(spec: Spec, context: Any) -> dict[str, Any]:
        try:
            raise FileNotFoundError("a file of the data")
        except FileNotFoundError:
            raise PaperlibError("the data could not be read") from None

    with pytest.raises(RunFailed):
        toy([train_spec()], store, failing)
    assert store.failures() == 0


def test_failures_of_the_method_stay(store: Store) -> None:
    def failing(spec: Spec, context: Any) -> dict[str, Any]:
        raise PaperlibError("lr=9 is too high")

    for runner in (failing, train):
        with pytest.raises(RunFailed, match="lr=9 is too high"):
            toy([train_spec()], store, runner)
    assert store.failures() == 1 and toy([train_spec()], store, retry_failed=True)


def test_a_record_of_an_earlier_version_about_missing_data_does_not_count(store: Store) -> None:
    store.record_failure(train_spec(), DataMissing("CIFAR-10 is not here"), 1.0)
    assert toy([train_spec()], store) and store.failures() == 0


def test_a_full_disk_stops_the_grid_at_once(store: Store) -> None:
    started = []

    def filling(spec: Spec, context: Any) -> dict[str, Any]:
        started.append(spec.key)
        raise disk_full()

    with pytest.raises(PaperlibError, match=r"no further run can be saved.*No space left on device"):
        toy([train_spec(seed) for seed in range(5)], store, filling)
    assert len(started) == 1 and names(store) == [] and store.failures() == 0


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = Path(tempfile.mkdtemp(prefix="paperlib-small-"))
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        folder.rmdir()
        pytest.skip("a file system cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)
        folder.rmdir()


@pytest.mark.parametrize("left", [0, 600, 4000, 8000])
def test_a_really_full_disk(small_disk: Path, left: int) -> None:
    store = Store(small_disk / "runs")
    toy([train_spec()], store)
    (small_disk / "other").write_bytes(b"x" * (shutil.disk_usage(small_disk).free - left))
    before = names(store)
    with pytest.raises(PaperlibError, match="No space left on device"):
        toy([train_spec(seed) for seed in range(1, 40)], store)
    assert set(before) <= set(names(store)) and not any(".tmp" in name for name in names(store))
    for record in store.scan():
        assert not isinstance(record, Exception), record
    done = len(computed(store)) if (small_disk / "computed.txt").exists() else 0
    (small_disk / "other").unlink()
    toy([train_spec(seed) for seed in range(40)], store)
    assert done < 40 and sum(1 for _ in store.scan()) == 40


def test_a_ledger_and_a_figure_on_a_full_disk_stay_as_they_were(small_disk: Path, tmp_path: Path) -> None:
    from paperlib import files

    store = Store(tmp_path / "runs")
    toy(grid(3), store)
    file = small_disk / "results.jsonl"
    ledger.export(store, file, [train_spec(0).key])
    picture = small_disk / "fig1.png"
    whole = file.read_bytes()
    (small_disk / "other").write_bytes(b"x" * shutil.disk_usage(small_disk).free)
    with pytest.raises(PaperlibError, match="No space left on device"):
        ledger.export(store, file)
    with pytest.raises(PaperlibError, match="No space left on device"):
        files.write(picture, b"x" * 5000)
    assert file.read_bytes() == whole
    assert sorted(path.name for path in small_disk.iterdir()) == ["other", "results.jsonl"]


def test_reports_on_a_full_disk_are_one_sentence_that_names_the_file(small_disk: Path, tmp_path: Path) -> None:
    from paperlib.cli.execute import execute
    from paperlib.vdc.cache import AnswerCache
    from paperlib.vdc.folder import write_table
    from paperlib.vdc.types import Answer

    cache = AnswerCache(tmp_path / "answers.sqlite")
    cache.put_many({(f"{i:064d}", "q", "e"): Answer(f"{os.urandom(99).hex()}", 0.5, "score") for i in range(99)})
    note = tmp_path / "note.ipynb"
    note.write_text(
        '{"cells": [], "metadata": {"kernelspec": {"name": "python3"}}, "nbformat": 4, "nbformat_minor": 5}'
    )
    write_table(small_disk / "samples.csv", ["file"], [["before"]])
    before = (small_disk / "samples.csv").read_bytes()
    (small_disk / "other").write_bytes(b"x" * shutil.disk_usage(small_disk).free)
    with pytest.raises(PaperlibError, match=r"samples\.csv cannot be written \(No space left on device\)"):
        write_table(small_disk / "samples.csv", ["file"], [["x" * 9000]])
    with pytest.raises(PaperlibError, match=r"answers\.jsonl\.gz cannot be written \(No space left on device\)"):
        cache.export(small_disk / "answers.jsonl.gz")
    assert "note.ipynb cannot be written (No space left on device)" in execute(note, small_disk / "note.ipynb", {})
    assert (small_disk / "samples.csv").read_bytes() == before
    assert sorted(path.name for path in small_disk.iterdir() if path.stat().st_size) == ["other", "samples.csv"]
