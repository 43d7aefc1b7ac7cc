"""The sentences below the mean-parity paper's items follow the numbers that were drawn."""

import pandas as pd

from paperlib.papers import mp_fair_regression
from paperlib.papers.mp_fair_regression.readings import READINGS


def test_every_reading_is_of_an_item() -> None:
    assert set(READINGS) <= {**mp_fair_regression.ITEMS, **mp_fair_regression.OURS}.keys()


def test_boxes_are_read_from_the_ordinary_to_the_fair_fit() -> None:
    rows = [("k=10", "OLS", 0.4), ("k=10", "Ours", 0.02), ("k=2", "OLS", 0.3), ("k=2", "Ours", 0.01)]
    frame = pd.DataFrame(rows, columns=["dataset_or_k", "method", "median"]).assign(metric="SMD", split="Test")
    assert READINGS["fig3"](frame) == "Median test SMD from OLS to MP: k=2 0.3 to 0.01; k=10 0.4 to 0.02."


def test_leaving_the_attribute_out_is_judged_by_the_numbers() -> None:
    rows = [("adult", "inputs with s", 0.1), ("adult", "inputs without s", 0.2)]
    frame = pd.DataFrame(rows, columns=["dataset", "setting", "ours"]).assign(metric="MSE test")
    assert READINGS["table3"](frame).endswith("Adult 0.1 and 0.2; it rises on 1 of 1.")
    assert READINGS["table3"](frame.assign(ours=[0.2, 0.1])).endswith("it rises on 0 of 1.")


def test_cross_validation_names_where_the_form_without_an_intercept_fails() -> None:
    columns = ["method", "R², Adult", "R², Law School", "SMD, Adult"]
    rows = [
        ("Constant", 0.0, 0.0, 0.0), ("OLS", 0.4, 0.2, 0.5), ("MP", 0.3, 0.1, 0.01),
        ("MP, no intercept", 0.3, -0.1, 0.01),
        ("Mean shift", 0.3, 0.15, 0.01),
    ]  # fmt: skip
    found = READINGS["our_cross_validation"](pd.DataFrame(rows, columns=columns))
    assert "than the constant on 2 of 2 sets; SMD from OLS to MP: Adult 0.50 to 0.010." in found
    assert "below the constant on Law School." in found and found.endswith("to within 0.05.")
