"""What a chat call gives back."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ToolCall:
    """A native tool call. ``arguments`` is the model's JSON text as it came: untrusted, perhaps not JSON."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class Usage:
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class TokenLogprob:
    """One generated token, its natural-log probability, and the likeliest tokens in its place, best first."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Reply:
    """``usd`` is None where the price of the model is unknown ("unpriced"), 0 for a cached or local reply."""

    text: str
    tool_calls: tuple[ToolCall, ...]
    usage: Usage
    cached: bool
    seconds: float
    usd: float | None
    logprobs: tuple[TokenLogprob, ...] | None
    finish_reason: str
