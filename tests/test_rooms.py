"""The house: rooms know only those below them, no two files import each other in a circle, and every file can be
read."""

import ast
import importlib.util
import re
import subprocess
from pathlib import Path

import networkx as nx
import pytest

ROOT = Path(__file__).resolve().parents[1]
SPEC = importlib.util.spec_from_file_location("draw_rooms", ROOT / "docs" / "draw_rooms.py")
assert SPEC is not None and SPEC.loader is not None
rooms = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(rooms)
ROW = {name: depth for depth, row in enumerate(rooms.ROWS) for name in row}
FOUND = rooms.imports()
FILES = sorted((ROOT / "paperlib").rglob("*.py"))


def wrong(found: dict[str, set[str]]) -> list[str]:
    """Imports that lead sideways or up."""
    pairs = sorted((a, b) for a, targets in found.items() for b in targets)
    pairs = [(a, b) for a, b in pairs if rooms.room(a) and rooms.room(b) and a != "paperlib.__main__"]
    return [
        f"{a} -> {b}" for a, b in pairs if rooms.room(a) != rooms.room(b) and ROW[rooms.room(a)] >= ROW[rooms.room(b)]
    ]


def test_every_room_has_its_row() -> None:
    there = {file.stem for file in (ROOT / "paperlib").iterdir() if file.is_dir() or file.suffix == ".py"}
    assert there - {"__init__", "__main__", "__pycache__", "published"} == set(ROW)


def test_a_room_knows_only_those_below() -> None:
    assert not wrong(FOUND)
    up = {"paperlib.lab.run": {"paperlib.papers"}, "paperlib.detection.ac": {"paperlib.selection.lps"}}
    assert wrong(up) == ["paperlib.detection.ac -> paperlib.selection.lps", "paperlib.lab.run -> paperlib.papers"]


def test_no_circle_of_files() -> None:
    graph = nx.DiGraph([(a, b) for a, targets in FOUND.items() for b in targets])
    assert [sorted(part) for part in nx.strongly_connected_components(graph) if len(part) > 1] == []


def test_what_a_file_keeps_to_itself_stays_there() -> None:
    taken = []
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("paperlib"):
                names = [alias.name for alias in node.names]
                taken += [f"{file.name}: {node.module}.{n}" for n in names if n.startswith("_") and n != "__version__"]
    assert not taken


def test_the_lab_knows_no_torch_no_paper_and_no_kind_of_experiment() -> None:
    from paperlib.experiments import specs

    kinds = {name for name in vars(specs) if name.endswith("Spec") and name != "Spec"}
    assert len(kinds) >= 7
    for file in (ROOT / "paperlib" / "lab").glob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        taken = {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        }
        assert not (names | taken) & (kinds | {"torch"}), file.name


def test_no_file_has_more_than_600_lines() -> None:
    long = {file.name for file in FILES if file.read_text(encoding="utf-8").count("\n") > 600}
    assert not long


def test_the_picture_is_that_of_the_imports(tmp_path: Path) -> None:
    from PIL import Image, ImageChops

    rooms.draw(tmp_path / "rooms.png")
    ours, drawn = (Image.open(file).convert("L") for file in (ROOT / "docs" / "rooms.png", tmp_path / "rooms.png"))
    assert ours.size == drawn.size
    histogram = ImageChops.difference(ours, drawn).histogram()
    assert sum(histogram[64:]) < 20  # another version of the font's renderer moves a shade, a new line many pixels


def paths_of(text: str) -> list[str]:
    """What stands in backticks after "open" in the table of the README."""
    rows = re.findall(r"^\| .+? \| (`.+?) \|$", text, re.M)
    return [path for row in rows for path in re.findall(r"`([\w./<>-]+)`", row)]


@pytest.mark.parametrize("page", ["README.md", "docs/architecture.md"])
def test_paths_that_a_page_names_are_there(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    links = [one for one in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in one]
    assert links and not [one for one in links if not (ROOT / page).parent.joinpath(one).exists()]
    if page == "README.md":
        tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        named = paths_of(text.partition("## The house")[2].partition("\n## ")[0])
        assert len(named) >= 15
        assert not [one for one in named if not any(line.startswith(one) for line in tracked.splitlines())]
