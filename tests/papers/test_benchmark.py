"""The benchmark: every printed number traced to the published file, every mark and verdict able to change; our own runs
and views of models planned as the paper's grid, and shown as what the results say and nothing else."""

import csv
import gzip
import json
import re
import subprocess
import sys
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pandas as pd
import pytest
from image_toy import images, model, scene
from typer.testing import CliRunner

from paperlib import companion
from paperlib.analysis import TOOLS
from paperlib.attacks import ATTACKS
from paperlib.cli import app
from paperlib.defenses import DEFENSES
from paperlib.detection import DETECTORS
from paperlib.errors import PaperlibError
from paperlib.experiments.scales import LAPTOP, PAPER, SMOKE
from paperlib.experiments.specs import AnalysisSpec, DefendSpec, DetectSpec, TrainSpec
from paperlib.lab.spec import Spec
from paperlib.papers import Results, analysis_tools, benchmark, drawable
from paperlib.papers.benchmark import claims, figures, runs, tables
from paperlib.papers.defense_table import defended, specs_of
from paperlib.report import ranks, style
from paperlib.report.artefact import save
from paperlib.report.claims import NotRun
from paperlib.report.compare import repetition_noise
from paperlib.report.published import FOLDER, inventory

from .made_up import MadeUp

EMPTY = Results(SMOKE, 0, {})
PRINTED = [id_ for id_, item in benchmark.ITEMS.items() if not item.specs(SMOKE, 0) and id_ != "fig1"]
FIGURES = [id_ for id_ in PRINTED if id_.startswith("fig")]
TABLES = [id_ for id_ in PRINTED if not id_.startswith("fig")]
INSIDE = [id_ for id_ in benchmark.ITEMS if id_ not in PRINTED and id_ != "fig1"]
OWN = [
    id_
    for id_, item in benchmark.OURS.items()
    if id_ not in analysis_tools.ITEMS and id_ not in ("our_ranks", "our_conclusions")
]
SMALL: dict[str, dict[str, Any]] = {
    "tsne": {"n": 20},
    "neuron_activation": {"n": 20},
    "gradcam": {"true_class": 1},
    "shapley": {"true_class": 1, "backgrounds": 2, "steps": 2, "top": 1},
    "frequency_saliency": {"true_class": 1},
    "trigger_generalisation": {"shifts": (0, 1)},
    "dynamics": {"n": 8, "n_gradient": 4, "epochs": 2},
}


@cache
def looked(tool: str, count: int) -> dict[str, Any]:
    """What ``tool`` says of ``count`` toy models."""
    around = scene(images(40, size=16))
    net = model(around.train).eval()
    return dict(TOOLS[tool].load()([net] * count, around, seed=0, **SMALL.get(tool, {})))


def believable(spec: Spec) -> dict[str, Any]:
    """Numbers that differ from cell to cell."""
    if isinstance(spec, AnalysisSpec):
        found = looked(spec.tool, 0 if spec.tool == "triggers" else len(spec.inputs))
        parent = spec.inputs[0]
        named = "attack" in found or spec.tool == "triggers"
        return {**found, "attack": parent.attack} if named and isinstance(parent, TrainSpec) else found
    k = int(spec.key, 16) % 97 / 10
    if isinstance(spec, DetectSpec):
        return {"tpr": 80 + k, "fpr": k, "f1": 60 + k, "auroc": 90 + k, "n_flagged": 9, "seconds": k}
    asr = 85 + k if isinstance(spec, TrainSpec) else 20 + k
    out: dict[str, Any] = {"c_acc": 60 + k, "asr": asr, "r_acc": 100 - asr, "seconds": 1 + k}
    return {**out, "n_train": 1000, "log": [{"epoch": 1, "asr": asr}]} if isinstance(spec, TrainSpec) else out


made = MadeUp("benchmark", believable)


@pytest.fixture(scope="module")
def raw() -> dict[tuple[str, str, str, str, str], dict[str, str]]:
    """(data set, model, ratio, attack, defense), all as in the file -> metric -> text; read without the project's
    reader."""
    cells: dict[tuple[str, str, str, str, str], dict[str, str]] = defaultdict(dict)
    with gzip.open(FOLDER / "benchmark.csv.gz", "rt", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["item"] != "leaderboard_2022":
                continue
            key = (row["dataset"], row["model"], row["ratio"], row["attack"], row["defense"])
            cells[key][row["metric"]] = row["value"]
    return dict(cells)


@pytest.fixture
def altered(monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    """A leaderboard to write into."""
    frame = runs.board()
    monkeypatch.setattr(runs, "_board", lambda: frame)
    return frame


# ------------------------------------------------------------------------------------------------------- the cells


def test_the_cells_are_those_of_the_file(raw: Any) -> None:
    frame = runs.board()
    assert len(frame) == len(raw) == 8000
    copied = {"copied ratio": 22, "copied data set": 80 - 6}  # six of the 80 copies are collapsed, and counted there
    assert Counter(frame.status) == {"": 8000 - 946 - 217 - 96, "NA": 946, "collapsed": 217, **copied}
    assert (frame.status == "NA").sum() == sum(cell["ACC"] == "" for cell in raw.values())
    one = runs.board(dataset="cifar10", model="preact_resnet18", ratio=0.1, attack="badnets", defense="ft").iloc[0]
    same = raw["cifar10", "preact_resnet18", "0.1", "badnets", "ft"]
    assert all(one[m] == float(same[m]) for m in runs.METRICS)
    for metric in runs.METRICS:
        values = [float(cell[metric]) for cell in raw.values() if cell[metric]]
        assert sorted(frame[metric].dropna()) == sorted(values)
    assert 100 < (frame.ASR + frame["R-ACC"]).max() <= 100.051


def test_where_networks_are_collapsed() -> None:
    frame = runs.board()
    part = frame[frame.status != "NA"]
    of = Counter(zip(part.dataset, part.model, part.defense, strict=True))
    dead = part[part.status == "collapsed"]
    found = Counter(zip(dead.dataset, dead.model, dead.defense, strict=True))
    vgg = {d: (found[d, "vgg19", "dbd"], of[d, "vgg19", "dbd"]) for d in runs.LARGEST_CLASS}
    assert vgg == {"cifar10": (40, 40), "cifar100": (36, 36), "gtsrb": (34, 34), "tiny": (33, 34)}
    assert found["cifar100", "vgg19", "abl"] == 13 and found["gtsrb", "vgg19", "abl"] == 8
    assert found["gtsrb", "preact_resnet18", "abl"] == 7
    for name, share in runs.LARGEST_CLASS.items():  # what is not marked knows something
        alive = part[(part.dataset == name) & (part.status == "")]
        assert alive.ACC.min() > 100 * share


def test_copied_cells() -> None:
    frame = runs.board()
    keys = ["model", "attack", "defense"]
    rows = frame[frame.status == "copied ratio"]
    assert Counter(rows.attack) == {"badnets": 5, "blended": 5, "sig": 5, "ssba": 5, "wanet": 2}
    assert set(zip(rows.dataset, rows.ratio, rows.defense, strict=True)) == {("tiny", 0.01, "none")}
    blocks = frame[frame.status == "copied data set"]
    assert set(blocks.attack) == {"badnets", "blended", "ssba", "wanet"} and set(blocks.defense) == {
        "ac",
        "ss",
        "abl",
        "dbd",
    }
    assert set(zip(blocks.dataset, blocks.ratio, strict=True)) == {("tiny", 0.05)}
    for copies, twin in ((rows, {"dataset": "tiny", "ratio": 0.001}), (blocks, {"dataset": "gtsrb", "ratio": 0.05})):
        origin = runs.board(**twin).set_index(keys)
        for cell in copies.to_dict("records"):
            for metric in runs.METRICS:
                assert cell[metric] == pytest.approx(origin.loc[tuple(cell[k] for k in keys), metric], abs=0.0101)
    proper = frame[frame.dataset.eq("tiny") & frame.status.eq("")]
    assert proper.ACC.max() < 60 < blocks.ACC.max()  # what is left could be Tiny ImageNet


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ({"dataset": "cifar"}, "did you mean 'cifar10'"),
        ({"model": ("vgg19", "vgg16")}, "model='vgg16' is unknown; did you mean 'vgg19'"),
        ({"ratio": 0.2}, "ratio='0.2' is unknown"),
        ({"metric": "ASR"}, "column of the leaderboard='metric' is unknown"),
    ],
)
def test_unknown_cells(where: dict[str, Any], said: str) -> None:
    with pytest.raises(PaperlibError, match=re.escape(said)):
        runs.board(**where)


def test_a_board_is_a_copy() -> None:
    frame = runs.board()
    frame["ASR"] = 0.0
    assert runs.board().ASR.max() == 100.0


def test_means_leave_out_what_is_no_result(raw: Any) -> None:
    """GTSRB, PreAct-ResNet18, ABL: NA, collapsed and proper cells, averaged by hand from the file."""
    found = runs.means(runs.board(dataset="gtsrb", model="preact_resnet18", defense="abl"), ["ratio"])
    cells = {k: v for k, v in raw.items() if k[0] == "gtsrb" and "preact" in k[1] and k[4] == "abl"}
    for ratio in runs.RATIOS:
        mine = [v for k, v in cells.items() if float(k[2]) == ratio and v["ACC"] and float(v["ACC"]) > 5.94]
        assert found.n[ratio] == len(mine) < 8
        assert found.ASR[ratio] == pytest.approx(mean(float(v["ASR"]) for v in mine))
    assert runs.means(runs.board(model="vgg19", dataset="cifar10", defense="dbd"), ["ratio"]).empty


def test_curves_are_whole() -> None:
    whole = runs.curves(runs.board(dataset="gtsrb", model="preact_resnet18"))
    assert list(whole.columns) == sorted(runs.RATIOS) and whole.notna().all(axis=None)
    attacks = set(whole.index.get_level_values("attack"))
    assert attacks == {"badnets", "blended", "lf", "ssba", "input_aware", "wanet"}  # LC and SIG are NA at 10 %


# -------------------------------------------------------------------------------------------------------- the items


def test_importing_it_is_light() -> None:
    code = (
        "import sys; import paperlib.papers.benchmark;"
        "print([m for m in ('torch', 'sklearn', 'matplotlib.pyplot') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def drawn(id_: str, results: Results = EMPTY) -> Any:
    return benchmark.ITEMS[id_].draw(results)


@pytest.mark.parametrize("id_", TABLES)
def test_tables(id_: str) -> None:
    made = drawn(id_)
    assert (made.id, made.kind, made.scale, made.seed, made.results) == (id_, "table", "paper", 0, ())
    if "ACC" in made.frame:
        assert "printed, not ours" in made.caption and "our own runs stand in tables of their own" in made.fragment
        counts = Counter(made.frame.status)
        assert f"{len(made.frame):,} cells, {counts['NA']} NA, {counts['collapsed']} collapsed)" in made.caption
    assert "scale" not in made.caption


def rows_of(html: str) -> list[list[str]]:
    """Texts of the cells of a table, row by row, without footnotes and row headers."""
    plain = re.sub(r"<sup>.*?</sup>", "", html)
    return [re.findall(r'<td class="n">(?:<b>)?(.*?)(?:</b>)?</td>', row) for row in re.findall(r"<tr.*?</tr>", plain)]


@pytest.mark.parametrize(
    ("dataset", "model", "ratio"),
    [("cifar10", "preact_resnet18", 0.1), ("gtsrb", "vgg19", 0.05), ("tiny", "preact_resnet18", 0.01)],
)
def test_a_result_table_shows_the_file(dataset: str, model: str, ratio: float, raw: Any) -> None:
    made = tables.result_table(dataset, model, ratio)
    rows = [row for row in rows_of(made.fragment) if row]
    assert len(rows) == 8 * 3 + 4 and all(len(row) == 10 for row in rows)
    for i, attack in enumerate(runs.ATTACKS):
        for j, metric in enumerate(runs.METRICS):
            for k, defense in enumerate(runs.DEFENSES):
                text = raw[dataset, model, f"{ratio:g}", attack, defense][metric]
                assert rows[3 * i + j][k] == (f"{float(text):.2f}" if text else "NA")
    counts = [int(text) if text != "–" else 0 for text in rows[-1]]
    assert sum(counts) == (made.frame.status == "").sum()
    marks = made.fragment.count("<sup>×</sup>")
    assert marks == 3 * (made.frame.status == "collapsed").sum()


def test_known_errors_stand_below_the_tables_that_they_touch() -> None:
    first = tables.result_table("cifar10").fragment
    for name in ("lc", "fp", "anp", "ac"):
        assert runs.ERRORS[name] in first
    assert runs.ERRORS["copied ratio"] not in first and "LC<sup>1</sup>" in first and "ANP<sup>3</sup>" in first
    copied = tables.result_table("tiny", ratio=0.01).fragment
    assert runs.ERRORS["copied ratio"] in copied and copied.count("<sup>5</sup>") == 3 * 4


def test_hyper_parameters_are_those_of_the_code() -> None:
    from paperlib.attacks.sig import SIG

    frame = drawn("supp_table1").frame.set_index(["Attack", "Hyper-parameter"])
    assert frame.loc[("SIG", "delta"), "Our default"] == f"{SIG.delta:.4g}"
    assert frame.loc[("SIG", "frequency"), "Meaning"] == "Periods over the width of the image."
    missing = [name for name in runs.ATTACKS if name not in ATTACKS]
    assert (frame.Meaning == "not built yet").sum() == len(missing)


@pytest.mark.parametrize("id_", FIGURES)
def test_figures(id_: str) -> None:
    made = drawn(id_)
    entry = next(item for item in inventory("benchmark") if item.id == id_)
    assert (made.id, made.kind, made.scale, made.results) == (id_, "figure", "paper", ())
    assert "printed, not ours" in made.caption and made.caption.startswith(f"Figure {entry.number}")
    assert ("inferred" in made.caption) == (not entry.verified)
    assert "LC was run without its corner trigger" in made.caption and "oracle" in made.caption
    assert made.alt.strip() and len(made.frame)
    assert len(made.figure.axes) == {"fig9": 40, "fig_overview": 8, "fig_architecture": 11}.get(id_, 10)


def lines_of(made: Any) -> list[tuple[str, dict[str, np.ndarray]]]:
    return [
        (axes.get_title(), {str(line.get_label()): np.asarray(line.get_ydata()) for line in axes.get_lines()})
        for axes in made.figure.axes
    ]


def test_the_lines_are_the_cells() -> None:
    panels = dict(lines_of(drawn("fig_ratio")))
    assert list(panels) == ["No defense", "FT", "FP*", "NAD", "NC", "ANP*", "AC*", "SS", "ABL", "DBD"]
    assert panels["No defense"]["BadNets"].tolist() == [1.23, 50.06, 74.73, 88.74, 95.03]
    assert panels["FT"]["Blended"][-1] == 96.11 and len(panels["FT"]) >= 8


def test_collapsed_and_copied_cells_are_off_the_lines_and_marked() -> None:
    panels = lines_of(figures.ratio_figure("fig9", "cifar10", ("vgg19",)))
    names = {"LC*", *(style.title("attack", name) for name in runs.ATTACKS)}
    crosses = {"DBD": 0, "ABL": 0}
    for title, lines in panels:
        proper = np.concatenate([y for name, y in lines.items() if name in names])
        if title in ("DBD", "ANP*"):
            assert np.isnan(proper).all()
        if title in crosses:
            others = [y for name, y in lines.items() if name not in names]
            crosses[title] = int(sum(np.isfinite(y).sum() for y in others))
    assert crosses == {"DBD": 40, "ABL": 0}
    tiny = dict(lines_of(drawn("fig_ratio_tiny")))
    hollow = {title: [y for name, y in lines.items() if name.startswith("_")] for title, lines in tiny.items()}
    counts = {title: int(sum(np.isfinite(y).sum() for y in ys)) for title, ys in hollow.items()}
    assert counts["No defense"] == counts["AC*"] == counts["DBD"] == 4 and counts["FT"] == 0
    assert np.isnan(tiny["No defense"]["BadNets"][2]) and np.isnan(tiny["DBD"]["BadNets"][3])


def test_the_heat_map_writes_every_cell() -> None:
    figure = drawn("fig_architecture").figure
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    frame = runs.board(dataset="cifar10", ratio=0.1)
    assert len(texts) == len(frame) == 400
    assert texts.count("NA") == (frame.status == "NA").sum() == 8
    assert texts.count("×") == (frame.status == "collapsed").sum() > 0


def test_a_saved_figure_carries_no_scale_and_lies_with_the_papers(tmp_path: Path) -> None:
    made = drawn("fig_ratio", Results(LAPTOP, 3, {}))
    saved = save(made, tmp_path, companion.provenance_of(EMPTY, made.results))
    assert {path.relative_to(tmp_path).as_posix() for path in saved.values()} == {
        f"paper/benchmark/fig_ratio.{suffix}" for suffix in ("png", "svg", "csv", "json")
    }
    assert b"scale" not in re.sub(rb'transform="[^"]*"', b"", saved["svg"].read_bytes()).split(b"</metadata>")[-1]
    record = json.loads(saved["json"].read_text())
    assert (record["scale"], record["seed"], record["results"], record["minutes"]) == ("paper", 0, [], 0)


# ---------------------------------------------------------------------------------------------------------- claims


def verdicts() -> dict[str, str]:
    return {claim.id: claim.verdict(EMPTY).word for claim in benchmark.CLAIMS}


def test_the_claims_hold_in_print() -> None:
    assert set(verdicts().values()) == {"holds"}
    numbers = next(c for c in benchmark.CLAIMS if c.id == "rises_then_falls").verdict(EMPTY).numbers
    assert numbers["FT at 5 %"] == pytest.approx(74.7, abs=0.05) and numbers["FT at 10 %"] == pytest.approx(
        35.4, abs=0.05
    )


@pytest.mark.parametrize(
    ("claim", "defense", "ratio", "asr"),
    [
        ("rises_then_falls", "nad", 0.1, 100.0),
        ("undefended_grows", "none", 0.01, 0.0),
        ("filters_fail", "ss", 0.1, 0.0),
        ("anp_lowest", "anp", 0.1, 60.0),
    ],
)
def test_a_claim_can_fail(claim: str, defense: str, ratio: float, asr: float, altered: pd.DataFrame) -> None:
    altered.loc[(altered.defense == defense) & (altered.ratio == ratio), "ASR"] = asr
    assert verdicts()[claim] == "does not hold"


def test_the_claim_about_both_kinds_of_curves_can_fail(altered: pd.DataFrame) -> None:
    altered["ASR"] = 1000 * altered.ratio  # every curve grows
    assert verdicts()["some_grow_some_fall"] == "does not hold"


def test_claims_say_what_they_were_checked_on(tmp_path: Path) -> None:
    made = companion.claims(Results(LAPTOP, 5, {}), "benchmark", tmp_path)
    assert (made.scale, made.seed) == (
        "paper",
        0,
    ) and made.caption == "Claims of the paper, checked on the printed numbers"
    assert "checked on the printed numbers: 5 of the 5" in made.fragment and "laptop" not in made.fragment
    assert (tmp_path / "paper" / "benchmark" / "claims.csv").is_file()


# ------------------------------------------------------------------------------------------- notebook and commands


def test_printed_items_need_nothing_computed() -> None:
    for recorded in (False, True):  # nothing can be missing from a ledger that nothing belongs into
        assert companion.gather("benchmark", SMOKE, recorded=recorded, ids=[*FIGURES, *TABLES]).rows == {}


def test_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAPERLIB_STORE", str(tmp_path / "runs"))

    def call(*words: str) -> str:
        done = CliRunner().invoke(app, list(words))
        assert done.exit_code == 0, done.output
        return done.output

    out = call("figure", "benchmark/table2", "--scale", "laptop", "--out", str(tmp_path))
    assert "table2.html" in out and (tmp_path / "paper" / "benchmark" / "table2.csv").is_file()
    out = call("claims", "benchmark", "--scale", "laptop")
    assert "BackdoorBench, the printed numbers: 5 claims" in out and out.count("[holds]") == 5


# ---------------------------------------------------------------------------------------------------------- our runs


def test_the_paper_scale_plan_is_the_papers_grid_without_what_cannot_exist() -> None:
    keys, trained, purified = set(), 0, 0
    for spec in runs.whole_grid(PAPER):
        keys.add(spec.key)
        trained += isinstance(spec, TrainSpec)
        purified += isinstance(spec, DefendSpec)
    # LC and SIG exist up to the share of class 0: 5, 3, 2 and 2 of the five ratios
    feasible = 5 * sum(6 * 5 + 2 * n for n in (5, 3, 2, 2))
    assert trained == feasible and len(keys) == trained + purified
    assert purified == feasible // 5 * (4 * 9 + 8)  # VGG19 has no batch norm: no ANP
    assert {s.dataset for s in runs.whole_grid(PAPER) if isinstance(s, TrainSpec)} == set(runs.CLEAN_LABEL_SHARE)


def test_the_whole_grid_can_be_planned_from_the_command_line(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app, ["lab", "plan", "benchmark", "--whole", "--scale", "paper", "--store", str(tmp_path)]
    )
    assert done.exit_code == 0 and "7104" in done.stdout  # with the clean models and what attacks prepare
    refused = CliRunner().invoke(app, ["lab", "plan", "ft_sam", "--whole", "--store", str(tmp_path)])
    assert refused.exit_code != 0 and "has no grid beyond its items" in refused.output


def test_every_defense_says_what_it_sees() -> None:
    assert {tables.access(name) for name in DEFENSES} == set(tables.ACCESS.values())


def test_slices_name_what_exists() -> None:
    for part in runs.SLICES.values():
        assert set(part.attacks) <= set(ATTACKS) and set(part.defended) <= set(part.attacks)
        assert set(part.detected) <= set(part.attacks)
        assert set(part.defenses) <= set(DEFENSES) and set(part.detectors) <= set(DETECTORS)


@pytest.mark.parametrize("id_", [*OWN, *INSIDE])
def test_an_item_is_drawn_from_its_results_and_not_without_them(id_: str) -> None:
    item = drawable("benchmark")[id_]
    scale = LAPTOP if id_ in ("our_input_aware", "our_repetition", "our_seeds") else SMOKE  # these are about one scale
    artefact = made.drawn(id_, made.results(item.specs(scale, 0), scale))
    assert len(artefact.frame) and f"{scale.name} scale" in artefact.caption and artefact.scale == scale.name
    assert artefact.results and (id_ in OWN or artefact.caption.startswith("Figure "))
    with pytest.raises(NotRun):
        made.drawn(id_, Results(scale, 0, {}))


def test_input_aware_is_studied_one_cut_at_a_time() -> None:
    specs = runs.input_aware_specs(LAPTOP, 0)
    assert len({spec.key for spec in specs}) == len(runs.STUDIES)
    assert specs[0].key == runs.attacked(LAPTOP, "input_aware").key
    assert not runs.input_aware_specs(SMOKE, 0)


def test_every_seed_has_a_victim_of_its_own() -> None:
    specs = [spec for cells in runs.seed_cells(LAPTOP, 0).values() for spec in specs_of(cells)]
    victims = [spec for spec in specs if isinstance(spec, TrainSpec)]
    assert {spec.seed for spec in victims} == {0, 1, 2} and len({spec.key for spec in specs}) == len(specs)
    assert all(spec.seed == spec.parent.seed for spec in specs if isinstance(spec, DefendSpec))
    frame = made.drawn("our_seeds", made.results(specs, LAPTOP)).frame.set_index(["Attack", "Defense"])
    asr = [believable(spec)["asr"] for spec in victims if spec.attack == "wanet"]
    assert frame.loc[("WaNet", "none"), "Mean ASR"] == pytest.approx(sum(asr) / 3)


def test_repetition_is_the_distance_between_two_computations_of_the_same_cells() -> None:
    specs = runs.repetition_specs(LAPTOP, 0)
    results, second = made.results(specs, LAPTOP), runs.repeated(LAPTOP)
    frame = made.drawn("our_repetition", results).frame.set_index("Defense")
    undefended = [spec for spec in specs if isinstance(spec, TrainSpec)]
    apart = [abs(results.need(spec)["asr"] - second[spec.key]["result"]["asr"]) for spec in undefended]
    assert frame.loc["none", "Cells"] == len(undefended) > 10
    assert frame.loc["none", "ASR, mean"] == pytest.approx(sum(apart) / len(apart))
    assert frame["Cells"].sum() == len(specs)


def test_the_table_of_attacks_shows_results_and_printed_values() -> None:
    frame = made.drawn("our_attacks", made.results(runs.attack_specs(SMOKE, 0))).frame.set_index("Attack")
    result = believable(runs.attacked(SMOKE, "badnets"))
    assert frame.loc["BadNets", "ASR"] == result["asr"]
    assert frame.loc["BadNets", "ASR printed"] == 95.03  # the leaderboard of 2022
    assert frame.loc["BadNets", "Minutes"] == round(result["seconds"] / 60, 1)


def test_what_was_not_run_is_counted_and_not_filled_in() -> None:
    parent = runs.attacked(SMOKE, "blended")
    artefact = made.drawn("our_defenses", made.results([defended(SMOKE, parent, "ft")]))
    assert f"2 of {1 + len(runs.SLICES['smoke'].defenses)} cells run" in artefact.caption
    ran = artefact.frame[artefact.frame.ours.notna()]
    assert set(ran.defense) == {"none", "ft"} and set(ran.attack) == {"blended"}


def test_a_reader_changes_the_grid_of_defenses() -> None:
    item = benchmark.OURS["our_defenses"].changed(attacks=["badnets"], defenses=["ft", "sau"])
    artefact = item.draw(made.results(item.specs(SMOKE, 0)))
    assert (
        len(item.specs(SMOKE, 0)) == 3
        and "not the paper's setting (attacks BadNets; defenses FT, SAU)" in artefact.caption
    )
    ran = artefact.frame[artefact.frame.ours.notna()]
    assert set(ran.defense) == {"none", "ft", "sau"} and ran[ran.metric == "ASR"].published.notna().all()
    other = item.changed(ratio=0.05)
    assert other.draw(made.results(other.specs(SMOKE, 0))).frame.published.isna().all()


# ------------------------------------------------------------------------------------------------------ looking inside


def test_below_paper_scale_only_models_of_the_grid_are_looked_at() -> None:
    grid = {s.key for id_ in OWN for spec in benchmark.OURS[id_].specs(LAPTOP, 0) for s in spec.ancestry()}
    trained = {
        s.key: s.label
        for id_ in INSIDE
        for spec in benchmark.ITEMS[id_].specs(LAPTOP, 0)
        for s in spec.ancestry()
        if isinstance(s, TrainSpec | DefendSpec)
    }
    assert trained and not {label for key, label in trained.items() if key not in grid}


def test_the_panels_are_the_papers_at_paper_scale() -> None:
    parents = runs.visual_parents(PAPER, 0)
    assert [p.model for p in parents] == list(runs.MODELS)
    assert {(p.dataset, p.attack, p.ratio) for p in parents} == {("tiny_imagenet", "badnets", 0.05)}
    (group,) = runs.visual_specs(LAPTOP, 0, "ac")
    assert [spec.tool for spec in group] == list(runs.VIEWS)
    assert all(isinstance(s.inputs[0], DefendSpec) and s.inputs[0].defense == "ac" for s in group)


def test_structure_names_every_registered_method() -> None:
    frame = figures.structure().frame
    for part, (_, registry, _) in figures.MODULES.items():
        assert list(frame[frame.part == part]["name"]) == list(registry)


def test_noise_is_that_of_the_published_repetitions() -> None:
    sd = claims.noise_sd(["none", "ft", "dbd"])
    measured = repetition_noise("ASR", "ft")
    assert (
        measured and sd["ft"] == pytest.approx(ranks.repetition_sd(measured)) and repetition_noise("ASR", "dbd") is None
    )
    assert sd["dbd"] == sd["ft"] and sd["none"] < sd["ft"]


def test_the_figure_of_ranks_has_our_runs_where_there_are_enough() -> None:
    artefact = made.drawn("our_ranks", EMPTY)
    assert set(artefact.frame.source) == {"printed"} and "too few to rank" in artefact.caption
    first = artefact.frame.sort_values("rank").iloc[0]
    assert first.defense == "anp" and first.asr == pytest.approx(1.3, abs=0.05)
    parents = [runs.attacked(LAPTOP, name) for name in ("badnets", "blended", "sig", "lf")]
    results = made.results([defended(LAPTOP, p, d) for p in parents for d in ("ft", "nad", "fp")], LAPTOP)
    frame = made.drawn("our_ranks", results).frame
    ours = frame[frame.source == "ours"].set_index("defense")
    expected = np.mean([results.need(defended(LAPTOP, p, "nad"))["asr"] for p in parents])
    assert set(ours.index) == {"ft", "nad", "fp"} and ours.loc["nad", "asr"] == pytest.approx(expected)


def test_conclusions_say_what_print_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "survival", lambda cells, noise, statements, **more: dict.fromkeys(statements, 0.5))
    frame = made.drawn("our_conclusions", EMPTY).frame.set_index("Statement")
    words = verdicts()
    assert words["anp_lowest"] == frame.loc["At 10 % ANP leaves the lowest mean ASR", "In print"] == "holds"
    assert words["filters_fail"] == frame.loc["At 10 % AC stays within 10 points of no defense", "In print"] == "holds"
    assert words["rises_then_falls"] == frame.loc["After FT the mean ASR at 10 % is below that at 5 %", "In print"]
    assert (frame["Survives (%)"] == 50).all()


def test_detectors_of_a_minority_also_see_sets_where_poison_is_one() -> None:
    planned = runs.detections(LAPTOP, 0)
    for ratio in (0.01, 0.05):
        assert {name for _, r, name in planned if r == ratio} == set(runs.OF_A_MINORITY)
    for (attack, ratio, name), spec in planned.items():
        assert (spec.parent.attack, spec.detector) == (attack, name) and spec.parent.ratio == ratio
    assert all(ratio == runs.RATIO for _, ratio, _ in runs.detections(SMOKE, 0))
