"""The whole way in the app, with a real process behind it: from the first key to a run that is steered and ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.journal import read
from agent.runs import load_state
from agent.tui.prompt import Prompt
from agent.tui.work import WorkScreen
from p2m.train.job import SAID
from tests import scripted_teacher as script
from tests.fake_llm import Behaviour, FakeLLM, Hang, Request
from tests.tui.screens import running, until

pytestmark = pytest.mark.anyio
WORDS = "Say what kind of answer a question asks for."


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, minilm: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("P2M_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("P2M_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "pack").symlink_to(minilm.parent.resolve())
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    return tmp_path


@pytest.fixture
def hanging() -> Iterator[FakeLLM]:
    def behave(request: Request) -> Behaviour:
        return Hang()

    with FakeLLM(behave) as server:
        yield server


def examples(n: int = 3) -> str:
    return "\n".join(f"{t} => {label}" for label in script.LABELS for t in script.write(label, n, f"demo {label}"))


def held_out(folder: Path) -> Path:
    rows = "".join(f'"{text}",{label}\n' for text, label in script.held_out(14))
    (folder / "held.csv").write_text("text,label\n" + rows)
    return folder / "held.csv"


@pytest.mark.slow
async def test_from_words_to_a_run_that_is_steered_and_cancelled(folder: Path, hanging: FakeLLM) -> None:
    async with running(planner="policy", teacher=hanging.endpoint) as pilot:
        app = pilot.app
        await pilot.press(*"Say what kind")
        app.screen.query_one(Prompt).load_text(f"{WORDS} At least 90%.\n\n{examples()}")
        await pilot.press("enter")
        await until(pilot, "Is this the task?")
        app.screen.query_one("#validation").value = str(held_out(folder))  # type: ignore[attr-defined]
        app.screen.query_one("#labels").value = "person, place"  # type: ignore[attr-defined]
        await pilot.press("ctrl+s")
        await until(pilot, "is not one of the labels")
        app.screen.query_one("#labels").value = "person, place, number"  # type: ignore[attr-defined]
        await pilot.press("ctrl+s")
        await until(pilot, "at a price that is not known", 90)
        await pilot.press("y")
        await until(pilot, "working: generate_batch")
        screen = app.screen
        assert isinstance(screen, WorkScreen) and screen.worker is not None
        await pilot.press(*"short ones please", "enter")
        await until(pilot, "you short ones please")
        await pilot.press("f6")
        await until(pilot, "paused")
        await pilot.press("f6")
        await pilot.press("f8")
        await until(pilot, lambda: not screen.worker.running, 30)  # type: ignore[union-attr]
        await until(pilot, "interrupted (ctrl+g goes on)")
    state = load_state(screen.run_dir)
    assert state.user_said == ("short ones please",) and state.ended is None
    assert state.task.target == 0.9 and state.settings.approve.mode == "ask"
    with pytest.raises(ProcessLookupError):
        os.kill(screen.worker.process.pid, 0)


@pytest.mark.slow
async def test_from_words_to_a_delivered_model_and_trying_it(folder: Path) -> None:
    with FakeLLM(lambda request: script.answer(request.body)) as teacher:
        async with running(planner="policy", teacher=teacher.endpoint) as pilot:
            app = pilot.app
            app.screen.query_one(Prompt).load_text(f"{WORDS} At least 90%.\n\n{examples()}")
            await pilot.press("enter")
            await until(pilot, "Is this the task?")
            app.screen.query_one("#validation").value = str(held_out(folder))  # type: ignore[attr-defined]
            app.screen.query_one("#approve").value = "auto"  # type: ignore[attr-defined]
            await pilot.press("ctrl+s")
            await until(pilot, "MET", 400)
            run_dir = app.screen.run_dir  # type: ignore[attr-defined]
            await pilot.press("f5")
            await until(pilot, "it chooses among", 120)
            await pilot.press(*"Where stands the mill", "enter")
            text = await until(pilot, "nearest training rows", 120)
            assert "place" in text
    kinds = [type(r.event).__name__ for r in read(run_dir / "journal.jsonl")]
    assert kinds[0] == "RunStarted" and kinds[-1] == "RunEnded"


@pytest.mark.slow
async def test_cancel_ends_the_child_that_trains(folder: Path) -> None:
    with FakeLLM(lambda request: script.answer(request.body)) as teacher:
        async with running(planner="policy", teacher=teacher.endpoint) as pilot:
            app = pilot.app
            app.screen.query_one(Prompt).load_text(f"{WORDS} At least 100%.\n\n{examples()}")
            await pilot.press("enter")
            await until(pilot, "Is this the task?")
            app.screen.query_one("#validation").value = str(held_out(folder))  # type: ignore[attr-defined]
            app.screen.query_one("#approve").value = "auto"  # type: ignore[attr-defined]
            await pilot.press("ctrl+s")
            await until(pilot, "working: fine_tune", 300)
            run_dir = str(app.screen.run_dir)  # type: ignore[attr-defined]
            await until(pilot, lambda: any(c.endswith(SAID) for c in commands(run_dir)), 60)
            await pilot.press("f8")
            await until(pilot, lambda: not commands(run_dir), 30)
            await until(pilot, "interrupted (ctrl+g goes on)", 30)


def commands(run_dir: str) -> list[str]:
    """The processes that have to do with the run: their commands, and where their stderr goes."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            command += os.readlink(file.parent / "fd" / "2")
        except OSError:
            continue
        if run_dir in command:
            found.append(command)
    return found


async def test_leaving_while_a_run_works_asks_what_becomes_of_it(folder: Path, hanging: FakeLLM) -> None:
    async with running(planner="policy", teacher=hanging.endpoint) as pilot:
        app = pilot.app
        app.screen.query_one(Prompt).load_text(f"{WORDS} At least 90%.\n\n{examples()}")
        await pilot.press("enter")
        await until(pilot, "Is this the task?")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, WorkScreen), 60)
        await pilot.press("ctrl+q")
        await until(pilot, "A run is still at work")
        await pilot.press("escape")
        assert app.is_running
        await pilot.press("ctrl+q")
        await until(pilot, "A run is still at work")
        await pilot.press("c")
        (worker,) = app.workers_started  # type: ignore[attr-defined]
        await until(pilot, lambda: not worker.running, 30)
