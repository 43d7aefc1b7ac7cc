r"""TrojanNN: a patch that is tuned to excite two neurons.

Liu et al., "Trojaning Attack on Neural Networks", NDSS 2018, in the setting of BackdoorBench (arXiv 2206.12654). On a
classifier that was trained on clean data, the two neurons of the layer before the last one are chosen that weigh most
in the last layer W, and the pixels T inside a mask are moved, with everything else black, until those neurons reach a
value c:

.. math::
   j_1, j_2 = \text{the largest } \sum_k |W_{kj}|, \qquad
   T \leftarrow \Pi\Big(T - \alpha\, \mathrm{sign}\, \nabla_T \sum_{j \in \{j_1, j_2\}} (a_j(T) - c)^2\Big),

where :math:`\Pi` keeps T within 0.3 of its start and within [0, 1]; :math:`\alpha = 0.1`, c = 100, at most 1,000 steps.
The triggered image is :math:`\mathrm{clip}(x + T)`. The victim is then trained from scratch on the poisoned data.

Differences from the benchmark
1. The mask is a disc that is drawn, not the picture of an apple; it starts from half brightness.
2. The sum is clipped; the benchmark's 8-bit addition wraps around, so that bright pixels turn dark.
3. Of all steps the one with the smallest loss is taken, not the last: steps of 0.1 circle around the optimum.

Introduced in notebook 07.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from paperlib.attacks import check_batch, stated
from paperlib.data.images import ImageData
from paperlib.errors import PaperlibError
from paperlib.models.layers import last_linear
from paperlib.training import Progress, evaluating


@dataclass(frozen=True)
class TrojanNN:
    """Hyper-parameters; defaults: BackdoorBench."""

    neurons: int = 2
    """How many neurons are excited."""
    value: float = 100.0
    """The activation aimed at."""
    steps: int = 1000
    """Largest number of steps."""
    step_size: float = 0.1
    """Change of a pixel in one step, in units of the pixel range."""
    eps: float = 0.3
    """Largest change of a pixel from its start."""
    start: float = 0.5
    """Brightness of the disc at the start."""
    radius: float = 5.0
    """Radius of the disc, in pixels of a 32x32 image."""
    centre: float = 22.0
    """Row and column of its centre, likewise; low and right, out of the reach of random cropping."""
    labels: str = "all_to_one"
    state: Mapping[str, Tensor] = field(default_factory=dict, compare=False, repr=False)
    """``trigger``: T, (C, H, W), in [0, 1], 0 outside the disc; ``neurons``: their numbers."""

    def __call__(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) in [0, 1] plus the disc, clipped."""
        check_batch(x)
        return (x + stated(self, "trigger", x.shape[1:]).to(x)).clamp(0, 1)

    def mask(self, height: int, width: int) -> Tensor:
        """(H, W), True inside the disc."""
        row = (torch.arange(height) + 0.5) * 32 / height - self.centre
        column = (torch.arange(width) + 0.5) * 32 / width - self.centre
        return row.view(-1, 1) ** 2 + column**2 <= self.radius**2

    def prepare(
        self, data: ImageData, *, target: int, model: nn.Module | None, seed: int = 0, progress: Progress = None
    ) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tune the disc on the clean classifier ``model``; neither ``target`` nor ``seed`` plays a part.

        The notes tell the neurons' mean activation on the plain disc and on the tuned one.

        Raises
        ------
        PaperlibError
            No model, or one without a linear last layer; a disc without a pixel.
        """
        if model is None:
            raise PaperlibError(
                "model=None: TrojanNN tunes its trigger on a clean classifier; pass one trained on these images."
            )
        mask = self.mask(*data.x.shape[2:]).to(data.x.device)
        if not mask.any():
            raise PaperlibError(
                f"radius={self.radius!r} around centre={self.centre!r} holds no pixel; enlarge the disc."
            )
        _, last = last_linear(model, "TrojanNN excites the inputs of the last one")
        chosen = last.weight.detach().abs().sum(0).topk(min(self.neurons, last.in_features)).indices.sort().values
        first = self.start * mask.float().expand(1, *data.x.shape[1:]).contiguous()
        trigger, best, best_loss, before, after = first, first, float("inf"), 0.0, 0.0
        with evaluating(model):
            for step in range(self.steps + 1):
                trigger = trigger.detach().requires_grad_()
                activation = penultimate(model, last, trigger)[0, chosen]
                loss = (activation - self.value).square().sum()
                if step == 0:
                    before = activation.mean().item()
                if loss.item() < best_loss:
                    best, best_loss, after = trigger.detach(), loss.item(), activation.mean().item()
                if step == self.steps or best_loss < 1e-3:
                    break
                (gradient,) = torch.autograd.grad(loss, trigger)
                moved = trigger.detach() - self.step_size * gradient.sign() * mask
                trigger = moved.clamp(first - self.eps, first + self.eps).clamp(0, 1) * mask
                if progress and step % 50 == 0:
                    progress(step / self.steps, f"step {step}: mean activation {activation.mean().item():.2f}")
        state = {"trigger": best[0].mul(255).round().div(255), "neurons": chosen}
        notes = {"neurons": chosen.tolist(), "activation_before": round(before, 3), "activation_after": round(after, 3)}
        return state, notes


def penultimate(model: nn.Module, last: nn.Linear, x: Tensor) -> Tensor:
    """Inputs (B, features) of the layer ``last`` for images x, with their gradient."""
    seen: list[Tensor] = []
    handle = last.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    try:
        model(x)
    finally:
        handle.remove()
    return seen[0].float()
