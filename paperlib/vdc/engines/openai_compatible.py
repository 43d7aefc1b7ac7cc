"""The endpoint engine: any server that speaks OpenAI's chat completions and accepts pictures.

vLLM, Ollama, llama.cpp's server and hosted services speak this protocol. A picture is sent as a PNG inside the request,
one request per question, the question as the prompt (as in the paper), temperature 0.

P(yes) is read off the first token's distribution where the server gives it (``logprobs``): with the candidates that
read as yes or no, in any case and with any leading space,

    P(yes) = sum of P(yes-tokens) / (sum of P(yes-tokens) + sum of P(no-tokens)).

Where it does not, the text is read: an answer that begins with yes or no, anything else is an abstention. A server that
refuses an optional parameter (some refuse ``logprobs``, some ``temperature``) is asked without it from then on. A model
that thinks (``<think>``, ``reasoning``, or no word left of its tokens) is asked not to, and gets room for it if it
does. Pictures go in their own size; one that a server calls too small is enlarged. Before a run one question is put
alone (:meth:`OpenAIEngine.probe`).

The key is read from the environment variable that the user names, when the engine is made. It is sent to that endpoint
and nowhere else: it is no part of the fingerprint, and is blotted out of every text a server sends. Redirects are not
followed.

Introduced in notebook 01.
"""

import base64
import hashlib
import io
import json
import math
import os
import random
import re
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from html import escape
from typing import Any
from urllib.parse import quote, urlsplit

import numpy as np
from PIL import Image

from paperlib.errors import PaperlibError, choose
from paperlib.vdc.questions import QuestionBank
from paperlib.vdc.types import Answer, EngineInfo, Picture, Question, Usage

ONE_WORD = " Answer with one word, yes or no."
_REFUSAL = re.compile(
    r"^\W*(i['’]?m sorry|sorry|i am sorry|i can(?:no|['’])?t|i am (?:not able|unable)|as an ai)\b", re.I
)
_YES_NO = re.compile(r"^\W*(yes|no)\b", re.I)
_OPTIONAL = (
    "top_logprobs", "logprobs", "temperature", "seed", "max_tokens", "reasoning_effort", "chat_template_kwargs",
    "response_format",
)  # fmt: skip
_TOO_SMALL = re.compile(
    r"too small|must be larger than|at least \d+ ?(px|pixels|x)|minimum (size|dimension|width|height)", re.I
)
_THOUGHT = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|$)", re.S | re.I)
ENLARGED = 256
"""Pixels of the longer side, for models that refuse small pictures."""
THINKING_TOKENS = 2_000
"""Room for a model that thinks although it was asked not to."""
TRANSIENT = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})


class NoAnswer(PaperlibError):
    """One question got no answer in all tries; the next one may."""


class EndpointDown(PaperlibError):
    """Nothing answers at the endpoint."""


class _TooSmall(Exception):
    """The server takes no picture of this size."""


class _NotTogether(Exception):
    """The server takes no JSON schema."""


def png(picture: Picture, least: int = 0) -> bytes:
    """The picture as PNG in its own size; with ``least``, one whose longer side has fewer pixels is enlarged to it."""
    image = Image.fromarray(np.ascontiguousarray(picture))
    if max(image.size) < least:
        factor = least / max(image.size)
        image = image.resize(
            (round(image.width * factor), round(image.height * factor)), resample=Image.Resampling.BICUBIC
        )
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)  # lossless at any level, and this is ten times faster
    return buffer.getvalue()


def p_yes(candidates: Sequence[tuple[str, float]]) -> float | None:
    """P(yes) from the first token's candidates (token, log-probability); None where neither yes nor no has 1 %."""
    mass = {"yes": 0.0, "no": 0.0}
    for token, logprob in candidates:
        word = token.strip(" \n\t\"'.,*▁Ġ").lower()
        if word in mass:
            mass[word] += math.exp(min(logprob, 0.0))
    total = mass["yes"] + mass["no"]
    return mass["yes"] / total if total >= 0.01 else None


class OpenAIEngine:
    """A client of one endpoint.

    Parameters
    ----------
    base_url
        Address up to and including ``/v1``, e.g. that of a vLLM or Ollama server.
    model
        Name of the model there.
    api_key_env
        Name of the environment variable that holds the key; empty: no key is sent.
    logprobs
        ``auto``: ask for log-probabilities until the server refuses; ``never``: read the text.
    together
        All questions of a picture in one request, answered as JSON: ``never``, ``always``, or ``auto``: where the
        server gives no log-probabilities, which one answer for all could not carry. A server that refuses is asked one
        by one.
    retries
        Tries after the first, for time-outs, dropped connections, cut-off replies and status 408, 409, 425, 429, 5xx.
    backoff
        First and longest wait in seconds; the wait doubles, with a random share. A ``Retry-After`` of the server
        counts.
    timeout_s
        For one request.
    rpm
        Most requests per minute; None: no limit.
    caption_tokens
        Longest answer to a general question.

    Raises
    ------
    PaperlibError
        The address is no http(s) address, holds a password, or the variable is not set.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        api_key_env: str = "",
        logprobs: str = "auto",
        together: str = "auto",
        retries: int = 5,
        backoff: tuple[float, float] = (1.0, 60.0),
        timeout_s: float = 60.0,
        rpm: float | None = None,
        caption_tokens: int = 100,
    ) -> None:
        import httpx

        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise PaperlibError(f"base_url={base_url!r} is no address; it must look like http://localhost:8000/v1.")
        if parts.username or parts.password or parts.query:
            raise PaperlibError("base_url holds a user name, password or query; keys are read from api_key_env only.")
        choose("logprobs", logprobs, ("auto", "never"))
        choose("together", together, ("auto", "always", "never"))
        for argument, value, least in (("timeout_s", timeout_s, 0.0), ("rpm", rpm, 0.0), ("retries", retries, -1)):
            if value is not None and not least < value < math.inf:
                raise PaperlibError(f"{argument}={value!r} must be a finite number above {least:g}.")
        if not model:
            raise PaperlibError("model is empty; name the model that the endpoint serves.")
        self.base_url, self.model, self._key_env = base_url.rstrip("/"), model, api_key_env
        self._key = os.environ.get(api_key_env, "").strip() if api_key_env else ""
        if api_key_env and not self._key:
            raise PaperlibError(
                f"api_key_env={api_key_env!r}: this environment variable is not set; put the endpoint's key into it."
            )
        self.retries, self.backoff, self.timeout_s = retries, backoff, timeout_s
        self.logprobs, self.caption_tokens = logprobs, caption_tokens
        self._without = {"logprobs", "top_logprobs"} if logprobs == "never" else set[str]()
        self._gap, self._next, self._lock = 60 / rpm if rpm else 0.0, 0.0, threading.Lock()
        self.together_option, self._together = together, together == "always"
        self._least, self._thinks = 0, False
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        local = parts.hostname in ("localhost", "127.0.0.1", "::1")
        # no proxy stands between this machine and itself
        self._proxy = "" if local else _proxy(parts.scheme)
        try:
            self._client = httpx.Client(headers=headers, timeout=timeout_s, follow_redirects=False, trust_env=not local)
        except (ImportError, ValueError) as error:
            raise PaperlibError(
                f"{self._proxy or 'a proxy variable of the environment'} cannot be used ({error}); for socks5://"
                " install httpx[socks], or unset the variable."
            ) from None
        self.info = EngineInfo(
            name="openai",
            model=model,
            license="of the model",
            gives_p_yes=logprobs == "auto",
            offline=local,
            concurrent=True,
            note=f"Answers of the model {model} behind {parts.hostname}, to which the pictures were sent.",
        )

    def __repr__(self) -> str:
        return f"OpenAIEngine({self.base_url!r}, {self.model!r})"

    def fit(self, bank: QuestionBank, reference: object = None) -> "OpenAIEngine":
        """Nothing to fit: the model reads the questions."""
        return self

    def fingerprint(self) -> str:
        how = f"{ONE_WORD}|{self.caption_tokens}|own size|{self.logprobs}|{self.together_option}"
        asked = hashlib.sha256(how.encode()).hexdigest()[:8]
        return f"openai-{self.base_url}-{self.model}-{asked}"

    # -------------------------------------------------------------------------------------------------- requests

    def _safe(self, text: str, longest: int = 300) -> str:
        """A server's text, without the key and on one line."""
        return _blotted(" ".join(text.split()), self._key)[:longest]

    def _wait_for_turn(self) -> None:
        if self._gap:
            with self._lock:
                now = time.monotonic()
                turn = max(now, self._next)
                self._next = turn + self._gap
            time.sleep(turn - now)

    def _body(self, content: Any, specific: bool, longest: int, schema: dict[str, Any] | None) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": "user", "content": content}],
            "temperature": 0,
            "seed": 0,
            "max_tokens": longest,
        }
        if specific:
            body |= {"logprobs": True, "top_logprobs": 20}
        if schema is not None:
            form = {"name": "answers", "strict": True, "schema": schema}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        if self._thinks:  # asked for none, in the words of different servers; those that think still get room for it
            body |= {"reasoning_effort": "none", "chat_template_kwargs": {"enable_thinking": False}}
            body["max_tokens"] = longest + THINKING_TOKENS
        if "max_tokens" in self._without:  # newer models count their reasoning too, and want another name
            body["max_completion_tokens"] = max(body["max_tokens"], 1000)
        return {name: value for name, value in body.items() if name not in self._without}

    def _post(
        self, content: Any, specific: bool, longest: int, schema: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], Usage]:
        """One request, repeated while its failure may pass. Returns the first choice and what was used."""
        import httpx

        why, seconds, calls, reached = "", 0.0, 0, False
        tries = 0
        while tries <= self.retries:
            self._wait_for_turn()
            started, after = time.monotonic(), None
            try:
                sent = self._body(content, specific, longest, schema)
                reply = self._client.post(f"{self.base_url}/chat/completions", json=sent)
                seconds += time.monotonic() - started
                calls, reached = calls + 1, True
                if reply.status_code == 200:
                    content_ = reply.json()
                    choice = content_["choices"][0]
                    if not isinstance(choice["message"], dict):
                        raise TypeError("message is no object")
                    prompt, completion = (_count(content_, name) for name in ("prompt_tokens", "completion_tokens"))
                    return choice, Usage(calls, prompt, completion, seconds=seconds)
                if self._refused_parameter(reply.status_code, reply.text, sent):
                    if schema is not None and "response_format" in self._without:
                        raise _NotTogether
                    continue  # not a failure: the same question again, asked in the server's way
                if not self._least and reply.status_code in (400, 413, 422, 500) and _TOO_SMALL.search(reply.text):
                    self._least = ENLARGED
                    raise _TooSmall
                if reply.status_code not in TRANSIENT:
                    raise self._final(reply.status_code, reply.text)
                why = f"status {reply.status_code}: {self._safe(reply.text)}"
                after = reply.headers.get("retry-after")
            except httpx.TimeoutException:
                seconds += time.monotonic() - started
                why, reached = f"no reply within {self.timeout_s:g} s", True
            except httpx.ConnectError as error:
                why = f"no connection ({self._safe(str(error))}){f', by way of {self._proxy}' if self._proxy else ''}"
            except httpx.TransportError as error:
                why = f"connection lost ({self._safe(str(error))})"
            except (json.JSONDecodeError, KeyError, IndexError, TypeError, UnicodeDecodeError) as error:
                why = f"a reply that is cut off or no chat completion ({type(error).__name__})"
            tries += 1
            if tries <= self.retries:
                time.sleep(self._pause(tries, after))
        kind = NoAnswer if reached else EndpointDown
        raise kind(f"{self.base_url} did not answer in {self.retries + 1} tries; last: {why}.")

    def _pause(self, tries: int, after: str | None) -> float:
        first, longest = self.backoff
        wait = min(first * 2 ** (tries - 1), longest) * (0.5 + random.random() / 2)  # spread, or all come back at once
        try:
            return min(max(wait, float(after or 0)), longest)
        except ValueError:  # a date; the doubled wait will do
            return wait

    def _refused_parameter(self, status: int, text: str, sent: dict[str, Any]) -> bool:
        """Whether the server complains of an optional parameter that was sent; it is left out from now on."""
        if not 400 <= status < 500 or status in (401, 429):
            return False
        for name in _OPTIONAL:
            if name in sent and re.search(rf"\b{name}\b", text):
                with self._lock:
                    self._without |= {"logprobs", "top_logprobs"} if "logprobs" in name else {name}
                return True
        return False

    def _final(self, status: int, text: str) -> PaperlibError:
        said = f"the endpoint said: {self._safe(text)}"
        if status in (401, 403):
            how = (
                f"the key in {self._key_env}"
                if self._key_env
                else "no key was sent; name its variable with api_key_env"
            )
            return PaperlibError(f"{self.base_url} refuses access, status {status} ({how}); {said}")
        return PaperlibError(
            f"{self.base_url} refuses the request for model={self.model!r}, status {status}; check address, model and "
            f"whether it accepts pictures; {said}"
        )

    # --------------------------------------------------------------------------------------------------- answers

    @property
    def together(self) -> bool:
        """Whether all questions of a picture go in one request."""
        return self._together and "response_format" not in self._without

    def answer(self, pictures: Sequence[Picture], questions: Sequence[Sequence[Question]]) -> list[list[Answer]]:
        """One request per question, or one per picture.

        Raises
        ------
        NoAnswer
            A question failed in all tries.
        EndpointDown
            No connection in all tries.
        PaperlibError
            The endpoint refuses the key, the model or the request.
        """
        out = []
        for picture, asked in zip(pictures, questions, strict=True):
            try:
                out.append(self._about(picture, asked))
            except _TooSmall:  # once; from now on pictures are enlarged
                out.append(self._about(picture, asked))
        return out

    def _about(self, picture: Picture, asked: Sequence[Question]) -> list[Answer]:
        url = "data:image/png;base64," + base64.b64encode(png(picture, self._least)).decode()
        if self.together and len(asked) > 1:
            try:
                found = self._all(url, asked)
            except _NotTogether:
                found = None
            if found is not None:
                return found
        return [self._one(url, question) for question in asked]

    def probe(self, picture: Picture, question: Question) -> tuple[Answer, str]:
        """One question about one picture, before any other: settles how this server is asked. The answer and a
        sentence.

        Raises
        ------
        PaperlibError
            As :meth:`answer`; the reply was empty, or nothing but thinking.
        """
        (answer,) = self.answer([picture], [[question]])[0]
        if answer.abstained and not answer.text:
            more = " after its thinking" if self._thinks else ""
            raise PaperlibError(
                f"{self.base_url}: model={self.model!r} replied with nothing{more} to {question.text!r}; nothing more"
                " was asked. Check that it takes pictures, or name a model that answers without thinking."
            )
        if self.together_option == "auto" and answer.mode == "text" and question.kind == "specific":
            self._together = True
        said = f"{question.text} {answer.text!r}"
        how = f"P(yes) {answer.p_yes:.2f}" if answer.p_yes is not None else "no log-probabilities, the text is read"
        how += ", the model thinks: asked not to, and given room" if self._thinks else ""
        how += f", pictures enlarged to {self._least} pixels" if self._least else ""
        how += ", all questions of a picture in one request" if self.together else ""
        used = answer.usage
        return answer, f"{said} ({how}; {used.prompt_tokens} tokens sent, {used.seconds:.1f} s)"

    def _read(self, choice: dict[str, Any]) -> tuple[str, bool]:
        """The text without its thinking, and whether there is a sign of thinking that left no room for an answer."""
        message = choice["message"]
        content = str(message.get("content") or "")
        text = _THOUGHT.sub("", content)
        thought = bool(message.get("reasoning") or message.get("reasoning_content")) or text != content
        return self._safe(text, 2000), not text.strip() and (thought or choice.get("finish_reason") == "length")

    def _replied(
        self, content: Any, specific: bool, longest: int, schema: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], str, Usage]:
        """Choice, text and usage; a model that only thought is asked again, with no thinking and more room."""
        choice, usage = self._post(content, specific, longest, schema)
        text, thinking = self._read(choice)
        if thinking and not self._thinks:
            self._thinks = True
            choice, more = self._post(content, specific, longest, schema)
            (text, _), usage = self._read(choice), usage + more
        return choice, text, usage

    def _one(self, url: str, question: Question) -> Answer:
        specific = question.kind == "specific"
        content = [
            {"type": "image_url", "image_url": {"url": url}},
            {"type": "text", "text": question.text + (ONE_WORD if specific else "")},
        ]
        choice, text, usage = self._replied(content, specific, 4 if specific else self.caption_tokens)
        refused = bool(choice["message"].get("refusal")) or choice.get("finish_reason") == "content_filter"
        p = p_yes(_candidates(choice)) if specific else None
        return _as_answer(text, question, p, refused, usage)

    def _all(self, url: str, asked: Sequence[Question]) -> list[Answer] | None:
        """One request for all questions; None where the reply does not have the form that was asked for."""
        names = [f"q{j + 1}" for j in range(len(asked))]
        kinds = [{"type": "string", **({"enum": ["yes", "no"]} if q.kind == "specific" else {})} for q in asked]
        schema = {
            "type": "object",
            "properties": dict(zip(names, kinds, strict=True)),
            "required": names,
            "additionalProperties": False,
        }
        listed = "\n".join(f"{name}: {question.text}" for name, question in zip(names, asked, strict=True))
        text_ = (
            "Answer each question about the picture. Reply with a JSON object with the keys"
            f" {', '.join(names)}.\n{listed}"
        )
        content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": text_}]
        longest = sum(self.caption_tokens if q.kind == "general" else 12 for q in asked)
        _, text, usage = self._replied(content, False, longest, schema)
        try:
            found = json.loads(re.sub(r"^```(?:json)?|```$", "", text.strip()))
            replies = [str(found[name]) for name in names]
        except (json.JSONDecodeError, KeyError, TypeError):
            return None
        share = replace(usage, calls=0, prompt_tokens=0, completion_tokens=0, seconds=0.0)
        return [
            _as_answer(r, q, None, False, share if j else usage)
            for j, (r, q) in enumerate(zip(replies, asked, strict=True))
        ]

    def chat(self, prompt: str) -> str:
        """A reply to a text without a picture; for judges and for suggesting questions.

        Raises
        ------
        PaperlibError
            As :meth:`answer`.
        """
        return self.chat_counted(prompt)[0]

    def chat_counted(self, prompt: str, longest: int = 1000) -> tuple[str, Usage]:
        """The reply and what it used."""
        choice, usage = self._post(prompt, False, longest)
        return _blotted(_THOUGHT.sub("", str(choice["message"].get("content") or "")), self._key), usage

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _as_answer(text: str, question: Question, p: float | None, refused: bool, usage: Usage) -> Answer:
    """What a reply means; an abstention where it is empty, a refusal, or neither yes nor no."""
    if refused or not text or _REFUSAL.match(text):
        return Answer(text, abstained=True, usage=usage)
    if question.kind == "general":
        return Answer(text, usage=usage)
    if p is not None:
        return Answer(text, p, "logprob", usage=usage)
    return Answer(text, None, "text", abstained=_YES_NO.match(text) is None, usage=usage)


def _count(reply: Any, name: str) -> int:
    """A number of the account that a server sends; 0 where it is no number."""
    used = reply.get("usage") if isinstance(reply, dict) else None
    value = used.get(name) if isinstance(used, dict) else None
    return int(value) if isinstance(value, int | float) and math.isfinite(value) and value >= 0 else 0


def _proxy(scheme: str) -> str:
    """The proxy variable of the environment that counts, without its password; empty: none."""
    for name in (f"{scheme.upper()}_PROXY", f"{scheme}_proxy", "ALL_PROXY", "all_proxy"):
        if value := os.environ.get(name):
            return f"{name}={re.sub('//[^@/]*@', '//', value)}"
    return ""


def _blotted(text: str, key: str) -> str:
    """``text`` without ``key``, however a server may have written it: plain, backwards, quoted for an address, HTML or
    JSON, in hexadecimal or base64."""
    if not key:
        return text
    raw = key.encode()
    forms = {
        key,
        key[::-1],
        quote(key, safe=""),
        raw.hex(),
        escape(key),
        json.dumps(key)[1:-1],
        key.replace("/", r"\/"),
    }
    for before in range(3):  # in base64 a text has three forms, by what stands in front of it
        coded = base64.b64encode(bytes(before) + raw)
        middle = coded[(0, 2, 3)[before] : 8 * (before + len(raw)) // 6].decode()  # what the key alone decides
        forms |= {middle, middle.translate(str.maketrans("+/", "-_"))}
    for form in sorted(filter(lambda one: len(one) > 3, forms), key=len, reverse=True):
        text = re.sub(re.escape(form), "[key]", text, flags=re.IGNORECASE)
    return text


def _candidates(choice: dict[str, Any]) -> list[tuple[str, float]]:
    """The first token's candidates; empty where the server gave none."""
    try:
        first = choice["logprobs"]["content"][0]
        listed = first.get("top_logprobs") or [first]
        return [(str(c["token"]), float(c["logprob"])) for c in listed]
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        return []
