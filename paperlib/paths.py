"""Absolute paths. Nothing in this project depends on the working directory.

Two environment variables move the big things: ``PAPERLIB_DATA`` (data sets, in their publishers' layouts) and
``PAPERLIB_STORE`` (results and weights of finished runs). Both default to the user's cache directory.
"""

import os
from pathlib import Path

from platformdirs import user_cache_path

ROOT = Path(__file__).resolve().parent.parent
"""The checkout: the folder that holds ``notebooks/``, ``figures/`` and this package."""

NOTEBOOKS = ROOT / "notebooks"


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
    return ROOT / "figures"


def figures_dir() -> Path:
    """Where figures and tables go: ``$PAPERLIB_FIGURES``, else ``build/figures/`` of the checkout, which git ignores."""
    value = os.environ.get("PAPERLIB_FIGURES", "")
    return Path(value).expanduser().resolve() if value else ROOT / "build" / "figures"
