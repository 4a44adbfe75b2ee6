"""What a request may be. A body over the limit is refused before it is parsed, and before it is all in memory."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

MOST_DRAINED = 16_000_000
DRAIN_SECONDS = 2.0


@dataclass(frozen=True)
class RequestLimits:
    """``text``: characters of one; ``batch``: texts of a request; ``body``: bytes; ``queued``: texts that may wait."""

    text: int = 20_000
    batch: int = 256
    body: int = 4_000_000
    queued: int = 2048


class BodyLimit:
    """ASGI middleware: a body of more than ``most`` bytes is answered with 413, also one that does not say its size."""

    def __init__(self, app: Any, most: int) -> None:
        self._app, self._most = app, most

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        stated = dict(scope["headers"]).get(b"content-length", b"")
        if stated.isdigit() and int(stated) > self._most:
            await self._refuse(receive, send, unread=True)
            return
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] != "http.request":  # the client has gone
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self._most:
                await self._refuse(receive, send, unread=more)
                return
        given = False

        async def replay() -> Any:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, replay, send)

    async def _refuse(self, receive: Any, send: Any, unread: bool) -> None:
        # A connection closed on unread bytes is reset, and the answer with it: so much of the rest is read, not kept.
        # After the last piece there is nothing to receive but the client's leaving, which waits for this answer.
        if unread:
            with suppress(TimeoutError):
                async with asyncio.timeout(DRAIN_SECONDS):
                    await _drain(receive)
        body = json.dumps({"error": f"the body is larger than {self._most:,} bytes"}).encode()
        headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 413, "headers": headers})
        await send({"type": "http.response.body", "body": body})


async def _drain(receive: Any) -> None:
    left, more = MOST_DRAINED, True
    while more and left > 0:
        message = await receive()
        left -= len(message.get("body", b""))
        more = message["type"] == "http.request" and message.get("more_body", False)
