"""Draw the README's screenshots from a real run: python docs/screens/draw.py RUN [--out DIR]

The app itself is started on the run's journal, keys are pressed, and what it shows is saved as SVG. Nothing is staged.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from pathlib import Path

from textual.pilot import Pilot

from agent.runs import load_state
from agent.tui.app import P2MApp
from agent.tui.prompt import Prompt
from agent.tui.source import Replay
from agent.tui.tryit import TryScreen
from agent.tui.work import WorkScreen, open_run

SIZE = (120, 40)


async def draw(run: Path, out: Path, text: str) -> None:
    options = argparse.Namespace(planner="auto", teacher="auto", catalog=None, approve="ask", seed=0, light=False)
    app = P2MApp(options)

    def save(name: str) -> None:
        (out / f"{name}.svg").write_text(app.export_screenshot(title=f"p2m: {name}"), encoding="utf-8")
        print(f"{name}.svg")

    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause(1.5)
        app.push_screen(open_run(run))
        await pilot.pause(2.0)
        save("delivered")
        await pilot.press("f3")
        await pilot.pause(0.5)
        save("log")
        await pilot.press("escape", "f4")
        await pilot.pause(1.5)
        save("rows")
        await pilot.press("escape", "escape")
        await midway(app, pilot, run)
        save("working")
        await pilot.press("escape")
        app.push_screen(TryScreen(run))
        await answered(app, pilot, text)
        save("try")


async def midway(app: P2MApp, pilot: Pilot[int], run: Path) -> None:
    """The same run in replay, in its longest call after the first training: there is a curve by then."""
    calls = [c for c in load_state(run).calls if c.started]
    trained = next(n for n, c in enumerate(calls) if "experiment" in (c.data or {}))
    longest = max(calls[trained + 1 :], key=lambda c: c.seconds)
    replay = Replay(run, speed=1024)
    app.push_screen(WorkScreen(replay))
    for _ in range(600):
        await pilot.pause(0.05)
        state = app.screen.state if isinstance(app.screen, WorkScreen) else None
        now = state.open_call if state else None
        if now and now.id == longest.id:
            replay.speed = 60.0
            await pilot.pause(longest.seconds / 60 * 0.6)
            replay.paused = True
            await pilot.pause(0.8)
            return
        if state and state.steps > 0:
            replay.speed = 60.0


async def answered(app: P2MApp, pilot: Pilot[int], text: str) -> None:
    await pilot.pause(1.0)
    field = app.screen.query_one(Prompt)
    for _ in range(1200):
        await pilot.pause(0.1)
        shown = str(app.screen.query_one("#answer").render())
        if "ready" in shown and not field.text:
            field.load_text(text)
            await pilot.press("enter")
        elif "nearest training rows" in shown and "looking" not in shown:
            return


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("run", type=Path, metavar="RUN", help="the folder of a run that has delivered")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, metavar="DIR")
    parser.add_argument("--text", default="Who painted the ceiling of the Sistine Chapel?", help="what is tried")
    asked = parser.parse_args()
    run, out = asked.run.resolve(), asked.out.resolve()
    os.chdir(run.parent)  # paths on the screen are short
    os.environ["P2M_RUNS"] = "."
    asyncio.run(draw(Path(run.name), out, asked.text))


if __name__ == "__main__":
    main()
