"""One client for every LLM: cached, retried, counted."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from p2m.errors import BadInput, P2MError
from p2m.files import digest
from p2m.llm import cache as caches
from p2m.llm import failures, local, wire
from p2m.llm.endpoint import Endpoint, parse_endpoint
from p2m.llm.hooks import Hooks, Spend
from p2m.llm.prices import price_of
from p2m.llm.reply import Reply
from p2m.llm.retry import Patience, retrying
from p2m.prompts import render

if TYPE_CHECKING:
    from openai import AsyncOpenAI

__all__ = ["ChatModel", "Patience", "open_model"]

REMOTE_CONCURRENCY = 8
CONNECT_SECONDS = 10.0
LOCAL_REQUEST_SECONDS = 3600.0
KEY_VERSION = 1


class ChatModel:
    """``name`` is e.g. ``local:qwen2.5-coder-1.5b``; ``concurrency`` is how many parallel calls pay off.

    Make one with ``open_model``; ``close`` it, or use it as an async context manager.
    """

    def __init__(
        self, endpoint: Endpoint, *, role: str, hooks: Hooks, cache: caches.Cache | None, patience: Patience
    ) -> None:
        self.endpoint, self.role, self.hooks, self.patience = endpoint, role, hooks, patience
        self.name = str(endpoint)
        self.is_local = endpoint.kind == "local"
        self.concurrency = local.SLOTS if self.is_local else REMOTE_CONCURRENCY
        self._cache = cache
        self._price = price_of(endpoint)
        self._server = local.acquire(endpoint) if self.is_local else None
        self._identity = local.model_identity(endpoint) if self.is_local else endpoint.base_url
        self._refused: frozenset[str] = frozenset()
        self._tools: bool | None = None
        self._client: tuple[asyncio.AbstractEventLoop, str, AsyncOpenAI] | None = None

    async def __aenter__(self) -> ChatModel:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def supports_tools(self) -> bool | None:
        """Native tool calls: True once one was seen, False once they were refused, None before."""
        return self._tools

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
        """One answer. ``schema`` (JSON Schema) constrains it; ``Reply.text`` is then the JSON in the answer alone.

        ``grammar`` (GBNF or llguidance) is for local models. ``prompt`` is the hash of the prompt's template, for the
        cache. ``on_text`` gets the text as it comes; after a retry it begins anew. Log-probabilities are the model's
        own, before a grammar or schema forbids tokens, and None where the server gives none.

        Raises ``ProviderError`` after the retries, ``RequestRefused`` where the server will not answer this request,
        ``ToolsRefused`` where it has no native tool calls, ``BudgetExceeded`` from the hook.
        """
        if grammar and not self.is_local:
            raise BadInput(f"{self.name} takes no grammar", fix="Use a schema")
        ask = wire.Ask(
            messages, max_tokens, temperature, seed, schema, tools, top_logprobs, grammar, stream=on_text is not None
        )
        key = self._key(ask, prompt)
        found = self._cache.get(key) if self._cache else None
        if found is not None:
            if on_text and found.text:
                on_text(found.text)
            self._spent(found)
            return found
        guess = ask.estimated_prompt_tokens
        estimate = (self.name, self.role, guess + max_tokens, self._usd(guess, max_tokens))
        self.hooks.before_call(*estimate)
        try:
            reply = await self._answer(ask, on_text)
            if self._cache and (reply.text or reply.tool_calls):
                self._cache.put(key, reply)
            self._spent(reply)
            return reply
        finally:
            self.hooks.after_call(*estimate)

    async def close(self) -> None:
        """Close the connections; a local model is unloaded when its last client closes. More than once is fine."""
        if self._client is not None:
            loop, _, client = self._client
            self._client = None
            if loop is asyncio.get_running_loop():  # connections of a loop that is over ended with it
                await client.close()
        if self._server is not None:
            local.release(self._server)
            self._server = None
        if self._cache is not None:
            self._cache.close()

    def _key(self, ask: wire.Ask, prompt: str) -> str:
        words = render("answer_as_json", schema="").hash if ask.schema and not self.is_local else ""
        return digest([KEY_VERSION, self.endpoint.model, self._identity, ask.key(), prompt, words])

    def _usd(self, prompt_tokens: int, completion_tokens: int) -> float | None:
        return None if self._price is None else self._price.usd(prompt_tokens, completion_tokens)

    def _spent(self, reply: Reply) -> None:
        usage = reply.usage
        self.hooks.on_spend(
            Spend(
                self.name,
                self.role,
                usage.prompt_tokens,
                usage.completion_tokens,
                reply.usd,
                reply.cached,
                reply.seconds,
            )
        )

    async def _answer(self, ask: wire.Ask, on_text: Callable[[str], None] | None) -> Reply:
        began = time.monotonic()
        try:
            answer: wire.Answer = await retrying(self.patience, self.hooks.on_retry)(self._adapting, ask, on_text)
        except P2MError:
            raise
        except Exception as error:
            if not failures.is_providers(error):
                raise
            raise failures.explain(error, self.endpoint) from error
        if answer.calls:
            self._tools = True
        reply = answer.reply(ask, time.monotonic() - began)
        usage = reply.usage
        return replace(reply, usd=self._usd(usage.prompt_tokens, usage.completion_tokens))

    async def _adapting(self, ask: wire.Ask, on_text: Callable[[str], None] | None) -> wire.Answer:
        """Ask; where the server refuses an option, once and for all without it."""
        from openai import APIStatusError

        while True:
            body = wire.body(ask, self.endpoint.model, without=self._refused, is_local=self.is_local)
            try:
                return await self._once(body, on_text)
            except APIStatusError as error:
                option = failures.refused_option(error, body.keys())
                if option == "tools":
                    self._tools = False
                    raise failures.ToolsRefused(f"{self.name} has no native tool calls") from error
                if option is None or option in self._refused:
                    raise
                self._refused |= {option}

    async def _once(self, body: dict[str, Any], on_text: Callable[[str], None] | None) -> wire.Answer:
        client = await self._connected()
        async with AsyncExitStack() as stack:
            extra: dict[str, Any] = {}
            if self._server is not None:
                extra = {"grammar": body.pop("grammar")} if "grammar" in body else {}
                extra["id_slot"] = await stack.enter_async_context(self._server.slot(body))
            answer = await client.chat.completions.create(**body, extra_body=extra)
            if on_text is None:
                return wire.read_whole(answer)
            if not hasattr(answer, "__aiter__"):
                raise failures.UnusableAnswer(f"not a stream: {str(answer)[:200]}")
            return await wire.read_stream(await stack.enter_async_context(answer), on_text)

    async def _connected(self) -> AsyncOpenAI:
        base_url, key, seconds = self.endpoint.base_url, self.endpoint.key, self.patience.request_seconds
        if self._server is not None:
            address = await local.start(self._server, self.hooks.on_loading)
            base_url, key, seconds = f"{address}/v1", self._server.key, LOCAL_REQUEST_SECONDS
        loop = asyncio.get_running_loop()
        if self._client is None or self._client[:2] != (loop, base_url):
            self._client = (loop, base_url, _sdk(self.endpoint, base_url, key, seconds))
        return self._client[2]


def _sdk(endpoint: Endpoint, base_url: str, key: str | None, seconds: float) -> AsyncOpenAI:
    import httpx2
    from openai import AsyncOpenAI, Omit

    timeout = httpx2.Timeout(seconds, connect=CONNECT_SECONDS)
    near = not endpoint.base_url or endpoint.is_loopback
    # A proxy of the environment cannot reach this machine's own 127.0.0.1.
    http = httpx2.AsyncClient(trust_env=False, timeout=timeout) if near else None
    if endpoint.kind == "openai":
        return AsyncOpenAI(api_key=key or "none", base_url=base_url, max_retries=0, timeout=timeout, http_client=http)
    # The SDK adds what the OPENAI_ variables say to every request: none of it is another host's business.
    lines = (os.environ.get("OPENAI_CUSTOM_HEADERS") or "").split("\n")
    unsent = {line.partition(":")[0].strip(): Omit() for line in lines if ":" in line}
    client = AsyncOpenAI(
        api_key=key or "none",
        admin_api_key="",
        base_url=base_url,
        max_retries=0,
        timeout=timeout,
        http_client=http,
        default_headers=unsent,  # type: ignore[arg-type]
    )
    client.organization = client.project = None
    return client


def open_model(
    text: str,
    *,
    role: str,
    hooks: Hooks | None = None,
    use_cache: bool = True,
    patience: Patience | None = None,
) -> ChatModel:
    """The model of an endpoint text: ``openai:MODEL``, ``http://host:port/v1#MODEL`` or ``local:NAME``.

    ``role`` is ``planner`` or ``teacher``. Nothing is asked or loaded yet. Raises ``BadInput`` for what is no endpoint
    and where a key is missing, ``P2MError`` for a pack model that is not here.
    """
    endpoint = parse_endpoint(text)
    if endpoint.host == "api.openai.com" and endpoint.key is None:
        raise BadInput(f"{endpoint} needs a key", fix=f"Set {' or '.join(endpoint.key_variables)}")
    cache = caches.shared() if use_cache else None
    return ChatModel(endpoint, role=role, hooks=hooks or Hooks(), cache=cache, patience=patience or Patience())
