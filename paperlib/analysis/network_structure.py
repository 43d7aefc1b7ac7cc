"""The layers of a network: name, kind, shape of the output for one image, number of weights.

Read by hooks from one forward pass, in the order of computing, so that it holds for any torch model; a layer that is
used twice is listed twice and counted once. Introduced in notebook 08.
"""

from typing import Any

import torch
from torch import Tensor, nn

from paperlib.analysis.samples import Models
from paperlib.attacks.scene import Scene
from paperlib.training import evaluating


@torch.no_grad()
def layers(model: nn.Module, x: Tensor) -> list[dict[str, Any]]:
    """Every leaf module that runs on the images ``x`` (N, C, H, W): name, kind, shape without N, parameters."""
    found: list[dict[str, Any]] = []
    counted: set[str] = set()
    handles = []
    for name, module in model.named_modules():
        if list(module.children()):
            continue

        def hook(module: nn.Module, inputs: Any, output: Any, name: str = name) -> None:
            out = output[0] if isinstance(output, tuple) else output
            weights = 0 if name in counted else sum(w.numel() for w in module.parameters())
            counted.add(name)
            found.append(
                {"name": name, "kind": type(module).__name__, "shape": list(out.shape[1:]), "parameters": weights}
            )

        handles.append(module.register_forward_hook(hook))
    try:
        with evaluating(model):
            model(x)
    finally:
        for handle in handles:
            handle.remove()
    return found


def network_structure(models: Models, scene: Scene, *, seed: int) -> dict[str, Any]:
    """The layers of the first of ``models`` for one image of the test set.

    Returns
    -------
    dict
        layers: a list of {name, kind, shape, parameters}; parameters: of the whole model, those outside leaf modules
        (a class token) included; input: shape of an image.
    """
    x = scene.test.x[:1].float() / 255
    return {
        "input": list(x.shape[1:]),
        "layers": layers(models[0], x),
        "parameters": sum(w.numel() for w in models[0].parameters()),
    }
