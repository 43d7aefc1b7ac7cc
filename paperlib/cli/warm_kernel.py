"""Kernels that start warm: forked from a process that has already imported what every notebook imports.

A kernel spends its first seconds importing torch, pandas and matplotlib. Where several notebooks run one after the
other, one server of :mod:`multiprocessing` imports them once, and every kernel is forked from it (Linux; elsewhere, and
for kernels of another environment, a kernel starts as usual). The server itself never computes, so no thread and no GPU
is shared.

Jupyter finds the class by its entry point, ``paperlib-warm``; ``JUPYTER_DEFAULT_PROVISIONER_NAME=paperlib-warm`` asks
for it.
"""

import os
import signal
import sys
from collections.abc import Mapping
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning import LocalProvisioner

NAME = "paperlib-warm"
FORKS = sys.platform == "linux"
IMPORTS = [
    "torch._dynamo",  # which any optimizer of torch imports
    "torchvision",
    "pandas",
    "matplotlib.pyplot",
    "seaborn",
    "scipy.stats",
    "ipykernel.kernelapp",
    "paperlib.companion",
]


class WarmProvisioner(LocalProvisioner):
    """Forks the kernel that :class:`LocalProvisioner` would start as a new interpreter."""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        if not FORKS or cmd[:3] != [sys.executable, "-m", "ipykernel_launcher"]:
            return await super().launch_kernel(cmd, **kwargs)
        forked = _Forked(cmd[3:], kwargs.get("env") or os.environ, kwargs.get("cwd"))
        self.process, self.pid, self.cwd = forked, forked.pid, kwargs.get("cwd")  # type: ignore[assignment]
        return self.connection_info


class _Forked:
    """A forked kernel with the methods of :class:`subprocess.Popen` that a provisioner calls."""

    stdin = stdout = stderr = None

    def __init__(self, arguments: list[str], environment: Mapping[str, str], folder: Any) -> None:
        context = get_context("forkserver")
        context.set_forkserver_preload(IMPORTS)
        with _backend_of_notebooks():  # the server starts with the first process
            self.process: ForkServerProcess = context.Process(
                target=_serve, args=(arguments, dict(environment), None if folder is None else str(folder))
            )
            self.process.start()

    @property
    def pid(self) -> int | None:
        return self.process.pid

    def poll(self) -> int | None:
        return self.process.exitcode

    def wait(self) -> int | None:
        self.process.join()
        return self.process.exitcode

    def send_signal(self, number: int) -> None:
        if self.pid is not None and self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class _backend_of_notebooks:
    """While the server starts, matplotlib is to choose the backend that it would choose in a kernel."""

    def __enter__(self) -> None:
        self.given = os.environ.get("MPLBACKEND")
        os.environ["MPLBACKEND"] = self.given or "module://matplotlib_inline.backend_inline"

    def __exit__(self, *error: object) -> None:
        if self.given is None:
            os.environ.pop("MPLBACKEND", None)


def _serve(arguments: list[str], environment: dict[str, str], folder: str | None) -> None:
    """What the forked process does: it is the kernel."""
    from ipykernel.kernelapp import IPKernelApp

    os.setsid()  # Ctrl-C goes to every process of a terminal; the first one decides
    os.environ.clear()
    os.environ.update(environment | {"JPY_PARENT_PID": str(os.getppid())})  # the server: it ends with its own parent
    if folder is not None:
        os.chdir(folder)
    IPKernelApp.launch_instance(arguments)
