"""``p2m doctor`` as its user meets it: what is missing, how to get it, and who answers."""

from __future__ import annotations

import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from agent.doctor_machine import PACKAGES
from p2m.pack import NAMES
from tests.as_user import environment, p2m

KEY = "correct-horse-battery-staple"


class Endpoint(http.server.BaseHTTPRequestHandler):
    """A server that answers ``/good`` and refuses the key at ``/locked``."""

    asked: ClassVar[list[tuple[str, dict[str, Any]]]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append((self.path, body))
        good = self.path.startswith("/good/")
        answer: dict[str, Any] = {"error": {"message": f"bad key {KEY}"}}
        if good:
            said = {"index": 0, "message": {"role": "assistant", "content": "Yes"}, "finish_reason": "length"}
            usage = {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}
            answer = {
                "id": "1",
                "object": "chat.completion",
                "created": 1,
                "model": "m",
                "choices": [said],
                "usage": usage,
            }
        text = json.dumps(answer).encode()
        self.send_response(200 if good else 401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Silent: pytest's output is not a server's log."""


@pytest.fixture
def server() -> Iterator[str]:
    Endpoint.asked.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endpoint) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return environment(tmp_path)


def doctor(env: dict[str, str], cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return p2m("doctor", *arguments, cwd=cwd, env=env)


def findings(env: dict[str, str], cwd: Path) -> tuple[int, dict[str, dict[str, Any]]]:
    said = doctor(env, cwd, "--json")
    assert said.stderr == ""
    return said.returncode, {f["name"]: f for f in json.loads(said.stdout)}


def test_with_nothing_pulled_it_says_what_to_pull(tmp_path: Path, env: dict[str, str]) -> None:
    code, found = findings(env, tmp_path)
    assert code == 2
    assert {name: found[name]["fix"] for name in NAMES} == {name: f"p2m pull {name}" for name in NAMES}
    # The student and the model that plans and teaches are needed; what no one would use is not.
    assert {n for n in NAMES if found[n]["needed"]} == {"all-minilm-l6-v2", "qwen2.5-coder-1.5b"}
    assert (found["planner"]["ok"], found["planner"]["fix"]) == (False, "p2m pull qwen2.5-coder-1.5b")
    assert found["LLM cache"]["ok"]
    for package in PACKAGES:
        assert found[package]["ok"], found[package]

    said = doctor(env, tmp_path)
    assert said.returncode == 2
    assert "to do: p2m pull all-minilm-l6-v2" in said.stdout
    assert said.stdout.splitlines()[-1].startswith("missing: ") and "\x1b" not in said.stdout


def test_packages_are_read_not_imported(tmp_path: Path, env: dict[str, str]) -> None:
    heavy = ("torch", "transformers", "datasets", "openai", "textual", "xllamacpp")
    code = f"import sys; from agent.doctor import examine; examine(); print([m for m in {heavy!r} if m in sys.modules])"
    said = p2m("-c", code, cwd=tmp_path, env=env, program=(sys.executable,))
    assert (said.stdout.strip(), said.stderr) == ("[]", "")


def test_a_remote_endpoint_is_asked_for_one_token(server: str, tmp_path: Path, env: dict[str, str]) -> None:
    url = f"{server}/good/v1#m"
    _, found = findings({**env, "P2M_PLANNER": url, "P2M_TEACHER": url, "P2M_API_KEY": KEY}, tmp_path)
    for role in ("planner", "teacher"):
        assert found[role]["ok"] and found[role]["text"].startswith(f"auto is {url}: answers, in ")
    [(path, body)] = Endpoint.asked  # the same endpoint twice is one request
    assert path == "/good/v1/chat/completions"
    assert body.get("max_tokens", body.get("max_completion_tokens")) == 1
    assert {n for n in NAMES if found[n]["needed"]} == {"all-minilm-l6-v2"}
    assert not (tmp_path / "home" / "llm-cache.sqlite").exists(), "an answer from a cache would prove nothing"


def test_a_key_is_never_shown(server: str, tmp_path: Path, env: dict[str, str]) -> None:
    mine = {**env, "P2M_TEACHER": f"{server}/locked/v1#m", "P2M_PLANNER": f"{server}/good/v1#m", "P2M_API_KEY": KEY}
    for arguments in ([], ["--json"]):
        said = doctor(mine, tmp_path, *arguments)
        assert said.returncode == 2
        assert KEY not in said.stdout + said.stderr
        assert "P2M_API_KEY is set" in said.stdout and "OPENAI_API_KEY is not set" in said.stdout
        assert "it refused the key (401). Set P2M_API_KEY" in said.stdout


def test_a_dead_endpoint_and_a_misspelled_one(tmp_path: Path, env: dict[str, str]) -> None:
    mine = {**env, "P2M_TEACHER": "http://127.0.0.1:9/v1#m", "P2M_PLANNER": "opnai:gpt"}
    code, found = findings(mine, tmp_path)
    assert code == 2
    assert "no connection to http://127.0.0.1:9/v1" in found["teacher"]["text"]
    assert "'opnai:gpt' is no LLM endpoint" in found["planner"]["text"]
    assert found["planner"]["fix"].startswith("P2M_PLANNER: ")


def test_half_a_model_and_a_broken_cache(tmp_path: Path, env: dict[str, str]) -> None:
    home = tmp_path / "home"
    (home / "pack").mkdir(parents=True)
    (home / "pack" / "smollm2-135m.gguf").write_bytes(b"half")
    (home / "llm-cache.sqlite").write_bytes(b"this is no database" * 100)
    code, found = findings(env, tmp_path)
    assert "not checked" in found["smollm2-135m"]["text"]
    assert not found["LLM cache"]["ok"] and not found["LLM cache"]["needed"]
    assert str(home / "llm-cache.sqlite") in found["LLM cache"]["fix"]
    assert code == 2


def test_a_home_that_cannot_be_made(tmp_path: Path, env: dict[str, str]) -> None:
    (tmp_path / "file").write_text("in the way")
    _, found = findings({**env, "P2M_HOME": str(tmp_path / "file" / "home")}, tmp_path)
    assert not found["disk, models"]["ok"] and "P2M_HOME" in found["disk, models"]["fix"]


def test_all_well_with_the_pack(minilm: Path, tmp_path: Path, env: dict[str, str], server: str) -> None:
    """The student from the real pack, an endpoint that answers: nothing needed is missing."""
    mine = {**env, "P2M_HOME": str(minilm.parent.parent), "P2M_RUNS": str(tmp_path)}
    mine |= {"P2M_PLANNER": f"{server}/good/v1#m", "P2M_TEACHER": f"{server}/good/v1#m"}
    code, found = findings(mine, tmp_path)
    assert [f for f in found.values() if f["needed"] and not f["ok"]] == []
    assert code == 0
    assert "everything needed is here" in doctor(mine, tmp_path).stdout
