"""The task as p2m has read it, to be confirmed or edited before any work is done."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.screen import Screen
from textual.widgets import Button, Input, Label, Select, Static, TextArea

from agent.chat import edited, example_lines
from agent.plain import plain
from agent.session import check_task, open_catalog, read_approve, read_limits, resolve_endpoint
from agent.settings import Settings
from agent.tui.field import Area, Field
from agent.tui.keys import Keys
from agent.tui.safe import text
from p2m.errors import P2MError
from p2m.task.fields import METRICS
from p2m.task.spec import TaskSpec

if TYPE_CHECKING:
    from agent.tui.app import P2MApp

HELD_OUT = "a labelled file; empty: found or written, and said so"
KINDS = {
    "classify": "classify: one of the labels",
    "multi_label": "classify: any number of the labels",
    "extract": "extract: parts of the text (no labels: one answer from it)",
    "generate": "generate: text",
    "score": "score: a number",
}
APPROVE = {
    "ask": "ask: what may cost or download much waits for your yes",
    "auto": "auto: never ask",
    "never": "never: refuse it",
}
LIMITS = {"minutes": "minutes", "examples": "rows", "usd": "dollars", "steps": "steps"}


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
        kind = kind_of(task)
        yield Static("Is this the task? Change what is wrong, then Ctrl+S.", classes="heading", markup=False)
        with VerticalScroll(id="card", can_focus=False):
            yield from self._row("instruction", Area(plain(task.instruction), id="instruction"))
            yield from self._row("kind", _choice(KINDS, kind, "kind"))
            yield from self._row("labels", Field(plain(", ".join(task.labels)), id="labels", compact=True))
            yield from self._row("scale", Field(_scale_words(task), id="scale", placeholder="1 to 5", compact=True))
            yield from self._row(
                "examples",
                Area(plain(example_lines(task)), id="examples", placeholder="none; one a line: input => answer"),
            )
            yield from self._row("metric", _choice(_metrics(kind), task.metric, "metric"))
            target = "" if task.target is None else f"{task.target:g}"
            yield from self._row(
                "target", Field(target, id="target", placeholder="none: the best it can; or 0.85", compact=True)
            )
            yield from self._row(
                "held out", Field(plain(task.validation or ""), id="validation", placeholder=HELD_OUT, compact=True)
            )
            yield from self._row(
                "train on", Field(plain(task.train or ""), id="train", placeholder="a labelled file", compact=True)
            )
            yield from self._budget()
            yield from self._row("planner", Field(options.planner, id="planner", compact=True))
            yield from self._row("teacher", Field(options.teacher, id="teacher", compact=True))
            yield from self._row(
                "catalogue", Field(options.catalog or "", id="catalog", placeholder="a folder, or hub", compact=True)
            )
            yield from self._row("approve", _choice(APPROVE, options.approve, "approve"))
        yield Static("", id="problem")
        with Horizontal(classes="buttons"):
            yield Button("Start (ctrl+s)", id="start", compact=True)
            yield Button("Back to the talk (esc)", id="back", compact=True)
        yield Keys()

    def _budget(self) -> ComposeResult:
        limits = Settings(planner="policy", teacher="").limits(self.spec)
        with Horizontal(classes="field"):
            yield Label("budget")
            for name, words in LIMITS.items():
                value = getattr(limits, name)
                shown = "" if value is None else f"{value:.10g}"
                yield Field(shown, id=f"budget-{name}", placeholder="any", compact=True, classes="limit")
                yield Label(words, classes="unit")

    def _row(self, name: str, widget: Any) -> ComposeResult:
        with Horizontal(classes="field"):
            yield Label(name)
            yield widget

    def on_mount(self) -> None:
        self._fit(kind_of(self.spec))
        self.query_one("#instruction", TextArea).focus()
        if "auto" in (self.app.options.planner, self.app.options.teacher):
            self._who()

    @work(exclusive=True, group="who")
    async def _who(self) -> None:
        """What ``auto`` stands for here, before anything is started; or that there is nothing it could stand for."""
        import asyncio

        for role in ("planner", "teacher"):
            field = self.query_one(f"#{role}", Input)
            if field.value != "auto":
                continue
            try:
                field.value = await asyncio.to_thread(resolve_endpoint, "auto", role)
            except P2MError as error:
                self._complain(error)
                return

    @on(Select.Changed, "#kind")
    def _other_kind(self, event: Select.Changed) -> None:
        kind = str(event.value)
        metric = self.query_one("#metric", Select)
        now = metric.value
        metric.set_options((name, name) for name in _metrics(kind))
        metric.value = now if now in _metrics(kind) else _metrics(kind)[0]
        self._fit(kind)

    def _fit(self, kind: str) -> None:
        """Fields that this kind of task has not are not shown."""
        for name, shown in (("labels", kind not in ("generate", "score")), ("scale", kind == "score")):
            self.query_one(f"#{name}", Input).parent.display = shown  # type: ignore[union-attr]

    def _complain(self, error: P2MError) -> None:
        """The options of the command line have the names of the fields."""
        self.query_one("#problem", Static).update(text(str(error).removeprefix("--"), "$text-error"))

    @on(Input.Submitted)
    def _next(self) -> None:
        self.app.action_focus_next()

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
            self._complain(error)
            return
        worker = await Worker.start(run_dir.resolve(), task=task, settings=settings)
        self.app.workers_started.append(worker)
        self.dismiss(True)
        self.app.push_screen(WorkScreen(Live(worker.run_dir), worker))

    def _read(self) -> tuple[TaskSpec, Settings]:
        """What stands on the card. Raises ``BadInput`` that names the field."""

        def typed(name: str) -> str:
            return self.query_one(f"#{name}", Input).value.strip()

        limits = {name: typed(f"budget-{name}") or None for name in LIMITS}
        kind, target = self.query_one("#kind", Select).value, typed("target")
        labels = tuple(label.strip() for label in typed("labels").split(",") if label.strip())
        named = bool(re.match(r"\s*[A-Za-z]", target))  # a target may name its metric
        task = edited(
            self.spec,
            self.query_one("#instruction", TextArea).text,
            self.query_one("#examples", TextArea).text,
            several=kind == "multi_label",
            scale=typed("scale") if kind == "score" else "",
            kind="classify" if kind == "multi_label" else str(kind),
            labels=labels if kind not in ("generate", "score") else (),
            metric=None if named else str(self.query_one("#metric", Select).value),
            target=target or None,
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
            approve=read_approve(str(self.query_one("#approve", Select).value), None, None),
            seed=self.app.options.seed,
            interactive=True,
        )
        check_task(task, settings)
        return task, settings


def kind_of(task: TaskSpec) -> str:
    """Its kind as the card names it."""
    return "multi_label" if task.multi_label else task.kind


def _metrics(kind: str) -> list[str]:
    return list(METRICS["classify" if kind == "multi_label" else kind])  # type: ignore[index]


def _choice(words: Iterable[str], now: str, name: str) -> Select[str]:
    """``words`` are the values, or, of a mapping, what each is called."""
    named = words if isinstance(words, Mapping) else {word: word for word in words}
    return Select([(said, value) for value, said in named.items()], value=now, allow_blank=False, id=name, compact=True)


def _scale_words(task: TaskSpec) -> str:
    return "" if task.scale is None else f"{task.scale[0]:g} to {task.scale[1]:g}"
