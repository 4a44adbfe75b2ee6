"""The journal: whole lines only, one holder, damage named by its line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.events import DURABLE, PlannerSpoke, RunEnded, ToolProgress, UserSpoke, Verdict, from_json, to_json
from agent.journal import Journal, read
from p2m.errors import BadInput, P2MError


def write(run: Path, *texts: str) -> None:
    journal = Journal(run)
    for text in texts:
        journal.append(UserSpoke(text))
    journal.close()


def test_what_is_written_is_read(tmp_path: Path) -> None:
    events = [
        PlannerSpoke(1, "planner", "m", "why", ({"id": "t1.1", "tool": "finish", "arguments": {"reason": "ö\n"}},)),
        ToolProgress("t1.1", "half", 0.5),
        Verdict("met", "yes"),
        RunEnded("met", 0, "done"),
    ]
    journal = Journal(tmp_path)
    for event in events:
        journal.append(event)
    journal.close()
    records = read(tmp_path / "journal.jsonl")
    assert [r.event for r in records] == events
    assert [r.seq for r in records] == [0, 1, 2, 3]


def test_every_durable_event_survives_json() -> None:
    for cls in DURABLE.values():
        fields = {
            name: (
                ()
                if "tuple" in str(f.type)
                else {}
                if "dict" in str(f.type)
                else 0
                if f.type in ("int", "float")
                else "x"
            )
            for name, f in cls.__dataclass_fields__.items()
        }
        event = cls(**fields)
        assert from_json(json.loads(json.dumps(to_json(event)))) == event


@settings(max_examples=30, deadline=None)
@given(cut=st.integers(min_value=1, max_value=400))
def test_a_torn_last_line_is_left_out_and_written_over(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    run = tmp_path_factory.mktemp("run")
    write(run, "one", "two", "three")
    file = run / "journal.jsonl"
    data = file.read_bytes()
    file.write_bytes(data[:-cut] if cut < len(data) else b"")
    whole = file.read_bytes().count(b"\n")
    assert len(read(file)) == whole
    write(run, "again")
    records = read(file)
    assert len(records) == whole + 1
    assert records[-1].event == UserSpoke("again")


@pytest.mark.parametrize("line", [0, 1])
def test_other_damage_is_an_error_that_names_the_line(tmp_path: Path, line: int) -> None:
    write(tmp_path, "one", "two", "three")
    file = tmp_path / "journal.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    lines[line] = lines[line].replace("one", "eno").replace("two", "owt")
    file.write_text("".join(lines))
    with pytest.raises(P2MError, match=rf"journal\.jsonl:{line + 2}: the journal is damaged"):
        read(file)


def test_a_whole_line_of_rubbish_is_damage(tmp_path: Path) -> None:
    write(tmp_path, "one")
    with (tmp_path / "journal.jsonl").open("a") as handle:
        handle.write("rubbish\n")
    with pytest.raises(P2MError, match=r"journal\.jsonl:2.*not an event"):
        read(tmp_path / "journal.jsonl")


def test_only_one_process_holds_a_run(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    code = f"from pathlib import Path; from agent.journal import Journal; Journal(Path({str(tmp_path)!r}))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert other.returncode != 0
    assert "another process" in other.stderr
    journal.close()
    Journal(tmp_path).close()


def test_the_same_process_cannot_hold_it_twice(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    with pytest.raises(BadInput, match="another process"):
        Journal(tmp_path)
    journal.close()


def test_keys_never_reach_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-verysecretkey1234567890")
    write(tmp_path, "my key is sk-verysecretkey1234567890")
    assert "verysecret" not in (tmp_path / "journal.jsonl").read_text()
    assert len(read(tmp_path / "journal.jsonl")) == 1


def test_a_full_disk_is_one_line_and_the_journal_stays_whole(tmp_path: Path) -> None:
    """A real limit on file size stands for the full disk (both make write fail half-way)."""
    code = f"""
import resource, signal
from pathlib import Path
from agent.journal import Journal
from agent.events import UserSpoke
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
journal = Journal(Path({str(tmp_path)!r}))
journal.append(UserSpoke("before"))
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    journal.append(UserSpoke("x" * 5000))
except OSError as error:
    print("failed", type(error).__name__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "failed" in done.stdout, done.stderr
    assert [r.event for r in read(tmp_path / "journal.jsonl")] == [UserSpoke("before")]
    write(tmp_path, "after")
    assert [r.event for r in read(tmp_path / "journal.jsonl")][-1] == UserSpoke("after")
