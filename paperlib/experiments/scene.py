"""From a spec to what surrounds its model, and from a stored model back to both.

Everything is made again from the seeds of the spec: data, wrong labels, the attack, which images are poisoned. The last
few stay in memory, because a grid visits a parent several times in a row.
"""

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from torch import nn

from paperlib import attacks, models
from paperlib.attacks.scene import Scene
from paperlib.data import images
from paperlib.data import noise as label_noise
from paperlib.data.images import ImageData
from paperlib.defenses import DEFENSES
from paperlib.errors import PaperlibError
from paperlib.experiments.specs import CleanseSpec, DefendSpec, TrainSpec
from paperlib.lab.spec import Spec
from paperlib.lab.store import Store
from paperlib.selection.problem import Problem
from paperlib.selection.random import balanced_indices
from paperlib.training import Recipe, load_state, load_weights, pick_device


@lru_cache(maxsize=2)
def dataset(name: str, split: str, n: int, seed: int, device: str) -> ImageData:
    """:func:`paperlib.data.images.load`, kept in memory; treat it as read-only."""
    return images.load(name, split, n, seed, device)


def recipe(spec: TrainSpec) -> Recipe:
    """How the classifier of ``spec`` is trained."""
    attacker: dict = {"adversarial": spec.adversarial, "adversarial_steps": spec.adversarial_steps}
    return Recipe(spec.epochs, spec.batch_size, spec.lr, spec.schedule, **attacker)


def controls_training(spec: TrainSpec | CleanseSpec) -> bool:
    """Whether the attacker of ``spec`` trains the classifier and, with some attacks, the trigger."""
    return isinstance(spec, TrainSpec) and spec.attack != "none" and attacks.ATTACKS[spec.attack].controls_training


def before(spec: TrainSpec | CleanseSpec, device: str, store: Store | None = None) -> tuple[Scene, Any]:
    """The scene of ``spec`` before its attack is on the images, and the indices that it will poison, None without
    attack.

    Wrong labels come first, then the images of a second trigger. ``store`` holds what was prepared or selected. Where
    the training learns the trigger, the attack has none yet.

    Raises
    ------
    PaperlibError
        An infeasible poisoning ratio, an unknown attack parameter, a data set that is missing or damaged.
    """
    train = dataset(spec.dataset, "train", spec.n_train, spec.seed, device)
    scene = Scene(
        train=train,
        test=dataset(spec.dataset, "test", getattr(spec, "n_test", 0), 0, device),
        target=spec.target,
        name=spec.attack,
        ratio=spec.ratio,
        seed=spec.seed,
        recipe=recipe(spec) if isinstance(spec, TrainSpec) else Recipe(),
        label=spec.label,
    )
    if spec.noise:
        scene = replace(scene, noisy=_noisy(spec, train))
    if spec.attack == "none":
        return scene, None
    attack = attacks.attack(spec.attack, attacks.meant(spec.attack, spec.attack_params))
    indices = _indices(spec, attack, train, store)  # before what the attack learned: an infeasible ratio stops here
    if spec.prepared is not None and not controls_training(spec):
        attack = attacks.with_state(attack, load_state(_needed(store).weights_path(spec.prepared), device))
    return _second(spec, replace(scene, attack=attack), indices), indices


@lru_cache(maxsize=2)
def scene_of(spec: TrainSpec | CleanseSpec, device: str, store: Store | None = None) -> Scene:
    """Data, attack and poisoned indices of ``spec``. Raises as :func:`before`; a learned trigger comes from
    ``store``."""
    found, indices = before(spec, device, store)
    if found.attack is None:
        return found
    attack = found.attack
    if controls_training(spec) and hasattr(attack, "state"):
        attack = attacks.with_state(attack, load_state(_needed(store).weights_path(spec), device))
    return found.under(attack, indices)


def _second(spec: TrainSpec | CleanseSpec, scene: Scene, taken: np.ndarray) -> Scene:
    """``scene`` with the images of the second trigger of ``spec``, if it has one.

    It keeps away from the images ``taken`` by the first trigger, unless that one poisons anew in every batch.
    """
    about = dict(getattr(spec, "second", ()))
    if not about:
        return scene
    attack = attacks.attack(about["attack"], attacks.meant(about["attack"], ()))
    data = scene.data
    free = np.arange(len(data))
    if not controls_training(spec):
        free = np.setdiff1d(free, taken)
    share = about["ratio"] * len(data) / len(free)
    chosen = free[attacks.draw(data.y.cpu().numpy()[free], share, attack.labels, about["target"], spec.seed)]
    poisoned = attacks.poison(data, attack, target=about["target"], indices=chosen, seed=spec.seed)
    return replace(scene, given=poisoned.data, second=(attack, about["target"]), second_indices=poisoned.indices.cpu())


def _noisy(spec: TrainSpec | CleanseSpec, train: ImageData) -> label_noise.NoisyLabels:
    """The wrong labels of ``spec``. People labelled the publisher's whole training set; a subset takes its share of
    it."""
    indices = None
    if spec.noise in label_noise.HUMAN and spec.n_train:
        indices = images.balanced_subset(dataset(spec.dataset, "train", 0, 0, "cpu").y, spec.n_train, spec.seed)
    return label_noise.noisy_labels(
        train.y, spec.noise, spec.noise_ratio, n_classes=train.n_classes, seed=spec.seed, indices=indices
    )


def _needed(store: Store | None) -> Store:
    if store is None:
        raise PaperlibError("this attack's trigger lies in a store; pass the store that holds it.")
    return store


def _indices(spec: TrainSpec | CleanseSpec, attack: attacks.Attack, train: ImageData, store: Store | None) -> Any:
    """Which training images are poisoned."""
    if isinstance(spec, CleanseSpec):
        if spec.selection != "random":
            return balanced_indices(Problem(train, attack, spec.target, spec.ratio), spec.seed).cpu()
    elif spec.selected is not None:
        return np.array(_needed(store).result(spec.selected)["indices"])
    return attacks.draw(train.y.cpu().numpy(), spec.ratio, attack.labels, spec.target, spec.seed)


def restore(spec: Spec, store: Store, device: str) -> tuple[nn.Module, Scene]:
    """The model that ``spec`` produced, in evaluation mode, and its scene. Treat the model as read-only.

    Raises
    ------
    PaperlibError
        The store holds no weights of ``spec``.
    """
    chain = [spec]  # from the last defense down to the trained classifier
    while isinstance(chain[-1], DefendSpec):
        chain.append(chain[-1].parent)
    origin = chain.pop()
    assert isinstance(origin, TrainSpec)
    found = scene_of(origin, str(pick_device(device)), store)
    model = models.build(origin.model, found.train, width=origin.width, seed=origin.seed)
    for step in reversed(chain):
        assert isinstance(step, DefendSpec)
        method = DEFENSES[step.defense]
        if method.adapt:  # the defense added layers
            model = method.adapter()(model, DEFENSES.settings(step.defense, **dict(step.params)))
    return load_weights(model, store.weights_path(spec)), found
