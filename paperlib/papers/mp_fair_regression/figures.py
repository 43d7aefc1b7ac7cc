"""Figures 1 to 13, the authors' demos, and our run times, as drawing functions ``draw(results) -> artefact``."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from paperlib.papers import Results
from paperlib.papers.mp_fair_regression import printed, runs
from paperlib.papers.mp_fair_regression.tables import (
    BOX_KEYS,
    FIVE,
    MEAN_SHIFT,
    artefact,
    compare_curves,
    compare_demo,
    compared,
    counts,
    demo_verdicts,
    fives,
    judged,
    label_title,
    where,
    with_mean_shift,
)
from paperlib.report import compare, style
from paperlib.report.artefact import Artefact

if TYPE_CHECKING:
    from matplotlib.typing import LineStyleType

Draw = Callable[[Results], Artefact]

GROUPS = ("k=2", "k=4", "k=8", "k=16")
NAMES = {"Ours": "mp_fair", MEAN_SHIFT: "mean_shift"}
SIGNS = {compare.MATCH: "=", compare.DIFFERS: "≠"}
DASHED = (0, (4, 1.2))


def look(method: str) -> style.Look:
    """One colour and marker per method, whatever its weight: FKR-1 and FKR-3 have those of FKR."""
    name, _, weight = method.partition("-")
    found = style.look("fairness", NAMES.get(name, name.lower()))
    if method == MEAN_SHIFT:
        return replace(found, title=method.replace(" (", "\n("))
    return replace(found, title=f"{found.title}-{'3' if weight == '1000' else weight}") if weight else found


@contextmanager
def _grid(rows: int, columns: int, height: float, **options: Any) -> Iterator[tuple[Any, Any]]:
    """A figure of the page's width and its panels (rows, columns), with small labels and few ticks."""
    with style.subplots(rows, columns, figsize=(style.PAGE, height), squeeze=False, **options) as (figure, panels):
        for axes in panels.flat:
            axes.tick_params(labelsize=6.5)
            axes.locator_params(nbins=4)
            for name in "xy":
                getattr(axes, f"{name}axis").get_offset_text().set_fontsize(6)
        yield figure, panels


def _powers(axes: Any, names: str, limits: tuple[int, int]) -> None:
    for name in names:
        axes.ticklabel_format(axis=name, style="sci", scilimits=limits)


def _absent(axes: Any) -> None:
    axes.text(0.5, 0.5, "not run:\ndata missing", transform=axes.transAxes, ha="center", va="center")


def _titles(results: Results, item: str, names: Sequence[str]) -> dict[str, str]:
    """Data set (or k) -> title of its panels."""
    labels = {
        name: label for name, (label, _) in runs.find(results, item, () if item in runs.SEVERAL else names).items()
    }
    return {name: name if name in GROUPS else label_title(labels.get(name, name)) for name in names}


# ----------------------------------------------------------------------------------------------------------- box plots


def _draw_fives(axes: Any, boxes: Mapping[float, Mapping[str, float]], colours: Any, **options: Any) -> None:
    """Horizontal boxes from their five numbers, by height. All whiskers are one line with gaps, all medians another."""
    if not boxes:
        return
    y = np.array(list(boxes))
    low, q1, middle, q3, high = np.array([[five[name] for name in FIVE] for five in boxes.values()], float).T
    gap = np.full(len(y), np.nan)
    whiskers = np.stack([low, q1, gap, q3, high, gap], axis=1)
    axes.plot(whiskers.ravel(), np.repeat(y, 6), color="#333333", linewidth=0.7)
    axes.barh(y, q3 - q1, left=q1, height=0.36, color=colours, **options)
    medians = np.stack([middle, middle, gap], axis=1)
    axes.plot(medians.ravel(), np.add.outer(y, [-0.2, 0.2, 0]).ravel(), color="black", linewidth=1.1)


def _box_panels(
    results: Results,
    item: str,
    methods: Sequence[str],
    metrics: Sequence[str],
    ours: pd.DataFrame,
    verdicts: pd.DataFrame,
    theirs: str = "printed",
) -> dict[str, Any]:
    """Figure and frame: panels of horizontal boxes, ours filled, theirs hatched below, and a sign for the verdict."""
    from matplotlib.patches import Patch

    mine: Any = fives(ours)
    theirs_: Any = verdicts.set_index(BOX_KEYS)
    rows = [(metric, split) for metric in metrics for split in ("Train", "Test")]
    titles = _titles(results, item, GROUPS if item in runs.SEVERAL else runs.USED_SETS.get(item, runs.SETS))
    height = 0.55 + len(rows) * (0.45 + 0.165 * len(methods))
    with _grid(len(rows), len(titles), height, sharey=True) as (figure, panels):
        for number, (metric, split) in enumerate(rows):
            for axes, (name, title) in zip(panels[number], titles.items(), strict=True):
                above, below, colours = {}, {}, []
                for i, method in enumerate(methods):
                    response = (name, metric, split, "Response")  # what the printed test box of OLS shows
                    shown = "Response" if response in mine.index and method == "OLS" and split == "Test" else method
                    if (key := (name, metric, split, shown)) in mine.index:
                        above[-i + 0.2] = mine.loc[key].to_dict()
                        colours.append(look(method).colour)
                    if (key := (name, metric, split, method)) in theirs_.index:
                        below[-i - 0.2] = {n: float(theirs_.loc[key, f"published_{n}"]) for n in FIVE}
                        sign = SIGNS.get(str(theirs_.loc[key, "verdict"]), "·")
                        axes.text(1.01, -i, sign, transform=axes.get_yaxis_transform(), va="center", fontsize=6.5)
                _draw_fives(axes, above, colours)
                _draw_fives(axes, below, "white", edgecolor="#555555", hatch="/////", linewidth=0.6)
                axes.set_yticks([-i for i in range(len(methods))], [look(m).title for m in methods])
                axes.set_ylim(-len(methods) + 0.45, 0.55)
                _powers(axes, "x", (-2, 3))
                if number == 0:
                    axes.set_title(title)
            panels[number, 0].set_ylabel(f"{metric}\n{split.lower()}")
        handles = [
            Patch(facecolor="#777777", label="ours (above)"),
            Patch(facecolor="white", edgecolor="#555555", hatch="/////", label=f"{theirs} (below)"),
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=2)
    frame = mine.reset_index().merge(verdicts.drop(columns=["median", "q1", "q3"]), on=BOX_KEYS, how="outer")
    used = ours.groupby("dataset_or_k")["dataset"].first()
    frame.insert(1, "table", [used.get(name, "none") for name in frame["dataset_or_k"]])
    return {"figure": figure, "frame": frame}


def _medians(ours: pd.DataFrame, metric: str, split: str, methods: Sequence[str]) -> str:
    """For the alt text: medians of two methods on every column."""
    part = ours[ours["metric"].eq(metric) & ours["split"].eq(split) & ours["method"].isin(methods)]
    if part.empty:
        return ""
    table = part.groupby(["dataset_or_k", "method"], sort=False)["value"].median().unstack()
    texts = [
        f"{style.title('dataset', name)} {' and '.join(f'{row[m]:.3g}' for m in methods)}"
        for name, row in table.loc[part["dataset_or_k"].unique()].iterrows()
    ]
    return f"{split} {metric}, medians of {' and '.join(look(m).title for m in methods)}: {'; '.join(texts)}."


def draw_boxes(id_: str, text: str, methods: Sequence[str], metrics: Sequence[str] = ("MSE", "SMD")) -> Draw:
    """The drawing function of Figures 1, 3, 5, 6, 8, 9 and 10."""

    def draw(results: Results) -> Artefact:
        ours, verdicts = compared(results, id_)
        if MEAN_SHIFT in methods:
            ours = with_mean_shift(results, ours)
        return artefact(
            results, id_, "figure", **_box_panels(results, id_, methods, metrics, ours, verdicts),
            caption=f"{id_.replace('fig', 'Figure ')}. {text} {counts(verdicts)} (=: inside, ≠: outside, ·: not "
            f"judged.) {where(results, id_)}",
            alt="Panels of box plots, our boxes above the printed ones. "
            f"{_medians(ours, metrics[-1], 'Test', (methods[0], 'Ours'))} {counts(verdicts)}",
        )  # fmt: skip

    return draw


def draw_demo(id_: str) -> Draw:
    """The authors' demos: every trial beside a rerun of their code."""
    kind = id_.removeprefix("demo_")
    methods = ("Constant", "KRR" if kind == "kernel" else "OLS", "FKR-1000", "FPR-1000", "Ours")

    def draw(results: Results) -> Artefact:
        ours = runs.boxes(results, id_)
        pairs = compare_demo(ours, id_)
        drawn = _box_panels(
            results, id_, methods, ("MSE", "SMD"), ours, demo_verdicts(pairs, id_), "authors' code, rerun"
        )
        worst = pairs[pairs["tied"]].groupby("metric")["difference"].agg(lambda v: v.abs().max())
        said = ", ".join(f"{metric} {value:.1e}" for metric, value in worst.items()) or "none could be compared"
        text = f"{len(pairs)} numbers beside a rerun of the authors' code; largest difference: {said}."
        if not pairs["tied"].all():
            text += " (Without OLS on the test rows of Adult, which depends on Python's hash seed.)"
        return artefact(
            results, id_, "figure", **drawn,
            caption=f"The authors' {kind} demo. {text} {where(results, id_)}",
            alt=f"Panels of box plots, our boxes above those of the authors' code. {text}",
        )  # fmt: skip

    return draw


# -------------------------------------------------------------------------------------------------------------- curves


def draw_tradeoff(id_: str, datasets: Sequence[str]) -> Draw:
    """Figures 2 and 7: unfairness against error, our lines over the printed vertices; the axes are the paper's."""
    name_ = id_.replace("fig", "Figure ")

    def draw(results: Results) -> Artefact:
        curves, vertices = runs.curves(results, "fig7", datasets), printed.curves(name_)
        titles = _titles(results, "fig7", datasets)
        with _grid(2, len(datasets), 4.5) as (figure, panels):
            for row, split in zip(panels, ("Train", "Test"), strict=True):
                for axes, dataset in zip(row, datasets, strict=True):
                    own, theirs = (f[f["dataset"].eq(dataset) & f["split"].eq(split)] for f in (curves, vertices))
                    for method in ("NRFC", "FKR", "FPR", "Ours"):
                        of = look(method)
                        dots, line = (f[f["method"].eq(method)] for f in (theirs, own))
                        marks = {"mfc": "none", "mec": of.colour, "ms": 4.5, "mew": 0.7, "alpha": 0.8}
                        axes.plot(dots["MSE"], dots["SMD"], of.marker, **marks)
                        # in the order of the knob: SMD need not be monotone on test rows
                        axes.plot(line["MSE"], line["SMD"], color=of.colour, linestyle=of.line, label=of.title)
                    if len(own):  # a few printed vertices of FKR lie far outside
                        for set_, column in ((axes.set_xlim, "MSE"), (axes.set_ylim, "SMD")):
                            low, high = own[column].min(), own[column].max()
                            set_(low - 0.06 * (high - low), high + 0.08 * (high - low))
                    if split == "Train":
                        axes.set_title(titles[dataset])
                    else:
                        axes.set_xlabel("MSE")
                    _powers(axes, "xy", (-2, 3))
                row[0].set_ylabel(f"SMD, {split.lower()}")
            handles, labels = next(a for a in panels.flat if a.lines).get_legend_handles_labels()
            title = "lines: ours; open marks: printed"
            figure.legend(handles, labels, loc="outside lower center", ncols=4, title=title)
        text = ""
        exact = curves[~curves["table"].str.endswith(")")]
        if judged(results) and len(exact):
            off = compare_curves(exact, name_).query("method == 'Ours'")
            text = (
                f"Printed vertices of MP lie at most {100 * off['largest_off'].max():.1f} % of the range of SMD from "
                f"our curve (median {100 * off['median_off'].median():.3f} %). "
            )
        return artefact(
            results, id_, "figure", figure=figure,
            frame=pd.concat([curves, vertices.assign(source="printed")], ignore_index=True),
            caption=f"{name_}. Unfairness against error, linear regression, one attribute, one split: fraction of the "
            f"gaps that MP keeps, weight of FKR and FPR, bound of NRFC. {text}{where(results, 'fig7', datasets)}",
            alt="Curves that fall from the ordinary fit to SMD 0 at the fair fit. On the training sets MP and FPR "
            f"share one curve. {text}",
        )  # fmt: skip

    return draw


GROUP_LOOKS: tuple[tuple[str, str, "LineStyleType"], ...] = (
    ("attribute at its lower value", "#de8f05", "-"),
    ("at its higher value", "#0173b2", DASHED),
)
"""Names, colours and lines of the two groups."""
HEADROOM = 1.32
"""Height of a panel of densities over that of its bars: the label stands between."""


def draw_densities(id_: str, datasets: Sequence[str], rows: Sequence[tuple[str, str]]) -> Draw:
    """Figures 4 and 13: densities by group."""

    def draw(results: Results) -> Artefact:
        from matplotlib.lines import Line2D

        found = runs.panels(results, datasets)
        frames, texts = [], []
        with _grid(len(rows), len(datasets), 0.5 + 1.45 * len(rows)) as (figure, panels):
            for axes, dataset in zip(panels[0], datasets, strict=True):
                axes.set_title(label_title(found.get(dataset, (dataset,))[0]))
            for row, key in zip(panels, rows, strict=True):
                split, quantity = key
                row[0].set_ylabel(f"{quantity}\n{split.lower()}")
                for axes, dataset in zip(row, datasets, strict=True):
                    axes.set_yticks([])
                    if dataset not in found:
                        _absent(axes)
                        axes.set_xticks([])
                        continue
                    label, panel = found[dataset][0], found[dataset][1][key]
                    edges, grid = np.array(panel["edges"]), np.array(panel["grid"])
                    for (group, drawn), (_, colour, line) in zip(panel["groups"].items(), GROUP_LOOKS, strict=True):
                        axes.bar(edges[:-1], drawn["histogram"], np.diff(edges), align="edge", color=colour, alpha=0.3)
                        axes.plot(grid, drawn["curve"], color=colour, linestyle=line, linewidth=1.2)
                        axes.axvline(drawn["mean"], ymax=1 / HEADROOM, color=colour, linestyle=line, linewidth=0.8)
                        tags = {"dataset": label, "split": split, "quantity": quantity, "group": group}
                        tags |= {name: drawn[name] for name in ("mean", "std", "n")} | {"ks": panel["ks"]}
                        frames.append(pd.DataFrame({**tags, "value": grid, "density": drawn["curve"]}))
                    axes.set_ylim(0, HEADROOM * axes.dataLim.ymax)
                    first, second = (drawn["mean"] for drawn in panel["groups"].values())
                    gap = abs(first - second)
                    said = f"gap {gap if gap > 1e-8 else 0:.2g}\nKS {panel['ks']:.2f}"
                    axes.text(0.98, 0.97, said, transform=axes.transAxes, ha="right", va="top", fontsize=6.5)
                    if quantity == "prediction":
                        name = style.title("dataset", label)
                        texts.append(f"{name} {split.lower()}: gap {gap:.2g}, KS {panel['ks']:.2f}")
            handles = [Line2D([], [], color=colour, linestyle=line, label=text) for text, colour, line in GROUP_LOOKS]
            figure.legend(handles=handles, loc="outside lower center", ncols=2)
        return artefact(
            results, id_, "figure", figure=figure, frame=pd.concat(frames, ignore_index=True),
            caption=f"{id_.replace('fig', 'Figure ')}. Response and mean-parity fair prediction (linear) by group, "
            "centred; bars and curves: density, vertical lines: group means, KS: Kolmogorov distance of the two "
            f"groups. The printed figure is not available as numbers. {where(results, 'fig13', datasets)}",
            alt="Densities of two groups. Distance of the means and Kolmogorov distance of the fair predictions: "
            f"{'; '.join(texts)}.",
        )  # fmt: skip

    return draw


def draw_descent(id_: str, beta: float) -> Draw:
    """Figures 11 and 12: loss and SMD over the steps of gradient descent."""

    def draw(results: Results) -> Artefact:
        from matplotlib.ticker import NullFormatter

        curves = runs.curves(results, id_)
        texts = []
        with _grid(2, len(runs.SETS), 3.9) as (figure, panels):
            for column, (dataset, title) in zip(panels.T, _titles(results, id_, runs.SETS).items(), strict=True):
                column[0].set_title(title)
                column[1].set_xlabel("step")
                for axes, metric in zip(column, ("Loss", "SMD"), strict=True):
                    axes.set(yscale="log", xticks=[0, 500, 1000])
                    axes.yaxis.set_minor_formatter(NullFormatter())
                    if metric == "SMD":
                        axes.set_ylim(bottom=1e-17)  # at step 0 every prediction is 0
                    own = curves[curves["dataset"].eq(dataset)]
                    if own.empty:
                        _absent(axes)
                    for (method, split), c in own.groupby(["method", "split"], sort=False):
                        mean, spread = c[metric].to_numpy(), c[f"{metric} std"].to_numpy()
                        shown = np.maximum(mean, 1e-17)
                        colour = look("Ours" if method == "Fair-GD" else "OLS").colour
                        line = "-" if split == "Train" else DASHED
                        name = f"{method}, {str(split).lower()}"
                        axes.plot(c["step"], shown, color=colour, linestyle=line, label=name)
                        low = np.maximum(mean - spread, shown / 3)
                        axes.fill_between(c["step"], low, mean + spread, color=colour, alpha=0.15, linewidth=0)
                        if (metric, split, method) == ("SMD", "Train", "Fair-GD"):
                            texts.append(f"{style.title('dataset', c['table'].iloc[0])} {mean.max():.1e}")
            for axes, label in zip(panels[:, 0], ("smooth L1 loss", "SMD"), strict=True):
                axes.set_ylabel(label)
            handles, labels = next(a for a in panels.flat if a.lines).get_legend_handles_labels()
            order = np.argsort(labels)[::-1]
            figure.legend([handles[i] for i in order], [labels[i] for i in order], loc="outside lower center", ncols=4)
        return artefact(
            results, id_, "figure", figure=figure, frame=curves.drop(columns="vertex"),
            caption=f"{id_.replace('fig', 'Figure ')}. Gradient descent (Adam, rate 1e-4) on the smooth L1 loss with "
            f"beta = {beta:g}, linear, with and without the constraint: mean over the splits, band: standard "
            f"deviation. The printed figure is not available as numbers. {where(results, id_)}",
            alt="Loss and SMD over the steps, with and without the constraint; largest train SMD of Fair-GD at any "
            f"step: {'; '.join(texts)}.",
        )  # fmt: skip

    return draw


def draw_scaling(results: Results) -> Artefact:
    """CPU seconds over n."""
    frame = pd.DataFrame(results.need(runs.scaling_spec(results.scale))["rows"])
    looks: dict[str, tuple[str, str, Any]] = {
        "KernelRidge": (look("KRR").colour, "o", "-"),
        "MP, kernel": (look("Ours").colour, "s", "-"),
        "MP, kernel, 25 levels": (look("Ours").colour, "^", DASHED),
        "MP, linear": (look("OLS").colour, "D", "-"),
        "RBA, linear": (look("RBA").colour, "v", (0, (1, 1))),
        "MP, streamed": ("#333333", "P", "-"),
    }
    with _grid(1, 1, 3.0) as (figure, ((axes,),)):
        for method, (colour, marker, line) in looks.items():
            part = frame[frame["method"].eq(method)]
            label = f"{method} (500 landmarks)" if method == "MP, streamed" else method
            axes.plot(part["n"], part["seconds"], color=colour, marker=marker, linestyle=line, label=label)
        axes.set(xscale="log", yscale="log", xlabel="rows", ylabel="CPU seconds, one thread")
        axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    text = ", ".join(f"{name} {value:.3g}" for name, value in scaling_ratios(frame).items())
    return artefact(
        results, "scaling", "figure", figure=figure, frame=frame,
        caption="Run time (ours, not in the paper). Median CPU seconds of a fit, Gaussian kernel or linear, two "
        f"groups, 10 inputs; all methods in turn on the same machine. {results.scale.name} scale.",
        alt=f"CPU seconds rise with the number of rows. {text}.",
    )  # fmt: skip


def scaling_ratios(frame: pd.DataFrame) -> dict[str, float]:
    """Ratios of CPU seconds at the largest exact n, and seconds of the largest streamed fit."""
    n = frame.loc[frame["method"].eq("KernelRidge"), "n"].max()
    at = frame[frame["n"].eq(n)].set_index("method")["seconds"]
    streamed = frame[frame["method"].eq("MP, streamed")].sort_values("n").iloc[-1]
    return {
        f"MP fit / KernelRidge fit (n = {n})": at["MP, kernel"] / at["KernelRidge"],
        f"MP fit and 25 levels / KernelRidge fit (n = {n})": at["MP, kernel, 25 levels"] / at["KernelRidge"],
        f"RBA / MP, linear (n = {n})": at["RBA, linear"] / at["MP, linear"],
        f"CPU seconds of {streamed['n']:,} rows": streamed["seconds"],
    }
