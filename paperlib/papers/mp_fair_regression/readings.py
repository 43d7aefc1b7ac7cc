"""Sentences below tables and figures of the mean-parity paper, each made from the numbers that were drawn."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd

from paperlib.papers.mp_fair_regression.tables import label_title


def _name(label: object) -> str:
    return label_title(str(label)).replace("\n", " ")


def _number(value: float) -> str:
    return f"{value:.3g}"


def _joined(texts: Iterable[str]) -> str:
    return "; ".join(texts)


def _change(medians: pd.DataFrame, base: str) -> str:
    return _joined(f"{_name(name)} {_number(row[base])} to {_number(row['Ours'])}" for name, row in medians.iterrows())


def boxes(frame: pd.DataFrame) -> str:
    """From the ordinary to the fair fit: what the constrained measure falls to on test rows, and the train MSE."""
    base = "OLS" if "OLS" in set(frame.method) else "KRR"
    measure = next(name for name in ("DPD", "Norm of Cov", "SMD") if name in set(frame.metric))

    def medians(metric: str, split: str) -> pd.DataFrame:
        part = frame[(frame.metric == metric) & (frame.split == split)]
        wide = part.pivot_table("median", "dataset_or_k", "method", sort=False)
        wide = wide.loc[sorted(wide.index, key=lambda name: (len(name), name))]  # k=2 before k=16
        return wide[[base, "Ours"]].dropna() if {base, "Ours"} <= set(wide) else pd.DataFrame()

    parts = [
        f"{title}: {_change(found, base)}"
        for title, found in (
            (f"Median test {measure} from {base} to MP", medians(measure, "Test")),
            ("median train MSE", medians("MSE", "Train")),
            ("median test MSE", medians("MSE", "Test")),
        )
        if len(found)
    ]
    return f"{'. '.join(part[0].upper() + part[1:] for part in parts)}."


def _means(frame: pd.DataFrame, metric: str, by: str) -> pd.DataFrame:
    mine = frame[(frame.metric == metric) & frame.ours.notna()].astype({"ours": float})
    return mine.pivot_table("ours", "dataset", by, sort=False)


def against_constant(frame: pd.DataFrame) -> str:
    """By what factor MP's test MSE is below the constant's, and how many cells are those in print."""
    mse = _means(frame, "MSE test", "defense")
    if not {"constant", "mp_fair"} <= set(mse):
        return ""
    texts = [f"{_name(name)} {row.constant / row.mp_fair:.3g}" for name, row in mse.iterrows()]
    return f"Test MSE of the constant over that of MP: {', '.join(texts)}."


def with_and_without(frame: pd.DataFrame) -> str:
    """On which sets it helps to leave the attribute out."""
    said = []
    for metric in ("MSE test", "SMD test"):
        both = _means(frame, metric, "setting").dropna()
        if {"inputs with s", "inputs without s"} <= set(both) and len(both):
            texts = [
                f"{_name(name)} {_number(row['inputs with s'])} and {_number(row['inputs without s'])}"
                for name, row in both.iterrows()
            ]
            rises = (both["inputs without s"] > both["inputs with s"]).sum()
            said.append(
                f"{metric} with and without the attribute: {_joined(texts)}; it rises on {rises} of {len(both)}"
            )
    return f"{'. '.join(said)}." if said else ""


def mean_shift(frame: pd.DataFrame) -> str:
    """How far the predictions of MP and of the mean shift lie apart."""
    texts = []
    for setting, part in frame.groupby("setting", sort=False):
        far = part["largest difference, test"].astype(float)
        texts.append(f"{setting}: {far.min():.1g} to {far.max():.1g}")
    return f"Largest difference of a prediction on test rows, smallest to largest over the data sets. {_joined(texts)}."


def cross_validation(frame: pd.DataFrame) -> str:
    """MP beside the constant, least squares and its own form without an intercept."""
    rows: Any = frame.set_index("method")
    r2 = [name for name in rows if name.startswith("R²")]
    smd = [name for name in rows if name.startswith("SMD")]
    if not {"OLS", "MP", "MP, no intercept"} <= set(rows.index):
        return ""
    above = sum(rows.loc["MP", name] > rows.loc["Constant", name] for name in r2)
    below = [_name(name[4:]) for name in r2 if rows.loc["MP, no intercept", name] < rows.loc["Constant", name]]
    falls = _joined(f"{_name(name[5:])} {rows.loc['OLS', name]:.2f} to {rows.loc['MP', name]:.3f}" for name in smd)
    others = [name for name in rows.index if "fairlearn" in name or name == "Mean shift"]
    near = max(abs(rows.loc[name, r2] - rows.loc["MP", r2]).max() for name in others) if others else np.nan
    text = f"MP has a higher R² than the constant on {above} of {len(r2)} sets; SMD from OLS to MP: {falls}."
    text += f" Without an intercept it is below the constant on {', '.join(below) or 'none'}."
    if others:
        text += f" The mean shift and the correlation remover have its R² to within {near:.1g}."
    return text


def densities(frame: pd.DataFrame) -> str:
    """How far apart the distributions of the groups stay."""
    one = frame.drop_duplicates(["dataset", "split", "quantity"])
    wide: Any = one.pivot_table("ks", ["dataset", "split"], "quantity", sort=False)
    texts = []
    for (name, split), row in wide.iterrows():
        before = f", {row.response:.2f} of the response" if "response" in row and pd.notna(row.response) else ""
        texts.append(f"{_name(name)}, {str(split).lower()} {row.prediction:.2f}{before}")
    return f"Kolmogorov distance of the groups in the fair predictions. {_joined(texts)}."


def descent(frame: pd.DataFrame) -> str:
    """Loss at the last step with and without the constraint, and the largest train SMD with it."""
    ours = frame[(frame.source == "ours") & (frame.split == "Train")]
    last = ours[ours.step == ours.step.max()].pivot_table("Loss", "dataset", "method", sort=False)
    texts = [f"{_name(name)} {_joined(f'{k} {_number(v)}' for k, v in row.items())}" for name, row in last.iterrows()]
    worst = ours[ours.method == "Fair-GD"].SMD.max()
    return f"Train loss at step {ours.step.max():g}. {_joined(texts)}. Largest train SMD of Fair-GD: {worst:.0e}."


def scaling(frame: pd.DataFrame) -> str:
    """Seconds at the largest number of rows that all methods share, and of the streamed fit."""
    wide = frame.pivot(index="n", columns="method", values="seconds")
    streamed = wide.pop("MP, streamed").dropna() if "MP, streamed" in wide else pd.Series(dtype=float)
    whole = wide.dropna()
    text = ""
    if len(whole):
        seconds = _joined(f"{name} {_number(value)}" for name, value in whole.iloc[-1].items())
        text = f"CPU seconds at n = {whole.index[-1]:,}: {seconds}. "
    if len(streamed):
        text += f"Streamed, {streamed.index[-1]:,} rows take {_number(streamed.iloc[-1])} s."
    return text.strip()


READINGS: dict[str, Callable[[pd.DataFrame], str]] = {
    **dict.fromkeys(("fig1", "fig3", "fig5", "fig6", "fig8", "fig9", "fig10"), boxes),
    "table1": against_constant,
    "table2": against_constant,
    "table3": with_and_without,
    "our_mean_shift": mean_shift,
    "our_cross_validation": cross_validation,
    "fig4": densities,
    "fig13": densities,
    "fig11": descent,
    "fig12": descent,
    "scaling": scaling,
}
"""Item -> from the frame that it was drawn from to what it says."""
