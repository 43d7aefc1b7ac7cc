"""Results on disk: one folder per finished spec, and nothing else counts as a result.

``<store>/<kind>/<label>-<key>/`` holds ``spec.json``, ``result.json``, ``provenance.json`` and, where the run made a
model, ``weights.safetensors``. The folder is written beside its final place under a name ending in ``.tmp``, flushed
to disk, then renamed: a killed run leaves no half result. Beside it may lie ``<label>-<key>.failed.json`` (the last
attempt failed) and ``<label>-<key>.damaged-*`` (a result with bad content, moved out of the way).

The provenance holds two SHA-256: ``weights_sha256``, and ``sha256`` of spec, result and all other provenance
(:func:`digest`). What was recorded before they existed has neither, and is read as it is. A file that cannot be
*opened* is no damage.

A result may outlive its weights (``gc``, or an imported ledger): ``weights_bytes`` in its provenance says that it had
some.
"""

import hashlib
import json
import math
import os
import secrets
import shutil
import stat
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from paperlib import files, paths
from paperlib.errors import PaperlibError, choose
from paperlib.lab.spec import KINDS, Spec

SPEC, RESULT, PROVENANCE, WEIGHTS = "spec.json", "result.json", "provenance.json", "weights.safetensors"
FAILED, TEMPORARY, DAMAGED = ".failed.json", ".tmp", ".damaged-"
LEFTOVER_AGE = 60  # seconds; a younger temporary folder may be one that its run has not locked yet
PASSED = ("DataMissing:", "MemoryError:", "OutOfMemoryError:", "OSError:", "FileNotFoundError:", "PermissionError:")
"""How records of failures begin that earlier versions wrote and that say nothing about the run."""


class Damaged(PaperlibError):
    """A stored result whose content is bad, or is not the result of its spec."""


class NotStored(PaperlibError):
    """A result or weights that are not, or no longer, in the store."""


@dataclass(frozen=True)
class Record:
    """One stored result, as read from its folder."""

    key: str
    folder: Path
    spec: dict[str, Any]
    result: dict[str, Any]
    provenance: dict[str, Any]
    weights_bytes: int  # on disk now; ``provenance["weights_bytes"]`` is what the run wrote

    @property
    def complete(self) -> bool:
        """Whether the weights that the run wrote, if any, are still there."""
        return self.weights_bytes >= (self.provenance.get("weights_bytes") or 0)


@dataclass
class Draft:
    """What :meth:`Store.writing` yields: write weights into ``folder``, set ``result`` and ``provenance``."""

    folder: Path
    result: dict[str, Any] | None = None
    provenance: dict[str, Any] = field(default_factory=dict)


def plain(value: Any) -> Any:
    """JSON form of a result: arrays and array scalars as lists and numbers, NaN and infinities as null."""
    if isinstance(value, dict):
        return {str(name): plain(v) for name, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return plain(value.tolist()) if hasattr(value, "tolist") else value


def as_json(value: Any) -> bytes:
    """``value`` as readable JSON with sorted keys."""
    return (json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n").encode("ascii")


def digest(spec: Mapping[str, Any], result: Mapping[str, Any], provenance: Mapping[str, Any]) -> str:
    """SHA-256 of a result with its spec and its provenance, whatever the spacing and the order of their names."""
    row = {"spec": spec, "result": result, "provenance": {k: v for k, v in provenance.items() if k != "sha256"}}
    text = json.dumps(row, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def sound(spec: Mapping[str, Any], result: Mapping[str, Any], provenance: Mapping[str, Any]) -> bool:
    """Whether the sum in the provenance is right; True for what was recorded before there were sums."""
    if "sha256" not in provenance:
        return "weights_sha256" not in provenance
    try:
        return provenance["sha256"] == digest(spec, result, provenance)
    except ValueError:  # a NaN, which is never written
        return False


def _unreadable(path: str, error: OSError) -> PaperlibError:
    return PaperlibError(f"{path} cannot be read ({error.strerror or error}); it stays as it is.")


def _read_json(folder: str, name: str) -> dict[str, Any]:
    path = os.path.join(folder, name)
    try:
        with open(path, "rb") as file:
            value = json.loads(file.read())
    except (FileNotFoundError, NotADirectoryError):
        raise _damaged(folder, f"{name} is missing") from None
    except OSError as error:
        raise _unreadable(path, error) from error
    except (ValueError, RecursionError) as error:
        raise _damaged(folder, f"{name}: {error}") from None
    if not isinstance(value, dict):
        raise _damaged(folder, f"{name} holds a {type(value).__name__}, not an object")
    return value


def _damaged(folder: str, why: str) -> Damaged:
    return Damaged(
        f"the stored result in {folder} is damaged ({why}); delete that folder, or run it again, which moves it aside."
    )


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise _unreadable(path, error) from error


def _sum(folder: str, name: str) -> str:
    path = os.path.join(folder, name)
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error


def _sync(path: Path) -> None:
    """Flush one file, or the entries of one folder, to the disk."""
    if path.is_dir():
        if os.name == "nt":  # Windows cannot open folders, and needs no flush of them
            return
        descriptor = os.open(path, os.O_RDONLY)
    else:
        descriptor = os.open(path, os.O_RDWR)  # Windows flushes only what is open for writing
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(folder: str, weights: bool = False) -> Record:
    provenance, spec, result = (_read_json(folder, name) for name in (PROVENANCE, SPEC, RESULT))
    if not sound(spec, result, provenance):
        raise _damaged(folder, "its content does not fit its SHA-256")
    size, written = _size(os.path.join(folder, WEIGHTS)), provenance.get("weights_bytes") or 0
    if size and size != written:
        raise _damaged(folder, f"{WEIGHTS} has {size} bytes where {written} were written")
    if weights and size and (sum_ := provenance.get("weights_sha256")) and _sum(folder, WEIGHTS) != sum_:
        raise _damaged(folder, f"{WEIGHTS} does not fit its SHA-256")
    return Record(
        key=folder[-16:], folder=Path(folder), spec=spec, result=result, provenance=provenance, weights_bytes=size
    )


class Store:
    """The folder of all finished runs.

    Parameters
    ----------
    root
        Where; by default :func:`paperlib.paths.store_dir`. Created on the first write.

    Raises
    ------
    PaperlibError
        ``root`` is a file.
    """

    def __init__(self, root: str | os.PathLike[str] | None = None) -> None:
        self.root = Path(root).expanduser().absolute() if root is not None else paths.store_dir()
        try:
            there = stat.S_ISDIR(os.stat(self.root).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            there = True
        except (OSError, ValueError) as error:
            raise PaperlibError(f"store={str(self.root)[:200]!r} cannot be used ({error}); give a folder.") from None
        if not there:
            raise PaperlibError(f"store={str(self.root)!r} is a file; give a folder (or set PAPERLIB_STORE to one).")

    def path(self, spec: Spec) -> Path:
        """Folder of the result of ``spec``, whether it exists or not."""
        return self.root / spec.kind / f"{spec.label}-{spec.key}"

    # Reading ------------------------------------------------------------------------------------------------------

    def read(self, spec: Spec, weights: bool = False) -> Record | None:
        """The stored result of ``spec``, or None where there is none; if ``weights``, their checksum is compared too.

        Raises
        ------
        Damaged
            What the folder holds is damaged, or the result of another spec.
        PaperlibError
            A file cannot be opened.
        """
        folder = str(self.path(spec))
        for attempt in range(2):
            try:
                if not stat.S_ISDIR(os.stat(folder).st_mode):
                    return None
                record = _read(folder, weights)
            except (FileNotFoundError, NotADirectoryError):
                return None
            except OSError as error:
                raise _unreadable(folder, error) from error
            except Damaged:  # or another process replaced it meanwhile
                if attempt:
                    raise
            else:
                break
        if record.spec != spec.to_dict():
            raise _damaged(folder, f"{SPEC} is not the spec with key {spec.key}")
        return record

    def has(self, spec: Spec, weights: bool = False) -> bool:
        """Whether a readable result of ``spec`` is stored; if ``weights``, with all the weights that it had."""
        try:
            record = self.read(spec)
        except Damaged:
            return False
        return record is not None and (record.complete or not weights)

    def _existing(self, spec: Spec, weights: bool = False) -> Record:
        record = self.read(spec, weights)
        if record is None:
            raise NotStored(f"{spec.label} ({spec.key}) has no result in {self.root}; run it first.")
        return record

    def result(self, spec: Spec) -> dict[str, Any]:
        """What the runner returned for ``spec``. Raises PaperlibError where there is none, Damaged where unreadable."""
        return self._existing(spec).result

    def provenance(self, spec: Spec) -> dict[str, Any]:
        """How the result of ``spec`` came about: device, seconds, versions, commit. Raises as :meth:`result`."""
        return self._existing(spec).provenance

    def weights_path(self, spec: Spec) -> Path:
        """Path of the weights of ``spec``. Raises as :meth:`result`, and where the result is there without weights."""
        record = self._existing(spec, weights=True)
        if not record.weights_bytes:
            why = "were dropped" if not record.complete else "were never written"
            raise NotStored(f"{spec.label} ({spec.key}) has a result in {self.root} but its weights {why}.")
        return record.folder / WEIGHTS

    def failure(self, spec: Spec) -> dict[str, Any] | None:
        """The record of the last failed attempt (``error``, ``traceback``, ``spec``, ``seconds``), or None."""
        path = self.path(spec)
        try:
            record = _read_json(str(path.parent), path.name + FAILED)
        except Damaged:
            return None
        return None if str(record.get("error")).startswith(PASSED) else record

    def _folders(self) -> Iterator[os.DirEntry[str]]:
        """Everything that lies in the folders of the known kinds."""
        for kind in KINDS:
            try:
                with os.scandir(self.root / kind) as entries:
                    yield from entries
            except FileNotFoundError:
                continue
            except OSError as error:
                raise PaperlibError(f"store={str(self.root)!r} cannot be read ({error.strerror}).") from None

    def scan(self) -> Iterator[Record | Damaged]:
        """All stored results, the unreadable ones as the error that reading them raises. In no particular order."""
        for entry in self._folders():
            if entry.name.endswith((TEMPORARY, FAILED)) or DAMAGED in entry.name:
                continue
            try:
                yield _read(entry.path)
            except Damaged as error:
                yield error

    def failures(self) -> int:
        """How many failed attempts are on record."""
        return sum(entry.name.endswith(FAILED) for entry in self._folders())

    # Writing ------------------------------------------------------------------------------------------------------

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """While the block runs, :meth:`gc` drops no weights."""
        with files.held(self.root) if self.root.is_dir() else nullcontext():
            yield

    def check_writable(self) -> None:
        """Raise one clear PaperlibError if results cannot be written here; leaves nothing behind."""
        probe = self.root / f"probe-{secrets.token_hex(4)}{TEMPORARY}"
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            probe.mkdir()
            probe.rmdir()
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> PaperlibError:
        return PaperlibError(
            f"store={str(self.root)!r} cannot be written ({error.strerror or error}); "
            "set PAPERLIB_STORE to a folder that can, or ask only for results that are stored."
        )

    @contextmanager
    def writing(self, spec: Spec, durable: bool = True) -> Iterator[Draft]:
        """Write the result of ``spec``: everything, or, where the block raises or is killed, nothing.

        The first of several processes wins: where another one has stored a complete result meanwhile, this one's is
        dropped quietly. Read the stored one with :meth:`result` afterwards. A stored result that lost its weights is
        replaced as a whole, so that weights and numbers are of one run.

        Parameters
        ----------
        durable
            Flush to the disk before the result counts. Without it, many small results are written ten times faster, and
            a power cut may leave one damaged (which is noticed); for what can be had again at once.

        Raises
        ------
        PaperlibError
            The store cannot be written, or the block set no result.
        """
        final = self.path(spec)
        draft = Draft(final.parent / f"{final.name}.{secrets.token_hex(4)}{TEMPORARY}")
        lock = ExitStack()  # says to gc() that the run is alive
        try:
            draft.folder.mkdir(parents=True)
            lock.enter_context(files.held(draft.folder))
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            yield draft
            if draft.result is None:
                raise PaperlibError(f"the run of {spec.label} ({spec.key}) gave no result; a runner returns a dict.")
            size = _size(str(draft.folder / WEIGHTS))
            about = {"weights_bytes": size, "weights_sha256": _sum(str(draft.folder), WEIGHTS) if size else None}
            row = {SPEC: spec.to_dict(), RESULT: plain(draft.result), PROVENANCE: plain(about | draft.provenance)}
            row[PROVENANCE]["sha256"] = digest(*row.values())
            for name, value in row.items():
                (draft.folder / name).write_bytes(as_json(value))
            for path in (*draft.folder.iterdir(), draft.folder) if durable else ():
                _sync(path)
            self._publish(spec, draft.folder)
            if durable:
                _sync(final.parent)
        finally:
            shutil.rmtree(draft.folder, ignore_errors=True)  # gone already where it became the result
            lock.close()
        self.path_of_failure(spec).unlink(missing_ok=True)

    def path_of_failure(self, spec: Spec) -> Path:
        """File that records the last failed attempt at ``spec``, whether it exists or not."""
        path = self.path(spec)
        return path.with_name(path.name + FAILED)

    def _publish(self, spec: Spec, folder: Path) -> None:
        final = self.path(spec)
        for _ in range(3):  # each round another process may have stored, or cleared, the same key
            try:
                os.rename(folder, final)
            except OSError:
                if not final.exists():
                    raise
                if self.has(spec, weights=True):
                    return
                self.move_aside(spec) if not self.has(spec) else self._discard(final)
            else:
                return
        raise PaperlibError(f"{final} cannot be replaced; something else keeps writing it.")

    def _discard(self, folder: Path) -> None:
        aside = folder.with_name(f"{folder.name}.{secrets.token_hex(4)}{TEMPORARY}")
        try:
            os.rename(folder, aside)
        except FileNotFoundError:  # another process was faster
            return
        shutil.rmtree(aside, ignore_errors=True)

    def move_aside(self, spec: Spec) -> Path | None:
        """Rename the folder of a damaged result so that nothing reads it; None where another process was faster."""
        final = self.path(spec)
        aside = final.with_name(f"{final.name}{DAMAGED}{secrets.token_hex(4)}")
        try:
            os.rename(final, aside)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unwritable(error) from error
        return aside

    def record_failure(self, spec: Spec, error: BaseException, seconds: float) -> None:
        """Write ``<label>-<key>.failed.json``; the next success removes it."""
        path = self.path_of_failure(spec)
        record = {
            "error": f"{type(error).__name__}: {error}",
            "key": spec.key,
            "seconds": round(seconds, 2),
            "spec": spec.to_dict(),
            "traceback": "".join(traceback.format_exception(error)),
        }
        files.write(path, as_json(record))

    # Cleaning -----------------------------------------------------------------------------------------------------

    def _leftovers(self, now: float) -> list[Path]:
        """Damaged results, and what killed runs left."""

        def dead(entry: os.DirEntry[str]) -> bool:
            try:
                if now - entry.stat().st_mtime <= LEFTOVER_AGE:
                    return False
                if not entry.is_dir():
                    return True
                with files.held(Path(entry.path), exclusive=True, wait=False) as nobody:
                    return nobody
            except FileNotFoundError:  # it ended at this moment
                return False

        return [
            Path(entry.path)
            for entry in self._folders()
            if DAMAGED in entry.name or (entry.name.endswith(TEMPORARY) and dead(entry))
        ]

    def sizes(self) -> dict[str, int]:
        """Bytes on disk of ``weights``, of everything else in results (``results``), and of ``leftovers``."""
        out = {"results": 0, "weights": 0, "leftovers": sum(_tree_size(path) for path in self._leftovers(time.time()))}
        for record in self.scan():
            if isinstance(record, Record):
                out["weights"] += record.weights_bytes
                out["results"] += _tree_size(record.folder) - record.weights_bytes
        return out

    def gc(self, keep: str = "results") -> int:
        """Free disk space; returns the bytes freed.

        Parameters
        ----------
        keep
            ``"results"``: drop all weights (a later run that needs some trains that model again) and leftovers.
            ``"weights"``: drop only leftovers, that is damaged results and temporary folders whose run is gone.

        Raises
        ------
        PaperlibError
            The store cannot be written, or weights are to be dropped while runs that may need them use the store.
        """
        choose("keep", keep, ("results", "weights"))
        freed, alone = 0, ExitStack()
        try:
            drop = keep == "results" and self.root.is_dir()
            if drop and not alone.enter_context(files.held(self.root, exclusive=True, wait=False)):
                raise PaperlibError(
                    f"runs are using store={str(self.root)!r}; wait until they have ended, or drop only what dead ones"
                    " left, with keep='weights' (--keep weights)."
                )
            for path in self._leftovers(time.time()):
                freed += _tree_size(path)
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            for record in self.scan() if drop else ():
                if isinstance(record, Record) and record.weights_bytes:
                    (record.folder / WEIGHTS).unlink()
                    freed += record.weights_bytes
        except OSError as error:
            raise self._unwritable(error) from error
        finally:
            alone.close()
        return freed


def _tree_size(path: Path) -> int:
    if path.is_dir():
        return sum(_size(str(file)) for file in path.rglob("*"))
    return _size(str(path))
