"""The tools behind the figures, against computations image by image, and that looking changes nothing."""

import base64
import math
from contextlib import nullcontext
from copy import deepcopy

import numpy as np
import pytest
import torch
from image_toy import images, model, same, scene, state
from torch import Tensor, nn

from paperlib.analysis import TOOLS
from paperlib.analysis.gradcam import gradcam
from paperlib.analysis.neurons import neurons, trigger_activated_change, weight_norms
from paperlib.analysis.sam_geometry import sam_geometry
from paperlib.analysis.tsne import embed, tsne
from paperlib.attacks import render
from paperlib.attacks.scene import Scene
from paperlib.errors import PaperlibError
from paperlib.models import layers
from paperlib.models.layers import class_activation_map, layer_output, named_layer


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Float32 throughout, whatever the processor offers."""
    monkeypatch.setattr(layers, "autocast", lambda device: nullcontext())


@pytest.fixture
def around() -> Scene:
    return scene(images(40, size=16))


@pytest.fixture
def net(around: Scene) -> nn.Module:
    made = model(around.train).train()
    made(around.train.float())  # running statistics of real images
    return made.eval()


# --------------------------------------------------------------------------------------------------- activations


def test_layer_output_is_what_the_layer_puts_out(around: Scene, net: nn.Module) -> None:
    seen: list[Tensor] = []
    handle = net.layer4.register_forward_hook(lambda m, i, out: seen.append(out))
    with torch.no_grad():
        net(around.test.float())
    handle.remove()
    net.train()
    before = state(net)
    found = layer_output(net, "layer4", around.test.x, batch_size=7)
    assert net.training and same(before, state(net))
    assert torch.allclose(found, seen[0], atol=1e-5) and found.shape == (40, 32, 2, 2)
    assert torch.allclose(layer_output(net, "layer4", around.test.x, pooled=True), seen[0].mean((2, 3)), atol=1e-5)
    assert layer_output(net, "linear", around.test.x, pooled=True).shape == (40, 4)
    assert not net.layer4._forward_hooks  # nothing stays behind


def test_an_unknown_layer_lists_the_layers(net: nn.Module) -> None:
    with pytest.raises(PaperlibError, match=r"layer='layer5' is not in the model; .*layer4\.1\.conv2.*linear"):
        layer_output(net, "layer5", images().x)


# ------------------------------------------------------------------------------------------------------- neurons


def naive_tac(net: nn.Module, layer: str, clean: Tensor, triggered: Tensor, per_image: bool) -> list[float]:
    """Image by image, channel by channel, position by position."""
    maps: list[Tensor] = []
    handle = named_layer(net, layer).register_forward_hook(lambda m, i, out: maps.append(out[0]))
    with torch.no_grad():
        for a, b in zip(clean, triggered, strict=True):
            net(a[None].float() / 255)
            net(b[None].float() / 255)
    handle.remove()
    pairs = list(zip(maps[::2], maps[1::2], strict=True))
    out = []
    for k in range(maps[0].shape[0]):
        differences = [(b[k] - a[k]).flatten().tolist() for a, b in pairs]
        if per_image:
            out.append(sum(math.sqrt(sum(v * v for v in d)) for d in differences) / len(pairs))
        else:
            out.append(sum(sum(abs(d[p]) for d in differences) / len(pairs) for p in range(len(differences[0]))))
    return out


@pytest.mark.parametrize("per_image", [False, True])
def test_tac_image_by_image(around: Scene, net: nn.Module, per_image: bool) -> None:
    clean = around.test.x[:9]
    triggered = render(around.attack, clean)
    found = trigger_activated_change(net, net.last_conv, clean, triggered, per_image=per_image)
    expected = naive_tac(net, net.last_conv, clean, triggered, per_image)
    assert found.tolist() == pytest.approx(expected, abs=1e-4) and min(expected) > 0


def test_without_a_trigger_nothing_changes(around: Scene, net: nn.Module) -> None:
    x = around.test.x[:9]
    assert trigger_activated_change(net, net.last_conv, x, x).tolist() == [0] * 32


def test_norms_of_the_filters(net: nn.Module) -> None:
    weight = net.get_submodule(net.last_conv).weight.tolist()
    expected = [
        math.sqrt(sum(v * v for plane in channel for row in plane for v in row)) for channel in weight
    ]  # one filter per output channel
    assert weight_norms(net, net.last_conv).tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", ["badnets", "badnets_a2a", "sig"])
def test_neurons_pairs_every_image_with_itself(name: str, net: nn.Module) -> None:
    """Also where the triggered set leaves out the target class, the pairs are of the same image."""
    around = scene(images(40, size=16), name)
    other = model(around.train, seed=1).eval()
    kept = around.test.x if name == "badnets_a2a" else around.test.x[around.test.y != 0]
    found = neurons([net, other], around, seed=0, n=12)
    for k, made in enumerate((net, other)):
        expected = trigger_activated_change(made, net.last_conv, kept[:12], render(around.attack, kept[:12]))
        assert found["tac"][k] == pytest.approx(expected.tolist(), abs=1e-3)
        assert found["norm"][k] == pytest.approx(weight_norms(made, net.last_conv).tolist(), abs=1e-5)
    everything = neurons([net], around, seed=0, n=10_000)  # more than there are: all of them
    expected = trigger_activated_change(net, net.last_conv, kept, render(around.attack, kept))
    assert everything["tac"][0] == pytest.approx(expected.tolist(), abs=1e-3)


# ------------------------------------------------------------------------------------------------------ Grad-CAM


class Pooled(nn.Module):
    """Convolution, ReLU, global average, linear: here Grad-CAM is the class activation map."""

    features = "conv"

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU())
        self.linear = nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.conv(x).mean((2, 3)))


def test_grad_cam_is_cam_on_a_pooled_network() -> None:
    torch.manual_seed(0)
    net, x = Pooled(), images(6).float()
    maps, predicted = class_activation_map(net, "conv", x)
    with torch.no_grad():
        features, scores = net.conv(x), net(x)
    assert torch.equal(predicted, scores.argmax(1))
    for i in range(6):
        c = int(predicted[i])
        cam = torch.zeros(8, 8)
        for k in range(5):
            cam += net.linear.weight[c, k].item() * features[i, k]
        cam = cam.clamp_min(0)
        assert cam.max() > 0
        assert torch.allclose(maps[i], cam / cam.max(), atol=1e-5)
    assert net.training and all(w.grad is None for w in net.parameters())


def test_a_map_that_is_negative_everywhere_is_empty() -> None:
    net = Pooled()
    with torch.no_grad():
        net.linear.weight.fill_(-1.0)
    maps, _ = class_activation_map(net, "conv", images(3).float())
    assert torch.equal(maps, torch.zeros_like(maps))  # and not 0 / 0


def test_grad_cam_works_where_gradients_are_switched_off(around: Scene, net: nn.Module) -> None:
    with torch.no_grad():
        maps, _ = class_activation_map(net, "layer4", around.test.float()[:2])
    assert maps.shape == (2, 2, 2) and maps.min() >= 0 and maps.max() <= 1


def test_gradcam_needs_a_trigger(around: Scene, net: nn.Module) -> None:
    clean = Scene(around.train, around.test)
    with pytest.raises(PaperlibError, match="was trained on clean data; the tool gradcam compares it with a trigger"):
        gradcam([net], clean, seed=0, true_class=2)


def test_gradcam_shows_one_image_of_the_class_twice(around: Scene, net: nn.Module) -> None:
    other = model(around.train, seed=1).eval()
    found = gradcam([net, other], around, seed=0, true_class=2)
    assert found["shape"] == [3, 16, 16]
    clean, triggered = (
        torch.from_numpy(np.frombuffer(base64.b64decode(text), np.uint8).reshape(16, 16, 3).copy()).permute(2, 0, 1)
        for text in found["images"]
    )
    candidates = around.test.x[around.test.y == 2]
    with torch.no_grad():
        recognised = (net(candidates.float() / 255).argmax(1) == 2).nonzero().flatten().tolist()
    assert torch.equal(clean, candidates[recognised[0] if recognised else 0])
    assert torch.equal(triggered, render(around.attack, clean[None])[0])
    for k, made in enumerate((net, other)):
        for j, image in enumerate((clean, triggered)):
            cam, predicted = class_activation_map(made, "layer4", image[None].float() / 255)
            assert found["predicted"][k][j] == predicted.item()
            assert np.array(found["maps"][k][j]) == pytest.approx(cam[0].numpy(), abs=2e-3)


# --------------------------------------------------------------------------------------------------------- t-SNE


def test_tsne_is_the_same_for_the_same_seed() -> None:
    features = np.random.default_rng(0).standard_normal((30, 6)).astype(np.float32)
    first = embed(features, 0)
    assert first.shape == (30, 2) and np.isfinite(first).all()
    assert np.array_equal(first, embed(features, 0))
    assert np.isfinite(embed(features[:5], 0)).all()  # fewer points than the usual perplexity


def test_tsne_shows_the_training_set_in_its_own_proportion(around: Scene, net: nn.Module) -> None:
    found = tsne([net, net], around, seed=0, n=20)
    assert sum(found["poisoned"]) == 4 == round(20 * 0.2)  # a fifth of the training set is poisoned
    assert np.array(found["xy"]).shape == (2, 20, 2) and len(found["y"]) == 20
    assert found["xy"][0] == found["xy"][1]  # the same images for every model
    assert {y for y, p in zip(found["y"], found["poisoned"], strict=True) if p} == {0}  # the labels of training
    assert tsne([net], around, seed=0, n=20)["xy"][0] == found["xy"][0]


# -------------------------------------------------------------------------------------------------- SAM geometry


def test_sam_geometry_against_the_formulas(net: nn.Module) -> None:
    around = scene(images(40, size=16, pad=0, flip=False))
    before = state(net)
    found = sam_geometry([net], around, seed=0, rho=0.5, rhos=(0.25, 0.5), n_clean=16, batch_size=16)
    assert same(before, state(net)) and not net.training  # weights and statistics, bit for bit
    assert all(w.grad is None for w in net.parameters())

    clean = around.clean(16, 0)  # without augmentation the batch is the clean subset, whatever its order

    def gradients(made: nn.Module) -> list[Tensor]:
        loss = nn.functional.cross_entropy(made.train()(clean.float()), clean.y)
        return list(torch.autograd.grad(loss, list(made.parameters())))

    def per_neuron(tensors: list[Tensor]) -> list[float]:
        names = [name for name, _ in net.named_parameters()]
        return [t.norm().item() for t in tensors[names.index("layer4.1.conv2.weight")].detach()]

    here = gradients(deepcopy(net))
    weights = [w.detach() for w in net.parameters()]
    whole = math.sqrt(sum((g**2).sum().item() for g in here))
    scaled = math.sqrt(sum(((w * g) ** 2).sum().item() for w, g in zip(weights, here, strict=True)))
    epsilon = [0.5 * w**2 * g / scaled for w, g in zip(weights, here, strict=True)]
    there = deepcopy(net)
    with torch.no_grad():
        for w, e in zip(there.parameters(), epsilon, strict=True):
            w.add_(e)
    assert found["gradient_ft"] == pytest.approx(per_neuron(here), rel=1e-2, abs=1e-5)
    assert found["epsilon_sam"] == pytest.approx(per_neuron([0.5 * g / whole for g in here]), rel=1e-2, abs=1e-5)
    assert found["epsilon_asam"] == pytest.approx(per_neuron(epsilon), rel=1e-2, abs=1e-5)
    assert found["gradient_ft_sam"] == pytest.approx(per_neuron(gradients(there)), rel=1e-2, abs=1e-5)
    assert len(found["mean_gradient"]) == 2
    assert found["mean_gradient"][1] == pytest.approx(np.mean(found["gradient_ft_sam"]), abs=2e-6)


def test_sam_geometry_depends_on_the_seed_only(around: Scene, net: nn.Module) -> None:
    first = sam_geometry([net], around, seed=0, n_clean=16, batch_size=8)
    assert first == sam_geometry([net], around, seed=0, n_clean=16, batch_size=8)
    assert first != sam_geometry([net], around, seed=1, n_clean=16, batch_size=8)


def test_every_tool_that_looks_at_models_leaves_them_alone(around: Scene, net: nn.Module) -> None:
    before = state(net)
    for name, params in {
        "tsne": {"n": 10},
        "neurons": {"n": 8},
        "sam_geometry": {"n_clean": 8},
        "gradcam": {"true_class": 1},
    }.items():
        assert isinstance(TOOLS[name].load()([net], around, seed=0, **params), dict)
        assert same(before, state(net)) and not net.training, name
