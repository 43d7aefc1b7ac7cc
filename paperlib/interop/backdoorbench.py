"""BackdoorBench's files: ``attack_result.pt`` and checkpoints become a model that takes images in [0, 1].

The benchmark (Wu et al., arXiv 2206.12654) writes a dictionary with ``model_name``, ``num_classes``, ``model`` (the
weights), ``clean_data`` (the data set) and, after an attack, ``bd_train``: in the second version ``poison_indicator``
and, per poisoned image, its label and a PNG file; in the first the images (``x``, ``y``, ``original_index``). Its
models take normalised images, ViT of 224 pixels.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from torch import Tensor, nn

from paperlib.data.protocols import PROTOCOLS
from paperlib.errors import PaperlibError, choose
from paperlib.models import normalised
from paperlib.models.foreign import Resized
from paperlib.models.preact_resnet import PreActResNet18

NAMES = [
    "preactresnet18", "vgg19", "vgg19_bn", "efficientnet_b3", "mobilenet_v3_large", "densenet161", "convnext_tiny",
    "vit_b_16",
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Result:
    """What a file of the benchmark holds."""

    model: nn.Module
    """In evaluation mode, for images (B, C, H, W) in [0, 1]."""
    name: str
    dataset: str
    classes: int
    poisoned: Tensor | None = None
    """Indices (P,) of the poisoned training images in the publisher's order, their ``labels`` and, in the first
    version, ``images``."""
    labels: Tensor | None = None
    images: Tensor | None = None


def load(path: str | Path, *, dataset: str = "", name: str = "") -> Result:
    """Read ``attack_result.pt``, ``defense_result.pt`` or bare weights, which need ``dataset`` (our name) and ``name``
    (the benchmark's).

    Raises
    ------
    PaperlibError
        No such file, one that holds objects, one that does not say what is needed, or weights of another architecture.
    """
    found = _read(path)
    if "model" not in found:
        found = {"model": found.get("state_dict", found)}
    weights = {key.removeprefix("module."): w for key, w in dict(found["model"]).items()}
    if not weights or not all(isinstance(w, Tensor) for w in weights.values()):
        raise PaperlibError(f"{path} holds no weights under 'model'; give a file that BackdoorBench wrote.")
    name = choose("name", name or str(found.get("model_name", "")), NAMES)
    dataset = dataset or str(found.get("clean_data", ""))
    dataset = choose("dataset", {"tiny": "tiny_imagenet"}.get(dataset, dataset), PROTOCOLS)
    classes = int(found.get("num_classes", len([w for key, w in weights.items() if key.endswith("weight")][-1])))
    model = _built(name, classes, dataset, weights, path)
    return Result(model.eval(), name, dataset, classes, **_poisoned(found.get("bd_train")))


def _read(path: str | Path) -> Mapping[str, Any]:
    if not isinstance(path, str | Path) or not Path(path).is_file():
        raise PaperlibError(f"{path} is no file; give the attack_result.pt of a finished attack.")
    types = {type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8", "u1", "b1")}
    core: Any = np.zeros(1).__reduce__()[0], np.float64(1).__reduce__()[0]
    try:
        with torch.serialization.safe_globals([*core, np.ndarray, np.dtype, *types]):
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        said = f"{type(error).__name__}: {str(error).strip()}".splitlines()[0][:120]
        raise PaperlibError(
            f"{path} is not weights and arrays alone ({said}); objects may run code and are refused."
        ) from None
    if not isinstance(found, Mapping):
        raise PaperlibError(f"{path} holds a {type(found).__name__}; it must be a dictionary.")
    return found


def _built(name: str, classes: int, dataset: str, weights: dict[str, Tensor], path: Any) -> nn.Module:
    """The architecture with these weights and the normalisation of the data set inside."""
    how = PROTOCOLS[dataset]
    try:
        if name == "preactresnet18":
            model: nn.Module = PreActResNet18(how.mean, how.std, classes, len(weights["conv1.weight"]))
            mapped = {re.sub(r"shortcut\.0\.", "shortcut.", key): w for key, w in weights.items()}
            model.load_state_dict(mapped | {"mean": model.mean, "std": model.std})  # type: ignore[dict-item]
            return model
        inner = torchvision.models.get_model(name, num_classes=classes)
        inner.load_state_dict(weights)
    except (RuntimeError, KeyError) as error:
        said = " ".join(str(error).split())[:200]
        raise PaperlibError(f"{path}: these are no weights of name={name!r}, {classes} classes ({said}).") from None
    return normalised(Resized(inner, 224) if name.startswith("vit") else inner, how.mean, how.std)


def _poisoned(train: Any) -> dict[str, Any]:
    """Indices, labels and images of ``bd_train``, in either version."""
    if not isinstance(train, Mapping) or train.get("original_index", "") is None:
        return {}
    if "poison_indicator" in train:
        index = np.flatnonzero(np.asarray(train["poison_indicator"]))
        stored = train.get("bd_data_container", {}).get("data_dict", {})
        given = torch.tensor([stored[i]["other_info"][0] for i in index.tolist() if i in stored], dtype=torch.int64)
        return {"poisoned": torch.from_numpy(index), "labels": given}
    x = torch.as_tensor(train["x"])
    images = (x if x.max() > 1 else x * 255).round().to(torch.uint8)
    return {
        "poisoned": torch.as_tensor(train["original_index"]),
        "labels": torch.as_tensor(train["y"]),
        "images": images,
    }
