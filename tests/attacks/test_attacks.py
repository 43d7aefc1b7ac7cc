"""Triggers, label policies and the choice of poisoned samples, by hand and for every attack in the registry."""

import hashlib
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from image_toy import TINY, images, model, ready, same
from torch import Tensor, nn

from paperlib.attacks import ATTACKS, LABEL_POLICIES, attack, draw, poison, poisoned_test, render
from paperlib.attacks.badnets import BadNets
from paperlib.attacks.blended import Blended, random_picture
from paperlib.attacks.lc import LC
from paperlib.attacks.lf import LF, deepfool
from paperlib.attacks.sig import SIG
from paperlib.attacks.ssba import SSBA
from paperlib.attacks.trojannn import TrojanNN, penultimate
from paperlib.data import images as image_sets
from paperlib.data.images import ImageData
from paperlib.errors import PaperlibError
from paperlib.experiments import plan as experiments
from paperlib.experiments.scales import SMOKE
from paperlib.lab.spec import pairs

EVERY = sorted(ATTACKS)
PREPARED = [name for name in EVERY if ATTACKS[name].prepare]
MADE = [name for name in EVERY if ATTACKS[name].prepare or ATTACKS[name].controls_training]
FIXED = ["badnets", "badnets_a2a", "blended", "sig"]
"""Attacks whose trigger fits images of any size."""
CLEAN_LABEL = [name for name in EVERY if attack(name).labels == "clean"]
DIRTY_LABEL = [name for name in EVERY if attack(name).labels != "clean"]


def batch(n: int = 5, size: int = 32, seed: int = 0) -> Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(seed))


# ------------------------------------------------------------------------------------------------------ triggers


@pytest.mark.parametrize(("size", "side"), [(32, 3), (64, 6), (16, 2), (8, 1), (4, 1)])
def test_badnets_is_a_white_square_at_the_bottom_right(size: int, side: int) -> None:
    x = batch(size=size) * 0.9
    made = BadNets()(x)
    square = torch.zeros(size, size, dtype=torch.bool)
    for i in range(size - side, size):
        for j in range(size - side, size):
            square[i, j] = True
    assert (made[:, :, square] == 1).all()
    assert torch.equal(made[:, :, ~square], x[:, :, ~square])


def test_blended_mixes_one_picture_into_every_image() -> None:
    x = batch()
    mixed = (Blended(picture="random")(x) - 0.8 * x) / 0.2
    expected = torch.tensor(random_picture(3, 32, 32, 0), dtype=torch.float32)
    assert torch.allclose(mixed, expected.expand_as(mixed), atol=1e-5)
    assert torch.equal(Blended(alpha=0.0)(x), x)
    assert torch.allclose(Blended(alpha=1.0, picture="random")(x), expected.expand_as(x))
    assert not torch.equal(Blended(picture="random", picture_seed=1)(x), Blended(picture="random")(x))


def test_the_blended_picture_never_changes() -> None:
    """Stored results depend on it. Full contrast: every grey level occurs as often as any other."""
    grey = np.round(random_picture(3, 32, 32, 0) * 255).astype(np.uint8)
    assert hashlib.sha256(grey.tobytes()).hexdigest()[:16] == "5c5df577442cb77b"
    for channel in grey:
        counts = np.bincount(channel.ravel(), minlength=256)
        assert counts[1:255].min() >= 4 and counts.max() <= 5


def test_sig_is_the_benchmark_s_sinusoid() -> None:
    data = images(6, size=32)
    made = render(SIG(), data.x)
    for j in range(32):
        signal = 40 * math.sin(2 * math.pi * j * 6 / 32)
        expected = (data.x[:, :, :, j].double() + signal).clamp(0, 255).round()
        assert (made[:, :, :, j].double() - expected).abs().max() <= 1  # a half may be rounded either way
    signal = SIG()(torch.full((1, 3, 4, 32), 0.5))[0] - 0.5
    assert torch.allclose(signal, signal[:1, :1].expand_as(signal))  # every row and channel alike
    assert signal.abs().max().item() == pytest.approx(40 / 255, abs=1e-6)
    assert torch.fft.rfft(signal[0, 0]).abs().argmax() == 6  # periods over the width


def toy() -> ImageData:
    """The images on which all attacks are made ready."""
    return images(size=16)


def check_trigger(made, x: Tensor) -> Tensor:
    """What holds for every trigger on images x."""
    before = x.clone()
    triggered = made(x)
    assert triggered.shape == x.shape and triggered.dtype == x.dtype
    assert triggered.min() >= 0 and triggered.max() <= 1
    assert torch.equal(x, before), "the images that were given must stay as they are"
    assert torch.equal(made(x), triggered), "the same images give the same triggered images"
    one_by_one = torch.cat([made(x[i : i + 1]) for i in range(len(x))])
    assert torch.allclose(triggered, one_by_one, atol=1e-5), "a batch is its images one by one"
    return triggered


@pytest.mark.parametrize("name", FIXED)
@settings(deadline=None, max_examples=25)
@given(st.integers(1, 5), st.sampled_from([4, 7, 16, 32]), st.integers(0, 999))
def test_a_fixed_trigger_on_images_of_any_size(name: str, n: int, size: int, seed: int) -> None:
    x = batch(n, size, seed)
    assert torch.equal(check_trigger(attack(name), x), attack(name)(x))


@pytest.mark.parametrize("name", EVERY)
def test_every_trigger(name: str) -> None:
    data = toy()
    made = ready(name, data)
    x = torch.cat([data.float()[:4], torch.zeros(1, 3, 16, 16), torch.ones(1, 3, 16, 16)])
    assert not torch.equal(check_trigger(made, x), x)


@pytest.mark.parametrize("name", EVERY)
def test_rendering_is_uint8_and_independent_of_the_batch_size(name: str) -> None:
    data = toy().subset(range(11))
    made = ready(name, toy())
    out = render(made, data.x)
    assert out.dtype == torch.uint8 and out.shape == data.x.shape and not torch.equal(out, data.x)
    difference = (out.int() - render(made, data.x, batch_size=3).int()).abs()
    assert difference.max() <= 1 and difference.float().mean() < 1e-3  # a half may be rounded either way by a network
    assert (out.float() - made(data.float()) * 255).abs().max() <= 0.501  # the nearest grey level
    assert render(made, data.x[:0]).shape == (0, 3, 16, 16)


# ------------------------------------------------------------------------------- attacks that are made ready first


@pytest.mark.parametrize("name", MADE)
def test_without_preparation_an_attack_says_what_to_do(name: str) -> None:
    made, x = attack(name), batch(2, 16)
    if (ATTACKS[name].prepare and name != "lc") or name in ("input_aware", "lira"):
        with pytest.raises(PaperlibError, match=r"has no '.*' yet; run its prepare\(\) or train\(\) first"):
            made(x)
    else:  # the trigger on test images needs no state
        made(x)


@pytest.mark.parametrize("name", PREPARED)
def test_a_preparation_follows_its_seed(name: str) -> None:
    data, surrogate = toy(), model(toy())
    made = attack(name, pairs(TINY[name]))
    told: list[float] = []
    first, notes = made.prepare(data, target=0, model=surrogate, seed=0, progress=lambda part, text: told.append(part))
    second, again = made.prepare(data, target=0, model=surrogate, seed=0, progress=None)
    assert same(first, second) and notes == again and notes
    assert told == sorted(told) and 0 <= told[0] <= told[-1] <= 1
    assert all(isinstance(value, torch.Tensor) for value in first.values())
    other, _ = made.prepare(data, target=0, model=surrogate, seed=1, progress=None)
    assert same(first, other) == (name == "trojannn")  # which draws nothing


@pytest.mark.parametrize("name", ["lf", "ssba", "trojannn"])
def test_images_of_another_shape_than_the_prepared_ones(name: str) -> None:
    with pytest.raises(
        PaperlibError, match=r"images of shape \(3, 8, 8\); .* prepared on images of shape \(3, 16, 16\)"
    ):
        ready(name, toy())(batch(2, 8))


@pytest.mark.parametrize("name", ["lf", "trojannn"])
def test_attacks_that_need_a_clean_classifier(name: str) -> None:
    with pytest.raises(PaperlibError, match=r"model=None: .* clean classifier"):
        attack(name).prepare(toy(), target=0, model=None)


# LC


def test_lc_s_pattern_is_the_authors() -> None:
    x = torch.full((1, 1, 32, 32), 0.5)
    made = LC()(x)[0, 0]
    left, right = ["+--", "-+-", "+-+"], ["--+", "-+-", "+-+"]
    for rows in (slice(0, 3), slice(29, 32)):
        for columns, signs in ((slice(0, 3), left), (slice(29, 32), right)):
            expected = torch.tensor([[float(sign == "+") for sign in row] for row in signs])
            assert torch.equal(made[rows, columns], expected)
    assert (made == 0.5).sum() == 32 * 32 - 4 * 9
    faint = LC(amplitude=0.25)(x)
    assert set(faint.unique().tolist()) == {0.25, 0.5, 0.75}
    assert torch.equal(LC()(torch.full((1, 1, 64, 64), 0.5))[0, 0, ::2, ::2], made)


def test_lc_keeps_labels_corners_and_its_distance() -> None:
    data = toy()
    made = ready("lc", data)
    index = (data.y == 0).nonzero().squeeze(1)
    found = poison(data, made, target=0, indices=index[::2])
    assert torch.equal(found.data.y, data.y) and torch.equal(found.indices, index[::2])
    x, before = found.data.x[found.indices].int(), data.x[found.indices].int()
    corner = torch.zeros(16, 16, dtype=torch.bool)
    corner[:3, :3] = corner[:3, -3:] = corner[-3:, :3] = corner[-3:, -3:] = True
    noise = (x - before)[:, :, ~corner]
    assert 1 <= noise.abs().max() <= 8
    assert torch.equal(x[:, :, corner], render(made, data.x[:1]).int()[:, :, corner].expand_as(x[:, :, corner]))
    test, _ = poisoned_test(data, made, 0)  # corners only
    assert torch.equal(test.x[:, :, ~corner], data.x[data.y != 0][:, :, ~corner])


def test_lc_of_the_2022_benchmark_has_noise_only_and_everywhere() -> None:
    data = toy()
    made = ready("lc", data, variant="benchmark2022")
    index = (data.y == 0).nonzero().squeeze(1)
    found = poison(data, made, target=0, indices=index)
    assert torch.equal(found.data.x[index], made.state["images"])
    assert 1 <= (found.data.x[index].int() - data.x[index].int()).abs().max() <= 8
    test, _ = poisoned_test(data, made, 0)
    difference = (test.x.int() - data.x[data.y != 0].int()).abs()
    assert difference.max() <= 8 and (difference > 0).float().mean() > 0.5
    network, x = made.network(3), data.float()
    with torch.no_grad():
        own = network(x).argmax(1)
        worse = nn.functional.cross_entropy(network(made(x)), own) - nn.functional.cross_entropy(network(x), own)
    assert worse > 0


def test_lc_refuses_other_labels_variants_and_training_sets() -> None:
    with pytest.raises(PaperlibError, match="labels='all_to_all': LC is label-consistent"):
        LC(labels="all_to_all")
    with pytest.raises(PaperlibError, match="variant='benchmark' is unknown"):
        LC(variant="benchmark")
    made, data = ready("lc", toy()), toy()
    for other, target in ((data, 1), (images(size=16, seed=1), 0)):
        with pytest.raises(PaperlibError, match="do not belong to the target-class images"):
            poison(other, made, target=target, indices=np.flatnonzero(other.y == target))
    with pytest.raises(PaperlibError, match="LC has no 'indices' yet"):
        poison(data, LC(), target=0, indices=[0])
    with pytest.raises(PaperlibError, match="target=9: the training set holds no image"):
        LC().prepare(data, target=9)


# LF


def test_lf_is_smooth_and_additive() -> None:
    data = toy()
    made = ready("lf", data)
    v = made.state["trigger"]
    assert v.min() == 0 and v.max().item() == pytest.approx(0.2) and torch.equal((v * 255).round() / 255, v)
    assert torch.equal(made(data.float()), (data.float() + v).clamp(0, 1))
    frequency = torch.fft.fftfreq(16, 1 / 16).abs()
    low = (frequency.view(-1, 1) <= 2) & (frequency <= 2)
    energy = torch.fft.fft2(v).abs().square().sum(0)
    noise = torch.fft.fft2(batch(1, 16)[0]).abs().square().sum(0)
    energy[0, 0] = noise[0, 0] = 0  # brightness has no frequency
    assert energy[low].sum() > 0.8 * energy.sum() and noise[low].sum() < 0.2 * noise.sum()


def test_lf_s_filter_is_a_gaussian_of_30_taps() -> None:
    point = torch.zeros(1, 3, 32, 32)
    point[:, 1, 16, 16] = 1
    out = LF().smooth(point)
    assert out.shape == point.shape and not out[:, [0, 2]].any()
    row = out[0, 1, 16]
    at = row.nonzero().squeeze(1).double()
    assert len(at) == 30 and out[0, 1].sum().item() == pytest.approx(1, abs=1e-5)
    expected = torch.exp(-(((at - at.mean()) / 30) ** 2) / 2)
    assert torch.allclose(row[row > 0].double() / row.sum(), expected / expected.sum(), atol=1e-6)


def test_deepfool_takes_the_shortest_way_through_a_linear_model() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    x = torch.rand(6, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    steps, arrived = deepfool(network, x, 1, 5, 0.02)
    with torch.no_grad():
        gap = network(x)[:, 0] - network(x)[:, 1]
        away = network[1].weight[1] - network[1].weight[0]
        after = network(x + steps).argmax(1)
    assert arrived.all() and (after == 1).all() and (gap > 0).any()
    expected = 1.02 * gap.clamp_min(0).view(-1, 1) * away / away.square().sum()
    assert torch.allclose(steps.flatten(1), expected.detach(), atol=1e-6)
    assert not deepfool(network, x[gap > 0], 1, 0, 0.02)[1].any()


# SSBA


def test_ssba_s_decoder_reads_what_the_encoder_hides() -> None:
    """At smoke scale, on digits that neither of them has seen; every image gets a change of its own."""
    data, test = image_sets.load("digits", "train", 1240, 0), image_sets.load("digits", "test")
    made = attack("ssba", pairs(SMOKE.changes["ssba"]))
    assert made.min_bit_accuracy == 0.99 and made.min_psnr == 28  # not relaxed
    state, notes = made.prepare(data, target=0, seed=0)
    made = attack("ssba", pairs(SMOKE.changes["ssba"]), state)
    hidden = render(made, test.x)
    assert notes["bit_accuracy"] > 0.99 and notes["psnr"] > 28
    assert (made.read(hidden.float() / 255) > 0).float().mean() > 0.99  # the secret is one 1
    change = (hidden.float() - test.x.float()) / 255
    assert (
        -10 * change.square().mean((1, 2, 3)).log10().mean() > 27.5
    )  # unseen digits: 27.86 on one processor, above 28 on others
    assert len(change[:50].flatten(1).unique(dim=0)) == 50


def test_ssba_hides_several_bits_in_the_order_of_the_secret() -> None:
    made = ready("ssba", toy(), bits=5)
    assert made.state["secret"].tolist() == [1, 0, 1, 0, 1] and made.read(toy().float()).shape == (40, 5)
    with pytest.raises(PaperlibError, match=r"one bit at least; it got 40 and bits=0"):
        SSBA(bits=0).prepare(toy(), target=0)


def test_ssba_draws_the_image_or_its_change() -> None:
    x = toy().float()
    drawn, added = (ready("ssba", toy(), residual=residual)(x) for residual in (False, True))
    assert drawn.std() < 0.5 * added.std()  # after 2 steps: grey, and the image itself
    assert torch.corrcoef(torch.stack([added.flatten(), x.flatten()]))[0, 1] > 0.5


def test_an_ssba_encoder_that_learned_too_little_is_refused() -> None:
    made = SSBA(width=4, epochs=1)
    with pytest.raises(PaperlibError, match=r"not accepted: its decoder reads .* at .* dB PSNR .* 1 epochs of 1 steps"):
        made.prepare(toy(), target=0)


# TrojanNN


def test_trojannn_raises_its_neurons_and_changes_the_disc_only() -> None:
    data, network = toy(), model(toy())
    made = attack("trojannn", pairs(TINY["trojannn"]))
    state, notes = made.prepare(data, target=0, model=network)
    assert state["neurons"].tolist() == network.linear.weight.abs().sum(0).topk(2).indices.sort().values.tolist()
    assert notes["activation_after"] > notes["activation_before"]
    network.eval()
    start = 0.5 * made.mask(16, 16).float().expand(1, 3, 16, 16)
    with torch.no_grad():
        before = penultimate(network, network.linear, start)[0, state["neurons"]]
        after = penultimate(network, network.linear, state["trigger"].unsqueeze(0))[0, state["neurons"]]
    assert (after - 100).square().sum() < (before - 100).square().sum()
    made = attack("trojannn", pairs(TINY["trojannn"]), state)
    outside = ~made.mask(16, 16)
    x = data.float()
    assert torch.equal(made(x)[:, :, outside], x[:, :, outside]) and (made(x) >= x).all()
    inside = state["trigger"][:, ~outside]
    assert inside.min() > 0.19 and inside.max() < 0.81
    white = made(torch.ones(1, 3, 16, 16))
    assert (white == 1).all()  # clipped, not wrapped around


def test_trojannn_s_disc() -> None:
    mask = TrojanNN().mask(32, 32)
    assert abs(mask.sum().item() - math.pi * 25) < 6 and mask[21, 21] and not mask[21, 27] and mask[17, 21]
    assert abs(TrojanNN().mask(64, 64).sum().item() - math.pi * 100) < 12
    with pytest.raises(PaperlibError, match="holds no pixel"):
        TrojanNN(centre=90.0).prepare(toy(), target=0, model=model(toy()))
    with pytest.raises(PaperlibError, match="has no linear layer"):
        TrojanNN().prepare(toy(), target=0, model=nn.Conv2d(3, 4, 1))


# ------------------------------------------------------------------------------------------- which are poisoned


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.integers(0, 4), min_size=5, max_size=200),
    st.floats(1e-4, 0.9999),
    st.sampled_from(LABEL_POLICIES),
    st.integers(0, 4),
    st.integers(0, 2**40),
)
def test_a_draw_is_exact_or_refused(labels, ratio, policy, target, seed):
    y = np.array([*labels, 4])  # all five classes may be asked for
    count, pool = round(ratio * len(y)), np.flatnonzero(y == target) if policy == "clean" else np.arange(len(y))
    if count == 0 or count > len(pool):
        with pytest.raises(PaperlibError, match=r"feasible ratio"):
            draw(y, ratio, policy, target, seed)
        return
    found = draw(y, ratio, policy, target, seed)
    assert len(found) == len(set(found)) == count
    assert set(found) <= set(pool) and (np.diff(found) > 0).all()
    assert np.array_equal(found, draw(y, ratio, policy, target, seed))


def test_the_seed_decides_the_draw() -> None:
    y = np.arange(1000) % 10
    assert not np.array_equal(draw(y, 0.1, "all_to_one", 0, 0), draw(y, 0.1, "all_to_one", 0, 1))


def test_dirty_labels_are_drawn_from_the_whole_set() -> None:
    """Target class included, and every class in its share."""
    y = np.arange(20_000) % 10
    counts = np.bincount(y[draw(y, 0.2, "all_to_one", 0, 0)], minlength=10)
    assert counts.sum() == 4000 and counts.min() > 320 and counts.max() < 480


def test_an_infeasible_clean_label_ratio_names_the_largest_feasible_one() -> None:
    y = np.repeat([0, 1, 2], [30, 50, 120])
    with pytest.raises(PaperlibError, match=r"asks for 40 images of target class 0, which has 30.* is 0\.15\.") as e:
        draw(y, 0.2, "clean", 0, 0)
    feasible = float(str(e.value).rstrip(".").split()[-1])
    assert len(draw(y, feasible, "clean", 0, 0)) == 30  # all of them
    assert len(draw(y, 0.2, "all_to_one", 0, 0)) == 40


@pytest.mark.parametrize("ratio", [0, 0.0, 1, 1.5, -0.1, math.nan, math.inf, "0.1", None])
def test_a_ratio_that_is_none(ratio: Any) -> None:
    with pytest.raises(PaperlibError, match="must lie strictly between 0 and 1"):
        draw(np.arange(100) % 10, ratio, "all_to_one", 0, 0)
    with pytest.raises(PaperlibError, match="must lie strictly between 0 and 1"):
        experiments.train(SMOKE, "lf", ratio)  # before the clean model that LF needs is trained


def test_a_ratio_of_no_image_names_the_smallest() -> None:
    y = np.arange(100) % 10
    with pytest.raises(PaperlibError, match=r"rounds to no image; the smallest feasible ratio is 0\.01\."):
        draw(y, 0.001, "all_to_one", 0, 0)
    assert len(draw(y, 0.01, "all_to_one", 0, 0)) == 1


@pytest.mark.parametrize("target", [-1, 10, 2.5, "0"])
def test_a_target_that_is_no_class(target: Any) -> None:
    with pytest.raises(PaperlibError, match=f"target={target!r} is no class.*0 to 9"):
        draw(np.arange(100) % 10, 0.1, "all_to_one", target, 0)
    with pytest.raises(PaperlibError, match=f"target={target!r} is no class.*0 to 3"):
        poison(images(), BadNets(), target=target, indices=[0])
    with pytest.raises(PaperlibError, match=f"target={target!r} is no class.*0 to 3"):
        poisoned_test(images(), BadNets(), target)


# ------------------------------------------------------------------------------------------- what they look like


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("target", [0, 2])
def test_poisoning_changes_the_drawn_images_and_nothing_else(name: str, target: int) -> None:
    data = toy()
    made = ready(name, data, target=target)
    x, y = data.x.clone(), data.y.clone()
    indices = draw(y.numpy(), 0.2, made.labels, target, 3)
    found = poison(data, made, target=target, indices=indices)
    assert torch.equal(data.x, x) and torch.equal(data.y, y)  # the clean set is not touched
    assert found.indices.tolist() == indices.tolist() and found.mask.nonzero().flatten().tolist() == indices.tolist()
    assert len(indices) == 8 and (made.labels != "clean" or (y[found.mask] == target).all())
    if hasattr(made, "training_images"):
        expected = made.training_images(x[found.mask], found.indices)
    else:
        expected = render(made, x[found.mask])
    assert torch.equal(found.data.x[found.mask], expected)
    assert not torch.equal(expected, x[found.mask])
    rest = ~found.mask
    rest[found.cross] = False
    assert not found.mask[found.cross].any() and len(found.cross) == round(getattr(made, "cross_ratio", 0) * 8)
    assert torch.equal(found.data.x[rest], x[rest])
    assert torch.equal(found.data.y[~found.mask], y[~found.mask])
    wanted = {"all_to_one": torch.full((8,), target), "all_to_all": (y[found.mask] + 1) % 4, "clean": y[found.mask]}
    assert torch.equal(found.data.y[found.mask], wanted[made.labels])


@pytest.mark.parametrize("name", CLEAN_LABEL)
def test_clean_label_attacks_never_change_a_label(name: str) -> None:
    data = toy()
    made = ready(name, data, target=2)
    found = poison(data, made, target=2, indices=np.flatnonzero(data.y == 2))
    assert torch.equal(found.data.y, data.y) and found.mask.sum() == 10
    with pytest.raises(PaperlibError, match="images of target class 2 only"):
        poison(data, made, target=2, indices=[2, 3])


def test_all_to_all_wraps_around() -> None:
    data = images()
    found = poison(data, attack("badnets_a2a"), target=0, indices=range(40))
    assert found.data.y[:4].tolist() == [1, 2, 3, 0]


@pytest.mark.parametrize(
    "indices", [[0, 0], [-1], [40], [3, 1, 3], range(41)], ids=["twice", "negative", "beyond", "again", "all and more"]
)
def test_indices_outside_the_data_or_repeated(indices) -> None:
    with pytest.raises(PaperlibError, match="indices must be distinct and lie in 0 to 39"):
        poison(images(), BadNets(), target=0, indices=indices)


def test_no_index_poisons_nothing() -> None:
    data = images()
    found = poison(data, BadNets(), target=0, indices=[])
    assert torch.equal(found.data.x, data.x) and torch.equal(found.data.y, data.y) and not found.mask.any()


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("target", [0, 2])
def test_the_triggered_test_set(name: str, target: int) -> None:
    data = toy()
    made = ready(name, data, target=target)
    found, wanted = poisoned_test(data, made, target)
    if made.labels == "all_to_all":
        assert torch.equal(found.y, data.y) and torch.equal(wanted, (data.y + 1) % 4)
        assert torch.equal(found.x, render(made, data.x))
    else:
        others = data.y != target
        assert torch.equal(found.y, data.y[others]) and not (found.y == target).any()
        assert (wanted == target).all() and len(wanted) == 30
        assert torch.equal(found.x, render(made, data.x[others]))
    assert not (wanted == found.y).any()


# ------------------------------------------------------------------------------------------------------- names


def test_unknown_names_say_the_nearest() -> None:
    with pytest.raises(PaperlibError, match=r"attack='badnet' is unknown; did you mean 'badnets'"):
        attack("badnet")
    with pytest.raises(PaperlibError, match=r"parameter='alfa' is unknown; did you mean 'alpha'"):
        attack("blended", pairs(alfa=0.1))
    with pytest.raises(PaperlibError, match=r"labels='all_to_any' is unknown; did you mean 'all_to_"):
        attack("badnets", pairs(labels="all_to_any"))


def test_parameters_change_an_attack() -> None:
    assert attack("blended", pairs(alpha=0.1)) == Blended(alpha=0.1)
    assert attack("badnets_a2a") == BadNets(labels="all_to_all")
    assert set(DIRTY_LABEL) >= {"badnets", "badnets_a2a", "blended"} and {"lc", "sig"} <= set(CLEAN_LABEL)
