"""What the registries hold: a light record that names a method, its version, and where its code lies.

A registry is a plain dict of :class:`Method`; looking a method up or planning a grid of them imports no torch, only
:meth:`Method.load` does. ``version`` is part of the key of every result that depends on the method: raise it when a change
of the method's file changes its results.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib import import_module
from math import isfinite
from numbers import Integral, Real
from typing import Any

from paperlib.errors import PaperlibError, choose
from paperlib.lab.spec import Pairs


@dataclass(frozen=True)
class Method:
    """One attack, defense, model, detector or tool."""

    module: str
    """Dotted name of the one file that is the method."""
    name: str
    """The name in that file: a class or a function."""
    title: str
    """The name the papers print."""
    version: int = 1
    defaults: Pairs = ()
    """Parameters that make this entry a variant of another one (BadNets-A2A is BadNets with other labels)."""
    access: str = ""
    """Defenses and detectors only: what the method may see besides the model."""
    prepare: str = ""
    """Attacks only: what its ``prepare`` starts from, ``data`` or ``model`` (a clean classifier and the data); empty: the
    trigger needs no preparation."""
    controls_training: bool = False
    """Attacks only: whether the attacker trains the classifier (True) or only hands in poisoned data."""
    sizes: str = ""
    """Defenses only: which sizes of a scale the method takes, ``defense`` (epochs and batch of fine-tuning on the clean
    subset) or ``training`` (epochs, batch, learning rate and schedule of training from scratch); empty: none."""
    needs: str = ""
    """Defenses only: what the model must have, ``batch norm``; empty: nothing. Elsewhere the method is not applicable (NA)."""
    adapt: str = ""
    """Defenses that add layers only: the function of ``module`` that puts fresh ones into a model before weights are read."""

    def load(self) -> Any:
        """Import the method's file and return the class or function."""
        return getattr(import_module(self.module), self.name)


def configure(cls: type, argument: str, **values: Any) -> Any:
    """Build the hyper-parameter dataclass ``cls``; an unknown name says which ones exist, a value that is none what would be right.

    Raises
    ------
    PaperlibError
        Unknown names, and what :func:`check_options` finds.
    """
    known = {field.name for field in fields(cls)}
    for name in values:
        choose(f"{argument} parameter", name, known)
    check_options(cls, values)
    return cls(**values)


SHARES = frozenset(
    [
        "alpha",
        "clean_share",
        "density",
        "fooling",
        "fpr",
        "held_out",
        "isolation",
        "least",
        "momentum",
        "percentile",
        "poisoned_share",
        "portion",
        "ratio",
        "region",
        "share",
        "sharpening",
        "size",
        "stamped",
        "strength",
        "success",
        "tuning",
        "unlearning",
    ]
)
"""Options that are shares of something: between 0 and 1, where their default is."""
ANY_SIGN = frozenset(
    ["index", "min_bit_accuracy", "min_psnr", "offset", "silhouette", "threshold", "unlearn_accuracy", "value"]
)
AT_LEAST_ONE = frozenset(
    [
        "batch_size",
        "bits",
        "components",
        "every",
        "folds",
        "images_at_once",
        "k",
        "levels",
        "linear_batch",
        "orders",
        "overlays",
        "pasted",
        "patch",
        "per_class",
        "projection",
        "simclr_batch",
        "taps",
        "width",
    ]
)


def check_options(cls: type, values: Mapping[str, Any]) -> None:
    """Refuse hyper-parameters of a wrong type, not finite, negative, or shares outside [0, 1]; the methods know finer bounds.

    Raises
    ------
    PaperlibError
        The first such option.
    """
    for field in fields(cls):
        if field.type in KINDS:
            check_numbers(field.name, values.get(field.name, field.default), field.default)


KINDS: dict[Any, str] = {int: "a whole number", float: "a number", str: "a word", bool: "True or False"}


def check_numbers(name: str, value: Any, default: Any) -> None:
    """Refuse a ``value`` of the option ``name`` that is of another kind than its ``default``, as :func:`check_options` says.

    Raises
    ------
    PaperlibError
        It is.
    """
    kind = type(default)
    if value is default or kind not in KINDS:
        return
    wanted = {int: Integral, float: Real}.get(kind, kind)
    said = f"{name}={value!r}"
    if not isinstance(value, wanted) or (kind is not bool and isinstance(value, bool)):
        raise PaperlibError(f"{said} must be {KINDS[kind]}, for example {default!r}.")
    if kind not in (int, float):
        return
    if not isfinite(value):
        raise PaperlibError(f"{said} must be a finite number, for example {default!r}.")
    if name in AT_LEAST_ONE and value < 1:
        raise PaperlibError(f"{said} must be at least 1.")
    if value < 0 and default >= 0 and name not in ANY_SIGN:
        raise PaperlibError(f"{said} must not be negative; the default is {default!r}.")
    if name in SHARES and 0 <= default <= 1 and value > 1:
        raise PaperlibError(f"{said} must lie between 0 and 1.")
