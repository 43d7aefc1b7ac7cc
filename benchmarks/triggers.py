"""Triggers for 10,000 images of CIFAR's size beside a plain loop that handles one image at a time.

    python benchmarks/triggers.py [--images 10000] [--looped 500] [--repetitions 5] [--threads 2]

Ours is :func:`paperlib.attacks.render`: uint8 images in, uint8 images with the trigger out, in batches. The loop is
what is usually written: numpy, SciPy or PIL, image by image (H, W, C); it handles ``--looped`` images and its time is
scaled up, because every image costs the same. Both must make the same pictures, up to one grey level of rounding, or
the benchmark stops. They take turns, so that other work on the machine meets both; medians are compared. The images are
random (the pixels decide nothing about the time).

Writes ``benchmarks/results/triggers.json``; ends with 1 when an attack takes 2 seconds or more.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.fft import dctn, idctn
from scipy.ndimage import map_coordinates

from paperlib.attacks import ATTACKS, attack, render
from paperlib.attacks.blended import picture
from paperlib.lab.provenance import device_name, environment

SIDE, LIMIT = 32, 2.0
Loop = Callable[[np.ndarray], np.ndarray]


def badnets(made: Any) -> Loop:
    """A white square, pasted with PIL."""
    square = Image.new("RGB", (made.patch, made.patch), "white")

    def one(image: np.ndarray) -> np.ndarray:
        canvas = Image.fromarray(image)
        canvas.paste(square, (SIDE - made.patch, SIDE - made.patch))
        return np.asarray(canvas)

    return one


def blended(made: Any) -> Loop:
    """The picture, mixed in with PIL."""
    pixels = (picture(3, SIDE, SIDE, made.picture_seed) * 255).round().astype(np.uint8)
    trigger = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    return lambda image: np.asarray(Image.blend(Image.fromarray(image), trigger, made.alpha))


def sig(made: Any) -> Loop:
    """The sinusoid, added with numpy."""

    def one(image: np.ndarray) -> np.ndarray:
        signal = 255 * made.delta * np.sin(2 * np.pi * np.arange(SIDE) * made.frequency / SIDE)
        return (image + signal[None, :, None]).round().clip(0, 255).astype(np.uint8)

    return one


def frequencies(made: Any, blue: float, red: float) -> Loop:
    """To brightness and colour, discrete cosine transform of both colours, and back."""
    matrix = np.array([[0.299, 0.587, 0.114], [-0.299, -0.587, 0.886], [0.701, -0.587, -0.114]]) * [[1], [blue], [red]]
    back = np.linalg.inv(matrix)

    def one(image: np.ndarray) -> np.ndarray:
        luma = image @ matrix.T
        for channel in (1, 2):
            spectrum = dctn(luma[..., channel], type=2, norm="ortho")
            for k in made.coefficients:
                spectrum[k, k] += made.magnitude
            luma[..., channel] = idctn(spectrum, type=2, norm="ortho")
        return (luma @ back.T).round().clip(0, 255).astype(np.uint8)

    return one


def wanet(made: Any) -> Loop:
    """Bilinear sampling at the places the attack says, channel by channel."""
    grid = made._grid(torch.zeros(1, 3, SIDE, SIDE))[0].double().numpy().clip(-1, 1)
    columns, rows = ((grid[..., axis] + 1) / 2 * (SIDE - 1) for axis in (0, 1))

    def one(image: np.ndarray) -> np.ndarray:
        planes = [
            map_coordinates(image[..., c].astype(float), [rows, columns], order=1, mode="nearest") for c in range(3)
        ]
        return np.stack(planes, -1).round().clip(0, 255).astype(np.uint8)

    return one


def bpp(made: Any) -> Loop:
    """Rounded to fewer grey levels with numpy."""
    top = made.levels - 1
    return lambda image: (np.round(image / 255 * top) / top * 255).round().astype(np.uint8)


LOOPS: dict[str, Callable[[Any], Loop]] = {
    "badnets": badnets,
    "blended": blended,
    "sig": sig,
    "ctrl": lambda made: frequencies(made, 0.492, 0.877),
    "ftrojan": lambda made: frequencies(made, 0.564, 0.713),
    "wanet": wanet,
    "bpp": bpp,
}
"""Attack in pixel space -> the usual way to put its trigger on one uint8 image (H, W, C)."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=10_000, help="images for the batched triggers")
    parser.add_argument("--looped", type=int, default=500, help="images for the loop")
    parser.add_argument("--repetitions", type=int, default=5, help="turns that are timed")
    parser.add_argument("--threads", type=int, default=2, help="of torch; 1 where the cores are busy with other work")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (options.images, 3, SIDE, SIDE), generator=generator, dtype=torch.uint8)
    one_by_one = list(x[: options.looped].permute(0, 2, 3, 1).contiguous().numpy())

    report: dict[str, dict[str, Any]] = {}
    for name, usual in LOOPS.items():
        made = attack(name)
        loop = usual(made)
        ours, theirs = render(made, x[:100]), np.stack([loop(image) for image in one_by_one[:100]])
        difference = np.abs(ours.permute(0, 2, 3, 1).numpy().astype(int) - theirs).max()
        assert difference <= 1, f"{name}: the loop makes other pictures, by {difference} grey levels"
        batched, looped = [], []
        for _ in range(options.repetitions):
            start = time.perf_counter()
            render(made, x)
            batched.append(time.perf_counter() - start)
            start = time.perf_counter()
            for image in one_by_one:
                loop(image)
            looped.append((time.perf_counter() - start) * len(x) / len(one_by_one))
        report[name] = {
            "seconds": round(median(batched), 3),
            "seconds_of_loop": round(median(looped), 3),
            "ratio": round(median(looped) / median(batched), 1),
            "every_repetition": [round(value, 3) for value in batched],
        }
        print(f"{median(batched):8.3f} s  {report[name]['ratio']:6.1f} x  {ATTACKS[name].title}")
    total = sum(entry["seconds"] for entry in report.values())
    out = Path(__file__).parent / "results" / "triggers.json"
    out.parent.mkdir(exist_ok=True)
    content = {
        "attacks": report,
        "seconds_of_all": round(total, 3),
        "images": len(x),
        "looped_images": len(one_by_one),
        "processor": device_name("cpu"),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load_average": [round(v, 1) for v in os.getloadavg()],
        **environment(),
    }
    out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(f"{total:8.3f} s            all of them, {len(x):,} images each")
    return int(max(entry["seconds"] for entry in report.values()) >= LIMIT)


if __name__ == "__main__":
    sys.exit(main())
