"""rank_models: the students on this machine that may serve the task, best first."""

from __future__ import annotations

import asyncio

from p2m.catalog.models import local_models, rank_local
from p2m.catalog.untrusted import clean
from tools.base import Facts, ToolContext, ToolResult, tool
from tools.workspace import Workspace


def _once(workspace: Workspace, facts: Facts) -> str | None:
    return "the models are ranked already" if workspace.models else None


@tool(precondition=_once)
async def rank_models(ctx: ToolContext) -> ToolResult:
    """Rank the local base models that a student can start from, and say which the task's limits rule out and why."""
    folder = ctx.catalog.models if ctx.catalog else None
    ranked = await asyncio.to_thread(lambda: rank_local(ctx.task, local_models(folder)))
    kept, dropped = [r for r in ranked if r.kept], [r for r in ranked if not r.kept]
    if kept:
        lines = [f"Start from {clean(kept[0].model.id, 80)}."]
    else:
        lines = ["No local model may serve this task. Get one: p2m pull all-minilm-l6-v2, or set P2M_MODELS."]
    lines += [f"kept {clean(r.model.id, 80)}: {clean(r.why)}" for r in kept]
    lines += [f"dropped {clean(r.model.id, 80)}: {clean(r.why)}" for r in dropped]
    models = [
        {
            "id": r.model.id,
            "path": str(r.model.path),
            "parameters_m": None if r.model.parameters_m is None else round(r.model.parameters_m, 1),
            "why": clean(r.why),
            "kept": r.kept,
        }
        for r in ranked
    ]
    return ToolResult("\n".join(lines), "\n".join(f"- {line}" for line in lines), {"models": models})
