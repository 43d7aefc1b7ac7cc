"""``paperlib vdc``: a user's own folder, and everything that can be wrong with it."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner
from vdc_server import CLASSES, KEY, pictures, serving

from paperlib.cli import app

TRUE = [0, 1, 2, 0]
GIVEN = ["cat", "dog", "ship", "dog"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four pictures, the last with a wrong label, and their table."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    made = tmp_path / "photos"
    made.mkdir()
    for i, x in enumerate(pictures(TRUE)):
        Image.fromarray(x).save(made / f"{i}.png")
    table(tmp_path / "labels.csv", [(f"{i}.png", label) for i, label in enumerate(GIVEN)])
    return made


def table(path: Path, rows: list[tuple[str, str]], header: tuple[str, str] = ("file", "label")) -> Path:
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def call(folder: Path, *more: str, labels: bool = True, url: str = "") -> Any:
    given = ["--labels", str(folder.parent / "labels.csv")] if labels else []
    engine = ["--engine", "openai", "--base-url", url, "--model", "toy"] if url else []
    out = ["--out", str(folder.parent / "report")]
    return CliRunner().invoke(app, ["vdc", "clean", str(folder), *given, *engine, *out, *more], prog_name="paperlib")


def refused(done: Any) -> str:
    assert done.exit_code == 1, done.output
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("paperlib vdc: "), done.stderr
    return last


def samples(folder: Path) -> dict[str, dict[str, str]]:
    with open(folder.parent / "report" / "samples.csv", newline="") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def test_a_folder_is_cleaned_resumed_and_replayed(folder: Path) -> None:
    (folder / "broken.png").write_bytes(b"\x89PNG no picture")
    rows = [(f"{i}.png", label) for i, label in enumerate(GIVEN)]
    table(folder.parent / "labels.csv", [*rows, ("broken.png", "cat"), ("gone.png", "cat"), ("1.png", "catt")])
    with serving() as server:
        options = ("--classes", ",".join(CLASSES), "--price-in", "2", "--price-out", "4")
        dry = call(folder, *options, "--dry-run", url=server.url)
        assert dry.exit_code == 0 and "24 questions to ask" in dry.stdout and "USD" in dry.stdout
        assert server.requests == 0
        done = call(folder, *options, url=server.url)
        assert done.exit_code == 0, done.output
        assert "1 of 7 flagged, 3 clean, 0 undecided, 2 unreadable, 1 with an unknown label" in done.stdout
        asked = server.requests
        again = call(folder, *options, url=server.url)
        assert again.exit_code == 0 and server.requests == asked and "0 questions asked" in again.stdout
    found = samples(folder)
    assert found["3.png"]["status"] == "dirty" and found["3.png"]["suggested_label"] == "cat"
    assert (
        found["broken.png"]["why"].startswith("unreadable: no picture") and "no such file" in found["gone.png"]["why"]
    )
    report = folder.parent / "report"
    assert (report / "dirty.txt").read_text() == "3.png\n" and "3.png" in (report / "index.html").read_text()
    kept = report / "answers.jsonl.gz"
    done = CliRunner().invoke(app, ["vdc", "export", str(report / "answers.sqlite"), str(kept)])
    assert done.exit_code == 0 and kept.is_file()
    done = call(folder, "--engine", "replay", "--answers", str(kept), "--classes", ",".join(CLASSES))
    assert done.exit_code == 0 and "1 of 7 flagged" in done.stdout, done.output


def test_subfolders_are_labels(folder: Path) -> None:
    for i, label in enumerate(GIVEN):
        (folder / label).mkdir(exist_ok=True)
        (folder / f"{i}.png").rename(folder / label / f"{i}.png")
    with serving() as server:
        done = call(folder, labels=False, url=server.url)
    assert done.exit_code == 0 and (folder.parent / "report" / "dirty.txt").read_text() == "dog/3.png\n"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--engine", "openai", "--model", "m"), "needs --base-url"),
        (("--engine", "opnai"), "did you mean 'openai'"),
        (
            ("--engine", "openai", "--base-url", "http://x/v1", "--model", "m", "--api-key-env", "NO_SUCH_KEY"),
            "'NO_SUCH_KEY'",
        ),
        (("--engine", "replay"), "needs --answers"),
        (("--engine", "replay", "--answers", "none.gz"), "no readable export"),
        (("--tie", "paper-code"), "tie='paper-code'"),
        (("--reference", "none.csv"), "does not exist"),
    ],
)
def test_mistakes_are_one_line(folder: Path, options: tuple[str, ...], said: str) -> None:
    assert said in refused(call(folder, *options))


def test_folders_and_tables_that_cannot_be_used(folder: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "no pictures in subfolders" in refused(call(empty, labels=False))
    assert "is no folder" in refused(call(tmp_path / "none"))
    table(tmp_path / "labels.csv", [])
    assert "has no rows" in refused(call(folder))
    table(tmp_path / "labels.csv", [("0.png", "cat")], ("file", "class"))
    assert "it needs file and label" in refused(call(folder))
    (tmp_path / "labels.csv").write_bytes(np.arange(256, dtype=np.uint8).tobytes())
    assert "is no CSV file" in refused(call(folder))


def test_an_endpoint_that_is_down_and_a_wrong_key(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(key=KEY) as server:
        monkeypatch.setenv("TOY_KEY", "wrong-key")
        said = refused(call(folder, "--api-key-env", "TOY_KEY", url=server.url))
        assert "refuses access" in said and "wrong-key" not in said
        monkeypatch.setenv("TOY_KEY", KEY)
        assert call(folder, "--api-key-env", "TOY_KEY", url=server.url).exit_code == 0
        url = server.url
    for path in (folder.parent / "report").iterdir():
        assert KEY.encode() not in path.read_bytes()
    down = refused(call(folder, "--retries", "0", "--cache", str(folder.parent / "other.sqlite"), url=url))
    assert "did not answer in 1 tries; last: no connection" in down


def test_questions_are_suggested_into_a_file(folder: Path) -> None:
    with serving(chat_reply='["Is it soft?"]') as server:
        path = folder.parent / "bank.yaml"
        done = CliRunner().invoke(
            app, ["vdc", "suggest", "cat,dog", str(path), "--base-url", server.url, "--model", "toy"]
        )
    assert done.exit_code == 0 and "reviewed: false" in path.read_text(), done.output
    assert "not reviewed" in refused(
        call(folder, "--questions", str(path), "--engine", "openai", "--base-url", "http://x/v1", "--model", "m")
    )
