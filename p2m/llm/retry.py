"""How long a failed call is tried again: bounded in attempts and in time, as the server asks where it does."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from p2m.llm.failures import is_loading, is_transient, reason, retry_after

if TYPE_CHECKING:
    from tenacity import AsyncRetrying, RetryCallState

LOADING_POLL_SECONDS = 2.0


@dataclass(frozen=True)
class Patience:
    """Seconds, all but ``attempts``. ``loading_seconds`` is for a server that says that its model is being loaded;
    such answers do not count as attempts."""

    attempts: int = 6
    total_seconds: float = 300.0
    first_wait: float = 1.0
    longest_wait: float = 30.0
    loading_seconds: float = 120.0
    request_seconds: float = 300.0


def retrying(patience: Patience, on_retry: Callable[[str, int, float], None]) -> AsyncRetrying:
    """For one call, beginning now. ``on_retry(reason, attempt, wait_s)`` runs before each wait."""
    from tenacity import AsyncRetrying, retry_if_exception, wait_exponential, wait_random

    began, tries = time.monotonic(), 0
    # The random part keeps parallel calls from coming back all at once.
    growing = wait_exponential(multiplier=patience.first_wait, max=patience.longest_wait) + wait_random(
        0, patience.first_wait
    )

    def wait(state: RetryCallState) -> float:
        error = _error(state)
        asked = retry_after(error)
        if asked is not None:
            return asked
        return min(LOADING_POLL_SECONDS, patience.longest_wait) if is_loading(error) else growing(state)

    def stop(state: RetryCallState) -> bool:
        nonlocal tries
        loading = is_loading(_error(state))
        tries += not loading
        longest = patience.loading_seconds if loading else patience.total_seconds
        return tries >= patience.attempts or time.monotonic() - began + state.upcoming_sleep > longest

    def tell(state: RetryCallState) -> None:
        on_retry(reason(_error(state)), state.attempt_number, state.upcoming_sleep)

    return AsyncRetrying(wait=wait, stop=stop, before_sleep=tell, retry=retry_if_exception(is_transient), reraise=True)


def _error(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None
