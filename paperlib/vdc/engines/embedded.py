r"""The embedded engine: an ImageNet network from a 17 MB package, and a head fitted on clean reference pictures.

No paper. It stands in for a multimodal model where none can be had: no model hub, no GPU, no key. With features
:math:`f(x)` of EfficientNet-Lite0 (standardised over the reference pictures) and classes c of the bank,

.. math::
   \min_{W, b} \; \frac1n \sum_i -\log \mathrm{softmax}(W f_i + b)_{y_i} + \frac{\lambda}{2} \|W\|^2, \qquad
   P(\text{yes to attribute } a) = \sum_{c:\, a \text{ is true of } c} \mathrm{softmax}(W f + b)_c .

Of which classes an attribute is true, the bank declares. (A head of its own for every attribute was tried: on CIFAR-10 it
caught 1 to 2 percent fewer mislabelled pictures at the same false alarms.) Without reference pictures ("taxonomy mode"),
class probabilities are the sums of ImageNet's class probabilities that the bank assigns to each class, renormalised.

A reference picture is answered by a head that has not seen it (five folds), so that a threshold can be calibrated on the
same pictures, and a reference picture inside the data set is judged fairly.

What it is not: the paper's method needs no labelled picture. This engine does (or an ImageNet taxonomy), so its results
are no evidence for the paper's claim; every report says so.

Introduced in notebook 01.
"""

import hashlib
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import minimize
from scipy.special import logsumexp
from torch import Tensor

from paperlib.errors import PaperlibError
from paperlib.training import autocast, pick_device
from paperlib.vdc import posterior
from paperlib.vdc.engines import efficientnet_lite
from paperlib.vdc.questions import QuestionBank
from paperlib.vdc.types import Answer, EngineInfo, Picture, Question, picture_key

NOTE = (
    "The embedded engine is a stand-in for the paper's multimodal model: ImageNet features, {}. It is not the paper's "
    "training-free setting and no evidence for the paper's claim."
)


@dataclass(frozen=True)
class Head:
    """Hyper-parameters of the head."""

    weight_decay: float = 0.1
    """The factor lambda; features have unit variance."""
    iterations: int = 100
    """Of L-BFGS."""
    folds: int = 5
    """Reference pictures are answered by heads fitted on the other folds."""


def fit_head(features: Tensor, y: Tensor, classes: int, config: Head) -> tuple[Tensor, Tensor]:
    """Weight (D, C) and bias (C,) from standardised features (n, D) and classes (n,)."""
    x = features.double().numpy()
    n, d = x.shape
    wanted = np.eye(classes)[y.numpy()]

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        weight, bias = parameters[:-classes].reshape(d, classes), parameters[-classes:]
        logits = x @ weight + bias
        log_p = logits - logsumexp(logits, axis=1, keepdims=True)
        value = -(log_p * wanted).sum() / n + config.weight_decay / 2 * (weight**2).sum()
        error = (np.exp(log_p) - wanted) / n
        return value, np.concatenate([(x.T @ error + config.weight_decay * weight).ravel(), error.sum(0)])

    start = np.zeros((d + 1) * classes)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": config.iterations}).x
    weight, bias = torch.from_numpy(found).float().split([d * classes, classes])
    return weight.view(d, classes), bias


class EmbeddedEngine:
    """EfficientNet-Lite0 and a head.

    Parameters
    ----------
    side
        Pictures are resized to ``side`` x ``side`` pixels, 32 or more.
    device
        ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    head
        How the head is fitted.
    remember
        Features of so many pictures are kept in memory (5 kB each): another question or another reference about the same
        picture then costs next to nothing.
    backbone
        Another network, pictures (B, 3, S, S) in [0, 1] -> features (B, D); its taxonomy mode needs an attribute
        ``classifier`` to ImageNet's 1,000 classes.

    Raises
    ------
    PaperlibError
        The package with the weights is not installed, or ``side`` is too small.
    """

    def __init__(
        self,
        *,
        side: int = 160,
        device: str = "auto",
        head: Head | None = None,
        remember: int = 0,
        backbone: torch.nn.Module | None = None,
    ) -> None:
        if side < 32:
            raise PaperlibError(f"side={side} is too small; the network needs 32 pixels or more.")
        self.side, self.head = side, head or Head()
        self.remember = remember
        self.memory: dict[str, Tensor] = {}  # picture -> features; shared by all fitted copies
        self.device = pick_device(device)
        with autocast(self.device):
            fast = torch.is_autocast_enabled(self.device.type)
        self.dtype = torch.bfloat16 if fast else torch.float32
        self._batch = 16 if self.device.type == "cpu" else 512  # on a processor a small batch stays in its cache
        own = backbone is None
        self.backbone = efficientnet_lite.load() if backbone is None else backbone
        self.backbone = self.backbone.to(self.device, self.dtype).eval()
        self._weights = efficientnet_lite.SHA256[:12] if own else _digest(*self.backbone.state_dict().values())
        self.info = EngineInfo(
            name="embedded",
            model="EfficientNet-Lite0 (ImageNet)" if own else type(backbone).__name__,
            license="Apache-2.0" if own else "yours",
            gives_p_yes=True,
            offline=True,
            needs_reference=True,
        )
        self._bank: QuestionBank | None = None
        self._fingerprint = ""
        self._fitted: tuple[Tensor, ...] = ()  # mean, std, weight, bias of the full fit
        self._held_out: dict[str, np.ndarray] = {}  # picture -> logits of a head that has not seen it

    def features(self, pictures: Sequence[Picture], head: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Features (B, D) float32 on the CPU, in the order of the pictures, or what ``head`` makes of them."""
        if not self.remember:
            return self._look(pictures, head)
        keys = [picture_key(picture) for picture in pictures]
        new = {key: i for i, key in enumerate(keys) if key not in self.memory}
        rows = dict(zip(new, self._look([pictures[i] for i in new.values()]), strict=True)) if new else {}
        f = torch.stack([rows[key] if key in rows else self.memory[key] for key in keys])
        if len(self.memory) + len(rows) <= self.remember:
            self.memory.update(rows)
        if head is None:
            return f
        with torch.inference_mode():
            return head(f.to(self.device, self.dtype)).float().cpu()

    def _look(self, pictures: Sequence[Picture], head: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Features (B, D) of pictures that the network has to see."""
        shapes: dict[tuple[int, ...], list[int]] = {}
        for i, picture in enumerate(pictures):
            shapes.setdefault(picture.shape, []).append(i)
        out: list[Tensor] = [torch.empty(0)] * len(pictures)
        with torch.inference_mode():
            for indices in shapes.values():
                for start in range(0, len(indices), self._batch):
                    part = indices[start : start + self._batch]
                    stacked = torch.from_numpy(np.stack([pictures[i] for i in part])).to(self.device)
                    x = stacked.permute(0, 3, 1, 2).float().div_(255)
                    x = F.interpolate(x, size=(self.side, self.side), mode="bicubic", antialias=x.shape[-1] > self.side)
                    f = self.backbone(x.clamp_(0, 1).to(self.dtype))
                    f = (head(f) if head else f).float().cpu()
                    for i, row in zip(part, f, strict=True):
                        out[i] = row
        return torch.stack(out)

    def fit(
        self, bank: QuestionBank, reference: tuple[Sequence[Picture], np.ndarray] | None = None
    ) -> "EmbeddedEngine":
        """A copy that knows the classes of ``bank``, from clean pictures and their classes, or by ImageNet's taxonomy.

        Raises
        ------
        PaperlibError
            A class has fewer than 2 reference pictures; without reference, a class that ImageNet does not have.
        """
        engine = copy(self)
        engine._bank, engine._held_out, engine._fitted = bank, {}, ()
        if reference is None:
            missing = [label for label in bank.classes if label not in bank.imagenet]
            if missing:
                raise PaperlibError(
                    f"engine='embedded' needs clean reference pictures for {', '.join(missing[:5])}: the questions "
                    f"({bank.name}) do not say which ImageNet classes these are."
                )
            engine.info = replace(
                self.info, note=NOTE.format("assigned to the classes by a table, no labelled picture")
            )
            engine._fingerprint = _digest(sorted(bank.imagenet.items()), posterior.declared(bank))
            return engine
        pictures, labels = reference
        y = torch.as_tensor(np.asarray(labels), dtype=torch.int64)
        counts = torch.bincount(y, minlength=len(bank.classes))
        if counts.min() < 2:
            few = bank.classes[int(counts.argmin())]
            raise PaperlibError(
                f"reference has {int(counts.min())} pictures of class {few!r}; give at least 2 of every class."
            )
        classes = len(bank.classes)
        f = self.features(pictures)
        mean, std = f.mean(0), f.std(0) + 1e-6
        f = (f - mean) / std
        engine._fitted = (mean, std, *fit_head(f, y, classes, self.head))
        fold = torch.empty_like(y)  # every fold holds its share of every class
        for c in range(classes):
            mine = (y == c).nonzero().squeeze(1)
            fold[mine] = torch.arange(len(mine)) % self.head.folds
        logits = torch.empty(len(y), classes)
        for k in range(self.head.folds):
            if (fold == k).any():
                weight, bias = fit_head(f[fold != k], y[fold != k], classes, self.head)
                logits[fold == k] = f[fold == k] @ weight + bias
        engine._held_out = dict(zip(map(picture_key, pictures), logits.numpy(), strict=True))
        engine.info = replace(
            self.info, note=NOTE.format(f"a head fitted on {len(y):,} clean labelled reference pictures")
        )
        # what the head depends on; its weights themselves differ in rounding from machine to machine
        engine._fingerprint = _digest(
            repr(sorted(zip(map(picture_key, pictures), y.tolist(), strict=True))),
            posterior.declared(bank),
            self.head,
        )
        return engine

    def fingerprint(self) -> str:
        if self._bank is None:
            raise posterior.not_fitted("embedded")
        return f"embedded-{self._weights}-{self.side}-{str(self.dtype)[6:]}-{self._fingerprint}"

    def class_probabilities(self, pictures: Sequence[Picture]) -> np.ndarray:
        """P(class | picture), (B, C), in the order of the bank's classes."""
        if self._bank is None:
            raise posterior.not_fitted("embedded")
        if not self._fitted:
            everything = self.features(pictures, self.backbone.classifier).softmax(1).numpy()  # type: ignore[arg-type]
            sums = np.stack([everything[:, list(self._bank.imagenet[c])].sum(1) for c in self._bank.classes], axis=1)
            return sums / sums.sum(1, keepdims=True)
        mean, std, weight, bias = self._fitted
        known = [self._held_out.get(picture_key(p)) for p in pictures]
        new = [i for i, row in enumerate(known) if row is None]
        logits = torch.empty(len(pictures), len(bias))
        if new:
            logits[new] = (self.features([pictures[i] for i in new]) - mean) / std @ weight + bias
        for i, row in enumerate(known):
            if row is not None:
                logits[i] = torch.from_numpy(row)
        return logits.softmax(1).numpy()

    def answer(self, pictures: Sequence[Picture], questions: Sequence[Sequence[Question]]) -> list[list[Answer]]:
        """Answers from the class probabilities; abstains where the bank declares no attribute."""
        classes = self.class_probabilities(pictures)
        assert self._bank is not None
        return posterior.answers(classes, self._bank, questions)

    def close(self) -> None:
        """Nothing to let go of."""


def _digest(*parts: object) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(
            part.detach().cpu().float().numpy().tobytes() if isinstance(part, Tensor) else repr(part).encode()
        )
    return digest.hexdigest()[:16]
