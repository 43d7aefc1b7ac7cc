"""FT and FT-SAM: the closed form against brute force, and every step of the algorithm as the paper orders it."""

import math
from collections.abc import Callable
from contextlib import nullcontext
from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from image_toy import images, model, same, state
from torch import Tensor, nn

from paperlib.data.images import ImageData
from paperlib.defenses import defend, ft_sam
from paperlib.defenses.ft_sam import FTSAM, displaced, frozen_statistics, perturbation, sam_step
from paperlib.errors import PaperlibError
from paperlib.training import Recipe, fit, loss_function

LOSS = loss_function(0.1)
FAST = {"epochs": 2, "batch_size": 20}


def flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([t.flatten() for t in tensors])


def problem(seed: int, *shapes: tuple[int, ...]) -> tuple[list[Tensor], list[Tensor]]:
    """Weights and gradients of the given shapes, of very different sizes."""
    g = torch.Generator().manual_seed(seed)
    weights = [torch.randn(s, generator=g, dtype=torch.float64) * 3**i for i, s in enumerate(shapes)]
    return weights, [torch.randn(s, generator=g, dtype=torch.float64) / 2**i for i, s in enumerate(shapes)]


# ------------------------------------------------------------------------------------------------ the closed form


@pytest.mark.parametrize("adaptive", [True, False])
@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000), st.floats(0.01, 10))
def test_no_perturbation_of_that_length_gains_more(adaptive: bool, seed: int, rho: float) -> None:
    weights, gradients = problem(seed, (2, 2), (3,))
    w, g = flat(weights), flat(gradients)
    scale = w.abs() if adaptive else torch.ones_like(w)  # the diagonal of T_w
    best = flat(perturbation(weights, gradients, rho, adaptive))
    assert (best / scale).norm().item() == pytest.approx(rho)  # on the sphere
    gain = best @ g
    assert gain.item() == pytest.approx(rho * (scale * g).norm().item())
    generator = torch.Generator().manual_seed(seed)
    u = torch.randn(5000, 7, generator=generator, dtype=torch.float64)
    near = best / scale / rho + 0.1 * u[:2500]  # half of them close to the solution, where a better one would hide
    for directions in (u[2500:], near):
        others = rho * scale * directions / directions.norm(dim=1, keepdim=True)
        assert ((others / scale).norm(dim=1) - rho).abs().max() < 1e-9
        assert (others @ g).max() <= gain + 1e-9


def test_the_perturbation_by_hand() -> None:
    weights, gradients = [torch.tensor([3.0, -1.0])], [torch.tensor([1.0, 4.0])]
    norm = math.sqrt((3 * 1) ** 2 + (1 * 4) ** 2)  # 5
    (found,) = perturbation(weights, gradients, rho=2.0)
    assert torch.allclose(found, torch.tensor([2 * 9 * 1 / norm, 2 * 1 * 4 / norm]))


def test_one_norm_over_all_parameters() -> None:
    weights, gradients = problem(1, (4, 3, 2), (5,), (1,))
    together = perturbation(weights, gradients, 2.0)
    (whole,) = perturbation([flat(weights)], [flat(gradients)], 2.0)
    assert torch.allclose(flat(together), whole)
    apart = [perturbation([w], [g], 2.0)[0] for w, g in zip(weights, gradients, strict=True)]
    assert not torch.allclose(flat(apart), whole)  # a norm per tensor would be another method
    assert [t.shape for t in together] == [w.shape for w in weights]


def test_plain_sam_goes_along_the_gradient() -> None:
    weights, gradients = problem(2, (4,), (2, 2))
    found = flat(perturbation(weights, gradients, 0.5, adaptive=False))
    assert torch.allclose(found, 0.5 * flat(gradients) / flat(gradients).norm())


def test_without_a_gradient_nothing_moves() -> None:
    weights, _ = problem(3, (4,))
    (found,) = perturbation(weights, [torch.zeros(4, dtype=torch.float64)], 2.0)
    assert torch.equal(found, torch.zeros(4, dtype=torch.float64))


def test_displaced_restores_bit_for_bit_even_after_an_error() -> None:
    # 1e8 + 1e-3 - 1e-3 is not 1e8 in float32: subtracting would not do
    weights = [torch.tensor([1e8, 1.0, 1e-8])]
    before = [w.clone() for w in weights]
    with displaced(weights, [torch.tensor([3.0, 1e-3, 1e8])]):
        assert not torch.equal(weights[0], before[0])
    assert torch.equal(weights[0], before[0])
    with pytest.raises(RuntimeError, match="inside"), displaced(weights, [torch.ones(3)]):
        raise RuntimeError("inside")
    assert torch.equal(weights[0], before[0])


# ------------------------------------------------------------------------------------------------------ one step


class Spy(torch.optim.SGD):
    """SGD that keeps what it is called with."""

    def __init__(self, model: nn.Module, **options: float) -> None:
        super().__init__(model.parameters(), **{"lr": 0.1, **options})
        self.weights: list[list[Tensor]] = []
        self.gradients: list[list[Tensor]] = []

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        self.weights.append([w.detach().clone() for w in self.param_groups[0]["params"]])
        self.gradients.append([w.grad.clone() for w in self.param_groups[0]["params"]])
        super().step()


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Float32 throughout, whatever the processor offers."""
    monkeypatch.setattr(ft_sam, "autocast", lambda device: nullcontext())


@pytest.fixture
def data() -> ImageData:
    return images()


def scattered(data: ImageData) -> nn.Module:
    """A model in training mode whose batch-norm weights and statistics are not the initial ones."""
    made = model(data).train()
    g = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for name, w in made.named_parameters():
            if "bn" in name:
                w.add_(torch.randn(w.shape, generator=g) * 0.3)
        made(data.float())
    return made


def naive_step(model: nn.Module, x: Tensor, y: Tensor, rho: float, adaptive: bool) -> tuple[list[Tensor], nn.Module]:
    """Algorithm 1 on copies of the model: the gradient at w + epsilon, and the model there."""
    here = deepcopy(model)
    gradients = torch.autograd.grad(LOSS(here(x), y).mean(), list(here.parameters()))
    there = deepcopy(model)
    with torch.no_grad():
        t = [w.abs() if adaptive else torch.ones_like(w) for w in here.parameters()]
        norm = math.sqrt(sum(((ti * g) ** 2).sum().item() for ti, g in zip(t, gradients, strict=True)))
        for w, ti, g in zip(there.parameters(), t, gradients, strict=True):
            w.add_(rho * ti**2 * g / norm)
    return list(torch.autograd.grad(LOSS(there(x), y).mean(), list(there.parameters()))), there


@pytest.mark.parametrize("adaptive", [True, False])
def test_the_step_uses_the_gradient_at_the_worst_weights(exact: None, data: ImageData, adaptive: bool) -> None:
    made, x, rho = scattered(data), data.float(), 0.5
    before = [w.detach().clone() for w in made.parameters()]
    expected, _ = naive_step(made, x, data.y, rho, adaptive)
    spy = Spy(made, lr=0.1)
    losses = sam_step(LOSS, rho, adaptive)(made, x, data.y, spy)
    assert all(torch.equal(a, b) for a, b in zip(spy.weights[0], before, strict=True))  # restored before the step
    for found, wanted in zip(spy.gradients[0], expected, strict=True):
        assert torch.allclose(found, wanted, rtol=1e-3, atol=1e-5)
    for now, old, g in zip(made.parameters(), before, spy.gradients[0], strict=True):
        assert torch.allclose(now, old - 0.1 * g, atol=1e-7)
    assert losses.shape == (len(data),) and not losses.requires_grad


def test_the_losses_are_those_before_the_perturbation(exact: None, data: ImageData) -> None:
    made = scattered(data)
    with torch.no_grad():
        expected = LOSS(deepcopy(made)(data.float()), data.y)
    losses = sam_step(LOSS, 2.0)(made, data.float(), data.y, Spy(made))
    assert torch.allclose(losses, expected, atol=1e-5)


def test_the_gradients_of_an_earlier_step_do_not_remain(exact: None, data: ImageData) -> None:
    made = scattered(data)
    for w in made.parameters():
        w.grad = torch.full_like(w, 1e6)
    spy = Spy(made)
    sam_step(LOSS, 0.5)(made, data.float(), data.y, spy)
    assert max(g.abs().max().item() for g in spy.gradients[0]) < 1e5


def test_batch_norm_weights_are_perturbed_too(data: ImageData) -> None:
    made = scattered(data)
    seen: list[Tensor] = []
    norm = made.get_submodule("layer1.0.bn1")
    norm.register_forward_hook(lambda m, i, o: seen.append(torch.cat([m.weight, m.bias]).detach().clone()))
    sam_step(LOSS, 2.0)(made, data.float(), data.y, Spy(made, lr=0.0))
    first, second = seen
    assert ((first - second) != 0).all()
    assert torch.equal(torch.cat([norm.weight, norm.bias]).detach(), first)


def test_running_statistics_change_in_the_first_pass_only(exact: None, data: ImageData) -> None:
    made = scattered(data)
    once = deepcopy(made)
    with torch.no_grad():
        once(data.float())  # one pass in training mode at the weights w
    old = state(made)
    sam_step(LOSS, 2.0)(made, data.float(), data.y, Spy(made))
    now = state(made)
    for name, expected in state(once).items():
        if "running" in name or "num_batches" in name:
            assert not torch.equal(now[name], old[name])
            assert torch.allclose(now[name], expected, atol=1e-6), name
    assert all(m.track_running_stats for m in made.modules() if isinstance(m, nn.BatchNorm2d))


def test_frozen_statistics_leaves_other_layers_as_they_are() -> None:
    layers = nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm1d(2, track_running_stats=False))
    with pytest.raises(RuntimeError, match="inside"), frozen_statistics(layers):
        assert not layers[0].track_running_stats
        raise RuntimeError("inside")
    assert layers[0].track_running_stats and not layers[1].track_running_stats


def test_sam_without_a_neighbourhood_is_sgd(exact: None, data: ImageData) -> None:
    made = scattered(data)
    x = data.float()
    expected = torch.autograd.grad(LOSS(made(x), data.y).mean(), list(made.parameters()))
    spy = Spy(made)
    sam_step(LOSS, 0.0)(made, x, data.y, spy)
    for found, wanted in zip(spy.gradients[0], expected, strict=True):
        assert torch.allclose(found, wanted, atol=1e-5)


def test_frozen_weights_stay(data: ImageData) -> None:
    made = scattered(data)
    made.conv1.weight.requires_grad_(False)
    before = made.conv1.weight.clone()
    optimizer = torch.optim.SGD([w for w in made.parameters() if w.requires_grad], 0.1)
    sam_step(LOSS, 2.0)(made, data.float(), data.y, optimizer)
    assert torch.equal(made.conv1.weight, before)


# ------------------------------------------------------------------------------------------------------ defending


@pytest.mark.parametrize("method", ["ft", "ft_sam"])
@pytest.mark.parametrize("training", [True, False])
def test_the_model_that_was_given_stays_as_it_was(data: ImageData, method: str, training: bool) -> None:
    made = model(data).train(training)
    before, pixels, labels = state(made), data.x.clone(), data.y.clone()
    purified = defend(made, clean=data, method=method, **FAST)
    assert same(before, state(made)) and made.training == training
    assert all(w.grad is None for w in made.parameters())
    assert torch.equal(data.x, pixels) and torch.equal(data.y, labels)
    assert purified is not made and not purified.training and not same(before, state(purified))


@pytest.mark.parametrize("method", ["ft", "ft_sam"])
def test_a_seed_decides_the_defense(data: ImageData, method: str) -> None:
    made = model(data)
    first = state(defend(made, clean=data, method=method, seed=3, **FAST))
    torch.manual_seed(99)
    assert same(first, state(defend(made, clean=data, method=method, seed=3, **FAST)))
    assert not same(first, state(defend(made, clean=data, method=method, seed=4, **FAST)))


@pytest.mark.parametrize(
    ("method", "params"), [("ft", {}), ("ft_sam", {"rho": 0.02})]
)  # rho 2 is much for so few weights
def test_both_lower_the_loss_on_the_clean_images(data: ImageData, method: str, params: dict[str, float]) -> None:
    made = model(data)
    fit(made, data, Recipe(1, 20, 0.01), seed=0)

    def loss(m: nn.Module) -> float:
        with torch.no_grad():
            return F.cross_entropy(m.eval()(data.float()), data.y).item()

    told: list[float] = []
    purified = defend(
        made,
        clean=data,
        method=method,
        epochs=15,
        batch_size=20,
        lr=0.05,
        progress=lambda f, t: told.append(f),
        **params,
    )
    assert loss(purified) < 0.8 * loss(made)
    assert len(told) == 15 and told[-1] == 1


def test_parameters_reach_the_method(data: ImageData) -> None:
    made = model(data)
    variants = [{}, {"rho": 1.0}, {"adaptive": False}, {"schedule": "constant"}, {"label_smoothing": 0.0}, {"lr": 0.02}]
    # 12 steps, so that the schedules part
    states = [
        state(defend(made, clean=data, method="ft_sam", epochs=12, batch_size=40, **changes)) for changes in variants
    ]
    for i, a in enumerate(states):
        assert not any(same(a, b) for b in states[:i]), variants[i]


def test_the_defaults_are_the_paper_s() -> None:
    assert FTSAM() == FTSAM(
        rho=2, adaptive=True, epochs=100, batch_size=256, lr=0.01, schedule="official_cyclic", label_smoothing=0.1
    )


# ------------------------------------------------------------------------------------------------------ bad inputs


def test_fewer_images_than_classes(data: ImageData) -> None:
    with pytest.raises(PaperlibError, match=r"clean holds 3 images and none of: class 3"):
        defend(model(data), clean=data.subset([0, 1, 2]), method="ft_sam", **FAST)


def test_a_class_without_image(data: ImageData) -> None:
    with pytest.raises(PaperlibError, match=r"clean holds 20 images and none of: class 1, class 2"):
        defend(model(data), clean=data.subset((data.y != 1) & (data.y != 2)), method="ft", **FAST)


def test_no_image_at_all(data: ImageData) -> None:
    with pytest.raises(PaperlibError, match="clean holds no image"):
        defend(model(data), clean=data.subset(data.y < 0), method="ft", **FAST)


def test_tensors_without_the_last_class(data: ImageData) -> None:
    few = data.y < data.n_classes - 1
    with pytest.raises(PaperlibError, match=r"clean holds 30 images and none of: class 3"):
        defend(model(data), clean=(data.x[few], data.y[few]), method="ft", **FAST)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_no_numbers(data: ImageData, value: float) -> None:
    made = model(data)
    with torch.no_grad():
        made.linear.bias[1] = value
    with pytest.raises(PaperlibError, match=r"weight 'linear.bias' .* not finite"):
        defend(made, clean=data, method="ft_sam", **FAST)


def test_a_model_on_another_device(data: ImageData) -> None:
    with pytest.raises(PaperlibError, match="the model lies on meta, where it has no weights"):
        defend(model(data).to("meta"), clean=data, method="ft_sam", **FAST)


def test_unknown_names_say_the_nearest(data: ImageData) -> None:
    with pytest.raises(PaperlibError, match=r"defense='ftsam' is unknown; did you mean 'ft_sam'"):
        defend(model(data), clean=data, method="ftsam")
    with pytest.raises(PaperlibError, match=r"ft_sam parameter='roh' is unknown; did you mean 'rho'"):
        defend(model(data), clean=data, method="ft_sam", roh=2.0)
    with pytest.raises(PaperlibError, match=r"ft parameter='rho' is unknown"):
        defend(model(data), clean=data, method="ft", rho=2.0)
    with pytest.raises(PaperlibError, match=r"schedule='cosin' is unknown; did you mean 'cosine'"):
        defend(model(data), clean=data, method="ft", schedule="cosin")
