r"""FUS: keep the poisoned samples that are forgotten most often.

Xia, Li, Zhang, Li, "Data-Efficient Backdoor Attacks", IJCAI 2022 (arXiv 2204.12281); the baseline of the LPS paper. A
forgetting event of a poisoned sample is a pass from "classified as the target" to "not" between two epochs of training.
Starting from random samples, N times: train a fresh surrogate, count each poisoned sample's events, keep the share
alpha with the most, fill up with random ones from the pool.

Whether a sample is classified as the target is noted when it passes through training, as in the authors' code: with the
augmentation and the weights of that moment.

Differences from the paper
1. ``variant="clean"`` (default). Poisoned images replace their originals, as everywhere in this book; what is filled up
   is never a sample that was kept; and the last step is not a fill-up: the final set has the most events among all
   samples that were ever trained with.
2. ``variant="original"`` has the authors' code: poisoned copies are *appended* to the clean set; the first of them
   never carries the trigger although it is labelled and counted (an off-by-one in the test of its index); the fill-up
   draws from the whole pool, so that a sample can be there twice; the final set is taken after the last fill-up, so
   that half of it (1 - alpha) was never looked at. Repeated samples are returned once, so that it may poison fewer
   images than asked.
3. The surrogate, its batch size and learning rate are those of the run instead of VGG-16, 256 and 0.01; the rate falls
   to a tenth at 1/2 and at 11/14 of the epochs (35 and 55 of 70), where momentum starts anew here.
4. The last incomplete batch of an epoch is dropped by this book's training; a sample in it has no new state in that
   epoch.

Introduced in notebook 03.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paperlib.errors import PaperlibError, choose
from paperlib.selection.problem import SURROGATE, Problem, Rounds, State, notes_of
from paperlib.training import Progress, Recipe, Step, autocast, fit


@dataclass(frozen=True)
class FUS:
    """Hyper-parameters; defaults: the authors' code."""

    rounds: int = 10
    """N: how often the samples are filtered."""
    epochs: int = 70
    """Epochs of the surrogate in each round."""
    alpha: float = 0.5
    """Share of the samples that is kept."""
    variant: str = "clean"
    """``clean`` or ``original``."""


VARIANTS = ("clean", "original")


def keep(events: Tensor, alpha: float) -> Tensor:
    """Positions of the share ``alpha`` of ``events`` (P,) with the largest values; among equal ones the first."""
    return events.sort(descending=True, stable=True).indices[: int(alpha * len(events))]


def counting_step(count: int, classes: int, device: torch.device) -> tuple[Step, Tensor]:
    """An ordinary training step that counts forgetting events, and the counts (count,) that it fills.

    The loop hands a step no indices; so the p-th poisoned sample brings its position in its label, which is
    ``label + classes * (p + 1)``. Clean samples have labels below ``classes``.
    """
    events = torch.zeros(count, dtype=torch.int64, device=device)
    right = torch.zeros(count, dtype=torch.bool, device=device)  # when last seen

    def step(model: nn.Module, x: Tensor, y: Tensor, optimizer: torch.optim.Optimizer) -> Tensor:
        label, position = y % classes, y // classes - 1
        with autocast(x.device):
            out = model(x)
            losses = F.cross_entropy(out.float(), label, reduction="none")
        optimizer.zero_grad(set_to_none=True)
        losses.mean().backward()
        optimizer.step()
        poisoned = position >= 0
        seen, now = position[poisoned], (out.argmax(1) == label)[poisoned]
        events[seen] += (right[seen] & ~now).long()
        right[seen] = now
        return losses.detach()

    return step, events


def forgetting(problem: Problem, config: FUS, chosen: Tensor, seed: int) -> Tensor:
    """Forgetting events (len(chosen),) of the poisoned samples at the indices ``chosen`` in one training of a fresh
    surrogate."""
    data, classes = problem.data, problem.data.n_classes
    x, marks = problem.triggered(chosen), torch.arange(1, len(chosen) + 1, device=chosen.device)
    y = problem.labels[chosen] + classes * marks
    if config.variant == "original":
        x[0] = data.x[chosen[0]]
        poisoned = replace(data, x=torch.cat([data.x, x]), y=torch.cat([data.y, y]))
    else:
        poisoned = replace(data, x=data.x.index_copy(0, chosen, x), y=data.y.index_copy(0, chosen, y))
    model = problem.fresh(seed)
    step, events = counting_step(len(chosen), classes, chosen.device)
    first, second = round(config.epochs / 2), round(config.epochs * 11 / 14)
    for k, epochs in enumerate((first, second - first, config.epochs - second)):
        if epochs:
            recipe = Recipe(epochs, problem.batch_size, problem.lr / 10**k, "constant")
            fit(model, poisoned, recipe, seed=SURROGATE + seed + k, step=step)
    return events


def fus(
    problem: Problem, config: FUS, *, seed: int, rounds: Rounds, progress: Progress = None
) -> tuple[Tensor, dict[str, Any]]:
    """Indices chosen by FUS, sorted, and notes: besides the common ones the mean forgetting events by round.

    Raises
    ------
    PaperlibError
        No round or no epoch, alpha outside (0, 1), or an unknown variant.
    """
    for name in ("rounds", "epochs"):
        if getattr(config, name) < 1:
            raise PaperlibError(f"{name}={getattr(config, name)!r} must be at least 1.")
    if not 0 < config.alpha < 1:
        raise PaperlibError(f"alpha={config.alpha!r} must lie strictly between 0 and 1.")
    choose("variant", config.variant, VARIANTS)
    original, pool = config.variant == "original", problem.pool()
    count = int(len(problem.data) * problem.ratio) if original else problem.count
    if count == 0:
        raise PaperlibError(f"ratio={problem.ratio!r} is less than one image, and variant='original' rounds down.")

    def turn(n: int, state: State) -> tuple[State, str]:
        chosen = state["history"][-1]
        events = forgetting(problem, config, chosen, 1000 * seed + 10 * n)
        # of a repeated sample its larger count
        known = state["known"].scatter_reduce(0, chosen, events, "amax", include_self=False)
        mean = events.float().mean()
        kept = chosen[keep(events, config.alpha)]
        if not original and n + 1 == config.rounds:
            chosen = known.sort(descending=True, stable=True).indices[:count]
        else:
            others = pool if original else pool[~torch.isin(pool, kept)]
            chosen = torch.cat([kept, _draw(others, count - len(kept), [seed, 29, n + 1])])
        history, means = torch.vstack([state["history"], chosen]), torch.cat([state["means"], mean.unsqueeze(0)])
        return {"history": history, "known": known, "means": means}, f"events {mean:.2f}"

    begin = {
        "history": _draw(pool, count, [seed, 29, 0]).unsqueeze(0),
        "known": torch.full((len(problem.data),), -1, device=pool.device),  # -1: never trained with
        "means": torch.empty(0, device=pool.device),
    }
    state = rounds.play(config.rounds, None, begin, turn, progress)
    images = len(problem.data) + (count if original else 0)
    cost = config.rounds * config.epochs * images / len(problem.data)
    final = state["history"][-1].unique()
    notes = {
        **notes_of(problem, state["history"], cost),
        "mean_events": [round(mean, 4) for mean in state["means"].tolist()],
        "events": state["known"][final].tolist(),
        "repeated": count - len(final),
    }
    return final, notes


def _draw(pool: Tensor, count: int, seed: list[int]) -> Tensor:
    chosen = np.random.default_rng(seed).choice(len(pool), count, replace=False)
    return pool[torch.from_numpy(chosen).to(pool.device)]
