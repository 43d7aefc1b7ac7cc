r"""The curvature of the loss at a model: largest eigenvalues of its Hessian, and how all of them are distributed.

Products of the Hessian H of the mean cross-entropy with a vector come from differentiating twice; Lanczos iteration
with full re-orthogonalisation turns them into a small tridiagonal matrix T. The largest eigenvalues of T approximate
those of H. With probes v of random signs, the eigenvalues :math:`\theta_j` of T and the squared first entries
:math:`\omega_j` of its eigenvectors

.. math:: \phi(\lambda) \approx \frac1m \sum_{v} \sum_j \omega_j\, \mathcal N(\lambda;\ \theta_j, s^2)

is the spectral density (stochastic Lanczos quadrature: Ghorbani, Krishnan, Xiao, ICML 2019, arXiv 1901.10159;
PyHessian: Yao et al., 2020, arXiv 1912.07145), and the mean of :math:`p \sum_j \omega_j \theta_j` the trace, p the
number of weights.

Two losses: clean test images with their classes, and the same images with the trigger and the label that the attacker
wants. Evaluation mode, float32. Introduced in notebook 08.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paperlib.analysis.samples import Models, attacked_pairs, rounded
from paperlib.attacks import poisoned_labels
from paperlib.attacks.scene import Scene
from paperlib.errors import PaperlibError
from paperlib.models.second_order import twice_differentiable
from paperlib.training import evaluating

Product = Callable[[Tensor], Tensor]


def hessian_product(model: nn.Module, x: Tensor, y: Tensor) -> tuple[Product, int]:
    """A function v -> Hv for the mean cross-entropy on images x (N, C, H, W) in [0, 1], and the length of v.

    Call it while the model is in evaluation mode.
    """
    weights = [w for w in model.parameters() if w.requires_grad]
    with torch.enable_grad(), twice_differentiable():
        loss = F.cross_entropy(model(x), y)
        gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, weights, create_graph=True)])

    def product(v: Tensor) -> Tensor:
        found = torch.autograd.grad(gradient @ v, weights, retain_graph=True, allow_unused=True)
        parts = [torch.zeros_like(w) if g is None else g for w, g in zip(weights, found, strict=True)]
        return torch.cat([g.flatten() for g in parts]).detach()

    return product, len(gradient)


def lanczos(product: Product, start: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Eigenvalues (k,) of the tridiagonal matrix and the first entries (k,) of its eigenvectors, k <= ``steps``."""
    basis = [start / start.norm()]
    diagonal: list[Tensor] = []
    beside: list[Tensor] = []
    for _ in range(min(steps, len(start))):
        w = product(basis[-1])
        diagonal.append(w @ basis[-1])
        known = torch.stack(basis)
        for _ in range(2):  # twice is enough (Kahan)
            w = w - known.T @ (known @ w)
        length = w.norm()
        if length <= 1e-6 * diagonal[0].abs().clamp_min(1e-6):
            break  # the basis spans an invariant space: T is exact
        beside.append(length)
        basis.append(w / length)
    k = len(diagonal)
    t = torch.diag(torch.stack(diagonal).double())
    if k > 1:
        off = torch.stack(beside[: k - 1]).double()
        t = t + torch.diag(off, 1) + torch.diag(off, -1)
    values, vectors = torch.linalg.eigh(t.cpu())
    return values, vectors[0]


def spectrum(
    product: Product, size: int, *, steps: int, probes: int, points: int, seed: int, device: Any = "cpu"
) -> dict[str, Any]:
    """Ritz values of the first probe, the trace, and the density on ``points`` eigenvalues."""
    generator = torch.Generator().manual_seed(seed)
    starts = torch.randint(0, 2, (probes, size), generator=generator).float().mul_(2).sub_(1).to(device)
    found = [lanczos(product, start, steps) for start in starts]
    theta = torch.cat([values for values, _ in found])
    omega = torch.cat([first.square() for _, first in found]) / probes
    low, high = theta.min().item(), theta.max().item()
    spread = max(high - low, 1e-6)
    at = torch.linspace(low - 0.05 * spread, high + 0.05 * spread, points, dtype=torch.float64)
    width = 0.01 * spread
    bells = torch.exp(-((at[:, None] - theta) ** 2) / (2 * width**2)) / (width * (2 * torch.pi) ** 0.5)
    return {"ritz": found[0][0], "trace": size * (omega * theta).sum().item(), "at": at, "density": bells @ omega}


def hessian(
    models: Models,
    scene: Scene,
    *,
    seed: int,
    n: int = 200,
    steps: int = 20,
    probes: int = 1,
    top: int = 5,
    points: int = 200,
) -> dict[str, Any]:
    """Curvature of the loss of ``n`` test images, clean and triggered, at every model.

    Lanczos takes ``steps`` steps from each of ``probes`` random vectors; the density is given at ``points`` places.

    Returns
    -------
    dict
        clean, triggered: per model {top: the largest eigenvalues, largest first; trace; at, density: the spectral
        density}.

    Raises
    ------
    PaperlibError
        A model trained on clean data, or a count below 1.
    """
    for name, value in (("n", n), ("steps", steps), ("probes", probes), ("top", top), ("points", points)):
        if value < 1:
            raise PaperlibError(f"{name}={value!r} must be at least 1.")
    clean, triggered, y = attacked_pairs(scene, n, "hessian")
    wanted = poisoned_labels(y, scene.trigger.labels, scene.target, scene.test.n_classes)
    out: dict[str, Any] = {"clean": [], "triggered": []}
    for model in models:
        with evaluating(model):
            for name, x, labels in (("clean", clean, y), ("triggered", triggered, wanted)):
                product, size = hessian_product(model, x.float() / 255, labels)
                found = spectrum(product, size, steps=steps, probes=probes, points=points, seed=seed, device=x.device)
                out[name].append(
                    {
                        "top": rounded(found["ritz"].flip(0)[:top]),
                        "trace": float(f"{found['trace']:.5g}"),
                        "at": rounded(found["at"]),
                        "density": rounded(found["density"]),
                    }
                )
    return out
