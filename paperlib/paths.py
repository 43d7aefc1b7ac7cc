"""Absolute paths. Nothing in a checkout depends on the working directory; an installed package writes into it.

Two environment variables move the big things: ``PAPERLIB_DATA`` (data sets, in their publishers' layouts) and
``PAPERLIB_STORE`` (results and weights of finished runs). Both default to the user's cache directory.
"""

import os
from pathlib import Path

from platformdirs import user_cache_path

ROOT = Path(__file__).resolve().parent.parent
"""The checkout: the folder that holds ``notebooks/``, ``figures/`` and this package."""
CHECKOUT = (ROOT / "pyproject.toml").is_file()
"""Whether this is one; False: the package was installed, and ``ROOT`` is nobody's to write into."""

NOTEBOOKS = (ROOT if CHECKOUT else Path.cwd()) / "notebooks"


def _from_environment(variable: str, default: str) -> Path:
    value = os.environ.get(variable, "")
    return Path(value).expanduser().resolve() if value else user_cache_path("paperlib") / default


def data_dir() -> Path:
    """Where data sets lie: ``$PAPERLIB_DATA``, else the user's cache directory."""
    return _from_environment("PAPERLIB_DATA", "data")


def store_dir() -> Path:
    """Where finished runs lie: ``$PAPERLIB_STORE``, else the user's cache directory."""
    return _from_environment("PAPERLIB_STORE", "runs")


def recorded_dir() -> Path:
    """What git keeps: figures, tables and results. Written only where ``$PAPERLIB_FIGURES`` names it."""
    return (
        ROOT / "figures" if CHECKOUT else Path(__file__).resolve().parent / "recorded"
    )  # the wheel brings the results along


def figures_dir() -> Path:
    """Where figures and tables go: ``$PAPERLIB_FIGURES``, else ``build/figures/`` of the checkout, which git ignores.

    Outside a checkout ``figures/`` of the working directory.
    """
    value = os.environ.get("PAPERLIB_FIGURES", "")
    if value:
        return Path(value).expanduser().resolve()
    return build_dir() / "figures" if CHECKOUT else Path.cwd() / "figures"


def build_dir() -> Path:
    """Where executed notebooks go: ``build/`` of the checkout, else of the working directory."""
    return (ROOT if CHECKOUT else Path.cwd()) / "build"
