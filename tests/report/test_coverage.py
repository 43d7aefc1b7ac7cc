"""The one count of what is ours: from what git records, and nothing else."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from paperlib import papers, paths
from paperlib.report import coverage
from paperlib.report.published import inventory

Recorded = Callable[..., None]


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorded]:
    """Writes what an artefact leaves in git, its printed and our cells."""
    monkeypatch.setattr(paths, "recorded_dir", lambda: tmp_path)
    coverage.recorded.cache_clear()

    def write(name: str, scale: str, rows: list[str], results: int = 1) -> None:
        file = tmp_path / scale / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.with_suffix(".json").write_text(json.dumps({"results": ["key"] * results}))
        file.with_suffix(".csv").write_text("\n".join(["ours,published", *rows]) + "\n")

    yield write
    coverage.recorded.cache_clear()


def test_a_cell_counts_where_both_numbers_stand(recorded: Recorded) -> None:
    recorded("ft_sam/table1", "laptop", ["1,2", ",3", "4,"])
    recorded("ft_sam/table2", "laptop", [",3", ",4"])
    recorded("ft_sam/table3", "laptop", ["1,3", "2,4"])
    recorded("ft_sam/fig3", "laptop", [])
    recorded("ft_sam/fig1", "laptop", [], results=0)
    states = {id_: one for (paper, id_), one in coverage.recorded().items() if paper == "ft_sam"}
    assert str(states["table1"]) == "in part, 1 of 2 printed cells"  # what the paper does not print counts nowhere
    assert str(states["table2"]) == "printed only, 0 of 2 printed cells"
    assert str(states["table3"]) == "ours, 2 of 2 printed cells"
    assert (
        str(states["fig3"]) == "ours" and str(states["fig1"]) == "printed only" and str(states["table4"]) == "nothing"
    )
    rest = len(states) - 5
    assert coverage.count("ft_sam") == (
        f"2 ours, 1 in part, 2 printed only, {rest} nothing; 3 of 6 printed cells have ours beside them"
    )


def test_what_an_earlier_version_computed_is_counted_apart(recorded: Recorded) -> None:
    recorded("ft_sam/table1", "laptop", ["1,2", "1,3"])
    file = coverage.paths.recorded_dir() / "laptop" / "ft_sam" / "table1.csv"
    file.write_text("ours,published,mark\n1,2,\n1,3,computed by an earlier version of FT\n,3,failed: chance\n")
    assert (
        str(coverage.recorded()["ft_sam", "table1"])
        == "in part, 2 of 3 printed cells, of these 1 by an earlier version"
    )
    assert coverage.count("ft_sam").endswith(
        "cells have ours beside them, of these 1 by an earlier version of their method"
    )


def test_the_scale_with_most_of_it_counts(recorded: Recorded) -> None:
    recorded("sau/table3", "laptop", ["1,2", ",3"])
    recorded("sau/table3", "paper", [",2", ",3"])
    assert coverage.recorded()["sau", "table3"].scale == "laptop"


def test_what_git_records_is_counted() -> None:
    found = coverage.recorded()
    assert set(found) == {(item.paper, item.id) for item in inventory()}
    assert found["mp_fair_regression", "table1"].state == "ours"
    assert "of" in coverage.count() and all(coverage.count(paper) for paper in papers.PAPERS)


def test_claims_are_counted_once_each(recorded: Recorded, tmp_path: Path) -> None:
    file = tmp_path / "laptop" / "sau" / "claims.csv"
    file.parent.mkdir(parents=True)
    file.write_text("claim,verdict\na,holds\na,holds\nb,does not hold\nc,not run\n")
    assert coverage.claims("sau") == {"holds": 1, "does not hold": 1, "not run": 1}
    assert coverage.scoreboard("sau")[2] == "1 / 1 / 1" and coverage.claims("vdc") == {}


def test_the_readme_says_what_is_recorded() -> None:
    lines = (paths.ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    for paper, about in papers.PAPERS.items():
        (row,) = [line for line in lines if line.startswith(f"| [{about.notebook}](")]
        assert " | ".join(coverage.scoreboard(paper)) in row
    (total,) = [line for line in lines if line.startswith("| all ")]
    assert " | ".join(coverage.scoreboard()) in total
    earlier = sum(one.earlier for one in coverage.recorded().values())
    assert f"{earlier:,} of our numbers are still by their version before" in " ".join(lines)
