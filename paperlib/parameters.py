"""Parameters of a notebook: what its cell declares, what papermill injected, and whether the two agree.

Imports no torch.
"""

import ast
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from paperlib.errors import PaperlibError, choose


def declared_parameters(notebook: Path) -> dict[str, Any]:
    """Names and defaults of a notebook's cell tagged ``parameters``.

    Raises
    ------
    PaperlibError
        The notebook is missing, has no such cell, or the cell holds anything but ``name = literal``.
    """
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError, KeyError) as error:
        raise PaperlibError(f"notebook={notebook.name!r} cannot be read as a notebook ({error}).") from None
    for cell in cells:
        if "parameters" in cell.get("metadata", {}).get("tags", []):
            return _literals("".join(cell["source"]), notebook.name)
    raise PaperlibError(f"notebook={notebook.name!r} has no cell tagged 'parameters'.")


def _literals(source: str, where: str) -> dict[str, Any]:
    out = {}
    for node in ast.parse(source).body:
        if not (isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name)):
            raise PaperlibError(f"line {node.lineno} of the parameters in {where} is not of the form name = literal.")
        try:
            out[node.targets[0].id] = ast.literal_eval(node.value)
        except ValueError:
            raise PaperlibError(f"line {node.lineno} of the parameters in {where} holds no literal value.") from None
    return out


def check_parameters(declared: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Every given parameter must be declared, and have the type of its default (an int will do for a float).

    Raises
    ------
    PaperlibError
        An unknown name (the nearest one is named) or a value of another type.
    """
    for name, value in given.items():
        choose("parameter", name, declared)
        default = declared[name]
        fits = type(value) is type(default) or (isinstance(default, float) and type(value) is int)
        if default is not None and not fits:
            raise PaperlibError(
                f"parameter {name}={value!r} is of type {type(value).__name__}; it must be of type "
                f"{type(default).__name__}, like its default {default!r}."
            )


def given_lists(declared: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """``given``, where a text for a list is read as one: papermill's ``-p attacks '["blended"]'`` arrives as a text.

    Raises
    ------
    PaperlibError
        A text that begins like a list and is none.
    """
    out = dict(given)
    for name, value in given.items():
        if not (isinstance(declared.get(name), list) and isinstance(value, str)):
            continue
        if not value.lstrip().startswith("["):
            out[name] = [part.strip() for part in value.split(",") if part.strip()]
            continue
        try:
            out[name] = json.loads(value)
        except ValueError:
            example = '["blended", "sig"]'
            raise PaperlibError(f"parameter {name}={value!r} is not a list; write it as {example!r}.") from None
    return out


def injected(history: Iterable[str]) -> list[str]:
    """Names of what papermill injected, from the sources of the cells that have run: papermill marks its cell
    ``# Parameters``.

    Values are no matter: papermill writes some that are no literals, ``float('nan')`` for one.
    """
    for source in history:
        if source.startswith("# Parameters\n"):
            targets = [node.targets if isinstance(node, ast.Assign) else [] for node in ast.parse(source).body]
            names = [one.id for each in targets for one in each if isinstance(one, ast.Name)]
            return names if len(names) == len(targets) else []
    return []
