"""ask_user: a question to the person, where there is one."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from p2m.errors import ToolFailure
from tools.base import Facts, ToolContext, ToolResult, tool
from tools.workspace import Workspace


def _person(workspace: Workspace, facts: Facts) -> str | None:
    if not facts.has_person:
        return "nobody is there to answer"
    return "two questions were asked already" if len(workspace.answers) >= 2 else None


@tool(precondition=_person, timeout_seconds=24 * 3600)
async def ask_user(
    ctx: ToolContext,
    *,
    question: Annotated[str, Field(min_length=8, max_length=300, description="one short, concrete question")],
) -> ToolResult:
    """Ask the person one short question about what they want. Only when the task itself is unclear."""
    if ctx.ask is None:
        raise ToolFailure("precondition", "nobody is there to answer")
    answer = await ctx.ask(question)
    return ToolResult(f"the person answered: {answer[:500]}", data={"answer": {"question": question, "text": answer}})
