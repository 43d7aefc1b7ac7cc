"""An image classifier of Hugging Face's transformers, with what its processor does to images inside the model.

Such a model takes normalised images of one size and returns an object with ``.logits``. Needs nothing of transformers
but the two objects, which the person has loaded.
"""

from typing import Any

from torch import nn

from paperlib.errors import PaperlibError


def model(classifier: Any, processor: Any = None) -> nn.Module:
    """``classifier`` for images (B, C, H, W) in [0, 1] of any size.

    Parameters
    ----------
    classifier
        For example ``AutoModelForImageClassification.from_pretrained(...)``.
    processor
        For example ``AutoImageProcessor.from_pretrained(...)``: its ``image_mean``, ``image_std`` and ``size`` go into
        the model. None: the images are what the model takes.

    Raises
    ------
    PaperlibError
        No torch model, or a processor without mean and standard deviation.
    """
    from paperlib.models import normalised
    from paperlib.models.foreign import Logits, Resized

    if not isinstance(classifier, nn.Module):
        raise PaperlibError(
            f"classifier is a {type(classifier).__name__}; give a torch image classifier of transformers."
        )
    made: nn.Module = Logits(classifier)
    if processor is None:
        return made
    mean, std = getattr(processor, "image_mean", None), getattr(processor, "image_std", None)
    if getattr(processor, "do_normalize", True):
        if mean is None or std is None:
            raise PaperlibError(
                f"processor {type(processor).__name__} has no image_mean and image_std; give the model's image"
                " processor."
            )
        made = normalised(made, mean, std)
    if getattr(processor, "do_resize", True) and (side := _side(getattr(processor, "size", None))):
        made = Resized(made, side)
    return made


def class_names(classifier: Any) -> tuple[str, ...]:
    """Names of the classes, from the model's configuration; empty where it has none."""
    names = getattr(getattr(classifier, "config", None), "id2label", None) or {}
    return tuple(str(names[k]) for k in sorted(names))


def _side(size: Any) -> int:
    """Side in pixels of a processor's ``size``; 0: none."""
    if isinstance(size, int):
        return size
    for key in ("height", "shortest_edge"):
        value = size.get(key) if hasattr(size, "get") else getattr(size, key, None)
        if value:
            return int(value)
    return 0
