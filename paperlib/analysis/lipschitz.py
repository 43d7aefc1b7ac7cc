r"""Lipschitz constant of every channel of every layer: the bound on how much a change of the input can change it.

A convolution's output channel k: the spectral norm of its kernel as a matrix of input channels x positions, times
:math:`|\gamma_k / \sigma_k|` of the batch norm behind it, as in the defense CLP (arXiv 2208.03111), whose code is used.
A convolution without batch norm behind it: the spectral norm alone. A linear layer: the L2 norm of the row, which is
the largest singular value of a matrix of one row. No data is needed. Introduced in notebook 08.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from paperlib.analysis.samples import Models, rounded
from paperlib.attacks.scene import Scene
from paperlib.defenses.clp import lipschitz as scaled_norms
from paperlib.defenses.clp import pairs, spectral_norms
from paperlib.errors import NotApplicable


@torch.no_grad()
def constants(model: nn.Module) -> dict[str, Tensor]:
    """Name of a convolution or linear layer -> the constant of each of its output channels, (channels,)."""
    behind: dict[nn.Module, Any] = {}
    try:
        for name, conv in pairs(model).items():
            norm: Any = model.get_submodule(name)
            if norm.running_var is not None:
                behind.setdefault(conv, norm)  # the first batch norm behind it
    except NotApplicable:
        pass  # a network without batch norm: kernels alone
    out: dict[str, Tensor] = {}
    for name, module in model.named_modules():
        if isinstance(module, _ConvNd) and not module.transposed:
            out[name] = scaled_norms(module, behind[module]) if module in behind else spectral_norms(module)
        elif isinstance(module, nn.Linear):
            out[name] = module.weight.float().norm(dim=1)
    return out


def lipschitz(models: Models, scene: Scene, *, seed: int) -> dict[str, Any]:
    """The constants of every model, layer by layer.

    Returns
    -------
    dict
        layers: names, in the order of registration; values: per model and layer one number per channel.
    """
    found = [constants(model) for model in models]
    layers = list(found[0])
    return {"layers": layers, "values": [[rounded(one[name]) for name in layers] for one in found]}
