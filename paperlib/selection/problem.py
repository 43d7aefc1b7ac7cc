"""What every selection strategy shares: who may be poisoned, how many of each class, and what happens when they are.

Introduced in notebook 03.
"""

import hashlib
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from paperlib.attacks import check_attack, check_ratio, check_target, poisoned_labels, render
from paperlib.data.images import ImageData
from paperlib.errors import PaperlibError
from paperlib.models import fresh
from paperlib.registry import check_numbers
from paperlib.training import Progress, load_state, load_weights, save_weights

FORWARD = 1 / 3
"""A forward pass in units of a training pass: the backward pass costs about twice the forward one."""
SURROGATE = 10_000
"""Added to the seed of a surrogate, so that it is never the initialisation or the batch order of the victim."""


@dataclass(frozen=True, eq=False)
class Problem:
    """A clean training set, a trigger, and how many images may carry it."""

    data: ImageData
    attack: Any
    target: int
    ratio: float
    """Poisoned images / all training images, as in :func:`paperlib.attacks.draw`."""
    surrogate: nn.Module | None = None
    """Any model for these images; only its architecture counts, its weights are drawn anew."""
    batch_size: int = 128
    lr: float = 0.01

    def fresh(self, seed: int) -> nn.Module:
        """The surrogate with the weights of ``seed``."""
        assert self.surrogate is not None
        return fresh(self.surrogate, SURROGATE + seed)

    @property
    def count(self) -> int:
        """How many images are poisoned."""
        return round(self.ratio * len(self.data))

    @cached_property
    def labels(self) -> Tensor:
        """(N,) the label that each image gets when it is poisoned."""
        if self.attack.labels == "clean":
            return self.data.y
        return poisoned_labels(self.data.y, self.attack.labels, self.target, self.data.n_classes)

    def pool(self, exclude_target: bool = True) -> Tensor:
        """Indices, sorted, of the images that may be poisoned.

        All-to-one: every class but the target (``exclude_target`` False: every class). Clean-label, the mirror image:
        the target class and no other. All-to-all, where each class is the target of another one: every class.
        """
        y = self.data.y
        if self.attack.labels == "clean":
            return (y == self.target).nonzero().squeeze(1)
        if self.attack.labels == "all_to_one" and exclude_target:
            return (y != self.target).nonzero().squeeze(1)
        return torch.arange(len(y), device=y.device)

    def triggered(self, pool: Tensor) -> Tensor:
        """The images at ``pool`` (P,) as they lie in a poisoned training set, uint8 (P, C, H, W)."""
        if hasattr(self.attack, "training_images"):
            return self.attack.training_images(self.data.x[pool], pool)
        return render(self.attack, self.data.x[pool])

    def poisoned(self, pool: Tensor, triggered: Tensor, chosen: Tensor) -> ImageData:
        """The training set in which the images at ``pool[chosen]`` are replaced; ``triggered`` belongs to ``pool``."""
        x, y = self.data.x.clone(), self.data.y.clone()
        x[pool[chosen]], y[pool[chosen]] = triggered[chosen], self.labels[pool[chosen]]
        return replace(self.data, x=x, y=y)


def check(problem: Problem) -> None:
    """Say before any work what cannot be selected.

    Raises
    ------
    PaperlibError
        A ratio outside (0, 1), a draw of no image or of more than there are, a target that is no class, a trigger whose
        attacker trains the classifier, or a surrogate that does not fit the images and classes.
    """
    data, n, ratio = problem.data, len(problem.data), problem.ratio
    check_ratio(ratio)
    check_target(problem.target, data.n_classes)
    check_attack(problem.attack)
    if not hasattr(problem.attack, "train"):
        render(problem.attack, data.x[:2])  # what is no trigger is said now
    check_numbers("batch_size", problem.batch_size, 128)
    check_numbers("lr", problem.lr, 0.01)
    if problem.count == 0:
        raise PaperlibError(
            f"ratio={ratio!r} of {n} images rounds to no image; the smallest feasible ratio is {1 / n:.2g}."
        )
    if hasattr(problem.attack, "train"):
        raise PaperlibError(
            f"trigger={type(problem.attack).__name__} is an attack that trains the classifier itself and poisons anew"
            " in every batch; samples can be selected only for attacks that hand in poisoned data."
        )
    if problem.count > (available := len(problem.pool())):
        raise PaperlibError(
            f"ratio={ratio!r} asks for {problem.count} images, of which {available} may be poisoned; "
            f"the largest feasible ratio is {available / n:.4g}."
        )
    if problem.surrogate is not None:
        _check_surrogate(problem.surrogate, data)


def _check_surrogate(surrogate: nn.Module, data: ImageData) -> None:
    place = next(surrogate.parameters(), torch.empty(0)).device
    if place.type != data.x.device.type:
        raise PaperlibError(f"the surrogate lies on {place}, the images on {data.x.device}; move one of them.")
    try:
        with torch.no_grad():
            shape = tuple(fresh(surrogate, 0).eval()(data.float(torch.arange(min(2, len(data))))).shape)
    except RuntimeError as error:
        raise PaperlibError(
            f"surrogate={type(surrogate).__name__} cannot take images of shape {tuple(data.x.shape[1:])}: "
            f"{str(error).splitlines()[0]}."
        ) from None
    if shape != (min(2, len(data)), data.n_classes):
        raise PaperlibError(
            f"surrogate={type(surrogate).__name__} gives outputs of shape {shape[1:]}; the data has {data.n_classes}"
            f" classes, so it must give ({data.n_classes},)."
        )


def top_k(score: Tensor, y: Tensor, count: int, *, per_class: bool = True) -> Tensor:
    r"""The mask that maximises :math:`\sum_i m_i s_i` under the budget, exactly; the inner step of LPS.

    Parameters
    ----------
    score : (P,) float
    y : (P,) int
        True classes; the budget is per class of those that occur.
    count
        How many are chosen, at most P.
    per_class
        Every class gives the same number. Where ``count`` is not divisible by the number of classes, as many classes as
        necessary give one more: those that lose least by it, which is still the maximum over all such masks.

    Returns
    -------
    Tensor
        (count,) int64 positions in ``score``, sorted. Among equal scores the first position wins.

    Raises
    ------
    PaperlibError
        A class has fewer samples than it must give.
    """
    order = score.sort(descending=True, stable=True).indices
    if not per_class:
        return order[:count].sort().values
    classes, inverse, sizes = y.unique(return_inverse=True, return_counts=True)
    each, more = divmod(count, len(classes))
    if (sizes < each).any() or int((sizes > each).sum()) < more:
        rarest = int(sizes.argmin())
        raise PaperlibError(
            f"{count} images are {each}{' or ' + str(each + 1) if more else ''} of each of {len(classes)} classes, and"
            f" class {int(classes[rarest])} has {int(sizes[rarest])}; lower the ratio, or set pc=False (LPS)."
        )
    by_class = order[inverse[order].sort(stable=True).indices]  # class by class, the best first
    first = sizes.cumsum(0) - sizes
    rank = torch.arange(len(y), device=y.device) - first[inverse[by_class]]
    chosen = by_class[rank < each]
    if more:
        extra = by_class[rank == each]
        chosen = torch.cat([chosen, extra[score[extra].sort(descending=True, stable=True).indices[:more]]])
    return chosen.sort().values


def shuffled(n: int, seed: int, device: torch.device) -> Tensor:
    """(n,) random scores with which :func:`top_k` draws at random; the same on every device."""
    return torch.from_numpy(np.random.default_rng([seed, 23]).random(n)).to(device)


State = dict[str, Tensor]
"""What a search knows after a round. ``history`` (rounds so far + 1, count) holds what was chosen, the first draw
first."""


@dataclass
class Rounds:
    """The state of a search after its last finished round, in a folder; without one nothing is kept."""

    folder: Path | None = None
    resumed: int = field(default=0, init=False)
    """The round after which this search went on; 0: it began anew."""

    def play(
        self,
        total: int,
        model: nn.Module | None,
        state: State,
        turn: Callable[[int, State], tuple[State, str]],
        progress: Progress = None,
    ) -> State:
        """Play the rounds that are missing and return the last state; ``state`` is the one before the first round.

        ``turn(n, state)`` plays round ``n`` (from 0), may train ``model`` further, and says something about it.
        """
        done, found = self.load(model, state["history"].device)
        state = found or state
        for n in range(done, total):
            state, said = turn(n, state)
            self.save(n + 1, model, state)
            if progress:
                progress((n + 1) / total, f"round {n + 1}/{total} {said}")
        return state

    def save(self, number: int, model: nn.Module | None, state: Mapping[str, Tensor]) -> None:
        """Keep round ``number`` (from 1), all or nothing, and drop the ones before."""
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = self.folder / f"draft-{number:03d}"
        save_weights(model, draft, state)
        with open(draft, "r+b") as file:
            os.fsync(file.fileno())
        draft.replace(self.folder / f"round-{number:03d}-{_sum(draft)}.safetensors")
        for old in self.folder.glob("round-*.safetensors"):
            if old.name < f"round-{number:03d}":
                old.unlink()

    def load(self, model: nn.Module | None, device: torch.device) -> tuple[int, State]:
        """Number of the last finished round and its state, its weights read into ``model``; 0 and nothing at the
        beginning.

        A file that does not fit the SHA-256 in its name is damaged: it is removed, and those rounds are played again.
        """
        found = sorted(self.folder.glob("round-*.safetensors")) if self.folder is not None else []
        while found and not found[-1].stem.endswith(_sum(found[-1])):
            warnings.warn(f"{found[-1]} is damaged; its rounds are played again.", stacklevel=2)
            found.pop().unlink()
        if not found:
            return 0, {}
        if model is not None:
            load_weights(model, found[-1])
        self.resumed = int(found[-1].stem.split("-")[1])
        return self.resumed, load_state(found[-1], device)


def _sum(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]


def notes_of(problem: Problem, history: Tensor, cost: float) -> dict[str, Any]:
    """What every strategy reports: counts by class, overlap between rounds, cost.

    ``history`` (rounds + 1, count) holds the chosen indices from the first draw to the last round; ``cost`` is in epoch
    equivalents: passes of forward and backward over as many images as the training set has.
    """
    sets = [set(row) for row in history.tolist()]
    final = sorted(sets[-1])
    counts = torch.bincount(
        problem.data.y[torch.tensor(final, device=history.device)], minlength=problem.data.n_classes
    )
    return {
        "per_class": counts.tolist(),
        "overlap": [round(len(a & b) / problem.count, 4) for a, b in pairwise(sets)],
        "overlap_first": [round(len(sets[0] & b) / problem.count, 4) for b in sets[1:]],
        "epoch_equivalents": round(cost, 3),
    }
