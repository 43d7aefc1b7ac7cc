"""Many runs and many images in one process: the memory that it holds does not grow with them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TOY = Path(__file__).with_name("memory_toy.py")
BYTES = 3 * 16 * 16  # of one image as uint8

pytestmark = [pytest.mark.long, pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]


def held(*arguments: object) -> list[float]:
    """MB held at each stage, and at most."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command = [sys.executable, str(TOY), *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return [float(line) for line in done.stdout.split()]


def test_1600_runs_hold_no_more_than_200(tmp_path: Path) -> None:
    *stages, peak = held("runs", tmp_path / "runs", 1600)
    assert len(stages) == 8 and max(*stages, peak) < 1.05 * stages[0], stages


@pytest.mark.parametrize(("role", "more"), [("train", 0), ("cleanse", 6000)])
def test_50000_images_hold_themselves(role: str, more: int) -> None:
    """``more``: bytes per image of what is said about each (a cleansing reports on every image)."""
    few, many = held(role, 5000)[-1], held(role, 50000)[-1]
    assert many - few < (45000 * (1.2 * BYTES + more)) / 1e6 + 30, (few, many)
