"""The front door for what people bring as a model: any torch classifier becomes one that the methods understand, or one
sentence.

The methods call a model on float32 images (B, C, H, W) in [0, 1] and expect logits (B, classes); some look inside a
layer. So a compiled or parallel model is unwrapped, half and double precision become float32, frozen weights are freed
(on a copy), and outputs in a tuple, a dictionary or an object with ``.logits`` are taken out. What comes back to the
person is in the form that was given.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paperlib.data.images import ImageData
from paperlib.data.inputs import check_several, on_white, with_outputs
from paperlib.errors import PaperlibError
from paperlib.models.strided import concerned, every_other_pixel
from paperlib.training import autocast, evaluating, predict

LEARNED = 0.15
"""A model has learned its classes when its accuracy lies this share of the way from chance to 1."""

CUSTOMARY = {
    "ImageNet's": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "CIFAR-10's": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "the usual [-1, 1]": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "MNIST's": ((0.1307,), (0.3081,)),
    "the usual [-1, 1] of grey images": ((0.5,), (0.5,)),
    "0 to 255": ((0.0,), (1 / 255,)),
}
"""Normalisations that are tried on a model at chance, to name the likely cause."""


class Wrapped(nn.Module):
    """A model inside another: layers are still found by the names that they have in the inner one."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def get_submodule(self, target: str) -> nn.Module:
        """The layer ``target`` of the model or, without ``inner.`` in front, of the model inside."""
        try:
            return super().get_submodule(target)
        except AttributeError:
            return self.inner.get_submodule(target)


class Logits(Wrapped):
    """A classifier that returns its logits in a tuple, a dictionary or an object, as one that returns them."""

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) to logits (B, classes)."""
        return taken_out(self.inner(x))


class Normalised(Wrapped):
    """Images in [0, 1] to a classifier that was trained on (x - mean) / std; made by
    :func:`paperlib.models.normalised`."""

    mean: Tensor
    std: Tensor

    def __init__(self, inner: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__(inner)
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) in [0, 1] to what the model inside returns."""
        return self.inner((x - self.mean) / self.std)


class Resized(Wrapped):
    """Images of any size to a classifier of images of ``side`` pixels."""

    def __init__(self, inner: nn.Module, side: int) -> None:
        super().__init__(inner)
        self.side = side

    def forward(self, x: Tensor) -> Any:
        """Images (B, C, H, W), resized bilinearly, to what the model inside returns."""
        if x.shape[-2:] != (self.side, self.side):
            x = F.interpolate(x, size=(self.side, self.side), mode="bilinear", align_corners=False, antialias=True)
        return self.inner(x)


def taken_out(output: Any) -> Tensor:
    """The logits in what a model returned.

    Raises
    ------
    PaperlibError
        There is no tensor where logits usually are.
    """
    found = output
    if hasattr(output, "logits"):
        found = output.logits
    elif isinstance(output, Mapping):
        found = output.get("logits", output.get("out"))
    elif isinstance(output, tuple | list) and output:
        found = output[0]
    if not isinstance(found, Tensor):
        raise PaperlibError(
            f"the model returns {type(output).__name__}; it must return logits (B, classes), a tuple that begins with"
            " them, or an object or dictionary with 'logits'."
        )
    return found


TRIED = 2
"""Images that a model is tried on: batch norm without running statistics takes no single one."""


def adopt(model: Any, data: ImageData | None = None, argument: str = "data") -> tuple[nn.Module, ImageData | None]:
    """The model and the data as the methods want them, compared with each other.

    Parameters
    ----------
    model
        A torch classifier, in one of the forms above. It stays as it is: what must be changed is changed on a copy.
    data
        Images that the model knows; None where a method sees none. They go to the model's device, grey images get three
        channels and alpha is composited on white where the model takes RGB.
    argument
        What the person calls the data.

    Raises
    ------
    PaperlibError
        No torch model, a scripted one, weights that are not finite or lie nowhere, images that the model cannot take,
        outputs that are no logits, and classes that do not fit (see :func:`paperlib.data.inputs.with_outputs`).
    """
    model = unwrapped(model)
    check_weights(model)
    parameter = next(model.parameters(), None)
    if parameter is not None and (
        parameter.dtype in (torch.float64, torch.float16, torch.bfloat16)
        or not all(p.requires_grad for p in model.parameters())
    ):
        model = deepcopy(model).float().requires_grad_(True)
    if any(map(concerned, model.modules())):
        model = every_other_pixel(deepcopy(model))
    if data is None:
        return model, None
    if parameter is not None and parameter.device != data.x.device:
        data = data.to(parameter.device)
    data = _channels(model, data, argument)
    output = _try(model, data, argument)
    if not isinstance(output, Tensor):
        taken_out(output)
        model = Logits(model)
        output = taken_out(output)
    tried = min(TRIED, len(data))
    if output.ndim != 2 or output.shape[0] != tried or output.shape[1] < 2:
        raise PaperlibError(
            f"the model puts out shape {tuple(output.shape)} for {tried} images; it must be ({tried}, classes): one"
            " logit for each of at least two classes."
        )
    if not output.is_floating_point() or not output.requires_grad:
        what = "no gradient (its forward detaches it, or works without gradients)"
        raise PaperlibError(
            f"the model puts out {output.dtype} with {what if output.is_floating_point() else 'no fraction'}; it must"
            " return its logits as they are computed."
        )
    if not torch.isfinite(output).all():
        raise PaperlibError("the model puts out values that are not finite; it cannot be examined or purified.")
    return model, with_outputs(data, output.shape[1], argument)


def given_back(model: nn.Module, like: Any) -> nn.Module:
    """A purified model in the form that the person gave: without our wrapper, in the precision of ``like``."""
    if isinstance(model, Logits) and not isinstance(like, Logits):
        model = model.inner
    before = next(iter(getattr(like, "parameters", lambda: iter(()))()), None)
    after = next(model.parameters(), None)
    return model if before is None or after is None or before.dtype == after.dtype else model.to(before.dtype)


def unwrapped(model: Any) -> nn.Module:
    """The plain module inside ``torch.compile`` and the parallel wrappers.

    Raises
    ------
    PaperlibError
        No torch module, one in TorchScript, a quantised one, or one whose weights are not made yet.
    """
    if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        model = model.module
    model = getattr(model, "_orig_mod", model)
    if not isinstance(model, nn.Module):
        raise PaperlibError(f"model is a {type(model).__name__}; give a torch.nn.Module.")
    if isinstance(model, torch.jit.ScriptModule):
        raise PaperlibError(
            "model is TorchScript (traced, scripted or frozen); give the torch.nn.Module that it was made from."
        )
    if any(".quantized" in type(module).__module__ for module in model.modules()):
        raise PaperlibError(
            "model has quantised layers, which cannot be trained; give the model before it was quantised."
        )
    if any(isinstance(p, nn.parameter.UninitializedParameter) for p in model.parameters()):
        raise PaperlibError("model has lazy layers without weights; call it once on a batch of images first.")
    return model


def check_place(model: nn.Module) -> None:
    """Refuse weights that lie nowhere, or in more than one place.

    Raises
    ------
    PaperlibError
        Weights on the meta device, or on different devices.
    """
    devices = {weight.device for weight in (*model.parameters(), *model.buffers())}
    if any(device.type == "meta" for device in devices):
        raise PaperlibError("the model lies on meta, where it has no weights; load them first.")
    if len(devices) > 1:
        raise PaperlibError(f"the model lies on {', '.join(sorted(map(str, devices)))}; move it to one device.")


def check_trainable(model: nn.Module) -> None:
    """Refuse a model without weights, of which nothing can be tuned or drawn anew.

    Raises
    ------
    PaperlibError
        It has none.
    """
    if next(model.parameters(), None) is None:
        raise PaperlibError(f"the model ({type(model).__name__}) has no weights; give a classifier that was trained.")


def check_weights(model: nn.Module) -> None:
    """Refuse weights that are no numbers, or lie in more than one place.

    Raises
    ------
    PaperlibError
        As :func:`check_place`; weights or statistics that are not finite.
    """
    check_place(model)
    for name, weight in (*model.named_parameters(), *model.named_buffers()):
        if not torch.isfinite(weight).all():
            raise PaperlibError(f"weight {name!r} of the model holds values that are not finite; it cannot be used.")


def check_learned(model: nn.Module, data: ImageData, argument: str) -> None:
    """Refuse a model whose accuracy on ``data`` is that of guessing, and name the likely cause.

    Chance is the share of the commonest class; a model has learned when its accuracy on up to 500 images, spread over
    the set, lies :data:`LEARNED` of the way from chance to 1.

    Raises
    ------
    PaperlibError
        It has not, or the images are of one class.
    """
    data = data.subset(torch.linspace(0, len(data) - 1, min(500, len(data))).long().unique())
    check_several(data, argument)
    chance = data.y.bincount().max().item() / len(data)
    least = chance + LEARNED * (1 - chance)

    def accuracy(candidate: nn.Module) -> float:
        return (predict(candidate, data.x) == data.y).float().mean().item()

    found = accuracy(model)
    if found > least:
        return
    raise PaperlibError(
        f"the model is right on {100 * found:.0f} % of {argument}, and chance is {100 * chance:.0f} %; likely cause: "
        f"{_cause(accuracy, model, data, max(least, found + 0.1))}. chance_ok=True goes on all the same."
    )


def _cause(accuracy: Callable[[nn.Module], float], model: nn.Module, data: ImageData, enough: float) -> str:
    """Why a model may be at chance: the images, or the normalisation that makes it right more often than ``enough``."""
    if float(data.x.float().mean()) < 16:
        return "the images are nearly black: were they divided by 255 twice?"
    tried = {
        name: (accuracy(Normalised(model, mean, std).to(data.x.device)), mean, std)
        for name, (mean, std) in CUSTOMARY.items()
        if len(mean) in (1, data.x.shape[1])
    }
    name = max(tried, key=lambda each: tried[each][0])
    right, mean, std = tried[name]
    if right > enough:
        return (
            f"it expects normalised images: with paperlib.models.normalised(model, {mean}, {std}), which are {name}, it"
            f" is {100 * right:.0f} %"
        )
    return (
        "the model is not trained on these classes or in this order of them, or expects images normalised by a mean and"
        " std of its own: give paperlib.models.normalised(model, mean, std)"
    )


def _try(model: nn.Module, data: ImageData, argument: str) -> Any:
    """What the model returns for the first images."""
    try:
        with torch.enable_grad(), evaluating(model), autocast(data.x.device):  # as the methods call it
            return model(data.float(torch.arange(min(TRIED, len(data)))).requires_grad_().mul(1))
    except PaperlibError:
        raise
    except Exception as error:  # whatever a person's forward() raises
        said = f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:200]}".removesuffix(": ")
        raise PaperlibError(
            f"the model cannot take {argument}'s images of shape {tuple(data.x.shape[1:])} ({said}); give images of the"
            " size and channels that it was made for."
        ) from error


def _channels(model: nn.Module, data: ImageData, argument: str) -> ImageData:
    """``data`` with the channels that the model's first convolution takes, where there is one way to get them."""
    first = next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)
    has = data.x.shape[1]
    wanted = has if first is None else first.in_channels
    if has == wanted or wanted not in (1, 3):
        return data
    if has == 4 and wanted == 3:
        x = on_white(data.x)
    elif has == 1 and wanted == 3:
        x = data.x.expand(-1, 3, -1, -1).contiguous()
    else:
        raise PaperlibError(
            f"{argument}'s images have {has} channels, the model takes {wanted}; "
            + ("convert them to grey." if wanted == 1 else "give RGB images.")
        )
    return replace(data, x=x, mean=(data.mean * 3)[:wanted], std=(data.std * 3)[:wanted])
