"""Slots: a long prefix that many calls share is read once."""

from __future__ import annotations

import asyncio
import os
import random

import pytest

from p2m.llm.slots import MOST_SNAPSHOTS, Slots

PREFIX = "".join(random.Random(0).choices("abcdefgh ", k=2000))


class Server:
    """Stands for llama.cpp: each slot holds a text, and reading costs the part that it does not hold yet."""

    def __init__(self, slots: int, saves: bool = True) -> None:
        self.held = [""] * slots
        self.saved: dict[int, str] = {}
        self.read = self.restores = 0
        self.saves = saves
        self.slots = Slots(slots, self.save, self.restore)

    async def save(self, slot: int, fd: int) -> bool:
        await asyncio.sleep(0)
        os.fstat(fd)
        self.saved[fd] = self.held[slot]
        return self.saves

    async def restore(self, slot: int, fd: int) -> bool:
        await asyncio.sleep(0)
        os.fstat(fd)
        self.held[slot] = self.saved[fd]
        self.restores += 1
        return True

    async def process(self, slot: int, text: str) -> None:
        same = [a == b for a, b in zip(self.held[slot], text, strict=False)]
        self.read += len(text) - (same.index(False) if False in same else len(same))
        await asyncio.sleep(0.005)
        self.held[slot] = text

    async def call(self, text: str) -> int:
        async with self.slots.take(text, lambda slot: self.process(slot, text)) as slot:
            await self.process(slot, text)
        return slot


def test_sixteen_calls_read_their_prefix_once() -> None:
    async def run() -> Server:
        server = Server(16)
        slots = await asyncio.gather(*(server.call(f"{PREFIX} number {i}") for i in range(16)))
        assert sorted(slots) == list(range(16))
        return server

    server = asyncio.run(run())
    assert server.read < len(PREFIX) + 16 * 30
    assert server.restores == 15


def test_the_second_round_needs_no_copies() -> None:
    async def run() -> Server:
        server = Server(4)
        for batch in range(3):
            await asyncio.gather(*(server.call(f"{PREFIX} {batch} {i}") for i in range(8)))
        return server

    server = asyncio.run(run())
    assert server.read < len(PREFIX) + 24 * 30
    assert server.restores == 3


def test_a_prefix_comes_back_after_other_work_took_every_slot() -> None:
    async def run() -> int:
        server = Server(2)
        await server.call(PREFIX)
        await asyncio.gather(*(server.call(f"{i}" + PREFIX[::-1]) for i in range(4)))
        before = server.read
        await server.call(PREFIX + " again")
        return server.read - before

    assert asyncio.run(run()) < 50


def test_short_prompts_are_neither_saved_nor_queued() -> None:
    async def run() -> Server:
        server = Server(4)
        await asyncio.gather(*(server.call(f"short {i}") for i in range(12)))
        return server

    server = asyncio.run(run())
    assert server.saved == {}


def test_no_slot_is_used_twice_at_once() -> None:
    async def run() -> int:
        server, busy, most = Server(3), set[int](), 0

        async def call(i: int) -> None:
            nonlocal most
            async with server.slots.take(f"{i}" * 900, lambda slot: server.process(slot, "")) as slot:
                assert slot not in busy
                busy.add(slot)
                most = max(most, len(busy))
                await asyncio.sleep(0.002)
                busy.remove(slot)

        await asyncio.gather(*(call(i) for i in range(20)))
        return most

    assert asyncio.run(run()) == 3


def test_cancelled_and_failed_calls_give_their_slot_back() -> None:
    async def run() -> list[int]:
        server = Server(2)

        async def fail() -> None:
            async with server.slots.take(PREFIX, lambda slot: server.process(slot, PREFIX)):
                raise RuntimeError

        tasks = [asyncio.create_task(server.call(f"{PREFIX} {i}")) for i in range(6)]
        await asyncio.sleep(0.003)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for _ in range(3):
            with pytest.raises(RuntimeError):
                await fail()
        return await asyncio.wait_for(asyncio.gather(*(server.call(f"{PREFIX} {i}") for i in range(4))), 10)

    assert len(asyncio.run(run())) == 4


def test_snapshots_are_bounded_and_freed() -> None:
    async def run(saves: bool) -> int:
        before = len(os.listdir("/proc/self/fd"))
        server = Server(2, saves)
        for i in range(MOST_SNAPSHOTS * 3):
            await server.call(f"{i}" + PREFIX)
        inside = len(os.listdir("/proc/self/fd")) - before
        server.slots.close()
        assert len(os.listdir("/proc/self/fd")) == before
        return inside

    assert asyncio.run(run(True)) == MOST_SNAPSHOTS
    assert asyncio.run(run(False)) == 0
