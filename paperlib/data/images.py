"""Images as tensors: one uint8 tensor and its labels, on a device, edited by index.

``digits`` (scikit-learn's 8x8 digits enlarged to 3x16x16; needs no file), ``cifar10``, ``cifar100``, ``gtsrb``,
``tiny_imagenet``, and a person's own ``folder:/path`` (see :mod:`paperlib.data.folder`). Smaller, for machines without
a GPU: every fourth image of GTSRB (``gtsrb_sample``), twenty classes of Tiny ImageNet (``tiny_imagenet20``), and these
at 32x32 pixels (``tiny_imagenet20_32``).

Normalisation and augmentation are those of BackdoorBench (Wu et al., NeurIPS 2022 Datasets and Benchmarks, arXiv
2206.12654), on which the backdoor papers of this project build: see :mod:`paperlib.data.protocols`.
"""

import builtins
import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import entry_points
from numbers import Integral
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from paperlib.data import folder, publishers, sources
from paperlib.data.decode import decoded
from paperlib.data.protocols import PROTOCOLS
from paperlib.data.unpickle import arrays
from paperlib.errors import PaperlibError, choose
from paperlib.registry import check_numbers, check_seed

Indices = Tensor | np.ndarray | Sequence[int]
PerChannel = tuple[builtins.float, ...]  # spelled out because ImageData has a method named float


@dataclass(frozen=True, eq=False)
class ImageData:
    """A labelled set of images that lies on one device.

    Attributes
    ----------
    x : Tensor
        uint8, shape (N, C, H, W), RGB.
    y : Tensor
        int64, shape (N,), values in 0 .. len(class_names) - 1.
    class_names : tuple of str
        Name of class k at position k.
    mean, std : tuple of float
        Per-channel normalisation of images in [0, 1], length C.
    flip : bool
        Whether the protocol's augmentation flips horizontally.
    pad : int
        Padding in pixels of the protocol's random crop.
    name : str
        Data set, e.g. ``"cifar10"``.

    Raises
    ------
    PaperlibError
        ``x`` is not uint8 of four axes, ``y`` not int64 of one axis, or their lengths differ.
    """

    x: Tensor
    y: Tensor
    class_names: tuple[str, ...]
    mean: PerChannel
    std: PerChannel
    flip: bool
    pad: int
    name: str

    def __post_init__(self) -> None:
        if self.x.dtype != torch.uint8 or self.x.ndim != 4:
            raise PaperlibError(f"x is {self.x.dtype} of shape {tuple(self.x.shape)}; it must be uint8, (N, C, H, W).")
        if self.y.dtype != torch.int64 or self.y.shape != self.x.shape[:1]:
            raise PaperlibError(
                f"y is {self.y.dtype} of shape {tuple(self.y.shape)}; it must be int64 of shape ({len(self.x)},)."
            )

    def __len__(self) -> int:
        return len(self.x)

    @property
    def n_classes(self) -> int:
        """Number of classes of the data set, whether or not all of them occur in ``y``."""
        return len(self.class_names)

    def to(self, device: str | torch.device) -> "ImageData":
        """The same images on ``device``."""
        return replace(self, x=self.x.to(device), y=self.y.to(device))

    def subset(self, indices: Indices) -> "ImageData":
        """Copies of the images at ``indices`` (int64 positions, or a bool mask of length N), in that order."""
        index = torch.as_tensor(indices, device=self.x.device)
        return replace(self, x=self.x[index], y=self.y[index])

    def float(self, indices: Indices | None = None) -> Tensor:
        """Images as float32 in [0, 1], shape (N, C, H, W); those at ``indices`` only, when given."""
        x = self.x if indices is None else self.x[torch.as_tensor(indices, device=self.x.device)]
        return x.to(torch.float32).div_(255)


def balanced_subset(y: Indices, n: int, seed: int, *, stream: int = 0) -> Tensor:
    """Indices of a seeded, class-balanced subset.

    Every sample gets a random 64-bit number; the smallest of each class is drawn first, then the second smallest of
    each class, and so on. So the counts of two classes differ by at most one, and subsets are nested: for n1 < n2 and
    the same ``y`` and ``seed``, the subset of size n1 is the beginning of the subset of size n2. The numbers are the
    raw output of PCG64, which NumPy keeps fixed: the subset is the same with every version and on every machine.

    Parameters
    ----------
    y : int array or tensor of shape (N,)
        Labels. The classes are those that occur.
    n : int
        Size of the subset: at least the number of classes, at most (number of classes) x (size of the smallest class).
    seed : int
        Not negative.
    stream : int
        Draws of the same seed and different streams are independent.

    Returns
    -------
    Tensor
        int64 of shape (n,), on the CPU, in the order of drawing (classes interleaved).

    Raises
    ------
    PaperlibError
        ``n`` is outside its range, or ``seed`` is negative.
    """
    labels = y.cpu().numpy() if isinstance(y, Tensor) else np.asarray(y)
    check_seed(seed)
    if labels.ndim != 1 or (labels.dtype.kind not in "iu" and labels.size):
        raise PaperlibError(f"y is {labels.dtype} of shape {labels.shape}; labels must be integers, (N,).")
    if not isinstance(n, Integral) or isinstance(n, bool):
        raise PaperlibError(f"n={n!r} must be a whole number of images.")
    classes, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    largest = len(classes) * int(counts.min(initial=len(labels)))
    if not len(classes) <= n <= largest or n < 1:
        raise PaperlibError(
            f"n={n} cannot be balanced over {len(classes)} classes, of which the smallest has "
            f"{int(counts.min(initial=len(labels)))} samples; n must lie between {len(classes)} and {largest}."
        )
    numbers = np.random.PCG64(np.random.SeedSequence([stream, seed])).random_raw(len(labels))
    by_class = np.lexsort((numbers, inverse))  # class by class, each in random order
    rank = np.empty(len(labels), dtype=np.int64)
    rank[by_class] = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    return torch.from_numpy(np.lexsort((numbers, rank))[:n])


def clean_subset(y: Indices, n: int, seed: int) -> Tensor:
    """Indices of the ``n`` clean samples that a defender holds; every defense of the same seed gets the same ones.

    Class-balanced and nested: the subset of size n1 < n2 is contained in (is the beginning of) the subset of size n2.
    Parameters, result and errors as in :func:`balanced_subset`, of which this is an independent draw.
    """
    return balanced_subset(y, n, seed, stream=1)


def load(name: str, split: str, n: int = 0, seed: int = 0, device: str | torch.device = "cpu") -> ImageData:
    """Load an image set, fetching its files first when they are not on this machine.

    Parameters
    ----------
    name : str
        One of :data:`LOADERS`, or ``"folder:/path"`` for a folder of images per class.
    split : str
        ``"train"`` or ``"test"``.
    n : int
        Size of a class-balanced subset (see :func:`balanced_subset`, nested for one seed); 0 is everything in the
        publisher's order.
    seed : int
        Seed of the subset; unused when ``n`` is 0.
    device : str or torch.device
        Where the tensors go.

    Raises
    ------
    PaperlibError
        Unknown ``name`` or ``split``, an ``n`` that cannot be balanced, or a damaged file or folder.
    DataMissing
        The files are not here and could not be fetched.
    """
    if not isinstance(name, str):
        raise PaperlibError(f"name={name!r} must be the name of a data set, for example 'cifar10', or 'folder:/path'.")
    choose("split", split, ("train", "test"))
    check_numbers("n", n, 0)
    check_seed(seed)
    data = _own(name, split) if folder.is_folder(name) else LOADERS[choose("name", name, LOADERS)](split)
    if n:
        data = data.subset(balanced_subset(data.y, n, seed))
    return data.to(device)


# ---------------------------------------------------------------------------------------------------------- digits

_DIGITS_TEST = 500


def _digits(split: str) -> ImageData:
    """1,297 training and 500 test images (50 of each digit), the split always the same."""
    from sklearn.datasets import load_digits  # here, because it costs a second that CIFAR-10 need not pay

    grey, labels = load_digits(return_X_y=True)  # (1797, 64), values 0 .. 16
    y = torch.from_numpy(labels.astype(np.int64))
    small = torch.from_numpy(grey).float().view(-1, 1, 8, 8) * (255 / 16)
    # All intermediate values are multiples of 1/256, exact in float32: the pixels are the same on every machine.
    large = torch.nn.functional.interpolate(small, size=(16, 16), mode="bilinear", align_corners=False)
    x = large.round_().to(torch.uint8).expand(-1, 3, -1, -1).contiguous()

    test = torch.zeros(len(y), dtype=torch.bool)
    test[balanced_subset(y, _DIGITS_TEST, seed=0, stream=2)] = True
    mean, std = _measured(x[~test])
    chosen = test if split == "test" else ~test
    return ImageData(
        x=x[chosen],
        y=y[chosen],
        class_names=sources.DATASETS["digits"].classes,
        mean=mean,
        std=std,
        flip=False,
        pad=2,  # 1/8 of the side, as 4 is of CIFAR-10's 32
        name="digits",
    )


def _measured(x: Tensor) -> tuple[PerChannel, PerChannel]:
    """Mean and standard deviation per channel of images in [0, 1], to four digits."""
    x01 = x.double() / 255
    return tuple(round(v, 4) for v in x01.mean((0, 2, 3)).tolist()), tuple(
        round(v, 4) for v in x01.std((0, 2, 3)).tolist()
    )


# -------------------------------------------------------------------------------------------- CIFAR-10 and CIFAR-100


def _benchmark(name: str, x: Tensor, y: Tensor, classes: tuple[str, ...] = ()) -> ImageData:
    """A data set of the benchmark, presented by its protocol."""
    how = PROTOCOLS[name]
    names = classes or sources.DATASETS[name].classes
    return ImageData(x, y, names, how.mean, how.std, how.flip, how.pad, name)


_RECORD = 1 + 3 * 32 * 32
"""Bytes of one image in the binary layout: the label, then the red, green and blue plane, row by row."""


def _cifar10(split: str) -> ImageData:
    folder = sources.fetch("cifar10")
    names = publishers.CIFAR10_BATCHES[split]
    read = _read_bin if folder.name.endswith("-bin") else _read_py
    batches = [read(folder, name) for name in names]
    total = sum(len(labels) for labels, _ in batches)
    x = torch.empty((total, 3, 32, 32), dtype=torch.uint8)
    y = torch.empty(total, dtype=torch.int64)
    start = 0
    while batches:  # each batch is let go as soon as it is copied
        labels, pixels = batches.pop(0)
        stop = start + len(labels)
        x[start:stop].view(-1, 3072).numpy()[:] = pixels
        y[start:stop].numpy()[:] = labels
        start = stop
    return _benchmark("cifar10", x, y)


def _cifar100(split: str) -> ImageData:
    root = sources.fetch("cifar100")
    batch, meta = (arrays((root / name).read_bytes(), "bytes") for name in (split, "meta"))
    x = torch.from_numpy(batch[b"data"].reshape(-1, 3, 32, 32).copy())
    classes = tuple(name.decode() for name in meta[b"fine_label_names"])
    return _benchmark("cifar100", x, torch.tensor(batch[b"fine_labels"]), classes)


def _read_bin(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Labels (N,) and pixels (N, 3072) of one file of the binary layout, as views of the mapped file."""
    records = np.memmap(folder / f"{name}.bin", dtype=np.uint8, mode="r").reshape(-1, _RECORD)
    return records[:, 0], records[:, 1:]


def _read_py(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Labels (N,) and pixels (N, 3072) of one file of the Python layout, whose checksum has been compared."""
    with open(folder / name, "rb") as file:
        batch = arrays(file, "bytes")
    return np.asarray(batch[b"labels"]), batch[b"data"]


# ------------------------------------------------------------------------------------------ data sets of image files


def _from_files(name: str, split: str, root: Path, files: list[tuple[str, int]], classes: tuple[str, ...]) -> ImageData:
    """Decode the (relative path, class) of a data set of the benchmark, all of which must be there."""
    info = sources.DATASETS[name]
    expected = info.n_train if split == "train" else info.n_test
    if len(files) != expected:
        raise PaperlibError(
            f"{root} holds {len(files):,} {split} images of {info.title}, which has {expected:,}; "
            f"move the folder away and run `paperlib data fetch {name}`."
        )
    x = decoded(name, split, root, [file for file, _ in files], info.shape[-1])
    return _benchmark(name, x, torch.tensor([k for _, k in files]), classes)


def _names(path: Path, suffix: str) -> list[str]:
    """Files of a folder, sorted: the order of the images does not depend on the disk."""
    return sorted(each.name for each in path.iterdir() if each.name.endswith(suffix)) if path.is_dir() else []


def _gtsrb(split: str, name: str = "gtsrb") -> ImageData:
    """Final training images by class and name; test images in the order of the publisher's list.

    Of ``gtsrb_sample`` every fourth of each class and every fourth of that list, from a folder that holds only them or
    from the publisher's with all.
    """
    root = sources.fetch(name)
    classes = sources.DATASETS[name].classes
    every = 4 if name == "gtsrb_sample" and root.name == "gtsrb" else 1
    files = []
    if split == "train":
        for k in range(len(classes)):
            inside = f"GTSRB/Final_Training/Images/{k:05d}"
            files += [(f"{inside}/{file}", k) for file in _names(root / inside, ".ppm")[::every]]
    else:
        with open(root / "GT-final_test.csv", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, delimiter=";", skipinitialspace=True))
        files = [(f"GTSRB/Final_Test/Images/{row['Filename']}", int(row["ClassId"])) for row in rows[::every]]
    return _from_files(name, split, root, files, classes)


def _tiny_imagenet(split: str) -> ImageData:
    root = sources.fetch("tiny_imagenet")
    wnids = sorted((root / "wnids.txt").read_text(encoding="utf-8").split())
    words = {}
    if (root / "words.txt").is_file():
        words = dict(line.split("\t") for line in (root / "words.txt").read_text(encoding="utf-8").splitlines() if line)
    classes = tuple(words.get(wnid, wnid).split(",")[0] for wnid in wnids)
    return _from_files("tiny_imagenet", split, root, _tiny_files(root, split, wnids), classes)


def _tiny_imagenet20(split: str, name: str = "tiny_imagenet20") -> ImageData:
    """Twenty fixed classes, from a folder that holds only them or from the publisher's with all 200."""
    root = sources.fetch(name)
    files = _tiny_files(root, split, list(sources.TINY20))
    return _from_files(name, split, root, files, tuple(sources.TINY20.values()))


def _tiny_files(root: Path, split: str, wnids: list[str]) -> list[tuple[str, int]]:
    """(relative path, class) by sorted WordNet id and name; the validation images are the test set.

    Training images lie in ``train/<id>/images`` or ``train/<id>``; validation images in ``val/images``, listed in
    ``val_annotations.txt``, or, rearranged as many do it, in ``val/<id>``. All give the same order.
    """
    annotations = root / "val" / "val_annotations.txt"
    if split == "test" and annotations.is_file():
        rows = [line.split("\t")[:2] for line in annotations.read_text(encoding="utf-8").splitlines()]
        wanted = {wnid: k for k, wnid in enumerate(wnids)}
        listed = sorted((wanted[wnid], name) for name, wnid in rows if wnid in wanted)
        return [(f"val/images/{name}", k) for k, name in listed]
    files = []
    for k, wnid in enumerate(wnids):
        inside = f"{'train' if split == 'train' else 'val'}/{wnid}"
        if (root / inside / "images").is_dir():
            inside += "/images"
        files += [(f"{inside}/{name}", k) for name in _names(root / inside, ".JPEG")]
    return files


def _own(name: str, split: str) -> ImageData:
    """A person's own folder, normalised by its own training images, cropped and not flipped."""
    found = folder.look(name)

    def read(part: str) -> Tensor:
        return decoded(found.name, part, found.path, [file for file, _ in found.files[part]], found.side)

    train = read("train")
    mean, std = _measured(train)
    return ImageData(
        x=train if split == "train" else read("test"),
        y=torch.tensor([k for _, k in found.files[split]]),
        class_names=found.classes,
        mean=mean,
        std=tuple(max(v, 1 / 255) for v in std),  # images of one colour
        flip=False,
        pad=found.side // 8,
        name=found.name,
    )


LOADERS: dict[str, Callable[[str], ImageData]] = {
    "digits": _digits,
    "cifar10": _cifar10,
    "cifar100": _cifar100,
    "gtsrb": _gtsrb,
    "gtsrb_sample": partial(_gtsrb, name="gtsrb_sample"),
    "tiny_imagenet": _tiny_imagenet,
    "tiny_imagenet20": _tiny_imagenet20,
    "tiny_imagenet20_32": partial(_tiny_imagenet20, name="tiny_imagenet20_32"),
}
for _point in entry_points(group="paperlib.data"):  # of installed packages; imported when such a data set is loaded
    LOADERS[_point.name] = lambda split, point=_point: point.load()(split)  # type: ignore[misc]
