"""From a scale to specs: the few functions with which every paper writes down its grid. Imports no torch."""

from typing import Any

from paperlib.analysis import TOOLS
from paperlib.attacks import ATTACKS
from paperlib.defenses import DEFENSES
from paperlib.errors import choose
from paperlib.lab.spec import AnalysisSpec, DefendSpec, Pairs, Spec, TrainSpec, pairs
from paperlib.models import MODELS
from paperlib.scales import Scale

TRAINING_VERSION = 1
"""Raise it when a change of ``training.py`` changes results."""


def _versions(**more: int) -> Pairs:
    return pairs({name: version for name, version in more.items() if version})


def train(scale: Scale, attack: str = "none", ratio: float = 0.1, *, seed: int = 0, **changes: Any) -> TrainSpec:
    """The classifier of ``scale`` trained under ``attack`` (``none``: on clean data); ``changes`` are fields of the spec."""
    if attack == "none":
        ratio, version = 0.0, 0
    else:
        version = ATTACKS[choose("attack", attack, ATTACKS)].version
    fields: dict[str, Any] = {
        "dataset": scale.dataset,
        "n_train": scale.n_train,
        "n_test": scale.n_test,
        "width": scale.width,
        "epochs": scale.epochs,
        "batch_size": scale.batch_size,
        "lr": scale.lr,
        "schedule": scale.schedule,
        **changes,
    }
    model = MODELS[choose("model", fields.get("model", "preact_resnet18"), MODELS)]
    versions = _versions(training=TRAINING_VERSION, model=model.version, attack=version)
    return TrainSpec(attack=attack, ratio=ratio, seed=seed, versions=versions, **fields)


def defend(
    scale: Scale, parent: Spec, defense: str, *, n_clean: int | None = None, seed: int = 0, **params: Any
) -> DefendSpec:
    """``defense`` on the model of ``parent`` with the epochs and batch of ``scale``; ``params`` change hyper-parameters."""
    method, _ = DEFENSES[choose("defense", defense, DEFENSES)]
    params = {"epochs": scale.defense_epochs, "batch_size": scale.defense_batch, **params}
    versions = _versions(training=TRAINING_VERSION, defense=method.version)
    return DefendSpec(
        parent=parent,
        defense=defense,
        params=pairs(params),
        n_clean=scale.n_clean if n_clean is None else n_clean,
        seed=seed,
        versions=versions,
    )


def analyse(tool: str, *inputs: Spec, seed: int = 0, **params: Any) -> AnalysisSpec:
    """The analysis ``tool`` on the models of ``inputs``."""
    version = TOOLS[choose("tool", tool, TOOLS)].version
    return AnalysisSpec(tool=tool, inputs=inputs, params=pairs(params), seed=seed, versions=_versions(tool=version))
