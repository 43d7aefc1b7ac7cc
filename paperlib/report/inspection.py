"""The one-page report of ``paperlib inspect``: plain HTML, pictures inside, nothing from the network."""

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from paperlib import files
from paperlib.analysis.inspection import DECIDES, Finding
from paperlib.data.images import ImageData

CSS = """:root {color-scheme: light dark; --ink: #1d2125; --soft: #5b6470; --line: #d9dde2; --page: #fbfbfa;
  --bad: #a32a12; --good: #22683a}
@media (prefers-color-scheme: dark) {:root {--ink: #e4e6e8; --soft: #a3abb5; --line: #3a4046; --page: #17191c;
  --bad: #ff9b85; --good: #8fd6a4}}
* {box-sizing: border-box}
body {margin: 0 auto; max-width: 60rem; padding: 1rem; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif}
h1 {font-size: 1.5rem; line-height: 1.25} h2 {font-size: 1.15rem; margin: 2rem 0 .3rem}
.verdict {border-left: 5px solid var(--good); padding: .2rem 1rem} .verdict.bad {border-color: var(--bad)}
.table {overflow-x: auto} table {border-collapse: collapse} td, th {padding: .2rem .7rem; text-align: left;
  border-bottom: 1px solid var(--line)}
td:nth-child(2):last-child {overflow-wrap: anywhere}
td.n {text-align: right; font-variant-numeric: tabular-nums} tr.bad td {color: var(--bad); font-weight: 600}
.pictures {display: flex; flex-wrap: wrap; gap: .7rem} figure {margin: 0; width: 6rem; font-size: .8rem;
  overflow-wrap: anywhere}
img {width: 6rem; height: 6rem; image-rendering: pixelated; display: block; border: 1px solid var(--line)}
code, pre {font-size: .85rem} pre {white-space: pre-wrap; overflow-wrap: anywhere; border: 1px solid var(--line);
  padding: .6rem}
.soft {color: var(--soft)}"""


def picture(image: Tensor, caption: str) -> str:
    """An image (C, H, W), uint8 or in [0, 1], as a figure."""
    from PIL import Image

    x = image if image.dtype == torch.uint8 else image.clamp(0, 1).mul(255).round().to(torch.uint8)
    x = x.cpu().expand(3, -1, -1) if len(x) == 1 else x.cpu()
    out = io.BytesIO()
    Image.fromarray(x.permute(1, 2, 0).contiguous().numpy()).save(out, "png")
    data = base64.b64encode(out.getvalue()).decode()
    return (
        f'<figure><img alt="{escape(caption)}"'
        f' src="data:image/png;base64,{data}"><figcaption>{escape(caption)}</figcaption></figure>'
    )


def table(head: Sequence[str], rows: Sequence[Sequence[Any]], bad: Sequence[bool] = ()) -> str:
    """Rows of text and numbers; ``bad`` marks those that stand out."""
    lines = ["<tr>" + "".join(f"<th>{escape(h)}</th>" for h in head) + "</tr>"]
    for i, row in enumerate(rows):
        cells = "".join(f"<td{' class=n' if isinstance(v, int | float) else ''}>{escape(_text(v))}</td>" for v in row)
        lines.append(f"<tr{' class=bad' if i < len(bad) and bad[i] else ''}>{cells}</tr>")
    return f'<div class="table"><table>{"".join(lines)}</table></div>'


def _text(value: Any) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def page(title: str, bad: bool, verdict: str, sections: Mapping[str, str]) -> str:
    """The whole page: the verdict first, then the sections in their order."""
    body = "".join(f"<h2>{escape(name)}</h2>{html}" for name, html in sections.items())
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,'
        f' initial-scale=1"><title>{escape(title)}</title><style>{CSS}</style></head><body><h1>{escape(title)}</h1><p'
        f' class="verdict{" bad" if bad else ""}">{escape(verdict)}</p>{body}</body></html>\n'
    )


def write_inspection(out: Path, found: Finding, suspects: ImageData | None, about: Mapping[str, str]) -> None:
    """Write what an inspection found to ``out``; ``about`` says what was given."""
    names = found.classes
    said = [
        f"NC reaches {names[k]!r} with an unusually small patch"
        f" ({found.norm[k]:.1f} pixels, index {found.index[k]:.1f})"
        for k in found.reached
    ]
    said += [f"SCAn finds two groups in the training images of {names[k]!r}" for k in found.poisoned]
    verdict = (
        "Suspicious: " + "; ".join(said) + "."
        if said
        else "Nothing suspicious was found. That is no proof that there is nothing."
    )
    if not found.settled:
        verdict += " NC's search has not come to its end and names no class: inspect again with more epochs."
    sections = {
        "What was checked": table(
            ("given", "value"), [*about.items(), ("accuracy on the clean images", f"{found.accuracy:.1f} %")]
        )
    }
    rows: list[tuple[Any, ...]] = [
        (name, round(found.index[k], 2), round(found.norm[k], 1), *found.led[k]) for k, name in enumerate(names)
    ]
    sections["The model, class by class"] = table(
        ("class", "NC's index", "size of the patch, pixels", "taken for it, %", "with 8 grey levels, %"),
        rows,
        [k in found.reached for k in range(len(rows))],
    )
    assert found.patch is not None
    order = sorted(range(len(names)), key=lambda k: -found.index[k])[:8]
    sections["The smallest patches"] = (
        '<div class="pictures">'
        + "".join(picture(found.patch[k], f"{names[k]}, index {found.index[k]:.1f}") for k in order)
        + "</div>"
    )
    if suspects is not None and found.detections:
        rows = []
        for name, one in found.detections.items():
            flagged = one.flagged.cpu()
            per = suspects.y.cpu()[flagged].bincount(minlength=len(names))
            most = int(per.argmax())
            rows.append(
                (
                    name,
                    "decides" if name in DECIDES else "ranks",
                    int(flagged.sum()),
                    f"{names[most]} ({int(per[most])})" if flagged.any() else "none",
                )
            )
        sections["The training images"] = table(("detector", "its flags", "flagged", "most in class"), rows)
        name = next((each for each in DECIDES if each in found.detections), next(iter(found.detections)))
        top = found.detections[name].scores.argsort(descending=True)[:16].tolist()
        sections[f"Most suspicious to {name}"] = (
            '<div class="pictures">'
            + "".join(picture(suspects.x[i], f"number {i}, {names[int(suspects.y[i])]}") for i in top)
            + "</div>"
        )
    sections["What it means"] = (
        "<p>NC looks for the smallest patch that sends every image to one class. A class may be the target of a"
        " backdoor where its patch is an outlier (index above 2) or has at most 1 % of the image's pixels. The last"
        " column shows how far 8 grey levels lead: a backdoor makes its class easy to reach, and a purified model can"
        " keep that. SCAn flags a class whose images fall into two groups.</p>"
        "<p>It finds triggers that are one small patch, the same on every image. Triggers that move pixels, spread over"
        " the image or differ from image to image can pass unseen. False alarms happen, by large natural patches, few"
        " images, classes that contain each other, and by chance: of twelve clean models of digits NC accused one, and"
        " SCAn one of their training sets.</p>"
    )
    sections["What to do next"] = (
        "<p>Look at the pictures. Then purify the model with clean images that you trust, and inspect the"
        " result:</p><pre>paperlib purify MODEL --images CLEAN_FOLDER --method ft_sam --out"
        " purified.safetensors</pre><p>Or remove the flagged images and train again. The positions count the images of"
        " the training folder in the order of its classes and names.</p>"
        if said
        else (
            "<p>Inspect again with more clean images, or with other detectors (<code>--detectors</code>), before you"
            " rely on it.</p>"
        )
    )
    title = "Inspection of a model" + (" and its training images" if suspects is not None else "")
    files.write(out, page(title, bool(said), verdict, sections).encode("utf-8"))
