"""A run as its events, for tests of rules that read a folded state."""

from __future__ import annotations

from typing import Any

from agent.events import (
    By,
    Event,
    PlannerSpoke,
    RunEnded,
    RunStarted,
    ToolFinished,
    ToolStarted,
    Verdict,
)
from agent.journal import Record
from agent.settings import Settings
from agent.state import RunState, fold
from p2m.task.spec import Example, Limits, TaskSpec

TASK = TaskSpec(
    name="mood",
    instruction="Say whether it is good or bad.",
    kind="classify",
    labels=("good", "bad"),
    examples=(Example(input="fine work", output="good"), Example(input="a mess", output="bad")),
    target=0.9,
)
HELD_OUT = {"held_out": {"handle": "ho_00000001", "source": "generated", "validation": 20, "test": 20}}
ROWS = {"handle": "ds_00000001", "source": "generated", "rows": 50, "labels": {"good": 25, "bad": 25}, "removed": {}}


class Run:
    """A run as its events; ``state`` folds them."""

    def __init__(self, task: TaskSpec = TASK, **budget: Any) -> None:
        settings = Settings(planner="policy", teacher="local:x", budget=Limits(**budget))
        self.events: list[Event] = [RunStarted(task.model_dump(mode="json"), settings.model_dump(mode="json"), "0")]
        self.seconds = 0.0
        self.turns = self.steps = 0

    def add(self, *events: Event) -> Run:
        self.events += events
        return self

    def call(
        self,
        tool: str,
        text: str = "done",
        *,
        data: dict[str, Any] | None = None,
        error: str | None = None,
        by: By = "policy",
        arguments: dict[str, Any] | None = None,
        session: int = 0,
    ) -> Run:
        arguments = arguments or {}
        if by == "referee":
            self.steps += 1
            name = f"r{session}.{tool}.{self.steps}"
        else:
            self.turns += 1
            name = f"t{self.turns}.1"
            calls = ({"id": name, "tool": tool, "arguments": arguments},)
            self.add(PlannerSpoke(self.turns, by, "policy", "because", calls))
        return self.add(ToolStarted(name, tool, arguments, by), ToolFinished(name, text, "", data or {}, error))

    def trained(self, value: float, by: By = "policy") -> Run:
        name = f"m_{len(self.events):08x}"
        score = {"metric": "accuracy", "value": value, "low": 0.0, "high": 1.0, "n": 20, "split": "validation"}
        made = {"model": name, "method": "full", "base": "b", "data": ["ds_00000001"], "rows": 50, "score": score}
        experiment = {"experiment": {**made, "per_label": {}, "seconds": 1.0}}
        return self.call("fine_tune", f"{name}: {value}", data=experiment, by=by, arguments={"method": "full"})

    def ended(self, kind: Any = "budget") -> Run:
        return self.add(Verdict(kind, "over"), RunEnded("below", 3, "over"))

    @property
    def state(self) -> RunState:
        state = fold([Record(i, "", self.seconds, e) for i, e in enumerate(self.events)])
        assert state is not None
        return state
