r"""LPS: a learnable poisoning mask, searched by a game against a surrogate model.

Zhu, Zhang, Wei, Shen, Fan, Wu, "Boosting Backdoor Attack with A Learnable Poisoning Sample Selection Strategy", 2023
(arXiv 2307.07328). A binary mask m over the training set says which images carry the trigger. The mask maximises the
loss of backdoor training, the surrogate's weights minimise it, so that the mask ends on poisoned images that are hard
to learn:

.. math::
   \min_\theta \max_{m \in M} \sum_i (1 - m_i)\, \ell(f_\theta(x_i), y_i) + m_i\, \ell(f_\theta(\tilde x_i), y_t),
   \qquad M = \{m \in \{0, 1\}^n : \text{the same number from every class, none from class } y_t\}

The inner problem is linear in m, so it is solved exactly: in every class the images with the largest

.. math:: s_i = \ell(f_\theta(\tilde x_i), y_t) - \ell(f_\theta(x_i), y_i)

T rounds: train the surrogate K epochs on the masked data, starting from where the last round ended; score all
images that may be poisoned in one pass, in evaluation mode and without augmentation; choose again.

Differences from the paper
1. No code of the paper is public and its text was not at hand: verified are the mask in the loss, the min-max game over
   rounds with a surrogate, the counts T and K, and an ablation of constraints. The formulas and T = 15 are from memory.
2. Unknown and decided here: K = 5 (T K epochs are then less than one training of the victim), weights that are kept
   from round to round, momentum that starts anew in each, cross-entropy, and a learning rate that falls to 0 within
   each round (``schedule="linear"``). At a constant rate, as the results on CIFAR-10 that git records have it, the
   surrogate is erratic where it is asked, in evaluation mode: its mean loss was 1.97, 3.12 and 1.67 after three rounds
   in a row, and its ranking is of that moment.
3. Where the budget is not divisible by the number of classes, some classes give one more (:func:`~.problem.top_k`).
4. Clean-label triggers mirror the constraint: only images of the target class. All-to-all triggers have no
   target class to leave out, and y_t is y + 1.

Introduced in notebook 03.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paperlib.errors import PaperlibError
from paperlib.selection.problem import FORWARD, SURROGATE, Problem, Rounds, State, notes_of, shuffled, top_k
from paperlib.training import Progress, Recipe, fit, logits


@dataclass(frozen=True)
class LPS:
    """Hyper-parameters."""

    rounds: int = 15
    """T: how often the mask is chosen again."""
    epochs: int = 5
    """K: epochs of the surrogate between two masks."""
    pc: bool = True
    """The same number from every class; False: the largest scores of all classes together."""
    ce: bool = True
    """The target class is excluded (all-to-one triggers only)."""
    schedule: str = "linear"
    """Of the surrogate's learning rate within a round: ``linear``, to 0 at its end, or another of
    :data:`paperlib.training.SCHEDULES`."""


def scores(model: nn.Module, x: Tensor, y: Tensor, triggered: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Loss (P,) of the triggered images with the attacker's ``labels``, and of the clean ones with ``y``; images
    uint8."""
    return (
        F.cross_entropy(logits(model, triggered), labels, reduction="none"),
        F.cross_entropy(logits(model, x), y, reduction="none"),
    )


def lps(
    problem: Problem, config: LPS, *, seed: int, rounds: Rounds, progress: Progress = None
) -> tuple[Tensor, dict[str, Any]]:
    """Indices chosen by LPS, sorted, and notes: besides the common ones the mean losses of the chosen and of all, by
    round.

    Raises
    ------
    PaperlibError
        No round or no epoch, or a class with too few images.
    """
    for name in ("rounds", "epochs"):
        if getattr(config, name) < 1:
            raise PaperlibError(f"{name}={getattr(config, name)!r} must be at least 1.")
    data, pool = problem.data, problem.pool(config.ce)
    y, triggered = data.y[pool], problem.triggered(pool)
    model = problem.fresh(seed)
    recipe = Recipe(config.epochs, problem.batch_size, problem.lr, config.schedule)

    def turn(t: int, state: State) -> tuple[State, str]:
        poisoned = problem.poisoned(pool, triggered, state["history"][-1])
        fit(model, poisoned, recipe, seed=SURROGATE + 1000 * seed + t)
        hard, easy = scores(model, data.x[pool], y, triggered, problem.labels[pool])
        chosen = top_k(hard - easy, y, problem.count, per_class=config.pc)
        means = torch.stack([hard[chosen].mean(), easy[chosen].mean(), hard.mean(), easy.mean()])
        new = {"history": torch.vstack([state["history"], chosen]), "losses": torch.vstack([state["losses"], means])}
        return new, f"loss of the chosen {means[0]:.3f}"

    first = top_k(shuffled(len(pool), seed, pool.device), y, problem.count, per_class=config.pc)
    begin = {"history": first.unsqueeze(0), "losses": torch.empty(0, 4, device=pool.device)}
    state = rounds.play(config.rounds, model, begin, turn, progress)
    cost = config.rounds * (config.epochs + 2 * FORWARD * len(pool) / len(data))
    named = ("poisoned_chosen", "clean_chosen", "poisoned_all", "clean_all")
    by_round = {name: [round(v, 4) for v in state["losses"][:, k].tolist()] for k, name in enumerate(named)}
    return pool[state["history"][-1]], {**notes_of(problem, pool[state["history"]], cost), "loss": by_round}
