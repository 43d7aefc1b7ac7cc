"""The cleanser as an object: arrays, paths, PIL pictures, a data set's column, an ImageFolder."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from vdc_server import CLASSES, pictures

from paperlib.errors import PaperlibError
from paperlib.vdc.engines.oracle import OracleEngine
from paperlib.vdc.estimator import VDC
from paperlib.vdc.types import picture_key

TRUE, GIVEN = [0, 1, 2, 0, 1, 2], [0, 1, 2, 1, 1, 0]
X = pictures(TRUE)
LABELS = [CLASSES[k] for k in GIVEN]


def vdc(**options: Any) -> VDC:
    truth = {picture_key(p): CLASSES[k] for p, k in zip(X, TRUE, strict=True)}
    return VDC(engine=OracleEngine(truth), **options)


class Column:
    """As a column of a Hugging Face data set: opened one at a time."""

    opened = 0

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, i: int) -> Image.Image:
        self.opened += 1
        return Image.fromarray(X[i])


def forms(place: Path) -> dict[str, tuple[Any, Any]]:
    for i, (x, label) in enumerate(zip(X, LABELS, strict=True)):
        (place / label).mkdir(exist_ok=True)
        Image.fromarray(x).save(place / label / f"{i}.png")
    from torchvision.datasets import ImageFolder

    return {
        "array": (X, LABELS),
        "positions": (X, np.array(GIVEN)),
        "list of arrays": (list(X), LABELS),
        "PIL": ([Image.fromarray(x) for x in X], LABELS),
        "column": (Column(), LABELS),
        "ImageFolder": (ImageFolder(str(place)), None),
        "folder": (place, None),
    }


@pytest.mark.parametrize("form", ["array", "positions", "list of arrays", "PIL", "column", "ImageFolder", "folder"])
def test_every_form_gives_the_same(form: str, tmp_path: Path) -> None:
    images, labels = forms(tmp_path)[form]
    found = vdc(class_names=CLASSES if form == "positions" else None).fit(images, labels)
    names = found.report_.samples["label"]
    assert found.flagged_.sum() == 2 and len(found.scores_) == 6 and found.classes_ == CLASSES
    assert set(found.suggested_[found.flagged_]) == {"cat", "ship"}
    assert all(found.suggested_[~found.flagged_] == names[~found.flagged_])
    assert found.scores_[found.flagged_].max() < found.scores_[~found.flagged_].min()


def test_what_does_not_fit() -> None:
    with pytest.raises(PaperlibError, match="labels is missing"):
        vdc().fit(X)
    with pytest.raises(PaperlibError, match="has its own; leave it out"):
        vdc().fit("folder", LABELS)
    with pytest.raises(PaperlibError, match="images is a"):
        vdc().fit(SimpleNamespace(), LABELS)
    with pytest.raises(PaperlibError, match="is no folder"):
        vdc().fit("no/such/folder")
