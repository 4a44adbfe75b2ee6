"""What code owes the run whatever the planner says: held-out rows, baselines before training, delivery."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from agent.events import Review
from agent.state import Call, RunState
from p2m import kinds
from tools.base import Tool

TRIES = 2


def referee_tools() -> dict[str, Tool]:
    """The steps that no planner can call, by name."""
    from agent.steps.apply_reviews import apply_reviews
    from agent.steps.baselines import baselines
    from agent.steps.deliver import deliver
    from agent.steps.hold_out import hold_out
    from agent.steps.judge_data import judge_data

    return {t.name: t for t in (hold_out, apply_reviews, judge_data, baselines, deliver)}


def obligation(state: RunState, following: Call | None) -> Call | None:
    """The referee's step that must come before the call ``following`` (None: before the planner's next turn)."""
    workspace = state.workspace
    if workspace.held_out is None and (state.task.validation or state.task.train):
        return _step(state, "hold_out", {}, "the user's labelled file is the best source there is")
    if (reviews := unapplied_reviews(state)) and workspace.datasets:
        why = "the person's word on rows counts before anything else is done with them"
        return _numbered(state, "apply_reviews", {"reviews": [asdict(r) for r in reviews]}, why)
    if offer := better_offer(state):
        why = "the test split of a real dataset is better than generated rows"
        if step := _step(state, "hold_out", {"offer": offer}, why):
            return step
    if following is None:
        return None
    trains = following.tool in ("fine_tune", "try_models", "try_rates")
    if (trains or following.tool in ("generate_batch", "transform_dataset")) and workspace.held_out is None:
        return _step(state, "hold_out", {}, "held-out rows are fixed before anything is generated or trained")
    if trains and workspace.unjudged and kinds.of(state.task).answers_are_labels:
        failed = sum(c.error is not None for c in _tries(state, "judge_data"))
        why = "an imported dataset is measured with a quick head before anything is trained on it"
        # Each change of the held-out rows calls for it anew: only failures count as tries.
        if failed < TRIES:
            return _numbered(state, "judge_data", {}, why)
    if following.tool == "fine_tune" and workspace.held_out and not workspace.baselines:
        return _step(state, "baselines", {}, "baselines come before the first training")
    return None


def closing(state: RunState) -> Call | None:
    """After the verdict: what is still to do to deliver the best there is; None when done or out of tries."""
    if not state.workspace.experiments:
        if state.verdict is not None and state.verdict.kind == "stopped":
            return None
        quick = _step(
            state,
            "fine_tune",
            {"method": kinds.of(state.task).advice(state.task).best},
            "the run is over and nothing is trained: train what there is",
        )
        return (obligation(state, quick) if quick else None) or quick
    if any(
        c.tool == "deliver" and c.finished and not c.error and c.id.startswith(f"r{state.resumed}.")
        for c in state.calls
    ):
        return None
    return _step(state, "deliver", {}, "open the sealed test once and write the model, its card and the report")


def unapplied_reviews(state: RunState) -> tuple[Review, ...]:
    """The oldest words on rows that no step has taken in, whether it went well or not."""
    applied = sum(c.tool == "apply_reviews" and c.finished for c in state.calls)
    return state.reviews[applied] if len(state.reviews) > applied else ()


def failed_for_good(state: RunState) -> Call | None:
    """A step of the referee that failed as often as it is tried, in this session."""
    for tool in ("hold_out", "baselines"):
        failed = [c for c in _tries(state, tool) if c.error]
        if len(failed) >= TRIES:
            return failed[-1]
    return None


def better_offer(state: RunState) -> dict[str, Any] | None:
    """An imported dataset's test split that beats the present source. Held-out rows change at most once, and never
    after the first training."""
    from p2m.data.referee import better

    if state.workspace.experiments or state.task.validation or state.task.train:
        return None
    if any((c.arguments or {}).get("offer") for c in state.calls if c.tool == "hold_out"):
        return None
    now = state.workspace.held_out
    for call in state.calls:
        offer = (call.data or {}).get("held_out_offer") if call.finished and not call.error else None
        if offer and (now is None or better(f"dataset:{offer['dataset']}", now.source)):
            return dict(offer)
    return None


def _tries(state: RunState, tool: str) -> list[Call]:
    return [c for c in state.calls if c.tool == tool and c.id.startswith(f"r{state.resumed}.")]


def _step(state: RunState, tool: str, arguments: dict[str, Any], why: str) -> Call | None:
    return None if len(_tries(state, tool)) >= TRIES else _numbered(state, tool, arguments, why)


def _numbered(state: RunState, tool: str, arguments: dict[str, Any], why: str) -> Call:
    number = len(_tries(state, tool)) + 1
    return Call(f"r{state.resumed}.{tool}.{number}", tool, arguments, "referee", why, len(state.turns))
