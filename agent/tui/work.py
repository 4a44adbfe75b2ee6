"""The work view: one run as it happens, or as it happened; and the person's hand on it."""

from __future__ import annotations

import time
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.screen import ModalScreen, Screen
from textual.widgets import Input, Static

from agent.events import ApprovalAsked, Approved, RunEnded, RunResumed, RunStarted, ToolFinished, ToolStarted
from agent.journal import Record
from agent.plain import duration, one_line
from agent.runs import is_held
from agent.state import RunState, fold
from agent.steer import send
from agent.tui.feed import Feed
from agent.tui.field import Field
from agent.tui.keys import Keys
from agent.tui.safe import line
from agent.tui.scores import Scores, best_words
from agent.tui.source import Live, Replay, Source, Worker
from p2m.errors import P2MError

if TYPE_CHECKING:
    from agent.tui.app import P2MApp

POLL_SECONDS = 0.1
TICK_SECONDS = 0.5
WIDE = 100
"""Columns from which the scores stand beside the feed."""
TYPING_SECONDS = 1.5
BATCH = 200
"""Records drawn between two looks at the keyboard."""


class WorkScreen(Screen[None]):
    """``worker`` is the process that this app began for the run, where it did."""

    app: P2MApp
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f1", "app.help", "Help"),
        Binding("f2", "scores", "Scores"),
        Binding("f3", "log", "Log"),
        Binding("f4", "rows", "Rows"),
        Binding("f5", "try_it", "Try it"),
        Binding("f6", "pause", "Pause"),
        Binding("f7", "stop", "Stop"),
        Binding("f8", "cancel", "Cancel"),
        Binding("f9", "change", "Goal"),
        Binding("f10", "skip", "Skip call"),
        Binding("ctrl+g", "resume", "Go on"),
        Binding("ctrl+up", "faster", "Faster"),
        Binding("ctrl+down", "slower", "Slower"),
        Binding("escape", "back", "Back"),
    ]
    LIVE_ONLY = frozenset({"stop", "cancel", "change", "skip"})

    def __init__(self, source: Source, worker: Worker | None = None) -> None:
        super().__init__()
        self.source, self.worker = source, worker
        self.state: RunState | None = None
        self.records: list[Record] = []
        self._pending: deque[Record] = deque()
        self._moment = self._opened = time.monotonic()
        self._asked: str | None = None
        self._held = False

    @property
    def run_dir(self) -> Path:
        return self.source.run_dir

    @property
    def live(self) -> bool:
        """Whether some process works on the run now."""
        return self.state is not None and self.state.ended is None and self._held

    def compose(self) -> ComposeResult:
        yield Static("", id="head")
        with Horizontal(id="main"):
            yield Feed(self.run_dir)
            yield Scores(id="scores")
        yield Field(placeholder="a message for the planner: it reads it at its next turn", id="message", compact=True)
        yield Keys()

    def on_mount(self) -> None:
        self.query_one("#message", Input).focus()
        self._head()
        self._load()
        if self.worker is not None:
            self._listen(self.worker)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that would do nothing now are not offered."""
        replayed = isinstance(self.source, Replay) and not self.source.done
        if action == "pause":
            return replayed or self.live
        if action in self.LIVE_ONLY:
            return self.live or (action == "cancel" and self.worker is not None and self.worker.running)
        if action in ("faster", "slower"):
            return replayed
        if action == "resume":
            return not self.live and not replayed and self.state is not None and not self._met
        if action == "try_it":
            return (self.run_dir / "model" / "config.json").is_file()
        return action != "scores" or self.app.size.width < WIDE

    @property
    def _met(self) -> bool:
        return self.state is not None and self.state.ended is not None and self.state.ended.status == "met"

    # The run, as it comes.

    @work(exclusive=True)
    async def _load(self) -> None:
        import asyncio

        try:
            records = await asyncio.to_thread(self.source.new)
            state = await asyncio.to_thread(fold, records)
        except P2MError as error:
            self.app.complain(error)
            return
        self._held = is_held(self.run_dir)
        if state is not None:
            self.records, self.state = records, state
            self._moment -= _since(records[-1].at)
            self.query_one(Feed).begin(records, state)
            self._redraw()
        self.set_interval(POLL_SECONDS, self._poll)
        self.set_interval(TICK_SECONDS, self._tick)

    def _poll(self) -> None:
        try:
            self._pending.extend(self.source.new())
        except P2MError as error:
            self.app.complain(error)
            return
        batch = [self._pending.popleft() for _ in range(min(BATCH, len(self._pending)))]
        if not batch:
            return
        before = self.state
        for record in batch:
            self.state = fold([record]) if self.state is None else self.state.apply(record)
        self.records += batch
        self._moment = time.monotonic()
        if self.state is None:
            return
        self.query_one(Feed).show(batch, self.state)
        if before is None or before.workspace is not self.state.workspace or before.task is not self.state.task:
            self.query_one(Scores).show_results(self.state)
        self._head()
        self._look_for_questions(batch)
        if any(isinstance(r.event, RunStarted | RunEnded | RunResumed) for r in batch):
            self.refresh_bindings()

    def _tick(self) -> None:
        held = not isinstance(self.source, Replay) and is_held(self.run_dir)
        if held != self._held:
            self._held = held
            self.refresh_bindings()
        replayed = isinstance(self.source, Replay) and not self.source.done
        if self.state is not None:
            self.query_one(Feed).tick(self._seconds(), at_work=self.live or replayed)
        if self.state is not None:
            self.query_one(Scores).show_budget(self.state, self._seconds())
        self._head()

    def _redraw(self) -> None:
        assert self.state is not None
        self.query_one(Scores).show(self.state, self._seconds())
        self._head()
        self._look_for_questions(self.records[-5:])

    def _seconds(self) -> float:
        """The run's clock: it goes on between two events while somebody works."""
        assert self.state is not None
        return self.state.seconds + (time.monotonic() - self._moment if self.live and not self.state.paused else 0.0)

    def _head(self) -> None:
        from textual.content import Content

        state = self.state
        if state is None:
            waits = f", {time.monotonic() - self._opened:.0f} s" if self.worker is not None else ""
            self.query_one("#head", Static).update(line(f"starting {self.run_dir.name} …{waits}", 120))
            return
        words = [self._status(), duration(self._seconds()), best_words(state)]
        wide = self.app.size.width >= WIDE
        left = Content.styled(one_line(state.task.name, 30 if wide else 16), "bold")
        said = Content.assemble(left, "  ", ("  ·  " if wide else " · ").join(words))
        self.query_one("#head", Static).update(said, layout=False)

    def _status(self) -> str:
        assert self.state is not None
        if isinstance(self.source, Replay) and not self.source.done:
            return f"replay x{self.source.speed:g}{' (paused)' if self.source.paused else ''}"
        if self.state.ended is not None:
            return self.state.ended.status
        if not self._held:
            return "interrupted (ctrl+g goes on)" if self.worker is None or not self.worker.running else "starting"
        if self.state.stop_asked:
            return "stopping after this step"
        if self.state.paused:
            return "paused"
        call = self.state.open_call
        return f"working: {call.tool}" if call else "planning"

    @work
    async def _listen(self, worker: Worker) -> None:
        import asyncio

        words: asyncio.Queue[str] = asyncio.Queue()
        listening = asyncio.create_task(worker.listen(words.put_nowait))
        feed = self.query_one(Feed)
        while not (listening.done() and words.empty()):
            with suppress(TimeoutError):
                await feed.whisper(await asyncio.wait_for(words.get(), 0.2))
        code = await listening
        if worker.failure and code not in (0, 3, 130):
            self.notify(one_line(worker.failure, 400), severity="error", timeout=30, markup=False)
        self._tick()

    # The person's hand on the run.

    def _send(self, **command: Any) -> bool:
        try:
            send(self.run_dir, **command)
        except P2MError as error:
            self.app.complain(error)
            return False
        return True

    @on(Input.Submitted, "#message")
    def _said(self, event: Input.Submitted) -> None:
        said = event.value.strip()
        if said == "?":
            self.app.action_help()
            event.input.clear()
        elif said and self._send(say=said):
            event.input.clear()

    def action_pause(self) -> None:
        if isinstance(self.source, Replay):
            self.source.paused = not self.source.paused
            self._head()
        elif self.state is not None:
            self._send(pause=not self.state.paused)

    def action_stop(self) -> None:
        self._send(stop=True)

    def action_skip(self) -> None:
        self._send(skip=True)

    def action_cancel(self) -> None:
        """Now: the process ends, and with it the child that trains."""
        if self.worker is not None and self.worker.running:
            self.worker.cancel()
            self.notify("cancelled; nothing is lost, ctrl+g goes on", markup=False)
        elif self._send(cancel=True):
            self.notify("told the process that works on it to end now; nothing is lost", markup=False)

    @work
    async def action_resume(self) -> None:
        if self.live or self.state is None or (self.worker is not None and self.worker.running):
            return
        if self._met:
            self.notify("the run has met its target", markup=False)
            return
        budget: dict[str, Any] = {}
        if self.state.ended is not None:
            from agent.tui.dialogs import ChangeDialog

            change = await self.app.push_screen_wait(ChangeDialog(self.state, "Go on with which budget, in all?"))
            if change is None:
                return
            budget = change["budget"]
        self.worker = await Worker.start(self.run_dir, new_budget=budget)
        self.app.workers_started.append(self.worker)
        self._listen(self.worker)

    @work
    async def action_change(self) -> None:
        from agent.tui.dialogs import ChangeDialog

        if self.state is None:
            return
        change = await self.app.push_screen_wait(ChangeDialog(self.state, "Change the goal"))
        if change:
            self._send(change=change)

    def _look_for_questions(self, batch: list[Record]) -> None:
        """A question that waits in the journal is put to the person, once."""
        for record in batch:
            event = record.event
            if isinstance(event, ApprovalAsked):
                self._asked = f"approve {event.call}"
            elif isinstance(event, ToolStarted) and event.tool == "ask_user":
                self._asked = f"answer {event.id}"
            elif isinstance(event, Approved | ToolFinished | RunEnded):
                self._asked = None
        if self._asked and not isinstance(self.source, Replay):
            last = next(r.event for r in reversed(self.records) if isinstance(r.event, ApprovalAsked | ToolStarted))
            self._put(self._asked, last)

    @work
    async def _put(self, what: str, event: ApprovalAsked | ToolStarted) -> None:
        from agent.tui.dialogs import AskDialog, YesDialog

        self._asked = None
        await self._hands_off()
        if isinstance(event, ApprovalAsked):
            said = await self.app.push_screen_wait(YesDialog(f"{event.words}. May it run?"))
            self._send(approve=bool(said))
        elif what.startswith("answer"):
            answer = await self.app.push_screen_wait(AskDialog(str(event.arguments.get("question", ""))))
            self._send(answer=answer or "")

    async def _hands_off(self) -> None:
        """A question does not come between two keys of a sentence: the next of them would be taken for its answer."""
        import asyncio

        while time.monotonic() - self.app.typed_at < TYPING_SECONDS or isinstance(self.app.screen, ModalScreen):  # noqa: ASYNC110
            await asyncio.sleep(POLL_SECONDS)

    # Other views of the same run.

    def action_scores(self) -> None:
        """On a narrow screen the scores take the place of the feed."""
        self.toggle_class("-scores")
        if self.state is not None:
            self.call_after_refresh(self.query_one(Scores).show_results, self.state)

    def action_log(self) -> None:
        from agent.tui.log import LogScreen

        if self.state is not None:
            self.app.push_screen(LogScreen(lambda: self.state))

    def action_rows(self) -> None:
        from agent.tui.rows import RowsScreen

        if self.state is not None:
            self.app.push_screen(RowsScreen(self.run_dir, self.state, live=self.live))

    def action_try_it(self) -> None:
        from agent.tui.tryit import TryScreen

        if not (self.run_dir / "model" / "config.json").is_file():
            self.notify("there is no model yet: it is there when the run has delivered", markup=False)
            return
        self.app.push_screen(TryScreen(self.run_dir))

    @on(Scores.Compare)
    def _compare(self, event: Scores.Compare) -> None:
        from agent.tui.diff import DiffScreen

        if self.state is not None and len(self.state.workspace.experiments) > 1:
            self.app.push_screen(DiffScreen(self.run_dir, self.state, event.model))
        else:
            self.notify("one experiment so far: nothing to compare it with", markup=False)

    def action_faster(self) -> None:
        self._speed(2.0)

    def action_slower(self) -> None:
        self._speed(0.5)

    def _speed(self, times: float) -> None:
        if isinstance(self.source, Replay):
            self.source.speed = min(1024.0, max(0.125, self.source.speed * times))
            self._head()

    def action_back(self) -> None:
        if self.has_class("-scores"):
            self.remove_class("-scores")
        else:
            self.app.pop_screen()


def _since(at: str) -> float:
    """Seconds since a time in UTC as the journal writes it."""
    return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds())


def open_run(run_dir: Path) -> WorkScreen:
    """A run, finished or live in another process."""
    return WorkScreen(Live(run_dir))
