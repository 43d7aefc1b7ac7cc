"""``paperlib``: reproduce papers, draw single items, compare with print. Torch is imported only where something
runs."""

import json
import os
import shutil
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from paperlib import __version__, files, paths
from paperlib.cli import data as data_cli
from paperlib.cli import lab as lab_cli
from paperlib.cli import own
from paperlib.cli import vdc as vdc_cli
from paperlib.cli.console import Commands
from paperlib.cli.execute import execute_all, shown
from paperlib.errors import PaperlibError, choose
from paperlib.experiments import scales

if TYPE_CHECKING:
    import pandas as pd

    from paperlib.experiments.scales import Scale
    from paperlib.papers import Results

app = typer.Typer(
    cls=Commands,
    help="Seven papers, running: every table and figure regenerated, the printed number beside ours.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(data_cli.app, name="data")
app.add_typer(lab_cli.app, name="lab")
app.add_typer(vdc_cli.app, name="vdc")
app.command("inspect")(own.inspect)
app.command("purify")(own.purify)

ScaleOption = Annotated[
    str, typer.Option("--scale", help="smoke, laptop, gpu or paper. [default: $PAPERLIB_SCALE, else smoke]")
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Seed of every random draw.")]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
RecordedOption = Annotated[bool, typer.Option("--recorded", help="Draw from the results in git; compute nothing.")]
OutOption = Annotated[
    Path | None, typer.Option("--out", file_okay=False, help="Folder for what is made, instead of build/.")
]
PaperArgument = Annotated[str, typer.Argument(metavar="[PAPER]", help="One paper; all when left out.")]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"paperlib {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options of all commands."""


def _papers(names: list[str]) -> list[str]:
    """The papers asked for, checked; all seven where none is named."""
    from paperlib.papers import PAPERS

    return [choose("paper", name, PAPERS) for name in dict.fromkeys(names)] or list(PAPERS)


def _check_device(device: str) -> None:
    from paperlib.devices import pick_device

    if device != "auto":  # which always works, and whose check would cost an import of torch
        pick_device(device)


# ------------------------------------------------------------------------------------------------------ inventory


@app.command("list")
def list_command(
    paper: PaperArgument = "", as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False
) -> None:
    """All tables and figures, and how much of each is ours."""
    rows = _inventory(_papers([paper] if paper else []))
    if as_json:
        typer.echo(json.dumps(rows, indent=1, ensure_ascii=False))
        return
    from paperlib.papers import PAPERS
    from paperlib.report import coverage

    for key, about in PAPERS.items():
        if not (mine := [row for row in rows if row["paper"] == key]):
            continue
        typer.echo(
            f"{about.short}, {about.venue}, arXiv {about.arxiv}: {coverage.count(key)} ({key}, {about.notebook})"
        )
        width = max(len(row["id"]) for row in mine)
        for row in mine:
            number = f"{row['kind']} {row['number'] or '?'}{'' if row['verified'] else ' (inferred)'}"
            cells = f", {row['ours']} of {row['printed']} printed cells" if row["printed"] else ""
            state = f"planned: {row['reason']}" if row["reason"] else f"{row['status']}{cells}"
            typer.echo(f"  {row['id']:{width}}  {number:20}  {row['title']} [{state}]")
        typer.echo("")
    if not paper:
        typer.echo(f"All: {coverage.count()}")


def _inventory(keys: list[str]) -> list[dict[str, Any]]:
    from paperlib import papers
    from paperlib.report import coverage
    from paperlib.report.published import inventory

    rows = []
    for item in inventory():
        if item.paper in keys:
            reason = papers.reason(item.paper, item.id)
            row = {name: getattr(item, name) for name in ("paper", "id", "kind", "number", "verified", "title")}
            found = coverage.recorded()[item.paper, item.id]
            row |= {"notebook": item.notebook, "status": found.state, "ours": found.ours, "printed": found.printed}
            row |= {"scale": found.scale, "reason": reason}
            rows.append(row)
    return rows


# ------------------------------------------------------------------------------------------------------- making


@app.command()
def reproduce(
    papers: Annotated[list[str] | None, typer.Argument(metavar="[PAPER]...", help="Papers; all when left out.")] = None,
    scale: ScaleOption = "",
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    recorded: RecordedOption = False,
    out: OutOption = None,
    execution_timeout: Annotated[
        int | None, typer.Option(min=1, help="Seconds that one cell may take.", show_default="no limit")
    ] = None,
    at_once: Annotated[
        int | None,
        typer.Option(min=1, help="Runs, then notebooks, at a time.", show_default="one a core; one on a GPU"),
    ] = None,
) -> None:
    """Execute the notebooks of the papers.

    What they need is computed first, as one grid. Every table and figure is saved, with the numbers it was made from.
    Stopped at any moment, the same command goes on.
    """
    sizes = scales.scale(scale)
    notebooks = _notebooks(papers or [])
    parameters = {"scale": sizes.name, "seed": seed, "device": device, "recorded": recorded}
    _check_before_running(notebooks, parameters, sizes)
    files.check_folder(out or paths.figures_dir())
    folders = {"FIGURES": out or paths.figures_dir(), "STORE": paths.store_dir(), "DATA": paths.data_dir()}
    for name, folder in folders.items():  # for the kernels, whose working directory is another one
        os.environ[f"PAPERLIB_{name}"] = str(folder.resolve())
    executed = (out.resolve() if out else paths.build_dir()) / "notebooks" / sizes.name
    at_once = at_once or _at_once(device, recorded)
    if not recorded and at_once > 1:
        _compute(notebooks, sizes, seed, device, at_once)
    failed = []
    for notebook, problem, minutes in execute_all(list(notebooks), executed, parameters, execution_timeout, at_once):
        paper = notebooks[notebook]
        if problem:
            failed.append(notebook.stem)
            typer.echo(f"{notebook.stem}: {problem}", err=True)
        else:
            typer.echo(f"{notebook.stem}: done in {minutes:.1f} min, {shown(executed / notebook.name)}\n")
            _record(paper, sizes, seed, recorded)
    typer.echo(f"Tables and figures: {shown(_gallery())}")
    if failed:
        raise PaperlibError(
            f"{len(failed)} of {len(notebooks)} notebooks failed ({', '.join(failed)}); the others are complete."
        )


def _notebooks(names: list[str]) -> dict[Path, str]:
    """Notebook -> its paper. Without names: every notebook there is, with the introduction, which is of no paper."""
    from paperlib.papers import PAPERS

    if not paths.NOTEBOOKS.is_dir():
        raise PaperlibError(
            f"{paths.NOTEBOOKS} is not there, and the notebooks do not come with an installed package; run this in a"
            " checkout, or where a copy of its folder notebooks/ lies. `paperlib figure PAPER/ITEM` works without."
        )
    wanted = {} if names else {paths.NOTEBOOKS / "00_start_here.ipynb": ""}
    for paper in _papers(names):
        for name in (PAPERS[paper].notebook, *PAPERS[paper].more):
            wanted[paths.NOTEBOOKS / f"{name}.ipynb"] = paper
    found = {notebook: paper for notebook, paper in wanted.items() if notebook.is_file()}
    for name in names:
        if name not in found.values():
            there = [paper for paper in PAPERS if (paths.NOTEBOOKS / f"{PAPERS[paper].notebook}.ipynb").is_file()]
            raise PaperlibError(f"paper={name!r} has no notebook yet; those with one: {', '.join(there) or 'none'}.")
    if not found:
        raise PaperlibError(f"{paths.NOTEBOOKS} holds no notebook; reproduce needs a checkout of the repository.")
    return found


def _check_before_running(notebooks: Mapping[Path, str], parameters: Mapping[str, Any], sizes: "Scale") -> None:
    from paperlib import companion, papers

    for notebook in notebooks:  # papermill itself would run with a parameter that the notebook does not have
        companion.check_parameters(companion.declared_parameters(notebook), parameters)
    if not parameters["recorded"]:
        _check_device(parameters["device"])
        wanted = (
            papers.specs(paper, sizes, parameters["seed"]) for paper in dict.fromkeys(notebooks.values()) if paper
        )
        companion.check_store(spec for specs in wanted for spec in specs)
    elif any(papers.specs(paper, sizes, parameters["seed"]) for paper in notebooks.values() if paper) and not (
        companion.recorded_file(sizes).exists()
    ):
        raise PaperlibError(f"recorded=True, but nothing is recorded at scale={sizes.name!r}; run without --recorded.")


def _at_once(device: str, recorded: bool) -> int:
    """How many runs or notebooks at a time: one a core, and one on a GPU, whose memory they would share."""
    if not recorded:
        from paperlib.devices import pick_device

        if pick_device(device) != "cpu":
            return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _compute(notebooks: Mapping[Path, str], sizes: "Scale", seed: int, device: str, at_once: int) -> None:
    """Compute what all notebooks need as one grid: what several use is computed once, and no core waits for another.

    A run that fails is named by the notebook that needs it.
    """
    from paperlib import papers
    from paperlib.lab.run import run

    wanted = dict.fromkeys(paper for paper in notebooks.values() if paper)
    specs = [spec for paper in wanted for spec in papers.specs(paper, sizes, seed)]
    run(specs, device=device, executor="processes", options={"workers": at_once}, strict=False)


def _record(paper: str, sizes: "Scale", seed: int, recorded: bool) -> None:
    """Merge what was computed into the ledger in git: the small scale is not kept, nor what was made elsewhere."""
    from paperlib import companion, papers

    here = paths.figures_dir() == paths.recorded_dir()
    if here and not recorded and sizes.name != "smoke" and paper and papers.specs(paper, sizes, seed):
        typer.echo(f"Results recorded in {shown(companion.record(paper, sizes, seed))}")


def _gallery() -> Path:
    from paperlib import papers
    from paperlib.report import gallery, published

    reasons = {f"{item.paper}/{item.id}": papers.reason(item.paper, item.id) for item in published.inventory()}
    return gallery.build(paths.figures_dir(), {name: reason for name, reason in reasons.items() if reason})


@app.command()
def figure(
    item: Annotated[str, typer.Argument(metavar="PAPER/ITEM", help="For example ft_sam/fig3; see `paperlib list`.")],
    scale: ScaleOption = "",
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    recorded: RecordedOption = False,
    out: OutOption = None,
) -> None:
    """Make one table or figure."""
    from paperlib import companion, papers
    from paperlib.report.claims import NotRun

    paper, id_, _ = papers.item(item)
    sizes = scales.scale(scale)
    _check_device("auto" if recorded else device)
    results = companion.gather(paper, sizes, seed=seed, device=device, recorded=recorded, ids=[id_])
    try:
        made = companion.make(results, paper, id_, out)
    except NotRun as missing:
        raise PaperlibError(f"{item} cannot be drawn: {missing}.") from None
    typer.echo(made.caption)
    for path in sorted(((out or paths.figures_dir()) / made.scale / paper).glob(f"{id_}.*")):
        typer.echo(f"  {shown(path)}")


@app.command()
def gallery() -> None:
    """Write the page of all tables and figures that were made."""
    typer.echo(shown(_gallery()))


# ------------------------------------------------------------------------------------------------ ours beside theirs


def _known(paper: str, sizes: "Scale", seed: int) -> "Results":
    """What the store or the ledger in git holds; nothing is computed."""
    from paperlib import companion, papers
    from paperlib.lab import ledger
    from paperlib.lab.store import Damaged, Store

    file, store = companion.recorded_file(sizes), Store()
    rows = ledger.load(file) if file.exists() else {}
    wanted = {one.key: one for spec in papers.specs(paper, sizes, seed) for one in spec.ancestry()}
    for key, spec in wanted.items():
        try:
            record = store.read(spec)
        except Damaged as error:  # the next run makes it again; one row is missing here, or is the recorded one
            typer.echo(str(error), err=True)
            continue
        if record:
            rows[key] = {"key": key, "spec": record.spec, "result": record.result, "provenance": record.provenance}
    return papers.Results(sizes, seed, rows)


def _started(paper: str) -> list[str]:
    """``paper`` checked, or, where none is named, all that have an item."""
    from paperlib.papers import PAPERS, items

    return [key for key in _papers([paper] if paper else []) if paper or items(key)] or list(PAPERS)


@app.command()
def compare(paper: PaperArgument = "", scale: ScaleOption = "", seed: SeedOption = 0) -> None:
    """Our numbers beside the printed ones.

    From the results in the store or in git; nothing is computed.
    """
    from paperlib.papers import PAPERS, items
    from paperlib.report.claims import NotRun
    from paperlib.report.published import inventory

    sizes = scales.scale(scale)
    for key in _started(paper):
        found = items(key)
        texts = []
        results = _known(key, sizes, seed)
        for id_ in [item.id for item in inventory(key) if item.kind == "table" and item.id in found]:
            try:
                made = found[id_].draw(results)
            except NotRun as missing:
                texts.append(f"{key}/{id_}: not run ({missing})")
                continue
            if "published" in made.frame:
                texts.append(f"{key}/{id_}  {made.caption}\n{_beside(made.frame)}")
        typer.echo(f"{PAPERS[key].short}, {sizes.name} scale, ours | paper")
        for text in texts or ["no table that sets our numbers beside printed ones is implemented yet"]:
            typer.echo(f"\n{text}")


def _beside(frame: "pd.DataFrame") -> str:
    """A comparison as text, what varies running down, and how many cells have which verdict."""
    from paperlib.report import compare as comparing

    rows = [key for key in comparing.KEYS if key not in ("defense", "metric") and frame[key].nunique(dropna=False) > 1]
    counts = ", ".join(f"{count} {verdict}" for verdict, count in comparing.summary(frame).items() if count)
    return f"{comparing.text_table(frame, rows=rows or ['attack']).to_string()}\n{counts}"


@app.command()
def claims(paper: PaperArgument = "", scale: ScaleOption = "", seed: SeedOption = 0) -> None:
    """The claims of the papers, checked on our results.

    With the numbers that decided; nothing is computed.
    """
    from paperlib import papers
    from paperlib.report import claims as checks

    sizes = scales.scale(scale)
    for key in _started(paper):
        found = papers.module(key)
        verdicts = checks.evaluate(found.CLAIMS if found else [], _known(key, sizes, seed).current())
        on = getattr(found, "CLAIMS_ON", f"{sizes.name} scale")
        typer.echo(f"{papers.PAPERS[key].short}, {on}: {len(verdicts) or 'no'} claims")
        for claim, verdict in verdicts:
            typer.echo(f"\n[{verdict.word}] {claim.text} ({claim.where})\n  {verdict.reason}")
            for name, value in verdict.numbers.items():
                typer.echo(f"  {value:9.4g}  {name}")
        typer.echo("")


# -------------------------------------------------------------------------------------------------------- doctor


@app.command()
def doctor() -> None:
    """Whether this machine is ready."""
    import platform

    from paperlib.data import sources
    from paperlib.lab import provenance

    packages = ("torch", "torchvision", "numpy", "pandas", "matplotlib", "papermill", "jupyterlab", "nbval")
    versions = {"paperlib": __version__, "python": platform.python_version()}
    for package in packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "missing"
    about = provenance.commit()
    lines = {
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "commit": f"{about['commit'] or 'not a checkout'}{' with changes' if about['dirty'] else ''}",
        **_hardware(),
    }
    bad = [name for name in ("torch", "numpy", "papermill") if versions[name] == "missing"]
    for name, folder in (("store", paths.store_dir()), ("data", paths.data_dir()), ("figures", paths.figures_dir())):
        parent = next(each for each in (folder, *folder.parents) if each.exists())
        writable = os.access(parent, os.W_OK) and parent.is_dir()
        bad += [] if writable else [name]
        free = f"{shutil.disk_usage(parent).free / 1e9:.0f} GB free"
        lines[f"{name} folder"] = f"{folder} ({'writable' if writable else 'NOT writable'}, {free})"
    for dataset in sources.DATASETS:
        lines[f"data set {dataset}"] = sources.status(dataset).state
    width = max(map(len, lines))
    for name, text in lines.items():
        typer.echo(f"{name:{width}}  {text}")
    if bad:
        raise PaperlibError(f"not ready: {', '.join(bad)}.")


def _hardware() -> dict[str, str]:
    from paperlib.devices import pick_device
    from paperlib.lab import provenance

    cores = f"{os.cpu_count()} cores"
    try:
        import torch

        from paperlib.training import autocast
    except ImportError:
        return {"device": f"cpu ({provenance.device_name('cpu')}, {cores})"}
    device = pick_device("auto")
    enabled = autocast(torch.device(device))._enabled
    return {
        "device": f"{device} ({provenance.device_name(device)}, {cores})",
        "threads": str(provenance.threads()),
        "precision": "bfloat16" if enabled else "float32 (no fast bfloat16 here)",
    }
