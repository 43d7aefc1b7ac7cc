"""The training loop beside the usual one and the public benchmark's way: images per second on two processor cores.

    python benchmarks/training.py [--widths 16 64] [--images 3840] [--repetitions 5] [--device cpu]

The usual loop keeps PIL images in a data set, augments them one by one with torchvision's transforms, collects them
with a DataLoader (the better of 0 and 2 workers counts) and trains in float32. The public benchmark does the same, but
its poisoned images, a tenth here, are PNG files that are opened anew each time. Ours is :func:`paperlib.training.fit`.
All train the same PreAct-ResNet18 with the same optimiser on the same images in batches of 128; the model normalises.
The loops take turns, one epoch at a time after an epoch of warming up, so that other work on the machine meets all of
them; medians are compared. The images are CIFAR-10's where ``PAPERLIB_DATA`` holds them, otherwise random ones of that
size (the pixels decide nothing about the time).

The limit is the processor's or GPU's own: how many operations a second a product of two large matrices reaches in the
type of numbers that ours trains in. What ours reaches is counted by torch.

Writes ``benchmarks/results/training.json``; ends with 1 when the ratio is below 2.2 at the first width on the
processor.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode
from torchvision import transforms

from paperlib import models
from paperlib.data import images, sources
from paperlib.data.images import ImageData
from paperlib.lab.provenance import device_name, environment
from paperlib.training import Recipe, autocast, fit, pick_device

BATCH, LIMIT, PEER = 128, 2.2, "the public benchmark's way"
RECIPE = Recipe(epochs=1, batch_size=BATCH, schedule="constant")


def training_images(n: int) -> ImageData:
    """``n`` images of CIFAR-10, or random ones where it is not on this machine."""
    if sources.find("cifar10") is not None:
        return images.load("cifar10", "train", n)
    x, y = torch.randint(0, 256, (n, 3, 32, 32), dtype=torch.uint8), torch.arange(n) % 10
    names = tuple(str(k) for k in range(10))
    return ImageData(x, y, names, (0.4914, 0.4822, 0.4465), (0.247, 0.243, 0.261), True, 4, "random")


class Pictures(Dataset):
    """PIL images with torchvision's transforms, one by one; those of ``files`` are opened anew each time."""

    def __init__(self, data: ImageData, files: dict[int, Path] | None = None) -> None:
        self.pictures = [Image.fromarray(x.permute(1, 2, 0).numpy()) for x in data.x.cpu()]
        self.labels, self.files = data.y.tolist(), files or {}
        self.transform = transforms.Compose(
            [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
        )

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        file = self.files.get(index)
        return self.transform(Image.open(file) if file else self.pictures[index]), self.labels[index]


def saved(data: ImageData, folder: Path) -> dict[int, Path]:
    """Every tenth image as a PNG file, by its position."""
    files = {index: folder / f"{index}.png" for index in range(0, len(data), 10)}
    for index, file in files.items():
        Image.fromarray(data.x[index].cpu().permute(1, 2, 0).numpy()).save(file)
    return files


def usual(data: ImageData, width: int, workers: int, files: dict[int, Path] | None = None) -> Callable[[], None]:
    """One epoch of the usual loop, as a function."""
    model = models.build("preact_resnet18", data, width=width).to(memory_format=torch.contiguous_format)
    device = data.x.device
    loader = DataLoader(
        Pictures(data, files), BATCH, shuffle=True, drop_last=True, num_workers=workers, persistent_workers=workers > 0
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


def ours(data: ImageData, width: int) -> Callable[[], None]:
    """One epoch of our loop, as a function."""
    model: nn.Module = models.build("preact_resnet18", data, width=width)
    return lambda: fit(model, data, RECIPE, seed=0) and None


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds."""
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def operations(data: ImageData, width: int) -> float:
    """Floating-point operations that training on one image takes, forward and backward, as torch counts them."""
    model = models.build("preact_resnet18", data, width=width)
    with FlopCounterMode(display=False) as counter:
        F.cross_entropy(model(data.x[:BATCH].float() / 255), data.y[:BATCH]).backward()
    return counter.get_total_flops() / BATCH


def peak(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations per second of a product of two large matrices; the best of several sizes and turns."""
    found = []
    for n in (1024, 2048, 4096):
        a, b = torch.randn(n, n, device=device).to(dtype), torch.randn(n, n, device=device).to(dtype)
        timed(lambda a=a, b=b: a @ b, device)
        found += [2 * n**3 / timed(lambda a=a, b=b: a @ b, device) for _ in range(3)]
    return max(found)


def measured(data: ImageData, width: int, repetitions: int, files: dict[int, Path]) -> dict[str, object]:
    """The loops at one width, in turns."""
    seen, device = len(data) // BATCH * BATCH, data.x.device
    loops = {
        "ours": ours(data, width),
        "usual, 0 workers": usual(data, width, 0),
        "usual, 2 workers": usual(data, width, 2),
        PEER: usual(data, width, 2, files),
    }
    rates: dict[str, list[float]] = {name: [] for name in loops}
    for repetition in range(repetitions + 1):
        for name, epoch in loops.items():
            seconds = timed(epoch, device)
            if repetition:  # the first epoch warms up: threads, workers, caches
                rates[name].append(seen / seconds)
    best = max((name for name in loops if name.startswith("usual")), key=lambda name: median(rates[name]))
    turns = [a / b for a, b in zip(rates["ours"], rates[best], strict=True)]
    rate = median(rates["ours"])
    return {
        "width": width,
        "images_per_second": {name: round(median(values)) for name, values in rates.items()},
        "every_repetition": {name: [round(v) for v in values] for name, values in rates.items()},
        "ratio": round(rate / median(rates[best]), 2),
        "ratio_of_each_turn": [round(v, 2) for v in turns],
        "compared_with": best,
        "ratio_to_the_public_benchmark_s_way": round(rate / median(rates[PEER]), 2),
        "seconds_per_epoch_of_50000_images": round(50_000 / rate, 1),
        "gigaflops": round(rate * operations(data, width) / 1e9, 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--widths", type=int, nargs="+", default=[16, 64], help="of PreAct-ResNet18; the paper's is 64")
    parser.add_argument("--images", type=int, default=3840, help="images per epoch; a tenth above width 16")
    parser.add_argument("--repetitions", type=int, default=5, help="epochs of each loop that are timed")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    options = parser.parse_args()
    device = pick_device(options.device)
    torch.set_num_threads(2)
    with autocast(device):
        bfloat16 = torch.is_autocast_enabled(device.type)
    limit = peak(device, torch.bfloat16 if bfloat16 else torch.float32)

    found = []
    for width in options.widths:
        data = training_images(options.images if width <= 16 else options.images // 10).to(device)
        with tempfile.TemporaryDirectory() as folder:
            found.append(measured(data, width, options.repetitions, saved(data, Path(folder))))
        found[-1] |= {"images": len(data), "share_of_peak": round(found[-1]["gigaflops"] * 1e9 / limit, 3)}
    report = {
        "widths": found,
        "peak_gigaflops": round(limit / 1e9, 1),
        "data": data.name,
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
    for one in found:
        print(f"width {one['width']}")
        for name, value in one["images_per_second"].items():
            print(f"{value:8,} images/s  {name}")
        print(f"{one['ratio']:8.2f} x        ours against {one['compared_with']}")
        print(f"{one['ratio_to_the_public_benchmark_s_way']:8.2f} x        ours against {PEER}")
        print(f"{100 * one['share_of_peak']:8.0f} %        of the peak of {limit / 1e9:,.0f} GFLOP/s")
    return int(device.type == "cpu" and found[0]["ratio"] < LIMIT)


if __name__ == "__main__":
    sys.exit(main())
