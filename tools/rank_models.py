"""rank_models: the base models that may serve the task, best first."""

from __future__ import annotations

import asyncio
from typing import Any

from p2m import kinds
from p2m.catalog.hub_models import OffersModels, RankedHub, entry
from p2m.catalog.models import Ranked, local_models, rank_local, speaks
from p2m.catalog.needs import Conditions
from p2m.catalog.untrusted import clean
from p2m.errors import P2MError
from p2m.task.spec import TaskSpec
from tools.base import Facts, ToolContext, ToolResult, tool
from tools.conditions import conditions
from tools.workspace import Workspace

DROPPED_SHOWN = 8


def _once(workspace: Workspace, facts: Facts) -> str | None:
    return "the models are ranked already" if workspace.models else None


@tool(precondition=_once)
async def rank_models(ctx: ToolContext) -> ToolResult:
    """Rank the base models that a student can start from, here and on the Hub where it is the catalogue, and say which
    the task's limits rule out and why."""
    folder = ctx.catalog.models if ctx.catalog else None
    student = kinds.of(ctx.task).default_base
    given = await asyncio.to_thread(conditions, ctx)
    local = await asyncio.to_thread(lambda: rank_local(ctx.task, local_models(folder, student), given))
    hub, trouble = await asyncio.to_thread(_of_hub, ctx, given)
    kept, dropped = _joined(ctx.task, local, hub)
    if kept:
        lines = [f"Start from {clean(kept[0]['id'], 80)}."]
    else:
        lines = [
            f"No model may serve this task. Get one: p2m pull {kinds.of(ctx.task).default_base}, or set P2M_MODELS."
        ]
    lines += [
        f"The task asks for {m['id']}, which may not be used." for m in dropped if m["id"] == ctx.task.student.base
    ]
    lines += [f"kept {clean(m['id'], 80)}: {m['why']}" for m in kept]
    lines += [f"dropped {clean(m['id'], 80)}: {m['why']}" for m in dropped[:DROPPED_SHOWN]]
    lines += [f"and {len(dropped) - DROPPED_SHOWN} more were dropped"] if len(dropped) > DROPPED_SHOWN else []
    lines += [f"The Hub gave no models: {clean(trouble, 200)}"] if trouble else []
    return ToolResult("\n".join(lines), "\n".join(f"- {line}" for line in lines), {"models": [*kept, *dropped]})


def _of_hub(ctx: ToolContext, given: Conditions) -> tuple[list[RankedHub], str]:
    """The Hub's models, or why there are none: a Hub that fails leaves the local ones."""
    if not isinstance(ctx.catalog, OffersModels):
        return [], ""
    try:
        return ctx.catalog.base_models.rank(ctx.task, given), ""
    except P2MError as error:
        return [], str(error)


def _joined(
    task: TaskSpec, local: list[Ranked], hub: list[RankedHub]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What is kept and what is dropped. What is here comes before what has to be fetched, unless the task names that,
    nothing here is made for the task's language, or what is here has not the memory or the time."""

    def place(model: dict[str, Any]) -> tuple[bool, bool, bool]:
        return not model["asked"], model["late"], model.pop("last")

    def asked(model: dict[str, Any]) -> bool:
        return task.student.base is not None and task.student.base in (model["id"], model["path"])

    kept = [
        {**_here(r), "last": bool(hub) and speaks(r.model.language, task.language) is False} for r in local if r.kept
    ]
    kept += [{**entry(r), "why": clean(r.why), "last": False} for r in hub if r.kept]
    dropped = [_here(r) for r in local if not r.kept]
    dropped += [{**entry(r), "why": clean(r.why)} for r in hub if not r.kept]
    return sorted(({**m, "asked": asked(m)} for m in kept), key=place), dropped


def _here(ranked: Ranked) -> dict[str, Any]:
    model = ranked.model
    return {
        "id": model.id,
        "path": str(model.path),
        "parameters_m": None if model.parameters_m is None else round(model.parameters_m, 1),
        "why": clean(ranked.why),
        "kept": ranked.kept,
        "late": ranked.late,
    }
