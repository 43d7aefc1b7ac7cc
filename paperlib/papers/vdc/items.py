"""What the VDC paper has: its tables and figures, ours beside them, and what is not drawn and why."""

from collections.abc import Callable
from dataclasses import replace

from paperlib.experiments.scales import Scale
from paperlib.lab.spec import Spec
from paperlib.papers import Item
from paperlib.papers.vdc import figures, tables
from paperlib.papers.vdc.readings import read
from paperlib.papers.vdc.runs import (
    ATTACKS,
    NOISES,
    RETRAINED,
    Asked,
    compared,
    detections,
    engines,
    fair,
    of,
    retrainings,
    slipped,
)  # fmt: skip


def _groups(names: str, *baselines_on: str) -> Callable[[Scale, int], list[Spec]]:
    """The sets of these groups, and the baselines on these kinds of dirt with VDC on exactly their data."""

    def specs(scale: Scale, seed: int) -> list[Spec]:
        judged = [spec for dirt, _, spec in detections(scale, seed) if dirt in baselines_on]
        return [*of(names, scale, seed), *judged, *compared(scale, seed, baselines_on)]

    return specs


def _nothing(scale: Scale, seed: int) -> list[Spec]:
    return []


def _slipped(scale: Scale, seed: int) -> list[Spec]:
    return [*slipped(scale, seed).values(), *_groups("none", RETRAINED)(scale, seed)]


ITEMS: dict[str, Item] = {
    "fig2": Item(_groups("poisoned,noisy"), figures.fig2),
    "fig3": Item(_groups("poisoned"), figures.fig3),
    "table1": Item(_groups("poisoned", *ATTACKS), tables.table1),
    "table2": Item(
        _nothing, tables.printed_table("table2", "Table 2. Poisoned-sample detection on ImageNet-100, 9.9 % poisoned.")
    ),
    "table_imagenet_dog": Item(
        _nothing,
        tables.printed_table(
            "table_imagenet_dog", "Table 13 (number inferred). Poisoned-sample detection on ImageNet-Dog, 9 % poisoned."
        ),
    ),
    "table_noisy_labels": Item(_groups("noisy", *NOISES), tables.table_noisy_labels),
    "table_hybrid": Item(_groups("hybrid,poisoned,noisy"), tables.table_hybrid),
    "table_retraining": Item(lambda scale, seed: [*retrainings(scale, seed).values()], tables.table_retraining),
    "table_models": Item(lambda scale, seed: [spec for _, spec in engines(scale, seed)], tables.table_models),
    "table_time": Item(_groups("", *ATTACKS, *NOISES), tables.table_time),
    "table_attack_settings": Item(_nothing, tables.table_attack_settings),
    "table_training_settings": Item(_nothing, tables.table_training_settings),
    "table10": Item(_nothing, tables.table10),
    "table11": Item(_nothing, tables.table11),
    "table12": Item(_nothing, tables.table12),
    "table_low_ratios": Item(_groups("few,poisoned"), tables.table_low_ratios),
}
OURS: dict[str, Item] = {
    "every_column": Asked(tables.every_column).item(),
    "roc": Item(_groups("poisoned,noisy"), figures.roc),
    "threshold": Item(_groups("poisoned,noisy"), figures.threshold),
    "ties": Item(_groups("poisoned,noisy"), tables.ties),
    "questions": Item(_groups("noisy"), tables.questions),
    "gallery": Item(_groups("poisoned,noisy,by people"), figures.gallery),
    "slipped": Item(_slipped, figures.slipped),
    "table_same_features": Item(
        lambda scale, seed: [spec for *_, spec in fair(scale, seed)], tables.table_same_features
    ),
    "table_own_terms": Item(_groups("noisy", *NOISES), tables.table_own_terms),
    "clean_label": Item(_groups("clean label"), tables.clean_label),
}

for _all in (ITEMS, OURS):
    for _id, _item in _all.items():
        _all[_id] = replace(_item, draw=read(_id, _item.draw))
