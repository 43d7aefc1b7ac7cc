"""What a notebook talks to.

The set-up cell of every notebook is one line, ``book = companion.start("ft_sam", globals())``. It checks the
parameters, says at which scale and on which device the notebook runs, and returns a :class:`Companion`: ``book.run()``
computes what the store does not hold, ``book.figure("fig3")`` and ``book.table("table1")`` draw, save and show one
item, ``book.claims()`` checks the paper's claims, ``book.footer()`` says what the numbers came from. The command line
uses the same functions.
"""

import importlib
import os
import re
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paperlib import papers, paths
from paperlib.devices import pick_device
from paperlib.errors import PaperlibError, choose
from paperlib.experiments import scales
from paperlib.experiments.scales import Scale
from paperlib.lab import ledger, provenance
from paperlib.lab.plan import duration, plan
from paperlib.lab.run import run, watched
from paperlib.lab.spec import Spec
from paperlib.lab.store import Store
from paperlib.parameters import check_parameters, declared_parameters, given_lists, injected

if TYPE_CHECKING:
    from paperlib.report.artefact import Artefact


def _unique(specs: Iterable[Spec]) -> list[Spec]:
    return list({spec.key: spec for one in specs for spec in one.ancestry()}.values())


def wanted(paper: str, scale: Scale, seed: int, ids: Iterable[str] | None = None) -> list[Spec]:
    """The experiments of all items of ``paper``, or of the items ``ids``."""
    if ids is None:
        return papers.specs(paper, scale, seed)
    found = papers.drawable(paper)
    return [spec for id_ in ids for spec in found[choose("item", id_, found)].specs(scale, seed)]


def recorded_file(scale: Scale) -> Path:
    """Our own ledger of ``scale``, in git."""
    return paths.recorded_dir() / scale.name / "results"


def gather(
    paper: str,
    scale: Scale,
    *,
    seed: int = 0,
    device: str = "auto",
    recorded: bool = False,
    ids: Iterable[str] | None = None,
    report: Any = None,
    store: Store | None = None,
) -> papers.Results:
    """Results of a paper: what the store does not hold is computed, unless ``recorded``: then the ledger in git is
    read.

    Raises
    ------
    PaperlibError
        An unknown item or device, a store that cannot be written, a run that failed, or no ledger at this scale.
    """
    return compute(
        wanted(paper, scale, seed, ids), scale, seed, device=device, recorded=recorded, report=report, store=store
    )


def compute(
    specs: list[Spec],
    scale: Scale,
    seed: int = 0,
    *,
    device: str = "auto",
    recorded: bool = False,
    report: Any = None,
    store: Store | None = None,
    strict: bool = True,
) -> papers.Results:
    """Results of ``specs``, as :func:`gather` of a paper; without ``strict`` those that failed are left out."""
    if not specs:  # drawn from printed numbers: there is nothing to compute, and nothing that could be recorded
        return papers.Results(scale, seed, {})
    if recorded:
        file = recorded_file(scale)
        if not file.exists():
            raise PaperlibError(f"recorded=True, but nothing is recorded at scale={scale.name!r}; run without it.")
        return papers.Results(scale, seed, ledger.load(file))
    store = store or Store()
    run(specs, store, device=device, report=report, progress=report is None, strict=strict)
    records = ((spec, store.read(spec)) for spec in _unique(specs))
    rows = {
        spec.key: {"key": spec.key, "spec": record.spec, "result": record.result, "provenance": record.provenance}
        for spec, record in records
        if record
    }
    return papers.Results(scale, seed, rows)


def check_store(specs: Iterable[Spec]) -> None:
    """Refuse a store that cannot be written where ``specs`` still need runs: a complete one is only read.

    Raises
    ------
    PaperlibError
        It cannot be written, and something is to do.
    """
    store = Store()
    try:
        store.check_writable()
    except PaperlibError:
        if plan(specs, store).groups:
            raise


def record(paper: str, scale: Scale, seed: int = 0, store: Store | None = None) -> Path:
    """Merge the paper's results of the store into the ledger in git; returns its path."""
    file = recorded_file(scale)
    ledger.export(store or Store(), file, [spec.key for spec in _unique(papers.specs(paper, scale, seed))])
    return file


def provenance_of(results: papers.Results, keys: Iterable[str]) -> dict[str, Any]:
    """Versions, commits, devices and minutes of the results ``keys``, as :func:`paperlib.report.artefact.save` wants
    them."""
    rows = [results.rows[key]["provenance"] for key in keys if key in results.rows]

    def distinct(name: str) -> list[Any]:
        return sorted({row[name] for row in rows if row.get(name)})

    return {
        "versions": {name: distinct(name) for name in ("paperlib", "python", "torch", "numpy")},
        "commit": ", ".join(commit[:12] for commit in distinct("commit")) or None,
        "device": ", ".join(distinct("device_name")) or None,
        "minutes": round(sum(row.get("seconds", 0) for row in rows) / 60, 1),
    }


def make(results: papers.Results, paper: str, id_: str, out: Path | None = None) -> "Artefact":
    """Draw one item and save it under ``out`` (default: :func:`paperlib.paths.figures_dir`).

    Raises
    ------
    PaperlibError
        The item is unknown or only planned.
    NotRun
        No result of it exists.
    """
    from paperlib.report import artefact

    made = papers.draw(paper, id_, results)
    artefact.save(made, out or paths.figures_dir(), provenance_of(results, made.results))
    return made


def printed_only(paper: str, id_: str, scale: Scale) -> "Artefact":
    """The printed half of a table that is not implemented: every cell of ours says that it was not run."""
    import pandas as pd

    from paperlib.report import compare, tables
    from paperlib.report.artefact import Artefact
    from paperlib.report.published import inventory, published

    entry = next(item for item in inventory(paper) if item.id == id_)
    nothing = pd.DataFrame(columns=[*compare.KEYS, "value"])
    frame = compare.compare(nothing, published(paper, id_), scale=scale.name)
    caption = (
        f"{entry.kind.capitalize()} {entry.number}. {entry.title}. Printed numbers only: {papers.reason(paper, id_)}."
    )
    rows = ("attack", "setting") if frame.setting.nunique() > 1 else ("attack",)
    html = tables.paper_table(frame, caption, rows=rows, everything=True) if len(frame) else None
    return Artefact(paper=paper, id=id_, kind="table", scale=scale.name, caption=caption, frame=frame, html=html)


def differences(module: str) -> list[str]:
    """The numbered "Differences from ..." list in the docstring of a method's module, one string per entry."""
    text = importlib.import_module(module).__doc__ or ""
    found = re.search(r"Differences from [^\n]*\n((?:[^\n]+\n?)*)", text)  # up to the next empty line
    entries = re.split(r"(?m)^\s*\d+\. ", found.group(1))[1:] if found else []
    return [re.sub(r"\s+", " ", entry).strip() for entry in entries]


# ----------------------------------------------------------------------------------------------------- notebooks


COMMON = ("scale", "seed", "device", "recorded")
"""Parameters of every notebook. The others change what the tables are of; left empty, they are the paper's."""


@dataclass(frozen=True)
class Shown:
    """A table or figure as a notebook shows it: the artefact, and below it how it reads and what ran."""

    artefact: "Artefact"
    below: str
    """HTML with inline attributes only: shown in a notebook that nobody trusts, too."""

    @property
    def data(self) -> str:
        """A table with what stands below it; of a figure the lines below it."""
        return f"{self.artefact.fragment}\n{self.below}" if self.artefact.kind == "table" else self.below

    def _ipython_display_(self) -> None:
        from IPython.display import HTML, display

        if self.artefact.kind == "figure":
            display(self.artefact.view())
        display(HTML(self.data))


def told(changes: Mapping[str, Any]) -> str:
    """Changed parameters as a text."""
    texts = {name: value if isinstance(value, list | tuple) else [value] for name, value in changes.items()}
    return "; ".join(f"{name} {', '.join(map(str, value))}" for name, value in texts.items())


def _html(text: str) -> str:
    """`code` and *emphasis* of a sentence as HTML."""
    return re.sub(r"\*([^*]+)\*", r"<em>\1</em>", re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text)))


def below(
    paper: str, id_: str, item: papers.Item, made: "Artefact", results: papers.Results, changes: Mapping[str, Any]
) -> str:
    """What stands below an item: how it reads, a figure's caption, what ran, where the code is, how to draw it again.

    Parameters
    ----------
    paper, id_, item
        Which it is.
    made, results
        As it was drawn, and from what.
    changes
        What a reader has changed; empty: it is the paper's.
    """
    from paperlib.papers import ran

    lines = [f"Ran: {ran.ran(results, made.results, made.scale)}."]
    if where := ran.lines_of(papers.module(paper), id_, item):
        lines.append(where)
    if changes:
        lines.insert(0, f"<strong>Not the paper's setting</strong>: {escape(told(changes))}; not saved.")
    else:
        lines.append(f"Again: {ran.again(paper, id_, results)}.")
    texts = [made.reading, made.caption if made.kind == "figure" else ""]  # a table has its caption inside
    reading = "".join(f'<p style="max-width: 60em">{_html(text)}</p>\n' for text in texts if text)
    return f'{reading}<p style="font-size: 85%; color: #666; max-width: 70em">{" ".join(lines)}</p>'


@dataclass
class Companion:
    """One notebook at work. Made by :func:`start`."""

    paper: papers.Paper
    scale: Scale
    seed: int
    device: str
    recorded: bool
    out: Path | None = None
    notebook: str = ""
    """Empty: the paper's own."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Parameters of the notebook by which its tables are not the paper's: attacks, ratio, data set, ..."""
    started: float = field(default_factory=time.perf_counter)
    results: papers.Results | None = None
    asked: dict[str, Any] = field(default_factory=dict)
    """Rows of what single cells of the notebook asked for, beyond :attr:`results`."""
    computed: int = 0

    def items(self) -> dict[str, papers.Item]:
        """What this notebook shows: with changed parameters only what this scale runs and takes one of them,
        changed."""
        found = papers.shown_in(self.paper.key, self.notebook or self.paper.notebook)
        if not self.changes:
            return found
        taken = {id_: self._taken(item) for id_, item in found.items() if item.specs(self.scale, self.seed)}
        return {id_: found[id_].changed(**changes) for id_, changes in taken.items() if changes}

    def _taken(self, item: papers.Item) -> dict[str, Any]:
        return {name: value for name, value in self.changes.items() if name in item.parameters}

    def _specs(self) -> list[Spec]:
        found = {spec.key: spec for item in self.items().values() for spec in item.specs(self.scale, self.seed)}
        return list(found.values())

    def run(self) -> None:
        """Compute what the store does not hold yet. Stop it at any time: finished results stay, the next call goes
        on."""
        specs = self._specs()
        if not specs:
            self.results = papers.Results(self.scale, self.seed, {})
            print("Nothing to compute: everything here is drawn from printed numbers.")
            return
        start = time.perf_counter()
        self.results = self._compute(specs)
        source = f"{recorded_file(self.scale).relative_to(paths.ROOT)} in git" if self.recorded else "the store"
        count = len(self.results.rows)
        spent = f" in {duration(time.perf_counter() - start)}" if self.computed else ""
        print(f"{count} results: {count - self.computed} from {source}, {self.computed} computed{spent}.")

    def _compute(self, specs: list[Spec]) -> papers.Results:
        if not self.recorded:
            planned = plan(specs, Store())
            todo = planned.of("to do")
            self.computed += len(todo)
            if todo:
                guess = f", about {duration(planned.seconds)}" if planned.seconds else ""
                print(f"{len(todo)} of {len(_unique(specs))} results to compute{guess}")
        last = time.monotonic()

        def report(line: str) -> None:
            nonlocal last
            if time.monotonic() - last > 30 or ": failed" in line:
                last = time.monotonic()
                print(line)

        found = compute(
            specs,
            self.scale,
            self.seed,
            device=self.device,
            recorded=self.recorded,
            report=None if watched(sys.stderr) else report,
            strict=not self.changes,
        )
        missing = [] if self.recorded else [spec for spec in specs if spec.key not in found.rows]
        if missing:
            print(f"{len(missing)} of {len(specs)} results are missing, because a run failed: {missing[0].label}, ...")
        return found

    def _with(self, specs: Sequence[Spec]) -> papers.Results:
        """What is there, and the results of ``specs``: only what is missing of them is computed."""
        rows = {**(self.results.rows if self.results else {}), **self.asked}
        missing = [spec for spec in specs if spec.key not in rows]
        if missing:
            self.asked |= self._compute(missing).rows
        return papers.Results(self.scale, self.seed, {**rows, **self.asked})

    def _results(self) -> papers.Results:
        if self.results is None:
            self.run()
        assert self.results is not None
        return self.results

    def figure(self, id_: str, **changes: Any) -> Any:
        """Draw, save and show the item ``id_``; where no result of it exists, say so.

        Parameters
        ----------
        id_
            As in ``paperlib list``.
        changes
            What it is of, instead of the paper's: ``attacks=["blended"], defenses=["ft", "ft_sam"], ratio=0.05``. What
            is missing of that is computed. Such an item is not saved: what is recorded stays as it is.

        Raises
        ------
        PaperlibError
            An unknown item, a parameter that it does not take, or a value that cannot be.
        """
        from paperlib.report.claims import NotRun

        original = papers.item(f"{self.paper.key}/{id_}")[2]
        if self.changes and not changes and id_ not in self.items():
            taken = ", ".join(original.parameters) or "no parameters"
            here = (
                ""
                if original.specs(self.scale, self.seed)
                else f", and nothing of it is run at {self.scale.name} scale"
            )
            print(f"{id_}: left out, because it takes {taken}{here}.")
            return None
        changes = {**self._taken(original), **changes}
        item = original.changed(**changes) if changes else original
        results = self._with(item.specs(self.scale, self.seed)) if changes else self._results()
        try:
            return self._show(id_, item, results, changes)
        except NotRun as missing_one:
            print(f"{id_}: not run ({missing_one}).")
            return None

    def _show(self, id_: str, item: papers.Item, results: papers.Results, changes: Mapping[str, Any]) -> Shown:
        """Draw and show an item; one that a reader has changed is not saved."""
        if changes:
            results.forget()
            made = item.draw(results)
        else:
            made = make(results, self.paper.key, id_, self.out)
        return Shown(made, below(self.paper.key, id_, item, made, results, changes))

    def table(self, id_: str, **changes: Any) -> Any:
        """Like :meth:`figure`; of a table that is only planned the printed half is shown, with the reason."""
        if papers.reason(self.paper.key, id_):
            return printed_only(self.paper.key, id_, self.scale).view()
        return self.figure(id_, **changes)

    def show(self, *ids: str, **changes: Any) -> None:
        """Tables and figures one below the other, as :meth:`table` and :meth:`figure` show them."""
        from IPython.display import display

        for id_ in ids:
            if (shown := self.table(id_, **changes)) is not None:
                display(shown)

    def at_paper_scale(self, id_: str) -> Any:
        """The item ``id_`` at the paper's own settings, as far as git has results of ours; nothing is computed."""
        from paperlib.report.claims import NotRun

        scale = scales.recorded_paper()
        file = recorded_file(scale)
        results = papers.Results(scale, 0, ledger.load(file) if file.exists() else {})
        try:
            return self._show(id_, papers.item(f"{self.paper.key}/{id_}")[2], results, {})
        except NotRun as missing:
            print(f"{id_}: not recorded at paper scale ({missing}).")
            return None

    def claims(self) -> Any:
        """Check the paper's claims on our results and show the verdicts with the numbers that decided them."""
        if self.changes:
            print(
                f"The claims are about the paper's setting; they are not checked with other {', '.join(self.changes)}."
            )
            return None
        return claims(self._results(), self.paper.key, self.out).view()

    def differences(self, *modules: str) -> Any:
        """The "Differences from the paper" lists of the methods' files, as Markdown."""
        from IPython.display import Markdown

        lines = []
        for module in modules:
            lines.append(f"**`{module}`**\n")
            lines += [f"{i}. {entry}" for i, entry in enumerate(differences(module), 1)] or ["none known"]
            lines.append("")
        return Markdown("\n".join(lines))

    def footer(self) -> None:
        """Where the numbers of this notebook come from."""
        results = self._results()
        keys = {spec.key for spec in _unique(self._specs())} & set(results.rows)
        if not keys:
            print(f"{self.paper.short}, arXiv {self.paper.arxiv}; printed numbers only, none of our own")
            return
        about = provenance_of(results, keys)
        versions = ", ".join(f"{name} {' / '.join(found)}" for name, found in about["versions"].items() if found)
        print(f"{self.paper.short}, arXiv {self.paper.arxiv}; {self.scale.name} scale, seed {self.seed}")
        print(f"{len(keys)} results, {about['minutes']} minutes of computing on {about['device']}")
        print(f"computed with {versions}")
        print(f"commit {about['commit'] or 'unknown'}")


def claims(results: papers.Results, paper: str, out: Path | None = None) -> "Artefact":
    """The verdicts on the paper's claims as a saved table. Claims about printed numbers are the same at every scale."""
    from paperlib.report import artefact
    from paperlib.report import claims as checks

    found = papers.module(paper)
    results.forget()
    verdicts = checks.evaluate(found.CLAIMS if found else [], results.current())
    printed = getattr(found, "CLAIMS_ON", "") == papers.PRINTED
    scale = "paper" if printed else results.scale.name
    checked = f"checked on {papers.PRINTED}" if printed else f"checked on our results ({scale} scale)"
    made = artefact.Artefact(
        paper=paper,
        id="claims",
        kind="table",
        scale=scale,
        seed=0 if printed else results.seed,
        caption=f"Claims of the paper, {checked}",
        frame=checks.to_frame(verdicts, scale),
        html=checks.to_html(verdicts, scale, checked=checked if printed else ""),
        results=tuple(sorted(results.used)),
    )
    artefact.save(made, out or paths.figures_dir(), provenance_of(results, made.results))
    return made


def overview() -> Any:
    """One row a paper: how many of its tables and figures are ours, and how many printed cells have ours beside
    them."""
    from IPython.display import HTML
    from pandas import DataFrame

    from paperlib.report import coverage, tables

    rows = [
        (p.short, f"{p.venue}, arXiv {p.arxiv}", p.notebook, *coverage.scoreboard(p.key))
        for p in papers.PAPERS.values()
    ]
    rows.append(("All", "", "", *coverage.scoreboard()))
    frame = DataFrame(rows, columns=["Paper", "Where", "Notebook", *coverage.SCOREBOARD])
    return HTML(tables.to_html(frame, "Seven papers: what git records of their tables, figures and claims"))


def start(paper: str, namespace: Mapping[str, Any], notebook: str = "") -> Companion:
    """Check a notebook's parameters and begin.

    Parameters
    ----------
    paper
        Key of the paper.
    namespace
        ``globals()`` of the notebook: the parameters are looked up there.
    notebook
        Its name without ending; default: the paper's notebook.

    Raises
    ------
    PaperlibError
        An unknown or ill-typed parameter, scale or device; before any work begins.
    """
    about = papers.PAPERS[choose("paper", paper, papers.PAPERS)]
    declared = declared_parameters(paths.NOTEBOOKS / f"{notebook or about.notebook}.ipynb")
    for name in injected(namespace.get("In", ())):
        choose("parameter", name, declared)
    given = given_lists(declared, {name: namespace[name] for name in declared if name in namespace})
    check_parameters(declared, given)
    changes = {
        name: value  # a 0 is a value, but where it is the notebook's own
        for name, value in given.items()
        if name not in COMMON and value not in ("", None, [], declared[name])
    }
    values = {"scale": "", "seed": 0, "device": "auto", "recorded": False, **given}
    if values["seed"] < 0:
        raise PaperlibError(f"parameter seed={values['seed']} is negative; a seed is 0 or more.")
    values["recorded"] = values["recorded"] or os.environ.get("PAPERLIB_RECORDED", "0") not in ("", "0")
    scale = scales.scale(values["scale"])
    book = Companion(about, scale, values["seed"], "none", values["recorded"], notebook=notebook, changes=changes)
    planned = len(_unique(book._specs())) if changes else 0  # a wrong value stops here
    if changes and not planned:
        raise PaperlibError(
            f"{told(changes)}: no item of this notebook can be run with that at {scale.name} scale; `paperlib data"
            " status` shows which data are missing."
        )
    if not book.recorded:
        book.device = pick_device(values["device"])
        check_store(book._specs())
    where = "recorded results" if book.recorded else f"{book.device} on {provenance.device_name(book.device)}"
    print(f"{about.short} (arXiv {about.arxiv}) · {scale.name} scale · seed {book.seed} · {where}")
    if changes:
        print(
            f"Not the paper's setting: {told(changes)}. {planned} results are planned; what is recorded in git stays as"
            " it is."
        )
    return book
