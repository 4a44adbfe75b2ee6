"""The log of a run: who called which tool, why, with what, what came of it, and what it took."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, TextIO

from agent.events import By, PlannerSpoke
from agent.plain import console, duration, plain, price
from agent.state import Call, RunState


@dataclass(frozen=True)
class LogEntry:
    """One tool call, or a planner's turn that named none (``tool`` is empty and ``error`` says ``malformed``).

    ``by`` is ``planner``, ``policy`` or ``referee`` (a step that code owed the run). ``status`` is ``done``,
    ``failed``, ``open`` (begun, not finished) or ``waiting``. ``price`` is empty where no LLM was called.
    """

    step: int
    id: str
    turn: int
    by: By
    why: str
    tool: str
    arguments: dict[str, Any]
    status: str
    result: str
    error: str | None
    seconds: float
    price: str
    tokens: int


def log_lines(state: RunState) -> list[LogEntry]:
    """The calls in the order in which they began, then those that wait; malformed turns where they were spoken."""
    began = sorted((c for c in state.calls if c.started), key=lambda c: c.order)
    malformed = [t for t in state.turns if t.malformed]
    entries: list[LogEntry] = []
    for call in (*began, *state.waiting):
        while malformed and malformed[0].turn <= call.turn:
            entries.append(_of_turn(len(entries) + 1, malformed.pop(0)))
        entries.append(_of_call(len(entries) + 1, call))
    for turn in malformed:
        entries.append(_of_turn(len(entries) + 1, turn))
    return entries


def _of_call(step: int, call: Call) -> LogEntry:
    if not call.started:
        status = "waiting"
    elif not call.finished:
        status = "open"
    else:
        status = "failed" if call.error else "done"
    return LogEntry(
        step=step,
        id=call.id,
        turn=call.turn,
        by=call.by,
        why=call.why,
        tool=call.tool,
        arguments=call.arguments,
        status=status,
        result=call.text,
        error=call.error,
        seconds=call.seconds,
        price=price(call.usd, call.unpriced, call.tokens),
        tokens=call.tokens,
    )


def _of_turn(step: int, turn: PlannerSpoke) -> LogEntry:
    return LogEntry(
        step=step,
        id=f"t{turn.turn}",
        turn=turn.turn,
        by=turn.by,
        why=turn.text,
        tool="",
        arguments={},
        status="failed",
        result=turn.malformed or "",
        error="malformed",
        seconds=0.0,
        price="",
        tokens=0,
    )


def as_json(entry: LogEntry) -> dict[str, Any]:
    """The entry as one JSON object; field names as in ``LogEntry``."""
    return asdict(entry)


def print_log_json(state: RunState, stream: TextIO) -> None:
    """One JSON object a line, in ASCII so that no byte of a result can act on a terminal."""
    for entry in log_lines(state):
        stream.write(json.dumps(as_json(entry)) + "\n")


WHO = {"planner": "planner", "policy": "policy planner", "referee": "referee (code, not the planner)"}
INDENT = 4


def print_log(state: RunState, stream: TextIO) -> None:
    """A listing to read: everything in full, wrapped to the terminal or to 100 columns when piped."""
    out = console(stream, piped_width=100)
    for line, style in _listing(state, out.width):
        out.print(line, style=style)


def _listing(state: RunState, width: int) -> Iterator[tuple[str, str]]:
    """Lines with their styles."""
    entries = log_lines(state)
    yield plain(f"{state.task.name}: {state.task.instruction}").split("\n")[0][: 2 * width], "bold"
    if not entries:
        yield "no tool has been called yet", ""
    for entry in entries:
        yield "", ""
        head = f"{entry.step:>3} {plain(entry.tool) or 'malformed turn'}"
        yield f"{head}  by {WHO[entry.by]}{_cost(entry)}", "bold red" if entry.error else "bold"
        yield from _block("why", entry.why, width, "italic")
        if entry.arguments:
            yield from _block("args", _arguments(entry.arguments, width), width, "")
        if entry.status in ("open", "waiting"):
            yield from _block("…", "not finished: resume the run" if entry.status == "open" else "not begun", width, "")
        elif entry.error:
            yield from _block("error", f"{entry.error}: {entry.result}", width, "red")
        else:
            yield from _block("result", entry.result, width, "")
    for label, text in _end(state):
        yield "", ""
        yield from _block(label, text, width, "bold")


def _cost(entry: LogEntry) -> str:
    parts = [duration(entry.seconds)] if entry.status in ("done", "failed") and entry.tool else []
    if entry.tokens:
        parts.append(f"{entry.tokens:,} tokens")
    if entry.price:
        parts.append(entry.price)
    return "".join(f" · {p}" for p in parts)


def _arguments(arguments: dict[str, Any], width: int) -> str:
    """As JSON where that fits on one line, else an argument a line."""
    compact = json.dumps(arguments, ensure_ascii=False)
    if len(compact) < width - INDENT - 8:
        return compact
    return "\n".join(f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in arguments.items())


def _block(label: str, text: str, width: int, style: str) -> Iterator[tuple[str, str]]:
    """``label`` and ``text`` wrapped beside it, by the cells that characters take."""
    from rich.console import Console
    from rich.text import Text

    margin = INDENT + 8
    room = max(20, width - margin)
    by_cells = Console(width=room)
    lines = [w.plain.rstrip() for raw in plain(text).strip().split("\n") for w in Text(raw).wrap(by_cells, room)]
    for number, line in enumerate(lines or ["-"]):
        yield f"{' ' * INDENT}{label if number == 0 else '':<8}{line}".rstrip(), style


def _end(state: RunState) -> Iterator[tuple[str, str]]:
    if state.verdict:
        yield "verdict", state.verdict.text
    if state.ended:
        yield "end", f"{state.ended.status} (exit {state.ended.exit_code}): {state.ended.text}"
    yield "spent", f"{duration(state.seconds)}, {state.spend.tokens:,} LLM tokens, {state.spend.price}"
