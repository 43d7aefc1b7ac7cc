"""Files that are whole or not there, and locks that end with the process that holds them."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from paperlib.errors import PaperlibError

try:
    import fcntl
except ImportError:  # Windows has no flock: there, nothing waits
    fcntl = None  # type: ignore[assignment]


def write(path: Path, data: bytes) -> None:
    """Write a file through a temporary one beside it: a full disk or a kill leaves what was there before.

    Raises
    ------
    PaperlibError
        It cannot be written.
    """
    beside = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            beside.write_bytes(data)
            os.replace(beside, path)
        except BaseException:
            with suppress(OSError):
                beside.unlink()
            raise
    except (OSError, ValueError) as error:
        raise PaperlibError(f"{path} cannot be written ({getattr(error, 'strerror', None) or error}).") from error


def check_folder(folder: Path) -> None:
    """Make ``folder`` where it is missing, and raise a PaperlibError if nothing can be written into it."""
    probe = folder / f"probe-{secrets.token_hex(4)}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.mkdir()
        probe.rmdir()
    except (OSError, ValueError) as error:
        raise PaperlibError(f"{folder} cannot be written ({getattr(error, 'strerror', None) or error}).") from error


@contextmanager
def held(folder: Path, exclusive: bool = False, wait: bool = True) -> Iterator[bool]:
    """Hold a lock on ``folder`` itself while the block runs; yields False where another process has it and ``wait`` is
    false.

    Several may hold it at once unless one of them is ``exclusive``. It ends with the process, killed or not. Where the
    file system knows no locks, a shared one is taken as held and an exclusive one as not.
    """
    if fcntl is None:
        yield not exclusive
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        how = (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | (0 if wait else fcntl.LOCK_NB)
        try:
            fcntl.flock(descriptor, how)
            got = True
        except BlockingIOError:
            got = False
        except OSError:
            got = not exclusive
        yield got
    finally:
        os.close(descriptor)
