"""Everything that can be wrong with a folder, its tables, banks, options and cache: one sentence, before anything is
asked."""

import csv
import random
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner
from vdc_server import CLASSES, pictures, serving

from paperlib.cli import app
from paperlib.errors import PaperlibError
from paperlib.vdc import folder as tables
from paperlib.vdc.cache import AnswerCache
from paperlib.vdc.questions import bank, from_file
from paperlib.vdc.types import Answer, Usage

GIVEN = ["cat", "dog", "ship", "dog"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "photos"
    (made / "sub").mkdir(parents=True)
    for i, x in enumerate(pictures([0, 1, 2, 0])):
        Image.fromarray(x).save(made / ("sub/0.png" if i == 0 else f"{i}.png"))
    Image.fromarray(pictures([0])[0]).save(tmp_path / "secret.png")
    write(tmp_path, [["sub/0.png", "cat"], *([f"{i}.png", GIVEN[i]] for i in range(1, 4))])
    return made


def write(
    place: Path, rows: list[list[str]], header: tuple[str, ...] = ("file", "label"), name: str = "labels.csv"
) -> Path:
    with open(place / name, "w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return place / name


def clean(folder: Path, url: str, *more: str, labels: str = "labels.csv") -> Any:
    table = ["--labels", str(folder.parent / labels)]
    engine = ["--engine", "openai", "--base-url", url, "--model", "toy"]
    given = ["vdc", "clean", str(folder), *table, *engine, "--out", str(folder.parent / "report"), *more]
    return CliRunner().invoke(app, given, prog_name="paperlib")


def refused(folder: Path, *more: str, labels: str = "labels.csv") -> str:
    """The one sentence; nothing was asked."""
    with serving() as server:
        done = clean(folder, server.url, *more, labels=labels)
        assert server.requests == 0
    assert done.exit_code == 1 and "Traceback" not in done.output, done.output
    return done.stderr.strip().splitlines()[-1]


def test_files_lie_in_the_folder(folder: Path) -> None:
    place = folder.parent
    for name, said in (
        (str(place / "secret.png"), "is an absolute path outside FOLDER"),
        ("../secret.png", "leads out of FOLDER"),
        ("sub/../../secret.png", "leads out of FOLDER"),
        ("..\\secret.png", "leads out of FOLDER"),
        ("", "the file is empty"),
    ):
        write(place, [["1.png", "dog"], [name, "cat"]])
        sentence = refused(folder)
        assert said in sentence and "row 3" in sentence
    good = [[str(folder / "1.png"), "dog"], ["sub\\0.png", "cat"], ["./2.png", "ship"]]
    write(place, good)
    found, labels = tables.labelled(folder, place / "labels.csv")
    assert [found.name(i) for i in range(3)] == ["1.png", "sub/0.png", "2.png"] and labels == ["dog", "cat", "ship"]
    assert all(found.read(i).shape == (8, 8, 3) for i in range(3))


def test_tables_that_are_none(folder: Path) -> None:
    place = folder.parent
    write(place, [["1.png", "dog"], ["2.png", " "]])
    assert "row 3: the label of '2.png' is empty" in refused(folder)
    assert "is a folder; it must be a CSV file" in refused(folder, labels="photos")
    write(place, [["1.png", "dog"]], ("picture", "label"))
    assert "lacks file" in refused(folder)
    write(place, [["1.png", "dog"], ["2.png", "ship"]])
    assert "is a folder" in refused(folder, "--reference", str(folder))
    assert "is a folder" in refused(folder, "--decisions", str(folder))


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--alpha", "nan", "alpha=nan must lie in [0, 1]"),
        ("--alpha", "-1", "alpha=-1.0 must lie in [0, 1]"),
        ("--alpha", "2", "alpha=2.0 must lie in [0, 1]"),
        ("--target-fpr", "nan", "target_fpr=nan must lie strictly"),
        ("--max-cost", "nan", "max_cost_usd=nan must be a finite number"),
        ("--max-cost", "-1", "max_cost_usd=-1.0 must be a finite number"),
        ("--price-in", "nan", "usd_per_million_prompt=nan must be a finite number"),
        ("--score", "right", "score='right' needs an engine that classifies"),
        ("--logprobs", "no", "logprobs='no'"),
        ("--together", "sometimes", "together='sometimes'"),
    ],
)
def test_options(folder: Path, option: str, value: str, said: str) -> None:
    assert said in refused(folder, option, value)


@pytest.mark.parametrize(
    "text",
    [
        "specific: {cat: Is it a cat?}",
        "specific: {cat: [Is it?]}\nattributes: {fur: cat}",
        "specific: {cat: [Is it?]}\nimagenet: {cat: [a-b]}",
        "specific: {cat: [Is it?]}\nimagenet: {cat: [1000]}",
        "specific: {cat: [Is it?]}\nsynonyms: [kitten]",
        "specific: {cat: [Is it?]}\ngeneral: What is it?",
        "specific: 3",
        "specific: {cat: [[Is it?]]}",
        "specific: {cat: [{text: Is it?, expected: maybe}]}",
        "- a list",
        "specific: {cat: [: : :",
    ],
)
def test_broken_banks(folder: Path, text: str) -> None:
    path = folder.parent / "bank.yaml"
    path.write_text(text)
    with pytest.raises(PaperlibError, match=r"bank\.yaml"):
        from_file(path, ["cat"])
    assert "bank.yaml" in refused(folder, "--questions", str(path))


def test_a_folder_is_no_bank(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").mkdir()
    with pytest.raises(PaperlibError, match="cannot be read"):
        from_file(tmp_path / "x.yaml", ["cat"])


def test_class_names_that_are_numbers_are_generic_unless_they_are_digits(folder: Path) -> None:
    write(folder.parent, [["1.png", "0"], ["2.png", "1"], ["3.png", "0"]])
    assert bank("auto", ["0", "1"]).name == "template"
    with serving() as server:
        done = clean(folder, server.url)
        assert done.exit_code == 0 and "say so with --digits" in done.stderr
        assert not any("digit" in question.lower() for _, question in server.seen)
    with serving() as server:
        done = clean(folder, server.url, "--digits", "--cache", str(folder.parent / "b.sqlite"))
        assert done.exit_code == 0 and any("digit" in question for _, question in server.seen)


# ------------------------------------------------------------------------------------------------------------ cache


def filled(path: Path, n: int = 60) -> dict[Any, Answer]:
    answers: dict[Any, Answer] = {
        (f"{i:064d}", f"{i % 7:032d}", "engine"): Answer(
            f"Yes, number {i}", 0.25, "logprob", usage=Usage(1, 2, 3, 0.5, 1.0)
        )
        for i in range(n)
    }
    store = AnswerCache(path)
    store.put_many(answers)
    store.close()
    return answers


def test_a_damaged_cache_is_one_sentence_and_never_believed(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    answers = filled(path)
    whole, rng, seen = path.read_bytes(), random.Random(0), {"said": 0, "asked again": 0, "unharmed": 0}
    for _ in range(120):
        for more in ("-wal", "-shm"):
            path.with_name(path.name + more).unlink(missing_ok=True)
        raw = bytearray(whole)
        start = rng.randrange(len(raw))
        for k in range(start, min(start + rng.choice([1, 4, 64, 1024]), len(raw))):
            raw[k] = rng.randrange(256)
        path.write_bytes(raw[: rng.choice([len(raw), len(raw), len(raw) // 2])])
        try:
            store = AnswerCache(path)
        except PaperlibError as error:
            assert "Move the file away" in str(error)
            seen["said"] += 1
            continue
        try:
            found = store.get_many(answers)
            assert all(answers[key] == answer for key, answer in found.items())  # a wrong answer is never given out
            seen["unharmed" if len(found) == len(answers) else "asked again"] += 1
            store.put_many(answers)
        except PaperlibError as error:
            assert "Move the file away" in str(error)
            seen["said"] += 1
        finally:
            store.close()
    assert seen["said"] > 10
    path = tmp_path / "changed.sqlite"
    path.write_bytes(whole)
    db = sqlite3.connect(path)
    db.execute("UPDATE answers SET text='No', p_yes=0.9 WHERE picture=?", (f"{3:064d}",))
    db.execute("UPDATE answers SET classes='[0.1' WHERE picture=?", (f"{4:064d}",))
    db.commit()
    db.close()
    store = AnswerCache(path)
    assert len(store.get_many(answers)) == len(answers) - 2  # these two are asked again
    store.close()


def test_other_files_are_no_cache_and_older_ones_are_taken_over(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "text.sqlite").write_text("not a database at all " * 100)
    assert "cannot be used as an answer cache" in refused(folder, "--cache", str(tmp_path / "text.sqlite"))
    other = sqlite3.connect(tmp_path / "other.sqlite")
    other.execute("CREATE TABLE answers (a, b)")
    other.commit()
    other.close()
    assert "has the columns a, b" in refused(folder, "--cache", str(tmp_path / "other.sqlite"))
    assert "cannot be used" in refused(folder, "--cache", str(tmp_path))
    old = tmp_path / "old.sqlite"
    answers = filled(old, 3)
    db = sqlite3.connect(old)
    db.execute("ALTER TABLE answers DROP COLUMN digest")
    db.commit()
    db.close()
    store = AnswerCache(old)
    assert store.get_many(answers) == answers
    store.close()
    db = sqlite3.connect(old)  # its rows have a digest from now on
    db.execute("UPDATE answers SET p_yes=0.9 WHERE picture=?", (f"{1:064d}",))
    db.execute("UPDATE answers SET digest=NULL WHERE picture=?", (f"{2:064d}",))
    db.commit()
    db.close()
    store = AnswerCache(old)
    assert len(store.get_many(answers)) == len(answers) - 2
    store.close()


# ----------------------------------------------------------------------------------------------------------- report


def test_names_and_labels_cannot_do_harm(tmp_path: Path) -> None:
    from paperlib.vdc.cleanse import cleanse
    from paperlib.vdc.engines.oracle import OracleEngine
    from paperlib.vdc.types import picture_key

    place = tmp_path / "p"
    place.mkdir()
    names = ["=HYPERLINK(1).png", "two\nlines.png", "</script><b>.png", "+1.png"]
    x = pictures([0, 1, 2, 0])
    for name, image in zip(names, x, strict=True):
        Image.fromarray(image).save(place / name.replace("/", "_"), format="PNG")
    names = [name.replace("/", "_") for name in names]
    truth = {picture_key(p): CLASSES[k] for p, k in zip(x, [0, 1, 2, 0], strict=True)}
    found = tables.FilePictures(tuple(place / name for name in names), place)
    report = cleanse(found, ["dog"] * 2 + ["cat"] * 2, CLASSES, engine=OracleEngine(truth))
    report.to_csv(tmp_path)
    for file in ("samples.csv", "corrected.csv", "questions.csv"):
        with open(tmp_path / file, newline="") as stream:
            cells = [cell for row in csv.reader(stream) for cell in row]
        assert not any(cell.startswith(("=", "+", "@", "\t", "\r")) for cell in cells)
    rows = tables.read_table(tmp_path / "corrected.csv", ("file", "label"))
    assert {row["file"] for row in rows} == set(names)  # and they come back as they were
    dirty = (tmp_path / "dirty.txt").read_text().splitlines()
    assert len(dirty) == len(report.dirty)
    page = report.to_html(tmp_path / "index.html").read_text()
    assert page.count("</script>") == 2 and "http" not in page.replace("http-equiv", "")


def test_decisions_are_read_back(folder: Path) -> None:
    place = folder.parent
    header = ("file", "decision", "label")
    with serving() as server:
        assert clean(folder, server.url).exit_code == 0
        rows = [["3.png", "fix", "cat"], ["1.png", "keep", "dog"], ["2.png", "remove", ""]]
        write(place, rows, header, "decisions.csv")
        asked = server.requests
        done = clean(folder, server.url, "--decisions", str(place / "decisions.csv"))
        assert done.exit_code == 0 and server.requests == asked, done.output
    assert "0 of 4 flagged" in done.stdout
    left = {
        row["file"]: row["label"] for row in tables.read_table(place / "report" / "corrected.csv", ("file", "label"))
    }
    assert left == {"sub/0.png": "cat", "1.png": "dog", "3.png": "cat"}
    for row, said in (
        (["3.png", "drop", ""], "decision='drop' must be one of keep, fix, remove"),
        (["9.png", "keep", ""], "is none of the pictures"),
        (["3.png", "fix", "cow"], "label='cow' is no class"),
    ):
        write(place, [row], header, "decisions.csv")
        assert said in refused(folder, "--decisions", str(place / "decisions.csv"))


def test_the_page_of_ten_thousand_samples_is_small(tmp_path: Path) -> None:
    import pandas as pd

    from paperlib.vdc.asking import Asked
    from paperlib.vdc.pictures import ArrayPictures
    from paperlib.vdc.report import CleanReport

    n, rng = 10_000, np.random.default_rng(0)
    x = rng.integers(0, 256, (50, 72, 72, 3)).astype(np.uint8)  # noise: the worst that JPEG can be given

    class Same(ArrayPictures):
        def read(self, i: int) -> np.ndarray:
            return x[i % 50]

    samples = pd.DataFrame(
        {
            "position": np.arange(n), "name": [f"folder/picture_{i:06}.jpg" for i in range(n)], "label": "a class",
            "status": np.where(np.arange(n) % 5, "clean", "dirty"), "score": rng.random(n),
            "suggested_label": "another class",
            "n_asked": 6, "n_answered": 6, "why": "", "reason": "another class 83 %, a class 4 %", "descriptions": "",
        }
    )  # fmt: skip
    nothing = Asked(np.zeros((n, 1)), np.zeros((n, 1)), np.zeros(n), None, [()] * n, [""] * n)
    report = CleanReport(
        samples, pd.DataFrame({"question": ["?"]}), {"note": ""}, Usage(), 0, 0, None, None, nothing, Same(x)
    )  # fmt: skip
    page = report.to_html(tmp_path / "index.html")
    assert page.stat().st_size < 20e6
    assert 'img.loading = "lazy"' in page.read_text() and 'src="http' not in page.read_text()
