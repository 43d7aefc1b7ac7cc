"""The static page of everything that was made."""

import json
from urllib.parse import unquote

import pytest

from paperlib.errors import PaperlibError
from paperlib.report import gallery
from paperlib.report.artefact import save
from paperlib.report.published import inventory

from .test_artefact import PROVENANCE, curve, table
from .test_tables import Page


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("checkout")
    (root / "notebooks").mkdir()
    (root / "notebooks" / "05_ft_sam.ipynb").write_text("{}")
    for scale in ("smoke", "laptop", "paper"):
        save(curve(scale, alt='A "falling" <line>.'), root / "figures", PROVENANCE)
    save(table(paper="ft_sam", html="<p>the table</p>"), root / "figures", PROVENANCE)
    save(table(paper="ft_sam", id="claims"), root / "figures", PROVENANCE)
    return root / "figures"


@pytest.fixture(scope="module")
def html(folder):
    return gallery.build(folder, {"ft_sam/fig7": "Grad-CAM is planned."}).read_text(encoding="utf-8")


def test_pictures_have_their_alt_text_and_size(html):
    images = [attributes for tag, attributes in Page(html).elements if tag == "img"]
    assert len(images) == 3
    assert {image["alt"] for image in images} == {'A "falling" <line>.'}
    assert all(600 < int(image["width"]) < 700 for image in images)


def test_nothing_moves_and_nothing_comes_from_the_network(html):
    page = Page(html)
    assert not {"script", "iframe", "link"} & {tag for tag, _ in page.elements}
    assert "http" not in html and "url(" not in html and "@import" not in html


def test_every_link_leads_somewhere(html, folder):
    page = Page(html)
    anchors = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    links = [a[name] for _, a in page.elements for name in ("href", "src") if name in a]
    assert "../notebooks/05_ft_sam.ipynb" in links and "laptop/ft_sam/fig3.svg" in links
    for link in links:
        assert (link[1:] in anchors) if link.startswith("#") else (folder / unquote(link)).is_file(), link


def test_scales_in_order_with_their_badge(html):
    places = [html.index(f'src="{scale}/ft_sam/fig3.png"') for scale in ("paper", "laptop", "smoke")]
    assert places == sorted(places)
    assert html.count('class="badge laptop"') == 1 and html.count(">smoke scale<") >= 3


def test_what_is_printed_wears_no_badge_of_a_scale(tmp_path):
    save(curve("paper", caption="ASR; printed, not ours (leaderboard)."), tmp_path, PROVENANCE)
    found = gallery.build(tmp_path, {}).read_text(encoding="utf-8")
    assert (
        '<span class="badge paper">printed, not ours</span>' in found and '<span class="badge paper">paper' not in found
    )


def test_everything_planned_is_counted(html):
    total = len(inventory())
    assert f"2 of {total} tables and figures" in html, "the claims are no item of the paper"
    assert f"{len(inventory('vdc'))} items are not here" in html
    assert "<em>Grad-CAM is planned.</em>" in html
    assert "<p>the table</p>" in html


def test_deterministic(html, folder):
    assert gallery.build(folder, {"ft_sam/fig7": "Grad-CAM is planned."}).read_text(encoding="utf-8") == html


def test_an_empty_folder_is_a_page_too(tmp_path):
    assert "0 of " in gallery.build(tmp_path / "figures").read_text(encoding="utf-8")


@pytest.mark.parametrize("content", ["{", "[]", json.dumps({"paper": "ft_sam"})])
def test_foreign_files_are_named(tmp_path, content):
    file = tmp_path / "laptop" / "ft_sam" / "stray.json"
    file.parent.mkdir(parents=True)
    file.write_text(content)
    with pytest.raises(PaperlibError, match=r"stray\.json"):
        gallery.build(tmp_path)
