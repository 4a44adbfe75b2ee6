"""The runs there are, to be opened, replayed or tried; loaded aside, so that no key waits for a hundred journals."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import DataTable, Input, Static

from agent.runs import RunRow, list_runs, runs_dir, summary
from agent.runs_table import row_cells
from agent.tui.field import Field
from agent.tui.keys import Keys
from agent.tui.safe import cell
from agent.tui.table_screen import TableScreen
from p2m.errors import P2MError

STYLES = {"met": "green", "below": "yellow", "running": "cyan", "interrupted": "magenta"}


class RunsScreen(TableScreen):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("o", "open", "Open (Enter)"),
        Binding("p", "replay", "Replay"),
        Binding("t", "try_it", "Try it"),
        Binding("slash", "filter", "Filter"),
        Binding("r", "load", "Read again"),
        Binding("escape", "back", "Back"),
    ]

    def __init__(self, folder: Path | None = None) -> None:
        super().__init__()
        self.folder = folder or runs_dir()
        self.found: list[RunRow] = []

    def compose(self) -> ComposeResult:
        yield Static("", id="head")
        yield Field(placeholder="filter: words that the line must have", id="filter", compact=True)
        table: DataTable[object] = DataTable(cursor_type="row", zebra_stripes=True, id="runs")
        table.add_columns("run", "status", "score [95% interval]", "on", "spend", "time")
        yield table
        yield Keys()

    def on_mount(self) -> None:
        self.query_one(DataTable).focus()
        self.action_load()

    @work(exclusive=True)
    async def action_load(self) -> None:
        import asyncio

        head = self.query_one("#head", Static)
        head.update(cell(f"runs in {self.folder}: reading …"))
        paths = await asyncio.to_thread(list_runs, self.folder)
        self.found = []
        for path in paths:
            self.found.append(await asyncio.to_thread(summary, path))
            self._draw()
        self._draw()
        self.call_after_refresh(self._redraw)

    def _redraw(self) -> None:
        """Draw the table's lines anew. One that is drawn before all rows are measured may keep the old widths of the
        columns (textual 8.2); a change of the stripes makes the table forget its lines."""
        table = self.query_one(DataTable)
        table.zebra_stripes = False
        table.zebra_stripes = True

    @on(Input.Changed)
    def _draw(self) -> None:
        words = self.query_one("#filter", Input).value.casefold().split()
        table = self.query_one(DataTable)
        at = table.cursor_row
        table.clear()
        for row in self.found:
            cells = row_cells(row)
            if all(word in " ".join(cells).casefold() for word in words):
                name, _, status, *rest = cells
                shown = [cell(name), cell(status, 60, STYLES.get(row.status, "red")), *(cell(c) for c in rest)]
                table.add_row(*shown, key=row.run)
        table.move_cursor(row=min(at, max(0, table.row_count - 1)))
        self.query_one("#head", Static).update(cell(f"{table.row_count} of {len(self.found)} runs in {self.folder}"))

    def _chosen(self) -> Path | None:
        table = self.query_one(DataTable)
        if not table.row_count:
            return None
        return self.folder / str(table.coordinate_to_cell_key(table.cursor_coordinate).row_key.value)

    @on(DataTable.RowSelected)
    def action_open(self) -> None:
        from agent.tui.work import open_run

        if path := self._chosen():
            self.app.push_screen(open_run(path))

    def action_replay(self) -> None:
        from agent.tui.source import Replay
        from agent.tui.work import WorkScreen

        if path := self._chosen():
            try:
                self.app.push_screen(WorkScreen(Replay(path)))
            except P2MError as error:
                self.app.complain(error)

    def action_try_it(self) -> None:
        from agent.tui.tryit import TryScreen

        if (path := self._chosen()) and (path / "model" / "config.json").is_file():
            self.app.push_screen(TryScreen(path))
        else:
            self.notify("this run has delivered no model", markup=False)
