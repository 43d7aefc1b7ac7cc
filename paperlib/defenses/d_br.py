r"""D-BR: unlearn the samples that are sensitive, relearn those that are not.

Chen, Wu, Wang, "Effective Backdoor Defense by Exploiting Sensitivity of Poisoned Samples", NeurIPS 2022, Section 4.2.
The sample-distinguishment module (:mod:`paperlib.detection.d_br`) calls the 20 % of the poisoned set with the lowest
FCT clean and the 5 % with the highest poisoned. Backdoor removal then alternates, epoch by epoch, on the backdoored
model

.. math:: \max_\theta \mathbb{E}_{D_p} \ell(f_\theta(x), y) \qquad \text{and} \qquad \min_\theta \mathbb{E}_{D_c}
   \ell(f_\theta(x), y),

20 epochs, learning rate 1e-4.

Differences from the paper
1. The transformations' ranges, see the module.

Introduced in notebook 05.
"""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from torch import nn

from paperlib.data.images import ImageData
from paperlib.defenses.abl import ascent_step
from paperlib.defenses.batches import check_enough
from paperlib.detection import d_br as distinguishment
from paperlib.detection.statistics import budget, top
from paperlib.training import Progress, Recipe, fit


@dataclass(frozen=True)
class DBR(distinguishment.DBR):
    """Hyper-parameters of the distinguishment module, and of removal; defaults: the paper's."""

    clean_share: float = 0.2
    """Share of the samples that is taken for clean."""
    epochs: int = 20
    """Rounds of unlearning and relearning."""
    removal_lr: float = 1e-4


def d_br(
    model: nn.Module, data: ImageData, config: DBR, *, seed: int = 0, progress: Progress = None
) -> tuple[nn.Module, dict[str, Any]]:
    """A copy of ``model`` from which the backdoor was unlearned with the poisoned set ``data``."""
    for name in ("poisoned_share", "clean_share"):
        share = getattr(config, name)
        check_enough(model, budget(len(data), len(data), share, 0.0), f"{name}={share}", data)
    scores = distinguishment.fct(model, data, config, seed)
    n = len(data)
    poisoned = data.subset(top(scores, max(1, budget(n, n, config.poisoned_share, 0.0))))
    clean = data.subset(top(-scores, max(1, budget(n, n, config.clean_share, 0.0))))
    model = deepcopy(model)
    recipe = Recipe(1, config.batch_size, config.removal_lr, "constant")
    for epoch in range(config.epochs):
        fit(model, poisoned, recipe, seed=seed + 2 * epoch, step=ascent_step)
        fit(model, clean, recipe, seed=seed + 2 * epoch + 1)
        if progress:
            progress((epoch + 1) / config.epochs, f"round {epoch + 1}/{config.epochs}")
    per_class = poisoned.y.bincount(minlength=data.n_classes).tolist()
    return model, {"n_poisoned_taken": len(poisoned), "n_clean_taken": len(clean), "poisoned_per_class": per_class}
