"""``paperlib inspect`` and ``paperlib purify`` on a model file and folders of digits: reports, exit codes,
sentences."""

import re
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn
from typer.testing import CliRunner

from paperlib.analysis.inspection import Finding
from paperlib.attacks.badnets import BadNets
from paperlib.attacks.scene import own_scene
from paperlib.cli.main import app
from paperlib.data import decode, folder, images
from paperlib.data.images import ImageData
from paperlib.detection import Detection
from paperlib.models import build
from paperlib.report.inspection import write_inspection
from paperlib.training import Recipe, fit, predict, save_weights

CLASSES = 4


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A folder of clean digits, one with poisoned ones, and two models of them: backdoored and clean."""
    root = tmp_path_factory.mktemp("own")
    patch = pytest.MonkeyPatch()
    for module in (decode, folder):
        patch.setattr(module, "user_cache_path", lambda name: root / "cache")
    digits = images.load("digits", "train")
    digits = digits.subset(digits.y < CLASSES)
    digits = ImageData(digits.x, digits.y, digits.class_names[:CLASSES], digits.mean, digits.std, False, 0, "toy")
    clean, train = digits.subset(range(60)), digits.subset(range(60, 360))
    write(root / "clean", clean)
    scene = own_scene(train, clean, BadNets(), ratio=0.2)
    write(root / "poisoned", scene.data)
    learn(root, "backdoored", 6, 0.05)
    yield root
    patch.undo()


def learn(root: Path, name: str, epochs: int, lr: float) -> None:
    """A model file trained on the folder of poisoned digits."""
    seen = [images.load(f"folder:{root / 'poisoned'}", split) for split in ("train", "test")]
    x, y = torch.cat([p.x for p in seen]), torch.cat([p.y for p in seen])
    whole = ImageData(x, y, seen[0].class_names, seen[0].mean, seen[0].std, False, 0, "toy")
    model = build("preact_resnet18", whole, width=8)
    fit(model, whole, Recipe(epochs, 32, lr, "one_cycle"), seed=0)
    save_weights(model, root / f"{name}.safetensors")


def write(root: Path, data: ImageData) -> None:
    for i, (x, y) in enumerate(zip(data.x, data.y.tolist(), strict=True)):
        (root / str(y)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(x.permute(1, 2, 0).numpy()).save(root / str(y) / f"{i:04}.png")


def run(*words: object) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.mark.long
@pytest.mark.learned
def test_a_model_is_inspected_and_purified(place: Path) -> None:
    """After 25 epochs the trigger works on every image, and `inspect` finds it. After the fixture's 6 it works on a
    quarter of them: nothing to rely on."""
    learn(place, "learned", 25, 0.1)
    report = place / "out" / "report.html"
    done = run(
        "inspect",
        place / "learned.safetensors",
        "--images",
        place / "clean",
        "--training",
        place / "poisoned",
        "--out",
        report,
        "--detectors",
        "scan",
    )
    text = report.read_text(encoding="utf-8")
    assert done.exit_code == 3 and done.output.startswith("suspicious") and 'class="verdict bad"' in text, done.output
    assert "What to do next" in text and text.count("data:image/png") >= 12
    assert "http" not in text and not re.search(r"<script|src=\"(?!data:)", text)
    purified = place / "purified.safetensors"
    done = run(
        "purify",
        place / "learned.safetensors",
        "--images",
        place / "clean",
        "--out",
        purified,
        "--params",
        '{"epochs": 6, "batch_size": 32}',
    )
    assert done.exit_code == 0, done.output
    before, after = (float(v) for v in re.findall(r"accuracy \w+: ([\d.]+) %", done.output))
    assert before > 80 and after > 80 and purified.is_file()


def small_net() -> nn.Module:
    def block(c: int, d: int, stride: int = 1) -> list[nn.Module]:
        return [nn.Conv2d(c, d, 3, stride, 1), nn.BatchNorm2d(d), nn.ReLU(), nn.MaxPool2d(2)]

    return nn.Sequential(*block(3, 16, 2), *block(16, 32), *block(32, 32), nn.Flatten(), nn.Linear(128, 10))


TARGET = 3


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A model with a backdoor and its clean twin, files beside their training images; clean images."""
    root = tmp_path_factory.mktemp("twins")
    patch = pytest.MonkeyPatch()
    for module in (decode, folder):
        patch.setattr(module, "user_cache_path", lambda name: root / "cache")
    train, test = (
        replace(one, x=one.x.repeat_interleave(2, -1).repeat_interleave(2, -2))  # 32x32, as the folder is read
        for one in (images.load("digits", "train"), images.load("digits", "test"))
    )
    write(root / "clean", test.subset(range(250)))
    attacked = own_scene(train, test, BadNets(), target=TARGET, ratio=0.12, seed=5)
    for name, data in (("backdoored", attacked.data), ("twin", train)):
        write(root / name, data)
        torch.manual_seed(5)
        model = small_net()
        fit(model, data, Recipe(8, 32, 0.05, "one_cycle"), seed=5)
        save_weights(model, root / f"{name}.safetensors")
        triggered, wanted = attacked.triggered
        rate = (predict(model, triggered.x) == wanted).float().mean().item()
        assert (predict(model, test.x) == test.y).float().mean() > 0.95 and (rate > 0.95) == (name == "backdoored")
    yield root
    patch.undo()


def verdict(root: Path, name: str, *more: object) -> tuple[int, str]:
    """Exit code of ``inspect`` and the verdict of its page."""
    page = root / f"{name}.html"
    given = (root / f"{name}.safetensors", "--images", root / "clean", "--architecture", f"{__name__}:small_net")
    done = run("inspect", *given, "--out", page, "--steps", 5, *more)
    assert done.exit_code in (0, 3), done.output
    (said,) = re.findall(r'<p class="verdict[^>]*>(.*?)</p>', page.read_text(encoding="utf-8"))
    return done.exit_code, unescape(said)


def test_a_backdoor_is_found_in_the_model_and_its_clean_twin_is_not_accused(twins: Path) -> None:
    code, said = verdict(twins, "backdoored")
    assert code == 3 and re.findall(r"NC reaches '(\d)'", said) == [str(TARGET)], said
    code, said = verdict(twins, "twin")
    assert code == 0 and said.startswith("Nothing suspicious"), said


def test_poison_is_found_in_the_training_images_and_clean_ones_are_not_accused(twins: Path) -> None:
    found = {}
    for name in ("backdoored", "twin"):  # a search of one epoch has not come to its end and names nothing
        more = ("--training", twins / name, "--detectors", "scan", "--epochs", 1)
        code, said = verdict(twins, name, *more)
        assert "has not come to its end" in said and "NC reaches" not in said
        found[name] = code, re.findall(r"training images of '(\d)'", said)
    assert found == {"backdoored": (3, [str(TARGET)]), "twin": (0, [])}


def test_what_a_class_is_named_for() -> None:
    """A patch of at most 1 % names its class at any index; one that does not reach it, or large ones, none."""
    patch, names = torch.zeros(4, 3, 10, 10), tuple("abcd")
    small = Finding(90, names, [1.2, 0.1, 0, -1], [1.0, 9.0, 12.0, 20.0], patch)
    assert small.settled and small.reached == [0]
    assert Finding(90, names, [1.2, 0.1, 0, -1], [1.1, 9.0, 12.0, 20.0], patch).reached == []
    assert Finding(90, names, [2.5, 0.1, 0, -1], [5.0, 9.0, 12.0, 20.0], patch).reached == [0]
    assert Finding(90, names, [2.5, 0.1, 0, -1], [5.0, 9.0, 12.0, 20.0], patch, unsent=(0,)).reached == []
    early = Finding(90, names, [9.0, 0.1, 0, -1], [30.0, 80.0, 82.0, 85.0], patch)
    assert not early.settled and early.reached == [] and not early.suspicious


def test_the_page_says_what_was_found(tmp_path: Path) -> None:
    flags = torch.arange(8) < 3
    scan = Detection(flags.float(), flags, {"flagged_classes": [1]})
    data = ImageData(
        torch.zeros(8, 3, 8, 8, dtype=torch.uint8),
        torch.arange(8) % 2,
        ("cat<", "dog"),
        (0.5,) * 3,
        (0.2,) * 3,
        False,
        0,
        "toy",
    )
    found = Finding(
        91.25,
        data.class_names,
        [3.5, -0.2],
        [4.0, 60.0],
        torch.rand(2, 3, 8, 8),
        [(1.0, 99.0), (2.0, 10.0)],
        {"scan": scan},
    )
    assert found.suspicious and found.reached == [0] and found.poisoned == [1]
    write_inspection(tmp_path / "page.html", found, data, {"model": "m & n"})
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    for says in (
        "Suspicious: NC reaches",
        "cat&lt;",
        "index 3.5",
        "two groups in the training images of",
        "m &amp; n",
        "91.2",
        "99.0",
    ):
        assert says in text, says
    calm = Finding(91.25, data.class_names, [0.5, -0.2], [4.0, 60.0], torch.rand(2, 3, 8, 8), [(1.0, 9.0), (2.0, 1.0)])
    write_inspection(tmp_path / "page.html", calm, None, {})
    assert not calm.suspicious and "Nothing suspicious was found" in (tmp_path / "page.html").read_text(
        encoding="utf-8"
    )


@pytest.mark.learned
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("purify", "{m}", "--images", "{i}", "--out", "x.pt"), "must end in .safetensors"),
        (("purify", "{m}", "--images", "{i}", "--out", "x.safetensors", "--method", "ft_sm"), "did you mean 'ft_sam'"),
        (
            ("purify", "{m}", "--images", "{i}", "--out", "x.safetensors", "--method", "abl"),
            "works on the poisoned training set",
        ),
        (
            ("purify", "{m}", "--images", "{i}", "--out", "x.safetensors", "--params", "epochs=3"),
            "must be a JSON object",
        ),
        (
            ("purify", "{m}", "--images", "{i}", "--out", "x.safetensors", "--params", '{"epochs": -3}'),
            "epochs=-3 must not be negative",
        ),
        (("purify", "nothing.safetensors", "--images", "{i}", "--out", "x.safetensors"), "is no file"),
        (("purify", "{m}", "--images", "nowhere", "--out", "x.safetensors"), "is not a folder"),
        (
            ("purify", "{m}", "--images", "{i}", "--out", "x.safetensors", "--architecture", "resnet19"),
            "did you mean 'resnet1",
        ),
        (
            ("purify", "{m}", "--images", "{i}", "--out", "x.safetensors", "--architecture", "resnet18"),
            "weights do not fit",
        ),
        (
            ("purify", "{m}", "--images", "{i}", "--out", "x.safetensors", "--architecture", "nothing:here"),
            "cannot be made",
        ),
        (
            ("purify", "{m}", "--images", "{i}", "--out", "x.safetensors", "--normalise", "imagnet"),
            "did you mean 'imagenet'",
        ),
        (("inspect", "{m}", "--images", "{i}", "--training", "{i}", "--detectors", "scam"), "did you mean 'scan'"),
        (("inspect", "{i}/0/0000.png", "--images", "{i}"), "is no file|is no safetensors file"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_exit_code_1(place: Path, words: tuple[str, ...], says: str) -> None:
    filled = [
        word.format(m=place / "backdoored.safetensors", i=place / "clean") if "{m}" in word or "{i}" in word else word
        for word in words
    ]
    done = run(*filled)
    assert done.exit_code == 1 and re.search(says, done.output), done.output
    assert "Traceback" not in done.output and not (place / "x.safetensors").exists()


def test_a_model_of_torchvision_is_read(place: Path) -> None:
    import torchvision

    from paperlib.errors import PaperlibError
    from paperlib.interop.model_file import load_model

    net = torchvision.models.resnet18(num_classes=CLASSES).eval()
    save_weights(net, place / "net.safetensors")
    x = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    loaded = load_model(place / "net.safetensors", CLASSES, "resnet18", "half")
    assert torch.allclose(loaded(x / 255), net((x / 255 - 0.5) / 0.5), atol=1e-5) and predict(loaded, x).shape == (2,)
    with pytest.raises(PaperlibError, match="no weights of our PreAct-ResNet18"):
        load_model(place / "net.safetensors", CLASSES)
