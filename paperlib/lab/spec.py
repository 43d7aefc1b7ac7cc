"""Experiments are values: frozen dataclasses with a canonical JSON form, whose hash is their key.

A spec says everything that decides a result and nothing else: device, paths and parallelism stay out. ``versions``
holds the version of every method the result depends on, so that mending one method invalidates the results of that
method alone. Parents are nested specs: a defended model names the backdoored model it started from.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, ClassVar

from paperlib.errors import PaperlibError, choose
from paperlib.registry import Pairs as Pairs

Scalar = str | int | float | bool | None


def pairs(values: Mapping[str, Any] | None = None, **more: Any) -> Pairs:
    """A mapping of JSON scalars (or lists of them) as a sorted, hashable tuple: how specs hold parameters."""

    def freeze(value: Any) -> Any:
        return tuple(freeze(v) for v in value) if isinstance(value, list | tuple) else value

    return tuple(sorted((name, freeze(value)) for name, value in {**(values or {}), **more}.items()))


def _jsonable(value: Any) -> Any:
    if isinstance(value, Spec):
        return value.to_dict()
    if isinstance(value, bool) or value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            raise PaperlibError(f"a spec holds {value!r}; only finite numbers have a key.")
        return int(value) if value.is_integer() else value  # 2 and 2.0 are the same setting
    if isinstance(value, tuple | list):
        return [_jsonable(v) for v in value]
    raise PaperlibError(f"a spec holds {value!r} of type {type(value).__name__}; only JSON values have a key.")


@dataclass(frozen=True, kw_only=True)
class Spec:
    """Base of all specs. ``seed`` is the seed of every random draw; ``versions`` the (name, version) of the methods
    used."""

    kind: ClassVar[str] = ""
    seed: int = 0
    versions: Pairs = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON form: ``kind`` and every field that differs from its default; parents as nested specs.

        Defaults are left out so that a field added later does not change the keys of what was computed before. The
        price: the default of an existing field must never change (the golden keys test watches that).
        """
        out: dict[str, Any] = {"kind": self.kind}
        for field in fields(self):
            value = getattr(self, field.name)
            if value == field.default:
                continue
            if field.type == Pairs:
                out[field.name] = {name: _jsonable(v) for name, v in value}
            else:
                out[field.name] = _jsonable(value)
        return out

    @cached_property
    def canonical(self) -> str:
        """Canonical JSON: sorted keys, no spaces, ASCII; the same on every machine and Python version."""
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)

    @cached_property
    def key(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of :attr:`canonical`."""
        return hashlib.sha256(self.canonical.encode("ascii")).hexdigest()[:16]

    @property
    def label(self) -> str:
        """A readable, file-name-safe name; not unique, the key is."""
        return re.sub(r"[^a-z0-9_.]+", "-", self._label().lower()).strip("-")[:60]

    def _label(self) -> str:
        return self.kind

    def parents(self) -> tuple["Spec", ...]:
        """The specs whose results this one needs."""
        return ()

    def ancestry(self) -> Iterator["Spec"]:
        """All ancestors, parents before children, then this spec."""
        for parent in self.parents():
            yield from parent.ancestry()
        yield self


KINDS: dict[str, type[Spec]] = {}
"""Kind -> its class; filled by :func:`register`."""
RUNNERS: dict[str, str | Callable[..., dict[str, Any]]] = {}
"""Kind -> the function ``(spec, context) -> result`` that runs it, or where to import it from (``module:function``)."""


def register(kind: type[Spec], runner: str | Callable[..., dict[str, Any]]) -> None:
    """Make a kind of spec known to the lab, with what runs it.

    Parameters
    ----------
    kind
        A frozen dataclass with a ``kind`` of its own.
    runner
        ``(spec, context) -> result``, or where to import it from: ``"package.module:function"``. A run in another
        process needs one that can be imported.
    """
    KINDS[kind.kind], RUNNERS[kind.kind] = kind, runner


def _parents(value: Any) -> Any:
    """Specs in their JSON form, alone or in a list, as specs; anything else as it is."""
    if isinstance(value, list):
        return tuple(_parents(v) for v in value)
    return from_dict(value) if isinstance(value, Mapping) else value


def from_dict(data: Mapping[str, Any]) -> Spec:
    """The inverse of :meth:`Spec.to_dict`.

    Raises
    ------
    PaperlibError
        ``kind`` or a field is unknown, or a field without default is missing.
    """
    cls = KINDS[choose("kind", str(data.get("kind")), KINDS)]
    known = {field.name: field.type for field in fields(cls)}
    values: dict[str, Any] = {}
    for name, value in data.items():
        if name == "kind":
            continue
        if name not in known:
            raise PaperlibError(f"{cls.kind} spec has no field {name!r}; it has: {', '.join(sorted(known))}.")
        values[name] = pairs(value) if known[name] == Pairs else _parents(value)
    try:
        return cls(**values)
    except TypeError as error:
        raise PaperlibError(f"{cls.kind} spec is incomplete: {error}.") from None
