"""Answers that were paid for once: a SQLite file keyed by content.

A row is one answer of one engine to one question about one picture. The key is the digest of the pixels, the digest of
the question and the engine's fingerprint, so that a clean picture is asked about once whatever attack, folder or run it
is in. Only answers are stored, never pictures, addresses or keys; errors and abstentions are not answers, are not
stored, and count as unknown where an older file holds them. The file is checked when it is opened; each row carries a
digest of itself, and one that does not agree counts as unknown too: a damaged answer is asked again, not believed.

The file is in write-ahead-log mode: each answer is safe when ``put`` returns, also if the process is killed next, and
several processes may share a file. ``export`` writes a portable ``.jsonl.gz`` from which
:class:`paperlib.vdc.engines.replay.ReplayEngine` answers without the model.

Introduced in notebook 01.
"""

import gzip
import hashlib
import json
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from paperlib.errors import PaperlibError
from paperlib.vdc.types import Answer, Usage

Key = tuple[str, str, str]
"""(picture, question, engine): digest, digest, fingerprint."""
_COLUMNS = (
    "picture, question, engine, text, p_yes, mode, abstained, classes, calls, prompt_tokens, completion_tokens, cost,"
    " seconds"
)
_CREATE = f"""
CREATE TABLE IF NOT EXISTS answers ({_COLUMNS}, digest, PRIMARY KEY (picture, question, engine)) WITHOUT ROWID;
"""
Row = tuple[object, ...]


def _row(key: Key, answer: Answer) -> Row:
    used = answer.usage
    classes = json.dumps([round(p, 5) for p in answer.classes]) if answer.classes else ""
    spent = (used.calls, used.prompt_tokens, used.completion_tokens, used.cost_usd, round(used.seconds, 4))
    return (*key, answer.text, answer.p_yes, answer.mode, int(answer.abstained), classes, *spent)


def _digest(row: Sequence) -> str:
    return hashlib.sha256(repr(tuple(row)).encode("utf-8", "replace")).hexdigest()[:16]


def _answer(row: Sequence) -> Answer:
    text, p_yes, mode, abstained, classes, calls, prompt, completion, cost, seconds = row
    if not isinstance(text, str) or mode not in ("logprob", "score", "text"):
        raise ValueError(f"no answer: {row!r}")
    p = None if p_yes is None else float(p_yes)
    if p is not None and not 0 <= p <= 1:
        raise ValueError(f"p_yes={p!r}")
    used = Usage(int(calls), int(prompt), int(completion), float(cost), float(seconds))
    return Answer(text, p, mode, bool(abstained), tuple(map(float, json.loads(classes))) if classes else (), used)


class AnswerCache:
    """Answers in a file, or in memory with ``path=None``. Usable from several threads.

    Raises
    ------
    PaperlibError
        The file is no SQLite file, or cannot be written.
    """

    def __init__(self, path: Path | str | None = None) -> None:
        self.path = None if path is None else Path(path)
        self._lock = threading.Lock()
        said = f"cache={str(path)!r}"
        try:
            if self.path is not None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self.path or ":memory:", timeout=60, check_same_thread=False)
            damage = self._db.execute("PRAGMA quick_check(1)").fetchone()[0]
            if damage != "ok":
                raise sqlite3.DatabaseError(" ".join(str(damage).split()))
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute(
                "PRAGMA synchronous=NORMAL"
            )  # a killed process loses nothing, a power cut the last moments
            self._db.execute(_CREATE)
            there = [str(row[1]) for row in self._db.execute("PRAGMA table_info(answers)")]
            if there == _COLUMNS.split(", "):  # made before rows had a digest
                self._db.create_function("sha", -1, lambda *row: _digest(row), deterministic=True)
                self._db.execute("ALTER TABLE answers ADD COLUMN digest")
                self._db.execute(f"UPDATE answers SET digest = sha({_COLUMNS})")
            elif there != [*_COLUMNS.split(", "), "digest"]:
                raise sqlite3.DatabaseError(f"its table answers has the columns {', '.join(there)}")
            self._db.commit()
        except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
            raise PaperlibError(
                f"{said} cannot be used as an answer cache: {error}. Move the file away (its answers are asked again),"
                " name another, or make room on the disk."
            ) from error

    @contextmanager
    def _safely(self) -> Iterator[None]:
        """One thread at a time; what SQLite finds broken while it works is said in one sentence."""
        with self._lock:
            try:
                yield
            except (sqlite3.Error, UnicodeDecodeError) as error:
                raise PaperlibError(
                    f"cache={str(self.path)!r} is damaged or was taken away: {error}. Move the file away; its answers"
                    " are asked again."
                ) from error

    def get_many(self, keys: Iterable[Key]) -> dict[Key, Answer]:
        """The answers that are there, by key; abstentions and damaged rows are not."""
        found: dict[Key, Answer] = {}
        wanted: dict[str, dict[str, list[str]]] = {}
        for picture, question, engine in keys:
            wanted.setdefault(engine, {}).setdefault(picture, []).append(question)
        names = _COLUMNS.split(", ", 3)[3]
        with self._safely():
            for engine, pictures in wanted.items():
                for picture, questions in pictures.items():
                    for question, *row, digest in self._db.execute(
                        f"SELECT question, {names}, digest FROM answers WHERE picture=? AND engine=? AND question IN "
                        f"({','.join('?' * len(questions))})",
                        (picture, engine, *questions),
                    ):
                        if digest != _digest((picture, question, engine, *row)):
                            continue
                        with suppress(ValueError, TypeError, AttributeError):
                            answer = _answer(row)
                            if not answer.abstained:
                                found[picture, question, engine] = answer
        return found

    def put_many(self, answers: Mapping[Key, Answer]) -> None:
        """Store answers; one that is there already is replaced."""
        rows = [(*row, _digest(row)) for row in (_row(key, answer) for key, answer in answers.items())]
        marks = ",".join("?" * (len(_COLUMNS.split(", ")) + 1))
        with self._safely():
            self._db.executemany(f"INSERT OR REPLACE INTO answers ({_COLUMNS}, digest) VALUES ({marks})", rows)
            self._db.commit()

    def __len__(self) -> int:
        with self._safely():
            return int(self._db.execute("SELECT count(*) FROM answers").fetchone()[0])

    def export(self, path: Path | str, engine: str | None = None) -> int:
        """Write all answers (of one engine fingerprint) to a ``.jsonl.gz`` file, sorted; returns how many.

        Raises
        ------
        PaperlibError
            ``path`` cannot be written.
        """
        where, values = ("WHERE engine=?", (engine,)) if engine else ("", ())
        path, n = Path(path), 0
        part = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            part.parent.mkdir(parents=True, exist_ok=True)
            with (
                self._safely(),
                open(part, "wb") as raw,
                # no time and no name in the header: the same answers give the same file
                gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as file,
            ):
                for row in self._db.execute(f"SELECT {_COLUMNS} FROM answers {where} ORDER BY 1, 2, 3", values):
                    file.write((json.dumps(row, ensure_ascii=False) + "\n").encode())
                    n += 1
            part.replace(path)
        except OSError as error:
            with suppress(OSError):
                part.unlink()
            raise PaperlibError(f"{path} cannot be written ({error.strerror or error}).") from error
        return n

    def load(self, path: Path | str) -> int:
        """Add the answers of an exported file; returns how many it holds.

        Raises
        ------
        PaperlibError
            No such file, or not one that :meth:`export` wrote.
        """
        n = 0
        for rows in _batches(read_export(path)):
            self.put_many(dict(rows))
            n += len(rows)
        return n

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()


def read_export(path: Path | str) -> Iterable[tuple[Key, Answer]]:
    """The rows of an exported file, one after the other.

    Raises
    ------
    PaperlibError
        No such file, or not one that :meth:`AnswerCache.export` wrote.
    """
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for line in file:
                picture, question, engine, *row = json.loads(line)
                yield (picture, question, engine), _answer(row)
    except (OSError, EOFError, ValueError, TypeError) as error:
        raise PaperlibError(f"answers={str(path)!r} is no readable export of an answer cache: {error}.") from error


def _batches(items: Iterable, size: int = 5000) -> Iterable[list]:
    batch: list = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
