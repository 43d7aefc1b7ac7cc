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

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics.pairwise import rbf_kernel

from paperlib.errors import PaperlibError, choose

Moments = str | Callable[[NDArray], ArrayLike]
FloatArray = NDArray[np.float64]

#: What ``moments=`` accepts besides a callable.
MOMENTS = ("groups", "marginal", "linear", "poly", "bins", "rbf")

_RANK_CUTOFF = 1e-10  # relative singular value below which a moment repeats the others


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


def sensitive_frame(sensitive_features: ArrayLike | pd.DataFrame | pd.Series | dict, n_samples: int) -> pd.DataFrame:
    """Sensitive features as a table, one column per attribute; 1-D, 2-D, Series, DataFrame and dict are accepted.

    Raises
    ------
    PaperlibError
        The number of rows is not ``n_samples``, there is no column, or a value is missing.
    """
    if isinstance(sensitive_features, pd.DataFrame):
        frame = sensitive_features.reset_index(drop=True)
    elif isinstance(sensitive_features, pd.Series):
        frame = sensitive_features.reset_index(drop=True).to_frame()
    elif isinstance(sensitive_features, dict):
        frame = pd.DataFrame({name: np.asarray(column) for name, column in sensitive_features.items()})
    else:
        values = np.asarray(sensitive_features)
        if values.ndim not in (1, 2):
            raise PaperlibError(
                f"sensitive_features has shape {values.shape}; give one value per sample (n,), or one column per "
                "attribute (n, r)."
            )
        frame = pd.DataFrame(values)
    if len(frame) != n_samples:
        raise PaperlibError(
            f"sensitive_features has {len(frame)} rows, but X has {n_samples}; give one row per sample."
        )
    if frame.shape[1] == 0:
        raise PaperlibError(
            "sensitive_features has no column; give at least one attribute, or None for plain regression."
        )
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
    columns = [pd.factorize(frame[name], sort=True) for name in frame.columns]
    digits = np.column_stack([code for code, _ in columns])
    if digits.shape[1] == 1:
        _, first, codes = np.unique(digits[:, 0], return_index=True, return_inverse=True)
    else:
        _, first, codes = np.unique(digits, axis=0, return_index=True, return_inverse=True)
    values = [pd.Index(uniques).tolist() for _, uniques in columns]
    rows = [tuple(column[digit] for column, digit in zip(values, digits[i], strict=True)) for i in first]
    return codes.reshape(-1), [row[0] if len(row) == 1 else row for row in rows], first


def moment_basis(
    sensitive_features: ArrayLike | pd.DataFrame | pd.Series | dict,
    *,
    n_samples: int,
    moments: Moments = "groups",
    n_moments: int = 3,
    sample_weight: FloatArray | None = None,
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
    n_moments : int
        Highest power for 'poly', number of bins for 'bins'.
    sample_weight : (n,), optional
        Non-negative weights; a value with total weight 0 counts as absent.

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
    frame = sensitive_frame(sensitive_features, n_samples)
    if not callable(moments):
        choose("moments", moments, MOMENTS)
    codes, group_labels, first = group_codes(frame)
    weight = np.ones(n_samples) if sample_weight is None else sample_weight
    counts = np.bincount(codes, weights=weight, minlength=len(first)).astype(np.float64)
    present = counts > 0

    features, labels, by_group = _features(frame, group_labels, first, weight, moments, n_moments)
    total = counts.sum()
    centred = np.where(present[:, None], features - counts @ features / total, 0.0)
    if by_group:  # mean of the group minus the mean of all
        gap = np.divide(centred, counts @ features, out=np.zeros_like(centred), where=counts @ features > 0)
    else:
        gap = centred / total
    _warn_if_degenerate(frame, present, n_samples, moments)

    root = np.sqrt(counts)[:, None]
    scaled = root * centred
    norms = np.linalg.norm(scaled, axis=0)
    visible = norms > 1e-12 * np.linalg.norm(root * features, axis=0).clip(min=np.finfo(float).tiny)
    left, singular, _ = np.linalg.svd(scaled[:, visible] / norms[visible], full_matrices=False)
    left = left[:, singular > _RANK_CUTOFF * singular.max(initial=0.0)]
    table = np.divide(left, root, out=np.zeros_like(left), where=present[:, None])
    return MomentBasis(codes=codes, table=table, to_gap=left.T @ (root * gap), labels=labels, counts=counts)


def _features(
    frame: pd.DataFrame,
    group_labels: list,
    first: NDArray[np.intp],
    weight: FloatArray,
    moments: Moments,
    n_moments: int,
) -> tuple[FloatArray, list, bool]:
    """psi at the k distinct values (k, m), the names of the m moments, and whether they are group indicators."""
    if moments == "groups":
        return np.eye(len(first)), group_labels, True
    if moments == "marginal":
        indicators, labels = [], []
        for name in frame.columns:
            code, uniques = pd.factorize(frame[name], sort=True)
            indicators.append(np.eye(len(uniques))[code[first]])
            labels += [(name, value) for value in pd.Index(uniques).tolist()]
        return np.hstack(indicators), labels, True
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
    # 'rbf': kappa_S on the distinct values is V diag(e) V^T, whose features are V sqrt(e)
    eigenvalues, vectors = np.linalg.eigh(rbf_kernel(numbers[first]))
    keep = eigenvalues > len(eigenvalues) * np.finfo(float).eps * eigenvalues[-1]
    return vectors[:, keep] * np.sqrt(eigenvalues[keep]), [f"moment {j}" for j in range(int(keep.sum()))], False


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


def _warn_if_degenerate(frame: pd.DataFrame, present: NDArray[np.bool_], n_samples: int, moments: Moments) -> None:
    if present.sum() < 2:
        warnings.warn(
            "sensitive_features is constant on the training data, so there is no gap to close and the fit is plain "
            "regression; check the attribute, or the split.",
            stacklevel=4,
        )
    if moments not in ("groups", "marginal", "rbf"):
        return
    distinct = int(present.sum()) if moments != "marginal" else int(frame.nunique().max())
    if distinct > max(8, n_samples / 4):
        warnings.warn(
            f"sensitive_features has {distinct} distinct values on {n_samples} samples and moments={moments!r} "
            "constrains the mean at every one of them (a universal kernel on a continuous attribute), which leaves "
            "little but a constant predictor; use moments='linear', 'poly' or 'bins'.",
            stacklevel=4,
        )
