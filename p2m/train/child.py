"""Train in a child process: a cancelled, crashed or out-of-memory training is the end of the child, not of the run."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from p2m.errors import EXIT_USAGE, P2MError, ToolFailure
from p2m.files import disk_full
from p2m.train.job import DISK_FULL, OUT_OF_MEMORY, read_recipe, write_recipe
from p2m.train.recipe import Epoch, Progress, TrainResult

GRACE_SECONDS = 5.0
TAIL_LINES = 20
PASS_TOKENS = (512, 64)
"""Padded tokens of one pass after a first and a second death for want of memory; the default batch has 4,096."""
LEAST_SECONDS = 20.0
# Linux ends the process that takes the most where memory is short: no allocation fails before that.
OUT_OF_MEMORY_CODES = (OUT_OF_MEMORY, -signal.SIGKILL)
OUT_OF_MEMORY_HELP = (
    "out of memory: training needs more than this machine has free. Close other programs, use a smaller base model, "
    "or fewer rows"
)
CHILD_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DISABLE_SAFETENSORS_CONVERSION": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONUNBUFFERED": "1",
}


async def run_child(folder: Path, on_progress: Callable[[Progress], None]) -> TrainResult:
    """Run the job in ``folder`` (see ``p2m.train.job.write_job``) to its end.

    A child that runs out of memory is started again, at most twice, with smaller passes: the same training in less.

    Cancelling the task that awaits this interrupts the child, and kills it 5 seconds later; it also dies when this
    process dies. Raises ``ToolFailure``: ``crash`` where the child failed or ran out of memory, ``invalid_args`` for a
    base model that does not load; ``P2MError`` where the disk is full.
    """
    began = time.monotonic()
    for smaller in (*PASS_TOKENS, None):
        code, tail = await _run(folder, on_progress)
        if code == 0 and (folder / "result.json").is_file():
            return read_result(folder)
        if code not in OUT_OF_MEMORY_CODES or smaller is None:
            break
        recipe = read_recipe(folder)
        left = None if recipe.seconds is None else max(LEAST_SECONDS, recipe.seconds - (time.monotonic() - began))
        write_recipe(folder, replace(recipe, pass_tokens=smaller, seconds=left))
        shutil.rmtree(folder / "model", ignore_errors=True)
    raise _failure(code, tail, folder)


async def _run(folder: Path, on_progress: Callable[[Progress], None]) -> tuple[int, list[str]]:
    """The child's exit code and its last words."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "p2m.train.job",
        str(folder),
        str(os.getpid()),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **CHILD_ENVIRONMENT, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        start_new_session=True,  # the terminal's Ctrl-C is for us; we decide when the child stops
    )
    assert process.stdout is not None and process.stderr is not None
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    try:
        await asyncio.gather(_follow(process.stdout, on_progress), _keep_tail(process.stderr, tail))
        code = await process.wait()
    finally:
        if process.returncode is None:
            await _stop(process)
    return code, list(tail)


def read_result(folder: Path) -> TrainResult:
    """The result of a job that ended well."""
    raw = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return TrainResult(**{**raw, "epochs": tuple(Epoch(**e) for e in raw["epochs"])})


async def _follow(stream: asyncio.StreamReader, on_progress: Callable[[Progress], None]) -> None:
    async for line in stream:
        try:
            told = Progress(**json.loads(line))
        except (ValueError, TypeError):
            continue  # a library printed something
        on_progress(told)


async def _keep_tail(stream: asyncio.StreamReader, tail: deque[str]) -> None:
    async for line in stream:
        if text := line.decode(errors="replace").strip():
            tail.append(text)


async def _stop(process: asyncio.subprocess.Process) -> None:
    process.send_signal(signal.SIGINT)
    try:
        await asyncio.wait_for(process.wait(), GRACE_SECONDS)
    except (TimeoutError, asyncio.CancelledError):
        process.kill()
        await process.wait()


def _failure(code: int, tail: list[str], folder: Path) -> P2MError:
    if code == DISK_FULL:
        return disk_full(folder)
    if code in OUT_OF_MEMORY_CODES:
        return ToolFailure("crash", OUT_OF_MEMORY_HELP)
    last = tail[-1] if tail else f"exit code {code}"
    if code == EXIT_USAGE:
        return ToolFailure("invalid_args", last)
    return ToolFailure("crash", f"training failed: {last}")
