"""Steering a run from another process: whoever may write in the run's folder appends a line, the run reads it.

A line of ``steer.jsonl`` is one JSON object: ``{"say": TEXT}``, ``{"pause": true}`` or ``false``, ``{"stop": true}``,
``{"skip": true}``, ``{"cancel": true}``, ``{"change": {"target": X, "budget": {...}}}``, ``{"review": [{"input",
"output", "verdict", "label"}]}``, ``{"answer": TEXT}``, ``{"approve": true}`` or ``false``.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.controls import Controls
from agent.runs import is_held
from p2m.errors import BadInput

FILE = "steer.jsonl"
POLL_SECONDS = 0.1
LIMITS = ("minutes", "examples", "usd", "tokens", "llm_calls", "steps")


def send(run_dir: Path, **command: Any) -> None:
    """Tell the process that works on the run. Raises ``BadInput`` where none does."""
    if not is_held(run_dir):
        raise BadInput("no process works on this run now", where=str(run_dir), fix="Go on with it: p2m resume")
    line = json.dumps(command) + "\n"
    handle = os.open(run_dir / FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(handle, line.encode())  # one write: two writers do not mix
    finally:
        os.close(handle)


class Mailbox:
    """Reads what is sent to a run and hands it to ``controls``; ``cancel`` ends the run's task. What was sent before
    it was made is for nobody."""

    def __init__(self, run_dir: Path, controls: Controls, cancel: Callable[[], object] | None = None) -> None:
        self._cancel = cancel
        self._path, self._controls = run_dir / FILE, controls
        self._seen = self._path.stat().st_size if self._path.exists() else 0
        self._answer: asyncio.Future[str] | None = None
        self._approval: asyncio.Future[bool] | None = None

    async def listen(self) -> None:
        """Until cancelled."""
        while True:
            for line in self._new_lines():
                self.take(line)
            await asyncio.sleep(POLL_SECONDS)

    async def ask(self, question: str) -> str:
        """The next answer that is sent; the question itself is in the journal."""
        self._answer = asyncio.get_running_loop().create_future()
        return await self._answer

    async def approve(self, request: object) -> bool:
        self._approval = asyncio.get_running_loop().create_future()
        return await self._approval

    def take(self, line: str) -> bool:
        """Act on one line; False where it is none of those that this understands."""
        try:
            command = json.loads(line)
            ((name, value),) = command.items()
            return self._act(name, value)
        except (ValueError, AttributeError, TypeError, KeyError):
            return False

    def _act(self, name: str, value: Any) -> bool:
        controls = self._controls
        if name == "say":
            controls.say(str(value))
        elif name == "pause":
            controls.pause() if value else controls.go_on()
        elif name == "stop":
            controls.stop()
        elif name == "skip":
            controls.skip()
        elif name == "cancel" and self._cancel is not None:
            self._cancel()
        elif name == "change":
            controls.change(*read_change(value))
        elif name == "review":
            controls.review(read_reviews(value))
        elif name == "answer" and self._answer is not None and not self._answer.done():
            self._answer.set_result(str(value))
        elif name == "approve" and self._approval is not None and not self._approval.done():
            self._approval.set_result(value is True)
        else:
            return False
        return True

    def _new_lines(self) -> list[str]:
        try:
            with self._path.open("rb") as file:
                file.seek(self._seen)
                data = file.read()
        except FileNotFoundError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._seen += len(whole)
        return whole.decode("utf-8", "replace").splitlines()


def read_change(value: dict[str, Any]) -> tuple[float | None, dict[str, Any]]:
    """A checked target (a fraction of 1) and limits. Raises ``ValueError`` for what is neither."""
    from p2m.task.spec import Limits

    target = value.get("target")
    if target is not None and not 0 <= float(target) <= 1:
        raise ValueError("the target is a fraction of 1")
    budget = {name: amount for name, amount in (value.get("budget") or {}).items() if name in LIMITS}
    return None if target is None else float(target), Limits(**budget).model_dump(include=set(budget))


def read_reviews(value: list[dict[str, Any]]) -> list[Any]:
    """Raises ``TypeError`` or ``ValueError`` for what is no review."""
    from agent.events import Review

    words = [{name: str(text) for name, text in one.items()} for one in value]
    reviews = [Review(**one) for one in words]  # type: ignore[arg-type]
    if any(r.verdict not in ("accept", "reject", "relabel") for r in reviews):
        raise ValueError("a verdict is accept, reject or relabel")
    return reviews
