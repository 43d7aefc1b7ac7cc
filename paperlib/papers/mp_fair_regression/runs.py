"""Which experiments the paper's items are drawn from, how one is run, and its stored form as frames.

Which table a result comes from is part of its spec, so results never mix. The stored form of a result packs names into
keys (``"k=2|MSE|Train|Ours"``); :func:`pack` and :func:`boxes`, :func:`curves`, :func:`panels` alone know it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from paperlib import paths
from paperlib.errors import PaperlibError, choose
from paperlib.experiments import plan
from paperlib.experiments.scales import Scale
from paperlib.experiments.specs import AnalysisSpec
from paperlib.lab.spec import Spec
from paperlib.papers import Item, Results
from paperlib.report.claims import NotRun

PAPER = "mp_fair_regression"
SETS = ("synthetic", "adult", "law_school", "communities_crime")
SEVERAL = ("fig3", "fig6", "fig8", "fig9", "demo_kernel")
"""Items with one to four attributes."""
USED_SETS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(SEVERAL, ("communities_crime",)),
    "fig10": ("adult", "law_school"),
    "cross_validated": ("adult", "law_school", "communities_crime", "student", "compas"),
}
"""Data sets of an experiment; those that are not listed use all four."""
TRIALS = {"fig10": 5, "fig7": 1, "fig13": 1, "cross_validated": 5}
"""Splits at laptop and paper scale, 10 where nothing is said (Figures 7 and 13 show one split)."""


# ------------------------------------------------------------------------------------------------------------- planned


@lru_cache
def _origin(dataset: str, exact: bool, folder: Path) -> str:
    from paperlib.fairness import data  # scikit-learn, so not at import

    return data.origin(dataset, exact=exact)


def origin(scale: Scale, dataset: str) -> str:
    """Which table of a data set this machine has for ``scale``: 'generated', 'exact', 'stand_in' or 'missing'."""
    return _origin(dataset, scale.plans != "smoke", paths.data_dir())


def trials(scale: Scale, item: str) -> int:
    """Splits of an item."""
    most = 2 if scale.plans == "smoke" else 10
    return min(most, TRIALS.get(item, most))


def experiment(scale: Scale, item: str, dataset: str, origin_: str, **model: Any) -> AnalysisSpec:
    """One protocol on one data set. The splits are the paper's, so no seed is needed; ``model``: kernel, alpha."""
    return plan.analyse(
        "fair_protocol", item=item, dataset=dataset, tables=origin_, trials=trials(scale, item), **model
    )


def scaling_spec(scale: Scale) -> AnalysisSpec:
    """Run times of this machine."""
    if scale.plans == "smoke":
        return plan.analyse("fair_protocol", item="scaling", n_rows=(100, 200), streamed_rows=(2_000,), trials=1)
    sizes: dict[str, Any] = {"n_rows": (250, 500, 1_000, 2_000), "streamed_rows": (10_000, 100_000, 1_000_000)}
    return plan.analyse("fair_protocol", item="scaling", trials=5, **sizes)


def specs_of(item: str, datasets: Sequence[str] = ()) -> Callable[[Scale, int], list[Spec]]:
    """The experiments of an item on the data sets of this machine; synthetic data at smoke scale if it has none."""

    def specs(scale: Scale, seed: int) -> list[Spec]:
        found = {name: origin(scale, name) for name in datasets or USED_SETS.get(item, SETS)}
        there: list[Spec] = [experiment(scale, item, name, o) for name, o in found.items() if o != "missing"]
        if not there and scale.plans == "smoke":
            return [experiment(scale, item, "synthetic", "generated")]
        return there

    return specs


# ----------------------------------------------------------------------------------------------------------------- run

LOADING: dict[str, dict[str, bool]] = {
    "generated": {},
    "exact": {"allow_stand_in": False, "allow_download": False},
    "stand_in": {"allow_exact": False},
}
"""Origin of a table -> arguments of :func:`paperlib.fairness.data.load` that give it and no other."""


def fair_protocol(
    models: Sequence[Any],
    scene: Any,
    *,
    seed: int,
    item: str,
    dataset: str = "synthetic",
    tables: str = "generated",
    trials: int = 1,
    n_rows: Sequence[int] = (),
    streamed_rows: Sequence[int] = (),
    kernel: str = "",
    alpha: float | None = None,
) -> dict[str, Any]:
    """The numbers of one item on one data set.

    Parameters
    ----------
    models, scene, seed
        Not used: nothing is trained, and the splits are the paper's own.
    item : str
        A key of :data:`.protocols.PROTOCOLS`, or 'scaling'.
    dataset : str
        One of :data:`paperlib.fairness.data.NAMES`.
    tables : {'generated', 'exact', 'stand_in'}
        Which table of that data set; another one is never taken in its place.
    trials : int
        Splits. The curves of Figure 7 are of one split, whatever this says.
    n_rows, streamed_rows : sequence of int
        'scaling' only: sizes of the exact and of the streamed fits.
    kernel : str
        Of the box plots: another kernel than the paper's.
    alpha : float, optional
        Another ridge penalty than the paper's.

    Returns
    -------
    dict
        The stored form of :func:`pack`, or ``rows`` for 'scaling'; with ``source``.
    """
    from paperlib.fairness import checks, data
    from paperlib.papers.mp_fair_regression import protocols

    if item == "scaling":
        return {"source": "generated", "rows": scaling(n_rows, streamed_rows, repeats=trials)}
    protocol = protocols.PROTOCOLS[choose("item", item, [*protocols.PROTOCOLS, "scaling"])]
    loading: dict[str, Any] = dict(LOADING[choose("tables", tables, LOADING)])
    if (dataset == "synthetic") != (tables == "generated"):
        raise PaperlibError(
            f"tables={tables!r} does not fit dataset={dataset!r}; only the synthetic data are generated."
        )
    if item not in ("fig2", "fig7", "fig4", "fig13"):
        loading["trials"] = trials
    if kernel or alpha is not None:
        if item not in protocols.BOXES:
            raise PaperlibError(
                f"kernel={kernel!r}, alpha={alpha!r}: {item} has one kernel; only box plots take another."
            )
        own = protocols.BOXES[item].model
        other = (
            protocols.Model(kernel, 1.0, 0.1 if kernel == "rbf" else None) if kernel not in ("", own.kernel) else own
        )
        loading["model"] = other if alpha is None else replace(other, alpha=checks.number("alpha", alpha))
    source = data.load(dataset, **LOADING[tables]).source
    return {"source": source, **pack(protocol(dataset, **loading))}


def pack(frame: pd.DataFrame) -> dict[str, Any]:
    """Stored form of a protocol's frame: box plots' ``values`` (one per trial), ``curves``, densities' ``panels``."""
    if "quantity" in frame:
        return {"panels": _densities(frame)}
    if "metric" in frame:
        keys = [*(["k"] if "k" in frame else []), "metric", "split", "method"]
        return {"values": {name: columns["value"] for name, columns in _columns(frame, keys, ["value"]).items()}}
    if "step" not in frame:
        return {"curves": _columns(frame, ["split", "method"], ["knob", "MSE", "SMD"])}
    steps = frame.groupby(["split", "method", "step"], sort=False)[
        ["Loss", "SMD"]
    ]  # mean and deviation over the trials
    both = steps.mean().join(steps.std(ddof=0).add_suffix(" std")).reset_index()
    return {"curves": _columns(both, ["split", "method"], ["step", "Loss", "Loss std", "SMD", "SMD std"])}


def _round(values: Any) -> list[float]:
    """Ten significant digits."""
    return [float(f"{float(value):.10g}") for value in values]


def _columns(frame: pd.DataFrame, keys: list[str], names: list[str]) -> dict[str, dict[str, list[float]]]:
    groups = frame.groupby(keys, sort=False)
    return {"|".join(map(str, key)): {name: _round(group[name]) for name in names} for key, group in groups}
    # the rows of a group keep their order: trials, or points along a curve


def _densities(frame: pd.DataFrame, bins: int = 30, points: int = 80) -> dict[str, Any]:
    """What is drawn of each panel: per group a histogram, a density curve, the moments; distances of the two groups."""
    from scipy.stats import gaussian_kde, ks_2samp

    panels: dict[str, Any] = {}
    for key, panel in frame.groupby(["split", "quantity"], sort=False):
        edges = np.linspace(panel["value"].min(), panel["value"].max(), bins + 1)
        grid = np.linspace(edges[0], edges[-1], points)
        members = {f"{label:g}": group["value"].to_numpy() for label, group in panel.groupby("group")}
        groups = {
            label: {
                "n": len(values),
                "mean": _round([values.mean()])[0],
                "std": _round([values.std()])[0],
                "histogram": _round(np.histogram(values, edges, density=True)[0]),
                "curve": _round(gaussian_kde(values)(grid)),
            }
            for label, values in members.items()
        }
        ks = _round([ks_2samp(*members.values()).statistic])[0]
        panels["|".join(map(str, key))] = {"edges": _round(edges), "grid": _round(grid), "groups": groups, "ks": ks}
    return panels


def scaling(n_rows: Sequence[int], streamed_rows: Sequence[int], *, repeats: int) -> list[dict[str, Any]]:
    """CPU seconds on one BLAS thread: ordinary and fair kernel regression, a whole tradeoff, RBA, streamed fits.

    Returns
    -------
    list
        One entry per method and n with ``seconds`` (median of ``repeats`` after a warm-up; the streamed fits are timed
        once) and ``train_smd``.
    """
    from sklearn.kernel_ridge import KernelRidge
    from threadpoolctl import threadpool_limits

    from paperlib.fairness import MeanParityRegressor, StreamedMeanParityRegressor
    from paperlib.fairness.baselines import ReductionRegressor

    kernel: dict[str, Any] = {"kernel": "rbf", "gamma": 0.1}
    levels = np.linspace(0, 1, 25)
    rows: list[dict[str, Any]] = []

    def note(method: str, n: int, seconds: float, model: Any = None) -> None:
        gap = _round([np.abs(model.gaps_).sum()])[0] if hasattr(model, "gaps_") else None
        rows.append({"method": method, "n": n, "seconds": _round([seconds])[0], "train_smd": gap})

    with threadpool_limits(1):
        for n in n_rows:
            X, y, s = _toy(n)
            one = MeanParityRegressor(1.0, fit_intercept=False, **kernel)
            line = MeanParityRegressor(0.0, fit_intercept=False)
            fair = {"X": X, "y": y, "sensitive_features": s}
            jobs: dict[str, tuple[Callable[..., Any], Any]] = {
                "KernelRidge": (KernelRidge(alpha=1.0, **kernel).fit, None),
                "MP, kernel": (one.fit, one),
                "MP, kernel, 25 levels": (lambda one=one, **d: one.fit(**d).tradeoff(unfairness=levels), None),
                "MP, linear": (line.fit, line),
                "RBA, linear": (ReductionRegressor(0.02).fit, None),
            }
            times: dict[str, list[float]] = {name: [] for name in jobs}
            for round_ in range(repeats + 1):  # all in turn, so that they see the same load; the first is a warm-up
                for name, (job, _) in jobs.items():
                    start = process_time()
                    job(X, y) if name == "KernelRidge" else job(**fair)
                    if round_:
                        times[name].append(process_time() - start)
            for name, (_, model) in jobs.items():
                note(name, n, median(times[name]), model)
        for n in streamed_rows:
            X, y, s = _toy(n)
            streamed = StreamedMeanParityRegressor(
                1.0, gamma=0.1, n_components=500, random_state=0, fit_intercept=False
            )
            start = process_time()
            streamed.fit(X, y, sensitive_features=s)
            note("MP, streamed", n, process_time() - start, streamed)
    return rows


def _toy(n: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.intp]]:
    rng = np.random.default_rng(0)
    s = rng.integers(2, size=n)
    X = rng.normal(size=(n, 10))
    X[:, 0] += s
    y = np.sin(X[:, 0]) + 0.5 * s + 0.1 * rng.normal(size=n)
    return X, y - y.mean(), s


# ---------------------------------------------------------------------------------------------------------------- found

Found = dict[str, tuple[str, dict[str, Any]]]


def find(results: Results, item: str, datasets: Sequence[str] = ()) -> Found:
    """Data set -> (its name with what is special about the table, its stored result), as far as there is one.

    The exact table is looked for first, so that recorded results are found on a machine without data.
    """
    names = datasets or USED_SETS.get(item, SETS)
    out: Found = {}
    for name in names:
        for o, label in (("generated", name), ("exact", name), ("stand_in", f"{name} (stand-in)")):
            if (name == "synthetic") == (o == "generated"):
                result = results.get(experiment(results.scale, item, name, o))
                if result is not None and name not in out:
                    out[name] = label, result
    if not out and "synthetic" not in names:
        result = results.get(experiment(results.scale, item, "synthetic", "generated"))
        if result is not None:  # at smoke scale another data set takes the place, and is no result of this one
            out[names[0]] = "synthetic (stand-in)", result
    return out


def _need(results: Results, item: str, datasets: Sequence[str] = ()) -> Found:
    found = find(results, item, datasets)
    if not found:
        raise NotRun(f"no result of {item.replace('fig', 'Figure ')} at {results.scale.name} scale")
    return found


def boxes(results: Results, item: str) -> pd.DataFrame:
    """Box plots, one number a row.

    Columns figure, dataset (marked if a stand-in), dataset_or_k, (k,) trial, split, method, metric, value.

    Raises
    ------
    NotRun
        There is no result (so for :func:`curves` and :func:`panels`).
    """
    rows = []
    for label, result in _need(results, item).values():
        for key, values in sorted(
            result["values"].items(), key=lambda pair: len(pair[0].partition("|")[0])
        ):  # k=16 last
            *k, metric, split, method = key.split("|")
            tags = {"figure": item.replace("fig", "Figure "), "dataset": label, **({"k": k[0]} if k else {})}
            tags |= {"dataset_or_k": k[0] if k else label.removesuffix(" (stand-in)")}
            tags |= {"split": split, "method": method, "metric": metric}
            rows += [{**tags, "trial": trial, "value": value} for trial, value in enumerate(values)]
    return pd.DataFrame(rows)


def curves(results: Results, item: str, datasets: Sequence[str] = ()) -> pd.DataFrame:
    """Curves, one point a row: source ('ours'), dataset, table, split, method, vertex, and the stored columns."""
    frames = []
    for name, (label, result) in _need(results, item, datasets).items():
        for key, columns in result["curves"].items():
            split, method = key.split("|")
            tags = {"source": "ours", "dataset": name, "table": label, "split": split, "method": method}
            frames.append(pd.DataFrame({**tags, "vertex": range(len(next(iter(columns.values())))), **columns}))
    return pd.concat(frames, ignore_index=True)


def panels(
    results: Results, datasets: Sequence[str] = ()
) -> dict[str, tuple[str, dict[tuple[str, str], dict[str, Any]]]]:
    """Densities: data set -> (its label, (split, quantity) -> edges, grid, groups, ks)."""
    found = _need(results, "fig13", datasets)
    return {
        name: (label, {tuple(key.split("|")): panel for key, panel in result["panels"].items()})  # type: ignore[misc]
        for name, (label, result) in found.items()
    }


# --------------------------------------------------------------------------------------------------- a reader's setting


@dataclass(frozen=True)
class Setting:
    """A box-plot item of other data sets, kernels or penalties than the paper's; empty is the paper's."""

    id_: str
    title: str
    draw: Callable[["Setting"], Callable[[Results], Any]]
    datasets: tuple[str, ...] = ()
    kernels: tuple[str, ...] = ()
    alpha: float | None = None
    parameters = ("datasets", "kernels", "alpha")

    def changed(self, **changes: Any) -> "Setting":
        """The same with some of :attr:`parameters` changed.

        Raises
        ------
        PaperlibError
            An unknown data set or kernel, or a penalty that is no number of at least 0.
        """
        from sklearn.metrics.pairwise import kernel_metrics

        from paperlib.fairness import checks, data

        for name in changes.get("datasets", ()):
            choose("datasets", name, data.NAMES)
        for name in changes.get("kernels", ()):
            choose("kernels", name, kernel_metrics())
        if changes.get("alpha") is not None:
            changes["alpha"] = checks.number("alpha", changes["alpha"])
        kept: dict[str, Any] = {n: tuple(v) if isinstance(v, list | tuple) else v for n, v in changes.items()}
        return replace(self, **kept)

    def specs(self, scale: Scale) -> dict[tuple[str, str], AnalysisSpec]:
        """(data set, kernel) -> the experiment, for the data sets that this machine has."""
        out = {}
        for name in self.datasets or USED_SETS.get(self.id_, SETS):
            if (table := origin(scale, name)) != "missing":
                for kernel in self.kernels or ("",):
                    model: dict[str, Any] = {"kernel": kernel} if kernel else {}
                    model |= {} if self.alpha is None else {"alpha": self.alpha}
                    out[name, kernel] = experiment(scale, self.id_, name, table, **model)
        return out

    def item(self) -> Item:
        """What is drawn of it."""
        draw = self.draw(self)
        return Item(lambda scale, seed: list(self.specs(scale).values()), draw, table=self)  # type: ignore[arg-type]
