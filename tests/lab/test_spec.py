"""Keys of specs: the same on every machine, and changed by what decides a result alone."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from paperlib.errors import PaperlibError
from paperlib.experiments.specs import AnalysisSpec, CleanseSpec, DefendSpec, TrainSpec
from paperlib.lab.spec import Spec, from_dict, pairs

GOLDEN = Path(__file__).parents[1] / "golden" / "keys.json"


def golden_specs() -> dict[str, Spec]:
    train = TrainSpec(
        dataset="cifar10",
        n_train=10_000,
        width=16,
        attack="blended",
        attack_params=pairs(alpha=0.2, image="noise"),
        ratio=0.1,
        epochs=15,
        lr=0.05,
        schedule="one_cycle",
        seed=1,
        versions=pairs(blended=1, training=2),
    )
    defend = DefendSpec(
        parent=train,
        defense="ft_sam",
        params=pairs({"rho": 2.0, "epochs": 20, "betas": [0.9, 0.999], "adaptive": True, "note": "Größe"}),
        n_clean=500,
        versions=pairs(ft_sam=3),
    )
    cleanse = CleanseSpec(
        dataset="cifar10",
        n_train=10_000,
        noise="symmetric",
        noise_ratio=0.4,
        params=pairs(side=160),
        reference=2_000,
        target_fpr=0.1,
        versions=pairs(cleanse=1, engine=1),
    )
    return {
        "train, defaults": TrainSpec(dataset="digits", n_train=0, epochs=3),
        "train, everything set": train,
        "defend": defend,
        "analysis of both": AnalysisSpec(tool="tac", inputs=(train, defend), params=pairs(layer="layer4", k=None)),
        "analysis without models": AnalysisSpec(tool="count", inputs=()),
        "cleanse": cleanse,
        "train on a cleansed set": TrainSpec(
            dataset="cifar10", n_train=10_000, epochs=15, noise="symmetric", noise_ratio=0.4, cleansed=cleanse
        ),
    }


def test_keys_are_the_golden_ones():
    # If this fails, every stored result and ledger is orphaned. Change the file only with the version of the project.
    assert {name: spec.key for name, spec in golden_specs().items()} == json.loads(GOLDEN.read_text(encoding="utf-8"))


@pytest.mark.parametrize("hash_seed", ["0", "4242"])
def test_keys_do_not_depend_on_the_process(hash_seed):
    code = (
        "import json, sys; from lab.test_spec import golden_specs; assert 'torch' not in sys.modules;"
        "print(json.dumps({name: spec.key for name, spec in golden_specs().items()}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[1],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == json.loads(GOLDEN.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", golden_specs())
def test_round_trip_through_json(name):
    spec = golden_specs()[name]
    again = from_dict(json.loads(json.dumps(spec.to_dict())))
    assert again.key == spec.key and again.label == spec.label
    assert [above.key for above in again.ancestry()] == [above.key for above in spec.ancestry()]


def test_order_of_parameters_and_integral_floats_do_not_matter():
    spec = golden_specs()["defend"]
    assert replace(spec, params=pairs(dict(reversed(spec.params)))).key == spec.key
    assert replace(spec, params=pairs(dict(spec.params), rho=2)).key == spec.key


def test_every_setting_matters():
    specs = golden_specs()
    train, defend = specs["train, everything set"], specs["defend"]
    changed = [
        replace(train, seed=2),
        replace(train, ratio=0.05),
        replace(train, attack_params=pairs(alpha=0.3, image="noise")),
        replace(train, versions=pairs(blended=2, training=2)),
        replace(defend, parent=replace(train, seed=2)),
        replace(defend, params=pairs(dict(defend.params), adaptive=False)),
        replace(defend, versions=()),
    ]
    keys = [spec.key for spec in (*specs.values(), *changed)]
    assert len(set(keys)) == len(keys)


def test_version_of_a_method_changes_the_keys_of_what_depends_on_it_alone():
    train = golden_specs()["train, everything set"]
    sam, ft = (DefendSpec(parent=train, defense=name, versions=pairs({name: 1})) for name in ("ft_sam", "ft"))
    plot = AnalysisSpec(tool="tac", inputs=(sam,))
    mended = replace(sam, versions=pairs(ft_sam=2))
    assert mended.key != sam.key and replace(plot, inputs=(mended,)).key != plot.key
    assert mended.parent.key == train.key and ft.key == DefendSpec(parent=train, defense="ft", versions=pairs(ft=1)).key


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"kind": "trian"}, ["kind='trian'", "train"]),
        ({"kind": "train", "dataset": "digits", "n_train": 1, "epochs": 1, "epoch": 3}, ["'epoch'", "epochs"]),
        ({"kind": "train", "dataset": "digits"}, ["incomplete", "epochs"]),
    ],
)
def test_unreadable_specs_say_why(data, words):
    with pytest.raises(PaperlibError) as error:
        from_dict(data)
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object()])
def test_values_without_a_canonical_form_are_refused(value):
    with pytest.raises(PaperlibError, match="have a key"):
        _ = TrainSpec(dataset="digits", n_train=1, epochs=1, attack_params=pairs(x=value)).key
