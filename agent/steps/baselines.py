"""baselines: what there would be without p2m, on the same rows, by the same metric code, before any training."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from p2m import kinds
from p2m.data.referee import guard_texts, open_validation
from p2m.errors import BudgetExceeded, ProviderError
from p2m.rows import Row, is_real
from tools.base import ToolContext, ToolResult, tool

if TYPE_CHECKING:
    from p2m.llm.client import ChatModel

# Labelling a row with a local teacher takes about half a second, so it answers a named sample of the rows.
TEACHER_ROWS = 100


def real_rows(ctx: ToolContext) -> list[Row]:
    """What a person has without a teacher's writing: the demonstrations and every real row in use, but for those near
    a held-out row (an import may be older than the held-out rows)."""
    from p2m.data.near import HeldOutGuard
    from p2m.train.embed import Embedder

    assert ctx.workspace.held_out is not None
    rows = [Row(e.input, e.output, "demonstration") for e in ctx.task.examples]
    for info in ctx.workspace.datasets:
        if is_real(info.source):
            rows += ctx.store.rows(info.handle)
    guard = HeldOutGuard(guard_texts(ctx.store, ctx.workspace.held_out.handle), Embedder.default().embed)
    return guard.admit(rows).kept


@tool()
async def baselines(ctx: ToolContext) -> ToolResult:
    """Score what needs no training of a student on validation, and the teacher itself."""
    assert ctx.workspace.held_out is not None
    validation = open_validation(ctx.store, ctx.workspace.held_out.handle)
    train = await asyncio.to_thread(real_rows, ctx)
    rows = ctx.store.handle("bl", rows=[[r.input, r.output] for r in train])
    ctx.store.save_rows(rows, train, {"of": "baselines"})
    found = await score_baselines(ctx, train, validation, "validation")
    lines = [f"{b['system']}: {b['score']['value']:.3f} (n={b['score']['n']})" for b in found]
    text = f"baselines on validation, trained on {len(train)} real rows: " + "; ".join(lines)
    return ToolResult(text, "\n".join(f"- {line}" for line in lines), {"baselines": found, "baseline_rows": rows})


async def score_baselines(
    ctx: ToolContext, train: Sequence[Row], held_out: Sequence[Row], split: str
) -> list[dict[str, Any]]:
    """Every baseline on ``held_out``, as JSON for ``tools.workspace.Baseline``; the teacher on a sample of it."""
    task, kind = ctx.task, kinds.of(ctx.task)
    ctx.progress(kind.baseline_names, 0.05)
    results = await asyncio.to_thread(kind.baselines, task, train, [r.input for r in held_out])
    found = []
    for system, predictions in results:
        estimate = kind.estimate(task, held_out, predictions)
        found.append({"system": system, "score": {**estimate.as_dict(), "split": split}, "is_llm": False})
    if ctx.teacher is not None:
        try:
            found.append(await _teacher(ctx, ctx.teacher, held_out, split))
        except (ProviderError, BudgetExceeded) as error:
            # The comparison is worth less without it, but the student is what was asked for.
            ctx.progress(f"the teacher is left out of the comparison: {error}", 1.0)
    return found


async def _teacher(ctx: ToolContext, teacher: ChatModel, held_out: Sequence[Row], split: str) -> dict[str, Any]:
    kind, n = kinds.of(ctx.task), len(held_out)
    sample = [held_out[i] for i in sorted(ctx.rng("teacher", split).sample(range(n), min(TEACHER_ROWS, n)))]
    said = await kind.answer(
        [row.input for row in sample],
        ctx.task,
        teacher,
        progress=lambda done, of: ctx.progress(f"the teacher answered {done} of {of}", 0.1 + 0.9 * done / of),
    )
    # No answer is a wrong answer; the empty string is never a label.
    estimate = kind.estimate(ctx.task, sample, [answer or "" for answer in said])
    name = f"teacher few-shot ({teacher.name})"
    return {"system": name, "score": {**estimate.as_dict(), "split": split}, "is_llm": True}
