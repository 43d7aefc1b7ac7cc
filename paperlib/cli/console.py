"""How the command line says that something is wrong: one line on stderr and exit code 1, decided here alone."""

from typing import Any

import typer
from typer.core import TyperGroup

from paperlib.errors import PaperlibError


class Commands(TyperGroup):
    """A group of commands in which a :class:`PaperlibError` is a message, not a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except PaperlibError as error:
            typer.echo(f"{ctx.command_path}: {error}", err=True)
            raise typer.Exit(1) from error
