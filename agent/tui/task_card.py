"""The task as p2m has read it, to be confirmed or edited before any work is done."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.screen import Screen
from textual.widgets import Button, Footer, Input, Label, Static, TextArea

from agent.chat import edited, example_lines
from agent.plain import plain
from agent.session import check_task, open_catalog, read_approve, read_limits, resolve_endpoint
from agent.settings import Settings
from agent.tui.safe import text
from p2m.errors import P2MError
from p2m.task.spec import TaskSpec

if TYPE_CHECKING:
    from agent.tui.app import P2MApp

HELD_OUT = "a labelled file; empty: found or written, and said so"


class TaskScreen(Screen[bool]):
    """Dismissed with True when the run has been started."""

    app: P2MApp
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "start", "Start", priority=True),
        Binding("escape", "dismiss(False)", "Back to the talk"),
    ]

    def __init__(self, task: TaskSpec) -> None:
        super().__init__()
        self.spec = task

    def compose(self) -> ComposeResult:
        task, options = self.spec, self.app.options
        limits = Settings(planner="policy", teacher="").limits(task)
        target = f"{task.metric}>={task.target:g}" if task.target is not None else ""
        yield Static("Is this the task? Change what is wrong, then Ctrl+S.", classes="heading", markup=False)
        with VerticalScroll(id="card"):
            yield from self._row("instruction", TextArea(plain(task.instruction), id="instruction"))
            yield from self._row("kind", Static(task.kind, markup=False))
            yield from self._row("labels", Input(plain(", ".join(task.labels)), id="labels", compact=True))
            yield from self._row("examples", TextArea(plain(example_lines(task)), id="examples"))
            yield from self._row("target", Input(target, id="target", placeholder="accuracy>=0.85", compact=True))
            yield from self._row("metric", Input(task.metric, id="metric", compact=True))
            yield from self._row(
                "held out", Input(plain(task.validation or ""), id="validation", placeholder=HELD_OUT, compact=True)
            )
            yield from self._row(
                "train on", Input(plain(task.train or ""), id="train", placeholder="a labelled file", compact=True)
            )
            for name in ("minutes", "examples", "usd", "steps"):
                value = getattr(limits, name)
                shown = "" if value is None else f"{value:.10g}"
                yield from self._row(f"budget: {name}", Input(shown, id=f"budget-{name}", compact=True))
            yield from self._row("planner", Input(options.planner, id="planner", compact=True))
            yield from self._row("teacher", Input(options.teacher, id="teacher", compact=True))
            yield from self._row(
                "catalogue", Input(options.catalog or "", id="catalog", placeholder="a folder, or hub", compact=True)
            )
            yield from self._row("approve", Input(options.approve, id="approve", compact=True))
        yield Static("", id="problem")
        with Horizontal(classes="buttons"):
            yield Button("Start (ctrl+s)", id="start", compact=True)
            yield Button("Back to the talk (esc)", id="back", compact=True)
        yield Footer()

    def _row(self, name: str, widget: Any) -> ComposeResult:
        with Horizontal(classes="field"):
            yield Label(name)
            yield widget

    def on_mount(self) -> None:
        self.query_one("#labels", Input).focus()

    @on(Button.Pressed, "#back")
    def _back(self) -> None:
        self.dismiss(False)

    @on(Button.Pressed, "#start")
    def _pressed(self) -> None:
        self.action_start()

    @work(exclusive=True)
    async def action_start(self) -> None:
        import asyncio

        from agent.runs import new_run_dir
        from agent.tui.source import Live, Worker
        from agent.tui.work import WorkScreen

        problem = self.query_one("#problem", Static)
        problem.update("checking …")
        try:
            task, settings = await asyncio.to_thread(self._read)
            run_dir = new_run_dir(task.name, None)
        except P2MError as error:
            problem.update(text(error, "$text-error"))
            return
        worker = await Worker.start(run_dir.resolve(), task=task, settings=settings)
        self.app.workers_started.append(worker)
        self.dismiss(True)
        self.app.push_screen(WorkScreen(Live(worker.run_dir), worker))

    def _read(self) -> tuple[TaskSpec, Settings]:
        """What stands on the card. Raises ``BadInput`` that names the field."""

        def typed(name: str) -> str:
            return self.query_one(f"#{name}", Input).value.strip()

        limits = {name: typed(f"budget-{name}") or None for name in ("minutes", "examples", "usd", "steps")}
        task = edited(
            self.spec,
            self.query_one("#instruction", TextArea).text,
            self.query_one("#examples", TextArea).text,
            labels=tuple(label.strip() for label in typed("labels").split(",") if label.strip()),
            metric=typed("metric") or None,
            target=typed("target") or None,
            validation=typed("validation") or None,
            train=typed("train") or None,
            budget={},
        )
        catalog = typed("catalog") or None
        open_catalog(catalog)
        settings = Settings(
            planner=resolve_endpoint(typed("planner") or "auto", "planner"),
            teacher=resolve_endpoint(typed("teacher") or "auto", "teacher"),
            catalog=str(Path(catalog).resolve()) if catalog and catalog != "hub" else catalog,
            budget=read_limits(limits),
            approve=read_approve(typed("approve") or "ask", None, None),
            seed=self.app.options.seed,
            interactive=True,
        )
        check_task(task, settings)
        return task, settings
