"""Image quality against loops over pixels, what the tool returns, and what is drawn from it."""

import base64
import json
import math
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from image_toy import images, scene
from torch import Tensor

from paperlib.analysis.triggers import AMPLIFICATIONS, quality, residual, ssim, triggers
from paperlib.attacks import render
from paperlib.attacks.scene import Scene
from paperlib.errors import PaperlibError
from paperlib.report import attack_gallery
from paperlib.report.artefact import Artefact

NAMES = ("badnets", "blended", "sig", "ctrl", "ftrojan")


def pair(n: int = 3, height: int = 13, width: int = 14, channels: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (n, channels, height, width), generator=generator, dtype=torch.uint8)
    noise = torch.randint(-30, 31, x.shape, generator=generator)
    return x, (x.int() + noise).clamp(0, 255).to(torch.uint8)


# ------------------------------------------------------------------------------------------------------- measures


def ssim_by_hand(a: np.ndarray, b: np.ndarray) -> float:
    """One channel (H, W), place by place, pixel by pixel, as the formula is written."""
    weights = {
        (i, j): math.exp(-(i * i + j * j) / (2 * 1.5**2)) for i in range(-5, 6) for j in range(-5, 6)
    }  # 11 x 11, sigma 1.5
    total = sum(weights.values())
    found = []
    for row in range(5, a.shape[0] - 5):
        for column in range(5, a.shape[1] - 5):
            here = [
                (w / total, float(a[row + i, column + j]), float(b[row + i, column + j]))
                for (i, j), w in weights.items()
            ]
            mean_a, mean_b = sum(w * p for w, p, _ in here), sum(w * q for w, _, q in here)
            var_a, var_b = (
                sum(w * (p - mean_a) ** 2 for w, p, _ in here),
                sum(w * (q - mean_b) ** 2 for w, _, q in here),
            )
            covariance = sum(w * (p - mean_a) * (q - mean_b) for w, p, q in here)
            c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
            top = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
            found.append(top / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)))
    return sum(found) / len(found)


def test_ssim_pixel_by_pixel() -> None:
    x, other = pair()
    expected = [
        np.mean([ssim_by_hand(a[c], b[c]) for c in range(2)]) for a, b in zip(x.numpy(), other.numpy(), strict=True)
    ]
    assert ssim(x, other).tolist() == pytest.approx(expected, abs=1e-6)
    assert max(expected) < 0.999 and torch.allclose(ssim(x, x), torch.ones(3, dtype=torch.float64))
    assert torch.allclose(ssim(x, other), ssim(other, x))
    assert ssim(255 - x, x).max() < 0, "a negative is worse than nothing in common"


def test_ssim_of_flat_images_is_the_formula_of_the_means() -> None:
    a, b = torch.full((1, 3, 11, 11), 100), torch.full((1, 3, 11, 11), 150)
    expected = (2 * 100 * 150 + 2.55**2) / (100**2 + 150**2 + 2.55**2)
    assert ssim(a, b).item() == pytest.approx(expected, abs=1e-8)


def test_ssim_refuses_what_its_window_does_not_fit() -> None:
    with pytest.raises(PaperlibError, match=r"at least 11x11 pixels; these are 12x10"):
        ssim(torch.zeros(1, 3, 10, 12), torch.zeros(1, 3, 10, 12))


def test_norms_and_psnr_pixel_by_pixel() -> None:
    x, other = pair()
    found = quality(x, other)
    for i in range(3):
        differences = [int(q) - int(p) for p, q in zip(x[i].flatten(), other[i].flatten(), strict=True)]
        assert found["l1"][i].item() == sum(abs(d) for d in differences)
        assert found["l2"][i].item() == pytest.approx(math.sqrt(sum(d * d for d in differences)))
        assert found["linf"][i].item() == max(abs(d) for d in differences)
        mse = sum(d * d for d in differences) / len(differences)
        assert found["psnr"][i].item() == pytest.approx(10 * math.log10(255 * 255 / mse))
    assert quality(x, x)["psnr"].isinf().all() and quality(x, x)["l1"].sum() == 0


def test_one_pixel_of_one_grey_level() -> None:
    x = torch.full((1, 1, 16, 16), 7, dtype=torch.uint8)
    other = x.clone()
    other[0, 0, 8, 8] = 8
    found = {name: value.item() for name, value in quality(x, other).items()}
    assert (found["l1"], found["l2"], found["linf"]) == (1, 1, 1)
    assert found["psnr"] == pytest.approx(10 * math.log10(255**2 * 256))


@pytest.mark.parametrize(("step", "factor"), [(255, 0.5), (128, 1), (64, 2), (65, 1), (1, 100), (2, 50), (0, 1)])
def test_the_residual_fills_the_range_and_stays_in_it(step: int, factor: float) -> None:
    x = torch.zeros(3, 4, 4, dtype=torch.uint8)
    other = x.clone()
    other[0, 0, 0] = step
    for a, b, sign in ((x, other, 1), (other, x, -1)):
        found, k = residual(a, b)
        assert k == factor in AMPLIFICATIONS and found.dtype == torch.uint8
        assert found[0, 0, 0] == min(255, math.floor(128 + sign * k * step + 0.5)) or step == 255
        assert (found.flatten()[1:] == 128).all(), "mid-grey where nothing changed"


# ----------------------------------------------------------------------------------------------------------- tool


def unpacked(text: str, shape: list[int]) -> Tensor:
    channels, height, width = shape
    pixels = np.frombuffer(base64.b64decode(text), np.uint8).reshape(height, width, channels)
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)


@pytest.fixture(scope="module")
def results() -> list[dict[str, Any]]:
    data = images(40, size=16)
    return [triggers([], scene(data, name), seed=0, n=12, true_class=2, index=1, shown=5) for name in NAMES]


@pytest.mark.parametrize("k", range(len(NAMES)))
def test_triggers_of_an_attack(results: list[dict[str, Any]], k: int) -> None:
    found, data = results[k], images(40, size=16)
    around = scene(data, NAMES[k])
    clean, poisoned, shown = (unpacked(found[part], found["shape"]) for part in ("clean", "poisoned", "residual"))
    assert torch.equal(clean, data.x[data.y == 2][1]) and found["attack"] == NAMES[k] and found["true_class"] == 2
    assert torch.equal(poisoned, render(around.attack, clean[None])[0])
    amplified, factor = residual(clean, poisoned)
    assert torch.equal(shown, amplified) and found["amplification"] == factor

    others = data.x[data.y != 0][:12]
    indices = around.poisoned.indices
    pairs_of = {
        "test": (others, render(around.attack, others)),
        "train": (data.x[indices], around.poisoned.data.x[indices]),
    }
    for split, (before, after) in pairs_of.items():
        measured = quality(before, after)
        assert {"n": len(before), "unchanged": 0}.items() <= found[split].items()
        for name, values in measured.items():
            assert found[split][name] == pytest.approx(values.mean().item(), abs=1e-4), (split, name)
    samples = found["samples"]
    drawn = [0, 2, 4, 5, 7] if len(indices) == 8 else None
    assert drawn is not None and len(samples["images"]) == 5
    for i, position in enumerate(drawn):
        assert torch.equal(unpacked(samples["images"][i], found["shape"]), around.poisoned.data.x[indices[position]])
        assert samples["true"][i] == data.y[indices[position]]
        assert samples["given"][i] == 0
    assert json.loads(json.dumps(found)) == found


def test_an_image_that_the_trigger_leaves_alone() -> None:
    """White images under a white patch: no PSNR, and JSON without infinity."""
    data = images(40, size=16)
    data.x[:] = 255
    found = triggers([], scene(data), seed=0)
    assert found["test"]["unchanged"] == found["test"]["n"] == 30 and found["test"]["psnr"] is None
    assert found["test"]["ssim"] == 1 and found["test"]["linf"] == 0 and found["amplification"] == 1
    json.dumps(found, allow_nan=False)
    data.x[1] = 0  # one that is changed counts alone
    found = triggers([], scene(data), seed=0)
    assert found["test"]["unchanged"] == 29
    assert found["test"]["psnr"] == pytest.approx(10 * math.log10(16 * 16 / 4), abs=1e-3)  # a patch of 2x2 pixels


def test_all_to_all_keeps_the_target_class() -> None:
    found = triggers([], scene(images(40, size=16), "badnets_a2a"), seed=0)
    assert found["test"]["n"] == 40 and found["samples"]["given"] != found["samples"]["true"]


def test_what_cannot_be_shown() -> None:
    data = images(40, size=16)
    clean = Scene(data, data)
    with pytest.raises(PaperlibError, match="was trained on clean data; it has no trigger to look at"):
        triggers([], clean, seed=0)
    for where in ({"index": 10}, {"index": -1}, {"true_class": 4}):
        with pytest.raises(PaperlibError, match=r"index=-?\d+ of true_class=\d: the test set has (10|0) such images"):
            triggers([], scene(data), seed=0, **where)
    with pytest.raises(PaperlibError, match="SSIM needs images of at least 11x11"):
        triggers([], scene(images(40, size=8)), seed=0)


# -------------------------------------------------------------------------------------------------------- figures


def inside(figure: Any) -> bool:
    """Whether no image axes overlap, and all lie on the page."""
    boxes = [axes.get_position() for axes in figure.axes]
    apart = all(not a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    return apart and all(-1e-9 <= b.x0 < b.x1 <= 1 + 1e-9 and -1e-9 <= b.y0 < b.y1 <= 1 + 1e-9 for b in boxes)


@pytest.mark.parametrize("columns", [None, 1, 2])
def test_the_gallery_shows_a_triple_and_its_numbers(results: list[dict[str, Any]], columns: int | None) -> None:
    figure = attack_gallery.gallery(results, columns=columns)
    assert len(figure.axes) == 3 * len(NAMES) and inside(figure)
    for k, result in enumerate(results):
        for axes, part in zip(figure.axes[3 * k : 3 * k + 3], ("clean", "poisoned", "residual"), strict=True):
            shown = torch.from_numpy(np.asarray(axes.images[0].get_array())).permute(2, 0, 1)
            assert torch.equal(shown, unpacked(result[part], result["shape"]))
        factor = result["amplification"]
        assert axes.get_xlabel() == ("× ½" if factor == 0.5 else f"× {factor:g}")
    said = "\n".join(text.get_text() for text in figure.texts)
    for result in results:
        assert f"PSNR {result['test']['psnr']:.1f} dB" in said and f"SSIM {result['test']['ssim']:.3f}" in said
    plt.close(figure)


def test_the_montage_shows_samples_with_their_labels(results: list[dict[str, Any]]) -> None:
    figure = attack_gallery.montage(results)
    assert len(figure.axes) == 5 * len(NAMES) and inside(figure)
    labels = [axes.get_xlabel() for axes in figure.axes]
    for k, result in enumerate(results):
        for i, (true, given) in enumerate(zip(result["samples"]["true"], result["samples"]["given"], strict=True)):
            below = "label kept" if true == given else f"→ class {given}"
            assert labels[5 * k + i] == f"class {true}\n{below}"
    assert set(labels[10:20]) == {"class 0\nlabel kept"}, "SIG and CTRL keep every label"
    plt.close(figure)


def test_figures_become_artefacts(results: list[dict[str, Any]]) -> None:
    frame = attack_gallery.quality_frame(results)
    assert len(frame) == len(NAMES) * 2 * 5 and set(frame.columns) == {"attack", "split", "metric", "value", "n"}
    row = frame.query("attack == 'sig' and split == 'test' and metric == 'linf'")
    assert row["value"].tolist() == [results[2]["test"]["linf"]]
    alt = attack_gallery.describe(results)
    assert f"SIG: PSNR {results[2]['test']['psnr']:.1f} dB" in alt and "\n" not in alt and "$" not in alt
    assert "CTRL 0 of 5" in attack_gallery.describe_samples(results)
    made = Artefact(
        paper="benchmark", id="x", kind="figure", caption="Attacks.", alt=alt, scale="smoke", frame=frame,
        figure=attack_gallery.gallery(results),
    )  # fmt: skip
    assert made.png[:4] == b"\x89PNG" and len(made.png) < 240_000


def test_images_without_a_change_are_drawn_too() -> None:
    data = images(40, size=16)
    data.x[:] = 255
    found = [triggers([], scene(data), seed=0)]
    figure = attack_gallery.gallery(found)
    assert "PSNR ∞" in "".join(text.get_text() for text in figure.texts)
    plt.close(figure)
    assert math.isnan(attack_gallery.quality_frame(found)["value"][0])


@pytest.mark.parametrize("draw", [attack_gallery.gallery, attack_gallery.montage])
def test_nothing_to_draw(draw: Any) -> None:
    with pytest.raises(PaperlibError, match="results is empty"):
        draw([])
