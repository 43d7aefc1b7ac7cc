"""Backdoor attacks: one attack, one file.

An attack is a frozen dataclass of hyper-parameters that is called on a batch of images (B, C, H, W) in [0, 1] and
returns the same images with the trigger, in [0, 1]. Its field ``labels`` is the label policy:

``all_to_one``
    poisoned images, drawn from the whole training set, are labelled with the target class;
``all_to_all``
    their label becomes y + 1 mod C;
``clean``
    poisoned images are drawn from the target class only and keep their label.

The poisoning ratio is relative to the **whole** training set (BackdoorBench). Which samples are poisoned is an input of
:func:`poison`: selection strategies plug in there. Triggers are rendered once to uint8, before augmentation.

Beyond the call, an attack may offer

``prepare(data, *, target, model, seed, progress) -> (state, notes)``
    where ``ATTACKS[name].prepare`` is not empty: makes what the trigger needs (a universal perturbation, an encoder).
    ``state`` holds named tensors, ``notes`` small JSON values. The call then reads its field ``state``;
``train(model, data, recipe, *, target, ratio, seed, watch, progress) -> (log, state)``
    where ``ATTACKS[name].controls_training``: trains the classifier in place, in its own way. ``state`` holds the
    tensors of a trigger that was learned along; ``watch(epoch, state)`` returns what joins the log entry of an epoch;
``training_images(x, indices) -> x``
    where training images are poisoned in another way than test images: uint8 images x (P, C, H, W), which lie at
    ``indices`` (P,) of the training set, as the attacker hands them in;
``cross_ratio`` and ``cross(x, generator) -> x``
    the attacker also hands in ``cross_ratio`` times as many images with a wrong trigger and their true label.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, is_dataclass, replace
from functools import partial
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from paperlib.errors import PaperlibError, choose
from paperlib.lab.spec import Pairs, pairs
from paperlib.registry import Method, Registry, check_options, check_seed

if TYPE_CHECKING:
    from torch import Tensor

    from paperlib.data.images import ImageData

ATTACKS = Registry(
    "attack",
    __name__,
    {
        "badnets": Method(".badnets", "BadNets", "BadNets"),
        "badnets_a2a": Method(".badnets", "BadNets", "BadNets-A2A", defaults=pairs(labels="all_to_all")),
        "blended": Method(".blended", "Blended", "Blended"),
        "sig": Method(".sig", "SIG", "SIG"),
        "wanet": Method(".wanet", "WaNet", "WaNet", controls_training=True),
        "input_aware": Method(".input_aware", "InputAware", "Input-aware", version=2, controls_training=True),
        "bpp": Method(".bpp", "BPP", "BPP", controls_training=True),
        "blind": Method(".blind", "Blind", "Blind", controls_training=True),
        "lira": Method(".lira", "LIRA", "LIRA", controls_training=True),
        "lc": Method(".lc", "LC", "LC", prepare="data"),
        "lf": Method(".lf", "LF", "LF", prepare="model"),
        "ssba": Method(".ssba", "SSBA", "SSBA", version=2, prepare="data"),
        "trojannn": Method(".trojannn", "TrojanNN", "TrojanNN", prepare="model"),
        "ctrl": Method(".ctrl", "CTRL", "CTRL"),
        "ftrojan": Method(".ftrojan", "FTrojan", "FTrojan"),
    },
)
PLANNED = {
    "refool": "its reflections need a set of photographs that may be passed on, or a generator of such pictures",
    "poison_ink": "its hiding and reveal networks need a training of their own in three stages",
}
"""Attacks of the field's newest benchmark that are not here yet -> why."""
UNSAID: dict[str, dict[str, Any]] = {"blended": {"picture": "random"}}
"""Attack -> what a spec means that does not say it: what was the only choice when the first results were recorded."""
LABEL_POLICIES = ("all_to_one", "all_to_all", "clean")


class Attack(Protocol):
    """What every attack offers."""

    labels: str

    def __call__(self, x: "Tensor") -> "Tensor":
        """The images x (B, C, H, W) in [0, 1] with the trigger, in [0, 1]."""
        ...


def known(name: str) -> Method:
    """The entry of the attack ``name``.

    Raises
    ------
    PaperlibError
        Unknown attack, or one that is only planned.
    """
    if name in PLANNED:
        raise PaperlibError(f"attack={name!r} is planned, not built yet: {PLANNED[name]}.")
    return ATTACKS[name]


def attack(name: str, params: Pairs = (), state: "Mapping[str, Tensor] | None" = None) -> Attack:
    """The attack ``name`` with its defaults, changed by ``params``; ``state`` is what its preparation or training made.

    Parameters
    ----------
    name : str
        A name of ``ATTACKS``.
    params : mapping or pairs
        Hyper-parameter -> value: fields of the attack's class.
    state : mapping, optional
        Name -> tensor, for attacks with a field ``state``.

    Raises
    ------
    PaperlibError
        Unknown attack, parameter or label policy.
    """
    known(name)
    try:
        options = {str(option): value for option, value in dict(params).items()}
    except (TypeError, ValueError):
        raise PaperlibError(f"params={params!r} must be a mapping or pairs, for example {{'patch': 5}}.") from None
    made = ATTACKS.settings(name, **options)
    check_attack(made)
    return made if state is None else with_state(made, state)


def meant(name: str, params: Pairs) -> Pairs:
    """``params`` of a spec of the attack ``name`` together with what it leaves unsaid (:data:`UNSAID`)."""
    return pairs({**UNSAID.get(name, {}), **dict(params)})


def check_attack(attack: Any) -> None:
    """Refuse what is no attack, a label policy that is none, and hyper-parameters that no trigger can have.

    Raises
    ------
    PaperlibError
        See :func:`paperlib.registry.check_options`.
    """
    if isinstance(attack, type) or not callable(attack) or not hasattr(attack, "labels"):
        raise PaperlibError(f"attack={attack!r} is no attack; make one with attack(name), or give it a field labels.")
    choose("labels", attack.labels, LABEL_POLICIES)
    if is_dataclass(attack):
        check_options(type(attack), vars(attack))


def with_state(attack: Any, state: "Mapping[str, Tensor]") -> Attack:
    """A copy of ``attack`` whose trigger uses ``state``; attacks without a field ``state`` stay as they are.

    Raises
    ------
    PaperlibError
        ``state`` is no mapping.
    """
    if not isinstance(state, Mapping):
        raise PaperlibError(
            f"state is a {type(state).__name__}; give the tensors by their names that prepare() or train() made."
        )
    return replace(attack, state=dict(state)) if hasattr(attack, "state") else attack


def stated(attack: Any, name: str, shape: "Sequence[int] | None" = None) -> "Tensor":
    """The tensor ``name`` of the attack's state.

    Parameters
    ----------
    attack : Attack
    name : str
    shape : (C, H, W), optional
        Of the images at hand, which the tensor must have.

    Raises
    ------
    PaperlibError
        The attack was not prepared or trained yet, or on images of another shape.
    """
    if name not in attack.state:
        raise PaperlibError(
            f"the attack {type(attack).__name__} has no {name!r} yet; run its prepare() or train() first, "
            "or take it from the store with paperlib.experiments.scene.scene_of."
        )
    found = attack.state[name]
    if shape is not None and tuple(found.shape) != tuple(shape):
        raise PaperlibError(
            f"x holds images of shape {tuple(shape)}; the attack {type(attack).__name__} was prepared on images of"
            f" shape {tuple(found.shape)}."
        )
    return found


_known: "ContextVar[bool]" = ContextVar("_known", default=False)


@contextmanager
def values_known() -> "Iterator[None]":
    """Batches lie in [0, 1], as in a training on uint8 images; a look at each would make a GPU wait at every step."""
    before = _known.set(True)
    try:
        yield
    finally:
        _known.reset(before)


def check_batch(x: Any) -> None:
    """Refuse an ``x`` that no trigger can be put on.

    Values are not looked at while :func:`values_known` holds.

    Raises
    ------
    PaperlibError
        No tensor of floats (B, C, H, W), or values outside [0, 1] by more than rounding.
    """
    import torch

    if not isinstance(x, torch.Tensor) or x.ndim != 4 or not x.is_floating_point():
        said = f"{x.dtype} of shape {tuple(x.shape)}" if isinstance(x, torch.Tensor) else f"a {type(x).__name__}"
        raise PaperlibError(f"x is {said}; a trigger is put on images (B, C, H, W), floats in [0, 1].")
    if _known.get() or not x.numel():
        return
    low, high = torch.stack(x.aminmax()).tolist()
    if not -0.01 <= low <= high <= 1.01:
        raise PaperlibError(f"x lies in [{low:.4g}, {high:.4g}]; a trigger is put on images in [0, 1].")


def check_ratio(ratio: Any) -> None:
    """Refuse a poisoning ratio that is none.

    Raises
    ------
    PaperlibError
        ``ratio`` is no number in (0, 1).
    """
    if not (isinstance(ratio, Real) and 0 < float(ratio) < 1):
        raise PaperlibError(f"ratio={ratio!r} must lie strictly between 0 and 1 (share of the whole training set).")


def check_target(target: Any, classes: int) -> None:
    """Refuse a target label that is none.

    Raises
    ------
    PaperlibError
        ``target`` is no whole number from 0 to ``classes`` - 1.
    """
    if not (isinstance(target, Integral) and not isinstance(target, bool) and 0 <= int(target) < classes):
        raise PaperlibError(f"target={target!r} is no class of this data set; classes are 0 to {classes - 1}.")


def draw(y: np.ndarray, ratio: float, labels: str, target: int, seed: int) -> np.ndarray:
    """Indices of ``round(ratio * N)`` training images to poison, drawn uniformly without replacement, sorted.

    Clean-label attacks draw from the target class only; the others from the whole set, target class included, as the
    benchmark does.

    Parameters
    ----------
    y : (N,) int
        True classes.
    ratio : float in (0, 1)
        Share of all N images, for clean-label attacks too.
    labels : {'all_to_one', 'all_to_all', 'clean'}
        The attack's label policy.
    target : int
    seed : int

    Raises
    ------
    PaperlibError
        Labels that are none, ``ratio`` outside (0, 1), a draw of no image at all, a target that is no class, or a
        clean-label ratio above the target class's share of the data; the message names the largest feasible ratio.
    """
    choose("labels", labels, LABEL_POLICIES)
    y = np.asarray(y)
    n = y.size
    if n == 0:
        raise PaperlibError("y is empty; give the labels of the training set.")
    if y.ndim != 1 or y.dtype.kind not in "iu" or y.min() < 0:
        raise PaperlibError(f"y is {y.dtype} of shape {y.shape}; labels must be integers from 0, (N,).")
    check_seed(seed)
    check_ratio(ratio)
    check_target(target, int(y.max()) + 1)
    count = round(ratio * n)
    if count == 0:
        raise PaperlibError(
            f"ratio={ratio!r} of {n} images rounds to no image; the smallest feasible ratio is {1 / n:.2g}."
        )
    pool = np.flatnonzero(y == target) if labels == "clean" else np.arange(n)
    if count > len(pool):
        raise PaperlibError(
            f"ratio={ratio!r} asks for {count} images of target class {target}, which has {len(pool)}; "
            f"the largest feasible ratio of a clean-label attack here is {len(pool) / n:.4g}."
        )
    return np.sort(np.random.default_rng([seed, 17]).choice(pool, count, replace=False))


def poisoned_labels(y: "Tensor", labels: str, target: int, classes: int) -> "Tensor":
    """Labels (N,) that the attacker wants for images of the true classes ``y``.

    Parameters
    ----------
    y : (N,) int64
    labels : {'all_to_one', 'all_to_all', 'clean'}
        The attack's label policy.
    target : int
        Not used by 'all_to_all', whose label is the next class.
    classes : int
        How many there are.

    Raises
    ------
    PaperlibError
        ``target`` is no class.
    """
    if choose("labels", labels, LABEL_POLICIES) == "all_to_all":
        return (y + 1) % classes
    check_target(target, classes)
    return y.new_full(y.shape, target)


def render(attack: "Callable[[Tensor], Tensor]", x: "Tensor", batch_size: int = 250) -> "Tensor":
    """Images with the trigger of ``attack``, rounded back to uint8.

    Parameters
    ----------
    attack : callable
        From floats (B, C, H, W) in [0, 1] to the same.
    x : (N, C, H, W) uint8
    batch_size : int
        Small batches stay in the processor's cache: two to three times as fast as thousands of images at once.

    Raises
    ------
    PaperlibError
        What the attack gives back is no image of the same shape, or not finite.
    """
    import torch

    out = torch.empty_like(x)
    for part, place in zip(x.split(batch_size), out.split(batch_size), strict=True):
        made = attack(part.float().div_(255))
        if not isinstance(made, torch.Tensor) or made.shape != part.shape:
            what = f"shape {tuple(made.shape)}" if isinstance(made, torch.Tensor) else f"a {type(made).__name__}"
            raise PaperlibError(
                f"the trigger makes {what} of images of shape {tuple(part.shape)}; it must give images of the same"
                " shape."
            )
        low, high = (made.min().item(), made.max().item()) if made.numel() else (0.0, 0.0)
        if not made.is_floating_point() or not -1 <= low <= high <= 2:  # a trigger may leave [0, 1] a little
            raise PaperlibError(
                f"the trigger makes images of {made.dtype} in [{low:.4g}, {high:.4g}]; they must be floats in [0, 1]."
            )
        place.copy_(made.mul(255).round_().clamp_(0, 255))
    return out


@dataclass(frozen=True)
class Poisoned:
    """A poisoned training set."""

    data: "ImageData"
    """N images as they are handed in, with the labels that they carry."""
    indices: "Tensor"
    """(P,) int64: which images carry the trigger."""
    cross: "Tensor"
    """(Q,) int64: which images carry a wrong trigger and keep their label; empty for most attacks."""

    @property
    def mask(self) -> "Tensor":
        """(N,) bool: True where an image carries the trigger."""
        import torch

        out = torch.zeros_like(self.data.y, dtype=torch.bool)
        out[self.indices] = True
        return out


def positions(indices: Any) -> "Tensor":
    """Positions of images as int64 (P,): whole numbers in a tensor, an array or a list; none at all is allowed.

    Raises
    ------
    PaperlibError
        Fractions, a mask, or another shape.
    """
    import torch

    from paperlib.data.inputs import as_tensor

    given = as_tensor(indices, "indices")
    if given.ndim != 1 or (
        len(given) and (given.is_floating_point() or given.is_complex() or given.dtype == torch.bool)
    ):
        raise PaperlibError(f"indices are {given.dtype} of shape {tuple(given.shape)}; give whole numbers, (P,).")
    return given.to(torch.int64)


def poison(data: "ImageData", attack: Any, *, target: int, indices: Any, seed: int = 0) -> Poisoned:
    """Put the trigger on the images ``indices`` of a training set and relabel them by the attack's policy.

    Parameters
    ----------
    data : ImageData
        N clean images.
    attack : Attack
    target : int
        The label that the attacker wants.
    indices : (P,) int
    seed : int
        Draws the images with a wrong trigger, for the attacks that hand in such images.

    Raises
    ------
    PaperlibError
        Indices outside the data set or repeated; for a clean-label attack, an index outside the target class.
    """
    import torch

    from paperlib.data.inputs import check_from_zero, image_data

    check_attack(attack)
    check_seed(seed)
    data = image_data(data, "data")
    check_from_zero(data, "data")
    check_target(target, data.n_classes)
    index = positions(indices).to(data.x.device)
    if len(index) and (index.min() < 0 or index.max() >= len(data) or len(index.unique()) != len(index)):
        raise PaperlibError(f"indices must be distinct and lie in 0 to {len(data) - 1}.")
    if attack.labels == "clean" and (data.y[index] != target).any():
        raise PaperlibError(f"a clean-label attack poisons images of target class {target} only; indices hold others.")
    x, y = data.x.clone(), data.y.clone()
    if hasattr(attack, "training_images"):
        x[index] = attack.training_images(x[index], index)
    else:
        x[index] = render(attack, x[index])
    if attack.labels != "clean":
        y[index] = poisoned_labels(y[index], attack.labels, target, len(data.class_names))
    cross = index[:0]
    if hasattr(attack, "cross"):
        generator = torch.Generator(x.device).manual_seed(seed)
        free = torch.ones(len(data), dtype=torch.bool, device=x.device)
        free[index] = False
        others = free.nonzero().squeeze(1)
        drawn = torch.randperm(len(others), generator=generator, device=x.device)
        cross = others[drawn[: round(attack.cross_ratio * len(index))]].sort().values
        x[cross] = render(partial(attack.cross, generator=generator), x[cross])
    return Poisoned(replace(data, x=x, y=y), index, cross)


def poisoned_test(data: "ImageData", attack: Attack, target: int) -> tuple["ImageData", "Tensor"]:
    """The triggered test set and the labels that the attacker wants for it.

    All-to-one and clean-label attacks leave out the images whose true class is the target; all-to-all keeps every
    image. ``y`` of the returned data is still the true class, so that ASR and R-Acc are counted on the same images.

    Parameters
    ----------
    data : ImageData
        Clean test images.
    attack : Attack
    target : int

    Raises
    ------
    PaperlibError
        What :func:`poison` refuses of data, attack and target; only images of the target class.
    """
    from paperlib.data.inputs import image_data

    check_attack(attack)
    data = image_data(data, "data")
    if attack.labels != "all_to_all":
        check_target(target, len(data.class_names))
        data = data.subset((data.y != target).nonzero().squeeze(1))
        if not len(data):
            raise PaperlibError(f"data holds images of target class {target} only; ASR needs images of other classes.")
    wanted = poisoned_labels(data.y, attack.labels, target, len(data.class_names))
    return replace(data, x=render(attack, data.x)), wanted
