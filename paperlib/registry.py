"""What the registries hold: a light record that names a method, its version, and where its code lies.

A registry is a plain dict of :class:`Method`; looking a method up or planning a grid of them imports no torch, only
:meth:`Method.load` does. ``version`` is part of the key of every result that depends on the method: raise it when a change
of the method's file changes its results.
"""

from dataclasses import dataclass, fields
from importlib import import_module
from typing import Any

from paperlib.errors import choose
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
    """Build the hyper-parameter dataclass ``cls``; an unknown name says which ones exist."""
    known = {field.name for field in fields(cls)}
    for name in values:
        choose(f"{argument} parameter", name, known)
    return cls(**values)
