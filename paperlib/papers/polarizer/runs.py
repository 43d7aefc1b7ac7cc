"""The NPD paper: which experiments its tables and figures are drawn from, at every scale."""

from typing import Any

from paperlib.defenses import DEFENSES
from paperlib.experiments import plan
from paperlib.experiments.scales import PAPER as FULL
from paperlib.experiments.scales import SMOKE, Scale
from paperlib.experiments.specs import AnalysisSpec
from paperlib.lab.spec import Spec
from paperlib.papers.captions import SIGNS, TINY
from paperlib.papers.defense_table import EACH, NEVER, Cell, DefenseTable, Setting, backdoored, defended
from paperlib.papers.paper_table import Parts

PAPER = "polarizer"
PRINTED_ATTACKS = ("badnets", "badnets_a2a", "blended", "input_aware", "lf", "ssba", "trojannn", "wanet")
BASELINES = ("fp", "nad", "nc", "anp", "i_bau", "ep")
INFORMED = ("npd_tu", "npd_tp")
"""The variants that are told the true target."""
ALL = (*BASELINES, *INFORMED, "npd")
CAMS = {"fig5": "badnets", "fig6": "blended", "fig7": "trojannn"}
STRUCTURES = {"Linear": "linear", "(Conv-BN)x2": "conv_bn_x2", "NPD Conv-BN": ""}
"""Row of Table 13 -> structure, empty for the default. The paper does not define its layers OSAD and OSDN."""
LOSSES: dict[str, dict[str, Any]] = {
    "L_bn only": {"lambda_asr": 0.0, "lambda_bce1": 0.0, "lambda_bce2": 0.0},
    "+L_asr": {"lambda_bce1": 0.0, "lambda_bce2": 0.0},
    "+L_bce1": {"lambda_asr": 0.0, "lambda_bce2": 0.0},
    "+L_bce1+L_bce2": {"lambda_asr": 0.0},
    "+L_asr+L_bce1": {"lambda_bce2": 0.0},
    "all": {},
}
"""Row of Table 3 -> what it changes; "all" is NPD itself."""
STAGES = tuple(f"layer{k}.1.conv1" for k in (1, 2, 3, 4))
BLOCKS = tuple(f"layer{k}.{block}.conv{c}" for k in (1, 2, 3, 4) for block in (0, 1) for c in (1, 2))
DEFAULT_PLACE = "layer4.1.conv1"
PLACES = {
    "vgg19_bn": {  # the same convolutions
        "shallow": "body.3", "middle": "body.23", "third-to-last": "body.43", "penultimate": "body.46",
        "last": "body.49",
    },
    "vgg19": {
        "shallow": "body.2", "middle": "body.16", "third-to-last": "body.30", "penultimate": "body.32",
        "last": "body.34",
    },
    "densenet161": {
        "shallow": "body.0.denseblock1.denselayer1.conv1", "middle": "body.0.denseblock3.denselayer1.conv1",
        "third-to-last": "body.0.denseblock4.denselayer23.conv2",
        "penultimate": "body.0.denseblock4.denselayer24.conv1",
        "last": "body.0.denseblock4.denselayer24.conv2",
    },
}  # fmt: skip
"""Model of Table 15 -> our reading of its five places: the convolution before which the polarizer goes. VGG19 learns
with batch norm only in the laptop's time."""
MAIN = {
    "smoke": DefenseTable(("badnets", "blended"), ("anp", "i_bau", "npd")),
    "laptop": DefenseTable(("badnets", "blended", "input_aware", "lf", "wanet"), (*BASELINES, "npd")),
    "paper": DefenseTable(PRINTED_ATTACKS, (*BASELINES, "npd")),
}
"""Scale -> Table 1 but for the variants that are told the target. Its attacks are those of Table 9 and of the target
estimate."""
TOLD = {"smoke": ("blended",), "laptop": ("badnets", "blended"), "paper": PRINTED_ATTACKS}
"""Scale -> the attacks on which those run."""
TIMED = {"laptop": DefenseTable(("blended",), tuple(d for d in DEFENSES if d not in ALL), undefended=NEVER)}
"""Scale -> what Table 9 times beside :data:`MAIN`."""
PICTURED = {"smoke": ("badnets", "blended"), "laptop": PRINTED_ATTACKS, "paper": PRINTED_ATTACKS}
"""Scale -> attacks of Table 10."""
REACTIVATED = {"smoke": ("blended",), "laptop": ("blended",), "paper": ("badnets", "blended", "ssba")}


def _npd(attacks: tuple[str, ...], settings: list[Setting]) -> DefenseTable:
    return DefenseTable(attacks, ("npd",), settings=tuple(settings), undefended=NEVER)


def _ablated(settings: list[Setting], paper: tuple[str, ...]) -> dict[str, DefenseTable]:
    """NPD in several settings, on Blended at the small scales; one whose setting changes nothing is the cell of Table
    1."""
    return {scale: _npd(paper if scale == "paper" else ("blended",), settings) for scale in MAIN}


def _few(attacks: tuple[str, ...], defenses: tuple[str, ...], n: tuple[int, ...]) -> DefenseTable:
    return DefenseTable(attacks, defenses, n_clean=n, undefended=NEVER)


def _hard(scale: Scale, *attacks: str) -> DefenseTable:
    training = (Setting("attacker=adversarial_training", training=plan.adversarially(scale)),)
    return DefenseTable(attacks, ("i_bau", "npd"), settings=training, undefended=EACH)


def _inserted(*models: str) -> tuple[DefenseTable, ...]:
    return tuple(
        DefenseTable(
            ("badnets", "blended", "input_aware", "ssba"),
            ("npd",),
            model=model,
            settings=tuple(Setting(f"insertion={p} layer", params={"layer": at}) for p, at in PLACES[model].items()),
        )
        for model in models
    )


TABLES: dict[str, Parts] = {
    "table1": {scale: (MAIN[scale], DefenseTable(TOLD[scale], INFORMED)) for scale in MAIN},
    "table2": {
        # the cells whose printed numbers could be read, and NPD
        "laptop": DefenseTable(("badnets", "badnets_a2a", "blended"), ("fp", "nad", "nc", "anp", "npd"), dataset=TINY),
        "paper": DefenseTable(PRINTED_ATTACKS, ALL, dataset="tiny_imagenet"),
    },
    "table3": _ablated(
        [Setting(f"losses={name}", params=changes) for name, changes in LOSSES.items()], ("badnets", "blended", "lf")
    ),
    "table4": {
        scale: DefenseTable(attacks, ("npd_uu", "npd_up", "npd"))
        for scale, attacks in {
            "smoke": ("blended",),
            "laptop": ("blended",),
            "paper": ("badnets", "blended", "lf", "ssba", "trojannn", "wanet"),
        }.items()
    },
    "table5": {
        "smoke": DefenseTable(("badnets", "blended"), ("npd",), ratio=(0.1,)),
        "laptop": DefenseTable(("blended",), ("npd",), ratio=(0.01, 0.1)),
        "paper": DefenseTable(PRINTED_ATTACKS, ("npd",), ratio=(0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5)),
    },
    "table6": {
        "smoke": _few(("blended",), ("npd",), (62, 31, 20)),
        "laptop": _few(("badnets", "lf"), ("npd",), (500, 250, 50)),
        "paper": _few(("badnets", "ssba", "lf"), ("i_bau", "anp", "npd"), (500, 250, 50)),
    },
    "table7": {"smoke": _hard(SMOKE, "blended"), "paper": _hard(FULL, "blended", "input_aware", "lf", "ssba")},
    "table8": {"paper": DefenseTable(("blended_a2a", "input_aware_a2a", "lf_a2a", "ssba_a2a"), ("i_bau", "npd"))},
    "table11": {
        "laptop": DefenseTable(PRINTED_ATTACKS, ALL, dataset=SIGNS),
        "paper": DefenseTable(PRINTED_ATTACKS, ALL, dataset="gtsrb"),
    },
    "table12": {
        "laptop": DefenseTable(("badnets", "blended"), ("fp", "anp", "ep", "npd"), model="vgg19_bn"),
        "paper": DefenseTable(PRINTED_ATTACKS, ALL, model="vgg19_bn"),
    },
    "table13": _ablated(
        [Setting(f"structure={row}", params={"structure": s} if s else {}) for row, s in STRUCTURES.items()],
        ("badnets", "blended", "input_aware", "lf", "ssba", "trojannn", "wanet"),
    ),
    "table14": {
        "paper": DefenseTable(
            tuple(name for name in PRINTED_ATTACKS if name not in ("badnets_a2a", "input_aware")),
            ("nc", "i_bau", "npd"),
            dataset="cifar100",
        )
    },
    "table15": {"laptop": _inserted("vgg19_bn", "densenet161"), "paper": _inserted("vgg19", "densenet161")},
}
"""Table -> scale -> what it runs."""


def _places(places: tuple[str, ...], *attacks: str) -> DefenseTable:
    return _npd(attacks, [Setting(p, params={} if p == DEFAULT_PLACE else {"layer": p}) for p in places])


FIGURE3 = {
    "smoke": _places(STAGES, "blended"),
    "laptop": _places(STAGES, "blended"),
    "paper": _places(BLOCKS, "badnets", "blended", "lf"),
}
"""Scale -> NPD with its polarizer in several places: the settings."""


def timed(scale: Scale, seed: int) -> list[Cell]:
    """Table 9: every run of a defense that is timed."""
    tables = [one for one in (MAIN[scale.plans], TIMED.get(scale.plans)) if one]
    return [cell for table in tables for cell in table.cells(scale, seed) if cell.defense != "none"]


def pictures(scale: Scale, seed: int) -> dict[str, Spec]:
    """Table 10: the trigger of every attack and its size; the benchmark's own analysis."""
    return {a: plan.analyse("triggers", backdoored(scale, a, seed=seed), seed=seed) for a in PICTURED[scale.plans]}


def perturbation_spec(scale: Scale, attack: str, seed: int) -> AnalysisSpec:
    """Trigger and perturbations in the backdoored model; the target estimate there and after NPD."""
    parent = backdoored(scale, attack, seed=seed)
    n = {"smoke": 100, "laptop": 300}.get(scale.plans, 2000)
    return plan.analyse("perturbations", parent, defended(scale, parent, "npd"), seed=seed, n=n)


def estimates(scale: Scale, seed: int) -> dict[str, Spec]:
    """The target estimate on the attacks of Table 1."""
    return {attack: perturbation_spec(scale, attack, seed) for attack in MAIN[scale.plans].attacks}


def gradcam_spec(scale: Scale, attack: str, seed: int) -> AnalysisSpec:
    """Grad-CAM of the deer of notebook 05's Figure 7, before and after NPD."""
    parent = backdoored(scale, attack, seed=seed)
    return plan.analyse("gradcam", parent, defended(scale, parent, "npd"), seed=seed, index=1)
