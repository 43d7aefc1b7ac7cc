"""What holds for every defense: the model it is given stays as it was, the seed decides, its output can be stored and
read."""

from functools import cache
from typing import Any

import pytest
import torch
from image_toy import images, model, same, state
from torch import nn

from paperlib import training
from paperlib.data.images import ImageData
from paperlib.defenses import CLEAN, DEFENSES, POISONED, defend, purify
from paperlib.errors import PaperlibError
from paperlib.experiments import plan
from paperlib.experiments.scales import SMOKE
from paperlib.registry import Method
from paperlib.training import Recipe, fit, load_weights, save_weights

SHORT = {
    "epochs": 1,
    "iterations": 4,
    "inversion_epochs": 2,
    "warm_up": 1,
    "rounds": 1,
    "teacher_epochs": 1,
    "steps": 2,
}
"""Sizes that suffice to see that something happens, wherever a method has them."""


@cache
def data() -> ImageData:
    return images(40, size=16)


@cache
def trained() -> nn.Module:
    made = model(data())
    fit(made, data(), Recipe(4, 8, 0.05), seed=0)
    made.zero_grad()
    return made


def params(name: str) -> dict[str, Any]:
    """The method's settings at smoke scale, shortened."""
    found = dict(plan.defend(SMOKE, plan.train(SMOKE, "badnets"), name).params)
    known = DEFENSES.settings(name, **found)
    short = {field: value for field, value in SHORT.items() if hasattr(known, field)}
    return {**found, **short, **({"epochs": 5} if name == "abl" else {})}  # ABL shares its epochs among three phases


def given(name: str) -> dict[str, Any]:
    return {CLEAN: {"clean": data()}, POISONED: {"poisoned": data()}}.get(DEFENSES[name].access, {})


@pytest.mark.parametrize("name", ["ft", "ft_sam", "nad", "mcr", "fp"])
def test_fine_tuning_on_the_clean_subset_uses_every_image(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, sizes = trained(), []
    augment = training.augment

    def counted(x: torch.Tensor, *more: Any) -> torch.Tensor:
        sizes.append(len(x))
        return augment(x, *more)

    monkeypatch.setattr(training, "augment", counted)
    defend(model, method=name, clean=data(), **{**params(name), "batch_size": 15})
    assert set(sizes) == {15, 10} and sizes.count(15) == 2 * sizes.count(10)  # 40 = 15 + 15 + 10


def run(name: str, seed: int = 3) -> nn.Module:
    return defend(trained(), method=name, seed=seed, **given(name), **params(name))


@pytest.mark.parametrize("name", DEFENSES)
def test_the_model_stays_the_seed_decides_and_the_result_can_be_stored(name: str, tmp_path: Any) -> None:
    before, mode = state(trained()), trained().training
    pixels, labels = data().x.clone(), data().y.clone()
    first = run(name)
    assert same(before, state(trained())) and trained().training == mode
    assert all(w.grad is None for w in trained().parameters())
    assert torch.equal(data().x, pixels) and torch.equal(data().y, labels)
    assert first is not trained() and not first.training

    torch.manual_seed(99)  # torch's global generator must not matter
    assert same(state(first), state(run(name)))

    method = DEFENSES[name]
    save_weights(first, tmp_path / "weights.safetensors")
    again = model(data(), seed=7)
    if method.adapt:
        config = DEFENSES.settings(name, **params(name))
        again = Method(method.module, method.adapt, method.title).load()(again, config)
    load_weights(again, tmp_path / "weights.safetensors")
    x = data().float()
    with torch.no_grad():
        assert torch.equal(again(x), first(x))


@pytest.mark.parametrize("name", DEFENSES)
def test_notes_are_small_json(name: str) -> None:
    import json

    _, notes = purify(trained(), method=name, seed=0, **given(name), **params(name))
    assert len(json.dumps(notes)) < 5_000


@pytest.mark.parametrize("name", [n for n, m in DEFENSES.items() if m.access in (CLEAN, POISONED)])
def test_missing_data_is_named(name: str) -> None:
    argument = "clean" if DEFENSES[name].access == CLEAN else "poisoned"
    with pytest.raises(PaperlibError, match=f"give it as {argument}="):
        defend(trained(), method=name)


def test_pairs_of_tensors_are_taken_as_they_come() -> None:
    floats = defend(trained(), method="ft", clean=(data().float(), data().y), epochs=1, batch_size=20)
    integers = defend(trained(), method="ft", clean=(data().x, data().y.int()), epochs=1, batch_size=20)
    assert same(state(floats), state(integers))


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (torch.full((8, 3, 8, 8), 2.0), torch.arange(8), "must lie in"),
        (torch.zeros(8, 3), torch.arange(8), r"\(N, C, H, W\)"),
        (torch.zeros(8, 3, 8, 8), torch.arange(8) / 2, "labels must be integers"),
        (torch.zeros(8, 3, 8, 8), torch.arange(8) - 1, "integers from 0"),
    ],
)
def test_unusable_tensors_are_refused(x: torch.Tensor, y: torch.Tensor, words: str) -> None:
    with pytest.raises(PaperlibError, match=words):
        defend(trained(), method="ft", clean=(x, y))


def test_weights_that_are_no_numbers_are_refused() -> None:
    broken = model(data())
    with torch.no_grad():
        broken.get_buffer("layer1.0.bn1.running_var").fill_(float("nan"))
    for name in DEFENSES:
        with pytest.raises(PaperlibError, match="not finite"):
            defend(broken, method=name, **given(name))


def test_choosing_by_test_data_needs_a_judge() -> None:
    for name in ("anp", "fp"):
        with pytest.raises(PaperlibError, match="selection='validation'"):
            defend(trained(), method=name, clean=data(), selection="paper")
