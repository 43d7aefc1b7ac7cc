"""Second derivatives of layers whose fast form has none: the values are those of the fast form."""

import pytest
import torch
import torchvision
from image_toy import images

from paperlib.defenses import defend
from paperlib.models.second_order import BY_DEFINITION, twice_differentiable


@pytest.mark.parametrize("function", list(BY_DEFINITION), ids=lambda f: f.__name__)
def test_the_definition_is_the_function_and_has_a_second_derivative(function) -> None:
    x = torch.linspace(-4, 4, 42, dtype=torch.float64).requires_grad_()  # off the two corners
    expected = function(x.detach())
    with twice_differentiable():
        assert torch.allclose(function(x), expected, atol=1e-12)
        assert torch.autograd.gradgradcheck(function, x)


def test_i_bau_on_mobilenet() -> None:
    net, data = torchvision.models.mobilenet_v3_small(num_classes=4), images(8, size=32)
    purified = defend(net, method="i_bau", clean=data, rounds=1, batch_size=8, iterations=1)
    assert purified is not net
