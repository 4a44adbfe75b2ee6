"""Endpoints as people write them, what they cost, and keys that stay where they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2m.errors import BadInput
from p2m.llm.client import open_model
from p2m.llm.endpoint import default_endpoint, parse_endpoint
from p2m.llm.prices import price_of
from p2m.llm.redact import redact


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("P2M_API_KEY", "OPENAI_API_KEY", "OPENAI_BASE_URL", "P2M_PLANNER", "P2M_TEACHER", "P2M_MODEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("P2M_PRICES", raising=False)


def test_the_three_forms(tmp_path: Path) -> None:
    gguf = tmp_path / "mine.gguf"
    gguf.write_bytes(b"GGUF")
    for text, kind, model, base in [
        ("openai:gpt-4.1-mini", "openai", "gpt-4.1-mini", "https://api.openai.com/v1"),
        ("http://127.0.0.1:8080/v1#a/b:c", "url", "a/b:c", "http://127.0.0.1:8080/v1"),
        ("https://llm.example/v1/#m", "url", "m", "https://llm.example/v1"),
        ("local:qwen2.5-coder-1.5b", "local", "qwen2.5-coder-1.5b", ""),
        (f"local:{gguf}", "local", str(gguf), ""),
    ]:
        endpoint = parse_endpoint(text)
        assert (endpoint.kind, endpoint.model, endpoint.base_url) == (kind, model, base)
        assert parse_endpoint(str(endpoint)) == endpoint


@pytest.mark.parametrize(
    "text, says",
    [
        ("gpt-4", "openai:MODEL"),
        ("", "openai:MODEL"),
        ("openai:", "openai:MODEL"),
        ("policy", "openai:MODEL"),
        ("http://127.0.0.1:8080/v1", "#MODEL"),
        ("http://#m", "no host"),
        ("http://h:port/v1#m", "http://h:port/v1"),
        ("http://me:secret-word@h/v1#m", "P2M_API_KEY"),
        ("local:llama", "qwen2.5-coder-1.5b"),
        ("local:all-minilm-l6-v2", "no local LLM"),
        ("local:/no/such.gguf", "/no/such.gguf"),
    ],
)
def test_anything_else_is_refused_with_what_is_allowed(text: str, says: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_endpoint(text)
    assert says in str(caught.value)
    assert "secret-word" not in str(caught.value)


def test_the_default_goes_by_what_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    assert str(default_endpoint("planner")) == "local:qwen2.5-coder-1.5b"
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    assert str(default_endpoint("planner")) == "openai:gpt-4.1-mini"
    monkeypatch.setenv("P2M_MODEL", "gpt-9")
    assert str(default_endpoint("teacher")) == "openai:gpt-9"
    monkeypatch.setenv("P2M_TEACHER", "local:smollm2-135m")
    assert str(default_endpoint("teacher")) == "local:smollm2-135m"
    assert str(default_endpoint("planner")) == "openai:gpt-9"


def test_a_key_goes_only_where_it_belongs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "theirs")
    assert parse_endpoint("openai:m").key == "theirs"
    assert parse_endpoint("https://api.openai.com/v1#m").key == "theirs"
    for url in ("http://h/v1#m", "https://api.openai.com.evil.example/v1#m", "http://h/api.openai.com#m"):
        assert parse_endpoint(url).key is None
    monkeypatch.setenv("P2M_API_KEY", "own")
    assert parse_endpoint("http://h/v1#m").key == "own"


def test_a_missing_key_is_said_before_the_first_call() -> None:
    with pytest.raises(BadInput, match="Set OPENAI_API_KEY"):
        open_model("openai:gpt-4.1-mini", role="planner")


def test_prices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    price = price_of(parse_endpoint("openai:gpt-4.1-mini-2025-04-14"))
    assert price is not None
    assert price.usd(1_000_000, 1_000_000) == pytest.approx(0.4 + 1.6)
    assert price_of(parse_endpoint("openai:gpt-77")) is None
    assert price_of(parse_endpoint("http://h/v1#gpt-4.1-mini")) is None, "another host has its own prices"
    local = price_of(parse_endpoint("local:smollm2-135m"))
    assert local is not None
    assert local.usd(10**9, 10**9) == 0.0
    own = tmp_path / "prices.json"
    own.write_text('{"gpt-77": [2, 3.5]}')
    monkeypatch.setenv("P2M_PRICES", str(own))
    found = price_of(parse_endpoint("http://h/v1#gpt-77"))
    assert found is not None
    assert found.usd(500_000, 2_000_000) == pytest.approx(1 + 7)


@pytest.mark.parametrize("text", ["{", "[]", '{"m": 1}', '{"m": ["a", 2]}', '{"m": [1]}', '{"m": [-1, 2]}'])
def test_a_price_list_that_is_none_is_said(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "prices.json").write_text(text)
    monkeypatch.setenv("P2M_PRICES", str(tmp_path / "prices.json"))
    with pytest.raises(BadInput, match=r"prices\.json"):
        price_of(parse_endpoint("openai:m"))


def test_redact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("P2M_API_KEY", "plain-looking-value")
    monkeypatch.setenv("SOME_TOKEN", "plain-looking-value-and-longer")
    text = (
        "a plain-looking-value b plain-looking-value-and-longer c sk-proj-0123456789abcdefXYZ "
        'd hf_abcdefghijklmnopqrst "Authorization: Bearer abc.def-ghi/jkl=="'
    )
    assert redact(text) == 'a [key] b [key] c [key] d [key] "Authorization: Bearer [key]"'
    for harmless in ("a task-oriented chat", "risk-management-questionnaires", "Bearer of news", "half_done"):
        assert redact(harmless) == harmless
