"""One module per paper: its grid of experiments, how each table and figure is drawn from the results, and its claims.

A paper's module has

``ITEMS``
    id -> :class:`Item`; the ids are those of :func:`paperlib.report.published.inventory`;
``CLAIMS``
    list of :class:`paperlib.report.claims.Claim`;
``OURS``
    only where there are: id -> :class:`Item` of tables and figures that the paper does not have;
``READINGS``
    only where there are: id -> from the frame of the drawn item to sentences that say what its numbers say;
``CLAIMS_ON``
    only where the claims are checked on something else than our results: :data:`PRINTED`.

The inventory (``paperlib/published/inventory.csv``) says of every item that is not in ``ITEMS`` why: nothing can be
forgotten silently, and listing needs no paper's module. Importing a module imports no torch.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

from paperlib.errors import PaperlibError, choose
from paperlib.experiments import scales
from paperlib.experiments.scales import Scale
from paperlib.lab.spec import Spec
from paperlib.papers import marks
from paperlib.papers.former import Former
from paperlib.report import published

if TYPE_CHECKING:
    from paperlib.report.artefact import Artefact


PRINTED = "the printed numbers"


@dataclass(frozen=True)
class Paper:
    """What a reader must know to find the paper."""

    key: str
    short: str
    title: str
    authors: str
    venue: str
    arxiv: str
    notebook: str
    module: str = ""
    """Empty while no item of the paper is there."""
    more: tuple[str, ...] = ()
    """Further notebooks that show some of its items."""


PAPERS: dict[str, Paper] = {
    paper.key: paper
    for paper in (
        Paper(
            "vdc", "VDC", "VDC: Versatile Data Cleanser based on Visual-Linguistic Inconsistency by Multimodal Large "
            "Language Models", "Zhu, Zhang, Wei, Wu, Wu", "ICLR 2024", "2309.16211", "01_vdc", "paperlib.papers.vdc",
        ),
        Paper(
            "sau", "SAU", "Shared Adversarial Unlearning: Backdoor Mitigation by Unlearning Shared Adversarial "
            "Examples",
            "Wei, Zhang, Zha, Wu", "NeurIPS 2023", "2307.10562", "02_sau", "paperlib.papers.sau",
        ),
        Paper(
            "selection", "LPS", "Boosting Backdoor Attack with A Learnable Poisoning Sample Selection Strategy",
            "Zhu, Zhang, Wei, Shen, Fan, Wu", "arXiv 2023", "2307.07328", "03_selection", "paperlib.papers.selection",
        ),
        Paper(
            "polarizer", "NPD", "Neural Polarizer: A Lightweight and Effective Backdoor Defense via Purifying Poisoned "
            "Features", "Zhu, Wei, Zha, Wu", "NeurIPS 2023", "2306.16697", "04_polarizer", "paperlib.papers.polarizer",
        ),
        Paper(
            "ft_sam", "FT-SAM", "Enhancing Fine-Tuning Based Backdoor Defense with Sharpness-Aware Minimization",
            "Zhu, Wei, Shen, Fan, Wu", "ICCV 2023", "2304.11823", "05_ft_sam", "paperlib.papers.ft_sam",
        ),
        Paper(
            "mp_fair_regression", "MP", "Mean Parity Fair Regression in RKHS", "Wei, Liu, Li, Zha", "AISTATS 2023",
            "2302.10409", "06_mp_fair_regression", "paperlib.papers.mp_fair_regression",
        ),
        Paper(
            "benchmark", "BackdoorBench", "BackdoorBench: A Comprehensive Benchmark of Backdoor Learning",
            "Wu, Chen, Zhang, Zhu, Wei, Yuan, Shen", "NeurIPS 2022", "2206.12654", "07_benchmark",
            "paperlib.papers.benchmark",
            ("08_analysis_tools",),
        ),
    )
}  # fmt: skip


FIELDS = {"tool": "tool", "detector": "detector", "defense": "defense", "strategy": "selection", "attack": "attack"}
"""Field of a spec that says what is done -> the kind of name that it holds."""


def described(spec: Spec) -> str:
    """A run in words, e.g. ``"FT-SAM of BadNets on CIFAR-10, seed 0"``."""
    from paperlib.report import style

    done = next(
        (style.title(kind, name) for field, kind in FIELDS.items() if (name := getattr(spec, field, ""))), spec.kind
    )
    if spec.kind in ("prepare", "cleanse"):
        done = f"{spec.kind} for {done}"
    before = getattr(spec, "parent", None) or next(iter(getattr(spec, "inputs", ())), None)
    if before is not None:
        return f"{done} of {described(before)}"
    where = f" on {style.title('dataset', dataset)}" if (dataset := getattr(spec, "dataset", "")) else ""
    wrong = f" with {noise} wrong labels" if (noise := getattr(spec, "noise", "")) else ""
    left = " after cleaning" if getattr(spec, "cleansed", None) is not None else ""
    return f"{done}{where}{wrong}{left}, seed {spec.seed}"


@dataclass
class Results:
    """Results of one paper at one scale, by spec; what is missing is missing, never filled in."""

    scale: Scale
    seed: int
    rows: Mapping[str, Mapping[str, Any]]
    """Key of a spec -> its row {"key", "spec", "result", "provenance"}, as in the ledger."""
    used: set[str] = field(default_factory=set)
    """Keys that were looked up and found since the last :meth:`forget`."""
    earlier: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Of these, the keys of results by earlier versions -> of which methods, in words."""
    failed: dict[str, str] = field(default_factory=dict)
    """Likewise the keys of runs that failed (:mod:`paperlib.experiments.collapse`) -> which, and why."""
    current_only: bool = False

    def current(self) -> "Results":
        """The same without results of earlier versions: what claims are checked on."""
        return replace(self, current_only=True)

    @cached_property
    def _former(self) -> Former:
        return Former(self.rows.values())

    def get(self, spec: Spec) -> dict[str, Any] | None:
        """The result of ``spec``; where there is none, that of an earlier version of its methods, which :meth:`mark`
        tells; or None.

        A run that failed has no result.
        """
        row = self.rows.get(spec.key)
        if row is None and not self.current_only and (found := self._former.find(spec.to_dict())):
            row, self.earlier[found[0]["key"]] = found
        if row is None:
            return None
        key = row.get("key", spec.key)
        self.used.add(key)
        if why := row["result"].get("failed"):
            self.failed[key] = f"{described(spec)}: {why}"
            return None
        return row["result"]

    def before(self, spec: Spec) -> dict[str, Any] | None:
        """The result of ``spec`` by an earlier version of its methods, whether the current one has one or not; or
        None."""
        found = self._former.find(spec.to_dict())
        if found is None or "failed" in found[0]["result"]:
            return None
        self.used.add(found[0]["key"])
        self.earlier[found[0]["key"]] = found[1]
        return found[0]["result"]

    def mark(self, spec: Spec) -> str:
        """What a reader must know of the result of ``spec``: that it failed, or is by an earlier version; empty:
        nothing."""
        row = self.rows.get(spec.key)
        if row is not None:
            return f"failed: {row['result']['failed']}" if "failed" in row["result"] else ""
        found = None if self.current_only else self._former.find(spec.to_dict())
        return f"computed by an earlier version of {', '.join(found[1])}" if found else ""

    def remarks(self, earlier: bool = True) -> list[str]:
        """Sentences about failed runs, and with ``earlier`` about results of earlier versions, used since the last
        :meth:`forget`."""
        names = dict.fromkeys(name for methods in self.earlier.values() for name in methods)
        said = [f"Failed, and in no number: {one}." for one in self.failed.values()]
        if names and earlier:
            said.append(f"{len(self.earlier)} of the results are by an earlier version of {', '.join(names)}.")
        return said

    def need(self, spec: Spec) -> dict[str, Any]:
        """The result of ``spec``.

        Raises
        ------
        NotRun
            There is none.
        """
        from paperlib.report.claims import NotRun

        result = self.get(spec)
        if result is None:
            why = ""
            if spec.key in self.failed:
                why = " (the run failed)"
            elif self.current_only and self._former.find(spec.to_dict()):
                why = " (only one by an earlier version of a method, which decides nothing)"
            raise NotRun(f"{described(spec)} has no result at {self.scale.name} scale{why}")
        return result

    def forget(self) -> None:
        """Begin a new item: :attr:`used` starts empty."""
        self.used, self.earlier, self.failed = set(), {}, {}


class Changeable(Protocol):
    """What an item is of, as a value that a reader may change."""

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of what can be changed."""

    def changed(self, **changes: Any) -> "Changeable":
        """The same with other values; a PaperlibError names a value that cannot be."""

    def item(self) -> "Item":
        """The item of it."""


@dataclass(frozen=True)
class Item:
    """One regenerated table or figure."""

    specs: Callable[[Scale, int], Sequence[Spec]]
    """(scale, seed) -> the experiments it is drawn from."""
    draw: Callable[[Results], "Artefact"]
    """Results -> artefact. Missing results leave gaps that the caption counts; :class:`NotRun` where none is there."""
    table: "Changeable | None" = None
    """Where a reader may change what it is of: attacks, defenses, ratio, ..."""
    notebook: str = ""
    """Of an item that is not in the inventory: the notebook that shows it, where it is not the paper's own."""

    @property
    def parameters(self) -> tuple[str, ...]:
        """What a reader may change."""
        return self.table.parameters if self.table else ()

    def changed(self, **changes: Any) -> "Item":
        """The same item of something else: other attacks, defenses, ratio, data set, model, clean images or seeds.

        Parameters
        ----------
        changes
            Some of :attr:`parameters`.

        Raises
        ------
        PaperlibError
            The item takes no parameters, or not one of these, or a value that it cannot have.
        """
        if self.table is None:
            raise PaperlibError(f"{', '.join(changes)} cannot be changed: this item takes no parameters.")
        for name in changes:
            choose("parameter", name, self.parameters)
        return replace(self.table.changed(**changes).item(), notebook=self.notebook)


def module(paper: str) -> ModuleType | None:
    """The module of ``paper``, or None while it has none.

    Raises
    ------
    PaperlibError
        Unknown paper.
    """
    name = PAPERS[choose("paper", paper, PAPERS)].module
    return import_module(name) if name else None


def items(paper: str) -> dict[str, Item]:
    """The items of ``paper`` that are implemented."""
    found = module(paper)
    return found.ITEMS if found else {}


def drawable(paper: str) -> dict[str, Item]:
    """The items of ``paper`` that are implemented, and those of ours that the paper does not have."""
    return {**items(paper), **getattr(module(paper), "OURS", {})}


def shown_in(paper: str, notebook: str) -> dict[str, Item]:
    """The items of ``paper`` that ``notebook`` shows."""
    listed = {entry.id: entry.notebook for entry in published.inventory(paper)}
    own = PAPERS[paper].notebook
    return {id_: item for id_, item in drawable(paper).items() if listed.get(id_, item.notebook or own) == notebook}


def item(name: str) -> tuple[str, str, Item]:
    """``"ft_sam/fig3"`` as (paper, id, item).

    Raises
    ------
    PaperlibError
        Not of that form, an unknown paper, an id that the paper does not have, or an item that is only planned.
    """
    paper, slash, id_ = name.partition("/")
    if not slash:
        raise PaperlibError(f"item={name!r} is not of the form PAPER/ITEM, for example ft_sam/fig3.")
    choose("paper", paper, PAPERS)
    found = drawable(paper)
    choose(f"item of {paper}", id_, {i.id for i in published.inventory(paper)} | set(found))
    if id_ not in found:
        raise PaperlibError(f"item={name!r} is planned, not implemented: {reason(paper, id_)}.")
    return paper, id_, found[id_]


def draw(paper: str, id_: str, results: Results) -> "Artefact":
    """The item ``id_`` of ``paper``, drawn from ``results``, with what it says and what a figure's marks mean.

    Raises
    ------
    PaperlibError
        The item is unknown or only planned.
    NotRun
        No result of it exists.
    """
    _, _, found = item(f"{paper}/{id_}")
    results.forget()
    made = found.draw(results)
    if say := getattr(module(paper), "READINGS", {}).get(id_):
        made = replace(made, reading=say(made.frame))
    return replace(made, caption=marks.completed(paper, id_, made.caption)) if made.kind == "figure" else made


def reason(paper: str, id_: str) -> str:
    """Why the item is not implemented; empty if it is."""
    return next((item.planned for item in published.inventory(paper) if item.id == id_), "")


def grid(paper: str, scale: Scale | str, seed: int = 0) -> list[Spec]:
    """The whole grid of ``paper``, where its items show a slice.

    Raises
    ------
    PaperlibError
        The paper has no grid beyond its items.
    """
    whole = getattr(module(paper), "whole_grid", None)
    if whole is None:
        raise PaperlibError(f"paper={paper!r} has no grid beyond its items; leave --whole out.")
    return list(whole(scales.scale(scale) if isinstance(scale, str) else scale, seed))


def specs(paper: str, scale: Scale | str, seed: int = 0) -> list[Spec]:
    """Every experiment that the items of ``paper`` are drawn from, without repetition."""
    if isinstance(scale, str):
        scale = scales.scale(scale)
    found = {spec.key: spec for item in drawable(paper).values() for spec in item.specs(scale, seed)}
    return list(found.values())
