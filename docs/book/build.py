"""Build the book as a site: the executed notebooks, the documents and the library, in ``build/book/site``.

    make book                     (or: python docs/book/build.py [FOLDER])

Everything is staged under ``build/book/source`` as it lies in git, with what Sphinx needs beside it: the opening page
with the scoreboard, a page of thumbnails for each paper, and one of the library for each room. Nothing is executed, no
page asks another host for anything, and the site opens from a folder as well as from a server.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path
from pkgutil import walk_packages

import nbformat
import pandas as pd

import paperlib
from paperlib import papers, paths
from paperlib.report import claims as checks
from paperlib.report import coverage

ROOT = paths.ROOT
HERE = Path(__file__).resolve().parent
DOCUMENTS = (
    "README.md",
    "CHANGELOG.md",
    "docs/*.md",
    "benchmarks/README.md",
    "tests/README.md",
    "tests/golden/official/README.md",
    "paperlib/published/SOURCES.md",
)
LINK = re.compile(r"\]\(([^)#:]+)[^):]*\)")
CODE = re.compile(r"\[([^\]]+)\]\(((?:\.\./)*)(paperlib/[\w/]+)\.py(?:#L\d+)?\)")


ROOMS = (
    "analysis", "attacks", "data", "defenses", "detection", "fairness", "interop", "metrics", "models", "registry",
    "selection",
    "training", "vdc",
)  # fmt: skip
"""What a reader calls from code of their own."""


def main(out: Path, with_library: bool = True) -> int:
    source, site = out / "source", out / "site"
    shutil.rmtree(source, ignore_errors=True)
    for pattern in DOCUMENTS:
        for file in ROOT.glob(pattern):
            text = linked(file.read_text(encoding="utf-8"), file.relative_to(ROOT))
            write(source, file.relative_to(ROOT), text)
            for target in {(file.parent / link).resolve() for link in LINK.findall(text)}:  # files that it links to
                if target.is_file() and target.suffix not in (".md", ".ipynb"):
                    place(source, target.relative_to(ROOT)).write_bytes(target.read_bytes())
    for file in sorted(paths.NOTEBOOKS.glob("*.ipynb")):
        write(source, file.relative_to(ROOT), notebook(file))
    library(source, ROOMS if with_library else ("metrics",))
    galleries = [gallery(source, key) for key in papers.PAPERS]
    write(source, "claims.md", claims())
    write(source, "index.md", opening([name for name in galleries if name]))
    for name in ("conf.py", "slugs.py", "book.css"):
        place(source, name).write_bytes((HERE / name).read_bytes())
    command = [
        "-b",
        "html",
        "-d",
        str(out / "doctrees"),
        "-q",
        *([] if with_library else ["-W", "--keep-going"]),
        str(source),
        str(site),
    ]
    done = subprocess.run([sys.executable, "-m", "sphinx", *command], check=False)
    for large in (*site.glob("_static/**/*.map"), *site.glob("_static/locales")):
        shutil.rmtree(large) if large.is_dir() else large.unlink()
    for page in site.glob("**/*.html"):
        page.write_text(accessible(page.read_text(encoding="utf-8")), encoding="utf-8")
    shutil.copytree(
        ROOT / "paperlib", site / "paperlib", ignore=not_code, dirs_exist_ok=True
    )  # "drawn here" leads there
    print(f"The book: {site / 'index.html'}")
    return done.returncode


def accessible(html: str) -> str:
    """What the theme leaves out: names of its icons for who hears the page, and tables that scroll by the keyboard."""
    html = html.replace("<summary><span", '<summary aria-label="Show what is below"><span')
    html = re.sub(r'(<button class="btn search-button-field[^>]*?) aria-label="Search"', r"\1", html)
    return re.sub(r'(<div class="(?:output text_html|paperlib|wide)")', r'\1 tabindex="0"', html)


def not_code(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if not (name.endswith(".py") or (Path(folder) / name).is_dir())]


def place(source: Path, name: Path | str) -> Path:
    file = source / name
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


def write(source: Path, name: Path | str, text: str) -> None:
    place(source, name).write_text(text, encoding="utf-8")


def linked(text: str, name: Path) -> str:
    """Links to files of the library lead to the page of their code where it has one; otherwise the words stay."""
    up = "../" * (len(name.parts) - 1)

    def link(m: re.Match[str]) -> str:
        page = m[3].removesuffix("/__init__")
        return f'<a href="{up}_modules/{page}.html">{m[1]}</a>' if page.split("/")[1] in ROOMS else m[1]

    return CODE.sub(link, text)


def notebook(file: Path) -> str:
    """A notebook whose stored pictures keep their alternative texts, which myst-nb takes from the cell."""
    read = nbformat.read(file, 4)
    for cell in read.cells:
        if cell.cell_type == "markdown":
            cell.source = linked(cell.source, file.relative_to(ROOT))
        for output in cell.get("outputs", []):
            about = output.get("metadata", {}).get("image/png", {})
            if alt := about.get("alt"):
                cell.metadata["mystnb"] = {"image": {"alt": alt}}
    return nbformat.writes(read)


def library(source: Path, chosen: Sequence[str]) -> None:
    """One page for each of the rooms ``chosen``."""
    found = [m.name for m in walk_packages(paperlib.__path__, "paperlib.")]
    for room in chosen:
        parts = [f"# {room}\n"]
        for name in (name for name in found if name.split(".")[1] == room):
            title = "" if name == f"paperlib.{room}" else f"## {name}\n\n"
            parts.append(f"{title}```{{eval-rst}}\n.. automodule:: {name}\n   :members:\n```\n")
        write(source, f"library/{room}.md", "\n".join(parts))
    write(source, "library/index.md", "# The library\n\n```{toctree}\n:maxdepth: 1\n\n" + "\n".join(chosen) + "\n```\n")


def gallery(source: Path, paper: str) -> str:
    """A page with a card for each recorded figure and table of ``paper``; its name, empty where nothing is recorded."""
    cards = []
    for record in sorted((ROOT / "figures" / "laptop" / paper).glob("*.json"), key=number):
        about = json.loads(record.read_text(encoding="utf-8"))
        picture = record.with_suffix(".png")
        command = f"paperlib figure {paper}/{about['id']} --scale laptop --recorded"
        shown = ""
        if picture.exists():
            place(source, picture.relative_to(ROOT)).write_bytes(picture.read_bytes())
            shown = f"![{about['alt']}](../{picture.relative_to(ROOT)})\n\n"
        place(source, record.with_suffix(".csv").relative_to(ROOT)).write_bytes(record.with_suffix(".csv").read_bytes())
        data = f"[data](../{record.with_suffix('.csv').relative_to(ROOT)})"
        cards.append(f"## {about['id']}\n\n{shown}{escape(about['caption'], quote=False)}\n\n{data} · `{command}`\n")
    if not cards:
        return ""
    known = papers.PAPERS[paper]
    text = (
        f"# {known.short}: every recorded table and figure\n\nRead in"
        f" [{known.title}](../notebooks/{known.notebook}.ipynb).\n\n"
    )
    write(source, f"gallery/{paper}.md", text + "\n".join(cards))
    return f"gallery/{paper}"


def claims() -> str:
    """A page with the verdict on every claim that git records, paper by paper, and the rule that decides."""
    text = (
        "# Claims\n\nSentences of the papers, in our words, checked in code on our results. Which of two methods is"
        " better is decided in pairs of runs on the same model or with the same seed: at least"
        f" {checks.PAIRS} pairs, and a mean difference of more than {checks.ERRORS:g} standard errors. What lies nearer"
        " to 0 is *undecided*, with the number of pairs that would decide it; *not run*: a result is missing.\n"
    )
    for key, paper in papers.PAPERS.items():
        for file in sorted((ROOT / "figures").glob(f"*/{key}/claims.csv")):
            frame = pd.read_csv(file, keep_default_na=False)
            text += f"\n## {paper.short}, {file.parent.parent.name} scale\n\n"
            text += "| claim | where | verdict | decided by |\n|---|---|---|---|\n"
            for _, rows in frame.groupby("claim", sort=False):
                first = rows.iloc[0]
                numbers = ", ".join(f"{r.number} {float(r.value):.4g}" for r in rows.itertuples() if r.number)
                verdict = f"{checks.SIGNS[first.verdict]} {first.verdict}"
                by = "<br>".join(escape(part, quote=False) for part in (numbers, first.reason) if part)
                cells = (escape(first.text, quote=False), first["where"], verdict, by)
                text += "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"
    return text


def number(file: Path) -> tuple[str, int, str]:
    """``table2`` before ``table10``, and what is ours last."""
    name, digits = re.match(r"([a-z_]*?)(\d*)$|.*", file.stem).groups(default="") if file.stem else ("", "")
    return (name or file.stem, int(digits or 0), file.stem)


def opening(galleries: list[str]) -> str:
    """The first page: the scoreboard, one picture, and the table of contents."""
    lines = ["| paper | " + " | ".join(coverage.SCOREBOARD) + " |", "|---|" + "---|" * len(coverage.SCOREBOARD)]
    for key, paper in papers.PAPERS.items():
        cells = " | ".join(coverage.scoreboard(key))
        lines.append(f"| [{paper.short}](notebooks/{paper.notebook}.ipynb): {paper.title} | {cells} |")
    lines.append("| all | " + " | ".join(coverage.scoreboard()) + " |")
    text = (HERE / "opening.md").read_text(encoding="utf-8").replace("SCOREBOARD", "\n".join(lines))
    books = "\n".join(f"notebooks/{file.stem}" for file in sorted(paths.NOTEBOOKS.glob("*.ipynb")))
    documents = "\n".join(str(f.relative_to(ROOT).with_suffix("")) for p in DOCUMENTS for f in sorted(ROOT.glob(p)))
    for caption, entries in (
        ("The book", books + "\nclaims"),
        ("Gallery", "\n".join(galleries)),
        ("Documents", documents + "\nlibrary/index"),
    ):
        text += f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{entries}\n```\n"
    return text


if __name__ == "__main__":
    sys.exit(
        main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(os.environ.get("PAPERLIB_BOOK", ROOT / "build" / "book")))
    )
