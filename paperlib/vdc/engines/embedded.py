r"""The embedded engine: an ImageNet network from a 17 MB package, and a head fitted on clean reference pictures.

No paper. It stands in for a multimodal model where none can be had: no model hub, no GPU, no key. Class probabilities
come from features of EfficientNet-Lite0 and a linear head (:mod:`~paperlib.vdc.engines.heads`), or from ImageNet's own
classes, and

.. math:: P(\text{yes to attribute } a) = \sum_{c:\, a \text{ is true of } c} P(c \mid x).

Of which classes an attribute is true, the bank declares. (A head of its own for every attribute was tried: on CIFAR-10
it caught 1 to 2 percent fewer mislabelled pictures at the same false alarms.) There are three ways to know the classes:

1. *The labels as they are* (:mod:`~paperlib.vdc.engines.cross_fit`): the default of
   :func:`paperlib.vdc.cleanse.cleanse`. Every picture is answered by a head that has not seen it. Clean reference
   pictures, where there are any, join.
2. *Clean reference pictures alone.* A reference picture is answered by a head that has not seen it (five folds), so
   that a threshold can be calibrated on the same pictures, and a reference picture inside the data set is judged
   fairly.
3. *Taxonomy*: sums of ImageNet's class probabilities that the bank, or the name itself, assigns to each class,
   renormalised.

What it is not: the paper's method needs no labelled picture and learns nothing from the data. This engine does, so its
results are no evidence for the paper's claim; every report says so.

Introduced in notebook 01.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import replace
from itertools import islice

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from paperlib.errors import PaperlibError
from paperlib.training import autocast, pick_device
from paperlib.vdc import posterior
from paperlib.vdc.engines import efficientnet_lite
from paperlib.vdc.engines.cross_fit import Features, cross_fit
from paperlib.vdc.engines.heads import Head, fit_head
from paperlib.vdc.pictures import Pictures, Unreadable
from paperlib.vdc.questions import QuestionBank
from paperlib.vdc.types import Answer, EngineInfo, Picture, Question, picture_key

NOTE = (
    "The embedded engine is a stand-in for the paper's multimodal model: ImageNet features, {}. It is not the paper's "
    "training-free setting and no evidence for the paper's claim."
)


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
        Features of so many pictures are kept in memory (5 kB each): another question or another reference about the
        same picture then costs next to nothing.
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
            classifies=True,
            offline=True,
            needs_reference=True,
        )
        self._bank: QuestionBank | None = None
        self._fingerprint = ""
        self._fitted: tuple[Tensor, ...] = ()  # mean, std, weight, bias of the full fit
        self._held_out: dict[str, np.ndarray] = {}  # picture -> logits of a head that has not seen it
        self._positions: dict[str, tuple[int, ...]] = {}  # class -> its ImageNet classes

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
        self,
        bank: QuestionBank,
        reference: tuple[Sequence[Picture], np.ndarray] | None = None,
        given: tuple[Pictures, np.ndarray] | None = None,
        progress: bool = False,
    ) -> "EmbeddedEngine":
        """A copy that knows the classes of ``bank``.

        Parameters
        ----------
        reference
            Clean pictures and their classes (n,), positions in ``bank.classes``.
        given
            The pictures that will be asked about and the classes (N,) that their labels say, -1: none of them.
        progress
            Show a bar on stderr.

        Raises
        ------
        PaperlibError
            A class has fewer than 2 reference pictures; with neither, a class that ImageNet does not have; with labels
            as they are, fewer than two classes that have two pictures.
        """
        engine = copy(self)
        engine._bank, engine._held_out, engine._fitted = bank, {}, ()
        if given is not None:
            return engine._cross_fit(bank, reference, given, progress)
        if reference is None:
            positions = taxonomy(bank)
            missing = [label for label in bank.classes if label not in positions]
            if missing:
                raise PaperlibError(
                    f"engine='embedded' needs clean reference pictures for {', '.join(missing[:5])}: the questions "
                    f"({bank.name}) do not say which ImageNet classes these are."
                )
            engine.info = replace(
                self.info, note=NOTE.format("assigned to the classes by a table, no labelled picture")
            )
            engine._positions = positions
            engine._fingerprint = _digest(sorted(positions.items()), posterior.declared(bank))
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
            repr(sorted(zip(map(picture_key, pictures), y.tolist(), strict=True))), posterior.declared(bank), self.head
        )
        return engine

    def _cross_fit(
        self,
        bank: QuestionBank,
        reference: tuple[Sequence[Picture], np.ndarray] | None,
        given: tuple[Pictures, np.ndarray],
        progress: bool,
    ) -> "EmbeddedEngine":
        """Fitted on the labels as they are; a picture is known by its content, so that copies of it share a fold."""
        from tqdm import tqdm

        pictures, labels = given
        places: dict[str, int] = {}
        features, rows, opinions = Features(), [], []  # rows: place, class, whether it is known to be right
        positions = taxonomy(bank)
        second = hasattr(self.backbone, "classifier") and all(label in positions for label in bank.classes)
        known = [] if reference is None else list(zip(*reference, strict=True))

        def add(batch: list[tuple[Picture, int, bool]]) -> None:
            fresh: dict[str, Picture] = {}
            for picture, label, sure in batch:
                key = picture_key(picture)
                if key not in places:
                    places[key] = len(places)
                    fresh[key] = picture
                rows.append((places[key], label, sure))
            if fresh:
                f = self.features(list(fresh.values()))
                features.append(f.numpy())
                if second:
                    with torch.inference_mode():
                        logits = self.backbone.classifier(f.to(self.device, self.dtype))  # type: ignore[operator]
                    opinions.append(_sums(logits.float().cpu().softmax(1).numpy(), positions, bank))

        def batches() -> Iterator[tuple[Picture, int, bool]]:
            for picture, label in known:
                yield picture, int(label), True
            for i, label in enumerate(tqdm(labels, unit="image", desc="looking", disable=not progress)):
                try:
                    yield pictures.read(i), int(label), False
                except Unreadable:
                    continue

        stream = batches()
        while batch := list(islice(stream, 64)):
            add(batch)
        target = np.zeros((len(places), len(bank.classes)))
        right = np.zeros(len(places), bool)
        for place, label, sure in rows:
            if sure and not right[place]:  # what is known to be right replaces what the data say
                target[place] = 0
            if label >= 0 and sure >= right[place]:
                target[place, label] += 1
            right[place] |= sure
        if ((target > 0).sum(0) >= 2).sum() < 2:
            raise PaperlibError(
                f"labels: {len(places)} distinct pictures of {len(bank.classes)} classes; at least two classes need two"
                " pictures each, or there is nothing to compare."
            )
        target /= np.maximum(target.sum(1, keepdims=True), 1)
        found = cross_fit(features, target, right, np.concatenate(opinions) if second else None)
        self._held_out = dict(zip(places, found.log_p.astype(np.float32), strict=True))
        seen = f" and {len(known):,} clean reference pictures" if known else ""
        taught = (
            f" and by ImageNet's taxonomy (weight {found.weights[1]:.2f} of {sum(found.weights):.2f})" if second else ""
        )
        text = f"answered by heads fitted on the labels as they are{seen}, each for pictures it has not seen{taught}"
        self.info = replace(self.info, note=NOTE.format(text), cross_fitted=True)
        self._fingerprint = _digest(
            "given", repr(sorted(rows)), repr(list(places)), posterior.declared(bank), self.head
        )
        return self

    def fingerprint(self) -> str:
        if self._bank is None:
            raise posterior.not_fitted("embedded")
        return f"embedded-{self._weights}-{self.side}-{str(self.dtype)[6:]}-{self._fingerprint}"

    def class_probabilities(self, pictures: Sequence[Picture]) -> np.ndarray:
        """P(class | picture), (B, C), in the order of the bank's classes."""
        if self._bank is None:
            raise posterior.not_fitted("embedded")
        if self.info.cross_fitted:
            nothing = np.full(len(self._bank.classes), np.nan, np.float32)
            return np.exp([self._held_out.get(picture_key(p), nothing) for p in pictures])
        if not self._fitted:
            everything = self.features(pictures, self.backbone.classifier).softmax(1).numpy()  # type: ignore[arg-type]
            return _sums(everything, self._positions, self._bank)
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


def _sums(everything: np.ndarray, positions: dict[str, tuple[int, ...]], bank: QuestionBank) -> np.ndarray:
    """Probabilities (B, C) of the bank's classes from those (B, 1000) of ImageNet's."""
    sums = np.stack([everything[:, list(positions[c])].sum(1) for c in bank.classes], axis=1)
    return sums / sums.sum(1, keepdims=True)


def taxonomy(bank: QuestionBank) -> dict[str, tuple[int, ...]]:
    """Class -> its places among ImageNet's 1,000: as the bank says, or the class of the same name; the others are left
    out."""
    from torchvision.models import ResNet18_Weights

    named: dict[str, tuple[int, ...]] = {}
    for k, name in enumerate(ResNet18_Weights.DEFAULT.meta["categories"]):
        named[name.lower()] = (*named.get(name.lower(), ()), k)
    words = {label: " ".join(re.split(r"[\s_-]+", label.split(",")[0].strip().lower())) for label in bank.classes}
    return {label: named[word] for label, word in words.items() if word in named} | dict(bank.imagenet)


def _digest(*parts: object) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(
            part.detach().cpu().float().numpy().tobytes() if isinstance(part, Tensor) else repr(part).encode()
        )
    return digest.hexdigest()[:16]
