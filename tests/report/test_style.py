"""The fixed look of every method, and the figure style."""

import subprocess
import sys

import pytest

from paperlib.attacks import ATTACKS, PLANNED
from paperlib.defenses import DEFENSES
from paperlib.detection import DETECTORS
from paperlib.errors import PaperlibError
from paperlib.report import published, style

NEEDED = {
    "attack": "badnets badnets_a2a blended sig lc lf ssba input_aware wanet trojannn bpp ctrl ftrojan blind lira "
    "refool poison_ink",
    "defense": "none ft fp nad nc anp ac ss abl dbd i_bau ep clp bnp mcr rnp d_br ft_sam sau npd",
    "selection": "random balanced fus lps",
    "detector": "strip ss scan frequency ct d_br spectre vdc bhn cores cl simifeat_v simifeat_r ac abl agpd "
    "beatrix sentinet teco cd",
    "fairness": "constant ols krr mp_fair fkr fpr nrfc rba",
}


@pytest.mark.parametrize("family", style.FAMILIES)
def test_looks_are_complete_and_unique(family):
    looks = [style.look(family, name) for name in style.FAMILIES[family]]
    assert set(NEEDED[family].split()) <= set(style.FAMILIES[family])
    assert len({(look.colour, look.marker) for look in looks}) == len(looks)
    assert len({(look.colour, str(look.line)) for look in looks}) == len(looks)
    assert len({(look.colour, look.hatch) for look in looks}) == len(looks)
    assert len({look.title for look in looks}) == len(looks)


def test_whatever_is_registered_has_a_look_and_its_title():
    registries = {"attack": ATTACKS, "defense": DEFENSES, "detector": DETECTORS}
    for family, methods in registries.items():
        for name, method in methods.items():
            assert style.look(family, name).title == method.title, name
    assert set(PLANNED) <= set(style.FAMILIES["attack"]) - set(ATTACKS)


def test_looks_do_not_move():
    """Readers know a method by its look, across notebooks and releases."""
    assert style.look("defense", "none").plot()["color"] == "#333333"
    assert style.look("defense", "ft").plot()["color"] == "#de8f05"
    assert style.look("defense", "ft_sam") == style.Look("FT-SAM", "#0173b2", "D", style.LINES[2], "..")
    assert style.look("defense", "d_br").marker == style.MARKERS[6] and style.look("attack", "lira").colour == "#3a97cf"


def test_every_paper_has_a_title():
    assert set(style.PAPERS) == set(published.PAPERS)


def test_titles():
    assert style.title("defense", "i_bau") == "i-BAU" and style.title("metric", "ACC") == "C-Acc"
    assert style.title("attack", "average of 3") == "Average of 3" and style.title("attack", "new_one") == "new_one"
    assert style.title("setting", "clean_ratio=0.1;split=test") == "clean ratio 0.1, split test"


def test_unknown_names_say_the_nearest():
    with pytest.raises(PaperlibError, match="did you mean 'ft_sam'"):
        style.look("defense", "ftsam")
    with pytest.raises(PaperlibError, match="family='defence'"):
        style.look("defence", "ft")


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("colour", style.COLOURS)
def test_colours_stand_out_on_white(colour):
    assert 1.05 / (_luminance(colour) + 0.05) > 2.5  # WCAG contrast


def test_context_applies_and_leaves_no_trace():
    import matplotlib

    with matplotlib.rc_context({"font.size": 20, "figure.facecolor": "black"}):
        with style.context():
            assert matplotlib.rcParams["font.size"] == 8
            assert matplotlib.rcParams["figure.facecolor"] == "white"
            assert matplotlib.rcParams["svg.hashsalt"] == "paperlib"
        assert matplotlib.rcParams["font.size"] == 20


def test_names_need_no_matplotlib():
    code = "import sys, paperlib.report.style as s; s.look('attack', 'sig'); assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_titles_of_attacks_with_other_labels_or_a_second_trigger():
    assert style.title("attack", "blended_a2a") == "Blended-A2A" and style.title("attack", "ssba_a2a") == "SSBA-A2A"
    assert style.title("attack", "lf+badnets") == "LF + BadNets" and style.title("attack", "mine_a2a") == "mine-A2A"
