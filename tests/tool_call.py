"""Calling a tool as the loop does."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from p2m.store import Store
from p2m.task.spec import TaskSpec
from tools.base import Facts, Tool, ToolContext, ToolResult
from tools.workspace import Workspace

FACTS = Facts(has_catalog=True, has_teacher=True, has_person=False)


def context(run_dir: Path, task: TaskSpec, workspace: Workspace, **parts: Any) -> ToolContext:
    """A context without teacher, catalogue and limits but for ``parts``."""
    nothing: dict[str, Any] = {
        "store": Store(run_dir / "artifacts"),
        "teacher": None,
        "catalog": None,
        "progress": lambda message, share: None,
        "examples_left": lambda: None,
        "seconds_left": lambda: None,
    }
    return ToolContext(task=task, workspace=workspace, run_dir=run_dir, seed=7, **{**nothing, **parts})


def call(tool: Tool, ctx: ToolContext, **arguments: Any) -> tuple[ToolResult, ToolContext]:
    """The result, and the context with it applied. The call must be one that the menu offers."""
    assert tool.precondition(ctx.workspace, FACTS) is None
    assert tool.check(arguments, ctx.workspace) == []
    result = asyncio.run(tool.fn(ctx, **arguments))
    json.dumps(result.data)
    return result, replace(ctx, workspace=ctx.workspace.apply(result.data))
