r"""NAD: neural attention distillation.

Li, Lyu, Koren, Lyu, Li, Ma, "Neural Attention Distillation: Erasing Backdoor Triggers from Deep Neural Networks", ICLR
2021 (arXiv 2101.05930). The backdoored model is fine-tuned for a few epochs; it then teaches a second copy of the
backdoored model where to look. With :math:`A(F) = \sum_c |F_c|^2`, the attention map of a stage with output F,
normalised to length 1,

.. math:: \min_w \mathbb{E} \Big[ \mathrm{CE}(f_w(x), y) + \sum_l \beta_l \,\mathrm{MSE}\big(A(F_l^{student}),
   A(F_l^{teacher})\big) \Big]

Settings of BackdoorBench (arXiv 2206.12654): teacher and student 10 epochs each, every image in every epoch; SGD,
momentum 0.9, weight decay 5e-4; the teacher's lr falls along a cosine of 100 epochs, of which it sees 10; the student's
is ``lr`` for two epochs, then 0.01, from the 20th on 1e-4; beta = 500, 1000, 1000; augmented images. (Its configuration
says 100 epochs; its code trains the student for as many as the teacher. On a Blended victim of width 8, 10 epochs left
86.6 % ASR and 100 epochs 79.7.)

Differences from the benchmark
1. Its third map comes from the average pooling: one position, so the normalised map is 1 for any input and the term has
   no gradient. Here the maps are those of stages 2, 3 and 4, the three groups of the paper's networks.
   ``layers=("layer3", "layer4", "avgpool")`` reproduces the original.
2. Its student is passed four times per batch, whole and cut after each layer, so that the running statistics of batch
   norm move up to four times by the same batch; here once. The weights are the same.
3. Models of other families distil their ``features`` layer alone, with the last beta.

Introduced in notebook 07.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paperlib.data.images import ImageData
from paperlib.errors import PaperlibError
from paperlib.models.default_layer import feature_layer
from paperlib.models.layers import as_maps, named_layer, watching
from paperlib.training import Progress, Recipe, Step, autocast, fit


@dataclass(frozen=True)
class NAD:
    """Hyper-parameters; defaults: BackdoorBench, CIFAR-10."""

    epochs: int = 10
    """Of the student."""
    batch_size: int = 256
    lr: float = 0.01
    """Of the teacher, and of the student's first two epochs."""
    lr_middle: float = 0.01
    """Of the student from its third epoch on, whatever ``lr`` is."""
    drop_at: int = 20
    """Epochs of the student before its learning rate falls."""
    lr_after: float = 1e-4
    teacher_epochs: int = 10
    betas: tuple[float, ...] = (500.0, 1000.0, 1000.0)
    """One weight per layer; where there is one layer only, the last."""
    layers: tuple[str, ...] = ()
    """Layers whose outputs are compared; empty: stages 2 to 4 of a ResNet, else the model's ``features``."""


def attention(features: Tensor) -> Tensor:
    """Attention map of length 1, flattened (B, h * w), of a feature map (B, C, h, w).

    Raises
    ------
    PaperlibError
        The layer's output is no feature map.
    """
    if features.ndim == 3:
        features = as_maps(features, "layers=")
    if features.ndim != 4:
        raise PaperlibError(f"layers= names a layer whose output has shape {tuple(features.shape)}, not (B, C, h, w).")
    return F.normalize(features.float().square().sum(1).flatten(1))


def stages(model: nn.Module, layers: Sequence[str], x: Tensor) -> tuple[str, ...]:
    """The layers to distil.

    Raises
    ------
    PaperlibError
        A name that the model does not have, or no name for a model that does not say what its features are.
    """
    if not layers:
        usual = ("layer2", "layer3", "layer4")
        here = all(isinstance(getattr(model, name, None), nn.Module) for name in usual)
        layers = usual if here else (feature_layer(model, "", x),)
    for name in layers:
        named_layer(model, name)
    return tuple(layers)


def distillation(
    student: nn.Module, teacher: nn.Module, layers: Sequence[str], betas: Sequence[float], x: Tensor
) -> tuple[Tensor, Tensor]:
    """Logits of the student (B, classes), and the weighted attention loss of every layer (layers,)."""
    with ExitStack() as stack, autocast(x.device):
        seen = [stack.enter_context(watching(student, name)) for name in layers]
        told = [stack.enter_context(watching(teacher, name)) for name in layers]
        with torch.no_grad():
            teacher(x)
        logits = student(x)
    terms = [
        beta * F.mse_loss(attention(s[-1]), attention(t[-1])) for beta, s, t in zip(betas, seen, told, strict=True)
    ]
    return logits.float(), torch.stack(terms)


def student_lr(epoch: int, config: NAD) -> float:
    """Learning rate of the student in ``epoch``, counted from 0."""
    if epoch >= config.drop_at:
        return config.lr_after
    return config.lr if epoch < 2 else config.lr_middle


def student_step(teacher: nn.Module, layers: Sequence[str], betas: Sequence[float], n: int, config: NAD) -> Step:
    """One step of the student on ``n`` images in all, in the form that :func:`paperlib.training.fit` takes."""
    seen = 0

    def step(model: nn.Module, x: Tensor, y: Tensor, optimizer: torch.optim.Optimizer) -> Tensor:
        nonlocal seen
        optimizer.param_groups[0]["lr"] = student_lr(seen // n, config)
        seen += len(x)
        logits, terms = distillation(model, teacher, layers, betas, x)
        losses = F.cross_entropy(logits, y, reduction="none")
        optimizer.zero_grad(set_to_none=True)
        (losses.mean() + terms.sum()).backward()
        optimizer.step()
        return losses.detach()

    return step


def nad(
    model: nn.Module, clean: ImageData, config: NAD, *, seed: int = 0, progress: Progress = None
) -> tuple[nn.Module, dict[str, Any]]:
    """A copy of ``model``, fine-tuned on ``clean`` under the attention of a fine-tuned teacher.

    Returns
    -------
    model, notes
        notes: ``layers`` that were compared.

    Raises
    ------
    PaperlibError
        Fewer ``betas`` than layers that are compared, or no epoch of the teacher.
    """
    layers = stages(model, config.layers, clean.x)
    betas = config.betas[-len(layers) :]
    if len(betas) != len(layers):
        raise PaperlibError(f"betas={config.betas!r} has fewer values than the {len(layers)} layers {layers!r}.")
    if config.teacher_epochs < 1:
        raise PaperlibError(f"teacher_epochs={config.teacher_epochs!r} must be at least 1.")
    teacher, student = deepcopy(model), deepcopy(model)
    taught = Recipe(config.teacher_epochs, config.batch_size, config.lr, "cosine_100")
    fit(teacher, clean, taught, seed=seed, partial=True)
    teacher.eval().requires_grad_(False)
    step = student_step(teacher, layers, betas, len(clean), config)
    recipe = Recipe(config.epochs, config.batch_size, config.lr, "constant")
    fit(student, clean, recipe, seed=seed + 1, step=step, partial=True, progress=progress)
    return student, {"layers": list(layers)}
