"""The tables of the FT-SAM paper, ours beside the printed numbers; DER is averaged as DER of the averages."""

from paperlib.experiments import scales
from paperlib.papers import Results
from paperlib.papers.ft_sam.runs import PAPER, TABLES
from paperlib.papers.paper_table import PaperTable

TITLES = {
    "table1": "FT-SAM against other defenses",
    "table2": "FT-SAM against other defenses on Tiny ImageNet",
    "table3": "FT and FT-SAM with 10, 5 and 1 % clean images",
    "table4": "Pruning (FP's and ANP's) alone, with FT and with FT-SAM",
    "supp_c1": "FT-SAM against other defenses on CIFAR-10 at 5 % poisoning",
    "supp_c2": "FT-SAM against other defenses on Tiny ImageNet at 5 % poisoning",
    "supp_c3": "FT-SAM against other defenses on GTSRB",
    "supp_c4": "FT-SAM against other defenses with VGG19-BN",
    "supp_d1": "FT and FT-SAM on further architectures",
    "supp_d2": "FT and FT-SAM at several poisoning ratios",
}
SHIFTED = (
    "In print the row of the undefended models is shifted by one attack from SIG on; the printed and, after the arrow, the "
    "corrected reading (from Table 1) are both shown."
)
CHAINED = "FP is its pruning with FT. What was pruned stays pruned while the rest is tuned; the paper does not say so of its chains."
OWN = "Ours only: of the supplement no number is published to us, and its rows and columns are our choice."
NOTES = {"table3": (SHIFTED,), "table4": (CHAINED, SHIFTED), **{id_: (OWN,) for id_ in TITLES if id_[:4] == "supp"}}


def paper_table(id_: str) -> PaperTable:
    """The table ``id_``."""

    def notes(results: Results) -> list[str]:
        part = (TABLES[id_].get(results.scale.name) or TABLES[id_]["paper"]).dataset
        scale = scales.on(results.scale, part)
        schedules = (
            f"{scale.defense_epochs} epochs of batch {scale.defense_batch}, lr 0.01; learning-rate schedules: FT cosine per epoch, "
            f"FT-SAM official_cyclic (cosine of period 200 iterations); FT-SAM with rho {scale.rho:g} (the paper: 2), label "
            "smoothing 0.1."
        )
        return [schedules, *NOTES.get(id_, ())] if results.scale.name in TABLES[id_] else []

    return PaperTable(PAPER, id_, TITLES[id_], TABLES[id_], own="ft_sam", average="of averages", notes=notes)
