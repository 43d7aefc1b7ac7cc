r"""Noisy labels: symmetric, asymmetric, and people's own (CIFAR-10N).

Every function works on labels y (N,) and returns the noisy labels and the mask of those that are wrong. Counts are
exact: ``round(rate * N)`` labels change, and of every class the share ``rate`` to within one sample.

``symmetric``
    a wrong label is drawn uniformly from the other C - 1 classes;
``asymmetric``
    class k becomes class k + 1 mod C, the map of VDC (arXiv 2309.16211, ICLR 2024), or what ``mapping`` says;
``aggregate``, ``random1``, ``random2``, ``random3``, ``worst``
    the labels that people gave to the training images of CIFAR-10: the majority of three, each of the three, and a
    wrong one of the three where there is any. Wei et al., "Learning with Noisy Labels Revisited: A Study Using
    Real-World Human Annotations", ICLR 2022. Their rates are what they are.

In a hybrid the noise comes first: an attacker poisons a set that already holds noisy labels.
"""

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from paperlib import paths
from paperlib.data.images import Indices
from paperlib.data.unpickle import arrays
from paperlib.errors import DataMissing, PaperlibError, choose
from paperlib.registry import check_numbers, check_seed

SYNTHETIC = ("symmetric", "asymmetric")
HUMAN = {
    # our name: (the publisher's name, sha256 of the 50,000 labels as bytes)
    "aggregate": ("aggre_label", "2bd5e02e39c9c79772cf4c794f7b74630ac1aaeeac4b807a63c11e9a375f8404"),
    "random1": ("random_label1", "8d01b5a5af048e84bf6e964c86e1133e95d5b22c07763e23705b714ad0f32d8b"),
    "random2": ("random_label2", "7ea04c887750912f49669282a75e78df380077766b361fb6cb5200999ad6dcda"),
    "random3": ("random_label3", "cdbfad7e15bfc8fc83bc7c6e30b692e2aa1186660d82738b7543a6012d6ca46f"),
    "worst": ("worse_label", "11a306ed336e3bc81aaac36322ddf12de379d0df1883aa43e10ba562a98f6b2a"),
}
CLEAN = ("clean_label", "2b7cd2f24487317614016b72ffd53071c3062f592f0eb300c18a770d41ae1253")
"""CIFAR-10's own labels, which the publisher repeats: with them the order of the images is checked."""
KINDS = (*SYNTHETIC, *HUMAN)
FILES = ("CIFAR-10_human.npy", "cifar10n_labels.npz")
"""Names under which the labels of CIFAR-10N are looked for in the data folder: the publisher's, and the same arrays as
npz."""
PUBLISHER = "https://github.com/UCSC-REAL/cifar-10-100n"


@dataclass(frozen=True, eq=False)
class NoisyLabels:
    """Labels of N samples, some of them wrong."""

    y: Tensor
    """(N,) int64."""
    mask: Tensor
    """(N,) bool: True where y is not the true label."""


def chosen(y: np.ndarray, rate: float, seed: int) -> np.ndarray:
    """Indices of ``round(rate * N)`` samples, sorted; of every class the share ``rate`` to within one sample.

    Every class gives the whole part of its share, and those with the largest fractions one more.

    Raises
    ------
    PaperlibError
        ``rate`` outside (0, 1) or too small for one sample; a negative seed.
    """
    if not isinstance(rate, Real) or not 0 < rate < 1:
        raise PaperlibError(f"rate={rate!r} must lie strictly between 0 and 1 (share of the labels that are wrong).")
    check_seed(seed)
    total = round(rate * len(y))
    if total == 0:
        raise PaperlibError(f"rate={rate!r} of {len(y)} labels rounds to none; give more images or a larger rate.")
    rng = np.random.default_rng([seed, 29])
    _, member, sizes = np.unique(y, return_inverse=True, return_counts=True)
    share = rate * sizes
    count = np.floor(share).astype(np.int64)
    count[np.argsort(count - share, kind="stable")[: total - count.sum()]] += 1
    order = np.lexsort((rng.random(len(y)), member))  # class by class, each in random order
    rank = np.arange(len(y)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.sort(order[rank < count[member[order]]])


def _classes(y: Tensor, n_classes: int) -> np.ndarray:
    if y.ndim != 1 or y.dtype != torch.int64 or len(y) == 0:
        raise PaperlibError(f"y is {y.dtype} of shape {tuple(y.shape)}; labels must be a non-empty int64 tensor (N,).")
    check_numbers("n_classes", n_classes, 2)
    if n_classes < 2 or y.min() < 0 or y.max() >= n_classes:
        raise PaperlibError(
            f"n_classes={n_classes} but y holds labels from {int(y.min())} to {int(y.max())}; "
            "labels go from 0 to n_classes - 1, and there must be two classes."
        )
    return y.cpu().numpy()


def _changed(y: Tensor, index: np.ndarray, labels: np.ndarray) -> NoisyLabels:
    out = y.clone()
    out[torch.from_numpy(index).to(y.device)] = torch.from_numpy(labels).to(y.device)
    return NoisyLabels(out, out != y)


def symmetric(y: Tensor, rate: float, *, n_classes: int, seed: int = 0) -> NoisyLabels:
    """``round(rate * N)`` labels become another class, drawn uniformly from the C - 1 others.

    Raises
    ------
    PaperlibError
        As in :func:`chosen`, or labels outside 0 to C - 1.
    """
    labels = _classes(y, n_classes)
    index = chosen(labels, rate, seed)
    step = np.random.default_rng([seed, 31]).integers(1, n_classes, len(index))
    return _changed(y, index, (labels[index] + step) % n_classes)


def asymmetric(
    y: Tensor, rate: float, *, n_classes: int, seed: int = 0, mapping: Sequence[int] | None = None
) -> NoisyLabels:
    """``round(rate * N)`` labels become the class that ``mapping`` has at their place; default: the next class.

    Raises
    ------
    PaperlibError
        As in :func:`chosen`, or a mapping that is no list of C classes, or that leaves a class where it is.
    """
    labels = _classes(y, n_classes)
    to = (np.arange(n_classes) + 1) % n_classes if mapping is None else np.asarray(mapping)
    if to.shape != (n_classes,) or not np.issubdtype(to.dtype, np.integer) or to.min() < 0 or to.max() >= n_classes:
        raise PaperlibError(f"mapping={mapping!r} must name one of the {n_classes} classes for each of them.")
    if (to == np.arange(n_classes)).any():
        raise PaperlibError(f"mapping={mapping!r} maps a class to itself, which would be no noise; name another class.")
    index = chosen(labels, rate, seed)
    return _changed(y, index, to[labels[index]].astype(np.int64))


# -------------------------------------------------------------------------------------------------- CIFAR-10N


def _read_npy(file: IO[bytes]) -> dict[str, Any]:
    """The dictionary that an npy file of object type holds."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    read(file)
    found = arrays(file)
    return dict(found.item() if isinstance(found, np.ndarray) else found)


def human_labels(path: Path | str | None = None) -> dict[str, Tensor]:
    """The labels of the 50,000 training images of CIFAR-10 by people, and ``clean_label``: name -> (50000,) int64.

    Parameters
    ----------
    path
        The publisher's ``CIFAR-10_human.npy``, or an npz file of the same arrays; default: where :data:`FILES` says, in
        the data folder.

    Raises
    ------
    DataMissing
        There is no such file; the message says where it comes from.
    PaperlibError
        The file cannot be read, or its labels are not the published ones.
    """
    places = [Path(path)] if path else [paths.data_dir() / name for name in FILES]
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        raise DataMissing(
            f"the human labels of CIFAR-10N are not at {' or '.join(map(str, places))}; put the file {FILES[0]} of "
            f"{PUBLISHER} (folder data) there, or set PAPERLIB_DATA to the folder that holds it."
        )
    content, arrays = file.read_bytes(), dict[str, Any]()
    try:
        if file.suffix == ".npz":
            with np.load(io.BytesIO(content), allow_pickle=False) as archive:
                arrays = dict(archive)
        else:
            arrays = _read_npy(io.BytesIO(content))
    except Exception as error:  # numpy and pickle raise whatever the damaged bytes lead to
        raise PaperlibError(f"{file} cannot be read as the labels of CIFAR-10N ({error}); fetch it anew.") from error
    out = {}
    for ours, (theirs, sha256) in {CLEAN[0]: CLEAN, **HUMAN}.items():
        labels = np.asarray(arrays.get(theirs, ()))
        if hashlib.sha256(labels.astype(np.uint8).tobytes()).hexdigest() != sha256:
            raise PaperlibError(
                f"{file}: {theirs} does not hold the published labels of CIFAR-10N; fetch the file anew."
            )
        out[ours] = torch.from_numpy(labels.astype(np.int64))
    return out


def human(y: Tensor, kind: str, *, indices: Indices | None = None, path: Path | str | None = None) -> NoisyLabels:
    """The labels that people gave to the training images of CIFAR-10.

    Parameters
    ----------
    y : (N,)
        The true labels, with which the order of the images is checked.
    kind
        One of :data:`HUMAN`.
    indices : (N,), optional
        Positions of the images in the publisher's training set; default: all 50,000 in their order.

    Raises
    ------
    DataMissing, PaperlibError
        As in :func:`human_labels`; an unknown ``kind``; ``y`` that does not belong to these images.
    """
    choose("kind", kind, HUMAN)
    labels = human_labels(path)
    index = torch.arange(50_000) if indices is None else torch.as_tensor(indices).cpu()
    if len(index) and (index.min() < 0 or index.max() >= 50_000):
        raise PaperlibError("indices must be positions 0 to 49999 of CIFAR-10's training set.")
    if not torch.equal(labels[CLEAN[0]][index], y.cpu()):
        raise PaperlibError(
            f"y (N={len(y)}) are not CIFAR-10's labels of these images; CIFAR-10N labels its training set in the "
            "publisher's order: give the whole set, or the positions of its images as indices=."
        )
    noisy = labels[kind][index].to(y.device)
    return NoisyLabels(noisy, noisy != y)


# ---------------------------------------------------------------------------------------------------- the front door


def noisy_labels(
    y: Tensor, kind: str, rate: float = 0.0, *, n_classes: int, seed: int = 0, indices: Indices | None = None
) -> NoisyLabels:
    """Labels ``y`` with noise of one of :data:`KINDS`; ``rate`` and ``seed`` are for synthetic noise, ``indices`` for
    people's.

    Raises
    ------
    DataMissing, PaperlibError
        Unknown ``kind``, a ``rate`` outside (0, 1) or given for labels that people made, and what the kind's function
        says.
    """
    choose("kind", kind, KINDS)
    makers: Mapping[str, Any] = {"symmetric": symmetric, "asymmetric": asymmetric}
    if kind in makers:
        return makers[kind](y, rate, n_classes=n_classes, seed=seed)
    if rate:
        raise PaperlibError(f"rate={rate!r} but the rate of kind={kind!r} is what people made it; leave it out.")
    return human(y, kind, indices=indices)
