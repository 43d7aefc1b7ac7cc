"""One flipped bit or a cut in any stored file: the damage is named, or what is read is what was written. Never anything
else."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from lab_toy import RUNNERS, WEIGHTS, defend_spec, grid, train_spec

from paperlib import paths
from paperlib.errors import PaperlibError
from paperlib.lab import ledger
from paperlib.lab.plan import plan
from paperlib.lab.run import run
from paperlib.lab.store import Damaged, Record, Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "runs")
    run(grid(1), store, device="cpu", progress=False, runners=RUNNERS)
    return store


def flip(path: Path, dice: random.Random) -> None:
    data = bytearray(path.read_bytes())
    place = dice.randrange(8 * len(data))
    data[place // 8] ^= 1 << place % 8
    path.write_bytes(data)


def cut(path: Path, dice: random.Random) -> None:
    path.write_bytes(path.read_bytes()[: dice.randrange(path.stat().st_size)])


FILES = ("result.json", "provenance.json", "spec.json", "weights.safetensors")


def content(record: Record) -> tuple[Any, ...]:
    return record.spec, record.result, record.provenance


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("how", [flip, cut])
def test_no_damaged_file_of_a_result_is_used(store: Store, name: str, how: Any) -> None:
    spec, dice, noticed = train_spec(), random.Random(name), 0
    path = store.path(spec) / name
    whole, before = path.read_bytes(), store.read(spec, weights=True)
    assert before is not None
    for _ in range(50):
        how(path, dice)
        try:
            after = store.read(spec, weights=True)
            assert after is not None and content(after) == content(before)
            if name == "weights.safetensors" and after.weights_bytes:
                assert path.read_bytes() == whole
        except Damaged as error:
            assert str(store.path(spec)) in str(error)
            noticed += 1
        path.write_bytes(whole)
    assert noticed >= 45  # the rest are spaces, and files cut to nothing but their last line's end


@pytest.mark.parametrize("how", [flip, cut])
def test_no_damaged_row_of_a_ledger_is_used(store: Store, tmp_path: Path, how: Any) -> None:
    file, dice = tmp_path / "results.jsonl", random.Random(1)
    ledger.export(store, file)
    whole, rows, noticed = file.read_bytes(), ledger.load(file), 0
    for _ in range(100):
        how(file, dice)
        try:
            assert ledger.load(file) == rows
        except PaperlibError as error:
            assert str(file) in str(error)
            noticed += 1
        file.write_bytes(whole)
    assert noticed == 100


def test_no_ledger_cut_at_the_end_of_a_line_is_used(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    ledger.export(store, file)
    lines = file.read_bytes().splitlines(keepends=True)
    for kept in range(len(lines)):
        file.write_bytes(b"".join(lines[:kept]))
        with pytest.raises(PaperlibError, match=r"is not whole|is empty"):
            ledger.load(file)


@pytest.mark.parametrize("scale", ["laptop", "paper"])
def test_the_recorded_results_have_all_their_sums(scale: str) -> None:
    for file in (paths.recorded_dir() / scale / "results").iterdir():
        assert b'{"rows":%d,' % len(ledger.load(file)) in file.read_bytes()[:20]
        assert all("sha256" in row["provenance"] for row in ledger.load(file).values())


def test_zeroed_weights_of_a_parent_are_named_and_made_again(store: Store) -> None:
    parent, child = train_spec(), defend_spec(train_spec(), seed=7)
    path = store.path(parent) / "weights.safetensors"
    path.write_bytes(bytes(len(WEIGHTS)))
    with pytest.raises(Damaged, match=rf"{parent.key}.*does not fit its SHA-256"):
        store.weights_path(parent)
    planned = plan([child], store)
    assert [cell.spec for cell in planned.of("to do")] == [parent, child] and len(planned.moved_aside) == 1
    assert run([child], store, device="cpu", progress=False, runners=RUNNERS)
    assert store.weights_path(parent).read_bytes() == WEIGHTS


def test_results_from_before_there_were_sums_stay_readable(store: Store, tmp_path: Path) -> None:
    spec, file = train_spec(), tmp_path / "results.jsonl"
    path = store.path(spec) / "provenance.json"
    about = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in about.items() if "sha256" not in k}))
    assert store.read(spec, weights=True) is not None
    ledger.export(store, file)
    line, old = ledger.load(file)[spec.key], store.read(spec)
    assert (
        old is not None
        and line["result"] == old.result
        and {**line["provenance"], **old.provenance} == line["provenance"]
    )
    assert line["provenance"]["weights_sha256"] is None and len(line["provenance"]["sha256"]) == 64  # from now on
    other = Store(tmp_path / "other")
    assert ledger.import_ledger(file, other) == 2 and other.result(spec) == store.result(spec)
    path.write_text(
        json.dumps({k: v for k, v in about.items() if k != "sha256"})
    )  # one sum without the other: not from before
    with pytest.raises(Damaged):
        store.read(spec)
