r"""AC: activation clustering.

Chen et al., "Detecting Backdoor Attacks on Deep Neural Networks by Activation Clustering", 2018 (arXiv 1811.03728). A
backdoored model reaches the target label for two reasons, the class and the trigger, so the features of that label fall
into two clusters. Per label: reduce the features to 10 components, split them by 2-means,

.. math:: \min_{c_1, c_2} \sum_i \min_j \| z_i - c_j \|^2, \qquad z_i = V_{10}^\top (f(x_i) - \bar f),

and take the smaller cluster for poison where it holds less than 35 % of the label's samples.

The score of a sample is the simplified silhouette towards the smaller cluster, (d_large - d_small) / max(d_large,
d_small) in [-1, 1], with d its distances to the two centres.

Differences from the paper
1. PCA instead of independent components: the same subspace for 2-means up to whitening.
2. The exclusionary reclassification test is left out. ``rule="silhouette"`` asks for a mean silhouette besides;
   ``"smaller"`` always takes the smaller cluster, as the benchmark does.
3. ``variant="benchmark2022"`` reproduces BackdoorBench's filter (arXiv 2206.12654), whose published numbers it shaped:
   clusters are found per shuffled batch of 256, so that label 0 or 1 means another thing in every batch; the smaller
   label of a class is dropped, and positions in the shuffled order are used as indices of the data set. It removes
   samples at random.

Introduced in notebook 05.
"""

from dataclasses import dataclass
from typing import Any

import torch
from sklearn.cluster import KMeans
from torch import Tensor, nn

from paperlib.data.images import ImageData
from paperlib.detection import Detection
from paperlib.detection.statistics import principal_directions
from paperlib.errors import choose
from paperlib.models.features import features
from paperlib.training import Progress

BENCHMARK_BATCH = 256


@dataclass(frozen=True)
class AC:
    """Hyper-parameters; defaults: the paper's."""

    components: int = 10
    rule: str = "size"
    """``size``, ``silhouette`` or ``smaller``: when the smaller cluster is taken for poison."""
    size: float = 0.35
    """Largest share of its label that a poisoned cluster may hold."""
    silhouette: float = 0.1
    """Least mean silhouette of a label with two clusters; with ``rule="silhouette"`` only."""
    variant: str = "aligned"
    """``aligned``, or ``benchmark2022``: with the benchmark's misaligned indices."""
    layer: str = ""


def two_means(x: Tensor, components: int, seed: int) -> tuple[Tensor, Tensor]:
    """Split features (n, d) of one label: cluster 0 or 1 (n,), and squared distances (n, 2) to both centres."""
    centred = x - x.mean(0)
    z = (centred @ principal_directions(centred, components)).cpu().numpy()
    found = KMeans(2, n_init=10, random_state=seed).fit(z)
    distances = torch.from_numpy(found.transform(z)).to(x.device, torch.float32)
    return torch.from_numpy(found.labels_).to(x.device, torch.int64), distances


def cluster(x: Tensor, y: Tensor, config: AC, seed: int = 0) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """AC on features (N, d) with labels (N,): scores, flagged, notes."""
    scores = torch.full((len(x),), -1.0, device=x.device)
    flagged = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    share: dict[str, float] = {}
    classes = []
    for label in y.unique().tolist():
        index = (y == label).nonzero().flatten()
        if len(index) < 3 or (x[index] == x[index[0]]).all():
            continue  # nothing to split
        assigned, distances = two_means(x[index], config.components, seed)
        small = int((assigned == 1).sum() * 2 < len(index))
        towards, away = distances[:, small], distances[:, 1 - small]
        silhouette = (away - towards) / torch.maximum(away, towards).clamp_min(1e-12)
        share[str(label)] = round((assigned == small).float().mean().item(), 4)
        scores[index] = silhouette
        poisoned = config.rule == "smaller" or share[str(label)] < config.size
        if config.rule == "silhouette":
            poisoned = poisoned and silhouette.abs().mean().item() >= config.silhouette
        if poisoned:
            classes.append(label)
            flagged[index] = assigned == small
    return scores, flagged, {"smaller_share": share, "flagged_classes": classes}


def misaligned(x: Tensor, y: Tensor, config: AC, seed: int = 0) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """As :func:`cluster` with the benchmark's two mistakes (difference 3); scores are 1 for flagged, 0 for others."""
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed)).to(x.device)
    assigned = torch.zeros(len(x), dtype=torch.int64, device=x.device)  # by position in the shuffled order
    for start in range(0, len(x), BENCHMARK_BATCH):
        part = order[start : start + BENCHMARK_BATCH]
        for label in y[part].unique().tolist():
            where = (y[part] == label).nonzero().flatten()
            if len(where) >= 3 and not (x[part[where]] == x[part[where[0]]]).all():
                assigned[start + where] = two_means(x[part[where]], config.components, seed)[0]
    flagged = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    for label in y.unique().tolist():
        mine = y[order] == label
        small = int((assigned[mine] == 1).sum() * 2 < mine.sum())
        flagged |= mine & (assigned == small)  # positions, used below as if they were indices
    return flagged.float(), flagged, {}


def ac(
    data: ImageData, model: nn.Module, clean: ImageData | None, config: AC, *, seed: int = 0, progress: Progress = None
) -> Detection:
    """Activation clustering on the training set ``data`` of ``model``."""
    choose("rule", config.rule, ("size", "silhouette", "smaller"))
    way = {"aligned": cluster, "benchmark2022": misaligned}[
        choose("variant", config.variant, ("aligned", "benchmark2022"))
    ]
    scores, flagged, notes = way(features(model, data, config.layer), data.y, config, seed)
    return Detection(scores, flagged, notes)
