"""The training rows: where each came from, and the person's word on them, which becomes training signal."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import DataTable, Input, OptionList, Static
from textual.widgets.option_list import Option

from agent.answers import HOW_TO_TYPE, from_words, in_words, typed
from agent.events import Review
from agent.plain import plain
from agent.state import RunState
from agent.steer import send
from agent.tui.field import Field
from agent.tui.keys import Keys
from agent.tui.safe import cell, line, text
from agent.tui.table_screen import TableScreen
from p2m import kinds
from p2m.data.near import normalise
from p2m.errors import P2MError
from p2m.rows import Row, provenance
from p2m.task.spec import TaskSpec

MOST_SHOWN = 2000
MARKS = {"accept": "+", "reject": "x", "relabel": ">"}


class LabelDialog(ModalScreen[str | None]):
    BINDINGS: ClassVar[list[BindingType]] = [("escape", "dismiss(None)", "Leave it")]

    def __init__(self, labels: tuple[str, ...]) -> None:
        super().__init__()
        self.labels = labels

    def compose(self) -> ComposeResult:
        yield OptionList(*(Option(line(label), id=str(n)) for n, label in enumerate(self.labels)), classes="dialog")

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self.labels[int(str(event.option.id))])


class AnswerDialog(ModalScreen[str | None]):
    """Another answer for a row whose answers are no single labels."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Leave it")]

    def __init__(self, task: TaskSpec, row: Row) -> None:
        super().__init__()
        self.spec, self.row = task, row
        self.kind = kinds.of(task).name

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(line(f"The right answer: {HOW_TO_TYPE[self.kind]}", 200))
            yield Field(plain(typed(self.kind, self.row.output)).replace("\n", " "), compact=True)
            yield Static("", id="problem")

    @on(Input.Submitted)
    def _answered(self, event: Input.Submitted) -> None:
        try:
            self.dismiss(from_words(self.spec, self.row.input, event.value))
        except P2MError as error:
            self.query_one("#problem", Static).update(text(error, "$text-error"))


class RowsScreen(TableScreen):
    """``live``: a process works on the run, so that a review has an effect."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "say('accept')", "Accept"),
        Binding("x", "say('reject')", "Reject"),
        Binding("l", "relabel", "Relabel"),
        Binding("u", "undo", "Undo"),
        Binding("s", "send", "Send"),
        Binding("slash", "filter", "Filter"),
        Binding("c", "copy", "Copy"),
        Binding("e", "export", "Export"),
        Binding("escape", "back", "Back"),
    ]

    def __init__(self, run_dir: Path, state: RunState, *, live: bool) -> None:
        super().__init__()
        self.run_dir, self.run_state, self.live = run_dir, state, live
        self.rows: list[Row] = []
        self.shown: list[Row] = []
        self.reviews: dict[str, Review] = {}

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What would change nothing is not offered."""
        return self.live or action not in ("say", "relabel", "undo", "send")

    def compose(self) -> ComposeResult:
        yield Static("reading the rows …", id="head")
        yield Field(placeholder="filter: text, label:NAME, source:generated", id="filter", compact=True)
        table: DataTable[object] = DataTable(cursor_type="row", zebra_stripes=True, id="rows")
        table.add_columns("", "label" if self.run_state.task.labels else "answer", "text")
        yield table
        yield Static("", id="origin")
        yield Keys()

    def on_mount(self) -> None:
        self.query_one(DataTable).focus()
        self._load()

    @work(exclusive=True)
    async def _load(self) -> None:
        import asyncio

        try:
            self.rows = await asyncio.to_thread(rows_of, self.run_dir, self.run_state, self.live)
        except P2MError as error:
            self.query_one("#head", Static).update(line(error))
            return
        self._draw()

    @on(Input.Changed)
    def _draw(self) -> None:
        words = self.query_one("#filter", Input).value.split()
        self.shown = [row for row in self.rows if _matches(row, words)][:MOST_SHOWN]
        table = self.query_one(DataTable)
        at, kind = table.cursor_row, kinds.of(self.run_state.task).name
        table.clear()
        for row in self.shown:
            review = self.reviews.get(row.input)
            label = in_words(kind, row.output)
            if review is not None and review.verdict == "relabel":
                label = f"{label} > {in_words(kind, review.label)}"
            style = {"reject": "strike", "accept": "bold", "relabel": "bold"}.get(review.verdict if review else "", "")
            table.add_row(cell(MARKS[review.verdict] if review else ""), cell(label, 40, style), cell(row.input, 300))
        table.move_cursor(row=min(at, max(0, len(self.shown) - 1)))
        said = f"{len(self.shown)} of {len(self.rows)} training rows"
        if self.reviews:
            said += f", {len(self.reviews)} reviewed: s sends them" if self.live else ""
        elif not self.live:
            said += " (the run is not at work: reviewing needs one that is)"
        self.query_one("#head", Static).update(line(said))
        self._origin()

    @on(DataTable.RowHighlighted)
    def _origin(self) -> None:
        row = self._chosen()
        answer = in_words(kinds.of(self.run_state.task).name, row.output) if row else ""
        shown = text(f"{row.input}\n= {answer}\nfrom {provenance(row)}") if row else ""
        self.query_one("#origin", Static).update(shown)

    def _chosen(self) -> Row | None:
        at = self.query_one(DataTable).cursor_row
        return self.shown[at] if 0 <= at < len(self.shown) else None

    def action_say(self, verdict: str) -> None:
        if (row := self._chosen()) and self._may():
            self._note(Review(row.input, row.output, verdict))  # type: ignore[arg-type]

    @work
    async def action_relabel(self) -> None:
        row = self._chosen()
        if row is None or not self._may():
            return
        task = self.run_state.task
        by_label = kinds.of(task).answers_are_labels
        label = await self.app.push_screen_wait(LabelDialog(task.labels) if by_label else AnswerDialog(task, row))
        if label is not None and label != row.output:
            self._note(Review(row.input, row.output, "relabel", label))

    def _may(self) -> bool:
        if not self.live:
            self.notify("the run is not at work: a review would change nothing", markup=False)
        return self.live

    def _note(self, review: Review) -> None:
        self.reviews[review.input] = review
        self._draw()
        self.query_one(DataTable).action_cursor_down()

    def action_undo(self) -> None:
        if (row := self._chosen()) and self.reviews.pop(row.input, None):
            self._draw()

    def action_send(self) -> None:
        if not self.reviews:
            return
        try:
            send(self.run_dir, review=[asdict(review) for review in self.reviews.values()])
        except P2MError as error:
            self.app.complain(error)
            return
        self.notify(f"{len(self.reviews)} reviews sent: they count before the next step", markup=False)
        self.reviews = {}
        self.app.pop_screen()

    def action_copy(self) -> None:
        if row := self._chosen():
            self.app.copy_to_clipboard(json.dumps(asdict(row), ensure_ascii=False))
            self.notify("copied: the row and where it is from", markup=False)

    def action_export(self) -> None:
        from p2m.rows import write_rows

        path = Path.cwd() / f"{self.run_dir.name}-rows.jsonl"
        try:
            write_rows(path, self.shown)
        except OSError as error:
            self.app.complain(error)
            return
        self.notify(f"{len(self.shown)} rows written to {path}", markup=False)


def rows_of(run_dir: Path, state: RunState, live: bool) -> list[Row]:
    """The rows in use of a run at work; what the student learnt from of one that has ended. Raises ``BadInput`` where
    there is none."""
    from agent.rows_log import training_rows
    from p2m.store import Store

    if live and state.workspace.datasets:
        store = Store(run_dir / "artifacts")
        return [row for d in state.workspace.datasets for row in store.rows(d.handle)]
    return training_rows(run_dir, state)


def _matches(row: Row, words: list[str]) -> bool:
    for word in words:
        name, _, value = word.partition(":")
        if name == "label":
            found = value.casefold() in row.output.casefold()
        elif name == "source":
            found = value.casefold() in row.source.casefold()
        else:
            found = normalise(word) in normalise(row.input)
        if not found:
            return False
    return True
