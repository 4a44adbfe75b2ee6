"""generate_batch: the teacher writes new training rows, for the labels and the weakness that a brief names."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Annotated, Any

from pydantic import Field

from p2m import kinds
from p2m.errors import ToolFailure
from p2m.rows import Row
from tools.base import Facts, ToolContext, ToolResult, first_problem, need, tool
from tools.workspace import DataInfo, Workspace

SMALLEST_BATCH, MOST_ROWS = 10, 400
SHOWN = 5
# Rows whose labels nobody has time to check, and no time to train on them, are worth little.
TIME_SHARE = 0.5


def _can_write(workspace: Workspace, facts: Facts) -> str | None:
    return first_problem(
        (
            None if facts.has_teacher else "there is no teacher to write rows",
            "generation has ended: the teacher only repeats itself" if facts.generation_ended else None,
            "the budget of generated examples is spent"
            if facts.examples_left is not None and facts.examples_left < SMALLEST_BATCH
            else None,
        )
    )


@tool(precondition=_can_write)
async def generate_batch(
    ctx: ToolContext,
    *,
    n: Annotated[int, Field(ge=SMALLEST_BATCH, le=MOST_ROWS, description="rows to write in all")] = 120,
    labels: Annotated[
        list[str] | None, Field(description="only these labels (weak ones); leave out for all, evenly")
    ] = None,
    brief: Annotated[
        str,
        Field(max_length=300, description="what kind of inputs to write: the confusion to settle, a style, a subject"),
    ] = "",
) -> ToolResult:
    """Write new training rows with the teacher. Aim it: name the weak labels and say in the brief what is confused."""
    task, kind = ctx.task, kinds.of(ctx.task)
    teacher = need(ctx.teacher, "precondition", "there is no teacher to write rows")
    chosen = [label for label in task.labels if not labels or label in labels]
    if labels and (unknown := [label for label in labels if label not in task.labels]):
        raise ToolFailure("invalid_args", f"unknown labels {unknown}; the labels are {list(task.labels)}")
    allowed = ctx.examples_left()
    if allowed is not None:
        n = min(n, allowed)
    # The same call again is a wish for more rows, not for the same: count the batches so far into the seed.
    batch = sum(d.source == "generated" for d in ctx.workspace.datasets)
    handle = ctx.store.handle(
        "ds",
        tool="generate_batch",
        task=task.instruction,
        labels=chosen,
        n=n,
        brief=brief,
        batch=batch,
        seed=ctx.seed,
        teacher=teacher.name,
        before=[d.handle for d in ctx.workspace.datasets],
    )
    if not ctx.store.has(handle):
        affordable = _affordable(ctx)
        if ctx.out_of_time() or affordable < SMALLEST_BATCH:
            raise ToolFailure("budget", "no time is left to write rows")
        began = time.monotonic()
        written = await kind.write(
            task,
            teacher,
            n=min(n, affordable),
            labels=chosen,
            brief=brief,
            seed=ctx.rng("generate", handle).randrange(2**31),
            progress=lambda done, of: ctx.progress(f"{done} of {of} rows written", done / of),
            stop=ctx.time_share(TIME_SHARE),
        )
        if not written.rows and set(written.unusable) <= {"not_reached"}:
            raise ToolFailure("budget", "no time is left to write rows")
        if not written.rows:
            reasons = ", ".join(f"{count} {reason}" for reason, count in written.unusable.items())
            raise ToolFailure(
                "provider", f"the teacher wrote nothing usable ({reasons}); try another teacher or fewer rows"
            )
        kept, removed, samples = await asyncio.to_thread(screen, ctx, written.rows)
        meta = {
            "written": len(written.rows),
            "seconds": round(time.monotonic() - began, 1),
            "unusable": written.unusable,
            "removed": dict(removed),
            "removed_samples": samples,
            "brief": brief,
        }
        ctx.store.save_rows(handle, kept, meta)
    return _result(ctx, handle, chosen)


def _affordable(ctx: ToolContext) -> int:
    """Rows that a batch's share of the time is enough for, at the pace of the last one."""
    left = ctx.seconds_left()
    before = [ctx.store.meta(d.handle) for d in ctx.workspace.datasets if d.source == "generated"]
    if left is None or not before or not before[-1].get("seconds"):
        return MOST_ROWS
    return int(TIME_SHARE * left * before[-1]["written"] / before[-1]["seconds"])


def screen(ctx: ToolContext, rows: list[Row]) -> tuple[list[Row], Counter[str], list[dict[str, str]]]:
    """Rows that are new (to the run and each other) and unlike every held-out row; what went, counted and sampled."""
    from p2m.data.near import HeldOutGuard, deduplicate, samples
    from p2m.data.referee import guard_texts
    from p2m.train.embed import Embedder

    embed = Embedder.default().embed
    earlier = [row for d in ctx.workspace.datasets for row in ctx.store.rows(d.handle)]
    earlier += [Row(e.input, e.output, "demonstration") for e in ctx.task.examples]
    fresh = deduplicate(rows, embed, earlier)
    removed = list(fresh.removed)
    kept = fresh.kept
    if ctx.workspace.held_out:
        admitted = HeldOutGuard(guard_texts(ctx.store, ctx.workspace.held_out.handle), embed).admit(kept)
        kept, removed = admitted.kept, removed + list(admitted.removed)
    return kept, Counter(r.reason for r in removed), samples(removed)


def _result(ctx: ToolContext, handle: str, labels: list[str]) -> ToolResult:
    rows, meta = ctx.store.rows(handle), ctx.store.meta(handle)
    counts = kinds.of(ctx.task).counts(rows)
    share = len(rows) / max(1, meta["written"])
    info = DataInfo(handle, "generated", len(rows), counts, meta["removed"], meta["brief"], new_share=round(share, 3))
    lost = ", ".join(f"{count} {reason}" for reason, count in {**meta["removed"], **meta["unusable"]}.items())
    text = f"{handle}: {len(rows)} new rows of {meta['written']} written" + (f" (dropped: {lost})" if lost else "")
    data: dict[str, Any] = {
        "dataset": info.__dict__,
        "written": meta["written"],
        "new_share": info.new_share,
    }
    note = kinds.of(ctx.task).written_note
    return ToolResult(f"{text}. {note}", _display(text, rows, meta, labels), data)


def _display(text: str, rows: list[Row], meta: dict[str, Any], labels: list[str]) -> str:
    lines = [text, ""]
    for label in labels[:8]:
        shown = [r.input for r in rows if r.output == label][:3]
        lines += [f"- **{label}**: " + " / ".join(s[:100] for s in shown)]
    if not labels:
        lines += [f"- {row.input[:100]} → {row.output[:100]}" for row in rows[:SHOWN]]
    if meta["removed_samples"]:
        lines += ["", "Removed:"] + [f"- {s['input'][:100]} ({s['reason']})" for s in meta["removed_samples"][:5]]
    return "\n".join(lines)
