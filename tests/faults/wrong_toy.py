"""What people give by mistake: images, labels and models, by the name of the mistake."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset

CLASSES, SIDE = 4, 16
GENERATOR = torch.Generator().manual_seed(0)
Y = torch.arange(24) % CLASSES
X = (
    torch.randint(0, 60, (24, 3, SIDE, SIDE), generator=GENERATOR)
    + 195 * ((torch.arange(SIDE) * CLASSES // SIDE).view(1, 1, -1, 1) == Y.view(-1, 1, 1, 1))
).to(torch.uint8)
F = X.float() / 255
GOOD = (X, Y)


def net(channels: int = 3, classes: int = CLASSES) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(channels, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3,
        padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(128, classes),
    ).eval()  # fmt: skip


def trained() -> nn.Sequential:
    """Right on every image of ``GOOD``."""
    model = net().train()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(30):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(F), Y).backward()
        optimizer.step()
    return model.eval()


MODEL = trained()


def with_pixel(value: float) -> torch.Tensor:
    x = F.clone()
    x[3, 0, 0, 0] = value
    return x


class Items(Dataset):
    """A data set that gives the same item again and again, or raises it."""

    def __init__(self, item: Any, n: int = 4) -> None:
        self.item, self.n = item, n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int) -> Any:
        if isinstance(self.item, Exception):
            raise self.item
        return self.item


DATA: dict[str, Any] = {
    "a path": "photos", "a number": 3, "images alone": X, "three things": (X, Y, Y), "nothing in it": (),
    "no labels": (X, None),
    "no images": (None, Y), "labels from 1": (X, Y + 1), "labels from 1, arrays": (X.numpy(), Y.numpy() + 1),
    "a negative label": (X, Y - 1),
    "labels with a fraction": (X, Y.float()), "labels in words": (X, [str(v) for v in Y.tolist()]),
    "labels as names": (X, np.array(["cat", "dog"] * 12)),
    "labels as truth": (X, Y > 1), "many-hot labels": (X, torch.ones(24, CLASSES)), "soft labels": (X, torch.full((24,
    CLASSES), 0.25)),
    "labels of objects": (X, [None] * 24), "NaN as labels": (X, torch.full((24,), math.nan)), "labels in two axes": (X,
    Y.view(2, 12)),
    "one label": (X, torch.tensor(3)), "labels beyond reason": (X, torch.full((24,), 10**9)), "labels of 64 bits": (X,
    np.full(24, 2**63, np.uint64)),
    "too few labels": (X, Y[:20]), "too few images": (X[:20], Y), "no image": (X[:0], Y[:0]),
    "NaN": (with_pixel(math.nan), Y),
    "infinite": (with_pixel(math.inf), Y), "normalised": ((F - 0.5) / 0.25, Y), "0 to 255 as floats": (X.float(), Y),
    "0 to 255 as doubles": (X.double().numpy(), Y),
    "divided twice": (F / 255, Y), "8 bits of 0 and 1": ((X > 99).to(torch.uint8), Y),
    "32 bits of 0 and 1": ((X > 99).int(), Y), "below 0": (X.long() - 5, Y),
    "above 255": (X.long() + 300, Y), "true and false": (X > 99, Y), "complex": (F.to(torch.complex64), Y),
    "words": (np.array([["a"]] * 24), Y),
    "two sizes": ([np.zeros((3, 16, 16)), np.zeros((3, 8, 8))], [0, 1]), "two axes": (F.flatten(1), Y),
    "five axes": (F[None], Y),
    "two channels": (F[:, :2], Y), "five channels": (torch.rand(24, 5, 16, 16), Y), "no pixels": (F[..., :0], Y),
    "black": (X * 0, Y),
    "files": (["a.png"] * 24, Y), "no column of labels": {"image": X}, "columns of other names": {"picture": X,
    "kind": Y},
    "items that are numbers": Items(3), "items of one thing": Items((X[0],)), "items with words": Items((X[0], "cat")),
    "items without labels": Items((X[0], None)),
    "items with fractions": Items((X[0], 1.5)), "items with two labels": Items((X[0], torch.tensor([1, 2]))),
    "items with truth": Items((X[0], True)),
    "items with -1": Items((X[0], -1)), "items of paths": Items(("a.png", 1)), "items of nothing": Items((None, 1)),
    "items with NaN": Items((with_pixel(math.nan)[3], 1)),
    "no item": Items((X[0], 1), 0), "a data set that fails": Items(OSError("disk on fire")), "a generator": (pair
    for pair in zip(X, Y, strict=True)), "a class": nn.Module,
}  # fmt: skip
"""Mistake -> what is given as data."""


class Puts(nn.Module):
    """The trained model with something done to what it returns."""

    def __init__(self, change: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.net, self.change = trained(), change

    def forward(self, x: torch.Tensor) -> Any:
        return self.change(self.net(x))


class Fails(nn.Module):
    """A model that cannot be called."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.layer, self.error = nn.Linear(2, 2), error

    def forward(self, x: torch.Tensor) -> Any:
        raise self.error


def changed(name: str, value: float) -> nn.Module:
    model = trained()
    model.state_dict()[name].view(-1)[0] = value
    return model


def models() -> dict[str, Any]:
    """Mistake -> what is given as the model."""
    traced = torch.jit.trace(trained(), F[:2], check_trace=False)
    with torch.device("meta"):
        nowhere = net()
    return {
        "a name": "resnet50000", "a class": nn.Sequential, "a function": len, "weights": MODEL.state_dict(),
        "a list": [MODEL], "a number": 3,
        "an optimiser": torch.optim.SGD(trained().parameters(), 0.1), "NaN": changed("0.weight", math.nan),
        "infinite": changed("0.bias", -math.inf),
        "NaN in the statistics": changed("1.running_var", math.nan), "three outputs": net(classes=3),
        "one output": net(classes=1),
        "eight channels": net(8), "a grey model": net(1), "another size": nn.Sequential(nn.Flatten(),
        nn.Linear(3 * 32 * 32, 4)),
        "puts out None": Puts(lambda y: None), "puts out a word": Puts(lambda y: "cat"),
        "puts out another dictionary": Puts(lambda y: {"scores": y}),
        "puts out an empty tuple": Puts(lambda y: ()), "puts out three axes": Puts(lambda y: y[:, None]),
        "puts out maps": Puts(lambda y: y[:, :, None, None]),
        "puts out a number": Puts(torch.mean), "puts out classes": Puts(lambda y: y.argmax(1)),
        "puts out a list": Puts(lambda y: y.tolist()),
        "puts out whole numbers": Puts(lambda y: y.long()), "puts out NaN": Puts(lambda y: y * math.nan),
        "puts out truth": Puts(lambda y: y > 0),
        "puts out complex numbers": Puts(lambda y: y.to(torch.complex64)), "detaches": Puts(lambda y: y.detach()),
        "puts out columns": Puts(lambda y: y.T),
        "puts out half": Puts(lambda y: y[:1]), "logits of None": Puts(lambda y: {"logits": None}), "traced": traced,
        "frozen": torch.jit.freeze(torch.jit.script(trained())),
        "lazy": nn.Sequential(nn.LazyConv2d(8, 3), nn.Flatten(), nn.LazyLinear(4)), "nowhere": nowhere,
        "raises": Fails(RuntimeError("boom")),
        "raises nothing to say": Fails(AssertionError()), "raises a key": Fails(KeyError("x")),
        "a loss": nn.CrossEntropyLoss(), "empty": nn.Sequential(),
        "quantised": torch.ao.quantization.quantize_dynamic(trained(), {nn.Linear}), "for rows": nn.Linear(5, 4),
    }  # fmt: skip
