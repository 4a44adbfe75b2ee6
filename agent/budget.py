"""The budget as a value: what a run may still spend."""

from __future__ import annotations

from dataclasses import dataclass

from agent.state import RunState

# The end of a run costs time too: baselines and student on the sealed test, report, card.
DELIVERY_SHARE = 0.15
DELIVERY_SECONDS = 180.0


@dataclass(frozen=True)
class Left:
    """What is left of each limit; None where there is none. ``seconds`` already keeps back the time to deliver."""

    seconds: float | None
    examples: int | None
    usd: float | None
    tokens: int | None
    llm_calls: int | None
    steps: int | None

    @property
    def spent(self) -> str | None:
        """The first limit with nothing left, in words, else None. Examples alone do not end a run."""
        for name in ("seconds", "usd", "tokens", "llm_calls", "steps"):
            value = getattr(self, name)
            # No dollars left stops paid calls only: with a local teacher, nothing to spend is no reason to end.
            if value is not None and (value < 0 if name == "usd" else value <= 0):
                return {"seconds": "time", "usd": "dollars", "llm_calls": "LLM calls"}.get(name, name)
        return None

    def words(self) -> str:
        """For a planner's ledger. Coarse on purpose: the same state must read the same after a resume, when calls
        that come from the cache took no time."""
        parts = []
        if self.steps is not None:
            parts.append(f"{self.steps} tool calls")
        if self.examples is not None:
            parts.append(f"{self.examples} generated examples")
        if self.usd is not None:
            parts.append(f"${self.usd:.2f}")
        if self.tokens is not None:
            parts.append(f"{self.tokens} tokens")
        if self.llm_calls is not None:
            parts.append(f"{self.llm_calls} LLM calls")
        if self.seconds is not None:
            parts.append("time" if self.seconds > 0 else "no time")
        return ", ".join(parts) or "no limit"


def reserve(minutes: float | None) -> float:
    """Seconds of a time budget of ``minutes`` kept back to deliver."""
    return 0.0 if minutes is None else min(DELIVERY_SHARE * minutes * 60, DELIVERY_SECONDS)


def left(state: RunState, seconds_now: float | None = None) -> Left:
    """What ``state`` leaves of its limits. ``seconds_now`` is the clock where it runs ahead of the last event."""
    limits, spend = state.limits, state.spend
    worked = max(state.seconds, seconds_now or 0.0)
    given = None if limits.minutes is None else limits.minutes - state.minutes_before
    return Left(
        seconds=None if limits.minutes is None else limits.minutes * 60 - reserve(given) - worked,
        examples=None if limits.examples is None else max(0, limits.examples - state.generated),
        usd=None if limits.usd is None else limits.usd - spend.usd,
        tokens=None if limits.tokens is None else limits.tokens - spend.tokens,
        llm_calls=None if limits.llm_calls is None else limits.llm_calls - (spend.calls - spend.cached),
        steps=None if limits.steps is None else limits.steps - state.steps,
    )


def used(state: RunState) -> dict[str, float]:
    """What the run has used of each limit, in the limits' own units."""
    return {
        "minutes": state.seconds / 60,
        "examples": state.generated,
        "usd": state.spend.usd,
        "tokens": state.spend.tokens,
        "llm_calls": state.spend.calls - state.spend.cached,
        "steps": state.steps,
    }
