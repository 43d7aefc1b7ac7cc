"""Fifteen common corruptions of images at five severities, batched on the device.

The kinds are those of Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations", ICLR 2019 (arXiv 1903.12261): four noises, four blurs, weather, digital. Implementations and strengths
are our own, for small images: every kind goes evenly from hardly visible to strong. Frost needs photographs;
``saturate`` takes its place.

A corruption takes images (B, 3, H, W) in [0, 1] (C = 1 works too), a severity of 1 to 5 and a generator, and returns
the same.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

Corruption = Callable[[Tensor, int, Generator], Tensor]
BLOCK = 8  # of JPEG


def _normal(x: Tensor, generator: Generator, *shape: int) -> Tensor:
    return torch.randn(shape or x.shape, generator=generator, device=x.device)


def _uniform(x: Tensor, generator: Generator, *shape: int) -> Tensor:
    return torch.rand(shape or x.shape, generator=generator, device=x.device)


def _filter(x: Tensor, kernel: Tensor) -> Tensor:
    """Every channel filtered with one kernel (k, k), or one per image (B, k, k); the border is repeated."""
    b, c, h, w = x.shape
    k = kernel.shape[-1]
    padded = F.pad(x, [k // 2] * 4, mode="replicate")
    weights = kernel.expand(b, k, k)[:, None].expand(b, c, k, k).reshape(b * c, 1, k, k)
    return F.conv2d(padded.reshape(1, b * c, h + k - 1, w + k - 1), weights, groups=b * c).view(b, c, h, w)


def _grid(x: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column (H, W) of every pixel in [-1, 1]."""
    rows, columns = (torch.linspace(-1, 1, n, device=x.device) for n in x.shape[2:])
    down, across = torch.meshgrid(rows, columns, indexing="ij")
    return down, across


def _sample(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Images read at rows and columns (B or 1, H, W) in [-1, 1]."""
    grid = torch.stack([columns, rows], -1).expand(len(x), -1, -1, -1)
    return F.grid_sample(x, grid, padding_mode="reflection", align_corners=True)


def _smooth_noise(x: Tensor, generator: Generator, cells: int) -> Tensor:
    """Smooth noise (B, 1, H, W) of unit variance: a coarse random grid, enlarged."""
    coarse = _normal(x, generator, len(x), 1, cells, cells)
    return F.interpolate(coarse, x.shape[2:], mode="bicubic", align_corners=True)


def gaussian_noise(x: Tensor, severity: int, generator: Generator) -> Tensor:
    return x + 0.03 * severity * _normal(x, generator)


def shot_noise(x: Tensor, severity: int, generator: Generator) -> Tensor:
    photons = 300 / severity**2
    return torch.poisson(x * photons, generator) / photons


def impulse_noise(x: Tensor, severity: int, generator: Generator) -> Tensor:
    hit, white = _uniform(x, generator) < 0.02 * severity, _uniform(x, generator) < 0.5
    return torch.where(hit, white.to(x.dtype), x)


def speckle_noise(x: Tensor, severity: int, generator: Generator) -> Tensor:
    return x * (1 + 0.08 * severity * _normal(x, generator))


def defocus_blur(x: Tensor, severity: int, generator: Generator) -> Tensor:
    radius = 0.5 + 0.4 * severity
    reach = torch.arange(-3, 4, device=x.device, dtype=x.dtype)
    kernel = (radius + 0.5 - (reach[:, None] ** 2 + reach**2).sqrt()).clamp(0, 1)  # a disc with a soft edge
    return _filter(x, kernel / kernel.sum())


def glass_blur(x: Tensor, severity: int, generator: Generator) -> Tensor:
    rows, columns = _grid(x)
    shift = 2 * 0.35 * severity / x.shape[2]
    moved = [(2 * _uniform(x, generator, len(x), *x.shape[2:]) - 1) * shift for _ in range(2)]
    return _sample(x, rows + moved[0], columns + moved[1])


def motion_blur(x: Tensor, severity: int, generator: Generator) -> Tensor:
    angle = _uniform(x, generator, len(x), 1, 1) * math.pi
    rows, columns = _grid(x)
    steps = torch.linspace(-1, 1, 7, device=x.device) * severity * 0.8 / x.shape[2] * 2
    return torch.stack([_sample(x, rows + s * angle.sin(), columns + s * angle.cos()) for s in steps]).mean(0)


def zoom_blur(x: Tensor, severity: int, generator: Generator) -> Tensor:
    rows, columns = _grid(x)
    zooms = torch.linspace(1, 1 + 0.08 * severity, 6, device=x.device)
    return torch.stack([_sample(x, rows / z, columns / z) for z in zooms]).mean(0)


def snow(x: Tensor, severity: int, generator: Generator) -> Tensor:
    flakes = (_uniform(x, generator, len(x), 1, *x.shape[2:]) < 0.03 * severity).to(x.dtype)
    line = torch.eye(3, dtype=x.dtype, device=x.device)  # flakes fall diagonally
    return x * (1 - 0.05 * severity) + 0.05 * severity + _filter(flakes, line * 0.5)


def saturate(x: Tensor, severity: int, generator: Generator) -> Tensor:
    return x.mean(1, keepdim=True) + (1 + 0.8 * severity) * (x - x.mean(1, keepdim=True))


def fog(x: Tensor, severity: int, generator: Generator) -> Tensor:
    thickness = (0.12 * severity * (1 + 0.3 * _smooth_noise(x, generator, 4))).clamp(0, 1)
    return x * (1 - thickness) + 0.8 * thickness


def brightness(x: Tensor, severity: int, generator: Generator) -> Tensor:
    return x + 0.08 * severity


def contrast(x: Tensor, severity: int, generator: Generator) -> Tensor:
    mean = x.mean((2, 3), keepdim=True)
    return mean + (1 - 0.17 * severity) * (x - mean)


def elastic(x: Tensor, severity: int, generator: Generator) -> Tensor:
    rows, columns = _grid(x)
    by = 0.025 * severity
    moved = [by * _smooth_noise(x, generator, 6).squeeze(1) for _ in range(2)]
    return _sample(x, rows + moved[0], columns + moved[1])


def pixelate(x: Tensor, severity: int, generator: Generator) -> Tensor:
    size = [max(1, round(n / (1 + 0.25 * severity))) for n in x.shape[2:]]
    return F.interpolate(F.interpolate(x, size, mode="area"), x.shape[2:], mode="nearest")


def jpeg(x: Tensor, severity: int, generator: Generator) -> Tensor:
    """Quantised cosine coefficients of 8 x 8 blocks, coarser at high frequencies; without chroma subsampling."""
    b, c, h, w = x.shape
    x = F.pad(x, (0, -w % BLOCK, 0, -h % BLOCK), mode="replicate")
    n = torch.arange(BLOCK, device=x.device, dtype=x.dtype)
    dct = torch.cos(math.pi * (n + 0.5) * n[:, None] / BLOCK) * (2 / BLOCK) ** 0.5
    dct[0] /= 2**0.5  # orthonormal
    step = 0.02 * severity * (1 + 0.5 * (n[:, None] + n))
    blocks = x.unfold(2, BLOCK, BLOCK).unfold(3, BLOCK, BLOCK)
    blocks = dct.T @ ((dct @ blocks @ dct.T / step).round() * step) @ dct
    return blocks.permute(0, 1, 2, 4, 3, 5).reshape(b, c, *x.shape[2:])[:, :, :h, :w]


CORRUPTIONS: dict[str, Corruption] = {
    f.__name__: f
    for f in (
        gaussian_noise, shot_noise, impulse_noise, speckle_noise, defocus_blur, glass_blur, motion_blur, zoom_blur,
        snow,
        saturate, fog, brightness, contrast, elastic, jpeg, pixelate,
    )
}  # fmt: skip


def corrupt(x: Tensor, kind: str, severity: int, generator: Generator) -> Tensor:
    """Images (B, C, H, W) in [0, 1] under the corruption ``kind`` of :data:`CORRUPTIONS` at severity 1 to 5, in [0,
    1]."""
    return CORRUPTIONS[kind](x, severity, generator).clamp(0, 1)
