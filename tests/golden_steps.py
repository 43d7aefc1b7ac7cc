"""The golden steps of ``golden/official``: read a file, build its network, compare arrays at its tolerance."""

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from paperlib.data.images import ImageData
from paperlib.models import normalised

FOLDER = Path(os.environ.get("PAPERLIB_GOLDEN", "") or Path(__file__).parent / "golden" / "official")


class Golden:
    """One file: its arrays by name as tensors, and its settings."""

    def __init__(self, file: Path) -> None:
        with np.load(file) as arrays:
            self.settings: dict[str, Any] = json.loads(str(arrays["settings"]))
            self.arrays = {name: torch.from_numpy(arrays[name]) for name in arrays.files if name != "settings"}

    def __getitem__(self, name: str) -> Tensor:
        return self.arrays[name]

    def group(self, prefix: str) -> dict[str, Tensor]:
        """The arrays ``prefix.*`` without the prefix."""
        return {n.removeprefix(f"{prefix}."): a for n, a in self.arrays.items() if n.startswith(f"{prefix}.")}

    def network(self, prefix: str = "model") -> nn.Module:
        """The file's network with the weights ``prefix.*``, in evaluation mode; it takes images in [0, 1]."""
        inner = nn.Sequential()
        weights = self.group(prefix)
        for block in ("block1", "block2"):
            out, channels, size, _ = weights[f"{block}.0.weight"].shape
            convolution = nn.Conv2d(channels, out, size, padding=size // 2, bias=False)
            inner.add_module(block, nn.Sequential(convolution, nn.BatchNorm2d(out), nn.ReLU()))
        inner.add_module("avgpool", nn.AdaptiveAvgPool2d(1))
        inner.add_module("flatten", nn.Flatten())
        inner.add_module("linear", nn.Linear(*reversed(weights["linear.weight"].shape)))
        inner.load_state_dict({**inner.state_dict(), **weights})
        channels = self["x"].shape[1]
        return normalised(inner, [self.settings["mean"]] * channels, [self.settings["std"]] * channels).eval()

    def images(self) -> ImageData:
        """The file's images: no augmentation, the normalisation of the file."""
        channels, classes = self["x"].shape[1], int(self["y"].max()) + 1
        return ImageData(
            x=self["x"],
            y=self["y"],
            class_names=tuple(str(i) for i in range(max(10, classes))),
            mean=(self.settings["mean"],) * channels,
            std=(self.settings["std"],) * channels,
            pad=0,
            flip=False,
            name="golden",
        )

    def parts(self, order: Tensor) -> list[Tensor]:
        """``order`` cut into batches; the last may be short."""
        return list(order.split(self.settings["batch_size"]))


@cache
def golden(name: str) -> Golden:
    """The file ``name.npz``; treat it as read-only."""
    return Golden(FOLDER / f"{name}.npz")


def close(ours: Any, theirs: Tensor, name: str, rtol: float = 1e-4, atol: float = 0.0) -> None:
    """Assert that the largest difference is at most ``rtol`` of the largest entry of ``theirs`` (plus ``atol``)."""
    found = torch.as_tensor(ours).detach().double()
    wanted = theirs.double()
    assert found.shape == wanted.shape, (
        f"{name}: shape {tuple(found.shape)}, the public code's is {tuple(wanted.shape)}"
    )
    off = (found - wanted).abs().max().item()
    bound = rtol * wanted.abs().max().item() + atol
    assert off <= bound, f"{name}: off by {off:.3g}, allowed {bound:.3g}"
