"""Detectors: what each computes, on synthetic features with planted poison, toy models with a planted trigger, and by
hand."""

import inspect
import math
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from image_toy import images, model, same, state
from torch import Tensor, nn

from paperlib.data.images import ImageData
from paperlib.detection import (
    DETECTORS,
    MODEL_AND_CLEAN,
    Detection,
    abl,
    ac,
    agpd,
    beatrix,
    cd,
    corruptions,
    ct,
    d_br,
    detect,
    rates,
    scan,
    sentinet,
    spectre,
    ss,
    statistics,
    strip,
    teco,
)
from paperlib.detection.statistics import check_classes
from paperlib.errors import NotApplicable, PaperlibError
from paperlib.models.default_layer import feature_layer
from paperlib.models.features import features
from paperlib.training import Recipe, fit, predict

SMALL = {
    "strip": {"overlays": 2},
    "sentinet": {"pasted": 2},
    "teco": {"kinds": ("brightness", "contrast"), "severities": (1, 5)},
    "cd": {"steps": 2},
    "abl": {"epochs": 1, "batch_size": 20},
    "ct": {"keep": (0.5,), "pretrain_epochs": (1,), "weights": (5.0, 5.0), "lr": (0.01, 0.01), "iterations": (3, 3)},
    "d_br": {"pretrain_epochs": 1, "feature_epochs": 1, "batch_size": 20},
    "beatrix": {"orders": 2, "folds": 2},
    "frequency": {"epochs": 1},
    "bhn": {"epochs": 1, "batch_size": 20},
    "cores": {"epochs": 2, "batch_size": 20, "lr": 0.01},
    "cl": {"folds": 2, "epochs": 1, "batch_size": 20},
    "simifeat_v": {"rounds": 2, "k": 3},
    "simifeat_r": {"rounds": 2, "k": 3, "steps": 5},
}
"""Hyper-parameters that make a run on the toy images short."""


@pytest.fixture
def data() -> ImageData:
    return images()


def planted(
    poisoned: int = 30, per_class: int = 100, classes: int = 5, d: int = 12, shift: float = 6.0, seed: int = 0
) -> SimpleNamespace:
    """Gaussian features of well separated classes; ``poisoned`` more of class 0 are displaced in one direction."""
    g = torch.Generator().manual_seed(seed)
    centres = 10 * torch.randn(classes, d, generator=g)
    y = torch.arange(classes * per_class) % classes
    x = centres[y] + torch.randn(len(y), d, generator=g)
    direction = torch.randn(d, generator=g)
    bad = centres[0] + shift * direction / direction.norm() + torch.randn(poisoned, d, generator=g)
    order = torch.randperm(len(y) + poisoned, generator=g)
    clean_y = torch.arange(classes * 20) % classes
    return SimpleNamespace(
        x=torch.cat([x, bad])[order],
        y=torch.cat([y, torch.zeros(poisoned, dtype=torch.long)])[order],
        dirty=(torch.arange(len(order)) >= len(y))[order],
        clean_x=centres[clean_y] + torch.randn(len(clean_y), d, generator=g),
        clean_y=clean_y,
    )


def measured(found: tuple, dirty: Tensor) -> dict[str, float]:
    return rates(Detection(*found), dirty)


# --------------------------------------------------------------------------------------- planted poison is recovered


FEATURE_METHODS: dict[str, tuple[Callable[[SimpleNamespace], tuple], float]] = {
    # function of the planted features, largest false positive rate in percent
    "ac": (
        lambda p: ac.cluster(p.x, p.y, ac.AC()),
        15,
    ),  # 2-means cuts a Gaussian class anywhere: some cuts are below 35 %
    "ac silhouette": (lambda p: ac.cluster(p.x, p.y, ac.AC(rule="silhouette", silhouette=0.35)), 1),
    "ss": (lambda p: ss.spectral(p.x, p.y, ss.SS(target=0, share=0.25)), 1),
    "scan": (lambda p: scan.contamination(p.x, p.y, p.clean_x, p.clean_y, scan.SCAn()), 1),
    "spectre": (lambda p: spectre.robust_signatures(p.x, p.y, spectre.SPECTRE(classes="largest", share=0.25)), 1),
    "beatrix": (lambda p: beatrix_of(p), 15),
}


def beatrix_of(p: SimpleNamespace) -> tuple:
    config = beatrix.Beatrix(orders=2, bound=4.0)
    maps, clean_maps = (v.add(40).unsqueeze(2) for v in (p.x, p.clean_x))  # activations are positive
    return beatrix.gram_outliers(maps, p.y, clean_maps, p.clean_y, config)


@pytest.mark.parametrize("name", FEATURE_METHODS)
def test_planted_poison_is_recovered(name: str) -> None:
    method, fpr = FEATURE_METHODS[name]
    for seed in range(2):
        p = planted(seed=seed)
        found = measured(method(p), p.dirty)
        assert found["tpr"] >= 85 and found["fpr"] <= fpr, (seed, found)
        scores, flagged, _ = method(p)
        own = p.y == 0  # scores are made to rank the samples of one class
        assert measured((scores[own], flagged[own]), p.dirty[own])["auroc"] >= 95, seed


@pytest.mark.parametrize("name", ["ac silhouette", "scan"])
def test_nothing_is_flagged_where_nothing_is_planted(name: str) -> None:
    p = planted(poisoned=0)
    assert not FEATURE_METHODS[name][0](p)[1].any()


@pytest.mark.parametrize("name", FEATURE_METHODS)
def test_the_order_of_the_samples_does_not_matter(name: str) -> None:
    """A detector that looked at positions instead of features would give other samples away."""
    p = planted()
    order = torch.randperm(len(p.y), generator=torch.Generator().manual_seed(5))
    shuffled = SimpleNamespace(**{**vars(p), "x": p.x[order], "y": p.y[order]})
    scores, flagged, _ = FEATURE_METHODS[name][0](p)
    again, flagged_again, _ = FEATURE_METHODS[name][0](shuffled)
    own = shuffled.y == 0  # where there is something to find: a cut through a Gaussian class depends on chance
    assert torch.allclose(scores[order][own], again[own], rtol=1e-2, atol=1e-2)
    assert (flagged[order] == flagged_again)[own].float().mean() > 0.99


def test_detectors_are_not_given_which_samples_are_poisoned() -> None:
    for name, method in DETECTORS.items():
        arguments = list(inspect.signature(method.load()).parameters)
        assert arguments == ["data", "model", "clean", "config", "seed", "progress"], name


# ------------------------------------------------------------------------------------------------------ AC and SS


def test_the_benchmarks_ac_is_misaligned() -> None:
    p = planted(poisoned=60, per_class=150)
    right, wrong = ac.cluster(p.x, p.y, ac.AC()), ac.misaligned(p.x, p.y, ac.AC())
    assert measured(right, p.dirty)["tpr"] > 95
    found = measured(wrong, p.dirty)
    # random removal: as large a share of the poisoned samples as of the clean ones
    assert 15 < found["n_flagged"] / len(p.y) * 100 < 55 and abs(found["tpr"] - found["fpr"]) < 20, found


def test_ac_keeps_clusters_that_are_too_large() -> None:
    p = planted(poisoned=80)  # 80 of 180: 44 %
    assert not ac.cluster(p.x, p.y, ac.AC())[1].any()
    assert measured(ac.cluster(p.x, p.y, ac.AC(size=0.46)), p.dirty)["tpr"] > 95
    assert ac.cluster(p.x, p.y, ac.AC(rule="smaller"))[1].sum() > 180


def test_spectral_scores_are_squared_projections_on_the_first_singular_vector() -> None:
    p = planted(poisoned=10, classes=2)
    scores, flagged, _ = ss.spectral(p.x, p.y, ss.SS())
    own = p.x[p.y == 0].double().numpy()
    centred = own - own.mean(0)
    v = np.linalg.svd(centred)[2][0]
    assert np.allclose(scores[p.y == 0].numpy(), (centred @ v) ** 2, rtol=1e-3, atol=1e-3)
    raw = ss.spectral(p.x, p.y, ss.SS(centred=False))[0]
    assert np.allclose(raw[p.y == 0].numpy(), np.abs(own @ v), rtol=1e-3, atol=1e-2)
    assert flagged[p.y == 0].sum() == 17 and flagged[p.y == 1].sum() == 15  # above 0.85 x 109 and 0.85 x 99


def test_one_target_leaves_the_other_classes_alone() -> None:
    p = planted()
    scores, flagged, _ = ss.spectral(p.x, p.y, ss.SS(target=2))
    assert flagged.sum() == 15 and (p.y[flagged] == 2).all() and (scores[p.y != 2] == 0).all()
    with pytest.raises(PaperlibError, match=r"target=7 is no label of data"):
        ss.spectral(p.x, p.y, ss.SS(target=7))


def test_the_budget_of_detectors_that_are_told() -> None:
    assert statistics.budget(100, 1000, 0.15, 0.0) == 15
    assert statistics.budget(100, 1000, 0.15, 0.01) == 15
    assert statistics.budget(100, 1000, 0.15, 0.09) == 50  # VDC: half of every class
    with pytest.raises(PaperlibError, match=r"share=1.5 is no share"):
        statistics.budget(100, 1000, 1.5, 0.0)


# ------------------------------------------------------------------------------------------------------ statistics


def test_the_anomaly_index_by_hand() -> None:
    values = torch.tensor([1.0, 2.0, 3.0, 4.0, 100.0])  # median 3, deviations 2 1 0 1 97: their median is 1
    assert torch.allclose(statistics.anomaly_index(values), torch.tensor([0, 0, 0, 1, 97]) / 1.4826)
    assert statistics.anomaly_index(torch.full((4,), 2.0)).tolist() == [0] * 4
    assert statistics.anomaly_index(torch.tensor([1.0, 1.0, 1.0, 5.0])).tolist() == [0, 0, 0, math.inf]
    assert statistics.anomaly_index(torch.tensor([1.0, 1.0, 5.0]), 2.0)[2].item() == pytest.approx(4 / 2 / 1.4826)


@pytest.mark.parametrize("shape", [(30, 8), (8, 30)])
def test_principal_directions_equal_the_svd(shape: tuple[int, int]) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    x = x - x.mean(0)
    found = statistics.principal_directions(x, 3).double()
    expected = torch.linalg.svd(x.double()).Vh[:3].T
    assert torch.allclose((found.T @ expected).abs(), torch.eye(3, dtype=torch.float64), atol=1e-4)


def test_top_takes_the_largest() -> None:
    assert statistics.top(torch.tensor([1.0, 5.0, 3.0]), 2).tolist() == [False, True, True]
    assert not statistics.top(torch.tensor([1.0]), 0).any()


# -------------------------------------------------------------------------------------------- SCAn, SPECTRE, Beatrix


def test_scan_finds_the_covariances_it_was_drawn_from() -> None:
    g = torch.Generator().manual_seed(0)
    s_mu, s_eps = torch.tensor([4.0, 1.0, 9.0]).double(), torch.tensor([1.0, 2.0, 0.5]).double()
    y = torch.arange(300 * 40) % 300
    x = s_mu.sqrt() * torch.randn(300, 3, generator=g).double()[y]
    x = x + s_eps.sqrt() * torch.randn(len(y), 3, generator=g).double()
    found_mu, found_eps = scan.decompose(x, y)
    assert torch.allclose(found_eps, s_eps.diag(), atol=0.1)
    assert torch.allclose(found_mu.diagonal(), s_mu, rtol=0.3)


def test_the_likelihood_ratio_by_hand() -> None:
    x = torch.tensor([[-1.0, 0.0], [-3.0, 0.0], [1.0, 0.0], [3.0, 0.0]]).double()
    group = torch.tensor([True, True, False, False])
    precision = torch.diag(torch.tensor([2.0, 1.0])).double()
    # around 0: 2 (1 + 9 + 1 + 9) / 4 = 10; around -2 and 2: 2 (1 + 1 + 1 + 1) / 4 = 2
    assert scan.likelihood_ratio(x, group, precision) == pytest.approx(8)
    assert scan.likelihood_ratio(x, torch.ones(4, dtype=torch.bool), precision) == 0


def test_scan_removes_the_group_without_clean_images() -> None:
    """Also where the poisoned samples are the larger group: a cluster's size says nothing."""
    p = planted(poisoned=150)
    found = measured(scan.contamination(p.x, p.y, p.clean_x, p.clean_y, scan.SCAn()), p.dirty)
    assert found["tpr"] > 95 and found["fpr"] < 2, found


def test_the_filter_of_spectre_resists_outliers() -> None:
    g = torch.Generator().manual_seed(0)
    good = torch.randn(900, 3, generator=g).double()
    bad = torch.tensor([8.0, 0.0, 0.0]).double() + 0.1 * torch.randn(80, 3, generator=g).double()
    x = torch.cat([good, bad])
    mean, whiten = spectre.robust_whitening(x, 0.1)
    plain_mean, plain = spectre._whitening(x)
    assert mean.norm() < 0.15 < plain_mean.norm()
    assert (whiten - torch.eye(3)).norm() < 0.2 < (plain - torch.eye(3)).norm()
    assert (spectre.robust_whitening(good, 0.1)[1] - torch.eye(3)).norm() < 0.2


def test_quantum_entropy_by_hand() -> None:
    h = torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]]).double()  # covariance diag(2, 1/2)
    q = torch.tensor([math.exp(4.0), math.exp(-2.0)])  # alpha (S - I) / (2 - 1) on the diagonal
    expected = torch.tensor([4 * q[0], 4 * q[0], q[1], q[1]]) / q.sum()
    assert torch.allclose(spectre.quantum_entropy(h, 4.0), expected.double())


def test_gram_entries_by_hand() -> None:
    maps = torch.tensor([[[1.0, 2.0], [3.0, -1.0]]])
    assert torch.allclose(beatrix.gram(maps, 1), torch.tensor([[5.0, 1.0, 10.0]]))
    # order 2: squares 1 4 / 9 1, products 17, 13, 82, square roots
    assert torch.allclose(beatrix.gram(maps, 2), torch.tensor([[17.0, 13.0, 82.0]]).sqrt())


def test_beatrix_measures_what_lies_outside_the_bounds() -> None:
    grams = torch.tensor([[1.0], [2.0], [3.0], [4.0], [5.0]])  # median 3, deviation 1
    low, high = beatrix.bounds(grams, 2.0)
    assert (low.item(), high.item()) == (1, 5)
    found = beatrix.excess(torch.tensor([[0.0], [3.0], [10.0]]), low, high)
    assert torch.allclose(found, torch.tensor([1.0, 0.0, 1.0]), atol=1e-4)


def test_the_kernel_statistic_tells_distributions_apart() -> None:
    g = torch.Generator().manual_seed(0)
    a, b = torch.randn(60, 4, generator=g), torch.randn(60, 4, generator=g)
    assert beatrix.kernel_statistic(a, b + 2) > 5 * beatrix.kernel_statistic(a, b) > 0
    assert beatrix.kernel_statistic(a, b[:0]) == 0


# -------------------------------------------------------------------------------------- toy models with a trigger


class Toy(nn.Module):
    """Class by the brightest quarter of rows; a white corner pixel, over any background, gives class 0 for certain."""

    features = "maps"

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.maps(x)
        scores = 4 * x.mean(1).unflatten(1, (4, -1)).mean((2, 3))
        trigger = (x[:, :, -1, -1].mean(1) - 0.95).clamp(0) * 400
        return scores + trigger[:, None] * torch.tensor([1.0, 0, 0, 0])


@pytest.fixture
def triggered() -> tuple[ImageData, Tensor]:
    """40 toy images; every fifth has the trigger and label 0."""
    data = images(40)
    data.x[:, :, -1, -1] = 0
    dirty = torch.arange(40) % 5 == 0
    data.x[dirty, :, -1, -1] = 255
    return replace(data, y=torch.where(dirty, 0, data.y)), dirty


def untouched() -> ImageData:
    clean = images(20, seed=7)
    clean.x[:, :, -1, -1] = 0
    return clean


def test_strip_finds_the_trigger_that_survives_overlays(triggered: tuple[ImageData, Tensor]) -> None:
    data, dirty = triggered
    clean = replace(untouched(), mean=(0.0, 0.0, 0.0))
    found = detect(replace(data, mean=(0.0, 0.0, 0.0)), method="strip", model=Toy(), clean=clean, overlays=10)
    assert found.flagged[dirty].all() and rates(found, dirty)["auroc"] == 100


def test_the_entropy_of_strip_equals_a_loop(data: ImageData) -> None:
    made, one = model(data), data.subset([3])
    config = strip.STRIP(overlays=4, alpha=0.5)
    found = strip.mean_entropy(made, data, one, config, seed=0)  # one overlay only: no draw matters
    mean = torch.tensor(data.mean).view(3, 1, 1)
    made.eval()
    for i in (0, 17):
        with torch.no_grad():
            p = made((data.float()[i] + 0.5 * (one.float()[0] - mean))[None]).softmax(1)[0]
        assert found[i].item() == pytest.approx(-(p * p.log()).sum().item(), abs=0.03)  # bfloat16


def test_strip_flags_a_tenth_of_images_like_the_clean_ones(data: ImageData) -> None:
    many = images(400, seed=3)
    found = detect(many, method="strip", model=model(many), clean=images(200, seed=4), overlays=3)
    assert 2 <= found.flagged.float().mean() * 100 <= 25
    assert torch.equal(found.flagged, found.scores > found.notes["threshold"]) or found.flagged.any()


def test_sentinet_pastes_the_region_that_decides(
    triggered: tuple[ImageData, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, dirty = triggered

    def corner(made: nn.Module, layer: str, x: Tensor) -> tuple[Tensor, Tensor]:
        maps = torch.zeros(len(x), 8, 8)
        maps[:, -1, -1] = 1
        return maps, made(x).argmax(1).detach()

    monkeypatch.setattr(sentinet, "class_activation_map", corner)
    found = detect(data, method="sentinet", model=Toy(), clean=untouched(), pasted=5)
    assert torch.equal(found.flagged, dirty) and (found.scores[dirty] > 0.99).all()


def test_small_masks_are_poison_by_the_clean_subset_s_measure(triggered: tuple[ImageData, Tensor]) -> None:
    data, _ = triggered
    found = detect(data, method="cd", model=Toy(), clean=untouched(), steps=6, alpha=0.02, beta=0.1)
    norms = -found.scores
    assert ((norms > 0) & (norms < 1)).all()
    reference = cd.mask_norms(Toy(), untouched(), cd.CD(steps=6, alpha=0.02, beta=0.1), 0)
    threshold = (reference.mean() - reference.std()).item()
    assert torch.equal(found.flagged, norms < threshold)


def test_total_variation_by_hand() -> None:
    m = torch.tensor([[[[0.0, 1.0], [0.0, 3.0]]]])
    assert cd.total_variation(m).item() == (1 + 9 + 0 + 4) / 4


def test_cd_minimises_its_objective(data: ImageData) -> None:
    made = model(data)
    weak, strong = (cd.mask_norms(made, data, cd.CD(steps=8, alpha=a, beta=0.0), 0) for a in (0.0, 1.0))
    assert strong.mean() < 0.8 * weak.mean()
    assert all(w.grad is None for w in made.parameters())


# --------------------------------------------------------------------------------------------- corruptions and TeCo


@pytest.mark.parametrize("kind", sorted(corruptions.CORRUPTIONS))
def test_a_corruption_grows_with_its_severity_and_stays_in_range(kind: str) -> None:
    x = images(6, size=16, seed=1).float()
    by = []
    for severity in range(1, 6):
        out = corruptions.corrupt(x, kind, severity, torch.Generator().manual_seed(0))
        assert out.shape == x.shape and out.min() >= 0 and out.max() <= 1 and torch.isfinite(out).all()
        by.append((out - x).abs().mean().item())
    assert 0 < by[0] < by[4] and by[2] < 1.1 * by[4], by


def test_jpeg_without_quantisation_would_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x = images(2, size=12).float()  # 12 is no multiple of 8
    monkeypatch.setattr(Tensor, "round", lambda self: self)
    assert torch.allclose(corruptions.jpeg(x, 3, torch.Generator()), x, atol=1e-5)


def test_the_first_change_by_hand() -> None:
    changed = torch.tensor([[False, False, True], [True, False, True], [False, False, False]])
    assert teco.first_change(changed).tolist() == [3, 1, 4]


def test_teco_is_the_spread_of_first_changes(triggered: tuple[ImageData, Tensor]) -> None:
    data, _ = triggered
    config = teco.TeCo(kinds=("brightness", "contrast", "pixelate"), severities=(1, 3, 5))
    scores = teco.inconsistency(Toy(), data, config, 0)
    x, before, first = data.float(), Toy()(data.float()).argmax(1), []
    for kind in config.kinds:
        after = [Toy()(corruptions.corrupt(x, kind, s, torch.Generator())).argmax(1) for s in config.severities]
        first.append([next((j + 1 for j, a in enumerate(after) if a[i] != before[i]), 4) for i in range(40)])
    assert np.allclose(scores, np.std(first, axis=0), atol=1e-5)


# -------------------------------------------------------------------------------------------------------------- CT


def test_confusion_training_unlearns_everything_but_the_trigger() -> None:
    data, clean = images(160), images(60, seed=99)
    for each in (data, clean):
        each.x[:, :, -2:, -2:] = 0
    dirty = (torch.rand(160, generator=torch.Generator().manual_seed(5)) < 0.15) & (data.y != 0)
    data.x[dirty, :, -2:, -2:] = 255
    data = replace(data, y=torch.where(dirty, 0, data.y), pad=0, flip=False)
    made = model(data)
    fit(made, data, Recipe(8, 20, 0.05, "one_cycle"), seed=0)
    assert (predict(made, clean.x) == clean.y).float().mean() > 0.9  # before, clean images are recognised too
    settings: dict = {"pretrain_epochs": (3,), "weights": (10.0, 10.0), "lr": (0.02, 0.02), "batch_size": 20}
    found = detect(data, method="ct", model=made, clean=clean, keep=(0.3,), iterations=(50, 50), **settings)
    survived = found.scores > -math.log(2)  # the label has half of the probability, or more
    assert survived[dirty].float().mean() > 0.8 and survived[~dirty].float().mean() < 0.1
    measured = rates(found, dirty)
    assert measured["tpr"] > 80 and measured["fpr"] < 3 and found.notes["flagged_classes"] == [0], measured


def test_confusing_labels_are_never_the_prediction_and_all_others_alike() -> None:
    predicted = torch.arange(4).repeat(1000)
    wrong = ct.confusing_labels(predicted, 4, torch.Generator().manual_seed(0))
    assert (wrong != predicted).all()
    assert all(280 < ((wrong == k) & (predicted == 0)).sum() < 390 for k in (1, 2, 3))


def test_what_is_distilled_by_hand() -> None:
    losses, y = torch.tensor([0.1, 0.2, 0.3, 5.0, 4.0, 6.0]), torch.tensor([0, 0, 0, 1, 1, 1])
    assert ct.distilled(losses, y, 1 / 3, 0.0).tolist() == [True, True, False, False, False, False]
    assert ct.distilled(losses, y, 1 / 3, 0.02).tolist() == [True, True, False, False, True, False]
    weights = ct.class_weights(y[:4], 2)
    assert torch.allclose(weights, torch.tensor([0.751, 0.251]).rsqrt())


def test_the_likelihood_ratio_of_one_and_of_two_gaussians() -> None:
    g = torch.Generator().manual_seed(0)
    x, isolated = torch.randn(400, 5, generator=g), torch.arange(400) >= 360
    x[:, :2] *= 2  # the plane that is looked at
    moved = x + 12.0 * isolated[:, None] * torch.eye(5)[0]
    one, two = ct.log_likelihood_ratio(x, isolated), ct.log_likelihood_ratio(moved, isolated)
    assert abs(one) < math.log(1.1) and two > math.log(2)
    group, rest = moved[isolated].double(), moved[~isolated].double()
    z = (moved - moved.mean(0)).double()
    plane = torch.linalg.svd(z).Vh[:2].T
    densities = [
        torch.distributions.MultivariateNormal((s @ plane).mean(0), (s @ plane).T.cov() + 1e-3 * torch.eye(2).double())
        for s in (group, rest)
    ]
    by_hand = (densities[0].log_prob(group @ plane) - densities[1].log_prob(group @ plane)).sum() / 400
    assert two == pytest.approx(by_hand.item(), rel=1e-4)
    assert ct.log_likelihood_ratio(moved, torch.arange(400) < 2) == 0  # two samples are no Gaussian
    y = torch.zeros(800, dtype=torch.long)
    y[400:] = 1
    config, twice = ct.CT(), isolated.repeat(2)
    assert ct.poisoned_classes(torch.cat([moved, x]), y, twice, config)[0] == [0]
    assert ct.poisoned_classes(torch.cat([x, x]), y, twice, config)[0] == []


# ------------------------------------------------------------------------------------------------------------ AGPD


def test_agpd_recovers_a_planted_direction() -> None:
    g = torch.Generator().manual_seed(0)

    def directions(centre: Tensor, n: int) -> Tensor:
        return nn.functional.normalize(centre + 0.15 * torch.randn(n, len(centre), generator=g), dim=1)

    centres = nn.functional.normalize(torch.randn(6, 16, generator=g), dim=1)
    y = torch.arange(360) % 6
    clean = torch.cat([directions(centres[k], 1) for k in y.tolist()])
    other = nn.functional.normalize(torch.randn(16, generator=g), dim=0)
    x, y = torch.cat([clean, directions(other, 50)]), torch.cat([y, torch.zeros(50, dtype=torch.long)])
    dirty = torch.arange(410) >= 360
    noise = directions(torch.zeros(16), 410)  # a layer that tells nothing
    scores, flagged, notes = agpd.partition([noise, x], y, [centres, centres], agpd.AGPD())
    assert notes["flagged_classes"] == [0] and notes["layer"] == 1
    found = measured((scores, flagged), dirty)
    assert found["auroc"] > 99 and found["tpr"] > 80 and found["fpr"] < 5, found


def test_agpd_stops_at_the_smallest_and_smoothest_window() -> None:
    assert agpd.stop_round([0.9] * 3 + [0.1] * 4 + [0.5] * 5, window=4, beta=5) == 3
    assert agpd.stop_round([0.2, 0.8, 0.1, 0.7] + [0.5] * 4, window=4, beta=5) == 4
    assert agpd.stop_round([0.3] * 3, window=10, beta=5) == 1
    p, q = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    assert agpd.js_distance(p, q) == pytest.approx(math.sqrt(math.log(2))) and agpd.js_distance(p, p) == 0
    assert agpd.js_distance(p, torch.zeros(2)) == 1


def test_activation_gradients_equal_a_loop(data: ImageData) -> None:
    made = model(data).eval()
    layers = agpd.convolutions(made)
    assert layers[0] == "layer1.0.conv1" and layers[-1] == "layer4.1.conv2" and "conv1" not in layers
    assert len(layers) == 16  # neither the stem nor the shortcuts
    found = agpd.activation_gradients(made, data.x[:6], data.y[:6], layers, 4)
    seen: list[Tensor] = []
    made.get_submodule(layers[9]).register_forward_hook(lambda m, i, o: seen.append(o))
    logit = made(data.float()[5:6].requires_grad_())[0, data.y[5]]
    expected = torch.autograd.grad(logit, seen[0])[0].mean((0, 2, 3))
    assert nn.functional.cosine_similarity(found[9][5], expected, dim=0) > 0.99  # bfloat16
    assert found[9].norm(dim=1) == pytest.approx(1, abs=1e-4)


# --------------------------------------------------------------------------------------------------- ABL and D-BR


def test_isolation_takes_the_lowest_losses() -> None:
    found = abl.isolated(torch.tensor([0.5, 0.1, 0.9, 0.2, 0.7]), 0.4)
    assert found.tolist() == [False, True, False, True, False]
    assert abl.isolated(torch.arange(50).float(), 0.01).sum() == 1  # at least one


def test_the_flooded_loss_turns_its_gradient_round() -> None:
    for value, slope in ((0.7, 1.0), (0.3, -1.0)):
        loss = torch.tensor(value, requires_grad=True)
        flooded = abl.flooding(loss, 0.5)
        flooded.backward()
        assert loss.grad == slope and flooded.item() == pytest.approx(0.7)


def test_local_gradient_ascent_keeps_the_loss_up(data: ImageData) -> None:
    recipe = Recipe(10, 20, 0.1, "constant")
    low, high = (abl.losses(abl.tuned(model(data), data, recipe, g, 0), data).mean() for g in (0.0, 1.0))
    assert low < 0.7 < high + 0.25


def test_centre_cosine_equals_a_loop() -> None:
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(12, 5, generator=g), torch.tensor([0, 1, 3] * 4)
    centres = [x[y == k].mean(0) for k in (0, 1, 3)]
    pairs = [nn.functional.cosine_similarity(centres[i], centres[j], dim=0) for i, j in ((0, 1), (0, 2), (1, 2))]
    assert torch.allclose(d_br.centre_cosine(x, y), torch.stack(pairs).mean())
    assert d_br.centre_cosine(x, torch.zeros(12, dtype=torch.long)) == 0


def test_sensitivity_is_the_mean_squared_change_of_the_features(
    data: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = model(data)
    monkeypatch.setattr(d_br, "transform", lambda x, generator: x.flip(3))
    found = d_br.sensitivity(made, data, "layer4", 0)
    before, after = features(made, data), features(made, replace(data, x=data.x.flip(3)))
    assert torch.allclose(found, (before - after).square().mean(1), rtol=0.05, atol=1e-3)


def test_the_transformation_draws_for_every_image() -> None:
    x = images(8, size=16).float()[:1].expand(4, -1, -1, -1)
    out = d_br.transform(x, torch.Generator().manual_seed(0))
    assert out.shape == x.shape and out.min() >= 0 and out.max() <= 1
    assert not torch.allclose(out[0], out[1]) and not torch.allclose(out[0], x[0])


# ----------------------------------------------------------------------------------------------- all of them together


@pytest.mark.parametrize("name", sorted(DETECTORS))
def test_every_detector_scores_every_sample(data: ImageData, name: str) -> None:
    made, clean, told = model(data), images(24, seed=2), []
    before, pixels = state(made), data.x.clone()
    given = {"method": name, "model": made, "clean": clean, **SMALL.get(name, {})}
    if name == "agpd":  # a toy model is right on no image of some class
        made.linear.bias.data.zero_()
        clean = replace(clean, y=torch.arange(24) % 4)
        given["clean"] = clean
        right = made.eval()
        with torch.no_grad():
            predicted = right(clean.float()).argmax(1)
        if len(predicted.unique()) < 4:
            with pytest.raises(PaperlibError, match="the model is right on no clean image of class"):
                detect(data, **given)
            return
    found = detect(data, progress=lambda f, t: told.append(f), **given)
    assert found.scores.shape == found.flagged.shape == (len(data),)
    assert found.scores.dtype == torch.float32 and found.flagged.dtype == torch.bool
    assert torch.isfinite(found.scores).all()
    assert same(before, state(made)) and torch.equal(data.x, pixels)
    assert all(w.grad is None for w in made.parameters()) and all(0 < f <= 1 for f in told)
    assert torch.equal(found.scores, detect(data, **given).scores)  # a seed decides it
    rng = torch.get_rng_state()
    detect(data, **given)
    assert torch.equal(rng, torch.get_rng_state())  # and nobody else's draws change


def test_rates_by_hand() -> None:
    flagged = torch.tensor([True, True, False, False])
    found = Detection(torch.tensor([4.0, 3.0, 2.0, 1.0]), flagged)
    values = rates(found, torch.tensor([True, False, True, False]))
    assert values == {"tpr": 50, "fpr": 50, "f1": 50, "auroc": 75, "n_flagged": 2}


# ------------------------------------------------------------------------------------------------------ bad inputs


def test_a_model_that_does_not_name_its_features(data: ImageData) -> None:
    plain = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    with pytest.raises(NotApplicable, match="no layer before its classifier"):
        detect(data, method="ac", model=plain)
    found = detect(data, method="ss", model=plain, layer="1")
    assert found.flagged.sum() == 8  # 15 % of 10, four times
    with pytest.raises(PaperlibError, match="layer='nothing' is not in the model"):
        feature_layer(plain, "nothing", data.x)


@pytest.mark.parametrize("name", [name for name, method in DETECTORS.items() if method.access == MODEL_AND_CLEAN])
def test_without_clean_images(data: ImageData, name: str) -> None:
    with pytest.raises(PaperlibError, match="give a few of every class as clean="):
        detect(data, method=name, model=model(data))


def test_a_class_without_clean_images(data: ImageData) -> None:
    with pytest.raises(PaperlibError, match=r"fewer than 1 image\(s\) of class 2, 3"):
        check_classes(data.subset(data.y < 2), data.y)
    with pytest.raises(PaperlibError, match=r"fewer than 2 image\(s\) of class 0"):
        detect(data, method="beatrix", model=model(data), clean=data.subset([0, 1, 2, 3, 5, 6, 7]))


@pytest.mark.parametrize(
    ("name", "params", "says"),
    [
        ("ac", {"rule": "sise"}, "rule='sise' is unknown; did you mean 'size'"),
        ("ac", {"variant": "benchmark"}, "variant='benchmark' is unknown; did you mean 'benchmark2022'"),
        ("teco", {"kinds": ("fogg", "snow")}, "kinds='fogg' is unknown; did you mean 'fog'"),
        ("teco", {"kinds": ("fog",)}, "kinds has 1 and severities 5 entries"),
        ("beatrix", {"classes": "target"}, "classes='target' is unknown; did you mean 'targets'"),
        ("spectre", {"classes": "larges"}, "classes='larges' is unknown; did you mean 'largest'"),
        ("strip", {"overlay": 3}, "overlay.* is unknown; did you mean 'overlays'"),
        ("ct", {"lr": (0.1,)}, r"lr=\(0.1,\) has 1 entries; with 5 entries of keep it must have 6"),
        ("ct", {"keep": (0.5, 0.2, 0, 0.1, 0.1)}, "keep=.* each must lie in"),
        ("ct", {"weights": (20.0, 20.0, 1.0, 30.0, 30.0, 15.0)}, "weights=.* must all be above 1"),
        ("ct", {"iterations": (1, 1, 1, 0, 1, 1)}, "iterations holds 0; it must be at least 1"),
    ],
)
def test_wrong_settings_are_named(data: ImageData, name: str, params: dict, says: str) -> None:
    with pytest.raises(PaperlibError, match=says):
        detect(data, method=name, model=model(data), clean=data, **params)


def test_every_config_is_a_value() -> None:
    for name in DETECTORS:
        made = DETECTORS.settings(name)
        assert hash(made) == hash(DETECTORS.settings(name)) and made == DETECTORS.settings(name)
