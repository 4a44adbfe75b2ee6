"""A real HTTP server on 127.0.0.1 that speaks the OpenAI chat protocol and says what a function tells it to.

    with FakeLLM(lambda request: "hello") as server:
        model = open_model(server.endpoint, role="teacher")

The function gets each request and returns what happens: a ``str`` or ``Say`` is answered, ``Fail`` is an HTTP error,
``Break``, ``Garbage`` and ``Hang`` are what their names say. It may look at ``request.number`` (0, 1, …), so that a
script is ``scripted(Fail(429), "hello")``: the first, the second, then the last again and again.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Request:
    """``body`` is the parsed JSON; ``number`` counts from 0; header names are lower case."""

    number: int
    body: dict[str, Any]
    headers: dict[str, str]

    @property
    def last(self) -> str:
        """What the last message says."""
        return str(self.body["messages"][-1]["content"])


@dataclass(frozen=True)
class Say:
    """``calls`` are ``(name, arguments as JSON text)``; ``logprobs``: ``(token, logprob, ((token, logprob), …))``."""

    text: str = ""
    calls: tuple[tuple[str, str], ...] = ()
    logprobs: tuple[tuple[str, float, tuple[tuple[str, float], ...]], ...] | None = None
    finish_reason: str = "stop"
    usage: tuple[int, int] | None = (10, 5)


@dataclass(frozen=True)
class Fail:
    status: int
    message: str = "no"
    headers: dict[str, str] = field(default_factory=dict)
    error: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Break:
    """Close the connection after ``pieces`` streamed pieces of ``text``, or in the middle of the body."""

    text: str = "half an answer"
    pieces: int = 1


@dataclass(frozen=True)
class Garbage:
    body: bytes = b"<html>not what you asked for</html>"
    content_type: str = "text/html"


@dataclass(frozen=True)
class Hang:
    """Say nothing until the server is closed, or the client leaves."""


Behaviour = str | Say | Fail | Break | Garbage | Hang


def scripted(*steps: Behaviour) -> Callable[[Request], Behaviour]:
    return lambda request: steps[min(request.number, len(steps) - 1)]


class FakeLLM:
    """``requests`` is what came in; ``most_at_once`` the largest number of requests open at one time."""

    def __init__(self, behave: Callable[[Request], Behaviour]) -> None:
        self.requests: list[Request] = []
        self.most_at_once = 0
        self._open = 0
        self._behave = behave
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    @property
    def endpoint(self) -> str:
        return f"{self.url}#fake"

    def __enter__(self) -> FakeLLM:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def _handler(fake) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers.get("content-length") or 0))
                with fake._lock:
                    headers = {k.lower(): v for k, v in self.headers.items()}
                    request = Request(len(fake.requests), json.loads(raw), headers)
                    fake.requests.append(request)
                    fake._open += 1
                    fake.most_at_once = max(fake.most_at_once, fake._open)
                try:
                    self._do(request, fake._behave(request))
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True
                finally:
                    with fake._lock:
                        fake._open -= 1

            def _do(self, request: Request, what: Behaviour) -> None:
                if isinstance(what, str):
                    what = Say(what)
                if isinstance(what, Say):
                    self._stream(what) if request.body.get("stream") else self._whole(_completion(what))
                elif isinstance(what, Fail):
                    error = {"message": what.message, "code": what.status, **what.error}
                    self._whole({"error": error}, what.status, what.headers)
                elif isinstance(what, Garbage):
                    self._send(200, what.content_type, what.body)
                elif isinstance(what, Break):
                    self._break(what, bool(request.body.get("stream")))
                else:
                    fake._closing.wait(60)
                    self.close_connection = True

            def _whole(self, body: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
                self._send(status, "application/json", json.dumps(body).encode(), headers)

            def _send(self, status: int, kind: str, body: bytes, headers: dict[str, str] | None = None) -> None:
                self.send_response(status)
                for name, value in {"content-type": kind, "content-length": str(len(body)), **(headers or {})}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def _begin_stream(self) -> None:
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.send_header("transfer-encoding", "chunked")
                self.end_headers()

            def _chunk(self, data: str) -> None:
                raw = f"data: {data}\n\n".encode()
                self.wfile.write(b"%x\r\n%s\r\n" % (len(raw), raw))
                self.wfile.flush()

            def _stream(self, say: Say) -> None:
                self._begin_stream()
                for piece in _pieces(say):
                    self._chunk(json.dumps(piece))
                self._chunk("[DONE]")
                self.wfile.write(b"0\r\n\r\n")

            def _break(self, what: Break, stream: bool) -> None:
                if stream:
                    self._begin_stream()
                    for piece in _pieces(Say(what.text))[: what.pieces]:
                        self._chunk(json.dumps(piece))
                else:
                    body = json.dumps(_completion(Say(what.text))).encode()
                    self.send_response(200)
                    self.send_header("content-type", "application/json")
                    self.send_header("content-length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body[: len(body) // 2])
                self.wfile.flush()
                self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def _completion(say: Say) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": say.text or None}
    if say.calls:
        message["tool_calls"] = _calls(say)
    choice = {"index": 0, "message": message, "finish_reason": say.finish_reason, "logprobs": _logprobs(say)}
    return {"id": "1", "object": "chat.completion", "created": 0, "model": "fake", "choices": [choice], **_usage(say)}


def _pieces(say: Say) -> list[dict[str, Any]]:
    words = say.text.split(" ")
    deltas: list[dict[str, Any]] = [{"role": "assistant"}]
    deltas += [{"content": word if i == 0 else f" {word}"} for i, word in enumerate(words) if say.text]
    for call in _calls(say):
        name, arguments = call["function"]["name"], call["function"]["arguments"]
        half = len(arguments) // 2
        first = {**call, "function": {"name": name, "arguments": arguments[:half]}}
        rest = {"index": call["index"], "function": {"arguments": arguments[half:]}}
        deltas += [{"tool_calls": [first]}, {"tool_calls": [rest]}]
    shell = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "fake"}
    chunks = [{**shell, "choices": [{"index": 0, "delta": d, "finish_reason": None}]} for d in deltas]
    end = {"index": 0, "delta": {}, "finish_reason": say.finish_reason, "logprobs": _logprobs(say)}
    return [*chunks, {**shell, "choices": [end]}, {**shell, "choices": [], **_usage(say)}]


def _calls(say: Say) -> list[dict[str, Any]]:
    return [
        {"index": i, "id": f"call_{i}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for i, (name, arguments) in enumerate(say.calls)
    ]


def _logprobs(say: Say) -> dict[str, Any] | None:
    if say.logprobs is None:
        return None
    content = [
        {
            "token": token,
            "logprob": value,
            "bytes": None,
            "top_logprobs": [{"token": t, "logprob": v, "bytes": None} for t, v in top],
        }
        for token, value, top in say.logprobs
    ]
    return {"content": content, "refusal": None}


def _usage(say: Say) -> dict[str, Any]:
    if say.usage is None:
        return {}
    prompt, completion = say.usage
    total = prompt + completion
    return {"usage": {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total}}
