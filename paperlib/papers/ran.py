"""What ran: in a line of HTML which methods, data and sizes an item was drawn from, with links into the repository.

Inline attributes only, so that it is shown in a notebook that nobody trusts. Links are relative to the folder
``notebooks``.
"""

import re
from collections.abc import Iterable, Mapping
from functools import partial
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from paperlib import paths
from paperlib.analysis import TOOLS
from paperlib.attacks import ATTACKS
from paperlib.defenses import DEFENSES
from paperlib.detection import DETECTORS
from paperlib.lab.spec import from_dict
from paperlib.models import MODELS
from paperlib.papers import Item, Results
from paperlib.registry import Method
from paperlib.report import style
from paperlib.selection import SELECTIONS
from paperlib.vdc.engines import ENGINES

METHODS: dict[str, tuple[str, Mapping[str, Method]]] = {
    "attack": ("attacks", ATTACKS),
    "second": ("second attacks", ATTACKS),
    "defense": ("defenses", DEFENSES),
    "detector": ("detectors", DETECTORS),
    "strategy": ("selection", SELECTIONS),
    "engine": ("engines", ENGINES),
    "tool": ("analysis", TOOLS),
    "model": ("models", MODELS),
}
"""Field of a spec -> what it is called here, and the registry that holds it."""
FILES = ("items.py", "runs.py", "tables.py", "figures.py")
"""Of a paper, in the order in which an item is looked for."""


def file_of(module: str) -> Path | None:
    """The file of a module of this repository; None for one that lies elsewhere, a reader's own for example."""
    found = None if module == "__main__" else find_spec(module)
    if found is None or found.origin is None or not Path(found.origin).is_relative_to(paths.ROOT):
        return None
    return Path(found.origin)


def link(text: str, file: Path | None, line: int = 0) -> str:
    """``text``, with a link to ``line`` of ``file`` where there is one."""
    if file is None:
        return escape(text)
    where = f"../{file.relative_to(paths.ROOT).as_posix()}{f'#L{line}' if line else ''}"
    return f'<a href="{where}">{escape(text)}</a>'


def _method(field: str, name: str) -> str:
    method = METHODS[field][1].get(name)
    if method is None:
        return escape(name)
    return link(method.title, file_of(method.module))


def facts(results: Results, keys: Iterable[str]) -> dict[str, list[Any]]:
    """Field -> its values in the runs ``keys`` and in those that they start from, in the order in which they come."""
    out: dict[str, dict[Any, None]] = {}

    def add(field: str, value: Any) -> None:
        if value not in (None, "", "none", 0, ()):
            out.setdefault(field, {})[value] = None

    for key in keys:
        for spec in from_dict(results.rows[key]["spec"]).ancestry():
            if spec.key in out.get("key", {}):
                continue
            out.setdefault("seed", {})[spec.seed] = None
            out.setdefault("key", {})[spec.key] = None
            for field in (
                "attack", "defense", "detector", "strategy", "engine", "tool", "model", "ratio", "noise", "n_clean",
            ):  # fmt: skip
                add(field, getattr(spec, field, None))
            add("second", dict(getattr(spec, "second", ())).get("attack"))
            if hasattr(spec, "dataset") and hasattr(spec, "n_train"):
                add("data", (spec.dataset, spec.n_train))
            if hasattr(spec, "width"):
                add("width", spec.width)
            table = dict(getattr(spec, "params", ())).get("dataset")
            if table and getattr(spec, "tool", "") == "fair_protocol":
                add("data", (table, 0))
    return {field: list(values) for field, values in out.items()}


def _data(name: str, count: int) -> str:
    title = style.title("dataset", name.partition("#")[0])  # a folder's digest is for keys
    return escape(f"{title} ({count:,} images)" if count else title)


def ran(results: Results, keys: Iterable[str], scale: str) -> str:
    """What the results ``keys`` are of, as a line of HTML; that nothing ran, where there are none."""
    keys = sorted(set(keys) & set(results.rows))
    if not keys:
        return "nothing: it needs no run of ours"
    found = facts(results, keys)
    count = len(found["key"])
    parts = [f"{count} run{'s' if count > 1 else ''} at {scale} scale"]
    parts[0] += f", seed{'s' if len(found['seed']) > 1 else ''} {', '.join(map(str, sorted(found['seed'])))}"
    for field, (name, _) in METHODS.items():
        if field in found:
            listed = ", ".join(_method(field, value) for value in found[field])
            width = (
                f" of width {', '.join(map(str, sorted(found['width'])))}"
                if field == "model" and "width" in found
                else ""
            )
            parts.append(f"{name} {listed}{width}")
    if "ratio" in found:
        parts.append(f"{', '.join(f'{100 * ratio:g}' for ratio in sorted(found['ratio']))} % poisoned")
    if "noise" in found:
        parts.append(f"wrong labels {escape(', '.join(found['noise']))}")
    if "data" in found:
        parts.append(", ".join(_data(*value) for value in found["data"]))
    if "n_clean" in found:
        parts.append(f"{', '.join(f'{n:,}' for n in sorted(found['n_clean']))} clean images")
    return "; ".join(parts)


def again(paper: str, id_: str, results: Results) -> str:
    """The command that draws the item once more, as HTML; what is missing of it is run."""
    seed = f" --seed {results.seed}" if results.seed else ""
    return f"<code>paperlib figure {paper}/{id_} --scale {results.scale.name}{seed}</code>"


def lines_of(module: Any, id_: str, item: Item) -> str:
    """Links to the lines of the paper's ``module`` that say what the item ``id_`` is, and to the function that draws
    it.

    Of a package the files are looked through in the order of :data:`FILES`.
    """
    found = []
    whole = file_of(module.__name__)
    files = (
        [whole] if whole and whole.name != "__init__.py" else [whole.with_name(name) for name in FILES] if whole else []
    )
    for file in files:
        lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
        numbers = [number for number, line in enumerate(lines, 1) if re.match(rf'\s*"{re.escape(id_)}":', line)]
        if numbers:
            found.append(link("this item", file, numbers[0]))
            break
    draw: Any = item.draw
    while isinstance(draw, partial) or hasattr(draw, "__wrapped__"):
        draw = draw.func if isinstance(draw, partial) else draw.__wrapped__
    code = getattr(draw, "__code__", None)  # a method has it, too
    if code is not None:
        found.append(link("drawn here", file_of(draw.__module__), code.co_firstlineno))
    return ", ".join(found)
