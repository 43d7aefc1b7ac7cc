"""Run what a grid of specs still needs, and return its results.

An executor takes the plan's groups and a function that runs one spec; it decides where and in which order that
happens. ``inline`` runs everything in this process. All bookkeeping is in :func:`execute`, which depends on nothing but
the store and can be sent to another process.
"""

import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any, TextIO

from paperlib import registry
from paperlib.devices import pick_device
from paperlib.errors import DataMissing, PaperlibError, choose
from paperlib.lab import provenance
from paperlib.lab.cluster import run_ray
from paperlib.lab.plan import Outcome, Plan, duration, plan
from paperlib.lab.processes import BROKEN, run_processes
from paperlib.lab.spec import RUNNERS, Spec
from paperlib.lab.store import Damaged, NotStored, Store

Runner = Callable[[Spec, "Context"], dict[str, Any]]
Step = Callable[[float, str], None]


def _ignore(fraction: float, text: str) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True)
class Context:
    """What a runner gets beside its spec.

    ``folder`` becomes the result's folder: weights go to ``folder / "weights.safetensors"``. ``store`` holds the
    parents' results and weights. ``device`` is ``"cpu"`` or ``"cuda"`` (or ``"cuda:1"``). ``progress(fraction, text)``
    may be called as often as convenient.
    """

    folder: Path
    store: Store
    device: str
    progress: Step = _ignore


class RunFailed(PaperlibError):
    """Some runs of a grid failed; ``results`` holds the others, ``outcomes`` what happened to those that failed."""

    def __init__(self, message: str, results: dict[str, dict[str, Any]], outcomes: list[Outcome]) -> None:
        super().__init__(message)
        self.results = results
        self.outcomes = outcomes


def load_runner(runner: str | Runner) -> Runner:
    """The function that an entry of :data:`RUNNERS` names."""
    if not isinstance(runner, str):
        return runner
    module, _, name = runner.partition(":")
    return getattr(import_module(module), name)


def _device_there(device: str, options: Mapping[str, Any] | None) -> str:
    """The device of a task on another node: a GPU if the task was promised one."""
    if device != "auto":
        return device
    return "cuda" if (options or {}).get("gpus") else "cpu"


SURROUNDINGS = (OSError, MemoryError, ImportError, DataMissing, Damaged, NotStored)
FULL = ("No space left on device", "Disk quota exceeded", "Too many open files", "Read-only file system")
"""Of what is wrong with a disk or a process, all further runs would fail as well."""
PASSING = ("out of memory", "can't allocate memory", *FULL, *BROKEN)


def passing(error: BaseException) -> bool:
    """Whether an error says nothing about the run itself: missing data, a full disk or memory, a broken GPU. It is not
    recorded, and the run is tried again the next time."""
    causes: list[BaseException] = []
    while error is not None and error not in causes:
        causes.append(error)
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return any(isinstance(one, SURROUNDINGS) or any(text in str(one) for text in PASSING) for one in causes)


def execute(
    spec: Spec,
    store: Store,
    device: str,
    runners: Mapping[str, str | Runner],
    environment: Mapping[str, Any],
    progress: Callable[[Spec, float, str], None] | None = None,
    methods: registry.Own = (),
) -> Outcome:
    """Run one spec and store its result, or its failure if it is the method's own (:func:`passing`). ``methods`` were
    registered where the plan was made."""
    registry.adopt(methods)
    with store.in_use():
        return _execute(spec, store, device, runners, environment, progress)


def _execute(
    spec: Spec,
    store: Store,
    device: str,
    runners: Mapping[str, str | Runner],
    environment: Mapping[str, Any],
    progress: Callable[[Spec, float, str], None] | None,
) -> Outcome:
    if store.has(spec, weights=True):  # someone else was faster
        return Outcome(spec, "stored")
    for parent in spec.parents():
        if not store.has(parent, weights=True):
            return Outcome(spec, "blocked", error=f"needs {parent.label} ({parent.key}), which has no result")
    started, start, work = datetime.now(UTC).date().isoformat(), time.perf_counter(), time.process_time()
    try:
        with store.writing(spec) as draft:
            step = partial(progress, spec) if progress else _ignore
            draft.result = load_runner(runners[spec.kind])(spec, Context(draft.folder, store, device, step))
            seconds = time.perf_counter() - start
            draft.provenance = {
                **environment,
                "device": device.partition(":")[0],
                "device_name": provenance.device_name(device),
                "peak_rss_mb": provenance.peak_memory_mb(),
                "seconds": round(seconds, 2),
                "cpu_seconds": round(
                    time.process_time() - work, 2
                ),  # of all threads; on a shared machine the fairer one
                "seed": spec.seed,
                "started": started,
                "threads": provenance.threads(),
            }
    except Exception as error:
        seconds = time.perf_counter() - start
        if not passing(error):
            store.record_failure(spec, error, seconds)
        return Outcome(spec, "failed", seconds, f"{type(error).__name__}: {error}")
    return Outcome(spec, "done", seconds)


def run_inline(groups: list[list[Spec]], work: Callable[..., Outcome], progress: Any = None) -> Iterator[Outcome]:
    """One after the other, in this process."""
    for group in groups:
        for spec in group:
            yield work(spec, progress=progress)


EXECUTORS: dict[str, Callable[..., Iterator[Outcome]]] = {
    "inline": run_inline,
    "processes": run_processes,
    "ray": run_ray,
}
"""Name -> function ``(groups, work, progress, **options)`` that applies ``work(spec, progress=...)`` to every spec,
groups in order of dependency, and yields outcomes. Options: :func:`paperlib.lab.processes.run_processes`,
:func:`paperlib.lab.cluster.run_ray`."""


def run(
    specs: Iterable[Spec],
    store: Store | None = None,
    *,
    device: str = "auto",
    executor: str = "inline",
    options: Mapping[str, Any] | None = None,
    progress: bool = True,
    retry_failed: bool = False,
    strict: bool = True,
    runners: Mapping[str, str | Runner] = RUNNERS,
    report: Callable[[str], None] | None = None,
) -> dict[str, dict[str, Any]]:
    """Results of ``specs``; what is not stored yet is computed, with the ancestors that it needs.

    A failing run is recorded and the rest goes on; what depends on it is blocked. Stopped at any moment, by Ctrl-C or
    by force, the store holds what was finished, and the next call goes on from there.

    Parameters
    ----------
    device
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:1"``. Not part of a key.
    executor, options
        Where runs happen, and the executor's keyword arguments:
        ``executor="ray", options={"address": "auto", "gpus": 0.5}``.
    progress
        Show progress on stderr: a bar per group on a terminal, else a line every few seconds.
    retry_failed
        Run again what failed in an earlier call.
    strict
        Raise :class:`RunFailed` at the end if any of ``specs`` has no result; otherwise leave those out.
    report
        Called with one line for each finished run, instead of ``progress`` (for notebooks).

    Returns
    -------
    dict
        Key of each of ``specs`` -> its result, always as read from the store.

    Raises
    ------
    PaperlibError
        The store cannot be written, or ``device`` or ``executor`` is unknown; all before the first run.
    """
    specs, store = list(specs), store or Store()
    outside = EXECUTORS[choose("executor", executor, EXECUTORS)]
    known = [name for name in signature(outside).parameters if name not in ("groups", "work", "progress")]
    for name in options or {}:
        if not known:
            raise PaperlibError(f"executor={executor!r} takes no options; {name!r} was given.")
        choose(f"option of executor {executor!r}", name, known)
    with store.in_use():
        planned = plan(specs, store, retry_failed=retry_failed)
        outcomes: dict[str, Outcome] = {
            cell.spec.key: Outcome(cell.spec, cell.status, error=cell.error or "an ancestor failed")
            for cell in (*planned.of("failed"), *planned.of("blocked"))
        }
        if groups := planned.groups:
            store.check_writable()
            for kind in {spec.kind for group in groups for spec in group}:
                load_runner(runners[choose("kind", kind, runners)])  # a mistyped or missing one stops here
            with _Progress(planned, sys.stderr if progress else None, report) as shown:
                work = partial(
                    execute,
                    store=store,
                    device=_device_there(device, options) if executor == "ray" else pick_device(device),
                    runners=runners,
                    environment=provenance.environment(),
                    methods=registry.own(),
                )
                for outcome in outside(groups, work, shown.step, **(options or {})):
                    outcomes[outcome.spec.key] = outcome
                    shown.finish(outcome)
                    if any(text in outcome.error for text in FULL):
                        raise PaperlibError(
                            f"stopped, because no further run can be saved: {outcome.spec.label} ({outcome.error})."
                            f" What is finished is kept in {store.root}; the same command goes on."
                        )
    results: dict[str, dict[str, Any]] = {}
    for spec in specs:
        if spec.key not in results and (record := store.read(spec)):
            results[spec.key] = record.result
    missing = [outcomes[key] for key in dict.fromkeys(spec.key for spec in specs) if key not in results]
    if missing and strict:
        raise _failed(missing, list(outcomes.values()), store, results, len({spec.key for spec in specs}))
    return results


def _failed(
    missing: list[Outcome], outcomes: list[Outcome], store: Store, results: dict[str, dict[str, Any]], total: int
) -> RunFailed:
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    causes = "; ".join(f"{outcome.spec.label} ({outcome.error})" for outcome in failed[:5] or missing[:5])
    more = f"; and {len(failed) - 5} more" if len(failed) > 5 else ""
    message = (
        f"{len(missing)} of {total} results are missing because {len(failed)} runs failed: {causes}{more}. Tracebacks"
        f" of what a method failed at are in the *.failed.json files under {store.root}; to try those again, set"
        " retry_failed=True (`paperlib lab run PAPER --retry-failed`). All others are tried again by themselves."
    )
    return RunFailed(message, results, missing)


def watched(stream: TextIO) -> bool:
    """Whether a person sees what is written: a terminal, or a notebook that could be asked something, which papermill,
    nbconvert and tests refuse."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return stream.isatty() or bool(getattr(getattr(shell, "kernel", None), "_allow_stdin", False))


class _Progress:
    """Progress of one grid: one tqdm bar with the run in work and the time left where a person watches
    (:func:`watched`), a line every few seconds elsewhere."""

    every = 5.0  # seconds between lines

    def __init__(self, planned: Plan, stream: TextIO | None, report: Callable[[str], None] | None) -> None:
        self.runs = sum(map(len, planned.groups))
        self.estimates = {cell.spec.key: cell.seconds or 0.0 for cell in planned.of("to do")}
        self.left = planned.seconds
        self.stream = stream if report is None else None
        self.report = report
        self.done = 0
        self.last = time.monotonic()
        self.bar: Any = None
        if self.stream is not None and watched(self.stream):
            with warnings.catch_warnings(action="ignore"):  # without ipywidgets it is a bar of text, as on a terminal
                from tqdm.auto import tqdm
            self.bar = tqdm(
                total=self.runs, unit="run", file=self.stream, bar_format="{l_bar}{bar}| {n}/{total}{postfix}"
            )

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def _left(self) -> str:
        return f", about {duration(self.left)} left" if self.left >= 1 else ""

    def _line(self, spec: Spec, text: str) -> str:
        return f"[{self.done}/{self.runs}] {spec.label}: {text}{self._left()}"

    def _print(self, line: str, always: bool = False) -> None:
        if self.stream is not None and (always or time.monotonic() - self.last >= self.every):
            self.last = time.monotonic()
            print(line, file=self.stream, flush=True)

    def step(self, spec: Spec, fraction: float, text: str) -> None:
        if self.bar is not None:
            self.bar.set_postfix_str(f"{spec.label} {fraction:.0%} {text}{self._left()}")
        else:
            self._print(self._line(spec, f"{fraction:.0%} {text}"))

    def finish(self, outcome: Outcome) -> None:
        self.done += 1
        self.left -= self.estimates[outcome.spec.key]
        text = f"{outcome.status} in {duration(outcome.seconds)}" if outcome.status == "done" else outcome.status
        line = self._line(outcome.spec, f"{text} {outcome.error}".rstrip())
        if self.report is not None:
            self.report(line)
        elif self.bar is not None:
            self.bar.update()
            if outcome.error:
                self.bar.write(line, file=self.stream)
        else:
            self._print(line, always=bool(outcome.error) or self.done == self.runs)
