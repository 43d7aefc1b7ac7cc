"""Which samples to poison: one strategy, one file.

A strategy is a function ``method(problem, config, *, seed, rounds, progress) -> (indices, notes)``: from a clean
training set, a trigger and a budget (:class:`~paperlib.selection.problem.Problem`) to the indices of the images to
poison, sorted, and small JSON values: counts by class, overlap between rounds, cost in epoch equivalents. The same seed
and data give the same indices. ``rounds`` keeps the state of a search after every round, so that a killed one goes on.

One call::

    indices = select(x, y, trigger, 0.002, strategy="lps", surrogate=model)
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from paperlib.errors import PaperlibError, choose
from paperlib.registry import Method, Registry, check_seed

if TYPE_CHECKING:
    from torch import Tensor, nn

    from paperlib.data.images import ImageData

SELECTIONS = Registry(
    "strategy",
    __name__,
    {
        "random": Method(".random", "uniform", "Random", "Random"),
        "balanced": Method(".random", "balanced", "Balanced random", "Balanced"),
        "fus": Method(".fus", "fus", "FUS", "FUS"),
        "lps": Method(".lps", "lps", "LPS", "LPS"),
    },
)
UNSAID: dict[str, dict[str, Any]] = {"lps": {"schedule": "constant"}}
"""Strategy -> what a spec means that does not say it: what was the only choice when the first results were recorded."""
PLANNED: dict[str, dict[str, Any]] = {"lps": {"schedule": "linear"}}
"""Strategy -> what plans say of that: its default."""
WITHOUT_SURROGATE = ("random", "balanced")
"""Strategies that train no model."""


def search(
    data: "ImageData",
    attack: Any,
    ratio: float,
    *,
    strategy: str = "lps",
    surrogate: "nn.Module | None" = None,
    target: int = 0,
    seed: int = 0,
    batch_size: int = 128,
    lr: float = 0.01,
    folder: Path | None = None,
    progress: Any = None,
    **params: Any,
) -> "tuple[Tensor, dict[str, Any]]":
    """As :func:`select`, with what the strategy noted on its way.

    ``folder`` keeps the state after every round: the same call with the same folder goes on where it was stopped. It
    belongs to one search; delete it afterwards.

    Raises
    ------
    PaperlibError
        As :func:`select`.
    """
    from paperlib.selection.problem import Problem, Rounds, check

    config = SELECTIONS.settings(strategy, **params)
    check_seed(seed)
    if surrogate is None and strategy in SELECTIONS.package and strategy not in WITHOUT_SURROGATE:
        raise PaperlibError(f"strategy={strategy!r} trains a surrogate; give surrogate=, a model for these images.")
    problem = Problem(data, attack, target, ratio, surrogate, batch_size, lr)
    check(problem)
    rounds = Rounds(folder)
    indices, notes = SELECTIONS[strategy].load()(problem, config, seed=seed, rounds=rounds, progress=progress)
    return indices, {**notes, "resumed_after_round": rounds.resumed}


def select(
    x: Any,
    y: Any,
    trigger: Any,
    ratio: float,
    strategy: str = "lps",
    surrogate: "nn.Module | str | None" = "preact_resnet18",
    *,
    width: int = 64,
    **options: Any,
) -> "Tensor":
    """Indices of the training images to poison, int64, sorted, on the device of the images.

    Parameters
    ----------
    x, y
        Images and labels in any form of :func:`paperlib.data.inputs.image_data`; or an ``ImageData``, a ``Dataset`` or
        a ``DataLoader`` and None.
    trigger
        An attack, ready to be called (prepared where it must be), or the name of one that needs no preparation, or any
        function from images (B, C, H, W) in [0, 1] to the same with the trigger, which counts as all-to-one.
    ratio
        Poisoned images / all images, in (0, 1).
    strategy
        ``random``, ``balanced``, ``fus`` or ``lps``.
    surrogate
        A model for these images, of which only the architecture counts, or the name of one of ours.
    width
        Of a surrogate that is given by name.
    **options
        target (0), seed (0), batch_size (128) and lr (0.01) of the surrogate, folder, progress, and hyper-parameters of
        the strategy.

    Raises
    ------
    PaperlibError
        An unknown strategy, model or parameter, an infeasible ratio, a surrogate that does not fit, an attack that must
        be prepared or that trains the classifier itself.
    """
    from paperlib import models
    from paperlib.attacks import ATTACKS, attack
    from paperlib.data.inputs import check_from_zero, from_tensors, image_data
    from paperlib.models.foreign import adopt

    choose("strategy", strategy, SELECTIONS)
    if y is None and hasattr(x, "ndim"):
        raise PaperlibError(
            "y=None goes with an ImageData, a Dataset or a DataLoader; give the labels of these images."
        )
    data = image_data(x if y is None else from_tensors(x, y), "x")
    check_from_zero(data, "x")
    if isinstance(trigger, str):
        name, trigger = trigger, attack(trigger)
        if ATTACKS[name].prepare:
            raise PaperlibError(
                f"trigger={name!r} must be prepared first; give the attack with its state, or use"
                " paperlib.experiments.plan.select."
            )
    elif not hasattr(trigger, "labels"):
        trigger = _Plain(trigger)
    if strategy in WITHOUT_SURROGATE:
        surrogate = None
    elif isinstance(surrogate, str):
        surrogate = models.build(surrogate, data, width=width)
    elif surrogate is not None:
        surrogate, adopted = adopt(surrogate, data, "x")
        data = adopted or data
    return search(data, trigger, ratio, strategy=strategy, surrogate=surrogate, **options)[0]


class _Plain:
    """A function of a user as an all-to-one attack."""

    labels = "all_to_one"

    def __init__(self, function: Any) -> None:
        if not callable(function):
            raise PaperlibError(
                f"trigger={function!r} is no attack; give one, its name, or a function from images to images."
            )
        self.function = function

    def __call__(self, x: "Tensor") -> "Tensor":
        return self.function(x)
