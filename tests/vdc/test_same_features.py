"""Detectors of wrong labels on given features: each finds them where features are good, and a collapse is said."""

from pathlib import Path

import numpy as np
import pytest
import torch

from paperlib.errors import PaperlibError
from paperlib.papers.vdc import runs
from paperlib.vdc.same_features import METHODS, judge


def features(n: int, seed: int, spread: float = 0.5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 3
    return torch.eye(8)[y] + spread * torch.randn(n, 8, generator=generator), y


@pytest.mark.parametrize("method", METHODS)
def test_every_method_finds_wrong_labels_on_good_features(method: str) -> None:
    x, true = features(600, 0, 0.2)
    clean, clean_y = features(300, 1, 0.2)
    bad = torch.rand(600, generator=torch.Generator().manual_seed(2)) < 0.2
    y = torch.where(bad, (true + 1 + torch.arange(600) // 3 % 2) % 3, true)
    scores, flagged, notes = judge(method, x, y, clean, clean_y, 3)
    dirty = bad.numpy()
    rank = np.argsort(np.argsort(scores))
    auroc = (rank[dirty].sum() - dirty.sum() * (dirty.sum() - 1) / 2) / (dirty.sum() * (~dirty).sum())
    assert auroc > 0.95 and flagged[dirty].mean() > 0.8 and flagged[~dirty].mean() < 0.2
    assert notes == {"collapsed": False}


def test_what_flags_everything_or_nothing_has_collapsed(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = features(60, 0)
    for share, collapsed in ((0.0, True), (0.5, False), (1.0, True)):
        flags = torch.arange(60) < 60 * share
        monkeypatch.setitem(METHODS, "bhn", lambda *_, flags=flags: (torch.zeros(60), flags))
        assert judge("bhn", x, y, x, y, 3)[2] == {"collapsed": collapsed}
    with pytest.raises(PaperlibError, match="did you mean 'bhn'"):
        judge("bnh", x, y, x, y, 3)


def test_what_flags_nothing_is_not_called_collapsed() -> None:
    rates = {"n_flagged": 0, "tpr": 0.0, "fpr": 0.0, "collapsed": True}
    assert runs.failed(rates) == "flags nothing"
    assert runs.failed({**rates, "n_flagged": 1_900, "tpr": 100.0, "fpr": 84.0, "collapsed": False}) == "collapsed"
    assert runs.failed({**rates, "n_flagged": 90, "tpr": 80.0, "fpr": 2.0, "collapsed": False}) == ""


def test_the_fair_runs_are_the_same_data_for_all() -> None:
    from paperlib.experiments.scales import LAPTOP

    found = list(runs.fair(LAPTOP, 0))
    by_dirt: dict[tuple[str, float], set[tuple[int, int, str]]] = {}
    for noise, ratio, _, spec in found:
        by_dirt.setdefault((noise, ratio), set()).add((spec.n_train, spec.reference, spec.noise))
    assert all(len(same) == 1 for same in by_dirt.values()) and len(by_dirt) == 6
    assert len({spec.key for *_, spec in found}) == len(found) == 6 * 7


def test_a_run_of_the_lab(tmp_path: Path) -> None:
    from paperlib.experiments.scales import SMOKE
    from paperlib.lab.run import run
    from paperlib.lab.store import Store

    spec = next(s for noise, ratio, method, s in runs.fair(SMOKE, 0) if (ratio, method) == (runs.LITTLE, "simifeat_v"))
    (result,) = run([spec], Store(tmp_path), device="cpu").values()
    assert result["method"] == "simifeat_v" and result["auroc"] > 60 and result["collapsed"] is False
