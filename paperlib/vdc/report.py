"""What a cleaning run found: tables, a list of positions, CSV files, and a page with the suspects' pictures.

Introduced in notebook 01.
"""

import base64
import hashlib
import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from paperlib import files
from paperlib.vdc.asking import Asked
from paperlib.vdc.folder import write_table
from paperlib.vdc.pictures import Pictures, Unreadable
from paperlib.vdc.scoring import Rates
from paperlib.vdc.types import Usage

if TYPE_CHECKING:
    import pandas as pd

PAGE = Path(__file__).with_name("page.html")
SHOWN, SIDE = 3_000, 72
"""Samples with a thumbnail in the page, and its longest side in pixels: a page of 10,000 samples stays below 20 MB."""
DECIDED = ("kept", "fixed", "removed")


@dataclass
class CleanReport:
    """The result of :func:`paperlib.vdc.cleanse.cleanse`."""

    samples: "pd.DataFrame"
    """One row per sample, in the order of the data: position, name, label, status, score (low: suspicious),
    suggested_label, n_asked, n_answered, why, reason, descriptions."""
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
    classes: tuple[str, ...] = ()
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
        return np.flatnonzero(self.samples["status"].isin(["clean", "undecided", "kept", "fixed"]).to_numpy())

    def apply(self, data: Any) -> Any:
        """The cleaned subset of an :class:`paperlib.data.images.ImageData` (or anything with ``subset(indices)``)."""
        return data.subset(self.kept)

    def counts(self) -> dict[str, int]:
        """Samples by status."""
        found = self.samples["status"].value_counts()
        names = {"dirty": "dirty", "clean": "clean", "undecided": "undecided", "unreadable": "unreadable"}
        out = {short: int(found.get(name, 0)) for short, name in (names | {"unknown": "unknown label"}).items()}
        return out | {"decided": int(sum(found.get(name, 0) for name in DECIDED))}

    def in_words(self) -> str:
        """The share of wrong labels, the cut, and what it costs; empty where no model of the noise was fitted."""
        found = self.settings
        if "wrong_labels_percent" not in found:
            return ""
        rate, fpr = found["wrong_labels_interval"], found["expected_fpr_interval"]
        return (
            f"About {found['wrong_labels_percent']} % of the labels are wrong (90 % interval {rate[0]} to {rate[1]});"
            f" of the right ones about {found['expected_fpr_percent']} % ({fpr[0]} to {fpr[1]}) are flagged with them."
        )

    def to_csv(self, folder: Path | str) -> list[Path]:
        """Write ``samples.csv`` (all samples, the most suspicious first), ``corrected.csv`` (file and label of what is
        left, as decided), ``dirty.txt`` (names of the flagged ones; one with a line break as a JSON string),
        ``questions.csv`` and ``settings.json`` into a folder. No cell of the tables is a formula to a spreadsheet."""
        folder = Path(folder)
        order = self.samples.assign(_clean=~self.flagged).sort_values(
            ["_clean", "score"], kind="stable", na_position="last"
        )
        shown = order.drop(columns="_clean")
        rows = (
            [f"{v:.5f}" if isinstance(v, float) else v for v in row]
            for row in shown.astype(object).where(shown.notna(), "").values.tolist()
        )
        write_table(folder / "samples.csv", list(shown.columns), rows)
        left = self.samples[self.samples["status"] != "removed"]
        fixed = np.where(left["status"] == "fixed", left["suggested_label"], left["label"])
        columns = (left["name"], fixed, left["label"], left["suggested_label"], left["status"])
        write_table(
            folder / "corrected.csv", ["file", "label", "given", "suggested", "status"], zip(*columns, strict=True)
        )
        table = self.per_question
        write_table(
            folder / "questions.csv",
            list(table.columns),
            ([f"{v:.2f}" if isinstance(v, float) else v for v in row] for row in table.values.tolist()),
        )
        names = self.samples["name"].to_numpy()[self.dirty]
        lines = "".join(f"{json.dumps(n) if len(n.splitlines()) > 1 else n}\n" for n in names)
        files.write(folder / "dirty.txt", lines.encode("utf-8"))
        content = {
            **self.settings,
            "usage": asdict(self.usage),
            "from_cache": self.from_cache,
            "errors": self.errors,
            "counts": self.counts(),
            "rates": None if self.rates is None else asdict(self.rates),
        }
        files.write(folder / "settings.json", (json.dumps(content, indent=1) + "\n").encode("utf-8"))
        return [folder / n for n in ("samples.csv", "corrected.csv", "dirty.txt", "questions.csv", "settings.json")]

    def to_html(self, path: Path | str, most: int = SHOWN) -> Path:
        """Write one self-contained page: a table of the ``most`` most suspicious samples that can be sorted, filtered
        and decided on."""
        import jinja2

        samples, rows = self.samples, []
        listed = samples[samples["status"].isin(["dirty", "clean", "undecided"])]
        order = listed.assign(_clean=listed["status"] != "dirty").sort_values(["_clean", "score"], kind="stable")
        for row in order.head(most).to_dict("records"):
            rows.append(
                {
                    "name": row["name"],
                    "label": row["label"],
                    "better": row["suggested_label"],
                    "score": None if np.isnan(row["score"]) else round(float(row["score"]), 5),
                    "why": row["reason"],
                    "status": row["status"],
                    "image": self._thumbnail(int(row["position"])),
                }
            )
        flagged = samples[self.flagged]
        pairs = flagged.groupby(["label", "suggested_label"]).size().sort_values(ascending=False, kind="stable")
        odd = samples[samples["status"].isin(["unreadable", "unknown label"])].head(most).to_dict("records")
        settings = [(name, value) for name, value in self.settings.items() if name != "note" and value is not None]
        settings += [(name, value) for name, value in asdict(self.usage).items() if value]
        settings += [("answers from the cache", self.from_cache), ("questions without answer", self.errors)]
        if self.rates is not None:
            settings += [(name, round(value, 2)) for name, value in asdict(self.rates).items()]
        identity = hashlib.sha256("\n".join(map(str, samples["name"])).encode()).hexdigest()[:16]
        data = {"id": identity, "classes": list(self.classes), "rows": rows}
        page = jinja2.Environment(autoescape=True).from_string(PAGE.read_text(encoding="utf-8"))
        text = page.render(
            counts=self.counts(),
            total=len(samples),
            words=self.in_words(),
            note=self.settings["note"],
            pairs=pairs.reset_index().values.tolist(),
            shown=len(rows),
            problems=odd,
            columns=list(self.per_question.columns),
            questions=self.per_question.round(1).values.tolist(),
            settings=settings,
            data=json.dumps(data, ensure_ascii=False).replace("<", "\\u003c"),  # nothing in it can end the script
        )
        path = Path(path)
        files.write(path, text.encode("utf-8", "replace"))
        return path

    def _thumbnail(self, i: int) -> str:
        """JPEG of picture i in base64."""
        from PIL import Image

        try:
            image = Image.fromarray(np.ascontiguousarray(self.pictures.read(i)))
        except Unreadable:
            return ""
        image.thumbnail((SIDE, SIDE))
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=80)
        return base64.b64encode(buffer.getvalue()).decode()
