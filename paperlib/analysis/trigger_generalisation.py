"""Does the backdoor answer to a trigger that differs from the one it was trained with?

The ASR on test images whose trigger is altered in one hyper-parameter of the attack (the share ``alpha`` of Blended's
picture, the side ``patch`` of BadNets' square), or whose trigger lies elsewhere: moved by whole pixels up and to the
left, around the edge. An image is moved the other way, gets the trigger, and is moved back, so only the trigger's place
changes. Introduced in notebook 08.
"""

from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from paperlib.analysis.samples import Models, attacked
from paperlib.attacks import poisoned_labels, render
from paperlib.attacks.scene import Scene
from paperlib.errors import PaperlibError, choose
from paperlib.training import predict

FIELDS = {"blended": "alpha", "badnets": "patch", "badnets_a2a": "patch", "sig": "delta", "wanet": "s"}
"""Attack -> the hyper-parameter that says how strong or large its trigger is."""


def moved(attack: Any, pixels: int) -> Any:
    """The attack with its trigger ``pixels`` further up and to the left."""

    def call(x: Tensor) -> Tensor:
        return attack(x.roll((pixels, pixels), (2, 3))).roll((-pixels, -pixels), (2, 3))

    return call


def trigger_generalisation(
    models: Models,
    scene: Scene,
    *,
    seed: int,
    values: tuple[float, ...] = (),
    field: str = "",
    shifts: tuple[int, ...] = (0, 1, 2, 4, 8),
    n: int = 1000,
) -> dict[str, Any]:
    """ASR of every model at other ``values`` of a hyper-parameter of the trigger, and at other places of the trigger.

    Parameters
    ----------
    values
        Of the hyper-parameter ``field``; empty: only the one of training.
    field
        Empty: the one of :data:`FIELDS`.
    n
        Test images, of other classes than the target (all-to-all: of all classes).

    Returns
    -------
    dict
        attack; field; trained: its value in training; values; asr: per model, in percent, one number per value; shifts;
        asr_shifted: likewise.

    Raises
    ------
    PaperlibError
        A model trained on clean data, a field that the attack does not have, or none for this attack.
    """
    attacked(scene, "trigger_generalisation")
    attack: Any = scene.trigger
    known: set[str] = (
        {f.name for f in fields(attack) if isinstance(getattr(attack, f.name), int | float)}
        if is_dataclass(attack)
        else set()
    )
    name = field or FIELDS.get(scene.name, "")
    if not name:
        raise PaperlibError(
            f"attack={scene.name!r} has no usual strength to alter; give field=, one of: {', '.join(sorted(known))}."
        )
    choose(f"field of {scene.name}", name, known)
    trained = getattr(attack, name)
    keep = torch.ones_like(scene.test.y, dtype=torch.bool)
    if attack.labels != "all_to_all":
        keep = scene.test.y != scene.target
    index = keep.nonzero().flatten()[:n]
    x, y = scene.test.x[index], scene.test.y[index]
    wanted = poisoned_labels(y, attack.labels, scene.target, scene.test.n_classes)

    def rates(triggers: list[Any]) -> list[list[float]]:
        sets = [render(trigger, x) for trigger in triggers]
        return [[round(100 * (predict(m, s) == wanted).float().mean().item(), 3) for s in sets] for m in models]

    kept = tuple(values) or (trained,)
    whole = isinstance(trained, int)
    return {
        "attack": scene.name,
        "field": name,
        "trained": trained,
        "values": list(kept),
        "asr": rates([replace(attack, **{name: int(v) if whole else float(v)}) for v in kept]),
        "shifts": list(shifts),
        "asr_shifted": rates([moved(attack, s) for s in shifts]),
    }
