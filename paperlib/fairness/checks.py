"""Checks of arguments that the estimators and metrics share; each mistake is one sentence."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics.pairwise import kernel_metrics
from sklearn.utils.validation import validate_data

from paperlib.errors import PaperlibError, choose
from paperlib.fairness.moments import FloatArray, aligned


def number(name: str, value: Any, low: float = 0.0, high: float = np.inf, *, above: bool = False) -> float:
    """``value`` as a float in [low, high] (in (low, high] with ``above``); infinity only where ``high`` is infinite.

    Raises
    ------
    PaperlibError
        It is not.
    """
    fits = isinstance(value, Real) and not isinstance(value, bool | np.bool_)
    fits = fits and low <= float(value) <= high and (not above or float(value) > low)
    if not fits:
        words = (
            f"in {'(' if above else '['}{low:g}, {high:g}]"
            if np.isfinite(high)
            else f"{'above' if above else 'of at least'} {low:g}"
        )
        raise PaperlibError(f"{name}={value!r} is not a number {words}.")
    return float(value)


def validated(estimator: Any, *given: Any, **how: Any) -> Any:
    """What scikit-learn's ``validate_data`` gives; what it refuses, in one sentence of ours.

    Raises
    ------
    PaperlibError
        It refuses X or y.
    """
    try:
        found = validate_data(estimator, *given, **how)
        return found if len(given) < 2 else (found[0], np.asarray(found[1], dtype=np.float64))
    except PaperlibError:
        raise
    except ValueError as error:
        raise PaperlibError(f"X and y cannot be used: {' '.join(str(error).split()).rstrip('.')}.") from error


def whole(name: str, value: Any, low: int = 1) -> int:
    """``value`` as a whole number of at least ``low``; PaperlibError otherwise."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < low:
        raise PaperlibError(f"{name}={value!r} is not a whole number of at least {low}.")
    return int(value)


def intercept(fit_intercept: Any, y: FloatArray, weight: FloatArray) -> None:
    """Warn where a constant is left out although ``y`` (n,) or (n, p) lies away from 0.

    Raises
    ------
    PaperlibError
        ``fit_intercept`` is neither True nor False.
    """
    if not isinstance(fit_intercept, bool | np.bool_):
        raise PaperlibError(f"fit_intercept={fit_intercept!r} must be True or False.")
    mean = np.average(y, axis=0, weights=weight)
    spread = np.sqrt(np.average((y - mean) ** 2, axis=0, weights=weight))
    if not fit_intercept and np.any(np.abs(mean) > 0.1 * spread):
        warnings.warn(
            f"fit_intercept=False, but y has the mean {np.max(np.abs(mean)):.3g}; centre y, or leave"
            " fit_intercept=True.",
            UserWarning,
            stacklevel=4,
        )


def numbers(name: str, values: ArrayLike, low: float = 0.0, high: float = np.inf) -> FloatArray:
    """One or more numbers in [low, high] as a vector (L,).

    Raises
    ------
    PaperlibError
        There is none, one is not a number or out of range, or they have more than one dimension.
    """
    try:
        array = np.atleast_1d(np.asarray(values, dtype=float))
    except (TypeError, ValueError):
        array = np.empty(0)
    top = "" if np.isinf(high) else f" and at most {high:g}"
    if array.size == 0 or array.ndim > 1:
        raise PaperlibError(f"{name}={values!r} is not one or several numbers of at least {low:g}{top}.")
    for value in array:
        number(name, float(value), low, high)
    return array


def weights(sample_weight: Any, n: int, X: Any = None) -> FloatArray:
    """Sample weights (n,), ones if None.

    Raises
    ------
    PaperlibError
        Not n numbers, or a negative one, or all zero.
    """
    if sample_weight is None:
        return np.ones(n)
    try:
        weight = np.asarray(aligned("sample_weight", sample_weight, X), dtype=np.float64)
    except (TypeError, ValueError) as error:
        if isinstance(error, PaperlibError):
            raise
        raise PaperlibError(f"sample_weight={sample_weight!r} is not {n} numbers.") from None
    if weight.shape != (n,) or not np.isfinite(weight).all() or (weight < 0).any() or not weight.any():
        bounds = f", minimum {weight.min():.3g} and sum {weight.sum():.3g}" if weight.size else ""
        raise PaperlibError(
            f"sample_weight has shape {weight.shape}{bounds}; give {n} finite weights, none negative and not all zero."
        )
    return weight


def kernel(
    kernel: str | Callable,
    gamma: Any,
    degree: Any,
    coef0: Any,
    more: Any = None,
    *,
    precomputed: bool = True,
    of: str = "",
) -> None:
    """Check the parameters of a kernel; PaperlibError names the wrong one, with the ending ``of``."""
    if isinstance(kernel, str):
        choose(f"kernel{of}", kernel, [*kernel_metrics(), *(["precomputed"] if precomputed else [])])
    elif not callable(kernel):
        raise PaperlibError(f"kernel{of}={kernel!r} is neither the name of a kernel nor a callable.")
    if gamma is not None:
        number(f"gamma{of}", gamma)
    number("degree", degree)
    number("coef0", coef0, -np.inf)
    if more is not None and not isinstance(more, dict):
        raise PaperlibError(f"kernel_params={more!r} is not a dict of keywords for a callable kernel.")
