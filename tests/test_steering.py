"""What a person says to a run while it works: heard at once, kept in the journal, and the same after a resume."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from agent import journal
from agent.approval import Request
from agent.controls import Controls
from agent.events import (
    Approved,
    Event,
    GoalChanged,
    Paused,
    Review,
    RowsReviewed,
    StopAsked,
    ToolFinished,
    ToolStarted,
    UserSpoke,
)
from agent.loop import Parts, run
from agent.planner import Turn, View
from agent.planner_policy import PolicyPlanner
from agent.runs import load_state
from agent.settings import Approve, Settings
from agent.state import RunState
from agent.steer import FILE, Mailbox, send
from p2m.errors import BadInput
from p2m.rows import Row, provenance
from p2m.store import Store
from p2m.task.spec import Example, TaskSpec
from tests.conftest import ROOT
from tools.base import ToolContext, ToolResult, tool
from tools.workspace import DataInfo

TASK = TaskSpec(
    name="tone",
    instruction="Say whether it is good or bad.",
    kind="classify",
    labels=("good", "bad"),
    examples=(Example(input="Lovely", output="good"), Example(input="Awful", output="bad")),
    target=0.9,
)
ROWS = [Row(f"It was number {n}", "good" if n % 2 else "bad", "generated") for n in range(6)]
SERVER = "http://127.0.0.1:9/v1#teacher"


@tool()
async def write(ctx: ToolContext) -> ToolResult:
    """Six rows."""
    ctx.store.save_rows("ds_00000001", ROWS, {"written": len(ROWS), "removed": {}})
    info = DataInfo("ds_00000001", "generated", len(ROWS), {"good": 3, "bad": 3}, {})
    return ToolResult("six rows", data={"dataset": info.__dict__, "written": len(ROWS)})


@tool()
async def wait(ctx: ToolContext, *, seconds: float) -> ToolResult:
    """A child process that works a while, as training does."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", f"import time; time.sleep({seconds})", start_new_session=True
    )
    (ctx.run_dir / "pid").write_text(str(process.pid))
    try:
        await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return ToolResult("waited")


@tool()
async def check_labels(ctx: ToolContext, *, dataset: str = "all") -> ToolResult:
    """Costs money, were there a teacher."""
    return ToolResult("checked")


TOOLS = {t.name: t for t in (write, wait, check_labels)}
CHECK = ("check_labels", {"dataset": "all"})
OTHER = ("check_labels", {"dataset": "ds_00000001"})
Plan = Sequence[tuple[str, dict[str, Any]]]


class Planned:
    """Says the calls of a plan in order, then stops the run; writes down what it had been told when it was asked."""

    name, by = "planned", "planner"

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.told: list[tuple[str, ...]] = []
        self.controls = Controls()

    async def turn(self, view: View, on_text: Callable[[str], None]) -> Turn:
        self.told.append(view.state.user_said)
        done = len(view.state.turns)
        if done < len(self.plan):
            return Turn("next", (self.plan[done],))
        self.controls.stop()
        return Turn("nothing more")


def parts(run_dir: Path, planner: Planned, **more: Any) -> Parts:
    settings = Settings(planner="policy", teacher=SERVER, approve=more.pop("rule", Approve()))
    planner.controls = Controls()
    return Parts(
        run_dir,
        lambda hooks: (planner, None),  # type: ignore[arg-type, return-value]
        PolicyPlanner(),
        TOOLS,
        task=TASK,
        settings=settings,
        controls=planner.controls,
        **more,
    )


def quiet(event: Event, controls: Controls) -> None:
    """No steering."""


def drive(given: Parts, on: Callable[[Event, Controls], None] = quiet, seconds: float = 20) -> list[Event]:
    """The events of the whole run; ``on`` may steer at each."""

    async def whole() -> list[Event]:
        seen = []
        async for event in run(given):
            seen.append(event)
            on(event, given.controls)
        return seen

    return asyncio.run(asyncio.wait_for(whole(), seconds))


def finished(events: Sequence[Event], number: int = 0) -> ToolFinished:
    return [e for e in events if isinstance(e, ToolFinished)][number]


def stop_after(of: str) -> Callable[[Event, Controls], None]:
    def on(event: Event, controls: Controls) -> None:
        if isinstance(event, ToolFinished) and event.id == of:
            controls.stop()

    return on


def test_a_message_reaches_the_planner_at_its_next_turn_and_the_journal_at_once(tmp_path: Path) -> None:
    planner = Planned([("wait", {"seconds": 0.3}), ("write", {})])

    def on(event: Event, controls: Controls) -> None:
        if isinstance(event, ToolStarted) and event.tool == "wait":
            controls.say("  shorter texts, please ")

    events = drive(parts(tmp_path, planner), on)
    assert planner.told[:2] == [(), ("shorter texts, please",)]
    kinds = [type(e).__name__ for e in events]
    assert kinds.index("UserSpoke") < kinds.index("ToolFinished"), "heard while the tool was still at work"
    assert [r.event for r in journal.read(tmp_path / journal.FILE)] == events


def test_stop_ends_after_the_step_and_a_resume_goes_on(tmp_path: Path) -> None:
    planner = Planned([("write", {}), ("wait", {"seconds": 0.0}), ("write", {})])
    drive(parts(tmp_path, planner), stop_after("t2.1"))
    state = load_state(tmp_path)
    assert state.verdict is not None and state.verdict.kind == "stopped"
    assert state.ended is not None and state.ended.exit_code == 3 and "stop" in state.ended.text
    assert [c.tool for c in state.calls] == ["write", "wait"], "nothing is trained that nobody asked for"
    drive(parts(tmp_path, planner))
    assert [c.tool for c in load_state(tmp_path).calls] == ["write", "wait", "write"]


def test_a_stop_that_a_crash_cut_off_still_holds(tmp_path: Path) -> None:
    planner = Planned([("write", {}), ("write", {})])
    drive(parts(tmp_path, planner), stop_after("t1.1"))
    whole = load_state(tmp_path).essence()
    lines = (tmp_path / journal.FILE).read_bytes().splitlines(keepends=True)
    asked = next(n for n, line in enumerate(lines, 1) if b'"type": "StopAsked"' in line)
    for cut in range(asked, len(lines)):
        (tmp_path / journal.FILE).write_bytes(b"".join(lines[:cut]))
        drive(parts(tmp_path, planner))
        assert load_state(tmp_path).essence() == whole, f"resumed after {cut} events"


def test_pause_waits_before_the_next_step_and_is_no_work(tmp_path: Path) -> None:
    planner = Planned([("write", {}), ("write", {})])
    paused_for = 0.6

    def on(event: Event, controls: Controls) -> None:
        if isinstance(event, ToolFinished) and event.id == "t1.1":
            controls.pause()
        if event == Paused(True):
            controls.say("still there?")  # heard in the pause too
            asyncio.get_running_loop().call_later(paused_for, controls.go_on)

    events = drive(parts(tmp_path, planner), on)
    kinds = [type(e).__name__ for e in events]
    pause, go_on = events.index(Paused(True)), events.index(Paused(False))
    assert "ToolStarted" not in kinds[pause:go_on] and UserSpoke("still there?") in events[pause:go_on]
    assert load_state(tmp_path).seconds < paused_for, "the clock stood still"
    assert not load_state(tmp_path).paused


def test_skip_ends_the_child_process_and_the_run_goes_on(tmp_path: Path) -> None:
    planner = Planned([("wait", {"seconds": 60}), ("write", {})])

    def on(event: Event, controls: Controls) -> None:
        if isinstance(event, ToolStarted) and event.tool == "wait":
            asyncio.get_running_loop().call_later(0.4, controls.skip)

    events = drive(parts(tmp_path, planner), on)
    assert finished(events).error == "cancelled" and finished(events, 1).error is None
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    assert not Controls().skip(), "nothing runs, nothing to skip"


def test_target_and_budget_change_on_the_way(tmp_path: Path) -> None:
    planner = Planned([("write", {}), ("write", {})])

    def on(event: Event, controls: Controls) -> None:
        if isinstance(event, ToolFinished) and event.id == "t1.1":
            controls.change(target=0.8, budget={"steps": 2})

    drive(parts(tmp_path, planner), on)
    state = load_state(tmp_path)
    assert state.task.target == 0.8 and state.first_target == 0.9 and state.limits.steps == 2
    assert state.verdict is not None and state.verdict.kind == "budget", "two steps were all it had"


RULE = Approve(mode="ask", usd=0.01)


@pytest.fixture
def prices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "prices.json").write_text('{"teacher": [100, 100]}')
    monkeypatch.setenv("P2M_PRICES", str(tmp_path / "prices.json"))


@pytest.mark.parametrize("allowed", [True, False])
def test_a_dear_call_waits_for_a_yes(tmp_path: Path, prices: None, allowed: bool) -> None:
    asked: list[Request] = []

    async def approve(request: Request) -> bool:
        asked.append(request)
        return allowed

    planner = Planned([("write", {}), CHECK])
    folder = tmp_path / "run"
    events = drive(parts(folder, planner, approve=approve, rule=RULE))
    assert [r.tool for r in asked] == ["check_labels"]
    assert asked[0].usd == pytest.approx(6 * 694 * 100e-6), "six rows, so many tokens each, at this price"
    assert any(isinstance(e, Approved) and e.allowed == allowed for e in events)
    result = finished(events, 1)
    assert (result.error is None) == allowed
    assert allowed or "the person said no" in result.text
    # The answer is in the journal: a resume that finds the call open does not ask again.
    lines = (folder / journal.FILE).read_bytes().splitlines(keepends=True)
    cut = next(n for n, line in enumerate(lines, 1) if b'"type": "Approved"' in line)
    (folder / journal.FILE).write_bytes(b"".join(lines[:cut]))
    drive(parts(folder, planner, approve=approve, rule=RULE))
    assert len(asked) == 1 and load_state(folder).calls[1].error == result.error


def test_never_refuses_without_asking_and_cheap_calls_run(tmp_path: Path, prices: None) -> None:
    planner = Planned([("write", {}), CHECK, ("wait", {"seconds": 0})])
    rule = Approve(mode="never", usd=0.1)
    events = drive(parts(tmp_path / "run", planner, rule=rule))
    assert finished(events, 1).error == "budget" and "--approve never" in finished(events, 1).text
    assert finished(events, 0).error is None and finished(events, 2).error is None


def test_an_unknown_price_is_asked_about_once(tmp_path: Path) -> None:
    asked: list[Request] = []

    async def approve(request: Request) -> bool:
        asked.append(request)
        return True

    planner = Planned([("write", {}), CHECK, OTHER])
    drive(parts(tmp_path, planner, approve=approve, rule=RULE))
    assert len(asked) == 1 and asked[0].usd is None and "not known" in asked[0].words


REVIEWS = (
    Review(ROWS[0].input, "bad", "relabel", "good"),
    Review(ROWS[1].input, "good", "reject"),
    Review(ROWS[2].input, "bad", "accept"),
)


def reviewed(run_dir: Path, reviews: Sequence[Review]) -> tuple[RunState, dict[str, Row]]:
    def on(event: Event, controls: Controls) -> None:
        if isinstance(event, ToolFinished) and event.id == "t1.1":
            controls.review(reviews)

    drive(parts(run_dir, Planned([("write", {}), ("wait", {"seconds": 0})])), on)
    state, store = load_state(run_dir), Store(run_dir / "artifacts")
    return state, {row.input: row for d in state.workspace.datasets for row in store.rows(d.handle)}


def test_reviewed_rows_become_training_signal(tmp_path: Path) -> None:
    state, rows = reviewed(tmp_path, REVIEWS)
    assert len(rows) == 5 and ROWS[1].input not in rows
    assert rows[ROWS[0].input].output == "good"
    assert provenance(rows[ROWS[0].input]) == "written by the teacher, relabelled by the user (its label was bad)"
    assert provenance(rows[ROWS[2].input]) == "written by the teacher, accepted by the user"
    rest, judged = state.workspace.datasets
    assert (rest.rows, rest.checked, rest.removed) == (3, False, {"rejected_by_user": 1})
    assert (judged.rows, judged.checked) == (2, True), "what a person said is not checked again"
    step = next(c for c in state.calls if c.tool == "apply_reviews")
    assert step.by == "referee" and step.text.endswith("1 accepted, 1 relabelled, 1 rejected")


def test_a_review_with_a_label_that_is_none_changes_nothing(tmp_path: Path) -> None:
    state, rows = reviewed(tmp_path, (Review(ROWS[0].input, "bad", "relabel", "ugly"),))
    assert {r.output for r in rows.values()} == {"good", "bad"} and len(rows) == 6
    step = next(c for c in state.calls if c.tool == "apply_reviews")
    assert step.error == "invalid_args" and "ugly" in step.text
    assert [c.tool for c in state.calls] == ["write", "apply_reviews", "wait"], "and the run goes on"


@pytest.mark.parametrize(("answer", "stands"), [('["good"]', True), ("[]", True), ('["ugly"]', False)])
def test_a_review_of_label_sets(tmp_path: Path, answer: str, stands: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    sets = [Row(row.input, f'["{row.output}"]', row.source) for row in ROWS]
    monkeypatch.setattr(sys.modules[__name__], "ROWS", sets)
    monkeypatch.setattr(sys.modules[__name__], "TASK", TASK.model_copy(update={"multi_label": True}))
    _, rows = reviewed(tmp_path, (Review(sets[0].input, sets[0].output, "relabel", answer),))
    assert (rows[sets[0].input].output == answer) == stands


def test_resume_from_every_prefix_of_a_steered_run(tmp_path: Path) -> None:
    whole, _ = reviewed(tmp_path, REVIEWS)
    lines = (tmp_path / journal.FILE).read_bytes().splitlines(keepends=True)
    begin = next(n for n, line in enumerate(lines, 1) if b'"type": "RowsReviewed"' in line)
    for cut in range(begin, len(lines)):
        (tmp_path / journal.FILE).write_bytes(b"".join(lines[:cut]))
        drive(parts(tmp_path, Planned([("write", {}), ("wait", {"seconds": 0})])))
        assert load_state(tmp_path).essence() == whole.essence(), f"resumed after {cut} events"


def test_a_tail_reads_each_record_once_and_waits_for_whole_lines(tmp_path: Path) -> None:
    book = journal.Journal(tmp_path)
    tail = journal.Tail(book.path)
    assert tail.new() == []
    book.append(UserSpoke("one"))
    book.append(UserSpoke("two"))
    assert [r.event for r in tail.new()] == [UserSpoke("one"), UserSpoke("two")]
    book.close()
    line = book.path.read_bytes().splitlines(keepends=True)[-1]
    with book.path.open("ab") as file:
        file.write(line[:20])
    assert tail.new() == []
    book = journal.Journal(tmp_path)  # cuts the torn line
    book.append(UserSpoke("three"))
    assert [r.event for r in tail.new()] == [UserSpoke("three")]
    book.close()


def test_what_other_processes_send_is_heard_and_nonsense_is_not(tmp_path: Path) -> None:
    book = journal.Journal(tmp_path)
    send(tmp_path, say="before the mailbox was there")
    controls = Controls()
    box = Mailbox(tmp_path, controls)
    for command in (
        {"say": "hello"},
        {"pause": True},
        {"pause": False},
        {"change": {"target": 0.7, "budget": {"minutes": 5, "unknown": 1}}},
        {"review": [{"input": "a", "output": "good", "verdict": "reject"}]},
        {"stop": True},
    ):
        send(tmp_path, **command)
    nonsense = ("[]", "{", '{"say": 1, "stop": 2}', '{"change": {"target": 7}}', '{"review": [{"verdict": "burn"}]}')
    assert not any(box.take(line) for line in (*nonsense, '{"approve": true}', '{"rm": "-rf"}'))
    assert all(box.take(line) for line in box._new_lines())
    assert controls.take() == [
        UserSpoke("hello"),
        Paused(True),
        Paused(False),
        GoalChanged(0.7, {"minutes": 5.0}),
        RowsReviewed((Review("a", "good", "reject"),)),
        StopAsked(),
    ]
    ended: list[bool] = []
    assert not box.take('{"cancel": true}'), "nobody said how"
    assert Mailbox(tmp_path, controls, lambda: ended.append(True)).take('{"cancel": true}') and ended
    assert (tmp_path / FILE).stat().st_mode & 0o077 == 0, "nobody else may steer the run"
    book.close()
    with pytest.raises(BadInput, match="no process works on this run"):
        send(tmp_path, say="is anybody there?")


def test_p2m_tell_steers_a_run_in_another_process(tmp_path: Path) -> None:
    tell = [sys.executable, "-m", "agent.cli", "tell", str(tmp_path / "run")]

    def said(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*tell, *words], capture_output=True, text=True, cwd=ROOT, timeout=60)

    given = parts(tmp_path / "run", Planned([("wait", {"seconds": 60}), ("write", {})]))
    seen: list[Event] = []

    async def whole() -> None:
        ears = asyncio.create_task(Mailbox(given.run_dir, given.controls).listen())
        async for event in run(given):
            seen.append(event)
            if isinstance(event, ToolStarted) and event.tool == "wait":
                done = await asyncio.to_thread(said, "shorter", "--skip", "--target", "0.8")
                assert done.returncode == 0, done.stderr
        ears.cancel()

    asyncio.run(asyncio.wait_for(whole(), 60))
    assert UserSpoke("shorter") in seen and GoalChanged(0.8, {}) in seen
    assert finished(seen).error == "cancelled"
    late = said("too late")
    assert late.returncode == 2 and len(late.stderr.splitlines()) == 1
    assert said().returncode == 2, "nothing to tell"
