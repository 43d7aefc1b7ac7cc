"""``paperlib data status [NAME]`` and ``paperlib data fetch NAME``. Does not import torch."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from paperlib import paths
from paperlib.console import Commands
from paperlib.data import sources
from paperlib.errors import choose

app = typer.Typer(
    cls=Commands, help="Data sets: which are here, where they come from, and fetching them.", no_args_is_help=True
)


@app.command()
def status(
    name: Annotated[str, typer.Argument(help="One data set; all of them when left out.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """Say which data sets are on this machine. Compares checksums; never touches the network."""
    names = [choose("NAME", name, sources.DATASETS)] if name else list(sources.DATASETS)
    found = [sources.status(each) for each in names]
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in found], indent=2))
        return
    typer.echo(f"Data folder: {paths.data_dir()}")
    for each in found:
        info = sources.DATASETS[each.name]
        size = f"{info.megabytes} MB" if info.megabytes else "no files"
        counts = f"{info.n_train:,} training and {info.n_test:,} test images of {len(info.classes)} classes"
        typer.echo(
            f"\n{each.name}: {each.state} ({each.detail})\n"
            f"  {info.title}, {counts}, {'x'.join(map(str, info.shape))}, {size}; "
            f"scales: {', '.join(info.needed_by)}\n"
            f"  licence: {info.licence}\n"
            f"  cite: {info.cite}\n"
            f"  from: {'; '.join(info.chain)}"
        )


@app.command()
def fetch(name: Annotated[str, typer.Argument(help="Data set.")]) -> None:
    """Fetch a data set into the data folder, unless it is there already."""
    info = sources.DATASETS[choose("NAME", name, sources.DATASETS)]
    where = sources.fetch(name) if info.layouts else f"nothing to fetch, {info.chain[0]}"
    typer.echo(f"{name}: {where}")
