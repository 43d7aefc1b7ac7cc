"""Which method works on which model: tries every pair on tiny images and random weights, and writes docs/applicable.md.

python benchmarks/applicable.py            the whole table, about ten minutes on one core
python benchmarks/applicable.py sau npd    some methods, printed
"""

import sys
import warnings
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import nn

from paperlib import analysis, defenses, detection
from paperlib.attacks.badnets import BadNets
from paperlib.attacks.scene import own_scene
from paperlib.data.images import ImageData
from paperlib.data.inputs import image_data
from paperlib.errors import NotApplicable, PaperlibError
from paperlib.training import Recipe, fit

OUT = Path(__file__).resolve().parent.parent / "docs" / "applicable.md"


def pictures(n: int, classes: int = 4, channels: int = 3, side: int = 32, seed: int = 0, noise: int = 200) -> ImageData:
    """Random images of grey levels below ``noise``; class k is brighter in its own rows, up to white."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(0, noise, (n, channels, side, side), generator=generator)
    y = torch.arange(n) % classes
    rows = torch.arange(side) * classes // side
    return image_data(((x + (255 - noise) * (rows.view(1, 1, -1, 1) == y.view(-1, 1, 1, 1))).to(torch.uint8), y))


def cnn(channels: int = 3, classes: int = 4, side: int = 32, norm: bool = True) -> nn.Module:
    """Two convolutions, with or without batch norm."""
    layers: list[nn.Module] = []
    for before, after in ((channels, 8), (8, 8)):
        layers += [
            nn.Conv2d(before, after, 3, padding=1),
            *([nn.BatchNorm2d(after)] if norm else []),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(8 * (side // 4) ** 2, 16), nn.ReLU(), nn.Linear(16, classes))


def vgg() -> nn.Module:
    """VGG16-BN, an eighth as wide."""
    layers = [size if isinstance(size, str) else size // 8 for size in torchvision.models.vgg.cfgs["D"]]
    net = torchvision.models.VGG(torchvision.models.vgg.make_layers(layers, batch_norm=True), 4)
    net.avgpool = nn.AdaptiveAvgPool2d(1)
    net.classifier = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(), nn.Linear(64, 4))
    return net


def vit() -> nn.Module:
    """ViT-B/16 on images of 32 pixels, a twelfth as wide, two of its twelve blocks."""
    return torchvision.models.VisionTransformer(32, 16, 2, 4, 64, 256, num_classes=4)


def convnext() -> nn.Module:
    """ConvNeXt-tiny, a quarter as wide, with one or two blocks a stage."""
    block = torchvision.models.convnext.CNBlockConfig
    return torchvision.models.ConvNeXt(
        [block(24, 48, 1), block(48, 96, 1), block(96, 192, 2), block(192, None, 1)], num_classes=4
    )


MODELS: dict[str, tuple[Callable[[], nn.Module], dict[str, int]]] = {
    "CNN without batch norm": (lambda: cnn(norm=False), {}),
    "28x28 grey": (lambda: cnn(1, 4, 28), {"channels": 1, "side": 28}),
    "3 classes": (lambda: cnn(classes=3), {"classes": 3}),
    "resnet18": (lambda: torchvision.models.resnet18(num_classes=4), {}),
    "vgg16_bn": (vgg, {}),
    "mobilenet_v3_small": (lambda: torchvision.models.mobilenet_v3_small(num_classes=4), {}),
    "vit_b_16": (vit, {}),
    "convnext_tiny": (convnext, {}),
}
"""Column -> the model with random weights, and what its images are."""

SHORT = {
    "batch_size": 12, "steps": 1, "iterations": 1, "rounds": 1, "warm_up": 1, "overlays": 2, "pasted": 2, "folds": 2,
    "k": 3,
    "inversion_epochs": 1, "unlearn_epochs": 1, "recover_epochs": 1, "teacher_epochs": 1, "pretrain_epochs": 1,
    "feature_epochs": 1,
    "simclr_epochs": 1, "linear_epochs": 1, "simclr_batch": 12, "linear_batch": 12, "images_at_once": 24,
    "early_stop": 1, "epochs": 1,
    "window": 3, "per_class": 3, "components": 4,
}  # fmt: skip
SETTINGS: dict[str, dict[str, Any]] = {
    "defense abl": {"epochs": 3, "isolation": 0.2},
    "defense d_br": {"poisoned_share": 0.1},
    "defense rnp": {"unlearn_accuracy": -1.0},
    "defense npd": {"bn_mode": "eval"},
    "detector ct": {
        "keep": (0.5,), "pretrain_epochs": (1,), "weights": (2.0, 2.0), "lr": (1e-3, 1e-3), "iterations": (2, 2),
        "batch_size": 8,
    },
    "detector teco": {"kinds": ("brightness", "contrast"), "severities": (1, 2)},
    "detector simifeat_r": {"steps": 3},
    "detector bhn": {"epochs": 2},
    "tool hessian": {"n": 4, "steps": 2},
    "tool loss_landscape": {"n": 4, "grid": 3},
    "tool reactivation": {"n": 8, "n_train": 8, "steps": 2, "batch_size": 4},
    "tool adversarial_risk": {"n": 8, "steps": 1},
    "tool sau_curve": {"n": 8, "n_clean": 24, "epochs": 1, "batch_size": 12},
    "tool shapley": {"backgrounds": 4, "steps": 2, "true_class": 1},
    "tool feature_visualisation": {"n": 12, "iterations": 2, "shown": 1},
    "tool activated_images": {"n": 12, "k": 2},
    "tool activation_distribution": {"n": 12, "k": 2},
    "tool neuron_activation": {"n": 24},
    "tool tsne": {"n": 12},
    "tool umap": {"n": 12},
    "tool gradcam": {"true_class": 1},
    "tool feature_maps": {"true_class": 1},
    "tool perturbations": {"n": 4, "true_class": 1},
    "tool triggers": {"n": 4},
    "tool dynamics": {"n": 4, "n_gradient": 2, "epochs": 1},
    "tool sam_geometry": {"n_clean": 12, "batch_size": 8},
    "tool neurons": {"n": 8},
    "tool shared_features": {"n": 8, "steps": 1},
    "tool trigger_generalisation": {"n": 8},
    "tool frequency_saliency": {"true_class": 1},
}  # fmt: skip


def methods() -> dict[str, str]:
    """Row -> kind: the defenses, the detectors and the tools that look at a model."""
    rows = {f"defense {name}": "defense" for name in defenses.DEFENSES}
    rows |= {f"detector {name}": "detector" for name in detection.DETECTORS}
    return rows | {f"tool {name}": "tool" for name in analysis.TOOLS if name not in analysis.WITHOUT_MODEL}


def settings(row: str) -> dict[str, Any]:
    """Hyper-parameters with which a method takes a second."""
    kind, name = row.split()
    if kind == "tool":
        return SETTINGS.get(row, {})
    config = (defenses.DEFENSES if kind == "defense" else detection.DETECTORS)[name].config_class()
    here = {field.name: field.default for field in fields(config)}
    return {n: v for n, v in SHORT.items() if n in here and isinstance(here[n], int)} | SETTINGS.get(row, {})


def attempt(row: str, column: str) -> tuple[bool, str]:
    """Whether the method runs on the model; if not, the sentence with which it refuses.

    Any exception but a sentence is passed on: such a pair is a fault.
    """
    kind, name = row.split()
    make, look = MODELS[column]
    torch.manual_seed(0)
    model, data, more = make().eval(), pictures(24, **look), pictures(24, seed=1, **look)
    if name == "agpd":  # must be right on an image of every class
        more = pictures(24, seed=1, noise=20, **look)
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.momentum = 0.3  # MobileNet's 0.01 needs hundreds of steps
        fit(model, more, Recipe(60, 24, 0.05, "one_cycle"), seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            if kind == "defense":
                given = {"clean": more} if defenses.DEFENSES[name].access == defenses.CLEAN else {"poisoned": data}
                defenses.purify(model, method=name, chance_ok=True, **given, **settings(row))
            elif kind == "detector":
                detection.detect(data, method=name, model=model, clean=more, chance_ok=True, **settings(row))
            else:
                scene = own_scene(data, more, BadNets(), ratio=0.25)
                analysis.analyse([model, model], scene, tool=name, chance_ok=True, **settings(row))
        except PaperlibError as error:
            return False, f"{'NA: ' if isinstance(error, NotApplicable) else ''}{error}"
    return True, ""


def claimed(row: str, column: str) -> bool:
    """What ``applicable()`` of the method's room says."""
    kind, name = row.split()
    room: Any = {"defense": defenses, "detector": detection, "tool": analysis}[kind]
    return room.applicable(name, MODELS[column][0]())


def main(wanted: list[str]) -> None:
    """Try all pairs and write the page, or print some rows."""
    torch.set_num_threads(1)
    rows = [row for row in methods() if not wanted or row.split()[1] in wanted]
    found: dict[tuple[str, str], str] = {}
    for row in rows:
        for column in MODELS:
            try:
                runs, says = attempt(row, column)
            except Exception as error:  # what the page must not hold
                runs, says = (
                    False,
                    f"X {type(error).__name__}: {str(error).splitlines()[0][:150] if str(error) else ''}",
                )
            found[row, column] = "" if runs else says
            if runs != claimed(row, column):
                found[row, column] = f"X applicable() says {not runs}"
            print(row, column, "runs" if runs else says, sep=" | ", flush=True)
    if not wanted:
        OUT.write_text(page(rows, found), encoding="utf-8")


def page(rows: list[str], found: dict[tuple[str, str], str]) -> str:
    """The table and, below it, the sentences of the pairs that do not go together."""
    reasons = list(dict.fromkeys(says for says in found.values() if says))
    lines = [
        "# Which method works on which model",
        "",
        (
            "Generated by `benchmarks/applicable.py`, which ran every pair with random weights, 24 images and the"
            " fewest steps. `+` ran; a"
        ),
        (
            "number is the sentence, below, with which the method refuses before any work. VGG16-BN, ViT-B/16 and"
            " ConvNeXt are narrower here,"
        ),
        (
            "the last two also less deep; images have 32 pixels. `applicable(name, model)` of `paperlib.defenses`,"
            " `paperlib.detection` and"
        ),
        "`paperlib.analysis` says the same.",
        "",
        f"| method | {' | '.join(MODELS)} |",
        f"|---|{'---|' * len(MODELS)}",
    ]
    for row in rows:
        cells = [str(reasons.index(found[row, column]) + 1) if found[row, column] else "+" for column in MODELS]
        lines.append(f"| {row} | {' | '.join(cells)} |")
    lines += ["", *(f"{i}. {says}" for i, says in enumerate(reasons, 1)), ""]
    return "\n".join(lines)


if __name__ == "__main__":
    main(sys.argv[1:])
