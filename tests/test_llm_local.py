"""The embedded model itself, through llama.cpp in this process."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from p2m.errors import P2MError
from p2m.llm.client import ChatModel, open_model
from p2m.llm.failures import RequestRefused
from p2m.llm.hooks import Hooks, Spend
from p2m.llm.parallel import many
from tests.conftest import pack_member

SCHEMA = {
    "type": "object",
    "properties": {"label": {"enum": ["yes", "no"]}},
    "required": ["label"],
    "additionalProperties": False,
}


def user(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def test_the_smallest_model_does_all_that_is_asked_of_it(capfd: pytest.CaptureFixture[str]) -> None:
    pack_member("smollm2-135m")
    loading: list[str] = []
    spent: list[Spend] = []

    async def run(model: ChatModel) -> None:
        ask = partial(model.chat, max_tokens=4)
        one = await ask(user("Say hello."), top_logprobs=3)
        assert one.text
        assert one.logprobs is not None
        assert len(one.logprobs) == one.usage.completion_tokens <= 4
        first = one.logprobs[0]
        assert len(first.top) == 3
        assert first.top == tuple(sorted(first.top, key=lambda t: -t[1]))
        assert first.logprob == first.top[0][1] < 0, "temperature 0 takes the likeliest"

        shaped = await ask(user("Is the sky blue?"), max_tokens=16, schema=SCHEMA)
        assert json.loads(shaped.text)["label"] in ("yes", "no")
        assert "\n" not in shaped.text, "no tokens for indentation"

        ruled = await ask(user("Which letter?"), grammar='root ::= "B" | "C"', top_logprobs=5)
        assert ruled.text in ("B", "C")
        assert ruled.logprobs is not None
        pieces: list[str] = []
        streamed = await ask(user("Say hello."), on_text=pieces.append)
        assert streamed.text == "".join(pieces) == one.text

        again = await many([partial(ask, user(f"Say {i}.")) for i in range(3)], limit=model.concurrency)
        assert all(not isinstance(r, Exception) and r.text for r in again)
        with pytest.raises(RequestRefused, match="context size"):
            await ask(user("word " * 5000))

    async def main() -> None:
        hooks = Hooks(on_loading=loading.append, on_spend=spent.append)
        async with open_model("local:smollm2-135m", role="teacher", hooks=hooks, use_cache=False) as model:
            other = open_model("local:smollm2-135m", role="planner", use_cache=False)
            assert model.is_local
            assert model._server is other._server, "one server a model"
            await other.close()
            await run(model)

    asyncio.run(main())
    assert len(loading) == 1
    assert {s.usd for s in spent} == {0.0}
    assert capfd.readouterr().err == "", "the terminal is the user's"


def test_a_model_that_is_not_there_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("P2M_HOME", str(tmp_path))
    with pytest.raises(P2MError, match="p2m pull smollm2-135m"):
        open_model("local:smollm2-135m", role="teacher")


def test_a_file_that_is_no_model_says_so(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(100))

    async def run() -> None:
        async with open_model(f"local:{broken}", role="teacher", use_cache=False) as model:
            await model.chat(user("hello"), max_tokens=1)

    with pytest.raises(P2MError, match=r"cannot load .*broken\.gguf"):
        asyncio.run(run())
