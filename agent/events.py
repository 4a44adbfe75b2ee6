"""What happens in a run, one frozen dataclass an event. All but ``TextDelta`` are written to the journal."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

By = Literal["planner", "policy", "referee"]


@dataclass(frozen=True)
class RunStarted:
    """``task`` is a ``TaskSpec`` and ``settings`` an ``agent.settings.Settings``, both as JSON."""

    task: dict[str, Any]
    settings: dict[str, Any]
    p2m_version: str


@dataclass(frozen=True)
class RunResumed:
    """A later process takes the run up. ``budget`` holds the limits given with the resume, replacing the old ones."""

    budget: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PlannerSpoke:
    """One turn. ``calls`` are ``{"id", "tool", "arguments"}``; ``malformed`` says why the turn had none to run."""

    turn: int
    by: By
    model: str
    text: str
    calls: tuple[dict[str, Any], ...] = ()
    malformed: str | None = None
    prompt: str = ""


@dataclass(frozen=True)
class ToolStarted:
    id: str
    tool: str
    arguments: dict[str, Any]
    by: By
    why: str = ""


@dataclass(frozen=True)
class ToolProgress:
    id: str
    text: str
    fraction: float | None = None


@dataclass(frozen=True)
class ToolFinished:
    """``error`` is one of ``tools.base.ErrorKind``, or None. ``seconds`` is the wall time of this process on it."""

    id: str
    text: str
    display: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class LLMSpend:
    """Calls of one role since the last such event. ``usd`` is None where the price is not known."""

    role: str
    model: str
    calls: int
    cached: int
    prompt_tokens: int
    completion_tokens: int
    usd: float | None


@dataclass(frozen=True)
class Retry:
    role: str
    reason: str
    attempt: int
    wait_seconds: float


@dataclass(frozen=True)
class UserSpoke:
    text: str


@dataclass(frozen=True)
class GoalChanged:
    """The person changed the target (a fraction of 1; None leaves it) or limits of the budget, in all."""

    target: float | None = None
    budget: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StopAsked:
    """The person wants the run to end after its present step, with the best student there is."""


@dataclass(frozen=True)
class Paused:
    """The person made the run wait before its next step, or go on."""

    paused: bool


@dataclass(frozen=True)
class Review:
    """A person's word on one training row. ``label`` is the new one where ``verdict`` is relabel."""

    input: str
    output: str
    verdict: Literal["accept", "reject", "relabel"]
    label: str = ""


@dataclass(frozen=True)
class RowsReviewed:
    reviews: tuple[Review, ...]


@dataclass(frozen=True)
class ApprovalAsked:
    """A call waits for the person's yes; ``words`` say what it may cost."""

    call: str
    words: str


@dataclass(frozen=True)
class Approved:
    """Whether a call that would spend or download above the run's limit may run; ``words`` say what it may cost."""

    call: str
    allowed: bool
    words: str


@dataclass(frozen=True)
class Verdict:
    """What code, not the model, decided after looking at the state."""

    kind: Literal["met", "budget", "stalled", "finished", "stopped", "handover", "generation_ended", "no_way"]
    text: str


@dataclass(frozen=True)
class RunEnded:
    """``status``: met, below, provider, interrupted, failed. An interrupted run has no such event: it just stops."""

    status: str
    exit_code: int
    text: str


@dataclass(frozen=True)
class TextDelta:
    """A piece of the planner's words as they stream. Not durable."""

    text: str


Event = (
    RunStarted
    | RunResumed
    | PlannerSpoke
    | ToolStarted
    | ToolProgress
    | ToolFinished
    | LLMSpend
    | Retry
    | UserSpoke
    | GoalChanged
    | StopAsked
    | Paused
    | RowsReviewed
    | ApprovalAsked
    | Approved
    | Verdict
    | RunEnded
    | TextDelta
)

DURABLE: dict[str, type] = {
    cls.__name__: cls
    for cls in (
        RunStarted,
        RunResumed,
        PlannerSpoke,
        ToolStarted,
        ToolProgress,
        ToolFinished,
        LLMSpend,
        Retry,
        UserSpoke,
        GoalChanged,
        StopAsked,
        Paused,
        RowsReviewed,
        ApprovalAsked,
        Approved,
        Verdict,
        RunEnded,
    )
}


def to_json(event: Event) -> dict[str, Any]:
    """``{"type": NAME, ...fields}``."""
    return {"type": type(event).__name__, **asdict(event)}


def from_json(record: dict[str, Any]) -> Event:
    """The event that ``to_json`` wrote. Raises ``KeyError`` or ``TypeError`` on what is none."""
    fields = dict(record)
    cls = DURABLE[fields.pop("type")]
    if cls is PlannerSpoke:
        fields["calls"] = tuple(fields.get("calls", ()))
    if cls is RowsReviewed:
        fields["reviews"] = tuple(Review(**review) for review in fields["reviews"])
    return cls(**fields)
