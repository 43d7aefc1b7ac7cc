"""Blended's pictures: what each is, which one a spec means, and what plans take."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from image_toy import images
from PIL import Image

from paperlib.attacks import attack, meant
from paperlib.attacks.blended import Blended, cartoon
from paperlib.attacks.pictures import benchmark
from paperlib.data import sources
from paperlib.data.images import load
from paperlib.errors import PaperlibError
from paperlib.experiments import plan, scales, scene
from paperlib.lab.spec import from_dict, pairs


@pytest.fixture
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file of our own where the benchmark's belongs, with its checksum; it is not square."""
    pixels = np.random.default_rng(0).integers(0, 256, (60, 48, 3), dtype=np.uint8)
    (tmp_path / "pictures").mkdir()
    path = tmp_path / "pictures" / sources.PICTURE
    Image.fromarray(pixels).save(path)
    info = sources.FILES["pictures"]
    checksum = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    monkeypatch.setitem(info.layouts, "pictures", {sources.PICTURE: checksum})  # type: ignore[index]
    monkeypatch.setenv("PAPERLIB_DATA", str(tmp_path))
    benchmark.cache_clear()
    yield path
    benchmark.cache_clear()


def test_the_cartoon_changes_images_as_the_benchmark_s_picture_does() -> None:
    """Mean L2 5.2, brightness +0.06 and 42 % near-white pixels on CIFAR-10, measured here on an image with its mean and
    spread."""
    picture = cartoon(3, 32, 32)
    assert 0.38 < (picture.min(0) >= 0.95).mean() < 0.46
    # E |t - x|^2 = |t - mean|^2 + the spread of x, with CIFAR-10's means and standard deviations of the channels
    mean, std = np.array([0.4914, 0.4822, 0.4465]), np.array([0.2470, 0.2435, 0.2616])
    squares = ((picture - mean[:, None, None]) ** 2).sum() + 1024 * (std**2).sum()
    assert 0.2 * (picture.mean() - mean.mean()) == pytest.approx(0.061, abs=0.004)
    assert 0.2 * squares**0.5 == pytest.approx(5.2, abs=0.2)
    if sources.status("cifar10").state == "ready" and os.environ.get("PAPERLIB_DATA"):
        x = load("cifar10", "test", 1000, 0, "cpu").x.float() / 255
        change = attack("blended")(x) - x
        assert change.flatten(1).norm(dim=1).mean() == pytest.approx(5.2, abs=0.1)
        assert change.mean() == pytest.approx(0.061, abs=0.004)


def test_the_cartoon_has_any_size_and_is_the_same_everywhere() -> None:
    for channels, height, width in ((3, 16, 16), (1, 8, 8), (3, 64, 48), (4, 5, 9)):
        picture = cartoon(channels, height, width)
        assert picture.shape == (channels, height, width) and 0 <= picture.min() < 0.7 and picture.max() == 1
        assert np.abs(picture * 255 - np.round(picture * 255)).max() < 1e-9
    assert np.array_equal(cartoon(1, 32, 32), np.round(255 * cartoon(1, 32, 32)) / 255)
    whole = (cartoon(3, 32, 32) * 255).round().astype(np.uint8)
    assert hashlib.sha256(whole.tobytes()).hexdigest()[:16] == "f719bf2023bf93ba"
    coarse = cartoon(3, 64, 64).reshape(3, 32, 2, 32, 2).mean((2, 4))
    assert np.abs(coarse - cartoon(3, 32, 32)).max() < 0.1, "the same picture at twice the size"


def test_a_spec_that_names_no_picture_means_the_random_one() -> None:
    """Recorded rows name none: they must neither change their keys nor become another attack."""
    x = images(3, size=16).float()
    named = plan.train(scales.SMOKE, "blended", attack_params=pairs(picture="random"))
    planned = plan.train(scales.SMOKE, "blended")
    assert named.key == "4c4cbfa14f8fd5b1" and named.attack_params == ()
    assert dict(planned.attack_params) == {"picture": "cartoon"} and planned.key != named.key
    for spec, picture in ((named, "random"), (planned, "cartoon"), (from_dict(named.to_dict()), "random")):
        made = scene.before(spec, "cpu")[0].attack
        assert made == Blended(picture=picture) and torch.equal(made(x), attack("blended", pairs(picture=picture))(x))
    assert attack("blended") == Blended(picture="cartoon"), "the default of the attack itself"
    second = plan.train(scales.SMOKE, "badnets", second=plan.second("blended", 1))
    assert scene.before(second, "cpu")[0].second[0] == Blended(picture="random"), "second attacks keep their key"


def test_at_paper_scale_the_benchmark_s_picture_where_it_is(fetched: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = plan.train(scales.PAPER, "blended")
    assert dict(there.attack_params) == {"picture": "benchmark"}
    named = plan.train(scales.PAPER, "blended", attack_params=pairs(picture="random"))
    assert named.attack_params == ()
    assert plan.select(scales.PAPER, "lps", "blended", 0.01, attack_params=pairs(picture="random")).attack_params == ()
    chosen = plan.train(scales.PAPER, "blended", 0.01, selection="lps", attack_params=pairs(picture="random"))
    assert chosen.attack_params == () == chosen.selected.attack_params, "what was asked for is not planned anew"
    assert plan.train(scales.recorded_paper(), "blended") == named, "what git records stays reachable"
    monkeypatch.setenv("PAPERLIB_DATA", str(fetched.parent.parent / "elsewhere"))
    assert plan.train(scales.PAPER, "blended") == named
    assert plan.train(scales.LAPTOP, "blended").attack_params == pairs(picture="cartoon")


def test_the_benchmark_s_picture_is_resized_whatever_its_shape(fetched: Path) -> None:
    expected = Image.open(fetched).convert("RGB").resize((20, 16), Image.Resampling.BILINEAR)
    made = attack("blended", pairs(picture="benchmark", alpha=1.0))(torch.zeros(1, 3, 16, 20))
    assert np.abs(made[0].numpy() * 255 - np.asarray(expected).transpose(2, 0, 1)).max() < 1e-4
    assert attack("blended", pairs(picture="benchmark"))(torch.zeros(1, 1, 8, 8)).std() > 0
    fetched.write_bytes(fetched.read_bytes() + b"x")
    benchmark.cache_clear()
    with pytest.raises(PaperlibError, match="is damaged"):
        attack("blended", pairs(picture="benchmark"))(torch.zeros(1, 3, 8, 8))


def test_what_is_no_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAPERLIB_DATA", str(tmp_path))
    benchmark.cache_clear()
    with pytest.raises(PaperlibError, match="paperlib data fetch pictures"):
        attack("blended", pairs(picture="benchmark"))(torch.zeros(1, 3, 8, 8))
    with pytest.raises(PaperlibError, match="picture='cartooon' must be cartoon, random, benchmark, or the path"):
        attack("blended", pairs(picture="cartooon"))


def test_a_picture_of_one_s_own_by_its_path(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    path = tmp_path / "own.png"
    Image.fromarray(pixels).save(path)
    made = attack("blended", pairs(picture=str(path), alpha=1.0))(torch.zeros(1, 3, 16, 16))
    assert np.abs(made[0].numpy() * 255 - pixels.transpose(2, 0, 1)).max() < 1e-4
    spec = plan.train(scales.SMOKE, "blended", attack_params=pairs(picture=str(path)))
    params = dict(spec.attack_params)
    assert params["image"] == str(path) and len(params["image_sha256"]) == 64 and "picture" not in params
    assert meant("blended", spec.attack_params) != spec.attack_params
