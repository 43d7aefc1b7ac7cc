"""Tiny images, tiny models and their surroundings, for the tests of everything that trains or looks at a classifier."""

import hashlib
from dataclasses import replace
from typing import Any

import torch

from paperlib import models
from paperlib.attacks import ATTACKS, attack, draw, with_state
from paperlib.attacks.scene import Scene
from paperlib.data.images import ImageData
from paperlib.lab.spec import pairs
from paperlib.training import Recipe, fit

TINY: dict[str, dict[str, Any]] = {
    "lc": {"width": 4, "epochs": 1, "batch_size": 20, "steps": 5, "training_steps": 1},
    "input_aware": {"width": 4, "mask_epochs": 2},
    "lira": {"eps": 0.3, "generator_lr": 0.01},
    "lf": {"n_images": 20, "passes": 2, "iterations": 50},
    "ssba": {"width": 4, "epochs": 1, "batch_size": 20, "residual": True, "min_bit_accuracy": -1.0, "min_psnr": 0.0},
    "trojannn": {"steps": 20},
}
"""Attack -> hyper-parameters with which its preparation or training on toy images takes a fraction of a second."""


def images(
    n: int = 40, classes: int = 4, size: int = 8, *, seed: int = 0, pad: int = 1, flip: bool = True
) -> ImageData:
    """``n`` random images; class k, in turn, is a little brighter in quarter k of its rows."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 200, (n, 3, size, size), generator=generator)
    y = torch.arange(n) % classes
    rows = torch.arange(size) * classes // size
    x = x + 55 * (rows.view(1, 1, -1, 1) == y.view(-1, 1, 1, 1))
    names = tuple(f"class {k}" for k in range(classes))
    return ImageData(x.to(torch.uint8), y, names, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3), flip, pad, "toy")


def model(data: ImageData, *, width: int = 4, seed: int = 0) -> torch.nn.Module:
    """A PreAct-ResNet18 of width 4 (44,000 weights)."""
    return models.build("preact_resnet18", data, width=width, seed=seed)


_READY: dict[tuple[Any, ...], dict[str, torch.Tensor]] = {}


def ready(name: str, data: ImageData, *, target: int = 0, **params: Any) -> Any:
    """The attack ``name``, prepared or trained on ``data`` at a tiny size where it needs that; ``params`` change it.

    What was made is kept for the same attack and the same images.
    """
    method, values = ATTACKS[name], pairs({**TINY.get(name, {}), **params})
    made: Any = attack(name, values)
    if not (method.prepare or method.controls_training):
        return made
    key = (name, values, target, tuple(data.x.shape), hashlib.sha256(data.x.numpy().tobytes()).hexdigest())
    if key not in _READY:
        if method.prepare:
            surrogate = None
            if method.prepare == "model":
                surrogate = model(data)
                fit(surrogate, data, Recipe(5, 10, 0.05, "constant"), seed=0)
            _READY[key], _ = made.prepare(data, target=target, model=surrogate, seed=0, progress=None)
        else:
            recipe = Recipe(1, 20, 0.01, "constant")
            _, _READY[key] = made.train(
                model(data),
                data,
                recipe,
                target=target,
                ratio=0.2,
                seed=0,
                watch=lambda epoch, state: {},
                progress=None,
            )
    return with_state(made, _READY[key])


def scene(data: ImageData, name: str = "badnets", *, ratio: float = 0.2, target: int = 0) -> Scene:
    """``data`` as training and test set, with the attack ``name``."""
    made = ready(name, data, target=target)
    about = Scene(data, replace(data), target=target, name=name, ratio=ratio, recipe=Recipe(1))
    return about.under(made, draw(data.y.numpy(), ratio, made.labels, target, 0))


def state(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """A copy of all parameters and buffers."""
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    """Whether two states agree bit for bit."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
