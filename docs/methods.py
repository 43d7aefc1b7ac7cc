"""Writes ``docs/methods.md`` from the docstrings of the methods' files and the table of the golden steps:
``python docs/methods.py``."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from paperlib.attacks import ATTACKS
from paperlib.defenses import DEFENSES
from paperlib.detection import DETECTORS
from paperlib.selection import SELECTIONS

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "methods.md"
GOLDEN = ROOT / "tests" / "golden" / "official"
OF = {"spectral": "ss", "simifeat_v": "simifeat"}
"""Golden files that do not begin with the name of their method's file."""
REGISTRIES = {"Attacks": ATTACKS, "Defenses": DEFENSES, "Detectors": DETECTORS, "Selection": SELECTIONS}


def golden() -> dict[str, list[tuple[str, str, str]]]:
    """Name of a method's file -> its golden files, each with the repository and commit that made it."""
    found: dict[str, list[tuple[str, str, str]]] = {}
    for line in (GOLDEN / "README.md").read_text(encoding="utf-8").splitlines():
        row = re.fullmatch(r"\| (\S+/\S+) \| ([0-9a-f]{40}) \| (.*) \|", line)
        if row:
            for file in re.findall(r"[a-z_]+(?=,|$| )", re.sub(r"\(.*?\)", "", row[3])):
                known = {one.stem for one in GOLDEN.glob("*.npz")}
                if file in known:
                    method = OF.get(file, re.sub("_(high|low|inner)$", "", file))
                    found.setdefault(method, []).append((file, row[1], row[2]))
    return found


def paper(text: str) -> str:
    """The paper that a docstring names: from the authors to what stands in parentheses after the title; empty if it
    names none."""
    flat = " ".join(text.split("\n\n", 1)[-1].split())
    found = re.match(r'(.{3,300}?"[^"]+,?"[^.]*?\((?:[^()]*)\))', flat)
    return found[1] if found else ""


def differences(text: str) -> str:
    """What a docstring says from its differences on, as Markdown; empty where it says nothing of them."""
    found = re.search(r"^Differences? .*?(?=^Introduced in|\Z)", text, re.M | re.S)
    if not found:
        return ""
    return re.sub(r"(\S)\n1\. ", r"\1\n\n1. ", found[0].strip(), count=1).replace("::\n", ":\n")


def entries(title: str) -> Iterator[str]:
    """One section for every file of the registry ``title``."""
    modules: dict[str, list[str]] = {}
    for method in REGISTRIES[title].values():
        modules.setdefault(method.module, []).append(method.title)
    made = golden()
    for module, names in modules.items():
        file = ROOT / f"{module.replace('.', '/')}.py"
        text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
        versions = sorted({m.version for m in REGISTRIES[title].values() if m.module == module})
        lines = [f"### {', '.join(dict.fromkeys(names))}", ""]
        lines += [
            f"{text.splitlines()[0]} [`{module}`](../{file.relative_to(ROOT).as_posix()}), version {versions[-1]}.",
            "",
        ]
        if about := paper(text):
            lines += [f"**Paper.** {about}.", ""]
        if of := made.get(file.stem, []):
            repositories = dict.fromkeys(f"{repository} at {commit}" for _, repository, commit in of)
            files = ", ".join(dict.fromkeys(name for name, *_ in of))
            test = f"tests/{'defenses' if title == 'Defenses' else 'detection'}/test_official.py"
            shown = f"[`{test}`](../{test})" if (ROOT / test).is_file() else f"`{test}`"
            lines += [
                (
                    f"**Public code.** {' and '.join(repositories)}. Golden steps: {files}; what is compared, and how"
                    f" closely: {shown}."
                ),
                "",
            ]
        lines += [differences(text) or "No difference is stated.", ""]
        yield "\n".join(lines)


def page() -> str:
    """The whole page."""
    head = (
        "# Methods: paper, public code, differences\n\n<!-- written by docs/methods.py from the docstrings; change"
        " those -->\n\nEvery method is one file. Where the paper is explicit its choice is the default, elsewhere the"
        " public code's; the other one is an option. Golden steps are a few steps that the authors' public code took on"
        " tiny inputs: [what they are and how they were made](../tests/golden/official/README.md).\n"
    )
    parts = [f"## {title}\n\n" + "\n".join(entries(title)) for title in REGISTRIES]
    return "\n".join([head, *parts]).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
