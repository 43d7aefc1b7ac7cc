r"""CT: confusion training, which unlearns the content of images and leaves the trigger.

Qi et al., "Towards A Proactive ML Approach for Detecting Backdoor Poison Samples", USENIX Security 2023 (arXiv
2205.13616). A classifier of the inspected set is trained further on a small clean set with wrong labels, together with
what is inspected,

.. math:: \frac{(\lambda - 1)\; E_{\text{clean}}\, \ell(f(x), y_{\text{wrong}})
              + E_{\text{inspected}}\, \ell(f(x), y)}{\lambda},

so that what images show tells nothing about labels any more, while the trigger, which no clean image bears, still does.
Poisoned samples keep a low loss. In rounds, the samples with the lowest losses are distilled (1/2, 1/5, ..., 1/100 of
all), the classifier is trained on them as they are, and confused again. Classes count alike in the second mean:
:math:`1 / \sqrt{\text{frequency} + 0.001}`.

After the last round a sample is *isolated* if it is still predicted as its label. A class is poisoned if its features,
on the plane of their first two principal components, look like two Gaussians (isolated ones and the rest) rather than
one (the rest),

.. math:: R_t = \exp\Big(\tfrac1{n_t} \sum_{i \text{ isolated}} \log \frac{N_1(z_i)}{N_0(z_i)}\Big) > 2,

or > 1.5 for the class with the largest R; its isolated samples are flagged. The score is minus the loss after the last
round, in nats.

Differences from the paper
1. The first pretraining is the training of the model that is given: it has seen the inspected set, and is copied.
2. A wrong label is the prediction of the round's pretrained model plus a random 1 .. C - 1 (mod C), drawn per image and
   step.
3. Gaussians of fewer than three samples are not fitted (R = 1); 0.001 is added to variances.
4. Rounds, shares, weights and rates are those of the published code for CIFAR-10; the paper's own text was not at hand.

Introduced in notebook 01.
"""

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paperlib.data.images import ImageData
from paperlib.detection import Detection
from paperlib.detection.statistics import check_classes, principal_directions, top
from paperlib.errors import PaperlibError
from paperlib.models.features import features
from paperlib.training import Progress, Recipe, autocast, fit, logits, predict, seeded


@dataclass(frozen=True)
class CT:
    """Hyper-parameters; defaults: the published code, CIFAR-10. Tuples: one value per round."""

    keep: tuple[float, ...] = (1 / 2, 1 / 5, 1 / 25, 1 / 50, 1 / 100)
    """Share of all samples that is distilled after each round but the last."""
    least: float = 0.02
    """Share of each class that is distilled at least."""
    pretrain_epochs: tuple[int, ...] = (100, 40, 40, 40, 40)
    """On what was distilled, before each round but the first."""
    pretrain_lr: float = 0.01
    weights: tuple[float, ...] = (20.0, 20.0, 20.0, 30.0, 30.0, 15.0)
    """lambda."""
    lr: tuple[float, ...] = (0.001, 0.001, 0.001, 0.01, 0.01, 0.01)
    iterations: tuple[int, ...] = (6000, 6000, 6000, 6000, 2000, 2000)
    momentum: float = 0.7
    every: int = 2
    """Inspected samples join every second step."""
    batch_size: int = 32
    weight_decay: float = 1e-4
    threshold: float = 2.0
    max_threshold: float = 1.5
    """For the class with the largest likelihood ratio."""
    layer: str = ""


def confusing_labels(predicted: Tensor, classes: int, generator: torch.Generator) -> Tensor:
    """Labels (B,), each uniform over the classes that are not the predicted one."""
    return (
        predicted + torch.randint(1, classes, predicted.shape, generator=generator, device=predicted.device)
    ) % classes


def class_weights(y: Tensor, classes: int) -> Tensor:
    """1 / sqrt(frequency + 0.001) of each class (C,) among labels (n,)."""
    return (y.bincount(minlength=classes) / len(y) + 0.001).rsqrt()


def _batches(n: int, size: int, generator: torch.Generator, device: torch.device) -> Iterator[Tensor]:
    """Positions of batches without end: shuffled anew whenever too few are left."""
    size = min(size, n)
    while True:
        yield from torch.randperm(n, generator=generator, device=device)[: n // size * size].split(size)


def confuse(
    model: nn.Module, inspected: ImageData, clean: ImageData, balance: Tensor, config: CT, number: int, seed: int
) -> None:
    """Confusion training of ``model`` in place, round ``number`` (from 0); ``balance`` (C,) weighs inspected
    classes.

    Raises
    ------
    PaperlibError
        Training diverged.
    """
    device, weight = inspected.x.device, config.weights[number]
    generator = torch.Generator(device).manual_seed(seed)
    predicted = predict(model, clean.x)
    shown, suspects = (_batches(len(d), config.batch_size, generator, device) for d in (clean, inspected))
    optimizer = torch.optim.SGD(
        model.parameters(), config.lr[number], config.momentum, weight_decay=config.weight_decay, foreach=True
    )
    model.train()
    with seeded(seed, device):
        for step in range(config.iterations[number]):
            i = next(shown)
            x, y = clean.x[i], confusing_labels(predicted[i], clean.n_classes, generator)
            share = torch.full((len(i),), 1 / len(i), device=device)
            if step % config.every == 0:
                j = next(suspects)
                own = balance[inspected.y[j]]
                x, y = torch.cat([x, inspected.x[j]]), torch.cat([y, inspected.y[j]])
                share = torch.cat([share * (weight - 1), own / own.sum()]) / weight
            with autocast(device):
                out = model(x.float().div_(255).contiguous(memory_format=torch.channels_last))
            loss = F.cross_entropy(out.float(), y, reduction="none") @ share
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
    model.eval()
    if not math.isfinite(loss.item()):
        raise PaperlibError(
            f"confusion training diverged in round {number}: lr={config.lr[number]} is too high for this model."
        )


def distilled(losses: Tensor, y: Tensor, share: float, least: float) -> Tensor:
    """(N,) bool: the ``share`` of all samples with the lowest losses, and at least the share ``least`` of each
    class."""
    kept = top(-losses, max(1, round(share * len(losses))))
    for label in y.unique().tolist():
        own = (y == label).nonzero().flatten()
        kept[own[losses[own].argsort()[: math.ceil(least * len(own))]]] = True
    return kept


def log_likelihood_ratio(x: Tensor, isolated: Tensor) -> float:
    """log R of the features (n, d) of one class, of which some are ``isolated`` (n,) bool; 0 where a group has fewer
    than 3."""
    if min(int(isolated.sum()), int((~isolated).sum())) < 3:
        return 0.0
    z = x.double()
    z = z @ principal_directions(z - z.mean(0), 2).to(z)

    def density(group: Tensor) -> Tensor:
        covariance = group.T.cov().reshape(z.shape[1], -1) + 1e-3 * torch.eye(z.shape[1]).to(z)
        return torch.distributions.MultivariateNormal(group.mean(0), covariance).log_prob(z[isolated])

    return ((density(z[isolated]) - density(z[~isolated])).sum() / len(z)).item()


def poisoned_classes(x: Tensor, y: Tensor, isolated: Tensor, config: CT) -> tuple[list[int], dict[str, Any]]:
    """Classes that are cleansed, from features (N, d), labels and isolated samples (N,); and their likelihood
    ratios."""
    ratios = {k: log_likelihood_ratio(x[y == k], isolated[y == k]) for k in y.unique().tolist()}
    largest = max(ratios.values())
    bounds = {k: config.max_threshold if value == largest else config.threshold for k, value in ratios.items()}
    found = [k for k, value in ratios.items() if value > math.log(min(bounds[k], config.threshold))]
    printed = {str(k): round(min(math.exp(min(value, 20)), 1e6), 3) for k, value in ratios.items()}
    return found, {"flagged_classes": found, "likelihood_ratio": printed}


def _check(config: CT) -> None:
    rounds = len(config.keep) + 1
    for field in fields(config):
        value = getattr(config, field.name)
        wanted = rounds - 1 if field.name in ("keep", "pretrain_epochs") else rounds
        if isinstance(value, tuple) and len(value) != wanted:
            raise PaperlibError(
                f"{field.name}={value!r} has {len(value)} entries; with {rounds - 1} entries of keep it must have"
                f" {wanted}."
            )
    if not all(0 < share <= 1 for share in config.keep):
        raise PaperlibError(f"keep={config.keep!r} holds shares of the samples; each must lie in (0, 1].")
    if min(config.weights) <= 1:
        raise PaperlibError(f"weights={config.weights!r} must all be above 1, or clean images do not count.")
    for name in ("iterations", "every", "batch_size"):
        if (least := min(value if isinstance(value := getattr(config, name), tuple) else (value,))) < 1:
            raise PaperlibError(f"{name} holds {least}; it must be at least 1.")


def ct(
    data: ImageData, model: nn.Module, clean: ImageData, config: CT, *, seed: int = 0, progress: Progress = None
) -> Detection:
    """Confusion training on the training set ``data`` of ``model``, with images whose labels are right."""
    _check(config)
    check_classes(clean, data.y)
    plain, clean = replace(data, pad=0, flip=False), replace(clean, pad=0, flip=False)
    base, rounds = copy.deepcopy(model), len(config.keep) + 1
    kept = torch.ones(len(data), dtype=torch.bool, device=data.x.device)
    for r in range(rounds):
        suspects, last = plain.subset(kept), r == rounds - 1
        if r and config.pretrain_epochs[r - 1]:
            shown = suspects
            if last:
                shown = replace(suspects, x=torch.cat([suspects.x, clean.x]), y=torch.cat([suspects.y, clean.y]))
            recipe = Recipe(
                config.pretrain_epochs[r - 1],
                config.batch_size,
                config.pretrain_lr,
                "constant",
                weight_decay=config.weight_decay,
            )
            fit(base, shown, recipe, seed=seed + 2 * r)
        confused = copy.deepcopy(base)
        balance = class_weights(suspects.y, data.n_classes)
        confuse(confused, suspects, clean, torch.ones_like(balance) if last else balance, config, r, seed + 2 * r + 1)
        out = logits(confused, data.x)
        losses = F.cross_entropy(out, data.y, reduction="none")
        if not last:
            kept = distilled(losses, data.y, config.keep[r], config.least)
        if progress:
            progress((r + 1) / rounds, f"round {r + 1}/{rounds} of confusion training")
    isolated = out.argmax(1) == data.y
    found, notes = poisoned_classes(features(confused, data, config.layer), data.y, isolated, config)
    flagged = isolated & torch.isin(data.y, torch.tensor(found, dtype=data.y.dtype, device=data.y.device))
    return Detection(-losses, flagged, {**notes, "isolated": int(isolated.sum())})
