"""A table of attacks x defenses x settings as a value: its cells, its numbers, and what a reader may change in it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from paperlib import papers
from paperlib.defenses import DEFENSES
from paperlib.errors import PaperlibError
from paperlib.experiments.scales import LAPTOP, PAPER, SMOKE
from paperlib.experiments.specs import DefendSpec, TrainSpec
from paperlib.lab.spec import Spec
from paperlib.metrics import der, der_of_averages, mean_of_ders
from paperlib.papers import Results
from paperlib.papers.defense_table import (
    EACH,
    NEVER,
    DefenseTable,
    Setting,
    averages,
    backdoored,
    defended,
    learned,
    not_learned,
    paired,
    specs_of,
    tidy,
)
from paperlib.report.claims import NotRun
from paperlib.report.published import published

from .made_up import MadeUp, of_defense, setting, small, unlearned

TABLE = DefenseTable(("badnets", "blended"), ("ft", "ft_sam"))


def believable(spec: Spec) -> dict[str, Any]:
    asr = 97.0 if isinstance(spec, TrainSpec) else 10.0
    return {"c_acc": 88 + small(spec), "asr": asr + small(spec), "r_acc": 1.0, "seconds": 3.0, "asr_2": 5.0}


paper = MadeUp("ft_sam", believable)


def names(table: DefenseTable, scale: Any = SMOKE) -> list[tuple[str, str, str]]:
    return [cell[:3] for cell in table.cells(scale)]


# -------------------------------------------------------------------------------------------------------- the value


def test_cells_are_all_attacks_undefended_and_after_every_defense() -> None:
    assert names(TABLE) == [(a, d, "") for a in ("badnets", "blended") for d in ("none", "ft", "ft_sam")]
    for attack, defense, _, spec, parent in TABLE.cells(LAPTOP, 3):
        assert (parent.attack, parent.ratio, parent.seed, parent.dataset) == (attack, 0.1, 3, "cifar10")
        assert spec == parent if defense == "none" else spec.parents() == (parent,)
    assert names(replace(TABLE, undefended=NEVER)) == [n for n in names(TABLE) if n[1] != "none"]
    assert DefenseTable(["blended"], ["none", "ft"]) == DefenseTable(("blended",), ("ft",))  # type: ignore[arg-type]


def test_several_ratios_models_and_clean_sets() -> None:
    found = replace(TABLE, attacks=("blended",), ratio=(0.05, 0.1), model=("preact_resnet18", "vgg19")).cells(SMOKE)
    assert {(c.parent.ratio, c.parent.model) for c in found} == {
        (r, m) for r in (0.05, 0.1) for m in ("preact_resnet18", "vgg19")
    }
    few = replace(TABLE, attacks=("blended",), defenses=("ft",), clean_ratio=(0.05, 0.01))
    assert names(few) == [("blended", "none", "")] + [("blended", "ft", f"clean_ratio={r}") for r in (0.05, 0.01)]
    assert [c.spec.n_clean for c in few.cells(PAPER)[1:]] == [2500, 500]  # type: ignore[attr-defined]
    assert few.cells(PAPER)[1].spec.key == replace(few, clean_ratio=0.05).cells(PAPER)[1].spec.key
    counted = replace(few, n_clean=(40, 30), undefended=EACH)
    assert names(counted) == [("blended", d, f"clean_samples={n}") for n in (40, 30) for d in ("none", "ft")]


def test_a_setting_changes_the_training_or_the_defense() -> None:
    hard = Setting("epochs=2", training={"epochs": 2})
    soft = Setting("rho=1", params={"rho": 1})
    found = replace(TABLE, attacks=("blended",), defenses=("ft_sam",), settings=(hard, soft)).cells(SMOKE)
    assert [(c.defense, c.setting) for c in found] == [
        ("none", ""), ("ft_sam", "epochs=2"), ("none", ""), ("ft_sam", "rho=1")
    ]  # fmt: skip
    assert [c.parent.epochs for c in found] == [2, 2, SMOKE.epochs, SMOKE.epochs]
    assert [dict(c.spec.params).get("rho") for c in found[1::2]] == [SMOKE.rho, 1]  # type: ignore[attr-defined]


def test_names_of_attacks_and_defenses() -> None:
    everything = backdoored(SMOKE, "blended_a2a")
    assert everything.attack == "blended" and dict(everything.attack_params)["labels"] == "all_to_all"
    assert backdoored(SMOKE, "badnets_a2a").attack == "badnets_a2a"
    two = backdoored(SMOKE, "lf+badnets")
    assert two.attack == "lf" and dict(two.second) == {"attack": "badnets", "ratio": 0.1, "target": 1}
    parent = backdoored(PAPER, "blended")
    assert defended(PAPER, parent, "none") == parent
    assert dict(defended(PAPER, parent, "npd_tu").params)["target"] == 0  # type: ignore[attr-defined]
    told = defended(PAPER, backdoored(PAPER, "badnets_a2a"), "npd_tp")
    assert dict(told.params)["target"] == "next"  # type: ignore[attr-defined]
    assert "target" not in dict(defended(PAPER, parent, "npd_up").params)  # type: ignore[attr-defined]
    scratch = defended(PAPER, parent, "at_from_scratch")
    assert isinstance(scratch, TrainSpec) and scratch.adversarial == 8 / 255 and scratch.attack == "blended"


def test_defenses_that_need_batch_norm_are_left_out_where_there_is_none() -> None:
    found = names(DefenseTable(("blended",), ("ft", "anp", "anp+ft"), model="vgg19"))
    assert [defense for _, defense, _ in found] == ["none", "ft"]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"attacks": ("blendet",)}, "attack='blendet' is unknown; did you mean 'blended'"),
        ({"attacks": ("lf+badnet",)}, "second attack='badnet' is unknown"),
        ({"defenses": ("ft_sm",)}, "defense='ft_sm' is unknown; did you mean 'ft_sam'"),
        ({"defenses": ("anp+fd",)}, "defense='fd' is unknown"),
        ({"model": "resnet"}, "model='resnet' is unknown"),
        ({"ratio": 5}, "ratio=5"),
        ({"clean_ratio": 5}, "clean_ratio=5 must lie between 0 and 1"),
        ({"n_clean": 0}, "n_clean=0 must be a whole number of clean images"),
        ({"seeds": (-1,)}, r"seeds=\[-1\] must be whole numbers"),
    ],
)
def test_a_wrong_value_is_said_before_anything_is_planned(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(PaperlibError, match=sentence):
        replace(TABLE, **fields)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (
            {"n_clean": 5_000},
            r"n_clean=5000 \(from clean_samples=5000\) must lie between 1 and the 1,240 training images",
        ),
        ({"attacks": []}, "attacks names none; give at least one"),
        ({"clean_ratio": 0.0001}, "n_clean=0 .from clean_ratio=0.0001. must lie between 1 and"),
        ({"dataset": "cifar11"}, "dataset='cifar11' is unknown; did you mean 'cifar10'"),
    ],
)
def test_what_a_scale_cannot_run_is_said_when_it_is_planned(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(PaperlibError, match=sentence):
        papers.items("ft_sam")["table1"].changed(**fields).specs(SMOKE, 0)


def test_a_defense_of_the_reader_is_a_column(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DEFENSES, "mine", replace(DEFENSES["ft"], title="Mine"))
    item = papers.items("ft_sam")["table1"].changed(attacks=["blended"], defenses=["ft", "mine"])
    made = item.draw(paper.results(item.specs(SMOKE, 0)))
    assert set(made.frame[made.frame.ours.notna()].defense) == {"none", "ft", "mine"} and ">Mine<" in made.fragment


# ------------------------------------------------------------------------------------------------------ the numbers


def test_tidy_has_a_row_for_each_number_and_none_for_a_gap() -> None:
    cells = TABLE.cells(SMOKE)
    lost = cells[1].spec
    results = paper.results(specs_of(cells), without=[lost])
    frame = tidy(results, cells, ("ACC", "ASR", "R-ACC", "DER"))
    assert len(frame) == 2 * 3 + 3 * 4 and not frame.query("attack == 'badnets'").defense.eq("ft").any()
    before, after = results.need(cells[3].spec), results.need(cells[4].spec)
    row = frame[(frame.attack == "blended") & (frame.defense == "ft")].set_index("metric").value
    assert row["DER"] == pytest.approx(
        der(before["c_acc"], before["asr"], after["c_acc"], after["asr"], unit="percent")
    )
    assert tidy(results, cells).metric.isin(["ACC", "ASR", "DER"]).all()
    two = DefenseTable(("lf+badnets",), ("ft",)).cells(SMOKE)
    rates = tidy(paper.results(specs_of(two)), two, ("ASR-1", "ASR-2"))
    assert set(rates.attack) == {"lf+badnets"} and rates.metric.tolist() == ["ASR-1", "ASR-2"] * 2


def test_averages_by_both_rules_over_the_learned_attacks() -> None:
    cells = TABLE.cells(SMOKE)
    results = paper.results(specs_of(cells))
    pairs = [(results.need(c.parent), results.need(c.spec)) for c in cells if c.defense == "ft"]
    lists = [[pair[side][key] for pair in pairs] for side in (0, 1) for key in ("c_acc", "asr")]
    mean = averages(results, cells).set_index("defense")
    assert mean.der_of_mean["ft"] == pytest.approx(der_of_averages(*lists, unit="percent"))
    assert mean.der_mean["ft"] == pytest.approx(mean_of_ders(*lists, unit="percent"))
    assert mean.asr["ft"] == pytest.approx(np.mean(lists[3])) and mean.n.tolist() == [2, 2, 2]
    one = averages(paper.results(specs_of(cells), change=unlearned("badnets")), cells)
    assert one.n.tolist() == [1, 1, 1] and one.asr.max() < 100
    with pytest.raises(NotRun):
        averages(Results(SMOKE, 0, {}), cells)


def test_what_an_attack_that_was_not_learned_lacks_decides_nothing() -> None:
    cells = TABLE.cells(SMOKE)
    lacking = [cell.spec for cell in cells if cell.attack == "badnets" and cell.defense == "ft"]
    results = paper.results(specs_of(cells), change=unlearned("badnets"), without=lacking)
    assert {cell.attack for cell, _, _ in paired(results, cells)} == {"blended"}
    with pytest.raises(NotRun):
        list(paired(paper.results(specs_of(cells), without=lacking), cells))


def test_a_backdoor_that_was_not_learned_is_named_with_its_ratio_where_there_are_several() -> None:
    parents = [backdoored(SMOKE, "blended", ratio) for ratio in (0.05, 0.1)]
    results = paper.results(parents, change=setting(lambda spec: spec == parents[0], asr=8.26))
    assert "Blended at 5 % (ASR 8.3)." in not_learned(results, parents)
    assert "Blended (ASR 8.3)." in not_learned(results, parents[:1]) and not not_learned(results, parents[1:])


def test_learned_needs_every_result_and_one_backdoor() -> None:
    parents = [backdoored(SMOKE, name) for name in TABLE.attacks]
    assert learned(paper.results(parents, change=unlearned("badnets")), parents) == parents[1:]
    with pytest.raises(NotRun, match="badnets, blended reaches an ASR of 50 at smoke scale"):
        learned(paper.results(parents, change=setting(lambda spec: True, asr=49.9)), parents)
    with pytest.raises(NotRun, match="has no result"):
        learned(paper.results(parents[:1]), parents)


# ------------------------------------------------------------------------------------- beside the printed numbers


def test_several_seeds_give_means_and_standard_deviations() -> None:
    item = papers.items("ft_sam")["table1"]
    every = [spec for seed in range(3) for spec in item.specs(SMOKE, seed)]
    results = paper.results(every)
    made = paper.drawn("table1", results)
    assert "seeds 0, 1, 2: mean ± standard deviation" in made.caption and " ± " in made.fragment
    assert {spec.key for spec in every} <= set(made.results)
    row = made.frame.query("attack == 'blended' and defense == 'ft_sam'").set_index("metric").loc["ASR"]
    parents = [backdoored(SMOKE, "blended", seed=seed) for seed in range(3)]
    rates = [results.need(defended(SMOKE, parent, "ft_sam"))["asr"] for parent in parents]
    assert row.ours == pytest.approx(np.mean(rates)) and row.sd == pytest.approx(np.std(rates, ddof=1))
    assert row.n_seeds == 3 and row.difference == pytest.approx(row.ours - row.published)
    wanted = "defense == 'ft' and metric == 'DER' and attack.str.startswith('average of')"
    singles = [paper.drawn("table1", paper.results(item.specs(SMOKE, s), seed=s)).frame.query(wanted) for s in range(3)]
    mine = made.frame.query(wanted)
    assert mine.ours.item() == pytest.approx(np.mean([one.ours.item() for one in singles]))
    gap = paper.results(every, without=[parents[2]])
    assert "seeds 0, 1: mean" in paper.drawn("table1", gap).caption  # a seed with a gap does not count


def test_the_own_defense_is_the_first_column_after_the_undefended() -> None:
    made = paper.drawn("table1")
    assert list(dict.fromkeys(made.frame.defense))[:2] == ["none", "ft_sam"]
    order = [made.fragment.index(f">{name}</th>") for name in ("No defense", "FT-SAM", "FT")]
    assert order == sorted(order)
    printed = published("ft_sam", "table1")
    assert list(dict.fromkeys(made.frame.attack)) == [*dict.fromkeys(printed.attack), "average of 2"]


def test_a_reader_s_choice_of_attacks_and_defenses_keeps_the_printed_numbers() -> None:
    item = papers.items("ft_sam")["table1"].changed(attacks=["blended"], defenses=["ft", "ft_sam"])
    assert len(item.specs(LAPTOP, 0)) == 3
    made = item.draw(paper.results(item.specs(SMOKE, 0)))
    assert "not the paper's setting (attacks Blended; defenses FT, FT-SAM); 1 of 10 attacks" in made.caption
    assert made.frame[made.frame.ours.notna()].published.notna().all()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"ratio": 0.05}, "5 % poisoned"),
        ({"n_clean": 40}, "40 clean images for the defender"),
        ({"model": "vgg19"}, "VGG19 of width"),
        ({"seeds": [3, 4], "ratio": 0.05}, "seeds 3, 4: mean"),
    ],
)
def test_another_setting_is_ours_alone_and_says_so(changes: dict[str, Any], text: str) -> None:
    item = papers.items("ft_sam")["table1"].changed(attacks=["blended"], **changes)
    specs = item.specs(SMOKE, 0)
    made = item.draw(paper.results(specs))
    assert made.frame.published.isna().all() and text in made.caption and "not the paper's setting" in made.caption
    assert {s.key for s in specs} <= set(made.results)


def test_several_ratios_of_a_reader_become_rows() -> None:
    item = papers.items("ft_sam")["table1"].changed(attacks=["blended"], ratio=[0.05, 0.1], clean_ratio=[0.01, 0.05])
    made = item.draw(paper.results(item.specs(SMOKE, 0)))
    assert ">Ratio</th>" in made.fragment and ">Setting</th>" in made.fragment
    assert set(made.frame.ratio) == {0.05, 0.1} and "clean_ratio=0.01" in set(made.frame.setting)


def test_a_folder_of_the_reader_takes_the_place_of_the_data_set(tmp_path: Any) -> None:
    from PIL import Image

    for split, n in (("train", 30), ("test", 10)):
        for name in ("a", "b"):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            for k in range(n):
                Image.new("RGB", (16, 16), (8 * k, 0, 0)).save(folder / f"{k}.png")
    item = papers.items("ft_sam")["table1"].changed(attacks=["blended"], dataset=f"folder:{tmp_path}")
    specs = item.specs(SMOKE, 0)
    assert {s.dataset for s in specs if isinstance(s, TrainSpec)} != {SMOKE.dataset}
    made = item.draw(paper.results(specs))
    assert made.frame.published.isna().all() and set(made.frame.dataset) != {"digits"}


def test_what_cannot_be_changed_is_said() -> None:
    with pytest.raises(PaperlibError, match="parameter='attack' is unknown; did you mean 'attacks'"):
        papers.items("ft_sam")["table1"].changed(attack=["blended"])
    with pytest.raises(PaperlibError, match="attacks cannot be changed: this item takes no parameters"):
        papers.items("ft_sam")["fig3"].changed(attacks=["blended"])


def test_a_table_that_a_scale_does_not_run_is_run_when_it_is_asked_for() -> None:
    item = papers.items("polarizer")["table14"]
    assert not item.specs(LAPTOP, 0)
    specs = item.changed(attacks=["blended"], defenses=["ft"]).specs(LAPTOP, 0)
    assert {s.dataset for s in specs if isinstance(s, TrainSpec)} == {"cifar100"}
    assert [s for s in specs if isinstance(s, DefendSpec) and of_defense("ft", "blended")(s)]
