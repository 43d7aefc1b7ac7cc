r"""Blended: a whole picture, mixed in faintly.

Chen et al., "Targeted Backdoor Attacks on Deep Learning Systems Using Data Poisoning", 2017 (arXiv 1712.05526), in the
setting of BackdoorBench (arXiv 2206.12654):

.. math:: x' = (1 - \alpha) x + \alpha t, \qquad \alpha = 0.2 \text{ in training and test.}

Differences from the benchmark
1. The picture t. The original blends a copyrighted cartoon; ours is a colourful smooth random image made from a seed (the
   same on every machine: it is computed with numpy's PCG64 and rounded to 8 bits). A picture of the user's own, scaled
   down to the images, takes its place where one is given::

    from paperlib.attacks import attack
    from paperlib.attacks.pictures import trigger_image
    triggered = attack("blended", trigger_image("flower.png"))(x)

Introduced in notebook 05.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from paperlib.attacks.pictures import load, mix


@lru_cache
def picture(channels: int, height: int, width: int, seed: int) -> np.ndarray:
    """A smooth random picture (C, H, W) in [0, 1] in 8-bit steps, with full contrast in every channel."""
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
    """Which picture: part of the trigger, so it does not follow the run's seed."""
    labels: str = "all_to_one"
    image: str = ""
    """File of another picture; from ``trigger_image``, like the next."""
    image_sha256: str = ""
    """SHA-256 of that file's content."""

    def __call__(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) in [0, 1] mixed with the picture.

        Raises
        ------
        PaperlibError
            A picture that is unusable (:func:`paperlib.attacks.pictures.load`), ``alpha`` outside [0, 1].
        """
        channels, height, width = x.shape[1:]
        if self.image:
            trigger = load(self.image, self.image_sha256, channels, (height, width))
        else:
            trigger = picture(channels, height, width, self.picture_seed)
        return mix(x, torch.tensor(trigger, dtype=x.dtype, device=x.device), self.alpha)
