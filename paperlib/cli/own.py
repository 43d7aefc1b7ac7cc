"""``paperlib inspect`` and ``paperlib purify``: a person's own model file and folder of images.

Exit codes: 0 done, and nothing suspicious; 1 something is wrong with what was given; 2 wrong options; 3 ``inspect``
found something suspicious; 130 stopped.
"""

import json
from pathlib import Path
from typing import Annotated

import typer

from paperlib import files
from paperlib.errors import PaperlibError

SUSPICIOUS = 3
ModelArgument = Annotated[
    Path, typer.Argument(metavar="MODEL", help="Weights (.safetensors), or a .pt file of BackdoorBench.")
]
ImagesOption = Annotated[
    Path, typer.Option("--images", help="Clean images that you trust: a folder with a sub-folder per class.")
]
ArchitectureOption = Annotated[
    str, typer.Option("--architecture", help="Name of a torchvision model, or module:function; ours when left out.")
]
NormaliseOption = Annotated[
    str, typer.Option("--normalise", help="What the model was trained on: imagenet, cifar10, half. [default: 0 to 1]")
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Seed of every random draw.")]


def purify(
    model: ModelArgument,
    images: ImagesOption,
    out: Annotated[Path, typer.Option("--out", help="Where the purified weights go (.safetensors).")],
    method: Annotated[
        str, typer.Option("--method", help="A defense that works on clean images, or on nothing.")
    ] = "ft_sam",
    params: Annotated[
        str, typer.Option("--params", help="Its hyper-parameters as JSON, e.g. '{\"epochs\": 20}'.")
    ] = "{}",
    architecture: ArchitectureOption = "",
    normalise: NormaliseOption = "",
    seed: SeedOption = 0,
) -> None:
    """Purify a model file with clean images; a fifth of them judges, the others are used."""
    from safetensors.torch import save

    from paperlib import defenses
    from paperlib.data import images as data_sets
    from paperlib.interop.model_file import load_model
    from paperlib.models.foreign import Wrapped
    from paperlib.training import predict

    entry = defenses.DEFENSES[method]
    if entry.access == defenses.POISONED:
        fine = ", ".join(name for name, one in defenses.DEFENSES.items() if one.access != defenses.POISONED)
        raise PaperlibError(
            f"method={method!r} works on the poisoned training set, not on clean images; use one of: {fine}."
        )
    if out.suffix != ".safetensors":
        raise PaperlibError(f"--out {out} must end in .safetensors.")
    files.check_folder(out.parent)
    try:
        given = json.loads(params)
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise PaperlibError(f"--params {params!r} must be a JSON object, for example '{{\"epochs\": 20}}'.")
    train, test = (data_sets.load(f"folder:{images}", split) for split in ("train", "test"))
    before = load_model(model, train.n_classes, architecture, normalise)
    after, notes = defenses.purify(before, method=method, clean=train, seed=seed, **given)
    for name, one in (("before", before), ("after", after)):
        typer.echo(
            f"accuracy {name}: {100 * (predict(one, test.x) == test.y).float().mean().item():.1f} % of {len(test)}"
            " images"
        )
    while isinstance(after, Wrapped):
        after = after.inner
    files.write(out, save({name: tensor.detach().cpu().contiguous() for name, tensor in after.state_dict().items()}))
    typer.echo(f"notes: {json.dumps(notes)}\npurified weights: {out}\nnext: paperlib inspect {out} --images {images}")


def inspect(
    model: ModelArgument,
    images: ImagesOption,
    training: Annotated[
        Path | None, typer.Option("--training", help="The suspicious training images, a folder like --images.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="The report.")] = Path("inspection.html"),
    detectors: Annotated[
        str, typer.Option("--detectors", help="For --training, separated by commas.")
    ] = "scan,spectre,strip",
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Of the search for a patch per class.")] = 40,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Of the search for 8 grey levels per class.")] = 40,
    architecture: ArchitectureOption = "",
    normalise: NormaliseOption = "",
    seed: SeedOption = 0,
) -> None:
    """Look for a backdoor in a model file and for poison in its training images; writes a one-page report.

    Exit code 0: nothing suspicious; 3: something suspicious; 1: something is wrong with what was given.
    """
    from paperlib.analysis.inspection import inspect as look
    from paperlib.data import images as data_sets
    from paperlib.data.images import ImageData
    from paperlib.interop.model_file import load_model
    from paperlib.report.inspection import write_inspection

    def whole(folder: Path) -> ImageData:
        import torch

        parts = [data_sets.load(f"folder:{folder}", split) for split in ("train", "test")]
        return ImageData(
            torch.cat([p.x for p in parts]), torch.cat([p.y for p in parts]), parts[0].class_names, parts[0].mean,
            parts[0].std,
            False, 0, parts[0].name,
        )  # fmt: skip

    files.check_folder(out.parent)
    clean, suspects = whole(images), None if training is None else whole(training)
    if suspects is not None and suspects.class_names != clean.class_names:
        raise PaperlibError(
            f"--training has the classes {suspects.class_names}, --images {clean.class_names}; they must be the same."
        )
    loaded = load_model(model, clean.n_classes, architecture, normalise)
    found = look(
        loaded,
        clean,
        suspects,
        detectors=tuple(filter(None, detectors.split(","))),
        epochs=epochs,
        steps=steps,
        seed=seed,
    )
    about = {"model": str(model), "clean images": f"{images} ({len(clean)})"}
    if suspects is not None:
        about["training images"] = f"{training} ({len(suspects)})"
    write_inspection(out, found, suspects, about)
    if not found.settled:
        typer.echo(
            f"the search for patches has not come to its end and names no class; give more --epochs than {epochs}"
        )
    typer.echo(f"{'suspicious' if found.suspicious else 'nothing suspicious'}; report: {out}")
    if found.suspicious:
        raise typer.Exit(SUSPICIOUS)
