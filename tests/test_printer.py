"""What a headless run prints, for a person and for a program."""

from __future__ import annotations

import io
import json
import shlex
from pathlib import Path

import pytest

from agent import journal
from agent.events import (
    Event,
    LLMSpend,
    PlannerSpoke,
    Retry,
    RunEnded,
    RunResumed,
    TextDelta,
    ToolFinished,
    ToolProgress,
    ToolStarted,
    from_json,
)
from agent.printer import JsonPrinter, Printer
from p2m.task.spec import Example
from tests.scripted_run import TASK, Script, finished_run, to_first_training, to_the_end


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def show(*events: Event, width: int = 100) -> str:
    stream = io.StringIO()
    printer = Printer(stream, width=width)
    for event in events:
        printer.show(event)
    return stream.getvalue()


def whole_run(folder: Path) -> list[Event]:
    finished_run(folder)
    return [r.event for r in journal.read(folder / "journal.jsonl")]


def test_a_run_reads_from_top_to_bottom_without_ansi_in_a_pipe(tmp_path: Path) -> None:
    events, stream = whole_run(tmp_path / "run"), io.StringIO()
    printer = Printer(stream, tmp_path / "run")
    for event in events:
        printer.show(event)
    text = stream.getvalue()
    assert "\x1b" not in text and "\r" not in text
    wanted = [
        "question-type: classify, 6 labels, 6 examples, target accuracy >= 0.82",
        "1 planner: Real rows beat written ones",
        "referee: held-out rows are fixed",
        "> hold_out",
        '> generate_batch n=180 brief="short factual questions as people type them"',
        "15,600 tokens, $0.0310]",
        "~ llm: 429 too many requests; try 2, again in 4.0 s",
        "! malformed turn: bad_json",
        "! invalid_args: n: 5 is less than the minimum of 10",
        "you more questions about animals, please",
        "unpriced]",
        "== ",
        "MET (exit 0): target 0.82 met: accuracy 0.840 [0.773, 0.890] on 150 sealed test rows",
        "best baseline without an LLM: frozen embeddings + LR",
        "p2m predict",
        "report.html",
    ]
    places = [text.find(piece) for piece in wanted]
    assert -1 not in places, wanted[places.index(-1)]
    assert places == sorted(places)


def test_a_student_that_no_baseline_needs_is_said_to_be_that(tmp_path: Path) -> None:
    for right, warned in ((84, True), (127, False)):
        folder = tmp_path / str(right)
        finished_run(folder, right=right)
        stream = io.StringIO()
        printer = Printer(stream, folder)
        for record in journal.read(folder / "journal.jsonl"):
            printer.show(record.event)
        assert ("the student is no better than that" in stream.getvalue()) == warned


def test_what_models_and_tools_say_cannot_act_on_a_terminal() -> None:
    evil = "ok\x1b[2J\x1b]0;title\x07 \x9b31m \rdone\u202e\x00"
    text = show(
        PlannerSpoke(1, "planner", "m", evil, (), evil),
        ToolStarted("t1.1", evil, {evil: evil}, "planner"),
        ToolFinished("t1.1", evil),
        Retry("llm", evil, 1, 1.0),
    )
    assert all(c.isprintable() or c == "\n" for c in text)
    assert "ok" in text and "done" in text


def test_a_key_is_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret-value-123")
    assert "secret-value-123" not in show(Retry("llm", "401 for secret-value-123", 1, 1.0))
    stream = io.StringIO()
    JsonPrinter(stream).show(Retry("llm", "401 for secret-value-123", 1, 1.0))
    assert "secret-value-123" not in stream.getvalue()


def test_progress_in_a_pipe_is_a_line_every_ten_seconds() -> None:
    clock, stream = Clock(), io.StringIO()
    printer = Printer(stream, clock=clock)
    printer.show(ToolStarted("t1.1", "generate_batch", {}, "planner"))
    for second in range(1, 36):
        clock.now = float(second)
        printer.show(ToolProgress("t1.1", f"{second} of 35 rows", second / 35))
    lines = [line for line in stream.getvalue().splitlines() if "of 35 rows" in line]
    assert [line.split()[1] for line in lines] == ["10", "20", "30"]
    assert "29%" in lines[0]


def test_progress_on_a_terminal_is_one_line_rewritten_and_wiped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    clock, stream = Clock(), Terminal()
    printer = Printer(stream, width=60, clock=clock)
    printer.show(ToolStarted("t1.1", "generate_batch", {}, "planner"))
    for second in (1, 2):
        clock.now = float(second)
        printer.show(ToolProgress("t1.1", "日本" * 40, second / 2))
    printer.show(ToolFinished("t1.1", "all written"))
    text = stream.getvalue()
    assert "\x1b" not in text
    assert screen(text)[-1].startswith("  = all written")
    assert not any("日本" in line for line in screen(text))


def screen(text: str) -> list[str]:
    """What stands on a terminal in the end: a carriage return goes back, later characters overwrite."""
    lines = []
    for raw in text.split("\n"):
        line = ""
        for piece in raw.split("\r"):
            line = piece + line[len(piece) :]
        lines.append(line.rstrip())
    return [line for line in lines if line]


def test_the_planners_words_appear_as_they_come_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    clock, stream = Clock(), Terminal()
    printer = Printer(stream, width=60, color=False, clock=clock)
    clock.now = 1.0
    printer.show(TextDelta("I think that"))
    assert "I think that" in stream.getvalue()
    assert show(TextDelta("I think that")) == ""


def test_color_is_for_terminals_without_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    Printer(stream, width=60).show(ToolStarted("t1.1", "evaluate", {}, "planner"))
    assert "\x1b[1m" in stream.getvalue()


def test_lines_keep_to_the_width_and_long_results_are_cut() -> None:
    text = show(ToolFinished("t1.1", "\n".join(f"line {i} " + "word " * 40 for i in range(20))), width=50)
    assert max(map(len, text.splitlines())) <= 50
    assert "14 more lines: p2m log" in " ".join(text.split())


def test_spend_is_that_of_the_call() -> None:
    spend = LLMSpend("teacher", "m", 3, 1, 100, 20, None)
    text = show(
        LLMSpend("planner", "m", 1, 0, 5000, 5, 0.0),
        ToolStarted("t1.1", "generate_batch", {}, "planner"),
        spend,
        spend,
        ToolFinished("t1.1", "done", seconds=3.0),
        ToolStarted("t2.1", "evaluate", {}, "planner"),
        ToolFinished("t2.1", "looked", seconds=1.0),
    )
    assert "done  [3.0 s, 240 tokens, unpriced]" in text
    assert "looked  [1.0 s]" in text


def test_the_predict_command_can_be_pasted(tmp_path: Path) -> None:
    question = 'Who\'s "it"; rm -rf $HOME?'
    task = TASK.model_copy(update={"examples": (Example(input=question, output="human"),)})
    folder = tmp_path / "my run"
    script = Script(folder, task)
    to_first_training(script)
    to_the_end(script)
    script.journal.close()
    stream = io.StringIO()
    Printer(stream, folder).show(RunEnded("met", 0, "met"))
    line = next(line for line in stream.getvalue().splitlines() if "p2m predict" in line)
    assert shlex.split(line.partition("use it")[2]) == ["p2m", "predict", str(folder), question]


def test_a_run_below_its_target_says_how_to_go_on_and_generated_rows_are_named(tmp_path: Path) -> None:
    finished_run(tmp_path / "run", right=90, test_source="generated")
    stream = io.StringIO()
    Printer(stream, tmp_path / "run").show(RunEnded("below", 3, "below the target"))
    assert "p2m resume" in stream.getvalue()
    assert "the test rows are generated" in stream.getvalue()


def test_a_resumed_run_says_where_it_stands(tmp_path: Path) -> None:
    script = Script(tmp_path / "run")
    to_first_training(script)
    script.add(RunResumed({"minutes": 9.0}))
    script.journal.close()
    stream = io.StringIO()
    Printer(stream, tmp_path / "run").show(RunResumed({"minutes": 9.0}))
    text = " ".join(stream.getvalue().split())
    assert "going on after 6 tool calls and" in text
    assert "best accuracy 0.720 [0.643, 0.786] on validation" in text
    assert "new budget minutes=9" in text


def test_a_stream_that_cannot_write_a_character_does_not_end_the_run() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    Printer(stream).show(ToolFinished("t1.1", "größer 日本"))
    assert b"= gr??er ??" in raw.getvalue()


def test_json_is_the_journals_events_one_a_line(tmp_path: Path) -> None:
    events, stream = whole_run(tmp_path / "run"), io.StringIO()
    printer = JsonPrinter(stream)
    for event in [TextDelta("not durable"), *events]:
        printer.show(event)
    assert stream.getvalue().isascii()
    assert [from_json(json.loads(line)) for line in stream.getvalue().splitlines()] == events
