"""The training loop beside the usual one: images per second on two processor cores.

    python benchmarks/training.py [--images 3840] [--repetitions 5] [--device cpu]

The usual loop keeps PIL images in a data set, augments them one by one with torchvision's transforms, collects them with a
DataLoader (the better of 0 and 2 workers counts) and trains in float32. Ours is :func:`paperlib.training.fit`. Both train
the same PreAct-ResNet18 of width 16 with the same optimiser on the same images in batches of 128; the model normalises. The
loops take turns, one epoch at a time after an epoch of warming up, so that other work on the machine meets all of them;
medians are compared. The images are CIFAR-10's where ``PAPERLIB_DATA`` holds them, otherwise random ones of that size (the
pixels decide nothing about the time).

Writes ``benchmarks/results/training.json``; ends with 1 when the ratio is below 2.2 on the processor.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from paperlib import models
from paperlib.data import images, sources
from paperlib.data.images import ImageData
from paperlib.lab.provenance import device_name, environment
from paperlib.training import Recipe, autocast, fit, pick_device

WIDTH, BATCH, LIMIT = 16, 128, 2.2
RECIPE = Recipe(epochs=1, batch_size=BATCH, schedule="constant")


def training_images(n: int) -> ImageData:
    """``n`` images of CIFAR-10, or random ones where it is not on this machine."""
    if sources.find("cifar10") is not None:
        return images.load("cifar10", "train", n)
    x, y = torch.randint(0, 256, (n, 3, 32, 32), dtype=torch.uint8), torch.arange(n) % 10
    names = tuple(str(k) for k in range(10))
    return ImageData(x, y, names, (0.4914, 0.4822, 0.4465), (0.247, 0.243, 0.261), True, 4, "random")


class Pictures(Dataset):
    """PIL images with torchvision's transforms, one by one."""

    def __init__(self, data: ImageData) -> None:
        self.pictures = [Image.fromarray(x.permute(1, 2, 0).numpy()) for x in data.x.cpu()]
        self.labels = data.y.tolist()
        self.transform = transforms.Compose(
            [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
        )

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.pictures[index]), self.labels[index]


def usual(data: ImageData, workers: int) -> Callable[[], None]:
    """One epoch of the usual loop, as a function."""
    model = models.build("preact_resnet18", data, width=WIDTH).to(memory_format=torch.contiguous_format)
    device = data.x.device
    loader = DataLoader(
        Pictures(data), BATCH, shuffle=True, drop_last=True, num_workers=workers, persistent_workers=workers > 0
    )
    optimizer = torch.optim.SGD(
        model.parameters(), RECIPE.lr, momentum=RECIPE.momentum, weight_decay=RECIPE.weight_decay
    )

    def epoch() -> None:
        model.train()
        for x, y in loader:
            x, y = x.to(device), y.to(device)
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()

    return epoch


def ours(data: ImageData) -> Callable[[], None]:
    """One epoch of our loop, as a function."""
    model: nn.Module = models.build("preact_resnet18", data, width=WIDTH)
    return lambda: fit(model, data, RECIPE, seed=0) and None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=3840, help="images per epoch")
    parser.add_argument("--repetitions", type=int, default=5, help="epochs of each loop that are timed")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    options = parser.parse_args()
    device = pick_device(options.device)
    torch.set_num_threads(2)
    data = training_images(options.images).to(device)
    seen = len(data) // BATCH * BATCH

    loops = {"ours": ours(data), "usual, 0 workers": usual(data, 0), "usual, 2 workers": usual(data, 2)}
    rates: dict[str, list[float]] = {name: [] for name in loops}
    for repetition in range(options.repetitions + 1):
        for name, epoch in loops.items():
            start = time.perf_counter()
            epoch()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if repetition:  # the first epoch warms up: threads, workers, caches
                rates[name].append(seen / (time.perf_counter() - start))

    with autocast(device):
        bfloat16 = torch.is_autocast_enabled(device.type)
    medians = {name: round(median(values)) for name, values in rates.items()}
    best = max((name for name in loops if name != "ours"), key=lambda name: median(rates[name]))
    ratio = median(rates["ours"]) / median(rates[best])
    turns = [a / b for a, b in zip(rates["ours"], rates[best], strict=True)]
    report = {
        "images_per_second": medians,
        "every_repetition": {name: [round(v) for v in values] for name, values in rates.items()},
        "ratio": round(ratio, 2),
        "ratio_of_each_turn": [round(v, 2) for v in turns],
        "compared_with": best,
        "seconds_per_epoch_of_50000_images": round(50_000 / median(rates["ours"]), 1),
        "data": data.name,
        "images": len(data),
        "width": WIDTH,
        "batch_size": BATCH,
        "bfloat16": bfloat16,
        "device": device.type,
        "processor": device_name(str(device)),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load_average": [round(v, 1) for v in os.getloadavg()],
        **environment(),
    }
    out = Path(__file__).parent / "results" / ("training.json" if device.type == "cpu" else "training_gpu.json")
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    for name, value in medians.items():
        print(f"{value:8,} images/s  {name}")
    print(f"{ratio:8.2f} x        ours against {best} (single turns {min(turns):.2f} to {max(turns):.2f})")
    return int(device.type == "cpu" and ratio < LIMIT)


if __name__ == "__main__":
    sys.exit(main())
