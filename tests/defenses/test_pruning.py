"""FP, CLP, EP, BNP and what the pruning defenses share: each score against its definition, and what pruning leaves."""

import math

import pytest
import torch
from image_toy import images, model, same, state
from torch import nn

from paperlib.data.images import ImageData
from paperlib.defenses import DEFENSES, NOTHING, POISONED, defend, purify
from paperlib.defenses.bnp import divergence
from paperlib.defenses.clp import lipschitz, pairs
from paperlib.defenses.ep import entropy
from paperlib.defenses.pruning import batch_norm_inputs, batch_norms, beyond, epoch, hold_out, masked_step, prune, zeros
from paperlib.errors import NotApplicable, PaperlibError
from paperlib.models.default_layer import LayerChosen
from paperlib.training import Recipe, fit, loss_function, sgd_step

TUNING = {"epochs": 2, "batch_size": 20}
RUN = {
    "fp": {**TUNING, "budget": 0.5},
    "fp linear": {**TUNING, "budget": 0.5, "variant": "linear"},
    "clp": {"u": 1.0},
    "ep": {"u": 1.0},
    "bnp": {"u": 1.0},
}


@pytest.fixture(scope="module")
def data() -> ImageData:
    return images()


@pytest.fixture(scope="module")
def made(data: ImageData) -> nn.Module:
    out = model(data)
    fit(out, data, Recipe(6, 20, 0.05), seed=0)
    out.zero_grad(set_to_none=True)
    return out


def given(method: str, data: ImageData) -> dict[str, ImageData]:
    access = DEFENSES[method].access
    return {} if access == NOTHING else {"poisoned" if access == POISONED else "clean": data}


def plain() -> nn.Module:
    """Convolution, batch norm, linear layer, by a user."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 4),
    ).eval()


# ------------------------------------------------------------------------------------------------------- what is shared


def test_hold_out_takes_its_share_of_every_class_at_random(data: ImageData) -> None:
    x = torch.arange(103, dtype=torch.uint8).view(-1, 1, 1, 1)  # the pixel names the image
    y = torch.cat([torch.zeros(50), torch.ones(33), torch.full((18,), 2), torch.full((2,), 3)]).long()
    whole = ImageData(x, y, tuple("abcd"), (0.5,), (0.5,), False, 0, "toy")
    kept, held = hold_out(whole, 0.2, seed=0)
    assert torch.bincount(held.y).tolist() == [10, 7, 4, 1] and torch.bincount(kept.y).tolist() == [40, 26, 14, 1]
    assert sorted([*kept.x.flatten().tolist(), *held.x.flatten().tolist()]) == list(range(103))
    assert torch.equal(held.y, y[held.x.flatten().long()])
    again, other = hold_out(whole, 0.2, seed=0)[1], hold_out(whole, 0.2, seed=1)[1]
    assert torch.equal(held.x, again.x) and not torch.equal(held.x, other.x)


def test_an_epoch_covers_every_image_once_in_near_equal_batches(data: ImageData) -> None:
    x = torch.arange(45, dtype=torch.uint8).view(-1, 1, 1, 1)
    whole = ImageData(x, x.flatten().long() % 4, tuple("abcd"), (0.5,), (0.5,), False, 0, "toy")
    parts = list(epoch(whole, 20, torch.Generator().manual_seed(0)))
    assert [len(y) for _, y in parts] == [15, 15, 15]
    pixels = torch.cat([x.flatten() for x, _ in parts]).mul(255).round().long()
    assert sorted(pixels.tolist()) == list(range(45)) and pixels.tolist() != list(range(45))


def test_outliers_of_a_layer() -> None:
    values = torch.tensor([1.0] * 15 + [100.0])
    assert beyond(values, 3.0, above=True).nonzero().flatten().tolist() == [15]
    assert not beyond(values, 3.0, above=False).any()
    assert beyond(-values, 3.0, above=False).nonzero().flatten().tolist() == [15]
    odd = torch.cat([values, torch.tensor([math.inf, math.nan])])
    assert torch.equal(beyond(odd, 3.0, above=True)[:16], beyond(values, 3.0, above=True))
    assert not beyond(odd, 3.0, above=True)[16:].any()
    assert not beyond(torch.tensor([math.nan, 1.0]), 0.0, above=True).any()


@pytest.mark.parametrize("bias", [True, False])
def test_a_pruned_channel_is_constant(made: nn.Module, data: ImageData, bias: bool) -> None:
    before = state(made)
    gone = torch.tensor([True, False, False, True])
    pruned = prune(made, {"layer1.0.bn2": gone}, bias=bias)
    out = batch_norm_outputs(pruned, "layer1.0.bn2", data)
    assert (out[:, gone] == out[:1, gone, :1, :1]).all() and (out[:, ~gone].std((0, 2, 3)) > 0).all()
    assert (out[:, gone] == 0).all() == bias
    assert same(before, state(made))


def batch_norm_outputs(made: nn.Module, name: str, data: ImageData) -> torch.Tensor:
    seen: list[torch.Tensor] = []
    handle = made.get_submodule(name).register_forward_hook(lambda m, i, o: seen.append(o.detach()))
    made.eval()(data.float())
    handle.remove()
    return seen[0]


def test_inputs_of_batch_norm(made: nn.Module, data: ImageData) -> None:
    seen = batch_norm_inputs(made, data.float(), lambda x: x.mean((0, 2, 3)))
    assert list(seen) == list(batch_norms(made))
    expected = made.conv1((data.float() - made.mean) / made.std).mean((0, 2, 3))
    assert torch.allclose(seen["layer1.0.bn1"], expected, atol=1e-5)
    assert not any(m._forward_pre_hooks for m in made.modules())


def test_masks_hold_through_fine_tuning(data: ImageData) -> None:
    made = model(data)
    name = "layer4.1.conv2.weight"
    keep = (torch.arange(32) % 2).float().view(-1, 1, 1, 1)
    fit(made, data, Recipe(2, 20, 0.05), seed=0, step=masked_step(sgd_step(loss_function(0.0)), {name: keep}))
    weight = made.get_parameter(name)
    assert (weight[::2] == 0).all() and (weight[1::2] != 0).all()


# ------------------------------------------------------------------------------------------------------------------ CLP


def test_the_lipschitz_constant_is_the_largest_singular_value(made: nn.Module) -> None:
    conv, norm = made.layer2[0].conv1, made.layer2[0].bn2
    found = lipschitz(conv, norm)
    for k in range(conv.out_channels):  # brute force, in double precision
        matrix = conv.weight[k].detach().double().reshape(conv.in_channels, -1)
        scale = norm.weight[k].double() / math.sqrt(norm.running_var[k].item() + norm.eps)
        largest = torch.linalg.svd(matrix * scale).S.max().item()
        assert found[k].item() == pytest.approx(largest, rel=1e-4)


def test_batch_norm_is_paired_with_the_convolution_registered_before_it(made: nn.Module) -> None:
    names = {id(m): name for name, m in made.named_modules()}
    found = {name: names[id(conv)] for name, conv in pairs(made).items()}
    assert found["layer1.0.bn1"] == "conv1" and found["layer1.0.bn2"] == "layer1.0.conv1"
    assert found["layer1.1.bn1"] == "layer1.0.conv2"
    assert found["layer2.1.bn1"] == "layer2.0.shortcut"  # as the authors' code has it
    assert len(found) == len(batch_norms(made))


def test_clp_prunes_the_channel_that_stands_out() -> None:
    made = nn.Sequential(
        nn.Conv2d(3, 20, 3), nn.BatchNorm2d(20), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(20, 4)
    )
    with torch.no_grad():
        made[0].weight[7] *= 100
        made[1].bias.fill_(1)
    pruned, notes = purify(made, method="clp")
    assert (pruned[1].weight == 0).nonzero().flatten().tolist() == [7] and pruned[1].bias[7] == 0
    assert notes["n_pruned"] == 1 and notes["pruned_by_layer"] == {"1": 1} and notes["unpaired"] == 0
    assert purify(made, method="clp", u=5.0)[1]["n_pruned"] == 0


# -------------------------------------------------------------------------------------------------------------- EP, BNP


def test_entropy_by_hand() -> None:
    """Two values in equal shares: log 2. A uniform grid: more. Constant: unknown."""
    two = torch.tensor([0.0, 1.0]).repeat(50)
    grid = torch.arange(100.0)
    found = entropy(torch.stack([two, grid, torch.full((100,), 3.0)]), 0.1)
    assert found[0].item() == pytest.approx(math.log(2), abs=1e-5)
    z = (grid - grid.mean()) / grid.std()
    counts = torch.bincount(((z - z.min()) / 0.1).long()).double() / 100  # shares of bins that start at the smallest
    expected = -(counts[counts > 0] * counts[counts > 0].log()).sum().item()
    assert found[1].item() == pytest.approx(expected, abs=0.1) and found[1] > found[0]
    assert found[2].isnan()


class OneTwoModes(nn.Module):
    """Of 20 batch-norm inputs, channel 4 is switched by the top left pixel; the others are noise of their own pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(20)
        self.linear = nn.Linear(20, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        channels = x[:, 0].flatten(1)[:, 8:28].clone()
        channels[:, 4] = (x[:, 0, 0, 0] == 1).float() + 0.001 * channels[:, 4]
        return self.linear(self.bn(channels[:, :, None, None]).flatten(1))


def mixed(n: int = 200) -> ImageData:
    """Noise; every tenth image has a white top left pixel."""
    out = images(n, 4, 8, pad=0, flip=False)
    out.x[:, :, 0, 0] = 0
    out.x[::10, :, 0, 0] = 255
    return out


def test_ep_prunes_the_channel_with_two_modes() -> None:
    made = OneTwoModes()
    with torch.no_grad():
        made.bn.bias.fill_(1)
    pruned, notes = purify(made, poisoned=mixed(), method="ep")
    assert (pruned.bn.weight == 0).nonzero().flatten().tolist() == [4] and pruned.bn.bias[4] == 0
    assert notes["n_pruned"] == 1 and notes["n_channels"] == 20


def test_bnp_prunes_the_channel_that_is_silent_on_clean_images() -> None:
    made = OneTwoModes().train()
    for _ in range(60):
        made(mixed().float())  # running statistics of training images, a tenth of them poisoned
    clean = mixed().subset(torch.arange(200) % 10 != 0)
    pruned, _ = purify(made, clean=clean, method="bnp")
    assert (pruned.bn.weight == 0).nonzero().flatten().tolist() == [4]


def test_divergence_is_that_of_torch() -> None:
    g = torch.Generator().manual_seed(0)
    m1, v1, m2, v2 = torch.rand(4, 50, generator=g) + 0.1
    first, second = (torch.distributions.Normal(m, v.sqrt()) for m, v in ((m1, v1), (m2, v2)))
    assert torch.allclose(divergence(m1, v1, m2, v2), torch.distributions.kl_divergence(first, second), atol=1e-6)


# ------------------------------------------------------------------------------------------------------------------- FP


class Told(nn.Module):
    """Four channels of a convolution; the class is the brightest. Dormant channels 4 and 5 are never read."""

    last_conv = "conv"

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 1)
        self.linear = nn.Linear(6, 4)
        with torch.no_grad():
            self.conv.weight.zero_()
            self.conv.bias.copy_(torch.tensor([5.0, 6.0, 7.0, 8.0, 0.1, 0.2]))
            self.linear.weight.zero_()
            self.linear.bias.copy_(torch.tensor([4.0, 3.0, 2.0, 1.0]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(self.conv(x).mean((2, 3)))


@pytest.mark.parametrize("variant", ["conv", "linear"])
def test_fp_prunes_the_least_active_first_until_the_judge_says_stop(data: ImageData, variant: str) -> None:
    asked: list[list[int]] = []

    def judge(candidate: nn.Module) -> dict[str, float]:
        asked.append((candidate.linear.weight == 0).all(0).nonzero().flatten().tolist())
        return {"c_acc": 80.0 if len(asked[-1]) < 4 else 60.0, "asr": 0.0}

    made = Told()
    with torch.no_grad():
        made.linear.weight.fill_(1)
    options = {"variant": variant, "selection": "paper", "judge": judge, "epochs": 1, "batch_size": 20, "lr": 1e-4}
    pruned, notes = purify(made, clean=data, method="fp", **options)
    assert asked == [[], [4], [4, 5], [0, 4, 5], [0, 1, 4, 5]]
    assert notes["n_pruned"] == 3 and notes["accuracy_before"] == notes["accuracy_pruned"] == 80
    assert "test" in notes["selection"]
    assert (pruned.linear.weight == 0).all(0).tolist() == [True, False, False, False, True, True]  # also after tuning
    assert ((pruned.conv.weight == 0).flatten(1).all(1)[[0, 4, 5]].all()) and (pruned.conv.bias[4] == 0) == (
        variant == "conv"
    )
    _, notes = purify(made, clean=data, method="fp", overshoot=True, **options)
    assert notes["n_pruned"] == 4 and notes["accuracy_pruned"] == 60


def test_fp_by_default_asks_held_out_images_and_no_judge(made: nn.Module, data: ImageData) -> None:
    _, notes = purify(made, clean=data, method="fp", judge=None, **RUN["fp"])
    assert notes["selection"] == "held-out clean accuracy" and 0 <= notes["n_pruned"] < 32
    assert notes["accuracy_pruned"] > 0.5 * notes["accuracy_before"]


# ---------------------------------------------------------------------------------------------- every one of them


@pytest.mark.parametrize("run", sorted(RUN))
@pytest.mark.parametrize("training", [True, False])
def test_the_model_that_was_given_stays_as_it_was(made: nn.Module, data: ImageData, run: str, training: bool) -> None:
    method = run.split()[0]
    made.train(training)
    before = state(made)
    first, second = (defend(made, method=method, seed=3, **given(method, data), **RUN[run]) for _ in range(2))
    assert same(before, state(made)) and made.training == training
    assert same(state(first), state(second)) and not first.training and not same(before, state(first))


@pytest.mark.parametrize("variant", ["conv", "linear"])
def test_pruning_alone_then_tuning_what_is_left_is_fp(made: nn.Module, data: ImageData, variant: str) -> None:
    alone, notes = purify(made, clean=data, method="fp", variant=variant, budget=0.5, epochs=0)
    gone = zeros(alone)
    assert notes["n_pruned"] and gone and not zeros(made) and not alone.training
    if variant == "conv":
        assert (~gone[f"{made.last_conv}.weight"].bool()).flatten(1).all(1).sum() == notes["n_pruned"]
    whole = defend(made, clean=data, method="fp", variant=variant, budget=0.5, **TUNING)
    chain = defend(alone, clean=data, method="ft", keep_pruned=True, **TUNING)
    assert same(state(whole), state(chain))
    revived = defend(alone, clean=data, method="ft", **TUNING)
    assert len(zeros(revived)) < len(gone)
    sharp = defend(alone, clean=data, method="ft_sam", keep_pruned=True, rho=0.1, **TUNING)
    assert all(torch.equal(zeros(sharp)[name], mask) for name, mask in gone.items())


@pytest.mark.parametrize("method", ["fp", "ep", "clp", "bnp"])
def test_a_user_s_own_model(data: ImageData, method: str) -> None:
    params = {"layer": "0", **TUNING} if method == "fp" else {}
    assert isinstance(defend(plain(), method=method, **given(method, data), **params), nn.Sequential)


# ----------------------------------------------------------------------------------------------------------- bad inputs


@pytest.mark.parametrize("method", ["ep", "clp", "bnp"])
def test_no_batch_norm(data: ImageData, method: str) -> None:
    bare = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 4))
    with pytest.raises(NotApplicable, match="no batch-norm layer"):
        defend(bare, method=method, **given(method, data))


def test_no_convolution_before_batch_norm() -> None:
    with pytest.raises(NotApplicable, match="no convolution followed by batch norm"):
        defend(nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3)), method="clp")


def test_batch_norm_without_running_statistics(data: ImageData) -> None:
    bare = nn.Sequential(nn.Conv2d(3, 4, 8), nn.BatchNorm2d(4, track_running_stats=False), nn.Flatten())
    for method in ("clp", "bnp"):
        with pytest.raises(NotApplicable, match="keeps no running"):
            defend(bare, method=method, **given(method, data))


@pytest.mark.parametrize("method", ["fp", "ep", "clp", "bnp"])
def test_weights_that_are_no_numbers(data: ImageData, method: str) -> None:
    broken = model(data)
    with torch.no_grad():
        broken.layer1[0].bn1.weight[0] = math.nan
    with pytest.raises(PaperlibError, match=r"weight 'layer1.0.bn1.weight' .* not finite"):
        defend(broken, method=method, **given(method, data))


def test_too_few_images_for_a_held_out_part(made: nn.Module, data: ImageData) -> None:
    with pytest.raises(PaperlibError, match="fewer than two of: class 0, class 1, class 2, class 3"):
        defend(made, clean=data.subset([0, 1, 2, 3]), method="fp")
    with pytest.raises(PaperlibError, match=r"held_out=1\.5 must lie between 0 and 1"):
        defend(made, clean=data, method="fp", held_out=1.5)


def test_fp_with_a_wrong_layer_or_variant(data: ImageData) -> None:
    with pytest.warns(LayerChosen, match="layer='0' is used, the last convolution"):
        defend(plain(), clean=data, method="fp", **TUNING)
    with pytest.raises(PaperlibError, match="layer='1' is a BatchNorm2d; it must be a convolution"):
        defend(plain(), clean=data, method="fp", layer="1")
    with pytest.raises(PaperlibError, match=r"variant='convs' is unknown; did you mean 'conv'"):
        defend(plain(), clean=data, method="fp", variant="convs")
    with pytest.raises(NotApplicable, match="no linear layer"):
        defend(nn.Sequential(nn.Conv2d(3, 4, 8), nn.Flatten()), clean=data, method="fp", variant="linear")
