"""What notebook 02 has: the tables and figures of the SAU paper."""

from paperlib.papers import Item
from paperlib.papers.figures import reactivation
from paperlib.papers.sau import figures, runs, tables

ITEMS: dict[str, Item] = {
    "table1": Item(lambda s, seed: list(runs.risk_specs(s, seed).values()), tables.draw_table1),
    "table2": Item(lambda s, seed: [], tables.draw_table2),
    "table6": Item(lambda s, seed: list(runs.curves(s, seed, runs.TABLE6).values()), tables.draw_table6),
    "table7": Item(
        lambda s, seed: [c.spec for c in runs.MAIN[s.plans].cells(s, seed) if c.defense != "none"], tables.draw_table7
    ),
    "table8": Item(lambda s, seed: [], tables.draw_table8),
    **{id_: table.item() for id_, table in tables.TABLES.items()},
    "fig1": Item(lambda s, seed: [runs.curve_spec(runs.ablation(s), "blended", "C+D", seed)], figures.draw_fig1),
    "fig2": Item(lambda s, seed: [runs.curve_spec(s, "blended", "A+B", seed)], figures.draw_fig2),
    "fig3": Item(lambda s, seed: list(runs.curves(s, seed).values()), figures.draw_fig3),
    "fig4": Item(lambda s, seed: [runs.feature_spec(s, seed)], figures.draw_fig4),
    "fig5": Item(lambda s, seed: [runs.curve_spec(s, "blended", "A+B", seed)], figures.draw_fig5),
}
OURS: dict[str, Item] = {"our_reactivation": reactivation(runs.PAPER, runs.STAGES, lambda scale: runs.WATCHED)}
