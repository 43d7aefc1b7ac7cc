"""Sentences of the image papers' items, on made-up numbers: another number is another sentence."""

from types import ModuleType

import pandas as pd
import pytest

from paperlib.papers import benchmark, ft_sam, polarizer, sau, selection


@pytest.mark.parametrize("module", [benchmark, ft_sam, polarizer, sau, selection])
def test_every_reading_is_of_an_item(module: ModuleType) -> None:
    assert set(module.READINGS) <= {**module.ITEMS, **module.OURS}.keys()


@pytest.mark.parametrize(("shared", "said"), [(8.0, "shared examples 8.0"), (2.0, "shared examples 2.0")])
def test_sau_s_distances(shared: float, said: str) -> None:
    frame = pd.DataFrame({"kind": ["clean", "shared", "other"], "distance": [4.0, shared, 6.0]})
    assert said in sau.READINGS["fig4"](frame)


def test_sau_s_risks() -> None:
    frame = pd.DataFrame(
        {"epoch": [0, 1] * 2, "measure": ["backdoor"] * 2 + ["c_acc"] * 2, "value": [0.9, 0.1, 71, 68]}
    )
    assert sau.READINGS["fig5"](frame) == "From the first epoch to the last: R_bd 0.90 to 0.10, C-Acc 71 to 68."


def test_sau_s_shared_examples() -> None:
    row = {"Attack": "Blended", "Model": "after FT", "Examples by": "SAU's inner problem"}
    frame = pd.DataFrame([{**row, "Type I": 3, "Type II": 1, "Type III": 6}])
    assert sau.READINGS["table1"](frame).endswith("Blended: after FT 3 of 10.")


@pytest.mark.parametrize(("targeted", "said"), [(9.0, "targeted at T"), (4.0, "targeted at y', targeted at T")])
def test_npd_s_stand_in(targeted: float, said: str) -> None:
    frame = pd.DataFrame({"kind": ["clean", "targeted", "known", "untargeted"], "distance": [8.0, targeted, 3.0, 9.0]})
    assert polarizer.READINGS["fig4"](frame).endswith(f"Nearer than the clean image: {said}.")


def test_npd_s_seconds() -> None:
    frame = pd.DataFrame({"Defense": ["NPD", "FT", "NC"], "Seconds": [10.0, 5.0, 70.0]})
    assert polarizer.READINGS["table9"](frame) == "NPD takes 10 s here; 1 of 2 other defenses take less."
    assert polarizer.READINGS["table9"](frame[1:]) == ""


def test_ft_sam_s_norms() -> None:
    rows = [("none", 1.0), ("ft", 1.1), ("ft_sam", 0.9)]
    frame = pd.DataFrame(rows, columns=["model", "norm"]).assign(panel="norms", attack="blended")
    assert ft_sam.READINGS["fig5"](frame).endswith("Blended: FT +10.0 %, FT-SAM -10.0 %.")


def test_ft_sam_s_radius() -> None:
    rows = [
        (rho, metric, value)
        for rho, a, b in ((1, 80.0, 70.0), (8, 5.0, 60.0))
        for metric, value in (("ASR", a), ("C-Acc", b))
    ]
    frame = pd.DataFrame(rows, columns=["rho", "metric", "value"]).assign(attack="blended")
    assert "from 80.0 to 5.0, the C-Acc from 70.0 to 60.0" in ft_sam.READINGS["fig3"](frame)


@pytest.mark.parametrize(
    ("gain", "said"), [(5.0, "5.0 ± 0.0 points ahead of Random ("), (-5.0, "5.0 ± 0.0 points behind Random (")]
)
def test_lps_in_pairs(gain: float, said: str) -> None:
    rows = [(s, name, 50.0 + gain * (name == "lps")) for s in (0, 1) for name in ("random", "lps")]
    assert said in selection.READINGS["digits"](pd.DataFrame(rows, columns=["seed", "strategy", "asr"]))
    assert selection.READINGS["digits"](pd.DataFrame(rows[:2], columns=["seed", "strategy", "asr"])) == ""


def test_a_selection_that_was_not_learned_says_nothing_of_defenses() -> None:
    rows = [("lps", "none", 0, 72.0), ("lps", "fp", 0, 20.0), ("random", "none", 0, 19.0), ("random", "fp", 0, 5.0)]
    rows += [("random", "none", 1, 99.0)]  # a seed without a defense
    found = selection.READINGS["table_defenses"](pd.DataFrame(rows, columns=["strategy", "defense", "seed", "asr"]))
    assert found == "LPS begins at an ASR of 72.0; after FP 20.0. Random was not learned (ASR 19.0)."


def test_learning_forgetting_and_altered_triggers() -> None:
    epochs = pd.DataFrame(
        {"attack": "blended", "epoch": [1, 2, 3], "acc_poisoned": [20, 60, 99], "acc_clean": [10, 20, 30]}
    )
    assert benchmark.READINGS["fig_quick_learning"](epochs).endswith(
        "poisoned samples after epoch 2, clean samples never."
    )
    rows = [("clean", 0, 10), ("clean", "never learned", 90), ("poisoned", 0, 60), ("poisoned", 1, 40)]
    events = pd.DataFrame(rows, columns=["group", "times", "samples"]).assign(attack="blended")
    assert benchmark.READINGS["fig_forgetting"](events).endswith("Blended: poisoned 60 %, clean 10 %.")
    rows = [(0.05, 0.1, 99.0), (0.1, 0.1, 20.0), (0.1, 0.2, 90.0)]
    altered = pd.DataFrame(rows, columns=["ratio", "value", "asr"]).assign(attack="blended", altered="alpha")
    assert benchmark.READINGS["fig_trigger_generalisation"](altered).endswith("Blended, alpha: 0.2 of 0.1, 0.2.")
