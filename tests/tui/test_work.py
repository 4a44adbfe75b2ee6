"""A run on the screen: cards, scores, log, rows, experiments; and what keys do to it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from textual.events import Key
from textual.pilot import Pilot
from textual.widget import Widget
from textual.widgets import DataTable, Input, OptionList, TextArea

from agent.events import ApprovalAsked, PlannerSpoke, ToolFinished, ToolProgress, ToolStarted
from agent.steer import FILE
from agent.tui.cards import ToolCard
from agent.tui.feed import MOST_MOUNTED, Feed
from agent.tui.field import Field
from agent.tui.prompt import Prompt
from agent.tui.source import Replay
from agent.tui.work import WorkScreen
from tests.scripted_run import Script, finished_run, to_first_training, unfinished_run
from tests.tui.screens import LARGE, SMALL, running, seen, until

pytestmark = pytest.mark.anyio


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("P2M_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


@pytest.fixture
def script(folder: Path) -> Iterator[Script]:
    """A run that this process holds, as a live one is held."""
    script = Script(folder / "live")
    to_first_training(script)
    yield script
    script.journal.close()


def sent(run_dir: Path) -> list[dict[str, object]]:
    file = run_dir / FILE
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


async def test_a_finished_run_tells_how_it_ended_and_what_it_cost(folder: Path) -> None:
    finished_run(folder / "done")
    async with running(folder / "done") as pilot:
        text = await until(pilot, "MET")
        assert "accuracy 0.840 [0.773, 0.890] on 150 sealed" in text
        assert "best baseline without an LLM: frozen embeddings" in text
        assert "accuracy on validation, target 0.82" in text and "calls unpriced" in text
        failed = [card for card in pilot.app.screen.query(ToolCard) if card.call.error]
        assert failed and not failed[0].collapsed, "a failure is open"
        done = [card for card in pilot.app.screen.query(ToolCard) if not card.call.error]
        assert done and all(card.collapsed for card in done)


async def test_a_card_opens_on_enter_and_holds_everything(folder: Path) -> None:
    finished_run(folder / "done")
    async with running(folder / "done") as pilot:
        await until(pilot, "MET")
        card = next(c for c in pilot.app.screen.query(ToolCard) if c.call.tool == "deliver")
        card.query_one("CollapsibleTitle").focus()
        await pilot.press("enter")
        await until(pilot, lambda: not card.collapsed)
        await until(pilot, "true label, and how often each was said")


async def test_a_dataset_is_shown_by_its_first_rows_and_what_was_left_out(folder: Path) -> None:
    finished_run(folder / "done")
    async with running(folder / "done") as pilot:
        await until(pilot, "MET")
        card = next(c for c in pilot.app.screen.query(ToolCard) if c.call.tool == "generate_batch" and not c.call.error)
        card.query_one("CollapsibleTitle").focus()
        await pilot.press("enter")
        text = await until(pilot, "first of ")
        assert "+ abbreviation   Question number 0 about abbreviation" in text


async def test_a_live_run_grows_on_the_screen(script: Script, folder: Path) -> None:
    async with running(folder / "live") as pilot:
        await until(pilot, "best accuracy 0.720")
        calls = ({"id": "t9.1", "tool": "fine_tune", "arguments": {"method": "full"}},)
        script.add(PlannerSpoke(9, "planner", "m", "Now the whole encoder.", calls))
        script.add(ToolStarted("t9.1", "fine_tune", {"method": "full"}, "planner"))
        script.add(ToolProgress("t9.1", "epoch 3 of 10", 0.31))
        text = await until(pilot, "epoch 3 of 10")
        assert "Now the whole encoder." in text and "31%" in text and "working: fine_tune" in text
        script.add(ToolFinished("t9.1", "it blew up", error="crash"))
        text = await until(pilot, "crash: it blew up")
        card = next(c for c in pilot.app.screen.query(ToolCard) if c.call.id == "t9.1")
        assert not card.collapsed


async def test_what_the_person_says_is_sent_to_the_process_that_works(script: Script, folder: Path) -> None:
    async with running(folder / "live") as pilot:
        await until(pilot, "best accuracy 0.720")
        await until(pilot, lambda: pilot.app.screen.live)
        await pilot.press(*"shorter", "enter", "f6", "f7", "f10")
        assert sent(folder / "live") == [{"say": "shorter"}, {"pause": True}, {"stop": True}, {"skip": True}]
        await pilot.press("f9")
        await until(pilot, "Change the goal")
        pilot.app.screen.query_one("#target", Input).value = "nonsense"
        await pilot.press("enter")
        await until(pilot, "cannot read the target")
        pilot.app.screen.query_one("#target", Input).value = "accuracy>=0.8"
        pilot.app.screen.query_one("#minutes", Input).value = "45"
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, WorkScreen))
        assert sent(folder / "live")[-1] == {"change": {"target": 0.8, "budget": {"minutes": 45.0}}}


@pytest.mark.parametrize("kind", [Field, Prompt])
async def test_keys_that_come_in_one_packet_act_in_order(kind: type[Field] | type[Prompt], folder: Path) -> None:
    async with running() as pilot:
        widget = kind(id="typed")
        await pilot.app.screen.mount(widget)
        widget.focus()
        await pilot.pause()
        for key in ("a", "b", "backspace", "backspace", "1", "6", "backspace", "7", "home", "0"):
            pilot.app.post_message(Key(key, key if len(key) == 1 else None))
        await until(pilot, lambda: bool(widget.value if isinstance(widget, Field) else widget.text))
        await pilot.pause(0.3)
        assert (widget.value if isinstance(widget, Field) else widget.text) == "017"


async def test_a_run_nobody_works_on_takes_no_message(folder: Path) -> None:
    unfinished_run(folder / "cut")
    async with running(folder / "cut") as pilot:
        await until(pilot, "interrupted (ctrl+g goes on)")
        await pilot.press(*"hello", "enter")
        await until(pilot, "no process works on this run")
        assert sent(folder / "cut") == []


async def test_an_approval_that_waits_is_put_to_the_person(script: Script, folder: Path) -> None:
    async with running(folder / "live") as pilot:
        await until(pilot, "best accuracy 0.720")
        script.add(ToolStarted("t9.1", "generate_batch", {"n": 400}, "planner"))
        script.add(ApprovalAsked("t9.1", "generate_batch may cost about $1.80"))
        await until(pilot, "$1.80. May it run?")
        await pilot.press("y")
        await until(pilot, lambda: {"approve": True} in sent(folder / "live"))


async def test_a_question_does_not_come_between_two_keys(script: Script, folder: Path) -> None:
    async with running(folder / "live") as pilot:
        await until(pilot, "best accuracy 0.720")
        script.add(ToolStarted("t9.1", "generate_batch", {"n": 400}, "planner"))
        await pilot.press(*"ma")
        script.add(ApprovalAsked("t9.1", "generate_batch may cost about $1.80"))
        await until(pilot, "waits for your yes")
        await pilot.press(*"y")
        assert "May it run?" not in seen(pilot) and pilot.app.screen.query_one("#message", Input).value == "may"
        await until(pilot, "$1.80. May it run?")
        assert not any("approve" in said for said in sent(folder / "live"))


async def test_a_question_of_the_planner_is_answered(script: Script, folder: Path) -> None:
    async with running(folder / "live") as pilot:
        await until(pilot, "best accuracy 0.720")
        script.add(ToolStarted("t9.1", "ask_user", {"question": "Is sarcasm negative?"}, "planner"))
        await until(pilot, "The planner asks: Is sarcasm negative?")
        await pilot.press(*"yes", "enter")
        await until(pilot, lambda: {"answer": "yes"} in sent(folder / "live"))


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_rows_are_reviewed_and_their_origin_is_told(script: Script, folder: Path, size: tuple[int, int]) -> None:
    async with running(folder / "live", size) as pilot:
        await until(pilot, lambda: getattr(pilot.app.screen, "live", False))
        await pilot.press("f4")
        text = await until(pilot, "from written by the teacher")
        assert "168 of 168 training rows" in text
        await pilot.press("a", "x", "l")
        await until(pilot, lambda: type(pilot.app.screen).__name__ == "LabelDialog")
        await pilot.press("down", "enter")
        await until(pilot, "3 reviewed: s sends them")
        await pilot.press("s")
        (review,) = [c["review"] for c in sent(folder / "live") if "review" in c]
        assert [r["verdict"] for r in review] == ["accept", "reject", "relabel"]  # type: ignore[index, union-attr]
        assert review[2]["label"] == "description"  # type: ignore[index]


async def test_the_log_is_filtered_and_shown_in_full(folder: Path) -> None:
    finished_run(folder / "done")
    async with running(folder / "done") as pilot:
        await until(pilot, "MET")
        await pilot.press("f3")
        await until(pilot, "12 of 12 calls")
        await pilot.press("slash", *"status:invalid_args minimum")
        await until(pilot, "1 of 12 calls")
        await pilot.press("enter")
        full = pilot.app.screen.query_one("#detail", TextArea).text
        assert '"n": 5' in full and "n: 5 is less than the minimum of 10" in full and "a few more" in full
        await pilot.press("e")
        line = (Path.cwd() / "p2m-log.jsonl").read_text()
        assert json.loads(line)["error"] == "invalid_args"


async def test_two_experiments_are_compared(folder: Path) -> None:
    finished_run(folder / "done")
    async with running(folder / "done") as pilot:
        await until(pilot, "MET")
        pilot.app.screen.query_one("#experiments", DataTable).focus()
        await pilot.press("down", "enter")
        text = await until(pilot, "against")
        assert "+ds_dddd0004" in text and "+0.127" in text and "+58" in text


async def test_runs_are_listed_opened_and_replayed(folder: Path) -> None:
    finished_run(folder / "done")
    unfinished_run(folder / "cut")
    async with running() as pilot:
        await until(pilot, "interrupted")  # the recent ones, on the first screen
        await pilot.press("ctrl+r")
        await until(pilot, "2 of 2 runs")
        await pilot.press("slash", *"met", "enter", "p")
        await until(pilot, "replay x10")
        screen = pilot.app.screen
        assert isinstance(screen, WorkScreen) and isinstance(screen.source, Replay)
        screen.query_one(Input).blur()
        await pilot.press(*["ctrl+up"] * 7)
        assert screen.source.speed >= 320, "it may end before the last key"
        await until(pilot, "MET")
        assert "replay" not in await until(pilot, "met  ·")


async def test_a_replay_can_be_paused(folder: Path) -> None:
    finished_run(folder / "done")
    now = [0.0]
    replay = Replay(folder / "done", speed=2.0, clock=lambda: now[0])
    assert type(replay.new()[0].event).__name__ == "RunStarted"
    replay.paused = True
    now[0] = 500.0
    assert replay.new() == []
    replay.paused = False
    now[0] = 501.0
    assert not any(type(r.event).__name__ == "RunEnded" for r in replay.new()), "two seconds of it, not the rest"
    for _ in range(40):
        now[0] += 60.0
        replay.new()
    assert replay.done


HOSTILE = "[bold red]x[/] [@click=app.quit]go[/] \x1b[2J\x1b]0;owned\x07 a\u202eb [link=http://evil]l[/link] \r over"


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_hostile_text_is_shown_and_never_obeyed(folder: Path, size: tuple[int, int]) -> None:
    script = Script(folder / "bad")
    to_first_training(script)
    script.call("evaluate", {"x": HOSTILE}, HOSTILE, HOSTILE, {}, error="crash")
    script.journal.close()
    async with running(folder / "bad", size) as pilot:
        text = await until(pilot, "[bold red]x[/]")
        for key in ("f3", "escape", "f4", "escape", "ctrl+r", "escape"):
            await pilot.press(key)
            await pilot.pause(0.2)
            text += seen(pilot)
        assert not any(c in text for c in ("\x1b", "\x07", "\u202e", "\r"))
        assert "[@click=app.quit]" in text


async def test_old_entries_leave_the_screen_and_stay_in_the_log(folder: Path) -> None:
    script = Script(folder / "long")
    async with running(folder / "long") as pilot:
        for n in range(MOST_MOUNTED):
            script.call("evaluate", {"n": n}, f"turn {n}", f"result {n}", {})
        await until(pilot, f"result {MOST_MOUNTED - 1}")
        feed = pilot.app.screen.query_one(Feed)
        await until(pilot, lambda: len(feed.children) <= MOST_MOUNTED)
        assert feed.pruned >= MOST_MOUNTED
        await pilot.press("f3")
        await until(pilot, f"{MOST_MOUNTED} of {MOST_MOUNTED} calls")
    script.journal.close()


def footer_holds(pilot: Pilot[int], wanted: set[str], not_there: set[str]) -> bool:
    foot = "\n".join(seen(pilot).splitlines()[-3:])
    return all(word in foot for word in wanted) and not any(word in foot for word in not_there)


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_footer_help_and_palette_hold_every_action(script: Script, folder: Path, size: tuple[int, int]) -> None:
    finished_run(folder / "done")
    always = {"Log", "Rows", "Runs", "Quit", "Light/dark", "Back", "Palette", "Help"}
    at_work = {"Pause", "Stop", "Cancel", "Goal", "Skip call"}
    for name, there, not_there in (("live", at_work, {"Go on"}), ("done", set(), at_work)):
        async with running(folder / name, size) as pilot:
            await until(pilot, "accuracy on validation" if size == LARGE else "best accuracy" if there else "sealed")
            await until(pilot, lambda there=there: pilot.app.screen.live == bool(there))  # type: ignore[misc]
            await until(pilot, lambda wanted=always | there, no=not_there: footer_holds(pilot, wanted, no))  # type: ignore[misc]
            commands = {command.title for command in pilot.app.get_system_commands(pilot.app.screen)}
            assert (always | there) - {"Help", "Palette"} <= commands and not commands & not_there
            await pilot.press("question_mark", "enter")
            text = await until(pilot, "Ctrl+P opens the palette")
            assert "f6" in text if there else "f6" not in text
            await pilot.press("escape", "f1")
            await until(pilot, "Ctrl+P opens the palette")


async def test_a_run_of_another_process_is_cancelled_through_its_mailbox(script: Script, folder: Path) -> None:
    async with running(folder / "live") as pilot:
        await until(pilot, lambda: getattr(pilot.app.screen, "live", False))
        await pilot.press("f8")
        await until(pilot, lambda: {"cancel": True} in sent(folder / "live"))


async def test_a_damaged_journal_is_a_sentence(folder: Path) -> None:
    finished_run(folder / "done")
    file = folder / "done" / "journal.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join([*lines[:3], "{}\n", *lines[4:]]))
    async with running(folder / "done") as pilot:
        await until(pilot, "damaged")  # one word: where the lines break depends on the path before it


async def test_a_turn_that_ends_while_its_first_words_are_drawn(folder: Path, script: Script) -> None:
    async with running(script.run_dir) as pilot:
        feed = pilot.app.screen.query_one(Feed)
        mount = feed.mount

        async def slow(*widgets: Widget) -> None:
            await mount(*widgets)
            script.add(PlannerSpoke(99, "planner", "fake", "Enough rows now.", ()))
            await until(pilot, "Enough rows now.")

        feed.mount = slow  # type: ignore[assignment,method-assign]
        await feed.whisper("Enough ro")
        await pilot.pause(0.2)
        assert "Enough rows now." in seen(pilot) and seen(pilot).count("Enough ro") == 1


async def test_runs_that_are_listed_late_do_not_come_under_a_conversation(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agent.tui import home

    finished_run(folder / "question-type")
    listed, gate = home._summaries, threading.Event()
    monkeypatch.setattr(home, "_summaries", lambda most: (gate.wait(30), listed(most))[1])
    hearing, hear = threading.Event(), home.HomeScreen._hear
    monkeypatch.setattr(home.HomeScreen, "_hear", lambda self, said: (hearing.wait(30), hear(self, said))[1])
    async with running() as pilot:
        screen = pilot.app.screen
        screen.query_one(Prompt).load_text("Sort what customers write to us.")
        await pilot.press("enter")
        gate.set()
        await until(pilot, lambda: screen.query_one("#recent", OptionList).option_count == 1)
        assert not screen.query_one("#recent").display
        hearing.set()
        await until(pilot, "Which answers are there")
        assert not screen.query_one("#recent").display
        await pilot.press("ctrl+n")
        await until(pilot, lambda: screen.query_one("#recent").display)
