"""Putting the questions: what was answered before is looked up, the rest is asked, each answer is kept at once.

Stopped at any moment (Ctrl-C, a kill, a spend limit, an endpoint that goes down), the same call goes on where it was:
answers are in the cache, keyed by content. Engines that wait for a network are asked from several threads; local ones
get whole pictures in batches. Pictures are read and let go batch by batch.

Introduced in notebook 01.
"""

import hashlib
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from paperlib.errors import PaperlibError, choose
from paperlib.vdc.cache import AnswerCache, Key
from paperlib.vdc.pictures import Pictures, Unreadable
from paperlib.vdc.questions import QuestionBank
from paperlib.vdc.types import Answer, Picture, Question, TextJudge, Usage, VQAEngine, picture_key

GIVE_UP_AFTER = 10
"""Questions in a row that failed in all their tries: then the endpoint counts as down."""


@dataclass(frozen=True)
class Price:
    """What an endpoint charges, and how long requests are; only the user knows the first."""

    usd_per_million_prompt: float = 0.0
    usd_per_million_completion: float = 0.0
    tokens_per_picture: int = 300
    """For the estimate; the account uses what the endpoint reports."""

    def __post_init__(self) -> None:
        for argument in ("usd_per_million_prompt", "usd_per_million_completion", "tokens_per_picture"):
            _amount(argument, getattr(self, argument))

    def of(self, usage: Usage) -> Usage:
        """The usage with its cost."""
        cost = (
            usage.prompt_tokens * self.usd_per_million_prompt
            + usage.completion_tokens * self.usd_per_million_completion
        )
        return replace(usage, cost_usd=cost / 1e6)

    def expected(self, question: Question) -> Usage:
        """What one question will use, roughly: a token is about four letters."""
        prompt = self.tokens_per_picture + len(question.text) // 4 + 20
        return self.of(Usage(1, prompt, 4 if question.kind == "specific" else 60))


def _amount(argument: str, value: float | None) -> None:
    if value is not None and not 0 <= value < float("inf"):
        raise PaperlibError(f"{argument}={value!r} must be a finite number, 0 or more.")


@dataclass(frozen=True)
class Policy:
    """How to ask."""

    concurrency: int = 8
    """Requests at a time, for engines behind a network."""
    batch: int = 64
    """Pictures that are in memory at a time."""
    max_cost_usd: float | None = None
    """Stop before more than this is spent in this call; needs a price."""
    on_error: str = "abstain"
    """A question that failed in all tries: ``abstain`` (it stays unanswered, and is asked again next time) or
    ``raise``."""
    progress: bool = False
    """Show a bar on stderr."""

    def __post_init__(self) -> None:
        choose("on_error", self.on_error, ("abstain", "raise"))
        for argument in ("concurrency", "batch"):
            if getattr(self, argument) < 1:
                raise PaperlibError(f"{argument}={getattr(self, argument)} must be 1 or more.")
        _amount("max_cost_usd", self.max_cost_usd)


@dataclass
class Asked:
    """All answers about N samples; column j is question j of the sample's own label."""

    right: np.ndarray
    """(N, Q) float32: 1, 0, or nan (not asked, or abstained)."""
    p: np.ndarray
    """(N, Q) float32: probability that the answer is right; ``right`` where the engine gives none."""
    n_asked: np.ndarray
    """(N,) int64."""
    classes: np.ndarray | None
    """(N, C) float32: the engine's class probabilities, nan where a sample has none; None: the engine gives none."""
    captions: list[tuple[str, ...]]
    """Answers to the general questions."""
    problems: list[str]
    """Why a sample was not asked about; empty: it was."""
    usage: Usage = field(default_factory=Usage)
    """Of the questions that were asked in this call."""
    from_cache: int = 0
    """Questions whose answer was known."""
    errors: int = 0
    """Questions that got no answer in all tries."""


def estimate(
    pictures: Pictures,
    labels: Sequence[str],
    bank: QuestionBank,
    engine: VQAEngine,
    cache: AnswerCache | None = None,
    price: Price | None = None,
) -> tuple[Usage, int]:
    """What a run will use, before anything is asked: usage, and how many questions are answered already.

    The pictures are read (their content is the key), nothing is sent.
    """
    price = price or Price()
    total, known = Usage(), 0
    seen: set[Key] = set()
    for i, label in enumerate(labels):
        if label not in bank.specific:
            continue
        try:
            key = picture_key(pictures.read(i))
        except Unreadable:
            continue
        keys = {(key, q.key, engine.fingerprint()): q for q in bank.asked(label)}
        found = cache.get_many(keys) if cache else {}
        for k, question in keys.items():
            if k in found or k in seen:
                known += 1
            else:
                seen.add(k)
                total += price.expected(question)
    return total, known


class _Stop(Exception):
    """The spend limit is reached."""


class _Asker:
    """Looks up, asks, stores; keeps the account."""

    def __init__(self, engine: VQAEngine, cache: AnswerCache, policy: Policy, price: Price | None) -> None:
        if policy.max_cost_usd is not None and price is None:
            raise PaperlibError("max_cost_usd needs a price; give price=Price(...) with what the endpoint charges.")
        self.engine, self.cache, self.policy, self.price = engine, cache, policy, price or Price()
        self.usage, self.known, self.errors, self._row = Usage(), 0, 0, 0
        self.fingerprint = engine.fingerprint()
        self._pool = ThreadPoolExecutor(policy.concurrency) if engine.info.concurrent else None
        self._probed = not hasattr(engine, "probe")

    def close(self) -> None:
        if self._pool:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def __call__(
        self, pictures: Sequence[Picture], questions: Sequence[Sequence[Question]]
    ) -> tuple[list[str], dict[Key, Answer]]:
        """Keys of the pictures, and every answer that could be had."""
        keys = [picture_key(picture) for picture in pictures]
        wanted = [(key, q.key, self.fingerprint) for key, asked in zip(keys, questions, strict=True) for q in asked]
        found = self.cache.get_many(wanted)
        todo: dict[str, tuple[Picture, dict[str, Question]]] = {}  # the same picture twice is asked about once
        for key, picture, asked in zip(keys, pictures, questions, strict=True):
            for question in asked:
                if (key, question.key, self.fingerprint) in found:
                    self.known += 1
                else:
                    todo.setdefault(key, (picture, {}))[1][question.key] = question
        if todo:
            found |= self._concurrently(todo) if self._pool else self._locally(todo)
        return keys, found

    def _locally(self, todo: dict[str, tuple[Picture, dict[str, Question]]]) -> dict[Key, Answer]:
        """All questions of a picture together; stored after as many pictures as the engine takes at once."""
        new: dict[Key, Answer] = {}
        entries = list(todo.items())
        size = self.engine.info.at_once or len(entries)
        for part in (entries[i : i + size] for i in range(0, len(entries), size)):
            asked = [list(questions.values()) for _, (_, questions) in part]
            given = self.engine.answer([picture for _, (picture, _) in part], asked)
            for (key, _), questions, answers in zip(part, asked, given, strict=True):
                new |= self._keep(key, questions, answers)
            self.usage += Usage(calls=sum(map(len, asked)))
        return new

    def _keep(self, key: str, questions: Sequence[Question], answers: Sequence[Answer]) -> dict[Key, Answer]:
        """The answers by key; abstentions are not stored, so that a mended engine is asked again."""
        fresh = {(key, q.key, self.fingerprint): answer for q, answer in zip(questions, answers, strict=True)}
        self.cache.put_many({k: answer for k, answer in fresh.items() if not answer.abstained})
        return fresh

    def _probe(self, todo: dict[str, tuple[Picture, dict[str, Question]]]) -> dict[Key, Answer]:
        """The first question, before any other: whether the endpoint answers at all, and how it wants to be asked."""
        key, (picture, questions) = next(iter(todo.items()))
        first = next((q for q in questions.values() if q.kind == "specific"), next(iter(questions.values())))
        if self._too_dear([first], {}):
            raise _Stop
        answer, said = self.engine.probe(picture, first)  # type: ignore[attr-defined]
        self._probed = True
        if self.policy.progress:
            print(f"probe: {said}", file=sys.stderr)
        answer = replace(answer, usage=self.price.of(answer.usage))
        self.usage += answer.usage
        del questions[first.key]
        return self._keep(key, [first], [answer])

    def _concurrently(self, todo: dict[str, tuple[Picture, dict[str, Question]]]) -> dict[Key, Answer]:
        """One job per request, so that what is stored is never more than one answer behind what was paid."""
        assert self._pool is not None
        new: dict[Key, Answer] = {} if self._probed else self._probe(todo)
        together = getattr(self.engine, "together", False)
        jobs: list[tuple[str, Picture, list[Question]]] = []
        for key, (picture, questions) in todo.items():
            asked = list(questions.values())
            jobs += [(key, picture, part) for part in ([asked] if together else [[q] for q in asked]) if part]
        running: dict[Future[dict[Key, Answer]], list[Question]] = {}

        def collect(most: int) -> None:
            """Wait until at most so many are under way."""
            while len(running) > most:
                for done in wait(running, return_when=FIRST_COMPLETED).done:
                    asked = running.pop(done)
                    if (answers := self._result(done.result, len(asked))) is not None:
                        new.update(answers)
                        self.usage += sum((answer.usage for answer in answers.values()), Usage())

        try:
            for key, picture, asked in jobs:
                collect(self.policy.concurrency - 1)
                if self._too_dear(asked, running):
                    collect(0)  # what they really cost decides
                    if self._too_dear(asked, running):
                        raise _Stop
                running[self._pool.submit(self._ask, key, picture, asked)] = asked
            collect(0)
        except BaseException:
            for future in running:  # what is under way ends and is stored by its thread; the rest is not begun
                future.cancel()
            raise
        return new

    def _too_dear(self, asked: Sequence[Question], running: Mapping[Any, list[Question]]) -> bool:
        """Whether one more request may exceed the limit, those under way counted as expected."""
        if self.policy.max_cost_usd is None:
            return False
        ahead = sum(self.price.expected(q).cost_usd for part in [*running.values(), asked] for q in part)
        return self.usage.cost_usd + ahead > self.policy.max_cost_usd

    def _ask(self, key: str, picture: Picture, asked: list[Question]) -> dict[Key, Answer]:
        answers = self.engine.answer([picture], [asked])[0]
        return self._keep(key, asked, [replace(answer, usage=self.price.of(answer.usage)) for answer in answers])

    def _result(self, result: Callable[[], dict[Key, Answer]], questions: int) -> dict[Key, Answer] | None:
        """The answers; None where the request failed in all its tries."""
        from paperlib.vdc.engines.openai_compatible import EndpointDown, NoAnswer

        try:
            answers = result()
            self._row = 0
            return answers
        except NoAnswer as error:
            self.errors, self._row = self.errors + questions, self._row + 1
            if self.policy.on_error == "raise":
                raise
            if self._row >= GIVE_UP_AFTER:
                raise EndpointDown(f"{GIVE_UP_AFTER} questions in a row got no answer; {error}") from error
            return None


def ask(
    pictures: Pictures,
    labels: Sequence[str],
    bank: QuestionBank,
    engine: VQAEngine,
    judge: TextJudge,
    cache: AnswerCache,
    policy: Policy | None = None,
    price: Price | None = None,
    skip: Mapping[int, str] | None = None,
) -> Asked:
    """Ask every sample the questions of its own label and judge the answers.

    Parameters
    ----------
    pictures, labels
        N pictures and the class name that each carries; a name that the bank does not know makes the sample a problem.
    engine
        Already fitted, where it needs that.
    skip
        Samples that are not asked about, and why.

    Raises
    ------
    PaperlibError
        The endpoint refuses or is down, or the spend limit is reached; what was answered is in the cache.
    """
    policy = policy or Policy()
    n, columns = len(labels), {label: k for k, label in enumerate(bank.classes)}
    width = max((len(bank.asked(label)) for label in bank.classes), default=0)
    empty = lambda m: np.full((n, m), np.nan, dtype=np.float32)  # noqa: E731
    out = Asked(empty(width), empty(width), np.zeros(n, np.int64), None, [()] * n, [""] * n)
    asker = _Asker(engine, cache, policy, price)
    started = judge.usage  # a judge may have been used before
    bar = _bar(n, policy.progress)
    try:
        for start in range(0, n, policy.batch):
            rows: list[int] = []
            batch: list[Picture] = []
            for i in range(start, min(start + policy.batch, n)):
                if skip and i in skip:
                    out.problems[i] = skip[i]
                    continue
                if labels[i] not in columns:
                    out.problems[i] = f"unknown label {labels[i]!r}"
                    continue
                try:
                    batch.append(pictures.read(i))
                    rows.append(i)
                except Unreadable as error:
                    out.problems[i] = f"unreadable: {error}"
            questions = [bank.asked(labels[i]) for i in rows]
            keys, answers = asker(batch, questions)
            _judge(out, rows, keys, questions, answers, [labels[i] for i in rows], columns, judge, asker)
            bar.update(min(policy.batch, n - start))
    except _Stop:
        raise PaperlibError(
            f"max_cost_usd={policy.max_cost_usd}: the limit is reached after {asker.usage.calls} calls for "
            f"{asker.usage.cost_usd:.4f} USD; {_kept(cache)} a higher limit goes on from here."
        ) from None
    except PaperlibError as error:
        if asker.usage.calls == 0 and not asker.known:
            raise
        raise type(error)(
            f"{error} {asker.usage.calls} new answers; {_kept(cache)} the same call goes on from here."
        ) from error
    finally:
        asker.close()
        bar.close()
    spent = judge.usage
    judged = Usage(
        spent.calls - started.calls,
        spent.prompt_tokens - started.prompt_tokens,
        spent.completion_tokens - started.completion_tokens,
        seconds=spent.seconds - started.seconds,
    )
    out.usage = asker.usage + asker.price.of(judged)
    out.from_cache, out.errors = asker.known, asker.errors
    return out


def _kept(cache: AnswerCache) -> str:
    return "answers are kept, and" if cache.path else "give a cache file to keep answers; with it,"


def _bar(n: int, show: bool) -> Any:
    from tqdm import tqdm

    return tqdm(total=n, unit="image", disable=not show)


def _judge(
    out: Asked,
    rows: Sequence[int],
    keys: Sequence[str],
    questions: Sequence[Sequence[Question]],
    answers: dict[Key, Answer],
    labels: Sequence[str],
    columns: dict[str, int],
    judge: TextJudge,
    asker: _Asker,
) -> None:
    """Fill the rows of ``out``."""
    general: list[tuple[int, int, Answer, str]] = []
    for i, key, asked, label in zip(rows, keys, questions, labels, strict=True):
        out.n_asked[i] = len(asked)
        captions = []
        for j, question in enumerate(asked):
            answer = answers.get((key, question.key, asker.fingerprint))
            if question.kind == "general":
                captions.append("" if answer is None or answer.abstained else answer.text)
            if answer is None or answer.abstained:
                continue
            if question.kind == "general":
                general.append((i, j, answer, label))
                if answer.classes:
                    if out.classes is None:
                        out.classes = np.full((len(out.right), len(columns)), np.nan, dtype=np.float32)
                    out.classes[i] = answer.classes
                continue
            if answer.p_yes is None:
                yes = answer.text.strip().lower().startswith("yes")
                out.right[i, j] = out.p[i, j] = yes == (question.expected == "yes")
            else:
                out.p[i, j] = answer.p_yes if question.expected == "yes" else 1 - answer.p_yes
                out.right[i, j] = out.p[i, j] > 0.5
        out.captions[i] = tuple(captions)
    pairs = sorted({(answer.text, label) for _, _, answer, label in general})
    verdicts = dict(zip(pairs, _verdicts(pairs, judge, asker.cache), strict=True))
    for i, j, answer, label in general:
        verdict = verdicts[answer.text, label]
        if verdict is None:
            continue
        out.right[i, j] = verdict > 0.5
        # an engine that classifies knows how sure it is, its sentence does not say so
        out.p[i, j] = answer.classes[columns[label]] if answer.classes else verdict


def _verdicts(pairs: Sequence[tuple[str, str]], judge: TextJudge, cache: AnswerCache) -> list[float | None]:
    """The judge's verdicts; those that may have cost something are looked up and stored like answers."""
    if not pairs:
        return []
    digest = lambda text: hashlib.sha256(text.encode()).hexdigest()  # noqa: E731
    fingerprint = judge.fingerprint()
    keys: list[Key] = [(digest(caption), digest(label)[:32], fingerprint) for caption, label in pairs]
    found = cache.get_many(keys)
    new = [i for i, key in enumerate(keys) if key not in found]
    for start in range(0, len(new), 8):  # stored every few pairs: a stopped run repeats little
        part = new[start : start + 8]
        given = judge.same_object([pairs[i][0] for i in part], [pairs[i][1] for i in part])
        fresh = {
            keys[i]: Answer("" if v is None else "yes" if v > 0.5 else "no", v, "score", v is None)
            for i, v in zip(part, given, strict=True)
        }
        cache.put_many({key: answer for key, answer in fresh.items() if not answer.abstained})
        found |= fresh
    return [found[key].p_yes for key in keys]
