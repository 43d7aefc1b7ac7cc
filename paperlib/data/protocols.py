"""The protocol of every data set, BackdoorBench's (arXiv 2206.12654, and its code where that says more). Imports no
torch.

Common to all: SGD, momentum 0.9, weight decay 5e-4, random crop after padding by 4. Only CIFAR-10 is flipped; GTSRB is
not normalised. Differences between the data sets beyond that are the fields below.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Protocol:
    """How a data set is presented and trained on, and its sizes at the other scales."""

    mean: tuple[float, ...]
    """Per-channel normalisation of images in [0, 1]; empty: that of the training set."""
    std: tuple[float, ...]
    n_clean: int
    """Clean images of a defender at paper scale: 5 % of the training set."""
    laptop: tuple[int, int, int]
    """Training, test and clean images at laptop scale: multiples of the number of classes; 0: all."""
    laptop_training: Mapping[str, Any] = field(default_factory=dict)
    """Epochs, batch size or highest learning rate at laptop scale, where they are others than that scale's."""
    flip: bool = False
    pad: int = 4
    epochs: int = 100
    schedule: str = "cosine"
    lr: float = 0.01
    batch_size: int = 128
    defense_epochs: int = 100
    """Epochs of FT and FT-SAM at paper scale."""
    rho: float = 2.0
    """FT-SAM's radius at paper scale."""
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Method -> hyper-parameters that its paper changes on this data set; they hold at paper scale."""


_TINY = {"mean": (0.4802, 0.4481, 0.3975), "std": (0.2302, 0.2265, 0.2262), "epochs": 200, "schedule": "plateau"}
_NO_SMOOTHING = {"ft_sam": {"label_smoothing": 0.0}}

_SIGNS = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0), "epochs": 50, "schedule": "cosine_100"}

PROTOCOLS: dict[str, Protocol] = {
    "cifar10": Protocol(
        mean=(0.4914, 0.4822, 0.4465), std=(0.247, 0.243, 0.261), flip=True, n_clean=2_500, laptop=(10_000, 5_000, 500)
    ),
    "cifar100": Protocol(
        mean=(0.5071, 0.4865, 0.4409), std=(0.2673, 0.2564, 0.2762), n_clean=2_500, laptop=(10_000, 5_000, 500)
    ),
    "gtsrb": Protocol(
        # the rarest of its 43 classes have 210 training images (0.54 %)
        **_SIGNS, n_clean=43 * 46, laptop=(43 * 210, 0, 43 * 10),  # type: ignore[arg-type]
        defense_epochs=50, rho=8.0, changes=_NO_SMOOTHING,
    ),
    "gtsrb_sample": Protocol(
        # the rarest class has 53 images
        **_SIGNS, n_clean=43 * 11, laptop=(0, 0, 43 * 11),  # type: ignore[arg-type]
        laptop_training={"epochs": 8, "batch_size": 32}, defense_epochs=50, rho=8.0, changes=_NO_SMOOTHING,
    ),
    "tiny_imagenet": Protocol(
        **_TINY, n_clean=5_000, laptop=(10_000, 5_000, 600), rho=8.0, changes=_NO_SMOOTHING,  # type: ignore[arg-type]
    ),
    "tiny_imagenet20": Protocol(
        # 200 images of every class: one of 64x64 costs four of CIFAR-10
        **_TINY, n_clean=500, laptop=(4_000, 0, 200), rho=8.0, changes=_NO_SMOOTHING,  # type: ignore[arg-type]
    ),
    "tiny_imagenet20_32": Protocol(
        # all images; in 6 epochs BadNets is not learned, in 9 its ASR is 70, in 12 it is 87
        **_TINY, n_clean=500, laptop=(0, 0, 500), laptop_training={"epochs": 12},  # type: ignore[arg-type]
        rho=8.0, changes=_NO_SMOOTHING,
    ),
}  # fmt: skip
