"""``paperlib data status [NAME]`` and ``paperlib data fetch NAME``. Does not import torch."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from paperlib import paths
from paperlib.cli.console import Commands
from paperlib.data import folder, sources
from paperlib.errors import choose

app = typer.Typer(
    cls=Commands, help="Data sets: which are here, where they come from, and fetching them.", no_args_is_help=True
)


@app.command()
def status(
    name: Annotated[str, typer.Argument(help="One data set; all of them when left out.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """Say which data sets are on this machine. Compares checksums; never touches the network.

    With folder:/path/to/your/images it says how a folder of your own is read, and the name that it has in specs.
    """
    if folder.is_folder(name):
        _own(name, as_json)
        return
    everything = {**sources.DATASETS, **sources.FILES}
    names = [choose("NAME", name, everything)] if name else list(everything)
    found = [sources.status(each) for each in names]
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in found], indent=2))
        return
    typer.echo(f"Data folder: {paths.data_dir()}")
    for each in found:
        info = everything[each.name]
        size = f"{info.megabytes} MB" if info.megabytes else "no files"
        counts = f", {info.n_train:,} training and {info.n_test:,} test images of {info.n_classes} classes"
        counts = f"{counts}, {'x'.join(map(str, info.shape))}" if info.n_train else ""
        typer.echo(
            f"\n{each.name}: {each.state} ({each.detail})\n"
            f"  {info.title}{counts}, {size}; scales: {', '.join(info.needed_by)}\n"
            f"  licence: {info.licence}\n"
            f"  cite: {info.cite}\n"
            f"  from: {'; '.join(info.chain)}"
        )


@app.command()
def fetch(name: Annotated[str, typer.Argument(help="Data set.")]) -> None:
    """Fetch a data set into the data folder, unless it is there already."""
    if folder.is_folder(name):
        typer.echo(f"{folder.resolve(name)}: nothing to fetch, it is your own")
        return
    everything = {**sources.DATASETS, **sources.FILES}
    info = everything[choose("NAME", name, everything)]
    where = sources.fetch(name) if info.layouts else f"nothing to fetch, {info.chain[0]}"
    typer.echo(f"{name}: {where}")


def _own(name: str, as_json: bool) -> None:
    found = folder.look(name)
    counts = {split: len(files) for split, files in found.files.items()}
    if as_json:
        about = {"name": found.name, "state": "ready", "detail": str(found.path)}
        typer.echo(json.dumps([{**about, "classes": found.classes, "side": found.side, **counts}], indent=2))
        return
    typer.echo(
        f"{found.name}: ready ({found.path})\n"
        f"  {counts['train']:,} training and {counts['test']:,} test images of {len(found.classes)} classes "
        f"({', '.join(found.classes)}), resized to 3x{found.side}x{found.side}"
    )
