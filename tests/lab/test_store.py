"""The store: whole results or none, damage noticed, files safe to name anywhere."""

import hashlib
import json
import os
import re
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from lab_toy import WEIGHTS, defend_spec, train_spec

from paperlib.errors import PaperlibError
from paperlib.experiments.specs import AnalysisSpec
from paperlib.lab.store import Damaged, Record, Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "a store with spaces" / "runs")


def put(store, spec, result=None, weights=WEIGHTS):
    with store.writing(spec) as draft:
        if weights:
            (draft.folder / "weights.safetensors").write_bytes(weights)
        draft.result, draft.provenance = result or {"c_acc": 90.5}, {"seconds": 2.0}


def names(store):
    return sorted(path.name for path in store.root.glob("*/*"))


def test_what_is_written_is_read(store):
    spec = train_spec()
    assert not store.has(spec) and names(store) == []
    put(store, spec)
    assert store.has(spec, weights=True) and Store(store.root).result(spec) == {"c_acc": 90.5}
    about = store.provenance(spec)
    assert about.pop("sha256") and about.pop("weights_sha256") == hashlib.sha256(WEIGHTS).hexdigest()
    assert about == {"seconds": 2.0, "weights_bytes": len(WEIGHTS)}
    assert store.weights_path(spec).read_bytes() == WEIGHTS
    assert names(store) == [f"{spec.label}-{spec.key}"]


def test_default_root_is_the_environment_variable(monkeypatch, tmp_path):
    monkeypatch.setenv("PAPERLIB_STORE", str(tmp_path / "elsewhere"))
    assert Store().root == tmp_path / "elsewhere"


def test_absent_results_are_named(store):
    with pytest.raises(PaperlibError, match=f"{train_spec().key}.*no result.*run it first"):
        store.result(train_spec())
    put(store, train_spec(), weights=None)
    with pytest.raises(PaperlibError, match="weights were never written"):
        store.weights_path(train_spec())


def test_an_exception_while_writing_leaves_nothing(store):
    with pytest.raises(KeyboardInterrupt), store.writing(train_spec()) as draft:
        (draft.folder / "weights.safetensors").write_bytes(WEIGHTS)
        raise KeyboardInterrupt
    assert names(store) == []
    with pytest.raises(PaperlibError, match="gave no result"), store.writing(train_spec()):
        pass
    assert names(store) == []


def test_the_first_writer_wins_quietly(store):
    spec = train_spec()
    with store.writing(spec) as slow:
        slow.result = {"who": "slow"}
        put(store, spec, {"who": "fast"})
    assert store.result(spec) == {"who": "fast"} and len(names(store)) == 1


def test_arrays_and_nan_become_json(store):
    put(store, train_spec(), {"x": np.arange(3), "y": np.float32(0.5), "z": [float("nan"), np.inf], 1: (True, None)})
    assert store.result(train_spec()) == {"x": [0, 1, 2], "y": 0.5, "z": [None, None], "1": [True, None]}


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: truncate(folder / "result.json"),
        lambda folder: truncate(folder / "provenance.json"),
        lambda folder: (folder / "result.json").write_text("[1, 2]"),
        lambda folder: (folder / "result.json").write_bytes(b"\0" * 64),
        lambda folder: (folder / "result.json").unlink(),
        lambda folder: truncate(folder / "weights.safetensors"),
        lambda folder: (folder / "spec.json").write_text(json.dumps(train_spec(seed=9).to_dict())),
    ],
    ids=[
        "truncated result",
        "truncated provenance",
        "a list",
        "zeros",
        "missing file",
        "truncated weights",
        "other spec",
    ],
)
def test_damage_is_never_read(store, damage):
    spec = train_spec()
    put(store, spec)
    damage(store.path(spec))
    assert not store.has(spec)
    for read in (store.result, store.provenance, store.weights_path):
        with pytest.raises(Damaged) as error:
            read(spec)
        assert str(store.path(spec)) in str(error.value) and "delete that folder" in str(error.value)
    put(store, spec, {"c_acc": 1.0})  # a new run puts the damaged one out of the way
    assert store.result(spec) == {"c_acc": 1.0}
    assert any(".damaged-" in name for name in names(store))


def test_scan_gives_results_and_damage(store):
    specs = [train_spec(seed) for seed in range(4)]
    for spec in specs:
        put(store, spec)
    put(store, defend_spec(specs[0]), weights=None)
    truncate(store.path(specs[1]) / "result.json")
    store.record_failure(train_spec(7), ValueError("no"), 1.0)
    found = list(store.scan())
    keys = {record.key for record in found if isinstance(record, Record)}
    assert keys == {specs[0].key, specs[2].key, specs[3].key, defend_spec(specs[0]).key}
    assert [str(store.path(specs[1])) in str(error) for error in found if isinstance(error, Damaged)] == [True]
    assert store.failures() == 1


def test_failures_are_recorded_and_cleared_by_success(store):
    spec = train_spec()
    assert store.failure(spec) is None
    try:
        raise RuntimeError("wrong on purpose")
    except RuntimeError as error:
        store.record_failure(spec, error, 3.0)
    record = store.failure(spec)
    assert record["error"] == "RuntimeError: wrong on purpose" and record["spec"] == spec.to_dict()
    assert "test_store" in record["traceback"] and not store.has(spec)
    put(store, spec)
    assert store.failure(spec) is None


def test_gc_keeps_results(store):
    put(store, train_spec())
    put(store, defend_spec(train_spec()))
    old, young = (store.root / "train" / f"x-{i}.tmp" for i in range(2))
    for folder in (old, young):
        folder.mkdir()
        (folder / "weights.safetensors").write_bytes(b"x" * 1000)
    os.utime(old, (time.time() - 3 * 24 * 3600,) * 2)
    sizes = store.sizes()
    assert sizes["weights"] == 2 * len(WEIGHTS) and sizes["leftovers"] >= 1000 and sizes["results"] > 0
    assert 1000 <= store.gc(keep="weights") < 1000 + len(WEIGHTS) and not old.exists() and young.exists()
    assert store.has(train_spec(), weights=True)
    assert store.gc() == 2 * len(WEIGHTS)
    assert store.result(train_spec()) == {"c_acc": 90.5} and not store.has(train_spec(), weights=True)
    with pytest.raises(PaperlibError, match="weights were dropped"):
        store.weights_path(train_spec())
    with pytest.raises(PaperlibError, match="keep='result' is unknown; did you mean 'results'"):
        store.gc(keep="result")


def test_a_result_that_lost_its_weights_is_replaced_as_a_whole(store):
    put(store, train_spec(), {"run": 1})
    store.gc()
    put(store, train_spec(), {"run": 2})
    assert store.result(train_spec()) == {"run": 2} and store.has(train_spec(), weights=True)
    assert len(names(store)) == 1


def test_a_file_in_the_way_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("something else")
    with pytest.raises(PaperlibError, match="is a file; give a folder"):
        Store(tmp_path / "file")
    below = Store(tmp_path / "file" / "runs")
    assert not below.has(train_spec())
    with pytest.raises(PaperlibError, match="cannot be read"):
        list(below.scan())
    with pytest.raises(PaperlibError, match=r"cannot be written.*PAPERLIB_STORE"):
        below.check_writable()
    with pytest.raises(PaperlibError, match=r"cannot be written.*PAPERLIB_STORE"):
        put(below, train_spec())
    assert (tmp_path / "file").read_text() == "something else"


@pytest.mark.skipif(sys.platform == "win32", reason="permission bits of folders are POSIX")
def test_a_read_only_store_can_be_read():
    # Root writes where the permission bits forbid it, so as root this test acts as another user meanwhile; that user
    # must reach the folder, which is not so below pytest's own temporary folder.
    with tempfile.TemporaryDirectory() as folder:
        store, spec, user = Store(Path(folder) / "runs"), train_spec(), os.geteuid()
        put(store, spec)
        locked = [*store.root.rglob("*/"), store.root, Path(folder)]
        for path in locked:
            path.chmod(0o555)
        try:
            if user == 0:
                os.seteuid(65534)
            assert store.result(spec) == {"c_acc": 90.5} and store.weights_path(spec).read_bytes() == WEIGHTS
            assert len(list(store.scan())) == 1
            for write in (store.check_writable, store.gc, lambda: put(store, train_spec(1))):
                with pytest.raises(PaperlibError, match=r"cannot be written.*PAPERLIB_STORE"):
                    write()
        finally:
            os.seteuid(user)
            for path in locked:
                path.chmod(0o755)
        assert store.has(spec, weights=True) and len(names(store)) == 1


def test_names_are_safe_on_windows_and_short(store):
    odd = train_spec(dataset='CIFAR 10: "the*best"?', attack="LF|sig<>\\/", ratio=0.001, model="x" * 200)
    for spec in (odd, defend_spec(defend_spec(odd)), AnalysisSpec(tool="con", inputs=())):
        put(store, spec)
        assert re.fullmatch(r"[a-z0-9_.-]+-[0-9a-f]{16}", store.path(spec).name) and len(store.path(spec).name) <= 80
        assert not store.path(spec).name.endswith((".", " "))
        assert store.has(spec)
