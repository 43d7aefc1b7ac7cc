"""Endpoints as they are: models that think, refuse parameters, charge nothing sensible, drop connections. Real HTTP on
this machine."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from vdc_server import CLASSES, pictures, serving

from paperlib.errors import PaperlibError
from paperlib.vdc.asking import Policy, Price
from paperlib.vdc.cache import AnswerCache
from paperlib.vdc.cleanse import cleanse
from paperlib.vdc.engines.openai_compatible import OpenAIEngine, png
from paperlib.vdc.questions import bank
from paperlib.vdc.types import Answer, Question

LABELS, GIVEN, DIRTY = [0, 1, 2, 0, 1, 2], [0, 1, 2, 1, 1, 0], [3, 5]
BANK = bank("cifar10", CLASSES).limited(1, 2)
IS_CAT = Question("Is there a cat in this picture?")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


def made(server: Any, **options: Any) -> OpenAIEngine:
    return OpenAIEngine(server.url, "toy", **{"backoff": (0.01, 0.02), "timeout_s": 5.0, **options})


def run(server: Any, cache: Path | None = None, **options: Any) -> Any:
    return cleanse(pictures(LABELS), GIVEN, CLASSES, questions=BANK, engine=made(server, **options), cache=cache)


@pytest.mark.parametrize("how", ["field", "tags", "stubborn"])
def test_models_that_think_are_asked_not_to_given_room_and_read(how: str) -> None:
    with serving(thinking=how) as server:
        report = run(server)
        assert report.dirty.tolist() == DIRTY and report.counts()["undecided"] == 0
        if how != "tags":
            assert server.bodies[-1]["reasoning_effort"] == "none"
            # known after the first question: nothing is asked twice later
            assert sum("reasoning_effort" not in body for body in server.bodies) == 1


def test_a_model_that_only_thinks_stops_the_run_before_it_costs_anything() -> None:
    with serving(thinking="always") as server, pytest.raises(PaperlibError, match="nothing after its thinking"):
        run(server)
    assert server.requests == 2


def test_a_cache_that_holds_empty_answers_heals(tmp_path: Path) -> None:
    cache = tmp_path / "a.sqlite"
    with serving() as server:
        store, engine = AnswerCache(cache), made(server)
        from paperlib.vdc.types import picture_key

        for x, label in zip(pictures(LABELS), GIVEN, strict=True):
            for question in BANK.asked(CLASSES[label]):  # as earlier versions stored them
                key = (picture_key(x), question.key, engine.fingerprint())
                store.put_many({key: Answer("", abstained=True)})
        store.close()
        report = run(server, cache)
        assert report.from_cache == 0 and report.dirty.tolist() == DIRTY
    with serving(fault=lambda n: "refusal" if n % 3 == 2 else None) as server:
        first = run(server, tmp_path / "b.sqlite", together="never")
        assert (
            first.from_cache + len(server.seen) > 0
            and first.samples["n_answered"].sum() < first.samples["n_asked"].sum()
        )
        server.fault = lambda n: None
        assert run(server, tmp_path / "b.sqlite", together="never").samples["n_answered"].sum() == 18


@pytest.mark.parametrize("how", ["refuse", "forbid", "ignore"])
def test_without_log_probabilities_all_questions_of_a_picture_go_in_one_request(how: str) -> None:
    with serving(logprobs=how) as server:
        report = run(server)
        assert report.dirty.tolist() == DIRTY
        # the probe, once more without log-probabilities where they are refused, then one request a picture
        assert server.requests == (7 if how == "ignore" else 8)
        assert all("response_format" in body for body in server.bodies[-6:])
    with serving(logprobs=how) as server:
        assert run(server, together="never").dirty.tolist() == DIRTY
        assert not any("response_format" in body for body in server.bodies)


@pytest.mark.parametrize("how", ["refuse", "prose"])
def test_a_server_without_schemas_is_asked_one_by_one(how: str) -> None:
    with serving(logprobs="ignore", schema=how) as server:
        report = run(server)
        assert report.dirty.tolist() == DIRTY and report.counts()["undecided"] == 0


def test_log_probabilities_can_be_switched_off() -> None:
    with serving() as server:
        assert run(server, logprobs="never", together="never").dirty.tolist() == DIRTY
        assert not any("logprobs" in body for body in server.bodies)


def test_pictures_go_in_their_own_size_and_are_enlarged_where_a_server_wants_it() -> None:
    import base64
    import io

    from PIL import Image

    def side(body: dict[str, Any]) -> int:
        data = body["messages"][0]["content"][0]["image_url"]["url"].split(",")[1]
        return Image.open(io.BytesIO(base64.b64decode(data))).width

    with serving() as server:
        run(server)
        assert {side(body) for body in server.bodies} == {8}
    with serving(least=28) as server:
        assert run(server).dirty.tolist() == DIRTY
        assert [side(body) for body in server.bodies].count(8) == 1  # once
    assert len(png(pictures([0])[0])) < 1000


@pytest.mark.parametrize("fault", [500, 429, "timeout", "truncated", "dropped"])
def test_faults_in_the_middle_are_survived(fault: Any) -> None:
    with serving(fault=lambda n: fault if n % 4 == 1 else None) as server:
        report = run(server, timeout_s=0.4)
        assert report.dirty.tolist() == DIRTY and report.errors == 0


def test_retry_after_is_obeyed() -> None:
    with serving(fault=lambda n: 429 if n == 0 else None, retry_after="0.5") as server:
        engine, start = made(server, backoff=(0.01, 5.0)), time.monotonic()
        engine.answer(list(pictures([0])), [[IS_CAT]])
        assert time.monotonic() - start >= 0.5 and server.requests == 2


@pytest.mark.parametrize(
    "usage", ["many", {"prompt_tokens": "lots"}, {"prompt_tokens": None}, [1], {"prompt_tokens": float("nan")}]
)
def test_an_account_that_is_none_counts_as_nothing(usage: Any) -> None:
    with serving(usage=usage) as server:
        report = run(server)
        assert report.dirty.tolist() == DIRTY and report.usage.prompt_tokens == 0


def test_the_probe_is_shown_and_is_one_of_the_questions(capsys: pytest.CaptureFixture[str]) -> None:
    with serving() as server:
        cleanse(pictures(LABELS), GIVEN, CLASSES, questions=BANK, engine=made(server), policy=Policy(progress=True))
        assert server.requests == 18  # no request more than there are questions
    said = capsys.readouterr().err
    assert "probe: Is there a cat in this picture? 'Yes' (P(yes) 0.90; 100 tokens sent" in said


def test_the_spending_limit_holds_for_the_probe_too() -> None:
    with serving() as server, pytest.raises(PaperlibError, match="the limit is reached after 0 calls"):
        cleanse(
            pictures(LABELS),
            GIVEN,
            CLASSES,
            questions=BANK,
            engine=made(server),
            price=Price(1000.0),
            policy=Policy(max_cost_usd=0.01),
        )
    assert server.requests == 0


def test_proxies_are_passed_by_for_this_machine_and_named_where_they_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://me:secret@127.0.0.1:9")
    with serving() as server:
        assert run(server).dirty.tolist() == DIRTY
    far = OpenAIEngine("http://192.0.2.1/v1", "toy", retries=0, timeout_s=2.0)
    with pytest.raises(PaperlibError, match=r"by way of HTTP_PROXY=http://127.0.0.1:9") as caught:
        far.answer(list(pictures([0])), [[IS_CAT]])
    assert "secret" not in str(caught.value)
    monkeypatch.delenv("HTTP_PROXY")
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    try:
        import socksio  # noqa: F401
    except ImportError:
        with pytest.raises(PaperlibError, match=r"ALL_PROXY=socks5://127.0.0.1:9 cannot be used .*httpx\[socks\]"):
            OpenAIEngine("http://192.0.2.1/v1", "toy")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"timeout_s": float("nan")}, "timeout_s=nan"),
        ({"timeout_s": 0.0}, "timeout_s=0.0"),
        ({"rpm": -1.0}, "rpm=-1.0"),
        ({"retries": -1}, "retries=-1"),
        ({"together": "maybe"}, "together='maybe'"),
    ],
)
def test_options_of_the_endpoint(options: dict[str, Any], said: str) -> None:
    with pytest.raises(PaperlibError, match=said):
        OpenAIEngine("http://localhost/v1", "m", **options)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_amounts_of_money(value: float) -> None:
    with pytest.raises(PaperlibError, match=r"max_cost_usd=.* must be a finite number"):
        Policy(max_cost_usd=value)
    with pytest.raises(PaperlibError, match=r"usd_per_million_prompt=.* must be a finite number"):
        Price(value)


def test_a_reply_together_without_one_answer_is_asked_again_one_by_one() -> None:
    with serving(logprobs="ignore") as server:
        engine = made(server, together="always")
        asked = [IS_CAT, Question("Is there a dog in this picture?"), Question("What is it?", "general")]
        answers = engine.answer(list(pictures([0])), [asked])[0]
        assert [a.text for a in answers] == ["yes", "no", "I see a cat."] and server.requests == 1
        assert sum(a.usage.calls for a in answers) == 1
        assert json.loads(json.dumps(server.bodies[0]["response_format"]))["type"] == "json_schema"
