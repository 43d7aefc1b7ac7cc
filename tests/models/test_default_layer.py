"""Which layer is looked at where nobody named one: on torchvision's networks, small ones, wrapped ones and our own."""

import warnings
from typing import Any

import pytest
import torch
import torchvision
from image_toy import images, model
from torch import nn

from paperlib.defenses import defend
from paperlib.detection import detect
from paperlib.errors import NotApplicable, PaperlibError
from paperlib.models import normalised
from paperlib.models.default_layer import LayerChosen, feature_layer, last_convolution, trace

X = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)

SMALL = nn.Sequential(
    nn.Conv2d(3, 4, 3),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Conv2d(4, 5, 3),
    nn.ReLU(),
    nn.Flatten(),
    nn.Linear(5 * 13 * 13, 4),
)
CASES: dict[str, tuple[Any, str, str]] = {
    "resnet18": (lambda: torchvision.models.resnet18(), "layer4", "layer4.1.conv2"),
    "squeezenet": (lambda: torchvision.models.squeezenet1_1(), "classifier.2", "classifier.1"),
    "mobilenet_v3_small": (lambda: torchvision.models.mobilenet_v3_small(), "features", "features.12.0"),
    "shufflenet": (lambda: torchvision.models.shufflenet_v2_x0_5(), "conv5", "conv5.0"),
    "functional flattening, no pooling at the end": (lambda: SMALL, "4", "3"),
    "normalised": (lambda: normalised(SMALL, (0.5,) * 3, (0.5,) * 3), "4", "3"),
    "our own": (lambda: model(images()), "layer4", "layer4.1.conv2"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_layer_before_the_classifier_and_the_last_convolution(case: str) -> None:
    make, features, convolution = CASES[case]
    net = make()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert feature_layer(net, "", X) == features
        assert last_convolution(net, "", X) == convolution
    assert [w.category for w in said] == ([] if case == "our own" else [LayerChosen] * 2)
    assert not any(m._forward_hooks for m in net.modules())


def test_the_order_is_that_of_computing_not_of_registration() -> None:
    class Swapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.second, self.first, self.head = nn.Conv2d(4, 4, 1), nn.Conv2d(3, 4, 1), nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.second(self.first(x)).mean((2, 3)))

    assert [name for name, _, _ in trace(Swapped(), X)] == ["first", "second", "head"]
    with pytest.warns(LayerChosen):
        assert last_convolution(Swapped(), "", X) == "second"


def test_a_transformer_s_tokens() -> None:
    vit = torchvision.models.VisionTransformer(32, 8, 1, 2, 8, 16, num_classes=4)
    with pytest.warns(LayerChosen):
        assert feature_layer(vit, "", X) == "encoder" and last_convolution(vit, "", X) == "conv_proj"


def test_hidden_layers_where_there_are_no_positions() -> None:
    perceptron = nn.Sequential(nn.Flatten(), nn.Linear(3072, 8), nn.ReLU(), nn.Linear(8, 4))
    with pytest.warns(LayerChosen):
        assert feature_layer(perceptron, "", X) == "2"
    with pytest.raises(NotApplicable, match="no 2-D convolution"):
        last_convolution(perceptron, "", X)
    with pytest.raises(NotApplicable, match="no layer before its classifier"):
        feature_layer(nn.Sequential(nn.Flatten(), nn.Linear(3072, 4)), "", X)


def test_a_wrong_name_lists_the_nearest_before_any_work() -> None:
    data, net = images(8, size=32), torchvision.models.resnet18(num_classes=4)
    says = r"layer='layer4.1.conv3' is not in the model; did you mean 'layer4.1.conv2'"
    with pytest.raises(PaperlibError, match=says):
        defend(net, method="npd", clean=data, layer="layer4.1.conv3")
    with pytest.raises(PaperlibError, match=says):
        detect(data, method="ct", model=net, clean=data, layer="layer4.1.conv3")
