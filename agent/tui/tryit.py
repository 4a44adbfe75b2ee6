"""Try a delivered model: type an input, see what it says, how sure it is, and what it had learnt from."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from agent.answers import in_words
from agent.plain import one_line, plain
from agent.tui.cards import bar_of
from agent.tui.keys import Keys
from agent.tui.prompt import Prompt
from agent.tui.safe import line, text

if TYPE_CHECKING:
    from agent.tui.app import P2MApp

MOST_LABELS = 10
LABEL_CELLS = 40
FOUND = "bold $text-success"


class TryScreen(Screen[None]):
    """The model works in a process of its own, so that loading it holds up no key."""

    app: P2MApp
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "app.pop_screen", "Back")]

    def __init__(self, run_dir: Path) -> None:
        super().__init__()
        self.run_dir = run_dir
        self._process: asyncio.subprocess.Process | None = None
        self._typed = ""
        self._scale: Sequence[float] | None = None

    def compose(self) -> ComposeResult:
        yield Static(line(f"try {self.run_dir.name}", 100, "bold"), id="head")
        with VerticalScroll():
            yield Static("loading the model …", id="answer")
        yield Prompt(id="text", placeholder="type a text, then Enter", soft_wrap=True, highlight_cursor_line=False)
        yield Keys()

    def on_mount(self) -> None:
        self.query_one(Prompt).focus()
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
            self._scale = answer.get("scale") or self._scale
            self.query_one("#answer", Static).update(shown(self._typed, answer, self._scale))
        if process.returncode is None:
            await process.wait()
        if process.returncode:
            self.notify("the model's process has ended", severity="error", markup=False)

    @on(Prompt.Sent)
    def _ask(self, event: Prompt.Sent) -> None:
        said = event.said.strip()
        if not said or self._process is None or self._process.stdin is None:
            return
        self._typed = said
        self.query_one("#answer", Static).update(Content.assemble(text(said), "\n", ("…", "dim")))
        self._process.stdin.write(json.dumps(said).encode() + b"\n")
        self.query_one(Prompt).select_all()


def shown(typed: str, answer: dict[str, Any], scale: Sequence[float] | None = None) -> Content:
    """An answer of ``agent.tryout`` as it stands on the screen."""
    if "error" in answer:
        return line(answer["error"], 400, "$text-error")
    if "ready" in answer:
        return line(f"ready: {answer['ready']}", 400, "dim")
    lines = [*_said(typed, answer, scale), Content("")]
    for label, p in sorted((answer["probs"] or {}).items(), key=lambda item: -item[1])[:MOST_LABELS]:
        lines.append(Content.assemble(f"{p:6.1%} ", (bar_of(p, 20), "$text-accent"), f" {one_line(label, 40)}"))
    if answer["probs"]:
        lines.append(Content(""))
    if answer["nearest"] is None:
        lines.append(Content.styled("looking for the nearest training rows …", "dim"))
    elif answer["nearest"]:
        lines.append(Content.styled("nearest training rows", "bold"))
    for near in answer["nearest"] or ():
        output = in_words(answer["kind"], near["output"])
        head = f"{near['similarity']:.2f}  {one_line(output, LABEL_CELLS)}  "
        lines.append(Content.assemble(head, one_line(near["text"], 160)))
        lines.append(Content.styled(f"      {one_line(near['from'], 160)}", "dim"))
    return Content("\n").join(lines)


def _said(typed: str, answer: dict[str, Any], scale: Sequence[float] | None) -> list[Content]:
    """The input and the prediction, drawn for what it is."""
    kind, output = answer["kind"], answer["output"]
    if kind in ("extract", "read"):
        found = [
            Content.assemble((f"{one_line(s['label'], 24):<14}", "dim"), (one_line(s["text"], 200), FOUND))
            for s in answer["spans"]
        ]
        none = plain(in_words(kind, output))
        return [marked(typed, answer["spans"]), Content(""), *(found or [Content.styled(none, FOUND)])]
    lines = [text(typed)]
    if kind == "score":
        low, high = scale or (0.0, 0.0)
        share = (float(output) - low) / (high - low) if high > low else None
        bar = f"  {low:g} {bar_of(share, 20)} {high:g}" if share is not None else ""
        return [*lines, Content.assemble((output, FOUND), (bar, "$text-accent"))]
    return [*lines, text(in_words(kind, output), FOUND)]


def marked(typed: str, spans: Sequence[Mapping[str, Any]]) -> Content:
    """The text with the parts that were found between brackets, so that they are seen without colours too."""
    pieces: list[Content] = []
    at = 0
    for span in spans:
        if span["start"] < at:
            continue  # one in another: the list below has both
        pieces += [text(typed[at : span["start"]]), text(f"[{typed[span['start'] : span['end']]}]", FOUND)]
        at = span["end"]
    return Content("").join([*pieces, text(typed[at:])])
