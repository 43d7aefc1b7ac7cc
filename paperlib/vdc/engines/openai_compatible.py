"""The endpoint engine: any server that speaks OpenAI's chat completions and accepts pictures.

vLLM, Ollama, llama.cpp's server and hosted services speak this protocol. A picture is sent as a PNG inside the request, one
request per question, the question as the prompt (as in the paper), temperature 0.

P(yes) is read off the first token's distribution where the server gives it (``logprobs``): with the candidates that read as
yes or no, in any case and with any leading space,

    P(yes) = sum of P(yes-tokens) / (sum of P(yes-tokens) + sum of P(no-tokens)).

Where it does not, the text is read: an answer that begins with yes or no, anything else is an abstention. A server that
refuses an optional parameter (some refuse ``logprobs``, some ``temperature``) is asked without it from then on.

The key is read from the environment variable that the user names, when the engine is made. It is sent to that endpoint and
nowhere else: it is no part of the fingerprint, and is blotted out of every text a server sends. Redirects are not followed.

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
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

from paperlib.errors import PaperlibError
from paperlib.vdc.questions import QuestionBank
from paperlib.vdc.types import Answer, EngineInfo, Picture, Question, Usage

ONE_WORD = " Answer with one word, yes or no."
_REFUSAL = re.compile(
    r"^\W*(i['’]?m sorry|sorry|i am sorry|i can(?:no|['’])?t|i am (?:not able|unable)|as an ai)\b", re.I
)
_YES_NO = re.compile(r"^\W*(yes|no)\b", re.I)
_OPTIONAL = ("top_logprobs", "logprobs", "temperature", "seed", "max_tokens")
TRANSIENT = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})


class NoAnswer(PaperlibError):
    """One question got no answer in all tries; the next one may."""


class EndpointDown(PaperlibError):
    """Nothing answers at the endpoint."""


def png(picture: Picture, least: int = 256) -> bytes:
    """The picture as PNG. One whose longer side has fewer than 64 pixels is enlarged to ``least`` first, because
    multimodal models look at patches of 14 pixels and more."""
    image = Image.fromarray(np.ascontiguousarray(picture))
    if max(image.size) < 64:
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
    retries
        Tries after the first, for time-outs, dropped connections, cut-off replies and status 408, 409, 425, 429, 5xx.
    backoff
        First and longest wait in seconds; the wait doubles, with a random share. A ``Retry-After`` of the server counts.
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
        if logprobs not in ("auto", "never"):
            raise PaperlibError(f"logprobs={logprobs!r} is unknown; it must be 'auto' or 'never'.")
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
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        self._client = httpx.Client(headers=headers, timeout=timeout_s, follow_redirects=False)
        local = parts.hostname in ("localhost", "127.0.0.1", "::1")
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
        asked = hashlib.sha256(f"{ONE_WORD}|{self.caption_tokens}|256|{self.logprobs}".encode()).hexdigest()[:8]
        return f"openai-{self.base_url}-{self.model}-{asked}"

    # -------------------------------------------------------------------------------------------------- requests

    def _safe(self, text: str, longest: int = 300) -> str:
        """A server's text, without the key and on one line."""
        text = " ".join(text.split())
        return (text.replace(self._key, "[key]") if self._key else text)[:longest]

    def _wait_for_turn(self) -> None:
        if self._gap:
            with self._lock:
                now = time.monotonic()
                turn = max(now, self._next)
                self._next = turn + self._gap
            time.sleep(turn - now)

    def _body(self, content: Any, specific: bool, longest: int) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": "user", "content": content}],
            "temperature": 0,
            "seed": 0,
            "max_tokens": longest,
        }
        if specific:
            body |= {"logprobs": True, "top_logprobs": 20}
        if "max_tokens" in self._without:  # newer models count their reasoning too, and want another name
            body["max_completion_tokens"] = max(longest, 1000)
        return {name: value for name, value in body.items() if name not in self._without}

    def _post(self, content: Any, specific: bool, longest: int) -> tuple[dict[str, Any], Usage]:
        """One request, repeated while its failure may pass. Returns the first choice and what was used."""
        import httpx

        why, seconds, calls, reached = "", 0.0, 0, False
        tries = 0
        while tries <= self.retries:
            self._wait_for_turn()
            started, after = time.monotonic(), None
            try:
                sent = self._body(content, specific, longest)
                reply = self._client.post(f"{self.base_url}/chat/completions", json=sent)
                seconds += time.monotonic() - started
                calls, reached = calls + 1, True
                if reply.status_code == 200:
                    content_ = reply.json()
                    choice = content_["choices"][0]
                    if not isinstance(choice["message"], dict):
                        raise TypeError("message is no object")
                    used = content_.get("usage") or {}
                    prompt, completion = used.get("prompt_tokens") or 0, used.get("completion_tokens") or 0
                    return choice, Usage(calls, int(prompt), int(completion), seconds=seconds)
                if self._refused_parameter(reply.status_code, reply.text, sent):
                    continue  # not a failure: the same question again, asked in the server's way
                if reply.status_code not in TRANSIENT:
                    raise self._final(reply.status_code, reply.text)
                why = f"status {reply.status_code}: {self._safe(reply.text)}"
                after = reply.headers.get("retry-after")
            except httpx.TimeoutException:
                seconds += time.monotonic() - started
                why, reached = f"no reply within {self.timeout_s:g} s", True
            except httpx.ConnectError as error:
                why = f"no connection ({self._safe(str(error))})"
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
        if status not in (400, 404, 422):
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

    def answer(self, pictures: Sequence[Picture], questions: Sequence[Sequence[Question]]) -> list[list[Answer]]:
        """One request per question.

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
            url = "data:image/png;base64," + base64.b64encode(png(picture)).decode()
            out.append([self._one(url, question) for question in asked])
        return out

    def _one(self, url: str, question: Question) -> Answer:
        specific = question.kind == "specific"
        content = [
            {"type": "image_url", "image_url": {"url": url}},
            {"type": "text", "text": question.text + (ONE_WORD if specific else "")},
        ]
        choice, usage = self._post(content, specific, 4 if specific else self.caption_tokens)
        text = self._safe(choice["message"].get("content") or "", 2000)
        refused = (
            not text
            or bool(choice["message"].get("refusal"))
            or choice.get("finish_reason") == "content_filter"
            or _REFUSAL.match(text) is not None
        )
        if refused:
            return Answer(text, abstained=True, usage=usage)
        if not specific:
            return Answer(text, usage=usage)
        if (p := p_yes(_candidates(choice))) is not None:
            return Answer(text, p, "logprob", usage=usage)
        found = _YES_NO.match(text)
        return Answer(text, None, "text", abstained=found is None, usage=usage)

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
        return (choice["message"].get("content") or "").replace(self._key or "\0", "[key]"), usage

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _candidates(choice: dict[str, Any]) -> list[tuple[str, float]]:
    """The first token's candidates; empty where the server gave none."""
    try:
        first = choice["logprobs"]["content"][0]
        listed = first.get("top_logprobs") or [first]
        return [(str(c["token"]), float(c["logprob"])) for c in listed]
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        return []
