"""The LPS paper (arXiv 2307.07328): grid, tables, figures and claims of notebook 03.

Setting: target class 0, PreAct-ResNet18 as surrogate and as victim, small poisoning ratios. A budget is a number of images per
class, times the classes that may be poisoned: then every strategy with a constraint on classes meets it exactly. None of
the paper's numbers is available to us, so nothing is compared with print; the paper's statements are checked on our results.

A scale runs a slice (:data:`SLICES`). At laptop scale the victim has width 8, which trains in 0.4 of the time of the other
notebooks' width 16, and sees 4,000 images 40 times instead of 10,000 images 15 times: what is hard to learn needs passes (table
``passes`` compares the two). The first budget is the main one: its cells come first, seed by seed, random selection and LPS
before the others, and everything that is drawn for one budget is drawn for it.
"""

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from paperlib.experiments import plan as ex
from paperlib.experiments import scales
from paperlib.experiments.scales import Scale
from paperlib.experiments.specs import AnalysisSpec, DefendSpec, SelectSpec, TrainSpec
from paperlib.lab.spec import Spec
from paperlib.papers import Item, Results, shared
from paperlib.report import style, tables
from paperlib.report.artefact import Artefact
from paperlib.report.claims import Claim, NotRun, Verdict

PAPER = "selection"
ATTACK = "blended"
"""The attack of everything but the tables of ASR."""
STRATEGIES = ("random", "balanced", "fus", "lps")
ORDER = ("random", "lps", "balanced", "fus")
"""In which the strategies are run."""
SEARCHES = ("fus", "lps")
IN_RANGE = (20.0, 90.0)
"""Mean ASR of random selection, in percent, between which a ratio can tell strategies apart."""
UNPUBLISHED = "not published to us"

Net = tuple[str, int]
"""A model and its width."""
Setting = tuple[int, int]
"""Training images and epochs of the victim; (0, 0): those of the scale."""
PREACT = "preact_resnet18"
CONSTRAINTS: dict[str, dict[str, Any]] = {
    "PC and CE (LPS)": {}, "without PC": {"pc": False}, "without CE": {"ce": False}, "neither": {"pc": False, "ce": False},
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
        (ATTACK,), (2,), seeds=2, setting=(0, 0), width=8, surrogate=4, repeats=1, constraints=("without PC",),
        pairs=(((PREACT, 4), (PREACT, 8)), ((PREACT, 4), (PREACT, 4))),
        rounds=((1, 1), (4, 1)), epochs=(), defended=("random", "lps"), defenses=("fp", "ft"),
        forgetting=False, elsewhere={}, settings={},
    ),
    "laptop": Slice(
        (ATTACK,), (10, 8), seeds=5, setting=(4_000, 40), width=8, surrogate=8, repeats=2, constraints=tuple(CONSTRAINTS),
        pairs=(((PREACT, 8), (PREACT, 8)), ((PREACT, 4), (PREACT, 8)), ((PREACT, 8), (PREACT, 16))),
        rounds=((1, 1), (5, 1), (10, 1)), epochs=((5, 1), (5, 2)), defended=STRATEGIES,
        defenses=("fp", "nad", "i_bau", "ft"), forgetting=True, elsewhere={},
        settings={(10_000, 15): (20, 40)},
    ),
    "paper": Slice(
        ("badnets", "badnets_a2a", ATTACK, "sig", "ssba", "trojannn"), (12, 24, 6, 48, 3), seeds=5, setting=(0, 0), width=64, surrogate=64,
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


# ------------------------------------------------------------------------------------------------------- the grid


def sized(scale: Scale, dataset: str = "", setting: Setting | None = None) -> Scale:
    """``scale`` with this notebook's width and setting of the victim (``setting`` if another one is asked for), or on another data set."""
    part = SLICES[scale.name]
    there = replace(scales.on(scale, dataset or scale.dataset), width=part.width)
    n_train, epochs = setting or part.setting
    if not n_train or there.dataset != scale.dataset:
        return there
    return replace(there, n_train=n_train, n_clean=n_train // 20, epochs=epochs)


def ratio(scale: Scale, per_class: int) -> float:
    """Poisoning ratio of ``per_class`` images of each class but the target."""
    return per_class * (CLASSES[scale.dataset] - 1) / (scale.n_train or SIZES[scale.dataset])


def seeds(scale: Scale, seed: int) -> range:
    """The seeds of ``scale``, beginning with the notebook's own."""
    return range(seed, seed + SLICES[scale.name].seeds)


def repeats(scale: Scale, seed: int) -> range:
    """The seeds of the ablations."""
    return range(seed, seed + SLICES[scale.name].repeats)


def main_budget(scale: Scale) -> int:
    """Images per class of everything that is drawn for one budget."""
    return SLICES[scale.name].per_class[0]


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
        model, width = surrogate or (PREACT, SLICES[scale.name].surrogate)
        changes = {"width": width} if model == PREACT else {"width": width, "model": model}
    there = sized(scale, scale.dataset, setting)
    return ex.select(there, strategy, attack, ratio(there, per_class), seed=seed, params=params, **changes)


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
    return ex.train(there, attack, ratio(there, per_class), seed=seed, **fields)


class Cell(NamedTuple):
    """One victim of the grid."""

    attack: str
    per_class: int
    seed: int
    strategy: str
    spec: TrainSpec


def cells(scale: Scale, seed: int, dataset: str = "") -> Iterator[Cell]:
    """The grid on the data set of ``scale``, or on another one that the scale runs (else none): main budget first, seed by seed.

    A clean-label attack cannot poison more than the target class holds; such cells do not exist.
    """
    part = SLICES[scale.name]
    there = sized(scale, dataset) if dataset in ("", *part.elsewhere) else scale
    budgets = part.elsewhere.get(dataset, ()) if dataset else part.per_class
    for k in budgets:
        for attack in part.attacks:
            if attack == "sig" and ratio(there, k) > 1 / CLASSES[there.dataset]:
                continue
            for s in seeds(scale, seed):
                for strategy in ORDER:
                    yield Cell(attack, k, s, strategy, victim(there, strategy, k, s, attack))


def _grid(dataset: str = "") -> Callable[[Scale, int], list[Spec]]:
    return lambda scale, seed: [cell.spec for cell in cells(scale, seed, dataset)]


def _own(scale: Scale, seed: int) -> Iterator[Cell]:
    """The cells of :data:`ATTACK` on the usual data set."""
    return (cell for cell in cells(scale, seed) if cell.attack == ATTACK)


def _main(scale: Scale, seed: int) -> Iterator[Cell]:
    """Of these the ones at the main budget."""
    return (cell for cell in _own(scale, seed) if cell.per_class == main_budget(scale))


def _searches(scale: Scale, seed: int) -> list[Spec]:
    return [cell.spec.selected for cell in _own(scale, seed) if cell.strategy in SEARCHES and cell.spec.selected]


def montage_spec(scale: Scale, strategy: str, seed: int) -> AnalysisSpec:
    """Pictures and features of what ``strategy`` selected, at the main budget and the notebook's own seed."""
    return ex.analyse(
        "selected", victim(scale, strategy, main_budget(scale), seed), seed=seed, n=CLASSES[scale.dataset] - 1
    )


def _settings(scale: Scale, seed: int) -> list[Spec]:
    return [cell.spec for _, cell in setting_specs(scale, seed)] if SLICES[scale.name].settings else []


def _montage(scale: Scale, seed: int) -> list[Spec]:
    return [montage_spec(scale, strategy, seed) for strategy in ORDER]


def forgetting_spec(scale: Scale, strategy: str, seed: int) -> AnalysisSpec:
    """The victim trained once more, forgetting events counted."""
    return ex.analyse("dynamics", victim(scale, strategy, main_budget(scale), seed), seed=seed)


def _analysis(scale: Scale, seed: int) -> list[Spec]:
    counted = [forgetting_spec(scale, name, seed) for name in ORDER] if SLICES[scale.name].forgetting else []
    return [*(cell.spec for cell in _own(scale, seed)), *counted]


def constraint_specs(scale: Scale, seed: int) -> Iterator[tuple[str, int, TrainSpec]]:
    """Row, seed and victim of the ablation of constraints; the first rows are strategies of the grid."""
    part, k = SLICES[scale.name], main_budget(scale)
    for s in repeats(scale, seed):
        for name in ("lps", "balanced", "random"):
            yield name, s, victim(scale, name, k, s)
        for name in part.constraints:
            if CONSTRAINTS[name]:
                yield name, s, victim(scale, "lps", k, s, **CONSTRAINTS[name])


def pair_specs(scale: Scale, seed: int) -> Iterator[tuple[Net, Net, int, TrainSpec, TrainSpec]]:
    """Surrogate, victim, seed, and the victim's training on what LPS selected with that surrogate and on a random draw."""
    k = main_budget(scale)
    for s in repeats(scale, seed):
        for one, other in SLICES[scale.name].pairs:
            yield (
                one,
                other,
                s,
                victim(scale, "lps", k, s, net=other, surrogate=one),
                victim(scale, "random", k, s, net=other),
            )


def round_specs(scale: Scale, seed: int) -> Iterator[tuple[str, int, int, int, TrainSpec]]:
    """``T`` or ``K``: what is swept; T, K, seed and victim."""
    part, k = SLICES[scale.name], main_budget(scale)
    for s in repeats(scale, seed):
        for swept, points in (("T", part.rounds), ("K", part.epochs)):
            for t, epochs in points:
                yield swept, t, epochs, s, victim(scale, "lps", k, s, rounds=t, epochs=epochs)


def setting_specs(scale: Scale, seed: int) -> Iterator[tuple[Setting, Cell]]:
    """Random selection and LPS with :data:`ATTACK`, in this scale's setting and in the others."""
    part = SLICES[scale.name]
    own = sized(scale)
    for setting, budgets in {(own.n_train, own.epochs): part.per_class, **part.settings}.items():
        for k in budgets:
            for s in seeds(scale, seed):
                for name in ("random", "lps"):
                    yield setting, Cell(ATTACK, k, s, name, victim(scale, name, k, s, setting=setting))


def defended_specs(scale: Scale, seed: int) -> Iterator[tuple[str, str, int, TrainSpec, DefendSpec | None]]:
    """Strategy, defense, seed, victim and its defense (None: undefended), at the main budget."""
    part = SLICES[scale.name]
    for s in repeats(scale, seed):
        for name in part.defended:
            parent = victim(scale, name, main_budget(scale), s)
            yield name, "none", s, parent, None
            for defense in part.defenses:
                yield name, defense, s, parent, ex.defend(sized(scale), parent, defense, seed=s)


# ------------------------------------------------------------------------------------------------------- results


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
    rows = []
    for cell in planned:
        if (result := results.get(cell.spec)) is not None:
            rows.append(
                (
                    cell.attack,
                    cell.per_class,
                    cell.spec.ratio,
                    cell.strategy,
                    cell.seed,
                    result["asr"],
                    result["c_acc"],
                )
            )
    if not rows:
        raise NotRun(f"no result at {results.scale.name} scale")
    return pd.DataFrame(rows, columns=["attack", "per_class", "ratio", "strategy", "seed", "asr", "c_acc"])


def _coverage(results: Results, count: int, dataset: str = "") -> str:
    return f"{count} of {len(list(cells(results.scale, results.seed, dataset)))} cells"


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


def _at(frame: pd.DataFrame, budgets: Iterable[Budget]) -> pd.DataFrame:
    return frame[pd.MultiIndex.from_frame(frame[["attack", "per_class"]]).isin(list(budgets))]


def _pairs(frame: pd.DataFrame, one: str, other: str, budgets: Iterable[Budget]) -> pd.DataFrame:
    """ASR of two strategies with the same attack, seed and budget."""
    wide = _at(frame, budgets).pivot(index=["attack", "per_class", "seed"], columns="strategy", values="asr")
    for name in (one, other):
        if name not in wide:
            raise NotRun(f"{style.title('selection', name)} has no result at these ratios")
    both = wide[[one, other]].dropna()
    if both.empty:
        raise NotRun(f"no seed has both {style.title('selection', one)} and {style.title('selection', other)}")
    return both


def _artefact(results: Results, id_: str, kind: str, **content: Any) -> Artefact:
    scale, part = results.scale, SLICES[results.scale.name]
    more = {
        "width": part.width, "surrogate_width": part.surrogate, "attacks": list(part.attacks),
        "per_class": list(part.per_class), "seeds": list(seeds(scale, results.seed)),
        "lps": dict(scale.changes.get("lps", {})), "fus": dict(scale.changes.get("fus", {})),
    }  # fmt: skip
    return shared.artefact(PAPER, results, id_, kind, more, **content)


def _where(results: Results, dataset: str = "") -> str:
    there = sized(results.scale, dataset)
    n = there.n_train or SIZES[there.dataset]
    epochs = f" {there.epochs} epochs," if SLICES[results.scale.name].setting[1] and not dataset else ""
    return f"{style.title('dataset', there.dataset)}, {n:,} images,{epochs} width {there.width}."


def _at_main(results: Results) -> str:
    """Where the figures of one budget belong."""
    k = main_budget(results.scale)
    return (
        f"{style.title('attack', ATTACK)}, {k} images per class ({100 * ratio(sized(results.scale), k):.2g} %). "
        f"{_where(results)}"
    )


# ------------------------------------------------------------------------------------------------------- drawing


def _spread(values: "pd.Series[float]") -> str:
    if values.empty:
        return "–"
    spread = f" ± {values.std():.1f}" if len(values) > 1 else ""
    return f"{values.mean():.1f}{spread} ({len(values)})"


SPREAD = "Mean ± standard deviation over seeds (number of seeds)."


def draw_table(id_: str, dataset: str = "") -> Callable[[Results], Artefact]:
    """ASR of every strategy at every ratio: mean and standard deviation over the seeds, and their number."""

    def draw(results: Results) -> Artefact:
        frame = asr_frame(results, dataset)
        rows = []
        for (attack, k), group in frame.groupby(["attack", "per_class"], sort=True):
            row: dict[str, Any] = {
                "Attack": style.title("attack", attack), "Images per class": k, "Ratio, %": f"{100 * group.ratio.iloc[0]:.3g}",
            }  # fmt: skip
            for name in STRATEGIES:
                row[style.title("selection", name)] = _spread(group[group.strategy == name].asr)
            rows.append({**row, "C-Acc": _spread(group.c_acc), "Paper": UNPUBLISHED})
        caption = f"ASR (%) by strategy and poisoning ratio. {_where(results, dataset)}"
        notes = [
            f"{_coverage(results, len(frame), dataset)}. {SPREAD} C-Acc: of all strategies.",
            "Random selection draws from all classes, as the benchmark does: about one in ten of its images is of the target "
            "class and teaches the trigger nothing new. The other strategies take none of those.",
            "The paper's table has five ratios; its numbers are not available to us.",
        ]
        html = tables.to_html(pd.DataFrame(rows), caption, notes=notes)
        return _artefact(results, id_, "table", caption=caption, frame=frame, html=html)

    return draw


def draw_asr(results: Results) -> Artefact:
    """ASR over the ratio, a panel for each attack, a line for each strategy, with the standard deviation over seeds."""
    import matplotlib.pyplot as plt

    frame = asr_frame(results)
    part = SLICES[results.scale.name]
    columns = min(3, len(part.attacks))
    lines = -(-len(part.attacks) // columns)
    ticks = [100 * ratio(sized(results.scale), k) for k in sorted(part.per_class)]
    with style.context():
        size = (style.COLUMN * 1.3 if columns == 1 else style.PAGE, 2.6 * lines)
        figure, panels = plt.subplots(lines, columns, figsize=size, squeeze=False)
        said = []
        for axes, attack in zip(panels.flat, part.attacks, strict=False):
            for i, name in enumerate(STRATEGIES):
                mine = frame[(frame.attack == attack) & (frame.strategy == name)]
                found = mine.groupby("ratio").asr.agg(["mean", "std"]).reset_index()
                if found.empty:
                    continue
                x = 100 * found.ratio * (1 + 0.025 * (i - 1.5))  # side by side, so that the bars can be told apart
                axes.errorbar(
                    x, found["mean"], yerr=found["std"].fillna(0), capsize=2, **style.look("selection", name).plot()
                )
                ends = " to ".join(f"{v:.0f}" for v in found["mean"].iloc[[0, -1][: len(found)]])
                said.append(f"{style.title('attack', attack)}, {style.title('selection', name)} {ends}")
            axes.axhspan(*IN_RANGE, color="#f2f2f2", zorder=0)
            axes.set(xscale="log", xlabel="poisoning ratio, %", ylabel="ASR, %", ylim=(0, 100))
            axes.set_title(style.title("attack", attack))
            axes.set_xticks(ticks, [f"{tick:.2g}" for tick in ticks], minor=False)
            axes.minorticks_off()
        panels.flat[columns - 1].legend(fontsize=6.5, loc="center left", bbox_to_anchor=(1, 0.5))
    return _artefact(
        results, "asr", "figure", figure=figure, frame=frame,
        caption=f"ASR over the poisoning ratio, mean and standard deviation over seeds ({_coverage(results, len(frame))}). "
        f"{_where(results)}",
        alt=f"Mean ASR from the smallest to the largest ratio, in percent: {'; '.join(said)}. Grey: the range in which random "
        "selection leaves room in both directions.",
    )  # fmt: skip


def draw_defenses(results: Results) -> Artefact:
    """C-Acc and ASR of every strategy's victim after each defense."""
    part, rows = SLICES[results.scale.name], []
    for name, defense, s, parent, spec in defended_specs(results.scale, results.seed):
        if (result := results.get(spec or parent)) is not None:
            rows.append((name, defense, s, result["c_acc"], result["asr"]))
    if not any(defense != "none" for _, defense, *_ in rows):
        raise NotRun(f"no defended victim at {results.scale.name} scale")
    frame = pd.DataFrame(rows, columns=["strategy", "defense", "seed", "c_acc", "asr"])
    shown = []
    for defense in ("none", *part.defenses):
        row = {"Defense": style.title("defense", defense)}
        for name in part.defended:
            mine = frame[(frame.strategy == name) & (frame.defense == defense)]
            row[f"{style.title('selection', name)}: ASR"] = _spread(mine.asr)
            row["C-Acc" if len(part.defended) == 1 else f"{style.title('selection', name)}: C-Acc"] = _spread(
                mine.c_acc
            )
        shown.append({**row, "Paper": UNPUBLISHED})
    total = len(list(defended_specs(results.scale, results.seed)))
    ours = [style.title("defense", name) for name in part.defenses if name not in KNOWN_DEFENSES]
    caption = f"ASR and C-Acc (%) of what was selected, after defenses. {_at_main(results)}"
    notes = [
        f"{len(frame)} of {total} cells. {SPREAD}",
        f"The paper has six defenses; {', '.join(style.title('defense', name) for name in KNOWN_DEFENSES)} are among them, the "
        f"other two are not known to us. {' and '.join(ours)}: our choice.",
    ]
    html = tables.to_html(pd.DataFrame(shown), caption, notes=notes)
    return _artefact(results, "table_defenses", "table", caption=caption, frame=frame, html=html)


def draw_constraints(results: Results) -> Artefact:
    """LPS without its constraints, beside the draws that have the constraints and no search."""
    titles = {
        "lps": "LPS: PC and CE", "balanced": "no search: PC and CE (balanced random)", "random": "no search, no constraint (random)",
    }  # fmt: skip
    rows = []
    for name, s, spec in constraint_specs(results.scale, results.seed):
        if (result := results.get(spec)) is None:
            continue
        notes = results.get(spec.selected) if spec.selected else None
        counts = notes["per_class"] if notes else []
        others = counts[1:]
        rows.append(
            (
                titles.get(name, f"LPS {name}"),
                s,
                result["asr"],
                counts[0] if counts else np.nan,
                max(others) - min(others) if others else np.nan,
            )
        )
    if not rows:
        raise NotRun(f"no victim of the ablation at {results.scale.name} scale")
    frame = pd.DataFrame(rows, columns=["mask", "seed", "asr", "of_target", "spread"])
    shown = [
        {
            "Mask": name, "ASR, %": _spread(group.asr), "Images of the target class": _number(group.of_target),
            "Most minus least of the other classes": _number(group.spread), "Paper": UNPUBLISHED,
        }
        for name, group in frame.groupby("mask", sort=False)
    ]  # fmt: skip
    total = len(list(constraint_specs(results.scale, results.seed)))
    caption = f"LPS with and without its constraints. {_at_main(results)}"
    said = [
        f"{len(frame)} of {total} cells. {SPREAD}",
        "PC: the same number of every class; CE: none of the target class. The names are from memory. Which combinations the "
        "paper has is not known to us.",
    ]
    html = tables.to_html(pd.DataFrame(shown), caption, notes=said)
    return _artefact(results, "table_constraints", "table", caption=caption, frame=frame, html=html)


def _number(values: "pd.Series[float]") -> str:
    return "–" if values.isna().all() else f"{values.mean():.1f}"


def _net(net: Net, scale: Scale) -> str:
    """A model, with its width where the scale has several."""
    several = len({width for pair in SLICES[scale.name].pairs for _, width in pair}) > 1
    return style.title("model", net[0]) + (f" ({net[1]})" if several else "")


def draw_surrogate(results: Results) -> Artefact:
    """ASR of several victims on what LPS selected with several surrogates, beside random selection on the same victim."""
    import matplotlib.pyplot as plt

    scale, rows = results.scale, []
    for one, other, s, *specs in pair_specs(scale, results.seed):
        for name, spec in zip(("lps", "random"), specs, strict=True):
            if (result := results.get(spec)) is not None:
                rows.append((f"{_net(one, scale)}\n→ {_net(other, scale)}", name, s, result["asr"]))
    frame = pd.DataFrame(rows, columns=["pair", "strategy", "seed", "asr"])
    frame = frame[frame.pair.isin(frame.pair[frame.strategy == "lps"])]
    if frame.pair.nunique() < 2:
        raise NotRun(f"LPS ran with {frame.pair.nunique()} pair of surrogate and victim at {scale.name} scale")
    names = list(dict.fromkeys(frame.pair))
    with style.context():
        figure, axes = plt.subplots(figsize=(style.PAGE, 2.5))
        said = []
        for i, name in enumerate(("random", "lps")):
            mine = frame[frame.strategy == name].groupby("pair").asr.agg(["mean", "std"]).reindex(names)
            place = np.arange(len(names)) + 0.36 * (i - 0.5)
            axes.bar(
                place,
                mine["mean"],
                0.34,
                yerr=mine["std"].fillna(0),
                capsize=2,
                **style.look("selection", name).bar(),
            )
        for pair in names:
            means = frame[frame.pair == pair].groupby("strategy").asr.mean()
            values = " and ".join(f"{style.title('selection', n)} {v:.0f}" for n, v in means.items())
            said.append(f"{pair.replace(chr(10), ' ')}: {values}")
        axes.set(ylabel="ASR, %", ylim=(0, 100))
        axes.set_xticks(range(len(names)), names, fontsize=6.5)
        axes.legend(fontsize=6.5, ncols=2, loc="lower left", bbox_to_anchor=(0, 1))
    wanted = len({(one, other) for one, other, *_ in pair_specs(scale, results.seed)})
    return _artefact(
        results, "fig_surrogate", "figure", figure=figure, frame=frame.assign(pair=frame.pair.str.replace("\n", " ")),
        caption=f"Surrogate → victim{' (width)' if '(' in names[0] else ''}: ASR on what LPS selected, and on a random draw with the "
        f"same victim, mean and standard deviation over {frame.seed.nunique()} of {SLICES[scale.name].repeats} seeds; {len(names)} "
        f"of {wanted} pairs. {_at_main(results)}",
        alt=f"Mean ASR in percent. {'; '.join(said)}.",
    )  # fmt: skip


def draw_rounds(results: Results) -> Artefact:
    """ASR over the number of rounds T and over the surrogate's epochs K between two masks."""
    import matplotlib.pyplot as plt

    rows = []
    for swept, t, k, s, spec in round_specs(results.scale, results.seed):
        if (result := results.get(spec)) is not None:
            rows.append((swept, t, k, s, result["asr"]))
    frame = pd.DataFrame(rows, columns=["swept", "T", "K", "seed", "asr"])
    said = []
    sweeps = [swept for swept in "TK" if frame[frame.swept == swept][swept].nunique() > 1]
    if not sweeps:
        raise NotRun(f"no sweep over T or K has two points at {results.scale.name} scale")
    frame = frame[frame.swept.isin(sweeps)]
    with style.context():
        figure, panels = plt.subplots(
            1, len(sweeps), figsize=(style.COLUMN * len(sweeps), 2.3), sharey=True, squeeze=False
        )
        for axes, swept in zip(panels[0], sweeps, strict=True):
            mine, fixed = frame[frame.swept == swept], "TK".replace(swept, "")
            axes.set(xlabel={"T": "rounds T", "K": "epochs K of a round"}[swept], ylim=(0, 100))
            points = mine.groupby(swept).asr.agg(["mean", "std"])
            axes.errorbar(
                points.index,
                points["mean"],
                yerr=points["std"].fillna(0),
                capsize=2,
                **style.look("selection", "lps").plot(),
            )
            axes.set_xticks(list(points.index))
            axes.set_title(f"{fixed} = {mine[fixed].iloc[0]}")
            said += [f"{swept} = {value}: {mean:.0f}" for value, mean in points["mean"].items()]
        panels[0, 0].set_ylabel("ASR, %")
    total = len(list(round_specs(results.scale, results.seed)))
    return _artefact(
        results, "fig_rounds", "figure", figure=figure, frame=frame,
        caption=f"LPS with other numbers of rounds and epochs, mean and standard deviation over seeds ({len(frame)} of {total} "
        f"cells). {_at_main(results)}",
        alt=f"Mean ASR in percent. {', '.join(said)}.",
    )  # fmt: skip


STEPS = (
    ("trigger", "the attacker chooses\na trigger"),
    ("select", "LPS chooses which\nimages carry it"),
    ("poison", "they get the trigger\nand the target label"),
    ("train", "the victim trains\non all images"),
    ("activate", "the trigger turns any\nimage into the target"),
)


def draw_overview(results: Results) -> Artefact:
    """The five steps of an attack, a diagram of ours."""
    import matplotlib.pyplot as plt
    from matplotlib.patches import Rectangle

    mask = (0, 1, 0, 0, 1, 0, 1, 0)
    with style.context():
        figure, axes = plt.subplots(figsize=(style.PAGE, 1.3))
        axes.set(xlim=(0, 10), ylim=(0, 2))
        axes.axis("off")
        for k, (name, text) in enumerate(STEPS):
            colour = style.look("selection", "lps").colour if name == "select" else "#333333"
            axes.add_patch(Rectangle((2 * k + 0.05, 0.1), 1.65, 1.5, fill=False, edgecolor=colour, linewidth=1.2))
            axes.text(2 * k + 0.875, 1.75, f"{k + 1}  {name}", ha="center", color=colour)
            axes.text(2 * k + 0.875, 0.45, text, ha="center", va="center", fontsize=6)
            if k < len(STEPS) - 1:
                axes.annotate("", (2 * k + 2.05, 0.85), (2 * k + 1.7, 0.85), arrowprops={"arrowstyle": "->"})
            shown = {"trigger": (1,), "select": mask, "poison": mask, "train": mask, "activate": (1,)}[name]
            for i, marked in enumerate(shown):
                x, y = 2 * k + 0.3 + 0.3 * (i % 4), 1.25 - 0.3 * (i // 4)
                axes.add_patch(Rectangle((x, y), 0.22, 0.24, facecolor="#e4e4e4", edgecolor="#8a8a8a", linewidth=0.6))
                if marked:
                    axes.add_patch(Rectangle((x + 0.12, y), 0.1, 0.1, facecolor=colour))
    frame = pd.DataFrame(STEPS, columns=["step", "what"]).assign(what=lambda f: f.what.str.replace("\n", " "))
    return Artefact(
        paper=PAPER, id="fig_overview", kind="figure", scale="paper", figure=figure, frame=frame,
        caption="The five steps of a poisoning attack, redrawn: the selection is one of its own.",
        alt="Five boxes joined by arrows: " + "; ".join(f"{k}, {text}" for k, text in enumerate(frame.what, 1)) + ".",
    )  # fmt: skip


def _montages(results: Results) -> dict[str, dict[str, Any]]:
    """Strategy -> what the tool ``selected`` says about its images."""
    found = {name: results.get(montage_spec(results.scale, name, results.seed)) for name in STRATEGIES}
    there = {name: result for name, result in found.items() if result is not None}
    if not there:
        raise NotRun(f"no selected images at {results.scale.name} scale")
    return there


def draw_selected(results: Results) -> Artefact:
    """What each strategy selected, with the loss margins that the victim gives to clean and triggered pictures."""
    import matplotlib.pyplot as plt

    there = _montages(results)
    rows, said = [], []
    columns = min(9, CLASSES[results.scale.dataset] - 1)
    with style.context():
        figure, axes = plt.subplots(len(there), columns, figsize=(style.PAGE, 0.98 * len(there)), squeeze=False)
        for row, (name, result) in enumerate(there.items()):
            channels, height, width = result["shape"]
            for k in range(columns):
                place = axes[row, k]
                place.set(xticks=[], yticks=[])
                place.grid(False)
                for side in place.spines.values():
                    side.set_visible(False)
                if k < len(result["after"]):
                    pixels = np.frombuffer(base64.b64decode(result["after"][k]), np.uint8)
                    place.imshow(pixels.reshape(height, width, channels))
                    margins = result["clean_margin"][k], result["triggered_margin"][k]
                    place.set_xlabel(f"{margins[0]:.1f} | {margins[1]:.1f}", fontsize=6.5)
                    rows.append((name, k, result["y"][k], *margins))
            axes[row, 0].set_ylabel(style.title("selection", name).replace(" ", "\n"), fontsize=7)
            said.append(
                f"{style.title('selection', name)} {result['mean_clean']:.1f} and {result['mean_triggered']:.1f} "
                f"(random images {result['random_clean']:.1f} and {result['random_triggered']:.1f})"
            )
    frame = pd.DataFrame(rows, columns=["strategy", "position", "label", "clean_margin", "triggered_margin"])
    return _artefact(
        results, "fig_selected", "figure", figure=figure, frame=frame,
        caption="Selected images with their trigger, one of each class first; below each the victim's margin for the true class of "
        f"the clean picture | for the target of the triggered one ({len(there)} of {len(STRATEGIES)} strategies). {_at_main(results)}",
        alt=f"Rows of pictures, one row for each strategy. Mean margins, clean and triggered: {'; '.join(said)}.",
    )  # fmt: skip


def draw_place(results: Results) -> Artefact:
    """Where the selected images lie among others in the feature space of their victim."""
    import matplotlib.pyplot as plt

    there = _montages(results)
    parts = {"others": "other images", "clean": "selected", "triggered": "selected, with trigger"}
    rows, said = [], []
    with style.context():
        figure, axes = plt.subplots(1, len(there), figsize=(style.PAGE, 2.1), squeeze=False)
        for place, (name, result) in zip(axes[0], there.items(), strict=True):
            found = result["place"]
            xy = np.array(found["others"])
            place.scatter(*xy.T, s=5, c=[style.CLASSES[y % 10] for y in found["others_y"]], label=parts["others"])
            place.scatter(
                *np.array(found["clean"]).T,
                s=16,
                marker="o",
                facecolor="none",
                edgecolor="#333333",
                label=parts["clean"],
            )
            place.scatter(
                *np.array(found["triggered"]).T,
                s=14,
                marker="x",
                color="#333333",
                linewidth=0.8,
                label=parts["triggered"],
            )
            place.set(title=style.title("selection", name), xticks=[], yticks=[])
            rows += [(name, part, x, y) for part in parts for x, y in found[part]]
            said.append(f"{style.title('selection', name)} {found['to_own']:.2f} and {found['to_target']:.2f}")
        figure.legend(*axes[0, 0].get_legend_handles_labels(), fontsize=6.5, ncols=3, loc="outside lower center")
    return _artefact(
        results, "place", "figure", figure=figure, frame=pd.DataFrame(rows, columns=["strategy", "part", "x", "y"]),
        caption="Features of the victim in its own first two principal components; colour: true class; the selected images "
        f"({len(there)} of {len(STRATEGIES)} strategies). {_at_main(results)}",
        alt="Distance of the selected images, without trigger, to the centre of their own class and to that of the target, as a "
        f"multiple of what random images have: {'; '.join(said)}.",
    )  # fmt: skip


def draw_loss(results: Results) -> Artefact:
    """Loss of clean and of poisoned training images while the victim trains, main budget, mean over seeds."""
    import matplotlib.pyplot as plt

    rows = [
        (cell.strategy, cell.seed, e["epoch"], e.get("loss_clean"), e.get("loss_poisoned"))
        for cell in _main(results.scale, results.seed)
        if (result := results.get(cell.spec)) is not None
        for e in result["log"]
    ]
    if not rows:
        raise NotRun(f"no victim at the main budget of {results.scale.name} scale")
    frame = pd.DataFrame(rows, columns=["strategy", "seed", "epoch", "clean", "poisoned"]).astype(
        {"clean": float, "poisoned": float}
    )
    with style.context():
        figure, axes = plt.subplots(1, 2, figsize=(style.PAGE, 2.3))
        said = []
        for name in STRATEGIES:
            mean = frame[frame.strategy == name].groupby("epoch")[["clean", "poisoned"]].mean()
            if mean.empty:
                continue
            for place, column in zip(axes, ("poisoned", "clean"), strict=True):
                place.plot(mean.index, mean[column], **style.look("selection", name).plot())
                place.set(xlabel="epoch", ylabel="mean training loss", title=f"{column} images", yscale="log")
            said.append(f"{style.title('selection', name)} {mean.poisoned.iloc[-1]:.2g}")
        axes[0].legend(fontsize=6.5)
    count = frame[["strategy", "seed"]].drop_duplicates().shape[0]
    return _artefact(
        results, "fig_loss", "figure", figure=figure, frame=frame,
        caption=f"Training loss of the victim on poisoned and on clean images, mean over seeds ({count} of "
        f"{len(STRATEGIES) * SLICES[results.scale.name].seeds} victims). {_at_main(results)}",
        alt=f"Mean loss of the poisoned images after the last epoch: {', '.join(said)}. The clean images' curves lie together "
        "where the strategy does not matter for them.",
    )  # fmt: skip


def _notes(results: Results) -> Iterator[tuple[int, int, str, dict[str, Any]]]:
    """Seed, budget, strategy and result of every search for :data:`ATTACK` that was run."""
    for cell in _own(results.scale, results.seed):
        if cell.spec.selected and (result := results.get(cell.spec.selected)) is not None:
            yield cell.seed, cell.per_class, cell.strategy, result


def draw_overlap(results: Results) -> Artefact:
    """How much of the mask stays from round to round, and how far it is from where it began."""
    import matplotlib.pyplot as plt

    rows = [
        (name, s, k, t + 1, now, first)
        for s, k, name, result in _notes(results)
        if name in SEARCHES
        for t, (now, first) in enumerate(zip(result["overlap"], result["overlap_first"], strict=True))
    ]
    if not rows:
        raise NotRun(f"no search at {results.scale.name} scale")
    frame = pd.DataFrame(rows, columns=["strategy", "seed", "per_class", "round", "with_previous", "with_first"])
    budgets = sorted(frame.per_class.unique())
    with style.context():
        figure, axes = plt.subplots(1, 2, figsize=(style.PAGE, 2.3), sharey=True)
        said = []
        for i, name in enumerate(SEARCHES):
            for k in budgets:
                part = frame[(frame.strategy == name) & (frame.per_class == k)].groupby("round")
                mean = part[["with_previous", "with_first"]].mean() * 100
                if mean.empty:
                    continue
                look = {
                    **style.look("selection", name).plot(),
                    "alpha": 0.4 + 0.6 * (budgets.index(k) + 1) / len(budgets),
                }
                look["label"] = f"{style.title('selection', name)}, {k} per class"
                look["markersize"] = 3 + 1.5 * budgets.index(k) + 0.5 * i
                for place, column in zip(axes, ("with_previous", "with_first"), strict=True):
                    place.plot(mean.index, mean[column], **look)
                said.append(
                    f"{look['label']}: {mean.with_previous.iloc[-1]:.0f} % and {mean.with_first.iloc[-1]:.0f} %"
                )
        for place, title in zip(axes, ("with the round before", "with the first, random draw"), strict=True):
            place.set(xlabel="round", ylim=(-3, 103), title=title)
            place.set_xticks(range(1, int(frame["round"].max()) + 1))
        axes[0].set_ylabel("images in common, %")
        axes[1].legend(fontsize=6.5)
    count = frame[["strategy", "seed", "per_class"]].drop_duplicates().shape[0]
    return _artefact(
        results, "overlap", "figure", figure=figure, frame=frame,
        caption=f"Overlap of the selected sets between rounds, mean over seeds ({count} of {len(_searches(results.scale, results.seed))} "
        f"searches). {style.title('attack', ATTACK)}. {_where(results)}",
        alt=f"Images in common in the last round, with the round before and with the first draw: {'; '.join(said)}.",
    )  # fmt: skip


def draw_per_class(results: Results) -> Artefact:
    """How many images of each class a strategy takes, main budget, mean over seeds."""
    import matplotlib.pyplot as plt

    budget = main_budget(results.scale)
    rows = [
        (name, s, label, count)
        for s, k, name, result in _notes(results)
        if k == budget
        for label, count in enumerate(result["per_class"])
    ]
    if not rows:
        raise NotRun(f"no search with {budget} images per class at {results.scale.name} scale")
    frame = pd.DataFrame(rows, columns=["strategy", "seed", "label", "count"])
    shown = [name for name in STRATEGIES if name in set(frame.strategy)]
    with style.context():
        figure, axes = plt.subplots(figsize=(style.PAGE, 2.1))
        for i, name in enumerate(shown):
            mean = frame[frame.strategy == name].groupby("label")["count"].mean()
            axes.bar(
                mean.index + 0.8 * (i + 0.5) / len(shown) - 0.4,
                mean,
                0.8 / len(shown),
                **style.look("selection", name).bar(),
            )
        axes.axhline(budget, color="#555555", linewidth=0.8, linestyle=":")
        axes.set(xlabel="true class of the selected images", ylabel="images, mean over seeds")
        axes.set_xticks(sorted(frame.label.unique()))
        axes.legend(fontsize=6.5, ncols=len(shown), loc="lower left", bbox_to_anchor=(0, 1))
    spread = frame.groupby(["strategy", "seed"])["count"].agg(lambda c: c.iloc[1:].max() - c.iloc[1:].min())
    said = [f"{style.title('selection', n)} {spread[n].mean():.1f}" for n in shown]
    return _artefact(
        results, "per_class", "figure", figure=figure, frame=frame,
        caption=f"Selected images of each class, {budget} per class on average (dotted); class 0 is the target. {_at_main(results)}",
        alt=f"Difference between the most and the least selected class in one search, mean over seeds: {', '.join(said)}. None of "
        "these strategies selects images of the target class.",
    )  # fmt: skip


def draw_cost(results: Results) -> Artefact:
    """What a selection costs: epoch equivalents, trainings of the victim, seconds; and the defaults' true cost."""
    from paperlib.selection import SELECTIONS

    scale = results.scale
    frame = pd.DataFrame(
        [(name, s, k, result["epoch_equivalents"], result["seconds"]) for s, k, name, result in _notes(results)],
        columns=["strategy", "seed", "per_class", "epoch_equivalents", "seconds"],
    )
    if frame.empty:
        raise NotRun(f"no search at {scale.name} scale")
    epochs = sized(scale).epochs
    frame["trainings"] = frame.epoch_equivalents / epochs
    rows = []
    for name in STRATEGIES[1:]:
        found = frame[frame.strategy == name]
        if found.empty:
            continue
        config: Any = SELECTIONS.settings(name)
        default = getattr(config, "rounds", 0) * getattr(config, "epochs", 0)
        default += 2 / 3 * getattr(config, "rounds", 0) * (name == "lps")
        rows.append(
            {
                "Strategy": style.title("selection", name),
                "Epoch equivalents": f"{found.epoch_equivalents.mean():.1f}",
                f"Trainings of the victim ({epochs} epochs)": f"{found.trainings.mean():.2f}",
                "Seconds": f"{found.seconds.mean():.1f}",
                "At its default: epoch equivalents": f"{default:.0f}",
                "Trainings of 100 epochs": f"{default / 100:.2f}",
            }
        )
    part = SLICES[scale.name]
    caption = (
        f"Cost of a selection, mean over {len(frame)} searches. {style.title('attack', ATTACK)}. {_where(results)}"
    )
    notes = [
        "One epoch equivalent is a forward and backward pass over as many images as the training set has; a forward pass alone "
        "counts a third. LPS scores every image that may be poisoned twice in each round.",
        f"They are epochs of the surrogate, of width {part.surrogate}; the victim has width {part.width}. Random selection costs "
        "nothing.",
    ]
    html = tables.to_html(pd.DataFrame(rows), caption, notes=notes)
    return _artefact(results, "cost", "table", caption=caption, frame=frame, html=html)


def draw_passes(results: Results) -> Artefact:
    """Random selection and LPS where the victim sees each image more or less often."""
    scale = results.scale
    if not SLICES[scale.name].settings:
        raise NotRun("a second setting of the victim is run at laptop scale only")
    planned = list(setting_specs(scale, results.seed))
    rows = []
    for (n, epochs), cell in planned:
        if (result := results.get(cell.spec)) is not None:
            learned = result["log"][-1].get("loss_poisoned")
            rows.append((n, epochs, cell.per_class, cell.spec.ratio, cell.strategy, cell.seed, result["asr"], learned))
    if not rows:
        raise NotRun(f"no victim of random selection or LPS at {scale.name} scale")
    names = ["n_train", "epochs", "per_class", "ratio", "strategy", "seed", "asr", "learned"]
    frame = pd.DataFrame(rows, columns=names)
    shown = []
    for (images, passes, k), group in frame.groupby(["n_train", "epochs", "per_class"], sort=True):
        row: dict[str, Any] = {
            "Training images": f"{images:,}", "Epochs": passes, "Images per class": k, "Ratio, %": f"{100 * group.ratio.iloc[0]:.3g}",
        }  # fmt: skip
        for name in ("random", "lps"):
            mine = group[group.strategy == name]
            row[f"{style.title('selection', name)}: ASR, %"] = _spread(mine.asr)
            row[f"{style.title('selection', name)}: loss of poisoned images, last epoch"] = (
                f"{mine.learned.mean():.2f}" if len(mine) else "–"
            )
        shown.append({**row, "Paper": UNPUBLISHED})
    caption = (
        f"More images or more passes over them. {style.title('attack', ATTACK)}, width {SLICES[scale.name].width}."
    )
    notes = [
        f"{len(frame)} of {len(planned)} victims. {SPREAD}",
        "The settings take about as many steps. A loss of the poisoned images that ends above 2 is that of a victim that has "
        "not fitted what was selected.",
    ]
    html = tables.to_html(pd.DataFrame(shown), caption, notes=notes)
    return _artefact(results, "passes", "table", caption=caption, frame=frame, html=html)


def draw_analysis(results: Results) -> Artefact:
    """What a choice changes: classes, distance from the draw it began with, what the surrogate knew, what the victim learned."""
    scale, rows = results.scale, []
    for cell in _own(scale, results.seed):
        if (result := results.get(cell.spec)) is None:
            continue
        row = {
            "per_class": cell.per_class,
            "strategy": cell.strategy,
            "seed": cell.seed,
            "asr": result["asr"],
            "learned": result["log"][-1].get("loss_poisoned"),
        }
        notes = results.get(cell.spec.selected) if cell.spec.selected else None
        if notes:
            row["spread"] = max(notes["per_class"][1:]) - min(notes["per_class"][1:])
            if notes["overlap_first"]:
                row["replaced"] = 100 * (1 - notes["overlap_first"][-1])
            row |= {name: losses[-1] for name, losses in notes.get("loss", {}).items()}
        rows.append(row)
    if not rows:
        raise NotRun(f"no victim of {style.title('attack', ATTACK)} at {scale.name} scale")
    frame = pd.DataFrame(rows)
    columns = {
        "asr": "ASR, %", "learned": "Victim: loss of poisoned images, last epoch", "spread": "Most minus least of a class",
        "replaced": "Of the first draw replaced, %", "poisoned_all": "Surrogate's loss, triggered: all", "poisoned_chosen": "triggered: chosen",
        "clean_all": "clean: all", "clean_chosen": "clean: chosen",
    }  # fmt: skip
    frame = frame.reindex(columns=["per_class", "strategy", "seed", *columns]).astype(dict.fromkeys(columns, float))
    shown = []
    for (k, strategy), mine in sorted(frame.groupby(["per_class", "strategy"]), key=_by_strategy):
        name = str(strategy)
        row = {"Images per class": k, "Strategy": style.title("selection", name), "ASR, %": _spread(mine.asr)}
        row |= {
            title: "–" if mine[key].isna().all() else f"{mine[key].mean():.3g}"
            for key, title in columns.items()
            if key != "asr"
        }
        if SLICES[scale.name].forgetting:
            counted = results.get(forgetting_spec(scale, name, results.seed)) if k == main_budget(scale) else None
            row["Forgetting events per learned image"] = _forgotten(counted["poisoned"]) if counted else "–"
        shown.append(row)
    caption = f"What the choice changes, mean over seeds. {style.title('attack', ATTACK)}. {_where(results)}"
    notes_ = [
        f"{len(frame)} of {len(list(_own(scale, results.seed)))} victims. {_timing(frame)}",
        f"A surrogate that knows nothing has a loss of {np.log(CLASSES[scale.dataset]):.2f}. LPS takes what has a large loss with "
        "the trigger and a small one without; where the two losses of the triggered images are close, its surrogate has not "
        "told them apart.",
        f"Forgetting events: the victim of the first seed with {main_budget(scale)} images per class, trained once more."
        if SLICES[scale.name].forgetting
        else "",
    ]
    html = tables.to_html(pd.DataFrame(shown), caption, notes=[note for note in notes_ if note])
    return _artefact(results, "analysis", "table", caption=caption, frame=frame, html=html)


def _timing(frame: pd.DataFrame) -> str:
    """How far the victim's fit of the poisoned images alone, whoever chose them, explains the ASR."""
    both = frame[["asr", "learned"]].dropna()
    if len(both) < 5 or both.nunique().min() < 2:
        return ""
    rho = float(both.asr.corr(both.learned, method="spearman"))
    return f"Rank correlation of the victim's loss of its poisoned images with its ASR, over all of them: {rho:.2f}."


def _by_strategy(group: tuple[Any, pd.DataFrame]) -> tuple[int, int]:
    """By budget, then in the order of :data:`STRATEGIES`."""
    (k, name), _ = group
    return k, STRATEGIES.index(name)


def _forgotten(counted: Mapping[str, Any]) -> str:
    learned = sum(counted["events"])
    return f"{sum(i * n for i, n in enumerate(counted['events'])) / learned:.2f}" if learned else "none learned"


ITEMS: dict[str, Item] = {
    "fig_overview": Item(lambda scale, seed: [], draw_overview),
    "table_cifar10": Item(_grid(), draw_table("table_cifar10")),
    "table_cifar100": Item(_grid("cifar100"), draw_table("table_cifar100", "cifar100")),
    "table_tiny": Item(_grid("tiny_imagenet"), draw_table("table_tiny", "tiny_imagenet")),
    "table_defenses": Item(
        lambda s, seed: [spec or parent for *_, parent, spec in defended_specs(s, seed)], draw_defenses
    ),
    "table_constraints": Item(lambda s, seed: [spec for *_, spec in constraint_specs(s, seed)], draw_constraints),
    "fig_surrogate": Item(
        lambda s, seed: [spec for _, _, _, *both in pair_specs(s, seed) for spec in both], draw_surrogate
    ),
    "fig_rounds": Item(lambda s, seed: [spec for *_, spec in round_specs(s, seed)], draw_rounds),
    "fig_selected": Item(_montage, draw_selected),
    "fig_loss": Item(lambda s, seed: [cell.spec for cell in _main(s, seed)], draw_loss),
}
OURS: dict[str, Item] = {
    "asr": Item(_grid(), draw_asr),
    "analysis": Item(_analysis, draw_analysis),
    "passes": Item(_settings, draw_passes),
    "place": Item(_montage, draw_place),
    "overlap": Item(_searches, draw_overlap),
    "per_class": Item(lambda s, seed: [cell.spec for cell in _main(s, seed)], draw_per_class),
    "cost": Item(lambda s, seed: [cell.spec for cell in _own(s, seed)], draw_cost),
}


# -------------------------------------------------------------------------------------------------------- claims


def _noise(frame: pd.DataFrame, budgets: Iterable[Budget]) -> float:
    """Standard deviation of random selection's ASR from seed to seed, mean over budgets."""
    found = _at(frame[frame.strategy == "random"], budgets)
    spread = found.groupby(["attack", "per_class"]).asr.std().dropna()
    if spread.empty:
        raise NotRun("one seed has no noise; at least two are needed")
    return float(spread.mean())


def _beats(one: str, other: str, results: Results) -> Verdict:
    """Whether ``one`` exceeds ``other`` by more than the seed noise where random selection leaves room."""
    frame = asr_frame(results)
    budgets = in_range(frame)
    both, noise = _pairs(frame, one, other, budgets), _noise(frame, budgets)
    gains = both[one] - both[other]
    if len(gains) < 2:
        raise NotRun("one pair of runs, which decides nothing beside the seed noise")
    margin = float(gains.mean())
    names = [style.title("selection", name) for name in (one, other)]
    numbers = {
        f"ASR with {names[0]}": float(both[one].mean()),
        f"with {names[1]}": float(both[other].mean()),
        "margin": margin,
        "seed noise": noise,
    }
    numbers["standard error of the margin"] = float(gains.std() / len(gains) ** 0.5)
    scale = sized(results.scale)
    where = ", ".join(f"{style.title('attack', attack)} {100 * ratio(scale, k):.2g} %" for attack, k in budgets)
    compared = f"{len(both)} pairs of runs with equal attack, seed and ratio ({where})"
    word = "more" if margin > noise else "not more"
    return Verdict(margin > noise, f"over {compared} the margin is {word} than random's standard deviation", numbers)


def _grows(results: Results) -> Verdict:
    frame = asr_frame(results)
    planned = SLICES[results.scale.name].per_class
    smallest, largest = min(planned), max(planned)
    if smallest == largest:
        raise NotRun(f"one ratio is run at {results.scale.name} scale")
    attacks = SLICES[results.scale.name].attacks
    gains = [
        float((both.lps - both.random).mean())
        for both in (_pairs(frame, "lps", "random", [(name, k) for name in attacks]) for k in (smallest, largest))
    ]
    return Verdict(
        gains[0] < gains[1],
        f"gain of LPS over random at {smallest} and at {largest} images per class",
        {"gain at the smallest ratio": gains[0], "at the largest": gains[1]},
    )


def _cheap(results: Results) -> Verdict:
    found = [result["epoch_equivalents"] for _, _, name, result in _notes(results) if name == "lps"]
    if not found:
        raise NotRun("no search by LPS")
    trainings = max(found) / sized(results.scale).epochs
    return Verdict(trainings <= 2, "the most expensive search of LPS", {"trainings of the victim": trainings})


CLAIMS = [
    Claim(
        "lps_random", PAPER, "At the same ratio LPS reaches a higher ASR than random selection", "abstract",
        lambda results: _beats("lps", "random", results),
    ),
    Claim(
        "lps_fus", PAPER, "At the same ratio LPS reaches a higher ASR than FUS", "abstract",
        lambda results: _beats("lps", "fus", results),
    ),
    Claim(
        "lps_balanced", PAPER, "The gain of LPS is more than class balance: it beats balanced random selection",
        "ours (the paper ablates the constraint)", lambda results: _beats("lps", "balanced", results),
    ),
    Claim("lowest", PAPER, "LPS gains least at the lowest ratio", "public reviews of the paper", _grows),
    Claim("cheap", PAPER, "LPS costs at most two trainings of the victim", "ours", _cheap),
]  # fmt: skip
