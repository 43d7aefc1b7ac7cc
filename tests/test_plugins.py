"""The page on own methods, executed as printed: as a file, and as an installed package that adds them by entry
points."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from paperlib.errors import PaperlibError
from paperlib.paths import ROOT
from paperlib.registry import Method, plugged

PAGE = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.S)
(USE,) = re.findall(r"```python use\n(.*?)```", PAGE, re.S)
(TOML,) = re.findall(r"```toml\n(.*?)```", PAGE, re.S)

TABLE = """
import json
from paperlib import attacks, defenses, detection, experiments, models, registry, selection
from paperlib.lab import spec
rooms = (attacks.ATTACKS, defenses.DEFENSES, detection.DETECTORS, selection.SELECTIONS, models.MODELS)
own = [name for room in rooms for name in room.own]
print(json.dumps([*own, len(found.flagged), purified is not model, len(registry.own())]))
"""


ROWS = """
import sys
from dataclasses import replace
from pathlib import Path
from paperlib import companion, papers
from paperlib.experiments.scales import SMOKE
from paperlib.lab.run import run
from paperlib.lab.store import Store

if __name__ == "__main__":
    executor, place = sys.argv[1:]
    small = replace(SMOKE, n_train=600, n_test=100, width=8, epochs=5)
    item = papers.items("ft_sam")["table1"].changed(attacks=["stripe"], defenses=["head_only"])
    specs, store = item.specs(small, 0), Store(Path(place))
    run(specs, store, device="cpu", executor=executor, progress=False)
    made = item.draw(companion.compute(specs, small, device="cpu", store=store, report=lambda line: None))
    ours = made.frame[made.frame.ours.notna()]
    shown = ">Head only</th>" in made.fragment, "Stripe" in made.fragment
    print(sorted(set(ours.attack)), sorted(set(ours.defense)), *shown)
"""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder as pip leaves it: the module, and the entry points of its distribution."""
    (tmp_path / "my_methods.py").write_text("\n".join(BLOCKS))
    about = tmp_path / "my_methods-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: my-methods\nVersion: 1.0\n")
    groups = tomllib.loads(TOML)["project"]["entry-points"]
    lines = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
        for group, points in groups.items()
    ]
    (about / "entry_points.txt").write_text("\n".join(lines))
    return tmp_path


def run(code: str, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(folder), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": path}
    (folder / "script.py").write_text(code)  # a file, because other processes import it again
    words = (sys.executable, str(folder / "script.py"), *words)
    return subprocess.run(words, env=environment, cwd=folder, capture_output=True, text=True)


def test_templates_are_short() -> None:
    assert len(BLOCKS) == 6 and max(len([line for line in block.splitlines() if line]) for block in BLOCKS) <= 20


def test_an_installed_package_adds_a_method_of_every_kind(installed: Path) -> None:
    done = run(USE + TABLE, installed)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == '["stripe", "head_only", "least_sure", "bright", "small", 60, true, 5]'


@pytest.mark.parametrize("executor", ["inline", "processes", "ray"])
def test_plug_ins_are_rows_of_a_table_under_every_executor(executor: str, installed: Path, tmp_path: Path) -> None:
    if executor == "ray":
        pytest.importorskip("ray")
    done = run(ROWS, installed, executor, str(tmp_path / "runs"))
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip().splitlines()[-1] == "['stripe'] ['head_only', 'none'] True True", done.stdout


def test_a_broken_plug_in_is_one_sentence(installed: Path) -> None:
    (installed / "my_methods.py").write_text("import nothing_of_that_name")
    done = run("from paperlib.defenses import DEFENSES; DEFENSES['ft']", installed)
    assert (
        "PaperlibError: the plug-in 'head_only' (my_methods:head_only, group paperlib.defenses) cannot be imported"
        in done.stderr
    )


class Point:
    name, value, group = "mine", "my:thing", "paperlib.defenses"

    def __init__(self, thing: object) -> None:
        self.thing = thing

    def load(self) -> object:
        return self.thing


def test_a_plug_in_must_be_a_method() -> None:
    method = Method("a", "b", "c")
    assert plugged(Point(method)) is method  # type: ignore[arg-type]
    with pytest.raises(PaperlibError, match="is a int; it must be a Method"):
        plugged(Point(3))  # type: ignore[arg-type]
