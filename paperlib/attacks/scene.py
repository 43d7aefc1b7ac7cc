"""What surrounds a trained model: the images it was trained and tested on, the attack, and which images were
poisoned."""

from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from paperlib.attacks import ATTACKS, Attack, Poisoned, check_attack, check_target, draw, poison, poisoned_test
from paperlib.data.images import ImageData, clean_subset
from paperlib.data.inputs import check_from_zero, image_data
from paperlib.data.noise import NoisyLabels
from paperlib.errors import PaperlibError
from paperlib.training import Recipe


def _none() -> Tensor:
    return torch.empty(0, dtype=torch.int64)


@dataclass(frozen=True, eq=False)
class Scene:
    """Data, attack and poisoned images around one model. All tensors lie on one device."""

    train: ImageData
    """Clean training set."""
    test: ImageData
    """Clean test set."""
    attack: Attack | None = None
    """None: the training set is clean, but for ``noisy``."""
    poisoned: Poisoned | None = None
    """Poisoned training set, where the trigger is there; an attack may learn it only while it trains the classifier."""
    target: int = 0
    """Class that the attacker wants."""
    given: ImageData | None = None
    """Training set before the attack, where the images of ``second`` lie in it."""
    noisy: NoisyLabels | None = None
    """Labels before the attacker came, where some of them are wrong."""
    second: tuple[Attack, int] | None = None
    """Another trigger in the training set, and its target; ``poisoned`` holds the images of both."""
    second_indices: Tensor = field(default_factory=_none)
    """(Q,) int64: the images of ``second``."""
    name: str = "none"
    """Of the attack in the registry."""
    ratio: float = 0.0
    """Poisoned images / all training images."""
    seed: int = 0
    """Of the training, and of the draw of the poisoned images."""
    recipe: Recipe = field(default_factory=Recipe)
    """How the model was trained."""
    label: str = "this model"
    """How messages call the model."""

    @property
    def data(self) -> ImageData:
        """The training set as it is handed in: with wrong labels, poisoned, or both."""
        if self.poisoned is not None:
            return self.poisoned.data
        if self.given is not None:
            return self.given
        return self.train if self.noisy is None else replace(self.train, y=self.noisy.y)

    @property
    def trigger(self) -> Attack:
        """The attack. Raises :class:`PaperlibError` where there is none."""
        if self.attack is None:
            raise PaperlibError(f"{self.label} was trained on clean data; it has no trigger.")
        return self.attack

    @property
    def poisoned_set(self) -> Poisoned:
        """The poisoned training set. Raises :class:`PaperlibError` where there is none."""
        if self.poisoned is None:
            raise PaperlibError(f"{self.label} was trained on clean data; it has no poisoned training set.")
        return self.poisoned

    @property
    def dirty(self) -> Tensor:
        """(N,) bool: wrongly labelled, poisoned, or both."""
        out = torch.zeros_like(self.train.y, dtype=torch.bool) if self.noisy is None else self.noisy.mask.clone()
        return out if self.poisoned is None else out | self.poisoned.mask

    @cached_property
    def triggered(self) -> tuple[ImageData, Tensor]:
        """Triggered test images with their true labels, and the labels that the attacker wants.

        Raises
        ------
        PaperlibError
            There is no attack.
        """
        return poisoned_test(self.test, self.trigger, self.target)

    def clean(self, n: int, seed: int = 0) -> ImageData:
        """The ``n`` clean training images, balanced by class, that a defender holds, the same for one ``seed``."""
        return self.train.subset(clean_subset(self.train.y, n, seed))

    def under(self, attack: Attack, indices: object) -> "Scene":
        """This scene with the trigger of ``attack`` on the training images ``indices`` (P,) of what was handed in
        before."""
        poisoned = poison(
            replace(self, poisoned=None).data, attack, target=self.target, indices=indices, seed=self.seed
        )
        if len(self.second_indices):
            both = torch.cat([poisoned.indices, self.second_indices.to(poisoned.indices.device)])
            poisoned = replace(poisoned, indices=both.unique())
        return replace(self, attack=attack, poisoned=poisoned)


def name_of(attack: Attack) -> str:
    """The name of an attack in the registry; of one that is not there, its class."""
    same = [
        name
        for name, method in ATTACKS.items()
        if method.load() is type(attack) and all(getattr(attack, field) == value for field, value in method.defaults)
    ]
    return same[-1] if same else type(attack).__name__


def own_scene(
    train: object, test: object, attack: Attack | None = None, *, target: int = 0, ratio: float = 0.1, seed: int = 0
) -> Scene:
    """The scene around a person's own model, for the analysis tools.

    Parameters
    ----------
    train, test
        Clean images, in any form of :func:`paperlib.data.inputs.image_data`.
    attack
        A trigger, ready to be called; None: the model was trained on clean data.
    target, ratio, seed
        Class that the attacker wants, share of the training images with the trigger, and seed of their draw.

    Raises
    ------
    PaperlibError
        Images of two sizes or kinds of classes, and what :func:`paperlib.attacks.draw` and
        :func:`paperlib.attacks.poison` refuse.
    """
    seen, unseen = image_data(train, "train"), image_data(test, "test")
    check_from_zero(seen, "train")
    if seen.x.shape[1:] != unseen.x.shape[1:]:
        raise PaperlibError(
            f"train holds images of shape {tuple(seen.x.shape[1:])}, test of {tuple(unseen.x.shape[1:])}; they must"
            " agree."
        )
    check_target(target, seen.n_classes)
    if unseen.n_classes > seen.n_classes:
        raise PaperlibError(
            f"test has labels up to {int(unseen.y.max())}, train has classes 0 to {seen.n_classes - 1}; they must"
            " agree."
        )
    classes = seen.class_names
    seen, unseen = replace(seen, class_names=classes), replace(unseen, class_names=classes)
    scene = Scene(seen, unseen, target=target, seed=seed, ratio=ratio if attack is not None else 0.0)
    if attack is None:
        return scene
    check_attack(attack)
    scene = replace(scene, name=name_of(attack))
    return scene.under(attack, draw(seen.y.cpu().numpy(), ratio, attack.labels, target, seed))
