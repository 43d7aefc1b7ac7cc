"""Which images the tools look at, and how an image is written into a result."""

import base64
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from paperlib.attacks.scene import Scene
from paperlib.errors import PaperlibError

Models = list[nn.Module]
"""What a tool looks at: where it compares, the backdoored model first."""


def packed(image: Tensor) -> str:
    """A uint8 image (C, H, W) as base64 of its bytes in the order (H, W, C)."""
    return base64.b64encode(image.permute(1, 2, 0).contiguous().cpu().numpy().tobytes()).decode()


def attacked(scene: Scene, tool: str) -> None:
    """Refuse a model that was trained on clean data.

    Raises
    ------
    PaperlibError
        It was.
    """
    if scene.attack is None:
        raise PaperlibError(f"{scene.label} was trained on clean data; the tool {tool} compares it with a trigger.")


def poisoned_sample(scene: Scene, n: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """``n`` images of the poisoned training set in its own proportion of clean and poisoned ones, clean ones first.

    Returns
    -------
    x, y, poisoned
        uint8 (n, C, H, W) without augmentation; the labels of training (n,); bool (n,). Fewer where there are not so
        many.

    Raises
    ------
    PaperlibError
        The model was trained on clean data, or ``n`` is not positive.
    """
    if scene.poisoned is None:
        raise PaperlibError(f"{scene.label} was trained on clean data; it has no poisoned training set.")
    if n < 1:
        raise PaperlibError(f"n={n!r} must be at least 1: it is the number of images to look at.")
    data, mask = scene.poisoned_set.data, scene.poisoned_set.mask.cpu().numpy()
    rng = np.random.default_rng([seed, 5])
    n = min(n, len(data))
    n_poisoned = round(n * mask.mean())
    chosen = np.concatenate(
        [
            rng.choice(np.flatnonzero(~mask), n - n_poisoned, replace=False),
            rng.choice(np.flatnonzero(mask), n_poisoned, replace=False),
        ]
    )
    index = torch.from_numpy(chosen).to(data.x.device)
    return data.x[index], data.y[index], torch.from_numpy(mask[chosen]).to(data.x.device)


def attacked_pairs(scene: Scene, n: int, tool: str) -> tuple[Tensor, Tensor, Tensor]:
    """The first ``n`` attacked test images without and with the trigger (uint8), and their true classes (n,).

    Raises
    ------
    PaperlibError
        The model was trained on clean data.
    """
    attacked(scene, tool)
    triggered, _ = scene.triggered
    clean = scene.test
    if len(triggered) != len(clean):
        clean = clean.subset((clean.y != scene.target).nonzero().flatten())
    return clean.x[:n], triggered.x[:n], clean.y[:n]


def image_pair(scene: Scene, true_class: int, index: int, tool: str) -> Tensor:
    """Test image number ``index`` of class ``true_class`` without and with the trigger: uint8 (2, C, H, W).

    Raises
    ------
    PaperlibError
        The model was trained on clean data, or the test set has no such image.
    """
    from paperlib.attacks import render

    attacked(scene, tool)
    found = (scene.test.y == true_class).nonzero().flatten()
    if not 0 <= index < len(found):
        raise PaperlibError(f"index={index!r} of true_class={true_class!r}: the test set has {len(found)} such images.")
    image = scene.test.x[found[index]]
    return torch.stack([image, render(scene.trigger, image[None])[0]])


def rounded(values: Tensor, digits: int = 5) -> Any:
    """A tensor as nested lists of numbers with ``digits`` significant digits: results stay small."""
    if values.ndim:
        return [rounded(v, digits) for v in values]
    return float(f"{values.item():.{digits}g}")
