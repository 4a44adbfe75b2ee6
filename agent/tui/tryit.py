"""Try a delivered model: type an input, see what it says, how sure it is, and what it had learnt from."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Footer, Input, Static

from agent.plain import one_line, plain
from agent.tui.cards import bar_of
from agent.tui.safe import line

if TYPE_CHECKING:
    from agent.tui.app import P2MApp

MOST_LABELS = 10


class TryScreen(Screen[None]):
    """The model works in a process of its own, so that loading it holds up no key."""

    app: P2MApp
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "app.pop_screen", "Back")]

    def __init__(self, run_dir: Path) -> None:
        super().__init__()
        self.run_dir = run_dir
        self._process: asyncio.subprocess.Process | None = None
        self._typed = ""

    def compose(self) -> ComposeResult:
        yield Static(line(f"try {self.run_dir.name}", 100, "bold"), id="head")
        yield Input(placeholder="type a text, then Enter", id="text", compact=True)
        with VerticalScroll():
            yield Static("loading the model …", id="answer")
        yield Footer()

    def on_mount(self) -> None:
        self.query_one(Input).focus()
        self._serve()

    def on_unmount(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()

    @work(exclusive=True)
    async def _serve(self) -> None:
        self._process = process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "agent.tryout", str(self.run_dir)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        )
        assert process.stdout is not None
        async for raw in process.stdout:
            try:
                answer = json.loads(raw)
            except ValueError:
                continue  # a library printed something
            self.query_one("#answer", Static).update(shown(self._typed, answer))
        if process.returncode is None:
            await process.wait()
        if process.returncode:
            self.notify("the model's process has ended", severity="error", markup=False)

    @on(Input.Submitted)
    def _ask(self, event: Input.Submitted) -> None:
        said = event.value.strip()
        if not said or self._process is None or self._process.stdin is None:
            return
        self._typed = said
        self._process.stdin.write(json.dumps(said).encode() + b"\n")
        event.input.select_all()


def shown(typed: str, answer: dict[str, Any]) -> Content:
    """An answer of ``agent.tryout`` as it stands on the screen."""
    if "error" in answer:
        return line(answer["error"], 400, "$text-error")
    if "ready" in answer:
        return line(f"ready: it chooses among {', '.join(answer['ready'])}", 400, "dim")
    lines = [line(typed, 300), Content.styled(plain(answer["label"]), "bold $text-success"), Content("")]
    for label, p in sorted(answer["probs"].items(), key=lambda item: -item[1])[:MOST_LABELS]:
        lines.append(Content.assemble(f"{p:6.1%} ", (bar_of(p, 20), "$text-accent"), f" {one_line(label, 40)}"))
    lines.append(Content(""))
    if answer["nearest"] is None:
        lines.append(Content.styled("looking for the nearest training rows …", "dim"))
    elif answer["nearest"]:
        lines.append(Content.styled("nearest training rows", "bold"))
    for near in answer["nearest"] or ():
        head = f"{near['similarity']:.2f}  {one_line(near['label'], 24)}  "
        lines.append(Content.assemble(head, one_line(near["text"], 160)))
        lines.append(Content.styled(f"      {one_line(near['from'], 160)}", "dim"))
    return Content("\n").join(lines)
