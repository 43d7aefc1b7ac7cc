"""Planning and running grids: what is missing is computed once, whatever happens on the way."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from lab_toy import RUNNERS, WEIGHTS, computed, defend, defend_spec, grid, train, train_spec

import paperlib.lab.run as lab_run
from paperlib.devices import pick_device
from paperlib.errors import PaperlibError
from paperlib.experiments.specs import AnalysisSpec
from paperlib.lab.plan import duration, plan
from paperlib.lab.provenance import commit, environment
from paperlib.lab.run import RunFailed, run, watched
from paperlib.lab.spec import pairs
from paperlib.lab.store import Store

TOY = Path(__file__).parents[1] / "lab_toy.py"


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "some where" / "runs")


def go(specs, store, runners=RUNNERS, **options):
    return run(specs, store, device="cpu", progress=False, runners=runners, **options)


def keys(cells):
    return [cell.spec.key for cell in cells]


# Plan -------------------------------------------------------------------------------------------------------------


def test_plan_adds_ancestors_once_and_parents_first(store):
    children = [defend_spec(train_spec(), defense=name) for name in ("ft", "ft_sam", "sau")]
    grandchild = defend_spec(children[0], defense="anp")
    planned = plan([grandchild, *children, *children], store)
    assert keys(planned.cells) == [spec.key for spec in (train_spec(), children[0], grandchild, *children[1:])]
    assert {cell.status for cell in planned.cells} == {"to do"}
    assert not store.root.exists()  # planning writes nothing


def test_groups_share_their_root_and_comparisons_come_last(store):
    a, b = train_spec(0), train_spec(1)
    both = AnalysisSpec(tool="compare", inputs=(defend_spec(a), b))
    of_both = AnalysisSpec(tool="summary", inputs=(both, a))
    of_a = AnalysisSpec(tool="tsne", inputs=(a, defend_spec(a)))
    groups = plan([of_both, of_a, both, b], store).groups
    named = [[spec.label.split("-on-")[0].split("-of-")[0] for spec in group] for group in groups]
    toy = a.label, b.label
    assert named == [[toy[0], "ft", "tsne"], [toy[1]], ["compare", "summary"]]


def test_finished_work_is_done_and_not_planned_again(store):
    go(grid(2), store)
    planned = plan([*grid(3)], store)
    assert keys(planned.of("done")) == [spec.key for spec in grid(3) if spec.seed < 2]
    assert keys(planned.of("to do")) == [train_spec(2).key, defend_spec(train_spec(2)).key]


def test_an_absent_ancestor_of_finished_work_is_not_needed(store):
    with store.writing(defend_spec(train_spec())) as draft:
        draft.result = {}
    planned = plan([defend_spec(train_spec())], store)
    assert keys(planned.cells) == [defend_spec(train_spec()).key] and planned.groups == []


def test_a_new_version_invalidates_that_method_and_its_children_alone(store):
    model = train_spec(versions=pairs(toy=1))
    ft = defend_spec(model, versions=pairs(ft=1))
    sam = defend_spec(model, defense="ft_sam", versions=pairs(ft_sam=1))
    below_ft, below_sam = (defend_spec(parent, defense="anp") for parent in (ft, sam))
    go([ft, sam, below_ft, below_sam], store)
    mended = replace(sam, versions=pairs(ft_sam=2))
    planned = plan([ft, mended, below_ft, replace(below_sam, parent=mended)], store)
    assert keys(planned.of("to do")) == [mended.key, replace(below_sam, parent=mended).key]
    assert keys(planned.of("done")) == [model.key, ft.key, below_ft.key]


def test_lost_weights_are_made_again_only_where_needed(store):
    go(grid(2), store)
    store.gc()
    assert plan(grid(2), store).groups == []
    new = defend_spec(defend_spec(train_spec()), defense="anp")
    todo = [train_spec().key, defend_spec(train_spec()).key, new.key]
    assert keys(plan([*grid(2), new], store).of("to do")) == todo
    go([new], store)
    assert store.has(train_spec(), weights=True) and not store.has(train_spec(1), weights=True)


def test_damaged_results_are_moved_aside_and_computed_again(store):
    go(grid(2), store)
    path = store.path(train_spec()) / "result.json"
    path.write_text(path.read_text()[:10])
    planned = plan(grid(2), store)
    assert keys(planned.of("to do")) == [train_spec().key]
    assert [aside.exists() for aside in planned.moved_aside] == [True] and not path.exists()
    assert "damaged result moved aside" in planned.table()
    assert go(grid(2), store)[train_spec().key]["c_acc"] == 90.0
    assert len(computed(store)) == 5


def test_estimates_come_from_finished_siblings(store):
    def finished(spec, seconds, weights_bytes, device="cpu"):
        with store.writing(spec) as draft:
            draft.result = {}
            draft.provenance = {"seconds": seconds, "weights_bytes": weights_bytes, "device": device}

    for seed, seconds in enumerate((10.0, 12.0, 50.0)):
        finished(train_spec(seed), seconds, 1000)
    finished(train_spec(5, epochs=4), 100.0, 1000)
    finished(train_spec(8), 0.5, 1000, device="cuda")
    finished(defend_spec(train_spec(0), params=()), 3.0, 500)
    same, longer, other = train_spec(9), train_spec(9, epochs=8, n_train=200), train_spec(9, attack="never-run")
    wider, unscaled = train_spec(9, width=64), defend_spec(train_spec(9), params=())
    planned = plan([same, longer, other, wider, unscaled], store, device="cpu")
    estimates = {cell.spec.key: (cell.seconds, cell.weights_bytes) for cell in planned.cells}
    assert estimates[same.key] == (12.0, 1000)  # the median of the same size
    assert estimates[longer.key] == (248.0, 1000)  # all, scaled by images x epochs: median of 80, 96, 400, 400
    assert estimates[unscaled.key] == (3.0, 500)
    assert estimates[other.key] == estimates[wider.key] == (None, None)
    assert planned.unknown == 2 and planned.seconds == 263.0 and planned.weights_bytes == 2500
    assert plan([same], store, device="cuda").seconds == 0.5
    text = plan([same, other], store).table()
    assert "unknown" in text and "cpu, cuda" in text and "Time unknown for 1 runs" in text


def test_table_has_a_row_per_method(store):
    go(grid(2), store)
    rows = [
        line.split() for line in plan([*grid(2), defend_spec(train_spec(), defense="sau")], store).table().splitlines()
    ]
    assert rows[:5] == [
        ["kind", "method", "done", "to", "do", "failed", "blocked", "est.", "time", "est.", "disk"],
        ["train", "toy", "2", "0", "0", "0"],
        ["defend", "ft", "2", "0", "0", "0"],
        ["defend", "sau", "0", "1", "0", "0", "unknown", "unknown"],
        ["total", "4", "1", "0", "0", "unknown", "unknown"],
    ]


def test_durations_read_well():
    assert [duration(s) for s in (0.4, 99, 100, 720, 7200)] == ["0 s", "99 s", "2 min", "12 min", "2.0 h"]


# Run --------------------------------------------------------------------------------------------------------------


def test_results_are_computed_once_and_returned_by_key(store):
    children = [spec for spec in grid(3) if spec.kind == "defend"]
    first = go(children, store)
    assert first == {spec.key: {"c_acc": 89.0 + spec.seed} for spec in children}
    assert go(children, store) == first and len(computed(store)) == 6
    assert store.weights_path(children[0]).read_bytes() == WEIGHTS


def test_provenance_says_how_and_not_where(store):
    go([train_spec(3)], store)
    record = store.provenance(train_spec(3))
    assert record["seed"] == 3 and record["device"] == "cpu" and record["device_name"]
    assert record["seconds"] >= 0 and record["threads"] >= 1 and len(record["started"]) == 10
    assert record["peak_rss_mb"] is None or record["peak_rss_mb"] > 5
    assert record["weights_bytes"] == len(WEIGHTS)
    assert record["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {name: record[name] for name in ("commit", "paperlib", "torch", "numpy")} == {
        name: value for name, value in environment().items() if name in ("commit", "paperlib", "torch", "numpy")
    }
    assert str(Path.home()) not in json.dumps(record)


def test_no_commit_outside_a_checkout(monkeypatch, tmp_path):
    monkeypatch.setattr("paperlib.lab.provenance.ROOT", tmp_path)
    assert commit() == {"commit": None, "dirty": None}
    monkeypatch.setenv("PAPERLIB_COMMIT", "abc")  # a copy says what it is a copy of
    assert commit() == {"commit": "abc", "dirty": False}


def failing_train(spec, context):
    if spec.seed == 1:
        (context.folder / "weights.safetensors").write_bytes(b"half")
        raise RuntimeError("no convergence on purpose")
    return train(spec, context)


def test_a_failure_does_not_stop_the_grid(store):
    with pytest.raises(RunFailed, match=r"2 of 6 results are missing because 1 runs failed: .*no convergence") as error:
        go(grid(3), store, {"train": failing_train, "defend": defend})
    assert set(error.value.results) == {spec.key for spec in grid(3) if spec.seed != 1}
    assert [outcome.status for outcome in error.value.outcomes] == ["failed", "blocked"]
    assert "failing_train" in store.failure(train_spec(1))["traceback"]
    planned = plan(grid(3), store)
    assert keys(planned.of("failed")) == [train_spec(1).key]
    assert keys(planned.of("blocked")) == [defend_spec(train_spec(1)).key]
    assert "no convergence on purpose" in planned.table()
    # Not tried again unless asked, and then only what is missing.
    assert len(go(grid(3), store, strict=False)) == 4 and len(computed(store)) == 4
    assert len(go(grid(3), store, retry_failed=True)) == 6 and len(computed(store)) == 6
    assert store.failure(train_spec(1)) is None


def test_interrupt_leaves_what_was_finished(store):
    def interrupted(spec, context):
        if spec.seed == 2:
            (context.folder / "weights.safetensors").write_bytes(b"half")
            raise KeyboardInterrupt
        return train(spec, context)

    with pytest.raises(KeyboardInterrupt):
        go(grid(4), store, {"train": interrupted, "defend": defend})
    assert not list(store.root.glob("*/*.tmp")) and store.failures() == 0
    assert len(plan(grid(4), store).of("done")) == 4
    go(grid(4), store)
    assert sorted(computed(store)) == sorted(f"{spec.kind}-{spec.key}" for spec in grid(4))


def test_errors_before_any_work(store, tmp_path):
    (tmp_path / "file").write_text("")
    specs, unstarted = grid(1), store.root.parent
    for options, message in (
        ({"store": Store(tmp_path / "file" / "runs")}, "store="),
        ({"executor": "inlin"}, "executor='inlin' is unknown; did you mean 'inline'"),
        ({"runners": {"train": train}}, "kind='defend' is unknown"),
    ):
        with pytest.raises(PaperlibError, match=message):
            go(specs, **{"store": store, **options})
    assert computed(store) == [] and not list(unstarted.rglob("*.json"))


def test_an_unwritable_store_is_noticed_before_anything_is_loaded(store, monkeypatch):
    # Stands for a read-only folder, which would not stop root (tests/test_lab_store.py has the real thing).
    def refused(self, *arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refused)
    with pytest.raises(PaperlibError, match=r"store=.* cannot be written \(Permission denied\); set PAPERLIB_STORE"):
        go(grid(1), store, {"train": "no_such_module:train", "defend": defend})


def test_what_another_process_finished_meanwhile_is_not_computed_again(store):
    def generous(spec, context):
        with Store(store.root).writing(train_spec(1)) as draft:
            draft.result = {"who": "the other"}
        return train(spec, context)

    results = go([train_spec(0), train_spec(1)], store, {"train": generous})
    assert results[train_spec(1).key] == {"who": "the other"}
    assert computed(store) == [f"train-{train_spec(0).key}"]


def test_unknown_devices_are_refused():
    assert pick_device("cpu") == "cpu"
    for device in ("cud", "gpu", "cuda:x"):
        with pytest.raises(PaperlibError, match=f"device='{device}' is unknown"):
            pick_device(device)


def test_executors_are_interchangeable(store, monkeypatch):
    def backwards(groups, work, progress):
        for group in reversed(groups):
            yield from map(work, group)

    monkeypatch.setitem(lab_run.EXECUTORS, "backwards", backwards)
    assert go(grid(3), store, executor="backwards") == go(grid(3), store)
    assert next(line for line in computed(store) if line.startswith("train")) == f"train-{train_spec(2).key}"


def test_runners_can_be_named_by_their_module(store):
    assert len(go(grid(1), store, {"train": "lab_toy:train", "defend": "lab_toy:defend"})) == 2


def test_a_report_gets_one_line_per_run(store, capsys):
    lines = []
    run(grid(2), store, device="cpu", runners=RUNNERS, report=lines.append)
    assert len(lines) == 4 and lines[-1].startswith("[4/4] ") and "done in 0 s" in lines[-1]
    assert capsys.readouterr() == ("", "")


def test_a_person_watches_a_terminal_and_a_notebook_that_may_ask(monkeypatch):
    """papermill, nbconvert and nbval let no cell ask for input; a frontend with a reader before it does."""
    for allowed in (True, False):
        kernel = SimpleNamespace(_allow_stdin=allowed)
        monkeypatch.setitem(
            sys.modules, "IPython", SimpleNamespace(get_ipython=lambda k=kernel: SimpleNamespace(kernel=k))
        )
        assert watched(io.StringIO()) is allowed
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))
    assert not watched(io.StringIO())


def test_progress_is_lines_in_a_file_and_one_bar_on_a_terminal(store, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    def telling(spec, context):
        context.progress(0.5, "half way")
        return train(spec, context)

    runners = {"train": telling, "defend": defend}
    for stream, seeds in ((io.StringIO(), (0, 1)), (Terminal(), (2, 3))):
        monkeypatch.setattr(sys, "stderr", stream)
        run([train_spec(seed) for seed in seeds], store, device="cpu", runners=runners)
        text = stream.getvalue()
        if stream.isatty():
            assert "| 1/2" in text and "| 2/2" in text and "half way" in text and text.count("\n") == 1
        else:
            assert [line.split()[0] for line in text.splitlines()] == ["[2/2]"]  # quicker than one line per 5 s


# Processes --------------------------------------------------------------------------------------------------------


def start(store, mode):
    store.root.parent.mkdir(parents=True, exist_ok=True)
    return subprocess.Popen([sys.executable, TOY, store.root, mode], stdout=subprocess.PIPE, text=True)


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.parametrize("mode", ["hang-in-runner", "hang-in-rename"])
def test_kill_in_the_middle_and_run_again(store, mode):
    process = start(store, mode)
    deadline = time.monotonic() + 60
    while not (store.root.parent / "hanging").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()

    (half,) = store.root.glob("train/*.tmp")  # the kill did hit a run in the middle
    assert (half / "weights.safetensors").stat().st_size == len(WEIGHTS) // (2 if mode == "hang-in-runner" else 1)
    finished = [spec for spec in grid() if store.has(spec, weights=True)]
    assert [spec.key for spec in finished] == [spec.key for spec in grid() if spec.seed < 3]
    assert plan(grid(), store).moved_aside == () and len(list(store.scan())) == 6
    before = computed(store)
    assert len(go(grid(), store)) == 12
    after = computed(store)[len(before) :]
    assert sorted(after) == sorted(f"{spec.kind}-{spec.key}" for spec in grid() if spec.seed >= 3)


def test_two_processes_race_for_one_key(store):
    # Each waits inside the runner until the other is there too: both compute, one result is stored, both return it.
    racers = [start(store, "race") for _ in range(2)]
    answers = [json.loads(process.communicate(timeout=60)[0]) for process in racers]
    assert [process.returncode for process in racers] == [0, 0]
    assert computed(store) == [f"train-{train_spec().key}"] * 2
    assert answers[0] == answers[1] == {train_spec().key: store.result(train_spec())}
    assert store.result(train_spec())["process"] in [process.pid for process in racers]
    assert [path.name for path in store.root.glob("*/*")] == [store.path(train_spec()).name]


def test_the_lab_does_not_import_torch():
    code = "import sys, paperlib.cli.lab, paperlib.lab.run; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
