"""From a spec to a stored result with real (tiny) training; experiments and scales that the specs are made from."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from image_toy import same, state

from paperlib import metrics
from paperlib.attacks import ATTACKS
from paperlib.data.images import clean_subset
from paperlib.errors import PaperlibError
from paperlib.experiments import plan
from paperlib.experiments import scene as scenes
from paperlib.experiments.scales import LAPTOP, PAPER, SCALES, SMOKE, scale
from paperlib.experiments.specs import DefendSpec, TrainSpec
from paperlib.lab.run import RunFailed, run
from paperlib.lab.spec import from_dict, pairs
from paperlib.lab.store import Store
from paperlib.training import predict

TINY = {"dataset": "digits", "n_train": 200, "n_test": 100, "width": 4, "epochs": 2, "batch_size": 50, "lr": 0.1}
BADNETS = TrainSpec(**TINY, attack="badnets", ratio=0.1, target=3)
FT = DefendSpec(parent=BADNETS, defense="ft", params=pairs(epochs=1, batch_size=20), n_clean=20)
SAM = DefendSpec(parent=BADNETS, defense="ft_sam", params=pairs(epochs=1, batch_size=20, rho=0.5), n_clean=20)


def runs(store: Store, *specs, **options):
    return run(specs, store, device="cpu", progress=False, **options)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    made = Store(tmp_path_factory.mktemp("runs"))
    runs(made, FT, SAM)
    return made


def test_a_trained_model_and_what_is_stored_of_it(store: Store) -> None:
    result = store.result(BADNETS)
    assert (result["n_train"], result["n_poisoned"]) == (200, 20)
    assert [entry["epoch"] for entry in result["log"]] == [1, 2]
    assert {"loss", "loss_clean", "loss_poisoned", "c_acc", "asr", "lr"} <= set(result["log"][0])
    assert result["seconds"] > 0


@pytest.mark.parametrize("spec", [BADNETS, FT, SAM], ids=lambda spec: spec.label)
def test_the_stored_numbers_belong_to_the_stored_weights(store: Store, spec) -> None:
    net, scene = scenes.restore(spec, store, "cpu")
    result = store.result(spec)
    y = scene.test.y.numpy()
    assert result["c_acc"] == pytest.approx(100 * (predict(net, scene.test.x).numpy() == y).mean(), abs=1e-3)
    triggered, wanted = scene.triggered
    pred, true = predict(net, triggered.x).numpy(), triggered.y.numpy()
    assert len(true) == 90 and (wanted == 3).all()  # 10 of the 100 test images are of the target class
    assert result["asr"] == pytest.approx(100 * metrics.attack_success_rate(pred, true, 3), abs=1e-3)
    assert result["r_acc"] == pytest.approx(100 * metrics.robust_accuracy(pred, true, 3), abs=1e-3)
    assert not net.training


def test_the_training_set_is_made_again_from_its_seeds(store: Store) -> None:
    _, scene = scenes.restore(SAM, store, "cpu")
    assert (scene.name, scene.target, scene.seed) == ("badnets", 3, 0) and scene.poisoned is not None
    assert scene.poisoned.mask.sum() == 20 and (scene.poisoned.data.y[scene.poisoned.mask] == 3).all()
    scenes.scene_of.cache_clear()
    again = scenes.scene_of(BADNETS, "cpu")
    assert torch.equal(again.poisoned.data.x, scene.poisoned.data.x)
    assert torch.equal(again.poisoned.indices, scene.poisoned.indices)


def test_the_attacker_who_trains_adversarially(store: Store) -> None:
    spec = replace(BADNETS, adversarial=8 / 255, adversarial_steps=2)
    assert spec.key != BADNETS.key and replace(BADNETS, adversarial=0.0).key == BADNETS.key
    assert "adversarial" in spec.label and "adversarial" not in BADNETS.label
    runs(store, spec)
    (hard, scene), (plain, _) = (scenes.restore(one, store, "cpu") for one in (spec, BADNETS))
    assert scene.poisoned is not None and not same(state(hard), state(plain))


def test_an_adversarial_training_shares_the_trigger_that_an_ordinary_classifier_made() -> None:
    changes = plan.adversarially(LAPTOP)
    assert changes == {"adversarial": 8 / 255, "adversarial_steps": 10}
    hard, plain = (plan.train(LAPTOP, "lf", **more) for more in (changes, {}))
    assert hard.key != plain.key and hard.prepared == plain.prepared
    assert dict(hard.versions)["adversarial"] == 1 and "adversarial" not in dict(plain.versions)


@pytest.mark.parametrize("attack", ["blended", "wanet"])
def test_two_triggers_with_different_targets(store: Store, attack: str) -> None:
    spec = TrainSpec(**TINY, attack=attack, ratio=0.1, target=3, second=plan.second("badnets", target=5, ratio=0.2))
    assert "and-badnets" in spec.label and spec.key != replace(spec, second=()).key
    runs(store, spec)
    result = store.result(spec)
    model, scene = scenes.restore(spec, store, "cpu")
    assert scene.second is not None and scene.poisoned is not None
    other, target = scene.second
    triggered = scene.test.x[scene.test.y != 5].float() / 255
    rate = (predict(model, (other(triggered) * 255).round().byte()) == 5).double().mean().item()
    assert result["asr_2"] == pytest.approx(100 * rate, abs=1e-3) and target == 5 and result["asr"] >= 0
    data, clean = scene.poisoned.data, scene.train
    corner = (data.x[:, :, -1, -1] == 255).all(1) & (data.x != clean.x).flatten(1).any(1)
    seconds = (data.y == 5) & (corner | ((data.x == clean.x).flatten(1).all(1) & (clean.y != 5)))
    assert 35 <= int(seconds.sum()) <= 42  # 40 images, less those of class 5 whose corner was white already
    if attack == "blended":
        assert result["n_poisoned"] == 60, "no image carries both"
        assert int(((data.y == 3) & (data.x != clean.x).flatten(1).any(1)).sum()) == 20
    defended = replace(FT, parent=spec)
    runs(store, defended)
    assert store.result(defended)["asr_2"] >= 0


def test_a_second_trigger_must_fit_to_the_first() -> None:
    made = plan.train(SMOKE, "lf", second=plan.second("badnets", target=1))
    assert made.prepared == plan.train(SMOKE, "lf").prepared and dict(made.versions)["second"] == 1
    assert from_dict(made.to_dict()) == made
    for attack, second, message in (
        ("blended", plan.second("badnets", target=0), "another target"),
        ("none", plan.second("badnets", target=1), "needs a first attack"),
        ("blended", plan.second("lf", target=1), "only hands in images"),
        ("blended", plan.second("wanet", target=1), "only hands in images"),
        ("blended", plan.second("badnet", target=1), "badnets"),
    ):
        with pytest.raises(PaperlibError, match=message):
            plan.train(SMOKE, attack, second=second)


def test_every_defense_gets_the_same_clean_images(store: Store) -> None:
    _, scene = scenes.restore(FT, store, "cpu")
    few, many = scene.clean(20, 0), scene.clean(40, 0)
    assert torch.equal(few.x, scene.train.x[clean_subset(scene.train.y, 20, 0)])
    assert few.y.bincount().tolist() == [2] * 10 and torch.equal(few.x, many.x[:20])
    clean = {x.numpy().tobytes(): y for x, y in zip(scene.train.x, scene.train.y.tolist(), strict=True)}
    assert [clean[x.numpy().tobytes()] for x in few.x] == few.y.tolist()  # no trigger, true labels


def test_the_same_spec_gives_the_same_result_anywhere(store: Store, tmp_path: Path) -> None:
    other = Store(tmp_path)
    runs(other, FT)
    for spec in (BADNETS, FT):
        first, second = ({**s.result(spec), "seconds": 0} for s in (store, other))
        assert first == second
        assert same(*(state(scenes.restore(spec, s, "cpu")[0]) for s in (store, other)))


def test_defenses_start_from_the_backdoored_model(store: Store) -> None:
    parent = state(scenes.restore(BADNETS, store, "cpu")[0])
    for spec in (FT, SAM):
        assert not same(parent, state(scenes.restore(spec, store, "cpu")[0]))
    frozen = DefendSpec(parent=BADNETS, defense="ft", params=pairs(epochs=1, lr=0.0), n_clean=20)
    runs(store, frozen)  # with no learning rate the weights are the parent's
    after = state(scenes.restore(frozen, store, "cpu")[0])
    assert all(torch.equal(after[name], w) for name, w in parent.items() if "running" not in name and "num" not in name)


def test_an_analysis_is_stored_too(store: Store) -> None:
    spec = plan.analyse("neurons", BADNETS, FT, n=20)
    result = runs(store, spec)[spec.key]
    assert len(result["norm"]) == len(result["tac"]) == 2 and len(result["norm"][0]) == 32
    assert store.result(spec) == result


def test_a_clean_model_has_no_asr_and_no_trigger(tmp_path: Path) -> None:
    spec, store = TrainSpec(**{**TINY, "epochs": 1}), Store(tmp_path)
    result = runs(store, spec)[spec.key]
    assert "asr" not in result and result["n_poisoned"] == 0 and "loss_poisoned" not in result["log"][0]
    _, scene = scenes.restore(spec, store, "cpu")
    with pytest.raises(PaperlibError, match="was trained on clean data; it has no trigger"):
        _ = scene.triggered


def test_an_infeasible_ratio_fails_with_its_reason(tmp_path: Path) -> None:
    spec = TrainSpec(**TINY, attack="sig", ratio=0.2)
    with pytest.raises(RunFailed, match=r"largest feasible ratio of a clean-label attack here is 0\.1\b"):
        runs(Store(tmp_path), spec)


# --------------------------------------------------------------------------------------------- specs and scales


def test_specs_carry_the_sizes_of_the_scale() -> None:
    spec = plan.train(LAPTOP, "blended", 0.05, seed=3)
    for name in ("dataset", "n_train", "n_test", "width", "epochs", "batch_size", "lr", "schedule"):
        assert getattr(spec, name) == getattr(LAPTOP, name)
    assert (spec.attack, spec.ratio, spec.seed) == ("blended", 0.05, 3)
    assert plan.train(LAPTOP, "blended", width=32).width == 32
    made = plan.defend(LAPTOP, spec, "ft_sam", rho=3, seed=3)
    assert dict(made.params) == {"epochs": LAPTOP.defense_epochs, "batch_size": LAPTOP.defense_batch, "rho": 3}
    assert made.n_clean == LAPTOP.n_clean and made.parent is spec
    assert plan.defend(LAPTOP, spec, "ft", n_clean=7, epochs=1).n_clean == 7
    assert plan.train(SMOKE).ratio == 0 and plan.train(SMOKE).attack == "none"


def test_a_new_version_of_a_method_has_new_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    blended, badnets = (plan.train(SMOKE, name).key for name in ("blended", "badnets"))
    monkeypatch.setitem(ATTACKS, "blended", replace(ATTACKS["blended"], version=2))
    assert plan.train(SMOKE, "blended").key != blended and plan.train(SMOKE, "badnets").key == badnets
    monkeypatch.setattr(plan, "TRAINING_VERSION", 99)
    assert plan.train(SMOKE, "badnets").key != badnets


def test_unknown_names_say_the_nearest() -> None:
    with pytest.raises(PaperlibError, match="did you mean 'badnets'"):
        plan.train(SMOKE, "badnet")
    with pytest.raises(PaperlibError, match="did you mean 'ft_sam'"):
        plan.defend(SMOKE, BADNETS, "ft_sm")
    with pytest.raises(PaperlibError, match="did you mean 'neurons'"):
        plan.analyse("neuron", BADNETS)
    with pytest.raises(PaperlibError, match="did you mean 'laptop'"):
        scale("labtop")


def test_the_scale_comes_from_the_environment_when_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAPERLIB_SCALE", "paper")
    assert scale() is PAPER and scale("laptop") is LAPTOP
    monkeypatch.delenv("PAPERLIB_SCALE")
    assert scale() is SMOKE


@pytest.mark.parametrize("name", SCALES)
def test_every_scale_is_feasible(name: str) -> None:
    """Balanced subsets exist, SIG can poison a tenth, and the defender holds 5 % of the images, 10 classes each."""
    found = SCALES[name]
    n = found.n_train or 50_000
    assert found.n_clean == n // 20 and found.n_clean // 5 >= 10  # Table 3 goes down to a fifth of it
    if found.dataset == "digits":
        y = scenes.dataset("digits", "train", found.n_train, 0, "cpu").y.numpy()
        assert len(y) == n and np.bincount(y).min() >= round(0.1 * n)
    assert n % 10 == 0 and found.batch_size <= n and found.defense_batch <= found.n_clean


def test_the_paper_scale_is_the_papers() -> None:
    assert (PAPER.n_train, PAPER.n_test, PAPER.width, PAPER.epochs, PAPER.batch_size) == (0, 0, 64, 100, 128)
    assert (PAPER.lr, PAPER.schedule, PAPER.n_clean, PAPER.defense_epochs) == (0.01, "cosine", 2500, 100)
    assert PAPER.defense_batch == 256 and PAPER.dataset == "cifar10"
