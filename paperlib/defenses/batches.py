"""Batches of clean images for the defenses that bring their own loop: shuffled, every image once per epoch."""

from collections.abc import Iterator

import torch
from torch import Tensor

from paperlib.data.images import ImageData
from paperlib.training import augment


def batches(
    data: ImageData, batch_size: int, generator: torch.Generator, *, augmented: bool = False
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """One epoch of (index (B,), x (B, C, H, W) float in [0, 1] channels-last, y (B,)).

    The last batch may be smaller; one image alone, by which batch norm could not normalise, joins the batch before it.
    """
    order = torch.randperm(len(data), generator=generator, device=data.x.device)
    parts = list(order.split(batch_size))
    if len(parts) > 1 and len(parts[-1]) == 1:
        last = parts.pop()
        parts[-1] = torch.cat([parts[-1], last])
    for index in parts:
        x = data.x[index]
        if augmented:
            x = augment(x, data.pad, data.flip, generator)
        yield index, x.float().div_(255).contiguous(memory_format=torch.channels_last), data.y[index]
