"""The NPD paper (NeurIPS 2023, arXiv 2306.16697): which experiments its tables and figures are drawn from, at every scale."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from paperlib.defenses import VARIANTS
from paperlib.experiments import plan as ex
from paperlib.experiments import scales
from paperlib.experiments.scales import Scale
from paperlib.experiments.specs import AnalysisSpec, DefendSpec, TrainSpec
from paperlib.lab.spec import Spec
from paperlib.papers import benchmark_runs
from paperlib.papers.benchmark_runs import attacked, defended
from paperlib.papers.shared import REACTIVATION

PAPER = "polarizer"
PRINTED_ATTACKS = ("badnets", "badnets_a2a", "blended", "input_aware", "lf", "ssba", "trojannn", "wanet")
BASELINES = ("fp", "nad", "nc", "anp", "i_bau", "ep")
INFORMED = ("npd_tu", "npd_tp")
"""The variants that are told the true target."""
FOUR = ("blended", "input_aware", "lf", "ssba")
"""The attacks of Tables 7 and 8."""
CAMS = {"fig5": "badnets", "fig6": "blended", "fig7": "trojannn"}
TRAINED = "attacker=adversarial_training"
"""The setting of the rows of Table 7."""
LOSSES: dict[str, dict[str, Any]] = {
    "L_bn only": {"lambda_asr": 0.0, "lambda_bce1": 0.0, "lambda_bce2": 0.0},
    "+L_asr": {"lambda_bce1": 0.0, "lambda_bce2": 0.0},
    "+L_bce1": {"lambda_asr": 0.0, "lambda_bce2": 0.0},
    "+L_bce1+L_bce2": {"lambda_asr": 0.0},
    "+L_asr+L_bce1": {"lambda_bce2": 0.0},
    "all": {},
}
"""Row of Table 3 -> what it changes; "all" is NPD itself."""
STRUCTURES = {"Linear": "linear", "(Conv-BN)x2": "conv_bn_x2", "NPD Conv-BN": ""}
"""Row of Table 13 -> structure, empty for the default. The paper does not define its layers OSAD and OSDN."""
STAGES = tuple(f"layer{k}.1.conv1" for k in (1, 2, 3, 4))
BLOCKS = tuple(f"layer{k}.{block}.conv{c}" for k in (1, 2, 3, 4) for block in (0, 1) for c in (1, 2))
DEFAULT_PLACE = "layer4.1.conv1"
PLACES = {
    "vgg19": {
        "shallow": "body.2", "middle": "body.16", "third-to-last": "body.30", "penultimate": "body.32", "last": "body.34",
    },
    "densenet161": {
        "shallow": "body.0.denseblock1.denselayer1.conv1", "middle": "body.0.denseblock3.denselayer1.conv1",
        "third-to-last": "body.0.denseblock4.denselayer23.conv2", "penultimate": "body.0.denseblock4.denselayer24.conv1",
        "last": "body.0.denseblock4.denselayer24.conv2",
    },
}  # fmt: skip
"""Model of Table 15 -> our reading of its five places: the convolution before which the polarizer goes."""
RHO = {"tiny_imagenet": {"rho": 6.0}}
"""Data set -> what NPD changes on it at paper scale."""
ELSEWHERE = {
    # table: (data set, model, attacks, defenses)
    "table2": ("tiny_imagenet", "preact_resnet18", PRINTED_ATTACKS, (*BASELINES, *INFORMED, "npd")),
    "table11": ("gtsrb", "preact_resnet18", PRINTED_ATTACKS, (*BASELINES, *INFORMED, "npd")),
    "table12": ("cifar10", "vgg19_bn", PRINTED_ATTACKS, (*BASELINES, *INFORMED, "npd")),
    "table14": (
        "cifar100",
        "preact_resnet18",
        tuple(a for a in PRINTED_ATTACKS if a not in ("badnets_a2a", "input_aware")),
        ("nc", "i_bau", "npd"),
    ),
}


@dataclass(frozen=True)
class Slice:
    """What one scale runs."""

    attacks: tuple[str, ...]
    """Of Tables 1 and 9."""
    defenses: tuple[str, ...]
    informed: tuple[str, ...]
    """Attacks on which TU and TP run, too."""
    perturbed: tuple[str, ...]
    """Attacks of Table 4 on which UU and UP run."""
    ablated: tuple[str, ...]
    """Attacks of Tables 3 and 13 and of Figure 3."""
    few: tuple[str, ...]
    """Attacks of Table 6."""
    few_defenses: tuple[str, ...]
    samples: tuple[int, ...]
    """Clean images of Table 6."""
    ratios: tuple[float, ...]
    ratio_attacks: tuple[str, ...]
    places: tuple[str, ...]
    """Of Figure 3."""
    adversarial: tuple[str, ...]
    """Attacks of Table 7 whose model the attacker trains adversarially."""
    timed: tuple[str, ...]
    """Defenses of Table 9 beside those of Table 1, on Blended."""
    pictured: tuple[str, ...]
    """Attacks of Table 10."""
    elsewhere: bool
    """Whether the tables on other data sets, models and label policies are run."""
    reactivated: tuple[str, ...]


SLICES: dict[str, Slice] = {
    "smoke": Slice(
        attacks=("badnets", "blended"),
        defenses=("anp", "i_bau", "npd"),
        informed=("blended",),
        perturbed=("blended",),
        ablated=("blended",),
        few=("blended",),
        few_defenses=("npd",),
        samples=(62, 31, 20),
        ratios=(0.1,),
        ratio_attacks=("badnets", "blended"),
        places=STAGES,
        adversarial=("blended",),
        timed=(),
        pictured=("badnets", "blended"),
        elsewhere=False,
        reactivated=("blended",),
    ),
    "laptop": Slice(
        attacks=("badnets", "blended", "input_aware", "lf", "wanet"),
        defenses=(*BASELINES, "npd"),
        informed=("badnets", "blended"),
        perturbed=("blended",),
        ablated=("blended",),
        few=("badnets", "lf"),
        few_defenses=("npd",),
        samples=(500, 250, 50),
        ratios=(0.01, 0.1),
        ratio_attacks=("blended",),
        places=STAGES,
        adversarial=(),
        timed=tuple(d for d in benchmark_runs.SLICES["laptop"].defenses if d not in (*BASELINES, "npd")),
        pictured=PRINTED_ATTACKS,
        elsewhere=False,
        reactivated=("blended",),
    ),
    "paper": Slice(
        attacks=PRINTED_ATTACKS,
        defenses=(*BASELINES, "npd"),
        informed=PRINTED_ATTACKS,
        perturbed=("badnets", "blended", "lf", "ssba", "trojannn", "wanet"),
        ablated=("badnets", "blended", "input_aware", "lf", "ssba", "trojannn", "wanet"),
        few=("badnets", "ssba", "lf"),
        few_defenses=("i_bau", "anp", "npd"),
        samples=(500, 250, 50),
        ratios=(0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5),
        ratio_attacks=PRINTED_ATTACKS,
        places=BLOCKS,
        adversarial=FOUR,
        timed=(),
        pictured=PRINTED_ATTACKS,
        elsewhere=True,
        reactivated=("badnets", "blended", "ssba"),
    ),
}


# ------------------------------------------------------------------------------------------------------- the grid


def of(scale: Scale) -> Slice:
    """What ``scale`` runs."""
    return SLICES[scale.name]


def purified(scale: Scale, parent: TrainSpec, defense: str, *, n_clean: int | None = None, **params: Any) -> DefendSpec:
    """``defense`` (one of the registry or of its variants) on ``parent``; the true target is given to those that know it."""
    base, changes = VARIANTS.get(defense, (defense, {}))
    if base == "npd" and scale.name == "paper":
        changes = {**RHO.get(parent.dataset, {}), **changes}
    if defense in INFORMED:
        everything = parent.attack == "badnets_a2a" or dict(parent.attack_params).get("labels") == "all_to_all"
        changes = {**changes, "target": "next" if everything else parent.target}
    if not changes and not params and n_clean in (None, scale.n_clean):
        return defended(scale, parent, defense)  # the benchmark's own cell
    return ex.defend(scale, parent, base, n_clean=n_clean, seed=parent.seed, **{**changes, **params})


def parents(scale: Scale, attacks: Iterable[str], seed: int) -> list[TrainSpec]:
    """The backdoored models of ``attacks`` at 10 %."""
    return [attacked(scale, name, benchmark_runs.RATIO, seed) for name in attacks]


Cell = tuple[str, str, str, Spec, TrainSpec]
"""(attack as printed, defense, setting, spec, backdoored model)"""


def table1_cells(scale: Scale, seed: int) -> list[Cell]:
    """Every defense on every attack."""
    out: list[Cell] = []
    for parent in parents(scale, of(scale).attacks, seed):
        out.append((parent.attack, "none", "", parent, parent))
        informed = INFORMED if parent.attack in of(scale).informed else ()
        for name in (*of(scale).defenses, *informed):
            out.append((parent.attack, name, "", purified(scale, parent, name), parent))
    return out


def elsewhere_cells(id_: str) -> Callable[[Scale, int], list[Cell]]:
    """As Table 1, on another data set or model."""

    def cells(scale: Scale, seed: int) -> list[Cell]:
        dataset, model, attacks, defenses = ELSEWHERE[id_]
        out: list[Cell] = []
        if not of(scale).elsewhere:
            return out
        there = scales.on(scale, dataset)
        for name in attacks:
            parent = attacked(there, name, benchmark_runs.RATIO, seed, model=model)
            out.append((name, "none", "", parent, parent))
            out += [(name, defense, "", purified(there, parent, defense), parent) for defense in defenses]
        return out

    return cells


def table3_cells(scale: Scale, seed: int) -> list[Cell]:
    """NPD without some of its loss terms."""
    return [
        (p.attack, "npd", f"losses={name}", purified(scale, p, "npd", **changes), p)
        for p in parents(scale, of(scale).ablated, seed)
        if scale.name != "paper" or p.attack in ("badnets", "blended", "lf")
        for name, changes in LOSSES.items()
    ]


def table4_cells(scale: Scale, seed: int) -> list[Cell]:
    """Untargeted universal, untargeted and targeted perturbations."""
    return [
        (p.attack, name, "", p if name == "none" else purified(scale, p, name), p)
        for p in parents(scale, of(scale).perturbed, seed)
        for name in ("none", "npd_uu", "npd_up", "npd")
    ]


def ratio_specs(scale: Scale, seed: int) -> list[tuple[TrainSpec, DefendSpec]]:
    """Table 5: backdoored model and NPD at every ratio."""
    found = [attacked(scale, name, ratio, seed) for name in of(scale).ratio_attacks for ratio in of(scale).ratios]
    return [(parent, purified(scale, parent, "npd")) for parent in found]


def table6_cells(scale: Scale, seed: int) -> list[Cell]:
    """With few clean images."""
    return [
        (p.attack, name, f"clean_samples={n}", purified(scale, p, name, n_clean=n), p)
        for p in parents(scale, of(scale).few, seed)
        for n in of(scale).samples
        for name in of(scale).few_defenses
    ]


def table7_cells(scale: Scale, seed: int) -> list[Cell]:
    """The attacker trains adversarially."""
    out: list[Cell] = []
    for name in of(scale).adversarial:
        p = attacked(scale, name, benchmark_runs.RATIO, seed, **ex.adversarially(scale))
        defenses = ("none", "i_bau", "npd")
        out += [(name, d, TRAINED, p if d == "none" else purified(scale, p, d), p) for d in defenses]
    return out


def table8_cells(scale: Scale, seed: int) -> list[Cell]:
    """All-to-all labels: y + 1 mod C."""
    out: list[Cell] = []
    for name in FOUR if of(scale).elsewhere else ():
        p = attacked(scale, name, benchmark_runs.RATIO, seed, attack_params=(("labels", "all_to_all"),))
        out += [
            (f"{name}_a2a", d, "", p if d == "none" else purified(scale, p, d), p) for d in ("none", "i_bau", "npd")
        ]
    return out


def table9_specs(scale: Scale, seed: int) -> list[tuple[str, DefendSpec]]:
    """(defense, spec) of everything that is timed."""
    models = {p.attack: p for p in parents(scale, of(scale).attacks, seed)}
    found = [(defense, attack) for attack in models for defense in of(scale).defenses]
    found += [(defense, "blended") for defense in of(scale).timed]
    return [(defense, purified(scale, models[attack], defense)) for defense, attack in found]


def picture_spec(scale: Scale, attack: str, seed: int) -> AnalysisSpec:
    """The trigger of ``attack`` and its size; the benchmark's own analysis."""
    return ex.analyse("triggers", attacked(scale, attack, seed=seed), seed=seed)


def unless_default(name: str, value: str) -> dict[str, Any]:
    """The hyper-parameter ``name``; nothing where it stays the default, so that the cell of Table 1 is shared."""
    return {name: value} if value else {}


def table13_cells(scale: Scale, seed: int) -> list[Cell]:
    """Other structures of the polarizer."""
    return [
        (p.attack, "npd", f"structure={title}", purified(scale, p, "npd", **unless_default("structure", s)), p)
        for p in parents(scale, of(scale).ablated, seed)
        for title, s in STRUCTURES.items()
    ]


def table15_cells(scale: Scale, seed: int) -> list[Cell]:
    """Other places in other models."""
    out: list[Cell] = []
    for model, places in PLACES.items() if of(scale).elsewhere else ():
        for name in ("badnets", "blended", "input_aware", "ssba"):
            p = attacked(scale, name, benchmark_runs.RATIO, seed, model=model)
            out.append((name, "none", "", p, p))
            for place, layer in places.items():
                out.append((name, "npd", f"insertion={place} layer", purified(scale, p, "npd", layer=layer), p))
    return out


def place_specs(scale: Scale, seed: int) -> list[tuple[TrainSpec, str, DefendSpec]]:
    """Figure 3: (backdoored model, place, NPD there)."""
    attacks = [a for a in of(scale).ablated if scale.name != "paper" or a in ("badnets", "blended", "lf")]
    return [
        (p, place, purified(scale, p, "npd", **unless_default("layer", "" if place == DEFAULT_PLACE else place)))
        for p in parents(scale, attacks, seed)
        for place in of(scale).places
    ]


def perturbation_spec(scale: Scale, attack: str, seed: int) -> AnalysisSpec:
    """Trigger and perturbations in the backdoored model; the target estimate there and after NPD."""
    (parent,) = parents(scale, (attack,), seed)
    n = {"smoke": 100, "laptop": 300}.get(scale.name, 2000)
    return ex.analyse("perturbations", parent, purified(scale, parent, "npd"), seed=seed, n=n)


def gradcam_spec(scale: Scale, attack: str, seed: int) -> AnalysisSpec:
    """Grad-CAM of the deer of notebook 05's Figure 7, before and after NPD."""
    (parent,) = parents(scale, (attack,), seed)
    return ex.analyse("gradcam", parent, purified(scale, parent, "npd"), seed=seed, index=1)


def reactivation_spec(scale: Scale, attack: str, seed: int) -> AnalysisSpec:
    """An optimised perturbation against the backdoored model, after NPD, and a model that was never attacked."""
    (parent,) = parents(scale, (attack,), seed)
    models = (parent, purified(scale, parent, "npd"), ex.train(scale, seed=seed))
    return ex.analyse("reactivation", *models, seed=seed, **REACTIVATION[scale.name])


def cam_specs(attack: str, scale: Scale, seed: int) -> list[Spec]:
    return [gradcam_spec(scale, attack, seed)]


def specs_of(cells: Callable[[Scale, int], list[Cell]]) -> Callable[[Scale, int], list[Spec]]:
    return lambda scale, seed: [spec for *_, one, parent in cells(scale, seed) for spec in (parent, one)]
