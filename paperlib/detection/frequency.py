r"""Frequency: triggers leave traces in the discrete cosine transform.

Zeng, Park, Mao, Jia, "Rethinking the Backdoor Attacks' Triggers: A Frequency Perspective", ICCV 2021 (arXiv
2104.03413). A small convolutional network tells the spectra of clean images from those of images with random synthetic
triggers; a training image whose spectrum it takes for a triggered one is flagged. It never sees an attack's own
trigger, a label, or the classifier.

The spectrum is the orthonormal DCT of each channel of an image in 0 to 255,

.. math:: X_{uv} = c_u c_v \sum_{ij} x_{ij} \cos\frac{\pi (2i + 1) u}{2H} \cos\frac{\pi (2j + 1) v}{2W},

and the network has six 3x3 convolutions (32, 32, 64, 64, 128, 128) with ELU and batch norm, pooling and dropout (0.2,
0.3, 0.4) after every second. The score is its probability of a trigger.

Each of five kinds of synthetic trigger is drawn with probability 1/5; sizes are those of images of 32 pixels, and grow
with the image: a rectangle of 2 to 7 pixels a side, 0 to 5 pixels from both edges of a corner, white or of uniform
noise; Gaussian noise of mean +25 and variance 10 to 70 grey levels; one or two shadows, random polygons of five corners
in the lower half in which the lightness is halved; another training image times 0.3, added to the image. The authors'
code and ours agree on the DCT to rounding, and on what can be measured of their examples of each kind
(github.com/YiZeng623/frequency-backdoor).

Differences from the paper
1. Trained on the clean subset, flipped at random where the data set is, with new triggers for every batch. The
   published weights have seen CIFAR-10's training set, every image with five triggers, ten times each: about 78,000
   steps. They flag 83, 88 and 62 % of our BadNets, Blended and SIG images and 3.6 % of the clean ones.
2. ``logarithm`` shows the network :math:`\mathrm{sign}(X) \log(1 + |X|)` instead of X, which the code gives it raw:
   with few images the first coefficient, a thousand times the others, hides them. At laptop scale (500 clean images,
   360 steps of Adadelta at lr 1, one seed) it flags 68 % of BadNets' images, 89 % of Blended's with the cartoon, 11 %
   with the smooth random picture and 33 % of SIG's, and 6 % of the clean ones it has not seen (2 % of those it has).
   Without flips and with 240 steps it is 76, 97, 17, 44 and 13 %. What is missing on SIG is images: the network knows
   500 by heart. At the threshold that flags 14 % of unseen clean images it finds 80 % of BadNets, 99 % of the cartoon
   and 51 % of SIG; with 5,000 clean images and about as many steps 72 % of SIG at an FPR of 26, with 1,170 steps 52 %
   at 7, with 20,000 images and 1,248 steps 77 % at 18 (BadNets 88, cartoon 98; one seed each).

Introduced in notebook 01.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paperlib.attacks.chroma import basis
from paperlib.data.images import ImageData
from paperlib.detection import Detection
from paperlib.errors import PaperlibError
from paperlib.models.features import batch_logits
from paperlib.training import Progress, augment, autocast, seeded


@dataclass(frozen=True)
class Frequency:
    """Hyper-parameters; defaults: the published code's (epochs: ours)."""

    epochs: int = 100
    """Passes over the clean subset."""
    batch_size: int = 64
    """Clean images per step; as many triggered ones join them."""
    lr: float = 0.05
    """Of Adadelta."""
    penalty: float = 1e-4
    """Of the squared kernels of the convolutions, and of nothing else."""
    logarithm: bool = False
    """Whether the network sees logarithms of the coefficients."""
    threshold: float = 0.5
    """Probability of a trigger above which an image is flagged."""


def dct_matrix(n: int) -> Tensor:
    """The orthonormal matrix (n, n) of the cosine transform of type II, float32."""
    return torch.from_numpy(np.stack([basis(k, n) for k in range(n)])).float()


def spectrum(x: Tensor) -> Tensor:
    """DCT (B, C, H, W) of images (B, C, H, W) in [0, 1], in units of pixel values 0 to 255."""
    rows, columns = dct_matrix(x.shape[2]).to(x.device), dct_matrix(x.shape[3]).to(x.device)
    with torch.autocast(x.device.type, enabled=False):  # in bfloat16 the small coefficients would drown
        return rows @ (255 * x.float()) @ columns.T


def rectangle(x: Tensor, fill: Tensor, generator: torch.Generator) -> Tensor:
    """Images with ``fill`` in a rectangle near a corner."""
    b, _, h, w = x.shape

    def side(n: int) -> Tensor:
        """(B, n) bool: a few pixels near one end of a line of n pixels."""
        least, most, away = max(1, 2 * n // 32), max(1, 7 * n // 32), 5 * n // 32
        length = torch.randint(least, most + 1, (b, 1), generator=generator, device=x.device)
        first = torch.randint(away + 1, (b, 1), generator=generator, device=x.device)
        far = torch.rand(b, 1, generator=generator, device=x.device) < 0.5
        at = torch.arange(n, device=x.device)
        at = torch.where(far, n - 1 - at, at)
        return (at >= first) & (at < first + length)

    return torch.where((side(h)[:, :, None] & side(w)[:, None])[:, None], fill, x)


def white_block(x: Tensor, others: Tensor, generator: torch.Generator) -> Tensor:
    """A white rectangle near a corner."""
    return rectangle(x, torch.ones_like(x), generator)


def random_block(x: Tensor, others: Tensor, generator: torch.Generator) -> Tensor:
    """The same of uniform noise."""
    return rectangle(x, torch.rand(x.shape, generator=generator, device=x.device), generator)


def gaussian_noise(x: Tensor, others: Tensor, generator: torch.Generator) -> Tensor:
    """Brighter by 25 grey levels, with noise."""
    variance = 10 + 60 * torch.rand(len(x), 1, 1, 1, generator=generator, device=x.device)
    noise = torch.randn(x.shape, generator=generator, device=x.device)
    return (x + (25 + variance.sqrt() * noise) / 255).clamp(0, 1)


def shadow(x: Tensor, others: Tensor, generator: torch.Generator) -> Tensor:
    """One or two random polygons of five corners in the lower half, with half the lightness."""
    b, _, h, w = x.shape
    row = (torch.arange(h, device=x.device) + 0.5).view(1, h, 1)
    column = (torch.arange(w, device=x.device) + 0.5).view(1, 1, w)
    dark = torch.zeros(b, h, w, dtype=torch.bool, device=x.device)
    for number in range(2):
        corners = torch.rand(b, 5, 2, generator=generator, device=x.device)
        inside = torch.zeros_like(dark)
        for k in range(5):  # a ray to the right crosses an odd number of edges
            (top, left), (bottom, right) = (
                (h * (1 + end[:, 0]).view(b, 1, 1) / 2, w * end[:, 1].view(b, 1, 1))
                for end in (corners[:, k], corners[:, (k + 1) % 5])
            )
            crossing = left + (row - top) * (right - left) / (bottom - top)
            inside ^= ((row < top) != (row < bottom)) & (column < crossing)
        there = torch.rand(b, 1, 1, generator=generator, device=x.device) < 0.5 if number else True
        dark |= inside & there
    high, low = x.amax(1, keepdim=True), x.amin(1, keepdim=True)
    light = (high + low) / 2
    # hue and saturation stay: the channels' distances from the lightness shrink as the largest possible one does
    room, less = torch.minimum(light, 1 - light).clamp_min(1e-6), light / 2
    return torch.where(dark[:, None], (less + (x - light) * less / room).clamp(0, 1), x)


def added(x: Tensor, others: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Another image times 0.3 on top."""
    return (x + 0.3 * others).clamp(0, 1)


TRIGGERS = {
    "white_block": white_block, "random_block": random_block, "gaussian_noise": gaussian_noise, "shadow": shadow,
    "blend": added,
}  # fmt: skip
"""Kind of synthetic trigger -> ``(x, others, generator) -> x with the trigger``, all images (B, C, H, W) in [0, 1]."""


def triggered(x: Tensor, generator: torch.Generator, pool: Tensor | None = None) -> Tensor:
    """Images (B, C, H, W) in [0, 1], each with one random synthetic trigger, in [0, 1]; ``pool`` has the uint8 images
    that are added."""
    kind = torch.randint(len(TRIGGERS), (len(x),), generator=generator, device=x.device)
    from_ = torch.randint(len(x if pool is None else pool), (len(x),), generator=generator, device=x.device)
    others, out = x[from_] if pool is None else pool[from_].float().div_(255), x.clone()
    for k, make in enumerate(TRIGGERS.values()):
        mine = kind == k
        if mine.any():
            out[mine] = make(x[mine], others[mine], generator)
    return out


class SpectrumNet(nn.Module):
    """The classifier of spectra: images (B, C, H, W) in [0, 1] -> logits (B, 2), clean or triggered."""

    def __init__(self, channels: int, height: int, width: int, logarithm: bool = False) -> None:
        super().__init__()
        self.logarithm = logarithm
        layers: list[nn.Module] = []
        before = channels
        for out, drop in ((32, 0.2), (64, 0.3), (128, 0.4)):
            for into in (before, out):
                layers += [nn.Conv2d(into, out, 3, padding=1), nn.ELU(), nn.BatchNorm2d(out)]
            layers += [nn.MaxPool2d(2), nn.Dropout(drop)]
            before = out
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(128 * (height // 8) * (width // 8), 2))

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the images whose spectra are seen."""
        coefficients = spectrum(x)
        return self.layers(coefficients.sign() * coefficients.abs().log1p() if self.logarithm else coefficients)


def trained(clean: ImageData, config: Frequency, seed: int, progress: Progress = None) -> SpectrumNet:
    """A classifier of spectra that has learned from ``clean`` and random triggers on it."""
    device, n = clean.x.device, len(clean)
    generator = torch.Generator(device).manual_seed(seed)
    with seeded(seed, device):
        channels, height, width = clean.x.shape[1:]
        net = SpectrumNet(channels, height, width, config.logarithm).to(device).to(memory_format=torch.channels_last)
        kernels = [p for p in net.parameters() if p.ndim == 4]
        others = [p for p in net.parameters() if p.ndim != 4]
        # the gradient of the penalty is twice the kernel
        groups: list[dict[str, Any]] = [{"params": kernels, "weight_decay": 2 * config.penalty}, {"params": others}]
        optimizer = torch.optim.Adadelta(groups, config.lr, rho=0.95, eps=1e-7)
        for epoch in range(config.epochs):
            for index in torch.randperm(n, generator=generator, device=device).split(config.batch_size):
                x = augment(clean.x[index], 0, clean.flip, generator).float().div_(255)
                both = torch.cat([x, triggered(x, generator, clean.x)])
                wanted = torch.arange(2, device=device).repeat_interleave(len(x))
                with autocast(device):
                    loss = F.cross_entropy(net(both).float(), wanted)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
            if progress:
                progress((epoch + 1) / config.epochs, f"epoch {epoch + 1}/{config.epochs} loss {loss.item():.3f}")
    return net.eval()


def frequency(
    data: ImageData,
    model: nn.Module | None,
    clean: ImageData,
    config: Frequency,
    *,
    seed: int = 0,
    progress: Progress = None,
) -> Detection:
    """Triggers in the spectra of the training set ``data``; no classifier is looked at.

    Raises
    ------
    PaperlibError
        No epoch, or images of fewer than 8 pixels, which three poolings leave nothing of.
    """
    if config.epochs < 1:
        raise PaperlibError(f"epochs={config.epochs!r} must be at least 1.")
    if min(data.x.shape[2:]) < 8:
        raise PaperlibError(f"data has images of shape {tuple(data.x.shape[1:])}; they need at least 8 pixels a side.")
    net = trained(clean, config, seed, progress)
    scores = torch.cat([batch_logits(net, part.float().div(255)).softmax(1)[:, 1] for part in data.x.split(500)])
    return Detection(scores, scores > config.threshold, {"threshold": config.threshold})
