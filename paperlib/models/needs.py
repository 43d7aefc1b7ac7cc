"""What a method needs of a model, and whether a given model has it: the words of ``Method.needs``."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from paperlib.errors import PaperlibError, choose


def _fresh(model: nn.Module) -> bool:
    from paperlib.models import fresh

    try:
        fresh(model, 0)
    except PaperlibError:
        return False
    return True


def _wide(model: nn.Module) -> int:
    return sum(isinstance(m, nn.Conv2d) and max(m.kernel_size) > 1 for m in model.modules())


NEEDS = {
    "": lambda model: True,
    "batch norm": lambda model: any(isinstance(m, _BatchNorm) and m.affine for m in model.modules()),
    "convolution": lambda model: any(isinstance(m, nn.Conv2d) for m in model.modules()),
    "two convolutions": lambda model: _wide(model) >= 2,
    "fresh weights": _fresh,
    # a class score that reads the class token only has no gradient at the patches of the last layer
    "positions": lambda model: (
        not any(name.endswith(("class_token", "cls_token")) for name, _ in model.named_parameters())
    ),
}
"""Word -> whether a model has that."""


def has(model: nn.Module, needs: str) -> bool:
    """Whether ``model`` has what a method ``needs``.

    Raises
    ------
    PaperlibError
        No such need, or no torch model.
    """
    from paperlib.models.foreign import unwrapped

    return NEEDS[choose("needs", needs, NEEDS)](unwrapped(model))
