r"""CTRL: two high frequencies in the colour of an image; labels stay clean.

Li et al., "An Embarrassingly Simple Backdoor Attack on Self-supervised Learning", ICCV 2023 (arXiv 2210.07346), in the
setting of BackdoorBench (arXiv 2206.12654), which trains a classifier on labels. With D the orthonormal DCT-II of the
whole image,

.. math:: U' = D^{-1}(D(U) + M), \qquad V' = D^{-1}(D(V) + M), \qquad M_{15,15} = M_{31,31} = 100,\ \text{else } 0,

in grey levels of the YUV image, then back to RGB and clipped; the same strength in training and test. The benchmark
poisons 5 % of the training set, all of the target class.

Differences from the benchmark
1. The change is computed once and added (:mod:`paperlib.attacks.chroma`); the original rounds to 8 bits between the
   steps.
2. Images below 32 pixels do not have these coefficients: there they keep their place in the spectrum, (7, 7) and (15,
   15) at 16 pixels. Larger images use (15, 15) and (31, 31) of the whole image, as the benchmark does.

Introduced in notebook 07.
"""

from dataclasses import dataclass

from torch import Tensor

from paperlib.attacks import check_batch
from paperlib.attacks.chroma import add_colour, cosines

U, V = 0.492, 0.877
"""U = 0.492 (B - Y) and V = 0.877 (R - Y): the colour channels of YUV (ITU-R BT.601)."""


@dataclass(frozen=True)
class CTRL:
    """Hyper-parameters; defaults: BackdoorBench."""

    magnitude: float = 100.0
    """What is added to a coefficient, in grey levels of 255."""
    coefficients: tuple[int, ...] = (15, 31)
    """Each k stands for coefficient (k, k) of an image of 32 pixels."""
    labels: str = "clean"

    def __call__(self, x: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] with the two frequencies, clipped."""
        check_batch(x)
        pattern = cosines(x.shape[-2], x.shape[-1], tuple(self.coefficients), self.magnitude)
        return add_colour(x, pattern, blue=U, red=V, attack="CTRL")
