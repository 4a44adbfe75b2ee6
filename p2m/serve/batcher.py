"""Concurrent requests answered together: while the model works on one batch, the next one gathers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Answers = list[dict[str, Any]]


class Busy(Exception):
    """More texts wait than will be answered in any useful time."""


@dataclass
class _Waiting:
    texts: Sequence[str]
    answers: asyncio.Future[Answers]


class Batcher:
    """Calls ``answer`` in one thread at a time, with the texts of all requests that came while it was busy.

    A batch is at most ``rows`` texts, or one request if that has more. ``queued`` texts may wait; a request over that
    raises ``Busy``. ``seen`` is told how many texts each batch has. Nothing waits for company: a lone request is
    answered at once.
    """

    def __init__(
        self, answer: Callable[[Sequence[str]], Answers], rows: int, queued: int, seen: Callable[[int], None]
    ) -> None:
        self._answer, self._rows, self._queued, self._seen = answer, rows, queued, seen
        self._waiting: list[_Waiting] = []
        self._work: asyncio.Task[None] | None = None

    async def ask(self, texts: Sequence[str]) -> Answers:
        """The answers to ``texts``, in order. Raises ``Busy``, and what ``answer`` raises."""
        if sum(len(w.texts) for w in self._waiting) + len(texts) > self._queued:
            raise Busy
        mine = _Waiting(texts, asyncio.get_running_loop().create_future())
        self._waiting.append(mine)
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._run())
        return await mine.answers

    async def _run(self) -> None:
        while self._waiting:
            batch = self._next_batch()
            texts = [text for w in batch for text in w.texts]
            self._seen(len(texts))
            try:
                answers = await asyncio.to_thread(self._answer, texts)
            except Exception as error:
                for w in batch:
                    if not w.answers.done():
                        w.answers.set_exception(error)
                continue
            at = 0
            for w in batch:
                if not w.answers.done():  # its client may have gone
                    w.answers.set_result(answers[at : at + len(w.texts)])
                at += len(w.texts)

    def _next_batch(self) -> list[_Waiting]:
        """The oldest requests that fit. Those whose client has gone are dropped."""
        self._waiting = [w for w in self._waiting if not w.answers.done()]
        batch: list[_Waiting] = []
        rows = 0
        while self._waiting and (not batch or rows + len(self._waiting[0].texts) <= self._rows):
            batch.append(self._waiting.pop(0))
            rows += len(batch[-1].texts)
        return batch
