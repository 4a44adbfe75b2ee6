"""What each screen looks like, at the smallest terminal and at a usual one. pytest --snapshot-update accepts a change.

The pictures depend on Textual's version, which constraints.txt pins.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import DataTable, Static

from agent.runs import load_state
from agent.tryout import spans_of
from agent.tui.app import P2MApp
from agent.tui.dialogs import AskDialog, ChangeDialog, LeaveDialog, YesDialog
from agent.tui.prompt import Prompt
from agent.tui.rows import AnswerDialog, LabelDialog
from agent.tui.source import Replay
from agent.tui.tryit import TryScreen, shown
from agent.tui.work import WorkScreen, open_run
from p2m.outputs import Span, format_spans
from p2m.rows import Row
from p2m.task.spec import TaskSpec
from tests.scripted_run import TASK, finished_run, unfinished_run
from tests.tui.screens import LARGE, SMALL, options, settled, until

pytest.importorskip("pytest_textual_snapshot", reason="needs pytest-textual-snapshot: pip install -e '.[dev]'")
DRAWN_WITH = "8.2.8"
pytestmark = pytest.mark.skipif(version("textual") != DRAWN_WITH, reason=f"the pictures are of Textual {DRAWN_WITH}")
RUN = Path("runs/question-type")
SPANS = TaskSpec(name="places", instruction="Find places.", kind="extract", labels=("city",))
WHO = {"planner": "local:qwen2.5-coder-1.5b", "teacher": "openai:gpt-5-mini"}
"""What ``auto`` stands for depends on the machine."""


async def home(pilot: Pilot[int]) -> None:
    await until(pilot, "interrupted")


async def talk(pilot: Pilot[int]) -> None:
    pilot.app.screen.query_one(Prompt).load_text("Sort what customers write to us. At least 90%.")
    await pilot.press("enter")
    await until(pilot, "Which answers are there to choose from?")


async def card(pilot: Pilot[int]) -> None:
    from agent.tui.task_card import TaskScreen

    pilot.app.push_screen(TaskScreen(TASK))
    await until(pilot, "Is this the task?")


async def work(pilot: Pilot[int]) -> None:
    pilot.app.push_screen(open_run(RUN))
    await until(pilot, "F5 try the model")
    await settled(pilot)


def then(*keys: str, waits_for: str) -> Callable[[Pilot[int]], Awaitable[None]]:
    async def press(pilot: Pilot[int]) -> None:
        await work(pilot)
        await pilot.press(*keys)
        await until(pilot, waits_for)

    return press


async def scores(pilot: Pilot[int]) -> None:
    await work(pilot)
    if pilot.app.size.width < 100:
        await pilot.press("f2")
    pilot.app.screen.query_one(DataTable).focus()
    await settled(pilot)


async def diff(pilot: Pilot[int]) -> None:
    await scores(pilot)
    await pilot.press("down", "enter")
    await until(pilot, "against")


async def runs(pilot: Pilot[int]) -> None:
    await pilot.press("ctrl+r")
    await until(pilot, "2 of 2 runs")


async def tried(pilot: Pilot[int]) -> None:
    """The screen with answers as the model's process gives them; no model is loaded."""

    class Tried(TryScreen):
        def _serve(self) -> None:  # type: ignore[override]
            said = "Who built the tower of London?"
            near = [
                {"text": f"Who built {what}?", "output": "human", "from": "written by the teacher", "similarity": share}
                for what, share in (("the great wall", 0.81), ("the first bridge over the Thames", 0.74))
            ]
            probs = {"human": 0.91, "entity": 0.06, "description": 0.03}
            answer = {"kind": "classify", "output": "human", "probs": probs, "spans": [], "nearest": near}
            self.query_one("#answer", Static).update(shown(said, answer))

    await pilot.app.push_screen(Tried(RUN))
    await until(pilot, "nearest training rows")


async def found(pilot: Pilot[int]) -> None:
    """The same for spans."""
    await tried(pilot)
    text = "Ann met Bob in Rome."
    spans = spans_of("extract", text, format_spans([Span(0, 3, "person", "Ann"), Span(15, 19, "city", "Rome")]))
    answer = {"kind": "extract", "output": "[]", "probs": None, "spans": spans, "nearest": []}
    pilot.app.screen.query_one("#answer", Static).update(shown(text, answer))


def dialog(screen: Screen[Any], waits_for: str) -> Callable[[Pilot[int]], Awaitable[None]]:
    async def put(pilot: Pilot[int]) -> None:
        await work(pilot)
        pilot.app.push_screen(screen)
        await until(pilot, waits_for)

    return put


async def live(pilot: Pilot[int]) -> None:
    """A run at work, as a process that holds it is seen: with the keys that steer it."""
    replay = Replay(RUN, clock=lambda: 0.0)
    pilot.app.push_screen(WorkScreen(replay))
    await until(pilot, "replay x10")
    replay._at = 150.0
    await until(pilot, "generate_batch n=60")
    await settled(pilot)


SCREENS: dict[str, Callable[[Pilot[int]], Awaitable[None]]] = {
    "home": home,
    "talk": talk,
    "card": card,
    "work": work,
    "scores": scores,
    "log": then("f3", waits_for="12 of 12 calls"),
    "rows": then("f4", waits_for="from written by the teacher"),
    "goal": lambda pilot: dialog(ChangeDialog(load_state(RUN), "Change the goal"), "Change the goal")(pilot),
    "help": then("f1", waits_for="Ctrl+P opens the palette"),
    "diff": diff,
    "replay": live,
    "try": tried,
    "try-spans": found,
    "approve": lambda pilot: dialog(YesDialog("generate_batch may cost about $1.80. May it run?"), "May it run")(pilot),
    "ask": lambda pilot: dialog(AskDialog("Is sarcasm [negative]?"), "The planner asks")(pilot),
    "leave": lambda pilot: dialog(LeaveDialog(), "A run is still at work")(pilot),
    "label": lambda pilot: dialog(LabelDialog(TASK.labels), "abbreviation")(pilot),
    "answer": lambda pilot: dialog(AnswerDialog(SPANS, Row("Ann of Rome", "[]")), "The right answer")(pilot),
    "runs": runs,
}


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])
@pytest.mark.parametrize("name", SCREENS)
def test_screen(
    name: str, size: tuple[int, int], snap_compare: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("P2M_RUNS", "runs")
    monkeypatch.setattr("agent.tui.cards.SPINNER", "|")
    finished_run(RUN)
    unfinished_run(RUN.with_name("question-type-2"))

    async def draw(pilot: Pilot[int]) -> None:
        await SCREENS[name](pilot)
        await settled(pilot)

    app = P2MApp(options(**WHO))
    app.animation_level = "none"
    assert snap_compare(app, terminal_size=size, run_before=draw)


def test_the_light_theme(snap_compare: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("P2M_RUNS", "runs")
    finished_run(RUN)

    async def draw(pilot: Pilot[int]) -> None:
        await work(pilot)
        await settled(pilot)

    app = P2MApp(options(light=True, **WHO))
    app.animation_level = "none"
    assert snap_compare(app, terminal_size=LARGE, run_before=draw)
