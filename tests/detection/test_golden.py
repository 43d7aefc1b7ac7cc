"""Detectors against what the authors' public code computed; any file of the format of ``golden/official`` will do."""

import math

import numpy as np
import pytest
import torch
from golden_steps import close, golden
from torch import Tensor

from paperlib.detection import frequency, scan, simifeat, ss


def test_simifeat_v() -> None:
    steps = golden("simifeat_v")
    x, y, k = steps["features"], steps["noisy_label"], steps.settings["k"]
    found, _ = simifeat.votes(x, y, steps.settings["classes"], k)
    close(found, steps["votes_l2_normalised"], "votes")
    own, other = found.gather(1, y[:, None]).T, found.scatter(1, y[:, None], -1.0).amax(1)[None]
    close(simifeat.cross_entropy(own[0]), steps["score_ce"], "score_ce", atol=1e-4)
    assert torch.equal(simifeat.voted(own, other)[1], steps["flagged"])
    others, _ = simifeat.votes(x, y, steps.settings["classes"], k + 1)
    assert (others - steps["votes_l2_normalised"]).abs().max() > 0.01, "ten others are another method"


def test_scan() -> None:
    steps = golden("scan")
    x, y, clean_x, clean_y = (steps[name] for name in ("x", "y", "clean_x", "clean_y"))
    x, clean_x = x.double(), clean_x.double()
    identity, variation = scan.decompose(clean_x, clean_y, steps.settings["iterations"], steps.settings["tolerance"])
    close(identity, steps["cov_identity"], "identity")
    close(variation, steps["cov_variation"], "variation")
    config = scan.SCAn(
        formula="public_code", iterations=steps.settings["iterations"], tolerance=steps.settings["tolerance"]
    )
    start = [draws[~draws.isnan()] >= 0.5 for draws in steps["split_start"]]
    found = scan.examine(x, y, clean_x, clean_y, config, start)
    for label, group in enumerate(found["group"]):
        assert torch.equal(group, steps["group"][label][: len(group)] >= 0.5), label
    ratios = torch.tensor(found["ratio"], dtype=torch.float64)
    close(ratios, steps["J"], "J")
    close(scan.public_index(ratios), steps["anomaly_index"], "anomaly index")
    contaminated = y[steps["contaminated"]].unique().tolist()
    ours = scan.contamination(x, y, clean_x, clean_y, scan.SCAn())[2]
    assert set(contaminated) <= set(ours["flagged_classes"]), "by the formula the contaminated class stands out"
    theirs = scan.contamination(x, y, clean_x, clean_y, config)[2]
    assert not set(contaminated) & set(theirs["flagged_classes"]), "by the public code it does not"


def test_spectral() -> None:
    steps = golden("spectral")
    x, y = steps["x"], steps["y"]
    percentile = steps.settings["backdoorbench"]["percentile"]
    bench = ss.SS(centred=False, share=1 - percentile / 100)
    scores, flagged, _ = ss.spectral(x, y, bench)
    close(scores, steps["bb_score"].abs(), "score of BackdoorBench")
    limits = torch.stack([scores[y == label].quantile(percentile / 100) for label in y.unique()])
    close(limits, steps["bb_threshold_per_label"], "percentile of BackdoorBench")
    assert torch.equal(flagged, steps["bb_flagged"])
    scores, flagged, _ = ss.spectral(x, y, ss.SS(ratio=steps.settings["toolbox"]["poison_rate"]))
    close(scores, steps["toolbox_score"], "score of backdoor-toolbox")
    assert torch.equal(flagged, steps["toolbox_flagged"])


# -------------------------------------------------------------------------------------------------------- frequency


def nhwc(x: Tensor) -> Tensor:
    return x.permute(0, 3, 1, 2).contiguous()


def test_frequency_s_input() -> None:
    """The DCT of 8-bit images, given to the network as it is."""
    steps = golden("frequency")
    images = nhwc(steps["images"])
    assert torch.equal(steps["images"], steps["images_after_truncation"]), "nothing is lost on the way to 8 bits"
    close(frequency.spectrum(images.float() / 255), nhwc(steps["dct"]), "DCT")
    net = frequency.SpectrumNet(*images.shape[1:]).eval()
    assert torch.allclose(net(images.float() / 255), net.layers(nhwc(steps["dct"])), atol=1e-3)


def white_block(x: Tensor, made: Tensor, side: int) -> None:
    rectangle(x, made, side)
    assert (made[made != x] == 1).all()


def random_block(x: Tensor, made: Tensor, side: int) -> None:
    rectangle(x, made, side)
    inside = made[made != x]
    assert inside.std() > 0.1 and inside.min() >= 0 and inside.max() <= 1


def rectangle(x: Tensor, made: Tensor, side: int) -> None:
    """What changed is a rectangle of 2 to 7 pixels a side, 0 to 5 pixels from two edges of a corner, of images of
    32."""
    changed = (made != x).any(0)
    rows, columns = changed.any(1).nonzero().flatten(), changed.any(0).nonzero().flatten()
    for line in (rows, columns):
        first, last = int(line.min()), int(line.max())
        assert last - first + 1 <= 7 * side // 32 and min(first, side - 1 - last) <= 5 * side // 32, (first, last)


def gaussian_noise(x: Tensor, made: Tensor, side: int) -> None:
    """Mean 25 and variance 10 to 70 in grey levels, where nothing is clipped."""
    free = (made > 0.02) & (made < 0.98) & (x < 0.7)
    change = 255 * (made - x)[free]
    assert abs(change.mean() - 25) < 2.5 and 10**0.5 - 1 < change.std() < 70**0.5 + 1


def shadow(x: Tensor, made: Tensor, side: int) -> None:
    """In the lower half, in places, half the lightness (mean of the largest and the smallest channel); nothing
    elsewhere."""
    changed = ((made - x).abs() > 6 / 255).any(0)  # to the 8-bit lightness and back
    assert not changed[: side // 2 - 1].any() and changed.float().mean() < 0.5
    light, dark = (torch.stack([one.amax(0), one.amin(0)]).mean(0)[changed & (x.amax(0) > 0.1)] for one in (x, made))
    assert ((dark / light) - 0.5).abs().max() < 0.1


KINDS = {"white_block": white_block, "random_block": random_block, "gaussian_noise": gaussian_noise, "shadow": shadow}


@pytest.mark.parametrize("kind", KINDS)
def test_frequency_s_synthetic_triggers(kind: str) -> None:
    """What holds of the public code's examples holds of ours."""
    steps = golden("frequency")
    images = nhwc(steps["images"]).float() / 255
    theirs = nhwc(steps[f"triggered_{kind}"]).float()
    side = images.shape[2]
    for before, after in zip(images, theirs, strict=False):
        KINDS[kind](before, after, side)
    g = torch.Generator().manual_seed(0)
    x = 0.1 + 0.6 * torch.rand(60, 3, side, side, generator=g)  # nothing is clipped
    made = frequency.TRIGGERS[kind](x, x, g)
    changed = 0
    for before, after in zip(x, made, strict=True):
        if (before != after).any():
            KINDS[kind](before, after, side)
            changed += 1
    assert changed >= (50 if kind == "shadow" else 60)
    assert made.min() >= 0 and made.max() <= 1


def test_frequency_s_blend() -> None:
    steps = golden("frequency")
    images, other = nhwc(steps["images"]).float() / 255, steps["blend_other_image"]
    theirs = nhwc(steps["triggered_blend"]).float()
    close(frequency.added(images[: len(theirs)], images[other]), theirs, "blend", atol=1e-6)


def test_every_kind_of_trigger_is_drawn_as_often() -> None:
    g = torch.Generator().manual_seed(0)
    x = torch.full((1000, 3, 32, 32), 0.4)
    made = frequency.triggered(x, g)
    white = ((made == 1).flatten(1).any(1)).float().mean()
    noisy = ((made - x).abs().amax(1) > 0).flatten(1).float().mean(1) > 0.99
    darker = (made < x - 0.1).flatten(2).any(2).all(1) & ~noisy & ((made >= 0.2 - 1e-3).flatten(1).all(1))
    added = ((made - 0.52).abs() < 1e-6).flatten(1).all(1)  # 0.4 + 0.3 x 0.4
    for share in (white, (noisy & ~added).float().mean(), added.float().mean(), darker.float().mean()):
        assert math.isclose(share, 0.2, abs_tol=0.06)
    assert np.isfinite(made.numpy()).all()
