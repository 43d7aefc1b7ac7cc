"""Models of transformers and timm: what their processor or configuration does to images is inside."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from image_toy import images
from torch import Tensor, nn

from paperlib.defenses import defend
from paperlib.detection import detect
from paperlib.errors import PaperlibError
from paperlib.interop import huggingface, timm

DATA = images(24, size=16)
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
FAST = {"epochs": 1, "batch_size": 12}


@pytest.fixture
def vit() -> Any:
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        image_size=16, patch_size=4, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        num_labels=4,
        id2label={0: "a", 1: "b", 2: "c", 3: "d"},
    )  # fmt: skip
    return transformers.ViTForImageClassification(config).eval()


def processor(side: Any) -> Any:
    return SimpleNamespace(image_mean=MEAN, image_std=STD, size=side)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_transformers_classifier_is_examined_purified_and_trained_anew(vit: Any) -> None:
    model = huggingface.model(vit, processor({"height": 16, "width": 16})).eval()
    x = DATA.float()
    expected = vit((x - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)).logits
    assert torch.allclose(model(x), expected, atol=1e-6)
    assert huggingface.class_names(vit) == ("a", "b", "c", "d")
    assert len(detect(DATA, method="ac", model=model, components=2).scores) == 24
    assert type(defend(vit, method="ft_sam", clean=DATA, **FAST)) is type(vit)  # .logits alone is enough
    retrained = defend(model, method="ac", poisoned=DATA, components=2, **FAST)  # from its configuration
    assert torch.isfinite(retrained(x)).all()


def test_images_are_resized_to_the_size_of_the_processor(vit: Any) -> None:
    small = images(4, size=8)
    for side in ({"height": 16, "width": 16}, {"shortest_edge": 16}, 16, SimpleNamespace(height=16)):
        assert huggingface.model(vit, processor(side))(small.float()).shape == (4, 4)
    with pytest.raises(PaperlibError, match="has no image_mean"):
        huggingface.model(vit, SimpleNamespace())
    with pytest.raises(PaperlibError, match="classifier is a str"):
        huggingface.model("google/vit")


class Stub(nn.Sequential):
    """A model with the attribute that every model of timm has."""

    pretrained_cfg: dict[str, Any]


def stub(**config: Any) -> Stub:
    made = Stub(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    made.pretrained_cfg = {"mean": MEAN, "std": STD, "input_size": (3, 32, 32), **config}
    return made


def test_a_timm_model_has_its_normalisation_and_size_inside() -> None:
    seen: list[tuple[int, ...]] = []
    fixed = stub(fixed_input_size=True)
    fixed.register_forward_pre_hook(lambda m, inputs: seen.append(tuple(inputs[0].shape)))
    timm.model(fixed)(DATA.float())
    assert seen == [(24, 3, 32, 32)]
    free, x = stub(), DATA.float()
    normal: Tensor = (x - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)
    assert torch.allclose(timm.model(free)(x), free(normal), atol=1e-6)
    with pytest.raises(PaperlibError, match="without pretrained_cfg"):
        timm.model(nn.Linear(2, 2))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_timm_itself_where_it_is_installed() -> None:
    library = pytest.importorskip("timm")
    model = timm.model(library.create_model("resnet10t", num_classes=4))
    assert defend(model, method="fp", clean=images(24, size=32), **FAST) is not model
