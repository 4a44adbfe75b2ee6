"""The log of a run, and the table of runs."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from agent.events import PlannerSpoke, ToolStarted
from agent.log import log_lines, print_log, print_log_json
from agent.runs import RunRow, load_state, summary
from agent.runs_table import print_runs
from tests.scripted_run import LABELS, Script, finished_run, to_first_training, unfinished_run

ROW = RunRow("r-1", "question-type", "met", "accuracy", 0.84, 0.773, 0.89, "test", "$0.04", 44440, 235.0)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def printed(state: object) -> str:
    stream = io.StringIO()
    print_log(state, stream)  # type: ignore[arg-type]
    return stream.getvalue()


def test_calls_stand_in_the_order_in_which_they_began_and_malformed_turns_where_they_were_spoken(
    tmp_path: Path,
) -> None:
    state, _ = finished_run(tmp_path / "run")
    entries = log_lines(state)
    assert [e.tool for e in entries] == [
        "search_datasets",
        "hold_out",  # asked for after generate_batch, begun before it
        "generate_batch",
        "check_labels",
        "",
        "baselines",
        "fine_tune",
        "evaluate",
        "generate_batch",
        "generate_batch",
        "fine_tune",
        "deliver",
    ]
    assert [e.step for e in entries] == list(range(1, 13))
    malformed = entries[4]
    assert (malformed.error, malformed.status, malformed.result[:8]) == ("malformed", "failed", "bad_json")
    assert [e.tool for e in entries if e.by == "referee"] == ["hold_out", "baselines", "deliver"]


def test_a_price_nobody_told_us_is_unpriced_and_no_call_has_no_price(tmp_path: Path) -> None:
    state, _ = finished_run(tmp_path / "run")
    first, aimed = [e for e in log_lines(state) if e.tool == "generate_batch" and not e.error]
    assert (first.price, first.tokens) == ("$0.0310", 40 * 390)
    assert aimed.price == "unpriced"
    assert log_lines(state)[0].price == ""


def test_an_interrupted_run_shows_what_is_open_and_what_waits(tmp_path: Path) -> None:
    script = Script(tmp_path / "run")
    calls = tuple({"id": f"t1.{i}", "tool": t, "arguments": {}} for i, t in enumerate(("evaluate", "finish"), 1))
    script.add(PlannerSpoke(1, "planner", "m", "look, then stop", calls))
    script.add(ToolStarted("t1.1", "evaluate", {}, "planner", "look, then stop"))
    script.journal.close()
    state = load_state(tmp_path / "run")
    assert [(e.tool, e.status) for e in log_lines(state)] == [("evaluate", "open"), ("finish", "waiting")]
    assert "not finished: resume the run" in printed(state)


def test_the_listing_gives_everything_in_full_wrapped_and_without_escapes(tmp_path: Path) -> None:
    script = Script(tmp_path / "run")
    words = [f"word{i}" for i in range(300)]
    script.call("evaluate", {"brief": "x" * 150}, "because \x1b[31mred\x1b[0m", " ".join(words), {})
    script.journal.close()
    text = printed(load_state(tmp_path / "run"))
    assert "\x1b" not in text
    assert all(word in text.split() for word in words)
    assert "x" * 150 in "".join(text.split())
    assert max(map(len, text.splitlines())) <= 100
    assert "because red" in text


def test_the_referees_steps_are_marked(tmp_path: Path) -> None:
    state, _ = unfinished_run(tmp_path / "run")
    assert "hold_out  by referee (code, not the planner)" in printed(state)


def test_json_is_one_object_a_line_in_ascii(tmp_path: Path) -> None:
    script = Script(tmp_path / "run")
    to_first_training(script)
    script.call("evaluate", {"brief": "größer 日本"}, "because", "\x1b[2J", {})
    script.journal.close()
    state, stream = load_state(tmp_path / "run"), io.StringIO()
    print_log_json(state, stream)
    lines = stream.getvalue().splitlines()
    assert stream.getvalue().isascii() and "\x1b" not in stream.getvalue()
    assert [json.loads(line)["tool"] for line in lines] == [e.tool for e in log_lines(state)]
    assert json.loads(lines[-1])["arguments"] == {"brief": "größer 日本"}


def test_a_log_with_no_call_says_so(tmp_path: Path) -> None:
    Script(tmp_path / "run").journal.close()
    assert "no tool has been called yet" in printed(load_state(tmp_path / "run"))


def test_the_table_of_runs(tmp_path: Path) -> None:
    finished_run(tmp_path / "done")
    unfinished_run(tmp_path / "cut")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "journal.jsonl").write_text("nonsense\n")
    stream = io.StringIO()
    print_runs([summary(tmp_path / name) for name in ("done", "cut", "broken")], stream)
    header, done, cut, broken = (line.split() for line in stream.getvalue().splitlines())
    assert header[:3] == ["run", "task", "status"]
    assert {"met", "0.840", "sealed", "test", "unpriced,"} <= set(done)
    assert {"interrupted", "0.720", "validation"} <= set(cut)
    assert "unreadable:" in broken


def test_no_runs_says_how_to_start_one() -> None:
    stream = io.StringIO()
    print_runs([], stream)
    assert "p2m run TASK" in stream.getvalue()


def test_a_narrow_terminal_gets_a_block_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    print_runs([ROW], stream)
    assert "score  accuracy 0.840 [0.773, 0.890]" in stream.getvalue()
    assert max(map(len, stream.getvalue().splitlines())) <= 50


def test_a_run_without_a_score_says_so() -> None:
    stream = io.StringIO()
    print_runs([RunRow("r-2", LABELS[0], "running", "accuracy", None, None, None, "", "$0.00", 0, 0.0)], stream)
    assert "none yet" in stream.getvalue()
