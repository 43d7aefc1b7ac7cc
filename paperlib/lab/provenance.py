"""How a number came about: device, versions, commit, threads, memory. No host, user or path names; no torch import."""

import os
import platform
import subprocess
import sys
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from paperlib import __version__
from paperlib.devices import device_name as device_name
from paperlib.devices import threads as threads
from paperlib.paths import ROOT


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def commit() -> dict[str, Any]:
    """``commit`` of the checkout, None outside one; ``dirty``: whether the package's own code differs from it.

    A clean copy without its history (a container's image) says what it is a copy of in ``$PAPERLIB_COMMIT``.
    """
    # An installed package may lie inside some other project's checkout, whose commit would say nothing about this code.
    if not (ROOT / ".git").exists() and (copied := os.environ.get("PAPERLIB_COMMIT")):
        return {"commit": copied, "dirty": False}
    if not (ROOT / ".git").exists() or (revision := _git("rev-parse", "HEAD")) is None:
        return {"commit": None, "dirty": None}
    changes = _git("status", "--porcelain", "--", "paperlib")
    return {"commit": revision, "dirty": None if changes is None else bool(changes)}


def environment() -> dict[str, Any]:
    """Versions of this package, Python, torch and numpy, and the commit."""
    versions = {name: _version(name) for name in ("numpy", "torch")}
    return {"paperlib": __version__, "python": platform.python_version(), **versions, **commit()}


def peak_memory_mb() -> int | None:
    """Peak resident memory of this process since its start, in MB; None on Windows."""
    with suppress(OSError):  # Linux; what getrusage says there may be the peak of the process that started this one
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) // 1024
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (1024 * 1024 if sys.platform == "darwin" else 1024)  # macOS counts bytes, others kilobytes
