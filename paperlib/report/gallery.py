"""One static page of everything that was regenerated, at all scales: pictures, tables, data, and what is still missing.

No script, nothing from the network, the same bytes for the same files. Pictures carry real alt texts, which the usual
conversions of notebooks to HTML drop.
"""

import json
import re
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from paperlib import files, paths
from paperlib.errors import PaperlibError
from paperlib.report import style
from paperlib.report.published import PAPERS, Item, inventory

PRINTED = "printed, not ours"
"""In the caption of what is drawn from printed numbers: such an item wears no badge of a scale."""
SCALES = {name: f"{name} scale" for name in ("paper", "gpu", "laptop", "smoke")}
"""In the order in which an item shows them."""

CSS = """ :root {color-scheme: light dark; --ink: #1d2125; --soft: #5b6470; --line: #d9dde2; --page: #fbfbfa; --card:
#fff; --link: #0b5fa5} @media (prefers-color-scheme: dark) {
  :root {--ink: #e4e6e8; --soft: #a3abb5; --line: #3a4046; --page: #17191c; --card: #1f2226; --link: #7db8ee}
}
* {box-sizing: border-box}
body {margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, sans-serif}
main, header, footer {max-width: 76rem; margin: 0 auto; padding: 0 1.25rem}
header {padding-top: 2rem}
h1 {font-size: 1.7rem; line-height: 1.2; margin: 0 0 .4rem}
h2 {font-size: 1.35rem; margin: 3rem 0 .2rem; padding-top: .8rem; border-top: 1px solid var(--line)}
h3 {font-size: 1.05rem; margin: 2rem 0 .6rem; line-height: 1.35}
h3 span, .soft {color: var(--soft); font-weight: 400}
p {margin: .3rem 0; max-width: 48rem}
a {color: var(--link)}
nav ol {columns: 2 18rem; padding-left: 1.4rem}
.cards {display: grid; gap: 1rem; align-items: start;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr))}
.cards:has(.table) {grid-template-columns: 100%}
.card {margin: 0; padding: .9rem; min-width: 0;
  background: var(--card); border: 1px solid var(--line); border-radius: 6px}
.card > a {display: block; background: #fff; border-radius: 3px; padding: .4rem}
.card img {display: block; margin: 0 auto; max-width: 100%; height: auto}
.card figcaption {margin-top: .6rem; font-size: .9rem}
.badge {display: inline-block; margin: 0 .3rem .5rem 0; padding: .05rem .55rem; font-size: .78rem;
  border: 1px solid currentColor; border-radius: 1rem}
.badge.paper {font-weight: 700; border-width: 2px}
.badge.smoke {border-style: dashed}
.links {font-size: .85rem; color: var(--soft); overflow-wrap: anywhere}
details {margin: 1.5rem 0 0}
summary {cursor: pointer}
details li {margin: .25rem 0}
footer {padding-bottom: 3rem; margin-top: 3rem; font-size: .85rem; color: var(--soft)}
"""


def build(figures_dir: Path | str, reasons: Mapping[str, str] | None = None) -> Path:
    """Write ``index.html`` into the folder of all figures.

    Parameters
    ----------
    figures_dir : path
        The folder that :func:`paperlib.report.artefact.save` wrote to.
    reasons : mapping, optional
        Why an item is not there, by ``"paper/id"``.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    PaperlibError
        A JSON file in the folder was not written by ``save``.
    """
    root = Path(figures_dir)
    made: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(root.glob("*/*/*.json")):
        if root == paths.recorded_dir() and path.parts[-3] == "smoke":
            continue  # git does not keep it
        record = _read(path)
        made.setdefault(f"{record['paper']}/{record['id']}", []).append(record)
    order = list(SCALES)
    for records in made.values():
        records.sort(key=lambda r: (order.index(r["scale"]) if r["scale"] in order else len(order), r["scale"]))

    sections, contents = [], []
    planned = inventory()
    there = [item for item in planned if f"{item.paper}/{item.id}" in made]
    for paper, notebook in PAPERS.items():
        items = [item for item in planned if item.paper == paper]
        known = {item.id for item in items}
        extra = sorted({r["id"] for name in made for r in made[name] if r["paper"] == paper} - known)
        done = [item for item in items if f"{paper}/{item.id}" in made]
        title = escape(style.title("paper", paper))
        contents.append(
            f'<li><a href="#{paper}">{title}</a> <span class="soft">{len(done)} of {len(items)} items</span></li>'
        )
        parts = [f'<section id="{paper}">', f"<h2>{title}</h2>"]
        places = [f"{up}/notebooks/{notebook}.ipynb" for up in ("..", "../..")]  # from figures/ and from build/figures/
        file = next((place for place in places if (root / place).is_file()), "")
        link = f'<a href="{file}">notebook {notebook}</a>' if file else ""
        parts.append(
            f'<p class="soft">{len(done)} of {len(items)} tables and figures{f" · {link}" if link else ""}</p>'
        )
        parts += [_item(item.id, _heading(item), made[f"{paper}/{item.id}"], root) for item in done]
        parts += [
            _item(name, escape(name.replace("_", " ").capitalize()), made[f"{paper}/{name}"], root) for name in extra
        ]
        parts.append(_absent([item for item in items if item not in done], reasons or {}))
        sections.append("\n".join([*parts, "</section>"]))

    page = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Seven papers, regenerated</title>
<style>{CSS}</style>
</head>
<body>
<header>
<h1>Seven papers, regenerated</h1>
<p>{len(there)} of {len(planned)} tables and figures are here, each with the data it was made from. Only those of
<em>paper scale</em> use the papers' own settings; <em>laptop scale</em> uses real images with small networks and
<em>smoke scale</em> small digits, to show the effects and to test the code.</p>
</header>
<main>
<nav aria-label="Papers"><ol>
{chr(10).join(contents)}
</ol></nav>
{chr(10).join(sections)}
</main>
<footer>Generated by paperlib. Every JSON says the parameters, seed, versions, commit, device and minutes.</footer>
</body>
</html>
"""
    target = root / "index.html"
    files.write(target, page.encode())
    return target


def _read(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        lacking = {"paper", "id", "kind", "scale", "caption", "alt"} - set(record)
    except (ValueError, TypeError) as error:
        raise PaperlibError(
            f"{path} is no JSON of a figure or table ({error}); remove it or make the item again."
        ) from None
    plain = not lacking and all(re.fullmatch(r"[a-z0-9][a-z0-9_-]*", str(record[name])) for name in ("id", "scale"))
    if not plain or record["paper"] not in PAPERS:
        raise PaperlibError(f"{path} was not written by `save`; remove it or make the item again.")
    return record


def _heading(item: Item) -> str:
    number = f"{item.kind.capitalize()} {item.number}" if item.number else f"{item.kind.capitalize()} (number unknown)"
    doubt = "" if item.verified or not item.number else " <span>(number inferred)</span>"
    return f"{escape(number)}{doubt} <span>· {escape(item.title)}</span>"


def _item(name: str, heading: str, records: list[dict[str, Any]], root: Path) -> str:
    cards = "\n".join(_card(record, root) for record in records)
    anchor = f"{records[0]['paper']}-{name}"
    return f'<article id="{anchor}">\n<h3>{heading}</h3>\n<div class="cards">\n{cards}\n</div>\n</article>'


def _card(record: Mapping[str, Any], root: Path) -> str:
    scale = record["scale"]
    stem = f"{scale}/{record['paper']}/{record['id']}"
    files = {suffix: root / f"{stem}.{suffix}" for suffix in ("png", "svg", "html", "csv", "json")}
    files = {suffix: file for suffix, file in files.items() if file.is_file()}
    label = PRINTED if PRINTED in record["caption"] else SCALES.get(scale, scale)
    badge = f'<span class="badge {escape(scale)}">{escape(label)}</span>'
    if "png" in files:
        data = files["png"].read_bytes()[:24]
        width, height = (int.from_bytes(data[i : i + 4], "big") // 2 for i in (16, 20))  # shown at half its pixels
        body = (
            f'<a href="{stem}.png"><img src="{stem}.png" alt="{escape(record["alt"])}" '
            f'width="{width}" height="{height}" loading="lazy"></a>\n'
            f"<figcaption>{escape(record['caption'])}</figcaption>"
        )
    elif "html" in files:
        body = files["html"].read_text(encoding="utf-8")
    else:
        body = f"<figcaption>{escape(record['caption'])} (Its file is missing.)</figcaption>"
    links = " · ".join(f'<a href="{stem}.{suffix}">{suffix.upper()}</a>' for suffix in files)
    about = [f"seed {record['seed']}" if "seed" in record else "", str(record.get("device") or "")]
    if record.get("minutes") is not None:
        about.append(f"{float(record['minutes']):.3g} min")
    if record.get("commit"):
        about.append(f"commit {str(record['commit'])[:10]}")
    facts = " · ".join(escape(fact) for fact in about if fact)
    kind = "figure" if record["kind"] == "figure" else "div"
    foot = f'<p class="links">{links}<br>{facts}</p>'
    return f'<{kind} class="card {escape(record["kind"])}">\n{badge}\n{body}\n{foot}\n</{kind}>'


def _absent(items: list[Item], reasons: Mapping[str, str]) -> str:
    if not items:
        return ""
    lines = []
    for item in items:
        reason = reasons.get(f"{item.paper}/{item.id}", "")
        lines.append(f"<li>{_heading(item)}{f' <em>{escape(reason)}</em>' if reason else ''}</li>")
    count = f"{len(items)} {'item is' if len(items) == 1 else 'items are'} not here"
    return f"<details><summary>{count}</summary>\n<ul>\n{chr(10).join(lines)}\n</ul></details>"
