"""Held-out rows that the teacher writes, where time is short."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.steps.hold_out import FEWEST_WRITTEN, hold_out
from p2m.llm.client import open_model
from p2m.task.spec import TaskSpec
from tests.bag_of_words import embed
from tests.fake_llm import FakeLLM, Request
from tests.scripted_teacher import LABELS, answer
from tests.tool_call import context
from tools.base import ToolResult
from tools.workspace import Workspace

SECONDS_TO_WRITE, SECONDS_TO_LABEL = 8.0, 0.5


class BagOfWords:
    embed = staticmethod(embed)


@pytest.fixture
def held_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], tuple[ToolResult, int]]:
    """Hold out with so much time, of which each call of the teacher takes some; the result, and the rows written."""
    monkeypatch.setattr("p2m.train.embed.Embedder.default", BagOfWords)
    task = TaskSpec(name="t", instruction="What is asked for?", kind="classify", labels=LABELS)

    def run(seconds: float) -> tuple[ToolResult, int]:
        spent, written = 0.0, 0

        def reply(request: Request) -> str:
            nonlocal spent, written
            text = answer(request.body)
            writes = text.startswith('{"inputs"')
            written += 5 * writes
            spent += SECONDS_TO_WRITE if writes else SECONDS_TO_LABEL
            return text

        with FakeLLM(reply) as server:
            teacher = open_model(server.endpoint, role="teacher", use_cache=False)
            ctx = context(
                tmp_path / str(seconds), task, Workspace(), teacher=teacher, seconds_left=lambda: seconds - spent
            )
            return asyncio.run(hold_out.fn(ctx)), written

    return run


def test_a_short_time_is_not_spent_on_held_out_rows_alone(held_out: Callable) -> None:
    _, all_rows = held_out(50_000.0)
    result, fewer = held_out(400.0)
    assert all_rows >= 160 and FEWEST_WRITTEN <= fewer < 0.7 * all_rows
    rows = result.data["held_out"]
    assert rows["source"] == "generated" and rows["validation"] >= 10 and rows["test"] >= 10
