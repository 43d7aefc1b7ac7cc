r"""What a neuron looks for: an image made to activate it.

Gradient ascent on the pixels (Erhan et al., "Visualizing higher-layer features of a deep network", University of
Montreal, 2009): for a neuron k of the pooled features

.. math:: \max_x\; a_k(x) - \lambda\, \mathrm{TV}(x), \qquad x = \mathrm{sigmoid}(z),

with Adam on z, from grey with a little noise. TV is the mean absolute difference of neighbouring pixels. Before every
step the image is shifted by a random pixel or none, cyclically, so that no single pixel decides. All neurons are
optimised in one batch. Introduced in notebook 08.
"""

from typing import Any

import torch
from torch import Tensor, nn

from paperlib.analysis.activated_images import by_difference
from paperlib.analysis.samples import Models, packed, poisoned_sample, rounded
from paperlib.attacks.scene import Scene
from paperlib.errors import PaperlibError
from paperlib.models.default_layer import feature_layer
from paperlib.models.layers import layer_output, per_neuron, watching
from paperlib.training import evaluating


def _variation(x: Tensor) -> Tensor:
    """Mean absolute difference of neighbouring pixels of every image, (N,)."""
    return x.diff(dim=2).abs().mean((1, 2, 3)) + x.diff(dim=3).abs().mean((1, 2, 3))


def ascend(
    model: nn.Module,
    layer: str,
    neurons: Tensor,
    shape: tuple[int, ...],
    *,
    iterations: int,
    lr: float,
    smoothness: float,
    seed: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Images (K, C, H, W) in [0, 1] for the neurons (K,), and their activation at the start and at the end, (K,)
    each."""
    device = neurons.device
    generator = torch.Generator().manual_seed(seed)
    z = (0.01 * torch.randn(len(neurons), *shape, generator=generator)).to(device).requires_grad_()
    optimizer = torch.optim.Adam([z], lr)

    def activation(x: Tensor) -> Tensor:
        with watching(model, layer) as seen:
            model(x)
        return per_neuron(seen[0]).gather(1, neurons[:, None])[:, 0]

    with torch.enable_grad(), evaluating(model):
        start = activation(z.sigmoid()).detach()
        for _ in range(iterations):
            down, right = torch.randint(-1, 2, (2,), generator=generator).tolist()
            x = z.sigmoid()
            goal = activation(x.roll((down, right), (2, 3))) - smoothness * _variation(x)
            (gradient,) = torch.autograd.grad(-goal.sum(), z)
            z.grad = gradient
            optimizer.step()
        final = z.sigmoid()
        return final.detach(), start, activation(final).detach()


def feature_visualisation(
    models: Models,
    scene: Scene,
    *,
    seed: int,
    layer: str = "",
    neurons: tuple[int, ...] = (),
    shown: int = 6,
    n: int = 500,
    iterations: int = 300,
    lr: float = 0.05,
    smoothness: float = 1.0,
) -> dict[str, Any]:
    """An image for each of chosen neurons of the first of ``models``.

    Without ``neurons``: those whose mean activation differs most between poisoned and clean images, of ``n``.
    Adam with learning rate ``lr`` takes ``iterations`` steps; ``smoothness`` weighs the total variation.

    Returns
    -------
    dict
        shape: [C, H, W]; neurons; images: base64; start, final: activation of every neuron before and after.

    Raises
    ------
    PaperlibError
        A model trained on clean data, a neuron that the layer does not have, no iteration.
    """
    if iterations < 1:
        raise PaperlibError(f"iterations={iterations!r} must be at least 1.")
    x, _, mask = poisoned_sample(scene, n, seed)
    model, where = models[0], feature_layer(models[0], layer, x)
    activation = layer_output(model, where, x, pooled=True)
    width = activation.shape[1]
    if bad := [i for i in neurons if not 0 <= i < width]:
        raise PaperlibError(f"neurons={tuple(neurons)!r}: {bad[0]} is none of the layer's {width} (0 to {width - 1}).")
    chosen = torch.tensor(neurons, device=x.device) if neurons else by_difference(activation, mask)[:shown]
    images, start, final = ascend(
        model, where, chosen, tuple(x.shape[1:]), iterations=iterations, lr=lr, smoothness=smoothness, seed=seed
    )
    return {
        "shape": list(x.shape[1:]),
        "neurons": chosen.tolist(),
        "images": [packed(i) for i in images.mul(255).round().to(torch.uint8)],
        "start": rounded(start),
        "final": rounded(final),
    }
