"""What an imported dataset is worth to the run: code decides, no planner is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from p2m import kinds
from p2m.catalog.embedding import default_embed
from p2m.catalog.worth import Worth, worth
from p2m.rows import Row
from tools.base import ToolContext, ToolResult


async def judge(ctx: ToolContext, rows: Sequence[Row], *, but: str = "") -> Worth | None:
    """The worth of ``rows`` beside the demonstrations and every dataset in use except ``but``; None where there is
    nothing to measure on: no held-out rows yet, or a task without labels. Looks at validation rows only."""
    held_out = ctx.workspace.held_out
    if held_out is None or not kinds.of(ctx.task).answers_are_labels:
        return None
    from p2m.data.referee import open_validation

    embed = default_embed()
    if embed is None:
        return Worth("not measured", False, held_out=held_out.handle, why="the encoder is not here (p2m pull)")
    if ctx.out_of_time():
        return Worth("not measured", False, held_out=held_out.handle, why="no time is left")
    others = [Row(e.input, e.output, "demonstration") for e in ctx.task.examples]
    others += [row for d in ctx.workspace.datasets if d.handle != but for row in ctx.store.rows(d.handle)]
    ctx.progress("a quick head with and without the dataset", None)
    return await asyncio.to_thread(
        worth,
        rows,
        others,
        open_validation(ctx.store, held_out.handle),
        embed,
        seed=ctx.seed,
        trusted=held_out.source != "generated",
        held_out=held_out.handle,
    )


def rejection(dataset: str, rows: int, judged: Worth) -> ToolResult:
    """The result of an import whose rows would harm: the number is in it, and the dataset is not offered again."""
    text = (
        f"Rejected {dataset}: its {rows:,} rows are not used, {judged.words()}. Choose another dataset or write rows."
    )
    return ToolResult(text, text, {"rejected": [{"dataset": dataset, "rows": rows, "worth": judged.as_dict()}]})
