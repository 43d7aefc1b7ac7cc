"""The ``processes`` executor: the same plan, several runs at once on one machine, on its cores or on its one GPU.

A small model leaves most of a GPU idle, because launching a step's kernels takes longer than computing them; several
processes fill it. A process keeps the data and the last models loaded from run to run. One that dies, or whose GPU
context is broken, is replaced, and its run starts once more: a run's result is published in one step, so nothing is
half there.
"""

import heapq
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import Any

from paperlib.devices import set_threads
from paperlib.errors import PaperlibError
from paperlib.lab.cluster import tasks
from paperlib.lab.plan import Outcome
from paperlib.lab.spec import Spec

BROKEN = ("CUDA error", "CUBLAS_STATUS", "CUDNN_STATUS")
"""What an error says after which nothing more can be computed on the GPU by the same process."""


def _serve(connection: Connection, work: Any, threads: int) -> None:
    """What a process does: run what it is sent, until it is told to end or its GPU context is broken."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to every process of a terminal; the first one decides
    set_threads(threads)
    while (spec := _received(connection)) is not None:
        outcome = work(spec, progress=None)
        connection.send(outcome)
        if _broken(outcome):
            return


def _received(connection: Connection) -> Any:
    try:
        return connection.recv()
    except EOFError:  # the process that sends is gone
        return None


def _broken(outcome: Any) -> bool:
    return any(text in outcome.error for text in BROKEN)


@contextmanager
def _threads_of_libraries(n: int) -> Iterator[None]:
    """While a process starts: what limits the threads of numpy's and scikit-learn's libraries there. They read it when
    they are loaded. Left to themselves each process takes every core, and on shared ones those threads mostly wait for
    each other, spinning: eleven times the processor time in VDC's runs."""
    given = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = str(n)
    try:
        yield
    finally:
        del os.environ["OMP_NUM_THREADS"]
        if given is not None:
            os.environ["OMP_NUM_THREADS"] = given


class _Workers:
    """Processes and what each of them is at."""

    def __init__(self, work: Any, threads: int) -> None:
        self.work, self.threads = work, threads
        self.context = get_context("spawn")  # a forked process cannot use a GPU that its parent has touched
        self.idle: list[tuple[Connection, Any]] = []
        self.busy: dict[Connection, tuple[Any, int]] = {}

    def send(self, number: int, spec: Spec) -> None:
        """Have an idle process, or a new one, run ``spec``."""
        ours, process = self.idle.pop() if self.idle else self._start()
        ours.send(spec)
        self.busy[ours] = (process, number)

    def _start(self) -> tuple[Connection, Any]:
        ours, theirs = self.context.Pipe()
        process = self.context.Process(target=_serve, args=(theirs, self.work, self.threads), daemon=True)
        with _threads_of_libraries(self.threads):
            process.start()
        theirs.close()  # so that its end is seen here when the process is gone
        return ours, process

    def receive(self) -> Iterator[tuple[int, Any]]:
        """Wait; yield the number and the outcome of what has ended, None as outcome where the process died."""
        for ours in wait(list(self.busy)):
            assert isinstance(ours, Connection)
            process, number = self.busy.pop(ours)
            try:
                outcome = ours.recv()
            except EOFError:
                outcome = None
            if outcome is None or _broken(outcome):
                process.join()
                ours.close()
            else:
                self.idle.append((ours, process))
            yield number, outcome

    def close(self) -> None:
        for ours, process in self.idle:
            with suppress(OSError):  # it died while idle
                ours.send(None)
            process.join()
        for process, _ in self.busy.values():  # only where the caller stops early
            process.terminate()
            process.join()


def run_processes(
    groups: list[list[Spec]], work: Any, progress: Any = None, *, workers: int = 2, threads: int = 1, retries: int = 1
) -> Iterator[Any]:
    """Yield outcomes of all runs as they end; those whose parents are there start in the order of the plan.

    Parameters
    ----------
    workers
        Processes at a time. All use the device of the run; on a GPU each holds about 0.5 GB for its context alone.
    threads
        Of torch and of the libraries of linear algebra, in each process.
    retries
        How often a run is started again after its process died or lost its GPU context.

    Raises
    ------
    PaperlibError
        ``workers`` or ``threads`` below 1, ``retries`` below 0.
    """
    for name, value, least in (("workers", workers, 1), ("threads", threads, 1), ("retries", retries, 0)):
        if value < least:
            raise PaperlibError(f"{name}={value!r} must be at least {least}.")
    specs = {i: (chunk[0], set(above)) for i, (chunk, above) in enumerate(tasks(groups, chunk=1))}
    ready = [i for i, (_, above) in specs.items() if not above]
    left = dict.fromkeys(specs, retries)
    pool = _Workers(work, threads)
    try:
        while ready or pool.busy:
            while ready and len(pool.busy) < workers:
                number = heapq.heappop(ready)
                pool.send(number, specs[number][0])
            for number, outcome in list(pool.receive()):
                if (outcome is None or _broken(outcome)) and left[number]:
                    left[number] -= 1
                    heapq.heappush(ready, number)
                    continue
                yield outcome or Outcome(specs[number][0], "failed", error="its process died")
                for i, (_, above) in specs.items():
                    if number in above:
                        above.remove(number)
                        if not above:
                            heapq.heappush(ready, i)
    finally:
        pool.close()
