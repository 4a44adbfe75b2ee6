"""judge_data: measure what imported datasets are worth, now that there are held-out rows; drop those that harm."""

from __future__ import annotations

from typing import Any

from tools.base import ToolContext, ToolResult, tool
from tools.worth import judge


@tool()
async def judge_data(ctx: ToolContext) -> ToolResult:
    """A quick head with and without each imported dataset, on validation; a harmful dataset is taken out of use."""
    kept: list[dict[str, Any]] = []
    rejected: list[dict[str, Any]] = []
    lines = []
    for info in ctx.workspace.unjudged:
        found = await judge(ctx, ctx.store.rows(info.handle), but=info.handle)
        if found is None:
            continue
        if found.harmful:
            entry = {"dataset": info.dataset, "handle": info.handle, "rows": info.rows, "worth": found.as_dict()}
            rejected.append(entry)
            lines.append(f"rejected {info.dataset} ({info.handle}), {found.words()}")
        else:
            kept.append({"handle": info.handle, "worth": found.as_dict()})
            lines.append(f"{info.dataset} ({info.handle}) stays, {found.words()}")
    text = "; ".join(lines) or "no imported dataset is left to judge"
    return ToolResult(text, "\n".join(f"- {line}" for line in lines), {"worth": kept, "rejected": rejected})
