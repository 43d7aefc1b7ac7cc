"""The mean-parity paper: inventory, specs, drawing with missing data, claims on made-up results, a run at smoke
scale."""

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from paperlib import companion, papers
from paperlib.errors import PaperlibError
from paperlib.experiments import scales
from paperlib.lab.store import Store
from paperlib.papers import Results
from paperlib.papers import mp_fair_regression as mp
from paperlib.papers.mp_fair_regression import printed as fair_printed
from paperlib.papers.mp_fair_regression import protocols, runs, tables
from paperlib.papers.mp_fair_regression.runs import fair_protocol
from paperlib.report import compare
from paperlib.report.claims import NotRun

SMOKE, LAPTOP = scales.scale("smoke"), scales.scale("laptop")


def results_of(scale: scales.Scale, *pairs: tuple[Any, dict[str, Any]]) -> Results:
    rows = {spec.key: {"key": spec.key, "spec": spec.to_dict(), "result": result} for spec, result in pairs}
    return Results(scale, 0, rows)


def made_up(scale: scales.Scale, item: str, dataset: str, tables: str, values: dict[str, list[float]]) -> Any:
    return runs.experiment(scale, item, dataset, tables), {"source": tables, "values": values}


def test_importing_the_paper_is_light() -> None:
    code = (
        "import sys; import paperlib.papers.mp_fair_regression; print([m for m in ('torch', 'sklearn') if m in"
        " sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_which_table_is_used_is_part_of_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {runs.experiment(LAPTOP, "fig1", "adult", tables).key for tables in ("exact", "stand_in")}
    assert len(keys) == 2
    for origin in ("exact", "stand_in"):
        monkeypatch.setattr(runs, "origin", lambda scale, name, o=origin: "generated" if name == "synthetic" else o)
        used = {dict(spec.params)["tables"] for spec in mp.ITEMS["fig1"].specs(LAPTOP, 0)}
        assert used == {"generated", origin}


def test_missing_tables_leave_generated_data_and_nothing_in_their_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "origin", lambda scale, name: "generated" if name == "synthetic" else "missing")
    assert {dict(spec.params)["dataset"] for spec in mp.ITEMS["fig1"].specs(LAPTOP, 0)} == {"synthetic"}
    assert mp.ITEMS["fig3"].specs(LAPTOP, 0) == []
    assert [dict(spec.params)["dataset"] for spec in mp.ITEMS["fig3"].specs(SMOKE, 0)] == ["synthetic"]


def test_a_missing_data_set_shows_the_printed_half_and_how_to_get_it() -> None:
    made = mp.ITEMS["fig3"].draw(results_of(LAPTOP))
    assert made.figure is not None and "load(n, allow_stand_in=False)" in made.caption
    assert set(made.frame["verdict"]) == {compare.MISSING}
    printed = fair_printed.wide("fig", ["figure", *tables.BOX_KEYS]).query("figure == 'Figure 3'")
    assert len(made.frame) == len(printed) and made.frame["median"].isna().all()


def boxes(dataset: str) -> dict[str, list[float]]:
    """Ten trials whose median is the printed one of Figure 1."""
    printed = fair_printed.wide("fig", ["figure", *tables.BOX_KEYS])
    printed = printed.query("figure == 'Figure 1' and dataset_or_k == @dataset")
    out = {}
    for row in printed.itertuples():
        middle = next(v for v in (row.median, row.q1, row.q3) if v == v)
        out[f"{row.metric}|{row.split}|{row.method}"] = [float(middle)] * 10
    return out


def test_printed_medians_match_and_a_stand_in_is_never_judged() -> None:
    exact = mp.ITEMS["fig1"].draw(
        results_of(LAPTOP, made_up(LAPTOP, "fig1", "law_school", "exact", boxes("law_school")))
    )
    law = exact.frame[exact.frame["dataset_or_k"].eq("law_school") & exact.frame["published_median"].notna()]
    assert set(law["verdict"]) == {compare.MATCH} and len(law) > 20
    assert set(exact.frame[exact.frame["dataset_or_k"].eq("adult")]["verdict"]) <= {compare.MISSING, tables.UNTIED}
    stand_in = made_up(LAPTOP, "fig1", "law_school", "stand_in", boxes("law_school"))
    marked = mp.ITEMS["fig1"].draw(results_of(LAPTOP, stand_in))
    assert "STAND-IN" in marked.caption and compare.MATCH not in set(marked.frame["verdict"])


def test_far_off_medians_differ() -> None:
    values = {name: [v + 1 for v in column] for name, column in boxes("law_school").items()}
    made = mp.ITEMS["fig1"].draw(results_of(LAPTOP, made_up(LAPTOP, "fig1", "law_school", "exact", values)))
    law = made.frame[made.frame["dataset_or_k"].eq("law_school") & made.frame["published_median"].notna()]
    assert set(law["verdict"]) == {compare.DIFFERS}


def test_mean_shift_stands_beside_mp_in_figure_1_and_table_1() -> None:
    shift = {
        f"{metric}|{split}|linear, lambda 0: shift": [0.5] * 10
        for metric in ("MSE", "SMD")
        for split in ("Train", "Test")
    }
    shift |= {"MSE|Test|linear, lambda 0: MP": [9.0] * 10, "difference|Test|linear, lambda 0: shift": [0.1] * 10}
    values = boxes("law_school") | {f"MSE|{split}|Constant": [1.0] * 10 for split in ("Train", "Test")}
    results = results_of(
        LAPTOP,
        made_up(LAPTOP, "fig1", "law_school", "exact", values),
        made_up(LAPTOP, "mean_shift", "law_school", "exact", shift),
        made_up(LAPTOP, "mean_shift", "adult", "exact", shift),  # no result of Figure 1 beside it
    )
    figure = mp.ITEMS["fig1"].draw(results).frame.query("method == @tables.MEAN_SHIFT")
    assert figure["dataset_or_k"].tolist() == ["law_school"] * 4 and set(figure["median"]) == {0.5}
    assert figure["verdict"].isna().all()
    table = mp.ITEMS["table1"].draw(results)
    mine = table.frame.query("defense == 'mean_shift'")
    assert len(mine) == 4 and mine["published"].isna().all() and ">Mean shift (ours)<" in table.html
    assert "8 of 32 numbers run" in table.html
    used = {dict(spec.params)["item"] for id_ in ("fig1", "table1") for spec in mp.ITEMS[id_].specs(SMOKE, 0)}
    assert used == {"fig1", "mean_shift"}


def claim(name: str, results: Results) -> Any:
    (found,) = [c for c in mp.CLAIMS if c.id == name]
    return found.check(results)


@pytest.mark.parametrize(("fair", "holds"), [(1e-15, True), (1e-3, False)])
def test_claim_of_zero_train_smd(fair: float, holds: bool) -> None:
    one = {"SMD|Train|Ours": [fair]}
    several = {"k=2|SMD|Train|Ours": [0.0]}
    results = results_of(
        LAPTOP,
        *(made_up(LAPTOP, item, "adult", "exact", one) for item in ("fig1", "fig5")),
        *(made_up(LAPTOP, item, "communities_crime", "exact", several) for item in ("fig3", "fig6")),
    )
    assert claim("zero", results).holds is holds


@pytest.mark.parametrize(("test_smd", "train_mse", "holds"), [(0.1, 2.0, True), (0.9, 2.0, False), (0.1, 0.5, False)])
def test_claim_of_test_smd(test_smd: float, train_mse: float, holds: bool) -> None:
    values = {"SMD|Test|OLS": [0.5], "SMD|Test|Ours": [test_smd], "MSE|Train|OLS": [1.0], "MSE|Train|Ours": [train_mse]}
    assert claim("test_smd", results_of(LAPTOP, made_up(LAPTOP, "fig1", "adult", "exact", values))).holds is holds


@pytest.mark.parametrize(("bend", "holds"), [(0.0, True), (0.01, False)])
def test_claim_of_the_path(bend: float, holds: bool) -> None:
    u = np.linspace(0, 1, 50)
    curve = {"knob": u.tolist(), "SMD": (3 * u + bend * u * (1 - u)).tolist(), "MSE": (1 + (1 - u) ** 2).tolist()}
    spec = runs.experiment(LAPTOP, "fig7", "adult", "exact")
    results = results_of(LAPTOP, (spec, {"curves": {"Train|Ours": curve, "Train|FPR": curve, "Train|FKR": curve}}))
    assert claim("path", results).holds is holds
    assert claim("same_curve", results).holds is holds


def test_claims_that_lack_results_are_not_run() -> None:
    for one in mp.CLAIMS:
        if one.id != "boxes":
            with pytest.raises(NotRun):
                one.check(results_of(LAPTOP))
        assert one.verdict(results_of(SMOKE)).holds is None


def test_tool_takes_the_table_that_was_asked_for_or_none() -> None:
    with pytest.raises(PaperlibError, match="does not fit"):
        fair_protocol([], None, seed=0, item="fig1", dataset="synthetic", tables="exact")
    with pytest.raises(PaperlibError, match="did you mean 'fig1'"):
        fair_protocol([], None, seed=0, item="fgi1")


def test_tool_returns_what_the_protocol_computes() -> None:
    found = fair_protocol([], None, seed=0, item="fig1", trials=2)
    frame = protocols.boxes("fig1", trials=2).query("metric == 'MSE' and split == 'Test' and method == 'Ours'")
    assert found["values"]["MSE|Test|Ours"] == pytest.approx(frame["value"].tolist(), rel=1e-9)


def test_smoke_run_draws_boxes_curves_and_densities(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "origin", lambda scale, name: "generated" if name == "synthetic" else "missing")
    ids = ["fig1", "fig7", "fig13", "table1"]
    results = companion.gather(runs.PAPER, SMOKE, device="cpu", ids=ids, store=Store(tmp_path / "runs"))
    for id_ in ids:
        made = companion.make(results, runs.PAPER, id_, tmp_path)
        record = json.loads((tmp_path / "smoke" / runs.PAPER / f"{id_}.json").read_text())
        assert record["results"] and "Synthetic" in made.caption and "Not run: Adult" in made.caption
        if made.kind == "figure":
            assert len(made.png) <= 300_000 and made.alt
    assert claim("zero", results_with(results)).holds is True


def results_with(results: Results) -> Results:
    """The same results, with the several-attribute figures taken from the synthetic result of Figure 1."""
    row = results.rows[runs.experiment(SMOKE, "fig1", "synthetic", "generated").key]
    values = {f"k=2|{name}": v for name, v in row["result"]["values"].items()}
    extra = [made_up(SMOKE, item, "synthetic", "generated", values) for item in ("fig3", "fig6")]
    extra.append((runs.experiment(SMOKE, "fig5", "synthetic", "generated"), row["result"]))
    return Results(SMOKE, 0, {**results.rows, **results_of(SMOKE, *extra).rows})


def test_specs_are_unique_and_small() -> None:
    specs = papers.specs(runs.PAPER, "smoke")
    assert len({spec.key for spec in specs}) == len(specs) >= 13
    assert all(not spec.parents() and dict(spec.params)["trials"] <= 2 for spec in specs)
