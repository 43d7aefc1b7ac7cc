"""Claims become verdicts, with their numbers, or "not run"."""

import pytest

from paperlib.errors import PaperlibError
from paperlib.report.claims import Claim, NotRun, Verdict, evaluate, in_all, to_frame, to_html

RESULTS = {"ft": 40.0, "ft_sam": 4.0}


def _get(results, name):
    if name not in results:
        raise NotRun(f"no result of {name}")
    return results[name]


def _lower(first, second):
    def check(results):
        a, b = _get(results, first), _get(results, second)
        return Verdict(a < b, f"ASR after {first} against {second}", {first: a, second: b})

    return check


CLAIMS = [
    Claim("better", "ft_sam", "FT-SAM leaves a lower ASR than FT.", "Table 1", _lower("ft_sam", "ft")),
    Claim("worse", "ft_sam", "FT leaves a lower ASR <than> FT-SAM.", "Table 1", _lower("ft", "ft_sam")),
    Claim("unknown", "ft_sam", "ANP leaves a lower ASR than FT.", "Table 1", _lower("anp", "ft")),
]


def test_verdicts():
    verdicts = [verdict for _, verdict in evaluate(CLAIMS, RESULTS)]
    assert [verdict.holds for verdict in verdicts] == [True, False, None]
    assert [verdict.word for verdict in verdicts] == ["holds", "does not hold", "not run"]
    assert "no result of anp" in verdicts[2].reason
    assert verdicts[1].numbers == {"ft": 40.0, "ft_sam": 4.0}, "shown whatever the verdict"


def test_the_verdict_follows_the_results():
    assert CLAIMS[0].verdict({"ft": 1.0, "ft_sam": 4.0}).holds is False
    assert CLAIMS[0].verdict({}).holds is None


def test_bugs_are_not_hidden_as_not_run():
    broken = Claim("x", "ft_sam", "x", "x", lambda results: results["absent"])
    with pytest.raises(KeyError):
        broken.verdict(RESULTS)


def test_a_decided_verdict_needs_numbers():
    with pytest.raises(PaperlibError, match="numbers that decided"):
        Verdict(True, "because")


def test_tables():
    verdicts = evaluate(CLAIMS, RESULTS)
    frame = to_frame(verdicts, "laptop")
    assert frame.claim.tolist() == ["better", "better", "worse", "worse", "unknown"]
    assert frame.value.dropna().tolist() == [4.0, 40.0, 40.0, 4.0] and set(frame.scale) == {"laptop"}
    html = to_html(verdicts, "laptop")
    assert "1 of the 2 that were run hold; 1 not run" in html and "&lt;than&gt;" in html
    assert "ft_sam 4, ft 40" in html and html.count("✓") == 1 and html.count("✗") == 1
    assert html == to_html(verdicts, "laptop")


def test_a_claim_about_cases_holds_where_all_do_and_shows_the_numbers_of_all():
    @in_all("every number is positive")
    def check(results):
        """As its function."""
        for name, value in results.items():
            yield value > 0, {name: value}

    assert check.__doc__ == "As its function."
    assert check({"a": 1, "b": 2}) == Verdict(True, "every number is positive", {"a": 1, "b": 2})
    assert check({"a": -1, "b": 2}).holds is False
