r"""MCR: mode connectivity repair.

Zhao, Chen, Das, Ramamurthy, Lin, "Bridging Mode Connectivity in Loss Landscapes and Adversarial Robustness", ICLR 2020
(arXiv 2005.00060). A curve of low loss on clean images is laid through weight space from the backdoored model to a
fine-tuned one; a model a little way along it keeps the accuracy and loses the backdoor. The curve is a Bezier curve of
three bends

.. math:: \varphi_\theta(t) = (1 - t)^2 w_0 + 2 t (1 - t)\, \theta + t^2 w_1, \qquad
   \min_\theta \mathbb{E}_{t \sim U(0, 1)}\, \mathbb{E}\, \mathrm{CE}(f_{\varphi_\theta(t)}(x), y)

of which the middle one, :math:`\theta`, is trained, from the midpoint of the ends. The model at t = 0.1 is returned.

Settings of BackdoorBench (arXiv 2206.12654): the other end is fine-tuned for 100 epochs, the curve trained for 100
epochs with SGD, lr 3e-5; augmented images. The running statistics of batch norm belong to none of the models on the
curve, so they are measured anew on the clean subset for the model that is returned.

Differences from the benchmark
1. The statistics are measured once, for the returned model, on the clean subset without augmentation.

Introduced in notebook 07.
"""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.optim.swa_utils import update_bn

from paperlib.data.images import ImageData
from paperlib.defenses.batches import batches
from paperlib.errors import PaperlibError
from paperlib.training import Progress, Recipe, autocast, fit, loss_function


@dataclass(frozen=True)
class MCR:
    """Hyper-parameters; defaults: BackdoorBench, CIFAR-10."""

    epochs: int = 100
    """Of the curve."""
    batch_size: int = 256
    lr: float = 3e-5
    """Of the curve, constant; momentum 0.9, weight decay 5e-4."""
    ft_epochs: int = 0
    """Of the fine-tuned end; 0: as many as of the curve."""
    ft_lr: float = 0.01
    t: float = 0.1
    """Where on the curve the returned model lies: 0 is the backdoored one, 1 the fine-tuned one."""


def bezier(start: list[Tensor], middle: list[Tensor], end: list[Tensor], t: float) -> list[Tensor]:
    """The point t in [0, 1] of the curve, one tensor per weight."""
    a, b, c = (1 - t) ** 2, 2 * t * (1 - t), t**2
    return [a * p + b * q + c * r for p, q, r in zip(start, middle, end, strict=True)]


def refresh(model: nn.Module, clean: ImageData, batch_size: int) -> nn.Module:
    """Measure the running statistics of every batch norm anew on ``clean``; returns ``model`` in evaluation mode."""
    generator = torch.Generator(clean.x.device).manual_seed(0)
    with autocast(clean.x.device):
        update_bn((x for _, x, _ in batches(clean, batch_size, generator)), model)
    return model.eval()


def mcr(
    model: nn.Module, clean: ImageData, config: MCR, *, seed: int = 0, progress: Progress = None
) -> tuple[nn.Module, dict[str, Any]]:
    """The model at ``config.t`` of a curve from ``model`` to its fine-tuned copy.

    Raises
    ------
    PaperlibError
        ``config.t`` outside [0, 1].
    """
    if not 0 <= config.t <= 1:
        raise PaperlibError(f"t={config.t!r} must lie between 0 (the given model) and 1 (its fine-tuned copy).")
    model, other = deepcopy(model), deepcopy(model)
    tuning = Recipe(config.ft_epochs or config.epochs, config.batch_size, config.ft_lr)
    fit(other, clean, tuning, seed=seed, partial=True)
    names = [name for name, _ in model.named_parameters()]
    start = [w.detach().clone() for w in model.parameters()]
    end = [w.detach() for w in other.parameters()]
    middle = nn.ParameterList([(p + q) / 2 for p, q in zip(start, end, strict=True)])
    curve = nn.ModuleDict({"body": model, "middle": middle})  # one module, so that fit sets modes; it trains the middle
    model.requires_grad_(False)
    generator = torch.Generator(clean.x.device).manual_seed(seed)
    loss = loss_function(0.0)

    def step(curve: nn.Module, x: Tensor, y: Tensor, optimizer: torch.optim.Optimizer) -> Tensor:
        t = torch.rand((), generator=generator, device=x.device).item()
        point = dict(zip(names, bezier(start, list(middle), end, t), strict=True))
        with autocast(x.device):
            losses = loss(functional_call(model, point, (x,)), y)
        optimizer.zero_grad(set_to_none=True)
        losses.mean().backward()
        optimizer.step()
        return losses.detach()

    recipe = Recipe(config.epochs, config.batch_size, config.lr, "constant")
    fit(curve, clean, recipe, seed=seed + 1, step=step, partial=True, progress=progress)
    with torch.no_grad():
        for weight, value in zip(model.parameters(), bezier(start, list(middle), end, config.t), strict=True):
            weight.copy_(value)
    return refresh(model.requires_grad_(True), clean, config.batch_size), {}
