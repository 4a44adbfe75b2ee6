"""Counts LLM spend between journal events, and refuses the call that would pass a limit."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from agent.budget import Left
from agent.events import Event, LLMSpend, Retry
from p2m.errors import BudgetExceeded
from p2m.llm.hooks import Hooks, Spend

# A crash loses at most this much bookkeeping.
FLUSH_SECONDS = 2.0


class Meter:
    """One for a run, shared by planner and teacher. ``left`` gives what the journal says is left."""

    def __init__(self, emit: Callable[[Event], None], left: Callable[[], Left]) -> None:
        self._emit, self._left = emit, left
        self._pending: dict[tuple[str, str], LLMSpend] = {}
        self._flying_calls = self._flying_tokens = 0
        self._flying_usd = 0.0
        self._flushed = time.monotonic()
        self._retried, self._retried_at = ("", 0), 0.0

    def hooks(self) -> Hooks:
        return Hooks(before_call=self._before, after_call=self._after, on_spend=self._spend, on_retry=self._retry)

    def _retry(self, reason: str, attempt: int, wait: float) -> None:
        """Calls in flight together fail together: one event speaks for all of them."""
        if (reason, attempt) != self._retried or time.monotonic() - self._retried_at > FLUSH_SECONDS:
            self._retried, self._retried_at = (reason, attempt), time.monotonic()
            self._emit(Retry("llm", reason, attempt, round(wait, 1)))

    def _before(self, model: str, role: str, tokens: int, usd: float | None) -> None:
        left, pending = self._left(), list(self._pending.values())
        calls = self._flying_calls + sum(p.calls - p.cached for p in pending)
        used = self._flying_tokens + sum(p.prompt_tokens + p.completion_tokens for p in pending)
        spent = self._flying_usd + sum(p.usd or 0.0 for p in pending)
        if left.llm_calls is not None and calls + 1 > left.llm_calls:
            raise BudgetExceeded("llm_calls", "the budget of LLM calls is spent")
        if left.tokens is not None and used + tokens > left.tokens:
            raise BudgetExceeded("tokens", f"a call of about {tokens} tokens would pass the token budget")
        if left.usd is not None:
            if usd is None:
                raise BudgetExceeded(
                    "usd", f"the price of {model} is not known, so a dollar budget cannot be kept: set P2M_PRICES"
                )
            if spent + usd > left.usd:
                raise BudgetExceeded("usd", f"a call of about ${usd:.4f} would pass the dollar budget")
        self._flying_calls += 1
        self._flying_tokens += tokens
        self._flying_usd += usd or 0.0

    def _after(self, model: str, role: str, tokens: int, usd: float | None) -> None:
        self._flying_calls -= 1
        self._flying_tokens -= tokens
        self._flying_usd -= usd or 0.0

    def _spend(self, spend: Spend) -> None:
        key = (spend.role, spend.model)
        sofar = self._pending.get(key) or LLMSpend(spend.role, spend.model, 0, 0, 0, 0, 0.0)
        usd = None if spend.usd is None or sofar.usd is None else sofar.usd + spend.usd
        if spend.cached:  # answered before and paid then
            self._pending[key] = replace(sofar, calls=sofar.calls + 1, cached=sofar.cached + 1)
        else:
            self._pending[key] = replace(
                sofar,
                calls=sofar.calls + 1,
                prompt_tokens=sofar.prompt_tokens + spend.prompt_tokens,
                completion_tokens=sofar.completion_tokens + spend.completion_tokens,
                usd=usd,
            )
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what was spent since the last time."""
        pending, self._pending = self._pending, {}
        self._flushed = time.monotonic()
        for event in pending.values():
            self._emit(event)
