"""The app in a real terminal, with the embedded models: from the first key to a delivered model that is tried."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.runs import list_runs, load_state
from tests.conftest import ROOT, pack_member

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]


class Tmux:
    """A terminal of 120x40 that keys are sent to and whose screen can be read."""

    def __init__(self, command: str, folder: Path, environment: dict[str, str]) -> None:
        self.name = f"p2m-{uuid.uuid4().hex[:8]}"
        size = ("-x", "120", "-y", "40")
        self._run("new-session", "-d", "-s", self.name, *size, "-c", str(folder), command, env=environment)

    def _run(self, *command: str, env: dict[str, str] | None = None) -> str:
        # A server of its own: the environment of one that runs already would be taken instead.
        base = ["tmux", "-L", self.name]
        return subprocess.run([*base, *command], capture_output=True, text=True, check=True, env=env).stdout

    def keys(self, *keys: str) -> None:
        self._run("send-keys", "-t", self.name, *keys)

    def type(self, text: str) -> None:
        self._run("send-keys", "-t", self.name, "-l", text)

    @property
    def screen(self) -> str:
        return self._run("capture-pane", "-p", "-t", self.name)

    def until(self, *words: str, seconds: float) -> str:
        """The screen, once it shows one of ``words``."""
        deadline = time.monotonic() + seconds
        while not any(word in (screen := self.screen) for word in words):
            assert time.monotonic() < deadline, f"waited for {words}, saw:\n{screen}"
            time.sleep(0.5)
        return screen

    def close(self) -> None:
        subprocess.run(["tmux", "-L", self.name, "kill-server"], capture_output=True)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Tmux]:
    if shutil.which("tmux") is None:
        pytest.skip("needs tmux")
    for name in ("all-minilm-l6-v2", "qwen2.5-coder-1.5b"):
        pack_member(name)
    task = (ROOT / "examples" / "question-type.md").read_text().replace("target: 0.90", "target: 0.60")
    task = (
        task.replace("examples: 480", "examples: 60")
        .replace("minutes: 9", "minutes: 12")
        .replace("steps: 14", "steps: 5")
    )
    (tmp_path / "task.md").write_text(task)
    shutil.copy(ROOT / "examples" / "question-type.csv", tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "P2M_RUNS": str(tmp_path / "runs"), "TERM": "xterm-256color"}
    model = "local:qwen2.5-coder-1.5b"
    command = shlex.join([sys.executable, "-m", "agent.cli", "chat", "--planner", model, "--teacher", model])
    tmux = Tmux(command, tmp_path, environment)
    yield tmux
    tmux.close()


def test_from_the_first_key_to_a_delivered_model(terminal: Tmux, tmp_path: Path) -> None:
    terminal.until("Say what your model should do", seconds=30)
    terminal.type("task.md")
    terminal.keys("Enter")
    terminal.until("Is this the task?", seconds=30)
    terminal.keys("C-s")
    terminal.until("working: hold_out", "planning", seconds=120)
    terminal.type("prefer short questions")
    terminal.keys("Enter")
    terminal.until("you prefer short questions", seconds=60)
    terminal.until("MET:", "BELOW:", seconds=1800)
    terminal.keys("F5")
    terminal.until("it chooses among", seconds=180)
    terminal.type("Who painted the ceiling of the Sistine Chapel?")
    terminal.keys("Enter")
    terminal.until("nearest training rows", seconds=180)
    (run,) = list_runs(tmp_path / "runs")
    state = load_state(run)
    assert state.ended is not None and state.delivery is not None
    assert state.user_said == ("prefer short questions",)
    assert any(turn.by == "planner" and not turn.malformed for turn in state.turns), "the embedded model planned"
    assert (run / "model" / "config.json").is_file() and (run / "report.html").is_file()
    keep = os.environ.get("P2M_KEEP_RUN")  # docs/screens.py draws a real run
    if keep:
        shutil.copytree(run, keep)
