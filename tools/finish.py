"""finish: the planner says that more work will not help."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tools.base import Facts, ToolContext, ToolResult, tool
from tools.workspace import Workspace


def _ready(workspace: Workspace, facts: Facts) -> str | None:
    return None if workspace.experiments else "no student is trained yet, so there is nothing to deliver"


@tool(precondition=_ready)
async def finish(
    ctx: ToolContext,
    *,
    reason: Annotated[str, Field(max_length=300, description="why more work will not help")],
) -> ToolResult:
    """End the run and deliver the best student. Only when more data or training would not help."""
    best = ctx.workspace.best
    assert best is not None
    return ToolResult(f"delivering {best.model} ({best.score.metric} {best.score.value:.3f})")
