"""One experiment of the mean-parity paper on one data set: small JSON that its tables and figures are drawn from.

The experiments themselves are in :mod:`paperlib.fairness.protocols`; here their rows become compact columns. No trained model
is needed, and no torch.
"""

from collections.abc import Callable, Sequence
from statistics import median
from time import process_time
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from paperlib.attacks.scene import Scene
from paperlib.errors import PaperlibError, choose
from paperlib.fairness import data as fair_data
from paperlib.fairness import protocols

LOADING: dict[str, dict[str, bool]] = {
    "generated": {},
    "exact": {"allow_stand_in": False, "allow_download": False},
    "stand_in": {"allow_exact": False},
}
"""Origin of a table -> arguments of :func:`paperlib.fairness.data.load` that give it and no other."""

SEPARATOR = "|"
BOXES = ("fig1", "fig3", "fig5", "fig6", "fig8", "fig9", "fig10", "table3", "demo_linear", "demo_kernel")
SEVERAL_ATTRIBUTES = ("fig3", "fig6", "fig8", "fig9", "demo_kernel")


def fair_protocol(
    models: Sequence[Any],
    scene: Scene,
    *,
    seed: int,
    item: str,
    dataset: str = "synthetic",
    tables: str = "generated",
    trials: int = 1,
    n_rows: Sequence[int] = (),
    streamed_rows: Sequence[int] = (),
) -> dict[str, Any]:
    """The numbers of one item on one data set.

    Parameters
    ----------
    models, scene, seed
        Not used: nothing is trained, and the splits are the paper's own.
    item : str
        A key of :data:`paperlib.fairness.protocols.PROTOCOLS`, or 'scaling'.
    dataset : str
        One of :data:`paperlib.fairness.data.NAMES`.
    tables : {'generated', 'exact', 'stand_in'}
        Which table of that data set; another one is never taken in its place.
    trials : int
        Splits. The curves of Figure 7 are of one split, whatever this says.
    n_rows, streamed_rows : sequence of int
        'scaling' only: sizes of the exact and of the streamed fits.

    Returns
    -------
    dict
        Box plots: ``values``, from 'metric|split|method' (or 'k=2|metric|split|method') to one number per trial. Curves:
        ``curves``, from 'split|method' to columns. Densities: ``panels``. Scaling: ``rows``. All with ``source``.
    """
    if item == "scaling":
        return scaling(n_rows, streamed_rows, repeats=trials)
    protocol = protocols.PROTOCOLS[choose("item", item, [*protocols.PROTOCOLS, "scaling"])]
    loading: dict[str, Any] = dict(LOADING[choose("tables", tables, LOADING)])
    if (dataset == "synthetic") != (tables == "generated"):
        raise PaperlibError(
            f"tables={tables!r} does not fit dataset={dataset!r}; only the synthetic data are generated."
        )
    source = fair_data.load(dataset, **loading).source
    if item in SEVERAL_ATTRIBUTES:
        loading["name"] = dataset
    else:
        loading["names"] = (dataset,)
    if item in ("fig4", "fig13"):
        return {"source": source, "panels": _densities(protocol(**loading))}
    if item in ("fig2", "fig7"):
        frame = protocol(**loading)
        return {"source": source, "curves": _columns(frame, ["split", "method"], ["knob", "MSE", "SMD"])}
    frame = protocol(trials=trials, **loading)
    if item in ("fig11", "fig12"):
        return {"source": source, "curves": _bands(frame)}
    keys = [*(["k"] if item in SEVERAL_ATTRIBUTES else []), "metric", "split", "method"]
    return {"source": source, "values": {name: c["value"] for name, c in _columns(frame, keys, ["value"]).items()}}


def _round(values: Any) -> list[float]:
    """Ten significant digits."""
    return [float(f"{float(value):.10g}") for value in values]


def _columns(frame: pd.DataFrame, keys: list[str], names: list[str]) -> dict[str, dict[str, list[float]]]:
    groups = frame.groupby(keys, sort=False)
    return {
        SEPARATOR.join(map(str, key)): {name: _round(group[name]) for name in names} for key, group in groups
    }  # the rows of a group keep their order: trials, or points along a curve


def _bands(frame: pd.DataFrame) -> dict[str, dict[str, list[float]]]:
    """Mean and standard deviation over the trials at every recorded step."""
    out = {}
    for key, group in frame.groupby(["split", "method"], sort=False):
        steps = group.groupby("step")[["Loss", "SMD"]]
        columns = {"step": steps.mean().index.astype(float).tolist()}
        for name in ("Loss", "SMD"):
            columns[name] = _round(steps.mean()[name])
            columns[f"{name} std"] = _round(steps.std(ddof=0)[name])
        out[SEPARATOR.join(map(str, key))] = columns
    return out


def _densities(frame: pd.DataFrame, bins: int = 30, points: int = 80) -> dict[str, Any]:
    """What is drawn of each panel: per group a histogram, a density curve, and the moments; distances of the two groups."""
    from scipy.stats import gaussian_kde, ks_2samp

    panels: dict[str, Any] = {}
    for key, panel in frame.groupby(["split", "quantity"], sort=False):
        edges = np.linspace(panel["value"].min(), panel["value"].max(), bins + 1)
        grid = np.linspace(edges[0], edges[-1], points)
        groups: dict[str, dict[str, Any]] = {}
        everyone: list[NDArray[np.float64]] = []
        for label, group in panel.groupby("group"):
            values = group["value"].to_numpy()
            everyone.append(values)
            groups[f"{label:g}"] = {
                "n": len(values),
                "mean": _round([values.mean()])[0],
                "std": _round([values.std()])[0],
                "histogram": _round(np.histogram(values, edges, density=True)[0]),
                "curve": _round(gaussian_kde(values)(grid)),
            }
        panels[SEPARATOR.join(map(str, key))] = {
            "edges": _round(edges),
            "grid": _round(grid),
            "groups": groups,
            "ks": _round([ks_2samp(*everyone).statistic])[0],
        }
    return panels


# --------------------------------------------------------------------------------------------------------------- run time


def scaling(n_rows: Sequence[int], streamed_rows: Sequence[int], *, repeats: int) -> dict[str, Any]:
    """CPU seconds on one BLAS thread: ordinary and fair kernel regression, a whole tradeoff, RBA, streamed fits.

    Returns
    -------
    dict
        ``rows``: one entry per method and n with ``seconds`` (median of ``repeats`` after a warm-up; the streamed fits are
        timed once) and ``train_smd``.
    """
    from sklearn.kernel_ridge import KernelRidge
    from threadpoolctl import threadpool_limits

    from paperlib.fairness import MeanParityRegressor, StreamedMeanParityRegressor
    from paperlib.fairness.baselines import ReductionRegressor

    kernel: dict[str, Any] = {"kernel": "rbf", "gamma": 0.1}
    levels = np.linspace(0, 1, 25)
    rows: list[dict[str, Any]] = []

    def note(method: str, n: int, seconds: float, model: Any = None) -> None:
        gap = None if model is None else _round([np.abs(model.gaps_).sum()])[0]
        rows.append({"method": method, "n": n, "seconds": _round([seconds])[0], "train_smd": gap})

    with threadpool_limits(1):
        for n in n_rows:
            X, y, s = _toy(n)
            one = MeanParityRegressor(1.0, **kernel)
            line = MeanParityRegressor(0.0)

            def fair_fit(model=one, X=X, y=y, s=s):
                return model.fit(X, y, sensitive_features=s)

            def path(fit=fair_fit):
                return fit().tradeoff(unfairness=levels)

            jobs: dict[str, Callable[[], Any]] = {
                "KernelRidge": lambda X=X, y=y: KernelRidge(alpha=1.0, **kernel).fit(X, y),  # type: ignore[misc]
                "MP, kernel": fair_fit,
                "MP, kernel, 25 levels": path,
                "MP, linear": lambda X=X, y=y, s=s, line=line: line.fit(X, y, sensitive_features=s),  # type: ignore[misc]
                "RBA, linear": lambda X=X, y=y, s=s: ReductionRegressor(0.02).fit(  # type: ignore[misc]
                    X, y, sensitive_features=s
                ),
            }
            for method, seconds in _in_turn(jobs, repeats).items():
                note(method, n, seconds, {"MP, kernel": one, "MP, linear": line}.get(method))
        for n in streamed_rows:
            X, y, s = _toy(n)
            streamed = StreamedMeanParityRegressor(1.0, gamma=0.1, n_components=500, random_state=0)
            start = process_time()
            streamed.fit(X, y, sensitive_features=s)
            note("MP, streamed", n, process_time() - start, streamed)
    return {"source": "generated", "rows": rows}


def _toy(n: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.intp]]:
    rng = np.random.default_rng(0)
    s = rng.integers(2, size=n)
    X = rng.normal(size=(n, 10))
    X[:, 0] += s
    y = np.sin(X[:, 0]) + 0.5 * s + 0.1 * rng.normal(size=n)
    return X, y - y.mean(), s


def _in_turn(jobs: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median CPU seconds of every job, all run in turn so that they see the same load; the first round is not counted."""
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for round_ in range(repeats + 1):
        for name, job in jobs.items():
            start = process_time()
            job()
            if round_:
                times[name].append(process_time() - start)
    return {name: median(values) for name, values in times.items()}
