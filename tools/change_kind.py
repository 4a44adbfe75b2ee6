"""change_kind: take the task for one of another kind, where its words were read wrongly."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from p2m.errors import BadInput, ToolFailure
from tools.base import Facts, ToolContext, ToolResult, first_problem, tool
from tools.workspace import Workspace


def _still_open(workspace: Workspace, facts: Facts) -> str | None:
    begun = workspace.held_out or workspace.datasets or workspace.experiments
    return first_problem(
        (
            None if facts.kind_is_open else "the kind is as the user said, or as it was changed to",
            "rows are held out or in use already: they are of the present kind" if begun else None,
        )
    )


@tool(precondition=_still_open)
async def change_kind(
    ctx: ToolContext,
    *,
    kind: Annotated[
        Literal["classify", "generate", "extract", "score"],
        Field(description="classify: labels; generate: text written anew; extract: parts of the text; score: a number"),
    ],
    reason: Annotated[str, Field(min_length=15, max_length=300, description="what in the task's words shows it")],
    labels: Annotated[
        list[str] | None,
        Field(max_length=200, description="of classify; of extract, the kinds of span, left out for one answer a text"),
    ] = None,
) -> ToolResult:
    """Take the task for one of another kind, where its words or examples show that it was read wrongly. Once, and only
    before rows are held out, imported or written."""
    from p2m.task.change import with_kind

    if kind == ctx.task.kind and tuple(labels or ()) == ctx.task.labels:
        raise ToolFailure("invalid_args", f"the kind is {kind} already")
    try:
        task = with_kind(ctx.task, kind, tuple(labels or ()), reason)
    except BadInput as error:
        raise ToolFailure("invalid_args", str(error)) from error
    named = f", labels {', '.join(task.labels)}" if task.labels else ""
    text = f"the task is now of kind {kind}{named}, measured by {task.metric} (it was {ctx.task.kind}): {reason}"
    return ToolResult(text, text, {"task": task.model_dump(mode="json")})
