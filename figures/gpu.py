"""What one GPU computes in a few minutes, most wanted first; what is stored is not computed again.

    PAPERLIB_STORE=... PAPERLIB_DATA=... python figures/gpu.py PART MINUTES LEDGER [WORKERS]

PART is ``gpu`` (the gpu scale: the benchmark's eight attacks undefended, then under FT, FT-SAM, SAU and NPD, then under
everything else that the defense papers do to these models), ``paper`` (BadNets and Blended at the papers' own
settings, with the defenses and the variants of the three defense papers), ``laptop`` (every run of the laptop scale
but those that ask about pictures, then the selection strategies), or ``check`` (each method once at smoke scale). When
the MINUTES are over it stops where it is. LEDGER holds everything that is finished by then; it is written every quarter
of a minute, and what it holds already, from an earlier lease, is not run again. Weights do not travel: a victim of an
earlier lease is trained again where a defense needs it.
"""

import os
import signal
import sys
import threading
import time
from pathlib import Path

from paperlib.attacks import ATTACKS
from paperlib.defenses import DEFENSES, POISONED
from paperlib.detection import DETECTORS
from paperlib.experiments import plan as ex
from paperlib.experiments.scales import GPU, LAPTOP, PAPER, SMOKE, Scale
from paperlib.experiments.specs import CleanseSpec, DefendSpec
from paperlib.lab.ledger import export, import_ledger
from paperlib.lab.plan import method
from paperlib.lab.run import RunFailed, run
from paperlib.lab.spec import Spec
from paperlib.lab.store import Store
from paperlib.papers import specs
from paperlib.papers.benchmark.runs import ATTACKS as EIGHT
from paperlib.papers.defense_table import backdoored, defended

DEFENSE_PAPERS = ("benchmark", "ft_sam", "sau", "polarizer")
LONG = ("lc", "lira", "lf", "ssba", "input_aware", "wanet")
"""Attacks with much to do before their first defense can start."""


def computable(spec: Spec) -> bool:
    """Whether no ancestor asks a model that is not there about pictures."""
    return not any(isinstance(each, CleanseSpec) and each.engine != "truth" for each in spec.ancestry())


def paper_part() -> list[list[Spec]]:
    """Two victims with each defense once, then everything else that the papers do to them."""
    victims = {spec.key: spec for spec in (ex.train(PAPER, "badnets"), ex.train(PAPER, "blended"))}

    def cheap(spec: Spec) -> bool:  # of what trains from scratch, a few minutes are enough for the victims alone
        return isinstance(spec, DefendSpec) and DEFENSES[spec.defense].access != POISONED

    benchmark, *others = (
        [spec for spec in specs(paper, PAPER) if cheap(spec) and all(p.key in victims for p in spec.parents())]
        for paper in DEFENSE_PAPERS
    )
    return [[*victims.values(), *benchmark], [spec for paper in others for spec in paper]]


def gpu_part(scale: Scale = GPU) -> list[list[Spec]]:
    """Eight attacks at the settings of the gpu scale, most wanted first."""
    victims = [backdoored(scale, attack) for attack in EIGHT]
    first = [defended(scale, victim, name) for name in ("ft", "ft_sam", "sau", "npd") for victim in victims]
    of_cifar = {victim.key for victim in victims}

    def here(spec: Spec) -> bool:
        return isinstance(spec, DefendSpec) and spec.parents()[0].key in of_cifar

    rest = [spec for paper in DEFENSE_PAPERS for spec in specs(paper, scale) if here(spec)]
    return [list(victims), list(first), rest]


def laptop_part() -> list[list[Spec]]:
    """The laptop scale of all papers on image data; then what learns which samples to poison."""
    one = [spec for paper in (*DEFENSE_PAPERS, "vdc") for spec in specs(paper, LAPTOP) if computable(spec)]
    return [[*(ex.train(LAPTOP, attack) for attack in LONG), *one], specs("selection", LAPTOP)]


def check_part() -> list[list[Spec]]:
    """One run of every attack, strategy, defense, detector and tool, as small as it gets."""
    found: dict[tuple[str, str], Spec] = {}

    def add(spec: Spec) -> None:
        for each in spec.ancestry():
            if computable(spec):
                found.setdefault((each.kind, method(each.to_dict())), each)

    victim = ex.train(SMOKE, "blended")
    for spec in (
        *(ex.train(SMOKE, attack) for attack in ATTACKS),
        *(ex.defend(SMOKE, victim, defense) for defense in DEFENSES),
        *(ex.detect(SMOKE, victim, detector) for detector in DETECTORS),
        *(spec for paper in (*DEFENSE_PAPERS, "vdc", "selection") for spec in specs(paper, SMOKE)),
    ):
        add(spec)
    return [list(found.values())]


PARTS = {"gpu": gpu_part, "paper": paper_part, "laptop": laptop_part, "check": check_part}


def main(part: str, minutes: float, ledger: Path, workers: int = 4) -> None:
    start, store = time.monotonic(), Store()
    end = start + 60 * minutes

    def note(line: str) -> None:
        print(f"{time.monotonic() - start:5.0f} s {line}", flush=True)

    def watch() -> None:
        while time.monotonic() < end:
            time.sleep(min(15.0, max(0.1, end - time.monotonic())))
            export(store, ledger)
        note(f"{part}: stopped after {minutes:g} minutes")
        os.killpg(0, signal.SIGKILL)  # with its workers; what they had finished is in the ledger

    if ledger.exists():
        note(f"{part}: {import_ledger(ledger, store)} results of {ledger}")
    threading.Thread(target=watch, daemon=True).start()
    for stage in PARTS[part]():
        note(f"{part}: {len({spec.key for spec in stage})} runs wanted")
        try:
            run(stage, store, executor="processes", options={"workers": workers}, report=note, retry_failed=True)
        except RunFailed as failed:
            for outcome in failed.outcomes:
                note(f"{outcome.spec.label}: {outcome.status} {outcome.error}")
    export(store, ledger)
    note(f"{part}: everything done")


if __name__ == "__main__":
    os.setpgid(0, 0)
    main(sys.argv[1], float(sys.argv[2]), Path(sys.argv[3]), *(int(n) for n in sys.argv[4:]))
