"""Detectors of poisoned or mislabelled training samples: one detector, one file.

A detector is a function ``method(data, model, clean, config, *, seed, progress) -> Detection``. It sees the suspicious
training set ``data`` (images and the labels they came with), and what ``DETECTORS[name].access`` says besides: the
classifier that was trained on it, a small clean subset. It never sees which samples are poisoned.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from paperlib.errors import PaperlibError
from paperlib.registry import Method, Registry, check_seed

if TYPE_CHECKING:
    from torch import Tensor, nn

MODEL, MODEL_AND_CLEAN, CLEAN, NOTHING = "model", "model and clean subset", "clean subset", "nothing"

DETECTORS = Registry(
    "detector",
    __name__,
    {
        "strip": Method(".strip", "strip", "STRIP", "STRIP", access=MODEL_AND_CLEAN),
        "ss": Method(".ss", "ss", "SS", "SS", version=2, access=MODEL),
        "scan": Method(".scan", "scan", "SCAn", "SCAn", access=MODEL_AND_CLEAN),
        "ct": Method(".ct", "ct", "CT", "CT", access=MODEL_AND_CLEAN),
        "d_br": Method(".d_br", "d_br", "D-BR", "DBR", access=MODEL, needs="fresh weights"),
        "spectre": Method(".spectre", "spectre", "SPECTRE", "SPECTRE", access=MODEL),
        "ac": Method(".ac", "ac", "AC", "AC", access=MODEL),
        "abl": Method(".abl", "abl", "ABL", "ABL", access=MODEL, needs="fresh weights"),
        "beatrix": Method(".beatrix", "beatrix", "Beatrix", "Beatrix", access=MODEL_AND_CLEAN),
        "sentinet": Method(".sentinet", "sentinet", "SentiNet", "SentiNet", access=MODEL_AND_CLEAN, needs="positions"),
        "teco": Method(".teco", "teco", "TeCo", "TeCo", access=MODEL_AND_CLEAN),
        "agpd": Method(".agpd", "agpd", "AGPD", "AGPD", access=MODEL_AND_CLEAN, needs="two convolutions"),
        "cd": Method(".cd", "cd", "CD", "CD", access=MODEL_AND_CLEAN),
        "frequency": Method(".frequency", "frequency", "Frequency", "Frequency", version=3, access=CLEAN),
        "bhn": Method(".bhn", "bhn", "BHN", "BHN", access=MODEL_AND_CLEAN, needs="fresh weights"),
        "cores": Method(".cores", "cores", "CORES", "CORES", access=MODEL, needs="fresh weights"),
        "cl": Method(".cl", "cl", "CL", "CL", access=MODEL, needs="fresh weights"),
        "simifeat_v": Method(".simifeat", "simifeat_v", "SimiFeat-V", "SimiFeatV", version=2, access=MODEL),
        "simifeat_r": Method(".simifeat", "simifeat_r", "SimiFeat-R", "SimiFeatR", version=2, access=MODEL),
    },
)
NOISE = ("bhn", "cores", "cl", "simifeat_v", "simifeat_r")
"""Those that look for wrong labels, not for triggers: the comparison of VDC (arXiv 2309.16211) runs each on its own
kind of dirt."""


@dataclass(frozen=True, eq=False)
class Detection:
    """What a detector says about a training set of N samples."""

    scores: "Tensor"
    """(N,) float32: the higher, the more suspicious."""
    flagged: "Tensor"
    """(N,) bool: what the detector's threshold rule takes for dirty."""
    notes: dict[str, Any] = field(default_factory=dict)
    """Small JSON values: threshold, flagged classes, ..."""


def applicable(name: str, model: "nn.Module") -> bool:
    """Whether the detector ``name`` can work on ``model``.

    Raises
    ------
    PaperlibError
        Unknown detector, or no torch model.
    """
    from paperlib.models.needs import has

    return has(model, DETECTORS[name].needs)


def detect(
    data: Any,
    *,
    method: str,
    model: "nn.Module | None" = None,
    clean: Any = None,
    seed: int = 0,
    progress: Any = None,
    chance_ok: bool = False,
    **params: Any,
) -> Detection:
    """Score every sample of ``data`` with the detector ``method``.

    Parameters
    ----------
    data
        The suspicious training set, in any form of :func:`paperlib.data.inputs.image_data`.
    model, clean
        The classifier that was trained on it, and a few clean images, where ``DETECTORS[method].access`` names them.
    seed, progress
        Seed of every random draw; ``progress(fraction, text)`` is called now and then.
    chance_ok
        Go on although the model is right no more often than by guessing.
    **params
        Fields of the method's hyper-parameter dataclass.

    Raises
    ------
    PaperlibError
        Unknown method or parameter; no image at all; the model or the clean subset that the method needs is not given,
        or they do not fit each other.
    """
    from paperlib.data.inputs import check_from_zero, check_same_size, check_several, image_data
    from paperlib.models.default_layer import with_layer
    from paperlib.models.foreign import adopt, check_learned

    config, found = DETECTORS.settings(method, **params), DETECTORS[method]
    check_seed(seed)
    images = image_data(data, "data")
    known = None if clean is None else image_data(clean, "clean")
    if found.access in (MODEL_AND_CLEAN, CLEAN):
        if known is None:
            raise PaperlibError(f"method={method!r} compares with clean images; give a few of every class as clean=.")
        check_same_size(images, known)
    else:
        known = None  # checked, and not for this method
    if found.access == CLEAN and known is not None:
        for one, argument in ((images, "data"), (known, "clean")):
            check_from_zero(one, argument)
        check_several(known, "clean")
    if found.access in (MODEL, MODEL_AND_CLEAN) and model is None:
        raise PaperlibError(f"method={method!r} looks inside a classifier; give the one trained on data as model=.")
    if model is not None:
        given, (model, adopted) = model, adopt(model, images, "data")
        images = adopted or images
        if known is not None:
            known = adopt(given, known, "clean")[1]
        if not chance_ok and found.access != CLEAN:
            check_learned(model, known or images, "clean" if known else "data")
        config = with_layer(config, model, images.x)
    return found.load()(images, model, known, config, seed=seed, progress=progress)


def rates(found: Detection, dirty: "Tensor") -> dict[str, Any]:
    """TPR, FPR, F1 and AUROC of ``found`` in percent, and the number flagged, against the truth ``dirty`` (N,) bool."""
    from sklearn.metrics import roc_auc_score

    from paperlib.data.inputs import as_tensor
    from paperlib.metrics import detection_rates

    truth = as_tensor(dirty, "dirty").cpu().numpy()
    counted = detection_rates(found.flagged.cpu().numpy(), truth)
    values = {"tpr": counted.tpr, "fpr": counted.fpr, "f1": counted.f1}
    values["auroc"] = float(roc_auc_score(truth, found.scores.cpu().numpy()))
    return {**{name: round(100 * value, 3) for name, value in values.items()}, "n_flagged": int(found.flagged.sum())}
