"""The zoo against torchvision's own classes: weights, outputs, layers that others name, and determinism."""

from pathlib import Path

import pytest
import torch
import torchvision
from image_toy import images, same, state
from torch import nn

from paperlib import models
from paperlib.defenses import BATCH_NORM, DEFENSES, applicable
from paperlib.errors import PaperlibError
from paperlib.models import MODELS, WITHOUT_BATCH_NORM, zoo
from paperlib.models.layers import layer_output
from paperlib.training import Recipe, autocast, fit, load_weights, logits, save_weights

GREY = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
ZOO = tuple(name for name in MODELS if name != "preact_resnet18")
PUBLISHED = ("vgg19", "vgg19_bn", "efficientnet_b3", "mobilenet_v3_large", "densenet161", "convnext_tiny", "vit_b_16")
CHEAP = (*PUBLISHED[:-1], "vit_b_8", "resnet18")  # without 224x224 pixels; a fine stem has a test of its own


@pytest.mark.parametrize("name", PUBLISHED)
def test_width_64_has_the_weights_of_torchvision(name: str) -> None:
    with torch.device("meta"):  # shapes without memory
        ours = MODELS[name].load()(*GREY, 10, **dict(MODELS[name].defaults))
        theirs = getattr(torchvision.models, name)(num_classes=10)
    shapes = [sorted(tuple(p.shape) for p in made.parameters()) for made in (ours, theirs)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("name", ["efficientnet_b3", "mobilenet_v3_large", "densenet161", "convnext_tiny"])
def test_a_fine_stem_has_the_same_weights_and_more_pixels(name: str) -> None:
    data = images(2, size=32)
    coarse, fine = (models.build(each, data, width=8) for each in (name, f"{name}_fine"))
    assert same(state(coarse), state(fine))
    shapes = [layer_output(made, "body", data.x).shape for made in (coarse, fine)]
    assert shapes[0][1] == shapes[1][1] and shapes[0][2] == 1 and shapes[1][2] >= 2


def test_outputs_are_those_of_torchvision() -> None:
    """Same weights, same normalised images, same logits: nothing of the network is left out or in another order."""
    x = images(2, size=32).float()
    for name in ("mobilenet_v3_large",):
        ours = models.build(name, images(2, size=32)).eval()
        theirs = getattr(torchvision.models, name)(num_classes=4).eval()
        for mine, other in zip((*ours.body.parameters(), *ours.head.parameters()), theirs.parameters(), strict=True):
            other.data = mine.data
        with torch.no_grad():
            assert torch.allclose(ours(x), theirs((x - ours.mean) / ours.std), atol=1e-4), name


def test_resnet18_is_torchvisions_behind_another_stem() -> None:
    data = images(2, size=32)
    ours, theirs = models.build("resnet18", data).eval(), torchvision.models.resnet18(num_classes=4)
    theirs.conv1, theirs.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    for mine, other in zip((*ours.body.parameters(), *ours.head.parameters()), theirs.parameters(), strict=True):
        other.data = mine.data
    with torch.no_grad():
        assert torch.allclose(ours(data.float()), theirs.eval()((data.float() - ours.mean) / ours.std), atol=1e-4)
    made = zoo.resnet18(*GREY, 10)
    assert sum(p.numel() for p in made.parameters()) == 11_173_962


@pytest.mark.parametrize("name", PUBLISHED)
def test_forward_and_backward_are_finite_under_autocast(name: str) -> None:
    data = images(3, size=32)
    made = models.build(name, data, width=4)
    if name == "vit_b_16":
        nn.init.normal_(made.head[0].weight)  # torchvision's head starts at zero, through which nothing comes back
    with autocast(data.x.device):
        out = made(data.float())
        loss = nn.functional.cross_entropy(out.float(), data.y)
    loss.backward()
    assert out.shape == (3, 4) and out.isfinite().all()
    moved = [bool(p.grad.isfinite().all() and (p.grad != 0).any()) for p in made.parameters() if p.grad is not None]
    assert len(moved) == len(list(made.parameters())) and sum(moved) > len(moved) / 2


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_features_are_what_the_head_sees(name: str) -> None:
    data = images(2, size=32)
    made = models.build(name, data, width=4).eval()
    last = made.get_submodule(made.last_conv)
    assert isinstance(last, nn.Conv2d) and last is [m for m in made.modules() if isinstance(m, nn.Conv2d)][-1]
    pooled = layer_output(made, made.features, data.x, pooled=True)
    assert pooled.shape[0] == 2 and pooled.ndim == 2
    shape = [-1, pooled.shape[1], 1, 1] if not name.startswith("vit") else [-1, pooled.shape[1]]
    with torch.no_grad(), autocast(data.x.device):
        seen = made.head(made.pool(pooled.view(shape)))
    assert torch.allclose(seen.float(), logits(made, data.x), atol=0.05)
    assert layer_output(made, made.last_conv, data.x, pooled=True).shape == (2, last.out_channels)


@pytest.mark.parametrize("name", CHEAP)
def test_a_hooked_layer_shows_its_own_output(name: str) -> None:
    """In-place activations would overwrite what a hook has kept."""
    made = models.build(name, images(2, size=32), width=4)
    assert not [m for m in made.modules() if getattr(m, "inplace", False)]


@pytest.mark.parametrize("name", CHEAP)
def test_logits_of_every_size_do_not_depend_on_the_rest_of_the_batch(name: str) -> None:
    for size in (16, 64):
        data = images(3, size=size)
        made, x = models.build(name, data, width=4).eval(), data.float()
        with torch.no_grad():
            whole = made(x)
            assert whole.shape == (3, 4) and whole.isfinite().all()
            assert torch.allclose(made(x[1:2]), whole[1:2], atol=1e-4)


@pytest.mark.parametrize("name", CHEAP)
def test_seed_round_trip_and_fresh_weights(name: str, tmp_path: Path) -> None:
    data = images(4, size=32)
    torch.manual_seed(1)
    first = models.build(name, data, width=4, seed=5)
    torch.manual_seed(2)
    assert same(state(first), state(models.build(name, data, width=4, seed=5)))
    other = models.build(name, data, width=4, seed=6)
    assert not same(state(first), state(other))
    save_weights(first, tmp_path / "weights.safetensors")
    load_weights(other, tmp_path / "weights.safetensors")
    assert same(state(first), state(other))

    with torch.no_grad():  # every weight carries something that was trained
        for p in first.parameters():
            p.fill_(7.0)
    one, again = models.fresh(first, 5), models.fresh(first, 5)
    assert same(state(one), state(again)) and one.training
    assert not [n for n, p in one.named_parameters() if (p == 7).any()]
    built = models.build(name, data, width=4, seed=5)
    assert same(dict(one.named_parameters()), dict(built.named_parameters()))  # type: ignore[arg-type]
    assert torch.equal(one.mean, first.mean)  # type: ignore[arg-type]


def test_training_with_dropout_depends_on_the_seed_alone() -> None:
    data = images(12, size=32)
    recipe = Recipe(epochs=2, batch_size=6, schedule="constant")
    ends = []
    for seed, outside in ((3, 0), (3, 1), (4, 0)):
        made = models.build("mobilenet_v3_large", data, width=4)
        assert [m for m in made.modules() if isinstance(m, nn.Dropout) and m.p > 0]
        torch.manual_seed(outside)
        before = torch.get_rng_state()
        fit(made, data, recipe, seed=seed)
        assert torch.equal(torch.get_rng_state(), before)  # and the caller's generator is left alone
        ends.append(state(made))
    assert same(ends[0], ends[1]) and not same(ends[0], ends[2])


def test_what_cannot_be_built_says_why() -> None:
    data = images(2, size=16)
    for width in (0, 2, 6):
        with pytest.raises(PaperlibError, match=f"width={width} must be (a multiple of 4|at least 1)"):
            models.build("vgg19", data, width=width)
    with pytest.raises(PaperlibError, match="1 channels"):
        zoo.vgg19((0.5,), (0.5,), 10, 4)


def test_fresh_refuses_to_keep_trained_weights() -> None:
    class Owner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(3))

    with pytest.raises(PaperlibError, match=r"layer '1' \(Owner\) has weights and no reset_parameters"):
        models.fresh(nn.Sequential(nn.Linear(3, 3), Owner()), 0)
    attention = nn.MultiheadAttention(4, 2)
    before = attention.in_proj_weight.clone()
    assert not torch.equal(models.fresh(attention, 0).in_proj_weight, before)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", MODELS)
def test_models_without_batch_norm_are_named(name: str) -> None:
    model = models.build(name, images(8, size=32), width=8)
    found = any(isinstance(m, torch.nn.modules.batchnorm._BatchNorm) for m in model.modules())
    assert found == (name not in WITHOUT_BATCH_NORM)


def test_only_defenses_that_need_batch_norm_are_not_applicable_without_it() -> None:
    for name, method in DEFENSES.items():
        assert applicable(name, "preact_resnet18")
        assert applicable(name, "vgg19") == (method.needs != BATCH_NORM)
    assert not applicable("anp", "vgg19") and applicable("ft", "vgg19")
