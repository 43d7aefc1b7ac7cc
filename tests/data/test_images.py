"""Images as tensors: digits, subsets, and real CIFAR-10 where it is on this machine."""

import hashlib
import os

import pytest
import torch

from paperlib.data import images, sources
from paperlib.data.images import ImageData, balanced_subset, clean_subset, load
from paperlib.errors import PaperlibError


@pytest.fixture(scope="module")
def digits() -> ImageData:
    return load("digits", "train")


@pytest.fixture(scope="module")
def labels() -> torch.Tensor:
    """1,000 labels of 10 classes of different sizes, in mixed order; the smallest class has 60."""
    sizes = torch.tensor([60, 80, 90, 95, 100, 105, 110, 115, 120, 125])
    y = torch.repeat_interleave(torch.arange(10), sizes)
    return y[torch.randperm(1000, generator=torch.Generator().manual_seed(3))]


def test_digits_are_rgb_and_agree_with_their_entry(digits: ImageData) -> None:
    test, info = load("digits", "test"), sources.DATASETS["digits"]
    for data, n in ((digits, info.n_train), (test, info.n_test)):
        assert data.x.dtype == torch.uint8 and data.y.dtype == torch.int64
        assert data.x.shape == (n, *info.shape) and data.y.shape == (n,) and len(data) == n
        assert (data.x[:, 0] == data.x[:, 1]).all() and (data.x[:, 0] == data.x[:, 2]).all()
        assert data.class_names == info.classes and data.n_classes == 10
    assert test.y.bincount().tolist() == [50] * 10
    assert (digits.mean, digits.std) == (test.mean, test.std)
    assert not digits.flip  # a mirrored 2 is no 2


def test_digits_splits_partition_the_publisher_s_images(digits: ImageData) -> None:
    from sklearn.datasets import load_digits

    def multiset(x: torch.Tensor) -> list[bytes]:
        return sorted(image.numpy().tobytes() for image in x)

    both = torch.cat([digits.x, load("digits", "test").x])
    enlarged = torch.nn.functional.interpolate(
        torch.from_numpy(load_digits().images)[:, None] * 255 / 16, scale_factor=2, mode="bilinear"
    )
    assert multiset(both) == multiset(enlarged.round().to(torch.uint8).repeat(1, 3, 1, 1))


def test_digits_never_change(digits: ImageData) -> None:
    """Stored results depend on these bytes."""
    digest = hashlib.sha256(digits.x.numpy().tobytes() + digits.y.numpy().tobytes()).hexdigest()
    assert digest == "2ba10149e0c6f1e179b416172089218d2a379867a91c54bcb72d181c2550a2e6"


def test_normalisation_of_the_training_set_is_standard(digits: ImageData) -> None:
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (digits.mean, digits.std))
    z = (digits.float() - mean) / std
    assert z.dtype == torch.float32
    assert z.mean().abs() < 1e-3 and (z.std() - 1).abs() < 1e-3


def test_float_is_in_the_unit_interval_and_takes_indices(digits: ImageData) -> None:
    whole = digits.float()
    assert whole.dtype == torch.float32 and whole.min() == 0 and whole.max() == 1
    assert torch.equal(digits.float([5, 2]), whole[[5, 2]])
    assert torch.equal((whole * 255).to(torch.uint8), digits.x)  # and x itself was not touched


def test_subset_copies_and_keeps_the_rest(digits: ImageData) -> None:
    part = digits.subset([7, 3])
    assert torch.equal(part.x, digits.x[[7, 3]]) and torch.equal(part.y, digits.y[[7, 3]])
    assert (part.name, part.mean, part.pad, part.class_names) == (
        digits.name,
        digits.mean,
        digits.pad,
        digits.class_names,
    )
    before = digits.x[7].clone()
    part.x[0] = 255 - part.x[0]
    assert torch.equal(digits.x[7], before)
    threes = digits.subset(digits.y == 3)
    assert len(threes) == int((digits.y == 3).sum()) and (threes.y == 3).all()


def test_image_data_refuses_what_the_rest_cannot_use(digits: ImageData) -> None:
    fields = {"class_names": ("a",), "mean": (0.0,) * 3, "std": (1.0,) * 3, "flip": False, "pad": 0, "name": "t"}
    with pytest.raises(PaperlibError, match=r"x is torch.float32"):
        ImageData(x=digits.float([0]), y=digits.y[:1], **fields)
    with pytest.raises(PaperlibError, match=r"y is torch.int64 of shape \(2,\)"):
        ImageData(x=digits.x[:1], y=digits.y[:2], **fields)


@pytest.mark.parametrize("n", [10, 17, 100, 599, 600])
def test_subsets_are_balanced_distinct_and_nested(labels: torch.Tensor, n: int) -> None:
    chosen = clean_subset(labels, n, seed=0)
    assert chosen.dtype == torch.int64 and chosen.unique().numel() == n
    counts = labels[chosen].bincount(minlength=10)
    assert counts.max() - counts.min() <= 1
    assert torch.equal(clean_subset(labels, 600, seed=0)[:n], chosen)


def test_subsets_depend_on_seed_and_purpose_only(labels: torch.Tensor) -> None:
    torch.manual_seed(1)
    first = clean_subset(labels, 100, seed=0)
    torch.manual_seed(2)
    assert torch.equal(first, clean_subset(labels.numpy(), 100, seed=0))
    assert not torch.equal(first, clean_subset(labels, 100, seed=1))
    assert not torch.equal(first, balanced_subset(labels, 100, seed=0))


def test_subsets_never_change() -> None:
    """Every stored result depends on these draws."""
    assert clean_subset(torch.arange(100) % 10, 12, seed=0).tolist() == [93, 61, 75, 9, 36, 2, 48, 70, 87, 54, 39, 85]


def test_subsets_draw_uniformly_within_a_class() -> None:
    y = torch.arange(40) % 2
    hits = torch.zeros(40)
    for seed in range(2000):
        hits[clean_subset(y, 4, seed)] += 1
    # 200 expected per sample, standard deviation sqrt(2000 * 0.1 * 0.9) = 13.4
    assert (hits - 200).abs().max() < 5 * 13.4


@pytest.mark.parametrize("n", [0, 9, 601, -1])
def test_a_size_that_cannot_be_balanced_names_the_range(labels: torch.Tensor, n: int) -> None:
    with pytest.raises(PaperlibError, match=rf"n={n} .*smallest has 60 samples.*between 10 and 600"):
        clean_subset(labels, n, seed=0)


def test_no_labels_and_negative_seeds_are_errors() -> None:
    with pytest.raises(PaperlibError, match="n=1"):
        clean_subset(torch.empty(0, dtype=torch.int64), 1, seed=0)
    with pytest.raises(PaperlibError, match="seed=-1"):
        clean_subset(torch.arange(4), 4, seed=-1)


def test_load_takes_a_nested_balanced_part(digits: ImageData) -> None:
    small, large = load("digits", "train", n=50, seed=4), load("digits", "train", n=200, seed=4)
    assert large.y.bincount().tolist() == [20] * 10
    assert torch.equal(large.x[:50], small.x) and torch.equal(large.y[:50], small.y)
    assert not torch.equal(load("digits", "train", n=50, seed=5).x, small.x)


def test_load_says_what_it_knows() -> None:
    with pytest.raises(PaperlibError, match="did you mean 'digits'"):
        load("digit", "train")
    with pytest.raises(PaperlibError, match="split='validation'"):
        load("digits", "validation")
    with pytest.raises(PaperlibError, match="n=9999"):
        load("digits", "train", n=9999)
    assert images.LOADERS.keys() == sources.DATASETS.keys()


def test_real_cifar10() -> None:
    if not os.environ.get("PAPERLIB_DATA") or sources.status("cifar10").state != "ready":
        pytest.skip("PAPERLIB_DATA does not hold CIFAR-10")
    train, test = load("cifar10", "train"), load("cifar10", "test")
    assert train.x.shape == (50_000, 3, 32, 32) and train.y.bincount().tolist() == [5000] * 10
    assert test.x.shape == (10_000, 3, 32, 32) and test.y.bincount().tolist() == [1000] * 10
    # The protocol's normalisation is that of the training set: if it fits, channels and planes are in the right place.
    pixels = train.float(range(0, 50_000, 10))
    assert pixels.mean((0, 2, 3)).tolist() == pytest.approx(train.mean, abs=4e-3)
    assert pixels.std((0, 2, 3)).tolist() == pytest.approx(train.std, abs=4e-3)
    assert train.class_names[int(test.y[0])] == "cat" and (train.pad, train.flip) == (4, True)
