"""The ledger: the run so far in one page, written anew for each planner turn. A projection, never a state."""

from __future__ import annotations

from agent.planner import View
from agent.planner_policy import advise
from agent.state import Call, RunState
from p2m import kinds
from p2m.prompts import Prompt, render

RECENT_CALLS = 6
RESULT_LENGTH = 600


def system(view: View, native: bool) -> Prompt:
    """The part that stays the same over a run, so that a server reads it once: rules, task, tools, worked turns."""
    return render(
        kinds.of(view.state.task).advice(view.state.task).prompt,
        task=view.state.task,
        native=native,
        target=target_words(view.state),
    )


def ledger(view: View, *, open_menu: bool) -> Prompt:
    """What has happened, what is left, and what can be done next. The last result and the advice come last, where
    a small model looks."""
    state = view.state
    # A resumed run has opened its sealed test already: what deliver found is nothing to plan by.
    done = [c for c in state.calls if c.finished and c.tool != "deliver"]
    tool, arguments, why = advise(view)
    return render(
        "planner_ledger",
        held_out=state.workspace.held_out,
        datasets=state.workspace.datasets,
        rejected=state.workspace.rejected,
        rows=state.workspace.rows,
        baselines=state.workspace.baselines,
        experiments=state.workspace.experiments,
        best=state.workspace.best,
        target=target_words(state),
        gap=gap_words(state),
        analysis=state.workspace.analysis,
        user_said=state.user_said[-3:],
        recent=[recent_line(c) for c in done[-RECENT_CALLS:]],
        last=last_words(done[-1]) if done else None,
        left=view.left.words(),
        menu=list(view.menu.values()),
        open_menu=open_menu,
        malformed=state.turns[-1].malformed if state.turns else None,
        advice_tool=tool,
        advice_arguments=arguments,
        advice_why=why,
    )


def target_words(state: RunState) -> str:
    task = state.task
    return (
        f"{task.metric} >= {task.target:g}" if task.target is not None else f"the best {task.metric} the budget allows"
    )


def gap_words(state: RunState) -> str:
    best, target = state.workspace.best, state.task.target
    if best is None:
        return "no student yet"
    if target is None:
        return f"best {best.score.value:.3f}"
    return f"best {best.score.value:.3f}, {max(0.0, target - best.score.value):.3f} below the target"


def recent_line(call: Call) -> str:
    outcome = f"{call.error}: {call.text}" if call.error else call.text
    return f"{call.tool} -> {' '.join(outcome.split())[:160]}"


def last_words(call: Call) -> str:
    return f"{call.tool} ({'failed: ' + call.error if call.error else 'ok'}): {call.text[:RESULT_LENGTH]}"
