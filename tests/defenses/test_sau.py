"""SAU: masks and losses by hand, the sets and projections, the bounds on a finite set, and what the purified model
shares."""

import math
from dataclasses import replace
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from image_toy import images, model, same, scene, state
from torch import Tensor, nn

from paperlib.analysis import adversarial_risk as risk
from paperlib.data.images import ImageData
from paperlib.defenses import defend, purify, sau
from paperlib.defenses.sau import (
    SAU,
    ball,
    displaced,
    divergence,
    example_types,
    perturb,
    shared_objective,
    suppression,
)
from paperlib.errors import PaperlibError
from paperlib.training import Recipe, fit, predict

# ---------------------------------------------------------------------------------------------------- losses, by hand


def test_the_inner_objective_by_hand() -> None:
    def logits(*rows: tuple[float, ...]) -> Tensor:
        return torch.tensor(rows).log()

    theta = logits((0.7, 0.2, 0.1), (0.1, 0.8, 0.1), (0.1, 0.8, 0.1), (0.2, 0.7, 0.1))
    b = logits((0.6, 0.3, 0.1), (0.6, 0.3, 0.1), (0.3, 0.6, 0.1), (0.2, 0.1, 0.7))
    y = torch.tensor([0, 0, 0, 0])
    own = torch.zeros(4, dtype=torch.long)
    value, shared = shared_objective(theta, b, y, own, own, 0.01, 1.0)

    def js(p: tuple[float, ...], q: tuple[float, ...]) -> float:
        m = [(a + c) / 2 for a, c in zip(p, q, strict=True)]
        return sum(a * math.log(a / k) + c * math.log(c / k) for a, c, k in zip(p, q, m, strict=True)) / 2

    expected = [
        # nobody fooled: both cross-entropies and the divergence
        0.01 * (-math.log(0.7) - math.log(0.6)) / 2 - js((0.7, 0.2, 0.1), (0.6, 0.3, 0.1)),
        # theta fooled: the cross-entropy of b only
        0.01 * -math.log(0.6) / 2 - js((0.1, 0.8, 0.1), (0.6, 0.3, 0.1)),
        0.0,  # shared
        -js((0.2, 0.7, 0.1), (0.2, 0.1, 0.7)),  # both fooled, in different ways
    ]
    assert shared.tolist() == [False, False, True, False]
    assert value.tolist() == pytest.approx(expected, abs=1e-6)


def test_fooled_is_against_the_models_own_predictions() -> None:
    logits = torch.tensor([[0.1, 0.9, 0.0]]).log().clamp_min(-20)
    y, one = torch.tensor([0]), torch.tensor([1])
    value, shared = shared_objective(logits, logits, y, own=one, own_reference=one, lambda_3=1, lambda_4=1)
    assert not shared  # both are wrong on the clean image already
    assert value.item() == pytest.approx(-math.log(0.1), abs=1e-4)
    _, shared = shared_objective(logits, logits, y, own=y, own_reference=y, lambda_3=1, lambda_4=1)
    assert shared


def test_masked_samples_have_no_gradient() -> None:
    logits = torch.tensor([[0.1, 0.9], [0.9, 0.1]]).log().requires_grad_()
    reference = torch.tensor([[0.2, 0.8], [0.8, 0.2]]).log()
    y = torch.zeros(2, dtype=torch.long)
    value, _ = shared_objective(logits, reference, y, y, y, 0.01, 1.0)
    value.sum().backward()
    assert logits.grad is not None
    assert torch.equal(logits.grad[0], torch.zeros(2)) and logits.grad[1].abs().min() > 0


def test_the_divergence_lies_between_0_and_log_2() -> None:
    p, q = torch.tensor([[1.0, 0.0], [0.5, 0.5]]), torch.tensor([[0.0, 1.0], [0.5, 0.5]])
    assert divergence(p, q).tolist() == pytest.approx([math.log(2), 0], abs=1e-6)


def test_suppression_by_hand_and_its_guards() -> None:
    p = torch.tensor([[0.7, 0.2, 0.1], [0.0004, 0.9, 0.0996], [1.0, 0.0, 0.0]])
    logits = p.log().clamp_min(-30).requires_grad_()
    label = torch.tensor([0, 0, 0])
    assert suppression(logits[:2], label[:2], "paper").tolist() == pytest.approx(
        [-math.log(0.3), -math.log(0.9996)], abs=1e-6
    )
    code = suppression(logits, label)
    assert code[0].item() == pytest.approx(-math.log(0.3), abs=1e-4)
    assert code[1].item() == pytest.approx(-math.log(0.999), abs=1e-4)  # the guard
    (gradient,) = torch.autograd.grad(code.sum(), logits)
    assert torch.equal(gradient[1], torch.zeros(3)) and gradient[0].abs().min() > 0  # no gradient below 0.001
    assert code.isfinite().all() and code[2] > 10


class Table(nn.Module):
    """Logits by the brightness of the image: row round(10 x mean)."""

    def __init__(self, rows: Tensor):
        super().__init__()
        self.rows = nn.Parameter(rows)

    def forward(self, x: Tensor) -> Tensor:
        return self.rows[(x.mean((1, 2, 3)) * 10).round().long()]


def test_the_outer_losses_count_over_the_batch() -> None:
    # brightness 0: clean image; 1: both say 1; 2: b says 1, theta 0; 3: b says 0
    theta = Table(torch.tensor([[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.5, 0.4, 0.1], [0.2, 0.7, 0.1]]).log())
    b = Table(torch.tensor([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.8, 0.1], [0.8, 0.1, 0.1]]).log())
    x = torch.zeros(4, 1, 2, 2)
    x_adv = torch.tensor([0.1, 0.2, 0.3, 0.1]).view(4, 1, 1, 1).expand(4, 1, 2, 2)
    y = torch.tensor([0, 0, 0, 1])  # of the last one, b's prediction of x_adv is the true label
    own = torch.zeros(4, dtype=torch.long)
    clean, shared = sau.outer_losses(theta, b, x, x_adv, y, own, SAU())
    assert clean.item() == pytest.approx((-3 * math.log(0.8) - math.log(0.1)) / 4, abs=0.02)
    assert shared.item() == pytest.approx((-math.log(0.4) - math.log(0.6)) / 4, abs=0.02)
    _, vanilla = sau.outer_losses(theta, b, x, x_adv, y, own, SAU(outer="vanilla"))
    assert vanilla.item() == pytest.approx(-sum(map(math.log, (0.3, 0.5, 0.2, 0.6))) / 4, abs=0.02)
    # b was wrong on the clean image and stays: only the paper's form counts it
    wrong = torch.tensor([1, 0, 0, 0])
    _, code = sau.outer_losses(theta, b, x, x_adv, y, wrong, SAU())
    _, paper = sau.outer_losses(theta, b, x, x_adv, y, wrong, SAU(variant="paper"))
    assert code.item() == pytest.approx(-math.log(0.6) / 4, abs=0.02)
    assert paper.item() == pytest.approx((-math.log(0.4) - math.log(0.6)) / 4, abs=0.02)


def test_types_of_adversarial_examples() -> None:
    found, reference = torch.tensor([0, 1, 1, 1]), torch.tensor([1, 1, 0, 2])
    assert example_types(found, reference, torch.zeros(4, dtype=torch.long)).tolist() == [0, 1, 2, 3]


# ------------------------------------------------------------------------------------------------------ perturbations


@pytest.mark.parametrize("norm", ["linf", "l1", "l2", "spatial"])
@pytest.mark.parametrize("init", ["max", "min", "zero", "random"])
def test_every_start_and_step_lies_in_its_set(norm: str, init: str) -> None:
    x = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    within = ball(SAU(eps_l1=40, eps_l2=2), norm)
    delta = sau.start(x, within, init, torch.Generator().manual_seed(0))
    length = {
        "linf": lambda d: d.abs().amax((1, 2, 3)),
        "l1": lambda d: d.abs().sum((1, 2, 3)),
        "l2": lambda d: d.flatten(1).norm(dim=1),
        "spatial": lambda d: d.abs().amax((1, 2, 3)),
    }[norm]
    assert (length(delta) <= within.radius * (1 + 1e-5)).all()
    assert (init == "zero") == (length(delta).max().item() == 0)
    far = within.project(delta + 7 * torch.randn(delta.shape, generator=torch.Generator().manual_seed(1)))
    assert length(far).tolist() == pytest.approx([within.radius] * 3, rel=1e-4)
    near = delta * 0.5
    assert torch.equal(within.project(near), near)


def test_a_constant_flow_moves_the_image() -> None:
    x = torch.rand(2, 3, 8, 8)
    flow = torch.zeros(2, 2, 8, 8)
    assert torch.allclose(displaced(x, flow), x, atol=1e-6)
    flow[:, 0] = 2  # from two columns to the right
    assert torch.allclose(displaced(x, flow)[..., :6], x[..., 2:], atol=1e-5)
    flow[:, 0], flow[:, 1] = 0, -1  # from the row above
    assert torch.allclose(displaced(x, flow)[:, :, 1:], x[:, :, :-1], atol=1e-5)


@pytest.fixture(scope="module")
def data() -> ImageData:
    return images(60, size=8, pad=0, flip=False)


@pytest.fixture(scope="module")
def trained(data: ImageData) -> nn.Module:
    made = model(data)
    fit(made, data, Recipe(15, 20, 0.1, "one_cycle"), seed=0)
    return made


def test_the_default_perturbation_takes_three_values(data: ImageData, trained: nn.Module) -> None:
    x, own = data.float(), predict(trained, data.x)
    other = defend(trained, method="ft", clean=data, epochs=1, batch_size=20)
    delta = perturb(trained, other, x, data.y, own, SAU()) - x
    assert ((delta.abs() < 1e-6) | ((delta.abs() - 0.2).abs() < 1e-6)).all()


def naive(theta: nn.Module, b: nn.Module, x: Tensor, y: Tensor, own_b: Tensor, config: SAU) -> Tensor:
    """The inner problem as the code has it: all samples in every step."""
    delta = torch.full_like(x, config.eps)
    own = theta(x).argmax(1)
    for _ in range(config.steps):
        d = delta.clone().requires_grad_()
        value, shared = shared_objective(
            theta(x + d).float(), b(x + d).float(), y, own, own_b, config.lambda_3, config.lambda_4
        )
        if shared.all():
            break
        (g,) = torch.autograd.grad(value.mean(), d)
        delta = (delta + config.step * g.sign()).clamp(-config.eps, config.eps)
    return (x + delta).detach()


def test_leaving_out_what_is_shared_changes_nothing(
    data: ImageData, trained: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sau, "autocast", lambda device: torch.autocast("cpu", enabled=False))
    other = defend(trained, method="ft", clean=data, epochs=3, batch_size=20, lr=0.05)
    x, own = data.float().double(), predict(other, data.x)
    config = SAU(eps=0.05, step=0.02, steps=4)
    theta, b = trained.double(), other.double()
    try:
        fast, slow = (f(theta, b, x, data.y, own, config) for f in (perturb, naive))
    finally:
        trained.float()
    # where the gradient is all but zero, its sign hangs on the order of summation
    assert ((fast - slow).abs() > 1e-9).double().mean() < 0.005


def test_vanilla_pgd_raises_the_loss_of_theta(data: ImageData, trained: nn.Module) -> None:
    x, own = data.float(), predict(trained, data.x)
    config = SAU(inner="vanilla", init="zero", eps=0.1, step=0.05)
    x_adv = perturb(trained, trained, x, data.y, own, config)
    with torch.no_grad():
        assert F.cross_entropy(trained(x_adv), data.y) > 2 * F.cross_entropy(trained(x), data.y)


def test_ensemble_draws_among_all_four(data: ImageData, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    monkeypatch.setattr(sau, "ball", lambda config, norm: drawn.append(norm) or ball(config, norm))
    made, generator = model(data).eval(), torch.Generator().manual_seed(0)
    x, own = data.float(torch.arange(2)), predict(made, data.x[:2])
    for _ in range(20):
        perturb(made, made, x, data.y[:2], own, SAU(norm="ensemble", steps=1), generator)
    assert set(drawn) == {"linf", "l1", "l2", "spatial"}


# --------------------------------------------------------------------------------------------------------- the bounds


def finite(seed: int) -> tuple[dict[str, float], float, int, int]:
    """Risks of two random linear classifiers of points in the plane, S a grid that contains the trigger."""
    g = torch.Generator().manual_seed(seed)
    x, trigger = torch.randn(40, 2, generator=g), torch.tensor([1.0, 0.5])
    y = torch.randint(3, (40,), generator=g)
    wanted = torch.zeros_like(y)
    theta, b = torch.randn(2, 3, generator=g), torch.randn(2, 3, generator=g)
    b[:, 0] += trigger  # a backdoor that works better than chance
    grid = torch.tensor(list(product((-1.0, -0.5, 0.0, 0.5, 1.0), repeat=2)))
    assert (grid == trigger).all(1).any()
    points = x + grid[:, None]
    found, known = (points @ theta).argmax(2), (points @ b).argmax(2)
    hit, works = ((x + trigger) @ theta).argmax(1), ((x + trigger) @ b).argmax(1) == wanted
    minus = y != wanted
    risks = {
        "bd": risk.backdoor_risk(hit, y, wanted),
        "adv": risk.adversarial_risk_of(found, y, wanted),
        "sub": risk.sub_adversarial_risk(found, known, y, wanted, works),
        "share": risk.shared_risk(found, known, y),
    }
    return risks, risk.backdoor_risk(torch.where(works, 0, 1), y, wanted), len(y), int(minus.sum())


def test_the_chain_of_bounds_on_a_finite_set() -> None:
    strict = {"bd<sub": 0, "sub<adv": 0, "share<bd": 0}
    for seed in range(60):
        r, of_b, n, n_minus = finite(seed)
        assert r["bd"] <= r["sub"] <= r["adv"], seed  # Proposition 3
        assert r["bd"] <= n / n_minus * r["share"] + 1 - of_b + 1e-12, seed
        strict["bd<sub"] += r["bd"] < r["sub"]
        strict["sub<adv"] += r["sub"] < r["adv"]
        strict["share<bd"] += r["share"] < r["bd"]
    assert strict["bd<sub"] > 10 and strict["sub<adv"] > 10  # the three are different things
    assert strict["share<bd"]  # the shared risk alone is no bound


def test_risks_by_hand() -> None:
    y, wanted = torch.tensor([0, 1, 1, 2]), torch.tensor([0, 0, 0, 0])
    found = torch.tensor([[0, 1, 0, 2], [1, 1, 2, 1]])
    known = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 0]])
    works = torch.tensor([False, True, True, True])
    assert risk.clean_risk(found[0], y) == 0.25
    assert risk.backdoor_risk(torch.tensor([0, 0, 1, 0]), y, wanted) == pytest.approx(2 / 3)
    assert risk.adversarial_risk_of(found, y, wanted) == pytest.approx(2 / 3)
    assert risk.sub_adversarial_risk(found, known, y, wanted, works) == pytest.approx(1 / 3)
    assert risk.sub_adversarial_risk(found, known, y, wanted, ~works) == pytest.approx(2 / 3)
    assert risk.shared_risk(found, known, y) == 0.5


# ------------------------------------------------------------------------------------------------------------ purifying

FAST = {"epochs": 12, "batch_size": 20, "lr": 2e-3}


@pytest.fixture(scope="module")
def purified(data: ImageData, trained: nn.Module) -> nn.Module:
    return defend(trained, method="sau", clean=data, **FAST)


def shared_rate(theta: nn.Module, b: nn.Module, data: ImageData) -> float:
    x_adv = sau.perturb(theta, b, data.float(), data.y, predict(b, data.x), SAU())
    with torch.no_grad():
        return (sau.example_types(theta(x_adv).argmax(1), b(x_adv).argmax(1), data.y) == 1).float().mean().item()


def test_the_purified_model_shares_less(data: ImageData, trained: nn.Module, purified: nn.Module) -> None:
    before, after = shared_rate(trained, trained, data), shared_rate(purified, trained, data)
    assert before > 0.5 and after < 0.5 * before
    accuracy = (predict(purified, data.x) == data.y).float().mean()
    assert accuracy > 0.9 * (predict(trained, data.x) == data.y).float().mean()


def test_the_statistics_of_batch_norm_stay(trained: nn.Module, purified: nn.Module) -> None:
    before, after = state(trained), state(purified)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert not any("running" in name or "num_batches" in name for name in changed)
    assert {name for name, _ in trained.named_parameters()} == changed


def test_a_seed_decides_and_the_given_model_stays(data: ImageData, trained: nn.Module) -> None:
    before = state(trained)
    first, second, other = (
        state(defend(trained, method="sau", clean=data, epochs=1, batch_size=20, seed=s)) for s in (1, 1, 2)
    )
    assert same(first, second) and not same(first, other) and same(before, state(trained))


def test_notes_and_the_watcher(data: ImageData, trained: nn.Module) -> None:
    seen = []
    config = SAU(epochs=2, batch_size=30)
    _, notes = sau.sau(trained, data, config, each_epoch=lambda epoch, m, r: seen.append((epoch, m is r)))
    assert seen == [(0, False), (1, False), (2, False)]
    assert notes["clean_loss"] >= 0 and notes["shared_loss"] >= 0


def test_the_tools(data: ImageData, trained: nn.Module, purified: nn.Module) -> None:
    around = scene(data)
    out = risk.adversarial_risk([trained, purified], around, seed=0, n=40)
    assert out["types"]["shared"][0][1:] == [0, 0]  # what theta = b gets wrong, b gets wrong in the same way
    assert out["types"]["shared"][1][0] < out["types"]["shared"][0][0] and out["n"] == 40
    assert all(len(out[name]) == 2 and all(0 <= v <= 1 for v in out[name]) for name in risk.RISKS)
    assert all(s <= a for s, a in zip(out["sub"], out["adversarial"], strict=True))
    curve = risk.sau_curve([trained], around, seed=0, n=20, n_clean=40, every=2, epochs=3, batch_size=40, steps=1)
    assert curve["epoch"] == [0, 2, 3] and all(len(curve[name]) == 3 for name in ("c_acc", "asr", *risk.RISKS))


def test_with_the_trigger_in_the_set_the_bounds_hold_on_images(data: ImageData, trained: nn.Module) -> None:
    around = scene(data)
    out = risk.adversarial_risk([trained, model(data, seed=1).eval()], around, seed=0, n=40, steps=1, trigger=True)
    for i in range(2):
        assert out["backdoor"][i] <= out["sub"][i] <= out["adversarial"][i]


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"inner": "plain"}, "inner='plain' is unknown"),
        ({"outer": "b"}, "outer='b' is unknown"),
        ({"norm": "l3"}, "norm='l3' is unknown"),
        ({"init": "maxi"}, "init='maxi' is unknown; did you mean 'max'"),
        ({"variant": "text"}, "variant='text' is unknown"),
        ({"steps": 0}, "steps=0 must be at least 1"),
    ],
)
def test_bad_parameters(data: ImageData, trained: nn.Module, params: dict[str, object], said: str) -> None:
    with pytest.raises(PaperlibError, match=said):
        purify(trained, method="sau", clean=data, **params)


def test_divergence_is_said(data: ImageData, trained: nn.Module) -> None:
    with pytest.raises(PaperlibError, match="SAU diverged in epoch"):
        purify(trained, method="sau", clean=data, lr=1e30, epochs=3, batch_size=20)


def test_the_defaults_are_the_paper_s() -> None:
    assert replace(SAU()) == SAU(
        epochs=100,
        batch_size=256,
        lr=1e-4,
        lambda_1=1,
        lambda_2=1,
        lambda_3=0.01,
        lambda_4=1,
        eps=0.2,
        steps=5,
        step=0.2,
    )
