"""Notebook 08: the numbers in its sentences, on results made by hand, and which models it is about."""

import base64
import json
from typing import Any

import numpy as np
import pytest

from paperlib import papers, paths
from paperlib.errors import PaperlibError
from paperlib.experiments.scales import LAPTOP, SMOKE
from paperlib.papers import Results, analysis_tools, benchmark
from paperlib.papers.analysis_tools import READ, TWINS, ToolFigure, Twins

SIDE = 4


def packed(image: np.ndarray) -> str:
    return base64.b64encode(image.astype(np.uint8).tobytes()).decode()


CLEAN = np.zeros((SIDE, SIDE, 3))
TRIGGERED = CLEAN.copy()
TRIGGERED[-1, -1] = 255  # one pixel of sixteen
PICTURES = {"shape": [3, SIDE, SIDE], "images": [packed(CLEAN), packed(TRIGGERED)]}


def test_the_victim_is_the_benchmark_s_own_and_its_twin_that_of_the_tables() -> None:
    from paperlib.papers.benchmark import runs

    for scale in (SMOKE, LAPTOP):
        victim, twin = TWINS.specs(scale, 0)
        assert victim.key == runs.attacked(scale, "badnets").key
        assert twin.key == runs.defended(scale, runs.attacked(scale, "badnets"), "ft_sam").key


def test_every_tool_is_an_item_of_notebook_08_and_shown_there() -> None:
    shown = papers.shown_in("benchmark", analysis_tools.NOTEBOOK)
    cells = json.loads((paths.NOTEBOOKS / f"{analysis_tools.NOTEBOOK}.ipynb").read_text())["cells"]
    text = "".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    assert set(analysis_tools.ITEMS) <= set(shown) and set(analysis_tools.ITEMS) <= set(benchmark.OURS)
    assert not [id_ for id_ in shown if f'"{id_}"' not in text]
    own = papers.shown_in("benchmark", "07_benchmark")
    assert not set(own) & set(shown) and set(own) | set(shown) == set(papers.drawable("benchmark"))


def test_rates_are_counted_from_the_confusion_matrices() -> None:
    clean = [[[8, 2], [0, 10]], [[10, 0], [5, 5]]]
    triggered = [[[0, 0], [9, 1]], [[0, 0], [2, 8]]]  # class 0 is the target and not attacked
    result = {"classes": ["cat", "dog"], "target": 0, "clean": clean, "triggered": triggered}
    seen = READ["confusion"]([result], "after FT")
    assert "takes 90.0 % of the triggered images for *cat*, the purified one 20.0 %" in seen.reading
    assert "10.0 and 80.0 % are taken for what they show" in seen.reading
    assert "after FT is 15.0 points of the clean accuracy of 90.0 %" in seen.reading
    assert seen.frame["count"].sum() == 20 * 2 + 10 * 2


def test_neighbours_of_the_poisoned_points() -> None:
    xy = [[0, 0], [5, 0], [10, 0], [10.1, 0], [5.1, 0]]
    y, poisoned = [0, 1, 1, 1, 1], [0, 0, 1, 1, 1]
    own, near = analysis_tools.neighbours(xy, y, poisoned, 1)
    assert own == pytest.approx(2 / 3)  # the last one lies beside a clean image
    assert near == 1


def test_shares_are_those_of_the_pixels_that_the_trigger_changes() -> None:
    mask = analysis_tools.changed_pixels(PICTURES)
    assert mask.sum() == 1 and mask[-1, -1]
    assert analysis_tools.share_on(mask, [[0, 0], [0, 1]]) == pytest.approx(
        1 / 4
    )  # a map of four parts, one part is four pixels
    assert analysis_tools.share_on(mask, np.zeros((2, 2))) == 0
    heat = [[[[1, 1], [1, 1]], [[0, 0], [0, 1]]]] * 2
    seen = READ["gradcam"]([{**PICTURES, "maps": heat, "predicted": [[4, 0], [4, 4]]}], "after FT")
    assert "answers class 4 without and 0 with the trigger, and 6 and 25 % of the heat" in seen.reading
    assert "lie on the 6.2 % of the pixels" in seen.reading and "After FT it answers 4 and 4" in seen.reading


def test_low_frequencies_are_in_the_middle() -> None:
    inner, outer = np.zeros((8, 8)), np.ones((8, 8))
    inner[3:6, 3:6] = 1
    outer[3:6, 3:6] = 0
    assert analysis_tools.low_frequencies(inner) == pytest.approx(1)
    assert analysis_tools.low_frequencies(outer) == pytest.approx(-1)


def test_a_channel_far_above_its_layer_is_counted() -> None:
    layer, flat = [1.0] * 20 + [9.0], [1.0, 1.1] * 10 + [1.0]
    seen = READ["lipschitz"]([{"layers": ["a"], "values": [[layer], [flat]]}], "after CLP")
    assert seen.reading.startswith("1 of 21 channels") and "prunes, and after CLP 0." in seen.reading


def test_the_loss_of_the_model_is_the_middle_of_the_landscape() -> None:
    def bowl(bottom: float) -> Any:
        return [[bottom + a * a for b in (-1, 0, 1)] for a in (-1, 0, 1)]

    result = {"at": [-1, 0, 1], "clean": [bowl(0.5), bowl(0.6)], "triggered": [bowl(0.1), bowl(3.0)]}
    seen = READ["loss_landscape"]([result], "after FT")
    assert "is 0.10, and after FT 3.00; the clean loss goes from 0.50 to 0.60" in seen.reading
    assert "rises by 1.00 and then 1.00" in seen.reading


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"attack": "badnet"}, "attack='badnet' is unknown; did you mean 'badnets'"),
        ({"defense": "ftsam"}, "defense='ftsam' is unknown; did you mean 'ft_sam'"),
        ({"model": "resnet"}, "model='resnet' is unknown"),
        ({"ratio": 0.0}, "ratio=0.0"),
        ({"n_clean": -1}, "n_clean=-1 must be"),
        ({"attacks": ["blended"]}, "parameter='attacks' is unknown; did you mean 'attack'"),
    ],
)
def test_wrong_models_are_refused(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(PaperlibError, match=sentence):
        ToolFigure("tsne").item().changed(**given)


def test_a_reader_s_models_take_the_place_of_ours() -> None:
    item = ToolFigure("tsne").item().changed(attack="blended", defense="sau", ratio=0.05)
    (spec,) = item.specs(SMOKE, 1)
    victim, twin = spec.parents()
    assert (victim.attack, victim.ratio, twin.defense, twin.seed) == ("blended", 0.05, "sau", 1)  # type: ignore[attr-defined]
    assert item.notebook == analysis_tools.NOTEBOOK and Twins().specs(SMOKE, 0)[0].attack == "badnets"


def test_without_its_package_umap_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from paperlib.report.claims import NotRun

    monkeypatch.setattr(analysis_tools, "find_spec", lambda name: None)
    item = analysis_tools.ITEMS["our_tool_umap"]
    assert item.specs(SMOKE, 0) == []
    with pytest.raises(NotRun, match="pip install umap-learn"):
        item.draw(Results(SMOKE, 0, {}))


def test_a_patch_with_nearly_all_of_the_shapley_values_leaves_the_rest_to_be_seen() -> None:
    from paperlib.report.analysis_figures import strength

    values = np.full((10, 10), 0.1)
    values[0, 0] = -50.0
    assert 0.1 <= strength(values) < 1 and strength(np.zeros((2, 2))) == 1
