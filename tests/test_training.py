"""The training loop: augmentation against a naive one, schedules against closed forms, and what a seed decides."""

import math
from contextlib import nullcontext
from copy import deepcopy
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from image_toy import images, model, same, state
from torch import Tensor, nn

from paperlib import training
from paperlib.errors import PaperlibError
from paperlib.training import Recipe, adversary, adversary_of, augment, evaluating, fit, loss_function, pgd, pick_device


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# ------------------------------------------------------------------------------------------------ augmentation


def naive_augment(x: Tensor, pad: int, flip: bool, generator: torch.Generator) -> Tensor:
    """Image by image: embed in zeros, cut out, mirror. The draws come in the order of the fast version."""
    n, channels, height, width = x.shape
    flipped = torch.rand(n, 1, generator=generator) < 0.5 if flip else torch.zeros(n, 1, dtype=torch.bool)
    tops = torch.randint(2 * pad + 1, (n, 1), generator=generator) if pad else torch.zeros(n, 1, dtype=torch.int64)
    lefts = torch.randint(2 * pad + 1, (n, 1), generator=generator) if pad else torch.zeros(n, 1, dtype=torch.int64)
    out = torch.zeros_like(x)
    for i in range(n):
        canvas = torch.zeros(channels, height + 2 * pad, width + 2 * pad, dtype=x.dtype)
        canvas[:, pad : pad + height, pad : pad + width] = x[i]
        top, left = int(tops[i]), int(lefts[i])
        cut = canvas[:, top : top + height, left : left + width]
        out[i] = cut.flip(2) if flipped[i] else cut
    return out


@settings(deadline=None)
@given(
    st.integers(1, 6), st.integers(1, 3), st.integers(1, 7), st.integers(1, 7), st.integers(0, 4), st.booleans(),
    st.integers(0, 99), st.sampled_from([torch.uint8, torch.float32]),
)  # fmt: skip
def test_augmentation_is_the_naive_one(n, channels, height, width, pad, flip, seed, dtype):
    x = torch.randint(0, 256, (n, channels, height, width), generator=generator(seed)).to(dtype)
    before = x.clone()
    made = augment(x, pad, flip, generator(seed))
    assert made.dtype == dtype and torch.equal(made, naive_augment(x, pad, flip, generator(seed)))
    assert torch.equal(x, before)


def test_augmentation_draws_every_crop_and_flip_equally_often() -> None:
    image = torch.arange(1, 17, dtype=torch.uint8).view(1, 1, 4, 4)
    n, pad = 4500, 1
    made = augment(image.expand(n, -1, -1, -1), pad, True, generator())
    padded = F.pad(image, (1, 1, 1, 1))
    variants = [
        f(padded)[:, :, top : top + 4, left : left + 4]
        for f in (lambda x: x, lambda x: x.flip(3))
        for top in range(3)
        for left in range(3)
    ]
    counts = torch.tensor([(made == v).flatten(1).all(1).sum() for v in variants])
    assert counts.sum() == n  # nothing else is ever made
    expected = n / len(variants)
    assert ((counts - expected) ** 2 / expected).sum() < 42  # chi-square, 17 degrees of freedom: 42 has p = 0.0007


def test_no_augmentation_is_none() -> None:
    data, g = images(), generator()
    assert augment(data.x, 0, False, g) is data.x
    assert torch.equal(torch.rand(1, generator=g), torch.rand(1, generator=generator()))  # and draws nothing


def test_augmented_batches_are_channels_last() -> None:
    made = augment(images().x, 1, True, generator())
    assert made.is_contiguous(memory_format=torch.channels_last)


# -------------------------------------------------------------------------------------------------- the schedule


def rates(recipe: Recipe, per_epoch: int) -> list[float]:
    """The learning rate that every optimiser step of :func:`fit` sees."""
    seen: list[float] = []

    def step(model: nn.Module, x: Tensor, y: Tensor, optimizer: torch.optim.Optimizer) -> Tensor:
        seen.append(optimizer.param_groups[0]["lr"])
        return torch.zeros(len(x))

    fit(nn.Linear(1, 1), images(per_epoch * recipe.batch_size, size=4), recipe, seed=0, step=step)
    assert len(seen) == per_epoch * recipe.epochs
    return seen


def stepped(per: int, schedule, lr: float, n: int) -> list[float]:
    """Rates of n steps under one of torch's own schedulers, which moves on every ``per`` steps."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr)
    scheduler, out = schedule(optimizer), []
    for i in range(n):
        out.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if (i + 1) % per == 0:
            scheduler.step()
    return out


def test_constant() -> None:
    assert rates(Recipe(3, 4, 0.3, "constant"), 2) == [0.3] * 6


def test_cosine_moves_per_epoch_to_zero() -> None:
    found = rates(Recipe(5, 4, 0.3, "cosine"), 3)
    assert found == pytest.approx([0.15 * (1 + math.cos(math.pi * (i // 3) / 5)) for i in range(15)])
    own = stepped(3, lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 5), 0.3, 15)
    assert found == pytest.approx(own)


def test_one_cycle_rises_over_a_quarter_and_falls_to_zero() -> None:
    found = rates(Recipe(4, 4, 0.2, "one_cycle"), 10)
    assert found == pytest.approx(np.interp(range(40), [-1, 9, 10, 40], [0, 0.2, 0.2, 0]).tolist())
    assert max(found) == pytest.approx(0.2) and found[-1] == pytest.approx(0.2 / 30)


def test_official_cyclic_swings_per_iteration() -> None:
    found = rates(Recipe(100, 4, 0.01, "official_cyclic"), 10)
    assert found[0] == found[200] == found[800] == 0.01
    assert found[100] == found[900] == 0
    assert found[50] == pytest.approx(0.005)
    assert found[-1] == pytest.approx(0.01, rel=1e-3)  # 1000 iterations end at the top, not at zero
    assert training.SCHEDULES["official_cyclic"](1000, 10, 100) == 1
    own = stepped(1, lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 100), 0.01, 1000)
    assert found == pytest.approx(own, abs=1e-9)


def test_cosine_100_is_cut_off_where_the_epochs_end() -> None:
    """GTSRB's 50 epochs end in the middle of the benchmark's cosine."""
    found = rates(Recipe(50, 4, 0.01, "cosine_100"), 2)
    assert found == pytest.approx(rates(Recipe(100, 4, 0.01, "cosine"), 2)[:100])
    assert found[-1] == pytest.approx(0.005, rel=0.04)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_plateau_is_torch_s(seed: int) -> None:
    """On losses that fall, stagnate and jump."""
    rng = np.random.default_rng(seed)
    losses = np.exp(-np.minimum(np.arange(120), 40) / 15) * rng.uniform(0.99, 1.1, 120)
    optimizer = torch.optim.SGD([torch.zeros(1)], 1.0)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
    wanted = []
    for loss in losses:
        scheduler.step(loss)
        wanted.append(optimizer.param_groups[0]["lr"])
    found = [training.plateau(losses[: i + 1].tolist()) for i in range(120)]
    assert found == pytest.approx(wanted, abs=1e-7) and 1 > found[-1] > 1e-7


def test_training_on_a_plateau_lowers_the_rate() -> None:
    data = images(8)
    flat = training.fit(
        nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 4)),
        data,
        Recipe(13, 4, 0.1, "plateau"),
        seed=0,
        step=lambda model, x, y, optimizer: torch.ones(len(x)),
    )
    # the first epoch is the best one, the eleventh after it is one too many, the thirteenth has the new rate
    assert [entry["lr"] for entry in flat] == pytest.approx([0.1] * 12 + [0.01])


def test_every_schedule_stays_positive_and_below_the_given_rate() -> None:
    for name, factor in training.SCHEDULES.items():
        values = [factor(i, 10, 8) for i in range(80)]
        assert min(values) >= 0 and max(values) == pytest.approx(1), name


def test_unknown_schedule_says_the_nearest() -> None:
    with pytest.raises(PaperlibError, match="did you mean 'one_cycle'"):
        rates(Recipe(1, 4, 0.1, "onecycle"), 1)


# ------------------------------------------------------------------------------------------------------ the loss


@pytest.mark.parametrize("classes", [2, 10])
@pytest.mark.parametrize("s", [0.0, 0.1, 0.3])
def test_label_smoothing_is_spread_over_the_other_classes(classes: int, s: float) -> None:
    logits = torch.randn(20, classes, generator=generator())
    y = torch.randint(classes, (20,), generator=generator(1))
    found = loss_function(s)(logits, y)
    log_p = logits.log_softmax(1)
    target = torch.full_like(log_p, s / (classes - 1)).scatter(1, y[:, None], 1 - s)
    assert torch.allclose(found, -(target * log_p).sum(1), atol=1e-6)
    own = F.cross_entropy(logits, y, reduction="none", label_smoothing=s * classes / (classes - 1))
    assert torch.allclose(found, own)
    # the divergence from the smoothed labels is the same but for their entropy, which no weight changes
    divergence = F.kl_div(log_p, target, reduction="none").sum(1)
    assert torch.allclose(found - divergence, (found - divergence)[0].expand(20), atol=1e-5)


def test_loss_is_computed_in_float32() -> None:
    assert loss_function(0.1)(torch.randn(3, 4).bfloat16(), torch.tensor([0, 1, 2])).dtype == torch.float32


# ------------------------------------------------------------------------------------------------------- fitting


def trained(seed: int = 0, **changes) -> dict[str, Tensor]:
    data = images()
    made = model(data)
    fit(made, data, Recipe(**{"epochs": 2, "batch_size": 10, "lr": 0.1, **changes}), seed=seed)
    return state(made)


def test_a_seed_decides_the_run() -> None:
    torch.manual_seed(1)
    first = trained()
    torch.manual_seed(2)
    assert same(first, trained())
    assert not same(first, trained(seed=1))


def test_training_lowers_the_loss_and_logs_it() -> None:
    data, calls, told = images(), [], []

    def each_epoch(epoch: int) -> dict[str, float]:
        calls.append(epoch)
        return {"extra": 10.0 * epoch}

    made = model(data)
    log = fit(
        made, data, Recipe(4, 20, 0.1, "constant"), seed=0, each_epoch=each_epoch, progress=lambda f, t: told.append(f)
    )
    assert [entry["epoch"] for entry in log] == calls == [1, 2, 3, 4]
    assert [entry["extra"] for entry in log] == [10, 20, 30, 40]
    assert log[-1]["loss"] < log[0]["loss"] and log[0]["lr"] == 0.1
    assert told == [0.25, 0.5, 0.75, 1.0]
    assert not made.training


def test_epochs_visit_different_images_in_full_batches() -> None:
    data = images(23, classes=23)  # every image has a label of its own
    batches: list[list[int]] = []

    def step(model: nn.Module, x: Tensor, y: Tensor, optimizer: torch.optim.Optimizer) -> Tensor:
        assert x.dtype == torch.float32 and x.min() >= 0 and x.max() <= 1 and model.training
        batches.append(y.tolist())
        return torch.zeros(len(x))

    fit(nn.Linear(1, 1), data, Recipe(2, 5), seed=0, step=step)
    assert [len(b) for b in batches] == [5] * 8  # 3 of 23 images are left out
    first, second = (list(chain(*part)) for part in (batches[:4], batches[4:]))
    assert len(set(first)) == len(set(second)) == 20 and first != second


@pytest.mark.parametrize(("n", "sizes"), [(23, [5, 5, 5, 5, 3]), (21, [5, 5, 5, 6]), (20, [5] * 4), (3, [3])])
def test_a_partial_batch_is_a_step_where_it_is_asked_for(n: int, sizes: list[int]) -> None:
    data, seen, rates = images(n, classes=n), [], []

    def step(model: nn.Module, x: Tensor, y: Tensor, optimizer: torch.optim.Optimizer) -> Tensor:
        seen.append(y.tolist())
        rates.append(optimizer.param_groups[0]["lr"])
        return y.float()

    (first, _) = fit(nn.Linear(1, 1), data, Recipe(2, 5), seed=0, step=step, partial=True)
    assert [len(b) for b in seen] == sizes * 2
    assert sorted(chain(*seen[: len(sizes)])) == sorted(chain(*seen[len(sizes) :])) == list(range(n))
    assert first["loss"] == pytest.approx((n - 1) / 2)  # the mean over images
    assert rates == [0.01] * len(sizes) + [pytest.approx(0.005)] * len(
        sizes
    )  # an epoch of the cosine is all of its steps


def test_a_batch_larger_than_the_data_becomes_the_data() -> None:
    data, sizes = images(6), []

    def step(model: nn.Module, x: Tensor, y: Tensor, optimizer: torch.optim.Optimizer) -> Tensor:
        sizes.append(len(x))
        return torch.zeros(len(x))

    fit(nn.Linear(1, 1), data, Recipe(2, 128), seed=0, step=step)
    assert sizes == [6, 6]


def test_the_log_tells_clean_and_poisoned_loss_apart() -> None:
    data, poisoned = images(20), torch.arange(20) % 3 == 0  # of different mean label

    def step(model: nn.Module, x: Tensor, y: Tensor, optimizer: torch.optim.Optimizer) -> Tensor:
        return y.float()

    (entry,) = fit(nn.Linear(1, 1), data, Recipe(1, 5), seed=0, step=step, poisoned=poisoned)
    assert entry["loss"] == pytest.approx(data.y.float().mean().item())
    assert entry["loss_clean"] == pytest.approx(data.y[~poisoned].float().mean().item())
    assert entry["loss_poisoned"] == pytest.approx(data.y[poisoned].float().mean().item())


def test_one_step_is_sgd_with_momentum_and_weight_decay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "autocast", lambda device: nullcontext())
    data = images(10, pad=0, flip=False)
    made, recipe = model(data), Recipe(3, 10, 0.05, "constant", momentum=0.7, weight_decay=0.01, label_smoothing=0.2)
    reference = deepcopy(made).train()
    velocity = [torch.zeros_like(w) for w in reference.parameters()]
    for _ in range(3):  # one batch per epoch: the order within it only rounds differently
        loss = loss_function(0.2)(reference(data.float()), data.y).mean()
        gradients = torch.autograd.grad(loss, list(reference.parameters()))
        with torch.no_grad():
            for w, v, g in zip(reference.parameters(), velocity, gradients, strict=True):
                v.mul_(0.7).add_(g + 0.01 * w)
                w.sub_(0.05 * v)
    fit(made, data, recipe, seed=0)
    for (name, w), expected in zip(made.named_parameters(), reference.parameters(), strict=True):
        assert torch.allclose(w, expected, atol=1e-4), name


def test_divergence_is_an_error_and_not_a_result() -> None:
    with pytest.raises(PaperlibError, match=r"diverged in epoch \d.*lr=1000000000000.0 is too high"):
        trained(lr=1e12, epochs=3)


@pytest.mark.parametrize(
    ("recipe", "n", "sentence"),
    [
        ((1, 4), 0, "training set is empty"),
        ((0, 4), 8, "epochs=0 must be at least 1"),
        ((1, 0), 8, "batch_size=0 must be at least 1"),
    ],
)
def test_nothing_to_train_on(recipe: tuple[int, int], n: int, sentence: str) -> None:
    data = images(8)
    with pytest.raises(PaperlibError, match=sentence):
        fit(nn.Linear(1, 1), data.subset(torch.arange(8) < n), Recipe(*recipe), seed=0)


# ------------------------------------------------------------------------------------------ adversarial training


def test_pgd_on_a_linear_model_goes_to_the_corner_of_the_box() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 2, bias=False))
    weight = torch.linspace(-1, 1, 12) + 0.01
    with torch.no_grad():
        network[1].weight.copy_(torch.stack([weight, -weight]))
    x = torch.full((1, 3, 2, 2), 0.5)
    expected = 0.5 - 0.1 * weight.sign().view(1, 3, 2, 2)  # away from class 0
    assert torch.allclose(pgd(network, x, torch.tensor([0]), 0.1, 0.03, 5), expected)
    assert network.training


@pytest.mark.parametrize("eps", [0.01, 8 / 255, 0.3])
def test_the_adversary_stays_within_its_ball_and_the_range_and_raises_the_loss(eps: float) -> None:
    data = images()
    made = model(data)
    fit(made, data, Recipe(5, 10, 0.1, "constant"), seed=0)
    made.train()
    before, x = state(made), data.float()
    moved = adversary_of(Recipe(adversarial=eps, adversarial_steps=5), 0)(made, x, data.y)
    assert (moved - x).abs().max() <= eps + 1e-6 and moved.min() >= 0 and moved.max() <= 1
    assert not moved.requires_grad and same(before, state(made)) and made.training
    with torch.no_grad(), evaluating(made):
        assert F.cross_entropy(made(moved), data.y) > F.cross_entropy(made(x), data.y)


def test_a_seed_decides_where_the_adversary_starts() -> None:
    data = images()
    made = model(data)
    first, again, other = (adversary(0.1, 0.0, 1, seed=seed)(made, data.float(), data.y) for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    harder = adversary(0.1, 0.0, 1, seed=0)
    one, two = (harder(made, data.float(), data.y) for _ in range(2))
    assert torch.equal(one, first) and not torch.equal(one, two)  # every batch starts anew


def test_the_adversary_hands_gradients_through_to_what_made_the_images() -> None:
    data = images()
    made, x = model(data), data.float().requires_grad_()
    moved = adversary(0.1, 0.025, 2, seed=0)(made, x, data.y)
    (gradient,) = torch.autograd.grad(moved.sum(), x)
    assert torch.equal(gradient, torch.ones_like(x))
    plain = adversary(0.1, 0.025, 2, seed=0)(made, x.detach(), data.y)
    assert torch.allclose(moved, plain, atol=1e-6)


def test_without_a_radius_nothing_changes_and_nothing_is_drawn() -> None:
    data = images()
    x = data.float()
    assert adversary_of(Recipe(), 0)(model(data), x, data.y) is x


def linear_on_toys(eps: float) -> tuple[dict[str, Tensor], float]:
    """A linear classifier after training with ``eps``, and its loss on adversarial images."""
    data = images(80)
    torch.manual_seed(0)
    made = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 4))
    fit(made, data, Recipe(15, 20, 0.1, "constant", adversarial=eps, adversarial_steps=3), seed=0)
    with torch.no_grad():
        worst = pgd(made, data.float(), data.y, 0.1, 0.025, 5)
        return state(made), F.cross_entropy(made(worst), data.y).item()


def test_adversarial_training_lowers_the_loss_on_adversarial_images() -> None:
    (hard, loss), (again, _), (plain, ordinary) = (linear_on_toys(eps) for eps in (0.1, 0.1, 0.0))
    assert loss < 0.85 * ordinary
    assert same(hard, again) and not same(hard, plain)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"adversarial": -0.1}, r"adversarial=-0.1 must not be negative"),
        ({"adversarial": 8.0}, r"adversarial=8.0 must lie in .* for example 8/255"),
        ({"adversarial": 0.1, "adversarial_steps": 0}, "adversarial_steps=0 must be at least 1"),
    ],
)
def test_impossible_adversaries(values: dict[str, float], sentence: str) -> None:
    with pytest.raises(PaperlibError, match=sentence):
        Recipe(**values)


# -------------------------------------------------------------------------------------------- modes, predictions


def test_evaluating_restores_every_mode() -> None:
    made = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout(), nn.Sequential(nn.BatchNorm1d(2)))
    made.train()
    made[2].eval()
    modes = [m.training for m in made.modules()]
    with evaluating(made):
        assert not any(m.training for m in made.modules())
    assert [m.training for m in made.modules()] == modes
    with pytest.raises(RuntimeError, match="in between"), evaluating(made):
        raise RuntimeError("in between")
    assert [m.training for m in made.modules()] == modes


def test_predictions_do_not_depend_on_mode_or_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "autocast", lambda device: nullcontext())
    data = images(17)
    made = model(data).train()
    before, pixels = state(made), data.x.clone()
    found = training.logits(made, data.x, batch_size=5)
    assert same(before, state(made)) and made.training and torch.equal(data.x, pixels)
    assert found.dtype == torch.float32 and not found.requires_grad
    with torch.no_grad():
        assert torch.allclose(found, made.eval()(data.float()), atol=1e-5)
    assert torch.equal(training.predict(made, data.x), found.argmax(1))


def test_weights_survive_a_file(tmp_path: Path) -> None:
    data = images()
    made, other = model(data), model(data, seed=1)
    training.save_weights(made, tmp_path / "weights.safetensors")
    loaded = training.load_weights(other.train(), tmp_path / "weights.safetensors")
    assert loaded is other and not other.training and same(state(made), state(other))


# ------------------------------------------------------------------------------------------------------- devices


def test_a_device_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == pick_device("cpu") == torch.device("cpu")
    with pytest.raises(PaperlibError, match="device='cuda' is not available on this machine"):
        pick_device("cuda")
    with pytest.raises(PaperlibError, match=r"device='gpu' is unknown.*Known: cpu, cuda, mps"):
        pick_device("gpu")


def test_a_gpu_beyond_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert pick_device("auto").type == "cuda" and pick_device("cuda:0").index == 0
    with pytest.raises(PaperlibError, match=r"device='cuda:1': this machine has 1 GPU"):
        pick_device("cuda:1")
