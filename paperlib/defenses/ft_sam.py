r"""FT-SAM: fine-tuning with adaptive sharpness-aware minimisation.

Zhu, Wei, Shen, Fan, Wu, "Enhancing Fine-Tuning Based Backdoor Defense with Sharpness-Aware Minimization", ICCV 2023
(arXiv 2304.11823), Section 3.3 and Algorithm 1. Plain fine-tuning leaves the backdoor-related neurons, which have large
weight norms, where they are. FT-SAM minimises the loss at the worst weights in a neighbourhood that is wider where
weights are larger, and so shrinks them:

.. math:: \min_w \max_{\|T_w^{-1} \varepsilon\|_2 \le \rho} L(w + \varepsilon), \qquad T_w = \mathrm{diag}(|w_1|, \dots,
   |w_d|)

One step on one batch:

.. math::
   g &= \nabla L(w) \\
   \varepsilon &= \rho\, \frac{T_w^2\, g}{\|T_w\, g\|_2}   && \text{(one norm over all parameters)} \\
   w &\leftarrow \mathrm{SGD}\big(w,\; \nabla L(w + \varepsilon)\big)

Batch-norm running statistics are updated in the first pass only.

Differences from the paper
1. The paper does not print the learning-rate schedule. The authors' code steps a cosine of period 200 once per
   *iteration*, so that the rate swings between 0.01 and 0 (``official_cyclic``, the default; on CIFAR-10 the 1,000
   steps of 100 epochs, whose last batch is a partial one, are 5 full swings that end at 0.01; without partial batches
   they would end near 0, which left a victim of width 8 at 54.3 / 45.6 of C-Acc / ASR where the authors' code left 54.9
   / 37.1; without a partial batch the two agree, 54.0 / 36.0 and 54.0 / 36.8).
   ``cosine`` (per epoch) and ``constant`` are offered.
2. Label smoothing (0.1 on CIFAR-10, 0 on GTSRB and Tiny ImageNet) is in the code only. It is spread over the other
   classes.
3. Whether pruned weights stay pruned while FT or FT-SAM tunes the rest (Table 4) is not printed; ``keep_pruned=True``
   keeps them, as FP does.
4. Weights are restored from a copy, bit for bit, where the code subtracts what it added.

Introduced in notebook 05.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from paperlib.data.images import ImageData
from paperlib.defenses.pruning import masked_step, zeros
from paperlib.training import Progress, Recipe, Step, autocast, fit, loss_function


@dataclass(frozen=True)
class FTSAM:
    """Hyper-parameters; defaults: CIFAR-10, PreAct-ResNet18 (paper, Section 4.1; smoothing and schedule: code)."""

    rho: float = 2.0
    """Radius of the neighbourhood; 8 on GTSRB and Tiny ImageNet."""
    adaptive: bool = True
    """False: plain SAM, T_w = identity (the paper's Figure 6 compares the two)."""
    epochs: int = 100
    batch_size: int = 256
    lr: float = 0.01
    schedule: str = "official_cyclic"
    label_smoothing: float = 0.1
    keep_pruned: bool = False
    """Whether weights that are exactly 0 stay so: those of channels that another defense pruned before (Table 4)."""


def perturbation(weights: list[Tensor], gradients: list[Tensor], rho: float, adaptive: bool = True) -> list[Tensor]:
    r"""The worst perturbation of the weights to first order, :math:`\rho\, T_w^2 g / \|T_w g\|_2`, one tensor per
    weight."""
    scaled = torch._foreach_mul(torch._foreach_abs(weights), gradients) if adaptive else list(gradients)  # T_w g
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(scaled)))
    epsilon = torch._foreach_mul(torch._foreach_abs(weights), scaled) if adaptive else scaled  # T_w² g
    return list(torch._foreach_mul(epsilon, rho / (norm + 1e-12)))


@contextmanager
def frozen_statistics(model: nn.Module) -> Iterator[None]:
    """Batch norm still normalises by the batch, but its running statistics stay as they are."""
    layers = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True


@contextmanager
def displaced(weights: list[Tensor], epsilon: list[Tensor]) -> Iterator[None]:
    """``weights + epsilon`` inside the block; afterwards the weights are what they were, bit for bit."""
    with torch.no_grad():
        before = [weight.clone() for weight in weights]
        for weight, change in zip(weights, epsilon, strict=True):
            weight.add_(change)
    try:
        yield
    finally:
        with torch.no_grad():
            torch._foreach_copy_(weights, before)


def sam_step(loss: Callable[[Tensor, Tensor], Tensor], rho: float, adaptive: bool = True) -> Step:
    """One step of (adaptive) SAM, in the form that :func:`paperlib.training.fit` takes."""

    def step(model: nn.Module, x: Tensor, y: Tensor, optimizer: torch.optim.Optimizer) -> Tensor:
        weights: list[Tensor] = [w for w in model.parameters() if w.requires_grad]
        with autocast(x.device):
            losses = loss(model(x), y)
        gradients = list(torch.autograd.grad(losses.mean(), weights, allow_unused=True, materialize_grads=True))
        with torch.no_grad():
            epsilon = perturbation(weights, gradients, rho, adaptive)
        optimizer.zero_grad(set_to_none=True)
        with displaced(weights, epsilon), frozen_statistics(model):
            with autocast(x.device):
                worst = loss(model(x), y).mean()
            worst.backward()
        optimizer.step()
        return losses.detach()

    return step


def ft_sam(
    model: nn.Module, clean: ImageData, config: FTSAM, *, seed: int = 0, progress: Progress = None
) -> tuple[nn.Module, dict[str, Any]]:
    """A copy of ``model``, fine-tuned on ``clean`` with adaptive SAM."""
    model = deepcopy(model)
    step = sam_step(loss_function(config.label_smoothing), config.rho, config.adaptive)
    if config.keep_pruned:
        step = masked_step(step, zeros(model))
    recipe = Recipe(config.epochs, config.batch_size, config.lr, config.schedule)
    fit(model, clean, recipe, seed=seed, step=step, partial=True, progress=progress)
    return model, {}
