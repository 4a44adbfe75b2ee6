"""evaluate: what a student gets wrong on validation, so that the next rows can be aimed at it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from p2m import kinds
from p2m.errors import ToolFailure
from tools.base import Facts, ToolContext, ToolResult, need, tool
from tools.workspace import Workspace


def _can_evaluate(workspace: Workspace, facts: Facts) -> str | None:
    return None if workspace.experiments else "there is no trained student yet"


def _choices(workspace: Workspace) -> dict[str, list[Any]]:
    return {"model": ["best", *(e.model for e in workspace.experiments)]}


@tool(precondition=_can_evaluate, choices=_choices)
async def evaluate(
    ctx: ToolContext, *, model: Annotated[str, Field(description="a model's handle, or best")] = "best"
) -> ToolResult:
    """Find what a student gets wrong on validation: weak labels and confusions, or faults of its answers."""
    from p2m.data.referee import open_validation
    from p2m.evaluate.predict import read_outputs

    held_out = need(ctx.workspace.held_out, "precondition", "no rows are held out yet")
    best = need(ctx.workspace.best, "precondition", "there is no trained student yet")
    chosen = best.model if model == "best" else model
    file = ctx.store.path(chosen) / "validation_predictions.jsonl"
    if not file.is_file():
        raise ToolFailure("invalid_args", f"there is no trained student {chosen}")
    validation = open_validation(ctx.store, held_out.handle)
    found = kinds.of(ctx.task).errors(ctx.task, validation, read_outputs(file))
    text = f"{chosen}: {found.text}"
    return ToolResult(text, f"{text}\n\n{found.display}", {"analysis": {"model": chosen, **found.analysis}})
