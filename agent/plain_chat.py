"""``p2m chat --plain``: the conversation of the terminal app as lines, for a screen reader, a pipe, or no terminal.

Before the run every line is a message. While it runs a line is a message to the planner, or a command that begins with
a slash; ``/help`` names them.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from agent.approval import Request
from agent.chat import Chat, Question, Ready
from agent.controls import Controls
from agent.events import RunEnded
from agent.plain import plain
from agent.printer import Printer
from agent.runs import new_run_dir
from agent.settings import Settings
from p2m.errors import EXIT_INTERRUPTED, BadInput, P2MError
from p2m.task.spec import Limits, TaskSpec

COMMANDS = """/pause       wait before the next step
/go          go on
/stop        end after this step, with the best student so far
/skip        cancel the tool call that runs now; the run goes on
/cancel      end now; nothing is lost, p2m resume goes on
/target X    another target, e.g. /target 0.8
/budget X    other limits in all, e.g. /budget minutes=30 examples=200
/help        this list
anything else is a message: the planner reads it at its next turn"""
CONFIRM = (
    "Start? An empty line or yes starts, no leaves. Or change something: instruction = …; kind = multi_label; "
    "labels = a, b; scale = 1 to 5; metric = macro_f1; target = 0.85; example = input => answer; validation = FILE; "
    "train = FILE; minutes = 20; examples = 300; usd = 1; steps = 20; planner = policy; teacher = local:NAME; "
    "catalogue = DIR; approve = auto"
)
SHOWN = 4
PASTE_SECONDS = 0.15
"""Lines that come together are one message: a paste."""


class Lines:
    """Lines typed on ``stream``, without blocking the event loop."""

    def __init__(self, stream: TextIO) -> None:
        self._queue: asyncio.Queue[str | None] = asyncio.Queue()
        self._stream = stream
        self._loop = asyncio.get_running_loop()
        self._rest = b""
        self._reads_files = False
        try:
            self._loop.add_reader(stream.fileno(), self._ready)
        except PermissionError:  # a regular file: epoll takes none, and reading it never blocks
            self._reads_files = True
            for line in stream:
                self._queue.put_nowait(line.rstrip("\n"))
            self._queue.put_nowait(None)

    def _ready(self) -> None:
        data = os.read(self._stream.fileno(), 65536)
        *whole, self._rest = (self._rest + data).split(b"\n")
        if not data and self._rest:
            whole, self._rest = [self._rest], b""
        for line in whole:
            self._queue.put_nowait(line.decode("utf-8", "replace").rstrip("\r"))
        if not data:
            self.close()
            self._queue.put_nowait(None)

    def close(self) -> None:
        if not self._reads_files:
            self._loop.remove_reader(self._stream.fileno())

    async def line(self) -> str | None:
        """The next line; None where there are no more."""
        line = await self._queue.get()
        if line is None:
            self._queue.put_nowait(None)
        return line

    async def message(self) -> str | None:
        """The next line and those pasted with it."""
        first = await self.line()
        if first is None:
            return None
        lines = [first]
        while True:
            try:
                more = await asyncio.wait_for(self._queue.get(), PASTE_SECONDS if not self._reads_files else 0)
            except TimeoutError:
                return "\n".join(lines)
            if more is None:
                self._queue.put_nowait(None)
                return "\n".join(lines)
            lines.append(more)


@dataclass
class PlainChat:
    """One conversation on two streams."""

    options: argparse.Namespace
    lines: Lines
    out: TextIO

    def say(self, text: str) -> None:
        self.out.write(f"p2m: {plain(text)}\n")
        self.out.flush()

    async def task(self) -> TaskSpec | None:
        """From words to a task; None where the person leaves."""
        chat = Chat()
        self.say("What should your model do? Say it in your own words; examples help. /quit leaves.")
        while True:
            said = await self.lines.message()
            if said is None or said.strip() == "/quit":
                return None
            try:
                reply = chat.hear(said)
                if isinstance(reply, Question):
                    self.say(reply.text)
                    continue
                if isinstance(reply, Ready):
                    return reply.task
                self.say(f"{reply.reason}: I ask a language model.")
                return await self._read_with_model(chat)
            except P2MError as error:
                self.say(str(error))

    async def _read_with_model(self, chat: Chat) -> TaskSpec:
        from agent.session import open_reader, resolve_endpoint

        model = open_reader(resolve_endpoint(self.options.teacher, "teacher"))
        try:
            return await chat.read_with(model)
        finally:
            await model.close()

    async def confirm(self, task: TaskSpec) -> tuple[TaskSpec, Settings] | None:
        """The task as understood, until the person says yes to it."""
        from agent.session import check_task

        settings = self._settings()
        while True:
            self._show(task, settings)
            said = await self.lines.line()
            answer = (said or "").strip()
            if said is None or answer.lower() in ("no", "n", "/quit"):
                return None
            try:
                if answer.lower() in ("", "yes", "y"):
                    check_task(task, settings)
                    return task, settings
                task, settings = self._changed(task, settings, answer)
            except P2MError as error:
                self.say(str(error))

    def _settings(self, before: Settings | None = None, **changed: str) -> Settings:
        """What the options say, with what the person has changed since."""
        from agent.session import open_catalog, read_approve, resolve_endpoint

        for name, value in changed.items():
            if name == "approve" and value not in ("ask", "auto", "never"):
                raise BadInput(f"{value!r} is no rule", where=name, fix="Give ask, auto or never")
        options = {**vars(self.options), **changed}
        catalog = options["catalog"] or None
        open_catalog(catalog)
        planner = resolve_endpoint(options["planner"], "planner")
        teacher = resolve_endpoint(options["teacher"], "teacher")
        self.options = argparse.Namespace(**options)  # all of it can be used
        return Settings(
            planner=planner,
            teacher=teacher,
            catalog=str(Path(catalog).resolve()) if catalog and catalog != "hub" else catalog,
            budget=before.budget if before else Limits(),
            approve=read_approve(options["approve"], None, None),
            seed=self.options.seed,
            interactive=True,
        )

    def _show(self, task: TaskSpec, settings: Settings) -> None:
        limits = settings.limits(task).model_dump(exclude_none=True)
        facts = {
            "task": task.name,
            "instruction": task.instruction,
            "kind": "classify, any number of labels" if task.multi_label else task.kind,
            "labels": ", ".join(task.labels),
            "scale": "" if task.scale is None else f"{task.scale[0]:g} to {task.scale[1]:g}",
            "examples": "; ".join(f"{e.input} => {e.output}" for e in task.examples[:SHOWN])
            + (f" and {len(task.examples) - SHOWN} more" if len(task.examples) > SHOWN else ""),
            "target": f"{task.metric} >= {task.target:g}" if task.target is not None else f"best {task.metric}",
            "held out": task.validation or task.train or "found or written before anything is trained",
            "budget": ", ".join(f"{value:,.10g} {name}" for name, value in limits.items()),
            "planner": settings.planner,
            "teacher": settings.teacher,
            "catalogue": settings.catalog or "",
            "approve": settings.approve.mode,
        }
        for note in task.notes:
            self.say(f"note: {note}")
        for name, value in facts.items():
            if value:
                self.say(f"{name}: {value}")
        self.say(CONFIRM)

    def _changed(self, task: TaskSpec, settings: Settings, answer: str) -> tuple[TaskSpec, Settings]:
        from agent.chat import edited, example_lines
        from agent.session import read_limits

        name, equals, value = (part.strip() for part in answer.partition("="))
        if not equals:
            raise BadInput("say what to change as name = value", fix=CONFIRM)
        if name in ("minutes", "examples", "usd", "tokens", "steps"):
            more = read_limits({name: value}).model_dump(exclude_none=True)
            return task, settings.model_copy(update={"budget": settings.budget.model_copy(update=more)})
        if name in ("planner", "teacher", "catalogue", "catalog", "approve"):
            return task, self._settings(settings, **{name.replace("catalogue", "catalog"): value})
        instruction, examples = task.instruction, example_lines(task)
        fields: dict[str, Any] = {}
        if name == "instruction":
            instruction = value
        elif name == "example":
            examples = "\n".join((examples, value))
        elif name == "labels":
            fields[name] = tuple(label.strip() for label in value.split(",") if label.strip())
        elif name == "kind":
            several = value.replace("-", "_").replace(" ", "_") == "multi_label"
            fields |= {"kind": "classify" if several else value, "several": several}
            fields |= {"metric": None, "target": None if task.target is None else f"{task.target:g}"}
            if value in ("generate", "score"):
                fields["labels"] = ()
        elif name in ("target", "metric", "validation", "train", "scale"):
            fields[name] = value
            if name == "target" and value[:1].isalpha():
                fields["metric"] = None  # it names its own
        else:
            raise BadInput(f"{name!r} cannot be changed here", fix=CONFIRM)
        return edited(task, instruction, examples, **fields), settings

    async def work(self, task: TaskSpec, settings: Settings, run_dir: Path) -> int:
        """The run, printed as ``p2m run`` prints it, with the person's lines as they come."""
        from agent.commands import write_report_of
        from agent.loop import run
        from agent.session import parts_for
        from agent.steer import Mailbox

        controls, printer = Controls(), Printer(self.out, run_dir, color=False)
        questions: asyncio.Queue[asyncio.Future[str]] = asyncio.Queue()

        async def ask(question: str) -> str:
            self.say(question)
            answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            questions.put_nowait(answer)
            return await answer

        async def approve(request: Request) -> bool:
            return (await ask(f"{request.words}. May it run? yes or no")).strip().lower() in ("y", "yes")

        parts = parts_for(run_dir, settings, task=task, ask=ask, approve=approve)
        parts.controls = controls
        self.say("Type a message at any time; /help lists the commands.")

        async def drive() -> int:
            code = EXIT_INTERRUPTED
            async for event in run(parts):
                printer.show(event)
                if isinstance(event, RunEnded):
                    code = event.exit_code
            return code

        driving = asyncio.create_task(drive())
        hearing = asyncio.create_task(self._hear(controls, questions, driving))
        ears = asyncio.create_task(Mailbox(run_dir, controls, driving.cancel).listen())
        try:
            return await driving
        except asyncio.CancelledError:
            self.say(f"cancelled, nothing is lost. Go on with: p2m resume {run_dir}")
            return EXIT_INTERRUPTED
        finally:
            hearing.cancel()
            ears.cancel()
            await write_report_of(run_dir)

    async def _hear(
        self, controls: Controls, questions: asyncio.Queue[asyncio.Future[str]], driving: asyncio.Task[int]
    ) -> None:
        while (said := await self.lines.line()) is not None:
            if not questions.empty():
                questions.get_nowait().set_result(said)
                continue
            try:
                self._obey(said.strip(), controls, driving)
            except P2MError as error:
                self.say(str(error))
        while True:  # nobody is there any more: a question gets no answer, an approval no yes
            (await questions.get()).set_result("")

    def _obey(self, said: str, controls: Controls, driving: asyncio.Task[int]) -> None:
        from agent.session import read_limits
        from p2m.task.draft import Place
        from p2m.task.fields import read_target

        command, _, rest = said.partition(" ")
        if command == "/pause":
            controls.pause()
        elif command == "/go":
            controls.go_on()
        elif command == "/stop":
            controls.stop()
        elif command == "/skip":
            self.say("cancelled the call" if controls.skip() else "no call runs now")
        elif command in ("/cancel", "/quit"):
            driving.cancel()
        elif command == "/target":
            controls.change(target=read_target(rest, Place("/target"))[0])
        elif command == "/budget":
            pairs = dict(part.partition("=")[::2] for part in rest.split())
            if not pairs or any(name not in ("minutes", "examples", "usd", "tokens", "steps") for name in pairs):
                raise BadInput("say which limits", where="/budget", fix="For example /budget minutes=30 examples=200")
            controls.change(budget=read_limits(dict(pairs)).model_dump(exclude_none=True))
        elif command.startswith("/"):
            self.say(COMMANDS)
        elif said:
            controls.say(said)
            self.say("the planner reads that at its next turn")


async def converse(options: argparse.Namespace) -> int:
    """One conversation; the exit code of its run, 0 where the person left before it."""
    chat = PlainChat(options, Lines(sys.stdin), sys.stdout)
    task = await chat.task()
    agreed = await chat.confirm(task) if task else None
    if agreed is None:
        return 0
    return await chat.work(*agreed, new_run_dir(agreed[0].name, options.out))


def main(options: argparse.Namespace) -> int:
    """The whole of ``p2m chat --plain``; the exit codes are those of ``p2m run``."""
    from agent.session import quiet_libraries

    quiet_libraries()

    try:
        return asyncio.run(converse(options))
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
