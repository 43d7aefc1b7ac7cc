"""Training with every small width, odd batches and one, two and three threads: in processes, because what goes wrong
crashes."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits
from torch import nn

from paperlib.experiments import plan
from paperlib.experiments.scales import SMOKE
from paperlib.fairness.mean_parity import MeanParityRegressor
from paperlib.lab.run import run
from paperlib.lab.store import Store
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


@pytest.mark.long
def test_one_and_two_threads_differ_by_little(tmp_path: Path) -> None:
    """A sum in another order rounds in another way. Training makes more of it, a closed form does not."""
    model = plan.train(SMOKE, "badnets")
    specs = [model, *(plan.defend(SMOKE, model, name) for name in ("ft", "ft_sam"))]
    rng = np.random.default_rng(0)
    x, y, s = rng.normal(size=(500, 20)), rng.normal(size=500), rng.integers(0, 3, 500)
    before, found, fair = torch.get_num_threads(), [], []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(run(specs, Store(tmp_path / str(threads)), device="cpu", progress=False))
            with threadpool_limits(threads):
                fair.append(MeanParityRegressor(kernel="rbf").fit(x, y, sensitive_features=s).predict(x))
    finally:
        torch.set_num_threads(before)
    np.testing.assert_allclose(*fair, rtol=0, atol=1e-9)
    for key in found[0]:
        assert abs(found[0][key]["c_acc"] - found[1][key]["c_acc"]) <= 10, (found[0][key], found[1][key])
