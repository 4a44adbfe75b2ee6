"""The client against a real server that answers, fails, breaks off and hangs."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from p2m.errors import BadInput, BudgetExceeded, ProviderError
from p2m.llm.client import ChatModel, Patience, open_model
from p2m.llm.failures import RequestRefused, ToolsRefused
from p2m.llm.hooks import Hooks, Spend
from p2m.llm.parallel import Stopped, many
from p2m.llm.reply import Reply, TokenLogprob, ToolCall, Usage
from tests.fake_llm import Break, Fail, FakeLLM, Garbage, Hang, Request, Say, scripted

HASTY = Patience(attempts=3, first_wait=0.01, longest_wait=0.05, request_seconds=60)
ASK = [{"role": "user", "content": "Hello?"}]
SCHEMA = {
    "type": "object",
    "properties": {"label": {"enum": ["a", "b"]}},
    "required": ["label"],
    "additionalProperties": False,
}
TOOLS = [{"type": "function", "function": {"name": "search", "parameters": {"type": "object", "properties": {}}}}]


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("P2M_HOME", str(tmp_path / "home"))
    for name in ("P2M_API_KEY", "OPENAI_API_KEY", "OPENAI_BASE_URL", "P2M_NO_CACHE", "P2M_PRICES", "P2M_MODEL"):
        monkeypatch.delenv(name, raising=False)


def use(
    server: FakeLLM, do: Callable[[ChatModel], Awaitable[Any]], *, patience: Patience = HASTY, **options: Any
) -> Any:
    """Run ``do`` with a client of ``server`` in an event loop of its own."""

    async def run() -> Any:
        async with open_model(server.endpoint, role="teacher", patience=patience, **options) as model:
            return await do(model)

    return asyncio.run(run())


def ask(model: ChatModel, **options: Any) -> Awaitable[Any]:
    return model.chat(ASK, **{"max_tokens": 20, **options})


def test_an_answer_has_its_text_usage_and_price() -> None:
    spent: list[Spend] = []
    with FakeLLM(scripted(Say("Hi.", usage=(7, 2)))) as server:
        reply = use(server, ask, hooks=Hooks(on_spend=spent.append))
        body = server.requests[0].body
    assert (reply.text, reply.usage, reply.cached, reply.finish_reason) == ("Hi.", Usage(7, 2), False, "stop")
    assert reply.usd is None, "a model that is not in the price list is unpriced, not free"
    assert [(s.model, s.role, s.prompt_tokens, s.completion_tokens, s.cached) for s in spent] == [
        (server.endpoint, "teacher", 7, 2, False)
    ]
    assert (body["model"], body["messages"], body["max_tokens"], body["temperature"]) == ("fake", ASK, 20, 0.0)


def test_tokens_are_estimated_where_the_server_does_not_count() -> None:
    with FakeLLM(scripted(Say("x" * 400, usage=None))) as server:
        reply = use(server, ask)
    assert reply.usage.completion_tokens == 100
    assert reply.usage.prompt_tokens > 0


@pytest.mark.parametrize(
    "failure, reason",
    [
        (Fail(429), "429"),
        (Fail(500), "500"),
        (Fail(408), "408"),
        (Fail(503, "Loading model"), "503 loading"),
        (Break(), "connection failed"),
        (Garbage(), "unusable answer"),
        (Garbage(b'{"choices": [', "application/json"), "unusable answer"),
        (Garbage(b'{"choices": []}', "application/json"), "unusable answer"),
        (Garbage(b"null", "application/json"), "unusable answer"),
    ],
    ids=lambda v: str(v)[:40],
)
def test_what_may_pass_is_tried_again(failure: Any, reason: str) -> None:
    retries: list[tuple[str, int, float]] = []
    with FakeLLM(scripted(failure, "at last")) as server:
        reply = use(server, ask, hooks=Hooks(on_retry=lambda *args: retries.append(args)))
        assert len(server.requests) == 2
    assert reply.text == "at last"
    assert [(r[0], r[1]) for r in retries] == [(reason, 1)]


def test_retry_after_is_honoured() -> None:
    waits: list[float] = []
    with FakeLLM(scripted(Fail(429, headers={"Retry-After": "0.4"}), "ok")) as server:
        began = time.monotonic()
        use(server, ask, hooks=Hooks(on_retry=lambda _, __, wait: waits.append(wait)))
    assert waits == [0.4]
    assert time.monotonic() - began >= 0.4


def test_a_wait_beyond_the_patience_is_not_begun() -> None:
    with FakeLLM(scripted(Fail(429, "slow down", headers={"Retry-After": "3600"}))) as server:
        with pytest.raises(ProviderError, match=r"429.*slow down"):
            use(server, ask)
        assert len(server.requests) == 1


def test_attempts_are_bounded() -> None:
    with FakeLLM(scripted(Fail(500, "boom"))) as server:
        with pytest.raises(ProviderError, match=r"500.*boom"):
            use(server, ask)
        assert len(server.requests) == HASTY.attempts


def test_loading_may_take_longer_than_the_attempts() -> None:
    loading = [Fail(503, "Loading model")] * (HASTY.attempts + 3)
    with FakeLLM(scripted(*loading, "ready")) as server:
        assert use(server, ask).text == "ready"


def test_a_hanging_server_is_given_up() -> None:
    with FakeLLM(scripted(Hang())) as server, pytest.raises(ProviderError, match="did not answer in time"):
        use(server, ask, patience=Patience(attempts=2, first_wait=0.01, longest_wait=0.01, request_seconds=0.3))


def test_no_server_says_so() -> None:
    with FakeLLM(scripted("x")) as server:
        pass
    with pytest.raises(ProviderError, match="Is the server running"):
        use(server, ask)


@pytest.mark.parametrize(
    "status, says", [(401, "Set P2M_API_KEY"), (403, "Set P2M_API_KEY"), (404, "check the model's name and the URL")]
)
def test_what_will_not_pass_says_what_to_do(status: int, says: str) -> None:
    with FakeLLM(scripted(Fail(status, "go away"))) as server:
        with pytest.raises(ProviderError, match=says):
            use(server, ask)
        assert len(server.requests) == 1


def test_no_key_is_shown_or_sent_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    secret, other = "sk-proj-abcdefghijklmnop", "openai-key-of-the-user"
    monkeypatch.setenv("P2M_API_KEY", secret)
    monkeypatch.setenv("OPENAI_API_KEY", other)
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-the-user")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Secret: header-of-the-user")
    with FakeLLM(scripted(Fail(401, f"Incorrect API key provided: {secret}"))) as server:
        with pytest.raises(ProviderError) as caught:
            use(server, ask)
        headers = server.requests[0].headers
    assert secret not in str(caught.value)
    assert headers["authorization"] == f"Bearer {secret}"
    for value in (other, "org-of-the-user", "header-of-the-user"):
        assert value not in " ".join(headers.values())
    monkeypatch.delenv("P2M_API_KEY")
    with FakeLLM(scripted("x")) as server:
        use(server, ask)
        assert other not in server.requests[0].headers["authorization"]


def test_a_second_call_is_answered_from_the_cache() -> None:
    spent: list[Spend] = []
    logprobs = (("Hi", -0.1, (("Hi", -0.1), ("Ho", -2.5))),)
    with FakeLLM(scripted(Say("Hi", (("search", "{}"),), logprobs))) as server:
        first = use(server, partial(ask, top_logprobs=2))
        pieces: list[str] = []
        second = use(server, partial(ask, top_logprobs=2, on_text=pieces.append), hooks=Hooks(on_spend=spent.append))
        assert len(server.requests) == 1
        for other in ({"seed": 1}, {"temperature": 0.5}, {"max_tokens": 21}, {"prompt": "abc"}, {"schema": SCHEMA}):
            use(server, partial(ask, **{"top_logprobs": 2, **other}))
        assert len(server.requests) == 6, "each of these is another question"
        use(server, partial(ask, top_logprobs=2), use_cache=False)
        assert len(server.requests) == 7
    assert (second.text, second.tool_calls, second.usage) == (first.text, first.tool_calls, first.usage)
    assert second.logprobs == first.logprobs == (TokenLogprob("Hi", -0.1, (("Hi", -0.1), ("Ho", -2.5))),)
    assert (second.cached, second.usd, pieces) == (True, 0.0, ["Hi"])
    assert [s.cached for s in spent] == [True]


def test_the_budget_refuses_before_the_request() -> None:
    seen: list[tuple[str, str, int, float | None]] = []

    def refuse(*call: Any) -> None:
        seen.append(call)
        raise BudgetExceeded("usd", "no money left")

    with FakeLLM(scripted("x")) as server:
        with pytest.raises(BudgetExceeded):
            use(server, ask, hooks=Hooks(before_call=refuse))
        assert server.requests == []
    model, role, tokens, usd = seen[0]
    assert (model, role, usd) == (server.endpoint, "teacher", None)
    assert tokens >= 20, "the answer counts too"


def test_what_is_in_flight_is_given_back_also_after_a_failure() -> None:
    open_calls: list[int] = []
    hooks = Hooks(before_call=lambda *_: open_calls.append(1), after_call=lambda *_: open_calls.append(-1))
    with FakeLLM(scripted(Fail(400, "bad"))) as server, pytest.raises(RequestRefused):
        use(server, ask, hooks=hooks)
    assert open_calls == [1, -1]


def test_a_price_list_prices_the_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prices = tmp_path / "prices.json"
    prices.write_text('{"fake": [1.0, 4.0]}')
    monkeypatch.setenv("P2M_PRICES", str(prices))
    with FakeLLM(scripted(Say("x", usage=(1_000_000, 500_000)))) as server:
        assert use(server, ask).usd == pytest.approx(3.0)


def test_streamed_text_comes_in_pieces_and_ends_the_same() -> None:
    pieces: list[str] = []
    say = Say(
        "one two three", (("search", '{"q": "mail"}'), ("finish", "{}")), usage=(3, 9), finish_reason="tool_calls"
    )
    with FakeLLM(scripted(say)) as server:
        streamed = use(server, partial(ask, tools=TOOLS, on_text=pieces.append), use_cache=False)
        whole = use(server, partial(ask, tools=TOOLS), use_cache=False)
    assert pieces == ["one", " two", " three"]
    assert streamed.tool_calls == (ToolCall("call_0", "search", '{"q": "mail"}'), ToolCall("call_1", "finish", "{}"))
    assert (streamed.text, streamed.tool_calls, streamed.usage, streamed.finish_reason) == (
        whole.text,
        whole.tool_calls,
        whole.usage,
        whole.finish_reason,
    )


@pytest.mark.parametrize("failure", [Break("half an answer", 2), Garbage(), Fail(500)], ids=str)
def test_a_stream_that_dies_is_begun_anew(failure: Any) -> None:
    pieces: list[str] = []
    with FakeLLM(scripted(failure, "a whole answer")) as server:
        reply = use(server, partial(ask, on_text=pieces.append))
    assert reply.text == "a whole answer"
    assert "".join(pieces).endswith("a whole answer")


def test_a_schema_is_sent_as_one() -> None:
    with FakeLLM(scripted('{"label": "a"}')) as server:
        use(server, partial(ask, schema=SCHEMA))
        sent = server.requests[0].body["response_format"]
    assert sent == {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}}


def test_a_server_without_schemas_is_told_in_words_once_and_for_all() -> None:
    def behave(request: Request) -> Any:
        if "response_format" in request.body:
            return Fail(400, "response_format is not supported")
        return 'Sure, here it is:\n```json\n{"label": "a"}\n```\nAnything else?'

    async def twice(model: ChatModel) -> list[str]:
        return [(await ask(model, schema=SCHEMA, seed=i)).text for i in range(2)]

    with FakeLLM(behave) as server:
        assert use(server, twice) == ['{"label": "a"}'] * 2
        assert ["response_format" in r.body for r in server.requests] == [True, False, False]
        assert '"enum": ["a", "b"]' in server.requests[1].last


def test_refused_options_are_left_out() -> None:
    def behave(request: Request) -> Any:
        for name in ("temperature", "seed", "logprobs"):
            if name in request.body:
                return Fail(400, "Unsupported parameter", error={"param": name})
        if "max_tokens" in request.body:
            return Fail(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
        return "ok"

    with FakeLLM(behave) as server:
        reply = use(server, partial(ask, top_logprobs=3))
        assert set(server.requests[-1].body) == {"model", "messages", "max_completion_tokens"}
    assert (reply.text, reply.logprobs) == ("ok", None)


def test_a_request_that_is_too_long_is_refused_as_it_is() -> None:
    long = Fail(400, "maximum context length is 10 tokens; you sent 90 in messages, 5 in tools, max_tokens 20")
    with FakeLLM(scripted(long)) as server:
        with pytest.raises(RequestRefused, match="maximum context length"):
            use(server, partial(ask, tools=TOOLS))
        assert len(server.requests) == 1


def test_whether_tools_work_is_remembered() -> None:
    async def learn(model: ChatModel) -> list[bool | None]:
        known = [model.supports_tools()]
        with contextlib.suppress(ToolsRefused):
            await ask(model, tools=TOOLS)
        return [*known, model.supports_tools()]

    with FakeLLM(scripted(Say(calls=(("search", "{}"),)))) as server:
        assert use(server, learn) == [None, True]
    with FakeLLM(scripted(Fail(400, "tools are not supported by this model"))) as server:
        assert use(server, learn) == [None, False]


def test_a_grammar_is_for_local_models() -> None:
    with FakeLLM(scripted("x")) as server, pytest.raises(BadInput, match="grammar"):
        use(server, partial(ask, grammar='root ::= "a"'))


def test_many_keeps_what_succeeded_in_order_and_bounded() -> None:
    done: list[int] = []

    def behave(request: Request) -> Any:
        time.sleep(0.02)
        return Fail(400, "bad row") if request.last == "3" else f"saw {request.last}"

    async def run(model: ChatModel) -> list[Any]:
        calls = [partial(model.chat, [{"role": "user", "content": str(i)}], max_tokens=5) for i in range(8)]
        return await many(calls, limit=4, on_done=lambda i, _: done.append(i))

    with FakeLLM(behave) as server:
        results = use(server, run)
        assert 2 <= server.most_at_once <= 4
    assert [r.text for i, r in enumerate(results) if i != 3] == [f"saw {i}" for i in range(8) if i != 3]
    assert isinstance(results[3], RequestRefused)
    assert sorted(done) == list(range(8))


def test_many_makes_no_call_once_told_to_stop() -> None:
    async def run(model: ChatModel) -> list[Any]:
        calls = [partial(model.chat, [{"role": "user", "content": str(i)}], max_tokens=5) for i in range(9)]
        return await many(calls, limit=1, stop=lambda: len(server.requests) == 3)

    with FakeLLM(scripted("x")) as server:
        results = use(server, run)
    assert [type(r) for r in results] == [Reply] * 3 + [Stopped] * 6


def test_many_stops_asking_a_dead_server() -> None:
    async def run(model: ChatModel) -> list[Any]:
        calls = [partial(model.chat, [{"role": "user", "content": str(i)}], max_tokens=5) for i in range(20)]
        return await many(calls, limit=2)

    with FakeLLM(scripted(Fail(401))) as server:
        results = use(server, run)
        assert len(server.requests) <= 2
    assert len(results) == 20
    assert all(isinstance(r, ProviderError) for r in results)


def test_cancelled_calls_end_at_once() -> None:
    async def run(model: ChatModel) -> float:
        calls = [partial(model.chat, [{"role": "user", "content": str(i)}], max_tokens=5) for i in range(4)]
        task = asyncio.create_task(many(calls, limit=4))
        await asyncio.sleep(0.2)
        began = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return time.monotonic() - began

    with FakeLLM(scripted(Hang())) as server:
        assert use(server, run) < 10


def test_one_model_serves_one_event_loop_after_another() -> None:
    with FakeLLM(scripted("x")) as server:
        model = open_model(server.endpoint, role="teacher", use_cache=False)
        assert [asyncio.run(ask(model)).text for _ in range(2)] == ["x", "x"]  # type: ignore[arg-type]
