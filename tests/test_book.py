"""The site is built from what git stores, without a warning, and asks no other host for anything."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from paperlib import papers, paths
from paperlib.report import coverage

pytest.importorskip("myst_nb")
PAGES = [
    "index",
    "README",
    "claims",
    "docs/architecture",
    *(f"notebooks/{p.stem}" for p in sorted(paths.NOTEBOOKS.glob("*.ipynb"))),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("book")
    code = (
        f"import sys; sys.path.insert(0, {str(paths.ROOT / 'docs' / 'book')!r}); import build; from pathlib import"
        " Path\n"
    )
    code += f"sys.exit(build.main(Path({str(out)!r}), with_library=False))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return out / "site"


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_its_links_and_asks_nobody(site: Path, page: str) -> None:
    file = site / f"{page}.html"
    html = file.read_text(encoding="utf-8")
    loaded = re.findall(r'<(?:script|img|iframe|source)\b[^>]*?\bsrc="([^"]+)"', html)
    loaded += re.findall(r'<link\b[^>]*?rel="(?:stylesheet|preload|icon)"[^>]*?href="([^"]+)"', html)
    assert loaded and not [one for one in loaded if re.match(r"(?:https?:)?//", one)]
    linked = re.findall(r'<a\b[^>]*?\bhref="([^"#?]+)', html)
    here = [
        one
        for one in [*loaded, *linked]
        if not re.match(r"(?:[a-z]+:)?//|mailto:|data:", one) and "_modules/" not in one
    ]
    missing = [one for one in here if not (file.parent / one.split("?")[0].split("#")[0]).exists()]
    assert missing == []


def test_the_first_page_counts_and_the_search_finds(site: Path) -> None:
    assert "printed cells with ours" in (site / "index.html").read_text(encoding="utf-8")
    assert "grad-cam" in (site / "searchindex.js").read_text(encoding="utf-8").lower()


def test_stored_pictures_keep_their_alternative_texts(site: Path) -> None:
    html = (site / "notebooks" / "05_ft_sam.html").read_text(encoding="utf-8")
    pictures = re.findall(r"<img\b[^>]*_images/[^>]*>", html)
    assert pictures and all(re.search(r'alt="[^"]{20,}"', one) for one in pictures)


def test_the_page_of_claims_has_every_claim_that_git_records(site: Path) -> None:
    html = (site / "claims.html").read_text(encoding="utf-8")
    for paper in papers.PAPERS:
        assert f'id="{papers.PAPERS[paper].short.lower().replace(" ", "-")}' in html
    assert len(re.findall(r"<tr\b", html.split("<tbody", 1)[1])) >= sum(coverage.claims().values())
