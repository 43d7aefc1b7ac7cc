"""What happens when a spec is run: the bridge from the lab, which knows no torch, to the methods.

A model is trained or defended once and lies in the store; :func:`restore` brings any of them back together with the data,
attack and clean subset that belong to it. The last few stay in memory, because a grid visits a parent several times in a
row.
"""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from paperlib import attacks, models
from paperlib.analysis import TOOLS
from paperlib.data import images
from paperlib.data import noise as label_noise
from paperlib.data.images import ImageData
from paperlib.defenses import DEFENSES, POISONED, config_class, purify
from paperlib.detection import detect, rates
from paperlib.errors import PaperlibError
from paperlib.lab.run import Context
from paperlib.lab.spec import (
    AnalysisSpec,
    CleanseSpec,
    DefendSpec,
    DetectSpec,
    PrepareSpec,
    SelectSpec,
    Spec,
    TrainSpec,
)
from paperlib.lab.store import TEMPORARY, Store
from paperlib.metrics import attack_success_rate, clean_accuracy, robust_accuracy
from paperlib.registry import Method, configure
from paperlib.selection import WITHOUT_SURROGATE, search
from paperlib.selection.problem import Problem
from paperlib.selection.random import balanced_indices
from paperlib.training import (
    Recipe,
    fit,
    load_state,
    load_weights,
    pick_device,
    predict,
    save_weights,
    seconds_since,
)

EPOCH_SAMPLE = 500
"""Test images that are evaluated after every training epoch; the final numbers use all."""


@lru_cache(maxsize=2)
def _images(dataset: str, split: str, n: int, seed: int, device: str) -> ImageData:
    return images.load(dataset, split, n, seed, device)


@dataclass(frozen=True, eq=False)
class Ground:
    """Everything around one trained model: its data, its attack, its poisoned indices. Tensors lie on one device."""

    spec: TrainSpec | CleanseSpec
    train: ImageData
    """Clean training set."""
    test: ImageData
    attack: attacks.Attack | None
    poisoned: attacks.Poisoned | None
    """Poisoned training set."""
    noisy: label_noise.NoisyLabels | None = None
    """Labels before the attacker came, where some of them are wrong."""
    second: tuple[attacks.Attack, int] | None = None
    """Another trigger in the training set, and its target; ``poisoned`` holds the images of both."""

    @property
    def data(self) -> ImageData:
        """The training set as it is handed in: with wrong labels, poisoned, or both."""
        if self.poisoned is not None:
            return self.poisoned.data
        return self.train if self.noisy is None else replace(self.train, y=self.noisy.y)

    @property
    def dirty(self) -> Tensor:
        """(N,) bool: wrongly labelled, poisoned, or both."""
        out = torch.zeros_like(self.train.y, dtype=torch.bool) if self.noisy is None else self.noisy.mask.clone()
        return out if self.poisoned is None else out | self.poisoned.mask

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
def ground(spec: TrainSpec | CleanseSpec, device: str, store: Store | None = None) -> Ground:
    """Data, attack and poisoned indices of ``spec``, made again from its seeds; wrong labels first, then the attack.

    ``store`` holds what an attack prepared, learned or selected; attacks that do none of this need none.

    Raises
    ------
    PaperlibError
        An infeasible poisoning ratio, an unknown attack parameter, a data set that is missing or damaged.
    """
    train = _images(spec.dataset, "train", spec.n_train, spec.seed, device)
    test = _images(spec.dataset, "test", getattr(spec, "n_test", 0), 0, device)
    noisy = _noisy(spec, train) if spec.noise else None
    if spec.attack == "none":
        return Ground(spec, train, test, None, None, noisy)
    attack = attacks.attack(spec.attack, spec.attack_params)
    indices = _indices(spec, attack, train, store)  # before what the attack learned: an infeasible ratio stops here
    learned = attacks.ATTACKS[spec.attack].controls_training and isinstance(spec, TrainSpec)
    source = spec if learned else spec.prepared
    if source is not None and hasattr(attack, "state"):
        attack = attacks.with_state(attack, load_state(_needed(store).weights_path(source), device))
    handed_in = train if noisy is None else replace(train, y=noisy.y)
    handed_in, other, more = _second(spec, handed_in, indices)
    poisoned = attacks.poison(handed_in, attack, target=spec.target, indices=indices, seed=spec.seed)
    if len(more):
        poisoned = replace(poisoned, indices=torch.cat([poisoned.indices, more.to(device)]).unique())
    return Ground(spec, train, test, attack, poisoned, noisy, other)


def _second(
    spec: TrainSpec | CleanseSpec, data: ImageData, taken: np.ndarray
) -> tuple[ImageData, tuple[attacks.Attack, int] | None, Tensor]:
    """``data`` with the second trigger of ``spec``, that trigger with its target, and the indices of its images.

    It keeps away from the images ``taken`` by the first trigger, unless that one poisons anew in every batch.
    """
    about = dict(getattr(spec, "second", ()))
    if not about:
        return data, None, torch.empty(0, dtype=torch.int64)
    attack = attacks.attack(about["attack"])
    free = np.arange(len(data))
    if not attacks.ATTACKS[spec.attack].controls_training:
        free = np.setdiff1d(free, taken)
    share = about["ratio"] * len(data) / len(free)
    chosen = free[attacks.draw(data.y.cpu().numpy()[free], share, attack.labels, about["target"], spec.seed)]
    poisoned = attacks.poison(data, attack, target=about["target"], indices=chosen, seed=spec.seed)
    return poisoned.data, (attack, about["target"]), poisoned.indices.cpu()


def _noisy(spec: TrainSpec | CleanseSpec, train: ImageData) -> label_noise.NoisyLabels:
    """The wrong labels of ``spec``. People labelled the publisher's whole training set; a subset takes its share of it."""
    indices = None
    if spec.noise in label_noise.HUMAN and spec.n_train:
        indices = images.balanced_subset(_images(spec.dataset, "train", 0, 0, "cpu").y, spec.n_train, spec.seed)
    return label_noise.noisy_labels(
        train.y, spec.noise, spec.noise_ratio, n_classes=train.n_classes, seed=spec.seed, indices=indices
    )


def _needed(store: Store | None) -> Store:
    if store is None:
        raise PaperlibError("this attack's trigger lies in a store; pass the store that holds it.")
    return store


def _indices(spec: TrainSpec | CleanseSpec, attack: attacks.Attack, train: ImageData, store: Store | None) -> Any:
    """Which training images are poisoned."""
    if isinstance(spec, CleanseSpec):
        if spec.selection != "random":
            return balanced_indices(Problem(train, attack, spec.target, spec.ratio), spec.seed).cpu()
    elif spec.selected is not None:
        return np.array(_needed(store).result(spec.selected)["indices"])
    return attacks.draw(train.y.cpu().numpy(), spec.ratio, attack.labels, spec.target, spec.seed)


def evaluate(model: nn.Module, around: Ground) -> dict[str, float]:
    """C-Acc, and under an attack ASR and R-Acc, in percent of the test set; ``asr_2`` is that of a second trigger."""
    out = {"c_acc": clean_accuracy(_numpy(predict(model, around.test.x)), _numpy(around.test.y))}
    if around.attack is not None:
        triggered, _ = around.triggered
        target = None if around.attack.labels == "all_to_all" else around.spec.target
        pred, y = _numpy(predict(model, triggered.x)), _numpy(triggered.y)
        out["asr"] = attack_success_rate(pred, y, target, len(triggered.class_names))
        out["r_acc"] = robust_accuracy(pred, y, target, len(triggered.class_names))
    if around.second is not None:
        attack, other = around.second
        triggered, _ = attacks.poisoned_test(around.test, attack, other)
        pred, y = _numpy(predict(model, triggered.x)), _numpy(triggered.y)
        out["asr_2"] = attack_success_rate(pred, y, other, len(triggered.class_names))
    return {name: round(100 * value, 3) for name, value in out.items()}


def _numpy(x: Tensor) -> np.ndarray:
    return x.cpu().numpy()


def run_prepare(spec: PrepareSpec, context: Context) -> dict[str, Any]:
    """Make what the attack of ``spec`` needs beforehand; result: seconds, and what the attack says about it."""
    device = str(pick_device(context.device))
    data = _images(spec.dataset, "train", spec.n_train, spec.seed, device)
    attack: Any = attacks.attack(spec.attack, spec.attack_params)
    model = None if spec.parent is None else restore(spec.parent, context.store, context.device)[0]
    torch.backends.cudnn.deterministic = True
    start = time.perf_counter()
    state, notes = attack.prepare(data, target=spec.target, model=model, seed=spec.seed, progress=context.progress)
    save_weights(None, context.folder / "weights.safetensors", state)
    return {**notes, "seconds": seconds_since(start)}


def run_select(spec: SelectSpec, context: Context) -> dict[str, Any]:
    """Choose which training images are poisoned; result: indices, seconds, and what the strategy says about it.

    The state after every round lies beside the result to be, so that a run that was killed goes on from there. Its folder has
    the ending of a temporary one: it is no result, and what nobody comes back to is cleared away with the leftovers.
    """
    device = str(pick_device(context.device))
    data = _images(spec.dataset, "train", spec.n_train, spec.seed, device)
    attack = attacks.attack(spec.attack, spec.attack_params)
    if spec.prepared is not None:
        attack = attacks.with_state(attack, load_state(context.store.weights_path(spec.prepared), device))
    surrogate = None
    if spec.strategy not in WITHOUT_SURROGATE:
        surrogate = models.build(spec.model, data, width=spec.width)
    final = context.store.path(spec)
    folder = final.with_name(f"{final.name}.rounds{TEMPORARY}")
    torch.backends.cudnn.deterministic = True
    start = time.perf_counter()
    indices, notes = search(
        data,
        attack,
        spec.ratio,
        strategy=spec.strategy,
        surrogate=surrogate,
        target=spec.target,
        seed=spec.seed,
        batch_size=spec.batch_size,
        lr=spec.lr,
        folder=folder,
        progress=context.progress,
        **dict(spec.params),
    )
    seconds = seconds_since(start)
    shutil.rmtree(folder, ignore_errors=True)
    return {**notes, "indices": indices.tolist(), "seconds": seconds}


def run_train(spec: TrainSpec, context: Context) -> dict[str, Any]:
    """Train the classifier of ``spec``; result: c_acc, asr, r_acc (percent), n_train, n_poisoned, seconds, log.

    With wrong labels also n_noisy. On a cleansed set all three numbers count what is left of it.
    """
    device = str(pick_device(context.device))
    recipe = Recipe(
        spec.epochs,
        spec.batch_size,
        spec.lr,
        spec.schedule,
        adversarial=spec.adversarial,
        adversarial_steps=spec.adversarial_steps,
    )
    if spec.attack != "none" and attacks.ATTACKS[spec.attack].controls_training:
        return _train_controlled(spec, recipe, context, device)
    around = ground(spec, device, context.store)
    data, poisoned, noisy = around.data, None if around.poisoned is None else around.poisoned.mask, around.noisy
    kept = torch.ones_like(data.y, dtype=torch.bool)
    if spec.cleansed is not None:
        kept = ~load_state(context.store.weights_path(spec.cleansed), device)["flagged"]
        data, poisoned = data.subset(kept), None if poisoned is None else poisoned[kept]
    left = {"n_train": len(data), "n_poisoned": 0 if poisoned is None else int(poisoned.sum())}
    if noisy is not None:
        left["n_noisy"] = int((noisy.mask & kept).sum())
    model = models.build(spec.model, data, width=spec.width, seed=spec.seed)
    watch = _watch(spec, model, around.test, around.attack)
    torch.backends.cudnn.deterministic = True
    start = time.perf_counter()
    log = fit(
        model,
        data,
        recipe,
        seed=spec.seed,
        poisoned=poisoned,
        each_epoch=watch,
        progress=context.progress,
    )
    seconds = seconds_since(start)
    save_weights(model, context.folder / "weights.safetensors")
    return _trained(model, around, seconds, log) | left


def _train_controlled(spec: TrainSpec, recipe: Recipe, context: Context, device: str) -> dict[str, Any]:
    """As :func:`run_train`, where the attacker trains the classifier and, with some attacks, the trigger."""
    train = _images(spec.dataset, "train", spec.n_train, spec.seed, device)
    test = _images(spec.dataset, "test", spec.n_test, 0, device)
    attack: Any = attacks.attack(spec.attack, spec.attack_params)
    indices = _indices(spec, attack, train, context.store)
    handed_in, other, _ = _second(spec, train, indices)
    model = models.build(spec.model, train, width=spec.width, seed=spec.seed)

    def watch(epoch: int, state: Any) -> dict[str, float]:
        return _watch(spec, model, test, attacks.with_state(attack, state))(epoch)

    torch.backends.cudnn.deterministic = True
    start = time.perf_counter()
    log, state = attack.train(
        model,
        handed_in,
        recipe,
        target=spec.target,
        ratio=spec.ratio,
        seed=spec.seed,
        watch=watch,
        progress=context.progress,
    )
    seconds = seconds_since(start)
    save_weights(model, context.folder / "weights.safetensors", state)
    attack = attacks.with_state(attack, state)
    poisoned = attacks.poison(handed_in, attack, target=spec.target, indices=indices, seed=spec.seed)
    return _trained(model, Ground(spec, train, test, attack, poisoned, second=other), seconds, log)


def _watch(
    spec: TrainSpec, model: nn.Module, test: ImageData, attack: attacks.Attack | None
) -> Callable[[int], dict[str, float]]:
    """C-Acc and ASR, in percent, of a sample of the test images, for the log of an epoch."""
    sample = test.subset(torch.arange(min(EPOCH_SAMPLE, len(test))))
    watched = None
    if attack is not None:
        part, wanted = attacks.poisoned_test(sample, attack, spec.target)
        watched = (part.x, wanted)

    def watch(epoch: int) -> dict[str, float]:
        out = {"c_acc": 100 * (predict(model, sample.x) == sample.y).float().mean().item()}
        if watched is not None:
            out["asr"] = 100 * (predict(model, watched[0]) == watched[1]).float().mean().item()
        return out

    return watch


def _trained(model: nn.Module, around: Ground, seconds: float, log: list[dict[str, float]]) -> dict[str, Any]:
    return {
        **evaluate(model, around),
        "n_train": len(around.train),
        "n_poisoned": 0 if around.poisoned is None else len(around.poisoned.indices),
        "seconds": seconds,
        "log": [{name: round(value, 4) for name, value in entry.items()} for entry in log],
    }


def run_defend(spec: DefendSpec, context: Context) -> dict[str, Any]:
    """Apply the defense of ``spec``; result: c_acc, asr, r_acc (percent), n_clean, seconds, and the method's notes."""
    parent, around = restore(spec.parent, context.store, context.device)
    clean = around.clean(spec.n_clean, spec.seed) if spec.n_clean else None
    poisoned = None
    if DEFENSES[spec.defense][0].access == POISONED:
        poisoned = around.data
    torch.backends.cudnn.deterministic = True
    start = time.perf_counter()
    model, notes = purify(
        parent,
        clean=clean,
        poisoned=poisoned,
        method=spec.defense,
        seed=spec.seed,
        progress=context.progress,
        judge=lambda candidate: evaluate(candidate, around),
        chance_ok=True,
        **dict(spec.params),
    )
    seconds = seconds_since(start)
    save_weights(model, context.folder / "weights.safetensors")
    return {**notes, **evaluate(model, around), "n_clean": spec.n_clean, "seconds": seconds}


def run_detect(spec: DetectSpec, context: Context) -> dict[str, Any]:
    """Apply the detector of ``spec`` to the poisoned or wrongly labelled training set.

    Result: tpr, fpr, f1, auroc (percent), n_flagged, seconds, and the detector's notes; the scores lie beside it.
    """
    parent, around = restore(spec.parent, context.store, context.device)
    if around.poisoned is None and around.noisy is None:
        raise PaperlibError(f"{around.spec.label} was trained on clean data; there is nothing to detect.")
    clean = around.clean(spec.n_clean, spec.seed) if spec.n_clean else None
    torch.backends.cudnn.deterministic = True
    start = time.perf_counter()
    found = detect(
        around.data,
        method=spec.detector,
        model=parent,
        clean=clean,
        seed=spec.seed,
        progress=context.progress,
        chance_ok=True,
        **dict(spec.params),
    )
    seconds = seconds_since(start)
    save_weights(None, context.folder / "weights.safetensors", {"scores": found.scores, "flagged": found.flagged})
    return {**found.notes, **rates(found, around.dirty), "seconds": seconds}


def run_analysis(spec: AnalysisSpec, context: Context) -> dict[str, Any]:
    """Apply the tool of ``spec``; its result is what the tool returns. A tool without models gets none, and no ground."""
    restored = [restore(parent, context.store, context.device) for parent in spec.inputs]
    tool = TOOLS[spec.tool].load()
    around = restored[0][1] if restored else None
    torch.backends.cudnn.deterministic = True
    return tool([model for model, _ in restored], around, seed=spec.seed, **dict(spec.params))


def restore(spec: Spec, store: Store, device: str) -> tuple[nn.Module, Ground]:
    """The model that ``spec`` produced, in evaluation mode, and the ground it stands on. Treat the model as read-only.

    Raises
    ------
    PaperlibError
        The store holds no weights of ``spec``.
    """
    chain = [spec]  # from the last defense down to the trained classifier
    while isinstance(chain[-1], DefendSpec):
        chain.append(chain[-1].parent)
    origin = chain.pop()
    assert isinstance(origin, TrainSpec)
    around = ground(origin, str(pick_device(device)), store)
    model = models.build(origin.model, around.train, width=origin.width, seed=origin.seed)
    for step in reversed(chain):
        assert isinstance(step, DefendSpec)
        method, _ = DEFENSES[step.defense]
        if method.adapt:  # the defense added layers
            config = configure(config_class(step.defense), step.defense, **dict(step.params))
            model = Method(method.module, method.adapt, method.title).load()(model, config)
    return load_weights(model, store.weights_path(spec)), around
