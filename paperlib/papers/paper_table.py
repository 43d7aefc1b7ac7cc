"""A table of a paper, ours beside its printed numbers: a :class:`paperlib.papers.defense_table.DefenseTable` for each
scale.

:meth:`PaperTable.changed` is the same table of what a reader would like to see instead, with other attacks, defenses,
ratio, data set, model, clean images or seeds. Imports no torch.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import pandas as pd

from paperlib.errors import PaperlibError, choose
from paperlib.experiments import scales
from paperlib.experiments.scales import Scale
from paperlib.lab.spec import Spec
from paperlib.papers import Item, Results
from paperlib.papers.captions import artefact, printed_name, where
from paperlib.papers.defense_table import (
    LEARNED,
    SEEDS,
    VICTIM_SEEDS,
    Cell,
    DefenseTable,
    not_learned,
    seeds,
    several,
    specs_of,
    tidy,
)  # fmt: skip
from paperlib.papers.reading import CASE, reading
from paperlib.report import compare, style, tables
from paperlib.report.artefact import Artefact
from paperlib.report.claims import NotRun, margin
from paperlib.report.published import published

TOLERANCES = {f"ASR-{k}": compare.TOLERANCES["ASR"] for k in (1, 2)}
Parts = Mapping[str, "DefenseTable | tuple[DefenseTable, ...]"]
COMPARABLE = ("attacks", "defenses", "seeds")
"""What a reader may change in a table while its cells keep their printed numbers."""


@dataclass(frozen=True)
class PaperTable:
    """A table of a paper, ours beside the printed numbers; the printed half where a scale runs nothing of it.

    Parameters
    ----------
    paper, id, title
        Which table it is.
    parts
        Scale -> what it runs of the table: a :class:`DefenseTable`, or several whose cells make one table.
    own
        The paper's own defense: the first column after the undefended models.
    columns
        What runs across, ``defense``, ``attack`` or ``model``.
    metrics
        Where none are printed; otherwise those that are.
    average
        How DER is averaged, ``of averages`` or ``of cells`` (:func:`paperlib.report.compare.averages`); empty: no
        averages.
    networks
        Network of a small scale -> the printed one that it stands for.
    everything
        Show also the rows and columns of which nothing was run.
    absent
        What a small scale does not run, where it is neither the data set nor the model.
    notes
        From results to lines below the table, or the lines themselves.
    above
        From results to a fragment of HTML above the table.
    changes
        What a reader has changed; then the table is not the paper's, and says so.
    """

    paper: str
    id: str
    title: str
    parts: Parts
    own: str = ""
    columns: str = "defense"
    metrics: tuple[str, ...] = ("ACC", "ASR", "DER")
    average: str = ""
    networks: Mapping[str, str] = field(default_factory=dict)
    everything: bool = False
    absent: str = ""
    notes: Callable[[Results], Iterable[str]] | Sequence[str] = ()
    above: Callable[[Results], str] | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)

    def at(self, scale: Scale) -> tuple[DefenseTable, ...]:
        """What ``scale`` runs; nothing where it is not planned."""
        found = self.parts.get(scale.plans, ())
        return (found,) if isinstance(found, DefenseTable) else found

    @property
    def parameters(self) -> tuple[str, ...]:
        """What a reader may change: the fields of :class:`DefenseTable`."""
        return tuple(one.name for one in fields(DefenseTable))

    def changed(self, **changes: Any) -> "PaperTable":
        """The same table with other attacks, defenses, ratio, data set, model, clean images or seeds: fields of
        :class:`DefenseTable`.

        Where a scale runs nothing of the table, it runs what the paper scale does, with these changes. Printed numbers
        stay beside ours while nothing but attacks, defenses and seeds is changed.

        Raises
        ------
        PaperlibError
            An unknown field, or a value that it cannot have.
        """
        for name in changes:
            choose("parameter", name, self.parameters)
        if not changes.get("attacks", True):
            raise PaperlibError("attacks names none; give at least one, e.g. attacks=['badnets'].")
        if "n_clean" not in changes and "clean_ratio" in changes:
            changes["n_clean"] = None

        def parts(scale: Scale) -> tuple[DefenseTable, ...]:
            return tuple(replace(part, **changes) for part in self.at(scale) or self.at(scales.PAPER))

        new = {name: parts(scale) for name, scale in scales.SCALES.items()}
        return replace(self, parts=new, above=None, changes={**self.changes, **changes})

    def cells(self, scale: Scale, seed: int = 0) -> list[Cell]:
        """The cells of all parts, each once."""
        found = {(*cell[:3], cell.spec.key): cell for part in self.at(scale) for cell in part.cells(scale, seed)}
        return list(found.values())

    def specs(self, scale: Scale, seed: int) -> list[Spec]:
        """The experiments."""
        chosen = next((part.seeds for part in self.at(scale) if part.seeds), (seed,))
        return specs_of(cell for one in chosen for cell in self.cells(scale, one))

    def item(self) -> Item:
        """The table as an item of the paper."""
        return Item(self.specs, self.draw, self)

    @property
    def number(self) -> str:
        """As the paper counts it."""
        return f"Table {self.id[5:]}" if self.id.startswith("table") else "Supplement (number unknown)"

    def published(self) -> pd.DataFrame:
        """All numbers that the paper prints of it."""
        return published(self.paper, self.id)

    def printed(self) -> pd.DataFrame:
        """The printed numbers; none where a reader has changed what they are of."""
        frame = self.published()
        return frame if set(self.changes) <= set(COMPARABLE) else frame.iloc[:0]

    def draw(self, results: Results) -> Artefact:
        """Ours beside the printed numbers; of several seeds means and standard deviations.

        Raises
        ------
        NotRun
            Nothing was run, and nothing is printed.
        """
        scale, printed = results.scale, self.printed()
        planned = self.cells(scale, results.seed)
        if not planned and printed.empty:
            raise NotRun(
                f"{self._absent()} is not run at {scale.name} scale, and the printed values are not published to us"
            )
        chosen = next((part.seeds for part in self.at(scale) if part.seeds), ())
        several_seeds = list(chosen) or seeds(results, lambda seed: self.cells(scale, seed))
        frame = compare.over_seeds([self._compared(results, printed, seed) for seed in several_seeds])
        ran = bool(frame.ours.notna().any())
        instead = self.instead(scale)
        if planned and not ran and (printed.empty or not instead):
            raise NotRun(f"no cell of {self.number} has a result at {scale.name} scale")
        frame = _own_first(frame, self._rows(frame), self.own)
        shown = self.coverage(frame)
        if planned and not ran:
            caption = (
                f"{self.number}. {self.title}. Printed numbers only: no run of {instead} is recorded at {scale.name} "
                "scale, where it is planned."
            )
        elif planned:
            caption = f"{self.number}. {self.title}{self._changed()}; {shown}. {self._where(results, several_seeds)}"
        else:
            caption = (
                f"{self.number}. {self.title}. Printed numbers only: {self._absent()} is not run at {scale.name} scale."
            )
        notes = list(self.notes(results) if callable(self.notes) else self.notes)
        notes += [self._over_victims(results), not_learned(results, [cell.parent for cell in planned])]
        notes += self._stand_in_notes(scale)
        html = tables.paper_table(
            frame, caption, rows=self._rows(frame), columns=self.columns, everything=self.everything or not ran,
            coverage=shown, notes=notes,
        )  # fmt: skip
        above = self.above(results) if self.above else ""
        more: dict[str, Any] = {"n_clean": scale.n_clean, "defense_epochs": scale.defense_epochs}
        if instead:
            there = scales.on(scale, self.at(scale)[0].dataset)
            epochs = sorted({cell.parent.epochs for cell in planned})
            more |= {"dataset": there.dataset, "n_train": there.n_train, "n_clean": there.n_clean, "epochs": epochs}
        if self.own in scale.changes:
            more[self.own] = dict(scale.changes[self.own])
        return artefact(
            self.paper, results, self.id, "table", more,
            caption=caption, frame=frame, html=above + html, reading=reading(frame, self.own),
        )  # fmt: skip

    def _over_victims(self, results: Results) -> str:
        """Mean ASR and its standard error over the models of other seeds too: the paper's own defense, FT and the two
        lowest of the others, for each attack of which there are :data:`SEEDS` models at least."""
        rates: dict[tuple[str, str], list[float]] = {}
        for seed in range(results.seed, results.seed + VICTIM_SEEDS) if self.own else ():
            for cell in self.cells(results.scale, seed):
                before, after = results.get(cell.parent), results.get(cell.spec)
                if before and after and before["asr"] >= LEARNED and not cell.setting:
                    rates.setdefault((cell.attack, cell.defense), []).append(after["asr"])
        texts = []
        for attack in dict.fromkeys(attack for attack, _ in rates):
            several_models = {d: v for (a, d), v in rates.items() if a == attack and len(v) >= SEEDS and d != "none"}
            if len(several_models) < 2 or self.own not in several_models:
                continue
            others = sorted(several_models.keys() - {self.own, "ft"}, key=lambda name: np.mean(several_models[name]))
            chosen = [name for name in (self.own, "ft", *others[:2]) if name in several_models]
            found = {name: margin(several_models[name]) for name in chosen}
            means = ", ".join(f"{style.title('defense', d)} {m.mean:.1f} ± {m.error:.1f}" for d, m in found.items())
            texts.append(f"{style.title('attack', attack)} ({min(m.n for m in found.values())} models): {means}")
        if not texts:
            return ""
        return f"Mean ASR ± standard error over models of several seeds, where the table shows one: {'; '.join(texts)}."

    def _compared(self, results: Results, printed: pd.DataFrame, seed: int) -> pd.DataFrame:
        """Ours of one seed beside the printed numbers, with averages."""
        scale = results.scale
        metrics = set(printed.metric) if len(printed) else self.metrics
        ours = tidy(results, self.cells(scale, seed), metrics)
        stand_ins = self._stand_ins(scale) if scale.plans != "paper" and len(printed) else None
        frame = compare.compare(ours, printed, scale=scale.name, stand_ins=stand_ins, tolerances=TOLERANCES)
        if not self.average:
            return frame
        return pd.concat([frame, compare.averages(learned_rows(frame), self.average)], ignore_index=True)

    def _stand_ins(self, scale: Scale) -> dict[str, Mapping[str, str]]:
        """``dataset``, ``model`` -> name of ours -> the printed one that it stands for."""
        parts = self.at(scale)
        sets = {scales.on(scale, part.dataset).dataset: printed_name(part.dataset) for part in parts}
        models = {model for part in parts for model in several(part.model)}
        stand = {
            "dataset": {there: name for there, name in sets.items() if there != name},
            "model": {name: printed for name, printed in self.networks.items() if name in models},
        }
        return {key: names for key, names in stand.items() if names}

    def _stand_in_notes(self, scale: Scale) -> list[str]:
        """What a small scale has instead of the printed data set and network, where a row or column names that."""
        if scale.plans != "laptop":
            return []
        return [
            f"Where the table says {style.title(kind, printed)}, ours is {style.title(kind, name)}."
            for kind, names in self._stand_ins(scale).items()
            if kind == "model" or not self.instead(scale)  # a data set that all cells are of is said anyway
            for name, printed in names.items()
        ]

    def _rows(self, frame: pd.DataFrame) -> tuple[str, ...]:
        """What runs down: the attacks, and all else that is several."""
        names = ("dataset", "model", "attack", "ratio", "defense", "setting")
        cells = frame[~frame.attack.map(compare.is_average)]
        return tuple(
            name
            for name in names
            if name != self.columns
            and (cells[name].nunique(dropna=False) > 1 or (name == "attack" and self.columns == "defense"))
        )

    def coverage(self, frame: pd.DataFrame) -> str:
        """How much there is of what is printed and of what the paper scale runs, e.g.
        ``"3 of 10 attacks, 2 of 9 defenses run"``."""
        whole = self.cells(scales.PAPER, 0)
        planned = pd.DataFrame(
            [(c.attack, c.defense, c.parent.model, c.parent.ratio, c.setting) for c in whole],
            columns=["attack", "defense", "model", "ratio", "setting"],
        )
        known = pd.concat([frame[frame.published.notna()], planned, frame[frame.ours.notna()]])
        counts = []
        for name in planned.columns:
            everyone = {v for v in known[name] if pd.notna(v) and v not in ("none", "") and not compare.is_average(v)}
            run = everyone & set(frame[name][frame.ours.notna()])
            if len(everyone) > 1 or name == "attack":
                counts.append(f"{len(run)} of {len(everyone)} {name}{'s' if len(everyone) != 1 else ''}")
        lost = "" if len(self.published()) else "; the printed values are not published to us"
        return f"{', '.join(counts)} run{lost}"

    def instead(self, scale: Scale) -> str:
        """What a small scale runs a whole table on, where it is not its usual data set and network; else empty."""
        parts = self.at(scale)
        usual = any((part.dataset, part.model) == ("cifar10", "preact_resnet18") for part in parts)
        if scale.plans == "paper" or self.changes or usual or not parts:
            return ""
        models = dict.fromkeys(model for part in parts for model in several(part.model))
        sets = dict.fromkeys(part.dataset for part in parts)
        named = [
            " and ".join(style.title(k, one) for one in names) for k, names in (("model", models), ("dataset", sets))
        ]
        return f"{named[0]} of width {scale.width} on {named[1]}"

    def _absent(self) -> str:
        """What a scale does not run."""
        if self.absent:
            return self.absent
        part = self.at(scales.PAPER)[0]
        data = "" if part.dataset == "cifar10" else style.title("dataset", part.dataset)
        data = f"{data} (`paperlib data fetch {part.dataset}`)" if data else ""
        models = ", ".join(style.title("model", name) for name in several(part.model) if name != "preact_resnet18")
        return " on ".join(text for text in (models, data) if text)

    def _changed(self) -> str:
        if not self.changes:
            return ""
        values = {name: several(value) for name, value in self.changes.items() if value not in (None, ())}
        texts = (
            f"{name.replace('_', ' ')} {', '.join(style.title(name.removesuffix('s'), one) for one in value)}"
            for name, value in values.items()
        )
        return f", not the paper's setting ({'; '.join(texts)})"

    def _where(self, results: Results, several_seeds: Sequence[int]) -> str:
        parts = self.at(results.scale)
        ratios = {ratio for part in parts for ratio in several(part.ratio)}
        models = dict.fromkeys(model for part in parts for model in several(part.model))
        counts = {n for part in parts for n in part.clean(scales.on(results.scale, part.dataset)).values()}
        return where(
            results,
            next(iter(ratios)) if len(ratios) == 1 else None,
            parts[0].dataset,
            ", ".join(style.title("model", name) for name in models),
            n_clean=next(iter(counts)) if len(counts) == 1 else None,
            seeds=several_seeds,
        )


def learned_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of ``frame`` without those of attacks that our undefended model did not learn."""
    low = frame[(frame.defense == "none") & (frame.metric == "ASR") & (frame.ours < LEARNED)]
    return frame[~pd.MultiIndex.from_frame(frame[CASE]).isin(pd.MultiIndex.from_frame(low[CASE]))]


def _own_first(frame: pd.DataFrame, rows: Sequence[str], own: str) -> pd.DataFrame:
    """The undefended models, then the paper's own defense, then the others; rows stay in their order."""
    label = frame.groupby(list(rows), sort=False, dropna=False).ngroup()
    rank = frame.defense.map({"none": 0, own: 1}).fillna(2)
    order = frame.assign(label=label, rank=rank).sort_values(["label", "rank"], kind="stable").index
    return frame.loc[order].reset_index(drop=True)
