"""Toy runners for the lab's tests, and a script that runs a toy grid in a process of its own (to be killed, to race).

    python lab_toy.py STORE MODE

MODE: ``plain``; ``hang-in-runner``, ``hang-in-rename`` (stop in the middle of the run with seed 3, half written);
``race`` (two processes wait for each other inside the same run). Every run appends its kind and key to
``computed.txt`` beside the store.
"""

import json
import os
import sys
import time
from pathlib import Path

from paperlib.experiments.specs import DefendSpec, TrainSpec
from paperlib.lab.run import Context, run
from paperlib.lab.spec import Spec, pairs
from paperlib.lab.store import Store

WEIGHTS = b"not really weights" * 100


def train_spec(seed: int = 0, **changes) -> TrainSpec:
    values = {"dataset": "digits", "n_train": 100, "width": 4, "epochs": 2, "attack": "toy", "seed": seed}
    return TrainSpec(**{**values, **changes})


def defend_spec(parent: Spec, **changes) -> DefendSpec:
    values = {"defense": "ft", "n_clean": 10, "params": pairs(epochs=2), "seed": parent.seed}
    return DefendSpec(parent=parent, **{**values, **changes})


def grid(n: int = 6) -> list[Spec]:
    models = [train_spec(seed) for seed in range(n)]
    return [*models, *(defend_spec(model) for model in models)]


def note(store: Store, spec: Spec) -> None:
    with open(store.root.parent / "computed.txt", "a", encoding="utf-8") as file:
        file.write(f"{spec.kind}-{spec.key}\n")


def computed(store: Store) -> list[str]:
    path = store.root.parent / "computed.txt"
    return path.read_text(encoding="utf-8").split() if path.exists() else []


def train(spec: Spec, context: Context) -> dict:
    note(context.store, spec)
    (context.folder / "weights.safetensors").write_bytes(WEIGHTS)
    return {"c_acc": 90.0 + spec.seed, "log": [{"epoch": 1, "loss": 0.5}]}


def defend(spec: DefendSpec, context: Context) -> dict:
    assert context.store.weights_path(spec.parent).read_bytes() == WEIGHTS
    note(context.store, spec)
    (context.folder / "weights.safetensors").write_bytes(WEIGHTS)
    return {"c_acc": context.store.result(spec.parent)["c_acc"] - 1}


RUNNERS = {"train": train, "defend": defend}


def _hang(store: Store) -> None:
    (store.root.parent / "hanging").touch()
    time.sleep(600)


def _main(root: str, mode: str) -> None:
    store = Store(root)

    def hanging_train(spec: Spec, context: Context) -> dict:
        if spec.seed == 3:
            with open(context.folder / "weights.safetensors", "wb") as file:
                file.write(WEIGHTS[: len(WEIGHTS) // 2])
                file.flush()
                _hang(store)
        return train(spec, context)

    def racing_train(spec: Spec, context: Context) -> dict:
        (store.root.parent / f"racer-{os.getpid()}").touch()
        while len(list(store.root.parent.glob("racer-*"))) < 2:
            time.sleep(0.01)
        return {**train(spec, context), "process": os.getpid()}

    specs, runners = grid(), dict(RUNNERS)
    if mode == "hang-in-runner":
        runners["train"] = hanging_train
    elif mode == "hang-in-rename":
        rename = os.rename

        def hanging_rename(source, target):
            if target == store.path(train_spec(3)):
                _hang(store)
            rename(source, target)

        os.rename = hanging_rename
    elif mode == "race":
        specs, runners["train"] = [train_spec()], racing_train
    print(json.dumps(run(specs, store, device="cpu", progress=False, runners=runners)))


if __name__ == "__main__":
    _main(str(Path(sys.argv[1])), sys.argv[2])
