"""Many calls at once, keeping what succeeded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from p2m.errors import BudgetExceeded, ProviderError
from p2m.llm.failures import RequestRefused

T = TypeVar("T")


class Stopped(Exception):
    """A call that was not made, because ``stop`` said so."""


async def many(
    calls: Sequence[Callable[[], Awaitable[T]]],
    *,
    limit: int,
    on_done: Callable[[int, T | Exception], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> list[T | Exception]:
    """Run ``calls`` at most ``limit`` at once; results in order, an exception object in the place of a failed one.

    ``on_done(index, result)`` runs as each ends. Once the provider has failed for good or the budget has refused a
    call, those not yet begun are not made and get the same exception; once ``stop()`` is true, ``Stopped``, without
    ``on_done``. Cancelled, it cancels what runs.
    """
    results: dict[int, T | Exception] = {}
    fatal: list[Exception] = []
    waiting = iter(enumerate(calls))

    async def work() -> None:
        for index, call in waiting:
            if fatal:
                results[index] = fatal[0]
            elif stop():
                results[index] = Stopped()
            else:
                try:
                    results[index] = await call()
                except Exception as error:
                    results[index] = error
                    if isinstance(error, (ProviderError, BudgetExceeded)) and not isinstance(error, RequestRefused):
                        fatal.append(error)
            if on_done and not isinstance(results[index], Stopped):
                on_done(index, results[index])

    async with asyncio.TaskGroup() as group:
        for _ in range(min(limit, len(calls))):
            group.create_task(work())
    return [results[i] for i in range(len(calls))]
