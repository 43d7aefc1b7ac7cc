"""The tests run at smoke scale in a temporary folder: nobody's results and figures are read or changed.

`make test` gives the folder (``PAPERLIB_TEST_FOLDER``), so that the notebooks, which run after the tests, find the
models that the tests trained. ``PAPERLIB_DATA`` stays as it is: tests that need real data skip where it is not.
"""

import os
import sys
import tempfile
from pathlib import Path

import pytest

if not (given := os.environ.get("PAPERLIB_TEST_FOLDER")):
    _folder = tempfile.TemporaryDirectory(prefix="paperlib-test-", ignore_cleanup_errors=True)  # removed at exit
    given = _folder.name
os.environ |= {
    "PAPERLIB_SCALE": "smoke",
    "PAPERLIB_STORE": str(Path(given) / "runs"),
    "PAPERLIB_FIGURES": str(Path(given) / "figures"),
}


@pytest.fixture(autouse=True)
def same_weights() -> None:
    """Networks that a test makes without a seed are the same whatever ran before in its process."""
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


@pytest.fixture(autouse=True)
def untrained_models(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most tests of methods take random weights, which the front door would refuse; its own tests carry the mark
    ``learned``."""
    if "learned" not in request.keywords and "torch" in sys.modules:
        from paperlib.models import foreign

        monkeypatch.setattr(foreign, "check_learned", lambda *given: None)
