"""The front door for data: every usual form is the same data set, and what has no one reading gets a sentence."""

from typing import Any

import numpy as np
import pytest
import torch
from image_toy import images
from PIL import Image
from torch.utils.data import DataLoader, Dataset, TensorDataset

from paperlib.data.inputs import image_data, labels, on_white, pixels, with_outputs
from paperlib.errors import PaperlibError

DATA = images(24)
X, Y = DATA.x, DATA.y


class Pictures(Dataset):
    """PIL images, as torchvision's data sets give them."""

    classes = ("a", "b", "c", "d")

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, i: int) -> tuple[Image.Image, int]:
        return Image.fromarray(X[i].permute(1, 2, 0).numpy()), int(Y[i])


class Rows(Dataset):
    """Dictionaries, as Hugging Face's data sets give them."""

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, i: int) -> dict[str, Any]:
        return {"pixel_values": X[i], "label": int(Y[i])}


FORMS: dict[str, Any] = {
    "ImageData": DATA,
    "tensors": (X, Y),
    "list of both": [X, Y],
    "arrays": (X.numpy(), Y.numpy()),
    "lists": (X.tolist(), Y.tolist()),
    "list of images": (list(X), Y),
    "floats": (X / 255, Y.int()),
    "doubles": (X.double() / 255, Y),
    "channels last": (X.permute(0, 2, 3, 1).numpy(), Y),
    "whole numbers": (X.long(), Y.short()),
    "uint16": (X.numpy().astype(np.uint16), Y.numpy().astype(np.uint16)),
    "big-endian": (X.numpy().astype(">f4") / 255, Y.numpy().astype(">i4")),
    "one-hot": (X, torch.nn.functional.one_hot(Y)),
    "one-hot floats": (X, torch.nn.functional.one_hot(Y).float().numpy()),
    "column": (X, Y[:, None]),
    "Dataset": TensorDataset(X / 255, Y),
    "PIL": Pictures(),
    "dictionaries": Rows(),
    "DataLoader, shuffled": DataLoader(TensorDataset(X, Y), batch_size=5, shuffle=True),
    "dictionary": {"image": X, "label": Y},
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_the_same_data(form: str) -> None:
    before = X.clone()
    found = image_data(FORMS[form], "clean")
    assert torch.equal(found.x, X) and found.x.dtype == torch.uint8 and found.x.is_contiguous() == X.is_contiguous()
    assert torch.equal(found.y, Y) and found.y.dtype == torch.int64
    assert found.n_classes == 4 and torch.equal(X, before)


def test_an_image_set_stays_the_same_object() -> None:
    assert image_data(DATA) is DATA  # so the lab's runs compute what they did


def test_names_of_classes_come_along() -> None:
    assert image_data(Pictures()).class_names == ("a", "b", "c", "d")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_rounded_once(dtype: torch.dtype) -> None:
    found = image_data((X[:4].float().div(255).to(dtype), Y[:4]))
    assert (found.x.int() - X[:4].int()).abs().max() <= 1


def test_grey_images_without_a_channel_axis() -> None:
    assert pixels(X[:, 0]).shape == (24, 1, 8, 8)


def test_alpha_is_composited_on_white() -> None:
    drawing = torch.zeros(1, 4, 2, 2, dtype=torch.uint8)
    drawing[0, 3, 0, 0] = 255  # one black pixel on transparent ground
    expected = torch.full((1, 3, 2, 2), 255, dtype=torch.uint8)
    expected[:, :, 0, 0] = 0
    assert torch.equal(on_white(drawing), expected)


NAN = (X / 255).clone()
NAN[3, 0, 0, 0] = float("nan")

WRONG: dict[str, tuple[Any, str]] = {
    "a path": ("pictures", "clean is of type str; give an ImageData"),
    "nothing": (None, "clean is of type NoneType"),
    "images alone": (X, "clean is of type Tensor"),
    "three things": ((X, Y, Y), "clean is a tuple of length 3"),
    "no image": ((X[:0], Y[:0]), "clean holds no image"),
    "fewer labels": ((X, Y[:5]), "24 images and 5 labels"),
    "two axes": ((X[:, 0, 0], Y), r"clean's images have shape \(24, 8\)"),
    "five axes": ((X[None], Y), r"shape \(1, 24, 3, 8, 8\)"),
    "ragged lists": (([[[1]], [[1, 2]]], [0, 1]), "cannot be made an array"),
    "ragged images": (([X[0], X[0, :, :4]], [0, 1]), "have different shapes"),
    "strings": ((X, ["cat"] * 24), "clean's labels are of type <U3"),
    "objects": (([object()], [0]), "are of type object"),
    "booleans": ((X > 9, Y), "are torch.bool"),
    "complex": ((X + 1j, Y), "are torch.complex64"),
    "NaN": ((NAN, Y), r"not finite, 1 image\(s\), the first number 3"),
    "normalised": (((X / 255 - 0.5) / 0.25, Y),
    r"normalised already; .* paperlib.models.normalised\(model, mean, std\)"),
    "0 to 255 as floats": ((X.float(), Y), "must lie in .0, 1.: divide by 255"),
    "beyond 255": ((X.float() * 9, Y), "scale them to .0, 1."),
    "16 bits": ((X.int() * 256, Y), "8-bit images lie in 0 to 255"),
    "divided twice": ((X / 255 / 255, Y), "divided by 255 twice"),
    "uint8 of fractions": (((X / 255).to(torch.uint8), Y), "uint8 and hold nothing above 0"),
    "uint8 of 0 and 1": (((X > 99).to(torch.uint8), Y), "uint8 and hold nothing above 1"),
    "an image set of 0 and 1": (images(4).__class__(X // 200, *[getattr(DATA, f) for f in ("y", "class_names", "mean",
    "std", "flip", "pad", "name")]), "nothing above 1"),
    "fractions as labels": ((X, Y.float()), "labels are torch.float32; labels must be integers"),
    "boolean labels": ((X, Y > 1), "labels are torch.bool"),
    "negative labels": ((X, Y - 1), "labels hold -1"),
    "soft labels": ((X, torch.rand(24, 4)), r"labels have shape \(24, 4\)"),
    "an image set with foreign labels": (images(4).__class__(X, Y + 7, *[getattr(DATA, f) for f in ("class_names",
    "mean", "std", "flip", "pad", "name")]), "labels from 7 to 10; its 4 classes are 0 to 3"),
    "no pairs": (TensorDataset(X), r"clean\[0\] is a tuple of length 1"),
    "other columns": ({"picture": X, "label": Y}, "columns picture, label; none of them is called 'image'"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_has_no_one_reading_gets_a_sentence(case: str) -> None:
    given, says = WRONG[case]
    with pytest.raises(PaperlibError, match=says):
        image_data(given, "clean")


def test_classes_are_compared_with_outputs() -> None:
    assert with_outputs(image_data((X, Y)), 6, "data").n_classes == 6  # pairs name no class
    with pytest.raises(PaperlibError, match="data has labels up to 3; the model has 3 outputs, classes 0 to 2"):
        with_outputs(DATA, 3, "data")
    with pytest.raises(PaperlibError, match="Labels that start at 1 must be lowered by 1"):
        with_outputs(image_data((X, Y + 1)), 4, "data")
    with pytest.raises(PaperlibError, match=r"data has 4 classes \(labels 0 to 3\), the model has 1000 outputs"):
        with_outputs(DATA, 1000, "data")


def test_labels_stay_where_they_are() -> None:
    assert torch.equal(labels(Y)[0], Y) and labels(Y)[1] == 4
