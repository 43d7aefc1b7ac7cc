"""Prints the memory that a process holds in MB while it works. Usage: memory_toy.py runs STORE NUMBER | train NUMBER |
cleanse NUMBER"""

import os
import resource
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))
import numpy as np
import torch
from lab_toy import train_spec

from paperlib.data import images
from paperlib.lab.run import Context, run
from paperlib.lab.spec import Spec
from paperlib.lab.store import Store
from paperlib.models import build
from paperlib.training import Recipe, fit, predict, save_weights
from paperlib.vdc.cleanse import cleanse
from paperlib.vdc.engines.oracle import OracleEngine
from paperlib.vdc.types import picture_key

torch.set_num_threads(1)
DIGITS = images.load("digits", "train", 20)


def held() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    print(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, flush=True)


def step(spec: Spec, context: Context) -> dict[str, Any]:
    model = build("preact_resnet18", DIGITS, width=4, seed=spec.seed)
    log = fit(model, DIGITS, Recipe(epochs=1, batch_size=20, lr=0.01), seed=spec.seed)
    save_weights(model, context.folder / "weights.safetensors")
    return {"log": log * 1000}


def noise(n: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (n, 3, 16, 16), dtype=np.uint8))


if __name__ == "__main__":
    role, number = sys.argv[1], int(sys.argv[-1])
    if role == "runs":
        for start in range(0, number, number // 8):
            run(
                [train_spec(seed) for seed in range(start, start + number // 8)],
                Store(sys.argv[2]),
                device="cpu",
                progress=False,
                runners={"train": step},
            )
            held()
    elif role == "train":
        x = noise(number)
        data = images.from_tensors(x, torch.arange(number) % 10)
        model = build("preact_resnet18", data, width=4)
        for _ in range(2):
            fit(model, data, Recipe(epochs=1, batch_size=500, lr=0.01), seed=0)
            predict(model, data.x)
            held()
    else:
        x = noise(number)
        names = [f"class {k}" for k in range(10)]
        truth = {picture_key(p): names[i % 10] for i, p in enumerate(x.permute(0, 2, 3, 1).numpy())}
        held()
        cleanse(x, torch.arange(number) % 10, names, engine=OracleEngine(truth))
        held()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)
