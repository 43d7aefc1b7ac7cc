"""What a reader meets first: README, environment, lock, citation. And what must never be in a tracked file."""

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from typer.main import get_command

from paperlib.cli import app
from paperlib.papers import PAPERS
from paperlib.paths import ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONDA_NAMES = {"pytorch": "torch"}

MACHINE = re.compile(r"(?<![\w.)}])/(?:home|Users|root|work|tmp|private|var/folders)/\w")
REGISTRY = re.compile(
    r"pypi\.org|pythonhosted\.org|npmjs\.(?:org|com)|download\.pytorch\.org|anaconda\.org|--(?:extra-)?index-url|--find[-]links"
)


def tracked() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_environment_is_in_step_with_pyproject() -> None:
    text = (ROOT / "environment.yml").read_text(encoding="utf-8")
    environment = yaml.safe_load(text)
    assert environment["channels"] == ["conda-forge", "nodefaults"]
    *conda, pip = environment["dependencies"]
    assert pip == {"pip": ["-e ."]}
    found = {}
    for line in conda:
        requirement = Requirement(line)
        found[CONDA_NAMES.get(requirement.name, requirement.name)] = requirement.specifier
    assert found.pop("python") == Requirement(f"python{PYPROJECT['project']['requires-python']}").specifier
    del found["pip"]
    assert found == {r.name: r.specifier for r in map(Requirement, PYPROJECT["project"]["dependencies"])}
    uncommented = [line for line in text.splitlines() if re.match(r"  - [a-z].*[<>=]", line) and "  # " not in line]
    assert uncommented == ["  - python>=3.11,<3.15"]  # everybody needs that one


def test_lock_has_hashes_no_address_and_every_dependency() -> None:
    text = (ROOT / "requirements.lock.txt").read_text(encoding="utf-8")
    assert "://" not in text and not REGISTRY.search(text)
    blocks = re.findall(r"^\S.*(?:\n\s.*)*", text, re.M)
    pins: dict[str, list[str]] = {}
    for block in blocks:
        name, version = re.match(r"([A-Za-z0-9._-]+)==(\S+)", block).groups()  # type: ignore[union-attr]
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), name
        pins.setdefault(canonicalize_name(name), []).append(version)
    extras = PYPROJECT["project"]["optional-dependencies"]
    for line in [
        *PYPROJECT["project"]["dependencies"],
        *extras["fairness"],
        *extras["vdc"],
        *extras["vlm"],
        *extras["test"],
    ]:
        requirement = Requirement(line)
        versions = pins[canonicalize_name(requirement.name)]
        assert all(requirement.specifier.contains(version, prereleases=True) for version in versions), line


def test_no_machine_path_and_no_registry_host_in_tracked_files() -> None:
    found = []
    for path in tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # pictures and compressed tables
        for number, line in enumerate(text.splitlines(), 1):
            line = re.sub(r"[A-Za-z0-9+/=]{200,}", "", line)  # pictures inside notebooks
            if hit := MACHINE.search(line) or REGISTRY.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {hit.group()}")
    assert found == []


@pytest.mark.parametrize(
    ("pattern", "text"),
    [(MACHINE, "/" + "home/someone/x"), (MACHINE, '"/' + 'tmp/x"'), (REGISTRY, "https://pypi" + ".org/simple")],
)
def test_those_patterns_find_something(pattern: re.Pattern[str], text: str) -> None:
    assert pattern.search(text)


def commands() -> list[list[str]]:
    """Every `make` and `paperlib` line of the README, in blocks and in sentences."""
    lines = [line for block in re.findall(r"```sh\n(.*?)```", README, re.S) for line in block.splitlines()]
    lines += re.findall(r"`((?:make|paperlib|lab) [^`]+)`", README)
    words = [re.sub(r"\s+#.*", "", line).split() for line in lines]
    return [[word.removeprefix(".venv/bin/") for word in line] for line in words if line]


def test_commands_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    root: Any = get_command(app)
    seen = set()
    for program, *words in commands():
        seen.add(program)
        if program == "make":
            target, *variables = words
            assert re.search(rf"^{target}:", makefile, re.M), target
            assert all(f"$({variable.split('=')[0]})" in makefile for variable in variables), variables
        if program in ("paperlib", "lab"):
            command = root.commands["lab"] if program == "lab" else root
            while words and hasattr(command, "commands"):
                command = command.commands[words.pop(0)]
            options = {option for parameter in command.params for option in parameter.opts}
            assert {word for word in words if word.startswith("--")} <= options, (program, words)
    assert {"make", "paperlib", "lab"} <= seen


def test_targets_of_the_makefile_are_explained() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    declared = re.search(r"^\.PHONY: (.*)$", makefile, re.M).group(1).split()  # type: ignore[union-attr]
    comment = makefile.partition("\n\n")[0]
    assert {"reproduce", "test", "lab", "clean", "lock"} <= set(declared)
    assert all(f"make {target}" in comment for target in declared if target != "setup")


def test_code_of_the_readme_runs_as_printed() -> None:
    from paperlib.data import images
    from paperlib.models import build
    from paperlib.training import Recipe, fit

    data = images.load("digits", "train", 200)
    model = build("preact_resnet18", data, width=4)
    fit(model, data, Recipe(10, 20, 0.05, "one_cycle"), seed=0)
    model.eval()
    scope: dict[str, Any] = {"x": data.x, "y": data.y, "model": model}
    blocks = re.findall(r"```python\n(.*?)```", README, re.S)
    for block in blocks:
        if "MeanParityRegressor" in block:
            scope |= {"X": data.float().flatten(1).numpy(), "y": data.y.double().numpy(), "s": data.y.numpy() % 2}
        exec(block, scope)
    assert len(blocks) >= 3
    assert scope["purified"] is not model and scope["purified"](data.float()).shape == (200, 10)
    assert len(scope["found"].flagged) == len(scope["data"]) and len(scope["poisoned"].indices) == round(
        0.1 * len(scope["data"])
    )
    means = [scope["prediction"][scope["s"] == group].mean() for group in (0, 1)]
    assert abs(means[0] - means[1]) < 1e-9


def test_papers_of_the_readme() -> None:
    for paper in PAPERS.values():
        row = next(line for line in README.splitlines() if re.match(rf"\| \[?{paper.notebook}", line))
        assert paper.short in row and paper.venue in row and paper.arxiv in row
        there = (ROOT / "notebooks" / f"{paper.notebook}.ipynb").is_file()
        assert there == (f"(notebooks/{paper.notebook}.ipynb)" in row), row


def test_links_of_the_readme_exist() -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert link.startswith("https://arxiv.org/abs/") or (ROOT / link).is_file(), link


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.stem)
def test_files_that_the_documents_link_to_exist(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8"))
    assert all(re.match(r"https?://", link) or (page.parent / link).exists() for link in links), links


def test_citation_has_what_the_format_requires_and_names_the_papers() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(cited)
    assert cited["cff-version"] == "1.2.0" and cited["license"] == PYPROJECT["project"]["license"]
    assert cited["version"] == PYPROJECT["project"]["version"]
    assert len(cited["references"]) == len(PAPERS)
    for reference, paper in zip(cited["references"], PAPERS.values(), strict=True):
        assert reference["title"] == paper.title and reference["url"] == f"https://arxiv.org/abs/{paper.arxiv}"
        assert ", ".join(author["family-names"] for author in reference["authors"]) == paper.authors
        where = reference.get("collection-title") or reference.get("journal")
        assert f"{where} {reference['year']}" == paper.venue
        assert reference["type"] in ("conference-paper", "article")
