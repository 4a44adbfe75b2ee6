"""``p2m chat --plain``: the conversation as lines, through a pipe as a screen reader's user has it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.runs import load_state
from tests import scripted_teacher as script
from tests.conftest import ROOT
from tests.fake_llm import Behaviour, FakeLLM, Hang, Request

WORDS = "Say what kind of answer a question asks for. At least 90%."


class Talk:
    """A process one talks with, line by line."""

    def __init__(self, *options: str, folder: Path, home: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "agent.cli", "chat", "--plain", *options],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "P2M_HOME": str(home), "OMP_NUM_THREADS": "2"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.heard = ""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.heard += line

    def say(self, *lines: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n".join(lines) + "\n")
        self.process.stdin.flush()

    def until(self, words: str, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while words not in self.heard:
            assert time.monotonic() < deadline, f"waited for {words!r}, heard:\n{self.heard}"
            time.sleep(0.05)

    def end(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(timeout=60)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    from p2m.paths import pack_dir

    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "pack").symlink_to(pack_dir().resolve())
    return tmp_path / "home"


@pytest.fixture
def hanging() -> Iterator[FakeLLM]:
    def behave(request: Request) -> Behaviour:
        return Hang()

    with FakeLLM(behave) as server:
        yield server


def examples() -> list[str]:
    return [f"{t} => {label}" for label in script.LABELS for t in script.write(label, 3, f"demo {label}")]


@pytest.mark.slow
def test_from_words_to_a_run_that_is_steered_and_cancelled(tmp_path: Path, home: Path, hanging: FakeLLM) -> None:
    rows = "".join(f'"{text}",{label}\n' for text, label in script.held_out(14))
    (tmp_path / "held.csv").write_text("text,label\n" + rows)
    options = ("--planner", "policy", "--teacher", hanging.endpoint, "--out", "run")
    talk = Talk(*options, folder=tmp_path, home=home)
    talk.until("What should your model do?")
    talk.say(WORDS, "", *examples())
    talk.until("Start?")
    assert "target: accuracy >= 0.9" in talk.heard and "labels: person, place, number" in talk.heard
    talk.say("target = much")
    talk.until("cannot read the target")
    talk.say("minutes = 12")
    talk.until("budget: 12 minutes")
    talk.say("validation = held.csv")
    talk.until("held out: ")
    talk.say("yes")
    talk.until("May it run? yes or no")
    talk.say("yes")
    talk.until("approved: ")
    talk.say("short ones please")
    talk.until("you short ones please")
    talk.say("/target 0.8")
    talk.until("you changed: target 0.8")
    talk.say("/what")
    talk.until("/cancel      end now")
    talk.say("/cancel")
    talk.until("cancelled, nothing is lost")
    assert talk.end() == 130
    state = load_state(tmp_path / "run")
    assert state.user_said == ("short ones please",) and state.task.target == 0.8 and state.limits.minutes == 12
    assert "\x1b" not in talk.heard, "nothing but lines"


def test_who_leaves_has_started_nothing(tmp_path: Path, home: Path) -> None:
    talk = Talk("--planner", "policy", folder=tmp_path, home=home)
    talk.until("What should your model do?")
    talk.say("Sort my mail.")
    talk.until("Which answers are there")
    talk.say("/quit")
    assert talk.end() == 0 and not (tmp_path / "runs").exists()


def test_everything_on_the_card_can_be_changed_in_words(tmp_path: Path, home: Path) -> None:
    talk = Talk("--planner", "policy", "--teacher", "http://127.0.0.1:9/v1#m", folder=tmp_path, home=home)
    talk.until("What should your model do?")
    talk.say(WORDS, "", *examples())
    talk.until("Start?")
    for said, heard in (
        ("kind = multi_label", "kind: classify, any number of labels"),
        ("metric = macro_f1", "target: macro_f1 >= 0.9"),
        ("example = where and when => place", "and 6 more"),
        ("approve = never", "approve: never"),
        ("approve = perhaps", "'perhaps' is no rule"),
        ("planner = local:nobody", "nobody"),
        ("teacher = http://127.0.0.1:9/v1#n", "teacher: http://127.0.0.1:9/v1#n"),
        ("colour = red", "'colour' cannot be changed here"),
    ):
        talk.say(said)
        talk.until(heard)
    talk.say("no")
    assert talk.end() == 0 and not (tmp_path / "runs").exists()


def test_the_app_without_a_terminal_names_the_way_out(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "agent.cli", "chat"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 2 and "p2m chat --plain" in done.stderr and len(done.stderr.splitlines()) == 1
