"""Random selection: uniform, and with the same number from every class.

The baselines of every selection strategy. ``random`` is the benchmark's draw (:func:`paperlib.attacks.draw`): uniform
over the **whole** training set, for an all-to-one attack the target class included, whose images carry the trigger and
keep their label. ``balanced`` draws the same number from every class and none from the target class: the constraint of
LPS without its search (it is the mask with which LPS begins). What a strategy gains over ``balanced`` is due to *which*
images it takes; what ``balanced`` gains over ``random`` is not.

Differences from the paper
1. Balanced random selection is not one of the paper's baselines; it is added here because part of a gain at small
   ratios may be class balance.

Introduced in notebook 03.
"""

from dataclasses import dataclass
from typing import Any

import torch

from paperlib.attacks import draw
from paperlib.selection.problem import Problem, Rounds, notes_of, shuffled, top_k
from paperlib.training import Progress


@dataclass(frozen=True)
class Random:
    """No hyper-parameters."""


@dataclass(frozen=True)
class Balanced:
    """No hyper-parameters."""


def uniform(
    problem: Problem, config: Random, *, seed: int, rounds: Rounds, progress: Progress = None
) -> tuple[torch.Tensor, dict[str, Any]]:
    """Uniform over everything that the attack's label policy allows; the same images as without a strategy."""
    found = draw(problem.data.y.cpu().numpy(), problem.ratio, problem.attack.labels, problem.target, seed)
    indices = torch.from_numpy(found).to(problem.data.y.device)
    return indices, notes_of(problem, indices.unsqueeze(0), 0.0)


def balanced(
    problem: Problem, config: Balanced, *, seed: int, rounds: Rounds, progress: Progress = None
) -> tuple[torch.Tensor, dict[str, Any]]:
    """The same number from every class that may be poisoned."""
    indices = balanced_indices(problem, seed)
    return indices, notes_of(problem, indices.unsqueeze(0), 0.0)


def balanced_indices(problem: Problem, seed: int) -> torch.Tensor:
    """Indices, sorted, of the same number of images from every class that may be poisoned."""
    pool = problem.pool()
    return pool[top_k(shuffled(len(pool), seed, pool.device), problem.data.y[pool], problem.count)]
