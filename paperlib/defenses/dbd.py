r"""DBD: decoupling the training process.

Huang et al., "Backdoor Defense via Decoupling the Training Process", ICLR 2022 (arXiv 2202.03423), Section 4. Labels
make the poisoned samples cluster; without them the trigger is one detail among many.

1. SimCLR (arXiv 2002.05709) on all images without labels. With z the unit projections of two random views of B images,
   view j(i) the other one of i's image, and temperature 0.5,

   .. math:: \ell_i = -\log \frac{\exp(z_i \cdot z_{j(i)} / T)}{\sum_{k \ne i} \exp(z_i \cdot z_k / T)}.

2. The backbone is frozen; the last linear layer is trained for 10 epochs with the symmetric cross-entropy (arXiv
   1908.06112)

   .. math:: \alpha\, CE(p, y) + \beta\, RCE(p, y), \quad RCE = -\sum_c p_c \log \max(y_c, 10^{-4}), \quad \alpha =
      0.1,\ \beta = 1.

3. The half of the samples with the lowest losses keep their labels.
4. MixMatch (arXiv 1905.02249) trains the whole model with these as labelled and the others as unlabelled samples:
   labels of the latter are guessed from two views and sharpened, :math:`q_c \propto \bar p_c^{1/T}`, everything is
   mixed up with a coefficient max(b, 1-b), b ~ Beta(0.75, 0.75), and the loss is CE + lambda_u x squared error,
   lambda_u rising linearly to 15.

Differences from the paper
1. Views: random crop, flip (where the data set flips), brightness, contrast and saturation jitter, grey, batched on the
   device; no hue, no blur.
2. One forward pass of labelled and unlabelled samples together takes the place of MixMatch's interleaving of batches;
   no averaged copy of the weights.
3. The backbone is everything before the model's last linear layer, whatever the architecture.

Introduced in notebook 05.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paperlib.data.images import ImageData
from paperlib.detection.statistics import budget, top
from paperlib.models import fresh
from paperlib.models.default_layer import feature_layer
from paperlib.models.features import embed
from paperlib.models.layers import last_linear
from paperlib.training import Progress, Recipe, Step, augment, autocast, fit, logits


@dataclass(frozen=True)
class DBD:
    """Hyper-parameters; defaults: the paper's, CIFAR-10."""

    simclr_epochs: int = 100
    simclr_batch: int = 512
    simclr_lr: float = 0.4
    temperature: float = 0.5
    projection: int = 128
    linear_epochs: int = 10
    linear_batch: int = 128
    linear_lr: float = 0.1
    sce_alpha: float = 0.1
    sce_beta: float = 1.0
    keep: float = 0.5
    """Share of the samples that keep their labels."""
    epochs: int = 100
    """Epochs of MixMatch."""
    iterations: int = 1024
    """Steps of an epoch of MixMatch."""
    batch_size: int = 64
    lr: float = 0.002
    """Of Adam, in MixMatch."""
    lambda_u: float = 15.0
    sharpening: float = 0.5
    mix_alpha: float = 0.75
    layer: str = ""


# ------------------------------------------------------------------------------------------------------- 1. SimCLR


def view(x: Tensor, flip: bool, generator: torch.Generator) -> Tensor:
    """One random view of every image (B, C, H, W) in [0, 1]."""
    b = len(x)

    def draw(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(shape or (b, 1, 1, 1), generator=generator, device=x.device)

    side, mirror = draw(0.2, 1, b).sqrt(), torch.ones(b, device=x.device)  # a crop of 20 to 100 % of the area
    if flip:
        mirror = torch.where(draw(0, 1, b) < 0.5, -1.0, 1.0)
    stretch, zero = draw(math.log(3 / 4), math.log(4 / 3), b).div(2).exp(), torch.zeros(b, device=x.device)
    width, height = (side * stretch).clamp(max=1), (side / stretch).clamp(max=1)
    right, down = draw(-1, 1, b) * (1 - width), draw(-1, 1, b) * (1 - height)
    theta = torch.stack([width * mirror, zero, right, zero, height, down], 1).view(b, 2, 3)
    out = F.grid_sample(x, F.affine_grid(theta, list(x.shape), align_corners=False), align_corners=False)

    grey = out.mean(1, keepdim=True)
    jittered = out * draw(0.6, 1.4)
    jittered = (jittered - jittered.mean((1, 2, 3), keepdim=True)) * draw(0.6, 1.4) + jittered.mean(
        (1, 2, 3), keepdim=True
    )
    jittered = (jittered - jittered.mean(1, keepdim=True)) * draw(0.6, 1.4) + jittered.mean(1, keepdim=True)
    out = torch.where(draw(0, 1) < 0.8, jittered.clamp(0, 1), out)
    return torch.where(draw(0, 1) < 0.2, grey, out)


def nt_xent(one: Tensor, two: Tensor, temperature: float) -> Tensor:
    """Mean of the 2B losses of the projections (B, d) of two views."""
    z = F.normalize(torch.cat([one, two]), dim=1)
    similarity = z @ z.T / temperature
    similarity.fill_diagonal_(-math.inf)
    b = len(one)
    other = torch.arange(2 * b, device=z.device).roll(b)
    return F.cross_entropy(similarity, other)


class Projected(nn.Module):
    """A model whose output is a projection of its features: what SimCLR trains."""

    def __init__(self, model: nn.Module, layer: str, width: int, out: int):
        super().__init__()
        self.model, self.layer = model, layer
        self.head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, out))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(embed(self.model, x, self.layer)[1])


def simclr_step(temperature: float, flip: bool, generator: torch.Generator) -> Step:
    """One step of SGD on NT-Xent, in the form that :func:`paperlib.training.fit` takes; labels are not used."""

    def step(model: nn.Module, x: Tensor, y: Tensor, optimizer: torch.optim.Optimizer) -> Tensor:
        with autocast(x.device):
            one, two = model(torch.cat([view(x, flip, generator), view(x, flip, generator)])).float().chunk(2)
        loss = nt_xent(one, two, temperature)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss.detach().expand(len(x))

    return step


# --------------------------------------------------------------------------------------------- 2. and 3. the labels


def symmetric_cross_entropy(logits: Tensor, y: Tensor, alpha: float, beta: float) -> Tensor:
    """alpha CE + beta RCE per sample (B,); log 0 is log 1e-4."""
    p = logits.softmax(1).clamp(1e-7, 1)
    reverse = (1 - p.gather(1, y[:, None]).flatten()) * -math.log(1e-4)
    return alpha * F.cross_entropy(logits, y, reduction="none") + beta * reverse


def linear_step(head: nn.Linear, alpha: float, beta: float) -> Step:
    """One step on the last layer alone; the backbone is in evaluation mode."""

    def step(model: nn.Module, x: Tensor, y: Tensor, optimizer: torch.optim.Optimizer) -> Tensor:
        model.eval()
        with autocast(x.device):
            out = model(x).float()
        found = symmetric_cross_entropy(out, y, alpha, beta)
        optimizer.zero_grad(set_to_none=True)
        found.mean().backward(inputs=list(head.parameters()))
        optimizer.step()
        return found.detach()

    return step


# ----------------------------------------------------------------------------------------------------- 4. MixMatch


def sharpen(p: Tensor, temperature: float) -> Tensor:
    """Probabilities (B, classes) raised to 1 / temperature and normalised again."""
    powered = p ** (1 / temperature)
    return powered / powered.sum(1, keepdim=True)


def mixmatch(
    model: nn.Module, data: ImageData, labelled: Tensor, config: DBD, seed: int, progress: Progress = None
) -> None:
    """Train ``model`` in place; ``labelled`` (N,) bool says which samples of ``data`` keep their labels."""
    device, b, classes = data.x.device, config.batch_size, data.n_classes
    generator = torch.Generator(device).manual_seed(seed)
    beta = torch.distributions.Beta(config.mix_alpha, config.mix_alpha)
    optimizer = torch.optim.Adam(model.parameters(), config.lr)
    known, unknown = labelled.nonzero().flatten(), (~labelled).nonzero().flatten()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        coefficients = beta.sample((config.epochs, config.iterations))
    coefficients = torch.maximum(coefficients, 1 - coefficients)

    def batch(pool: Tensor) -> tuple[Tensor, Tensor]:
        index = pool[torch.randint(len(pool), (b,), generator=generator, device=device)]
        return data.x[index], data.y[index]

    def augmented(x: Tensor) -> Tensor:
        return augment(x, data.pad, data.flip, generator).float().div(255)

    total = config.epochs * config.iterations
    for step in range(total):
        model.train()
        x, y = batch(known)
        u, _ = batch(unknown)
        one, two = augmented(u), augmented(u)
        with torch.no_grad(), autocast(device):
            guess = model(torch.cat([one, two])).float().softmax(1).chunk(2)
        q = sharpen((guess[0] + guess[1]) / 2, config.sharpening)
        inputs = torch.cat([augmented(x), one, two])
        targets = torch.cat([F.one_hot(y, classes).float(), q, q])
        partner = torch.randperm(3 * b, generator=generator, device=device)
        c = float(coefficients.flatten()[step])
        with autocast(device):
            out = model(c * inputs + (1 - c) * inputs[partner]).float()
        targets = c * targets + (1 - c) * targets[partner]
        supervised = -(targets[:b] * out[:b].log_softmax(1)).sum(1).mean()
        consistency = (out[b:].softmax(1) - targets[b:]).square().mean()
        loss = supervised + config.lambda_u * (step + 1) / total * consistency
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if progress and (step + 1) % config.iterations == 0:
            progress((step + 1) / total, f"MixMatch {(step + 1) // config.iterations}/{config.epochs}")
    model.eval()


def dbd(
    model: nn.Module, data: ImageData, config: DBD, *, seed: int = 0, progress: Progress = None
) -> tuple[nn.Module, dict[str, Any]]:
    """A fresh model like ``model``, trained on the poisoned set ``data`` in three stages."""
    layer = feature_layer(model, config.layer, data.x)
    _, head = last_linear(model := fresh(model, seed), "DBD trains the last one apart from the rest")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        width = embed(model.eval(), data.x[:1].float().div(255), layer)[1].shape[1]
        projected = Projected(model, layer, width, config.projection).to(data.x.device)
    generator = torch.Generator(data.x.device).manual_seed(seed + 1)
    step = simclr_step(config.temperature, data.flip, generator)
    recipe = Recipe(config.simclr_epochs, config.simclr_batch, config.simclr_lr, "cosine")
    fit(projected, replace(data, pad=0, flip=False), recipe, seed=seed, step=step, progress=progress)

    recipe = Recipe(config.linear_epochs, config.linear_batch, config.linear_lr, "constant", weight_decay=0.0)
    fit(model, data, recipe, seed=seed, step=linear_step(head, config.sce_alpha, config.sce_beta), progress=progress)
    found = symmetric_cross_entropy(logits(model, data.x), data.y, config.sce_alpha, config.sce_beta)
    n = len(data)
    labelled = top(-found, min(max(1, budget(n, n, config.keep, 0.0)), n - 1))
    mixmatch(model, data, labelled, config, seed, progress)
    return model, {"n_labelled": int(labelled.sum()), "threshold": round(found[labelled].max().item(), 5)}
