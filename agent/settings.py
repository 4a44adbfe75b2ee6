"""How a run is run: who plans, who teaches, where data may come from, and how much it may cost."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from p2m.task.spec import Limits, TaskSpec

# A run nobody gave a budget for still ends: half an hour, 1,000 written rows, 40 tool calls.
DEFAULT_LIMITS = Limits(minutes=30, examples=1000, steps=40)


class Settings(BaseModel):
    """Fixed when the run starts, kept in its journal. ``planner`` and ``teacher`` are endpoints as text."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    planner: str
    teacher: str
    catalog: str | None = None
    seed: int = 0
    budget: Limits = Limits()
    interactive: bool = False

    def limits(self, task: TaskSpec) -> Limits:
        """The command line's limits before the task's, before the defaults."""
        chosen = DEFAULT_LIMITS.model_dump()
        chosen.update(task.budget.model_dump(exclude_none=True))
        chosen.update(self.budget.model_dump(exclude_none=True))
        return Limits(**chosen)
