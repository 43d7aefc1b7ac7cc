"""Data sets of image files, the protocols, and a person's own folder, on small made-up files in the publishers'
layouts."""

import csv
import hashlib
import io
import json
import os
import pickle
import shutil
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from typer.testing import CliRunner

from paperlib.cli.data import app
from paperlib.data import decode, folder, images, publishers, sources
from paperlib.data.protocols import PROTOCOLS
from paperlib.errors import DataMissing, PaperlibError
from paperlib.experiments import plan as experiments
from paperlib.experiments.scales import LAPTOP, PAPER, SMOKE, on

WNIDS = list(sources.TINY20)


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder and an empty cache; returns the data folder."""
    root = tmp_path / "data"
    root.mkdir()
    monkeypatch.setenv("PAPERLIB_DATA", str(root))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(decode, "cache_dir", lambda: tmp_path / "cache" / "decoded")
    monkeypatch.setattr(folder, "_memory_file", lambda: tmp_path / "cache" / "folders.json")
    monkeypatch.setattr(folder, "_known", {})
    monkeypatch.setattr(sources, "_compared", set())
    monkeypatch.setattr(sources, "_failures", {})
    for name in ("CIFAR100_URL", "GTSRB_URL", "TINY_URL"):
        monkeypatch.setattr(publishers, name, "http://127.0.0.1:9/refused")
    return root


def picture(path: Path, colour: tuple[int, int, int], side: int | tuple[int, int] = 64, mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    size = (side, side) if isinstance(side, int) else side
    Image.new("RGB", size, colour).convert(mode).save(path)
    return path


def sized(monkeypatch: pytest.MonkeyPatch, name: str, n_train: int, n_test: int) -> None:
    info = replace(sources.DATASETS[name], n_train=n_train, n_test=n_test)
    monkeypatch.setitem(sources.DATASETS, name, info)


# ------------------------------------------------------------------------------------------------------- Tiny ImageNet


def colour(k: int, i: int) -> tuple[int, int, int]:
    return (10 * k, 100 + i, 7)


def tiny200(root: Path, wnids: list[str], n: int = 2) -> Path:
    """The publisher's layout: names that do not sort like their numbers, and wnids.txt in another order."""
    base = root / "tiny-imagenet-200"
    rows = []
    for k, wnid in enumerate(wnids):
        for i in range(n):
            picture(base / f"train/{wnid}/images/{wnid}_{9 + i}.JPEG", colour(k, i))
        name = f"val_{100 - k}.JPEG"
        picture(base / "val/images" / name, colour(k, 50))
        rows.append(f"{name}\t{wnid}\t0\t0\t62\t62\n")
    (base / "val/val_annotations.txt").write_text("".join(rows))
    (base / "wnids.txt").write_text("\n".join(reversed(wnids)) + "\n")
    (base / "words.txt").write_text("\n".join(f"{wnid}\tname of {wnid}, synonym" for wnid in wnids))
    return base


def test_twenty_classes_are_the_same_from_both_layouts(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sized(monkeypatch, "tiny_imagenet20", 40, 20)
    others = ["n00000001", "n09999999"]  # classes before and after the twenty
    big = tiny200(places, [others[0], *WNIDS, others[1]])
    from_all = [images.load("tiny_imagenet20", split) for split in ("train", "test")]
    small = places / "tiny-imagenet-20"
    for wnid in WNIDS:  # rearranged: val/<id>, and no folder images/
        (small / "train").mkdir(parents=True, exist_ok=True)
        (big / "train" / wnid / "images").rename(small / "train" / wnid)
    for row in (big / "val/val_annotations.txt").read_text().splitlines():
        name, wnid = row.split("\t")[:2]
        (small / "val" / wnid).mkdir(parents=True, exist_ok=True)
        (big / "val/images" / name).rename(small / "val" / wnid / name)
    from_few = [images.load("tiny_imagenet20", split) for split in ("train", "test")]
    for a, b in zip(from_all, from_few, strict=True):
        assert torch.equal(a.x, b.x) and torch.equal(a.y, b.y)
    train, test = from_few
    assert train.y.tolist() == [k for k in range(20) for _ in range(2)] and test.y.tolist() == list(range(20))
    # image _10 sorts before image _9, and class k of the twenty is class k + 1 of the files
    wanted = [colour(k + 1, i) for k in range(20) for i in (1, 0)]
    assert (train.x[:, :, 32, 32].int() - torch.tensor(wanted)).abs().max() <= 3  # JPEG
    assert train.x.shape == (40, 3, 64, 64) and train.class_names == tuple(sources.TINY20.values())
    assert (train.pad, train.flip, train.mean) == (4, False, (0.4802, 0.4481, 0.3975))


def test_tiny_imagenet_has_its_publisher_s_names_by_sorted_id(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sized(monkeypatch, "tiny_imagenet", 6, 3)
    base = tiny200(places, ["n01", "n02", "n03"])
    train, test = images.load("tiny_imagenet", "train"), images.load("tiny_imagenet", "test")
    assert train.class_names == ("name of n01", "name of n02", "name of n03")
    assert train.y.tolist() == [0, 0, 1, 1, 2, 2] and test.y.tolist() == [0, 1, 2]
    assert (test.x[:, :, 0, 0].int() - torch.tensor([colour(k, 50) for k in range(3)])).abs().max() <= 3
    (base / "train/n02/images/n02_9.JPEG").unlink()
    with pytest.raises(PaperlibError, match=r"holds 5 train images of Tiny ImageNet, which has 6; .*data fetch tiny_"):
        images.load("tiny_imagenet", "train")


def test_real_tiny_imagenet20() -> None:
    where = os.environ.get("PAPERLIB_TEST_TINY", "")
    if not where:
        pytest.skip("PAPERLIB_TEST_TINY does not name a folder that holds tiny-imagenet-20 or tiny-imagenet-200")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PAPERLIB_DATA", where)
        train, test = images.load("tiny_imagenet20", "train"), images.load("tiny_imagenet20", "test")
    assert train.y.bincount().tolist() == [500] * 20 and test.y.bincount().tolist() == [50] * 20
    pixels = train.float(range(0, 10_000, 5))
    assert pixels.mean((0, 2, 3)).tolist() == pytest.approx(train.mean, abs=0.03)  # 20 of the 200 classes


# --------------------------------------------------------------------------------------------------- GTSRB, CIFAR-100


def test_gtsrb_is_resized_and_labelled_by_the_publisher_s_list(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sized(monkeypatch, "gtsrb", 44, 2)
    base = places / "gtsrb"
    for k in range(43):
        picture(base / f"GTSRB/Final_Training/Images/{k:05d}/00000_00000.ppm", (k, 5, 9), (40, 25))
    picture(base / "GTSRB/Final_Training/Images/00007/00000_00001.ppm", (99, 5, 9), 32)
    (base / "GTSRB/Final_Training/Images/00007/GT-00007.csv").write_text("Filename;ClassId\n")
    for i in (0, 1):
        picture(base / f"GTSRB/Final_Test/Images/{i:05d}.ppm", (200, i, 0), 30)
    with open(base / "GT-final_test.csv", "w", newline="") as file:
        rows = csv.writer(file, delimiter=";")
        rows.writerows([["Filename", "Width", "ClassId"], ["00001.ppm", 30, 42], ["00000.ppm", 30, 3]])
    train, test = images.load("gtsrb", "train"), images.load("gtsrb", "test")
    assert train.x.shape == (44, 3, 32, 32) and train.y.tolist() == [*range(8), *range(7, 43)]
    assert train.x[:, 0, 5, 5].tolist() == [*range(8), 99, *range(8, 43)]
    assert test.y.tolist() == [42, 3] and test.x[:, 1, 0, 0].tolist() == [1, 0]
    assert (train.mean, train.std, train.flip) == ((0, 0, 0), (1, 1, 1), False) and len(train.class_names) == 43
    (base / "GTSRB/Final_Test/Images/00000.ppm").unlink()
    with pytest.raises(PaperlibError, match=r"00000\.ppm cannot be read"):
        images.load("gtsrb", "test")


def signs(root: Path, per_class: int, tests: int) -> Path:
    """The publisher's layout of GTSRB: image i of class k is (k, i, 9), test image i (200, i, 0) of class i % 43."""
    for k in range(43):
        for i in range(per_class):
            picture(root / f"GTSRB/Final_Training/Images/{k:05d}/00000_{i:05d}.ppm", (k, i, 9), 32)
    for i in range(tests):
        picture(root / f"GTSRB/Final_Test/Images/{i:05d}.ppm", (200, i, 0), 32)
    lines = ["Filename;Width;ClassId", *(f"{i:05d}.ppm;32;{i % 43}" for i in range(tests))]
    (root / "GT-final_test.csv").write_text("\n".join(lines) + "\n")
    return root


def test_the_sample_of_gtsrb_is_the_same_from_both_folders(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sized(monkeypatch, "gtsrb_sample", 43 * 2, 3)
    whole = signs(places / "gtsrb", 5, 9)
    from_all = [images.load("gtsrb_sample", split) for split in ("train", "test")]
    assert from_all[0].x[:4, 1, 0, 0].tolist() == [0, 4, 0, 4] and from_all[0].y[:4].tolist() == [0, 0, 1, 1]
    assert from_all[1].x[:, 1, 0, 0].tolist() == [0, 4, 8] and from_all[1].y.tolist() == [0, 4, 8]
    few = places / "gtsrb-sample"
    for path in sorted(whole.rglob("*.ppm")):
        if int(path.stem[-5:]) % 4 == 0:
            (few / path.relative_to(whole)).parent.mkdir(parents=True, exist_ok=True)
            path.rename(few / path.relative_to(whole))
    lines = (whole / "GT-final_test.csv").read_text().splitlines()
    (few / "GT-final_test.csv").write_text("\n".join([lines[0], *lines[1::4]]) + "\n")
    shutil.rmtree(whole)
    assert sources.find("gtsrb_sample") == few
    from_few = [images.load("gtsrb_sample", split) for split in ("train", "test")]
    for a, b in zip(from_all, from_few, strict=True):
        assert torch.equal(a.x, b.x) and torch.equal(a.y, b.y) and a.name == b.name == "gtsrb_sample"
    with pytest.raises(DataMissing, match="GTSRB is not in"):
        images.load("gtsrb", "train")  # the sample is not taken for the whole


def test_a_folder_that_is_not_the_sample_of_gtsrb(places: Path) -> None:
    signs(places / "gtsrb-sample", 1, 2)
    wrong = r"^\S+gtsrb-sample holds {} images of GTSRB, every fourth image, which has {}; move the folder away.*\.$"
    with pytest.raises(PaperlibError, match=wrong.format("43 train", "9,812")):
        images.load("gtsrb_sample", "train")
    with pytest.raises(PaperlibError, match=wrong.format("2 test", "3,158")):
        images.load("gtsrb_sample", "test")
    (places / "gtsrb-sample/GT-final_test.csv").unlink()
    state = sources.status("gtsrb_sample")
    assert state.state == "incomplete" and "lacks GT-final_test.csv" in state.detail


def test_twenty_classes_at_32x32_are_the_same_pictures(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tiny_imagenet20", "tiny_imagenet20_32"):
        sized(monkeypatch, name, 40, 20)
    big = tiny200(places, WNIDS)
    large, small = images.load("tiny_imagenet20", "train"), images.load("tiny_imagenet20_32", "train")
    assert large.x.shape == (40, 3, 64, 64) and small.x.shape == (40, 3, 32, 32)
    assert torch.equal(large.y, small.y) and large.class_names == small.class_names and small.pad == 4
    assert (small.x.int() - large.x[:, :, ::2, ::2].int()).abs().max() <= 2  # one colour each
    big.rename(places / "tiny-imagenet-20")  # the publisher's list of validation images comes along
    assert torch.equal(images.load("tiny_imagenet20_32", "train").x, small.x)
    (places / f"tiny-imagenet-20/train/{WNIDS[3]}/images/{WNIDS[3]}_9.JPEG").unlink()
    with pytest.raises(PaperlibError, match=r"holds 39 train images of Tiny ImageNet, 20 of its classes, at 32x32, wh"):
        images.load("tiny_imagenet20_32", "train")


def test_torchvision_s_smaller_gtsrb_is_incomplete(places: Path) -> None:
    (places / "gtsrb/GTSRB/Training").mkdir(parents=True)
    state = sources.status("gtsrb")
    assert state.state == "incomplete" and "GTSRB/Final_Training/Images" in state.detail


def test_checksums_are_torchvision_s() -> None:
    theirs = torchvision.datasets.CIFAR100
    files = [*theirs.train_list, *theirs.test_list, (theirs.meta["filename"], theirs.meta["md5"])]
    assert sources.DATASETS["cifar100"].layouts["cifar-100-python"] == {n: f"md5:{md5}" for n, md5 in files}
    assert theirs.tgz_md5 == publishers.CIFAR100_MD5
    source = Path(torchvision.datasets.gtsrb.__file__).read_text()
    for name in ("GTSRB_Final_Test_Images.zip", "GTSRB_Final_Test_GT.zip"):
        assert name in source and publishers.GTSRB_ARCHIVES[name] in source


def test_cifar100_from_the_python_layout(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 3, 32, 32), dtype=np.uint8)
    batch = {b"data": pixels.reshape(6, -1), b"fine_labels": [5, 0, 3, 99, 2, 1], b"coarse_labels": [0] * 6}
    content = {
        "train": pickle.dumps(batch),
        "test": pickle.dumps(batch),
        "meta": pickle.dumps({b"fine_label_names": [b"class %d" % k for k in range(100)]}),
    }
    layout = {name: f"md5:{hashlib.md5(data).hexdigest()}" for name, data in content.items()}
    info = replace(sources.DATASETS["cifar100"], layouts={"cifar-100-python": layout})
    monkeypatch.setitem(sources.DATASETS, "cifar100", info)
    (places / "cifar-100-python").mkdir()
    for name, data in content.items():
        (places / "cifar-100-python" / name).write_bytes(data)
    train = images.load("cifar100", "train")
    assert (train.x.numpy() == pixels).all() and train.y.tolist() == [5, 0, 3, 99, 2, 1]
    assert train.n_classes == 100 and train.class_names[99] == "class 99" and not train.flip
    (places / "cifar-100-python" / "test").write_bytes(content["test"] + b"0")
    with pytest.raises(PaperlibError, match="test is damaged"):
        images.load("cifar100", "test")


# ------------------------------------------------------------------------------------------------- fetching, and errors


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


def published(monkeypatch: pytest.MonkeyPatch, archives: dict[str, bytes]) -> None:
    """Let the download bring these archives, by the last part of their addresses."""

    def download(url: str, md5: str, scratch: Path, name: str = "archive") -> Path:
        (scratch / name).write_bytes(archives[url.split("/")[-1]])
        return scratch / name

    monkeypatch.setattr(publishers, "download", download)


def test_tiny_imagenet_is_unpacked_without_its_unlabelled_part(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = "tiny-imagenet-200"
    parts = (
        "train/n01/images/n01_0.JPEG",
        "val/images/val_0.JPEG",
        "val/val_annotations.txt",
        "wnids.txt",
        "words.txt",
    )
    members = {f"{base}/{part}": part.encode() for part in (*parts, "test/images/test_0.JPEG")}
    monkeypatch.setattr(publishers, "TINY_URL", "http://127.0.0.1:9/tiny.zip")
    published(monkeypatch, {"tiny.zip": zipped({**members, "../escaped": b"no"})})
    (places / base / "train/n00").mkdir(parents=True)  # begun by hand: it is completed
    assert sources.status("tiny_imagenet").state == "incomplete"
    assert sources.fetch("tiny_imagenet") == places / base
    found = {str(p.relative_to(places / base)) for p in (places / base).rglob("*") if p.is_file()}
    assert found == set(parts) and [p.name for p in places.iterdir()] == [base]
    assert not list(places.parent.rglob("escaped"))
    assert sources.status("tiny_imagenet").state == sources.status("tiny_imagenet20").state == "ready"


def test_gtsrb_is_put_together_from_three_archives(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishers, "GTSRB_URL", "http://127.0.0.1:9/")
    published(
        monkeypatch,
        {
            "GTSRB_Final_Training_Images.zip": zipped({"GTSRB/Final_Training/Images/00000/a.ppm": b"a"}),
            "GTSRB_Final_Test_Images.zip": zipped({"GTSRB/Final_Test/Images/00000.ppm": b"b", "GTSRB/Readme": b""}),
            "GTSRB_Final_Test_GT.zip": zipped({"GT-final_test.csv": b"c"}),
        },
    )
    root = sources.fetch("gtsrb")
    found = {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()}
    assert found == {
        "GTSRB/Final_Training/Images/00000/a.ppm",
        "GTSRB/Final_Test/Images/00000.ppm",
        "GT-final_test.csv",
    }


@pytest.mark.parametrize("name", [name for name in PROTOCOLS if name != "cifar10"])
def test_what_is_missing_is_one_clear_error(places: Path, name: str) -> None:
    info = sources.DATASETS[name]
    with pytest.raises(DataMissing) as caught:
        images.load(name, "train")
    parts = (info.title, str(places), f"{info.megabytes} MB", info.licence, *info.layouts, "PAPERLIB_DATA", "smoke")
    for part in parts:
        assert part in str(caught.value)
    assert list(places.iterdir()) == []
    assert sources.status(name).state == "missing"


# ----------------------------------------------------------------------------------------------------- decoded images


def test_decoded_images_are_kept_until_a_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [picture(tmp_path / f"{i}.png", (i, 0, 0), 8).name for i in range(5)]
    opened: list[str] = []
    one = decode._decode
    monkeypatch.setattr(decode, "_decode", lambda path, side: (opened.append(path.name), one(path, side))[1])

    def load() -> list[int]:
        return decode.decoded("folder-made", "train", tmp_path, files, 8)[:, 0, 0, 0].tolist()

    assert load() == load() == [0, 1, 2, 3, 4] and sorted(opened) == files
    picture(tmp_path / "3.png", (77, 0, 0), 8)
    os.utime(tmp_path / "3.png", ns=(1, 1))
    assert load() == [0, 1, 2, 77, 4] and len(opened) == 10
    files.pop()
    assert load() == [0, 1, 2, 77] and len(opened) == 14
    cached = next(decode.cache_dir().glob("*.safetensors"))
    cached.write_bytes(cached.read_bytes()[:50])  # a damaged cache
    assert load() == [0, 1, 2, 77] and len(opened) == 18


def test_a_published_picture_that_changed_is_named(tmp_path: Path) -> None:
    files = [picture(tmp_path / f"{i}.png", (i, 0, 0), 8).name for i in range(5)]

    def load() -> list[int]:
        return decode.decoded("made", "train", tmp_path, files, 8)[:, 0, 0, 0].tolist()

    assert load() == [0, 1, 2, 3, 4]
    picture(tmp_path / "3.png", (77, 0, 0), 8)
    os.utime(tmp_path / "3.png", ns=(1, 1))
    for _ in range(2):
        with pytest.raises(PaperlibError, match=r"3\.png has changed since it was first decoded; restore"):
            load()
    picture(tmp_path / "3.png", (3, 0, 0), 8)
    next(decode.cache_dir().glob("*.safetensors")).unlink()
    assert load() == [0, 1, 2, 3, 4]
    noted = next(decode.cache_dir().glob("*.sums"))
    noted.write_bytes(noted.read_bytes()[:100])  # damaged itself: noted anew
    picture(tmp_path / "0.png", (50, 0, 0), 8)
    os.utime(tmp_path / "0.png", ns=(1, 1))
    assert load() == [50, 1, 2, 3, 4]
    assert noted.read_text().count("\n") == 5


def test_a_cache_that_cannot_be_written_is_said_and_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(decode, "cache_dir", lambda: tmp_path / "file" / "decoded")
    name = picture(tmp_path / "0.png", (9, 0, 0), 8).name
    for _ in range(2):
        with pytest.warns(UserWarning, match="decoded images cannot be kept in"):
            assert decode.decoded("made", "train", tmp_path, [name], 8)[0, 0, 0, 0] == 9


def test_more_images_than_one_batch_keep_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "BATCH", 3)
    files = [picture(tmp_path / f"{i:02d}.png", (i, 2 * i, 3 * i), 4).name for i in range(10)]
    x = decode.decoded("made", "train", tmp_path, files, 4)
    assert x.shape == (10, 3, 4, 4) and x.is_contiguous()
    assert x[:, :, 0, 0].tolist() == [[i, 2 * i, 3 * i] for i in range(10)]


# ------------------------------------------------------------------------------------------------ a folder of one's own


def pets(root: Path, n: int = 10, side: int | tuple[int, int] = 32) -> Path:
    for k, name in enumerate(("cat", "dog", "eel")):
        for i in range(n):
            picture(root / name / f"{i:02d}.png", (80 * k, i, 1), side)
    return root


def test_a_folder_of_classes_is_split_by_class(tmp_path: Path) -> None:
    root = pets(tmp_path / "my pets")
    (root / "cat" / "notes.txt").write_text("not an image")
    (root / ".hidden").mkdir()
    train, test = images.load(f"folder:{root}", "train"), images.load(f"folder:{root}", "test")
    assert train.y.bincount().tolist() == [8] * 3 and test.y.bincount().tolist() == [2] * 3
    assert train.class_names == ("cat", "dog", "eel") and train.x.shape[1:] == (3, 32, 32)
    assert (train.x[:, 0, 0, 0] == 80 * train.y).all()
    seen = sorted(data.x[i, :2, 0, 0].tolist() for data in (train, test) for i in range(len(data)))
    assert seen == sorted([80 * k, i] for k in range(3) for i in range(10))  # every image once
    assert train.mean == test.mean and train.mean[0] == pytest.approx(80 / 255, abs=1e-3)
    assert (train.pad, train.flip) == (4, False)
    assert images.load(train.name, "train", n=6).y.bincount().tolist() == [2] * 3


def test_the_name_in_a_spec_depends_on_the_content_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = pets(tmp_path / "my pets")
    name = folder.resolve(f"folder:{root}")
    assert name == folder.resolve(name) and str(tmp_path) not in name
    assert name.startswith("folder:my-pets@32#") and len(name) == len("folder:my-pets@32#") + 16
    assert folder.resolve(f"folder:{root}@64") == name.replace("@32", "@64")
    moved = tmp_path / "elsewhere" / "my pets"
    moved.parent.mkdir()
    root.rename(moved)
    for path in moved.rglob("*.png"):
        os.utime(path, ns=(1, 1))
    with pytest.raises(DataMissing, match="is not a folder"):
        folder.look(name)
    assert folder.resolve(f"folder:{moved}") == name
    monkeypatch.setattr(folder, "_known", {})  # another process finds it again
    assert folder.look(name).path == moved
    picture(moved / "cat/00.png", (1, 2, 3), 32)
    with pytest.raises(PaperlibError, match="have changed"):
        folder.look(name)
    assert folder.resolve(f"folder:{moved}") != name
    (moved / "cat/01.png").rename(moved / "cat/renamed.png")
    folder._memory_file().unlink()
    monkeypatch.setattr(folder, "_known", {})
    with pytest.raises(DataMissing, match=r"does not know; run `paperlib data status folder:/path/to/my-pets"):
        folder.look(name)
    assert folder.resolve("cifar10") == "cifar10"


def test_train_and_test_folders_are_the_splits(tmp_path: Path) -> None:
    root = tmp_path / "given"
    for name in ("cat", "dog"):
        for i in range(3):
            picture(root / "train" / name / f"{i}.png", (1, 2, 3), 60)
        picture(root / "test" / name / "0.png", (200, 2, 3), 60)
    train, test = images.load(f"folder:{root}", "train"), images.load(f"folder:{root}", "test")
    assert train.y.tolist() == [0, 0, 0, 1, 1, 1] and test.y.tolist() == [0, 1]
    assert train.x.shape == (6, 3, 64, 64) and (test.x[:, 0] == 200).all() and train.pad == 8
    picture(root / "test" / "eel" / "0.png", (1, 2, 3))
    with pytest.raises(PaperlibError, match=r"same classes; they differ in \['eel'\]"):
        folder.look(f"folder:{root}")


@pytest.mark.parametrize(("side", "expected"), [(8, 32), (47, 32), (48, 64), (500, 64), ((30, 400), 32)])
def test_the_side_is_the_nearer_one_or_the_given_one(
    tmp_path: Path, side: int | tuple[int, int], expected: int
) -> None:
    root = pets(tmp_path / "pets", 2, side)
    assert folder.look(f"folder:{root}").side == expected
    assert folder.look(f"folder:{root}@32").side == 32 and folder.look(f"folder:{root}@64").side == 64
    with pytest.raises(PaperlibError, match="32 or 64 pixels, not 48"):
        folder.look(f"folder:{root}@48")


def test_grey_images_become_rgb_and_that_is_said(tmp_path: Path) -> None:
    root = pets(tmp_path / "pets", 2)
    picture(root / "cat/00.png", (90, 90, 90), 32, "L")
    picture(root / "cat/01.png", (90, 90, 90), 32, "RGBA")
    with pytest.warns(UserWarning, match=r"pets@32#\w+: 1 of \d images are grey") as said:
        both = [images.load(f"folder:{root}", split) for split in ("train", "test")]
    assert len(said) == 1
    assert all((data.x[data.y == 0] == 90).all() for data in both)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        images.load(f"folder:{root}", "train")  # from the cache: said once


def test_folders_that_cannot_be_used_say_why(tmp_path: Path) -> None:
    def error(root: Path) -> str:
        with pytest.raises(PaperlibError) as caught:
            for split in ("train", "test"):
                images.load(f"folder:{root}", split)
        return str(caught.value)

    assert "is not a folder" in error(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "has no sub-folder" in error(tmp_path / "empty")
    picture(tmp_path / "one/cat/0.png", (1, 2, 3))
    picture(tmp_path / "one/cat/1.png", (1, 2, 3))
    assert "one class only ('cat')" in error(tmp_path / "one")
    (tmp_path / "one/dog").mkdir()
    assert "dog holds no image" in error(tmp_path / "one")
    picture(tmp_path / "one/dog/0.png", (1, 2, 3))
    assert "0.png is the only image of its class" in error(tmp_path / "one")
    (tmp_path / "one/dog/1.png").write_bytes(b"no image")
    assert "1.png cannot be read as an image" in error(tmp_path / "one")
    whole = picture(tmp_path / "one/dog/1.png", (1, 2, 3)).read_bytes()
    (tmp_path / "one/dog/1.png").write_bytes(whole[:-30])  # the head can be read, the pixels cannot
    assert "1.png cannot be read as an image" in error(tmp_path / "one")
    Image.fromarray(np.zeros((64, 64), np.uint16)).save(tmp_path / "one/dog/1.png")
    assert "more than 8 bits" in error(tmp_path / "one")
    with pytest.raises(DataMissing, match="is not a folder"):
        folder.look("folder:")


def test_commands(tmp_path: Path, places: Path) -> None:
    run = CliRunner().invoke
    shown = run(app, ["status"]).output
    for name, info in sources.DATASETS.items():
        assert f"{name}: {'ready' if name == 'digits' else 'missing'}" in shown and f"{info.n_classes} classes" in shown
    root = pets(tmp_path / "pets")
    shown = run(app, ["status", f"folder:{root}"]).output
    assert folder.resolve(f"folder:{root}") in shown and "24 training and 6 test images of 3 classes" in shown
    about = json.loads(run(app, ["status", f"folder:{root}", "--json"]).output)[0]
    assert about["classes"] == ["cat", "dog", "eel"] and about["train"] == 24
    assert "nothing to fetch" in run(app, ["fetch", f"folder:{root}"]).output
    assert run(app, ["status", "folder:/nowhere/at/all"]).exit_code == 1


# ---------------------------------------------------------------------------------------------------------- the scales


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_data_set_has_a_protocol_and_sizes_that_can_be_balanced(name: str) -> None:
    info, how = sources.DATASETS[name], PROTOCOLS[name]
    assert len(how.mean) == len(how.std) == 3 and how.flip == (name == "cifar10") and how.pad == 4
    for n in (how.n_clean, *how.laptop):
        assert n % info.n_classes == 0
    assert how.laptop[0] <= info.n_train and how.laptop[1] <= info.n_test
    assert how.laptop[2] < (how.laptop[0] or info.n_train) and info.stands_for in ("", *PROTOCOLS)
    assert how.n_clean / info.n_train == pytest.approx(0.05, rel=0.04)


def test_scales_on_other_data_sets() -> None:
    assert set(PROTOCOLS) == set(sources.DATASETS) - {"digits"}
    assert on(PAPER, "cifar10") == PAPER and on(LAPTOP, "cifar10") == LAPTOP
    how = PROTOCOLS["cifar10"]  # the two homes of these numbers agree
    assert (PAPER.epochs, PAPER.schedule, PAPER.lr, PAPER.batch_size) == (
        how.epochs,
        how.schedule,
        how.lr,
        how.batch_size,
    )
    assert (PAPER.n_clean, PAPER.rho) == (how.n_clean, how.rho)
    assert (LAPTOP.n_train, LAPTOP.n_test, LAPTOP.n_clean) == how.laptop
    tiny = on(PAPER, "tiny_imagenet")
    assert (tiny.epochs, tiny.schedule, tiny.lr, tiny.n_train, tiny.rho) == (200, "plateau", 0.01, 0, 8.0)
    assert tiny.changes["ft_sam"]["label_smoothing"] == 0
    signs = on(PAPER, "gtsrb")
    assert (signs.epochs, signs.schedule, signs.defense_epochs) == (50, "cosine_100", 50)
    small = on(LAPTOP, "tiny_imagenet20")
    assert small == replace(LAPTOP, dataset="tiny_imagenet20", n_train=4_000, n_test=0, n_clean=200)
    small = on(LAPTOP, "tiny_imagenet20_32")
    assert small == replace(LAPTOP, dataset="tiny_imagenet20_32", n_train=0, n_test=0, n_clean=500, epochs=12)
    signs = on(LAPTOP, "gtsrb_sample")
    assert (signs.epochs, signs.batch_size, signs.lr, signs.n_train, signs.n_clean) == (8, 32, 0.1, 0, 473)
    assert on(SMOKE, "tiny_imagenet") == SMOKE
    with pytest.raises(PaperlibError, match="did you mean 'tiny_imagenet'"):
        on(LAPTOP, "tiny_image_net")


def test_scales_on_a_folder(tmp_path: Path) -> None:
    root = pets(tmp_path / "pets")  # 24 training images
    found = on(LAPTOP, f"folder:{root}")
    assert found.dataset == folder.resolve(f"folder:{root}")
    assert (found.n_train, found.n_test, found.n_clean) == (0, 0, 3) and found.epochs == LAPTOP.epochs
    few = on(replace(LAPTOP, n_train=10), f"folder:{root}")
    assert few.n_train == 9 and len(images.load(few.dataset, "train", few.n_train)) == 9
    assert on(SMOKE, f"folder:{root}").dataset == found.dataset


def test_a_spec_on_a_folder_holds_its_content_and_not_its_place(tmp_path: Path) -> None:
    root = pets(tmp_path / "pets")
    spec = experiments.train(SMOKE, dataset=f"folder:{root}", n_train=0)
    assert spec.dataset == folder.resolve(f"folder:{root}") and str(tmp_path) not in spec.canonical
