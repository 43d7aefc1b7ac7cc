"""CTRL and FTrojan against the long way, image by image; the user's own picture as a trigger."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from image_toy import images
from PIL import Image
from scipy.fft import dctn, idctn
from torch import Tensor

from paperlib.attacks import ATTACKS, attack, meant, poison
from paperlib.attacks.badnets import BadNets
from paperlib.attacks.blended import Blended, random_picture
from paperlib.attacks.chroma import basis, fitting
from paperlib.attacks.ctrl import CTRL
from paperlib.attacks.ftrojan import FTrojan
from paperlib.attacks.pictures import load, trigger_image
from paperlib.errors import PaperlibError
from paperlib.experiments import plan as experiments
from paperlib.experiments.scales import SMOKE
from paperlib.lab.spec import from_dict, pairs
from paperlib.report import style

# --------------------------------------------------------------------------------------------- CTRL and FTrojan

YUV = np.array([[0.299, 0.587, 0.114], [-0.299, -0.587, 0.886], [0.701, -0.587, -0.114]])
FACTORS = {"ctrl": (1, 0.492, 0.877), "ftrojan": (1, 0.564, 0.713)}  # Y, blue - Y, red - Y


def the_long_way(
    image: np.ndarray, name: str, magnitude: float, window: int, coefficients: tuple[int, ...]
) -> np.ndarray:
    """One image (3, H, W) in grey levels: to brightness and colour, window by window to frequencies and back."""
    matrix = YUV * np.array(FACTORS[name])[:, None]
    luma = np.einsum("ij,jhw->ihw", matrix, image.astype(float))
    for channel in (1, 2):
        for top in range(0, image.shape[1], window):
            for left in range(0, image.shape[2], window):
                part = luma[channel, top : top + window, left : left + window]
                spectrum = dctn(part, type=2, norm="ortho")
                for k in coefficients:
                    spectrum[k, k] += magnitude
                part[:] = idctn(spectrum, type=2, norm="ortho")
    return np.einsum("ij,jhw->ihw", np.linalg.inv(matrix), luma).clip(0, 255)


@pytest.mark.parametrize(
    ("name", "size", "magnitude", "window", "coefficients"),
    [
        ("ctrl", 32, 100, 32, (15, 31)),
        ("ctrl", 64, 100, 64, (15, 31)),  # the window is the image
        ("ctrl", 16, 100, 16, (7, 15)),
        ("ftrojan", 32, 30, 32, (15, 31)),
        ("ftrojan", 64, 30, 32, (15, 31)),  # four windows
        ("ftrojan", 16, 30, 16, (7, 15)),
        ("ftrojan", 8, 30, 8, (3, 7)),
    ],
)
def test_frequencies_against_the_long_way(
    name: str, size: int, magnitude: float, window: int, coefficients: tuple[int, ...]
) -> None:
    data = images(5, size=size)
    made = attack(name)(data.float()) * 255
    for before, after in zip(data.x, made, strict=True):
        expected = the_long_way(before.numpy(), name, magnitude, window, coefficients)
        assert np.abs(after.numpy() - expected).max() < 2e-3
    assert (made - data.x).abs().max() > 3


def test_nothing_but_two_colour_coefficients_changes() -> None:
    grey = torch.full((1, 3, 32, 32), 0.5, dtype=torch.float64)
    for name, magnitude in (("ctrl", 100), ("ftrojan", 30)):
        change = ((attack(name)(grey) - grey)[0] * 255).numpy()
        luma = np.einsum("ij,jhw->ihw", YUV * np.array(FACTORS[name])[:, None], change)
        assert np.abs(luma[0]).max() < 1e-9, "the brightness stays"
        for channel in luma[1:]:
            spectrum = dctn(channel, type=2, norm="ortho")
            assert spectrum[15, 15] == pytest.approx(magnitude) and spectrum[31, 31] == pytest.approx(magnitude)
            spectrum[15, 15] = spectrum[31, 31] = 0
            assert np.abs(spectrum).max() < 1e-9


def test_the_basis_is_orthonormal() -> None:
    for n in (1, 4, 7, 32):
        matrix = np.stack([basis(k, n) for k in range(n)])
        assert np.allclose(matrix @ matrix.T, np.eye(n), atol=1e-12)


def test_coefficients_keep_their_place_on_small_images() -> None:
    assert [(fitting(15, n), fitting(31, n)) for n in (64, 32, 16, 8, 4)] == [(15, 31)] * 2 + [(7, 15), (3, 7), (1, 3)]
    assert all(0 <= fitting(k, n) < n for n in range(1, 33) for k in range(32))


def test_images_that_are_not_square() -> None:
    x = torch.rand(2, 3, 16, 32, generator=torch.Generator().manual_seed(0))
    for name in ("ctrl", "ftrojan"):
        assert attack(name)(x).shape == x.shape and not torch.equal(attack(name)(x), x)


@pytest.mark.parametrize(("name", "title"), [("ctrl", "CTRL"), ("ftrojan", "FTrojan")])
def test_grey_images_have_no_colour_to_change(name: str, title: str) -> None:
    with pytest.raises(PaperlibError, match=rf"{title} changes the colour.*x has 1 channel\(s\), it needs 3"):
        attack(name)(torch.rand(2, 1, 32, 32))


def test_windows_must_fit() -> None:
    with pytest.raises(PaperlibError, match=r"window=32 does not divide an image of 48x48 pixels"):
        attack("ftrojan")(torch.rand(1, 3, 48, 48))
    with pytest.raises(PaperlibError, match="window=0 does not divide"):
        FTrojan(window=0)(torch.rand(1, 3, 32, 32))
    assert FTrojan(window=16)(torch.rand(1, 3, 48, 48)).shape == (1, 3, 48, 48)
    assert CTRL()(torch.rand(1, 3, 48, 48)).shape == (1, 3, 48, 48)  # one window, whatever the size


@pytest.mark.parametrize("k", [32, -1, 64])
def test_coefficients_that_do_not_exist(k: int) -> None:
    with pytest.raises(PaperlibError, match=r"coefficients=\(15, -?\d+\) must lie in 0 to 31"):
        CTRL(coefficients=(15, k))(torch.rand(1, 3, 32, 32))


def test_a_spec_may_change_the_coefficients() -> None:
    """What comes back from JSON is a list or a tuple; both work."""
    x = torch.rand(1, 3, 32, 32)
    assert torch.equal(attack("ctrl", pairs(coefficients=[12, 27]))(x), CTRL(coefficients=(12, 27))(x))
    assert not torch.equal(CTRL(coefficients=(12, 27))(x), CTRL()(x))


def test_labels_of_the_two() -> None:
    data = images(20, size=16)
    kept = poison(data, attack("ctrl"), target=1, indices=[1, 5])
    assert torch.equal(kept.data.y, data.y)
    with pytest.raises(PaperlibError, match="images of target class 1 only"):
        poison(data, attack("ctrl"), target=1, indices=[0])
    assert poison(data, attack("ftrojan"), target=1, indices=[0, 2]).data.y[[0, 2]].tolist() == [1, 1]


@pytest.mark.parametrize("name", ["refool", "poison_ink"])
def test_attacks_that_are_planned_say_so(name: str) -> None:
    assert name not in ATTACKS and style.look("attack", name).title
    with pytest.raises(PaperlibError, match=rf"attack='{name}' is planned, not built yet: its "):
        attack(name)
    with pytest.raises(PaperlibError, match=rf"attack='{name}' is planned, not built yet: its "):
        experiments.train(SMOKE, name)


# ------------------------------------------------------------------------------------------------ own pictures


def save(path: Path, height: int, width: int, mode: str = "RGB", seed: int = 0) -> np.ndarray:
    """A random picture in a file; the pixels (height, width[, channels])."""
    shape = (height, width, len(mode)) if len(mode) > 1 else (height, width)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels, mode).save(path) if mode != "P" else Image.fromarray(pixels).convert("P").save(path)
    return pixels


def test_without_a_picture_the_triggers_are_bit_for_bit_what_they_were() -> None:
    """Stored results of these attacks stay valid: their versions were not raised when pictures came."""
    x = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    square = x.clone()
    square[:, :, -3:, -3:] = 1.0
    blended = (1 - 0.2) * x + 0.2 * torch.as_tensor(random_picture(3, 32, 32, 0), dtype=x.dtype)
    assert torch.equal(attack("badnets")(x), square) and torch.equal(attack("badnets_a2a")(x), square)
    assert torch.equal(attack("blended", meant("blended", ()))(x), blended)
    keys = [experiments.train(SMOKE, name).key for name in ("badnets", "badnets_a2a")]
    keys += [experiments.train(SMOKE, "blended", attack_params=pairs(picture="random")).key]
    assert keys == ["1af172ca9f519ad8", "ca66af77210c4591", "4c4cbfa14f8fd5b1"]


def test_the_value_of_the_square() -> None:
    x = images(3, size=32).float()
    grey = attack("badnets", pairs(value=0.4))(x)
    expected = x.clone()
    expected[:, :, -3:, -3:] = 0.4
    assert torch.equal(grey, expected) and torch.equal(attack("badnets", pairs(value=1.0))(x), attack("badnets")(x))
    with pytest.raises(PaperlibError, match=r"value=1\.5 must lie in \[0, 1\]"):
        attack("badnets", pairs(value=1.5))(x)


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_badnets_pastes_the_picture_into_the_corner(tmp_path: Path, mode: str) -> None:
    pixels = torch.tensor(save(tmp_path / "patch.png", 4, 6, mode)).double() / 255
    expected = pixels.permute(2, 0, 1) if mode == "RGB" else pixels.expand(3, 4, 6)
    x = torch.rand(3, 3, 16, 16, dtype=torch.float64)
    made = attack("badnets", trigger_image(tmp_path / "patch.png"))(x)
    assert torch.allclose(made[:, :, -4:, -6:], expected.expand(3, 3, 4, 6), atol=1e-12)
    made[:, :, -4:, -6:] = x[:, :, -4:, -6:]
    assert torch.equal(made, x), "nothing else changes"
    half = attack("badnets", trigger_image(tmp_path / "patch.png", alpha=0.25))(x)
    assert torch.allclose(half[:, :, -4:, -6:], 0.75 * x[:, :, -4:, -6:] + 0.25 * expected, atol=1e-12)
    assert attack("badnets", trigger_image(tmp_path / "patch.png", labels="all_to_all")).labels == "all_to_all"


def test_blended_mixes_the_picture_in(tmp_path: Path) -> None:
    pixels = torch.tensor(save(tmp_path / "a.png", 16, 16)).permute(2, 0, 1) / 255
    x = torch.rand(3, 3, 16, 16)
    made = attack("blended", trigger_image(tmp_path / "a.png"))(x)
    assert torch.allclose(made, 0.8 * x + 0.2 * pixels, atol=1e-6)
    large = np.kron(np.arange(256, dtype=np.uint8).reshape(16, 16), np.ones((5, 5), dtype=np.uint8))
    Image.fromarray(large).save(tmp_path / "large.png")  # 80x80, grey
    made = attack("blended", trigger_image(tmp_path / "large.png", alpha=1.0))(x)
    assert torch.allclose(made * 255, torch.arange(256.0).view(16, 16).expand(3, 3, 16, 16), atol=1e-4)


def test_a_photograph_is_welcome(tmp_path: Path) -> None:
    """A JPEG file of the images' ratio of width to height."""
    save(tmp_path / "photo.jpg", 48, 64)
    made = attack("blended", trigger_image(tmp_path / "photo.jpg"))(torch.zeros(1, 3, 12, 16))
    assert made.max() <= 0.2 and made.std() > 0


def test_the_key_follows_the_content(tmp_path: Path) -> None:
    place = tmp_path / "trigger.png"
    save(place, 3, 3, seed=0)
    old = experiments.train(SMOKE, "badnets", attack_params=trigger_image(place))
    save(place, 3, 3, seed=1)
    new = experiments.train(SMOKE, "badnets", attack_params=trigger_image(place))
    keys = {old.key, new.key, experiments.train(SMOKE, "badnets").key}
    assert len(keys) == 3
    assert from_dict(new.to_dict()).key == new.key
    x = torch.rand(1, 3, 8, 8)
    assert attack("badnets", new.attack_params)(x).shape == x.shape
    with pytest.raises(PaperlibError, match=r"trigger\.png' is not the file whose image_sha256 was noted"):
        attack("badnets", old.attack_params)(x)


def test_a_relative_path_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "a.png", 3, 3)
    monkeypatch.chdir(tmp_path)
    assert trigger_image("a.png") == trigger_image(tmp_path / "a.png")


BAD_FILES = [
    ("missing.png", r"image='.*missing\.png' cannot be read \(No such file"),
    ("folder", r"cannot be read \(Is a directory\)"),
    ("text.png", r"text\.png' is no PNG or JPEG image"),
    ("cut.png", "is no PNG or JPEG image, or it is damaged"),
    ("empty.png", "is no PNG or JPEG image"),
    ("clear.png", "has mode 'RGBA'; save it as RGB or grey"),
    ("palette.png", "has mode 'P'; save it as RGB or grey"),
    ("picture.bmp", "is no PNG or JPEG image"),
]


@pytest.mark.parametrize(("name", "message"), BAD_FILES, ids=[name for name, _ in BAD_FILES])
def test_files_that_are_no_trigger(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "empty.png").write_bytes(b"")
    save(tmp_path / "clear.png", 3, 3, "RGBA")
    save(tmp_path / "palette.png", 3, 3, "P")
    save(tmp_path / "picture.bmp", 3, 3)
    save(tmp_path / "whole.png", 30, 30)
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:1000])
    with pytest.raises(PaperlibError, match=message) as said:
        trigger_image(tmp_path / name)
    assert "\n" not in str(said.value)


def test_pictures_of_the_wrong_size(tmp_path: Path) -> None:
    x: Tensor = torch.rand(1, 3, 8, 8)
    save(tmp_path / "large.png", 8, 9)
    with pytest.raises(PaperlibError, match=r"is 9x8 pixels, larger than the images of 8x8"):
        attack("badnets", trigger_image(tmp_path / "large.png"))(x)
    with pytest.raises(PaperlibError, match=r"is 9x8 pixels; to be blended into images of 8x8"):
        attack("blended", trigger_image(tmp_path / "large.png"))(x)
    save(tmp_path / "small.png", 4, 4)
    with pytest.raises(PaperlibError, match=r"is 4x4 pixels; to be blended into images of 8x8"):
        attack("blended", trigger_image(tmp_path / "small.png"))(x)
    save(tmp_path / "whole.png", 8, 8)
    made = attack("badnets", trigger_image(tmp_path / "whole.png"))(x)  # a patch may cover everything
    assert torch.equal(made, attack("blended", trigger_image(tmp_path / "whole.png", alpha=1.0))(x))


def test_a_colour_picture_for_grey_images(tmp_path: Path) -> None:
    save(tmp_path / "colour.png", 3, 3)
    save(tmp_path / "grey.png", 3, 3, "L")
    x = torch.rand(1, 1, 8, 8)
    with pytest.raises(PaperlibError, match=r"is a colour picture, the images have 1 channel\(s\)"):
        attack("badnets", trigger_image(tmp_path / "colour.png"))(x)
    assert attack("badnets", trigger_image(tmp_path / "grey.png"))(x).shape == x.shape


def test_a_path_alone_is_refused(tmp_path: Path) -> None:
    """Its key would not tell one picture from another."""
    save(tmp_path / "a.png", 3, 3)
    made = attack("badnets", pairs(image=str(tmp_path / "a.png")))
    with pytest.raises(PaperlibError, match=r"comes without image_sha256; take both from trigger_image\("):
        made(torch.rand(1, 3, 8, 8))


@pytest.mark.parametrize("alpha", [-0.1, 1.5, math.nan])
@pytest.mark.parametrize("cls", [BadNets, Blended])
def test_a_share_outside_0_to_1(cls: type, alpha: float) -> None:
    with pytest.raises(PaperlibError, match=r"alpha=.* must lie in \[0, 1\]"):
        cls(alpha=alpha)(torch.rand(1, 3, 8, 8))


def test_a_picture_is_read_once(tmp_path: Path) -> None:
    params = dict((save(tmp_path / "a.png", 3, 3), trigger_image(tmp_path / "a.png"))[1])
    assert load(params["image"], params["image_sha256"], 3) is load(params["image"], params["image_sha256"], 3)
