"""Where the files of a data set come from: this machine, its publisher, a package mirror, or one clear error.

This module does not import torch.
"""

from dataclasses import dataclass
from pathlib import Path

from paperlib import paths
from paperlib.errors import DataMissing, choose


@dataclass(frozen=True)
class DatasetInfo:
    """What a reader needs to know about a data set before fetching it."""

    title: str
    classes: tuple[str, ...]


DATASETS: dict[str, DatasetInfo] = {
    "digits": DatasetInfo("Digits", tuple("0123456789")),
    "cifar10": DatasetInfo(
        "CIFAR-10",
        ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    ),
}

CIFAR10_BATCHES = {"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)}


def locate(name: str) -> Path:
    """Folder of a data set."""
    choose("name", name, DATASETS)
    for layout in ("cifar-10-batches-py", "cifar-10-batches-bin"):
        if (paths.data_dir() / layout).is_dir():
            return paths.data_dir() / layout
    raise DataMissing(f"{name} is not in {paths.data_dir()}.")
