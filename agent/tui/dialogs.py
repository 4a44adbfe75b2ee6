"""Small questions over a screen: a sentence, a yes, a new goal, what becomes of a run that still works."""

from __future__ import annotations

from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Label, Static

from agent.session import read_limits
from agent.state import RunState
from agent.tui.field import Field
from agent.tui.safe import text
from p2m.errors import P2MError

LIMITS = ("minutes", "examples", "usd", "tokens", "steps")


class AskDialog(ModalScreen[str | None]):
    """``question`` is the planner's; the answer is a line."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape", "dismiss(None)", "No answer")]

    def __init__(self, question: str) -> None:
        super().__init__()
        self.question = question

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(text(f"The planner asks: {self.question}"))
            yield Field(placeholder="your answer, then Enter", compact=True)

    @on(Input.Submitted)
    def _answered(self, event: Input.Submitted) -> None:
        self.dismiss(event.value)


class YesDialog(ModalScreen[bool]):
    BINDINGS: ClassVar[list[BindingType]] = [
        ("y", "dismiss(True)", "Yes"),
        ("n", "dismiss(False)", "No"),
        ("escape", "dismiss(False)", "No"),
    ]

    def __init__(self, question: str) -> None:
        super().__init__()
        self.question = question

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(text(self.question))
            with Horizontal(classes="buttons"):
                yield Button("No (n)", id="no", compact=True)
                yield Button("Yes (y)", id="yes", compact=True)

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")


class LeaveDialog(ModalScreen[str | None]):
    """The app closes while its run works: what becomes of the run?"""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("l", "dismiss('leave')", "Leave it running"),
        ("s", "dismiss('stop')", "Stop after this step"),
        ("c", "dismiss('cancel')", "Cancel now"),
        ("escape", "dismiss(None)", "Stay"),
    ]

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static("A run is still at work. Nothing is lost whatever you choose.")
            with Horizontal(classes="buttons"):
                yield Button("Leave it running (l)", id="leave", compact=True)
                yield Button("Stop after this step (s)", id="stop", compact=True)
                yield Button("Cancel now (c)", id="cancel", compact=True)

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id)


class ChangeDialog(ModalScreen[dict[str, Any] | None]):
    """The goal as it is, to be changed: ``{"target", "budget"}`` with what differs."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape", "dismiss(None)", "Leave it")]

    def __init__(self, state: RunState, title: str) -> None:
        super().__init__()
        self.run_state, self.heading = state, title

    def compose(self) -> ComposeResult:
        limits = self.run_state.limits.model_dump()
        target = self.run_state.task.target
        with Vertical(classes="dialog"):
            yield Static(self.heading, classes="heading")
            with Horizontal(classes="field"):
                yield Label("target")
                yield Field("" if target is None else f"{target:g}", id="target", compact=True)
            for name in LIMITS:
                with Horizontal(classes="field"):
                    yield Label(name)
                    value = limits.get(name)
                    yield Field("" if value is None else f"{value:.10g}", id=name, compact=True)
            yield Static("", id="problem")
            with Horizontal(classes="buttons"):
                yield Button("Change", id="change", compact=True)
                yield Button("Leave it (esc)", id="leave", compact=True)

    @on(Input.Submitted)
    def _submitted(self) -> None:
        self._change()

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        if event.button.id == "leave":
            self.dismiss(None)
        else:
            self._change()

    def _change(self) -> None:
        from p2m.task.draft import Place
        from p2m.task.fields import read_target

        try:
            typed = {name: self.query_one(f"#{name}", Input).value.strip() or None for name in LIMITS}
            budget = read_limits(typed).model_dump(exclude_none=True)
            said = self.query_one("#target", Input).value.strip()
            target = read_target(said, Place("target"))[0] if said else None
        except P2MError as error:
            self.query_one("#problem", Static).update(text(error, "$text-error"))
            return
        now = self.run_state.limits.model_dump(exclude_none=True)
        changed = {name: value for name, value in budget.items() if value != now.get(name)}
        new_target = target if target != self.run_state.task.target else None
        self.dismiss({"target": new_target, "budget": changed} if changed or new_target is not None else None)
