"""What an epoch of SAU, NPD and FT-SAM costs beside an epoch of fine-tuning, at laptop scale.

    python benchmarks/defenses.py [--epochs 3] [--turns 3] [--threads 2]

The same model (PreAct-ResNet18 of width 16, a few epochs on 2,000 images of CIFAR-10 with Blended), the same 500 clean
images and the settings of the laptop scale, which differ in their batch sizes: 32 for FT, FT-SAM and NPD, 50 for SAU.
NPD runs without its warm-up. A method runs once for one epoch and once for ``1 + epochs``; the difference is what the
epochs cost without what comes once. The methods take turns; medians are compared.

Writes ``benchmarks/results/defenses.json``; ends with 1 when a ratio is above what the project promises.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from statistics import median

import torch

from paperlib import models
from paperlib.attacks import attack, draw, poison
from paperlib.data import images
from paperlib.defenses import purify
from paperlib.experiments import plan
from paperlib.experiments.scales import LAPTOP
from paperlib.lab.provenance import device_name, environment
from paperlib.training import Recipe, fit

PROMISED = {"ft_sam": 2.3, "npd": 3.0, "sau": 14.0}


def main(epochs: int, turns: int, threads: int) -> int:
    torch.set_num_threads(threads)
    train, clean = images.load("cifar10", "train", 2_000, 0), images.load("cifar10", "train", LAPTOP.n_clean, 1)
    trigger = attack("blended")
    indices = draw(train.y.numpy(), 0.1, trigger.labels, target=0, seed=0)
    model = models.build("preact_resnet18", train, width=LAPTOP.width, seed=0)
    poisoned = poison(train, trigger, target=0, indices=indices)
    fit(model, poisoned.data, Recipe(3, LAPTOP.batch_size, LAPTOP.lr, "one_cycle"), seed=0)

    victim = plan.train(LAPTOP, "blended")  # for the parameters that the laptop scale gives to each defense
    more = {"npd": {"warm_up": 0}}
    given = {name: dict(plan.defend(LAPTOP, victim, name).params) | more.get(name, {}) for name in ("ft", *PROMISED)}

    def seconds(name: str, count: int) -> float:
        start = time.perf_counter()
        purify(model, clean=clean, method=name, **{**given[name], "epochs": count})
        return time.perf_counter() - start

    for name in given:
        seconds(name, 1)
    taken: dict[str, list[float]] = {name: [] for name in given}
    for _ in range(turns):
        for name in given:
            taken[name].append((seconds(name, 1 + epochs) - seconds(name, 1)) / epochs)
    an_epoch = {name: median(values) for name, values in taken.items()}
    ratios = {name: round(an_epoch[name] / an_epoch["ft"], 2) for name in PROMISED}
    result = {
        "seconds of an epoch": {name: round(value, 3) for name, value in an_epoch.items()},
        "times an epoch of FT": ratios,
        "single turns": {name: [round(value, 3) for value in values] for name, values in taken.items()},
        "promised at most": PROMISED,
        "clean images": LAPTOP.n_clean,
        "threads": threads,
        "device": device_name("cpu"),
        **environment(),
    }
    print(json.dumps(result, indent=1))
    Path(__file__).parent.joinpath("results", "defenses.json").write_text(json.dumps(result, indent=1) + "\n")
    return int(any(ratios[name] > PROMISED[name] for name in PROMISED))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    sys.exit(main(**vars(parser.parse_args())))
