"""The tool-call log: filter, search, and everything of a call in full."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import DataTable, Input, Static, TextArea

from agent.log import WHO, LogEntry, log_lines
from agent.plain import duration, plain, short_arguments
from agent.state import RunState
from agent.tui.field import Field
from agent.tui.keys import Keys
from agent.tui.safe import cell
from agent.tui.table_screen import TableScreen
from p2m.llm.redact import redact

HINT = "filter: words, and tool:NAME status:failed by:referee"


class LogScreen(TableScreen):
    """``state`` gives the run as it is now: a live one grows while one looks at it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "Filter"),
        Binding("c", "copy", "Copy the call"),
        Binding("e", "export", "Export"),
        Binding("r", "again", "Read again"),
        Binding("escape", "back", "Back"),
    ]

    def __init__(self, state: Callable[[], RunState | None], folder: Path | None = None) -> None:
        super().__init__()
        self._state = state
        self.folder = folder or Path.cwd()
        self.entries: list[LogEntry] = []
        self.shown: list[LogEntry] = []

    def compose(self) -> ComposeResult:
        yield Field(placeholder=HINT, id="filter", compact=True)
        table: DataTable[object] = DataTable(cursor_type="row", zebra_stripes=True, id="calls")
        table.add_columns("#", "who", "tool", "status", "time", "spend", "arguments and result")
        yield table
        yield TextArea("", id="detail", read_only=True, soft_wrap=True)
        yield Static("", id="count")
        yield Keys()

    def on_mount(self) -> None:
        self.query_one(DataTable).focus()
        self.action_again()

    def action_again(self) -> None:
        state = self._state()
        self.entries = log_lines(state) if state else []
        self._draw()

    @on(Input.Changed)
    def _draw(self) -> None:
        asked = self.query_one("#filter", Input).value
        self.shown = [entry for entry in self.entries if matches(entry, asked)]
        table = self.query_one(DataTable)
        table.clear()
        for entry in self.shown:
            status = {"done": "", "failed": "red", "open": "cyan"}.get(entry.status, "dim")
            what = f"{short_arguments(entry.arguments, 60)}  {entry.result}".strip()
            table.add_row(
                cell(entry.step),
                cell(entry.by),
                cell(entry.tool or "malformed turn", 24),
                cell(entry.error or entry.status, 16, status),
                cell(duration(entry.seconds) if entry.seconds else ""),
                cell(entry.price, 20),
                cell(what, 160),
            )
        self.query_one("#count", Static).update(cell(f"{len(self.shown)} of {len(self.entries)} calls"))
        self._detail()

    @on(DataTable.RowHighlighted)
    def _detail(self) -> None:
        entry = self._chosen()
        self.query_one("#detail", TextArea).load_text(in_full(entry) if entry else "")

    def _chosen(self) -> LogEntry | None:
        row = self.query_one(DataTable).cursor_row
        return self.shown[row] if 0 <= row < len(self.shown) else None

    def action_copy(self) -> None:
        if entry := self._chosen():
            self.app.copy_to_clipboard(in_full(entry))
            self.notify("copied: arguments and result", markup=False)

    def action_export(self) -> None:
        """The calls that are shown, as JSON lines."""
        from agent.log import as_json
        from p2m.files import write_atomic

        path = self.folder / "p2m-log.jsonl"
        lines = [redact(json.dumps(as_json(entry))) + "\n" for entry in self.shown]
        try:
            write_atomic(path, "".join(lines))
        except OSError as error:
            self.app.complain(error)
            return
        self.notify(f"{len(lines)} calls written to {path}", markup=False)


def matches(entry: LogEntry, asked: str) -> bool:
    """Whether every word of ``asked`` is in the call; ``tool:``, ``status:`` and ``by:`` look at one field."""
    fields = {"tool": entry.tool, "status": f"{entry.status} {entry.error or ''}", "by": f"{entry.by} {WHO[entry.by]}"}
    everything = " ".join((*fields.values(), entry.why, json.dumps(entry.arguments, ensure_ascii=False), entry.result))
    for word in asked.casefold().split():
        name, colon, value = word.partition(":")
        haystack = fields[name] if colon and name in fields else everything
        if (value if colon and name in fields else word) not in haystack.casefold():
            return False
    return True


def in_full(entry: LogEntry) -> str:
    """All of a call, as text."""
    head = f"{entry.step} {entry.tool or 'malformed turn'} ({entry.id}), by {WHO[entry.by]}: {entry.status}"
    costs = ", ".join(p for p in (duration(entry.seconds), f"{entry.tokens:,} tokens", entry.price) if p)
    arguments = json.dumps(entry.arguments, ensure_ascii=False, indent=1)
    result = f"{entry.error}: {entry.result}" if entry.error else entry.result
    return redact(plain(f"{head}\n{costs}\n\nwhy\n{entry.why}\n\narguments\n{arguments}\n\nresult\n{result}"))
