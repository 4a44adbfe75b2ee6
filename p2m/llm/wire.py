"""The OpenAI chat protocol: what is asked, as a request body; what comes back, as a ``Reply``."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from p2m.llm.failures import UnusableAnswer
from p2m.llm.reply import Reply, TokenLogprob, ToolCall, Usage
from p2m.prompts import render

CHARS_PER_TOKEN = 4  # a rule of thumb, where no one counted


@dataclass(frozen=True)
class Ask:
    """One call, whatever the server."""

    messages: list[dict[str, Any]]
    max_tokens: int
    temperature: float
    seed: int
    schema: dict[str, Any] | None
    tools: list[dict[str, Any]] | None
    top_logprobs: int | None
    grammar: str | None
    stream: bool

    @property
    def estimated_prompt_tokens(self) -> int:
        size = sum(len(str(m.get("content") or "")) for m in self.messages)
        size += len(json.dumps([self.tools, self.schema])) if self.tools or self.schema else 0
        return size // CHARS_PER_TOKEN + 4 * len(self.messages)

    def key(self) -> dict[str, Any]:
        """What the answer depends on."""
        return {k: v for k, v in vars(self).items() if k != "stream"}


def body(ask: Ask, model: str, *, without: frozenset[str], is_local: bool) -> dict[str, Any]:
    """The request body. ``without`` names the options this server has refused; they are replaced or left out."""
    asked: dict[str, Any] = {"model": model, "messages": ask.messages, "temperature": ask.temperature, "seed": ask.seed}
    asked["max_completion_tokens" if "max_tokens" in without else "max_tokens"] = ask.max_tokens
    if ask.tools:
        asked["tools"] = ask.tools
    if ask.top_logprobs is not None:
        asked |= {"logprobs": True, "top_logprobs": ask.top_logprobs}
    if ask.stream:
        asked |= {"stream": True, "stream_options": {"include_usage": True}}
    if is_local:
        grammar = ask.grammar or (_guidance(ask.schema) if ask.schema else None)
        asked |= {"grammar": grammar} if grammar else {}
    elif ask.schema and "response_format" in without:
        asked["messages"] = _described(ask.messages, ask.schema)
    elif ask.schema:
        named = {"name": "answer", "schema": ask.schema, "strict": _is_strict(ask.schema)}
        asked["response_format"] = {"type": "json_schema", "json_schema": named}
    if "logprobs" in without:
        asked.pop("top_logprobs", None)
    return {k: v for k, v in asked.items() if k not in without}


def _guidance(schema: dict[str, Any]) -> str:
    """The schema as a grammar of llguidance with one spelling of whitespace: a small model left free to indent pays
    for it in tokens, and can fall into a loop of blanks."""
    spelled = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
    return "%llguidance {}\nstart: %json " + json.dumps({**schema, "x-guidance": spelled})


def _described(messages: list[dict[str, Any]], schema: dict[str, Any]) -> list[dict[str, Any]]:
    words = render("answer_as_json", schema=json.dumps(schema)).text
    last = messages[-1]
    return [*messages[:-1], {**last, "content": f"{last.get('content') or ''}\n\n{words}"}]


def _is_strict(schema: Any) -> bool:
    """Whether OpenAI's strict mode takes it: every object closed, every property required."""
    if isinstance(schema, list):
        return all(map(_is_strict, schema))
    if not isinstance(schema, dict):
        return True
    properties = schema.get("properties")
    if isinstance(properties, dict):
        closed = schema.get("additionalProperties") is False and set(schema.get("required", ())) == set(properties)
        return closed and all(map(_is_strict, properties.values()))
    return schema.get("type") != "object" and all(map(_is_strict, schema.values()))


@dataclass
class Answer:
    """What the server has said so far."""

    text: str = ""
    calls: dict[int, list[str]] = field(default_factory=dict)
    logprobs: list[TokenLogprob] | None = None
    usage: Usage | None = None
    finish_reason: str = ""

    def take(self, choice: Any, said: Any) -> None:
        """``said`` is the message of a whole answer, or one delta of a streamed one."""
        self.text += said.content or ""
        self.finish_reason = choice.finish_reason or self.finish_reason
        for i, call in enumerate(said.tool_calls or ()):
            parts = self.calls.setdefault(getattr(call, "index", None) or i, ["", "", ""])
            spoken = (call.id, call.function and call.function.name, call.function and call.function.arguments)
            for at, part in enumerate(spoken):
                parts[at] += part or ""
        if choice.logprobs is not None and choice.logprobs.content is not None:
            self.logprobs = (self.logprobs or []) + [
                TokenLogprob(t.token, t.logprob, tuple((o.token, o.logprob) for o in t.top_logprobs or ()))
                for t in choice.logprobs.content
            ]

    def count(self, usage: Any) -> None:
        if usage is not None:
            self.usage = Usage(usage.prompt_tokens or 0, usage.completion_tokens or 0)

    def reply(self, ask: Ask, seconds: float) -> Reply:
        """``usd`` is for the caller to fill in; tokens are estimated where the server did not count them."""
        text = json_part(self.text) if ask.schema else self.text
        guess = Usage(ask.estimated_prompt_tokens, len(self.text) // CHARS_PER_TOKEN)
        return Reply(
            text=text,
            tool_calls=tuple(ToolCall(*self.calls[i]) for i in sorted(self.calls)),
            usage=self.usage or guess,
            cached=False,
            seconds=seconds,
            usd=None,
            logprobs=None if self.logprobs is None else tuple(self.logprobs),
            finish_reason=self.finish_reason,
        )


def read_whole(completion: Any) -> Answer:
    """Raises ``UnusableAnswer`` for what is no chat completion."""
    answer = Answer()
    try:
        choice = completion.choices[0]
        answer.take(choice, choice.message)
        answer.count(completion.usage)
    except (AttributeError, TypeError, IndexError) as error:
        raise UnusableAnswer(f"not a chat completion: {str(completion)[:200]}") from error
    return answer


async def read_stream(chunks: AsyncIterator[Any], on_text: Callable[[str], None]) -> Answer:
    """Assemble a streamed answer; each piece of text goes to ``on_text`` as it comes.

    Raises ``UnusableAnswer`` for what are no chat completion chunks, and where they end without an end.
    """
    answer = Answer()
    async for chunk in chunks:
        before = len(answer.text)
        try:
            answer.count(chunk.usage)
            for choice in chunk.choices[:1]:
                answer.take(choice, choice.delta)
        except (AttributeError, TypeError) as error:
            raise UnusableAnswer(f"not a chat completion chunk: {str(chunk)[:200]}") from error
        if len(answer.text) > before:
            on_text(answer.text[before:])
    if not answer.finish_reason:
        raise UnusableAnswer("the answer broke off")
    return answer


def json_part(text: str) -> str:
    """The first JSON object or array in ``text`` (models wrap it in prose and fences); ``text`` where there is none."""
    decoder = json.JSONDecoder()
    for at, char in enumerate(text):
        if char in "{[":
            try:
                _, end = decoder.raw_decode(text, at)
            except ValueError:
                continue
            return text[at:end]
    return text
