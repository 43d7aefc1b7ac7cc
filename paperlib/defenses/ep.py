r"""EP: entropy-based pruning.

Zheng, Tang, Li, Liu, "Pre-activation Distributions Expose Backdoor Neurons", NeurIPS 2022, Section 4 ("EP"; DDE in
older code). On a mix of clean and poisoned images the pre-activation of a backdoor neuron, which is the input of a
batch-norm channel, has two modes, and so a lower entropy than others of its layer. Per image the largest value over
positions stands for the channel; the values of a batch are standardised and their entropy is that of a histogram with
bins of width 0.1:

.. math:: H_k = -\sum_j p_{kj} \log p_{kj}, \qquad \text{prune where } H_k < \mathrm{mean}(H) - u\, \mathrm{std}(H)
   \text{ in its layer.}

It sees poisoned images, though not which ones they are.

Differences from the authors' code
1. All values are counted. The code leaves out the smallest one, and those above the last whole bin.
2. A channel that is constant over the batch has no standardised value; it neither counts nor is pruned.
3. Batch-norm weight *and* bias of a pruned channel become 0, as in the benchmark; the authors' code keeps the bias.

Introduced in notebook 07.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from paperlib.data.images import ImageData
from paperlib.defenses.pruning import batch_norm_inputs, beyond, one_batch, prune, pruned_notes
from paperlib.training import Progress


@dataclass(frozen=True)
class EP:
    """Hyper-parameters; defaults: CIFAR-10."""

    u: float = 3.0
    """Standard deviations below the layer's mean; 4 on Tiny ImageNet."""
    bin_width: float = 0.1
    """Of the histogram, in standard deviations of the channel."""
    batch_size: int = 256
    """Poisoned training images that are looked at."""


def entropy(values: Tensor, bin_width: float) -> Tensor:
    """Entropy in nats of each row of ``values`` (channels, samples), standardised; NaN where a row is constant.

    All rows share the bins, which start at the smallest standardised value of all.
    """
    z = (values - values.mean(1, keepdim=True)) / values.std(1, keepdim=True)
    constant = ~z.isfinite().all(1)
    z = z.masked_fill(constant[:, None], 0)
    index = ((z - z.min()) / bin_width).long()
    counts = torch.zeros(len(z), int(index.max()) + 1, device=z.device)
    counts.scatter_add_(1, index, torch.ones_like(z))
    out = torch.special.entr(counts / z.shape[1]).sum(1)
    return out.masked_fill(constant, torch.nan)


def ep(
    model: nn.Module, poisoned: ImageData, config: EP, *, seed: int = 0, progress: Progress = None
) -> tuple[nn.Module, dict[str, Any]]:
    """A copy of ``model`` without the channels whose pre-activations on training images have an outlying, low entropy.

    Raises
    ------
    NotApplicable
        The model has no batch norm.
    """
    generator = torch.Generator(poisoned.x.device).manual_seed(seed)
    x = one_batch(poisoned, config.batch_size, generator)

    def largest(pre_activation: Tensor) -> Tensor:
        """(channels, images)"""
        return pre_activation.flatten(2).amax(2).T if pre_activation.ndim > 2 else pre_activation.T

    seen = batch_norm_inputs(model, x, largest)
    gone = {name: beyond(entropy(values, config.bin_width), config.u, above=False) for name, values in seen.items()}
    return prune(model, gone, bias=True), pruned_notes(gone)
