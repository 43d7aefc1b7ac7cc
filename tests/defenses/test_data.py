"""Defenses that work on the poisoned training set: their pieces by hand, and what they do to a toy model."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from image_toy import images, model, same, scene, state
from torch import Tensor, nn

from paperlib.data.images import ImageData
from paperlib.defenses import DEFENSES, POISONED, abl, dbd, filtering, purify
from paperlib.detection import Detection
from paperlib.errors import PaperlibError
from paperlib.experiments.scales import LAPTOP
from paperlib.models import fresh
from paperlib.models.layers import last_linear
from paperlib.training import Recipe, fit

FAST = {
    "ac": {"epochs": 1, "batch_size": 20, "rule": "smaller"},
    "ss": {"epochs": 1, "batch_size": 20},
    "abl": {"epochs": 3, "batch_size": 20, "isolation": 0.1},
    "dbd": {
        "simclr_epochs": 1, "simclr_batch": 20, "linear_epochs": 1, "linear_batch": 20, "epochs": 1, "iterations": 2,
        "batch_size": 8,
    },
    "d_br": {"pretrain_epochs": 1, "feature_epochs": 1, "epochs": 1, "batch_size": 20, "poisoned_share": 0.1},
}  # fmt: skip


@pytest.fixture
def data() -> ImageData:
    return images()


def poisoned() -> tuple[ImageData, Tensor]:
    """40 toy images, eight of them with the BadNets trigger and label 0."""
    made = scene(images()).poisoned
    assert made is not None
    return made.data, made.mask


# ------------------------------------------------------------------------------------------------ all of them together


@pytest.mark.parametrize("method", sorted(FAST))
def test_the_model_that_was_given_stays_and_a_seed_decides(method: str) -> None:
    assert DEFENSES[method].access == POISONED
    data, _ = poisoned()
    made = model(data).eval()
    before, pixels, rng = state(made), data.x.clone(), torch.get_rng_state()
    told: list[float] = []
    purified, notes = purify(
        made, poisoned=data, method=method, seed=3, progress=lambda f, t: told.append(f), **FAST[method]
    )
    assert same(before, state(made)) and torch.equal(data.x, pixels) and torch.equal(rng, torch.get_rng_state())
    assert all(w.grad is None for w in made.parameters()) and not purified.training and told
    assert not same(before, state(purified)) and all(torch.isfinite(w).all() for w in purified.parameters())
    again, _ = purify(made, poisoned=data, method=method, seed=3, **FAST[method])
    assert same(state(purified), state(again))
    assert all(isinstance(name, str) for name in notes)


@pytest.mark.parametrize("method", sorted(FAST))
def test_without_the_poisoned_set(data: ImageData, method: str) -> None:
    with pytest.raises(PaperlibError, match="works on the poisoned training set; give it as poisoned="):
        purify(model(data), clean=data, method=method)


# ------------------------------------------------------------------------------------------------------- AC and SS


def test_a_filter_trains_a_fresh_model_on_what_is_left(data: ImageData) -> None:
    flagged = torch.arange(40) % 4 == 2
    config = filtering.SS(epochs=2, batch_size=10, lr=0.05, schedule="constant")
    found, notes = filtering.retrained(model(data), data, Detection(flagged.float(), flagged), config, 5, None)
    expected = fresh(model(data), 5)
    fit(expected, data.subset(~flagged), Recipe(2, 10, 0.05, "constant"), seed=5)
    assert same(state(found), state(expected)) and notes == {"n_removed": 10}
    other = fresh(model(data), 5)
    fit(other, data, Recipe(2, 10, 0.05, "constant"), seed=5)
    assert not same(state(found), state(other))


def test_the_filters_take_the_settings_of_their_detectors(data: ImageData) -> None:
    _, few = purify(model(data), poisoned=data, method="ss", epochs=1, batch_size=10, share=0.1)
    _, one = purify(model(data), poisoned=data, method="ss", epochs=1, batch_size=10, share=0.5, target=1)
    assert (few["n_removed"], one["n_removed"]) == (4, 5)
    _, random = purify(model(data), poisoned=data, method="ac", epochs=1, batch_size=5, variant="benchmark2022")
    assert 0 < random["n_removed"] < 24
    assert filtering.AC().size == 0.35 and filtering.AC().epochs == 100


# ------------------------------------------------------------------------------------------------------------- ABL


def test_the_epochs_of_abl_are_the_papers_at_a_hundred() -> None:
    assert abl.lengths(abl.ABL()) == (20, 60, 20)
    assert abl.lengths(abl.ABL(epochs=15)) == (3, 9, 3)
    assert abl.lengths(abl.ABL(epochs=3)) == (1, 1, 1)
    assert abl.lengths(abl.ABL(**LAPTOP.changes["abl"])) == (5, 7, 12)
    with pytest.raises(PaperlibError, match=r"epochs=2 with tuning=0.2 and unlearning=0.2 leave no epoch"):
        abl.lengths(abl.ABL(epochs=2))


def test_ascent_raises_the_loss(data: ImageData) -> None:
    made = model(data)
    fit(made, data, Recipe(8, 20, 0.05, "constant"), seed=0)

    def loss() -> float:
        with torch.no_grad():
            return F.cross_entropy(made.eval()(data.float()), data.y).item()

    before = loss()
    fit(made, data, Recipe(3, 20, 0.02, "constant"), seed=0, step=abl.ascent_step)
    assert loss() > before + 0.05


def test_abl_unlearns_what_it_isolated(data: ImageData) -> None:
    """Isolated samples end with a higher loss than the same run without unlearning leaves them."""
    made = model(data)
    settings = {"epochs": 10, "batch_size": 20, "lr": 0.05, "tuning_lr": 0.05, "isolation": 0.2, "schedule": "constant"}
    runs = {rate: purify(made, poisoned=data, method="abl", unlearning_lr=rate, **settings) for rate in (0.0, 0.05)}
    kept, unlearned = runs[0.0][0], runs[0.05][0]
    assert runs[0.0][1] == runs[0.05][1] and runs[0.0][1]["n_isolated"] == 8
    assert sum(runs[0.0][1]["isolated_per_class"]) == 8
    with torch.no_grad():
        losses = [F.cross_entropy(m(data.float()), data.y, reduction="none") for m in (kept, unlearned)]
    assert losses[1].mean() > losses[0].mean()


# ------------------------------------------------------------------------------------------------------------- DBD


def test_nt_xent_equals_a_loop() -> None:
    g = torch.Generator().manual_seed(0)
    one, two = torch.randn(5, 7, generator=g).double(), torch.randn(5, 7, generator=g).double()
    z = [v / v.norm() for v in torch.cat([one, two])]
    total = 0.0
    for i in range(10):
        j = (i + 5) % 10
        below = sum(math.exp(float(z[i] @ z[k]) / 0.5) for k in range(10) if k != i)
        total -= math.log(math.exp(float(z[i] @ z[j]) / 0.5) / below)
    assert dbd.nt_xent(one, two, 0.5).item() == pytest.approx(total / 10)


def test_sharpening_by_hand() -> None:
    p = torch.tensor([[0.6, 0.3, 0.1], [1 / 3, 1 / 3, 1 / 3]])
    assert torch.allclose(dbd.sharpen(p, 0.5)[0], torch.tensor([0.36, 0.09, 0.01]) / 0.46)
    assert torch.allclose(dbd.sharpen(p, 0.5)[1], p[1]) and torch.allclose(dbd.sharpen(p, 1.0), p)


def test_the_symmetric_cross_entropy_by_hand() -> None:
    logits = torch.tensor([[math.log(0.7), math.log(0.2), math.log(0.1)]])
    found = dbd.symmetric_cross_entropy(logits, torch.tensor([1]), 0.1, 1.0)
    assert found.item() == pytest.approx(0.1 * -math.log(0.2) + (0.7 + 0.1) * -math.log(1e-4), rel=1e-5)


def test_views_are_random_and_stay_in_range() -> None:
    x = images(4, size=16).float()[:1].expand(12, -1, -1, -1)
    out = dbd.view(x, True, torch.Generator().manual_seed(0))
    assert out.shape == x.shape and out.min() >= 0 and out.max() <= 1
    assert len({tuple(v.flatten()[:50].tolist()) for v in out}) == 12
    grey = (out.std(1).amax((1, 2)) < 1e-6).sum()
    assert grey < 9  # a fifth of them on average


def test_the_backbone_is_frozen_while_the_last_layer_learns(data: ImageData) -> None:
    made = model(data)
    head = last_linear(made, "")[1]
    before = state(made)
    fit(made, data, Recipe(2, 20, 0.1, "constant"), seed=0, step=dbd.linear_step(head, 0.1, 1.0))
    changed = {name for name, value in state(made).items() if not torch.equal(value, before[name])}
    assert changed == {"linear.weight", "linear.bias"}
    with pytest.raises(PaperlibError, match=r"the model \(Sequential\) has no linear layer; DBD"):
        last_linear(nn.Sequential(nn.Conv2d(3, 4, 3)), "DBD")


def test_simclr_uses_no_label(data: ImageData) -> None:
    other = replace(data, y=data.y.flip(0))
    states = []
    for part in (data, other):
        made = model(data)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            projected = dbd.Projected(made, "layer4", 32, 8)
        step = dbd.simclr_step(0.5, True, torch.Generator().manual_seed(1))
        fit(projected, part, Recipe(2, 20, 0.1, "constant"), seed=0, step=step)
        states.append(state(made))
    assert same(*states) and not same(states[0], state(model(data)))


def test_mixmatch_learns_from_the_labelled_half(data: ImageData) -> None:
    made = model(data)
    labelled = torch.arange(40) % 8 < 4
    wrong = replace(data, y=torch.where(labelled, data.y, (data.y + 1) % 4))  # labels of the others are not to be used
    config = dbd.DBD(epochs=2, iterations=20, batch_size=16, lr=0.01, lambda_u=1.0)
    dbd.mixmatch(made, wrong, labelled, config, 0)
    with torch.no_grad():
        right = (made(data.float()).argmax(1) == data.y)[labelled].float().mean()
    assert right > 0.8
    twin = model(data)
    dbd.mixmatch(twin, data, labelled, config, 0)
    assert same(state(made), state(twin))


# ------------------------------------------------------------------------------------------------------------ D-BR


def test_d_br_takes_the_shares_it_says(data: ImageData) -> None:
    made, settings = model(data), FAST["d_br"]
    _, notes = purify(made, poisoned=data, method="d_br", **{**settings, "clean_share": 0.5, "poisoned_share": 0.2})
    assert (notes["n_clean_taken"], notes["n_poisoned_taken"]) == (20, 8) and sum(notes["poisoned_per_class"]) == 8


def test_d_br_starts_from_the_backdoored_model(data: ImageData) -> None:
    made = model(data)
    found, _ = purify(made, poisoned=data, method="d_br", **FAST["d_br"], removal_lr=0.0)
    before, after = state(made), state(found)
    assert all(torch.equal(after[name], before[name]) for name, _ in made.named_parameters())
