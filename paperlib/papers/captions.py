"""What the papers with image experiments share: the end of a caption, the artefact of an item, the stand-in data
set."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import pandas as pd

from paperlib.attacks import meant
from paperlib.data import sources
from paperlib.experiments import scales
from paperlib.experiments.scales import Scale
from paperlib.lab.spec import pairs
from paperlib.papers import Results
from paperlib.report import style, tables
from paperlib.report.artefact import Artefact

TINY, SIGNS = "tiny_imagenet20_32", "gtsrb_sample"
"""What stands for Tiny ImageNet and for GTSRB at laptop scale."""
PRINTED_DATASETS = {"tiny_imagenet": "tiny"}
"""Data sets that have another name among the published numbers."""


def printed_name(dataset: str) -> str:
    """The published numbers' name of a data set, or of that which it stands for."""
    about = sources.DATASETS.get(dataset)
    name = about.stands_for if about and about.stands_for else dataset
    return PRINTED_DATASETS.get(name, name)


REACTIVATION: dict[str, dict[str, int]] = {
    "smoke": {"n": 200, "n_train": 200, "steps": 20, "batch_size": 32},
    "laptop": {"n": 1000, "n_train": 2000, "steps": 60, "batch_size": 64},
    "paper": {"n": 9000, "n_train": 2500, "steps": 500, "batch_size": 128},
}
"""Scale -> sizes of the tool ``reactivation``, with which every notebook on a defense ends."""


def images(scale: Scale) -> str:
    """Data set and number of training images."""
    about = sources.DATASETS.get(scale.dataset)
    n = scale.n_train or (about.n_train if about and about.stands_for else 0)
    count = f"{n:,} training images" if n else "all training images"
    return f"{style.title('dataset', scale.dataset)}, {count}"


def where(
    results: Results,
    ratio: float | None = 0.1,
    dataset: str = "",
    model: str = "preact_resnet18",
    *,
    n_clean: int | None = None,
    seeds: Sequence[int] = (),
) -> str:
    """The end of a caption: what the numbers above are of.

    Parameters
    ----------
    results
        Those drawn from; they hold scale and seed.
    ratio
        Poisoning ratio, a fraction; None where there are several.
    dataset
        Where it is another one than the scale's.
    model
        Name of the architecture, or several as a text.
    n_clean
        Clean images of the defender, where it is another number than the scale's.
    seeds
        Those that the numbers are means over, where there are several.
    """
    scale = scales.on(results.scale, dataset) if dataset else results.scale
    poisoned = "" if ratio is None else f"{100 * ratio:g} % poisoned, "
    seed = f"seed {results.seed}"
    if len(seeds) > 1:
        seed = f"seeds {', '.join(map(str, seeds))}: mean ± standard deviation"
    return (
        f"{images(scale)}, {style.title('model', model)} of width {scale.width}, {poisoned}"
        f"{scale.n_clean if n_clean is None else n_clean:,} clean images for the defender, {scale.name} scale, {seed}."
    )


def pictures(results: Results) -> str:
    """Which picture the Blended models had that were used of ``results`` so far, for the end of a caption; empty
    without any."""
    found: set[str] = set()

    def look(part: Any) -> None:
        if isinstance(part, Mapping):
            if part.get("attack") == "blended":
                params = meant("blended", pairs(part.get("attack_params")))
                found.add(
                    "a picture of your own" if dict(params).get("image") else f"the {dict(params)['picture']} picture"
                )
            part = list(part.values())
        if isinstance(part, list):
            for one in part:
                look(one)

    for key in results.used:
        look(results.rows[key].get("spec", {}))
    return f"; Blended with {' and '.join(sorted(found))}" if found else ""


def devices(results: Results) -> str:
    """Names of the processors and GPUs that computed what was used of ``results`` so far."""
    rows = (results.rows[key].get("provenance", {}).get("device_name") for key in results.used)
    return " and ".join(sorted({str(name) for name in rows if name})) or "an unknown device"


def device_of(results: Results, result: Mapping[str, Any]) -> str:
    """Name of the processor or GPU on which ``result``, as :meth:`Results.get` returned it, was computed."""
    rows = (row for row in results.rows.values() if row["result"] is result)
    return str(next(rows, {}).get("provenance", {}).get("device_name", "unknown"))


def artefact(
    paper: str, results: Results, id_: str, kind: str, more: Mapping[str, Any] | None = None, **content: Any
) -> Artefact:
    """The item ``id_`` drawn from ``results``, with the sizes of the scale and what else (``more``) it depends on.

    Its caption ends with the picture that the Blended models had.
    """
    scale = results.scale
    if more_said := pictures(results):
        said = content["caption"]
        content["caption"] = f"{said.rstrip('.')}{more_said}."
        if "html" in content:
            content["html"] = content["html"].replace(escape(said), escape(content["caption"]), 1)
    marked = "mark" in content["frame"] and content["frame"]["mark"].astype(bool).any()  # beside each number
    if remarks := results.remarks(earlier=not marked):
        if kind == "figure":
            content["caption"] = " ".join([content["caption"], *remarks])
        else:
            content["html"] += tables.below(remarks)
    sizes = {"dataset": scale.dataset, "n_train": scale.n_train, "width": scale.width, "epochs": scale.epochs}
    return Artefact(
        paper=paper, id=id_, kind=kind, scale=scale.name, seed=results.seed, parameters={**sizes, **(more or {})},
        results=tuple(sorted(results.used)), **content,
    )  # fmt: skip


def plain_table(
    paper: str,
    results: Results,
    id_: str,
    caption: str,
    frame: pd.DataFrame,
    notes: Iterable[str] = (),
    more: Mapping[str, Any] | None = None,
) -> Artefact:
    """A frame as the table ``id_``, of the shape that it has.

    Parameters
    ----------
    paper, results, id_, more
        As :func:`artefact`.
    caption, frame, notes
        As :func:`paperlib.report.tables.to_html`.
    """
    html = tables.to_html(frame, caption, notes=notes)
    return artefact(paper, results, id_, "table", more, caption=caption, frame=frame, html=html)


def stand_ins(scale: Scale) -> dict[str, dict[Any, Any]] | None:
    """For :func:`paperlib.report.compare.compare`: the data set of a small scale stands in for CIFAR-10."""
    return None if scale.dataset == "cifar10" else {"dataset": {scale.dataset: "cifar10"}}
