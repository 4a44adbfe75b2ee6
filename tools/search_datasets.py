"""search_datasets: find datasets in the catalogue that hold rows for this task."""

from __future__ import annotations

import asyncio
from typing import Annotated

from pydantic import Field

from p2m.catalog.base import Hit
from p2m.catalog.untrusted import clean, fence
from p2m.errors import ProviderError
from tools.base import Facts, ToolContext, ToolResult, first_problem, need, tool
from tools.workspace import Workspace

MAX_SEARCHES = 2
SHOWN = 5


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
        found = catalog.search(queries, kind=task.kind, language=task.language, limit=SHOWN, labels=task.labels)
        return found, catalog.unreadable()

    ctx.progress("searching the catalogue and looking at the first rows of the best", None)
    try:
        hits, unreadable = await asyncio.to_thread(find)
    except ProviderError as error:  # a catalogue that is down costs the run its real rows, not its life
        text = f"The catalogue could not be searched: {clean(error, 300)}. Go on without it: generate rows."
        return ToolResult(text, text, {"hits": []})
    fitting = [h for h in hits if h.fit == "yes"] or [h for h in hits if h.fit == "maybe"][:2]
    listed = _listed(fitting)
    if unreadable:
        reasons = "; ".join(f"{clean(name, 80)}: {clean(reason, 120)}" for name, reason in list(unreadable.items())[:3])
        listed.append(f"{len(unreadable)} could not be read ({reasons})")
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
    return ToolResult("\n".join(lines), _table(hits), {"hits": known})


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
