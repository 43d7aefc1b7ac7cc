"""Experiments are values: frozen dataclasses with a canonical JSON form, whose hash is their key.

A spec says everything that decides a result and nothing else: device, paths and parallelism stay out. ``versions`` holds
the version of every method the result depends on, so that mending one method invalidates the results of that method
alone. Parents are nested specs: a defended model names the backdoored model it started from.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, ClassVar

from paperlib.errors import PaperlibError, choose

Scalar = str | int | float | bool | None
Pairs = tuple[tuple[str, Any], ...]
PAIRED = ("params", "attack_params", "second", "versions")
"""Fields that hold :data:`Pairs`."""


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
    """Base of all specs. ``seed`` is the seed of every random draw; ``versions`` the (name, version) of the methods used."""

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
            if field.name in PAIRED:
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


@dataclass(frozen=True, kw_only=True)
class PrepareSpec(Spec):
    """What an attack makes before it can poison anything: a universal perturbation, an encoder, adversarial images."""

    kind: ClassVar[str] = "prepare"
    attack: str
    dataset: str
    n_train: int
    attack_params: Pairs = ()
    target: int = 0
    parent: Spec | None = None  # the clean classifier, for attacks that start from one

    def parents(self) -> tuple[Spec, ...]:
        return () if self.parent is None else (self.parent,)

    def _label(self) -> str:
        return f"{self.dataset}-{self.attack}-s{self.seed}"


@dataclass(frozen=True, kw_only=True)
class SelectSpec(Spec):
    """Which training images an attacker poisons, chosen by a strategy; its result holds the indices."""

    kind: ClassVar[str] = "select"
    strategy: str
    dataset: str
    n_train: int
    attack: str
    ratio: float
    attack_params: Pairs = ()
    prepared: Spec | None = None
    target: int = 0
    model: str = "preact_resnet18"  # the surrogate
    width: int = 64
    batch_size: int = 128
    lr: float = 0.01
    params: Pairs = ()

    def parents(self) -> tuple[Spec, ...]:
        return () if self.prepared is None else (self.prepared,)

    def _label(self) -> str:
        return f"{self.strategy}-{self.dataset}-{self.attack}-{self.ratio:g}-s{self.seed}"


@dataclass(frozen=True, kw_only=True)
class TrainSpec(Spec):
    """One classifier trained on one (possibly poisoned) training set."""

    kind: ClassVar[str] = "train"
    dataset: str
    n_train: int  # class-balanced subset of the training set, in images; 0: all of it
    n_test: int = 0  # likewise for the test set
    model: str = "preact_resnet18"
    width: int = 64
    attack: str = "none"
    attack_params: Pairs = ()
    ratio: float = 0.0  # poisoned images / all training images
    target: int = 0
    selection: str = "random"
    epochs: int
    batch_size: int = 128
    lr: float = 0.01
    schedule: str = "cosine"  # cosine | one_cycle | constant
    prepared: Spec | None = None  # what the attack made beforehand
    selected: Spec | None = None  # where the poisoned indices come from; None: drawn at random
    adversarial: float = 0.0  # largest change of a pixel in adversarial training; 0: ordinary training
    adversarial_steps: int = 10  # PGD steps per batch, where there are any
    noise: str = ""  # wrong labels, there before the attacker comes: a kind of paperlib.data.noise; empty: none
    noise_ratio: float = 0.0  # wrong labels / all training images, of synthetic noise
    cleansed: Spec | None = None  # trained without what this flagged
    second: Pairs = ()  # another trigger on other images of the same training set: attack, ratio, target; empty: none

    def parents(self) -> tuple[Spec, ...]:
        return tuple(spec for spec in (self.prepared, self.selected, self.cleansed) if spec is not None)

    def _label(self) -> str:
        how = "-adversarial" if self.adversarial else ""
        how += f"-{self.noise}{self.noise_ratio:g}" if self.noise else ""
        how += f"-and-{dict(self.second)['attack']}" if self.second else ""
        how += f"-by-{self.cleansed.engine}" if isinstance(self.cleansed, CleanseSpec) else ""
        return f"{self.dataset}-{self.model}{self.width}-{self.attack}-{self.ratio:g}{how}-s{self.seed}"


@dataclass(frozen=True, kw_only=True)
class CleanseSpec(Spec):
    """Questions about the pictures of one dirty training set, and which of them do not agree with their label (VDC)."""

    kind: ClassVar[str] = "cleanse"
    dataset: str
    n_train: int  # class-balanced subset of the training set, in images; 0: all of it
    attack: str = "none"
    attack_params: Pairs = ()
    ratio: float = 0.0  # poisoned images / all training images
    target: int = 0
    selection: str = "random"  # random: from all classes, balanced: the same number from every class but the target
    prepared: Spec | None = None  # what the attack made beforehand
    noise: str = ""  # wrong labels, there before the attacker comes; empty: none
    noise_ratio: float = 0.0
    engine: str = "embedded"  # truth: flags exactly what is dirty
    params: Pairs = ()  # of the engine
    reference: int = 0  # clean labelled images that the engine or the threshold needs; none of them is among n_train
    score: str = ""  # empty: vote with alpha, logit_mean with target_fpr
    alpha: float | None = None  # dirty below it
    target_fpr: float | None = None  # or: chosen on the reference such that this share of clean images is flagged
    tie: str = "clean"

    def parents(self) -> tuple[Spec, ...]:
        return () if self.prepared is None else (self.prepared,)

    def _label(self) -> str:
        dirt = [f"{self.attack}-{self.ratio:g}"] if self.attack != "none" else []
        dirt += [f"{self.noise}{self.noise_ratio:g}"] if self.noise else []
        return f"{self.engine}{self.reference}-{self.dataset}-{'-'.join(dirt) or 'clean'}-s{self.seed}"


@dataclass(frozen=True, kw_only=True)
class DefendSpec(Spec):
    """One defense applied to one trained classifier."""

    kind: ClassVar[str] = "defend"
    parent: Spec
    defense: str
    params: Pairs = ()
    n_clean: int = 0  # size of the clean subset that the defense may see, in images

    def parents(self) -> tuple[Spec, ...]:
        return (self.parent,)

    def _label(self) -> str:
        return f"{self.defense}-on-{self.parent.label}"


@dataclass(frozen=True, kw_only=True)
class DetectSpec(Spec):
    """One detector applied to the training set of one trained classifier."""

    kind: ClassVar[str] = "detect"
    parent: Spec
    detector: str
    params: Pairs = ()
    n_clean: int = 0  # size of the clean subset that the detector may see, in images

    def parents(self) -> tuple[Spec, ...]:
        return (self.parent,)

    def _label(self) -> str:
        return f"{self.detector}-on-{self.parent.label}"


@dataclass(frozen=True, kw_only=True)
class AnalysisSpec(Spec):
    """One analysis tool applied to one or several models; its result is small JSON that a figure is drawn from."""

    kind: ClassVar[str] = "analysis"
    tool: str
    inputs: tuple[Spec, ...]
    params: Pairs = ()

    def parents(self) -> tuple[Spec, ...]:
        return self.inputs

    def _label(self) -> str:
        return f"{self.tool}-of-{self.inputs[0].label}" if self.inputs else self.tool


KINDS: dict[str, type[Spec]] = {
    cls.kind: cls for cls in (TrainSpec, CleanseSpec, PrepareSpec, SelectSpec, DefendSpec, DetectSpec, AnalysisSpec)
}


def from_dict(data: Mapping[str, Any]) -> Spec:
    """The inverse of :meth:`Spec.to_dict`.

    Raises
    ------
    PaperlibError
        ``kind`` or a field is unknown, or a field without default is missing.
    """
    cls = KINDS[choose("kind", str(data.get("kind")), KINDS)]
    known = {field.name for field in fields(cls)}
    values: dict[str, Any] = {}
    for name, value in data.items():
        if name == "kind":
            continue
        if name not in known:
            raise PaperlibError(f"{cls.kind} spec has no field {name!r}; it has: {', '.join(sorted(known))}.")
        if name in PAIRED:
            value = pairs(value)
        elif name in ("parent", "prepared", "selected", "cleansed"):
            value = from_dict(value)
        elif name == "inputs":
            value = tuple(from_dict(v) for v in value)
        values[name] = value
    try:
        return cls(**values)
    except TypeError as error:
        raise PaperlibError(f"{cls.kind} spec is incomplete: {error}.") from None
