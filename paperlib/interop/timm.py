"""A model of timm, with the normalisation and size of its configuration inside. Needs nothing of timm but the model."""

from typing import Any

from torch import nn

from paperlib.errors import PaperlibError


def model(classifier: Any) -> nn.Module:
    """``classifier``, for example ``timm.create_model(...)``, for images (B, C, H, W) in [0, 1].

    Its ``pretrained_cfg`` says ``mean``, ``std`` and, where the size is fixed, ``input_size``.

    Raises
    ------
    PaperlibError
        No torch model, or one without such a configuration.
    """
    from paperlib.models import normalised
    from paperlib.models.foreign import Resized

    config = getattr(classifier, "pretrained_cfg", None) or getattr(classifier, "default_cfg", None)
    if not isinstance(classifier, nn.Module) or not config:
        raise PaperlibError(
            f"classifier is a {type(classifier).__name__} without pretrained_cfg; give a model of timm.create_model, or"
            " use paperlib.models.normalised(model, mean, std)."
        )
    made = normalised(classifier, config["mean"], config["std"])
    return Resized(made, int(config["input_size"][-1])) if config.get("fixed_input_size") else made
