r"""Low ASR is not removal: a trigger that is optimised against the purified model.

A defense is scored with the attacker's own trigger. An attacker who holds the purified model and training images may
look for another one. For a model f, target class t and budget rho, one perturbation for all images is sought,

.. math:: \delta^* = \arg\min_{\|\delta\|_\infty \le \rho} \sum_{x: y \ne t} \mathrm{CE}\big(f(\mathrm{clip}(b(x) +
   \delta)), t\big),

once on clean images, b(x) = x, and once on top of the attacker's trigger, b(x) = g(x): if the backdoor is only covered,
g and a small perturbation open it again. The same budget on a model that never saw the trigger says what such a
perturbation reaches without any backdoor: only what goes beyond that was left behind by the attack.

The perturbation is optimised by steps along the sign of the gradient on training images, and judged on test images,
both of classes other than t; it is rounded to whole grey levels, and images are clipped to [0, 1], so that every image
it makes exists.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paperlib.analysis.samples import Models
from paperlib.attacks.scene import Scene
from paperlib.data.images import ImageData
from paperlib.errors import PaperlibError
from paperlib.training import autocast, evaluating, predict

BASES = ("clean", "triggered")
"""What the perturbation is added to: clean images, or images with the attacker's trigger."""


def universal_perturbation(
    model: nn.Module,
    x: Tensor,
    target: int,
    *,
    eps: float = 8 / 255,
    steps: int = 100,
    batch_size: int = 64,
    step: float = 1 / 255,
    seed: int = 0,
) -> Tensor:
    """One perturbation (C, H, W), at most ``eps`` per pixel and in whole grey levels, that sends images towards
    ``target``.

    Parameters
    ----------
    model
        Takes images in [0, 1]. Its weights are not changed.
    x : (N, C, H, W)
        uint8 images of other classes than ``target``.
    target
        Class that is wanted.
    eps, step
        Radius and length of a step, in pixel values of [0, 1].

    Raises
    ------
    PaperlibError
        No image, no step, or a radius below one grey level.
    """
    if not len(x):
        raise PaperlibError("x holds no image; give training images of other classes than the target.")
    if steps < 1 or eps < 1 / 255:
        raise PaperlibError(f"steps={steps} and eps={eps} must be at least 1 and 1/255 (one grey level).")
    generator = torch.Generator(x.device).manual_seed(seed)
    delta = torch.zeros(x.shape[1:], device=x.device)
    wanted = torch.full((min(batch_size, len(x)),), target, device=x.device)
    with evaluating(model):
        for _ in range(steps):
            index = torch.randint(len(x), (len(wanted),), generator=generator, device=x.device)
            d = delta.clone().requires_grad_()
            with torch.enable_grad(), autocast(x.device):
                loss = F.cross_entropy(model((x[index].float() / 255 + d).clamp(0, 1)).float(), wanted)
            (gradient,) = torch.autograd.grad(loss, d)
            delta = (delta - step * gradient.sign()).clamp(-eps, eps)
    return (delta * 255).round().clamp(-int(eps * 255 + 1e-6), int(eps * 255 + 1e-6)) / 255


def success(model: nn.Module, x: Tensor, delta: Tensor, target: int) -> float:
    """Percent of uint8 images ``x`` (N, C, H, W) that ``model`` puts into ``target`` once ``delta`` (C, H, W) is
    added."""
    shifted = (x.short() + (delta * 255).round().short()).clamp(0, 255).to(torch.uint8)
    return round(100 * (predict(model, shifted) == target).double().mean().item(), 3)


def _others(data: ImageData, target: int, n: int) -> Tensor:
    return data.x[data.y != target][:n]


def reactivation(
    models: Models,
    scene: Scene,
    *,
    seed: int,
    n: int = 2000,
    n_train: int = 2000,
    eps: float = 8 / 255,
    steps: int = 100,
    batch_size: int = 64,
) -> dict[str, Any]:
    """ASR before and after optimising a universal perturbation against each of ``models``.

    The first model brings the attack: the backdoored one. Then usually purified ones, and a model trained on clean
    data.

    Parameters
    ----------
    n, n_train
        Test images that judge, and training images that optimise, at most.
    eps, steps, batch_size
        As :func:`universal_perturbation`.

    Returns
    -------
    dict
        eps, n; clean, triggered: for each base one pair [ASR without, ASR with the perturbation] per model, in percent.

    Raises
    ------
    PaperlibError
        The first model was trained without an attack.
    """
    from paperlib.attacks import render

    _, _ = scene.triggered  # a clean model has no trigger, and the scene says so
    target = scene.target
    training, testing = _others(scene.train, target, n_train), _others(scene.test, target, n)
    images = {
        "clean": (training, testing),
        "triggered": (render(scene.trigger, training), render(scene.trigger, testing)),
    }
    out: dict[str, Any] = {"eps": round(eps, 6), "n": len(testing), **{base: [] for base in BASES}}
    for model in models:
        for base, (seen, judged) in images.items():
            delta = universal_perturbation(model, seen, target, eps=eps, steps=steps, batch_size=batch_size, seed=seed)
            out[base].append(
                [success(model, judged, torch.zeros_like(delta), target), success(model, judged, delta, target)]
            )
    return out
