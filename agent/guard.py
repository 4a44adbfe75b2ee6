"""What keeps a planner from going in circles: rules on the state, checked in code before a call runs."""

from __future__ import annotations

from agent.events import Verdict
from agent.state import Call, RunState
from p2m.files import digest

SAME_CALL_LIMIT = 2
MALFORMED_LIMIT = 3
STALE_BATCHES = 2
STALE_SHARE = 0.15
STALLED_AFTER = 3
SMALLEST_GAIN = 0.002


def refuses(state: RunState, call: Call) -> str | None:
    """Why ``call`` may not run: it has already given the same result twice."""
    refusal = f"{call.tool} with these arguments gave the same result {SAME_CALL_LIMIT} times; do something else"
    # What failed before there was new data may work with it.
    new_data = max((c.order for c in state.calls if not c.error and _brings_data(c)), default=0)
    results = [
        digest([c.text, c.error], 16)
        for c in state.calls
        if c.finished
        and c.key == call.key
        and c.id != call.id
        and c.by != "referee"
        and c.text != refusal
        and (not c.error or c.order > new_data)
    ]
    if len(results) >= SAME_CALL_LIMIT and len(set(results[-SAME_CALL_LIMIT:])) == 1:
        return refusal
    return None


def _brings_data(call: Call) -> bool:
    return any(key in (call.data or {}) for key in ("dataset", "datasets"))


def hands_over(state: RunState) -> Verdict | None:
    """After three malformed turns in a row the policy planner takes the run."""
    if state.handed_over or state.malformed_in_a_row < MALFORMED_LIMIT:
        return None
    return Verdict("handover", f"{MALFORMED_LIMIT} malformed turns in a row: the policy planner goes on from here")


def ends_generation(state: RunState) -> Verdict | None:
    """Two batches in a row that were almost all repeats: the teacher has no more to give."""
    if state.generation_ended:
        return None
    batches = [c for c in state.calls if c.tool == "generate_batch" and c.finished and not c.error][-STALE_BATCHES:]
    shares = [(c.data or {}).get("new_share", 1.0) for c in batches]
    if len(shares) == STALE_BATCHES and max(shares) < STALE_SHARE:
        return Verdict(
            "generation_ended",
            f"the last {STALE_BATCHES} batches brought almost nothing new "
            f"({', '.join(f'{s:.0%}' for s in shares)} of their rows): no more generation",
        )
    return None


def stalled(state: RunState) -> bool:
    """The last three experiments did not beat the best one before them."""
    scores = [e.score.value for e in state.workspace.experiments]
    if len(scores) - max(1, state.experiments_before) < STALLED_AFTER:
        return False
    return max(scores[-STALLED_AFTER:]) <= max(scores[:-STALLED_AFTER]) + SMALLEST_GAIN
