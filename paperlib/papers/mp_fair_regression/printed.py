"""The printed numbers of the mean-parity paper, in the columns and names that our protocols use for their results."""

from functools import lru_cache

import pandas as pd

from paperlib.report.published import published

METHODS = {
    "constant": "Constant", "ols": "OLS", "krr": "KRR", "fkr": "FKR", "fpr": "FPR", "nrfc": "NRFC", "rba": "RBA",
    "mp_fair": "Ours",
}  # fmt: skip
WEIGHTS = {"10": "-1", "1000": "-3"}
"""The paper writes the logarithm of a weight; the demos write the weight itself."""
INPUTS = {"with_s": " w/ S", "without_s": " w/o S"}


def printed(items: str) -> pd.DataFrame:
    """The numbers of the items whose ids begin so (``"table"``, ``"fig"``, ``"demo_kernel"``), one a row.

    Returns
    -------
    DataFrame
        ``figure`` (or table: "Figure 1", "Table 1", "demo_linear"), ``dataset``, ``k`` (as "k=2", or missing),
        ``dataset_or_k``, ``split``, ``method``, ``metric``, ``value``, and, missing where they do not apply, ``stat``,
        ``trial``, ``vertex``.
    """
    return _printed(items).copy()


@lru_cache
def _printed(items: str) -> pd.DataFrame:
    frame = published("mp_fair_regression")
    frame = frame[frame["item"].str.startswith(items)].reset_index(drop=True)
    rows = []
    for item, dataset, defense, setting in frame[["item", "dataset", "defense", "setting"]].itertuples(index=False):
        parts = dict(part.split("=") for part in setting.split(";"))
        weight, k = parts.get("weight"), parts.get("k")
        demo = item.startswith("demo")
        rows.append(
            {
                "figure": item if demo else item.replace("fig", "Figure ").replace("table", "Table "),
                "split": parts["split"].capitalize(),
                "method": METHODS[defense] + INPUTS.get(parts.get("inputs", ""), "")
                + ("" if weight is None else f"-{weight}" if demo else WEIGHTS[weight]),
                "k": k and f"k={k}",
                "dataset_or_k": f"k={k}" if k else dataset,
                "stat": parts.get("stat"),
                **{name: int(parts[name]) if name in parts else None for name in ("trial", "vertex")},
            }
        )  # fmt: skip
    named = frame[["dataset", "metric", "value"]].replace({"metric": {"COV": "Norm of Cov"}})
    return named.join(pd.DataFrame(rows, dtype=object))


def wide(items: str, keys: list[str], across: str = "stat") -> pd.DataFrame:
    """:func:`printed` with a column for each value of ``across``, in the print's order; rows without all keys go."""
    frame = printed(items).dropna(subset=[*keys, across]).infer_objects()
    found = frame.pivot(index=keys, columns=across, values="value")
    return found.loc[pd.MultiIndex.from_frame(frame[keys].drop_duplicates())].reset_index().rename_axis(columns=None)


def curves(figure: str) -> pd.DataFrame:
    """Printed vertices of Figure 2 or 7: dataset, split, method, vertex, MSE, SMD."""
    frame = wide("fig", ["figure", "dataset", "split", "method", "vertex"], "metric")
    return frame[frame["figure"].eq(figure)].drop(columns="figure")
