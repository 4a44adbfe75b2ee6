"""Two experiments beside each other."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import DataTable, Static

from agent.compare import compare
from agent.state import RunState
from agent.tui.keys import Keys
from agent.tui.safe import cell, line
from p2m.store import Store


class DiffScreen(Screen[None]):
    """``model`` is the second; the first is the experiment before it, and can be changed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "other(-1)", "Earlier"),
        Binding("right", "other(1)", "Later"),
        Binding("x", "swap", "Swap"),
        Binding("escape", "app.pop_screen", "Back"),
    ]

    def __init__(self, run_dir: Path, state: RunState, model: str) -> None:
        super().__init__()
        self.run_state, self.store = state, Store(run_dir / "artifacts")
        self.models = [e.model for e in state.workspace.experiments]
        self.second = self.models.index(model)
        self.first = self.second - 1 if self.second else 1

    def compose(self) -> ComposeResult:
        yield Static("", id="head")
        table: DataTable[object] = DataTable(cursor_type="none", zebra_stripes=True)
        yield table
        yield Keys()

    def on_mount(self) -> None:
        self._draw()

    def _draw(self) -> None:
        first, second = self.models[self.first], self.models[self.second]
        said = f"#{self.first + 1} {first} against #{self.second + 1} {second} (left and right choose the first)"
        self.query_one("#head", Static).update(line(said))
        table = self.query_one(DataTable)
        table.clear(columns=True)
        narrow = self.app.size.width < 100
        wide = (20, 20, 20, 12) if narrow else (30, 30, 30, 18)
        for name, width in zip(("", f"#{self.first + 1}", f"#{self.second + 1}", "change"), wide, strict=True):
            table.add_column(name, width=width)
        for d in compare(self.run_state, self.store, first, second):
            style = "red" if d.change.startswith("-") else "green" if d.change.startswith("+") else ""
            words = zip((d.what, d.first, d.second, d.change), wide, ("bold", "", "", style), strict=True)
            table.add_row(*(cell(word, width, how) for word, width, how in words))

    def action_other(self, step: int) -> None:
        places = [n for n in range(len(self.models)) if n != self.second]
        self.first = places[(places.index(self.first) + step) % len(places)]
        self._draw()

    def action_swap(self) -> None:
        self.first, self.second = self.second, self.first
        self._draw()
