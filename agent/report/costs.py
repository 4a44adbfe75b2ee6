"""What the LLM calls of a run cost, by role and model, and which calls had to be tried again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from agent.events import LLMSpend, Retry
from agent.journal import Record
from agent.plain import one_line
from agent.state import Spend


@dataclass(frozen=True)
class Role:
    """One model in one role."""

    role: str
    model: str
    spend: Spend


@dataclass(frozen=True)
class Retries:
    """Tries again for one reason; ``waited`` in seconds."""

    role: str
    reason: str
    count: int
    waited: float


@dataclass(frozen=True)
class Costs:
    roles: tuple[Role, ...]
    retries: tuple[Retries, ...]
    total: Spend


def costs_of(records: Iterable[Record]) -> Costs:
    """The sums over a journal."""
    roles: dict[tuple[str, str], Spend] = {}
    counts: Counter[tuple[str, str]] = Counter()
    waited: Counter[tuple[str, str]] = Counter()
    total = Spend()
    for record in records:
        event = record.event
        if isinstance(event, LLMSpend):
            key = (event.role, event.model)
            roles[key] = roles.get(key, Spend()).plus(event)
            total = total.plus(event)
        elif isinstance(event, Retry):
            why = (event.role, one_line(event.reason, 120))
            counts[why] += 1
            waited[why] += event.wait_seconds  # type: ignore[assignment]
    return Costs(
        tuple(Role(role, model, spend) for (role, model), spend in sorted(roles.items())),
        tuple(Retries(role, reason, n, float(waited[role, reason])) for (role, reason), n in counts.most_common(12)),
        total,
    )
