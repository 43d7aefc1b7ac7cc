"""The images that a selection strategy chose, and how the victim that was trained on them sees them.

For the first ``n`` poisoned training images, in turn one of each class: the picture before and after the trigger, its
true class, and the loss margin of the clean and of the triggered picture,

.. math:: f_{c}(x) - \\max_{k \\ne c} f_k(x)

(f: logits of the victim; c: the true class of the clean, the attacker's class of the triggered picture). The same
margins are averaged over all poisoned images, and for comparison over images that were drawn at random from the classes
that may be poisoned.

Place in feature space: the victim's last features, averaged over positions, in the first two principal components of
the random images, and mean distances in the whole space from the poisoned images, without their trigger, to the centre
of their class and to that of the target class, as multiples of those of the random images. Centres are means over clean
images.
"""

from typing import Any

import torch
from torch import Tensor, nn

from paperlib.analysis.samples import Models, packed
from paperlib.attacks import poisoned_labels, render
from paperlib.attacks.scene import Scene
from paperlib.errors import PaperlibError
from paperlib.models.default_layer import feature_layer
from paperlib.models.layers import layer_output
from paperlib.training import logits

COMPARED = 500
"""How many random images the chosen ones are compared with, at most."""
PLACED = 60
"""How many chosen images are placed, at most."""


def margin(out: Tensor, label: Tensor) -> Tensor:
    """Logit of ``label`` (N,) minus the largest other one, (N,); ``out`` is (N, classes)."""
    own = out.gather(1, label.unsqueeze(1))
    return (own - out.scatter(1, label.unsqueeze(1), -torch.inf).amax(1, keepdim=True)).squeeze(1)


def place(
    model: nn.Module, x: Tensor, y: Tensor, chosen: Tensor, triggered: Tensor, random: Tensor, target: int
) -> dict[str, Any]:
    """Coordinates of the images ``random``, ``chosen`` (indices of ``x``) and ``triggered`` (as chosen), and relative
    distances.

    ``x`` are clean training images with the true classes ``y``. A chosen image whose class is not among ``random`` and
    not the target has no distance to its own centre.
    """

    def features(images: Tensor) -> Tensor:
        return layer_output(model, feature_layer(model, "", x), images, pooled=True)

    others, clean, poisoned = features(x[random]), features(x[chosen]), features(triggered)
    centres = torch.full((int(y.max()) + 1, others.shape[1]), torch.nan, device=x.device)
    for k in y[random].unique():
        centres[k] = others[y[random] == k].mean(0)
    centres[target] = features(x[(y == target).nonzero().squeeze(1)[:PLACED]]).mean(0)

    def distances(found: Tensor, to: Tensor) -> float:
        return (found - to).norm(dim=1).nanmean().item()

    mean = others.mean(0)
    axes = torch.linalg.svd(others - mean, full_matrices=False).Vh[:2]
    axes = axes * axes.gather(1, axes.abs().argmax(1, keepdim=True)).sign()  # else the sign is the library's choice

    def flat(found: Tensor) -> list[list[float]]:
        return [[round(v, 2) for v in row] for row in ((found - mean) @ axes.T).tolist()]

    return {
        "others": flat(others[: 4 * PLACED]),
        "others_y": y[random[: 4 * PLACED]].tolist(),
        "clean": flat(clean[:PLACED]),
        "triggered": flat(poisoned[:PLACED]),
        "to_own": round(distances(clean, centres[y[chosen]]) / distances(others, centres[y[random]]), 3),
        "to_target": round(distances(clean, centres[target]) / distances(others, centres[target]), 3),
    }


def selected(models: Models, scene: Scene, *, seed: int, n: int = 10) -> dict[str, Any]:
    """Pictures, classes and margins as lists, mean margins ``mean_clean``, ``mean_triggered``, ``random_clean``,
    ``random_triggered``, and ``place``, see :func:`place`.

    Raises
    ------
    PaperlibError
        The model was trained on clean data.
    """
    if scene is None or scene.poisoned is None:
        raise PaperlibError("the model was trained on clean data; nothing was selected for it.")
    model, data, attack = models[0], scene.train, scene.trigger
    indices = scene.poisoned_set.indices

    def margins(index: Tensor) -> tuple[Tensor, Tensor]:
        x, y = data.x[index], data.y[index]
        wanted = y if attack.labels == "clean" else poisoned_labels(y, attack.labels, scene.target, data.n_classes)
        return margin(logits(model, x), y), margin(logits(model, render(attack, x)), wanted)

    clean, triggered = margins(indices)
    allowed = data.y == scene.target if attack.labels == "clean" else data.y != scene.target
    pool = allowed.nonzero().squeeze(1)
    order = torch.randperm(len(pool), generator=torch.Generator().manual_seed(seed))[:COMPARED]
    random = pool[order.to(pool.device)]
    others_clean, others_triggered = margins(random)
    y = data.y[indices]
    turn = torch.stack([(y[:i] == y[i]).sum() for i in range(len(y))])  # the how-manieth of its class
    shown = (turn * data.n_classes + y).argsort()[:n]
    return {
        "shape": list(data.x.shape[1:]),
        "before": [packed(image) for image in data.x[indices[shown]]],
        "after": [packed(image) for image in scene.poisoned_set.data.x[indices[shown]]],
        "y": y[shown].tolist(),
        "clean_margin": [round(v, 3) for v in clean[shown].tolist()],
        "triggered_margin": [round(v, 3) for v in triggered[shown].tolist()],
        "mean_clean": round(clean.mean().item(), 3),
        "mean_triggered": round(triggered.mean().item(), 3),
        "random_clean": round(others_clean.mean().item(), 3),
        "random_triggered": round(others_triggered.mean().item(), 3),
        "place": place(model, data.x, data.y, indices, scene.poisoned_set.data.x[indices], random, scene.target),
    }
