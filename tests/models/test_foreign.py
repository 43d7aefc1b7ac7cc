"""The front door for models: every usual form is purified and examined alike, and what cannot be gets a sentence."""

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from image_toy import images, same, state
from torch import Tensor, nn

from paperlib.defenses import defend
from paperlib.detection import detect
from paperlib.errors import PaperlibError
from paperlib.models import normalised
from paperlib.models.foreign import Normalised, adopt, given_back

DATA = images(80)


class Net(nn.Module):
    """A convolution, batch norm and a linear layer, solved in closed form for the toy images."""

    def __init__(self, form: Any = None) -> None:
        super().__init__()
        self.conv, self.bn, self.fc = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Linear(24, 4)
        self.form = form
        with torch.no_grad():
            self.conv.weight.copy_(torch.eye(3).view(3, 3, 1, 1))
            self.conv.bias.zero_()
            f = (DATA.float()).mean(3).flatten(1)
            f = torch.cat([f, torch.ones(len(f), 1)], 1).double()
            w = torch.linalg.lstsq(f, nn.functional.one_hot(DATA.y).double()).solution.float()
            self.fc.weight.copy_(20 * w[:-1].T)
            self.fc.bias.copy_(20 * w[-1])

    def forward(self, x: Tensor) -> Any:
        out = self.fc(self.bn(self.conv(x)).mean(3).flatten(1))
        return out if self.form is None else self.form(out)


FAST = {"epochs": 1, "batch_size": 40, "lr": 1e-3}

FORMS: dict[str, Any] = {
    "tuple": Net(lambda out: (out, None)),
    "list": Net(lambda out: [out]),
    "object": Net(lambda out: SimpleNamespace(logits=out)),
    "dictionary": Net(lambda out: {"loss": None, "logits": out}),
    "frozen": Net().requires_grad_(False),
    "double": Net().double(),
    "parallel": nn.DataParallel(Net()),
}


@pytest.mark.learned
@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_model_is_purified_and_examined_alike(form: str) -> None:
    model, plain = FORMS[form], Net()
    before = state(model)
    expected = defend(plain, method="ft_sam", clean=DATA, **FAST)
    purified = defend(model, method="ft_sam", clean=DATA, **FAST)
    assert type(purified) is Net and same(before, state(model))
    for a, b in zip(purified.parameters(), expected.parameters(), strict=True):
        assert torch.equal(a, b.to(a.dtype))
    assert next(purified.parameters()).dtype == next(model.parameters()).dtype
    scores = [detect((DATA.x, DATA.y), method="strip", model=m, clean=DATA, overlays=3).scores for m in (model, plain)]
    assert torch.equal(*scores)


@pytest.mark.learned
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_comes_back(dtype: torch.dtype) -> None:
    purified = defend(Net().to(dtype), method="ft", clean=DATA, **FAST)
    assert {p.dtype for p in purified.parameters()} == {dtype}


def test_compiled_models_are_unwrapped() -> None:
    plain = Net()
    assert adopt(torch.compile(plain), DATA)[0] is plain


def test_our_own_models_pass_untouched() -> None:
    plain = Net()
    model, data = adopt(plain, DATA)
    assert model is plain and data is DATA and given_back(plain, plain) is plain


def test_grey_images_and_alpha_reach_a_model_of_colours() -> None:
    grey = adopt(Net(), images(8).__class__(DATA.x[:, :1], DATA.y, DATA.class_names, (0.5,), (0.2,), False, 0, "toy"))[
        1
    ]
    assert grey.x.shape == DATA.x.shape and grey.mean == (0.5,) * 3 and torch.equal(grey.x[:, 2], DATA.x[:, 0])
    alpha = torch.cat([DATA.x, torch.full_like(DATA.x[:, :1], 255)], 1)
    colours = adopt(
        Net(), images(8).__class__(alpha, DATA.y, DATA.class_names, (0.5,) * 4, (0.2,) * 4, False, 0, "toy")
    )[1]
    assert torch.equal(colours.x, DATA.x)


# ------------------------------------------------------------------------------------------------ accuracy at chance


class Raw(nn.Module):
    """``Net`` as a person trained it: on images that were normalised outside."""

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.net, self.mean, self.std = Net(), torch.tensor(mean).view(1, -1, 1, 1), torch.tensor(std).view(1, -1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x * self.std + self.mean)


IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.mark.learned
def test_a_model_of_normalised_images_is_recognised() -> None:
    raw = Raw((0.0,) * 3, (1 / 255,) * 3)  # expects 0 to 255
    with pytest.raises(
        PaperlibError, match=r"chance is 25 %; likely cause: it expects normalised .* which are 0 to 255, it is 100 %"
    ):
        defend(raw, method="ft", clean=DATA, **FAST)
    with pytest.raises(PaperlibError, match="likely cause"):
        detect(DATA, method="strip", model=raw, clean=DATA)
    wrapped = normalised(raw, (0.0,) * 3, (1 / 255,) * 3)
    purified = defend(wrapped, method="ft", clean=DATA, **FAST)
    assert isinstance(purified, Normalised) and isinstance(purified.inner, Raw)


@pytest.mark.learned
def test_images_divided_twice_are_recognised() -> None:
    dark = images(8).__class__(DATA.x // 100, DATA.y, DATA.class_names, DATA.mean, DATA.std, False, 0, "toy")
    with pytest.raises(PaperlibError, match="nearly black: were they divided by 255 twice"):
        defend(Net(), method="ft", clean=dark, **FAST)


@pytest.mark.learned
def test_other_classes_are_recognised_and_can_be_insisted_on() -> None:
    shuffled = (DATA.x, (DATA.y + 1) % 4)
    with pytest.raises(PaperlibError, match=r"right on 0 % of clean.* not trained on these classes"):
        defend(Net(), method="ft", clean=shuffled, **FAST)
    defend(Net(), method="ft", clean=shuffled, chance_ok=True, **FAST)


def test_normalised_is_what_it_says() -> None:
    model, x = Net().eval(), DATA.float()
    mean, std = torch.tensor(IMAGENET[0]).view(1, 3, 1, 1), torch.tensor(IMAGENET[1]).view(1, 3, 1, 1)
    assert torch.equal(normalised(model, *IMAGENET)(x), model((x - mean) / std))
    assert normalised(model, *IMAGENET).get_submodule("conv") is model.conv


# ------------------------------------------------------------------------------------------------------- bad input


class Picky(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[-1] == 224, "Wrong image height! Expected 224 but got 8!"
        return x


def broken() -> nn.Module:
    model = Net()
    with torch.no_grad():
        model.fc.bias[0] = float("nan")
    return model


WRONG: dict[str, tuple[Any, str]] = {
    "a path": ("model.pt", "model is a str; give a torch.nn.Module"),
    "weights alone": (Net().state_dict(), "model is a OrderedDict"),
    "traced": (torch.jit.trace(Net().eval(), DATA.float()), "model is TorchScript"),
    "lazy": (nn.Sequential(nn.Flatten(), nn.LazyLinear(4)), "lazy layers without weights"),
    "nowhere": (copy.deepcopy(Net()).to("meta"), "the model lies on meta"),
    "NaN": (broken(), "weight 'fc.bias' of the model holds values that are not finite"),
    "another size": (Picky(), r"cannot take clean's images of shape \(3, 8, 8\) \(AssertionError: Wrong image height!"),
    "segments": (nn.Conv2d(3, 4, 1), r"puts out shape \(2, 4, 8, 8\)"),
    "one output": (nn.Sequential(nn.Flatten(), nn.Linear(192, 1)), r"puts out shape \(2, 1\)"),
    "nothing": (Net(lambda out: None), "the model returns NoneType"),
    "infinite": (Net(lambda out: out / 0), "puts out values that are not finite"),
    "three classes": (nn.Sequential(nn.Flatten(), nn.Linear(192, 3)), "labels up to 3; the model has 3 outputs"),
    "more classes": (nn.Sequential(nn.Flatten(), nn.Linear(192, 9)), "the model has 9 outputs; give the model"),
    "four channels": (nn.Sequential(nn.Conv2d(4, 4, 8), nn.Flatten()), "cannot take clean's images"),
    "grey": (nn.Sequential(nn.Conv2d(1, 4, 8), nn.Flatten()),
    "have 3 channels, the model takes 1; convert them to grey"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:Lazy modules")
@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_classifier_for_these_images_gets_a_sentence(case: str) -> None:
    model, says = WRONG[case]
    for work in (
        lambda: defend(model, method="ft", clean=DATA, **FAST),
        lambda: detect(DATA, method="scan", model=model, clean=DATA),
    ):
        with pytest.raises(PaperlibError, match=says.replace("clean's", "(clean|data)'s")):
            work()


@pytest.mark.parametrize(
    "method", ["cl", "cores", "bhn", "abl", "ac", "d_br", "scan", "beatrix", "spectre", "strip", "simifeat_v"]
)
def test_labels_from_1_never_reach_a_detector(method: str) -> None:
    shifted = (DATA.x, DATA.y + 1)
    with pytest.raises(PaperlibError, match=r"data has labels up to 4; the model has 4 outputs.* lowered by 1"):
        detect(shifted, method=method, model=Net(), clean=DATA)


def test_clean_images_of_another_size_never_reach_a_detector() -> None:
    with pytest.raises(PaperlibError, match=r"clean holds images of shape \(3, 16, 16\), data of \(3, 8, 8\)"):
        detect(DATA, method="scan", model=Net(), clean=images(8, size=16))


@pytest.mark.parametrize(
    ("mean", "std", "says"),
    [
        ((0.5,), (0.5, 0.5), "mean has 1 numbers and std 2"),
        ((0.5,), (0.0,), "std=.* positive"),
        ((float("nan"),), (1.0,), "must be finite"),
        ("abc", (1.0,), "must be sequences of numbers"),
    ],
)
def test_normalisations_that_are_none(mean: Any, std: Any, says: str) -> None:
    with pytest.raises(PaperlibError, match=says):
        normalised(Net(), mean, std)
