"""A small OpenAI-compatible server in a thread, and pictures whose class it can see: real HTTP, scripted faults."""

import base64
import io
import json
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from PIL import Image

CLASSES = ("cat", "dog", "ship")
COLOURS = ((220, 40, 40), (40, 220, 40), (40, 40, 220))
KEY = "sk-test-0123456789abcdef"


def pictures(labels: list[int], side: int = 8, seed: int = 0) -> np.ndarray:
    """uint8 (N, side, side, 3): the colour says the class, noise makes each picture another one."""
    noise = np.random.default_rng(seed).integers(-30, 31, (len(labels), side, side, 3))
    return np.clip(np.array([COLOURS[k] for k in labels])[:, None, None, :] + noise, 0, 255).astype(np.uint8)


@dataclass
class Server:
    """What the server does and has seen."""

    logprobs: str = "yes"
    """``yes``, ``ignore`` (answers without them), ``refuse`` (status 400) or ``forbid`` (status 403)."""
    thinking: str = ""
    """``field``: thinks in ``reasoning`` and has no token left to answer, unless asked not to think; ``always``:
    however it is asked; ``tags``: ``<think>`` before every answer; ``stubborn``: as ``field``, but answers when it has
    room."""
    schema: str = "yes"
    """``yes``: answers as JSON where asked to, ``refuse`` (status 400), ``prose`` (takes no notice)."""
    least: int = 0
    """Pictures of fewer pixels are refused."""
    usage: Any = field(default_factory=lambda: {"prompt_tokens": 100, "completion_tokens": 1})
    key: str = ""
    """Wanted in the Authorization header."""
    fault: Callable[[int], str | int | None] = lambda n: None
    """Number of the request, from 0 -> a status, ``timeout``, ``truncated``, ``dropped``, ``refusal``, ``empty``,
    ``moved``; None: answer."""
    retry_after: str = "0"
    delay: float = 0.0
    chat_reply: str = ""
    """Answer to a request without a picture."""
    url: str = ""
    seen: list[tuple[str, str]] = field(default_factory=list)
    """(picture, question) of every request that was answered."""
    requests: int = 0
    active: int = 0
    most_active: int = 0
    bodies: list[dict[str, Any]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


def _answer(server: Server, body: dict[str, Any]) -> tuple[str, float | None]:
    """Text, and P(yes) of a yes/no question."""
    content = body["messages"][0]["content"]
    if isinstance(content, str):
        return server.chat_reply, None
    url, question = content[0]["image_url"]["url"], content[1]["text"]
    header, data = url.split(",")
    assert header == "data:image/png;base64"
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    assert image.format == "PNG"
    if max(image.size) < server.least:
        raise ValueError("too small")
    mean = np.asarray(image.convert("RGB"), float).mean((0, 1))
    true = CLASSES[int(mean.argmax())]
    with server.lock:
        server.seen.append((data, question))
    if "response_format" in body and server.schema == "yes":
        asked = [line.partition(": ")[::2] for line in question.splitlines()[1:]]
        kinds = body["response_format"]["json_schema"]["schema"]["properties"]
        return json.dumps(
            {k: ("yes" if true in q.lower() else "no") if "enum" in kinds[k] else f"I see a {true}." for k, q in asked}
        ), None
    if not question.endswith("yes or no."):
        return f"I see a {true}.", None
    return ("Yes", 0.9) if true in question.lower() else ("No", 0.2)


class _Handler(BaseHTTPRequestHandler):
    server_state: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def _send(self, status: int, text: str, headers: dict[str, str] | None = None, cut: bool = False) -> None:
        raw = text.encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if cut:
            raw = raw[: len(raw) // 2]
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def do_POST(self) -> None:
        state = self.server_state
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with state.lock:
            n = state.requests
            state.requests += 1
            state.bodies.append(body)
        assert self.path == "/v1/chat/completions"
        if state.key and self.headers.get("Authorization") != f"Bearer {state.key}":
            self._send(401, json.dumps({"error": f"Incorrect API key: {self.headers.get('Authorization')}"}))
            return
        fault = state.fault(n)
        if fault == "timeout":
            time.sleep(0.6)
        if isinstance(fault, int):
            said = json.dumps({"error": f"key {self.headers.get('Authorization')}"})
            self._send(fault, said, {"Retry-After": state.retry_after})
            return
        if fault == "dropped":
            self.close_connection = True
            self.connection.close()
            return
        if fault == "moved":
            self._send(307, "", {"Location": "http://127.0.0.1:9/elsewhere"})
            return
        if state.logprobs == "refuse" and "logprobs" in body:
            self._send(400, json.dumps({"error": {"message": "Unsupported parameter: 'logprobs'"}}))
            return
        if state.logprobs == "forbid" and "logprobs" in body:
            self._send(
                403, json.dumps({"error": {"message": "You are not allowed to request logprobs from this model"}})
            )
            return
        if state.schema == "refuse" and "response_format" in body:
            self._send(400, json.dumps({"error": {"message": "response_format is not supported"}}))
            return
        with state.lock:
            state.active += 1
            state.most_active = max(state.most_active, state.active)
        time.sleep(state.delay)
        with state.lock:
            state.active -= 1
        try:
            text, p = _answer(state, body)
        except ValueError:
            self._send(400, json.dumps({"error": "height and width must be larger than factor 28"}))
            return
        if fault in ("refusal", "empty"):
            text, p = ("I'm sorry, I can't help with that." if fault == "refusal" else ""), None
        choice: dict[str, Any] = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        calm = body.get("reasoning_effort") == "none" or "chat_template_kwargs" in body
        room = body.get("max_tokens", body.get("max_completion_tokens", 0)) >= 1000
        if state.thinking == "tags":
            choice["message"]["content"], p = f"<think>Yes or no? Let me look.</think>\n{text}", None
        elif (
            (state.thinking == "field" and not calm)
            or state.thinking == "always"
            or (state.thinking == "stubborn" and not room)
        ):
            choice["message"] |= {"content": "", "reasoning": "The picture shows"}
            choice["finish_reason"], p = "length", None
        if p is not None and body.get("logprobs") and state.logprobs == "yes":
            top = [("Yes", p * 0.8), (" yes", p * 0.1), ("No", (1 - p) * 0.9), ("Maybe", 0.1)]
            listed = [{"token": token, "logprob": math.log(q)} for token, q in top]
            choice["logprobs"] = {"content": [{**listed[0], "top_logprobs": listed}]}
        reply = {"choices": [choice], "usage": state.usage}
        with suppress(BrokenPipeError):  # the client's patience was shorter
            self._send(200, json.dumps(reply), cut=fault == "truncated")


@contextmanager
def serving(**options: Any) -> Iterator[Server]:
    """A server on a free port of this machine."""
    state = Server(**options)
    handler = type("Handler", (_Handler,), {"server_state": state})
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    httpd.daemon_threads = True
    state.url = f"http://127.0.0.1:{httpd.server_address[1]}/v1"
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join(5)
