"""Which slot of a llama.cpp server answers, so that a prefix that many calls share is read once, not once a slot.

The server reuses what a slot read last, but does not share between slots: sixteen calls with the same 500 tokens in
front would read them sixteen times. So the first call that brings a long new prefix leads: it is read alone, the
slot's state is saved, and the others start from a copy (10 ms instead of seconds). Those who come meanwhile wait.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

# Characters, about 75 tokens: where sixteen slots each read them, that takes two cores ten seconds. What is shorter is
# mostly what one call alone asks.
WORTH_SHARING = 300
MOST_SNAPSHOTS = 6


@dataclass
class Slot:
    """``text`` is what it has read last. ``used`` orders slots by age."""

    number: int
    text: str = ""
    busy: bool = False
    used: int = 0


@dataclass
class Snapshot:
    """A saved slot: ``fd`` is a file in memory, gone with the process however it ends."""

    text: str
    fd: int
    used: int
    readers: int = 0


class Slots:
    """``save(slot, fd)`` and ``restore(slot, fd)`` move a slot's state out of the server and into it; False where
    that failed, which costs time and nothing else."""

    def __init__(
        self,
        count: int,
        save: Callable[[int, int], Awaitable[bool]],
        restore: Callable[[int, int], Awaitable[bool]],
    ) -> None:
        self._slots = [Slot(i) for i in range(count)]
        self._save, self._restore = save, restore
        self._snapshots: list[Snapshot] = []
        self._leading: str | None = None
        self._waiting: list[asyncio.Future[None]] = []
        self._clock = 0
        self._can_share = hasattr(os, "memfd_create")

    @asynccontextmanager
    async def take(self, text: str, read: Callable[[int], Awaitable[None]]) -> AsyncIterator[int]:
        """The number of a free slot for a prompt ``text``; ``read(slot)`` makes the server read the prompt only.

        Waits for a free slot, and for another call that is reading the same prefix just now.
        """
        slot = await self._choose(text)
        try:
            if self._leading is None and self._is_new(slot, text):
                await self._lead(slot, text, read)
            slot.text = text
            yield slot.number
        except BaseException:
            slot.text = ""
            raise
        finally:
            slot.busy = False
            self._wake()

    async def _choose(self, text: str) -> Slot:
        while True:
            free = [s for s in self._slots if not s.busy]
            if not free:
                await self._change()
                continue
            slot = max(free, key=lambda s: (_common(s.text, text), -s.used))
            snapshot = max(self._snapshots, key=lambda s: _common(s.text, text), default=None)
            known = _common(slot.text, text)
            saved = _common(snapshot.text, text) if snapshot else 0
            if self._leading is not None and _common(self._leading, text) - max(known, saved) >= WORTH_SHARING:
                await self._change()
                continue
            self._clock += 1
            if snapshot is not None and saved - known >= WORTH_SHARING:
                slot = min(free, key=lambda s: s.used)
                slot.busy, slot.used, snapshot.used = True, self._clock, self._clock
                await self._copy(snapshot, slot)
            else:
                slot.busy, slot.used = True, self._clock
            return slot

    def _is_new(self, slot: Slot, text: str) -> bool:
        return self._can_share and len(text) - _common(slot.text, text) >= WORTH_SHARING

    async def _lead(self, slot: Slot, text: str, read: Callable[[int], Awaitable[None]]) -> None:
        self._leading = text
        try:
            await read(slot.number)
            fd = os.memfd_create("p2m-slot")
            kept = False
            try:
                kept = await self._save(slot.number, fd)
            finally:
                if kept:
                    self._snapshots.append(Snapshot(text, fd, self._clock))
                else:
                    os.close(fd)
            idle = [s for s in self._snapshots if not s.readers]
            if len(self._snapshots) > MOST_SNAPSHOTS and idle:
                self._drop(min(idle, key=lambda s: s.used))
        finally:
            self._leading = None
            self._wake()

    async def _copy(self, snapshot: Snapshot, slot: Slot) -> None:
        snapshot.readers += 1
        slot.text = ""
        try:
            if await self._restore(slot.number, snapshot.fd):
                slot.text = snapshot.text
        except BaseException:
            slot.busy = False
            self._wake()
            raise
        finally:
            snapshot.readers -= 1

    def _drop(self, snapshot: Snapshot) -> None:
        self._snapshots.remove(snapshot)
        os.close(snapshot.fd)

    def close(self) -> None:
        for snapshot in list(self._snapshots):
            self._drop(snapshot)

    async def _change(self) -> None:
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            await future
        finally:
            self._waiting.remove(future)

    def _wake(self) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_result(None)


def _common(a: str, b: str) -> int:
    """Length of the common prefix; by halves, since slices compare faster than characters in a loop."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
