"""Changed defaults need a new version: a result's key holds the version of its method, not every default.

    python tests/test_method_defaults.py        # after adding a method, or raising a version

writes ``golden/method_defaults.json`` anew, and refuses where a default changed and the version did not. A field that
was added to a method with a default under which nothing changes is named in :data:`ADDED`: its method keeps its
version.
"""

import hashlib
import inspect
import json
from collections.abc import Iterator
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from paperlib import training
from paperlib.analysis import TOOLS
from paperlib.attacks import ATTACKS, attack, meant
from paperlib.defenses import DEFENSES
from paperlib.detection import DETECTORS
from paperlib.experiments import plan as experiments
from paperlib.models import MODELS
from paperlib.selection import SELECTIONS, UNSAID

GOLDEN = Path(__file__).parent / "golden" / "method_defaults.json"

_NO_IMAGE = {"image": "", "image_sha256": ""}
ADDED: dict[str, dict[str, Any]] = {
    # tested in test_attacks_pixel.py: with these defaults the triggers are bit for bit what they were
    "attack badnets": {**_NO_IMAGE, "alpha": 1.0, "value": 1.0},
    "attack badnets_a2a": {**_NO_IMAGE, "alpha": 1.0, "value": 1.0},
    "attack blended": {**_NO_IMAGE, "picture": "random"},  # what a spec means that names none
    "selection lps": {"schedule": "constant"},  # what a spec means that says none
    # tested in detection/test_golden.py
    "detector scan": {"formula": "paper"},
    # tested in test_training.py: nothing is changed and nothing drawn
    "training": {"adversarial": 0.0, "adversarial_steps": 10},
    "defense ft": {"keep_pruned": False},
    "defense ft_sam": {"keep_pruned": False},
    # tested in papers/test_mp_fair_protocols.py: without them the box plots are the paper's
    "tool fair_protocol": {"kernel": "", "alpha": None},
}
"""Method -> hyper-parameters that came later, each with the default under which results are as before."""


def _defaults(function: Any) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def methods() -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Name, version and default hyper-parameters of everything that decides a result."""
    yield "training", experiments.TRAINING_VERSION, asdict(training.Recipe())
    for name, method in MODELS.items():
        yield f"model {name}", method.version, _defaults(method.load())
    for name, method in ATTACKS.items():
        made = attack(name, meant(name, ()))
        assert is_dataclass(made) and not isinstance(made, type)
        yield f"attack {name}", method.version, asdict(made)
    for name, method in DEFENSES.items():
        yield f"defense {name}", method.version, asdict(DEFENSES.settings(name))
    for name, method in DETECTORS.items():
        yield f"detector {name}", method.version, asdict(DETECTORS.settings(name))
    for name, method in SELECTIONS.items():
        yield f"selection {name}", method.version, {**asdict(SELECTIONS.settings(name)), **UNSAID.get(name, {})}
    for name, method in TOOLS.items():
        yield f"tool {name}", method.version, _defaults(method.load())


def digest(defaults: dict[str, Any], added: dict[str, Any] | None = None) -> str:
    """Of all defaults, less those ``added`` that still have the value under which nothing changes."""
    counted = {name: value for name, value in defaults.items() if (name, value) not in (added or {}).items()}
    return hashlib.sha256(json.dumps(counted, sort_keys=True).encode()).hexdigest()[:16]


def now() -> dict[str, dict[str, Any]]:
    return {
        name: {"version": version, "defaults": digest(defaults, ADDED.get(name))}
        for name, version, defaults in methods()
    }


def complaints(golden: dict[str, dict[str, Any]], found: dict[str, dict[str, Any]]) -> list[str]:
    """What must be done in the registries before ``found`` may become the golden file."""
    out = []
    for name, entry in found.items():
        old = golden.get(name)
        if old is None:
            continue
        if entry["version"] < old["version"]:
            out.append(f"{name}: the version went back from {old['version']} to {entry['version']}")
        elif entry["defaults"] != old["defaults"] and entry["version"] == old["version"]:
            out.append(
                f"{name}: a default changed but the version is still {entry['version']}; raise the version in the"
                " registry, or stored results made with the old default pass for new ones"
            )
    return out


def test_no_default_changes_without_a_new_version() -> None:
    golden, found = json.loads(GOLDEN.read_text()), now()
    assert not (said := complaints(golden, found)), "\n".join(said)
    assert golden == found, f"methods or versions are new: run python tests/{Path(__file__).name}"


def test_the_test_can_fail() -> None:
    golden = now()
    changed = {**golden["defense ft_sam"], "defaults": digest({"rho": 3.0})}
    (said,) = complaints(golden, {**golden, "defense ft_sam": changed})
    assert said.startswith("defense ft_sam: a default changed") and "raise the version" in said
    assert not complaints(golden, {**golden, "defense ft_sam": {**changed, "version": changed["version"] + 1}})
    assert complaints(golden, {**golden, "training": {**golden["training"], "version": 0}})
    assert not complaints(golden, {**golden, "defense new": changed})


def test_an_added_field_counts_as_soon_as_its_default_changes_something() -> None:
    before, added = digest({"patch": 3}), {"alpha": 1.0}
    assert digest({"patch": 3, "alpha": 1.0}, added) == before
    assert digest({"patch": 3, "alpha": 0.5}, added) != before
    assert digest({"patch": 3, "alpha": 1.0}) != before  # a field that nobody vouches for
    assert digest({"patch": 4, "alpha": 1.0}, added) != before
    found = {name: defaults for name, _, defaults in methods()}
    for name, fields in ADDED.items():
        assert fields.items() <= found[name].items(), name


if __name__ == "__main__":
    said = complaints(json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}, now())
    if said:
        raise SystemExit("\n".join(said))
    GOLDEN.write_text(json.dumps(now(), indent=1) + "\n", encoding="ascii")
