"""Image files to one uint8 tensor, decoded once: the next time it is read from the user's cache.

A cached tensor carries the digest of the list of its source files (paths, sizes, times of change) and its own, and is
used only while that list is the same and it is whole. A cache that cannot be written or read is not an error: the
images are decoded again, and that is said once.

Publishers give checksums of archives, not of single pictures. So the first decoding notes the SHA-256 of every file
beside the cached tensor (``.sums``), and a later one that finds another content in a file of a published data set names
it. What was damaged before the first decoding cannot be noticed here, except by the image format's own checks.
"""

import hashlib
import io
import os
import re
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from platformdirs import user_cache_path
from torch import Tensor

from paperlib.errors import PaperlibError
from paperlib.files import write

BATCH = 256
"""Images that one thread decodes before it looks for more work."""
GREY = ("1", "L", "LA")


def cache_dir() -> Path:
    """Where decoded images lie."""
    return user_cache_path("paperlib") / "decoded"


def decoded(name: str, split: str, root: Path, files: Sequence[str], side: int) -> Tensor:
    """Images (N, 3, side, side), uint8 RGB, of the ``files`` below ``root``, in that order.

    Transparent pixels are composited on white. Images of another size are resized (bilinear, with the aspect ratio of a
    square, as the benchmark does); grey ones become RGB, and that is said once for a user's own folder.

    Raises
    ------
    PaperlibError
        A file is not there or is no image of 8 bits per channel.
    """
    digest = hashlib.sha256(f"{root}\0{side}\n{'alpha on white' if name.startswith('folder') else ''}".encode())
    for file in files:
        try:
            stat = (root / file).stat()
        except OSError as error:
            raise PaperlibError(f"{root / file} cannot be read ({error.strerror}); {name} is not complete.") from error
        digest.update(f"{file}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    listing = digest.hexdigest()
    place = hashlib.sha256(str(root).encode()).hexdigest()[:8]
    cached = cache_dir() / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', name)}-{split}-{place}.safetensors"
    x = _read(cached, listing)
    if x is None:
        x, sums = _decode_all(name, root, files, side)
        noted = cached.with_suffix(".sums")
        if not name.startswith("folder"):  # a person's own pictures may change
            _compare(noted, root, files, sums)
        _write(cached, listing, x)
        _note(noted, files, sums)
    return x


def _compare(noted: Path, root: Path, files: Sequence[str], sums: Sequence[str]) -> None:
    """Raise a PaperlibError if a file has another content than it had when it was first decoded."""
    try:
        before = dict(line.split("  ", 1)[::-1] for line in noted.read_text(encoding="utf-8").splitlines())
    except (OSError, ValueError):  # not there, or damaged: noted anew
        return
    for file, found in zip(files, sums, strict=True):
        if before.get(file, found) != found:
            raise PaperlibError(
                f"{root / file} has changed since it was first decoded; restore that file, or remove {noted} if the"
                " change is meant."
            )


def _note(noted: Path, files: Sequence[str], sums: Sequence[str]) -> None:
    with suppress(PaperlibError):  # that the folder cannot be written has been said
        lines = (f"{found}  {file}\n" for file, found in zip(files, sums, strict=True))
        write(noted, "".join(lines).encode("utf-8", "surrogateescape"))


def _sum(x: Tensor) -> str:
    return hashlib.sha256(f"{tuple(x.shape)} {x.dtype}".encode() + x.numpy().tobytes()).hexdigest()


def _read(path: Path, listing: str) -> Tensor | None:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            about = file.metadata() or {}
            x = file.get_tensor("x") if about.get("listing") == listing else None
            return x if x is not None and about.get("sha256") == _sum(x) else None
    except (OSError, SafetensorError, KeyError):  # damaged, or not ours to read: it is written anew
        return None


def _write(path: Path, listing: str, x: Tensor) -> None:
    from safetensors.torch import save_file

    beside = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({"x": x}, beside, {"listing": listing, "sha256": _sum(x)})
        beside.replace(path)
    except Exception as error:  # safetensors has no one type for a disk that is full or read-only
        warnings.warn(
            f"decoded images cannot be kept in {path.parent} ({error}); they are decoded every time.", stacklevel=2
        )
        beside.unlink(missing_ok=True) if beside.exists() else None


def _decode_all(name: str, root: Path, files: Sequence[str], side: int) -> tuple[Tensor, list[str]]:
    """The images, and the SHA-256 of every file."""
    from tqdm.auto import tqdm

    x = torch.empty((len(files), side, side, 3), dtype=torch.uint8)
    out, sums = x.numpy(), [""] * len(files)
    starts = range(0, len(files), BATCH)

    def decode(start: int) -> int:
        """Decode one batch in place; returns how many of its images are grey."""
        grey = 0
        for i in range(start, min(start + BATCH, len(files))):
            out[i], is_grey, sums[i] = _decode(root / files[i], side)
            grey += is_grey
        return grey

    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    pool = ThreadPoolExecutor(threads)
    try:
        grey = sum(
            tqdm(pool.map(decode, starts), total=len(starts), desc=f"Decoding {name}", leave=False, disable=None)
        )
    finally:
        pool.shutdown(cancel_futures=True)
    if grey and name.startswith("folder"):
        warnings.warn(f"{name}: {grey} of {len(files)} images are grey; they were converted to RGB.", stacklevel=2)
    return x.permute(0, 3, 1, 2).contiguous(), sums


def as_rgb(image: Any, name: object) -> Any:
    """A picture of PIL as it looks on paper: what is transparent is white, not black.

    Raises
    ------
    PaperlibError
        More than 8 bits per channel; ``name`` is what it is called.
    """
    from PIL import Image

    if image.mode.startswith(("I", "F")):
        raise PaperlibError(f"{name} has more than 8 bits per channel (mode {image.mode}); save it with 8.")
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return image.convert("RGB")


def _decode(path: Path, side: int) -> tuple[np.ndarray, bool, str]:
    """Pixels (side, side, 3), whether the file is a grey image, and its SHA-256."""
    from PIL import Image

    try:
        data = path.read_bytes()
        with Image.open(io.BytesIO(data)) as image:
            mode = image.mode
            rgb = as_rgb(image, path)
    except PaperlibError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise PaperlibError(f"{path} cannot be read as an image ({error}); mend or remove it.") from error
    if rgb.size != (side, side):
        rgb = rgb.resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(rgb), mode in GREY, hashlib.sha256(data).hexdigest()
