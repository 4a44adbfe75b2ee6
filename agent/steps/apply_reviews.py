"""apply_reviews: what a person said of training rows becomes training signal: rejected rows go, the others stand."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from p2m import kinds
from p2m.data.near import Removed, normalise, samples
from p2m.errors import ToolFailure
from p2m.rows import Row, done_to
from tools.base import ToolContext, ToolResult, tool
from tools.workspace import DataInfo

REJECTED = "rejected_by_user"


@tool()
async def apply_reviews(ctx: ToolContext, *, reviews: list[dict[str, str]]) -> ToolResult:
    """Take the person's word for the rows they looked at: no later check changes those again."""
    kind = kinds.of(ctx.task)
    relabelled = [r for r in reviews if r["verdict"] == "relabel"]
    if unknown := {r["label"] for r in relabelled if not kind.valid(ctx.task, Row(r["input"], r["label"]))}:
        known = f"; the labels are {list(ctx.task.labels)}" if ctx.task.labels else ""
        raise ToolFailure("invalid_args", f"these are no answers here: {sorted(unknown)}{known}")
    said = {normalise(r["input"]): r for r in reviews}
    updates: list[dict[str, Any]] = []
    counts: Counter[str] = Counter()
    for info in ctx.workspace.datasets:
        updates += await asyncio.to_thread(_apply, ctx, info, said, counts)
    if not updates:
        return ToolResult("the person reviewed rows that are no longer in use: nothing changed")
    words = ", ".join(f"{counts[v]} {word}" for v, word in _WORDS.items() if counts[v])
    text = f"the person reviewed {counts.total()} training rows: {words}"
    return ToolResult(text, text, {"datasets": updates})


_WORDS = {"accept": "accepted", "relabel": "relabelled", "reject": "rejected"}


def _apply(
    ctx: ToolContext, info: DataInfo, said: Mapping[str, Mapping[str, str]], counts: Counter[str]
) -> list[dict[str, Any]]:
    """The dataset without the rows that were judged, and those of them that stay as one whose labels are checked."""
    rest: list[Row] = []
    judged: list[Row] = []
    rejected: list[Row] = []
    for row in ctx.store.rows(info.handle):
        review = said.get(normalise(row.input))
        if review is None:
            rest.append(row)
            continue
        counts[review["verdict"]] += 1
        if review["verdict"] == "reject":
            rejected.append(row)
        else:
            judged.append(_settled(row, review))
    if not judged and not rejected:
        return []
    removed = dict(Counter(info.removed) + Counter({REJECTED: len(rejected)}))
    meta: dict[str, Any] = {"of": info.handle, "removed": removed}
    meta["removed_samples"] = samples([Removed(row, REJECTED) for row in rejected])
    updates = [{"dataset": asdict(_save(ctx, info, "rest", rest, removed, meta)), "replaces": [info.handle]}]
    if judged:
        kept = replace(info, checked=True)
        updates.append({"dataset": asdict(_save(ctx, kept, "judged", judged, {}, {"of": info.handle}))})
    return updates


def _settled(row: Row, review: Mapping[str, str]) -> Row:
    if review["verdict"] == "accept":
        # Another check may have changed the label since the person saw it: what they saw is what they accepted.
        return done_to(replace(row, output=review["output"], probs=None), "accepted by the user")
    return done_to(replace(row, output=review["label"], probs=None), "relabelled by the user", was=row.output)


def _save(
    ctx: ToolContext, info: DataInfo, part: str, rows: list[Row], removed: dict[str, int], meta: dict[str, Any]
) -> DataInfo:
    handle = ctx.store.handle(
        "ds", tool="apply_reviews", of=info.handle, part=part, rows=[[row.input, row.output] for row in rows]
    )
    ctx.store.save_rows(handle, rows, meta)
    labels = kinds.of(ctx.task).counts(rows)
    return replace(info, handle=handle, rows=len(rows), labels=labels, removed=removed)
