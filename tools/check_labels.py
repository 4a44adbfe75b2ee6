"""check_labels: ask the teacher and confident learning whether training rows have the right label."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from p2m import kinds
from p2m.catalog.embedding import default_embed
from p2m.data.label_check import Checked, Suspicion, agreement, settle, suspect, to_ask
from p2m.data.near import samples
from p2m.errors import ToolFailure
from p2m.rows import Row
from tools.base import Facts, ToolContext, ToolResult, first_problem, need, tool
from tools.workspace import DataInfo, Workspace, dataset_updates

if TYPE_CHECKING:
    from p2m.generate.label import Labelled

SAMPLES = 5
# The rest is for training on what was checked.
TIME_SHARE = 0.7


def _todo(workspace: Workspace) -> list[DataInfo]:
    return [d for d in workspace.datasets if not d.checked]


def _can_check(workspace: Workspace, facts: Facts) -> str | None:
    return first_problem(
        (
            None if kinds.named(workspace.kind).answers_are_labels else "only labels can be checked",
            None if workspace.datasets else "there is no training data yet",
            None if _todo(workspace) else "the labels of every dataset are checked already",
            None if facts.has_teacher else "there is no teacher to ask",
        )
    )


@tool(
    precondition=_can_check,
    choices=lambda workspace: {"dataset": ["all", *(d.handle for d in _todo(workspace))]},
)
async def check_labels(
    ctx: ToolContext, *, dataset: Annotated[str, Field(description="a dataset's handle, or all")] = "all"
) -> ToolResult:
    """Check the labels of training rows with the teacher: wrong ones are relabelled, hopeless rows removed."""
    from p2m.generate.label import Labelled, label_texts

    teacher = need(ctx.teacher, "precondition", "there is no teacher to ask")
    chosen = [d for d in _todo(ctx.workspace) if dataset in ("all", d.handle)]
    if not chosen:
        raise ToolFailure("precondition", "nothing here is left to check")
    datasets = {d.handle: ctx.store.rows(d.handle) for d in chosen}
    rows = [row for d in chosen for row in datasets[d.handle]]
    ctx.progress("learning what the labels look like", 0.0)
    suspicion = await asyncio.to_thread(_suspicion, ctx, rows, {d.handle for d in chosen})
    asked = to_ask(rows, suspicion)
    made = 0

    def told(done: int, of: int) -> None:
        nonlocal made
        made = done
        ctx.progress(f"the teacher labelled {done} of {of}", done / of)

    answers = await label_texts(
        [rows[i].input for i in asked],
        ctx.task,
        teacher,
        progress=told,
        stop=ctx.time_share(TIME_SHARE),
    )
    opinions: list[Labelled | None] = [
        Labelled(max(row.probs, key=row.probs.__getitem__), row.probs) if row.probs else None for row in rows
    ]
    for i, answer in zip(asked, answers, strict=True):
        opinions[i] = answer

    lines, relabelled, removed, updates, start = [], [], [], [], 0
    for info in chosen:
        part = range(start, start + len(datasets[info.handle]))
        start = part.stop
        mine, said = rows[part.start : part.stop], opinions[part.start : part.stop]
        inside = [i for i in suspicion.rows if i in part]
        doubts = Suspicion(tuple(i - part.start for i in inside), {i - part.start: suspicion.guess[i] for i in inside})
        checked = settle(mine, said, doubts)
        fresh = _replace(ctx, info, checked, teacher.name)
        updates.append((fresh, info.handle))
        agreed = agreement(mine, [o.label if o else None for o in said])
        opinion = f"teacher agrees with {agreed.share:.0%} of {agreed.n} asked" if agreed.n else "no row to ask about"
        lines.append(
            f"{fresh.handle}: kept {len(checked.kept)} of {len(mine)} "
            f"({opinion}, {len(checked.relabelled)} relabelled, {len(checked.removed)} removed)"
        )
        relabelled += checked.relabelled
        removed += checked.removed
    text = "; ".join(lines)
    if late := len(asked) - made:
        text += f"; {late} rows were not asked about: the time for that was spent"
    shown = [f"“{row.input[:100]}”: {row.output} → {label}" for row, label in relabelled]
    shown += [f"“{r.row.input[:100]}”: {r.row.output}, removed" for r in removed]
    return ToolResult(text, "\n".join([text, *(f"- {s}" for s in shown[:SAMPLES])]), dataset_updates(updates))


def _suspicion(ctx: ToolContext, rows: list[Row], chosen: set[str]) -> Suspicion:
    """What confident learning doubts among ``rows``, learnt from all the training data there is."""
    embed = default_embed()
    if embed is None:
        return Suspicion((), {})
    pool = rows + [Row(e.input, e.output, "demonstration") for e in ctx.task.examples]
    pool += [row for d in ctx.workspace.datasets if d.handle not in chosen for row in ctx.store.rows(d.handle)]
    found = suspect(pool, embed([row.input for row in pool]), seed=ctx.seed)
    inside = tuple(i for i in found.rows if i < len(rows))
    return Suspicion(inside, {i: found.guess[i] for i in inside})


def _replace(ctx: ToolContext, info: DataInfo, checked: Checked, teacher: str) -> DataInfo:
    # Confident learning learns from everything in use, so the others are part of what made this one.
    handle = ctx.store.handle(
        "ds",
        tool="check_labels",
        of=info.handle,
        beside=sorted(d.handle for d in ctx.workspace.datasets),
        teacher=teacher,
        rows=[[row.input, row.output] for row in checked.kept],
    )
    counts = Counter(info.removed) + Counter(r.reason for r in checked.removed)
    meta = {
        "of": info.handle,
        "removed": dict(counts),
        "removed_samples": samples(checked.removed),
        "relabelled": len(checked.relabelled),
        "teacher": teacher,
    }
    ctx.store.save_rows(handle, checked.kept, meta)
    return replace(
        info,
        handle=handle,
        rows=len(checked.kept),
        labels=dict(Counter(row.output for row in checked.kept)),
        removed=dict(counts),
        checked=True,
    )
