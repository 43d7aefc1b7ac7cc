"""Results of earlier versions and of failed runs: found, marked, counted apart, and in no verdict."""

import dataclasses
from typing import Any

import pytest

from paperlib import papers
from paperlib.defenses import DEFENSES
from paperlib.experiments.scales import SMOKE
from paperlib.experiments.specs import DefendSpec
from paperlib.lab.spec import Spec, from_dict, pairs
from paperlib.papers import Results
from paperlib.papers.defense_table import backdoored, defended
from paperlib.report import compare

from .made_up import of_defense, setting
from .test_ft_sam import paper


def aged(results: Results, defense: str, *, back: int = 1, **params: Any) -> Results:
    """``results`` in which ``defense`` was computed by an earlier version: a spec that has it in its ancestry gets the
    former key."""

    def older(spec: Spec) -> Spec:
        made = from_dict(spec.to_dict())
        changes: dict[str, Any] = {}
        for name in ("parent", "inputs"):
            value = getattr(made, name, None)
            if isinstance(value, Spec):
                changes[name] = older(value)
            elif isinstance(value, tuple):
                changes[name] = tuple(older(one) for one in value)
        if isinstance(made, DefendSpec) and made.defense == defense:
            changes["versions"] = pairs({**dict(made.versions), "defense": dict(made.versions)["defense"] - back})
            changes["params"] = pairs({**dict(made.params), **params})
        return dataclasses.replace(made, **changes)

    rows = {}
    for spec in papers.specs("ft_sam", SMOKE):
        for one in spec.ancestry():
            made = older(one)
            rows[made.key] = {**results.rows[one.key], "key": made.key, "spec": made.to_dict()}
    return Results(SMOKE, 0, rows)


@pytest.fixture(autouse=True)
def a_later_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """FT as if it had been mended once more, so that there is a version before."""
    now = DEFENSES["ft"]
    monkeypatch.setitem(DEFENSES, "ft", dataclasses.replace(now, version=now.version + 1, changed="it was mended"))


def test_a_table_shows_and_marks_what_an_earlier_version_computed() -> None:
    fresh = paper.everything()
    now, then = paper.drawn("table1", fresh), paper.drawn("table1", aged(fresh, "ft"))
    assert not now.frame["mark"].astype(bool).any() and "‡" not in now.html
    ft = then.frame[(then.frame.defense == "ft") & then.frame.ours.notna() & ~then.frame.attack.map(compare.is_average)]
    assert len(ft) and set(ft["mark"]) == {"computed by an earlier version of FT (since then: it was mended)"}
    assert ft.ours.tolist() == now.frame.loc[ft.index].ours.tolist()
    assert set(ft.verdict) <= {compare.EARLIER, compare.UNPUBLISHED}
    others = then.frame[(then.frame.defense != "ft") & then.frame.ours.notna()]
    assert not others["mark"].astype(bool).any()
    assert "‡: computed by an earlier version of FT (since then: it was mended)." in then.html


def test_a_figure_says_it_in_its_caption() -> None:
    made = paper.drawn("fig1", aged(paper.everything(), "ft"))
    assert "by an earlier version of FT (since then: it was mended)." in made.caption
    assert "earlier version" not in paper.drawn("fig1").caption


def test_no_claim_is_decided_by_an_earlier_version() -> None:
    results = aged(paper.everything(), "ft")
    verdicts = paper.verdicts(results.current())
    open_ = {name: verdict.reason for name, verdict in verdicts.items() if verdict.holds is None}
    assert open_ and all("earlier version of a method, which decides nothing" in reason for reason in open_.values())
    assert len(open_) < len(verdicts)  # those without FT are decided
    assert "not run" not in {verdict.word for verdict in paper.verdicts(paper.everything().current()).values()}


def test_a_current_result_comes_first_and_a_later_one_is_no_earlier_one() -> None:
    spec = defended(SMOKE, backdoored(SMOKE, "badnets"), "ft")
    old = dataclasses.replace(spec, versions=pairs(defense=1, training=1))
    new = dataclasses.replace(spec, versions=pairs(defense=99, training=1))

    def results(*specs: Spec) -> Results:
        return Results(SMOKE, 0, {s.key: {"key": s.key, "spec": s.to_dict(), "result": {"of": s.key}} for s in specs})

    assert results(old, spec).get(spec) == {"of": spec.key} and not results(old, spec).mark(spec)
    assert results(old).get(spec) == {"of": old.key}
    assert results(new).get(spec) is None and results(new, old).get(spec) == {"of": old.key}
    other = dataclasses.replace(old, seed=1)
    assert results(other).get(spec) is None
    assert results(old).current().get(spec) is None


def test_a_failed_run_is_shown_and_is_in_no_average_and_no_verdict() -> None:
    fresh = paper.everything()
    broken = paper.everything(change=setting(of_defense("ft", "badnets"), failed="class 3 is 97 % of its predictions"))
    made, whole = paper.drawn("table1", broken), paper.drawn("table1", fresh)
    cell = made.frame[(made.frame.defense == "ft") & (made.frame.attack == "badnets")]
    assert len(cell) and cell.ours.isna().all() and set(cell.verdict) == {compare.FAILED}
    assert (
        ">failed<" in made.html.replace("<br>", "<")
        and "FT of BadNets on digits, seed 0: class 3 is 97 % of its predictions" in made.html
    )
    averages = [
        frame.attack[frame.attack.map(compare.is_average)].unique().tolist() for frame in (made.frame, whole.frame)
    ]
    assert averages[0] != averages[1]  # over one attack less, or none
    verdicts = paper.verdicts(broken)
    assert any(v.holds is None and "(the run failed)" in v.reason for v in verdicts.values())


def test_the_table_of_versions_has_both_and_only_what_there_is() -> None:
    spec = defended(SMOKE, backdoored(SMOKE, "badnets"), "ft")
    fresh = paper.everything(change=setting(of_defense("ft", "badnets"), asr=7.0))
    old = aged(paper.everything(change=setting(of_defense("ft", "badnets"), asr=5.0)), "ft")
    for results, asr in (
        (Results(SMOKE, 0, {**old.rows, **fresh.rows}), {"before": 5.0, "now": 7.0}),
        (old, {"before": 5.0}),
        (fresh, {"now": 7.0}),
    ):
        made = paper.drawn("our_versions", results)
        rows = made.frame[made.frame.Defense == "FT"]
        assert dict(zip(rows.Version, rows.ASR, strict=True)) == asr
        assert "it was mended" in made.html and (spec.key in made.results) == ("now" in asr)
