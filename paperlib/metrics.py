r"""Metrics of backdoor attacks, defenses and detectors: one equation each, in numpy.

Every function takes arrays of class indices (``tensor.cpu().numpy()`` of a torch tensor is one) or numbers, and
returns plain floats or numpy arrays. Accuracies of predictions are fractions in [0, 1]; functions that combine
accuracies ask for their ``unit``, because papers print percentages and code computes fractions.

Notation: :math:`f` the classifier, :math:`(x, y)` a test image with its label, :math:`\tilde x` the image with the
trigger, :math:`t(y)` the attacker's target: a constant class (all-to-one) or :math:`(y + 1) \bmod C` (all-to-all).
:math:`D^- = \{(x, y): y \ne t(y)\}` are the test images that do not already belong to their target.

Sources: C-Acc, ASR and R-Acc as in BackdoorBench (arXiv 2206.12654); DER from FT-SAM (arXiv 2304.11823), also used by
SAU (arXiv 2307.10562, eq. 14) and NPD (arXiv 2306.16697, eq. 7 of the main text); TPR and FPR as in VDC
(arXiv 2309.16211).
"""

from numbers import Integral
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from paperlib.errors import PaperlibError, choose

Unit = Literal["fraction", "percent"]

_WHOLE = {"fraction": 1.0, "percent": 100.0}


def _classes(argument: str, values: ArrayLike) -> NDArray[np.int64]:
    array = np.asarray(values)
    if array.ndim != 1 or array.size == 0 or not np.issubdtype(array.dtype, np.integer):
        raise PaperlibError(
            f"{argument} has shape {array.shape} and type {array.dtype}; "
            "it must be a non-empty 1-D array of integer class indices."
        )
    if array.min() < 0:
        raise PaperlibError(f"{argument} holds {array.min()}; class indices start at 0.")
    return array.astype(np.int64)


def _pair(pred: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    first, second = _classes("pred", pred), _classes("y", y)
    if len(first) != len(second):
        raise PaperlibError(f"pred has {len(first)} entries and y has {len(second)}; both need one per image.")
    return first, second


def target_labels(y: ArrayLike, target: int | None, n_classes: int | None = None) -> NDArray[np.int64]:
    r"""The class that the attacker wants for every image, :math:`t(y)`.

    Parameters
    ----------
    y : int array, shape (n,)
        True labels.
    target : int or None
        Target class of an all-to-one attack; None for all-to-all.
    n_classes : int, optional
        :math:`C`; needed for all-to-all only.

    Returns
    -------
    int array, shape (n,)
        ``target`` everywhere, or :math:`(y + 1) \bmod C`.

    Raises
    ------
    PaperlibError
        ``y`` is no array of class indices, ``target`` is negative or not below ``n_classes``, or ``n_classes`` is
        missing or not above every label.
    """
    labels = _classes("y", y)
    if n_classes is not None and labels.max() >= n_classes:
        raise PaperlibError(
            f"y holds class {labels.max()} but n_classes={n_classes}; labels go from 0 to n_classes - 1."
        )
    if target is None:
        if n_classes is None:
            raise PaperlibError("target=None means all-to-all, (y + 1) mod C; give n_classes too.")
        return (labels + 1) % n_classes
    if (
        not isinstance(target, Integral)
        or isinstance(target, bool)
        or target < 0
        or (n_classes is not None and target >= n_classes)
    ):
        raise PaperlibError(f"target={target} is no class; it must be a class index, or None for all-to-all.")
    return np.full_like(labels, target)


def clean_accuracy(pred: ArrayLike, y: ArrayLike) -> float:
    r"""C-Acc, the accuracy on clean test images: :math:`\frac1n \sum_i 1[f(x_i) = y_i]`.

    Parameters
    ----------
    pred, y : int array, shape (n,)
        Predicted and true classes of the clean test images.

    Returns
    -------
    float
        Fraction in [0, 1].

    Raises
    ------
    PaperlibError
        An argument is not a non-empty 1-D array of class indices, or the lengths differ.
    """
    predicted, labels = _pair(pred, y)
    return float(np.mean(predicted == labels))


def _attacked(
    pred: ArrayLike, y: ArrayLike, target: int | None, n_classes: int | None
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Predictions, labels and targets of the images in D-minus: the same set for ASR and R-Acc."""
    predicted, labels = _pair(pred, y)
    wanted = target_labels(labels, target, n_classes)
    keep = labels != wanted
    if not keep.any():
        raise PaperlibError(f"every image in y belongs to target={target}; ASR and R-Acc need images of other classes.")
    return predicted[keep], labels[keep], wanted[keep]


def attack_success_rate(pred: ArrayLike, y: ArrayLike, target: int | None, n_classes: int | None = None) -> float:
    r"""ASR: :math:`\frac{1}{|D^-|} \sum_{(x,y) \in D^-} 1[f(\tilde x) = t(y)]`.

    Images of the target class are left out: their prediction says nothing about the trigger. The backdoor risk of SAU
    (eq. 2) is the same number.

    Parameters
    ----------
    pred : int array, shape (n,)
        Predicted classes of the images **with** the trigger.
    y : int array, shape (n,)
        Their true classes.
    target : int or None
        Target class; None for all-to-all, where the target of class y is (y + 1) mod ``n_classes``.
    n_classes : int, optional
        Needed for all-to-all.

    Returns
    -------
    float
        Fraction in [0, 1].

    Raises
    ------
    PaperlibError
        Ill-formed arrays, no target class, or no image outside the target class.
    """
    predicted, _, wanted = _attacked(pred, y, target, n_classes)
    return float(np.mean(predicted == wanted))


def robust_accuracy(pred: ArrayLike, y: ArrayLike, target: int | None, n_classes: int | None = None) -> float:
    r"""R-Acc: :math:`\frac{1}{|D^-|} \sum_{(x,y) \in D^-} 1[f(\tilde x) = y]`, on the very images of the ASR.

    The two events exclude each other, so ASR + R-Acc <= 1.

    Parameters, return value and errors as in :func:`attack_success_rate`.
    """
    predicted, labels, _ = _attacked(pred, y, target, n_classes)
    return float(np.mean(predicted == labels))


def _rates(unit: str, **values: ArrayLike) -> tuple[float, list[NDArray[np.float64]]]:
    """The whole (1 or 100) and the values as fractions; broadcast together."""
    whole = _WHOLE[choose("unit", unit, _WHOLE)]
    arrays = []
    for argument, value in values.items():
        try:
            array = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError):
            raise PaperlibError(f"{argument}={value!r} must be numbers in [0, {whole:g}] for unit={unit!r}.") from None
        if array.size == 0 or not np.all((array >= 0) & (array <= whole)):  # NaN fails the comparison too
            raise PaperlibError(
                f"{argument}={value!r} must lie in [0, {whole:g}] for unit={unit!r} and must not be empty or NaN."
            )
        arrays.append(array / whole)
    try:
        arrays = [np.array(a) for a in np.broadcast_arrays(*arrays)]
    except ValueError:
        shapes = ", ".join(f"{name} {np.shape(value)}" for name, value in values.items())
        raise PaperlibError(f"the rates have shapes that do not fit together: {shapes}.") from None
    return whole, arrays


def _number(value: NDArray[np.float64]) -> float | NDArray[np.float64]:
    return float(value) if value.ndim == 0 else value


def der(
    acc_before: ArrayLike, asr_before: ArrayLike, acc_after: ArrayLike, asr_after: ArrayLike, *, unit: Unit
) -> float | NDArray[np.float64]:
    r"""Defense effectiveness rating, higher is better.

    .. math::
        \mathrm{DER} = \tfrac12
        [\max(0, \mathrm{ASR}_0 - \mathrm{ASR}) - \max(0, \mathrm{ACC}_0 - \mathrm{ACC}) + 1]

    with index 0 for the model before the defense and rates as fractions. It is 1/2 when nothing changes, and 1 when
    the ASR falls from 1 to 0 at no loss of accuracy. A rise of ASR or of ACC does not count.

    Source: FT-SAM (arXiv 2304.11823). BackdoorBench's code adds the loss of accuracy instead of subtracting it in one
    of its two versions; the formula above is the papers', and the printed numbers follow it.

    Parameters
    ----------
    acc_before, asr_before, acc_after, asr_after : float or array
        Rates before and after the defense, arrays of one shape or scalars.
    unit : {"fraction", "percent"}
        Unit of all four rates and of the result.

    Returns
    -------
    float or array
        In [0, 1] or [0, 100].

    Raises
    ------
    PaperlibError
        A rate is outside its range, NaN or empty, the shapes do not fit, or ``unit`` is unknown.
    """
    whole, (acc0, asr0, acc1, asr1) = _rates(
        unit, acc_before=acc_before, asr_before=asr_before, acc_after=acc_after, asr_after=asr_after
    )
    return _number(whole * (np.maximum(0, asr0 - asr1) - np.maximum(0, acc0 - acc1) + 1) / 2)


def der_of_averages(
    acc_before: ArrayLike, asr_before: ArrayLike, acc_after: ArrayLike, asr_after: ArrayLike, *, unit: Unit
) -> float:
    """DER(mean ACC, mean ASR): what FT-SAM and NPD print in their average column.

    The maxima of :func:`der` make it differ from :func:`mean_of_ders` as soon as a defense gains accuracy under one
    attack and loses it under another.

    Parameters
    ----------
    acc_before, asr_before, acc_after, asr_after : array, shape (n_attacks,)
        Rates under each attack.
    unit : {"fraction", "percent"}
        Unit of all four rates and of the result.

    Raises
    ------
    PaperlibError
        As :func:`der`.
    """
    whole, arrays = _rates(unit, acc_before=acc_before, asr_before=asr_before, acc_after=acc_after, asr_after=asr_after)
    return whole * float(der(*(a.mean() for a in arrays), unit="fraction"))


def mean_of_ders(
    acc_before: ArrayLike,
    asr_before: ArrayLike,
    acc_after: ArrayLike,
    asr_after: ArrayLike,
    *,
    unit: Unit,
    absent: int = 0,
) -> float:
    """Mean of the DER under each attack: what SAU prints in its average column.

    Parameters
    ----------
    acc_before, asr_before, acc_after, asr_after : array, shape (n_attacks,)
        Rates under each attack.
    unit : {"fraction", "percent"}
        Unit of all four rates and of the result.
    absent : int
        Attacks to count as "nothing changed" (DER 1/2). SAU's Tiny ImageNet table counts the absent SIG so: 1 there,
        0 everywhere else.

    Raises
    ------
    PaperlibError
        As :func:`der`; or ``absent`` is negative.
    """
    if absent < 0:
        raise PaperlibError(f"absent={absent} is no count; it must be 0 or more.")
    ders = np.atleast_1d(der(acc_before, asr_before, acc_after, asr_after, unit=unit))
    return float((ders.sum() + absent * _WHOLE[unit] / 2) / (ders.size + absent))


class DetectionRates(NamedTuple):
    """How well a detector separates dirty from clean samples.

    Attributes
    ----------
    tpr, fpr, f1 : float in [0, 1]
    """

    tpr: float
    fpr: float
    f1: float


def detection_rates(flagged: ArrayLike, dirty: ArrayLike) -> DetectionRates:
    r"""TPR, FPR and F1 of a detector, pooled over all samples.

    .. math::
        \mathrm{TPR} = \frac{TP}{TP + FN}, \quad \mathrm{FPR} = \frac{FP}{FP + TN}, \quad
        F_1 = \frac{2\,TP}{2\,TP + FP + FN}

    Source: VDC (arXiv 2309.16211) and AGPD (arXiv 2312.06230); pooled over classes, never averaged over them.

    Parameters
    ----------
    flagged : bool array, shape (n,)
        What the detector flags as dirty.
    dirty : bool array, shape (n,)
        What is dirty (poisoned or mislabelled).

    Raises
    ------
    PaperlibError
        An argument is not a 1-D boolean array, the lengths differ, or there is no dirty or no clean sample.
    """
    f, d = np.asarray(flagged), np.asarray(dirty)
    for argument, array in (("flagged", f), ("dirty", d)):
        if array.ndim != 1 or array.dtype != np.bool_:
            raise PaperlibError(
                f"{argument} has shape {array.shape} and type {array.dtype}; it must be a 1-D array of booleans."
            )
    if len(f) != len(d):
        raise PaperlibError(f"flagged has {len(f)} entries and dirty has {len(d)}; both need one per sample.")
    n_dirty, n_clean = int(d.sum()), int((~d).sum())
    if n_dirty == 0 or n_clean == 0:
        raise PaperlibError(f"dirty marks {n_dirty} of {len(d)} samples; the rates need dirty and clean ones.")
    tp, fp = int((f & d).sum()), int((f & ~d).sum())
    return DetectionRates(tp / n_dirty, fp / n_clean, 2 * tp / (tp + fp + n_dirty))
