"""Noisy labels: exact counts, the map of asymmetric noise, a seed that decides, people's labels, and noise before
poison."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from image_toy import images
from torch import Tensor

from paperlib import paths
from paperlib.attacks import attack
from paperlib.attacks.scene import Scene
from paperlib.data import noise
from paperlib.errors import DataMissing, PaperlibError


@pytest.fixture
def y() -> Tensor:
    """1,001 labels of 7 classes of different sizes."""
    return torch.from_numpy(np.random.default_rng(0).choice(7, 1001, p=[0.3, 0.2, 0.2, 0.1, 0.1, 0.05, 0.05]))


@pytest.mark.parametrize("kind", noise.SYNTHETIC)
@pytest.mark.parametrize("rate", [0.013, 0.2, 0.4, 0.9])
def test_counts_are_exact(y: Tensor, kind: str, rate: float) -> None:
    found = noise.noisy_labels(y, kind, rate, n_classes=7)
    assert found.mask.sum() == round(rate * 1001) and torch.equal(found.mask, found.y != y)
    assert found.y.dtype == torch.int64 and found.y.min() >= 0 and found.y.max() < 7
    per_class = torch.zeros(7).index_add_(0, y, found.mask.float())
    assert ((per_class - rate * y.bincount()).abs() < 1).all()


@pytest.mark.parametrize("kind", noise.SYNTHETIC)
def test_a_seed_decides(y: Tensor, kind: str) -> None:
    before, rng = y.clone(), torch.get_rng_state()
    a, b, c = (noise.noisy_labels(y, kind, 0.3, n_classes=7, seed=s) for s in (1, 1, 2))
    assert torch.equal(a.y, b.y) and not torch.equal(a.mask, c.mask)
    assert torch.equal(y, before) and torch.equal(rng, torch.get_rng_state())


def test_symmetric_noise_reaches_every_other_class_alike() -> None:
    y = torch.zeros(12_000, dtype=torch.int64)
    found = noise.symmetric(y, 0.5, n_classes=4)
    counts = found.y.bincount(minlength=4)
    assert counts[0] == 6000 and ((counts[1:] - 2000).abs() < 5 * 2000**0.5).all()


def test_asymmetric_noise_goes_to_the_next_class_or_where_the_map_says(y: Tensor) -> None:
    found = noise.asymmetric(y, 0.4, n_classes=7)
    assert torch.equal(found.y[found.mask], (y[found.mask] + 1) % 7)
    to = torch.tensor([3, 0, 0, 6, 5, 4, 0])
    found = noise.asymmetric(y, 0.4, n_classes=7, mapping=to.tolist())
    assert torch.equal(found.y[found.mask], to[y[found.mask]])


@pytest.mark.parametrize(
    ("kind", "given", "says"),
    [
        ("symetric", {"rate": 0.2}, "kind='symetric' is unknown; did you mean 'symmetric'"),
        ("symmetric", {"rate": 0.0}, "rate=0.0 must lie strictly between 0 and 1"),
        ("asymmetric", {"rate": 1.0}, "rate=1.0 must lie strictly between 0 and 1"),
        ("asymmetric", {"rate": -0.1}, "rate=-0.1 must lie strictly"),
        ("symmetric", {"rate": 1e-5}, "of 1001 labels rounds to none"),
        ("symmetric", {"rate": 0.2, "seed": -1}, "seed=-1 must not be negative"),
        ("symmetric", {"rate": 0.2, "n_classes": 6}, "n_classes=6 but y holds labels from 0 to 6"),
        ("worst", {"rate": 0.4}, "rate=0.4 but the rate of kind='worst' is what people made it"),
    ],
)
def test_bad_input_is_named(y: Tensor, kind: str, given: dict, says: str) -> None:
    with pytest.raises(PaperlibError, match=says):
        noise.noisy_labels(y, kind, **{"n_classes": 7, **given})


@pytest.mark.parametrize("mapping", [[1, 0], [1, 2, 2, 4, 5, 6, 0], [1, 2, 3, 4, 5, 6, 7], [0.5] * 7])
def test_a_map_that_is_none(y: Tensor, mapping: list) -> None:
    with pytest.raises(PaperlibError, match="mapping="):
        noise.asymmetric(y, 0.4, n_classes=7, mapping=mapping)


def test_labels_that_are_none() -> None:
    for wrong in (torch.zeros(3), torch.zeros(0, dtype=torch.int64), torch.zeros(2, 2, dtype=torch.int64)):
        with pytest.raises(PaperlibError, match="labels must be a non-empty int64 tensor"):
            noise.symmetric(wrong, 0.2, n_classes=3)


# ----------------------------------------------------------------------------------------------------------- hybrids


def test_noise_comes_before_poison() -> None:
    data = images(40)
    noisy = noise.asymmetric(data.y, 0.25, n_classes=4)
    both = noisy.mask.nonzero().flatten()[:3].tolist()
    only = (~noisy.mask).nonzero().flatten()[:5].tolist()
    for name, wanted in (("badnets", torch.full((8,), 2)), ("badnets_a2a", (noisy.y[both + only] + 1) % 4)):
        found = Scene(data, data, target=2, noisy=noisy).under(attack(name), both + only)
        assert found.poisoned is not None
        poisoned = found.poisoned.mask
        assert torch.equal(found.data.y[both + only], wanted)
        assert torch.equal(found.data.y[~poisoned], noisy.y[~poisoned])
        assert found.dirty.sum() == 10 + 5
        changed = (found.data.x != data.x).flatten(1).any(1)
        assert torch.equal(changed, poisoned)


# ---------------------------------------------------------------------------------------------------------- CIFAR-10N


def test_missing_human_labels_say_where_they_come_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAPERLIB_DATA", str(tmp_path))
    with pytest.raises(DataMissing, match=r"CIFAR-10_human.npy.*github.com/UCSC-REAL/cifar-10-100n"):
        noise.human(torch.zeros(50_000, dtype=torch.int64), "worst")


def test_damaged_human_labels(tmp_path: Path) -> None:
    file = tmp_path / "labels.npz"
    file.write_bytes(b"nothing")
    with pytest.raises(PaperlibError, match="cannot be read as the labels of CIFAR-10N"):
        noise.human_labels(file)
    np.savez(file, clean_label=np.zeros(50_000, np.int64))
    with pytest.raises(PaperlibError, match="clean_label does not hold the published labels"):
        noise.human_labels(file)


class Harm:
    """A pickle that runs a program when it is read without care."""

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.where),)


def test_a_file_that_would_run_code_is_not_run(tmp_path: Path) -> None:
    harm = Harm()
    harm.where = tmp_path / "harm"
    np.save(tmp_path / "labels.npy", np.array({"clean_label": harm}, dtype=object), allow_pickle=True)
    with pytest.raises(PaperlibError, match="mkdir is not allowed"):
        noise.human_labels(tmp_path / "labels.npy")
    assert not harm.where.exists()


def test_human_labels(tmp_path: Path) -> None:
    if not any((paths.data_dir() / name).is_file() for name in noise.FILES):
        pytest.skip("the labels of CIFAR-10N are not in the data folder")
    labels = noise.human_labels()
    clean = labels["clean_label"]
    rates = {kind: noise.noisy_labels(clean, kind, n_classes=10).mask.double().mean().item() for kind in noise.HUMAN}
    assert rates == pytest.approx(
        {"aggregate": 0.0901, "random1": 0.17234, "random2": 0.18122, "random3": 0.1764, "worst": 0.40208}
    )
    index = torch.tensor([7, 3, 40_000])
    part = noise.human(clean[index], "random2", indices=index)
    assert torch.equal(part.y, labels["random2"][index])
    with pytest.raises(PaperlibError, match="are not CIFAR-10's labels of these images"):
        noise.human(clean[:3], "random2", indices=index)
    with pytest.raises(PaperlibError, match="positions 0 to 49999"):
        noise.human(clean[:1], "random2", indices=[50_000])
    theirs = {"clean_label": clean.numpy()} | {n: labels[k].numpy() for k, (n, _) in noise.HUMAN.items()}
    np.save(tmp_path / "CIFAR-10_human.npy", np.array(theirs, dtype=object), allow_pickle=True)
    again = noise.human_labels(tmp_path / "CIFAR-10_human.npy")
    assert all(torch.equal(again[kind], labels[kind]) for kind in labels)
