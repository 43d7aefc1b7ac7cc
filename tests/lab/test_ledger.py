"""The ledger (results as text for git) and the commands of ``paperlib lab``."""

import json
import re
import sys
from types import ModuleType, SimpleNamespace

import pytest
from lab_toy import RUNNERS, computed, defend_spec, grid, train_spec
from typer.testing import CliRunner

from paperlib.cli import lab as cli
from paperlib.errors import PaperlibError
from paperlib.lab.ledger import export, import_ledger, load
from paperlib.lab.plan import plan
from paperlib.lab.run import run
from paperlib.lab.store import Store


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "here" / "runs")
    run(grid(3), store, device="cpu", progress=False, runners=RUNNERS)
    return store


def test_round_trip(store, tmp_path):
    file, other = tmp_path / "figures" / "results.jsonl", Store(tmp_path / "there" / "runs")
    assert export(store, file) == 6
    rows = load(file)
    assert list(rows) == sorted(spec.key for spec in grid(3))
    assert import_ledger(file, other) == 6 and import_ledger(file, other) == 0
    for spec in grid(3):
        assert other.result(spec) == store.result(spec) and other.provenance(spec) == store.provenance(spec)
        assert not other.has(spec, weights=True)
    again = tmp_path / "again.jsonl"
    export(other, again)
    assert again.read_bytes() == file.read_bytes()  # and so nothing for git to show


def test_a_folder_has_a_file_for_each_kind_and_writes_those_that_change(store, tmp_path):
    """Two runs of different kinds touch different files; what reads a ledger reads either form."""
    file, folder, other = tmp_path / "results.jsonl", tmp_path / "results", Store(tmp_path / "there" / "runs")
    assert export(store, file) == export(store, folder) == 6
    assert sorted(part.name for part in folder.iterdir()) == ["defend.jsonl", "train.jsonl"]
    assert load(folder) == load(file) and import_ledger(folder, other) == 6
    times = {part.name: part.stat().st_mtime_ns for part in folder.iterdir()}
    run([defend_spec(train_spec(0), defense="sau")], store, device="cpu", progress=False, runners=RUNNERS)
    export(store, folder)
    assert len(load(folder)) == 7
    assert {part.name for part in folder.iterdir() if part.stat().st_mtime_ns != times[part.name]} == {"defend.jsonl"}
    (folder / "again.jsonl").write_bytes((folder / "train.jsonl").read_bytes())
    with pytest.raises(PaperlibError, match=r"train\.jsonl repeats key"):
        load(folder)


def test_an_imported_model_is_trained_again_only_for_a_new_child(store, tmp_path):
    file, other = tmp_path / "results.jsonl", Store(tmp_path / "there" / "runs")
    export(store, file)
    import_ledger(file, other)
    assert plan(grid(3), other).groups == []
    new = defend_spec(train_spec(1), defense="ft_sam")
    assert [cell.spec.key for cell in plan([*grid(3), new], other).of("to do")] == [train_spec(1).key, new.key]
    run([*grid(3), new], other, device="cpu", progress=False, runners=RUNNERS)
    assert computed(other) == [f"train-{train_spec(1).key}", f"defend-{new.key}"]


def test_ledgers_merge_by_key(store, tmp_path):
    file, second = tmp_path / "results.jsonl", Store(tmp_path / "second" / "runs")
    assert export(store, file, keys=[train_spec(0).key, train_spec(1).key]) == 2
    before = file.read_text().splitlines()[1:]
    run([train_spec(8)], second, device="cpu", progress=False, runners=RUNNERS)
    assert export(second, file) == 1
    after = file.read_text().splitlines()[1:]
    assert len(after) == 3 and set(before) < set(after)
    assert set(load(file)) == {train_spec(seed).key for seed in (0, 1, 8)}
    assert import_ledger(file, second) == 2


def test_ledger_holds_no_names_of_machines_or_people(store, tmp_path):
    export(store, tmp_path / "results.jsonl")
    row = next(iter(load(tmp_path / "results.jsonl").values()))
    assert set(row) == {"key", "spec", "result", "provenance"}
    names = (
        "commit cpu_seconds device device_name dirty numpy paperlib peak_rss_mb python seconds seed started threads"
        " torch"
    )
    assert set(row["provenance"]) == {*names.split(), "weights_bytes", "weights_sha256", "sha256"}
    assert str(tmp_path) not in (tmp_path / "results.jsonl").read_text()


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda lines: ["<<<<<<< ours", *lines], "line 1 of .* is not JSON"),
        (lambda lines: [*lines[:2], lines[2][:40]], "line 3 of .* is not JSON"),
        (lambda lines: [lines[0], lines[1].replace('"n_train":', '"n_trian":')], "line 2 of .*'n_trian'"),
        (lambda lines: [*lines, lines[1]], "line 8 of .* repeats key"),
        (lambda lines: [lines[0], "[]"], "line 2 of .* is not an object"),
        (lambda lines: [lines[0], lines[1].replace('"epochs":2', '"epochs":3')], "line 2 of .* has key"),
        (lambda lines: [lines[0], '{"key":"x","spec":3,"result":{},"provenance":{}}'], "line 2 of .* cannot be read"),
        (lambda lines: lines[:-1], "is not whole: its first line speaks of 6 results .*, and 5 follow"),
        (lambda lines: lines[:1], "is not whole: its first line speaks of 6 results .*, and 0 follow"),
        (lambda lines: [lines[0], *reversed(lines[1:])], "is not whole"),
        (lambda lines: [lines[0].replace('"rows":6', '"rows":7'), *lines[1:]], "is not whole"),
        (lambda lines: [lines[0].replace("rows", "sows"), *lines[1:]], "line 1 of .* is not an object with the fields"),
        (lambda lines: [], "is empty"),
    ],
)
def test_damaged_ledgers_name_the_line(store, tmp_path, edit, message):
    file, other = tmp_path / "results.jsonl", Store(tmp_path / "there" / "runs")
    export(store, file)
    lines = file.read_text().splitlines()
    file.write_text("".join(f"{line}\n" for line in edit(lines)))
    with pytest.raises(PaperlibError, match=message):
        import_ledger(file, other)
    assert not other.root.exists()
    damaged = file.read_text()
    with pytest.raises(PaperlibError):
        export(store, file)
    assert file.read_text() == damaged


def test_lines_merged_by_hand_are_exported_again(store, tmp_path):
    file = tmp_path / "results.jsonl"
    export(store, file)
    whole = file.read_bytes()
    file.write_bytes(whole.partition(b"\n")[2])
    assert len(load(file)) == 6
    export(Store(tmp_path / "empty"), file)
    assert file.read_bytes() == whole


def test_damaged_results_are_not_exported(store, tmp_path):
    (store.path(train_spec(0)) / "result.json").write_text("{")
    with pytest.raises(PaperlibError, match="damaged"):
        export(store, tmp_path / "results.jsonl")
    assert not (tmp_path / "results.jsonl").exists()


def test_a_missing_ledger_is_named(tmp_path):
    with pytest.raises(PaperlibError, match=r"ledger=.*nowhere\.jsonl"):
        load(tmp_path / "nowhere.jsonl")


# Commands ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def papers(monkeypatch):
    """A book with one toy paper: three models, each defended once."""
    module = ModuleType("paperlib.papers")
    module.PAPERS = ("toy",)
    module.specs = lambda paper, scale, seed: {"toy": grid(3)}[paper]
    module.grid = lambda paper, scale, seed: {"toy": grid(5)}[paper]
    monkeypatch.setitem(sys.modules, "paperlib.papers", module)
    monkeypatch.setattr(cli, "run", lambda specs, store, **options: run(specs, store, runners=RUNNERS, **options))


def command(*arguments, **options):
    done = CliRunner().invoke(cli.app, [str(argument) for argument in arguments], catch_exceptions=False, **options)
    assert done.exit_code == 0, done.output
    return done.output


def test_commands(tmp_path, papers):
    here, there, file = tmp_path / "a b" / "runs", tmp_path / "c" / "runs", tmp_path / "results.jsonl"
    assert "unknown" in command("plan", "toy", "--store", here)
    assert "6 results" in command("run", "toy", "--store", here, "--device", "cpu")
    assert len(computed(Store(here))) == 6
    text = command("plan", "toy", "--store", here)
    assert text.splitlines()[-1].split()[:3] == ["total", "6", "0"]
    assert command("plan", "toy", "--whole", "--store", here).splitlines()[-3].split()[:3] == ["total", "6", "4"]
    listed = json.loads(command("status", "--store", here, "--json"))
    assert [(row["kind"], row["method"], row["results"]) for row in listed["results"]] == [
        ("defend", "ft", 3),
        ("train", "toy", 3),
    ]
    assert "6 results written" in command("export", file, "--paper", "toy", "--store", here)
    assert "6 new results" in command("import", file, "--store", there)
    assert command("status", "--store", there).splitlines()[-1].split()[1] == "6"
    assert "Aborted" in CliRunner().invoke(cli.app, ["gc", "--store", str(here)], input="n\n").output
    assert Store(here).has(train_spec(0), weights=True)
    command("gc", "--store", here, "--yes")
    assert Store(here).has(train_spec(0)) and not Store(here).has(train_spec(0), weights=True)


def test_what_git_does_not_record_is_planned_and_run(tmp_path, papers, monkeypatch):
    """Without a paper's name all papers; a spent budget stops before the next model's runs."""
    recorded = {spec.key: {"spec": spec.to_dict(), "provenance": {"seconds": 1.0}} for spec in grid(1)}
    monkeypatch.setattr(cli, "_recorded", lambda scale: recorded)
    store = tmp_path / "runs"
    assert "Estimated from recorded runs on" in (text := command("plan", "--missing", "--store", store))
    assert re.search(r"total +4 ", text)
    times = iter([0.0, 0.0, 61.0])
    monkeypatch.setattr(cli, "time", SimpleNamespace(monotonic=lambda: next(times)))
    text = command("run", "--missing", "--budget", "1m", "--store", store, "--device", "cpu")
    assert "The budget is spent; 1 of 2 groups of runs are left." in text and "2 results are stored." in text
    assert len(computed(Store(store))) == 2


def test_status_of_an_empty_store(tmp_path):
    assert command("status", "--store", tmp_path / "none").splitlines()[-1].split()[:2] == ["total", "0"]
    assert not (tmp_path / "none").exists()
