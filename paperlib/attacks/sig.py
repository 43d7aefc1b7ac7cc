r"""SIG: a sinusoidal signal over the whole image; labels stay clean.

Barni et al., "A New Backdoor Attack in CNNs by Training Set Corruption without Label Poisoning", ICIP 2019
(arXiv 1902.11237), in the setting of BackdoorBench (arXiv 2206.12654): for column j of an image m pixels wide

.. math:: x'_{ij} = \operatorname{clip}\big(x_{ij} + \Delta \sin(2 \pi j f / m)\big), \qquad \Delta = 40/255,\; f = 6,

the same for every row and channel, at the same strength in training and test. At a ratio of 10 % on CIFAR-10 **every**
image of the target class is poisoned, so the model hardly knows that class without the signal: clean accuracy drops by
most of one class, and every defense that trains on clean images wins it back.

Differences from the benchmark: none known.

Introduced in notebook 05.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from paperlib.attacks import check_batch


@dataclass(frozen=True)
class SIG:
    """Hyper-parameters; defaults: BackdoorBench."""

    delta: float = 40 / 255
    """Amplitude, in units of the pixel range."""
    frequency: float = 6.0
    """Periods over the width of the image."""
    labels: str = "clean"

    def __call__(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) in [0, 1] plus the signal, clipped."""
        check_batch(x)
        width = x.shape[-1]
        column = torch.arange(width, dtype=x.dtype, device=x.device)
        return (x + self.delta * torch.sin(2 * math.pi * self.frequency * column / width)).clamp(0, 1)
