"""Second derivatives of any classifier: layers whose fast form has only a first one are computed by their
definition."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode


def _hardsigmoid(x: Tensor, inplace: bool = False) -> Tensor:
    return F.relu6(x + 3) / 6


def _hardswish(x: Tensor, inplace: bool = False) -> Tensor:
    return x * F.relu6(x + 3) / 6


BY_DEFINITION: dict[Any, Callable[..., Tensor]] = {F.hardsigmoid: _hardsigmoid, F.hardswish: _hardswish}
"""Functions of PyTorch without a second derivative -> the same by their definition."""


class _ByDefinition(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return BY_DEFINITION.get(func, func)(*args, **(kwargs or {}))


@contextmanager
def twice_differentiable() -> Iterator[None]:
    """In the block, what is computed can be differentiated twice: MobileNet's activations, and attention by its plain
    formula."""
    with sdpa_kernel(SDPBackend.MATH), _ByDefinition():
        yield
