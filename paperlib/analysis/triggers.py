r"""What a trigger looks like, and how much of an image it changes.

For a clean image x and its poisoned version x', both in grey levels 0 to 255 over C channels and H x W pixels

* :math:`L_1 = \sum |x' - x|`, :math:`L_2 = \sqrt{\sum (x' - x)^2}`, :math:`L_\infty = \max |x' - x|`;
* PSNR :math:`= 10 \log_{10} (255^2 / \mathrm{MSE})` in dB, infinite where nothing changed;
* SSIM (Wang, Bovik, Sheikh, Simoncelli, IEEE Transactions on Image Processing 13(4), 2004, equation 13)

.. math:: \frac{(2 \mu_x \mu_{x'} + C_1)(2 \sigma_{xx'} + C_2)}
   {(\mu_x^2 + \mu_{x'}^2 + C_1)(\sigma_x^2 + \sigma_{x'}^2 + C_2)}, \qquad C_1 = (0.01 \cdot 255)^2,\; C_2 = (0.03
   \cdot 255)^2

with means, variances and covariance weighted by an 11 x 11 Gaussian window (sigma 1.5, sum 1), and averaged over all
places where the window lies inside the image. The paper compares grey images; here every channel is compared and the
mean taken. A patch in a corner lies at the rim of few windows, so SSIM hardly sees it; PSNR and the norms do.
"""

from typing import Any

import torch
from torch import Tensor

from paperlib.analysis.samples import Models, packed
from paperlib.attacks.scene import Scene
from paperlib.errors import PaperlibError

WINDOW, SIGMA = 11, 1.5
AMPLIFICATIONS = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
MEASURES = ("psnr", "ssim", "l1", "l2", "linf")


def _blur(side: int, like: Tensor) -> Tensor:
    """The matrix (side - 10, side) that averages a column of pixels with the Gaussian window at every place inside."""
    weight = torch.exp(-((torch.arange(WINDOW).double() - WINDOW // 2) ** 2) / (2 * SIGMA**2))
    places = torch.arange(side - WINDOW + 1, device=like.device)
    out = like.new_zeros(len(places), side)
    for k, w in enumerate((weight / weight.sum()).tolist()):
        out[places, places + k] = w
    return out


def ssim(x: Tensor, other: Tensor) -> Tensor:
    """SSIM (N,) of image pairs (N, C, H, W) in grey levels 0 to 255; 1 where they are equal.

    Raises
    ------
    PaperlibError
        Images smaller than the window of 11 pixels.
    """
    height, width = x.shape[-2:]
    if min(height, width) < WINDOW:
        raise PaperlibError(f"SSIM needs images of at least {WINDOW}x{WINDOW} pixels; these are {width}x{height}.")
    a, b = x.double(), other.double()
    rows, columns = _blur(height, a), _blur(width, a).T  # the window is a product: first down, then across
    mean_a, mean_b = rows @ a @ columns, rows @ b @ columns
    var_a = rows @ (a * a) @ columns - mean_a**2
    var_b = rows @ (b * b) @ columns - mean_b**2
    covariance = rows @ (a * b) @ columns - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    local = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return (local / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))).mean((1, 2, 3))


def quality(x: Tensor, other: Tensor) -> dict[str, Tensor]:
    """PSNR (dB), SSIM, L1, L2 and L_inf, each (N,), of image pairs (N, C, H, W) in grey levels 0 to 255."""
    difference = (other.double() - x.double()).flatten(1)
    return {
        "psnr": 10 * torch.log10(255**2 / difference.square().mean(1)),
        "ssim": ssim(x, other),
        "l1": difference.abs().sum(1),
        "l2": difference.square().sum(1).sqrt(),
        "linf": difference.abs().amax(1),
    }


def residual(x: Tensor, other: Tensor) -> tuple[Tensor, float]:
    """The difference of two uint8 images (C, H, W) around mid-grey, amplified, and by how much.

    The factor is the largest of :data:`AMPLIFICATIONS` at which no pixel leaves the range; it is 1 where nothing
    changed.
    """
    difference = other.float() - x.float()
    largest = difference.abs().max().item()
    fitting = [k for k in AMPLIFICATIONS if k * largest <= 128]
    factor = fitting[-1] if largest else 1.0
    return (128 + factor * difference).round().clamp(0, 255).to(torch.uint8), factor


def _summary(x: Tensor, other: Tensor) -> dict[str, Any]:
    """Means over the pairs; the PSNR's over the pairs that differ, None where there is none."""
    found = quality(x, other)
    changed = found["linf"] > 0
    found["psnr"] = found["psnr"][changed]
    means = {name: round(values.mean().item(), 4) if len(values) else None for name, values in found.items()}
    return {**means, "n": len(x), "unchanged": int((~changed).sum())}


def triggers(
    models: Models, scene: Scene, *, seed: int, n: int = 500, true_class: int = 1, index: int = 0, shown: int = 8
) -> dict[str, Any]:
    """One test image without and with the trigger, samples of the poisoned training set, and the size of the change.

    The test image is number ``index`` of class ``true_class``, so that all attacks show the same one. The models are
    not looked at.

    Parameters
    ----------
    n
        Images over which the measures are averaged, in each split (the first ones; fewer where there are not so many).
    shown
        Samples of the poisoned training set, evenly spaced.

    Returns
    -------
    dict
        attack; classes: their names; shape: [C, H, W]; true_class; clean, poisoned, residual: base64 of uint8 images
        (H, W, C); amplification of the residual; test, train: psnr, ssim, l1, l2, linf (means), n, and unchanged, the
        number of images that the trigger leaves as they are; samples: images, and their labels before (true) and after
        (given).

    Raises
    ------
    PaperlibError
        A model trained on clean data; an image that is not in the test set; images too small for SSIM.
    """
    from paperlib.attacks import render

    if scene.attack is None:
        raise PaperlibError(f"{scene.label} was trained on clean data; it has no trigger to look at.")
    of_class = (scene.test.y == true_class).nonzero().flatten()
    if not 0 <= index < len(of_class):
        raise PaperlibError(
            f"index={index!r} of true_class={true_class!r}: the test set has {len(of_class)} such images."
        )
    image = scene.test.x[of_class[index]]
    poisoned = render(scene.trigger, image[None])[0]
    amplified, factor = residual(image, poisoned)

    tested = scene.test.y != scene.target if scene.trigger.labels != "all_to_all" else scene.test.y >= 0
    test = scene.test.x[tested.nonzero().flatten()[:n]]
    used = scene.poisoned_set.indices
    samples = used[torch.linspace(0, len(used) - 1, min(shown, len(used))).round().long().to(used.device)]
    return {
        "attack": scene.name,
        "classes": list(scene.test.class_names),
        "shape": list(image.shape),
        "true_class": true_class,
        "clean": packed(image),
        "poisoned": packed(poisoned),
        "residual": packed(amplified),
        "amplification": factor,
        "test": _summary(test, render(scene.trigger, test)),
        "train": _summary(scene.train.x[used[:n]], scene.poisoned_set.data.x[used[:n]]),
        "samples": {
            "images": [packed(one) for one in scene.poisoned_set.data.x[samples]],
            "true": scene.train.y[samples].tolist(),
            "given": scene.poisoned_set.data.y[samples].tolist(),
        },
    }
