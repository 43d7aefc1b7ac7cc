"""A table of attacks x defenses x settings: the shape of most tables of the papers on backdoors, as a value.

:class:`DefenseTable` says which attacks, which defenses, at which poisoning ratio, on which data set and model, with
how many clean images. It can be read, changed (``dataclasses.replace``) and turned into experiments::

    table = DefenseTable(("badnets", "blended"), ("ft", "ft_sam"), ratio=0.05)
    [cell.spec for cell in table.cells(scales.LAPTOP, seed=0)]

:func:`tidy` makes the frame of its results, :func:`averages`, :func:`learned` and :func:`seeds` what the papers make of
it. :class:`paperlib.papers.paper_table.PaperTable` sets it beside the printed numbers. Imports no torch.

Names. A defense is one of the registry, one of its variants, ``pruning`` (FP without its fine-tuning),
``at_from_scratch`` (another training of the attacker's data set, adversarial), or several joined by ``+``, which work
one after the other. An attack is one of the registry; ``NAME_a2a`` is the same with all-to-all labels; ``NAME+OTHER``
has a second trigger in the same training set.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from paperlib.attacks import ATTACKS, check_ratio, meant
from paperlib.defenses import DEFENSES, VARIANTS, applicable
from paperlib.errors import PaperlibError, choose
from paperlib.experiments import plan, scales
from paperlib.experiments.scales import Scale
from paperlib.experiments.specs import TrainSpec
from paperlib.lab.spec import Spec, pairs
from paperlib.metrics import der, der_of_averages, mean_of_ders
from paperlib.models import MODELS
from paperlib.papers import Results
from paperlib.papers.captions import PRINTED_DATASETS
from paperlib.report import compare, style
from paperlib.report.claims import NotRun

LEARNED = 50.0
"""Undefended ASR in percent below which a model counts as not backdoored: its rows say nothing about a defense."""
SEEDS = 3
"""How many seeds, from that of the notebook on, a table looks for."""
VICTIM_SEEDS = 5
"""How many seeds, from that of the notebook on, a claim about methods looks for."""
ONCE, EACH, NEVER = "once", "each", "never"
"""Whether the undefended models are cells: once for each model, once for each setting, or not at all."""
COLUMNS: dict[str, tuple[str, dict[str, Any]]] = {**VARIANTS, "pruning": ("fp", {"epochs": 0})}
"""Column of a table -> defense and the hyper-parameters that make it."""
TOLD = ("npd_tu", "npd_tp")
"""The columns that are told the true target."""
FROM_SCRATCH = "at_from_scratch"
NPD_ON_TINY = 6.0
"""NPD's radius on Tiny ImageNet, at paper scale."""


# ------------------------------------------------------------------------------------------------------ the cells


class Cell(NamedTuple):
    """One cell of a table: the names by which it is found, and the runs that give its numbers."""

    attack: str
    defense: str
    """``none``: the model before any defense."""
    setting: str
    """What else the cell is of, as the table prints it (``clean_ratio=0.01``); mostly empty."""
    spec: Spec
    parent: TrainSpec
    """The backdoored model, against which DER is."""


@dataclass(frozen=True)
class Setting:
    """One of the further settings of a table: its name there, and what it changes."""

    name: str = ""
    training: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the training (:func:`paperlib.experiments.plan.train`)."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """Hyper-parameters of the defense, and ``n_clean``."""


def backdoored(scale: Scale, attack: str, ratio: float = 0.1, seed: int = 0, **fields: Any) -> TrainSpec:
    """The model of ``attack``, as a table names it (see the module); ``fields`` are further ones of the training.

    Raises
    ------
    PaperlibError
        Unknown attack, or a ratio or field that cannot be.
    """
    first, second = attack_parts(attack)
    if first not in ATTACKS:
        first, fields = first.removesuffix("_a2a"), {"attack_params": pairs(labels="all_to_all"), **fields}
    if second:
        fields = {"second": plan.second(second, target=1), **fields}
    return plan.train(scale, first, ratio, seed=seed, **fields)


def attack_parts(attack: str) -> tuple[str, str]:
    """First and second attack of a name, both known."""
    first, _, second = attack.partition("+")
    choose("attack", first if first in ATTACKS else first.removesuffix("_a2a"), ATTACKS)
    if second:
        choose("second attack", second, ATTACKS)
    return first, second


def defended(scale: Scale, parent: Spec, defense: str, *, n_clean: int | None = None, **params: Any) -> Spec:
    """``defense``, as a table names it (see the module), on the model of ``parent``.

    Parameters
    ----------
    scale
        Its sizes; FT-SAM's radius is among them.
    parent
        The backdoored model, or one that a defense has been at already.
    defense
        ``none`` is the model itself.
    n_clean
        Clean images of the defender; default: 5 % of the training set.
    params
        Hyper-parameters of the defense, instead of those of the scale.

    Raises
    ------
    PaperlibError
        Unknown defense.
    """
    if defense == "none":
        return parent
    before, _, last = defense.rpartition("+")
    if before:  # what was pruned stays pruned while the rest is tuned
        done = defended(scale, parent, before, n_clean=n_clean)
        return defended(scale, done, last, n_clean=n_clean, keep_pruned=True, **params)
    victim = parent
    while not isinstance(victim, TrainSpec):
        victim = victim.parents()[0]
    if last == FROM_SCRATCH:
        kept = {
            "model": victim.model,
            "attack_params": meant(victim.attack, victim.attack_params),
            "target": victim.target,
        }
        return plan.train(scale, victim.attack, victim.ratio, seed=victim.seed, **kept, **plan.adversarially(scale))
    base, changes = COLUMNS.get(last, (last, {}))
    if base == "ft_sam":  # always written down, so that a sweep over the radius shares this result
        changes = {"rho": scale.rho, **changes}
    if base == "npd" and scale.plans == "paper" and victim.dataset == "tiny_imagenet":
        changes = {"rho": NPD_ON_TINY, **changes}
    if last in TOLD:
        everything = victim.attack == "badnets_a2a" or dict(victim.attack_params).get("labels") == "all_to_all"
        changes = {**changes, "target": "next" if everything else victim.target}
    return plan.defend(scale, parent, base, n_clean=n_clean, seed=parent.seed, **{**changes, **params})


def _works_on(defense: str, model: str) -> bool:
    parts = [COLUMNS.get(part, (part,))[0] for part in defense.split("+") if part != FROM_SCRATCH]
    return all(applicable(part, model) for part in parts)


def several(value: Any) -> tuple[Any, ...]:
    """``value`` as a tuple, where one is as good as several."""
    return tuple(value) if isinstance(value, list | tuple) else (value,)


@dataclass(frozen=True)
class DefenseTable:
    """Attacks x defenses x settings, as a value. Lists are taken as tuples.

    Parameters
    ----------
    attacks, defenses
        Names (see the module). The undefended model stands beside the defenses in any case.
    ratio
        Poisoning ratio, a fraction, or several.
    dataset
        Name of a data set, or ``folder:/path``. Below paper scale it has that scale's size; smoke has the digits for
        all but folders.
    model
        Architecture, or several.
    clean_ratio
        The defender's clean images as a fraction of the training set. Several become settings of their own.
    n_clean
        Their number, instead of ``clean_ratio``. Several become settings of their own.
    settings
        What else is varied.
    undefended
        :data:`ONCE`, :data:`EACH` or :data:`NEVER`.
    seeds
        Empty: that of the notebook, and those after it of which everything was computed, too.

    Raises
    ------
    PaperlibError
        An unknown name, or a number that cannot be.
    """

    attacks: tuple[str, ...]
    defenses: tuple[str, ...]
    ratio: float | tuple[float, ...] = 0.1
    dataset: str = "cifar10"
    model: str | tuple[str, ...] = "preact_resnet18"
    clean_ratio: float | tuple[float, ...] = 0.05
    n_clean: int | tuple[int, ...] | None = None
    settings: tuple[Setting, ...] = (Setting(),)
    undefended: str = ONCE
    seeds: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name in ("attacks", "defenses", "seeds"):
            value = getattr(self, name)
            object.__setattr__(self, name, tuple(dict.fromkeys(one for one in several(value) if one != "none")))
        for name in ("ratio", "model", "clean_ratio", "n_clean"):
            if isinstance(value := getattr(self, name), list):
                object.__setattr__(self, name, tuple(value))
        choose("undefended", self.undefended, (ONCE, EACH, NEVER))
        for attack in self.attacks:
            attack_parts(attack)
        for defense in self.defenses:
            for part in defense.split("+"):
                choose("defense", part, (*DEFENSES, *COLUMNS, FROM_SCRATCH))
        for model in several(self.model):
            choose("model", model, MODELS)
        for ratio in several(self.ratio):
            check_ratio(ratio)
        for clean in several(self.clean_ratio):
            if not isinstance(clean, int | float) or not 0 < clean < 1:
                raise PaperlibError(f"clean_ratio={clean!r} must lie between 0 and 1: a fraction of the training set.")
        for n in several(self.n_clean):
            if n is not None and (not isinstance(n, int) or n < 1):
                raise PaperlibError(f"n_clean={n!r} must be a whole number of clean images, at least 1.")
        for seed in self.seeds:
            if not isinstance(seed, int) or seed < 0:
                raise PaperlibError(f"seeds={list(self.seeds)!r} must be whole numbers, 0 or more.")

    def clean(self, scale: Scale) -> dict[str, int]:
        """Name of the setting, empty where there is only one -> clean images of the defender.

        Raises
        ------
        PaperlibError
            The training set does not hold so many, or the fraction of it is less than one image.
        """
        name, values = ("clean_ratio", self.clean_ratio) if self.n_clean is None else ("clean_samples", self.n_clean)
        found = {}
        for value in several(values):
            n = round(scale.n_clean * value / 0.05) if name == "clean_ratio" else value
            if n < 1 or n > (scale.n_train or n):
                raise PaperlibError(
                    f"n_clean={n} (from {name}={value}) must lie between 1 and the {scale.n_train:,} training images."
                )
            found[f"{name}={value:g}" if isinstance(values, tuple) else ""] = n
        return found

    def cells(self, scale: Scale, seed: int = 0) -> list[Cell]:
        """The cells at the sizes of ``scale``, one after the other as a reader goes through the table.

        Defenses that need what a model does not have are left out, as "NA".

        Raises
        ------
        PaperlibError
            A data set that this scale cannot use, or an attack that cannot be prepared as asked.
        """
        there, out = scales.on(scale, self.dataset), []
        for model in several(self.model):
            working = [name for name in self.defenses if _works_on(name, model)]
            for attack in self.attacks:
                for ratio in several(self.ratio):
                    shown = set()
                    for setting in self.settings:
                        fields = {"model": model, **there.networks.get(model, {}), **setting.training}
                        parent = backdoored(there, attack, ratio, seed, **fields)
                        for clean, n in self.clean(there).items():
                            name = ";".join(part for part in (setting.name, clean) if part)
                            if self.undefended == EACH or (self.undefended == ONCE and parent.key not in shown):
                                shown.add(parent.key)
                                out.append(
                                    Cell(attack, "none", name if self.undefended == EACH else "", parent, parent)
                                )
                            params = {"n_clean": n, **setting.params}
                            out += [
                                Cell(attack, d, name, defended(there, parent, d, **params), parent) for d in working
                            ]
        return out


def specs_of(cells: Iterable[Cell]) -> list[Spec]:
    """The experiments of ``cells``, backdoored models first, without repetition."""
    return list({spec.key: spec for cell in cells for spec in (cell.parent, cell.spec)}.values())


# ---------------------------------------------------------------------------------------------------- the numbers


def tidy(results: Results, cells: Iterable[Cell], metrics: Iterable[str] = ("ACC", "ASR", "DER")) -> pd.DataFrame:
    """One row for each number of the cells that have a result; DER is against the backdoored model.

    Parameters
    ----------
    results, cells
        What to look up, and where.
    metrics
        Which of ``ACC, ASR, R-ACC, DER``, and ``ASR-1, ASR-2`` of two triggers, in percent.

    Returns
    -------
    DataFrame
        :data:`paperlib.report.compare.KEYS`, ``value``, ``n_seeds`` and ``mark`` (:meth:`Results.mark`; a run that
        failed has no value): what :func:`paperlib.report.compare.compare` takes.
    """
    rows = []
    for attack, defense, setting, spec, parent in cells:
        after, before, mark = results.get(spec), results.get(parent), results.mark(spec)
        if after is None and mark and before is not None:  # it failed: shown, without a number
            after = {"c_acc": np.nan, "asr": np.nan, "r_acc": np.nan, "asr_2": np.nan}
        if after is None or before is None:
            continue
        values = {"ACC": after["c_acc"], "ASR": after["asr"], "R-ACC": after.get("r_acc")}
        if parent.second:
            values |= {"ASR-1": after["asr"], "ASR-2": after["asr_2"]}
            del values["ASR"]
        if defense != "none" and np.isnan(after["asr"]):
            values["DER"] = np.nan
        elif defense != "none":
            values["DER"] = float(der(before["c_acc"], before["asr"], after["c_acc"], after["asr"], unit="percent"))
        dataset = PRINTED_DATASETS.get(parent.dataset, parent.dataset)
        key = {"dataset": dataset, "model": parent.model, "ratio": parent.ratio, "attack": attack, "defense": defense}
        rows += [
            {**key, "setting": setting, "metric": metric, "value": value, "n_seeds": 1, "mark": mark}
            for metric, value in values.items()
            if metric in set(metrics) and value is not None
        ]
    return pd.DataFrame(rows, columns=[*compare.KEYS, "value", "n_seeds", "mark"])


def learned(results: Results, parents: Iterable[TrainSpec]) -> list[TrainSpec]:
    """Those of ``parents`` that have learned their backdoor: ASR at least :data:`LEARNED`.

    Raises
    ------
    NotRun
        A result is missing, or none has.
    """
    rates = {parent: results.need(parent)["asr"] for parent in parents}
    found = [parent for parent, rate in rates.items() if rate >= LEARNED]
    if not found:
        names = ", ".join(dict.fromkeys(parent.attack for parent in rates)) or "no attack"
        raise NotRun(f"none of {names} reaches an ASR of {LEARNED:g} at {results.scale.name} scale")
    return found


def names_of(attacks: Iterable[str | TrainSpec]) -> str:
    """Attacks, or those of backdoored models, as a text."""
    names = (one if isinstance(one, str) else one.attack for one in attacks)
    return ", ".join(style.title("attack", name) for name in dict.fromkeys(names)) or "none"


def over(parents: Iterable[TrainSpec]) -> str:
    """What a mean is over: the attacks of the ``parents`` that :func:`learned` gave, and how many models of them."""
    parents = list(parents)
    models = f"{len(parents)} models, " if len(parents) > len({parent.attack for parent in parents}) else ""
    return f"over {models}{names_of(parents)} (undefended ASR at least {LEARNED:g})"


def not_learned(results: Results, parents: Iterable[TrainSpec]) -> str:
    """A sentence that names the attacks that were run and not learned; empty if there are none."""
    parents, missing = list(parents), {}
    several_ratios = len({parent.ratio for parent in parents}) > 1
    for parent in parents:
        row = results.rows.get(parent.key)
        if row and row["result"]["asr"] < LEARNED:
            at = f" at {100 * parent.ratio:g} %" if several_ratios else ""
            missing[parent.key] = f"{names_of([parent])}{at} (ASR {row['result']['asr']:.1f})"
    if not missing:
        return ""
    return f"Not learned at this scale, so that nothing can be said about a defense: {', '.join(missing.values())}."


def paired(results: Results, cells: Iterable[Cell]) -> Iterator[tuple[Cell, dict[str, Any], dict[str, Any]]]:
    """Cell, result of the backdoored model and of the cell, of those whose backdoor was learned.

    Raises
    ------
    NotRun
        A result is missing.
    """
    for cell in cells:
        before = results.need(cell.parent)
        if before["asr"] >= LEARNED:  # what an attack that was not learned lacks decides nothing
            yield cell, before, results.need(cell.spec)


@dataclass(frozen=True)
class Victim:
    """A model that has learned its backdoor, and what every defense of a table makes of it."""

    parent: TrainSpec
    before: dict[str, Any]
    after: Mapping[tuple[str, str], dict[str, Any]]
    """(defense, setting) -> result."""

    def der(self, defense: str, setting: str = "") -> float:
        """DER of a defense, in percent."""
        return der_of(self.before, self.after[defense, setting])


def der_of(before: Mapping[str, Any], after: Mapping[str, Any]) -> float:
    """DER of a result against that of the backdoored model, in percent."""
    return float(der(before["c_acc"], before["asr"], after["c_acc"], after["asr"], unit="percent"))


def victims(results: Results, cells: Callable[[int], Iterable[Cell]]) -> list[Victim]:
    """The learned models of ``cells``: those of the seed of ``results``, and of the :data:`VICTIM_SEEDS` - 1 after it
    all those on which every defense was run, so that methods are compared in pairs.

    Parameters
    ----------
    results
        What there is.
    cells
        Seed -> cells.

    Raises
    ------
    NotRun
        A result of the first seed is missing, or none of its backdoors was learned.
    """
    found = []
    for seed in range(results.seed, results.seed + VICTIM_SEEDS):
        of: dict[TrainSpec, dict[tuple[str, str], Spec]] = {}
        for cell in cells(seed):
            if cell.defense != "none":
                of.setdefault(cell.parent, {})[cell.defense, cell.setting] = cell.spec
        get = results.need if seed == results.seed else results.get
        for parent, specs in of.items():
            before = get(parent)
            if before is not None and before["asr"] >= LEARNED:
                after = {name: one for name, spec in specs.items() if (one := get(spec)) is not None}
                if len(after) == len(specs):
                    found.append(Victim(parent, before, after))
        if not found:
            names = names_of(of) if of else "no attack"
            raise NotRun(f"none of {names} reaches an ASR of {LEARNED:g} at {results.scale.name} scale")
    return found


def averages(results: Results, cells: Sequence[Cell]) -> pd.DataFrame:
    """Means of every defense over the learned attacks on which it was run.

    Parameters
    ----------
    results, cells
        What to look up, and where; the cells of one setting.

    Returns
    -------
    DataFrame
        One row for ``none`` and for each defense, in the order of ``cells``: ``defense, c_acc, asr, r_acc``,
        ``der_mean`` (mean of the attacks' DERs, the rule of SAU), ``der_of_mean`` (DER of the means, the rule of FT-SAM
        and NPD), in percent, ``seconds`` (median), ``n`` (attacks).

    Raises
    ------
    NotRun
        There is none.
    """
    rows = []
    for defense in dict.fromkeys(cell.defense for cell in cells):
        found = [(results.get(cell.parent), results.get(cell.spec)) for cell in cells if cell.defense == defense]
        both = [(b, a) for b, a in found if b is not None and a is not None and b["asr"] >= LEARNED]
        if not both:
            continue
        row: dict[str, Any] = {"defense": defense}
        row |= {name: float(np.mean([a.get(name, np.nan) for _, a in both])) for name in ("c_acc", "asr", "r_acc")}
        if defense != "none":
            lists = [[pair[side][name] for pair in both] for side in (0, 1) for name in ("c_acc", "asr")]
            row |= {
                "der_mean": mean_of_ders(*lists, unit="percent"),
                "der_of_mean": der_of_averages(*lists, unit="percent"),
            }
            row["seconds"] = float(np.median([a.get("seconds", np.nan) for _, a in both]))
        rows.append({**row, "n": len(both)})
    if not rows:
        raise NotRun(f"no learned attack has a result at {results.scale.name} scale")
    return pd.DataFrame(rows)


def seconds(results: Results, cells: Iterable[Cell]) -> dict[str, list[float]]:
    """Defense -> seconds of its runs, of those cells that have a result.

    Raises
    ------
    NotRun
        None has.
    """
    taken: dict[str, list[float]] = {}
    for cell in cells:
        if cell.defense != "none" and (result := results.get(cell.spec)) is not None:
            taken.setdefault(cell.defense, []).append(result["seconds"])
    if not taken:
        raise NotRun(f"no defense has a result at {results.scale.name} scale")
    return taken


def seeds(results: Results, cells: Callable[[int], list[Cell]]) -> list[int]:
    """The seed of ``results``, and those after it for which everything that the first one has was computed, too.

    Parameters
    ----------
    results
        What there is.
    cells
        Seed -> cells.
    """

    def has(seed: int) -> list[bool]:
        return [spec.key in results.rows for cell in cells(seed) for spec in (cell.parent, cell.spec)]

    first = has(results.seed)
    others = range(results.seed + 1, results.seed + SEEDS) if any(first) else ()
    complete = [s for s in others if all(now or not before for now, before in zip(has(s), first, strict=True))]
    return [results.seed, *complete]
