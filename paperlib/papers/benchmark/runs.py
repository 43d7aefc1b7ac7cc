"""BackdoorBench's grid: its 8,000 printed cells, and which of them each scale runs anew.

A printed cell is a result; or NA (the original has no value); or collapsed (C-Acc is at most the share of the largest
class of the test set, so the model knows nothing); or copied (equal to the digit to another cell, by mistake: two
blocks of Tiny ImageNet). What is no result is shown as what it is and enters no mean.

Our own grid is every attack, undefended and under every defense, at the ratio of the paper's main table. A scale runs a
slice of it (:data:`SLICES`); what was not run is counted in the captions and never filled in. Attacks whose undefended
ASR stays below :data:`paperlib.papers.defense_table.LEARNED` say nothing about a defense: they are shown and enter no
average.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from paperlib import paths
from paperlib.attacks import ATTACKS as OUR_ATTACKS
from paperlib.defenses import DEFENSES as OUR_DEFENSES
from paperlib.detection import DETECTORS, NOISE
from paperlib.errors import choose
from paperlib.experiments import plan, scales
from paperlib.experiments.scales import Scale
from paperlib.experiments.specs import AnalysisSpec, DefendSpec, TrainSpec
from paperlib.lab import ledger
from paperlib.lab.spec import Spec, from_dict, pairs
from paperlib.papers import Results
from paperlib.papers.defense_table import LEARNED, Cell, DefenseTable, backdoored, defended, specs_of
from paperlib.report.compare import is_average
from paperlib.report.published import published

PAPER = "benchmark"
ATTACKS = ("badnets", "blended", "lc", "sig", "lf", "ssba", "input_aware", "wanet")
DEFENSES = ("none", "ft", "fp", "nad", "nc", "anp", "ac", "ss", "abl", "dbd")
MODELS = ("preact_resnet18", "vgg19", "efficientnet_b3", "mobilenet_v3_large", "densenet161")
RATIOS = (0.001, 0.005, 0.01, 0.05, 0.1)
RATIO = 0.1
METRICS = ("ACC", "ASR", "R-ACC")

LARGEST_CLASS = {"cifar10": 1000 / 10_000, "cifar100": 100 / 10_000, "gtsrb": 750 / 12_630, "tiny": 50 / 10_000}
"""Share of the largest class of the test set: the C-Acc of a model that always gives one answer."""

ERRORS = {
    "lc": "LC was run without its corner trigger and on perturbed test images: not comparable with a correct LC",
    "fp": "FP chose its pruning depth by the accuracy on the test set (oracle)",
    "anp": "ANP chose its threshold by the ASR on the test set (oracle)",
    "ac": "AC removed wrong images, because its clusters were not aligned with the data",
    "copied ratio": "Tiny ImageNet: this undefended row at 1 % repeats the one at 0.1 % to the digit, not in the mean",
    "copied data set": "Tiny ImageNet at 5 %: this cell repeats the one of GTSRB, not in the mean",
}
"""Known errors of the leaderboard, by attack, defense or status, in the order of the footnotes."""

COPIES = ("copied ratio", "copied data set")


# ------------------------------------------------------------------------------------------------ the printed cells


@cache
def _board() -> pd.DataFrame:
    keys = ["dataset", "model", "ratio", "attack", "defense"]
    frame = published(PAPER, "leaderboard_2022").pivot(index=keys, columns="metric", values="value")
    frame = frame.reset_index().rename_axis(columns=None)
    limit = frame.dataset.map({name: round(100 * share, 2) for name, share in LARGEST_CLASS.items()})
    frame["status"] = np.select([frame.ACC.isna(), frame.ACC.le(limit)], ["NA", "collapsed"], "")
    for error, twin in (("copied ratio", {"ratio": 0.001}), ("copied data set", {"dataset": "gtsrb"})):
        at = {"copied ratio": frame.defense.eq("none") & frame.ratio.eq(0.01), "copied data set": frame.ratio.eq(0.05)}
        mine = frame[frame.dataset.eq("tiny") & at[error] & frame.status.eq("")]
        other = mine[keys].assign(**twin).merge(frame, on=keys)[list(METRICS)].to_numpy()
        copies = mine[(mine[list(METRICS)] - other).abs().lt(0.011).all(axis=1)]  # one of them was rounded anew
        frame.loc[frame.index.isin(copies.index), "status"] = error
    return frame


def board(**where: Any) -> pd.DataFrame:
    """The leaderboard, one row per cell, or the cells with the values ``where``.

    Parameters
    ----------
    where
        Of dataset, model, ratio, attack, defense: a value, or a tuple of values.

    Returns
    -------
    DataFrame
        ``dataset, model, ratio, attack, defense``, ``ACC, ASR, R-ACC`` in percent, ``status`` (empty,
        ``NA``, ``collapsed``, or one of :data:`COPIES`). A fresh copy.

    Raises
    ------
    PaperlibError
        The leaderboard has no such column or value.
    """
    frame = _board()
    for name, value in where.items():
        choose("column of the leaderboard", name, ("dataset", "model", "ratio", "attack", "defense"))
        known = {f"{v:g}" if name == "ratio" else str(v) for v in _board()[name].unique()}
        values = value if isinstance(value, tuple) else (value,)
        for one in values:
            choose(name, f"{one:g}" if isinstance(one, float) else str(one), known)
        frame = frame[frame[name].isin(values)]
    return frame.copy()


def means(frame: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Mean C-Acc, ASR and R-Acc of the cells that are proper results (no status), and ``n``, how many those are."""
    grouped = frame[frame.status == ""].groupby(list(by), sort=False)
    return grouped[list(METRICS)].mean().assign(n=grouped.size())


def curves(frame: pd.DataFrame) -> pd.DataFrame:
    """ASR over the ratio: one row per data set, model, defense and attack that has a proper result at all five
    ratios."""
    keys = ["dataset", "model", "defense", "attack"]
    return frame[frame.status == ""].pivot(index=keys, columns="ratio", values="ASR").dropna()


def printed_asr(**where: Any) -> pd.DataFrame:
    """Printed ASR of CIFAR-10, PreAct-ResNet18: one row per cell with ``ratio, attack, defense, ASR``."""
    board = published(PAPER, "leaderboard_2022")
    board = board[(board.dataset == "cifar10") & (board.model == "preact_resnet18") & (board.metric == "ASR")]
    for name, value in where.items():
        board = board[board[name] == value]
    return board.rename(columns={"value": "ASR"})[["ratio", "attack", "defense", "ASR"]].reset_index(drop=True)


def printed_cells() -> pd.DataFrame:
    """Printed cells of CIFAR-10, PreAct-ResNet18, 10 %: the board of 2022 where it has the cell, else that of 2025,
    else the papers."""
    boards = [published(PAPER, name) for name in ("leaderboard_2022", "leaderboard_2025")]
    frame = pd.concat(
        [*boards, published("ft_sam", "table1"), published("sau", "table3"), published("polarizer", "table1")]
    )
    frame = frame[(frame.dataset == "cifar10") & (frame.model == "preact_resnet18")]
    frame = frame[(frame.ratio == RATIO) & frame.value.notna()]
    frame = frame[~frame.attack.map(is_average)]
    return frame.drop_duplicates(["dataset", "attack", "defense", "setting", "metric"], keep="first")


# ------------------------------------------------------------------------------------------------------ our own grid

CLEAN_LABEL_RATIO = 0.05
"""CTRL's own ratio; the other clean-label attacks run at :data:`RATIO`, as in the paper."""


@dataclass(frozen=True)
class Slice:
    """What one scale runs of the grid."""

    attacks: tuple[str, ...]
    """Attacks that are trained."""
    defended: tuple[str, ...]
    """Those of them on which the defenses run."""
    defenses: tuple[str, ...]
    detected: tuple[str, ...]
    """Attacks whose training sets the detectors examine."""
    detectors: tuple[str, ...]
    swept: tuple[str, ...]
    """Attacks of the sweep over the poisoning ratio."""
    ratios: tuple[float, ...]


MAIN = ("badnets", "blended", "sig", "lf", "input_aware", "wanet")
"""The attacks on which the defenses are compared at laptop scale."""

DETECTED = tuple(name for name in DETECTORS if name not in (*NOISE, "frequency"))
"""The detectors of poison that the tables of the benchmark and of AGPD hold; VDC's paper has the others."""

SLICES: dict[str, Slice] = {
    "smoke": Slice(
        attacks=("badnets", "blended", "sig", "lf", "wanet"),
        defended=("blended",),
        defenses=("ft", "clp", "anp", "ft_sam", "sau", "npd", "ss"),
        detected=("blended",),
        detectors=("ac", "ss", "scan"),
        swept=("blended",),
        ratios=(0.01, 0.1),
    ),
    "laptop": Slice(
        attacks=tuple(OUR_ATTACKS),
        defended=MAIN,
        defenses=tuple(OUR_DEFENSES),
        detected=("badnets", "blended"),
        detectors=DETECTED,
        swept=("blended", "badnets"),
        ratios=RATIOS,
    ),
    "paper": Slice(
        attacks=tuple(OUR_ATTACKS),
        defended=tuple(OUR_ATTACKS),
        defenses=tuple(OUR_DEFENSES),
        detected=tuple(OUR_ATTACKS),
        detectors=DETECTED,
        swept=tuple(OUR_ATTACKS),
        ratios=RATIOS,
    ),
}


def own_ratio(attack: str) -> float:
    """The ratio, a fraction, at which our tables run ``attack``."""
    return CLEAN_LABEL_RATIO if attack == "ctrl" else RATIO


def attacked(scale: Scale, attack: str, ratio: float | None = None, seed: int = 0, **changes: Any) -> TrainSpec:
    """The model of ``attack``; at its own ratio unless one is given; ``changes`` are fields of the training."""
    return backdoored(scale, attack, own_ratio(attack) if ratio is None else ratio, seed, **changes)


def attack_specs(scale: Scale, seed: int) -> list[Spec]:
    """The clean model and every attacked one."""
    return [plan.train(scale, seed=seed), *(attacked(scale, name, seed=seed) for name in SLICES[scale.plans].attacks)]


def defense_tables(part: Slice) -> tuple[DefenseTable, ...]:
    """Every defense on the models of the attacks that it is compared on, each at its own ratio."""
    by_ratio = {ratio: tuple(a for a in part.defended if own_ratio(a) == ratio) for ratio in (RATIO, CLEAN_LABEL_RATIO)}
    return tuple(DefenseTable(attacks, part.defenses, ratio) for ratio, attacks in by_ratio.items() if attacks)


def defense_cells(scale: Scale, seed: int) -> list[Cell]:
    """The cells of :func:`defense_tables` that ``scale`` runs."""
    return [cell for table in defense_tables(SLICES[scale.plans]) for cell in table.cells(scale, seed)]


MINORITY = {"smoke": (), "laptop": (0.01, 0.05), "paper": (0.01, 0.05)}
"""Scale -> poisoning ratios beside the usual one: at 10 % the target label of a balanced set of ten classes holds more
poisoned than clean images, and AC, SS and SPECTRE look for a minority."""
OF_A_MINORITY = ("ac", "ss", "spectre", "scan")
"""The detectors that are compared there: those three, and one that only asks for two groups."""


def detections(scale: Scale, seed: int) -> dict[tuple[str, float, str], Spec]:
    """Attack, ratio and detector -> the detector on that training set."""
    part = SLICES[scale.plans]
    found: dict[tuple[str, float, str], Spec] = {}
    for ratio in (RATIO, *MINORITY[scale.plans]):
        for attack in part.detected:
            parent = attacked(scale, attack, None if ratio == RATIO else ratio, seed=seed)
            for name in part.detectors if ratio == RATIO else OF_A_MINORITY:
                found[attack, ratio, name] = plan.detect(scale, parent, name, seed=seed)
    return found


def ratio_cells(scale: Scale, seed: int) -> list[Cell]:
    """Undefended and after FT, at every ratio of the sweep."""
    part = SLICES[scale.plans]
    return DefenseTable(part.swept, ("ft",), part.ratios).cells(scale, seed)


def own_asr(results: Results) -> pd.DataFrame:
    """ASR of our runs, attacks that were learned down and defenses across: the largest table without gaps that has all
    attacks."""
    rows: dict[str, dict[str, float]] = {}
    for cell in defense_cells(results.scale, results.seed):
        before, after = results.get(cell.parent), results.get(cell.spec)
        if cell.defense != "none" and before and after and before["asr"] >= LEARNED:
            rows.setdefault(cell.attack, {})[cell.defense] = after["asr"]
    return pd.DataFrame.from_dict(rows, orient="index").dropna(axis=1)


DATASETS = {"smoke": ("digits",), "laptop": ("cifar10", "tiny_imagenet20"), "paper": ("cifar10", "tiny_imagenet20")}
"""Scale -> data sets of the table that compares them; the twenty classes of Tiny ImageNet are a choice of ours."""
HEADLINE = ("ft", "ft_sam", "sau", "npd")
"""FT and the defenses of the three defense papers."""


def dataset_cells(scale: Scale, seed: int) -> dict[str, list[Cell]]:
    """Data set -> two attacks, undefended and after four defenses."""
    table = DefenseTable(("badnets", "blended"), HEADLINE)
    return {name: replace(table, dataset=name).cells(scale, seed) for name in DATASETS[scale.plans]}


def dataset_specs(scale: Scale, seed: int) -> list[Spec]:
    """The clean model of every data set, and its cells."""
    found: list[Spec] = []
    for name, cells in dataset_cells(scale, seed).items():
        found += [plan.train(scales.on(scale, name), seed=seed), *specs_of(cells)]
    return found


SEEDED = {"smoke": (), "laptop": ("blended", "badnets", "wanet"), "paper": MAIN}
"""Scale -> attacks whose victims and defenses are computed from further seeds."""
MORE_SEEDS = 2
"""Seeds beside the one of the notebook."""


def seed_cells(scale: Scale, seed: int) -> dict[int, list[Cell]]:
    """Seed -> the headline defenses, each seed with victims of its own; nothing where one seed is run."""
    if not SEEDED[scale.plans]:
        return {}
    table = DefenseTable(SEEDED[scale.plans], HEADLINE)
    return {one: table.cells(scale, one) for one in range(seed, seed + 1 + MORE_SEEDS)}


STUDIES: tuple[tuple[str, dict[str, Any], dict[str, Any]], ...] = (
    # name, changes of the attack, changes of the training
    ("as in the table of attacks", {}, {}),
    ("generator as wide as the paper's", {"width": 32}, {}),
    ("mask trained for 10 epochs", {"mask_epochs": 10}, {}),
    ("twice the epochs", {}, {"epochs": 30}),
    ("four times the epochs", {}, {"epochs": 60}),
    ("all three, twice the epochs", {"width": 32, "mask_epochs": 10}, {"epochs": 30}),
)
"""What could hold Input-aware back at laptop scale, one thing at a time."""


def input_aware_specs(scale: Scale, seed: int) -> list[Spec]:
    """Input-aware with each change of :data:`STUDIES`; a question of the laptop scale alone."""
    if scale.plans != "laptop":
        return []
    found: list[Spec] = []
    for _, params, changes in STUDIES:
        fields = {"attack_params": pairs(params), **changes} if params else changes
        found.append(attacked(scale, "input_aware", seed=seed, **fields))
    return found


def repeated(scale: Scale) -> dict[str, dict[str, Any]]:
    """The same specs, seed included, computed once more on another kind of device: rows of a second ledger in git, by
    key."""
    file = paths.recorded_dir() / scale.name / "repeated.jsonl"
    return ledger.load(file) if file.exists() else {}


def repetition_specs(scale: Scale, seed: int) -> list[Spec]:
    """What was computed twice."""
    found = (from_dict(row["spec"]) for row in repeated(scale).values())
    return [spec for spec in found if spec.seed == seed and isinstance(spec, TrainSpec | DefendSpec)]


CLEAN_LABEL_SHARE = {"cifar10": 0.1, "cifar100": 0.01, "gtsrb": 210 / 39_209, "tiny_imagenet": 0.005}
"""Largest poisoning ratio of a clean-label attack: the share of class 0 in the training set."""


def whole_grid(scale: Scale, seed: int = 0) -> Iterator[Spec]:
    """The paper's grid: 8 attacks x (none + 9 defenses) x 5 ratios x 5 models x 4 data sets, as far as a cell can
    exist.

    Left out, NA in the original too: clean-label ratios above the share of the target class, and defenses that need
    batch norm on models without it.
    """
    for dataset, largest in CLEAN_LABEL_SHARE.items():
        for attack in ATTACKS:
            ratios = tuple(r for r in RATIOS if attack not in ("lc", "sig") or r <= largest)
            yield from specs_of(DefenseTable((attack,), DEFENSES, ratios, dataset, MODELS).cells(scale, seed))


# ------------------------------------------------------------------------------------------------- looking inside

SEEN = {"smoke": 100, "laptop": 1000, "paper": 5000}
"""Images, of the poisoned training set or of each group, that a tool looks at."""
LOOKED_AT = ("blended", "badnets")
ALTERED: dict[str, tuple[float, ...]] = {"blended": (0.05, 0.1, 0.15, 0.2, 0.3, 0.4), "badnets": (1, 2, 3, 4, 6, 8)}
"""Attack -> values of the trigger's strength at test time: Blended's alpha, the side of BadNets' patch."""
TWO_RATIOS = (0.05, 0.1)
VIEWS = ("tsne", "neuron_activation", "gradcam", "shapley", "frequency_saliency")
"""The visual panels: one network a row, on one backdoored model or after AC."""


def trigger_specs(scale: Scale, seed: int) -> list[Spec]:
    """What the trigger of every attack looks like."""
    return [
        plan.analyse("triggers", attacked(scale, name, seed=seed), seed=seed) for name in SLICES[scale.plans].attacks
    ]


def _embedded(scale: Scale) -> int:
    return SEEN[scale.plans] * (3 if scale.plans == "smoke" else 1)


def tsne_specs(scale: Scale, seed: int) -> list[AnalysisSpec]:
    """Features of the Blended model and of the same after FT, at both ratios."""
    parents = [attacked(scale, "blended", ratio, seed) for ratio in TWO_RATIOS]
    return [plan.analyse("tsne", p, defended(scale, p, "ft"), seed=seed, n=_embedded(scale)) for p in parents]


def dynamics_specs(scale: Scale, seed: int) -> list[AnalysisSpec]:
    """One training each of Blended and BadNets, watched sample by sample."""
    parents = [attacked(scale, name, seed=seed) for name in LOOKED_AT]
    return [plan.analyse("dynamics", parent, seed=seed, n=SEEN[scale.plans]) for parent in parents]


def generalisation_specs(scale: Scale, seed: int) -> list[AnalysisSpec]:
    """Blended and BadNets, each trained at both ratios, under altered triggers."""
    n = SEEN[scale.plans]
    parents = {name: [attacked(scale, name, ratio, seed) for ratio in TWO_RATIOS] for name in LOOKED_AT}
    return [
        plan.analyse("trigger_generalisation", *both, seed=seed, values=ALTERED[name], n=n)
        for name, both in parents.items()
    ]


def visual_parents(scale: Scale, seed: int) -> list[TrainSpec]:
    """The paper's five models of BadNets at paper scale; below it the grid's one."""
    if scale.plans == "paper":
        there = scales.on(scale, "tiny_imagenet")
        return [attacked(there, "badnets", 0.05, seed, model=model) for model in MODELS]
    return [attacked(scale, "badnets", seed=seed)]


def visual_specs(scale: Scale, seed: int, defense: str) -> list[list[AnalysisSpec]]:
    """Per model the five :data:`VIEWS` of the undefended model (``none``) or after ``defense``."""
    params: dict[str, dict[str, Any]] = {
        "tsne": {"n": _embedded(scale)},
        "neuron_activation": {"n": SEEN[scale.plans]},
        "gradcam": {"index": 1},  # the first deer that all our laptop models recognise, as in notebook 05
        "shapley": {"index": 1, "backgrounds": {"smoke": 10, "laptop": 50, "paper": 200}[scale.plans], "top": 1},
        "frequency_saliency": {"index": 1},
    }
    parents = visual_parents(scale, seed)
    looked = [defended(scales.on(scale, parent.dataset), parent, defense) for parent in parents]
    return [[plan.analyse(view, model, seed=seed, **params[view]) for view in VIEWS] for model in looked]
