"""The NPD paper (NeurIPS 2023, arXiv 2306.16697): grid, tables, figures and claims of notebook 04.

Attack setting: eight attacks, 10 % poisoning, target class 0, PreAct-ResNet18; the defender holds 5 % clean images. A scale
runs a slice of it (:data:`SLICES`), on the same models as the benchmark's grid (:mod:`paperlib.papers.benchmark_runs`); the
paper scale plans all of it. Tables on other data sets and models show their printed half where a scale does not run them.

The paper's average DER is the DER of the average ACC and ASR; the mean of the DERs, SAU's rule, stands beside it.

Differences from the paper
1. Single runs; the paper prints means of five.
2. The loss terms of Table 3's rows are our reading: only the last row's label is certain.
3. Table 5's ratios and Figure 3's attacks are not known; ours are stated. Figure 3 counts places before a convolution of the
   main branch; the shortcut of the block goes round the polarizer, as in the paper's default place.
4. Table 15's places are not named; ours are in :data:`PLACES`. Inception-V3 is not among the models.
5. Table 9 also times every other defense of the benchmark's grid, with seconds of this scale.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from paperlib import experiments as ex
from paperlib import scales
from paperlib.defenses import VARIANTS
from paperlib.lab.spec import AnalysisSpec, DefendSpec, Spec, TrainSpec
from paperlib.metrics import der, der_of_averages, mean_of_ders
from paperlib.papers import Item, Results, benchmark_runs
from paperlib.papers.benchmark_runs import LEARNED, attacked, defended
from paperlib.papers.ft_sam import _image
from paperlib.papers.shared import artefact, stand_ins, where
from paperlib.report import compare, reactivation, style, tables
from paperlib.report.artefact import Artefact
from paperlib.report.claims import Claim, NotRun, Verdict
from paperlib.report.published import published
from paperlib.scales import Scale

PAPER = "polarizer"
PRINTED_ATTACKS = ("badnets", "badnets_a2a", "blended", "input_aware", "lf", "ssba", "trojannn", "wanet")
BASELINES = ("fp", "nad", "nc", "anp", "i_bau", "ep")
INFORMED = ("npd_tu", "npd_tp")
"""The variants that are told the true target."""
ALL_TO_ALL = ("blended", "input_aware", "lf", "ssba")
CAMS = {"fig5": "badnets", "fig6": "blended", "fig7": "trojannn"}
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
PRINTED_NAMES = {"tiny_imagenet": "tiny"}
"""Data sets that have another name among the published numbers."""
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

PLANNED = {
    "table7": "an attacker who trains the backdoored model adversarially is not among the attacks yet; the paper does not "
    "print how it was done",
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
    timed: tuple[str, ...]
    """Defenses of Table 9 beside those of Table 1, on Blended."""
    pictured: tuple[str, ...]
    """Attacks of Table 10."""
    elsewhere: bool
    """Whether the tables on other data sets, models and label policies are run."""
    reactivated: tuple[str, ...]
    reactivation: Mapping[str, int]


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
        timed=(),
        pictured=("badnets", "blended"),
        elsewhere=False,
        reactivated=("blended",),
        reactivation={"n": 200, "n_train": 200, "steps": 20, "batch_size": 32},
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
        timed=tuple(d for d in benchmark_runs.SLICES["laptop"].defenses if d not in (*BASELINES, "npd")),
        pictured=PRINTED_ATTACKS,
        elsewhere=False,
        reactivated=("blended",),
        reactivation={"n": 1000, "n_train": 2000, "steps": 60, "batch_size": 64},
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
        timed=(),
        pictured=PRINTED_ATTACKS,
        elsewhere=True,
        reactivated=("badnets", "blended", "ssba"),
        reactivation={"n": 9000, "n_train": 2500, "steps": 500, "batch_size": 128},
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


def table8_cells(scale: Scale, seed: int) -> list[Cell]:
    """All-to-all labels: y + 1 mod C."""
    out: list[Cell] = []
    for name in ALL_TO_ALL if of(scale).elsewhere else ():
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


def _changes(name: str, value: str) -> dict[str, Any]:
    """The hyper-parameter ``name``; nothing where it stays the default, so that the cell of Table 1 is shared."""
    return {name: value} if value else {}


def table13_cells(scale: Scale, seed: int) -> list[Cell]:
    """Other structures of the polarizer."""
    return [
        (p.attack, "npd", f"structure={title}", purified(scale, p, "npd", **_changes("structure", s)), p)
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
        (p, place, purified(scale, p, "npd", **_changes("layer", "" if place == DEFAULT_PLACE else place)))
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
    return ex.analyse("reactivation", *models, seed=seed, **of(scale).reactivation)


def _cam_specs(attack: str, scale: Scale, seed: int) -> list[Spec]:
    return [gradcam_spec(scale, attack, seed)]


def _of_cells(cells: Callable[[Scale, int], list[Cell]]) -> Callable[[Scale, int], list[Spec]]:
    return lambda scale, seed: [spec for *_, one, parent in cells(scale, seed) for spec in (parent, one)]


# ------------------------------------------------------------------------------------------------------- wording


def _names(attacks: Iterable[str]) -> str:
    return ", ".join(style.title("attack", name) for name in dict.fromkeys(attacks)) or "none"


def _count(ran: Iterable[str], printed: Sequence[str] = PRINTED_ATTACKS) -> str:
    found = list(dict.fromkeys(ran))
    theirs, ours = [n for n in found if n in printed], [n for n in found if n not in printed]
    more = f", and {_names(ours)}, which the paper does not have here" if ours else ""
    return f"{len(theirs)} of {len(printed)} attacks ({_names(theirs)}){more}"


def _artefact(results: Results, id_: str, kind: str, **content: Any) -> Artefact:
    more = {"n_clean": results.scale.n_clean, "npd": dict(results.scale.changes.get("npd", {}))}
    return artefact(PAPER, results, id_, kind, more, **content)


def _tidy(results: Results, cells: Iterable[Cell], metrics: Sequence[str]) -> pd.DataFrame:
    """Tidy rows of the cells that have a result; DER against the backdoored model."""
    rows = []
    for attack, defense, setting, spec, parent in cells:
        result, before = results.get(spec), results.get(parent)
        if result is None or before is None:
            continue
        values = {"ACC": result["c_acc"], "ASR": result["asr"]}
        if defense != "none" and "DER" in metrics:
            values["DER"] = der(before["c_acc"], before["asr"], result["c_acc"], result["asr"], unit="percent")
        where = {"dataset": PRINTED_NAMES.get(parent.dataset, parent.dataset), "model": parent.model}
        rows += [
            {**where, "ratio": parent.ratio, "attack": attack, "defense": defense, "setting": setting, "metric": metric,
             "value": value, "n_seeds": 1}
            for metric, value in values.items()
        ]  # fmt: skip
    return pd.DataFrame(rows, columns=[*compare.KEYS, "value", "n_seeds"])


def not_learned(results: Results, attacks: Iterable[str]) -> str:
    """A sentence that names the attacks that were run and not learned; empty if there are none."""
    missing = []
    for parent in parents(results.scale, attacks, results.seed):
        found = results.get(parent)
        if found is not None and found["asr"] < LEARNED:
            missing.append(f"{style.title('attack', parent.attack)} (ASR {found['asr']:.1f})")
    return f"Not learned at this scale, so that a defense shows nothing: {', '.join(missing)}." if missing else ""


def _table(
    results: Results,
    id_: str,
    title: str,
    cells: list[Cell],
    *,
    rows: Sequence[str] = ("attack",),
    columns: str = "defense",
    metrics: Sequence[str] = ("ACC", "ASR"),
    absent: str = "",
    notes: Iterable[str] = (),
    above: str = "",
) -> Artefact:
    """A printed table, ours beside it; its printed half where this scale runs nothing of it, for the reason ``absent``."""
    printed = published(PAPER, id_)
    number = id_.removeprefix("table")
    if not cells and printed.empty:
        state = f"{absent}; the printed values could not be read"
        return _artefact(
            results, id_, "table", caption=f"Table {number}. {title}. Nothing to show: {state}.",
            frame=pd.DataFrame({"Table": [number], "State": [state]}),
        )  # fmt: skip
    ours = _tidy(results, cells, metrics)
    if cells and ours.empty:
        raise NotRun(f"no cell of Table {number} has a result at {results.scale.name} scale")
    frame = compare.compare(ours, printed, scale=results.scale.name, stand_ins=stand_ins(results.scale))
    if not cells:
        caption = f"Table {number}. {title}. Printed numbers only: {absent}."
    else:
        attacks = [a for a in printed.attack.unique() if not compare.is_average(a)] or list(PRINTED_ATTACKS)
        run = frame[frame.ours.notna()].attack
        caption = f"Table {number}. {title}; {_count(run, attacks)}. {where(results)}"
    html = tables.paper_table(
        frame, caption, rows=rows, columns=columns, metrics=metrics, everything=not cells, notes=[n for n in notes if n]
    )
    return _artefact(results, id_, "table", caption=caption, frame=frame, html=above + html)


# -------------------------------------------------------------------------------------------------------- tables


def averages(results: Results) -> pd.DataFrame:
    """Mean C-Acc, ASR and DER (by both rules) of every defense over the learned attacks of Table 1 on which it was run.

    Returns
    -------
    DataFrame
        One row per defense and ``none``: ``defense, c_acc, asr, der_of_mean, der_mean, n``. TU and TP are run on fewer
        attacks at the small scales, as ``n`` says.
    """
    scale, rows = results.scale, []
    cells = table1_cells(scale, results.seed)
    for defense in ("none", *BASELINES, *INFORMED, "npd"):
        pairs = []
        for _, name, _, spec, parent in cells:
            before, after = results.get(parent), results.get(spec)
            if name == defense and before is not None and after is not None and before["asr"] >= LEARNED:
                pairs.append((before, after))
        if not pairs:
            continue
        lists = [[pair[side][name] for pair in pairs] for side in (0, 1) for name in ("c_acc", "asr")]
        row: dict[str, Any] = {"defense": defense, "c_acc": np.mean(lists[2]), "asr": np.mean(lists[3])}
        if defense != "none":
            row["der_of_mean"] = der_of_averages(*lists, unit="percent")
            row["der_mean"] = mean_of_ders(*lists, unit="percent")
        rows.append({**row, "n": len(pairs)})
    if not rows:
        raise NotRun(f"no learned attack has a result at {scale.name} scale")
    return pd.DataFrame(rows)


def draw_table1(results: Results) -> Artefact:
    """Table 1: every defense under every attack, and the averages over the learned attacks."""
    mean = averages(results)
    printed = published(PAPER, "table1").query("attack == 'average'").set_index(["defense", "metric"]).value
    shown = pd.DataFrame(
        {
            "Defense": [style.title("defense", name) for name in mean.defense],
            "C-Acc": mean.c_acc,
            "printed C-Acc": [printed.get((d, "ACC"), np.nan) for d in mean.defense],
            "ASR": mean.asr,
            "printed ASR": [printed.get((d, "ASR"), np.nan) for d in mean.defense],
            "DER of means": mean.get("der_of_mean", np.nan),
            "printed DER": [printed.get((d, "DER"), np.nan) for d in mean.defense],
            "Mean DER": mean.get("der_mean", np.nan),
            "Attacks": mean.n,
        }
    )
    notes = [
        f"Ours: over the attacks whose undefended ASR is at least {LEARNED:g}; printed: over eight attacks at full scale.",
        "The paper's rule is the DER of the mean C-Acc and ASR; the mean of the attacks' DERs is SAU's rule.",
        not_learned(results, of(results.scale).attacks),
    ]
    above = tables.to_html(shown, f"Averages of Table 1. {where(results)}", notes=notes)
    return _table(
        results,
        "table1",
        "NPD and other defenses on CIFAR-10",
        table1_cells(results.scale, results.seed),
        metrics=("ACC", "ASR", "DER"),
        above=above,
    )


def draw_elsewhere(id_: str, title: str, absent: str) -> Callable[[Results], Artefact]:
    """Tables 2, 11, 12 and 14."""

    def draw(results: Results) -> Artefact:
        cells = elsewhere_cells(id_)(results.scale, results.seed)
        return _table(results, id_, title, cells, metrics=("ACC", "ASR", "DER"), absent=absent)

    return draw


def draw_table3(results: Results) -> Artefact:
    """Table 3: the loss terms."""
    return _table(
        results,
        "table3",
        "NPD with some of its loss terms",
        table3_cells(results.scale, results.seed),
        rows=("setting",),
        columns="attack",
        notes=["L_bn is always on. Which terms the printed rows have is our reading, except of the last one."],
    )


def draw_table4(results: Results) -> Artefact:
    """Table 4: the kinds of perturbation."""
    return _table(
        results,
        "table4",
        "Untargeted universal (UU), untargeted (UP) and targeted perturbations",
        table4_cells(results.scale, results.seed),
        notes=["Weights of UU and UP: as NPD; the paper prints none."],
    )


def draw_table5(results: Results) -> Artefact:
    """Table 5: NPD at several poisoning ratios; nothing printed can be read."""
    rows = []
    for parent, spec in ratio_specs(results.scale, results.seed):
        before, after = results.get(parent), results.get(spec)
        if before is None or after is None:
            continue
        rows.append(
            {
                "Attack": style.title("attack", parent.attack), "Poisoned (%)": 100 * parent.ratio,
                "C-Acc before": before["c_acc"], "ASR before": before["asr"], "C-Acc": after["c_acc"], "ASR": after["asr"],
                "DER": der(before["c_acc"], before["asr"], after["c_acc"], after["asr"], unit="percent"),
                "Learned": "yes" if before["asr"] >= LEARNED else "no",
            }
        )  # fmt: skip
    if not rows:
        raise NotRun(f"no ratio of Table 5 has a result at {results.scale.name} scale")
    frame = pd.DataFrame(rows)
    caption = f"Table 5. NPD at several poisoning ratios. {where(results, None)}"
    notes = ["Ours only: the printed values, and which ratios they are for, could not be read."]
    html = tables.to_html(frame, caption, notes=notes)
    return _artefact(results, "table5", "table", caption=caption, frame=frame, html=html)


def draw_table6(results: Results) -> Artefact:
    """Table 6: few clean images."""
    return _table(
        results,
        "table6",
        "Few clean images",
        table6_cells(results.scale, results.seed),
        rows=("attack", "setting"),
        metrics=("ACC", "ASR", "DER"),
        notes=[
            "The DERs printed at 250 and 50 images took the ACC and ASR of the undefended model for each other; corrected after "
            "the arrow."
        ],
    )


def draw_table8(results: Results) -> Artefact:
    """Table 8: all-to-all labels."""
    return _table(
        results,
        "table8",
        "All-to-all labels",
        table8_cells(results.scale, results.seed),
        absent="all-to-all backdoors are not learned in the epochs of the small scales, so they run at paper scale only",
    )


def draw_table9(results: Results) -> Artefact:
    """Table 9: seconds of every defense, as measured when it was run, and as multiples of NPD's."""
    taken: dict[str, list[float]] = {}
    for name, spec in table9_specs(results.scale, results.seed):
        if (found := results.get(spec)) is not None:
            taken.setdefault(name, []).append(found["seconds"])
    if "npd" not in taken:
        raise NotRun(f"NPD has no result at {results.scale.name} scale")
    mean = {name: float(np.mean(values)) for name, values in taken.items()}
    printed = published(PAPER, "table9").set_index(["dataset", "defense"]).value
    rows = []
    for name in sorted(mean, key=lambda name: mean[name]):
        row: dict[str, Any] = {"Defense": style.title("defense", name), "Seconds": mean[name]}
        row |= {"x NPD": mean[name] / mean["npd"], "Runs": len(taken[name])}
        for dataset in ("cifar10", "tiny"):
            seconds = printed.get((dataset, name), np.nan)
            row[f"{style.title('dataset', dataset)} printed"] = seconds
            row[f"x NPD, {style.title('dataset', dataset)}"] = seconds / printed[dataset, "npd"]
        rows.append(row)
    frame = pd.DataFrame(rows)
    devices = sorted({str(results.rows[key].get("provenance", {}).get("device_name", "?")) for key in results.used})
    caption = f"Table 9. Running time of a defense, mean over attacks, fastest first. {where(results)}"
    notes = [
        f"Ours: wall-clock seconds on {', '.join(devices)}, whatever else the machine did; a defense that retrains includes that.",
        "Printed (read by OCR, unverified): 2,500 clean images, batch 256, RTX 3090Ti; the text says 56 s for NPD's 55.16.",
        "Epochs and steps of this scale are in the parameters of the results: compare orders of magnitude, not ranks.",
    ]
    html = tables.to_html(frame, caption, notes=notes)
    return _artefact(results, "table9", "table", caption=caption, frame=frame, html=html)


PROPERTIES = {
    # how the trigger enters, how much of the image it takes, what it depends on, which labels it wants
    "badnets": ("replaces pixels", "patch", "same in every image", "one target"),
    "badnets_a2a": ("replaces pixels", "patch", "same in every image", "next class"),
    "blended": ("mixed in", "whole image", "same in every image", "one target"),
    "input_aware": ("mixed in by a mask", "sparse", "differs from image to image", "one target"),
    "lf": ("added", "whole image", "same in every image", "one target"),
    "ssba": ("encoder", "whole image", "differs from image to image", "one target"),
    "trojannn": ("replaces pixels", "patch", "same in every image", "one target"),
    "wanet": ("warps", "whole image", "differs from image to image", "one target"),
}
"""The columns of Table 10 in our own words, from the attacks' papers."""


def draw_table10(results: Results) -> Artefact:
    """Table 10: what kind of trigger each attack has, and how large it is in our images."""
    rows = []
    for name in of(results.scale).pictured:
        found = results.get(picture_spec(results.scale, name, results.seed))
        if found is None:
            continue
        fusion, size, varies, labels = PROPERTIES[name]
        row = {
            "Attack": style.title("attack", name),
            "Enters": fusion,
            "Size": size,
            "Trigger": varies,
            "Labels": labels,
        }
        rows.append({**row, **{k: found["test"][v] for k, v in {"L2": "l2", "Linf": "linf", "PSNR": "psnr"}.items()}})
    if not rows:
        raise NotRun(f"no trigger has been looked at at {results.scale.name} scale")
    frame = pd.DataFrame(rows)
    caption = f"Table 10. Properties of the attacks; {len(rows)} of {len(PRINTED_ATTACKS)} attacks. {where(results)}"
    notes = [
        "First columns: our reading of the attacks' papers. Measured on test images: mean L2 and largest change (L∞) in grey "
        "levels of 0 to 255, peak signal-to-noise ratio in dB; the paper has words instead."
    ]
    html = tables.to_html(frame, caption, notes=notes)
    return _artefact(results, "table10", "table", caption=caption, frame=frame, html=html)


def draw_table13(results: Results) -> Artefact:
    """Table 13: structures."""
    return _table(
        results,
        "table13",
        "Structure of the inserted layer",
        table13_cells(results.scale, results.seed),
        rows=("setting",),
        columns="attack",
        notes=["The paper's layers OSAD and OSDN are not defined in it; they are not run."],
    )


def draw_table15(results: Results) -> Artefact:
    """Table 15: other places, other models."""
    return _table(
        results,
        "table15",
        "Place of the polarizer in other models",
        table15_cells(results.scale, results.seed),
        rows=("attack", "defense", "setting"),
        columns="model",
        absent="VGG19 and DenseNet-161 are trained at paper scale only, and Inception-V3 is not among the models",
        notes=["The paper does not name the layers that it calls shallow, middle and so on."],
    )


# -------------------------------------------------------------------------------------------------------- figures

INK, CLEAN, TRIGGER, FILTER = "#333333", "#0173b2", "#d55e00", "#029e73"


def _blank(axes: Any, width: float, height: float) -> None:
    axes.set(xlim=(0, width), ylim=(0, height), xticks=[], yticks=[])
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _box(axes: Any, x: float, y: float, width: float, height: float, text: str, colour: str, *, filled: bool) -> None:
    from matplotlib.patches import FancyBboxPatch

    face = colour if filled else "white"
    axes.add_patch(FancyBboxPatch((x, y), width, height, "round,pad=0.02", facecolor=face, edgecolor=colour))
    axes.text(
        x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=7, color="white" if filled else INK
    )


def _arrow(axes: Any, x: float, to: float, y: float, colour: str) -> None:
    axes.annotate("", (to, y), (x, y), arrowprops={"arrowstyle": "->", "color": colour, "linewidth": 1.4})


def draw_fig1(results: Results) -> Artefact:
    """Figure 1: an optical polarizer and its counterpart, a diagram of ours."""
    import matplotlib.pyplot as plt

    with style.context():
        figure, (top, bottom) = plt.subplots(2, 1, figsize=(style.PAGE, 2.6))
        rows = (
            (top, "optical polarizer", "light", "waves of one\ndirection", ("wanted waves", "unwanted waves"), "grid"),
            (bottom, "neural polarizer", "image with\ntrigger", "true class", ("features of the image", "features of the trigger"), "1x1 conv\n+ BN"),
        )  # fmt: skip
        for axes, title, source, sink, (kept, removed), name in rows:
            _blank(axes, 10, 2)
            axes.set_title(title, loc="left")
            _box(axes, 0.1, 0.55, 1.5, 0.9, source, INK, filled=False)
            _arrow(axes, 1.75, 5.0, 1.35, CLEAN)
            _arrow(axes, 1.75, 5.0, 0.65, TRIGGER)
            axes.text(3.3, 1.45, kept, color=CLEAN, ha="center", va="bottom", fontsize=7)
            axes.text(3.3, 0.55, removed, color=TRIGGER, ha="center", va="top", fontsize=7)
            _box(axes, 5.15, 0.3, 1.0, 1.4, name, FILTER, filled=True)
            _arrow(axes, 6.3, 8.1, 1.35, CLEAN)
            axes.plot([6.3, 6.9], [0.65, 0.65], color=TRIGGER, linestyle=":")
            axes.text(7.0, 0.65, "blocked", color=TRIGGER, va="center", fontsize=7)
            _box(axes, 8.25, 0.55, 1.6, 0.9, sink, INK, filled=False)
    frame = pd.DataFrame({"panel": [row[1] for row in rows], "filter": [row[5].replace("\n", " ") for row in rows]})
    return _artefact(
        results, "fig1", "figure", figure=figure, frame=frame,
        caption="Figure 1. The idea, redrawn: a filter that lets one kind of wave pass, and a layer that does so with features.",
        alt="Two rows of boxes and arrows. Above: light meets a grid, wanted waves pass, the others are blocked. Below: the features "
        "of an image with a trigger meet a 1x1 convolution with batch norm; those of the image pass and the class is right.",
    )  # fmt: skip


def draw_fig2(results: Results) -> Artefact:
    """Figure 2: where the polarizer sits, a diagram of ours."""
    import matplotlib.pyplot as plt

    frozen = ("input", "conv1", "layer1", "layer2", "layer3", "layer4.0", "polarizer", "layer4.1", "linear")
    with style.context():
        figure, axes = plt.subplots(figsize=(style.PAGE, 1.5))
        _blank(axes, 10, 2)
        for k, name in enumerate(frozen):
            ours = name == "polarizer"
            x = 0.1 + 1.1 * k
            text = "polarizer\n1x1 conv\n+ BN" if ours else name.replace("input", "image")
            _box(axes, x, 0.75, 0.85, 0.9, text, FILTER if ours else INK, filled=ours)
            if k:
                _arrow(axes, x - 0.24, x - 0.01, 1.2, INK)
        axes.text(
            7.15,
            0.42,
            "trained: $C^2 + 2C$ weights,\n263,168 at $C$ = 512",
            ha="center",
            va="center",
            color=FILTER,
            fontsize=7,
        )
        axes.text(
            2.8,
            0.42,
            "frozen: all weights and statistics of the backdoored model",
            ha="center",
            va="center",
            fontsize=7,
        )
    frame = pd.DataFrame({"layer": frozen, "trained": [name == "polarizer" for name in frozen]})
    return _artefact(
        results, "fig2", "figure", figure=figure, frame=frame,
        caption="Figure 2. The polarizer in a PreAct-ResNet18, redrawn: it filters the input of the last block's first convolution.",
        alt="A chain of boxes from the image to the linear layer. All are frozen but one, the polarizer before the last block, a "
        "1x1 convolution and a batch norm that start as the identity.",
    )  # fmt: skip


METRIC_LOOK = {"C-Acc": ("#0173b2", "o", "-"), "ASR": ("#d55e00", "s", "--")}


def draw_fig3(results: Results) -> Artefact:
    """Figure 3: C-Acc and ASR over the place of the polarizer."""
    import matplotlib.pyplot as plt

    rows = []
    for parent, place, spec in place_specs(results.scale, results.seed):
        if (found := results.get(spec)) is not None:
            before = results.need(parent)
            for metric, key in (("C-Acc", "c_acc"), ("ASR", "asr")):
                rows.append(
                    {
                        "attack": parent.attack,
                        "place": place,
                        "metric": metric,
                        "value": found[key],
                        "before": before[key],
                    }
                )
    if not rows:
        raise NotRun(f"no place of Figure 3 has a result at {results.scale.name} scale")
    frame = pd.DataFrame(rows)
    attacks = list(dict.fromkeys(frame.attack))
    with style.context():
        size = (style.COLUMN if len(attacks) == 1 else style.PAGE, 2.6)
        figure, panels = plt.subplots(1, len(attacks), figsize=size, sharey=True, squeeze=False)
        for axes, attack in zip(panels.flat, attacks, strict=True):
            for metric, (colour, marker, line) in METRIC_LOOK.items():
                part = frame[(frame.attack == attack) & (frame.metric == metric)]
                axes.plot(part.place, part.value, color=colour, marker=marker, linestyle=line, label=metric)
                axes.axhline(part.before.iloc[0], color=colour, linewidth=0.8, linestyle=":")
            axes.set(ylim=(-4, 104), title=style.title("attack", attack), xlabel="polarizer before")
            axes.tick_params(axis="x", rotation=30 if len(of(results.scale).places) < 6 else 90)
        panels[0, 0].set_ylabel("percent")
        handles, labels = panels[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper right", ncols=2)
    texts = "; ".join(
        f"{style.title('attack', attack)}, {metric}: " + ", ".join(f"{v:.0f} at {p}" for p, v in zip(part.place, part.value, strict=True))
        for (attack, metric), part in frame.groupby(["attack", "metric"], sort=False)
    )  # fmt: skip
    return _artefact(
        results, "fig3", "figure", figure=figure, frame=frame,
        caption=f"Figure 3. NPD with the polarizer in each stage; {len(attacks)} of 3 attacks; dotted: the backdoored model. "
        f"{where(results)}",
        alt=f"Lines of accuracy and attack success rate over four or more places in the network. {texts}.",
    )  # fmt: skip


KIND_TITLES = {
    "clean": "clean",
    "trigger": "trigger",
    "targeted": "towards $y'$",
    "known": "towards $T$",
    "untargeted": "away from $y$",
}


def draw_fig4(results: Results) -> Artefact:
    """Figure 4: trigger and perturbations in pixels and in a feature map, and their distances."""
    import matplotlib.pyplot as plt

    found = results.need(perturbation_spec(results.scale, "blended", results.seed))
    kinds = found["kinds"]
    largest = max(np.max(one) for one in found["maps"])
    with style.context():
        figure, panels = plt.subplots(3, len(kinds), figsize=(style.PAGE, 4.6), squeeze=False)
        for k, kind in enumerate(kinds):
            for row, part in enumerate(("images", "residuals")):
                image = _image(found[part][k], found["shape"])
                panels[row, k].imshow(image, interpolation="nearest")
            panels[2, k].imshow(np.array(found["maps"][k]), vmin=0, vmax=largest, interpolation="nearest")
            panels[0, k].set_title(KIND_TITLES[kind], fontsize=8)
            panels[1, k].set_xlabel(f"× {found['amplification'][k]:g}" if k else "", fontsize=7)
            panels[2, k].set_xlabel(f"distance {found['distance'][k]:.3g}", fontsize=7)
        for axes, label in zip(panels[:, 0], ("image", "change", "feature map"), strict=True):
            axes.set_ylabel(label)
        for axes in panels.flat:
            axes.set(xticks=[], yticks=[])
            axes.grid(False)
    names = ("kind", "distance", "pixels", "to_target")
    frame = pd.DataFrame(dict(zip(names, (kinds, found["distance"], found["pixels"], found["to_target"]), strict=True)))
    numbers = "; ".join(f"{kind} {d:.3g}" for kind, d in zip(kinds, found["distance"], strict=True))
    return _artefact(
        results, "fig4", "figure", figure=figure, frame=frame,
        caption=f"Figure 4. Blended: the trigger and perturbations of L2 radius 3, their change of the image (amplified) and mean "
        f"absolute output of layer4; below: mean L2 distance to the triggered image's features over {found['n']} images. "
        f"{where(results)}",
        alt=f"Five columns of image, change and feature map. Mean distance of the features to those of the triggered image: {numbers}. "
        "The paper prints 36.4 for a targeted and 93.84 for an untargeted perturbation.",
    )  # fmt: skip


def draw_cam(id_: str) -> Callable[[Results], Artefact]:
    """Figures 5 to 7: Grad-CAM before and after NPD."""
    attack, number = CAMS[id_], id_.removeprefix("fig")

    def draw(results: Results) -> Artefact:
        import matplotlib.pyplot as plt

        found = results.need(gradcam_spec(results.scale, attack, results.seed))
        frames, texts = [], []
        with style.context():
            figure, panels = plt.subplots(2, 3, figsize=(style.COLUMN, 2.5), squeeze=False)
            for row, kind in enumerate(("clean", "with trigger")):
                image = _image(found["images"][row], found["shape"])
                panels[row, 0].imshow(image, interpolation="nearest")
                panels[row, 0].set_ylabel(kind)
                for column, model in enumerate(("backdoored", "after NPD"), start=1):
                    axes, cam = panels[row, column], np.array(found["maps"][column - 1][row])
                    extent = (-0.5, image.shape[1] - 0.5, image.shape[0] - 0.5, -0.5)
                    axes.imshow(image, interpolation="nearest")
                    axes.imshow(
                        cam, extent=extent, interpolation="bilinear", alpha=0.55, cmap="inferno", vmin=0, vmax=1
                    )
                    predicted = found["predicted"][column - 1][row]
                    axes.set_xlabel(f"class {predicted}", fontsize=7)
                    texts.append(f"{kind}, {model}: class {predicted}")
                    place = dict(zip(("row", "column"), (v.ravel() for v in np.indices(cam.shape)), strict=True))
                    frames.append(
                        pd.DataFrame(
                            {"image": kind, "model": model, "predicted": predicted, **place, "cam": cam.ravel()}
                        )
                    )
            for axes, title in zip(panels[0], ("image", "backdoored", "after NPD"), strict=True):
                axes.set_title(title)
            for axes in panels.flat:
                axes.set(xticks=[], yticks=[])
                axes.grid(False)
        return _artefact(
            results, id_, "figure", figure=figure, frame=pd.concat(frames),
            caption=f"Figure {number}. Grad-CAM of the predicted class for one test image of class 4, {style.title('attack', attack)}. "
            f"{where(results)}",
            alt=f"Predicted classes (0 is the attacker's target, 4 the true class): {'; '.join(texts)}.",
        )  # fmt: skip

    return draw


# ----------------------------------------------------------------------------------- what the paper does not have


def draw_estimate(results: Results) -> Artefact:
    """How often the runner-up class is the attacker's target, beside what NPD leaves."""
    rows = []
    for name in of(results.scale).attacks:
        (parent,) = parents(results.scale, (name,), results.seed)
        found = results.get(perturbation_spec(results.scale, name, results.seed))
        after = results.get(purified(results.scale, parent, "npd"))
        if found is None or after is None:
            continue
        distance = dict(zip(found["kinds"], found["distance"], strict=True))
        reached = dict(zip(found["kinds"], found["to_target"], strict=True))
        rows.append(
            {
                "Attack": style.title("attack", name),
                "y' = T (%)": 100 * found["estimate"][0],
                "y' = T after NPD (%)": 100 * found["estimate"][1],
                "perturbed images at T (%)": 100 * reached["targeted"],
                "distance y'": distance["targeted"],
                "distance T": distance["known"],
                "distance away": distance["untargeted"],
                "ASR after NPD": after["asr"],
            }
        )
    if not rows:
        raise NotRun(f"no target estimate has a result at {results.scale.name} scale")
    frame = pd.DataFrame(rows)
    caption = (
        f"The target estimate of NPD: how often the runner-up class y' is the attacker's class T. {where(results)}"
    )
    notes = [
        "Clean test images of other classes than T. With ten classes a guess among the nine wrong ones is right for 11 %.",
        "Distances: mean L2 of the features of perturbed images to those of the triggered image; towards y', towards T, away from y.",
    ]
    html = tables.to_html(frame, caption, notes=notes)
    return _artefact(results, "our_estimate", "table", caption=caption, frame=frame, html=html)


REACTIVATED = ("none", "npd", "clean")
"""Order of the models of :func:`reactivation_spec`."""


def draw_reactivation(results: Results) -> Artefact:
    """What an optimised perturbation reaches on the purified model."""
    specs = {name: reactivation_spec(results.scale, name, results.seed) for name in of(results.scale).reactivated}
    found = {name: result for name, spec in specs.items() if (result := results.get(spec)) is not None}
    if not found:
        raise NotRun(f"no re-activation has a result at {results.scale.name} scale")
    numbers = reactivation.frame(found, REACTIVATED)
    eps = next(iter(found.values()))["eps"]
    return _artefact(
        results, "our_reactivation", "figure", figure=reactivation.draw(numbers), frame=numbers,
        caption=f"Low ASR is not removal: ASR with the attacker's trigger, with a universal perturbation of at most "
        f"{round(255 * eps)} grey levels optimised against the model, and with both. {where(results)}",
        alt=reactivation.describe(numbers),
    )  # fmt: skip


FETCH = {
    "tiny_imagenet": "Tiny ImageNet (`paperlib data fetch tiny_imagenet`) is run at paper scale only",
    "gtsrb": "GTSRB (`paperlib data fetch gtsrb`) is run at paper scale only",
    "cifar100": "CIFAR-100 (`paperlib data fetch cifar100`) is run at paper scale only",
}

ITEMS: dict[str, Item] = {
    "table1": Item(_of_cells(table1_cells), draw_table1),
    "table2": Item(
        _of_cells(elsewhere_cells("table2")), draw_elsewhere("table2", "Tiny ImageNet", FETCH["tiny_imagenet"])
    ),
    "table3": Item(_of_cells(table3_cells), draw_table3),
    "table4": Item(_of_cells(table4_cells), draw_table4),
    "table5": Item(lambda s, seed: [spec for pair in ratio_specs(s, seed) for spec in pair], draw_table5),
    "table6": Item(_of_cells(table6_cells), draw_table6),
    "table8": Item(_of_cells(table8_cells), draw_table8),
    "table9": Item(lambda s, seed: [spec for _, spec in table9_specs(s, seed)], draw_table9),
    "table10": Item(lambda s, seed: [picture_spec(s, name, seed) for name in of(s).pictured], draw_table10),
    "table11": Item(_of_cells(elsewhere_cells("table11")), draw_elsewhere("table11", "GTSRB", FETCH["gtsrb"])),
    "table12": Item(
        _of_cells(elsewhere_cells("table12")),
        draw_elsewhere("table12", "CIFAR-10 with VGG19-BN", "VGG19-BN is trained at paper scale only"),
    ),
    "table13": Item(_of_cells(table13_cells), draw_table13),
    "table14": Item(_of_cells(elsewhere_cells("table14")), draw_elsewhere("table14", "CIFAR-100", FETCH["cifar100"])),
    "table15": Item(_of_cells(table15_cells), draw_table15),
    "fig1": Item(lambda s, seed: [], draw_fig1),
    "fig2": Item(lambda s, seed: [], draw_fig2),
    "fig3": Item(
        lambda s, seed: [spec for parent, _, npd in place_specs(s, seed) for spec in (parent, npd)], draw_fig3
    ),
    "fig4": Item(lambda s, seed: [perturbation_spec(s, "blended", seed)], draw_fig4),
    **{id_: Item(partial(_cam_specs, name), draw_cam(id_)) for id_, name in CAMS.items()},
}

OURS: dict[str, Item] = {
    "our_estimate": Item(lambda s, seed: [perturbation_spec(s, name, seed) for name in of(s).attacks], draw_estimate),
    "our_reactivation": Item(
        lambda s, seed: [reactivation_spec(s, name, seed) for name in of(s).reactivated], draw_reactivation
    ),
}


# -------------------------------------------------------------------------------------------------------- claims


def _over(results: Results) -> str:
    return f"over {_names(learned(results))} (undefended ASR at least {LEARNED:g})"


def learned(results: Results) -> tuple[str, ...]:
    """The attacks of Table 1 whose backdoor the undefended model has learned at this scale.

    Raises
    ------
    NotRun
        One of them was not run, or none is learned.
    """
    found = [
        p.attack
        for p in parents(results.scale, of(results.scale).attacks, results.seed)
        if results.need(p)["asr"] >= LEARNED
    ]
    if not found:
        raise NotRun(f"no attack reaches an ASR of {LEARNED:g} at {results.scale.name} scale")
    return tuple(found)


def _pair(results: Results, attack: str, defense: str = "npd", **params: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    (parent,) = parents(results.scale, (attack,), results.seed)
    return results.need(parent), results.need(purified(results.scale, parent, defense, **params))


def _mean_der(results: Results, defense: str, attacks: Iterable[str]) -> float:
    pairs = [_pair(results, name, defense) for name in attacks]
    lists = [[pair[side][key] for pair in pairs] for side in (0, 1) for key in ("c_acc", "asr")]
    return der_of_averages(*lists, unit="percent")


def check_best(results: Results) -> Verdict:
    """NPD has the highest average DER of the defenses that are not told the target."""
    attacks = learned(results)
    numbers = {
        f"DER of means, {style.title('defense', name)}": _mean_der(results, name, attacks)
        for name in of(results.scale).defenses
    }
    return Verdict(
        max(numbers, key=lambda k: numbers[k]).endswith(" NPD"), f"{_over(results)}; the highest is NPD's", numbers
    )


def check_removes(results: Results) -> Verdict:
    """NPD brings the average ASR below a tenth of the undefended one, and costs at most 3 points of C-Acc."""
    pairs = [_pair(results, name) for name in learned(results)]
    numbers = {
        f"mean {title} {when}": float(np.mean([pair[k][key] for pair in pairs]))
        for key, title in (("asr", "ASR"), ("c_acc", "C-Acc"))
        for k, when in enumerate(("undefended", "after NPD"))
    }
    asr_before, asr_after, acc_before, acc_after = numbers.values()
    holds = asr_after <= asr_before / 10 and acc_after >= acc_before - 3
    return Verdict(holds, f"{_over(results)}; at most a tenth of the ASR, at most 3 points of C-Acc", numbers)


def check_informed(results: Results) -> Verdict:
    """Knowing the target does not hurt: the average DER of TU and TP is at least NPD's less one point."""
    attacks = [name for name in learned(results) if name in of(results.scale).informed]
    if not attacks:
        raise NotRun("TU and TP were run on no learned attack")
    numbers = {f"DER of means, {style.title('defense', n)}": _mean_der(results, n, attacks) for n in (*INFORMED, "npd")}
    *told, npd = numbers.values()
    return Verdict(min(told) >= npd - 1, f"over {_names(attacks)}; both at least NPD's less 1 point", numbers)


def check_targeted(results: Results) -> Verdict:
    """Targeted perturbations leave a lower ASR than untargeted ones."""
    numbers = {}
    for name in of(results.scale).perturbed:
        for defense in ("npd", "npd_up", "npd_uu"):
            key = f"{style.title('attack', name)} ASR, {style.title('defense', defense)}"
            numbers[key] = _pair(results, name, defense)[1]["asr"]
    values = list(numbers.values())
    holds = all(npd < min(up, uu) for npd, up, uu in zip(values[::3], values[1::3], values[2::3], strict=True))
    return Verdict(holds, "NPD's is the lowest of the three on every attack", numbers)


def check_nearer(results: Results) -> Verdict:
    """A targeted perturbation lies nearer to the trigger, in feature space, than an untargeted one."""
    found = results.need(perturbation_spec(results.scale, "blended", results.seed))
    distance = dict(zip(found["kinds"], found["distance"], strict=True))
    numbers = {f"Blended, distance {k}": distance[k] for k in ("targeted", "known", "untargeted")}
    return Verdict(
        distance["targeted"] < distance["untargeted"],
        f"mean L2 over {found['n']} images, towards y' and away from y",
        numbers,
    )


def check_losses(results: Results) -> Verdict:
    """Without the losses on perturbed images the backdoor stays: L_bn alone leaves at least half of the ASR, all terms a tenth."""
    numbers: dict[str, float] = {}
    holds: list[bool] = []
    for name in of(results.scale).ablated:
        before, bn = _pair(results, name, **LOSSES["L_bn only"])
        _, everything = _pair(results, name)
        title = style.title("attack", name)
        numbers |= {f"{title} ASR, L_bn only": bn["asr"], f"{title} ASR, all": everything["asr"]}
        holds.append(bn["asr"] >= before["asr"] / 2 and everything["asr"] <= before["asr"] / 10)
    return Verdict(all(holds), "L_bn alone leaves half of the undefended ASR, all terms at most a tenth", numbers)


def check_deeper(results: Results) -> Verdict:
    """The deepest place has a higher DER than the shallowest."""
    places = of(results.scale).places
    numbers: dict[str, float] = {}
    holds: list[bool] = []
    for parent in dict.fromkeys(p for p, *_ in place_specs(results.scale, results.seed)):
        before = results.need(parent)
        scores = []
        for place in (places[0], DEFAULT_PLACE):
            spec = next(s for p, where, s in place_specs(results.scale, results.seed) if p == parent and where == place)
            after = results.need(spec)
            scores.append(float(der(before["c_acc"], before["asr"], after["c_acc"], after["asr"], unit="percent")))
            numbers[f"{style.title('attack', parent.attack)} DER at {place}"] = scores[-1]
        holds.append(scores[1] > scores[0])
    return Verdict(all(holds), "the default place against the first one", numbers)


def check_structure(results: Results) -> Verdict:
    """Convolution and batch norm remove more than an elementwise layer."""
    numbers: dict[str, float] = {}
    holds: list[bool] = []
    for name in of(results.scale).ablated:
        rates = [_pair(results, name, **_changes("structure", value))[1]["asr"] for value in ("", "linear")]
        title = style.title("attack", name)
        numbers |= {f"{title} ASR, Conv-BN": rates[0], f"{title} ASR, Linear": rates[1]}
        holds.append(rates[0] < rates[1])
    return Verdict(all(holds), "ASR of Conv-BN below that of Linear on every attack", numbers)


def check_few(results: Results) -> Verdict:
    """NPD still works with the fewest clean images of Table 6."""
    n = min(of(results.scale).samples)
    numbers: dict[str, float] = {}
    holds: list[bool] = []
    for name in of(results.scale).few:
        before, after = _pair(results, name, n_clean=n)
        title = style.title("attack", name)
        numbers |= {f"{title} ASR undefended": before["asr"], f"{title} ASR with {n} images": after["asr"]}
        holds.append(after["asr"] <= before["asr"] / 5)
    return Verdict(all(holds), f"with {n} clean images at most a fifth of the undefended ASR", numbers)


def check_fast(results: Results) -> Verdict:
    """NPD is the fastest of the defenses of Table 9."""
    taken: dict[str, list[float]] = {}
    for name, spec in table9_specs(results.scale, results.seed):
        if name in (*BASELINES, "npd"):
            taken.setdefault(name, []).append(results.need(spec)["seconds"])
    numbers = {f"seconds, {style.title('defense', name)}": float(np.mean(v)) for name, v in taken.items()}
    return Verdict(
        min(numbers, key=lambda k: numbers[k]).endswith(" NPD"), "mean over attacks of one run each", numbers
    )


CLAIMS: list[Claim] = [
    Claim(
        "removes", PAPER, "One small layer removes the backdoor at little cost in accuracy.", "Table 1", check_removes
    ),
    Claim(
        "best",
        PAPER,
        "NPD has the best average DER of the defenses that do not know the target.",
        "Table 1",
        check_best,
    ),
    Claim("informed", PAPER, "Told the true target, TU and TP are at least as good.", "Table 1", check_informed),
    Claim("losses", PAPER, "The losses on perturbed images are what removes the backdoor.", "Table 3", check_losses),
    Claim("targeted", PAPER, "Targeted perturbations beat untargeted ones.", "Table 4", check_targeted),
    Claim(
        "nearer",
        PAPER,
        "A targeted perturbation resembles the trigger, an untargeted one does not.",
        "Figure 4",
        check_nearer,
    ),
    Claim("few", PAPER, "NPD works with few clean images.", "Table 6", check_few),
    Claim("fast", PAPER, "NPD is faster than the other defenses on CIFAR-10.", "Table 9", check_fast),
    Claim(
        "structure",
        PAPER,
        "A convolution with batch norm is better than an elementwise layer.",
        "Table 13",
        check_structure,
    ),
    Claim("deeper", PAPER, "The polarizer works best deep in the network.", "Figure 3, Table 15", check_deeper),
]
