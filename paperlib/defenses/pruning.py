"""What the pruning defenses share: batch-norm channels, masks that stay, a held-out part, and the choice of a
threshold.

A *channel* of a network is an output channel of a batch-norm layer with weight and bias. To prune it is to set its
weight to 0, and with ``bias=True`` its bias too. Without the latter the channel becomes a constant: that is what ANP
and RNP optimise and what their authors' code does; CLP, EP and BNP set both to 0.
"""

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from paperlib.data.images import ImageData
from paperlib.errors import NotApplicable, PaperlibError
from paperlib.training import Step, augment, evaluating, predict

Judge = Callable[[nn.Module], dict[str, float]] | None
"""C-Acc and ASR, in percent of the **test** data, or None: only what ``selection="paper"`` reproduces may see it."""


# ------------------------------------------------------------------------------------------------------------- channels


def batch_norms(model: nn.Module) -> dict[str, _BatchNorm]:
    """Every batch-norm layer of ``model`` that has a weight and a bias, by name, in the order of registration.

    Raises
    ------
    NotApplicable
        There is none.
    """
    found = {name: m for name, m in model.named_modules() if isinstance(m, _BatchNorm) and m.affine}
    if not found:
        raise NotApplicable(
            f"the model ({type(model).__name__}) has no batch-norm layer with weight and bias; this method prunes"
            " those."
        )
    return found


def per_layer(norms: Mapping[str, _BatchNorm], flat: Tensor) -> dict[str, Tensor]:
    """Split one vector over all channels, shape (channels of all layers,), into one vector per layer."""
    parts = flat.split([norm.num_features for norm in norms.values()])
    return dict(zip(norms, parts, strict=True))


def scaled(norms: Mapping[str, _BatchNorm], weight: Tensor, bias: Tensor | None = None) -> dict[str, Tensor]:
    """Parameters for ``torch.func.functional_call``: batch-norm weights (and biases) times factors, one per channel.

    ``weight`` and ``bias`` have shape (channels of all layers,); gradients reach them, not the model.
    """
    out = {f"{name}.weight": norms[name].weight.detach() * f for name, f in per_layer(norms, weight).items()}
    if bias is not None:
        out |= {f"{name}.bias": norms[name].bias.detach() * f for name, f in per_layer(norms, bias).items()}
    return out


@torch.no_grad()
def prune(model: nn.Module, channels: Mapping[str, Tensor], *, bias: bool) -> nn.Module:
    """A copy of ``model`` without the ``channels``: layer name -> bool (channels of the layer,), True where pruned."""
    out = deepcopy(model)
    for name, gone in channels.items():
        norm = out.get_submodule(name)
        assert isinstance(norm, _BatchNorm)
        norm.weight[gone] = 0
        if bias:
            norm.bias[gone] = 0
    return out.eval()


@torch.no_grad()
def batch_norm_inputs(model: nn.Module, x: Tensor, summary: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    """``summary`` of the input (B, channels, ...) of every batch-norm layer on one batch, in evaluation mode.

    In float32 throughout: bfloat16 rounds pre-activations to a few values, of which a histogram would show the gaps.

    Raises
    ------
    NotApplicable
        The model has no batch norm.
    """
    seen: dict[str, Tensor] = {}
    handles = []
    for name, norm in batch_norms(model).items():

        def hook(module: nn.Module, inputs: tuple[Tensor, ...], name: str = name) -> None:
            seen[name] = summary(inputs[0].float())

        handles.append(norm.register_forward_pre_hook(hook))
    try:
        with evaluating(model):
            model(x)
    finally:
        for handle in handles:
            handle.remove()
    return seen


def beyond(values: Tensor, u: float, *, above: bool) -> Tensor:
    """Bool: which of the ``values`` (channels of one layer,) lie more than ``u`` standard deviations off their mean.

    The standard deviation is the unbiased one. Values that are not finite belong to channels of which nothing can be
    said: they do not count and are never chosen, and neither is anything in a layer with fewer than two others.
    """
    known = values[values.isfinite()]
    if len(known) < 2:
        return torch.zeros_like(values, dtype=torch.bool)
    mean, spread = known.mean(), u * known.std()
    return values.isfinite() & ((values > mean + spread) if above else (values < mean - spread))


def pruned_notes(channels: Mapping[str, Tensor]) -> dict[str, Any]:
    """Notes: how many channels there are, how many went, and how many of them in which layer."""
    by_layer = {name: int(gone.sum()) for name, gone in channels.items() if gone.any()}
    return {
        "n_channels": sum(len(gone) for gone in channels.values()),
        "n_pruned": sum(by_layer.values()),
        "pruned_by_layer": by_layer,
    }


# ---------------------------------------------------------------------------------------------------------- fine-tuning


@torch.no_grad()
def apply_masks(model: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Multiply parameters, by name, with masks of 0 and 1 that broadcast to their shape."""
    for name, mask in masks.items():
        model.get_parameter(name).mul_(mask)


def masked_step(step: Step, masks: Mapping[str, Tensor]) -> Step:
    """``step``, after which the masks hold again: what was pruned stays pruned during fine-tuning."""

    def masked(model: nn.Module, x: Tensor, y: Tensor, optimizer: torch.optim.Optimizer) -> Tensor:
        losses = step(model, x, y, optimizer)
        apply_masks(model, masks)
        return losses

    return masked


def zeros(model: nn.Module) -> dict[str, Tensor]:
    """Masks of the parameters that hold exact zeros: what was pruned before. Training leaves none by chance."""
    found = {name: (weight != 0).to(weight.dtype) for name, weight in model.named_parameters()}
    return {name: mask for name, mask in found.items() if not mask.all()}


# --------------------------------------------------------------------------------------------------------------- images


def hold_out(data: ImageData, share: float, seed: int) -> tuple[ImageData, ImageData]:
    """Split ``data`` at random, class by class: (what the method works on, the part on which it chooses).

    Of every class the nearest whole number to ``share`` of its images is held out, at least one and never all.

    Raises
    ------
    PaperlibError
        ``share`` is not between 0 and 1, or a class has fewer than two images.
    """
    if not 0 < share < 1:
        raise PaperlibError(f"held_out={share} must lie between 0 and 1: it is the share of the clean images.")
    counts = torch.bincount(data.y, minlength=data.n_classes)
    if (counts < 2).any():
        few = ", ".join(data.class_names[i] for i in (counts < 2).nonzero().flatten().tolist())
        raise PaperlibError(
            f"clean holds {len(data)} images and fewer than two of: {few}; a choice on held-out images needs two per"
            " class."
        )
    take = (share * counts).round().long().clamp(min=1).minimum(counts - 1)
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed)).to(data.y.device)
    order = order[data.y[order].argsort(stable=True)]  # class by class, each in random order
    y = data.y[order]
    rank = torch.arange(len(y), device=y.device) - (counts.cumsum(0) - counts)[y]
    held = torch.zeros_like(data.y, dtype=torch.bool)
    held[order] = rank < take[y]
    return data.subset(~held), data.subset(held)


def accuracy(model: nn.Module, data: ImageData) -> float:
    """Percent of ``data`` that ``model`` classifies correctly."""
    return round(100 * (predict(model, data.x) == data.y).float().mean().item(), 3)


def one_batch(data: ImageData, n: int, generator: torch.Generator) -> Tensor:
    """At most ``n`` random images of ``data``, augmented as in training: float in [0, 1], shape (n, C, H, W).

    Running statistics were collected on augmented images; a batch that is compared with them is augmented too.
    """
    index = torch.randperm(len(data), generator=generator, device=data.x.device)[:n]
    return augment(data.x[index], data.pad, data.flip, generator).float().div_(255)


def epoch(data: ImageData, batch_size: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Augmented batches of near-equal size, at most ``batch_size``, that cover ``data`` once: images in [0, 1],
    labels."""
    order = torch.randperm(len(data), generator=generator, device=data.x.device)
    for index in order.tensor_split(-(-len(data) // batch_size)):
        yield augment(data.x[index], data.pad, data.flip, generator).float().div_(255), data.y[index]


# ------------------------------------------------------------------------------------------------ choice of a threshold


THRESHOLDS = tuple(round(0.05 * i, 2) for i in range(19))
"""0, 0.05, ..., 0.9: what the benchmark tries."""


def split(
    model: nn.Module, clean: ImageData, config: Any, seed: int, judge: Judge
) -> tuple[ImageData, ImageData | None]:
    """With what ANP and RNP begin: the clean images for the masks, and those for the threshold, if those choose it.

    Raises
    ------
    NotApplicable
        The model has no batch norm.
    PaperlibError
        ``clean`` is too small for a held-out part.
    """
    batch_norms(model)
    if config.threshold is not None or judge is not None:
        return clean, None
    return hold_out(clean, config.held_out, seed)


def prune_by_mask(
    model: nn.Module,
    masks: Mapping[str, Tensor],
    *,
    threshold: float | None,
    thresholds: tuple[float, ...] = THRESHOLDS,
    budget: float,
    held: ImageData | None,
    judge: Judge,
) -> tuple[nn.Module, dict[str, Any]]:
    """Prune the channels whose learned mask is at most a threshold: ANP and RNP.

    Parameters
    ----------
    masks
        Layer name -> values in [0, 1], shape (channels of the layer,).
    threshold
        The threshold; None: one of ``thresholds`` is chosen,

        * on ``held``: the largest at which clean accuracy falls by at most ``budget`` of what it was;
        * by ``judge``, where given: of those at which *test* accuracy does, the one with the lowest *test* ASR (the
          benchmark's choice; an oracle).

        Where none keeps to the budget the model stays unpruned (threshold -1).
    """

    def channels(t: float) -> dict[str, Tensor]:
        return {name: mask <= t for name, mask in masks.items()}

    if threshold is not None:
        gone = channels(threshold)
        return prune(model, gone, bias=False), {"selection": "fixed", "threshold": threshold, **pruned_notes(gone)}

    def measure(candidate: nn.Module) -> list[float]:
        """Accuracy in percent, and with a judge ASR."""
        if judge is not None:
            rates = judge(candidate)
            return [rates["c_acc"], rates["asr"]]
        assert held is not None
        return [accuracy(candidate, held)]

    before = measure(model)[0]
    curve: list[list[float]] = []
    best, lowest = -1.0, float("inf")
    for t in thresholds:
        gone = channels(t)
        count = sum(int(g.sum()) for g in gone.values())
        nothing_more = bool(curve) and curve[-1][1] == count
        reached = curve[-1][2:] if nothing_more else measure(prune(model, gone, bias=False))
        curve.append([t, count, *reached])
        cost = -t if judge is None else reached[1]
        if before - reached[0] <= budget * before and cost < lowest:
            best, lowest = t, cost
    gone = channels(best)
    notes = {
        "selection": "held-out clean accuracy" if judge is None else "test ASR, as in the original",
        "threshold": best,
        "accuracy_before": before,
        "curve": curve,  # threshold, channels pruned, accuracy, with a judge also ASR
        **pruned_notes(gone),
    }
    return prune(model, gone, bias=False), notes
