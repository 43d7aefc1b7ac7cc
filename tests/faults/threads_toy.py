"""Trains small networks with strided 1x1 convolutions, in a process that may crash. Usage: threads_toy.py THREADS"""

import sys

import torch
from torch import nn

from paperlib.data import images
from paperlib.defenses import defend
from paperlib.models import build, fresh
from paperlib.training import Recipe, fit

torch.set_num_threads(int(sys.argv[1]))
torch.cpu._is_avx512_bf16_supported = lambda: False  # float32, as on processors without bfloat16: there it crashed
data = images.load("digits", "train", 62)


class Foreign(nn.Module):
    """A network of somebody else, whose strided 1x1 convolution sees ``width`` channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(data.x.shape[1], width, 3, padding=1)
        self.strided = nn.Conv2d(width, 2 * width, 1, 2)
        self.last = nn.Linear(2 * width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.interpolate(x, size=(32, 32))
        return self.last(self.strided(self.first(x).relu()).relu().mean((2, 3)))


for width in (4, 8, 12):
    for batch in (15, 31):
        recipe = Recipe(epochs=1, batch_size=batch, lr=0.01)
        for name in ("preact_resnet18", "resnet18"):
            fit(build(name, data, width=width), data, recipe, seed=0)
        foreign = Foreign(width).to(memory_format=torch.channels_last)
        defend(foreign, clean=data, method="ft", epochs=1, batch_size=batch, chance_ok=True)
        assert type(foreign.strided) is nn.Conv2d, "the model of the user stays as it is"
        fit(fresh(foreign, 0), data, recipe, seed=0)
    print(width)
