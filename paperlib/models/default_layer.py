"""Which layer to look at where nobody named one: one forward pass of one image shows the order in which layers compute.

Our own models say it themselves (``features``, ``last_conv``). In any other classifier the *features* are the last
output with positions, (B, channels, h, w) or a transformer's (B, tokens, channels), before the pooling or flattening
that leads to the classifier, and the *last convolution* is the last 2-D one that computes. What was chosen is said in a
warning.
"""

import warnings
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from paperlib.errors import NotApplicable
from paperlib.models.foreign import Wrapped
from paperlib.models.layers import named_layer
from paperlib.training import evaluating

Record = tuple[str, nn.Module, tuple[int, ...]]


class LayerChosen(UserWarning):
    """Nobody named a layer; the message says which one is used."""


def own_layer(model: nn.Module, *names: str) -> str:
    """The layer that the model itself names in one of these attributes; empty: none."""
    return next((own for name in names if isinstance(own := getattr(model, name, ""), str) and own), "")


def feature_layer(model: nn.Module, layer: str, x: Tensor) -> str:
    """``layer``, else the model's own ``features``, else the last layer with positions before the classifier.

    Parameters
    ----------
    x
        uint8 images (N, C, H, W), of which the first is shown to the model.

    Raises
    ------
    NotApplicable
        No layer before the classifier.
    PaperlibError
        No layer of that name.
    """
    found = (
        layer
        or own_layer(model, "features")
        or _said(features_of(trace(model, x)), "the last layer before the classifier")
    )
    named_layer(model, found)
    return found


def last_convolution(model: nn.Module, layer: str, x: Tensor) -> str:
    """``layer``, else the model's own ``last_block`` or ``last_conv``, else the 2-D convolution that computes last.

    Raises
    ------
    NotApplicable
        The model has no 2-D convolution.
    PaperlibError
        No layer of that name.
    """
    if not (found := layer or own_layer(model, "last_conv")):
        convolutions = [name for name, module, _ in trace(model, x) if isinstance(module, nn.Conv2d)]
        if not convolutions:
            raise NotApplicable(f"the model ({type(model).__name__}) has no 2-D convolution; this method changes one.")
        found = _said(convolutions[-1], "the last convolution")
    named_layer(model, found)
    return found


def with_layer(config: Any, model: nn.Module, x: Tensor) -> Any:
    """The hyper-parameters of a method with the layer that it will look at, checked; those without a layer stay as they
    are.

    Of our own models the method finds the layer itself.

    Raises
    ------
    PaperlibError
        No layer of the name that was given, or none that would do.
    """
    layer = getattr(config, "layer", None)
    if layer is None or getattr(config, "variant", "") == "linear":
        return config
    convolution = getattr(config, "at_convolution", False)
    if not layer and own_layer(model, "last_conv" if convolution else "features"):
        return config
    return replace(config, layer=(last_convolution if convolution else feature_layer)(model, layer, x))


def trace(model: nn.Module, x: Tensor) -> list[Record]:
    """(name, module, shape of its output) of every layer in the order of computing, for the first image; tensors
    only."""
    seen: list[Record] = []
    handles, root = [], model
    while isinstance(root, Wrapped):
        root = root.inner
    for name, module in root.named_modules():
        if name:

            def hook(module: nn.Module, inputs: Any, output: Any, name: str = name) -> None:
                if isinstance(output, Tensor):
                    seen.append((name, module, tuple(output.shape)))

            handles.append(module.register_forward_hook(hook))
    try:
        with torch.no_grad(), evaluating(model):
            model(x[:1].float().div(255))
    finally:
        for handle in handles:
            handle.remove()
    return seen


def features_of(order: list[Record]) -> str:
    """The last layer with positions before the classifier's pooling, in a :func:`trace`.

    Raises
    ------
    NotApplicable
        There is none before the last linear layer.
    """
    positional = [i for i, (_, _, shape) in enumerate(order) if len(shape) in (3, 4)]
    last = max((i for i, (_, module, _) in enumerate(order) if isinstance(module, nn.Conv2d)), default=0)
    flat = [i for i, (_, _, shape) in enumerate(order) if len(shape) == 2 and i > last]
    pools = [i for i, (_, module, _) in enumerate(order) if "Pool" in type(module).__name__ and i > last]
    end = min([*flat[:1], *pools[:1]], default=len(order))
    before = [i for i in positional if i < end and not isinstance(order[i][1], nn.Dropout | nn.Identity | nn.Flatten)]
    if not before:  # no positions at all: the last hidden layer
        before = [
            i for i, (_, module, shape) in enumerate(order) if len(shape) == 2 and not isinstance(module, nn.Flatten)
        ][:-1]
    if not before:
        raise NotApplicable("the model has no layer before its classifier; this method looks at one.")
    return order[before[-1]][0]


def _said(name: str, what: str) -> str:
    warnings.warn(f"layer={name!r} is used, {what}; layer= names another one.", LayerChosen, stacklevel=5)
    return name
