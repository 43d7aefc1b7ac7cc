"""Made-up results have two models where real ones have more."""

import pytest

from paperlib.report import claims


@pytest.fixture(autouse=True)
def two_pairs_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule itself is tested in tests/report/test_claims.py."""
    monkeypatch.setattr(claims, "PAIRS", 2)
