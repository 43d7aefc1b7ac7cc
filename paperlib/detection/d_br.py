r"""D-BR's sample distinguishment: poisoned samples are sensitive to transformations.

Chen, Wu, Wang, "Effective Backdoor Defense by Exploiting Sensitivity of Poisoned Samples", NeurIPS 2022, Section 4.1. A
rotation breaks a trigger, so the features of poisoned samples move more than those of clean ones. A fresh model is
trained on the poisoned set without augmentation for 2 epochs, then for 10 epochs with the intra-class loss alone: the
mean cosine between the centres of different classes in a batch, which spreads the classes and draws each together. The
feature consistency towards transformations of a sample is

.. math:: \mathrm{FCT}(x) = \tfrac1d \| \phi(x) - \phi(\tau(x)) \|_2^2,

with tau a rotation followed by an affine map. The 5 % with the largest values are flagged; the defense
(:mod:`paperlib.defenses.d_br`) also uses the 20 % with the smallest as clean. Needs no clean image.

Differences from the paper
1. tau draws rotation (up to 180 degrees), and then rotation, shift and scale again, per image; ranges are our own.
2. Only the architecture of the model that is given counts: a fresh copy is trained.
3. VDC's comparison (arXiv 2309.16211) flags as many as are poisoned; ``poisoned_share`` is that share, the default is
   the paper's.

Introduced in notebook 07.
"""

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paperlib.data.images import ImageData
from paperlib.detection import Detection
from paperlib.detection.statistics import budget, top
from paperlib.models import fresh
from paperlib.models.default_layer import feature_layer
from paperlib.models.features import embed
from paperlib.training import Progress, Recipe, Step, autocast, evaluating, fit


@dataclass(frozen=True)
class DBR:
    """Hyper-parameters; defaults: the paper's."""

    poisoned_share: float = 0.05
    """Share of the samples that is flagged."""
    pretrain_epochs: int = 2
    feature_epochs: int = 10
    batch_size: int = 128
    lr: float = 0.01
    layer: str = ""


def centre_cosine(features: Tensor, y: Tensor) -> Tensor:
    """Mean cosine between the centres of different classes of a batch of features (B, d) with labels (B,)."""
    classes, member = y.unique(return_inverse=True)
    if len(classes) < 2:
        return features.sum() * 0
    ones = F.one_hot(member, len(classes)).to(features.dtype)
    centres = F.normalize(ones.T @ features / ones.sum(0)[:, None], dim=1)
    cosines = centres @ centres.T
    return (cosines.sum() - cosines.trace()) / (len(classes) * (len(classes) - 1))


def centre_step(layer: str) -> Step:
    """One step of SGD on :func:`centre_cosine`, in the form that :func:`paperlib.training.fit` takes."""

    def step(model: nn.Module, x: Tensor, y: Tensor, optimizer: torch.optim.Optimizer) -> Tensor:
        with autocast(x.device):
            _, features = embed(model, x, layer)
        loss = centre_cosine(features.float(), y)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss.detach().expand(len(x))

    return step


def transform(x: Tensor, generator: torch.Generator) -> Tensor:
    """Images (B, C, H, W) rotated, then rotated, scaled and shifted again, by one draw per image; zeros outside."""
    b = len(x)
    for turn, zoom, shift in ((math.pi, 0.0, 0.0), (math.pi / 12, 0.1, 0.1)):
        u = 2 * torch.rand(4, b, generator=generator, device=x.device) - 1
        angle, scale = u[0] * turn, 1 + u[1] * zoom
        rows = [angle.cos() * scale, -angle.sin() * scale, u[2] * shift, angle.sin() * scale, angle.cos() * scale]
        theta = torch.stack([*rows, u[3] * shift], 1).view(b, 2, 3)
        x = F.grid_sample(x, F.affine_grid(theta, list(x.shape), align_corners=False), align_corners=False)
    return x


@torch.no_grad()
def sensitivity(model: nn.Module, data: ImageData, layer: str, seed: int, batch_size: int = 500) -> Tensor:
    """FCT (N,) of every image of ``data``."""
    generator = torch.Generator(data.x.device).manual_seed(seed)
    out = []
    with evaluating(model), autocast(data.x.device):
        for part in data.x.split(batch_size):
            x = part.float().div(255)
            moved = embed(model, transform(x, generator), layer)[1].float() - embed(model, x, layer)[1].float()
            out.append(moved.square().mean(1))
    return torch.cat(out)


def fct(model: nn.Module, data: ImageData, config: DBR, seed: int, progress: Progress = None) -> Tensor:
    """FCT (N,) of every image, after both stages of training a fresh model like ``model``."""
    layer = feature_layer(model, config.layer, data.x)
    plain, model = replace(data, pad=0, flip=False), fresh(model, seed)
    fit(model, plain, Recipe(config.pretrain_epochs, config.batch_size, config.lr, "constant"), seed=seed)
    recipe = Recipe(config.feature_epochs, config.batch_size, config.lr, "constant")
    fit(model, plain, recipe, seed=seed + 1, step=centre_step(layer), progress=progress)
    return sensitivity(model, data, layer, seed)


def d_br(
    data: ImageData, model: nn.Module, clean: ImageData | None, config: DBR, *, seed: int = 0, progress: Progress = None
) -> Detection:
    """D-BR's sample distinguishment in the training set ``data``, with a fresh model like ``model``."""
    scores = fct(model, data, config, seed, progress)
    flagged = top(scores, budget(len(data), len(data), config.poisoned_share, 0.0))
    return Detection(scores, flagged, {"threshold": round(scores[flagged].min().item(), 6) if flagged.any() else None})
