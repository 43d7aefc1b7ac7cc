r"""Which defense is better, and how sure is that? Statistics over the attacks of a benchmark.

A table of ASR has one row per attack and one column per defense.

* Bootstrap: attacks are drawn with replacement, defenses ranked by the mean ASR of the draw (1 is lowest); the interval
  holds the middle 95 % of the ranks. It says how much a ranking depends on which attacks were chosen.
* Critical difference (Demsar, JMLR 7, 2006, Section 3.2.2): defenses are ranked within each of N attacks; two of k
  defenses differ at the 5 % level if their mean ranks differ by at least :math:`q_{0.05} \sqrt{k (k + 1) / (6 N)}`
  (Nemenyi test), with :math:`q` the studentised range for k groups and infinitely many degrees of freedom, divided by
  :math:`\sqrt 2`.
* Repetition noise: two repetitions of a cell differ by d points on average. If both are normal with the same standard
  deviation :math:`\sigma`, then :math:`\sigma = d \sqrt\pi / 2`. Noise of that size is added to every cell, cut off at
  0 and 100, and it is counted how often a statement about the table still holds.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from paperlib.errors import PaperlibError
from paperlib.report import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def _checked(asr: pd.DataFrame) -> np.ndarray:
    table = asr.to_numpy(float)
    if table.ndim != 2 or table.shape[0] < 2 or table.shape[1] < 2 or not np.isfinite(table).all():
        raise PaperlibError(
            f"asr has shape {table.shape} and {int((~np.isfinite(table)).sum())} gaps; ranks need two attacks (rows),"
            " two defenses (columns) and every cell."
        )
    return table


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks along the last axis, 1 for the lowest, ties shared."""
    from scipy.stats import rankdata

    return rankdata(values, axis=-1)


def bootstrap(asr: pd.DataFrame, *, draws: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Rank of every defense by mean ASR, and how it moves when the attacks are drawn anew.

    Parameters
    ----------
    asr : DataFrame
        Percent, one row per attack, one column per defense, no gaps.

    Returns
    -------
    DataFrame
        One row per defense: ``defense, asr`` (mean), ``rank``, ``low``, ``high`` (2.5 and 97.5 % of the draws),
        ``first`` (share of the draws in which it is alone or shared the best), ``mean_rank`` (within attacks, for the
        critical difference).

    Raises
    ------
    PaperlibError
        Fewer than two attacks or defenses, or a gap.
    """
    table = _checked(asr)
    rng = np.random.default_rng([seed, 23])
    drawn = table[rng.integers(len(table), size=(draws, len(table)))].mean(1)
    ranks = _ranks(drawn)
    low, high = np.quantile(ranks, [0.025, 0.975], axis=0)
    return pd.DataFrame(
        {
            "defense": list(asr.columns),
            "asr": table.mean(0),
            "rank": _ranks(table.mean(0)),
            "low": low,
            "high": high,
            "first": (drawn == drawn.min(1, keepdims=True)).mean(0),
            "mean_rank": _ranks(table).mean(0),
        }
    )


def critical_difference(n_defenses: int, n_attacks: int) -> float:
    """How far two mean ranks must lie apart to differ at the 5 % level (Nemenyi test)."""
    from scipy.stats import studentized_range

    q = studentized_range.ppf(0.95, n_defenses, np.inf) / np.sqrt(2)
    return float(q * np.sqrt(n_defenses * (n_defenses + 1) / (6 * n_attacks)))


def repetition_sd(difference: float) -> float:
    """Standard deviation of one run from the mean absolute ``difference`` of two, in the same unit."""
    return difference * float(np.sqrt(np.pi)) / 2


def survival(
    cells: pd.DataFrame,
    noise: Mapping[str, float],
    statements: Mapping[str, Callable[[Any], bool]],
    *,
    read: Callable[[pd.DataFrame], Any] = lambda cells: cells,
    draws: int = 500,
    seed: int = 0,
) -> dict[str, float]:
    """Share of the draws in which each statement holds when every cell is repeated with its noise.

    Parameters
    ----------
    cells : DataFrame
        With columns ``defense`` and ``ASR`` in percent; what else ``read`` needs.
    noise
        Defense -> standard deviation of a cell in points.
    statements
        Name -> function of what ``read`` makes of the repeated cells, once a draw.

    Raises
    ------
    PaperlibError
        A defense of ``cells`` without noise.
    """
    if missing := sorted(set(cells.defense) - set(noise)):
        raise PaperlibError(f"noise has no value for the defense {missing[0]!r}; give one for: {', '.join(missing)}.")
    rng = np.random.default_rng([seed, 29])
    sd = cells.defense.map(dict(noise)).to_numpy(float)
    held = dict.fromkeys(statements, 0)
    for _ in range(draws):
        again = cells.assign(ASR=np.clip(cells.ASR.to_numpy() + sd * rng.standard_normal(len(cells)), 0, 100))
        about = read(again)
        for name, statement in statements.items():
            held[name] += bool(statement(about))
    return {name: count / draws for name, count in held.items()}


def draw(axes: "Axes", found: pd.DataFrame, n_attacks: int, title: str) -> None:
    """One panel: rank of every defense with its interval, the mean rank within attacks as a cross, and the critical
    difference."""
    shown = found.sort_values(["asr", "defense"]).set_index("defense")
    at = np.arange(len(shown))
    for y, (name, row) in zip(at, shown.iterrows(), strict=True):
        look = style.look("defense", str(name))
        axes.plot([row.low, row.high], [y, y], color=look.colour, linewidth=2, solid_capstyle="butt")
        axes.plot(row["rank"], y, color=look.colour, marker=look.marker, linestyle="")
    axes.plot(shown.mean_rank, at, color="black", marker="x", linestyle="", markersize=3.5)
    bar = critical_difference(len(shown), n_attacks)
    axes.plot([1, 1 + bar], [len(shown) - 0.4] * 2, color="black", linewidth=1.2)
    axes.text(1, len(shown) - 0.25, f"critical difference {bar:.1f}", fontsize=6.5, va="top")
    axes.set_yticks(
        at, [f"{style.title('defense', name)} ({row.asr:.0f})" for name, row in shown.iterrows()], fontsize=7
    )
    axes.set(ylim=(len(shown) + 0.4, -0.6), xlim=(0.5, len(shown) + 0.5), xlabel="rank (1: lowest ASR)", title=title)
