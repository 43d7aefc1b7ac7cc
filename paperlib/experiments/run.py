"""What happens when a spec is run: the bridge from the lab, which knows no torch, to the methods.

A model is trained or defended once and lies in the store; :func:`paperlib.experiments.scene.restore` brings any of them
back together with the data, attack and clean subset that belong to it.
"""

import shutil
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from paperlib import attacks, models
from paperlib.analysis import TOOLS
from paperlib.attacks.scene import Scene
from paperlib.defenses import DEFENSES, POISONED, purify
from paperlib.detection import detect, rates
from paperlib.errors import PaperlibError
from paperlib.experiments import collapse
from paperlib.experiments.scene import before, controls_training, dataset, restore, scene_of
from paperlib.experiments.specs import AnalysisSpec, DefendSpec, DetectSpec, PrepareSpec, SelectSpec, TrainSpec
from paperlib.files import held
from paperlib.lab.run import Context
from paperlib.lab.store import TEMPORARY
from paperlib.metrics import attack_success_rate, clean_accuracy, robust_accuracy
from paperlib.selection import WITHOUT_SURROGATE, search
from paperlib.training import fit, load_state, pick_device, predict, save_weights, seconds_since

EPOCH_SAMPLE = 500
"""Test images that are evaluated after every training epoch; the final numbers use all."""


def evaluate(model: nn.Module, scene: Scene) -> dict[str, Any]:
    """C-Acc, and under an attack ASR and R-Acc, in percent of the test set; ``asr_2`` is that of a second trigger.

    Where the model has collapsed, ``failed`` says why (:mod:`paperlib.experiments.collapse`).
    """
    pred, y = _numpy(predict(model, scene.test.x)), _numpy(scene.test.y)
    out, failed = {"c_acc": clean_accuracy(pred, y)}, collapse.reason(pred, y)
    if scene.attack is not None:
        triggered, _ = scene.triggered
        target = None if scene.attack.labels == "all_to_all" else scene.target
        pred, y = _numpy(predict(model, triggered.x)), _numpy(triggered.y)
        out["asr"] = attack_success_rate(pred, y, target, len(triggered.class_names))
        out["r_acc"] = robust_accuracy(pred, y, target, len(triggered.class_names))
    if scene.second is not None:
        attack, other = scene.second
        triggered, _ = attacks.poisoned_test(scene.test, attack, other)
        pred, y = _numpy(predict(model, triggered.x)), _numpy(triggered.y)
        out["asr_2"] = attack_success_rate(pred, y, other, len(triggered.class_names))
    return {name: round(100 * value, 3) for name, value in out.items()} | ({"failed": failed} if failed else {})


def _numpy(x: Tensor) -> np.ndarray:
    return x.cpu().numpy()


def run_prepare(spec: PrepareSpec, context: Context) -> dict[str, Any]:
    """Make what the attack of ``spec`` needs beforehand; result: seconds, and what the attack says about it."""
    device = str(pick_device(context.device))
    data = dataset(spec.dataset, "train", spec.n_train, spec.seed, device)
    attack: Any = attacks.attack(spec.attack, attacks.meant(spec.attack, spec.attack_params))
    model = None if spec.parent is None else restore(spec.parent, context.store, context.device)[0]
    torch.backends.cudnn.deterministic = True
    start = time.perf_counter()
    state, notes = attack.prepare(data, target=spec.target, model=model, seed=spec.seed, progress=context.progress)
    save_weights(None, context.folder / "weights.safetensors", state)
    return {**notes, "seconds": seconds_since(start)}


def run_select(spec: SelectSpec, context: Context) -> dict[str, Any]:
    """Choose which training images are poisoned; result: indices, seconds, and what the strategy says about it.

    The state after every round lies beside the result to be, so that a run that was killed goes on from there. Its
    folder has the ending of a temporary one: it is no result, and what nobody comes back to is cleared away with the
    leftovers.
    """
    device = str(pick_device(context.device))
    data = dataset(spec.dataset, "train", spec.n_train, spec.seed, device)
    attack = attacks.attack(spec.attack, attacks.meant(spec.attack, spec.attack_params))
    if spec.prepared is not None:
        attack = attacks.with_state(attack, load_state(context.store.weights_path(spec.prepared), device))
    surrogate = None
    if spec.strategy not in WITHOUT_SURROGATE:
        surrogate = models.build(spec.model, data, width=spec.width)
    final = context.store.path(spec)
    folder = final.with_name(f"{final.name}.rounds{TEMPORARY}")
    torch.backends.cudnn.deterministic = True
    start = time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder):  # says to Store.gc() that the run is alive
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
    if controls_training(spec):
        return _train_by_attack(spec, context, device)
    scene = scene_of(spec, device, context.store)
    data, poisoned, noisy = scene.data, None if scene.poisoned is None else scene.poisoned.mask, scene.noisy
    kept = torch.ones_like(data.y, dtype=torch.bool)
    if spec.cleansed is not None:
        kept = ~load_state(context.store.weights_path(spec.cleansed), device)["flagged"]
        data, poisoned = data.subset(kept), None if poisoned is None else poisoned[kept]
    left = {"n_train": len(data), "n_poisoned": 0 if poisoned is None else int(poisoned.sum())}
    if noisy is not None:
        left["n_noisy"] = int((noisy.mask & kept).sum())
    model = models.build(spec.model, data, width=spec.width, seed=spec.seed)
    watch = _watch(model, scene, scene.attack)
    torch.backends.cudnn.deterministic = True
    start = time.perf_counter()
    log = fit(model, data, scene.recipe, seed=spec.seed, poisoned=poisoned, each_epoch=watch, progress=context.progress)
    seconds = seconds_since(start)
    save_weights(model, context.folder / "weights.safetensors")
    return _trained(model, scene, seconds, log) | left


def _train_by_attack(spec: TrainSpec, context: Context, device: str) -> dict[str, Any]:
    """As :func:`run_train`, where the attacker trains the classifier and, with some attacks, the trigger."""
    scene, indices = before(spec, device, context.store)
    attack: Any = scene.attack
    model = models.build(spec.model, scene.train, width=spec.width, seed=spec.seed)

    def watch(epoch: int, state: Any) -> dict[str, float]:
        return _watch(model, scene, attacks.with_state(attack, state))(epoch)

    torch.backends.cudnn.deterministic = True
    start = time.perf_counter()
    about = {"target": spec.target, "ratio": spec.ratio, "seed": spec.seed}
    log, state = attack.train(model, scene.data, scene.recipe, **about, watch=watch, progress=context.progress)
    seconds = seconds_since(start)
    save_weights(model, context.folder / "weights.safetensors", state)
    return _trained(model, scene.under(attacks.with_state(attack, state), indices), seconds, log)


def _watch(model: nn.Module, scene: Scene, attack: attacks.Attack | None) -> Callable[[int], dict[str, float]]:
    """C-Acc and ASR, in percent, of a sample of the test images, for the log of an epoch."""
    sample = scene.test.subset(torch.arange(min(EPOCH_SAMPLE, len(scene.test))))
    watched = None
    if attack is not None:
        part, wanted = attacks.poisoned_test(sample, attack, scene.target)
        watched = (part.x, wanted)

    def watch(epoch: int) -> dict[str, float]:
        out = {"c_acc": 100 * (predict(model, sample.x) == sample.y).float().mean().item()}
        if watched is not None:
            out["asr"] = 100 * (predict(model, watched[0]) == watched[1]).float().mean().item()
        return out

    return watch


def _trained(model: nn.Module, scene: Scene, seconds: float, log: list[dict[str, float]]) -> dict[str, Any]:
    return {
        **evaluate(model, scene),
        "n_train": len(scene.train),
        "n_poisoned": 0 if scene.poisoned is None else len(scene.poisoned.indices),
        "seconds": seconds,
        "log": [{name: round(value, 4) for name, value in entry.items()} for entry in log],
    }


def run_defend(spec: DefendSpec, context: Context) -> dict[str, Any]:
    """Apply the defense of ``spec``; result: c_acc, asr, r_acc (percent), n_clean, seconds, and the method's notes."""
    parent, scene = restore(spec.parent, context.store, context.device)
    clean = scene.clean(spec.n_clean, spec.seed) if spec.n_clean else None
    poisoned = None
    if DEFENSES[spec.defense].access == POISONED:
        poisoned = scene.data
    torch.backends.cudnn.deterministic = True
    start = time.perf_counter()
    model, notes = purify(
        parent,
        clean=clean,
        poisoned=poisoned,
        method=spec.defense,
        seed=spec.seed,
        progress=context.progress,
        judge=lambda candidate: evaluate(candidate, scene),
        chance_ok=True,
        **dict(spec.params),
    )
    seconds = seconds_since(start)
    save_weights(model, context.folder / "weights.safetensors")
    return {**notes, **evaluate(model, scene), "n_clean": spec.n_clean, "seconds": seconds}


def run_detect(spec: DetectSpec, context: Context) -> dict[str, Any]:
    """Apply the detector of ``spec`` to the poisoned or wrongly labelled training set.

    Result: tpr, fpr, f1, auroc (percent), n_flagged, seconds, and the detector's notes; the scores lie beside it.

    Raises
    ------
    PaperlibError
        The model was trained on clean data.
    """
    parent, scene = restore(spec.parent, context.store, context.device)
    if scene.poisoned is None and scene.noisy is None:
        raise PaperlibError(f"{scene.label} was trained on clean data; there is nothing to detect.")
    clean = scene.clean(spec.n_clean, spec.seed) if spec.n_clean else None
    torch.backends.cudnn.deterministic = True
    start = time.perf_counter()
    found = detect(
        scene.data,
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
    return {**found.notes, **rates(found, scene.dirty), "seconds": seconds}


def run_analysis(spec: AnalysisSpec, context: Context) -> dict[str, Any]:
    """Apply the tool of ``spec``; its result is what the tool returns. A tool without models gets none, and no
    scene."""
    restored = [restore(parent, context.store, context.device) for parent in spec.inputs]
    tool = TOOLS[spec.tool].load()
    scene = restored[0][1] if restored else None
    torch.backends.cudnn.deterministic = True
    return tool([model for model, _ in restored], scene, seed=spec.seed, **dict(spec.params))
