"""The SAU paper: which experiments its tables and figures are drawn from, at every scale."""

from collections.abc import Iterator, Mapping
from typing import Any

from paperlib.defenses import VARIANTS
from paperlib.experiments import plan, scales
from paperlib.experiments.scales import PAPER as FULL
from paperlib.experiments.scales import Scale
from paperlib.experiments.specs import AnalysisSpec
from paperlib.lab.spec import Spec, pairs
from paperlib.papers.captions import SIGNS, TINY
from paperlib.papers.defense_table import EACH, NEVER, DefenseTable, Setting, backdoored, defended
from paperlib.papers.paper_table import Parts

PAPER = "sau"
ATTACKS = ("badnets", "blended", "input_aware", "lf", "sig", "ssba", "wanet")
DIRTY_LABEL = tuple(name for name in ATTACKS if name != "sig")
"""SIG poisons the target class alone, which holds 10 % of the images of CIFAR-10, and fewer elsewhere."""
DEFENSES = ("anp", "fp", "nc", "nad", "ep", "i_bau", "sau")
WITHOUT_BN = ("fp", "nc", "nad", "i_bau", "sau")
"""Those of them that a network without batch norm allows."""
WATCHED = ("blended", "badnets")
"""Attacks of the counts of adversarial examples and of the re-activation."""
STAGES = ("none", "ft", "sau")
OBJECTIVES = {"A+B": "", "A+D": "sau_vanilla_outer", "C+B": "sau_vanilla_inner", "C+D": "vanilla_at"}
"""Ablation of the paper -> variant: A, C: inner problem of SAU, plain PGD; B, D: outer problem of SAU, adversarial
training."""
NORMS = ("sau", "sau_spatial", "sau_ensemble")
PIXELS = {0.2: 0.42, 0.4: 0.31, 0.6: 0.35, 0.8: 0.48, 1.0: 0.67}
"""Pixel value of BadNets in Table 12 -> the mean L-infinity norm that is printed for it."""
COMPARED = ("badnets", "input_aware", "ssba", "wanet")
"""Attacks of Tables 9 and 10."""
AGAINST_RNP = ("badnets", "input_aware", "sig")
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "configuration=1": {},
    "lambda_2=0.5": {"lambda_2": 0.5},
    "lambda_3=0.1": {"lambda_3": 0.1},
    "lambda_4=0.1": {"lambda_4": 0.1},
    "steps=2": {"steps": 2},
}
"""Rows of Table 22 -> what they change. The paper's configurations 2 to 5 are not known; these four are ours."""
LONG = 45
"""Epochs after which BadNets has learned all-to-all labels at laptop scale."""
ABLATED = {"smoke": ("blended",), "laptop": ("blended",), "paper": ("badnets", "blended", "lf")}
"""Scale -> attacks of Figure 3."""
TABLE6 = {**ABLATED, "laptop": ABLATED["paper"]}
"""Scale -> attacks of Table 6."""
N = {"smoke": 60, "laptop": 200, "paper": 2000}
"""Scale -> test images on which risks are estimated."""
EVERY = {"smoke": 2, "laptop": 2, "paper": 5}
"""Scale -> epochs between two estimates."""

MAIN = {
    "smoke": DefenseTable(("badnets", "blended"), ("ft", "anp", "sau")),
    "laptop": DefenseTable(tuple(name for name in ATTACKS if name != "ssba"), DEFENSES),
    "paper": DefenseTable(ATTACKS, DEFENSES),
}
"""Scale -> the attacks on which all of its defenses run: Tables 3 and 7."""


def _sau(*attacks: str, **fields: Any) -> DefenseTable:
    return DefenseTable(attacks, ("sau",), **fields)


def _rnp(*attacks: str, **fields: Any) -> DefenseTable:
    return DefenseTable(attacks, ("rnp", "sau"), **fields)


def _adversarial(ratio: float) -> tuple[DefenseTable, ...]:
    """SAU, and adversarial training of the attacker's model and, of attacks that hand in images only, of a new one."""
    return (
        DefenseTable(COMPARED, ("sau", "vanilla_at"), ratio=ratio),
        DefenseTable(("badnets", "ssba"), ("at_from_scratch",), ratio=ratio),
    )


def _pixels(*values: float) -> DefenseTable:
    """White, 1.0, is the usual trigger."""
    settings = (
        Setting(f"pixel={v:.1f};linf={PIXELS[v]}", training={} if v == 1.0 else {"attack_params": pairs(value=v)})
        for v in values
    )
    return DefenseTable(("badnets",), ("anp", "sau"), settings=tuple(settings), undefended=EACH)


def _mixed(*defenses: str) -> DefenseTable:
    return DefenseTable(("badnets",), defenses, settings=(Setting("cifar5m_share=0.0"),), undefended=NEVER)


def _configured(attacks: tuple[str, ...], *names: str) -> DefenseTable:
    settings = tuple(Setting(name, params=CONFIGURATIONS[name]) for name in names or CONFIGURATIONS)
    return _sau(*attacks, settings=settings, undefended=NEVER)


HARD = (Setting("attacker=adversarial_training", training=plan.adversarially(FULL)),)
TABLES: dict[str, Parts] = {
    "table3": {**MAIN, "laptop": (MAIN["laptop"], _sau("ssba"))},
    "table4": {
        "laptop": DefenseTable(DIRTY_LABEL, DEFENSES, dataset=TINY),
        "paper": DefenseTable(DIRTY_LABEL, DEFENSES, dataset="tiny_imagenet"),
    },
    "table5": {
        "smoke": _sau("blended", ratio=(0.1,)),
        "laptop": _sau("badnets", "blended", ratio=(0.1,)),
        # 10 and 50 % are the paper's, those between are ours
        "paper": _sau(*DIRTY_LABEL, ratio=(0.1, 0.2, 0.3, 0.4, 0.5)),
    },
    "table9": {"laptop": DefenseTable(("badnets",), (), ratio=0.01), "paper": _adversarial(0.01)},
    "table10": {"smoke": _sau("badnets"), "laptop": _sau(*COMPARED), "paper": _adversarial(0.1)},
    "table11": {
        "laptop": (_sau("ssba"), _sau("ssba", dataset=TINY)),
        "paper": (_sau("ssba"), _sau("ssba", dataset="tiny_imagenet")),
    },
    "table12": {"smoke": _pixels(1.0), "laptop": _pixels(1.0), "paper": _pixels(*PIXELS)},
    "table13": {
        "smoke": DefenseTable(("badnets",), NORMS),
        "laptop": (
            DefenseTable(("badnets",), NORMS),
            DefenseTable(("ssba", "wanet"), NORMS),
            DefenseTable(("badnets", "ssba", "wanet"), NORMS, dataset=TINY),
        ),
        "paper": tuple(
            DefenseTable(("badnets", "ssba", "wanet"), NORMS, dataset=dataset) for dataset in ("cifar10",
            "tiny_imagenet")
        ),
    },
    "table14": {
        "smoke": _mixed("anp", "sau"), "laptop": _mixed("anp", "nad", "sau"), "paper": _mixed("anp", "nad", "sau"),
    },
    "table15": {"paper": _sau(*AGAINST_RNP, settings=HARD, undefended=EACH)},
    "table16": {
        "laptop": DefenseTable(ATTACKS, WITHOUT_BN, model="vgg19_bn"),
        "paper": DefenseTable(ATTACKS, DEFENSES, model="vgg19"),
    },
    "table17": {
        "laptop": _sau("badnets", "blended", model="vgg19_bn", dataset=TINY),
        "paper": DefenseTable(DIRTY_LABEL, DEFENSES, model="vgg19", dataset="tiny_imagenet"),
    },
    "table18": {
        "laptop": DefenseTable(("badnets", "blended"), DEFENSES, dataset=SIGNS),
        "paper": DefenseTable(DIRTY_LABEL, DEFENSES, dataset="gtsrb"),
    },
    "table19": {
        "laptop": _sau("badnets", "blended", model="vgg19_bn", dataset=SIGNS),
        "paper": DefenseTable(DIRTY_LABEL, DEFENSES, model="vgg19", dataset="gtsrb"),
    },
    "table20": {
        "smoke": _sau("blended", ratio=0.05),
        "laptop": _sau("badnets", "blended", "sig", ratio=0.05),
        "paper": DefenseTable(ATTACKS, DEFENSES, ratio=0.05),
    },
    "table21": {
        "laptop": _sau("badnets", "blended", ratio=0.05, dataset=TINY),
        "paper": DefenseTable(DIRTY_LABEL, DEFENSES, ratio=0.05, dataset="tiny_imagenet"),
    },
    "table22": {
        "smoke": _configured(("blended",), "configuration=1", "lambda_4=0.1"),
        "laptop": _configured(("blended",)),
        "paper": _configured(ATTACKS),
    },
    "table23": {
        "smoke": _sau("blended", n_clean=(62, 30)),
        "laptop": _sau("badnets", "blended", n_clean=(500, 250, 100, 50)),
        "paper": _sau("badnets", "blended", "lf", n_clean=(2500, 1000, 500, 50, 10)),
    },
    "table24": {"paper": DefenseTable(tuple(f"{name}+badnets" for name in ATTACKS[1:]), ("anp", "sau"))},
    "table25": {
        "laptop": _sau("badnets_a2a", settings=(Setting(training={"epochs": LONG}),)),
        "paper": DefenseTable(tuple(f"{name}_a2a" for name in ATTACKS), DEFENSES),
    },
    "table26": {"laptop": _rnp("badnets", "sig", ratio=0.05), "paper": _rnp(*AGAINST_RNP, ratio=0.05)},
    "table27": {
        "laptop": _rnp(*AGAINST_RNP, clean_ratio=(0.05,), undefended=EACH),
        "paper": _rnp(*AGAINST_RNP, clean_ratio=(0.01, 0.05), undefended=EACH),
    },
    "table28": {name: _rnp(*AGAINST_RNP, model="resnet18", ratio=0.005) for name in ("laptop", "paper")},
}  # fmt: skip
"""Table -> scale -> what it runs."""
WHOLE = ("table3", "table4", "table16", "table17", "table18", "table19", "table20", "table21")
"""The main tables."""


def whole_grid(scale: Scale, seed: int = 0) -> Iterator[Spec]:
    """The main tables in full. Below paper scale their data sets have the size of that scale."""
    for id_ in WHOLE:
        table = TABLES[id_]["paper"]
        assert isinstance(table, DefenseTable)
        yield from (cell.spec for cell in table.cells(scale, seed))


def ablation(scale: Scale) -> Scale:
    """Table 6 and Figures 1 and 3 are of Tiny ImageNet; below paper scale the usual data set stands in."""
    return scales.on(scale, "tiny_imagenet") if scale.plans == "paper" else scale


def curve_spec(scale: Scale, attack: str, objectives: str, seed: int) -> AnalysisSpec:
    """Risks over the epochs of SAU with the inner and outer ``objectives`` (``A+B``: SAU itself)."""
    changes = VARIANTS[OBJECTIVES[objectives]][1] if OBJECTIVES[objectives] else {}
    sizes = {"n": N[scale.plans], "every": EVERY[scale.plans], "n_clean": scale.n_clean, **scale.changes.get("sau", {})}
    return plan.analyse("sau_curve", backdoored(scale, attack, seed=seed), seed=seed, **{**sizes, **changes})


def curves(scale: Scale, seed: int, attacks: Mapping[str, tuple[str, ...]] = ABLATED) -> dict[tuple[str, str], Spec]:
    """(attack, objectives) -> the curve: Figure 3 and, with other ``attacks``, Table 6."""
    there = ablation(scale)
    return {(one, name): curve_spec(there, one, name, seed) for one in attacks[scale.plans] for name in OBJECTIVES}


def _of_stages(tool: str, scale: Scale, attack: str, seed: int) -> AnalysisSpec:
    parent = backdoored(scale, attack, seed=seed)
    models = (defended(scale, parent, name) for name in STAGES)
    return plan.analyse(tool, *models, seed=seed, n=N[scale.plans])


def risk_specs(scale: Scale, seed: int) -> dict[str, Spec]:
    """Risks and types of adversarial examples of the models of :data:`STAGES`."""
    return {attack: _of_stages("adversarial_risk", scale, attack, seed) for attack in WATCHED}


def feature_spec(scale: Scale, seed: int) -> AnalysisSpec:
    """Distances in the feature space of the BadNets model, of adversarial examples after FT and after SAU."""
    return _of_stages("shared_features", scale, "badnets", seed)
