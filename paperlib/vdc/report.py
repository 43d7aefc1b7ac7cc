"""What a cleaning run found: tables, a list of positions, CSV files, and a page with the suspects' pictures.

Introduced in notebook 01.
"""

import base64
import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from paperlib.vdc.asking import Asked
from paperlib.vdc.pictures import Pictures, Unreadable
from paperlib.vdc.scoring import Rates
from paperlib.vdc.types import Usage

if TYPE_CHECKING:
    import pandas as pd

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Data cleaning report</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 72em; padding: 0 1em; color: #222; background: #fff }
table { border-collapse: collapse; margin: 1em 0 } td, th { padding: .2em .7em; text-align: left; border-bottom: 1px solid #ddd }
.number { text-align: right; font-variant-numeric: tabular-nums }
.note { border-left: 4px solid #c60; padding: .3em 1em; background: #fff6ec }
.suspects { display: grid; grid-template-columns: repeat(auto-fill, minmax(15em, 1fr)); gap: 1em }
figure { margin: 0; padding: .7em; border: 1px solid #ddd; border-radius: 6px } img { width: 96px; image-rendering: pixelated }
figcaption small { color: #555 }
</style></head><body>
<h1>Data cleaning report</h1>
<p>{{ counts.dirty }} of {{ total }} samples are flagged as dirty; {{ counts.clean }} look clean, {{ counts.undecided }} are
undecided (too few answers), {{ counts.unreadable }} unreadable, {{ counts.unknown }} have an unknown label.</p>
{% if note %}<p class="note">{{ note }}</p>{% endif %}
<p>A flagged sample is one whose picture does not seem to agree with its label. A picture that was manipulated but agrees
with its label (clean-label attacks) cannot be found this way.</p>
<h2>Suspects</h2>
<p>The {{ suspects|length }} most suspicious first{% if suspects|length < counts.dirty %}; all {{ counts.dirty }} are in
samples.csv{% endif %}.</p>
<div class="suspects">
{% for s in suspects %}<figure>{% if s.image %}<img alt="{{ s.name }}" src="data:image/png;base64,{{ s.image }}">{% endif %}
<figcaption><b>{{ s.label }}</b>{% if s.suggested_label %} &rarr; perhaps <b>{{ s.suggested_label }}</b>{% endif %},
score {{ "%.2f"|format(s.score) }}<br><small>{{ s.name }}<br>{% if s.descriptions %}&ldquo;{{ s.descriptions }}&rdquo;<br>{% endif %}
Not confirmed: {{ s.why }}</small></figcaption></figure>
{% endfor %}</div>
{% if problems %}<h2>Not asked about</h2>
<table><tr><th>sample</th><th>label</th><th>why</th></tr>
{% for s in problems %}<tr><td>{{ s.name }}</td><td>{{ s.label }}</td><td>{{ s.why }}</td></tr>{% endfor %}</table>{% endif %}
<h2>Questions</h2>
<table><tr>{% for c in columns %}<th>{{ c.replace("_", " ") }}</th>{% endfor %}</tr>
{% for row in questions %}<tr>{% for v in row %}<td{% if v is number %} class="number"{% endif %}>{{ v }}</td>{% endfor %}</tr>{% endfor %}
</table>
<h2>How it was made</h2>
<table>{% for name, value in settings %}<tr><th>{{ name.replace("_", " ") }}</th><td>{{ value }}</td></tr>{% endfor %}</table>
</body></html>
"""


@dataclass
class CleanReport:
    """The result of :func:`paperlib.vdc.cleanse.cleanse`."""

    samples: "pd.DataFrame"
    """One row per sample, in the order of the data: position, name, label, status, score (low: suspicious),
    suggested_label, n_asked, n_answered, why, descriptions."""
    per_question: "pd.DataFrame"
    """One row per class and question: how often asked, answered, and answered right."""
    settings: dict[str, Any]
    """Engine, its model and note, bank, score, threshold, tie rule, size of the reference."""
    usage: Usage
    """Of the questions asked in this run; answers from the cache cost nothing."""
    from_cache: int
    errors: int
    """Questions without an answer in all tries; asked again by the next run."""
    rates: Rates | None
    """Where the truth was given."""
    pred_probs: np.ndarray | None
    """(N, C) class probabilities, where the engine gives them: what cleanlab calls ``pred_probs``."""
    asked: Asked
    """All verdicts, for other scores and thresholds."""
    pictures: Pictures
    on_reference: Asked | None = None
    """The same of the reference, where one was given."""

    @property
    def flagged(self) -> np.ndarray:
        """Bool (N,)."""
        return (self.samples["status"] == "dirty").to_numpy()

    @property
    def dirty(self) -> np.ndarray:
        """Positions of the flagged samples, the most suspicious first."""
        found = np.flatnonzero(self.flagged)
        return found[np.argsort(self.samples["score"].to_numpy()[found], kind="stable")]

    @property
    def kept(self) -> np.ndarray:
        """Positions of all other samples that were readable and have a known label: the cleaned set."""
        return np.flatnonzero(self.samples["status"].isin(["clean", "undecided"]).to_numpy())

    def apply(self, data: Any) -> Any:
        """The cleaned subset of an :class:`paperlib.data.images.ImageData` (or anything with ``subset(indices)``)."""
        return data.subset(self.kept)

    def counts(self) -> dict[str, int]:
        """Samples by status."""
        found = self.samples["status"].value_counts()
        names = {"dirty": "dirty", "clean": "clean", "undecided": "undecided", "unreadable": "unreadable"}
        return {short: int(found.get(name, 0)) for short, name in (names | {"unknown": "unknown label"}).items()}

    def to_csv(self, folder: Path | str) -> list[Path]:
        """Write ``samples.csv`` (all samples, the most suspicious first), ``dirty.txt`` (names of the flagged ones),
        ``questions.csv`` and ``settings.json`` into a folder."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        order = self.samples.assign(_clean=~self.flagged).sort_values(
            ["_clean", "score"], kind="stable", na_position="last"
        )
        order.drop(columns="_clean").to_csv(folder / "samples.csv", index=False, float_format="%.5f")
        self.per_question.to_csv(folder / "questions.csv", index=False, float_format="%.2f")
        names = "".join(f"{name}\n" for name in self.samples["name"].to_numpy()[self.dirty])
        (folder / "dirty.txt").write_text(names, encoding="utf-8")
        content = {
            **self.settings,
            "usage": asdict(self.usage),
            "from_cache": self.from_cache,
            "errors": self.errors,
            "counts": self.counts(),
            "rates": None if self.rates is None else asdict(self.rates),
        }
        (folder / "settings.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        return [folder / name for name in ("samples.csv", "dirty.txt", "questions.csv", "settings.json")]

    def to_html(self, path: Path | str, most: int = 200) -> Path:
        """Write one self-contained page with thumbnails of the ``most`` most suspicious samples."""
        import jinja2

        rows = self.samples.to_dict("records")
        suspects = []
        for i in self.dirty[:most]:
            suspects.append({**rows[i], "image": self._thumbnail(int(i))})
        odd = [row for row in rows if row["status"] in ("unreadable", "unknown label")][:most]
        settings = [(name, value) for name, value in self.settings.items() if name != "note" and value is not None]
        settings += [(name, value) for name, value in asdict(self.usage).items() if value]
        settings += [("answers from the cache", self.from_cache), ("questions without answer", self.errors)]
        if self.rates is not None:
            settings += [(name, round(value, 2)) for name, value in asdict(self.rates).items()]
        page = jinja2.Environment(autoescape=True).from_string(_PAGE)
        text = page.render(
            counts=self.counts(),
            total=len(self.samples),
            note=self.settings["note"],
            suspects=suspects,
            problems=odd,
            columns=list(self.per_question.columns),
            questions=self.per_question.round(1).values.tolist(),
            settings=settings,
        )
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def _thumbnail(self, i: int, side: int = 96) -> str:
        """PNG of picture i, at most ``side`` pixels, in base64."""
        from PIL import Image

        try:
            image = Image.fromarray(np.ascontiguousarray(self.pictures.read(i)))
        except Unreadable:
            return ""
        image.thumbnail((side, side))
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        return base64.b64encode(buffer.getvalue()).decode()
