"""Stored data and caches of data: a turned bit is noticed, a pickle runs no code, a server's text never shows the
key."""

import base64
import html
import json
import os
import pickle
import random
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
import torch

from paperlib.data import decode, folder, unpickle
from paperlib.vdc.engines.openai_compatible import _blotted


@pytest.mark.parametrize("how", ["flip", "cut"])
def test_a_damaged_cache_of_decoded_images_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    from PIL import Image

    monkeypatch.setattr(decode, "cache_dir", lambda: tmp_path / "cache")
    for i in range(3):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(
            tmp_path / f"{i}.png"
        )
    names, dice = [f"{i}.png" for i in range(3)], random.Random(0)
    right = decode.decoded("x", "train", tmp_path, names, 8)
    (cached,) = (tmp_path / "cache").glob("*.safetensors")
    for _ in range(60):
        data = bytearray(cached.read_bytes())
        place = dice.randrange(8 * len(data))
        data[place // 8] ^= 1 << place % 8
        cached.write_bytes(data if how == "flip" else data[: place // 8])
        assert torch.equal(decode.decoded("x", "train", tmp_path, names, 8), right)


def test_what_is_remembered_of_folders_is_not_believed_when_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    memory = tmp_path / "cache" / "folders.json"
    monkeypatch.setattr(folder, "_memory_file", lambda: memory)
    for kind in ("cat", "dog"):
        (tmp_path / "pets" / kind).mkdir(parents=True)
        for i in range(5):
            Image.new("RGB", (32, 32), (i, 50, len(kind))).save(tmp_path / "pets" / kind / f"{i}.png")
    right = folder.look(f"folder:{tmp_path / 'pets'}")
    whole, dice = memory.read_bytes(), random.Random(0)
    for _ in range(100):
        data = bytearray(whole)
        place = dice.randrange(8 * len(data))
        data[place // 8] ^= 1 << place % 8
        memory.write_bytes(data)
        found = folder.look(f"folder:{tmp_path / 'pets'}")
        assert (found.name, found.side, found.files) == (right.name, right.side, right.files)


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch evil",)


@pytest.mark.parametrize("encoding", ["ASCII", "bytes"])
def test_a_pickle_runs_no_code(encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(pickle.UnpicklingError, match="system is not allowed"):
        unpickle.arrays(pickle.dumps({"data": Evil()}), encoding)
    assert not Path("evil").exists()
    found = unpickle.arrays(pickle.dumps({"data": np.arange(6).reshape(2, 3), "labels": [1, 2]}), encoding)
    assert (found["data"] == np.arange(6).reshape(2, 3)).all() and found["labels"] == [1, 2]


@pytest.mark.parametrize("key", ["sk-abcdefghijklmnop+/?&", "short", "0123456789abcdef0123456789abcdef"])
def test_no_form_of_the_key_is_shown(key: str) -> None:
    for before in ("", "B", "Be", "Bearer "):
        for after in ("", "!", "!!"):
            coded = base64.b64encode((before + key + after).encode()).decode()
            shown = _blotted(f"you sent {coded} and {key} and {key.encode().hex().upper()} and {key[::-1]}", key)
            assert key not in shown and key[::-1] not in shown and key.encode().hex() not in shown.lower()
            assert coded not in shown and shown.count("[key]") == 4
    for form in (html.escape(key), json.dumps(key), json.dumps(key).replace("/", r"\/"), quote(key, safe="")):
        assert "[key]" in (shown := _blotted(f"<{form}>", key)) and form not in shown
    assert _blotted("nothing secret", key) == "nothing secret" == _blotted("nothing secret", "")


def test_npd_leaves_torch_s_generator_as_it_is() -> None:
    from paperlib.data import images
    from paperlib.defenses.npd import NPD, insert
    from paperlib.models import build

    model = build("preact_resnet18", images.load("digits", "train", 20), width=4)
    before = torch.get_rng_state()
    insert(model, NPD())
    assert torch.equal(torch.get_rng_state(), before)
