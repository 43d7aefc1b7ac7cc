r"""FP: fine-pruning.

Liu, Dolan-Gavitt, Garg, "Fine-Pruning: Defending Against Backdooring Attacks on Deep Neural Networks", RAID 2018 (arXiv
1805.12185). Neurons that are dormant on clean images may serve the backdoor. Rank the channels of the last convolution
by their mean activation over the clean images :math:`D`,

.. math:: a_k = \frac{1}{|D|\,hw} \sum_{x \in D} \sum_{\text{positions}} F_k(x),

prune them from the smallest on while clean accuracy falls by less than 10 %, and fine-tune what is left on :math:`D`.
The pruned channels stay pruned while fine-tuning.

Two variants of the benchmark: ``conv`` (its first version, as the paper) prunes channels of the last convolution one by
one; where the last linear layer reads one number per channel, its column goes too, so that a shortcut around the
convolution does not keep the channel. ``linear`` (its second version) ranks the inputs of the last linear layer by
their mean and prunes its columns, 1 % in a step.

Differences from the benchmark
1. It measures the accuracy on *test* data (``selection="paper"``); by default it is measured on a held-out part of the
   clean subset, which does not take part in the ranking. Fine-tuning then sees all clean images.
2. Its second version keeps the step that broke the limit, because the last good model is an alias of the current one
   (``overshoot=True``). Here that step is undone.
3. Fine-tuning: as FT, see there.

Against the boards: its two versions prune different things, and the benchmark's first board and FT-SAM's paper, which
took one each, differ by 49.6 points of ASR on average over eight attacks (Blended 99.3 and 8.3). At paper scale BadNets
falls to 1.3 here (57.1 and 0.8 there). A small difference says nothing.

Introduced in notebook 07.
"""

import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from paperlib.data.images import ImageData
from paperlib.defenses.pruning import Judge, accuracy, apply_masks, hold_out, masked_step
from paperlib.errors import PaperlibError, choose
from paperlib.models.layers import last_linear, layer_output, named_layer
from paperlib.training import Progress, Recipe, fit, loss_function, sgd_step


@dataclass(frozen=True)
class FP:
    """Hyper-parameters; defaults: CIFAR-10."""

    variant: str = "conv"
    """``conv`` or ``linear``: what is pruned."""
    layer: str = ""
    """The convolution whose channels are ranked; empty: the model's own ``last_conv``, else the last one that
    computes."""
    at_convolution: ClassVar[bool] = True
    budget: float = 0.1
    """Loss of clean accuracy, relative to what it was, at which pruning ends."""
    overshoot: bool = False
    """Whether the step that broke the budget stays."""
    selection: str = "validation"
    """``validation``: accuracy on a held-out part of the clean subset; ``paper``: on test data."""
    held_out: float = 0.2
    epochs: int = 100
    """Of fine-tuning; 0: pruning alone."""
    batch_size: int = 256
    lr: float = 0.01
    schedule: str = "cosine"


Masks = Callable[[Tensor], dict[str, Tensor]]
"""From which channels stay, 0 or 1, shape (channels,), to the masks of parameters by name."""


def conv_channels(model: nn.Module, layer: str, x: Tensor) -> tuple[Tensor, Masks]:
    """Mean activation (channels,) of the convolution ``layer`` on uint8 images, and how its channels are masked.

    Raises
    ------
    PaperlibError
        No layer of that name, or it is no convolution.
    """
    if not layer:
        raise PaperlibError("layer='' but the model names no last_conv of its own; give layer=, the last convolution.")
    conv = named_layer(model, layer)
    if not isinstance(conv, _ConvNd):
        raise PaperlibError(f"layer={layer!r} is a {type(conv).__name__}; it must be a convolution.")
    columns = [
        f"{name}.weight"
        for name, m in list(model.named_modules())[::-1]
        if isinstance(m, nn.Linear) and m.in_features == conv.out_channels
    ][:1]

    def masks(keep: Tensor) -> dict[str, Tensor]:
        out = {f"{layer}.weight": keep.view(-1, *[1] * (conv.weight.ndim - 1))}
        if conv.bias is not None:
            out[f"{layer}.bias"] = keep
        return out | dict.fromkeys(columns, keep)

    return layer_output(model, layer, x, pooled=True).mean(0), masks


def linear_inputs(model: nn.Module, x: Tensor) -> tuple[Tensor, Masks]:
    """Mean input (features,) of the last linear layer on uint8 images, and how its columns are masked."""
    name, linear = last_linear(model, "variant='linear' prunes its inputs")
    seen: list[Tensor] = []
    handle = linear.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].float()))
    try:
        layer_output(model, name, x)
    finally:
        handle.remove()
    return torch.cat(seen).mean(0), lambda keep: {f"{name}.weight": keep}


def fp(
    model: nn.Module, clean: ImageData, config: FP, *, seed: int = 0, progress: Progress = None, judge: Judge = None
) -> tuple[nn.Module, dict[str, Any]]:
    """A copy of ``model`` without its dormant channels, fine-tuned on ``clean``.

    Raises
    ------
    PaperlibError
        An unknown variant or layer, or a clean subset that is too small for a held-out part.
    """
    choose("variant", config.variant, ("conv", "linear"))
    ranked = clean
    if judge is None:
        ranked, held = hold_out(clean, config.held_out, seed)
    if config.variant == "conv":
        activation, masks = conv_channels(model, config.layer or getattr(model, "last_conv", ""), ranked.x)
    else:
        activation, masks = linear_inputs(model, ranked.x)

    def measure(candidate: nn.Module) -> float:
        return accuracy(candidate, held) if judge is None else judge(candidate)["c_acc"]

    order, n = activation.argsort(), len(activation)
    stride = 1 if config.variant == "conv" else math.ceil(0.01 * n)

    def keeping(pruned: int) -> dict[str, Tensor]:
        keep = torch.ones(n, device=order.device)
        keep[order[:pruned]] = 0
        return masks(keep)

    work = deepcopy(model).eval()
    before = reached = measure(work)
    pruned = 0
    for count in range(stride, n, stride):  # at least one channel stays
        apply_masks(work, keeping(count))
        now = measure(work)
        within = before - now < config.budget * before
        if within or config.overshoot:
            pruned, reached = count, now
        if not within:
            break
    model = deepcopy(model)
    kept = keeping(pruned)
    apply_masks(model.eval(), kept)
    if config.epochs:
        recipe = Recipe(config.epochs, config.batch_size, config.lr, config.schedule)
        step = masked_step(sgd_step(loss_function(0.0)), kept)
        fit(model, clean, recipe, seed=seed, step=step, partial=True, progress=progress)
    notes = {
        "selection": "held-out clean accuracy" if judge is None else "test accuracy, as in the original",
        "n_channels": n,
        "n_pruned": pruned,
        "accuracy_before": before,
        "accuracy_pruned": reached,
    }
    return model, notes
