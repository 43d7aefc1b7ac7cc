r"""What one step of FT and of FT-SAM sees, neuron by neuron (FT-SAM paper, arXiv 2304.11823, Figure 6).

On the first batch of the first epoch, in the last convolution: the norm of :math:`\nabla L(w)` that FT steps along, the
norm of :math:`\nabla L(w + \varepsilon)` that FT-SAM steps along, and the norm of :math:`\varepsilon` for plain SAM (T
= identity) and adaptive SAM. L is plain cross-entropy in all of them, so that only the point where the gradient is
taken differs.
"""

from typing import Any

import torch

from paperlib.analysis.samples import Models
from paperlib.attacks.scene import Scene
from paperlib.defenses.ft_sam import displaced, frozen_statistics, perturbation
from paperlib.models.default_layer import last_convolution
from paperlib.models.layers import named_layer
from paperlib.training import augment, loss_function


def sam_geometry(
    models: Models,
    scene: Scene,
    *,
    seed: int,
    rho: float = 2.0,
    rhos: tuple[float, ...] = (),
    n_clean: int = 500,
    batch_size: int = 256,
    layer: str = "",
) -> dict[str, Any]:
    """Gradient and perturbation norms of the neurons of the first of ``models``, on one batch of ``batch_size`` images.

    Returns
    -------
    dict
        gradient_ft, gradient_ft_sam, epsilon_sam, epsilon_asam: one number per channel, at ``rho``; mean_gradient: for
        every value of ``rhos`` the mean over channels of the norm of the gradient at w + epsilon.
    """
    model = models[0]
    clean = scene.clean(n_clean, seed)
    generator = torch.Generator(clean.x.device).manual_seed(seed)
    index = torch.randperm(len(clean), generator=generator, device=clean.x.device)[:batch_size]
    x = augment(clean.x[index], clean.pad, clean.flip, generator).float() / 255
    y = clean.y[index]
    loss = loss_function(0.0)
    weights: list[torch.Tensor] = list(model.parameters())
    where = next(
        i for i, w in enumerate(weights) if w is named_layer(model, last_convolution(model, layer, clean.x)).weight
    )

    def per_neuron(tensors: list[torch.Tensor]) -> list[float]:
        return [round(v, 6) for v in tensors[where].detach().flatten(1).norm(dim=1).tolist()]

    def gradient() -> list[torch.Tensor]:
        return list(torch.autograd.grad(loss(model(x), y).mean(), weights))

    def at_worst(radius: float, adaptive: bool) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        epsilon = perturbation([w.detach() for w in weights], here, radius, adaptive)
        with displaced(weights, epsilon):
            return epsilon, gradient()

    model.train()
    with torch.enable_grad(), frozen_statistics(model):
        here = gradient()
        epsilon_asam, there = at_worst(rho, True)
        epsilon_sam, _ = at_worst(rho, False)
        sweep = [torch.tensor(per_neuron(at_worst(r, True)[1])).mean().item() for r in rhos]
    model.eval()
    return {
        "gradient_ft": per_neuron(here),
        "gradient_ft_sam": per_neuron(there),
        "epsilon_sam": per_neuron(epsilon_sam),
        "epsilon_asam": per_neuron(epsilon_asam),
        "mean_gradient": [round(v, 6) for v in sweep],
    }
