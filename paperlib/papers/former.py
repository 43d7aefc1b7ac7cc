"""Results of earlier versions of a method, where the current one has none yet: found, named, never judged. Imports no
torch.

A version is part of a result's key, so that a mended method finds none of its recorded results until they are computed
again. Until then a table may show what there is, marked; no claim counts it.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from paperlib.defenses import DEFENSES
from paperlib.detection import DETECTORS

MENDED = {"defend": ("defense", DEFENSES), "detect": ("detector", DETECTORS)}
"""Kind of spec -> field that names its method, which is also the method's name among the versions; its registry."""
ONCE_GIVEN = {"nad": ("epochs",), "anp": ("lr",)}
"""Hyper-parameters that a scale wrote down for the former version, or does for the current one alone."""


def _specs(value: Any) -> Iterator[Mapping[str, Any]]:
    """All specs in a spec's JSON form, itself first."""
    if isinstance(value, list):
        for one in value:
            yield from _specs(one)
    elif isinstance(value, Mapping) and "kind" in value:
        yield value
        for one in value.values():
            yield from _specs(one)


def identity(spec: Any) -> Any:
    """The JSON form of a spec less the versions of its defenses and detectors: equal for all versions of them."""
    if isinstance(spec, list):
        return [identity(one) for one in spec]
    if not isinstance(spec, Mapping) or "kind" not in spec:
        return spec
    out = {name: identity(value) for name, value in spec.items()}
    if spec["kind"] in MENDED:
        field, _ = MENDED[spec["kind"]]
        out["versions"] = {name: version for name, version in spec.get("versions", {}).items() if name != field}
        gone = ONCE_GIVEN.get(spec[field], ())
        out["params"] = {name: value for name, value in spec.get("params", {}).items() if name not in gone}
    return out


def _versions(spec: Mapping[str, Any]) -> list[tuple[str, str, int]]:
    """Kind, name and version of the defenses and detectors of a spec and its ancestors."""
    found = []
    for one in _specs(spec):
        if one["kind"] in MENDED:
            field, _ = MENDED[one["kind"]]
            found.append((one["kind"], one[field], one.get("versions", {}).get(field, 0)))
    return found


class Former:
    """Rows by what their specs are of, whatever the versions of the methods."""

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self.rows: dict[str, list[Mapping[str, Any]]] = {}
        for row in rows:
            if "spec" in row and _versions(row["spec"]):
                self.rows.setdefault(json.dumps(identity(row["spec"]), sort_keys=True), []).append(row)

    def find(self, spec: Mapping[str, Any]) -> tuple[Mapping[str, Any], tuple[str, ...]] | None:
        """The latest row of ``spec``, in JSON form, by earlier versions, and which methods these are of, in words."""
        now = _versions(spec)
        older = []
        for row in self.rows.get(json.dumps(identity(spec), sort_keys=True), ()) if now else ():
            then = _versions(row["spec"])
            pairs = list(zip(then, now, strict=True))
            if then != now and all(a[2] <= b[2] for a, b in pairs):
                older.append((tuple(a[2] for a in then), row, [b for a, b in pairs if a != b]))
        if not older:
            return None
        _, row, changed = max(older, key=lambda one: one[0])
        return row, tuple(dict.fromkeys(words(kind, name) for kind, name, _ in changed))


def words(kind: str, name: str) -> str:
    """A method's title, and what its last version changed."""
    method = MENDED[kind][1][name]
    return f"{method.title} (since then: {method.changed})" if method.changed else method.title
