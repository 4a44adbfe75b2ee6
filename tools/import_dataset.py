"""import_dataset: bring a found dataset's rows into the run, mapped to the task's columns and labels."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any

from pydantic import Field

from p2m import kinds
from p2m.catalog.base import Catalog
from p2m.catalog.importing import Recipe, balanced, map_rows
from p2m.catalog.untrusted import clean
from p2m.catalog.worth import Worth
from p2m.errors import ToolFailure
from p2m.rows import Row
from tools.base import Facts, ToolContext, ToolResult, first_problem, need, read_catalog, tool
from tools.recipe import plan
from tools.workspace import DataInfo, Workspace
from tools.worth import judge, rejection

HELD_OUT_SPLITS = ("test", "validation")
LEAST_HELD_OUT = 30
MOST_HELD_OUT = 1000
SAMPLES = 20
REASONS = {
    "filtered": "not matching the filter",
    "other_label": "with a label the task does not have",
    "empty": "empty",
    "too_long": "too long",
}


def _open(workspace: Workspace) -> list[str]:
    """Found datasets that nothing speaks against yet: not looked at, advised, or in need of a written label map."""

    def usable(hit: dict[str, Any]) -> bool:
        seen = hit["id"] in workspace.inspected
        return not seen or hit["id"] in workspace.advised or hit.get("fit") == "maybe"

    done = {*workspace.imported, *workspace.refused}
    return [h["id"] for h in workspace.hits if h["id"] not in done and usable(h)]


def _can_import(workspace: Workspace, facts: Facts) -> str | None:
    return first_problem(
        (
            None if facts.has_catalog else "there is no catalogue",
            None if workspace.searched else "search the catalogue first",
            None if _open(workspace) else "there is no found dataset left that fits",
        )
    )


@dataclass(frozen=True)
class _Imported:
    info: DataInfo
    available: int
    offer: dict[str, Any] | None


@tool(precondition=_can_import, choices=lambda workspace: {"dataset": _open(workspace)})
async def import_dataset(
    ctx: ToolContext,
    *,
    dataset: Annotated[str, Field(description="the id of a found dataset")],
    input_column: Annotated[str | None, Field(description="leave out for the proposed one")] = None,
    input_template: Annotated[
        str | None,
        Field(max_length=500, description="several columns as one input: 'Title: {title} Text: {body}'"),
    ] = None,
    output_column: Annotated[str | None, Field(description="leave out for the proposed one")] = None,
    label_map: Annotated[
        dict[str, str] | None,
        Field(description="the dataset's value -> the task's label; leave out for the proposed one"),
    ] = None,
    split: str = "train",
    max_rows: Annotated[int, Field(ge=10, le=20_000)] = 2000,
    filter: Annotated[str | None, Field(max_length=200, description="keep only rows with column=value")] = None,
) -> ToolResult:
    """Import a found dataset as training rows: real rows, labelled by people, evenly over the task's labels."""
    catalog = need(ctx.catalog, "precondition", "there is no catalogue")
    recipe, note = await plan(
        ctx,
        catalog,
        dataset,
        input_column=input_column,
        input_template=input_template,
        output_column=output_column,
        label_map=label_map,
        filter=filter,
    )
    made = await read_catalog(_import, ctx, catalog, dataset, split, recipe, max_rows)
    judged = await judge(ctx, ctx.store.rows(made.info.handle))
    if judged and judged.harmful:
        return rejection(dataset, made.info.rows, judged)
    info = replace(made.info, worth=judged.as_dict() if judged else None)
    data: dict[str, Any] = {"dataset": asdict(info), "imported": dataset}
    if made.offer:
        data["held_out_offer"] = made.offer
    text = _text(ctx, dataset, split, made, judged)
    if note:
        text += f" {note[:1].upper()}{clean(note[1:], 300)}."
    counts = "".join(f"\n| {clean(label, 60)} | {n:,} |" for label, n in list(made.info.labels.items())[:30])
    table = f"\n\n| label | rows |\n| --- | --: |{counts}" if counts else ""
    return ToolResult(text, text + table, data)


def _import(ctx: ToolContext, catalog: Catalog, dataset: str, split: str, recipe: Recipe, max_rows: int) -> _Imported:
    held_out = ctx.workspace.held_out
    handle = ctx.store.handle(
        "ds",
        tool="import_dataset",
        dataset=dataset,
        revision=catalog.revision(dataset),
        split=split,
        recipe=asdict(recipe),
        max_rows=max_rows,
        seed=ctx.seed,
        held_out=held_out.handle if held_out else None,
    )
    if not ctx.store.has(handle):
        ctx.progress(f"reading {dataset}", None)
        mapped = map_rows(catalog, dataset, split, recipe)
        chosen = balanced(
            mapped.rows, max_rows, ctx.rng("import", handle), by_label=kinds.of(ctx.task).answers_are_labels
        )
        kept, near, samples = _admit(ctx, chosen)
        if not kept:
            left_out = ", ".join(f"{n:,} {REASONS[reason]}" for reason, n in mapped.removed.items())
            why = left_out or "all of them are held-out rows"
            raise ToolFailure("invalid_args", f"no row of {dataset} {split} can be used: {why}")
        about: dict[str, Any] = {
            "removed": {**mapped.removed, **near},
            "removed_samples": samples,
            "available": len(mapped.rows),
            "dataset": dataset,
            "revision": catalog.revision(dataset),
        }
        ctx.store.save_rows(handle, kept, about)
    rows, meta = ctx.store.rows(handle), ctx.store.meta(handle)
    counts = kinds.of(ctx.task).counts(rows)
    labels = dict(sorted(counts.items(), key=lambda item: -item[1]))
    # People labelled these rows: they need no check by the teacher.
    info = DataInfo(handle, f"dataset:{dataset}/{split}", len(rows), labels, meta["removed"], checked=True)
    return _Imported(info, meta["available"], _offer(ctx, catalog, dataset, split, recipe))


def _admit(ctx: ToolContext, rows: list[Row]) -> tuple[list[Row], dict[str, int], list[dict[str, str]]]:
    """The rows that are not near a held-out one; what was removed, counted by reason, with samples. Before there are
    held-out rows all pass: training admits them again."""
    if ctx.workspace.held_out is None:
        return rows, {}, []
    from p2m.catalog.embedding import default_embed
    from p2m.data.near import HeldOutGuard, samples
    from p2m.data.referee import guard_texts

    ctx.progress(f"comparing {len(rows)} rows with the held-out ones", None)
    texts = guard_texts(ctx.store, ctx.workspace.held_out.handle)
    admitted = HeldOutGuard(texts, default_embed()).admit(rows)
    return admitted.kept, admitted.counts, samples(admitted.removed, SAMPLES)


def _offer(ctx: ToolContext, catalog: Catalog, dataset: str, split: str, recipe: Recipe) -> dict[str, Any] | None:
    """The dataset's own test rows as held-out rows, where those in use are worse and nothing is trained yet."""
    held_out = ctx.workspace.held_out
    if ctx.task.validation or ctx.workspace.experiments or (held_out is not None and held_out.source != "generated"):
        return None
    splits = catalog.splits(dataset)
    for name in HELD_OUT_SPLITS:
        if name == split or name not in splits:
            continue
        rows = map_rows(catalog, dataset, name, recipe).rows
        if len(rows) < LEAST_HELD_OUT or set(ctx.task.labels) - set(kinds.of(ctx.task).counts(rows)):
            continue
        handle = ctx.store.handle(
            "offer",
            tool="import_dataset",
            dataset=dataset,
            revision=catalog.revision(dataset),
            split=name,
            recipe=asdict(recipe),
            seed=ctx.seed,
        )
        # As they come, not evenly: held-out rows are to look like the rows of the task.
        sample = balanced(rows, MOST_HELD_OUT, ctx.rng("held-out", handle), by_label=False)
        ctx.store.save_rows(handle, sample, {"dataset": dataset, "split": name, "available": len(rows)})
        return {"dataset": dataset, "split": name, "handle": handle}
    return None


def _text(ctx: ToolContext, dataset: str, split: str, made: _Imported, judged: Worth | None) -> str:
    info = made.info
    parts = [f"{info.handle}: {info.rows:,} of {made.available:,} usable rows of {dataset} {clean(split, 30)}."]
    missing = [label for label in ctx.task.labels if label not in info.labels] if info.labels else []
    if info.labels:
        parts.append(
            f"{len(info.labels)} labels, {min(info.labels.values())} to {max(info.labels.values())} rows each."
        )
    if missing:
        parts.append(f"It has no rows for {', '.join(missing)}: generate those.")
    left_out = [f"{n:,} {REASONS.get(reason, reason)}" for reason, n in info.removed.items() if n]
    if left_out:
        parts.append(f"Left out: {', '.join(left_out)}.")
    if ctx.workspace.held_out is None:
        parts.append(
            "There are no held-out rows yet: training will take out what is near them, and its worth is measured then."
        )
    if judged:
        parts.append(f"Worth: {judged.words()}.")
    if made.offer:
        parts.append(f"Its {made.offer['split']} split will be the held-out rows.")
    parts.append("Next: fine_tune." if not missing else "")
    return " ".join(p for p in parts if p)
