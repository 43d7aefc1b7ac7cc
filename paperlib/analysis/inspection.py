"""Is there a backdoor in this model, is there poison in this training folder? What ``paperlib inspect`` computes.

On a model: NC (:mod:`paperlib.defenses.nc`) looks for a class that a small patch reaches from everywhere, and one
perturbation of at most 8 grey levels per class (:mod:`paperlib.analysis.reactivation`) shows which class the model is
led to most easily. On a training set: detectors. Those with a rule of their own (SCAn) decide; those that always flag
a share only rank.

A class is named by NC where its index is above 2, as in the paper, or where its patch has at most 1 % of the image's
pixels. The second rule is ours: with ten classes of very different sizes of patches the index of a true target is
often below 2. A patch that does not send 98 % of the images to its class names none, and none is named while most
patches cover half of the image: then the search has not come to its end.

Measured on the digits: small convolutional networks, white 3x3 square on 12 % of the images, 250 clean images, six
seeds at 16x16 and six at 32x32 pixels. The target's patch had at most 1.6 pixels, the smallest of a clean twin 10.8
(16x16) and 26.4 (32x32). The index alone named 6 of the 12 targets, the 1 % all 12. The index also named another
class in 1 of 12 backdoored models and one in 1 of 12 clean twins. SCAn named the target alone in 12 of 12 poisoned
training sets, and a class in 1 of 12 clean ones. Fewer clean images give more false alarms: with 160, one of three
clean twins was accused by both.
"""

import statistics
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from paperlib.analysis.reactivation import success, universal_perturbation
from paperlib.data.images import ImageData
from paperlib.defenses.nc import NC, anomaly_indices, invert_all
from paperlib.detection import DETECTORS, MODEL_AND_CLEAN, Detection, detect
from paperlib.errors import PaperlibError
from paperlib.registry import check_numbers, check_seed
from paperlib.training import predict

DECIDES = ("scan",)
"""Detectors whose flags count as a finding."""
SMALL = 0.01
"""Share of the image's pixels up to which NC's patch names its class, whatever the index is."""


@dataclass(frozen=True, eq=False)
class Finding:
    """What an inspection found."""

    accuracy: float
    """Of the model on the clean images, in percent."""
    classes: tuple[str, ...]
    index: list[float] = field(default_factory=list)
    """NC's anomaly index per class; above 2 is an outlier."""
    norm: list[float] = field(default_factory=list)
    """L1 norm of NC's mask per class, in pixels."""
    patch: Tensor | None = None
    """(classes, C, H, W) in [0, 1]: NC's patches on grey ground."""
    led: list[tuple[float, float]] = field(default_factory=list)
    """Per class: percent of other classes' images taken for it, without and with the perturbation."""
    detections: dict[str, Detection] = field(default_factory=dict)
    unsent: tuple[int, ...] = ()
    """Classes whose patch does not send them 98 % of the images."""

    @property
    def share(self) -> list[float]:
        """Per class: NC's mask as a share of the image."""
        pixels = 1 if self.patch is None else self.patch.shape[-2] * self.patch.shape[-1]
        return [norm / pixels for norm in self.norm]

    @property
    def settled(self) -> bool:
        """Whether NC's search made the masks small; before, its indices say nothing."""
        return not self.norm or statistics.median(self.share) <= 0.5

    @property
    def reached(self) -> list[int]:
        """Classes that NC takes for targets."""
        named = [k for k, index in enumerate(self.index) if index > 2 or self.share[k] <= SMALL]
        return [k for k in named if self.settled and k not in self.unsent]

    @property
    def poisoned(self) -> list[int]:
        """Classes in which a deciding detector found poison."""
        found = {
            k
            for name in DECIDES
            if name in self.detections
            for k in self.detections[name].notes.get("flagged_classes", [])
        }
        return sorted(found)

    @property
    def suspicious(self) -> bool:
        """Whether anything was found."""
        return bool(self.reached or self.poisoned)


def inspect(
    model: nn.Module,
    clean: ImageData,
    suspects: ImageData | None = None,
    *,
    detectors: tuple[str, ...] = ("scan", "spectre", "strip"),
    epochs: int = 40,
    steps: int = 40,
    seed: int = 0,
    progress: Any = None,
) -> Finding:
    """Look at ``model`` with ``clean`` images of every class and, where they are given, at the training images
    ``suspects``.

    Parameters
    ----------
    detectors
        For the training images; those that need a model alone, or a model and clean images.
    epochs, steps
        Of NC's search per class, in batches of 32, and of the perturbation. NC's own batches of 256 make one or two
        steps per epoch of a few hundred images, and after 20 epochs the masks still cover most of the image.

    Raises
    ------
    PaperlibError
        An unknown detector, or a model and images that do not fit each other.
    """
    from paperlib.data.inputs import image_data
    from paperlib.models.foreign import adopt, check_learned

    if not isinstance(detectors, tuple | list):
        raise PaperlibError(f"detectors={detectors!r} must be names in a tuple, for example ('scan', 'strip').")
    for name in detectors:
        DETECTORS[name]
    for option, value in (("epochs", epochs), ("steps", steps)):
        check_numbers(option, value, 20)
        if value < 1:
            raise PaperlibError(f"{option}={value!r} must be at least 1.")
    check_seed(seed)
    given = model
    model, adopted = adopt(given, image_data(clean, "clean"), "clean")
    assert adopted is not None
    clean = adopted
    check_learned(model, clean, "clean")
    found = {}
    for name in detectors if suspects is not None else ():
        more: dict[str, Any] = {"clean": clean} if DETECTORS[name].access == MODEL_AND_CLEAN else {}
        found[name] = detect(suspects, method=name, model=given, seed=seed, progress=progress, **more)
    k = clean.n_classes
    search = NC(inversion_epochs=epochs, batch_size=32)
    inverted = invert_all(model, clean, range(k), search, seed=seed, progress=progress)
    norms = inverted.norm.tolist()
    patch = inverted.mask * inverted.pattern + (1 - inverted.mask) * 0.5
    led = []
    for target in range(k):
        others = clean.x[clean.y != target]
        delta = universal_perturbation(model, others, target, steps=steps, seed=seed)
        led.append((success(model, others, 0 * delta, target), success(model, others, delta, target)))
    accuracy = 100 * (predict(model, clean.x) == clean.y).double().mean().item()
    index, unsent = anomaly_indices(norms), tuple((~inverted.reached).nonzero().flatten().tolist())
    return Finding(round(accuracy, 2), clean.class_names, index, norms, patch, led, found, unsent)
