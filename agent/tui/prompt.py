"""Where a person types what may have several lines."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from agent.tui.field import Area


class Prompt(Area):
    """Enter sends, Ctrl+J is a new line, a paste is never sent by itself."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+j", "new_line", "New line", show=False)]

    class Sent(Message):
        def __init__(self, said: str) -> None:
            super().__init__()
            self.said = said

    async def _on_key(self, event: events.Key) -> None:
        if event.key == "enter":
            event.prevent_default()
            event.stop()
            self.post_message(self.Sent(self.text))
        elif event.key == "question_mark" and not self.text:
            event.prevent_default()
            event.stop()
            self.app.action_help()  # type: ignore[attr-defined]
        else:
            await super()._on_key(event)

    def action_new_line(self) -> None:
        self.insert("\n")
