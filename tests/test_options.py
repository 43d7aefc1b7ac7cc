"""Every hyper-parameter of every method is checked before work begins: types, numbers that are none, signs, shares."""

from dataclasses import fields
from typing import Any

import pytest
import torch
from image_toy import images

from paperlib import defenses, detection, selection
from paperlib.attacks import ATTACKS, attack, draw, poison, poisoned_labels, poisoned_test
from paperlib.attacks.blended import Blended
from paperlib.attacks.sig import SIG
from paperlib.errors import PaperlibError
from paperlib.registry import ANY_SIGN, configure

CLASSES: dict[str, type] = {name: method.load() for name, method in ATTACKS.items()}
for room in (defenses.DEFENSES, detection.DETECTORS, selection.SELECTIONS):
    CLASSES |= {f"{room.kind} {name}": method.config_class() for name, method in room.items()}


def wrong() -> list[tuple[str, str, Any]]:
    """(method, option, a value that it cannot have), several for every number."""
    found = []
    for name, cls in CLASSES.items():
        for field in fields(cls):
            if field.type is float:
                found += [(name, field.name, value) for value in (float("nan"), float("inf"), "much", True)]
                if field.default >= 0 and field.name not in ANY_SIGN:
                    found.append((name, field.name, -0.1))
            if field.type is int:
                found += [(name, field.name, value) for value in (1.5, "two", False)]
                if field.default >= 0 and field.name not in ANY_SIGN:
                    found.append((name, field.name, -1))
            if field.type is str:
                found.append((name, field.name, 7))
            if field.type is bool:
                found.append((name, field.name, "yes"))
    return found


def test_every_option_refuses_what_it_cannot_be() -> None:
    cases = wrong()
    for name, option, value in cases:
        with pytest.raises(PaperlibError, match=f"{option}={value!r}".replace("(", ".")):
            configure(CLASSES[name], name, **{option: value})
    assert len(cases) > 800


def test_the_defaults_and_whole_floats_are_fine() -> None:
    for name, cls in CLASSES.items():
        configure(cls, name)
        configure(
            cls,
            name,
            **{f.name: int(f.default) for f in fields(cls) if f.type is float and f.default == int(f.default)},
        )


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [("blended", "alpha", 2), ("badnets", "alpha", 1.1), ("defense fp", "held_out", 1.5), ("defense ss", "ratio", 3)],
)
def test_shares_lie_between_0_and_1(name: str, option: str, value: float) -> None:
    with pytest.raises(PaperlibError, match="must lie between 0 and 1"):
        configure(CLASSES[name], name, **{option: value})


DATA = images(20)


@pytest.mark.parametrize("labels", ["celan", "", "all-to-one"])
def test_a_label_policy_that_is_none(labels: str) -> None:
    for work in (
        lambda: draw(DATA.y.numpy(), 0.2, labels, 0, 0),
        lambda: attack("sig", (("labels", labels),)),
        lambda: poison(DATA, SIG(labels=labels), target=0, indices=[0]),
        lambda: poisoned_labels(DATA.y, labels, 0, 4),
        lambda: poisoned_test(DATA, SIG(labels=labels), 0),
    ):
        with pytest.raises(PaperlibError, match=f"labels={labels!r} is unknown"):
            work()


@pytest.mark.parametrize("indices", [[1.7], torch.tensor([0.5]), [True] * 20, "01", None, [[0]], [object()]])
def test_indices_that_are_none(indices: Any) -> None:
    with pytest.raises(PaperlibError, match="indices are"):
        poison(DATA, Blended(), target=0, indices=indices)


def test_attacks_that_no_trigger_can_be() -> None:
    with pytest.raises(PaperlibError, match="delta=nan must be a finite number"):
        poison(DATA, SIG(delta=float("nan")), target=0, indices=[0])
    with pytest.raises(PaperlibError, match="attack='blended' is no attack"):
        poison(DATA, "blended", target=0, indices=[0])
    with pytest.raises(PaperlibError, match="target=9 is no class"):
        poison(DATA, Blended(), target=9, indices=[0])
    with pytest.raises(PaperlibError, match="y is empty"):
        draw(DATA.y.numpy()[:0], 0.2, "clean", 0, 0)
    assert len(poison(DATA, Blended(), target=0, indices=[]).indices) == 0
