"""transform_dataset: make a dataset's rows into rows of the task with the teacher, where only the subject fits."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from p2m import kinds
from p2m.catalog.base import Catalog
from p2m.catalog.importing import MAX_INPUT_CHARS
from p2m.catalog.mapping import pair_template
from p2m.catalog.template import parse_template
from p2m.catalog.untrusted import clean
from p2m.errors import ToolFailure
from p2m.rows import Row
from tools.base import Facts, ToolContext, ToolResult, first_problem, need, read_catalog, tool
from tools.generate_batch import SMALLEST_BATCH, screen
from tools.workspace import DataInfo, Workspace
from tools.worth import judge, rejection

if TYPE_CHECKING:
    from p2m.generate.transform import Plan

MOST_READ = 20_000
MOST_COLUMNS = 12
SHOWN = 3
REASONS = {
    "call_failed": "the call failed",
    "not_json": "the answer could not be read",
    "does_not_fit": "cannot become a row of the task",
    "no_label": "without a label of the task",
    "empty": "empty",
    "too_long": "too long",
    "prompt_text": "repeating the prompt",
    "repeated": "repeating another row",
    "not_reached": "not reached in time",
}


def open_datasets(workspace: Workspace) -> list[str]:
    """Found datasets on the subject whose labels do not fit: looked at and not advised, not used, not rejected."""
    done = {*workspace.imported, *workspace.refused, *workspace.advised}
    near = [h["id"] for h in workspace.hits if h.get("fit") in ("maybe", "yes")]
    return [name for name in near if name in workspace.inspected and name not in done]


def _can_transform(workspace: Workspace, facts: Facts) -> str | None:
    return first_problem(
        (
            None if kinds.named(workspace.kind).answers_are_labels else "only rows whose answer is a label can be made",
            None if facts.has_catalog else "there is no catalogue",
            None if facts.has_teacher else "there is no teacher to transform rows",
            None if open_datasets(workspace) else "there is no inspected dataset whose subject fits but not its labels",
            "the budget of generated examples is spent"
            if facts.examples_left is not None and facts.examples_left < SMALLEST_BATCH
            else None,
        )
    )


@tool(precondition=_can_transform, choices=lambda workspace: {"dataset": open_datasets(workspace)})
async def transform_dataset(
    ctx: ToolContext,
    *,
    dataset: Annotated[str, Field(description="the id of an inspected dataset that cannot be imported as it is")],
    max_rows: Annotated[int, Field(ge=SMALLEST_BATCH, le=1000, description="rows to transform")] = 120,
    split: str = "train",
) -> ToolResult:
    """Turn a dataset's rows into rows of the task with the teacher, one call a row: real texts, labelled anew."""
    catalog = need(ctx.catalog, "precondition", "there is no catalogue")
    teacher = need(ctx.teacher, "precondition", "there is no teacher to transform rows")
    allowed = ctx.examples_left()
    n = max_rows if allowed is None else min(max_rows, allowed)
    handle = ctx.store.handle(
        "ds",
        tool="transform_dataset",
        task=ctx.task.instruction,
        dataset=dataset,
        revision=await read_catalog(catalog.revision, dataset),
        split=split,
        n=n,
        seed=ctx.seed,
        teacher=teacher.name,
        before=[d.handle for d in ctx.workspace.datasets],
        held_out=ctx.workspace.held_out.handle if ctx.workspace.held_out else None,
    )
    if not ctx.store.has(handle):
        await _make(ctx, catalog, dataset, split, n, handle)
    return await _result(ctx, dataset, split, handle)


async def _make(ctx: ToolContext, catalog: Catalog, dataset: str, split: str, n: int, handle: str) -> None:
    from p2m.generate.transform import plan_transform, relabelling, transform_rows, works

    assert ctx.teacher is not None
    if ctx.out_of_time():
        raise ToolFailure("budget", "no time is left to transform rows")
    ctx.progress(f"reading {dataset}", None)
    rows = await read_catalog(_read, catalog, dataset, split)
    records = [record for record, _ in rows]
    columns = _columns(records)
    if not columns:
        raise ToolFailure("invalid_args", f"{dataset} {split} has no row with text")
    plan = await plan_transform(ctx.task, records, columns, ctx.teacher)
    picked = _picked(ctx, plan, rows, n, handle)
    if not await works(ctx.task, plan, picked, ctx.teacher):
        plan = relabelling(plan, records)
        picked = _picked(ctx, plan, rows, n, handle)
    made = await transform_rows(
        ctx.task,
        plan,
        picked,
        ctx.teacher,
        progress=lambda done, of: ctx.progress(f"{done} of {of} rows transformed", done / of),
        stop=ctx.out_of_time,
    )
    if not made.rows:
        if set(made.removed) == {"not_reached"}:
            raise ToolFailure("budget", "no time is left to transform rows")
        raise ToolFailure("invalid_args", f"no row of {dataset} became one of the task: {_counted(made.removed)}")
    kept, removed, samples = await asyncio.to_thread(screen, ctx, made.rows)
    about: dict[str, Any] = {
        "written": made.asked,
        "plan": asdict(plan),
        "removed": {**made.removed, **removed},
        "removed_samples": samples,
        "teacher": ctx.teacher.name,
    }
    ctx.store.save_rows(handle, kept, about)


def _read(catalog: Catalog, dataset: str, split: str) -> list[tuple[dict[str, Any], Row]]:
    """The split's records, each with the row that it may become: without an input, but with where it is from."""
    revision, source = catalog.revision(dataset), f"transformed:{dataset}/{split}"
    place = {"dataset": dataset, "revision": revision, "split": split}
    every = enumerate(catalog.rows(dataset, split, MOST_READ))
    return [(record, Row("", "", source, meta={**place, "row": number})) for number, record in every]


def _picked(
    ctx: ToolContext, plan: Plan, rows: list[tuple[dict[str, Any], Row]], n: int, handle: str
) -> list[tuple[dict[str, Any], Row]]:
    """``n`` of the rows that have the text which the plan needs."""
    usable = [
        (record, replace(row, input=text))
        for record, row in rows
        if (text := _text(ctx, plan, record)) and len(text) <= MAX_INPUT_CHARS
    ]
    if not usable:
        raise ToolFailure("invalid_args", f"no row has text in {', '.join(plan.columns)}")
    chosen = ctx.rng("transform", handle).sample(range(len(usable)), min(n, len(usable)))
    return [usable[i] for i in sorted(chosen)]


def _columns(records: list[dict[str, Any]]) -> list[str]:
    """Columns of plain values, with a name that a template can hold."""
    first = records[:100]
    names = dict.fromkeys(key for record in first for key in record)
    plain = [c for c in names if any(isinstance(r.get(c), str | int | float) and str(r[c]).strip() for r in first)]
    return [c for c in plain if not set(c) & set("{}")][:MOST_COLUMNS]


def _text(ctx: ToolContext, plan: Plan, record: Mapping[str, Any]) -> str | None:
    one = f"{{{plan.columns[0]}}}"
    template = one if len(plan.columns) == 1 else pair_template(ctx.task, plan.columns)
    return parse_template(template, plan.columns).fill(record)


async def _result(ctx: ToolContext, dataset: str, split: str, handle: str) -> ToolResult:
    rows, meta = ctx.store.rows(handle), ctx.store.meta(handle)
    judged = await judge(ctx, rows)
    if judged and judged.harmful:
        refused = rejection(dataset, len(rows), judged)
        return ToolResult(refused.text, refused.display, {**refused.data, "written": meta["written"]})
    info = DataInfo(
        handle,
        f"transformed:{dataset}/{split}",
        len(rows),
        dict(Counter(r.output for r in rows).most_common()),
        meta["removed"],
        checked=True,  # by the teacher, a moment ago
        worth=judged.as_dict() if judged else None,
    )
    plan = meta["plan"]
    how = "labelled anew" if plan["mode"] == "relabel" else f"rewritten ({clean(plan['steps'], 160)})"
    text = f"{handle}: {len(rows)} rows of {meta['written']} asked for, from {dataset} {clean(split, 30)}, {how}."
    if lost := _counted(meta["removed"]):
        text += f" Left out: {lost}."
    if judged:
        text += f" Worth: {judged.words()}."
    shown = [f"- {clean(r.output, 60)}: {clean(r.input, 120)}" for r in rows[:SHOWN]]
    data: dict[str, Any] = {"dataset": asdict(info), "imported": dataset, "written": meta["written"]}
    return ToolResult(text, "\n".join([text, "", *shown]), data)


def _counted(removed: Mapping[str, int]) -> str:
    return ", ".join(f"{n:,} {REASONS.get(reason, reason)}" for reason, n in removed.items() if n)
