"""How figures and tables are saved and shown."""

import io
import json
import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image

from paperlib.errors import PaperlibError
from paperlib.report import style
from paperlib.report.artefact import PNG_LIMIT, Artefact, save

PROVENANCE = {"versions": {"python": "3.11"}, "commit": "0" * 40, "device": "cpu", "minutes": 1.5}
FRAME = pd.DataFrame({"rho": [1, 2, 3], "asr": [99.0, 50.123456789, np.nan]})


def curve(scale="laptop", **changes):
    with style.context():
        figure, (left, right) = plt.subplots(1, 2, figsize=(style.PAGE, 2.2))
        left.plot(FRAME.rho, FRAME.asr, **style.look("attack", "blended").plot())
        right.scatter(FRAME.rho, FRAME.asr, **style.look("attack", "sig").scatter())
        figure.legend(loc="outside lower center")
    settings = {"paper": "ft_sam", "id": "fig3", "kind": "figure", "caption": "ASR against rho.", "scale": scale}
    settings |= {"results": ("key",)}
    settings |= {
        "alt": "A line that falls from 99 at rho 1 to 50 at rho 2.",
        "frame": FRAME,
        "figure": figure,
        "results": ("key",),
    }
    return Artefact(**{**settings, **changes})


def table(**changes):
    settings = {"paper": "sau", "id": "table1", "kind": "table", "caption": "A & B", "scale": "smoke", "frame": FRAME}
    return Artefact(**{**settings, **changes})


def test_a_figure_is_saved_with_everything(tmp_path):
    artefact = curve(parameters={"rho": (1, 2), "n": np.int64(5), "x": np.nan}, seed=7, results=("b", "a", "b"))
    paths = save(artefact, tmp_path, PROVENANCE | {"threads": 2})
    assert {s: str(p.relative_to(tmp_path)) for s, p in paths.items()} == {
        s: f"laptop/ft_sam/fig3.{s}" for s in ("png", "svg", "csv", "json")
    }
    record = json.loads(paths["json"].read_text())
    assert record["parameters"] == {"rho": [1, 2], "n": 5, "x": None}
    assert record["results"] == ["a", "b"] and record["seed"] == 7 and record["threads"] == 2
    assert {"versions", "commit", "device", "minutes", "caption", "alt", "scale", "paper", "id"} <= set(record)
    assert paths["csv"].read_text() == "rho,asr\n1,99\n2,50.1235\n3,\n"


def test_the_same_drawing_gives_the_same_bytes(tmp_path):
    first = {s: p.read_bytes() for s, p in save(curve(), tmp_path / "a", PROVENANCE).items()}
    again = curve()
    save(again, tmp_path / "b", PROVENANCE)
    second = {s: p.read_bytes() for s, p in save(again, tmp_path / "b", PROVENANCE).items()}  # twice, one stamp
    assert first == second
    svg = first["svg"].decode()
    assert "dc:date" not in svg and "falls from 99" in svg
    assert not re.search(r"20\d\d-\d\d-\d\d", svg)


def test_the_figure_is_laid_out_and_measured_once_and_nothing_is_cut_off(monkeypatch):
    laid_out, measured = [], []
    execute, measure = ConstrainedLayoutEngine.execute, Figure.get_tightbbox
    monkeypatch.setattr(ConstrainedLayoutEngine, "execute", lambda *args: laid_out.append(1) or execute(*args))
    monkeypatch.setattr(Figure, "get_tightbbox", lambda *args: measured.append(1) or measure(*args))
    artefact = curve()
    assert artefact.png and artefact.svg
    assert len(laid_out) == len(measured) == 1
    monkeypatch.undo()
    with style.context():
        artefact.figure.savefig(buffer := io.BytesIO(), dpi=style.PNG_DPI, bbox_inches="tight", pad_inches=0.05)
    tight, ours = Image.open(buffer), Image.open(io.BytesIO(artefact.png))
    assert ours.size == pytest.approx(tight.size, abs=0.04 * style.PNG_DPI), "within the margin of 0.05 inch"
    edges = np.asarray(ours.convert("L"))
    assert min(edges[0].min(), edges[-1].min(), edges[:, 0].min(), edges[:, -1].min()) > 250


def test_the_scale_is_on_the_face_of_the_figure_only_below_paper_scale():
    assert curve("laptop").svg.decode().count(">laptop scale<") == 1
    assert " scale<" not in curve("paper").svg.decode()


def test_the_stamp_is_below_everything_and_not_cut_off():
    stamped = np.asarray(Image.open(io.BytesIO(curve("laptop").png)).convert("L"))
    plain = np.asarray(Image.open(io.BytesIO(curve("paper").png)).convert("L"))
    assert stamped.shape[1] == pytest.approx(plain.shape[1], abs=2)
    assert (stamped[-5:] > 250).all(), "the last rows are margin, not half a letter"
    ink = np.argwhere(stamped[-20:] < 150)
    assert len(ink) and ink[:, 1].min() > 0.85 * stamped.shape[1], "only the stamp, at the right"
    artefact = curve("laptop")
    assert artefact.png
    figure = artefact.figure
    stamp = next(text for text in figure.texts if text.get_text() == "laptop scale").get_window_extent()
    assert not any(stamp.overlaps(other.get_tightbbox()) for other in (*figure.axes, *figure.legends))


def test_a_diagram_is_of_no_scale():
    """It is drawn from no result."""
    diagram = curve("laptop", results=())
    assert diagram.png and "laptop scale" not in [text.get_text() for text in diagram.figure.texts]


def test_pngs_are_opaque_small_and_sharp():
    with style.context():
        figure, axes = plt.subplots(3, 4, figsize=(style.PAGE, 5))
        for i, axis in enumerate(axes.flat):  # the worst case: noise does not compress
            axis.imshow(np.random.default_rng(i).random((224, 224, 3)))
    data = curve(figure=figure).png
    assert len(data) <= PNG_LIMIT
    for png in (data, curve().png):
        image = Image.open(io.BytesIO(png))
        assert image.width >= style.PAGE * 95
        assert min(image.convert("RGBA").getchannel("A").getextrema()) == 255
        assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


def test_large_clouds_do_not_make_large_svgs():
    with style.context():
        figure, axes = plt.subplots()
        for i in range(10):
            axes.scatter(*np.random.default_rng(i).normal(size=(2, 1000)), s=2)
    assert len(curve(figure=figure).svg) < 400_000


def test_a_notebook_gets_the_picture_once_with_its_alt_text():
    from IPython.core.formatters import DisplayFormatter

    open_before = plt.get_fignums()
    data, metadata = DisplayFormatter().format(curve().view())
    assert plt.get_fignums() == open_before, "the inline backend would show an open figure a second time"
    assert metadata["image/png"]["alt"].startswith("A line that falls")
    assert 600 < metadata["image/png"]["width"] < 700
    assert data["text/plain"] == "<IPython.core.display.Image object>"
    shown, _ = DisplayFormatter().format(table().view())
    assert shown["text/html"] == table().fragment and "0x" not in shown["text/plain"]


def test_tables_are_saved_as_html(tmp_path):
    paths = save(table(html="<p>mine</p>"), tmp_path, PROVENANCE)
    assert set(paths) == {"html", "csv", "json"} and paths["html"].read_text() == "<p>mine</p>\n"
    html = save(table(), tmp_path, PROVENANCE)["html"].read_text()
    assert "<caption>A &amp; B</caption>" in html and "50.12" in html


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alt": " "}, "describe the figure"),
        ({"alt": "asr against RHO"}, "caption as alt text"),
        ({"caption": ""}, "say in a sentence"),
        ({"figure": None}, "only a figure"),
        ({"kind": "table"}, "only a figure"),
        ({"kind": "plot"}, "kind='plot' is unknown"),
        ({"id": "../fig3"}, "id='../fig3'"),
        ({"scale": "Paper"}, "scale='Paper'"),
        ({"parameters": {"f": len}}, "only JSON values"),
    ],
)
def test_mistakes_are_named(changes, message):
    with pytest.raises(PaperlibError, match=message):
        curve(**changes)


@pytest.mark.parametrize("name", PROVENANCE)
def test_provenance_must_be_complete(tmp_path, name):
    with pytest.raises(PaperlibError, match=name):
        save(curve(), tmp_path, {k: v for k, v in PROVENANCE.items() if k != name})
    assert not list(tmp_path.iterdir()), "nothing is written before the check"
