"""How long the benchmark's eight attacks take at laptop scale from an empty store, what they prepare included.

    PAPERLIB_DATA=... python benchmarks/attacks.py [workers]

Two processes of one thread each (default) on two cores; longest first. Writes ``benchmarks/results/attacks.json``: the
wall minutes of the whole, and of every attack its numbers and seconds.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

from paperlib.experiments.scales import LAPTOP
from paperlib.lab.provenance import device_name, environment
from paperlib.lab.run import run
from paperlib.lab.store import Store
from paperlib.papers.benchmark.runs import attacked

EIGHT = ("lc", "lf", "ssba", "input_aware", "wanet", "badnets", "blended", "sig")


def main(workers: int = 2) -> None:
    victims = [attacked(LAPTOP, attack) for attack in EIGHT]
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        start = time.perf_counter()
        run(victims, store, device="cpu", executor="processes", options={"workers": workers}, report=print)
        minutes = (time.perf_counter() - start) / 60
        rows = {
            victim.attack: {
                **{name: store.result(victim)[name] for name in ("c_acc", "asr", "r_acc", "seconds")},
                "prepared": {} if victim.prepared is None else store.result(victim.prepared),
            }
            for victim in victims
        }
    result = {
        "wall minutes": round(minutes, 1),
        "attacks": rows,
        "processes": workers,
        "cores": os.cpu_count(),
        "device": device_name("cpu"),
        **environment(),
    }
    print(json.dumps(result, indent=1))
    Path(__file__).parent.joinpath("results", "attacks.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main(*(int(n) for n in sys.argv[1:]))
