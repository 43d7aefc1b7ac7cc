"""Which victims and searches of the LPS paper's grid each scale runs, and what of them was computed.

A budget is a number of images per class, times the classes that may be poisoned: then every strategy with a constraint
on classes meets it exactly. A scale runs a slice (:data:`SLICES`). At laptop scale the victim has width 8, which trains
in 0.4 of the time of the other notebooks' width 16, and sees 4,000 images 40 times instead of 10,000 images 15 times:
what is hard to learn needs passes (table ``passes`` compares the two). The first budget is the main one: its cells come
first, seed by seed, random selection and LPS before the others, and everything that is drawn for one budget is drawn
for it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import pandas as pd

from paperlib.experiments import plan, scales
from paperlib.experiments.scales import Scale
from paperlib.experiments.specs import AnalysisSpec, SelectSpec, TrainSpec
from paperlib.lab.spec import Spec
from paperlib.papers import Results
from paperlib.papers.defense_table import defended
from paperlib.report import style
from paperlib.report.claims import NotRun

PAPER = "selection"
ATTACK = "blended"
"""The attack of everything but the tables of ASR."""
STRATEGIES = ("random", "balanced", "fus", "lps")
ORDER = ("random", "lps", "balanced", "fus")
"""In which the strategies are run."""
SEARCHES = ("fus", "lps")
IN_RANGE = (20.0, 90.0)
"""Mean ASR of random selection, in percent, between which a ratio can tell strategies apart."""

Net = tuple[str, int]
"""A model and its width."""
Setting = tuple[int, int]
"""Training images and epochs of the victim; (0, 0): those of the scale."""
PREACT = "preact_resnet18"
CONSTRAINTS: dict[str, dict[str, Any]] = {
    "PC and CE (LPS)": {}, "without PC": {"pc": False}, "without CE": {"ce": False}, "neither": {"pc": False,
    "ce": False},
}  # fmt: skip
KNOWN_DEFENSES = ("fp", "abl", "nad", "i_bau")
"""Those of the paper's six that are known to us; the others that a scale runs are our choice."""


@dataclass(frozen=True)
class Slice:
    """What one scale runs."""

    attacks: tuple[str, ...]
    per_class: tuple[int, ...]
    """Poisoned images per class; the main budget first. Those of ``paper`` are the paper's, from memory."""
    seeds: int
    setting: Setting
    width: int
    """Of the victim."""
    surrogate: int
    """Width of the surrogate."""
    repeats: int
    """Seeds of the ablations and of the defenses."""
    constraints: tuple[str, ...]
    pairs: tuple[tuple[Net, Net], ...]
    """Surrogate and victim; the first is the grid's."""
    rounds: tuple[tuple[int, int], ...]
    """Sweep over T, as (T, K)."""
    epochs: tuple[tuple[int, int], ...]
    """Sweep over K, as (T, K)."""
    defended: tuple[str, ...]
    """Strategies whose victims are defended."""
    defenses: tuple[str, ...]
    forgetting: bool
    """Whether victims are trained once more to count forgetting events."""
    elsewhere: Mapping[str, tuple[int, ...]]
    """Other data set -> poisoned images per class."""
    settings: Mapping[Setting, tuple[int, ...]]
    """Other setting of the victim -> poisoned images per class."""


SLICES: dict[str, Slice] = {
    "smoke": Slice(
        (ATTACK,), (2,), seeds=1, setting=(0, 0), width=8, surrogate=4, repeats=1, constraints=("without PC",),
        pairs=(((PREACT, 4), (PREACT, 8)), ((PREACT, 4), (PREACT, 4))),
        rounds=((1, 1), (4, 1)), epochs=(), defended=("random", "lps"), defenses=("fp", "ft"),
        forgetting=False, elsewhere={}, settings={},
    ),
    "laptop": Slice(
        (ATTACK,), (10, 8), seeds=5, setting=(4_000, 40), width=8, surrogate=8, repeats=2,
        constraints=tuple(CONSTRAINTS),
        pairs=(((PREACT, 8), (PREACT, 8)), ((PREACT, 4), (PREACT, 8)), ((PREACT, 8), (PREACT, 16))),
        rounds=((1, 1), (5, 1), (10, 1)), epochs=((5, 1), (5, 2)), defended=STRATEGIES,
        defenses=("fp", "nad", "i_bau", "ft"), forgetting=True, elsewhere={},
        settings={(10_000, 15): (20, 40)},
    ),
    "paper": Slice(
        ("badnets", "badnets_a2a", ATTACK, "sig", "ssba", "trojannn"), (12, 24, 6, 48, 3), seeds=5, setting=(0, 0),
        width=64, surrogate=64,
        repeats=5, constraints=tuple(CONSTRAINTS),
        pairs=tuple(
            ((one, 64), (other, 64))
            for one, other in (
                (PREACT, PREACT), ("vgg19_bn", PREACT), ("mobilenet_v3_large_fine", PREACT), (PREACT, "vgg19_bn"),
                (PREACT, "mobilenet_v3_large_fine"),
            )
        ),
        rounds=tuple((t, 5) for t in (1, 5, 10, 15, 20)), epochs=tuple((15, k) for k in (1, 2, 5, 10)),
        defended=STRATEGIES, defenses=(*KNOWN_DEFENSES, "anp", "ft"), forgetting=True,
        elsewhere={"cifar100": (3, 1, 2, 4, 5), "tiny_imagenet": (3, 1, 2, 4, 5)}, settings={},
    ),
}  # fmt: skip
CLASSES = {"digits": 10, "cifar10": 10, "cifar100": 100, "tiny_imagenet": 200}
SIZES = {"cifar10": 50_000, "cifar100": 50_000, "tiny_imagenet": 100_000}
"""All training images, which paper scale takes."""


def sized(scale: Scale, dataset: str = "", setting: Setting | None = None) -> Scale:
    """``scale`` with this notebook's width and setting of the victim (``setting`` if another one is asked for), or on
    another data set.

    Blended keeps its random picture below paper scale: the ninety models of these tables were recorded with it.
    """
    part = SLICES[scale.plans]
    there = replace(scales.on(scale, dataset or scale.dataset), width=part.width)
    if scale.plans != "paper":
        there = replace(there, changes={**there.changes, "blended": {"picture": "random"}})
    n_train, epochs = setting or part.setting
    if not n_train or there.dataset != scale.dataset:
        return there
    return replace(there, n_train=n_train, n_clean=n_train // 20, epochs=epochs)


def ratio(scale: Scale, per_class: int) -> float:
    """Poisoning ratio of ``per_class`` images of each class but the target."""
    return per_class * (CLASSES[scale.dataset] - 1) / (scale.n_train or SIZES[scale.dataset])


def seeds(scale: Scale, seed: int) -> range:
    """The seeds of ``scale``, beginning with the notebook's own."""
    return range(seed, seed + SLICES[scale.plans].seeds)


def repeats(scale: Scale, seed: int) -> range:
    """The seeds of the ablations."""
    return range(seed, seed + SLICES[scale.plans].repeats)


def main_budget(scale: Scale) -> int:
    """Images per class of everything that is drawn for one budget."""
    return SLICES[scale.plans].per_class[0]


def chosen(
    scale: Scale,
    strategy: str,
    per_class: int,
    seed: int,
    attack: str = ATTACK,
    surrogate: Net | None = None,
    setting: Setting | None = None,
    **params: Any,
) -> SelectSpec:
    """The search of ``strategy``; ``params`` change its hyper-parameters."""
    changes: dict[str, Any] = {}
    if strategy in SEARCHES:
        model, width = surrogate or (PREACT, SLICES[scale.plans].surrogate)
        changes = {"width": width} if model == PREACT else {"width": width, "model": model}
    there = sized(scale, scale.dataset, setting)
    return plan.select(there, strategy, attack, ratio(there, per_class), seed=seed, params=params, **changes)


def victim(
    scale: Scale,
    strategy: str,
    per_class: int,
    seed: int,
    attack: str = ATTACK,
    net: Net | None = None,
    surrogate: Net | None = None,
    setting: Setting | None = None,
    **params: Any,
) -> TrainSpec:
    """The model, ``net`` if it is not the usual one, that is trained on what ``strategy`` selected."""
    there = sized(scale, scale.dataset, setting)
    fields: dict[str, Any] = {}
    if net is not None:
        fields = {"width": net[1]} if net[0] == PREACT else {"width": net[1], "model": net[0]}
    if strategy != "random":
        fields["selected"] = chosen(scale, strategy, per_class, seed, attack, surrogate, setting, **params)
    return plan.train(there, attack, ratio(there, per_class), seed=seed, **fields)


class Cell(NamedTuple):
    """One victim of the grid."""

    attack: str
    per_class: int
    seed: int
    strategy: str
    spec: TrainSpec


def cells(scale: Scale, seed: int, dataset: str = "") -> Iterator[Cell]:
    """The grid on the data set of ``scale``, or on another one that the scale runs (else none): main budget first, seed
    by seed.

    A clean-label attack cannot poison more than the target class holds; such cells do not exist.
    """
    part = SLICES[scale.plans]
    there = sized(scale, dataset) if dataset in ("", *part.elsewhere) else scale
    budgets = part.elsewhere.get(dataset, ()) if dataset else part.per_class
    for k in budgets:
        for attack in part.attacks:
            if attack == "sig" and ratio(there, k) > 1 / CLASSES[there.dataset]:
                continue
            for s in seeds(scale, seed):
                for strategy in ORDER:
                    yield Cell(attack, k, s, strategy, victim(there, strategy, k, s, attack))


def own_cells(scale: Scale, seed: int) -> Iterator[Cell]:
    """The cells of :data:`ATTACK` on the usual data set."""
    return (cell for cell in cells(scale, seed) if cell.attack == ATTACK)


def main_cells(scale: Scale, seed: int) -> Iterator[Cell]:
    """Of these the ones at the main budget."""
    return (cell for cell in own_cells(scale, seed) if cell.per_class == main_budget(scale))


def searches(scale: Scale, seed: int) -> list[Spec]:
    """The searches of :data:`SEARCHES` for :data:`ATTACK`."""
    return [cell.spec.selected for cell in own_cells(scale, seed) if cell.strategy in SEARCHES and cell.spec.selected]


def montage_spec(scale: Scale, strategy: str, seed: int) -> AnalysisSpec:
    """Pictures and features of what ``strategy`` selected, at the main budget and the notebook's own seed."""
    return plan.analyse(
        "selected", victim(scale, strategy, main_budget(scale), seed), seed=seed, n=CLASSES[scale.dataset] - 1
    )


def setting_planned(scale: Scale, seed: int) -> list[Spec]:
    """The victims of :func:`setting_specs`; none at a scale with one setting."""
    return [cell.spec for _, cell in setting_specs(scale, seed)] if SLICES[scale.plans].settings else []


def montage_specs(scale: Scale, seed: int) -> list[Spec]:
    """Pictures and features of what every strategy selected."""
    return [montage_spec(scale, strategy, seed) for strategy in ORDER]


def forgetting_spec(scale: Scale, strategy: str, seed: int) -> AnalysisSpec:
    """The victim trained once more, forgetting events counted."""
    return plan.analyse("dynamics", victim(scale, strategy, main_budget(scale), seed), seed=seed)


def analysis_specs(scale: Scale, seed: int) -> list[Spec]:
    """The usual victims, and those whose forgetting is counted."""
    counted = [forgetting_spec(scale, name, seed) for name in ORDER] if SLICES[scale.plans].forgetting else []
    return [*(cell.spec for cell in own_cells(scale, seed)), *counted]


def constraint_specs(scale: Scale, seed: int) -> Iterator[tuple[str, int, TrainSpec]]:
    """Row, seed and victim of the ablation of constraints; the first rows are strategies of the grid."""
    part, k = SLICES[scale.plans], main_budget(scale)
    for s in repeats(scale, seed):
        for name in ("lps", "balanced", "random"):
            yield name, s, victim(scale, name, k, s)
        for name in part.constraints:
            if CONSTRAINTS[name]:
                yield name, s, victim(scale, "lps", k, s, **CONSTRAINTS[name])


def pair_specs(scale: Scale, seed: int) -> Iterator[tuple[Net, Net, int, TrainSpec, TrainSpec]]:
    """Surrogate, victim, seed, and the victim's training on what LPS selected with that surrogate and on a random
    draw."""
    k = main_budget(scale)
    for s in repeats(scale, seed):
        for one, other in SLICES[scale.plans].pairs:
            yield (
                one,
                other,
                s,
                victim(scale, "lps", k, s, net=other, surrogate=one),
                victim(scale, "random", k, s, net=other),
            )


def round_specs(scale: Scale, seed: int) -> Iterator[tuple[str, int, int, int, TrainSpec]]:
    """``T`` or ``K``: what is swept; T, K, seed and victim."""
    part, k = SLICES[scale.plans], main_budget(scale)
    for s in repeats(scale, seed):
        for swept, points in (("T", part.rounds), ("K", part.epochs)):
            for t, epochs in points:
                yield swept, t, epochs, s, victim(scale, "lps", k, s, rounds=t, epochs=epochs)


def setting_specs(scale: Scale, seed: int) -> Iterator[tuple[Setting, Cell]]:
    """Random selection and LPS with :data:`ATTACK`, in this scale's setting and in the others."""
    part = SLICES[scale.plans]
    own = sized(scale)
    for setting, budgets in {(own.n_train, own.epochs): part.per_class, **part.settings}.items():
        for k in budgets:
            for s in seeds(scale, seed):
                for name in ("random", "lps"):
                    yield setting, Cell(ATTACK, k, s, name, victim(scale, name, k, s, setting=setting))


def defended_specs(scale: Scale, seed: int) -> list[tuple[str, str, int, Spec]]:
    """Strategy, defense (or ``none``), seed, and the victim at the main budget after that defense."""
    part, found = SLICES[scale.plans], []
    for s in repeats(scale, seed):
        for name in part.defended:
            parent = victim(scale, name, main_budget(scale), s)
            found += [(name, d, s, defended(sized(scale), parent, d)) for d in ("none", *part.defenses)]
    return found


def asr_frame(results: Results, dataset: str = "") -> pd.DataFrame:
    """Tidy: ``attack, per_class, ratio, strategy, seed, asr, c_acc`` of the cells that were run.

    Raises
    ------
    NotRun
        None was, or the scale does not run this data set.
    """
    planned = list(cells(results.scale, results.seed, dataset))
    if not planned:
        raise NotRun(
            f"{style.title('dataset', dataset)} is planned at paper scale; `paperlib data fetch {dataset}` gets it"
        )
    rows = [
        (attack, k, spec.ratio, strategy, s, result["asr"], result["c_acc"])
        for attack, k, s, strategy, spec in planned
        if (result := results.get(spec)) is not None
    ]
    if not rows:
        raise NotRun(f"no result at {results.scale.name} scale")
    return pd.DataFrame(rows, columns=["attack", "per_class", "ratio", "strategy", "seed", "asr", "c_acc"])


Budget = tuple[str, int]
"""An attack and a number of images per class."""


def in_range(frame: pd.DataFrame) -> list[Budget]:
    """Where random selection has a mean ASR within :data:`IN_RANGE`.

    Raises
    ------
    NotRun
        Nowhere.
    """
    means = frame[frame.strategy == "random"].groupby(["attack", "per_class"]).asr.mean()
    found = [(str(attack), int(k)) for attack, k in means[means.between(*IN_RANGE)].index]
    if not found:
        raise NotRun(f"random selection has no mean ASR between {IN_RANGE[0]:g} and {IN_RANGE[1]:g}")
    return found


def at_budgets(frame: pd.DataFrame, budgets: Iterable[Budget]) -> pd.DataFrame:
    return frame[pd.MultiIndex.from_frame(frame[["attack", "per_class"]]).isin(list(budgets))]


def both_of(frame: pd.DataFrame, one: str, other: str, budgets: Iterable[Budget]) -> pd.DataFrame:
    """ASR of two strategies with the same attack, seed and budget."""
    wide = at_budgets(frame, budgets).pivot(index=["attack", "per_class", "seed"], columns="strategy", values="asr")
    for name in (one, other):
        if name not in wide:
            raise NotRun(f"{style.title('selection', name)} has no result at these ratios")
    both = wide[[one, other]].dropna()
    if both.empty:
        raise NotRun(f"no seed has both {style.title('selection', one)} and {style.title('selection', other)}")
    return both


def searched(results: Results) -> Iterator[tuple[int, int, str, dict[str, Any]]]:
    """Seed, budget, strategy and result of every search for :data:`ATTACK` that was run."""
    for cell in own_cells(results.scale, results.seed):
        if cell.spec.selected and (result := results.get(cell.spec.selected)) is not None:
            yield cell.seed, cell.per_class, cell.strategy, result


def found(results: Results, planned: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """Of ``planned``, tuples that end in a spec, those that have a result, which stands instead of the spec."""
    for *names, spec in planned:
        if (result := results.get(spec)) is not None:
            yield *names, result
