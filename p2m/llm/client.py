"""One client for every LLM: cached, retried, counted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from p2m.llm.hooks import Hooks
from p2m.llm.reply import Reply

T = TypeVar("T")


class ChatModel:
    """``name`` is e.g. ``local:qwen2.5-coder-1.5b``; ``concurrency`` is how many parallel calls pay off."""

    name: str
    concurrency: int
    is_local: bool

    async def chat(
        self,
        messages: list[dict[str, Any]],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        seed: int = 0,
        schema: dict[str, Any] | None = None,
        tools: list[dict[str, Any]] | None = None,
        top_logprobs: int | None = None,
        grammar: str | None = None,
        prompt: str = "",
        on_text: Callable[[str], None] | None = None,
    ) -> Reply:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError


def open_model(text: str, *, role: str, hooks: Hooks | None = None, use_cache: bool = True) -> ChatModel:
    """The model of an endpoint text: ``openai:MODEL``, ``http://host:port/v1#MODEL`` or ``local:NAME``."""
    raise NotImplementedError


async def many(
    calls: Sequence[Callable[[], Awaitable[T]]],
    *,
    limit: int,
    on_done: Callable[[int, T | Exception], None] | None = None,
) -> list[T | Exception]:
    """Run ``calls`` at most ``limit`` at once; results in order, an exception object in the place of a failed one."""
    raise NotImplementedError
