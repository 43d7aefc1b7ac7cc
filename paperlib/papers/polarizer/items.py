"""What notebook 04 has: the tables and figures of the NPD paper."""

from functools import partial

from paperlib.experiments.scales import Scale
from paperlib.lab.spec import Spec
from paperlib.papers import Item
from paperlib.papers.defense_table import specs_of
from paperlib.papers.figures import reactivation
from paperlib.papers.polarizer import figures, runs, tables


def _cam(attack: str, scale: Scale, seed: int) -> list[Spec]:
    return [runs.gradcam_spec(scale, attack, seed)]


ITEMS: dict[str, Item] = {
    **{id_: table.item() for id_, table in tables.TABLES.items()},
    "table9": Item(lambda s, seed: [cell.spec for cell in runs.timed(s, seed)], tables.draw_table9),
    "table10": Item(lambda s, seed: list(runs.pictures(s, seed).values()), tables.draw_table10),
    "fig1": Item(lambda s, seed: [], figures.draw_fig1),
    "fig2": Item(lambda s, seed: [], figures.draw_fig2),
    "fig3": Item(lambda s, seed: specs_of(runs.FIGURE3[s.plans].cells(s, seed)), figures.draw_fig3),
    "fig4": Item(lambda s, seed: [runs.perturbation_spec(s, "blended", seed)], figures.draw_fig4),
    **{id_: Item(partial(_cam, attack), partial(figures.draw_cam, id_)) for id_, attack in runs.CAMS.items()},
}
OURS: dict[str, Item] = {
    "our_estimate": Item(lambda s, seed: list(runs.estimates(s, seed).values()), tables.draw_estimate),
    "our_reactivation": reactivation(runs.PAPER, ("none", "npd"), lambda scale: runs.REACTIVATED[scale.plans]),
}
