"""hold_out: fix the validation and the sealed test rows from the best source there is."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from p2m import kinds
from p2m.data.referee import HeldOutSet, Referee, guard_texts
from p2m.data.split import FEWEST
from p2m.errors import BadInput, BudgetExceeded, ProviderError, ToolFailure
from p2m.rows import Row
from tools.base import ToolContext, ToolResult, need, tool
from tools.workspace import DataInfo, HeldOut

# Written held-out rows cost teacher time; half are for validation. The interval of an accuracy of 0.8 on 80 rows is
# about 18 points wide, which the report says.
GENERATED_ROWS = 160
# Of a short time, most is for what trains: the held-out rows then are fewer, though enough to be split and checked.
WRITE_SHARE = 0.25
FEWEST_WRITTEN = 60


@tool()
async def hold_out(ctx: ToolContext, *, offer: dict[str, Any] | None = None) -> ToolResult:
    """Fix the held-out rows: the user's file, else an imported dataset's test split, else rows that the teacher writes
    and labels the same twice, checked by the user's rows where these are few."""
    from p2m.train.embed import Embedder

    ctx.progress("loading the sentence encoder", None)
    embed = await asyncio.to_thread(lambda: Embedder.default().embed)
    referee = Referee(ctx.store, embed)
    few = await asyncio.to_thread(referee.few_rows, ctx.task) if ctx.teacher and offer is None else []
    if few and (written := await _generated_beside(ctx, referee, few)):
        found = replace(written, check=await _with_teacher(ctx, few), notes=(*written.notes, _check_note(len(few))))
    elif (ctx.task.validation or ctx.task.train) and offer is None:
        found = await asyncio.to_thread(referee.fix_from_file, ctx.task, ctx.seed)
    elif offer is not None:
        rows = ctx.store.rows(offer["handle"])
        found = await _fix(ctx, referee, rows, f"dataset:{offer['dataset']}")
    else:
        rows = await _generated(ctx)
        found = await _fix(ctx, referee, rows, "generated")
    handle = await asyncio.to_thread(referee.save, found)
    held_out = HeldOut(handle, found.source, len(found.validation), len(found.test), len(found.check))
    data: dict[str, Any] = {"held_out": held_out.__dict__, "removed": found.removed}
    text = f"held out from {found.source}: {held_out.validation} validation rows, {held_out.test} sealed test rows"
    if found.check:
        text += f"; {held_out.check} rows of the user's file, too few to hold out, will correct the estimate"
    own = await asyncio.to_thread(_own_training_rows, ctx, found, handle, embed)
    if own is not None:
        data["dataset"] = own.__dict__
        text += f"; {own.rows} of the user's rows are left for training ({own.handle})"
    notes = "".join(f"\n- {note}" for note in found.notes)
    removed = "".join(f"\n- {count} rows taken out: {reason}" for reason, count in found.removed.items())
    return ToolResult(text, text + notes + removed, data)


async def _generated_beside(ctx: ToolContext, referee: Referee, few: list[Row]) -> HeldOutSet | None:
    """Generated rows for the user's few to correct; None where the teacher cannot write them and the user's will do."""
    try:
        return await _fix(ctx, referee, await _generated(ctx), "generated")
    except (ToolFailure, ProviderError, BudgetExceeded) as failure:
        if len(few) < FEWEST:
            raise
        ctx.progress(f"the user's {len(few)} rows are held out after all: {failure}", 1.0)
        return None


async def _with_teacher(ctx: ToolContext, rows: list[Row]) -> tuple[Row, ...]:
    """The user's few rows, each with what the teacher says of it: how far its answers can be trusted for the rest."""
    assert ctx.teacher is not None
    texts = [row.input for row in rows]
    said = await kinds.of(ctx.task).answer(texts, ctx.task, ctx.teacher, stop=ctx.out_of_time)
    return tuple(replace(row, meta={**row.meta, "teacher": answer}) for row, answer in zip(rows, said, strict=True))


def _check_note(n: int) -> str:
    return (
        f"the user's {n} labelled rows are too few to choose a student and to measure it: the teacher wrote the "
        "held-out rows, and the user's correct what they say"
    )


async def _fix(ctx: ToolContext, referee: Referee, rows: list[Row], source: str) -> HeldOutSet:
    """Rows that are not the user's own: too few of them are a failed step, not a fault in the user's files."""
    try:
        return await asyncio.to_thread(referee.fix_from_rows, ctx.task, rows, source, ctx.seed)
    except BadInput as error:
        raise ToolFailure("provider" if source == "generated" else "invalid_args", str(error)) from error


async def _generated(ctx: ToolContext) -> list[Row]:
    """Rows that the teacher wrote and, asked again, answered the same."""
    kind = kinds.of(ctx.task)
    teacher = need(
        ctx.teacher, "precondition", "there is no labelled file, no dataset and no teacher to hold rows out from"
    )
    seed = ctx.rng("held-out").randrange(2**31)
    share_spent, so_far = ctx.time_share(WRITE_SHARE), 0

    def told(done: int, of: int) -> None:
        nonlocal so_far
        so_far = done
        ctx.progress(f"{done} of {of} held-out rows written", 0.7 * done / of)

    def stop() -> bool:
        return ctx.out_of_time() or (share_spent() and so_far >= max(FEWEST_WRITTEN, 2 * len(ctx.task.labels)))

    written = await kind.write(ctx.task, teacher, n=GENERATED_ROWS, seed=seed, progress=told, stop=stop)
    texts = [row.input for row in written.rows]
    second = await kind.answer(
        texts,
        ctx.task,
        teacher,
        again=True,
        progress=lambda done, of: ctx.progress(f"{done} of {of} checked", 0.7 + 0.3 * done / of),
        stop=ctx.out_of_time,
    )
    agreed = [row for row, said in zip(written.rows, second, strict=True) if kind.agrees(ctx.task, row.output, said)]
    if len(agreed) < 20 and ctx.out_of_time():
        raise ToolFailure("budget", f"the time was spent when {len(agreed)} held-out rows were written and checked")
    if len(agreed) < 20:
        raise ToolFailure(
            "provider",
            f"the teacher agreed with itself on only {len(agreed)} of {len(texts)} rows: too few to hold out. "
            "Give a labelled file (validation:), a catalogue, or a stronger teacher",
        )
    return agreed


def _own_training_rows(ctx: ToolContext, found: HeldOutSet, handle: str, embed: Any) -> DataInfo | None:
    """What the user labelled and the referee does not need: the rest of the validation file, and the training file."""
    from p2m.data.labelled import read_for
    from p2m.data.near import HeldOutGuard, samples

    rows = list(found.leftover)
    task = ctx.task
    if task.train and task.validation:  # a training file alone was split by the referee: its rest is the leftover
        rows += read_for(task, task.train)
    if not rows:
        return None
    admitted = HeldOutGuard(guard_texts(ctx.store, handle), embed).admit(rows)
    if not admitted.kept:
        raise BadInput("every training row is also in the held-out file", where=task.train or "", fix="Give other rows")
    name = ctx.store.handle("ds", tool="own_rows", rows=[[r.input, r.output] for r in admitted.kept], held_out=handle)
    meta = {"removed": admitted.counts, "removed_samples": samples(admitted.removed)}
    ctx.store.save_rows(name, admitted.kept, meta)
    counts = kinds.of(task).counts(admitted.kept)
    source = found.source if found.source.startswith("dataset:") else "user"
    return DataInfo(name, source, len(admitted.kept), counts, admitted.counts, checked=True)
