"""Detectors of wrong labels, and of traces in the spectrum: what is planted is found; their parts, by hand."""

from dataclasses import replace

import pytest
import torch
from image_toy import images, model
from torch import Tensor

from paperlib.attacks import attack, poison
from paperlib.data import noise
from paperlib.data.images import ImageData
from paperlib.data.inputs import from_tensors
from paperlib.detection import Detection, bhn, cl, cores, detect, frequency, rates, simifeat
from paperlib.errors import PaperlibError


def planted(kind: str, rate: float, seed: int = 0, classes: int = 4) -> tuple[Tensor, noise.NoisyLabels]:
    """Features (800, 8) of well separated classes, and their labels with noise."""
    g = torch.Generator().manual_seed(seed)
    y = torch.arange(800) % classes
    x = 4 * torch.randn(classes, 8, generator=g)[y] + torch.randn(800, 8, generator=g)
    return x, noise.noisy_labels(y, kind, rate, n_classes=classes, seed=seed)


def neighbour_shares(x: Tensor, y: Tensor, k: int = 10) -> tuple[Tensor, Tensor, Tensor]:
    """What one round of SimiFeat sees in features x with labels y of 4 classes."""
    share, near = simifeat.votes(x, y, 4, k)
    own, other = share.gather(1, y[:, None]).T, share.scatter(1, y[:, None], -1.0).amax(1)[None]
    return own, other, simifeat.consensus(y, near, 4)


def posterior(x: Tensor, y: Tensor) -> Tensor:
    """Class probabilities (N, 4) of a Gaussian classifier on x, fitted to the noisy labels y and blurred."""
    centres = torch.stack([x[y == k].median(0).values for k in range(4)])
    return (-0.1 * torch.cdist(x, centres).square()).softmax(1)


# ------------------------------------------------------------------------------------------ planted noise is recovered


@pytest.mark.parametrize(("kind", "rate"), [("symmetric", 0.4), ("asymmetric", 0.2)])
@pytest.mark.parametrize("seed", range(2))
def test_planted_noise_is_found(kind: str, rate: float, seed: int) -> None:
    x, noisy = planted(kind, rate, seed)
    own, other, counts = neighbour_shares(x, noisy.y)
    p = posterior(x, noisy.y)
    losses = -p.gather(1, noisy.y[:, None])[:, 0].log()
    calibration = -posterior(x, noisy.y).amax(1).log()
    found = {
        "simifeat_v": simifeat.voted(own, other),
        "simifeat_r": simifeat.ranked(own, noisy.y, counts, simifeat.SimiFeatR(steps=150), seed)[:2],
        "cl": cl.confident_learning(p, noisy.y)[:2],
        "bhn": bhn.tested(losses, calibration, 0.1)[:2],
    }
    for name, parts in found.items():
        measured = rates(Detection(*parts), noisy.mask)
        assert measured["auroc"] > 95 and measured["tpr"] > 75 and measured["fpr"] < 12, (name, measured)


def test_nothing_is_flagged_where_labels_are_right() -> None:
    x, _ = planted("symmetric", 0.2)
    y = torch.arange(800) % 4
    own, other, _ = neighbour_shares(x, y)
    assert simifeat.voted(own, other)[1].float().mean() < 0.01
    assert cl.confident_learning(posterior(x, y), y)[1].float().mean() < 0.01


def test_cores_learns_the_images_and_stops_the_noise() -> None:
    data = images(160)
    noisy = noise.symmetric(data.y, 0.2, n_classes=4)
    found = detect(
        replace(data, y=noisy.y), method="cores", model=model(data), epochs=8, batch_size=20, lr=0.05, seed=1
    )
    measured = rates(found, noisy.mask)
    assert measured["auroc"] > 70 and measured["tpr"] > measured["fpr"] + 30, (
        measured
    )  # a tiny network, a short training
    assert sum(found.notes["prior"]) == pytest.approx(1, abs=1e-3)


# --------------------------------------------------------------------------------------------------------- BHN by hand


def test_p_values_by_hand() -> None:
    found = bhn.p_values(torch.tensor([0.5, 3.0, 2.0]), torch.tensor([1.0, 2.0, 0.1]))
    assert found.tolist() == [3 / 4, 1 / 4, 2 / 4]


def test_benjamini_hochberg_by_hand() -> None:
    p = torch.tensor([0.04, 0.5, 0.01, 0.9])  # lines 0.025 0.05 0.075 0.1: two pass
    assert bhn.benjamini_hochberg(p, 0.1).tolist() == [True, False, True, False]
    assert not bhn.benjamini_hochberg(p, 0.01).any()
    assert bhn.benjamini_hochberg(torch.tensor([0.09, 0.08, 0.0999]), 0.1).all()  # the largest decides
    with pytest.raises(PaperlibError, match="alpha=1 must lie strictly between 0 and 1"):
        bhn.benjamini_hochberg(p, 1)


def test_the_false_discovery_rate_holds() -> None:
    g = torch.Generator().manual_seed(0)
    share = []
    for _ in range(20):
        losses = torch.cat([torch.randn(800, generator=g), 4 + torch.randn(200, generator=g)])
        flagged = bhn.tested(losses, torch.randn(1000, generator=g), 0.1)[1]
        assert flagged[800:].float().mean() > 0.7
        share.append((flagged[:800].sum() / flagged.sum()).item())
    assert sum(share) / 20 < 0.11


# ------------------------------------------------------------------------------------------------- CL and CORES by hand


def test_the_confident_joint_by_hand() -> None:
    p = torch.tensor([[0.9, 0.1], [0.7, 0.3], [0.1, 0.9], [0.2, 0.8], [0.4, 0.6]])
    y = torch.tensor([0, 0, 0, 1, 1])
    # thresholds (0.9 + 0.7 + 0.1) / 3 = 0.567 and 0.7; the last sample reaches neither
    joint = cl.confident_joint(p, y)
    assert torch.allclose(joint, torch.tensor([[2.0, 1.0], [0.0, 2.0]]))
    scores, flagged, notes = cl.confident_learning(p, y)
    assert flagged.tolist() == [False, False, True, False, False] and notes == {"noise_rate": 0.2}
    assert torch.allclose(scores, torch.tensor([-0.8, -0.4, 0.8, -0.6, -0.2]))


def test_a_class_that_nobody_is_sure_of() -> None:
    p, y = torch.full((6, 3), 1 / 3), torch.tensor([0, 0, 1, 1, 1, 1])  # and class 2 has no sample
    joint = cl.confident_joint(p, y)
    assert torch.isfinite(joint).all() and torch.allclose(joint.sum(1), torch.tensor([2.0, 4.0, 0.0]))
    assert not cl.confident_learning(p, y)[1].any()


def test_folds_spread_every_class() -> None:
    y = torch.tensor([0] * 10 + [1] * 25 + [2] * 5)
    fold = cl.folds_of(y, 5, 0)
    assert all((y[fold == k].bincount(minlength=3) == torch.tensor([2, 5, 1])).all() for k in range(5))
    assert not torch.equal(fold, cl.folds_of(y, 5, 1))
    with pytest.raises(PaperlibError, match="folds=1 must lie between 2"):
        cl.folds_of(y, 1, 0)


def test_the_sieve_by_hand() -> None:
    p = torch.tensor([[0.6, 0.3, 0.1], [0.6, 0.3, 0.1]])
    mean = -p[0].log().mean()
    found = cores.sieve_score(p.log(), torch.tensor([0, 2]))
    assert torch.allclose(found, -p[0].log()[[0, 2]] - mean, atol=1e-5) and found[0] < 0 < found[1]
    assert torch.isfinite(cores.all_losses(torch.tensor([[1e4, 0.0]]))).all()
    config = cores.CORES()
    assert [round(cores.beta_at(e, config), 3) for e in (0, 10, 25, 40)] == [0, 0, 1, 2]


# ----------------------------------------------------------------------------------------------------- SimiFeat by hand


def test_neighbours_equal_a_loop() -> None:
    x = torch.randn(30, 5, generator=torch.Generator().manual_seed(0))
    index, cosine = simifeat.neighbours(x, 4, chunk=7)
    for i in (0, 13, 29):
        near = torch.nn.functional.cosine_similarity(x[i][None], x)
        near[i] = -2
        assert index[i].tolist() == near.topk(4).indices.tolist()
        assert torch.allclose(cosine[i], near.topk(4).values, atol=1e-5)


def test_votes_by_hand() -> None:
    """k = 3: the sample itself, whose weight its two neighbours decide, and those two with their cosines."""
    x = torch.tensor([[1.0, 0.0], [1.0, 0.1], [-1.0, 0.0], [-1.0, 0.1]])
    found, near = simifeat.votes(x, torch.tensor([0, 1, 2, 2]), 3, 3)
    c = 1 / 1.01**0.5  # cosine of 0 and 1; that of 0 and 3, its second neighbour, is -c
    expected = torch.tensor([2 * c + c, c, -c])
    assert torch.allclose(found[0], expected / expected.norm(), atol=1e-6) and near[0].tolist() == [1, 2]


@pytest.mark.parametrize("kind", noise.SYNTHETIC)
def test_the_transition_matrix_is_recovered(kind: str) -> None:
    y = torch.arange(30_000) % 3
    y[:6000] = 0
    draws = [noise.noisy_labels(y, kind, 0.3, n_classes=3, seed=s).y for s in range(3)]
    counts = simifeat.consensus(draws[0], torch.stack(draws[1:], 1), 3)
    prior, matrix = simifeat.transition(counts, steps=200)
    off = torch.full((3, 3), 0.15) if kind == "symmetric" else 0.3 * torch.eye(3).roll(1, 1)
    expected = torch.where(torch.eye(3).bool(), 0.7, off).double()
    assert torch.allclose(matrix, expected, atol=0.03), matrix
    assert torch.allclose(prior, y.bincount().double() / 30_000, atol=0.02)


def test_the_majority_of_rounds_decides() -> None:
    flags = torch.tensor([[True, True, False], [True, False, False], [False, False, True]])
    assert simifeat.majority(flags).tolist() == [True, False, False]


def test_rounds_use_the_features_of_the_model_that_is_given() -> None:
    data = images(60, seed=2, pad=0, flip=False)
    own, other, counts = simifeat.rounds(data, model(data), simifeat.SimiFeatV(k=5), 0)
    assert own.shape == other.shape == (1, 60) and counts.sum() == 60  # nothing is random: one round
    own, _, counts = simifeat.rounds(replace(data, pad=1), model(data), simifeat.SimiFeatV(k=5, rounds=3), 0)
    assert own.shape == (3, 60) and counts.sum() == 180 and not torch.equal(own[0], own[1])


# ------------------------------------------------------------------------------------------------------------ Frequency


def smooth(n: int, seed: int) -> ImageData:
    """Pictures of 16x16 pixels without high frequencies: ramps of random colours and directions."""
    g = torch.Generator().manual_seed(seed)
    i = torch.linspace(-1, 1, 16)
    slopes = 0.25 * (2 * torch.rand(2, n, 3, 1, 1, generator=g) - 1)
    x = 0.3 + 0.4 * torch.rand(n, 3, 1, 1, generator=g) + slopes[0] * i[:, None] + slopes[1] * i
    return from_tensors(x.clamp(0, 1), torch.arange(n) % 4)


def test_triggers_are_found_in_the_spectrum() -> None:
    data = smooth(120, 1)
    made = poison(data, attack("badnets"), target=0, indices=range(0, 120, 6))
    found = detect(made.data, method="frequency", clean=smooth(64, 2), epochs=12, batch_size=32, lr=1.0)
    measured = rates(found, made.mask)
    assert measured["auroc"] > 90 and measured["tpr"] > 60 and measured["fpr"] < 30, measured


def test_the_spectrum_is_the_orthonormal_cosine_transform() -> None:
    from scipy.fft import dctn

    x = torch.rand(2, 3, 8, 12, generator=torch.Generator().manual_seed(0))
    expected = dctn(255 * x.numpy(), axes=(2, 3), norm="ortho")
    assert torch.allclose(frequency.spectrum(x), torch.from_numpy(expected), atol=1e-2)


def test_every_synthetic_trigger_changes_its_image_only() -> None:
    x = smooth(200, 3).float()
    a, b = (frequency.triggered(x, torch.Generator().manual_seed(4)) for _ in range(2))
    assert torch.equal(a, b) and a.shape == x.shape and a.min() >= 0 and a.max() <= 1
    changed = (a != x).flatten(1).float().mean(1)
    assert (changed > 0).float().mean() > 0.9  # a shadow may fall beside the picture
    assert (changed < 0.2).any() and (changed > 0.9).any()  # patches, and what covers everything


# ------------------------------------------------------------------------------------------------------------ bad input


@pytest.fixture
def data() -> ImageData:
    return images(24)


@pytest.mark.parametrize(
    ("name", "params", "says"),
    [
        ("simifeat_v", {"k": 25}, "k=25 must lie between 3 and the number of samples, 24"),
        ("simifeat_r", {"rounds": 0}, "rounds=0 must be at least 1"),
        ("cores", {"sieve": 30}, "sieve=30 is a share of the epochs"),
        ("cl", {"folds": 40}, "folds=40 must lie between 2 and the number of samples, 24"),
        ("bhn", {"clean": images(4)}, r"clean has fewer than 2 image\(s\) of class 0"),
        ("bhn", {"clean": None}, "give a few of every class as clean="),
        ("frequency", {"clean": None}, "give a few of every class as clean="),
        ("frequency", {"clean": images(4, size=16)}, r"clean holds images of shape \(3, 16, 16\), data of \(3, 8, 8\)"),
        ("frequency", {"epochs": 0}, "epochs=0 must be at least 1"),
        ("bhn", {"alfa": 0.1}, "did you mean 'alpha'"),
    ],
)
def test_wrong_settings_are_named(data: ImageData, name: str, params: dict, says: str) -> None:
    with pytest.raises(PaperlibError, match=says):
        detect(data, method=name, model=model(data), **{"clean": data, **params})
