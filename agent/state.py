"""The state of a run: a pure fold over its journal."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from agent.events import (
    Approved,
    By,
    Event,
    GoalChanged,
    LLMSpend,
    Paused,
    PlannerSpoke,
    Review,
    RowsReviewed,
    RunEnded,
    RunResumed,
    RunStarted,
    StopAsked,
    ToolFinished,
    ToolStarted,
    UserSpoke,
    Verdict,
)
from agent.journal import Record
from agent.settings import Settings
from p2m import kinds
from p2m.files import digest
from p2m.task.spec import Limits, TaskSpec
from tools.workspace import Score, Workspace


@dataclass(frozen=True)
class Call:
    """A tool call: asked for, then open, then finished."""

    id: str
    tool: str
    arguments: dict[str, Any]
    by: By
    why: str = ""
    turn: int = 0
    started: bool = False
    finished: bool = False
    text: str = ""
    display: str = ""
    data: dict[str, Any] | None = None
    error: str | None = None
    seconds: float = 0.0
    usd: float = 0.0
    tokens: int = 0
    unpriced: int = 0
    """LLM calls in it whose price is not known."""
    approved: bool | None = None
    """What the person said where the call had to be approved."""
    order: int = 0
    """When it began: 1 for the first call that did, 0 before it. The referee may step in before an earlier wish."""

    @property
    def key(self) -> str:
        """Equal for the same tool with the same arguments."""
        return digest([self.tool, self.arguments], 16)


@dataclass(frozen=True)
class Spend:
    """What the run cost. ``unpriced`` counts the calls whose price nobody told us: they are never $0."""

    calls: int = 0
    cached: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0
    unpriced: int = 0

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    @property
    def price(self) -> str:
        """``$0.12``, ``unpriced``, or both."""
        if not self.unpriced:
            return f"${self.usd:.2f}"
        return f"${self.usd:.2f} + {self.unpriced} calls unpriced" if self.usd else "unpriced"

    def plus(self, event: LLMSpend) -> Spend:
        return Spend(
            self.calls + event.calls,
            self.cached + event.cached,
            self.prompt_tokens + event.prompt_tokens,
            self.completion_tokens + event.completion_tokens,
            self.usd + (event.usd or 0.0),
            self.unpriced + (event.calls - event.cached if event.usd is None else 0),
        )


@dataclass(frozen=True)
class RunState:
    """Everything the loop decides from."""

    task: TaskSpec
    settings: Settings
    limits: Limits
    workspace: Workspace = field(default_factory=Workspace)
    calls: tuple[Call, ...] = ()
    turns: tuple[PlannerSpoke, ...] = ()
    spend: Spend = Spend()
    seconds: float = 0.0
    handed_over: bool = False
    generation_ended: bool = False
    calls_before: int = 0
    """Calls begun before the run was last taken up after its end: what they said was judged then."""
    experiments_before: int = 0
    minutes_before: float = 0.0
    """Minutes of work before the present time budget was given."""
    user_said: tuple[str, ...] = ()
    first_target: float | None = None
    """The target the run began with, where the person has changed it since."""
    reviews: tuple[tuple[Review, ...], ...] = ()
    """What the person said of training rows, one entry each time."""
    stop_asked: bool = False
    paused: bool = False
    verdict: Verdict | None = None
    ended: RunEnded | None = None
    resumed: int = 0

    @property
    def open_call(self) -> Call | None:
        return next((c for c in self.calls if c.started and not c.finished), None)

    @property
    def waiting(self) -> tuple[Call, ...]:
        """Calls the planner asked for that have not begun."""
        return tuple(c for c in self.calls if not c.started)

    @property
    def steps(self) -> int:
        """Finished calls that a planner made."""
        return sum(c.finished and c.by != "referee" for c in self.calls)

    @property
    def generated(self) -> int:
        """Rows the teacher wrote for training, kept or not."""
        return sum((c.data or {}).get("written", 0) for c in self.calls)

    @property
    def malformed_in_a_row(self) -> int:
        count = 0
        for turn in reversed(self.turns):
            if turn.malformed is None:
                break
            count += 1
        return count

    @property
    def delivery(self) -> dict[str, Any] | None:
        """What the last ``deliver`` found: the sealed test's scores."""
        return next((c.data for c in reversed(self.calls) if c.tool == "deliver" and c.finished and not c.error), None)

    @property
    def estimate(self) -> Score | None:
        """What a delivered run is judged by: the sealed test or, where that is generated, the user's own few rows."""
        delivery = self.delivery
        return Score(**(delivery.get("estimate") or delivery["test"])) if delivery else None

    def essence(self) -> dict[str, Any]:
        """What a run came to, without the clock and the bill: equal for a run and its resumes."""
        delivery = {k: v for k, v in (self.delivery or {}).items() if not k.endswith("seconds")}
        calls = [[c.tool, c.arguments, c.by, c.text, c.error] for c in self.calls if c.tool != "deliver"]
        workspace = self.workspace
        experiments = [replace(e, seconds=0.0) for e in workspace.experiments]
        return {
            "task": self.task.model_dump(),
            "calls": calls,
            "data": [d.handle for d in workspace.datasets],
            "experiments": [repr(e) for e in experiments],
            "baselines": repr(workspace.baselines),
            "delivery": delivery,
            "verdict": self.verdict and self.verdict.kind,
            "ended": self.ended and [self.ended.status, self.ended.exit_code],
        }

    def apply(self, record: Record) -> RunState:
        """The state after one more record."""
        after = _apply(self, record.event)
        return replace(after, seconds=record.t)


def fold(records: Iterable[Record]) -> RunState | None:
    """The state a journal leads to; None where it has not begun."""
    state: RunState | None = None
    for record in records:
        if isinstance(record.event, RunStarted):
            task = TaskSpec.model_validate(record.event.task)
            settings = Settings.model_validate(record.event.settings)
            state = RunState(task, settings, settings.limits(task), Workspace(kind=kinds.of(task).name))
        elif state is not None:
            state = state.apply(record)
    return state


def _apply(state: RunState, event: Event) -> RunState:
    match event:
        case RunResumed():
            limits = state.limits.model_copy(update=event.budget)
            # A stop that was asked for holds until the run has ended.
            stopping = state.stop_asked and state.ended is None
            was_stopped = state.verdict is not None and state.verdict.kind == "stopped"
            after = replace(
                state,
                limits=limits,
                verdict=None,
                ended=None,
                resumed=state.resumed + 1,
                stop_asked=stopping,
                paused=False,
            )
            if "minutes" in event.budget:
                after = replace(after, minutes_before=state.seconds / 60)
            # Without a new budget a run that came to its end stays there; one that a provider cut short goes on.
            at_its_end = state.ended is not None and state.ended.status in ("met", "below") and not was_stopped
            if state.ended is None or (at_its_end and not event.budget):
                return after
            begun = sum(c.started for c in state.calls)
            # The planner that failed then is tried again.
            return replace(
                after, calls_before=begun, experiments_before=len(state.workspace.experiments), handed_over=False
            )
        case PlannerSpoke():
            asked = tuple(
                Call(c["id"], c["tool"], c["arguments"], event.by, event.text, event.turn) for c in event.calls
            )
            return replace(state, turns=(*state.turns, event), calls=state.calls + asked)
        case ToolStarted():
            order = sum(c.started for c in state.calls) + 1
            call = Call(
                event.id, event.tool, event.arguments, event.by, event.why, len(state.turns), started=True, order=order
            )
            known = any(c.id == event.id for c in state.calls)
            call = replace(call, approved=next((c.approved for c in state.calls if c.id == event.id), None))
            calls = tuple(call if c.id == event.id else c for c in state.calls) if known else (*state.calls, call)
            return replace(state, calls=calls)
        case ToolFinished():
            calls = tuple(_finished(c, event) if c.id == event.id else c for c in state.calls)
            # A delivery reports on the workspace (its test scores are called baselines too): it does not change it.
            reports = any(c.id == event.id and c.tool == "deliver" for c in state.calls)
            workspace = state.workspace if event.error or reports else state.workspace.apply(event.data)
            task = state.task
            if not event.error and "task" in event.data:
                task = TaskSpec.model_validate(event.data["task"])
                workspace = replace(workspace, kind=kinds.of(task).name)
            return replace(state, task=task, calls=calls, workspace=workspace)
        case LLMSpend():
            calls = tuple(
                replace(
                    c,
                    usd=c.usd + (event.usd or 0.0),
                    tokens=c.tokens + event.prompt_tokens + event.completion_tokens,
                    unpriced=c.unpriced + (event.calls - event.cached if event.usd is None else 0),
                )
                if c.started and not c.finished
                else c
                for c in state.calls
            )
            return replace(state, spend=state.spend.plus(event), calls=calls)
        case UserSpoke():
            return replace(state, user_said=(*state.user_said, event.text))
        case GoalChanged():
            limits = state.limits.model_copy(update=event.budget)
            after = replace(state, limits=limits)
            if event.target is None or event.target == state.task.target:
                return after
            task = state.task.model_copy(update={"target": event.target})
            first = state.first_target if state.first_target is not None else state.task.target
            return replace(after, task=task, first_target=first)
        case StopAsked():
            return replace(state, stop_asked=True)
        case Paused():
            return replace(state, paused=event.paused)
        case RowsReviewed():
            return replace(state, reviews=(*state.reviews, event.reviews))
        case Approved():
            calls = tuple(replace(c, approved=event.allowed) if c.id == event.call else c for c in state.calls)
            return replace(state, calls=calls)
        case Verdict(kind="handover"):
            return replace(state, handed_over=True)
        case Verdict(kind="generation_ended"):
            return replace(state, generation_ended=True)
        case Verdict():
            return replace(state, verdict=event)
        case RunEnded():
            return replace(state, ended=event)
        case _:
            return state


def _finished(call: Call, event: ToolFinished) -> Call:
    return replace(
        call,
        started=True,
        finished=True,
        text=event.text,
        display=event.display,
        data=event.data,
        error=event.error,
        seconds=event.seconds,
    )
