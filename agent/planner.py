"""What every planner is: it sees the state and the menu, and says what to do next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from agent.budget import Left
from agent.events import By
from agent.state import RunState
from tools.base import Facts, Tool


@dataclass(frozen=True)
class View:
    """What a planner decides from. ``menu`` holds only the tools whose preconditions hold now."""

    state: RunState
    left: Left
    facts: Facts
    menu: dict[str, Tool]


@dataclass(frozen=True)
class Turn:
    """A planner's words and the calls it wants, as ``(tool, arguments)``. ``malformed`` says why there are none."""

    text: str
    calls: tuple[tuple[str, dict[str, Any]], ...] = ()
    malformed: str | None = None
    prompt: str = field(default="")


class Planner(Protocol):
    name: str
    by: By

    async def turn(self, view: View, on_text: Callable[[str], None]) -> Turn:
        """The next turn. Raises ``ProviderError`` when its LLM fails for good, ``BudgetExceeded`` when refused."""
        ...


def menu_of(tools: dict[str, Tool], state: RunState, facts: Facts) -> dict[str, Tool]:
    """The tools that may be called now."""
    return {name: t for name, t in tools.items() if t.precondition(state.workspace, facts) is None}
