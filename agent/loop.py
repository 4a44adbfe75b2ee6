"""The loop: planner, tool calls, results, verdict; until code says that it is over. Then deliver."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent import approval, guard
from agent.approval import AskApproval
from agent.budget import Left, left
from agent.controls import Controls, Skipped
from agent.events import (
    ApprovalAsked,
    Approved,
    Event,
    PlannerSpoke,
    RunEnded,
    RunResumed,
    RunStarted,
    TextDelta,
    ToolFinished,
    ToolProgress,
    ToolStarted,
    Verdict,
)
from agent.journal import Journal
from agent.judge import judge
from agent.meter import Meter
from agent.planner import Planner, Turn, View, menu_of
from agent.referee import closing, obligation, referee_tools
from agent.settings import Settings
from agent.state import Call, RunState, fold
from p2m import __version__
from p2m.catalog.models import any_models
from p2m.errors import (
    EXIT_BELOW_TARGET,
    EXIT_INTERNAL,
    EXIT_MET,
    EXIT_PROVIDER,
    BadInput,
    BudgetExceeded,
    P2MError,
    ProviderError,
    ToolFailure,
)
from p2m.store import Store
from p2m.task.spec import TaskSpec
from tools.base import Facts, Tool, ToolContext, ToolResult

if TYPE_CHECKING:
    from p2m.catalog.base import Catalog
    from p2m.llm.client import ChatModel
    from p2m.llm.hooks import Hooks

PROGRESS_SECONDS = 1.0


@dataclass
class Parts:
    """What a run works with. ``open_models(hooks)`` gives the planner and the teacher, wired to the run's meter;
    ``ask`` and ``approve`` reach the person where there is one, ``controls`` is how the person reaches the run."""

    run_dir: Path
    open_models: Callable[[Hooks], tuple[Planner, ChatModel | None]]
    policy: Planner
    tools: dict[str, Tool]
    catalog: Catalog | None = None
    ask: Callable[[str], Awaitable[str]] | None = None
    task: TaskSpec | None = None
    settings: Settings | None = None
    new_budget: dict[str, Any] = field(default_factory=dict)
    approve: AskApproval | None = None
    controls: Controls = field(default_factory=Controls)


async def run(parts: Parts) -> AsyncIterator[Event]:
    """Start the run in ``parts.run_dir``, or take it up where its journal ends; yields events as they are written.

    Cancelling is safe at any moment: the open call is run again on resume. Raises ``P2MError`` for a damaged or
    locked journal and for a full disk.
    """
    journal = Journal(parts.run_dir)
    queue: asyncio.Queue[Event | None] = asyncio.Queue()
    try:
        loop = _Loop(parts, journal, queue.put_nowait)
        worker = asyncio.create_task(loop.drive())
        worker.add_done_callback(lambda _: queue.put_nowait(None))
        try:
            while (event := await queue.get()) is not None:
                yield event
            await worker
        finally:
            worker.cancel()
            loop.ears.cancel()
            await asyncio.gather(worker, loop.ears, return_exceptions=True)
            await loop.close()
    finally:
        journal.close()


def _thinks(planner: Planner) -> bool:
    """Not a small model of this machine, which takes what the menu offers (docs/adr/0002)."""
    model = getattr(planner, "model", None)
    return model is not None and not model.is_local


class _Loop:
    def __init__(self, parts: Parts, journal: Journal, publish: Callable[[Event], None]) -> None:
        self.parts, self.journal, self.publish = parts, journal, publish
        self.meter = Meter(self.emit, self.left)
        self.store = Store(parts.run_dir / "artifacts")
        self.tools = {**parts.tools, **referee_tools()}
        self.state = self._begin()
        self.planner, self.teacher = parts.open_models(self.meter.hooks())
        self._progress_at = 0.0
        self.ears = asyncio.create_task(self._listen())

    def _begin(self) -> RunState:
        state = fold(self.journal.records)
        if state is None:
            if self.parts.task is None or self.parts.settings is None:
                raise P2MError(f"{self.parts.run_dir} has no task yet: start it with p2m run")
            task, settings = self.parts.task, self.parts.settings
            started = RunStarted(task.model_dump(mode="json"), settings.model_dump(mode="json"), __version__)
            self.journal.append(started)
            self.publish(started)
            state = fold(self.journal.records)
            assert state is not None
        elif self.parts.new_budget or state.ended is None or state.ended.status != "met":
            resumed = RunResumed(self.parts.new_budget)
            state = state.apply(self.journal.append(resumed))
            self.publish(resumed)
        return state

    def emit(self, event: Event) -> None:
        """Journal first, then the world."""
        if not isinstance(event, TextDelta):
            self.state = self.state.apply(self.journal.append(event))
        self.publish(event)

    def left(self) -> Left:
        return left(self.state, self.journal.seconds)

    def facts(self) -> Facts:
        return Facts(
            has_catalog=self.parts.catalog is not None,
            has_teacher=self.teacher is not None,
            has_person=self.parts.ask is not None,
            generation_ended=self.state.generation_ended,
            examples_left=self.left().examples,
            has_models=any_models(self.parts.catalog.models if self.parts.catalog else None),
            kind_is_open=self.state.task.kind_is_inferred and _thinks(self.planner),
        )

    async def close(self) -> None:
        for model in (self.teacher, getattr(self.planner, "model", None)):
            if model is not None:
                await model.close()

    async def drive(self) -> None:
        """One action after another, each chosen from the state alone."""
        while self.state.ended is None:
            await asyncio.sleep(0)
            await self._may_go_on()
            if call := self.state.open_call:
                await self.execute(call)
            elif self.state.verdict is not None:
                if (step := closing(self.state)) is not None:
                    await self.execute(step)
                else:
                    self.emit(self._ending(self.state.verdict))
            elif verdict := judge(self.state, self.journal.seconds):
                self.emit(verdict)
            elif (needed := obligation(self.state, next(iter(self.state.waiting), None))) is not None:
                await self.execute(needed)
            elif waiting := self.state.waiting:
                await self.execute(waiting[0])
            elif verdict := guard.ends_generation(self.state) or guard.hands_over(self.state):
                self.emit(verdict)
            else:
                await self.ask_planner()

    async def _listen(self) -> None:
        """What the person says is in the journal at once, also while a tool works."""
        while True:
            await self.parts.controls.news()
            self._hear()

    def _hear(self) -> None:
        for event in self.parts.controls.take():
            self.emit(event)

    async def _may_go_on(self) -> None:
        """Waits out a pause, which is no work. Raises what stopped the listening."""
        if self.ears.done():
            self.ears.result()
        if self.parts.controls.paused:
            self._hear()
            self.journal.stop_clock()
            try:
                await self.parts.controls.going()
            finally:
                self.journal.start_clock()
        self._hear()

    async def ask_planner(self) -> None:
        planner = self.parts.policy if self.state.handed_over else self.planner
        facts = self.facts()
        view = View(self.state, left(self.state), facts, menu_of(self.parts.tools, self.state, facts))
        if not view.menu:
            self.emit(Verdict("no_way", "no tool can be called any more"))
            return
        try:
            turn = await planner.turn(view, lambda text: self.publish(TextDelta(text)))
        except BudgetExceeded as error:
            self.meter.flush()
            self.emit(Verdict("budget", str(error)))
            return
        except ProviderError as error:
            self.meter.flush()
            self.emit(Verdict("handover", f"the planner failed ({error}): the policy planner goes on from here"))
            return
        self.meter.flush()
        self.emit(self._spoken(planner, turn))

    def _spoken(self, planner: Planner, turn: Turn) -> PlannerSpoke:
        number = len(self.state.turns) + 1
        calls = tuple(
            {"id": f"t{number}.{i}", "tool": tool, "arguments": arguments}
            for i, (tool, arguments) in enumerate(turn.calls, 1)
        )
        malformed = turn.malformed if turn.malformed or calls else "it named no tool call"
        return PlannerSpoke(number, planner.by, planner.name, turn.text, calls, malformed, turn.prompt)

    async def execute(self, call: Call) -> None:
        """Run one call to its ``ToolFinished``. A call that may not run is finished with its reason."""
        tool = self.tools.get(call.tool)
        if not call.started:
            self.emit(ToolStarted(call.id, call.tool, call.arguments, call.by, call.why))
        started = time.monotonic()

        def finished(text: str, error: str | None = None, result: ToolResult | None = None) -> None:
            self.meter.flush()
            display, data = (result.display, result.data) if result else ("", {})
            seconds = round(time.monotonic() - started, 3)
            self.emit(ToolFinished(call.id, text, display, data, error, seconds))

        if refusal := self._refusal(tool, call):
            finished(refusal[1], refusal[0])
            return
        assert tool is not None
        if denial := await self._approval(call):
            finished(denial, "budget")
            return
        work = asyncio.create_task(
            asyncio.wait_for(tool.fn(self.context(call), **call.arguments), tool.timeout_seconds)
        )
        try:
            result = await self.parts.controls.skippable(work)
        except Skipped:
            finished(f"the person cancelled {call.tool}: do something else", "cancelled")
        except ToolFailure as error:
            finished(str(error), error.kind)
        except BudgetExceeded as error:
            finished(str(error), "budget")
        except ProviderError as error:
            finished(str(error), "provider")
        except TimeoutError:
            finished(f"{call.tool} was stopped after {tool.timeout_seconds:.0f} s", "timeout")
        except BadInput as error:
            if call.by == "referee":  # the user's own file: no other call can help
                self.meter.flush()
                raise
            finished(str(error), "invalid_args")
        except P2MError:
            self.meter.flush()
            raise
        except asyncio.CancelledError:
            self.meter.flush()  # the cache answers these calls from now on, at no cost: this is where they were paid
            raise
        except Exception as error:
            with (self.parts.run_dir / "crash.log").open("a", encoding="utf-8") as log:
                log.write(f"{call.id} {call.tool}\n{traceback.format_exc()}\n")
            finished(f"{call.tool} crashed: {type(error).__name__}: {str(error)[:300]} (see crash.log)", "crash")
        else:
            finished(result.text, None, result)

    def _refusal(self, tool: Tool | None, call: Call) -> tuple[str, str] | None:
        # The referee's steps open held-out rows: no planner runs them by knowing their names.
        if tool is None or (call.by != "referee" and call.tool not in self.parts.tools):
            return "unknown_tool", f"there is no tool {call.tool}; there are: {', '.join(self.parts.tools)}"
        if call.by == "referee":
            return None
        if problem := tool.precondition(self.state.workspace, self.facts()):
            return "precondition", problem
        if problems := tool.check(call.arguments, self.state.workspace):
            return "invalid_args", "; ".join(problems)
        if problem := guard.refuses(self.state, call):
            return "precondition", problem
        return None

    async def _approval(self, call: Call) -> str | None:
        """Why the call may not spend what it would; None where it may."""
        rule, request = self.state.settings.approve, approval.needed(self.state, call)
        if request is None:
            return None
        allowed = next(c.approved for c in self.state.calls if c.id == call.id)
        if allowed is None:
            ask = self.parts.approve if rule.mode == "ask" else None
            if ask:
                self.emit(ApprovalAsked(call.id, request.words))
            self.journal.stop_clock()  # a person who thinks it over does not use up the time
            try:
                allowed = await ask(request) if ask else False
            finally:
                self.journal.start_clock()
            self.emit(Approved(call.id, allowed, request.words))
        return None if allowed else approval.refusal(request, rule)

    def context(self, call: Call) -> ToolContext:
        def progress(text: str, fraction: float | None = None) -> None:
            if time.monotonic() - self._progress_at >= PROGRESS_SECONDS or fraction == 1.0:
                self._progress_at = time.monotonic()
                self.emit(ToolProgress(call.id, text, fraction))

        return ToolContext(
            task=self.state.task,
            workspace=self.state.workspace,
            store=self.store,
            run_dir=self.parts.run_dir,
            seed=self.state.settings.seed,
            teacher=self.teacher,
            catalog=self.parts.catalog,
            progress=progress,
            examples_left=lambda: self.left().examples,
            seconds_left=lambda: self.left().seconds,
            ask=self.parts.ask,
        )

    def _ending(self, verdict: Verdict) -> RunEnded:
        task = self.state.task
        last = next(
            (c for c in reversed(self.state.calls) if c.tool in ("deliver", "fine_tune", "hold_out", "baselines")), None
        )
        provider_failed = any(c.error == "provider" for c in self.state.calls[-4:])
        provider_down = verdict.kind == "no_way" and provider_failed
        if verdict.kind == "stopped" and not self.state.workspace.experiments:
            return RunEnded("below", EXIT_BELOW_TARGET, f"{verdict.text}, before anything was trained")
        if last is None or last.error or last.data is None or "test" not in last.data:
            why = last.text if last else verdict.text
            if provider_failed:
                return RunEnded("provider", EXIT_PROVIDER, f"nothing could be delivered: {verdict.text}")
            if verdict.kind == "budget" or (last and last.error == "budget"):
                text = f"nothing could be delivered within the budget: {verdict.text}"
                return RunEnded("below", EXIT_BELOW_TARGET, text)
            return RunEnded("failed", EXIT_INTERNAL, f"nothing could be delivered: {why}")
        estimate = self.state.estimate
        assert estimate is not None
        found = f"{estimate.metric} {estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}] on {estimate.rows}"
        if task.target is None:
            return RunEnded("met", EXIT_MET, f"delivered: {found} (no target was set)")
        # A target that was lowered on the way is said so wherever the run's end is told.
        first = self.state.first_target
        goal = f"{task.target:g}" + (f" (changed on the way, {first:g} at first)" if first is not None else "")
        if estimate.value >= task.target:
            return RunEnded("met", EXIT_MET, f"target {goal} met: {found}")
        if provider_down:
            return RunEnded("provider", EXIT_PROVIDER, f"{verdict.text}; delivered the best so far: {found}")
        return RunEnded("below", EXIT_BELOW_TARGET, f"below the target {goal}: {found}; {verdict.text}")
