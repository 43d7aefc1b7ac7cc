"""How the command line says that something is wrong, or that it was stopped: one line on stderr, exit code 1 or 130."""

from typing import Any

import typer
from typer.core import TyperGroup

from paperlib.errors import PaperlibError


class Commands(TyperGroup):
    """A group of commands in which a :class:`PaperlibError` is a message, not a traceback, and so are a disk's errors
    and Ctrl-C."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except PaperlibError as error:
            typer.echo(f"{ctx.command_path}: {error}", err=True)
            raise typer.Exit(1) from error
        except BrokenPipeError:  # whoever read has gone, as in `paperlib list | head -1`
            raise
        except OSError as error:
            what = f"{error.filename}: " if error.filename else ""
            typer.echo(f"{ctx.command_path}: {what}{error.strerror or error}.", err=True)
            raise typer.Exit(1) from error
        except KeyboardInterrupt:
            typer.echo(f"{ctx.command_path}: stopped; finished results are kept, the same command goes on.", err=True)
            raise typer.Exit(130) from None
