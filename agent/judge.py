"""The verdict: target met, budget spent, progress stopped. Code decides this, never a model."""

from __future__ import annotations

from agent import guard, referee
from agent.budget import Left, left
from agent.events import Verdict
from agent.state import RunState
from tools.base import LEAST_SECONDS


def judge(state: RunState, seconds_now: float | None = None) -> Verdict | None:
    """Why the loop stops here, or None to go on. The target is judged on validation: the sealed test stays shut."""
    best, task = state.workspace.best, state.task
    if state.stop_asked:
        return Verdict("stopped", "the person asked to stop here")
    if best and task.target is not None and best.score.value >= task.target and not _missed(state, best.model):
        return Verdict(
            "met",
            f"{task.metric} {best.score.value:.3f} on {best.score.n} validation rows reaches {task.target:g}",
        )
    now = left(state, seconds_now)
    spent = now.spent or ("time" if _too_little_time(state, now) else None)
    if spent:
        return Verdict("budget", f"the budget is spent: no {spent} left")
    if failed := referee.failed_for_good(state):
        return Verdict("no_way", f"{failed.tool} failed {referee.TRIES} times: {failed.text}")
    if provider_is_down(state):
        last = next(c for c in reversed(state.calls) if c.error == "provider")
        return Verdict("no_way", f"the teacher failed in {PROVIDER_FAILURES} calls in a row: {last.text}")
    asked_to_finish = next(
        (
            c
            for c in reversed(state.calls)
            if c.tool == "finish"
            and c.finished
            and not c.error
            and c.turn == len(state.turns)
            and c.order > state.calls_before
        ),
        None,
    )
    if asked_to_finish:
        return Verdict("finished", f"the planner finished: {asked_to_finish.arguments.get('reason', '')}")
    if guard.stalled(state):
        return Verdict(
            "stalled", f"{guard.STALLED_AFTER} trainings in a row did not beat the best: progress has stopped"
        )
    return None


def _too_little_time(state: RunState, now: Left) -> bool:
    """The last call was refused as too little time is left for it: asking again would only wait for the end."""
    last = next((c for c in reversed(state.calls) if c.finished and c.order > state.calls_before), None)
    return now.seconds is not None and now.seconds < LEAST_SECONDS and last is not None and last.error == "budget"


def _missed(state: RunState, model: str) -> bool:
    """Whether this model was delivered and fell short on the sealed test: a run taken up again needs a better one."""
    delivery, target = state.delivery or {}, state.task.target
    return delivery.get("model") == model and target is not None and delivery["test"]["value"] < target


PROVIDER_FAILURES = 2


def provider_is_down(state: RunState) -> bool:
    """The last calls that needed the teacher all failed for want of it."""
    asked = [
        c
        for c in state.calls
        if c.finished
        and c.order > state.calls_before
        and c.tool in ("generate_batch", "transform_dataset", "check_labels", "hold_out", "baselines")
    ]
    recent = asked[-PROVIDER_FAILURES:]
    return len(recent) == PROVIDER_FAILURES and all(c.error == "provider" for c in recent)
