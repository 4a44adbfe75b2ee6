"""evaluate: what a student gets wrong on validation, so that the next rows can be aimed at it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from pydantic import Field

from p2m.errors import ToolFailure
from tools.base import Facts, ToolContext, ToolResult, need, tool
from tools.workspace import Workspace

WEAK_LABELS = 5
CONFUSIONS = 10


def _can_evaluate(workspace: Workspace, facts: Facts) -> str | None:
    return None if workspace.experiments else "there is no trained student yet"


def _choices(workspace: Workspace) -> dict[str, list[Any]]:
    return {"model": ["best", *(e.model for e in workspace.experiments)]}


@tool(precondition=_can_evaluate, choices=_choices)
async def evaluate(
    ctx: ToolContext, *, model: Annotated[str, Field(description="a model's handle, or best")] = "best"
) -> ToolResult:
    """Find the weak labels and the confusions of a student on validation."""
    from p2m.data.referee import open_validation
    from p2m.evaluate.errors import analyse
    from p2m.evaluate.metrics import per_label
    from p2m.evaluate.predict import read_labels

    held_out = need(ctx.workspace.held_out, "precondition", "no rows are held out yet")
    best = need(ctx.workspace.best, "precondition", "there is no trained student yet")
    chosen = best.model if model == "best" else model
    file = ctx.store.path(chosen) / "validation_predictions.jsonl"
    if not file.is_file():
        raise ToolFailure("invalid_args", f"there is no trained student {chosen}")
    validation = open_validation(ctx.store, held_out.handle)
    golds, texts, predictions = [r.output for r in validation], [r.input for r in validation], read_labels(file)
    found = analyse(golds, predictions, texts, ctx.task.labels)
    weak = [w.label for w in found.weak[:WEAK_LABELS]]
    confusions = [list(c) for c in found.confusions[:CONFUSIONS]]
    text = f"{chosen}: {found.wrong} of {found.n} validation rows are wrong."
    if found.weak:
        text += (
            " Weak: " + ", ".join(f"{w.label} (recall {w.recall:.2f} of {w.n})" for w in found.weak[:WEAK_LABELS]) + "."
        )
    if found.confusions:
        pairs = [f"{gold} taken for {predicted or 'nothing'} x{n}" for gold, predicted, n in found.confusions[:3]]
        text += f" Confused: {', '.join(pairs)}."
        text += " Next: generate_batch for the weak labels, with a brief that tells these apart."
    lines = [text, "", "| label | precision | recall | n |", "| --- | --: | --: | --: |"]
    for s in per_label(golds, predictions, ctx.task.labels):
        lines.append(f"| {s.label} | {s.precision:.2f} | {s.recall:.2f} | {s.support} |")
    for cluster in found.clusters:
        shown = " / ".join(f"“{t}”" for t in cluster.texts)
        lines += ["", f"**{cluster.gold}** taken for **{cluster.predicted or 'nothing'}** ({cluster.count}): {shown}"]
    clusters = [asdict(c) for c in found.clusters]
    analysis = {"model": chosen, "confusions": confusions, "weak": weak, "clusters": clusters}
    return ToolResult(text, "\n".join(lines), {"analysis": analysis})
