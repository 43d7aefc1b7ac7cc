"""Answers that were paid for once: a SQLite file keyed by content.

A row is one answer of one engine to one question about one picture. The key is the digest of the pixels, the digest of the
question and the engine's fingerprint, so that a clean picture is asked about once whatever attack, folder or run it is in.
Only answers are stored, never pictures, addresses or keys; errors are not answers and are not stored.

The file is in write-ahead-log mode: each answer is safe when ``put`` returns, also if the process is killed next, and
several processes may share a file. ``export`` writes a portable ``.jsonl.gz`` from which
:class:`paperlib.vdc.engines.replay.ReplayEngine` answers without the model.

Introduced in notebook 01.
"""

import gzip
import json
import os
import sqlite3
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from paperlib.errors import PaperlibError
from paperlib.vdc.types import Answer, Usage

Key = tuple[str, str, str]
"""(picture, question, engine): digest, digest, fingerprint."""
_COLUMNS = "picture, question, engine, text, p_yes, mode, abstained, classes, calls, prompt_tokens, completion_tokens, cost, seconds"
_CREATE = f"""
CREATE TABLE IF NOT EXISTS answers ({_COLUMNS}, PRIMARY KEY (picture, question, engine)) WITHOUT ROWID;
"""
Row = tuple[object, ...]


def _row(key: Key, answer: Answer) -> Row:
    used = answer.usage
    classes = json.dumps([round(p, 5) for p in answer.classes]) if answer.classes else ""
    return (
        *key,
        answer.text,
        answer.p_yes,
        answer.mode,
        int(answer.abstained),
        classes,
        used.calls,
        used.prompt_tokens,
        used.completion_tokens,
        used.cost_usd,
        round(used.seconds, 4),
    )


def _answer(row: Sequence) -> Answer:
    text, p_yes, mode, abstained, classes, calls, prompt, completion, cost, seconds = row
    used = Usage(calls, prompt, completion, cost, seconds)
    return Answer(text, p_yes, mode, bool(abstained), tuple(json.loads(classes)) if classes else (), used)


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
        try:
            if self.path is not None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self.path or ":memory:", timeout=60, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute(
                "PRAGMA synchronous=NORMAL"
            )  # a killed process loses nothing, a power cut the last moments
            self._db.execute(_CREATE)
            self._db.commit()
        except (sqlite3.Error, OSError) as error:
            raise PaperlibError(f"cache={str(path)!r} cannot be used as an answer cache: {error}.") from error

    def get_many(self, keys: Iterable[Key]) -> dict[Key, Answer]:
        """The answers that are there, by key."""
        found: dict[Key, Answer] = {}
        wanted: dict[str, dict[str, list[str]]] = {}
        for picture, question, engine in keys:
            wanted.setdefault(engine, {}).setdefault(picture, []).append(question)
        names = _COLUMNS.split(", ", 3)[3]
        with self._lock:
            for engine, pictures in wanted.items():
                for picture, questions in pictures.items():
                    for question, *row in self._db.execute(
                        f"SELECT question, {names} FROM answers WHERE picture=? AND engine=? AND question IN "
                        f"({','.join('?' * len(questions))})",
                        (picture, engine, *questions),
                    ):
                        found[picture, question, engine] = _answer(row)
        return found

    def put_many(self, answers: Mapping[Key, Answer]) -> None:
        """Store answers; one that is there already is replaced."""
        rows = [_row(key, answer) for key, answer in answers.items()]
        with self._lock:
            self._db.executemany(
                f"INSERT OR REPLACE INTO answers ({_COLUMNS}) VALUES ({','.join('?' * len(_COLUMNS.split(', ')))})",
                rows,
            )
            self._db.commit()

    def __len__(self) -> int:
        with self._lock:
            return int(self._db.execute("SELECT count(*) FROM answers").fetchone()[0])

    def export(self, path: Path | str, engine: str | None = None) -> int:
        """Write all answers (of one engine fingerprint) to a ``.jsonl.gz`` file, sorted; returns how many."""
        where, values = ("WHERE engine=?", (engine,)) if engine else ("", ())
        path, n = Path(path), 0
        part = path.with_name(f".{path.name}.{os.getpid()}")
        part.parent.mkdir(parents=True, exist_ok=True)
        with (
            self._lock,
            open(part, "wb") as raw,
            # no time and no name in the header: the same answers give the same file
            gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as file,
        ):
            for row in self._db.execute(f"SELECT {_COLUMNS} FROM answers {where} ORDER BY 1, 2, 3", values):
                file.write((json.dumps(row, ensure_ascii=False) + "\n").encode())
                n += 1
        part.replace(path)
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
