"""What a reader calls says what it takes: every parameter of the public functions and classes is in the docstring,
and what it raises."""

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import paperlib
from paperlib import analysis

ROOMS = (
    "attacks", "attacks.scene", "defenses", "detection", "selection", "fairness", "fairness.baselines", "analysis",
    "vdc", "metrics", "models", "interop", "data.images", "data.folder",
)  # fmt: skip
ERRORS = ("PaperlibError", "NotApplicable", "DataMissing")
SKLEARN = {"X", "y", "sensitive_features"}
"""What the methods of every scikit-learn estimator take."""


def public(room: str) -> Iterator[Any]:
    """(name, function or class, whether it is a method) of a room: what ``__all__`` lists, else what it defines."""
    module = importlib.import_module(f"paperlib.{room}")
    own = [n for n, v in vars(module).items() if n[0] != "_" and getattr(v, "__module__", "") == module.__name__]
    for name in getattr(module, "__all__", own):
        found = getattr(module, name)
        if inspect.isfunction(found) or inspect.isclass(found):
            yield pytest.param(found, False, id=f"{room}.{name}")
        for inner, method in vars(found).items() if inspect.isclass(found) else ():
            if inspect.isfunction(method) and inner[0] != "_":
                yield pytest.param(method, True, id=f"{room}.{name}.{inner}")


def undocumented(function: Any, known: set[str]) -> list[str]:
    """Parameters that its docstring does not name; all of more than two that have no section or reference."""
    text = inspect.getdoc(function) or ""
    kinds = inspect.signature(function).parameters.items()
    names = [n for n, p in kinds if n not in known | {"self"} and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    if re.search(r"\b[Aa]s (in|:func:)", text):  # the others are said to be those of another function
        return []
    absent = [name for name in names if not re.search(rf"\b{name}\b", text)]
    listed = re.search(r"^(Parameters|Attributes)\n---", text, re.MULTILINE)
    return absent if listed or len(names) <= 2 else names


def fields(found: type) -> set[str]:
    """Fields of a dataclass that have a docstring of their own, or a type that says all (``data: ImageData``)."""
    lines = inspect.getsource(found)
    return set(re.findall(r'^    (\w+): [^\n]*\n    r?"""', lines, re.MULTILINE))


@pytest.mark.parametrize(("found", "method"), [case for room in ROOMS for case in public(room)])
def test_every_parameter_is_documented(found: Any, method: bool) -> None:
    if getattr(found, "_is_protocol", False):
        return
    known = fields(found) if inspect.isclass(found) else SKLEARN if method else set()
    missing = undocumented(found, known)
    assert not missing, f"{found.__qualname__}: the docstring lacks {', '.join(missing)}"


@pytest.mark.parametrize("name", analysis.TOOLS)
def test_every_parameter_of_a_tool_is_documented(name: str) -> None:
    tool = analysis.TOOLS[name].load()
    text = (inspect.getdoc(tool) or "") + (analysis.__doc__ or "")
    takes = set(inspect.signature(tool).parameters) - {"params"}
    assert not [one for one in takes if not re.search(rf"\b{one}\b", text)]


def test_a_parameter_that_is_not_documented_is_found() -> None:
    def first(model: Any, clean: Any) -> None:
        """A copy of ``model``."""

    def second(model: Any, clean: Any, seed: int) -> None:
        """A copy of ``model``, from ``clean`` and ``seed``."""

    assert undocumented(first, set()) == ["clean"] and len(undocumented(second, set())) == 3


def unsaid(source: str) -> list[str]:
    """Public functions and methods in ``source`` that raise an error of ours and do not say so."""
    out = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and node.name[0] != "_":
            inner = {x for f in ast.walk(node) if isinstance(f, ast.FunctionDef) and f is not node for x in ast.walk(f)}
            raised = {ast.unparse(x) for x in ast.walk(node) if isinstance(x, ast.Raise) and x not in inner}
            ours = any(text.startswith(tuple(f"raise {name}(" for name in ERRORS)) for text in raised)
            if ours and not re.search(r"Raises|[Ee]rrors|PaperlibError|NotApplicable", ast.get_docstring(node) or ""):
                out.append(node.name)
    return out


@pytest.mark.parametrize("room", sorted({room.split(".")[0] for room in ROOMS} | {"experiments"}))
def test_what_is_raised_is_documented(room: str) -> None:
    place = Path(paperlib.__file__).parent / room
    files = sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
    assert not {file.name: found for file in files if (found := unsaid(file.read_text(encoding="utf-8")))}


def test_an_error_that_is_not_documented_is_found() -> None:
    assert unsaid('def f():\n    """Do."""\n    raise PaperlibError("no")\n') == ["f"]
    assert unsaid('def f():\n    """Do; PaperlibError otherwise."""\n    raise PaperlibError("no")\n') == []
