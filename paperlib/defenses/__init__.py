"""Backdoor defenses: one defense, one file.

A defense is a function ``method(model, data, config, *, seed, progress) -> (model, notes)``: it takes the backdoored
model and the data it may see, and returns the purified model and what it noted on the way (small JSON values); the
model it was given stays as it was. ``DEFENSES[name].access`` says what ``data`` is. No method sees test data; the two
whose originals choose by test data have ``selection="paper"`` for that, which gets ``judge=`` besides.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from paperlib.errors import PaperlibError, choose
from paperlib.registry import Method, Registry, check_seed

if TYPE_CHECKING:
    from torch import Tensor, nn

    from paperlib.data.images import ImageData

    Images = ImageData | tuple[Tensor, Tensor] | Any

BATCH_NORM = "batch norm"
CLEAN, POISONED, NOTHING = "clean subset", "poisoned training set", "nothing"

PARTIAL = "images that whole batches leave over are used"
"""What the second versions of those who fine-tune on the clean subset changed."""

DEFENSES = Registry(
    "defense",
    __name__,
    {
        "ft": Method(".ft", "ft", "FT", "FT", version=2, changed=PARTIAL, access=CLEAN, sizes="defense"),
        "ft_sam": Method(
            ".ft_sam", "ft_sam", "FT-SAM", "FTSAM", version=2, changed=PARTIAL, access=CLEAN, sizes="defense"
        ),
        "sau": Method(".sau", "sau", "SAU", "SAU", access=CLEAN),
        "npd": Method(
            ".npd",
            "npd",
            "NPD",
            "NPD",
            version=2,
            changed="the inner problem takes one step before it looks whether to stop",
            access=CLEAN,
            adapt="insert",
            needs="convolution",
        ),
        "i_bau": Method(
            ".i_bau",
            "i_bau",
            "i-BAU",
            "IBAU",
            version=2,
            changed="the map takes true labels and the first batch",
            access=CLEAN,
        ),
        "nad": Method(
            ".nad",
            "nad",
            "NAD",
            "NAD",
            version=2,
            changed="the student trains 10 epochs, and images that whole batches leave over are used",
            access=CLEAN,
            sizes="batch",
        ),
        "mcr": Method(".mcr", "mcr", "MCR", "MCR", version=2, changed=PARTIAL, access=CLEAN, sizes="defense"),
        "fp": Method(
            ".fp", "fp", "FP", "FP", version=2, changed=PARTIAL, access=CLEAN, sizes="defense", needs="convolution"
        ),
        "nc": Method(".nc", "nc", "NC", "NC", version=2, changed=PARTIAL, access=CLEAN, sizes="defense"),
        "anp": Method(
            ".anp",
            "anp",
            "ANP",
            "ANP",
            version=2,
            changed="the masks learn at the benchmark's rate",
            access=CLEAN,
            needs=BATCH_NORM,
        ),
        "ep": Method(".ep", "ep", "EP", "EP", access=POISONED, needs=BATCH_NORM),
        "clp": Method(".clp", "clp", "CLP", "CLP", access=NOTHING, needs=BATCH_NORM),
        "bnp": Method(".bnp", "bnp", "BNP", "BNP", access=CLEAN, needs=BATCH_NORM),
        "rnp": Method(".rnp", "rnp", "RNP", "RNP", access=CLEAN, needs=BATCH_NORM),
        "ac": Method(".filtering", "ac", "AC", "AC", access=POISONED, sizes="training", needs="fresh weights"),
        "ss": Method(".filtering", "ss", "SS", "SS", access=POISONED, sizes="training", needs="fresh weights"),
        "abl": Method(".abl", "abl", "ABL", "ABL", access=POISONED, sizes="training", needs="fresh weights"),
        "dbd": Method(".dbd", "dbd", "DBD", "DBD", access=POISONED, needs="fresh weights"),
        "d_br": Method(".d_br", "d_br", "D-BR", "DBR", access=POISONED, needs="fresh weights"),
    },
)

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    # a column of the papers' tables -> the defense and the hyper-parameters that make it
    "sau_spatial": ("sau", {"norm": "spatial"}),
    "sau_ensemble": ("sau", {"norm": "ensemble"}),
    "sau_vanilla_inner": ("sau", {"inner": "vanilla"}),  # C+B of the ablation
    "sau_vanilla_outer": ("sau", {"outer": "vanilla"}),  # A+D
    "vanilla_at": ("sau", {"inner": "vanilla", "outer": "vanilla"}),  # C+D
    # these two need target=, the true one
    "npd_tp": ("npd", {"perturbation": "tp", "lambda_asr": 0.1, "lambda_bce1": 0.1, "lambda_bce2": 0.1}),
    "npd_tu": ("npd", {"perturbation": "tu", "lambda_asr": 0.1, "lambda_bce1": 0.1, "lambda_bce2": 0.1}),
    "npd_up": ("npd", {"perturbation": "up"}),
    "npd_uu": ("npd", {"perturbation": "uu"}),
}


def applicable(name: str, model: "str | nn.Module") -> bool:
    """Whether the defense ``name`` can work on ``model``, an architecture of ours by name or any torch model; a grid
    shows NA otherwise.

    Raises
    ------
    PaperlibError
        Unknown defense or model.
    """
    from paperlib.models import MODELS, WITHOUT_BATCH_NORM

    if not isinstance(model, str):
        from paperlib.models.needs import has

        return has(model, DEFENSES[name].needs)
    choose("model", model, MODELS)
    return DEFENSES[name].needs != BATCH_NORM or model not in WITHOUT_BATCH_NORM


def check_classes(clean: "ImageData") -> None:
    """Say which class has no image in the clean subset.

    Raises
    ------
    PaperlibError
        Fewer images than classes, or a class without image.
    """
    import torch

    classes = clean.n_classes
    present = torch.bincount(clean.y, minlength=classes)
    if len(clean) < classes or (present == 0).any():
        absent = ", ".join(clean.class_names[i] for i in (present == 0).nonzero().flatten().tolist())
        raise PaperlibError(f"clean holds {len(clean)} images and none of: {absent}; give at least one of every class.")


def purify(
    model: "nn.Module",
    *,
    method: str,
    clean: "Images | None" = None,
    poisoned: "Images | None" = None,
    seed: int = 0,
    progress: Any = None,
    judge: "Callable[[nn.Module], dict[str, float]] | None" = None,
    chance_ok: bool = False,
    **params: Any,
) -> "tuple[nn.Module, dict[str, Any]]":
    """As :func:`defend`, with what the method noted on its way: small JSON values, e.g. the classes that NC flags.

    ``judge`` gives C-Acc and ASR, in percent, of a model on **test** data. It is handed on only where
    ``selection="paper"`` asks for the original's choice by test data.

    Raises
    ------
    PaperlibError
        As :func:`defend`; also ``selection="paper"`` without ``judge``.
    """
    from paperlib.data.inputs import image_data
    from paperlib.models.default_layer import with_layer
    from paperlib.models.foreign import adopt, check_learned, check_trainable, given_back

    config, entry = DEFENSES.settings(method, **params), DEFENSES[method]
    check_seed(seed)
    argument = "clean" if entry.access == CLEAN else "poisoned"
    given = {CLEAN: clean, POISONED: poisoned, NOTHING: None}[entry.access]
    if given is None and entry.access != NOTHING:
        raise PaperlibError(f"method={method!r} works on the {entry.access}; give it as {argument}=.")
    inner, data = adopt(model, None if given is None else image_data(given, argument), argument)
    check_trainable(inner)
    if data is not None and entry.access == CLEAN:
        check_classes(data)
    if data is not None and not chance_ok:
        check_learned(inner, data, argument)
    if data is not None:
        config = with_layer(config, inner, data.x)
    more = {}
    if getattr(config, "selection", "") == "paper":
        if judge is None:
            raise PaperlibError(
                "selection='paper' chooses by test data, as the original does; it needs judge=. Use"
                " selection='validation'."
            )
        more["judge"] = judge
    made, notes = entry.load()(inner, data, config, seed=seed, progress=progress, **more)
    return given_back(made, model), notes


def defend(model: "nn.Module", *, method: str, **given: Any) -> "nn.Module":
    """Purify a copy of ``model`` with the defense ``method``.

    Parameters
    ----------
    model
        Takes images (B, C, H, W) in [0, 1], returns logits (B, classes), or a tuple, dictionary or object with them.
        One that takes normalised images: ``paperlib.models.normalised(model, mean, std)``.
    clean, poisoned
        What the defender holds: a clean subset, or the poisoned training set; ``DEFENSES[method].access`` says which
        one the method works on. An ``ImageData``, a pair (images, labels) of tensors, arrays or lists, a ``Dataset`` or
        a ``DataLoader``: :func:`paperlib.data.inputs.image_data`.
    seed, progress
        Seed of every random draw; ``progress(fraction, text)`` is called now and then.
    chance_ok
        Go on although the model is right no more often than by guessing.
    **params
        Fields of the method's hyper-parameter dataclass.

    Raises
    ------
    PaperlibError
        Unknown method or parameter, data that the method needs and did not get, or a model and data that do not fit
        each other: :mod:`paperlib.data.inputs`, :mod:`paperlib.models.foreign`.
    """
    return purify(model, method=method, **given)[0]
