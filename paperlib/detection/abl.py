r"""ABL as a detector: the samples that are learned first.

Li et al., "Anti-Backdoor Learning: Training Clean Models on Poisoned Data", NeurIPS 2021 (arXiv 2110.11571), Section
3.2. The trigger is the easiest thing to learn. Local gradient ascent keeps the training loss of a fresh model around a
value gamma,

.. math:: |\ell - \gamma| + \gamma, \qquad \gamma = 0.5 \quad \text{(mean loss of the batch)},

so that only what is learned very fast falls below it; the samples with the lowest losses are isolated. The score is
-loss, in nats.

Differences from the paper
1. The defense isolates 1 % (:mod:`paperlib.defenses.abl` uses this file). As a detector ABL flags ``share`` of the
   samples; 10 % is what the comparison of AGPD (arXiv 2312.06230) tells it, which is the poisoning ratio there: an
   oracle.
2. Losses come from one batched pass in evaluation mode (BackdoorBench: one sample at a time).
3. Only the architecture of the model that is given counts: a fresh copy is trained, without augmentation.

Introduced in notebook 05.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paperlib.data.images import ImageData
from paperlib.detection import Detection
from paperlib.detection.statistics import budget, top
from paperlib.models import fresh
from paperlib.training import Progress, Recipe, Step, autocast, fit, logits


@dataclass(frozen=True)
class ABL:
    """Hyper-parameters; defaults: BackdoorBench (rate, epochs), AGPD's comparison (share)."""

    share: float = 0.1
    """Share of the training set that is flagged."""
    gamma: float = 0.5
    epochs: int = 20
    batch_size: int = 128
    lr: float = 0.01
    schedule: str = "constant"
    weight_decay: float = 1e-4


def flooding(loss: Tensor, gamma: float) -> Tensor:
    """|loss - gamma| + gamma: its gradient turns round where the loss is below gamma."""
    return (loss - gamma).abs() + gamma


def flooding_step(gamma: float) -> Step:
    """One step of SGD on the flooded mean loss of a batch, in the form that :func:`paperlib.training.fit` takes."""

    def step(model: nn.Module, x: Tensor, y: Tensor, optimizer: torch.optim.Optimizer) -> Tensor:
        with autocast(x.device):
            losses = F.cross_entropy(model(x).float(), y, reduction="none")
        optimizer.zero_grad(set_to_none=True)
        flooding(losses.mean(), gamma).backward()
        optimizer.step()
        return losses.detach()

    return step


def tuned(
    model: nn.Module, data: ImageData, recipe: Recipe, gamma: float, seed: int, progress: Progress = None
) -> nn.Module:
    """A fresh model of the same architecture, trained on un-augmented ``data`` with local gradient ascent."""
    model = fresh(model, seed)
    fit(model, replace(data, pad=0, flip=False), recipe, seed=seed, step=flooding_step(gamma), progress=progress)
    return model


def losses(model: nn.Module, data: ImageData) -> Tensor:
    """Cross-entropy (N,), in nats, of every sample with the label it came with."""
    return F.cross_entropy(logits(model, data.x), data.y, reduction="none")


def isolated(losses: Tensor, share: float) -> Tensor:
    """(N,) bool: the ``share`` of the samples with the lowest losses, at least one."""
    return top(-losses, max(1, budget(len(losses), len(losses), share, 0.0)))


def abl(
    data: ImageData, model: nn.Module, clean: ImageData | None, config: ABL, *, seed: int = 0, progress: Progress = None
) -> Detection:
    """Loss-guided isolation in the training set ``data``, with a fresh model like ``model``."""
    recipe = Recipe(config.epochs, config.batch_size, config.lr, config.schedule, weight_decay=config.weight_decay)
    found = losses(tuned(model, data, recipe, config.gamma, seed, progress), data)
    flagged = isolated(found, config.share)
    return Detection(-found, flagged, {"threshold": round(-found[flagged].max().item(), 5)})
