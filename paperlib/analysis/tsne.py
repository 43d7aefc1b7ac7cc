"""t-SNE of the features of a poisoned training set (BackdoorBench's setting: 2-D, PCA start, fixed seed).

Images are drawn from the poisoned training set in its own proportion of clean and poisoned images, without
augmentation.
"""

from typing import Any

import numpy as np
from sklearn.manifold import TSNE

from paperlib.analysis.samples import Models, poisoned_sample
from paperlib.attacks.scene import Scene
from paperlib.models.default_layer import feature_layer
from paperlib.models.layers import layer_output


def embed(features: np.ndarray, seed: int) -> np.ndarray:
    """2-D embedding (n, 2) of features (n, d); the same for the same seed on one machine."""
    perplexity = min(30.0, (len(features) - 1) / 3)
    return TSNE(2, init="pca", perplexity=perplexity, random_state=seed, n_jobs=1).fit_transform(features)


def tsne(models: Models, scene: Scene, *, seed: int, layer: str = "", n: int = 1000) -> dict[str, Any]:
    """Embed the same ``n`` training images as every model sees them.

    Returns
    -------
    dict
        xy: per model a list of [x, y]; y: labels the images carry in training; poisoned: 0 or 1 per image.
    """
    x, y, mask = poisoned_sample(scene, n, seed)
    xy = []
    for model in models:
        features = layer_output(model, feature_layer(model, layer, x), x, pooled=True).cpu().numpy()
        xy.append(np.round(embed(features, seed), 2).tolist())
    return {"xy": xy, "y": y.tolist(), "poisoned": mask.int().tolist()}
