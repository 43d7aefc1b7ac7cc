"""Outputs of a named layer, for every tool and defense that looks inside a model."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches

import torch
from torch import Tensor, nn

from paperlib.errors import NotApplicable, PaperlibError
from paperlib.training import autocast, evaluating


def last_linear(model: nn.Module, use: str) -> tuple[str, nn.Linear]:
    """The linear layer of ``model`` that was registered last, and its name; ``use`` says what a method does with it.

    Raises
    ------
    NotApplicable
        There is none.
    """
    found = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.Linear)]
    if not found:
        raise NotApplicable(f"the model ({type(model).__name__}) has no linear layer; {use}.")
    return found[-1]


def named_layer(model: nn.Module, layer: str) -> nn.Module:
    """The sub-module ``layer`` of ``model`` (dotted name).

    Raises
    ------
    PaperlibError
        There is none of that name.
    """
    try:
        return model.get_submodule(layer)
    except AttributeError:
        names = [name.removeprefix("inner.") for name, _ in model.named_modules() if name not in ("", "inner")]
        near = get_close_matches(layer, names, n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(map(repr, near))}? " if near else ""
        leaves = [name for name in names if not any(other.startswith(f"{name}.") for other in names)]
        shown = ", ".join(leaves if len(leaves) <= 60 else [*leaves[:5], "...", *leaves[-25:]])
        raise PaperlibError(f"layer={layer!r} is not in the model; {hint}Its leaf layers are: {shown}.") from None


@contextmanager
def watching(model: nn.Module, layer: str) -> Iterator[list[Tensor]]:
    """Collect the outputs of ``layer`` of every forward pass in the block."""
    seen: list[Tensor] = []
    handle = named_layer(model, layer).register_forward_hook(lambda module, inputs, output: seen.append(output))
    try:
        yield seen
    finally:
        handle.remove()


@torch.no_grad()
def layer_output(model: nn.Module, layer: str, x: Tensor, *, pooled: bool = False, batch_size: int = 500) -> Tensor:
    """Outputs of ``layer`` for uint8 images (N, C, H, W), float32, in evaluation mode.

    ``pooled`` averages over positions: (N, channels) instead of (N, channels, h, w), or of a transformer's (N, tokens,
    channels).
    """
    parts = []
    with evaluating(model), autocast(x.device), watching(model, layer) as seen:
        for part in x.split(batch_size):
            model(part.float().div_(255).contiguous(memory_format=torch.channels_last))
            out = seen.pop().float()
            parts.append(per_neuron(out) if pooled else out)
    return torch.cat(parts)


def per_neuron(out: Tensor) -> Tensor:
    """One number per image and neuron, (N, channels): the mean over the positions or tokens of a layer's output."""
    if out.ndim == 4:
        return out.mean((2, 3))
    return out.mean(1) if out.ndim == 3 else out


def as_maps(out: Tensor, layer: str) -> Tensor:
    """The output of a layer as maps (N, channels, h, w).

    A transformer's tokens (N, tokens, channels) become the grid of patches they came from; a class token in front of
    them is left out.

    Raises
    ------
    PaperlibError
        The layer has no positions, or tokens that form no square.
    """
    if out.ndim == 4:
        return out
    if out.ndim == 3:
        tokens = out.shape[1]
        for first in (0, 1):
            if (side := math.isqrt(tokens - first)) ** 2 == tokens - first and side:
                return out[:, first:].transpose(1, 2).unflatten(2, (side, side))
    raise PaperlibError(
        f"layer={layer!r} puts out shape {tuple(out.shape)}; maps need a layer with positions: (N, channels, h, w), or "
        "(N, tokens, channels) with a square number of tokens."
    )


def class_activation_map(model: nn.Module, layer: str, x: Tensor) -> tuple[Tensor, Tensor]:
    """Grad-CAM (arXiv 1610.02391): maps (N, h, w) in [0, 1] and predicted classes (N,) of images (N, C, H, W) in [0,
    1].

    The tokens of a transformer are taken as the grid of their patches, without the class token.

    Raises
    ------
    PaperlibError
        The layer has no positions, or none of its positions reaches the class score.
    """
    with torch.enable_grad(), evaluating(model), watching(model, layer) as seen:
        scores = model(x)
        predicted = scores.argmax(1)
        gradient = torch.autograd.grad(scores.gather(1, predicted[:, None]).sum(), seen[0])[0]
    slopes = as_maps(gradient, layer)
    if gradient.ndim == 3 and not slopes.any():
        raise PaperlibError(
            f"layer={layer!r}: the class score reads its class token only, so no patch has a gradient; give an earlier"
            " layer, for example the first layer norm of the last block."
        )
    maps = (slopes.mean((2, 3), keepdim=True) * as_maps(seen[0].detach(), layer)).sum(1).relu()
    return maps / maps.amax((1, 2), keepdim=True).clamp_min(1e-12), predicted
