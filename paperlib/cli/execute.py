"""Notebooks executed by papermill, one after the other or several at a time. Torch is imported by their kernels
only."""

import os
import re
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import redirect_stdout
from io import StringIO
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import typer

from paperlib import files


def execute_all(
    notebooks: list[Path], folder: Path, parameters: Mapping[str, Any], timeout: int | None = None, at_once: int = 1
) -> Iterator[tuple[Path, str, float]]:
    """Execute ``notebooks`` into ``folder``; yields each with what went wrong (:func:`execute`) and its minutes, as
    they end. Several at once begin with the largest file, which has most to draw, so that none is left over.

    What the cells of a notebook print is shown while it runs, or, where several run at once, when it has ended.
    """
    if len(notebooks) > at_once:  # some process executes more than one
        os.environ.setdefault("JUPYTER_DEFAULT_PROVISIONER_NAME", "paperlib-warm")  # see cli/warm_kernel.py
    if at_once == 1 or len(notebooks) == 1:
        for notebook in notebooks:
            typer.echo(f"{notebook.stem}: running at {parameters['scale']} scale")
            yield notebook, *_timed(notebook, folder, parameters, timeout)
        return
    # A notebook changes its process's working directory, so each has a process; whose threads share the cores.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // at_once)))
    typer.echo(f"{len(notebooks)} notebooks at {parameters['scale']} scale, {at_once} at a time")
    with ProcessPoolExecutor(min(at_once, len(notebooks)), get_context("spawn")) as pool:
        running = {
            pool.submit(_quietly, each, folder, parameters, timeout): each
            for each in sorted(notebooks, key=lambda each: -each.stat().st_size)
        }
        try:
            for future in as_completed(running):
                printed, problem, minutes = future.result()
                typer.echo(f"{running[future].stem}:\n{printed}" if printed else "", nl=False)
                yield running[future], problem, minutes
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            raise


def _quietly(*arguments: Any) -> tuple[str, str, float]:
    with redirect_stdout(StringIO()) as printed:
        try:
            problem, minutes = _timed(*arguments)
        except KeyboardInterrupt:  # which the terminal sends to every process; the first one says so
            problem, minutes = "stopped", 0.0
    return printed.getvalue(), problem, minutes


def _timed(notebook: Path, folder: Path, parameters: Mapping[str, Any], timeout: int | None) -> tuple[str, float]:
    start = time.perf_counter()
    problem = execute(notebook, folder / notebook.name, parameters, timeout)
    return problem, (time.perf_counter() - start) / 60


def execute(notebook: Path, target: Path, parameters: Mapping[str, Any], timeout: int | None = None) -> str:
    """Run a notebook; what its cells print is printed. Returns what went wrong, in a few lines; ``""`` if nothing did.

    Parameters
    ----------
    target
        The executed notebook, which is written as far as it got.
    timeout
        Seconds that one cell may take; None: no limit.
    """
    # A kernel that some user installed must not win over this environment's own.
    os.environ.setdefault("JUPYTER_PREFER_ENV_PATH", "1")
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    files.check_folder(target.parent)
    try:
        papermill.execute_notebook(
            notebook,
            target,
            dict(parameters),
            cwd=notebook.parent,  # as in Jupyter and nbval
            progress_bar=False,
            stdout_file=sys.stdout,
            start_timeout=180,
            execution_timeout=timeout,
            extra_arguments=["--IPKernelApp.log_level=50"],  # notices about transport and shutdown are no errors
        )
    except papermill.PapermillExecutionError as error:
        lines = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error.traceback)).rstrip().splitlines()
        tail = [] if error.ename.endswith(("PaperlibError", "DataMissing", "RunFailed")) else lines[-6:-1]
        last = f"{error.ename}: {error.evalue}"
        return "\n".join([f"cell [{error.exec_count}] failed, see {shown(target)}", *tail, last])
    except CellTimeoutError:
        return f"a cell took longer than the {timeout} s of --execution-timeout, see {shown(target)}"
    except DeadKernelError:
        return f"its kernel died, most often for want of memory; finished results are kept, see {shown(target)}"
    except OSError as error:  # mostly a full disk
        return f"{shown(target)} cannot be written ({error.strerror or error})"
    return ""


def shown(path: Path) -> str:
    """Relative to the working directory where that is shorter."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
