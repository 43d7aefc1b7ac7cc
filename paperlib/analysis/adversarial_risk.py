r"""The risks of the SAU paper (Wei et al., NeurIPS 2023, arXiv 2307.10562, Sections 3 and 4), and the types of
adversarial examples.

With theta the purified model, b the backdoored one, :math:`\hat y` the attacker's label, g the triggered image, D- the
images of other classes than :math:`\hat y`, and D_s those of them whose trigger works on b:

.. math::
   R_{cl} &= \tfrac{1}{|D|} \textstyle\sum_D 1[h_\theta(x) \ne y], \qquad
   R_{bd} = \tfrac{1}{|D^-|} \sum_{D^-} 1[h_\theta(g(x)) = \hat y] \\
   R_{adv} &= \tfrac{1}{|D^-|} \textstyle\sum_{D^-} \max_{\varepsilon \in S} 1[h_\theta(x_\varepsilon) \ne y] \\
   R_{sub} &= \tfrac{1}{|D^-|} \textstyle\sum_{D^-} \max_{\varepsilon \in S} 1[h_\theta(x_\varepsilon) \ne y \wedge
      (x \notin D_s \vee h_\theta(x_\varepsilon) = h_b(x_\varepsilon))] \\
   R_{share} &= \tfrac{1}{|D|} \textstyle\sum_D \max_{\varepsilon \in S} 1[h_\theta(x_\varepsilon) = h_b(x_\varepsilon)
   \ne y]

Where every trigger lies in S, R_bd <= R_sub <= R_adv (Proposition 3) and R_bd <= |D| / |D-| R_share + 1 - R_bd(b). On
images the maximum over S is estimated from below by a few members of S: the clean image and the results of PGD, with
the inner objective of SAU and with plain cross-entropy.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from paperlib.analysis.samples import Models
from paperlib.attacks.scene import Scene
from paperlib.defenses.sau import SAU, example_types, perturb, sau
from paperlib.training import autocast, evaluating, predict

RISKS = ("clean", "backdoor", "adversarial", "sub", "shared")


# ------------------------------------------------------------------------------------------------------- definitions


def _mean(indicator: Tensor) -> float:
    return indicator.double().mean().item() if len(indicator) else 0.0


def clean_risk(found: Tensor, y: Tensor) -> float:
    """R_cl of predictions (N,) and true labels (N,)."""
    return _mean(found != y)


def backdoor_risk(found: Tensor, y: Tensor, wanted: Tensor) -> float:
    """R_bd of predictions of the triggered images, true labels, and labels that the attacker wants, all (N,)."""
    return _mean((found == wanted)[y != wanted])


def adversarial_risk_of(found: Tensor, y: Tensor, wanted: Tensor) -> float:
    """R_adv of predictions (K, N) of theta at K members of S for each image."""
    return _mean((found != y).any(0)[y != wanted])


def sub_adversarial_risk(found: Tensor, reference: Tensor, y: Tensor, wanted: Tensor, works: Tensor) -> float:
    """R_sub of predictions (K, N) of theta and b; ``works`` (N,) bool: the trigger works on b for this image."""
    counted = (found != y) & (~works | (found == reference))
    return _mean(counted.any(0)[y != wanted])


def shared_risk(found: Tensor, reference: Tensor, y: Tensor) -> float:
    """R_share of predictions (K, N) of theta and b."""
    return _mean(((found == reference) & (found != y)).any(0))


# ---------------------------------------------------------------------------------------------------------- on images


class Watched:
    """A part of the test set, clean and triggered, on which risks are estimated."""

    def __init__(self, scene: Scene, n: int):
        from paperlib.attacks import poisoned_labels, render

        _, _ = scene.triggered  # a clean model has no trigger, and the scene says so
        attack = scene.trigger
        part = scene.test.subset(torch.arange(min(n, len(scene.test)), device=scene.test.y.device))
        self.x, self.y, self.clean = part.x, part.y, part.float()
        self.triggered = render(attack, part.x)
        self.wanted = poisoned_labels(part.y, attack.labels, scene.target, len(part.class_names))

    def predictions(self, model: nn.Module, images: list[Tensor]) -> Tensor:
        """Classes (K, N) of K lists of float images."""
        with torch.no_grad(), autocast(self.x.device), evaluating(model):
            return torch.stack(
                [torch.cat([model(part).argmax(1) for part in x.split(500)]) for x in [self.clean, *images]]
            )

    def perturbed(self, model: nn.Module, reference: nn.Module, config: SAU) -> Tensor:
        """Float images (N, C, H, W) of the inner problem of ``config``."""
        own = predict(reference, self.x)
        with evaluating(model), evaluating(reference):
            parts = [
                perturb(model, reference, x, y, o, config, torch.Generator(self.x.device).manual_seed(0))
                for x, y, o in zip(self.clean.split(250), self.y.split(250), own.split(250), strict=True)
            ]
        return torch.cat(parts)

    def measure(
        self, model: nn.Module, reference: nn.Module, config: SAU, *, trigger: bool = False
    ) -> tuple[dict[str, float], dict[str, list[int]]]:
        """The five risks (fractions), and for both inner objectives how many adversarial examples are of type I, II,
        III.

        ``trigger`` counts the triggered image among the members of S, for attacks whose trigger is one.
        """
        made = {
            inner: self.perturbed(model, reference, replace(config, inner=inner)) for inner in ("shared", "vanilla")
        }
        images = [*made.values(), *([self.triggered.float() / 255] if trigger else [])]
        found, known = self.predictions(model, images), self.predictions(reference, images)
        works = predict(reference, self.triggered) == self.wanted
        values = (
            clean_risk(found[0], self.y),
            backdoor_risk(predict(model, self.triggered), self.y, self.wanted),
            adversarial_risk_of(found, self.y, self.wanted),
            sub_adversarial_risk(found, known, self.y, self.wanted, works),
            shared_risk(found, known, self.y),
        )
        types = {
            inner: torch.bincount(example_types(found[k], known[k], self.y), minlength=4).tolist()[1:]
            for k, inner in enumerate(made, start=1)
        }
        return {name: round(value, 5) for name, value in zip(RISKS, values, strict=True)}, types


def adversarial_risk(
    models: Models,
    scene: Scene,
    *,
    seed: int,
    n: int = 500,
    steps: int = 5,
    eps: float = 0.2,
    step: float = 0.2,
    trigger: bool = False,
) -> dict[str, Any]:
    """Risks of all ``models``, of which the first is the backdoored one, on ``n`` test images.

    ``trigger`` counts the triggered image among the members of S, for attacks whose trigger is one.

    Returns
    -------
    dict
        n; clean, backdoor, adversarial, sub, shared: one fraction per model; types: ``shared`` and ``vanilla`` (the
        inner objective), per model how many adversarial examples are of type I, II and III.
    """
    watched, config = Watched(scene, n), SAU(steps=steps, eps=eps, step=step)
    out: dict[str, Any] = {"n": len(watched.y), **{name: [] for name in RISKS}, "types": {"shared": [], "vanilla": []}}
    for model in models:
        risks, types = watched.measure(model, models[0], config, trigger=trigger)
        for name in RISKS:
            out[name].append(risks[name])
        for inner, counts in types.items():
            out["types"][inner].append(counts)
    return out


def sau_curve(
    models: Models, scene: Scene, *, seed: int, n: int = 500, n_clean: int = 500, every: int = 1, **params: Any
) -> dict[str, Any]:
    """SAU, watched: the risks after every ``every``-th epoch on ``n`` test images, which the defense does not see.

    ``params`` are hyper-parameters of SAU: with ``inner`` and ``outer`` "vanilla", the curves are those of vanilla
    adversarial training. Risks are measured with the radius and steps of ``params``.

    Returns
    -------
    dict
        n; epoch: from 0, the backdoored model; c_acc, asr: percent; clean, backdoor, adversarial, sub, shared:
        fractions; types: as :func:`adversarial_risk`, per epoch.
    """
    from paperlib.registry import configure

    config = configure(SAU, "sau", **params)
    watched = Watched(scene, n)
    out: dict[str, Any] = {"n": len(watched.y), "epoch": [], "c_acc": [], "asr": [], **{name: [] for name in RISKS}}
    out["types"] = {"shared": [], "vanilla": []}

    def watch(epoch: int, model: nn.Module, reference: nn.Module) -> None:
        if epoch % every and epoch != config.epochs:
            return
        risks, types = watched.measure(model, reference, config)
        row = {"epoch": epoch, "c_acc": round(100 * (1 - risks["clean"]), 3), "asr": round(100 * risks["backdoor"], 3)}
        for name, value in {**row, **risks}.items():
            out[name].append(value)
        for inner, counts in types.items():
            out["types"][inner].append(counts)

    sau(models[0], scene.clean(n_clean, seed), config, seed=seed, each_epoch=watch)
    return out
