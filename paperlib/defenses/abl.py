r"""ABL: anti-backdoor learning.

Li et al., "Anti-Backdoor Learning: Training Clean Models on Poisoned Data", NeurIPS 2021 (arXiv 2110.11571), Algorithm
1. The trigger is learned first, so it can be found early and unlearned at the end.

1. Tuning (20 epochs): a fresh model with local gradient ascent, :math:`|\ell - \gamma| + \gamma`, :math:`\gamma = 0.5`.
2. Isolation: the 1 % of the samples with the lowest losses.
3. Fine-tuning (60 epochs) on the other samples with plain cross-entropy.
4. Unlearning (20 epochs): gradient *ascent* on the isolated samples,

.. math:: \max_\theta \; \mathbb{E}_{(x, y) \in D_b}\, \ell(f_\theta(x), y), \qquad \text{lr } 10^{-4}.

Steps 1 and 2 are in :mod:`paperlib.detection.abl`; they see un-augmented images, steps 3 and 4 augmented ones.

Differences from the paper
1. Learning rates as they act in BackdoorBench (arXiv 2206.12654), whose file ignores those of its settings: 0.01, and
   1e-4 for unlearning.
2. Fine-tuning follows ``schedule`` (the authors divide the rate by 10 after two thirds).
3. ``epochs`` is the length of the whole; ``tuning`` and ``unlearning`` are the shares of steps 1 and 4.

Introduced in notebook 05.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paperlib.data.images import ImageData
from paperlib.defenses.batches import check_enough
from paperlib.detection.abl import isolated, losses, tuned
from paperlib.errors import PaperlibError
from paperlib.training import Progress, Recipe, autocast, fit


@dataclass(frozen=True)
class ABL:
    """Hyper-parameters; defaults: the benchmark's."""

    gamma: float = 0.5
    isolation: float = 0.01
    """Share of the training set that is isolated."""
    epochs: int = 100
    tuning: float = 0.2
    """Share of the epochs spent on tuning."""
    unlearning: float = 0.2
    """Share of the epochs spent on unlearning."""
    batch_size: int = 128
    lr: float = 0.01
    tuning_lr: float = 0.01
    unlearning_lr: float = 1e-4
    schedule: str = "cosine"
    weight_decay: float = 1e-4


def ascent_step(model: nn.Module, x: Tensor, y: Tensor, optimizer: torch.optim.Optimizer) -> Tensor:
    """One step of gradient ascent on the cross-entropy."""
    with autocast(x.device):
        found = F.cross_entropy(model(x).float(), y, reduction="none")
    optimizer.zero_grad(set_to_none=True)
    (-found.mean()).backward()
    optimizer.step()
    return found.detach()


def lengths(config: ABL) -> tuple[int, int, int]:
    """Epochs of tuning, fine-tuning and unlearning, at least one each.

    Raises
    ------
    PaperlibError
        The shares leave nothing for fine-tuning, or there are fewer than three epochs.
    """
    tuning, unlearning = (max(1, round(share * config.epochs)) for share in (config.tuning, config.unlearning))
    if config.epochs - tuning - unlearning < 1:
        raise PaperlibError(
            f"epochs={config.epochs} with tuning={config.tuning} and unlearning={config.unlearning} leave no epoch for "
            "fine-tuning; give more epochs or smaller shares."
        )
    return tuning, config.epochs - tuning - unlearning, unlearning


def abl(
    model: nn.Module, data: ImageData, config: ABL, *, seed: int = 0, progress: Progress = None
) -> tuple[nn.Module, dict[str, Any]]:
    """A fresh model like ``model``, learned and partly unlearned on the poisoned set ``data``."""
    tuning, finetuning, unlearning = lengths(config)

    def recipe(epochs: int, lr: float, schedule: str) -> Recipe:
        return Recipe(epochs, config.batch_size, lr, schedule, weight_decay=config.weight_decay)

    check_enough(model, round(config.isolation * len(data)), f"isolation={config.isolation}", data)
    model = tuned(model, data, recipe(tuning, config.tuning_lr, "constant"), config.gamma, seed, progress)
    found = losses(model, data)
    first = isolated(found, config.isolation)
    fit(model, data.subset(~first), recipe(finetuning, config.lr, config.schedule), seed=seed + 1, progress=progress)
    part = data.subset(first)
    fit(model, part, recipe(unlearning, config.unlearning_lr, "constant"), seed=seed + 2, step=ascent_step)
    notes = {"n_isolated": len(part), "isolated_per_class": part.y.bincount(minlength=data.n_classes).tolist()}
    return model, {**notes, "threshold": round(found[first].max().item(), 5)}
