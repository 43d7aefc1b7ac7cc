r"""i-BAU: adversarial unlearning of backdoors by implicit hyper-gradient.

Zeng, Chen, Park, Mao, Jin, Jia, "Adversarial Unlearning of Backdoors via Implicit Hypergradient", ICLR 2022
(arXiv 2110.03735). A universal perturbation stands in for the unknown trigger; the model is trained to keep the true label
under it, and the gradient follows the perturbation as the weights change:

.. math::
   &\min_w G(w) = \mathbb{E}\, \mathrm{CE}(f_w(x + \delta^*), y), \qquad
   \delta^*(w) = \arg\min_\delta H(\delta, w) = -\mathbb{E}\, \mathrm{CE}(f_w(x + \delta), \hat y) + \mu \|\delta\|_2^2 \\
   &\nabla G = \partial_w G + (\partial_w \Phi)^\top v, \qquad v = \partial_\delta G + (\partial_\delta \Phi)^\top v, \qquad
   \Phi(\delta, w) = \delta - \eta\, \partial_\delta H(\delta, w)

where :math:`\hat y` is the model's own prediction of the clean image; v is found by K = 5 fixed-point iterations from 0. One
round: one pass over the clean subset that raises the perturbation from 0 (SGD, lr 10), one pass of outer steps (Adam with
amsgrad).

Settings of BackdoorBench (arXiv 2206.12654): 5 rounds; the perturbation, measured in standard deviations of the data set, is
neither bounded nor clipped; it is added to 1 % of the images of a batch.

Differences from the benchmark
1. Batch norm uses its running statistics (``fixed_bn``), as the SAU paper (arXiv 2307.10562) does for i-BAU. The running
   statistics are then part of neither problem; False: batch statistics throughout.
2. 1 % of a batch is at least one image: small batches would never see the perturbation.
3. The inner objective of the hyper-gradient is taken on the batch of the outer step.
4. All passes are in float32, because second derivatives are taken.

Introduced in notebook 07.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paperlib.data.images import ImageData
from paperlib.defenses.batches import batches
from paperlib.errors import PaperlibError
from paperlib.models.second_order import twice_differentiable


@dataclass(frozen=True)
class IBAU:
    """Hyper-parameters; defaults: BackdoorBench, CIFAR-10."""

    rounds: int = 5
    batch_size: int = 256
    lr: float = 1e-4
    inner_lr: float = 10.0
    """Of the steps that raise the perturbation."""
    penalty: float = 0.001
    """mu, weight of the squared norm of the perturbation."""
    portion: float = 0.01
    """Share of a batch that carries the perturbation in the outer problem."""
    iterations: int = 5
    """K, fixed-point iterations of the hyper-gradient."""
    map_lr: float = 0.1
    """eta, step of the map whose fixed point is the solution of the inner problem."""
    fixed_bn: bool = True


@contextmanager
def native_convolutions() -> Iterator[None]:
    """Convolutions without oneDNN: on CPUs, its second derivative writes beyond its memory with two threads (torch 2.15).

    With one thread it does not, and oneDNN takes 0.6 of the time (digits, widths 4 to 12, the same perturbations to four digits).
    """
    before = torch._C._get_mkldnn_enabled()
    # torch.backends.mkldnn.flags does the same and warns about TF32
    torch._C._set_mkldnn_enabled(before and torch.get_num_threads() == 1)
    try:
        yield
    finally:
        torch._C._set_mkldnn_enabled(before)


def hypergradient(
    outer: Callable[[Tensor], Tensor],
    inner: Callable[[Tensor], Tensor],
    delta: Tensor,
    weights: Sequence[Tensor],
    iterations: int,
    eta: float,
) -> tuple[list[Tensor], Tensor]:
    """Gradient of ``outer(delta*(w))`` by fixed-point iterations, one tensor per weight; and the value of ``outer``.

    Parameters
    ----------
    outer, inner
        Scalar functions of the perturbation, differentiable twice in it and in ``weights``.
    delta
        The solution of the inner problem (minimal ``inner``), or close to it.
    """
    delta = delta.detach().requires_grad_()
    value = outer(delta)
    direct, *gradients = torch.autograd.grad(value, [delta, *weights], allow_unused=True, materialize_grads=True)
    (slope,) = torch.autograd.grad(inner(delta), delta, create_graph=True)
    v = torch.zeros_like(direct)
    for _ in range(iterations):
        (curvature,) = torch.autograd.grad(
            slope, delta, v, retain_graph=True, materialize_grads=True, allow_unused=True
        )
        v = direct + v - eta * curvature
    through = torch.autograd.grad(slope, list(weights), -eta * v, allow_unused=True, materialize_grads=True)
    return [g + t for g, t in zip(gradients, through, strict=True)], value.detach()


def i_bau(
    model: nn.Module,
    clean: ImageData,
    config: IBAU,
    *,
    seed: int = 0,
    progress: Callable[[float, str], None] | None = None,
) -> tuple[nn.Module, dict[str, Any]]:
    """A copy of ``model`` that keeps the true label under a universal perturbation.

    Returns
    -------
    model, notes
        notes: ``delta_norm``, the L2 norm of the last perturbation, in pixel values.
    """
    for name, least in (("rounds", 1), ("batch_size", 1), ("iterations", 1)):
        if getattr(config, name) < least:
            raise PaperlibError(f"{name}={getattr(config, name)!r} must be at least {least}.")
    model = deepcopy(model).train(not config.fixed_bn)
    generator = torch.Generator(clean.x.device).manual_seed(seed)
    weights = [w for w in model.parameters() if w.requires_grad]
    optimizer = torch.optim.Adam(weights, config.lr, amsgrad=True)
    unit = torch.tensor(clean.std, device=clean.x.device).view(1, -1, 1, 1)
    delta = unit.new_zeros((1, *clean.x.shape[1:]))

    def inner(x: Tensor) -> Callable[[Tensor], Tensor]:
        with torch.no_grad():
            own = model(x).argmax(1)
        return lambda d: config.penalty * d.square().sum() - F.cross_entropy(model(x + unit * d), own)

    for round_ in range(config.rounds):
        delta = torch.zeros_like(delta)
        for _, x, _ in batches(clean, config.batch_size, generator, augmented=True):
            delta.requires_grad_()
            (slope,) = torch.autograd.grad(inner(x)(delta), delta)
            delta = delta.detach() - config.inner_lr * slope
        for _, x, y in batches(clean, config.batch_size, generator, augmented=True):
            n = max(1, int(config.portion * len(x)))
            chosen = torch.randperm(len(x), generator=generator, device=x.device)[:n]
            mask = torch.zeros_like(x[:, :1, :1, :1])
            mask[chosen] = 1

            def outer(d: Tensor, x: Tensor = x, y: Tensor = y, mask: Tensor = mask) -> Tensor:
                return F.cross_entropy(model(x + mask * (unit * d)), y)

            with native_convolutions(), twice_differentiable():
                gradients, value = hypergradient(outer, inner(x), delta, weights, config.iterations, config.map_lr)
            if not value.isfinite():
                raise PaperlibError(
                    f"i-BAU diverged in round {round_ + 1}: lr={config.lr} or inner_lr={config.inner_lr} is too high."
                )
            for weight, gradient in zip(weights, gradients, strict=True):
                weight.grad = gradient
            optimizer.step()
        if progress:
            progress((round_ + 1) / config.rounds, f"round {round_ + 1}/{config.rounds}")
    optimizer.zero_grad(set_to_none=True)
    return model.eval(), {"delta_norm": round((unit * delta).norm().item(), 4)}
