"""Triggers, label policies and the choice of poisoned samples, by hand and for every attack in the registry."""

import hashlib
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from image_toy import images
from torch import Tensor

from paperlib.attacks import ATTACKS, LABEL_POLICIES, attack, draw, poison, poisoned_test, render
from paperlib.attacks.badnets import BadNets
from paperlib.attacks.blended import Blended, picture
from paperlib.attacks.sig import SIG
from paperlib.errors import PaperlibError
from paperlib.lab.spec import pairs

EVERY = sorted(ATTACKS)
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
    mixed = (Blended()(x) - 0.8 * x) / 0.2
    expected = torch.tensor(picture(3, 32, 32, 0), dtype=torch.float32)
    assert torch.allclose(mixed, expected.expand_as(mixed), atol=1e-5)
    assert torch.equal(Blended(alpha=0.0)(x), x)
    assert torch.allclose(Blended(alpha=1.0)(x), expected.expand_as(x))
    assert not torch.equal(Blended(picture_seed=1)(x), Blended()(x))


def test_the_blended_picture_never_changes() -> None:
    """Stored results depend on it. Full contrast: every grey level occurs as often as any other."""
    grey = np.round(picture(3, 32, 32, 0) * 255).astype(np.uint8)
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


@pytest.mark.parametrize("name", EVERY)
@settings(deadline=None, max_examples=25)
@given(st.integers(1, 5), st.sampled_from([4, 7, 16, 32]), st.integers(0, 999))
def test_every_trigger(name: str, n: int, size: int, seed: int) -> None:
    x, made = batch(n, size, seed), attack(name)
    before = x.clone()
    triggered = made(x)
    assert triggered.shape == x.shape and triggered.dtype == x.dtype
    assert triggered.min() >= 0 and triggered.max() <= 1
    assert torch.equal(x, before), "the images that were given must stay as they are"
    assert torch.equal(attack(name)(x), triggered), "the same images give the same triggered images"
    one_by_one = torch.cat([made(x[i : i + 1]) for i in range(n)])
    assert torch.allclose(triggered, one_by_one, atol=1e-6), "a batch is its images one by one"


@pytest.mark.parametrize("name", EVERY)
def test_rendering_is_uint8_and_independent_of_the_batch_size(name: str) -> None:
    data = images(11, size=16)
    made = render(attack(name), data.x)
    assert made.dtype == torch.uint8 and made.shape == data.x.shape and not torch.equal(made, data.x)
    assert torch.equal(made, render(attack(name), data.x, batch_size=3))
    assert (made.float() - attack(name)(data.float()) * 255).abs().max() <= 0.501  # the nearest grey level
    assert render(attack(name), data.x[:0]).shape == (0, 3, 16, 16)


def test_black_and_white_images_stay_in_range() -> None:
    for name in EVERY:
        for value in (0.0, 1.0):
            made = attack(name)(torch.full((1, 3, 32, 32), value))
            assert made.min() >= 0 and made.max() <= 1


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


@pytest.mark.parametrize("ratio", [0, 0.0, 1, 1.5, -0.1, math.nan, math.inf])
def test_a_ratio_that_is_none(ratio: float) -> None:
    with pytest.raises(PaperlibError, match="must lie strictly between 0 and 1"):
        draw(np.arange(100) % 10, ratio, "all_to_one", 0, 0)


def test_a_ratio_of_no_image_names_the_smallest() -> None:
    y = np.arange(100) % 10
    with pytest.raises(PaperlibError, match=r"rounds to no image; the smallest feasible ratio is 0\.01\."):
        draw(y, 0.001, "all_to_one", 0, 0)
    assert len(draw(y, 0.01, "all_to_one", 0, 0)) == 1


@pytest.mark.parametrize("target", [-1, 10])
def test_a_target_that_is_no_class(target: int) -> None:
    with pytest.raises(PaperlibError, match=f"target={target} is no class.*0 to 9"):
        draw(np.arange(100) % 10, 0.1, "all_to_one", target, 0)
    with pytest.raises(PaperlibError, match=f"target={target} is no class.*0 to 3"):
        poison(images(), BadNets(), target=target, indices=[0])
    with pytest.raises(PaperlibError, match=f"target={target} is no class.*0 to 3"):
        poisoned_test(images(), BadNets(), target)


# ------------------------------------------------------------------------------------------- what they look like


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("target", [0, 2])
def test_poisoning_changes_the_drawn_images_and_nothing_else(name: str, target: int) -> None:
    data, made = images(), attack(name)
    x, y = data.x.clone(), data.y.clone()
    indices = draw(y.numpy(), 0.2, made.labels, target, 3)
    found = poison(data, made, target=target, indices=indices)
    assert torch.equal(data.x, x) and torch.equal(data.y, y)  # the clean set is not touched
    assert found.indices.tolist() == indices.tolist() and found.mask.nonzero().flatten().tolist() == indices.tolist()
    assert torch.equal(found.data.x[found.mask], render(made, x[found.mask]))
    assert torch.equal(found.data.x[~found.mask], x[~found.mask])
    assert torch.equal(found.data.y[~found.mask], y[~found.mask])
    wanted = {"all_to_one": torch.full((8,), target), "all_to_all": (y[found.mask] + 1) % 4, "clean": y[found.mask]}
    assert torch.equal(found.data.y[found.mask], wanted[made.labels])


@pytest.mark.parametrize("name", CLEAN_LABEL)
def test_clean_label_attacks_never_change_a_label(name: str) -> None:
    data = images()
    found = poison(data, attack(name), target=1, indices=np.flatnonzero(data.y == 1))
    assert torch.equal(found.data.y, data.y) and found.mask.sum() == 10
    with pytest.raises(PaperlibError, match="images of target class 1 only"):
        poison(data, attack(name), target=1, indices=[0, 1])


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
@pytest.mark.parametrize("target", [0, 3])
def test_the_triggered_test_set(name: str, target: int) -> None:
    data, made = images(), attack(name)
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
    assert set(DIRTY_LABEL) >= {"badnets", "badnets_a2a", "blended"} and "sig" in CLEAN_LABEL
