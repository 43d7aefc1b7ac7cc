"""What a notebook talks to: parameters are checked before any work, and nothing is shown that was not computed."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
import pytest

from paperlib import companion, papers, paths
from paperlib.companion import check_parameters, declared_parameters, differences, injected
from paperlib.errors import PaperlibError
from paperlib.experiments.scales import SMOKE
from paperlib.lab.store import Store
from paperlib.papers import Results, ft_sam
from paperlib.papers.defense_table import backdoored, defended
from paperlib.report import published

REPOSITORY = paths.ROOT
DECLARED = {"scale": "", "seed": 0, "device": "auto", "recorded": False, "strength": 0.5, "free": None}
OF_TABLES: dict[str, Any] = {
    "attacks": [],
    "defenses": [],
    "ratio": 0.0,
    "dataset": "",
    "model": "",
    "n_clean": 0,
    "seeds": [],
}
PARAMETERS = 'scale = ""  # smoke | laptop | paper\nseed = 0  # every draw\ndevice = "auto"\nrecorded = False'


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty checkout and store in a temporary folder, with the notebook of FT-SAM."""
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setenv("PAPERLIB_STORE", str(tmp_path / "runs"))
    monkeypatch.setenv("PAPERLIB_FIGURES", str(tmp_path / "figures"))
    monkeypatch.setenv("PAPERLIB_SCALE", "smoke")
    more = "\n".join(f"{name} = {value!r}" for name, value in OF_TABLES.items())
    notebook(tmp_path / "notebooks" / "05_ft_sam.ipynb", f"{PARAMETERS}\n{more}")
    return tmp_path


def notebook(path: Path, *cells: str, tag: str = "parameters") -> Path:
    made = nbformat.v4.new_notebook()
    made.cells = [nbformat.v4.new_markdown_cell("# Title")]
    made.cells += [nbformat.v4.new_code_cell(cell, metadata={"tags": [tag]}) for cell in cells]
    path.parent.mkdir(exist_ok=True)
    nbformat.write(made, path)
    return path


def begin(**given: Any) -> companion.Companion:
    """The set-up cell, after a parameters cell that gave these values."""
    return companion.start("ft_sam", {"scale": "", "seed": 0, "device": "auto", "recorded": False, **given})


def after_papermill(source: str, **given: Any) -> companion.Companion:
    """The same after papermill injected the cell ``source``."""
    return companion.start(
        "ft_sam", {"scale": "", "seed": 0, "device": "auto", "recorded": False, **given, "In": ["", PARAMETERS, source]}
    )


# ------------------------------------------------------------------------------------------------------ parameters


def test_declared_parameters_are_the_literals_of_the_tagged_cell(tmp_path: Path) -> None:
    path = notebook(tmp_path / "n.ipynb", 'scale = ""  # a comment\nseed = 3\nlist_ = [1, -2.5, (True, None)]\n')
    assert declared_parameters(path) == {"scale": "", "seed": 3, "list_": [1, -2.5, (True, None)]}


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("seed = 0\nimport os", "line 2 of the parameters in n.ipynb is not of the form name = literal"),
        ("a = b = 0", "line 1 .* is not of the form"),
        ("a, b = 0, 1", "line 1 .* is not of the form"),
        ("a = 1\nseed = int(3)", "line 2 of the parameters in n.ipynb holds no literal"),
    ],
)
def test_a_parameters_cell_that_computes(tmp_path: Path, source: str, sentence: str) -> None:
    with pytest.raises(PaperlibError, match=sentence):
        declared_parameters(notebook(tmp_path / "n.ipynb", source))


def test_a_notebook_without_parameters(tmp_path: Path) -> None:
    with pytest.raises(PaperlibError, match=r"'n.ipynb' has no cell tagged 'parameters'"):
        declared_parameters(notebook(tmp_path / "n.ipynb", "seed = 0", tag="other"))
    with pytest.raises(PaperlibError, match=r"'missing.ipynb' cannot be read"):
        declared_parameters(tmp_path / "missing.ipynb")
    (tmp_path / "broken.ipynb").write_text("{")
    with pytest.raises(PaperlibError, match=r"'broken.ipynb' cannot be read"):
        declared_parameters(tmp_path / "broken.ipynb")


@pytest.mark.parametrize(
    "given", [{}, {"scale": "laptop", "seed": 5}, {"recorded": True}, {"strength": 2}, {"free": [1]}, {"free": "x"}]
)
def test_parameters_that_fit(given: dict[str, Any]) -> None:
    check_parameters(DECLARED, given)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"sede": 1}, r"parameter='sede' is unknown; did you mean 'seed'"),
        ({"typo": 3}, r"parameter='typo' is unknown; Known: device, free, recorded, scale, seed, strength"),
        ({"seed": "1"}, r"seed='1' is of type str; it must be of type int, like its default 0"),
        ({"seed": 1.0}, "must be of type int"),
        ({"seed": True}, "is of type bool; it must be of type int"),
        ({"recorded": 1}, "must be of type bool"),
        ({"scale": None}, "is of type NoneType; it must be of type str"),
        ({"strength": "0.5"}, "must be of type float"),
        ({"strength": True}, "must be of type float"),
    ],
)
def test_parameters_that_do_not(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(PaperlibError, match=sentence):
        check_parameters(DECLARED, given)


def test_papermill_s_cell_is_found_among_those_that_ran() -> None:
    history = ["", 'scale = ""', '# Parameters\nscale = "smoke"\nseed = -1\ntypo = 3', "book = 1"]
    assert injected(history) == ["scale", "seed", "typo"]
    assert injected(["", 'scale = ""', "x = '# Parameters'", "## Parameters\ny = 1"]) == []
    assert injected(["# Parameters\nimport os"]) == []  # a reader's own cell, not papermill's
    assert injected(["# Parameters\nlimit = float('nan')\ntypo = 3\n"]) == ["limit", "typo"]  # as papermill writes nan
    assert injected([]) == []


# ---------------------------------------------------------------------------------------------------- the set-up


def test_the_set_up_says_what_will_run(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    book = begin(device="cpu", seed=2)
    assert (book.paper.key, book.scale, book.seed, book.device) == ("ft_sam", SMOKE, 2, "cpu")
    assert capsys.readouterr().out.startswith("FT-SAM (arXiv 2304.11823) · smoke scale · seed 2 · cpu on ")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"scale": "smok"}, r"scale='smok' is unknown; did you mean 'smoke'"),
        ({"scale": 3}, "scale=3 is of type int; it must be of type str"),
        ({"seed": -1}, "seed=-1 is negative"),
        ({"seed": "0"}, "must be of type int"),
        ({"device": "gpu"}, r"device='gpu' is unknown"),
        ({"recorded": "yes"}, "must be of type bool"),
    ],
)
def test_a_wrong_parameter_stops_in_the_set_up_cell(checkout: Path, given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(PaperlibError, match=sentence):
        begin(**given)
    assert not (checkout / "runs").exists()  # before any work


def test_a_parameter_that_papermill_invents_stops_in_the_set_up_cell(checkout: Path) -> None:
    with pytest.raises(PaperlibError, match=r"parameter='typo' is unknown"):
        after_papermill("# Parameters\ntypo = 3\n", typo=3)
    with pytest.raises(PaperlibError, match=r"parameter='sacle' is unknown; did you mean 'scale'"):
        after_papermill('# Parameters\nsacle = "smoke"\n', sacle="smoke")
    with pytest.raises(PaperlibError, match=r"seed=0.5 is of type float"):
        after_papermill("# Parameters\nseed = 0.5\n", seed=0.5)
    assert after_papermill("# Parameters\nseed = 4\n", seed=4).seed == 4


def test_an_unknown_paper_says_the_nearest() -> None:
    with pytest.raises(PaperlibError, match="did you mean 'ft_sam'"):
        companion.start("ftsam", {})


# ---------------------------------------------------------------------------------------------- recorded results


def test_recorded_without_a_ledger(checkout: Path) -> None:
    book = begin(recorded=True)
    with pytest.raises(PaperlibError, match=r"nothing is recorded at scale='smoke'; run without it"):
        book.run()
    with pytest.raises(PaperlibError, match="nothing is recorded"):
        book.figure("fig3")


def test_results_are_recorded_and_read_back(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parent = backdoored(SMOKE, "blended")
    after = defended(SMOKE, parent, "ft_sam")
    store = Store()
    for spec, asr in ((parent, 97.0), (after, 3.0)):
        with store.writing(spec) as draft:
            draft.result = {"c_acc": 90.0, "asr": asr, "r_acc": 1.0}
            draft.provenance = {"seconds": 60.0, "device_name": "a chip", "torch": "9.9", "commit": "abcdef0123456789"}
    file = companion.record("ft_sam", SMOKE)
    assert file == checkout / "figures" / "smoke" / "results"
    assert not [part for part in file.iterdir() if str(checkout) in part.read_text()]
    book = begin(recorded=True)
    book.run()
    assert "2 results: 2 from figures/smoke/results in git, 0 computed." in capsys.readouterr().out
    assert book.results.get(parent)["asr"] == 97 and book.results.get(after)["asr"] == 3
    book.footer()
    told = capsys.readouterr().out
    assert "2 results, 2.0 minutes of computing on a chip" in told and "torch 9.9" in told and "abcdef012345" in told
    # what is there is drawn, what is not there is said
    made = companion.make(book.results, "ft_sam", "table1")
    ours = made.frame[made.frame.ours.notna() & (made.frame.metric == "ASR")]
    assert set(ours.ours) == {3, 97}
    saved = checkout / "figures" / "smoke" / "ft_sam"
    assert sorted(path.name for path in saved.iterdir()) == ["table1.csv", "table1.html", "table1.json"]
    assert book.figure("fig1") is None
    assert "fig1: not run (" in capsys.readouterr().out
    assert {row["verdict"] for _, row in companion.claims(book.results, "ft_sam").frame.iterrows()} == {"not run"}


def test_only_what_is_missing_is_computed(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from paperlib.lab import run as lab

    calls: list[str] = []

    def runner(spec: Any, context: Any) -> dict[str, Any]:
        calls.append(spec.key)
        (context.folder / "weights.safetensors").write_bytes(b"weights")
        return {"c_acc": 90.0, "asr": 1.0, "r_acc": 1.0}

    for kind in lab.RUNNERS:
        monkeypatch.setitem(lab.RUNNERS, kind, runner)
    quiet: Callable[[str], None] = lambda line: None  # noqa: E731
    first = companion.gather("ft_sam", SMOKE, device="cpu", ids=["fig3"], report=quiet)
    sweep = papers.items("ft_sam")["fig3"].specs(SMOKE, 0)
    assert set(calls) == set(first.rows) == {one.key for spec in sweep for one in spec.ancestry()}
    assert len(calls) == len(set(calls))
    calls.clear()
    again = companion.gather("ft_sam", SMOKE, device="cpu", ids=["fig3"], report=quiet)
    assert not calls and again.rows.keys() == first.rows.keys()


def test_an_unknown_item_says_the_nearest(checkout: Path) -> None:
    with pytest.raises(PaperlibError, match="did you mean 'fig3'"):
        companion.gather("ft_sam", SMOKE, ids=["figg3"])


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables 2 and 4 of FT-SAM are only planned."""
    for id_ in ("table2", "table4"):
        monkeypatch.delitem(ft_sam.ITEMS, id_)
    without = tuple(
        replace(i, planned="for this test" * (i.id not in ft_sam.ITEMS)) for i in published.inventory("ft_sam")
    )
    monkeypatch.setattr(published, "_inventory", lambda: without)


def test_a_planned_item_is_not_made(planned: None) -> None:
    with pytest.raises(PaperlibError, match="is planned, not implemented: for this test"):
        companion.make(Results(SMOKE, 0, {}), "ft_sam", "table2")


# -------------------------------------------------------------------------------------- what is only half there


@pytest.mark.parametrize("id_", ["table2", "table4"])
def test_a_planned_table_shows_the_printed_half_alone(planned: None, id_: str) -> None:
    made = companion.printed_only("ft_sam", id_, SMOKE)
    assert made.frame.published.notna().sum() > 50
    assert made.frame.ours.isna().all() and set(made.frame.verdict) == {"not run"}
    assert papers.reason("ft_sam", id_) in made.caption and "Printed numbers only" in made.caption
    assert f"Table {id_[-1]}" in made.caption and "<table" in made.fragment


def test_a_notebook_shows_planned_tables_without_running_anything(planned: None, checkout: Path) -> None:
    book = begin(recorded=True)  # and no ledger is there
    assert "<table" in book.table("table2").data


def test_a_notebook_shows_what_is_recorded_at_paper_scale(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    book = begin(recorded=True)
    assert book.at_paper_scale("table1") is None  # an empty checkout has no record
    assert "table1: not recorded at paper scale" in capsys.readouterr().out
    monkeypatch.setattr(paths, "ROOT", REPOSITORY)
    assert "paper scale, seed 0" in book.at_paper_scale("table1").data
    made = json.loads((checkout / "figures" / "paper" / "ft_sam" / "table1.json").read_text())
    assert made["results"] and "NVIDIA" in made["device"]


# ----------------------------------------------------------------------------------------------------- differences


def test_differences_of_the_methods() -> None:
    assert len(differences("paperlib.defenses.ft_sam")) == 4
    assert differences("paperlib.defenses.ft_sam")[0].startswith(
        "The paper does not print the learning-rate schedule. "
    )
    assert "\n" not in "".join(differences("paperlib.defenses.ft_sam"))
    assert len(differences("paperlib.defenses.ft")) == 2
    assert differences("paperlib.attacks.sig") == []  # "none known"
    assert differences("paperlib.errors") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "T.\n\nDifferences from the paper\n1. One.\n2. Two\n   goes on.\n\nMore.\n1. Not this.",
            ["One.", "Two goes on."],
        ),
        ("T.\n\nDifferences from the benchmark\n1. Last words.", ["Last words."]),
        ("T.\n\nDifferences from the benchmark: none known.\n\nIntroduced in notebook 05.\n", []),
        ("T.\n\nDifferences from the benchmark: none known.\n", []),
        ("", []),
    ],
)
def test_differences_are_the_numbered_list(
    text: str, expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"toy_method_{abs(hash(text))}"
    (tmp_path / f"{name}.py").write_text(f"{text!r}\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert differences(name) == expected


def test_differences_in_a_notebook(checkout: Path) -> None:
    shown = begin(recorded=True).differences("paperlib.attacks.sig", "paperlib.attacks.badnets").data
    assert "**`paperlib.attacks.sig`**\n\nnone known" in shown and "1. The patch is drawn" in shown


def test_an_environment_variable_asks_for_recorded_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAPERLIB_RECORDED", "1")
    assert begin().recorded
    monkeypatch.setenv("PAPERLIB_RECORDED", "0")
    assert not begin().recorded


# ------------------------------------------------------------------------------------------ not the paper's setting


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Labels of what is run, by runners that only pretend."""
    from paperlib.lab import run as lab

    calls: list[str] = []

    def runner(spec: Any, context: Any) -> dict[str, Any]:
        calls.append(spec.label)
        (context.folder / "weights.safetensors").write_bytes(b"weights")
        return {"c_acc": 90.0, "asr": 99.0 if spec.kind == "train" else 5.0, "r_acc": 1.0}

    for kind in lab.RUNNERS:
        monkeypatch.setitem(lab.RUNNERS, kind, runner)
    return calls


def test_changed_parameters_plan_only_those_cells_and_save_nothing(
    checkout: Path, ran: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    book = begin(attacks=["sig"], defenses=["ft", "nad"], ratio=0.07)
    said = capsys.readouterr().out
    assert "Not the paper's setting: attacks sig; defenses ft, nad; ratio 0.07. " in said
    book.run()
    assert f" {len(ran)} results are planned" in said
    assert {label.partition("-on-")[0] for label in ran} == {"digits-preact_resnet188-sig-0.07-s0", "ft", "nad"}
    shown = book.table("table1")
    ours = shown.artefact.frame
    assert set(ours.attack) == {"sig"} and set(ours.defense) == {"none", "ft", "nad"} and set(ours.ratio) == {0.07}
    assert ours.published.isna().all()  # what is printed is of another setting
    assert "Not the paper's setting" in shown.below and "not the paper's setting" in shown.artefact.caption
    assert book.figure("fig1") is None and "fig1: left out, because it takes no parameters" in capsys.readouterr().out
    assert book.table("table2") is None and "nothing of it is run at smoke scale" in capsys.readouterr().out
    assert book.claims() is None and "are about the paper's setting" in capsys.readouterr().out
    assert not (checkout / "figures").exists()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"attacks": ["blendid"]}, "attack='blendid' is unknown; did you mean 'blended'"),
        ({"attacks": '["blended"'}, "attacks='\\[\"blended\"' is not a list; write it as"),
        ({"attacks": 3}, "attacks=3 is of type int; it must be of type list"),
        ({"defenses": ["ftsam"]}, "defense='ftsam' is unknown; did you mean 'ft_sam'"),
        ({"ratio": 1.5}, "ratio=1.5"),
        ({"ratio": "half"}, "ratio='half' is of type str; it must be of type float"),
        ({"model": "resnet"}, "model='resnet' is unknown; did you mean"),
        ({"dataset": "cifar11"}, "dataset='cifar11' is unknown; did you mean 'cifar10'"),
        ({"dataset": "folder:/nowhere/at/all"}, "/nowhere/at/all"),
        ({"n_clean": -5}, "n_clean=-5 must be a whole number"),
        ({"seeds": [-1]}, "seeds"),
    ],
)
def test_a_wrong_setting_stops_before_any_work(
    checkout: Path, ran: list[str], given: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(PaperlibError, match=sentence):
        begin(**given)
    assert not ran and not (checkout / "runs").exists()


def test_lists_may_come_as_papermill_s_command_line_hands_them_in(checkout: Path) -> None:
    assert begin(attacks='["blended", "sig"]').changes == {"attacks": ["blended", "sig"]}
    assert begin(attacks="blended, sig", scale="smoke").changes == {"attacks": ["blended", "sig"]}
    assert begin(attacks="[]").changes == {}


def test_zero_is_a_value_where_it_is_not_the_default(checkout: Path) -> None:
    notebook(checkout / "notebooks" / "06_mp_fair_regression.ipynb", f"{PARAMETERS}\nalpha = None\nkernels = []")
    given = {"scale": "smoke", "seed": 0, "device": "auto", "recorded": False}
    assert companion.start("mp_fair_regression", {**given, "alpha": 0}).changes == {"alpha": 0}
    assert companion.start("mp_fair_regression", {**given, "alpha": None, "kernels": []}).changes == {}
    assert begin(ratio=0, n_clean=0, dataset="").changes == {}


def test_a_cell_may_ask_for_another_setting(checkout: Path, ran: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    book = begin()
    book.results = Results(SMOKE, 0, {})  # as if nothing of the paper had been run
    shown = book.table("table1", attacks=["blended"], defenses=["ft"])
    assert len(ran) == 2 and set(shown.artefact.frame.dropna(subset="ours").defense) == {"none", "ft"}
    assert "2 of 2 results to compute" in capsys.readouterr().out
    assert shown.artefact.frame.published.notna().any()  # the same cells are printed
    book.table("table1", attacks=["blended"], defenses=["ft"])
    assert len(ran) == 2  # known by now
    assert not (checkout / "figures").exists()
    with pytest.raises(PaperlibError, match="parameter='attack' is unknown; did you mean 'attacks'"):
        book.table("table1", attack=["blended"])
    with pytest.raises(PaperlibError, match="ratio cannot be changed: this item takes no parameters"):
        book.figure("fig1", ratio=0.05)


def test_a_run_that_fails_leaves_a_gap_in_a_changed_table(
    checkout: Path, ran: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from paperlib.lab import run as lab

    def fails(spec: Any, context: Any) -> dict[str, Any]:
        raise PaperlibError("these images are too few.")

    monkeypatch.setitem(lab.RUNNERS, "defend", fails)
    book = begin(attacks=["blended"], defenses=["ft"])
    book.run()
    said = capsys.readouterr().out
    assert "these images are too few" in said and "results are missing, because a run failed" in said
    assert set(book.table("table1").artefact.frame.dropna(subset="ours").defense) == {"none"}


# -------------------------------------------------------------------------------------------- what stands below


def test_below_an_item_stands_what_ran_with_links_that_lead_somewhere(
    checkout: Path, ran: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    book = begin(seed=3)
    book.run()
    monkeypatch.setattr(paths, "ROOT", REPOSITORY)
    below = book.table("table3").below
    assert "at smoke scale, seed 3; attacks " in below and "10 % poisoned" in below and "clean images" in below
    assert (
        "Ran: 14 runs" in below
    )  # two victims, FT and FT-SAM with three numbers of clean images; not the other tables'
    links = re.findall(r'href="([^"]+)"', below)
    assert "../paperlib/attacks/blended.py" in links and "../paperlib/defenses/ft_sam.py" in links
    item = next(one for one in links if one.startswith("../paperlib/papers/ft_sam/"))
    for one in links:
        file, _, line = one.partition("#L")
        text = (REPOSITORY / "notebooks" / file).resolve().read_text().splitlines()
        assert not line or text[int(line) - 1]
    file, _, line = item.partition("#L")
    assert '"table3":' in (REPOSITORY / "notebooks" / file).read_text().splitlines()[int(line) - 1]
    assert "<script" not in below and "class=" not in below and "<style" not in below


def test_the_reading_of_a_figure_stands_below_it() -> None:
    shown = companion.Shown(None, companion._html("a *b* and `c` < d"))  # type: ignore[arg-type]
    assert shown.below == "a <em>b</em> and <code>c</code> &lt; d"
