"""Confusion matrices: true against predicted class, on clean and on triggered test images. Introduced in notebook
08."""

from typing import Any

import torch
from torch import Tensor

from paperlib.analysis.samples import Models
from paperlib.attacks.scene import Scene
from paperlib.training import predict


def counts(y: Tensor, predicted: Tensor, classes: int) -> Tensor:
    """How many images of true class i (row) are taken for class j (column): (classes, classes) int64."""
    return torch.bincount(y * classes + predicted, minlength=classes**2).view(classes, classes)


def confusion(models: Models, scene: Scene, *, seed: int) -> dict[str, Any]:
    """Counts over the test set and, under an attack, over the triggered test set, in every model.

    Returns
    -------
    dict
        classes: their names; target; clean, triggered: per model a classes x classes matrix, rows true classes. Without
        an attack ``triggered`` is empty. Rows of classes that are not attacked are 0.
    """
    k = scene.test.n_classes
    out: dict[str, Any] = {"classes": list(scene.test.class_names), "target": scene.target}
    out["clean"] = [counts(scene.test.y, predict(model, scene.test.x), k).tolist() for model in models]
    out["triggered"] = []
    if scene.attack is not None:
        data, _ = scene.triggered
        out["triggered"] = [counts(data.y, predict(model, data.x), k).tolist() for model in models]
    return out
