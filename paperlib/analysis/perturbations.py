r"""What stands in for the trigger: perturbations beside the trigger itself, in pixels and in feature space.

NPD (Zhu et al., NeurIPS 2023, arXiv 2306.16697) does not know the trigger. It trains against adversarial examples that
a model takes for the runner-up class :math:`y' = \arg\max_{k \ne y} s_k(x)`, because a targeted perturbation is said to
resemble the trigger (Section 3.2 and its Figure 4): with :math:`\phi` the output of a layer, the distance

.. math:: \|\phi(x + \delta) - \phi(x_\Delta)\|_2

to the triggered image :math:`x_\Delta` is small where the direction is the attacker's. Whether y' *is* the attacker's
class T is the weak point of the method; the share of images for which it is, is counted here.

Differences from the paper
1. It names neither the layer nor how the targeted perturbation was made; here the layer is the model's ``features``,
   and the perturbations are the inner problem of NPD itself (``paperlib.defenses.npd.perturb``): towards y', towards T,
   and away from y.
2. It shows one image; the distances here are means over many.

Introduced in notebook 04.
"""

from typing import Any

import torch
from torch import Tensor, nn

from paperlib.analysis.samples import Models, packed
from paperlib.analysis.triggers import residual
from paperlib.attacks.scene import Scene
from paperlib.errors import PaperlibError
from paperlib.models.default_layer import feature_layer
from paperlib.models.layers import as_maps, watching
from paperlib.training import autocast, logits

KINDS = ("clean", "trigger", "targeted", "known", "untargeted")
"""The image itself; with the trigger; perturbed towards y', towards T, away from y."""


def look_at(model: nn.Module, layer: str, x: Tensor) -> Tensor:
    """Outputs (N, channels, h, w) of ``layer`` for float images (N, C, H, W) in [0, 1], float32."""
    with torch.no_grad(), autocast(x.device), watching(model, layer) as seen:
        for part in x.split(250):
            model(part)
    return torch.cat([out.float() for out in seen])


def scores(model: nn.Module, x: Tensor) -> Tensor:
    """Logits (N, classes), float32, of float images (N, C, H, W) in [0, 1]."""
    with torch.no_grad(), autocast(x.device):
        return torch.cat([model(part).float() for part in x.split(250)])


def variants(model: nn.Module, x: Tensor, triggered: Tensor, y: Tensor, wanted: Tensor, rho: float) -> list[Tensor]:
    """The images of :data:`KINDS`, each (N, C, H, W) in [0, 1], from ``x`` and ``triggered``; ``wanted`` is T for each
    image."""
    from paperlib.defenses.npd import NPD, perturb, runner_up

    guessed = runner_up(scores(model, x), y)
    made = []
    for kind, label in (("npd", guessed), ("tp", wanted), ("up", y)):
        config = NPD(perturbation=kind, rho=rho)
        pairs = zip(x.split(100), label.split(100), strict=True)
        made.append(torch.cat([perturb(model, part, of, config) for part, of in pairs]))
    return [x, triggered, *made]


def perturbations(
    models: Models,
    scene: Scene,
    *,
    seed: int,
    n: int = 300,
    rho: float = 3.0,
    layer: str = "",
    true_class: int = 4,
    index: int = 1,
) -> dict[str, Any]:
    """The trigger, and NPD's perturbations of the first model, of ``n`` test images that the attacker wants to be
    misread.

    Parameters
    ----------
    models
        The first is looked at, usually the backdoored one; of every model it is counted how often y' is T.
    rho
        L2 radius of the perturbations, in pixel values of [0, 1].
    layer
        Whose outputs are compared; empty: the model's ``features``.
    true_class, index
        The image that is shown: number ``index`` of its class in the test set.

    Returns
    -------
    dict
        n; kinds; shape: [C, H, W]; images, residuals: base64 of uint8 images (H, W, C), one of each kind, and
        amplification of each residual; maps: mean absolute output of the layer, per kind h x w; distance: per kind the
        mean L2 distance of the layer's output to that of the triggered image; pixels: per kind the mean L2 norm of the
        change; to_target: per kind the share of images that the first model takes for T; estimate: per model the share
        of images whose y' is T.

    Raises
    ------
    PaperlibError
        A model trained on clean data, or an image that is not in the test set.
    """
    from paperlib.attacks import poisoned_labels, render
    from paperlib.defenses.npd import runner_up

    if scene.attack is None:
        raise PaperlibError(f"{scene.label} was trained on clean data; it has no trigger to compare with.")
    of_class = (scene.test.y == true_class).nonzero().flatten()
    if not 0 <= index < len(of_class):
        raise PaperlibError(
            f"index={index!r} of true_class={true_class!r}: the test set has {len(of_class)} such images."
        )
    model, test = models[0], scene.test
    where = feature_layer(model, layer, test.x)
    aims = poisoned_labels(test.y, scene.trigger.labels, scene.target, len(test.class_names))
    chosen = (aims != test.y).nonzero().flatten()[:n]

    def both(of: Tensor) -> tuple[Tensor, Tensor]:
        return test.x[of].float() / 255, render(scene.trigger, test.x[of]).float() / 255

    y, wanted = test.y[chosen], aims[chosen]
    images = variants(model, *both(chosen), y, wanted, rho)
    features = [look_at(model, where, x) for x in images]
    distance = [(f - features[1]).flatten(1).norm(dim=1).mean().item() for f in features]
    pixels = [(x - images[0]).flatten(1).norm(dim=1).mean().item() for x in images]
    reached = [scores(model, x).argmax(1) for x in images]
    estimate = [(runner_up(logits(m, test.x[chosen]), y) == wanted).double().mean().item() for m in models]

    one = of_class[index : index + 1]
    shown = variants(model, *both(one), test.y[one], aims[one], rho)
    grey = [(x[0] * 255).round().to(torch.uint8) for x in shown]
    changes = [residual(grey[0], other) for other in grey]
    maps = [as_maps(look_at(model, where, x), where)[0].abs().mean(0).tolist() for x in shown]
    return {
        "n": len(chosen),
        "kinds": list(KINDS),
        "shape": list(test.x.shape[1:]),
        "images": [packed(image) for image in grey],
        "residuals": [packed(image) for image, _ in changes],
        "amplification": [factor for _, factor in changes],
        "maps": [[[round(v, 4) for v in row] for row in one_map] for one_map in maps],
        "distance": [round(v, 4) for v in distance],
        "pixels": [round(v, 4) for v in pixels],
        "to_target": [round((r == wanted).double().mean().item(), 4) for r in reached],
        "estimate": [round(v, 4) for v in estimate],
    }
