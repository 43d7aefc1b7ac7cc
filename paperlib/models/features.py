"""Features and logits of many images in one batched pass through a classifier."""

import torch
from torch import Tensor, nn

from paperlib.data.images import ImageData
from paperlib.models.default_layer import feature_layer
from paperlib.models.layers import layer_output, watching
from paperlib.training import autocast, evaluating


def features(model: nn.Module, data: ImageData, layer: str = "", *, pooled: bool = True) -> Tensor:
    """Features (N, d), float32, of all images of ``data``; ``pooled=False`` flattens the maps instead of averaging
    them."""
    return layer_output(model, feature_layer(model, layer, data.x), data.x, pooled=pooled).flatten(1)


def feature_maps(model: nn.Module, data: ImageData, layer: str = "") -> Tensor:
    """Feature maps (N, channels, positions), float32; a layer without positions has one."""
    out = layer_output(model, feature_layer(model, layer, data.x), data.x)
    return out.flatten(2) if out.ndim > 2 else out.unsqueeze(2)


def embed(model: nn.Module, x: Tensor, layer: str) -> tuple[Tensor, Tensor]:
    """Logits and pooled features (B, d) of one batch in [0, 1], with gradients, in the mode the model is in."""
    with watching(model, layer) as seen:
        logits = model(x)
    out = seen.pop()
    return logits, out.mean(tuple(range(2, out.ndim))) if out.ndim > 2 else out


@torch.no_grad()
def batch_logits(model: nn.Module, x: Tensor) -> Tensor:
    """Logits (B, classes), float32, of one batch of float images, which may lie outside [0, 1]."""
    with evaluating(model), autocast(x.device):
        return model(x.contiguous(memory_format=torch.channels_last)).float()
