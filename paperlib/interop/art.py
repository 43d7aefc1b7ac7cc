"""The Adversarial Robustness Toolbox (ART): its poisoned arrays and its PyTorch classifier.

ART's poisoning attacks return numpy arrays: images, channels first or last, as floats between ``clip_values``, and
labels as integers or one-hot rows. Its ``PyTorchClassifier`` keeps the torch model in ``.model`` and may normalise what
it is given.
"""

from typing import Any

import numpy as np

from paperlib.data.images import ImageData
from paperlib.data.inputs import as_tensor, image_data
from paperlib.errors import PaperlibError


def images(x: Any, y: Any, *, clip_values: tuple[float, float] = (0.0, 1.0)) -> ImageData:
    """ART's arrays as images for ``detect`` and ``defend``.

    Parameters
    ----------
    x, y
        Images (N, C, H, W) or (N, H, W, C) and labels, as ``PoisoningAttackBackdoor.poison`` returns them.
    clip_values
        What ART was told: the values of black and white.

    Raises
    ------
    PaperlibError
        Images outside ``clip_values``, and what :func:`paperlib.data.inputs.image_data` refuses.
    """
    try:
        low, high = map(float, clip_values)
    except (TypeError, ValueError):
        low = high = 0.0
    if not high > low:
        raise PaperlibError(f"clip_values={clip_values!r} must be the values of black and white, for example (0, 1).")
    x = as_tensor(x, "x").cpu().double().numpy()
    if x.size and (x.min() < low - 1e-4 or x.max() > high + 1e-4):
        raise PaperlibError(
            f"x lies in [{x.min():.4g}, {x.max():.4g}], outside clip_values={clip_values!r}; give ART's own."
        )
    return image_data((((x - low) / (high - low)).clip(0, 1), y), "x and y")


def model(classifier: Any) -> Any:
    """The torch model in ART's ``PyTorchClassifier``, with the classifier's normalisation, for images in [0, 1].

    Raises
    ------
    PaperlibError
        No such classifier, or ``clip_values`` other than (0, 1), in whose units the normalisation is.
    """
    import torch

    from paperlib.models import normalised

    inner = getattr(classifier, "model", None)
    if not isinstance(inner, torch.nn.Module):
        raise PaperlibError(
            f"classifier is a {type(classifier).__name__}; give ART's PyTorchClassifier, whose .model is a torch"
            " module."
        )
    clip = getattr(classifier, "clip_values", None)
    low, high = (0.0, 1.0) if clip is None else (float(np.min(clip[0])), float(np.max(clip[1])))
    mean, std = 0.0, 1.0
    for step in getattr(classifier, "preprocessing_operations", []) or []:
        if hasattr(step, "mean") and hasattr(step, "std"):
            mean, std = step.mean, step.std
    channels = next((m.in_channels for m in inner.modules() if isinstance(m, torch.nn.Conv2d)), 1)
    # ART normalises low + (high - low) * x
    means = [(float(v) - low) / (high - low) for v in np.broadcast_to(np.ravel(mean), (channels,))]
    stds = [float(v) / (high - low) for v in np.broadcast_to(np.ravel(std), (channels,))]
    return inner if means == [0.0] * channels and stds == [1.0] * channels else normalised(inner, means, stds)
