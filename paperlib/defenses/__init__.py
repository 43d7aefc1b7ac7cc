"""Backdoor defenses: one defense, one file.

A defense is a function ``method(model, clean, config, *, seed, progress) -> model``: it takes the backdoored model and the
data it may see, and returns the purified model; the one it was given stays as it was. ``DEFENSES[name].access`` says what the
method sees besides the model. No method sees test data.
"""

from typing import TYPE_CHECKING, Any

from paperlib.errors import PaperlibError, choose
from paperlib.registry import Method, configure

if TYPE_CHECKING:
    from torch import nn

    from paperlib.data.images import ImageData

CLEAN = "clean subset"

DEFENSES: dict[str, tuple[Method, str]] = {
    # name: (method, name of its hyper-parameter dataclass)
    "ft": (Method("paperlib.defenses.ft", "ft", "FT", access=CLEAN), "FT"),
    "ft_sam": (Method("paperlib.defenses.ft_sam", "ft_sam", "FT-SAM", access=CLEAN), "FTSAM"),
}


def config_class(name: str) -> type:
    """The hyper-parameter dataclass of the defense ``name``."""
    method, config = DEFENSES[choose("defense", name, DEFENSES)]
    return Method(method.module, config, config).load()


def check_clean(model: "nn.Module", clean: "ImageData") -> None:
    """Say what is wrong with the model or the clean subset before any work begins.

    Raises
    ------
    PaperlibError
        No image at all, fewer images than classes, a class without image, weights that are not numbers, or a model on
        another device than the images.
    """
    import torch

    classes = len(clean.class_names)
    present = torch.bincount(clean.y, minlength=classes)
    if len(clean) < classes or (present == 0).any():
        absent = ", ".join(clean.class_names[i] for i in (present == 0).nonzero().flatten().tolist())
        raise PaperlibError(f"clean holds {len(clean)} images and none of: {absent}; give at least one of every class.")
    for name, weight in model.named_parameters():
        if weight.device != clean.x.device:
            raise PaperlibError(f"the model lies on {weight.device}, clean on {clean.x.device}; move one of them.")
        if not torch.isfinite(weight).all():
            raise PaperlibError(
                f"weight {name!r} of the model holds values that are not finite; it cannot be purified."
            )


def defend(
    model: "nn.Module", *, clean: "ImageData", method: str, seed: int = 0, progress: Any = None, **params: Any
) -> "nn.Module":
    """Purify a copy of ``model`` with the defense ``method``; ``params`` are fields of its hyper-parameter dataclass.

    Parameters
    ----------
    model
        Takes images (B, C, H, W) in [0, 1], returns logits (B, classes).
    clean
        Clean images that the defender holds, on the model's device.

    Raises
    ------
    PaperlibError
        Unknown method or parameter, or what :func:`check_clean` finds.
    """
    config = configure(config_class(method), method, **params)
    check_clean(model, clean)
    return DEFENSES[method][0].load()(model, clean, config, seed=seed, progress=progress)
