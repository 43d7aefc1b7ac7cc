"""The benchmark's other models: torchvision's networks, trained from scratch on small images.

VGG19 with and without batch norm (Simonyan and Zisserman, ICLR 2015), EfficientNet-B3 (Tan and Le, ICML 2019),
MobileNetV3-Large (Howard et al., ICCV 2019), DenseNet-161 (Huang et al., CVPR 2017), ConvNeXt-tiny (Liu et al., CVPR
2022) and ViT-B/16 (Dosovitskiy et al., ICLR 2021), as BackdoorBench (arXiv 2206.12654; 2nd version: arXiv 2407.19845)
uses them: the classes of torchvision with the number of outputs changed and **the stem unchanged**, so that a 32x32
image is one pixel at the end of the convolutions. Introduced in notebook 07.

Every model is three parts, ``head(pool(body(x)))``, so that one layer name serves all: ``features = "body"``, whose
pooled output (for ViT: whose output, the normalised class token) is what the head sees. ``last_conv`` is the last
convolution in the order of computing; ViT has only one, its patch embedding.

``width`` 64 is the published network with torchvision's number of weights; every width below is proportionally narrower
(torchvision's own width multiplier where it has one: channels are rounded to multiples of 8; ViT keeps twelve heads, of
``width`` channels each).

Differences from the benchmark

1. The second version starts ConvNeXt and ViT from ImageNet weights; here every model starts from torchvision's random
   initialisation, because pre-trained weights are a download whose training data the defender would profit from.
2. Normalisation is inside the model, so that perturbations live in pixel space. ViT's resizing to 224x224 is, too.
3. Images below 32 pixels (smoke scale) are enlarged to 32 where a network would otherwise end below one pixel.
4. Activations are not in-place: a hooked layer shows its own output and not that of its successor.
5. Variants that are not the benchmark's, for images of 32 and 64 pixels: ``..._fine`` halves nothing (ConvNeXt: once)
   before the first stage, where the published stem takes away 3/4 to 15/16 of the pixels; ``vit_b_8`` sees 64x64 images
   in patches of 8, 64 tokens instead of 196; ``resnet18`` (He et al., CVPR 2016) of SAU's comparison with RNP, with the
   usual stem for such images: a convolution of 3x3 pixels and stride 1, no pooling; ``two_conv``, the smallest network
   that learns digits, for questions that take many seeds.
"""

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import convnext, densenet, efficientnet, mobilenetv3, resnet, vgg, vision_transformer

from paperlib.errors import PaperlibError

PerChannel = tuple[float, ...]
Parts = tuple[nn.Module, nn.Module, nn.Module]
FULL = 64
ANY = (1.0, math.inf)
FROM_32 = (32.0, math.inf)


class Zoo(nn.Module):
    """Images (B, 3, H, W) in [0, 1] to logits (B, classes): normalise, then ``head(pool(body(x)))``.

    Parameters
    ----------
    mean, std
        Per-channel normalisation of the data set.
    parts
        Makes body, pool and head with fresh weights.
    last_conv
        Name of the last convolution.
    sides
        Smallest and largest side in pixels; images outside are resized bilinearly.
    """

    mean: Tensor
    std: Tensor
    features = "body"
    """The layer whose pooled output is called "the features" in the papers."""

    def __init__(
        self, mean: PerChannel, std: PerChannel, parts: Callable[[], Parts], last_conv: str, sides: tuple[float, float]
    ):
        super().__init__()
        if len(mean) != 3:
            raise PaperlibError(f"these images have {len(mean)} channels; the models of the zoo take RGB images.")
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))
        self.last_conv, self.sides, self.parts = last_conv, sides, parts
        self.body, self.pool, self.head = parts()
        for module in self.modules():
            if getattr(module, "inplace", False):
                module.inplace = False  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        low, high = self.sides
        side = max(low, min(high, x.shape[-1]))
        if side != x.shape[-1] or side != x.shape[-2]:
            x = F.interpolate(x, size=(int(side), int(side)), mode="bilinear", align_corners=False)
        return self.head(self.pool(self.body((x - self.mean) / self.std)))

    def remake(self) -> "Zoo":
        """The same network with fresh weights, on the CPU."""
        mean, std = (tuple(v.flatten().tolist()) for v in (self.mean, self.std))
        return Zoo(mean, std, self.parts, self.last_conv, self.sides)


def _flat(*head: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(1), *head)


# --------------------------------------------------------------------------------------------------- the seven networks


def vgg19(mean: PerChannel, std: PerChannel, classes: int, width: int = FULL, *, norm: bool = False) -> Zoo:
    """Configuration E; ``norm``: with batch norm. 139.6 million weights at 10 classes, 123.6 of them in the head."""
    last = "body.49" if norm else "body.34"
    return Zoo(mean, std, partial(_vgg19, classes, width, norm), last, FROM_32)


def _vgg19(classes: int, width: int, norm: bool) -> Parts:
    _check(width)
    layers = vgg.make_layers([c if c == "M" else int(c) * width // FULL for c in vgg.cfgs["E"]], batch_norm=norm)
    wide, hidden = 512 * width // FULL, 4096 * width // FULL
    head = _flat(
        nn.Linear(wide * 7 * 7, hidden), nn.ReLU(), nn.Dropout(),
        nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(),
        nn.Linear(hidden, classes),
    )  # fmt: skip
    # torchvision's class has the head's width built in, so its initialisation is repeated here
    for module in (*layers.modules(), *head.modules()):
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, 0.01)
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
    return layers, nn.AdaptiveAvgPool2d(7), head


def efficientnet_b3(mean: PerChannel, std: PerChannel, classes: int, width: int = FULL, *, fine: bool = False) -> Zoo:
    """Width multiplier 1.2, depth multiplier 1.4, dropout .3, stochastic depth .2; ``fine``: the stem keeps all
    pixels."""
    return Zoo(mean, std, partial(_efficientnet_b3, classes, width, fine), "body.8.0", ANY)


def _efficientnet_b3(classes: int, width: int, fine: bool) -> Parts:
    _check(width)
    setting, last = efficientnet._efficientnet_conf("efficientnet_b3", width_mult=1.2 * width / FULL, depth_mult=1.4)
    net = efficientnet.EfficientNet(setting, dropout=0.3, num_classes=classes, last_channel=last)
    if fine:
        net.features[0][0].stride = (1, 1)  # type: ignore[index, union-attr]
    return net.features, net.avgpool, _flat(net.classifier)


def mobilenet_v3_large(
    mean: PerChannel, std: PerChannel, classes: int, width: int = FULL, *, fine: bool = False
) -> Zoo:
    """5.4 million weights at 1,000 classes, dropout .2; ``fine``: the stem keeps all pixels."""
    return Zoo(mean, std, partial(_mobilenet_v3_large, classes, width, fine), "body.16.0", ANY)


def _mobilenet_v3_large(classes: int, width: int, fine: bool) -> Parts:
    _check(width)
    setting, last = mobilenetv3._mobilenet_v3_conf("mobilenet_v3_large", width_mult=width / FULL)
    net = mobilenetv3.MobileNetV3(setting, last, num_classes=classes)
    if fine:
        net.features[0][0].stride = (1, 1)  # type: ignore[index, union-attr]
    return net.features, net.avgpool, _flat(net.classifier)


def densenet161(mean: PerChannel, std: PerChannel, classes: int, width: int = FULL, *, fine: bool = False) -> Zoo:
    """Growth rate 48, blocks of 6, 12, 36 and 24 layers; ``fine``: stem of stride 1 without the pooling."""
    last = "body.0.denseblock4.denselayer24.conv2"
    return Zoo(mean, std, partial(_densenet161, classes, width, fine), last, FROM_32)


def _densenet161(classes: int, width: int, fine: bool) -> Parts:
    _check(width)
    net = densenet.DenseNet(48 * width // FULL, (6, 12, 36, 24), 96 * width // FULL, num_classes=classes)
    if fine:
        net.features.conv0.stride = (1, 1)
        net.features.pool0 = nn.Identity()
    return nn.Sequential(net.features, nn.ReLU()), nn.AdaptiveAvgPool2d(1), _flat(net.classifier)


def convnext_tiny(mean: PerChannel, std: PerChannel, classes: int, width: int = FULL, *, fine: bool = False) -> Zoo:
    """Stages of 3, 3, 9, 3 blocks, 96 to 768 channels; ``fine``: patches of 4 every 2 pixels instead of every 4."""
    return Zoo(mean, std, partial(_convnext_tiny, classes, width, fine), "body.7.2.block.0", FROM_32)


def _convnext_tiny(classes: int, width: int, fine: bool) -> Parts:
    _check(width)
    c = [channels * width // FULL for channels in (96, 192, 384, 768)]
    block = convnext.CNBlockConfig
    setting = [block(c[0], c[1], 3), block(c[1], c[2], 3), block(c[2], c[3], 9), block(c[3], None, 3)]
    net = convnext.ConvNeXt(setting, stochastic_depth_prob=0.1, num_classes=classes)
    if fine:
        net.features[0][0].stride, net.features[0][0].padding = (2, 2), (1, 1)  # type: ignore[index, union-attr]
    return net.features, net.avgpool, net.classifier


def vit_b_16(
    mean: PerChannel, std: PerChannel, classes: int, width: int = FULL, *, side: int = 224, patch: int = 16
) -> Zoo:
    """Twelve blocks of twelve heads; images are resized to ``side`` and cut into patches of ``patch`` pixels."""
    return Zoo(mean, std, partial(_vit_b, classes, width, side, patch), "body.conv_proj", (side, side))


def _vit_b(classes: int, width: int, side: int, patch: int) -> Parts:
    _check(width)
    wide = 12 * width
    net = vision_transformer.VisionTransformer(side, patch, 12, 12, wide, 4 * wide, num_classes=classes)
    head = net.heads
    net.heads = nn.Identity()  # type: ignore[assignment]
    return net, nn.Identity(), head


def resnet18(mean: PerChannel, std: PerChannel, classes: int, width: int = FULL) -> Zoo:
    """Eight of torchvision's basic blocks, activations after the sum; 11.17 million weights at 10 classes."""
    return Zoo(mean, std, partial(_resnet18, classes, width), "body.10.conv2", ANY)


def _resnet18(classes: int, width: int) -> Parts:
    _check(width)
    layers: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    before = width
    for stage, channels in enumerate((width, 2 * width, 4 * width, 8 * width)):
        for stride in (2 if stage else 1, 1):
            shortcut = None
            if before != channels:
                shortcut = nn.Sequential(resnet.conv1x1(before, channels, stride), nn.BatchNorm2d(channels))
            layers.append(resnet.BasicBlock(before, channels, stride, shortcut))
            before = channels
    body = nn.Sequential(*layers)
    for module in body.modules():  # as torchvision initialises its whole network
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return body, nn.AdaptiveAvgPool2d(1), _flat(nn.Linear(before, classes))


def two_conv(mean: PerChannel, std: PerChannel, classes: int, width: int = FULL) -> Zoo:
    """Two convolutions of ``width`` and twice as many channels, each with batch norm, ReLU and pooling, and a linear
    layer."""
    return Zoo(mean, std, partial(_two_conv, classes, width), "body.4", ANY)


def _two_conv(classes: int, width: int) -> Parts:
    _check(width)
    layers: list[nn.Module] = []
    for before, after in ((3, width), (width, 2 * width)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers), nn.AdaptiveAvgPool2d(4), _flat(nn.Linear(2 * width * 16, classes))


def _check(width: int) -> None:
    if width < 4 or width % 4:
        raise PaperlibError(f"width={width} must be a multiple of 4, at least 4; 64 is the published network.")
