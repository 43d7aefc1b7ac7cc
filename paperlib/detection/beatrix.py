r"""Beatrix: Gram matrices of the features.

Ma et al., "The Beatrix Resurrections: Robust Backdoor Detection via Gram Matrices", NDSS 2023 (arXiv 2209.11715). With
F the feature maps of an image (channels x positions) and p = 1, ..., 8, the Gram matrices of order p

.. math:: G^p = \big( F^p (F^p)^\top \big)^{1/p} \qquad \text{(powers entry by entry)}

tell which channels fire together. Per class and entry the clean images give a median and a median absolute deviation;
an image deviates by what lies outside median ± 10 deviations, relative to that bound:

.. math:: \delta(x) = \frac{2}{8 C^2} \sum_{p, \text{entries}} \frac{[\min - G^p]_+}{|\min|} + \frac{[G^p -
   \max]_+}{|\max|}

over the upper triangle. An image is flagged when its deviation exceeds the 95th percentile of held-out clean images of
its class (five folds). Which classes are targets is told by the kernel two-sample statistic between the flagged and the
other images of a class: its anomaly index is above e².

The score of a sample is its deviation minus its class's threshold.

Differences from the paper
1. The class of an image is the label it came with, not the one predicted: the training set is examined.
2. As in BackdoorBench (arXiv 2206.12654) images of all classes are flagged; ``classes="targets"`` keeps the flagged
   classes'.

Introduced in notebook 07.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from paperlib.data.images import ImageData
from paperlib.detection import Detection
from paperlib.detection.statistics import anomaly_index, check_classes
from paperlib.errors import choose
from paperlib.models.features import feature_maps
from paperlib.training import Progress

TINY = 1e-6
PER_GROUP = 500
"""Samples of a group that enter the kernel statistic (BackdoorBench)."""


@dataclass(frozen=True)
class Beatrix:
    """Hyper-parameters; defaults: the paper's."""

    orders: int = 8
    bound: float = 10.0
    """Median absolute deviations from the median that a Gram entry may lie away."""
    percentile: float = 0.95
    folds: int = 5
    threshold: float = math.e**2
    """Anomaly index above which a class is a target."""
    classes: str = "all"
    """``all`` or ``targets``: of which classes images are flagged."""
    layer: str = ""


def gram(maps: Tensor, p: int) -> Tensor:
    """Upper triangles (B, C(C+1)/2) of the Gram matrices of order p of feature maps (B, C, positions)."""
    powered = maps**p
    channels = torch.triu_indices(maps.shape[1], maps.shape[1], device=maps.device)
    entries = (powered @ powered.transpose(1, 2))[:, channels[0], channels[1]]
    return entries.sign() * entries.abs() ** (1 / p)


def bounds(grams: Tensor, width: float) -> tuple[Tensor, Tensor]:
    """Lower and upper bound (entries,) of clean Gram entries (m, entries)."""
    columns = grams.T.contiguous()
    median = columns.median(1, keepdim=True).values
    deviation = (columns - median).abs().median(1).values
    return median.flatten() - width * deviation, median.flatten() + width * deviation


def excess(grams: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Sum (B,) of what lies outside the bounds, relative to them."""
    below, above = (low - grams).relu_() / (low + TINY).abs(), (grams - high).relu_() / (high + TINY).abs()
    return (below + above).sum(1)


def deviations(maps: Tensor, clean: Tensor, config: Beatrix) -> tuple[Tensor, Tensor]:
    """Deviations of the maps (n, C, positions) of one class, and the held-out ones of its clean maps (m, C,
    positions)."""
    m, channels = clean.shape[:2]
    out, held_out = torch.zeros(len(maps), device=maps.device), torch.zeros(m, device=maps.device)
    fold = torch.arange(m, device=maps.device) * min(config.folds, m) // m
    for p in range(1, config.orders + 1):
        grams = gram(clean, p)
        low, high = bounds(grams, config.bound)
        out += torch.cat([excess(gram(part, p), low, high) for part in maps.split(256)])
        for k in range(min(config.folds, m)):
            held_out[fold == k] += excess(grams[fold == k], *bounds(grams[fold != k], config.bound))
    scale = 2 / (config.orders * channels**2)
    return out * scale, held_out * scale


def kernel_statistic(a: Tensor, b: Tensor) -> float:
    r"""Two-sample statistic :math:`\frac{mn}{m+n} \mathrm{MMD}^2` of features (m, d) and (n, d).

    Gaussian kernels of two bandwidths, the median squared distance and half of it.
    """
    a, b = a[:PER_GROUP], b[:PER_GROUP]
    if not len(a) or not len(b):
        return 0.0
    both = torch.cat([a, b])
    distance = torch.cdist(both, both).square()
    width = distance.median().clamp_min(1e-12)
    kernel = torch.exp(-distance / width) + torch.exp(-2 * distance / width)
    m, n = len(a), len(b)
    value = kernel[:m, :m].mean() + kernel[m:, m:].mean() - 2 * kernel[:m, m:].mean()
    return (m * n / (m + n) * value).item()


def gram_outliers(
    maps: Tensor, y: Tensor, clean_maps: Tensor, clean_y: Tensor, config: Beatrix, progress: Progress = None
) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Beatrix on feature maps (N, C, positions) with labels (N,), and those of clean images: scores, flagged, notes."""
    scores = torch.zeros(len(maps), device=maps.device)
    classes, statistics, thresholds = y.unique().tolist(), [], []
    for done, label in enumerate(classes):
        mine = y == label
        found, held_out = deviations(maps[mine], clean_maps[clean_y == label], config)
        thresholds.append(held_out.quantile(config.percentile).item())
        scores[mine] = found - thresholds[-1]
        pooled, outside = maps[mine].mean(2), found > thresholds[-1]
        statistics.append(kernel_statistic(pooled[~outside], pooled[outside]))
        if progress:
            progress((done + 1) / len(classes), f"class {done + 1}/{len(classes)}")
    index = anomaly_index(torch.tensor(statistics)).tolist()
    targets = [label for label, value in zip(classes, index, strict=True) if value > config.threshold]
    flagged = scores > 0
    if config.classes == "targets":
        flagged &= torch.isin(y, torch.tensor(targets, dtype=y.dtype, device=y.device))
    notes = {"flagged_classes": targets, "anomaly_index": [round(min(v, 1e6), 3) for v in index]}
    return scores, flagged, notes | {"threshold": [round(t, 5) for t in thresholds]}


def beatrix(
    data: ImageData, model: nn.Module, clean: ImageData, config: Beatrix, *, seed: int = 0, progress: Progress = None
) -> Detection:
    """Beatrix on the training set ``data`` of ``model``."""
    choose("classes", config.classes, ("all", "targets"))
    check_classes(clean, data.y, at_least=2)
    maps, clean_maps = feature_maps(model, data, config.layer), feature_maps(model, clean, config.layer)
    return Detection(*gram_outliers(maps, data.y, clean_maps, clean.y, config, progress))
