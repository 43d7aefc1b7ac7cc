"""The analysis tools of the benchmark against independent computations; every tool is deterministic and can be
drawn."""

import json
import math
import sys
from contextlib import nullcontext
from dataclasses import replace
from types import ModuleType
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from image_toy import images, model, same, scene, state
from torch import Tensor, nn

from paperlib.analysis import (
    TOOLS,
    confusion,
    dynamics,
    feature_visualisation,
    frequency_saliency,
    hessian,
    lipschitz,
    loss_landscape,
    network_structure,
    samples,
    shapley,
    trigger_generalisation,
)
from paperlib.analysis.activated_images import by_difference, strongest
from paperlib.analysis.activation_distribution import histogram
from paperlib.attacks import attack, render
from paperlib.attacks.badnets import BadNets
from paperlib.attacks.scene import Scene
from paperlib.errors import PaperlibError
from paperlib.models import fresh, layers
from paperlib.models.layers import as_maps, class_activation_map, layer_output
from paperlib.report import analysis_figures
from paperlib.training import Recipe, fit, predict

mpl.use("Agg")


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Float32 throughout, whatever the processor offers."""
    for module in (layers, loss_landscape):
        monkeypatch.setattr(module, "autocast", lambda device: nullcontext())


@pytest.fixture(scope="module")
def around() -> Scene:
    return replace(scene(images(40, size=16)), recipe=Recipe(2, 10, 0.05, "constant"))


@pytest.fixture(scope="module")
def net(around: Scene) -> Any:
    made = model(around.train).train()
    fit(made, around.poisoned.data, Recipe(2, 10, 0.05, "constant"), seed=0)  # type: ignore[union-attr]
    made.zero_grad(set_to_none=True)
    return made.eval()


class Smooth(nn.Module):
    """Two layers without kinks and without batch norm: 280 weights."""

    features = "body"

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.conv = nn.Conv2d(3, 3, 3, stride=4)
        self.body = nn.Tanh()
        self.linear = nn.Linear(48, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.body(self.conv(x)).flatten(1))


class Tokens(nn.Module):
    """Patches as tokens behind a class token, as a vision transformer has them."""

    features = "norm"

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.first = nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = self.first(torch.cat([self.token.expand(len(x), -1, -1), tokens], 1))
        tokens = self.norm(tokens + self.attention(tokens, tokens, tokens, need_weights=False)[0])
        return self.head(tokens[:, 0])


# ------------------------------------------------------------------------------------------------- layers of any model


def test_tokens_are_a_grid_of_patches() -> None:
    net, x = Tokens().eval(), images(5, size=16).x
    tokens = layer_output(net, "first", x)
    assert tokens.shape == (5, 17, 8)
    maps = as_maps(tokens, "first")
    assert maps.shape == (5, 8, 4, 4)
    assert torch.equal(maps[2, :, 1, 3], tokens[2, 1 + 4 * 1 + 3])
    assert torch.equal(as_maps(tokens[:, 1:], "first"), maps)
    assert torch.allclose(layer_output(net, "first", x, pooled=True), tokens.mean(1))
    for wrong in (tokens[:, :7], tokens[:, 0]):
        with pytest.raises(PaperlibError, match=r"layer='first' puts out shape .* maps need a layer with positions"):
            as_maps(wrong, "first")


def test_grad_cam_of_a_transformer() -> None:
    net, x = Tokens().eval(), images(5, size=16).float()
    maps, predicted = class_activation_map(net, "first", x)
    assert maps.shape == (5, 4, 4) and torch.equal(predicted, net(x).argmax(1))
    seen: list[Tensor] = []
    handle = net.first.register_forward_hook(lambda m, i, out: seen.append(out))
    score = net(x[:1])[0, predicted[0]]
    handle.remove()
    (gradient,) = torch.autograd.grad(score, seen[0])
    expected = sum(gradient[0, 1:, k].mean() * seen[0][0, 1:, k] for k in range(8)).clamp_min(0).view(4, 4)  # type: ignore[union-attr]
    assert torch.allclose(maps[0], (expected / expected.max()).detach(), atol=1e-5)
    with pytest.raises(PaperlibError, match="layer='norm': the class score reads its class token only"):
        class_activation_map(net, "norm", x)
    with pytest.raises(PaperlibError, match="layer='head' puts out shape"):
        class_activation_map(net, "head", x)


def test_the_sample_has_the_proportion_of_the_training_set(around: Scene) -> None:
    x, y, mask = samples.poisoned_sample(around, 20, 0)
    assert len(x) == 20 and mask.sum() == 4 and (y[mask] == 0).all()
    assert len(samples.poisoned_sample(around, 10_000, 0)[0]) == 40
    known = {image.numpy().tobytes() for image in around.poisoned.data.x[around.poisoned.mask]}  # type: ignore[union-attr]
    assert all(image.numpy().tobytes() in known for image in x[mask])
    with pytest.raises(PaperlibError, match="n=0 must be at least 1"):
        samples.poisoned_sample(around, 0, 0)


def test_pairs_are_the_same_images(around: Scene) -> None:
    clean, triggered, y = samples.attacked_pairs(around, 9, "tool")
    assert (y != 0).all() and torch.equal(triggered, render(around.attack, clean)) and len(clean) == 9  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------------------- Shapley values


def test_shapley_values_of_a_linear_model_are_known() -> None:
    torch.manual_seed(0)
    net: Any = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4))
    data = images(12).float()
    x, background = data[:2], data[2:]
    found = shapley.expected_gradients(net, x, background, torch.tensor([[0, 2], [3, 1]]), steps=3)
    for i, classes in enumerate(((0, 2), (3, 1))):
        for k, c in enumerate(classes):
            weight = net[1].weight[c].view(3, 8, 8)
            assert torch.allclose(found[i, k], weight * (x[i] - background.mean(0)), atol=1e-5)


@pytest.mark.parametrize("layer", ["", "conv"])
def test_shapley_values_sum_to_the_difference_of_the_scores(layer: str) -> None:
    net, data = Smooth().eval(), images(14, size=16).float()
    x, background = data[:3], data[3:]
    classes = torch.tensor([[0, 1]] * 3)
    found = shapley.expected_gradients(net, x, background, classes, layer=layer, steps=30)
    assert found.shape[2:] == ((3, 16, 16) if not layer else (3, 4, 4))
    expected = net(x)[:, :2] - net(background).mean(0)[:2]
    assert torch.allclose(found.flatten(2).sum(2), expected, atol=2e-4) and expected.abs().max() > 0.05


def test_shapley_reports_its_gap(around: Scene, net: Any) -> None:
    found = shapley.shapley([net], around, seed=0, true_class=2, backgrounds=10, steps=20, top=2)
    sums, differences = np.array(found["sum"]), np.array(found["difference"])
    assert np.abs(sums - differences).max() == pytest.approx(found["gap"], abs=1e-4)
    assert found["gap"] < 0.1 * max(1.0, np.abs(differences).max())
    assert np.array(found["values"]).sum((-1, -2)) == pytest.approx(sums, abs=2e-2 * max(1.0, np.abs(sums).max()))


# ------------------------------------------------------------------------------------------------ frequency saliency


def test_frequency_saliency_of_a_wave(around: Scene) -> None:
    """A score that is the image's correlation with a wave of 3 periods across: all else is noise 60 dB below."""
    wave = torch.cos(2 * math.pi * 3 * torch.arange(16) / 16).expand(3, 16, 16)

    class Wave(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([(x * wave).sum((1, 2, 3)) + 100, x.sum((1, 2, 3)) * 0], 1)

    maps, predicted = frequency_saliency.saliency(Wave(), around.test.float()[:2])
    assert predicted.tolist() == [0, 0]
    peaks = {(8, 8 + 3), (8, 8 - 3)}  # the zero frequency lies at (8, 8)
    for one in maps:
        best = one.flatten().topk(2).indices
        assert {(int(i) // 16, int(i) % 16) for i in best} == peaks
        others = one.clone()
        for i, j in peaks:
            assert one[i, j] == pytest.approx(1, abs=1e-3)
            others[i, j] = 0
        assert others.max() < 0.2


# --------------------------------------------------------------------------------------------------------- neurons


def test_neuron_activation_image_by_image(around: Scene, net: Any) -> None:
    found = TOOLS["neuron_activation"].load()([net], around, seed=0, n=20)
    x, _, mask = samples.poisoned_sample(around, 20, 0)
    seen: list[Tensor] = []
    handle = net.layer4.register_forward_hook(lambda m, i, out: seen.append(out))
    with torch.no_grad():
        for image in x:
            net(image[None].float() / 255)
    handle.remove()
    values = torch.stack([out[0].mean((1, 2)) for out in seen])
    assert found["clean"][0] == pytest.approx(values[~mask].mean(0).tolist(), abs=1e-4)
    assert found["poisoned"][0] == pytest.approx(values[mask].mean(0).tolist(), abs=1e-4)
    clean = np.array(found["clean"][0])[found["order"]]
    assert (np.diff(clean) <= 1e-6).all() and found["n"] == [16, 4]
    with pytest.raises(PaperlibError, match="n=2 holds 0 poisoned images"):
        TOOLS["neuron_activation"].load()([net], around, seed=0, n=2)


def test_strongest_images_and_their_classes() -> None:
    activation = torch.tensor([[0.0, 9.0], [5.0, 1.0], [3.0, 2.0], [4.0, 8.0]])
    best = strongest(activation, 2)
    assert best.tolist() == [[1, 3], [0, 3]]
    y, mask = torch.tensor([2, 0, 1, 0]), torch.tensor([False, False, False, True])
    clean, poisoned = histogram(best, y, mask, 3)
    assert clean.tolist() == [[1, 0, 0], [0, 0, 1]] and poisoned.tolist() == [[1, 0, 0], [1, 0, 0]]
    assert by_difference(activation, mask).tolist() == [1, 0]  # 8 - 4 and 4 - 8/3
    with pytest.raises(PaperlibError, match="k=5 must lie between 1 and the 4 images"):
        strongest(activation, 5)


def test_feature_maps_are_those_of_the_layer(around: Scene, net: Any) -> None:
    found = TOOLS["feature_maps"].load()([net], around, seed=0, layer="layer2", true_class=1, shown=3)
    pair = samples.image_pair(around, 1, 0, "test")
    expected = layer_output(net, "layer2", pair)
    change = (expected[1] - expected[0]).abs().sum((1, 2))
    assert found["channels"][0] == int(change.argmax())
    assert np.array(found["maps"]) == pytest.approx(expected[:, found["channels"]].numpy(), abs=1e-3)


def test_feature_visualisation_raises_the_activation(around: Scene, net: Any) -> None:
    found = feature_visualisation.feature_visualisation([net], around, seed=0, neurons=(3, 5), iterations=15, lr=0.2)
    assert all(b > a for a, b in zip(found["start"], found["final"], strict=True))
    pictures = [analysis_figures.picture(text, found["shape"]) for text in found["images"]]
    x = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
    again = layer_output(net, "layer4", x, pooled=True)[[0, 1], [3, 5]]
    assert again.tolist() == pytest.approx(found["final"], abs=0.1 * max(map(abs, found["final"])))
    with pytest.raises(PaperlibError, match=r"neurons=\(99,\): 99 is none of the layer's 32"):
        feature_visualisation.feature_visualisation([net], around, seed=0, neurons=(99,))


# ------------------------------------------------------------------------------------------------------ the weights


def test_lipschitz_by_brute_force(net: Any) -> None:
    found = lipschitz.constants(net)
    assert next(iter(found)) == "conv1" and list(found)[-1] == "linear"
    conv, norm = net.layer1[0].conv1, net.layer1[0].bn2
    gain = (norm.weight / (norm.running_var + norm.eps).sqrt()).abs()
    for k in range(conv.out_channels):
        svd = np.linalg.svd(conv.weight[k].detach().numpy().reshape(conv.in_channels, -1), compute_uv=False)
        assert found["layer1.0.conv1"][k].item() == pytest.approx(svd[0] * gain[k].item(), rel=1e-4)
    last = net.layer4[1].conv2  # nothing is normalised behind it
    svd = np.linalg.svd(last.weight[0].detach().numpy().reshape(last.in_channels, -1), compute_uv=False)
    assert found["layer4.1.conv2"][0].item() == pytest.approx(svd[0], rel=1e-4)
    row = np.linalg.svd(net.linear.weight[1:2].detach().numpy(), compute_uv=False)[0]
    assert found["linear"][1].item() == pytest.approx(row, rel=1e-4)
    assert list(lipschitz.constants(Smooth())) == ["conv", "linear"]  # without batch norm: kernels alone


def test_network_structure_counts_every_weight(around: Scene, net: Any) -> None:
    found = network_structure.network_structure([net], around, seed=0)
    assert sum(layer["parameters"] for layer in found["layers"]) == found["parameters"]
    assert found["parameters"] == sum(w.numel() for w in net.parameters())
    first = found["layers"][0]
    assert first == {"name": "conv1", "kind": "Conv2d", "shape": [4, 16, 16], "parameters": 3 * 4 * 9}
    assert found["layers"][-1]["shape"] == [4]
    twice = nn.Sequential(nn.Flatten(), nn.Linear(5, 5), nn.ReLU())
    twice.append(twice[1])
    assert [one["parameters"] for one in network_structure.layers(twice, torch.zeros(1, 5))] == [0, 30, 0, 0]


def test_directions_are_as_long_as_the_filters(net: Any) -> None:
    made = loss_landscape.direction(net, torch.Generator().manual_seed(0))
    weight = net.layer2[0].conv1.weight
    for k in range(3):
        assert made["layer2.0.conv1.weight"][k].norm().item() == pytest.approx(weight[k].norm().item(), rel=1e-4)
    assert not made["linear.bias"].any() and not made["layer1.0.bn1.weight"].any()


def test_loss_landscape_point_by_point(around: Scene, net: Any) -> None:
    found = loss_landscape.loss_landscape([net], around, seed=0, n=12, grid=3, radius=0.5)
    clean, triggered, y = samples.attacked_pairs(around, 12, "test")
    with torch.no_grad():
        middle = F.cross_entropy(net(clean.float() / 255), y).item()
        target = F.cross_entropy(net(triggered.float() / 255), torch.zeros_like(y)).item()
    assert found["at"] == [-0.5, 0, 0.5]
    assert found["clean"][0][1][1] == pytest.approx(middle, rel=1e-3)
    assert found["triggered"][0][1][1] == pytest.approx(target, rel=1e-3)
    generator = torch.Generator().manual_seed(0)
    first = loss_landscape.direction(net, generator)
    other = model(around.train)
    other.load_state_dict(net.state_dict())
    with torch.no_grad():
        for name, w in other.named_parameters():
            w.add_(0.5 * first[name])
        moved = F.cross_entropy(other.eval()(clean.float() / 255), y).item()
    assert found["clean"][0][2][1] == pytest.approx(moved, rel=1e-3)
    with pytest.raises(PaperlibError, match="grid=4 must be odd"):
        loss_landscape.loss_landscape([net], around, seed=0, grid=4)


# -------------------------------------------------------------------------------------------------------- the Hessian


def dense(net: Any, x: Tensor, y: Tensor) -> Tensor:
    """The whole Hessian by torch.func, entry by entry."""
    names = [name for name, _ in net.named_parameters()]
    shapes = [w.shape for w in net.parameters()]

    def loss(flat: Tensor) -> Tensor:
        parts = flat.split([s.numel() for s in shapes])
        weights = {n: p.view(s) for n, p, s in zip(names, parts, shapes, strict=True)}
        return F.cross_entropy(torch.func.functional_call(net, weights, (x,)), y)

    flat = torch.cat([w.detach().flatten() for w in net.parameters()])
    return torch.autograd.functional.hessian(loss, flat)  # type: ignore[no-any-return]


def test_hessian_against_the_dense_one() -> None:
    net, data = Smooth().eval(), images(20, size=16)
    x, y = data.float(), data.y
    whole = dense(net, x, y)
    product, size = hessian.hessian_product(net, x, y)
    v = torch.randn(size, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(product(v), whole @ v, atol=1e-4)
    values = torch.linalg.eigvalsh(whole.double()).flip(0)
    found = hessian.spectrum(product, size, steps=40, probes=1, points=50, seed=0)
    assert found["ritz"].max().item() == pytest.approx(values[0].item(), rel=1e-3)
    assert found["ritz"].sort().values[-3].item() == pytest.approx(values[2].item(), rel=2e-2)
    many = hessian.spectrum(product, size, steps=8, probes=20, points=400, seed=0)
    signs = torch.randint(0, 2, (20, size), generator=torch.Generator().manual_seed(0)).float() * 2 - 1
    by_hand = (
        torch.einsum("pi,ij,pj->p", signs, whole, signs).mean().item()
    )  # Hutchinson's estimate with the same probes
    assert many["trace"] == pytest.approx(by_hand, rel=1e-3)
    assert many["trace"] == pytest.approx(values.sum().item(), rel=0.4)
    area = torch.trapezoid(many["density"], many["at"]).item()
    assert area == pytest.approx(1, abs=0.02)  # a density


def test_lanczos_stops_in_an_invariant_space() -> None:
    matrix = torch.diag(torch.tensor([3.0, 3.0, 1.0, 1.0, 1.0]))
    values, first = hessian.lanczos(lambda v: matrix @ v, torch.ones(5), 5)
    assert values.tolist() == pytest.approx([1, 3], abs=1e-5)
    assert first.square().tolist() == pytest.approx([3 / 5, 2 / 5], abs=1e-5)


# ------------------------------------------------------------------------------------------------- counts and dynamics


def test_confusion_counts(around: Scene, net: Any) -> None:
    y, predicted = torch.tensor([0, 0, 1, 2]), torch.tensor([0, 1, 1, 0])
    assert confusion.counts(y, predicted, 3).tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]
    found = confusion.confusion([net], around, seed=0)
    clean, triggered = np.array(found["clean"][0]), np.array(found["triggered"][0])
    assert clean.sum() == 40 and triggered.sum() == 30 and not triggered[0].any()
    assert np.trace(clean) == (predict(net, around.test.x) == around.test.y).sum()
    unattacked = replace(around, attack=None, poisoned=None)
    assert confusion.confusion([net], unattacked, seed=0)["triggered"] == []


def test_forgetting_events_by_hand() -> None:
    noted = torch.tensor([[1, 0, 0, 1], [0, 0, 1, 1], [1, 0, 1, 1], [0, 0, 0, 1]], dtype=torch.bool)
    events, never, first = dynamics.forgetting(noted)
    assert events.tolist() == [2, 0, 1, 0]
    assert never.tolist() == [False, True, False, False] and first.tolist() == [1, 0, 2, 1]


def test_dynamics_is_the_training_of_the_spec(around: Scene, net: Any) -> None:
    """The last epoch's measures are those of a model trained by hand in the same way."""
    found = dynamics.dynamics([net], around, seed=0, n=8, n_gradient=4)
    data, mask = around.poisoned.data, around.poisoned.mask  # type: ignore[union-attr]
    by_hand = fresh(net, 0)
    fit(by_hand, data, Recipe(2, 10, 0.05, "constant"), seed=0)
    poisoned = mask.nonzero().flatten()  # eight of forty: all of them
    with torch.no_grad():
        scores = by_hand(data.x[poisoned].float() / 255)
    last = found["epochs"][-1]
    assert last["acc_poisoned"] == pytest.approx(100 * (scores.argmax(1) == 0).float().mean().item(), abs=13)
    assert last["loss_poisoned"] == pytest.approx(F.cross_entropy(scores, data.y[poisoned]).item(), rel=0.05)
    assert [e["epoch"] for e in found["epochs"]] == [1, 2] and all(
        -1 <= e["cosine_clean"] <= 1 for e in found["epochs"]
    )
    for group in ("clean", "poisoned"):
        one = found[group]
        assert sum(one["events"]) + one["never"] == one["n"] == 8 and sum(one["first"]) == one["n"] - one["never"]
    other = replace(around, name="wanet", attack=attack("wanet"))
    with pytest.raises(PaperlibError, match="attack='wanet' poisons anew in every batch"):
        dynamics.dynamics([net], other, seed=0)


def test_the_trigger_is_altered_and_moved(around: Scene, net: Any) -> None:
    x = around.test.float()
    four = trigger_generalisation.moved(BadNets(patch=4), 3)(x)  # two pixels of a 16-pixel image
    expected = x.clone()
    expected[:, :, -5:-3, -5:-3] = 1
    assert torch.equal(four, expected)
    found = trigger_generalisation.trigger_generalisation([net], around, seed=0, values=(2, 3, 8), shifts=(0, 2))
    keep = around.test.y != 0
    for value, asr in zip((2, 3, 8), found["asr"][0], strict=True):
        triggered = render(BadNets(patch=value), around.test.x[keep])
        assert asr == pytest.approx(100 * (predict(net, triggered) == 0).float().mean().item(), abs=1e-2)
    assert (found["field"], found["trained"]) == ("patch", 3) and found["asr_shifted"][0][0] == found["asr"][0][1]
    with pytest.raises(PaperlibError, match="field of badnets='patsch' is unknown"):
        trigger_generalisation.trigger_generalisation([net], around, seed=0, field="patsch")


# ---------------------------------------------------------------------------------------------------------- all of them

PARAMS: dict[str, dict[str, Any]] = {
    "tsne": {"n": 20},
    "neurons": {"n": 8},
    "gradcam": {"true_class": 1},
    "shapley": {"true_class": 1, "backgrounds": 3, "steps": 2, "top": 2},
    "frequency_saliency": {"true_class": 1},
    "neuron_activation": {"n": 20},
    "activated_images": {"n": 20, "k": 3, "shown": 2},
    "activation_distribution": {"n": 20, "k": 5, "shown": 4},
    "feature_maps": {"true_class": 1, "shown": 3},
    "feature_visualisation": {"shown": 2, "iterations": 3, "n": 20},
    "lipschitz": {},
    "loss_landscape": {"n": 8, "grid": 3},
    "network_structure": {},
    "hessian": {"n": 6, "steps": 3, "top": 2, "points": 20},
    "confusion": {},
    "dynamics": {"n": 8, "n_gradient": 4},
    "trigger_generalisation": {"values": (2.0, 3.0), "shifts": (0, 1)},
}


@pytest.mark.parametrize("name", PARAMS)
def test_every_tool_is_small_deterministic_and_drawn(name: str, around: Scene, net: Any) -> None:
    before = state(net)
    tool = TOOLS[name].load()
    found = tool([net], around, seed=3, **PARAMS[name])
    text = json.dumps(found, allow_nan=False)
    assert len(text) < 100_000
    assert json.dumps(tool([net], around, seed=3, **PARAMS[name])) == text
    assert same(before, state(net)) and not net.training and all(w.grad is None for w in net.parameters())
    figure = analysis_figures.DRAW[name](json.loads(text), names=["toy"])
    assert figure.axes and any(axes.has_data() for axes in figure.axes)
    mpl.pyplot.close(figure)


def test_forgetting_is_drawn(around: Scene, net: Any) -> None:
    found = dynamics.dynamics([net], around, seed=0, n=8, n_gradient=4)
    figure = analysis_figures.forgetting([found])
    bars: Any = figure.axes[0].patches
    heights = [bar.get_height() for bar in bars]
    assert sum(heights) == pytest.approx(200)  # each group is whole
    mpl.pyplot.close(figure)


@pytest.mark.parametrize(
    "name", ["shapley", "neuron_activation", "loss_landscape", "hessian", "dynamics", "feature_maps"]
)
def test_a_clean_model_is_refused(name: str, around: Scene, net: Any) -> None:
    with pytest.raises(PaperlibError, match="was trained on clean data"):
        TOOLS[name].load()([net], replace(around, attack=None, poisoned=None), seed=0)


def test_tools_look_at_transformers(around: Scene) -> None:
    net = Tokens().eval()
    for name in ("neuron_activation", "activation_distribution", "feature_maps", "hessian", "shapley", "lipschitz"):
        params = {**PARAMS[name], **({"layer": "first"} if name in ("feature_maps", "shapley") else {})}
        json.dumps(TOOLS[name].load()([net], around, seed=0, **params), allow_nan=False)


# --------------------------------------------------------------------------------------------------------------- UMAP


def test_umap_is_optional(around: Scene, net: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(PaperlibError, match="needs the package umap-learn, which is not installed"):
        TOOLS["umap"].load()([net], around, seed=0)


def test_umap_gets_features_and_the_seed(around: Scene, net: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the package is asked; the package itself is not installed with the tests."""
    asked: dict[str, Any] = {}

    class Stand:
        def __init__(self, **given: Any) -> None:
            asked.update(given)

        def fit_transform(self, features: np.ndarray) -> np.ndarray:
            asked["features"] = features
            return features[:, :2]

    module = ModuleType("umap")
    module.UMAP = Stand  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "umap", module)
    found = TOOLS["umap"].load()([net], around, seed=7, n=20)
    x, y, _ = samples.poisoned_sample(around, 20, 7)
    assert asked["random_state"] == 7 and asked["n_neighbors"] == 15
    assert np.allclose(asked["features"], layer_output(net, "layer4", x, pooled=True).numpy(), atol=1e-5)
    assert found["y"] == y.tolist() and np.array(found["xy"]).shape == (1, 20, 2)
    mpl.pyplot.close(analysis_figures.DRAW["umap"](found))
