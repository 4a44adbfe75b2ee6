"""The first screen: say what you want. Nothing heavy is imported before the first key."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from agent.tui.keys import Keys
from agent.tui.prompt import Prompt
from agent.tui.safe import text

if TYPE_CHECKING:
    from agent.chat import Chat, Reply
    from agent.tui.app import P2MApp
    from p2m.task.spec import TaskSpec

HEAD = "p2m: describe a task, get a small model that does it on this machine"
# Lines of at most 76 characters, so that they break at 80 columns where they break here.
WELCOME = """Say what your model should do, in your own words. For example:

  Say whether a film review is positive or negative. At least 80% accuracy.

Paste examples (a table, or lines input => answer), or drop a file: a task,
or labelled rows as CSV. Nothing starts before you have seen the task.
Enter sends; Ctrl+J begins a new line."""
RECENT_HEAD = "recent runs: Shift+Tab goes there, Ctrl+R lists all"
RECENT = 6
ASK, ANSWER = "What should it do?", "your answer; Enter alone goes on without one"


class HomeScreen(Screen[None]):
    app: P2MApp
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+n", "again", "New task"),
        Binding("tab", "app.focus_next", "Next field", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.chat: Chat | None = None
        self._talking = False
        """Something was said, though it may not be read yet."""

    def compose(self) -> ComposeResult:
        yield Static(HEAD, id="head", markup=False)
        with Vertical(id="home"):
            with VerticalScroll(id="talk"):
                yield Static(WELCOME, classes="p2m", markup=False)
            yield Static(RECENT_HEAD, id="recent-head", markup=False)
            yield OptionList(id="recent", compact=True)
            yield Prompt(id="prompt", placeholder=ASK, soft_wrap=True, highlight_cursor_line=False)
        yield Keys()

    def on_mount(self) -> None:
        self._offer_recent(False)
        self.query_one("#talk", VerticalScroll).anchor()
        self.query_one(Prompt).focus()
        self._recent()

    def on_screen_resume(self) -> None:
        self._recent()

    @work(exclusive=True, group="recent")
    async def _recent(self) -> None:
        """The runs there are, and with them the modules that the next screen needs."""
        import asyncio

        rows = await asyncio.to_thread(_summaries, RECENT)
        recent = self.query_one("#recent", OptionList)
        recent.clear_options()
        recent.add_options(Option(_line(row), id=row.run) for row in rows)
        self._offer_recent(bool(rows) and not self._talking)

    def _offer_recent(self, shown: bool) -> None:
        self.query_one("#recent").display = shown
        self.query_one("#recent-head").display = shown

    @on(OptionList.OptionSelected, "#recent")
    def _open(self, event: OptionList.OptionSelected) -> None:
        from agent.runs import find_run
        from agent.tui.work import open_run
        from p2m.errors import P2MError

        try:
            self.app.push_screen(open_run(find_run(str(event.option.id))))
        except P2MError as error:
            self.app.complain(error)

    @on(Prompt.Sent)
    def _heard(self, event: Prompt.Sent) -> None:
        self._talking = True
        self._offer_recent(False)
        self._take(event.said)

    @work(exclusive=True, group="chat")
    async def _take(self, said: str) -> None:
        import asyncio

        from p2m.errors import P2MError

        prompt = self.query_one(Prompt)
        await self._show("you", said.strip() or "(go on)")
        prompt.load_text("")
        try:
            reply = await asyncio.to_thread(self._hear, said)
            await self._answer(reply)
        except P2MError as error:
            await self._show("p2m", str(error), "$text-error")
            prompt.load_text(said)
            prompt.move_cursor(prompt.document.end)

    def _hear(self, said: str) -> Reply:
        from agent.chat import Chat

        if self.chat is None:
            self.chat = Chat()
        return self.chat.hear(said)

    async def _answer(self, reply: Reply) -> None:
        from agent.chat import Question, Ready

        self.query_one(Prompt).placeholder = ANSWER if isinstance(reply, Question) else ASK
        if isinstance(reply, Question):
            await self._show("p2m", reply.text)
        elif isinstance(reply, Ready):
            await self._confirm(reply.task)
        else:
            reading = await self._show("p2m", f"{reply.reason}: a language model reads your words …")
            began = time.monotonic()

            def tell() -> None:
                words = f"{reply.reason}: a language model reads your words … {time.monotonic() - began:.0f} s"
                reading.update(_said("p2m", words))

            clock = self.set_interval(1.0, tell)
            try:
                task = await self._read_with_model()
            finally:
                clock.stop()
            await self._confirm(task)

    async def _read_with_model(self) -> TaskSpec:
        from agent.session import open_reader, resolve_endpoint

        assert self.chat is not None
        model = open_reader(resolve_endpoint(self.app.options.teacher, "teacher"))
        try:
            return await self.chat.read_with(model)
        finally:
            await model.close()

    async def _confirm(self, task: TaskSpec) -> None:
        for note in task.notes:
            await self._show("p2m", note, "dim")
        from agent.tui.task_card import TaskScreen

        self.app.push_screen(TaskScreen(task), self._decided)

    def _decided(self, started: Any) -> None:
        if started:
            self.action_again()
        else:
            self.query_one(Prompt).focus()

    async def _show(self, who: str, said: str, style: str = "") -> Static:
        entry = Static(_said(who, said, style), classes=who)
        await self.query_one("#talk").mount(entry)
        return entry

    def action_again(self) -> None:
        """Forget what was said."""
        self.chat, self._talking = None, False
        self.query_one("#talk").remove_children()
        self.query_one("#talk").mount(Static(WELCOME, classes="p2m", markup=False))
        prompt = self.query_one(Prompt)
        prompt.placeholder = ASK
        prompt.load_text("")
        prompt.focus()
        self._recent()


def _said(who: str, said: str, style: str = "") -> Content:
    return Content.assemble((f"{who:<4}", "bold"), text(said, style))


def _summaries(most: int) -> list[Any]:
    from agent.runs import list_runs, runs_dir, summary

    return [summary(path) for path in list_runs(runs_dir())[:most]]


def _line(row: Any) -> Content:
    from agent.plain import one_line

    score = "" if row.best is None else f"  {row.metric} {row.best:.3f}"
    return Content.assemble(
        (f"{one_line(row.status, 11):<12}", "dim"), one_line(row.run, 44), (f"{score} {row.split}", "dim")
    )
