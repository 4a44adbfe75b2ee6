"""Help: what this screen is for, and every key that works on it."""

from __future__ import annotations

from typing import Any, ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

ABOUT = {
    "HomeScreen": "Say what your model should do. p2m reads the task, asks at most two questions, and shows what it "
    "understood before it starts.",
    "TaskScreen": "The task as p2m understood it. Every field can be changed; Ctrl+S starts the run.",
    "WorkScreen": "A run: the planner's words, tool calls as cards (Enter opens one), scores and budget. Type a "
    "message and the planner reads it at its next turn. Cancelling or leaving loses nothing.",
    "RunsScreen": "The runs there are. Enter opens one, also while another process works on it.",
    "LogScreen": "Every tool call: why, with what, what came of it. The lower half shows the chosen one in full.",
    "RowsScreen": "The training rows and where each is from. Accepted and relabelled rows are trained on as you say, "
    "rejected ones are not trained on.",
    "TryScreen": "Type a text: what the model says, how sure it is, and the training rows most like it.",
    "DiffScreen": "Two trainings: what was different, and what came of it.",
}


class HelpScreen(ModalScreen[None]):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss", "Back"),
        Binding("question_mark", "dismiss", "Back", show=False),
    ]

    def __init__(self, about: Screen[Any]) -> None:
        super().__init__()
        about_it = ABOUT.get(type(about).__name__, "p2m: describe a task, get a model.")
        lines = [Content(about_it), Content("Ctrl+P opens the palette: every action by its name."), Content("")]
        seen = set()
        for node, binding, enabled, _tooltip in about.active_bindings.values():
            if (
                isinstance(node, Screen | App)
                and enabled
                and binding.description
                and (binding.key, binding.action) not in seen
            ):
                seen.add((binding.key, binding.action))
                lines.append(
                    Content.assemble((f"{binding.key.replace('question_mark', '?'):<16}", "bold"), binding.description)
                )
        self._lines = Content("\n").join(lines)

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog help"):
            yield Static(self._lines)
