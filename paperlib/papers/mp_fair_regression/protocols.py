r"""The experiments of the mean-parity paper and of its authors' two demos, each as a tidy table of numbers.

Paper: Mean Parity Fair Regression in RKHS, AISTATS 2023 (PMLR 206:4602-4628), arXiv 2302.10409; Section 5, Appendices
D and E.  Introduced in ``notebooks/06_mp_fair_regression.ipynb``.

``PROTOCOLS[item](dataset)`` returns one row per number.  Every fit is one of the estimators of
:mod:`paperlib.fairness`, and every measure one of :mod:`paperlib.fairness.metrics`.

What the paper does not state was recovered from its vector figures, and :func:`.tables.compare_boxes` is the check:

* Figures 1 and 5, Tables 1 to 3: 2,000 rows of Adult and 1,000 of Law School, drawn with seed 4; 80/20 split inside
  each group with the seeds 2333 to 2342; synthetic data from seed 1, plain 80/20 splits with the seeds 0 to 9.
* Figure 10: the first five of these splits.  Figures 2 and 7: the first one, and for the synthetic data the fourth.
* Figures 3, 6 and 8: Communities and Crime in the order of consecutive permutations of NumPy's generator from seed 1,
  ten for each number of groups; thresholds are "at least 0.5", where the text says "larger".
* Figure 9: Gaussian kernels with gamma 1 and lambda close to 0; its splits were not recovered (no seed from 0 to 399
  gives them), those of Figure 8 are used.
* FKR's kernel on the attribute is polynomial (degree 3, constant 1) in Figure 1 and linear elsewhere.

Differences from the paper
--------------------------
1. Ordinary regression, FPR with its weights and MP are points of one path after one fit; the results are the same.
2. Not recovered, and marked so by the comparison: the items of :data:`.tables.UNDETERMINED`.
3. RBA is the implementation of :mod:`paperlib.fairness.baselines.reduction`, with settings of our own.
4. Figures 8 and 9 are both labelled covariance (columns HS/n).  Figure 8 is that; the boxes of Figure 9 are those of
   mean parity (``moments="groups"``), which is what zero covariance with a Gaussian kernel on the attribute means.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import pandas as pd
import sklearn
from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold, cross_validate
from sklearn.utils.metadata_routing import MetadataRequest
from threadpoolctl import threadpool_limits

from paperlib.errors import PaperlibError
from paperlib.fairness import FairGDRegressor, MeanParityRegressor, MeanParityWrapper, metrics, smooth_l1
from paperlib.fairness import data as fair_data
from paperlib.fairness.baselines import (
    BASELINES,
    BoundedShareRegressor,
    PenalisedFairRidge,
    ReductionRegressor,
    fit_predict,
    predictions,
)
from paperlib.fairness.moments import FloatArray, group_codes
from paperlib.papers.mp_fair_regression.cases import Case, several_attribute_cases, single_attribute_cases

WEIGHTS = {"1": 10.0, "3": 1000.0}
"""FKR-1 and FPR-1 have the weight 10, FKR-3 and FPR-3 the weight 1000."""


# --------------------------------------------------------------------------------------------------------- many methods


@dataclass(frozen=True)
class Model:
    """Which ridge regression: ``linear`` with penalty 0, or the paper's Gaussian kernel (gamma 0.1, lambda 1)."""

    kernel: str = "linear"
    alpha: float = 0.0
    gamma: float | None = None

    @property
    def keywords(self) -> dict[str, Any]:
        """For the estimators; the paper centres y and appends ones to X, so there is no intercept."""
        return {"alpha": self.alpha, "kernel": self.kernel, "gamma": self.gamma}


LINEAR = Model()
KERNEL = Model("rbf", 1.0, 0.1)

Predictions = dict[str, tuple[FloatArray, FloatArray]]


def fair_predictions(
    one: Case,
    model: Model,
    methods: Sequence[str],
    *,
    moments: str = "groups",
    kernel_s: str = "linear",
    gamma_s: float | None = None,
) -> Predictions:
    """Train and test predictions of the methods of the box plots.

    Ordinary regression, FPR and MP are the penalties 0, 10, 1000 and infinity of eq. (17): one fit and its path.

    Parameters
    ----------
    one : Case
    model : Model
    methods : sequence of str
        Of 'Constant', 'OLS', 'KRR', 'FKR-1', 'FKR-3', 'FPR-1', 'FPR-3', 'NRFC', 'Ours', 'Response' (y itself).
    moments : {'groups', 'linear'}
        What Ours constrains: group means, or covariances.  FPR penalises the group means.
    kernel_s, gamma_s
        FKR's kernel on the attributes.
    """
    used = {"Ours": moments, "NRFC": "linear"}  # NRFC with a kernel: zero covariance on the training set
    needed = {used.get(m, "groups") for m in methods if model.kernel != "linear" or m != "NRFC"}
    levels, paths = [0.0, *WEIGHTS.values(), np.inf], dict[str, dict[float, Any]]()
    for name in sorted(needed):
        fit = MeanParityRegressor(**model.keywords, fit_intercept=False, moments=name)
        found = fit.fit(one.X, one.y, sensitive_features=one.S).tradeoff(penalty=levels)
        both = fit.predict_path(one.X, found), fit.predict_path(one.X_test, found)
        paths[name] = dict(zip(levels, zip(*both, strict=True), strict=True))
    out: Predictions = {}
    for method in methods:
        name, _, weight = method.partition("-")
        if name == "Constant":
            out[method] = np.zeros(len(one.y)), np.zeros(len(one.y_test))
        elif name == "Response":
            out[method] = one.y, one.y_test
        elif name == "FKR":
            fkr = PenalisedFairRidge(WEIGHTS[weight], **model.keywords, kernel_s=kernel_s, gamma_s=gamma_s)
            out[method] = fit_predict(fkr, one.X, one.y, one.S, one.X_test, one.S_test)
        elif name == "NRFC" and model.kernel == "linear":
            nrfc = BoundedShareRegressor(alpha=model.alpha, fit_intercept=False)
            out[method] = fit_predict(nrfc, one.X, one.y, one.S, one.X_test, one.S_test)
        else:
            penalty = {"OLS": 0.0, "KRR": 0.0, "FPR": WEIGHTS.get(weight, np.inf)}.get(name, np.inf)
            out[method] = paths[used.get(name, "groups")][penalty]
    return out


# ------------------------------------------------------------------------------------------------------------- measures


@dataclass(frozen=True)
class Measures:
    """The metrics of :mod:`paperlib.fairness.metrics` for many predictions of the same people.

    Predictions are (n,), or (n, T) of the T predictors of a mixture with probabilities ``weights`` (T,): then MSE is
    the expected error, SMD and covariance are those of the expected prediction, and DPD that of the mixture's
    distribution.
    """

    y: FloatArray
    S: FloatArray

    @cached_property
    def codes(self) -> NDArray[np.intp]:
        return group_codes(pd.DataFrame(self.S))[0]

    def __call__(self, metric: str, f: FloatArray, weights: FloatArray | None = None) -> float:
        """The value of ``metric``, one of 'MSE', 'SMD', 'Norm of Cov' (|S^T f|, as plotted), 'Norm of Cov (centred)'
        (n times the covariance), 'DPD' (Kolmogorov distance to all, as plotted), 'DPD (W1)' (Proposition 1)."""
        w = np.ones(1) if weights is None else weights
        values = f.reshape(len(self.y), -1)
        if metric == "MSE":
            return float(((values - self.y[:, None]) ** 2).mean(axis=0) @ w)
        if metric == "SMD":
            return metrics.smd(None, values @ w, sensitive_features=self.codes)
        if metric == "Norm of Cov":
            return float(np.linalg.norm(self.S.T @ (values @ w)))
        if metric == "Norm of Cov (centred)":
            return metrics.covariance_norm(None, values @ w, sensitive_features=self.S, total=True)
        everyone = {"sensitive_features": np.repeat(self.codes, len(w)), "sample_weight": np.tile(w, len(values))}
        if metric == "DPD":
            return metrics.ks_distance(None, values.ravel(), method="to_overall", **everyone)
        assert metric == "DPD (W1)", metric
        return metrics.demographic_parity_discrepancy(None, values.ravel(), **everyone)


def tidy(one: Case, predictions: Predictions, names: Sequence[str], weights: FloatArray | None = None) -> list[dict]:
    """One row per method, split and metric."""
    rows = []
    for k, (side, _, y, S) in enumerate(one.sides):
        measure = Measures(y, S)
        for method, both in predictions.items():
            tags = {**one.tags, "split": side, "method": method}
            used = ["Norm of Cov"] if method == "Response" else names
            rows += [{**tags, "metric": metric, "value": measure(metric, both[k], weights)} for metric in used]
    return rows


def in_parallel(function: Callable[[Case], list[dict]], cases: Sequence[Case], n_jobs: int) -> pd.DataFrame:
    """Rows of all cases as one table; threads, with one BLAS thread each (the work is in BLAS and LAPACK)."""
    with threadpool_limits(1, user_api="blas"):
        parts = Parallel(n_jobs=n_jobs, prefer="threads")(delayed(function)(one) for one in cases)
    return pd.DataFrame([row for part in parts for row in part])


# ------------------------------------------------------------------------------------------------------------ box plots

COMPARED = ("FKR-1", "FKR-3", "FPR-1", "FPR-3", "NRFC", "Ours")
COV = ("MSE", "Norm of Cov", "Norm of Cov (centred)")


@dataclass(frozen=True)
class Boxes:
    """One box-plot figure: its splits, its regression, its methods, what is measured."""

    methods: tuple[str, ...]
    model: Model = LINEAR
    cases: Callable[..., list[Case]] = single_attribute_cases
    metrics: tuple[str, ...] = ("MSE", "SMD")
    moments: str = "groups"
    kernel_s: str = "linear"
    gamma_s: float | None = None
    trials: int = 10


FEW = ("FPR-1", "FPR-3", "Ours")
DEMO = ("FKR-3", "FPR-3", "Ours")
BOXES: dict[str, Boxes] = {
    "fig1": Boxes(("Constant", "OLS", *COMPARED), kernel_s="polynomial"),
    "fig3": Boxes(("Constant", "OLS", *FEW), cases=several_attribute_cases),
    "fig5": Boxes(("Constant", "KRR", *COMPARED), KERNEL, partial(single_attribute_cases, response="sine")),
    "fig6": Boxes(("Constant", "KRR", *FEW), KERNEL, several_attribute_cases),
    "fig8": Boxes(("OLS", *COMPARED, "Response"), LINEAR, several_attribute_cases, COV, "linear"),
    "fig9": Boxes(("KRR", *COMPARED, "Response"), Model("rbf", 1e-6, 1.0), several_attribute_cases, COV,
                  kernel_s="rbf", gamma_s=1.0),
    "fig10": Boxes(("OLS", *COMPARED), metrics=("MSE", "SMD", "DPD", "DPD (W1)"), trials=5),
    "demo_linear": Boxes(("Constant", "OLS", *DEMO), cases=partial(single_attribute_cases, demo=True)),
    "demo_kernel": Boxes(("Constant", "KRR", *DEMO), KERNEL, partial(several_attribute_cases, seed=0),
                         kernel_s="rbf", gamma_s=KERNEL.gamma),
    "table3": Boxes(("Ours",)),
}  # fmt: skip
"""Box-plot figure, demo or table -> its setting.  What Figure 9 calls OLS is linear regression; KRR is added."""
RBA_BOUND = 0.02
"""Bound of RBA in Figure 10, which the paper does not state."""


def boxes(
    item: str, name: str = "", *, trials: int | None = None, n_jobs: int = 2, model: Model | None = None, **options: Any
) -> pd.DataFrame:
    """The numbers of one box-plot figure, table or demo on one data set.

    Parameters
    ----------
    item : str
        A key of :data:`BOXES`.
    name : str
        Data set; by default that of the figure's splits ('communities_crime' for several attributes, else 'synthetic').
    trials : int, optional
        Splits; by default the paper's.
    n_jobs : int, default 2
        Threads.
    model : Model, optional
        Another kernel or penalty than the paper's.
    **options
        Of :func:`single_attribute_cases` or :func:`several_attribute_cases`.

    Returns
    -------
    DataFrame
        Columns dataset, (k,) trial, split, method, metric, value.
    """
    box = BOXES[item]
    used = box.model if model is None else model
    if name:
        options["name"] = name
    options["trials"] = box.trials if trials is None else trials

    def run(one: Case) -> list[dict]:
        found: Predictions = fair_predictions(one, LINEAR, ("OLS",)) if item == "fig9" else {}
        found |= fair_predictions(
            one, used, box.methods, moments=box.moments, kernel_s=box.kernel_s, gamma_s=box.gamma_s
        )
        if item.startswith("demo"):  # the demos write the weight where the paper writes its logarithm, and clip OLS
            found = {method.replace("-3", "-1000"): both for method, both in found.items()}
        if item == "demo_linear":
            f, g = found["OLS"]
            found["OLS"] = np.clip(f, -2, 2), np.clip(g, -2, 2)
        rows = tidy(one, found, box.metrics)
        if item == "fig10":
            rba = ReductionRegressor(RBA_BOUND).fit(one.X, one.y, sensitive_features=one.S)
            rows += tidy(one, {"RBA": (rba.predict_all(one.X), rba.predict_all(one.X_test))}, box.metrics, rba.weights_)
        return rows

    if item == "table3":
        both = ((" w/ S", True), (" w/o S", False))
        parts = {word: in_parallel(run, box.cases(**options, inputs_with_s=flag), n_jobs) for word, flag in both}
        return pd.concat([part.assign(method="Ours" + word) for word, part in parts.items()], ignore_index=True)
    return in_parallel(run, box.cases(**options), n_jobs)


# --------------------------------------------------------------------------------------------------------------- curves

FIGURE7_TRIAL = {"synthetic": 3}
"""The one split that Figures 2 and 7 show; 0 for the data sets that are not listed."""


def tradeoff(name: str = "synthetic", *, n_points: int = 50, n_jobs: int = 1, **loading: Any) -> pd.DataFrame:
    """Figures 2 and 7: error against unfairness along the knob of each method, linear, the one split that they show.

    Ours: fraction of the gaps that is kept, 50 equal steps as in Figure 7.  FKR, FPR: weights from 0 to 1e6.  NRFC:
    bounds from 0 to 1, dense near 0.  The paper gives these ranges; the points between are this file's.

    Returns
    -------
    DataFrame
        Columns dataset, trial, split, method, vertex, knob, MSE, SMD.
    """
    u = np.linspace(0.0, 1.0, n_points)
    weights = np.append(0.0, np.logspace(0, 6, n_points - 1))
    bounds = u**3

    def run(one: Case) -> list[dict]:
        ours = MeanParityRegressor(**LINEAR.keywords, fit_intercept=False).fit(one.X, one.y, sensitive_features=one.S)
        fkr = PenalisedFairRidge(**LINEAR.keywords).fit(one.X, one.y, sensitive_features=one.S)
        nrfc = BoundedShareRegressor(1.0, fit_intercept=False).fit(one.X, one.y, sensitive_features=one.S)
        keep, penalise = ours.tradeoff(unfairness=u), ours.tradeoff(penalty=weights)
        rows = []
        for side, X, y, S in one.sides:
            curves = {
                "Ours": (u, ours.predict_path(X, keep)),
                "FPR": (weights, ours.predict_path(X, penalise)),
                "FKR": (weights, fkr.predict_path(X, weights)),
                "NRFC": (bounds, nrfc.predict_path(X, bounds, sensitive_features=S)),
            }
            measure = Measures(y, S)
            for method, (knob, path) in curves.items():
                for vertex, (value, f) in enumerate(zip(knob, path, strict=True)):
                    tags = {**one.tags, "split": side, "method": method, "vertex": vertex, "knob": float(value)}
                    rows.append({**tags, "MSE": measure("MSE", f), "SMD": measure("SMD", f)})
        return rows

    shown = FIGURE7_TRIAL.get(name, 0)
    return in_parallel(run, single_attribute_cases(name, trials=shown + 1, **loading)[shown:], n_jobs)


def fair_gd(
    beta: float,
    name: str = "synthetic",
    *,
    trials: int = 10,
    n_jobs: int = 2,
    max_iter: int = 1000,
    record_every: int = 20,
    **loading: Any,
) -> pd.DataFrame:
    """Figures 11 (beta 0.1) and 12 (beta 1): loss and SMD along gradient descent, with and without the constraint.

    Returns
    -------
    DataFrame
        Columns dataset, trial, split, method ('GD', 'Fair-GD'), step, Loss, SMD.
    """
    loss = smooth_l1(beta)
    descent = partial(FairGDRegressor, loss, max_iter=max_iter, record_every=record_every, fit_intercept=False)

    def run(one: Case) -> list[dict]:
        rows = []
        for method, constrained in (("GD", False), ("Fair-GD", True)):
            model = descent(constrained=constrained).fit(one.X, one.y, sensitive_features=one.S)
            for side, X, y, S in one.sides:
                measure = Measures(y, S)
                for step, f in zip(model.recorded_steps_, model.staged_predict(X), strict=True):
                    tags = {**one.tags, "split": side, "method": method, "step": int(step)}
                    rows.append({**tags, "Loss": float(loss(y, f)[0].mean()), "SMD": measure("SMD", f)})
        return rows

    return in_parallel(run, single_attribute_cases(name, trials=trials, **loading), n_jobs)


def densities(name: str = "synthetic", **loading: Any) -> pd.DataFrame:
    """Values behind the densities of Figures 4 and 13: response and fair prediction by group, linear, one run.

    As in the figures, the attribute of the synthetic data is -10 or 10.

    Returns
    -------
    DataFrame
        Columns split, quantity ('response', 'prediction'), group, value (centred by the training mean of y), dataset.
    """
    (one,) = single_attribute_cases(name, trials=1, size=10.0, **loading)
    both = fair_predictions(one, LINEAR, ("Response", "Ours"))
    parts = [
        pd.DataFrame({"split": side, "quantity": quantity, "group": S[:, 0], "value": both[method][k]})
        for k, (side, _, _, S) in enumerate(one.sides)
        for quantity, method in (("response", "Response"), ("prediction", "Ours"))
    ]
    return pd.concat(parts, ignore_index=True).assign(dataset=str(one.tags["dataset"]))


# ----------------------------------------------------------------------------------------------- ours, not in the paper

SHIFTED: dict[str, tuple[Model, bool]] = {
    "linear, lambda 0": (LINEAR, True),
    "s not among the inputs": (LINEAR, False),
    "linear, lambda 100": (Model("linear", 100.0), True),
    "Gaussian kernel, lambda 1": (KERNEL, True),
}
"""Setting -> model, and whether s is among the inputs: where mean shift is MP, and where it is not."""


def mean_shift(name: str = "synthetic", *, trials: int = 10, n_jobs: int = 2, **loading: Any) -> pd.DataFrame:
    """MP beside ordinary regression less the group means of its training predictions, on the splits of Figure 1.

    Returns
    -------
    DataFrame
        Columns dataset, trial, split, method ('SETTING: MP' or 'SETTING: shift'), metric ('MSE', 'SMD', and for the
        shift 'difference', the largest distance of its predictions from those of MP), value.
    """

    def run(pair: tuple[str, Case]) -> list[dict]:
        setting, one = pair
        model = SHIFTED[setting][0]
        ordinary = MeanParityRegressor(**model.keywords, fit_intercept=False, unfairness=1.0)
        shift = fit_predict(MeanParityWrapper(ordinary), one.X, one.y, one.S, one.X_test, one.S_test)
        both = fair_predictions(one, model, ("Ours",))["Ours"]
        rows = tidy(one, {f"{setting}: MP": both, f"{setting}: shift": shift}, ("MSE", "SMD"))
        for side, mine, theirs in zip(("Train", "Test"), both, shift, strict=True):
            tags = {**one.tags, "split": side, "method": f"{setting}: shift", "metric": "difference"}
            rows.append({**tags, "value": float(np.abs(mine - theirs).max())})
        return rows

    pairs = [
        (setting, one)
        for setting, (_, with_s) in SHIFTED.items()
        for one in single_attribute_cases(name, trials=trials, inputs_with_s=with_s, **loading)
    ]
    return in_parallel(run, pairs, n_jobs)  # type: ignore[arg-type]


VALIDATED: dict[str, Callable[[], Any]] = {
    "Constant": BASELINES["constant"],
    "OLS": LinearRegression,
    "MP": partial(MeanParityRegressor, 0.1),
    "MP, no intercept": partial(MeanParityRegressor, 0.1, fit_intercept=False),
    "Mean shift": BASELINES["mean_shift"],
    "Correlation remover (fairlearn)": BASELINES["correlation_remover"],
    "Wasserstein barycentre (equipy)": BASELINES["wasserstein"],
}
"""Name -> a fresh estimator; MP is the README's line. The last two are left out without the extra ``fairness``."""
FOLDS = 5


class FairScores:
    """A scorer of :func:`sklearn.model_selection.cross_validate` that hands the attribute to ``predict`` too."""

    def __init__(self, scale: float) -> None:
        self.scale = scale  # of the SMD

    def __call__(self, estimator: Any, X: FloatArray, y: FloatArray, *, sensitive_features: Any) -> dict[str, float]:
        """R2, and SMD over ``scale``."""
        f = predictions(estimator, X, sensitive_features)
        return {"R2": r2_score(y, f), "SMD": metrics.smd(None, f, sensitive_features=sensitive_features) / self.scale}

    def get_metadata_routing(self) -> MetadataRequest:
        """The attribute is asked for."""
        request = MetadataRequest(owner=self)
        request.score.add_request(param="sensitive_features", alias=True)
        return request


def cross_validated(name: str = "synthetic", *, trials: int = FOLDS, n_jobs: int = 1, **loading: Any) -> pd.DataFrame:
    """Five folds of at most 5,000 rows, inputs and response as they are: what a user gets from one line.

    Returns
    -------
    DataFrame
        Columns dataset, trial (fold), split ('Test'), method, metric ('R2', 'SMD' in standard deviations of y), value.
    """
    data = fair_data.load(name, **loading)
    data = data.subsample(min(5000, len(data)), 0)
    X, y, S = data.X.to_numpy(dtype=float), data.y, data.sensitive.iloc[:, 0].to_numpy()
    folds = list(KFold(FOLDS, shuffle=True, random_state=0).split(X))[:trials]
    rows = []
    with sklearn.config_context(enable_metadata_routing=True), threadpool_limits(1, user_api="blas"):
        for method, make in VALIDATED.items():
            try:
                scores = cross_validate(
                    make(), X, y, params={"sensitive_features": S}, scoring=FairScores(y.std()), cv=folds,
                    n_jobs=n_jobs, error_score="raise",
                )  # fmt: skip
            except PaperlibError as error:
                if "pip install" in str(error):
                    continue
                raise
            for trial in range(len(folds)):
                tags = {"dataset": data.label, "trial": trial, "split": "Test", "method": method}
                rows += [{**tags, "metric": m, "value": float(scores[f"test_{m}"][trial])} for m in ("R2", "SMD")]
    return pd.DataFrame(rows)


PROTOCOLS: dict[str, Callable[..., pd.DataFrame]] = {
    **{item: partial(boxes, item) for item in BOXES},
    **dict.fromkeys(("fig2", "fig7"), tradeoff),
    **dict.fromkeys(("fig4", "fig13"), densities),
    "fig11": partial(fair_gd, 0.1),
    "fig12": partial(fair_gd, 1.0),
    "mean_shift": mean_shift,
    "cross_validated": cross_validated,
}
"""Item of the paper -> the function that computes its numbers.  Table 1 is drawn from fig1, Table 2 from fig5."""
