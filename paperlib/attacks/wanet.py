r"""WaNet: the image is warped a little, the same way every time.

Nguyen and Tran, "WaNet - Imperceptible Warping-based Backdoor Attack", ICLR 2021 (arXiv 2102.10369), in the setting of
BackdoorBench (arXiv 2206.12654). Control points on a k x k grid are moved at random, once for the whole attack:

.. math::
   P = \frac{U}{\operatorname{mean}|U|}, \quad U \sim \mathcal U[-1, 1]^{2 \times k \times k}, \qquad
   M = \uparrow\!P \text{ (bicubic)}, \qquad
   x' = \operatorname{sample}\Big(x,\; \operatorname{clip}_{[-1, 1]}\big(I + s\, M / H\big)\Big)

where I is the identity grid on [-1, 1] x [-1, 1] and H the height of the image; sampling is bilinear. With s = 0.5 and
the default field the image moves by a quarter of a pixel on average and by two thirds of a pixel at most, whatever its
size.

*Noise mode.* So that the classifier learns this warp and not that an image was resampled, ``cross_ratio`` times as many
images are warped by M plus fresh noise of every pixel, U(-1, 1) / H, and keep their label.

Where ASR stays low. A warp by a fraction of a pixel is the weakest trigger of the benchmark (12.6 % at a ratio of 1 %,
89.7 % at 10 %, after 100 epochs), noise mode holds it back, and the classifier must be good before it can see it at
all: few epochs end before that. What raises ASR, in this order: more epochs, a larger ``s``, a smaller ``cross_ratio``.

Differences from the benchmark
1. The field depends on ``trigger_seed`` and not on the seed of the run, because it is part of the trigger.
2. Augmentation after the warp is the data set's crop and flip, as for every other attack; the benchmark's WaNet crops
   by 5 pixels with probability 0.8 and rotates by up to 10 degrees with probability 0.5.
3. The classifier's schedule is the scale's; the benchmark keeps the rate constant.
4. ``round(ratio * B)`` varies so that its mean is exact (see :mod:`paperlib.attacks.training_control`).

Introduced in notebook 05.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from paperlib.attacks import check_batch
from paperlib.attacks.training_control import Mixed
from paperlib.errors import PaperlibError


@lru_cache
def field(height: int, width: int, k: int, seed: int) -> Tensor:
    """The smooth field M (1, H, W, 2), last axis (x, y); its k x k control points have mean absolute value 1."""
    uniform = np.random.default_rng(seed).uniform(-1, 1, (1, 2, k, k))
    points = torch.from_numpy(uniform / np.abs(uniform).mean()).float()
    return F.interpolate(points, (height, width), mode="bicubic", align_corners=True).permute(0, 2, 3, 1)


def identity(height: int, width: int) -> Tensor:
    """The grid (1, H, W, 2) at which sampling returns the image itself."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    return torch.stack([x, y], -1).unsqueeze(0)


@dataclass(frozen=True)
class WaNet(Mixed):
    """Hyper-parameters; defaults: the paper's for CIFAR-10, which are BackdoorBench's."""

    k: int = 4
    """Control points per side."""
    s: float = 0.5
    """Strength of the warp."""
    cross_ratio: float = 2.0
    """Images of the noise mode per poisoned image."""
    trigger_seed: int = 0
    """Which warp: part of the trigger, so it does not follow the run's seed."""
    labels: str = "all_to_one"

    def __post_init__(self) -> None:
        if self.k < 2:
            raise PaperlibError(f"k={self.k!r} must be at least 2 control points per side.")
        if self.cross_ratio < 0:
            raise PaperlibError(f"cross_ratio={self.cross_ratio!r} must be 0 or more.")

    def _grid(self, x: Tensor) -> Tensor:
        """The warped grid (1, H, W, 2), before it is clipped to the image."""
        height, width = x.shape[-2:]
        grid = identity(height, width) + self.s * field(height, width, self.k, self.trigger_seed) / height
        return grid.to(x.device, x.dtype)

    def __call__(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) in [0, 1], warped."""
        check_batch(x)
        return _sample(x, self._grid(x).expand(len(x), -1, -1, -1))

    def cross(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Images (B, C, H, W) in [0, 1] in noise mode: warped, and every pixel moved at random."""
        grid = self._grid(x)
        noise = torch.rand(len(x), *grid.shape[1:], generator=generator, device=x.device, dtype=x.dtype)
        return _sample(x, grid + (2 * noise - 1) / x.shape[-2])


def _sample(x: Tensor, grid: Tensor) -> Tensor:
    # clipped once more because interpolation weights may add up to a rounding error more than 1
    return F.grid_sample(x, grid.clamp(-1, 1), mode="bilinear", align_corners=True).clamp(0, 1)
