"""PreAct-ResNet18, the model of all five backdoor papers.

He et al., "Identity Mappings in Deep Residual Networks", ECCV 2016, in the variant of the CIFAR literature that
BackdoorBench uses: 3x3 stem, no max-pooling, four stages of two blocks, **no batch norm or ReLU after the last block**,
adaptive average pooling, one linear layer. ``width`` scales all channels; 64 is the papers' model (11.2 million
weights). Introduced in notebook 05.

Layer names are part of the interface: defenses and analysis tools refer to ``layer4``, ``layer4.1.conv1``,
``layer4.1.conv2``.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PreActBlock(nn.Module):
    """BN-ReLU-conv twice; a 1x1 convolution of the activated input is the shortcut where the shape changes."""

    def __init__(self, c_in: int, c_out: int, stride: int):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(c_in)
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False)
        self.shortcut = None
        if stride != 1 or c_in != c_out:
            self.shortcut = nn.Conv2d(c_in, c_out, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(x))
        shortcut = x if self.shortcut is None else self.shortcut(out)
        out = self.conv2(F.relu(self.bn2(self.conv1(out))))
        return out + shortcut


class PreActResNet18(nn.Module):
    """Images (B, C, H, W) in [0, 1] to logits (B, classes). Normalisation is inside: perturbations live in pixel space.

    Parameters
    ----------
    mean, std
        Per-channel normalisation of the data set.
    classes
        Number of classes.
    width
        Channels of the first stage; the last has 8 times as many.
    """

    mean: Tensor
    std: Tensor
    features = "layer4"
    """The layer whose pooled output is called "the features" in the papers."""
    last_conv = "layer4.1.conv2"
    """The last convolution: its output channels are the "neurons" of FT-SAM's figures."""
    last_block = "layer4.1.conv1"
    """The first convolution of the last block, before which NPD puts its layer."""

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...], classes: int, width: int = 64):
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))
        self.conv1 = nn.Conv2d(len(mean), width, 3, 1, 1, bias=False)
        widths = [width, width, 2 * width, 4 * width, 8 * width]
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            nn.Sequential(PreActBlock(c_in, c_out, stride), PreActBlock(c_out, c_out, 1))
            for c_in, c_out, stride in zip(widths, widths[1:], (1, 2, 2, 2), strict=False)
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(8 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv1((x - self.mean) / self.std)
        out = self.layer4(self.layer3(self.layer2(self.layer1(out))))
        return self.linear(self.avgpool(out).flatten(1))
