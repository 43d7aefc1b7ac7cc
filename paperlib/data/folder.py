"""Your own images: a folder with one sub-folder per class. Imports no torch.

``folder:/path/to/pets`` names it by its place. A result must not depend on a place, so :func:`resolve` turns that into
``folder:pets@32#0123456789abcdef``: the folder's name, the side in pixels that its images get, and the beginning of the
SHA-256 of its content (relative paths, sizes and bytes of the images; no dates). Specs hold this name, so the same
images anywhere have the same keys, and other images of the same path have others. Where a resolved name lies is
remembered in the user's cache; a machine that does not know it asks for the path once.

* ``train/`` and ``test/`` (both, and nothing else) are the splits, with the same classes in each. Otherwise 20 % of
  every class, at least one image, are the test set, drawn with seed 0.
* Classes stand in natural order (1, 2, 10), or in that of a file ``classes.txt`` in the folder, one name a line.
* Images become squares of 32 or 64 pixels, whichever is nearer to the median of their shorter sides (48 goes to 64);
  ``folder:/path@64`` decides it by hand. As in the benchmark the aspect ratio is not kept.
"""

import hashlib
import json
import os
import re
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from platformdirs import user_cache_path

from paperlib.errors import DataMissing, PaperlibError

PREFIX = "folder:"
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".ppm", ".pgm", ".webp", ".tif", ".tiff")
SIDES = (32, 64)

_known: dict[str, str] = {}
"""Resolved name -> path, of this process."""


@dataclass(frozen=True)
class Folder:
    """A folder of images per class, its content compared.

    Attributes
    ----------
    name : str
        Resolved name.
    path : Path
    side : int
        Height and width that its images get.
    classes : tuple of str
        Names of the sub-folders in natural order or that of ``classes.txt``; class k at position k.
    files : mapping
        ``train`` and ``test`` -> (relative path, class) of each image, sorted by path.
    """

    name: str
    path: Path
    side: int
    classes: tuple[str, ...]
    files: dict[str, list[tuple[str, int]]]

    def smallest_class(self, split: str) -> int:
        """Number of images of the rarest class of a split."""
        counts = Counter(k for _, k in self.files[split])
        return min(counts[k] for k in range(len(self.classes)))


def is_folder(dataset: str) -> bool:
    """Whether ``dataset`` names a user's own folder."""
    return dataset.startswith(PREFIX)


def resolve(dataset: str) -> str:
    """The name of ``dataset`` that decides a result: of a user's folder the resolved one, of any other the name itself.

    Raises
    ------
    PaperlibError
        What :func:`look` raises.
    """
    return look(dataset).name if is_folder(dataset) else dataset


def look(dataset: str) -> Folder:
    """Find, list and compare the folder ``dataset``: ``folder:/path``, ``folder:/path@64`` or a resolved name.

    Raises
    ------
    DataMissing
        The folder is not there, or this machine does not know where a resolved name lies.
    PaperlibError
        No class, one class only, a class without images or with one image and no test set, splits of different
        classes, a side other than 32 and 64, an image that cannot be read, or content that is not the resolved one.
    """
    place, _, digest = dataset.removeprefix(PREFIX).partition("#")
    marked = re.fullmatch(r"(.+)@(\d+)", place)
    place, wanted = (marked[1], int(marked[2])) if marked else (place, 0)
    if wanted and wanted not in SIDES:
        raise PaperlibError(f"dataset={dataset!r}: images can have a side of 32 or 64 pixels, not {wanted}.")
    if digest:
        where = _known.get(dataset) or _memory()["names"].get(dataset)
        if where is None:
            raise DataMissing(
                f"dataset={dataset!r} is a folder of your own that this machine does not know; "
                f"run `paperlib data status folder:/path/to/{place}` once with its path."
            )
        path = Path(where)
    else:
        path = Path(place).expanduser().resolve()
    if not place or not path.is_dir():
        raise DataMissing(f"dataset={dataset!r}: {path} is not a folder; give one that holds a sub-folder per class.")
    classes, files = _list(path)
    paths = sorted(file for split in files.values() for file, _ in split)
    side, found = _content(path, paths)
    if list(classes) != sorted(classes):
        if digest == found:  # a result from before there was a natural order
            classes, files = _list(path, by_name=True)
        else:
            found = hashlib.sha256("\n".join((found, *classes)).encode()).hexdigest()[:16]
    name = f"{PREFIX}{re.sub(r'[^A-Za-z0-9._-]+', '-', path.name)}@{wanted or side}#{found}"
    if digest and found != digest:
        raise PaperlibError(
            f"dataset={dataset!r}: the images in {path} have changed (now {found}); "
            f"put them back as they were, or use {PREFIX}{path} for the new ones."
        )
    name = dataset if digest else name
    _remember(name, path)
    return Folder(name, path, wanted or side, classes, files)


def _list(path: Path, *, by_name: bool = False) -> tuple[tuple[str, ...], dict[str, list[tuple[str, int]]]]:
    """Classes, and (relative path, class) of both splits."""
    inside = _folders(path)
    if inside == ["test", "train"]:
        classes = _ordered(path, _folders(path / "train"), by_name)
        if sorted(classes) != _folders(path / "test"):
            differ = sorted(set(classes) ^ set(_folders(path / "test")))
            raise PaperlibError(f"{path}: train/ and test/ must have the same classes; they differ in {differ}.")
        files = {split: _images(path, [f"{split}/{name}" for name in classes]) for split in ("train", "test")}
    else:
        classes = _ordered(path, inside, by_name)
        files = _split(path, _images(path, classes))
    if len(classes) < 2:
        found = f"one class only ({classes[0]!r})" if classes else "no sub-folder"
        raise PaperlibError(f"{path} has {found}; a classifier needs a sub-folder for each of at least two classes.")
    return tuple(classes), files


def _folders(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _ordered(path: Path, names: list[str], by_name: bool) -> list[str]:
    """The classes ``names`` in the order of ``classes.txt``, else in natural order.

    Raises
    ------
    PaperlibError
        The file names other classes than there are sub-folders.
    """
    if by_name:
        return sorted(names)
    if (listed := path / "classes.txt").is_file():
        found = [line.strip() for line in listed.read_text(encoding="utf-8").splitlines() if line.strip()]
        if sorted(found) != sorted(names):
            differ = ", ".join(sorted(set(found) ^ set(names))) or "a name that stands twice"
            raise PaperlibError(f"{listed} must name every sub-folder once, one a line; they differ in: {differ}.")
        return found
    return sorted(
        names, key=lambda name: [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]
    )


def _images(root: Path, folders: list[str]) -> list[tuple[str, int]]:
    found = []
    for k, folder in enumerate(folders):
        names = sorted(entry.name for entry in (root / folder).iterdir() if entry.suffix.lower() in SUFFIXES)
        names = [name for name in names if not name.startswith(".")]
        if not names:
            raise PaperlibError(f"{root / folder} holds no image ({', '.join(SUFFIXES)}); fill or remove the folder.")
        found += [(f"{folder}/{name}", k) for name in names]
    return found


def _split(path: Path, files: list[tuple[str, int]]) -> dict[str, list[tuple[str, int]]]:
    """20 % of every class, at least one image, as test set. PCG64's raw output never changes with a version of
    NumPy."""
    import numpy as np  # here, because the scales import this module and should stay light

    numbers = np.random.PCG64(np.random.SeedSequence([4, 0])).random_raw(len(files))
    y = np.array([k for _, k in files], dtype=np.int64)
    test: set[int] = set()
    for k in range(int(y.max(initial=-1)) + 1):
        members = np.flatnonzero(y == k)
        if len(members) < 2:
            raise PaperlibError(
                f"{path / files[members[0]][0]} is the only image of its class; a class needs two or more."
            )
        test.update(members[np.argsort(numbers[members])][: max(1, len(members) // 5)].tolist())
    return {
        "train": [file for i, file in enumerate(files) if i not in test],
        "test": [file for i, file in enumerate(files) if i in test],
    }


def _content(path: Path, files: list[str]) -> tuple[int, str]:
    """Side and digest; read again only when a size or a time of change is not as last time."""
    listing = _listing(path, files)
    entry = _memory()["contents"].get(str(path))
    if entry and entry[0] == listing:
        return int(entry[1]), str(entry[2])
    from PIL import Image

    digest, sides, alpha = hashlib.sha256(), [], 0
    for file in files:
        try:
            with Image.open(path / file) as image:
                sides.append(min(image.size))
                alpha += image.has_transparency_data
        except OSError as error:
            raise PaperlibError(f"{path / file} cannot be read as an image; mend or remove it.") from error
        with open(path / file, "rb") as opened:
            own = hashlib.file_digest(opened, "sha256").hexdigest()
        digest.update(f"{file}\0{(path / file).stat().st_size}\0{own}\n".encode())
    if alpha:
        digest.update(b"alpha on white")  # such images were read in another way before
    side = SIDES[0] if median(sides) < sum(SIDES) / 2 else SIDES[1]
    memory = _memory()
    memory["contents"][str(path)] = [listing, side, digest.hexdigest()[:16]]
    _write(memory)
    return side, digest.hexdigest()[:16]


def _listing(path: Path, files: list[str]) -> str:
    digest = hashlib.sha256(b"2")
    for file in files:
        stat = (path / file).stat()
        digest.update(f"{file}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


# -------------------------------------------------------------------------------------------------------- what is known


def _memory_file() -> Path:
    return user_cache_path("paperlib") / "folders.json"


def _memory() -> dict[str, dict]:
    """Resolved name -> path, and path -> listing, side and digest; empty where nothing can be read."""
    try:
        known = json.loads(_memory_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    memory = {"names": known.get("names", {}), "contents": known.get("contents", {})}
    return memory if known.get("sha256") == _sum(memory) else {"names": {}, "contents": {}}


def _sum(memory: dict[str, dict]) -> str:
    return hashlib.sha256(json.dumps(memory, sort_keys=True).encode()).hexdigest()


def _remember(name: str, path: Path) -> None:
    _known[name] = str(path)
    memory = _memory()
    if memory["names"].get(name) != str(path):
        memory["names"][name] = str(path)
        _write(memory)


def _write(memory: dict[str, dict]) -> None:
    with suppress(OSError):  # an unwritable cache only costs the time of reading the images again
        _memory_file().parent.mkdir(parents=True, exist_ok=True)
        beside = _memory_file().with_suffix(f".{os.getpid()}")
        beside.write_text(json.dumps(memory | {"sha256": _sum(memory)}, indent=0), encoding="utf-8")
        beside.replace(_memory_file())
