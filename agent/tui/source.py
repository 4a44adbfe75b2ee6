"""Where a screen gets a run from: its journal, as it is written, or again at the speed one likes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from agent.journal import Record

PAUSE_BETWEEN_RECORDS = 5.0
"""A replay never waits longer than this for the next record, at speed 1."""


class Source(Protocol):
    run_dir: Path

    def new(self) -> list[Record]:
        """The records since the last time. Raises ``P2MError`` for a damaged journal."""
        ...


class Live:
    """The journal of a run as it is: finished, or growing in whatever process works on it."""

    def __init__(self, run_dir: Path) -> None:
        from agent.journal import FILE, Tail

        self.run_dir = run_dir
        self._tail = Tail(run_dir / FILE)

    def new(self) -> list[Record]:
        return self._tail.new()


class Replay:
    """A run once more, ``speed`` times as fast as it was."""

    def __init__(self, run_dir: Path, speed: float = 10.0, clock: Callable[[], float] = time.monotonic) -> None:
        from agent.journal import FILE, read

        self.run_dir, self.speed = run_dir, speed
        self._left = read(run_dir / FILE)[::-1]
        self._clock, self._at, self._told = clock, self._left[-1].t if self._left else 0.0, clock()
        self.paused = False

    @property
    def done(self) -> bool:
        return not self._left

    def new(self) -> list[Record]:
        now = self._clock()
        if not self.paused:
            self._at += (now - self._told) * self.speed
        self._told = now
        if self._left and self._left[-1].t - self._at > PAUSE_BETWEEN_RECORDS:
            self._at = self._left[-1].t - PAUSE_BETWEEN_RECORDS
        due = []
        while self._left and self._left[-1].t <= self._at and not self.paused:
            due.append(self._left.pop())
        return due


class Worker:
    """The process that works on a run (see ``agent.worker``), and what the planner says in it as it streams."""

    def __init__(self, process: asyncio.subprocess.Process, run_dir: Path) -> None:
        self.process, self.run_dir = process, run_dir
        self.failure = ""

    @classmethod
    async def start(cls, run_dir: Path, **order: Any) -> Worker:
        """``order``: ``task`` and ``settings`` of a new run, or ``new_budget`` of one that goes on."""
        from agent import worker

        run_dir.mkdir(parents=True, exist_ok=True)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "agent.worker", str(run_dir)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # closing the terminal is no reason to lose an hour of work
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        )
        assert process.stdin is not None
        process.stdin.write(worker.order(**order))
        process.stdin.close()
        return cls(process, run_dir)

    async def listen(self, on_words: Callable[[str], None]) -> int:
        """The exit code, when it has ended; ``on_words`` gets the planner's words as they come."""
        assert self.process.stdout is not None and self.process.stderr is not None
        complaints = asyncio.create_task(self.process.stderr.read())
        async for line in self.process.stdout:
            try:
                on_words(str(json.loads(line)))
            except ValueError:
                continue  # a library printed something
        self.failure = (await complaints).decode(errors="replace").strip()[-2000:]
        return await self.process.wait()

    @property
    def running(self) -> bool:
        return self.process.returncode is None

    def cancel(self) -> None:
        """End the process and what it has begun, now: a training child too. Nothing that is written is lost."""
        if self.running:
            self.process.send_signal(signal.SIGTERM)
