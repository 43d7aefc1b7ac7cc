"""Detectors of wrong labels on the features of the embedded engine: the comparison in which nobody has better eyes.

Each method keeps its own decision rule (:mod:`paperlib.detection`); what it would train is a linear head on frozen
features:

``given``
    This project's default: heads on the labels as they are (:mod:`paperlib.vdc.engines.cross_fit`), the suggested cut.
    It scales the features in its own way; the others see them standardised.
``bhn``
    One half of the clean reference trains the head, the other calibrates it.
``cl``
    Five-fold heads on the labels as they are, confident learning.
``simifeat_v``, ``simifeat_r``
    Neighbours among the features; features are not augmented, so that V takes one round.
``cores``
    A head trained with the sieve's loss on the labels as they are, 40 epochs of SGD.

A head that finds nothing to keep, or flags nearly everything, has collapsed: its result says so. Introduced in notebook
01.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from paperlib.detection.bhn import BHN, tested
from paperlib.detection.cl import CL, confident_learning, folds_of
from paperlib.detection.cores import CORES, Sieve, sieve_score
from paperlib.detection.simifeat import SimiFeatR, consensus, ranked, voted, votes
from paperlib.errors import choose
from paperlib.vdc import noise
from paperlib.vdc.engines.cross_fit import Features, cross_fit
from paperlib.vdc.engines.heads import Head, fit_head

Judged = tuple[Tensor, Tensor]
"""Scores (N,), high: suspicious, and flagged (N,)."""
NOISY = Head(weight_decay=1.0, iterations=50)
"""A head on wrong labels: ten times the weight decay of heads on clean ones (CIFAR-10, 2,000 pictures, 40 % wrong:
AUROC .960 against .922)."""
COLLAPSED = 0.8
"""Share of all samples: a rule that flags more has stopped telling them apart."""


def _given(x: Tensor, y: Tensor, clean: Tensor, clean_y: Tensor, classes: int, seed: int) -> Judged:
    kept = Features()
    kept.append(x.numpy())
    log_p = cross_fit(kept, np.eye(classes)[y.numpy()], np.zeros(len(y), bool)).log_p
    found = noise.estimate(log_p, y.numpy(), seed=seed)
    return torch.from_numpy(found.wrong).float(), torch.from_numpy(found.wrong > found.cut)


def _bhn(x: Tensor, y: Tensor, clean: Tensor, clean_y: Tensor, classes: int, seed: int) -> Judged:
    half = folds_of(clean_y, 2, seed) == 0
    weight, bias = fit_head(clean[half], clean_y[half], classes, Head())
    losses, calibration = (
        F.cross_entropy(f @ weight + bias, t, reduction="none") for f, t in ((x, y), (clean[~half], clean_y[~half]))
    )
    return tested(losses, calibration, BHN().alpha)[:2]


def _cl(x: Tensor, y: Tensor, clean: Tensor, clean_y: Tensor, classes: int, seed: int) -> Judged:
    fold, p = folds_of(y, CL().folds, seed), torch.empty(len(y), classes)
    for k in range(CL().folds):
        weight, bias = fit_head(x[fold != k], y[fold != k], classes, NOISY)
        p[fold == k] = (x[fold == k] @ weight + bias).softmax(1)
    return confident_learning(p, y)[:2]


def _simifeat_v(x: Tensor, y: Tensor, clean: Tensor, clean_y: Tensor, classes: int, seed: int) -> Judged:
    share, _ = votes(x, y, classes, SimiFeatR().k)
    own = share.gather(1, y[:, None])[:, 0]
    return voted(own[None], share.scatter(1, y[:, None], -1.0).amax(1)[None])


def _simifeat_r(x: Tensor, y: Tensor, clean: Tensor, clean_y: Tensor, classes: int, seed: int) -> Judged:
    share, near = votes(x, y, classes, SimiFeatR().k)
    own = share.gather(1, y[:, None])[:, 0]
    return ranked(own[None], y, consensus(y, near, classes), SimiFeatR(), seed)[:2]


def _cores(x: Tensor, y: Tensor, clean: Tensor, clean_y: Tensor, classes: int, seed: int) -> Judged:
    config, generator = CORES(), torch.Generator().manual_seed(seed)
    head = torch.nn.Linear(x.shape[1], classes)
    torch.nn.init.zeros_(head.weight), torch.nn.init.zeros_(head.bias)
    optimizer = torch.optim.SGD(head.parameters(), 0.01, momentum=0.9, weight_decay=5e-4)
    sieve = Sieve(y, classes, config)
    for epoch in range(config.epochs):
        for batch in torch.randperm(len(y), generator=generator).split(config.batch_size):
            for group in optimizer.param_groups:
                group["lr"] = 0.01
            sieve.step(head, x[batch], y[batch], optimizer)
        sieve.each_epoch(epoch + 1)
    with torch.no_grad():
        scores = sieve_score(head(x), y)
    return scores, scores > 0


METHODS: dict[str, Callable[..., Judged]] = {
    "given": _given,
    "bhn": _bhn,
    "cl": _cl,
    "simifeat_v": _simifeat_v,
    "simifeat_r": _simifeat_r,
    "cores": _cores,
}


def judge(
    method: str, x: Tensor, y: Tensor, clean: Tensor, clean_y: Tensor, classes: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Scores (N,), high: suspicious, flagged (N,), and notes of one method.

    Parameters
    ----------
    x, clean : (N, D), (n, D)
        Features of the data and of the clean reference.
    y, clean_y : (N,), (n,)
        The labels as they are, and those of the reference.

    Raises
    ------
    PaperlibError
        Unknown method.
    """
    found = METHODS[choose("method", method, METHODS)]
    if method != "given":
        mean, std = x.mean(0), x.std(0) + 1e-6
        x, clean = (x - mean) / std, (clean - mean) / std
    scores, flagged = found(x, y, clean, clean_y, classes, seed)
    kept = flagged.float().mean().item()
    return scores.numpy(), flagged.numpy(), {"collapsed": not 0 < kept < COLLAPSED}
