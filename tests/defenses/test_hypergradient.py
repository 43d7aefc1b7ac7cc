"""i-BAU, NAD, MCR: the hyper-gradient against finite differences, a living attention term, the ends of the curve."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from image_toy import images, model, same, state
from torch import Tensor, nn

from paperlib.data.images import ImageData
from paperlib.defenses import DEFENSES, defend, mcr, nad, purify
from paperlib.defenses.i_bau import IBAU, hypergradient
from paperlib.defenses.mcr import bezier
from paperlib.defenses.nad import attention, distillation, stages
from paperlib.errors import PaperlibError
from paperlib.models.default_layer import LayerChosen
from paperlib.models.layers import watching
from paperlib.training import Recipe, fit

FAST: dict[str, dict[str, object]] = {
    "i_bau": {"rounds": 1, "batch_size": 20},
    "nad": {"epochs": 2, "teacher_epochs": 1, "batch_size": 20},
    "mcr": {"epochs": 2, "batch_size": 20, "lr": 0.01},
}


@pytest.fixture(scope="module")
def data() -> ImageData:
    return images(40, size=16)


@pytest.fixture(scope="module")
def trained(data: ImageData) -> nn.Module:
    made = model(data)
    fit(made, data, Recipe(6, 20, 0.1, "one_cycle"), seed=0)
    return made


@pytest.mark.parametrize("method", sorted(FAST))
def test_a_seed_decides_and_the_given_model_stays(data: ImageData, trained: nn.Module, method: str) -> None:
    before = state(trained)
    first, again, other = (state(defend(trained, method=method, clean=data, seed=s, **FAST[method])) for s in (1, 1, 2))
    assert same(first, again) and not same(first, other) and same(before, state(trained))


# --------------------------------------------------------------------------------------------------------------- i-BAU


Scalar = Callable[[Tensor], Tensor]


def smooth() -> tuple[Tensor, Callable[[Tensor], tuple[Scalar, Scalar]]]:
    """A smooth toy: two-layer tanh network, weights in one vector; inner problem strictly convex in the
    perturbation."""
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(12, 3, generator=g, dtype=torch.float64), torch.randint(3, (12,), generator=g)

    def problem(w: Tensor) -> tuple[Scalar, Scalar]:
        def f(z: Tensor) -> Tensor:
            return torch.tanh(z @ w[:12].view(3, 4)) @ w[12:].view(4, 3)

        return (lambda d: F.cross_entropy(f(x + d), y), lambda d: 2.0 * d.square().sum() - F.cross_entropy(f(x + d), y))

    return torch.randn(24, generator=g, dtype=torch.float64) * 0.7, problem


def solve(inner: Scalar) -> Tensor:
    d = torch.zeros(3, dtype=torch.float64)
    for _ in range(70):
        d.requires_grad_()
        (slope,) = torch.autograd.grad(inner(d), d)
        d = d.detach() - 0.1 * slope
    return d


def test_the_hyper_gradient_is_the_finite_difference() -> None:
    w, problem = smooth()
    weights = w.clone().requires_grad_()
    outer, inner = problem(weights)
    (found,), value = hypergradient(outer, inner, solve(problem(w)[1]), [weights], 70, 0.1)

    def at(v: Tensor) -> float:
        o, i = problem(v)
        return o(solve(i)).item()

    assert value.item() == pytest.approx(at(w))
    h = 1e-5
    expected = torch.tensor(
        [(at(w + h * e) - at(w - h * e)) / (2 * h) for e in torch.eye(24, dtype=torch.float64)], dtype=torch.float64
    )
    assert torch.allclose(found, expected, atol=1e-7)
    (direct,) = torch.autograd.grad(outer(solve(problem(w)[1])), weights)
    assert (direct - expected).norm() > 0.01 * expected.norm()  # the indirect part matters in this toy


def test_five_iterations_are_the_truncated_series() -> None:
    w, problem = smooth()
    weights, eta = w.clone().requires_grad_(), 0.1
    outer, inner = problem(weights)
    delta = solve(problem(w)[1])
    (found,), _ = hypergradient(outer, inner, delta, [weights], 5, eta)
    d = delta.clone().requires_grad_()
    hessian = torch.autograd.functional.hessian(problem(w)[1], delta)
    direct_d, direct_w = torch.autograd.grad(outer(d), [d, weights])
    step = torch.eye(3, dtype=torch.float64) - eta * hessian
    v = sum((torch.linalg.matrix_power(step, k) @ direct_d for k in range(5)), torch.zeros(3, dtype=torch.float64))
    (slope,) = torch.autograd.grad(inner(d), d, create_graph=True)
    (through,) = torch.autograd.grad(slope, weights, v)
    assert torch.allclose(found, direct_w - eta * through, atol=1e-12)


def test_i_bau_raises_the_perturbation_and_keeps_the_statistics(data: ImageData, trained: nn.Module) -> None:
    purified, notes = purify(trained, method="i_bau", clean=data, **FAST["i_bau"])
    assert notes["delta_norm"] > 0
    changed = {name for name, value in state(trained).items() if not torch.equal(value, state(purified)[name])}
    assert changed == {name for name, _ in trained.named_parameters()}
    free = defend(trained, method="i_bau", clean=data, fixed_bn=False, **FAST["i_bau"])
    assert not torch.equal(free.layer1[0].bn1.running_mean, trained.layer1[0].bn1.running_mean)


def test_without_perturbed_images_i_bau_is_fine_tuning(data: ImageData, trained: nn.Module) -> None:
    """The inner steps have length 0: the outer problem sees clean images, and only the indirect gradient is left of
    delta."""
    still, notes = purify(trained, method="i_bau", clean=data, inner_lr=0, map_lr=0, **FAST["i_bau"])
    moved = defend(trained, method="i_bau", clean=data, **FAST["i_bau"])
    assert notes["delta_norm"] == 0 and not same(state(still), state(moved))


def test_i_bau_says_what_is_wrong(data: ImageData, trained: nn.Module) -> None:
    with pytest.raises(PaperlibError, match="rounds=0 must be at least 1"):
        purify(trained, method="i_bau", clean=data, rounds=0)
    with pytest.raises(PaperlibError, match="i-BAU diverged in round 1"):
        purify(trained, method="i_bau", clean=data, lr=1e30, rounds=1, batch_size=20)
    assert IBAU() == IBAU(5, 256, 1e-4, 10.0, 0.001, 0.01, 5, 0.1, True)


# ----------------------------------------------------------------------------------------------------------------- NAD


def test_attention_by_hand() -> None:
    features = torch.tensor([[[[1.0, 2.0]], [[2.0, 0.0]]]])  # two channels of 1 x 2: 1 + 4 and 4 + 0
    assert torch.allclose(attention(features), torch.tensor([[5.0, 4.0]]) / 41**0.5)


def test_every_attention_term_is_alive_and_the_original_s_third_is_not(data: ImageData, trained: nn.Module) -> None:
    teacher = model(data, seed=1).eval()
    x, betas = data.float(), (500.0, 1000.0, 1000.0)

    def gradients(layers: tuple[str, ...]) -> list[float]:
        student = model(data).eval()
        _, terms = distillation(student, teacher, layers, betas, x)
        return [
            sum(g.abs().sum().item() for g in torch.autograd.grad(t, list(student.parameters()), retain_graph=True,
            allow_unused=True) if g is not None)
            for t in terms
        ]  # fmt: skip

    assert min(gradients(("layer2", "layer3", "layer4"))) > 1e-3
    original = gradients(("layer3", "layer4", "avgpool"))
    assert min(original[:2]) > 1e-3 and original[2] < 1e-3 * original[1]


def test_distillation_pulls_the_maps_together(data: ImageData, trained: nn.Module) -> None:
    student, teacher = model(data).eval(), model(data, seed=1).eval()
    layers, betas, x = ("layer2", "layer3", "layer4"), (1.0, 1.0, 1.0), data.float()
    optimizer = torch.optim.Adam(student.parameters(), 0.003)
    gaps = []
    for _ in range(12):
        _, terms = distillation(student, teacher, layers, betas, x)
        gaps.append(terms.detach())
        optimizer.zero_grad()
        terms.sum().backward()
        optimizer.step()
    assert (gaps[-1] < 0.8 * gaps[0]).all()


def test_the_students_learning_rate_falls(data: ImageData, trained: nn.Module) -> None:
    early, late, never = (
        state(defend(trained, method="nad", clean=data, drop_at=at, lr_after=0.0, **FAST["nad"])) for at in (0, 1, 2)
    )
    weights = [name for name, _ in trained.named_parameters()]
    before = state(trained)
    assert all(torch.equal(early[name], before[name]) for name in weights)
    assert not same(early, late) and not same(late, never)


def test_layers_of_other_models(data: ImageData) -> None:
    made = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4))
    with pytest.warns(LayerChosen, match="layer='1' is used, the last layer before the classifier"):
        assert purify(made, method="nad", clean=data, **FAST["nad"])[1]["layers"] == ["1"]
    _, notes = purify(made, method="nad", clean=data, layers=("1",), **FAST["nad"])
    assert notes["layers"] == ["1"]
    with pytest.raises(PaperlibError, match=r"betas=\(1.0,\) has fewer values than the 2 layers"):
        purify(made, method="nad", clean=data, layers=("0", "1"), betas=(1.0,), **FAST["nad"])
    with pytest.raises(PaperlibError, match=r"output has shape \(20, 4\)"):
        purify(made, method="nad", clean=data, layers=("4",), **FAST["nad"])
    made.features = "1"  # type: ignore[assignment]
    assert stages(made, (), data.x) == ("1",)
    assert DEFENSES["nad"].config_class() is nad.NAD


# ----------------------------------------------------------------------------------------------------------------- MCR


def test_the_curve_ends_where_it_should() -> None:
    p, q, r = ([torch.randn(3)] for _ in range(3))
    assert torch.equal(bezier(p, q, r, 0)[0], p[0]) and torch.equal(bezier(p, q, r, 1)[0], r[0])
    assert torch.allclose(bezier(p, q, r, 0.5)[0], p[0] / 4 + q[0] / 2 + r[0] / 4)
    assert torch.allclose(bezier(p, p, p, 0.3)[0], p[0])


def test_both_ends_and_the_middle(data: ImageData, trained: nn.Module) -> None:
    def weights(t: float) -> dict[str, Tensor]:
        return dict(defend(trained, method="mcr", clean=data, t=t, **FAST["mcr"]).named_parameters())

    start, end = weights(0.0), weights(1.0)
    assert all(torch.equal(start[name], w) for name, w in trained.named_parameters())
    tuned = defend(trained, method="ft", clean=data, epochs=2, batch_size=20)
    assert all(torch.allclose(end[name], w, atol=1e-7) for name, w in tuned.named_parameters())
    middle = weights(0.5)
    straight = {name: (start[name] + end[name]) / 2 for name in start}
    assert all(not torch.allclose(middle[name], straight[name], atol=1e-6) for name in start)  # the bend was trained


def test_the_statistics_are_those_of_the_clean_images(data: ImageData, trained: nn.Module) -> None:
    made = defend(trained, method="mcr", clean=data, t=0.0, **FAST["mcr"])
    with torch.no_grad(), watching(made, "conv1") as seen:
        made(data.float())
    assert torch.allclose(made.layer1[0].bn1.running_mean, seen[0].mean((0, 2, 3)), atol=2e-2)
    assert not torch.equal(made.layer1[0].bn1.running_mean, trained.layer1[0].bn1.running_mean)
    assert not made.training and mcr.MCR().t == 0.1


def test_a_place_beyond_the_ends(data: ImageData, trained: nn.Module) -> None:
    with pytest.raises(PaperlibError, match=r"t=1\.2 must lie between 0"):
        purify(trained, method="mcr", clean=data, t=1.2)
