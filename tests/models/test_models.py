"""PreAct-ResNet18 against its description: size, structure, and what its outputs depend on."""

import pytest
import torch
import torch.nn.functional as F
from image_toy import images, model, same, state
from torch import Tensor, nn

from paperlib import models
from paperlib.errors import PaperlibError
from paperlib.models.preact_resnet import PreActBlock, PreActResNet18

GREY = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def parameters_of(width: int, classes: int, channels: int = 3) -> int:
    """The number of weights, from the architecture as the papers describe it."""
    total, c_in = channels * width * 9, width  # stem: 3x3, no bias
    for stage, c_out in enumerate((width, 2 * width, 4 * width, 8 * width)):
        first = 2 * c_in + 9 * c_in * c_out + 2 * c_out + 9 * c_out**2  # BN, 3x3, BN, 3x3
        shortcut = c_in * c_out if stage else 0  # 1x1 where the shape changes
        second = 2 * (2 * c_out + 9 * c_out**2)
        total, c_in = total + first + shortcut + second, c_out
    return total + 8 * width * classes + classes


def by_hand(model: nn.Module, x: Tensor) -> Tensor:
    """The network in evaluation mode, written down once more as plain functions of its state."""
    w = model.state_dict()

    def norm(x: Tensor, name: str) -> Tensor:
        scale = w[f"{name}.weight"] / (w[f"{name}.running_var"] + 1e-5).sqrt()
        shift = w[f"{name}.bias"] - scale * w[f"{name}.running_mean"]
        return x * scale.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1)

    out = F.conv2d((x - w["mean"]) / w["std"], w["conv1.weight"], padding=1)
    for stage in (1, 2, 3, 4):
        for block in (0, 1):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            active = norm(out, f"{name}.bn1").relu()
            projection = w.get(f"{name}.shortcut.weight")
            shortcut = out if projection is None else F.conv2d(active, projection, stride=stride)
            out = F.conv2d(active, w[f"{name}.conv1.weight"], stride=stride, padding=1)
            out = F.conv2d(norm(out, f"{name}.bn2").relu(), w[f"{name}.conv2.weight"], padding=1) + shortcut
    return out.mean((2, 3)) @ w["linear.weight"].T + w["linear.bias"]


@pytest.mark.parametrize(("width", "classes"), [(64, 10), (64, 200), (16, 10), (4, 3)])
def test_number_of_weights(width: int, classes: int) -> None:
    made = PreActResNet18(*GREY, classes, width=width)
    assert sum(p.numel() for p in made.parameters()) == parameters_of(width, classes)


def test_the_papers_model_has_11_17_million_weights() -> None:
    made = PreActResNet18(*GREY, 10)
    assert round(sum(p.numel() for p in made.parameters()) / 1e6, 2) == 11.17


@pytest.mark.parametrize("size", [8, 16])
def test_forward_pass_by_hand(size: int) -> None:
    data = images(12, size=size)
    made = model(data)
    made.train()(data.float())  # so that the running statistics are not the initial ones
    made.eval()
    with torch.no_grad():
        assert torch.allclose(made(data.float()), by_hand(made, data.float()), atol=1e-5)


def test_nothing_between_the_last_block_and_the_pooling() -> None:
    data = images(12)
    made = model(data).eval()
    seen: dict[str, Tensor] = {}
    made.layer4.register_forward_hook(lambda m, i, out: seen.update(block=out))
    made.linear.register_forward_hook(lambda m, inputs, o: seen.update(features=inputs[0]))
    with torch.no_grad():
        made(data.float())
    assert torch.allclose(seen["features"], seen["block"].mean((2, 3)), atol=1e-6)
    assert (seen["features"] < 0).any()  # no ReLU
    assert not [name for name, _ in made.named_modules() if name.startswith("bn")]  # no norm outside the blocks
    assert not [m for m in made.modules() if isinstance(m, nn.MaxPool2d)]


def test_normalisation_is_inside() -> None:
    data = images(6)
    made = model(data).eval()
    plain = PreActResNet18(*GREY, 4, width=4).eval()
    plain.load_state_dict({**made.state_dict(), "mean": plain.mean, "std": plain.std})
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (data.mean, data.std))
    with torch.no_grad():
        assert torch.allclose(made(data.float()), plain((data.float() - mean) / std), atol=1e-5)


def test_logits_do_not_depend_on_the_rest_of_the_batch() -> None:
    data = images(10)
    made, x = model(data), data.float()
    with torch.no_grad():
        made.train()
        assert not torch.allclose(made(x)[:2], made(x[:2]), atol=1e-3)  # batch norm in training does depend on it
        made.eval()
        whole = made(x)
        assert torch.allclose(torch.cat([made(x[i : i + 1]) for i in range(10)]), whole, atol=1e-5)
        assert torch.allclose(made(x.flip(0)).flip(0), whole, atol=1e-5)


def test_the_seed_alone_decides_the_initial_weights() -> None:
    data = images()
    torch.manual_seed(1)
    first, drawn = state(model(data, seed=5)), torch.rand(3)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(3), drawn)  # building leaves the global generator alone
    torch.manual_seed(2)
    assert same(first, state(model(data, seed=5)))
    assert not same(first, state(model(data, seed=6)))


def test_layers_that_others_name_exist() -> None:
    made = model(images())
    assert isinstance(made.get_submodule("layer4.1.conv1"), nn.Conv2d)
    last = made.get_submodule(made.last_conv)
    assert isinstance(last, nn.Conv2d) and last.out_channels == 8 * 4
    assert made.get_submodule(made.features) is made.layer4
    assert last is [m for m in made.modules() if isinstance(m, nn.Conv2d)][-1]


def test_unknown_model_says_the_nearest() -> None:
    with pytest.raises(PaperlibError, match="did you mean 'preact_resnet18'"):
        models.build("preact_resnet_18", images())


def test_fresh_weights_depend_on_the_seed_and_leave_the_model_alone() -> None:
    data = images(8)
    trained = model(data)
    before = state(trained)
    one, again, other = models.fresh(trained, 1), models.fresh(trained, 1), models.fresh(trained, 2)
    assert same(state(trained), before) and one.training
    assert same(state(one), state(again))
    assert not same(state(one), state(other)) and not same(state(one), before)
    assert torch.equal(one.mean, trained.mean)  # type: ignore[arg-type]


@pytest.mark.parametrize("channels", [4, 8])
def test_the_shortcut_is_a_strided_convolution(channels: int) -> None:
    """Also of few channels, where it is computed without a stride."""
    block = PreActBlock(channels, 2 * channels, 2)
    assert block.shortcut is not None
    x = torch.rand(3, channels, 7, 7)
    active = F.relu(F.batch_norm(x, None, None, training=True))
    residual = block.conv2(F.relu(F.batch_norm(block.conv1(active), None, None, training=True)))
    expected = residual + F.conv2d(active, block.shortcut.weight, stride=2)
    torch.testing.assert_close(block(x), expected)
