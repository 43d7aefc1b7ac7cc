"""The ``ray`` executor: the same plan, on the cores and GPUs of one machine or of a cluster.

The store is the only thing that workers share; it must lie on a file system that all nodes see under the same path. A
task takes a few runs of one parent model, so that its worker keeps the model and the data loaded, and waits for the
tasks that make its parents. A run's result is published in one step, so a task that dies with its worker or its node is
simply started again elsewhere: what it had finished is found in the store.

Ray is an optional extra: ``pip install paperlib[cluster]``.
"""

import logging
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from typing import Any

from paperlib.devices import set_threads
from paperlib.errors import PaperlibError
from paperlib.lab.plan import Outcome
from paperlib.lab.spec import Spec

CHUNK = 4
"""Runs of one parent model that a task takes at most: more of them wait less for data, fewer spread wider."""


def tasks(groups: list[list[Spec]], chunk: int = CHUNK) -> list[tuple[list[Spec], set[int]]]:
    """Runs that share their parents, ``chunk`` at a time, each with the numbers of the tasks it must wait for."""
    families: dict[tuple[str, ...], list[Spec]] = defaultdict(list)
    for group in groups:
        for spec in group:
            above = tuple(sorted(parent.key for parent in spec.parents()))
            families[above or ("root", spec.key)].append(spec)  # roots share nothing: one task each
    parts = [family[i : i + chunk] for family in families.values() for i in range(0, len(family), chunk)]
    number = {spec.key: i for i, part in enumerate(parts) for spec in part}
    return [
        (part, {number[p.key] for spec in part for p in spec.parents() if p.key in number and number[p.key] != i})
        for i, part in enumerate(parts)
    ]


def _run(chunk: list[Spec], work: Any, cpus: float, *_parents: Any) -> list[Any]:
    """What happens in a worker. ``_parents`` are the results that Ray waits for."""
    set_threads(max(1, int(cpus)))  # Ray's own OMP_NUM_THREADS comes too late if torch is imported already
    return [work(spec) for spec in chunk]


def run_ray(
    groups: list[list[Spec]],
    work: Any,
    progress: Any = None,
    *,
    address: str = "",
    cpus: float = 1,
    gpus: float = 0,
    retries: int = 3,
) -> Iterator[Any]:
    """Yield outcomes of all runs as their tasks end, in whatever order that is.

    Parameters
    ----------
    address
        Of a running cluster: ``"auto"`` or ``"host:port"``. Empty: a cluster of this machine alone, which ends with the
        run.
    cpus, gpus
        Of one task; a fraction of a GPU lets several tasks share one. torch uses ``cpus`` threads in a task.
    retries
        How often a task is started again after its worker or its node was lost.

    Raises
    ------
    PaperlibError
        Ray is not installed, the cluster cannot be reached, or no node can ever offer ``cpus`` and ``gpus``.
    """
    try:
        import ray
    except ImportError:
        raise PaperlibError(
            "executor='ray' needs Ray, which is not installed; install paperlib[cluster], or use 'inline'."
        ) from None
    mine = not ray.is_initialized()
    if mine:
        try:
            ray.init(address=address or None, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, ValueError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise PaperlibError(
                f"address={address!r}: no Ray cluster answers ({reason}); start one with `ray start --head`."
            ) from None
    try:
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if not any(node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= gpus for node in nodes):
            offered = "; ".join(f"{node.get('CPU', 0):g} CPUs, {node.get('GPU', 0):g} GPUs" for node in nodes)
            raise PaperlibError(f"cpus={cpus:g} and gpus={gpus:g} of a task fit on no node; the nodes have: {offered}.")
        remote = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=retries)(_run)
        kept = ray.put(partial(work, progress=None))
        chunks = tasks(groups)
        handles: list[Any] = []
        for chunk, above in chunks:  # parents come first in the plan, so their handles exist
            handles.append(remote.remote(chunk, kept, cpus, *(handles[i] for i in sorted(above))))
        waiting = dict(zip(handles, chunks, strict=True))
        while waiting:
            done, _ = ray.wait(list(waiting), num_returns=1)
            for handle in done:
                chunk, _ = waiting.pop(handle)
                try:
                    yield from ray.get(handle)
                except ray.exceptions.RayError as error:
                    yield from _lost(chunk, work, error)
    finally:
        if mine:
            ray.shutdown()


def _lost(chunk: list[Spec], work: Any, error: Exception) -> Iterator[Any]:
    """Outcomes of a task whose retries are used up: its finished runs are in the store, the others failed."""
    store = work.keywords["store"]
    text = f"{type(error).__name__}: {str(error).splitlines()[0]}"
    for spec in chunk:
        yield Outcome(spec, "stored") if store.has(spec) else Outcome(spec, "failed", error=text)
