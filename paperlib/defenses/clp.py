r"""CLP: channel Lipschitzness based pruning, without any data.

Zheng, Tang, Li, Liu, "Data-free Backdoor Removal based on Channel Lipschitzness", ECCV 2022 (arXiv 2208.03111). A
channel that a trigger can switch must change much when the input changes little. The Lipschitz constant of output
channel k of a convolution with kernel :math:`K` that is followed by batch norm with weight :math:`\gamma` and running
variance :math:`\sigma^2` is estimated by the spectral norm of its kernel, as a matrix of input channels x kernel
positions:

.. math:: L_k = \sigma_{\max}\!\Big(\mathrm{mat}(K_k)\, \Big|\frac{\gamma_k}{\sigma_k}\Big|\Big)

In every layer the channels with :math:`L_k > \mathrm{mean}(L) + u\, \mathrm{std}(L)` are pruned: weight and bias of
their batch norm become 0.

Differences from the paper
1. Which convolution a batch norm belongs to is taken from the order of registration, as in the authors' code: the last
   convolution registered before it. In PreAct-ResNet18 that is the right one for ``bn2`` (after ``conv1``) and for
   every ``bn1`` behind a plain convolution; the ``bn1`` behind a block whose shortcut is a convolution is paired with
   that shortcut, although it normalises the sum of both branches.
2. Batch norms whose number of channels is not that of the convolution (dense blocks) are left alone; ``unpaired`` in
   the notes counts them. The authors' code fails on some of them and compares the first channels of others.
3. :math:`\sigma = \sqrt{\mathrm{var} + \varepsilon}`, as batch norm itself computes it; the code leaves out
   :math:`\varepsilon`.

Against the boards: it depends on the victim alone, and nothing is tuned. At paper scale, on BadNets, 17 of 3,392
channels go and an ASR of 34.2 at 91.1 % accuracy is left (one run); at laptop scale, where a layer has 16 to 128
channels, three standard deviations are 3 to 8 of 848: BadNets falls to 12, Blended, LF and Input-aware keep 88 to 92,
and the accuracy of SIG's and WaNet's victims falls to 23 and 32 %.

Introduced in notebook 07.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from paperlib.defenses.pruning import batch_norms, beyond, prune, pruned_notes
from paperlib.errors import NotApplicable
from paperlib.training import Progress


@dataclass(frozen=True)
class CLP:
    """Hyper-parameters; defaults: CIFAR-10."""

    u: float = 3.0
    """Standard deviations above the layer's mean; 5 on Tiny ImageNet."""


def pairs(model: nn.Module) -> dict[str, _ConvNd]:
    """Batch-norm layer name -> the convolution registered last before it, where their channels agree.

    Raises
    ------
    NotApplicable
        There is no such pair.
    """
    norms = batch_norms(model)
    found: dict[str, _ConvNd] = {}
    before: _ConvNd | None = None
    for name, module in model.named_modules():
        if isinstance(module, _ConvNd) and not module.transposed:
            before = module
        elif name in norms and before is not None and before.out_channels == norms[name].num_features:
            found[name] = before
    if not found:
        raise NotApplicable(
            f"the model ({type(model).__name__}) has no convolution followed by batch norm; CLP needs one."
        )
    return found


@torch.no_grad()
def spectral_norms(conv: _ConvNd) -> Tensor:
    """Spectral norm of the kernel of every output channel, as a matrix of input channels x positions: (channels,)."""
    return torch.linalg.matrix_norm(conv.weight.float().flatten(2), ord=2)


@torch.no_grad()
def lipschitz(conv: _ConvNd, norm: _BatchNorm) -> Tensor:
    """Spectral norm of every output channel of ``conv`` and ``norm`` together, shape (channels,), float32."""
    assert norm.running_var is not None
    gain = norm.weight.float() / (norm.running_var.float() + norm.eps).sqrt()
    return spectral_norms(conv) * gain.abs()


def clp(
    model: nn.Module, data: None, config: CLP, *, seed: int = 0, progress: Progress = None
) -> tuple[nn.Module, dict[str, Any]]:
    """A copy of ``model`` without the channels of outlying Lipschitz constant. ``data`` and ``seed`` are not used.

    Raises
    ------
    NotApplicable
        The model has no convolution followed by batch norm with running statistics.
    """
    norms = {name: norm for name, norm in batch_norms(model).items() if norm.running_var is not None}
    paired = {name: conv for name, conv in pairs(model).items() if name in norms}
    if not paired:
        raise NotApplicable(
            f"batch norm of the model ({type(model).__name__}) keeps no running variance; CLP needs it."
        )
    gone = {name: beyond(lipschitz(conv, norms[name]), config.u, above=True) for name, conv in paired.items()}
    return prune(model, gone, bias=True), {**pruned_notes(gone), "unpaired": len(batch_norms(model)) - len(paired)}
