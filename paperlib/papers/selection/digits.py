"""The deciding table of notebook 03: four strategies with ten seeds on digits, where a seed takes seconds. Imports no
torch.

Blended with alpha 0.1 on two images of each class but the target (1.5 % of 1,240), a network of two convolutions. All
strategies of a seed share images, initial weights and batches, so that they are compared in pairs: by the mean of the
differences and its standard error.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from paperlib.errors import PaperlibError, choose
from paperlib.experiments import plan, scales
from paperlib.experiments.scales import Scale
from paperlib.experiments.specs import TrainSpec
from paperlib.lab.spec import Spec, pairs
from paperlib.papers import Item, Results
from paperlib.report import style, tables
from paperlib.report.artefact import Artefact
from paperlib.report.claims import ERRORS, PAIRS, Margin, NotRun, margin
from paperlib.selection import WITHOUT_SURROGATE

ATTACK, MODEL, WIDTH, ALPHA, LR, TARGET = "blended", "two_conv", 16, 0.1, 0.05, 0
SEEDS = {"smoke": 2, "laptop": 10, "paper": 10}


def sizes(scale: Scale) -> Scale:
    """Digits as smoke has them; smoke itself trains less."""
    little = scale.plans == "smoke"
    changes: Mapping[str, Mapping[str, Any]] = {
        "blended": {"picture": "random"},
        "lps": {"rounds": 2 if little else 10, "epochs": 1},
        "fus": {"rounds": 1 if little else 3, "epochs": 2 if little else 6},
    }
    epochs = 4 if little else 20
    return replace(scales.SMOKE, name=scale.name, width=WIDTH, epochs=epochs, lr=LR, changes=changes)


def victim(scale: Scale, strategy: str, per_class: int, seed: int) -> TrainSpec:
    """The model trained on what ``strategy`` selected."""
    there = sizes(scale)
    fields: dict[str, Any] = {"model": MODEL, "attack_params": pairs(alpha=ALPHA, picture="random")}
    ratio = 9 * per_class / there.n_train
    if strategy != "random":
        surrogate: dict[str, Any] = {} if strategy in WITHOUT_SURROGATE else {"model": MODEL, "lr": LR}
        params = fields["attack_params"]
        fields["selected"] = plan.select(there, strategy, ATTACK, ratio, seed=seed, attack_params=params, **surrogate)
    return plan.train(there, ATTACK, ratio, seed=seed, **fields)


@dataclass(frozen=True)
class DigitsTable:
    """Which strategies are compared, and at how many images per class."""

    strategies: tuple[str, ...] = ("random", "balanced", "fus", "lps")
    per_class: int = 2
    changes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def parameters(self) -> tuple[str, ...]:
        """What a reader may change."""
        return ("strategies", "per_class")

    def changed(self, **changes: Any) -> "DigitsTable":
        """The same of other strategies, or at another budget.

        Raises
        ------
        PaperlibError
            An unknown strategy, fewer than two, or a number of images that no class has.
        """
        from paperlib.selection import SELECTIONS

        if "strategies" in changes:
            names = tuple(choose("strategy", name, SELECTIONS) for name in changes["strategies"])
            if len(set(names)) < 2:
                raise PaperlibError(f"strategies={list(names)!r} must be at least two, to be compared.")
            changes = {**changes, "strategies": names}
        k = changes.get("per_class", self.per_class)
        if type(k) is not int or not 1 <= k <= 100:
            raise PaperlibError(f"per_class={k!r} must be a whole number from 1 to 100: a class has 124 digits.")
        return replace(self, **changes, changes={**self.changes, **changes})

    def victims(self, scale: Scale, seed: int) -> list[tuple[int, str, TrainSpec]]:
        """Seed, strategy and victim, seed by seed."""
        seeds = range(seed, seed + SEEDS[scale.plans])
        return [(s, name, victim(scale, name, self.per_class, s)) for s in seeds for name in self.strategies]

    def specs(self, scale: Scale, seed: int) -> list[Spec]:
        """The experiments."""
        return [spec for *_, spec in self.victims(scale, seed)]

    def item(self) -> Item:
        """The table as an item."""
        return Item(self.specs, self.draw, self)

    def frame(self, results: Results) -> pd.DataFrame:
        """``seed, strategy, asr, c_acc`` of what was run.

        Raises
        ------
        NotRun
            Nothing was.
        """
        rows = [
            (s, name, result["asr"], result["c_acc"])
            for s, name, spec in self.victims(results.scale, results.seed)
            if (result := results.get(spec)) is not None
        ]
        if not rows:
            raise NotRun(f"no victim on digits has a result at {results.scale.name} scale")
        return pd.DataFrame(rows, columns=["seed", "strategy", "asr", "c_acc"])

    def draw(self, results: Results) -> Artefact:
        """ASR of every strategy, and by how much the last one exceeds the others, in pairs."""
        from paperlib.papers.selection.tables import drawn, spread

        frame, best = self.frame(results), self.strategies[-1]
        title = style.title("selection", best)
        rows = []
        for name in self.strategies:
            mine = frame[frame.strategy == name]
            if mine.empty:
                continue
            row = {
                "Strategy": style.title("selection", name),
                "ASR, %": spread(mine.asr),
                "C-Acc, %": spread(mine.c_acc),
            }
            try:
                found = paired(frame, best, name) if name != best else None
            except NotRun:
                found = None
            row[f"{title} minus it, mean ± SE"] = f"{found.mean:+.1f} ± {found.error:.1f}" if found else "–"
            row[f"{title} ahead"] = f"{found.wins} of {found.n}" if found else "–"
            row["Decided"] = "–" if found is None else "yes" if found.decided else "no"
            rows.append(row)
        there = sizes(results.scale)
        caption = (
            f"Selection on digits. {style.title('attack', ATTACK)}, alpha {ALPHA:g}, {self.per_class} images per class"
            f" ({100 * 9 * self.per_class / there.n_train:.2g} %), {there.n_train:,} images, {there.epochs} epochs, two"
            f" convolutions of {WIDTH} and {2 * WIDTH} channels; LPS with T = {there.changes['lps']['rounds']}."
            f" {results.scale.name} scale."
        )
        notes = [
            (
                f"{len(frame)} of {len(self.specs(results.scale, results.seed))} victims. Mean ± standard deviation"
                " over seeds (number of seeds); SE: standard error of the mean difference over seeds. Decided: at least"
                f" {PAIRS} seeds, and more than {ERRORS:g} SE from 0."
            ),
            self._balance(frame),
        ]
        html = tables.to_html(pd.DataFrame(rows), caption, notes=[note for note in notes if note])
        return drawn(results, "digits", "table", caption=caption, frame=frame, html=html)

    def _balance(self, frame: pd.DataFrame) -> str:
        """How much of the gain over random selection class balance alone has."""
        try:
            whole, alone = paired(frame, "lps", "random"), paired(frame, "balanced", "random")
        except NotRun:
            return ""
        if whole.mean <= 0:
            return ""
        return (
            f"Class balance alone (balanced random selection) has {alone.mean:+.1f} of the {whole.mean:+.1f} points"
            f" that LPS is ahead of random selection: {100 * alone.mean / whole.mean:.0f} %."
        )


def paired(frame: pd.DataFrame, one: str, other: str) -> Margin:
    """ASR of ``one`` less that of ``other``, over the seeds that have both.

    Raises
    ------
    NotRun
        There is none.
    """
    wide = frame.pivot(index="seed", columns="strategy", values="asr")
    if one not in wide or other not in wide:
        raise NotRun(f"{one} and {other} are not both run on digits")
    return margin((wide[one] - wide[other]).dropna())
