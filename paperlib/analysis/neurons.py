r"""Which neurons carry the backdoor, and how large their weights are.

A neuron is an output channel of a convolution; the FT-SAM paper (arXiv 2304.11823, Section 3.2) looks at the last one.
For channel k with activation map :math:`F_k`

* trigger-activated change (TAC): :math:`\sum_{\text{positions}} \frac1n \sum_i |F_k(\tilde x_i) - F_k(x_i)|` over pairs
  of a clean image and the same image with the trigger. The paper says "activation differences" only; this is the form
  of the authors' code. ``per_image=True`` is the form of the paper that introduced TAC (Zheng et al., ECCV 2022): the
  mean over images of the L2 norm of the difference of the maps.
* weight norm: the L2 norm of the channel's filter.
"""

from typing import Any

from torch import Tensor, nn

from paperlib.analysis.samples import Models
from paperlib.attacks.scene import Scene
from paperlib.models.default_layer import last_convolution
from paperlib.models.layers import layer_output, named_layer


def weight_norms(model: nn.Module, layer: str) -> Tensor:
    """L2 norm of the filter of each output channel of the convolution ``layer``, shape (channels,)."""
    weight = named_layer(model, layer).weight
    assert isinstance(weight, Tensor)
    return weight.detach().flatten(1).norm(dim=1)


def trigger_activated_change(
    model: nn.Module, layer: str, clean: Tensor, triggered: Tensor, *, per_image: bool = False
) -> Tensor:
    """TAC (channels,) of ``layer`` from uint8 image pairs (N, C, H, W): the same images without and with the
    trigger."""
    difference = layer_output(model, layer, triggered) - layer_output(model, layer, clean)
    if per_image:
        return difference.flatten(2).norm(dim=2).mean(0)
    return difference.abs().mean(0).sum((1, 2))


def neurons(
    models: Models, scene: Scene, *, seed: int, layer: str = "", n: int = 500, per_image: bool = False
) -> dict[str, Any]:
    """Weight norm of every neuron in every model, and its TAC over ``n`` test images; ``per_image``: see above.

    Returns
    -------
    dict
        norm, tac: one list of ``channels`` numbers per model.
    """
    triggered, _ = scene.triggered
    clean = scene.test
    if len(triggered) != len(clean):
        clean = clean.subset(clean.y != scene.target)
    n = min(n, len(clean))
    out: dict[str, Any] = {"norm": [], "tac": []}
    for model in models:
        where = last_convolution(model, layer, clean.x)
        out["norm"].append([round(v, 5) for v in weight_norms(model, where).tolist()])
        tac = trigger_activated_change(model, where, clean.x[:n], triggered.x[:n], per_image=per_image)
        out["tac"].append([round(v, 4) for v in tac.tolist()])
    return out
