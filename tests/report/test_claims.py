"""Claims become verdicts, with their numbers, or "not run"."""

import pytest

from paperlib.errors import PaperlibError
from paperlib.report.claims import Claim, NotRun, Verdict, by_margins, evaluate, in_all, margin, to_frame, to_html

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
    assert "1 of the 2 that were decided hold; 1 not run" in html and "&lt;than&gt;" in html
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


@pytest.mark.parametrize(
    ("margins", "word"),
    [
        ([[3, 4, 5, 4, 3]], "holds"),
        ([[-3, -4, -5, -4, -3]], "does not hold"),
        ([[3, 4, 5, 4]], "undecided"),  # too few
        ([[30, -4, 5, -20, 3]], "undecided"),  # too near to 0
        ([[3, 4, 5, 4, 3], [1, -1, 2, -2, 1]], "undecided"),  # one of two
        ([[-3, -4, -5, -4, -3], [1, -1, 2, -2, 1]], "does not hold"),  # whatever the other becomes
        ([[7]], "undecided"),
    ],
)
def test_pairs_of_runs_decide_by_two_standard_errors_of_five(margins, word):
    verdict = by_margins({str(k): margin(values) for k, values in enumerate(margins)}, "of runs", {"ASR": 1.0})
    assert verdict.word == word and (verdict.holds is None) == (word == "undecided") and verdict.numbers


def test_a_margin_by_hand():
    """Mean 2, sample variance 8 / 3, standard error its root over that of 4."""
    found = margin([0, 2, 2, 4])
    assert (found.mean, found.error, found.wins, found.n) == (2.0, pytest.approx((8 / 3) ** 0.5 / 2), 3, 4)
    assert not found.decided and found.needed == 5
    wide = margin([10, -8, 2, 4, 2])  # mean 2, variance of the mean 8.4: 4 * 8.4 * 5 / n must be less than 2 ** 2
    assert wide.error == pytest.approx(8.4**0.5) and wide.needed == 43
    with pytest.raises(NotRun, match="no pair of runs"):
        margin([])


def test_what_is_undecided_says_how_many_pairs_would_decide():
    reason = by_margins({"a less b": margin([10, -8, 2, 4, 2])}, "over 5 models", {"a": 1.0}).reason
    assert reason.startswith("over 5 models; ") and "a less b +2.0 ± 2.9 (above 0 in 4 of 5 pairs)" in reason
    assert reason.endswith("About 43 pairs would decide")
    assert by_margins({"x": margin([1])}, "of runs", {"a": 1.0}).reason.endswith("at least 5 decide")
