"""One regenerated table or figure with all that belongs to it, and how it is saved and shown.

A figure is saved as PNG and SVG, a table as an HTML fragment; both with the CSV they were made from and a JSON that
says how: parameters, seed, versions, commit, device, minutes, and the keys of the results used. The same artefact
always gives the same bytes (for one version of matplotlib). A figure that is not at paper scale says its scale on its
face.
"""

import io
import json
import math
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from paperlib import files
from paperlib.errors import PaperlibError, choose
from paperlib.report import style, tables

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PNG_LIMIT = 240_000
"""Bytes. Figures are committed and stored in notebooks: a PNG that is larger even with 128 colours loses resolution."""

PALETTE_FROM = 30_000
"""Bytes from which a PNG has 128 colours: less than half the size, and twenty figures of a notebook stay below 2 MB."""

PROVENANCE = ("versions", "commit", "device", "minutes")


@dataclass(frozen=True, kw_only=True, eq=False)
class Artefact:
    """A table or a figure of one paper, made at one scale.

    Parameters
    ----------
    paper, id : str
        Which item this is, e.g. ``"ft_sam"`` and ``"fig3"``.
    kind : {"figure", "table"}
    caption : str
        What is shown, in the words of this project. One or two sentences.
    alt : str
        What a reader who cannot see the figure must know; never the caption again. May be empty for a table only.
    scale : str
        ``"smoke"``, ``"laptop"`` or ``"paper"``.
    reading : str, optional
        Two sentences that read it, its numbers computed; shown below it. Markdown's `code` and *emphasis*.
    frame : pandas.DataFrame
        The numbers drawn or tabulated, tidy (one row per value or point, named columns). Saved as CSV, without the
        index.
    figure : matplotlib.figure.Figure, optional
        Required for figures. It is taken out of pyplot's hands, so that no notebook shows it a second time.
    html : str, optional
        For tables: the fragment to show; without it ``frame`` is shown as it is.
    parameters : mapping
        What decided the content, JSON values.
    seed : int
    results : tuple of str
        Keys of the results that were used.

    Raises
    ------
    PaperlibError
        A figure without alt text or with its caption as alt text, a kind that does not fit ``figure``, a name that
        cannot be a file's name, or a parameter that is no JSON value.
    """

    paper: str
    id: str
    kind: str
    caption: str
    alt: str = ""
    reading: str = ""
    scale: str
    frame: pd.DataFrame
    figure: "Figure | None" = None
    html: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    results: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        where = f"{self.paper}/{self.id}"
        for argument in ("paper", "id", "scale"):
            value = getattr(self, argument)
            if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", value):
                raise PaperlibError(f"{argument}={value!r} is not usable; write small letters, digits, '_' and '-'.")
        choose("kind", self.kind, ("figure", "table"))
        if (self.figure is None) == (self.kind == "figure"):
            raise PaperlibError(
                f"{where} has kind={self.kind!r} and figure={self.figure!r}; a figure, and only a figure, has one."
            )
        if not self.caption.strip():
            raise PaperlibError(f"{where} has caption={self.caption!r}; say in a sentence what is shown.")
        if self.kind == "figure" and not self.alt.strip():
            raise PaperlibError(f"{where} has alt={self.alt!r}; describe the figure for a reader who cannot see it.")
        if _words(self.alt) == _words(self.caption):
            raise PaperlibError(
                f"{where} has its caption as alt text; say what the figure shows, not what it is called."
            )
        _json(self.parameters, f"the parameters of {where}")
        if self.figure is not None and "matplotlib.pyplot" in sys.modules:
            sys.modules["matplotlib.pyplot"].close(self.figure)  # it can still be saved, but is not shown by itself

    @cached_property
    def box(self) -> Any:
        """The box around everything drawn, in inches, of the figure laid out and stamped with its scale."""
        assert self.figure is not None
        return _finished(self.figure, self.scale if self.results else "paper")  # a diagram is of no scale

    @cached_property
    def png(self) -> bytes:
        """The figure as PNG, at most :data:`PNG_LIMIT` bytes whenever 100 dpi and 128 colours allow it."""
        for dpi in (style.PNG_DPI, 150, 100):
            data = _render(self, "png", dpi=dpi, metadata={"Software": None})
            if len(data) > PALETTE_FROM:
                data = _palette(data)
            if len(data) <= PNG_LIMIT:
                break
        return data

    @cached_property
    def svg(self) -> bytes:
        """The figure as SVG with the alt text inside; no date, no random ids."""
        about = {"Date": None, "Creator": None, "Title": f"{self.paper}/{self.id}", "Description": self.alt}
        return _render(self, "svg", dpi=style.PNG_DPI, metadata=about)

    @property
    def fragment(self) -> str:
        """A table as a standalone HTML fragment."""
        return self.html if self.html is not None else tables.to_html(self.frame, self.caption)

    @property
    def csv(self) -> str:
        """The data, tidy, six significant digits."""
        return self.frame.to_csv(index=False, lineterminator="\n", float_format="%.6g")

    def view(self) -> Any:
        """What a notebook shows: an IPython ``Image`` with its alt text in the metadata, or an ``HTML`` table."""
        from IPython.display import HTML, Image

        if self.kind == "table":
            return HTML(self.fragment)
        # Shown at half its pixels: sharp on dense screens, and as wide as on the page.
        return Image(data=self.png, format="png", width=_png_width(self.png) // 2, alt=self.alt)


def save(artefact: Artefact, folder: Path | str, provenance: Mapping[str, Any]) -> dict[str, Path]:
    """Write an artefact to ``folder/<scale>/<paper>/<id>.*``.

    Parameters
    ----------
    artefact : Artefact
    folder : path
        The root of all figures, :func:`paperlib.paths.figures_dir` or what the user named.
    provenance : mapping
        ``versions`` (name to version), ``commit`` (None outside a checkout), ``device`` and ``minutes`` (wall-clock
        time of the results used, None if unknown); more is welcome.

    Returns
    -------
    dict
        ``"png"`` and ``"svg"``, or ``"html"``; always ``"csv"`` and ``"json"``.

    Raises
    ------
    PaperlibError
        ``provenance`` lacks an entry or holds something that is no JSON value.
    """
    for name in PROVENANCE:
        if name not in provenance:
            raise PaperlibError(f"provenance has no {name!r}; it needs {', '.join(PROVENANCE)}.")
    record = {
        "paper": artefact.paper,
        "id": artefact.id,
        "kind": artefact.kind,
        "scale": artefact.scale,
        "caption": artefact.caption,
        "alt": artefact.alt,
        "seed": artefact.seed,
        **({"reading": artefact.reading} if artefact.reading else {}),
        "parameters": artefact.parameters,
        "results": sorted(set(artefact.results)),
        **provenance,
    }
    contents: dict[str, bytes] = {}
    if artefact.kind == "figure":
        contents |= {"png": artefact.png, "svg": artefact.svg}
    else:
        contents["html"] = (artefact.fragment.rstrip() + "\n").encode()
    contents["csv"] = artefact.csv.encode()
    text = json.dumps(_json(record, "provenance"), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    contents["json"] = (text + "\n").encode()
    home = Path(folder) / artefact.scale / artefact.paper
    paths = {suffix: home / f"{artefact.id}.{suffix}" for suffix in contents}
    for suffix, data in contents.items():  # the JSON last: what has one is complete
        files.write(paths[suffix], data)
    return paths


def _render(artefact: Artefact, form: str, dpi: int, metadata: Mapping[str, str | None]) -> bytes:
    import matplotlib

    figure = artefact.figure
    assert figure is not None
    buffer = io.BytesIO()
    with style.context(), matplotlib.rc_context({"figure.constrained_layout.use": False}):
        figure.savefig(buffer, format=form, bbox_inches=artefact.box, dpi=dpi, metadata=metadata)
    return buffer.getvalue()


def _finished(figure: "Figure", scale: str) -> Any:
    """Lay the figure out, stamp it with its scale, and measure the box around everything drawn, in inches.

    Measuring text is what drawing spends its time on. ``savefig`` with a layout engine and ``bbox_inches="tight"``
    would do it five times for a PNG and an SVG; here it is done once for both.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import RendererAgg

    with style.context(), matplotlib.rc_context({"figure.constrained_layout.use": False}):
        if (engine := figure.get_layout_engine()) is not None:
            engine.execute(figure)
            figure.set_layout_engine(None)  # "none" leaves a stand-in, for which savefig draws everything once more
        _thin(figure)
        renderer = RendererAgg(*figure.bbox.size, figure.dpi)
        box = figure.get_tightbbox(renderer)
        if scale != "paper":
            stamp = _stamp(figure, scale, box).get_window_extent(renderer)
            box = box.union([box, stamp.transformed(figure.dpi_scale_trans.inverted())])
        return box.padded(0.05)


def _thin(figure: "Figure") -> None:
    """Clouds of thousands of points become pixels in the SVG, which would otherwise weigh megabytes."""
    from matplotlib.collections import PathCollection

    clouds = figure.findobj(PathCollection)
    if sum(np.shape(cloud.get_offsets())[0] for cloud in clouds) > 2000:
        for cloud in clouds:
            cloud.set_rasterized(True)


def _stamp(figure: "Figure", scale: str, box: Any) -> Any:
    """Write the scale below the lower right corner of everything drawn."""
    width, height = figure.get_size_inches()
    x, y = box.x1 / width, (box.y0 - 0.03) / height
    return figure.text(x, y, f"{scale} scale", ha="right", va="top", fontsize=6.5, color="#555555")


def _palette(png: bytes) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    image = Image.open(io.BytesIO(png)).convert("RGB")
    image.quantize(128, method=Image.Quantize.MEDIANCUT).save(
        buffer, format="png", optimize=True, dpi=image.info.get("dpi")
    )
    return buffer.getvalue()


def _png_width(png: bytes) -> int:
    return int.from_bytes(png[16:20], "big")  # IHDR is always the first chunk


def _words(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def _json(value: Any, where: str) -> Any:
    """Plain JSON values: mappings with text keys, lists, numpy scalars as Python numbers, NaN as null."""
    if isinstance(value, Mapping):
        return {str(name): _json(v, where) for name, v in value.items()}
    if isinstance(value, list | tuple):
        return [_json(v, where) for v in value]
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int | bool):
        return value
    raise PaperlibError(f"{where} hold {value!r} of type {type(value).__name__}; only JSON values can be saved.")
