r"""What "fair" is asked of: the moments of the sensitive attribute that the prediction must not depend on.

Paper: Mean Parity Fair Regression in RKHS, AISTATS 2023 (PMLR 206:4602-4628), arXiv 2302.10409, Definition 1, Theorem 1
(mean parity) and Remark 3.1, Appendix C.1 (covariance-based fairness).  Introduced in
``notebooks/06_mp_fair_regression.ipynb``.

A sensitive attribute enters through centred features :math:`\psi(s) - \bar\psi` alone, and a predictor is fair when

.. math::  C^\top f = 0, \qquad C_{ij} = w_i\,\bigl(\psi_j(s_i) - \bar\psi_j\bigr)\cdot\text{scale}_j ,

* groups (mean parity):  :math:`\psi_g(s) = 1[s = g]`, scale :math:`1/n_g`, so that
  :math:`C_g^\top f = \operatorname{mean}_g f - \operatorname{mean} f`;
* covariance:  :math:`\psi(s) = s` (or powers, bins, anything finite), scale :math:`1/n`, so that
  :math:`C_j^\top f = \operatorname{Cov}(\psi_j(S), f)`.

Only the column space of C decides the fair solution, so it is handed on as an orthonormal basis: redundant columns (the
last group, an attribute given twice) drop out, and a group of one person weighs the same as a group of a thousand.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics.pairwise import rbf_kernel

from paperlib.errors import PaperlibError, choose

Moments = str | Callable[[NDArray], ArrayLike] | dict
Weights = ArrayLike | None
Sensitive = ArrayLike | pd.DataFrame | pd.Series | dict | None
FloatArray = NDArray[np.float64]

#: What ``moments=`` accepts besides a callable.
MOMENTS = ("groups", "marginal", "linear", "poly", "bins", "rbf")

_RANK_CUTOFF = 1e-10  # relative singular value below which a moment repeats the others
_RBF_CUTOFF = 1e-8  # relative eigenvalue of kappa_S below which rounding decides the eigenvector
_MOST = 3000  # distinct values of an attribute that are handled one by one


@dataclass(frozen=True)
class MomentBasis:
    """Orthonormal basis of the moments, one row per distinct value of the sensitive attribute.

    Attributes
    ----------
    codes : (n,) int
        Which distinct value each sample has.
    table : (k, q)
        Basis by distinct value: with sample weights w, ``sum_i w_i table[codes[i]] table[codes[i]]^T = I``.
    to_gap : (q, m)
        The gaps in the reader's units are ``to_gap.T @ t`` for ``t = sum_i w_i table[codes[i]] f_i``.
    labels : list
        What each of the m gaps belongs to: a group (a value, or a tuple for several attributes) or a moment.
    counts : (k,)
        Total weight of each distinct value.
    """

    codes: NDArray[np.intp]
    table: FloatArray
    to_gap: FloatArray
    labels: list
    counts: FloatArray

    def rows(self, index: slice = slice(None)) -> FloatArray:
        """Basis vectors of the samples in ``index``, shape (len, q)."""
        return self.table[self.codes[index]]


def aligned(name: str, values: Any, X: Any) -> Any:
    """``values`` in the order of the rows of X, where both are pandas objects.

    Parameters
    ----------
    name : str
        Argument that the message names.
    values : array-like, Series or DataFrame of n rows
    X : array-like or DataFrame of n rows

    Raises
    ------
    PaperlibError
        Both have an index, and they do not hold the same labels.
    """
    if not isinstance(values, pd.Series | pd.DataFrame) or not isinstance(X, pd.DataFrame) or len(values) != len(X):
        return values
    if values.index.equals(X.index):
        return values
    if values.index.is_unique and X.index.is_unique and X.index.isin(values.index).all():
        return values.loc[X.index]
    of = X.attrs.get("of", "X")
    raise PaperlibError(
        f"{name} has another index than {of} (first rows {values.index[0]!r} and {X.index[0]!r}), so its rows cannot be"
        f" matched; give it the index of {of}, or {name}.to_numpy() if the rows are in the same order."
    )


def index_of(**arguments: Any) -> pd.DataFrame | None:
    """The rows that the other arguments follow: those of the first of ``arguments`` that is a pandas object."""
    for name, values in arguments.items():
        if isinstance(values, pd.Series | pd.DataFrame):
            rows = pd.DataFrame(index=values.index)
            rows.attrs["of"] = name
            return rows
    return None


def sensitive_frame(sensitive_features: Sensitive, n_samples: int, X: Any = None) -> pd.DataFrame:
    """Sensitive features as a table, one column per attribute; 1-D, 2-D, Series, DataFrame and dict are accepted.

    Parameters
    ----------
    sensitive_features : (n,) or (n, r)
        Numbers, text or categories; nested lists may mix them by column.
    n_samples : int
        Number of rows there must be.
    X : DataFrame, optional
        Its index decides the order of the rows of a Series or DataFrame.

    Raises
    ------
    PaperlibError
        They are None, the number of rows is not ``n_samples``, there is no column, two have the same name, or a value
        is missing.
    """
    if sensitive_features is None:
        raise PaperlibError(
            "sensitive_features=None; give one row per sample: fit(X, y, sensitive_features=s). In GridSearchCV or a "
            "Pipeline with sklearn.set_config(enable_metadata_routing=True), pass it to their fit (cross_validate: "
            "params=), which hands it on."
        )
    values = aligned("sensitive_features", sensitive_features, X)
    if isinstance(values, dict):
        for name, column in values.items():
            shape = np.shape(np.asarray(column, dtype=object))
            if shape != (n_samples,):
                raise PaperlibError(
                    f"sensitive_features[{name!r}] has shape {shape}; give {n_samples} values, one per row."
                )
        values = pd.DataFrame({name: pd.Series(np.asarray(column, dtype=object)) for name, column in values.items()})
        values = values.infer_objects()
    if not isinstance(values, pd.DataFrame | pd.Series):
        # through objects, because NumPy would turn NaN into 'nan' and numbers beside text into text
        array = values if isinstance(values, np.ndarray) else np.array(values, dtype=object)
        ragged = array.dtype == object and any(isinstance(value, list | tuple | np.ndarray) for value in array.flat)
        if array.ndim not in (1, 2) or ragged:
            raise PaperlibError(
                f"sensitive_features has shape {array.shape}{' of lists' if ragged else ''}; give one value per sample"
                " (n,), or one column per attribute (n, r)."
            )
        values = pd.DataFrame(array).infer_objects()
    frame = (
        values.reset_index(drop=True) if isinstance(values, pd.DataFrame) else values.reset_index(drop=True).to_frame()
    )
    if len(frame) != n_samples:
        raise PaperlibError(
            f"sensitive_features has {len(frame)} rows, but X has {n_samples}; give one row per sample."
        )
    if frame.shape[1] == 0:
        raise PaperlibError("sensitive_features has no column; give at least one attribute.")
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise PaperlibError(f"sensitive_features has two columns named {twice!r}; give each attribute its own name.")
    missing = frame.isna().any()
    if missing.any():
        column = missing.index[missing][0]
        raise PaperlibError(
            f"sensitive_features contains NaN or None in column {column!r}; drop those rows, or make 'missing' a group "
            "of its own."
        )
    return frame


def group_codes(frame: pd.DataFrame) -> tuple[NDArray[np.intp], list, NDArray[np.intp]]:
    """Intersectional groups: the distinct rows of ``frame`` that occur, in sorted order.

    Returns
    -------
    codes : (n,) int
        Group of each sample.
    labels : list of length k
        The value of each group (a tuple when there are several attributes).
    first : (k,) int
        A sample of each group.
    """
    columns = [_factorize(frame[name]) for name in frame.columns]
    digits = np.column_stack([code for code, _ in columns])
    if digits.shape[1] == 1:  # every code occurs; the last row that is written is the first of its group
        codes, first = digits[:, 0], np.empty(len(columns[0][1]), dtype=np.intp)
        first[codes[::-1]] = np.arange(len(codes))[::-1]
    else:
        _, first, codes = np.unique(digits, axis=0, return_index=True, return_inverse=True)
    values = [pd.Index(uniques).tolist() for _, uniques in columns]
    rows = [tuple(column[digit] for column, digit in zip(values, digits[i], strict=True)) for i in first]
    return codes.reshape(-1), [row[0] if len(row) == 1 else row for row in rows], first


def at_most(name: str, distinct: int, who: str, instead: str) -> None:
    """PaperlibError where an attribute has more distinct values than can be handled one by one."""
    if distinct > _MOST:
        raise PaperlibError(
            f"{name} has {distinct} distinct values and {who} takes each by itself, at most {_MOST}; {instead}."
        )


def training_groups(sensitive_features: Sensitive, weight: FloatArray, X: Any) -> tuple[NDArray[np.intp], list]:
    """Group of each training row (n,), -1 in one without weight, and the groups; for methods that take each value.

    Warns
    -----
    UserWarning
        The attribute is constant, or looks continuous.
    """
    frame = sensitive_frame(sensitive_features, len(weight), X).loc[weight > 0]
    codes = np.full(len(weight), -1, dtype=np.intp)
    codes[weight > 0], labels, first = group_codes(frame)
    at_most("sensitive_features", len(labels), "this method", "cut a continuous attribute into a few groups")
    _warn_if_degenerate(frame.iloc[first], dict.fromkeys(frame.columns, "each"), len(frame))
    return codes, labels


def _factorize(column: pd.Series) -> tuple[NDArray[np.intp], Any]:
    """Codes and sorted values; by type and text where the values cannot be ordered."""
    try:
        return pd.factorize(column, sort=True)
    except TypeError:
        text = column.map(lambda value: f"{type(value).__name__} {value!r}")
        codes, names = pd.factorize(text, sort=True)
        return codes, [column[np.flatnonzero(text == name)[0]] for name in names]


def moment_basis(
    sensitive_features: Sensitive,
    *,
    n_samples: int,
    moments: Moments = "groups",
    n_moments: int = 3,
    sample_weight: FloatArray | None = None,
    control_features: Sensitive = None,
    X: Any = None,
) -> MomentBasis:
    """Orthonormal basis of the moment matrix C of the module docstring.

    Parameters
    ----------
    sensitive_features : (n,) or (n, r)
        Numbers, text or categories, for 'groups' and 'marginal'; numbers for the others.
    n_samples : int
        Number of rows there must be.
    moments : {'groups', 'marginal', 'linear', 'poly', 'bins', 'rbf'} or callable
        'groups': one group per combination of attribute values that occurs (mean parity, intersectional).
        'marginal': mean parity for each attribute by itself (weaker).
        'linear': zero covariance with each attribute.  'poly': with its powers 1..n_moments.
        'bins': mean parity across n_moments quantile bins of each attribute.
        'rbf': the features of the kernel exp(-|s-s'|^2/r) on the values that occur (the construction of the paper).
        callable: psi(S), from the (n, r) array of attributes to (n, m) features.
        dict: one of these per column, as in ``{"sex": "groups", "age": "poly"}``; the columns of one kind are taken
        together (several 'groups' columns intersect).
    n_moments : int
        Highest power for 'poly', number of bins for 'bins'.
    sample_weight : (n,), optional
        Non-negative weights; a value with total weight 0 counts as absent.
    control_features : (n,) or (n, c), optional
        Make the constraint hold inside every combination of their values (conditional mean parity).
    X : DataFrame, optional
        Its index decides the order of the rows of pandas attributes.

    Warns
    -----
    UserWarning
        The attribute is constant (nothing to constrain), or it has nearly as many values as there are samples: then a
        constraint on every value leaves little but the constant predictor.

    Raises
    ------
    PaperlibError
        Wrong shape, missing values, text where numbers are needed, or an unknown name.
    """
    frame = sensitive_frame(sensitive_features, n_samples, X)
    kinds = moments if isinstance(moments, dict) else dict.fromkeys(frame.columns, moments)
    if isinstance(moments, dict) and set(kinds) != set(frame.columns):
        raise PaperlibError(
            f"moments has the keys {list(kinds)}; give one per column of sensitive_features: {list(frame.columns)}."
        )
    for kind in kinds.values():
        if not callable(kind):
            choose("moments", kind, MOMENTS)
    if control_features is None:
        stratum = np.zeros(n_samples, dtype=np.intp)
        strata: list = [None]
        both = frame
    else:
        stratum, strata, _ = group_codes(sensitive_frame(control_features, n_samples, X))
        at_most("control_features", len(strata), "the constraint", "cut a continuous one into a few strata")
        both = frame.set_axis(range(frame.shape[1]), axis=1).assign(stratum=stratum)
    codes, _, first = group_codes(both)
    weight = np.ones(n_samples) if sample_weight is None else sample_weight
    counts = np.bincount(codes, weights=weight, minlength=len(first)).astype(np.float64)
    present = counts > 0
    if control_features is None:
        _warn_if_degenerate(frame.iloc[first[present]], kinds, int((weight > 0).sum()))

    # one block of features for the columns of each kind, each once in every stratum
    blocks: dict[Any, list] = {}
    for name, kind in kinds.items():
        blocks.setdefault(kind, []).append(name)
    gaps, raw, labels = [], [], []
    inside = np.eye(len(strata))[stratum[first]]  # (k, strata)
    size = counts @ inside
    for kind, names in blocks.items():
        features, names_, by_group = _features(frame[names], first, weight, counts, kind, n_moments)
        for h, value in enumerate(strata):
            of = features * inside[:, [h]]
            mass = counts @ of
            centred = of - inside[:, [h]] * (mass / (size[h] or 1.0))
            # mean of the group minus the mean of all; or the covariance
            scale = (
                np.divide(1.0, mass, out=np.zeros_like(mass), where=mass > 0) if by_group else 1.0 / (size[h] or 1.0)
            )
            there = mass > 0 if control_features is not None and by_group else np.ones(len(mass), dtype=bool)
            gaps.append(np.where(present[:, None], centred * scale, 0.0)[:, there])
            raw.append(np.linalg.norm(np.sqrt(counts)[:, None] * of * scale, axis=0)[there])
            labels += [
                (value, label) if control_features is not None else label
                for label, is_ in zip(names_, there, strict=True)
                if is_
            ]
    gap = np.hstack(gaps)

    root = np.sqrt(counts)[:, None]
    scaled = root * gap
    norms = np.linalg.norm(scaled, axis=0)
    visible = norms > 1e-12 * np.concatenate(raw).clip(min=np.finfo(float).tiny)
    left, singular, _ = np.linalg.svd(scaled[:, visible] / norms[visible], full_matrices=False)
    left = left[:, singular > _RANK_CUTOFF * singular.max(initial=0.0)]
    table = np.divide(left, root, out=np.zeros_like(left), where=present[:, None])
    return MomentBasis(codes=codes, table=table, to_gap=left.T @ scaled, labels=labels, counts=counts)


def _features(
    frame: pd.DataFrame,
    first: NDArray[np.intp],
    weight: FloatArray,
    counts: FloatArray,
    moments: str | Callable[[NDArray], ArrayLike],
    n_moments: int,
) -> tuple[FloatArray, list, bool]:
    """psi at the k distinct values (k, m), the names of the m moments, and whether they are group indicators."""
    if moments in ("groups", "marginal", "rbf"):
        rows = frame.iloc[first].reset_index(drop=True)
        several = [rows] if moments != "marginal" else [rows[[name]] for name in rows.columns]
        groups = [(part.columns, *group_codes(part)[:2]) for part in several]
        most = max(len(values) for _, _, values in groups)
        instead = "use moments='linear', 'poly' or 'bins' for a continuous attribute"
        at_most("sensitive_features", most, f"moments={moments!r}", instead)
        if moments != "rbf":
            indicators = [np.eye(len(values))[codes] for _, codes, values in groups]
            if moments == "groups":
                return indicators[0], groups[0][2], True
            return np.hstack(indicators), [(names[0], value) for names, _, values in groups for value in values], True
    if callable(moments):
        values = np.asarray(moments(frame.to_numpy()), dtype=float)
        if values.ndim != 2 or len(values) != len(frame) or not np.isfinite(values).all():
            raise PaperlibError(
                f"moments returned an array of shape {values.shape} with {(~np.isfinite(values)).sum()} non-finite "
                f"values; it must map the ({len(frame)}, {frame.shape[1]}) attributes to finite features, one row each."
            )
        return values[first], [f"moment {j}" for j in range(values.shape[1])], False

    if isinstance(n_moments, bool) or not isinstance(n_moments, int | np.integer) or n_moments < 1:
        raise PaperlibError(f"n_moments={n_moments!r} is not a whole number of at least 1.")
    numbers = _as_numbers(frame, str(moments))
    mean = np.average(numbers, axis=0, weights=weight)
    spread = np.sqrt(np.average((numbers - mean) ** 2, axis=0, weights=weight))
    standard = ((numbers - mean) / np.where(spread > 0, spread, 1.0))[first]
    if moments == "linear":
        return numbers[first], list(frame.columns), False
    if moments == "poly":
        powers = [standard**p for p in range(1, n_moments + 1)]
        return np.hstack(powers), [f"{name}^{p}" for p in range(1, n_moments + 1) for name in frame.columns], False
    if moments == "bins":
        indicators, labels = [], []
        for j, name in enumerate(frame.columns):
            levels = np.linspace(0, 1, n_moments + 1)[1:-1]
            edges = np.unique(np.quantile(numbers[:, j], levels, weights=weight, method="inverted_cdf"))
            indicators.append(np.eye(len(edges) + 1)[np.searchsorted(edges, numbers[first, j])])
            labels += [(name, f"bin {b}") for b in range(len(edges) + 1)]
        return np.hstack(indicators), labels, True
    # 'rbf': the weighted, centred kappa_S on the distinct values is U diag(e) U^T; values that rounding cannot tell
    # apart merge
    kappa, share, root = rbf_kernel(numbers[first]), counts / counts.sum(), np.sqrt(counts)
    kappa = kappa - share @ kappa
    kappa = kappa - (kappa @ share)[:, None]
    eigenvalues, vectors = np.linalg.eigh(root[:, None] * (kappa + kappa.T) / 2 * root)
    keep = eigenvalues > _RBF_CUTOFF * max(eigenvalues[-1], np.finfo(float).tiny)
    table = np.divide(
        vectors[:, keep] * np.sqrt(eigenvalues[keep]),
        root[:, None],
        where=root[:, None] > 0,
        out=np.zeros((len(root), keep.sum())),
    )
    return table, [f"moment {j}" for j in range(int(keep.sum()))], False


def _as_numbers(frame: pd.DataFrame, moments: str) -> FloatArray:
    for name in frame.columns:
        try:
            values = frame[name].to_numpy(dtype=float)
        except (TypeError, ValueError):
            raise PaperlibError(
                f"moments={moments!r} needs numbers, but column {name!r} of sensitive_features holds "
                f"{frame[name].iloc[0]!r}; use moments='groups', or encode the column."
            ) from None
        if not np.isfinite(values).all():
            raise PaperlibError(f"sensitive_features contains infinity in column {name!r}; give finite numbers.")
    return frame.to_numpy(dtype=float)


def _warn_if_degenerate(there: pd.DataFrame, kinds: dict, n: int) -> None:
    """Warn, from the distinct rows of n samples, of a constant attribute, and of one that looks continuous."""
    if len(there) < 2:
        warnings.warn(
            "sensitive_features is constant on the training data, so there is no gap to close and the fit is plain "
            "regression; check the attribute, or the split.",
            stacklevel=4,
        )
    names = [name for name, kind in kinds.items() if kind in ("groups", "marginal", "rbf", "each")]
    if not names or len(there) <= 8:  # too few for either warning
        return
    marginal = all(kinds[name] == "marginal" for name in names)
    distinct = max(there[name].nunique() for name in names) if marginal else len(there[names].drop_duplicates())
    numbers = [name for name in names if pd.api.types.is_float_dtype(there[name])]
    fractions = max((there[name].nunique() for name in numbers if (there[name] % 1 != 0).any()), default=0)
    if distinct > max(8, n / 4) or fractions > 20:
        kind = kinds[names[0]]
        what = (
            f"moments={kind!r} constrains the mean at every one of them (a universal kernel on a continuous attribute)"
        )
        what += ", which leaves little but a constant predictor; use moments='linear', 'poly' or 'bins'."
        if kind == "each":
            what = "this method takes each of them for a group, as if it were not continuous; cut it into a few groups."
        warnings.warn(f"sensitive_features has {distinct} distinct values on {n} samples and {what}", stacklevel=4)
