"""What has happened in a run, newest last: the planner's words, tool calls as cards, the person, the verdict."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from textual.containers import VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Markdown, Static
from textual.widgets.markdown import MarkdownStream

from agent.events import (
    ApprovalAsked,
    Approved,
    GoalChanged,
    LLMSpend,
    Paused,
    PlannerSpoke,
    Retry,
    RowsReviewed,
    RunEnded,
    RunResumed,
    RunStarted,
    StopAsked,
    ToolFinished,
    ToolProgress,
    ToolStarted,
    UserSpoke,
    Verdict,
)
from agent.journal import Record
from agent.plain import duration, one_line, short_arguments
from agent.printer import VERDICTS, steering_words
from agent.state import Call, RunState
from agent.tui.cards import ToolCard
from agent.tui.safe import line, markdown, text

MOST_MOUNTED = 60
"""Older entries are taken off the screen: the log has them all, and a key is answered as fast as in a new run."""
PLANNER_CHARS = 1200
MARKS = re.compile(r"[*_`#|\[>]|\n|^\s*[-+\d]", re.MULTILINE)
"""What may be Markdown; words without it are drawn at a tenth of the cost."""


class Words(Markdown):
    """A planner's turn. While it streams, what is said of the reason; then the whole of it."""

    DEFAULT_CLASSES = "words"

    def __init__(self, said: str = "") -> None:
        super().__init__(markdown(said), open_links=False)
        self._raw, self._shown = "", ""
        self._stream: MarkdownStream | None = None
        self._settled = False

    async def hear(self, piece: str) -> None:
        """More words as they stream. Nothing once the turn is over, which it may be before this widget is mounted."""
        if self._settled:
            return
        self._raw += piece
        said = markdown(why_so_far(self._raw))
        if self._stream is None:
            self._stream = Markdown.get_stream(self)
        if said.startswith(self._shown):
            await self._stream.write(said[len(self._shown) :])
            self._shown = said

    async def settle(self, said: str) -> None:
        """The turn is over: these were the words."""
        self._settled = True
        if self._stream is not None:
            await self._stream.stop()
            self._stream = None
        await self.update(markdown(said))


def why_so_far(raw: str) -> str:
    """The reason in a turn that is not at its end: of a JSON action only what its ``why`` says up to here."""
    if not raw.lstrip().startswith("{"):
        return raw
    found = re.search(r'"why"\s*:\s*"((?:[^"\\]|\\.)*)', raw)
    if found is None:
        return ""
    try:
        return str(json.loads(f'"{found[1]}"'))
    except ValueError:
        return found[1]


class Feed(VerticalScroll):
    """``show`` draws records in order; ``state`` is the run after the last of them."""

    DEFAULT_CLASSES = "feed"
    BORDER_TITLE = ""

    def __init__(self, run_dir: Path) -> None:
        super().__init__()
        self.run_dir = run_dir
        self.pruned = 0
        self._began = 0.0
        self._cards: dict[str, ToolCard] = {}
        self._words: Words | None = None
        self._retry: Static | None = None

    def on_mount(self) -> None:
        self.anchor()

    def begin(self, records: Sequence[Record], state: RunState) -> None:
        """The end of a run that was there before the screen was."""
        first = max(0, len(records) - 1)
        entries = 0
        while first > 0 and entries < MOST_MOUNTED // 2:
            first -= 1
            entries += not isinstance(records[first].event, ToolProgress | ToolFinished | LLMSpend)
        self.pruned = sum(isinstance(r.event, ToolStarted | PlannerSpoke) for r in records[:first])
        self.show(records[first:], state)

    def show(self, records: Sequence[Record], state: RunState) -> None:
        """Draw what these records add."""
        calls = {c.id: c for c in state.calls}
        fresh: list[Widget] = []
        progress: dict[str, ToolProgress] = {}
        for record in records:
            event = record.event
            if isinstance(event, ToolStarted):
                self._began = record.t
            if isinstance(event, ToolProgress):
                progress[event.id] = event
            else:
                fresh += self._entries(event, state, calls)
                if isinstance(event, ToolFinished):
                    progress.pop(event.id, None)
        for call_id, last in progress.items():
            if card := self._cards.get(call_id):
                card.show_progress(last)
        if fresh:
            never = max(0, len(fresh) - MOST_MOUNTED)
            self.pruned += never
            self._prune(len(fresh) - never)
            self.mount_all(fresh[never:])

    def tick(self, seconds: float, *, at_work: bool) -> None:
        """``seconds`` is the run's clock; a call that nobody works on stands still."""
        for card in self._cards.values():
            card.tick(seconds, at_work=at_work)

    async def whisper(self, piece: str) -> None:
        """A piece of the planner's words."""
        words = self._words
        if words is None:
            words = self._words = Words()
            self._prune(1)
            await self.mount(words)
        await words.hear(piece)

    def _prune(self, coming: int) -> None:
        extra = len(self.children) + coming - MOST_MOUNTED
        if extra > 0:
            gone = [w for w in list(self.children)[:extra] if not (isinstance(w, ToolCard) and not w.call.finished)]
            self.pruned += len(gone)
            self.remove_children(gone)
        if self.pruned:
            self.border_subtitle = f"{self.pruned:,} earlier entries: F3 log"

    def _entries(self, event: object, state: RunState, calls: dict[str, Call]) -> list[Widget]:
        if not isinstance(event, Retry):
            self._retry = None
        match event:
            case RunStarted():
                return [Static(_opening(state), classes="note")]
            case RunResumed():
                more = f" with {short_arguments(event.budget)}" if event.budget else ""
                return [Static(line(f"going on{more}", 200, "dim"), classes="note")]
            case PlannerSpoke():
                return self._spoken(event)
            case ToolStarted():
                card = ToolCard(calls[event.id], self.run_dir, state.workspace.kind, self._began)
                self._cards[event.id] = card
                return [card]
            case ToolFinished():
                return self._finished(calls[event.id], state.workspace.kind)
            case Retry():
                return self._retried(event)
            case UserSpoke():
                return [Static(Content.assemble(("you ", "bold"), text(event.text)), classes="you")]
            case GoalChanged() | StopAsked() | Paused() | RowsReviewed() | Approved():
                return [Static(Content.assemble(("you ", "bold"), line(steering_words(event), 300)), classes="you")]
            case ApprovalAsked():
                return [Static(line(f"waits for your yes: {event.words}", 300, "$text-warning"), classes="note")]
            case Verdict():
                said = f"{VERDICTS.get(event.kind, event.kind)}: {event.text}"
                return [Static(line(said, 400, "bold"), classes="verdict")]
            case RunEnded():
                return [Static(_ending(event, state, self.run_dir), classes=f"ending -{event.status}")]
        return []

    def _spoken(self, event: PlannerSpoke) -> list[Widget]:
        said = event.text.strip()[:PLANNER_CHARS] or "(no words)"
        fresh: list[Widget] = []
        if self._words is not None:
            self.run_worker(self._words.settle(said), exclusive=False)
            self._words = None
        else:
            fresh.append(Words(said) if MARKS.search(said) else Static(text(said), classes="words"))
        if event.malformed:
            fresh.append(Static(line(f"malformed turn: {event.malformed}", 300, "$text-warning"), classes="note"))
        return fresh

    def _finished(self, call: Call, kind: str) -> list[Widget]:
        card = self._cards.pop(call.id, None)
        if card is None:
            return [ToolCard(call, self.run_dir, kind)]
        card.finish(call)
        return []

    def _retried(self, event: Retry) -> list[Widget]:
        """One line for a row of them."""
        said = line(f"{event.reason}; try {event.attempt}, again in {duration(event.wait_seconds)}", 200, "dim")
        if self._retry is not None:
            self._retry.update(said)
            return []
        self._retry = Static(said, classes="note")
        return [self._retry]


def _opening(state: RunState) -> Content:
    task, settings = state.task, state.settings
    target = f"target {task.metric} >= {task.target:g}" if task.target is not None else f"best {task.metric}"
    head = f"{one_line(task.name, 60)}: {task.kind}, {len(task.labels)} labels, {len(task.examples)} examples, {target}"
    who = f"planner {one_line(settings.planner, 80)}, teacher {one_line(settings.teacher, 80)}"
    return Content.assemble((head, "bold"), "\n", (who, "dim"))


def _ending(event: RunEnded, state: RunState, run_dir: Path) -> Content:
    good = event.status == "met"
    lines = [Content.styled(f"{event.status.upper()}: {one_line(event.text, 400)}", "bold")]
    baselines = [b for b in (state.delivery or {}).get("baselines", ()) if not b.get("is_llm")]
    if best := max(baselines, key=lambda b: b["score"]["value"], default=None):
        score = best["score"]
        lines.append(
            Content(
                f"best baseline without an LLM: {one_line(best['system'], 60)} {score['value']:.3f} "
                f"[{score['low']:.3f}, {score['high']:.3f}]"
            )
        )
    held_out = state.workspace.held_out
    if state.delivery and held_out and held_out.source == "generated":
        lines.append(Content.styled("the test rows are generated: an estimate on such rows only", "$text-warning"))
    lines.append(Content(f"{duration(state.seconds)}, {state.spend.tokens:,} LLM tokens, {state.spend.price}"))
    lines.append(Content(f"report  {one_line(run_dir / 'report.html', 200)}"))
    lines.append(Content("F5 try the model" if state.delivery else "Ctrl+G goes on with it" if not good else ""))
    return Content("\n").join([x for x in lines if x.plain])
