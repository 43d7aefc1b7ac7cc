r"""FT: fine-tuning, the baseline that every defense of this book is measured against.

All weights are trained on the clean subset :math:`D_{cl}` with the training augmentation:

.. math:: \min_w \; \mathbb{E}_{(x, y) \in D_{cl}}\, \ell(f_w(x), y)

Settings of BackdoorBench (arXiv 2206.12654) and of the FT-SAM paper (arXiv 2304.11823): SGD, lr 0.01, momentum 0.9,
weight decay 5e-4, batch 256, 100 epochs, cosine per epoch, last epoch's model.

Every image is used in every epoch: what whole batches leave over is a step too.

Differences from the benchmark
1. The cosine reaches 0 at the last epoch whatever their number (the benchmark fixes its period at 100 epochs; the same
   at 100).
2. The clean subset is class-balanced and the same for every defense (the benchmark draws FT's uniformly).

Introduced in notebook 05.
"""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from torch import nn

from paperlib.data.images import ImageData
from paperlib.defenses.pruning import masked_step, zeros
from paperlib.training import Progress, Recipe, fit, loss_function, sgd_step


@dataclass(frozen=True)
class FT:
    """Hyper-parameters; defaults: CIFAR-10."""

    epochs: int = 100
    batch_size: int = 256
    lr: float = 0.01
    schedule: str = "cosine"
    keep_pruned: bool = False
    """Whether weights that are exactly 0 stay so: those of channels that another defense pruned before."""


def ft(
    model: nn.Module, clean: ImageData, config: FT, *, seed: int = 0, progress: Progress = None
) -> tuple[nn.Module, dict[str, Any]]:
    """A copy of ``model``, fine-tuned on ``clean``."""
    model = deepcopy(model)
    recipe = Recipe(config.epochs, config.batch_size, config.lr, config.schedule)
    step = masked_step(sgd_step(loss_function(0.0)), zeros(model)) if config.keep_pruned else None
    fit(model, clean, recipe, seed=seed, step=step, partial=True, progress=progress)
    return model, {}
