"""AC and SS as defenses: detect, drop what is flagged, train a fresh model on the rest.

Chen et al., 2018 (arXiv 1811.03728; :mod:`paperlib.detection.ac`) and Tran, Li, Madry, NeurIPS 2018 (arXiv 1811.00636;
:mod:`paperlib.detection.ss`), as the benchmark uses them (BackdoorBench, arXiv 2206.12654): the detector looks inside
the model that was trained on the poisoned set, and a model of the same architecture is trained from scratch, by the
recipe of the attacked one, on what remains.

Differences from the benchmark
1. AC filters the samples that it found (``variant="benchmark2022"`` filters as the benchmark does: at random).
2. SS is not told the target label and removes 15 % of every label (``target=`` tells it;
   ``pooled=False, centred=False`` are the benchmark's features and scores).

Introduced in notebook 05.
"""

from dataclasses import dataclass
from typing import Any

from torch import nn

from paperlib.data.images import ImageData
from paperlib.detection import Detection
from paperlib.detection import ac as activation_clustering
from paperlib.detection import ss as spectral_signatures
from paperlib.models import fresh
from paperlib.training import Progress, Recipe, fit


@dataclass(frozen=True)
class AC(activation_clustering.AC):
    """Hyper-parameters of the detector, and of training from scratch; defaults: the paper's, and the benchmark's."""

    epochs: int = 100
    batch_size: int = 128
    lr: float = 0.01
    schedule: str = "cosine"


@dataclass(frozen=True)
class SS(spectral_signatures.SS):
    """Hyper-parameters of the detector, and of training from scratch; defaults: the paper's, and the benchmark's."""

    epochs: int = 100
    batch_size: int = 128
    lr: float = 0.01
    schedule: str = "cosine"


def retrained(
    model: nn.Module, data: ImageData, found: Detection, config: AC | SS, seed: int, progress: Progress
) -> tuple[nn.Module, dict[str, Any]]:
    """A fresh model like ``model``, trained on the samples that are not flagged."""
    model = fresh(model, seed)
    recipe = Recipe(config.epochs, config.batch_size, config.lr, config.schedule)
    fit(model, data.subset(~found.flagged), recipe, seed=seed, progress=progress)
    return model, {**found.notes, "n_removed": int(found.flagged.sum())}


def ac(
    model: nn.Module, data: ImageData, config: AC, *, seed: int = 0, progress: Progress = None
) -> tuple[nn.Module, dict[str, Any]]:
    """A fresh model, trained on what activation clustering leaves of the poisoned set ``data``."""
    found = activation_clustering.ac(data, model, None, config, seed=seed)
    return retrained(model, data, found, config, seed, progress)


def ss(
    model: nn.Module, data: ImageData, config: SS, *, seed: int = 0, progress: Progress = None
) -> tuple[nn.Module, dict[str, Any]]:
    """A fresh model, trained on what spectral signatures leave of the poisoned set ``data``."""
    found = spectral_signatures.ss(data, model, None, config, seed=seed)
    return retrained(model, data, found, config, seed, progress)
