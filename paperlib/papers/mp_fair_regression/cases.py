"""Data and splits of the mean-parity paper's experiments, as recovered (see :mod:`.protocols`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from paperlib.fairness import data as fair_data
from paperlib.fairness.data import FairData
from paperlib.fairness.moments import FloatArray

Indices = NDArray[np.intp]
Split = tuple[Indices, Indices]


def split_by_group(attribute: FloatArray, *, test_size: float, random_state: int) -> Split:
    """Split inside each group (in the order of first appearance) with the same seed, as in the authors' code."""
    parts = [
        train_test_split(np.flatnonzero(attribute == value), test_size=test_size, random_state=random_state)
        for value in pd.unique(attribute)
    ]
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def permutation_splits(n: int, *, random_state: int, train_share: float = 0.8) -> Iterator[Split]:
    """Consecutive permutations of one generator; the first 80 % of each are the training set."""
    rng = np.random.RandomState(random_state)
    cut = int(train_share * n)
    while True:
        order = rng.permutation(n)
        yield order[:cut], order[cut:]


@dataclass(frozen=True)
class Case:
    """One training and one test set, ready for regression: y centred by its training mean, ones appended to X."""

    X: FloatArray
    y: FloatArray
    S: FloatArray
    X_test: FloatArray
    y_test: FloatArray
    S_test: FloatArray
    tags: dict[str, object]

    @property
    def sides(self) -> tuple[tuple[str, FloatArray, FloatArray, FloatArray], ...]:
        """Name, X, y, S of the training and of the test rows."""
        return ("Train", self.X, self.y, self.S), ("Test", self.X_test, self.y_test, self.S_test)


def case(data: FairData, split: Split, tags: dict[str, object], *, inputs_with_s: bool = True) -> Case:
    """Prepare a split of a data set as the paper does."""
    train, test = split
    frame = data.X if inputs_with_s else data.X.drop(columns=list(data.sensitive.columns))
    X = np.column_stack([frame.to_numpy(dtype=float), np.ones(len(data))])
    y = data.y - data.y[train].mean()
    S = data.sensitive.to_numpy(dtype=float)
    return Case(X[train], y[train], S[train], X[test], y[test], S[test], {"dataset": data.label, **tags})


def single_attribute_cases(
    name: str = "synthetic",
    *,
    trials: int = 10,
    inputs_with_s: bool = True,
    demo: bool = False,
    response: str = "linear",
    size: float = 0.1,
    **loading: Any,
) -> list[Case]:
    """Data and splits of Figures 1 and 5 and of the tables, and (``demo``) of the authors' linear demo.

    Parameters
    ----------
    name : str
        Data set of :func:`paperlib.fairness.data.load`.
    trials : int
        Splits.
    inputs_with_s : bool
        Whether the attribute is among the inputs.
    demo : bool
        Other rows, 60/40 splits with the seeds 0, 1, ..., and new synthetic data in every trial.
    response, size
        Of the synthetic data, see :func:`paperlib.fairness.data.synthetic`.
    **loading
        ``allow_exact``, ``allow_stand_in`` and ``allow_download`` of ``load``.
    """
    made = np.random.RandomState(0) if demo else 1
    if name != "synthetic":
        rows = {"adult": 2000, "law_school": 1000}.get(name)
        data = fair_data.load(name, n_rows=rows, random_state=0 if demo else 4, **loading)
    cases = []
    for trial in range(trials):
        if name == "synthetic":
            if demo or trial == 0:
                data = fair_data.synthetic(response=response, size=size, random_state=made)
            split = train_test_split(np.arange(len(data)), test_size=0.2, random_state=trial)
        else:
            share, seed = (0.4, trial) if demo else (0.2, 2333 + trial)
            split = split_by_group(data.sensitive.iloc[:, 0].to_numpy(), test_size=share, random_state=seed)
        cases.append(case(data, split, {"trial": trial}, inputs_with_s=inputs_with_s))
    return cases


def several_attribute_cases(
    name: str = "communities_crime",
    *,
    attributes: Sequence[int] = (1, 2, 3, 4),
    trials: int = 10,
    seed: int = 1,
    **loading: Any,
) -> list[Case]:
    """Data and splits of Figures 3, 6, 8, 9 (seed 1) and of the authors' kernel demo (seed 0): r attributes, k = 2^r.

    The three attributes that are cut at 0.5 are cut among the inputs whatever r is.
    """
    data = fair_data.load(name, n_attributes=max(4 if name == "communities_crime" else 1, *attributes), **loading)
    splits = permutation_splits(len(data), random_state=seed)
    cases = []
    for r in attributes:
        some = replace(data, sensitive=data.sensitive.iloc[:, :r])
        cases += [case(some, next(splits), {"k": f"k={2**r}", "trial": trial}) for trial in range(trials)]
    return cases
