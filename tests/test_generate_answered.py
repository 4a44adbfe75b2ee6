"""Rows of tasks whose answers are no labels: inputs and answers in portions, so that a stop leaves whole rows."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from p2m import kinds
from p2m.errors import ProviderError, ToolFailure
from p2m.generate.write import PER_CALL
from p2m.rows import Row
from p2m.task.spec import Example, TaskSpec
from p2m.train.embed import Embedder
from tests.bag_of_words import embed
from tests.fake_llm import Behaviour, Fail, FakeLLM, Request
from tests.test_transform import opened
from tests.tool_call import call, context
from tools.generate_batch import generate_batch
from tools.workspace import DataInfo, Workspace

SHOUT = TaskSpec(
    name="shout", instruction="Shout the text.", kind="generate", examples=(Example(input="hi", output="HI"),)
)


def answers(request: Request) -> Behaviour:
    if "different subjects" in request.last:
        return json.dumps({"subjects": ["tea", "rain"]})
    if wanted := re.search(r"Write (\d+) new inputs", request.last):
        return json.dumps({"inputs": [f"text {request.number} {i}" for i in range(int(wanted[1]))]})
    return request.last.upper()


def told(request: Request) -> str:
    return "subjects" if "different subjects" in request.last else "write" if "new inputs" in request.last else "answer"


def test_all_is_written_and_answered_once() -> None:
    seen: list[tuple[int, int]] = []
    with FakeLLM(answers) as server:
        made = asyncio.run(
            kinds.of(SHOUT).write(SHOUT, opened(server), n=93, progress=lambda done, of: seen.append((done, of)))
        )
        kinds_of_calls = [told(r) for r in server.requests]
    assert len({r.input for r in made.rows}) == 93 and all(r.output == r.input.upper() for r in made.rows)
    assert made.unusable == {} and made.asked == 95
    assert kinds_of_calls.count("write") == 19 and kinds_of_calls.count("answer") == 93
    assert kinds_of_calls.count("subjects") == 1
    assert [done for done, _ in seen] == sorted(done for done, _ in seen) and seen[-1] == (93, 93)


def test_what_is_stopped_leaves_whole_rows() -> None:
    with FakeLLM(answers) as server:
        made = asyncio.run(kinds.of(SHOUT).write(SHOUT, opened(server), n=200, stop=lambda: len(server.requests) >= 90))
    # Written at a stretch, 200 inputs and their subjects are 41 calls, and 49 answers would be left of 90.
    assert len(made.rows) >= 60 and made.asked == 80
    assert set(made.unusable) <= {"not_reached"}


def test_a_provider_that_fails_midway_keeps_what_there_is() -> None:
    def dies(request: Request) -> Behaviour:
        return answers(request) if request.number < 60 else Fail(401, "your key was withdrawn")

    with FakeLLM(dies) as server:
        made = asyncio.run(kinds.of(SHOUT).write(SHOUT, opened(server), n=200))
    assert 40 <= len(made.rows) < 60 and made.unusable["call_failed"] > 0


def test_one_that_fails_at_once_is_an_error() -> None:
    def dies(request: Request) -> Behaviour:
        return answers(request) if told(request) == "subjects" else Fail(401, "your key was withdrawn")

    with FakeLLM(dies) as server, pytest.raises(ProviderError, match="wrote nothing"):
        asyncio.run(kinds.of(SHOUT).write(SHOUT, opened(server), n=4 * PER_CALL))


@pytest.mark.parametrize(("seconds", "rows"), [(2.0, 60), (80.0, 25), (220.0, 0)])
def test_a_batch_is_as_large_as_the_time_allows_at_the_pace_of_the_last(
    seconds: float, rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of 100 s are left to it: 25 rows at 2 s a row, 9 at 5.5, which is none."""
    monkeypatch.setattr(Embedder, "default", lambda: SimpleNamespace(embed=embed))
    before = Workspace(datasets=(DataInfo("ds_1", "generated", 1, {}, {}),))
    with FakeLLM(answers) as server:
        ctx = context(tmp_path, SHOUT, before, teacher=opened(server), seconds_left=lambda: 100.0)
        ctx.store.save_rows("ds_1", [Row("far off", "FAR OFF", "generated")], {"written": 40, "seconds": seconds})
        if rows:
            result, after = call(generate_batch, ctx, n=60)
            assert result.data["written"] == rows
            assert after.store.meta(result.data["dataset"]["handle"])["seconds"] >= 0
        else:
            with pytest.raises(ToolFailure, match="no time is left"):
                call(generate_batch, ctx, n=60)
            assert not server.requests
