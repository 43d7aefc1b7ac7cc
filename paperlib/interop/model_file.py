"""A person's model file: weights in safetensors, or a file of BackdoorBench, as a model that takes images in [0, 1]."""

import importlib
import sys
from pathlib import Path

from torch import Tensor, nn

from paperlib.errors import PaperlibError

NORMALISATIONS = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}


def load_model(path: Path | str, classes: int, architecture: str = "", normalise: str = "") -> nn.Module:
    """Read a model file.

    Parameters
    ----------
    path
        ``.safetensors``: weights of any architecture. ``.pt``: a file of BackdoorBench.
    classes
        Number of outputs.
    architecture
        Name of a model of torchvision (``resnet18``), or ``module:function`` of the person's own code, which makes the
        model. Empty: our PreAct-ResNet18, whose width and normalisation the file says.
    normalise
        What the model was trained on: empty for [0, 1], ``imagenet``, ``cifar10``, ``half``.

    Raises
    ------
    PaperlibError
        No such file, an unknown architecture or normalisation, or weights that do not fit.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from paperlib.errors import choose
    from paperlib.models import normalised

    if not isinstance(path, str | Path):
        raise PaperlibError(
            f"path={path!r} must be the name of a file: weights in safetensors, or a .pt file of BackdoorBench."
        )
    path = Path(path)
    if not path.is_file():
        raise PaperlibError(f"{path} is no file; give weights in safetensors, or a .pt file of BackdoorBench.")
    if path.suffix in (".pt", ".pth"):
        from paperlib.interop import backdoorbench

        return backdoorbench.load(path).model
    try:
        weights = load_file(path)
    except (SafetensorError, OSError) as error:
        raise PaperlibError(
            f"{path} is no safetensors file ({error}); write one with safetensors.torch.save_file."
        ) from None
    model = _made(weights, architecture, classes)
    try:
        model.load_state_dict({name: w for name, w in weights.items() if not name.startswith("attack/")})
    except RuntimeError as error:
        said = " ".join(str(error).split())[:200]
        raise PaperlibError(
            f"{path}: the weights do not fit architecture={architecture or 'preact_resnet18'!r}: {said}"
        ) from None
    if normalise:
        model = normalised(model, *NORMALISATIONS[choose("normalise", normalise, NORMALISATIONS)])
    return model.eval()


def _made(weights: dict[str, Tensor], architecture: str, classes: int) -> nn.Module:
    if not architecture:
        if not {"conv1.weight", "layer4.1.conv2.weight", "linear.weight", "mean", "std"} <= set(weights):
            raise PaperlibError(
                "architecture='' but these are no weights of our PreAct-ResNet18; name a model of torchvision, or"
                " module:function."
            )
        from paperlib.models.preact_resnet import PreActResNet18

        mean, std = (tuple(weights[name].flatten().tolist()) for name in ("mean", "std"))
        return PreActResNet18(mean, std, len(weights["linear.weight"]), len(weights["conv1.weight"]))
    if ":" in architecture:
        module, _, function = architecture.partition(":")
        sys.path.insert(0, str(Path.cwd()))
        try:
            made = getattr(importlib.import_module(module), function)()
        except Exception as error:
            raise PaperlibError(
                f"architecture={architecture!r} cannot be made ({type(error).__name__}: {error})."
            ) from error
        finally:
            sys.path.pop(0)
        if not isinstance(made, nn.Module):
            raise PaperlibError(
                f"architecture={architecture!r} made a {type(made).__name__}; it must return a torch.nn.Module."
            )
        return made
    import torchvision

    from paperlib.errors import choose

    choose("architecture", architecture, torchvision.models.list_models(module=torchvision.models))
    return torchvision.models.get_model(architecture, num_classes=classes)
