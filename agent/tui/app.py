"""The terminal app. Only what the first screen needs is imported here: the rest comes when it is asked for."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen

from agent.tui.home import HomeScreen

if TYPE_CHECKING:
    from agent.tui.source import Worker

THEMES = {"dark": "textual-dark", "light": "textual-light"}


class P2MApp(App[int]):
    """``options`` are those of ``p2m`` itself: planner, teacher, catalogue, what waits for a yes."""

    TITLE = "p2m"
    CSS_PATH = "app.tcss"
    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012 - an instance variable in the base class
        (0, "-narrow"),
        (100, "-wide"),
    ]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f1", "help", "Help", priority=True),
        Binding("question_mark", "help", "Help", show=False),
        Binding("ctrl+r", "runs", "Runs"),
        Binding("ctrl+t", "light_or_dark", "Light/dark"),
        Binding("ctrl+p", "command_palette", "Palette", priority=True),
        Binding("ctrl+q", "leave", "Quit", priority=True),
    ]

    def __init__(self, options: argparse.Namespace, run_dir: Path | None = None) -> None:
        super().__init__()
        self.options, self.first_run = options, run_dir
        self.workers_started: list[Worker] = []
        self.typed_at = 0.0

    def on_mount(self) -> None:
        self.theme = THEMES["light" if getattr(self.options, "light", False) else "dark"]
        self.push_screen(HomeScreen())
        if self.first_run is not None:
            from agent.tui.work import open_run

            self.push_screen(open_run(self.first_run))

    def complain(self, error: Exception) -> None:
        """An expected failure, in its own words."""
        from agent.plain import one_line
        from p2m.llm.redact import redact

        self.notify(one_line(redact(str(error)), 500), severity="error", timeout=15, markup=False)

    def action_help(self) -> None:
        from agent.tui.help import HelpScreen

        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen(self.screen))

    def action_runs(self) -> None:
        from agent.tui.runs import RunsScreen

        self.push_screen(RunsScreen())

    def action_light_or_dark(self) -> None:
        self.theme = THEMES["light" if self.theme == THEMES["dark"] else "dark"]

    def action_leave(self) -> None:
        self.run_worker(self._leave())

    async def _leave(self) -> None:
        from agent.steer import send
        from agent.tui.dialogs import LeaveDialog
        from p2m.errors import P2MError

        working = [worker for worker in self.workers_started if worker.running]
        if working:
            said = await self.push_screen_wait(LeaveDialog())
            if said is None:
                return
            for worker in working:
                if said == "cancel":
                    worker.cancel()
                elif said == "stop":
                    try:
                        send(worker.run_dir, stop=True)
                    except P2MError as error:
                        self.complain(error)
        self.exit(0)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Every action that a key has is in the palette too."""
        seen = set()
        for node, binding, enabled, tooltip in screen.active_bindings.values():
            ours = isinstance(node, Screen | App)
            if ours and enabled and binding.description and binding.action not in seen and "." not in binding.action:
                seen.add(binding.action)
                keys = f"key: {self.get_key_display(binding)}"

                async def call(action: str = binding.action) -> None:
                    await self.run_action(action, self.screen)

                yield SystemCommand(binding.description, f"{tooltip or ''} {keys}".strip(), call)
        yield from super().get_system_commands(screen)


def open_app(options: argparse.Namespace, run_dir: Path | None = None) -> int:
    """Run the app until it is left. The return value is the exit code."""
    app = P2MApp(options, run_dir)
    code = app.run()
    for worker in app.workers_started:
        if worker.running:
            print(f"the run goes on: p2m log {worker.run_dir}, p2m tell {worker.run_dir}, or open it again with p2m")
    return app.return_code or code or 0
