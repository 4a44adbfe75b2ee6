"""How a run is run: who plans, who teaches, where data may come from, and how much it may cost."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from p2m.catalog import safety
from p2m.task.spec import Limits, TaskSpec

NO_TEACHER = "none"
"""As ``Settings.teacher``: nothing is written or labelled, the run works on labelled files and datasets alone."""
# A run nobody gave a budget for still ends: half an hour, 1,000 written rows, 40 tool calls.
DEFAULT_LIMITS = Limits(minutes=30, examples=1000, steps=40)


class DataRules(BaseModel):
    """What may be imported: ``p2m.catalog.safety.Settings`` as the command line gives it. Sizes in megabytes (10^6);
    ``licenses`` None is any that is named."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    licenses: tuple[str, ...] | None = None
    any_license: bool = False
    max_mb: float = 500
    allow_gated: bool = False

    def options(self) -> list[str]:
        """As they would be typed: only those that are not the default."""
        typed = ["--allow-licences", ",".join(self.licenses)] if self.licenses is not None else []
        typed += ["--any-licence"] if self.any_license else []
        typed += ["--max-dataset-mb", f"{self.max_mb:.10g}"] if self.max_mb != DataRules().max_mb else []
        return typed + (["--allow-gated"] if self.allow_gated else [])

    def safety(self) -> safety.Settings:
        return safety.Settings(
            licenses=self.licenses,
            allow_unknown_license=self.any_license,
            max_bytes=int(self.max_mb * 1e6),
            allow_gated=self.allow_gated,
        )


class Approve(BaseModel):
    """Which calls wait for a person: ``ask`` those that may cost more dollars or download more megabytes than this,
    ``never`` refuses them, ``auto`` lets the budget alone decide. A price that is not known counts as above."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["ask", "auto", "never"] = "auto"
    usd: float = 0.25
    mb: float = 100


class Settings(BaseModel):
    """Fixed when the run starts, kept in its journal. ``planner`` and ``teacher`` are endpoints as text, or
    ``policy`` and ``none``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    planner: str
    teacher: str
    catalog: str | None = None
    rules: DataRules = DataRules()
    seed: int = 0
    budget: Limits = Limits()
    approve: Approve = Approve()
    interactive: bool = False

    def limits(self, task: TaskSpec) -> Limits:
        """The command line's limits before the task's, before the defaults."""
        chosen = DEFAULT_LIMITS.model_dump()
        chosen.update(task.budget.model_dump(exclude_none=True))
        chosen.update(self.budget.model_dump(exclude_none=True))
        return Limits(**chosen)
