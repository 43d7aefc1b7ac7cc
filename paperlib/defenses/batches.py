"""Batches of clean images for the defenses that bring their own loop: shuffled, every image once per epoch."""

from collections.abc import Iterator
from copy import deepcopy

import torch
from torch import Tensor, nn

from paperlib.data.images import ImageData
from paperlib.errors import PaperlibError
from paperlib.training import augment, cut


def check_enough(model: nn.Module, n: int, said: str, data: ImageData) -> None:
    """Refuse to train on one image alone where batch norm cannot normalise by it; ``said`` names the share that leaves
    so few.

    Raises
    ------
    PaperlibError
        ``n`` is below 2, and the model has batch norm on maps of one pixel.
    """
    if n > 1:
        return
    try:
        with torch.no_grad():
            deepcopy(model).train()(data.float(torch.tensor([0])))
    except ValueError:
        raise PaperlibError(
            f"{said} of {len(data)} images leaves {n}, too few to train this model's batch norm on; take a share of"
            f" {2 / len(data):.2g} or more."
        ) from None


def batches(
    data: ImageData, batch_size: int, generator: torch.Generator, *, augmented: bool = False
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """One epoch of (index (B,), x (B, C, H, W) float in [0, 1] channels-last, y (B,)).

    The last batch may be smaller: :func:`paperlib.training.cut`.
    """
    order = torch.randperm(len(data), generator=generator, device=data.x.device)
    for index in cut(order, batch_size):
        x = data.x[index]
        if augmented:
            x = augment(x, data.pad, data.flip, generator)
        yield index, x.float().div_(255).contiguous(memory_format=torch.channels_last), data.y[index]
