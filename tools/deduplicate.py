"""deduplicate: take out of the training data what repeats itself or a held-out row."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from p2m import kinds
from p2m.catalog.embedding import default_embed
from p2m.data.near import HeldOutGuard, Removed, samples
from p2m.data.near import deduplicate as find_duplicates
from p2m.errors import ToolFailure
from p2m.rows import Row
from tools.base import Facts, ToolContext, ToolResult, tool
from tools.workspace import DataInfo, Workspace, dataset_updates

if TYPE_CHECKING:
    from p2m.data.near import Embed

SAMPLES = 5
REASONS = {
    "duplicate_exact": "exact duplicates",
    "duplicate_near": "near-duplicates",
    "duplicate_similar": "paraphrases",
    "held_out_exact": "held-out rows",
    "held_out_near": "held-out look-alikes",
    "held_out_similar": "held-out paraphrases",
}


def _todo(workspace: Workspace) -> list[DataInfo]:
    return [d for d in workspace.datasets if not d.deduplicated]


def _something_to_do(workspace: Workspace, facts: Facts) -> str | None:
    if not workspace.datasets:
        return "there is no training data yet"
    return None if _todo(workspace) else "every dataset is deduplicated already"


@tool(
    precondition=_something_to_do,
    choices=lambda workspace: {"dataset": ["all", *(d.handle for d in _todo(workspace))]},
)
async def deduplicate(
    ctx: ToolContext, *, dataset: Annotated[str, Field(description="a dataset's handle, or all")] = "all"
) -> ToolResult:
    """Remove training rows that repeat each other or look like held-out rows, exactly or in other words."""
    # Real data first: of two alike, it is the generated row that goes.
    chosen = sorted(
        (d for d in _todo(ctx.workspace) if dataset in ("all", d.handle)), key=lambda d: d.source == "generated"
    )
    if not chosen:
        raise ToolFailure("precondition", "nothing here is left to deduplicate")
    embed = default_embed()
    others = [d for d in ctx.workspace.datasets if d not in chosen]
    earlier = [Row(e.input, e.output, "demonstration") for e in ctx.task.examples]
    earlier += [row for d in others for row in ctx.store.rows(d.handle)]
    guard = await asyncio.to_thread(_guard, ctx, embed)
    lines, samples, updates = [], [], []
    for done, info in enumerate(chosen):
        ctx.progress(f"deduplicating {info.handle}", done / len(chosen))
        rows = ctx.store.rows(info.handle)
        kept, removed = await asyncio.to_thread(_screen, rows, earlier, guard, embed)
        earlier += kept
        fresh = _replace(ctx, info, kept, removed, with_embeddings=embed is not None)
        updates.append((fresh, info.handle))
        lines.append(f"{fresh.handle}: kept {len(kept)} of {len(rows)}" + _why(removed))
        samples += removed
    text = "; ".join(lines)
    if embed is None:
        text += ". Paraphrases were not looked for: the encoder is not here (p2m pull all-minilm-l6-v2)"
    return ToolResult(text, _display(text, samples), dataset_updates(updates))


def _guard(ctx: ToolContext, embed: Embed | None) -> HeldOutGuard | None:
    from p2m.data.referee import guard_texts

    held_out = ctx.workspace.held_out
    return HeldOutGuard(guard_texts(ctx.store, held_out.handle), embed) if held_out else None


def _screen(
    rows: Sequence[Row], earlier: Sequence[Row], guard: HeldOutGuard | None, embed: Embed | None
) -> tuple[list[Row], list[Removed]]:
    unique = find_duplicates(rows, embed, earlier)
    if guard is None:
        return unique.kept, unique.removed
    admitted = guard.admit(unique.kept)
    return admitted.kept, unique.removed + admitted.removed


def _replace(
    ctx: ToolContext, info: DataInfo, kept: list[Row], removed: list[Removed], *, with_embeddings: bool
) -> DataInfo:
    handle = ctx.store.handle(
        "ds",
        tool="deduplicate",
        of=info.handle,
        beside=sorted(d.handle for d in ctx.workspace.datasets),
        held_out=ctx.workspace.held_out.handle if ctx.workspace.held_out else None,
        with_embeddings=with_embeddings,
    )
    counts = Counter(info.removed) + Counter(r.reason for r in removed)
    ctx.store.save_rows(handle, kept, {"of": info.handle, "removed": dict(counts), "removed_samples": samples(removed)})
    return replace(
        info,
        handle=handle,
        rows=len(kept),
        labels=kinds.of(ctx.task).counts(kept),
        removed=dict(counts),
        deduplicated=True,
    )


def _why(removed: Sequence[Removed]) -> str:
    counts = Counter(r.reason for r in removed)
    listed = ", ".join(f"{counts[reason]} {words}" for reason, words in REASONS.items() if counts[reason])
    return f" ({listed})" if listed else ""


def _display(text: str, removed: Sequence[Removed]) -> str:
    lines = [text]
    # A held-out look-alike's own text is training data; what it looks like is sealed and empty in ``match``.
    for r in removed[:SAMPLES]:
        same = f" = “{r.match[:100]}”" if r.match else ""
        lines.append(f"- {REASONS[r.reason]}: “{r.row.input[:100]}”{same}")
    return "\n".join(lines)
