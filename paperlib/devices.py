"""What the lab asks of torch, in one file: which device, how many threads. Torch is imported only when it is asked."""

from contextlib import suppress
from importlib import import_module

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
