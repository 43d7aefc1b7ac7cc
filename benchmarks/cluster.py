"""What the ray executor costs: the same runs inline and on a Ray node of one core, which works on one task at a time.

    python benchmarks/cluster.py [tasks] [seconds]

A run waits for ``seconds`` (default 10) and then computes for about one second, so that other work on the machine
hardly changes its length; every run is a task of its own. What Ray adds is compared with inline in wall seconds:
without the start of the cluster, which is there once however long the grid is, and with it. Two sizes of the grid tell
what comes once (a worker starts and imports torch) from what every task pays. Writes
``benchmarks/results/cluster_<tasks>.json``.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import ray

from paperlib.experiments.specs import TrainSpec
from paperlib.lab.provenance import device_name, environment
from paperlib.lab.run import Context, run
from paperlib.lab.spec import Spec
from paperlib.lab.store import Store


def train(spec: Spec, context: Context) -> dict[str, float]:
    """Wait, compute, and leave a megabyte behind as weights."""
    start = time.perf_counter()
    time.sleep(spec.width)
    matrix = np.random.default_rng(spec.seed).standard_normal((400, 400))
    for _ in range(200):
        matrix = matrix @ matrix / np.linalg.norm(matrix)
    (context.folder / "weights.safetensors").write_bytes(bytes(1_000_000))
    return {"norm": float(np.linalg.norm(matrix)), "seconds": time.perf_counter() - start}


def main(tasks: int = 5, seconds: int = 10) -> None:
    specs = [TrainSpec(dataset="none", n_train=0, epochs=1, width=seconds, seed=seed) for seed in range(tasks)]
    runners = {"train": train}
    wall, inside = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        wall["start of the cluster"] = time.perf_counter() - start
        for executor in ("ray", "inline"):  # either one reads nothing from the other's store
            start = time.perf_counter()
            results = run(
                specs, Store(Path(folder) / executor), device="cpu", executor=executor, progress=False, runners=runners
            )
            wall[executor] = time.perf_counter() - start
            inside[executor] = sum(result["seconds"] for result in results.values())
            assert len(results) == tasks
        start = time.perf_counter()
        ray.shutdown()
        wall["end of the cluster"] = time.perf_counter() - start
    around = wall["start of the cluster"] + wall["end of the cluster"]
    report = {
        "tasks": tasks,
        "seconds_of_a_task": round(inside["inline"] / tasks, 2),
        "wall_seconds": {name: round(value, 2) for name, value in wall.items()},
        "wall_seconds_outside_of_the_runs": {name: round(wall[name] - inside[name], 2) for name in inside},
        "ray_over_inline": round(wall["ray"] / wall["inline"], 3),
        "ray_with_its_cluster_over_inline": round((wall["ray"] + around) / wall["inline"], 3),
        "ray": ray.__version__,
        "processor": device_name("cpu"),
        "load_average": [round(v, 1) for v in os.getloadavg()],
        **environment(),
    }
    out = Path(__file__).parent / "results" / f"cluster_{tasks}.json"
    out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
