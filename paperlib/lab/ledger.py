"""Results as small text files: a JSON line per result, sorted by key, made for git.

A ledger is one file (``*.jsonl``) or a folder with one for each kind of run and tool, ``train.jsonl``,
``analysis-tsne.jsonl``, so that a difference is readable and two runs rarely write the same file. The first line of a
file, ``{"rows", "sha256"}``, says how many there are and gives the SHA-256 of all bytes after it; so a file that was
cut, if at the end of a line, is noticed. Each other line is ``{"key", "provenance", "result", "spec"}``; the
provenance holds the SHA-256 of the line's content. Files and lines from before there were sums have none;
:func:`export` writes them. Weights stay in the store. Ledgers of several machines merge by key.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from paperlib import files
from paperlib.errors import PaperlibError
from paperlib.lab.spec import from_dict
from paperlib.lab.store import Damaged, Store, digest, sound

HEAD = {"rows", "sha256"}
FIELDS = {"key", "spec", "result", "provenance"}


def export(store: Store, file: str | os.PathLike[str], keys: Iterable[str] | None = None) -> int:
    """Write the results of ``store`` into the ledger ``file``; returns how many of them.

    Results already there stay; where both have one, the store's is written. The bytes depend on the rows alone; a file
    of a folder that would not change is not written.

    Parameters
    ----------
    file
        A name without an ending is a folder of such files.
    keys
        Only these; None: all.

    Raises
    ------
    PaperlibError
        A result or a line of what exists is damaged, or nothing can be written there. Each file is then whole, as
        it was or as it is to be.
    """
    file = Path(file)
    try:
        folder = file if _is_folder(file) else file.parent
        folder.mkdir(parents=True, exist_ok=True)
        with files.held(folder, exclusive=True):  # reading, merging and writing are one step
            return _export(store, file, keys)
    except OSError as error:
        raise PaperlibError(f"ledger={str(file)!r} cannot be written ({error.strerror or error}).") from error


def _export(store: Store, file: Path, keys: Iterable[str] | None) -> int:
    rows = load(file) if file.exists() else {}
    wanted = None if keys is None else set(keys)
    count = 0
    for record in store.scan():
        if isinstance(record, Damaged):
            raise record
        if wanted is not None and record.key not in wanted:
            continue
        row: dict[str, Any] = {
            "key": record.key,
            "spec": record.spec,
            "result": record.result,
            "provenance": record.provenance,
        }
        _check(row, f"the stored result in {record.folder}")
        rows[record.key] = row
        count += 1
    for row in rows.values():
        if "sha256" not in row["provenance"]:
            sums = {
                "weights_sha256": None,
                "sha256": digest(row["spec"], row["result"], {**row["provenance"], "weights_sha256": None}),
            }
            row["provenance"] = row["provenance"] | sums
    parts: dict[Path, list[dict[str, Any]]] = {part: [] for part in _parts(file)}
    for key in sorted(rows):
        parts.setdefault(_part(file, rows[key]["spec"]), []).append(rows[key])
    for part, those in parts.items():
        body = b"".join(map(_line, those))
        whole = _line({"rows": len(those), "sha256": hashlib.sha256(body).hexdigest()}) + body
        if not part.exists() or part.read_bytes() != whole:
            files.write(part, whole)
    return count


def _is_folder(file: Path) -> bool:
    return file.is_dir() or not (file.suffix or file.exists())


def _parts(file: Path) -> list[Path]:
    """The files that the ledger has."""
    return sorted(file.glob("*.jsonl")) if file.is_dir() else [file]


def _part(file: Path, spec: dict[str, Any]) -> Path:
    """The file in which ``spec`` belongs."""
    if not _is_folder(file):
        return file
    return file / ("-".join(str(spec[name]) for name in ("kind", "tool") if spec.get(name)) + ".jsonl")


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"


def _check(row: Any, where: str) -> None:
    if not isinstance(row, dict) or set(row) != FIELDS:
        raise PaperlibError(f"{where} is not an object with the fields {', '.join(sorted(FIELDS))}.")
    try:
        key = from_dict(row["spec"]).key
    except (PaperlibError, AttributeError, TypeError) as error:
        raise PaperlibError(f"{where} holds a spec that cannot be read: {error}") from None
    if key != row["key"]:
        raise PaperlibError(f"{where} has key {row['key']!r}, but its spec has key {key!r}; export it again.")
    if not (isinstance(row["result"], dict) and isinstance(row["provenance"], dict)):
        raise PaperlibError(f"{where} has no object as result or provenance; export it again.")
    if not sound(row["spec"], row["result"], row["provenance"]):
        raise PaperlibError(f"{where} is damaged: its content does not fit its SHA-256; export it again.")


def load(file: str | os.PathLike[str]) -> dict[str, dict[str, Any]]:
    """Rows of a ledger, a file or a folder of them, by key, each checked: the key computed from its spec is the one it
    states.

    Raises
    ------
    PaperlibError
        A file is missing or not whole, a line is not a result, or a key is there twice; the message names the line.
    """
    rows: dict[str, dict[str, Any]] = {}
    for part in _parts(Path(file)):
        _load(part, rows)
    return rows


def _load(file: Path, rows: dict[str, dict[str, Any]]) -> None:
    """Add the rows of one file to ``rows``."""
    before = len(rows)
    head: dict[str, Any] = {}
    try:
        data = file.read_bytes()
    except OSError as error:
        raise PaperlibError(f"ledger={str(file)!r} cannot be read ({error.strerror or error}).") from None
    if not data:
        raise PaperlibError(
            f"ledger={str(file)!r} is empty; even one without results has a first line. Get it again, or remove it."
        )
    for number, line in enumerate(data.splitlines(), 1):
        where = f"line {number} of {file}"
        try:
            row = json.loads(line)
        except ValueError as error:
            raise PaperlibError(f"{where} is not JSON ({error}).") from None
        if number == 1 and isinstance(row, dict) and set(row) == HEAD:
            head = row
            continue
        _check(row, where)
        if row["key"] in rows:
            raise PaperlibError(f"{where} repeats key {row['key']!r}; a ledger holds each result once.")
        rows[row["key"]] = row
    if head and head != {"rows": len(rows) - before, "sha256": hashlib.sha256(data.partition(b"\n")[2]).hexdigest()}:
        raise PaperlibError(
            f"{file} is not whole: its first line speaks of {head['rows']} results with another SHA-256, and"
            f" {len(rows) - before} follow. Get it again; if its lines were merged by hand, remove the first one"
            " and export again."
        )


def import_ledger(file: str | os.PathLike[str], store: Store) -> int:
    """Store the results of a ledger, without weights, where the store has none; returns how many were new.

    A model whose result was imported is trained again only when a run needs its weights. Raises as :func:`load`, and
    where the store cannot be written.
    """
    rows = load(file)
    store.check_writable()
    new = 0
    for row in rows.values():
        spec = from_dict(row["spec"])
        if store.has(spec):
            continue
        with store.writing(spec, durable=False) as draft:
            draft.result, draft.provenance = row["result"], row["provenance"]
        new += 1
    return new
