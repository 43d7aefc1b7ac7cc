"""The default without references: heads on the labels as they are, the model of the noise, its cut and its
intervals."""

from typing import Any

import numpy as np
import pytest
import torch
from vdc_server import CLASSES, pictures

from paperlib.errors import PaperlibError
from paperlib.vdc import noise
from paperlib.vdc.cleanse import cleanse
from paperlib.vdc.engines import cross_fit as heads
from paperlib.vdc.engines.cross_fit import Features, cross_fit, deal
from paperlib.vdc.engines.embedded import EmbeddedEngine
from paperlib.vdc.questions import bank

NAMES = ("kind a", "kind b", "kind c")  # in no bank, and nothing that ImageNet knows
TRUE = [k % 3 for k in range(90)]


class Channels(torch.nn.Module):
    """Features: mean and spread of each channel."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x.mean((2, 3)), x.flatten(2).std(2)], 1) * self.scale


def engine() -> EmbeddedEngine:
    return EmbeddedEngine(side=32, device="cpu", backbone=Channels())


def wrongly(n: int = 9, seed: int = 0) -> tuple[list[int], np.ndarray]:
    rng, bad = np.random.default_rng(seed), np.zeros(len(TRUE), bool)
    bad[rng.choice(len(TRUE), n, replace=False)] = True
    return [(k + int(rng.integers(1, 3))) % 3 if b else k for k, b in zip(TRUE, bad, strict=True)], bad


def test_wrong_labels_are_found_without_reference_whatever_the_classes_are_called() -> None:
    given, bad = wrongly()
    report = cleanse(pictures(TRUE), given, NAMES, engine=engine(), truth=bad)
    assert set(report.dirty) == set(np.flatnonzero(bad))
    assert all(report.samples["suggested_label"][i] == NAMES[TRUE[i]] for i in report.dirty)
    said = report.settings
    low, high = said["wrong_labels_interval"]
    assert low <= said["wrong_labels_percent"] <= high and 3 < said["wrong_labels_percent"] < 15
    assert said["score"] == "right" and said["reference_samples"] == 0 and "labels as they are" in said["note"]
    assert 0 <= said["expected_fpr_interval"][0] <= said["expected_fpr_interval"][1] <= 100


def test_a_stated_share_of_false_alarms_needs_no_reference() -> None:
    rng = np.random.default_rng(0)
    n, classes, eta = 3000, 5, 0.1
    true = rng.integers(classes, size=n)
    logits = rng.normal(size=(n, classes)) + 2.5 * np.eye(classes)[true]  # an engine that is often unsure
    bad = rng.random(n) < eta
    y = np.where(bad, (true + rng.integers(1, classes, n)) % classes, true)
    log_p = (
        torch.from_numpy(2.5 * logits).log_softmax(1).numpy()
    )  # these logits are calibrated: the Bayes rule of that model
    found = noise.estimate(log_p / 3, y)  # whatever the temperature
    assert found.sharpness == pytest.approx(3, rel=0.2) and found.rate == pytest.approx(eta, abs=0.02)
    assert found.rate_interval[0] < eta < found.rate_interval[1]
    above = found.wrong > found.cut
    assert (above & bad).sum() / bad.sum() == pytest.approx(1 - noise.MISSED, abs=0.05)
    assert above[~bad].mean() == pytest.approx(found.fpr, abs=0.03)
    for fpr in (0.05, 0.2):
        assert (found.wrong > found.cut_for(fpr))[~bad].mean() == pytest.approx(fpr, abs=0.02)
        assert found.at(found.cut_for(fpr)).fpr == pytest.approx(fpr, abs=0.005)


def test_no_picture_is_judged_by_a_head_that_saw_it_nor_by_one_that_saw_its_copy() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (60, 8, 8, 3)).astype(np.uint8)  # nothing to learn: only memory could confirm a label
    twice = np.concatenate([x, x])

    class Pixels(Channels):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, :, ::2, ::2].flatten(1) * self.scale

    made = EmbeddedEngine(side=32, device="cpu", backbone=Pixels())
    y = np.array([k % 3 for k in range(60)] * 2)
    report = cleanse(twice, y, NAMES, engine=made)
    assert report.pred_probs is not None
    assert np.allclose(report.pred_probs[:60], report.pred_probs[60:], atol=1e-4)  # answers are stored to five digits
    assert (report.pred_probs.argmax(1) == y).mean() < 0.6
    fold = deal(np.eye(3)[y[:60]])
    assert all(np.bincount(fold[y[:60] == k]).tolist() == [4] * 5 for k in range(3))


def test_reference_pictures_join_and_keep_their_label() -> None:
    given, bad = wrongly(40)
    x = pictures(TRUE)
    clean = pictures(TRUE[:30], seed=5)
    report = cleanse(x, given, NAMES, engine=engine(), reference=(clean, TRUE[:30]), truth=bad)
    assert report.rates is not None and report.rates.auroc > 99
    assert "30 clean reference" in report.settings["note"]


def test_what_cannot_be_judged_is_undecided_not_flagged() -> None:
    given, _ = wrongly(0)
    x = pictures([*TRUE, 0])
    report = cleanse(x, [*(NAMES[k] for k in given), "kind d"], (*NAMES, "kind d"), engine=engine())
    assert report.samples["status"].iloc[-1] == "undecided"  # the only one of its class
    assert np.isnan(report.samples["score"].iloc[-1])
    with pytest.raises(PaperlibError, match="at least two classes need two pictures"):
        cleanse(x[:4], [0, 0, 0, 1], NAMES, engine=engine())


def test_features_are_kept_in_a_file_and_come_back() -> None:
    rows = np.random.default_rng(0).normal(size=(5000, 7)).astype(np.float16)
    kept = Features()
    for start in range(0, 5000, 64):
        kept.append(rows[start : start + 64])
    places, parts = zip(*kept.chunks(), strict=True)
    assert np.array_equal(np.concatenate(parts), rows.astype(np.float32))
    assert [(place.start, place.stop) for place in places] == [
        (start, min(start + heads.CHUNK, 5000)) for start in range(0, 5000, heads.CHUNK)
    ]
    assert len(kept) == 5000


def test_a_head_is_linear_discriminant_analysis(monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    rng = np.random.default_rng(0)
    y, stretch = np.arange(90) % 3, rng.normal(size=(12, 12))
    x = (np.eye(12)[y] * 2 + rng.normal(size=(90, 12))) @ stretch
    target = np.eye(3)[y]
    monkeypatch.setattr(heads, "PULL", 0.0)
    weight, bias = heads._head(target.sum(0), target.T @ x, x.T @ x)
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=heads.SHRINK).fit(x, y)
    ours = (x @ weight + bias) / heads.SHARP
    expected = x @ theirs.coef_.T + theirs.intercept_
    assert np.allclose(ours - ours[:, :1], expected - expected[:, :1])


def test_a_class_of_which_a_fold_knows_nothing_gets_an_answer() -> None:
    rng = np.random.default_rng(0)
    y = np.array([0] * 40 + [1] * 40 + [2] * 2)
    kept = Features()
    kept.append(np.eye(3)[y] * 3 + rng.normal(size=(82, 3)))
    found = cross_fit(kept, np.eye(3)[y], np.zeros(82, bool)).log_p
    assert np.isfinite(found).all() and (found[:80].argmax(1) == y[:80]).mean() > 0.9


def test_a_second_opinion_counts_as_much_as_it_is_worth() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(300) % 3
    kept = Features()
    kept.append(np.eye(3)[y] + rng.normal(size=(300, 3)) * 0.6)
    target, known = np.eye(3)[y], np.zeros(300, bool)
    good, poor = np.eye(3)[y] * 0.9 + 0.05, np.full((300, 3), 1 / 3)
    weight = [cross_fit(kept, target, known, opinion).weights[1] for opinion in (good, poor)]
    right = np.exp(cross_fit(kept, target, known, good).log_p)[range(300), y].mean()
    assert weight[0] > 1 and right > np.exp(cross_fit(kept, target, known, None).log_p)[range(300), y].mean()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"alpha": float("nan")}, "alpha=nan must lie in"),
        ({"alpha": -1.0}, "alpha=-1.0 must lie in"),
        ({"alpha": 2.0}, "alpha=2.0 must lie in"),
        ({"target_fpr": float("nan")}, "target_fpr=nan must lie strictly"),
        ({"target_fpr": 1.5}, "target_fpr=1.5 must lie strictly"),
        ({"score": "rihgt"}, "did you mean 'right'"),
    ],
)
def test_options_are_checked_before_anything_is_read(options: dict[str, Any], said: str) -> None:
    class Never(EmbeddedEngine):
        def features(self, *_: Any, **__: Any) -> Any:
            raise AssertionError("it looked at a picture")

    with pytest.raises(PaperlibError, match=said):
        cleanse(
            pictures(TRUE),
            TRUE,
            CLASSES,
            engine=Never(side=32, device="cpu", backbone=Channels()),
            questions=bank("auto", CLASSES),
            **options,
        )
