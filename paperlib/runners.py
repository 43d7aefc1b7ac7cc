"""What happens when a spec is run: the bridge from the lab, which knows no torch, to the methods.

A model is trained or defended once and lies in the store; :func:`restore` brings any of them back together with the data,
attack and clean subset that belong to it. The last few stay in memory, because a grid visits a parent several times in a
row.
"""

import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from paperlib import attacks, models
from paperlib.analysis import TOOLS
from paperlib.data import images
from paperlib.data.images import ImageData
from paperlib.defenses import defend
from paperlib.errors import PaperlibError
from paperlib.lab.run import Context
from paperlib.lab.spec import AnalysisSpec, DefendSpec, Spec, TrainSpec
from paperlib.lab.store import Store
from paperlib.metrics import attack_success_rate, clean_accuracy, robust_accuracy
from paperlib.training import Recipe, fit, load_weights, pick_device, predict, save_weights, seconds_since

EPOCH_SAMPLE = 500
"""Test images that are evaluated after every training epoch; the final numbers use all."""


@lru_cache(maxsize=2)
def _images(dataset: str, split: str, n: int, seed: int, device: str) -> ImageData:
    return images.load(dataset, split, n, seed, device)


@dataclass(frozen=True, eq=False)
class Ground:
    """Everything around one trained model: its data, its attack, its poisoned indices. Tensors lie on one device."""

    spec: TrainSpec
    train: ImageData
    """Clean training set."""
    test: ImageData
    attack: attacks.Attack | None
    poisoned: attacks.Poisoned | None
    """Poisoned training set."""

    @property
    def triggered(self) -> tuple[ImageData, Tensor]:
        """Triggered test images with their true labels, and the labels that the attacker wants."""
        if self.attack is None:
            raise PaperlibError(f"{self.spec.label} was trained on clean data; it has no trigger.")
        return _triggered(self)

    def clean(self, n: int, seed: int = 0) -> ImageData:
        """The ``n`` clean training images that a defender holds; the same for every defense."""
        return self.train.subset(images.clean_subset(self.train.y, n, seed))


@lru_cache(maxsize=2)
def _triggered(ground: Ground) -> tuple[ImageData, Tensor]:
    assert ground.attack is not None
    return attacks.poisoned_test(ground.test, ground.attack, ground.spec.target)


@lru_cache(maxsize=2)
def ground(spec: TrainSpec, device: str) -> Ground:
    """Data, attack and poisoned indices of ``spec``, made again from its seeds.

    Raises
    ------
    PaperlibError
        An infeasible poisoning ratio, an unknown attack parameter, a data set that is missing or damaged.
    """
    train = _images(spec.dataset, "train", spec.n_train, spec.seed, device)
    test = _images(spec.dataset, "test", spec.n_test, 0, device)
    if spec.attack == "none":
        return Ground(spec, train, test, None, None)
    attack = attacks.attack(spec.attack, spec.attack_params)
    indices = attacks.draw(train.y.cpu().numpy(), spec.ratio, attack.labels, spec.target, spec.seed)
    return Ground(spec, train, test, attack, attacks.poison(train, attack, target=spec.target, indices=indices))


def evaluate(model: nn.Module, around: Ground) -> dict[str, float]:
    """C-Acc, and under an attack ASR and R-Acc, in percent of the test set."""
    out = {"c_acc": clean_accuracy(_numpy(predict(model, around.test.x)), _numpy(around.test.y))}
    if around.attack is not None:
        triggered, _ = around.triggered
        target = None if around.attack.labels == "all_to_all" else around.spec.target
        pred, y = _numpy(predict(model, triggered.x)), _numpy(triggered.y)
        out["asr"] = attack_success_rate(pred, y, target, len(triggered.class_names))
        out["r_acc"] = robust_accuracy(pred, y, target, len(triggered.class_names))
    return {name: round(100 * value, 3) for name, value in out.items()}


def _numpy(x: Tensor) -> np.ndarray:
    return x.cpu().numpy()


def run_train(spec: TrainSpec, context: Context) -> dict[str, Any]:
    """Train the classifier of ``spec``; result: c_acc, asr, r_acc (percent), n_train, n_poisoned, seconds, log."""
    device = pick_device(context.device)
    around = ground(spec, str(device))
    data = around.train if around.poisoned is None else around.poisoned.data
    model = models.build(spec.model, data, width=spec.width, seed=spec.seed)
    sample = around.test.subset(torch.arange(min(EPOCH_SAMPLE, len(around.test))))
    watched = None
    if around.attack is not None:
        part, wanted = attacks.poisoned_test(sample, around.attack, spec.target)
        watched = (part.x, wanted)

    def each_epoch(epoch: int) -> dict[str, float]:
        out = {"c_acc": 100 * (predict(model, sample.x) == sample.y).float().mean().item()}
        if watched is not None:
            out["asr"] = 100 * (predict(model, watched[0]) == watched[1]).float().mean().item()
        return out

    torch.backends.cudnn.deterministic = True
    start = time.perf_counter()
    log = fit(
        model,
        data,
        Recipe(spec.epochs, spec.batch_size, spec.lr, spec.schedule),
        seed=spec.seed,
        poisoned=None if around.poisoned is None else around.poisoned.mask,
        each_epoch=each_epoch,
        progress=context.progress,
    )
    seconds = seconds_since(start)
    save_weights(model, context.folder / "weights.safetensors")
    return {
        **evaluate(model, around),
        "n_train": len(data),
        "n_poisoned": 0 if around.poisoned is None else len(around.poisoned.indices),
        "seconds": seconds,
        "log": [{name: round(value, 4) for name, value in entry.items()} for entry in log],
    }


def run_defend(spec: DefendSpec, context: Context) -> dict[str, Any]:
    """Apply the defense of ``spec``; result: c_acc, asr, r_acc (percent), n_clean, seconds."""
    parent, around = restore(spec.parent, context.store, context.device)
    clean = around.clean(spec.n_clean, spec.seed)
    torch.backends.cudnn.deterministic = True
    start = time.perf_counter()
    model = defend(
        parent, clean=clean, method=spec.defense, seed=spec.seed, progress=context.progress, **dict(spec.params)
    )
    seconds = seconds_since(start)
    save_weights(model, context.folder / "weights.safetensors")
    return {**evaluate(model, around), "n_clean": len(clean), "seconds": seconds}


def run_analysis(spec: AnalysisSpec, context: Context) -> dict[str, Any]:
    """Apply the tool of ``spec``; its result is what the tool returns. A tool without models gets none, and no ground."""
    restored = [restore(parent, context.store, context.device) for parent in spec.inputs]
    tool = TOOLS[spec.tool].load()
    around = restored[0][1] if restored else None
    return tool([model for model, _ in restored], around, seed=spec.seed, **dict(spec.params))


def restore(spec: Spec, store: Store, device: str) -> tuple[nn.Module, Ground]:
    """The model that ``spec`` produced, in evaluation mode, and the ground it stands on. Treat the model as read-only.

    Raises
    ------
    PaperlibError
        The store holds no weights of ``spec``.
    """
    origin = next(ancestor for ancestor in spec.ancestry() if isinstance(ancestor, TrainSpec))
    around = ground(origin, str(pick_device(device)))
    model = models.build(origin.model, around.train, width=origin.width, seed=origin.seed)
    return load_weights(model, store.weights_path(spec)), around
