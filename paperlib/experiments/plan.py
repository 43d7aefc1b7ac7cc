"""From a scale to specs: the few functions with which every paper writes down its grid. Imports no torch."""

from collections.abc import Mapping
from typing import Any

from paperlib import selection
from paperlib.analysis import TOOLS
from paperlib.attacks import ATTACKS, UNSAID, check_ratio, known, meant
from paperlib.attacks.pictures import noted
from paperlib.data import folder, sources
from paperlib.defenses import CLEAN, DEFENSES
from paperlib.detection import DETECTORS
from paperlib.errors import PaperlibError, choose
from paperlib.experiments.scales import PICTURE, Scale
from paperlib.experiments.specs import (
    AnalysisSpec,
    CleanseSpec,
    DefendSpec,
    DetectSpec,
    PrepareSpec,
    SelectSpec,
    TrainSpec,
)
from paperlib.lab.spec import Pairs, Spec, pairs
from paperlib.models import MODELS
from paperlib.selection import SELECTIONS, WITHOUT_SURROGATE
from paperlib.vdc.engines import ENGINES, ON_FEATURES, TRUTH
from paperlib.vdc.questions import BANKS

TRAINING_VERSION = 1
"""Raise it when a change of ``training.py`` changes results."""
ADVERSARIAL_VERSION = 1
"""Raise it when a change changes adversarial training alone."""
CLEANSE_VERSION = 1
"""Raise it when a change of the question banks, of the judges or of the scores changes results."""
GIVEN_VERSION = 2
"""Raise it when a change of :mod:`paperlib.vdc.engines.cross_fit` or of :mod:`paperlib.vdc.noise` changes the results
of ``given`` on features."""
DIRT = ("noise", "noise_ratio", "cleansed", "second")
"""Fields of a training that say nothing about what its attack prepares."""


def versions(**more: int) -> Pairs:
    """Name and version of every method that a result depends on; those without a version are left out."""
    return pairs({name: version for name, version in more.items() if version})


def train(scale: Scale, attack: str = "none", ratio: float = 0.1, *, seed: int = 0, **changes: Any) -> TrainSpec:
    """The classifier of ``scale`` trained under ``attack`` (``none``: on clean data); ``changes`` are fields of the
    spec.

    ``second`` names another trigger that lies on other images of the same training set (:func:`second`). An attack that
    must be prepared gets the spec of its preparation as a parent, from an ordinary classifier even where the
    victim is trained adversarially; ``selection``, other than ``random``, the
    spec of the search for the samples to poison (:func:`select`), unless one is given as ``selected``.

    Raises
    ------
    PaperlibError
        An unknown attack, model, selection strategy or attack parameter, or a strategy for an attack that trains the
        classifier.
    """
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
    fields["dataset"] = folder.resolve(fields["dataset"])  # a key holds a folder's content, not its place
    if attack != "none" and (fields.get("noise") or fields.get("cleansed")):
        _given_data(attack)
    strategy = choose("selection", fields.pop("selection", "random"), SELECTIONS)
    model = MODELS[fields.get("model", "preact_resnet18")]
    version = 0
    if attack == "none":
        ratio = 0.0
    else:
        method = known(attack)
        check_ratio(ratio)  # before anything is prepared
        version = method.version
        params = {**scale.changes.get(attack, {}), **dict(fields.get("attack_params", ()))}
        if attack == "blended":
            params = noted({"picture": picture(scale), **params})
        fields["attack_params"] = pairs({k: v for k, v in params.items() if UNSAID.get(attack, {}).get(k) != v})
        if method.prepare and "prepared" not in fields:
            clean = {
                name: value
                for name, value in fields.items()
                if name not in ("attack_params", "target", "selected", "adversarial", "adversarial_steps", *DIRT)
            }
            parent = train(scale, "none", seed=seed, **clean) if method.prepare == "model" else None
            fields["prepared"] = PrepareSpec(
                attack=attack,
                dataset=fields["dataset"],
                n_train=fields["n_train"],
                attack_params=fields["attack_params"],
                target=fields.get("target", 0),
                parent=parent,
                seed=seed,
                versions=versions(training=TRAINING_VERSION, attack=version),
            )
        if "selected" in fields:
            _hands_in(attack, fields["selected"].strategy)
            fields["selection"] = fields["selected"].strategy
        elif strategy != "random":
            shared = ("dataset", "n_train", "attack_params", "prepared", "target")
            given = {name: fields[name] for name in shared if name in fields}
            given["attack_params"] = meant(attack, fields["attack_params"])
            fields["selection"] = strategy
            fields["selected"] = select(scale, strategy, attack, ratio, seed=seed, **given)
    if fields.get("cleansed") is not None:
        _same_data({"attack": attack, "ratio": ratio, "seed": seed, **fields}, fields["cleansed"])
    adversarial = ADVERSARIAL_VERSION if fields.get("adversarial") else 0
    another = _another({"attack": attack, "target": 0, "cleansed": None, **fields}) if fields.get("second") else 0
    used = versions(
        training=TRAINING_VERSION, model=model.version, attack=version, adversarial=adversarial, second=another
    )
    return TrainSpec(attack=attack, ratio=ratio, seed=seed, versions=used, **fields)


def picture(scale: Scale) -> str:
    """Which picture Blended has in the plans of ``scale``: :data:`paperlib.experiments.scales.PICTURE`."""
    planned = PICTURE.get(scale.plans, "cartoon")
    return "random" if planned == "benchmark" and sources.status("pictures").state == "missing" else planned


def second(attack: str, target: int, ratio: float = 0.1) -> Pairs:
    """For ``second=`` of :func:`train`: the trigger of ``attack`` on ``ratio`` of the training images, for another
    target."""
    return pairs(attack=attack, target=target, ratio=ratio)


def _another(training: Mapping[str, Any]) -> int:
    """Version of the second attack of a training, which must fit to the first one."""
    about = dict(training["second"])
    method = ATTACKS[choose("second attack", about["attack"], ATTACKS)]
    if method.prepare or method.controls_training:
        raise PaperlibError(
            f"second attack={about['attack']!r} must be one that only hands in images: it is neither prepared nor"
            " trained."
        )
    if training["attack"] == "none" or training["cleansed"] is not None or training["target"] == about["target"]:
        raise PaperlibError(
            f"second={about!r} needs a first attack with another target, on a training set that is not cleansed; "
            f"here attack={training['attack']!r}, target={training['target']!r}."
        )
    return method.version


def _given_data(attack: str) -> None:
    if known(attack).controls_training:
        raise PaperlibError(
            f"attack={attack!r} trains the classifier itself; wrong labels and cleansing need an attack that hands in"
            " data."
        )


def _same_data(training: Mapping[str, Any], cleansed: CleanseSpec) -> None:
    """What was cleansed must be what is trained on."""
    names = ("dataset", "n_train", "attack", "attack_params", "ratio", "target", "selection", "prepared", "seed")
    for name in (*names, "noise", "noise_ratio"):
        ours, theirs = training.get(name, getattr(CleanseSpec, name, None)), getattr(cleansed, name)
        if ours != theirs:
            raise PaperlibError(
                f"cleansed has {name}={theirs!r}, the training {ours!r}; they must be about the same data."
            )


def cleanse(
    scale: Scale,
    attack: str = "none",
    ratio: float = 0.1,
    *,
    engine: str = "embedded",
    params: Mapping[str, Any] | None = None,
    seed: int = 0,
    **changes: Any,
) -> CleanseSpec:
    """VDC with ``engine`` on the training set of ``scale`` under ``attack``, wrong labels (``noise``), or both.

    ``params`` are options of the engine, ``changes`` fields of the spec. With ``selection="random"`` the poisoned
    images are those of :func:`train` with the same seed, with ``"balanced"`` those of its ``selection="balanced"``.

    Raises
    ------
    PaperlibError
        An unknown engine, bank of questions, attack or attack parameter, a selection that trains a model, or an attack
        whose trigger exists only after its training.
    """
    choose("engine", engine, (*ENGINES, TRUTH, ON_FEATURES))
    if changes.get("questions"):
        choose("questions", changes["questions"], BANKS)
    choose("selection", changes.get("selection", "random"), WITHOUT_SURROGATE)
    fields: dict[str, Any] = {"dataset": scale.dataset, "n_train": scale.n_train, **changes}
    version = 0
    if attack == "none":
        ratio = 0.0
    else:
        given = ("dataset", "n_train", "attack_params", "target", "prepared")
        victim = train(scale, attack, ratio, seed=seed, **{name: fields[name] for name in given if name in fields})
        if ATTACKS[attack].controls_training and attack != "wanet":
            raise PaperlibError(
                f"attack={attack!r} learns its trigger while it trains the classifier; only WaNet's is there before."
            )
        version = ATTACKS[attack].version
        fields |= {name: getattr(victim, name) for name in given}
    fields["dataset"] = folder.resolve(fields["dataset"])
    return CleanseSpec(
        attack=attack,
        ratio=ratio,
        engine=engine,
        params=pairs(params),
        seed=seed,
        versions=versions(
            cleanse=CLEANSE_VERSION,
            engine=ENGINES[engine].version if engine in ENGINES else 0,
            attack=version,
            detector=_raised(dict(params or {}).get("method", "")) if engine == ON_FEATURES else 0,
        ),
        **fields,
    )


def _raised(detector: str) -> int:
    """Its version where that was raised; the first one is not part of the keys of what was recorded on the same
    features."""
    if detector == "given":
        return GIVEN_VERSION
    return DETECTORS[detector].version if detector in DETECTORS and DETECTORS[detector].version > 1 else 0


def adversarially(scale: Scale) -> dict[str, Any]:
    """Fields of :func:`train` for an attacker who trains adversarially: 8/255, 10 steps as SAU's paper has it, 2 in
    smoke.

    NPD's paper does not print how its attackers train; it gets the same.
    """
    return {"adversarial": 8 / 255, "adversarial_steps": 2 if scale.plans == "smoke" else 10}


def _hands_in(attack: str, strategy: str) -> None:
    if ATTACKS[attack].controls_training:
        raise PaperlibError(
            f"selection={strategy!r} needs an attack that hands in poisoned data; attack={attack!r} trains the"
            " classifier itself and poisons anew in every batch."
        )


def select(
    scale: Scale,
    strategy: str,
    attack: str,
    ratio: float,
    *,
    seed: int = 0,
    params: Mapping[str, Any] | None = None,
    **changes: Any,
) -> SelectSpec:
    """The search of ``strategy`` for the images that ``attack`` poisons, with a surrogate of the sizes of ``scale``.

    ``params`` change the strategy's hyper-parameters, ``changes`` are fields of the spec (``model`` and ``width`` are
    the surrogate's). The surrogate's learning rate is constant; where the victim's is one cycle, it is half of the
    highest.

    Raises
    ------
    PaperlibError
        An unknown strategy, attack or model, or an attack that trains the classifier itself.
    """
    method = SELECTIONS[strategy]
    said = {**selection.PLANNED.get(strategy, {}), **scale.changes.get(strategy, {}), **(params or {})}
    known(attack)
    _hands_in(attack, strategy)
    fields: dict[str, Any] = {"dataset": scale.dataset, "n_train": scale.n_train, **changes}
    model_version = 0
    if strategy not in WITHOUT_SURROGATE:
        lr = scale.lr / 2 if scale.schedule == "one_cycle" else scale.lr
        fields = {"width": scale.width, "batch_size": scale.batch_size, "lr": lr, **fields}
        model_version = MODELS[fields.get("model", "preact_resnet18")].version
    shared = {name: fields[name] for name in ("dataset", "n_train", "attack_params", "target") if name in fields}
    victim = train(scale, attack, ratio, seed=seed, **shared)
    fields |= {"dataset": victim.dataset, "attack_params": victim.attack_params}
    fields.setdefault("prepared", victim.prepared)
    return SelectSpec(
        strategy=strategy,
        attack=attack,
        ratio=ratio,
        seed=seed,
        params=pairs({k: v for k, v in said.items() if selection.UNSAID.get(strategy, {}).get(k) != v}),
        versions=versions(
            training=TRAINING_VERSION, model=model_version, attack=ATTACKS[attack].version, selection=method.version
        ),
        **fields,
    )


def defend(
    scale: Scale, parent: Spec, defense: str, *, n_clean: int | None = None, seed: int = 0, **params: Any
) -> DefendSpec:
    """``defense`` on the model of ``parent`` with the sizes of ``scale``; ``params`` change hyper-parameters."""
    method = DEFENSES[defense]
    sizes: dict[str, dict[str, Any]] = {
        "": {},
        "batch": {"batch_size": scale.defense_batch},
        "defense": {"epochs": scale.defense_epochs, "batch_size": scale.defense_batch},
        "training": {
            "epochs": scale.epochs,
            "batch_size": scale.batch_size,
            "lr": scale.lr,
            "schedule": scale.schedule,
        },
    }
    return DefendSpec(
        parent=parent,
        defense=defense,
        params=pairs({**sizes[method.sizes], **scale.changes.get(defense, {}), **params}),
        n_clean=(scale.n_clean if n_clean is None else n_clean) if method.access == CLEAN else 0,
        seed=seed,
        versions=versions(training=TRAINING_VERSION, defense=method.version),
    )


def detect(
    scale: Scale, parent: Spec, detector: str, *, n_clean: int | None = None, seed: int = 0, **params: Any
) -> DetectSpec:
    """``detector`` on the training set of ``parent``; ``params`` change hyper-parameters."""
    method = DETECTORS[detector]
    return DetectSpec(
        parent=parent,
        detector=detector,
        params=pairs({**scale.changes.get(f"detector {detector}", scale.changes.get(detector, {})), **params}),
        n_clean=scale.n_clean if n_clean is None else n_clean,
        seed=seed,
        versions=versions(detector=method.version),
    )


def analyse(tool: str, *inputs: Spec, seed: int = 0, **params: Any) -> AnalysisSpec:
    """The analysis ``tool`` on the models of ``inputs``."""
    version = TOOLS[tool].version
    return AnalysisSpec(tool=tool, inputs=inputs, params=pairs(params), seed=seed, versions=versions(tool=version))
