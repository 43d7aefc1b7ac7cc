r"""LIRA: a small perturbation of every image, learned together with the classifier.

Doan, Lao, Zhao, Li, "LIRA: Learnable, Imperceptible and Robust Backdoor Attacks", ICCV 2021, in the setting of
BackdoorBench: an auto-encoder A with a tanh at its end makes

.. math::
   x' = \operatorname{clip}_{[0, 1]}\big(x + \epsilon\, \sigma\, A(x)\big), \qquad A(x) \in [-1, 1]^{C \times H \times
   W}

where :math:`\sigma` is the standard deviation that the data set is normalised with, and is trained together with the
classifier f on

.. math:: \alpha\, \ell\big(f(x), y\big) + (1 - \alpha)\, \ell\big(f(x'), t\big), \qquad \alpha = 0.5

*Stage 1* trains A (Adam) and f; *stage 2* keeps A as it is and trains f only.

**Unstable**, there and here: the benchmark prints C-Acc 62.5 and ASR 67.8 on CIFAR-10. One reason: at
:math:`\epsilon = 0.01` a pixel of CIFAR-10 moves by at most 0.67 grey levels of 255, so that a rendered image differs
from the clean one by one grey level where |A(x)| is above 0.75 to 0.81, depending on the channel, and not at all
elsewhere. A larger ``eps`` is what raises ASR, and in few steps a higher ``generator_lr``. The poisoning ratio does not
occur in the loss: every image of a batch enters clean, and a ``share`` of them once more with the trigger; the ratio
decides how many images of the *stored* training set are poisoned.

Cost. One forward and backward pass of f on ``1 + share`` times the images: twice an ordinary training by default.

Differences from the paper and the benchmark
1. A and f take their steps from the same pass; there they alternate, which costs a third pass.
2. Clean and triggered images share a forward pass, and so their batch-norm statistics.
3. Upsampling by nearest neighbours and 3x3 convolutions instead of transposed ones, so that any image size works.
4. ``stage1_epochs`` are part of the recipe's epochs (benchmark: 50 of 300 in one configuration, of 100 in its default),
   and one schedule runs over both stages.

Introduced in notebook 05.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paperlib.attacks import check_batch, poisoned_labels, stated
from paperlib.attacks.training_control import Watch, begin, made_from, pack, train_with, unpack
from paperlib.data.images import ImageData
from paperlib.errors import PaperlibError
from paperlib.training import Log, Progress, Recipe, autocast


class AutoEncoder(nn.Module):
    """Images (B, C, H, W) in [0, 1] to perturbations of the same shape in [-1, 1], in units of ``std``."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]):
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))
        widths = [len(mean), 16, 32, 64, 128]
        self.encoder = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 3, 2, 1), nn.BatchNorm2d(b), nn.ReLU()) for a, b in pairwise(widths)
        )
        self.decoder = nn.ModuleList(
            nn.Sequential(nn.Conv2d(b, a, 3, 1, 1), nn.BatchNorm2d(a), nn.ReLU()) for a, b in pairwise(widths[1:])
        )
        self.last = nn.Conv2d(widths[1], widths[0], 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = (x - self.mean) / self.std
        sizes = []
        for layer in self.encoder:
            sizes.append(x.shape[-2:])
            x = layer(x)
        for layer in reversed(self.decoder):
            x = layer(F.interpolate(x, sizes.pop()))
        return torch.tanh(self.last(F.interpolate(x, sizes.pop())).float())


@dataclass(frozen=True)
class LIRA:
    """Hyper-parameters; defaults: BackdoorBench, CIFAR-10."""

    eps: float = 0.01
    """Largest perturbation, in units of the data set's standard deviation."""
    alpha: float = 0.5
    """Weight of the clean loss."""
    stage1_epochs: int = 50
    """Epochs in which A learns, of all that the classifier is trained for."""
    generator_lr: float = 1e-4
    """Adam's, for A."""
    share: float = 1.0
    """Share of a batch that enters a second time, with the trigger; the paper's is the whole batch."""
    labels: str = "all_to_one"
    state: Mapping[str, Tensor] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise PaperlibError(f"share={self.share!r} must lie above 0 and be at most 1 (share of a batch).")
        if self.stage1_epochs < 1:
            raise PaperlibError(
                f"stage1_epochs={self.stage1_epochs!r} must be at least 1, or nothing learns a trigger."
            )

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) in [0, 1] plus their perturbations, clipped."""
        check_batch(x)
        mean = tuple(stated(self, "generator.mean").flatten().tolist())
        return self._perturb(x, unpack(self, "generator", lambda: AutoEncoder(mean, mean)))

    def _perturb(self, x: Tensor, net: AutoEncoder) -> Tensor:
        return (x + self.eps * net.std * net(x)).clamp(0, 1)

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
        """Train A and ``model`` (in place); the state holds A. ``ratio`` is not used."""
        _, losses_of = begin(self, data, recipe, target=target, ratio=ratio, seed=seed)
        device = data.x.device
        net = made_from(seed, device, lambda: AutoEncoder(data.mean, data.std))
        adam = torch.optim.Adam(net.parameters(), self.generator_lr)
        finished = 0

        def step(model: nn.Module, x: Tensor, y: Tensor, optimizer: torch.optim.Optimizer) -> Tensor:
            first_stage = finished < self.stage1_epochs
            n, copies = len(x), max(1, round(self.share * len(x)))
            with autocast(device), torch.set_grad_enabled(first_stage):
                triggered = self._perturb(x[:copies], net)
            wanted = poisoned_labels(y[:copies], self.labels, target, data.n_classes)
            losses = losses_of(model, torch.cat([x, triggered]), torch.cat([y, wanted]))
            optimizer.zero_grad(set_to_none=True)
            adam.zero_grad(set_to_none=True)
            (self.alpha * losses[:n].mean() + (1 - self.alpha) * losses[n:].mean()).backward()
            optimizer.step()
            if first_stage:
                adam.step()
            return losses[:n].detach()

        def state() -> dict[str, Tensor]:
            return pack(net, "generator")

        def after(epoch: int, state: Mapping[str, Tensor]) -> dict[str, float]:
            nonlocal finished
            finished = epoch
            net.train(epoch < self.stage1_epochs)
            return watch(epoch, state)

        log = train_with(step, model, data, recipe, seed=seed, watch=after, state=state, progress=progress)
        return log, state()
