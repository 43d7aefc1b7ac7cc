"""Strided 1x1 convolutions of few channels, computed without their stride.

On processors, the gradient of the weights of a channels-last 1x1 convolution with a stride and fewer than 16 input
channels (4, 8 and 12 crash, 16 and 24 do not) writes past its memory in oneDNN whenever the batch is no multiple of the
number of threads: "corrupted double-linked list" or a segmentation fault. Seen with torch 2.11, 2.13, 2.14 and 2.15,
with two threads and batches of 15, 31, 33 and 63. Taking every other pixel first and then no stride is the same map.
"""

import torch.nn.functional as F
from torch import Tensor, nn

FEW = 16
"""Input channels below which the stride is taken first."""


class EveryOther(nn.Conv2d):
    """A strided 1x1 convolution that takes every other pixel and has no stride then."""

    def forward(self, x: Tensor) -> Tensor:
        down, right = self.stride
        return F.conv2d(x[..., ::down, ::right], self.weight, self.bias, groups=self.groups)


def concerned(layer: nn.Module) -> bool:
    """Whether ``layer`` is one of those convolutions."""
    return (
        type(layer) is nn.Conv2d
        and layer.kernel_size == (1, 1)
        and layer.stride != (1, 1)
        and layer.padding in ((0, 0), "valid")
        and layer.in_channels < FEW
    )


def every_other_pixel(model: nn.Module) -> nn.Module:
    """``model`` itself, in which such convolutions have become :class:`EveryOther`; names and weights stay."""
    for layer in filter(concerned, model.modules()):
        layer.__class__ = EveryOther
    return model
