"""How a client tells the run what it spends and waits for, and how the run refuses a call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Spend:
    """One answered call. ``usd`` is None where the price is unknown; ``seconds`` includes retries."""

    model: str
    role: str
    prompt_tokens: int
    completion_tokens: int
    usd: float | None
    cached: bool
    seconds: float


def _ignore(*_: object) -> None:
    return None


@dataclass(frozen=True)
class Hooks:
    """Called from the event loop, in the order of the call; they must return at once.

    ``before_call(model, role, estimated_tokens, est_usd)`` runs before each call that is not answered from the
    cache and may raise ``BudgetExceeded``; ``after_call`` gets the same arguments once for every call that was let
    through, answered or not, after its ``on_spend``: so a budget can count what is in flight.
    ``on_retry(reason, attempt, wait_s)`` runs before each wait; ``on_loading(message)`` while a local model loads.
    """

    before_call: Callable[[str, str, int, float | None], None] = _ignore
    after_call: Callable[[str, str, int, float | None], None] = _ignore
    on_spend: Callable[[Spend], None] = _ignore
    on_retry: Callable[[str, int, float], None] = _ignore
    on_loading: Callable[[str], None] = _ignore
