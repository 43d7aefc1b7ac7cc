"""What the attacks share in which the attacker trains the classifier.

Such an attacker poisons each batch anew instead of the training set once: the first images of a (shuffled) batch get
the trigger and the label the attacker wants, the next ones a *wrong* trigger and keep their label (WaNet's noise mode,
Input-aware's cross triggers, BPP's negatives), the rest stays clean. Crop and flip come after the trigger, as in nearly
every attack of BackdoorBench (not in Input-aware).

The number of poisoned images of a batch is ``ratio * B``, rounded up or down at random so that its mean is exact. So a
batch in which ``ratio * B`` is below 1 holds one poisoned image with that probability, as in the benchmark; for larger
values the benchmark drops the fraction.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from paperlib.attacks import check_ratio, poisoned_labels, stated, values_known
from paperlib.data.images import ImageData
from paperlib.errors import choose
from paperlib.training import Log, Progress, Recipe, Step, adversary_of, augment, autocast, fit, loss_function

State = Mapping[str, Tensor]
Watch = Callable[[int, State], dict[str, float]]
"""``watch(epoch, state)`` returns what joins the log entry of an epoch."""
Losses = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""``losses(model, x, y) -> (B,)`` of a batch of images in [0, 1]."""
Net = TypeVar("Net", bound=nn.Module)


def begin(
    attack: Any, data: ImageData, recipe: Recipe, *, target: int, ratio: float, seed: int
) -> tuple[torch.Generator, Losses]:
    """With what an attacker's training begins: random numbers of his own, and the losses of a batch.

    ``losses(model, x, y)`` crops and flips the images x (B, C, H, W), makes them harder where the recipe asks for it,
    and returns the cross-entropy of each (B,).

    Raises
    ------
    PaperlibError
        What would only fail, or silently do nothing, after a long training: a label policy that the attack does not
        have, a target that is no class, or a ratio outside (0, 1).
    """
    choose("labels", attack.labels, ("all_to_one", "all_to_all"))
    poisoned_labels(data.y[:0], attack.labels, target, data.n_classes)
    check_ratio(ratio)
    generator = stream(seed, data.x.device)
    loss, harder = loss_function(recipe.label_smoothing), adversary_of(recipe, seed)

    def losses(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        x = harder(model, augment(x, data.pad, data.flip, generator), y)
        with autocast(x.device):
            return loss(model(x), y)

    return generator, losses


def stream(seed: int, device: torch.device) -> torch.Generator:
    """The attacker's own random numbers: independent of those that shuffle the training set."""
    word = np.random.SeedSequence([seed, 19]).generate_state(1)[0]
    return torch.Generator(device).manual_seed(int(word))


def parts(batch: int, ratio: float, cross_ratio: float, generator: torch.Generator) -> tuple[int, int]:
    """How many images of a batch get the trigger, and how many a wrong one (``cross_ratio`` times as many, if there
    are)."""
    mean = ratio * batch
    poisoned = int(mean) + int(torch.rand((), generator=generator, device=generator.device).item() < mean - int(mean))
    return poisoned, min(round(cross_ratio * poisoned), batch - poisoned)


def others(x: Tensor) -> Tensor:
    """For every image of a batch (B, C, H, W) another one; a single image has no other and gets its mirror image."""
    return x.roll(1, 0) if len(x) > 1 else x.flip(-1)


def train_with(
    step: Step,
    model: nn.Module,
    data: ImageData,
    recipe: Recipe,
    *,
    seed: int,
    watch: Watch,
    state: Callable[[], State] = dict,
    progress: Progress,
) -> Log:
    """:func:`paperlib.training.fit` with ``step``, which gets images without crop and flip and does both itself.

    ``state`` returns what the trigger has learned so far, for ``watch``.
    """
    plain = replace(data, pad=0, flip=False)

    def trusted(model: nn.Module, x: Tensor, y: Tensor, optimizer: torch.optim.Optimizer) -> Tensor:
        with values_known():
            return step(model, x, y, optimizer)

    return fit(
        model, plain, recipe, seed=seed, step=trusted, each_epoch=lambda epoch: watch(epoch, state()), progress=progress
    )


class Mixed:
    """Base of the attacks whose trigger does not learn: batches of poisoned, wrongly triggered and clean images.

    A subclass has ``labels``, ``cross_ratio`` and ``cross``.
    """

    def train(
        self: Any,
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
        """Train ``model`` in place; the trigger learns nothing, so its state is empty."""
        generator, losses = begin(self, data, recipe, target=target, ratio=ratio, seed=seed)

        def step(model: nn.Module, x: Tensor, y: Tensor, optimizer: torch.optim.Optimizer) -> Tensor:
            p, q = parts(len(x), ratio, self.cross_ratio, generator)
            x = torch.cat([self(x[:p]), self.cross(x[p : p + q], generator), x[p + q :]])
            y = torch.cat([poisoned_labels(y[:p], self.labels, target, data.n_classes), y[p:]])
            found = losses(model, x, y)
            optimizer.zero_grad(set_to_none=True)
            found.mean().backward()
            optimizer.step()
            return found.detach()

        return train_with(step, model, data, recipe, seed=seed, watch=watch, progress=progress), {}


# ------------------------------------------------------------------------------------------- triggers that are networks


def made_from(seed: int, device: torch.device, build: Callable[[], Net]) -> Net:
    """The network of ``build`` with weights that depend on ``seed`` alone, channels-last on ``device``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = build()
    return net.to(device).to(memory_format=torch.channels_last)


def pack(net: nn.Module, prefix: str) -> dict[str, Tensor]:
    """A copy of a network's parameters and buffers, as named tensors of an attack's state."""
    return {f"{prefix}.{name}": t.detach().clone() for name, t in net.state_dict().items()}


def unpack(attack: Any, prefix: str, build: Callable[[], Net]) -> Net:
    """The network of ``build`` with the weights that lie in the attack's state, in evaluation mode.

    Raises
    ------
    PaperlibError
        The attack was not trained yet.
    """
    with torch.device("meta"):  # no memory and no random number for weights that are replaced at once
        net = build()
    names = net.state_dict()
    net.load_state_dict({name: stated(attack, f"{prefix}.{name}") for name in names}, assign=True)
    return net.to(memory_format=torch.channels_last).requires_grad_(False).eval()
