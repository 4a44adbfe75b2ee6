"""The app driven as a person drives it: keys in, characters out."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from textual.pilot import Pilot
from textual.widgets import DataTable, Input, TextArea

from agent.tui.app import P2MApp

SMALL, LARGE = (80, 24), (120, 40)


def options(**more: Any) -> argparse.Namespace:
    given = {"planner": "auto", "teacher": "auto", "catalog": None, "approve": "ask", "seed": 0, "light": False}
    return argparse.Namespace(**{**given, **more})


@asynccontextmanager
async def running(run_dir: Path | None = None, size: tuple[int, int] = LARGE, **more: Any) -> AsyncIterator[Pilot[int]]:
    app = P2MApp(options(**more), run_dir)
    app.animation_level = "none"
    async with app.run_test(size=size, notifications=True) as pilot:
        try:
            yield pilot
        finally:  # a test that fails leaves no run behind
            for worker in app.workers_started:
                worker.cancel()
                await worker.process.wait()


def seen(pilot: Pilot[int]) -> str:
    """What stands on the screen."""
    strips = pilot.app.screen._compositor.render_strips()
    return "\n".join(strip.text.rstrip() for strip in strips)


async def until(pilot: Pilot[int], true: str | Callable[[], bool], seconds: float = 20) -> str:
    """The screen, once it shows some words or something holds."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        await asyncio.sleep(0.03)
        text = seen(pilot)
        if (true in text) if isinstance(true, str) else true():
            return text
        assert asyncio.get_running_loop().time() < deadline, f"waited for {true!r}, saw:\n{text}"


async def settled(pilot: Pilot[int]) -> None:
    """Nothing moves any more and no cursor blinks: a picture must be the same each time."""
    for field in pilot.app.screen.query(Input):
        field.cursor_blink = False
    for area in pilot.app.screen.query(TextArea):
        area.cursor_blink = False
    for below in pilot.app.screen_stack[:-1]:
        for field in below.query(Input):
            field.cursor_blink = False
            field._cursor_visible = False
    last, same = "", 0
    while same < 5:
        await asyncio.sleep(0.15)
        # A bar may still be drawn as it was before the last line came.
        for screen in pilot.app.screen_stack:
            for widget in screen.query("*"):
                if widget.show_vertical_scrollbar:
                    widget.vertical_scrollbar.refresh()
                if isinstance(widget, DataTable):  # a line drawn before a new row was measured keeps the old widths
                    widget._clear_caches()
                    widget.refresh()
        now = seen(pilot)
        last, same = now, same + 1 if now == last else 0
