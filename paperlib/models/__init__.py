"""Models by name. ``build`` is the only way a model is made, so that its initial weights depend on the seed alone."""

from copy import deepcopy
from functools import partial
from typing import TYPE_CHECKING

from paperlib.errors import NotApplicable, PaperlibError
from paperlib.lab.spec import pairs
from paperlib.registry import Method, Registry, check_numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor, nn

    from paperlib.data.images import ImageData

MODELS = Registry(
    "model",
    __name__,
    {
        "preact_resnet18": Method(".preact_resnet", "PreActResNet18", "PreAct-ResNet18"),
        "vgg19": Method(".zoo", "vgg19", "VGG19"),
        "vgg19_bn": Method(".zoo", "vgg19", "VGG19-BN", defaults=pairs(norm=True)),
        "efficientnet_b3": Method(".zoo", "efficientnet_b3", "EfficientNet-B3"),
        "mobilenet_v3_large": Method(".zoo", "mobilenet_v3_large", "MobileNetV3-L"),
        "densenet161": Method(".zoo", "densenet161", "DenseNet-161"),
        "convnext_tiny": Method(".zoo", "convnext_tiny", "ConvNeXt-tiny"),
        "vit_b_16": Method(".zoo", "vit_b_16", "ViT-B/16"),
        # not in the benchmark: stems for images of 32 and 64 pixels
        "efficientnet_b3_fine": Method(
            ".zoo", "efficientnet_b3", "EfficientNet-B3, fine stem", defaults=pairs(fine=True)
        ),
        "mobilenet_v3_large_fine": Method(
            ".zoo", "mobilenet_v3_large", "MobileNetV3-L, fine stem", defaults=pairs(fine=True)
        ),
        "densenet161_fine": Method(".zoo", "densenet161", "DenseNet-161, fine stem", defaults=pairs(fine=True)),
        "convnext_tiny_fine": Method(".zoo", "convnext_tiny", "ConvNeXt-tiny, fine stem", defaults=pairs(fine=True)),
        "resnet18": Method(".zoo", "resnet18", "ResNet-18, fine stem"),
        "two_conv": Method(".zoo", "two_conv", "CNN of two convolutions"),
        "vit_b_8": Method(".zoo", "vit_b_16", "ViT-B/8 at 64 pixels", defaults=pairs(side=64, patch=8)),
    },
)


WITHOUT_BATCH_NORM = ("vgg19", "convnext_tiny", "vit_b_16", "convnext_tiny_fine", "vit_b_8")


def build(name: str, data: "ImageData", *, width: int = 64, seed: int = 0) -> "nn.Module":
    """A freshly initialised model for the images and classes of ``data``, on its device, channels-last.

    Parameters
    ----------
    name : str
        A name of ``MODELS``.
    data : ImageData
    width : int
        Channels of the first block, where the architecture has widths; 64 is the usual one.
    seed : int
        Decides the weights.

    Raises
    ------
    PaperlibError
        Unknown ``name``, a width that the model does not come in, or images that are not RGB where they must be.
    """
    import torch

    from paperlib.models.strided import every_other_pixel

    method = MODELS[name]
    check_numbers("width", width, 64)
    cls = method.load()
    with torch.random.fork_rng(devices=[]):  # initialise on the CPU: the same weights on every device
        torch.manual_seed(seed)
        model = cls(data.mean, data.std, len(data.class_names), width=width, **dict(method.defaults))
    return every_other_pixel(model).to(data.x.device).to(memory_format=torch.channels_last)


def normalised(model: "nn.Module", mean: "Sequence[float]", std: "Sequence[float]") -> "nn.Module":
    """``model``, which was trained on (x - mean) / std, as one that takes images x (B, C, H, W) in [0, 1].

    Parameters
    ----------
    mean, std
        One number per channel, in units of images in [0, 1].

    Raises
    ------
    PaperlibError
        No torch model, weights or numbers that are not finite, no positive ``std``, or two different lengths.
    """
    import math

    from paperlib.models.foreign import Normalised, check_weights, unwrapped

    try:
        m, s = tuple(map(float, mean)), tuple(map(float, std))
    except (TypeError, ValueError):
        raise PaperlibError(f"mean={mean!r} and std={std!r} must be sequences of numbers, one per channel.") from None
    if len(m) != len(s) or not m:
        raise PaperlibError(f"mean has {len(m)} numbers and std {len(s)}; both need one per channel.")
    if not all(math.isfinite(v) for v in (*m, *s)) or min(s) <= 0:
        raise PaperlibError(f"mean={m!r} must be finite and std={s!r} positive.")
    model = unwrapped(model)
    check_weights(model)
    made = Normalised(model, m, s).train(model.training)
    return made if (weight := next(model.parameters(), None)) is None else made.to(weight.device)


DRAWN: "dict[tuple[str, str], Callable[[Tensor], object]]" = {
    # weights that torchvision's blocks hold themselves -> how they begin there
    ("CNBlock", "layer_scale"): lambda weight: weight.fill_(1e-6),
    ("VisionTransformer", "class_token"): lambda weight: weight.zero_(),
    ("Encoder", "pos_embedding"): lambda weight: weight.normal_(std=0.02),
}


def fresh(model: "nn.Module", seed: int) -> "nn.Module":
    """A copy of ``model`` whose every weight is initialised anew from ``seed``, in training mode: any architecture.

    A model with a method ``remake`` (those of the zoo) is made again by it, as torchvision initialises it, and one of
    transformers from its configuration; elsewhere
    every layer's ``reset_parameters`` is called.

    Raises
    ------
    PaperlibError
        No torch model, or one whose weights lie nowhere.
    NotApplicable
        A layer holds weights and has no ``reset_parameters``: they would keep what was trained.
    """
    import torch

    from paperlib.models.foreign import Wrapped, check_place, check_trainable, unwrapped
    from paperlib.models.strided import every_other_pixel

    model = unwrapped(model)
    check_place(model)
    check_trainable(model)
    if isinstance(model, Wrapped):
        shell = deepcopy(model)
        shell.inner = fresh(model.inner, seed)
        return shell.requires_grad_(True).train()
    remake = getattr(model, "remake", None)
    # of transformers: made again from its configuration
    if hasattr(type(model), "config_class") and hasattr(model, "config"):
        remake = partial(type(model), model.config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if remake is not None:
            out = remake()
        else:
            out = deepcopy(model).to("cpu")
            for name, module in out.named_modules():
                reset = getattr(module, "reset_parameters", getattr(module, "_reset_parameters", None))
                if callable(reset):
                    reset()
                    continue
                for own, weight in module.named_parameters(recurse=False):
                    if (draw := DRAWN.get((type(module).__name__, own))) is not None:
                        with torch.no_grad():
                            draw(weight)
                        continue
                    raise NotApplicable(
                        f"layer {name or type(module).__name__!r} ({type(module).__name__}) has weights and no "
                        f"reset_parameters; give the model a method remake() that returns it with fresh weights."
                    )
    parameter = next(model.parameters())
    out = every_other_pixel(out).to(parameter.device)
    return out.to(memory_format=torch.channels_last).requires_grad_(True).train()
