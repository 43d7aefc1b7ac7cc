"""Draw docs/rooms.png: which room of paperlib imports which. ``python docs/draw_rooms.py``; tests/test_rooms.py reads
the same rows."""

import ast
from collections import Counter, defaultdict
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

import matplotlib
import networkx as nx
from matplotlib import pyplot as plt
from PIL import Image

matplotlib.use("agg")

ROOT = Path(__file__).resolve().parents[1]
ROWS = (
    ("cli",),
    ("companion",),
    ("parameters",),
    ("papers",),
    ("report", "experiments"),
    ("analysis", "vdc"),
    ("defenses",),
    ("detection", "selection"),
    ("attacks", "interop"),
    ("models",),
    ("training",),
    ("data", "fairness"),
    ("lab",),
    ("registry", "metrics", "devices", "files", "paths"),
    ("errors",),
)
"""The rooms from top to bottom: one knows only those in the rows below."""


def imports(root: Path = ROOT / "paperlib") -> dict[str, set[str]]:
    """Module -> the modules of the package that it imports anywhere: at the top, in a function, or for its types
    alone."""
    files = {".".join(file.relative_to(root.parent).with_suffix("").parts): file for file in root.rglob("*.py")}
    files = {name.removesuffix(".__init__"): file for name, file in files.items()}
    found: dict[str, set[str]] = defaultdict(set)
    for name, file in files.items():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == root.name:
                whole = {f"{node.module}.{alias.name}" for alias in node.names}
                found[name] |= {one if one in files else node.module for one in whole}
            elif isinstance(node, ast.Import):
                found[name] |= {alias.name for alias in node.names if alias.name.split(".")[0] == root.name}
        found[name].discard(name)
    return dict(found)


def room(module: str) -> str:
    """``paperlib.lab.store`` lies in ``lab``; the package itself in no room."""
    return module.split(".")[1] if "." in module else ""


def doors(found: dict[str, set[str]]) -> Counter[tuple[str, str]]:
    """How many imports lead from one room into another."""
    pairs = [(room(a), room(b)) for a, targets in found.items() for b in targets]
    return Counter((a, b) for a, b in pairs if a and b and a != b and a != "__main__")


def direct(pairs: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """Those of ``pairs`` that no way over other rooms implies."""
    graph = nx.DiGraph(list(pairs))
    return set(nx.transitive_reduction(graph).edges)


def draw(file: Path) -> None:
    """Rooms in their rows. Dark: what a room imports and does not reach over another one; pale: the other imports.

    The two lowest rows, which most rooms use, have no lines.
    """
    wide = {"report": 2.0, "experiments": 6.4, "analysis": 4.6, "vdc": 8.2, "detection": 3.4, "selection": 6.6}
    wide |= {"attacks": 5.0, "interop": 8.2, "data": 3.8, "fairness": 8.2}
    place = {
        name: (wide.get(name, (i + 0.5) * 10 / len(row)), -float(depth))
        for depth, row in enumerate(ROWS)
        for i, name in enumerate(row)
    }
    lines = {pair: count for pair, count in doors(imports()).items() if pair[1] not in (*ROWS[-1], *ROWS[-2])}
    dark = direct(lines)
    figure, axes = plt.subplots(figsize=(6.4, 6.4), layout="constrained")
    for (a, b), count in sorted(lines.items(), key=lambda line: line[0] in dark):
        (x0, y0), (x1, y1) = place[a], place[b]
        look = {"color": "#1f4e79", "linewidth": min(3.0, 1.0 + count / 20)} if (a, b) in dark else {"color": "#d5dde6"}
        bend = 0.0 if y0 - y1 <= 1 else 0.1
        look |= {"arrowstyle": "-|>", "connectionstyle": f"arc3,rad={bend}", "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", (x1, y1 + 0.26), (x0, y0 - 0.26), arrowprops=look)
    box = {"boxstyle": "round,pad=0.3", "facecolor": "#f4f1e8", "edgecolor": "#333333", "linewidth": 0.8}
    for name, (x, y) in place.items():
        axes.text(x, y, name, ha="center", va="center", fontsize=9, bbox=box, zorder=3)
    axes.set(xlim=(-0.3, 10.3), ylim=(-len(ROWS) + 0.4, 0.6))
    axes.axis("off")
    canvas = BytesIO()
    figure.savefig(canvas, dpi=100)
    Image.open(canvas).convert("RGB").quantize(32).save(file, optimize=True)


if __name__ == "__main__":
    draw(ROOT / "docs" / "rooms.png")
