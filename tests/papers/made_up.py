"""Made-up results whose every number can be traced to its spec, and what every paper's items must do with them.

A paper's tests say in a function which results are believable; :class:`MadeUp` does the rest::

    paper = MadeUp("ft_sam", believable)
    paper.drawn("table1", paper.everything(change=setting(of_defense("ft"), asr=1.0)))
"""

import base64
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from paperlib import papers
from paperlib.experiments.scales import SMOKE, Scale
from paperlib.experiments.specs import AnalysisSpec, DefendSpec, TrainSpec
from paperlib.lab.spec import Spec
from paperlib.papers import Results
from paperlib.papers.paper_table import PaperTable
from paperlib.report.artefact import Artefact
from paperlib.report.claims import NotRun, Verdict, evaluate
from paperlib.report.published import inventory

Change = Callable[[Spec, dict[str, Any]], dict[str, Any]]
PICTURE = base64.b64encode(bytes(range(192))).decode()
"""An image of shape (3, 8, 8)."""


def numbers_of(spec: Spec) -> np.random.Generator:
    """Numbers that differ from spec to spec and are the same in every run."""
    return np.random.default_rng(int(spec.key, 16))


def small(spec: Spec) -> float:
    """A number below 0.5."""
    return float(numbers_of(spec).uniform(0, 0.5))


def origin(spec: Spec) -> TrainSpec:
    """The training at the root of ``spec``."""
    while not isinstance(spec, TrainSpec):
        spec = spec.parents()[0]
    return spec


def analysis(spec: AnalysisSpec) -> dict[str, Any]:
    """A result of a tool that several papers use."""
    n, rng = len(spec.inputs), numbers_of(spec)
    if spec.tool == "gradcam":
        maps = rng.uniform(size=(n, 2, 4, 4)).tolist()
        return {"shape": [3, 8, 8], "images": [PICTURE] * 2, "maps": maps, "predicted": [[4, 0], [4, 4]]}
    if spec.tool == "reactivation":
        pair = [[5.0, 60.0 + small(spec)]] * n
        return {"eps": 0.0314, "n": 9, "clean": pair, "triggered": pair}
    if spec.tool == "triggers":
        return {"test": {"l2": 500 + small(spec), "linf": 80.0, "psnr": 25.0, "ssim": 0.9}}
    raise AssertionError(f"no result is made up for the tool {spec.tool!r}")


@dataclass(frozen=True)
class MadeUp:
    """One paper with results that a function makes up."""

    paper: str
    believable: Callable[[Spec], dict[str, Any]]
    """A result of which every claim of the paper holds; not asked of preparations."""

    def results(
        self,
        specs: Iterable[Spec],
        scale: Scale = SMOKE,
        *,
        change: Change | None = None,
        without: Iterable[Spec] = (),
        seed: int = 0,
    ) -> Results:
        """Results of ``specs`` and their ancestors, except of those in ``without``; ``change`` changes each."""
        left_out, rows = {spec.key for spec in without}, {}
        for spec in (one for leaf in specs for one in leaf.ancestry()):
            if spec.key not in left_out and spec.key not in rows:
                result = {"seconds": 1.0} if spec.kind == "prepare" else self.believable(spec)
                result = change(spec, result) if change else result
                rows[spec.key] = {"key": spec.key, "spec": spec.to_dict(), "result": result, "provenance": {}}
        return Results(scale, seed, rows)

    def everything(self, scale: Scale = SMOKE, **options: Any) -> Results:
        """Results of all items."""
        return self.results(papers.specs(self.paper, scale), scale, **options)

    def drawn(self, id_: str, results: Results | None = None) -> Artefact:
        """The item ``id_``; of everything at smoke scale without ``results``."""
        results = self.everything() if results is None else results
        results.forget()
        return papers.drawable(self.paper)[id_].draw(results)

    def verdicts(self, results: Results) -> dict[str, Verdict]:
        """Claim -> verdict."""
        module = papers.module(self.paper)
        assert module
        return {claim.id: verdict for claim, verdict in evaluate(module.CLAIMS, results)}

    def words(self, results: Results) -> dict[str, str]:
        """Claim -> ``holds``, ``does not hold`` or ``not run``."""
        return {claim: verdict.word for claim, verdict in self.verdicts(results).items()}

    def check_item(self, id_: str, scale: Scale = SMOKE) -> Artefact | None:
        """What an item's experiments and their ancestors give is all that it needs; it says which it used, and its
        scale.

        None where nothing is run and nothing is printed, which is said.
        """
        entry = next((item for item in inventory(self.paper) if item.id == id_), None)  # none: of ours
        specs = papers.drawable(self.paper)[id_].specs(scale, 0)
        results = self.results(specs, scale)
        try:
            made = self.drawn(id_, results)
        except NotRun as reason:
            assert not specs and f"is not run at {scale.name} scale, and the printed values" in str(reason)
            return None
        assert (made.paper, made.id, made.seed) == (self.paper, id_, 0) and len(made.frame)
        assert entry is None or (made.kind == entry.kind and entry.number in made.caption)
        assert {spec.key for spec in specs} <= set(made.results) <= set(results.rows)
        if specs:
            assert made.scale == scale.name and f"{scale.name} scale" in made.caption
            nothing, table = Results(scale, 0, {}), papers.drawable(self.paper)[id_].table
            if isinstance(table, PaperTable) and table.instead(scale) and len(table.printed()):
                bare = self.drawn(id_, nothing)
                assert f"no run of {table.instead(scale)} is recorded at {scale.name} scale" in bare.caption
                assert bare.frame.ours.isna().all() and bare.frame.published.notna().any() and not bare.results
            else:
                with pytest.raises(NotRun, match=f"{scale.name} scale"):
                    self.drawn(id_, nothing)
        else:
            assert not made.results
        if made.figure is not None:
            made.figure.canvas.draw()
        return made


def of_defense(defense: str, attack: str = "", **where: Any) -> Callable[[Spec], bool]:
    """Whether a spec is ``defense`` on the model of ``attack`` (empty: of any), with these fields."""
    return lambda spec: (
        isinstance(spec, DefendSpec)
        and spec.defense == defense
        and attack in ("", origin(spec).attack)
        and all(getattr(spec, name) == value for name, value in where.items())
    )


def of_tool(tool: str, attack: str = "") -> Callable[[Spec], bool]:
    """Whether a spec is the analysis ``tool`` of models of ``attack`` (empty: of any)."""
    return lambda s: isinstance(s, AnalysisSpec) and s.tool == tool and attack in ("", origin(s).attack)


def setting(chosen: Callable[[Spec], bool], **values: Any) -> Change:
    """Other values in the results of the chosen specs."""
    return lambda spec, result: {**result, **values} if chosen(spec) else result


def unlearned(attack: str, after: float = 100.0) -> Change:
    """The backdoor of ``attack`` is not learned, and a defense "leaves" an ASR of ``after``."""

    def change(spec: Spec, result: dict[str, Any]) -> dict[str, Any]:
        if "asr" not in result or isinstance(spec, AnalysisSpec) or origin(spec).attack != attack:
            return result
        return {**result, "asr": 5.0 if isinstance(spec, TrainSpec) else after}

    return change
