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
from textual.widgets import DataTable

from agent.tui.app import P2MApp
from agent.tui.home import Prompt
from agent.tui.work import open_run
from tests.scripted_run import TASK, finished_run, unfinished_run
from tests.tui.screens import LARGE, SMALL, options, settled, until

pytest.importorskip("pytest_textual_snapshot", reason="needs pytest-textual-snapshot: pip install -e '.[dev]'")
DRAWN_WITH = "8.2.8"
pytestmark = pytest.mark.skipif(version("textual") != DRAWN_WITH, reason=f"the pictures are of Textual {DRAWN_WITH}")
RUN = Path("runs/question-type")


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


SCREENS: dict[str, Callable[[Pilot[int]], Awaitable[None]]] = {
    "home": home,
    "talk": talk,
    "card": card,
    "work": work,
    "scores": scores,
    "log": then("f3", waits_for="12 of 12 calls"),
    "rows": then("f4", waits_for="from written by the teacher"),
    "goal": then("f9", waits_for="Change the goal"),
    "help": then("f1", waits_for="Ctrl+P opens the palette"),
    "diff": diff,
    "runs": runs,
}


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])
@pytest.mark.parametrize("name", SCREENS)
def test_screen(
    name: str, size: tuple[int, int], snap_compare: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("P2M_RUNS", "runs")
    finished_run(RUN)
    unfinished_run(RUN.with_name("question-type-2"))

    async def draw(pilot: Pilot[int]) -> None:
        await SCREENS[name](pilot)
        await settled(pilot)

    app = P2MApp(options())
    app.animation_level = "none"
    assert snap_compare(app, terminal_size=size, run_before=draw)


def test_the_light_theme(snap_compare: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("P2M_RUNS", "runs")
    finished_run(RUN)

    async def draw(pilot: Pilot[int]) -> None:
        await work(pilot)
        await settled(pilot)

    app = P2MApp(options(light=True))
    app.animation_level = "none"
    assert snap_compare(app, terminal_size=LARGE, run_before=draw)
