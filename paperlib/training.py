"""One fast loop for everything that trains a classifier.

The data set is one uint8 tensor on the device; a batch is gathered by index, cropped and flipped there, and goes
through the model channels-last under autocast (bfloat16 where the hardware computes in it, float32 elsewhere). Every
random draw comes from one generator, so a seed decides a run on one machine.

Protocol (BackdoorBench, arXiv 2206.12654): SGD, momentum 0.9, weight decay 5e-4, batch 128, lr 0.01, cosine over 100
epochs, last batch of an epoch dropped, last epoch's model reported.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paperlib.data.images import ImageData
from paperlib.errors import PaperlibError, choose
from paperlib.registry import check_options

Log = list[dict[str, float]]
Step = Callable[[nn.Module, Tensor, Tensor, torch.optim.Optimizer], Tensor]
"""``step(model, x, y, optimizer) -> per-sample losses (B,)``: one optimiser step on one batch of images in [0, 1]."""
Progress = Callable[[float, str], None] | None
"""``progress(fraction, text)``, called now and then; None: nobody watches."""


def pick_device(name: str = "auto") -> torch.device:
    """``auto``: the GPU if there is one, else the CPU.

    Raises
    ------
    PaperlibError
        A device that this machine or this build of torch does not have.
    """
    has = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not isinstance(name, str):
        raise PaperlibError(f"device={name!r} must be a word, for example 'auto' or 'cpu'.")
    if name == "auto":
        name = "cuda" if has["cuda"] else "cpu"
    kind = choose("device", name.split(":")[0], has)
    if not has[kind]:
        raise PaperlibError(f"device={name!r} is not available on this machine; use device='cpu' or 'auto'.")
    device = torch.device(name)
    if kind == "cuda" and device.index is not None and device.index >= torch.cuda.device_count():
        raise PaperlibError(f"device={name!r}: this machine has {torch.cuda.device_count()} GPU(s), counted from 0.")
    return device


def autocast(device: torch.device) -> torch.autocast:
    """Bfloat16 where the device has instructions for it; otherwise float32 (an autocast that is switched off)."""
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()
    return torch.autocast(device.type if device.type != "mps" else "cpu", torch.bfloat16, enabled=fast)


@dataclass(frozen=True)
class Recipe:
    """How a classifier is trained. Defaults: BackdoorBench, CIFAR-10."""

    epochs: int = 100
    batch_size: int = 128
    lr: float = 0.01
    """Constant and cosine: the initial rate; one-cycle: the highest."""
    schedule: str = "cosine"
    """``cosine``: per epoch, to 0 at the end; ``cosine_100``: per epoch, to 0 after 100 epochs whatever ``epochs`` is,
    as the benchmark has it; ``one_cycle``: linear up over 25 % of the steps, linear down; ``constant``; ``linear``: per
    step, to 0 at the end; ``plateau``: a tenth whenever the training loss stagnates (:func:`plateau`);
    ``official_cyclic``: cosine of period 200 *iterations*, as FT-SAM's code steps it."""
    momentum: float = 0.9
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    """Total probability that is spread over the C - 1 *other* classes (torch's own argument is C / (C - 1) times
    it)."""
    adversarial: float = 0.0
    """Largest change of a pixel by which every training image is made harder first (:func:`adversary`); 0: none."""
    adversarial_steps: int = 10
    """PGD steps for every batch, each of a quarter of ``adversarial``."""

    def __post_init__(self) -> None:
        check_options(type(self), vars(self))
        choose("schedule", self.schedule, SCHEDULES)
        check_adversarial(self.adversarial, self.adversarial_steps)


def check_adversarial(adversarial: float, steps: int) -> None:
    """Refuse what is no adversarial training.

    Raises
    ------
    PaperlibError
        ``adversarial`` outside [0, 1), or no step.
    """
    if not 0 <= adversarial < 1:
        raise PaperlibError(
            f"adversarial={adversarial!r} must lie in [0, 1): the largest change of a pixel in [0, 1], for example"
            " 8/255."
        )
    if adversarial and steps < 1:
        raise PaperlibError(f"adversarial_steps={steps!r} must be at least 1.")


def _cosine(t: float) -> float:
    return (1 + math.cos(math.pi * t)) / 2


SCHEDULES: dict[str, Callable[[int, int, int], float]] = {
    # factor of the learning rate from (iteration, iterations per epoch, epochs)
    "constant": lambda it, per_epoch, epochs: 1.0,
    "cosine": lambda it, per_epoch, epochs: _cosine(it // per_epoch / epochs),
    "cosine_100": lambda it, per_epoch, epochs: _cosine(it // per_epoch / 100),
    "plateau": lambda it, per_epoch, epochs: 1.0,  # times what the losses of the epochs decide, see fit
    "one_cycle": lambda it, per_epoch, epochs: min(
        (it + 1) / (0.25 * per_epoch * epochs), (per_epoch * epochs - it) / (0.75 * per_epoch * epochs)
    ),
    "linear": lambda it, per_epoch, epochs: 1 - it / (per_epoch * epochs),
    "official_cyclic": lambda it, per_epoch, epochs: _cosine(it / 100),
}


def plateau(losses: Sequence[float], factor: float = 0.1, patience: int = 10) -> float:
    """Factor of the learning rate after epochs with these mean training losses: ``factor`` to the number of
    stagnations.

    The rule and its values are those of :class:`torch.optim.lr_scheduler.ReduceLROnPlateau`, which the benchmark uses
    for Tiny ImageNet: after more than ``patience`` epochs in a row whose loss is not below (1 - 1e-4) times the best so
    far, the rate is multiplied by ``factor`` and counting starts anew.
    """
    best, bad, reductions = math.inf, 0, 0
    for loss in losses:
        if loss < best * (1 - 1e-4):
            best, bad = loss, 0
        else:
            bad += 1
        if bad > patience:
            reductions, bad = reductions + 1, 0
    return factor**reductions


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Torch's global generator, from which dropout draws, starts from ``seed`` in the block and returns to its state
    after."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def augment(x: Tensor, pad: int, flip: bool, generator: torch.Generator) -> Tensor:
    """Random crop after zero padding, and horizontal flip with probability one half, one draw per image.

    Parameters
    ----------
    x : (B, C, H, W), any dtype
    pad
        Pixels of zero padding on each side; 0: no crop.
    flip
        Whether images are flipped (of the benchmark's data sets only CIFAR-10 is).
    """
    n, _, height, width = x.shape
    device = x.device
    if not pad and not flip:
        return x
    columns = torch.arange(width, device=device).expand(n, -1)
    rows = torch.arange(height, device=device).expand(n, -1)
    if flip:
        flipped = torch.rand(n, 1, generator=generator, device=device) < 0.5
        columns = torch.where(flipped, width - 1 - columns, columns)
    if pad:
        x = F.pad(x, (pad, pad, pad, pad))
        rows = rows + torch.randint(2 * pad + 1, (n, 1), generator=generator, device=device)
        columns = columns + torch.randint(2 * pad + 1, (n, 1), generator=generator, device=device)
    image = torch.arange(n, device=device).view(n, 1, 1)
    # advanced indexing puts the channel last, which is the memory format that the model wants
    return x.permute(0, 2, 3, 1)[image, rows.unsqueeze(2), columns.unsqueeze(1)].permute(0, 3, 1, 2)


def loss_function(label_smoothing: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Per-sample cross-entropy (B,) in float32, with ``label_smoothing`` spread over the other classes."""

    def loss(logits: Tensor, y: Tensor) -> Tensor:
        classes = logits.shape[1]
        smoothing = label_smoothing * classes / (classes - 1)
        return F.cross_entropy(logits.float(), y, reduction="none", label_smoothing=smoothing)

    return loss


def pgd(
    model: nn.Module, x: Tensor, y: Tensor, eps: float, step_size: float, steps: int, noise: Tensor | None = None
) -> Tensor:
    """Images (B, C, H, W) in [0, 1] within ``eps`` of x with a high loss for labels y; ``noise``: where to start.

    The model is in evaluation mode meanwhile. The caller decides about autocast.
    """
    moved = x if noise is None else (x + noise).clamp(0, 1)
    with evaluating(model), torch.enable_grad():
        for _ in range(steps):
            moved = moved.detach().requires_grad_()
            loss = F.cross_entropy(model(moved).float(), y, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, moved)
            moved = (moved + step_size * gradient.sign()).clamp(x - eps, x + eps).clamp(0, 1)
    return moved.detach()


Adversary = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""``adversary(model, x, y) -> images of the shape of x``, in [0, 1], that are harder for the model."""


def adversary(eps: float, step_size: float, steps: int, *, seed: int) -> Adversary:
    """PGD in the L-infinity ball from a uniform random start, as in adversarial training; ``eps`` 0: x itself.

    Where x depends on something that learns (a generator of triggers), the gradient flows as if the change were
    constant.
    """
    generators: dict[torch.device, torch.Generator] = {}

    def harder(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        if not eps:
            return x
        generator = generators.setdefault(x.device, torch.Generator(x.device).manual_seed(seed + 1))
        noise = torch.rand(x.shape, generator=generator, device=x.device) * 2 - 1
        with autocast(x.device):
            moved = pgd(model, x.detach(), y, eps, step_size, steps, eps * noise)
        return x + (moved - x).detach() if x.requires_grad else moved

    return harder


def adversary_of(recipe: Recipe, seed: int) -> Adversary:
    """The adversary that ``recipe`` asks for.

    An attacker who trains adversarially makes images harder after the trigger, crop and flip, with the labels that he
    wants. SAU's paper (arXiv 2307.10562, Table 15) prints 10 steps within 8/255; the size of a step and the random
    start are ours.
    """
    return adversary(recipe.adversarial, recipe.adversarial / 4, recipe.adversarial_steps, seed=seed)


def sgd_step(loss: Callable[[Tensor, Tensor], Tensor], harder: Adversary | None = None) -> Step:
    """The ordinary step: forward, backward on the mean loss, update; with ``harder`` on the images that it makes."""

    def step(model: nn.Module, x: Tensor, y: Tensor, optimizer: torch.optim.Optimizer) -> Tensor:
        if harder is not None:
            x = harder(model, x, y)
        with autocast(x.device):
            losses = loss(model(x), y)
        optimizer.zero_grad(set_to_none=True)
        losses.mean().backward()
        optimizer.step()
        return losses.detach()

    return step


def cut(order: Tensor, batch_size: int) -> list[Tensor]:
    """``order`` (N,) in batches. The last may be smaller; one image alone, by which batch norm could not normalise,
    joins the one before it."""
    parts = list(order.split(batch_size))
    if len(parts) > 1 and len(parts[-1]) == 1:
        last = parts.pop()
        parts[-1] = torch.cat([parts[-1], last])
    return parts


def fit(
    model: nn.Module,
    data: ImageData,
    recipe: Recipe,
    *,
    seed: int,
    step: Step | None = None,
    partial: bool = False,
    poisoned: Tensor | None = None,
    each_epoch: Callable[[int], dict[str, float]] | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> Log:
    """Train ``model`` in place on ``data`` (same device).

    Parameters
    ----------
    step
        What happens on one batch; default: :func:`sgd_step`, on harder images where the recipe says so. FT-SAM brings
        its own.
    partial
        Whether the images left over by whole batches are a step too (:func:`cut`), as in the benchmark's defenses; its
        attacks leave them out.
    poisoned : (N,) bool, optional
        Which training images are poisoned: the log then tells the mean loss of both groups apart.
    each_epoch
        Called after every epoch with its number; what it returns joins that epoch's log entry.

    Returns
    -------
    list of dict
        One entry per epoch: epoch (from 1), lr, loss, and with ``poisoned`` loss_clean and loss_poisoned, nan where the
        dropped rest of the epoch held the whole group.

    Raises
    ------
    PaperlibError
        No image at all, no epoch or an empty batch, an unknown schedule, or a loss that is no longer a number.
    """
    factor = SCHEDULES[choose("schedule", recipe.schedule, SCHEDULES)]
    for name in ("epochs", "batch_size"):
        if getattr(recipe, name) < 1:
            raise PaperlibError(f"{name}={getattr(recipe, name)!r} must be at least 1.")
    n = len(data)
    if n == 0:
        raise PaperlibError("the training set is empty; give at least one image.")
    batch = min(recipe.batch_size, n)
    per_epoch = len(cut(torch.arange(n), batch)) if partial else n // batch
    step = step or sgd_step(loss_function(recipe.label_smoothing), adversary_of(recipe, seed))
    device = data.x.device
    generator = torch.Generator(device).manual_seed(seed)
    optimizer = torch.optim.SGD(
        model.parameters(), recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay, foreach=True
    )
    log: Log = []
    reduced = 1.0
    with seeded(seed, device):
        for epoch in range(recipe.epochs):
            model.train()
            order = torch.randperm(n, generator=generator, device=device)
            if not partial:
                order = order[: per_epoch * batch]
            losses = torch.empty(len(order), device=device)
            for i, index in enumerate(cut(order, batch)):
                x = augment(data.x[index], data.pad, data.flip, generator).float().div_(255)
                for group in optimizer.param_groups:
                    group["lr"] = recipe.lr * factor(epoch * per_epoch + i, per_epoch, recipe.epochs) * reduced
                losses[i * batch : i * batch + len(index)] = step(model, x, data.y[index], optimizer)
            entry: dict[str, float] = {"epoch": epoch + 1, "lr": optimizer.param_groups[0]["lr"]}
            entry["loss"] = losses.mean().item()
            if not math.isfinite(entry["loss"]):
                raise PaperlibError(
                    f"training diverged in epoch {epoch + 1} (loss {entry['loss']}): lr={recipe.lr} is too high for"
                    " this model."
                )
            if poisoned is not None and poisoned.any():
                mask = poisoned[order]
                entry["loss_clean"], entry["loss_poisoned"] = losses[~mask].mean().item(), losses[mask].mean().item()
            if each_epoch:
                entry.update(each_epoch(epoch + 1))
            log.append(entry)
            if recipe.schedule == "plateau":
                reduced = plateau([each["loss"] for each in log])
            if progress:
                progress((epoch + 1) / recipe.epochs, f"epoch {epoch + 1}/{recipe.epochs} loss {entry['loss']:.3f}")
    model.eval()
    return log


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for the length of the block; every module returns to the mode it had."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@torch.no_grad()
def logits(model: nn.Module, x: Tensor, batch_size: int = 1000) -> Tensor:
    """Logits (N, classes), float32, of uint8 images (N, C, H, W) in evaluation mode."""
    with evaluating(model), autocast(x.device):
        out = [
            model(part.float().div_(255).contiguous(memory_format=torch.channels_last)).float()
            for part in x.split(batch_size)
        ]
    return torch.cat(out)


def predict(model: nn.Module, x: Tensor, batch_size: int = 1000) -> Tensor:
    """Predicted classes (N,) of uint8 images (N, C, H, W)."""
    return logits(model, x, batch_size).argmax(1)


def seconds_since(start: float) -> float:
    """Wall seconds since ``start = time.perf_counter()``, to a tenth."""
    return round(time.perf_counter() - start, 1)


ATTACK = "attack/"
"""Prefix of the tensors of a trigger that lie beside a model's weights, or in a file of their own."""


def save_weights(model: nn.Module | None, path: Any, state: Mapping[str, Tensor] | None = None) -> None:
    """Write a model's parameters and buffers, and the ``state`` of an attack, as safetensors; either may be absent."""
    from safetensors.torch import save_file

    tensors = {} if model is None else dict(model.state_dict())
    tensors |= {ATTACK + name: t for name, t in (state or {}).items()}
    save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, path)


def load_weights(model: nn.Module, path: Any) -> nn.Module:
    """Read weights that :func:`save_weights` wrote into ``model``; returns it in evaluation mode."""
    from safetensors.torch import load_file

    model.load_state_dict({name: t for name, t in load_file(path).items() if not name.startswith(ATTACK)})
    return model.eval()


def load_state(path: Any, device: Any = "cpu") -> dict[str, Tensor]:
    """The ``state`` of an attack in a file of :func:`save_weights`."""
    from safetensors.torch import load_file

    return {n[len(ATTACK) :]: t for n, t in load_file(path, device=str(device)).items() if n.startswith(ATTACK)}
