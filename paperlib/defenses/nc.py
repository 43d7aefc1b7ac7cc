r"""NC: Neural Cleanse.

Wang, Yao, Shan, Li, Viswanath, Zheng, Zhao, "Neural Cleanse: Identifying and Mitigating Backdoor Attacks in Neural
Networks", IEEE S&P 2019. Three parts, on clean images only:

1. *Inversion.* For every class t find the smallest patch that sends all images there, a mask m (one value per pixel)
   and a pattern p in [0, 1],

   .. math:: \min_{m, p}\; L\big(f((1 - m) \odot x + m \odot p),\, t\big) + c\, \|m\|_1,

   both through :math:`(\tanh\theta + 1)/2`, with Adam. The weight c doubles after 5 epochs in which at least 98 % of
   the images are sent to t, and falls by :math:`2^{1.5}` after 5 in which they are not. The smallest mask of an epoch
   that succeeds counts. A class is done when its norm has not fallen by 1 % for 25 epochs (and c has gone both ways).
2. *Detection.* A backdoored class needs a far smaller mask: t is flagged where
   :math:`(\mathrm{med} - \|m_t\|_1) / (1.4826\, \mathrm{MAD}) > 2` with median and median absolute deviation over the
   classes.
3. *Unlearning.* Fine-tuning on the clean subset; a fifth of it carries the inverted trigger and its **true** label.
   Nothing flagged: the model is returned as it is.

All classes are inverted at once: a batch of images is repeated for every class that is not done; their problems do not
touch.

Differences from the benchmark
1. Mask and pattern stay tensors. The benchmark writes them to image files stretched to the full range, and reads them
   back.
2. Every flagged class stamps its own fifth of the images (less where more than four classes are flagged; a part stays
   clean). The benchmark appends the fifth once per flagged class.
3. A class that never reaches 98 % counts with the mask that it ends with, which is large; there its norm is infinite.
   MAD = 0 gave NaN: then 1.2533 times the mean absolute deviation stands for it, and if that is 0, nothing is flagged.
4. The median of an even number of classes is the mean of the middle two, the norm is that of the mask that is kept, and
   images are not augmented while inverting.
5. It uses the clean subset, as the benchmark's second version; the first had all training images.

Introduced in notebook 07.
"""

import statistics
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paperlib.data.images import ImageData
from paperlib.errors import PaperlibError
from paperlib.training import Progress, Recipe, autocast, fit


@dataclass(frozen=True)
class NC:
    """Hyper-parameters; defaults: CIFAR-10."""

    inversion_epochs: int = 80
    inversion_lr: float = 0.1
    """Of Adam with betas 0.5 and 0.9."""
    cost: float = 1e-3
    """First weight c of the mask's norm."""
    success: float = 0.98
    """Share of images that a trigger must send to its class."""
    patience: int = 5
    """Epochs after which c changes."""
    early_stop: int = 25
    """Epochs without an improvement by 1 % after which a class is done."""
    index: float = 2.0
    """Anomaly index above which a class is flagged."""
    stamped: float = 0.2
    """Share of the clean images that carry the inverted trigger of a flagged class."""
    images_at_once: int = 2560
    """In one pass of the inversion; only speed and memory depend on it."""
    epochs: int = 100
    """Of unlearning."""
    batch_size: int = 256
    lr: float = 0.01
    schedule: str = "cosine"


class Inverted(NamedTuple):
    """The inverted trigger of each of K classes."""

    mask: Tensor
    """(K, 1, H, W) in [0, 1]."""
    pattern: Tensor
    """(K, C, H, W) in [0, 1]."""
    norm: Tensor
    """L1 norm of the mask, (K,)."""
    reached: Tensor
    """Whether the trigger reached the wanted success, bool (K,)."""


def stamp(x: Tensor, mask: Tensor, pattern: Tensor) -> Tensor:
    """Images in [0, 1] with a trigger; shapes that broadcast to (..., C, H, W)."""
    return x + mask * (pattern - x)


def unit(theta: Tensor) -> Tensor:
    """From the real line to (0, 1) by tanh."""
    return (theta.tanh() + 1) / 2


def invert_all(
    model: nn.Module, data: ImageData, targets: Sequence[int], config: NC, *, seed: int = 0, progress: Progress = None
) -> Inverted:
    """The smallest trigger that sends the images ``data`` to each class of ``targets``; rows in their order.

    Raises
    ------
    PaperlibError
        A target that is no class, no epoch, or no image.
    """
    if not len(data) or config.inversion_epochs < 1:
        raise PaperlibError(
            f"inversion needs images and epochs; there are {len(data)} images and"
            f" inversion_epochs={config.inversion_epochs}."
        )
    for t in targets:
        if not 0 <= t < data.n_classes:
            raise PaperlibError(f"target={t} is no class; it must lie between 0 and {data.n_classes - 1}.")
    model = deepcopy(model).eval().requires_grad_(False)
    device, (channels, height, width) = data.x.device, data.x.shape[1:]
    k = len(targets)
    wanted = torch.tensor(targets, device=device)
    mask = torch.ones(k, 1, height, width, device=device, requires_grad=True)  # the benchmark starts at 1 everywhere
    pattern = torch.ones(k, channels, height, width, device=device, requires_grad=True)
    optimizer = torch.optim.Adam([mask, pattern], config.inversion_lr, betas=(0.5, 0.9))
    generator = torch.Generator(device).manual_seed(seed)

    def column(value: float) -> Tensor:
        return torch.full((k,), value, device=device)

    cost, best, compared = column(config.cost), column(torch.inf), column(torch.inf)
    ups, downs, stale = column(0), column(0), column(0)
    went_up, went_down, done = column(0).bool(), column(0).bool(), column(0).bool()
    best_mask, best_pattern = unit(mask.detach()), unit(pattern.detach())
    batch = min(config.batch_size, len(data))
    for i in range(config.inversion_epochs):
        active = (~done).nonzero().flatten()
        hits = column(0)
        for index in torch.randperm(len(data), generator=generator, device=device).split(batch):
            x = data.x[index].float().div_(255)
            optimizer.zero_grad(set_to_none=True)
            for some in active.split(max(1, config.images_at_once // batch)):
                m = unit(mask[some])
                stamped = stamp(x, m[:, None], unit(pattern[some])[:, None]).flatten(0, 1)  # class by class
                y = wanted[some].repeat_interleave(len(x))
                with autocast(device):
                    logits = model(stamped.contiguous(memory_format=torch.channels_last))
                losses = F.cross_entropy(logits.float(), y, reduction="none").view(len(some), -1).mean(1)
                (losses + cost[some] * m.flatten(1).sum(1)).sum().backward()  # type: ignore[no-untyped-call]
                hits[some] += (logits.argmax(1) == y).view(len(some), -1).sum(1)
            optimizer.step()
        with torch.no_grad():
            now_mask, now_pattern = unit(mask), unit(pattern)
            norm = now_mask.flatten(1).sum(1)
            success = hits / len(data) >= config.success
            # a class that has not yet reached the wanted success shows its latest trigger
            better = ~done & (success & (norm < best) | best.isinf())
            best_mask[better], best_pattern[better] = now_mask[better], now_pattern[better]
            best = torch.where(~done & success, best.minimum(norm), best)
            stale = torch.where(best.isfinite() & (best >= 0.99 * compared), stale + 1, 0)
            compared = compared.minimum(best)
            done |= went_up & went_down & (stale >= config.early_stop)
            ups, downs = torch.where(success, ups + 1, 0), torch.where(success, 0, downs + 1)
            raised, lowered = ups >= config.patience, downs >= config.patience
            cost = torch.where(raised, cost * 2, torch.where(lowered, cost / 2**1.5, cost))
            ups[raised], downs[lowered] = 0, 0
            went_up, went_down = went_up | raised, went_down | lowered
        if progress:
            progress(
                (i + 1) / config.inversion_epochs,
                f"inversion {i + 1}/{config.inversion_epochs}, {k - int(done.sum())} left",
            )
        if done.all():
            break
    return Inverted(best_mask, best_pattern, best_mask.flatten(1).sum(1), best.isfinite())


def anomaly_indices(norms: Sequence[float]) -> list[float]:
    """How many robust standard deviations each norm lies *below* the median (negative: above).

    The standard deviation is 1.4826 MAD; where the MAD is 0, 1.2533 times the mean absolute deviation; where that is 0
    too, all norms agree and every index is 0.
    """
    median = statistics.median(norms)
    deviations = [abs(n - median) for n in norms]
    spread = 1.4826 * statistics.median(deviations) or 1.2533 * statistics.mean(deviations)
    return [(median - n) / spread if spread else 0.0 for n in norms]


def stamp_fifths(clean: ImageData, found: Inverted, flagged: Sequence[int], share: float, seed: int) -> ImageData:
    """``clean``, of which each flagged class's trigger covers its own ``share``; labels stay true."""
    order = torch.randperm(len(clean), generator=torch.Generator().manual_seed(seed)).to(clean.x.device)
    part = max(1, int(len(clean) * min(share, 1 / (len(flagged) + 1))))
    x = clean.x.clone()
    for i, t in enumerate(flagged):
        index = order[i * part : (i + 1) * part]
        stamped = stamp(clean.float(index), found.mask[t], found.pattern[t])
        x[index] = stamped.mul(255).round().to(torch.uint8)
    return replace(clean, x=x)


def nc(
    model: nn.Module, clean: ImageData, config: NC, *, seed: int = 0, progress: Progress = None
) -> tuple[nn.Module, dict[str, Any]]:
    """A copy of ``model`` that has unlearned the inverted triggers of the flagged classes; unchanged where none is."""
    recipe = Recipe(config.epochs, config.batch_size, config.lr, config.schedule)
    found = invert_all(model, clean, range(clean.n_classes), config, seed=seed, progress=progress)
    norms = found.norm.tolist()
    indices = anomaly_indices(norms)
    flagged = [t for t, index in enumerate(indices) if index > config.index]
    notes: dict[str, Any] = {
        "flagged": flagged,
        "norms": [round(n, 2) for n in norms],
        "anomaly_indices": [round(i, 2) for i in indices],
        "reached": found.reached.tolist(),
        "unchanged": not flagged,
    }
    model = deepcopy(model).eval()
    if flagged:
        data = stamp_fifths(clean, found, flagged, config.stamped, seed)
        fit(model, data, recipe, seed=seed, partial=True, progress=progress)
    return model, notes
