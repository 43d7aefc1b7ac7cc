r"""LF: one smooth, low-frequency pattern, found on a clean classifier.

Zeng, Park, Mao, Jia, "Rethinking the Backdoor Attacks' Triggers: A Frequency Perspective", ICCV 2021 (arXiv
2104.03413), in the setting of BackdoorBench (arXiv 2206.12654). The trigger is a universal perturbation towards the
target class t that is pressed through a Gaussian filter S at every step. With f the clean classifier, for 100 training
images again and again:

.. math::
   r &= \text{DeepFool}(f, x + v, t) && \text{(the smallest step over the boundary to class } t\text{)} \\
   v &\leftarrow R\big(S(v + S(r))\big), && R \text{ stretches to } [0, 0.2]

S has 30 taps per axis, a standard deviation of 30 pixels and zeros around the image: nearly a box as large as the
image. The search ends when v changes a fifth of the predictions, or when that share has not moved by 0.01 over five
passes, or after 50 passes. DeepFool's step, repeated until the class is t:

.. math:: r \leftarrow r + \frac{f_k - f_t}{\|\nabla (f_t - f_k)\|_2^2} \nabla (f_t - f_k), \qquad k \text{ the
   predicted class}

The triggered image is :math:`\mathrm{clip}(x + v)`, in training and test.

Differences from the benchmark
1. Images are taken in batches of ``batch_size``: one step of v follows the mean of the batch's perturbations.
2. k is the class that is predicted now; the authors' code keeps the class of the first step.
3. The share of changed predictions is counted on (at most 1,000) training images, not on the test set.
4. On other image sizes than 32x32 the filter grows in proportion. v is rounded to 8 bits.

Introduced in notebook 07.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paperlib.attacks import check_batch, stated
from paperlib.data.images import ImageData
from paperlib.errors import PaperlibError
from paperlib.training import Progress, evaluating

COUNTED = 1000
"""Training images on which changed predictions are counted."""


@dataclass(frozen=True)
class LF:
    """Hyper-parameters; defaults: BackdoorBench."""

    strength: float = 0.2
    """Largest value of the trigger, in units of the pixel range."""
    n_images: int = 100
    """Training images on which the trigger is found."""
    passes: int = 50
    """Largest number of passes over them."""
    fooling: float = 0.2
    """Share of changed predictions at which the search ends."""
    taps: int = 30
    """Length of the Gaussian filter, in pixels of a 32x32 image."""
    sigma: float = 30.0
    """Its standard deviation, likewise."""
    iterations: int = 200
    """DeepFool's largest number of steps."""
    overshoot: float = 0.02
    """How much further than the boundary DeepFool goes."""
    batch_size: int = 20
    labels: str = "all_to_one"
    state: Mapping[str, Tensor] = field(default_factory=dict, compare=False, repr=False)
    """``trigger``: v, (C, H, W), in [0, strength]."""

    def __call__(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) in [0, 1] plus the trigger, clipped."""
        check_batch(x)
        return (x + stated(self, "trigger", x.shape[1:]).to(x)).clamp(0, 1)

    def prepare(
        self, data: ImageData, *, target: int, model: nn.Module | None, seed: int = 0, progress: Progress = None
    ) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Find the trigger on the clean classifier ``model``; the notes tell passes and the share of changed
        predictions.

        Raises
        ------
        PaperlibError
            No model, or no image of ``data`` that it puts into another class than ``target``.
        """
        if model is None:
            raise PaperlibError(
                "model=None: LF finds its trigger on a clean classifier; pass one trained on these images."
            )
        generator = torch.Generator(data.x.device).manual_seed(seed)
        order = torch.randperm(len(data), generator=generator, device=data.x.device)
        x, counted = data.float(order[: self.n_images]), data.float(order[:COUNTED])
        v = torch.zeros_like(x[:1])
        rates: list[float] = []
        with evaluating(model), torch.no_grad():
            before, judged = classes(model, x), classes(model, counted)
            if (before == target).all():
                raise PaperlibError(f"model puts all images into target class {target}; LF needs a trained classifier.")
            while len(rates) < self.passes:
                shuffled = torch.randperm(len(x), generator=generator, device=x.device)
                for part in shuffled.split(self.batch_size):
                    moved = x[part] + v
                    moved = moved[classes(model, moved) == before[part]]
                    steps, arrived = deepfool(model, moved, target, self.iterations, self.overshoot)
                    if arrived.any():
                        step = steps[arrived].mean(0, keepdim=True)
                        v = self.stretch(self.smooth(v + self.smooth(step)))
                rates.append((classes(model, counted + v) != judged).float().mean().item())
                if progress:
                    progress(len(rates) / self.passes, f"pass {len(rates)}: {rates[-1]:.0%} of the predictions changed")
                last = rates[-5:]
                if rates[-1] >= self.fooling or (len(last) == 5 and max(last) - min(last) < 0.01):
                    break
            towards = (classes(model, counted + v) == target).float().mean().item()
        trigger = v[0].mul(255).round().div(255)
        if not trigger.any():
            raise PaperlibError(
                f"LF found no step towards target class {target} in {self.passes} passes; raise passes or iterations."
            )
        return {"trigger": trigger}, {
            "passes": len(rates),
            "changed_predictions": round(100 * rates[-1], 2),
            "towards_target": round(100 * towards, 2),
        }

    def smooth(self, v: Tensor) -> Tensor:
        """The Gaussian filter S on images (B, C, H, W), one axis after the other, with zeros around."""
        channels = v.shape[1]
        for axis in (2, 3):
            share = v.shape[axis] / 32
            taps = max(1, round(self.taps * share))
            at = torch.arange(taps, dtype=v.dtype, device=v.device) - (taps - 1) / 2
            kernel = torch.exp(-((at / (self.sigma * share)) ** 2) / 2)
            weight = (
                (kernel / kernel.sum()).view([taps if a == axis else 1 for a in range(4)]).expand(channels, -1, -1, -1)
            )
            before, after = (taps - 1) // 2, taps // 2
            v = F.conv2d(F.pad(v, (0, 0, before, after) if axis == 2 else (before, after)), weight, groups=channels)
        return v

    def stretch(self, v: Tensor) -> Tensor:
        """R: from the smallest and largest value of v to 0 and ``strength``."""
        low, high = v.amin(), v.amax()
        return (v - low) / (high - low).clamp_min(1e-12) * self.strength


def classes(model: nn.Module, x: Tensor) -> Tensor:
    """Predicted classes (B,) of float images in float32: DeepFool's steps are too small for less."""
    return torch.cat([model(part).argmax(1) for part in x.split(500)])


@torch.enable_grad()
def deepfool(model: nn.Module, x: Tensor, target: int, iterations: int, overshoot: float) -> tuple[Tensor, Tensor]:
    """Targeted DeepFool on a batch: steps (B, C, H, W) that lead to class ``target``, and which (B,) of them arrive."""
    r = torch.zeros_like(x)
    going = torch.arange(len(x), device=x.device)
    for iteration in range(iterations + 1):
        at = (x[going] + (1 + overshoot) * r[going]).requires_grad_()
        logits = model(at)
        best = logits.argmax(1)
        open_ = best != target
        going, best = going[open_], best[open_]
        if not len(going) or iteration == iterations:
            break
        gap = logits[open_].gather(1, best.unsqueeze(1)).squeeze(1) - logits[open_, target]
        gradient = -torch.autograd.grad(gap.sum(), at)[0][open_]
        length = gradient.flatten(1).square().sum(1).clamp_min(1e-12)
        r[going] += (gap.detach() / length).view(-1, 1, 1, 1) * gradient
    arrived = torch.ones(len(x), dtype=torch.bool, device=x.device)
    arrived[going] = False
    return (1 + overshoot) * r, arrived
