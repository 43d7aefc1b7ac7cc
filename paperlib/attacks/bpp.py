r"""BPP: the image with fewer colours.

Wang, Zhai, Ma, "BppAttack: Stealthy and Efficient Trojan Attacks against Deep Neural Networks via Image Quantization
and Contrastive Adversarial Learning", CVPR 2022 (arXiv 2205.13383), in the setting of BackdoorBench: every colour
channel is rounded to n = 8 grey levels (3 bits),

.. math:: x' = \frac{\operatorname{round}\big((n - 1)\, x\big)}{n - 1}, \qquad x \in [0, 1]

*Negatives.* So that the classifier learns the quantisation and not that there is some noise, as many images get the
quantisation residual x'_j - x_j of **another** image j, and keep their label.

Where ASR stays low. The trigger moves a pixel by up to 18 of 255 grey levels, and after 100 epochs the benchmark's ASR
is 99.8 %; but negatives hold it back, since their pixels move as far, and a short training may end before the two are
told apart. What raises ASR: more epochs, smaller ``levels``, a smaller ``cross_ratio``.

Differences from the benchmark
1. ``cross_ratio`` counts negatives per poisoned image; the benchmark's share of the whole batch (0.1) is the same at
   its main ratio of 10 %.
2. The residuals of negatives come from the same batch.
3. No Floyd-Steinberg dithering (the benchmark's default too; the paper's own code offers it).
4. Augmentation after the trigger and the classifier's schedule are the scale's, as for WaNet.

Introduced in notebook 05.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from paperlib.attacks import check_batch
from paperlib.attacks.training_control import Mixed, others
from paperlib.errors import PaperlibError


@dataclass(frozen=True)
class BPP(Mixed):
    """Hyper-parameters; defaults: BackdoorBench."""

    levels: int = 8
    """Grey levels that are left in every channel, 0 and 255 included."""
    cross_ratio: float = 1.0
    """Negatives per poisoned image."""
    labels: str = "all_to_one"

    def __post_init__(self) -> None:
        if not 2 <= self.levels <= 256:
            raise PaperlibError(f"levels={self.levels!r} must lie between 2 and 256 grey levels.")
        if self.cross_ratio < 0:
            raise PaperlibError(f"cross_ratio={self.cross_ratio!r} must be 0 or more.")

    def __call__(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) in [0, 1], quantised."""
        check_batch(x)
        return (x * (self.levels - 1)).round() / (self.levels - 1)

    def cross(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Images (B, C, H, W) in [0, 1] plus the quantisation residual of another image of the batch, clipped.

        ``generator`` is not needed: the batch is shuffled already.
        """
        other = others(x)
        return (x + self(other) - other).clamp(0, 1)
