"""The FT-SAM paper: which experiments its tables and figures are drawn from, at every scale."""

from collections.abc import Iterable

from paperlib.attacks.pictures import PICTURES
from paperlib.data import sources
from paperlib.experiments import plan
from paperlib.experiments.scales import Scale
from paperlib.experiments.specs import AnalysisSpec
from paperlib.lab.spec import Spec, pairs
from paperlib.papers.captions import SIGNS, TINY
from paperlib.papers.defense_table import Cell, DefenseTable, Setting, backdoored, defended, specs_of

PAPER = "ft_sam"
PRINTED_ATTACKS = ("badnets", "badnets_a2a", "blended", "input_aware", "lc", "lf", "sig", "ssba", "trojannn", "wanet")
PRINTED_DEFENSES = ("ft", "fp", "nad", "ac", "nc", "anp", "abl", "i_bau", "ft_sam")
DIRTY_LABEL = tuple(name for name in PRINTED_ATTACKS if name not in ("lc", "sig"))
"""The attacks where no class holds 5 or 10 % of the images: a clean-label attack needs that many of its target."""
ATTACKS = {
    "smoke": ("badnets", "blended"),
    "laptop": ("badnets", "badnets_a2a", "blended", "sig"),
    "paper": PRINTED_ATTACKS,
}
"""Scale -> the attacks of every item but Tables 1 and 4."""
STAGES = ("none", "ft", "ft_sam")
"""The models of :func:`neuron_spec` and :func:`tsne_spec`, in this order."""
RHOS = (1, 2, 3, 4, 5, 6, 7, 8)
SWEPT = ("blended", "lf", "sig", "ssba")
"""Attacks of Figure 3: the paper names Blended and LF among its four; the other two are our choice."""
CLEAN_RATIOS = (0.10, 0.05, 0.01)

FT, CHAINS = ("ft", "ft_sam"), ("pruning", "fp", "pruning+ft_sam", "anp", "anp+ft", "anp+ft_sam")
"""The defenses of most tables, and of Table 4: FP's pruning and ANP's, alone and followed by FT or FT-SAM."""
TABLES: dict[str, dict[str, DefenseTable]] = {
    "table1": {
        "smoke": DefenseTable(ATTACKS["smoke"], FT),
        # on the models of the benchmark's own runs
        "laptop": DefenseTable(
            ("badnets", "badnets_a2a", "blended", "lf", "sig", "wanet", "input_aware"),
            ("ft", "fp", "nad", "nc", "anp", "i_bau", "ft_sam"),
        ),
        "paper": DefenseTable(PRINTED_ATTACKS, PRINTED_DEFENSES),
    },
    "table2": {
        "laptop": DefenseTable(DIRTY_LABEL, PRINTED_DEFENSES, dataset=TINY),
        "paper": DefenseTable(DIRTY_LABEL, PRINTED_DEFENSES, dataset="tiny_imagenet"),
    },
    "table3": {scale: DefenseTable(attacks, FT, clean_ratio=CLEAN_RATIOS) for scale, attacks in ATTACKS.items()},
    "table4": {
        "smoke": DefenseTable(("blended",), CHAINS),
        "laptop": DefenseTable(("badnets", "blended", "lf", "sig"), CHAINS),
        "paper": DefenseTable(tuple(n for n in PRINTED_ATTACKS if n not in ("badnets_a2a", "trojannn")), CHAINS),
    },
    # Of the supplement only the families are known (main text): attacks, defenses, ratios and models are our reading.
    "supp_c1": {
        "smoke": DefenseTable(ATTACKS["smoke"], FT, ratio=0.05),
        "laptop": DefenseTable(ATTACKS["laptop"], ("ft", "fp", "ft_sam"), ratio=0.05),
        "paper": DefenseTable(PRINTED_ATTACKS, PRINTED_DEFENSES, ratio=0.05),
    },
    "supp_c2": {
        "laptop": DefenseTable(("badnets", "blended"), FT, ratio=0.05, dataset=TINY),
        "paper": DefenseTable(DIRTY_LABEL, PRINTED_DEFENSES, ratio=0.05, dataset="tiny_imagenet"),
    },
    "supp_c3": {
        "laptop": DefenseTable(("badnets", "blended"), FT, dataset=SIGNS),
        "paper": DefenseTable(DIRTY_LABEL, PRINTED_DEFENSES, dataset="gtsrb"),
    },
    "supp_c4": {
        "laptop": DefenseTable(("badnets", "blended"), ("ft", "fp", "ft_sam"), model="vgg19_bn"),
        "paper": DefenseTable(PRINTED_ATTACKS, PRINTED_DEFENSES, model="vgg19_bn"),
    },
    "supp_d1": {
        # EfficientNet-B3 of width 16 ends 8 epochs of BadNets at a C-Acc of 14
        "laptop": DefenseTable(
            ("badnets", "blended"), FT, model=("vgg19_bn", "densenet161", "mobilenet_v3_large_fine")
        ),
        "paper": DefenseTable(
            PRINTED_ATTACKS, FT, model=("vgg19_bn", "densenet161", "mobilenet_v3_large", "efficientnet_b3")
        ),
    },
    "supp_d2": {
        "smoke": DefenseTable(ATTACKS["smoke"], FT, ratio=(0.05, 0.1)),
        "laptop": DefenseTable(("badnets", "blended"), FT, ratio=(0.01, 0.05, 0.1)),
        "paper": DefenseTable(DIRTY_LABEL, FT, ratio=(0.01, 0.05, 0.1)),
    },
}


PICTURED = {"smoke": FT, "laptop": ("ft", "nad", "npd", "ft_sam"), "paper": ("ft", "nad", "npd", "ft_sam")}
"""Scale -> the defenses under which Blended's pictures are compared."""


def picture_table(scale: Scale, pictures: Iterable[str] = PICTURES) -> DefenseTable:
    """Blended with each of ``pictures``."""
    settings = [Setting(f"picture={one}", training={"attack_params": pairs(picture=one)}) for one in pictures]
    return DefenseTable(("blended",), PICTURED[scale.plans], settings=tuple(settings))


def picture_specs(scale: Scale, seed: int) -> list[Spec]:
    """The experiments of it; with the benchmark's picture where that is on this machine, but not at smoke scale."""
    fetched = scale.plans != "smoke" and sources.status("pictures").state == "ready"
    here = [one for one in PICTURES if one != "benchmark" or fetched]
    return specs_of(picture_table(scale, here).cells(scale, seed))


_SIX = ("ft", "ft_sam", "nad", "npd", "i_bau", "anp")
MENDED = {"smoke": ("ft",), "laptop": _SIX, "paper": _SIX}
"""Scale -> the defenses that are set beside what their earlier versions computed."""
_BADNETS: tuple[str, dict[str, str]] = ("badnets", {})
VICTIMS: dict[str, dict[str, tuple[str, dict[str, str]]]] = {
    "smoke": {"BadNets": _BADNETS},
    "laptop": {"BadNets": _BADNETS, "Blended, cartoon": ("blended", {"picture": "cartoon"})},
    "paper": {"BadNets": _BADNETS, "Blended": ("blended", {})},
}
"""Scale -> title of an attack -> its name and parameters."""


def mended_cells(scale: Scale, seed: int) -> dict[str, list[Cell]]:
    """Title of an attack -> cells of its model with ``seed`` under the defenses of :data:`MENDED`."""
    out = {}
    for title, (attack, params) in VICTIMS[scale.plans].items():
        setting = Setting(training={"attack_params": pairs(params)} if params else {})
        out[title] = DefenseTable((attack,), MENDED[scale.plans], settings=(setting,)).cells(scale, seed)
    return out


def mended_specs(scale: Scale, seed: int) -> list[Spec]:
    """The experiments of it; further seeds are shown where they were run."""
    return specs_of(cell for cells in mended_cells(scale, seed).values() for cell in cells)


def swept(scale: Scale) -> tuple[str, ...]:
    """The attacks of Figure 3."""
    return tuple(name for name in SWEPT if name in ATTACKS[scale.plans])


def sweep(scale: Scale, seed: int) -> list[tuple[str, int, Spec]]:
    """Figure 3: attack, radius of FT-SAM, run."""
    parents = [backdoored(scale, attack, seed=seed) for attack in swept(scale)]
    return [(p.attack, rho, defended(scale, p, "ft_sam", rho=rho)) for p in parents for rho in RHOS]


def neuron_spec(scale: Scale, attack: str, ratio: float, seed: int) -> AnalysisSpec:
    """TAC and norms of the neurons in the models of :data:`STAGES`."""
    parent = backdoored(scale, attack, ratio, seed)
    return plan.analyse("neurons", *(defended(scale, parent, name) for name in STAGES), seed=seed)


def neuron_specs(scale: Scale, seed: int) -> dict[str, Spec]:
    """Figures 4 and 5: of every attack at 5 %."""
    return {attack: neuron_spec(scale, attack, 0.05, seed) for attack in ATTACKS[scale.plans]}


def tsne_spec(scale: Scale, seed: int) -> AnalysisSpec:
    """Features of the Blended models of :data:`STAGES`."""
    parent = backdoored(scale, "blended", seed=seed)
    models = (defended(scale, parent, name) for name in STAGES)
    return plan.analyse("tsne", *models, seed=seed, n=300 if scale.plans == "smoke" else 1000)


def geometry_specs(scale: Scale, seed: int) -> dict[str, Spec]:
    """Gradients and perturbations of the first step on the backdoored model of every attack."""
    settings = {"rho": scale.rho, "rhos": RHOS, "n_clean": scale.n_clean}
    return {
        attack: plan.analyse("sam_geometry", backdoored(scale, attack, seed=seed), seed=seed, **settings)
        for attack in ATTACKS[scale.plans]
    }


def gradcam_specs(scale: Scale, seed: int) -> dict[str, Spec]:
    """Grad-CAM of one image (class 4: deer) in the backdoored model of every attack and after FT-SAM.

    Test image 1 of its class is the first that all our laptop models recognise without a trigger.
    """
    parents = {attack: backdoored(scale, attack, 0.05, seed) for attack in ATTACKS[scale.plans]}
    return {a: plan.analyse("gradcam", p, defended(scale, p, "ft_sam"), seed=seed, index=1) for a, p in parents.items()}
