"""A planner that thinks the task's kind was read wrongly."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from p2m.errors import BadInput, ToolFailure
from p2m.task.change import with_kind
from p2m.task.parse import load_task
from p2m.task.spec import Example, TaskSpec
from tests.folded_run import HELD_OUT, Run
from tests.tool_call import FACTS, context
from tools import load_all
from tools.workspace import Workspace

WHY = "the words ask for a number on a scale"
TOOL = load_all()["change_kind"]


def read(words: str, **changes: object) -> TaskSpec:
    task = load_task(words)
    assert isinstance(task, TaskSpec)
    return task.model_copy(update=changes)


def test_the_task_is_of_the_new_kind_from_then_on_and_says_why(tmp_path: Path) -> None:
    task = read("Write a grade from 1 to 10 under each essay.", kind="generate", metric="chrf", scale=None)
    ctx = context(tmp_path, task, Workspace(kind="generate"))
    result = asyncio.run(TOOL.fn(ctx, kind="score", reason=WHY))
    assert "spearman" in result.text and WHY in result.text
    state = Run(task).call("change_kind", result.text, data=result.data, by="planner").state
    assert (state.task.kind, state.task.metric, state.task.scale) == ("score", "spearman", (1, 10))
    assert state.workspace.kind == "score"
    assert state.task.notes[-1] == f"kind changed from generate to score by the planner: {WHY}"
    assert not state.task.kind_is_inferred, "once"


def test_it_is_offered_only_while_nothing_depends_on_an_inferred_kind() -> None:
    empty, thinks = Workspace(), replace(FACTS, kind_is_open=True)
    assert TOOL.precondition(empty, FACTS) and TOOL.precondition(empty, thinks) is None
    assert "held out" in str(TOOL.precondition(empty.apply(HELD_OUT), thinks))


def test_a_kind_that_the_user_gave_is_not_inferred() -> None:
    assert read("Translate to German.").kind_is_inferred
    assert not read("---\nkind: generate\n---\nTranslate to German.").kind_is_inferred


def test_what_contradicts_the_new_kind_is_refused_with_the_reason(tmp_path: Path) -> None:
    task = read("Extract the names of drugs.")
    with pytest.raises(BadInput, match="its labels"):
        with_kind(task, "classify", (), WHY)
    with pytest.raises(BadInput, match=r"0\.8 on exact_match"):
        with_kind(task.model_copy(update={"target": 0.8}), "generate", (), WHY)
    shown = task.model_copy(update={"examples": (Example(input="take aspirin", output="aspirin"),)})
    with pytest.raises(BadInput, match="aspirin"):
        with_kind(shown, "score", (), WHY)
    with pytest.raises(BadInput, match="aspirin"):
        with_kind(shown, "extract", ("drug",), WHY)
    with pytest.raises(ToolFailure, match="already"):
        asyncio.run(TOOL.fn(context(tmp_path, task, Workspace(kind="read")), kind="extract", reason=WHY))
    spans = with_kind(task, "extract", ("drug",), WHY)
    assert (spans.labels, spans.metric) == (("drug",), "span_f1")
