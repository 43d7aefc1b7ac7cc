"""Processes that use one store or one ledger at the same time. Usage: races_toy.py ROLE STORE [LEDGER] [NUMBER]

ROLE: ``export`` (results ``NUMBER``, ``NUMBER`` + 8, ... of the toy grid, one export each), ``run`` (the toy grid,
slowly), ``hold`` (starts a run that never ends).
"""

import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))
from lab_toy import RUNNERS, defend, grid, train, train_spec

from paperlib.lab import ledger
from paperlib.lab.run import Context, run
from paperlib.lab.spec import Spec
from paperlib.lab.store import Store

ROLE, STORE = sys.argv[1], Store(sys.argv[2])


def slowly(spec: Spec, context: Context) -> dict[str, Any]:
    time.sleep(0.02)
    return (train if spec.kind == "train" else defend)(spec, context)


if ROLE == "export":
    for spec in grid(24)[int(sys.argv[4]) :: 8]:
        ledger.export(STORE, sys.argv[3], [spec.key])
elif ROLE == "run":
    run(grid(24), STORE, device="cpu", progress=False, runners=dict.fromkeys(RUNNERS, slowly))
else:
    with STORE.in_use(), STORE.writing(train_spec(99)):
        print("holding", flush=True)
        time.sleep(600)
