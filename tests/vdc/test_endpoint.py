"""The endpoint engine against a real server: probabilities, faults, refusals, resuming, money, and that no key is
kept."""

import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vdc_server import CLASSES, KEY, pictures, serving

from paperlib.errors import PaperlibError
from paperlib.vdc.asking import Policy, Price
from paperlib.vdc.cleanse import caption_bank, cleanse_pairs
from paperlib.vdc.cleanse import cleanse as cleanse_all
from paperlib.vdc.engines.openai_compatible import EndpointDown, NoAnswer, OpenAIEngine, p_yes
from paperlib.vdc.judges import ChainJudge, ChatJudge, LexicalJudge
from paperlib.vdc.questions import bank, from_file, suggest
from paperlib.vdc.report import CleanReport
from paperlib.vdc.types import Question

LABELS = [0, 1, 2, 0, 1, 2]
GIVEN = [0, 1, 2, 1, 1, 0]  # the fourth and the last are wrong
DIRTY = [3, 5]
IS_CAT = Question("Is there a cat in this picture?")


BANK = bank("cifar10", CLASSES).limited(1, 2)
ALL = 3 * len(LABELS)


def cleanse(x: Any, **options: Any) -> CleanReport:
    """Three questions about each of the six pictures."""
    return cleanse_all(x, GIVEN, CLASSES, **{"questions": BANK, **options})


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def made(server: Any, **options: Any) -> OpenAIEngine:
    return OpenAIEngine(server.url, "toy", **{"backoff": (0.01, 0.02), "timeout_s": 5.0, **options})


def one(engine: OpenAIEngine, question: Question = IS_CAT) -> Any:
    return engine.answer(list(pictures([0])), [[question]])[0][0]


def test_p_yes_adds_all_spellings_and_leaves_other_words_out() -> None:
    log = np.log
    assert p_yes([("Yes", log(0.5)), (" yes", log(0.1)), ("No", log(0.2)), ("It", log(0.2))]) == pytest.approx(0.75)
    assert p_yes([("▁No", 0.0)]) == 0
    assert p_yes([("The", log(0.999)), ("yes", log(0.001))]) is None
    assert p_yes([]) is None


def test_probabilities_find_the_wrong_labels() -> None:
    with serving() as server:
        engine = made(server)
        report = cleanse(pictures(LABELS), engine=engine, truth=np.isin(range(6), DIRTY))
        assert one(engine).p_yes == pytest.approx(0.9 * 0.9 / (0.9 * 0.9 + 0.1 * 0.9))
        assert one(engine).mode == "logprob"
    assert report.dirty.tolist() == DIRTY
    assert report.samples["suggested_label"].tolist() == ["", "", "", "cat", "", "ship"]
    assert report.usage.calls == len(server.seen) - 2 == sum(report.samples["n_asked"])
    assert report.usage.prompt_tokens == 100 * report.usage.calls
    assert report.rates is not None and report.rates.tpr == 100 and report.rates.fpr == 0
    body = server.bodies[0]
    assert body["temperature"] == 0 and body["model"] == "toy"


@pytest.mark.parametrize("mode", ["ignore", "refuse"])
def test_servers_without_probabilities_are_read_and_the_refusal_is_remembered(mode: str) -> None:
    with serving(logprobs=mode) as server:
        engine = made(server)
        answer = one(engine)
        assert (answer.text, answer.p_yes, answer.mode) == ("Yes", None, "text")
        one(engine)
        assert server.requests == (2 if mode == "ignore" else 3)
        assert ("logprobs" in server.bodies[-1]) == (mode == "ignore")
        report = cleanse(pictures(LABELS), engine=engine)
    assert report.dirty.tolist() == DIRTY


@pytest.mark.parametrize("fault", [429, 500, 503, "timeout", "truncated"])
def test_passing_faults_are_retried(fault: str | int) -> None:
    with serving(fault=lambda n: fault if n < 2 else None) as server:
        answer = one(made(server, timeout_s=0.3))
        assert answer.p_yes is not None and answer.p_yes > 0.5
        assert server.requests == 3


def test_lasting_faults_are_an_error_that_is_not_stored(tmp_path: Path) -> None:
    with serving(fault=lambda n: 500) as server, pytest.raises(NoAnswer, match="3 tries; last: status 500"):
        one(made(server, retries=2))
    broken = {3, 8}
    with serving(fault=lambda n: 503 if n in broken else None) as server:
        options: dict[str, Any] = {"engine": made(server, retries=0), "cache": tmp_path / "a.sqlite"}
        report = cleanse(pictures(LABELS), **options)
        assert report.errors == 2 and report.samples["n_answered"].sum() == report.samples["n_asked"].sum() - 2
        again = cleanse(pictures(LABELS), **options)
        assert again.errors == 0 and again.usage.calls == 2  # only what had failed
        broken.add(server.requests)
        with pytest.raises(NoAnswer):
            cleanse(pictures(LABELS, seed=1), policy=Policy(on_error="raise"), **options)


@pytest.mark.parametrize("fault", ["refusal", "empty"])
def test_refusals_are_abstentions(fault: str) -> None:
    with serving(fault=lambda n: fault) as server:
        assert one(made(server)).abstained and one(made(server), Question("What is it?", "general")).abstained
        if fault == "empty":  # nothing is spent on a model that says nothing
            with pytest.raises(PaperlibError, match="replied with nothing"):
                cleanse(pictures(LABELS), engine=made(server))
            return
        report = cleanse(pictures(LABELS), engine=made(server))
    assert set(report.samples["status"]) == {"undecided"} and report.samples["score"].isna().all()


def test_an_endpoint_that_is_down_is_said_at_once_and_the_run_can_be_resumed(tmp_path: Path) -> None:
    with serving() as server:
        url = server.url
    engine = OpenAIEngine(url, "toy", retries=1, backoff=(0.01, 0.01))
    with pytest.raises(EndpointDown, match=r"did not answer in 2 tries; last: no connection"):
        cleanse(pictures(LABELS), engine=engine)
    cache = tmp_path / "a.sqlite"
    policy = Policy(concurrency=1)
    with serving(fault=lambda n: 500 if n >= 5 else None) as server:
        with pytest.raises(EndpointDown, match=r"10 questions in a row .* 5 new answers; answers are kept"):
            cleanse(pictures(LABELS), engine=made(server, retries=0), cache=cache, policy=policy)
        server.fault = lambda n: None
        report = cleanse(pictures(LABELS), engine=made(server), cache=cache)
        assert report.from_cache == 5
        assert max(Counter(server.seen).values()) == 1


def test_interrupted_and_resumed_it_asks_no_question_twice(tmp_path: Path) -> None:
    class Interrupted(OpenAIEngine):
        left = 7

        def answer(self, *arguments: Any) -> Any:
            if self.left == 0:
                raise KeyboardInterrupt
            self.left -= 1
            return super().answer(*arguments)

    cache = tmp_path / "a.sqlite"
    with serving(delay=0.01) as server:
        with pytest.raises(KeyboardInterrupt):
            cleanse(pictures(LABELS), engine=Interrupted(server.url, "toy"), cache=cache)
        before = len(server.seen)
        assert 0 < before < ALL
        report = cleanse(pictures(LABELS), engine=made(server), cache=cache)
        assert report.from_cache == before and report.usage.calls == ALL - before
        assert len(server.seen) == ALL and max(Counter(server.seen).values()) == 1
        again = cleanse(pictures(LABELS), engine=made(server), cache=cache)
        assert again.usage.calls == 0 and len(server.seen) == ALL
    assert again.dirty.tolist() == DIRTY


def test_killed_and_resumed_it_repeats_at_most_what_was_under_way(tmp_path: Path) -> None:
    code = textwrap.dedent("""
        import sys; sys.path.insert(0, sys.argv[3])
        from vdc_server import CLASSES, pictures
        from paperlib.vdc.cleanse import cleanse
        from paperlib.vdc.asking import Policy
        from paperlib.vdc.engines.openai_compatible import OpenAIEngine
        from paperlib.vdc.questions import bank
        few = bank("cifar10", CLASSES).limited(1, 2)
        cleanse(pictures([0, 1, 2, 0, 1, 2]), [0, 1, 2, 1, 1, 0], CLASSES,
                questions=few, engine=OpenAIEngine(sys.argv[1], "toy"),
                cache=sys.argv[2], policy=Policy(concurrency=2))
    """)
    cache = tmp_path / "a.sqlite"
    with serving(delay=0.03) as server:
        command = [sys.executable, "-c", code, server.url, str(cache), str(Path(__file__).parents[1])]
        process = subprocess.Popen(command)
        while len(server.seen) < 7:
            time.sleep(0.005)
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        killed = len(server.seen)
        report = cleanse(pictures(LABELS), engine=made(server), cache=cache)
        assert report.from_cache >= killed - 2  # two were asked at a time
        assert len(server.seen) - len(set(server.seen)) <= 2
    assert report.dirty.tolist() == DIRTY


def test_the_key_is_needed_sent_and_never_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("TOY_KEY", raising=False)
    with serving(key=KEY) as server:
        with pytest.raises(PaperlibError, match="'TOY_KEY': this environment variable is not set"):
            made(server, api_key_env="TOY_KEY")
        with pytest.raises(PaperlibError, match=r"refuses access, status 401 .*no key was sent"):
            one(made(server))
        monkeypatch.setenv("TOY_KEY", "sk-wrong-key-123")
        with pytest.raises(PaperlibError, match="the key in TOY_KEY") as caught:
            one(made(server, api_key_env="TOY_KEY"))
        assert "sk-wrong" not in str(caught.value) and "[key]" in str(
            caught.value
        )  # the server repeats what it was sent
        monkeypatch.setenv("TOY_KEY", KEY)
        engine = made(server, api_key_env="TOY_KEY", retries=0)
        server.fault = lambda n: 500 if n % 5 == 4 else None  # whose body repeats the key
        report = cleanse(pictures(LABELS), engine=engine, cache=tmp_path / "a.sqlite")
        server.fault = lambda n: None
        server.chat_reply = f"Your key is {KEY}"
        assert KEY not in engine.chat("hello")
        with pytest.raises(NoAnswer) as failed:
            server.fault = lambda n: 500
            one(engine)
    report.to_csv(tmp_path)
    report.to_html(tmp_path / "index.html")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) >= 6
    assert not any(KEY.encode() in path.read_bytes() for path in files)
    said = capsys.readouterr()
    assert KEY not in said.out + said.err + repr(engine) + str(engine.info) + engine.fingerprint() + str(failed.value)


def test_pictures_go_to_the_named_endpoint_only() -> None:
    with serving(fault=lambda n: "moved") as server, pytest.raises(PaperlibError, match="status 307"):
        one(made(server))


def test_cost_is_estimated_counted_and_limited(tmp_path: Path) -> None:
    price = Price(usd_per_million_prompt=1000.0, usd_per_million_completion=0.0, tokens_per_picture=80)
    cache = tmp_path / "a.sqlite"
    with serving() as server:
        options: dict[str, Any] = {"engine": made(server), "cache": cache, "price": price}
        with pytest.raises(
            PaperlibError, match=r"max_cost_usd=1.05: the limit is reached after \d+ calls .* kept, and a higher"
        ):
            cleanse(pictures(LABELS), policy=Policy(max_cost_usd=1.05), **options)
        assert len(server.seen) * 0.1 <= 1.05 and len(server.seen) > 5  # each request reports 100 tokens: 0.1 USD
        report = cleanse(pictures(LABELS), **options)
        assert report.usage.cost_usd == pytest.approx(0.1 * report.usage.calls)
        assert len(server.seen) == ALL
    with pytest.raises(PaperlibError, match="max_cost_usd needs a price"):
        cleanse(pictures(LABELS), engine=options["engine"], policy=Policy(max_cost_usd=1.0))


def test_requests_run_side_by_side_but_no_faster_than_allowed() -> None:
    with serving(delay=0.1) as server:
        cleanse(pictures(LABELS), engine=made(server), policy=Policy(concurrency=5))
        assert 3 <= server.most_active <= 5
    with serving() as server:
        engine, start = made(server, rpm=600), time.monotonic()
        for _ in range(4):
            one(engine)
        assert time.monotonic() - start > 0.3 - 0.01


def test_a_chat_judge_decides_where_words_do_not(tmp_path: Path) -> None:
    with serving(chat_reply="Yes.") as server:
        chat = made(server)
        judge = ChainJudge([LexicalJudge(), ChatJudge(chat)])
        assert judge.same_object(["a cat", "a tabby"], ["cat", "cat"]) == [1.0, 1.0]
        assert server.requests == 1  # the first needed no model
        server.chat_reply = "Perhaps"
        assert judge.same_object(["a tabby"], ["cat"]) == [0.0]  # undecided: the words' verdict stays
        assert judge.usage.calls == 2
        server.chat_reply = "no"
        cache = tmp_path / "a.sqlite"
        cleanse(pictures(LABELS), engine=chat, judge=judge, cache=cache)
        calls = judge.usage.calls
        assert calls > 2
        cleanse(pictures(LABELS), engine=chat, judge=judge, cache=cache)
        assert judge.usage.calls == calls  # verdicts are kept too


def test_suggested_questions_are_refused_until_reviewed(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    with serving() as server:
        engine = made(server)
        server.chat_reply = 'Here: ["Is there fur?", "Are there whis'  # cut off
        with pytest.raises(PaperlibError, match="no JSON list of questions, three times"):
            suggest(engine.chat, ["cat"], path, 2)
        server.chat_reply = '```json\n["Is there fur?", "Are there whiskers?", "Is it small?"]\n```'
        suggest(engine.chat, ["cat"], path, 2)
        with pytest.raises(PaperlibError, match="is not overwritten"):
            suggest(engine.chat, ["cat"], path, 2)
    with pytest.raises(PaperlibError, match="not reviewed"):
        from_file(path)
    path.write_text(path.read_text().replace("reviewed: false", "reviewed: true"))
    questions = bank(path, ["cat"])
    assert [q.text for q in questions.specific["cat"]] == ["Is there fur?", "Are there whiskers?"]
    assert len(questions.general) == 2


def test_pairs_of_pictures_and_captions() -> None:
    captions = ["a cat on a sofa", "a dog", "a ship at sea", "a dog in the rain"]
    with serving() as server:
        report = cleanse_pairs(pictures([0, 1, 2, 0]), captions, engine=made(server))
        assert report.dirty.tolist() == [3]
        server.chat_reply = '["Is there a ship?", "Is it at sea?"]'
        assert len(caption_bank(["a ship at sea"], made(server).chat).specific["a ship at sea"]) == 2
    with pytest.raises(PaperlibError, match="empty one"):
        caption_bank(["a", " "])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"base_url": "localhost:8000"}, "is no address"),
        ({"base_url": "http://me:secret@localhost/v1"}, "user name, password or query"),
        ({"model": ""}, "model is empty"),
        ({"logprobs": "maybe"}, "logprobs='maybe'"),
    ],
)
def test_what_is_no_endpoint(options: dict[str, str], said: str) -> None:
    with pytest.raises(PaperlibError, match=said) as caught:
        OpenAIEngine(**{"base_url": "http://localhost/v1", "model": "m", **options})  # type: ignore[arg-type]
    assert "secret" not in str(caught.value)
