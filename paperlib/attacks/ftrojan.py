r"""FTrojan: two frequencies in the colour of every window of an image.

Wang et al., "An Invisible Black-box Backdoor Attack through Frequency Domain", ECCV 2022 (arXiv 2111.10991), in the
setting of BackdoorBench (arXiv 2206.12654). The image is cut into windows of 32 pixels; with D the orthonormal DCT-II
of a window, each colour channel of the YCrCb image becomes

.. math:: D^{-1}(D(\cdot) + M), \qquad M_{15,15} = M_{31,31} = 30,\ \text{else } 0,

in grey levels, then back to RGB; the same in training and test. An image of 32 pixels is one window.

Differences from the benchmark
1. The change is computed once and added (:mod:`paperlib.attacks.chroma`); the original rounds to 8 bits between the
   steps.
2. Values outside 0..255 are clipped; the original does not clip.
3. Images below 32 pixels are one window of their own size, where the coefficients keep their place in the spectrum: (7,
   7) and (15, 15) at 16 pixels.

Introduced in notebook 07.
"""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from paperlib.attacks import check_batch
from paperlib.attacks.chroma import add_colour, cosines
from paperlib.errors import PaperlibError

CB, CR = 0.564, 0.713
"""Cb = 0.564 (B - Y) + 128 and Cr = 0.713 (R - Y) + 128: the colour channels as OpenCV computes them."""


@dataclass(frozen=True)
class FTrojan:
    """Hyper-parameters; defaults: BackdoorBench."""

    magnitude: float = 30.0
    """What is added to a coefficient, in grey levels of 255."""
    coefficients: tuple[int, ...] = (15, 31)
    """Each k stands for coefficient (k, k) of a window of 32 pixels."""
    window: int = 32
    """Side of the windows, in pixels."""
    labels: str = "all_to_one"

    def __call__(self, x: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] with the two frequencies in every window, clipped.

        Raises
        ------
        PaperlibError
            Sides above ``window`` that it does not divide; images that are not RGB.
        """
        check_batch(x)
        height, width = x.shape[-2:]
        rows, columns = min(self.window, height), min(self.window, width)
        if self.window < 1 or height % rows or width % columns:
            raise PaperlibError(
                f"window={self.window!r} does not divide an image of {height}x{width} pixels; "
                "sides must be at most the window or a multiple of it."
            )
        pattern = cosines(rows, columns, tuple(self.coefficients), self.magnitude)
        pattern = np.tile(pattern, (height // rows, width // columns))
        return add_colour(x, pattern, blue=CB, red=CR, attack="FTrojan")
