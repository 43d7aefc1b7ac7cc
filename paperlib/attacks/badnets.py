"""BadNets: a small white square in the corner.

Gu et al., "BadNets: Identifying Vulnerabilities in the Machine Learning Model Supply Chain", 2017 (arXiv 1708.06733), in the
setting of BackdoorBench (arXiv 2206.12654): 3x3 white pixels at the bottom right of a 32x32 image, no margin.

    x' = (1 - m) * x + m,    m = 1 on the last ``patch`` rows and columns

Differences from the benchmark
1. The patch is drawn, not read from an image file; on other image sizes it grows in proportion (6x6 at 64x64).

Introduced in notebook 05.
"""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class BadNets:
    """Hyper-parameters; defaults: BackdoorBench."""

    patch: int = 3
    """Side of the square, in pixels of a 32x32 image."""
    labels: str = "all_to_one"

    def __call__(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) in [0, 1] with the square."""
        side = max(1, round(self.patch * x.shape[-1] / 32))
        x = x.clone()
        x[:, :, -side:, -side:] = 1.0
        return x
