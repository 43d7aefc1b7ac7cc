"""NPD: the layer is the identity at first, only it is trained, and each loss and perturbation is what the paper
says."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from image_toy import images, model, same, state
from torch import Tensor, nn

from paperlib import models
from paperlib.data.images import ImageData
from paperlib.defenses import DEFENSES, VARIANTS, defend, npd, purify
from paperlib.defenses.npd import NPD, STRUCTURES, insert, losses, perturb, place, runner_up, suppression
from paperlib.errors import PaperlibError
from paperlib.models.default_layer import LayerChosen
from paperlib.training import Recipe, fit, load_weights, logits, save_weights

FAST = {"epochs": 1, "warm_up": 1, "batch_size": 20}


@pytest.fixture(scope="module")
def data() -> ImageData:
    return images(40, size=16, pad=0, flip=False)  # the last stage has 2 x 2 positions


@pytest.fixture(scope="module")
def trained(data: ImageData) -> nn.Module:
    made = model(data)
    fit(made, data, Recipe(10, 20, 0.1, "one_cycle"), seed=0)
    return made


def backbone(module: nn.Module) -> dict[str, Tensor]:
    return {name: value for name, value in state(module).items() if "polarizer" not in name}


# ---------------------------------------------------------------------------------------------------------- the layer


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_it_starts_as_the_identity_bit_for_bit(
    data: ImageData, trained: nn.Module, structure: str, precision: str
) -> None:
    made = insert(models.build("preact_resnet18", data, width=4), NPD(structure=structure)).eval()
    made.load_state_dict({**made.state_dict(), **trained.state_dict()})
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        assert torch.equal(made(data.float()), trained(data.float()))


def test_263168_parameters_before_the_last_block_of_the_papers_model() -> None:
    made = models.build("preact_resnet18", images(4), width=64)
    convolution = place(made)
    assert convolution is made.get_submodule("layer4.1.conv1")
    insert(made, NPD())
    assert sum(w.numel() for w in convolution.polarizer.parameters()) == 263_168 == 512 * 512 + 2 * 512


@pytest.mark.parametrize("params", [{}, {"bn_mode": "train"}, {"structure": "conv_bn_x2"}, {"structure": "linear"}])
def test_the_backbone_stays_bit_for_bit(data: ImageData, trained: nn.Module, params: dict[str, str]) -> None:
    before = state(trained)
    purified, notes = purify(trained, method="npd", clean=data, **FAST, **params)
    assert same(before, backbone(purified)) and same(before, state(trained))
    fresh = insert(model(data), NPD(**params)).eval()
    with torch.no_grad():
        fresh(data.float())
    for name, value in state(purified).items():
        if "polarizer" in name and name.endswith(("weight", "bias")):
            assert not torch.equal(value, fresh.state_dict()[name]), name
    assert not purified.training and notes["layer"] == "layer4.1.conv1"
    assert all(w.requires_grad for w in purified.parameters())


def test_the_warm_up_fills_the_statistics_and_the_rest_leaves_them(data: ImageData, trained: nn.Module) -> None:
    def statistics(**params: object) -> Tensor:
        made = defend(trained, method="npd", clean=data, **{**FAST, **params})
        return made.get_submodule("layer4.1.conv1").polarizer[1].running_mean

    assert torch.equal(statistics(warm_up=0), torch.zeros(32))
    assert torch.equal(statistics(epochs=1), statistics(epochs=2)) and statistics().abs().max() > 0
    assert not torch.equal(statistics(epochs=1, bn_mode="train"), statistics(epochs=2, bn_mode="train"))


def test_weights_are_read_back_into_a_fresh_layer(data: ImageData, trained: nn.Module, tmp_path) -> None:
    for structure in STRUCTURES:
        params = {**FAST, "structure": structure}
        purified = defend(trained, method="npd", clean=data, **params)
        save_weights(purified, tmp_path / "weights.safetensors")
        config = DEFENSES.settings("npd", **params)
        assert DEFENSES["npd"].adapt == "insert"
        again = load_weights(insert(model(data), config), tmp_path / "weights.safetensors")
        assert torch.equal(logits(again, data.x), logits(purified, data.x)), structure


def test_any_model_with_a_named_convolution(data: ImageData) -> None:
    made = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4)
    )
    purified, notes = purify(made, method="npd", clean=data, layer="2", **FAST)
    assert same(state(made), backbone(purified)) and notes["parameters"] == 4 * 4 + 2 * 4
    with pytest.warns(LayerChosen, match="layer='2' is used, the last convolution"):
        assert purify(made, method="npd", clean=data, **FAST)[1] == notes
    with pytest.raises(PaperlibError, match=r"layer='1' is no 2-D convolution"):
        purify(made, method="npd", clean=data, layer="1", **FAST)
    with pytest.raises(PaperlibError, match=r"layer='last' is not in the model"):
        purify(made, method="npd", clean=data, layer="last", **FAST)
    with pytest.raises(PaperlibError, match="has a polarizer already"):
        purify(purified, method="npd", clean=data, layer="2", **FAST)


# ---------------------------------------------------------------------------------------------------------- the losses


def test_the_losses_by_hand() -> None:
    clean = torch.tensor([[0.6, 0.3, 0.1], [0.5, 0.2, 0.3]]).log()
    perturbed = torch.tensor([[0.2, 0.7, 0.1], [0.1, 0.5, 0.4]]).log()
    y, attacked = torch.tensor([0, 1]), torch.tensor([1, 0])
    found = losses(clean, perturbed, y, attacked, NPD())
    assert found["bn"].item() == pytest.approx(-(math.log(0.6) + math.log(0.2)) / 2)
    assert found["asr"].item() == pytest.approx(-(math.log(0.3) + math.log(0.9)) / 2)
    assert found["bce1"].item() == pytest.approx(-(math.log(0.2) + math.log(0.5)) / 2)
    assert found["bce2"].item() == pytest.approx(-(math.log(0.3) + math.log(0.6)) / 2)
    code = losses(clean, perturbed, y, attacked, NPD(bce_label="predicted"))
    assert code["bce1"].item() == pytest.approx(-(math.log(0.2) + math.log(0.1)) / 2)  # class 0 was predicted
    known = losses(clean, perturbed, y, torch.tensor([1, 1]), NPD())
    assert known["asr"].item() == pytest.approx(-math.log(0.3) / 2)  # the second is of the target class itself


def test_suppression_of_a_certain_class_is_finite() -> None:
    z = torch.tensor([[50.0, 0.0, 0.0]], requires_grad=True)
    value = suppression(z, torch.tensor([0]))
    value.sum().backward()
    assert value.item() == pytest.approx(50 - math.log(2), rel=1e-5) and z.grad.isfinite().all()


def test_the_runner_up_leaves_out_the_true_class() -> None:
    z = torch.tensor([[9.0, 1.0, 2.0], [9.0, 1.0, 2.0], [-99.0, -98.0, -97.0]])
    assert runner_up(z, torch.tensor([0, 1, 2])).tolist() == [2, 0, 1]


# ---------------------------------------------------------------------------------------------------- the perturbation


def distance(x_adv: Tensor, x: Tensor) -> Tensor:
    return (x_adv - x).flatten(1).norm(dim=1)


@pytest.mark.parametrize("kind", ["npd", "tp", "tu", "up", "uu"])
def test_perturbations(data: ImageData, trained: nn.Module, kind: str) -> None:
    x, y = data.float() * 0.8 + 0.1, data.y  # away from 0 and 1, so that clipping touches little
    away, universal = kind in ("up", "uu"), kind in ("tu", "uu")
    label = y if away else torch.full_like(y, 2)
    config = NPD(perturbation=kind, rho=1.0, step=0.02, stop=1.0, steps=4)
    x_adv = perturb(trained, x, label, config)
    assert x_adv.min() >= 0 and x_adv.max() <= 1 and (distance(x_adv, x) <= 1 + 1e-5).all()
    assert distance(x_adv, x).max() > 0.5
    with torch.no_grad():
        change = F.cross_entropy(trained(x_adv), label) - F.cross_entropy(trained(x), label)
    assert (change > 0) == away
    one = all(torch.allclose(d, (x_adv - x)[0], atol=1e-6) for d in x_adv - x)
    assert one == universal
    full = perturb(trained, x, label, replace(config, step=0.1))
    assert distance(full, x).median() == pytest.approx(1.0, rel=0.02)  # a whole step is longer than the radius


def test_the_inner_problem_stops_after_a_step_that_fools_enough(data: ImageData, trained: nn.Module) -> None:
    x = data.float()
    with torch.no_grad():
        already = trained(x).argmax(1)
    one = perturb(trained, x, already, NPD(steps=1))
    assert not torch.equal(one, x)  # all of them are fooled before the first step, which is taken
    assert torch.equal(perturb(trained, x, already, NPD(steps=3)), one)  # and still after it
    mixed = torch.where(torch.arange(len(x)) % 2 == 0, already, (already + 1) % 4)  # half: below 60 %
    short = {"step": 1e-6, "steps": 2}  # too short to fool one more
    both, first = (perturb(trained, x, mixed, NPD(**short, stop=stop)) for stop in (0.6, 0.4))
    assert not torch.equal(both, first) and torch.equal(first, perturb(trained, x, mixed, NPD(step=1e-6, steps=1)))


# ------------------------------------------------------------------------------------------------------------ purifying


def test_it_makes_the_model_harder_to_perturb_and_keeps_the_accuracy(data: ImageData, trained: nn.Module) -> None:
    purified = defend(trained, method="npd", clean=data, epochs=15, batch_size=20, lr=0.05)
    x, y = data.float(), data.y

    def fooled(made: nn.Module) -> float:
        with torch.no_grad():
            label = runner_up(made(x), y)
        x_adv = perturb(made, x, label, NPD(rho=1.0, stop=1.0))
        with torch.no_grad():
            return (made(x_adv).argmax(1) == label).float().mean().item()

    assert fooled(purified) < fooled(trained) - 0.1
    with torch.no_grad():
        before, after = ((made(x).argmax(1) == y).float().mean() for made in (trained, purified))
    assert after >= before - 0.1


def test_every_parameter_reaches_the_method(data: ImageData, trained: nn.Module) -> None:
    changes: list[dict[str, object]] = [
        {},
        {"lambda_bn": 0},
        {"lambda_asr": 0},
        {"lambda_bce1": 0},
        {"lambda_bce2": 0},
        {"logarithm": "guarded"},
        {"perturbation": "tp", "target": 1},
        {"perturbation": "tp", "target": "next"},
        {"perturbation": "tu", "target": 1},
        {"perturbation": "up"},
        {"perturbation": "uu"},
        {"bn_mode": "train"},
        {"rho": 0.5},
        {"warm_up": 0},
        {"seed": 1},
    ]
    states = [state(defend(trained, method="npd", clean=data, **{**FAST, **change})) for change in changes]
    for i, a in enumerate(states):
        assert not any(same(a, b) for b in states[:i]), changes[i]
    assert same(states[0], state(defend(trained, method="npd", clean=data, **FAST)))


def test_the_tables_variants_are_hyper_parameters() -> None:
    for method, params in VARIANTS.values():
        DEFENSES.settings(method, **params)


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"perturbation": "tp"}, "target='': perturbation='tp' needs the true target, a class from 0 to 3 or 'next'"),
        ({"perturbation": "tu", "target": 4}, "target=4: perturbation='tu' needs"),
        ({"perturbation": "xx"}, "perturbation='xx' is unknown"),
        ({"structure": "osad"}, "structure='osad' is unknown"),
        ({"bn_mode": "eva"}, "bn_mode='eva' is unknown; did you mean 'eval'"),
        ({"bce_label": "y"}, "bce_label='y' is unknown"),
        ({"logarithm": "e"}, "logarithm='e' is unknown"),
        ({"epochs": 0}, "epochs=0 must be at least 1"),
    ],
)
def test_bad_parameters(data: ImageData, trained: nn.Module, params: dict[str, object], said: str) -> None:
    with pytest.raises(PaperlibError, match=said):
        purify(trained, method="npd", clean=data, **params)


def test_the_defaults_are_the_paper_s() -> None:
    made = NPD()
    assert (made.epochs, made.warm_up, made.batch_size, made.lr, made.rho) == (50, 5, 128, 0.01, 3)
    assert (made.lambda_bn, made.lambda_asr, made.lambda_bce1, made.lambda_bce2) == (1, 0.4, 0.4, 0.4)
    assert (made.steps, made.step, made.stop) == (2, 0.1, 0.6)
    assert npd.NPD is DEFENSES["npd"].config_class()
