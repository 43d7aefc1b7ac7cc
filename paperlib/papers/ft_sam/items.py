"""What notebook 05 has: the tables and figures of the FT-SAM paper."""

from paperlib.papers import Item
from paperlib.papers.figures import reactivation
from paperlib.papers.ft_sam import figures, runs
from paperlib.papers.ft_sam.tables import TITLES, draw_pictures, draw_versions, paper_table

ITEMS: dict[str, Item] = {
    **{id_: paper_table(id_).item() for id_ in TITLES},
    "fig1": Item(
        lambda s, seed: [runs.tsne_spec(s, seed), runs.neuron_spec(s, "blended", 0.1, seed)], figures.draw_fig1
    ),
    "fig2": Item(
        lambda s, seed: [runs.tsne_spec(s, seed), *(runs.neuron_spec(s, a, 0.1, seed) for a in ("blended", "badnets"))],
        figures.draw_fig2,
    ),
    "fig3": Item(lambda s, seed: [spec for *_, spec in runs.sweep(s, seed)], figures.draw_fig3),
    "fig4": Item(lambda s, seed: list(runs.neuron_specs(s, seed).values()), figures.draw_fig4),
    "fig5": Item(lambda s, seed: list(runs.neuron_specs(s, seed).values()), figures.draw_fig5),
    "fig6": Item(
        lambda s, seed: [runs.neuron_spec(s, "blended", 0.1, seed), *runs.geometry_specs(s, seed).values()],
        figures.draw_fig6,
    ),
    "fig7": Item(lambda s, seed: list(runs.gradcam_specs(s, seed).values()), figures.draw_fig7),
}
OURS: dict[str, Item] = {
    "our_pictures": Item(runs.picture_specs, draw_pictures),
    "our_versions": Item(runs.mended_specs, draw_versions),
    "our_reactivation": reactivation(runs.PAPER, runs.STAGES, lambda scale: ("blended",)),
}
