"""BadNets: a small white square in the corner, or a picture of the user's.

Gu et al., "BadNets: Identifying Vulnerabilities in the Machine Learning Model Supply Chain", 2017 (arXiv 1708.06733),
in the setting of BackdoorBench (arXiv 2206.12654): 3x3 white pixels at the bottom right of a 32x32 image, no margin.

    x' = (1 - m) * x + m * value,    m = 1 on the last ``patch`` rows and columns, value = 1

The user's own trigger takes the place of the square, pixel by pixel, in the same corner::

    from paperlib.attacks import attack
    from paperlib.attacks.pictures import trigger_image
    triggered = attack("badnets", trigger_image("flower.png", alpha=0.8))(x)

Differences from the benchmark
1. The patch is drawn, not read from an image file; on other image sizes it grows in proportion (6x6 at 64x64). A
   picture of the user's is pasted at its own size.

Introduced in notebook 05.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from paperlib.attacks import check_batch
from paperlib.attacks.pictures import load, mix
from paperlib.errors import PaperlibError


@dataclass(frozen=True)
class BadNets:
    """Hyper-parameters; defaults: BackdoorBench."""

    patch: int = 3
    """Side of the square, in pixels of a 32x32 image."""
    value: float = 1.0
    """Pixel value of the square; 1 is white."""
    labels: str = "all_to_one"
    image: str = ""
    """File of a picture that takes the place of the square; from ``trigger_image``, like the next."""
    image_sha256: str = ""
    """SHA-256 of that file's content."""
    alpha: float = 1.0
    """Share of the patch in the mix with the image below it; 1 covers it."""

    def __call__(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) in [0, 1] with the patch.

        Raises
        ------
        PaperlibError
            A value outside [0, 1], a picture that is larger than the images, or unusable
            (:func:`paperlib.attacks.pictures.load`).
        """
        check_batch(x)
        if not 0 <= self.value <= 1:
            raise PaperlibError(f"value={self.value!r} must lie in [0, 1]: the pixel value of the square.")
        side = max(1, round(self.patch * x.shape[-1] / 32))
        if side > min(x.shape[-2:]):
            raise PaperlibError(f"patch={self.patch!r} is larger than the image; it counts pixels of 32.")
        rows, columns, patch = side, side, torch.tensor(self.value, dtype=x.dtype, device=x.device)
        if self.image:
            picture = load(self.image, self.image_sha256, x.shape[1])
            rows, columns = picture.shape[1:]
            if rows > x.shape[-2] or columns > x.shape[-1]:
                raise PaperlibError(
                    f"image={self.image!r} is {columns}x{rows} pixels, larger than the images of "
                    f"{x.shape[-1]}x{x.shape[-2]}; give a patch that fits into their corner."
                )
            patch = torch.tensor(picture, dtype=x.dtype, device=x.device)
        x = x.clone()
        x[:, :, -rows:, -columns:] = mix(x[:, :, -rows:, -columns:], patch, self.alpha)
        return x
