"""Models by name. ``build`` is the only way a model is made, so that its initial weights depend on the seed alone."""

from copy import deepcopy
from typing import TYPE_CHECKING

from paperlib.errors import choose
from paperlib.registry import Method

if TYPE_CHECKING:
    from torch import nn

    from paperlib.data.images import ImageData

MODELS: dict[str, Method] = {
    "preact_resnet18": Method("paperlib.models.preact_resnet", "PreActResNet18", "PreAct-ResNet18"),
}


def build(name: str, data: "ImageData", *, width: int = 64, seed: int = 0) -> "nn.Module":
    """A freshly initialised model for the images and classes of ``data``, on its device, channels-last.

    Raises
    ------
    PaperlibError
        Unknown ``name``.
    """
    import torch

    cls = MODELS[choose("model", name, MODELS)].load()
    with torch.random.fork_rng(devices=[]):  # initialise on the CPU: the same weights on every device
        torch.manual_seed(seed)
        model = cls(data.mean, data.std, len(data.class_names), width=width)
    return model.to(data.x.device, memory_format=torch.channels_last)


def fresh(model: "nn.Module", seed: int) -> "nn.Module":
    """A copy of ``model`` whose every layer is initialised anew from ``seed``, in training mode: any architecture."""
    import torch

    out = deepcopy(model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in out.to("cpu").modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
    parameter = next(model.parameters())
    return out.to(parameter.device).to(memory_format=torch.channels_last).requires_grad_(True).train()
