r"""How a backdoor is learned: the model of a spec trained once more, with its eyes on single samples.

After every epoch, on up to ``n`` clean and ``n`` poisoned training images without augmentation, in evaluation mode

* quick learning (BackdoorBench): mean loss and accuracy of each group; the norm of the gradient of each group's mean
  loss, and its cosine with the gradient of the training set as a whole, in which the groups weigh as much as their
  share;
* forgetting (Toneva et al., "An Empirical Study of Example Forgetting during Deep Neural Network Learning", ICLR 2019,
  arXiv 1812.05159): a sample is forgotten when it is correct after one epoch and wrong after the next. Samples that are
  never correct are counted apart.

A sample is correct when the model gives the label that it carries in training; for a poisoned one that is what the
attacker wants. Data, order, recipe and seed are those of the spec; the initial weights those of
:func:`paperlib.models.fresh` with its seed.

Differences from the benchmark
1. The gradient signal-to-noise ratio (GSNR) is left out.
2. Toneva et al. note a sample's correctness when it is in a batch; here all are noted after the epoch, with one and the
   same model.

Introduced in notebook 08.
"""

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paperlib.analysis.samples import Models, attacked
from paperlib.attacks.scene import Scene
from paperlib.errors import PaperlibError
from paperlib.models import fresh
from paperlib.training import evaluating, fit, logits


def forgetting(correct: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """From bool (epochs, N): forgetting events (N,), never learned (N,) bool, and the first correct epoch, 0 if none
    (N,)."""
    events = (correct[:-1] & ~correct[1:]).sum(0)
    never = ~correct.any(0)
    first = torch.where(never, 0, correct.int().argmax(0) + 1)
    return events, never, first


def _gradient(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Gradient of the mean loss of uint8 images as one vector; evaluation mode."""
    weights = [w for w in model.parameters() if w.requires_grad]
    with torch.enable_grad(), evaluating(model):
        loss = F.cross_entropy(model(x.float() / 255).float(), y)
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, weights)])


def _chosen(mask: Tensor, n: int, seed: int) -> Tensor:
    """At most ``n`` indices where ``mask`` is True, at random."""
    index = mask.nonzero().flatten()
    order = torch.randperm(len(index), generator=torch.Generator().manual_seed(seed)).to(index.device)
    return index[order[:n]]


def _histogram(values: Tensor) -> list[int]:
    return torch.bincount(values).tolist() if len(values) else []


def dynamics(
    models: Models, scene: Scene, *, seed: int, n: int = 1000, n_gradient: int = 100, epochs: int = 0
) -> dict[str, Any]:
    """Train the architecture of the first of ``models`` as its spec says and watch ``n`` samples of each group.

    Parameters
    ----------
    n_gradient
        Of them, those on which the gradients are taken.
    epochs
        Another number of epochs than the spec's; 0: the spec's.

    Returns
    -------
    dict
        attack; ratio; epochs: per epoch {loss, acc, gradient, cosine}_{clean, poisoned} (acc in percent); clean,
        poisoned: {n, events: how many samples were forgotten 0, 1, 2, ... times (those never learned are not in it),
        never: how many were never learned, first: how many were first correct after epoch 1, 2, ...}.

    Raises
    ------
    PaperlibError
        A model trained on clean data, or an attack that controls the training: it has no fixed poisoned set.
    """
    attacked(scene, "dynamics")
    if hasattr(scene.trigger, "train"):
        raise PaperlibError(
            f"attack={scene.name!r} poisons anew in every batch; the tool dynamics needs an attack with a fixed"
            " poisoned set."
        )
    for name, value, least in (("n", n, 1), ("n_gradient", n_gradient, 1), ("epochs", epochs, 0)):
        if value < least:
            raise PaperlibError(f"{name}={value!r} must be at least {least}.")
    data, mask = scene.poisoned_set.data, scene.poisoned_set.mask
    groups = {"clean": _chosen(~mask, n, seed), "poisoned": _chosen(mask, n, seed)}
    share = mask.float().mean().item()
    correct: dict[str, list[Tensor]] = {name: [] for name in groups}
    model = fresh(models[0], scene.seed)
    log: list[dict[str, float]] = []

    def watch(epoch: int) -> dict[str, float]:
        entry: dict[str, float] = {"epoch": epoch}
        gradients = {}
        for name, index in groups.items():
            x, y = data.x[index], data.y[index]
            scores = logits(model, x)
            right = scores.argmax(1) == y
            correct[name].append(right)
            entry[f"loss_{name}"] = F.cross_entropy(scores, y).item()
            entry[f"acc_{name}"] = 100 * right.float().mean().item()
            gradients[name] = _gradient(model, x[:n_gradient], y[:n_gradient])
        whole = (1 - share) * gradients["clean"] + share * gradients["poisoned"]
        for name, gradient in gradients.items():
            entry[f"gradient_{name}"] = gradient.norm().item()
            entry[f"cosine_{name}"] = F.cosine_similarity(gradient, whole, dim=0).item()
        log.append({name: round(value, 5) for name, value in entry.items()})
        return {}

    recipe = replace(scene.recipe, epochs=epochs or scene.recipe.epochs)
    fit(model, data, recipe, seed=scene.seed, each_epoch=watch)
    out: dict[str, Any] = {"attack": scene.name, "ratio": scene.ratio, "epochs": log}
    for name, noted in correct.items():
        events, never, first = forgetting(torch.stack(noted))
        out[name] = {
            "n": len(never),
            "events": _histogram(events[~never]),
            "never": int(never.sum()),
            "first": _histogram(first[~never])[1:],
        }
    return out
