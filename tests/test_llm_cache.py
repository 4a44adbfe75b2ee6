"""The cache: shared by processes, never a reason to fail."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from p2m.llm.cache import Cache, shared
from p2m.llm.reply import Reply, TokenLogprob, ToolCall, Usage
from tests.conftest import ROOT

REPLY = Reply(
    text="naïve ✓",
    tool_calls=(ToolCall("1", "search", "{}"),),
    usage=Usage(3, 4),
    cached=False,
    seconds=1.5,
    usd=0.25,
    logprobs=(TokenLogprob("a", -0.5, (("a", -0.5), ("b", -1.0))),),
    finish_reason="stop",
)


def test_a_reply_comes_back_as_cached_and_free(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "new" / "cache.sqlite")
    assert cache.get("k") is None
    cache.put("k", REPLY)
    cache.close()
    found = Cache(cache.path).get("k")
    assert found is not None
    assert (found.cached, found.usd, found.seconds) == (True, 0.0, 0.0)
    assert (found.text, found.tool_calls, found.usage, found.logprobs) == (
        REPLY.text,
        REPLY.tool_calls,
        REPLY.usage,
        REPLY.logprobs,
    )


def test_a_damaged_file_is_moved_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "cache.sqlite"
    path.write_bytes(b"this is no database " * 500)
    cache = Cache(path)
    assert cache.get("k") is None
    cache.put("k", REPLY)
    assert cache.get("k") is not None
    aside = [p for p in tmp_path.iterdir() if "damaged" in p.name]
    assert [p.read_bytes()[:20] for p in aside] == [b"this is no database "]
    assert "damaged" in caplog.text


def test_a_cache_torn_while_in_use_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    cache = Cache(path)
    for i in range(200):
        cache.put(str(i), REPLY)
    cache.close()
    raw = path.read_bytes()
    path.write_bytes(raw[:4096] + b"\xff" * (len(raw) - 4096))
    again = Cache(path)
    for i in range(200):
        again.get(str(i))
        again.put(f"new {i}", REPLY)
    assert again.get("new 199") is not None


def test_a_row_of_another_version_is_a_miss(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache.sqlite")
    cache.put("k", REPLY)
    cache._open().execute("UPDATE replies SET reply = '{\"text\": 1}'")
    assert cache.get("k") is None


def test_a_place_that_cannot_be_written_is_a_miss(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way of the folder")
    cache = Cache(tmp_path / "file" / "cache.sqlite")
    cache.put("k", REPLY)
    assert cache.get("k") is None
    assert "is not used" in caplog.text


def test_processes_write_at_once(tmp_path: Path) -> None:
    program = f"""
import sys
sys.path[:0] = {[str(ROOT), *sys.path]!r}
from pathlib import Path
from tests.test_llm_cache import REPLY
from p2m.llm.cache import Cache
cache = Cache(Path({str(tmp_path / "cache.sqlite")!r}))
for i in range(40):
    cache.put(f"{{sys.argv[1]}}-{{i}}", REPLY)
"""
    writers = [subprocess.Popen([sys.executable, "-c", program, str(n)]) for n in range(3)]
    assert [w.wait(120) for w in writers] == [0, 0, 0]
    cache = Cache(tmp_path / "cache.sqlite")
    assert all(cache.get(f"{n}-{i}") for n in range(3) for i in range(40))


def test_it_can_be_switched_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("P2M_HOME", str(tmp_path))
    monkeypatch.delenv("P2M_NO_CACHE", raising=False)
    cache = shared()
    assert cache is not None
    assert cache.path.parent == tmp_path
    monkeypatch.setenv("P2M_NO_CACHE", "1")
    assert shared() is None
