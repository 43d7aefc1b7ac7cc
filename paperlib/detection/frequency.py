r"""Frequency: triggers leave traces in the discrete cosine transform.

Zeng, Park, Mao, Jia, "Rethinking the Backdoor Attacks' Triggers: A Frequency Perspective", ICCV 2021 (arXiv 2104.03413). A small
convolutional network tells the spectra of clean images from those of images with random synthetic triggers; a training image
whose spectrum it takes for a triggered one is flagged. It never sees an attack's own trigger, a label, or the classifier.

The spectrum is the orthonormal DCT of each channel of an image in 0 to 255,

.. math:: X_{uv} = c_u c_v \sum_{ij} x_{ij} \cos\frac{\pi (2i + 1) u}{2H} \cos\frac{\pi (2j + 1) v}{2W},

and the network has six 3x3 convolutions (32, 32, 64, 64, 128, 128) with ELU and batch norm, pooling and dropout (0.2, 0.3,
0.4) after every second. The score is its probability of a trigger.

Differences from the paper
1. Trained on the clean subset, with new triggers for every batch; the published weights were trained on CIFAR-10's training set.
2. The network sees :math:`\mathrm{sign}(X) \log(1 + |X|)`: with few images the first coefficient, a thousand times the others,
   hides them.
3. The synthetic triggers (patches of noise or of one colour, additive noise, blended images, shadows) are drawn from ranges of our
   own; their number of epochs is ours, too.

Introduced in notebook 01.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paperlib.attacks.chroma import basis
from paperlib.data.images import ImageData
from paperlib.detection import Detection
from paperlib.errors import PaperlibError
from paperlib.models.features import batch_logits
from paperlib.training import Progress, autocast, seeded


@dataclass(frozen=True)
class Frequency:
    """Hyper-parameters; defaults: the published code's (epochs: ours)."""

    epochs: int = 100
    """Passes over the clean subset."""
    batch_size: int = 64
    """Clean images per step; as many triggered ones join them."""
    lr: float = 0.05
    """Of Adadelta."""
    weight_decay: float = 1e-4
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


def triggered(x: Tensor, generator: torch.Generator) -> Tensor:
    """Images (B, C, H, W) in [0, 1], each with one random synthetic trigger, in [0, 1]."""
    b, c, h, w = x.shape

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(shape or (b, 1, 1, 1), generator=generator, device=x.device)

    i = torch.arange(h, device=x.device).view(1, 1, h, 1) / h
    j = torch.arange(w, device=x.device).view(1, 1, 1, w) / w
    side, top, left = uniform(0.08, 0.25), uniform(0, 0.9), uniform(0, 0.9)
    inside = (i >= top) & (i < top + side) & (j >= left) & (j < left + side)
    pixels = uniform(0, 1, b, c, h, w)
    filled = torch.where(uniform(0, 1) < 0.5, pixels, uniform(0, 1, b, c, 1, 1))
    patch = torch.where(inside, filled, x)
    noise = x + uniform(0.02, 0.15) * torch.randn(x.shape, generator=generator, device=x.device)
    other = torch.where(uniform(0, 1) < 0.5, x.roll(1, 0), pixels)
    blend = x.lerp(other, uniform(0.1, 0.3))
    angle = uniform(0, 2 * math.pi)
    edge = (i - uniform(0.2, 0.8)) * angle.cos() + (j - uniform(0.2, 0.8)) * angle.sin()
    shadow = torch.where(edge > 0, x * uniform(0.3, 0.8), x)
    kind = torch.randint(4, (b, 1, 1, 1), generator=generator, device=x.device)
    out = torch.where(kind == 0, patch, torch.where(kind == 1, noise, torch.where(kind == 2, blend, shadow)))
    return out.clamp(0, 1)


class SpectrumNet(nn.Module):
    """The classifier of spectra: images (B, C, H, W) in [0, 1] -> logits (B, 2), clean or triggered."""

    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__()
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
        return self.layers(coefficients.sign() * coefficients.abs().log1p())


def trained(clean: ImageData, config: Frequency, seed: int, progress: Progress = None) -> SpectrumNet:
    """A classifier of spectra that has learned from ``clean`` and random triggers on it."""
    device, n = clean.x.device, len(clean)
    generator = torch.Generator(device).manual_seed(seed)
    with seeded(seed, device):
        net = SpectrumNet(*clean.x.shape[1:]).to(device)
        optimizer = torch.optim.Adadelta(net.parameters(), config.lr, weight_decay=config.weight_decay)
        for epoch in range(config.epochs):
            for index in torch.randperm(n, generator=generator, device=device).split(config.batch_size):
                x = clean.x[index].float().div_(255)
                both = torch.cat([x, triggered(x, generator)])
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
