"""What the benchmark has: its tables and figures, and ours beside them."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pandas as pd

from paperlib.experiments import scales
from paperlib.experiments.scales import Scale
from paperlib.lab.spec import Spec
from paperlib.papers import Item, analysis_tools
from paperlib.papers.benchmark import figures, runs, tables
from paperlib.papers.benchmark.runs import LARGEST_CLASS, MODELS, PAPER
from paperlib.papers.defense_table import Cell, specs_of
from paperlib.papers.paper_table import PaperTable
from paperlib.report.artefact import Artefact


def _nothing(scale: Scale, seed: int) -> list[Spec]:
    return []


def _printed(draw: Callable[..., Artefact], *arguments: Any) -> Item:
    """An item of printed numbers: no experiments."""
    return Item(_nothing, lambda results: draw(*arguments))


def _visual(id_: str, defense: str) -> Item:
    return Item(
        lambda scale, seed: [spec for group in runs.visual_specs(scale, seed, defense) for spec in group],
        partial(figures.visual, id_=id_, defense=defense),
    )


def _of(cells: Callable[[Scale, int], list[Cell]]) -> Callable[[Scale, int], list[Spec]]:
    return lambda scale, seed: specs_of(cells(scale, seed))


def _seeds(scale: Scale, seed: int) -> list[Spec]:
    return specs_of(cell for cells in runs.seed_cells(scale, seed).values() for cell in cells)


class Grid(PaperTable):
    """The grid of defenses of something else, as a reader changes it; its printed numbers are cells of several
    papers."""

    number = "Our grid"

    def published(self) -> pd.DataFrame:
        frame, asked = runs.printed_cells(), self.at(scales.PAPER)[0]
        return frame[frame.attack.isin(asked.attacks) & frame.defense.isin(("none", *asked.defenses))]


GRID = Grid(
    PAPER, "our_defenses", "Defenses, ours beside the printed full-scale cells",
    {scale: runs.defense_tables(part)[:1] for scale, part in runs.SLICES.items()},
)  # fmt: skip


ITEMS: dict[str, Item] = {
    "table1": _printed(
        tables.taxonomy, "table1", "attack", tables.ATTACK_COLUMNS, tables.ATTACK_FACTS,
        "The eight attacks: what the attacker controls, and what the trigger is.",
    ),
    "table2": _printed(
        tables.taxonomy, "table2", "defense", tables.DEFENSE_COLUMNS, tables.DEFENSE_FACTS,
        "The nine defenses: what each gets and gives, when it works, and on which idea.",
    ),
    "supp_table1": _printed(tables.attack_settings),
    "supp_table2": _printed(tables.defense_settings),
    **{f"table_{name}": _printed(tables.result_table, name) for name in LARGEST_CLASS},
    "table_models": _printed(tables.other_models),
    "table_ratios": _printed(tables.other_ratios),
    "fig_overview": _printed(figures.overview),
    "fig_ratio": _printed(figures.ratio_figure, "fig_ratio", "cifar10", MODELS[:1]),
    "fig_architecture": _printed(figures.architecture),
    "fig9": _printed(figures.ratio_figure, "fig9", "cifar10", MODELS[1:]),
    **{
        f"fig_ratio_{name}": _printed(figures.ratio_figure, f"fig_ratio_{name}", name, MODELS[:1])
        for name in ("cifar100", "gtsrb", "tiny")
    },
    "fig1": _printed(figures.structure),
    "fig_tsne_ratio": Item(runs.tsne_specs, figures.tsne),
    "fig_quick_learning": Item(runs.dynamics_specs, figures.quick_learning),
    "fig_trigger_generalisation": Item(runs.generalisation_specs, figures.generalisation),
    "fig_forgetting": Item(runs.dynamics_specs, figures.forgetting),
    "fig_visual_attack": _visual("fig_visual_attack", "none"),
    "fig_visual_defense": _visual("fig_visual_defense", "ac"),
}  # fmt: skip

OURS: dict[str, Item] = {
    "our_triggers": Item(runs.trigger_specs, figures.triggers),
    "our_samples": Item(runs.trigger_specs, figures.samples),
    "our_attacks": Item(runs.attack_specs, tables.our_attacks),
    "our_defenses": Item(_of(runs.defense_cells), tables.our_defenses, GRID),
    "our_detectors": Item(lambda scale, seed: list(runs.detections(scale, seed).values()), tables.our_detectors),
    "our_ratio": Item(_of(runs.ratio_cells), figures.our_ratio),
    "our_datasets": Item(runs.dataset_specs, tables.our_datasets),
    "our_input_aware": Item(runs.input_aware_specs, tables.our_input_aware),
    "our_repetition": Item(runs.repetition_specs, tables.our_repetition),
    "our_seeds": Item(_seeds, tables.our_seeds),
    "our_ranks": Item(_of(runs.defense_cells), figures.our_ranks),
    "our_conclusions": Item(_nothing, tables.our_conclusions),
    **analysis_tools.ITEMS,
}
"""Items that are not in the paper."""
