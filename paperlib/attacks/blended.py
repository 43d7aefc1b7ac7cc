r"""Blended: a whole picture, mixed in faintly.

Chen et al., "Targeted Backdoor Attacks on Deep Learning Systems Using Data Poisoning", 2017 (arXiv 1712.05526), in the
setting of BackdoorBench (arXiv 2206.12654):

.. math:: x' = (1 - \alpha) x + \alpha t, \qquad \alpha = 0.2 \text{ in training and test.}

Differences from the benchmark
1. The picture t. The benchmark blends a drawing of a protected figure, which is not ours to pass on. ``picture`` says
   what takes its place; on 5,000 CIFAR-10 test images, at alpha 0.2, in mean L2 norm of the change, brightness,
   near-white pixels of t and its power beyond radius 8:

   * ``benchmark``, the benchmark's own file: 5.19, +0.060, 45 %, 27 %
   * ``cartoon``, drawn here, flat shapes and outlines: 5.19, +0.059, 41 %, 34 %
   * ``random``, smooth, colourful, from a seed: 4.20, +0.004, 0 %, 0 %

   (near-white: at least 0.95 in every channel; power: share of the spectrum of t on 32x32 pixels). Over three
   victims each at laptop scale FT leaves an ASR of 93.1 with the cartoon (standard error 0.8) and left 83.2 (11.5) with
   the random one, FT-SAM leaves 49.5 (20.1) and left 14.4 (2.2); those of the random one by the version before.
   Notebook 05 has the table. ``benchmark`` needs ``paperlib data fetch pictures``, and is resized as the benchmark
   does, whatever its shape.
2. A picture of the user's own, scaled down to the images, takes its place where one is given::

    from paperlib.attacks import attack
    from paperlib.lab.spec import pairs
    triggered = attack("blended", pairs(picture="flower.png"))(x)

Introduced in notebook 05.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from paperlib.attacks import check_batch
from paperlib.attacks.pictures import PICTURES, benchmark, load, mix, trigger_image
from paperlib.errors import PaperlibError

INK = (0.05, 0.05, 0.1)
SUN, CLOUD, SEA, HULL, WHITE = (1, 0.85, 0.25), (1, 0.75, 0.82), (0.72, 0.9, 1), (1, 0.45, 0.42), (1, 1, 1)
BOAT: tuple[tuple[tuple[float, ...], float, tuple[float, ...], tuple[float, ...]], ...] = (
    (SEA, 0, (0, 1, 1, 0), (0.84, 0.84, 1, 1)),
    (SUN, 0.03, (0.17, 0.11), (0.18, 0.11)),
    (CLOUD, 0.025, (0.8, 0.13), (0.17, 0.07)),
    (WHITE, 0.025, (0.5, 0.5, 0.12), (0.06, 0.62, 0.62)),
    (WHITE, 0.025, (0.56, 0.56, 0.88), (0.14, 0.62, 0.62)),
    (HULL, 0.03, (0.08, 0.92, 0.8, 0.2), (0.69, 0.69, 0.86, 0.86)),
    *((WHITE, 0.025, (x, 0.05), (0.775, 0.05)) for x in (0.34, 0.5, 0.66)),
)
"""Colour, width of the outline, x and y of the corners, where there are two of each: centre and radius of an
ellipse."""


@lru_cache
def cartoon(channels: int, height: int, width: int, fine: int = 8) -> np.ndarray:
    """A boat on white (C, H, W) in [0, 1] in 8-bit steps, the mean of ``fine`` x ``fine`` points a pixel; grey unless C
    is 3."""
    y = ((np.arange(height * fine) + 0.5) / (height * fine))[:, None]
    x = ((np.arange(width * fine) + 0.5) / (width * fine))[None]
    out = np.ones((3, height * fine, width * fine))
    for colour, line, xs, ys in BOAT:
        if len(xs) == 2:
            grown, whole, shrunk = (
                ((x - xs[0]) / (xs[1] + g)) ** 2 + ((y - ys[0]) / (ys[1] + g)) ** 2 < 1
                for g in (line / 2, 0, -line / 2)
            )
            edge = grown & ~shrunk
        else:
            whole, squared = np.zeros(out.shape[1:], bool), np.full(out.shape[1:], np.inf)
            for ax, ay, bx, by in zip(xs, ys, xs[1:] + xs[:1], ys[1:] + ys[:1], strict=True):
                if ay != by:  # a ray to the right crosses this side
                    whole ^= ((y < ay) != (y < by)) & (x < ax + (y - ay) * (bx - ax) / (by - ay))
                along = ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / ((bx - ax) ** 2 + (by - ay) ** 2)
                along = along.clip(0, 1)
                squared = np.minimum(squared, (x - ax - along * (bx - ax)) ** 2 + (y - ay - along * (by - ay)) ** 2)
            edge = squared < (line / 2) ** 2
        out[:, whole], out[:, edge] = np.array(colour)[:, None], np.array(INK)[:, None]
    mean = out.reshape(3, height, fine, width, fine).mean((2, 4))
    if channels != 3:
        mean = np.broadcast_to(mean.mean(0), (channels, height, width))
    return np.round(mean * 255) / 255


@lru_cache
def random_picture(channels: int, height: int, width: int, seed: int) -> np.ndarray:
    """A smooth random picture (C, H, W) in [0, 1] in 8-bit steps, with full contrast in every channel; the same on
    every machine."""
    noise = np.random.default_rng(seed).standard_normal((channels, height, width))
    smooth = np.stack([gaussian_filter(c, 0.06 * height, mode="wrap") for c in noise])
    ranks = smooth.reshape(channels, -1).argsort(1).argsort(1) / (height * width - 1)  # every grey level as often
    return (np.round(ranks * 255) / 255).reshape(channels, height, width)


@dataclass(frozen=True)
class Blended:
    """Hyper-parameters; defaults: BackdoorBench."""

    alpha: float = 0.2
    """Share of the picture in the mix."""
    picture_seed: int = 0
    """Which random picture: part of the trigger, so it does not follow the run's seed."""
    labels: str = "all_to_one"
    image: str = ""
    """File of another picture; from ``trigger_image``, like the next."""
    image_sha256: str = ""
    """SHA-256 of that file's content."""
    picture: str = "cartoon"
    """One of :data:`paperlib.attacks.pictures.PICTURES`, or the path of a picture of your own."""

    def __post_init__(self) -> None:
        if self.picture not in PICTURES and not Path(self.picture).expanduser().is_file():
            raise PaperlibError(
                f"picture={self.picture!r} must be {', '.join(PICTURES)}, or the path of a PNG or JPEG file that is"
                " there."
            )

    def __call__(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) in [0, 1] mixed with the picture.

        Raises
        ------
        PaperlibError
            A picture that is unusable (:func:`paperlib.attacks.pictures.load`), or the benchmark's, which is not here;
            ``alpha`` outside [0, 1].
        """
        check_batch(x)
        channels, height, width = x.shape[1:]
        if self.image:
            trigger = load(self.image, self.image_sha256, channels, (height, width))
        elif self.picture == "cartoon":
            trigger = cartoon(channels, height, width)
        elif self.picture == "random":
            trigger = random_picture(channels, height, width, self.picture_seed)
        elif self.picture == "benchmark":
            trigger = benchmark(channels, (height, width))
        else:
            own = dict(trigger_image(self.picture))
            trigger = load(own["image"], own["image_sha256"], channels, (height, width))
        return mix(x, torch.tensor(trigger, dtype=x.dtype, device=x.device), self.alpha)
