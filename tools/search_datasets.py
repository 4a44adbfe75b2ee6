"""search_datasets: find datasets in the catalogue that hold rows for this task."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Annotated

from pydantic import Field

from p2m.catalog.base import Hit
from p2m.catalog.rank import FITS
from p2m.catalog.rerank import MOST, Candidate, Order, rerank
from p2m.catalog.untrusted import clean, fence
from p2m.errors import BudgetExceeded, ProviderError
from tools.base import LEAST_SECONDS, Facts, ToolContext, ToolResult, first_problem, need, tool
from tools.workspace import Workspace

MAX_SEARCHES = 2
SHOWN = 5
NOT_READ_SHOWN = 3
OPINION_SECONDS = 60.0


def _can_search(workspace: Workspace, facts: Facts) -> str | None:
    return first_problem(
        (
            None if facts.has_catalog else "there is no catalogue to search",
            f"the catalogue was searched {MAX_SEARCHES} times" if workspace.searches >= MAX_SEARCHES else None,
        )
    )


@tool(precondition=_can_search)
async def search_datasets(
    ctx: ToolContext,
    *,
    queries: Annotated[
        list[Annotated[str, Field(min_length=2, max_length=120)]],
        Field(min_length=1, max_length=6, description="short keyword queries: the subject, the kind of text, the task"),
    ],
) -> ToolResult:
    """Search the catalogue for real labelled rows. Gives datasets whose subject and labels fit the task."""
    catalog = need(ctx.catalog, "precondition", "there is no catalogue to search")
    task = ctx.task

    def find() -> tuple[list[Hit], dict[str, str]]:
        found = catalog.search(queries, kind=task.kind, language=task.language, limit=MOST, labels=task.labels)
        return found, catalog.unreadable()

    ctx.progress("searching the catalogue and looking at the first rows of the best", None)
    try:
        hits, unreadable = await asyncio.to_thread(find)
    except ProviderError as error:  # a catalogue that is down costs the run its real rows, not its life
        text = f"The catalogue could not be searched: {clean(error, 300)}. Go on without it: generate rows."
        return ToolResult(text, text, {"hits": []})
    order = await _second_opinion(ctx, [h for h in hits if h.fit != "no"])
    hits = _ordered(hits, order)
    fitting = [h for h in hits if h.fit == "yes"][:SHOWN] or [h for h in hits if h.fit == "maybe"][:2]
    listed = _listed(fitting)
    if unreadable:
        listed.append(f"{len(unreadable)} could not be read ({'; '.join(_not_read(unreadable)[:NOT_READ_SHOWN])})")
    lines = [_verdict(hits, fitting), *([fence(listed)] if listed else [])]
    known = [
        {
            "id": h.id,
            "why": clean(h.why),
            "score": h.score,
            "rows": h.rows,
            "license": clean(h.license, 40),
            "summary": clean(h.summary),
            "fit": h.fit,
        }
        for h in fitting
    ]
    notes = [f"- not looked at: {_cell(line)}" for line in _not_read(unreadable)]
    if order and order.problem:
        notes.append(f"- the teacher was asked for an order, without use: {_cell(order.problem)}")
    return ToolResult("\n".join(lines), "\n".join([_table(hits), *([""] if notes else []), *notes]), {"hits": known})


async def _second_opinion(ctx: ToolContext, likely: list[Hit]) -> Order | None:
    """The teacher's order of what code found likely; None where there is nobody to ask or nothing to order.

    The embedded models are not asked: nobody has measured that it helps, and it takes them long (docs/retrieval.md)."""
    if ctx.teacher is None or ctx.teacher.is_local or len(likely) < 2 or ctx.out_of_time():
        return None
    left = ctx.seconds_left()
    seconds = OPINION_SECONDS if left is None else min(OPINION_SECONDS, left - LEAST_SECONDS)
    ctx.progress("asking the teacher which of them fits best", None)
    try:
        async with asyncio.timeout(seconds):
            return await rerank(ctx.task, [Candidate(h.id, _said(h)) for h in likely], ctx.teacher)
    except TimeoutError:
        problem = f"no answer in {seconds:.0f} s"
    except (ProviderError, BudgetExceeded) as error:
        problem = clean(error, 200)
    return Order(tuple(h.id for h in likely), problem=problem)


def _ordered(hits: list[Hit], order: Order | None) -> list[Hit]:
    """``hits`` in the teacher's order, with its reasons. Whether one fits is what code found in its rows: one that fits
    stays before one that may."""
    if order is None:
        return hits
    places = {name: place for place, name in enumerate(order.ids)}
    ordered = sorted(hits, key=lambda h: (FITS.index(h.fit), places.get(h.id, len(places))))
    said = order.reasons
    return [replace(h, why=f"{h.why}; teacher: {said[h.id]}") if said.get(h.id) else h for h in ordered]


def _said(hit: Hit) -> str:
    facts = [f"{hit.rows:,} rows", *hit.task_categories[:3], "/".join(hit.language[:4]), hit.why]
    return f"{hit.title} ({', '.join(f for f in facts if f)}). {hit.summary}"


def _not_read(unreadable: dict[str, str]) -> list[str]:
    return [f"{clean(name, 80)}: {clean(reason, 120)}" for name, reason in unreadable.items()]


def _verdict(hits: list[Hit], fitting: list[Hit]) -> str:
    if not fitting:
        best = f" The nearest is {hits[0].id} (score {hits[0].score:.2f}: {clean(hits[0].why)})." if hits else ""
        return f"Nothing in the catalogue fits this task.{best} Go on without it: generate rows."
    if fitting[0].fit == "maybe":
        near = f"{fitting[0].id} is on the subject"
        return f"No dataset has the task's labels by name; {near}. Inspect it, or generate rows."
    count = "1 dataset fits" if len(fitting) == 1 else f"{len(fitting)} datasets fit"
    return f"{count}. Next: inspect_dataset {fitting[0].id}."


def _listed(fitting: list[Hit]) -> list[str]:
    return [
        f"{i}. {h.id}: {h.rows:,} rows, {clean(h.license, 40) or 'no licence'}, score {h.score:.2f}; "
        f"{clean(h.why)}. {clean(h.summary, 120)}"
        for i, h in enumerate(fitting, 1)
    ]


def _table(hits: list[Hit]) -> str:
    if not hits:
        return "No dataset matches."
    head = "| dataset | rows | licence | score | fits | why |\n| --- | --: | --- | --: | --- | --- |\n"
    return head + "\n".join(
        f"| {h.id} | {h.rows:,} | {_cell(h.license)} | {h.score:.2f} | {h.fit} | {_cell(h.why)} |" for h in hits
    )


def _cell(text: str) -> str:
    return clean(text).replace("|", "\\|")
