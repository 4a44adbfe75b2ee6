"""The process that works on a run for the terminal app: ``python -m agent.worker RUN``, with what to do on stdin.

The app and the run are two processes, so that importing torch or loading a model never holds up a key. All that
happens is in the journal; only the planner's words, as they stream, go through stdout, a JSON string a line. The run
goes on when the app goes away.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from p2m.errors import EXIT_INTERNAL, EXIT_INTERRUPTED, P2MError


def order(*, task: Any = None, settings: Any = None, new_budget: dict[str, Any] | None = None) -> bytes:
    """What stdin must hold: ``task`` and ``settings`` for a new run, ``new_budget`` for one that goes on."""
    asked = {
        "task": task.model_dump(mode="json") if task else None,
        "settings": settings.model_dump(mode="json") if settings else None,
        "new_budget": new_budget or {},
    }
    return json.dumps(asked).encode() + b"\n"


def main(argv: Sequence[str]) -> int:
    """Work on the run to its end; the exit codes are those of ``p2m run``. SIGTERM cancels it at once."""
    os.nice(10)  # training takes all cores: the app, which answers keys, goes first
    run_dir, asked = Path(argv[0]), json.loads(sys.stdin.readline())
    try:
        return asyncio.run(_work(run_dir, asked))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return EXIT_INTERRUPTED
    except P2MError as error:
        print(error, file=sys.stderr)
        return error.exit_code


async def _work(run_dir: Path, asked: dict[str, Any]) -> int:
    from agent.commands import write_report_of
    from agent.events import RunEnded, TextDelta
    from agent.loop import run
    from agent.runs import load_state
    from agent.session import parts_for, quiet_libraries
    from agent.settings import Settings
    from agent.steer import Mailbox
    from p2m.task.spec import TaskSpec

    me = asyncio.current_task()
    assert me is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, me.cancel)
    quiet_libraries()
    if asked["task"]:
        task, settings = TaskSpec.model_validate(asked["task"]), Settings.model_validate(asked["settings"])
    else:
        task, settings = None, load_state(run_dir).settings
    parts = parts_for(run_dir, settings, task=task, new_budget=asked["new_budget"])
    mailbox = Mailbox(run_dir, parts.controls, me.cancel)
    parts.ask, parts.approve = mailbox.ask, mailbox.approve
    ears = asyncio.create_task(mailbox.listen())
    code = EXIT_INTERNAL
    try:
        async for event in run(parts):
            if isinstance(event, TextDelta):
                _whisper(event.text)
            elif isinstance(event, RunEnded):
                code = event.exit_code
    finally:
        ears.cancel()
        with suppress(Exception):  # a courtesy: what stopped the run is what the user is told
            await write_report_of(run_dir)
    return code


def _whisper(text: str) -> None:
    try:
        print(json.dumps(text), flush=True)
    except BrokenPipeError:  # the app has gone; the run goes on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
