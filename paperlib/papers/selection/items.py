"""What the LPS paper has: its tables and figures, and ours beside them."""

from collections.abc import Callable, Iterable

from paperlib.experiments.scales import Scale
from paperlib.lab.spec import Spec
from paperlib.papers import Item
from paperlib.papers.selection import digits, figures, runs, tables

Specs = Callable[[Scale, int], list[Spec]]


def _grid(dataset: str = "") -> Specs:
    return lambda scale, seed: [cell.spec for cell in runs.cells(scale, seed, dataset)]


def _last(planned: Callable[[Scale, int], Iterable[tuple[object, ...]]]) -> Specs:
    """The specs that tuples of a plan end in."""
    return lambda scale, seed: [names[-1] for names in planned(scale, seed)]  # type: ignore[misc]


def _pairs(scale: Scale, seed: int) -> list[Spec]:
    return [spec for _, _, _, *both in runs.pair_specs(scale, seed) for spec in both]


ITEMS: dict[str, Item] = {
    "fig_overview": Item(lambda scale, seed: [], figures.overview),
    "table_cifar10": Item(_grid(), tables.by_ratio("table_cifar10")),
    "table_cifar100": Item(_grid("cifar100"), tables.by_ratio("table_cifar100", "cifar100")),
    "table_tiny": Item(_grid("tiny_imagenet"), tables.by_ratio("table_tiny", "tiny_imagenet")),
    "table_defenses": Item(_last(runs.defended_specs), tables.defenses),
    "table_constraints": Item(_last(runs.constraint_specs), tables.constraints),
    "fig_surrogate": Item(_pairs, figures.surrogate),
    "fig_rounds": Item(_last(runs.round_specs), figures.rounds),
    "fig_selected": Item(runs.montage_specs, figures.selected),
    "fig_loss": Item(_last(runs.main_cells), figures.loss),
}
OURS: dict[str, Item] = {
    "digits": digits.DigitsTable().item(),
    "asr": Item(_grid(), figures.asr),
    "analysis": Item(runs.analysis_specs, tables.analysis),
    "passes": Item(runs.setting_planned, tables.passes),
    "place": Item(runs.montage_specs, figures.place),
    "overlap": Item(runs.searches, figures.overlap),
    "per_class": Item(_last(runs.main_cells), figures.per_class),
    "cost": Item(_last(runs.own_cells), tables.cost),
}
"""Items that are not in the paper."""
