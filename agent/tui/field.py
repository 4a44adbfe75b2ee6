"""Where a person types."""

from __future__ import annotations

import time
from typing import Protocol, runtime_checkable

from textual import events
from textual.widget import Widget
from textual.widgets import Input, TextArea


@runtime_checkable
class Typed(Protocol):
    """An app that knows when the last character was typed."""

    typed_at: float


async def in_order(widget: Widget, event: events.Key) -> None:
    """Do what ``widget`` binds the key to, now.

    Textual inserts a character where it arrives, but looks for what Backspace or Ctrl+U are bound to only when the
    event has gone up to the app: of keys that come in one packet, as over ssh, characters would overtake the others.
    """
    if event.is_printable and isinstance(widget.app, Typed):
        widget.app.typed_at = time.monotonic()
    for binding in widget._bindings.key_to_bindings.get(event.key, ()):
        event.prevent_default()
        event.stop()
        await widget.run_action(binding.action)
        return


class Field(Input):
    """A line."""

    async def _on_key(self, event: events.Key) -> None:
        await in_order(self, event)


class Area(TextArea):
    """Several lines."""

    async def _on_key(self, event: events.Key) -> None:
        await in_order(self, event)
