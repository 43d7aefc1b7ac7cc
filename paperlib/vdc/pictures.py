"""Where pictures come from: tensors, arrays or files, read one at a time so that memory stays flat.

Introduced in notebook 01.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from paperlib.errors import PaperlibError
from paperlib.vdc.types import Picture, as_picture

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"})


class Unreadable(PaperlibError):
    """A file that is no picture, or a damaged one."""


class Pictures(Protocol):
    """A sequence of pictures that are read when asked for."""

    def __len__(self) -> int: ...

    def name(self, i: int) -> str:
        """What a report calls picture i."""
        ...

    def read(self, i: int) -> Picture:
        """Picture i.

        Raises
        ------
        Unreadable
            It cannot be decoded.
        """
        ...


@dataclass(frozen=True, eq=False)
class ArrayPictures:
    """Pictures in memory: uint8 (N, H, W, C), or (N, C, H, W) with ``channels_first``."""

    x: np.ndarray
    channels_first: bool = False

    def __len__(self) -> int:
        return len(self.x)

    def name(self, i: int) -> str:
        return str(i)

    def read(self, i: int) -> Picture:
        return as_picture(self.x[i].transpose(1, 2, 0) if self.channels_first else self.x[i])


@dataclass(frozen=True, eq=False)
class FilePictures:
    """Picture files. ``root`` is left out of their names."""

    paths: tuple[Path, ...]
    root: Path | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, i: int) -> str:
        path = self.paths[i]
        return path.relative_to(self.root).as_posix() if self.root else str(path)

    def read(self, i: int) -> Picture:
        from PIL import Image, ImageOps, UnidentifiedImageError

        try:
            with Image.open(self.paths[i]) as image:
                return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        except UnidentifiedImageError:
            raise Unreadable("no picture, or of an unknown format") from None
        except FileNotFoundError:
            raise Unreadable("no such file") from None
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise Unreadable(f"damaged or not readable ({error})") from None


@dataclass(frozen=True, eq=False)
class OpenedPictures:
    """Pictures that something else opens one at a time: PIL images, or a column of a Hugging Face data set."""

    images: Any

    def __len__(self) -> int:
        return len(self.images)

    def name(self, i: int) -> str:
        return str(i)

    def read(self, i: int) -> Picture:
        from PIL import Image, ImageOps

        try:
            image = self.images[i]
            if isinstance(image, np.ndarray):
                return as_picture(image)
            if not isinstance(image, Image.Image):
                raise Unreadable(f"a {type(image).__name__} is no picture")
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        except (OSError, SyntaxError, ValueError) as error:
            raise Unreadable(f"damaged or not readable ({error})") from None


def as_pictures(images: Any) -> Pictures:
    """Pictures from a uint8 tensor (N, C, H, W), a uint8 array (N, H, W, C) or (N, H, W), a list of paths, of arrays or
    of PIL images, a column of a Hugging Face data set, or what already is.

    Raises
    ------
    PaperlibError
        Something else.
    """
    if hasattr(images, "read") and hasattr(images, "name"):
        return images
    if hasattr(images, "detach"):  # a tensor, without importing torch to say so
        x = images.detach().cpu().numpy()
        if x.ndim != 4 or x.dtype != np.uint8 or x.shape[1] not in (1, 3, 4):
            raise PaperlibError(f"images is a {x.dtype} tensor of shape {x.shape}; it must be uint8, (N, C, H, W).")
        return ArrayPictures(x, channels_first=True)
    if isinstance(images, np.ndarray):
        if (
            images.dtype != np.uint8
            or images.ndim not in (3, 4)
            or (images.ndim == 4 and images.shape[3] not in (1, 3, 4))
        ):
            raise PaperlibError(f"images is {images.dtype} of shape {images.shape}; it must be uint8, (N, H, W, C).")
        return ArrayPictures(images)
    if isinstance(images, Sequence) and all(isinstance(path, str | Path) for path in images):
        return FilePictures(tuple(map(Path, images)))
    if hasattr(images, "__getitem__") and hasattr(images, "__len__") and not isinstance(images, str | bytes | dict):
        first = images[0] if len(images) else None
        if first is None or isinstance(first, np.ndarray) or hasattr(first, "convert"):
            return OpenedPictures(images)
    raise PaperlibError(f"images is a {type(images).__name__}; give a uint8 tensor or array, or a list of paths.")
