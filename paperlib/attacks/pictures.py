"""A picture from a file as a trigger, for BadNets and Blended: the user's own, or the benchmark's.

    from paperlib.attacks import attack
    from paperlib.attacks.pictures import trigger_image

    made = attack("badnets", trigger_image("flower.png", alpha=0.8))  # pasted at the bottom right
    made = attack("blended", trigger_image("flower.png"))  # blended in

The same pairs are what a spec takes:
``experiments.train(scale, "badnets", attack_params=trigger_image("flower.png"))``. They hold the file's place and the
SHA-256 of its content, so another picture under the same name has another key, and results of the old one are never
taken for its own; a file that changed after the spec was written is refused.
"""

import hashlib
import io
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from paperlib.data import sources
from paperlib.errors import PaperlibError
from paperlib.lab.spec import Pairs, pairs

if TYPE_CHECKING:
    from torch import Tensor

PICTURES = ("cartoon", "random", "benchmark")
"""What ``picture`` of Blended may be, besides the path of a file."""


def trigger_image(path: str | Path, **params: Any) -> Pairs:
    """Parameters of an attack whose trigger is the picture in the file ``path``.

    Parameters
    ----------
    path
        A PNG or JPEG file, RGB or grey (8 bits per channel, no transparency).
    params
        Further hyper-parameters of the attack.

    Returns
    -------
    Pairs
        ``image`` (absolute path), ``image_sha256``, and ``params``.

    Raises
    ------
    PaperlibError
        No such file, not a PNG or JPEG image, or another mode.
    """
    place = Path(path).expanduser().resolve()
    content = _read(str(place))
    _decode(content, str(place))
    return pairs(params, image=str(place), image_sha256=hashlib.sha256(content).hexdigest())


def noted(params: Mapping[str, Any]) -> dict[str, Any]:
    """``params`` as a spec holds them: a picture given by its path with the checksum of its content
    (:func:`trigger_image`)."""
    rest = {name: value for name, value in params.items() if name != "picture"}
    if rest.get("image"):
        return rest
    return dict(params) if params["picture"] in PICTURES else dict(trigger_image(params["picture"], **rest))


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise PaperlibError(f"image={path!r} cannot be read ({error.strerror}); give a PNG or JPEG file.") from None


def _decode(content: bytes, path: str) -> Any:
    from PIL import Image

    try:
        picture = Image.open(io.BytesIO(content), formats=("PNG", "JPEG"))
        picture.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):  # Pillow's words for a damaged file
        raise PaperlibError(f"image={path!r} is no PNG or JPEG image, or it is damaged.") from None
    if picture.mode not in ("RGB", "L"):
        raise PaperlibError(f"image={path!r} has mode {picture.mode!r}; save it as RGB or grey (L), 8 bits, opaque.")
    return picture


@lru_cache
def load(path: str, sha256: str, channels: int, size: tuple[int, int] | None = None) -> np.ndarray:
    """The picture as (channels, height, width) in [0, 1]; with ``size`` (height, width), scaled down to that size.

    Raises
    ------
    PaperlibError
        The file is missing, damaged, of another mode, not the one whose ``sha256`` was noted, a colour picture for grey
        images, or cannot be scaled down to ``size`` without distortion.
    """
    from PIL import Image

    if not sha256:
        raise PaperlibError(f"image={path!r} comes without image_sha256; take both from trigger_image({path!r}).")
    content = _read(path)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise PaperlibError(f"image={path!r} is not the file whose image_sha256 was noted; call trigger_image() again.")
    picture = _decode(content, path)
    if picture.mode == "RGB" and channels != 3:
        raise PaperlibError(
            f"image={path!r} is a colour picture, the images have {channels} channel(s); save it as grey."
        )
    if size is not None and picture.size != size[::-1]:
        height, width = size
        if picture.height < height or picture.width * height != picture.height * width:
            raise PaperlibError(
                f"image={path!r} is {picture.width}x{picture.height} pixels; to be blended into images of"
                f" {width}x{height} it must have that size, or be larger with the same ratio of width to height."
            )
        picture = picture.resize((width, height), Image.Resampling.BOX)
    values = np.asarray(picture, dtype=np.float64) / 255
    return np.broadcast_to(values[None], (channels, *values.shape)) if values.ndim == 2 else values.transpose(2, 0, 1)


@lru_cache
def benchmark(channels: int, size: tuple[int, int]) -> np.ndarray:
    """The picture that BackdoorBench blends in, (channels, height, width) in [0, 1], resized as there: bilinear, to any
    shape.

    Raises
    ------
    PaperlibError
        It is not in the data folder, or damaged.
    """
    from PIL import Image

    folder = sources.find("pictures")
    if folder is None:
        raise PaperlibError(
            "picture='benchmark' is not on this machine: run `paperlib data fetch pictures`, or take picture='cartoon'."
        )
    path = str(folder / sources.PICTURE)
    picture = _decode(_read(path), path).convert("RGB" if channels == 3 else "L")
    values = np.asarray(picture.resize(size[::-1], Image.Resampling.BILINEAR), dtype=np.float64) / 255
    return values.transpose(2, 0, 1) if channels == 3 else np.broadcast_to(values[None], (channels, *values.shape))


def mix(x: "Tensor", picture: "Tensor | float", alpha: float) -> "Tensor":
    """(1 - alpha) x + alpha picture.

    Raises
    ------
    PaperlibError
        ``alpha`` outside [0, 1].
    """
    if not 0 <= alpha <= 1:
        raise PaperlibError(f"alpha={alpha!r} must lie in [0, 1]: the share of the picture in the mix.")
    return (1 - alpha) * x + alpha * picture
