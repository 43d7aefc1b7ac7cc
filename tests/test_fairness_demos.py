"""The authors' two demonstrations, number by number, against paperlib/published/fairreg_demo_*.csv.

They need the exact tables of the authors (PAPERLIB_DATA/fairness/*.csv).  Preprocessing, splits and seeds are the
demonstrations' own; see the columns ``setting`` of the reference tables.
"""

import os
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import mean_squared_error
from sklearn.model_selection import train_test_split

from paperlib.fairness import MeanParityRegressor, smd
from paperlib.fairness.group_shift import GapProblem, Spectrum, cholesky_smoother
from paperlib.fairness.mean_parity import MeanParityRegressor as Regressor

TABLES = Path(os.environ.get("PAPERLIB_DATA", "nowhere")) / "fairness"


def table(name: str) -> pd.DataFrame:
    path = TABLES / f"{name}.csv"
    if not path.exists():
        pytest.skip(f"PAPERLIB_DATA holds no fairness/{name}.csv")
    return pd.read_csv(path)


def reference(name: str) -> dict[tuple, float]:
    """(dataset, method, k, split, trial, metric) -> value."""
    frame = pd.read_csv(files("paperlib") / "published" / f"fairreg_demo_{name}.csv")
    frame = frame[frame.metric.isin(["MSE", "SMD"])]
    settings = [dict(part.split("=") for part in text.split(";") if "=" in part) for text in frame.setting]
    return {
        (row.dataset, row.method, int(s.get("k", 2)), s["split"], int(s["trial"]), row.metric): row.value
        for row, s in zip(frame.itertuples(), settings, strict=True)
    }


def hsic_features(s, gamma=None):
    """Psi with Psi Psi^T = H kappa_S(s, s) H, for kappa_S linear or Gaussian, on the distinct rows of s."""
    values, codes = np.unique(s, axis=0, return_inverse=True)
    gram = values @ values.T
    if gamma is not None:
        squares = ((values[:, None] - values[None]) ** 2).sum(axis=-1)
        gram = np.exp(-gamma * squares)
    eigenvalues, vectors = np.linalg.eigh(gram)
    psi = (vectors * np.sqrt(np.maximum(eigenvalues, 0)))[codes.reshape(-1)]
    return psi - psi.mean(axis=0)


def fkr(X, y, s, X_all, *, eta, **kernel):
    """Fair kernel learning (Perez-Suay et al. 2017): the same engine with C = Psi and the identity for G."""
    alpha = kernel.get("alpha")
    gamma = kernel.get("gamma")
    psi = hsic_features(s, gamma)
    V = np.column_stack([y, psi])
    if kernel["kernel"] == "linear":
        spectrum = Spectrum.of_features(X)
        coef, fitted, design = spectrum.primal_coef(alpha, V), spectrum.fitted(alpha, V), X_all
    else:
        model = Regressor(**kernel)
        coef, fitted = cholesky_smoother(model._get_kernel(X), V, alpha)
        design = model._get_kernel(X_all, X)
    q = psi.shape[1]
    problem = GapProblem(b=psi.T @ fitted[:, :1], T=psi.T @ fitted[:, 1:], G=np.eye(q), to_gap=np.eye(q))
    nu = np.linalg.solve(np.eye(q) * len(y) ** 2 / eta + problem.T, problem.b)
    return design @ (coef[:, :1] - coef[:, 1:] @ nu)[:, 0]


def predictions(X_train, y_train, s_train, X_all, *, with_fkr=True, **kernel) -> dict[str, np.ndarray]:
    """Predictions of every method of the demonstrations on X_all."""
    fair = MeanParityRegressor(**kernel).fit(X_train, y_train, sensitive_features=s_train)
    ends = fair.predict_path(X_all, fair.tradeoff(unfairness=[1, 0]))
    penalised = fair.predict_path(X_all, fair.tradeoff(penalty=[1000]))
    ordinary = "OLS" if kernel["kernel"] == "linear" else "KRR"
    out = {"Constant": np.zeros(len(X_all)), ordinary: ends[0], "FPR-1000": penalised[0], "Ours": ends[1]}
    if with_fkr:
        out["FKR-1000"] = fkr(X_train, y_train, s_train, X_all, eta=1000, **kernel)
    return out


def score(rows, key, truth, f, s, n_train):
    """Put MSE and SMD of the train and the test part into ``rows``."""
    for split, part in {"Train": slice(n_train), "Test": slice(n_train, None)}.items():
        rows[(*key, split, "MSE")] = mean_squared_error(truth[part], f[part])
        rows[(*key, split, "SMD")] = smd(None, f[part], sensitive_features=s[part])


def communities():
    frame = table("communities").fillna(0)
    y = frame.pop("ViolentCrimesPerPop").to_numpy()
    shares = frame[["racepctblack", "racePctWhite", "racePctAsian", "racePctHisp"]]
    white = (shares.idxmax(axis=1) == "racePctWhite").astype(float)
    frame = frame.drop(columns=shares.columns).assign(race=white)
    return frame, y


def with_ones(X):
    return np.column_stack([X, np.ones(len(X))])


def test_kernel_demo_all_reference_rows():
    frame, y = communities()
    attributes = ["race", "medIncome", "householdsize", "medFamInc"]
    frame[attributes] = (frame[attributes] >= 0.5).astype(float)
    X, S = with_ones(frame.to_numpy(dtype=float)), frame[attributes].to_numpy()
    expected = reference("kernel")

    permutations = np.random.RandomState(0)
    ours = {}
    for m in range(1, 5):
        for trial in range(10):
            order = permutations.permutation(len(y))
            n_train = int(0.8 * len(y))
            Xp, sp = X[order], S[order, :m]
            yp = y[order] - y[order][:n_train].mean()
            train = slice(n_train)
            found = predictions(Xp[train], yp[train], sp[train], Xp, kernel="rbf", gamma=0.1, alpha=1.0)
            for method, f in found.items():
                score(ours, ("Communities", method, 2**m, trial), yp, f, sp, n_train)

    worst = {"MSE": 0.0, "SMD": 0.0}
    for (dataset, method, k, split, trial, metric), value in expected.items():
        error = abs(ours.pop((dataset, method, k, trial, split, metric)) - value)
        worst[metric] = max(worst[metric], error)
    assert len(expected) == 800  # 400 rows of two numbers
    assert not ours
    assert worst["MSE"] < 1e-9
    assert worst["SMD"] < 1e-7


def group_split(s, trial):
    """60/40 inside each group, groups in order of first appearance."""
    train, test = [], []
    for value in pd.unique(s):
        a, b = train_test_split(np.flatnonzero(s == value), test_size=0.4, random_state=trial)
        train.append(a)
        test.append(b)
    return np.concatenate(train), np.concatenate(test)


def subsample(n, size):
    return train_test_split(np.arange(n), test_size=1 - size / n, random_state=0)[0]


def adult():
    frame = table("adult_full")
    frame.columns = [c.strip() for c in frame.columns]
    frame = frame.replace("?", np.nan).replace(" ?", np.nan).dropna().reset_index(drop=True)
    target = frame.columns[-1]
    y = frame.pop(target).astype(str).str.contains(">50K").to_numpy(dtype=float)
    s = frame["sex"]
    columns = []
    for name in frame.columns:
        column = frame[name]
        if column.dtype.kind in "OUT" or isinstance(column.dtype, pd.StringDtype):
            levels = sorted(column.unique())
            kept = levels[1:] if len(levels) == 2 else levels
            columns += [(column == level).to_numpy(dtype=float) for level in kept]
        elif column.nunique() > 2:
            columns.append(np.log1p(column.to_numpy(dtype=float)))
        else:
            columns.append(column.to_numpy(dtype=float))
    code = (s == sorted(s.unique())[1]).to_numpy(dtype=float)
    rows = subsample(len(y), 2000)
    return np.column_stack(columns)[rows], y[rows], code[rows]


def law():
    frame = table("lawschool").dropna().reset_index(drop=True)
    y = frame.pop("ugpa").to_numpy() / 4
    frame["gender"] = (frame["gender"] == "male").astype(float)
    frame["bar1"] = (frame["bar1"] == "P").astype(float)
    race = next(c for c in frame.columns if c.startswith("race"))
    frame[race] = (frame[race] == 7).astype(float)
    rows = subsample(len(y), 1000)
    return frame.to_numpy(dtype=float)[rows], y[rows], frame[race].to_numpy()[rows]


def communities_linear():
    frame, y = communities()
    return frame.to_numpy(dtype=float), y, frame["race"].to_numpy()


def synthetic_draws():
    """10 trials from one global stream: w, X (its last column becomes s), noise."""
    random = np.random.RandomState(0)
    for _ in range(10):
        w = random.randn(5)
        X = random.randn(2000, 5)
        X[:, -1] = np.where(X[:, -1] > 0, 0.1, -0.1)
        yield X, X @ w + 0.1 * random.randn(2000), X[:, -1].copy()


def linear_trials(dataset):
    if dataset == "Synthetic":
        for trial, (X, y, s) in enumerate(synthetic_draws()):
            train, test = train_test_split(np.arange(len(y)), test_size=0.2, random_state=trial)
            yield X, y, s, train, test
    else:
        X, y, s = {"Adult": adult, "Law": law, "Communities": communities_linear}[dataset]()
        for trial in range(10):
            yield X, y, s, *group_split(s, trial)


@pytest.mark.parametrize("dataset", ["Synthetic", "Adult", "Law", "Communities"])
def test_linear_demo(dataset):
    expected = {key: value for key, value in reference("linear").items() if key[0].startswith(dataset)}
    name = next(iter(expected))[0]
    ours = {}
    for trial, (X, y, s, train, test) in enumerate(linear_trials(dataset)):
        order = np.concatenate([train, test])
        Xp, sp = with_ones(X)[order], s[order]
        yp = y[order] - y[train].mean()
        found = predictions(Xp[: len(train)], yp[: len(train)], sp[: len(train), None], Xp, kernel="linear", alpha=0)
        found["OLS"] = np.clip(found["OLS"], -2, 2)  # the demonstration clips this method alone
        for method, f in found.items():
            score(ours, (name, method, 2, trial), yp, f, sp, len(train))

    worst = {"MSE": 0.0, "SMD": 0.0}
    for (_, method, k, split, trial, metric), value in expected.items():
        if (dataset, method, split) == ("Adult", "OLS", "Test"):
            continue  # depends on the hash seed under which the authors' one-hot columns were ordered
        worst[metric] = max(worst[metric], abs(ours[name, method, k, trial, split, metric] - value))
    assert len(expected) == 200
    # the authors pseudo-invert a rank-deficient n x n matrix; what is left is their rounding
    assert worst["MSE"] < 2e-4
    assert worst["SMD"] < 2e-3
