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
    """``yes``, ``ignore`` (answers without them) or ``refuse`` (status 400)."""
    key: str = ""
    """Wanted in the Authorization header."""
    fault: Callable[[int], str | int | None] = lambda n: None
    """Number of the request, from 0 -> a status, ``timeout``, ``truncated``, ``refusal``, ``empty``, ``moved``; None: answer."""
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
    if max(image.size) < 64:
        raise AssertionError("small pictures must be enlarged")
    mean = np.asarray(image.convert("RGB"), float).mean((0, 1))
    true = CLASSES[int(mean.argmax())]
    with server.lock:
        server.seen.append((data, question))
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
            self._send(fault, json.dumps({"error": f"key {self.headers.get('Authorization')}"}), {"Retry-After": "0"})
            return
        if fault == "moved":
            self._send(307, "", {"Location": "http://127.0.0.1:9/elsewhere"})
            return
        if state.logprobs == "refuse" and "logprobs" in body:
            self._send(400, json.dumps({"error": {"message": "Unsupported parameter: 'logprobs'"}}))
            return
        with state.lock:
            state.active += 1
            state.most_active = max(state.most_active, state.active)
        time.sleep(state.delay)
        with state.lock:
            state.active -= 1
        text, p = _answer(state, body)
        if fault in ("refusal", "empty"):
            text, p = ("I'm sorry, I can't help with that." if fault == "refusal" else ""), None
        choice: dict[str, Any] = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        if p is not None and body.get("logprobs") and state.logprobs == "yes":
            top = [("Yes", p * 0.8), (" yes", p * 0.1), ("No", (1 - p) * 0.9), ("Maybe", 0.1)]
            listed = [{"token": token, "logprob": math.log(q)} for token, q in top]
            choice["logprobs"] = {"content": [{**listed[0], "top_logprobs": listed}]}
        reply = {"choices": [choice], "usage": {"prompt_tokens": 100, "completion_tokens": 1}}
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
