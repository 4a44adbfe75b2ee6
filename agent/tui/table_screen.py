"""A screen that is a table with a filter above it: how one gets from one to the other, and out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import on
from textual.screen import Screen
from textual.widgets import DataTable, Input

if TYPE_CHECKING:
    from agent.tui.app import P2MApp


class TableScreen(Screen[None]):
    """Composes one ``DataTable`` and an ``Input`` with the id ``filter``; binds ``filter`` and ``back``."""

    app: P2MApp

    @on(Input.Submitted)
    def _filtered(self) -> None:
        self.query_one(DataTable).focus()

    def action_filter(self) -> None:
        self.query_one("#filter", Input).focus()

    def action_back(self) -> None:
        if self.query_one("#filter", Input).has_focus:
            self.query_one(DataTable).focus()
        else:
            self.app.pop_screen()
