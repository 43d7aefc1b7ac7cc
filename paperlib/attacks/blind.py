r"""Blind: the loss function is poisoned, not the data.

Bagdasaryan and Shmatikov, "Blind Backdoors in Deep Learning Models", USENIX Security 2021 (arXiv 2005.03823), in the
setting of BackdoorBench. Code hidden in the loss makes triggered copies of each batch, on the fly, and trains on both:

.. math:: L = a_0\, \ell\big(f(x), y\big) + a_1\, \ell\big(f(x'), t\big)

Weights: fixed, :math:`a_0 = 1, a_1 = 0.9` (benchmark), or chosen at every step by the multiple-gradient descent
algorithm (paper): the convex combination of both gradients, each divided by its loss and its norm, that is shortest,

.. math::
   a_0 = \operatorname{clip}_{[0, 1]} \frac{(\hat g_1 - \hat g_0) \cdot \hat g_1}{\|\hat g_1 - \hat g_0\|^2}, \qquad
   a_1 = 1 - a_0, \qquad \hat g_i = \frac{g_i}{\ell_i \|g_i\|}

The attack starts when the mean loss of the last ``window`` batches is below ``start_below``, so that it hides in a
training that goes well.

Trigger: a pattern of 5 x 3 black and white pixels with gaps, its upper left pixel at row 3, column 23.

The poisoning ratio does not occur in the loss; it decides how many images of the *stored* training set carry the
trigger.

Where ASR stays low. An attack that starts late in a short training: ``window`` batches are several epochs at a small
scale. A smaller ``window`` or a larger ``start_below`` is what raises ASR.

Cost. Once it started, ``1 + share`` times an ordinary training; with ``mgda`` another backward pass.

Differences from the paper and the benchmark
1. Clean and triggered images share a forward pass, and so their batch-norm statistics.
2. On larger images the pattern and its position grow in proportion (nearest neighbour); on images below 32 pixels the
   pattern keeps its size and moves inside.
3. Of the normalisations of the gradients only the paper's ("loss+": by loss and norm) is offered.

Introduced in notebook 05.
"""

from collections import deque
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from paperlib.attacks import check_batch, poisoned_labels
from paperlib.attacks.training_control import Watch, begin, train_with
from paperlib.data.images import ImageData
from paperlib.errors import PaperlibError, choose
from paperlib.training import Log, Progress, Recipe

LEAVE = -1
"""Pixels of the pattern that stay as they are."""
PATTERN = ((1, 0, 1), (LEAVE, 1, LEAVE), (LEAVE, LEAVE, 0), (LEAVE, 1, LEAVE), (1, 0, 1))
"""The authors' pattern; 1 is white, 0 black."""
ROW, COLUMN = 3, 23
"""Of the upper left pixel, on a 32x32 image."""


@dataclass(frozen=True)
class Blind:
    """Hyper-parameters; defaults: BackdoorBench."""

    balance: str = "fixed"
    """``fixed`` weights or ``mgda``."""
    clean_weight: float = 1.0
    """a_0, if fixed."""
    backdoor_weight: float = 0.9
    """a_1, if fixed."""
    start_below: float = 1.0
    """Mean loss below which the attack starts."""
    window: int = 1000
    """Batches in that mean (fewer at the beginning)."""
    share: float = 1.0
    """Share of a batch that enters a second time, with the trigger; the paper's is the whole batch."""
    labels: str = "all_to_one"

    def __post_init__(self) -> None:
        choose("balance", self.balance, ("fixed", "mgda"))
        if not 0 < self.share <= 1:
            raise PaperlibError(f"share={self.share!r} must lie above 0 and be at most 1 (share of a batch).")
        if self.window < 1:
            raise PaperlibError(f"window={self.window!r} must be at least 1 batch.")

    def __call__(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) in [0, 1] with the pattern."""
        check_batch(x)
        height, width = x.shape[-2:]
        scale = max(1, min(height, width) // 32)
        pattern = torch.tensor(PATTERN, dtype=x.dtype, device=x.device)
        pattern = pattern.repeat_interleave(scale, 0).repeat_interleave(scale, 1)[:height, :width]
        top = min(ROW * height // 32, height - pattern.shape[0])
        left = min(COLUMN * width // 32, width - pattern.shape[1])
        x = x.clone()
        window = x[:, :, top : top + pattern.shape[0], left : left + pattern.shape[1]]
        window.copy_(torch.where(pattern == LEAVE, window, pattern))
        return x

    def train(
        self,
        model: nn.Module,
        data: ImageData,
        recipe: Recipe,
        *,
        target: int,
        ratio: float,
        seed: int,
        watch: Watch,
        progress: Progress = None,
    ) -> tuple[Log, dict[str, Tensor]]:
        """Train ``model`` in place; the trigger learns nothing, so its state is empty. ``ratio`` is not used."""
        _, losses_of = begin(self, data, recipe, target=target, ratio=ratio, seed=seed)
        recent: deque[float] = deque(maxlen=self.window)

        def step(model: nn.Module, x: Tensor, y: Tensor, optimizer: torch.optim.Optimizer) -> Tensor:
            n = len(x)
            attacked = bool(recent) and sum(recent) / len(recent) < self.start_below
            if attacked:
                copies = max(1, round(self.share * n))
                wanted = poisoned_labels(y[:copies], self.labels, target, data.n_classes)
                x, y = torch.cat([x, self(x[:copies])]), torch.cat([y, wanted])
            losses = losses_of(model, x, y)
            clean = losses[:n].mean()
            optimizer.zero_grad(set_to_none=True)
            if not attacked:
                clean.backward()
            elif self.balance == "fixed":
                (self.clean_weight * clean + self.backdoor_weight * losses[n:].mean()).backward()
            else:
                balanced_backward([clean, losses[n:].mean()], list(model.parameters()))
            optimizer.step()
            recent.append(clean.item())
            return losses[:n].detach()

        return train_with(step, model, data, recipe, seed=seed, watch=watch, progress=progress), {}


def balanced_backward(losses: list[Tensor], weights: list[nn.Parameter]) -> None:
    """Write the gradient of two losses, combined by the multiple-gradient descent algorithm, to ``weights``."""
    gradients = [
        torch.autograd.grad(loss, weights, retain_graph=i == 0, allow_unused=True, materialize_grads=True)
        for i, loss in enumerate(losses)
    ]
    flat = [torch.cat([g.flatten() for g in gradient]) for gradient in gradients]
    first, second = (g / (loss.detach() * g.norm()).clamp(min=1e-12) for g, loss in zip(flat, losses, strict=True))
    a = shortest(first, second)
    for weight, one, other in zip(weights, *gradients, strict=True):
        weight.grad = a * one + (1 - a) * other


def shortest(first: Tensor, second: Tensor) -> Tensor:
    """The a in [0, 1] for which a * first + (1 - a) * second is shortest."""
    difference = second - first
    return ((difference @ second) / difference.square().sum().clamp(min=1e-12)).clamp(0, 1)
