"""UMAP of the features of a poisoned training set.

McInnes, Healy, Melville, "UMAP: Uniform Manifold Approximation and Projection for Dimension Reduction", 2018 (arXiv
1802.03426), computed by the package ``umap-learn``, which is no dependency: without it the tool says so. The images are
those of the tool ``tsne``. Introduced in notebook 08.
"""

from importlib import import_module
from typing import Any

import numpy as np

from paperlib.analysis.samples import Models, poisoned_sample
from paperlib.attacks.scene import Scene
from paperlib.errors import PaperlibError
from paperlib.models.default_layer import feature_layer
from paperlib.models.layers import layer_output


def umap(
    models: Models,
    scene: Scene,
    *,
    seed: int,
    layer: str = "",
    n: int = 1000,
    neighbours: int = 15,
    min_dist: float = 0.1,
) -> dict[str, Any]:
    """Embed the same ``n`` training images as every model sees them; ``neighbours`` and ``min_dist`` are UMAP's.

    Returns
    -------
    dict
        xy: per model a list of [x, y]; y: labels the images carry in training; poisoned: 0 or 1 per image.

    Raises
    ------
    PaperlibError
        ``umap-learn`` is not installed; a model trained on clean data.
    """
    try:
        library: Any = import_module("umap")
    except ImportError:
        raise PaperlibError(
            "tool='umap' needs the package umap-learn, which is not installed; install it (pip install umap-learn), or"
            " use the tool tsne."
        ) from None
    x, y, mask = poisoned_sample(scene, n, seed)
    xy = []
    for model in models:
        features = layer_output(model, feature_layer(model, layer, x), x, pooled=True).cpu().numpy()
        made = library.UMAP(n_neighbors=min(neighbours, len(x) - 1), min_dist=min_dist, random_state=seed, n_jobs=1)
        xy.append(np.round(made.fit_transform(features).astype(float), 2).tolist())
    return {"xy": xy, "y": y.tolist(), "poisoned": mask.int().tolist()}
