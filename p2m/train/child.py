"""Train in a child process: a cancelled, crashed or out-of-memory training is the end of the child, not of the run."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from p2m.errors import EXIT_USAGE, P2MError, ToolFailure
from p2m.files import disk_full
from p2m.train.job import DISK_FULL, OUT_OF_MEMORY, PROGRESS, SAID, read_recipe, work, write_recipe
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
POLL_SECONDS = 0.05
GPUS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
"""What Linux has where there is a driver of NVIDIA's or AMD's, or of Windows below it."""


async def run_child(folder: Path, on_progress: Callable[[Progress], None]) -> TrainResult:
    """Run the job in ``folder`` (see ``p2m.train.job.write_job``) to its end.

    A child that runs out of memory is started again, at most twice, with smaller passes: the same training in less.

    Cancelling the task that awaits this interrupts the child, and kills it 5 seconds later; it also dies when this
    process dies. As with all of ``multiprocessing``, a script that calls it does so under
    ``if __name__ == "__main__"``. Raises ``ToolFailure``: ``crash`` where the child failed or ran out of memory,
    ``invalid_args`` for a base model that does not load; ``P2MError`` where the disk is full.
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
    for name in (PROGRESS, SAID):
        (folder / name).unlink(missing_ok=True)
    told = _Lines(folder / PROGRESS)
    starting = asyncio.ensure_future(asyncio.to_thread(_start, folder))
    try:
        process = await asyncio.shield(starting)
        ended = False
        while not ended:
            ended = not process.is_alive()
            for line in told.new():
                with suppress(ValueError, TypeError):  # a library printed something
                    on_progress(Progress(**json.loads(line)))
            if not ended:
                await asyncio.sleep(POLL_SECONDS)
        return process.exitcode, _last_words(folder / SAID)
    finally:
        with suppress(ToolFailure):
            process = await starting
            if process.is_alive():
                await _stop(process)


def _last_words(file: Path) -> list[str]:
    with suppress(FileNotFoundError):
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        return [line.strip() for line in lines if line.strip()][-TAIL_LINES:]
    return []


def _start(folder: Path) -> Any:
    """The process that does the job in ``folder``. Where no server can be had (its socket wants a short path to the
    temporary folder) it is a new interpreter. Raises ``ToolFailure`` where neither starts."""
    failure: Exception | None = None
    for context in (_context(), multiprocessing.get_context("spawn")):
        process = context.Process(target=work, args=(folder, dict(os.environ)), daemon=True)
        try:
            process.start()
        except (OSError, EOFError) as error:
            failure = error
        else:
            return process
    raise ToolFailure("crash", f"training could not start: {failure}")


@cache
def _context() -> Any:
    """How a child starts: forked from a server that has imported torch and transformers, which takes seconds.

    Where there is a GPU, and on other systems than Linux, each is a new interpreter: what a fork inherits of a driver
    or of the system's libraries may not work in it."""
    if sys.platform != "linux" or any(Path(device).exists() for device in GPUS):
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["p2m.train.preload"])
    return context


class _Lines:
    """The whole lines that another process has appended to a file since one last looked."""

    def __init__(self, file: Path) -> None:
        self._file, self._read, self._rest = file, 0, b""

    def new(self) -> list[str]:
        with suppress(FileNotFoundError), self._file.open("rb") as stream:
            stream.seek(self._read)
            found = stream.read()
            self._read += len(found)
            *lines, self._rest = (self._rest + found).split(b"\n")
            return [line.decode(errors="replace") for line in lines]
        return []


def read_result(folder: Path) -> TrainResult:
    """The result of a job that ended well."""
    raw = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return TrainResult(**{**raw, "epochs": tuple(Epoch(**e) for e in raw["epochs"])})


async def _stop(process: Any) -> None:
    with suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGINT)
    try:
        for _ in range(round(GRACE_SECONDS / POLL_SECONDS)):
            if not process.is_alive():
                break
            await asyncio.sleep(POLL_SECONDS)
    finally:
        process.kill()
        process.join()


def _failure(code: int, tail: list[str], folder: Path) -> P2MError:
    if code == DISK_FULL:
        return disk_full(folder)
    if code in OUT_OF_MEMORY_CODES:
        return ToolFailure("crash", OUT_OF_MEMORY_HELP)
    last = tail[-1] if tail else f"exit code {code}"
    if code == EXIT_USAGE:
        return ToolFailure("invalid_args", last)
    return ToolFailure("crash", f"training failed: {last}")
