"""A headless run, printed: for a person one short line or a few an event, for a program one JSON object an event."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from agent.events import (
    Approved,
    Event,
    GoalChanged,
    LLMSpend,
    Paused,
    PlannerSpoke,
    Retry,
    RowsReviewed,
    RunEnded,
    RunResumed,
    RunStarted,
    StopAsked,
    TextDelta,
    ToolFinished,
    ToolProgress,
    ToolStarted,
    UserSpoke,
    Verdict,
    to_json,
)
from agent.plain import cut, duration, one_line, plain, price, short_arguments
from agent.runs import load_state
from agent.settings import Settings
from agent.state import RunState, Spend
from p2m.errors import P2MError
from p2m.llm.redact import redact
from p2m.task.spec import TaskSpec

QUIET_SECONDS = 10.0
"""Where lines cannot be rewritten in place, progress is told at most this often."""
LIVE_SECONDS = 0.1
RESULT_LINES = 6
COLORS = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
VERDICTS = {
    "met": "target met on validation",
    "budget": "budget",
    "stalled": "progress stopped",
    "finished": "planner finished",
    "stopped": "stopped",
    "handover": "hand-over",
    "generation_ended": "no more generation",
    "no_way": "no way on",
}


class JsonPrinter:
    """Every durable event as one line of JSON, as the journal has it; ASCII, so that no text acts on a terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def show(self, event: Event) -> None:
        if not isinstance(event, TextDelta):
            self._stream.write(redact(json.dumps(to_json(event))) + "\n")
            self._stream.flush()


class Printer:
    """``run_dir`` lets it name the commands that come next. ``width`` and ``color`` default to what ``stream`` can do.

    Text by models, tools and users is stripped of escape sequences before it is written.
    """

    def __init__(
        self,
        stream: TextIO,
        run_dir: Path | None = None,
        width: int | None = None,
        color: bool | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream, self._run_dir, self._clock = stream, run_dir, clock
        self._live = stream.isatty() and os.environ.get("TERM") != "dumb"
        self._color = (self._live and not os.environ.get("NO_COLOR")) if color is None else color
        self._width = width or (shutil.get_terminal_size().columns if self._live else 100)
        self._live_cells = 0
        self._told = clock()
        self._tools: dict[str, str] = {}
        self._spend = Spend()
        self._words = ""

    def show(self, event: Event) -> None:
        """Print one event; the names of events say what there is to print."""
        match event:
            case RunStarted():
                self._started(event)
            case RunResumed():
                self._resumed(event)
            case TextDelta() if self._live:
                self._words = (self._words + event.text)[-2 * self._width :]
                self._progress(f"planner: {one_line(self._words[-self._width :], self._width)}", None)
            case PlannerSpoke():
                self._words = ""
                self._spoken(event)
            case ToolStarted():
                self._tools[event.id] = event.tool
                self._spend, self._told = Spend(), self._clock()
                self._called(event)
            case ToolProgress():
                self._progress(f"{self._tool(event.id)}: {one_line(event.text, 120)}", event.fraction)
            case ToolFinished():
                self._finished(event)
            case LLMSpend():
                self._spend = self._spend.plus(event)
            case Retry():
                wait = f"again in {duration(event.wait_seconds)}"
                self._line("  ~ ", f"{event.role}: {one_line(event.reason)}; try {event.attempt}, {wait}", "yellow")
            case UserSpoke():
                self._line("you ", event.text, "cyan")
            case GoalChanged() | StopAsked() | Paused() | RowsReviewed() | Approved():
                self._line("you ", steering_words(event), "cyan")
            case Verdict():
                self._line("==  ", f"{VERDICTS.get(event.kind, event.kind)}: {event.text}", "bold")
            case RunEnded():
                self._ended(event)

    def _started(self, event: RunStarted) -> None:
        task, settings = TaskSpec.model_validate(event.task), Settings.model_validate(event.settings)
        self._task(task)
        self._line("    ", f"planner {settings.planner}, teacher {settings.teacher}, seed {settings.seed}", "dim")
        limits = settings.limits(task).model_dump(exclude_none=True)
        words = ", ".join(f"{value:,.10g} {name.replace('_', ' ')}" for name, value in limits.items())
        self._line("    ", f"budget {words or 'none'}", "dim")
        if self._run_dir:
            self._line("    ", f"in {self._run_dir} (Ctrl-C is safe; p2m resume goes on)", "dim")

    def _resumed(self, event: RunResumed) -> None:
        state = self._state()
        if state is None:
            self._line("", "going on with the run", "bold")
            return
        self._task(state.task)
        self._tools = {call.id: call.tool for call in state.calls}
        best = state.workspace.best
        score = f", best {_score(best.score.__dict__)} on validation" if best else ""
        done = sum(call.finished for call in state.calls)
        self._line("    ", f"going on after {done} tool calls and {duration(state.seconds)}{score}", "dim")
        if event.budget:
            self._line("    ", f"new budget {short_arguments(event.budget)}", "dim")

    def _task(self, task: TaskSpec) -> None:
        target = f"target {task.metric} >= {task.target:g}" if task.target is not None else f"metric {task.metric}"
        labels = f", {len(task.labels)} labels" if task.labels else ""
        self._line("", f"{task.name}: {task.kind}{labels}, {len(task.examples)} examples, {target}", "bold")

    def _spoken(self, event: PlannerSpoke) -> None:
        words = event.text.strip() or "(no words)"
        self._line(f"{event.turn:>3} ", f"{event.by}: {cut(plain(words), 600)}", "cyan")
        if event.malformed:
            self._line("  ! ", f"malformed turn: {event.malformed}", "yellow")

    def _called(self, event: ToolStarted) -> None:
        arguments = f" {short_arguments(event.arguments)}" if event.arguments else ""
        if event.by == "referee":
            self._line("  * ", f"referee: {event.why}", "dim")
        self._line("  > ", f"{one_line(event.tool, 60)}{arguments}", "bold")

    def _finished(self, event: ToolFinished) -> None:
        spend = self._spend
        costs = [duration(event.seconds)]
        if spend.tokens:
            costs += [f"{spend.tokens:,} tokens", price(spend.usd, spend.unpriced, spend.tokens)]
        text = f"{event.error}: {event.text}" if event.error else event.text
        lines = plain(text).strip().split("\n")
        shown = lines[:RESULT_LINES]
        if more := len(lines) - len(shown):
            shown.append(f"… {more} more lines: p2m log")
        shown[-1] += f"  [{', '.join(c for c in costs if c)}]"
        for number, line in enumerate(shown):
            mark = "    " if number else ("  ! " if event.error else "  = ")
            self._line(mark, line, "red" if event.error else "")
        self._spend = Spend()

    def _progress(self, text: str, fraction: float | None) -> None:
        """On one line rewritten in place; else, now and then, a line of its own."""
        now = self._clock()
        if now - self._told < (LIVE_SECONDS if self._live else QUIET_SECONDS):
            return
        self._told = now
        share = f" {_bar(fraction)} {fraction:4.0%}" if fraction is not None else ""
        if self._live:
            self._rewrite(f"    {redact(text)}", share)
        else:
            self._line("    ", text + share, "dim")

    def _rewrite(self, text: str, tail: str) -> None:
        from rich.cells import cell_len, set_cell_size

        room = max(10, self._width - 1 - cell_len(tail))
        line = (text if cell_len(text) <= room else set_cell_size(text, room - 1) + "…") + tail
        self._write("\r" + line + " " * max(0, self._live_cells - cell_len(line)))
        self._live_cells = cell_len(line)

    def _ended(self, event: RunEnded) -> None:
        state, style = self._state(), "green" if event.status == "met" else "yellow"
        self._write("\n")
        status = "delivered" if event.status == "met" and state and state.task.target is None else event.status
        self._line("", f"{status.upper()} (exit {event.exit_code}): {event.text}", style)
        if state is None:
            return
        delivery = state.delivery
        if delivery:
            best = max(
                (b for b in delivery.get("baselines", ()) if not b.get("is_llm")),
                key=lambda b: b["score"]["value"],
                default=None,
            )
            if best:
                self._line("    ", f"best baseline without an LLM: {best['system']}, {_score(best['score'])}", "")
                if best["score"]["value"] >= delivery["test"]["value"]:
                    self._line(
                        "  ! ", "the student is no better than that: more time, rows or a clearer task", "yellow"
                    )
            held_out = state.workspace.held_out
            if held_out and held_out.check:
                on_generated = _score(delivery["test"])
                self._line("    ", f"on {delivery['test']['n']} generated rows, for comparison: {on_generated}", "dim")
            elif held_out and held_out.source == "generated":
                self._line("  ! ", "the test rows are generated: this is an estimate on such rows only", "yellow")
        self._line("    ", f"{duration(state.seconds)}, {state.spend.tokens:,} LLM tokens, {state.spend.price}", "dim")
        self._next(event, state, delivered=bool(delivery))

    def _next(self, event: RunEnded, state: RunState, delivered: bool) -> None:
        """What to do now. Commands are to be copied, so they are never wrapped."""
        run = shlex.quote(str(self._run_dir))
        commands = [f"report    {self._run_dir}/report.html (and report.md)", f"log       p2m log {run}"]
        if delivered:
            examples = state.task.examples
            text = shlex.quote(one_line(examples[0].input, 60) if examples else "some text")
            commands = [f"use it    p2m predict {run} {text}", f"score it  p2m eval {run} FILE", *commands]
        if event.status != "met":
            commands.append(f"go on     p2m resume {run} --budget-minutes N")
        for command in commands:
            self._write(f"    {redact(plain(command))}\n")

    def _state(self) -> RunState | None:
        """What the journal, which is always written first, says of the run."""
        try:
            return load_state(self._run_dir) if self._run_dir else None
        except P2MError:
            return None

    def _tool(self, call_id: str) -> str:
        return one_line(self._tools.get(call_id, call_id), 40)

    def _line(self, mark: str, text: str, style: str) -> None:
        """A paragraph with its mark, wrapped under itself; the live line, if any, is wiped first."""
        if self._live_cells:
            self._write("\r" + " " * self._live_cells + "\r")
            self._live_cells = 0
        room = max(20, self._width - len(mark))
        for raw in redact(plain(text)).split("\n"):
            for part in textwrap.wrap(raw, room, break_long_words=False, break_on_hyphens=False) or [""]:
                self._write(self._styled(f"{mark}{part}", style) + "\n")
                mark = " " * len(mark)

    def _styled(self, text: str, style: str) -> str:
        return f"\x1b[{COLORS[style]}m{text}\x1b[0m" if style and self._color else text

    def _write(self, text: str) -> None:
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        self._stream.write(text.encode(encoding, "replace").decode(encoding))
        self._stream.flush()


def steering_words(event: GoalChanged | StopAsked | Paused | RowsReviewed | Approved) -> str:
    """What the person did, in a line."""
    match event:
        case GoalChanged():
            target = [f"target {event.target:g}"] if event.target is not None else []
            limits = [f"budget {short_arguments(event.budget)}"] if event.budget else []
            return f"changed: {', '.join(target + limits)}"
        case StopAsked():
            return "stop after this step"
        case Paused():
            return "pause before the next step" if event.paused else "go on"
        case RowsReviewed():
            return f"reviewed {len(event.reviews)} training rows"
        case Approved():
            return f"{'approved' if event.allowed else 'refused'}: {event.words}"


def _bar(fraction: float, cells: int = 12) -> str:
    done = round(cells * min(1.0, max(0.0, fraction)))
    return "[" + "#" * done + "." * (cells - done) + "]"


def _score(score: dict[str, Any]) -> str:
    return f"{score['metric']} {score['value']:.3f} [{score['low']:.3f}, {score['high']:.3f}]"
