r"""SAU: shared adversarial unlearning.

Wei, Zhang, Zha, Wu, "Shared Adversarial Unlearning: Backdoor Mitigation by Unlearning Shared Adversarial Examples",
NeurIPS 2023 (arXiv 2307.10562), Sections 3 and 4, Algorithm 1. If the trigger lies in the perturbation set S, a
triggered image that still works on the purified model :math:`\theta` is an adversarial example that both :math:`\theta`
and the backdoored model b get wrong in the same way: a *shared* one. So only those are made and unlearned (equations 9
to 13):

.. math::
   &\min_\theta \frac1N \sum_{(x, y)} \lambda_1 \mathrm{CE}(p(x; \theta), y) + \lambda_2 L_{sar}(x + \varepsilon^*, y),
   \qquad \varepsilon^* = \arg\max_{\varepsilon \in S} \lambda_3 L_{adv} + \lambda_4 L_{share} \\
   &L_{adv} = \tfrac12 \big(\mathrm{CE}(p(x_\varepsilon; \theta), y) + \mathrm{CE}(p(x_\varepsilon; b), y)\big), \quad
   L_{share} = -\mathrm{JS}\big(p(x_\varepsilon; \theta), p(x_\varepsilon; b)\big) \\
   &L_{sar} = -1[\tilde y \ne y] \log\big(1 - p_{\tilde y}(x_\varepsilon; \theta)\big), \quad \tilde y =
   h_b(x_\varepsilon)

b is a frozen copy; both models stay in evaluation mode (fixed batch norm). Images are not augmented.

Differences from the paper: where the two differ, this follows the authors' code
1. L_adv counts, per model, only samples that do not fool it yet, L_share only samples that are not shared yet; "fooled"
   means another class than the model's own prediction of the clean image. The masks are constants for the gradient.
2. The perturbation starts at the largest value everywhere (the paper is silent), steps along the sign of the gradient
   with a step as long as the radius, and x + epsilon is not clipped to [0, 1]. A batch ends early when all its samples
   are shared.
3. L_sar asks also that b's prediction changed, and is the mean of two guarded forms of the logarithm, without gradient
   where p is below 0.001 (``variant="paper"``: the one logarithm of equation 12 under the one condition).
4. Adam with amsgrad, lr 1e-4, where the text says SGD.

And where it differs from the code: a sample that is shared receives no gradient any more, so it leaves the batch of the
inner problem; clean predictions of b are made once, those of theta once per batch. The values are the same, at half the
passes.

Ours: the magnitude of the spatial perturbations, which the paper does not print (``flow``), and uniform odds among the
four sets of Ensemble SAU. Universal and targeted SAU, which the paper names without a result, are not offered.

Introduced in notebook 02.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paperlib.data.images import ImageData
from paperlib.defenses.batches import batches
from paperlib.errors import PaperlibError, choose
from paperlib.training import Progress, autocast, predict


@dataclass(frozen=True)
class SAU:
    """Hyper-parameters; defaults: CIFAR-10 (paper, Section 4.1; optimiser, step and start: code)."""

    epochs: int = 100
    """100 on CIFAR-10 and GTSRB, 20 on Tiny ImageNet."""
    batch_size: int = 256
    lr: float = 1e-4
    lambda_1: float = 1.0
    """Weight of the clean cross-entropy."""
    lambda_2: float = 1.0
    """Weight of the shared-adversarial risk (``outer="vanilla"``: of the adversarial cross-entropy)."""
    lambda_3: float = 0.01
    """Inner problem: weight of fooling both models."""
    lambda_4: float = 1.0
    """Inner problem: weight of agreeing."""
    inner: str = "shared"
    """``shared`` (A in the ablation), or ``vanilla`` (C): PGD that raises the cross-entropy of theta only."""
    outer: str = "shared"
    """``shared`` (B), or ``vanilla`` (D): cross-entropy on the adversarial examples. C and D make vanilla adversarial
    training."""
    variant: str = "code"
    """``code`` or ``paper``: the form of L_sar, see above."""
    norm: str = "linf"
    """Perturbation set: ``linf``, ``l1``, ``l2``, ``spatial``, or ``ensemble``: one of the four, drawn anew for every
    batch."""
    eps: float = 0.2
    """L-infinity radius, in pixel values of [0, 1]."""
    eps_l1: float = 500.0
    eps_l2: float = 10.0
    flow: float = 2.0
    """Largest displacement of a pixel along each axis, in pixels."""
    steps: int = 5
    step: float = 0.2
    """Length of a step along the sign of the gradient; of a flow field: ``flow * step / eps``."""
    init: str = "max"
    """Start of the perturbation, before projection: ``max`` (the radius everywhere), ``min``, ``zero``, ``random``
    (uniform in [0, 1), as the code draws it; flow fields: times ``flow``)."""


# ------------------------------------------------------------------------------------------------ perturbation sets


def _rescale(delta: Tensor, norm: float, radius: float) -> Tensor:
    """Shorten each sample that is longer than ``radius``."""
    length = torch.linalg.vector_norm(delta.flatten(1), norm, dim=1).view(-1, 1, 1, 1)
    return delta * (radius / length.clamp_min(1e-12)).clamp_max(1)


def displaced(x: Tensor, flow: Tensor) -> Tensor:
    """Images (B, C, H, W) whose pixel (i, j) comes from (i + flow[1], j + flow[0]), bilinear; flow (B, 2, H, W) in
    pixels."""
    height, width = x.shape[2:]
    rows = torch.arange(height, device=x.device, dtype=x.dtype).view(-1, 1).expand(height, width)
    columns = torch.arange(width, device=x.device, dtype=x.dtype).expand(height, width)
    # without align_corners, -1 and 1 are the outer edges of the image
    horizontal, vertical = (columns + flow[:, 0] + 0.5) * 2 / width - 1, (rows + flow[:, 1] + 0.5) * 2 / height - 1
    return F.grid_sample(x, torch.stack([horizontal, vertical], -1), padding_mode="border", align_corners=False)


@dataclass(frozen=True)
class Ball:
    """A perturbation set: how long its members are, how a point is brought back, and what it does to an image."""

    radius: float
    step: float
    project: Callable[[Tensor], Tensor]
    apply: Callable[[Tensor, Tensor], Tensor] = torch.add
    channels: int = 0
    """Channels of a perturbation; 0: those of the image."""


def ball(config: SAU, norm: str) -> Ball:
    """The perturbation set ``norm`` with the sizes of ``config``."""
    e, flow = config.eps, config.flow
    sets = {
        "linf": Ball(e, config.step, lambda d: d.clamp(-e, e)),
        "l1": Ball(config.eps_l1, config.step, lambda d: _rescale(d, 1, config.eps_l1)),
        "l2": Ball(config.eps_l2, config.step, lambda d: _rescale(d, 2, config.eps_l2)),
        "spatial": Ball(flow, flow * config.step / max(e, 1e-12), lambda d: d.clamp(-flow, flow), displaced, 2),
    }
    return sets[choose("norm", norm, sets)]


def start(x: Tensor, within: Ball, init: str, generator: torch.Generator | None) -> Tensor:
    """The perturbation before the first step, one per image of ``x``."""
    delta = x.new_zeros((len(x), within.channels or x.shape[1], *x.shape[2:]))
    if init == "random":
        delta.uniform_(generator=generator).mul_(within.radius if within.channels else 1.0)
    elif init != "zero":
        delta.fill_(within.radius if init == "max" else -within.radius)
    return within.project(delta)


# ----------------------------------------------------------------------------------------------------- inner problem


def divergence(p: Tensor, q: Tensor) -> Tensor:
    """Jensen-Shannon divergence (B,) in nats of probabilities (B, classes)."""
    p, q = p.clamp_min(1e-8), q.clamp_min(1e-8)
    m = ((p + q) / 2).log()
    return ((p * (p.log() - m)).sum(1) + (q * (q.log() - m)).sum(1)) / 2


def shared_objective(
    logits: Tensor, reference: Tensor, y: Tensor, own: Tensor, own_reference: Tensor, lambda_3: float, lambda_4: float
) -> tuple[Tensor, Tensor]:
    """Per-sample inner objective (B,), to be raised, and which samples are shared already (B,) bool.

    Parameters
    ----------
    logits, reference : (B, classes)
        Of theta and b at the perturbed images.
    y, own, own_reference : (B,)
        True labels, and predictions of theta and b of the clean images.
    """
    p, q = logits.softmax(1), reference.softmax(1)
    found, wanted = logits.argmax(1), reference.argmax(1)
    fooled, fooled_reference = found != own, wanted != own_reference
    shared = fooled & fooled_reference & (found == wanted)
    adversarial = torch.where(fooled, 0, F.cross_entropy(logits, y, reduction="none"))
    adversarial = adversarial + torch.where(fooled_reference, 0, F.cross_entropy(reference, y, reduction="none"))
    return lambda_3 * adversarial / 2 - lambda_4 * torch.where(shared, 0, divergence(p, q)), shared


def perturb(
    model: nn.Module,
    reference: nn.Module,
    x: Tensor,
    y: Tensor,
    own_reference: Tensor,
    config: SAU,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The inner problem: adversarial images (B, C, H, W), not clipped to [0, 1].

    Both models must be in evaluation mode. ``own_reference`` (B,) are the reference's predictions of ``x``.
    """
    norm = config.norm
    if norm == "ensemble":
        draw = torch.randint(4, (1,), generator=generator, device=generator.device if generator else None)
        norm = ("linf", "l1", "l2", "spatial")[int(draw)]
    within = ball(config, norm)
    delta = start(x, within, config.init, generator)
    open_ = torch.arange(len(x), device=x.device)  # samples that are not shared yet
    with autocast(x.device), torch.no_grad():
        own = model(x).argmax(1)
    for _ in range(config.steps):
        d = delta[open_].requires_grad_()
        with torch.enable_grad(), autocast(x.device):
            x_adv = within.apply(x[open_], d)
            logits = model(x_adv).float()
            if config.inner == "vanilla":
                objective = F.cross_entropy(logits, y[open_], reduction="none")
                shared = torch.zeros_like(open_, dtype=torch.bool)
            else:
                objective, shared = shared_objective(
                    logits,
                    reference(x_adv).float(),
                    y[open_],
                    own[open_],
                    own_reference[open_],
                    config.lambda_3,
                    config.lambda_4,
                )
        if shared.all():
            break
        (gradient,) = torch.autograd.grad(objective.sum(), d)
        moved = within.project(d.detach() + within.step * gradient.sign())
        delta[open_[~shared]] = moved[~shared]
        open_ = open_[~shared]
    return within.apply(x, delta).detach()


# ----------------------------------------------------------------------------------------------------- outer problem


def suppression(logits: Tensor, label: Tensor, variant: str = "code") -> Tensor:
    """-log(1 - p_label) (B,) of logits (B, classes); ``code``: the mean of its two guarded forms."""
    if variant == "paper":
        others = logits.scatter(1, label[:, None], -torch.inf)
        return logits.logsumexp(1) - others.logsumexp(1)
    p = logits.softmax(1)
    others = p.scatter(1, label[:, None], 0).sum(1).clamp_max(0.999)
    itself = p.gather(1, label[:, None]).squeeze(1).clamp_min(0.001)
    return -((1e-6 + others).log() + (1 + 1e-6 - itself).log()) / 2


def outer_losses(
    model: nn.Module, reference: nn.Module, x: Tensor, x_adv: Tensor, y: Tensor, own_reference: Tensor, config: SAU
) -> tuple[Tensor, Tensor]:
    """Clean and adversarial term of the outer problem, both means over the batch."""
    with autocast(x.device):
        clean = F.cross_entropy(model(x).float(), y)
        if config.outer == "vanilla":
            return clean, F.cross_entropy(model(x_adv).float(), y)
        with torch.no_grad():
            label = reference(x_adv).argmax(1)
        chosen = label != y
        if config.variant == "code":
            chosen &= label != own_reference
        if not chosen.any():
            return clean, clean.new_zeros(())
        logits = model(x_adv[chosen]).float()
    return clean, suppression(logits, label[chosen], config.variant).sum() / len(x)


def check(config: SAU) -> None:
    """Say which hyper-parameter is out of range.

    Raises
    ------
    PaperlibError
        A count below 1, or a word that is none of the choices.
    """
    choose("inner", config.inner, ("shared", "vanilla"))
    choose("outer", config.outer, ("shared", "vanilla"))
    choose("variant", config.variant, ("code", "paper"))
    choose("norm", config.norm, ("linf", "l1", "l2", "spatial", "ensemble"))
    choose("init", config.init, ("max", "min", "zero", "random"))
    for name in ("epochs", "batch_size", "steps"):
        if getattr(config, name) < 1:
            raise PaperlibError(f"{name}={getattr(config, name)!r} must be at least 1.")


def sau(
    model: nn.Module,
    clean: ImageData,
    config: SAU,
    *,
    seed: int = 0,
    progress: Progress = None,
    each_epoch: Callable[[int, nn.Module, nn.Module], None] | None = None,
) -> tuple[nn.Module, dict[str, Any]]:
    """A copy of ``model`` that has unlearned what adversarial examples share with it.

    ``each_epoch(epoch, model, reference)`` is called before the first epoch (0) and after each one, for those who
    watch.

    Returns
    -------
    model, notes
        notes: ``clean_loss`` and ``shared_loss``, means over the last epoch.

    Raises
    ------
    PaperlibError
        What :func:`check` refuses, or training that diverged.
    """
    check(config)
    model, reference = deepcopy(model).eval(), deepcopy(model).eval().requires_grad_(False)
    generator = torch.Generator(clean.x.device).manual_seed(seed)
    own_reference = predict(reference, clean.x)
    optimizer = torch.optim.Adam(model.parameters(), config.lr, amsgrad=True)
    means = torch.zeros(2, device=clean.x.device)
    if each_epoch:
        each_epoch(0, model, reference)
    for epoch in range(config.epochs):
        means.zero_()
        for index, x, y in batches(clean, config.batch_size, generator):
            x_adv = perturb(model, reference, x, y, own_reference[index], config, generator)
            losses = outer_losses(model, reference, x, x_adv, y, own_reference[index], config)
            optimizer.zero_grad(set_to_none=True)
            (config.lambda_1 * losses[0] + config.lambda_2 * losses[1]).backward()
            optimizer.step()
            means += torch.stack(losses).detach() * len(x) / len(clean)
        if not means.isfinite().all():
            raise PaperlibError(f"SAU diverged in epoch {epoch + 1}: lr={config.lr} is too high for this model.")
        if each_epoch:
            each_epoch(epoch + 1, model, reference)
        if progress:
            progress((epoch + 1) / config.epochs, f"epoch {epoch + 1}/{config.epochs} loss {means.sum().item():.3f}")
    return model, {"clean_loss": round(means[0].item(), 4), "shared_loss": round(means[1].item(), 4)}


# ------------------------------------------------------------------------------------------------------- for analysis


def example_types(found: Tensor, reference: Tensor, y: Tensor) -> Tensor:
    """Type of every adversarial example of theta (paper, Table 1), int64 of the shape of ``found``.

    Parameters
    ----------
    found, reference : (..., B)
        Predictions of theta and b at the perturbed images.
    y : (B,)
        True labels.

    Returns
    -------
    Tensor
        0: theta is right, no adversarial example; 1: both are wrong in the same way (shared); 2: b is right; 3: both
        are wrong, in different ways.
    """
    kind = torch.where(reference == found, 1, torch.where(reference == y, 2, 3))
    return torch.where(found == y, 0, kind)
