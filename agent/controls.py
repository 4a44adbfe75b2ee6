"""What a person, or a program, may say to a run while it works.

Each word is a durable event, so that a run that is taken up again knows it too; only pausing and skipping act on this
process alone. Call the methods on the event loop of the run; nothing here waits.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Any

from agent.events import GoalChanged, Paused, Review, RowsReviewed, StopAsked, UserSpoke

Heard = UserSpoke | GoalChanged | StopAsked | RowsReviewed | Paused


class Controls:
    """One for a run. The loop hears what is said at once, also while a tool works."""

    def __init__(self) -> None:
        self._said: deque[Heard] = deque()
        self._news = asyncio.Event()
        self._going = asyncio.Event()
        self._going.set()
        self._call: asyncio.Task[Any] | None = None
        self._skipped: asyncio.Task[Any] | None = None

    def say(self, text: str) -> None:
        """A message for the planner: it reads it at its next turn."""
        if text.strip():
            self._add(UserSpoke(text.strip()))

    def stop(self) -> None:
        """End after the present step, and deliver the best student there is."""
        self.go_on()
        self._add(StopAsked())

    def change(self, target: float | None = None, budget: dict[str, Any] | None = None) -> None:
        """Another target (a fraction of 1) or other limits, in all and not on top of what is spent."""
        self._add(GoalChanged(target, budget or {}))

    def review(self, reviews: Iterable[Review]) -> None:
        """Accept, reject or relabel training rows: the rows of every dataset in use follow before the next turn."""
        if rows := tuple(reviews):
            self._add(RowsReviewed(rows))

    def pause(self) -> None:
        """Wait before the next step; the step that runs now goes on to its end."""
        if self._going.is_set():
            self._going.clear()
            self._add(Paused(True))

    def go_on(self) -> None:
        if not self._going.is_set():
            self._going.set()
            self._add(Paused(False))

    @property
    def paused(self) -> bool:
        return not self._going.is_set()

    def skip(self) -> bool:
        """Cancel the tool call that runs now (its child process ends); the run goes on. False where none runs."""
        if self._call is None or self._call.done():
            return False
        self._skipped = self._call
        return self._call.cancel()

    def _add(self, event: Heard) -> None:
        self._said.append(event)
        self._news.set()

    # What the loop uses.

    def take(self) -> list[Heard]:
        """What was said since the last time, in order."""
        said = list(self._said)
        self._said.clear()
        self._news.clear()
        return said

    async def news(self) -> None:
        """Until there is something to ``take``."""
        await self._news.wait()

    async def going(self) -> None:
        """Until the run may take its next step."""
        await self._going.wait()

    async def skippable(self, work: asyncio.Task[Any]) -> Any:
        """The result of ``work``, which ``skip`` may cancel: then ``Skipped`` is raised."""
        self._call = work
        try:
            return await work
        except asyncio.CancelledError:
            if self._skipped is work:
                raise Skipped from None
            raise
        finally:
            self._call = self._skipped = None
            if not work.done():  # we were cancelled ourselves: the work ends with us
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)


class Skipped(Exception):
    """The person cancelled the call."""
