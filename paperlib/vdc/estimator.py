"""The cleanser as an object with ``fit``, in the manner of scikit-learn: arrays, a folder, or a column of a data set
in, scores out. ::

    found = VDC().fit(images, labels)
    found.scores_        # (N,) probability that the label is right, low: suspicious
    found.suggested_     # (N,) the label that fits better, the given one where nothing is suspected
    found.report_        # everything else: tables, intervals, a page

Introduced in notebook 01.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from paperlib.errors import PaperlibError
from paperlib.vdc.cleanse import cleanse
from paperlib.vdc.pictures import as_pictures

if TYPE_CHECKING:
    from paperlib.vdc.report import CleanReport


class VDC:
    """Find samples whose picture does not agree with their label.

    Parameters
    ----------
    engine
        As :func:`paperlib.vdc.cleanse.cleanse` takes it.
    class_names
        The classes; default: those of the data set, or the labels that occur.
    options
        Further options of :func:`~paperlib.vdc.cleanse.cleanse`: ``questions``, ``score``, ``target_fpr``,
        ``reference``, ``cache``, ...

    Attributes
    ----------
    scores_ : (N,) float64
        Low: suspicious; nan where nothing could be said.
    flagged_ : (N,) bool
    suggested_ : (N,) object
        Class names.
    classes_ : tuple of str
    report_ : CleanReport
    """

    scores_: np.ndarray
    flagged_: np.ndarray
    suggested_: np.ndarray
    classes_: tuple[str, ...]
    report_: "CleanReport"

    def __init__(self, engine: Any = "embedded", class_names: Sequence[str] | None = None, **options: Any) -> None:
        self.engine, self.class_names, self.options = engine, class_names, options

    def fit(self, images: Any, labels: Any = None) -> "VDC":
        """Look at every picture.

        Parameters
        ----------
        images
            uint8 array (N, H, W, C) or tensor (N, C, H, W); a list of paths or of PIL pictures; an image column of a
            Hugging Face data set; a torchvision ``ImageFolder``; or the path of a folder whose subfolders are the
            labels.
        labels
            N class names or positions; not with an ``ImageFolder`` or a folder, which have their own.

        Raises
        ------
        PaperlibError
            As :func:`~paperlib.vdc.cleanse.cleanse`; labels are missing, or there twice.
        """
        names = self.class_names
        if isinstance(images, str | Path) or hasattr(images, "samples"):
            if labels is not None:
                raise PaperlibError("labels is given, but a folder has its own; leave it out.")
            images, labels, own = _own(images)
            names = names if names is not None else own
        if labels is None:
            raise PaperlibError("labels is missing; give one for each picture.")
        if hasattr(labels, "tolist"):
            labels = labels.tolist()
        labels = list(labels)
        if names is None:
            numbers = all(isinstance(label, int) for label in labels)
            distinct = sorted(set(labels))
            names = [str(k) for k in (range(max(distinct, default=0) + 1) if numbers else distinct)]
        self.report_ = cleanse(as_pictures(images), labels, list(map(str, names)), engine=self.engine, **self.options)
        self.classes_ = self.report_.classes
        self.scores_ = self.report_.samples["score"].to_numpy()
        self.flagged_ = self.report_.flagged
        samples = self.report_.samples
        better = samples["suggested_label"].where(samples["suggested_label"] != "", samples["label"])
        self.suggested_ = better.to_numpy(dtype=object)
        return self


def _own(images: Any) -> tuple[Any, list[Any], list[str]]:
    """Pictures, labels and class names of a folder, or of an ``ImageFolder``."""
    if hasattr(images, "samples"):
        return [path for path, _ in images.samples], [k for _, k in images.samples], list(images.classes)
    from paperlib.vdc.folder import labelled

    pictures, labels = labelled(Path(images))
    return pictures, labels, sorted(set(labels))
