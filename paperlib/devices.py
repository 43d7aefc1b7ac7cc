"""Processors and GPUs: which device, its name, how many threads. Torch is imported only when it must be asked."""

import os
import platform
import sys
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path

from paperlib.errors import PaperlibError, choose


def pick_device(device: str) -> str:
    """``"auto"`` as ``"cuda"`` where torch sees a GPU, else ``"cpu"``; other names are checked.

    Raises
    ------
    PaperlibError
        No name of a device, or one that is not on this machine.
    """
    if device != "cpu":
        if device not in ("auto", "cuda") and not (device.startswith("cuda:") and device[5:].isdigit()):
            choose("device", device, ("auto", "cpu", "cuda", "cuda:0"))
        cuda = import_module("torch").cuda
        if device == "auto":
            return "cuda" if cuda.is_available() else "cpu"
        if int(device[5:] or 0) >= cuda.device_count():
            raise PaperlibError(
                f"device={device!r} is not on this machine, torch sees {cuda.device_count()}; use 'cpu'."
            )
    return device


def set_threads(n: int) -> None:
    """Let torch compute with ``n`` threads in this process, whatever ``OMP_NUM_THREADS`` was when it was imported."""
    with suppress(ImportError):  # runs that need no torch
        import_module("torch").set_num_threads(n)


@cache
def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def device_name(device: str) -> str:
    """Model name of the processor or GPU that ``device`` (``cpu``, ``cuda``, ``cuda:1``) stands for."""
    torch = sys.modules.get("torch")  # a run on a GPU has imported it
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device) if torch else device
    return _processor()


def threads() -> int:
    """Processor threads that numerical code may use."""
    if torch := sys.modules.get("torch"):
        return int(torch.get_num_threads())
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return int(limit) if limit.isdigit() else os.cpu_count() or 1
