"""docs/methods.md is what the docstrings say today, names every method, and says which public code each golden file is
of."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def methods() -> ModuleType:
    spec = importlib.util.spec_from_file_location("methods_page", ROOT / "docs" / "methods.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_current(methods: ModuleType) -> None:
    assert methods.PAGE.read_text(encoding="utf-8") == methods.page(), "run python docs/methods.py"


def test_every_method_and_every_golden_file_is_on_it(methods: ModuleType) -> None:
    text = methods.page()
    headings = [name for line in text.splitlines() if line.startswith("### ") for name in line[4:].split(", ")]
    for registry in methods.REGISTRIES.values():
        assert {method.title for method in registry.values()} <= set(headings)
    files = {file for found in methods.golden().values() for file, *_ in found}
    assert files == {one.stem for one in methods.GOLDEN.glob("*.npz")}


def test_what_a_docstring_says(methods: ModuleType) -> None:
    text = (
        'X: it works.\n\nDoe, Roe, "A Title, of\nTwo Lines", VENUE 2020 (arXiv 1.2), Section 3. It does.\n\n'
        "Differences from the paper\n1. One.\n2. Two,\n   three.\n\nMore.\n\nIntroduced in notebook 05."
    )
    assert methods.paper(text) == 'Doe, Roe, "A Title, of Two Lines", VENUE 2020 (arXiv 1.2)'
    assert methods.differences(text) == "Differences from the paper\n\n1. One.\n2. Two,\n   three.\n\nMore."
    assert methods.differences("X.") == methods.paper("X.") == ""
