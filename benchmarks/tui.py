"""The terminal app on a real terminal: first paint, how fast a key is answered under load, memory after 10,000 events.

The app runs in a pseudo-terminal as a person's would. First paint: from starting the process to its first words.
Key: from writing a character that stands nowhere else to its echo on the screen of a run with 9,750 events, while
another process adds 250 more, 5 a second, and a third multiplies matrices on two threads, as training does.
"""

from __future__ import annotations

import contextlib
import fcntl
import multiprocessing
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common import ROOT, options, say, table, write_json

EVENTS, EARLIER = 10_000, 9_750
LIVE_PER_SECOND = 5
"""More than a run writes: its progress is told once a second."""
ROWS, COLUMNS = 40, 120
KEYS = [chr(code) for code in range(0xC0, 0x17F) if chr(code).isalpha()]
"""Letters that no event holds, so that each echo is known by itself."""


class Terminal:
    """A process on a pseudo-terminal of 120x40."""

    def __init__(self, *command: str, cwd: Path) -> None:
        self.started = time.perf_counter()
        pid, self.fd = pty.fork()
        if pid == 0:
            os.chdir(cwd)
            os.environ.update(TERM="xterm-256color", COLORTERM="truecolor", PYTHONPATH=str(ROOT))
            os.execv(sys.executable, [sys.executable, *command])
        self.pid = pid
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))

    def until(self, words: str, seconds: float = 30) -> float:
        """Seconds from now until ``words`` are drawn."""
        begun, wanted, buffer = time.perf_counter(), words.encode(), b""
        while time.perf_counter() - begun < seconds:
            if select.select([self.fd], [], [], 0.05)[0]:
                buffer = buffer[-4096:] + os.read(self.fd, 65536)
                if wanted in buffer:
                    return time.perf_counter() - begun
        raise TimeoutError(f"{words!r} was not drawn within {seconds} s")

    def drain(self, seconds: float) -> None:
        end = time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0:
            if select.select([self.fd], [], [], left)[0]:
                os.read(self.fd, 65536)

    def press(self, key: str) -> float:
        os.write(self.fd, key.encode())
        return self.until(key)

    @property
    def megabytes(self) -> float:
        """Resident memory now."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS"))

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            os.close(self.fd)


def first_paint(times: int, folder: Path) -> list[float]:
    seconds = []
    for _ in range(times):
        terminal = Terminal("-m", "agent.cli", cwd=folder)
        try:
            terminal.until("Say what your model should do")
            seconds.append(time.perf_counter() - terminal.started)
        finally:
            terminal.close()
    return seconds


def write_events(run_dir: Path, most: int, ready: Any, done: Any) -> None:
    """A long run, event by event through the real journal."""
    from agent.events import LLMSpend, PlannerSpoke, RunStarted, ToolFinished, ToolProgress, ToolStarted
    from agent.journal import Journal
    from agent.settings import Settings
    from p2m.task.spec import Example, TaskSpec

    examples = tuple(Example(input=f"text {n}", output=f"label {n % 3}") for n in range(9))
    labels = tuple(f"label {n}" for n in range(3))
    task = TaskSpec(name="load", instruction="Label it.", kind="classify", labels=labels, examples=examples, target=0.9)
    settings = Settings(planner="policy", teacher="local:qwen2.5-coder-1.5b")
    journal = Journal(run_dir)
    journal.append(RunStarted(task.model_dump(mode="json"), settings.model_dump(mode="json"), "0"))
    turn = 0
    while len(journal.records) < most:
        turn += 1
        call = f"t{turn}.1"
        arguments = {"n": 60, "labels": ["label 1"], "brief": "short ones"}
        asked = ({"id": call, "tool": "generate_batch", "arguments": arguments},)
        journal.append(PlannerSpoke(turn, "planner", "m", f"Turn {turn}: **label 1** is weak, so I write more.", asked))
        journal.append(ToolStarted(call, "generate_batch", arguments, "planner", "weak"))
        for n in range(14):
            journal.append(ToolProgress(call, f"{4 * n} of 60 rows written", n / 14))
            if len(journal.records) > EARLIER:
                ready.set()
                time.sleep(1 / LIVE_PER_SECOND)
        journal.append(LLMSpend("teacher", "m", 12, 0, 5000, 900, 0.0))
        journal.append(ToolFinished(call, "58 new rows of 60 written", "- **label 1**: one / two", {}, None, 30.0))
    done.set()
    time.sleep(600)  # the run is still at work


@contextlib.contextmanager
def training() -> Iterator[None]:
    """Both cores at matrix products."""
    code = (
        "import torch; torch.set_num_threads(2); a = torch.rand(768, 768)\n"
        "while True: a = torch.nn.functional.normalize(a @ a)"
    )
    process = subprocess.Popen(["nice", sys.executable, "-c", code])  # as agent.worker and its child run
    try:
        time.sleep(3)
        yield
    finally:
        process.kill()
        process.wait()


def under_load(folder: Path, events: int, keys: int) -> tuple[list[float], float, float]:
    """Seconds a key, while events come in and after; megabytes at the start and after all events."""
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    writer = context.Process(target=write_events, args=(folder / "runs" / "load", events, ready, done), daemon=True)
    writer.start()
    ready.wait(60)
    terminal = Terminal("-m", "agent.cli", "chat", "runs/load", cwd=folder)
    try:
        terminal.until("a message for the planner")
        terminal.drain(1.0)
        begin = terminal.megabytes
        with training():
            seconds = []
            for number, key in enumerate(KEYS[:keys]):
                seconds.append(terminal.press(key))
                terminal.drain(0.15)
                if number % 25 == 24:
                    os.write(terminal.fd, b"\x15")  # an empty line again
                    terminal.drain(0.5)
                    say(f"  {number + 1} of {keys} keys, last {1000 * seconds[-1]:.0f} ms")
            while not done.is_set():
                terminal.drain(1.0)
            terminal.drain(3.0)
            os.write(terminal.fd, b"\x15")
            terminal.drain(0.5)
            seconds += [terminal.press(key) for key in KEYS[keys : keys + 20]]
        return seconds, begin, terminal.megabytes
    finally:
        terminal.close()
        writer.kill()


def percentile(values: list[float], share: float) -> float:
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))]


def main() -> None:
    asked = options(__doc__ or "")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        say("first paint")
        paints = first_paint(5 if asked.fast else 11, folder)
        say("keys under load")
        keys, before, after = under_load(folder, EVENTS, 100 if asked.fast else 150)
    rows = [
        {
            "what": "first paint, s",
            "median": percentile(paints, 0.5),
            "p95": percentile(paints, 0.95),
            "n": len(paints),
        },
        {
            "what": "a key, ms",
            "median": 1000 * percentile(keys, 0.5),
            "p95": 1000 * percentile(keys, 0.95),
            "n": len(keys),
        },
        {"what": "memory, MB: at the start, after", "median": before, "p95": after, "n": EVENTS},
    ]
    summary = {
        "first_paint_s": round(percentile(paints, 0.5), 3),
        "key_p95_ms": round(1000 * percentile(keys, 0.95), 1),
        "memory_mb": round(after, 1),
        "events": EVENTS,
    }
    shown = [[r["what"], f"{r['median']:.3g}", f"{r['p95']:.3g}", r["n"]] for r in rows]
    print(table(["what", "median", "p95", "n"], shown))
    write_json(asked.json, rows, summary)


if __name__ == "__main__":
    main()
