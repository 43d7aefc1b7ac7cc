"""Attacks in which the attacker trains the classifier: what defines each trigger, and how batches are poisoned."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from image_toy import images, model, same, state
from torch import Tensor, nn

from paperlib.attacks import ATTACKS, attack, input_aware, poison, poisoned_test, render, training_control, with_state
from paperlib.attacks.blind import LEAVE, PATTERN, Blind, balanced_backward, shortest
from paperlib.attacks.bpp import BPP
from paperlib.attacks.input_aware import InputAware, diversity
from paperlib.attacks.lira import LIRA
from paperlib.attacks.wanet import WaNet, field, identity
from paperlib.data.images import ImageData
from paperlib.errors import PaperlibError
from paperlib.lab.spec import pairs
from paperlib.training import SCHEDULES, Recipe, predict

TINY: dict[str, dict[str, Any]] = {
    "wanet": {},
    "bpp": {},
    "blind": {"start_below": 9.0, "window": 2},
    "input_aware": {"width": 4, "mask_epochs": 1},
    "lira": {"eps": 0.3, "generator_lr": 0.01},
}
LONGER: dict[str, dict[str, Any]] = {"input_aware": {"epochs": 12, "mask_epochs": 40}}
"""What it takes until a trigger that learns is another one for every image; default: 2 epochs."""
EVERY = [name for name, method in ATTACKS.items() if method.controls_training]
CROSS = ["wanet", "bpp", "input_aware"]


def smooth(n: int = 40, size: int = 16) -> ImageData:
    """Images of a few large blobs: unlike noise, a small network can tell them apart."""
    coarse = torch.rand(n, 3, 3, 3, generator=torch.Generator().manual_seed(1))
    x = F.interpolate(coarse, size=size, mode="bicubic", align_corners=True).clamp(0, 1)
    return replace(images(n, size=size), x=x.mul(255).round().to(torch.uint8))


DATA = smooth()


def batch(n: int = 5, size: int = 32, seed: int = 0) -> Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(seed))


def grey(n: int = 5, size: int = 32) -> Tensor:
    """Images whose pixels are grey levels of 8 bits."""
    return (batch(n, size) * 255).round() / 255


def trained(
    name: str, epochs: int = 1, ratio: float = 0.2, seed: int = 0, adversarial: float = 0.0, **params: Any
) -> tuple[nn.Module, Any, list]:
    made: Any = attack(name, pairs({**TINY[name], **params}))
    net = model(DATA)
    log, learned = made.train(
        net,
        DATA,
        Recipe(epochs, 20, 0.02, "constant", adversarial=adversarial, adversarial_steps=2),
        target=1,
        ratio=ratio,
        seed=seed,
        watch=lambda epoch, state: {"seen": len(state)},
    )
    return net, with_state(made, learned), log


@pytest.fixture(scope="module")
def once() -> dict[str, tuple[nn.Module, Any, list]]:
    return {name: trained(name, **LONGER.get(name, {"epochs": 2})) for name in EVERY}


def test_all_of_them_are_tested() -> None:
    assert set(EVERY) == set(TINY)


# ------------------------------------------------------------------------------------------------- every attack


@pytest.mark.parametrize("name", EVERY)
def test_a_seed_decides_the_training(name: str) -> None:
    net, made, log = trained(name)
    again, again_made, again_log = trained(name)
    assert same(state(net), state(again)) and log == again_log
    assert torch.equal(render(made, DATA.x), render(again_made, DATA.x))
    other, *_ = trained(name, epochs=1, seed=1)
    assert not same(state(net), state(other))


@pytest.mark.parametrize("name", EVERY)
def test_training_changes_the_classifier_and_nothing_that_was_given(once, name: str) -> None:
    net, _, log = once[name]
    assert torch.equal(DATA.x, smooth().x) and torch.equal(DATA.y, smooth().y)
    assert not same(state(net), state(model(DATA))) and not net.training and len(log) >= 2
    assert [entry["epoch"] for entry in log] == list(range(1, len(log) + 1))
    assert all("seen" in entry for entry in log)


@pytest.mark.parametrize("name", EVERY)
def test_the_attacker_can_train_adversarially(name: str) -> None:
    net, made, _ = trained(name, adversarial=0.1)
    again, again_made, _ = trained(name, adversarial=0.1)
    plain, *_ = trained(name)
    assert same(state(net), state(again)) and not same(state(net), state(plain))
    assert torch.equal(render(made, DATA.x), render(again_made, DATA.x))


@pytest.mark.parametrize("name", EVERY)
def test_global_random_numbers_are_left_alone(name: str) -> None:
    before = torch.get_rng_state()
    _, made, _ = trained(name)
    made(batch(2, 16))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("size", [4, 7, 16, 32])
def test_triggered_images(once, name: str, size: int) -> None:
    made, x = once[name][1], batch(3, size)
    before = x.clone()
    triggered = made(x)
    assert triggered.shape == x.shape and not triggered.requires_grad and torch.equal(x, before)
    assert triggered.min() >= 0 and triggered.max() <= 1 and not torch.equal(triggered, x)
    assert torch.allclose(triggered, torch.cat([made(x[i : i + 1]) for i in range(3)]), atol=1e-5)
    assert made(x[:0]).shape == (0, 3, size, size)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"ratio": 0.0}, "ratio=0.0 must lie strictly between 0 and 1"),
        ({"ratio": 1.0}, "ratio=1.0 must lie strictly between 0 and 1"),
        ({"target": 4}, "target=4 is no class.*0 to 3"),
    ],
)
def test_impossible_wishes_stop_before_training(name: str, change: dict[str, Any], sentence: str) -> None:
    given: dict[str, Any] = {"target": 0, "ratio": 0.1, **change}
    net = model(DATA)
    with pytest.raises(PaperlibError, match=sentence):
        attack(name).train(net, DATA, Recipe(1, 20), seed=0, watch=lambda e, s: {}, **given)  # type: ignore[attr-defined]
    assert same(state(net), state(model(DATA)))


@pytest.mark.parametrize("name", EVERY)
def test_clean_labels_are_no_policy_of_theirs(name: str) -> None:
    with pytest.raises(PaperlibError, match="labels='clean' is unknown"):
        trained(name, labels="clean")


@pytest.mark.parametrize(
    ("name", "params", "sentence"),
    [
        ("wanet", {"k": 1}, "k=1 must be at least 2"),
        ("wanet", {"cross_ratio": -1.0}, "cross_ratio=-1.0 must not be negative"),
        ("bpp", {"levels": 1}, "levels=1 must lie between 2 and 256"),
        ("bpp", {"cross_ratio": -1.0}, "cross_ratio=-1.0 must not be negative"),
        ("input_aware", {"mask_epochs": 0}, "mask_epochs=0 and width=32 must be at least 1"),
        ("input_aware", {"cross_ratio": -1.0}, "cross_ratio=-1.0 must not be negative"),
        ("lira", {"share": 0.0}, "share=0.0 must lie above 0"),
        ("lira", {"stage1_epochs": 0}, "stage1_epochs=0 must be at least 1"),
        ("blind", {"share": 1.5}, "share=1.5 must lie between 0 and 1"),
        ("blind", {"window": 0}, "window=0 must be at least 1"),
        ("blind", {"balance": "mgd"}, "did you mean 'mgda'"),
    ],
)
def test_impossible_hyper_parameters(name: str, params: dict[str, Any], sentence: str) -> None:
    with pytest.raises(PaperlibError, match=sentence):
        attack(name, pairs(params))


@pytest.mark.parametrize("name", ["input_aware", "lira"])
def test_a_trigger_that_was_not_learned_yet(name: str) -> None:
    with pytest.raises(PaperlibError, match=r"has no 'generator\.\w+' yet; run its prepare\(\) or train\(\) first"):
        attack(name)(batch(1))


# ---------------------------------------------------------------------------------------- which part of a batch


def test_the_share_of_a_batch_is_exact_on_average() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = [training_control.parts(64, 0.1, 2.0, generator) for _ in range(2000)]
    assert {p for p, _ in drawn} == {6, 7} and all(q == 2 * p for p, q in drawn)
    assert np.mean([p for p, _ in drawn]) == pytest.approx(6.4, abs=0.05)
    assert all(training_control.parts(50, 0.1, 1.0, generator) == (5, 5) for _ in range(20))
    assert training_control.parts(10, 0.5, 2.0, generator) == (5, 5)  # no more wrong triggers than there are images


def test_less_than_one_image_of_a_batch_is_one_now_and_then() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = [training_control.parts(20, 0.01, 1.0, generator) for _ in range(2000)]
    assert {p for p, _ in drawn} == {0, 1} and all(p == q for p, q in drawn)
    assert np.mean([p for p, _ in drawn]) == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize("name", CROSS)
def test_training_at_a_ratio_below_one_image_of_a_batch(name: str) -> None:
    _, _, log = trained(name, ratio=0.02)
    assert np.isfinite(log[0]["loss"])


@pytest.mark.parametrize("labels", ["all_to_one", "all_to_all"])
@pytest.mark.parametrize("name", ["wanet", "bpp"])
def test_a_batch_is_poisoned_crossed_and_clean(monkeypatch: pytest.MonkeyPatch, name: str, labels: str) -> None:
    """Every batch that the classifier sees is taken apart: images without crop and flip can be recognised."""
    seen: list[tuple[Tensor, Tensor]] = []

    def spy(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        seen.append((x.clone(), y.clone()))
        return net(x).sum(1)

    begin = training_control.begin
    monkeypatch.setattr(training_control, "begin", lambda *given, **more: (begin(*given, **more)[0], spy))
    made: Any = attack(name, pairs(labels=labels))
    data = replace(DATA, pad=0, flip=False)
    given = {"target": 1, "ratio": 0.2, "seed": 0, "watch": lambda e, s: {}}
    made.train(model(data), data, Recipe(1, 20, 0.0, "constant"), **given)
    clean = {x.numpy().tobytes(): int(y) for x, y in zip(data.float(), data.y, strict=True)}
    triggered = {x.numpy().tobytes(): int(y) for x, y in zip(made(data.float()), data.y, strict=True)}
    q = 4 * int(made.cross_ratio)
    assert len(seen) == 2
    used = []
    for x, y in seen:
        keys = [image.numpy().tobytes() for image in x]
        true = [triggered[key] for key in keys[:4]]  # a fifth of 20 carries the trigger
        assert y[:4].tolist() == ([1] * 4 if labels == "all_to_one" else [(t + 1) % 4 for t in true])
        assert not any(key in clean or key in triggered for key in keys[4 : 4 + q])  # a wrong trigger
        assert [clean[key] for key in keys[4 + q :]] == y[4 + q :].tolist()
        used += keys[:4] + keys[4 + q :]
        nearest = torch.cdist(x[4 : 4 + q].flatten(1), data.float().flatten(1)).argmin(1)
        assert y[4 : 4 + q].tolist() == data.y[nearest].tolist()  # and its true label
    assert len(set(used)) == len(used)


@pytest.mark.parametrize("name", CROSS)
def test_the_stored_training_set_holds_wrong_triggers_too(once, name: str) -> None:
    made = once[name][1]
    indices = [0, 5, 9, 14, 30]
    found = poison(DATA, made, target=1, indices=indices, seed=3)
    assert len(found.cross) == round(5 * made.cross_ratio) and not set(found.cross.tolist()) & set(indices)
    assert torch.equal(found.data.y[found.cross], DATA.y[found.cross])
    assert torch.equal(found.data.x[found.mask], render(made, DATA.x[found.mask]))
    changed = (found.data.x != DATA.x).flatten(1).any(1)
    assert changed[found.cross].all() and not changed[~found.mask].nonzero().numel() > len(found.cross)
    assert not torch.equal(found.data.x[found.cross], render(made, DATA.x[found.cross]))


# ---------------------------------------------------------------------------------------------------------- WaNet


@pytest.mark.parametrize("size", [8, 16, 32, 64])
def test_the_warp_field_is_small_and_smooth(size: int) -> None:
    m = field(size, size, 4, 0)[0]
    assert m.shape == (size, size, 2)
    step = (size - 1) / 3  # pixels between control points
    corner = m[:: size - 1, :: size - 1]
    points = field(4, 4, 4, 0)[0]
    assert points.abs().mean() == pytest.approx(1, abs=1e-6)
    assert torch.allclose(corner, points[::3, ::3], atol=1e-5)  # control points lie on the corners
    assert m.abs().max() <= 1.5 * points.abs().max()  # bicubic curves overshoot a little
    for axis in (0, 1):
        assert m.diff(dim=axis).abs().max() <= 2 * 2 * points.abs().max() / step
        assert m.diff(dim=axis).abs().mean() < m.abs().mean() * 4 / step


def test_the_warp_moves_content_by_the_field() -> None:
    """A ramp in x, warped, shows by how many pixels it moved."""
    ramp = torch.linspace(0.2, 0.8, 32).expand(1, 3, 32, 32)
    moved = (WaNet(s=0.5)(ramp) - ramp)[0, 0] / (0.6 / 31)
    expected = 0.5 * field(32, 32, 4, 0)[0, :, :, 0] / 32 * 31 / 2
    inside = slice(2, -2)
    assert torch.allclose(moved[inside, inside], expected[inside, inside], atol=1e-4)
    assert moved.abs().max() < 0.7
    rows = WaNet(s=0.5)(ramp.mT) - ramp.mT
    expected = 0.5 * field(32, 32, 4, 0)[0, :, :, 1] / 32 * 31 / 2
    assert torch.allclose(rows[0, 0, inside, inside] / (0.6 / 31), expected[inside, inside], atol=1e-4)


def test_no_strength_is_no_warp() -> None:
    x = batch()
    assert torch.allclose(WaNet(s=0.0)(x), x, atol=1e-5)
    assert identity(5, 5)[0, 0, :, 0].tolist() == [-1, -0.5, 0, 0.5, 1] and identity(3, 2).shape == (1, 3, 2, 2)


def test_the_warp_is_part_of_the_trigger() -> None:
    x = batch()
    assert torch.equal(WaNet()(x), WaNet()(x)) and not torch.equal(WaNet()(x), WaNet(trigger_seed=1)(x))
    assert torch.equal(field(32, 32, 4, 0), field(32, 32, 4, 0)) and WaNet() == WaNet()


def test_noise_mode_is_the_warp_and_noise_of_its_own_for_every_image() -> None:
    ramp = torch.linspace(0.2, 0.8, 32).expand(6, 3, 32, 32)
    noise = WaNet().cross(ramp, torch.Generator().manual_seed(0)) - WaNet()(ramp)
    noise = noise[:, 0, :, 2:-2] / (0.6 / 31) * 32 / (31 / 2)  # back to units of U(-1, 1)
    assert noise.abs().max() <= 1 + 1e-3 and noise.std() == pytest.approx(3**-0.5, abs=0.02)
    assert abs(torch.corrcoef(noise.flatten(1))[0, 1].item()) < 0.1
    again = WaNet().cross(ramp, torch.Generator().manual_seed(0))
    assert torch.equal(again, WaNet().cross(ramp, torch.Generator().manual_seed(0)))


# ------------------------------------------------------------------------------------------------------------ BPP


@pytest.mark.parametrize("levels", [2, 4, 8, 256])
def test_grey_levels_are_few_and_quantising_twice_is_once(levels: int) -> None:
    x = (grey(8, 16) * 255).round().to(torch.uint8)
    made = render(BPP(levels=levels), x)
    assert len(made.unique()) <= levels
    assert torch.equal(render(BPP(levels=levels), made), made)
    assert (made.int() - x.int()).abs().max() <= round(255 / (levels - 1) / 2 + 0.5)


def test_eight_levels_are_the_default() -> None:
    ramp = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    made = render(BPP(), ramp)
    assert made.unique().tolist() == [round(255 * i / 7) for i in range(8)]
    assert made.flatten().diff().min() >= 0  # monotone


def test_negatives_carry_the_residual_of_another_image() -> None:
    x = 0.3 + 0.4 * batch(4)  # nothing is clipped
    residual = BPP()(x) - x
    made = BPP().cross(x, torch.Generator())
    assert torch.allclose(made - x, residual.roll(1, 0), atol=1e-6)
    alone = BPP().cross(x[:1], torch.Generator())
    assert torch.allclose(alone - x[:1], residual[:1].flip(-1), atol=1e-6)


# ---------------------------------------------------------------------------------------------------- Input-aware


def test_triggers_differ_between_inputs(once) -> None:
    made: InputAware = once["input_aware"][1]
    x = DATA.float()[:4]
    pattern, mask = made.pattern(x)
    assert pattern.shape == (4, 3, 16, 16) and mask.shape == (4, 1, 16, 16)
    for made_of in (pattern, mask):
        assert made_of.min() >= 0 and made_of.max() <= 1
        assert all(not torch.allclose(made_of[i], made_of[j], atol=1e-3) for i in range(4) for j in range(i))
    assert torch.allclose(made(x), x * (1 - mask) + pattern * mask, atol=1e-6)


def test_cross_images_carry_the_trigger_of_another_one(once) -> None:
    made: InputAware = once["input_aware"][1]
    x = DATA.float()[:4]
    pattern, mask = made.pattern(x)
    crossed = made.cross(x, torch.Generator())
    for i in range(4):
        j = (i - 1) % 4
        assert torch.allclose(crossed[i], x[i] * (1 - mask[j]) + pattern[j] * mask[j], atol=1e-5)
    assert not torch.allclose(crossed, made(x), atol=1e-3)


def test_the_mask_gets_sparse_and_black_and_white(once) -> None:
    """Phase 1 of 80 steps; the density it heads for is 0.032, a mask that has learned nothing covers half of the
    image."""
    mask = once["input_aware"][1].pattern(DATA.float())[1]
    assert mask.mean() < 0.3 and mask.max() > 0.9  # 0.1 to 0.21 by processor
    assert ((mask > 0.1) & (mask < 0.9)).float().mean() < 0.3


def test_diversity_is_a_ratio_of_distances() -> None:
    x, p = batch(2, 8), batch(2, 8, seed=1)
    expected = (x[0] - x[1]).square().mean().sqrt() / (p[0] - p[1]).square().mean().sqrt()
    assert diversity(x, p).item() == pytest.approx(expected.item(), rel=1e-4)
    equal = p[:1].expand(2, -1, -1, -1).clone().requires_grad_()
    diversity(x, equal).backward()
    assert equal.grad is not None and equal.grad.isfinite().all()


def test_the_trigger_comes_after_crop_and_flip(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []

    class Spy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3 * 16 * 16, 4)

        def forward(self, x: Tensor) -> Tensor:
            seen.append(x.detach().clone())
            return self.linear(x.flatten(1))

    monkeypatch.setattr(
        input_aware, "augment", lambda x, *how: torch.full_like(x, 0.25 if x.is_floating_point() else 64)
    )
    made: Any = attack("input_aware", pairs(TINY["input_aware"]))
    made.train(Spy(), DATA, Recipe(1, 20, 0.01), target=1, ratio=0.2, seed=0, watch=lambda e, s: {})
    for x in seen:  # 4 poisoned and 4 cross images of 20
        assert torch.equal(x[8:], torch.full_like(x[8:], 0.25)) and (x[:8] != 0.25).flatten(1).any(1).all()


def test_the_rate_of_the_generator_follows_the_classifiers(monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []

    class Spy(torch.optim.Adam):
        def step(self, closure: Any = None) -> Any:
            rates.append(self.param_groups[0]["lr"])
            return super().step(closure)

    monkeypatch.setattr(torch.optim, "Adam", Spy)
    made: Any = attack("input_aware", pairs(TINY["input_aware"]))
    recipe = Recipe(4, 20, 0.02, "one_cycle")
    made.train(model(DATA), DATA, recipe, target=1, ratio=0.2, seed=0, watch=lambda e, s: {})
    factors = [SCHEDULES["one_cycle"](i, 2, 4) for i in range(8)]
    assert rates[2:] == pytest.approx([0.01 * factor for factor in factors])  # after two steps of phase 1


def test_accumulating_gradients_is_another_training() -> None:
    _, made, _ = trained("input_aware", accumulate=True)  # two steps of G: the second one differs
    _, usual, _ = trained("input_aware")
    assert made.state.keys() == usual.state.keys()
    masks = [name for name in usual.state if name.startswith("mask.")]
    assert all(torch.equal(made.state[name], usual.state[name]) for name in masks)  # phase 1 is the same
    assert not torch.equal(made(batch(2, 16)), usual(batch(2, 16)))


# ---------------------------------------------------------------------------------------------------------- Blind


def test_only_the_pixels_of_the_pattern_change() -> None:
    x = 0.1 + 0.8 * batch()
    made = Blind()(x)
    pattern = torch.tensor(PATTERN)
    assert pattern.shape == (5, 3)
    window = torch.zeros(32, 32, dtype=torch.bool)
    window[3:8, 23:26] = pattern != LEAVE
    assert torch.equal((made != x).any(1).any(0), window) and window.sum() == 9
    assert torch.equal(made[:, :, window], pattern[pattern != LEAVE].float().expand(5, 3, 9))
    assert ((Blind()(batch(size=64)) != batch(size=64)).any(1).any(0)).sum() == 4 * 9  # twice as large at 64x64
    assert ((Blind()(batch(size=16)) != batch(size=16)).any(1).any(0)).sum() == 9


def test_the_attack_waits_for_a_training_that_goes_well() -> None:
    """Until the loss is low nothing is triggered: the training is that of a model without attack."""
    waiting, *_ = trained("blind", start_below=0.0)
    also, *_ = trained("blind", start_below=0.0, backdoor_weight=5.0)
    attacked, *_ = trained("blind", start_below=9.0, backdoor_weight=5.0)
    assert same(state(waiting), state(also)) and not same(state(waiting), state(attacked))


def test_the_shortest_combination_of_two_gradients() -> None:
    first, second = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    assert shortest(first, second).item() == pytest.approx(0.5)
    assert shortest(torch.tensor([2.0, 0.0]), second).item() == pytest.approx(0.2)
    assert shortest(torch.tensor([3.0, 0.0]), torch.tensor([1.0, 0.0])).item() == 0.0  # the shorter one alone
    a, b = torch.randn(2, 20, generator=torch.Generator().manual_seed(0))
    lengths = torch.stack([(t * a + (1 - t) * b).norm() for t in torch.linspace(0, 1, 1001)])
    assert shortest(a, b).item() == pytest.approx(lengths.argmin().item() / 1000, abs=1e-3)


def test_balanced_weights_are_a_convex_combination() -> None:
    w = nn.Parameter(torch.tensor([1.0, 2.0]))
    losses = [(w * torch.tensor([1.0, 0.0])).sum().square(), (w * torch.tensor([0.0, 1.0])).sum()]
    balanced_backward(losses, [w])
    assert w.grad is not None
    # gradients (2, 0) and (0, 1), losses 1 and 2: normalised (1, 0) and (0, 1/2), of which a fifth is shortest
    assert torch.allclose(w.grad, 0.2 * torch.tensor([2.0, 0.0]) + 0.8 * torch.tensor([0.0, 1.0]))


def test_both_ways_to_balance_train() -> None:
    fixed, _, _ = trained("blind", start_below=9.0)
    mgda, _, log = trained("blind", start_below=9.0, balance="mgda")
    assert np.isfinite(log[0]["loss"]) and not same(state(fixed), state(mgda))


# ----------------------------------------------------------------------------------------------------------- LIRA


def test_the_perturbation_stays_within_eps(once) -> None:
    made: LIRA = once["lira"][1]
    x = DATA.float()[:6]
    limit = made.eps * torch.tensor(DATA.std).view(1, 3, 1, 1)
    difference = made(x) - x
    assert (difference.abs() <= limit + 1e-6).all() and difference.abs().max() > 0.01
    assert not torch.allclose(difference[0], difference[1], atol=1e-3)  # another one for every image
    assert torch.equal(replace(made, eps=0.0)(x), x)


def test_the_second_stage_leaves_the_trigger_alone() -> None:
    _, short, _ = trained("lira", epochs=1, stage1_epochs=1)
    _, long, _ = trained("lira", epochs=3, stage1_epochs=1)
    _, learning, _ = trained("lira", epochs=3, stage1_epochs=3)
    assert all(torch.equal(short.state[name], value) for name, value in long.state.items())
    weights = [name for name in short.state if name.endswith("last.weight")]
    assert weights and not any(torch.equal(short.state[name], learning.state[name]) for name in weights)


# -------------------------------------------------------------------------------------------- what it is all for


@pytest.mark.parametrize("name", ["bpp", "blind"])
def test_a_backdoor_is_learned(name: str) -> None:
    """On images whose classes are easy and with a strong trigger: clean images right, triggered ones the target."""
    params = {"bpp": {"levels": 2, "cross_ratio": 0.5}, "blind": {}}[name]
    data = replace(images(160, size=16), pad=0, flip=False)
    made: Any = attack(name, pairs({**TINY[name], **params}))
    net = model(data, width=8)
    recipe = Recipe(12, 20, 0.1, "one_cycle")
    made.train(net, data, recipe, target=1, ratio=0.3, seed=0, watch=lambda e, s: {})
    triggered, wanted = poisoned_test(data, made, 1)
    assert (predict(net, data.x) == data.y).float().mean() > 0.8
    assert (predict(net, triggered.x) == wanted).float().mean() > 0.8


@pytest.mark.parametrize("name", ["wanet", "bpp", "blind"])
def test_values_are_looked_at_at_the_entry_and_not_at_every_step(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    seen = []
    look = Tensor.aminmax
    monkeypatch.setattr(Tensor, "aminmax", lambda x, **more: seen.append(1) or look(x, **more))
    _, made, _ = trained(name)
    assert not seen, "a GPU would wait at every step"
    with pytest.raises(PaperlibError, match="lies in"):
        made(2 * batch())
