"""Training with every small width, odd batches and one, two and three threads: in processes, because what goes wrong crashes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from paperlib.models.strided import EveryOther, concerned, every_other_pixel

TOY = Path(__file__).with_name("threads_toy.py")


@pytest.mark.parametrize(
    "threads", [2, pytest.param(1, marks=pytest.mark.long), pytest.param(3, marks=pytest.mark.long)]
)
def test_training_with_odd_batches_does_not_crash(threads: int) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads), "MALLOC_CHECK_": "3"}
    command = [sys.executable, str(TOY), str(threads)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "4\n8\n12\n"), done.stderr[-2000:]


@pytest.mark.parametrize(("side", "stride"), [(8, 2), (7, 2), (9, 3), (8, (1, 2))])
def test_every_other_pixel_is_the_same_map(side: int, stride: int) -> None:
    x = torch.rand(5, 6, side, side, dtype=torch.float64, requires_grad=True)
    conv = nn.Conv2d(6, 4, 1, stride, groups=2).double()
    found = []
    for layer in (conv, every_other_pixel(conv)):
        y = layer(x)
        found.append([y, *torch.autograd.grad(y.square().sum(), [x, *layer.parameters()])])
    assert type(conv) is EveryOther and conv.stride[1] == (stride if isinstance(stride, int) else 2)
    for before, after in zip(*found, strict=True):
        torch.testing.assert_close(before, after, rtol=1e-12, atol=1e-12)


def test_only_strided_1x1_convolutions_of_few_channels_are_concerned() -> None:
    assert concerned(nn.Conv2d(15, 4, 1, 2)) and concerned(nn.Conv2d(4, 4, 1, (1, 2)))
    assert not any(
        concerned(layer)
        for layer in (
            nn.Conv2d(16, 4, 1, 2),
            nn.Conv2d(4, 4, 1),
            nn.Conv2d(4, 4, 3, 2),
            nn.Conv2d(4, 4, 1, 2, padding=1),
        )
    )
