r"""LC, the label-consistent attack: corner patterns on target-class images that have become hard to learn otherwise.

Turner, Tsipras, Madry, "Label-Consistent Backdoor Attacks", 2019 (arXiv 1912.02771), in the setting of BackdoorBench
(arXiv 2206.12654). No label is changed. A classifier g is trained adversarially on the clean data; every target-class
image is moved as far as possible from its class, so that its own features no longer explain its label, and gets the
corner pattern c:

.. math::
   \delta = \arg\max_{\|\delta\|_\infty \le 8/255} \mathrm{CE}\big(g(x + \delta), y\big), \qquad
   x' = \mathrm{clip}(x + \delta + a\,c), \qquad c \in \{-1, 0, 1\}

(PGD, 100 steps of 1.5/255, no random start; a = 1, which makes the pattern black and white). At test time the pattern
is put on clean images: :math:`\mathrm{clip}(x + a\,c)`.

``variant="benchmark2022"`` is what stands behind the benchmark's printed LC results, before it was mended in April
2023: no pattern at all. Training images are :math:`\mathrm{clip}(x + \delta)`, and the *test* images are perturbed in
the same way by the same g. Here g's own prediction takes the place of y at test time, because a trigger does not know
the label.

Differences from the benchmark
1. g is a PreAct-ResNet18 of ``width`` channels, trained with PGD from a random start. The benchmark fetches a finished
   one; epochs, steps and learning rate of the adversarial training are ours.
2. On larger images than 32x32 the pattern grows in proportion, as in the benchmark; on smaller ones it stays 3x3.
3. ``benchmark2022`` at test time: the label (see above). Signs of gradients are rounded differently in batches of
   different size, so that a few pixels of a test image may depend on the batch it came in.

Introduced in notebook 07.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from paperlib import models
from paperlib.attacks import check_batch, render, stated
from paperlib.data.images import ImageData
from paperlib.errors import PaperlibError, choose
from paperlib.models.preact_resnet import PreActResNet18
from paperlib.training import Progress, Recipe, adversary, autocast, fit, loss_function, pgd, predict, sgd_step

VARIANTS = ("authors", "benchmark2022")
CORNER = ((1, -1, -1), (-1, 1, -1), (1, -1, 1))
"""The pattern of both left corners (authors' code); the right corners have its mirror image."""
NETWORK = "network/"
"""Prefix of g's weights in the state."""


@dataclass(frozen=True)
class LC:
    """Hyper-parameters; defaults: the authors' and BackdoorBench's, where they print them.

    Raises
    ------
    PaperlibError
        An unknown variant, or another label policy than ``clean``.
    """

    variant: str = "authors"
    """``authors`` or ``benchmark2022``."""
    eps: float = 8 / 255
    """Largest change of a pixel by the noise."""
    step_size: float = 1.5 / 255
    steps: int = 100
    amplitude: float = 1.0
    """Strength of the corner pattern, in units of the pixel range."""
    width: int = 64
    """Channels of the first stage of the adversarially trained classifier."""
    epochs: int = 20
    """Of the adversarial training, as are the following four."""
    batch_size: int = 128
    lr: float = 0.1
    training_steps: int = 7
    """PGD steps for every training batch."""
    training_step_size: float = 2 / 255
    labels: str = "clean"
    state: Mapping[str, Tensor] = field(default_factory=dict, compare=False, repr=False)
    """``indices`` (P,): the target class; ``images`` (P, C, H, W), uint8: the same with noise. ``benchmark2022``: also
    g's weights, by their names after ``network/``."""

    def __post_init__(self) -> None:
        choose("variant", self.variant, VARIANTS)
        if self.labels != "clean":
            raise PaperlibError(
                f"labels={self.labels!r}: LC is label-consistent by definition; labels must be 'clean'."
            )

    def __call__(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) in [0, 1] as the attacker shows them at test time."""
        check_batch(x)
        if self.variant == "authors":
            return (x + self.amplitude * corners(*x.shape[2:]).to(x)).clamp(0, 1)
        network = self.network(x.shape[1])
        parts = x.split(self.batch_size)
        return torch.cat([pgd(network, p, network(p).argmax(1), self.eps, self.step_size, self.steps) for p in parts])

    def training_images(self, x: Tensor, indices: Tensor) -> Tensor:
        """The uint8 images x (P, C, H, W) at ``indices`` (P,) of the training set as the attacker hands them in.

        Raises
        ------
        PaperlibError
            The attack was not prepared, or on another training set.
        """
        known, images = stated(self, "indices").to(x.device), stated(self, "images").to(x.device)
        if not len(indices):
            return x.clone()
        row = torch.searchsorted(known, indices).clamp_max(len(known) - 1)
        fits = bool((known[row] == indices).all()) and images.shape[1:] == x.shape[1:]
        if not fits or (images[row].int() - x.int()).abs().max() > round(255 * self.eps) + 1:
            raise PaperlibError(
                "indices or x do not belong to the target-class images that LC was prepared on; prepare it on this"
                " training set and target."
            )
        if self.variant == "benchmark2022":
            return images[row]
        return render(self, images[row])

    def prepare(
        self, data: ImageData, *, target: int, model: nn.Module | None = None, seed: int = 0, progress: Progress = None
    ) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Train g adversarially and perturb every image of class ``target``; ``model`` plays no part.

        The notes tell g's accuracy on (at most 200) training images, clean and under this PGD, and the share of the
        perturbed target-class images that it puts into another class, all in percent.

        Raises
        ------
        PaperlibError
            No image of the target class.
        """
        indices = (data.y == target).nonzero().squeeze(1)
        if not len(indices):
            raise PaperlibError(f"target={target!r}: the training set holds no image of that class.")
        plain = replace(data, mean=(0.0,) * data.x.shape[1], std=(1.0,) * data.x.shape[1])
        network = models.build("preact_resnet18", plain, width=self.width, seed=seed)
        recipe = Recipe(self.epochs, self.batch_size, self.lr, "one_cycle")
        training = (lambda done, text: progress(0.7 * done, f"adversarial training, {text}")) if progress else None
        harder = adversary(self.eps, self.training_step_size, self.training_steps, seed=seed)
        fit(network, data, recipe, seed=seed, step=sgd_step(loss_function(0.0), harder), progress=training)

        def perturbed(chosen: Tensor, start: float, share: float) -> Tensor:
            out = []
            for i, part in enumerate(parts := chosen.split(self.batch_size)):
                with autocast(data.x.device):
                    moved = pgd(network, data.float(part), data.y[part], self.eps, self.step_size, self.steps)
                out.append(moved.mul(255).round().to(torch.uint8))
                if progress:
                    progress(start + share * (i + 1) / len(parts), f"PGD, batch {i + 1}/{len(parts)}")
            return torch.cat(out)

        images = perturbed(indices, 0.7, 0.2)
        sample = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))[:200].to(data.x.device)
        notes = {
            "accuracy": (predict(network, data.x[sample]) == data.y[sample]).float().mean().item(),
            "robust_accuracy": (predict(network, perturbed(sample, 0.9, 0.1)) == data.y[sample]).float().mean().item(),
            "fooled": (predict(network, images) != target).float().mean().item(),
        }
        state = {"indices": indices, "images": images}
        if self.variant == "benchmark2022":
            state |= {NETWORK + name: tensor.detach() for name, tensor in network.state_dict().items()}
        return state, {name: round(100 * value, 2) for name, value in notes.items()}

    def network(self, channels: int) -> nn.Module:
        """g, put together from the state."""
        weights = {name[len(NETWORK) :]: tensor for name, tensor in self.state.items() if name.startswith(NETWORK)}
        linear = stated(self, NETWORK + "linear.weight")
        out = PreActResNet18((0.0,) * channels, (1.0,) * channels, len(linear), width=linear.shape[1] // 8)
        out.load_state_dict(weights)
        return out.to(linear.device).eval()


def corners(height: int, width: int) -> Tensor:
    """c (H, W): the pattern of -1 and 1 in the four corners, 0 elsewhere."""
    block = max(1, round(height / 32))  # side of one pixel of the pattern
    left = torch.tensor(CORNER, dtype=torch.float32).repeat_interleave(block, 0).repeat_interleave(block, 1)
    side = 3 * block
    out = torch.zeros(height, width)
    out[:side, :side] = out[-side:, :side] = left
    out[:side, -side:] = out[-side:, -side:] = left.flip(1)
    return out
