"""The command line in bad surroundings: read-only, full, damaged, no stdin, wrong values. One sentence and an exit
code, no traceback."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from paperlib import companion, papers
from paperlib.cli.main import app
from paperlib.errors import PaperlibError
from paperlib.experiments import scales
from paperlib.lab.store import Store
from paperlib.report import artefact, gallery

Commands = tuple[str, ...]


def call(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments), prog_name="paperlib")


def process(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "paperlib", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, **more)


def filled(store: Store, specs: Any) -> None:
    """A result for each of ``specs``, which only has to be there."""
    for spec in {above.key: above for one in specs for above in one.ancestry()}.values():
        with store.writing(spec, durable=False) as draft:
            draft.result = {}


def test_a_complete_store_that_is_read_only_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAPERLIB_STORE", str(tmp_path / "runs"))
    specs, store = papers.specs("ft_sam", scales.SMOKE), Store()
    filled(store, specs)

    def refuse(self: Store) -> None:
        raise PaperlibError("read-only")

    monkeypatch.setattr(Store, "check_writable", refuse)
    companion.check_store(specs)
    with pytest.raises(PaperlibError, match="read-only"):
        companion.check_store(papers.specs("ft_sam", scales.SMOKE, 5))


def test_compare_and_claims_go_on_beside_a_damaged_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAPERLIB_STORE", str(tmp_path / "runs"))
    spec, store = papers.specs("ft_sam", scales.SMOKE)[0], Store()
    filled(store, [spec])
    (store.path(spec) / "result.json").write_text("[")
    for command in ("compare", "claims"):
        done = call(command, "ft_sam", "--scale", "smoke")
        assert done.exit_code == 0 and spec.key in done.stderr and "is damaged" in done.stderr, done.output


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (("lab", "plan", "ft_sam"), {"PAPERLIB_STORE": "x" * 5000}),
        (("lab", "status"), {"PAPERLIB_STORE": "/proc/version/x"}),
        (("lab", "status", "--store", "a\0b"), {}),
        (("figure", "benchmark/table1", "--out", "/proc/nothing"), {}),
        (("gallery",), {"PAPERLIB_FIGURES": "/proc/version"}),
        (("reproduce", "mp_fair_regression", "--out", "/proc/nothing"), {}),
        (("lab", "export", "/proc/nothing/results.jsonl"), {}),
        (("lab", "import", "/proc/self/mem"), {}),
    ],
    ids=lambda value: " ".join(value)[:40].replace("\0", "0") if isinstance(value, tuple) else "",
)
def test_places_that_cannot_be_used_are_one_sentence(
    arguments: Commands, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if sys.platform != "linux":
        pytest.skip("needs /proc")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    done = call(*arguments)
    assert done.exit_code in (0, 1, 2) and (done.exception is None or isinstance(done.exception, SystemExit)), (
        done.output
    )
    if arguments[:2] != ("lab", "status"):
        assert done.exit_code and done.stderr.strip() and "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [("lab", "plan", "ft_sam"), ("lab", "run", "ft_sam"), ("figure", "ft_sam/fig1")])
def test_a_negative_seed_is_refused(command: Commands) -> None:
    done = call(*command, "--seed", "-1")
    assert (
        done.exit_code == 2 and "Invalid value for '--seed'" in done.stderr and isinstance(done.exception, SystemExit)
    )


def test_gc_without_stdin_asks_for_yes(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    from lab_toy import RUNNERS, grid

    from paperlib.lab.run import run

    run(grid(1), store, device="cpu", progress=False, runners=RUNNERS)
    command = f'{sys.executable} -m paperlib lab gc --store "{store.root}" <&-'
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "give --yes" in done.stderr and "Traceback" not in done.stderr


def test_a_full_disk_leaves_the_old_picture_and_no_empty_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pandas import DataFrame

    made = artefact.Artefact(
        paper="ft_sam", id="table1", kind="table", scale="smoke", caption="A table", frame=DataFrame({"a": [1]})
    )
    about = {"versions": {}, "commit": None, "device": None, "minutes": None}
    artefact.save(made, tmp_path, about)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}

    def full(self: Path, data: bytes) -> int:
        with open(self, "wb") as file:
            file.write(data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(PaperlibError, match="No space left on device"):
        artefact.save(made, tmp_path, about)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == before


@pytest.mark.parametrize("name", ['"><script>alert(1)</script>', "../../x", "A"])
@pytest.mark.parametrize("field", ["id", "scale"])
def test_the_gallery_shows_no_id_that_save_would_not_write(tmp_path: Path, field: str, name: str) -> None:
    file = tmp_path / "smoke" / "ft_sam" / "x.json"
    file.parent.mkdir(parents=True)
    record = {"paper": "ft_sam", "id": "x", "kind": "table", "scale": "smoke", "caption": "", "alt": "", field: name}
    file.write_text(json.dumps(record))
    with pytest.raises(PaperlibError, match=r"x\.json was not written by `save`"):
        gallery.build(tmp_path)


TOY = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background job would ignore
sys.path.insert(0, {tests!r})
from pathlib import Path
from lab_toy import grid
from paperlib.lab.run import run
from paperlib.lab.store import Store

def wait(spec, context):
    (context.store.root.parent / f"started-{{spec.seed}}").touch()
    time.sleep(60)

if __name__ == "__main__":
    run(grid(2), Store({store!r}), device="cpu", executor="processes", options={{"workers": 2}}, progress=False,
        runners={{"train": wait, "defend": wait}})
"""


def test_ctrl_c_prints_no_traceback_of_a_worker(tmp_path: Path) -> None:
    script = tmp_path / "toy.py"
    script.write_text(TOY.format(tests=str(Path(__file__).parent.parent), store=str(tmp_path / "runs")))
    running = subprocess.Popen([sys.executable, str(script)], stderr=subprocess.PIPE, text=True, start_new_session=True)
    for _ in range(600):
        if len(list(tmp_path.glob("started-*"))) == 2:
            break
        time.sleep(0.1)
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does
    _, said = running.communicate(timeout=300)
    assert said.count("Traceback") == 1 and "KeyboardInterrupt" in said, said  # that of the script itself
