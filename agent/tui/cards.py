"""A tool call as a card: its title tells how it goes, its inside holds arguments, result and what it drew."""

from __future__ import annotations

import json
import time
from pathlib import Path

from textual import on
from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Collapsible, Markdown, Static
from textual.widgets._collapsible import CollapsibleTitle

from agent.events import ToolProgress
from agent.plain import duration, one_line, price, short_arguments
from agent.state import Call
from agent.tui.drawings import dataset_rows, drawing
from agent.tui.safe import line, markdown, text

BAR_CELLS = 12
RESULT_CHARS = 400
DRAWN_WHOLE = ("generate_batch",)
"""Their words are shown with the rows themselves."""
FENCE = "<<<"
"""From here on a result quotes data, for the planner: the opened card has it."""
SPINNER = "|/-\\"


class ToolCard(Collapsible):
    """``call`` as the state has it, begun when the run's clock stood at ``began``; ``progress`` while it works.

    ``kind`` is that of the task, by its name in ``p2m.kinds``.
    """

    DEFAULT_CLASSES = "card"

    def __init__(self, call: Call, run_dir: Path, kind: str, began: float = 0.0) -> None:
        self.call, self.run_dir, self.kind = call, run_dir, kind
        self.progress: ToolProgress | None = None
        self._began = self._now = began
        self._at_work = True
        self._filled = False
        super().__init__(title="", collapsed=not call.error)
        self._title.set_reactive(CollapsibleTitle.label, self._headline())

    def compose(self) -> ComposeResult:
        yield self._title
        yield self.Contents()

    def on_mount(self) -> None:
        self.set_class(bool(self.call.error), "-failed")
        self.set_class(not self.call.finished, "-open")
        self._retitle(layout=True)
        if not self.collapsed:
            self._fill()

    def show_progress(self, progress: ToolProgress) -> None:
        self.progress = progress
        self._retitle(layout=False)

    def tick(self, seconds: float, *, at_work: bool) -> None:
        """Time goes by: the run's clock stands at ``seconds``."""
        if not self.call.finished and (at_work or self._at_work):
            self._now, self._at_work = seconds, at_work
            self._retitle(layout=False)

    def _retitle(self, layout: bool) -> None:
        """While it works a title keeps its two lines: laying out the whole screen for each would keep keys waiting."""
        title = self._title
        headline = self._headline()
        title.set_reactive(CollapsibleTitle.label, headline)
        symbol = title.collapsed_symbol if self.collapsed else title.expanded_symbol
        title.update(Content.assemble(symbol, " ", headline), layout=layout)

    def finish(self, call: Call) -> None:
        """Folded when done, opened on failure."""
        self.call, self._filled = call, False
        self.set_class(bool(call.error), "-failed")
        self.remove_class("-open")
        self._retitle(layout=True)
        if call.error:
            self.collapsed = False
        if not self.collapsed:
            self._fill()

    @on(Collapsible.Expanded)
    def _opened(self) -> None:
        self._fill()

    def _fill(self) -> None:
        """Bodies are made when they are looked at: hundreds of folded cards cost nothing."""
        if self._filled or not self.is_mounted:
            return
        self._filled = True
        contents = self.query_one(self.Contents)
        contents.remove_children()
        contents.mount_all(self._body())

    def _body(self) -> list[Static | Markdown]:
        call = self.call
        parts: list[Static | Markdown] = []
        if call.arguments:
            parts.append(Static(text(json.dumps(call.arguments, ensure_ascii=False, indent=1), "dim")))
        if not call.finished:
            parts.append(Static(line(self.progress.text if self.progress else "at work")))
            return parts
        if call.error:
            parts.append(Static(text(f"{call.error}: {call.text}", "$text-error")))
        elif call.display and call.tool not in DRAWN_WHOLE:
            parts.append(Markdown(markdown(call.display), open_links=False))
        else:
            parts.append(Static(text(call.text)))
        drawn = (drawing(call.tool, call.data or {}), dataset_rows(self.run_dir, self.kind, call.data or {}))
        parts += [Static(one) for one in drawn if one is not None]
        return parts

    def _headline(self) -> Content:
        call = self.call
        state = "failed" if call.error else "done" if call.finished else "open"
        if state == "open":
            turn = SPINNER[int(time.monotonic() * 4) % len(SPINNER)]
            mark, style = (turn, "$text-accent") if self._at_work else ("!", "$text-warning")
        else:
            mark, style = ("x", "$text-error") if state == "failed" else ("=", "$text-success")
        name = Content.styled(one_line(call.tool, 40), "bold")
        arguments = Content.styled(f" {short_arguments(call.arguments, 80)}" if call.arguments else "", "dim")
        head = Content.assemble((mark, style), " ", name, arguments)
        return Content("\n").join([head, *self._second_line()])

    def _second_line(self) -> list[Content]:
        call = self.call
        if call.finished:
            text = call.text.partition(FENCE)[0]
            said = one_line(f"{call.error}: {text}" if call.error else text, RESULT_CHARS)
            costs = [duration(call.seconds)]
            if call.tokens:
                costs += [f"{call.tokens:,} tokens", price(call.usd, call.unpriced, call.tokens)]
            tail = Content.styled(f"  {', '.join(c for c in costs if c)}", "dim")
            return [Content.assemble(Content.styled(said, "$text-error" if call.error else ""), tail)]
        took = duration(max(0.0, self._now - self._began))
        if not self._at_work:
            return [Content.styled(f"interrupted after {took}", "$text-warning")]
        if self.progress is None:
            return [Content.styled(took, "dim")]  # two lines from the start
        share = self.progress.fraction
        bar = f"{bar_of(share, BAR_CELLS)} {share:4.0%}  " if share is not None else ""
        return [Content.assemble((bar, "$text-accent"), one_line(self.progress.text, 120), (f"  {took}", "dim"))]


def bar_of(share: float, cells: int) -> str:
    """``####....``: characters that every terminal and screen reader has."""
    done = round(cells * min(1.0, max(0.0, share)))
    return "#" * done + "." * (cells - done)
