"""Rows of a dataset made into rows of the task by the teacher: planned once, then row by row, keeping what validates.

After DataTune: Gandhi et al. 2024, "Better Synthetic Data by Retrieving and Transforming Existing Datasets".
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from p2m.catalog.untrusted import FENCE_CLOSE, FENCE_OPEN, clean, fence
from p2m.data.near import normalise
from p2m.errors import BudgetExceeded, ProviderError
from p2m.generate.label import label_texts, shots
from p2m.prompts import Prompt, render
from p2m.rows import Row, done_to
from p2m.task.spec import TaskSpec

if TYPE_CHECKING:
    from p2m.llm.client import ChatModel
    from p2m.llm.reply import Reply

ROWS_PLANNED_ON = 3
LONGEST_INPUT = 2000
LONGEST_STEPS = 600
LONGEST_CELL = 1500
PROBE_ROWS = 8
PROBE_SHARE = 0.25
LEAST_SURE = 0.5
"""A label that the teacher gives less than this is no label: the row is probably of none of them."""


@dataclass(frozen=True)
class Plan:
    """``columns`` hold the input. ``relabel`` keeps their text; ``rewrite`` makes a new input by ``steps``."""

    columns: tuple[str, ...]
    mode: Literal["relabel", "rewrite"]
    steps: str = ""


@dataclass(frozen=True)
class Transformed:
    """``removed`` counts the rows that gave none, by reason: empty, too_long, call_failed, not_json, does_not_fit,
    no_label, prompt_text, repeated, not_reached (stopped before)."""

    rows: list[Row]
    asked: int
    removed: dict[str, int]


async def plan_transform(
    task: TaskSpec, records: Sequence[Mapping[str, Any]], columns: Sequence[str], teacher: ChatModel
) -> Plan:
    """One call over the task and the first rows. Raises ``ProviderError`` for an answer that is no plan, and what
    ``ChatModel.chat`` raises."""
    shown = [f"columns: {', '.join(clean(c, 60) for c in columns)}"]
    for record in records[:ROWS_PLANNED_ON]:
        shown.append("row: " + "; ".join(f"{clean(c, 40)}={clean(record.get(c), 300)}" for c in columns))
    prompt = render(
        "transform_plan",
        instruction=task.instruction,
        labels=task.labels,
        examples=shots(task.examples)[:8],
        dataset=fence(shown),
    )
    properties = {
        "columns": {"type": "array", "items": {"enum": list(columns)}, "minItems": 1, "maxItems": 4},
        "mode": {"enum": ["relabel", "rewrite"]},
        "steps": {"type": "string", "maxLength": LONGEST_STEPS},
    }
    reply = await teacher.chat(
        [{"role": "user", "content": prompt.text}],
        max_tokens=300,
        schema=_object(properties),
        prompt=prompt.hash,
    )
    plan = _read_plan(reply, columns)
    if plan is None:
        raise ProviderError("the teacher gave no usable plan for the dataset's rows")
    return plan


async def works(task: TaskSpec, plan: Plan, rows: Sequence[tuple[Mapping[str, Any], Row]], teacher: ChatModel) -> bool:
    """Whether a plan to rewrite gives rows at all: tried on the first eight. Small teachers plan to rewrite what is an
    input of the task already, and then say of every row that it does not fit. Raises as ``transform_rows`` does."""
    if plan.mode == "relabel":
        return True
    tried = await transform_rows(task, plan, rows[:PROBE_ROWS], teacher)
    return len(tried.rows) >= PROBE_SHARE * min(PROBE_ROWS, len(rows))


def relabelling(plan: Plan, records: Sequence[Mapping[str, Any]]) -> Plan:
    """The plan without rewriting: the text of the planned column that holds most of it, labelled anew."""
    longest = max(plan.columns, key=lambda c: sum(len(str(r.get(c) or "").split()) for r in records[:50]))
    return Plan((longest,), "relabel")


async def transform_rows(
    task: TaskSpec,
    plan: Plan,
    rows: Sequence[tuple[Mapping[str, Any], Row]],
    teacher: ChatModel,
    *,
    progress: Callable[[int, int], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Transformed:
    """Each record with the row it came from (its ``input`` is the text of the plan's columns, its ``meta`` the
    provenance), relabelled or rewritten. What came back is kept when some calls fail or ``stop`` says so.

    Raises ``ProviderError`` when all calls fail, ``BudgetExceeded`` when the budget refuses the first.
    """
    found = await (_relabel if plan.mode == "relabel" else _rewrite)(task, plan, rows, teacher, progress, stop)
    own = {normalise(text) for text in (task.instruction, plan.steps, *task.labels) if text}
    own |= {normalise(e.input) for e in task.examples}
    kept: list[Row] = []
    seen: set[str] = set()
    removed: Counter[str] = Counter()
    for result in found:
        if isinstance(result, str):
            removed[result] += 1
            continue
        text = normalise(result.input)
        reason = _problem(result, text, own, task)
        if reason is None and text in seen:
            reason = "repeated"
        if reason:
            removed[reason] += 1
            continue
        seen.add(text)
        kept.append(result)
    return Transformed(kept, len(found) - removed["not_reached"], dict(removed))


def _problem(row: Row, text: str, own: set[str], task: TaskSpec) -> str | None:
    if row.output not in task.labels:
        return "no_label"
    if not text:
        return "empty"
    if len(row.input) > LONGEST_INPUT:
        return "too_long"
    # Examples and instructions handed back, or the marks around data: the prompt's words, not the row's.
    if text in own or FENCE_OPEN in row.input or FENCE_CLOSE in row.input:
        return "prompt_text"
    return None


Found = list["Row | str"]
Pairs = Sequence[tuple[Mapping[str, Any], Row]]


async def _relabel(
    task: TaskSpec, plan: Plan, rows: Pairs, teacher: ChatModel, progress: Any, stop: Callable[[], bool]
) -> Found:
    stopped = False

    def watch() -> bool:
        nonlocal stopped
        stopped = stopped or stop()
        return stopped

    said = await label_texts([row.input for _, row in rows], task, teacher, progress=progress, stop=watch)
    found: Found = []
    for (_, row), answer in zip(rows, said, strict=True):
        if answer.label is None:
            found.append("not_reached" if stopped else "no_label")
        elif answer.confidence < LEAST_SURE:
            found.append("does_not_fit")
        else:
            found.append(done_to(replace(row, output=answer.label, probs=answer.probs), "relabelled"))
    return found


async def _rewrite(
    task: TaskSpec, plan: Plan, rows: Pairs, teacher: ChatModel, progress: Any, stop: Callable[[], bool]
) -> Found:
    from p2m.llm.parallel import Stopped, many

    # The same for every call, and first: a local server then reads it once.
    head = render(
        "transform_system",
        instruction=task.instruction,
        labels=task.labels,
        examples=shots(task.examples),
        steps=plan.steps,
    )
    # The verdict last: a small model that must give it first says no to everything.
    properties = {
        "input": {"type": "string", "maxLength": LONGEST_INPUT},
        "label": {"enum": list(task.labels)},
        "fits": {"type": "boolean"},
    }
    done = 0

    def count(_: int, __: object) -> None:
        nonlocal done
        done += 1
        if progress:
            progress(done, len(rows))

    calls = [partial(_ask, teacher, head, plan, record, _object(properties)) for record, _ in rows]
    replies = await many(calls, limit=teacher.concurrency, on_done=count, stop=stop)
    failures = [r for r in replies if isinstance(r, Exception) and not isinstance(r, Stopped)]
    if failures and not any(not isinstance(r, Exception) for r in replies):
        first = failures[0]
        raise first if isinstance(first, BudgetExceeded) else ProviderError(f"the teacher transformed nothing: {first}")
    found: Found = []
    for (_, row), reply in zip(rows, replies, strict=True):
        if isinstance(reply, Exception):
            found.append("not_reached" if isinstance(reply, Stopped) else "call_failed")
        else:
            found.append(_read_row(reply, row))
    return found


async def _ask(
    teacher: ChatModel, head: Prompt, plan: Plan, record: Mapping[str, Any], schema: dict[str, Any]
) -> Reply:
    present = [c for c in plan.columns if record.get(c) is not None]
    cells = [f"{clean(c, 40)}: {clean(record[c], LONGEST_CELL)}" for c in present]
    return await teacher.chat(
        [{"role": "system", "content": head.text}, {"role": "user", "content": fence(cells)}],
        max_tokens=500,
        temperature=0.0,
        schema=schema,
        prompt=head.hash,
    )


def _read_row(reply: Reply, row: Row) -> Row | str:
    try:
        answer = json.loads(reply.text)
    except ValueError:
        return "not_json"
    if not isinstance(answer, dict) or not isinstance(answer.get("input"), str):
        return "not_json"
    if answer.get("fits") is not True:
        return "does_not_fit"
    label = answer.get("label")
    if not isinstance(label, str):
        return "no_label"
    text = answer["input"].strip()
    return done_to(replace(row, input=text, output=label), "transformed")


def _read_plan(reply: Reply, columns: Sequence[str]) -> Plan | None:
    try:
        answer = json.loads(reply.text)
    except ValueError:
        return None
    if not isinstance(answer, dict) or not isinstance(answer.get("columns"), list):
        return None
    chosen = tuple(c for c in dict.fromkeys(map(str, answer["columns"])) if c in columns)
    mode, steps = answer.get("mode"), clean(answer.get("steps") or "", LONGEST_STEPS)
    if not chosen or mode not in ("relabel", "rewrite") or (mode == "rewrite" and not steps):
        return None
    return Plan(chosen, mode, steps)


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
