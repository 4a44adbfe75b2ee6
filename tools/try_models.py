"""try_models: a short trial of the best ranked base models, on validation, that says which to start from."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from p2m.catalog.untrusted import clean
from tools.base import Facts, ToolContext, ToolResult, need, tool
from tools.conditions import conditions
from tools.fine_tune import assemble
from tools.trial import MOST_TRIED, START_SECONDS, Trial, bases_at_hand, in_time, trial_seconds
from tools.workspace import Workspace

if TYPE_CHECKING:
    from p2m.train.halving import Attempt, Outcome

TRIAL_SECONDS, TRIAL_SHARE = 300.0, 0.25
"""A trial takes this share of the time that is left, and never more than so many seconds."""
FETCH_SHARE = 0.5


def _something_to_compare(workspace: Workspace, facts: Facts) -> str | None:
    kept = [m for m in workspace.models if m["kept"]]
    if workspace.trial is not None:
        return "the base models were tried already"
    if len(kept) < 2:
        return "there are not two base models to compare"
    if kept[0].get("asked"):
        return f"the task asks for {kept[0]['id']}"
    if not workspace.datasets:
        return "there are no training rows yet"
    return "a student is trained already" if any(e.method == "full" for e in workspace.experiments) else None


@tool(precondition=_something_to_compare)
async def try_models(ctx: ToolContext) -> ToolResult:
    """Try the best ranked base models on a few rows, the same budget for each, and start from the one that does best on
    validation."""
    from p2m.train.halving import halve

    began = time.monotonic()
    held_out = need(ctx.workspace.held_out, "precondition", "no rows are held out yet").handle
    seconds = trial_seconds(ctx, TRIAL_SECONDS, TRIAL_SHARE)
    count = min(MOST_TRIED, sum(m["kept"] for m in ctx.workspace.models))
    if seconds < 2 * START_SECONDS * count:
        return _undecided(ctx, f"{max(seconds, 0):.0f} s of the time are for a trial, too few to load {count} models")
    bases, left_out = await bases_at_hand(ctx, FETCH_SHARE * seconds)
    ctx.progress("checking the rows against the held-out ones", None)
    training = (await asyncio.to_thread(assemble, ctx, [d.handle for d in ctx.workspace.datasets])).rows
    trial = Trial(ctx, bases, training, held_out)
    given = await asyncio.to_thread(conditions, ctx)
    left = seconds - (time.monotonic() - began)
    candidates, slow = in_time(trial, given, left)
    left_out |= slow
    if len(candidates) < 2:
        said = "; ".join(f"{clean(name, 80)}: {why}" for name, why in left_out.items())
        return _undecided(ctx, f"there are not two base models to try ({said})")

    labels = len(ctx.task.labels)
    found = await halve(candidates, trial.attempt, trial.gap, rows=len(training), labels=labels, seconds=left)
    return _result(ctx, found, left_out, time.monotonic() - began)


def _undecided(ctx: ToolContext, why: str) -> ToolResult:
    first = next(m["id"] for m in ctx.workspace.models if m["kept"])
    text = f"Nothing was tried: {why}. The order stays: start from {clean(first, 80)}."
    trial = {"winner": first, "decided": False, "why": why, "seconds": 0.0, "attempts": []}
    return ToolResult(text, text, {"trial": trial})


def _result(ctx: ToolContext, found: Outcome, left_out: dict[str, str], seconds: float) -> ToolResult:
    attempts = [attempt_data(a) for a in found.attempts]
    broken = {a.candidate.id: a.problem for a in found.attempts if a.broken}
    models = _reordered(ctx.workspace.models, found, broken)
    first = next((m["id"] for m in models if m["kept"]), "")
    why = clean(found.why, 400)
    text = f"Start from {clean(first, 80)}: {why}." if first else f"No base model can be trained: {why}."
    notes = [f"not tried: {clean(name, 80)}, {why}" for name, why in left_out.items()]
    notes += [f"dropped {clean(name, 80)}: {why}" for name, why in broken.items()]
    trial = {
        "winner": first,
        "decided": found.decided,
        "why": why,
        "seconds": round(seconds, 1),
        "attempts": attempts,
        "left_out": {name: clean(why, 200) for name, why in left_out.items()},
    }
    planner = "\n".join([text, *(attempt_line(a) for a in attempts), *notes])
    return ToolResult(planner, attempts_table(text, attempts, notes), {"models": models, "trial": trial})


def _reordered(models: Sequence[dict[str, Any]], found: Outcome, broken: dict[str, str]) -> list[dict[str, Any]]:
    """The tried ones first, in the order of the trial, then the rest as they were; the broken ones are kept no more."""
    by_id = {m["id"]: m for m in models}
    rest = [m for m in models if m["kept"] and m["id"] not in broken and m["id"] not in found.order]
    dropped = [{**by_id[name], "kept": False, "why": f"tried: {why}"} for name, why in broken.items()]
    return [*(by_id[name] for name in found.order), *rest, *dropped, *(m for m in models if not m["kept"])]


def attempt_data(attempt: Attempt) -> dict[str, Any]:
    """An attempt as JSON."""
    return {
        "model": attempt.candidate.id,
        "round": attempt.round.number,
        "method": attempt.round.method,
        "rows": attempt.round.rows,
        "score": {**attempt.score.as_dict(), "split": "validation"} if attempt.score else None,
        "seconds": round(attempt.seconds, 1),
        "problem": attempt.problem,
    }


def attempt_line(a: dict[str, Any]) -> str:
    """One for the planner."""
    said = a["problem"]
    if score := a["score"]:
        said = f"{score['metric']} {score['value']:.3f} [{score['low']:.3f}, {score['high']:.3f}]"
    return f"round {a['round']} ({a['method']}, {a['rows']} rows): {clean(a['model'], 80)} {said}, {a['seconds']:.0f} s"


def attempts_table(text: str, attempts: Sequence[dict[str, Any]], notes: Sequence[str], what: str = "base") -> str:
    """One for a person."""
    lines = [text, "", f"| round | {what} | method | rows | score | 95% interval | seconds |", "|" + " --- |" * 7]
    for a in attempts:
        score = a["score"]
        said = f"{score['value']:.3f} | {score['low']:.3f} to {score['high']:.3f}" if score else f"– | {a['problem']}"
        base = clean(a["model"], 60)
        lines.append(f"| {a['round']} | {base} | {a['method']} | {a['rows']} | {said} | {a['seconds']:.0f} |")
    return "\n".join([*lines, "", *(f"- {note}" for note in notes)]).rstrip()
