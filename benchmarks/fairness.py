"""Mean-parity regression beside scikit-learn's KernelRidge: time of a fit, of a whole tradeoff, of a million rows.

    python benchmarks/fairness.py [--quick] [--check]

Prints a table of ratios and writes it with the machine's facts to ``benchmarks/results/fairness.json``.  ``--quick``
leaves out the million rows; ``--check`` exits with 1 when a limit is exceeded.  The pairs are timed in turn on one BLAS
thread, so that both see the same load, and the medians of their CPU seconds are compared (wall seconds are in the file
too).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import scipy
import sklearn
from scipy.linalg import cho_factor
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge
from sklearn.metrics.pairwise import pairwise_kernels, polynomial_kernel
from threadpoolctl import threadpool_limits

from paperlib.fairness import MeanParityRegressor, StreamedMeanParityRegressor, smd

RESULT = Path(__file__).parent / "results" / "fairness.json"
KERNEL = {"kernel": "rbf", "gamma": 0.1}
PATH = np.geomspace(1e-2, 1e6, 25)
ALPHAS = np.geomspace(1e-3, 1e3, 25)


def data(n: int, groups: int = 2, d: int = 10) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    s = rng.integers(groups, size=n) / (groups - 1)
    X = rng.normal(size=(n, d))
    X[:, 0] += s
    y = np.sin(X[:, 0]) + 0.5 * s + 0.1 * rng.normal(size=n)
    return X, y - y.mean(), s


def compare(ours: Callable, peer: Callable, repeats: int) -> dict[str, float]:
    """Median CPU and wall seconds of both, measured in turn after one warm-up each."""
    times: dict[str, list[float]] = {"seconds": [], "peer_seconds": [], "wall": [], "peer_wall": []}
    with threadpool_limits(1):
        for round_ in range(repeats + 1):
            for job, who in ((ours, ""), (peer, "peer_")):
                wall, cpu = time.perf_counter(), time.process_time()
                job()
                if round_:
                    times[f"{who}seconds"].append(time.process_time() - cpu)
                    times[f"{who}wall"].append(time.perf_counter() - wall)
    return {name: median(values) for name, values in times.items()}


def pairs(repeats: int) -> list[dict]:
    rows = []
    for n in (500, 1000, 2000):
        X, y, s = data(n)

        def fit(X=X, y=y, s=s):
            return MeanParityRegressor(1.0, **KERNEL).fit(X, y, sensitive_features=s)

        def path(fit=fit):
            fit().tradeoff(penalty=PATH)

        def alphas(X=X, y=y, s=s):
            MeanParityRegressor(**KERNEL).alpha_path(X, y, ALPHAS, sensitive_features=s)

        jobs = {"fair fit": (fit, 1.3), "fair fit and 25-point tradeoff": (path, 1.4)}
        if n < 2000:
            jobs["25 penalties, each with leave-one-out"] = (alphas, 25.0)
        for name, (job, limit) in jobs.items():
            shown = limit if n == 2000 or "each" in name else None
            rows.append(measured(name, n, job, partial(krr, X, y), repeats, shown))
    n = 2000
    X, y, s = data(n)
    K = pairwise_kernels(X, metric="rbf", gamma=0.1) + np.eye(n)
    rows.append(
        measured(
            "bare Cholesky of the kernel matrix",
            n,
            lambda: cho_factor(K, check_finite=False),
            lambda: krr(X, y),
            repeats,
        )
        | {"peer": "one KernelRidge.fit: the rest is the kernel and scipy's checks and copies"}
    )
    for groups in (2, 16, 100):
        X, y, s = data(n, groups)
        codes = np.round(s * (groups - 1)).astype(int)
        fair = MeanParityRegressor(1.0, **KERNEL)
        job = partial(fair.fit, X, y, sensitive_features=codes)
        rows.append(measured(f"fair fit, {groups} groups", n, job, partial(krr, X, y), repeats, 1.0))
    for n in (150, 300, 450):
        X, y, s = data(n)
        fair = MeanParityRegressor(1.0, fit_intercept=False, **KERNEL)
        job, theirs = partial(fair.fit, X, y, sensitive_features=s), partial(authors_path, X, y, s)
        assert np.allclose(job().predict(X), theirs(), atol=1e-6)
        levels = job().predict_path(X, fair.tradeoff(penalty=PATH))
        for level, f in zip(PATH[::12], levels[::12], strict=True):
            assert np.allclose(f, theirs(level), atol=1e-6)
        row = measured("fair fit, against the authors' steps", n, job, theirs, 3)
        rows.append(row | {"peer": AUTHORS})
        whole = measured(
            "fair fit and 25-point tradeoff, against the authors' steps",
            n,
            lambda fair=fair, job=job: job() and fair.tradeoff(penalty=PATH),
            lambda theirs=theirs: [theirs(level) for level in PATH],
            1,
        )
        rows.append(whole | {"peer": f"{AUTHORS}, once for every point"})
    X, y, s = data(20_000, d=60)
    job = partial(MeanParityRegressor(1.0).fit, X, y, sensitive_features=s)
    linear = measured("linear fair fit, 60 inputs", len(y), job, partial(Ridge(1.0).fit, X, y), repeats, 1.5)
    rows.append(linear | {"peer": "one Ridge.fit"})
    return rows


def krr(X: np.ndarray, y: np.ndarray) -> None:
    KernelRidge(alpha=1.0, **KERNEL).fit(X, y)


AUTHORS = "dense n x n products, eigenvectors of one, a pseudo-inverse: the steps of the authors' code"


def authors_path(X: np.ndarray, y: np.ndarray, s: np.ndarray, penalty: float | None = None) -> np.ndarray:
    """The fair (or penalised) fit by the steps of the authors' first code, written anew: eq. (8) to (11), (17), (18).

    Their code has no path: every level of the penalty starts from the kernel matrix.
    """
    K, n = pairwise_kernels(X, metric="rbf", gamma=0.1), len(y)
    H = np.eye(n) - np.ones((n, n)) / n
    K_s = polynomial_kernel(s[:, None], degree=len(np.unique(s)))
    product = (H @ K_s @ H) @ (H @ K @ H)
    values, vectors = np.linalg.eig(product)
    unfair = []
    for j in np.argsort(-np.abs(values))[: np.linalg.matrix_rank(product)]:  # Gram and Schmidt in the RKHS
        a = H @ vectors[:, j].real
        for other in unfair:
            a = a - (other @ K @ a) * other
        unfair.append(a / np.sqrt(a @ K @ a))
    A = np.column_stack(unfair)
    if penalty is not None:
        return K @ np.linalg.pinv(K @ K + K + penalty * K @ A @ A.T @ K) @ K @ y
    P = np.eye(n) - A @ A.T @ K
    return K @ P @ np.linalg.pinv(P.T @ K @ K @ P + P.T @ K @ P) @ P.T @ K @ y


def measured(what: str, n: int, job: Callable, peer: Callable, repeats: int, limit: float | None = None) -> dict:
    """One row of the table."""
    times = compare(job, peer, repeats)
    ratio = times["seconds"] / times["peer_seconds"]
    return {"what": what, "n": n, "peer": "one KernelRidge.fit", **times, "ratio": ratio, "limit": limit}


def million(approximation: str) -> dict:
    """One streamed fit of 10^6 rows in this process: seconds, peak memory, train gap."""
    X, y, s = data(1_000_000)
    start = time.perf_counter()
    cpu = time.process_time()
    model = StreamedMeanParityRegressor(1.0, gamma=0.1, approximation=approximation, n_components=500, random_state=0)
    model.fit(X, y, sensitive_features=s)
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform != "darwin" else 2**30)
    sample = slice(0, 200_000)
    ordinary = np.abs(model.unconstrained_gaps_).sum()
    return {
        "what": f"10^6 rows, 500 features, {approximation}",
        "n": len(y),
        "seconds": wall,
        "cpu_seconds": cpu,
        "peak_gib": peak,
        "train_smd": float(np.abs(model.gaps_).sum()),
        "train_smd_ordinary": float(ordinary),
        "smd_of_first_200000": smd(None, model.predict(X[sample]), sensitive_features=s[sample]),
        "limit_seconds": 60.0,
        "limit_gib": 2.0,
    }


def machine() -> dict:
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "scikit-learn": sklearn.__version__,
        "processors": os.cpu_count(),
        "blas_threads": os.environ.get("OMP_NUM_THREADS", "not set"),
        "load_average_1min": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="leave out the million rows")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a limit is exceeded")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--million", help=argparse.SUPPRESS)  # a process of its own, for its peak memory
    options = parser.parse_args()
    if options.million:
        print(json.dumps(million(options.million)))
        return 0

    facts = machine()
    rows = pairs(options.repeats)
    print(f"{'what':<60} {'n':>8} {'CPU s':>9} {'peer':>9} {'ratio':>6}  limit")
    for row in rows:
        print(
            f"{row['what']:<60} {row['n']:>8} {row['seconds']:>9.4f} {row['peer_seconds']:>9.4f} {row['ratio']:>6.2f}"
            f"  {row['limit'] or ''}"
        )
    over = [row["what"] for row in rows if row["limit"] and row["ratio"] > row["limit"]]
    streamed = []
    for approximation in () if options.quick else ("nystroem", "fourier"):
        command = [sys.executable, __file__, "--million", approximation]
        row = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        streamed.append(row)
        print(
            f"{row['what']:<60} {row['n']:>8} {row['seconds']:>9.1f} s wall, {row['cpu_seconds']:.1f} s CPU,"
            f" {row['peak_gib']:.2f} GiB peak, train SMD {row['train_smd']:.1e} (ordinary"
            f" {row['train_smd_ordinary']:.3f})"
        )
        if row["cpu_seconds"] > row["limit_seconds"] or row["peak_gib"] > row["limit_gib"]:
            over.append(row["what"])
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps({"machine": facts, "pairs": rows, "streamed": streamed}, indent=2) + "\n")
    print(f"over the limit: {', '.join(over)}" if over else "all within their limits")
    return 1 if over and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
