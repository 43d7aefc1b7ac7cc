r"""What CTRL and FTrojan share: cosines in the colour of an image.

Both attacks turn the image into brightness and two colour channels, take a discrete cosine transform (DCT-II,
orthonormal) of the colour channels, add a constant to some coefficients, and go all the way back. Every step is linear,
so the way there and back adds the same picture to every image: with
:math:`c_k(i) = \sqrt{2/n}\,\cos(\pi (2i + 1) k / 2n)` the basis function of coefficient k > 0 (:math:`\sqrt{1/n}` for k
= 0), blue and red colour channels :math:`b (B - Y)` and :math:`r (R - Y)` and brightness
:math:`Y = 0.299 R + 0.587 G + 0.114 B` (ITU-R BT.601), the image changes by

.. math:: P_{ij} = m \sum_k c_k(i)\, c_k(j), \qquad dB = P / b,\quad dR = P / r,\quad dG = -(0.299\, dR + 0.114\, dB) /
   0.587 .

That is computed once; a test compares it with the long way.
"""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from paperlib.errors import PaperlibError

SIDE = 32
"""Pixels of the images for which the papers chose their coefficients."""


def basis(k: int, n: int) -> np.ndarray:
    """Basis function k (n,) of the orthonormal DCT-II of length n."""
    return np.sqrt((1 if k == 0 else 2) / n) * np.cos(np.pi * (2 * np.arange(n) + 1) * k / (2 * n))


def fitting(k: int, n: int) -> int:
    """Coefficient ``k`` of a window of 32 pixels, moved to one of ``n``: smaller windows have fewer coefficients.

    Below 32 pixels it keeps its place in the spectrum (31 of 32, the last, stays the last: 15 of 16); from 32 pixels on
    it stays as it is.
    """
    return k if n >= SIDE else max(0, round((k + 1) * n / SIDE) - 1)


@lru_cache
def cosines(height: int, width: int, coefficients: tuple[int, ...], magnitude: float) -> np.ndarray:
    """The picture P (height, width): the inverse DCT of ``magnitude`` at every (k, k) of ``coefficients``.

    Raises
    ------
    PaperlibError
        A coefficient that a window of this size does not have.
    """
    out = np.zeros((height, width))
    for k in coefficients:
        rows, columns = fitting(k, height), fitting(k, width)
        if not (0 <= rows < height and 0 <= columns < width):
            raise PaperlibError(f"coefficients={coefficients!r} must lie in 0 to {min(height, width, SIDE) - 1} here.")
        out += magnitude * np.outer(basis(rows, height), basis(columns, width))
    return out


def add_colour(x: Tensor, pattern: np.ndarray, *, blue: float, red: float, attack: str) -> Tensor:
    """Images (B, 3, H, W) in [0, 1] plus ``pattern`` (H, W), in grey levels, in both colour channels; clipped.

    Parameters
    ----------
    blue, red
        The factors b and r that define the colour channels.
    attack
        Who asks, for the message.

    Raises
    ------
    PaperlibError
        Images that are not RGB.
    """
    if x.shape[1] != 3:
        raise PaperlibError(
            f"{attack} changes the colour of an image; x has {x.shape[1]} channel(s), it needs 3 (RGB)."
        )
    d_red, d_blue = pattern / red, pattern / blue
    d_green = -(0.299 * d_red + 0.114 * d_blue) / 0.587
    change = np.stack([d_red, d_green, d_blue]) / 255
    return (x + torch.as_tensor(change, dtype=x.dtype, device=x.device)).clamp(0, 1)
