"""The built wheel, in an environment without the checkout: what it brings along and where it writes.

The whole test builds an environment by the locked versions, which takes minutes; the short one imports the wheel's
files beside the packages that are installed here.
"""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from paperlib.paths import ROOT

UV = ROOT / "build" / "uv" / "bin" / "uv"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    builder = next((words for words in (["uv"], [str(UV)], [sys.executable, "-m", "uv"]) if works(words)), None)
    if builder is None:
        pytest.skip("uv is not here")
    done = subprocess.run(
        [*builder, "build", "--wheel", "--quiet", "--out-dir", str(out), str(ROOT)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (made,) = out.glob("*.whl")
    return made


def works(words: list[str]) -> bool:
    try:
        return subprocess.run([*words, "--version"], capture_output=True).returncode == 0
    except OSError:
        return False


def run(folder: Path, *words: str, python: str = sys.executable, path: str = "") -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PAPERLIB_") and k != "PYTHONPATH"}
    environment |= {"PYTHONPATH": path, "PAPERLIB_STORE": str(folder / "runs"), "XDG_CACHE_HOME": str(folder / "cache")}
    return subprocess.run(
        [python, "-m", "paperlib", *words], env=environment, cwd=folder, capture_output=True, text=True
    )


def check(folder: Path, **how: str) -> None:
    """What a person does outside a checkout."""
    done = run(folder, "figure", "ft_sam/table2", "--scale", "laptop", "--recorded", **how)
    assert done.returncode == 0, done.stderr
    assert (folder / "figures" / "laptop" / "ft_sam" / "table2.json").is_file()
    done = run(folder, "reproduce", "ft_sam", **how)
    assert done.returncode == 1 and "run this in a checkout" in done.stderr and "Traceback" not in done.stderr
    done = run(folder, "list", **how)
    assert " ours" in done.stdout.splitlines()[-1], done.stdout[-300:]


def check_own_model(folder: Path, **how: str) -> None:
    """``inspect`` and ``purify`` on a model file and a folder of pictures, outside a checkout."""
    from PIL import Image

    from paperlib.data import images
    from paperlib.models import build
    from paperlib.training import Recipe, fit, save_weights

    digits = images.load("digits", "train", 600)
    for i, (x, y) in enumerate(zip(digits.x, digits.y.tolist(), strict=True)):
        (folder / "digits" / str(y)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(x.permute(1, 2, 0).numpy()).save(folder / "digits" / str(y) / f"{i}.png")
    there = images.load(f"folder:{folder / 'digits'}", "train")  # at the size at which a folder is read
    model = build("preact_resnet18", there, width=8)
    fit(model, there, Recipe(10, 32, 0.05, "one_cycle"), seed=0)
    save_weights(model, folder / "model.safetensors")
    given = ("model.safetensors", "--images", "digits")
    done = run(folder, "inspect", *given, "--epochs", "1", "--steps", "1", "--out", "report.html", **how)
    assert done.returncode in (0, 3) and (folder / "report.html").is_file(), done.stderr
    done = run(folder, "purify", *given, "--out", "purified.safetensors", "--params", '{"epochs": 1}', **how)
    assert done.returncode == 0 and (folder / "purified.safetensors").is_file(), done.stderr


def test_the_wheel_works_outside_a_checkout(wheel: Path, tmp_path: Path) -> None:
    site, here = tmp_path / "site", tmp_path / "here"
    here.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(site)
    assert {"paperlib/recorded/laptop/results/train.jsonl", "paperlib/published/SOURCES.md"} <= set(names)
    assert not [name for name in names if name.startswith(("tests/", "notebooks/", "figures/"))]
    assert wheel.stat().st_size < 6_000_000
    before = sorted(site.rglob("*"))
    check(here, path=str(site))
    check_own_model(here, path=str(site))
    after = [path for path in site.rglob("*") if "__pycache__" not in path.parts]
    assert sorted(after) == sorted(
        path for path in before if "__pycache__" not in path.parts
    )  # nothing is written there


@pytest.mark.long
def test_the_wheel_in_a_clean_environment(wheel: Path, tmp_path: Path) -> None:
    uv = next(words for words in (["uv"], [str(UV)], [sys.executable, "-m", "uv"]) if works(words))
    subprocess.run([*uv, "venv", "--quiet", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    environment = {**os.environ, "VIRTUAL_ENV": str(tmp_path / "venv")}
    lock = ["-r", str(ROOT / "requirements.lock.txt")]
    subprocess.run([*uv, "pip", "install", "--quiet", *lock], env=environment, check=True)
    for extra in ("fairness", "vlm", "vdc"):
        words = [
            *uv,
            "pip",
            "install",
            "--quiet",
            "--constraint",
            str(ROOT / "requirements.lock.txt"),
            f"paperlib[{extra}] @ {wheel.as_uri()}",
        ]
        subprocess.run(words, env=environment, check=True)
    check(tmp_path, python=str(python))
    check_own_model(tmp_path, python=str(python))
