"""Which samples to poison: exact masks, exact budgets, determinism, a search that is killed and goes on, and bad
input."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import image_toy
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from paperlib import attacks, models
from paperlib.analysis.selected import selected
from paperlib.data.images import ImageData
from paperlib.errors import PaperlibError
from paperlib.experiments import plan
from paperlib.experiments.scales import LAPTOP, PAPER, SMOKE
from paperlib.experiments.scene import scene_of
from paperlib.experiments.specs import SelectSpec, TrainSpec
from paperlib.lab.run import run
from paperlib.lab.spec import from_dict
from paperlib.lab.store import Store
from paperlib.models.layers import layer_output
from paperlib.selection import SELECTIONS, fus, lps, search, select
from paperlib.selection.problem import Problem, Rounds, top_k
from paperlib.training import logits, loss_function, sgd_step

SMALL: dict[str, dict[str, Any]] = {
    "random": {},
    "balanced": {},
    "fus": {"rounds": 2, "epochs": 2},
    "lps": {"rounds": 2, "epochs": 1},
}
BLENDED = attacks.attack("blended")


@pytest.fixture(scope="module")
def data() -> ImageData:
    return image_toy.images()  # 4 classes of 10


@pytest.fixture(scope="module")
def surrogate(data: ImageData) -> nn.Module:
    return image_toy.model(data)


def searched(data: ImageData, strategy: str, surrogate: nn.Module, **options: Any) -> tuple[Tensor, dict[str, Any]]:
    attack, ratio = options.pop("attack", BLENDED), options.pop("ratio", 0.15)
    options = {"batch_size": 10, **SMALL[strategy], **options}
    return search(data, attack, ratio, strategy=strategy, surrogate=surrogate, **options)


# ---------------------------------------------------------------------------------------------------- the inner step


def allowed(y: np.ndarray, chosen: tuple[int, ...]) -> bool:
    counts = [sum(y[i] == k for i in chosen) for k in np.unique(y)]
    return max(counts) - min(counts) <= 1


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6), st.booleans())
def test_top_k_is_the_best_of_all_masks(seed: int, count: int, per_class: bool) -> None:
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.repeat([1, 2, 5], [3, 2, 4]))
    score = rng.normal(size=9)
    masks = [m for m in combinations(range(9), count) if not per_class or allowed(y, m)]
    best = max(masks, key=lambda m: score[list(m)].sum())
    found = top_k(torch.tensor(score), torch.tensor(y), count, per_class=per_class)
    assert tuple(found.tolist()) == best


def test_ties_go_to_the_first_and_a_class_that_is_too_small_is_named() -> None:
    y = torch.tensor([0, 1, 0, 1, 0])
    assert top_k(torch.zeros(5), y, 3).tolist() == [0, 1, 2]
    assert top_k(torch.zeros(5), y, 2, per_class=False).tolist() == [0, 1]
    assert top_k(torch.zeros(5), y, 5).tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(PaperlibError, match=r"6 images are 3 of each of 2 classes, and class 1 has 2; lower the ratio"):
        top_k(torch.zeros(6), torch.tensor([0, 1, 0, 1, 0, 0]), 6)


def test_scores_are_differences_of_losses(data: ImageData, surrogate: nn.Module) -> None:
    x, y = data.x[:6], data.y[:6]
    labels = torch.zeros_like(y)
    hard, easy = lps.scores(surrogate, x, y, data.x[6:12], labels)
    with torch.no_grad():
        out, triggered = (surrogate.eval()(images.float() / 255).log_softmax(1) for images in (x, data.x[6:12]))
    assert torch.allclose(easy, -out[torch.arange(6), y], atol=0.05)  # bfloat16
    assert torch.allclose(hard, -triggered[:, 0], atol=0.05)


def test_the_last_mask_of_lps_is_the_best_for_the_surrogate(
    data: ImageData, surrogate: nn.Module, tmp_path: Path
) -> None:
    found, notes = searched(data, "lps", surrogate, ratio=0.2, folder=tmp_path)  # 8 of 3 classes: 3, 3, 2
    model = image_toy.model(data)
    done, state = Rounds(tmp_path).load(model, torch.device("cpu"))
    problem = Problem(data, BLENDED, 0, 0.2)
    pool = problem.pool()
    triggered = problem.triggered(pool)
    hard, easy = lps.scores(model, data.x[pool], data.y[pool], triggered, problem.labels[pool])
    value = (hard - easy).double()
    of_class = [value[data.y[pool] == k].sort(descending=True).values for k in (1, 2, 3)]
    best = max(sum(of_class[k][:c].sum() for k, c in enumerate(counts)) for counts in ((3, 3, 2), (3, 2, 3), (2, 3, 3)))
    chosen = torch.isin(pool, found)
    assert done == 2 and value[chosen].sum().item() == pytest.approx(float(best))
    assert notes["loss"]["poisoned_chosen"][-1] == pytest.approx(hard[chosen].mean().item(), abs=1e-3)
    assert len(state["history"]) == 3 and pool[state["history"][-1]].tolist() == found.tolist()


# ------------------------------------------------------------------------------------------------------- the budget


@pytest.mark.parametrize("strategy", ["balanced", "lps"])
def test_counts_by_class_are_exact(data: ImageData, surrogate: nn.Module, strategy: str) -> None:
    found, notes = searched(data, strategy, surrogate, ratio=0.3, target=2)
    assert torch.bincount(data.y[found]).tolist() == notes["per_class"] == [4, 4, 0, 4]
    _, uneven = searched(data, strategy, surrogate, ratio=0.2, target=2)
    assert sorted(uneven["per_class"]) == [0, 2, 3, 3] and uneven["per_class"][2] == 0


@pytest.mark.parametrize("strategy", SELECTIONS)
@pytest.mark.parametrize("labels", ["all_to_one", "all_to_all", "clean"])
def test_label_policies(data: ImageData, surrogate: nn.Module, strategy: str, labels: str) -> None:
    attack = replace(BLENDED, labels=labels)  # type: ignore[type-var]
    found, notes = searched(data, strategy, surrogate, attack=attack, target=1)
    assert len(found) == len(found.unique()) == 6 and found.dtype == torch.int64
    counts = notes["per_class"]
    if labels == "clean":
        assert counts == [0, 6, 0, 0]
    elif strategy != "random" and labels == "all_to_one":
        assert counts[1] == 0
    poisoned = attacks.poison(data, attack, target=1, indices=found)
    problem = Problem(data, attack, 1, 0.15)
    assert problem.pool().unique().numel() == {"all_to_one": 30, "all_to_all": 40, "clean": 10}[labels]
    pool = problem.pool(False)
    chosen = torch.isin(pool, found).nonzero().squeeze(1)
    ours = problem.poisoned(pool, problem.triggered(pool), chosen)
    assert torch.equal(ours.x, poisoned.data.x) and torch.equal(ours.y, poisoned.data.y)


def test_switches_of_lps(data: ImageData, surrogate: nn.Module) -> None:
    _, free = searched(data, "lps", surrogate, pc=False, ratio=0.3)
    _, open_ = searched(data, "lps", surrogate, ce=False, ratio=0.3)
    assert free["per_class"][0] == 0 and sum(free["per_class"]) == 12
    assert open_["per_class"] == [3, 3, 3, 3]


def test_prepared_attacks(data: ImageData, surrogate: nn.Module) -> None:
    attack = image_toy.ready("lc", data)  # clean labels; its training images are not what the call makes
    found, _ = searched(data, "lps", surrogate, attack=attack)
    assert (data.y[found] == 0).all()
    with pytest.raises(PaperlibError, match="the attack LC has no"):
        searched(data, "lps", surrogate, attack=attacks.attack("lc"))


def test_random_is_the_draw_of_the_benchmark(data: ImageData) -> None:
    found = select(data, None, BLENDED, 0.2, "random", seed=3)
    assert found.tolist() == attacks.draw(data.y.numpy(), 0.2, "all_to_one", 0, 3).tolist()


@pytest.mark.parametrize("strategy", SELECTIONS)
def test_the_mask_is_a_function_of_seed_and_data(data: ImageData, surrogate: nn.Module, strategy: str) -> None:
    trained = image_toy.model(data, seed=7)  # other weights, same architecture
    torch.manual_seed(1)
    first, notes = searched(data, strategy, surrogate, seed=1)
    torch.manual_seed(2)
    again, _ = searched(data, strategy, trained, seed=1)
    assert torch.equal(first, again)
    others = [searched(data, strategy, surrogate, seed=seed)[0] for seed in (2, 3)]
    assert not all(torch.equal(first, other) for other in others)
    assert torch.equal(first, first.sort().values) and all(0 <= share <= 1 for share in notes["overlap"])


def test_lps_begins_with_the_balanced_draw_and_costs_what_it_says(data: ImageData, surrogate: nn.Module) -> None:
    begin, _ = searched(data, "balanced", surrogate, seed=5)
    _, notes = searched(data, "lps", surrogate, seed=5)
    final, _ = searched(data, "lps", surrogate, seed=5)
    same = len(set(begin.tolist()) & set(final.tolist())) / 6
    assert notes["overlap_first"][-1] == pytest.approx(same, abs=1e-4)
    assert len(notes["overlap"]) == 2 and notes["overlap"][0] == notes["overlap_first"][0]
    assert notes["epoch_equivalents"] == pytest.approx(2 * (1 + 2 / 3 * 30 / 40), abs=1e-3)


@pytest.mark.parametrize("scale", [SMOKE, LAPTOP, PAPER], ids=lambda scale: scale.name)
def test_lps_costs_at_most_two_trainings_of_the_victim(scale: Any) -> None:
    made = lps.LPS(**scale.changes.get("lps", {}))
    assert made.rounds * (made.epochs + 2 / 3) <= 2 * scale.epochs


# -------------------------------------------------------------------------------------------------------------- FUS


def test_fus_keeps_the_share_with_most_forgetting_events() -> None:
    events = torch.tensor([0, 3, 1, 3, 0, 2])
    assert fus.keep(events, 0.5).tolist() == [1, 3, 5]
    assert fus.keep(events, 0.34).tolist() == [1, 3]
    assert fus.keep(torch.zeros(4), 0.5).tolist() == [0, 1]


def test_counting_step_counts_and_trains_as_the_ordinary_one(data: ImageData) -> None:
    models_ = [image_toy.model(data), image_toy.model(data)]
    x, y = data.float(torch.arange(8)), data.y[:8]
    marked = y.clone()
    marked[:3] += 4 * torch.tensor([1, 2, 3])
    step, events = fus.counting_step(3, 4, x.device)
    for model, each, label in zip(models_, (step, sgd_step(loss_function(0.0))), (marked, y), strict=True):
        each(model.train(), x, label, torch.optim.SGD(model.parameters(), 0.1))
    assert image_toy.same(image_toy.state(models_[0]), image_toy.state(models_[1]))

    class Says(nn.Module):
        """Predicts the labels it is told."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))
            self.told = torch.zeros(0)

        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.one_hot(self.told, 4).float() + self.weight

    says = Says()
    step, events = fus.counting_step(2, 4, x.device)
    optimizer = torch.optim.SGD(says.parameters(), 0.0)
    label = torch.tensor([1, 0 + 4 * 1, 0 + 4 * 2])  # one clean sample, two poisoned ones with target 0
    for first, second in ((0, 0), (2, 0), (0, 1), (3, 1), (3, 0)):  # forgets the first twice, the second once
        says.told = torch.tensor([1, first, second])
        step(says, torch.zeros(3, 1), label, optimizer)
    assert events.tolist() == [2, 1]


def replaced(monkeypatch: pytest.MonkeyPatch, rank: Callable[[Tensor], Tensor]) -> list[list[int]]:
    """FUS with made-up forgetting events; the samples of every round."""
    asked: list[list[int]] = []

    def forgetting(problem: Problem, config: fus.FUS, chosen: Tensor, seed: int) -> Tensor:
        asked.append(chosen.tolist())
        return rank(chosen)

    monkeypatch.setattr(fus, "forgetting", forgetting)
    return asked


def test_rounds_of_fus(data: ImageData, surrogate: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = replaced(monkeypatch, lambda chosen: chosen)  # the larger its index, the more a sample is forgotten
    found, notes = searched(data, "fus", surrogate, rounds=4, ratio=0.2)
    for before, after in pairwise(asked):
        assert set(sorted(before)[4:]) <= set(after) and len(set(after)) == 8
    seen = sorted({i for each in asked for i in each})
    assert found.tolist() == seen[-8:] and notes["events"] == seen[-8:] and notes["repeated"] == 0


def test_the_original_fus_fills_up_last_and_may_repeat(
    data: ImageData, surrogate: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = replaced(monkeypatch, lambda chosen: chosen)
    found, notes = searched(data, "fus", surrogate, rounds=6, ratio=0.5, variant="original")
    kept = sorted(asked[-1])[10:]
    assert set(kept) <= set(found.tolist()) and -1 in notes["events"]  # some were never trained with
    assert notes["repeated"] == 20 - len(found) > 0
    assert any(len(set(each)) < 20 for each in asked)
    assert notes["epoch_equivalents"] == 6 * 2 * 1.5


def test_the_first_copy_of_the_original_has_no_trigger(
    data: ImageData, surrogate: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[ImageData] = []
    monkeypatch.setattr(fus, "fit", lambda model, poisoned, recipe, **rest: given.append(poisoned))
    chosen = torch.tensor([5, 6, 7])
    problem = Problem(data, BLENDED, 0, 0.1, surrogate)
    fus.forgetting(problem, fus.FUS(variant="original"), chosen, 0)
    assert len(given) == 3 and len(given[0]) == 43  # three learning rates; copies are appended
    assert torch.equal(given[0].x[:40], data.x) and torch.equal(given[0].x[40], data.x[5])
    assert torch.equal(given[0].x[41:], problem.triggered(chosen[1:]))
    assert given[0].y[40:].tolist() == [4, 8, 12]
    fus.forgetting(problem, fus.FUS(), chosen, 0)
    assert len(given[3]) == 40 and torch.equal(given[3].x[5:8], problem.triggered(chosen))


# ------------------------------------------------------------------------------------- killed, and gone on; the lab


@pytest.mark.parametrize("strategy", ["lps", "fus"])
def test_a_stopped_search_goes_on(data: ImageData, surrogate: nn.Module, strategy: str, tmp_path: Path) -> None:
    whole, notes = searched(data, strategy, surrogate, rounds=3)

    def stop(fraction: float, text: str) -> None:
        if fraction > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        searched(data, strategy, surrogate, rounds=3, folder=tmp_path / "rounds", progress=stop)
    said: list[str] = []
    found, resumed = searched(
        data, strategy, surrogate, rounds=3, folder=tmp_path / "rounds", progress=lambda f, text: said.append(text)
    )
    assert len(said) == 1 and said[0].startswith("round 3/3")
    assert torch.equal(found, whole) and resumed == {**notes, "resumed_after_round": 2}
    (left,) = (tmp_path / "rounds").iterdir()
    assert left.name.startswith("round-003-")
    damaged = bytearray(left.read_bytes())
    damaged[-1] ^= 1
    left.write_bytes(damaged)
    with pytest.warns(UserWarning, match=r"round-003-.* is damaged; its rounds are played again"):
        again, replayed = searched(data, strategy, surrogate, rounds=3, folder=tmp_path / "rounds")
    assert torch.equal(again, whole) and replayed == notes


KILLED = """
import json, os, signal, sys
from paperlib.lab.run import run
from paperlib.lab.spec import from_dict
from paperlib.lab.store import Store
from paperlib.selection.problem import Rounds
save = Rounds.save
def killed(self, number, model, state):
    save(self, number, model, state)
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
Rounds.save = killed
run([from_dict(json.loads(sys.argv[2]))], Store(sys.argv[1]), device="cpu", progress=False)
"""


def tiny() -> TrainSpec:
    scale = replace(SMOKE, n_train=100, n_test=100, width=4, epochs=1, changes={"lps": {"rounds": 3, "epochs": 1}})
    return plan.train(scale, "blended", 0.09, selection="lps")


def test_gc_spares_the_rounds_of_a_search_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, store = tiny().selected, Store(tmp_path / "store")
    assert isinstance(spec, SelectSpec)
    left = store.path(spec).with_name(store.path(spec).name + ".rounds.tmp")
    save = Rounds.save

    def collected(self: Rounds, *given: Any) -> None:
        save(self, *given)
        os.utime(left, (1, 1))
        store.gc("weights")
        assert list(left.iterdir())

    monkeypatch.setattr(Rounds, "save", collected)
    assert run([spec], store, device="cpu", progress=False)
    assert not left.exists()
    left.mkdir()  # as a killed one leaves it, long ago
    os.utime(left, (1, 1))
    store.gc("weights")
    assert not left.exists()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_killed_run_goes_on_in_the_lab(tmp_path: Path) -> None:
    spec = tiny()
    selected = spec.selected
    assert isinstance(selected, SelectSpec)
    store, other = Store(tmp_path / "store"), Store(tmp_path / "other")
    done = subprocess.run([sys.executable, "-c", KILLED, str(store.root), selected.canonical], check=False)
    assert done.returncode == -signal.SIGKILL and store.read(selected) is None
    left = store.path(selected).with_name(store.path(selected).name + ".rounds.tmp")
    assert [file.name[:10] for file in left.iterdir()] == ["round-002-"]
    assert list(store.scan()) == []  # it is no result, damaged or not

    run([selected], store, device="cpu", progress=False)
    run([selected], other, device="cpu", progress=False)
    resumed, whole = store.result(selected), other.result(selected)
    assert (resumed["resumed_after_round"], whole["resumed_after_round"]) == (2, 0) and not left.exists()
    assert all(resumed[name] == whole[name] for name in ("indices", "loss", "overlap", "per_class"))
    scene = scene_of(spec, "cpu", store)
    assert scene.poisoned is not None and scene.poisoned.indices.tolist() == whole["indices"]
    assert whole["per_class"] == [0] + [1] * 9


def test_specs() -> None:
    plain = plan.train(SMOKE, "blended", 0.01)
    assert plan.train(SMOKE, "blended", 0.01, selection="random").key == plain.key and plain.selected is None
    spec = plan.train(SMOKE, "lf", 0.01, selection="lps", seed=2)
    chosen = spec.selected
    assert isinstance(chosen, SelectSpec) and spec.selection == "lps" and from_dict(spec.to_dict()) == spec
    assert chosen.prepared == spec.prepared is not None and chosen.seed == 2 and chosen.ratio == 0.01
    assert {"schedule": "constant", **dict(chosen.params)} == dict(SMOKE.changes["lps"]) and chosen.lr == SMOKE.lr / 2
    assert chosen == plan.select(SMOKE, "lps", "lf", 0.01, seed=2)
    other = plan.select(SMOKE, "lps", "lf", 0.01, seed=2, params={"pc": False}, model="vgg19_bn", width=16)
    assert (
        plan.train(SMOKE, "lf", 0.01, seed=2, selected=other).selection == "lps" and dict(other.params)["pc"] is False
    )
    assert (
        plan.select(SMOKE, "balanced", "blended", 0.01).key
        == plan.select(replace(SMOKE, width=32), "balanced", "blended", 0.01).key
    )
    for make in (plan.train(SMOKE, "none", selection="lps"), plan.train(SMOKE, "none")):
        assert make.parents() == ()


@pytest.mark.parametrize(
    "make", [lambda: plan.train(SMOKE, "wanet", 0.1, selection="lps"), lambda: plan.select(SMOKE, "fus", "wanet", 0.1)]
)
def test_attacks_that_control_training_refuse(make: Callable[[], Any]) -> None:
    with pytest.raises(PaperlibError, match="attack='wanet' trains the classifier itself"):
        make()


# -------------------------------------------------------------------------------------------------------- bad input


def test_one_call_for_tensors(data: ImageData, surrogate: nn.Module) -> None:
    options: dict[str, Any] = {"rounds": 1, "epochs": 1, "batch_size": 10}
    found = select(data.x.float() / 255, data.y, lambda x: x.flip(-1), 0.15, surrogate=surrogate, **options)
    named = select(data.x, data.y, "blended", 0.15, "lps", "preact_resnet18", width=4, **options)
    assert len(found) == len(named) == 6 and (data.y[named] != 0).all()


def strange(data: ImageData) -> nn.Module:
    return models.build("preact_resnet18", replace(data, class_names=("a", "b", "c")), width=4)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ratio": 0.0}, "ratio=0.0 must lie strictly between 0 and 1"),
        ({"ratio": 1.5}, "ratio=1.5 must lie"),
        ({"ratio": 0.01}, "rounds to no image; the smallest feasible ratio is 0.025"),
        ({"ratio": 0.9}, "asks for 36 images, of which 30 may be poisoned; the largest feasible ratio is 0.75"),
        ({"strategy": "lsp"}, "did you mean 'lps'"),
        ({"surrogate": "preact_resnet8"}, "did you mean 'preact_resnet18'"),
        ({"surrogate": None}, "trains a surrogate; give surrogate="),
        ({"surrogate": strange}, "x has labels up to 3; the model has 3 outputs"),
        ({"surrogate": lambda data: nn.Linear(5, 4)}, "the model cannot take x's images of shape"),
        ({"target": 4}, "target=4 is no class"),
        ({"trigger": "wanet"}, "trains the classifier itself"),
        ({"trigger": "ssba"}, "must be prepared first"),
        ({"trigger": 3}, "trigger=3 is no attack"),
        ({"y": None}, "y=None goes with an ImageData"),
        ({"rounds": 0}, "rounds=0 must be at least 1"),
        ({"round": 3}, "did you mean 'rounds'"),
        ({"strategy": "fus", "alpha": 1.0}, "alpha=1.0 must lie strictly"),
        ({"strategy": "fus", "variant": "old"}, "variant='old' is unknown"),
    ],
)  # fmt: skip
def test_bad_input(
    data: ImageData, surrogate: nn.Module, change: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("work began")

    monkeypatch.setattr(lps, "fit", never)
    monkeypatch.setattr(fus, "fit", never)
    given_ = {"x": data.x, "y": data.y, "trigger": BLENDED, "ratio": 0.1, "surrogate": surrogate, "width": 4, **change}
    if callable(given_["surrogate"]) and not isinstance(given_["surrogate"], nn.Module):
        given_["surrogate"] = given_["surrogate"](data)
    with pytest.raises(PaperlibError, match=said):
        select(**given_)


# ------------------------------------------------------------------------------------------- what was selected, seen


def test_pictures_margins_and_place_of_what_was_selected(data: ImageData, surrogate: nn.Module) -> None:
    scene = image_toy.scene(data, "blended", ratio=0.3)
    assert scene.poisoned is not None
    indices = scene.poisoned.indices
    y = data.y[indices]
    found = selected([surrogate], scene, seed=0, n=4)
    assert sorted(found["y"]) == sorted(y.unique().tolist())[:4]  # one of each class first
    first = indices[(y == found["y"][0]).nonzero()[0]]
    out = logits(surrogate, data.x[first])[0].tolist()
    margin = out[found["y"][0]] - max(v for k, v in enumerate(out) if k != found["y"][0])
    assert found["clean_margin"][0] == pytest.approx(margin, abs=0.05)  # bfloat16

    features = layer_output(surrogate, str(surrogate.features), data.x, pooled=True)
    centres = torch.stack([features[data.y == k].mean(0) for k in range(4)])
    pool = (data.y != 0).nonzero().squeeze(1)  # all of it is compared with

    def distance(index: Tensor, to: Tensor) -> float:
        return (features[index] - to).norm(dim=1).mean().item()

    place = found["place"]
    own = distance(indices, centres[y]) / distance(pool, centres[data.y[pool]])
    assert place["to_own"] == pytest.approx(own, abs=0.02)
    assert place["to_target"] == pytest.approx(distance(indices, centres[0]) / distance(pool, centres[0]), abs=0.02)
    count = len(indices)
    assert [len(place[part]) for part in ("others", "others_y", "clean", "triggered")] == [30, 30, count, count]
    xy = np.array(place["others"])
    assert np.abs(xy.mean(0)).max() < 0.02 and xy[:, 0].std() >= xy[:, 1].std()
