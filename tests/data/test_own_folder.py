"""A person's own folder: transparent drawings, the order of the classes, and names of results from before."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from paperlib.data import decode, folder, images
from paperlib.errors import PaperlibError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (decode, folder):
        monkeypatch.setattr(module, "user_cache_path", lambda name: tmp_path / "cache")
    monkeypatch.setattr(folder, "_known", {})


def classes(root: Path, names: list[str]) -> Path:
    for k, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for i in range(2):
            Image.fromarray(np.full((32, 32, 3), 40 * k + i, np.uint8)).save(root / name / f"{i}.png")
    return root


def test_classes_stand_in_natural_order(tmp_path: Path) -> None:
    found = folder.look(f"folder:{classes(tmp_path / 'digits', ['1', '10', '2'])}")
    assert found.classes == ("1", "2", "10")
    data = images.load(found.name, "train")
    assert data.class_names == ("1", "2", "10") and sorted(data.y.tolist()) == [0, 1, 2]
    assert int(data.x[data.y == 2].float().mean()) in (40, 41)  # class 10 was written second


def test_a_file_names_the_order(tmp_path: Path) -> None:
    root = classes(tmp_path / "pets", ["cat", "dog"])
    before = folder.look(f"folder:{root}")
    (root / "classes.txt").write_text("dog\ncat\n")
    after = folder.look(f"folder:{root}")
    assert (before.classes, after.classes) == (("cat", "dog"), ("dog", "cat")) and before.name != after.name
    (root / "classes.txt").write_text("dog\n")
    with pytest.raises(PaperlibError, match=r"classes.txt must name every sub-folder once.* differ in: cat"):
        folder.look(f"folder:{root}")
    (root / "classes.txt").write_text("dog\ndog\n")
    with pytest.raises(PaperlibError, match="must name every sub-folder once"):
        folder.look(f"folder:{root}")


def test_a_result_from_before_keeps_its_name_and_its_order(tmp_path: Path) -> None:
    root = classes(tmp_path / "digits", ["1", "10", "2"])
    side, content = folder._content(root, [f"{c}/{i}.png" for c in ("1", "10", "2") for i in range(2)])
    new, old = folder.look(f"folder:{root}"), f"folder:digits@{side}#{content}"
    folder._remember(old, root)
    assert folder.look(old).classes == ("1", "10", "2") and folder.look(old).name == old != new.name
    assert folder.look(new.name).classes == ("1", "2", "10")


def test_what_is_transparent_is_white(tmp_path: Path) -> None:
    root = classes(tmp_path / "drawings", ["a", "b"])
    plain = folder.look(f"folder:{root}").name
    drawing = np.zeros((32, 32, 4), np.uint8)
    drawing[:16, :, 3] = 255  # the upper half is black, the lower one transparent
    palette = Image.fromarray(drawing).quantize(8)
    for i, image in enumerate((Image.fromarray(drawing), palette)):
        image.save(root / "a" / f"{i}.png")
    found = folder.look(f"folder:{root}")
    data = images.load(found.name, "train")
    assert found.name != plain
    for x in data.x[data.y == 0]:
        assert int(x[:, :16].max()) == 0 and int(x[:, 16:].min()) == 255
