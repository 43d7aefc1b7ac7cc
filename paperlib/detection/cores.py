r"""CORES: confidence-regularised sample sieve.

Cheng et al., "Learning with Instance-Dependent Label Noise: A Sample Sieve Approach", ICLR 2021 (arXiv 2010.02347). A
network is trained with

.. math:: \ell(f(x), \tilde y) - \beta\, E_{k \sim \hat P}\big[ \ell(f(x), k) \big],

which makes it confident, and from an epoch on only samples that pass the sieve count,

.. math:: \ell(f(x), \tilde y) - \tfrac1C \sum_k \ell(f(x), k) \le 0.

:math:`\hat P` is the distribution of the labels that passed in the epoch before; beta is 0 for a quarter of the epochs
and then grows linearly to 2. What does not pass at the end is noisy. The score is the left side of the sieve, in nats.

Differences from the paper
1. Training ends where the samples are read off (epoch 40 of 100, where the learning rate is still its first); the
   sieve's last word is one pass in evaluation mode without augmentation.
2. The beginnings of beta and of the sieve (epochs 10 and 30 of 40) are shares of ``epochs``, so that both scale with
   them.
3. The sieve looks at the batch that is being learned, with the network as it is.
4. Only the architecture of the model that is given counts: a fresh copy is trained.
5. The regulariser rewards a constant answer wherever the largest probability of a given label is below beta
   :math:`\hat P`, as it is of a network that knows little yet: the paper's has taken 3,900 steps when beta begins to
   grow. At laptop scale, after 468 steps at lr 0.1, every run fell for one class and stayed there (TPR 89, FPR 90,
   AUROC 51: nine labels of ten are stopped). A network that says one class of 90 % of the images has ``failed`` in the
   notes. It is the rate: a small network (two convolutions, 4,000 images, symmetric noise 0.4, 12 epochs) ends at AUROC
   51 and one class of all images with lr 0.1, also with half of beta, and at AUROC 77, TPR 78, FPR 38 with lr 0.02 (73,
   76 and 44 if beta begins to grow later, too); laptop scale takes 0.02.

Introduced in notebook 01.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paperlib.data.images import ImageData
from paperlib.detection import Detection
from paperlib.errors import PaperlibError
from paperlib.models import fresh
from paperlib.training import Progress, Recipe, autocast, fit, logits

ONE_CLASS = 0.9
"""Share of the predictions that one class has in a network that has collapsed."""


@dataclass(frozen=True)
class CORES:
    """Hyper-parameters; defaults: the paper's."""

    epochs: int = 40
    batch_size: int = 64
    lr: float = 0.1
    """Divided by 1 + beta, as beta grows."""
    beta: float = 2.0
    """Weight of the confidence regulariser at the end."""
    ramp: float = 0.25
    """Share of the epochs after which beta begins to grow."""
    sieve: float = 0.75
    """Share of the epochs after which samples are sieved."""


def all_losses(logits: Tensor) -> Tensor:
    """Cross-entropy (B, C) with every class as the label; at most -log(1e-8), or the regulariser would have no
    bound."""
    return -logits.float().softmax(1).add(1e-8).log()


def sieve_score(logits: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy with the given label less its mean over all classes, (B,): positive where the sieve stops a
    sample."""
    return F.cross_entropy(logits.float(), y, reduction="none") - all_losses(logits).mean(1)


def beta_at(epoch: int, config: CORES) -> float:
    """beta in ``epoch`` (from 0)."""
    start = config.ramp * config.epochs
    return config.beta * min(1.0, max(0.0, (epoch - start) / max(1e-9, config.epochs - start)))


class Sieve:
    """One step of training and what it must remember: the epoch, and the labels that passed in it."""

    def __init__(self, y: Tensor, classes: int, config: CORES) -> None:
        self.config, self.epoch = config, 0
        self.prior = y.bincount(minlength=classes).float() / len(y)
        self.passed = torch.zeros(classes, device=y.device)

    def step(self, model: nn.Module, x: Tensor, y: Tensor, optimizer: torch.optim.Optimizer) -> Tensor:
        """SGD on the regularised losses of the samples of a batch that pass."""
        beta = beta_at(self.epoch, self.config)
        for group in optimizer.param_groups:  # fit sets the rate anew before every step
            group["lr"] /= 1 + beta
        with autocast(x.device):
            out = model(x)
        losses = F.cross_entropy(out.float(), y, reduction="none") - beta * (all_losses(out) @ self.prior)
        keep = torch.ones_like(losses)
        if self.epoch >= self.config.sieve * self.config.epochs:
            keep = (sieve_score(out.detach(), y) <= 0).float()
        self.passed.index_add_(0, y, keep)
        optimizer.zero_grad(set_to_none=True)
        ((losses * keep).sum() / keep.sum().clamp_min(1)).backward()
        optimizer.step()
        return losses.detach()

    def each_epoch(self, epoch: int) -> dict[str, float]:
        """The next epoch's prior: the labels that passed in this one."""
        self.epoch, total = epoch, self.passed.sum()
        if total > 0:
            self.prior = self.passed / total
        self.passed = torch.zeros_like(self.passed)
        return {}


def cores(
    data: ImageData,
    model: nn.Module,
    clean: ImageData | None,
    config: CORES,
    *,
    seed: int = 0,
    progress: Progress = None,
) -> Detection:
    """CORES on the training set ``data``, with a fresh model like ``model``.

    Raises
    ------
    PaperlibError
        A share of the epochs outside [0, 1].
    """
    for name in ("ramp", "sieve"):
        if not 0 <= getattr(config, name) <= 1:
            raise PaperlibError(f"{name}={getattr(config, name)!r} is a share of the epochs; it must lie in [0, 1].")
    made, sieve = fresh(model, seed), Sieve(data.y, data.n_classes, config)
    recipe = Recipe(config.epochs, config.batch_size, config.lr, "constant")
    fit(made, data, recipe, seed=seed, step=sieve.step, each_epoch=sieve.each_epoch, progress=progress)
    out = logits(made, data.x)
    scores = sieve_score(out, data.y)
    notes: dict[str, Any] = {"threshold": 0.0, "prior": [round(v, 4) for v in sieve.prior.tolist()]}
    said = out.argmax(1).bincount(minlength=data.n_classes)
    if int(said.max()) >= ONE_CLASS * len(data):
        notes["failed"] = f"class {int(said.argmax())} is {100 * int(said.max()) / len(data):.0f} % of its predictions"
    return Detection(scores, scores > 0, notes)
