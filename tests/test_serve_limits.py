"""A body over the limit, piece by piece as the server gets it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from p2m.serve import limits
from p2m.serve.limits import BodyLimit

pytestmark = pytest.mark.anyio


async def answered(pieces: list[dict[str, Any]], most: int = 10) -> int:
    """The status for a client that sends ``pieces`` and then waits for its answer without leaving."""
    sent: list[dict[str, Any]] = []
    coming = iter(pieces)

    async def receive() -> dict[str, Any]:
        for message in coming:
            return message
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def never(*_: Any) -> None:
        raise AssertionError("the app got a body that is too large")

    await asyncio.wait_for(BodyLimit(never, most)({"type": "http", "headers": []}, receive, send), 5)
    return int(sent[0]["status"])


def piece(size: int, more: bool) -> dict[str, Any]:
    return {"type": "http.request", "body": b"x" * size, "more_body": more}


async def test_the_last_piece_may_be_the_one_too_many() -> None:
    assert await answered([piece(8, True), piece(8, False)]) == 413


async def test_what_comes_after_is_read_to_its_end() -> None:
    rest = [piece(8, True), piece(8, True), piece(8, False)]
    assert await answered([piece(8, True), *rest]) == 413


async def test_a_client_that_stalls_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DRAIN_SECONDS", 0.05)
    assert await answered([piece(20, True)]) == 413
