"""The front door for what people bring as data: any usual form becomes an :class:`~paperlib.data.images.ImageData`, or
one sentence.

Taken are an ``ImageData``, a pair (images, labels) of tensors, arrays or lists, a torch ``Dataset`` of such pairs (or
of dictionaries with an image and a label) and a ``DataLoader``, whose data set is read in order. Put right in silence,
because there is one reading only: channels last, a missing channel axis, the floating type, labels as one-hot rows or a
column, alpha (composited on white, as :mod:`paperlib.data.decode` does for files). Everything that has two readings is
refused.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from paperlib.data.decode import as_rgb
from paperlib.data.images import ImageData
from paperlib.errors import PaperlibError

FORMS = (
    "an ImageData, a pair (images, labels) of tensors, arrays or lists, a torch Dataset of such pairs, or a DataLoader"
)
CHANNELS = (1, 3, 4)
MOST_CLASSES = 100_000
"""Larger labels are no class numbers."""


def image_data(given: Any, argument: str = "data") -> ImageData:
    """What a person gave as ``argument``, as an :class:`ImageData`.

    Parameters
    ----------
    given
        One of the forms above. Images (N, C, H, W), (N, H, W, C) or (N, H, W): uint8 or whole numbers from 0 to 255, or
        fractions in [0, 1] (rounded to 8 bits). Labels (N,) or (N, 1), integers from 0, or one-hot rows (N, classes).

    Raises
    ------
    PaperlibError
        Another form, shape, type or range; values that are not numbers; no image; images and labels of different
        number.
    """
    if isinstance(given, ImageData):
        found = given
    else:
        names: tuple[str, ...] = ()
        if isinstance(given, torch.utils.data.DataLoader):
            given = given.dataset
        if isinstance(given, torch.utils.data.Dataset) and not isinstance(given, tuple):
            names = _names(given)
            given = _collected(given, argument)
        if isinstance(given, Mapping):
            given = _pair(given, argument)
        if not isinstance(given, tuple | list) or len(given) != 2:
            raise PaperlibError(f"{argument} is {_called(given)}; give {FORMS}.")
        x, y, classes = arrays_of(given[0], given[1], f"{argument}'s images", f"{argument}'s labels")
        names = names or tuple(f"class {k}" for k in range(classes))
        if len(names) < classes:
            raise PaperlibError(
                f"{argument} has labels up to {classes - 1} and names of {len(names)} classes; they must agree."
            )
        channels = x.shape[1]
        found = ImageData(x, y, names, (0.5,) * channels, (0.25,) * channels, False, 0, "yours")
    if len(found) == 0:
        raise PaperlibError(f"{argument} holds no image; give at least one.")
    if not 0 <= int(found.y.min()) <= int(found.y.max()) < found.n_classes:
        raise PaperlibError(
            f"{argument} has labels from {int(found.y.min())} to {int(found.y.max())}; its {found.n_classes} classes"
            f" are 0 to {found.n_classes - 1}."
        )
    check_grey_levels(found.x, f"{argument}'s images")
    return found


def from_tensors(
    x: object, y: object, *, class_names: Sequence[str] = (), name: str = "yours", flip: bool = False, pad: int = 0
) -> ImageData:
    """An image set from a user's own tensors, arrays or lists.

    Parameters
    ----------
    x, y
        Images and labels in any form of :func:`image_data`.
    class_names
        Default: "class 0" to the largest label, for one-hot rows to the last column.
    flip, pad
        Augmentation when something is trained on these images.

    Raises
    ------
    PaperlibError
        What :func:`image_data` refuses, and fewer names than classes.
    """
    images, numbers, classes = arrays_of(x, y, "x", "y")
    names = tuple(class_names) or tuple(f"class {k}" for k in range(classes))
    if len(names) < classes:
        raise PaperlibError(f"class_names has {len(names)} names, y has labels up to {classes - 1}.")
    channels = images.shape[1]
    return ImageData(images, numbers, names, (0.5,) * channels, (0.25,) * channels, flip, pad, name)


def arrays_of(x: Any, y: Any, images: str, numbers: str) -> tuple[Tensor, Tensor, int]:
    """Images as uint8 (N, C, H, W), labels as int64 (N,) on their device, and how many classes the labels are out of.

    Raises
    ------
    PaperlibError
        As :func:`image_data`; ``images`` and ``numbers`` are what the person calls the two.
    """
    pictures = pixels(x, images)
    y, classes = labels(y, numbers)
    if len(pictures) != len(y):
        raise PaperlibError(
            f"{images} and {numbers} do not belong together: {len(pictures)} images and {len(y)} labels; there must be"
            " one per image."
        )
    return pictures, y.to(pictures.device), classes


def with_outputs(data: ImageData, outputs: int, argument: str) -> ImageData:
    """``data`` as a classifier with that many outputs sees it: images that came without names of classes have all of
    them.

    Raises
    ------
    PaperlibError
        A label that is no output, or a data set whose named classes are not the outputs.
    """
    highest = int(data.y.max()) if len(data) else 0
    if highest >= outputs:
        hint = ""
        if highest == outputs and int(data.y.min()) >= 1:
            hint = " Labels that start at 1 must be lowered by 1."
        raise PaperlibError(
            f"{argument} has labels up to {highest}; the model has {outputs} outputs, classes 0 to {outputs - 1}.{hint}"
        )
    if data.n_classes < outputs and data.name == "yours":
        more = tuple(f"class {k}" for k in range(data.n_classes, outputs))
        return replace(data, class_names=(*data.class_names, *more))
    if data.n_classes != outputs:
        raise PaperlibError(
            f"{argument} has {data.n_classes} classes (labels 0 to {data.n_classes - 1}), the model has {outputs}"
            " outputs; give the model that was trained on these classes."
        )
    return data


def check_same_size(data: ImageData, clean: ImageData) -> None:
    """Refuse clean images of another shape than those that are examined.

    Raises
    ------
    PaperlibError
        Their channels, heights or widths differ.
    """
    if data.x.shape[1:] != clean.x.shape[1:]:
        raise PaperlibError(
            f"clean holds images of shape {tuple(clean.x.shape[1:])}, data of {tuple(data.x.shape[1:])}; both must be "
            "prepared in the same way."
        )


def check_grey_levels(x: Tensor, argument: str) -> None:
    """Refuse 8-bit images that were made from fractions without multiplying by 255.

    Raises
    ------
    PaperlibError
        No value above 1.
    """
    if x.numel() and int(x.max()) <= 1:
        raise PaperlibError(
            f"{argument} are uint8 and hold nothing above {int(x.max())}, which is black; give fractions in [0, 1] as"
            " floats, or multiply them by 255 before rounding."
        )


def check_from_zero(data: ImageData, argument: str) -> None:
    """Refuse a training set whose labels begin above 0, where no model says which classes there are.

    Raises
    ------
    PaperlibError
        It has one class only, or came without names of classes and has no image of class 0.
    """
    if data.n_classes < 2:
        raise PaperlibError(f"{argument} has one class only; give images of at least two classes.")
    if data.name == "yours" and (least := int(data.y.min())) > 0:
        raise PaperlibError(
            f"{argument} has labels from {least} to {int(data.y.max())} and no image of class 0; lower labels that"
            " start at 1 by 1."
        )


def check_several(data: ImageData, argument: str) -> None:
    """Refuse images that are all of one class, or show nothing.

    Raises
    ------
    PaperlibError
        They are.
    """
    present = data.y.unique()
    if len(present) == 1:
        raise PaperlibError(
            f"{argument} holds images of class {int(present)} only, which does not show how classes are told apart;"
            " give images of several classes."
        )
    if int(data.x.min()) == int(data.x.max()):
        raise PaperlibError(f"{argument}'s images hold nothing but the grey level {int(data.x.max())}; give pictures.")


def pixels(x: Any, argument: str = "x") -> Tensor:
    """Images in any layout as uint8 (N, C, H, W), on the device where they lie.

    Raises
    ------
    PaperlibError
        As :func:`image_data`, about the images.
    """
    x = as_tensor(x, argument)
    if x.ndim == 3:
        x = x.unsqueeze(1)
    if x.ndim != 4:
        raise PaperlibError(f"{argument} have shape {tuple(x.shape)}; give (N, C, H, W), (N, H, W, C) or (N, H, W).")
    if x.shape[1] not in CHANNELS and x.shape[3] in CHANNELS:
        x = x.permute(0, 3, 1, 2)
    if x.shape[1] not in CHANNELS or 0 in x.shape[2:]:
        raise PaperlibError(
            f"{argument} have {x.shape[1]} channels and {x.shape[2]} x {x.shape[3]} pixels; give images of 1 (grey), 3"
            " (RGB) or 4 channels (RGB and alpha), (N, C, H, W) or (N, H, W, C)."
        )
    if x.dtype == torch.bool or x.is_complex():
        raise PaperlibError(f"{argument} are {x.dtype}; give uint8 from 0 to 255, or floats in [0, 1].")
    if not x.numel():
        return x.to(torch.uint8)
    if x.is_floating_point():
        return _eight_bits(x if x.dtype == torch.float64 else x.float(), argument)
    low, high = int(x.min()), int(x.max())
    if low < 0 or high > 255:
        raise PaperlibError(f"{argument} are whole numbers from {low} to {high}; 8-bit images lie in 0 to 255.")
    return x.to(torch.uint8)


def _eight_bits(x: Tensor, argument: str) -> Tensor:
    bad = ~torch.isfinite(x).flatten(1).all(1)
    if bad.any():
        first = int(bad.nonzero()[0])
        raise PaperlibError(
            f"{argument} hold values that are not finite, {int(bad.sum())} image(s), the first number {first}; repair"
            " or remove them."
        )
    low, high = x.min().item(), x.max().item()
    if low < 0:
        raise PaperlibError(
            f"{argument} lie in [{low:.4g}, {high:.4g}], so they are normalised already; give them in [0, 1] and the"
            " model as paperlib.models.normalised(model, mean, std)."
        )
    if high > 1:
        right = "divide by 255" if high <= 255 else "scale them to [0, 1]"
        raise PaperlibError(
            f"{argument} lie in [{low:.4g}, {high:.4g}]; images with a fraction must lie in [0, 1]: {right}."
        )
    if len(x) > 1 and 0 < high <= 1.5 / 255:
        raise PaperlibError(
            f"{argument} lie in [{low:.4g}, {high:.4g}], as if they were divided by 255 twice; give them in [0, 1]."
        )
    return x.mul(255).round().to(torch.uint8)


def labels(y: Any, argument: str = "y") -> tuple[Tensor, int]:
    """Labels in any usual form as int64 (N,), and the number of classes: of one-hot rows their columns, else the
    largest label + 1.

    Raises
    ------
    PaperlibError
        As :func:`image_data`, about the labels.
    """
    y, columns = as_tensor(y, argument), 0
    if (
        y.ndim == 2
        and y.shape[1] > 1
        and y.dtype != torch.bool
        and ((y == 0) | (y == 1)).all()
        and (y.sum(1) == 1).all()
    ):
        y, columns = y.argmax(1), y.shape[1]
    if y.ndim == 2 and y.shape[1] == 1:
        y = y.squeeze(1)
    if y.ndim != 1:
        raise PaperlibError(f"{argument} have shape {tuple(y.shape)}; give one integer per image, (N,).")
    if y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
        raise PaperlibError(f"{argument} are {y.dtype}; labels must be integers from 0.")
    low, high = (int(y.min()), int(y.max())) if len(y) else (0, 0)
    if low < 0:
        raise PaperlibError(f"{argument} hold {low}; labels must be integers from 0.")
    if high >= MOST_CLASSES:
        raise PaperlibError(f"{argument} hold {high}; labels must be the numbers of classes, 0 to K - 1.")
    return y.long(), columns or high + (len(y) > 0)


def as_tensor(given: Any, argument: str) -> Tensor:
    """A tensor, an array, or what numpy makes an array of.

    Raises
    ------
    PaperlibError
        It holds something else than numbers, or entries of different shapes.
    """
    if isinstance(given, Tensor):
        return given.detach()
    if isinstance(given, str | bytes | Mapping) or given is None:
        raise PaperlibError(f"{argument} are {_called(given)}; give a tensor, an array or a list.")
    if isinstance(given, list | tuple) and given and all(isinstance(one, Tensor) for one in given):
        shapes = {tuple(one.shape) for one in given}
        if len(shapes) > 1:
            raise PaperlibError(f"{argument} have different shapes, e.g. {sorted(shapes)[:2]}; resize them to one.")
        return torch.stack(list(given)).detach()
    try:
        array = np.asarray(given)
    except (ValueError, TypeError, RuntimeError) as error:
        raise PaperlibError(f"{argument} cannot be made an array ({_first(error)}); all must have one shape.") from None
    if array.dtype.kind not in "buifc":
        raise PaperlibError(f"{argument} are of type {array.dtype}; give numbers of one shape.")
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        array = array.astype(np.int64)
    return torch.from_numpy(
        np.array(array, dtype=array.dtype.newbyteorder("="))
    )  # a copy: the caller's array stays as it is


def _pair(item: Mapping, argument: str) -> tuple[Any, Any]:
    """Image and label of a dictionary, by the names that data sets use."""
    found = []
    for kind, keys in (
        ("image", ("image", "img", "pixel_values", "x", "images")),
        ("label", ("label", "labels", "y", "fine_label")),
    ):
        key = next((key for key in keys if key in item), None)
        if key is None:
            raise PaperlibError(
                f"{argument} has the columns {', '.join(map(str, item))}; none of them is called {kind!r}."
            )
        found.append(item[key])
    return found[0], found[1]


def _collected(dataset: Any, argument: str) -> tuple[list[Any], list[Any]]:
    """All images and labels of a torch data set, in its order."""
    xs, ys = [], []
    for i, item in enumerate(_items(dataset, argument)):
        if isinstance(item, Mapping):
            item = _pair(item, argument)
        if not isinstance(item, tuple | list) or len(item) < 2:
            raise PaperlibError(f"{argument}[{i}] is {_called(item)}; a data set must give pairs (image, label).")
        image = (
            as_tensor(item[0], f"{argument}[{i}]'s image")
            if isinstance(item[0], Tensor)
            else _from_file(item[0], f"{argument}[{i}]'s image")
        )
        xs.append(image[None] if image.ndim == 2 else image)
        number = as_tensor(item[1], f"{argument}[{i}]'s label")
        if number.numel() != 1 or number.is_floating_point() or number.is_complex() or number.dtype == torch.bool:
            raise PaperlibError(f"{argument}[{i}] has the label {item[1]!r}; labels must be integers from 0.")
        ys.append(int(number))
    if not xs:
        raise PaperlibError(f"{argument} holds no image; give at least one.")
    return xs, ys


def _items(dataset: Any, argument: str) -> Iterator[Any]:
    """The items of a torch data set in its order; what its own code raises becomes one sentence."""
    i = 0
    try:
        for i in range(len(dataset)) if hasattr(dataset, "__len__") else ():
            yield dataset[i]
        if not hasattr(dataset, "__len__"):
            yield from dataset
    except PaperlibError:
        raise
    except Exception as error:
        raise PaperlibError(
            f"{argument}[{i}] cannot be read ({type(error).__name__}: {_first(error)}); mend the data set."
        ) from error


def _from_file(image: Any, argument: str) -> Tensor:
    """An image of a data set that is no tensor: of PIL, or an array; (H, W) or (H, W, C)."""
    if hasattr(image, "getbands"):
        image = np.array(image if image.mode == "L" else as_rgb(image, argument))
    found = as_tensor(image, argument)
    return found.permute(2, 0, 1) if found.ndim == 3 else found


def _names(dataset: Any) -> tuple[str, ...]:
    """Names of classes, where a torchvision data set has them."""
    found = getattr(dataset, "classes", ())
    return tuple(found) if isinstance(found, list | tuple) and all(isinstance(name, str) for name in found) else ()


def on_white(x: Tensor) -> Tensor:
    """Images with alpha, uint8 (N, 4, H, W), as they look on white paper: (N, 3, H, W)."""
    share = x[:, 3:].float().div(255)
    return (x[:, :3] * share + 255 * (1 - share)).round().to(torch.uint8)


def _called(given: Any) -> str:
    """A type with the size that it has, for a message."""
    name = type(given).__name__
    return f"a {name} of length {len(given)}" if isinstance(given, tuple | list) else f"of type {name}"


def _first(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
