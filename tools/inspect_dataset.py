"""inspect_dataset: look at a found dataset's columns, labels and first rows before using it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from p2m.catalog.profile import Column, Profile
from p2m.catalog.untrusted import clean, fence
from tools.base import Facts, ToolContext, ToolResult, first_problem, need, tool
from tools.recipe import as_proposed, look
from tools.workspace import Workspace

ROWS_SHOWN = 3
LABELS_SHOWN = 12


def _open(workspace: Workspace) -> list[str]:
    return [h["id"] for h in workspace.hits if h["id"] not in workspace.inspected]


def _can_inspect(workspace: Workspace, facts: Facts) -> str | None:
    return first_problem(
        (
            None if facts.has_catalog else "there is no catalogue",
            None if workspace.searched else "search the catalogue first",
            None if _open(workspace) else "there is no found dataset left to inspect",
        )
    )


@tool(precondition=_can_inspect, choices=lambda workspace: {"dataset": _open(workspace)})
async def inspect_dataset(
    ctx: ToolContext, *, dataset: Annotated[str, Field(description="the id of a found dataset")]
) -> ToolResult:
    """Look at a found dataset before importing it: columns, how its labels map to the task's, first rows, advice."""
    catalog = need(ctx.catalog, "precondition", "there is no catalogue")
    found = await look(ctx, catalog, dataset)
    seen, mapping, agreed, problem = found.profile, found.mapping, found.agreed, found.problem
    lines = [
        f"Fits: import_dataset {dataset}." if problem is None else f"Not advised: {problem}.",
        f"{mapping.kept:,} of {seen.rows_read:,} {clean(seen.split, 30)} rows can be used; coverage of the labels "
        f"{mapping.coverage:.0%}; confidence {mapping.confidence:.2f}.",
        f"The nearest rows give the label of {agreed.agree} of {agreed.n} of the task's examples." if agreed.n else "",
        f"{found.note[:1].upper()}{clean(found.note[1:], 300)}." if found.note else "",
        fence(
            (
                f"mapping: {'; '.join(clean(r, 200) for r in mapping.reasons) or 'none'}",
                *([f"input: {clean(mapping.template, 300)}"] if mapping.template else []),
                f"splits: {', '.join(f'{clean(k, 30)} {v:,}' for k, v in list(seen.splits.items())[:6])}; "
                f"about {_size(seen)}; "
                f"licence {clean(seen.license, 40)}; language {clean('/'.join(seen.language) or 'not stated', 30)}; "
                f"repeated inputs {seen.duplicate_share:.1%}",
                *(_column(c) for c in seen.columns[:10]),
                *(f"row: {_row(r)}" for r in seen.sample[:ROWS_SHOWN]),
            )
        ),
    ]
    text = "\n".join(line for line in lines if line)
    data: dict[str, Any] = {"inspected": dataset}
    if problem is None:
        data["advised"] = dataset
        if found.from_teacher:
            data |= as_proposed(dataset, mapping)
    return ToolResult(text, f"**{dataset}**\n\n```\n{text.replace('```', '')}\n```", data)


def _size(seen: Profile) -> str:
    """The text of all splits, from what the rows read take."""
    total = seen.mean_row_bytes * sum(seen.splits.values())
    return f"{total / 1e6:,.1f} MB of rows" if total >= 1e5 else f"{total / 1e3:,.0f} kB of rows"


def _column(column: Column) -> str:
    line = f"column {clean(column.name, 60)}: {column.type}"
    if column.missing:
        line += f" ({column.missing:,} empty)"
    if column.values:
        shown = [f"{clean(value, 40)} {count:,}" for value, count in list(column.values.items())[:LABELS_SHOWN]]
        return f"{line}, {column.distinct} values: {', '.join(shown)}" + (
            ", …" if column.distinct > LABELS_SHOWN else ""
        )
    return f"{line}, {column.mean_chars:.0f} characters on average" if column.type == "text" else line


def _row(row: dict[str, Any]) -> str:
    return clean("; ".join(f"{clean(k, 40)}={clean(v, 120)}" for k, v in row.items()), 300)
